//! Encode of message objects: out of the slots of classes that a plan holds, by msgspec for everything else.

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::rc::Rc;

use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyRecursionError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};
use websocket_utils_core::codec::{Refused, json, msgpack};

use super::class::{self, ClassTag};
use super::{Format, WireFormat, protobuf};

pyo3::import_exception!(websocket_utils.exceptions, EncodeError);

/// How instances of one class are written.
struct Writer {
    /// Offset of each field's slot, in encoding order.
    offsets: Box<[usize]>,
    /// What stands before each value, from the opening brace and the tag to the colon; one more for the end.
    json: Box<[Fixed]>,
    /// What stands before each value: map head and tag in the first; one more for the end.
    msgpack: Box<[Fixed]>,
}

/// Bytes that are the same in every message, padded so that they are copied in whole pieces: a call of memcpy for a few
/// bytes costs more than the copy.
struct Fixed {
    pieces: Box<[[u8; 16]]>,
    length: usize,
}

impl Fixed {
    fn new(bytes: &[u8]) -> Self {
        let piece = |bytes: &[u8]| {
            let mut piece = [0; 16];
            piece[..bytes.len()].copy_from_slice(bytes);
            piece
        };
        Self { pieces: bytes.chunks(16).map(piece).collect(), length: bytes.len() }
    }

    #[inline]
    fn append(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.pieces.len() * 16);
        // SAFETY: there is room for all pieces behind `start`, and the first `length` bytes of them are written.
        unsafe {
            let mut end = out.as_mut_ptr().add(start).cast::<[u8; 16]>();
            for piece in &self.pieces {
                end.write(*piece);
                end = end.add(1);
            }
            out.set_len(start + self.length);
        }
    }
}

/// A class that was seen, and its writer if a plan holds it.
struct Known {
    type_: Py<PyType>,
    writer: Option<Writer>,
    /// Made when the first instance is written in this format.
    protobuf: OnceCell<Rc<protobuf::Writer>>,
}

/// Classes that are remembered: a power of two. A program sends a few dozen.
const ENTRIES: usize = 256;

/// Neighbours that are searched for a class: it takes the first free one, or the place of the one it hashes to.
const PROBES: usize = 8;

struct Cache(UnsafeCell<[Option<Box<Known>>; ENTRIES]>);

// SAFETY: every access is within a function that holds the GIL (the module declares that it needs it), and no Python
// code runs while a reference into the table is alive.
unsafe impl Sync for Cache {}

static CACHE: Cache = Cache(UnsafeCell::new([const { None }; ENTRIES]));

