//! What publishers hold: a channel, and the receipt of a publication.

use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::{PyGenericAlias, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::Broadcaster;
use super::channels::ChannelState;
use crate::loop_bound::LoopBound;

/// Where a publication stands in its channel, and how many subscribers it is queued for.
#[pyclass(frozen, eq, hash, get_all, module = "websocket_utils._core")]
#[derive(PartialEq, Eq, Hash, Debug)]
pub(crate) struct Receipt {
    /// Number of the channel's incarnation: another one after a restart of the server.
    epoch: u64,
    /// Its number in the channel, from 1.
    sequence: u64,
    /// Subscribers it is queued for.
    subscribers: usize,
}

impl Receipt {
    pub(super) fn new(epoch: u64, sequence: u64, subscribers: usize) -> Self {
        Self { epoch, sequence, subscribers }
    }
}

#[pymethods]
impl Receipt {
    fn __repr__(&self) -> String {
        let Self { epoch, sequence, subscribers } = self;
        format!("Receipt(epoch={epoch}, sequence={sequence}, subscribers={subscribers})")
    }
}

/// One channel of a broadcaster; publishing by it looks nothing up.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Channel {
    broadcaster: Py<Broadcaster>,
    // Dropped on whichever thread drops this object: it holds the GIL, as does every other that counts these references.
    state: LoopBound<Rc<ChannelState>>,
}

impl Channel {
    pub(super) fn new(broadcaster: Py<Broadcaster>, state: Rc<ChannelState>) -> Self {
        Self { broadcaster, state: LoopBound::new(state) }
    }
}

#[pymethods]
impl Channel {
    /// `Channel[PriceUpdate]`, for annotations.
    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Ok(PyGenericAlias::new(cls.py(), cls.as_any(), key)?.into_any().unbind())
    }

    /// Its name.
    #[getter]
    #[pyo3(name = "name")]
    fn py_name(&self) -> PyResult<&str> {
        Ok(&self.state.get()?.name)
    }

    /// Number of its incarnation.
    #[getter]
    #[pyo3(name = "epoch")]
    fn py_epoch(&self) -> PyResult<u64> {
        Ok(self.state.get()?.epoch.get())
    }

    /// Number of its last publication; 0 before the first.
    #[getter]
    #[pyo3(name = "sequence")]
    fn py_sequence(&self) -> PyResult<u64> {
        Ok(self.state.get()?.sequence.get())
    }

    /// Subscriptions that match it, patterns among them.
    #[getter]
    #[pyo3(name = "subscribers")]
    fn py_subscribers(&self) -> PyResult<usize> {
        let state = self.broadcaster.get().state.get()?;
        state.subscribers(self.state.get()?)
    }

    /// Numbers `message` and queues it for the subscribers.
    #[pyo3(name = "publish", signature = (message, compress=None))]
    fn py_publish(&self, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<Receipt> {
        let broadcaster = self.broadcaster.bind(message.py());
        let state = broadcaster.get().state.get()?;
        Broadcaster::publish(broadcaster, state, self.state.get()?, message, compress, None)
    }

    fn __repr__(&self) -> PyResult<String> {
        let state = self.state.get()?;
        Ok(format!("<Channel {:?} epoch={} sequence={}>", state.name, state.epoch.get(), state.sequence.get()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What the channel's state holds belongs to the broadcaster, which visits it.
        visit.call(&self.broadcaster)
    }
}
