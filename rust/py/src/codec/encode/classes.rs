//! How instances of each class are written, found out once.

use std::cell::UnsafeCell;
use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{ffi, intern};
use websocket_utils_core::codec::{json, msgpack};

use super::super::Format;
use super::super::class;

/// What an object of a class is written as.
pub(super) enum Kind {
    /// A map or an array of its fields.
    Record(Record),
    /// The value of an enum's member.
    Member,
    /// What msgspec makes of it: a date, a UUID, a class that is laid out in another way...
    Foreign,
    /// Uncertain: a set of a class of its own, or what the object itself must be asked about.
    Unsure,
}

/// A class that was seen.
pub(super) struct Known {
    type_: Py<PyType>,
    pub(super) kind: Kind,
}

/// Classes that are remembered: a power of two. A program sends a few dozen.
const ENTRIES: usize = 256;

/// Neighbours that are searched for a class: it takes the first free one, or the place of the one it hashes to.
const PROBES: usize = 8;

struct Cache(UnsafeCell<[Option<Rc<Known>>; ENTRIES]>);

// SAFETY: every access is within a function that holds the GIL (the module declares that it needs it) and that ends
// before Python code can run: what it returns is a share of its own. So no two accesses overlap, nor do changes of the
// counts of shares.
unsafe impl Sync for Cache {}

static CACHE: Cache = Cache(UnsafeCell::new([const { None }; ENTRIES]));

fn places(type_: *mut ffi::PyTypeObject) -> impl Iterator<Item = usize> {
    // Type objects are far apart and aligned: the middle bits of a product are as good as random.
    let hash = (type_ as usize as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (0..PROBES).map(move |probe| (hash as usize + probe) % ENTRIES)
}

/// What is known of a class. The share keeps it, whatever Python code does meanwhile.
///
/// # Safety
/// The GIL is held, until after the share is dropped.
#[inline]
pub(super) unsafe fn find(type_: *mut ffi::PyTypeObject) -> Option<Rc<Known>> {
    // SAFETY: the GIL is held, and nothing here runs Python code.
    let table = unsafe { &*CACHE.0.get() };
    places(type_).find_map(|place| table[place].as_ref().filter(|known| known.type_.as_ptr() == type_.cast())).cloned()
}

/// Finds out about a class and remembers it.
#[cold]
pub(super) fn learn(class: &Bound<'_, PyType>) -> PyResult<()> {
    let known = Rc::new(Known { type_: class.clone().unbind(), kind: kind_of(class)? });
    // SAFETY: the GIL is held, and nothing refers into the table.
    let replaced = unsafe {
        let table = &mut *CACHE.0.get();
        let mut free = places(class.as_type_ptr()).filter(|place| table[*place].is_none());
        let place = free.next().or_else(|| places(class.as_type_ptr()).next()).unwrap_or_default();
        table[place].replace(known)
    };
    // May be the last reference to a class, whose end may run Python code.
    drop(replaced);
    Ok(())
}

fn kind_of(class: &Bound<'_, PyType>) -> PyResult<Kind> {
    let py = class.py();
    if class::is_message_class(class)? {
        return Ok(Record::of_struct(class)?.map_or(Kind::Foreign, Kind::Record));
    }
    static ENUM_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static FOREIGN: PyOnceLock<[Py<PyAny>; 9]> = PyOnceLock::new();
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let foreign = FOREIGN.get_or_try_init(py, || {
        let named = |module: &str, name: &str| py.import(module)?.getattr(name).map(Bound::unbind);
        PyResult::Ok([
            named("datetime", "datetime")?,
            named("datetime", "date")?,
            named("datetime", "time")?,
            named("datetime", "timedelta")?,
            named("builtins", "memoryview")?,
            named("decimal", "Decimal")?,
            named("msgspec", "Raw")?,
            named("msgspec.msgpack", "Ext")?,
            named("msgspec", "UnsetType")?,
        ])
    })?;
    if foreign.iter().any(|foreign| foreign.is(class)) {
        return Ok(Kind::Foreign);
    }
    if class.get_type().is_subclass(ENUM_TYPE.import(py, "enum", "EnumType")?)? {
        return Ok(Kind::Member);
    }
    if class.is_subclass(UUID.import(py, "uuid", "UUID")?)? {
        return Ok(Kind::Foreign);
    }
    Ok(Record::of_dataclass(class)?.map_or(Kind::Unsure, Kind::Record))
}

/// Bytes that are the same in every message, padded so that they are copied in whole: a call of memcpy for a few bytes
/// costs more than the copy.
pub(super) struct Piece {
    pub(super) padded: [u8; 32],
    pub(super) length: usize,
    /// All of the bytes if they are more.
    pub(super) long: Option<Box<[u8]>>,
}

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        let mut padded = [0; 32];
        let is_short = bytes.len() <= padded.len();
        if is_short {
            padded[..bytes.len()].copy_from_slice(bytes);
        }
        Self { padded, length: bytes.len(), long: (!is_short).then(|| bytes.into()) }
    }
}

