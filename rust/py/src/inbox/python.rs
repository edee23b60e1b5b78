//! The Python face of an inbox.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::control::Control;
use super::envelopes::Envelopes;
use super::selecting::union_members;
use super::slow::Slow;
use super::store::Store;
use super::watching::Watches;
use super::{Inbox, State};
use crate::codec::{Decoder, Router, WireFormat};
use crate::columns::Reader;
use crate::histogram::Histogram;
use crate::loop_bound::{Guarded, LoopBound};
use crate::pull::{ColumnPull, MessageStream, Mode, Pull};

impl Inbox {
    fn pull(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>, mode: Mode, is_stamped: bool) -> PyResult<Pull> {
        let decoder = Decoder::compile(type_)?;
        slf.get().state()?.pulled.set(true);
        Ok(Pull::new(slf.clone().unbind(), decoder, mode, is_stamped))
    }
}

#[pymethods]
impl Inbox {
    #[new]
    #[pyo3(signature = (
        event_loop, on_fault, on_awaitable, *, limit, max_messages=65536, pass_connection=false, slow=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python; two callers")]
    fn py_new(
        py: Python<'_>,
        event_loop: Py<PyAny>,
        on_fault: Py<PyAny>,
        on_awaitable: Py<PyAny>,
        limit: usize,
        max_messages: usize,
        pass_connection: bool,
        slow: Option<&Bound<'_, PyTuple>>,
    ) -> PyResult<Self> {
        let slow = Slow::new(slow)?;
        Ok(Self {
            state: LoopBound::new(State {
                event_loop,
                on_fault,
                on_awaitable,
                pass_connection,
                limit,
                max_messages,
                store: Guarded::new(Store::new(slow.conflates())),
                slow,
                waiters: Guarded::default(),
                router: Guarded::new(Router::new()),
                callbacks: Guarded::default(),
                has_handlers: Cell::new(false),
                raw_text: Cell::new(None),
                raw_binary: Cell::new(None),
                control: Control::new(),
                envelopes: Envelopes::default(),
                watches: Guarded::default(),
                unseen: Cell::new(0),
                pulled: Cell::new(false),
                keeps_events: Cell::new(false),
                closed: Cell::new(false),
                error: Guarded::default(),
                paused: Guarded::default(),
                read: Cell::default(),
                is_measured: Cell::new(false),
                last_received: Cell::new(0),
                ages: Py::new(py, Histogram::new())?,
                epoch_base: Cell::new(0),
                first_message: Cell::new(0),
                messages: Cell::new(0),
                bytes: Cell::new(0),
                consumed: Cell::new(0),
                decode_errors: Cell::new(0),
                handler_errors: Cell::new(0),
                unhandled: Cell::new(0),
                dropped: Cell::new(0),
                conflated: Cell::new(0),
                events_dropped: Cell::new(0),
            }),
        })
    }

