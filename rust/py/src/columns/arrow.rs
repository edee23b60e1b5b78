//! Columns handed to other libraries: the Arrow C data interface in PyCapsules.
//!
//! What is exported holds Rust memory alone, never a Python object: its consumer may release it on any thread, without the
//! GIL. Each array owns what it points at, so that a child or a dictionary may outlive its parent, as consumers that move
//! one out of it expect.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use websocket_utils_core::codec::columns::{Bitmap, Categories, Column, Values};

const NULLABLE: i64 = 2;

const SCHEMA_NAME: &CStr = c"arrow_schema";
const ARRAY_NAME: &CStr = c"arrow_array";
const STREAM_NAME: &CStr = c"arrow_array_stream";

/// `struct ArrowSchema` of the C data interface.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray` of the C data interface.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream` of the C stream interface.
#[repr(C)]
struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

/// What a schema points at.
struct SchemaParts {
    name: CString,
    children: Box<[*mut Schema]>,
    dictionary: *mut Schema,
}

/// What an array points at.
struct ArrayParts {
    buffers: Box<[*const c_void]>,
    children: Box<[*mut Array]>,
    dictionary: *mut Array,
    /// Held, not read: the buffers lie in it.
    _owner: Owner,
}

/// Keeps buffers alive.
enum Owner {
    Nothing,
    Column(#[expect(dead_code, reason = "held, not read")] Arc<Column>),
    /// Truth values are bits to Arrow; here they are bytes, as to NumPy.
    Bits(#[expect(dead_code, reason = "held, not read")] Arc<Column>, #[expect(dead_code, reason = "held")] Box<[u8]>),
    Categories(#[expect(dead_code, reason = "held, not read")] Arc<Categories>),
}

/// What is exported: one column, the codes of one, or all columns of a batch under their names.
pub(super) enum Source {
    Column(CString, Arc<Column>),
    Codes(CString, Arc<Column>),
    Batch(Arc<[CString]>, Box<[Arc<Column>]>, usize),
}

impl Source {
    fn schema(&self) -> Schema {
        match self {
            Self::Column(name, column) => column_schema(name, column),
            Self::Codes(name, _) => schema(c"i", name, 0, Vec::new(), None),
            Self::Batch(names, columns, _) => {
                let children = names.iter().zip(columns).map(|(name, column)| column_schema(name, column)).collect();
                schema(c"+s", c"", 0, children, None)
            }
        }
    }

    fn array(&self) -> Array {
        match self {
            Self::Column(_, column) => column_array(column),
            Self::Codes(_, column) => {
                let (length, codes) = buffer(&column.values);
                array(length, 0, &[ptr::null(), codes], Vec::new(), None, Owner::Column(Arc::clone(column)))
            }
            Self::Batch(_, columns, rows) => {
                let children = columns.iter().map(column_array).collect();
                array(*rows, 0, &[ptr::null()], children, None, Owner::Nothing)
            }
        }
    }

    /// The schema in a capsule.
    pub(super) fn schema_capsule<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        capsule(py, SCHEMA_NAME, self.schema())
    }

    /// Schema and array in capsules.
    pub(super) fn array_capsules<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, [self.schema_capsule(py)?, capsule(py, ARRAY_NAME, self.array())?])
    }

    /// A stream of one array in a capsule.
    pub(super) fn stream_capsule(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let streamed = Box::new(Streamed { source: self, is_over: false });
        let stream = Stream {
            get_schema: Some(stream_schema),
            get_next: Some(stream_next),
            get_last_error: Some(stream_error),
            release: Some(release_stream),
            private_data: Box::into_raw(streamed).cast(),
        };
        capsule(py, STREAM_NAME, stream)
    }
}

fn format_of(values: &Values) -> &'static CStr {
    match values {
        Values::Float64(_) => c"g",
        Values::Float32(_) => c"f",
        Values::Int64(_) => c"l",
        Values::UInt64(_) => c"L",
        // Codes of a dictionary are its indices.
        Values::Int32(_) | Values::Text(..) | Values::Bytes(..) => c"i",
        Values::UInt32(_) => c"I",
        Values::Bool(_) => c"b",
    }
}

