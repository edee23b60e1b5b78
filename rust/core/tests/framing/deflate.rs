//! permessage-deflate (RFC 7692) between both ends: what one compresses the other reads, however it is cut.

use proptest::collection::vec;
use proptest::prelude::*;
use websocket_utils_core::connection::{Connection, Role};
use websocket_utils_core::deflate::{Agreement, Deflater};
use websocket_utils_core::encoder::append_compressed_frame;
use websocket_utils_core::limits::Limits;
use websocket_utils_core::opcode::Opcode;
use zlib_rs::{Inflate, InflateFlush};

use crate::peer::{BINARY, CONTINUATION, FIN, KEY, PING, ROLES, RSV1, Seen, TEXT, frame, read};
use crate::puff;

pub(crate) fn agreement(window_bits: u8, takeover: bool) -> Agreement {
    Agreement {
        send_window_bits: window_bits,
        send_takeover: takeover,
        receive_window_bits: window_bits,
        receive_takeover: takeover,
    }
}

pub(crate) fn inflating(role: Role) -> Connection {
    Connection::with_deflate(role, Limits::default(), agreement(15, true))
}

fn update(index: usize) -> String {
    format!(
        "{{\"type\":\"PriceUpdate\",\"instrument\":\"BTC-{index}\",\"bid\":{}.5,\"ask\":{}.25,\"note\":\"{}\"}}",
        index * 7919,
        index * 104_729,
        "\u{20ac}\u{1f680} ".repeat(1 + index % 40)
    )
}

/// Compressed messages in frames of `piece` bytes with a ping between, and what is to be seen of them.
fn stream(role: Role, window_bits: u8, takeover: bool, piece: usize) -> (Vec<u8>, Vec<Seen>) {
    let mut deflater = Deflater::new(window_bits, takeover);
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    for index in 0..12 {
        let text = update(index);
        let mut payload = Vec::new();
        assert!(deflater.compress(text.as_bytes(), &mut payload));
        let mut first = RSV1 | if index % 3 == 0 { BINARY } else { TEXT };
        let pieces = payload.chunks(piece);
        let last = pieces.len() - 1;
        for (number, piece) in pieces.enumerate() {
            let fin = if number == last { FIN } else { 0 };
            stream.extend(frame(role, fin | first, piece));
            first = CONTINUATION;
            if number < last.min(3) {
                stream.extend(frame(role, CONTINUATION, b""));
                stream.extend(frame(role, PING, &[number as u8]));
                expected.push(Seen::Ping(vec![number as u8]));
            }
        }
        expected.push(if index % 3 == 0 { Seen::Binary(text.into_bytes()) } else { Seen::Text(text) });
        // A plain message between: the compressor does not know it.
        stream.extend(frame(role, FIN | TEXT, b"plain"));
        expected.push(Seen::text("plain"));
    }
    (stream, expected)
}

#[test]
fn compressed_messages_are_read_in_every_window_takeover_role_and_fragmentation() {
    for role in ROLES {
        for window_bits in 8..=15 {
            for takeover in [true, false] {
                for piece in [1, 7, 100, usize::MAX] {
                    let (stream, expected) = stream(role, window_bits, takeover, piece);
                    let mut connection =
                        Connection::with_deflate(role, Limits::default(), agreement(window_bits, takeover));
                    let seen = read(&mut connection, &stream);
                    assert_eq!(seen, expected, "{role:?}, {window_bits} bits, takeover {takeover}, by {piece}");
                }
            }
        }
    }
}

#[test]
fn every_split_point_gives_the_same_messages() {
    for role in ROLES {
        let (stream, expected) = stream(role, 15, true, 40);
        for at in 0..=stream.len() {
            let mut connection = inflating(role);
            let mut seen = read(&mut connection, &stream[..at]);
            connection.release_memory();
            seen.extend(read(&mut connection, &stream[at..]));
            assert_eq!(seen, expected, "split at {at}, {role:?}");
        }
        for size in 1..=20 {
            for takeover in [true, false] {
                let (stream, expected) = self::stream(role, 11, takeover, 40);
                let mut connection = Connection::with_deflate(role, Limits::default(), agreement(11, takeover));
                let mut seen = Vec::new();
                for part in stream.chunks(size) {
                    seen.extend(read(&mut connection, part));
                    connection.release_memory();
                }
                assert_eq!(seen, expected, "by {size}, {role:?}");
            }
        }
    }
}

