//! What a message looks like on the wire.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::expected::Expected;
use super::{SequenceKind, json, msgpack};

/// The types of value that a place accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts(u8);

impl Accepts {
    /// Null.
    pub const NULL: Self = Self(1);
    /// True and false.
    pub const BOOL: Self = Self(2);
    /// Integers.
    pub const INT: Self = Self(4);
    /// Floats, and integers where [`Accepts::INT`] is not given too.
    pub const FLOAT: Self = Self(8);
    /// Text.
    pub const TEXT: Self = Self(16);
    /// Bytes: base64 text in JSON.
    pub const BYTES: Self = Self(32);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if every type of `other` is accepted.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What an object or an array may be, where classes are meant.
#[derive(Debug, Default)]
pub enum Classes {
    /// None.
    #[default]
    Nothing,
    /// The record with this index, tagged or not.
    One(usize),
    /// One of several, told apart by their tags.
    Tagged(Box<Tagged>),
}

/// Records that are told apart by their tags.
#[derive(Debug)]
pub struct Tagged {
    /// The field with the tag; in arrays the tag is the first item.
    pub field: TagField,
    /// Indices of the records.
    pub members: Box<[usize]>,
    /// The member that was found last: a feed sends one class mostly, so it is tried first.
    last: AtomicUsize,
}

impl Tagged {
    /// These records, with their tags in field `field`.
    #[must_use]
    pub fn new(field: &str, members: &[usize]) -> Self {
        Self { field: TagField::new(field), members: members.into(), last: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn last(&self) -> Option<usize> {
        self.members.get(self.last.load(Ordering::Relaxed)).copied()
    }

    /// The record that `tag` names. What one class calls itself goes before another's second spelling, which is read at
    /// the `top` of a message only.
    pub(super) fn find(&self, plan: &Plan, tag: &[u8], top: bool) -> Option<usize> {
        let tag_of = |member: usize| plan.records.get(member).and_then(|record| record.tag.as_ref());
        let by = |is: &dyn Fn(&Tag) -> bool| self.members.iter().position(|member| tag_of(*member).is_some_and(is));
        let found = by(&|own| own.value.as_bytes() == tag).or_else(|| by(&|own| top && own.is(tag)))?;
        self.last.store(found, Ordering::Relaxed);
        self.members.get(found).copied()
    }
}

/// Items.
#[derive(Clone, Debug)]
pub enum Items {
    /// Any number of one shape (its index in the plan).
    Many(SequenceKind, usize),
    /// A tuple with one item of each of these shapes.
    Fixed(Box<[usize]>),
}

/// What one value may be.
#[derive(Debug, Default)]
pub struct Shape {
    /// Scalars that are accepted.
    pub scalars: Accepts,
    /// A choice by text or by integer: its number, which the sink knows.
    pub choice: Option<Choice>,
    /// Items of an array that is no class.
    pub items: Option<Items>,
    /// Shape of the values (its index in the plan) of an object that is no class.
    pub table: Option<usize>,
    /// Classes that are objects.
    pub objects: Classes,
    /// Classes that are arrays.
    pub arrays: Classes,
    /// Whatever it is, the sink makes it of the value's bytes: its number, which the sink knows.
    pub foreign: Option<usize>,
}

/// Values that are named by text or integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its number, which the sink knows.
    pub number: usize,
    /// Some value is named by a text.
    pub has_texts: bool,
    /// Some value is named by an integer.
    pub has_integers: bool,
}

/// What a value mostly is, where that is one thing: decided once for each place, not for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    /// A float that may stand in quotes.
    QuotedFloat,
    /// A tuple of this many floats, all of the shape with this index: a level of a book.
    Floats(u32, u32),
    /// Any number of items, all of the shape with this index.
    Many(SequenceKind, u32),
    Other,
}

impl Shape {
    /// The kind of its values. `shapes` are all of the plan.
    fn kind(&self, shapes: &[Self], lenient: bool) -> Kind {
        let has_classes = !matches!((&self.objects, &self.arrays), (Classes::Nothing, Classes::Nothing));
        if self.choice.is_some() || self.table.is_some() || self.foreign.is_some() || has_classes {
            return Kind::Other;
        }
        match (self.scalars.without(Accepts::NULL), &self.items) {
            (Accepts::TEXT, None) => Kind::Text,
            (Accepts::INT, None) => Kind::Int,
            (Accepts::FLOAT, None) if lenient => Kind::QuotedFloat,
            (Accepts::FLOAT, None) => Kind::Float,
            (scalars, Some(Items::Many(kind, item))) if scalars == Accepts::default() => {
                u32::try_from(*item).map_or(Kind::Other, |item| Kind::Many(*kind, item))
            }
            (scalars, Some(Items::Fixed(items))) if scalars == Accepts::default() => {
                let is_float = |item: &usize| shapes.get(*item).is_some_and(Self::is_float);
                match (items.first(), u32::try_from(items.len())) {
                    (Some(first), Ok(size)) if items.iter().all(is_float) => Kind::Floats(size, *first as u32),
                    _ => Kind::Other,
                }
            }
            _ => Kind::Other,
        }
    }

