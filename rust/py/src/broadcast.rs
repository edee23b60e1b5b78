//! Broadcast: a message is encoded once for each wire format in use and appended to that format's log; connections hold
//! ranges of the log; one flush a turn writes each connection's range with one call.
//!
//! # Rules
//!
//! - Publishing never waits for a client and never writes by itself unless [`FLUSH_BYTES`] are unflushed.
//! - A connection that can't take more keeps its ranges; the others are not touched by it.
//! - A connection more than `max_lag` behind is reported to its owner, which ends it.
//! - The log is borrowed for the length of a flush, also while the GIL is released: calls from other threads are refused
//!   by [`LoopBound`], so nothing changes under the kernel's eyes.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use websocket_utils_core::log::Log;

use crate::codec::Format;
use crate::connection::{Connection, LogQueued};
use crate::loop_bound::{Guarded, LoopBound};
use crate::outgoing::{append_message, payload_len};
use crate::socket::{self, Written};

/// Unflushed bytes of one format at which publishing flushes by itself: a loop that never ends its turn still sends,
/// and what is written is still in the cache it was encoded in.
const FLUSH_BYTES: usize = 128 * 1024;

/// Connections from which on a flush releases the GIL: some 60 us of system calls, above which another thread's wish to
/// run outweighs the risk that it keeps the GIL for a whole switch interval (5 ms).
const RELEASE_GIL_FROM: usize = 64;

/// Memory for one encoded message that is kept for the next; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

const FORMATS: [Format; 2] = [Format::Json, Format::MessagePack];

const fn index(format: Format) -> usize {
    match format {
        Format::Json => 0,
        Format::MessagePack => 1,
    }
}

/// Connections of one channel, apart by wire format; adding and removing take constant time.
#[derive(Default)]
struct Audience {
    members: [Vec<Py<Connection>>; FORMATS.len()],
    places: HashMap<usize, usize>,
}

impl Audience {
    fn add(&mut self, py: Python<'_>, connection: &Py<Connection>, format: Format) -> bool {
        let key = connection.as_ptr() as usize;
        if self.places.contains_key(&key) {
            return false;
        }
        let members = &mut self.members[index(format)];
        self.places.insert(key, members.len());
        members.push(connection.clone_ref(py));
        true
    }

    fn remove(&mut self, connection: &Py<Connection>, format: Format) -> bool {
        let Some(place) = self.places.remove(&(connection.as_ptr() as usize)) else { return false };
        let members = &mut self.members[index(format)];
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            self.places.insert(moved.as_ptr() as usize, place);
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

struct State {
    call_soon: Py<PyAny>,
    /// Called with (connection, bytes) for each connection over `max_lag`.
    on_lag: Py<PyAny>,
    max_lag: usize,
    logs: [Guarded<Log>; FORMATS.len()],
    everyone: Guarded<Audience>,
    channels: Guarded<HashMap<String, Audience>>,
    /// Connections with something queued since the last flush.
    listed: Guarded<Vec<Py<Connection>>>,
    /// Connections that kept ranges of a log after a flush.
    lagging: Guarded<Vec<Py<Connection>>>,
    frames: Guarded<[Vec<u8>; FORMATS.len()]>,
    /// The largest frame of each log that was appended since nobody was behind, if it is over `max_lag`.
    oversized: [Cell<usize>; FORMATS.len()],
    flush_method: Guarded<Option<Py<PyAny>>>,
    scheduled: Cell<bool>,
    unflushed: Cell<usize>,
    published: Cell<u64>,
    deliveries: Cell<u64>,
    bytes: Cell<u64>,
}

/// The logs of a server, its connections and who is subscribed to what.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Broadcaster {
    state: LoopBound<State>,
}

impl Broadcaster {
    pub(crate) fn log(&self, format: Format) -> PyResult<&Guarded<Log>> {
        Ok(&self.state.get()?.logs[index(format)])
    }

