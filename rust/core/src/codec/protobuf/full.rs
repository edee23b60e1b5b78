//! Any payload: fields in any order and number, parts of a message apart, groups, faults.
//!
//! It first goes over the whole payload to see that it is well formed, overridden parts included, and then reads each
//! message by collecting where each of its fields occurs. Occurrences of a message stay where they are: a message is read
//! from as many stretches of the payload as it has.

use std::collections::{BTreeMap, btree_map};
use std::ops::Range;
use std::slice;

use super::super::{MAX_DEPTH, Refused, SequenceKind, Text};
use super::Convert;
use super::fault::{Malformed, Problem};
use super::plan::{Absent, Field, Form, Item, Label, Message, Number, Plan, Root, TAG_NUMBER, Tag};
use super::quick::{absent, integer, zero};
use super::wire::{self, LENGTH, Occurrence, VARINT, depth_left};

/// Number of an entry's key and of its value.
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;

/// Decodes a payload.
///
/// # Errors
/// What is wrong with it.
#[cold]
pub(super) fn decode<'a, S: Convert<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Result<S::Value, Malformed> {
    let checker = Checker { plan, input };
    let index = match plan.root() {
        Root::One(index) => *index,
        Root::Tagged(members) => checker.member(members)?,
    };
    checker.message(index, 0..input.len(), 0)?;
    let whole = 0..input.len();
    Full { checker, sink }.message(index, slice::from_ref(&whole), 0)
}

/// What is read without making values.
struct Checker<'p, 'a> {
    plan: &'p Plan,
    input: &'a [u8],
}

impl Checker<'_, '_> {
    /// The member of the root that the payload's tag names.
    fn member(&self, members: &[usize]) -> Result<usize, Malformed> {
        let has_wire =
            |wire: u32, index: &usize| self.plan.message(*index).tag.as_ref().is_some_and(|tag| tag.wire() == wire);
        let (mut at, mut last, mut other) = (0, None, None);
        while at < self.input.len() {
            let field = wire::occurrence(self.input, at, self.input.len(), depth_left(0))?;
            at = field.next;
            if field.number == TAG_NUMBER {
                // With another wire type it is an unknown field, as every field is: it says something in an error alone.
                let is_tag = members.iter().any(|index| has_wire(field.wire, index));
                *(if is_tag { &mut last } else { &mut other }) = Some(field);
            }
        }
        let found = if let Some(found) = last.filter(|found| !is_zero(self.input, found)) {
            found
        } else {
            // Zero is written as nothing.
            let is_zero = |index: &usize| self.plan.message(*index).tag.as_ref().is_some_and(Tag::is_zero);
            if let Some(zero) = members.iter().copied().find(is_zero) {
                return Ok(zero);
            }
            other.ok_or_else(|| Malformed::new(self.input.len(), Problem::NoTag))?
        };
        let bytes = &self.input[found.start..found.end];
        let likeness = |index: usize| {
            let tag = self.plan.message(index).tag.as_ref().filter(|tag| tag.wire() == found.wire);
            tag.map_or(0, |tag| tag.likeness(bytes, true))
        };
        let with = |wanted: u8| members.iter().copied().find(|index| likeness(*index) == wanted);
        with(2).or_else(|| with(1)).ok_or_else(|| {
            let field = members.first().and_then(|index| self.plan.message(*index).tag.as_ref());
            wrong_tag(self.input, &found).in_field(field.map_or("", |tag| &tag.field))
        })
    }

