//! The way out: from a message to the socket.

use std::borrow::Cow;
use std::io::IoSlice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{ffi, intern};
use websocket_utils_core::encoder::{append_compressed_frame, append_frame, begin_frame, finish_frame};
use websocket_utils_core::envelope::{Head, LONGEST_KIND, append_head};
use websocket_utils_core::header::MAX_HEADER_LEN;
use websocket_utils_core::opcode::Opcode;
use websocket_utils_core::publication;

use crate::codec::{self, WireFormat};
use crate::compression::{self, with_compressed_buffer, with_payload_buffer};
use crate::connection::{Compression, State};
use crate::errors;
use crate::socket::{self, MAX_SLICES, Written};

/// Bytes that may wait for the end of a turn: one write of this size is as cheap a byte as writes get (16 frames already
/// cost 11 to 16 times less than one by one), and a loop that never ends its turn still sends.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// Bytes handed to the transport in one piece when the kernel takes no more: enough to keep the socket full until
/// `resume_writing`, little enough to hold twice.
const HANDED_OVER_BYTES: usize = 256 * 1024;

/// What a payload has in front of it.
#[derive(Clone, Copy)]
pub(crate) enum Front<'a> {
    /// Nothing.
    Bare,
    /// The peer reads what payloads begin with: one that only looks so is escaped.
    Escaped,
    /// What makes it a request, or an answer.
    Head(Head<'a>),
}

/// Appends `message` as one finished frame: `str` as text, bytes-like as binary, anything else through the codec.
#[inline]
pub(crate) fn append_message(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    format: WireFormat,
    key: Option<[u8; 4]>,
    expected_payload: usize,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    append_behind(py, Front::Bare, message, format, key, expected_payload, out)
}

/// The same, behind what it has in front of it.
#[inline]
fn append_behind(
    py: Python<'_>,
    front: Front<'_>,
    message: &Bound<'_, PyAny>,
    format: WireFormat,
    key: Option<[u8; 4]>,
    expected_payload: usize,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let append = |out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]| match front {
        Front::Bare => append_frame(out, opcode, true, payload, key),
        _ => append_frame(out, opcode, true, &put_behind(front, payload), key),
    };
    if let Ok(text) = message.cast::<PyString>() {
        append(out, Opcode::Text, text.to_str()?.as_bytes());
    } else if let Ok(bytes) = message.cast::<PyBytes>() {
        append(out, Opcode::Binary, bytes.as_bytes());
    // SAFETY: `message` is a live object; the check only looks at its type.
    } else if unsafe { ffi::PyObject_CheckBuffer(message.as_ptr()) } != 0 {
        let buffer = PyBuffer::<u8>::get(message).map_err(|_| not_bytes())?;
        append(out, Opcode::Binary, &buffer.to_vec(py)?);
    } else {
        let start = begin_frame(out, key.is_some(), expected_payload);
        let begins = out.len();
        if let Front::Head(head) = front {
            append_head(out, head);
        }
        codec::encode(py, message, format, out)?;
        if matches!(front, Front::Escaped) && needs_escape(&out[begins..]) {
            out.splice(begins..begins, publication::ESCAPE.iter().copied());
        }
        finish_frame(out, start, opcode_of(format), key);
    }
    Ok(())
}

/// A payload with what it has in front of it.
fn put_behind<'a>(front: Front<'_>, payload: &'a [u8]) -> Cow<'a, [u8]> {
    match front {
        Front::Head(head) => {
            let mut joined = Vec::with_capacity(payload.len() + LONGEST_KIND);
            append_head(&mut joined, head);
            joined.extend_from_slice(payload);
            joined.into()
        }
        Front::Escaped if needs_escape(payload) => [publication::ESCAPE, payload].concat().into(),
        _ => payload.into(),
    }
}

/// Whether a payload that is no publication begins as one.
#[inline]
pub(crate) fn needs_escape(payload: &[u8]) -> bool {
    payload.first() == Some(&publication::MARK)
}

fn opcode_of(format: WireFormat) -> Opcode {
    match format {
        WireFormat::JSON => Opcode::Text,
        WireFormat::MESSAGE_PACK | WireFormat::Protobuf => Opcode::Binary,
    }
}

#[cold]
fn not_bytes() -> PyErr {
    PyTypeError::new_err("can't send this buffer: it must be one of bytes (format 'B')")
}

/// Appends `message` as one finished frame, compressed if that is wanted and makes it smaller; returns its payload's size
/// before that. The caller tells `compression` to forget if the frame does not leave.
#[inline(never)]
fn append_compressible(
    state: &State,
    compression: &mut Compression,
    front: Front<'_>,
    message: &Bound<'_, PyAny>,
    compress: Option<bool>,
    key: Option<[u8; 4]>,
    out: &mut Vec<u8>,
) -> PyResult<usize> {
    let mut append = |opcode: Opcode, payload: &[u8]| {
        let joined = put_behind(front, payload);
        let payload = &*joined;
        let is_compressed = compression::is_wanted(compress, payload.len(), compression.threshold)
            && with_compressed_buffer(|compressed| {
                let pays = compression.compress(state.has_peer_moved_on.take(), payload, compressed);
                if pays {
                    append_compressed_frame(out, opcode, compressed, key);
                }
                pays
            });
        if !is_compressed {
            append_frame(out, opcode, true, payload, key);
        }
        payload.len()
    };
    // These two are payload as they are.
    if let Ok(text) = message.cast::<PyString>() {
        return Ok(append(Opcode::Text, text.to_str()?.as_bytes()));
    }
    if let Ok(bytes) = message.cast::<PyBytes>() {
        return Ok(append(Opcode::Binary, bytes.as_bytes()));
    }
    with_payload_buffer(|buffer| {
        append_message(message.py(), message, state.format, None, 0, buffer)?;
        let frame = PlainFrame::new(buffer);
        Ok(append(frame.opcode, frame.payload))
    })
}

