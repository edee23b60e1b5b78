//! Where received messages wait for the strategy, and the handlers that are called without waiting.
//!
//! # Rules
//!
//! - A message is delivered once: to the handlers of its class if there are any, else it waits in the queue.
//! - Queued messages are raw bytes; they are decoded when somebody pulls, as the type that the puller asks for.
//! - A handler is never called while anything here or in the connection is borrowed: it may call back into both.
//! - The queue is bounded in bytes: over the bound the connection is held, under half of it it reads again.
//! - With handlers only, and nobody who ever pulled, a message without a handler is counted and dropped: a queue that
//!   nobody reads would otherwise fill up and stop the handlers' messages too.

mod pulling;

use std::cell::Cell;
use std::collections::VecDeque;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::codec::{Decoder, Router, WireFormat};
use crate::columns::Reader;
use crate::connection::{Connection, Hold};
use crate::loop_bound::{Guarded, LoopBound};
use crate::pull::{ColumnPull, Drain, MessageStream, Mode, Pull, retain_waiting};
use crate::queue::MessageQueue;

/// What became of one message.
pub(crate) enum Taken {
    Queued,
    Dropped,
    /// To be given to these callbacks once nothing is borrowed.
    Call(Py<PyList>, Py<PyAny>, usize),
    Fault(PyErr),
}

pub(crate) struct State {
    event_loop: Py<PyAny>,
    /// Called with an exception that has no caller to be raised in: a handler's, or a `DecodeError`.
    on_fault: Py<PyAny>,
    /// Called with what an `async def` handler returned, the connection, and the bytes of the message.
    on_awaitable: Py<PyAny>,
    /// A server's handlers are told which connection the message came from.
    pass_connection: bool,
    limit: usize,
    queue: Guarded<MessageQueue>,
    waiters: Guarded<VecDeque<Py<PyAny>>>,
    router: Guarded<Router<usize>>,
    /// Callbacks of each registered type; the router's values are indices into it.
    callbacks: Guarded<Vec<(Py<PyAny>, Py<PyList>)>>,
    has_handlers: Cell<bool>,
    /// Callbacks for messages of no registered class: text as `str`, binary as `bytes`.
    raw_text: Cell<Option<usize>>,
    raw_binary: Cell<Option<usize>>,
    pulled: Cell<bool>,
    closed: Cell<bool>,
    error: Guarded<Option<Py<PyAny>>>,
    /// The connection that is held because the queue is full.
    paused: Guarded<Option<Py<Connection>>>,
    messages: Cell<u64>,
    bytes: Cell<u64>,
    decode_errors: Cell<u64>,
    handler_errors: Cell<u64>,
    unhandled: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// Received messages of a client (all its connections, one after the other) or of a server (all at once).
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Inbox {
    state: LoopBound<State>,
}

impl State {
    /// Takes one message off the wire. `payload` is read before this returns.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        count(&self.messages);
        self.bytes.set(self.bytes.get() + payload.len() as u64);
        if self.has_handlers.get() {
            let router = self.router.read()?;
            if let Some((decoder, index)) = router.route(payload, format) {
                return Ok(match decoder.decode(py, payload, format) {
                    Ok(message) => {
                        Taken::Call(self.callbacks.read()?[*index].1.clone_ref(py), message.unbind(), payload.len())
                    }
                    Err(error) => {
                        count(&self.decode_errors);
                        Taken::Fault(error)
                    }
                });
            }
            let is_text = format.is_text();
            if let Some(index) = if is_text { &self.raw_text } else { &self.raw_binary }.get() {
                let message = if is_text {
                    PyString::from_bytes(py, payload)?.into_any()
                } else {
                    PyBytes::new(py, payload).into_any()
                };
                let callbacks = self.callbacks.read()?[index].1.clone_ref(py);
                return Ok(Taken::Call(callbacks, message.unbind(), payload.len()));
            }
            if self.pass_connection || !self.pulled.get() {
                count(&self.unhandled);
                return Ok(Taken::Dropped);
            }
        } else if self.pass_connection {
            count(&self.unhandled);
            return Ok(Taken::Dropped);
        }
        self.queue.lock()?.push(py, payload, format)?;
        Ok(Taken::Queued)
    }

    /// Calls the handlers of a message; what they raise goes to `on_fault`.
    #[inline]
    pub(crate) fn call(
        &self,
        py: Python<'_>,
        connection: &Bound<'_, PyAny>,
        callbacks: &Bound<'_, PyList>,
        message: &Bound<'_, PyAny>,
        size: usize,
    ) -> PyResult<()> {
        for index in 0..callbacks.len() {
            // A handler may remove itself: the list is asked anew for each.
            let Ok(callback) = callbacks.get_item(index) else { break };
            let outcome =
                if self.pass_connection { callback.call1((connection, message)) } else { callback.call1((message,)) };
            match outcome {
                // `lambda connection, message: connection.send(message)`: what `send` returns need not be awaited.
                Ok(value) if value.is_none() || value.is_exact_instance_of::<Drain>() => {}
                Ok(value) => {
                    self.on_awaitable.call1(py, (value, connection, size))?;
                }
                Err(error) => {
                    count(&self.handler_errors);
                    self.report(py, error)?;
                }
            }
        }
        Ok(())
    }

