//! Undecoded messages in the order they came, in one growable stretch of memory.

use std::collections::VecDeque;

/// Memory kept when the queue is empty; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Memory reserved once that is too little: what the reads of one turn of the loop bring together.
const BURST_CAPACITY: usize = 256 * 1024;

#[derive(Debug)]
struct Entry {
    length: usize,
    is_text: bool,
}

/// A first-in first-out queue of payloads without an allocation for each.
#[derive(Debug, Default)]
pub(crate) struct MessageQueue {
    data: Vec<u8>,
    /// Where the front message begins in `data`.
    start: usize,
    entries: VecDeque<Entry>,
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
        self.data.len() - self.start
    }

    /// Bytes that count against a bound: the payloads, or what remembering them costs where that is more. A peer that
    /// sends empty messages makes us hold something too.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.bytes().max(self.entries.len() * size_of::<Entry>())
    }

    #[inline]
    pub(crate) fn push(&mut self, payload: &[u8], is_text: bool) {
        if self.data.capacity() - self.data.len() < payload.len() {
            self.grow(payload.len());
        }
        self.data.extend_from_slice(payload);
        self.entries.push_back(Entry { length: payload.len(), is_text });
    }

    #[cold]
    fn grow(&mut self, added: usize) {
        let needed = self.data.len() + added;
        if needed > KEPT_CAPACITY && needed <= BURST_CAPACITY {
            self.data.reserve_exact(BURST_CAPACITY - self.data.len());
        }
    }

    /// The front payload and whether it is text.
    #[inline]
    pub(crate) fn front(&self) -> Option<(&[u8], bool)> {
        let entry = self.entries.front()?;
        Some((&self.data[self.start..self.start + entry.length], entry.is_text))
    }

    /// Removes the front message.
    #[inline]
    pub(crate) fn pop(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.start += entry.length;
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