fn column_schema(name: &CStr, column: &Column) -> Schema {
    let dictionary = match column.values {
        Values::Text(..) => Some(schema(c"u", c"", 0, Vec::new(), None)),
        Values::Bytes(..) => Some(schema(c"z", c"", 0, Vec::new(), None)),
        _ => None,
    };
    let flags = if column.validity.is_some() { NULLABLE } else { 0 };
    schema(format_of(&column.values), name, flags, Vec::new(), dictionary)
}

fn column_array(column: &Arc<Column>) -> Array {
    let (length, values) = buffer(&column.values);
    let nulls = column.validity.as_ref().map_or(0, Bitmap::nulls);
    let validity = column.validity.as_ref().filter(|_| nulls > 0).map(|validity| validity.bytes().as_ptr().cast());
    let validity = validity.unwrap_or(ptr::null());
    let buffers = [validity, values];
    match &column.values {
        Values::Bool(items) => {
            let bits: Box<[u8]> = items.chunks(8).map(bits_of).collect();
            let buffers = [validity, bits.as_ptr().cast()];
            array(length, nulls, &buffers, Vec::new(), None, Owner::Bits(Arc::clone(column), bits))
        }
        Values::Text(_, categories) | Values::Bytes(_, categories) => {
            let dictionary = categories_array(categories);
            array(length, nulls, &buffers, Vec::new(), Some(dictionary), Owner::Column(Arc::clone(column)))
        }
        _ => array(length, nulls, &buffers, Vec::new(), None, Owner::Column(Arc::clone(column))),
    }
}

fn categories_array(categories: &Arc<Categories>) -> Array {
    let buffers = [ptr::null(), categories.offsets().as_ptr().cast(), categories.bytes().as_ptr().cast()];
    array(categories.len(), 0, &buffers, Vec::new(), None, Owner::Categories(Arc::clone(categories)))
}

/// Up to eight truth values as the bits of a byte, the first in the lowest.
fn bits_of(values: &[u8]) -> u8 {
    values.iter().enumerate().fold(0, |bits, (place, value)| bits | (value & 1) << place)
}

/// Number of values, and where they lie.
pub(super) fn buffer(values: &Values) -> (usize, *const c_void) {
    fn of<T>(items: &[T]) -> (usize, *const c_void) {
        (items.len(), items.as_ptr().cast())
    }
    match values {
        Values::Float64(items) => of(items),
        Values::Float32(items) => of(items),
        Values::Int64(items) => of(items),
        Values::UInt64(items) => of(items),
        Values::Int32(items) | Values::Text(items, _) | Values::Bytes(items, _) => of(items),
        Values::UInt32(items) => of(items),
        Values::Bool(items) => of(items),
    }
}

/// Moves what is pointed at out of a box.
fn boxed<T>(part: T) -> *mut T {
    Box::into_raw(Box::new(part))
}

fn schema(format: &'static CStr, name: &CStr, flags: i64, children: Vec<Schema>, dictionary: Option<Schema>) -> Schema {
    let children: Box<[*mut Schema]> = children.into_iter().map(boxed).collect();
    let dictionary = dictionary.map_or(ptr::null_mut(), boxed);
    // In a box, and not moved out of it before the release: pointers into it stay valid.
    let parts = boxed(SchemaParts { name: name.to_owned(), children, dictionary });
    // SAFETY: the pointer comes from a box of this line's own; nobody else has it yet.
    let held = unsafe { &mut *parts };
    Schema {
        format: format.as_ptr(),
        name: held.name.as_ptr(),
        metadata: ptr::null(),
        flags,
        n_children: held.children.len().cast_signed() as i64,
        children: held.children.as_mut_ptr(),
        dictionary,
        release: Some(release_schema),
        private_data: parts.cast(),
    }
}

fn array(
    length: usize,
    nulls: usize,
    buffers: &[*const c_void],
    children: Vec<Array>,
    dictionary: Option<Array>,
    owner: Owner,
) -> Array {
    let children: Box<[*mut Array]> = children.into_iter().map(boxed).collect();
    let dictionary = dictionary.map_or(ptr::null_mut(), boxed);
    let parts = boxed(ArrayParts { buffers: buffers.into(), children, dictionary, _owner: owner });
    // SAFETY: the pointer comes from a box of this line's own; nobody else has it yet.
    let held = unsafe { &mut *parts };
    Array {
        length: length.cast_signed() as i64,
        null_count: nulls.cast_signed() as i64,
        offset: 0,
        n_buffers: held.buffers.len().cast_signed() as i64,
        n_children: held.children.len().cast_signed() as i64,
        buffers: held.buffers.as_mut_ptr(),
        children: held.children.as_mut_ptr(),
        dictionary,
        release: Some(release_array),
        private_data: parts.cast(),
    }
}