    fn leave(&self, connection: &Py<Connection>, channel: &str) -> PyResult<bool> {
        let format = connection.get().state()?.format;
        let mut channels = self.state.get()?.channels.lock()?;
        let Some(audience) = channels.get_mut(channel) else { return Ok(false) };
        let removed = audience.remove(connection, format);
        if audience.is_empty() {
            channels.remove(channel);
        }
        Ok(removed)
    }

    /// Appends `message` to the log of each format in use and queues it for `audience`.
    fn publish_to(
        slf: &Bound<'_, Self>,
        state: &State,
        audience: &Audience,
        message: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let py = slf.py();
        let mut reached = 0;
        let mut frames = state.frames.lock()?;
        let in_use = FORMATS.map(|format| !audience.members[index(format)].is_empty());
        // All are encoded before any is queued: a message that one codec can't hold reaches nobody.
        for format in FORMATS.into_iter().filter(|format| in_use[index(*format)]) {
            let frame = &mut frames[index(format)];
            let expected_payload = if frame.is_empty() { 0 } else { payload_len(frame.len(), false) };
            frame.clear();
            append_message(py, message, format, None, expected_payload, frame)?;
        }
        for place in (0..FORMATS.len()).filter(|place| in_use[*place]) {
            let frame = &mut frames[place];
            let range = state.logs[place].lock()?.append(frame);
            let mut listed = state.listed.lock()?;
            let mut members = 0;
            for member in &audience.members[place] {
                match member.get().queue_log(range)? {
                    LogQueued::No => continue,
                    LogQueued::First => listed.push(member.clone_ref(py)),
                    LogQueued::Again => {}
                }
                members += 1;
            }
            reached += members;
            state.unflushed.set(state.unflushed.get() + frame.len());
            state.bytes.set(state.bytes.get() + (payload_len(frame.len(), false) * members) as u64);
            if frame.len() > state.max_lag {
                state.oversized[place].set(state.oversized[place].get().max(frame.len()));
            }
            if frame.capacity() > KEPT_CAPACITY {
                // One huge message must not pin its size for ever.
                *frame = Vec::new();
            }
        }
        drop(frames);
        state.published.set(state.published.get() + 1);
        state.deliveries.set(state.deliveries.get() + reached as u64);
        Ok(reached)
    }

    fn after_publish(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        if state.unflushed.get() >= FLUSH_BYTES {
            return Self::flush(slf, state);
        }
        if state.unflushed.get() > 0 { Self::schedule_flush(slf) } else { Ok(()) }
    }

    /// Has the loop flush at the end of this turn.
    pub(crate) fn schedule_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state.get()?;
        if state.scheduled.replace(true) {
            return Ok(());
        }
        let py = slf.py();
        let mut method = state.flush_method.lock()?;
        if method.is_none() {
            *method = Some(slf.getattr(intern!(py, "flush"))?.unbind());
        }
        state.call_soon.call1(py, (&*method,))?;
        Ok(())
    }

    /// Writes every listed connection's bytes, then frees what nobody wants any more.
    fn flush(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let py = slf.py();
        state.unflushed.set(0);
        let listed = std::mem::take(&mut *state.listed.lock()?);
        let plain = Self::write_directly(py, state, &listed)?;
        let mut lagging = std::mem::take(&mut *state.lagging.lock()?);
        for (connection, written) in listed.iter().zip(plain) {
            let target = connection.get().state()?;
            target.listed.set(false);
            // Blocked, failed, or not written directly: the connection's own way out deals with each.
            if let Some(Written::Bytes(count)) = written {
                target.outbox.lock()?.advance(count);
            }
            let mut queued = target.outbox.read()?.queued();
            if queued > 0 && !target.busy.get() {
                target.flush(connection.bind(py).as_any())?;
                queued = target.outbox.read()?.queued();
            }
            if queued > 0 && !target.lagging.replace(true) {
                lagging.push(connection.clone_ref(py));
            }
        }
        Self::settle_lagging(py, state, lagging)
    }

