//! The state machine of one WebSocket connection behind its opening handshake: bytes in, events out; messages in, bytes out.
//!
//! # Theory of operation
//!
//! [`Connection::next_event`] is called on each read until it returns `None`, and has taken the whole input then: what is
//! unfinished is kept inside, so the caller's read buffer can be used again. A frame that is a whole message and lies whole
//! in the input is unmasked there and handed out without a copy; that is nearly every frame, and has a path of its own.
//! All else goes through three layers: the decoder cuts frames, the assembler makes messages of them, and the connection
//! keeps the order of the closing handshake.
//!
//! # Rules
//!
//! - Events come in the order of the wire. Control frames inside a fragmented message come before that message.
//! - The connection answers nothing by itself: pongs and close frames are sent by the caller, who knows when.
//! - After a close frame, and after the first violation, all further input is dropped (RFC 6455 sections 5.5.1 and 7.1.7).
//! - A violation is reported once, after everything before it, and as soon as the bytes that show it have come.

#![expect(clippy::mut_mut, reason = "input is taken from its front, by parts that outlive the call")]

use crate::assembler::{Assembler, Place};
use crate::close::{CloseCode, CloseFrame, truncate_reason};
use crate::decoder::{Decoder, Part};
use crate::deflate::Agreement;
use crate::encoder::{append_frame, append_short_control};
use crate::error::{LocalError, ProtocolError, ProtocolFault};
use crate::header::{CheckedHeader, HeaderRules, MAX_CONTROL_PAYLOAD, RSV1};
use crate::limits::Limits;
use crate::mask::{append_masked, apply_mask, unmask_is_ascii};
use crate::opcode::Opcode;
use crate::utf8;

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

impl State {
    /// Whether the peer may still send something that is read.
    const fn is_receiving(self) -> bool {
        matches!(self, Self::Open | Self::CloseSent)
    }
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

/// What the input completed.
enum Found<'i> {
    Message(MessageKind, Place<'i>),
    Control(Opcode, Place<'i>),
}

/// What the hot path found.
struct WholeMessage<'i> {
    kind: MessageKind,
    payload: &'i mut [u8],
    /// The payload is known to be in order; if not, it is text with bytes beyond ASCII.
    is_checked: bool,
}

/// One WebSocket connection, sans I/O.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    state: State,
    /// Nothing is unfinished and messages may come: all that the fast path needs to know.
    at_message_start: bool,
    /// A close frame was sent: there is one only (RFC 6455 section 5.5.1). The state can't tell when it is `Failed`.
    close_sent: bool,
    /// The general path has run since memory was last released: there may be some to release.
    holds_memory: bool,
    /// Reserved bits that a negotiated extension has given a meaning to.
    allowed_reserved_bits: u8,
    limits: Limits,
    decoder: Decoder,
    assembler: Assembler,
    /// The payload so far of a control frame that the input's end cut; or, between frames, of the last such one.
    control: Vec<u8>,
}

