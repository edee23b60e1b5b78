//! The way out: from a message to the socket.

use std::io::IoSlice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{ffi, intern};
use websocket_utils_core::encoder::{append_frame, begin_frame, finish_frame};
use websocket_utils_core::opcode::Opcode;

use crate::codec::{self, Format};
use crate::connection::State;
use crate::errors;
use crate::socket::{self, MAX_SLICES, Written};

/// Bytes that may wait for the end of a turn: one write of this size is as cheap a byte as writes get (16 frames already
/// cost 11 to 16 times less than one by one), and a loop that never ends its turn still sends.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// Bytes handed to the transport in one piece when the kernel takes no more: enough to keep the socket full until
/// `resume_writing`, little enough to hold twice.
const HANDED_OVER_BYTES: usize = 256 * 1024;

/// Appends `message` as one finished frame: `str` as text, bytes-like as binary, anything else through the codec.
pub(crate) fn append_message(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    format: Format,
    key: Option<[u8; 4]>,
    expected_payload: usize,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    if let Ok(text) = message.cast::<PyString>() {
        append_frame(out, Opcode::Text, true, text.to_str()?.as_bytes(), key);
    } else if let Ok(bytes) = message.cast::<PyBytes>() {
        append_frame(out, Opcode::Binary, true, bytes.as_bytes(), key);
    // SAFETY: `message` is a live object; the check only looks at its type.
    } else if unsafe { ffi::PyObject_CheckBuffer(message.as_ptr()) } != 0 {
        let buffer = PyBuffer::<u8>::get(message)
            .map_err(|_| PyTypeError::new_err("can't send this buffer: it must be one of bytes (format 'B')"))?;
        append_frame(out, Opcode::Binary, true, &buffer.to_vec(py)?, key);
    } else {
        let start = begin_frame(out, key.is_some(), expected_payload);
        codec::encode(py, message, format, out)?;
        let opcode = match format {
            Format::Json => Opcode::Text,
            Format::MessagePack => Opcode::Binary,
        };
        finish_frame(out, start, opcode, key);
    }
    Ok(())
}

/// Payload bytes of one finished frame: what statistics count, and how long the next message is guessed to be.
#[inline]
pub(crate) fn payload_len(frame_len: usize, is_masked: bool) -> usize {
    // The forms of the length (RFC 6455 section 5.2): none, 2 or 8 bytes behind the first two.
    let rest = frame_len - if is_masked { 6 } else { 2 };
    match rest {
        ..=125 => rest,
        126..=0x1_0001 => rest - 2,
        _ => rest - 8,
    }
}

/// Encodes, queues and, as the first of a turn, writes one message.
pub(crate) fn send(state: &State, slf: &Bound<'_, PyAny>, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    if !state.open.get() {
        return Err(state.closed_error(py)?);
    }
    let key = state.key()?;
    let queued = {
        let mut outbox = state.outbox.lock()?;
        let before = outbox.own.len();
        let appended = append_message(py, message, state.format, key, state.expected_payload.get(), &mut outbox.own);
        if let Err(error) = appended {
            outbox.discard_uncommitted();
            return Err(error);
        }
        let size = outbox.own.len() - before;
        let queued = outbox.queued();
        // One message always fits an empty queue, whatever its size.
        if queued > 0 && queued + size > state.max_send_queue {
            outbox.discard_uncommitted();
            return Err(errors::send_queue_full(queued, size, state.max_send_queue));
        }
        let payload = payload_len(size, key.is_some());
        state.expected_payload.set(payload);
        outbox.commit_own();
        state.messages_sent.set(state.messages_sent.get() + 1);
        state.bytes_sent.set(state.bytes_sent.get() + payload as u64);
        outbox.queued()
    };
    if !state.busy.get() && (!state.turn.get() || queued >= FLUSH_BYTES) {
        write(state, slf)?;
    }
    state.begin_turn(slf)
}

/// Writes all that the socket takes. What it does not take goes to the transport, which tells when it has left.
pub(crate) fn write(state: &State, slf: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    while !state.busy.get() && !state.lost.get() {
        let descriptor = state.descriptor.get();
        let chunk = {
            let mut outbox = state.outbox.lock()?;
            if state.broken.get() {
                outbox.clear();
            }
            if outbox.queued() == 0 {
                return Ok(());
            }
            let log = match &state.broadcaster {
                Some(broadcaster) => Some(broadcaster.get().log(state.format)?.read()?),
                None => None,
            };
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(4);
            outbox.front(log.as_deref(), &mut slices);
            if descriptor >= 0 {
                match socket::send(descriptor, &slices) {
                    Written::Bytes(count) => {
                        drop(slices);
                        outbox.advance(count);
                        continue;
                    }
                    Written::Blocked => {}
                    Written::Failed => {
                        // The transport finds the same fault on its next read and reports it with `connection_lost`.
                        drop(slices);
                        drop(log);
                        drop(outbox);
                        return state.handle_broken_socket(slf);
                    }
                }
            }
            let (chunk, length) = join(py, &slices)?;
            drop(slices);
            outbox.advance(length);
            chunk
        };
        let transport = state.transport.read()?.as_ref().map(|transport| transport.clone_ref(py));
        let Some(transport) = transport else { return Ok(()) };
        // May call `pause_writing` before it returns, which ends this loop.
        transport.bind(py).call_method1(intern!(py, "write"), (chunk,))?;
    }
    Ok(())
}

/// The first bytes of the queue as one object that the transport may keep.
fn join<'py>(py: Python<'py>, slices: &[IoSlice<'_>]) -> PyResult<(Bound<'py, PyBytes>, usize)> {
    debug_assert!(slices.len() <= MAX_SLICES);
    let length = slices.iter().map(|slice| slice.len()).sum::<usize>().min(HANDED_OVER_BYTES);
    let bytes = PyBytes::new_with(py, length, |mut target| {
        for slice in slices {
            let part = slice.len().min(target.len());
            target[..part].copy_from_slice(&slice[..part]);
            target = &mut target[part..];
        }
        Ok(())
    })?;
    Ok((bytes, length))
}