    /// One `send(2)` for each connection that may be written directly; `None` for the others.
    fn write_directly(py: Python<'_>, state: &State, listed: &[Py<Connection>]) -> PyResult<Vec<Option<Written>>> {
        let logs = [state.logs[0].read()?, state.logs[1].read()?];
        let mut outboxes = Vec::with_capacity(listed.len());
        for connection in listed {
            let target = connection.get().state()?;
            let direct = !target.busy.get() && !target.lost.get() && target.descriptor.get() >= 0;
            outboxes.push(if direct {
                Some((target.descriptor.get(), index(target.format), target.outbox.read()?))
            } else {
                None
            });
        }
        let mut slices = Vec::with_capacity(listed.len());
        let mut jobs: Vec<Option<(RawFd, usize, usize)>> = Vec::with_capacity(listed.len());
        for outbox in &outboxes {
            jobs.push(outbox.as_ref().map(|(descriptor, log, outbox)| {
                let mut part = Vec::with_capacity(1);
                outbox.front(Some(&logs[*log]), &mut part);
                let start = slices.len();
                slices.append(&mut part);
                (*descriptor, start, slices.len())
            }));
        }
        let write_all = |slices: &[IoSlice<'_>]| -> Vec<Option<Written>> {
            jobs.iter()
                .map(|job| {
                    let (descriptor, start, end) = (*job)?;
                    (start < end).then(|| socket::send(descriptor, &slices[start..end]))
                })
                .collect()
        };
        let slices = slices.as_slice();
        Ok(if listed.len() >= RELEASE_GIL_FROM { py.detach(|| write_all(slices)) } else { write_all(slices) })
    }

    /// Reports who is too far behind, and trims the logs to the oldest position still wanted.
    fn settle_lagging(py: Python<'_>, state: &State, lagging: Vec<Py<Connection>>) -> PyResult<()> {
        let mut oldest = [state.logs[0].read()?.head(), state.logs[1].read()?.head()];
        let mut kept: Vec<Py<Connection>> = Vec::new();
        let mut too_far = Vec::new();
        for connection in lagging {
            let target = connection.get().state()?;
            let (position, queued) = {
                let outbox = target.outbox.read()?;
                (outbox.oldest_log_position(), outbox.queued())
            };
            let Some(position) = position else {
                target.lagging.set(false);
                continue;
            };
            let place = index(target.format);
            oldest[place] = oldest[place].min(position);
            // One message always fits, whatever its size: while it is on its way it is no lag.
            if queued > state.max_lag + state.oversized[place].get() {
                too_far.push((connection.clone_ref(py), queued));
            }
            kept.push(connection);
        }
        for ((log, position), oversized) in state.logs.iter().zip(oldest).zip(&state.oversized) {
            let mut log = log.lock()?;
            log.trim(position);
            if position == log.head() {
                oversized.set(0);
            }
        }
        *state.lagging.lock()? = kept;
        for (connection, queued) in too_far {
            state.on_lag.call1(py, (connection, queued))?;
        }
        Ok(())
    }
}

#[pymethods]
impl Broadcaster {
    #[new]
    #[pyo3(signature = (event_loop, on_lag, *, max_lag))]
    fn py_new(event_loop: &Bound<'_, PyAny>, on_lag: Py<PyAny>, max_lag: usize) -> PyResult<Self> {
        Ok(Self {
            state: LoopBound::new(State {
                call_soon: event_loop.getattr(intern!(event_loop.py(), "call_soon"))?.unbind(),
                on_lag,
                max_lag,
                logs: Default::default(),
                everyone: Guarded::default(),
                channels: Guarded::default(),
                listed: Guarded::default(),
                lagging: Guarded::default(),
                frames: Guarded::default(),
                oversized: Default::default(),
                flush_method: Guarded::default(),
                scheduled: Cell::new(false),
                unflushed: Cell::new(0),
                published: Cell::new(0),
                deliveries: Cell::new(0),
                bytes: Cell::new(0),
            }),
        })
    }

    /// Adds a connection to the audience of `broadcast`.
    #[pyo3(name = "add")]
    fn py_add(&self, py: Python<'_>, connection: &Bound<'_, Connection>) -> PyResult<()> {
        let format = connection.get().state()?.format;
        self.state.get()?.everyone.lock()?.add(py, connection.as_unbound(), format);
        Ok(())
    }

