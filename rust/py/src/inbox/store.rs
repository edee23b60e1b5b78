//! What waits: messages, and the events that stand between them.

use std::collections::VecDeque;

use pyo3::prelude::*;

use crate::clock::{Stamp, wall_ns};
use crate::codec::WireFormat;
use crate::queue::{Front, MessageQueue, Payload};

/// Events that wait at most; the oldest goes then.
const MOST_EVENTS: usize = 4096;

/// An event, and where it stands.
struct Told {
    /// Messages that leave before it.
    behind: u64,
    event: Py<PyAny>,
    wall: i64,
}

/// A message by itself, that a newer one may take the place of.
pub(super) struct Item {
    pub(super) payload: Payload,
    pub(super) format: WireFormat,
    pub(super) stamp: Stamp,
}

/// Messages of an inbox that conflates. They go before those that are queued as they came.
#[derive(Default)]
struct Settled {
    items: VecDeque<Item>,
    bytes: usize,
    /// Messages that left from here since the beginning.
    popped: u64,
    /// Messages that came here from the queue.
    moved: u64,
}

/// Messages and events in order.
#[derive(Default)]
pub(super) struct Store {
    queue: MessageQueue,
    /// `None` in an inbox that never conflates.
    settled: Option<Box<Settled>>,
    events: VecDeque<Told>,
    /// The read of the message that left last.
    stamp: Stamp,
}

impl Store {
    /// An empty one.
    pub(super) fn new(conflates: bool) -> Self {
        Self { settled: conflates.then(Box::default), ..Self::default() }
    }

    /// Messages that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.settled.as_ref().map_or(0, |settled| settled.items.len())
    }

    /// Payload bytes of those.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes() + self.settled.as_ref().map_or(0, |settled| settled.bytes)
    }

    /// Bytes that count against the bound.
    #[inline]
    pub(super) fn held(&self) -> usize {
        let settled = |settled: &Settled| settled.bytes.max(settled.items.len() * size_of::<Item>());
        self.queue.held() + self.settled.as_deref().map_or(0, settled)
    }

    /// When the message that left last was read.
    #[inline]
    pub(super) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What is pushed from here on was read at `stamp`.
    #[inline]
    pub(super) fn begin_run(&mut self, stamp: Stamp) {
        self.queue.begin_run(stamp);
    }

    #[inline]
    pub(super) fn push(&mut self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<()> {
        self.queue.push(py, payload, format)
    }

    /// The front payload and its format.
    #[inline]
    pub(super) fn front(&self) -> Option<(Front<'_>, WireFormat)> {
        if let Some(settled) = &self.settled
            && let Some(item) = settled.items.front()
        {
            return Some((item.payload.as_front(), item.format));
        }
        self.queue.front()
    }

    /// Removes the front message; returns whether it is the first of its read that leaves.
    #[inline]
    pub(super) fn pop(&mut self, py: Python<'_>) -> bool {
        if self.settled.is_some() {
            return self.pop_either(py);
        }
        let is_first = self.queue.pop(py);
        if is_first {
            self.stamp = self.queue.stamp();
        }
        is_first
    }

    #[inline(never)]
    fn pop_either(&mut self, py: Python<'_>) -> bool {
        let before = self.stamp;
        if let Some(item) = self.settled.as_mut().and_then(|settled| settled.pop(py)) {
            self.stamp = item.stamp;
        } else {
            self.queue.pop(py);
            self.stamp = self.queue.stamp();
        }
        self.stamp != before
    }

    /// Messages that left since the beginning.
    fn left(&self) -> u64 {
        let settled = self.settled.as_ref().map_or(0, |settled| settled.popped.wrapping_sub(settled.moved));
        self.queue.popped().wrapping_add(settled)
    }

    // --- events ---

    /// Puts an event behind all that waits; returns whether the oldest had to go for it.
    pub(super) fn tell(&mut self, event: Py<PyAny>) -> Option<Py<PyAny>> {
        let lost = if self.events.len() == MOST_EVENTS { self.events.pop_front() } else { None };
        let behind = self.left() + self.len() as u64;
        self.events.push_back(Told { behind, event, wall: wall_ns() });
        lost.map(|told| told.event)
    }

    /// Whether any event waits.
    #[inline]
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The event that nothing stands before, and when it was told.
    pub(super) fn pop_event(&mut self) -> Option<(Py<PyAny>, i64)> {
        let front = self.events.front()?;
        if front.behind > self.left() {
            return None;
        }
        self.events.pop_front().map(|told| (told.event, told.wall))
    }

    /// Takes out the events that messages behind them have passed.
    #[cold]
    pub(super) fn take_passed(&mut self) -> Vec<Py<PyAny>> {
        let left = self.left();
        let passed = self.events.iter().take_while(|told| told.behind < left).count();
        self.events.drain(..passed).map(|told| told.event).collect()
    }

    /// All events, for the garbage collector.
    pub(super) fn events(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.events.iter().map(|told| &told.event)
    }

    /// Forgets all events.
    pub(super) fn clear_events(&mut self) {
        self.events.clear();
    }

    // --- conflation ---

    /// Takes out the front message of those that are queued as they came.
    pub(super) fn take_queued(&mut self, py: Python<'_>) -> Option<Item> {
        let (payload, format, stamp) = self.queue.take_front(py)?;
        // It is not gone: it comes back by `settle` or `replace`.
        if let Some(settled) = &mut self.settled {
            settled.moved += 1;
        }
        Some(Item { payload, format, stamp })
    }

    /// Puts a message behind those that are settled; returns its number.
    pub(super) fn settle(&mut self, py: Python<'_>, item: Item) -> u64 {
        let settled = self.settled.get_or_insert_default();
        settled.bytes += item.payload.as_bytes(py).len();
        settled.items.push_back(item);
        settled.popped + settled.items.len() as u64 - 1
    }

    /// The oldest number that [`Store::settle`] gave to a message which is still here.
    pub(super) fn first_settled(&self) -> u64 {
        self.settled.as_ref().map_or(0, |settled| settled.popped)
    }

    /// How many messages are settled.
    pub(super) fn settled(&self) -> usize {
        self.settled.as_ref().map_or(0, |settled| settled.items.len())
    }

    /// Puts a message in the place of one that is settled; gives it back where that one has left.
    pub(super) fn replace(&mut self, py: Python<'_>, number: u64, item: Item) -> Result<(), Item> {
        let Some(settled) = &mut self.settled else { return Err(item) };
        let place = number.checked_sub(settled.popped).and_then(|index| settled.items.get_mut(index as usize));
        let Some(place) = place else { return Err(item) };
        settled.bytes += item.payload.as_bytes(py).len();
        settled.bytes -= place.payload.as_bytes(py).len();
        *place = item;
        Ok(())
    }
}

impl Settled {
    fn pop(&mut self, py: Python<'_>) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.popped += 1;
        self.bytes -= item.payload.as_bytes(py).len();
        Some(item)
    }
}
