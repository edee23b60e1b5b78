//! Signs of life: pings and what they measure, errors of the socket, and messages that only have to come.

use std::cell::Cell;
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;

use super::{Hold, State};
use crate::loop_bound::Guarded;
use crate::{errors, socket};

/// The last ping and what its answer measured. A pong may answer the most recent ping alone (RFC 6455 section 5.5.3).
pub(super) struct RoundTrips {
    /// Python's `record(nanoseconds)` is called on it.
    histogram: Option<Py<PyAny>>,
    payload: Guarded<Vec<u8>>,
    /// When that ping was asked for; `None` where a pong could be that of an earlier one with the same payload.
    asked_at: Cell<Option<Instant>>,
    is_open: Cell<bool>,
    /// When the read began that is looked at, while a pong is awaited.
    read_at: Cell<Option<Instant>>,
    last_ns: Cell<u64>,
}

impl RoundTrips {
    pub(super) fn new(histogram: Option<Py<PyAny>>) -> Self {
        Self {
            histogram,
            payload: Guarded::default(),
            asked_at: Cell::new(None),
            is_open: Cell::new(false),
            read_at: Cell::new(None),
            last_ns: Cell::new(0),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns.get()
    }

    pub(super) fn histogram(&self) -> Option<&Py<PyAny>> {
        self.histogram.as_ref()
    }

    /// Reads the clock if a pong may come with this read.
    #[inline]
    pub(super) fn begin_read(&self) {
        if self.is_open.get() {
            self.read_at.set(Some(Instant::now()));
        }
    }

    fn begin(&self, payload: &[u8]) -> PyResult<()> {
        let mut last = self.payload.lock()?;
        let is_ambiguous = self.is_open.replace(true) && *last == payload;
        last.clear();
        last.extend_from_slice(payload);
        self.asked_at.set(if is_ambiguous { None } else { Some(Instant::now()) });
        Ok(())
    }

    /// A pong has come: nanoseconds since the ping that it answers, if it is the one that is awaited.
    pub(super) fn end(&self, payload: &[u8]) -> PyResult<Option<u64>> {
        if !self.is_open.get() || *self.payload.read()? != payload {
            return Ok(None);
        }
        self.is_open.set(false);
        let (Some(asked_at), Some(read_at)) = (self.asked_at.get(), self.read_at.get()) else { return Ok(None) };
        let elapsed = u64::try_from(read_at.saturating_duration_since(asked_at).as_nanos()).unwrap_or(u64::MAX);
        self.last_ns.set(elapsed);
        Ok(Some(elapsed))
    }
}

impl State {
    /// Sends a ping.
    pub(super) fn ping(&self, object: &Bound<'_, PyAny>, payload: &[u8]) -> PyResult<()> {
        if !self.open.get() {
            return Err(self.closed_error(object.py())?);
        }
        {
            let mut outbox = self.outbox.lock()?;
            let key = self.key()?;
            self.protocol.lock()?.send_ping(payload, key, &mut outbox.own).map_err(errors::local)?;
            outbox.commit_own();
        }
        self.round_trips.begin(payload)?;
        self.flush(object)
    }

    /// The awaited pong has come.
    #[cold]
    pub(super) fn record_round_trip(&self, py: Python<'_>, elapsed: u64) -> PyResult<()> {
        if let Some(histogram) = self.round_trips.histogram() {
            histogram.bind(py).call_method1(intern!(py, "record"), (elapsed,))?;
        }
        Ok(())
    }

    /// Whether messages that come are handed on.
    #[inline]
    pub(super) fn delivers(&self) -> bool {
        self.delivering.get() && !self.muted.get()
    }

    /// Whether it is muted but for what follows in order.
    pub(super) fn is_following(&self) -> bool {
        self.delivering.get() && self.muted.get() && self.follows.get()
    }

    /// One message has come; those after our close frame don't count, for nobody wants them.
    #[inline]
    pub(super) fn count_received(&self) {
        if self.delivering.get() {
            self.messages_received.set(self.messages_received.get() + 1);
        }
    }

    /// Drops what comes. Nothing of it waits for a slow reader, so that nothing holds the reading.
    pub(super) fn mute(&self, py: Python<'_>) -> PyResult<()> {
        self.muted.set(true);
        self.release(py, Hold::Handlers)?;
        if self.is_held_by(Hold::Inbox) {
            self.inbox.get().state()?.resume(py)?;
        }
        Ok(())
    }

    /// Whether the socket is broken. A connection whose reading is held does not hear of it.
    pub(super) fn has_socket_error(&self, py: Python<'_>) -> PyResult<bool> {
        if self.broken.get() || self.lost.get() {
            return Ok(true);
        }
        let known = self.descriptor.get().max(self.watched_descriptor.get());
        if known >= 0 {
            return Ok(socket::is_broken(known));
        }
        let Some(transport) = self.transport.read()?.as_ref().map(|one| one.clone_ref(py)) else { return Ok(true) };
        let socket = transport.bind(py).call_method1(intern!(py, "get_extra_info"), (intern!(py, "socket"),))?;
        // A transport that is none of a socket, in a test for one, has no error to tell.
        if socket.is_none() {
            return Ok(false);
        }
        Ok(socket::is_broken(socket.call_method0(intern!(py, "fileno"))?.extract()?))
    }
}
