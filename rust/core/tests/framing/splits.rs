//! However the stream is cut into reads, the same events come out of it.

use proptest::collection::vec;
use proptest::prelude::*;
use websocket_utils_core::connection::{Connection, Role};
use websocket_utils_core::limits::Limits;

use crate::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, ROLES, Seen, TEXT, connection, frame, header, read, read_new,
};

/// Everything in order that a peer may send, to its end.
fn stream(role: Role) -> (Vec<u8>, Vec<Seen>) {
    let long_text = "price \u{20ac} \u{1f680} ".repeat(11);
    let bytes: Vec<u8> = (0..=255).collect();
    let (head, tail) = long_text.as_bytes().split_at(7);
    let frames: &[(u8, &[u8])] = &[
        (FIN | TEXT, b"{\"type\":\"Ping\"}"),
        (FIN | TEXT, b""),
        (FIN | BINARY, &bytes[..125]),
        (FIN | BINARY, &bytes),
        (PING, b"are you there"),
        (FIN | TEXT, long_text.as_bytes()),
        (TEXT, head),
        (PING, b""),
        (CONTINUATION, b""),
        (PONG, b"inside"),
        (CONTINUATION, &tail[..1]),
        (FIN | CONTINUATION, &tail[1..]),
        (BINARY, b""),
        (FIN | CONTINUATION, b""),
        (PONG, &bytes[..125]),
        (BINARY, &bytes[..3]),
        (FIN | CONTINUATION, &bytes[3..]),
        (FIN | TEXT, "\u{e9}".as_bytes()),
        (CLOSE, b"\x03\xe8bye \xc3\xa9"),
        (FIN | TEXT, b"dropped"),
    ];
    let expected = vec![
        Seen::text("{\"type\":\"Ping\"}"),
        Seen::text(""),
        Seen::Binary(bytes[..125].to_vec()),
        Seen::Binary(bytes.clone()),
        Seen::Ping(b"are you there".to_vec()),
        Seen::Text(long_text.clone()),
        Seen::Ping(Vec::new()),
        Seen::Pong(b"inside".to_vec()),
        Seen::Text(long_text.clone()),
        Seen::Binary(Vec::new()),
        Seen::Pong(bytes[..125].to_vec()),
        Seen::Binary(bytes.clone()),
        Seen::text("\u{e9}"),
        Seen::Close(Some((1000, "bye \u{e9}".to_owned()))),
    ];
    (frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect(), expected)
}

/// Streams that end in a violation, each of another kind.
fn violations(role: Role) -> Vec<Vec<u8>> {
    let good = [frame(role, FIN | TEXT, b"good"), frame(role, TEXT, "\u{20ac}".as_bytes())].concat();
    let other = if role == Role::Client { Role::Server } else { Role::Client };
    [
        frame(role, FIN | 0x40, b"reserved bit"),
        frame(role, FIN | 0x3, b"reserved opcode"),
        frame(role, 0x9, b"fragmented ping"),
        frame(role, PING, &[0; 126]),
        frame(other, FIN | CONTINUATION, b"masked wrongly"),
        frame(role, FIN | TEXT, b"new message"),
        frame(role, FIN | CONTINUATION, b"good until \xed\xa0\x80"),
        frame(role, FIN | CONTINUATION, b"cut \xe2\x82"),
        frame(role, CLOSE, b"\x03"),
        frame(role, CLOSE, b"\x03\xed"),
        frame(role, CLOSE, b"\x03\xe8ok \xff"),
        header(role, FIN | CONTINUATION, 1 << 40),
        header(role, FIN | CONTINUATION, 1 << 63),
    ]
    .into_iter()
    .map(|bad| [good.clone(), bad, frame(role, FIN | TEXT, b"dropped")].concat())
    .collect()
}

fn read_in_parts<'a>(role: Role, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut connection = connection(role);
    parts.into_iter().flat_map(|part| read(&mut connection, part)).collect()
}

#[test]
fn every_split_point_gives_the_same_events() {
    for role in ROLES {
        let (stream, expected) = stream(role);
        assert_eq!(read_new(role, &stream), expected, "whole, {role:?}");
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(read_in_parts(role, [head, tail]), expected, "split at {at}, {role:?}");
        }
        for size in 1..=20 {
            assert_eq!(read_in_parts(role, stream.chunks(size)), expected, "by {size} bytes, {role:?}");
        }
    }
}

#[test]
fn every_split_point_gives_the_same_violation_after_the_same_events() {
    for role in ROLES {
        for (index, stream) in violations(role).iter().enumerate() {
            let expected = read_new(role, stream);
            assert_eq!(expected[0], Seen::text("good"));
            assert!(matches!(expected[1..], [Seen::Fault(_)]), "stream {index}, {role:?}: {expected:?}");
            for at in 0..=stream.len() {
                let (head, tail) = stream.split_at(at);
                assert_eq!(read_in_parts(role, [head, tail]), expected, "stream {index} split at {at}, {role:?}");
            }
            assert_eq!(read_in_parts(role, stream.chunks(1)), expected, "stream {index} by bytes, {role:?}");
        }
    }
}

/// Bytes that come near to frames: often a good first byte and length, else anything.
fn near_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        vec(any::<u8>(), 0..140),
        "[a-z\u{e9}\u{20ac}\u{1f680}]{0,60}".prop_map(String::into_bytes),
        (1000_u16..1016, "[a-z]{0,9}")
            .prop_map(|(code, reason)| { [code.to_be_bytes().as_slice(), reason.as_bytes()].concat() }),
    ];
    let frame = (first, payload, any::<bool>())
        .prop_map(|(first, payload, masked)| frame(if masked { Role::Server } else { Role::Client }, first, &payload));
    vec(prop_oneof![9 => frame, 1 => vec(any::<u8>(), 0..20)], 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn random_cuts_of_a_good_stream_give_the_same_events(
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        is_server in any::<bool>(),
    ) {
        let role = if is_server { Role::Server } else { Role::Client };
        let (stream, expected) = stream(role);
        prop_assert_eq!(read_in_parts(role, cut(&stream, &cuts)), expected);
    }

    #[test]
    fn any_bytes_give_the_same_events_however_cut_and_never_panic(
        bytes in near_frames(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
        is_server in any::<bool>(),
    ) {
        let role = if is_server { Role::Server } else { Role::Client };
        let whole = read_new(role, &bytes);
        prop_assert_eq!(&read_in_parts(role, cut(&bytes, &cuts)), &whole);
        prop_assert_eq!(&read_in_parts(role, bytes.chunks(1)), &whole);
    }

    #[test]
    fn memory_stays_within_the_limit_and_what_was_received(
        bytes in near_frames(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let limits = Limits { max_message_size: 200, ..Limits::default() };
        let mut connection = Connection::new(Role::Server, limits);
        for part in cut(&bytes, &cuts) {
            read(&mut connection, part);
            prop_assert!(connection.buffered() <= 200);
        }
    }
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|border| &stream[border[0]..border[1]]).collect()
}
