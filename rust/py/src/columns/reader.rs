//! Reads a stream of messages into columns.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple};
use websocket_utils_core::codec::columns::{Cell, Choices, Dtype, Missing, Rows, Spec};
use websocket_utils_core::codec::{Refused, Sink};

use super::batch::Columns;
use super::layout::Layout;
use crate::codec::{Decoder, WireFormat};

pyo3::import_exception!(websocket_utils.exceptions, DecodeError);

/// Reads messages of one class into columns.
pub(crate) struct Reader {
    class: Arc<Class>,
    rows: Rows,
}

/// A class as columns.
struct Class {
    decoder: Decoder,
    specs: Vec<Spec>,
    layout: Arc<Layout>,
    fields: Box<[Field]>,
    /// Messages are dictionaries, not instances with attributes.
    is_dict: bool,
}

/// Classes that are remembered; describing one takes as long as reading hundreds of messages.
const CACHE_ENTRIES: usize = 64;

/// Classes by type and strictness.
static CACHE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// A class as a Python object can hold it.
#[pyclass(frozen)]
struct Cached(Arc<Class>);

struct Field {
    name: Py<PyString>,
    encode_name: String,
    dtype: Dtype,
    dtype_name: String,
    nullable: bool,
}

/// A value that its column can't hold.
struct Misfit {
    path: String,
    message: String,
}

/// Why an object is no row.
enum Unfilled {
    Misfit(Misfit),
    /// What Python code of its class raised.
    Raised(PyErr),
}

