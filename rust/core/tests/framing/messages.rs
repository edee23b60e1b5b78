//! Messages: their fragments, their limits, their text, and the memory they take.

use websocket_utils_core::connection::{Connection, Role, State};
use websocket_utils_core::error::ProtocolFault;
use websocket_utils_core::limits::Limits;
use websocket_utils_core::opcode::Opcode;

use crate::peer::{
    BINARY, CONTINUATION, FIN, PING, ROLES, Seen, TEXT, bytes_until_fault, connection, frame, header, read, read_new,
};

const KIB: usize = 1024;

fn limited(role: Role, max_message_size: usize) -> Connection {
    Connection::new(role, Limits { max_message_size, ..Limits::default() })
}

#[test]
fn continuation_without_a_message_is_rejected_at_its_second_byte() {
    for role in ROLES {
        for fin in [0, FIN] {
            let found = bytes_until_fault(&mut connection(role), &frame(role, fin | CONTINUATION, b"x"));
            assert_eq!(found, Some((2, ProtocolFault::UnexpectedContinuation)));
        }
        let stream = [frame(role, TEXT, b"a"), frame(role, FIN, b"b"), frame(role, FIN, b"c")].concat();
        let expected = [Seen::text("ab"), Seen::Fault(ProtocolFault::UnexpectedContinuation)];
        assert_eq!(read_new(role, &stream), expected);
    }
}

#[test]
fn new_message_inside_a_fragmented_one_is_rejected_at_its_second_byte() {
    for role in ROLES {
        for begin in [frame(role, TEXT, b"a"), frame(role, BINARY, b"")] {
            for (first, opcode) in [(TEXT, Opcode::Text), (BINARY, Opcode::Binary)] {
                for fin in [0, FIN] {
                    let mut connection = connection(role);
                    read(&mut connection, &begin);
                    let found = bytes_until_fault(&mut connection, &frame(role, fin | first, b"x"));
                    assert_eq!(found, Some((2, ProtocolFault::ExpectedContinuation { opcode })));
                }
            }
        }
    }
}

/// A header for `role` with the length bytes given, whatever they are.
fn header_with_length(role: Role, marker: u8, length: &[u8]) -> Vec<u8> {
    let shortest = header(role, FIN | BINARY, 0);
    [&[shortest[0], shortest[1] | marker], length, &shortest[2..]].concat()
}

#[test]
fn lengths_not_in_shortest_form_are_rejected_with_the_length() {
    for role in ROLES {
        for length in [0_u16, 1, 125] {
            let bytes = header_with_length(role, 0x7e, &length.to_be_bytes());
            let fault = ProtocolFault::NonMinimalLength { length };
            assert_eq!(bytes_until_fault(&mut connection(role), &bytes), Some((4, fault)));
            let whole = [bytes, vec![0; usize::from(length)]].concat();
            assert_eq!(read_new(role, &whole), [Seen::Fault(fault)]);
        }
        for length in [0_u16, 125, 126, 65535] {
            let bytes = header_with_length(role, 0x7f, &u64::from(length).to_be_bytes());
            let fault = ProtocolFault::NonMinimalLength { length };
            assert_eq!(bytes_until_fault(&mut connection(role), &bytes), Some((10, fault)));
            let whole = [bytes, vec![0; usize::from(length)]].concat();
            assert_eq!(read_new(role, &whole), [Seen::Fault(fault)]);
        }
        for length in [1 << 63, u64::MAX] {
            let found = bytes_until_fault(&mut connection(role), &header(role, FIN | BINARY, length));
            assert_eq!(found, Some((10, ProtocolFault::LengthHighBit)));
        }
    }
}

