//! What can go wrong: a peer that breaks the protocol, a caller that asks for what may not be sent.

use core::fmt;

use crate::close::CloseCode;
use crate::connection::State;
use crate::opcode::Opcode;

/// How a peer broke RFC 6455, or RFC 7692 where permessage-deflate was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolFault {
    /// A reserved bit is set that no negotiated extension gives a meaning to.
    ReservedBits {
        /// RSV1, RSV2, RSV3 from the highest of three bits down.
        bits: u8,
    },
    /// The opcode is reserved.
    ReservedOpcode {
        /// The four bits found.
        opcode: u8,
    },
    /// A control frame without FIN.
    FragmentedControl {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A control frame that declares more than 125 bytes.
    ControlTooLong {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A client sent a frame without a mask.
    MissingMask,
    /// A server sent a masked frame.
    UnexpectedMask,
    /// The payload length is not in its shortest form.
    NonMinimalLength {
        /// The length in its too long form.
        length: u16,
    },
    /// The highest bit of a 64-bit payload length is set.
    LengthHighBit,
    /// A message is larger than [`Limits::max_message_size`](crate::limits::Limits::max_message_size).
    MessageTooBig {
        /// Bytes received of this message plus those the refused frame declares; of a compressed one, the bytes inflated when
        /// it was given up, or those that would have travelled.
        size: u64,
        /// The limit in force, in bytes.
        limit: u32,
    },
    /// A message has more fragments without payload than
    /// [`Limits::max_empty_fragments`](crate::limits::Limits::max_empty_fragments).
    TooManyEmptyFragments {
        /// The limit in force.
        limit: u32,
    },
    /// A continuation frame, but no message is under way.
    UnexpectedContinuation,
    /// A new message inside a fragmented one.
    ExpectedContinuation {
        /// The opcode in place of the continuation.
        opcode: Opcode,
    },
    /// A text message that is no UTF-8.
    InvalidUtf8 {
        /// Where in the message the ill-formed sequence begins, in bytes.
        offset: u32,
    },
    /// A compressed message that is no DEFLATE stream, is cut, or refers to bytes that were not sent (RFC 7692 section 7.2.2).
    /// Answered with 1007, "data within a message that was not consistent with the type of the message": the frames are
    /// in order, their content is not.
    InvalidDeflate,
    /// A close frame with a payload of one byte: half a code.
    ClosePayloadLength,
    /// A close frame with a code that may not travel.
    CloseCode {
        /// The code found.
        code: u16,
    },
    /// A close frame with a reason that is no UTF-8.
    CloseReason {
        /// Where in the reason the ill-formed sequence begins, in bytes.
        offset: u8,
    },
}

impl fmt::Display for ProtocolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ReservedBits { bits } => {
                write!(
                    f,
                    "reserved bits {bits:03b} set, but no extension gives them a meaning here (RFC 6455 section 5.2)"
                )
            }
            Self::ReservedOpcode { opcode } => write!(f, "reserved opcode {opcode:#x} (RFC 6455 section 5.2)"),
            Self::FragmentedControl { opcode } => {
                write!(f, "{opcode:?} frame without FIN: control frames can't be fragmented (RFC 6455 section 5.5)")
            }
            Self::ControlTooLong { opcode } => {
                write!(f, "{opcode:?} frame over 125 bytes, the limit of control frames (RFC 6455 section 5.5)")
            }
            Self::MissingMask => {
                f.write_str("unmasked frame from a client: clients mask every frame (RFC 6455 section 5.1)")
            }
            Self::UnexpectedMask => {
                f.write_str("masked frame from a server: servers never mask (RFC 6455 section 5.1)")
            }
            Self::NonMinimalLength { length } => {
                write!(f, "payload length {length} is not in its shortest form (RFC 6455 section 5.2)")
            }
            Self::LengthHighBit => {
                f.write_str("highest bit of the 64-bit payload length is set, it must be 0 (RFC 6455 section 5.2)")
            }
            Self::MessageTooBig { size, limit } => {
                write!(f, "message of {size} bytes or more, over the limit of {limit} bytes (RFC 6455 section 10.4)")
            }
            Self::TooManyEmptyFragments { limit } => {
                write!(f, "more than {limit} fragments without payload in one message (RFC 6455 section 10.4)")
            }
            Self::UnexpectedContinuation => {
                f.write_str("continuation frame, but no fragmented message is under way (RFC 6455 section 5.4)")
            }
            Self::ExpectedContinuation { opcode } => {
                write!(
                    f,
                    "{opcode:?} frame inside a fragmented message, expected a continuation (RFC 6455 section 5.4)"
                )
            }
            Self::InvalidUtf8 { offset } => {
                write!(f, "text message is no UTF-8 at byte {offset} (RFC 6455 section 8.1)")
            }
            Self::InvalidDeflate => {
                f.write_str(
                    "compressed message is not to be inflated: broken, cut or referring to bytes not sent (RFC 7692 section 7.2.2)",
                )
            }
            Self::ClosePayloadLength => {
                f.write_str("close frame with a payload of 1 byte, the code alone has 2 (RFC 6455 section 5.5.1)")
            }
            Self::CloseCode { code } => {
                write!(f, "close frame with code {code}, which must not be sent (RFC 6455 section 7.4)")
            }
            Self::CloseReason { offset } => {
                write!(f, "close reason is no UTF-8 at byte {offset} (RFC 6455 section 5.5.1)")
            }
        }
    }
}

