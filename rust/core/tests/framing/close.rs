//! The closing handshake and what a close frame may hold (RFC 6455 sections 5.5.1, 7.1 and 7.4).

use websocket_utils_core::close::{CloseCode, truncate_reason};
use websocket_utils_core::connection::{Role, State};
use websocket_utils_core::error::{LocalError, ProtocolFault};

use crate::peer::{CLOSE, FIN, KEY, PING, ROLES, Seen, TEXT, connection, frame, read, read_new};

fn key(role: Role) -> Option<[u8; 4]> {
    (role == Role::Client).then_some(KEY)
}

/// RFC 6455 section 7.4 and the IANA registry, written out apart from the code under test.
fn may_travel(code: u16) -> bool {
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    registered.contains(&code) || (3000..5000).contains(&code)
}

#[test]
fn each_of_the_65536_codes_is_accepted_or_refused_both_ways() {
    for code in 0..=u16::MAX {
        assert_eq!(CloseCode::from_u16(code).is_valid_on_wire(), may_travel(code), "{code}");
        assert_eq!(CloseCode::from_u16(code).as_u16(), code);
        let seen = read_new(Role::Client, &frame(Role::Client, CLOSE, &code.to_be_bytes()));
        let mut out = Vec::new();
        let sent = connection(Role::Server).send_close(Some(CloseCode::from_u16(code)), "", None, &mut out);
        if may_travel(code) {
            assert_eq!(seen, [Seen::Close(Some((code, String::new())))]);
            assert_eq!(sent, Ok(()));
            assert_eq!(out, frame(Role::Client, CLOSE, &code.to_be_bytes()));
        } else {
            assert_eq!(seen, [Seen::Fault(ProtocolFault::CloseCode { code })]);
            assert_eq!(sent, Err(LocalError::CloseCode { code: CloseCode::from_u16(code) }));
            assert!(out.is_empty());
        }
    }
}

#[test]
fn close_payload_is_read() {
    for role in ROLES {
        let longest = "r".repeat(123);
        let payload = [b"\x0f\xa0".as_slice(), longest.as_bytes()].concat();
        assert_eq!(read_new(role, &frame(role, CLOSE, &payload)), [Seen::Close(Some((4000, longest)))]);
        assert_eq!(read_new(role, &frame(role, CLOSE, b"")), [Seen::Close(None)]);
        let half = Seen::Fault(ProtocolFault::ClosePayloadLength);
        assert_eq!(read_new(role, &frame(role, CLOSE, b"\x03")), [half]);
        let reason = Seen::Fault(ProtocolFault::CloseReason { offset: 3 });
        assert_eq!(read_new(role, &frame(role, CLOSE, b"\x03\xe8bye\xc3")), [reason]);
    }
}

#[test]
fn peer_that_closes_first_is_answered_once() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut out = Vec::new();
        let stream =
            [frame(role, CLOSE, b"\x03\xe9"), frame(role, FIN | TEXT, b"late"), frame(role, PING, b"")].concat();
        assert_eq!(read(&mut connection, &stream), [Seen::Close(Some((1001, String::new())))]);
        assert_eq!(connection.state(), State::CloseReceived);
        assert!(!connection.can_send());
        assert_eq!(read(&mut connection, &frame(role, CLOSE, b"")), []);
        assert_eq!(read(&mut connection, b"\xff\xff\xff\xff"), []);

        connection.send_close(Some(CloseCode::GOING_AWAY), "", key(role), &mut out).unwrap();
        assert_eq!(connection.state(), State::Closed);
        assert!(connection.send_close(None, "", key(role), &mut out).is_err());
    }
}

#[test]
fn messages_still_arrive_between_our_close_and_the_peers() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut out = Vec::new();
        connection.send_close(Some(CloseCode::NORMAL_CLOSURE), "done", key(role), &mut out).unwrap();
        assert_eq!(connection.state(), State::CloseSent);
        assert!(!connection.can_send());

        let stream = [frame(role, FIN | TEXT, b"on its way"), frame(role, PING, b"p")].concat();
        assert_eq!(read(&mut connection, &stream), [Seen::text("on its way"), Seen::Ping(b"p".to_vec())]);
        connection.send_pong(b"p", key(role), &mut out).unwrap();

        assert_eq!(read(&mut connection, &frame(role, CLOSE, b"\x03\xe8")), [Seen::Close(Some((1000, String::new())))]);
        assert_eq!(connection.state(), State::Closed);
        assert!(connection.send_pong(b"p", key(role), &mut out).is_err());
    }
}

#[test]
fn failed_connection_reports_once_drops_all_and_may_say_why() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut out = Vec::new();
        let stream = [frame(role, FIN | TEXT, b"good"), frame(role, FIN | 0x3, b""), frame(role, FIN | TEXT, b"late")];
        let fault = Seen::Fault(ProtocolFault::ReservedOpcode { opcode: 0x3 });
        assert_eq!(read(&mut connection, &stream.concat()), [Seen::text("good"), fault]);
        assert_eq!(connection.state(), State::Failed);
        assert_eq!(read(&mut connection, &stream.concat()), []);
        assert!(connection.send_ping(b"", key(role), &mut out).is_err());
        assert!(connection.send_pong(b"", key(role), &mut out).is_err());
        assert!(out.is_empty());

        connection.send_close(Some(CloseCode::PROTOCOL_ERROR), "", key(role), &mut out).unwrap();
        assert_eq!(connection.state(), State::Failed);
        assert!(connection.send_close(Some(CloseCode::PROTOCOL_ERROR), "", key(role), &mut out).is_err());
    }
}

#[test]
fn violation_after_our_close_leaves_no_second_close() {
    for role in ROLES {
        let mut connection = connection(role);
        let mut out = Vec::new();
        connection.send_close(None, "", key(role), &mut out).unwrap();
        read(&mut connection, &frame(role, CLOSE, b"\x00"));
        assert_eq!(connection.state(), State::Failed);
        let refused =
            LocalError::NotSendable { opcode: websocket_utils_core::opcode::Opcode::Close, state: State::Failed };
        assert_eq!(connection.send_close(None, "", key(role), &mut out), Err(refused));
    }
}

#[test]
fn reason_is_cut_between_characters() {
    assert_eq!(truncate_reason(""), "");
    assert_eq!(truncate_reason(&"a".repeat(123)), "a".repeat(123));
    assert_eq!(truncate_reason(&"a".repeat(124)), "a".repeat(123));
    for (character, kept) in [("\u{e9}", 61), ("\u{20ac}", 41), ("\u{1f680}", 30)] {
        assert_eq!(truncate_reason(&character.repeat(100)), character.repeat(kept));
    }
    let mut out = Vec::new();
    let reason = "\u{1f680}".repeat(31);
    connection(Role::Server).send_close(Some(CloseCode::INTERNAL_ERROR), &reason, None, &mut out).unwrap();
    assert_eq!(read_new(Role::Client, &out), [Seen::Close(Some((1011, "\u{1f680}".repeat(30))))]);
}

#[test]
fn lost_transport_closes_from_every_state_and_frees_memory() {
    for role in ROLES {
        let mut connection = connection(role);
        read(&mut connection, &frame(role, TEXT, b"unfinished"));
        connection.handle_transport_closed();
        assert_eq!(connection.state(), State::Closed);
        assert_eq!(connection.buffered(), 0);
        assert_eq!(read(&mut connection, &frame(role, FIN | TEXT, b"late")), []);
        assert!(connection.send_close(None, "", key(role), &mut Vec::new()).is_err());
    }
}
