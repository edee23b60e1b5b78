//! The state machine of one WebSocket connection behind its opening handshake: bytes in, events out; messages in, bytes out.

use crate::close::{CloseCode, CloseFrame};
use crate::error::{LocalError, ProtocolError};
use crate::header::FrameHeader;
use crate::limits::Limits;

pub use crate::opcode::MessageKind;

/// Which end of the connection this is: it decides who masks (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Masks what it sends, accepts no masked frame.
    Client,
    /// Never masks, accepts masked frames only.
    Server,
}

/// How far the connection is on its way to the end (RFC 6455 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Messages travel both ways.
    Open,
    /// Our close frame is sent, the peer's has not come yet; messages still arrive.
    CloseSent,
    /// The peer's close frame is here, ours is not yet sent.
    CloseReceived,
    /// Both close frames have travelled, or the transport is gone.
    Closed,
    /// The peer broke the protocol. One close frame may still be sent, nothing is read.
    Failed,
}

/// What the peer sent. Payloads are unmasked and valid until the connection is used again.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// The whole payload; UTF-8 if `kind` is text. The reader may use it as scratch space.
        payload: &'a mut [u8],
    },
    /// A ping, to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong, asked for or not.
    Pong(&'a [u8]),
    /// The peer's close frame; `None` if it held no code. The last event there is.
    Close(Option<CloseFrame<'a>>),
}

/// One WebSocket connection, sans I/O.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    state: State,
    limits: Limits,
}

impl Connection {
    /// A connection whose opening handshake is done.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { role, state: State::Open, limits }
    }

    /// Takes bytes from the front of `input`, advancing it, until one event is complete.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub fn next_event<'s, 'i: 's>(&'s mut self, input: &mut &'i mut [u8]) -> Result<Option<Event<'s>>, ProtocolError> {
        *input = &mut [];
        Ok(None)
    }

    /// Takes a frame that somebody else has parsed and unmasked.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub fn handle_frame<'s, 'i: 's>(
        &'s mut self,
        header: FrameHeader,
        payload: &'i mut [u8],
    ) -> Result<Option<Event<'s>>, ProtocolError> {
        let _ = (header, payload, self.limits);
        Ok(None)
    }

    /// How far the connection is on its way to the end.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Bytes of memory held for an unfinished message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        0
    }

    /// Whether messages may still be sent.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.state == State::Open
    }

    /// Appends a message to `out` as one frame.
    ///
    /// # Errors
    /// The closing handshake has begun, or `key` does not fit the role.
    pub fn send_message(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        key: Option<[u8; 4]>,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        let _ = (kind, payload, key, out);
        Ok(())
    }

    /// Appends a ping to `out`.
    ///
    /// # Errors
    /// More than 125 bytes, the closing handshake has begun, or `key` does not fit the role.
    pub fn send_ping(&mut self, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<(), LocalError> {
        let _ = (payload, key, out);
        Ok(())
    }

    /// Appends a pong to `out`.
    ///
    /// # Errors
    /// More than 125 bytes, the peer has closed, or `key` does not fit the role.
    pub fn send_pong(&mut self, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<(), LocalError> {
        let _ = (payload, key, out);
        Ok(())
    }

    /// Appends a close frame to `out`.
    ///
    /// # Errors
    /// A code that may not travel, a reason without a code, a second close frame, or `key` does not fit the role.
    pub fn send_close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        key: Option<[u8; 4]>,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        let _ = (code, reason, key, out);
        Ok(())
    }

    /// The transport is gone: nothing arrives and nothing can be sent any more.
    pub fn handle_transport_closed(&mut self) {
        self.state = State::Closed;
    }
}
