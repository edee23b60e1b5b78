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
pub use negotiation::{DeflateSettings, accept, confirm, offer};
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

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: DeflateSettings = DeflateSettings { window_bits: 15, takeover: true };

    /// Twice the input may cost twice the work, and what is the same for both.
    fn assert_linear(work: impl Fn(usize)) {
        let (once, twice) = (super::work::of(|| work(1000)), super::work::of(|| work(2000)));
        assert!(once >= 1000, "the work is not counted: {once}");
        assert!(twice <= once * 2 + 200, "{once} bytes looked at, then {twice}");
    }

    #[test]
    fn reading_a_head_byte_by_byte_is_linear() {
        assert_linear(|size| {
            let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; size], b"\r\n\r\n"].concat();
            let mut reader = HeadReader::new();
            for byte in head.chunks(1) {
                reader.feed(byte).unwrap();
            }
            assert!(reader.is_complete());
        });
    }

    #[test]
    fn parsing_a_head_is_linear_in_one_long_line_and_in_many() {
        assert_linear(|size| {
            let head = [b"HTTP/1.1 403 No\r\nX: ".as_slice(), &vec![b' '; size], b"\r\n\r\n"].concat();
            Response::parse(&head).unwrap();
        });
        assert_linear(|size| {
            let head =
                [b"HTTP/1.1 403 No\r\n".as_slice(), &b"Sec-Some-Header: x\r\n".repeat(size / 20), b"\r\n"].concat();
            Response::parse(&head).unwrap();
        });
    }

    #[test]
    fn reading_lists_of_tokens_is_linear_whatever_they_repeat() {
        for name in ["Sec-WebSocket-Protocol", "Connection", "Upgrade"] {
            for piece in [",", "a,", "a ,", "chat, ", "\t,"] {
                assert_linear(|size| {
                    let head = format!(
                        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                         {name}: {}\r\n\r\n",
                        piece.repeat(size)
                    );
                    Request::parse(head.as_bytes()).unwrap();
                });
            }
        }
    }

    #[test]
    fn reading_extensions_is_linear_whatever_they_repeat() {
        for piece in [",", "a,", "a;b=\"c\",", "permessage-deflate,", "permessage-deflate; x=\"\\a\\b\" , ", "a  \t ,"]
        {
            assert_linear(|size| {
                let value = piece.repeat(size);
                let _ = accept(SETTINGS, [value.as_str()]).unwrap();
            });
        }
        for (start, piece) in
            [("a", ";b"), ("a;b=\"", "\\c"), ("a", " "), ("permessage-deflate", "; client_max_window_bits")]
        {
            assert_linear(|size| {
                let value = [start, &piece.repeat(size)].concat();
                let _ = accept(SETTINGS, [value.as_str()]);
            });
        }
    }
}
