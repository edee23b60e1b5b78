//! Requests: those to accept, and the status for each that is not.

use websocket_utils_core::handshake::{MAX_HEADERS, Request};

const LINE: &str = "GET /prices?since=1 HTTP/1.1";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const FIELDS: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn head(line: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut head = line.to_vec();
    for field in fields {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(field);
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

fn status_of(head: &[u8]) -> u16 {
    match Request::parse(head) {
        Ok(_) => 101,
        Err(refusal) => refusal.status,
    }
}

/// The verdict on a good request with `line` for its first line.
fn status_of_line(line: &[u8]) -> u16 {
    status_of(&head(line, &FIELDS.map(str::as_bytes)))
}

/// The verdict on a good request in which `fields` replace every line of that name.
fn status_with(name: &str, fields: &[&[u8]]) -> u16 {
    let mut all: Vec<&[u8]> =
        FIELDS.iter().filter(|field| !field.starts_with(name)).map(|field| field.as_bytes()).collect();
    all.extend_from_slice(fields);
    status_of(&head(LINE.as_bytes(), &all))
}

#[test]
fn request_of_the_rfc_is_read() {
    let head = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let request = Request::parse(head).unwrap();
    assert_eq!(request.target, "/chat");
    assert_eq!(request.key, KEY);
    assert_eq!(request.fields.iter().len(), 7);
    assert_eq!(request.fields.iter().next(), Some(("Host", b"server.example.com".as_slice())));
    assert_eq!(request.fields.values("ORIGIN").collect::<Vec<_>>(), [b"http://example.com"]);
    assert_eq!(request.fields.list("sec-websocket-protocol").collect::<Vec<_>>(), [&b"chat"[..], b"superchat"]);
}

#[test]
fn connection_is_a_list_over_all_lines_in_any_case() {
    let cases: &[(&[&[u8]], u16)] = &[
        (&[b"Connection: Upgrade"], 101),
        (&[b"Connection: upgrade"], 101),
        (&[b"connection:UPGRADE"], 101),
        (&[b"Connection: keep-alive, Upgrade"], 101),
        (&[b"Connection: Upgrade,keep-alive"], 101),
        (&[b"Connection: keep-alive", b"Connection: Upgrade"], 101),
        (&[b"Connection: , ,\tUpgrade ,"], 101),
        (&[b"Connection:\t Upgrade \t"], 101),
        (&[b"Connection: notupgrade"], 400),
        (&[b"Connection: upgraded"], 400),
        (&[b"Connection: up grade"], 400),
        (&[b"Connection: keep-alive"], 400),
        (&[b"Connection: \"Upgrade\""], 400),
        (&[b"Connection: \"a, Upgrade, b\""], 400),
        (&[b"Connection: Upgrade; q=1"], 400),
        (&[b"Connection: Upgrade\xff"], 400),
        (&[b"Connection:"], 400),
        (&[], 400),
    ];
    for &(fields, status) in cases {
        assert_eq!(status_with("Connection", fields), status, "{fields:?}");
    }
}

#[test]
fn upgrade_names_websocket_or_is_refused() {
    let cases: &[(&[&[u8]], u16)] = &[
        (&[b"Upgrade: WebSocket"], 101),
        (&[b"Upgrade: h2c, websocket"], 101),
        (&[b"Upgrade: HTTP/2.0", b"Upgrade: WEBSOCKET"], 101),
        (&[b"Upgrade: websocket/13"], 400),
        (&[b"Upgrade: notwebsocket"], 400),
        (&[b"Upgrade: websocket2"], 400),
        (&[b"Upgrade: h2c"], 400),
        (&[b"Upgrade: a/b/c, websocket"], 400),
        (&[b"Upgrade: web socket"], 400),
        (&[b"Upgrade:"], 400),
        // Plain HTTP.
        (&[], 426),
    ];
    for &(fields, status) in cases {
        assert_eq!(status_with("Upgrade", fields), status, "{fields:?}");
    }
}

#[test]
fn version_is_13_once() {
    let cases: &[(&[&[u8]], u16)] = &[
        (&[b"Sec-WebSocket-Version:13"], 101),
        (&[b"Sec-WebSocket-Version: 0"], 426),
        (&[b"Sec-WebSocket-Version: 7"], 426),
        (&[b"Sec-WebSocket-Version: 8"], 426),
        (&[b"Sec-WebSocket-Version: 14"], 426),
        (&[b"Sec-WebSocket-Version: 99"], 426),
        (&[b"Sec-WebSocket-Version: 255"], 426),
        (&[b"Sec-WebSocket-Version: 256"], 400),
        (&[b"Sec-WebSocket-Version: 1300"], 400),
        (&[b"Sec-WebSocket-Version: 013"], 400),
        (&[b"Sec-WebSocket-Version: +13"], 400),
        (&[b"Sec-WebSocket-Version: 13, 8"], 400),
        (&[b"Sec-WebSocket-Version: thirteen"], 400),
        (&[b"Sec-WebSocket-Version: \xff\xfe"], 400),
        (&[b"Sec-WebSocket-Version:"], 400),
        (&[b"Sec-WebSocket-Version: 13", b"sec-websocket-version: 13"], 400),
        (&[b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Version: 13"], 400),
        (&[], 400),
    ];
    for &(fields, status) in cases {
        assert_eq!(status_with("Sec-WebSocket-Version", fields), status, "{fields:?}");
    }
}

#[test]
fn key_is_base64_of_16_bytes_once() {
    let cases: &[(&[&[u8]], u16)] = &[
        (&[b"Sec-WebSocket-Key:  AQIDBAUGBwgJCgsMDQ4PEC== "], 101),
        // Bits behind the sixteenth byte, which a decoder need not mind (RFC 4648 section 3.5).
        (&[b"Sec-WebSocket-Key: ++++//////////////////=="], 101),
        (&[b"Sec-WebSocket-Key: ++++/////////////////w=="], 101),
        // 15 bytes, and 17.
        (&[b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4"], 400),
        (&[b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eHg="], 400),
        (&[b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="], 400),
        (&[b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], 400),
        (&[b"Sec-WebSocket-Key: dGhlIHNhbXBs SBub25jZQ=="], 400),
        (&[b"Sec-WebSocket-Key: dGhlIHNhbXBs-SBub25jZQ=="], 400),
        (&[b"Sec-WebSocket-Key: dGhlIHNhbXBs=SBub25jZQ=="], 400),
        (&[b"Sec-WebSocket-Key: \xff\xfelIHNhbXBsZSBub25jZQ=="], 400),
        (&[b"Sec-WebSocket-Key:"], 400),
        (&[FIELDS[3].as_bytes(), FIELDS[3].as_bytes()], 400),
        (&[], 400),
    ];
    for &(fields, status) in cases {
        assert_eq!(status_with("Sec-WebSocket-Key", fields), status, "{fields:?}");
    }
}

#[test]
fn host_is_a_host_with_an_optional_port_once() {
    let good: &[&str] = &[
        "h",
        "h:1",
        "a-b.c_d.example:65535",
        "1.2.3.4:80",
        "[::1]",
        "[2001:db8::1]:443",
        "localhost:",
        "xn--bcher-kva.example",
    ];
    for host in good {
        assert_eq!(status_with("Host", &[format!("Host: {host}").as_bytes()]), 101, "{host}");
    }
    let bad: &[&str] = &[
        "",
        ":80",
        "user@h",
        "user:pass@h",
        "h:8o",
        "h:123456",
        "h:-1",
        "h:80:80",
        "a b",
        "a,b",
        "h/",
        "h?x",
        "h#x",
        "http://h",
        "[]",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "::1",
        "[g::1]",
        "[::1]]",
        "h\\x",
        "h%00",
        "h<",
        "b\u{fc}cher.example",
    ];
    for host in bad {
        assert_eq!(status_with("Host", &[format!("Host: {host}").as_bytes()]), 400, "{host}");
    }
    assert_eq!(status_with("Host", &[]), 400);
    assert_eq!(status_with("Host", &[b"Host: h", b"Host: h"]), 400);
}

#[test]
fn body_that_could_hide_another_request_is_refused() {
    let cases: &[(&[&[u8]], u16)] = &[
        (&[b"Content-Length: 0"], 101),
        (&[b"Content-Length: 5"], 400),
        (&[b"Content-Length: 00"], 400),
        (&[b"Content-Length: +0"], 400),
        (&[b"Content-Length: -0"], 400),
        (&[b"Content-Length: 0, 0"], 400),
        (&[b"Content-Length:"], 400),
        (&[b"Content-Length: 0", b"Content-Length: 0"], 400),
        (&[b"Transfer-Encoding: chunked"], 400),
        (&[b"transfer-encoding: identity"], 400),
        (&[b"Transfer-Encoding:"], 400),
        (&[b"Transfer-Encoding : chunked"], 400),
        (&[b"Content-Length: 0", b"Transfer-Encoding: chunked"], 400),
    ];
    for &(fields, status) in cases {
        assert_eq!(status_with("None", fields), status, "{fields:?}");
    }
}

#[test]
fn request_line_is_get_target_http_1_1() {
    let cases: &[(&[u8], u16)] = &[
        (b"GET / HTTP/1.1", 101),
        (b"GET //a/%00?b=\"<>|^`{}&c=[] HTTP/1.1", 101),
        (b"POST / HTTP/1.1", 405),
        (b"HEAD / HTTP/1.1", 405),
        (b"get / HTTP/1.1", 405),
        (b"GETX / HTTP/1.1", 405),
        (b"G@T / HTTP/1.1", 400),
        (b" / HTTP/1.1", 400),
        (b"GET / HTTP/1.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/3.0", 505),
        (b"GET / HTTP/11", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/x.y", 400),
        (b"GET / ICY/1.1", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"", 400),
        (b"hello", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/\tHTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /a\tb HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET http://h/ HTTP/1.1", 400),
        (b"GET h:80 HTTP/1.1", 400),
        (b"GET ?x HTTP/1.1", 400),
        (b"GET /#x HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\0 HTTP/1.1", 400),
    ];
    for &(line, status) in cases {
        assert_eq!(status_of_line(line), status, "{:?}", line.escape_ascii().to_string());
    }
}

#[test]
fn header_lines_are_name_colon_value() {
    let cases: &[(&[u8], u16)] = &[
        (b"X:", 101),
        (b"X: a\tb", 101),
        (b"X: caf\xe9 \xff", 101),
        (b"!#$%&'*+-.^_`|~9: x", 101),
        (b"X : a", 400),
        (b"X\t: a", 400),
        (b" X: a", 400),
        (b"\tfolded", 400),
        (b": a", 400),
        (b"X", 400),
        (b"X(y): a", 400),
        (b"X\xff: a", 400),
        (b"X: a\0b", 400),
        (b"X: a\x1fb", 400),
        (b"X: a\x7fb", 400),
        (b"X: a\rSec-WebSocket-Key: x", 400),
        (b"X: a\nHost: evil", 400),
        (b"X: a\n\nGET / HTTP/1.1", 400),
        // What the handshake reads is ASCII.
        (b"Origin: http://b\xc3\xbccher.example", 400),
        (b"Sec-Fetch-Site: \xff", 400),
        (b"SEC-WEBSOCKET-EXTENSIONS: \xff", 400),
        (b"Sec-WebSocket-Protocol: a, b\xff", 400),
        (b"Sec-WebSocket-Protocol: a b", 400),
        (b"Sec-WebSocket-Protocol: a;b", 400),
        (b"Sec-WebSocket-Protocol: \"a\"", 400),
        (b"Sec-WebSocket-Protocol: a,,b,", 101),
    ];
    for &(field, status) in cases {
        assert_eq!(status_with("None", &[field]), status, "{:?}", field.escape_ascii().to_string());
    }
}

#[test]
fn origin_comes_once_at_most() {
    assert_eq!(status_with("Origin", &[b"Origin: null"]), 101);
    assert_eq!(status_with("Origin", &[b"Origin: http://a", b"origin: http://a"]), 400);
}

#[test]
fn more_than_128_header_lines_are_431() {
    let mut fields = FIELDS.map(str::as_bytes).to_vec();
    fields.resize(MAX_HEADERS, b"X: y");
    assert_eq!(status_of(&head(LINE.as_bytes(), &fields)), 101);
    fields.push(b"X: y");
    assert_eq!(status_of(&head(LINE.as_bytes(), &fields)), 431);
}

#[test]
fn head_that_was_not_collected_by_a_reader_is_checked_all_the_same() {
    let good = head(LINE.as_bytes(), &FIELDS.map(str::as_bytes));
    for end in 0..good.len() {
        assert_eq!(status_of(&good[..end]), 400, "cut at {end}");
    }
    assert_eq!(status_of(&[&good[..], b"\r\n"].concat()), 400);
    assert_eq!(status_of(&[&good[..], &good].concat()), 400);
    let huge = [LINE.as_bytes(), b"\r\nX: ", &b"x".repeat(17_000), b"\r\n\r\n"].concat();
    assert_eq!(status_of(&huge), 431);
}

#[test]
fn refusal_repeats_nothing_of_the_peer() {
    let refusal = Request::parse(b"GET /sesame HTTP/1.1\r\nsesame: \r\nHost: sesame sesame\r\n\r\n").unwrap_err();
    assert!(!refusal.to_string().contains("sesame"));
}
