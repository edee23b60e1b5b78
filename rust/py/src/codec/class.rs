//! Classes whose instances are made here: where the values of their fields live, and what a missing field becomes.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::object::{Instance, Value, slot};

/// What a field has when the payload doesn't name it.
pub(super) enum Missing {
    /// Nothing: the payload is at fault.
    Fault,
    /// Nothing, and that is fine: a key that need not be there.
    Absent,
    Value(Py<PyAny>),
    Made(Py<PyAny>),
}

/// How an instance without a call of its class is made.
#[derive(Clone, Copy)]
enum Allocation {
    /// Plain memory: an object that the collector never sees.
    Plain,
    /// Memory with a collector's head, untracked until it is complete.
    Collected,
    /// By the class's own `tp_alloc`: it has weak references or a dictionary.
    ByClass,
}

/// When the collector follows an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followed {
    /// Never: no value of it can be followed, unless a default is.
    IfDefaultIs,
    /// If a value of it may be followed, as msgspec decides for its classes.
    IfValueIs,
    /// Always, as Python's own classes.
    Always,
}

enum Layout {
    /// Slots at these offsets.
    Slots { offsets: Box<[usize]>, allocation: Allocation, basic_size: usize, followed: Followed },
    /// A dict with these keys.
    Dict(Box<[Py<PyString>]>),
}

/// A class.
pub(super) struct Class {
    type_: Py<PyType>,
    layout: Layout,
    missing: Box<[Missing]>,
    /// Every instance needs [`Class::complete`], also when all its fields came.
    is_never_simple: bool,
}

impl Class {
    /// A class whose instances have slots; None if they are not laid out as expected. `is_flat`: no field's value can be
    /// followed by the collector.
    pub(super) fn slotted(
        class: &Bound<'_, PyType>,
        names: &[Bound<'_, PyString>],
        missing: Vec<Missing>,
        is_flat: bool,
    ) -> PyResult<Option<Self>> {
        let offsets: Option<Vec<usize>> = names.iter().map(|name| slot_offset(class, name)).collect::<PyResult<_>>()?;
        let Some(offsets) = offsets else { return Ok(None) };
        let (allocation, basic_size) = allocation_of(class);
        let followed = match (is_message_class(class)?, is_flat) {
            (false, _) => Followed::Always,
            (true, true) => Followed::IfDefaultIs,
            (true, false) => Followed::IfValueIs,
        };
        let is_never_simple = followed != Followed::IfDefaultIs || matches!(allocation, Allocation::ByClass);
        Ok(Some(Self {
            type_: class.clone().unbind(),
            layout: Layout::Slots { offsets: offsets.into(), allocation, basic_size, followed },
            missing: missing.into(),
            is_never_simple,
        }))
    }

    /// A `TypedDict`.
    pub(super) fn dict(class: &Bound<'_, PyType>, names: &[Bound<'_, PyString>], missing: Vec<Missing>) -> Self {
        Self {
            type_: class.clone().unbind(),
            layout: Layout::Dict(names.iter().map(|name| name.clone().unbind()).collect()),
            missing: missing.into(),
            is_never_simple: true,
        }
    }

    /// Where the fields' slots lie, in the order of the fields; None for a dict.
    #[inline]
    pub(super) fn offsets(&self) -> Option<&[usize]> {
        match &self.layout {
            Layout::Slots { offsets, .. } => Some(offsets),
            Layout::Dict(_) => None,
        }
    }

    /// True if an instance in which this many fields are filled is not complete.
    #[inline]
    pub(super) const fn needs_work(&self, filled: usize) -> bool {
        self.is_never_simple || filled < self.missing.len()
    }

    /// Sets the key of a field in an instance that is a dict.
    #[cold]
    pub(super) fn set_key(&self, dict: *mut ffi::PyObject, field: usize, value: &Value) {
        let Layout::Dict(keys) = &self.layout else { return };
        // SAFETY: the GIL is held by every caller, and `dict` is a dict that nobody else has seen. Where there is no memory
        // the key stays missing, which is found when the instance is completed.
        unsafe {
            if ffi::PyDict_SetItem(dict, keys[field].as_ptr(), value.as_ptr()) < 0 {
                ffi::PyErr_Clear();
            }
        }
    }