/// A message as [`append_message`] has written it without a masking key.
pub(crate) struct PlainFrame<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
}

impl<'a> PlainFrame<'a> {
    pub(crate) fn new(frame: &'a [u8]) -> Self {
        let is_text = frame[0] & 0x0F == Opcode::Text as u8;
        Self {
            opcode: if is_text { Opcode::Text } else { Opcode::Binary },
            payload: &frame[frame.len() - payload_len(frame.len(), false)..],
        }
    }
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

/// Encodes, queues and, as the first of a turn, writes one message; returns its number.
pub(crate) fn send(
    state: &State,
    slf: &Bound<'_, PyAny>,
    message: &Bound<'_, PyAny>,
    compress: Option<bool>,
    head: Option<Head<'_>>,
) -> PyResult<u64> {
    let py = slf.py();
    if !state.open.get() {
        return Err(state.closed_error(py)?);
    }
    let key = state.key()?;
    let front = match head {
        Some(head) => Front::Head(head),
        None if state.escapes => Front::Escaped,
        None => Front::Bare,
    };
    let (number, queued) = {
        let mut outbox = state.outbox.lock()?;
        let expected_payload = state.expected_payload.get();
        outbox.make_room(MAX_HEADER_LEN + expected_payload);
        let before = outbox.own.len();
        let mut compression = match &state.compression {
            Some(compression) if compress != Some(false) => Some(compression.lock()?),
            _ => None,
        };
        let appended = match &mut compression {
            Some(compression) => {
                append_compressible(state, compression, front, message, compress, key, &mut outbox.own).map(Some)
            }
            None => {
                append_behind(py, front, message, state.format, key, expected_payload, &mut outbox.own).map(|()| None)
            }
        };
        let uncompressed = match appended {
            Ok(uncompressed) => uncompressed,
            Err(error) => {
                outbox.discard_uncommitted();
                return Err(error);
            }
        };
        let size = outbox.own.len() - before;
        // What is published has bounds of its own: who is slow to take that is still answered and told.
        let queued = outbox.queued() - outbox.published();
        // One message always fits an empty queue, whatever its size.
        if queued > 0 && queued + size > state.max_send_queue {
            outbox.discard_uncommitted();
            // The peer will not see what was compressed: later messages must not refer to it (RFC 7692 section 7.2.1).
            if let Some(compression) = &mut compression {
                compression.forget();
            }
            return Err(errors::send_queue_full(queued, size, state.max_send_queue));
        }
        let payload = uncompressed.unwrap_or_else(|| payload_len(size, key.is_some()));
        state.expected_payload.set(payload);
        outbox.commit_message();
        state.bytes_sent.set(state.bytes_sent.get() + payload as u64);
        (state.fates.accept(), outbox.queued())
    };
    if !state.busy.get() && (!state.turn.get() || queued >= FLUSH_BYTES) {
        write(state, slf)?;
    }
    state.begin_turn(slf)?;
    Ok(number)
}

/// Writes all that the socket takes. What it does not take goes to the transport, which tells when it has left.
pub(crate) fn write(state: &State, slf: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    while !state.busy.get() && !state.lost.get() {
        let descriptor = state.descriptor.get();
        let (chunk, waiting, has_begun) = {
            let mut outbox = state.outbox.lock()?;
            if state.broken.get() {
                outbox.clear();
            }
            if outbox.queued() == 0 {
                return Ok(());
            }
            let log = match &state.broadcaster {
                Some(broadcaster) => Some(broadcaster.get().log(state.variant)?),
                None => None,
            };
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(4);
            outbox.front(log.as_deref(), &mut slices);
            if descriptor >= 0 {
                match socket::send(descriptor, &slices) {
                    Written::Bytes(count) => {
                        state.has_written.set(true);
                        drop(slices);
                        outbox.advance(count);
                        state.fates.note_written(outbox.messages());
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
            let (waiting, has_begun) = (outbox.messages(), outbox.has_begun_message());
            outbox.advance(length);
            (chunk, waiting, has_begun)
        };
        let transport = state.transport.read()?.as_ref().map(|transport| transport.clone_ref(py));
        let Some(transport) = transport else { return Ok(()) };
        let transport = transport.bind(py);
        let is_closing = || transport.call_method0(intern!(py, "is_closing"))?.is_truthy();
        // One that has found its socket broken drops what it is given, and tells of it later.
        if is_closing()? {
            state.fates.end(waiting, has_begun);
            return state.handle_broken_socket(slf);
        }
        // May call `pause_writing` before it returns, which ends this loop: only `resume_writing` says that all has left.
        transport.call_method1(intern!(py, "write"), (chunk,))?;
        if !state.busy.get() {
            if is_closing()? {
                return state.handle_broken_socket(slf);
            }
            state.fates.note_written(state.outbox.read()?.messages());
        }
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
