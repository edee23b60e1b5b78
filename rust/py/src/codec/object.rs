//! Python values and instances as the codec's sink makes them.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use websocket_utils_core::codec::{Refused, SequenceKind, Sink, Text};

use super::Format;
use super::class::Class;
use super::intern;
use super::model::Meanings;

/// An owned reference, in memory a pointer, that is cheaper than `Py`: dropping it needs the GIL, which every user of it holds.
#[repr(transparent)]
pub(super) struct Value(NonNull<ffi::PyObject>);

impl Value {
    /// Takes over a new reference; null means that Python refused (its exception is cleared: the fallback raises its
    /// own).
    ///
    /// # Safety
    /// The GIL is held, and `object` is null or a reference that the caller gives away.
    #[inline]
    pub(super) unsafe fn own(object: *mut ffi::PyObject) -> Result<Self, Refused> {
        NonNull::new(object).map(Self).ok_or_else(|| {
            // SAFETY: the GIL is held.
            unsafe { ffi::PyErr_Clear() };
            Refused
        })
    }

    #[inline]
    pub(super) const fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    #[inline]
    pub(super) const fn into_ptr(self) -> *mut ffi::PyObject {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the GIL is held (see the type).
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

/// An instance under construction, invisible to the collector and to Python code until it is complete.
pub(super) struct Instance<'m> {
    pub(super) class: &'m Class,
    pub(super) object: Value,
    /// Fields that have a value.
    pub(super) filled: usize,
}

thread_local! {
    /// Memory for the items of sequences, kept between decodes. Empty whenever it lies here.
    static SPARE_ITEMS: Cell<Vec<Value>> = const { Cell::new(Vec::new()) };
}

/// Items that there is room for from the first on.
const FIRST_ITEMS: usize = 64;

/// Memory for items that is kept: more than the deepest book needs, and little to hold.
const KEPT_ITEMS: usize = 1024;

/// Makes Python objects by a model. Lives only while the GIL is held.
pub(super) struct Objects<'m, 'py> {
    pub(super) py: Python<'py>,
    pub(super) model: &'m Meanings,
    format: Format,
    /// Items of the sequences that are being read, the outer ones first.
    items: Vec<Value>,
    /// What must not be swallowed: `KeyboardInterrupt` and its like, out of Python code that ran on the way.
    pub(super) interrupt: Option<Box<PyErr>>,
    /// What Python code that ran on the way said last, for who has no other decoder to ask.
    pub(super) complaint: Option<Box<PyErr>>,
}

impl<'m, 'py> Objects<'m, 'py> {
    #[inline]
    pub(super) const fn new(py: Python<'py>, model: &'m Meanings, format: Format) -> Self {
        Self { py, model, format, items: Vec::new(), interrupt: None, complaint: None }
    }

    /// Ends a decode that went well: mostly there is nothing to give back, which is found out here at less than a call.
    #[inline]
    pub(super) fn done(self) {
        if self.items.capacity() == 0 && self.interrupt.is_none() && self.complaint.is_none() {
            std::mem::forget(self);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_spare_items(&mut self) {
        self.items = SPARE_ITEMS.take();
        // With room for some, so that this is asked once.
        self.items.reserve(FIRST_ITEMS);
    }

    /// Keeps an error that no other decoder would raise again.
    #[cold]
    pub(super) fn refuse(&mut self, error: PyErr) -> Refused {
        if error.is_instance_of::<pyo3::exceptions::PyException>(self.py) {
            self.complaint = Some(Box::new(error));
        } else {
            self.interrupt = Some(Box::new(error));
        }
        Refused
    }
}

impl Drop for Objects<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        if self.items.capacity() != 0 && self.items.capacity() <= KEPT_ITEMS {
            self.items.clear();
            SPARE_ITEMS.set(std::mem::take(&mut self.items));
        }
    }
}

/// A text as Python's `str`.
///
/// # Safety
/// The GIL is held.
#[inline]
unsafe fn new_text(text: Text<'_>) -> Result<Value, Refused> {
    // SAFETY: the caller's contract; that the text is ASCII is proven where it says so, else Python checks the bytes.
    unsafe {
        Value::own(if text.is_ascii {
            intern::ascii(text).map_or(ptr::null_mut(), NonNull::as_ptr)
        } else {
            utf8(text.bytes)
        })
    }
}

/// # Safety
/// The GIL is held.
#[cold]
unsafe fn utf8(bytes: &[u8]) -> *mut ffi::PyObject {
    // SAFETY: pointer and length are those of a live slice; null means an exception is set.
    unsafe { ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, ptr::null()) }
}

