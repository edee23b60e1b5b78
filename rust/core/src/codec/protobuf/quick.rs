//! Payloads as senders write them: each field once, the items of a list one behind the other, no groups.
//!
//! Anything else is left to the full reader (None), and so is whatever is wrong: this one keeps no path and knows no reason.
//! It gives up as a whole and at once, so that a payload is read twice at most, however deep it is.
#![allow(clippy::inline_always, reason = "measured: the parts are small, called once each, and much of a decode")]

use super::super::expected::Expected;
use super::super::{MAX_DEPTH, Refused, SequenceKind, Text};
use super::Convert;
use super::plan::{
    Absent, Field, Form, Item, Kind, Label, MAX_QUICK_FIELDS, Message, Number, Plan, Root, TAG_NUMBER, Tag,
};
use super::wire::{self, FIXED32, FIXED64, LENGTH, VARINT};

/// Decodes a payload, or leaves it alone.
#[inline]
pub(super) fn decode<'a, S: Convert<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Option<S::Value> {
    let mut quick = Quick { plan, input, sink };
    let (message, at) = match plan.root() {
        Root::One(index) => {
            let message = plan.message(*index);
            (message, message.tag.as_ref().map_or(0, |tag| quick.head(tag)))
        }
        Root::Tagged(members) => quick.member(members)?,
    };
    match message.form {
        Form::Record(record) => quick.record(message, record, at, input.len(), 0),
        _ => quick.message(message, at, input.len(), 0),
    }
}

struct Quick<'p, 'a, 's, S> {
    plan: &'p Plan,
    input: &'a [u8],
    sink: &'s mut S,
}

impl<'p, 'a, S: Convert<'a>> Quick<'p, 'a, '_, S> {
    /// Length of the tag that the payload begins with, 0 if it begins otherwise.
    #[inline(always)]
    fn head(&self, tag: &Tag) -> usize {
        tag.heads.iter().find(|head| head.stands_at(self.input, 0)).map_or(0, Expected::len)
    }

    /// The member of the root that the payload is, and where its fields begin, if the tag comes first.
    #[inline(always)]
    fn member(&self, members: &[usize]) -> Option<(&'p Message, usize)> {
        let plan = self.plan;
        let last = plan.last();
        if let Some(message) = members.get(last).map(|index| plan.message(*index))
            // What another class calls itself goes before this one's second spelling.
            && let Some(head) = message.tag.as_ref().map(|tag| &tag.heads[0])
            && head.stands_at(self.input, 0)
        {
            return Some((message, head.len()));
        }
        let heads = |spelling: usize| {
            members.iter().enumerate().find_map(move |(place, index)| {
                let message = plan.message(*index);
                let head = &message.tag.as_ref()?.heads[spelling];
                head.stands_at(self.input, 0).then_some((place, message, head.len()))
            })
        };
        let (place, message, length) = heads(0).or_else(|| heads(1))?;
        plan.remember(place);
        Some((message, length))
    }

