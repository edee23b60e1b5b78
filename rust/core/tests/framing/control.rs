//! Control frames: what they may be, and where they may come (RFC 6455 sections 5.4 and 5.5).

use websocket_utils_core::connection::State;
use websocket_utils_core::error::ProtocolFault;
use websocket_utils_core::opcode::Opcode;

use crate::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, ROLES, Seen, TEXT, bytes_until_fault, connection, frame, header,
    read, read_new,
};

const CONTROLS: [(u8, Opcode); 3] = [(CLOSE, Opcode::Close), (PING, Opcode::Ping), (PONG, Opcode::Pong)];

#[test]
fn control_frame_of_125_bytes_is_accepted() {
    for role in ROLES {
        let payload = vec![b'p'; 125];
        assert_eq!(read_new(role, &frame(role, PING, &payload)), [Seen::Ping(payload.clone())]);
        assert_eq!(read_new(role, &frame(role, PONG, &payload)), [Seen::Pong(payload.clone())]);
    }
}

#[test]
fn control_frame_over_125_bytes_is_rejected_at_its_second_byte() {
    for role in ROLES {
        for (first, opcode) in CONTROLS {
            for len in [126, 65536] {
                let found = bytes_until_fault(&mut connection(role), &header(role, first, len));
                assert_eq!(found, Some((2, ProtocolFault::ControlTooLong { opcode })));
            }
        }
    }
}

#[test]
fn fragmented_control_frame_is_rejected_at_its_second_byte() {
    for role in ROLES {
        for (first, opcode) in CONTROLS {
            let found = bytes_until_fault(&mut connection(role), &frame(role, first & !FIN, b""));
            assert_eq!(found, Some((2, ProtocolFault::FragmentedControl { opcode })));
        }
    }
}

#[test]
fn reserved_opcodes_are_rejected_at_the_second_byte() {
    for role in ROLES {
        for opcode in (0x3..=0x7).chain(0xb..=0xf) {
            for fin in [0, FIN] {
                let found = bytes_until_fault(&mut connection(role), &frame(role, fin | opcode, b"x"));
                assert_eq!(found, Some((2, ProtocolFault::ReservedOpcode { opcode })));
            }
        }
    }
}

#[test]
fn reserved_bits_are_rejected_at_the_second_byte_on_every_frame() {
    for role in ROLES {
        for bits in 1..=7 {
            for first in [FIN | TEXT, FIN | BINARY, TEXT, CLOSE, PING, PONG] {
                let found = bytes_until_fault(&mut connection(role), &frame(role, first | bits << 4, b"x"));
                assert_eq!(found, Some((2, ProtocolFault::ReservedBits { bits })));
            }
            let mut connection = connection(role);
            assert_eq!(read(&mut connection, &frame(role, TEXT, b"x")), []);
            let found = bytes_until_fault(&mut connection, &frame(role, FIN | CONTINUATION | bits << 4, b"x"));
            assert_eq!(found, Some((2, ProtocolFault::ReservedBits { bits })));
        }
    }
}

#[test]
fn wrong_mask_is_rejected_at_the_second_byte() {
    for [role, other] in [ROLES, [ROLES[1], ROLES[0]]] {
        for first in [FIN | TEXT, FIN | BINARY, TEXT, CLOSE, PING, PONG] {
            let found = bytes_until_fault(&mut connection(role), &frame(other, first, b"x"));
            let fault = if role == ROLES[0] { ProtocolFault::UnexpectedMask } else { ProtocolFault::MissingMask };
            assert_eq!(found, Some((2, fault)));
        }
    }
}

#[test]
fn control_frames_inside_a_fragmented_message_come_first() {
    for role in ROLES {
        let stream = [
            frame(role, TEXT, b"one "),
            frame(role, PING, b"p1"),
            frame(role, CONTINUATION, b"two "),
            frame(role, PONG, b"p2"),
            frame(role, PING, b""),
            frame(role, FIN | CONTINUATION, b"three"),
        ]
        .concat();
        let expected =
            [Seen::Ping(b"p1".to_vec()), Seen::Pong(b"p2".to_vec()), Seen::Ping(vec![]), Seen::text("one two three")];
        assert_eq!(read_new(role, &stream), expected);
    }
}

#[test]
fn close_inside_a_fragmented_message_ends_it_and_frees_its_memory() {
    for role in ROLES {
        let mut connection = connection(role);
        assert_eq!(read(&mut connection, &frame(role, TEXT, b"never finished")), []);
        assert!(connection.buffered() > 0);
        let rest = [frame(role, CLOSE, b""), frame(role, FIN | CONTINUATION, b"late")].concat();
        assert_eq!(read(&mut connection, &rest), [Seen::Close(None)]);
        assert_eq!(connection.state(), State::CloseReceived);
        assert_eq!(connection.buffered(), 0);
    }
}