impl<'a, 'm> Sink<'a> for Objects<'m, '_> {
    type Value = Value;
    type Table = Value;
    type Record = Instance<'m>;

    #[inline]
    fn null(&mut self) -> Value {
        // SAFETY: None is a valid object, and the GIL is held.
        unsafe { Value(NonNull::new_unchecked(ffi::Py_NewRef(ffi::Py_None()))) }
    }

    #[inline]
    fn boolean(&mut self, value: bool) -> Value {
        // SAFETY: True and False are valid objects, and the GIL is held.
        unsafe {
            let object = if value { ffi::Py_True() } else { ffi::Py_False() };
            Value(NonNull::new_unchecked(ffi::Py_NewRef(object)))
        }
    }

    #[inline]
    fn signed(&mut self, value: i64) -> Result<Value, Refused> {
        // SAFETY: the GIL is held; the function returns a new reference or null.
        unsafe { Value::own(ffi::PyLong_FromLongLong(value)) }
    }

    #[inline]
    fn unsigned(&mut self, value: u64) -> Result<Value, Refused> {
        match i64::try_from(value) {
            // The signed constructor knows the small integers that are shared.
            Ok(value) => self.signed(value),
            // SAFETY: the GIL is held; the function returns a new reference or null.
            Err(_) => unsafe { Value::own(ffi::PyLong_FromUnsignedLongLong(value)) },
        }
    }

    #[inline]
    fn float(&mut self, value: f64) -> Result<Value, Refused> {
        // SAFETY: the GIL is held; the function returns a new reference or null.
        unsafe { Value::own(ffi::PyFloat_FromDouble(value)) }
    }

    #[inline]
    fn text(&mut self, text: Text<'a>) -> Result<Value, Refused> {
        // SAFETY: the GIL is held.
        unsafe { new_text(text) }
    }

    fn owned_text(&mut self, text: &str) -> Result<Value, Refused> {
        // SAFETY: the GIL is held.
        unsafe { new_text(Text::new(text.as_bytes())) }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Value, Refused> {
        // SAFETY: the GIL is held; pointer and length are those of a live slice; a new reference comes back, or null.
        unsafe { Value::own(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t)) }
    }

    fn chosen_text(&mut self, choice: usize, text: &[u8]) -> Result<Value, Refused> {
        let chosen = self.model.choices.get(choice).and_then(|choice| choice.by_text(text)).ok_or(Refused)?;
        // SAFETY: the GIL is held, and the reference is a new one.
        unsafe { Value::own(chosen.clone_ref(self.py).into_ptr()) }
    }

    fn chosen_integer(&mut self, choice: usize, integer: i64) -> Result<Value, Refused> {
        let chosen = self.model.choices.get(choice).and_then(|choice| choice.by_integer(integer)).ok_or(Refused)?;
        // SAFETY: the GIL is held, and the reference is a new one.
        unsafe { Value::own(chosen.clone_ref(self.py).into_ptr()) }
    }

    fn foreign(&mut self, foreign: usize, bytes: &'a [u8]) -> Result<Value, Refused> {
        let decode = self.model.foreign.get(foreign).ok_or(Refused)?.decode(self.format);
        let value = decode.bind(self.py).call1((PyBytes::new(self.py, bytes),));
        match value {
            // SAFETY: the GIL is held, and the reference is given away.
            Ok(value) => unsafe { Value::own(value.into_ptr()) },
            // What a hook raised, it will raise again for msgspec, which reports it.
            Err(error) => Err(self.refuse(error)),
        }
    }

    #[inline]
    fn begin_sequence(&mut self) -> usize {
        if self.items.capacity() == 0 {
            self.take_spare_items();
        }
        self.items.len()
    }

    #[inline]
    fn push(&mut self, item: Value) {
        self.items.push(item);
    }

    #[inline]
    fn end_sequence(&mut self, mark: usize, kind: SequenceKind) -> Result<Value, Refused> {
        let size = self.items.len() - mark;
        // SAFETY: the GIL is held. A new list or tuple of this size has that many empty places: the references of the items
        // behind `mark` are moved there, and are then the items' no more.
        unsafe {
            match kind {
                SequenceKind::List => {
                    let list = Value::own(ffi::PyList_New(size as ffi::Py_ssize_t))?;
                    let places = (*list.as_ptr().cast::<ffi::PyListObject>()).ob_item;
                    if size > 0 {
                        ptr::copy_nonoverlapping(self.items.as_ptr().add(mark).cast(), places, size);
                    }
                    self.items.set_len(mark);
                    Ok(list)
                }
                SequenceKind::Tuple => {
                    let tuple = Value::own(ffi::PyTuple_New(size as ffi::Py_ssize_t))?;
                    let places = (*tuple.as_ptr().cast::<ffi::PyTupleObject>()).ob_item.as_mut_ptr();
                    ptr::copy_nonoverlapping(self.items.as_ptr().add(mark).cast(), places, size);
                    self.items.set_len(mark);
                    Ok(tuple)
                }
                SequenceKind::Set | SequenceKind::FrozenSet => {
                    let set = Value::own(if kind == SequenceKind::Set {
                        ffi::PySet_New(ptr::null_mut())
                    } else {
                        ffi::PyFrozenSet_New(ptr::null_mut())
                    })?;
                    // Hashing may run Python code, which may decode: the items are out of reach of that.
                    for item in self.items.split_off(mark) {
                        if ffi::PySet_Add(set.as_ptr(), item.as_ptr()) < 0 {
                            return Err(self.refuse(PyErr::fetch(self.py)));
                        }
                    }
                    Ok(set)
                }
            }
        }
    }

    fn begin_table(&mut self) -> Result<Value, Refused> {
        // SAFETY: the GIL is held; the function returns a new reference or null.
        unsafe { Value::own(ffi::PyDict_New()) }
    }

    fn insert(&mut self, table: &mut Value, key: Text<'a>, value: Value) -> Result<(), Refused> {
        // SAFETY: the GIL is held; `table` is a dict that nobody else has seen, and takes references of its own.
        unsafe {
            let key = new_text(key)?;
            if ffi::PyDict_SetItem(table.as_ptr(), key.as_ptr(), value.as_ptr()) < 0 {
                ffi::PyErr_Clear();
                return Err(Refused);
            }
        }
        Ok(())
    }

    fn end_table(&mut self, table: Value) -> Value {
        table
    }

    #[inline]
    fn begin_record(&mut self, record: usize) -> Result<Instance<'m>, Refused> {
        let class = self.model.classes.get(record).ok_or(Refused)?;
        // SAFETY: the GIL is held; what comes back is new, with no field filled, or null.
        let object = unsafe { Value::own(class.allocate()) }?;
        Ok(Instance { class, object, filled: 0 })
    }

    #[inline]
    fn put(&mut self, instance: &mut Instance<'m>, field: usize, value: Value) {
        instance.filled += 1;
        match instance.class.offsets() {
            // SAFETY: the offset is that of a slot of the instance's class, which is empty: nothing was put there before.
            Some(offsets) => unsafe { *slot(instance, offsets[field]) = value.into_ptr() },
            None => instance.class.set_key(instance.object.as_ptr(), field, &value),
        }
    }

    #[inline]
    fn replace(&mut self, instance: &mut Instance<'m>, field: usize, value: Value) {
        let Some(offsets) = instance.class.offsets() else {
            return self.put(instance, field, value);
        };
        // SAFETY: the offset is that of a slot of the instance's class, which owns what it holds.
        unsafe {
            let old = ptr::replace(slot(instance, offsets[field]), value.into_ptr());
            if old.is_null() {
                instance.filled += 1;
            } else {
                ffi::Py_DECREF(old);
            }
        }
    }

    #[inline]
    fn end_record(&mut self, mut instance: Instance<'m>) -> Result<Value, Refused> {
        let class = instance.class;
        if class.needs_work(instance.filled) {
            class.complete(self.py, &mut instance).map_err(|error| match error {
                Some(error) => self.refuse(error),
                None => Refused,
            })?;
        }
        Ok(instance.object)
    }
}

/// The slot at `offset`.
///
/// # Safety
/// `offset` is that of a slot of this instance's class.
#[inline]
pub(super) const unsafe fn slot(instance: &Instance<'_>, offset: usize) -> *mut *mut ffi::PyObject {
    // SAFETY: the slot lies within the object by the caller's contract.
    unsafe { instance.object.as_ptr().byte_add(offset).cast() }
}