    /// Hands an error without a caller to Python's side. `KeyboardInterrupt` and `SystemExit` go on to the loop.
    #[cold]
    pub(crate) fn report(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
            return Err(error);
        }
        self.on_fault.call1(py, (error,))?;
        Ok(())
    }

    /// Ends one read: wakes who waits for messages, and stops the transport when too much waits here.
    #[inline]
    pub(crate) fn end_read(&self, py: Python<'_>, connection: Option<&Bound<'_, Connection>>) -> PyResult<()> {
        let (messages, held) = {
            let queue = self.queue.read()?;
            (queue.len(), queue.held())
        };
        if messages == 0 {
            return Ok(());
        }
        self.wake(py, messages)?;
        if held > self.limit
            && let Some(connection) = connection
            && self.paused.read()?.is_none()
        {
            *self.paused.lock()? = Some(connection.clone().unbind());
            connection.get().state()?.hold(connection.as_any(), Hold::Inbox)?;
        }
        Ok(())
    }

    fn wake(&self, py: Python<'_>, mut many: usize) -> PyResult<()> {
        while many > 0 {
            let Some(waiter) = self.waiters.lock()?.pop_front() else { break };
            let waiter = waiter.bind(py);
            // A waiter whose task was cancelled is done already and takes no message.
            if !waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
                waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
                many -= 1;
            }
        }
        Ok(())
    }

    /// A reader was cancelled: forgets what it waited on, and wakes others for messages it was woken for and did not take.
    #[cold]
    pub(crate) fn pass_on(&self, py: Python<'_>) -> PyResult<()> {
        let waiters = std::mem::take(&mut *self.waiters.lock()?);
        let waiting = retain_waiting(py, waiters.into())?;
        self.waiters.lock()?.extend(waiting);
        let messages = self.queue.read()?.len();
        self.wake(py, messages)
    }

    /// Bytes that may wait.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    fn resume_if_drained(&self, py: Python<'_>) -> PyResult<()> {
        if self.paused.read()?.is_some() && self.queue.read()?.held() <= self.limit / 2 {
            self.resume(py)?;
        }
        Ok(())
    }

    /// Lets a connection that is held read again, however much is queued.
    pub(crate) fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let paused = self.paused.lock()?.take();
        match paused {
            Some(connection) => connection.get().state()?.release(py, Hold::Inbox),
            None => Ok(()),
        }
    }

    /// How the stream ended: `None` while it goes on, else the error it ended with, if any.
    #[expect(clippy::option_option, reason = "two questions: whether it ended, and with what")]
    pub(crate) fn ended(&self, py: Python<'_>) -> PyResult<Option<Option<PyErr>>> {
        if !self.closed.get() {
            return Ok(None);
        }
        // An error is told once; afterwards the stream is just over.
        Ok(Some(self.error.lock()?.take().map(|error| PyErr::from_value(error.into_bound(py)))))
    }

    /// A future that is done when a message arrives or the stream ends.
    pub(crate) fn waiter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let waiter = self.event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
        self.waiters.lock()?.push_back(waiter.clone().unbind());
        Ok(waiter)
    }
}

/// The members of `A | B` or `Union[A, B]`; `None` for any other type.
fn union_members<'py>(type_: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = type_.py();
    let typing = py.import(intern!(py, "typing"))?;
    let origin = typing.call_method1(intern!(py, "get_origin"), (type_,))?;
    let is_union = origin.is(&typing.getattr(intern!(py, "Union"))?)
        || origin.is(&py.import(intern!(py, "types"))?.getattr(intern!(py, "UnionType"))?);
    if is_union { typing.call_method1(intern!(py, "get_args"), (type_,)).map(Some) } else { Ok(None) }
}

impl Inbox {
    #[inline]
    pub(crate) fn state(&self) -> PyResult<&State> {
        self.state.get()
    }
}

#[pymethods]
impl Inbox {
    #[new]
    #[pyo3(signature = (event_loop, on_fault, on_awaitable, *, limit, pass_connection=false))]
    fn py_new(
        event_loop: Py<PyAny>,
        on_fault: Py<PyAny>,
        on_awaitable: Py<PyAny>,
        limit: usize,
        pass_connection: bool,
    ) -> Self {
        Self {
            state: LoopBound::new(State {
                event_loop,
                on_fault,
                on_awaitable,
                pass_connection,
                limit,
                queue: Guarded::default(),
                waiters: Guarded::default(),
                router: Guarded::new(Router::new()),
                callbacks: Guarded::default(),
                has_handlers: Cell::new(false),
                raw_text: Cell::new(None),
                raw_binary: Cell::new(None),
                pulled: Cell::new(false),
                closed: Cell::new(false),
                error: Guarded::default(),
                paused: Guarded::default(),
                messages: Cell::new(0),
                bytes: Cell::new(0),
                decode_errors: Cell::new(0),
                handler_errors: Cell::new(0),
                unhandled: Cell::new(0),
            }),
        }
    }

