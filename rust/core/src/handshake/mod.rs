//! The opening handshake without I/O, in both roles (RFC 6455 section 4).
//!
//! ```text
//! bytes -> HeadReader -> Request::parse    a server: then `accept` an extension and answer 101
//!                     -> Response::parse   a client: then `check_upgrade` and `confirm` the extension
//! ```
//!
//! Strict where two readers could understand a head differently (request smuggling), lenient where RFC 9110 says so: lists
//! over several lines, empty list members, names and list tokens in any case. The work is linear in the bytes of the head,
//! and a [`Refusal`] never repeats a byte of the peer: its text may be logged and sent.
//!
//! Hashing the key (`Sec-WebSocket-Accept`) and writing heads are the caller's.

mod head;
mod negotiation;
mod request;
mod response;

use core::fmt;

pub use head::{Fields, HeadReader};
pub use negotiation::{Agreement, DeflateSettings, accept, confirm, offer};
pub use request::Request;
pub use response::Response;

/// Most bytes of a head, the empty line at its end included. Some browsers send 8 KiB of cookies; nobody sends 16.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most header lines of a head.
pub const MAX_HEADERS: usize = 128;

/// A handshake that must not be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// For a server: the status to answer with (400, 405, 426, 431 or 505). For a client, which has nobody to answer: 101
    /// where the server switched protocols in a way that must not be followed, 400 or 431 where its answer can't be read.
    pub status: u16,
    /// What is wrong, for people.
    pub reason: &'static str,
}

impl Refusal {
    /// 400: the head is malformed.
    pub(crate) const fn malformed(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl core::error::Error for Refusal {}

/// Counts the bytes that parsers look at, for the tests that hold the work to be linear.
#[cfg(test)]
mod work {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes);
    }

    /// The bytes looked at during `task`.
    pub(super) fn of(task: impl FnOnce()) -> usize {
        let before = BYTES.get();
        task();
        BYTES.get() - before
    }
}
