//! Keys and values as they lie on the wire.

use super::super::MAX_DEPTH;
use super::super::text::{HIGH_BITS, word};
use super::fault::{Malformed, Problem};

/// Wire type of integers: seven bits a byte, the lowest first.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
/// Wire type of what has its length in front: text, bytes, messages, packed numbers.
pub(super) const LENGTH: u32 = 2;
pub(super) const GROUP: u32 = 3;
pub(super) const END_GROUP: u32 = 4;
pub(super) const FIXED32: u32 = 5;

/// Most bytes of an integer, and of a key or a length.
const LONGEST: usize = 10;
const LONGEST_SHORT: usize = 5;

/// Where the integer at `at` ends, and its value; None unless it ends before `end`. Of ten bytes, the bits beyond 64 are
/// ignored.
#[inline]
pub(super) fn varint(input: &[u8], at: usize, end: usize) -> Option<(u64, usize)> {
    let first = *input.get(at)?;
    if first < 0x80 {
        return (at < end).then_some((u64::from(first), at + 1));
    }
    let word = word(input, at);
    let stops = !word & HIGH_BITS;
    if stops == 0 {
        return long_varint(input, at, end);
    }
    // What lies behind the input's end is zero, which stops too: found out by the length.
    let length = (stops.trailing_zeros() / 8 + 1) as usize;
    // The bits up to the first stop, then sevens put together in pairs, fours, eights.
    let bits = word & (stops ^ (stops - 1)) & !HIGH_BITS;
    let pairs = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    let value = fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4;
    (at + length <= end).then_some((value, at + length))
}

#[cold]
fn long_varint(input: &[u8], at: usize, end: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in input.get(at..end)?.iter().take(LONGEST).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    None
}

/// The key of a field: number and wire type. None for none.
#[inline]
pub(super) fn key(input: &[u8], at: usize, end: usize) -> Option<(u32, usize)> {
    short(input, at, end)
}

/// A length, and that many bytes behind it.
#[inline]
pub(super) fn span(input: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
    let first = *input.get(at)?;
    // Mostly it is one byte.
    let (length, start) = if first < 0x80 { (u32::from(first), at + 1) } else { short(input, at, end)? };
    let stop = start + length as usize;
    (stop <= end).then_some((start, stop))
}

/// An integer of at most 32 bits in at most 5 bytes.
#[inline]
fn short(input: &[u8], at: usize, end: usize) -> Option<(u32, usize)> {
    let (value, stop) = varint(input, at, end)?;
    if stop - at > LONGEST_SHORT {
        return None;
    }
    Some((u32::try_from(value).ok()?, stop))
}

/// The eight bytes at `at`.
#[inline]
pub(super) fn eight(input: &[u8], at: usize, end: usize) -> Option<([u8; 8], usize)> {
    let bytes = *input.get(at..end)?.first_chunk::<8>()?;
    Some((bytes, at + 8))
}

/// The four bytes at `at`.
#[inline]
pub(super) fn four(input: &[u8], at: usize, end: usize) -> Option<([u8; 4], usize)> {
    let bytes = *input.get(at..end)?.first_chunk::<4>()?;
    Some((bytes, at + 4))
}

/// One field: where its value lies, without a length in front of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurrence {
    pub(super) number: u32,
    pub(super) wire: u32,
    /// Where its key begins.
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the next field begins.
    pub(super) next: usize,
}

/// The field at `at`, whatever it is; `depth` is how many levels may still be nested in it.
pub(super) fn occurrence(input: &[u8], at: usize, end: usize, depth: usize) -> Result<Occurrence, Malformed> {
    let (key, start) = key(input, at, end).ok_or_else(|| bad_number(input, at, end, LONGEST_SHORT, Problem::BadKey))?;
    let (number, wire) = (key >> 3, key & 7);
    if number == 0 {
        return Err(Malformed::new(at, Problem::BadKey));
    }
    let (start, stop) = value(input, at, start, end, key, depth)?;
    // A group ends behind its closing key, which is none of its bytes; nobody reads them.
    Ok(Occurrence { number, wire, at, start, end: stop, next: stop })
}

