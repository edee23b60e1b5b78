//! Queued messages, decoded as whoever pulls them asks for.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{State, count};
use crate::codec::Decoder;
use crate::columns::{Columns, Reader};
use crate::queue::Front;

/// Messages in one batch: enough that what a batch costs is nothing to each of them, few enough that they are made, used
/// and freed within the core's own cache (some 50 KiB of objects); one read can bring thousands.
const MAX_BATCH: usize = 256;

/// Messages in one batch of columns: these have no objects to make, and who computes on them wants many at once.
const MAX_ROWS: usize = 4096;

/// Rows after which a batch is asked whether its texts have reached their bound.
const ROWS_BETWEEN_CHECKS: usize = 64;

impl State {
    /// The next queued message, decoded; `None` when nothing is queued. A message that fails to decode is consumed.
    #[inline]
    pub(crate) fn pull_one<'py>(&self, py: Python<'py>, decoder: &Decoder) -> PyResult<Option<Bound<'py, PyAny>>> {
        let outcome = {
            let mut queue = self.queue.lock()?;
            let Some((payload, format)) = queue.front() else { return Ok(None) };
            let outcome = decoder.decode_queued(py, &payload, format);
            queue.pop(py);
            outcome
        };
        self.resume_if_drained(py)?;
        outcome.map(Some).inspect_err(|_| count(&self.decode_errors))
    }

    /// Queued messages, decoded, up to [`MAX_BATCH`]; stops before one that fails, so that the next call raises for it alone.
    pub(crate) fn pull_all<'py>(&self, py: Python<'py>, decoder: &Decoder) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut failure = None;
        let batch = {
            let mut queue = self.queue.lock()?;
            if queue.len() == 0 {
                return Ok(None);
            }
            let batch = PyList::empty(py);
            while batch.len() < MAX_BATCH
                && let Some((payload, format)) = queue.front()
            {
                match decoder.decode_queued(py, &payload, format) {
                    Ok(message) => batch.append(message)?,
                    Err(error) => {
                        if batch.is_empty() {
                            queue.pop(py);
                            failure = Some(error);
                        }
                        break;
                    }
                }
                queue.pop(py);
            }
            batch
        };
        self.resume_if_drained(py)?;
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
        {
            let mut queue = self.queue.lock()?;
            if queue.len() == 0 {
                return Ok(None);
            }
            let rows = queue.len().min(MAX_ROWS);
            reader.reserve(rows);
            while reader.rows() < rows
                && let Some((payload, format)) = queue.front()
            {
                let payload = match payload {
                    Front::Small(payload) => payload,
                    Front::Big(bytes) => bytes.as_bytes(py),
                };
                if let Err(error) = reader.read(py, payload, format) {
                    if reader.rows() == 0 {
                        queue.pop(py);
                        failure = Some(error);
                    }
                    break;
                }
                queue.pop(py);
                if reader.rows().is_multiple_of(ROWS_BETWEEN_CHECKS) && reader.is_full() {
                    break;
                }
            }
        }
        let columns = reader.finish();
        self.resume_if_drained(py)?;
        match failure {
            Some(error) => {
                count(&self.decode_errors);
                Err(error)
            }
            None => Ok(Some(columns)),
        }
    }
}
