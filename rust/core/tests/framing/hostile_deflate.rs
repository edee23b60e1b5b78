//! Compressed messages that break the protocol, or would cost more than they may.

use proptest::collection::vec;
use proptest::prelude::*;
use websocket_utils_core::connection::{Connection, Role};
use websocket_utils_core::deflate::Deflater;
use websocket_utils_core::error::ProtocolFault;
use websocket_utils_core::limits::Limits;

use crate::deflate::{agreement, inflating};
use crate::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, ROLES, RSV1, Seen, TEXT, bytes_until_fault, frame, read,
};

const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;

/// Zeros, compressed.
fn bomb(size: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    assert!(Deflater::new(15, true).compress(&vec![0; size], &mut payload));
    payload
}

fn limited(role: Role, max_message_size: usize) -> Connection {
    let limits = Limits { max_message_size, ..Limits::default() };
    Connection::with_deflate(role, limits, agreement(15, true))
}

fn too_big(limit: u32) -> Seen {
    Seen::Fault(ProtocolFault::MessageTooBig { size: u64::from(limit) + 1, limit })
}

#[test]
fn bomb_stops_at_the_limit_with_bounded_memory() {
    for role in ROLES {
        let bomb = bomb(300_000_000);
        assert!(bomb.len() < 3_000_000);
        let limit = 1_000_000;
        let mut connection = limited(role, limit);
        assert_eq!(read(&mut connection, &frame(role, FIN | RSV1 | BINARY, &bomb[..]))[..], [too_big(1_000_000)][..]);
        let mut connection = limited(role, limit);
        let mut seen = Vec::new();
        for part in frame(role, FIN | RSV1 | BINARY, &bomb).chunks(100) {
            seen.extend(read(&mut connection, part));
            assert!(connection.buffered() <= limit);
        }
        assert_eq!(seen, [too_big(1_000_000)]);
        assert_eq!(connection.buffered(), 0);
    }
}

#[test]
fn exactly_the_limit_is_read_and_one_byte_more_is_not() {
    for size in [1000, 40_000, 1_000_000] {
        let fits = frame(Role::Client, FIN | RSV1 | BINARY, &bomb(size));
        let over = frame(Role::Client, FIN | RSV1 | BINARY, &bomb(size + 1));
        assert_eq!(read(&mut limited(Role::Client, size), &fits), [Seen::Binary(vec![0; size])]);
        assert_eq!(read(&mut limited(Role::Client, size), &over), [too_big(size as u32)]);
        let mut by_bytes = limited(Role::Client, size);
        assert!(matches!(bytes_until_fault(&mut by_bytes, &over), Some((_, ProtocolFault::MessageTooBig { .. }))));
    }
}

#[test]
fn no_budget_left_for_the_next_fragment_means_stop() {
    let mut deflater = Deflater::new(15, true);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    assert!(deflater.compress(&[0; 5000], &mut first));
    // The tail of the first half is needed inside one message.
    first.extend_from_slice(&[0, 0, 0xff, 0xff]);
    assert!(deflater.compress(&[0; 5000], &mut second));
    let mut connection = limited(Role::Client, 5000);
    assert_eq!(read(&mut connection, &frame(Role::Client, RSV1 | BINARY, &first)), []);
    assert_eq!(connection.buffered(), 5000);
    assert_eq!(read(&mut connection, &frame(Role::Client, FIN | CONTINUATION, &second)), [too_big(5000)]);
    let empty_end =
        [frame(Role::Client, RSV1 | BINARY, &first), frame(Role::Client, FIN | CONTINUATION, b"\0")].concat();
    assert_eq!(read(&mut limited(Role::Client, 5000), &empty_end), [Seen::Binary(vec![0; 5000])]);
}

