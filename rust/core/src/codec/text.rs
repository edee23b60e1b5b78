//! Bytes of text, eight at a time.

/// A text in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Proven to be ASCII. Other text is not known to be UTF-8.
    pub is_ascii: bool,
    /// As [`hash`] says.
    pub hash: u64,
}

impl<'a> Text<'a> {
    /// Looks at `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let (mut hash, mut seen) = (0, 0);
        for word in words {
            let word = u64::from_le_bytes(*word);
            seen |= word;
            hash = mix(hash, word);
        }
        let last = match bytes.last_chunk::<8>() {
            // The word that overlaps the one before, without the bytes that were in that.
            Some(_) if rest.is_empty() => 0,
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        Self { bytes, is_ascii: (seen | last) & HIGH_BITS == 0, hash: mix(hash, last) }
    }
}

/// A hash of a text, for tables of texts that come again and again. It need not withstand an enemy.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    Text::new(bytes).hash
}

/// The bit that ASCII bytes don't have.
pub(crate) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Adds eight bytes (the last ones padded with zeros) to a hash.
#[inline]
pub(super) const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(26) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The eight bytes at `at`; those behind the input's end are zero.
#[inline]
pub(crate) fn word(input: &[u8], at: usize) -> u64 {
    match input.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => last_word(input, at),
    }
}

#[inline]
fn last_word(input: &[u8], at: usize) -> u64 {
    let left = input.len().saturating_sub(at);
    match input.last_chunk::<8>() {
        Some(_) if left == 0 => 0,
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * left),
        None => short_word(input, at),
    }
}

#[cold]
fn short_word(input: &[u8], at: usize) -> u64 {
    input.iter().skip(at).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::{Text, word};

    #[test]
    fn words_are_padded_with_zeros_behind_the_end() {
        let bytes: Vec<u8> = (1..40).collect();
        for length in 0..bytes.len() {
            for at in 0..length + 10 {
                let mut expected = [0; 8];
                for (place, byte) in expected.iter_mut().enumerate() {
                    *byte = bytes[..length].get(at + place).copied().unwrap_or(0);
                }
                assert_eq!(word(&bytes[..length], at), u64::from_le_bytes(expected));
            }
        }
    }

    #[test]
    fn texts_of_every_length_differ_by_hash_and_know_whether_they_are_ascii() {
        let mut hashes = std::collections::HashSet::new();
        for length in 0..70 {
            let bytes = vec![b'x'; length];
            assert!(Text::new(&bytes).is_ascii);
            assert!(hashes.insert(Text::new(&bytes).hash));
            for place in 0..length {
                let mut other = bytes.clone();
                other[place] = 0xc3;
                assert!(!Text::new(&other).is_ascii);
                assert!(hashes.insert(Text::new(&other).hash));
            }
        }
    }
}
