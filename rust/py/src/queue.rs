//! Undecoded messages in the order they came: small ones in one growable stretch of memory, big ones as `bytes` of their own.

use std::collections::VecDeque;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::clock::Stamp;
use crate::codec::WireFormat;

/// Memory kept when the queue is empty; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Memory reserved once that is too little: what the reads of one turn of the loop bring together.
const BURST_CAPACITY: usize = 256 * 1024;

/// Payload bytes from which on a message is kept apart: copying it a second time would cost more than an object does.
const BIG_MESSAGE: usize = 8 * 1024;

#[derive(Debug)]
struct Entry {
    /// Payload bytes in the stretch, fewer than [`BIG_MESSAGE`]; of one that is apart, none.
    length: u32,
    format: WireFormat,
    is_apart: bool,
}

/// Messages of one read: they share its time, so that none of them needs one.
#[derive(Debug)]
struct Run {
    /// Messages that were queued before its first.
    first: u64,
    stamp: Stamp,
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
    /// Messages removed since the beginning.
    popped: u64,
    /// Reads whose first message is still here; the last one may have none yet.
    runs: VecDeque<Run>,
    /// Where the first of `runs` begins.
    next_run: u64,
    /// The read of the message that was removed last.
    stamp: Stamp,
}

/// A queued payload.
pub(crate) enum Front<'a> {
    Small(&'a [u8]),
    Big(&'a Py<PyBytes>),
}

/// A payload that left the queue.
pub(crate) enum Payload {
    Small(Box<[u8]>),
    Big(Py<PyBytes>),
}

impl Payload {
    pub(crate) fn as_front(&self) -> Front<'_> {
        match self {
            Self::Small(payload) => Front::Small(payload),
            Self::Big(bytes) => Front::Big(bytes),
        }
    }

    pub(crate) fn as_bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.as_front().as_bytes(py)
    }
}

impl<'a> Front<'a> {
    #[inline]
    pub(crate) fn as_bytes(&self, py: Python<'a>) -> &'a [u8] {
        match self {
            Self::Small(payload) => payload,
            Self::Big(bytes) => bytes.as_bytes(py),
        }
    }
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
        self.bytes().max(self.entries.len() * size_of::<Entry>() + self.runs.len() * size_of::<Run>())
    }

    /// Messages removed since the beginning.
    #[inline]
    pub(crate) const fn popped(&self) -> u64 {
        self.popped
    }

    /// When the message that was removed last was read.
    #[inline]
    pub(crate) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What is pushed from here on was read at `stamp`.
    #[inline]
    pub(crate) fn begin_run(&mut self, stamp: Stamp) {
        let first = self.popped + self.entries.len() as u64;
        match self.runs.back_mut() {
            // The read before brought no message that waits.
            Some(last) if last.first == first => last.stamp = stamp,
            last => {
                if last.is_none() {
                    self.next_run = first;
                }
                self.runs.push_back(Run { first, stamp });
            }
        }
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
        self.entries.push_back(Entry { length: payload.len() as u32, format, is_apart: false });
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
            Front::Small(&self.data[self.start..self.start + entry.length as usize])
        };
        Some((payload, entry.format))
    }

    /// Takes the front message out, with what is needed to keep it elsewhere.
    pub(crate) fn take_front(&mut self, py: Python<'_>) -> Option<(Payload, WireFormat, Stamp)> {
        let (payload, format) = match self.front()? {
            (Front::Small(payload), format) => (Payload::Small(payload.into()), format),
            (Front::Big(bytes), format) => (Payload::Big(bytes.clone_ref(py)), format),
        };
        self.pop(py);
        Some((payload, format, self.stamp))
    }

    /// Removes the front message; returns whether it is the first of its read that leaves.
    #[inline]
    pub(crate) fn pop(&mut self, py: Python<'_>) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        let is_first = self.popped >= self.next_run;
        if is_first {
            self.enter_run();
        }
        self.popped += 1;
        self.start += entry.length as usize;
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
            // Apart from the payloads: empty messages fill these alone.
            if self.entries.capacity() > KEPT_CAPACITY / size_of::<Entry>() {
                self.entries = VecDeque::new();
            }
            if self.runs.capacity() > KEPT_CAPACITY / size_of::<Run>() {
                self.runs.shrink_to_fit();
            }
        } else if self.start > KEPT_CAPACITY && self.start > self.data.len() / 2 {
            // More than half is gone: moving the rest costs less than what was read since the last move.
            self.data.drain(..self.start);
            self.start = 0;
        }
        is_first
    }

    /// The front message begins a read.
    fn enter_run(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.stamp = run.stamp;
        }
        self.next_run = self.runs.front().map_or(u64::MAX, |run| run.first);
    }
}