#[test]
fn limit_of_zero_reads_only_empty_messages() {
    let empty = frame(Role::Client, FIN | RSV1 | TEXT, b"\0");
    let one = frame(Role::Client, FIN | RSV1 | BINARY, &[0x00, 1, 0, 0xfe, 0xff, 7, 0]);
    assert_eq!(read(&mut limited(Role::Client, 0), &[empty, one].concat()), [Seen::text(""), too_big(0)]);
}

#[test]
fn empty_blocks_without_end_stop_at_the_bound_of_compressed_bytes() {
    let limits = Limits { max_message_size: 1000, ..Limits::default() };
    let most = limits.max_compressed_size();
    for blocks in [&b"\x00\x00\x00\xff\xff"[..], &b"\x03\x00"[..]] {
        let mut connection = limited(Role::Client, 1000);
        let mut seen = read(&mut connection, &frame(Role::Client, RSV1 | BINARY, blocks));
        for _ in 0..most {
            seen.extend(read(&mut connection, &frame(Role::Client, CONTINUATION, blocks)));
        }
        let size = (most / blocks.len() as u64 + 1) * blocks.len() as u64;
        assert_eq!(seen, [Seen::Fault(ProtocolFault::MessageTooBig { size, limit: 1000 })]);
    }
}

#[test]
fn reserved_bits_are_allowed_where_the_agreement_gives_them_a_meaning_only() {
    for role in ROLES {
        for first in [RSV1 | PING, RSV1 | PONG, RSV1 | CLOSE, RSV1 | FIN | CONTINUATION] {
            let mut connection = inflating(role);
            read(&mut connection, &frame(role, RSV1 | TEXT, b"\0"));
            let seen = read(&mut connection, &frame(role, first, b""));
            assert_eq!(seen, [Seen::Fault(ProtocolFault::ReservedBits { bits: 0b100 })], "{first:#x}");
        }
        for (bits, fault) in [(RSV2, 0b010), (RSV3, 0b001), (RSV1 | RSV2, 0b010), (RSV1 | RSV3, 0b001)] {
            let seen = read(&mut inflating(role), &frame(role, FIN | bits | TEXT, b"\0"));
            assert_eq!(seen, [Seen::Fault(ProtocolFault::ReservedBits { bits: fault })]);
        }
        let seen = crate::peer::read_new(role, &frame(role, FIN | RSV1 | TEXT, b"\0"));
        assert_eq!(seen, [Seen::Fault(ProtocolFault::ReservedBits { bits: 0b100 })]);
    }
}

#[test]
fn broken_and_cut_streams_are_refused() {
    let payloads: [&[u8]; 9] = [
        b"\x07",                                         // the reserved block type
        b"\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00", // lengths that don't match
        b"\xf2\x48\xcd\xc9",                             // cut inside a block
        b"\x00\x05\x00\xfa\xff\x48",                     // cut inside a stored block
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", // with the tail that must not travel
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff",         // garbage behind a final block
        b"\xf2\x00\x11\x00\x00",                         // refers to a message that was not
        b"\x62",                                         // cut inside a block header's first symbol
        b"\xf2\x48\xcd\xc9\xc9\x07",                     // without the octet that the tail belongs to
    ];
    for payload in payloads {
        for role in ROLES {
            let stream = frame(role, FIN | RSV1 | BINARY, payload);
            let seen = read(&mut inflating(role), &stream);
            assert_eq!(seen, [Seen::Fault(ProtocolFault::InvalidDeflate)], "{payload:02x?}");
            let mut connection = inflating(role);
            let by_bytes: Vec<Seen> = stream.chunks(1).flat_map(|byte| read(&mut connection, byte)).collect();
            assert_eq!(by_bytes, seen, "{payload:02x?}");
        }
    }
}

