//! Encode of message objects as Protocol Buffers, out of their slots.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use websocket_utils_core::codec::MAX_DEPTH;
use websocket_utils_core::codec::protobuf::{Number, TAG_NUMBER, key as key_of};
use websocket_utils_core::codec::protobuf::{
    begin_nested, end_nested, write_bytes, write_double, write_float, write_signed, write_unsigned,
};

use super::super::class::class_name;
use super::compile::class_of;
use super::{ProtoField, ProtoMessage, based, described, kind_of, number_named};

/// Wire types that are written.
mod wire {
    pub(super) const VARINT: u32 = 0;
    pub(super) const FIXED64: u32 = 1;
    pub(super) const LENGTH: u32 = 2;
    pub(super) const FIXED32: u32 = 5;
}

/// How instances of one class are written.
pub(in super::super) struct Writer {
    messages: Box<[Message]>,
    root: usize,
    /// The tag of a tagged class, which only the message itself has.
    head: Box<[u8]>,
    /// Python code may run: what holds this writer may be gone behind it.
    pub(in super::super) runs_python: bool,
}

struct Message {
    form: Form,
    fields: Box<[Field]>,
}

enum Form {
    /// Slots of instances of exactly this class.
    Slots(Py<PyType>),
    /// Keys of a dict.
    Dict,
    /// The value of the only field.
    Box,
    /// The items of a tuple.
    Tuple,
    /// The instance of one of the fields' classes.
    Union,
}

struct Field {
    /// Its name in errors.
    name: Box<str>,
    /// Its key, as often as its label says.
    key: Key,
    /// Where its value lies in an instance.
    offset: usize,
    dict_key: Option<Py<PyString>>,
    presence: Presence,
    /// UNSET stands for nothing: its default is that.
    skips_unset: bool,
    label: Label,
    item: Item,
    /// A value that is not what the wire has is asked for its plain form.
    has_plain_form: bool,
}

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Zero, and what is empty.
    Zero,
    /// None.
    Null,
    /// A key that is not there.
    Missing,
    /// Nothing.
    Always,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Single,
    /// With the number of items, where it is fixed.
    Repeated(Option<usize>),
    Map,
}

enum Item {
    Number(Number),
    Text,
    Bytes,
    /// Members of an enum, and how each is written. Values of a `Literal` are written as what they are.
    Chosen {
        members: Box<[(Py<PyAny>, Box<[u8]>)]>,
        is_text: bool,
    },
    Message(usize),
}

/// A key of at most five bytes.
#[derive(Clone, Copy)]
struct Key {
    bytes: [u8; 5],
    length: u8,
}

impl Key {
    fn new(number: u32, wire: u32) -> Self {
        let key = key_of(number, wire);
        let mut bytes = [0; 5];
        bytes[..key.len()].copy_from_slice(&key);
        Self { bytes, length: key.len() as u8 }
    }

    #[inline]
    fn append(self, out: &mut Vec<u8>) {
        match self.length {
            1 => out.push(self.bytes[0]),
            length => out.extend_from_slice(&self.bytes[..length.into()]),
        }
    }
}

/// Why an object can't be written.
pub(in super::super) enum Failure {
    /// A value has no form: the way to it, and what is wrong.
    Value(String, String),
    /// What Python code raised.
    Raised(PyErr),
}

impl Failure {
    #[cold]
    fn new(what: impl Into<String>) -> Self {
        Self::Value(String::new(), what.into())
    }

    #[cold]
    fn within(self, step: &str) -> Self {
        match self {
            Self::Value(path, what) => Self::Value(format!("{step}{path}"), what),
            raised @ Self::Raised(_) => raised,
        }
    }
}

/// A reference to a value that Python code might let go meanwhile.
struct Held(*mut ffi::PyObject);

