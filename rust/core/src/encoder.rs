//! Writing frames (RFC 6455 section 5.2).

use crate::error::LocalError;
use crate::header::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, RSV1, header_len, write_header};
use crate::mask::{append_masked, apply_mask};
use crate::opcode::Opcode;

/// A frame under way in an output buffer, from [`begin_frame`] to [`finish_frame`].
#[derive(Debug)]
#[must_use = "a frame that is begun must be finished"]
pub struct FrameStart {
    /// Where the header begins.
    frame: usize,
    /// Where the payload begins.
    payload: usize,
}

/// Begins a frame at the end of `out`, leaving room for the header that a payload of `expected_payload` bytes needs.
/// Append the payload to `out`, then call [`finish_frame`].
#[inline]
pub fn begin_frame(out: &mut Vec<u8>, masked: bool, expected_payload: usize) -> FrameStart {
    let frame = out.len();
    let payload = frame + header_len(masked, expected_payload);
    out.resize(payload, 0);
    FrameStart { frame, payload }
}

/// Writes the header of the frame begun as `start`, whose payload is everything behind it in `out`, and masks the payload
/// in place if there is a `key`. The header has its exact, shortest form: the payload is moved when [`begin_frame`]'s guess
/// was wrong.
///
/// # Panics
/// If `out` was cut to less than it was when the frame began.
#[inline]
#[expect(clippy::needless_pass_by_value, reason = "a frame is finished once: its start is used up")]
pub fn finish_frame(out: &mut Vec<u8>, start: FrameStart, opcode: Opcode, key: Option<[u8; 4]>) {
    let FrameStart { frame, payload } = start;
    assert!(payload <= out.len(), "the frame's beginning was cut off");
    let payload_len = out.len() - payload;
    let moved = frame + header_len(key.is_some(), payload_len);
    if moved != payload {
        move_payload(out, payload, moved);
    }
    let mut at = frame;
    write_header(FrameHeader::from_parts(true, 0, opcode.as_u8()), payload_len, key, |piece| {
        out[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    });
    if let Some(key) = key {
        apply_mask(&mut out[moved..], key, 0);
    }
}

#[cold]
fn move_payload(out: &mut Vec<u8>, from: usize, to: usize) {
    let end = out.len();
    let moved_end = end - from + to;
    out.resize(end.max(moved_end), 0);
    out.copy_within(from..end, to);
    out.truncate(moved_end);
}

/// Appends a whole frame to `out`; `payload` is masked on its way if there is a `key`.
#[inline]
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], key: Option<[u8; 4]>) {
    append(out, FrameHeader::from_parts(fin, 0, opcode.as_u8()), payload, key);
}

/// Appends a whole message in one frame to `out`, its payload compressed by a [`Deflater`](crate::deflate::Deflater): RSV1
/// says so (RFC 7692 section 6). Only where permessage-deflate was agreed on.
#[inline]
pub fn append_compressed_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    append(out, FrameHeader::from_parts(true, RSV1, opcode.as_u8()), payload, key);
}

#[inline]
fn append(out: &mut Vec<u8>, header: FrameHeader, payload: &[u8], key: Option<[u8; 4]>) {
    out.reserve(MAX_HEADER_LEN + payload.len());
    write_header(header, payload.len(), key, |piece| out.extend_from_slice(piece));
    match key {
        Some(key) => append_masked(out, payload, key, 0),
        None => out.extend_from_slice(payload),
    }
}

/// Appends a control frame to `out` if its payload is as short as it must be.
pub(crate) fn append_short_control(
    opcode: Opcode,
    payload: &[u8],
    key: Option<[u8; 4]>,
    out: &mut Vec<u8>,
) -> Result<(), LocalError> {
    if payload.len() > MAX_CONTROL_PAYLOAD {
        return Err(LocalError::ControlTooLong { size: payload.len() });
    }
    append_frame(out, opcode, true, payload, key);
    Ok(())
}
