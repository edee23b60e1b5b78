//! What a broadcaster knows of one connection: whether it is blocked, what its policies allow, and what waits for it.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use websocket_utils_core::backlog::{Backlog, Rule};

use super::channels::ChannelState;
use super::policy::Policy;
use super::recovering::Aside;
use crate::clock;
use crate::loop_bound::Guarded;

/// What a broadcaster knows of one connection.
pub(crate) struct Standing {
    /// Listed for the next flush.
    pub(crate) listed: Cell<bool>,
    /// Listed as having something left after a flush.
    pub(crate) lagging: Cell<bool>,
    /// Number of the last publication that was queued here, where it could have been queued twice.
    pub(super) reached: Cell<u64>,
    /// Since when it is blocked, in monotonic nanoseconds; 0 while it is not.
    pub(super) since: Cell<u64>,
    /// The least of what the policies of what waits allow: bytes, and nanoseconds.
    bound: Cell<usize>,
    pub(super) age: Cell<u64>,
    /// What comes out of history, until the peer is told of it.
    pub(super) aside: Guarded<Option<Box<Aside>>>,
    /// What waits under a policy that leaves some out.
    pub(super) waiting: Guarded<Option<Box<Waiting>>>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            listed: Cell::new(false),
            lagging: Cell::new(false),
            reached: Cell::new(0),
            since: Cell::new(0),
            bound: Cell::new(usize::MAX),
            age: Cell::new(u64::MAX),
            aside: Guarded::default(),
            waiting: Guarded::default(),
        }
    }
}

impl Standing {
    /// Takes note of what the policy of a publication allows that is about to wait.
    #[inline]
    pub(super) fn note(&self, (size, age): Limits) {
        self.bound.set(self.bound.get().min(size));
        self.age.set(self.age.get().min(age));
    }

    /// All has left.
    #[inline]
    pub(super) fn reset(&self) {
        self.since.set(0);
        self.bound.set(usize::MAX);
        self.age.set(u64::MAX);
    }

    /// Bytes that may wait in the log.
    pub(super) fn most(&self, max_lag: usize) -> usize {
        let bound = self.bound.get();
        if bound == usize::MAX { max_lag } else { bound }
    }

    /// Something is left.
    pub(super) fn begin(&self) {
        if self.since.get() == 0 {
            self.since.set(clock::monotonic_ns());
        }
    }

    /// Bytes in the backlog.
    pub(crate) fn waiting_bytes(&self) -> PyResult<usize> {
        Ok(self.waiting.read()?.as_ref().map_or(0, |waiting| waiting.bytes()))
    }

    /// The connection is over, or is ending: nothing waits any more.
    pub(crate) fn clear(&self) -> PyResult<()> {
        let gone = (self.waiting.lock()?.take(), self.aside.lock()?.take());
        drop(gone);
        Ok(())
    }

    /// For the collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(waiting) = self.waiting.read()
            && let Some(waiting) = &*waiting
        {
            waiting.channels.values().try_for_each(|channel| visit.call(&channel.keys))?;
        }
        Ok(())
    }
}

/// Bytes and nanoseconds.
pub(super) type Limits = (usize, u64);

impl Policy {
    /// What it allows to wait before the connection ends, where it says so.
    #[inline]
    pub(super) fn limits(&self, max_lag: usize) -> Option<Limits> {
        match *self {
            Self::Disconnect { size: None, age: None } | Self::Conflate { .. } | Self::DropOldest { .. } => None,
            Self::Disconnect { size, age } => Some((size.unwrap_or(max_lag), age.unwrap_or(u64::MAX))),
        }
    }

    /// Whether a publication of a channel waits in the backlog of a blocked connection, and not in the log.
    pub(super) fn is_for_backlog(&self, standing: &Standing, channel: u64) -> PyResult<bool> {
        if matches!(self, Self::Conflate { .. } | Self::DropOldest { .. }) {
            return Ok(true);
        }
        Ok(standing.waiting.read()?.as_ref().is_some_and(|waiting| waiting.has(channel)))
    }

    pub(super) fn rule(&self) -> Rule {
        match *self {
            Self::Conflate { .. } => Rule::Conflate,
            Self::DropOldest { most } => Rule::DropOldest { most },
            Self::Disconnect { .. } => Rule::DropOldest { most: None },
        }
    }
}

/// The backlog of one connection.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) backlog: Backlog,
    pub(super) channels: HashMap<u64, WaitingChannel>,
    /// Messages that have waited without a key.
    pub(super) keyless: u64,
    /// What keys cost.
    pub(super) key_bytes: usize,
}

pub(super) struct WaitingChannel {
    pub(super) state: Rc<ChannelState>,
    /// Keys of what waits, each with its number; they are what Python says is equal.
    pub(super) keys: Option<Py<PyDict>>,
    pub(super) key_bytes: usize,
}

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.backlog.bytes() + self.key_bytes
    }

    pub(super) fn channel(&mut self, state: &Rc<ChannelState>) -> &mut WaitingChannel {
        self.channels.entry(state.id.get()).or_insert_with(|| WaitingChannel {
            state: state.clone(),
            keys: None,
            key_bytes: 0,
        })
    }

    /// Whether something of a channel waits.
    #[inline]
    pub(super) fn has(&self, channel: u64) -> bool {
        self.backlog.has(channel)
    }

    /// Forgets what is known of a channel of which nothing waits.
    pub(super) fn leave(&mut self, channel: u64) {
        if !self.backlog.has(channel)
            && let Some(left) = self.channels.remove(&channel)
        {
            self.key_bytes -= left.key_bytes;
        }
    }
}