impl Connection {
    /// A connection whose opening handshake is done.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        let max_message_size = limits.max_message_size.min(u32::MAX as usize);
        Self {
            role,
            state: State::Open,
            at_message_start: true,
            close_sent: false,
            holds_memory: false,
            allowed_reserved_bits: 0,
            limits: Limits { max_message_size, ..limits },
            decoder: Decoder::default(),
            assembler: Assembler::default(),
            control: Vec::new(),
        }
    }

    /// A connection whose opening handshake is done, and agreed on permessage-deflate (RFC 7692).
    #[must_use]
    pub fn with_deflate(role: Role, limits: Limits, agreement: Agreement) -> Self {
        let mut connection = Self::new(role, limits);
        connection.allowed_reserved_bits = RSV1;
        connection.assembler = Assembler::with_deflate(agreement);
        connection
    }

    /// Changes the largest message that is accepted, from the next frame on: less for a peer that nobody knows yet.
    pub const fn set_max_message_size(&mut self, size: usize) {
        self.limits.max_message_size = if size > u32::MAX as usize { u32::MAX as usize } else { size };
    }

    /// Takes bytes from the front of `input`, advancing it, until one event is complete.
    ///
    /// Returns `None` when the input holds no further event; all of it is taken then, and an unfinished header (at most 14
    /// bytes) or message is kept inside. Payloads are unmasked in place, so the input's content is unspecified afterwards.
    ///
    /// # Errors
    /// The peer broke the protocol. Reported once; the connection is [`State::Failed`], and this and all further input is
    /// dropped. A close frame with [`ProtocolError::close_code`] should be sent, then the transport closed.
    #[inline]
    #[expect(clippy::mut_mut, reason = "input is taken from the front, and outlives the call")]
    pub fn next_event<'s, 'i: 's>(&'s mut self, input: &mut &'i mut [u8]) -> Result<Option<Event<'s>>, ProtocolError> {
        match self.take_whole_message(input) {
            Some(message) if message.is_checked => {
                Ok(Some(Event::Message { kind: message.kind, payload: message.payload }))
            }
            Some(message) => self.check_whole_text(message.payload, input),
            None => self.next_event_in_general(input),
        }
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

    /// Bytes of memory held for an unfinished message; up to 64 KiB are kept for the next one, and up to 4 KiB beyond
    /// [`Connection::release_memory`]. What inflating takes besides is told at [`Agreement`].
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.assembler.capacity()
    }

    /// Payload bytes of the frame that the input ended in, as its header declares them; 0 if it ended between frames. A hint at
    /// how much is worth reading at once.
    #[must_use]
    #[inline]
    pub fn frame_size(&self) -> u64 {
        self.decoder.frame_size()
    }

    /// Gives memory of delivered messages back, all but 4 KiB: to be called at the end of each read, when nothing borrows the
    /// last event any more. Costs one branch when there is none. A message under way keeps what it has.
    #[inline]
    pub fn release_memory(&mut self) {
        if self.holds_memory {
            self.release_held_memory();
        }
    }

    #[cold]
    fn release_held_memory(&mut self) {
        self.assembler.release_memory();
        self.holds_memory = false;
        // What was delivered is taken back: the next message may take the fast path again.
        self.at_message_start =
            self.state.is_receiving() && self.decoder.is_between_frames() && self.assembler.is_idle();
    }

    /// Whether messages may still be sent.
    #[must_use]
    #[inline]
    pub fn can_send(&self) -> bool {
        self.state == State::Open
    }

    /// Appends a message to `out` as one frame.
    ///
    /// # Errors
    /// The closing handshake has begun, or `key` does not fit the role. Nothing is appended.
    #[inline]
    pub fn send_message(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        key: Option<[u8; 4]>,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        let opcode = kind.opcode();
        self.check_sendable(opcode, self.state == State::Open, key)?;
        append_frame(out, opcode, true, payload, key);
        Ok(())
    }

    /// Appends a ping to `out`.
    ///
    /// # Errors
    /// More than 125 bytes, the closing handshake has begun, or `key` does not fit the role. Nothing is appended.
    pub fn send_ping(&mut self, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<(), LocalError> {
        self.check_sendable(Opcode::Ping, self.state == State::Open, key)?;
        append_short_control(Opcode::Ping, payload, key, out)
    }

    /// Appends a pong to `out`. A ping is answered even when our close frame is already sent (RFC 6455 section 5.5.2).
    ///
    /// # Errors
    /// More than 125 bytes, the peer has closed, or `key` does not fit the role. Nothing is appended.
    pub fn send_pong(&mut self, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<(), LocalError> {
        self.check_sendable(Opcode::Pong, self.state.is_receiving(), key)?;
        append_short_control(Opcode::Pong, payload, key, out)
    }

    /// Appends a close frame to `out`: begins the closing handshake, answers the peer's, or ends a failed connection. A
    /// reason over 123 bytes is cut between two characters.
    ///
    /// # Errors
    /// A code that may not travel, a reason without a code, a second close frame, or `key` does not fit the role. Nothing is
    /// appended.
    pub fn send_close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        key: Option<[u8; 4]>,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        self.check_sendable(Opcode::Close, !self.close_sent && self.state != State::Closed, key)?;
        let mut payload = Vec::with_capacity(MAX_CONTROL_PAYLOAD);
        match code {
            Some(code) if !code.is_valid_on_wire() => return Err(LocalError::CloseCode { code }),
            Some(code) => {
                payload.extend_from_slice(&code.as_u16().to_be_bytes());
                payload.extend_from_slice(truncate_reason(reason).as_bytes());
            }
            None if !reason.is_empty() => return Err(LocalError::ReasonWithoutCode),
            None => {}
        }
        append_frame(out, Opcode::Close, true, &payload, key);
        self.close_sent = true;
        match self.state {
            State::Open => self.state = State::CloseSent,
            State::CloseReceived => self.state = State::Closed,
            State::CloseSent | State::Closed | State::Failed => {}
        }
        Ok(())
    }

    /// The transport is gone: nothing arrives and nothing can be sent any more. An unfinished message is dropped.
    pub fn handle_transport_closed(&mut self) {
        self.stop_receiving(State::Closed);
    }

    /// The hot path: a whole message of less than 64 KiB in one frame that lies whole in the input. What it does not know
    /// to be in order it leaves to the general path.
    #[inline]
    fn take_whole_message<'i>(&self, input: &mut &'i mut [u8]) -> Option<WholeMessage<'i>> {
        /// The first byte of a text message in one frame: FIN, no reserved bits.
        const TEXT: u8 = 0x81;
        /// The same of a binary message.
        const BINARY: u8 = 0x82;
        let &mut [first @ (TEXT | BINARY), second, ..] = &mut **input else { return None };
        // With the mask bit turned over for a server, a wrong one gives no length.
        let (mask_bit, key_len) = match self.role {
            Role::Client => (0, 0),
            Role::Server => (0x80, 4),
        };
        let (len, key_start) = match second ^ mask_bit {
            len @ 0..=125 => (usize::from(len), 2),
            126 => {
                let &mut [_, _, high, low, ..] = &mut **input else { return None };
                let len = usize::from(u16::from_be_bytes([high, low]));
                if len <= MAX_CONTROL_PAYLOAD {
                    return None;
                }
                (len, 4)
            }
            _ => return None,
        };
        let payload_start = key_start + key_len;
        let end = payload_start + len;
        if end > input.len() || len > self.limits.max_message_size || !self.at_message_start {
            return None;
        }
        let (frame, rest) = core::mem::take(input).split_at_mut(end);
        *input = rest;
        let (header, payload) = frame.split_at_mut(payload_start);
        let is_binary = first == BINARY;
        let is_checked = match (self.role, header.last_chunk()) {
            (Role::Server, Some(key)) => unmask_is_ascii(payload, *key) || is_binary,
            _ => is_binary || utf8::is_ascii(payload),
        };
        let kind = if is_binary { MessageKind::Binary } else { MessageKind::Text };
        Some(WholeMessage { kind, payload, is_checked })
    }

    fn check_whole_text<'s, 'i: 's>(
        &'s mut self,
        payload: &'i mut [u8],
        input: &mut &'i mut [u8],
    ) -> Result<Option<Event<'s>>, ProtocolError> {
        match utf8::check(payload) {
            Ok(()) => Ok(Some(Event::Message { kind: MessageKind::Text, payload })),
            Err(error) => {
                *input = &mut [];
                self.report(Err(error.into()))
            }
        }
    }

    fn next_event_in_general<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Event<'s>>, ProtocolError> {
        if !self.state.is_receiving() {
            *input = &mut [];
            return Ok(None);
        }
        self.assembler.release_delivered();
        let found = self.take_event(input);
        let event = self.report(found);
        if event.is_err() {
            *input = &mut [];
        }
        event
    }

    /// Takes input until an event is complete or the input has ended.
    fn take_event<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<Found<'i>>, ProtocolFault> {
        loop {
            if !self.decoder.is_inside_payload() {
                let Some(header) = self.decoder.read_header(input, &self.header_rules())? else {
                    return Ok(None);
                };
                self.begin_frame(&header)?;
            }
            let Some(part) = self.decoder.read_part(input) else {
                return Ok(None);
            };
            if let Some(found) = self.take_part(part)? {
                return Ok(Some(found));
            }
        }
    }

    fn header_rules(&self) -> HeaderRules {
        HeaderRules {
            masked: self.role == Role::Server,
            allowed_reserved_bits: self.allowed_reserved_bits,
            fragmented: self.assembler.has_message(),
            compressed: self.assembler.is_inflating(),
            received: self.assembler.received(),
            limit: self.limits.max_message_size as u32,
            compressed_limit: self.limits.max_compressed_size(),
        }
    }

    fn begin_frame(&mut self, header: &CheckedHeader) -> Result<(), ProtocolFault> {
        if header.opcode.is_control() {
            self.control.clear();
            Ok(())
        } else {
            self.assembler.begin_frame(header, &self.limits)
        }
    }

    fn take_part<'i>(&mut self, part: Part<'i>) -> Result<Option<Found<'i>>, ProtocolFault> {
        let opcode = part.header.opcode;
        if !opcode.is_control() {
            let message = self.assembler.handle_part(part, &self.limits)?;
            return Ok(message.map(|(kind, place)| Found::Message(kind, place)));
        }
        if part.is_whole() {
            if let Some(key) = part.key {
                apply_mask(part.bytes, key, 0);
            }
            return Ok(Some(Found::Control(opcode, Place::Input(part.bytes))));
        }
        match part.key {
            Some(key) => append_masked(&mut self.control, part.bytes, key, 0),
            None => self.control.extend_from_slice(part.bytes),
        }
        Ok((part.remaining == 0).then_some(Found::Control(opcode, Place::Gathered)))
    }

    /// Makes an event, or a failed connection, of what was found.
    fn report<'s, 'i: 's>(
        &'s mut self,
        found: Result<Option<Found<'i>>, ProtocolFault>,
    ) -> Result<Option<Event<'s>>, ProtocolError> {
        self.holds_memory = true;
        self.at_message_start = self.decoder.is_between_frames() && self.assembler.is_idle();
        let (opcode, payload): (_, &'s [u8]) = match found {
            Ok(None) => return Ok(None),
            Ok(Some(Found::Message(kind, place))) => {
                let payload = match place {
                    Place::Input(payload) => payload,
                    Place::Gathered => self.assembler.gathered(),
                };
                return Ok(Some(Event::Message { kind, payload }));
            }
            Ok(Some(Found::Control(opcode, Place::Input(payload)))) => (opcode, payload),
            Ok(Some(Found::Control(opcode, Place::Gathered))) => (opcode, &self.control),
            Err(fault) => {
                self.stop_receiving(State::Failed);
                return Err(fault.into());
            }
        };
        match opcode {
            Opcode::Ping => return Ok(Some(Event::Ping(payload))),
            Opcode::Pong => return Ok(Some(Event::Pong(payload))),
            Opcode::Close | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let close = CloseFrame::parse(payload);
        // Nothing is read behind a close frame, be it in order or not.
        self.at_message_start = false;
        self.assembler.discard();
        self.state = match (&close, self.close_sent) {
            (Err(_), _) => State::Failed,
            (Ok(_), true) => State::Closed,
            (Ok(_), false) => State::CloseReceived,
        };
        Ok(Some(Event::Close(close?)))
    }

    fn stop_receiving(&mut self, state: State) {
        self.state = state;
        self.at_message_start = false;
        self.assembler.discard();
    }

    fn check_sendable(&self, opcode: Opcode, is_sendable: bool, key: Option<[u8; 4]>) -> Result<(), LocalError> {
        match (self.role, key) {
            _ if !is_sendable => Err(LocalError::NotSendable { opcode, state: self.state }),
            (Role::Client, None) => Err(LocalError::MissingKey),
            (Role::Server, Some(_)) => Err(LocalError::UnexpectedKey),
            (Role::Client, Some(_)) | (Role::Server, None) => Ok(()),
        }
    }
}