#[test]
fn final_block_may_end_a_message_and_begins_the_next_stream() {
    let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    for payload in [&hello[..], &[&hello[..], b"\0"].concat(), &[&hello[..], hello].concat(), b"\x01"] {
        let stream = frame(Role::Client, FIN | RSV1 | TEXT, payload);
        let expected = match payload {
            b"\x01" => String::new(),
            payload => "Hello".repeat(payload.len() / 7),
        };
        assert_eq!(read(&mut inflating(Role::Client), &stream.repeat(3)), vec![Seen::Text(expected); 3]);
    }
    let refers_behind = [
        frame(Role::Client, FIN | RSV1 | TEXT, hello),
        frame(Role::Client, FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
    ];
    assert_eq!(
        read(&mut inflating(Role::Client), &refers_behind.concat()),
        [Seen::text("Hello"), Seen::Fault(ProtocolFault::InvalidDeflate)]
    );
}

#[test]
fn without_takeover_a_message_may_not_refer_to_the_one_before() {
    for released in [false, true] {
        let mut connection = Connection::with_deflate(Role::Client, Limits::default(), agreement(15, false));
        let hello = frame(Role::Client, FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!(read(&mut connection, &hello), [Seen::text("Hello")]);
        if released {
            connection.release_memory();
        }
        let again = frame(Role::Client, FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00");
        assert_eq!(read(&mut connection, &again), [Seen::Fault(ProtocolFault::InvalidDeflate)]);
    }
}

#[test]
fn ill_formed_text_is_refused_as_soon_as_its_bytes_are_inflated() {
    // A stored block: what travels is what is inflated, so that the first wrong byte is known.
    let payload = b"\x00\x0a\x00\xf5\xffgood \xed\xa0\x80..";
    let stream = frame(Role::Server, RSV1 | TEXT, payload);
    let (at, fault) = bytes_until_fault(&mut inflating(Role::Server), &stream).expect("no UTF-8");
    assert_eq!(fault, ProtocolFault::InvalidUtf8 { offset: 5 });
    assert_eq!(at, 6 + 5 + 7, "header and key, block header, and the surrogate's second byte");
    let plain = frame(Role::Server, TEXT, b"good \xed\xa0\x80..");
    let (at, _) = bytes_until_fault(&mut inflating(Role::Server), &plain).expect("no UTF-8");
    assert_eq!(at, 6 + 7);
    let cut = frame(Role::Server, FIN | RSV1 | TEXT, b"\x00\x02\x00\xfd\xff\xe2\x82\x00");
    assert_eq!(read(&mut inflating(Role::Server), &cut), [Seen::Fault(ProtocolFault::InvalidUtf8 { offset: 0 })]);
}

proptest! {
    #[test]
    fn any_compressed_bytes_give_the_same_events_however_cut_within_the_limit(
        parts in vec(prop_oneof![
            vec(any::<u8>(), 0..40),
            prop::sample::select(vec![
                b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec(), b"\xf2\x00\x11\x00\x00".to_vec(), b"\x03\x00".to_vec(),
                b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00".to_vec(), b"\xf3\x48\xcd\xc9\xc9\x07\x00".to_vec(),
                b"\x00\x00\x00\xff\xff".to_vec(), b"\x63\x18\x05\xa3\x00\x00".to_vec(),
            ]),
        ], 1..8),
        is_text in any::<bool>(),
        takeover in any::<bool>(),
        size in 1_usize..9,
    ) {
        let first = if is_text { TEXT } else { BINARY };
        let stream: Vec<u8> = parts.iter().flat_map(|part| frame(Role::Server, FIN | RSV1 | first, part)).collect();
        let limits = Limits { max_message_size: 30, ..Limits::default() };
        let open = || Connection::with_deflate(Role::Server, limits, agreement(15, takeover));
        let whole = read(&mut open(), &stream);
        let mut connection = open();
        let mut seen = Vec::new();
        for part in stream.chunks(size) {
            seen.extend(read(&mut connection, part));
            prop_assert!(connection.buffered() <= 30);
            connection.release_memory();
        }
        prop_assert_eq!(seen, whole);
    }
}
