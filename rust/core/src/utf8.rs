//! UTF-8 checks: of a whole payload, and of one that comes in parts (RFC 6455 section 8.1).
//!
//! Market data is ASCII nearly always: blocks of it are passed over at once, the rest goes to [`core::str::from_utf8`].

/// The high bit of each byte of a word: set in no ASCII byte.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Text that is no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8 {
    /// Where the ill-formed sequence begins, in bytes.
    pub offset: usize,
}

/// Checks a whole payload.
///
/// # Errors
/// The first ill-formed sequence; one that the end cuts off is ill-formed too.
#[inline]
pub fn check(text: &[u8]) -> Result<(), InvalidUtf8> {
    if is_ascii(text) { Ok(()) } else { check_bulk(text) }
}

fn check_bulk(text: &[u8]) -> Result<(), InvalidUtf8> {
    match core::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(InvalidUtf8 { offset: error.valid_up_to() }),
    }
}

/// Whether all bytes are below 0x80. Stops early within long texts, never within short ones: no branch there to guess wrong.
#[inline]
pub(crate) fn is_ascii(text: &[u8]) -> bool {
    let Some(tail) = text.last_chunk::<32>() else {
        return is_ascii_short(text);
    };
    text.as_chunks::<32>().0.iter().all(is_ascii_block) && is_ascii_block(tail)
}

#[inline]
fn is_ascii_block(block: &[u8; 32]) -> bool {
    let words = block.as_chunks::<8>().0;
    words.iter().fold(0, |seen, word| seen | u64::from_ne_bytes(*word)) & HIGH_BITS == 0
}

#[inline]
fn is_ascii_short(text: &[u8]) -> bool {
    let Some(&tail) = text.last_chunk::<8>() else {
        return text.iter().fold(0, |seen, byte| seen | byte) < 0x80;
    };
    let words = text.as_chunks::<8>().0;
    words.iter().fold(u64::from_ne_bytes(tail), |seen, word| seen | u64::from_ne_bytes(*word)) & HIGH_BITS == 0
}

/// Checks a text that comes in parts, and refuses it at the first byte that no continuation could make good.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Validator {
    /// The bytes so far of a character that a part's end cut: well-formed as far as they go.
    pending: [u8; 3],
    pending_len: u8,
    /// Bytes of whole characters before the pending ones.
    checked: usize,
}

impl Utf8Validator {
    /// A validator at the beginning of a text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next part of the text.
    ///
    /// # Errors
    /// The first ill-formed sequence, its offset counted from the beginning of the text. The validator is of no use then.
    pub fn feed(&mut self, mut part: &[u8]) -> Result<(), InvalidUtf8> {
        while self.pending_len > 0 {
            let Some((&byte, rest)) = part.split_first() else {
                return Ok(());
            };
            part = rest;
            self.complete_pending(byte)?;
        }
        if is_ascii(part) {
            self.checked += part.len();
            return Ok(());
        }
        match core::str::from_utf8(part) {
            Ok(_) => self.checked += part.len(),
            Err(error) => {
                let (_, tail) = part.split_at(error.valid_up_to());
                self.checked += error.valid_up_to();
                if error.error_len().is_some() {
                    return Err(InvalidUtf8 { offset: self.checked });
                }
                // Without an error length the tail is the beginning of one character: 1 to 3 bytes.
                self.pending[..tail.len()].copy_from_slice(tail);
                self.pending_len = tail.len() as u8;
            }
        }
        Ok(())
    }

    fn complete_pending(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let len = usize::from(self.pending_len);
        let mut character = [0; 4];
        character[..len].copy_from_slice(&self.pending[..len]);
        character[len] = byte;
        match core::str::from_utf8(&character[..=len]) {
            Ok(_) => {
                self.checked += len + 1;
                self.pending_len = 0;
            }
            // Four bytes are a whole character or wrong, so a fourth never gets here.
            Err(error) if error.error_len().is_none() => {
                self.pending[len] = byte;
                self.pending_len += 1;
            }
            Err(_) => {
                return Err(InvalidUtf8 { offset: self.checked });
            }
        }
        Ok(())
    }

