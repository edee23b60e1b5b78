//! Where the writers write to.

/// The end of a buffer.
///
/// Short pieces travel as words: a length that is known when the code is compiled, and a store instead of a call of
/// memcpy.
pub trait Append {
    /// Appends the first `length` bytes (eight at most) of a word in little-endian order.
    fn append_word(&mut self, word: u64, length: usize);

    /// Appends a byte and a whole word.
    #[inline]
    fn append_byte_and_word(&mut self, byte: u8, word: u64) {
        self.append_byte(byte);
        self.append_word(word, 8);
    }

    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]);

    /// Bytes in the buffer.
    fn length(&self) -> usize;

    /// Cuts the buffer down to `length` bytes.
    fn truncate(&mut self, length: usize);

    /// Appends one byte.
    #[inline]
    fn append_byte(&mut self, byte: u8) {
        self.append_word(u64::from(byte), 1);
    }
}

impl Append for Vec<u8> {
    #[inline]
    fn append_word(&mut self, word: u64, length: usize) {
        self.extend_from_slice(&word.to_le_bytes()[..length]);
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn length(&self) -> usize {
        self.len()
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        self.truncate(length);
    }
}

/// Appends a text of up to a few dozen bytes word by word, and more in one copy.
#[inline]
pub(super) fn append_short<A: Append>(out: &mut A, bytes: &[u8]) {
    if bytes.len() > LONGEST_BY_WORDS {
        out.append(bytes);
        return;
    }
    for word in bytes.as_chunks::<8>().0 {
        out.append_word(u64::from_le_bytes(*word), 8);
    }
    out.append_word(last_word(bytes), bytes.len() % 8);
}

/// Bytes from which on a call of memcpy pays.
pub(super) const LONGEST_BY_WORDS: usize = 64;

/// The bytes behind the last whole word, in the low bytes of a word whose others are zero.
#[inline]
pub(super) fn last_word(bytes: &[u8]) -> u64 {
    let rest = bytes.len() % 8;
    if let Some(last) = bytes.last_chunk::<8>() {
        // Overlaps the word before. A shift by all 64 bits is no shift: it is made in two steps.
        return u64::from_le_bytes(*last) >> 1 >> (63 - 8 * rest);
    }
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            // Where the two overlap, they agree.
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (rest - 4))
        }
        _ => match *bytes {
            [] => 0,
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Append, append_short, last_word};

    #[test]
    fn text_of_any_length_is_appended_whole() {
        let text: Vec<u8> = (0..200).collect();
        for length in 0..text.len() {
            let mut out = vec![b'x'];
            append_short(&mut out, &text[..length]);
            assert_eq!(out[1..], text[..length]);
            assert_eq!(Append::length(&out), length + 1);
        }
    }

    #[test]
    fn last_word_holds_the_rest_and_zeros() {
        let text: Vec<u8> = (1..40).collect();
        for length in 0..text.len() {
            let bytes = &text[..length];
            let mut expected = [0; 8];
            expected[..length % 8].copy_from_slice(&bytes[length - length % 8..]);
            assert_eq!(last_word(bytes), u64::from_le_bytes(expected));
        }
    }
}
