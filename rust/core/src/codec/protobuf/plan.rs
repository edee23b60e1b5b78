//! Messages as the decoder needs them: compiled from the description of classes, and checked once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::SequenceKind;
use super::super::expected::Expected;
use super::wire::{LENGTH, VARINT};
use super::write;

/// Number of the field that holds the tag of a tagged class: the highest whose key takes two bytes.
pub const TAG_NUMBER: u32 = 2047;

/// Fields of a message that the quick reader takes: it keeps a bit for each.
pub(super) const MAX_QUICK_FIELDS: usize = 64;

/// Types of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// `bool`.
    Bool,
    /// `int32`.
    Int32,
    /// `int64`.
    Int64,
    /// `uint32`.
    UInt32,
    /// `uint64`.
    UInt64,
    /// `float`.
    Float,
    /// `double`.
    Double,
}

/// What one value is on the wire, and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A number.
    Number(Number),
    /// `string`.
    Text,
    /// `bytes`.
    Bytes,
    /// A `string` that names a value of this choice, which the sink knows by its number.
    ChosenText(usize),
    /// An `int64` that names a value of this choice.
    ChosenInteger(usize),
    /// A message: its index in the plan.
    Message(usize),
}

impl Item {
    /// The wire type of one value.
    pub(super) const fn wire(self) -> u32 {
        match self {
            Self::Number(Number::Double) => super::wire::FIXED64,
            Self::Number(Number::Float) => super::wire::FIXED32,
            Self::Number(_) | Self::ChosenInteger(_) => VARINT,
            Self::Text | Self::Bytes | Self::ChosenText(_) | Self::Message(_) => LENGTH,
        }
    }

    /// Several may stand behind one key.
    pub(super) const fn is_packed(self) -> bool {
        self.wire() != LENGTH
    }
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Once: of several occurrences the last counts; those of a message are merged.
    Single,
    /// Any number of times, or exactly as often as it says.
    Repeated(SequenceKind, Option<usize>),
    /// Entries of a table, with text as keys.
    Map,
}

/// What it means that a field is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It has its type's zero value; it is empty.
    Zero,
    /// It is null.
    Null,
    /// What the sink gives records for fields without a value.
    Default,
    /// The payload is at fault.
    Fault,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name, for errors.
    pub name: Box<str>,
    /// Its number.
    pub number: u32,
    /// What one value is.
    pub item: Item,
    /// A conversion of each value, which the sink knows by its number.
    pub item_conversion: Option<usize>,
    /// How often it occurs.
    pub label: Label,
    /// A conversion of the whole.
    pub conversion: Option<usize>,
    /// What it means that it is not there.
    pub absent: Absent,
    /// The key that is expected: number and wire type.
    pub(super) key: u32,
    /// The same as a byte; more than a byte holds, if it takes several.
    pub(super) short_key: u16,
    pub(super) kind: Kind,
}

/// What a field mostly is, where that is one plain value: decided once, not for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Double,
    Signed,
    Unsigned,
    Other,
}

/// No byte of a payload is that.
const NO_KEY: u16 = 0x100;

impl Field {
    /// A field with one value of a type, zero where it is absent.
    #[must_use]
    pub fn new(name: &str, number: u32, item: Item) -> Self {
        Self {
            name: name.into(),
            number,
            item,
            item_conversion: None,
            label: Label::Single,
            conversion: None,
            absent: Absent::Zero,
            key: 0,
            short_key: NO_KEY,
            kind: Kind::Other,
        }
    }

    /// Whether a value of this wire type is one of the field; if not, it is an unknown field.
    pub(super) fn takes(&self, wire: u32) -> bool {
        match self.label {
            Label::Map => wire == LENGTH,
            Label::Single => wire == self.item.wire(),
            Label::Repeated(..) => wire == self.item.wire() || (wire == LENGTH && self.item.is_packed()),
        }
    }

    fn plain_kind(&self) -> Kind {
        match (self.label, self.conversion, self.item) {
            (Label::Single, None, Item::Text) => Kind::Text,
            (Label::Single, None, Item::Number(Number::Double)) => Kind::Double,
            (Label::Single, None, Item::Number(Number::Int64)) => Kind::Signed,
            (Label::Single, None, Item::Number(Number::UInt64)) => Kind::Unsigned,
            _ => Kind::Other,
        }
    }

    fn expected_key(&self) -> u32 {
        let wire = if self.label == Label::Single { self.item.wire() } else { LENGTH };
        self.number << 3 | wire
    }
}

/// What a message becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The record with this index, which the sink knows; its fields are the message's.
    Record(usize),
    /// The value of its only field.
    Box,
    /// A tuple of the values of its fields.
    Tuple,
    /// The value of that one of its fields that is there.
    Union,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    /// What it becomes.
    pub form: Form,
    /// The tag of a tagged class. It may be missing where this class alone is meant.
    pub tag: Option<Tag>,
    /// The fields, in the order in which they are written, and so the order to expect.
    pub fields: Box<[Field]>,
    /// True if a field that the message doesn't have is a fault, not skipped.
    pub forbids_unknown: bool,
    /// A conversion of the finished value.
    pub conversion: Option<usize>,
    /// A bit for each field, if there are no more than the quick reader takes.
    pub(super) all_fields: u64,
}

impl Message {
    /// A message without tag that ignores unknown fields.
    #[must_use]
    pub fn new(form: Form, fields: Vec<Field>) -> Self {
        let all_fields = match fields.len() {
            count @ 0..MAX_QUICK_FIELDS => (1 << count) - 1,
            _ => u64::MAX,
        };
        Self { form, tag: None, fields: fields.into(), forbids_unknown: false, conversion: None, all_fields }
    }

