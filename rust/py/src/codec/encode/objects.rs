//! Objects on the walk over a message: records, members of enums, and what is left to others.

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use websocket_utils_core::codec::{Append, MAX_DEPTH};

use super::attributes;
use super::classes::{self, Kind, Other};
use super::form::Form;
use super::record::{Place, Record, Shape, without_comma};
use super::walk::{Held, Raised, Walk, deeper, raise, too_deep};

/// What msgspec says of a field without a value.
#[cold]
fn unset(name: &Py<PyString>) -> Raised {
    raise(|| Python::attach(|py| PyAttributeError::new_err(format!("Struct field {:?} is unset", name.bind(py)))))
}

/// The value under a name in an object's dictionary, borrowed; null if there is none.
///
/// # Safety
/// The GIL is held, `object` is held and of a class whose instances have a dictionary, and `name` is a str.
unsafe fn in_dictionary(object: *mut ffi::PyObject, name: *mut ffi::PyObject) -> Result<*mut ffi::PyObject, Raised> {
    // SAFETY: the caller's contract. The object keeps its dictionary, and the dictionary the value: dropping our reference
    // to the dictionary runs no Python code.
    unsafe {
        let dictionary = Held::own(ffi::PyObject_GenericGetDict(object, std::ptr::null_mut()))?;
        let value = ffi::PyDict_GetItemWithError(dictionary.0, name);
        if value.is_null() && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

/// Finds out about an object's class.
///
/// # Safety
/// The GIL is held, and `object` is an object that is held.
#[inline(never)]
unsafe fn learn(object: *mut ffi::PyObject) -> Result<(), Raised> {
    Python::attach(|py| {
        // SAFETY: the caller's contract.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        classes::learn(&object.get_type()).map_err(|error| {
            error.restore(py);
            Raised
        })
    })
}

