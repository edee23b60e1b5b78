//! Who waits for messages, and a connection that waits for who takes them.

use pyo3::intern;
use pyo3::prelude::*;

use super::State;
use crate::connection::Hold;

/// A future that a reader waits on.
pub(super) struct Waiter {
    pub(super) future: Py<PyAny>,
    /// Whether it takes events too.
    takes_events: bool,
}

impl Waiter {
    /// Wakes its reader. One whose task was cancelled is done already, and takes nothing: false.
    fn wake(&self, py: Python<'_>) -> PyResult<bool> {
        let future = self.future.bind(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(false);
        }
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
        Ok(true)
    }
}

impl State {
    pub(super) fn wake(&self, py: Python<'_>, mut many: usize) -> PyResult<()> {
        while many > 0 {
            let Some(waiter) = self.waiters.lock()?.pop_front() else { break };
            if waiter.wake(py)? {
                many -= 1;
            }
        }
        Ok(())
    }

    /// Wakes the first of those who take events.
    pub(super) fn wake_for_event(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let waiter = {
                let mut waiters = self.waiters.lock()?;
                let Some(index) = waiters.iter().position(|waiter| waiter.takes_events) else { return Ok(()) };
                waiters.remove(index)
            };
            if let Some(waiter) = waiter
                && waiter.wake(py)?
            {
                return Ok(());
            }
        }
    }

    /// A reader was cancelled: forgets what it waited on, and wakes others for messages it was woken for and did not take.
    #[cold]
    pub(crate) fn pass_on(&self, py: Python<'_>) -> PyResult<()> {
        let waiters = std::mem::take(&mut *self.waiters.lock()?);
        let mut waiting = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            if !waiter.future.bind(py).call_method0(intern!(py, "done"))?.is_truthy()? {
                waiting.push(waiter);
            }
        }
        self.waiters.lock()?.extend(waiting);
        let (messages, has_events) = {
            let store = self.store.read()?;
            (store.len(), store.has_events())
        };
        self.wake(py, messages)?;
        if has_events { self.wake_for_event(py) } else { Ok(()) }
    }

    /// Bytes that may wait.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn resume_if_drained(&self, py: Python<'_>) -> PyResult<()> {
        if !self.paused.read()?.is_empty() {
            let store = self.store.read()?;
            if store.held() <= self.limit / 2 && store.len() <= self.max_messages / 2 {
                drop(store);
                self.resume(py)?;
            }
        }
        Ok(())
    }

    /// Lets connections that are held read again, however much is queued.
    pub(crate) fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let paused = std::mem::take(&mut *self.paused.lock()?);
        paused.iter().try_for_each(|connection| connection.get().state()?.release(py, Hold::Inbox))
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

    /// A future that is done when a message arrives or the stream ends; or an event is told, for who takes those.
    pub(crate) fn waiter<'py>(&self, py: Python<'py>, takes_events: bool) -> PyResult<Bound<'py, PyAny>> {
        let future = self.event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
        self.waiters.lock()?.push_back(Waiter { future: future.clone().unbind(), takes_events });
        Ok(future)
    }
}
