//! The frame header: what it says, how it is read, checked and written (RFC 6455 section 5.2).

use crate::error::ProtocolFault;
use crate::opcode::Opcode;

/// Longest header: 2 bytes, 8 of length, 4 of masking key.
pub const MAX_HEADER_LEN: usize = 14;

/// Largest payload of a control frame (RFC 6455 section 5.5), and the largest length that the second byte holds itself.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// FIN, the highest bit of the first byte.
const FIN: u8 = 0x80;
/// MASK, the highest bit of the second byte.
const MASK: u8 = 0x80;
/// The highest bit of the opcode: a control frame (RFC 6455 section 5.5).
const CONTROL: u8 = 0x8;
/// In place of the length: 16 bits of length follow.
const LENGTH_16: u8 = 126;
/// In place of the length: 64 bits of length follow.
const LENGTH_64: u8 = 127;
/// RSV1 among the reserved bits: on the first frame of a message, permessage-deflate has compressed it (RFC 7692 section 6).
pub(crate) const RSV1: u8 = 0b100;
/// Where RSV1, RSV2 and RSV3 are in the first byte.
const RESERVED_SHIFT: u32 = 4;

/// The first byte of a header: what a frame is, apart from its length and mask. As found, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader(u8);

impl FrameHeader {
    /// A header from its parts: `reserved_bits` are RSV1, RSV2, RSV3 in the low three bits, from the highest down;
    /// `opcode` is any number of four bits, reserved ones included. Higher bits of both are ignored.
    #[must_use]
    pub(crate) const fn from_parts(fin: bool, reserved_bits: u8, opcode: u8) -> Self {
        let fin = if fin { FIN } else { 0 };
        Self(fin | (reserved_bits & 0x7) << RESERVED_SHIFT | opcode & 0xF)
    }

    /// Whether this is its message's last frame.
    #[must_use]
    pub(crate) const fn fin(self) -> bool {
        self.0 & FIN != 0
    }

    /// RSV1, RSV2, RSV3 in the low three bits, from the highest down.
    #[must_use]
    pub(crate) const fn reserved_bits(self) -> u8 {
        self.0 >> RESERVED_SHIFT & 0x7
    }

    /// The opcode's number; reserved ones included.
    #[must_use]
    pub(crate) const fn opcode(self) -> u8 {
        self.0 & 0xF
    }
}

