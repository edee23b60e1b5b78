//! Writing frames (RFC 6455 section 5.2).

use crate::opcode::Opcode;

/// A frame under way in an output buffer, from [`begin_frame`] to [`finish_frame`].
#[derive(Debug)]
#[must_use = "a frame that is begun must be finished"]
pub struct FrameStart {
    frame: usize,
    payload: usize,
}

/// Begins a frame at the end of `out`, leaving room for the header that a payload of `expected_payload` bytes needs.
/// Append the payload to `out`, then call [`finish_frame`].
pub fn begin_frame(out: &mut Vec<u8>, masked: bool, expected_payload: usize) -> FrameStart {
    let frame = out.len();
    let _ = (masked, expected_payload);
    FrameStart { frame, payload: frame }
}

/// Writes the header of the frame begun as `start`, whose payload is everything behind it in `out`, and masks the payload
/// in place if there is a `key`. The header has its exact, shortest form: the payload is moved when [`begin_frame`]'s guess
/// was wrong.
pub fn finish_frame(out: &mut Vec<u8>, start: FrameStart, opcode: Opcode, key: Option<[u8; 4]>) {
    let _ = (out, start.frame, start.payload, opcode, key);
}

/// Appends a whole frame to `out`; `payload` is masked on its way if there is a `key`.
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], key: Option<[u8; 4]>) {
    let _ = (out, opcode, fin, payload, key);
}
