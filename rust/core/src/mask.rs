//! Masking of payloads (RFC 6455 section 5.3).

/// Masks or unmasks `data` in place; byte `i` meets byte `(phase + i) % 4` of the key.
pub fn apply_mask(data: &mut [u8], key: [u8; 4], phase: usize) {
    apply_mask_plain(data, key, phase);
}

/// [`apply_mask`] byte by byte, as the RFC writes it: what the fast path is tested against.
pub fn apply_mask_plain(data: &mut [u8], key: [u8; 4], phase: usize) {
    for (index, byte) in data.iter_mut().enumerate() {
        *byte ^= key[(phase + index) % 4];
    }
}
