//! Undecoded messages in the order they came: small ones in one growable stretch of memory, big ones as `bytes` of their own.

use std::collections::VecDeque;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::WireFormat;

/// Memory kept when the queue is empty; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Memory reserved once that is too little: what the reads of one turn of the loop bring together.
const BURST_CAPACITY: usize = 256 * 1024;

/// Payload bytes from which on a message is kept apart: copying it a second time would cost more than an object does.
const BIG_MESSAGE: usize = 8 * 1024;

#[derive(Debug)]
struct Entry {
    /// Payload bytes in the stretch; of one that is apart, none.
    length: usize,
    format: WireFormat,
    is_apart: bool,
}

/// A first-in first-out queue of payloads, without an allocation for each small one.
#[derive(Debug, Default)]
pub(crate) struct MessageQueue {
    data: Vec<u8>,
    /// Where the front message begins in `data`.
    start: usize,
    entries: VecDeque<Entry>,
    /// Those that are kept apart, in order.
    apart: VecDeque<Py<PyBytes>>,
    apart_bytes: usize,
}

/// A queued payload.
pub(crate) enum Front<'a> {
    Small(&'a [u8]),
    Big(&'a Py<PyBytes>),
}

impl MessageQueue {
    /// Messages queued.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Payload bytes queued.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() - self.start + self.apart_bytes
    }

    /// Bytes that count against a bound: the payloads, or what remembering them costs where that is more. A peer that
    /// sends empty messages makes us hold something too.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.bytes().max(self.entries.len() * size_of::<Entry>())
    }

    #[inline]
    pub(crate) fn push(&mut self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<()> {
        if payload.len() >= BIG_MESSAGE {
            return self.push_apart(py, payload, format);
        }
        if self.data.capacity() - self.data.len() < payload.len() {
            self.grow(payload.len());
        }
        self.data.extend_from_slice(payload);
        self.entries.push_back(Entry { length: payload.len(), format, is_apart: false });
        Ok(())
    }

    #[cold]
    fn push_apart(&mut self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<()> {
        // SAFETY: pointer and length are those of one live slice; a new reference to `bytes` comes back, or null with an
        // exception set. (`PyBytes::new` would panic where there is no memory, `new_with` write zeros first.)
        let bytes = unsafe {
            let made = ffi::PyBytes_FromStringAndSize(payload.as_ptr().cast(), payload.len().cast_signed());
            Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked::<PyBytes>()
        };
        self.apart.push_back(bytes.unbind());
        self.apart_bytes += payload.len();
        self.entries.push_back(Entry { length: 0, format, is_apart: true });
        Ok(())
    }

    #[cold]
    fn grow(&mut self, added: usize) {
        let needed = self.data.len() + added;
        if needed > KEPT_CAPACITY && needed <= BURST_CAPACITY {
            self.data.reserve_exact(BURST_CAPACITY - self.data.len());
        }
    }

    /// The front payload and its format.
    #[inline]
    pub(crate) fn front(&self) -> Option<(Front<'_>, WireFormat)> {
        let entry = self.entries.front()?;
        let payload = if entry.is_apart {
            Front::Big(self.apart.front()?)
        } else {
            Front::Small(&self.data[self.start..self.start + entry.length])
        };
        Some((payload, entry.format))
    }

    /// Removes the front message.
    #[inline]
    pub(crate) fn pop(&mut self, py: Python<'_>) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.start += entry.length;
        if entry.is_apart
            && let Some(bytes) = self.apart.pop_front()
        {
            self.apart_bytes -= bytes.as_bytes(py).len();
        }
        if self.entries.is_empty() {
            self.data.clear();
            self.start = 0;
            if self.data.capacity() > KEPT_CAPACITY {
                self.data = Vec::new();
            }
            // Apart from the payloads: empty messages fill this alone.
            if self.entries.capacity() > KEPT_CAPACITY / size_of::<Entry>() {
                self.entries = VecDeque::new();
            }
        } else if self.start > KEPT_CAPACITY && self.start > self.data.len() / 2 {
            // More than half is gone: moving the rest costs less than what was read since the last move.
            self.data.drain(..self.start);
            self.start = 0;
        }
    }
}