/// Bytes of the header of a frame with `payload_len` bytes, in its shortest form.
#[must_use]
#[inline]
pub const fn header_len(masked: bool, payload_len: usize) -> usize {
    let length = match payload_len {
        0..=MAX_CONTROL_PAYLOAD => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    if masked { length + 4 } else { length }
}

/// Hands a header in its shortest form to `put`, piece by piece: pieces of known length are copied by a move or two.
#[inline]
pub(crate) fn write_header(
    FrameHeader(first): FrameHeader,
    payload_len: usize,
    key: Option<[u8; 4]>,
    mut put: impl FnMut(&[u8]),
) {
    let mask = if key.is_some() { MASK } else { 0 };
    match payload_len {
        0..=MAX_CONTROL_PAYLOAD => put(&[first, mask | payload_len as u8]),
        126..=0xFFFF => {
            let [high, low] = (payload_len as u16).to_be_bytes();
            put(&[first, mask | LENGTH_16, high, low]);
        }
        _ => {
            put(&[first, mask | LENGTH_64]);
            put(&(payload_len as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        put(&key);
    }
}

/// Length of a frame that this crate wrote, header included, and whether it is a message (or a fragment of one) and no control
/// frame. `bytes` begin with its header; its payload need not follow.
///
/// # Panics
///
/// If the header is cut off.
#[must_use]
pub fn frame_at(bytes: &[u8]) -> (usize, bool) {
    let is_message = bytes[0] & CONTROL == 0;
    let masked = bytes[1] & MASK != 0;
    let payload_len = match bytes[1] & !MASK {
        LENGTH_16 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        LENGTH_64 => {
            let mut length = [0; 8];
            length.copy_from_slice(&bytes[2..10]);
            // What was written lies in memory: its length fits.
            u64::from_be_bytes(length) as usize
        }
        length => usize::from(length),
    };
    (header_len(masked, payload_len) + payload_len, is_message)
}

/// A header that is in order, at its place in the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedHeader {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    /// The frame begins a compressed message.
    pub(crate) compressed: bool,
    pub(crate) payload_len: u64,
    pub(crate) key: Option<[u8; 4]>,
}

impl CheckedHeader {
    fn new(header: FrameHeader, opcode: Opcode, payload_len: u64, key: Option<[u8; 4]>) -> Self {
        let compressed = header.reserved_bits() & RSV1 != 0;
        Self { opcode, fin: header.fin(), compressed, payload_len, key }
    }
}

/// What the next header must obey.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderRules {
    /// Whether the peer must mask; if not, it must not (RFC 6455 section 5.1).
    pub(crate) masked: bool,
    /// Reserved bits that an extension has given a meaning to, on the first frame of a message (RFC 6455 section 5.2).
    pub(crate) allowed_reserved_bits: u8,
    /// Whether a fragmented message is under way, so that it must be continued first (RFC 6455 section 5.4).
    pub(crate) fragmented: bool,
    /// Whether that message is compressed.
    pub(crate) compressed: bool,
    /// Bytes received of that message, as they travel: compressed ones if it is compressed.
    pub(crate) received: u64,
    /// Largest message accepted, in bytes.
    pub(crate) limit: u32,
    /// Most compressed bytes accepted of a message.
    pub(crate) compressed_limit: u64,
}

impl HeaderRules {
    /// Reads the header at the front of `bytes`, and returns it with its length; `None` if it is not all there.
    /// A fault is reported as soon as the bytes that show it are there.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Option<(CheckedHeader, usize)>, ProtocolFault> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let header = FrameHeader(first);
        let length = second & !MASK;
        let opcode = self.check_start(header, usize::from(length) > MAX_CONTROL_PAYLOAD)?;
        match (self.masked, second & MASK != 0) {
            (true, false) => return Err(ProtocolFault::MissingMask),
            (false, true) => return Err(ProtocolFault::UnexpectedMask),
            _ => {}
        }
        let (payload_len, rest) = match length {
            LENGTH_16 => {
                let Some((length, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            LENGTH_64 => {
                let Some((length, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*length), rest)
            }
            _ => (u64::from(length), rest),
        };
        match (length, payload_len) {
            (LENGTH_16, 0..=125) | (LENGTH_64, 0..=0xFFFF) => {
                return Err(ProtocolFault::NonMinimalLength { length: payload_len as u16 });
            }
            (LENGTH_64, 0x8000_0000_0000_0000..) => return Err(ProtocolFault::LengthHighBit),
            _ => {}
        }
        self.check_size(header, opcode, payload_len)?;
        let (key, rest) = if self.masked {
            let Some((key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(*key), rest)
        } else {
            (None, rest)
        };
        Ok(Some((CheckedHeader::new(header, opcode, payload_len, key), bytes.len() - rest.len())))
    }

    /// Checks what a frame is and whether it may come now.
    fn check_start(&self, header: FrameHeader, over_control_limit: bool) -> Result<Opcode, ProtocolFault> {
        let Some(opcode) = Opcode::from_u8(header.opcode()) else {
            return Err(ProtocolFault::ReservedOpcode { opcode: header.opcode() });
        };
        // permessage-deflate marks messages, so only their first frames (RFC 7692 section 6.1).
        let allowed = match opcode {
            Opcode::Text | Opcode::Binary => self.allowed_reserved_bits,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => 0,
        };
        let bits = header.reserved_bits() & !allowed;
        if bits != 0 {
            return Err(ProtocolFault::ReservedBits { bits });
        }
        if opcode.is_control() {
            if !header.fin() {
                return Err(ProtocolFault::FragmentedControl { opcode });
            }
            if over_control_limit {
                return Err(ProtocolFault::ControlTooLong { opcode });
            }
        } else if opcode == Opcode::Continuation {
            if !self.fragmented {
                return Err(ProtocolFault::UnexpectedContinuation);
            }
        } else if self.fragmented {
            return Err(ProtocolFault::ExpectedContinuation { opcode });
        }
        Ok(opcode)
    }

    /// Checks that a message stays within its limit with this frame. Of a compressed one only what travels is known here;
    /// what it inflates to is counted as it comes.
    fn check_size(&self, header: FrameHeader, opcode: Opcode, payload_len: u64) -> Result<(), ProtocolFault> {
        // Below 2^63 and below 2^33: the sum can't wrap.
        let size = self.received + payload_len;
        let is_compressed = header.reserved_bits() & RSV1 != 0 || self.compressed;
        let limit = if is_compressed { self.compressed_limit } else { u64::from(self.limit) };
        if !opcode.is_control() && size > limit {
            return Err(ProtocolFault::MessageTooBig { size, limit: self.limit });
        }
        Ok(())
    }
}
