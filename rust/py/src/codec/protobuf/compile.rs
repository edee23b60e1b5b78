//! Described messages as a plan, with what its numbers mean to Python.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use websocket_utils_core::codec::SequenceKind;
use websocket_utils_core::codec::plan::snake_case;
use websocket_utils_core::codec::protobuf::{Absent, Field, Form, Item, Label, Message, Plan, Root, Tag};

use super::super::class::{Class, Missing, class_name};
use super::super::model::{Chosen, Meanings, when_missing};
use super::{Conversion, ProtoField, ProtoMessage, based, described, kind_of, number_named};

/// Compiles a message class or a union of them.
///
/// # Errors
/// `TypeError` for what has no form in Protocol Buffers.
pub(super) fn compile(type_: &Bound<'_, PyAny>) -> PyResult<(Plan, Meanings)> {
    let (described, shape) = described(type_)?;
    let mut compiler = Compiler { described: &described, choices: Vec::new(), conversions: Vec::new() };
    let (mut messages, mut classes) = (Vec::new(), Vec::new());
    for (index, message) in described.iter().enumerate() {
        messages.push(compiler.message(index, message)?);
        // Records come first, and have the indices of their messages.
        if let Some(record) = &message.record {
            classes.push(class_of(record)?);
        }
    }
    let root = root_of(&based(&shape)?.0)?;
    let plan = Plan::new(messages, root)
        .map_err(|_| PyRuntimeError::new_err("internal error: the messages do not fit together"))?;
    let Compiler { choices, conversions, .. } = compiler;
    let meanings = Meanings {
        classes: classes.into(),
        choices: choices.into(),
        foreign: Box::default(),
        conversions: conversions.into(),
    };
    Ok((plan, meanings))
}

fn root_of(shape: &Bound<'_, PyAny>) -> PyResult<Root> {
    let record = |shape: &Bound<'_, PyAny>| based(shape)?.0.getattr("record")?.extract::<usize>();
    if kind_of(shape)? == "Nested" {
        return record(shape).map(Root::One);
    }
    let members = shape.getattr("members")?.cast_into::<PyTuple>()?;
    Ok(Root::Tagged(members.iter().map(|member| record(&member)).collect::<PyResult<_>>()?))
}

struct Compiler<'a, 'py> {
    described: &'a [ProtoMessage<'py>],
    choices: Vec<Chosen>,
    conversions: Vec<Conversion>,
}

impl<'py> Compiler<'_, 'py> {
    fn message(&mut self, index: usize, message: &ProtoMessage<'py>) -> PyResult<Message> {
        let form = match message.kind.as_str() {
            "record" => Form::Record(index),
            "box" => Form::Box,
            "tuple" => Form::Tuple,
            _ => Form::Union,
        };
        let (mut tag, mut forbids_unknown, mut conversion) = (None, false, None);
        if let Some(record) = &message.record {
            tag = tag_of(record)?;
            forbids_unknown = record.getattr("forbids_unknown")?.is_truthy()?;
            if !record.getattr("post_init")?.is_none() {
                conversion = Some(self.conversion(Conversion::PostInit));
            }
        }
        let fields = message.fields.iter().filter(|field| field.field.is_some() || message.record.is_none());
        let fields = fields.map(|field| self.field(field)).collect::<PyResult<Vec<_>>>()?;
        let mut compiled = Message::new(form, fields);
        (compiled.tag, compiled.forbids_unknown, compiled.conversion) = (tag, forbids_unknown, conversion);
        Ok(compiled)
    }

    fn field(&mut self, described: &ProtoField<'py>) -> PyResult<Field> {
        let (base, type_) = based(&described.shape)?;
        let (label, item_shape) = match described.label.as_str() {
            "repeated" => {
                let (label, item) = repeated(&base)?;
                (label, Some(item))
            }
            "map" => (Label::Map, Some(base.getattr("value")?)),
            _ => (Label::Single, None),
        };
        // A box has the value's own conversion inside.
        let is_boxed = described.message.is_some_and(|index| self.described[index].kind == "box");
        let (item_base, item_type) = match &item_shape {
            Some(shape) => based(shape)?,
            None => (base, None),
        };
        let item_conversion = item_type.filter(|_| !is_boxed).map(|type_| self.converted(type_));
        let conversion = type_.filter(|_| !is_boxed || item_shape.is_some()).map(|type_| self.converted(type_));
        let item = self.item(described, &item_base)?;
        let absent = match described.absent.as_str() {
            "zero" => Absent::Zero,
            "none" => Absent::Null,
            // A key that is left out is what the class does without a value, too.
            "default" | "missing" => Absent::Default,
            _ => Absent::Fault,
        };
        let name = match &described.field {
            Some(field) => field.getattr("encode_name")?.extract()?,
            None => described.name.clone(),
        };
        let mut field = Field::new(&name, described.number, item);
        (field.label, field.absent) = (label, absent);
        (field.conversion, field.item_conversion) = (conversion, item_conversion);
        Ok(field)
    }

    fn item(&mut self, described: &ProtoField<'py>, base: &Bound<'py, PyAny>) -> PyResult<Item> {
        if let Some(index) = described.message {
            return Ok(Item::Message(index));
        }
        if kind_of(base)? == "Choice" {
            self.choices.push(Chosen::of(base)?);
            let choice = self.choices.len() - 1;
            return Ok(if described.type_ == "string" {
                Item::ChosenText(choice)
            } else {
                Item::ChosenInteger(choice)
            });
        }
        Ok(match (number_named(&described.type_), described.type_.as_str()) {
            (Some(number), _) => Item::Number(number),
            (None, "string") => Item::Text,
            _ => Item::Bytes,
        })
    }

    fn converted(&mut self, type_: Bound<'py, PyAny>) -> usize {
        self.conversion(Conversion::Type(type_.unbind()))
    }

    fn conversion(&mut self, conversion: Conversion) -> usize {
        self.conversions.push(conversion);
        self.conversions.len() - 1
    }
}