#[test]
fn frame_of_a_compressed_message_has_rsv1_and_is_masked_by_a_client() {
    let mut frame = Vec::new();
    append_compressed_frame(&mut frame, Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", None);
    assert_eq!(frame, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "RFC 7692 section 7.2.3.1");
    let mut masked = Vec::new();
    append_compressed_frame(&mut masked, Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", Some(KEY));
    assert_eq!(read(&mut inflating(Role::Server), &masked), [Seen::text("Hello")]);
}

#[test]
fn examples_of_the_rfc_are_read() {
    // RFC 7692 sections 7.2.3.1 to 7.2.3.6.
    for role in ROLES {
        let payloads: [&[u8]; 7] = [
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\xf2\x00\x11\x00\x00",
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        ];
        let stream = payloads.map(|payload| frame(role, FIN | RSV1 | TEXT, payload)).concat();
        assert_eq!(read(&mut inflating(role), &stream), vec![Seen::text("Hello"); 7]);
        let mut connection = inflating(role);
        let by_bytes: Vec<Seen> = stream.chunks(1).flat_map(|byte| read(&mut connection, byte)).collect();
        assert_eq!(by_bytes, vec![Seen::text("Hello"); 7]);
        let empty = frame(role, FIN | RSV1 | TEXT, b"\x00");
        assert_eq!(read(&mut inflating(role), &empty), [Seen::text("")]);
    }
}

#[test]
fn message_without_a_compressed_byte_is_empty_and_leaves_the_stream_alone() {
    let mut deflater = Deflater::new(15, true);
    let mut stream = Vec::new();
    for text in ["first of two", "first of two again"] {
        let mut payload = Vec::new();
        deflater.compress(text.repeat(4).as_bytes(), &mut payload);
        stream.extend(frame(Role::Client, FIN | RSV1 | TEXT, &payload));
        stream.extend(frame(Role::Client, FIN | RSV1 | BINARY, b""));
    }
    let expected = [
        Seen::Text("first of two".repeat(4)),
        Seen::Binary(Vec::new()),
        Seen::Text("first of two again".repeat(4)),
        Seen::Binary(Vec::new()),
    ];
    assert_eq!(read(&mut inflating(Role::Client), &stream), expected);
}

#[test]
fn payload_that_does_not_shrink_appends_nothing_and_the_stream_stays_valid() {
    let mut noise = 1_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    })
    .take(100_000)
    .collect();
    for takeover in [true, false] {
        let mut deflater = Deflater::new(15, takeover);
        let mut connection = Connection::with_deflate(Role::Client, Limits::default(), agreement(15, takeover));
        for size in [0, 1, 4, 5, 100, 1000, 70_000, 100_000] {
            let mut out = b"before".to_vec();
            assert!(!deflater.compress(&bytes[..size], &mut out), "{size}");
            assert_eq!(out, b"before");
            let text = update(size);
            assert!(deflater.compress(text.as_bytes(), &mut out));
            let compressed = frame(Role::Client, FIN | RSV1 | TEXT, &out[6..]);
            assert_eq!(read(&mut connection, &compressed), [Seen::Text(text)]);
        }
    }
}

#[test]
fn big_message_behind_one_that_gets_no_smaller_is_compressed_as_ever() {
    let mut noise = 1_u32;
    let mut random = |letters: u32| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((noise >> 16) % letters) as u8
    };
    for takeover in [true, false] {
        let mut deflater = Deflater::new(15, takeover);
        let mut connection = Connection::with_deflate(Role::Client, Limits::default(), agreement(15, takeover));
        // What little can be saved in each is spent, or not, at another place of the compressor's buffers.
        for (index, size) in (4_000..).step_by(4_111).take(60).enumerate() {
            let message: Vec<u8> = (0..size).map(|_| random(if index % 3 == 0 { 12 } else { 253 })).collect();
            let mut out = Vec::new();
            let header = if deflater.compress(&message, &mut out) { FIN | RSV1 | BINARY } else { FIN | BINARY };
            let payload = if header & RSV1 == 0 { &message } else { &out };
            assert_eq!(read(&mut connection, &frame(Role::Client, header, payload)), [Seen::Binary(message)]);
        }
    }
}

