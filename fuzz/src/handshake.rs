//! Heads of the opening handshake as a client or a server sends them, and the negotiation of permessage-deflate.

use websocket_utils_core::deflate::Agreement;
use websocket_utils_core::handshake::{
    DeflateSettings, HeadReader, MAX_HEAD_BYTES, MAX_HEADERS, Refusal, Request, Response, accept, confirm, offer,
};

use crate::stream::{cut, setting};

/// The answer to the key of RFC 6455 section 1.3, which the seeds have.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SUBPROTOCOLS: [&str; 2] = ["chat", "superchat"];
/// Ready for everything that an answer may say.
const ANYTHING: DeflateSettings = DeflateSettings { window_bits: 15, takeover: true };

/// However a head is cut, it is found to end at the same byte or refused for the same reason; what is accepted is what the
/// RFCs allow; and two ends that negotiate agree on the same.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let (settings, data) = setting(data);
    let (seed, data) = setting(data);
    let ours = deflate_settings(settings);
    let whole = find(&[data]);
    assert_eq!(whole, find(&cut(data, seed)), "the head depends on how it is cut");
    if let Ok(Some(end)) = whole {
        assert!(end <= MAX_HEAD_BYTES, "larger than the limit");
        let head = &data[..end];
        check_request(head, ours);
        check_response(head, ours);
    }
    if let Ok(text) = str::from_utf8(data) {
        negotiate(ours, &[text]);
        negotiate(ours, &text.lines().collect::<Vec<_>>());
    }
    let theirs = deflate_settings(seed);
    negotiate(ours, &[&offer(theirs)]);
    let (agreement, answer) =
        accept(ours, [offer(theirs).as_str()]).expect("an offer of ours can be read").expect("and met");
    assert_eq!(confirm(theirs, [answer.as_str()]), Ok(Some(seen_from_there(agreement))), "both ends agree");
}

fn deflate_settings(byte: u8) -> DeflateSettings {
    DeflateSettings { window_bits: 9 + byte % 7, takeover: byte & 0x80 == 0 }
}

/// Where the head ends, over all pieces.
fn find(pieces: &[&[u8]]) -> Result<Option<usize>, Refusal> {
    let mut reader = HeadReader::new();
    let mut before = 0;
    for piece in pieces {
        let found = reader.feed(piece);
        assert!(reader.bytes().len() <= MAX_HEAD_BYTES, "more is kept than a head may have");
        match found {
            Ok(Some(end)) => {
                assert_eq!(reader.bytes().len(), before + end, "the head is all that was taken");
                return Ok(Some(before + end));
            }
            Ok(None) => before += piece.len(),
            Err(refusal) => {
                assert_eq!(reader.feed(piece), Err(refusal), "a refusal is final");
                return Err(refusal);
            }
        }
    }
    Ok(None)
}

fn check_request(head: &[u8], ours: DeflateSettings) {
    match Request::parse(head) {
        Ok(request) => {
            assert!(request.target.starts_with('/') && request.target.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(request.key.len() == 24 && request.key.ends_with("=="), "the key is base64 of 16 bytes");
            assert!(request.fields.iter().len() <= MAX_HEADERS);
            for (name, value) in request.fields.iter() {
                assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
                assert!(!value.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)), "a value ends with its line");
            }
            let values: Vec<_> = request.fields.values("sec-websocket-extensions").map(ascii).collect();
            negotiate(ours, &values);
        }
        Err(refusal) => assert!(matches!(refusal.status, 400 | 405 | 426 | 431 | 505), "{refusal:?}"),
    }
}

fn check_response(head: &[u8], ours: DeflateSettings) {
    match Response::parse(head) {
        Ok(response) => {
            assert!((100..=999).contains(&response.status));
            assert!(response.fields.iter().len() <= MAX_HEADERS);
            match response.check_upgrade(ACCEPT, &SUBPROTOCOLS) {
                Ok(()) => assert_eq!(response.status, 101),
                Err(refusal) => assert!(refusal.status == response.status, "{refusal:?}"),
            }
            let values: Vec<_> = response.fields.values("sec-websocket-extensions").map(ascii).collect();
            negotiate(ours, &values);
        }
        Err(refusal) => assert!(matches!(refusal.status, 400 | 431), "{refusal:?}"),
    }
}

fn ascii(value: &[u8]) -> &str {
    str::from_utf8(value).expect("headers of the handshake are ASCII")
}

/// Takes the values for an offer, and for an answer.
fn negotiate(ours: DeflateSettings, values: &[&str]) {
    match accept(ours, values.iter().copied()) {
        Ok(Some((agreement, answer))) => {
            check_agreement(agreement);
            assert!(agreement.send_window_bits <= ours.window_bits, "larger than our own");
            assert!(ours.takeover || !(agreement.send_takeover || agreement.receive_takeover), "against our own");
            let there = confirm(ANYTHING, [answer.as_str()]).expect("our answer can be read");
            assert_eq!(there, Some(seen_from_there(agreement)), "both ends agree");
        }
        Ok(None) => {}
        Err(refusal) => assert_eq!(refusal.status, 400),
    }
    match confirm(ours, values.iter().copied()) {
        Ok(Some(agreement)) => {
            check_agreement(agreement);
            assert!(agreement.receive_window_bits <= ours.window_bits, "larger than was offered");
        }
        Ok(None) => {}
        Err(refusal) => assert_eq!(refusal.status, 101),
    }
}

fn check_agreement(agreement: Agreement) {
    let windows = [agreement.send_window_bits, agreement.receive_window_bits];
    assert!(windows.iter().all(|bits| (8..=15).contains(bits)), "no window of DEFLATE: {agreement:?}");
}

fn seen_from_there(agreement: Agreement) -> Agreement {
    Agreement {
        send_window_bits: agreement.receive_window_bits,
        send_takeover: agreement.receive_takeover,
        receive_window_bits: agreement.send_window_bits,
        receive_takeover: agreement.send_takeover,
    }
}
