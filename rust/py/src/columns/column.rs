//! `Column`: the values of one field, as NumPy, Arrow and plain Python take them.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::exceptions::{PyAttributeError, PyBufferError, PyIndexError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyString, PyTuple};
use pyo3::{IntoPyObjectExt, ffi};
use websocket_utils_core::codec::columns::{Column as Data, Values};

use super::arrow::{self, Source};
use super::layout::Layout;

/// One column of a batch. Its values never change, and outlive the batch.
#[pyclass(frozen, weakref, module = "websocket_utils._core")]
pub(crate) struct Column {
    data: Arc<Data>,
    layout: Arc<Layout>,
    index: usize,
    /// The numbers that name categories, not what they name.
    is_codes: bool,
    /// Of the buffer: number of values, and bytes from one to the next.
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

/// How the values lie in memory.
struct Item {
    /// What Python calls the type.
    dtype: &'static str,
    /// As `struct` writes it.
    format: &'static CStr,
    /// As NumPy's array interface writes it, in this machine's byte order.
    typestr: &'static str,
    size: usize,
}

const fn item(dtype: &'static str, format: &'static CStr, typestrs: [&'static str; 2], size: usize) -> Item {
    Item { dtype, format, typestr: typestrs[cfg!(target_endian = "big") as usize], size }
}

const INT32: Item = item("int32", c"i", ["<i4", ">i4"], 4);

impl Column {
    pub(super) fn new(data: Arc<Data>, layout: Arc<Layout>, index: usize, is_codes: bool) -> Self {
        let mut column = Self { data, layout, index, is_codes, shape: [0], strides: [0] };
        let size = column.item().map_or(0, |item| item.size);
        column.shape = [arrow::buffer(&column.data.values).0.cast_signed()];
        column.strides = [size.cast_signed()];
        column
    }

    /// How the values lie in memory; None if they are text or bytes.
    fn item(&self) -> Option<Item> {
        Some(match &self.data.values {
            Values::Float64(_) => item("float64", c"d", ["<f8", ">f8"], 8),
            Values::Float32(_) => item("float32", c"f", ["<f4", ">f4"], 4),
            Values::Int64(_) => item("int64", c"q", ["<i8", ">i8"], 8),
            Values::UInt64(_) => item("uint64", c"Q", ["<u8", ">u8"], 8),
            Values::Int32(_) => INT32,
            Values::UInt32(_) => item("uint32", c"I", ["<u4", ">u4"], 4),
            Values::Bool(_) => item("bool", c"?", ["|b1", "|b1"], 1),
            Values::Text(..) | Values::Bytes(..) => return self.is_codes.then_some(INT32),
        })
    }

    /// The numbers as they lie in memory, where every row has one (or a float that says that it has none).
    fn numbers(&self) -> Result<Item, &'static str> {
        let item = self.item().ok_or("holds text: its numbers are its `codes`")?;
        if self.null_count() > 0 && !item.dtype.starts_with("float") {
            return Err("has rows without a value, which plain numbers can't say");
        }
        Ok(item)
    }

    fn name(&self) -> &str {
        self.layout.name(self.index)
    }

    fn explained(&self, what: &str) -> String {
        format!("column {:?} {what}", self.name())
    }

    /// The value of a row, None where it has none.
    fn value<'py>(
        &self,
        py: Python<'py>,
        row: usize,
        texts: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if !self.is_codes && self.data.validity.as_ref().is_some_and(|validity| !validity.has_value(row)) {
            return Ok(py.None().into_bound(py));
        }
        match &self.data.values {
            Values::Float64(items) => items[row].into_bound_py_any(py),
            Values::Float32(items) => items[row].into_bound_py_any(py),
            Values::Int64(items) => items[row].into_bound_py_any(py),
            Values::UInt64(items) => items[row].into_bound_py_any(py),
            Values::Int32(items) => items[row].into_bound_py_any(py),
            Values::UInt32(items) => items[row].into_bound_py_any(py),
            Values::Bool(items) => (items[row] != 0).into_bound_py_any(py),
            Values::Text(codes, categories) | Values::Bytes(codes, categories) => match texts {
                _ if self.is_codes => codes[row].into_bound_py_any(py),
                Some(texts) => texts.get_item(codes[row].cast_unsigned() as usize),
                None => self.category(py, categories.text(codes[row]).unwrap_or_default()),
            },
        }
    }

    fn category<'py>(&self, py: Python<'py>, category: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self.data.values {
            Values::Bytes(..) => Ok(PyBytes::new(py, category).into_any()),
            _ => PyString::from_bytes(py, category).map(Bound::into_any),
        }
    }

    /// All categories as Python has them, those of the batches before mostly; None for numbers.
    fn texts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let (Values::Text(_, categories) | Values::Bytes(_, categories)) = &self.data.values else { return Ok(None) };
        if self.is_codes {
            return Ok(None);
        }
        if let Some(known) = self.layout.known_texts(py, self.index, categories) {
            return Ok(Some(known));
        }
        let codes = 0..i32::try_from(categories.len()).unwrap_or(i32::MAX);
        let texts: PyResult<Vec<_>> =
            codes.map(|code| self.category(py, categories.text(code).unwrap_or_default())).collect();
        let texts = PyTuple::new(py, texts?)?;
        self.layout.remember_texts(self.index, categories, &texts);
        Ok(Some(texts))
    }

    fn source(&self) -> Source {
        let (name, data) = (self.layout.arrow_name(self.index), Arc::clone(&self.data));
        if self.is_codes { Source::Codes(name, data) } else { Source::Column(name, data) }
    }
}