    /// A nested message. `depth` is the number of messages around it.
    #[inline(never)]
    fn message(&mut self, message: &'p Message, at: usize, end: usize, depth: usize) -> Option<S::Value> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let value = match message.form {
            Form::Record(record) => return self.record(message, record, at, end, depth),
            Form::Box => self.boxed(message, at, end, depth),
            Form::Tuple => self.tuple(message, at, end, depth),
            Form::Union => self.union(message, at, end, depth),
        }?;
        self.converted(message.conversion, value)
    }

    #[inline(always)]
    fn record(
        &mut self,
        message: &'p Message,
        index: usize,
        mut at: usize,
        end: usize,
        depth: usize,
    ) -> Option<S::Value> {
        let fields = &*message.fields;
        if fields.len() > MAX_QUICK_FIELDS {
            return None;
        }
        let mut record = self.sink.begin_record(index).ok()?;
        let (mut seen, mut next) = (0_u64, 0);
        while at < end {
            let mut index = next;
            let start = match fields.get(next) {
                // Mostly the next one, with a key of one byte.
                Some(field) if field.short_key == u16::from(self.input[at]) => at + 1,
                _ => {
                    let (key, start) = wire::key(self.input, at, end)?;
                    let Some(place) = fields.iter().position(|field| field.key == key) else {
                        at = self.other(message, key, start, end, depth)?;
                        continue;
                    };
                    index = place;
                    start
                }
            };
            if seen >> index & 1 == 1 {
                return None;
            }
            let (value, stop) = self.field(&fields[index], start, end, depth)?;
            self.sink.put(&mut record, index, value);
            seen |= 1 << index;
            next = index + 1;
            at = stop;
        }
        if seen != message.all_fields {
            self.fill(fields, seen, &mut record)?;
        }
        let value = self.sink.end_record(record).ok()?;
        self.converted(message.conversion, value)
    }

    /// Puts what fields have that are not there.
    #[inline(never)]
    fn fill(&mut self, fields: &[Field], seen: u64, record: &mut S::Record) -> Option<()> {
        for (index, field) in fields.iter().enumerate() {
            if seen >> index & 1 == 0 && field.absent != Absent::Default {
                let value = absent(self.sink, field)?.ok()?;
                self.sink.put(record, index, value);
            }
        }
        Some(())
    }

    /// What is no field as it is expected: the tag, or an unknown field, which is skipped.
    #[cold]
    fn other(&self, message: &Message, key: u32, start: usize, end: usize, depth: usize) -> Option<usize> {
        let (number, wire) = (key >> 3, key & 7);
        if number == 0 || message.find(number, 0).is_some() {
            return None;
        }
        let (from, stop) = match wire {
            VARINT => (start, wire::varint(self.input, start, end)?.1),
            FIXED64 => (start, wire::eight(self.input, start, end)?.1),
            LENGTH => wire::span(self.input, start, end)?,
            FIXED32 => (start, wire::four(self.input, start, end)?.1),
            _ => return None,
        };
        let is_right = match &message.tag {
            Some(tag) if number == TAG_NUMBER => {
                // Which class of several it is was said in front; what is said twice, the full reader looks into.
                let is_decided = depth == 0 && matches!(self.plan.root(), Root::Tagged(_));
                wire == tag.wire() && !is_decided && tag.likeness(&self.input[from..stop], depth == 0) > 0
            }
            _ => !message.forbids_unknown,
        };
        is_right.then_some(stop)
    }

    fn boxed(&mut self, message: &'p Message, at: usize, end: usize, depth: usize) -> Option<S::Value> {
        let field = message.fields.first()?;
        if at == end {
            return absent(self.sink, field)?.ok();
        }
        let (key, start) = wire::key(self.input, at, end)?;
        if key != field.key {
            return None;
        }
        let (value, stop) = self.field(field, start, end, depth)?;
        (stop == end).then_some(value)
    }

    fn tuple(&mut self, message: &'p Message, mut at: usize, end: usize, depth: usize) -> Option<S::Value> {
        let mark = self.sink.begin_sequence();
        for field in &message.fields {
            let value = match wire::key(self.input, at, end) {
                Some((key, start)) if key == field.key => {
                    let (value, stop) = self.field(field, start, end, depth)?;
                    at = stop;
                    value
                }
                _ => absent(self.sink, field)?.ok()?,
            };
            self.sink.push(value);
        }
        if at != end {
            return None;
        }
        self.sink.end_sequence(mark, SequenceKind::Tuple).ok()
    }

    fn union(&mut self, message: &'p Message, at: usize, end: usize, depth: usize) -> Option<S::Value> {
        let (key, start) = wire::key(self.input, at, end)?;
        let field = message.fields.iter().find(|field| field.key == key)?;
        let (value, stop) = self.field(field, start, end, depth)?;
        (stop == end).then_some(value)
    }

    /// The value of a field whose key ends at `start`, and where it ends: all items of a list, all entries of a table.
    #[inline(always)]
    fn field(&mut self, field: &'p Field, start: usize, end: usize, depth: usize) -> Option<(S::Value, usize)> {
        let input = self.input;
        match field.kind {
            Kind::Text => {
                let (start, stop) = wire::span(input, start, end)?;
                Some((self.sink.text(Text::new(&input[start..stop])).ok()?, stop))
            }
            Kind::Double => {
                let (bytes, stop) = wire::eight(input, start, end)?;
                Some((self.sink.float(f64::from_le_bytes(bytes)).ok()?, stop))
            }
            Kind::Signed => {
                let (value, stop) = wire::varint(input, start, end)?;
                Some((self.sink.signed(value.cast_signed()).ok()?, stop))
            }
            Kind::Unsigned => {
                let (value, stop) = wire::varint(input, start, end)?;
                Some((self.sink.unsigned(value).ok()?, stop))
            }
            Kind::Other => self.whole(field, start, end, depth),
        }
    }

    #[inline(never)]
    fn whole(&mut self, field: &'p Field, start: usize, end: usize, depth: usize) -> Option<(S::Value, usize)> {
        let (value, stop) = match field.label {
            Label::Single => self.item(field.item, start, end, depth)?,
            Label::Repeated(kind, length) => {
                let mark = self.sink.begin_sequence();
                let (count, stop) = if field.item.is_packed() {
                    self.packed(field, start, end)?
                } else {
                    self.items(field, start, end, depth)?
                };
                if length.is_some_and(|length| length != count) {
                    return None;
                }
                (self.sink.end_sequence(mark, kind).ok()?, stop)
            }
            Label::Map => self.map(field, start, end, depth)?,
        };
        Some((self.converted(field.conversion, value)?, stop))
    }

    fn packed(&mut self, field: &'p Field, start: usize, end: usize) -> Option<(usize, usize)> {
        let (mut at, stop) = wire::span(self.input, start, end)?;
        let mut count = 0;
        while at < stop {
            let (value, next) = self.item(field.item, at, stop, 0)?;
            let value = self.converted(field.item_conversion, value)?;
            self.sink.push(value);
            count += 1;
            at = next;
        }
        Some((count, stop))
    }

    fn items(&mut self, field: &'p Field, start: usize, end: usize, depth: usize) -> Option<(usize, usize)> {
        let (mut count, mut start) = (0, start);
        loop {
            let (value, stop) = self.item(field.item, start, end, depth)?;
            let value = self.converted(field.item_conversion, value)?;
            self.sink.push(value);
            count += 1;
            match wire::key(self.input, stop, end) {
                Some((key, next)) if key == field.key => start = next,
                _ => return Some((count, stop)),
            }
        }
    }

    fn map(&mut self, field: &'p Field, mut start: usize, end: usize, depth: usize) -> Option<(S::Value, usize)> {
        const KEY: u32 = 1 << 3 | LENGTH;
        // An entry is a level of its own.
        if depth + 1 >= MAX_DEPTH {
            return None;
        }
        let value_key = 2 << 3 | field.item.wire();
        let mut table = self.sink.begin_table().ok()?;
        loop {
            let (at, stop) = wire::span(self.input, start, end)?;
            let (KEY, at) = wire::key(self.input, at, stop)? else { return None };
            let (text, at) = wire::span(self.input, at, stop)?;
            let name = Text::new(&self.input[text..at]);
            let (key, at) = wire::key(self.input, at, stop)?;
            if key != value_key {
                return None;
            }
            let (value, at) = self.item(field.item, at, stop, depth + 1)?;
            if at != stop {
                return None;
            }
            let value = self.converted(field.item_conversion, value)?;
            self.sink.insert(&mut table, name, value).ok()?;
            match wire::key(self.input, stop, end) {
                Some((key, next)) if key == field.key => start = next,
                _ => return Some((self.sink.end_table(table), stop)),
            }
        }
    }

    /// One value, and where it ends.
    #[inline]
    fn item(&mut self, item: Item, at: usize, end: usize, depth: usize) -> Option<(S::Value, usize)> {
        let input = self.input;
        let (value, stop) = match item {
            Item::Text => {
                let (start, stop) = wire::span(input, at, end)?;
                (self.sink.text(Text::new(&input[start..stop])), stop)
            }
            Item::Number(Number::Double) => {
                let (bytes, stop) = wire::eight(input, at, end)?;
                (self.sink.float(f64::from_le_bytes(bytes)), stop)
            }
            Item::Number(Number::Float) => {
                let (bytes, stop) = wire::four(input, at, end)?;
                (self.sink.float(f64::from(f32::from_le_bytes(bytes))), stop)
            }
            Item::Number(number) => {
                let (value, stop) = wire::varint(input, at, end)?;
                (integer(self.sink, number, value), stop)
            }
            Item::Bytes => {
                let (start, stop) = wire::span(input, at, end)?;
                (self.sink.bytes(&input[start..stop]), stop)
            }
            Item::ChosenText(choice) => {
                let (start, stop) = wire::span(input, at, end)?;
                (self.sink.chosen_text(choice, &input[start..stop]), stop)
            }
            Item::ChosenInteger(choice) => {
                let (value, stop) = wire::varint(input, at, end)?;
                (self.sink.chosen_integer(choice, value.cast_signed()), stop)
            }
            Item::Message(index) => {
                let (start, stop) = wire::span(input, at, end)?;
                let message = self.plan.message(index);
                return Some((self.message(message, start, stop, depth + 1)?, stop));
            }
        };
        Some((value.ok()?, stop))
    }

    #[inline(always)]
    fn converted(&mut self, conversion: Option<usize>, value: S::Value) -> Option<S::Value> {
        match conversion {
            None => Some(value),
            Some(conversion) => self.sink.convert(conversion, value).ok(),
        }
    }
}

