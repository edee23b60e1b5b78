//! Bytes that are expected next, in a form that compares 16 of them at once.

/// Bytes of one compare: most keys with their quotes, comma and colon.
const WINDOW: usize = size_of::<u128>();

/// Bytes that are expected next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    bytes: Box<[u8]>,
    first: u128,
    first_mask: u128,
    /// The last window, and where it begins; of at most one window, the first again.
    last: u128,
    last_mask: u128,
    last_at: usize,
}

impl Expected {
    /// Prepares `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let window = |bytes: &[u8]| {
            let (mut window, mut mask) = ([0; WINDOW], [0; WINDOW]);
            window[..bytes.len()].copy_from_slice(bytes);
            mask[..bytes.len()].fill(u8::MAX);
            (u128::from_le_bytes(window), u128::from_le_bytes(mask))
        };
        let (first, first_mask) = window(&bytes[..bytes.len().min(WINDOW)]);
        let last_at = bytes.len().saturating_sub(WINDOW);
        let (last, last_mask) = window(&bytes[last_at..]);
        Self { bytes: bytes.into(), first, first_mask, last, last_mask, last_at }
    }

    /// Number of bytes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if the bytes stand in `input` at `at`.
    #[inline]
    pub(super) fn stands_at(&self, input: &[u8], at: usize) -> bool {
        // A call of memcmp costs more than the compare of a key.
        let Some(rest) = input.get(at..) else { return false };
        let Some(window) = rest.first_chunk::<WINDOW>() else {
            return rest.starts_with(&self.bytes);
        };
        if (u128::from_le_bytes(*window) ^ self.first) & self.first_mask != 0 {
            return false;
        }
        if self.last_at == 0 {
            return true;
        }
        self.rest_stands(rest)
    }

    /// The same for what lies behind the first window.
    #[inline]
    fn rest_stands(&self, rest: &[u8]) -> bool {
        let Some(window) = rest.get(self.last_at..).and_then(<[u8]>::first_chunk::<WINDOW>) else { return false };
        (u128::from_le_bytes(*window) ^ self.last) & self.last_mask == 0
            && (self.bytes.len() <= 2 * WINDOW || rest.starts_with(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Expected;

    #[test]
    fn expected_bytes_compare_like_starts_with() {
        let text: Vec<u8> = (b'!'..=b'z').collect();
        for length in 0..50 {
            let expected = Expected::new(&text[..length]);
            for cut in 0..text.len() {
                assert_eq!(expected.stands_at(&text[..cut], 0), text[..cut].starts_with(&text[..length]));
                let mut other = text.clone();
                other[cut] = b' ';
                assert_eq!(expected.stands_at(&other, 0), other.starts_with(&text[..length]));
                let mut shifted = b"...".to_vec();
                shifted.extend_from_slice(&other);
                assert_eq!(expected.stands_at(&shifted, 3), other.starts_with(&text[..length]));
            }
        }
        assert!(!Expected::new(b"a").stands_at(b"a", 2));
    }
}
