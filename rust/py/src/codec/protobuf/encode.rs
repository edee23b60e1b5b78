//! Encode of message objects as Protocol Buffers, out of their slots.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use websocket_utils_core::codec::MAX_DEPTH;
use websocket_utils_core::codec::protobuf::{
    Key, TAG_NUMBER, begin_nested, end_nested, key as key_of, write_bytes, write_signed,
};

use super::super::class::class_name;
use super::layout::{self, Field, Form, Item, Label, Message, Presence, is_unset, wire, wire_of};
use super::quick::write_quickly;
use super::value::{Failure, Held, Written, unexpected, write_bytes_of, write_chosen, write_number, write_text};
use super::{based, described};

/// How instances of one class are written.
pub(in super::super) struct Writer {
    messages: Box<[Message]>,
    root: usize,
    /// The tag of a tagged class, which only the message itself has.
    head: Box<[u8]>,
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
        let messages: Vec<Message> = described.iter().map(layout::message).collect::<PyResult<_>>()?;
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
        Ok(Self { messages: messages.into(), root, head: head.into() })
    }

    /// Appends one instance. On an error `out` has some of it.
    ///
    /// # Safety
    /// The GIL is held, and `object` is alive.
    #[inline]
    pub(in super::super) unsafe fn write(&self, object: *mut ffi::PyObject, out: &mut Vec<u8>) -> Written {
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
    ) -> Written {
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
                        if let Some(quick) = field.quick
                            && !value.is_null()
                            && write_quickly(field, quick, value, out)
                        {
                            continue;
                        }
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
    unsafe fn dict(&self, message: &Message, object: *mut ffi::PyObject, out: &mut Vec<u8>, depth: usize) -> Written {
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
    unsafe fn field(&self, field: &Field, value: *mut ffi::PyObject, out: &mut Vec<u8>, depth: usize) -> Written {
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
    unsafe fn many(&self, field: &Field, value: *mut ffi::PyObject, out: &mut Vec<u8>, depth: usize) -> Written {
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
            } else if ffi::PyAnySet_CheckExact(items) != 0 {
                Python::attach(|py| {
                    let set = Bound::from_borrowed_ptr(py, items);
                    for item in set.try_iter().map_err(Failure::raised)? {
                        write(count as usize, item.map_err(Failure::raised)?.as_ptr())?;
                        count += 1;
                    }
                    Written::Ok(())
                })?;
            } else {
                return Err(unexpected("a list, tuple or set", items));
            }
        }
        Ok(count as usize)
    }

    /// # Safety
    /// As [`Writer::write`].
    unsafe fn table(&self, field: &Field, table: *mut ffi::PyObject, out: &mut Vec<u8>, depth: usize) -> Written {
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
    unsafe fn item(&self, field: &Field, value: *mut ffi::PyObject, out: &mut Vec<u8>, depth: usize) -> Written {
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
                Err(_) if field.has_plain_form => plain(field, value, out, written),
                written => written,
            }
        }
    }
}

/// Appends a value in the form that msgspec has for it: text of dates and of numbers.
///
/// # Safety
/// The GIL is held, and `value` is alive.
#[cold]
unsafe fn plain(field: &Field, value: *mut ffi::PyObject, out: &mut Vec<u8>, refused: Written) -> Written {
    static TO_BUILTINS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Python::attach(|py| {
        // SAFETY: the value is alive, and this holds it.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        let convert = TO_BUILTINS.import(py, "msgspec", "to_builtins").map_err(Failure::raised)?;
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

fn name_of(class: &Py<PyType>) -> String {
    Python::attach(|py| class_name(class.bind(py).as_any()))
}