/// A structure of the interface: its release callback is empty once it was released, or moved to its consumer.
trait Released {
    fn release(&mut self);
}

macro_rules! released {
    ($class:ident) => {
        impl Released for $class {
            fn release(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: the callback is what the interface says to call once, on the structure that holds it.
                    unsafe { release(self) };
                }
            }
        }
    };
}

released!(Schema);
released!(Array);
released!(Stream);

/// Releases a part that its consumer has not moved away, and frees its structure.
///
/// # Safety
/// `part` is null, or came from [`boxed`] and is not used afterwards.
unsafe fn free<T: Released>(part: *mut T) {
    if !part.is_null() {
        // SAFETY: the caller's contract.
        let mut part = unsafe { Box::from_raw(part) };
        part.release();
    }
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: the consumer passes a structure that is not released; its private data are what `schema` put there. Moving
    // a structure moves the pointer along.
    unsafe {
        let schema = &mut *schema;
        let parts = Box::from_raw(schema.private_data.cast::<SchemaParts>());
        for child in &parts.children {
            free(*child);
        }
        free(parts.dictionary);
        schema.release = None;
        schema.private_data = ptr::null_mut();
    }
}

unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: as in `release_schema`.
    unsafe {
        let array = &mut *array;
        let parts = Box::from_raw(array.private_data.cast::<ArrayParts>());
        for child in &parts.children {
            free(*child);
        }
        free(parts.dictionary);
        array.release = None;
        array.private_data = ptr::null_mut();
    }
}

/// The state of a stream.
struct Streamed {
    source: Source,
    is_over: bool,
}

unsafe extern "C" fn stream_schema(stream: *mut Stream, out: *mut Schema) -> c_int {
    // SAFETY: the consumer passes a stream that is not released, and a place for a schema. What the place held is not
    // read, nor dropped: a structure of C has no destructor.
    unsafe {
        let streamed = &*(*stream).private_data.cast::<Streamed>();
        out.write(streamed.source.schema());
    }
    0
}

unsafe extern "C" fn stream_next(stream: *mut Stream, out: *mut Array) -> c_int {
    // SAFETY: as in `stream_schema`. One consumer at a time calls, says the interface.
    unsafe {
        let streamed = &mut *(*stream).private_data.cast::<Streamed>();
        if streamed.is_over {
            // An array without a release callback is the end.
            out.write_bytes(0, 1);
        } else {
            streamed.is_over = true;
            out.write(streamed.source.array());
        }
    }
    0
}

unsafe extern "C" fn stream_error(_stream: *mut Stream) -> *const c_char {
    // No call of a stream fails.
    ptr::null()
}

unsafe extern "C" fn release_stream(stream: *mut Stream) {
    // SAFETY: as in `release_schema`.
    unsafe {
        let stream = &mut *stream;
        drop(Box::from_raw(stream.private_data.cast::<Streamed>()));
        stream.release = None;
        stream.private_data = ptr::null_mut();
    }
}

/// Puts a structure into a capsule, which releases it if no consumer took it.
fn capsule<'py, T: Released>(py: Python<'py>, name: &'static CStr, part: T) -> PyResult<Bound<'py, PyAny>> {
    let part = boxed(part);
    // SAFETY: the pointer is not null, the name lives for ever, and the destructor takes what was put in here. A new
    // reference comes back, or null with an exception set.
    unsafe {
        let capsule = ffi::PyCapsule_New(part.cast(), name.as_ptr(), Some(destroy::<T>));
        if capsule.is_null() {
            free(part);
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

unsafe extern "C" fn destroy<T: Released>(capsule: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this once for a capsule that `capsule` made. Its own name is asked for, so the pointer
    // comes back; a consumer may have emptied the structure, which then has no release callback.
    unsafe {
        let part = ffi::PyCapsule_GetPointer(capsule, ffi::PyCapsule_GetName(capsule));
        free(part.cast::<T>());
    }
}