impl From<PyErr> for Unfilled {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<pyo3::CastError<'_, '_>> for Unfilled {
    fn from(error: pyo3::CastError<'_, '_>) -> Self {
        Self::Raised(error.into())
    }
}

fn dtype_named(name: &str) -> PyResult<Dtype> {
    Ok(match name {
        "float64" => Dtype::Float64,
        "float32" => Dtype::Float32,
        "int64" => Dtype::Int64,
        "uint64" => Dtype::UInt64,
        "int32" => Dtype::Int32,
        "uint32" => Dtype::UInt32,
        "bool" => Dtype::Bool,
        "text" => Dtype::Text,
        "bytes" => Dtype::Bytes,
        _ => return Err(PyTypeError::new_err(format!("no column holds {name}"))),
    })
}

fn choices_of(choices: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Option<Choices>> {
    if choices.is_none() {
        return Ok(None);
    }
    Ok(Some(if dtype == Dtype::Text {
        let texts: Vec<String> = choices.extract()?;
        Choices::Texts(texts.into_iter().map(Into::into).collect())
    } else {
        Choices::Integers(choices.extract::<Vec<i64>>()?.into())
    }))
}

/// What a row has where its message has nothing. The default was checked to fit when the column was described.
fn missing_of(default: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Missing> {
    Ok(match dtype {
        _ if default.is_none() => Missing::Null,
        Dtype::Float64 | Dtype::Float32 => Missing::Float(default.extract()?),
        Dtype::Bool => Missing::Bool(default.extract()?),
        Dtype::Text => Missing::Bytes(default.extract::<String>()?.into_bytes().into()),
        Dtype::Bytes => Missing::Bytes(default.extract::<Vec<u8>>()?.into()),
        Dtype::Int64 | Dtype::UInt64 | Dtype::Int32 | Dtype::UInt32 => match default.extract() {
            Ok(value) => Missing::Signed(value),
            Err(_) => Missing::Unsigned(default.extract()?),
        },
    })
}

impl Class {
    /// Describes `type_`, or takes it from the bounded cache.
    fn of(type_: &Bound<'_, PyAny>, strict: bool) -> PyResult<Arc<Self>> {
        let py = type_.py();
        let cache = CACHE.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
        let key = (type_, strict);
        // A type that can't be hashed is described each time.
        if let Ok(Some(known)) = cache.get_item(key) {
            return Ok(Arc::clone(&known.cast::<Cached>()?.get().0));
        }
        let class = Arc::new(Self::new(type_, strict)?);
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        let _ = cache.set_item(key, Bound::new(py, Cached(Arc::clone(&class)))?);
        Ok(class)
    }

    fn new(type_: &Bound<'_, PyAny>, strict: bool) -> PyResult<Self> {
        let py = type_.py();
        let decoder = Decoder::compile_for(type_, strict)?;
        let type_ = &Decoder::target_type(type_);
        let described = py.import("websocket_utils._columns")?.call_method1("column_fields", (type_,))?;
        let (is_dict, described): (bool, Vec<Bound<'_, PyTuple>>) = described.extract()?;
        let (mut fields, mut names, mut specs) = (Vec::new(), Vec::new(), Vec::new());
        for field in described {
            let name = field.get_item(0)?.cast_into::<PyString>()?;
            let dtype_name: String = field.get_item(2)?.extract()?;
            let (dtype, nullable) = (dtype_named(&dtype_name)?, field.get_item(3)?.extract()?);
            let choices = choices_of(&field.get_item(4)?, dtype)?;
            let has_default: bool = field.get_item(5)?.extract()?;
            let missing = if has_default { missing_of(&field.get_item(6)?, dtype)? } else { Missing::Refuse };
            specs.push(Spec { dtype, nullable, choices, missing });
            names.push(name.to_str()?.to_owned());
            let encode_name = field.get_item(1)?.extract()?;
            fields.push(Field { name: name.unbind(), encode_name, dtype, dtype_name, nullable });
        }
        let type_name = type_.getattr("__name__").and_then(|name| name.extract()).unwrap_or_else(|_| type_.to_string());
        let layout = Arc::new(Layout::new(type_name, names)?);
        Ok(Self { decoder, specs, layout, fields: fields.into(), is_dict })
    }
}

impl Reader {
    /// Prepares for messages of `type_`.
    ///
    /// # Errors
    /// `TypeError` that says what is wrong with a type, or which field of it has no column form.
    pub(crate) fn new(type_: &Bound<'_, PyAny>, strict: bool) -> PyResult<Self> {
        let class = Class::of(type_, strict)?;
        Ok(Self { rows: Rows::new(class.specs.clone()), class })
    }

    /// The rows since the last batch, given away.
    pub(crate) fn finish(&mut self) -> Columns {
        Columns::new(self.rows.finish(), Arc::clone(&self.class.layout))
    }

    /// Rows since the last batch.
    pub(crate) const fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Makes room for a batch of so many rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows);
    }

    /// The batch should end: its texts have reached the bound of a stream.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.is_full()
    }

    /// Adds a row for one payload, or none.
    ///
    /// # Errors
    /// `DecodeError` for a payload that is no such message, or has a value that its column can't hold.
    #[inline]
    pub(crate) fn read(&mut self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<()> {
        let stop = match self.class.decoder.scan(payload, format, &mut self.rows) {
            Ok(_) if self.rows.commit() => return Ok(()),
            Ok(_) => None,
            Err(stop) => stop,
        };
        self.read_completely(py, payload, format, stop)
    }

    #[cold]
    fn read_completely(
        &mut self,
        py: Python<'_>,
        payload: &[u8],
        format: WireFormat,
        stop: Option<usize>,
    ) -> PyResult<()> {
        let message = self.class.decoder.decode_completely(py, payload, format, stop)?;
        self.fill(&message).map_err(|unfilled| match unfilled {
            Unfilled::Misfit(misfit) => misfit.into_error(py, payload, format),
            Unfilled::Raised(error) => error,
        })
    }

    /// Makes a row of a message that the complete decoder decoded.
    fn fill(&mut self, message: &Bound<'_, PyAny>) -> Result<(), Unfilled> {
        let values = self.class.values(message)?;
        let internal = || Unfilled::Raised(PyTypeError::new_err("internal error: a row without all of its values"));
        let mut row = self.rows.begin_record(0).map_err(|Refused| internal())?;
        for (index, (field, value)) in self.class.fields.iter().zip(&values).enumerate() {
            let cell = match value {
                None if field.nullable => Some(Cell::NULL),
                None => None,
                Some(value) => field.cell(value, &mut self.rows),
            };
            if !cell.is_some_and(|cell| self.rows.try_put(&mut row, index, cell)) {
                return Err(Unfilled::Misfit(field.misfit(value.as_ref())));
            }
        }
        self.rows.end_record(row).map_err(|Refused| internal())?;
        if self.rows.commit() { Ok(()) } else { Err(internal()) }
    }
}

impl Class {
    /// The value of each field, None where there is none. All Python code runs here, while no row is being built.
    fn values<'py>(&self, message: &Bound<'py, PyAny>) -> Result<Vec<Option<Bound<'py, PyAny>>>, Unfilled> {
        let py = message.py();
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let value = if self.is_dict {
                message.cast::<PyDict>()?.get_item(&field.name)?
            } else {
                Some(message.getattr(field.name.bind(py))?)
            };
            values.push(match value {
                Some(value) if is_plain(&value) => Some(value),
                Some(value) if value.is_none() || is_unset(&value)? => None,
                Some(value) if is_member(&value)? => Some(value.getattr(intern!(py, "value"))?),
                value => value,
            });
        }
        Ok(values)
    }
}

