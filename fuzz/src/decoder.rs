//! Frames and messages without extensions, in both roles.

use websocket_utils_core::connection::{Connection, Role};
use websocket_utils_core::limits::Limits;

use crate::stream::{Seen, cut, frames, peer_key, peer_of, read, setting};

/// What a peer declares is believed for so many bytes.
const BELIEVED: usize = 64 * 1024;

const LIMITS: [usize; 4] = [125, 1024, 70_000, 16 * 1024 * 1024];

/// However the stream is cut, the same events come out, memory stays in its bounds, and what was received can be sent on.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let (settings, data) = setting(data);
    let (seed, data) = setting(data);
    let role = if settings & 1 == 0 { Role::Client } else { Role::Server };
    let max_message_size = LIMITS[usize::from(settings >> 1 & 3)];
    let max_empty_fragments = if settings & 8 == 0 { 2 } else { 1024 };
    let limits = Limits { max_message_size, max_empty_fragments };
    let stream = if settings & 16 == 0 { data.to_vec() } else { frames(role, data) };
    // Memory has to be paid for in bytes sent.
    let bound = max_message_size.min(2 * stream.len() + BELIEVED);
    let check = |connection: &Connection| {
        assert!(connection.buffered() <= bound, "{} bytes held of {bound}", connection.buffered());
    };
    let whole = read(&mut Connection::new(role, limits), &[&stream], check);
    let pieces = read(&mut Connection::new(role, limits), &cut(&stream, seed), check);
    assert_eq!(whole, pieces, "the events depend on how the stream is cut");
    for seen in &whole {
        assert!(seen.message().is_none_or(|(_, payload)| payload.len() <= max_message_size), "larger than the limit");
    }
    send_on(role, &whole);
}

/// Sends what was received back, and reads it at the other end.
fn send_on(role: Role, received: &[Seen]) {
    let key = peer_key(peer_of(role));
    let mut sender = Connection::new(role, Limits::default());
    let mut stream = Vec::new();
    let mut sent = Vec::new();
    for seen in received {
        let outcome = match seen {
            Seen::Ping(payload) => sender.send_ping(payload, key, &mut stream),
            Seen::Pong(payload) => sender.send_pong(payload, key, &mut stream),
            Seen::Text(_) | Seen::Binary(_) => {
                let Some((kind, payload)) = seen.message() else { unreachable!("these are messages") };
                sender.send_message(kind, payload, key, &mut stream)
            }
            Seen::Close(_) | Seen::Fault(_) => continue,
        };
        assert_eq!(outcome, Ok(()), "what was received may be sent");
        sent.push(seen.clone());
    }
    let got = read(&mut Connection::new(peer_of(role), Limits::default()), &[&stream], |_| ());
    assert_eq!(got, sent, "what was sent arrives");
}
