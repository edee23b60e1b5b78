//! `send(2)` on a descriptor that the event loop's transport owns.

use std::io::{Error, ErrorKind, IoSlice};
use std::os::fd::RawFd;

/// Slices one call may carry: far below the kernel's `IOV_MAX` (1 024), enough to write a turn at once.
pub(crate) const MAX_SLICES: usize = 64;

/// What the kernel did with a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// It took this many bytes, at least one.
    Bytes(usize),
    /// Its buffer is full.
    Blocked,
    /// The connection is broken; the transport will find out by itself on its next read.
    Failed,
}

/// The error of a socket, taken from it: whether it has one.
#[inline]
pub(crate) fn take_error(descriptor: RawFd) -> bool {
    let mut error: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `error` and `size` live through the call, and `size` is that of `error`; a stale descriptor only yields an
    // error code.
    let outcome = unsafe {
        libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut size)
    };
    outcome == 0 && error != 0
}

/// Whether a socket has an error or both its directions have ended. Unlike [`take_error`] this leaves the error where it is.
pub(crate) fn is_broken(descriptor: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: descriptor, events: 0, revents: 0 };
    // SAFETY: one `pollfd` that lives through the call, which does not wait; a stale descriptor only yields an event.
    let outcome = unsafe { libc::poll(&raw mut asked, 1, 0) };
    outcome > 0 && asked.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0
}

/// Has the kernel hold no more than `bytes` that it has not sent yet: what it holds can't be taken back.
pub(crate) fn limit_unsent(descriptor: RawFd, bytes: libc::c_int) {
    #[cfg(target_os = "linux")]
    // SAFETY: `bytes` lives through the call, and the size is its own; a stale descriptor, or one that is no TCP socket, only
    // yields an error code.
    unsafe {
        let size = size_of_val(&bytes) as libc::socklen_t;
        libc::setsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, (&raw const bytes).cast(), size);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (descriptor, bytes);
}

/// Writes `slices` without blocking and without a signal when the peer is gone.
pub(crate) fn send(descriptor: RawFd, slices: &[IoSlice<'_>]) -> Written {
    loop {
        let count = if let [one] = slices {
            // SAFETY: pointer and length come from one live slice; a stale descriptor only yields an error code.
            unsafe { libc::send(descriptor, one.as_ptr().cast(), one.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        } else {
            // SAFETY: an all-zero `msghdr` is a valid empty message.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = slices.as_ptr().cast_mut().cast();
            message.msg_iovlen = slices.len() as _;
            // SAFETY: `IoSlice` is guaranteed to have the layout of `iovec`; `sendmsg` only reads through it and the
            // slices outlive the call.
            unsafe { libc::sendmsg(descriptor, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        };
        if count > 0 {
            return Written::Bytes(count.cast_unsigned());
        }
        let error = Error::last_os_error();
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => return Written::Blocked,
            _ => return Written::Failed,
        }
    }
}
