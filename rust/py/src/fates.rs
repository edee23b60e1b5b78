//! What becomes of the messages that one connection has accepted.
//!
//! They leave in the order in which they were accepted, so that counts say it of each, by its number:
//!
//! ```text
//! 1 ............ written ............ begun ............ accepted
//!   the kernel has   |  the transport or  |  no byte has
//!   all of it        |  kernel has some   |  left yet
//! at the end:           unknown              dropped
//! ```
//!
//! Nothing is remembered of a message: one that is written at once, which is the rule, costs two counters.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::connection::Connection;
use crate::errors;
use crate::loop_bound::Guarded;

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Written,
    /// No byte of it left before the connection ended.
    Dropped,
    /// Some bytes of it were handed on, and whether the kernel got all is not known.
    Unknown,
}

/// The counts of one connection. They outlive it: whoever kept what `send` returned may ask at any time.
pub(crate) struct Fates {
    /// Number of the connection.
    pub(crate) epoch: u64,
    accepted: Cell<u64>,
    written: Cell<u64>,
    /// At the end: the last message of which a byte was handed on.
    begun: Cell<u64>,
    has_ended: Cell<bool>,
    /// Futures of those who wait, each with the number of its message.
    waiters: Guarded<Vec<(u64, Py<PyAny>)>>,
    /// How many of them nobody waits for any more.
    cancelled: Cell<usize>,
    /// What the messages of this connection leave by, from the first that waited until the end.
    pub(crate) connection: Guarded<Option<Py<Connection>>>,
    /// `SendOutcome("written", epoch)`, made once.
    written_outcome: Guarded<Option<Py<PyAny>>>,
}

impl Fates {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            accepted: Cell::new(0),
            written: Cell::new(0),
            begun: Cell::new(0),
            has_ended: Cell::new(false),
            waiters: Guarded::default(),
            cancelled: Cell::new(0),
            connection: Guarded::default(),
            written_outcome: Guarded::default(),
        }
    }

    /// One message more; returns its number, from 1 on.
    #[inline]
    pub(crate) fn accept(&self) -> u64 {
        let number = self.accepted.get() + 1;
        self.accepted.set(number);
        number
    }

    #[inline]
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// The transport holds nothing: all is written but the last `waiting` messages, of which some bytes are still ours.
    #[inline]
    pub(crate) fn note_written(&self, waiting: u64) {
        if !self.has_ended.get() {
            self.written.set(self.accepted.get() - waiting);
        }
    }

    /// The connection takes and writes nothing any more. Of the last `waiting` messages some bytes are still ours, of the
    /// first of them only some if `has_begun`.
    pub(crate) fn end(&self, waiting: u64, has_begun: bool) {
        if !self.has_ended.replace(true) {
            self.begun.set(self.accepted.get() - waiting + u64::from(has_begun));
        }
    }

    #[inline]
    pub(crate) fn is_written(&self, number: u64) -> bool {
        number <= self.written.get()
    }

    /// How this message ended; `None` while that is open.
    #[inline]
    pub(crate) fn of(&self, number: u64) -> Option<Fate> {
        if self.is_written(number) {
            Some(Fate::Written)
        } else if !self.has_ended.get() {
            None
        } else if number <= self.begun.get() {
            Some(Fate::Unknown)
        } else {
            Some(Fate::Dropped)
        }
    }

    /// (accepted, written, dropped, unknown).
    pub(crate) fn counters(&self) -> (u64, u64, u64, u64) {
        let (accepted, written, begun) = (self.accepted.get(), self.written.get(), self.begun.get());
        if self.has_ended.get() {
            (accepted, written, accepted - begun, begun - written)
        } else {
            (accepted, written, 0, 0)
        }
    }

    /// `SendOutcome` of a message that ended so.
    pub(crate) fn outcome<'py>(&self, py: Python<'py>, fate: Fate) -> PyResult<Bound<'py, PyAny>> {
        match fate {
            Fate::Written => {
                if let Some(outcome) = &*self.written_outcome.read()? {
                    return Ok(outcome.bind(py).clone());
                }
                let outcome = errors::send_outcome(py, "written", Some(self.epoch), None)?;
                *self.written_outcome.lock()? = Some(outcome.clone().unbind());
                Ok(outcome)
            }
            Fate::Dropped => errors::send_outcome(py, "dropped", Some(self.epoch), Some("lost")),
            Fate::Unknown => errors::send_outcome(py, "unknown", Some(self.epoch), None),
        }
    }

    /// Messages wait, and who awaits one has them written.
    pub(crate) fn attach(&self, connection: &Bound<'_, Connection>) -> PyResult<()> {
        let mut attached = self.connection.lock()?;
        if attached.is_none() && !self.has_ended.get() {
            *attached = Some(connection.clone().unbind());
        }
        Ok(())
    }

    /// Keeps a future that is done when the fate of this message may be decided.
    pub(crate) fn add_waiter(&self, number: u64, future: Py<PyAny>) -> PyResult<()> {
        self.waiters.lock()?.push((number, future));
        Ok(())
    }

    /// Somebody who waited was cancelled. Futures that nobody waits for are forgotten when they are the most: a task each,
    /// cancelled one after the other, must not look at all of them each time.
    #[cold]
    pub(crate) fn note_cancelled(&self, py: Python<'_>) -> PyResult<()> {
        self.cancelled.set(self.cancelled.get() + 1);
        if self.cancelled.get() * 2 < self.waiters.read()?.len() {
            return Ok(());
        }
        self.cancelled.set(0);
        let mut waiting = Vec::new();
        for (number, future) in std::mem::take(&mut *self.waiters.lock()?) {
            if !is_done(future.bind(py))? {
                waiting.push((number, future));
            }
        }
        self.waiters.lock()?.extend(waiting);
        Ok(())
    }

    /// For the collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(connection) = self.connection.read() {
            visit.call(&*connection)?;
        }
        if let Ok(waiters) = self.waiters.read() {
            for (_, future) in waiters.iter() {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    /// The collector found the connection unreachable: nothing it holds is needed.
    pub(crate) fn clear(&self) {
        if let Ok(mut connection) = self.connection.lock() {
            connection.take();
        }
        if let Ok(mut waiters) = self.waiters.lock() {
            waiters.clear();
        }
    }

    /// Wakes those who wait for a message whose fate is decided.
    #[inline]
    pub(crate) fn wake(&self, py: Python<'_>) -> PyResult<()> {
        if self.waiters.read()?.is_empty() { Ok(()) } else { self.wake_decided(py) }
    }

    #[cold]
    fn wake_decided(&self, py: Python<'_>) -> PyResult<()> {
        let (decided, open) = std::mem::take(&mut *self.waiters.lock()?)
            .into_iter()
            .partition::<Vec<_>, _>(|(number, _)| self.of(*number).is_some());
        // Whoever is woken may come back before this is done.
        self.waiters.lock()?.extend(open);
        self.cancelled.set(0);
        for (_, future) in decided {
            let future = future.bind(py);
            if !is_done(future)? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future.call_method0(intern!(future.py(), "done"))?.is_truthy()
}