/// Where the value lies of the field at `at` with this key, which ends at `start`.
pub(super) fn value(
    input: &[u8],
    at: usize,
    start: usize,
    end: usize,
    key: u32,
    depth: usize,
) -> Result<(usize, usize), Malformed> {
    let truncated = Malformed::new(at, Problem::Truncated);
    match key & 7 {
        VARINT => match varint(input, start, end) {
            Some((_, stop)) => Ok((start, stop)),
            None => Err(bad_number(input, start, end, LONGEST, Problem::LongVarint)),
        },
        FIXED64 => eight(input, start, end).map(|(_, stop)| (start, stop)).ok_or(truncated),
        FIXED32 => four(input, start, end).map(|(_, stop)| (start, stop)).ok_or(truncated),
        LENGTH => match span(input, start, end) {
            Some(span) => Ok(span),
            None if short(input, start, end).is_some() => Err(truncated),
            None => Err(bad_number(input, start, end, LONGEST_SHORT, Problem::LongVarint)),
        },
        GROUP => group(input, at, start, end, key >> 3, depth).map(|stop| (start, stop)),
        END_GROUP => Err(Malformed::new(at, Problem::UnevenGroup)),
        _ => Err(Malformed::new(at, Problem::BadKey)),
    }
}

/// Where the group ends that began at `at`. Groups in it are followed without recursion: their numbers are kept.
fn group(input: &[u8], at: usize, start: usize, end: usize, number: u32, depth: usize) -> Result<usize, Malformed> {
    let mut open = vec![number];
    let mut next = start;
    while let Some(innermost) = open.last() {
        if next == end {
            return Err(Malformed::new(at, Problem::UnevenGroup));
        }
        if open.len() > depth {
            return Err(Malformed::new(next, Problem::TooDeep));
        }
        // Whatever its number: in groups nobody asks for it, not even whether it is 0.
        let (key, start) =
            key(input, next, end).ok_or_else(|| bad_number(input, next, end, LONGEST_SHORT, Problem::BadKey))?;
        match key & 7 {
            GROUP => {
                open.push(key >> 3);
                next = start;
            }
            END_GROUP if key >> 3 == *innermost => {
                open.pop();
                next = start;
            }
            _ => next = value(input, next, start, end, key, 0)?.1,
        }
    }
    Ok(next)
}

/// Why there is no integer at `at`.
fn bad_number(input: &[u8], at: usize, end: usize, longest: usize, otherwise: Problem) -> Malformed {
    let bytes = input.get(at..end).unwrap_or_default();
    let is_cut = bytes.len() < longest && bytes.iter().all(|byte| *byte >= 0x80);
    Malformed::new(at, if is_cut { Problem::Truncated } else { otherwise })
}

/// How many levels may be nested in a message that lies in `outer` others.
pub(super) const fn depth_left(outer: usize) -> usize {
    MAX_DEPTH.saturating_sub(outer + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(input: &[u8]) -> Option<(u64, usize)> {
        let mut value = 0_u64;
        for (index, byte) in input.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                return Some((value, index + 1));
            }
        }
        None
    }

    #[test]
    fn integers_of_every_length_at_every_end_are_read_as_byte_for_byte() {
        for length in 1..13 {
            for fill in [0x80, 0x81, 0xff, 0xaa] {
                for last in [0, 1, 2, 0x7f] {
                    let mut number = vec![fill; length - 1];
                    number.push(last);
                    for behind in 0..12 {
                        let mut input = vec![b'x'];
                        input.extend_from_slice(&number);
                        input.extend(std::iter::repeat_n(0x55, behind));
                        let expected = plain(&input[1..]).map(|(value, length)| (value, length + 1));
                        assert_eq!(varint(&input, 1, input.len()), expected);
                        for end in 1..=length {
                            // It ends one byte too early, or earlier.
                            let cut = varint(&input, 1, end);
                            assert_eq!(cut, plain(&input[1..end]).map(|(value, length)| (value, length + 1)));
                        }
                    }
                }
            }
        }
    }
}