    /// True if it is a float and nothing else.
    fn is_float(&self) -> bool {
        self.items.is_none() && self.scalars == Accepts::FLOAT && self.kind(&[], false) == Kind::Float
    }
}

/// One field of a class.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name on the wire.
    pub name: Box<str>,
    /// What its value may be: an index in the plan.
    pub shape: usize,
    pub(super) kind: Kind,
    /// `"name":`
    pub(super) json_key: Expected,
    /// `,"name":`
    pub(super) json_next_key: Expected,
    /// The name as MessagePack text.
    pub(super) msgpack_key: Expected,
}

impl Field {
    /// A field called `name` on the wire, whose value has the shape with index `shape`.
    #[must_use]
    pub fn new(name: &str, shape: usize) -> Self {
        let json_key = json::key(name);
        let mut next = vec![b','];
        next.extend_from_slice(&json_key);
        Self {
            name: name.into(),
            shape,
            kind: Kind::Other,
            json_key: Expected::new(&json_key),
            json_next_key: Expected::new(&next),
            msgpack_key: Expected::new(&msgpack::key(name)),
        }
    }
}

/// The field that holds the tag of a group of classes.
#[derive(Clone, Debug)]
pub struct TagField {
    /// Its name.
    pub name: Box<str>,
    /// `"type":`
    pub(super) json_key: Expected,
    /// The name as MessagePack text.
    pub(super) msgpack_key: Expected,
}

impl TagField {
    /// A tag field called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            json_key: Expected::new(&json::key(name)),
            msgpack_key: Expected::new(&msgpack::key(name)),
        }
    }
}

/// How a class is told from others.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Name of the field that holds the tag.
    pub field: Box<str>,
    /// The tag, as it is written.
    pub value: Box<str>,
    /// The other spelling that is read at the top of a message: `price_update` for `PriceUpdate`.
    pub alias: Option<Box<str>>,
    /// `"type":"PriceUpdate"` and `"type":"price_update"`.
    pub(super) json_heads: [Expected; 2],
    pub(super) msgpack_heads: [Expected; 2],
}

impl Tag {
    /// A tag `value` in field `field`, read in the spelling `alias` too.
    #[must_use]
    pub fn new(field: &str, value: &str, alias: Option<&str>) -> Self {
        let json_head = |value: &str| {
            let mut head = json::key(field);
            json::write_text(&mut head, value);
            Expected::new(&head)
        };
        let msgpack_head = |value: &str| {
            let mut head = Vec::new();
            msgpack::write_text(&mut head, field);
            msgpack::write_text(&mut head, value);
            Expected::new(&head)
        };
        let other = alias.unwrap_or(value);
        Self {
            field: field.into(),
            value: value.into(),
            alias: alias.map(Into::into),
            json_heads: [json_head(value), json_head(other)],
            msgpack_heads: [msgpack_head(value), msgpack_head(other)],
        }
    }

    /// True if `tag` is this tag in either spelling.
    #[inline]
    #[must_use]
    pub fn is(&self, tag: &[u8]) -> bool {
        self.value.as_bytes() == tag || self.alias.as_ref().is_some_and(|alias| alias.as_bytes() == tag)
    }

    /// True if `tag` is this tag, in a spelling that is read there.
    #[inline]
    pub(super) fn is_at(&self, tag: &[u8], top: bool) -> bool {
        if top { self.is(tag) } else { self.value.as_bytes() == tag }
    }
}

/// A class.
#[derive(Clone, Debug)]
pub struct Record {
    /// The tag, of a tagged class. It may be missing from an object where this class alone is asked for.
    pub tag: Option<Tag>,
    /// The fields, in the order in which they are written, and so the order to expect.
    pub fields: Box<[Field]>,
    /// True if a field that the class doesn't have is a fault, not skipped.
    pub forbids_unknown: bool,
    /// Not read by its fields: the sink makes it of the value's bytes, as [`Shape::foreign`].
    pub foreign: Option<usize>,
}

impl Record {
    /// Index of the field called `name`, looked for from `hint` on: fields mostly come in order.
    #[inline]
    pub(super) fn find(&self, name: &[u8], hint: usize) -> Option<usize> {
        let hint = hint.min(self.fields.len());
        let (before, after) = self.fields.split_at(hint);
        let position = |fields: &[Field]| fields.iter().position(|field| field.name.as_bytes() == name);
        position(after).map(|index| index + hint).or_else(|| position(before))
    }