    /// Registers `callback` for messages of `type_`, called inside the read that brings them.
    #[pyo3(name = "on")]
    fn py_on(&self, py: Python<'_>, type_: &Bound<'_, PyAny>, callback: Py<PyAny>) -> PyResult<()> {
        let state = self.state()?;
        if let Some(members) = union_members(type_)? {
            for member in members.try_iter()? {
                self.py_on(py, &member?, callback.clone_ref(py))?;
            }
            return Ok(());
        }
        // A `Decoder` says how messages of its class are read, whichever handler is first.
        let class = Decoder::target_type(type_);
        let mut callbacks = state.callbacks.lock()?;
        for (known, list) in callbacks.iter() {
            if known.bind(py).is(&class) {
                if !class.is(type_) {
                    state.router.lock()?.read_by(&class, Decoder::compile(type_)?);
                }
                return list.bind(py).append(callback);
            }
        }
        if type_.is(py.get_type::<PyString>()) {
            state.raw_text.set(Some(callbacks.len()));
        } else if type_.is(py.get_type::<PyBytes>()) {
            state.raw_binary.set(Some(callbacks.len()));
        } else {
            state.router.lock()?.add(type_, callbacks.len())?;
        }
        callbacks.push((class.unbind(), PyList::new(py, [callback])?.unbind()));
        state.has_handlers.set(true);
        Ok(())
    }

    /// An awaitable for the next message as `type_`: the message, or `None` once the inbox is closed.
    #[pyo3(name = "receive")]
    fn py_receive(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>) -> PyResult<Pull> {
        slf.get().state()?.pulled.set(true);
        Ok(Pull::new(slf.clone().unbind(), Decoder::compile(type_)?, Mode::OneOrNone))
    }

    /// An async iterator over messages as `type_`.
    #[pyo3(name = "messages")]
    fn py_messages(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>) -> PyResult<MessageStream> {
        slf.get().state()?.pulled.set(true);
        MessageStream::new(slf.py(), Pull::new(slf.clone().unbind(), Decoder::compile(type_)?, Mode::One))
    }

    /// An async iterator over lists: all messages that wait when it is asked.
    #[pyo3(name = "batches")]
    fn py_batches(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>) -> PyResult<MessageStream> {
        slf.get().state()?.pulled.set(true);
        MessageStream::new(slf.py(), Pull::new(slf.clone().unbind(), Decoder::compile(type_)?, Mode::Batch))
    }

    /// An async iterator over columns: of all messages that wait when it is asked.
    #[pyo3(name = "columns")]
    fn py_columns(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>) -> PyResult<MessageStream> {
        let reader = Reader::new(type_, true)?;
        slf.get().state()?.pulled.set(true);
        MessageStream::new(slf.py(), ColumnPull::new(slf.clone().unbind(), reader))
    }

    /// Ends the stream: what is queued can still be pulled, then `error` is raised once, then it is over.
    #[pyo3(name = "close", signature = (error=None))]
    fn py_close(&self, py: Python<'_>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let state = self.state()?;
        state.closed.set(true);
        *state.error.lock()? = error;
        *state.router.lock()? = Router::new();
        state.callbacks.lock()?.clear();
        state.has_handlers.set(false);
        state.raw_text.set(None);
        state.raw_binary.set(None);
        state.wake(py, usize::MAX)
    }

    /// Forgets a connection that is gone: the next one may be held.
    #[pyo3(name = "forget_connection")]
    fn py_forget_connection(&self) -> PyResult<()> {
        self.state()?.paused.lock()?.take();
        Ok(())
    }

    /// Counters: (messages, bytes, decode errors, handler errors, unhandled, messages queued, bytes queued).
    #[pyo3(name = "counters")]
    fn py_counters(&self) -> PyResult<(u64, u64, u64, u64, u64, usize, usize)> {
        let state = self.state()?;
        let queue = state.queue.read()?;
        Ok((
            state.messages.get(),
            state.bytes.get(),
            state.decode_errors.get(),
            state.handler_errors.get(),
            state.unhandled.get(),
            queue.len(),
            queue.bytes(),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        visit.call(&state.event_loop)?;
        visit.call(&state.on_fault)?;
        visit.call(&state.on_awaitable)?;
        if let Ok(callbacks) = state.callbacks.read() {
            for (type_, list) in callbacks.iter() {
                visit.call(type_)?;
                visit.call(list)?;
            }
        }
        if let Ok(waiters) = state.waiters.read() {
            for waiter in waiters.iter() {
                visit.call(waiter)?;
            }
        }
        if let Ok(paused) = state.paused.read() {
            visit.call(&*paused)?;
        }
        // A traceback leads from an error to its client, and from there to here.
        if let Ok(error) = state.error.read() {
            visit.call(&*error)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        if let Ok(mut callbacks) = state.callbacks.lock() {
            callbacks.clear();
        }
        if let Ok(mut waiters) = state.waiters.lock() {
            waiters.clear();
        }
        if let Ok(mut paused) = state.paused.lock() {
            paused.take();
        }
        if let Ok(mut error) = state.error.lock() {
            error.take();
        }
    }
}
