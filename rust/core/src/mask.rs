//! Masking of payloads (RFC 6455 section 5.3).

/// Bytes that [`append_masked`] copies before it masks them: they are still in the nearest cache then.
const BLOCK: usize = 4096;

/// The high bit of each byte of a word: set in no ASCII byte.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Masks or unmasks `data` in place; byte `i` meets byte `(phase + i) % 4` of the key.
#[inline]
pub fn apply_mask(data: &mut [u8], key: [u8; 4], phase: usize) {
    mask_words(data, turn(key, phase));
}

/// [`apply_mask`] byte by byte, as the RFC writes it: what the fast path is tested against.
pub fn apply_mask_plain(data: &mut [u8], key: [u8; 4], phase: usize) {
    for (index, byte) in data.iter_mut().enumerate() {
        *byte ^= key[(phase % 4 + index) % 4];
    }
}

/// Appends `data` to `out`, masked or unmasked as by [`apply_mask`].
#[inline]
pub fn append_masked(out: &mut Vec<u8>, data: &[u8], key: [u8; 4], phase: usize) {
    let key = turn(key, phase);
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
    mask_words(data, key) & HIGH_BITS == 0
}

/// Masks by words of eight bytes, and returns all the words that came out, or-ed together.
///
/// Long data goes by blocks of four words, which compilers turn into vectors. No rest is left to a loop of its own: the last
/// block, or word, ends where the data ends, and overlaps the one before it. It is read before that is masked, so the bytes
/// that both have come out the same.
#[inline]
fn mask_words(data: &mut [u8], key: [u8; 4]) -> u64 {
    let word = repeat(key);
    // A block and a word are a multiple of the key: what is left over tells where in the key the last one begins.
    let tail_word = repeat(turn(key, data.len()));
    let mut seen = 0;
    if let Some(&(mut tail)) = data.last_chunk::<32>() {
        seen |= mask_block(&mut tail, tail_word);
        for block in data.as_chunks_mut::<32>().0 {
            seen |= mask_block(block, word);
        }
        if let Some(end) = data.last_chunk_mut() {
            *end = tail;
        }
    } else if let Some(&(mut tail)) = data.last_chunk::<8>() {
        seen |= mask_block(&mut tail, tail_word);
        for chunk in data.as_chunks_mut::<8>().0 {
            seen |= mask_block(chunk, word);
        }
        if let Some(end) = data.last_chunk_mut() {
            *end = tail;
        }
    } else {
        for (byte, key) in data.iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= key;
            seen |= u64::from(*byte);
        }
    }
    seen
}

#[inline]
fn mask_block<const N: usize>(block: &mut [u8; N], key: u64) -> u64 {
    let mut seen = 0;
    for word in block.as_chunks_mut::<8>().0 {
        let masked = u64::from_le_bytes(*word) ^ key;
        seen |= masked;
        *word = masked.to_le_bytes();
    }
    seen
}

/// The key from its byte `phase % 4` on. By arithmetic: turning the array by a variable amount copies it about in memory.
#[inline]
pub(crate) fn turn(key: [u8; 4], phase: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (phase % 4) as u32).to_le_bytes()
}

/// The key twice.
#[inline]
fn repeat(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_le_bytes(key));
    key << 32 | key
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
