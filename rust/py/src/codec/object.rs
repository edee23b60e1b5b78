//! Python values and instances as the codec's sink makes them.

use std::ptr::{self, NonNull};

use pyo3::ffi;
use websocket_utils_core::codec::{Refused, Sink};

use super::intern;

/// An owned reference that is cheaper than `Py`: dropping it needs the GIL, which every user of it holds.
pub(super) struct Value(NonNull<ffi::PyObject>);

impl Value {
    /// Takes over a new reference; null means that Python refused (its exception is cleared: the fallback raises its
    /// own).
    ///
    /// # Safety
    /// The GIL is held, and `object` is null or a reference that the caller gives away.
    #[inline]
    unsafe fn own(object: *mut ffi::PyObject) -> Result<Self, Refused> {
        NonNull::new(object).map(Self).ok_or_else(|| {
            // SAFETY: the GIL is held.
            unsafe { ffi::PyErr_Clear() };
            Refused
        })
    }

    #[inline]
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
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
pub(super) struct Instance {
    object: Value,
    /// Slots that hold a value.
    pub(super) filled: usize,
}

impl Instance {
    /// # Safety
    /// As [`Value::own`]; `object` has all its slots empty.
    #[inline]
    pub(super) unsafe fn own(object: *mut ffi::PyObject) -> Result<Self, Refused> {
        // SAFETY: the caller's contract.
        let object = unsafe { Value::own(object) }?;
        Ok(Self { object, filled: 0 })
    }

    /// The slot at `offset`.
    ///
    /// # Safety
    /// `offset` is that of a slot of this instance's class.
    #[inline]
    pub(super) unsafe fn slot(&mut self, offset: usize) -> *mut *mut ffi::PyObject {
        // SAFETY: the slot lies within the object by the caller's contract.
        unsafe { self.object.0.as_ptr().byte_add(offset).cast() }
    }

    #[inline]
    pub(super) const fn as_ptr(&self) -> *mut ffi::PyObject {
        self.object.0.as_ptr()
    }

    #[inline]
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
        self.object.into_ptr()
    }
}

/// Writes values into the slots of an [`Instance`]. Lives only while the GIL is held.
pub(super) struct Slots<'a> {
    offsets: &'a [usize],
    /// True once a list was made: no other value made here is followed by the collector.
    pub(super) made_list: bool,
}

impl<'a> Slots<'a> {
    /// # Safety
    /// The GIL is held for the sink's life, and the offsets are those of the slots of every instance given to it.
    pub(super) const unsafe fn new(offsets: &'a [usize]) -> Self {
        Self { offsets, made_list: false }
    }
}

impl Sink for Slots<'_> {
    type Value = Value;
    type List = Value;
    type Record = Instance;

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
    fn text(&mut self, bytes: &[u8], is_ascii: bool) -> Result<Value, Refused> {
        // SAFETY: the GIL is held, and `is_ascii` is the scanner's proof; otherwise Python checks the bytes itself.
        unsafe {
            Value::own(if is_ascii {
                intern::ascii(bytes).map_or(ptr::null_mut(), NonNull::as_ptr)
            } else {
                ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, ptr::null())
            })
        }
    }

    #[inline]
    fn list(&mut self) -> Result<Value, Refused> {
        self.made_list = true;
        // SAFETY: the GIL is held; the function returns a new reference or null.
        unsafe { Value::own(ffi::PyList_New(0)) }
    }

    #[inline]
    fn push(&mut self, list: &mut Value, item: Value) -> Result<(), Refused> {
        // SAFETY: `list` was made by `list`; PyList_Append takes a reference of its own and `item` gives up ours.
        if unsafe { ffi::PyList_Append(list.0.as_ptr(), item.0.as_ptr()) } < 0 {
            // SAFETY: the GIL is held.
            unsafe { ffi::PyErr_Clear() };
            return Err(Refused);
        }
        Ok(())
    }

    #[inline]
    fn seal(&mut self, list: Value) -> Value {
        list
    }

    #[inline]
    fn set(&mut self, record: &mut Instance, field: usize, value: Value) {
        let offset = self.offsets[field];
        // SAFETY: the offset belongs to the instance's class (contract of `new`); a slot owns what it holds.
        unsafe {
            let old = ptr::replace(record.slot(offset), value.into_ptr());
            if old.is_null() {
                record.filled += 1;
            } else {
                ffi::Py_DECREF(old);
            }
        }
    }
}