impl Held {
    /// # Safety
    /// The GIL is held for the life of the result, and `object` is alive.
    unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's contract.
        unsafe { ffi::Py_INCREF(object) };
        Self(object)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the GIL is held (see `new`).
        unsafe { ffi::Py_DECREF(self.0) }
    }
}

impl Writer {
    /// The writer of a class's instances.
    ///
    /// # Errors
    /// `TypeError` for what has no form in Protocol Buffers.
    #[cold]
    pub(in super::super) fn compile(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let (described, shape) = described(class.as_any())?;
        let root: usize = based(&shape)?.0.getattr("record")?.extract()?;
        let messages: Vec<Message> = described.iter().map(message).collect::<PyResult<_>>()?;
        let mut head = Vec::new();
        if let Some(record) = &described[root].record {
            let tag = record.getattr("tag")?;
            if let Ok(tag) = tag.cast::<PyString>() {
                head = key_of(TAG_NUMBER, wire::LENGTH);
                write_bytes(&mut head, tag.to_str()?.as_bytes());
            } else if !tag.is_none() {
                head = key_of(TAG_NUMBER, wire::VARINT);
                write_signed(&mut head, tag.extract()?);
            }
        }
        let runs_python = messages.iter().flat_map(|message| &message.fields).any(|field| field.has_plain_form);
        Ok(Self { messages: messages.into(), root, head: head.into(), runs_python })
    }

    /// Appends one instance. On an error `out` has some of it.
    ///
    /// # Safety
    /// The GIL is held, and `object` is alive.
    #[inline]
    pub(in super::super) unsafe fn write(&self, object: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.reserve(256);
        out.extend_from_slice(&self.head);
        // SAFETY: the caller's contract.
        unsafe { self.message(&self.messages[self.root], object, out, 0) }
    }

