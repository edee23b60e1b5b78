//! The walk over a message, value by value.
//!
//! Values are borrowed from whatever holds them: a list, a dictionary, a slot. Writing a scalar runs no Python code, so it
//! needs no reference. Anything else may run some (a hook, a property, the end of an object), which may change every
//! container on the way: so a container is held while it is walked, what it holds is read anew for each item, and a change
//! of its size is an error.

use std::marker::PhantomData;

use pyo3::exceptions::{PyRecursionError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use websocket_utils_core::codec::{Append, MAX_DEPTH};

use super::cursor::Cursor;
use super::foreign::Foreign;
use super::form::Form;

/// The Python exception is set.
pub(super) struct Raised;

/// One message on its way into a buffer.
pub(super) struct Walk<'a, F> {
    pub(super) out: Cursor<'a>,
    pub(super) foreign: &'a Foreign,
    /// Values that stand for others (an enum's member, a hook's result) and are being written.
    pub(super) stand_ins: usize,
    form: PhantomData<F>,
}

/// A reference of our own: whatever Python code does, the object stays.
pub(super) struct Held(pub(super) *mut ffi::PyObject);

impl Held {
    /// # Safety
    /// The GIL is held for the life of the result, and `object` is an object.
    #[inline]
    pub(super) unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's contract.
        unsafe { ffi::Py_INCREF(object) };
        Self(object)
    }

    /// Takes over a new reference; null means that Python raised.
    ///
    /// # Safety
    /// The GIL is held for the life of the result.
    #[inline]
    pub(super) unsafe fn own(object: *mut ffi::PyObject) -> Result<Self, Raised> {
        if object.is_null() { Err(Raised) } else { Ok(Self(object)) }
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the GIL is held (contracts of both makers).
        unsafe { ffi::Py_DECREF(self.0) }
    }
}

/// Sets an exception.
#[cold]
pub(super) fn raise(make: impl FnOnce() -> PyErr) -> Raised {
    Python::attach(|py| make().restore(py));
    Raised
}

#[cold]
fn changed(what: &str) -> Raised {
    raise(|| PyRuntimeError::new_err(format!("{what} changed size while it was encoded")))
}

#[inline]
pub(super) fn deeper(depth: usize) -> Result<usize, Raised> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(too_deep()) }
}

#[cold]
pub(super) fn too_deep() -> Raised {
    raise(|| PyRecursionError::new_err(format!("nested deeper than {MAX_DEPTH} levels")))
}