    /// Fills in what is missing and lets the collector follow the instance if it has to.
    ///
    /// # Errors
    /// None where a field without default is missing, else what a default's factory raised.
    #[inline(never)]
    pub(super) fn complete(&self, py: Python<'_>, instance: &mut Instance<'_>) -> Result<(), Option<PyErr>> {
        match &self.layout {
            Layout::Slots { offsets, followed, .. } => {
                let is_incomplete = instance.filled < offsets.len();
                if is_incomplete {
                    self.fill_in(py, instance, offsets)?;
                }
                if is_incomplete || self.is_never_simple {
                    self.follow(instance, offsets, *followed);
                }
                Ok(())
            }
            Layout::Dict(keys) => {
                for (key, missing) in keys.iter().zip(&self.missing) {
                    // SAFETY: the GIL is held, and the object is a dict.
                    let has_key = unsafe { ffi::PyDict_Contains(instance.object.as_ptr(), key.as_ptr()) } == 1;
                    if !has_key && !matches!(missing, Missing::Absent) {
                        return Err(None);
                    }
                }
                Ok(())
            }
        }
    }

    fn fill_in(&self, py: Python<'_>, instance: &Instance<'_>, offsets: &[usize]) -> Result<(), Option<PyErr>> {
        for (offset, missing) in offsets.iter().zip(&self.missing) {
            // SAFETY: the offset is that of a slot of the instance's class; a slot is null or holds an object.
            let place = unsafe { slot(instance, *offset) };
            // SAFETY: as above.
            if unsafe { !(*place).is_null() } {
                continue;
            }
            let value = match missing {
                Missing::Fault | Missing::Absent => return Err(None),
                Missing::Value(value) => value.clone_ref(py),
                Missing::Made(factory) => factory.call0(py).map_err(Some)?,
            };
            // SAFETY: the slot is empty and takes over the reference.
            unsafe { *place = value.into_ptr() };
        }
        Ok(())
    }

    /// Lets the collector follow a complete instance: one of a message class if a value of it may be followed, and never
    /// if the class has `gc=False`.
    fn follow(&self, instance: &Instance<'_>, offsets: &[usize], followed: Followed) {
        let Layout::Slots { allocation, .. } = self.layout else { return };
        let holds_followed = followed == Followed::Always
            || offsets.iter().any(|offset| {
                // SAFETY: the offset is that of a slot of the instance's class, and every slot is filled. A tuple counts
                // only while it is followed itself.
                unsafe {
                    let value = *slot(instance, *offset);
                    ffi::PyObject_IS_GC(value) != 0
                        && (ffi::PyTuple_CheckExact(value) == 0 || ffi::PyObject_GC_IsTracked(value) != 0)
                }
            });
        let object = instance.object.as_ptr();
        // SAFETY: the object is alive and has a collector's head where the branch says so. Only `ByClass` made an
        // object that is followed from birth.
        unsafe {
            match allocation {
                Allocation::Collected if holds_followed => ffi::PyObject_GC_Track(object.cast()),
                Allocation::ByClass if !holds_followed && ffi::PyObject_IS_GC(object) != 0 => {
                    ffi::PyObject_GC_UnTrack(object.cast());
                }
                _ => {}
            }
        }
    }

    /// A new instance with no field filled, or null with Python's exception set.
    #[inline]
    pub(super) fn allocate(&self) -> *mut ffi::PyObject {
        let type_ = self.type_.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: the GIL is held by every caller. `allocation_of` chose the way that fits the class. Both quick ways
        // set the object's head only, so the rest, all of it slots, is zeroed; `basic_size` is the class's.
        unsafe {
            let Layout::Slots { allocation, basic_size, .. } = self.layout else { return ffi::PyDict_New() };
            let object: *mut ffi::PyObject = match allocation {
                Allocation::Plain => ffi::PyObject_New(type_),
                Allocation::Collected => ffi::PyObject_GC_New(type_),
                Allocation::ByClass => return (*type_).tp_alloc.map_or(ptr::null_mut(), |alloc| alloc(type_, 0)),
            };
            if !object.is_null() {
                // A loop over a few words: a call of memset would cost more.
                for offset in (size_of::<ffi::PyObject>()..basic_size).step_by(size_of::<usize>()) {
                    object.byte_add(offset).cast::<usize>().write_volatile(0);
                }
            }
            object
        }
    }
}