/// True for what msgspec leaves in a field that was absent.
fn is_unset(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.is(&value.py().import(intern!(value.py(), "msgspec"))?.getattr(intern!(value.py(), "UNSET"))?))
}

fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
}

/// True for a member of an enum.
fn is_member(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(&value.py().import(intern!(value.py(), "enum"))?.getattr(intern!(value.py(), "Enum"))?)
}

impl Field {
    /// The value as a cell; None if the column holds values of another type.
    fn cell(&self, value: &Bound<'_, PyAny>, rows: &mut Rows) -> Option<Cell<'static>> {
        match self.dtype {
            Dtype::Float64 | Dtype::Float32 => {
                let is_number = value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>();
                if is_number { value.extract().ok().map(Cell::float) } else { None }
            }
            Dtype::Bool => value.extract::<bool>().ok().map(Cell::boolean),
            Dtype::Int64 | Dtype::UInt64 | Dtype::Int32 | Dtype::UInt32 => {
                let signed = || value.extract().ok().map(Cell::signed);
                if value.is_instance_of::<PyInt>() {
                    signed().or_else(|| value.extract().ok().map(Cell::unsigned))
                } else {
                    None
                }
            }
            Dtype::Text => value.extract::<&str>().ok().map(|text| rows.keep(text.as_bytes())),
            Dtype::Bytes => value.cast::<PyBytes>().ok().map(|bytes| rows.keep(bytes.as_bytes())),
        }
    }

    fn misfit(&self, value: Option<&Bound<'_, PyAny>>) -> Misfit {
        let path = format!("$.{}", self.encode_name);
        let Some(value) = value else {
            return Misfit { path, message: format!("no value, where the column holds {}", self.dtype_name) };
        };
        let shown = value.repr().map_or_else(|_| "a value".to_owned(), |repr| repr.to_string());
        let help = match (value.extract::<i64>(), value.extract::<u64>(), self.dtype) {
            _ if !value.is_instance_of::<PyInt>() => "",
            (Ok(_), _, Dtype::UInt64 | Dtype::Int32 | Dtype::UInt32) => ": annotate the field `Int64`",
            (Err(_), Ok(_), Dtype::Int64 | Dtype::Int32 | Dtype::UInt32) => ": annotate the field `UInt64`",
            _ => "",
        };
        Misfit { path, message: format!("{shown} does not fit into a column of {}{help}", self.dtype_name) }
    }
}

impl Misfit {
    fn into_error(self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyErr {
        let make = || {
            let details = PyDict::new(py);
            details.set_item("format", format.name())?;
            details.set_item("path", self.path)?;
            details.set_item("raw", PyBytes::new(py, payload))?;
            py.get_type::<DecodeError>().call((self.message,), Some(&details))
        };
        make().map_or_else(|error| error, PyErr::from_value)
    }
}