    /// Index of the field with this number, looked for from `hint` on: fields mostly come in order.
    pub(super) fn find(&self, number: u32, hint: usize) -> Option<usize> {
        let (before, after) = self.fields.split_at(hint.min(self.fields.len()));
        let position = |fields: &[Field]| fields.iter().position(|field| field.number == number);
        position(after).map(|index| index + before.len()).or_else(|| position(before))
    }
}

/// How a class is told from others.
#[derive(Clone, Debug)]
pub struct Tag {
    value: Value,
    /// Name of the field, for errors.
    pub(super) field: Box<str>,
    /// The whole field, in either spelling.
    pub(super) heads: [Expected; 2],
}

#[derive(Clone, Debug)]
enum Value {
    Text { name: Box<str>, alias: Option<Box<str>> },
    Integer(i64),
}

impl Tag {
    /// A text in field `field`, read in the spelling `alias` too at the top of a message.
    #[must_use]
    pub fn text(field: &str, name: &str, alias: Option<&str>) -> Self {
        let head = |text: &str| {
            let mut head = write::key(TAG_NUMBER, LENGTH);
            write::write_bytes(&mut head, text.as_bytes());
            Expected::new(&head)
        };
        Self {
            value: Value::Text { name: name.into(), alias: alias.map(Into::into) },
            field: field.into(),
            heads: [head(name), head(alias.unwrap_or(name))],
        }
    }

    /// An integer in field `field`.
    #[must_use]
    pub fn integer(field: &str, value: i64) -> Self {
        let mut head = write::key(TAG_NUMBER, VARINT);
        write::write_signed(&mut head, value);
        let head = Expected::new(&head);
        Self { value: Value::Integer(value), field: field.into(), heads: [head.clone(), head] }
    }

    /// True if it is its type's zero value, which other writers leave out.
    pub(super) fn is_zero(&self) -> bool {
        match &self.value {
            Value::Text { name, .. } => name.is_empty(),
            Value::Integer(value) => *value == 0,
        }
    }

    /// The wire type that it has.
    pub(super) const fn wire(&self) -> u32 {
        match self.value {
            Value::Text { .. } => LENGTH,
            Value::Integer(_) => VARINT,
        }
    }

    /// True if these bytes, a value of its wire type, are the tag in a spelling that is read there; 2 is the class's own
    /// spelling, 1 the other.
    pub(super) fn likeness(&self, bytes: &[u8], is_top: bool) -> u8 {
        match &self.value {
            Value::Text { name, .. } if name.as_bytes() == bytes => 2,
            Value::Text { alias: Some(alias), .. } if is_top && alias.as_bytes() == bytes => 1,
            Value::Text { .. } => 0,
            Value::Integer(value) => {
                let found = super::wire::varint(bytes, 0, bytes.len());
                if found.is_some_and(|(found, _)| found == value.cast_unsigned()) { 2 } else { 0 }
            }
        }
    }
}

/// What a payload is.
#[derive(Debug)]
pub enum Root {
    /// This message, tagged or not.
    One(usize),
    /// One of these, told apart by their tags.
    Tagged(Box<[usize]>),
}

/// Messages that refer to each other by index.
#[derive(Debug)]
pub struct Plan {
    messages: Box<[Message]>,
    root: Root,
    /// The member of a tagged root that was found last: a feed sends one class mostly, so it is tried first.
    last: AtomicUsize,
}

/// No plan: an index refers to nothing, a number is used twice or is none, or a form lacks its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl Plan {
    /// A plan.
    ///
    /// # Errors
    /// When the messages don't fit together.
    pub fn new(mut messages: Vec<Message>, root: Root) -> Result<Self, Invalid> {
        let count = messages.len();
        for message in &mut messages {
            for field in &mut message.fields {
                field.key = field.expected_key();
                field.kind = field.plain_kind();
                field.short_key = u16::try_from(field.key).ok().filter(|key| *key < 0x80).unwrap_or(NO_KEY);
            }
        }
        let has_target = |field: &Field| !matches!(field.item, Item::Message(index) if index >= count);
        let is_whole = |message: &Message| {
            let fields = &message.fields;
            let are_numbered = fields.iter().enumerate().all(|(index, field)| {
                let is_tag = message.tag.is_some() && field.number == TAG_NUMBER;
                (1..1 << 29).contains(&field.number)
                    && !is_tag
                    && fields[..index].iter().all(|other| other.number != field.number)
            });
            let has_absence = |field: &Field| match (field.absent, field.label) {
                (Absent::Zero, Label::Single) => !matches!(field.item, Item::Message(_)),
                (Absent::Zero, Label::Repeated(_, Some(length))) => length == 0,
                (Absent::Default, _) => matches!(message.form, Form::Record(_)),
                _ => true,
            };
            let has_form = match message.form {
                Form::Record(_) | Form::Tuple => true,
                Form::Box => fields.len() == 1,
                Form::Union => fields.iter().all(|field| field.label == Label::Single),
            };
            are_numbered && has_form && fields.iter().all(|field| has_target(field) && has_absence(field))
        };
        let has_root = match &root {
            Root::One(index) => *index < count,
            Root::Tagged(members) => {
                !members.is_empty()
                    && members.iter().all(|index| messages.get(*index).is_some_and(|message| message.tag.is_some()))
            }
        };
        if !has_root || !messages.iter().all(is_whole) {
            return Err(Invalid);
        }
        Ok(Self { messages: messages.into(), root, last: AtomicUsize::new(0) })
    }

    #[inline]
    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    #[inline]
    pub(super) const fn root(&self) -> &Root {
        &self.root
    }

    /// Of a tagged root, the place of the member that was found last.
    #[inline]
    pub(super) fn last(&self) -> usize {
        self.last.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn remember(&self, place: usize) {
        self.last.store(place, Ordering::Relaxed);
    }
}
