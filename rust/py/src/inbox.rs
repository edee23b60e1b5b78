//! Where received messages wait for the strategy, and the handlers that are called without waiting.
//!
//! # Rules
//!
//! - A message is delivered once: to the handlers of its class if there are any, else it waits in the queue. Before that, the
//!   library's own messages (`control`) and who watches for a message (`watching`) have their look.
//! - Queued messages are raw bytes; they are decoded when somebody pulls, as the type that the puller asks for.
//! - A handler is never called while anything here or in the connection is borrowed: it may call back into both.
//! - The queue is bounded in bytes and in messages. Over a bound the connection is held, and reads again under half of it; or
//!   the oldest messages go; or only the latest of each key waits (`slow`).
//! - Events stand between the messages where they were told (`store`), and end before the stream does.
//! - No clock is read for a message: those of one read share its time.
//! - With handlers only, and nobody who ever pulled, a message without a handler is counted and dropped: a queue that
//!   nobody reads would otherwise fill up and stop the handlers' messages too.

mod control;
mod envelopes;
mod feeding;
mod pulling;
mod python;
mod selecting;
mod slow;
mod store;
mod waiting;
mod watching;

use std::cell::Cell;
use std::collections::VecDeque;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::clock::Stamp;
use crate::codec::{Router, WireFormat};
use crate::connection::{Broken, Connection, Hold};
use crate::histogram::Histogram;
use crate::loop_bound::{Guarded, LoopBound};
use crate::sent::Sent;
use control::{Control, Looked};
use envelopes::Envelopes;
use slow::Slow;
use store::Store;
use waiting::Waiter;
use watching::Watches;

/// What became of one message.
pub(crate) enum Taken {
    Queued,
    Dropped,
    /// To be given to these callbacks once nothing is borrowed.
    Call(Py<PyList>, Py<PyAny>, usize),
    /// Somebody has to be asked first, once nothing is borrowed.
    Looked(Box<Looked>),
    Fault(PyErr),
    /// A publication that does not follow the one before it: that is told first, once nothing is borrowed.
    Broken(Box<Broken>),
    /// No publication, though it begins as one.
    Malformed,
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
    max_messages: usize,
    slow: Slow,
    store: Guarded<Store>,
    waiters: Guarded<VecDeque<Waiter>>,
    router: Guarded<Router<usize>>,
    /// Callbacks of each registered type; the router's values are indices into it.
    callbacks: Guarded<Vec<(Py<PyAny>, Py<PyList>)>>,
    has_handlers: Cell<bool>,
    /// Callbacks for messages of no registered class: text as `str`, binary as `bytes`.
    raw_text: Cell<Option<usize>>,
    raw_binary: Cell<Option<usize>>,
    control: Control,
    envelopes: Envelopes,
    watches: Guarded<Watches>,
    /// Watches that wait for a message.
    unseen: Cell<usize>,
    pulled: Cell<bool>,
    /// Whether somebody asked for events: else they are not kept.
    keeps_events: Cell<bool>,
    closed: Cell<bool>,
    error: Guarded<Option<Py<PyAny>>>,
    /// Connections that are held because the queue is full: one, or it and its successor.
    paused: Guarded<Vec<Py<Connection>>>,
    /// The read that goes on, or was the last.
    read: Cell<Stamp>,
    /// Whether its age at the first handler was measured.
    is_measured: Cell<bool>,
    /// When the message that was handed out last was read (wall clock).
    last_received: Cell<i64>,
    /// From the read to the strategy.
    ages: Py<Histogram>,
    /// `messages` less `consumed` at the beginning of the epoch, and the first read since then that brought one.
    epoch_base: Cell<u64>,
    first_message: Cell<u64>,
    messages: Cell<u64>,
    bytes: Cell<u64>,
    /// Messages that were the library's own.
    consumed: Cell<u64>,
    decode_errors: Cell<u64>,
    handler_errors: Cell<u64>,
    unhandled: Cell<u64>,
    dropped: Cell<u64>,
    conflated: Cell<u64>,
    events_dropped: Cell<u64>,
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
    /// Begins one read: what is taken until the next one came now.
    #[inline]
    pub(crate) fn begin_read(&self) -> PyResult<()> {
        self.begin_read_at(Stamp::now())
    }

