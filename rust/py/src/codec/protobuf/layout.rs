//! How instances are written: compiled from described messages.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use websocket_utils_core::codec::protobuf::{Key, Number, write_bytes, write_signed};

use super::compile::class_of;
use super::value::Member;
use super::{ProtoField, ProtoMessage, based, kind_of, number_named};

/// Wire types that are written.
pub(super) mod wire {
    pub(in super::super) const VARINT: u32 = 0;
    pub(in super::super) const FIXED64: u32 = 1;
    pub(in super::super) const LENGTH: u32 = 2;
    pub(in super::super) const FIXED32: u32 = 5;
}

pub(super) struct Message {
    pub(super) form: Form,
    pub(super) fields: Box<[Field]>,
}

pub(super) enum Form {
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

pub(super) struct Field {
    /// Its name in errors.
    pub(super) name: Box<str>,
    /// Its key, as often as its label says.
    pub(super) key: Key,
    /// Where its value lies in an instance.
    pub(super) offset: usize,
    pub(super) dict_key: Option<Py<PyString>>,
    pub(super) presence: Presence,
    /// UNSET stands for nothing: its default is that.
    pub(super) skips_unset: bool,
    pub(super) label: Label,
    pub(super) item: Item,
    /// A value that is not what the wire has is asked for its plain form.
    pub(super) has_plain_form: bool,
    pub(super) quick: Option<Quick>,
}

/// What a field mostly is: these are written without looking further.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quick {
    Text,
    Double,
    Signed,
    Unsigned,
}

impl Quick {
    fn of(label: Label, item: &Item) -> Option<Self> {
        match (label, item) {
            (Label::Single, Item::Text) => Some(Self::Text),
            (Label::Single, Item::Number(Number::Double)) => Some(Self::Double),
            (Label::Single, Item::Number(Number::Int64)) => Some(Self::Signed),
            (Label::Single, Item::Number(Number::UInt64)) => Some(Self::Unsigned),
            _ => None,
        }
    }
}

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
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
pub(super) enum Label {
    Single,
    /// With the number of items, where it is fixed.
    Repeated(Option<usize>),
    Map,
}

pub(super) enum Item {
    Number(Number),
    Text,
    Bytes,
    /// Members of an enum, and how each is written. Values of a `Literal` are written as what they are.
    Chosen {
        members: Box<[Member]>,
        is_text: bool,
    },
    Message(usize),
}

impl Field {
    pub(super) fn step(&self) -> String {
        format!(".{}", self.name)
    }
}

/// Compiles a message.
pub(super) fn message(described: &ProtoMessage<'_>) -> PyResult<Message> {
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
        quick: Quick::of(label, &item),
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
        members.push(Member { value: value.unbind(), written: written.into() });
    }
    Ok(Item::Chosen { members: members.into(), is_text })
}

pub(super) const fn wire_of(number: Number) -> u32 {
    match number {
        Number::Double => wire::FIXED64,
        Number::Float => wire::FIXED32,
        _ => wire::VARINT,
    }
}

/// # Safety
/// The GIL is held, and `value` is alive.
pub(super) unsafe fn is_unset(value: *mut ffi::PyObject) -> bool {
    static UNSET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // SAFETY: the caller's contract.
    let py = unsafe { Python::assume_attached() };
    UNSET.import(py, "msgspec", "UNSET").is_ok_and(|unset| unset.as_ptr() == value)
}
