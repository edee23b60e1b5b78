//! Arbitrary bytes in arbitrary segments: no panic, and the same verdict as in one piece.

use proptest::prelude::*;
use websocket_utils_core::handshake::{
    DeflateSettings, HeadReader, MAX_HEAD_BYTES, Refusal, Request, Response, accept, confirm,
};

/// What both roles make of a head, and how many bytes belong to it.
#[derive(Debug, PartialEq)]
enum Verdict {
    Unfinished(usize),
    Refused(Refusal),
    Complete { len: usize, request: Result<(String, String, usize), Refusal>, response: Result<(u16, usize), Refusal> },
}

fn verdict<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    let mut reader = HeadReader::new();
    let mut fed = 0;
    for segment in segments {
        match reader.feed(segment) {
            Err(refusal) => return Verdict::Refused(refusal),
            Ok(None) => fed += segment.len(),
            Ok(Some(taken)) => {
                let head = reader.bytes();
                assert_eq!(head.len(), fed + taken);
                return Verdict::Complete {
                    len: head.len(),
                    request: Request::parse(head)
                        .map(|request| (request.target.into(), request.key.into(), request.fields.iter().len())),
                    response: Response::parse(head).map(|response| {
                        let _ = response.check_upgrade("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &["chat"]);
                        (response.status, response.fields.iter().len())
                    }),
                };
            }
        }
    }
    Verdict::Unfinished(fed)
}

/// Lines out of pieces that matter, so that many heads get far.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec()),
        8 => Just(b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n".to_vec()),
        8 => Just(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n".to_vec()),
        4 => Just(b"HTTP/1.1 101 Switching Protocols\r\n".to_vec()),
        4 => Just(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n".to_vec()),
        8 => Just(b"\r\n".to_vec()),
        2 => Just(b"Content-Length: 0\r\n".to_vec()),
        1 => Just(vec![b'x'; MAX_HEAD_BYTES / 2]),
        2 => "[A-Za-z-]{1,8}: ?[ -~]{0,12}\r\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_segments_have_the_verdict_of_one_piece(
        input in prop_oneof![heads(), prop::collection::vec(any::<u8>(), 0..300)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = verdict([input.as_slice()]);
        prop_assert_eq!(&verdict(input.chunks(1)), &whole);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        ends.extend([0, input.len()]);
        ends.sort_unstable();
        prop_assert_eq!(&verdict(ends.windows(2).map(|pair| &input[pair[0]..pair[1]])), &whole);
    }

    #[test]
    fn any_bytes_as_a_head_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let head = [&input[..], b"\r\n\r\n"].concat();
        for head in [&input, &head] {
            let _ = Request::parse(head);
            let _ = Response::parse(head);
        }
    }

    #[test]
    fn any_text_as_extensions_never_panics(
        values in prop::collection::vec(
            prop_oneof![
                ".{0,40}",
                "(permessage-deflate|x)?[;,= \"\\\\]{0,3}((server|client)_(max_window_bits|no_context_takeover))?[;,= \"\\\\0-9é]{0,8}",
            ],
            0..4,
        ),
        window_bits in 9_u8..=15,
        takeover: bool,
    ) {
        let settings = DeflateSettings { window_bits, takeover };
        let values = || values.iter().map(String::as_str);
        if let Ok(Some((agreement, answer))) = accept(settings, values()) {
            prop_assert!((8..=15).contains(&agreement.send_window_bits));
            prop_assert!((8..=15).contains(&agreement.receive_window_bits));
            prop_assert!(answer.starts_with("permessage-deflate"));
        }
        if let Ok(Some(agreement)) = confirm(settings, values()) {
            prop_assert!(agreement.send_window_bits <= window_bits && agreement.receive_window_bits <= window_bits);
        }
    }
}