/// A repeated field: what becomes of it, and the shape of an item.
fn repeated<'py>(base: &Bound<'py, PyAny>) -> PyResult<(Label, Bound<'py, PyAny>)> {
    if kind_of(base)? == "Fixed" {
        let items = base.getattr("items")?.cast_into::<PyTuple>()?;
        return Ok((Label::Repeated(SequenceKind::Tuple, Some(items.len())), items.get_item(0)?));
    }
    let kind = match base.getattr("kind")?.cast::<PyString>()?.to_str()? {
        "list" => SequenceKind::List,
        "tuple" => SequenceKind::Tuple,
        "set" => SequenceKind::Set,
        _ => SequenceKind::FrozenSet,
    };
    Ok((Label::Repeated(kind, None), base.getattr("item")?))
}

/// The tag of a record, if it has one.
fn tag_of(record: &Bound<'_, PyAny>) -> PyResult<Option<Tag>> {
    let (Some(field), tag) = (record.getattr("tag_field")?.extract::<Option<String>>()?, record.getattr("tag")?) else {
        return Ok(None);
    };
    Ok(match tag.extract::<String>() {
        _ if tag.is_none() => None,
        Ok(tag) => Some(Tag::text(&field, &tag, snake_case(&tag).as_deref())),
        Err(_) => Some(Tag::integer(&field, tag.extract()?)),
    })
}

/// The class of a record.
pub(super) fn class_of(record: &Bound<'_, PyAny>) -> PyResult<Class> {
    let type_ = record.getattr("type")?.cast_into::<PyType>()?;
    let is_dict = record.getattr("kind")?.cast::<PyString>()?.to_str()? == "dict";
    let (mut names, mut missing, mut is_flat) = (Vec::new(), Vec::new(), true);
    for field in record.getattr("fields")?.cast_into::<PyTuple>()? {
        is_flat &= kind_of(&field.getattr("shape")?)? == "Scalar";
        names.push(field.getattr("name")?.cast_into::<PyString>()?);
        let may_be_absent = is_dict && !field.getattr("is_required")?.is_truthy()?;
        missing.push(if may_be_absent { Missing::Absent } else { when_missing(&field)? });
    }
    if is_dict {
        return Ok(Class::dict(&type_, &names, missing));
    }
    Class::slotted(&type_, &names, missing, is_flat)?.ok_or_else(|| {
        let name = class_name(type_.as_any());
        PyTypeError::new_err(format!(
            "{name} has no form in Protocol Buffers: its instances are laid out in an own way"
        ))
    })
}
