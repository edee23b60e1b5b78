//! How instances of a message class or a dataclass are written: their fields, and what stands between the values.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{ffi, intern};
use websocket_utils_core::codec::{Append, json, msgpack};

use super::super::Format;
use super::super::class;
use super::cursor::Cursor;

/// A field of a record that has all its fields, and what stands before its value: of the first field, all from the
/// record's beginning on. Padded so that it is copied in whole: a call of memcpy for a few bytes costs more than the copy.
pub(super) struct Step {
    /// Offset of the field's slot.
    pub(super) slot: usize,
    padded: [u8; Self::PADDED],
    length: usize,
    /// All of the bytes if they are more.
    long: Box<[u8]>,
}

impl Step {
    const PADDED: usize = 32;

    fn new(slot: usize, bytes: &[u8]) -> Self {
        let mut padded = [0; Self::PADDED];
        let is_short = bytes.len() <= padded.len();
        if is_short {
            padded[..bytes.len()].copy_from_slice(bytes);
        }
        Self { slot, padded, length: bytes.len(), long: if is_short { Box::default() } else { bytes.into() } }
    }

    #[inline]
    pub(super) fn append_to(&self, out: &mut Cursor<'_>) {
        if self.length == 0 {
            // Between the values of an array in MessagePack.
        } else if self.length <= Self::PADDED {
            // SAFETY: the branch says so.
            unsafe { out.append_padded(&self.padded, self.length) }
        } else {
            out.append(&self.long);
        }
    }
}

/// A field, wherever its value is, and in whatever company.
pub(super) struct Field {
    pub(super) name: Py<PyString>,
    pub(super) slot: usize,
    /// The key as it follows other entries.
    json_key: Box<[u8]>,
    msgpack_key: Box<[u8]>,
    /// Values that are left out, where defaults are.
    default: Default,
}

impl Field {
    pub(super) const fn key(&self, format: Format) -> &[u8] {
        match format {
            Format::Json => &self.json_key,
            Format::MessagePack => &self.msgpack_key,
        }
    }

    /// True if the class leaves out such a value.
    ///
    /// # Safety
    /// The GIL is held, and `value` is an object.
    pub(super) unsafe fn is_left_out(&self, value: *mut ffi::PyObject) -> bool {
        match &self.default {
            Default::Written => false,
            Default::Same(default) => default.as_ptr() == value,
            // SAFETY: each look inside follows a check of the object's exact type.
            Default::EmptyOf(class) => unsafe {
                let type_ = ffi::Py_TYPE(value);
                type_.cast() == class.as_ptr()
                    && (type_ == &raw mut ffi::PyList_Type && ffi::PyList_GET_SIZE(value) == 0
                        || type_ == &raw mut ffi::PyDict_Type && ffi::PyDict_Size(value) == 0
                        || type_ == &raw mut ffi::PySet_Type && ffi::PySet_Size(value) == 0)
            },
        }
    }
}

/// What a class leaves out.
enum Default {
    /// Nothing.
    Written,
    /// This very object.
    Same(Py<PyAny>),
    /// What such a factory makes, as long as it is empty.
    EmptyOf(Py<PyAny>),
}

/// Where the values are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In slots, all of which have a value.
    Slots,
    /// In slots, of which those without a value are left out: a dataclass.
    OptionalSlots,
    /// In the object's dictionary: a dataclass without slots.
    Dictionary,
}

/// What a record is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    /// The values alone.
    Array,
}

/// How instances of a message class or a dataclass are written.
pub(super) struct Record {
    pub(super) fields: Box<[Field]>,
    /// The quick way; empty if some values may be left out as a rule: each is looked at before its key is written.
    json: Box<[Step]>,
    msgpack: Box<[Step]>,
    /// What stands before the first entry, or first value: the opening brace, the tag.
    json_head: Box<[u8]>,
    msgpack_head: Box<[u8]>,
    pub(super) shape: Shape,
    pub(super) place: Place,
    pub(super) is_tagged: bool,
    /// Entries that a map's head counts at first.
    pub(super) entries: usize,
}

