//! What `send` returns: an awaitable that knows how its message ended.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::connection::Connection;
use crate::errors;
use crate::fates::{Fate, Fates};
use crate::loop_bound::LoopBound;
use crate::pull::{Step, Steps, next_step, throw};

struct State {
    /// Shared with the connection, not the connection itself: whoever keeps this keeps no buffers. The counts of an `Rc`
    /// change with the GIL held alone, here as in the connection.
    fates: Rc<Fates>,
    /// 0 is a message that was written before `send` returned.
    number: Cell<u64>,
}

/// How one message ends. It holds no Python object that could lead back to it, so the collector need not know it.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Sent {
    state: LoopBound<State>,
}

/// The objects that a connection gives out again.
#[derive(Default)]
pub(crate) struct Given {
    /// For all that is written at once.
    written: Option<Py<Sent>>,
    /// The last one that was not: most callers drop it at once, and the next message gets it then.
    last: Option<Py<Sent>>,
}

impl Sent {
    fn new(fates: &Rc<Fates>, number: u64) -> Self {
        Self { state: LoopBound::new(State { fates: Rc::clone(fates), number: Cell::new(number) }) }
    }

    fn finish<'py>(py: Python<'py>, fates: &Fates, fate: Fate) -> PyResult<Step<'py>> {
        let outcome = fates.outcome(py, fate)?;
        match fate {
            Fate::Written => Ok(Step::Return(outcome)),
            Fate::Dropped | Fate::Unknown => Err(errors::not_written(&outcome)),
        }
    }
}

impl Given {
    /// What `send` returns for this message of the connection `object`.
    #[inline]
    pub(crate) fn give(
        &mut self,
        object: &Bound<'_, Connection>,
        fates: &Rc<Fates>,
        number: u64,
    ) -> PyResult<Py<Sent>> {
        let py = object.py();
        if fates.is_written(number) {
            if let Some(written) = &self.written {
                return Ok(written.clone_ref(py));
            }
            let made = Py::new(py, Sent::new(fates, 0))?;
            self.written = Some(made.clone_ref(py));
            return Ok(made);
        }
        if let Some(last) = &self.last
            && is_ours_alone(last)
        {
            last.get().state.get()?.number.set(number);
            return Ok(last.clone_ref(py));
        }
        let made = Py::new(py, Sent::new(fates, number))?;
        self.last = Some(made.clone_ref(py));
        fates.attach(object)?;
        Ok(made)
    }
}

fn is_ours_alone(sent: &Py<Sent>) -> bool {
    // SAFETY: a live object, whose count changes with the GIL held alone: `Given` is used by who holds it.
    unsafe { ffi::Py_REFCNT(sent.as_ptr()) == 1 }
}

impl Steps for Sent {
    #[inline]
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let State { fates, number } = self.state.get()?;
        let number = number.get();
        if let Some(fate) = fates.of(number) {
            return Self::finish(py, fates, fate);
        }
        let connection = fates.connection.read()?.as_ref().map(|connection| connection.clone_ref(py));
        let Some(connection) = connection else {
            return Err(PyRuntimeError::new_err("internal error: a message without fate or connection"));
        };
        let connection = connection.bind(py);
        // It waits for the end of the turn, and with it whoever wants to know: both leave now.
        Connection::write_now(connection)?;
        if let Some(fate) = fates.of(number) {
            return Self::finish(py, fates, fate);
        }
        let future = connection.get().create_future(py)?;
        fates.add_waiter(number, future.clone().unbind())?;
        Ok(Step::Wait(future))
    }

    fn interrupted(&self, py: Python<'_>) -> PyResult<()> {
        self.state.get()?.fates.note_cancelled(py)
    }
}

#[pymethods]
impl Sent {
    /// How the message ended, a `SendOutcome`; `None` while that is open.
    #[getter]
    #[pyo3(name = "outcome")]
    fn py_outcome<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let State { fates, number } = self.state.get()?;
        fates.of(number.get()).map(|fate| fates.outcome(py, fate)).transpose()
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        next_step(slf)
    }

    #[pyo3(name = "send")]
    fn py_send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        next_step(slf)
    }

    #[pyo3(name = "throw", signature = (kind, value=None, traceback=None))]
    fn py_throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        // The traceback is that of the exception itself; the argument belongs to an older protocol.
        let _ = traceback;
        self.interrupted(py)?;
        Err(throw(kind, value))
    }

    #[pyo3(name = "close")]
    #[expect(clippy::unused_self, reason = "coroutines have it, and nothing is suspended inside")]
    fn py_close(&self) {}
}