/// The values of an object that has fields, and how many a map's head counts at first.
///
/// # Safety
/// The GIL is held, and `object` is an object that is held.
#[inline(never)]
unsafe fn gather(object: *mut ffi::PyObject, unset: *mut ffi::PyObject) -> Result<Option<(Held, usize)>, Raised> {
    Python::attach(|py| {
        // SAFETY: the caller's contract.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        match attributes::gather(&object, unset) {
            Ok(Some((values, counted))) => {
                // SAFETY: a new reference.
                let values = unsafe { Held::own(values.into_ptr()) };
                values.map(|values| Some((values, counted)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                error.restore(py);
                Err(Raised)
            }
        }
    })
}

impl<F: Form> Walk<'_, F> {
    /// An object that its class alone tells how to write.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[inline(never)]
    pub(super) unsafe fn write_by_class(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract. A share of what is known is dropped with the GIL held.
        unsafe {
            let kind = match classes::find(ffi::Py_TYPE(value)) {
                Some(known) => match &known.kind {
                    Kind::Record(record) => return self.record(record, value, depth),
                    Kind::Other(kind) => *kind,
                },
                None if ffi::PyAnySet_CheckExact(value) != 0 => return self.set(value, depth),
                None => return self.write_unknown(value, depth),
            };
            match kind {
                Other::Member => self.member(value, depth),
                Other::Foreign => self.by_msgspec(value),
                Other::Unsure => self.write_unsure(value, depth),
            }
        }
    }

    /// # Safety
    /// As [`Walk::write`], and `object` is an instance of exactly the record's class.
    #[inline]
    unsafe fn record(&mut self, record: &Record, object: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        let depth = deeper(depth)?;
        let steps = record.steps(F::FORMAT);
        // SAFETY: the caller's contract, and the object is held. A slot is null or holds an object.
        unsafe {
            let object = Held::new(object);
            let start = self.out.length();
            if steps.is_empty() {
                return self.sparse_record(record, object.0, depth, 0, start);
            }
            // In an array, every value has its place.
            let left_out = if record.shape == Shape::Map { self.foreign.unset } else { std::ptr::null_mut() };
            for (index, step) in steps.iter().enumerate() {
                let value = *object.0.byte_add(step.slot).cast::<*mut ffi::PyObject>();
                if value.is_null() || value == left_out {
                    return self.sparse_record(record, object.0, depth, index, start);
                }
                step.append_to(&mut self.out);
                self.write_here(value, depth)?;
            }
        }
        self.close(record);
        Ok(())
    }

    #[inline]
    fn close(&mut self, record: &Record) {
        match record.shape {
            Shape::Map => F::close_map(&mut self.out),
            Shape::Array => F::close_array(&mut self.out),
        }
    }

    /// The rest of a record, from a field on: of one that leaves out some of its fields.
    ///
    /// # Safety
    /// As [`Walk::record`], and the object is held; the record begins at `start`, and all fields before `from` have been
    /// written.
    #[cold]
    #[inline(never)]
    unsafe fn sparse_record(
        &mut self,
        record: &Record,
        object: *mut ffi::PyObject,
        depth: usize,
        from: usize,
        start: usize,
    ) -> Result<(), Raised> {
        if from == 0 {
            self.out.append(record.head(F::FORMAT));
        }
        let mut entries = from + usize::from(record.is_tagged);
        // SAFETY: the caller's contract. A slot is null or holds an object; what a dictionary gives is borrowed.
        unsafe {
            for field in &record.fields[from..] {
                let value = match record.place {
                    Place::Slots | Place::OptionalSlots => *object.byte_add(field.slot).cast::<*mut ffi::PyObject>(),
                    Place::Dictionary => in_dictionary(object, field.name.as_ptr())?,
                };
                if value.is_null() {
                    if record.place == Place::Slots {
                        return Err(unset(&field.name));
                    }
                    continue;
                }
                if record.shape == Shape::Map && (value == self.foreign.unset || field.is_left_out(value)) {
                    continue;
                }
                let key = field.key(F::FORMAT);
                self.out.append(if entries == 0 { without_comma(key) } else { key });
                entries += 1;
                self.write(value, depth)?;
            }
        }
        self.close(record);
        if entries < record.entries {
            F::correct_map(&mut self.out, start, record.entries, entries);
        }
        Ok(())
    }

    /// An enum's member: the number or text that it is, or the value that it stands for.
    ///
    /// # Safety
    /// As [`Walk::write`], and `member` is a member of an enum.
    #[inline(never)]
    unsafe fn member(&mut self, member: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract, and member and value are held.
        unsafe {
            if ffi::PyLong_Check(member) != 0 {
                return self.integer(member);
            }
            if ffi::PyUnicode_Check(member) != 0 {
                return self.text(member);
            }
            let member = Held::new(member);
            let value = Held::own(ffi::PyObject_GetAttr(member.0, self.foreign.value_name))?;
            self.stand_in(&value, depth)
        }
    }

    /// Writes a value in place of another.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn stand_in(&mut self, value: &Held, depth: usize) -> Result<(), Raised> {
        if self.stand_ins == MAX_DEPTH {
            return Err(too_deep());
        }
        self.stand_ins += 1;
        // SAFETY: the caller's contract, and the value is held.
        let written = unsafe { self.write(value.0, depth) };
        self.stand_ins -= 1;
        written
    }

    /// A value of a class that is not known yet.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[cold]
    #[inline(never)]
    unsafe fn write_unknown(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract, and the value is held.
        unsafe {
            let value = Held::new(value);
            learn(value.0)?;
            // Finds the class now, and does not come back here.
            self.write_by_class(value.0, depth)
        }
    }

    /// A value of a class that says too little about it.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[cold]
    #[inline(never)]
    unsafe fn write_unsure(&mut self, value: *mut ffi::PyObject, depth: usize) -> Result<(), Raised> {
        // SAFETY: the caller's contract, and the value is held.
        unsafe {
            let value = Held::new(value);
            if ffi::PyAnySet_Check(value.0) != 0 {
                return self.set(value.0, depth);
            }
            if let Some((values, counted)) = gather(value.0, self.foreign.unset)? {
                return self.entries(values.0, counted, depth);
            }
            match self.foreign.hook() {
                Some(hook) => {
                    let result = Held::own(ffi::PyObject_CallOneArg(hook, value.0))?;
                    self.stand_in(&result, depth)
                }
                // Says why not.
                None => self.by_msgspec(value.0),
            }
        }
    }

    /// What msgspec writes for a value, in place.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn by_msgspec(&mut self, value: *mut ffi::PyObject) -> Result<(), Raised> {
        Python::attach(|py| {
            // SAFETY: the caller's contract.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            let encoded = self.foreign.encode(&value, F::FORMAT).map_err(|error| error.restore(py));
            encoded.map(|encoded| self.out.append(encoded.as_bytes())).map_err(|()| Raised)
        })
    }

    /// What msgspec writes for a key of a map, in place: out of a map with that key alone.
    ///
    /// # Safety
    /// As [`Walk::write`].
    #[inline(never)]
    pub(super) unsafe fn key_by_msgspec(&mut self, key: *mut ffi::PyObject) -> Result<(), Raised> {
        Python::attach(|py| {
            let encode = || -> PyResult<Bound<'_, PyBytes>> {
                let map = PyDict::new(py);
                // SAFETY: the caller's contract.
                map.set_item(unsafe { Bound::from_borrowed_ptr(py, key) }, py.None())?;
                self.foreign.encode(map.as_any(), F::FORMAT)
            };
            let encoded = encode().map_err(|error| error.restore(py)).map_err(|()| Raised)?;
            let (before, after): (&[u8], &[u8]) = if F::HAS_ANY_KEY { (b"\x81", b"\xc0") } else { (b"{", b":null}") };
            let key = encoded.as_bytes().strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            self.out.append(key.unwrap_or_default());
            Ok(())
        })
    }
}
