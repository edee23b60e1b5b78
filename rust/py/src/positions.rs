//! Where each channel stands that a client receives: one table for all connections of a link.
//!
//! What is decided is the core's. Here is who is told, and when: never while anything is borrowed.

use std::collections::hash_map::RandomState;

use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyTraverseError, PyVisit};
use websocket_utils_core::positions::{Current, Outcome, Positions as Table};

use crate::loop_bound::{Guarded, LoopBound};

pub(crate) struct State {
    // A hash that no peer can foresee: it names the channels.
    table: Guarded<Table<RandomState>>,
    /// Called with channel, the last sequence that was here, and the next one; `None` where that is unknown.
    on_gap: Guarded<Option<Py<PyAny>>>,
}

/// Positions of channels, and what publications prove by them.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Positions {
    state: LoopBound<State>,
}

impl Positions {
    #[inline]
    pub(crate) fn state(&self) -> PyResult<&State> {
        self.state.get()
    }
}

impl State {
    /// What a payload is, and what is to be done with it.
    #[inline]
    pub(crate) fn read<'a>(&self, payload: &'a [u8]) -> PyResult<Outcome<'a>> {
        Ok(self.table.lock()?.read(payload))
    }

    /// The same for a connection that runs beside the one that is read.
    pub(crate) fn follow<'a>(&self, payload: &'a [u8], takes: bool) -> PyResult<Outcome<'a>> {
        Ok(self.table.lock()?.follow(payload, takes))
    }

    pub(crate) fn take_current(&self) -> PyResult<Option<Current>> {
        Ok(self.table.lock()?.take_current())
    }

    pub(crate) fn restore(&self, current: Option<Current>) -> PyResult<()> {
        self.table.lock()?.restore(current);
        Ok(())
    }

    /// Tells the gaps that were found. Nothing may be borrowed.
    #[cold]
    pub(crate) fn tell_gaps(&self, py: Python<'_>) -> PyResult<()> {
        let gaps = self.table.lock()?.take_gaps();
        let Some(on_gap) = self.on_gap.read()?.as_ref().map(|one| one.clone_ref(py)) else { return Ok(()) };
        for gap in gaps {
            on_gap.call1(py, (&*gap.channel, gap.last, gap.next))?;
        }
        Ok(())
    }
}

fn slices(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[pymethods]
impl Positions {
    #[new]
    fn py_new(on_gap: Py<PyAny>) -> Self {
        let table = Guarded::new(Table::new(RandomState::new()));
        Self { state: LoopBound::new(State { table, on_gap: Guarded::new(Some(on_gap)) }) }
    }

    /// A channel goes on behind that publication.
    #[pyo3(name = "set", signature = (channel, epoch, sequence, /))]
    fn py_set(&self, py: Python<'_>, channel: &str, epoch: u64, sequence: u64) -> PyResult<()> {
        let state = self.state()?;
        state.table.lock()?.set(channel, epoch, sequence);
        // Others may have had to be forgotten for it.
        state.tell_gaps(py)
    }

    /// The server has left publications of a channel out, up to that one.
    #[pyo3(name = "lag", signature = (channel, last, /))]
    fn py_lag(&self, channel: &str, last: u64) -> PyResult<()> {
        self.state()?.table.lock()?.lag(channel, last);
        Ok(())
    }

    /// Epoch and sequence of the last publication of a channel; `None` where that is not known.
    #[pyo3(name = "position", signature = (channel, /))]
    fn py_position(&self, channel: &str) -> PyResult<Option<(u64, u64)>> {
        Ok(self.state()?.table.lock()?.position(channel))
    }

    /// Positions of the known channels that these names or patterns cover, as texts: epoch, sequence, channel.
    #[pyo3(name = "matching", signature = (names, /))]
    #[expect(clippy::needless_pass_by_value, reason = "a list of Python comes as a value")]
    fn py_matching(&self, names: Vec<String>) -> PyResult<Vec<String>> {
        let mut found = Vec::new();
        self.state()?.table.lock()?.visit_matching(&slices(&names), |channel, epoch, sequence| {
            found.push(format!("{epoch} {sequence} {channel}"));
        });
        Ok(found)
    }

    /// Forgets the channels that these names or patterns cover, but for those that `kept` covers.
    #[pyo3(name = "forget", signature = (names, /, kept=Vec::new()))]
    #[expect(clippy::needless_pass_by_value, reason = "a list of Python comes as a value")]
    fn py_forget(&self, names: Vec<String>, kept: Vec<String>) -> PyResult<()> {
        self.state()?.table.lock()?.forget(&slices(&names), &slices(&kept));
        Ok(())
    }

    /// Channel, epoch, sequence and previous of the message that is handed to a handler now; else `None`.
    #[getter]
    #[pyo3(name = "current")]
    #[expect(clippy::type_complexity, reason = "a tuple as Python unpacks it")]
    fn py_current<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyString>, u64, u64, u64)>> {
        Ok(self
            .state()?
            .table
            .lock()?
            .current()
            .map(|(channel, numbers)| (PyString::new(py, channel), numbers.epoch, numbers.sequence, numbers.previous)))
    }

    /// Publications that were dropped because they had been here already.
    #[getter]
    #[pyo3(name = "duplicates")]
    fn py_duplicates(&self) -> PyResult<u64> {
        Ok(self.state()?.table.lock()?.duplicates())
    }

    /// Channels that are known.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.state()?.table.lock()?.len())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only a Python reference is read, behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        let Ok(on_gap) = state.on_gap.read() else { return Ok(()) };
        visit.call(&*on_gap)
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        if let Ok(mut on_gap) = state.on_gap.lock() {
            on_gap.take();
        }
    }
}
