//! A message class compiled: its plan, and where the values of its fields live in an instance.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use websocket_utils_core::codec::plan::{Accepts, Field, Plan, Shape, Tag, snake_case};
use websocket_utils_core::codec::{Fault, Refused, json, msgpack};

use super::Format;
use super::object::{Instance, Slots};

/// What a field has when the payload doesn't name it.
enum Missing {
    /// Nothing: the payload is at fault.
    Fault,
    Value(Py<PyAny>),
    Made(Py<PyAny>),
}

/// How an instance without a call of its class is made.
#[derive(Clone, Copy)]
enum Allocation {
    /// Plain memory: an object that the collector never sees.
    Plain,
    /// Memory with a collector's head, untracked until a value needs it.
    Collected,
    /// By the class's own `tp_alloc`: it has weak references or a dictionary.
    ByClass,
}

/// A compiled message class.
pub(super) struct Class {
    pub(super) type_: Py<PyType>,
    pub(super) plan: Plan,
    offsets: Box<[usize]>,
    missing: Box<[Missing]>,
    allocation: Allocation,
    basic_size: usize,
}

/// Where a plan stopped, and the field whose value it was reading.
#[derive(Clone, Copy)]
pub(super) struct Stop<'a> {
    pub(super) offset: usize,
    pub(super) field: Option<&'a str>,
}

impl Class {
    /// Compiles a `msgspec.Struct` class, or returns None if no plan can hold it.
    pub(super) fn compile(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let py = class.py();
        let config = class.getattr("__struct_config__")?;
        if config.getattr("array_like")?.is_truthy()? || class.hasattr("__post_init__")? {
            return Ok(None);
        }
        let Some(offsets) = slot_offsets(class)? else { return Ok(None) };
        let info = py.import("msgspec.inspect")?.getattr("type_info")?.call1((class,))?;
        let mut fields = Vec::with_capacity(offsets.len());
        let mut missing = Vec::with_capacity(offsets.len());
        for field in info.getattr("fields")?.cast_into::<PyTuple>()? {
            let Some(shape) = shape_of(&field.getattr("type")?)? else { return Ok(None) };
            fields.push(Field::new(field.getattr("encode_name")?.cast_into::<PyString>()?.to_str()?, shape));
            missing.push(when_missing(&field)?);
        }
        if fields.len() != offsets.len() {
            return Ok(None);
        }
        let tag = match tag_of(class)? {
            ClassTag::Untagged => None,
            ClassTag::Text(field, value) => Some(Tag::new(&field, &value, snake_case(&value).as_deref())),
            ClassTag::Other => return Ok(None),
        };
        let forbids_unknown = config.getattr("forbid_unknown_fields")?.is_truthy()?;
        let (allocation, basic_size) = allocation_of(class);
        Ok(Some(Self {
            type_: class.clone().unbind(),
            plan: Plan { tag, fields: fields.into(), forbids_unknown },
            offsets: offsets.into(),
            missing: missing.into(),
            allocation,
            basic_size,
        }))
    }

