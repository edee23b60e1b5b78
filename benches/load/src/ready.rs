//! Which of many connections have something to read.

use std::io;
use std::net::TcpStream;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::Ready;
#[cfg(not(target_os = "linux"))]
pub(crate) use self::portable::Ready;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::{TcpStream, io};

    /// Events taken by one call.
    const MOST: i32 = 1024;

    /// An epoll instance: thousands of idle connections cost nothing.
    pub(crate) struct Ready {
        epoll: OwnedFd,
        events: Vec<libc::epoll_event>,
        places: Vec<usize>,
    }

    impl Ready {
        pub(crate) fn new<'a>(streams: impl Iterator<Item = &'a TcpStream>) -> io::Result<Self> {
            // SAFETY: the call takes a number; what it returns is checked before it is used as a descriptor.
            let created = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            if created < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just made and belongs to nobody else.
            let epoll = unsafe { OwnedFd::from_raw_fd(created) };
            for (place, stream) in streams.enumerate() {
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: place as u64 };
                // SAFETY: both descriptors are open; the event is read during the call only.
                let done = unsafe {
                    libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event)
                };
                if done < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; MOST as usize], places: Vec::new() })
        }

        /// No more events of `stream`: an ended one would be ready for ever.
        pub(crate) fn forget(&mut self, stream: &TcpStream) {
            // SAFETY: both descriptors are open; removal takes no event.
            unsafe {
                libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, stream.as_raw_fd(), std::ptr::null_mut())
            };
        }

        /// Places of the streams that are readable or ended, after at most `milliseconds`.
        pub(crate) fn wait(&mut self, milliseconds: i32) -> &[usize] {
            // SAFETY: the kernel writes at most MOST events into a buffer of that many.
            let count =
                unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), MOST, milliseconds) };
            let count = usize::try_from(count).unwrap_or(0);
            self.places.clear();
            self.places.extend(self.events.iter().take(count).map(|event| event.u64 as usize));
            &self.places
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use super::{TcpStream, io};

    /// Where there is no epoll, all are looked at.
    pub(crate) struct Ready(Vec<usize>);

    impl Ready {
        pub(crate) fn new<'a>(streams: impl Iterator<Item = &'a TcpStream>) -> io::Result<Self> {
            Ok(Self(streams.enumerate().map(|(place, _)| place).collect()))
        }

        pub(crate) fn forget(&mut self, _: &TcpStream) {}

        pub(crate) fn wait(&mut self, _: i32) -> &[usize] {
            &self.0
        }
    }
}
