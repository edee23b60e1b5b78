//! What the collector has to know: every Python object that a connection holds.

use pyo3::{PyTraverseError, PyVisit};

use super::State;

impl State {
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inbox)?;
        visit.call(&self.call_soon)?;
        visit.call(&self.create_future)?;
        visit.call(&self.broadcaster)?;
        visit.call(&self.positions)?;
        visit.call(self.round_trips.histogram())?;
        for cell in [&self.owner, &self.transport, &self.end_turn, &self.on_stray] {
            if let Ok(value) = cell.read() {
                visit.call(&*value)?;
            }
        }
        if let Ok(drain) = self.drain.read() {
            visit.call(&*drain)?;
        }
        if let Ok(waiters) = self.drain_waiters.read() {
            for waiter in waiters.iter() {
                visit.call(waiter)?;
            }
        }
        self.standing.traverse(visit)?;
        self.fates.traverse(visit)
    }

    pub(super) fn clear(&self) {
        for cell in [&self.owner, &self.transport, &self.end_turn, &self.on_stray] {
            if let Ok(mut value) = cell.lock() {
                value.take();
            }
        }
        if let Ok(mut drain) = self.drain.lock() {
            drain.take();
        }
        if let Ok(mut waiters) = self.drain_waiters.lock() {
            waiters.clear();
        }
        if let Ok(outbox) = self.outbox.read() {
            self.fates.end(outbox.messages(), outbox.has_begun_message());
        }
        // What can't be cleared is in use: there is no such object in a cycle that nobody reaches.
        let _ = self.standing.clear();
        self.fates.clear();
    }
}