    /// Removes a connection from everywhere; `channels` are those it is subscribed to.
    #[pyo3(name = "remove")]
    fn py_remove(&self, connection: &Bound<'_, Connection>, channels: Vec<String>) -> PyResult<()> {
        let format = connection.get().state()?.format;
        self.state.get()?.everyone.lock()?.remove(connection.as_unbound(), format);
        for channel in channels {
            self.leave(connection.as_unbound(), &channel)?;
        }
        Ok(())
    }

    /// Subscribes a connection to a channel. False when it is already.
    #[pyo3(name = "subscribe")]
    fn py_subscribe(&self, py: Python<'_>, connection: &Bound<'_, Connection>, channel: String) -> PyResult<bool> {
        let format = connection.get().state()?.format;
        Ok(self.state.get()?.channels.lock()?.entry(channel).or_default().add(py, connection.as_unbound(), format))
    }

    /// Ends a subscription. False when there is none.
    #[pyo3(name = "unsubscribe")]
    fn py_unsubscribe(&self, connection: &Bound<'_, Connection>, channel: &str) -> PyResult<bool> {
        self.leave(connection.as_unbound(), channel)
    }

    /// Queues `message` for every connection; returns how many.
    #[pyo3(name = "broadcast")]
    fn py_broadcast(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let reached = Self::publish_to(slf, state, &*state.everyone.read()?, message)?;
        Self::after_publish(slf, state)?;
        Ok(reached)
    }

    /// Queues `message` for the subscribers of `channel`; returns how many.
    #[pyo3(name = "publish")]
    fn py_publish(slf: &Bound<'_, Self>, channel: &str, message: &Bound<'_, PyAny>) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let reached = if let Some(audience) = state.channels.read()?.get(channel) {
            Self::publish_to(slf, state, audience, message)?
        } else {
            state.published.set(state.published.get() + 1);
            0
        };
        Self::after_publish(slf, state)?;
        Ok(reached)
    }

    /// Writes what was published since the last flush. The loop calls it at the end of a turn.
    #[pyo3(name = "flush")]
    fn py_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state.get()?;
        state.scheduled.set(false);
        Self::flush(slf, state)
    }

    /// Subscribers of each channel that has any.
    #[pyo3(name = "channel_sizes")]
    fn py_channel_sizes(&self) -> PyResult<HashMap<String, usize>> {
        Ok(self
            .state
            .get()?
            .channels
            .read()?
            .iter()
            .map(|(name, audience)| (name.clone(), audience.places.len()))
            .collect())
    }

    /// Counters: (published, deliveries, bytes, lagging connections, bytes of memory in the logs).
    #[pyo3(name = "counters")]
    fn py_counters(&self) -> PyResult<(u64, u64, u64, usize, usize)> {
        let state = self.state.get()?;
        let held = state.logs[0].read()?.capacity() + state.logs[1].read()?.capacity();
        Ok((state.published.get(), state.deliveries.get(), state.bytes.get(), state.lagging.read()?.len(), held))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        visit.call(&state.call_soon)?;
        visit.call(&state.on_lag)?;
        for list in [&state.listed, &state.lagging] {
            if let Ok(list) = list.read() {
                list.iter().try_for_each(|connection| visit.call(connection))?;
            }
        }
        if let Ok(everyone) = state.everyone.read() {
            everyone.members.iter().flatten().try_for_each(|connection| visit.call(connection))?;
        }
        if let Ok(channels) = state.channels.read() {
            let members = channels.values().flat_map(|audience| audience.members.iter().flatten());
            members.into_iter().try_for_each(|connection| visit.call(connection))?;
        }
        if let Ok(method) = state.flush_method.read() {
            visit.call(&*method)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        for list in [&state.listed, &state.lagging] {
            if let Ok(mut list) = list.lock() {
                list.clear();
            }
        }
        if let Ok(mut everyone) = state.everyone.lock() {
            *everyone = Audience::default();
        }
        if let Ok(mut channels) = state.channels.lock() {
            channels.clear();
        }
        if let Ok(mut method) = state.flush_method.lock() {
            method.take();
        }
    }
}
