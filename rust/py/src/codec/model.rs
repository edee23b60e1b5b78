//! A type compiled: the plan that the scanners read by, and what its numbers mean to Python.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use websocket_utils_core::codec::plan::{
    Accepts, Choice, Classes, Field, Items, Plan, Record, Shape, Tag, Tagged, snake_case,
};
use websocket_utils_core::codec::{Fault, SequenceKind, Sink, json, msgpack};

use super::Format;
use super::class::{Class, Missing};
use super::fallback::Hook;
use super::object::Objects;
use super::protobuf::Conversion;

/// A compiled type.
pub(super) struct Model {
    plan: Plan,
    meanings: Meanings,
}

/// What the numbers of a plan mean.
pub(super) struct Meanings {
    /// Of each record.
    pub(super) classes: Box<[Class]>,
    pub(super) choices: Box<[Chosen]>,
    pub(super) foreign: Box<[Foreign]>,
    pub(super) conversions: Box<[Conversion]>,
}

/// The values of an enum or a `Literal`, by what names them.
pub(super) struct Chosen {
    texts: Named<Box<[u8]>>,
    integers: Named<i64>,
}

/// Values sorted by their names.
type Named<N> = Box<[(N, Py<PyAny>)]>;

impl Chosen {
    /// The values of a `Choice` of the description.
    pub(super) fn of(described: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut texts = Vec::new();
        for (name, value) in described.getattr("texts")?.cast_into::<PyDict>()? {
            // A name with lone surrogates has no form on the wire.
            let Ok(name) = name.cast_into::<PyString>()?.to_str().map(|name| Box::<[u8]>::from(name.as_bytes())) else {
                continue;
            };
            texts.push((name, value.unbind()));
        }
        texts.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut integers = Vec::new();
        for (name, value) in described.getattr("integers")?.cast_into::<PyDict>()? {
            integers.push((name.extract::<i64>()?, value.unbind()));
        }
        integers.sort_by_key(|(name, _)| *name);
        Ok(Self { texts: texts.into(), integers: integers.into() })
    }

    /// What names its values, for people.
    pub(super) fn names(&self) -> String {
        let texts = self.texts.iter().map(|(name, _)| format!("'{}'", String::from_utf8_lossy(name)));
        texts.chain(self.integers.iter().map(|(name, _)| name.to_string())).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn by_text(&self, text: &[u8]) -> Option<&Py<PyAny>> {
        let place = self.texts.binary_search_by(|(name, _)| (**name).cmp(text)).ok()?;
        Some(&self.texts[place].1)
    }

    pub(super) fn by_integer(&self, integer: i64) -> Option<&Py<PyAny>> {
        let place = self.integers.binary_search_by_key(&integer, |(name, _)| *name).ok()?;
        Some(&self.integers[place].1)
    }
}

/// msgspec's decoders of a type within the message.
pub(super) struct Foreign {
    json: Py<PyAny>,
    msgpack: Py<PyAny>,
}

impl Foreign {
    pub(super) const fn decode(&self, format: Format) -> &Py<PyAny> {
        match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        }
    }
}

/// Why a payload is left to msgspec.
pub(super) enum Stop {
    /// What the plan does not know stands at this offset.
    At(usize),
    /// Python code that ran on the way wants to end the program.
    Interrupt(PyErr),
}

impl Model {
    /// Compiles a type that msgspec decodes; None if a message is msgspec's as a whole.
    pub(super) fn compile(type_: &Bound<'_, PyAny>, strict: bool, hook: &Hook) -> PyResult<Option<Self>> {
        let py = type_.py();
        let described = py.import("websocket_utils._shapes")?.call_method1("describe", (type_,))?;
        let records: Vec<Bound<'_, PyAny>> = described.getattr("records")?.extract()?;
        let root = described.getattr("root")?;
        let mut compiler =
            Compiler { strict, hook, records: &records, shapes: Vec::new(), choices: Vec::new(), foreign: Vec::new() };
        let root = compiler.shape(&root)?;
        if compiler.shapes[root].foreign.is_some() {
            return Ok(None);
        }
        let (mut plans, mut classes) = (Vec::new(), Vec::new());
        for record in &records {
            let (plan, class) = compiler.record(record)?;
            plans.push(plan);
            classes.push(class);
        }
        let plan = Plan::new(compiler.shapes, plans, root, !strict)
            .map_err(|_| PyRuntimeError::new_err("internal error: a plan refers to nothing"))?;
        let is_foreign = plan.root_record().is_some_and(|record| plan.records()[record].foreign.is_some());
        let (choices, foreign) = (compiler.choices.into(), compiler.foreign.into());
        let meanings = Meanings { classes: classes.into(), choices, foreign, conversions: Box::default() };
        Ok((!is_foreign).then_some(Self { plan, meanings }))
    }