#[test]
fn message_limit_holds_at_its_edge() {
    for role in ROLES {
        for limit in [0, 1, 100, 125, 126, 1000, 65535, 65536] {
            let payload = vec![b'x'; limit + 1];
            let at_limit = frame(role, FIN | BINARY, &payload[..limit]);
            assert_eq!(read(&mut limited(role, limit), &at_limit), [Seen::Binary(payload[..limit].to_vec())]);
            let fault = ProtocolFault::MessageTooBig { size: limit as u64 + 1, limit: limit as u32 };
            let over = frame(role, FIN | BINARY, &payload);
            assert_eq!(read(&mut limited(role, limit), &over), [Seen::Fault(fault)], "limit {limit}");
        }
    }
}

#[test]
fn message_limit_that_is_changed_holds_from_the_next_frame_on() {
    for role in ROLES {
        let mut connection = limited(role, 10);
        connection.set_max_message_size(4);
        assert_eq!(read(&mut connection, &frame(role, FIN | BINARY, &[1; 4])), [Seen::Binary(vec![1; 4])]);
        connection.set_max_message_size(10);
        assert_eq!(read(&mut connection, &frame(role, FIN | BINARY, &[2; 10])), [Seen::Binary(vec![2; 10])]);
        connection.set_max_message_size(4);
        let found = read(&mut connection, &frame(role, FIN | BINARY, &[3; 5]));
        assert_eq!(found, [Seen::Fault(ProtocolFault::MessageTooBig { size: 5, limit: 4 })]);
    }
}

#[test]
fn message_limit_counts_all_fragments_and_no_control_frames() {
    for role in ROLES {
        let mut connection = limited(role, 10);
        let begin = [frame(role, BINARY, &[1; 6]), frame(role, PING, &[0; 125])].concat();
        assert_eq!(read(&mut connection, &begin), [Seen::Ping(vec![0; 125])]);
        assert_eq!(read(&mut connection, &frame(role, CONTINUATION, &[2; 4])), []);
        let found = read(&mut connection, &frame(role, CONTINUATION, &[3; 1]));
        assert_eq!(found, [Seen::Fault(ProtocolFault::MessageTooBig { size: 11, limit: 10 })]);
        assert_eq!(connection.buffered(), 0);

        let mut connection = limited(role, 10);
        let whole = [frame(role, BINARY, &[1; 6]), frame(role, FIN, &[2; 4])].concat();
        for _ in 0..3 {
            assert_eq!(read(&mut connection, &whole).len(), 1, "each message has the limit for itself");
        }
    }
}

#[test]
fn too_big_a_message_is_rejected_from_its_header_before_any_memory_is_taken() {
    for role in ROLES {
        let mut connection = connection(role);
        let found = bytes_until_fault(&mut connection, &header(role, FIN | TEXT, 1 << 40));
        let fault = ProtocolFault::MessageTooBig { size: 1 << 40, limit: 16 * 1024 * 1024 };
        assert_eq!(found, Some((10, fault)));
        assert_eq!(connection.buffered(), 0);
        assert_eq!(connection.state(), State::Failed);
    }
}

#[test]
fn limit_above_4_gib_is_taken_as_what_it_can_be() {
    let found = read(&mut limited(Role::Client, usize::MAX), &header(Role::Client, FIN | TEXT, 1 << 32));
    assert_eq!(found, [Seen::Fault(ProtocolFault::MessageTooBig { size: 1 << 32, limit: u32::MAX })]);
}

#[test]
fn fragments_without_payload_are_counted_per_message() {
    for role in ROLES {
        let limits = Limits { max_empty_fragments: 3, ..Limits::default() };
        let empty = |first, count: usize| frame(role, first, b"").repeat(count);
        let mut connection = Connection::new(role, limits);
        for _ in 0..2 {
            let message = [empty(TEXT, 1), empty(CONTINUATION, 2), frame(role, FIN, b"end")].concat();
            assert_eq!(read(&mut connection, &message), [Seen::text("end")]);
        }
        let message = [empty(TEXT, 1), frame(role, CONTINUATION, b"x"), empty(CONTINUATION, 3)].concat();
        let fault = Seen::Fault(ProtocolFault::TooManyEmptyFragments { limit: 3 });
        assert_eq!(read(&mut connection, &message), [fault]);
    }
}

