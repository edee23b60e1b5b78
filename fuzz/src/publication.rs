//! Payloads with a publication's position in front, as a server sends them, or with what makes a request of a peer.

use websocket_utils_core::envelope::{self, append_head, read_envelope};
use websocket_utils_core::publication::{ESCAPE, MARK, Position, Received, append_position, read_position};

use crate::stream::setting;

/// A payload is read as its lines say, what was written is read back, and no byte of a payload is lost or added.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let (epoch, data) = setting(data);
    let (sequence, data) = setting(data);
    let received = read_position(data);
    assert_eq!(received, by_lines(data));
    match received {
        Received::Bare(body) => assert!(body == data || [ESCAPE, body].concat() == data, "a payload has changed"),
        Received::Publication(position, body) => {
            let written = write(position, body);
            assert!(written.len() <= data.len(), "no number is shorter than ours");
            assert_eq!(read_position(&written), received);
            assert_eq!(read_position(&data[..data.len() - body.len()]), Received::Publication(position, b""));
        }
        Received::Malformed => assert_eq!(data.first(), Some(&MARK)),
    }
    assert_eq!(read_position(&[ESCAPE, data].concat()), Received::Bare(data));
    as_envelope(data);
    let (epoch, sequence) = (u64::from(epoch) << (sequence % 57), u64::from(sequence));
    for channel in String::from_utf8_lossy(data).lines().filter(|line| !line.is_empty()) {
        let position = Position { epoch, sequence, previous: sequence.saturating_sub(1), channel };
        assert_eq!(read_position(&write(position, data)), Received::Publication(position, data));
    }
}

/// The same of the other line: no byte is lost or added, and what was written is read back.
fn as_envelope(data: &[u8]) {
    let received = read_envelope(data);
    match received {
        envelope::Received::Bare(body) => assert!(body == data || [ESCAPE, body].concat() == data, "it has changed"),
        envelope::Received::Envelope(head, body) => {
            let mut written = Vec::new();
            append_head(&mut written, head);
            written.extend_from_slice(body);
            assert!(written.len() <= data.len(), "no number is shorter than ours");
            assert_eq!(read_envelope(&written), received);
        }
        envelope::Received::Malformed => assert_eq!(data.first(), Some(&MARK)),
    }
    assert_eq!(read_envelope(&[ESCAPE, data].concat()), envelope::Received::Bare(data));
}

fn write(position: Position<'_>, body: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    append_position(&mut written, position);
    written.extend_from_slice(body);
    written
}

/// The same in the plainest way.
fn by_lines(data: &[u8]) -> Received<'_> {
    if data.first() != Some(&MARK) {
        return Received::Bare(data);
    }
    let mut parts = data[1..].splitn(2, |&byte| byte == b'\n');
    let (Some(line), Some(body)) = (parts.next(), parts.next()) else { return Received::Malformed };
    if line.is_empty() {
        return Received::Bare(body);
    }
    let words: Vec<&[u8]> = line.splitn(4, |&byte| byte == b' ').collect();
    let number = |word: &[u8]| -> Option<u64> {
        let is_decimal = word.iter().all(u8::is_ascii_digit);
        is_decimal.then(|| str::from_utf8(word).ok()?.parse().ok()).flatten()
    };
    let [epoch, sequence, previous, channel] = words[..] else { return Received::Malformed };
    match (number(epoch), number(sequence), number(previous), str::from_utf8(channel)) {
        (Some(epoch), Some(sequence), Some(previous), Ok(channel)) if !channel.is_empty() => {
            Received::Publication(Position { epoch, sequence, previous, channel }, body)
        }
        _ => Received::Malformed,
    }
}
