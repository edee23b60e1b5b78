//! Messages as columns.
mod arrow;
mod batch;
mod building;
mod column;
mod layout;

pub(crate) use batch::Columns;
pub(crate) use building::Building;
pub(crate) use column::Column;
impl Building { pub(crate) fn test_fill(&mut self, o: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<()> { match self.fill(o)? { building::Filled::Row => Ok(()), building::Filled::Misfit(m) => Err(pyo3::exceptions::PyValueError::new_err((m.path, m.message))) } } }