/// The value of an integer of a narrower type: bits beyond it are ignored.
#[inline]
pub(super) fn integer<'a, S: Convert<'a>>(sink: &mut S, number: Number, value: u64) -> Result<S::Value, Refused> {
    match number {
        Number::Bool => Ok(sink.boolean(value != 0)),
        Number::UInt64 => sink.unsigned(value),
        Number::UInt32 => sink.unsigned(u64::from(value as u32)),
        Number::Int32 => sink.signed(i64::from((value as u32).cast_signed())),
        Number::Int64 | Number::Float | Number::Double => sink.signed(value.cast_signed()),
    }
}

/// The value of a field that is not there; None if it has to be, or if the sink knows one.
pub(super) fn absent<'a, S: Convert<'a>>(sink: &mut S, field: &Field) -> Option<Result<S::Value, Refused>> {
    let value = match (field.absent, field.label) {
        (Absent::Fault | Absent::Default, _) => return None,
        (Absent::Null, _) => return Some(Ok(sink.null())),
        (Absent::Zero, Label::Repeated(kind, _)) => {
            let mark = sink.begin_sequence();
            sink.end_sequence(mark, kind)
        }
        (Absent::Zero, Label::Map) => sink.begin_table().map(|table| sink.end_table(table)),
        (Absent::Zero, Label::Single) => zero(sink, field.item),
    };
    Some(match (value, field.conversion) {
        (Ok(value), Some(conversion)) => sink.convert(conversion, value),
        (value, _) => value,
    })
}

/// The zero value of a type. A message has none.
pub(super) fn zero<'a, S: Convert<'a>>(sink: &mut S, item: Item) -> Result<S::Value, Refused> {
    match item {
        Item::Text => sink.text(Text::new(b"")),
        Item::Bytes => sink.bytes(b""),
        Item::ChosenText(choice) => sink.chosen_text(choice, b""),
        Item::ChosenInteger(choice) => sink.chosen_integer(choice, 0),
        Item::Number(Number::Float | Number::Double) => sink.float(0.0),
        Item::Number(number) => integer(sink, number, 0),
        Item::Message(_) => Err(Refused),
    }
}
