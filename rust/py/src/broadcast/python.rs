//! The Python face of a broadcaster.

use std::cell::Cell;
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::audience::Audience;
use super::{Broadcaster, State};
use crate::compression;
use crate::connection::Connection;
use crate::loop_bound::{Guarded, LoopBound};

#[pymethods]
impl Broadcaster {
    #[new]
    #[pyo3(signature = (event_loop, on_lag, on_fault, *, max_lag, compression_window_bits=15, compression_threshold=1024))]
    fn py_new(
        event_loop: &Bound<'_, PyAny>,
        on_lag: Py<PyAny>,
        on_fault: Py<PyAny>,
        max_lag: usize,
        compression_window_bits: u8,
        compression_threshold: usize,
    ) -> PyResult<Self> {
        compression::check_window_bits(compression_window_bits)?;
        Ok(Self {
            state: LoopBound::new(State {
                call_soon: event_loop.getattr(intern!(event_loop.py(), "call_soon"))?.unbind(),
                on_lag,
                on_fault,
                max_lag,
                window_bits: compression_window_bits,
                compression_threshold,
                logs: Default::default(),
                everyone: Guarded::default(),
                channels: Guarded::default(),
                listed: Guarded::default(),
                lagging: Guarded::default(),
                frames: Guarded::default(),
                oversized: Default::default(),
                flush_method: Guarded::default(),
                flushing: Cell::new(false),
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
        let variant = connection.get().state()?.variant;
        self.state.get()?.everyone.lock()?.add(py, connection.as_unbound(), variant);
        Ok(())
    }

    /// Removes a connection from everywhere; `channels` are those it is subscribed to.
    #[pyo3(name = "remove")]
    fn py_remove(&self, connection: &Bound<'_, Connection>, channels: Vec<String>) -> PyResult<()> {
        let variant = connection.get().state()?.variant;
        self.state.get()?.everyone.lock()?.remove(connection.as_unbound(), variant);
        for channel in channels {
            self.leave(connection.as_unbound(), &channel)?;
        }
        Ok(())
    }

    /// Subscribes a connection to a channel. False when it is already.
    #[pyo3(name = "subscribe")]
    fn py_subscribe(&self, py: Python<'_>, connection: &Bound<'_, Connection>, channel: String) -> PyResult<bool> {
        let variant = connection.get().state()?.variant;
        Ok(self.state.get()?.channels.lock()?.entry(channel).or_default().add(py, connection.as_unbound(), variant))
    }

    /// Ends a subscription. False when there is none.
    #[pyo3(name = "unsubscribe")]
    fn py_unsubscribe(&self, connection: &Bound<'_, Connection>, channel: &str) -> PyResult<bool> {
        self.leave(connection.as_unbound(), channel)
    }

    /// Queues `message` for every connection; returns how many. `compress` as of `Connection.send`, for those who take
    /// compressed frames.
    #[pyo3(name = "broadcast", signature = (message, /, *, compress=None))]
    fn py_broadcast(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let reached = Self::publish_to(slf, state, &*state.everyone.read()?, message, compress)?;
        Self::after_publish(slf, state)?;
        Ok(reached)
    }

    /// Queues `message` for the subscribers of `channel`; returns how many. `compress` as of `broadcast`.
    #[pyo3(name = "publish", signature = (channel, message, /, *, compress=None))]
    fn py_publish(
        slf: &Bound<'_, Self>,
        channel: &str,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let reached = if let Some(audience) = state.channels.read()?.get(channel) {
            Self::publish_to(slf, state, audience, message, compress)?
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
        Ok(self.state.get()?.channels.read()?.iter().map(|(name, audience)| (name.clone(), audience.len())).collect())
    }

    /// Counters: (published, deliveries, bytes of payload before compression, lagging connections, bytes of memory in the logs).
    #[pyo3(name = "counters")]
    fn py_counters(&self) -> PyResult<(u64, u64, u64, usize, usize)> {
        let state = self.state.get()?;
        let mut held = 0;
        for log in &state.logs {
            held += log.read()?.capacity();
        }
        Ok((state.published.get(), state.deliveries.get(), state.bytes.get(), state.lagging.read()?.len(), held))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        visit.call(&state.call_soon)?;
        visit.call(&state.on_lag)?;
        visit.call(&state.on_fault)?;
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