    /// Registers `callback` for messages of `type_`, called inside the read that brings them.
    #[pyo3(name = "on")]
    fn py_on(&self, py: Python<'_>, type_: &Bound<'_, PyAny>, callback: Py<PyAny>) -> PyResult<()> {
        let state = self.state()?;
        if let Some(members) = union_members(type_)? {
            for member in members.iter() {
                self.py_on(py, &member, callback.clone_ref(py))?;
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
        Self::pull(slf, type_, Mode::OneOrNone, false)
    }

    /// An async iterator over messages as `type_`, each with when it was received if asked for.
    #[pyo3(name = "messages", signature = (type_, with_timestamps=false))]
    fn py_messages(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>, with_timestamps: bool) -> PyResult<MessageStream> {
        MessageStream::new(slf.py(), Self::pull(slf, type_, Mode::One, with_timestamps)?)
    }

    /// An async iterator over messages as `type_` and, in order with them, what was told.
    #[pyo3(name = "events", signature = (type_, with_timestamps=false))]
    fn py_events(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>, with_timestamps: bool) -> PyResult<MessageStream> {
        let pull = Self::pull(slf, type_, Mode::Event, with_timestamps)?;
        slf.get().state()?.keeps_events.set(true);
        MessageStream::new(slf.py(), pull)
    }

    /// An async iterator over lists: all messages that wait when it is asked.
    #[pyo3(name = "batches", signature = (type_, with_timestamps=false))]
    fn py_batches(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>, with_timestamps: bool) -> PyResult<MessageStream> {
        MessageStream::new(slf.py(), Self::pull(slf, type_, Mode::Batch, with_timestamps)?)
    }

    /// An async iterator over columns: of all messages that wait when it is asked.
    #[pyo3(name = "columns")]
    fn py_columns(slf: &Bound<'_, Self>, type_: &Bound<'_, PyAny>) -> PyResult<MessageStream> {
        let reader = Reader::new(type_, true)?;
        slf.get().state()?.pulled.set(true);
        MessageStream::new(slf.py(), ColumnPull::new(slf.clone().unbind(), reader))
    }

    /// Calls `callback(connection, (number, within, message))` for requests of that kind which `decoder` can read, inside
    /// the read that brings them. `within` is in seconds.
    #[pyo3(name = "on_request")]
    fn py_on_request(&self, kind: &str, decoder: &Bound<'_, PyAny>, callback: Py<PyAny>) -> PyResult<()> {
        self.state()?.envelopes.answer_with(kind, decoder, callback)
    }

    /// Calls `on_request(connection, (number, within, kind, body))` for all other requests and
    /// `on_answer(connection, (number, kind, body))` for answers, the body as it came.
    #[pyo3(name = "on_envelopes")]
    fn py_on_envelopes(&self, py: Python<'_>, on_request: Py<PyAny>, on_answer: Py<PyAny>) -> PyResult<()> {
        self.state()?.envelopes.take_with(py, on_request, on_answer)
    }

    // --- what comes from Python ---

    /// Puts an event behind all that was received so far; forgotten at once if nobody has asked for events.
    #[pyo3(name = "tell", signature = (event, /))]
    fn py_tell(&self, py: Python<'_>, event: Py<PyAny>) -> PyResult<()> {
        self.state()?.tell(py, event)
    }

    /// Takes a message as if a connection had read it; `format` is that of `bytes`.
    #[pyo3(name = "feed", signature = (payload, received_ns=0, *, format="msgpack"))]
    fn py_feed(&self, py: Python<'_>, payload: &Bound<'_, PyAny>, received_ns: i64, format: &str) -> PyResult<()> {
        self.state()?.feed(py, payload, received_ns, WireFormat::from_name(format)?)
    }

    /// Wakes who waits for what was fed; returns whether more waits than may, so that the source should be held.
    #[pyo3(name = "end_feed")]
    fn py_end_feed(&self, py: Python<'_>) -> PyResult<bool> {
        self.state()?.end_feed(py)
    }

    // --- the library's own looks ---

    /// Calls `callback(connection, message)` for messages of `type_`, before anybody else is asked.
    #[pyo3(name = "control", signature = (type_, callback, *, consume, longest=None))]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts owned references")]
    fn py_control(
        &self,
        type_: &Bound<'_, PyAny>,
        callback: Py<PyAny>,
        consume: bool,
        longest: Option<usize>,
    ) -> PyResult<()> {
        self.state()?.control.add(type_, &callback, consume, longest)
    }

    /// Ends [`Inbox::py_control`].
    #[pyo3(name = "uncontrol")]
    fn py_uncontrol(&self, type_: &Bound<'_, PyAny>) -> PyResult<()> {
        self.state()?.control.remove(type_)
    }

    /// Notes when the next message comes of such a type and with such contents.
    #[pyo3(name = "watch", signature = (token, type_, wanted, /))]
    fn py_watch(
        &self,
        token: i64,
        type_: Option<&Bound<'_, PyAny>>,
        wanted: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.state()?.change_watches(|watches| watches.add(token, type_, wanted))
    }

    /// Ends all watches of a token.
    #[pyo3(name = "unwatch", signature = (token, /))]
    fn py_unwatch(&self, py: Python<'_>, token: i64) -> PyResult<()> {
        self.state()?.change_watches(|watches| watches.remove(py, token))
    }

    /// Tokens of watches that have seen a message since the last call, each with the monotonic time of the first; they wait anew.
    #[pyo3(name = "take_seen")]
    fn py_take_seen(&self) -> PyResult<Vec<(i64, u64)>> {
        self.state()?.take_seen()
    }

    // --- times ---

    /// When the message that was handed out last came off the socket: ns since 1970. 0 if none was.
    #[getter]
    fn last_received_ns(&self) -> PyResult<i64> {
        Ok(self.state()?.last_received.get())
    }

    /// When anything came off a socket last: monotonic ns. 0 if nothing did.
    #[getter]
    fn last_read_ns(&self) -> PyResult<u64> {
        Ok(self.state()?.read_at())
    }

    /// Counts messages anew.
    #[pyo3(name = "begin_epoch")]
    fn py_begin_epoch(&self) -> PyResult<()> {
        let state = self.state()?;
        state.epoch_base.set(state.messages.get() - state.consumed.get());
        state.first_message.set(0);
        Ok(())
    }

    /// Messages since [`Inbox::py_begin_epoch`], without those that a control route consumed.
    #[getter]
    fn epoch_messages(&self) -> PyResult<u64> {
        Ok(self.state()?.epoch_messages())
    }

    /// When the first of those came: monotonic ns. 0 if none has.
    #[getter]
    fn first_message_ns(&self) -> PyResult<u64> {
        let state = self.state()?;
        state.note_first_message();
        Ok(state.first_message.get())
    }

    /// From a read to the strategy's taking its first message.
    #[getter]
    fn ages(&self, py: Python<'_>) -> PyResult<Py<Histogram>> {
        Ok(self.state()?.ages.clone_ref(py))
    }

    // --- the end ---

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
        state.control.clear()?;
        state.envelopes.clear()?;
        state.change_watches(|watches| {
            *watches = Watches::default();
            Ok(())
        })?;
        state.wake(py, usize::MAX)
    }

    /// Forgets a connection that is gone: the next one may be held, and is let go if it is.
    #[pyo3(name = "forget_connection")]
    fn py_forget_connection(&self, py: Python<'_>) -> PyResult<()> {
        self.state()?.resume(py)
    }

    /// Counters: (messages, bytes, decode errors, handler errors, unhandled, messages queued, bytes queued, dropped, conflated,
    /// events dropped).
    #[pyo3(name = "counters")]
    #[expect(clippy::type_complexity, reason = "one caller, which names them at once")]
    fn py_counters(&self) -> PyResult<(u64, u64, u64, u64, u64, usize, usize, u64, u64, u64)> {
        let state = self.state()?;
        let store = state.store.read()?;
        Ok((
            state.messages.get(),
            state.bytes.get(),
            state.decode_errors.get(),
            state.handler_errors.get(),
            state.unhandled.get(),
            store.len(),
            store.bytes(),
            state.dropped.get(),
            state.conflated.get(),
            state.events_dropped.get(),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        visit.call(&state.event_loop)?;
        visit.call(&state.on_fault)?;
        visit.call(&state.on_awaitable)?;
        state.slow.traverse(&visit)?;
        state.control.traverse(&visit)?;
        state.envelopes.traverse(&visit)?;
        if let Ok(watches) = state.watches.read() {
            watches.traverse(&visit)?;
        }
        if let Ok(store) = state.store.read() {
            for event in store.events() {
                visit.call(event)?;
            }
        }
        if let Ok(callbacks) = state.callbacks.read() {
            for (type_, list) in callbacks.iter() {
                visit.call(type_)?;
                visit.call(list)?;
            }
        }
        if let Ok(waiters) = state.waiters.read() {
            for waiter in waiters.iter() {
                visit.call(&waiter.future)?;
            }
        }
        if let Ok(paused) = state.paused.read() {
            for connection in paused.iter() {
                visit.call(connection)?;
            }
        }
        // A traceback leads from an error to its client, and from there to here.
        if let Ok(error) = state.error.read() {
            visit.call(&*error)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        state.slow.clear(py);
        // Nothing of them is borrowed: an error could only say that it is.
        let _ = state.control.clear();
        let _ = state.envelopes.clear();
        let _ = state.change_watches(|watches| {
            *watches = Watches::default();
            Ok(())
        });
        if let Ok(mut store) = state.store.lock() {
            store.clear_events();
        }
        if let Ok(mut callbacks) = state.callbacks.lock() {
            callbacks.clear();
        }
        if let Ok(mut waiters) = state.waiters.lock() {
            waiters.clear();
        }
        if let Ok(mut paused) = state.paused.lock() {
            paused.clear();
        }
        if let Ok(mut error) = state.error.lock() {
            error.take();
        }
    }
}
