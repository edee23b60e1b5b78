//! The frame header: what it says, how it is read and written (RFC 6455 section 5.2).

/// Longest header: 2 bytes, 8 of length, 4 of masking key.
pub const MAX_HEADER_LEN: usize = 14;

/// FIN, the highest bit of the first byte.
pub(crate) const FIN: u8 = 0x80;
/// MASK, the highest bit of the second byte.
pub(crate) const MASK: u8 = 0x80;
/// Largest payload of a control frame (RFC 6455 section 5.5), and the largest length the second byte holds itself.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// A frame's header as it was found: bits and numbers, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    first: u8,
    key: Option<[u8; 4]>,
    payload_len: u64,
}

impl FrameHeader {
    /// A header without a mask from its parts: `reserved_bits` are RSV1, RSV2, RSV3 in the low three bits, from the highest
    /// down; `opcode` is the low four bits, reserved values included.
    #[must_use]
    pub const fn from_parts(fin: bool, reserved_bits: u8, opcode: u8, payload_len: u64) -> Self {
        let first = if fin { FIN } else { 0 } | (reserved_bits & 0x7) << 4 | opcode & 0xF;
        Self { first, key: None, payload_len }
    }

    /// Whether this is its message's last frame.
    #[must_use]
    pub const fn fin(&self) -> bool {
        self.first & FIN != 0
    }

    /// RSV1, RSV2, RSV3 in the low three bits, from the highest down.
    #[must_use]
    pub const fn reserved_bits(&self) -> u8 {
        self.first >> 4 & 0x7
    }

    /// The masking key of a masked frame.
    #[must_use]
    pub const fn key(&self) -> Option<[u8; 4]> {
        self.key
    }

    /// Bytes of payload that the frame declares.
    #[must_use]
    pub const fn payload_len(&self) -> u64 {
        self.payload_len
    }
}
