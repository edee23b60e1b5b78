//! What all targets share: frames as a peer writes them, reads as a socket cuts them, and what a connection makes of them.

use websocket_utils_core::connection::{Connection, Event, MessageKind, Role, State};
use websocket_utils_core::error::ProtocolFault;

/// Masks whatever a client sends.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// `Connection::release_memory` leaves so many bytes.
const IDLE: usize = 4 * 1024;

/// An event, or the violation, that outlives the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fault(ProtocolFault),
}

impl Seen {
    fn of(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind: MessageKind::Text, payload } => {
                Self::Text(String::from_utf8(payload.to_vec()).expect("text is proven UTF-8"))
            }
            Event::Message { kind: MessageKind::Binary, payload } => Self::Binary(payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => Self::Close(close.map(|close| (close.code.as_u16(), close.reason.to_owned()))),
        }
    }

    /// The payload of a message.
    pub(crate) fn message(&self) -> Option<(MessageKind, &[u8])> {
        match self {
            Self::Text(text) => Some((MessageKind::Text, text.as_bytes())),
            Self::Binary(bytes) => Some((MessageKind::Binary, bytes)),
            _ => None,
        }
    }
}

/// What the peer of `role` masks with.
pub(crate) fn peer_key(role: Role) -> Option<[u8; 4]> {
    match role {
        Role::Client => None,
        Role::Server => Some(KEY),
    }
}

/// The other end.
pub(crate) fn peer_of(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// The settings byte at the front of an input, and the rest; zeros where the input has ended.
pub(crate) fn setting(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(&first, rest)| (first, rest))
}

/// Appends a frame as the peer of `role` sends it, written here once more and not with the encoder under test.
pub(crate) fn append_frame(out: &mut Vec<u8>, role: Role, first: u8, payload: &[u8]) {
    let key = peer_key(role);
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    out.push(first);
    match payload.len() {
        len @ ..126 => out.push(mask_bit | len as u8),
        len @ 126..0x1_0000 => {
            out.push(mask_bit + 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(mask_bit + 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let key = key.inspect(|key| out.extend_from_slice(key)).unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Frames of a plan: first byte, length of the payload, payload; and so on. They are masked rightly, which a fuzzer that
/// knows nothing of masks rarely does.
pub(crate) fn frames(role: Role, mut plan: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, len, rest @ ..] = plan {
        let (payload, behind) = rest.split_at(rest.len().min(usize::from(*len)));
        append_frame(&mut out, role, *first, payload);
        plan = behind;
    }
    out
}

/// Where a socket would have cut the stream: byte by byte for seed 0, else into pieces of any size.
pub(crate) fn cut(input: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(if seed == 0 { 0 } else { 1_013_904_223 });
        let drawn = (state >> 16) as usize;
        let len = if drawn.is_multiple_of(4) { 1 + drawn / 4 % 300 } else { 1 + drawn / 4 % 7 };
        let (piece, behind) = rest.split_at(if seed == 0 { 1 } else { len.min(rest.len()) });
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Gives the pieces to the connection, one read each, and returns what it makes of them; `check` sees it after each event.
pub(crate) fn read(connection: &mut Connection, pieces: &[&[u8]], check: impl Fn(&Connection)) -> Vec<Seen> {
    let mut seen = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut rest = bytes.as_mut_slice();
        let mut ends_with_message = false;
        loop {
            match connection.next_event(&mut rest) {
                Ok(Some(event)) => {
                    seen.push(Seen::of(event));
                    ends_with_message = rest.is_empty() && seen.last().is_some_and(|last| last.message().is_some());
                }
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Fault(error.fault));
                    assert_eq!(connection.state(), State::Failed, "a violation fails the connection");
                }
            }
            check(connection);
        }
        assert!(rest.is_empty(), "all input is taken");
        check(connection);
        connection.release_memory();
        check(connection);
        assert!(!ends_with_message || connection.buffered() <= IDLE, "between messages memory is given back");
    }
    let last = seen.iter().position(|seen| matches!(seen, Seen::Close(_) | Seen::Fault(_)));
    assert!(last.is_none_or(|last| last + 1 == seen.len()), "nothing comes behind the end: {seen:?}");
    seen
}