/// Offsets of the slots of a message class's fields, in encoding order; None if an instance is not laid out as expected.
pub(super) fn slot_offsets(class: &Bound<'_, PyType>) -> PyResult<Option<Vec<usize>>> {
    let names = class.getattr("__struct_fields__")?.cast_into::<PyTuple>()?;
    names.iter().map(|name| slot_offset(class, &name.cast_into::<PyString>()?)).collect()
}
/// The offset of one slot, as the class's member descriptor has it.
fn slot_offset(class: &Bound<'_, PyType>, name: &Bound<'_, PyString>) -> PyResult<Option<usize>> {
    for owner in class.mro() {
        let owner = owner.cast_into::<PyType>()?;
        let namespace = owner.getattr("__dict__")?;
        if !namespace.contains(name)? {
            continue;
        }
        let descriptor = namespace.get_item(name)?;
        // SAFETY: the type is compared before the object is taken for a member descriptor; its definition lives as
        // long as the class that it belongs to.
        return Ok(unsafe {
            if ffi::Py_TYPE(descriptor.as_ptr()) != &raw mut ffi::PyMemberDescr_Type {
                return Ok(None);
            }
            let member = &*(*descriptor.as_ptr().cast::<ffi::PyMemberDescrObject>()).d_member;
            let basic_size = (*class.as_type_ptr()).tp_basicsize;
            let end = member.offset + size_of::<*mut ffi::PyObject>() as ffi::Py_ssize_t;
            let is_slot = member.type_code == ffi::Py_T_OBJECT_EX
                && member.offset >= size_of::<ffi::PyObject>() as ffi::Py_ssize_t
                && end <= basic_size;
            usize::try_from(member.offset).ok().filter(|_| is_slot)
        });
    }
    Ok(None)
}

/// The quickest safe way to make instances of a class, and their size.
fn allocation_of(class: &Bound<'_, PyType>) -> (Allocation, usize) {
    // SAFETY: the class is alive, and its fields are only read.
    let (is_plain, is_collected, basic_size) = unsafe {
        let type_ = &*class.as_type_ptr();
        let is_plain = type_.tp_itemsize == 0
            && type_.tp_dictoffset == 0
            && type_.tp_weaklistoffset == 0
            && type_.tp_alloc.is_some_and(|alloc| ptr::fn_addr_eq(alloc, ffi::PyType_GenericAlloc as ffi::allocfunc));
        (is_plain, ffi::PyType_HasFeature(class.as_type_ptr(), ffi::Py_TPFLAGS_HAVE_GC) != 0, type_.tp_basicsize)
    };
    let allocation = match (is_plain, is_collected) {
        (true, true) => Allocation::Collected,
        (true, false) => Allocation::Plain,
        (false, _) => Allocation::ByClass,
    };
    (allocation, usize::try_from(basic_size).unwrap_or_default())
}

/// How a class is told from others.
pub(super) enum ClassTag {
    Untagged,
    /// Tag field and tag.
    Text(String, String),
    /// An integer: msgspec's alone.
    Other,
}

pub(super) fn tag_of(class: &Bound<'_, PyAny>) -> PyResult<ClassTag> {
    let config = class.getattr("__struct_config__")?;
    let (field, tag) = (config.getattr("tag_field")?, config.getattr("tag")?);
    Ok(match (field.extract(), tag.extract()) {
        _ if tag.is_none() => ClassTag::Untagged,
        (Ok(field), Ok(tag)) => ClassTag::Text(field, tag),
        _ => ClassTag::Other,
    })
}

/// The name of a class, for messages.
pub(super) fn class_name(class: &Bound<'_, PyAny>) -> String {
    class.getattr("__name__").and_then(|name| name.extract()).unwrap_or_else(|_| format!("{class}"))
}

/// True if `type_` is a `msgspec.Struct` class.
pub(super) fn is_message_class(type_: &Bound<'_, PyAny>) -> PyResult<bool> {
    type_.is_instance(&type_.py().import("msgspec")?.getattr("StructMeta")?)
}

/// True if `type_` is a class whose messages have no tag: a dataclass or a `TypedDict`.
pub(super) fn is_untagged_class(type_: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_typed_dict = || type_.py().import("typing")?.call_method1("is_typeddict", (type_,))?.is_truthy();
    Ok(type_.is_instance_of::<PyType>() && (type_.hasattr("__dataclass_fields__")? || is_typed_dict()?))
}
