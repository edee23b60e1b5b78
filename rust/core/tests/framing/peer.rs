//! The other end of a connection, written plainly: frames of any kind, in order or not, and what was made of them.

use websocket_utils_core::connection::{Connection, Event, MessageKind, Role};
use websocket_utils_core::error::ProtocolFault;
use websocket_utils_core::limits::Limits;

pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

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
    pub(crate) fn of(event: Event<'_>) -> Self {
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

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

pub(crate) fn connection(role: Role) -> Connection {
    Connection::new(role, Limits::default())
}

/// Gives `input` to the connection and returns what it makes of it.
pub(crate) fn read(connection: &mut Connection, input: &[u8]) -> Vec<Seen> {
    let mut input = input.to_vec();
    let mut rest = input.as_mut_slice();
    let mut seen = Vec::new();
    loop {
        match connection.next_event(&mut rest) {
            Ok(Some(event)) => seen.push(Seen::of(event)),
            Ok(None) => break,
            Err(error) => {
                seen.push(Seen::Fault(error.fault));
                assert!(rest.is_empty(), "input behind a violation is dropped with it");
            }
        }
    }
    assert!(rest.is_empty(), "all input is taken");
    seen
}

/// What a new connection makes of `input`.
pub(crate) fn read_new(role: Role, input: &[u8]) -> Vec<Seen> {
    read(&mut connection(role), input)
}

/// A frame as the peer of `role` sends it: masked if that is a server.
pub(crate) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(role, first, payload.len() as u64);
    match role {
        Role::Client => frame.extend_from_slice(payload),
        Role::Server => frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key)),
    }
    frame
}

/// The header of such a frame.
pub(crate) fn header(role: Role, first: u8, payload_len: u64) -> Vec<u8> {
    let mask = if role == Role::Server { 0x80 } else { 0 };
    let mut header = vec![first];
    if payload_len < 126 {
        header.push(mask | payload_len as u8);
    } else if payload_len < 65536 {
        header.push(mask | 0x7e);
        header.extend_from_slice(&(payload_len as u16).to_be_bytes());
    } else {
        header.push(mask | 0x7f);
        header.extend_from_slice(&payload_len.to_be_bytes());
    }
    if role == Role::Server {
        header.extend_from_slice(&KEY);
    }
    header
}

/// Feeds `input` byte by byte and returns how many bytes it took until the violation came.
pub(crate) fn bytes_until_fault(connection: &mut Connection, input: &[u8]) -> Option<(usize, ProtocolFault)> {
    for (index, byte) in input.iter().enumerate() {
        for seen in read(connection, &[*byte]) {
            if let Seen::Fault(fault) = seen {
                return Some((index + 1, fault));
            }
        }
    }
    None
}