    /// True if `name` is the field that holds the tag.
    #[inline]
    pub(super) fn is_tag_field(&self, name: &[u8]) -> bool {
        self.tag.as_ref().is_some_and(|tag| tag.field.as_bytes() == name)
    }
}

/// A type: shapes and records that refer to each other by index, so that classes may hold themselves.
#[derive(Debug)]
pub struct Plan {
    shapes: Box<[Shape]>,
    /// Of each shape.
    kinds: Box<[Kind]>,
    records: Box<[Record]>,
    root: usize,
    lenient: bool,
}

/// A shape or a record refers to one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dangling;

impl Plan {
    /// A plan. `root` is the shape of a message; `lenient` lets numbers stand in quotes.
    ///
    /// # Errors
    /// When an index refers to nothing.
    pub fn new(shapes: Vec<Shape>, mut records: Vec<Record>, root: usize, lenient: bool) -> Result<Self, Dangling> {
        let has_shape = |index: &usize| *index < shapes.len();
        let has_classes = |classes: &Classes| match classes {
            Classes::Nothing => true,
            Classes::One(record) => *record < records.len(),
            Classes::Tagged(tagged) => tagged.members.iter().all(|record| *record < records.len()),
        };
        let is_whole = |shape: &Shape| {
            let has_items = match &shape.items {
                None => true,
                Some(Items::Many(_, item)) => has_shape(item),
                Some(Items::Fixed(items)) => items.iter().all(has_shape),
            };
            has_items
                && shape.table.as_ref().is_none_or(has_shape)
                && has_classes(&shape.objects)
                && has_classes(&shape.arrays)
        };
        let fields_are_whole = records.iter().all(|record| record.fields.iter().all(|field| has_shape(&field.shape)));
        if !has_shape(&root) || !shapes.iter().all(is_whole) || !fields_are_whole {
            return Err(Dangling);
        }
        let kinds: Box<[Kind]> = shapes.iter().map(|shape| shape.kind(&shapes, lenient)).collect();
        for record in &mut records {
            for field in &mut record.fields {
                field.kind = kinds[field.shape];
            }
        }
        Ok(Self { shapes: shapes.into(), kinds, records: records.into(), root, lenient })
    }

    /// The shape of a message.
    #[inline]
    pub(super) fn root(&self) -> &Shape {
        &self.shapes[self.root]
    }

    #[inline]
    pub(super) fn shape(&self, index: usize) -> &Shape {
        &self.shapes[index]
    }

    #[inline]
    pub(super) fn kind(&self, index: usize) -> Kind {
        self.kinds[index]
    }

    /// The classes, by index.
    #[inline]
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Numbers may stand in quotes.
    #[inline]
    pub(super) const fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// The record that a message is, if it is always the same.
    #[must_use]
    pub fn root_record(&self) -> Option<usize> {
        match self.root() {
            Shape { objects: Classes::One(record), arrays: Classes::Nothing, scalars, items: None, .. }
                if *scalars == Accepts::default() =>
            {
                Some(*record)
            }
            _ => None,
        }
    }
}
/// The spelling in snake case of a class name: `PriceUpdate` is `price_update`, `HTTPReply` is `http_reply`,
/// `L2Book` is `l2_book`. None if that is the name itself.
#[must_use]
pub fn snake_case(name: &str) -> Option<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && index > 0 {
            let before = letters[index - 1];
            let starts_word = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
            if before != '_' && (!before.is_uppercase() || starts_word) {
                snake.push('_');
            }
        }
        snake.extend(letter.to_lowercase());
    }
    (snake != name).then_some(snake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_of_class_names() {
        for (name, snake) in [
            ("PriceUpdate", "price_update"),
            ("Ping", "ping"),
            ("HTTPReply", "http_reply"),
            ("L2Book", "l2_book"),
            ("Fill_Report", "fill_report"),
        ] {
            assert_eq!(snake_case(name).as_deref(), Some(snake));
            assert_eq!(snake_case(snake), None);
        }
    }

    #[test]
    fn a_plan_that_refers_to_nothing_is_none() {
        let record =
            || Record { tag: None, fields: [Field::new("a", 1)].into(), forbids_unknown: false, foreign: None };
        let object = || Shape { objects: Classes::One(0), ..Shape::default() };
        assert!(Plan::new(vec![object(), Shape::default()], vec![record()], 0, false).is_ok());
        assert_eq!(Plan::new(vec![object()], vec![record()], 0, false).err(), Some(Dangling));
        assert_eq!(Plan::new(vec![object(), Shape::default()], vec![], 0, false).err(), Some(Dangling));
        assert_eq!(Plan::new(vec![object(), Shape::default()], vec![record()], 2, false).err(), Some(Dangling));
    }
}
