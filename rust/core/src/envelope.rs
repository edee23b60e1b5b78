//! What stands in front of a request of one peer to another, and of its answer.
//!
//! ```text
//! 1E '?' <number> SP <nanoseconds left to answer> SP <kind> LF <message>      a request
//! 1E '=' <number> SP <kind> LF <message>                                      its answer
//! 1E LF <payload>                                                             a payload that itself begins with 1E
//! <payload>                                                                   any other message
//! ```
//!
//! Numbers are decimal, a kind is the tag of the message's class. The message is behind it as it is, and not inside: it is
//! written and read once, straight from and into its class.

use std::str;

use crate::publication::{MARK, append_number, split_number};

/// Bytes of the longest kind: 64 characters.
pub const LONGEST_KIND: usize = 256;

const REQUEST: u8 = b'?';
const ANSWER: u8 = b'=';

/// What tells a request or an answer from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Of the request, in the direction that it goes.
    pub number: u64,
    /// Nanoseconds that are left to answer; `None` in an answer.
    pub within: Option<u64>,
    /// Tag of the message's class.
    pub kind: &'a str,
}

/// What a received payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Neither a request nor an answer.
    Bare(&'a [u8]),
    /// One of them, and its message.
    Envelope(Head<'a>, &'a [u8]),
    /// It begins with [`MARK`] and is none of these.
    Malformed,
}

/// Whether a receiver takes such a kind.
#[must_use]
pub fn is_kind(kind: &str) -> bool {
    !kind.is_empty() && kind.len() <= LONGEST_KIND && !kind.as_bytes().contains(&b'\n')
}

/// Appends what stands in front of a message.
pub fn append_head(out: &mut Vec<u8>, head: Head<'_>) {
    out.extend_from_slice(&[MARK, if head.within.is_some() { REQUEST } else { ANSWER }]);
    for number in [Some(head.number), head.within].into_iter().flatten() {
        append_number(out, number);
        out.push(b' ');
    }
    out.extend_from_slice(head.kind.as_bytes());
    out.push(b'\n');
}

/// Tells what a received payload is. Never reads behind the line of the head.
#[must_use]
pub fn read_envelope(payload: &[u8]) -> Received<'_> {
    match payload {
        [MARK, b'\n', rest @ ..] => Received::Bare(rest),
        [MARK, REQUEST, rest @ ..] => read_head(rest, true).unwrap_or(Received::Malformed),
        [MARK, ANSWER, rest @ ..] => read_head(rest, false).unwrap_or(Received::Malformed),
        [MARK, ..] => Received::Malformed,
        _ => Received::Bare(payload),
    }
}

fn read_head(line: &[u8], is_request: bool) -> Option<Received<'_>> {
    let (number, line) = split_number(line)?;
    let (within, line) = if is_request {
        let (within, line) = split_number(line)?;
        (Some(within), line)
    } else {
        (None, line)
    };
    let end = line[..line.len().min(LONGEST_KIND + 1)].iter().position(|&byte| byte == b'\n')?;
    let kind = str::from_utf8(&line[..end]).ok()?;
    (!kind.is_empty()).then(|| Received::Envelope(Head { number, within, kind }, &line[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_read_back_as_it_was_written() {
        for (number, within, kind) in [
            (1, Some(50_000_000), "MayTrade"),
            (u64::MAX, Some(u64::MAX), "with a space"),
            (0, Some(0), "größer"),
            (7, None, "Verdict"),
            (u64::MAX, None, "?"),
        ] {
            let head = Head { number, within, kind };
            let mut payload = Vec::new();
            append_head(&mut payload, head);
            payload.extend_from_slice(b"{}\n\x1e");
            assert_eq!(read_envelope(&payload), Received::Envelope(head, b"{}\n\x1e"));
        }
    }

    #[test]
    fn payload_without_mark_and_escaped_payload_are_bare() {
        assert_eq!(read_envelope(b"{}"), Received::Bare(b"{}"));
        assert_eq!(read_envelope(b""), Received::Bare(b""));
        assert_eq!(read_envelope(b"\x1e\n\x1e=1 a\n{}"), Received::Bare(b"\x1e=1 a\n{}"));
    }

    #[test]
    fn line_that_is_no_head_is_malformed() {
        for line in [
            "",
            "?",
            "=",
            "!1 a\n",
            "?1 2 a",
            "?1 a\n",
            "?1 2\n",
            "?1 2 \n",
            "=1\n",
            "=1 \n",
            "= a\n",
            "?-1 2 a\n",
            "?1 1e9 a\n",
            "=18446744073709551616 a\n",
            "? 1 2 a\n",
        ] {
            let payload = [&[MARK], line.as_bytes()].concat();
            assert_eq!(read_envelope(&payload), Received::Malformed, "{line:?}");
        }
        assert_eq!(read_envelope(b"\x1e=1 \xff\n"), Received::Malformed);
    }

    #[test]
    fn kind_is_read_up_to_its_longest_and_no_further() {
        for (length, is_read) in [(LONGEST_KIND, true), (LONGEST_KIND + 1, false), (100 * LONGEST_KIND, false)] {
            let kind = "k".repeat(length);
            let payload = format!("\x1e=1 {kind}\n{{}}");
            assert_eq!(matches!(read_envelope(payload.as_bytes()), Received::Envelope(..)), is_read, "{length}");
            assert_eq!(is_kind(&kind), is_read);
        }
        assert!(!is_kind("") && !is_kind("a\nb") && is_kind("a b"));
    }
}