    /// # Safety
    /// As [`Writer::write`].
    unsafe fn message(
        &self,
        message: &Message,
        object: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        if depth >= MAX_DEPTH {
            return Err(Failure::new(format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        // SAFETY: the object is alive. Slots are those of its class, which is compared first; each is null or holds an
        // object, which the object keeps alive unless Python code runs: whoever runs some holds it.
        unsafe {
            match &message.form {
                Form::Slots(class) => {
                    if ffi::Py_TYPE(object).cast() != class.as_ptr() {
                        return Err(unexpected(&name_of(class), object));
                    }
                    for field in &message.fields {
                        let value = *object.byte_add(field.offset).cast::<*mut ffi::PyObject>();
                        self.field(field, value, out, depth).map_err(|failure| failure.within(&field.step()))?;
                    }
                    Ok(())
                }
                Form::Dict => self.dict(message, object, out, depth),
                Form::Box => self.field(&message.fields[0], object, out, depth),
                Form::Tuple => {
                    if ffi::PyTuple_Check(object) == 0 {
                        return Err(unexpected("a tuple", object));
                    }
                    if ffi::PyTuple_GET_SIZE(object) as usize != message.fields.len() {
                        let (expected, got) = (message.fields.len(), ffi::PyTuple_GET_SIZE(object));
                        return Err(Failure::new(format!("expected {expected} items, got {got}")));
                    }
                    for (index, field) in message.fields.iter().enumerate() {
                        let value = ffi::PyTuple_GET_ITEM(object, index as ffi::Py_ssize_t);
                        let written = self.field(field, value, out, depth);
                        written.map_err(|failure| failure.within(&format!("[{index}]")))?;
                    }
                    Ok(())
                }
                Form::Union => {
                    let is_of = |message: &Message| matches!(&message.form, Form::Slots(class) if class.as_ptr() == ffi::Py_TYPE(object).cast());
                    let mut fields = message.fields.iter();
                    let found =
                        fields.find(|field| matches!(field.item, Item::Message(index) if is_of(&self.messages[index])));
                    match found {
                        Some(field) => self.field(field, object, out, depth),
                        None => Err(unexpected("one of the classes of the union", object)),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Writer::write`].
    unsafe fn dict(
        &self,
        message: &Message,
        object: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        // SAFETY: the object is alive; values are held while Python code may let them go.
        unsafe {
            if ffi::PyDict_Check(object) == 0 {
                return Err(unexpected("a dict", object));
            }
            let mut found = 0;
            for field in &message.fields {
                let Some(key) = &field.dict_key else { continue };
                let value = ffi::PyDict_GetItemWithError(object, key.as_ptr());
                if value.is_null() {
                    ffi::PyErr_Clear();
                    if field.presence == Presence::Missing {
                        continue;
                    }
                    return Err(Failure::new("the key is missing").within(&field.step()));
                }
                found += 1;
                let value = Held::new(value);
                self.field(field, value.0, out, depth).map_err(|failure| failure.within(&field.step()))?;
            }
            if ffi::PyDict_Size(object) != found {
                return Err(Failure::new("it has keys that its class does not have"));
            }
        }
        Ok(())
    }

    /// Appends one field, unless its value stands for nothing.
    ///
    /// # Safety
    /// As [`Writer::write`]; `value` may be null.
    #[inline]
    unsafe fn field(
        &self,
        field: &Field,
        value: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        if value.is_null() {
            return Err(Failure::new("it has no value"));
        }
        // SAFETY: the caller's contract.
        unsafe {
            if value == ffi::Py_None() && field.presence == Presence::Null {
                return Ok(());
            }
            if field.skips_unset && is_unset(value) {
                return Ok(());
            }
            if field.label != Label::Single {
                return self.many(field, value, out, depth);
            }
            let before = out.len();
            field.key.append(out);
            let start = out.len();
            self.item(field, value, out, depth)?;
            // Zero has no bit anywhere, and neither has the length of nothing.
            if field.presence == Presence::Zero && out[start..].iter().all(|byte| *byte == 0) {
                out.truncate(before);
            }
        }
        Ok(())
    }

    /// Appends all items of a list, or all entries of a table.
    ///
    /// # Safety
    /// As [`Writer::write`].
    unsafe fn many(
        &self,
        field: &Field,
        value: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's contract; the value is held, as Python code may run.
        unsafe {
            let value = Held::new(value);
            if field.label == Label::Map {
                return self.table(field, value.0, out, depth);
            }
            let is_packed = matches!(field.item, Item::Number(_) | Item::Chosen { is_text: false, .. });
            let before = out.len();
            let mark = is_packed.then(|| {
                field.key.append(out);
                begin_nested(out)
            });
            let count = self.items(field, value.0, out, depth, !is_packed)?;
            if let Some(mark) = mark {
                end_nested(out, mark);
                if count == 0 {
                    out.truncate(before);
                }
            }
            match field.label {
                Label::Repeated(Some(length)) if length != count => {
                    Err(Failure::new(format!("expected {length} items, got {count}")))
                }
                _ => Ok(()),
            }
        }
    }

    /// Appends the items of a list, tuple or set, each behind its key if they have some; returns how many.
    ///
    /// # Safety
    /// As [`Writer::write`].
    unsafe fn items(
        &self,
        field: &Field,
        items: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
        has_keys: bool,
    ) -> Result<usize, Failure> {
        let mut write = |index: usize, item: *mut ffi::PyObject| {
            if has_keys {
                field.key.append(out);
            }
            // SAFETY: the caller's contract; each item is held by who calls this.
            unsafe { self.item(field, item, out, depth) }.map_err(|failure| failure.within(&format!("[{index}]")))
        };
        let mut count = 0;
        // SAFETY: the caller's contract. Indices are below the size that the sequence has at that moment; each item is
        // held, as Python code may change the list.
        unsafe {
            if ffi::PyList_Check(items) != 0 {
                while count < ffi::PyList_GET_SIZE(items) {
                    let item = Held::new(ffi::PyList_GET_ITEM(items, count));
                    write(count as usize, item.0)?;
                    count += 1;
                }
            } else if ffi::PyTuple_Check(items) != 0 {
                while count < ffi::PyTuple_GET_SIZE(items) {
                    write(count as usize, ffi::PyTuple_GET_ITEM(items, count))?;
                    count += 1;
                }
            } else if ffi::PyAnySet_Check(items) != 0 {
                Python::attach(|py| {
                    let set = Bound::from_borrowed_ptr(py, items);
                    for item in set.try_iter().map_err(Failure::Raised)? {
                        write(count as usize, item.map_err(Failure::Raised)?.as_ptr())?;
                        count += 1;
                    }
                    Ok::<_, Failure>(())
                })?;
            } else {
                return Err(unexpected("a list, tuple or set", items));
            }
        }
        Ok(count as usize)
    }

    /// # Safety
    /// As [`Writer::write`].
    unsafe fn table(
        &self,
        field: &Field,
        table: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        let wire = match &field.item {
            Item::Number(number) => wire_of(*number),
            Item::Chosen { is_text: false, .. } => wire::VARINT,
            _ => wire::LENGTH,
        };
        // SAFETY: the caller's contract; key and value are held, as Python code may change the dict, which then ends early
        // or late but within its entries.
        unsafe {
            if ffi::PyDict_Check(table) == 0 {
                return Err(unexpected("a dict", table));
            }
            let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
            while ffi::PyDict_Next(table, &raw mut position, &raw mut key, &raw mut value) != 0 {
                let (key, value) = (Held::new(key), Held::new(value));
                field.key.append(out);
                let mark = begin_nested(out);
                Key::new(1, wire::LENGTH).append(out);
                write_text(key.0, out).map_err(|failure| failure.within("[...]"))?;
                Key::new(2, wire).append(out);
                self.item(field, value.0, out, depth + 1).map_err(|failure| failure.within("[...]"))?;
                end_nested(out, mark);
            }
        }
        Ok(())
    }

    /// Appends one value without its key.
    ///
    /// # Safety
    /// As [`Writer::write`].
    #[inline]
    unsafe fn item(
        &self,
        field: &Field,
        value: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's contract.
        unsafe {
            let written = match &field.item {
                Item::Text => write_text(value, out),
                Item::Number(number) => write_number(*number, value, out),
                Item::Bytes => write_bytes_of(value, out),
                Item::Chosen { members, is_text } => write_chosen(members, *is_text, value, out),
                Item::Message(index) => {
                    let held = Held::new(value);
                    let mark = begin_nested(out);
                    self.message(&self.messages[*index], held.0, out, depth + 1)?;
                    end_nested(out, mark);
                    return Ok(());
                }
            };
            match written {
                Err(Failure::Value(..)) if field.has_plain_form => self.plain(field, value, out, written),
                written => written,
            }
        }
    }

    /// Appends a value in the form that msgspec has for it: text of dates and of numbers.
    ///
    /// # Safety
    /// As [`Writer::write`].
    #[cold]
    unsafe fn plain(
        &self,
        field: &Field,
        value: *mut ffi::PyObject,
        out: &mut Vec<u8>,
        refused: Result<(), Failure>,
    ) -> Result<(), Failure> {
        static TO_BUILTINS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        Python::attach(|py| {
            // SAFETY: the value is alive, and this holds it.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            let convert = TO_BUILTINS.import(py, "msgspec", "to_builtins").map_err(Failure::Raised)?;
            let Ok(plain) = convert.call1((value,)) else { return refused };
            let value = plain.as_ptr();
            // SAFETY: the plain value is held here.
            unsafe {
                match &field.item {
                    Item::Text => write_text(value, out),
                    Item::Number(number) => write_number(*number, value, out),
                    _ => refused,
                }
            }
        })
    }
}

impl Field {
    fn step(&self) -> String {
        format!(".{}", self.name)
    }
}

/// Compiles a message.
fn message(described: &ProtoMessage<'_>) -> PyResult<Message> {
    let mut offsets: Box<[usize]> = Box::default();
    let form = match (described.kind.as_str(), &described.record) {
        (_, Some(record)) => match class_of(record)?.offsets() {
            Some(found) => {
                offsets = found.into();
                Form::Slots(record.getattr("type")?.cast_into::<PyType>()?.unbind())
            }
            None => Form::Dict,
        },
        ("box", None) => Form::Box,
        ("tuple", None) => Form::Tuple,
        _ => Form::Union,
    };
    let fields = described.fields.iter().filter(|field| field.field.is_some() || described.record.is_none());
    let fields =
        fields.enumerate().map(|(place, described)| field(described, offsets.get(place).copied().unwrap_or_default()));
    Ok(Message { form, fields: fields.collect::<PyResult<_>>()? })
}

fn field(described: &ProtoField<'_>, offset: usize) -> PyResult<Field> {
    let (base, type_) = based(&described.shape)?;
    let (label, item_shape) = match described.label.as_str() {
        "repeated" if kind_of(&base)? == "Fixed" => {
            let items = base.getattr("items")?.cast_into::<PyTuple>()?;
            (Label::Repeated(Some(items.len())), Some(items.get_item(0)?))
        }
        "repeated" => (Label::Repeated(None), Some(base.getattr("item")?)),
        "map" => (Label::Map, Some(base.getattr("value")?)),
        _ => (Label::Single, None),
    };
    let (item_base, item_type) = match &item_shape {
        Some(shape) => based(shape)?,
        None => (base, type_),
    };
    let (item, wire) = match (described.message, number_named(&described.type_)) {
        (Some(index), _) => (Item::Message(index), wire::LENGTH),
        _ if kind_of(&item_base)? == "Choice" => {
            let is_text = described.type_ == "string";
            (chosen(&item_base, is_text)?, if is_text { wire::LENGTH } else { wire::VARINT })
        }
        (None, Some(number)) => (Item::Number(number), wire_of(number)),
        (None, None) => (if described.type_ == "string" { Item::Text } else { Item::Bytes }, wire::LENGTH),
    };
    // Numbers of a list stand behind one key, together.
    let wire = if label == Label::Single { wire } else { wire::LENGTH };
    let (mut dict_key, mut skips_unset, mut name) = (None, false, described.name.clone());
    if let Some(field) = &described.field {
        dict_key = Some(field.getattr("name")?.cast_into::<PyString>()?.unbind());
        name = field.getattr("encode_name")?.extract()?;
        let default = field.getattr("default")?;
        // SAFETY: the GIL is held, and the object is alive.
        skips_unset = unsafe { is_unset(default.as_ptr()) };
    }
    Ok(Field {
        name: name.into(),
        key: Key::new(described.number, wire),
        offset,
        dict_key,
        presence: match described.absent.as_str() {
            "zero" => Presence::Zero,
            "none" => Presence::Null,
            "missing" => Presence::Missing,
            _ => Presence::Always,
        },
        skips_unset,
        label,
        item,
        has_plain_form: item_type.is_some(),
    })
}

/// Members of an enum by what is written for each; of a `Literal` there are none.
fn chosen(base: &Bound<'_, PyAny>, is_text: bool) -> PyResult<Item> {
    let mut members = Vec::new();
    let values = base.getattr(if is_text { "texts" } else { "integers" })?.cast_into::<PyDict>()?;
    for (name, value) in values {
        if name.is(&value) {
            continue;
        }
        let mut written = Vec::new();
        if is_text {
            // A name with lone surrogates has no form: its member is none that can be written.
            let Ok(text) = name.cast::<PyString>()?.to_str() else { continue };
            write_bytes(&mut written, text.as_bytes());
        } else {
            write_signed(&mut written, name.extract()?);
        }
        members.push((value.unbind(), written.into()));
    }
    Ok(Item::Chosen { members: members.into(), is_text })
}

const fn wire_of(number: Number) -> u32 {
    match number {
        Number::Double => wire::FIXED64,
        Number::Float => wire::FIXED32,
        _ => wire::VARINT,
    }
}

fn name_of(class: &Py<PyType>) -> String {
    Python::attach(|py| class_name(class.bind(py).as_any()))
}

/// # Safety
/// The GIL is held, and `value` is alive.
unsafe fn is_unset(value: *mut ffi::PyObject) -> bool {
    static UNSET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // SAFETY: the caller's contract.
    let py = unsafe { Python::assume_attached() };
    UNSET.import(py, "msgspec", "UNSET").is_ok_and(|unset| unset.as_ptr() == value)
}

/// A value of another type than the field's.
#[cold]
unsafe fn unexpected(expected: &str, value: *mut ffi::PyObject) -> Failure {
    Python::attach(|py| {
        // SAFETY: the value is alive.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        Failure::new(format!("expected {expected}, got {}", class_name(value.get_type().as_any())))
    })
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn write_text(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Failure> {
    // SAFETY: the value is alive, and each look inside follows a check of its type; none runs Python code.
    unsafe {
        if ffi::PyUnicode_Check(value) == 0 {
            return Err(unexpected("str", value));
        }
        let (bytes, length) = if ffi::PyUnicode_IS_COMPACT_ASCII(value) != 0 {
            (ffi::PyUnicode_DATA(value).cast::<u8>().cast_const(), ffi::PyUnicode_GET_LENGTH(value))
        } else {
            let mut size = 0;
            let bytes = ffi::PyUnicode_AsUTF8AndSize(value, &raw mut size);
            if bytes.is_null() {
                ffi::PyErr_Clear();
                return Err(Failure::new("it has lone surrogates, which are no UTF-8"));
            }
            (bytes.cast::<u8>(), size)
        };
        write_bytes(out, std::slice::from_raw_parts(bytes, length as usize));
    }
    Ok(())
}

/// # Safety
/// The GIL is held, and `value` is alive.
unsafe fn write_bytes_of(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Failure> {
    // SAFETY: the value is alive, and each look inside follows a check of its type; none runs Python code.
    unsafe {
        let (bytes, length) = if ffi::PyBytes_Check(value) != 0 {
            (ffi::PyBytes_AS_STRING(value), ffi::PyBytes_Size(value))
        } else if ffi::PyByteArray_Check(value) != 0 {
            (ffi::PyByteArray_AsString(value).cast_const(), ffi::PyByteArray_Size(value))
        } else {
            return Err(unexpected("bytes", value));
        };
        write_bytes(out, std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize));
    }
    Ok(())
}

/// # Safety
/// The GIL is held, and `value` is alive.
unsafe fn write_chosen(
    members: &[(Py<PyAny>, Box<[u8]>)],
    is_text: bool,
    value: *mut ffi::PyObject,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    if let Some((_, written)) = members.iter().find(|(member, _)| member.as_ptr() == value) {
        out.extend_from_slice(written);
        return Ok(());
    }
    if !members.is_empty() {
        // SAFETY: the caller's contract.
        return Err(unsafe { unexpected("a member of the enum", value) });
    }
    // SAFETY: the caller's contract.
    unsafe { if is_text { write_text(value, out) } else { write_number(Number::Int64, value, out) } }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn write_number(number: Number, value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Result<(), Failure> {
    // SAFETY: the caller's contract; each look inside follows a check of the type, and none runs Python code.
    unsafe {
        match number {
            Number::Double => write_double(out, float_of(value)?),
            Number::Float => {
                let wide = float_of(value)?;
                #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what the annotation says")]
                let narrow = wide as f32;
                if narrow.is_infinite() && wide.is_finite() {
                    return Err(Failure::new(format!("{wide} is beyond the range of a 32-bit float")));
                }
                write_float(out, narrow);
            }
            Number::Bool => {
                if value != ffi::Py_True() && value != ffi::Py_False() {
                    return Err(unexpected("bool", value));
                }
                out.push(u8::from(value == ffi::Py_True()));
            }
            Number::UInt64 | Number::UInt32 => write_unsigned(out, unsigned_of(number, value)?),
            Number::Int64 | Number::Int32 => write_signed(out, signed_of(number, value)?),
        }
    }
    Ok(())
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn float_of(value: *mut ffi::PyObject) -> Result<f64, Failure> {
    // SAFETY: the caller's contract; each look inside follows a check of the type.
    unsafe {
        if ffi::PyFloat_Check(value) != 0 {
            return Ok(ffi::PyFloat_AS_DOUBLE(value));
        }
        if !is_integer(value) {
            return Err(unexpected("float", value));
        }
        // A whole price may be written without a point, as msgspec reads it in JSON.
        let float = ffi::PyLong_AsDouble(value);
        if float.to_bits() == (-1.0_f64).to_bits() && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return Err(Failure::new("the integer is beyond the range of a float"));
        }
        Ok(float)
    }
}

/// An `int`, and no `bool`.
///
/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn is_integer(value: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let type_ = ffi::Py_TYPE(value);
        type_ == &raw mut ffi::PyLong_Type || (ffi::PyLong_Check(value) != 0 && type_ != &raw mut ffi::PyBool_Type)
    }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn signed_of(number: Number, value: *mut ffi::PyObject) -> Result<i64, Failure> {
    // SAFETY: the caller's contract; the value is an integer where it is read as one.
    unsafe {
        if !is_integer(value) {
            return Err(unexpected("int", value));
        }
        let mut overflow = 0;
        let signed = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
        if overflow != 0 || (number == Number::Int32 && i32::try_from(signed).is_err()) {
            return Err(out_of_range(number, value));
        }
        Ok(signed)
    }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn unsigned_of(number: Number, value: *mut ffi::PyObject) -> Result<u64, Failure> {
    // SAFETY: the caller's contract; the value is an integer where it is read as one.
    unsafe {
        if !is_integer(value) {
            return Err(unexpected("int", value));
        }
        let mut overflow = 0;
        let signed = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
        let unsigned = match (overflow, u64::try_from(signed)) {
            (0, Ok(unsigned)) => unsigned,
            (1.., _) => {
                let unsigned = ffi::PyLong_AsUnsignedLongLong(value);
                if unsigned == u64::MAX && !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                    return Err(out_of_range(number, value));
                }
                unsigned
            }
            _ => return Err(out_of_range(number, value)),
        };
        if number == Number::UInt32 && u32::try_from(unsigned).is_err() {
            return Err(out_of_range(number, value));
        }
        Ok(unsigned)
    }
}

/// # Safety
/// The GIL is held, and `value` is an integer.
#[cold]
unsafe fn out_of_range(number: Number, value: *mut ffi::PyObject) -> Failure {
    let (least, most) = match number {
        Number::UInt64 => ("0", u64::MAX.to_string()),
        Number::UInt32 => ("0", u32::MAX.to_string()),
        Number::Int32 => ("-2147483648", i32::MAX.to_string()),
        _ => ("-9223372036854775808", i64::MAX.to_string()),
    };
    Python::attach(|py| {
        // SAFETY: the value is alive.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        // A huge one refuses to be written out.
        let got = value.str().map_or_else(|_| "a larger one".to_owned(), |text| text.to_string());
        Failure::new(format!("expected an integer from {least} to {most}, got {got}"))
    })
}

/// `TypeError` for a failure that is told as what it is about.
pub(in super::super) fn refusal(failure: Failure) -> PyErr {
    match failure {
        Failure::Raised(error) => error,
        Failure::Value(path, what) => PyTypeError::new_err(format!("{what} - at `${path}`")),
    }
}