    /// Reads a payload into any sink.
    #[inline]
    pub(super) fn scan<'a, S: Sink<'a>>(
        &self,
        payload: &'a [u8],
        format: Format,
        sink: &mut S,
    ) -> Result<S::Value, Fault> {
        match format {
            Format::Json => json::decode(&self.plan, payload, sink),
            Format::MessagePack => msgpack::decode(&self.plan, payload, sink),
        }
    }

    /// Decodes a payload into a new object.
    #[inline]
    pub(super) fn decode<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: Format,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        let mut sink = Objects::new(py, &self.meanings, format);
        let decoded = match format {
            Format::Json => json::decode(&self.plan, payload, &mut sink),
            Format::MessagePack => msgpack::decode(&self.plan, payload, &mut sink),
        };
        match decoded {
            Ok(value) => {
                sink.done();
                // SAFETY: the object is complete, and the reference is ours to give.
                Ok(unsafe { Bound::from_owned_ptr(py, value.into_ptr()) })
            }
            Err(Fault { offset }) => {
                Err(sink.interrupt.take().map_or(Stop::At(offset), |error| Stop::Interrupt(*error)))
            }
        }
    }
}

/// Makes a plan of the description in `websocket_utils._shapes`.
struct Compiler<'a, 'py> {
    strict: bool,
    hook: &'a Hook,
    records: &'a [Bound<'py, PyAny>],
    shapes: Vec<Shape>,
    choices: Vec<Chosen>,
    foreign: Vec<Foreign>,
}