#[test]
fn forgetting_gives_a_message_that_a_new_inflater_reads() {
    let mut deflater = Deflater::new(15, true);
    let mut late = Connection::with_deflate(Role::Client, Limits::default(), agreement(15, true));
    let mut present = Connection::with_deflate(Role::Client, Limits::default(), agreement(15, true));
    for index in 0..10 {
        let text = update(3);
        let mut payload = Vec::new();
        if index == 5 {
            deflater.forget();
        }
        assert!(deflater.compress(text.as_bytes(), &mut payload));
        let compressed = frame(Role::Client, FIN | RSV1 | TEXT, &payload);
        assert_eq!(read(&mut present, &compressed), [Seen::Text(text.clone())]);
        if index >= 5 {
            assert_eq!(read(&mut late, &compressed), [Seen::Text(text)]);
        }
    }
}

#[test]
fn stream_with_takeover_stays_within_its_window_and_inflates_by_the_book() {
    for window_bits in 8..=15 {
        let mut deflater = Deflater::new(window_bits, true);
        let (mut compressed, mut plain) = (Vec::new(), Vec::new());
        // Short messages refer to those before, long ones to themselves.
        for index in 0..1200 {
            let text = update(index % 97).repeat(if index % 100 == 0 { 40 } else { 1 });
            let text = if index % 2 == 0 { &text.as_bytes()[..70] } else { text.as_bytes() };
            // What does not shrink is not in the stream, and nothing refers behind it.
            if deflater.compress(text, &mut compressed) {
                compressed.extend_from_slice(&[0, 0, 0xff, 0xff]);
                plain.extend_from_slice(text);
            }
        }
        assert!(plain.len() > 100_000);
        let (inflated, greatest) = puff::inflate(&compressed);
        assert!(inflated == plain, "{window_bits} bits");
        assert!(greatest <= 1 << window_bits, "distance {greatest} in a window of {window_bits} bits");
        assert!(greatest > 1 << window_bits >> 2, "the window is made use of: {greatest}, {window_bits} bits");
        let mut by_zlib = vec![0; plain.len() + 1];
        let mut reference = Inflate::new(false, window_bits);
        reference.decompress(&compressed, &mut by_zlib, InflateFlush::SyncFlush).expect("a valid stream");
        by_zlib.truncate(reference.total_out() as usize);
        assert!(by_zlib == plain, "{window_bits} bits");
    }
}

#[test]
fn memory_of_delivered_messages_is_given_back_and_the_next_message_is_read() {
    for role in ROLES {
        let mut connection = inflating(role);
        let big = vec![7; 200_000];
        let mut payload = Vec::new();
        assert!(Deflater::new(15, true).compress(&big, &mut payload));
        assert_eq!(read(&mut connection, &frame(role, FIN | RSV1 | BINARY, &payload)), [Seen::Binary(big)]);
        connection.release_memory();
        assert!(connection.buffered() <= 4096);
        assert_eq!(read(&mut connection, &frame(role, FIN | TEXT, b"plain")), [Seen::text("plain")]);
        read(&mut connection, &frame(role, BINARY, &vec![1; 50_000]));
        connection.release_memory();
        assert!(connection.buffered() >= 50_000, "a message under way is kept");
        let end = read(&mut connection, &frame(role, FIN | CONTINUATION, b""));
        assert_eq!(end, [Seen::Binary(vec![1; 50_000])]);
        connection.release_memory();
        assert_eq!(connection.buffered(), 0);
    }
}

proptest! {
    #[test]
    fn any_messages_are_read_as_they_were_compressed(
        payloads in vec(prop_oneof![vec(any::<u8>(), 0..300), vec(0_u8..4, 0..3000)], 1..20),
        window_bits in 8_u8..=15,
        takeover in any::<bool>(),
        forget in any::<prop::sample::Index>(),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut deflater = Deflater::new(window_bits, takeover);
        let mut stream = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            if index == forget.index(payloads.len()) {
                deflater.forget();
            }
            let mut compressed = Vec::new();
            if deflater.compress(payload, &mut compressed) {
                prop_assert!(compressed.len() < payload.len());
                stream.extend(frame(Role::Server, FIN | RSV1 | BINARY, &compressed));
            } else {
                prop_assert!(compressed.is_empty());
                stream.extend(frame(Role::Server, FIN | BINARY, payload));
            }
        }
        let mut connection =
            Connection::with_deflate(Role::Server, Limits::default(), agreement(window_bits, takeover));
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        at.sort_unstable();
        let mut seen = Vec::new();
        for border in at.windows(2) {
            seen.extend(read(&mut connection, &stream[border[0]..border[1]]));
            connection.release_memory();
        }
        prop_assert_eq!(seen, payloads.into_iter().map(Seen::Binary).collect::<Vec<_>>());
    }
}
