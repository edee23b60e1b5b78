//! Masking of payloads (RFC 6455 section 5.3).

/// Bytes that [`append_masked`] copies before it masks them: they are still in the nearest cache then.
const BLOCK: usize = 4096;

/// Masks or unmasks `data` in place; byte `i` meets byte `(phase + i) % 4` of the key.
#[inline]
pub fn apply_mask(data: &mut [u8], mut key: [u8; 4], phase: usize) {
    key.rotate_left(phase % 4);
    mask_words(data, key);
}

/// [`apply_mask`] byte by byte, as the RFC writes it: what the fast path is tested against.
pub fn apply_mask_plain(data: &mut [u8], key: [u8; 4], phase: usize) {
    for (index, byte) in data.iter_mut().enumerate() {
        *byte ^= key[(phase % 4 + index) % 4];
    }
}

/// Appends `data` to `out`, masked or unmasked as by [`apply_mask`].
#[inline]
pub fn append_masked(out: &mut Vec<u8>, data: &[u8], mut key: [u8; 4], phase: usize) {
    key.rotate_left(phase % 4);
    out.reserve(data.len());
    // A multiple of four bytes lies before each block, so each block begins at the key's first byte.
    for block in data.chunks(BLOCK) {
        let start = out.len();
        out.extend_from_slice(block);
        mask_words(&mut out[start..], key);
    }
}

/// Unmasks `data` from the key's first byte on, and says whether it is ASCII then.
#[inline]
pub(crate) fn unmask_is_ascii(data: &mut [u8], key: [u8; 4]) -> bool {
    mask_words(data, key) & 0x8080_8080_8080_8080 == 0
}

/// Masks by words of eight bytes, and returns all the words that came out, or-ed together.
#[inline]
fn mask_words(data: &mut [u8], key: [u8; 4]) -> u64 {
    let word = u64::from(u32::from_ne_bytes(key));
    let word = word << 32 | word;
    let mut seen = 0;
    let Some(&tail) = data.last_chunk::<8>() else {
        for (byte, key) in data.iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= key;
            seen |= u64::from(*byte);
        }
        return seen;
    };
    // The last eight bytes may overlap the last whole word: they are read before that is masked and give the same result.
    let mut tail_key = key;
    tail_key.rotate_left(data.len() % 4);
    let tail_word = u64::from(u32::from_ne_bytes(tail_key));
    let tail = u64::from_ne_bytes(tail) ^ (tail_word << 32 | tail_word);
    for chunk in data.as_chunks_mut::<8>().0 {
        let masked = u64::from_ne_bytes(*chunk) ^ word;
        seen |= masked;
        *chunk = masked.to_ne_bytes();
    }
    if let Some(end) = data.last_chunk_mut::<8>() {
        *end = tail.to_ne_bytes();
    }
    seen | tail
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index * 37 + 11) as u8).collect()
    }

    #[test]
    fn fast_mask_is_plain_mask_at_all_alignments_lengths_and_phases() {
        for offset in 0..16 {
            for len in 0..=70 {
                for phase in 0..8 {
                    let mut fast = sample(offset + len);
                    let mut plain = fast.clone();
                    apply_mask(&mut fast[offset..], KEY, phase);
                    apply_mask_plain(&mut plain[offset..], KEY, phase);
                    assert_eq!(fast, plain, "offset {offset} length {len} phase {phase}");
                }
            }
        }
    }

    #[test]
    fn appended_mask_is_plain_mask_across_blocks() {
        for len in (0..=70).chain(BLOCK - 3..BLOCK + 9).chain([3 * BLOCK + 5]) {
            for phase in 0..4 {
                let data = sample(len);
                let mut out = b"head".to_vec();
                append_masked(&mut out, &data, KEY, phase);
                let mut plain = data;
                apply_mask_plain(&mut plain, KEY, phase);
                assert_eq!(out[..4], *b"head");
                assert_eq!(out[4..], plain[..], "length {len} phase {phase}");
            }
        }
    }

    #[test]
    fn masking_twice_gives_the_data_back_and_a_huge_phase_wraps() {
        let mut data = sample(67);
        apply_mask(&mut data, KEY, usize::MAX);
        apply_mask_plain(&mut data, KEY, usize::MAX);
        assert_eq!(data, sample(67));
    }

    #[test]
    fn ascii_is_told_while_unmasking() {
        for len in 0..=70 {
            let clear: Vec<u8> = (0..len).map(|index| (index % 128) as u8).collect();
            for high in (0..len).map(Some).chain([None]) {
                let mut expected = clear.clone();
                if let Some(index) = high {
                    expected[index] |= 0x80;
                }
                let mut data = expected.clone();
                apply_mask_plain(&mut data, KEY, 0);
                assert_eq!(unmask_is_ascii(&mut data, KEY), high.is_none(), "length {len} high {high:?}");
                assert_eq!(data, expected);
            }
        }
    }
}
