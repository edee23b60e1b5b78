//! The Python face of a broadcaster.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::audience::Audience;
use super::channels::Channels;
use super::fan_out::FanOut;
use super::handle::{Channel, Receipt};
use super::policy::{Namespace, Policy, nanoseconds};
use super::recovering::GoesOnTuple;
use super::{Broadcaster, Counts, State};
use crate::compression;
use crate::connection::Connection;
use crate::loop_bound::{Guarded, LoopBound};

#[pymethods]
impl Broadcaster {
    #[new]
    #[pyo3(signature = (
        event_loop, on_lag, on_fault, *, max_lag, first_epoch=1, compression_window_bits=15, compression_threshold=1024,
        threads=1
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python; one caller")]
    fn py_new(
        event_loop: &Bound<'_, PyAny>,
        on_lag: Py<PyAny>,
        on_fault: Py<PyAny>,
        max_lag: usize,
        first_epoch: u64,
        compression_window_bits: u8,
        compression_threshold: usize,
        threads: usize,
    ) -> PyResult<Self> {
        compression::check_window_bits(compression_window_bits)?;
        if threads == 0 {
            return Err(PyValueError::new_err("threads must be at least 1"));
        }
        Ok(Self {
            state: LoopBound::new(State {
                call_soon: event_loop.getattr(intern!(event_loop.py(), "call_soon"))?.unbind(),
                on_lag,
                on_fault,
                max_lag,
                window_bits: compression_window_bits,
                compression_threshold,
                logs: Guarded::default(),
                everyone: Guarded::default(),
                channels: Guarded::new(Channels::new(first_epoch)),
                taps: Guarded::default(),
                has_taps: Cell::new(false),
                listed: Guarded::default(),
                lagging: Guarded::default(),
                too_far: Guarded::default(),
                frames: Guarded::default(),
                fan_out: FanOut::new(threads),
                flush_method: Guarded::default(),
                flushing: Cell::new(false),
                scheduled: Cell::new(false),
                unflushed: Cell::new(0),
                counts: Counts::default(),
            }),
        })
    }

    /// Says what holds for all channels of a namespace.
    #[pyo3(name = "declare", signature = (
        namespace, *, classes, policy, history, history_age, history_size, snapshot
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python; one caller")]
    fn py_declare(
        &self,
        namespace: &str,
        classes: Option<Vec<Bound<'_, PyType>>>,
        policy: &Bound<'_, PyTuple>,
        history: usize,
        history_age: Option<f64>,
        history_size: usize,
        snapshot: bool,
    ) -> PyResult<()> {
        let declared = Namespace {
            classes: classes.map(|classes| classes.into_iter().map(Bound::unbind).collect()),
            policy: Policy::from_tuple(policy)?,
            history,
            history_age: history_age.map(nanoseconds).transpose()?,
            history_size,
            snapshot,
        };
        let state = self.state.get()?;
        let concerned = state.channels.lock()?.declare(namespace, declared)?;
        for channel in concerned {
            state.trim_history(&channel)?;
        }
        Ok(())
    }

    /// Adds a connection to the audience of `broadcast`.
    #[pyo3(name = "add")]
    fn py_add(&self, py: Python<'_>, connection: &Bound<'_, Connection>) -> PyResult<()> {
        let variant = connection.get().state()?.variant;
        self.state.get()?.everyone.lock()?.add(py, connection.as_unbound(), variant, None);
        Ok(())
    }

    /// Removes a connection from the audience of `broadcast` and from these channels.
    #[pyo3(name = "remove")]
    fn py_remove(&self, connection: &Bound<'_, Connection>, channels: Vec<String>) -> PyResult<()> {
        let variant = connection.get().state()?.variant;
        let state = self.state.get()?;
        state.everyone.lock()?.remove(connection.as_unbound(), variant);
        connection.get().state()?.standing.clear()?;
        for channel in channels {
            state.leave(connection, &channel)?;
        }
        Ok(())
    }

    /// Subscribes a connection to a channel or, where the name ends with `*`, to all that begin so. `positions` are (channel,
    /// epoch, sequence) of what it has, `None` for a first subscription. Returns whether it is new, and (channel, epoch,
    /// sequence, recovered) of where each channel goes on; what comes out of the history for that waits for `replay`.
    #[pyo3(name = "subscribe", signature = (connection, name, *, policy=None, positions=None))]
    fn py_subscribe(
        &self,
        connection: &Bound<'_, Connection>,
        name: &str,
        policy: Option<&Bound<'_, PyTuple>>,
        positions: Option<Vec<(String, u64, u64)>>,
    ) -> PyResult<(bool, Vec<GoesOnTuple>)> {
        self.subscribe(connection, name, policy.map(Policy::from_tuple).transpose()?, positions)
    }