    /// Sees that one stretch of a message is well formed, in all that the plan knows of.
    fn message(&self, index: usize, range: Range<usize>, depth: usize) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            return Err(Malformed::new(range.start, Problem::TooDeep));
        }
        let message = self.plan.message(index);
        let (mut at, mut hint) = (range.start, 0);
        while at < range.end {
            let found = wire::occurrence(self.input, at, range.end, depth_left(depth))?;
            at = found.next;
            let Some(place) = message.find(found.number, hint) else {
                if let Some(tag) = message.tag.as_ref().filter(|tag| found.number == TAG_NUMBER && tag.wire() == LENGTH)
                    && found.wire == LENGTH
                {
                    // One that does not count has to be text all the same.
                    self.text(found.start..found.end).map_err(|fault| fault.in_field(&tag.field))?;
                }
                continue;
            };
            let field = &message.fields[place];
            hint = place;
            if field.takes(found.wire) {
                self.value(field, &found, depth).map_err(|fault| {
                    let fault = match field.label {
                        Label::Map => fault.in_table(),
                        Label::Repeated(..) if !field.item.is_packed() => {
                            fault.in_item(self.count(range.start, found.at, field))
                        }
                        Label::Single | Label::Repeated(..) => fault,
                    };
                    located(message, place, fault)
                })?;
            }
        }
        Ok(())
    }

    /// How many items of a field that is not packed stand between.
    fn count(&self, from: usize, to: usize, field: &Field) -> usize {
        let (mut at, mut count) = (from, 0);
        while at < to {
            let Ok(found) = wire::occurrence(self.input, at, to, MAX_DEPTH) else { break };
            count += usize::from(found.number == field.number && field.takes(found.wire));
            at = found.next;
        }
        count
    }

    fn value(&self, field: &Field, found: &Occurrence, depth: usize) -> Result<(), Malformed> {
        match field.label {
            Label::Map => self.entry(field, found.start..found.end, depth + 1),
            Label::Repeated(..) if field.item.is_packed() && found.wire == LENGTH => {
                let mut at = found.start;
                while at < found.end {
                    at = packed_end(self.input, field.item, at, found.end)?;
                }
                Ok(())
            }
            _ => self.item(field.item, found.start..found.end, depth),
        }
    }

    fn item(&self, item: Item, range: Range<usize>, depth: usize) -> Result<(), Malformed> {
        match item {
            Item::Text | Item::ChosenText(_) => self.text(range),
            Item::Message(index) => self.message(index, range, depth + 1),
            Item::Number(_) | Item::ChosenInteger(_) | Item::Bytes => Ok(()),
        }
    }

    fn text(&self, range: Range<usize>) -> Result<(), Malformed> {
        match std::str::from_utf8(&self.input[range.clone()]) {
            Ok(_) => Ok(()),
            Err(error) => Err(Malformed::new(range.start + error.valid_up_to(), Problem::NotUtf8)),
        }
    }

    fn entry(&self, field: &Field, range: Range<usize>, depth: usize) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            return Err(Malformed::new(range.start, Problem::TooDeep));
        }
        let mut at = range.start;
        while at < range.end {
            let found = wire::occurrence(self.input, at, range.end, depth_left(depth))?;
            at = found.next;
            match (found.number, found.wire) {
                (ENTRY_KEY, LENGTH) => self.text(found.start..found.end)?,
                (ENTRY_VALUE, wire) if wire == field.item.wire() => {
                    self.item(field.item, found.start..found.end, depth)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A fault in a field of a message: the way to it leads through the field's name where the message is a class.
fn located(message: &Message, place: usize, fault: Malformed) -> Malformed {
    match message.form {
        Form::Record(_) => fault.in_field(&message.fields[place].name),
        Form::Tuple => fault.in_item(place),
        Form::Box | Form::Union => fault,
    }
}

/// True if a tag is the zero value of its type.
fn is_zero(input: &[u8], found: &Occurrence) -> bool {
    let bytes = &input[found.start..found.end];
    match found.wire {
        VARINT => wire::varint(bytes, 0, bytes.len()).is_some_and(|(value, _)| value == 0),
        _ => bytes.is_empty(),
    }
}

fn wrong_tag(input: &[u8], found: &Occurrence) -> Malformed {
    let bytes = &input[found.start..found.end];
    let tag = match wire::varint(bytes, 0, bytes.len()) {
        Some((value, _)) if found.wire == VARINT => value.cast_signed().to_string(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    Malformed::new(found.start, Problem::WrongTag(tag))
}

/// Where the packed number at `at` ends.
fn packed_end(input: &[u8], item: Item, at: usize, end: usize) -> Result<usize, Malformed> {
    wire::value(input, at, at, end, item.wire(), 0).map(|(_, stop)| stop)
}

/// An entry of a table.
struct Entry {
    key: Range<usize>,
    values: Vec<Occurrence>,
}

struct Full<'p, 'a, 's, S> {
    checker: Checker<'p, 'a>,
    sink: &'s mut S,
}

impl<'a, S: Convert<'a>> Full<'_, 'a, '_, S> {
    /// A message that lies in these stretches of the payload; `depth` is the number of messages around it.
    fn message(&mut self, index: usize, stretches: &[Range<usize>], depth: usize) -> Result<S::Value, Malformed> {
        let message = self.checker.plan.message(index);
        let start = stretches.first().map_or(0, |stretch| stretch.start);
        if depth >= MAX_DEPTH {
            return Err(Malformed::new(start, Problem::TooDeep));
        }
        let found = self.collect(message, stretches, depth)?;
        // What is missing is missing at the end.
        let end = stretches.last().map_or(0, |stretch| stretch.end);
        let refused = |Refused| Malformed::new(start, Problem::Refused);
        let value = match message.form {
            Form::Record(record) => {
                let mut record = self.sink.begin_record(record).map_err(refused)?;
                for (place, (field, found)) in message.fields.iter().zip(&found).enumerate() {
                    if !found.is_empty() || field.absent != Absent::Default {
                        let value = self.field(message, place, found, end, depth)?;
                        self.sink.put(&mut record, place, value);
                    }
                }
                self.sink.end_record(record)
            }
            Form::Tuple => {
                let mark = self.sink.begin_sequence();
                for (place, found) in found.iter().enumerate() {
                    let value = self.field(message, place, found, end, depth)?;
                    self.sink.push(value);
                }
                self.sink.end_sequence(mark, SequenceKind::Tuple)
            }
            Form::Box => Ok(self.field(message, 0, &found[0], end, depth)?),
            Form::Union => match found.iter().enumerate().find(|(_, found)| !found.is_empty()) {
                Some((place, found)) => Ok(self.field(message, place, found, end, depth)?),
                None => return Err(Malformed::new(end, Problem::NoMember)),
            },
        };
        value.and_then(|value| self.converted(message.conversion, value)).map_err(refused)
    }

    /// Where each field of the message occurs, as far as it counts.
    fn collect(
        &self,
        message: &Message,
        stretches: &[Range<usize>],
        depth: usize,
    ) -> Result<Vec<Vec<Occurrence>>, Malformed> {
        let input = self.checker.input;
        let mut places: Vec<Vec<Occurrence>> = vec![Vec::new(); message.fields.len()];
        let (mut hint, mut tag) = (0, None);
        for stretch in stretches {
            let mut at = stretch.start;
            while at < stretch.end {
                let found = wire::occurrence(input, at, stretch.end, depth_left(depth))?;
                at = found.next;
                let place = message.find(found.number, hint).filter(|place| message.fields[*place].takes(found.wire));
                let Some(place) = place else {
                    if message.tag.as_ref().is_some_and(|tag| found.number == TAG_NUMBER && tag.wire() == found.wire) {
                        tag = Some(found);
                    } else if message.forbids_unknown {
                        return Err(Malformed::new(found.at, Problem::UnknownField(found.number)));
                    }
                    continue;
                };
                let field = &message.fields[place];
                if matches!(field.label, Label::Repeated(..)) && field.item.is_packed() && found.start == found.end {
                    // No items in a packed list: it might as well not be there.
                    continue;
                }
                if message.form == Form::Union && place != hint {
                    places[hint].clear();
                }
                if field.label == Label::Single && !matches!(field.item, Item::Message(_)) {
                    places[place].clear();
                }
                places[place].push(found);
                hint = place;
            }
        }
        // A zero tag is none: this format knows no difference.
        if let (Some(own), Some(found)) = (&message.tag, tag.filter(|found| !is_zero(input, found)))
            && own.likeness(&input[found.start..found.end], depth == 0) == 0
        {
            return Err(wrong_tag(input, &found).in_field(&own.field));
        }
        Ok(places)
    }

    /// The value of a field that occurs there; `end` is where its message ends.
    fn field(
        &mut self,
        message: &Message,
        place: usize,
        found: &[Occurrence],
        end: usize,
        depth: usize,
    ) -> Result<S::Value, Malformed> {
        let field = &message.fields[place];
        let start = found.first().map_or(end, |found| found.start);
        let value = match (found, field.label) {
            ([], _) => match absent(self.sink, field) {
                Some(value) => return value.map_err(|Refused| located(message, place, refused_zero(field, end))),
                None => Err(Malformed::new(end, Problem::Missing)),
            },
            (_, Label::Single) => self.single(field.item, found, depth),
            (_, Label::Repeated(kind, length)) => self.items(field, kind, length, found, depth),
            (_, Label::Map) => self.table(field, found, depth),
        };
        value
            .and_then(|value| self.converted(field.conversion, value).map_err(|Refused| refused(start)))
            .map_err(|fault| located(message, place, fault))
    }

    /// One value: of several occurrences the last one, or all of a message's together.
    fn single(&mut self, item: Item, found: &[Occurrence], depth: usize) -> Result<S::Value, Malformed> {
        match (item, found) {
            (Item::Message(index), _) => {
                let stretches: Vec<_> = found.iter().map(|found| found.start..found.end).collect();
                self.message(index, &stretches, depth + 1)
            }
            (_, [.., last]) => self.scalar(item, last.start, last.end).map(|(value, _)| value),
            (_, []) => Err(Malformed::new(0, Problem::Missing)),
        }
    }

    fn items(
        &mut self,
        field: &Field,
        kind: SequenceKind,
        length: Option<usize>,
        found: &[Occurrence],
        depth: usize,
    ) -> Result<S::Value, Malformed> {
        let mark = self.sink.begin_sequence();
        let mut count = 0;
        for occurrence in found {
            let is_packed = field.item.is_packed() && occurrence.wire == LENGTH;
            let mut at = occurrence.start;
            while !is_packed || at < occurrence.end {
                let (value, next) = if is_packed {
                    self.scalar(field.item, at, occurrence.end)
                } else {
                    self.single(field.item, &[*occurrence], depth).map(|value| (value, occurrence.end))
                }
                .and_then(|(value, next)| {
                    let value = self.converted(field.item_conversion, value).map_err(|Refused| refused(at))?;
                    Ok((value, next))
                })
                .map_err(|fault| fault.in_item(count))?;
                self.sink.push(value);
                count += 1;
                at = next;
                if !is_packed {
                    break;
                }
            }
        }
        let start = found.first().map_or(0, |found| found.start);
        if let Some(expected) = length.filter(|length| *length != count) {
            return Err(Malformed::new(start, Problem::WrongLength { expected, got: count }));
        }
        self.sink.end_sequence(mark, kind).map_err(|Refused| refused(start))
    }

    fn table(&mut self, field: &Field, found: &[Occurrence], depth: usize) -> Result<S::Value, Malformed> {
        let mut table = self.sink.begin_table().map_err(|Refused| refused(0))?;
        // Of several entries with one key the last counts; what it takes the place of need not be a value of the field.
        let (mut entries, mut places) = (Vec::with_capacity(found.len()), BTreeMap::new());
        for occurrence in found {
            let Some(entry) = self.entry(field, occurrence, depth + 1)? else { continue };
            match places.entry(&self.checker.input[entry.key.clone()]) {
                btree_map::Entry::Occupied(place) => entries[*place.get()] = (occurrence, entry),
                btree_map::Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push((occurrence, entry));
                }
            }
        }
        for (entry, Entry { key, values }) in entries {
            let value = match (values.as_slice(), field.item) {
                // Without a value it has the zero value, and a message nothing in it.
                ([], Item::Message(index)) => {
                    let nothing = entry.end..entry.end;
                    self.message(index, slice::from_ref(&nothing), depth + 2)
                }
                ([], _) => zero(self.sink, field.item).map_err(|Refused| refused(entry.end)),
                (values, item) => self.single(item, values, depth + 1),
            };
            let value = value
                .and_then(|value| self.converted(field.item_conversion, value).map_err(|Refused| refused(entry.start)))
                .map_err(Malformed::in_table)?;
            let key = Text::new(&self.checker.input[key]);
            self.sink.insert(&mut table, key, value).map_err(|Refused| refused(entry.start).in_table())?;
        }
        Ok(self.sink.end_table(table))
    }

    /// Key and value of an entry. An entry with anything else in it counts for nothing: `upb` keeps it as unknown.
    fn entry(&self, field: &Field, entry: &Occurrence, depth: usize) -> Result<Option<Entry>, Malformed> {
        let (mut key, mut values) = (0..0, Vec::new());
        let mut at = entry.start;
        while at < entry.end {
            let found = wire::occurrence(self.checker.input, at, entry.end, depth_left(depth))?;
            at = found.next;
            match (found.number, found.wire) {
                (ENTRY_KEY, LENGTH) => key = found.start..found.end,
                (ENTRY_VALUE, wire) if wire == field.item.wire() => values.push(found),
                _ => return Ok(None),
            }
        }
        Ok(Some(Entry { key, values }))
    }

    /// A value that is no message, and where it ends.
    fn scalar(&mut self, item: Item, start: usize, end: usize) -> Result<(S::Value, usize), Malformed> {
        let input = self.checker.input;
        let stop = if item.is_packed() { packed_end(input, item, start, end)? } else { end };
        let bytes = &input[start..stop];
        let integer_of = |bytes: &[u8]| wire::varint(bytes, 0, bytes.len()).map_or(0, |(value, _)| value);
        let value = match item {
            Item::Text => self.sink.text(Text::new(bytes)),
            Item::Bytes => self.sink.bytes(bytes),
            Item::ChosenText(choice) => self.sink.chosen_text(choice, bytes),
            Item::ChosenInteger(choice) => self.sink.chosen_integer(choice, integer_of(bytes).cast_signed()),
            Item::Number(Number::Double) => {
                self.sink.float(f64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default()))
            }
            Item::Number(Number::Float) => {
                self.sink.float(f64::from(f32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())))
            }
            Item::Number(number) => integer(self.sink, number, integer_of(bytes)),
            // Whoever asks has looked.
            Item::Message(_) => Err(Refused),
        };
        value.map(|value| (value, stop)).map_err(|Refused| {
            let problem = match item {
                Item::ChosenText(choice) => {
                    Problem::NotChosen { choice, got: format!("{:?}", String::from_utf8_lossy(bytes)) }
                }
                Item::ChosenInteger(choice) => {
                    Problem::NotChosen { choice, got: integer_of(bytes).cast_signed().to_string() }
                }
                _ => Problem::Refused,
            };
            Malformed::new(start, problem)
        })
    }

    fn converted(&mut self, conversion: Option<usize>, value: S::Value) -> Result<S::Value, Refused> {
        match conversion {
            None => Ok(value),
            Some(conversion) => self.sink.convert(conversion, value),
        }
    }
}

/// The zero value of an absent field is none of the field's.
fn refused_zero(field: &Field, offset: usize) -> Malformed {
    match field.item {
        Item::ChosenText(_) | Item::ChosenInteger(_) if field.conversion.is_none() => {
            Malformed::new(offset, Problem::Missing)
        }
        _ => refused(offset),
    }
}

const fn refused(offset: usize) -> Malformed {
    Malformed::new(offset, Problem::Refused)
}