impl<'a, F: Form> Walk<'a, F> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, foreign: &'a Foreign) -> Self {
        Self { out: Cursor::new(out), foreign, stand_ins: 0, form: PhantomData }
    }

    /// Appends one value, around which `depth` arrays and maps are open.
    ///
    /// # Safety
    /// The GIL is held; `value` is an object that lives at least until Python code runs.
    #[inline(never)]
    pub(super) unsafe fn write(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract.
        unsafe { self.write_here(value, depth) }
    }

    /// [`Walk::write`], for the loops over what a message is made of.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[allow(clippy::inline_always, reason = "a call for each number would cost as much as the number")]
    #[inline(always)]
    pub(super) unsafe fn write_here(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract; each look inside follows a check of the exact type.
        unsafe {
            let type_ = ffi::Py_TYPE(value);
            if type_ == &raw mut ffi::PyUnicode_Type {
                self.text(value)
            } else if type_ == &raw mut ffi::PyFloat_Type {
                F::float(&mut self.out, ffi::PyFloat_AS_DOUBLE(value));
                Ok(())
            } else if type_ == &raw mut ffi::PyLong_Type {
                self.integer(value)
            } else {
                self.write_other(value, depth)
            }
        }
    }

    /// # Safety
    /// As [`Walk::write`], and `text` is a str.
    #[inline]
    pub(super) unsafe fn text(&mut self, text: *mut ffi::PyObject) -> Result<(), Raised> {
        // SAFETY: the caller's contract: an ASCII text's bytes follow its head, and they are UTF-8.
        unsafe {
            if ffi::PyUnicode_IS_COMPACT_ASCII(text) == 0 {
                return self.other_text(text);
            }
            let size = ffi::PyUnicode_GET_LENGTH(text) as usize;
            if size > LONGEST {
                return self.by_msgspec(text);
            }
            let bytes = std::slice::from_raw_parts(ffi::PyUnicode_DATA(text).cast::<u8>(), size);
            F::text(&mut self.out, std::str::from_utf8_unchecked(bytes));
        }
        Ok(())
    }

    /// # Safety
    /// As [`Walk::text`].
    #[inline(never)]
    unsafe fn other_text(&mut self, text: *mut ffi::PyObject) -> Result<(), Raised> {
        let mut size = 0;
        // SAFETY: the caller's contract: what Python gives for a text is UTF-8, and lives as long as the text.
        unsafe {
            let bytes = ffi::PyUnicode_AsUTF8AndSize(text, &raw mut size).cast::<u8>();
            if bytes.is_null() {
                // Lone surrogates.
                return Err(Raised);
            }
            if size as usize > LONGEST {
                return self.by_msgspec(text);
            }
            let bytes = std::slice::from_raw_parts(bytes, size as usize);
            F::text(&mut self.out, std::str::from_utf8_unchecked(bytes));
        }
        Ok(())
    }

    /// # Safety
    /// As [`Walk::write`], and `value` is an int.
    #[inline]
    pub(super) unsafe fn integer(&mut self, value: *mut ffi::PyObject) -> Result<(), Raised> {
        let mut overflow = 0;
        // SAFETY: the caller's contract; an int is converted without Python code.
        let signed = unsafe { ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow) };
        if overflow == 0 {
            F::signed(&mut self.out, signed);
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { self.big_integer(value) }
    }

    /// # Safety
    /// As [`Walk::integer`].
    #[cold]
    unsafe fn big_integer(&mut self, value: *mut ffi::PyObject) -> Result<(), Raised> {
        // SAFETY: as in `integer`.
        unsafe {
            let unsigned = ffi::PyLong_AsUnsignedLongLong(value);
            if unsigned == u64::MAX && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return self.by_msgspec(value);
            }
            F::unsigned(&mut self.out, unsigned);
        }
        Ok(())
    }

    /// All that is not a text, a float or an integer.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[inline(never)]
    unsafe fn write_other(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract; each look inside follows a check of the type. The order is msgspec's: subclasses
        // of a list, a dict and a tuple are written as what they hold.
        unsafe {
            let type_ = ffi::Py_TYPE(value);
            if type_ == &raw mut ffi::PyList_Type {
                self.list(value, depth)
            } else if value == ffi::Py_None() {
                F::null(&mut self.out);
                Ok(())
            } else if type_ == &raw mut ffi::PyBool_Type {
                F::boolean(&mut self.out, value == ffi::Py_True());
                Ok(())
            } else if ffi::PyList_Check(value) != 0 {
                self.list(value, depth)
            } else if ffi::PyDict_Check(value) != 0 {
                self.dict(value, depth)
            } else if ffi::PyTuple_Check(value) != 0 {
                self.tuple(value, depth)
            } else if type_ == &raw mut ffi::PyBytes_Type {
                let size = ffi::PyBytes_Size(value) as usize;
                self.bytes(value, std::slice::from_raw_parts(ffi::PyBytes_AsString(value).cast(), size))
            } else if type_ == &raw mut ffi::PyByteArray_Type {
                let size = ffi::PyByteArray_Size(value) as usize;
                self.bytes(value, std::slice::from_raw_parts(ffi::PyByteArray_AsString(value).cast(), size))
            } else {
                self.write_by_class(value, depth)
            }
        }
    }

    /// # Safety
    /// As [`Walk::write`]; the bytes are those of `value`.
    #[inline(never)]
    unsafe fn bytes(&mut self, value: *mut ffi::PyObject, bytes: &[u8]) -> Result<(), Raised> {
        if bytes.len() > LONGEST {
            // SAFETY: the caller's contract.
            return unsafe { self.by_msgspec(value) };
        }
        F::bytes(&mut self.out, bytes);
        Ok(())
    }

    /// # Safety
    /// As [`Walk::write`], and `list` is a list.
    #[inline(never)]
    unsafe fn list(&mut self, list: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        let depth = deeper(depth)?;
        // SAFETY: the caller's contract, and the list is held; each index is below the size at that moment.
        unsafe {
            let list = Held::new(list);
            let size = ffi::PyList_GET_SIZE(list.0);
            F::open_array(&mut self.out, size as usize);
            for index in 0..size {
                if index > 0 {
                    F::next(&mut self.out);
                }
                self.write_here(ffi::PyList_GET_ITEM(list.0, index), depth)?;
                if ffi::PyList_GET_SIZE(list.0) != size {
                    return Err(changed("a list"));
                }
            }
        }
        F::close_array(&mut self.out);
        Ok(())
    }

    /// # Safety
    /// As [`Walk::write`], and `tuple` is a tuple.
    #[inline(never)]
    unsafe fn tuple(&mut self, tuple: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        let depth = deeper(depth)?;
        // SAFETY: the caller's contract; the tuple is held and can't change.
        unsafe {
            let tuple = Held::new(tuple);
            let size = ffi::PyTuple_GET_SIZE(tuple.0);
            F::open_array(&mut self.out, size as usize);
            for index in 0..size {
                if index > 0 {
                    F::next(&mut self.out);
                }
                self.write(ffi::PyTuple_GET_ITEM(tuple.0, index), depth)?;
            }
        }
        F::close_array(&mut self.out);
        Ok(())
    }

    /// # Safety
    /// As [`Walk::write`], and `dict` is a dict.
    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract.
        unsafe { self.entries(dict, ffi::PyDict_Size(dict) as usize, depth) }
    }

    /// A dict's entries, of which the head of the map is to count `counted` at first.
    ///
    /// # Safety
    /// As [`Walk::dict`].
    #[inline(never)]
    pub(super) unsafe fn entries(
        &mut self,
        dict: *mut ffi::PyObject,
        counted: usize,
        depth: usize,
    ) -> Result<(), Raised> {
        let depth = deeper(depth)?;
        let start = self.out.length();
        // SAFETY: the caller's contract, and the dict is held. The iteration stands any change between its steps: it then
        // yields fewer entries, or others. Key and value are borrowed: they are held where the key may run Python code.
        unsafe {
            let dict = Held::new(dict);
            let size = ffi::PyDict_Size(dict.0);
            F::open_map(&mut self.out, counted);
            let (mut place, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            let mut written = 0;
            while ffi::PyDict_Next(dict.0, &raw mut place, &raw mut key, &raw mut value) != 0 {
                if written == size {
                    return Err(changed("a dict"));
                }
                if written > 0 {
                    F::next(&mut self.out);
                }
                written += 1;
                if ffi::PyUnicode_Check(key) != 0 && size_fits(key) {
                    self.text(key)?;
                    F::after_key(&mut self.out);
                    self.write(value, depth)?;
                } else {
                    let value = Held::new(value);
                    self.key(key, depth)?;
                    F::after_key(&mut self.out);
                    self.write(value.0, depth)?;
                }
                if ffi::PyDict_Size(dict.0) != size {
                    return Err(changed("a dict"));
                }
            }
            if written != size {
                return Err(changed("a dict"));
            }
            if (size as usize) < counted {
                F::correct_map(&mut self.out, start, counted, size as usize);
            }
        }
        F::close_map(&mut self.out);
        Ok(())
    }

    /// A key that is not a text.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[cold]
    #[inline(never)]
    unsafe fn key(&mut self, key: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract, and the key is held.
        unsafe {
            let key = Held::new(key);
            if F::HAS_ANY_KEY && ffi::PyUnicode_Check(key.0) == 0 {
                return self.write(key.0, depth);
            }
            if ffi::Py_TYPE(key.0) == &raw mut ffi::PyLong_Type {
                let mut overflow = 0;
                let signed = ffi::PyLong_AsLongLongAndOverflow(key.0, &raw mut overflow);
                if overflow == 0 {
                    F::integer_key(&mut self.out, signed);
                    return Ok(());
                }
            }
            self.key_by_msgspec(key.0)
        }
    }

    /// # Safety
    /// As [`Walk::write`], and `set` is a set or a frozenset.
    pub(super) unsafe fn set(&mut self, set: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        let depth = deeper(depth)?;
        // SAFETY: the caller's contract; the set is held by its iterator, which notices a change.
        unsafe {
            let size = ffi::PySet_Size(set);
            F::open_array(&mut self.out, size as usize);
            if size > 0 {
                let items = Held::own(ffi::PyObject_GetIter(set))?;
                let mut written = 0;
                while let Ok(item) = Held::own(ffi::PyIter_Next(items.0)) {
                    if written > 0 {
                        F::next(&mut self.out);
                    }
                    written += 1;
                    self.write(item.0, depth)?;
                }
                if !ffi::PyErr_Occurred().is_null() {
                    return Err(Raised);
                }
                if written != size {
                    return Err(changed("a set"));
                }
            }
        }
        F::close_array(&mut self.out);
        Ok(())
    }
}

/// Bytes of a text or of bytes that every format can say; what msgspec says of more counts.
const LONGEST: usize = u32::MAX as usize;

/// True if a text that is a map's key is short enough to be written here.
///
/// # Safety
/// The GIL is held, and `text` is a str.
#[inline]
unsafe fn size_fits(text: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's contract. A character has four bytes at most.
    unsafe { ffi::PyUnicode_GET_LENGTH(text) as usize <= LONGEST / 4 }
}