    /// Decodes a payload into a new instance.
    #[inline]
    pub(super) fn decode<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: Format,
    ) -> Result<Bound<'py, PyAny>, Stop<'_>> {
        // SAFETY: the GIL is held. `allocate` gives an instance of our class with empty slots, or null.
        let mut instance =
            unsafe { Instance::own(self.allocate()) }.map_err(|Refused| Stop { offset: 0, field: None })?;
        // SAFETY: the GIL is held while `py` lives, and the offsets were taken from the class of the instance.
        let mut sink = unsafe { Slots::new(&self.offsets) };
        match format {
            Format::Json => json::decode(&self.plan, payload, &mut sink, &mut instance),
            Format::MessagePack => msgpack::decode(&self.plan, payload, &mut sink, &mut instance),
        }
        .map_err(|fault| self.stop(fault))?;
        let is_incomplete = instance.filled < self.offsets.len();
        if is_incomplete {
            let missing = Stop { offset: payload.len(), field: None };
            self.fill_in(py, &mut instance).map_err(|Refused| missing)?;
        }
        let may_track = is_incomplete || sink.made_list || matches!(self.allocation, Allocation::ByClass);
        if may_track {
            self.follow(&mut instance);
        }
        // SAFETY: the object is complete, and the reference is ours to give.
        Ok(unsafe { Bound::from_owned_ptr(py, instance.into_ptr()) })
    }

    /// Lets the collector follow a complete instance, as msgspec does: if a value of it may be followed, and never an
    /// instance of a class with `gc=False`.
    #[cold]
    fn follow(&self, instance: &mut Instance) {
        let holds_followed = self.offsets.iter().any(|offset| {
            // SAFETY: the offset is that of a slot of the instance's class, and every slot is filled. A tuple counts
            // only while it is followed itself.
            unsafe {
                let value = *instance.slot(*offset);
                ffi::PyObject_IS_GC(value) != 0
                    && (ffi::PyTuple_CheckExact(value) == 0 || ffi::PyObject_GC_IsTracked(value) != 0)
            }
        });
        let object = instance.as_ptr();
        // SAFETY: the object is alive and has a collector's head where the branch says so. Only `ByClass` made an
        // object that is followed from birth.
        unsafe {
            match self.allocation {
                Allocation::Collected if holds_followed => ffi::PyObject_GC_Track(object.cast()),
                Allocation::ByClass if !holds_followed && ffi::PyObject_IS_GC(object) != 0 => {
                    ffi::PyObject_GC_UnTrack(object.cast());
                }
                _ => {}
            }
        }
    }

    #[cold]
    fn stop(&self, fault: Fault) -> Stop<'_> {
        let field = fault.field.and_then(|index| self.plan.fields.get(index as usize));
        Stop { offset: fault.offset, field: field.map(|field| &*field.name) }
    }

    #[cold]
    fn fill_in(&self, py: Python<'_>, instance: &mut Instance) -> Result<(), Refused> {
        for (offset, missing) in self.offsets.iter().zip(&self.missing) {
            // SAFETY: the offset is that of a slot of the instance's class.
            let slot = unsafe { instance.slot(*offset) };
            // SAFETY: as above; a slot is null or holds an object.
            if unsafe { !(*slot).is_null() } {
                continue;
            }
            let value = match missing {
                Missing::Fault => return Err(Refused),
                Missing::Value(value) => value.clone_ref(py),
                // What the factory raised, it will raise again for msgspec, which reports it.
                Missing::Made(factory) => factory.call0(py).map_err(|_| Refused)?,
            };
            // SAFETY: the slot is empty and takes over the reference.
            unsafe { *slot = value.into_ptr() };
        }
        Ok(())
    }

    /// A new instance with empty slots, or null with Python's exception set.
    #[inline]
    fn allocate(&self) -> *mut ffi::PyObject {
        let type_ = self.type_.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: the GIL is held by every caller. `allocation_of` chose the way that fits the class. Both quick ways
        // set the object's head only, so the rest, all of it slots, is zeroed; `basic_size` is the class's.
        unsafe {
            let object: *mut ffi::PyObject = match self.allocation {
                Allocation::Plain => ffi::PyObject_New(type_),
                Allocation::Collected => ffi::PyObject_GC_New(type_),
                Allocation::ByClass => return (*type_).tp_alloc.map_or(ptr::null_mut(), |alloc| alloc(type_, 0)),
            };
            if !object.is_null() {
                // A loop over a few words: a call of memset would cost more.
                for offset in (size_of::<ffi::PyObject>()..self.basic_size).step_by(size_of::<usize>()) {
                    object.byte_add(offset).cast::<usize>().write_volatile(0);
                }
            }
            object
        }
    }
}

/// Offsets of the slots of a class's fields, in encoding order; None if an instance is not laid out as expected.
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

fn when_missing(field: &Bound<'_, PyAny>) -> PyResult<Missing> {
    if field.getattr("required")?.is_truthy()? {
        return Ok(Missing::Fault);
    }
    let absent = field.py().import("msgspec")?.getattr("NODEFAULT")?;
    let factory = field.getattr("default_factory")?;
    if !factory.is(&absent) {
        return Ok(Missing::Made(factory.unbind()));
    }
    Ok(Missing::Value(field.getattr("default")?.unbind()))
}

/// The shape of a type as `msgspec.inspect` describes it, or None if no plan holds it.
fn shape_of(type_: &Bound<'_, PyAny>) -> PyResult<Option<Shape>> {
    let class = type_.get_type();
    // A constraint (bounds, lengths, a pattern) is msgspec's to check.
    let fields = type_.getattr("__struct_fields__")?.cast_into::<PyTuple>()?;
    for name in fields {
        let name = name.cast_into::<PyString>()?;
        if !matches!(name.to_str()?, "item_type" | "types") && !type_.getattr(&name)?.is_none() {
            return Ok(None);
        }
    }
    let scalar = |scalars| Ok(Some(Shape { scalars, items: None }));
    match class.name()?.to_str()? {
        "BoolType" => scalar(Accepts::BOOL),
        "IntType" => scalar(Accepts::INT),
        "FloatType" => scalar(Accepts::FLOAT),
        "StrType" => scalar(Accepts::TEXT),
        "NoneType" => scalar(Accepts::NULL),
        "ListType" => Ok(shape_of(&type_.getattr("item_type")?)?
            .map(|items| Shape { scalars: Accepts::default(), items: Some(Box::new(items)) })),
        "UnionType" => {
            let mut union = Shape::default();
            for member in type_.getattr("types")?.cast_into::<PyTuple>()? {
                let Some(shape) = shape_of(&member)? else { return Ok(None) };
                union.scalars = union.scalars.with(shape.scalars);
                union.items = union.items.or(shape.items);
            }
            Ok(Some(union))
        }
        _ => Ok(None),
    }
}

/// The name of a class, for messages.
pub(super) fn class_name(class: &Bound<'_, PyAny>) -> String {
    class.getattr("__name__").and_then(|name| name.extract()).unwrap_or_else(|_| format!("{class}"))
}

/// True if `type_` is a `msgspec.Struct` class.
pub(super) fn is_message_class(type_: &Bound<'_, PyAny>) -> PyResult<bool> {
    type_.is_instance(&type_.py().import("msgspec")?.getattr("StructMeta")?)
}
