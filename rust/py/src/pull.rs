//! Awaitables without a coroutine: what `receive`, `messages`, `batches` and `send` return.
//!
//! A Python coroutine, a future and a loop turn for each message would cost more than the decode. These objects answer
//! the interpreter's `SEND` themselves (the `am_send` slot): a message that is there is returned at once, with no
//! allocation but the message; only an empty queue makes a future for the task to wait on. They keep no state between
//! calls, so one object serves a whole `async for`.

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::{PyClass, PyTraverseError, PyVisit, ffi, intern};

use crate::codec::Decoder;
use crate::columns::Reader;
use crate::connection::Connection;
use crate::inbox::Inbox;
use crate::loop_bound::{Guarded, LoopBound};

/// What one step of an awaitable did.
pub(crate) enum Step<'py> {
    Return(Bound<'py, PyAny>),
    Wait(Bound<'py, PyAny>),
}

/// An object that the interpreter can await through [`install`].
pub(crate) trait Steps: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync {
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>>;

    /// An exception came in place of what was waited for, as a rule a cancellation.
    fn interrupted(&self, py: Python<'_>) -> PyResult<()>;
}

/// Marks a future as awaited by hand: what `Future.__await__` does before it yields itself (asyncio's protocol).
fn block_on(future: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = future.py();
    future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
    Ok(future)
}

/// Gives the class `T` its `am_send` slot, which PyO3 has no name for.
pub(crate) fn install<T: Steps>(py: Python<'_>) {
    let class = py.get_type::<T>().as_type_ptr();
    // SAFETY: PyO3 classes are heap types, whose `tp_as_async` points at a table inside the type object itself. It is
    // written once, before the class can be seen by Python code, with the GIL held.
    unsafe {
        (*(*class).tp_as_async).am_send = Some(am_send::<T>);
    }
}

unsafe extern "C" fn am_send<T: Steps>(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // A panic must not unwind into C: it becomes an exception like PyO3's own.
    let outcome = std::panic::catch_unwind(|| {
        Python::attach(|py| {
            // SAFETY: the slot is installed on `T`'s class alone, which can't be subclassed; `slf` is borrowed from the
            // caller for the length of this call.
            let object = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<T>() };
            let (code, value) = match object.get().step(py) {
                Ok(Step::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
                Ok(Step::Wait(future)) => match block_on(future) {
                    Ok(future) => (ffi::PySendResult::PYGEN_NEXT, future.into_ptr()),
                    Err(error) => {
                        error.restore(py);
                        (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut())
                    }
                },
                Err(error) => {
                    error.restore(py);
                    (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut())
                }
            };
            // SAFETY: the interpreter passes a valid place for the result and owns what is put there.
            unsafe { *result = value };
            code
        })
    });
    outcome.unwrap_or_else(|_| {
        Python::attach(|py| PyRuntimeError::new_err("internal error: a step of an awaitable panicked").restore(py));
        // SAFETY: as above.
        unsafe { *result = std::ptr::null_mut() };
        ffi::PySendResult::PYGEN_ERROR
    })
}

/// `next(awaitable)`: the same step in the older protocol, for callers that don't know `am_send`.
pub(crate) fn next_step<'py, T: Steps>(slf: &Bound<'py, T>) -> PyResult<Bound<'py, PyAny>> {
    match slf.get().step(slf.py())? {
        Step::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        Step::Wait(future) => block_on(future),
    }
}

/// Drops futures that nobody waits for any more: those of tasks that were cancelled.
pub(crate) fn retain_waiting(py: Python<'_>, waiters: Vec<Py<PyAny>>) -> PyResult<Vec<Py<PyAny>>> {
    let mut waiting = Vec::with_capacity(waiters.len());
    for waiter in waiters {
        if !waiter.bind(py).call_method0(intern!(py, "done"))?.is_truthy()? {
            waiting.push(waiter);
        }
    }
    Ok(waiting)
}

