//! What the connections of one thread share for compressing messages (permessage-deflate, RFC 7692).
//!
//! A compressor takes some 256 KiB at a window of 15 bits. Only a connection whose messages refer to those before needs one
//! of its own; all others of a thread take turns with one for each window size.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use websocket_utils_core::deflate::{Agreement, Deflater};

/// Sizes of window that a compressor can have, as powers of two (RFC 7692 section 7.1.2).
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 8..=15;

/// Memory of one scratch buffer that is kept for the next message; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// What Python knows an [`Agreement`] as: (send window bits, send takeover, receive window bits, receive takeover).
pub(crate) type AgreementTuple = (u8, bool, u8, bool);

thread_local! {
    static SHARED: RefCell<[Option<Box<Deflater>>; 16]> = const { RefCell::new([const { None }; 16]) };
    static PAYLOAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static COMPRESSED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The agreement that the tuple tells.
///
/// # Errors
/// `ValueError` for a window that no compressor has.
pub(crate) fn agreement(tuple: AgreementTuple) -> PyResult<Agreement> {
    let (send_window_bits, send_takeover, receive_window_bits, receive_takeover) = tuple;
    check_window_bits(send_window_bits)?;
    check_window_bits(receive_window_bits)?;
    Ok(Agreement { send_window_bits, send_takeover, receive_window_bits, receive_takeover })
}

/// # Errors
/// `ValueError` for a window that no compressor has.
pub(crate) fn check_window_bits(bits: u8) -> PyResult<()> {
    if WINDOW_BITS.contains(&bits) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("window of {bits} bits: expected 8 to 15 (RFC 7692 section 7.1.2)")))
}

/// Whether a message of `len` bytes is to be compressed: as it was asked for, else from the threshold on.
#[inline]
pub(crate) fn is_wanted(compress: Option<bool>, len: usize, threshold: usize) -> bool {
    compress.unwrap_or(len >= threshold)
}

/// Appends `payload`, compressed without reference to any other message, to `out`; appends nothing and returns false where
/// that does not make it smaller.
pub(crate) fn compress_alone(window_bits: u8, payload: &[u8], out: &mut Vec<u8>) -> bool {
    SHARED.with_borrow_mut(|shared| {
        let deflater =
            shared[usize::from(window_bits & 15)].get_or_insert_with(|| Box::new(Deflater::new(window_bits, false)));
        deflater.compress(payload, out)
    })
}

/// Lends the thread's buffer for an encoded payload. An encode hook may send on another connection: it finds an empty one.
pub(crate) fn with_payload_buffer<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    PAYLOAD.with(|cell| lend(cell, use_it))
}

/// Lends the thread's buffer for a compressed payload.
pub(crate) fn with_compressed_buffer<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    COMPRESSED.with(|cell| lend(cell, use_it))
}

fn lend<R>(cell: &Cell<Vec<u8>>, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = cell.take();
    let result = use_it(&mut buffer);
    buffer.clear();
    if buffer.capacity() <= KEPT_CAPACITY {
        cell.set(buffer);
    }
    result
}
