//! Strings without escapes, eight bytes at a time.
#![allow(clippy::inline_always, reason = "measured: 2 % of a decode into columns")]

use super::super::text::{HIGH_BITS, Text, mix, word};

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// Marks (with the high bit) bytes that end a plain string: quote, backslash, controls. Exact up to the first mark,
/// which is all that is read of it.
#[inline]
pub(crate) const fn stop_bytes(word: u64) -> u64 {
    let quote = word ^ (LOW_BITS * b'"' as u64);
    let backslash = word ^ (LOW_BITS * b'\\' as u64);
    // A byte of zero borrows in a subtraction of one, a control in one of 0x20; bytes above ASCII are excluded.
    let zero_quote = quote.wrapping_sub(LOW_BITS) & !quote;
    let zero_backslash = backslash.wrapping_sub(LOW_BITS) & !backslash;
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (zero_quote | zero_backslash | control) & HIGH_BITS
}

/// The text from `start` (behind the opening quote) up to the first byte that ends a plain string, and where that stands:
/// a quote, a backslash, a control, or the input's end.
#[inline(always)]
pub(crate) fn text(input: &[u8], start: usize) -> (Text<'_>, usize) {
    let (mut at, mut hash, mut seen) = (start, 0, 0);
    loop {
        let word = word(input, at);
        // What the input does not have is zero, and so a control.
        let stops = stop_bytes(word);
        if stops == 0 {
            seen |= word;
            hash = mix(hash, word);
            at += 8;
            continue;
        }
        // Marks lie on high bits: the bytes below the first one are the text's own.
        let first = stops & stops.wrapping_neg();
        let last = word & (first >> 7).wrapping_sub(1);
        at += (stops.trailing_zeros() / 8) as usize;
        let bytes = input.get(start..at).unwrap_or_default();
        return (Text { bytes, is_ascii: (seen | last) & HIGH_BITS == 0, hash: mix(hash, last) }, at);
    }
}

/// True if no byte of a text ends a plain string: it is written as it is.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let stops = words.iter().fold(0, |stops, word| stops | stop_bytes(u64::from_le_bytes(*word)));
    let last = match text.last_chunk::<8>() {
        // Overlaps the word before: no loop over the rest.
        Some(last) if !rest.is_empty() => stop_bytes(u64::from_le_bytes(*last)),
        Some(_) => 0,
        None => return rest.iter().all(|byte| *byte >= b' ' && *byte != b'"' && *byte != b'\\'),
    };
    stops | last == 0
}

#[cfg(test)]
mod tests {
    use super::super::super::text::Text;
    use super::{is_plain, stop_bytes, text};

    #[test]
    fn first_stop_byte_is_exact_for_every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for filler in [b'a', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'] {
                    let mut bytes = [filler; 8];
                    bytes[place] = byte;
                    let is_stop = byte == b'"' || byte == b'\\' || byte < b' ';
                    let expected = if is_stop { place as u32 } else { 8 };
                    assert_eq!(stop_bytes(u64::from_le_bytes(bytes)).trailing_zeros() / 8, expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_is_the_same_wherever_it_stands_and_ends() {
        for length in 0..40 {
            for filler in [b'a', 0xc3] {
                let body = vec![filler; length];
                for end in ["\"", "\"}", "\\n\"", "\n", "", "\",\"next\":1234567890}"] {
                    let mut input = b"{\"x\":\"".to_vec();
                    input.extend_from_slice(&body);
                    input.extend_from_slice(end.as_bytes());
                    let expected = (Text::new(&body), 6 + length);
                    assert_eq!(text(&input, 6), expected);
                }
            }
        }
    }

    #[test]
    fn plain_text_is_told_from_text_to_escape_at_every_length_and_place() {
        for length in 0..40 {
            let text = vec![b'a'; length];
            assert!(is_plain(&text));
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut other = text.clone();
                    other[place] = byte;
                    assert_eq!(is_plain(&other), byte >= b' ' && byte != b'"' && byte != b'\\');
                }
            }
        }
    }
}