/// A peer broke the protocol: the connection must be failed (RFC 6455 section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError {
    /// What the peer did.
    pub fault: ProtocolFault,
}

impl ProtocolError {
    /// The code the closing frame should have: 1007, 1009 or 1002.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self.fault {
            ProtocolFault::InvalidUtf8 { .. } | ProtocolFault::InvalidDeflate | ProtocolFault::CloseReason { .. } => {
                CloseCode::INVALID_FRAME_PAYLOAD_DATA
            }
            ProtocolFault::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            ProtocolFault::ReservedBits { .. }
            | ProtocolFault::ReservedOpcode { .. }
            | ProtocolFault::FragmentedControl { .. }
            | ProtocolFault::ControlTooLong { .. }
            | ProtocolFault::MissingMask
            | ProtocolFault::UnexpectedMask
            | ProtocolFault::NonMinimalLength { .. }
            | ProtocolFault::LengthHighBit
            | ProtocolFault::TooManyEmptyFragments { .. }
            | ProtocolFault::UnexpectedContinuation
            | ProtocolFault::ExpectedContinuation { .. }
            | ProtocolFault::ClosePayloadLength
            | ProtocolFault::CloseCode { .. } => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl From<ProtocolFault> for ProtocolError {
    fn from(fault: ProtocolFault) -> Self {
        Self { fault }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl core::error::Error for ProtocolError {}

/// The caller asked for something that must not be sent. Nothing was sent and the connection is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalError {
    /// The connection's state does not let this frame out.
    NotSendable {
        /// Which frame.
        opcode: Opcode,
        /// The state that forbids it.
        state: State,
    },
    /// A ping or pong with more than 125 bytes.
    ControlTooLong {
        /// The size asked for, in bytes.
        size: usize,
    },
    /// A close code that may not travel.
    CloseCode {
        /// The code asked for.
        code: CloseCode,
    },
    /// A close reason without a code: the payload has no place for it.
    ReasonWithoutCode,
    /// A client must mask and was given no masking key.
    MissingKey,
    /// A server must not mask and was given a masking key.
    UnexpectedKey,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotSendable { opcode, state } => {
                write!(f, "{opcode:?} frame can't be sent in state {state:?} (RFC 6455 section 5.5.1)")
            }
            Self::ControlTooLong { size } => {
                write!(f, "payload of {size} bytes, a control frame holds at most 125 (RFC 6455 section 5.5)")
            }
            Self::CloseCode { code } => write!(f, "close code {code} must not be sent (RFC 6455 section 7.4)"),
            Self::ReasonWithoutCode => f.write_str("close reason without a close code (RFC 6455 section 5.5.1)"),
            Self::MissingKey => f.write_str("a client's frame needs a masking key (RFC 6455 section 5.1)"),
            Self::UnexpectedKey => f.write_str("a server's frame takes no masking key (RFC 6455 section 5.1)"),
        }
    }
}

impl core::error::Error for LocalError {}
