//! Typed decode into message objects and encode out of them.

use pyo3::prelude::*;

/// Adds the codec's Python names to `module`.
pub(crate) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