    /// The text has ended.
    ///
    /// # Errors
    /// It ended inside a character.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 { Ok(()) } else { Err(InvalidUtf8 { offset: self.checked }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Well-formed and ill-formed sequences from each row of table 3-7 of the Unicode standard and its edges.
    fn samples() -> Vec<Vec<u8>> {
        let sequences: &[&[u8]] = &[
            b"",
            b"a",
            b"\x7f",
            "\u{80}\u{7ff}".as_bytes(),
            "\u{800}\u{fff}\u{1000}\u{d7ff}\u{e000}\u{ffff}".as_bytes(),
            "\u{10000}\u{3ffff}\u{40000}\u{10ffff}".as_bytes(),
            "SOL-\u{20ac}\u{1f680}-\u{e9}".as_bytes(),
            b"\x80",
            b"\xbf",
            b"\xc0\xaf",
            b"\xc1\xbf",
            b"\xc2",
            b"\xc2\x7f",
            b"\xe0\x9f\x80",
            b"\xe0\xa0",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xef\xbf",
            b"\xe2\x82\x28",
            b"\xf0\x8f\xbf\xbf",
            b"\xf0\x90\x80",
            b"\xf4\x90\x80\x80",
            b"\xf4\x8f\xbf",
            b"\xf1\x80\x80\x41",
            b"\xf5\x80\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xfe",
            b"\xff",
        ];
        let mut samples: Vec<Vec<u8>> = sequences.iter().map(|bytes| bytes.to_vec()).collect();
        for sequence in sequences {
            for padding in [1, 7, 8, 31, 32, 40] {
                let ascii = vec![b'x'; padding];
                samples.push([&ascii, *sequence].concat());
                samples.push([&ascii, *sequence, &ascii].concat());
                samples.push([&ascii, *sequence, "\u{20ac}".as_bytes()].concat());
            }
        }
        samples
    }

    fn by_std(text: &[u8]) -> Result<(), InvalidUtf8> {
        core::str::from_utf8(text).map(drop).map_err(|error| InvalidUtf8 { offset: error.valid_up_to() })
    }

    fn in_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(), InvalidUtf8> {
        let mut validator = Utf8Validator::new();
        for part in parts {
            validator.feed(part)?;
        }
        validator.finish()
    }

    #[test]
    fn whole_check_agrees_with_std() {
        for sample in samples() {
            assert_eq!(check(&sample), by_std(&sample), "{sample:x?}");
        }
    }

    #[test]
    fn every_split_agrees_with_std() {
        for sample in samples() {
            let expected = by_std(&sample);
            for first in 0..=sample.len() {
                for second in first..=sample.len() {
                    let parts = [&sample[..first], &sample[first..second], &sample[second..]];
                    assert_eq!(in_parts(parts), expected, "{sample:x?} split at {first} and {second}");
                }
            }
            assert_eq!(in_parts(sample.chunks(1)), expected, "{sample:x?} byte by byte");
        }
    }

    #[test]
    fn refusal_comes_with_the_byte_that_makes_it_invalid() {
        for sample in samples() {
            // std names no length for a sequence that could still be completed.
            let bad = (0..=sample.len())
                .find(|&end| core::str::from_utf8(&sample[..end]).is_err_and(|error| error.error_len().is_some()));
            let mut validator = Utf8Validator::new();
            let refused = sample.chunks(1).position(|byte| validator.feed(byte).is_err()).map(|index| index + 1);
            assert_eq!(refused, bad, "{sample:x?}");
        }
    }

    #[test]
    fn all_sequences_of_one_to_three_bytes_agree_with_std() {
        for bytes in 0..=0x00ff_ffff_u32 {
            let [_, first, second, third] = bytes.to_be_bytes();
            // A third byte matters to the tables only at the edges of its range.
            if !matches!(third, 0x00 | 0x7f | 0x80 | 0x9f | 0xa0 | 0xbf | 0xc0 | 0xff) {
                continue;
            }
            let text = [first, second, third];
            for len in 1..=3 {
                assert_eq!(in_parts(text[..len].chunks(1)), by_std(&text[..len]), "{:x?}", &text[..len]);
            }
        }
    }
}
