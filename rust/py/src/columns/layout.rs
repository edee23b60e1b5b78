//! What all batches of one stream have in common.

use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use websocket_utils_core::codec::columns::Categories;

/// Texts as Python has them.
type Known = (Arc<Categories>, Py<PyTuple>);

/// Names of the columns, and the categories that were made Python objects last.
pub(crate) struct Layout {
    type_name: String,
    names: Vec<String>,
    arrow_names: Arc<[CString]>,
    /// For each column; never locked while Python code can run.
    texts: Box<[Mutex<Option<Known>>]>,
}

impl Layout {
    pub(super) fn new(type_name: String, names: Vec<String>) -> PyResult<Self> {
        let arrow_name = |name: &String| {
            CString::new(name.as_str()).map_err(|_| PyTypeError::new_err(format!("field {name:?} can't name a column")))
        };
        let arrow_names: Arc<[CString]> = names.iter().map(arrow_name).collect::<PyResult<_>>()?;
        let texts = names.iter().map(|_| Mutex::new(None)).collect();
        Ok(Self { type_name, names, arrow_names, texts })
    }

    pub(super) fn type_name(&self) -> &str {
        &self.type_name
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    pub(super) fn arrow_names(&self) -> Arc<[CString]> {
        Arc::clone(&self.arrow_names)
    }

    pub(super) fn arrow_name(&self, index: usize) -> CString {
        self.arrow_names[index].clone()
    }

    /// The texts of these categories, if they were the column's last ones.
    pub(super) fn known_texts<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        categories: &Arc<Categories>,
    ) -> Option<Bound<'py, PyTuple>> {
        let known = self.texts[index].lock().unwrap_or_else(PoisonError::into_inner);
        let (of, texts) = known.as_ref()?;
        Arc::ptr_eq(of, categories).then(|| texts.bind(py).clone())
    }

    pub(super) fn remember_texts(&self, index: usize, categories: &Arc<Categories>, texts: &Bound<'_, PyTuple>) {
        let new = Some((Arc::clone(categories), texts.clone().unbind()));
        let replaced = {
            let mut known = self.texts[index].lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, new)
        };
        drop(replaced);
    }
}
