//! Responses: a 101 that may be followed, and all others.

use websocket_utils_core::handshake::Response;

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const LINE: &str = "HTTP/1.1 101 Switching Protocols";
const FIELDS: [&str; 3] =
    ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="];

/// Lines of a response, subprotocols offered, and whether that is followed.
type Choosing = (&'static [&'static [u8]], &'static [&'static str], bool);
/// A status line, its status and its phrase; `None` is a refusal.
type Line = (&'static [u8], Option<(u16, &'static [u8])>);

fn head(line: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut head = line.to_vec();
    for field in fields {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(field);
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Why a 101 is refused in which `fields` replace every line of that name; nothing where it is followed.
fn fault_with(name: &str, fields: &[&[u8]], offered: &[&str]) -> Option<&'static str> {
    let mut all: Vec<&[u8]> =
        FIELDS.iter().filter(|field| !field.starts_with(name)).map(|field| field.as_bytes()).collect();
    all.extend_from_slice(fields);
    let head = head(LINE.as_bytes(), &all);
    let refusal = Response::parse(&head).and_then(|response| response.check_upgrade(ACCEPT, offered)).err()?;
    assert!(refusal.status == 101 || refusal.status == 400, "{refusal:?}");
    Some(refusal.reason)
}

#[test]
fn response_of_the_rfc_is_followed() {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    let response = Response::parse(head).unwrap();
    assert_eq!((response.status, response.reason), (101, b"Switching Protocols".as_slice()));
    assert_eq!(response.check_upgrade(ACCEPT, &["superchat", "chat"]), Ok(()));
    assert!(!response.is_interim());
}

#[test]
fn connection_and_upgrade_are_lists_over_all_lines_in_any_case() {
    let cases: &[(&str, &[&[u8]], bool)] = &[
        ("Connection", &[b"Connection: upgrade"], true),
        ("Connection", &[b"CONNECTION:Upgrade"], true),
        ("Connection", &[b"Connection: keep-alive, Upgrade"], true),
        ("Connection", &[b"Connection: Upgrade, keep-alive"], true),
        ("Connection", &[b"Connection: keep-alive", b"Connection: UPGRADE"], true),
        ("Connection", &[b"Connection: ,,Upgrade,"], true),
        ("Connection", &[b"Connection: notupgrade"], false),
        ("Connection", &[b"Connection: upgrade2"], false),
        ("Connection", &[b"Connection: close"], false),
        ("Connection", &[b"Connection: \"Upgrade\""], false),
        ("Connection", &[b"Connection: Upgrade\xe9"], false),
        ("Connection", &[b"Connection:"], false),
        ("Connection", &[], false),
        ("Upgrade", &[b"upgrade: WebSocket"], true),
        ("Upgrade", &[b"Upgrade: h2c, websocket"], true),
        ("Upgrade", &[b"Upgrade: h2c/1", b"Upgrade: websocket"], true),
        ("Upgrade", &[b"Upgrade: websocket/13"], false),
        ("Upgrade", &[b"Upgrade: h2c"], false),
        ("Upgrade", &[b"Upgrade:"], false),
        ("Upgrade", &[], false),
    ];
    for &(name, fields, is_good) in cases {
        let fault = fault_with(name, fields, &[]);
        assert_eq!(fault.is_none(), is_good, "{name} {fields:?} {fault:?}");
    }
}

#[test]
fn accept_answers_the_key_once() {
    let name = "Sec-WebSocket-Accept";
    let right = FIELDS[2].as_bytes();
    assert_eq!(fault_with(name, &[right], &[]), None);
    for fields in [
        [].as_slice(),
        &[right, right],
        &[b"Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
        &[b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo"],
        &[b"Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="],
        &[b"Sec-WebSocket-Accept:"],
    ] {
        assert!(fault_with(name, fields, &[]).unwrap().contains("Sec-WebSocket-Accept"), "{fields:?}");
    }
}

#[test]
fn subprotocol_is_one_that_was_offered() {
    let name = "Sec-WebSocket-Protocol";
    let cases: &[Choosing] = &[
        (&[], &["chat"], true),
        (&[b"Sec-WebSocket-Protocol: chat"], &["other", "chat"], true),
        (&[b"Sec-WebSocket-Protocol: chat"], &[], false),
        (&[b"Sec-WebSocket-Protocol: chat"], &["other"], false),
        (&[b"Sec-WebSocket-Protocol: Chat"], &["chat"], false),
        (&[b"Sec-WebSocket-Protocol: other, chat"], &["other", "chat"], false),
        (&[b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: chat"], &["chat"], false),
        (&[b"Sec-WebSocket-Protocol:"], &["chat"], false),
    ];
    for &(fields, offered, is_good) in cases {
        assert_eq!(fault_with(name, fields, offered).is_none(), is_good, "{fields:?} {offered:?}");
    }
}

#[test]
fn switch_that_announces_a_body_is_refused() {
    assert_eq!(fault_with("None", &[b"Content-Length: 0"], &[]), None);
    for field in [b"Content-Length: 5".as_slice(), b"Content-Length: x", b"Transfer-Encoding: chunked"] {
        assert!(fault_with("None", &[field], &[]).is_some());
    }
    assert!(fault_with("None", &[b"Content-Length: 0", b"Content-Length: 0"], &[]).is_some());
}

#[test]
fn status_line_is_version_status_and_phrase() {
    let cases: &[Line] = &[
        (b"HTTP/1.1 101 Switching Protocols", Some((101, b"Switching Protocols"))),
        (b"HTTP/1.1 101 ", Some((101, b""))),
        (b"HTTP/1.1 101", Some((101, b""))),
        (b"HTTP/1.1 503 D\xe9sol\xe9", Some((503, b"D\xe9sol\xe9"))),
        (b"HTTP/1.1 999 x", Some((999, b"x"))),
        (b"HTTP/1.0 502 Bad Gateway", Some((502, b"Bad Gateway"))),
        // Only HTTP/1.1 can switch protocols.
        (b"HTTP/1.0 101 Switching Protocols", None),
        (b"HTTP/1.2 200 OK", None),
        (b"HTTP/2 200 OK", None),
        (b"HTTP/2.0 200 OK", None),
        (b"http/1.1 200 OK", None),
        (b"HTTP/1.1  200 OK", None),
        (b"HTTP/1.1 20 OK", None),
        (b"HTTP/1.1 2000 OK", None),
        (b"HTTP/1.1 099 OK", None),
        (b"HTTP/1.1 2x0 OK", None),
        (b"HTTP/1.1 -20 OK", None),
        (b"HTTP/1.1 200\tOK", None),
        (b"HTTP/1.1 200 O\0K", None),
        (b"HTTP/1.1 200 O\rK", None),
        (b"HTTP/1.1", None),
        (b"ICY 200 OK", None),
        (b"", None),
    ];
    for &(line, expected) in cases {
        let head = head(line, &[]);
        let parsed = Response::parse(&head);
        let found = parsed.as_ref().ok().map(|response| (response.status, response.reason));
        assert_eq!(found, expected, "{:?}", line.escape_ascii().to_string());
        assert!(parsed.is_ok() || parsed.is_err_and(|refusal| refusal.status == 400));
    }
}

#[test]
fn answer_other_than_101_keeps_its_status_and_headers() {
    for status in [200, 301, 302, 400, 401, 403, 426, 429, 500, 503] {
        let line = format!("HTTP/1.1 {status} Text");
        let head = head(line.as_bytes(), &[b"Location: ws://other/", b"Transfer-Encoding: chunked", b"Retry-After: 3"]);
        let response = Response::parse(&head).unwrap();
        assert_eq!(response.status, status);
        assert_eq!(response.fields.values("retry-after").collect::<Vec<_>>(), [b"3"]);
        assert!(!response.is_interim());
        assert_eq!(response.check_upgrade(ACCEPT, &[]).unwrap_err().status, status);
    }
}

#[test]
fn answers_before_the_final_one_are_known_as_such() {
    for status in [100, 102, 103] {
        let head = head(format!("HTTP/1.1 {status} Early").as_bytes(), &[b"Link: </x>"]);
        let response = Response::parse(&head).unwrap();
        assert!(response.is_interim());
        assert!(response.check_upgrade(ACCEPT, &[]).is_err());
    }
}

#[test]
fn header_lines_of_a_response_are_read_as_strictly_as_a_requests() {
    for field in
        [b"X : a".as_slice(), b" folded", b"X", b"X: a\0", b"X: a\nb", b"Sec-X: \xff", b"Upgrade: websocket\xff"]
    {
        let head = head(b"HTTP/1.1 403 Forbidden", &[field]);
        assert_eq!(Response::parse(&head).unwrap_err().status, 400, "{:?}", field.escape_ascii().to_string());
    }
}