    #[inline]
    fn begin_read_at(&self, stamp: Stamp) -> PyResult<()> {
        self.read.set(stamp);
        self.is_measured.set(false);
        self.store.lock()?.begin_run(stamp);
        Ok(())
    }

    /// When the read that goes on, or was the last, began (monotonic).
    #[inline]
    fn read_at(&self) -> u64 {
        self.read.get().monotonic
    }

    /// Takes one message off the wire. `payload` is read before this returns.
    #[expect(
        clippy::inline_always,
        reason = "part of the loop over a read's messages, 40 instructions each when it is not"
    )]
    #[inline(always)]
    pub(crate) fn take(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        count(&self.messages);
        self.bytes.set(self.bytes.get() + payload.len() as u64);
        if self.envelopes.may_be(payload) {
            return self.take_envelope(py, payload, format);
        }
        if (self.control.looks_at(payload.len()) || self.unseen.get() > 0)
            && let Some(looked) = self.look(py, payload, format)?
        {
            return Ok(looked);
        }
        self.hand_on(py, payload, format)
    }

    /// The same of a publication without its header, which is none of the library's own messages.
    pub(crate) fn take_publication(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        count(&self.messages);
        self.bytes.set(self.bytes.get() + payload.len() as u64);
        if self.unseen.get() > 0 && self.show(payload, format)? {
            return Ok(Looked::watched(payload, format));
        }
        self.hand_on(py, payload, format)
    }

    /// Where a message goes that nobody has to be asked about.
    #[expect(
        clippy::inline_always,
        reason = "part of the loop over a read's messages, 40 instructions each when it is not"
    )]
    #[inline(always)]
    fn hand_on(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
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
        self.store.lock()?.push(py, payload, format)?;
        Ok(Taken::Queued)
    }

    /// Calls the handlers of a message; what they raise goes to `on_fault`.
    #[expect(
        clippy::inline_always,
        reason = "part of the loop over a read's messages, 40 instructions each when it is not"
    )]
    #[inline(always)]
    pub(crate) fn call(
        &self,
        py: Python<'_>,
        connection: &Bound<'_, PyAny>,
        callbacks: &Bound<'_, PyList>,
        message: &Bound<'_, PyAny>,
        size: usize,
    ) -> PyResult<()> {
        self.last_received.set(self.read.get().wall);
        if !self.is_measured.replace(true) {
            self.measure(py, self.read_at())?;
        }
        for index in 0..callbacks.len() {
            // A handler may remove itself: the list is asked anew for each.
            let Ok(callback) = callbacks.get_item(index) else { break };
            let outcome =
                if self.pass_connection { callback.call1((connection, message)) } else { callback.call1((message,)) };
            match outcome {
                // `lambda connection, message: connection.send(message)`: what `send` returns need not be awaited.
                Ok(value) if value.is_none() || value.is_exact_instance_of::<Sent>() => {}
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

    /// Ends one read: wakes who waits for messages, and does what the policy says when too much waits here.
    #[inline]
    pub(crate) fn end_read(&self, py: Python<'_>, connection: Option<&Bound<'_, Connection>>) -> PyResult<()> {
        self.note_first_message();
        let (messages, held) = {
            let store = self.store.read()?;
            (store.len(), store.held())
        };
        if messages == 0 {
            return Ok(());
        }
        if !matches!(self.slow, Slow::Backpressure) {
            let messages = self.thin_out(py, messages)?;
            return self.wake(py, messages);
        }
        self.wake(py, messages)?;
        if (held > self.limit || messages > self.max_messages)
            && let Some(connection) = connection
        {
            let state = connection.get().state()?;
            if !state.is_held_by(Hold::Inbox) {
                self.paused.lock()?.push(connection.clone().unbind());
                state.hold(connection.as_any(), Hold::Inbox)?;
            }
        }
        Ok(())
    }

    /// Messages since the beginning of the epoch, without the library's own.
    fn epoch_messages(&self) -> u64 {
        self.messages.get() - self.consumed.get() - self.epoch_base.get()
    }

    /// The first read of the epoch that brought a message has its time noted.
    #[inline]
    fn note_first_message(&self) {
        if self.first_message.get() == 0 && self.epoch_messages() > 0 {
            self.first_message.set(self.read_at());
        }
    }
}

impl Inbox {
    #[inline]
    pub(crate) fn state(&self) -> PyResult<&State> {
        self.state.get()
    }
}
