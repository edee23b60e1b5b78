//! Durations, as a histogram of bounded size whatever is recorded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram as Buckets;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// An hour: what takes longer counts as that long.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Values are told apart to 1 %.
const SIGNIFICANT_DIGITS: u8 = 2;

#[derive(Clone, Debug)]
struct Recorded {
    /// Made by the first value: 37 KiB, which an object that measures nothing has no use for.
    buckets: Option<Buckets<u64>>,
    min: u64,
    max: u64,
    sum: u128,
}

/// Durations in nanoseconds: exact count, least, most and mean; quantiles to 1 %.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Histogram {
    recorded: Mutex<Recorded>,
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self { recorded: Mutex::new(Recorded { buckets: None, min: 0, max: 0, sum: 0 }) }
    }

    /// Nothing that is done while it is locked leaves it half done.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one duration.
    pub(crate) fn record(&self, value: u64) -> PyResult<()> {
        let value = value.min(LONGEST_NS);
        let mut recorded = self.lock();
        let recorded = &mut *recorded;
        let buckets = match &mut recorded.buckets {
            Some(buckets) => buckets,
            none => {
                recorded.min = value;
                let made = Buckets::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS);
                none.insert(made.map_err(|error| PyRuntimeError::new_err(error.to_string()))?)
            }
        };
        buckets.saturating_record(value);
        recorded.min = recorded.min.min(value);
        recorded.max = recorded.max.max(value);
        recorded.sum += u128::from(value);
        Ok(())
    }
}

impl Recorded {
    fn count(&self) -> u64 {
        self.buckets.as_ref().map_or(0, Buckets::len)
    }
}

#[pymethods]
impl Histogram {
    #[new]
    const fn py_new() -> Self {
        Self::new()
    }

    /// Counts one duration: below zero as zero, over an hour as an hour.
    #[pyo3(name = "record", signature = (value_ns, /))]
    fn py_record(&self, value_ns: i64) -> PyResult<()> {
        self.record(u64::try_from(value_ns).unwrap_or(0))
    }

    /// How many durations were recorded.
    #[getter]
    fn count(&self) -> u64 {
        self.lock().count()
    }

    /// The least of them; 0 where there is none.
    #[getter]
    fn min(&self) -> u64 {
        self.lock().min
    }

    /// The most of them; 0 where there is none.
    #[getter]
    fn max(&self) -> u64 {
        self.lock().max
    }

    /// Their mean; 0 where there is none.
    #[getter]
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float, and 53 bits are more than anybody measures")]
    fn mean(&self) -> f64 {
        let recorded = self.lock();
        recorded.sum as f64 / recorded.count().max(1) as f64
    }

    /// The duration that the part `q` (0 to 1) of them does not exceed, to 1 %; 0 where there is none.
    #[pyo3(signature = (q, /))]
    fn quantile(&self, q: f64) -> PyResult<u64> {
        if !(0.0..=1.0).contains(&q) {
            return Err(PyValueError::new_err(format!("a quantile is a number from 0 to 1, not {q}")));
        }
        let recorded = self.lock();
        let Some(buckets) = &recorded.buckets else { return Ok(0) };
        // A bucket is named by its end, which may lie behind all that is in it.
        Ok(buckets.value_at_quantile(q).clamp(recorded.min, recorded.max))
    }

    /// What it holds now, as one of its own.
    fn copy(&self) -> Self {
        Self { recorded: Mutex::new(self.lock().clone()) }
    }

    fn __repr__(&self) -> PyResult<String> {
        let count = self.count();
        let (median, tail, max) = (self.quantile(0.5)?, self.quantile(0.99)?, self.max());
        Ok(format!("<Histogram of {count}: median {median} ns, 99 % {tail} ns, most {max} ns>"))
    }
}
