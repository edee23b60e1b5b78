//! Objects whose class says too little about where their values are: dataclasses of an unusual kind, and what attrs makes.
//!
//! Their values are gathered as msgspec finds them, then written like a dict's.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};
use pyo3::{ffi, intern};

use super::record::{data_descriptor, slot_of};

/// The values of an object by name, and how many a map's head counts at first.
pub(super) type Gathered<'py> = (Bound<'py, PyDict>, usize);

/// The values of an object that has fields, or None for any other object.
pub(super) fn gather<'py>(object: &Bound<'py, PyAny>, unset: *mut ffi::PyObject) -> PyResult<Option<Gathered<'py>>> {
    let py = object.py();
    if object.is_instance_of::<PyType>() {
        return Ok(None);
    }
    // What asking raises is no answer.
    if let Ok(fields) = object.getattr(intern!(py, "__dataclass_fields__")) {
        return of_dataclass(object, &fields.cast_into::<PyDict>()?, unset).map(Some);
    }
    let own = object.get_type().getattr(intern!(py, "__dict__"))?;
    if own.contains(intern!(py, "__attrs_attrs__"))? { of_attrs(object, unset).map(Some) } else { Ok(None) }
}

fn of_dataclass<'py>(
    object: &Bound<'py, PyAny>,
    fields: &Bound<'py, PyDict>,
    unset: *mut ffi::PyObject,
) -> PyResult<Gathered<'py>> {
    let values = PyDict::new(object.py());
    let class = object.get_type();
    // SAFETY: the class is alive, and its field is only read.
    let is_plain = unsafe { (*class.as_type_ptr()).tp_getattro }
        .is_some_and(|found| std::ptr::fn_addr_eq(found, ffi::PyObject_GenericGetAttr as ffi::getattrofunc));
    let dictionary = dictionary_of(object);
    for name in fields.keys() {
        let Ok(name) = name.cast_into_exact::<PyString>() else { continue };
        let value = if is_plain {
            let own = match &dictionary {
                Some(dictionary) => dictionary.get_item(&name)?,
                None => None,
            };
            match own {
                Some(value) => Some(value),
                // A constant of the class is no value of the object.
                None if data_descriptor(&class, &name)?.is_some() => object.getattr(&name).ok(),
                None => None,
            }
        } else {
            object.getattr(&name).ok()
        };
        if let Some(value) = value.filter(|value| value.as_ptr() != unset) {
            values.set_item(name, value)?;
        }
    }
    Ok((values, fields.len()))
}

/// All that is in the object's dictionary and slots, but for private names.
fn of_attrs<'py>(object: &Bound<'py, PyAny>, unset: *mut ffi::PyObject) -> PyResult<Gathered<'py>> {
    let values = PyDict::new(object.py());
    let mut entries = 0;
    let add = |name: Bound<'py, PyString>, value: Bound<'py, PyAny>| {
        let is_left_out = value.as_ptr() == unset || name.to_str()?.starts_with('_');
        if is_left_out { Ok(()) } else { values.set_item(name, value) }
    };
    if let Some(dictionary) = dictionary_of(object) {
        entries += dictionary.len();
        for (name, value) in dictionary {
            if let Ok(name) = name.cast_into_exact::<PyString>() {
                add(name, value)?;
            }
        }
    }
    let mut next = Some(object.get_type());
    while let Some(class) = next {
        let mut slots = Vec::new();
        for item in class.getattr("__dict__")?.call_method0("items")?.try_iter()? {
            let (name, found) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            if let (Some(_), Ok(name)) = (slot_of(&class, &found), name.extract::<String>()) {
                slots.push((name, found));
            }
        }
        // The order that the class has them in.
        slots.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries += slots.len();
        for (name, slot) in slots {
            if let Ok(value) = slot.call_method1("__get__", (object,)) {
                add(PyString::new(object.py(), &name), value)?;
            }
        }
        next = class.getattr("__base__")?.cast_into().ok();
    }
    Ok((values, entries))
}

fn dictionary_of<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: the object is alive; the function gives a new reference, or null with an exception set.
    let found = unsafe {
        Bound::from_owned_ptr_or_err(object.py(), ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut()))
    };
    found.ok()?.cast_into().ok()
}