#[test]
fn invalid_text_is_rejected_inside_a_payload_with_the_byte_that_shows_it() {
    for role in ROLES {
        let begin = header(role, FIN | TEXT, 0).len();
        for (text, bad, offset) in [
            (b"good \xff never read".as_slice(), 6, 5),
            (b"surrogate \xed\xa0\x80 .....", 12, 10),
            (b"cut \xe2\x82. .........", 7, 4),
            (b"above \xf4\x90\x80\x80 ......", 8, 6),
        ] {
            let found = bytes_until_fault(&mut connection(role), &frame(role, FIN | TEXT, text));
            assert_eq!(found, Some((begin + bad, ProtocolFault::InvalidUtf8 { offset })));
            let whole = read_new(role, &frame(role, FIN | TEXT, text));
            assert_eq!(whole, [Seen::Fault(ProtocolFault::InvalidUtf8 { offset })]);
            let binary = read_new(role, &frame(role, FIN | BINARY, text));
            assert_eq!(binary, [Seen::Binary(text.to_vec())]);
        }
    }
}

#[test]
fn character_may_be_cut_by_fragments_but_not_by_the_messages_end() {
    for role in ROLES {
        let rocket = "\u{1f680}".as_bytes();
        let pieces: Vec<u8> = rocket.iter().flat_map(|byte| frame(role, CONTINUATION, &[*byte])).collect();
        let stream = [frame(role, TEXT, b"to "), pieces, frame(role, FIN, b"")].concat();
        assert_eq!(read_new(role, &stream), [Seen::text("to \u{1f680}")]);

        let cut = [Seen::Fault(ProtocolFault::InvalidUtf8 { offset: 1 })];
        assert_eq!(read_new(role, &frame(role, FIN | TEXT, b"a\xf0\x9f\x9a")), cut);
        let stream = [frame(role, TEXT, b"a\xf0"), frame(role, FIN, b"\x9f\x9a")].concat();
        assert_eq!(read_new(role, &stream), cut);
    }
}

#[test]
fn memory_grows_with_the_bytes_received_not_with_those_declared() {
    for role in ROLES {
        let mut connection = connection(role);
        let payload = vec![b'x'; 8 * KIB * KIB];
        let bytes = frame(role, FIN | TEXT, &payload);
        let mut received = 0;
        let mut seen = Vec::new();
        for part in bytes.chunks(10 * KIB) {
            received += part.len();
            seen.extend(read(&mut connection, part));
            let held = connection.buffered();
            assert!(held <= (received + 64 * KIB).max(2 * received), "{held} bytes held of {received} received");
        }
        assert_eq!(seen, [Seen::Text(String::from_utf8(payload).unwrap())]);
        assert_eq!(connection.buffered(), 0, "the memory of a big message is let go");
    }
}

#[test]
fn small_buffer_is_kept_for_the_next_message() {
    for role in ROLES {
        let mut connection = connection(role);
        let message = [frame(role, TEXT, &[b'x'; KIB]), frame(role, FIN, b"y")].concat();
        read(&mut connection, &message);
        let kept = connection.buffered();
        assert!((KIB..=64 * KIB).contains(&kept));
        read(&mut connection, &message);
        assert_eq!(connection.buffered(), kept);
    }
}

#[test]
fn many_tiny_fragments_cost_no_more_than_their_doubled_size() {
    for role in ROLES {
        let mut connection = connection(role);
        read(&mut connection, &frame(role, BINARY, b"x"));
        read(&mut connection, &frame(role, CONTINUATION, b"x").repeat(200 * KIB));
        assert!(connection.buffered() <= 400 * KIB + 2);
        assert_eq!(read(&mut connection, &frame(role, FIN, b"")), [Seen::Binary(vec![b'x'; 200 * KIB + 1])]);
    }
}
