//! The examples of RFC 6455 section 5.7, byte for byte, and the borders between the forms of the length.

use websocket_utils_core::connection::{Event, MessageKind, Role, State};
use websocket_utils_core::encoder::append_frame;
use websocket_utils_core::opcode::Opcode;

use crate::peer::{BINARY, FIN, KEY, ROLES, Seen, TEXT, connection, frame, header, read_new};

const HELLO: &[u8] = b"\x81\x05Hello";
const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const FRAGMENTED_HELLO: &[u8] = b"\x01\x03Hel\x80\x02lo";
const PING_HELLO: &[u8] = b"\x89\x05Hello";
const MASKED_PONG_HELLO: &[u8] = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

#[test]
fn examples_of_the_rfc_are_read() {
    let hello = || vec![Seen::text("Hello")];
    assert_eq!(read_new(Role::Client, HELLO), hello());
    assert_eq!(read_new(Role::Server, MASKED_HELLO), hello());
    assert_eq!(read_new(Role::Client, FRAGMENTED_HELLO), hello());
    assert_eq!(read_new(Role::Client, PING_HELLO), [Seen::Ping(b"Hello".to_vec())]);
    assert_eq!(read_new(Role::Server, MASKED_PONG_HELLO), [Seen::Pong(b"Hello".to_vec())]);

    let bytes: Vec<u8> = (0..=255).collect();
    let example = [b"\x82\x7e\x01\x00".as_slice(), &bytes].concat();
    assert_eq!(read_new(Role::Client, &example), [Seen::Binary(bytes)]);

    let bytes = vec![0xa5; 65536];
    let example = [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".as_slice(), &bytes].concat();
    assert_eq!(read_new(Role::Client, &example), [Seen::Binary(bytes)]);
}

#[test]
fn examples_of_the_rfc_are_written() {
    let mut out = Vec::new();
    connection(Role::Server).send_message(MessageKind::Text, b"Hello", None, &mut out).unwrap();
    assert_eq!(out, HELLO);

    out.clear();
    connection(Role::Client).send_message(MessageKind::Text, b"Hello", Some(KEY), &mut out).unwrap();
    assert_eq!(out, MASKED_HELLO);

    out.clear();
    append_frame(&mut out, Opcode::Text, false, b"Hel", None);
    append_frame(&mut out, Opcode::Continuation, true, b"lo", None);
    assert_eq!(out, FRAGMENTED_HELLO);

    out.clear();
    connection(Role::Server).send_ping(b"Hello", None, &mut out).unwrap();
    assert_eq!(out, PING_HELLO);

    out.clear();
    connection(Role::Client).send_pong(b"Hello", Some(KEY), &mut out).unwrap();
    assert_eq!(out, MASKED_PONG_HELLO);

    out.clear();
    connection(Role::Server).send_message(MessageKind::Binary, &[7; 256], None, &mut out).unwrap();
    assert_eq!(out[..4], *b"\x82\x7e\x01\x00");

    out.clear();
    connection(Role::Server).send_message(MessageKind::Binary, &vec![7; 65536], None, &mut out).unwrap();
    assert_eq!(out[..10], *b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
}

#[test]
fn lengths_on_both_sides_of_each_border_are_read_and_written() {
    for len in [0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537] {
        let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
        for role in ROLES {
            let expected = frame(role, FIN | BINARY, &payload);
            let (sender, key) = match role {
                Role::Client => (Role::Server, None),
                Role::Server => (Role::Client, Some(KEY)),
            };
            let mut out = Vec::new();
            connection(sender).send_message(MessageKind::Binary, &payload, key, &mut out).unwrap();
            assert_eq!(out, expected, "{len} bytes to a {role:?}");
            assert_eq!(read_new(role, &out), [Seen::Binary(payload.clone())], "{len} bytes to a {role:?}");
        }
    }
}

#[test]
fn whole_frame_in_the_input_is_handed_out_where_it_lies() {
    for role in ROLES {
        for len in [0, 5, 125, 126, 70_000] {
            let mut input = [frame(role, FIN | TEXT, &vec![b'x'; len]), b"\x89".to_vec()].concat();
            let begin = input.as_ptr().addr() + header(role, FIN | TEXT, len as u64).len();
            let mut rest = input.as_mut_slice();
            let mut connection = connection(role);
            let Some(Event::Message { payload, .. }) = connection.next_event(&mut rest).unwrap() else {
                panic!("the message is complete");
            };
            assert_eq!(payload.as_ptr().addr(), begin);
            assert_eq!(rest, b"\x89");
            assert_eq!(connection.buffered(), 0);
            assert_eq!(connection.state(), State::Open);
        }
    }
}