/// A field of a record.
pub(super) struct Field {
    /// Offset of its slot.
    pub(super) slot: usize,
    /// What stands before the value in a record that has all its fields: of the first, all from the beginning on.
    json: Piece,
    msgpack: Piece,
    /// The key alone, as it follows other entries.
    json_key: Piece,
    msgpack_key: Piece,
    /// Values that are left out, where defaults are.
    default: Default,
    pub(super) name: Py<PyString>,
}

impl Field {
    #[inline]
    pub(super) const fn before(&self, format: Format) -> &Piece {
        match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        }
    }

    pub(super) const fn key(&self, format: Format) -> &Piece {
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
    Slots,
    /// In the object's dictionary: a dataclass without slots.
    Dictionary,
}

/// How instances of a message class or a dataclass are written.
pub(super) struct Record {
    pub(super) fields: Box<[Field]>,
    /// What stands before the first entry, or first value: the opening brace, the tag.
    json_head: Piece,
    msgpack_head: Piece,
    pub(super) place: Place,
    /// An array of the values, without keys.
    pub(super) is_array: bool,
    pub(super) is_tagged: bool,
    /// Some values may be left out as a rule: each is looked at before its key is written.
    pub(super) is_sparse: bool,
    /// A field without a value is left out (in a dataclass); otherwise it is an error.
    pub(super) may_lack: bool,
}

impl Record {
    pub(super) const fn head(&self, format: Format) -> &Piece {
        match format {
            Format::Json => &self.json_head,
            Format::MessagePack => &self.msgpack_head,
        }
    }

    /// Entries of a record that has all its fields.
    pub(super) fn entries(&self) -> usize {
        self.fields.len() + usize::from(self.is_tagged)
    }

    /// The record of a `msgspec.Struct` class, or None if an instance is not laid out as expected.
    fn of_struct(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
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
        let mut record = Self::new(fields, tag.as_ref(), is_array);
        record.is_sparse = omits_defaults && !is_array;
        Ok(Some(record))
    }

    /// The record of a dataclass all of whose fields are in slots, or all in the object's dictionary; None for others.
    fn of_dataclass(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
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
        for name in fields.keys() {
            let Ok(name) = name.cast_into_exact::<PyString>() else { return Ok(None) };
            let slot = match (data_descriptor(class, &name)?, dictionary) {
                // A constant of the class (`ClassVar`) has neither a slot nor an entry.
                (None, true) => 0,
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
        let mut record = Self::new(entries.collect(), None, false);
        record.place = if dictionary { Place::Dictionary } else { Place::Slots };
        record.may_lack = true;
        record.is_sparse = dictionary;
        Ok(Some(record))
    }

    fn new(
        fields: Vec<(&str, usize, Default, Bound<'_, PyString>)>,
        tag: Option<&(String, Tag)>,
        is_array: bool,
    ) -> Self {
        let entries = fields.len() + usize::from(tag.is_some());
        let mut json_head = vec![if is_array { b'[' } else { b'{' }];
        let mut msgpack_head = Vec::new();
        if is_array {
            msgpack::write_array_header(&mut msgpack_head, entries);
        } else {
            msgpack::write_map_header(&mut msgpack_head, entries);
        }
        if let Some((field, tag)) = tag {
            if !is_array {
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
        let (json_head_piece, msgpack_head_piece) = (Piece::new(&json_head), Piece::new(&msgpack_head));
        let is_tagged = tag.is_some();
        let fields = fields.into_iter().enumerate().map(|(index, (name, slot, default, attribute))| {
            let (mut json_key, mut msgpack_key) = (vec![b','], Vec::new());
            if !is_array {
                json_key.extend(json::key(name));
                msgpack::write_text(&mut msgpack_key, name);
            }
            let first = index == 0;
            let mut json = if first { std::mem::take(&mut json_head) } else { Vec::new() };
            json.extend(&json_key[usize::from(first && !is_tagged)..]);
            let mut msgpack = if first { std::mem::take(&mut msgpack_head) } else { Vec::new() };
            msgpack.extend(&msgpack_key);
            Field {
                slot,
                json: Piece::new(&json),
                msgpack: Piece::new(&msgpack),
                json_key: Piece::new(&json_key),
                msgpack_key: Piece::new(&msgpack_key),
                default,
                name: attribute.unbind(),
            }
        });
        Self {
            fields: fields.collect(),
            json_head: json_head_piece,
            msgpack_head: msgpack_head_piece,
            place: Place::Slots,
            is_array,
            is_tagged,
            is_sparse: false,
            may_lack: false,
        }
    }
}

enum Tag {
    Text(String),
    Integer(i64),
}

fn default_of(default: &Bound<'_, PyAny>) -> PyResult<Default> {
    let py = default.py();
    static FACTORY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
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
fn data_descriptor<'py>(
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
fn slot_of(class: &Bound<'_, PyType>, descriptor: &Bound<'_, PyAny>) -> Option<usize> {
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