#[pymethods]
impl Column {
    /// Name of the field.
    #[getter(name)]
    fn py_name(&self) -> &str {
        self.name()
    }

    /// Type of the values: as NumPy names it, or "text" or "bytes".
    #[getter]
    fn dtype(&self) -> &'static str {
        match (&self.data.values, self.item()) {
            (_, Some(item)) => item.dtype,
            (Values::Bytes(..), None) => "bytes",
            (_, None) => "text",
        }
    }

    /// Rows without a value.
    #[getter]
    fn null_count(&self) -> usize {
        match &self.data.validity {
            Some(validity) if !self.is_codes => validity.nulls(),
            _ => 0,
        }
    }

    /// For each row the place of its text among `categories`, -1 where it has none.
    #[getter]
    fn codes(&self) -> PyResult<Self> {
        if self.item().is_some() {
            return Err(PyAttributeError::new_err(self.explained("holds numbers: it has no codes")));
        }
        Ok(Self::new(Arc::clone(&self.data), Arc::clone(&self.layout), self.index, true))
    }

    /// The different texts, among them those of batches before.
    #[getter]
    fn categories<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let texts = self.texts(py)?;
        texts.ok_or_else(|| PyAttributeError::new_err(self.explained("holds numbers: it has no categories")))
    }

    fn __len__(&self) -> usize {
        self.shape[0].cast_unsigned()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        let rows = self.shape[0];
        let outside = || PyIndexError::new_err(self.explained(&format!("has {rows} rows, not row {index}")));
        let index: ffi::Py_ssize_t = index
            .extract()
            .map_err(|error: PyErr| if error.is_instance_of::<PyOverflowError>(py) { outside() } else { error })?;
        let from_start = if index < 0 { index + rows } else { index };
        if (0..rows).contains(&from_start) { self.value(py, from_start.cast_unsigned(), None) } else { Err(outside()) }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.tolist(py)?.try_iter()
    }

    /// The values as Python has them, None where a row has none.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let texts = self.texts(py)?;
        let list = PyList::empty(py);
        for row in 0..self.__len__() {
            list.append(self.value(py, row, texts.as_ref())?)?;
        }
        Ok(list)
    }

    /// The values as a NumPy array: numbers where they are, text as objects.
    fn to_numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("numpy")?.call_method1("asarray", (slf,))
    }

    fn __repr__(&self) -> String {
        let codes = if self.is_codes { "codes of " } else { "" };
        format!("<Column {codes}{}: {} x {}>", self.name(), self.__len__(), self.dtype())
    }

    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let item = self.numbers().map_err(|what| PyAttributeError::new_err(self.explained(what)))?;
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("shape", (self.shape[0],))?;
        interface.set_item("typestr", item.typestr)?;
        interface.set_item("data", (arrow::buffer(&self.data.values).1 as usize, true))?;
        Ok(interface)
    }

    /// For what is no plain memory of numbers: NumPy asks the buffer and the array interface first.
    #[pyo3(signature = (dtype=None, *, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let numpy = py.import("numpy")?;
        let options = PyDict::new(py);
        if slf.get().numbers().is_ok() {
            options.set_item("dtype", dtype)?;
            options.set_item("copy", copy)?;
            let view = py.import("builtins")?.call_method1("memoryview", (slf,))?;
            return numpy.call_method("array", (view,), Some(&options));
        }
        if copy == Some(false) {
            let name = slf.get().name();
            return Err(PyValueError::new_err(format!("column {name:?} can't be a NumPy array without a copy")));
        }
        let object = py.import("builtins")?.getattr("object")?;
        options.set_item("dtype", dtype.unwrap_or(object))?;
        numpy.call_method("array", (slf.get().tolist(py)?,), Some(&options))
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

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let column = slf.get();
        let refused = |what: &str| PyBufferError::new_err(column.explained(what));
        let item = column.numbers().map_err(refused)?;
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(refused("can't be written to"));
        }
        let (_, values) = arrow::buffer(&column.data.values);
        let asks = |what: c_int| flags & what == what;
        let shape = if asks(ffi::PyBUF_ND) { column.shape.as_ptr().cast_mut() } else { ptr::null_mut() };
        let strides = if asks(ffi::PyBUF_STRIDES) { column.strides.as_ptr().cast_mut() } else { ptr::null_mut() };
        let format = if asks(ffi::PyBUF_FORMAT) { item.format.as_ptr().cast_mut() } else { ptr::null_mut() };
        // SAFETY: the interpreter passes a place for a view. Values, shape and strides live as long as this object, which
        // the view holds; the view is read-only, so that nobody writes through these pointers.
        unsafe {
            (*view).buf = values.cast_mut();
            (*view).len = column.shape[0] * column.strides[0];
            (*view).readonly = 1;
            (*view).itemsize = column.strides[0];
            (*view).format = format;
            (*view).ndim = 1;
            (*view).shape = shape;
            (*view).strides = strides;
            (*view).suboffsets = ptr::null_mut();
            (*view).internal = ptr::null_mut::<c_void>();
            (*view).obj = slf.clone().into_any().into_ptr();
        }
        Ok(())
    }
}