impl Record {
    #[inline]
    pub(super) const fn steps(&self, format: Format) -> &[Step] {
        match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        }
    }

    pub(super) const fn head(&self, format: Format) -> &[u8] {
        match format {
            Format::Json => &self.json_head,
            Format::MessagePack => &self.msgpack_head,
        }
    }

    /// The record of a `msgspec.Struct` class, or None if an instance is not laid out as expected.
    pub(super) fn of_struct(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let Some(offsets) = class::slot_offsets(class)? else { return Ok(None) };
        let config = class.getattr("__struct_config__")?;
        let names: Vec<String> = class.getattr("__struct_encode_fields__")?.extract()?;
        let attributes = class.getattr("__struct_fields__")?.cast_into::<PyTuple>()?;
        let defaults = class.getattr("__struct_defaults__")?.cast_into::<PyTuple>()?;
        let omits_defaults = config.getattr("omit_defaults")?.is_truthy()?;
        let is_array = config.getattr("array_like")?.is_truthy()?;
        let (field, tag) = (config.getattr("tag_field")?, config.getattr("tag")?);
        let tag = if tag.is_none() {
            None
        } else if let Ok(text) = tag.cast::<PyString>() {
            Some((field.extract::<String>()?, Tag::Text(text.extract()?)))
        } else {
            Some((field.extract::<String>()?, Tag::Integer(tag.extract()?)))
        };
        let with_default = names.len().saturating_sub(defaults.len());
        let mut fields = Vec::with_capacity(names.len());
        for (index, (name, slot)) in names.iter().zip(offsets).enumerate() {
            let default = match index.checked_sub(with_default) {
                Some(index) if omits_defaults && !is_array => default_of(&defaults.get_item(index)?)?,
                _ => Default::Written,
            };
            fields.push((name.as_str(), slot, default, attributes.get_item(index)?.cast_into::<PyString>()?));
        }
        let shape = if is_array { Shape::Array } else { Shape::Map };
        let mut record = Self::new(fields, 0, tag.as_ref(), shape);
        if omits_defaults && !is_array {
            record.drop_steps();
        }
        Ok(Some(record))
    }

    /// The record of a dataclass all of whose fields are in slots, or all in the object's dictionary; None for others.
    pub(super) fn of_dataclass(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let Some(fields) = class.getattr_opt("__dataclass_fields__")? else { return Ok(None) };
        let Ok(fields) = fields.cast_exact::<PyDict>() else { return Ok(None) };
        // SAFETY: the class is alive, and its fields are only read.
        let (is_plain, dictionary) = unsafe {
            let type_ = &*class.as_type_ptr();
            let is_plain = type_
                .tp_getattro
                .is_some_and(|found| std::ptr::fn_addr_eq(found, ffi::PyObject_GenericGetAttr as ffi::getattrofunc));
            // Negative where the interpreter manages the dictionary itself (CPython 3.11).
            (is_plain, type_.tp_dictoffset != 0 || has_managed_dictionary(class))
        };
        if !is_plain {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(fields.len());
        let mut absent = 0;
        for name in fields.keys() {
            let Ok(name) = name.cast_into_exact::<PyString>() else { return Ok(None) };
            let slot = match (data_descriptor(class, &name)?, dictionary) {
                (None, true) => 0,
                // A constant of the class (`ClassVar`).
                (None, false) => {
                    absent += 1;
                    continue;
                }
                (Some(descriptor), false) => match slot_of(class, &descriptor) {
                    Some(slot) => slot,
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
            found.push((name, slot));
        }
        if found.iter().any(|(name, _)| name.to_str().is_err()) {
            return Ok(None);
        }
        let texts: Vec<String> = found.iter().map(|(name, _)| name.extract()).collect::<PyResult<_>>()?;
        let entries =
            found.into_iter().zip(&texts).map(|((name, slot), text)| (text.as_str(), slot, Default::Written, name));
        let mut record = Self::new(entries.collect(), absent, None, Shape::Map);
        record.place = if dictionary { Place::Dictionary } else { Place::OptionalSlots };
        if dictionary || absent > 0 {
            record.drop_steps();
        }
        Ok(Some(record))
    }

    fn drop_steps(&mut self) {
        (self.json, self.msgpack) = (Box::default(), Box::default());
    }

    fn new(
        fields: Vec<(&str, usize, Default, Bound<'_, PyString>)>,
        absent: usize,
        tag: Option<&(String, Tag)>,
        shape: Shape,
    ) -> Self {
        let is_tagged = tag.is_some();
        let entries = fields.len() + absent + usize::from(is_tagged);
        let (mut json_head, mut msgpack_head) = (Vec::new(), Vec::new());
        match shape {
            Shape::Map => {
                json_head.push(b'{');
                msgpack::write_map_header(&mut msgpack_head, entries);
            }
            Shape::Array => {
                json_head.push(b'[');
                msgpack::write_array_header(&mut msgpack_head, entries);
            }
        }
        if let Some((field, tag)) = tag {
            if shape == Shape::Map {
                json_head.extend(json::key(field));
                msgpack::write_text(&mut msgpack_head, field);
            }
            match tag {
                Tag::Text(text) => {
                    json::write_text(&mut json_head, text);
                    msgpack::write_text(&mut msgpack_head, text);
                }
                Tag::Integer(value) => {
                    json::write_signed(&mut json_head, *value);
                    msgpack::write_signed(&mut msgpack_head, *value);
                }
            }
        }
        let make_field = |(name, slot, default, attribute): (&str, usize, Default, Bound<'_, PyString>)| {
            let (mut json_key, mut msgpack_key) = (vec![b','], Vec::new());
            if shape == Shape::Map {
                json_key.extend(json::key(name));
                msgpack::write_text(&mut msgpack_key, name);
            }
            let (json_key, msgpack_key) = (json_key.into(), msgpack_key.into());
            Field { name: attribute.unbind(), slot, json_key, msgpack_key, default }
        };
        let fields: Box<[Field]> = fields.into_iter().map(make_field).collect();
        let steps = |format, head: &[u8]| -> Box<[Step]> {
            let step = |(index, field): (usize, &Field)| {
                let key = field.key(format);
                match index {
                    0 if is_tagged => Step::new(field.slot, &[head, key].concat()),
                    0 => Step::new(field.slot, &[head, without_comma(key)].concat()),
                    _ => Step::new(field.slot, key),
                }
            };
            fields.iter().enumerate().map(step).collect()
        };
        Self {
            json: steps(Format::Json, &json_head),
            msgpack: steps(Format::MessagePack, &msgpack_head),
            json_head: json_head.into(),
            msgpack_head: msgpack_head.into(),
            fields,
            shape,
            place: Place::Slots,
            is_tagged,
            entries,
        }
    }
}

/// A key before which no other entry stands. In MessagePack, none begins with a comma.
pub(super) fn without_comma(key: &[u8]) -> &[u8] {
    key.strip_prefix(b",").unwrap_or(key)
}

enum Tag {
    Text(String),
    Integer(i64),
}

fn default_of(default: &Bound<'_, PyAny>) -> PyResult<Default> {
    static FACTORY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = default.py();
    let factory = FACTORY.import(py, "msgspec._core", "Factory")?;
    Ok(if default.get_type().is(factory) {
        Default::EmptyOf(default.getattr(intern!(py, "factory"))?.unbind())
    } else {
        Default::Same(default.clone().unbind())
    })
}

/// True if instances have a dictionary that the interpreter manages (since CPython 3.12 not told by its offset).
fn has_managed_dictionary(class: &Bound<'_, PyType>) -> bool {
    const MANAGED_DICT: std::ffi::c_ulong = 1 << 4;
    // SAFETY: the class is alive, and the function only reads its flags.
    unsafe { ffi::PyType_GetFlags(class.as_type_ptr()) & MANAGED_DICT != 0 }
}

/// What a class has under a name that answers for its instances before their dictionary does.
pub(super) fn data_descriptor<'py>(
    class: &Bound<'py, PyType>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    for owner in class.mro() {
        let namespace = owner.getattr("__dict__")?;
        if namespace.contains(name)? {
            let found = namespace.get_item(name)?;
            // SAFETY: the object's type is alive, and its fields are only read.
            let is_data = unsafe {
                let type_ = &*found.get_type_ptr();
                type_.tp_descr_get.is_some() && type_.tp_descr_set.is_some()
            };
            return Ok(is_data.then_some(found));
        }
    }
    Ok(None)
}

/// The offset of a slot, out of its descriptor.
pub(super) fn slot_of(class: &Bound<'_, PyType>, descriptor: &Bound<'_, PyAny>) -> Option<usize> {
    // SAFETY: the type is compared before the object is taken for a member descriptor; its definition lives as long as
    // the class that it belongs to.
    unsafe {
        if descriptor.get_type_ptr() != &raw mut ffi::PyMemberDescr_Type {
            return None;
        }
        let member = &*(*descriptor.as_ptr().cast::<ffi::PyMemberDescrObject>()).d_member;
        let end = member.offset + size_of::<*mut ffi::PyObject>() as ffi::Py_ssize_t;
        let is_slot = member.type_code == ffi::Py_T_OBJECT_EX
            && member.offset >= size_of::<ffi::PyObject>() as ffi::Py_ssize_t
            && end <= (*class.as_type_ptr()).tp_basicsize;
        usize::try_from(member.offset).ok().filter(|_| is_slot)
    }
}