impl<'py> Compiler<'_, 'py> {
    /// Adds a shape and returns its index.
    fn shape(&mut self, described: &Bound<'py, PyAny>) -> PyResult<usize> {
        let mut shape = Shape::default();
        self.add(described, &mut shape)?;
        self.shapes.push(shape);
        Ok(self.shapes.len() - 1)
    }

    /// Adds what a description allows to a shape.
    fn add(&mut self, described: &Bound<'py, PyAny>, shape: &mut Shape) -> PyResult<()> {
        let py = described.py();
        match described.get_type().name()?.to_str()? {
            "Scalar" => {
                let kind = described.getattr(intern!(py, "kind"))?;
                shape.scalars = shape.scalars.with(match kind.cast::<PyString>()?.to_str()? {
                    "null" => Accepts::NULL,
                    "bool" => Accepts::BOOL,
                    "int" => Accepts::INT,
                    "float" => Accepts::FLOAT,
                    "text" => Accepts::TEXT,
                    _ => Accepts::BYTES,
                });
            }
            "Choice" => shape.choice = Some(self.choice(described, shape.choice)?),
            "Sequence" => {
                let kind = match described.getattr("kind")?.cast::<PyString>()?.to_str()? {
                    "list" => SequenceKind::List,
                    "tuple" => SequenceKind::Tuple,
                    "set" => SequenceKind::Set,
                    _ => SequenceKind::FrozenSet,
                };
                shape.items = Some(Items::Many(kind, self.shape(&described.getattr("item")?)?));
            }
            "Fixed" => {
                let items = described.getattr("items")?.cast_into::<PyTuple>()?;
                let items: Vec<usize> = items.iter().map(|item| self.shape(&item)).collect::<PyResult<_>>()?;
                shape.items = Some(Items::Fixed(items.into()));
            }
            "Table" => shape.table = Some(self.shape(&described.getattr("value")?)?),
            "Nested" => self.add_classes(&[described.getattr("record")?.extract()?], shape)?,
            "Union" => {
                let mut classes = Vec::new();
                for member in described.getattr("members")?.cast_into::<PyTuple>()? {
                    if member.get_type().name()? == "Nested" {
                        classes.push(member.getattr("record")?.extract()?);
                    } else {
                        self.add(&member, shape)?;
                    }
                }
                self.add_classes(&classes, shape)?;
            }
            _ => shape.foreign = Some(self.foreign(&described.getattr("type")?)?),
        }
        Ok(())
    }

    /// Adds the classes that an object or an array may be.
    fn add_classes(&self, records: &[usize], shape: &mut Shape) -> PyResult<()> {
        let (mut objects, mut arrays, mut tag_field) = (Vec::new(), Vec::new(), String::new());
        for &index in records {
            let record = &self.records[index];
            if record.getattr("array_like")?.is_truthy()? { &mut arrays } else { &mut objects }.push(index);
            if let Ok(field) = record.getattr("tag_field")?.extract() {
                tag_field = field;
            }
        }
        let classes = |members: &[usize]| match members {
            [] => Classes::Nothing,
            [one] => Classes::One(*one),
            members => Classes::Tagged(Box::new(Tagged::new(&tag_field, members))),
        };
        (shape.objects, shape.arrays) = (classes(&objects), classes(&arrays));
        Ok(())
    }

    /// Adds a choice. `beside` is that of another member of the same union: one is named by texts, one by integers.
    fn choice(&mut self, described: &Bound<'py, PyAny>, beside: Option<Choice>) -> PyResult<Choice> {
        let mut chosen = Chosen::of(described)?;
        if let Some(other) = beside.and_then(|beside| self.choices.get_mut(beside.number)) {
            if chosen.texts.is_empty() {
                std::mem::swap(&mut chosen.texts, &mut other.texts);
            } else {
                std::mem::swap(&mut chosen.integers, &mut other.integers);
            }
        }
        let (has_texts, has_integers) = (!chosen.texts.is_empty(), !chosen.integers.is_empty());
        self.choices.push(chosen);
        Ok(Choice { number: self.choices.len() - 1, has_texts, has_integers })
    }

    fn foreign(&mut self, type_: &Bound<'py, PyAny>) -> PyResult<usize> {
        let [json, msgpack] = self.hook.decoders(type_, self.strict)?;
        self.foreign.push(Foreign { json, msgpack });
        Ok(self.foreign.len() - 1)
    }

    fn record(&mut self, record: &Bound<'py, PyAny>) -> PyResult<(Record, Class)> {
        let py = record.py();
        let class = record.getattr("type")?.cast_into::<PyType>()?;
        let kind = record.getattr("kind")?;
        let is_dict = kind.cast::<PyString>()?.to_str()? == "dict";
        let (mut fields, mut names, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_flat = true;
        for field in record.getattr("fields")?.cast_into::<PyTuple>()? {
            let shape = self.shape(&field.getattr("shape")?)?;
            is_flat &= is_plain(&self.shapes[shape]);
            fields.push(Field::new(field.getattr("encode_name")?.cast_into::<PyString>()?.to_str()?, shape));
            names.push(field.getattr("name")?.cast_into::<PyString>()?);
            missing.push(if is_dict && !field.getattr("is_required")?.is_truthy()? {
                Missing::Absent
            } else {
                when_missing(&field)?
            });
        }
        let tag = match (record.getattr("tag_field")?.extract::<String>(), record.getattr("tag")?.extract::<String>()) {
            (Ok(field), Ok(tag)) => Some(Tag::new(&field, &tag, snake_case(&tag).as_deref())),
            _ => None,
        };
        let slotted = if is_dict {
            Some(Class::dict(&class, &names, missing))
        } else {
            Class::slotted(&class, &names, missing, is_flat)?
        };
        let is_foreign = slotted.is_none() || record.getattr("is_foreign")?.is_truthy()?;
        let foreign = if is_foreign { Some(self.foreign(&record.getattr("origin")?)?) } else { None };
        let forbids_unknown = record.getattr("forbids_unknown")?.is_truthy()?;
        let class = slotted.unwrap_or_else(|| Class::dict(&py.get_type::<PyDict>(), &[], Vec::new()));
        Ok((Record { tag, fields: fields.into(), forbids_unknown, foreign }, class))
    }
}

/// True if no value of the shape can be followed by the collector.
fn is_plain(shape: &Shape) -> bool {
    shape.choice.is_none()
        && shape.items.is_none()
        && shape.table.is_none()
        && shape.foreign.is_none()
        && matches!((&shape.objects, &shape.arrays), (Classes::Nothing, Classes::Nothing))
}

pub(super) fn when_missing(field: &Bound<'_, PyAny>) -> PyResult<Missing> {
    let absent = field.py().import("msgspec")?.getattr("NODEFAULT")?;
    let (default, factory) = (field.getattr("default")?, field.getattr("factory")?);
    Ok(if !factory.is(&absent) {
        Missing::Made(factory.unbind())
    } else if !default.is(&absent) {
        Missing::Value(default.unbind())
    } else {
        Missing::Fault
    })
}
