//! The position of a publication, in front of its payload, for peers that agreed to one of our subprotocols.
//!
//! ```text
//! 1E <epoch> SP <sequence> SP <previous> SP <channel> LF <payload as every other peer gets it>
//! 1E LF <payload>                 no publication, but a payload that itself begins with 1E
//! <payload>                       no publication
//! ```
//!
//! Numbers are decimal. No JSON text, no `MessagePack` map and no Protocol Buffers message begins with 1E (record separator),
//! so a receiver knows by one byte what it has. A channel name holds no control character, so the first LF ends it.

use std::str;

/// The byte that no message class begins with.
pub const MARK: u8 = 0x1E;

/// In front of a payload that is no publication and begins with [`MARK`].
pub const ESCAPE: &[u8] = b"\x1e\n";

/// Where a publication stands in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// Number of the channel's incarnation: sequences of different epochs have nothing to do with each other.
    pub epoch: u64,
    /// Its number in the channel, from 1.
    pub sequence: u64,
    /// The number of the publication before it; 0 if there was none.
    pub previous: u64,
    /// Name of the channel.
    pub channel: &'a str,
}

/// What a received payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A message that stands in no channel.
    Bare(&'a [u8]),
    /// A publication, and its payload.
    Publication(Position<'a>, &'a [u8]),
    /// It begins with [`MARK`] and is neither.
    Malformed,
}

/// Appends the decimal digits of `number`.
pub(crate) fn append_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// What the positions of one epoch begin with: a channel writes it once.
#[derive(Clone, Copy, Debug)]
pub struct EpochText {
    text: [u8; 22],
    length: u8,
}

impl EpochText {
    /// The mark, and the number of the epoch.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        let mut written = Vec::with_capacity(22);
        written.push(MARK);
        append_number(&mut written, epoch);
        written.push(b' ');
        let mut text = [0; 22];
        text[..written.len()].copy_from_slice(&written);
        Self { text, length: written.len() as u8 }
    }

    /// Appends what stands in front of a publication's payload.
    pub fn append_position(&self, out: &mut Vec<u8>, sequence: u64, previous: u64, channel: &str) {
        out.extend_from_slice(&self.text[..usize::from(self.length)]);
        for number in [sequence, previous] {
            append_number(out, number);
            out.push(b' ');
        }
        out.extend_from_slice(channel.as_bytes());
        out.push(b'\n');
    }
}

/// Appends what stands in front of a publication's payload.
pub fn append_position(out: &mut Vec<u8>, position: Position<'_>) {
    EpochText::new(position.epoch).append_position(out, position.sequence, position.previous, position.channel);
}

/// Bytes of the longest channel name: 256 characters.
pub const LONGEST_NAME: usize = 1024;

/// What stands in front of a channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// As in [`Position`].
    pub epoch: u64,
    /// As in [`Position`].
    pub sequence: u64,
    /// As in [`Position`].
    pub previous: u64,
}

/// Tells what a received payload is. Never reads behind the line of the position.
#[must_use]
pub fn read_position(payload: &[u8]) -> Received<'_> {
    let Some((&MARK, rest)) = payload.split_first() else { return Received::Bare(payload) };
    if let Some((b'\n', body)) = rest.split_first() {
        return Received::Bare(body);
    }
    let Some((Numbers { epoch, sequence, previous }, rest)) = split_numbers(rest) else { return Received::Malformed };
    match split_name(rest) {
        Some((channel, body)) => Received::Publication(Position { epoch, sequence, previous, channel }, body),
        None => Received::Malformed,
    }
}

/// The numbers behind the mark, and what is behind the space that ends them; `None` if they are not that.
#[inline]
#[must_use]
pub fn split_numbers(line: &[u8]) -> Option<(Numbers, &[u8])> {
    let (epoch, line) = split_number(line)?;
    let (sequence, line) = split_number(line)?;
    let (previous, line) = split_number(line)?;
    Some((Numbers { epoch, sequence, previous }, line))
}

/// The name of the channel up to the first LF, and what is behind that; `None` if it is empty, too long or no text.
#[must_use]
pub fn split_name(line: &[u8]) -> Option<(&str, &[u8])> {
    let end = line.iter().take(LONGEST_NAME + 1).position(|&byte| byte == b'\n')?;
    let channel = str::from_utf8(&line[..end]).ok()?;
    (!channel.is_empty()).then(|| (channel, &line[end + 1..]))
}

/// The number up to the first space, and what is behind that; `None` if it is none that fits 64 bits.
#[inline]
pub(crate) fn split_number(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    let mut digits = 0;
    let end = loop {
        let byte = *line.get(digits)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break byte;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        digits += 1;
    };
    if end != b' ' {
        return None;
    }
    let rest = &line[digits + 1..];
    match digits {
        0 => None,
        // Nineteen digits always fit.
        1..=19 => Some((number, rest)),
        _ => str::from_utf8(&line[..digits]).ok()?.parse().ok().map(|number| (number, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_back_as_it_was_written() {
        for (epoch, sequence, previous, channel) in
            [(0, 1, 0, "a"), (u64::MAX, u64::MAX, u64::MAX - 1, "prices:SOL-USDC"), (7, 10, 9, "with a space")]
        {
            let position = Position { epoch, sequence, previous, channel };
            let mut payload = Vec::new();
            append_position(&mut payload, position);
            payload.extend_from_slice(b"{}\n\x1e");
            assert_eq!(read_position(&payload), Received::Publication(position, b"{}\n\x1e"));
        }
    }

    #[test]
    fn payload_without_mark_and_escaped_payload_are_bare() {
        assert_eq!(read_position(b"{}"), Received::Bare(b"{}"));
        assert_eq!(read_position(b""), Received::Bare(b""));
        assert_eq!(read_position(b"\x1e\n\x1e1 2 1 a\n{}"), Received::Bare(b"\x1e1 2 1 a\n{}"));
    }

    #[test]
    fn line_that_is_no_position_is_malformed() {
        for line in
            ["1 2 1 a", "1 2 1\n", "1 2 1 \n", "1  1 a\n", "x 2 1 a\n", " 2 1 a\n", "18446744073709551616 1 0 a\n"]
        {
            let payload = [&[MARK], line.as_bytes()].concat();
            assert_eq!(read_position(&payload), Received::Malformed, "{line:?}");
        }
        assert_eq!(read_position(b"\x1e1 2 1 \xff\n"), Received::Malformed);
    }

    #[test]
    fn name_is_read_up_to_its_longest_and_no_further() {
        for (length, is_read) in [(LONGEST_NAME, true), (LONGEST_NAME + 1, false), (100 * LONGEST_NAME, false)] {
            let payload = [b"\x1e1 2 1 ".as_slice(), &vec![b'a'; length], b"\n{}"].concat();
            assert_eq!(matches!(read_position(&payload), Received::Publication(..)), is_read, "{length}");
        }
    }
}
