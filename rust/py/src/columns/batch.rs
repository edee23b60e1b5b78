//! `Columns`: the messages of one batch.

use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyTuple};
use websocket_utils_core::codec::columns::{Batch, Column as Data};

use super::arrow::Source;
use super::column::Column;
use super::layout::Layout;

/// Messages as columns, a row for each.
#[pyclass(frozen, weakref, module = "websocket_utils._core")]
pub(crate) struct Columns {
    rows: usize,
    data: Box<[Arc<Data>]>,
    layout: Arc<Layout>,
}

impl Columns {
    pub(super) fn new(batch: Batch, layout: Arc<Layout>) -> Self {
        Self { rows: batch.rows, data: batch.columns.into_iter().map(Arc::new).collect(), layout }
    }

    fn column(&self, index: usize) -> Column {
        Column::new(Arc::clone(&self.data[index]), Arc::clone(&self.layout), index, false)
    }

    fn source(&self) -> Source {
        Source::Batch(self.layout.arrow_names(), self.data.clone(), self.rows)
    }
}

#[pymethods]
impl Columns {
    /// Names of the columns, in the order of the fields.
    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.layout.names())
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    fn __getitem__(&self, name: &str) -> PyResult<Column> {
        match self.layout.names().iter().position(|known| known == name) {
            Some(index) => Ok(self.column(index)),
            None => Err(PyKeyError::new_err(format!("{}: {} has no such column", name, self.layout.type_name()))),
        }
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<&str>().is_ok_and(|name| self.layout.names().iter().any(|known| known == name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.names(py)?.try_iter()
    }

    /// The columns by name.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let columns = PyDict::new(py);
        for (index, name) in self.layout.names().iter().enumerate() {
            columns.set_item(name, self.column(index))?;
        }
        Ok(columns)
    }

    fn __repr__(&self) -> String {
        format!("<Columns of {}: {} rows>", self.layout.type_name(), self.rows)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.source().schema_capsule(py)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        // A wish: who has another type hands out what he has.
        let _ = requested_schema;
        self.source().array_capsules(py)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = requested_schema;
        self.source().stream_capsule(py)
    }
}