    /// Queues what `subscribe` has set aside for a connection; returns how many publications that is.
    #[pyo3(name = "replay")]
    fn py_replay(slf: &Bound<'_, Self>, connection: &Bound<'_, Connection>) -> PyResult<usize> {
        Self::replay(slf, connection)
    }

    /// Ends a subscription. False when there is none.
    #[pyo3(name = "unsubscribe")]
    fn py_unsubscribe(&self, connection: &Bound<'_, Connection>, name: &str) -> PyResult<bool> {
        self.state.get()?.leave(connection, name)
    }

    /// Queues `message` for every connection; returns how many. `compress` as of `Connection.send`, for those who take
    /// compressed frames.
    #[pyo3(name = "broadcast", signature = (message, /, *, compress=None))]
    fn py_broadcast(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<usize> {
        Self::broadcast(slf, message, compress)
    }

    /// Numbers `message` and queues it for the subscribers of `channel`. `compress` as of `broadcast`; `at` are numbers
    /// (epoch, sequence, previous) that it was given elsewhere.
    #[pyo3(name = "publish", signature = (channel, message, /, *, compress=None, at=None))]
    fn py_publish(
        slf: &Bound<'_, Self>,
        channel: &str,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        at: Option<(u64, u64, u64)>,
    ) -> PyResult<Receipt> {
        let state = slf.get().state.get()?;
        let found = state.channels.read()?.find(channel).cloned();
        if let Some(channel) = found {
            return Self::publish(slf, state, &channel, message, compress, at);
        }
        let channel = state.channels.lock()?.find_or_make(channel, state.counts.published.get())?;
        let outcome = Self::publish(slf, state, &channel, message, compress, at);
        if outcome.is_err() {
            state.channels.lock()?.note_idle(&channel)?;
        }
        outcome
    }

    /// The channel of that name, to publish in without looking it up.
    #[pyo3(name = "channel")]
    fn py_channel(slf: &Bound<'_, Self>, name: &str) -> PyResult<Channel> {
        let state = slf.get().state.get()?;
        let mut channels = state.channels.lock()?;
        let channel = channels.find_or_make(name, state.counts.published.get())?;
        channels.note_idle(&channel)?;
        Ok(Channel::new(slf.clone().unbind(), channel))
    }

    /// Has `callback(channel, epoch, sequence, previous, message)` called with each publication of a channel, or of all
    /// that begin with what is before a `*`, when it is queued. Returns what `untap` takes.
    #[pyo3(name = "tap")]
    fn py_tap(&self, pattern: &str, callback: Py<PyAny>) -> PyResult<u64> {
        self.state.get()?.add_tap(pattern, callback)
    }

    /// Ends a tap. False when there is none.
    #[pyo3(name = "untap")]
    fn py_untap(&self, token: u64) -> PyResult<bool> {
        self.state.get()?.remove_tap(token)
    }

    /// (epoch, sequence) of the last publication in a channel; `None` if there is no such channel.
    #[pyo3(name = "position")]
    fn py_position(&self, channel: &str) -> PyResult<Option<(u64, u64)>> {
        let channels = self.state.get()?.channels.read()?;
        Ok(channels.find(channel).map(|channel| (channel.epoch.get(), channel.sequence.get())))
    }

    /// (sequence, message) of what is kept of a channel, oldest first.
    #[pyo3(name = "history")]
    fn py_history(&self, py: Python<'_>, channel: &str) -> PyResult<Vec<(u64, Py<PyAny>)>> {
        let state = self.state.get()?;
        let Some(channel) = state.channels.read()?.find(channel).cloned() else { return Ok(Vec::new()) };
        state.trim_history(&channel)?;
        let history = channel.history.read()?;
        let entries = history.iter().flat_map(|history| history.iter());
        Ok(entries.map(|entry| (entry.sequence, entry.message.clone_ref(py))).collect())
    }

    /// (connection, bytes that wait, nanoseconds since it is blocked) of those for which most waits.
    #[pyo3(name = "slowest")]
    fn py_slowest(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<(Py<Connection>, usize, u64)>> {
        self.state.get()?.slowest(py, limit)
    }

    /// Calls `on_lag` for connections that are blocked for longer than the policy of something that waits for them allows.
    #[pyo3(name = "check_ages")]
    fn py_check_ages(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::check_ages(slf)
    }

    /// Writes what was published since the last flush. The loop calls it at the end of a turn.
    #[pyo3(name = "flush")]
    fn py_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state.get()?;
        state.scheduled.set(false);
        Self::flush(slf, state)
    }

    /// Subscribers by name of each channel that has any.
    #[pyo3(name = "channel_sizes")]
    fn py_channel_sizes(&self) -> PyResult<HashMap<String, usize>> {
        let channels = self.state.get()?.channels.read()?;
        let mut sizes = HashMap::new();
        for channel in channels.iter() {
            let len = channel.audience.read()?.len();
            if len > 0 {
                sizes.insert(channel.name.to_string(), len);
            }
        }
        Ok(sizes)
    }

    /// (name, subscribers, epoch, sequence) of the channels that most subscriptions match, at most `limit`.
    #[pyo3(name = "channel_table")]
    fn py_channel_table(&self, limit: usize) -> PyResult<Vec<(String, usize, u64, u64)>> {
        let state = self.state.get()?;
        let channels = state.channels.read()?;
        let mut table = Vec::with_capacity(channels.len());
        for channel in channels.iter() {
            table.push((Reverse(state.subscribers(channel)?), &channel.name, channel));
        }
        if table.len() > limit {
            table.select_nth_unstable_by(limit, |one, other| (one.0, one.1).cmp(&(other.0, other.1)));
            table.truncate(limit);
        }
        table.sort_unstable_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        let rows = table.into_iter().map(|(Reverse(subscribers), name, channel)| {
            (name.to_string(), subscribers, channel.epoch.get(), channel.sequence.get())
        });
        Ok(rows.collect())
    }

    /// What has happened so far, and what there is now.
    #[pyo3(name = "counters")]
    fn py_counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.state.get()?;
        let held: usize = state.logs.read()?.logs.iter().map(websocket_utils_core::log::Log::capacity).sum();
        let channels = state.channels.read()?;
        let counters = PyDict::new(py);
        for (name, value) in [
            ("published", state.counts.published.get()),
            ("deliveries", state.counts.deliveries.get()),
            ("bytes", state.counts.bytes.get()),
            ("lagging", state.lagging.read()?.len() as u64),
            ("held_bytes", (held + state.backlog_bytes()?) as u64),
            ("channels", channels.len() as u64),
            ("patterns", channels.pattern_count() as u64),
            ("subscriptions", state.counts.subscriptions.get()),
            ("history_messages", state.counts.history_messages.get()),
            ("history_bytes", state.counts.history_bytes.get()),
            ("conflated", state.counts.conflated.get()),
            ("dropped", state.counts.dropped.get()),
            ("lag_notices", state.counts.lag_notices.get()),
            ("recovered", state.counts.recovered.get()),
            ("unrecovered", state.counts.unrecovered.get()),
        ] {
            counters.set_item(name, value)?;
        }
        Ok(counters)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        state.traverse(&visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        state.clear();
    }
}

/// For the collector.
impl State {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.call_soon, &self.on_lag, &self.on_fault] {
            visit.call(object)?;
        }
        for list in [&self.listed, &self.lagging] {
            if let Ok(list) = list.read() {
                list.iter().try_for_each(|connection| visit.call(connection))?;
            }
        }
        if let Ok(too_far) = self.too_far.read() {
            too_far.iter().try_for_each(|(connection, _)| visit.call(connection))?;
        }
        if let Ok(everyone) = self.everyone.read() {
            everyone.traverse(visit)?;
        }
        if let Ok(channels) = self.channels.read() {
            for channel in channels.iter() {
                channel.traverse(visit)?;
            }
            for pattern in channels.patterns() {
                if let Ok(audience) = pattern.audience.read() {
                    audience.traverse(visit)?;
                }
            }
            channels.namespaces().try_for_each(|namespace| namespace.traverse(visit))?;
        }
        if let Ok(taps) = self.taps.read() {
            taps.iter().try_for_each(|tap| visit.call(&tap.callback))?;
        }
        if let Ok(method) = self.flush_method.read() {
            visit.call(&*method)?;
        }
        Ok(())
    }

    fn clear(&self) {
        for list in [&self.listed, &self.lagging] {
            if let Ok(mut list) = list.lock() {
                list.clear();
            }
        }
        if let Ok(mut too_far) = self.too_far.lock() {
            too_far.clear();
        }
        if let Ok(mut everyone) = self.everyone.lock() {
            *everyone = Audience::default();
        }
        if let Ok(mut channels) = self.channels.lock() {
            channels.clear();
        }
        if let Ok(mut taps) = self.taps.lock() {
            taps.clear();
        }
        if let Ok(mut method) = self.flush_method.lock() {
            method.take();
        }
    }
}
