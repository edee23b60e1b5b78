//! Close codes and the payload of close frames (RFC 6455 sections 5.5.1 and 7.4).

use core::fmt;

use crate::error::ProtocolFault;

/// Longest reason that fits beside the code: a control frame holds 125 bytes (RFC 6455 section 5.5).
pub const MAX_CLOSE_REASON_LEN: usize = 123;

/// Why a connection is closed: a number of the IANA "WebSocket Close Code Number Registry", or a private one.
///
/// Any `u16` can be held, so that what a peer sent can be reported; [`CloseCode::is_valid_on_wire`] says which may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL_CLOSURE: Self = Self(1000);
    /// 1001: a server goes down or a client leaves.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the peer sent a kind of data that is not accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the close frame held no code. Never travels.
    pub const NO_STATUS_RCVD: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never travels.
    pub const ABNORMAL_CLOSURE: Self = Self(1006);
    /// 1007: a payload is not of its message's type, for instance text that is no UTF-8.
    pub const INVALID_FRAME_PAYLOAD_DATA: Self = Self(1007);
    /// 1008: a message is against the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not negotiate an extension the client needs.
    pub const MANDATORY_EXT: Self = Self(1010);
    /// 1011: the endpoint met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later; also what a client that reads too slowly is told.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never travels.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code with this number, valid or not.
    #[must_use]
    pub const fn from_u16(number: u16) -> Self {
        Self(number)
    }

    /// The code's number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a close frame may hold this code: registered and not reserved for local use (1000-1003, 1007-1014),
    /// registered by libraries (3000-3999) or private (4000-4999) (RFC 6455 section 7.4.2).
    #[must_use]
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The registered name, `None` for a number without one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL_CLOSURE => "normal closure",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_DATA => "unsupported data",
            Self::NO_STATUS_RCVD => "no status received",
            Self::ABNORMAL_CLOSURE => "abnormal closure",
            Self::INVALID_FRAME_PAYLOAD_DATA => "invalid frame payload data",
            Self::POLICY_VIOLATION => "policy violation",
            Self::MESSAGE_TOO_BIG => "message too big",
            Self::MANDATORY_EXT => "mandatory extension",
            Self::INTERNAL_ERROR => "internal error",
            Self::SERVICE_RESTART => "service restart",
            Self::TRY_AGAIN_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self::TLS_HANDSHAKE => "TLS handshake failure",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a close frame with a code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the peer closes; one that [may travel](CloseCode::is_valid_on_wire).
    pub code: CloseCode,
    /// The peer's words, at most 123 bytes; often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads a close frame's payload; `None` when it is empty (RFC 6455 section 5.5.1).
    ///
    /// # Errors
    /// A payload of one byte, a code that may not travel, a reason that is no UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolFault> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolFault::ClosePayloadLength),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !CloseCode(code).is_valid_on_wire() {
            return Err(ProtocolFault::CloseCode { code });
        }
        match core::str::from_utf8(reason) {
            Ok(reason) => Ok(Some(Self { code: CloseCode(code), reason })),
            Err(error) => Err(ProtocolFault::CloseReason { offset: error.valid_up_to() as u8 }),
        }
    }
}

/// The longest head of `reason` that fits into a close frame without cutting a character.
#[must_use]
pub fn truncate_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_CLOSE_REASON_LEN);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