thread_local! {
    /// Memory for one encoded message, kept between messages.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Most memory that is kept.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Lends an empty buffer. Whoever encodes inside of that gets another one.
#[inline]
pub(super) fn with_buffer<T>(use_buffer: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = SPARE.take();
    let value = use_buffer(&mut buffer);
    if buffer.capacity() <= KEPT_CAPACITY {
        buffer.clear();
        SPARE.set(buffer);
    }
    value
}

fn places(type_: *mut ffi::PyTypeObject) -> impl Iterator<Item = usize> {
    // Type objects are far apart and aligned: the middle bits of a product are as good as random.
    let hash = (type_ as usize as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (0..PROBES).map(move |probe| (hash as usize + probe) % ENTRIES)
}

/// Appends the encoded payload (no frame header) of `message` to `out`. On an error `out` is as it was.
///
/// # Errors
/// `EncodeError` when the object or a value in it has no form in `format`.
#[inline]
pub(crate) fn encode(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    format: WireFormat,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let type_ = message.get_type_ptr();
    // SAFETY: the GIL is held. The reference ends before Python code can run: `write` runs none.
    let table = unsafe { &*CACHE.0.get() };
    let known =
        places(type_).find_map(|place| table[place].as_deref().filter(|known| known.type_.as_ptr() == type_.cast()));
    let start = out.len();
    let Some(known) = known else {
        remember(&message.get_type())?;
        return encode(py, message, format, out);
    };
    let WireFormat::Common(format) = format else { return encode_protobuf(py, known, message, out) };
    if let Some(writer) = &known.writer {
        // SAFETY: the GIL is held, and the object is of exactly the class of the writer.
        if unsafe { writer.write(message.as_ptr(), format, out) }.is_ok() {
            return Ok(());
        }
        out.truncate(start);
    }
    encode_by_msgspec(py, message, format, out)
}

/// Appends a message as Protocol Buffers. `known` is good until Python code runs.
#[inline]
fn encode_protobuf(py: Python<'_>, known: &Known, message: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let start = out.len();
    let Some(writer) = known.protobuf.get() else { return compile_protobuf(py, message, out) };
    // Python code may run on the way and make this class forgotten: the writer is held.
    let writer = Rc::clone(writer);
    // SAFETY: the GIL is held, and the message is alive.
    let written = unsafe { writer.write(message.as_ptr(), out) };
    written.map_err(|failure| {
        out.truncate(start);
        encode_error(py, message, "protobuf", protobuf::refusal(failure))
    })
}

/// Compiles the class of a message first.
#[cold]
fn compile_protobuf(py: Python<'_>, message: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let class = message.get_type();
    let writer = protobuf::Writer::compile(&class).map_err(|error| encode_error(py, message, "protobuf", error))?;
    // SAFETY: the GIL is held, and the reference ends before Python code can run.
    let table = unsafe { &*CACHE.0.get() };
    let mut entries = places(class.as_type_ptr()).filter_map(|place| table[place].as_deref());
    match entries.find(|known| known.type_.is(&class)) {
        Some(known) => {
            let _ = known.protobuf.set(Rc::new(writer));
            encode_protobuf(py, known, message, out)
        }
        // Compiling has run Python code, which has encoded so much that the class is forgotten.
        None => encode(py, message, WireFormat::Protobuf, out),
    }
}

#[cold]
fn remember(class: &Bound<'_, PyType>) -> PyResult<()> {
    let writer = Writer::compile(class)?;
    let known = Box::new(Known { type_: class.clone().unbind(), writer, protobuf: OnceCell::new() });
    // SAFETY: the GIL is held, and nothing else refers into the table: `encode` drops its reference before it calls.
    // What is replaced is dropped after the table has been written.
    let replaced = unsafe {
        let table = &mut *CACHE.0.get();
        let mut free = places(class.as_type_ptr()).filter(|place| table[*place].is_none());
        let place = free.next().or_else(|| places(class.as_type_ptr()).next()).unwrap_or_default();
        table[place].replace(known)
    };
    drop(replaced);
    Ok(())
}

#[cold]
fn encode_by_msgspec(py: Python<'_>, message: &Bound<'_, PyAny>, format: Format, out: &mut Vec<u8>) -> PyResult<()> {
    static ENCODERS: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();
    let encoders = ENCODERS.get_or_try_init(py, || {
        let encode = |module| py.import(module)?.getattr("Encoder")?.call0()?.getattr("encode").map(Bound::unbind);
        PyResult::Ok([encode("msgspec.json")?, encode("msgspec.msgpack")?])
    })?;
    let encoded = match format {
        Format::Json => encoders[0].bind(py).call1((message,)),
        Format::MessagePack => encoders[1].bind(py).call1((message,)),
    };
    match encoded {
        Ok(encoded) => {
            out.extend_from_slice(encoded.cast::<PyBytes>()?.as_bytes());
            Ok(())
        }
        Err(error) => Err(encode_error(py, message, format.name(), error)),
    }
}

/// What msgspec says about values it has no form for, as our error; anything else (a property that raised) as it is.
fn encode_error(py: Python<'_>, message: &Bound<'_, PyAny>, format: &str, error: PyErr) -> PyErr {
    let is_refusal = error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyOverflowError>(py)
        || error.is_instance_of::<PyRecursionError>(py)
        || error.is_instance_of::<PyAttributeError>(py);
    if !is_refusal {
        return error;
    }
    let wrap = || {
        let details = PyDict::new(py);
        details.set_item("format", format)?;
        let name = class::class_name(message.get_type().as_any());
        let text = format!("can't encode a {name}: {}", error.value(py));
        py.get_type::<EncodeError>().call((text,), Some(&details))
    };
    let wrapped = match wrap() {
        Ok(wrapped) => PyErr::from_value(wrapped),
        Err(error) => return error,
    };
    wrapped.set_cause(py, Some(error));
    wrapped
}

impl Writer {
    /// The writer of a class's instances, or None for what is left to msgspec.
    fn compile(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        if !class::is_message_class(class)? {
            return Ok(None);
        }
        let config = class.getattr("__struct_config__")?;
        if config.getattr("array_like")?.is_truthy()? || config.getattr("omit_defaults")?.is_truthy()? {
            return Ok(None);
        }
        let Some(offsets) = class::slot_offsets(class)? else { return Ok(None) };
        let names: Vec<String> = class.getattr("__struct_encode_fields__")?.cast_into::<PyTuple>()?.extract()?;
        let tag = match class::tag_of(class)? {
            ClassTag::Untagged => None,
            ClassTag::Text(field, value) => Some((field, value)),
            ClassTag::Other => return Ok(None),
        };
        let entries = names.len() + usize::from(tag.is_some());
        let mut before_json = vec![b'{'];
        let mut before_msgpack = Vec::new();
        msgpack::write_map_header(&mut before_msgpack, entries);
        if let Some((field, value)) = &tag {
            before_json.extend(json::key(field));
            json::write_text(&mut before_json, value);
            msgpack::write_text(&mut before_msgpack, field);
            msgpack::write_text(&mut before_msgpack, value);
        }
        let (mut json, mut msgpack) = (Vec::new(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            if index > 0 || tag.is_some() {
                before_json.push(b',');
            }
            before_json.extend(json::key(name));
            json.push(Fixed::new(&std::mem::take(&mut before_json)));
            msgpack::write_text(&mut before_msgpack, name);
            msgpack.push(Fixed::new(&std::mem::take(&mut before_msgpack)));
        }
        before_json.push(b'}');
        json.push(Fixed::new(&before_json));
        msgpack.push(Fixed::new(&before_msgpack));
        Ok(Some(Self { offsets: offsets.into(), json: json.into(), msgpack: msgpack.into() }))
    }

    /// Appends one instance.
    ///
    /// # Safety
    /// The GIL is held, and `object` is an instance of exactly the writer's class.
    #[inline]
    unsafe fn write(&self, object: *mut ffi::PyObject, format: Format, out: &mut Vec<u8>) -> Result<(), Refused> {
        let texts = match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        };
        let (end, before) = texts.split_last().ok_or(Refused)?;
        for (before, offset) in before.iter().zip(&self.offsets) {
            before.append(out);
            // SAFETY: the offset is that of a slot of the object's class; a slot is null or holds an object.
            unsafe {
                let value = *object.byte_add(*offset).cast::<*mut ffi::PyObject>();
                match format {
                    Format::Json => write_json(value, out)?,
                    Format::MessagePack => write_msgpack(value, out)?,
                }
            }
        }
        end.append(out);
        Ok(())
    }
}

/// A value of a type that is written here.
enum Plain<'a> {
    Null,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    List(*mut ffi::PyObject),
}

/// Looks at a value by its exact type: a subclass may mean something else to msgspec.
///
/// # Safety
/// The GIL is held, `value` is null or an object that outlives the result.
#[inline]
unsafe fn look<'a>(value: *mut ffi::PyObject) -> Result<Plain<'a>, Refused> {
    if value.is_null() {
        return Err(Refused);
    }
    // SAFETY: the object is alive, each look inside follows a check of its exact type, and none runs Python code.
    unsafe {
        let type_ = ffi::Py_TYPE(value);
        if type_ == &raw mut ffi::PyUnicode_Type {
            if ffi::PyUnicode_IS_COMPACT_ASCII(value) != 0 {
                let length = ffi::PyUnicode_GET_LENGTH(value) as usize;
                let bytes = std::slice::from_raw_parts(ffi::PyUnicode_DATA(value).cast::<u8>(), length);
                return Ok(Plain::Text(std::str::from_utf8_unchecked(bytes)));
            }
            let mut size = 0;
            let bytes = ffi::PyUnicode_AsUTF8AndSize(value, &raw mut size);
            if bytes.is_null() {
                // Lone surrogates: msgspec says what is wrong with them.
                ffi::PyErr_Clear();
                return Err(Refused);
            }
            let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), size as usize);
            return Ok(Plain::Text(std::str::from_utf8_unchecked(bytes)));
        }
        if type_ == &raw mut ffi::PyFloat_Type {
            return Ok(Plain::Float(ffi::PyFloat_AS_DOUBLE(value)));
        }
        if type_ == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let signed = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
            if overflow == 0 {
                return Ok(Plain::Signed(signed));
            }
            if overflow < 0 {
                return Err(Refused);
            }
            let unsigned = ffi::PyLong_AsUnsignedLongLong(value);
            if unsigned == u64::MAX && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return Err(Refused);
            }
            return Ok(Plain::Unsigned(unsigned));
        }
        if value == ffi::Py_None() {
            return Ok(Plain::Null);
        }
        if type_ == &raw mut ffi::PyBool_Type {
            return Ok(Plain::Boolean(value == ffi::Py_True()));
        }
        if type_ == &raw mut ffi::PyList_Type {
            return Ok(Plain::List(value));
        }
    }
    Err(Refused)
}

