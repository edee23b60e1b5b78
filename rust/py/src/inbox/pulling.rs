//! Queued messages, decoded as whoever pulls them asks for.

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyTuple};

use super::store::Store;
use super::{State, count};
use crate::clock::monotonic_ns;
use crate::codec::Decoder;
use crate::columns::{Columns, Reader};

/// Messages in one batch: enough that what a batch costs is nothing to each of them, few enough that they are made, used
/// and freed within the core's own cache (some 50 KiB of objects); one read can bring thousands.
const MAX_BATCH: usize = 256;

/// Messages in one batch of columns: these have no objects to make, and who computes on them wants many at once.
const MAX_ROWS: usize = 4096;

/// Rows after which a batch is asked whether its texts have reached their bound.
const ROWS_BETWEEN_CHECKS: usize = 64;

/// The moment at which messages are taken, asked for once and only where a read's first message is among them.
#[derive(Default)]
struct Now(Option<u64>);

impl State {
    /// Notes how long after its read a message reaches the strategy.
    #[inline(never)]
    pub(super) fn measure(&self, py: Python<'_>, read: u64) -> PyResult<()> {
        self.ages.bind(py).get().record(monotonic_ns().saturating_sub(read))
    }

    /// Removes the front message, which has been handed out.
    #[inline]
    fn take_out(&self, py: Python<'_>, store: &mut Store, now: &mut Now) -> PyResult<()> {
        if store.pop(py) {
            let now = *now.0.get_or_insert_with(monotonic_ns);
            self.ages.bind(py).get().record(now.saturating_sub(store.stamp().monotonic))?;
        }
        Ok(())
    }

    /// Ends a pull: notes when its last message was read, and forgets the events that it passed.
    #[inline]
    fn end_pull(&self, py: Python<'_>) -> PyResult<()> {
        let has_events = {
            let store = self.store.read()?;
            self.last_received.set(store.stamp().wall);
            store.has_events()
        };
        if has_events {
            // Dropped when nothing is borrowed.
            let passed = self.store.lock()?.take_passed();
            drop(passed);
        }
        self.resume_if_drained(py)
    }

    /// The next event or queued message, whichever stands first.
    pub(crate) fn pull_event<'py>(
        &self,
        py: Python<'py>,
        decoder: &Decoder,
        is_stamped: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let event = {
            let mut store = self.store.lock()?;
            if store.has_events() { store.pop_event() } else { None }
        };
        match event {
            Some((event, told)) => {
                let event = event.into_bound(py);
                if is_stamped { stamped(&told.into_pyobject(py)?, &event).map(Some) } else { Ok(Some(event)) }
            }
            None => self.pull_one(py, decoder, is_stamped),
        }
    }

    /// The next queued message, decoded; `None` when nothing is queued. A message that fails to decode is consumed.
    #[inline]
    pub(crate) fn pull_one<'py>(
        &self,
        py: Python<'py>,
        decoder: &Decoder,
        is_stamped: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let outcome = {
            let mut store = self.store.lock()?;
            let Some((payload, format)) = store.front() else { return Ok(None) };
            let outcome = decoder.decode_queued(py, &payload, format);
            self.take_out(py, &mut store, &mut Now::default())?;
            outcome
        };
        self.end_pull(py)?;
        let message = outcome.inspect_err(|_| count(&self.decode_errors))?;
        if is_stamped {
            stamped(&self.last_received.get().into_pyobject(py)?, &message).map(Some)
        } else {
            Ok(Some(message))
        }
    }

    /// Queued messages, decoded, up to [`MAX_BATCH`]; stops before one that fails, so that the next call raises for it alone.
    pub(crate) fn pull_all<'py>(
        &self,
        py: Python<'py>,
        decoder: &Decoder,
        is_stamped: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut failure = None;
        let mut now = Now::default();
        // Messages of one read share the number that says when.
        let mut received: Option<(i64, Bound<'py, PyInt>)> = None;
        let batch = {
            let mut store = self.store.lock()?;
            if store.len() == 0 {
                return Ok(None);
            }
            let batch = PyList::empty(py);
            while batch.len() < MAX_BATCH
                && let Some((payload, format)) = store.front()
            {
                let message = match decoder.decode_queued(py, &payload, format) {
                    Ok(message) => message,
                    Err(error) => {
                        if batch.is_empty() {
                            self.take_out(py, &mut store, &mut now)?;
                            failure = Some(error);
                        }
                        break;
                    }
                };
                self.take_out(py, &mut store, &mut now)?;
                if is_stamped {
                    let wall = store.stamp().wall;
                    let received = match &mut received {
                        Some((known, number)) if *known == wall => number,
                        other => &mut other.insert((wall, wall.into_pyobject(py)?)).1,
                    };
                    batch.append(stamped(received, &message)?)?;
                } else {
                    batch.append(message)?;
                }
            }
            batch
        };
        self.end_pull(py)?;
        match failure {
            Some(error) => {
                count(&self.decode_errors);
                Err(error)
            }
            None => Ok(Some(batch.into_any())),
        }
    }

    /// Queued messages as columns, up to [`MAX_ROWS`]; stops before one that fails, as [`State::pull_all`] does.
    pub(crate) fn pull_columns(&self, py: Python<'_>, reader: &mut Reader) -> PyResult<Option<Columns>> {
        let mut failure = None;
        let mut now = Now::default();
        {
            let mut store = self.store.lock()?;
            if store.len() == 0 {
                return Ok(None);
            }
            let rows = store.len().min(MAX_ROWS);
            reader.reserve(rows);
            while reader.rows() < rows
                && let Some((payload, format)) = store.front()
            {
                if let Err(error) = reader.read(py, payload.as_bytes(py), format) {
                    if reader.rows() == 0 {
                        self.take_out(py, &mut store, &mut now)?;
                        failure = Some(error);
                    }
                    break;
                }
                self.take_out(py, &mut store, &mut now)?;
                if reader.rows().is_multiple_of(ROWS_BETWEEN_CHECKS) && reader.is_full() {
                    break;
                }
            }
        }
        let columns = reader.finish();
        self.end_pull(py)?;
        match failure {
            Some(error) => {
                count(&self.decode_errors);
                Err(error)
            }
            None => Ok(Some(columns)),
        }
    }
}

/// A message, with when it was received.
fn stamped<'py>(received: &Bound<'py, PyInt>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    PyTuple::new(message.py(), [received.as_any(), message]).map(Bound::into_any)
}
