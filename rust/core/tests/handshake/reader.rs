//! Where a head ends, and what can never become one.

use websocket_utils_core::handshake::{HeadReader, MAX_HEAD_BYTES, Refusal};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// What `HeadReader` says of `input` in segments of `size` bytes: the bytes of the head, or the refusal and when it came.
fn read(input: &[u8], size: usize) -> Result<Option<usize>, (Refusal, usize)> {
    let mut reader = HeadReader::new();
    let mut fed = 0;
    for segment in input.chunks(size) {
        match reader.feed(segment) {
            Ok(Some(taken)) => {
                assert_eq!(reader.bytes(), &input[..fed + taken]);
                return Ok(Some(fed + taken));
            }
            Ok(None) => fed += segment.len(),
            Err(refusal) => return Err((refusal, fed + segment.len())),
        }
    }
    assert_eq!(reader.bytes(), input);
    Ok(None)
}

/// A head of exactly `len` bytes.
fn head_of(len: usize) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
    head.resize(len - 4, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    head
}

#[test]
fn head_in_two_parts_at_every_byte_ends_where_it_ends() {
    for split in 0..=HEAD.len() {
        let mut reader = HeadReader::new();
        let first = reader.feed(&HEAD[..split]);
        if split == HEAD.len() {
            assert_eq!(first, Ok(Some(split)));
        } else {
            assert_eq!(first, Ok(None));
            assert!(!reader.is_complete());
            assert_eq!(reader.feed(&HEAD[split..]), Ok(Some(HEAD.len() - split)));
        }
        assert!(reader.is_complete());
        assert_eq!(reader.bytes(), HEAD);
    }
}

#[test]
fn bytes_behind_the_head_are_not_taken_even_where_they_are_no_text() {
    let mut reader = HeadReader::new();
    let input = [HEAD, b"\x81\x85\0\0\0\0hello\n\r"].concat();
    assert_eq!(reader.feed(&input), Ok(Some(HEAD.len())));
    assert_eq!(reader.feed(b"\0more"), Ok(Some(0)));
    assert_eq!(reader.bytes(), HEAD);
}

#[test]
fn head_of_16_kib_is_taken_and_one_byte_more_is_431() {
    for size in [1, 7, 4096, 1 << 20] {
        let largest = [head_of(MAX_HEAD_BYTES), vec![b'y'; 20_000]].concat();
        assert_eq!(read(&largest, size), Ok(Some(MAX_HEAD_BYTES)));
        let (refusal, _) = read(&head_of(MAX_HEAD_BYTES + 1), size).unwrap_err();
        assert_eq!(refusal.status, 431);
    }
    // It is refused with the first byte over the limit, not at the end of the head.
    assert_eq!(read(&head_of(1 << 20), 1).unwrap_err().1, MAX_HEAD_BYTES + 1);
}

#[test]
fn what_can_never_become_a_head_is_400_with_the_byte_that_shows_it() {
    let cases: &[(&[u8], usize)] = &[
        (b"\x16\x03\x01\x02\x00", 1),
        (b"\x81\x05hello", 1),
        (b"\r\n", 1),
        (b" GET", 1),
        (b"\0", 1),
        (b"\xff", 1),
        (b"G\0ET", 2),
        (b"GET /\n", 6),
        (b"GET /\r\r\n", 7),
        (b"GET /\rX", 7),
        (b"A: b\r\n\n", 7),
        (b"A: b\r\n\rX", 8),
        (b"A: b\r\nC: \x0bd", 10),
        (b"A: b\r\nC: \x7fd", 10),
        (b"A: b\r\n\x1b", 7),
    ];
    for &(input, at) in cases {
        let (refusal, fed) = read(input, 1).unwrap_err();
        assert_eq!((refusal.status, fed), (400, at), "{:?}", input.escape_ascii().to_string());
        assert_eq!(read(input, 100).unwrap_err().0, refusal);
    }
}

#[test]
fn refused_reader_answers_the_same_to_all_that_follows() {
    let mut reader = HeadReader::new();
    let refusal = reader.feed(b"\x16").unwrap_err();
    assert_eq!(reader.feed(HEAD), Err(refusal));
    assert_eq!(reader.feed(b""), Err(refusal));
    assert!(reader.bytes().is_empty());
    assert!(!reader.is_complete());
}

#[test]
fn empty_segments_change_nothing() {
    let mut reader = HeadReader::new();
    assert_eq!(reader.feed(b""), Ok(None));
    assert_eq!(reader.feed(HEAD), Ok(Some(HEAD.len())));
    assert_eq!(reader.feed(b""), Ok(Some(0)));
}
