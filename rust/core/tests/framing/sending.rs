//! What may be sent, by whom and when. The closing handshake is in `close`.

use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::{Connection, MessageKind, Role, State};
use websocket_utils_core::error::LocalError;
use websocket_utils_core::opcode::Opcode;

use crate::peer::{KEY, ROLES, Seen, connection, read};

type Send = fn(&mut Connection, Option<[u8; 4]>, &mut Vec<u8>) -> Result<(), LocalError>;

const SENDS: [(Opcode, Send); 5] = [
    (Opcode::Text, |connection, key, out| connection.send_message(MessageKind::Text, b"t", key, out)),
    (Opcode::Binary, |connection, key, out| connection.send_message(MessageKind::Binary, b"b", key, out)),
    (Opcode::Ping, |connection, key, out| connection.send_ping(b"i", key, out)),
    (Opcode::Pong, |connection, key, out| connection.send_pong(b"o", key, out)),
    (Opcode::Close, |connection, key, out| connection.send_close(Some(CloseCode::NORMAL_CLOSURE), "c", key, out)),
];

fn key(role: Role) -> Option<[u8; 4]> {
    (role == Role::Client).then_some(KEY)
}

#[test]
fn key_that_does_not_fit_the_role_is_refused_and_nothing_is_sent() {
    for (_, send) in SENDS {
        let mut out = b"kept".to_vec();
        let mut client = connection(Role::Client);
        assert_eq!(send(&mut client, None, &mut out), Err(LocalError::MissingKey));
        let mut server = connection(Role::Server);
        assert_eq!(send(&mut server, Some(KEY), &mut out), Err(LocalError::UnexpectedKey));
        assert_eq!(out, b"kept");
        assert_eq!([client.state(), server.state()], [State::Open; 2]);
    }
}

#[test]
fn one_end_reads_what_the_other_sends() {
    for role in ROLES {
        let mut out = Vec::new();
        let mut sender = connection(role);
        assert_eq!(sender.role(), role);
        assert!(sender.can_send());
        for (_, send) in SENDS {
            send(&mut sender, key(role), &mut out).unwrap();
        }
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let expected = [
            Seen::text("t"),
            Seen::Binary(b"b".to_vec()),
            Seen::Ping(b"i".to_vec()),
            Seen::Pong(b"o".to_vec()),
            Seen::Close(Some((1000, "c".to_owned()))),
        ];
        assert_eq!(read(&mut connection(other), &out), expected);
    }
}

#[test]
fn each_state_lets_out_what_it_may() {
    use Opcode::{Binary, Close, Ping, Pong, Text};

    let refused = |role, prepare: fn(&mut Connection)| {
        let mut refused = Vec::new();
        for (opcode, send) in SENDS {
            let mut connection = connection(role);
            prepare(&mut connection);
            let state = connection.state();
            match send(&mut connection, key(role), &mut Vec::new()) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, LocalError::NotSendable { opcode, state });
                    refused.push(opcode);
                }
            }
        }
        refused
    };
    let close_sent = |connection: &mut Connection| {
        connection.send_close(None, "", key(connection.role()), &mut Vec::new()).unwrap();
    };
    let close_received = |connection: &mut Connection| {
        let mut frame = crate::peer::frame(connection.role(), crate::peer::CLOSE, b"");
        connection.next_event(&mut frame.as_mut_slice()).unwrap();
    };
    let failed = |connection: &mut Connection| {
        connection.next_event(&mut [0xff; 2].as_mut_slice()).unwrap_err();
    };
    for role in ROLES {
        assert_eq!(refused(role, |_| ()), []);
        assert_eq!(refused(role, close_sent), [Text, Binary, Ping, Close]);
        assert_eq!(refused(role, close_received), [Text, Binary, Ping, Pong]);
        assert_eq!(refused(role, failed), [Text, Binary, Ping, Pong]);
        assert_eq!(refused(role, Connection::handle_transport_closed), [Text, Binary, Ping, Pong, Close]);
    }
}

#[test]
fn ping_and_pong_over_125_bytes_are_refused() {
    for role in ROLES {
        let mut out = Vec::new();
        let mut connection = connection(role);
        let refused = Err(LocalError::ControlTooLong { size: 126 });
        assert_eq!(connection.send_ping(&[0; 126], key(role), &mut out), refused);
        assert_eq!(connection.send_pong(&[0; 126], key(role), &mut out), refused);
        assert!(out.is_empty());
        connection.send_ping(&[0; 125], key(role), &mut out).unwrap();
        connection.send_pong(&[0; 125], key(role), &mut out).unwrap();
    }
}

#[test]
fn reason_without_a_code_is_refused() {
    let mut out = Vec::new();
    let mut connection = connection(Role::Server);
    assert_eq!(connection.send_close(None, "why", None, &mut out), Err(LocalError::ReasonWithoutCode));
    assert_eq!(connection.state(), State::Open);
    assert!(out.is_empty());
}