/// `awaitable.throw(...)`: nothing is suspended inside, so the exception goes straight back to the task.
pub(crate) fn throw(kind: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
    match value {
        Some(value) => PyErr::from_value(value.clone()),
        None => PyErr::from_value(kind.clone()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One message; `None` at the end.
    OneOrNone,
    /// One message; `StopAsyncIteration` at the end.
    One,
    /// One message or event; `StopAsyncIteration` at the end.
    Event,
    /// A list of all that wait; `StopAsyncIteration` at the end.
    Batch,
}

/// The next message (or batch) of an inbox, as a coroutine-like object.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Pull {
    inbox: Py<Inbox>,
    decoder: Decoder,
    mode: Mode,
    /// Whether each message comes with when it was received.
    is_stamped: bool,
}

impl Pull {
    pub(crate) fn new(inbox: Py<Inbox>, decoder: Decoder, mode: Mode, is_stamped: bool) -> Self {
        Self { inbox, decoder, mode, is_stamped }
    }
}

impl Steps for Pull {
    #[inline]
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let inbox = self.inbox.get().state()?;
        let pulled = match self.mode {
            Mode::Batch => inbox.pull_all(py, &self.decoder, self.is_stamped)?,
            Mode::One | Mode::OneOrNone => inbox.pull_one(py, &self.decoder, self.is_stamped)?,
            Mode::Event => inbox.pull_event(py, &self.decoder, self.is_stamped)?,
        };
        if let Some(value) = pulled {
            return Ok(Step::Return(value));
        }
        match inbox.ended(py)? {
            None => Ok(Step::Wait(inbox.waiter(py, self.mode == Mode::Event)?)),
            Some(Some(error)) => Err(error),
            Some(None) if self.mode == Mode::OneOrNone => Ok(Step::Return(py.None().into_bound(py))),
            Some(None) => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    fn interrupted(&self, py: Python<'_>) -> PyResult<()> {
        self.inbox.get().state()?.pass_on(py)
    }
}

/// The next batch of an inbox as columns, as a coroutine-like object.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct ColumnPull {
    inbox: Py<Inbox>,
    reader: LoopBound<Guarded<Reader>>,
}

impl ColumnPull {
    pub(crate) fn new(inbox: Py<Inbox>, reader: Reader) -> Self {
        Self { inbox, reader: LoopBound::new(Guarded::new(reader)) }
    }
}

impl Steps for ColumnPull {
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let inbox = self.inbox.get().state()?;
        if let Some(columns) = inbox.pull_columns(py, &mut *self.reader.get()?.lock()?)? {
            return Ok(Step::Return(Bound::new(py, columns)?.into_any()));
        }
        match inbox.ended(py)? {
            None => Ok(Step::Wait(inbox.waiter(py, false)?)),
            Some(Some(error)) => Err(error),
            Some(None) => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    fn interrupted(&self, py: Python<'_>) -> PyResult<()> {
        self.inbox.get().state()?.pass_on(py)
    }
}

/// Waits until a connection's queued bytes are with the kernel.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Drain {
    connection: Py<Connection>,
}

impl Drain {
    pub(crate) fn new(connection: Py<Connection>) -> Self {
        Self { connection }
    }
}

impl Steps for Drain {
    #[inline]
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        Ok(match self.connection.bind(py).get().drain_step(py)? {
            Some(waiter) => Step::Wait(waiter),
            None => Step::Return(py.None().into_bound(py)),
        })
    }

    fn interrupted(&self, py: Python<'_>) -> PyResult<()> {
        self.connection.get().forget_done_waiters(py)
    }
}

/// The methods that make a class awaitable, and a coroutine to `asyncio.create_task`.
macro_rules! awaitable {
    ($class:ident, $field:ident) => {
        #[pymethods]
        impl $class {
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
            fn py_close(&self) {}

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                visit.call(&self.$field)
            }
        }
    };
}

awaitable!(Pull, inbox);
awaitable!(ColumnPull, inbox);
awaitable!(Drain, connection);

/// An async iterator whose every step is the same awaitable.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct MessageStream {
    next: Py<PyAny>,
}

impl MessageStream {
    pub(crate) fn new<T: Steps + Into<PyClassInitializer<T>>>(py: Python<'_>, next: T) -> PyResult<Self> {
        Ok(Self { next: Py::new(py, next)?.into_any() })
    }
}

#[pymethods]
impl MessageStream {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> Py<PyAny> {
        self.next.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.next)
    }
}