/// # Safety
/// As [`look`].
#[inline]
unsafe fn write_json(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Refused> {
    // SAFETY: the caller's contract.
    match unsafe { look(value) }? {
        Plain::Null => out.extend_from_slice(b"null"),
        Plain::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Plain::Signed(value) => json::write_signed(out, value),
        Plain::Unsigned(value) => json::write_unsigned(out, value),
        Plain::Float(value) => json::write_float(out, value),
        Plain::Text(text) => json::write_text(out, text),
        Plain::List(list) => {
            out.push(b'[');
            // SAFETY: the list is alive, the index below its size, which cannot change: no Python code runs here.
            unsafe {
                for index in 0..ffi::PyList_GET_SIZE(list) {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_json_item(ffi::PyList_GET_ITEM(list, index), out)?;
                }
            }
            out.push(b']');
        }
    }
    Ok(())
}

/// # Safety
/// As [`look`].
unsafe fn write_json_item(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Refused> {
    // SAFETY: the caller's contract.
    if let Plain::List(_) = unsafe { look(value) }? {
        // A list may hold itself: msgspec watches the depth.
        return Err(Refused);
    }
    // SAFETY: the caller's contract.
    unsafe { write_json(value, out) }
}

/// # Safety
/// As [`look`].
#[inline]
unsafe fn write_msgpack(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Refused> {
    // SAFETY: the caller's contract.
    match unsafe { look(value) }? {
        Plain::Null => msgpack::write_null(out),
        Plain::Boolean(value) => msgpack::write_boolean(out, value),
        Plain::Signed(value) => msgpack::write_signed(out, value),
        Plain::Unsigned(value) => msgpack::write_unsigned(out, value),
        Plain::Float(value) => msgpack::write_float(out, value),
        Plain::Text(text) => msgpack::write_text(out, text),
        Plain::List(list) => {
            // SAFETY: the list is alive, the index below its size, which cannot change: no Python code runs here.
            unsafe {
                let size = ffi::PyList_GET_SIZE(list);
                msgpack::write_array_header(out, size as usize);
                for index in 0..size {
                    let item = ffi::PyList_GET_ITEM(list, index);
                    if let Plain::List(_) = look(item)? {
                        return Err(Refused);
                    }
                    write_msgpack(item, out)?;
                }
            }
        }
    }
    Ok(())
}
