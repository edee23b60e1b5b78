//! The readers of Protocol Buffers, by a plan that has every kind of field, into values that are counted and compared.

use std::collections::BTreeMap;

use websocket_utils_core::codec::protobuf::{
    Absent, Convert, Field, Form, Item, Label, Malformed, Message, Number, Plan, Problem, Root, Tag, decode,
    decode_quickly, key, peek_tag, write_bytes,
};
use websocket_utils_core::codec::{MAX_DEPTH, Peek, Refused, SequenceKind, Sink, Text};

use crate::stream::setting;

/// What a reader makes here. Numbers by their bits: what is not a number is itself.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Number(u64),
    Bytes(Vec<u8>),
    Items(SequenceKind, Vec<Value>),
    Table(BTreeMap<Vec<u8>, Value>),
    Record(usize, Vec<Option<Value>>),
    Converted(usize, Box<Value>),
}

/// Counts what it makes of bytes of the payload: an absent field has a zero value and no bytes.
#[derive(Default)]
struct Counting {
    items: Vec<Value>,
    values: usize,
    /// Of each record.
    fields: Vec<usize>,
}

impl Counting {
    fn number(&mut self, bits: u64) -> Value {
        self.values += usize::from(bits != 0);
        Value::Number(bits)
    }
    fn blob(&mut self, bytes: &[u8]) -> Value {
        self.values += usize::from(!bytes.is_empty());
        Value::Bytes(bytes.to_vec())
    }
}

impl<'a> Sink<'a> for Counting {
    type Value = Value;
    type Table = BTreeMap<Vec<u8>, Value>;
    type Record = (usize, Vec<Option<Value>>);

    fn null(&mut self) -> Value {
        Value::Null
    }
    fn boolean(&mut self, value: bool) -> Value {
        self.number(value.into())
    }
    fn signed(&mut self, value: i64) -> Result<Value, Refused> {
        Ok(self.number(value.cast_unsigned()))
    }
    fn unsigned(&mut self, value: u64) -> Result<Value, Refused> {
        Ok(self.number(value))
    }
    fn float(&mut self, value: f64) -> Result<Value, Refused> {
        Ok(self.number(value.to_bits()))
    }
    fn text(&mut self, text: Text<'a>) -> Result<Value, Refused> {
        assert_eq!(text, Text::new(text.bytes), "what is known of a text depends on who found it");
        str::from_utf8(text.bytes).map_err(|_| Refused)?;
        Ok(self.blob(text.bytes))
    }
    fn owned_text(&mut self, text: &str) -> Result<Value, Refused> {
        Ok(self.blob(text.as_bytes()))
    }
    fn bytes(&mut self, bytes: &[u8]) -> Result<Value, Refused> {
        Ok(self.blob(bytes))
    }
    fn chosen_text(&mut self, _: usize, text: &[u8]) -> Result<Value, Refused> {
        if matches!(text, b"buy" | b"sell") { Ok(self.blob(text)) } else { Err(Refused) }
    }
    fn chosen_integer(&mut self, _: usize, integer: i64) -> Result<Value, Refused> {
        if (-1..4).contains(&integer) { self.signed(integer) } else { Err(Refused) }
    }
    fn foreign(&mut self, _: usize, _: &'a [u8]) -> Result<Value, Refused> {
        unreachable!("this format has conversions instead")
    }
    fn begin_sequence(&mut self) -> usize {
        self.items.len()
    }
    fn push(&mut self, item: Value) {
        self.items.push(item);
    }
    fn end_sequence(&mut self, mark: usize, kind: SequenceKind) -> Result<Value, Refused> {
        let items = self.items.split_off(mark);
        self.values += usize::from(!items.is_empty());
        Ok(Value::Items(kind, items))
    }
    fn begin_table(&mut self) -> Result<Self::Table, Refused> {
        Ok(BTreeMap::new())
    }
    fn insert(&mut self, table: &mut Self::Table, key: Text<'a>, value: Value) -> Result<(), Refused> {
        str::from_utf8(key.bytes).map_err(|_| Refused)?;
        table.insert(key.bytes.to_vec(), value);
        Ok(())
    }
    fn end_table(&mut self, table: Self::Table) -> Value {
        self.values += usize::from(!table.is_empty());
        Value::Table(table)
    }
    fn begin_record(&mut self, record: usize) -> Result<Self::Record, Refused> {
        Ok((record, vec![None; self.fields[record]]))
    }
    fn put(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        let before = record.1[field].replace(value);
        assert!(before.is_none(), "put where something was");
    }
    fn replace(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        record.1[field] = Some(value);
    }
    fn end_record(&mut self, (record, fields): Self::Record) -> Result<Value, Refused> {
        self.values += 1;
        Ok(Value::Record(record, fields))
    }
}

/// The conversion that refuses some values, as a date or a bound would.
const PICKY: usize = 1;

impl Convert<'_> for Counting {
    fn convert(&mut self, conversion: usize, value: Value) -> Result<Value, Refused> {
        match value {
            Value::Number(bits) if conversion == PICKY && bits & 1 == 1 => Err(Refused),
            Value::Bytes(bytes) if conversion == PICKY && bytes.contains(&b'!') => Err(Refused),
            value => Ok(Value::Converted(conversion, Box::new(value))),
        }
    }
}

// Messages, by their place in the plan. Those that are records have the same place among these.
const ALL: usize = 0;
const LEAF: usize = 1;
const STRICT: usize = 2;
const WIDE: usize = 3;
const ZERO: usize = 4;
const HOLDER: usize = 5;
const UNION: usize = 6;
const TUPLE: usize = 7;
const BOX: usize = 8;

/// More fields than the quick reader keeps account of.
const MANY: u32 = 70;

/// No message has a field of this number.
const UNKNOWN: u32 = 900;

fn field(number: u32, item: Item) -> Field {
    Field::new(&format!("f{number}"), number, item)
}

fn absent(absent: Absent, number: u32, item: Item) -> Field {
    let mut field = field(number, item);
    field.absent = absent;
    field
}

fn optional(number: u32, item: Item) -> Field {
    absent(Absent::Null, number, item)
}

fn required(number: u32, item: Item) -> Field {
    absent(Absent::Fault, number, item)
}

fn labelled(label: Label, number: u32, item: Item) -> Field {
    let mut field = field(number, item);
    field.label = label;
    field
}

fn many(number: u32, item: Item) -> Field {
    labelled(Label::Repeated(SequenceKind::List, None), number, item)
}

fn map(number: u32, item: Item) -> Field {
    labelled(Label::Map, number, item)
}

/// The same field with a conversion of the whole, or of each value.
fn converted(mut field: Field, whole: Option<usize>, each: Option<usize>) -> Field {
    field.conversion = whole;
    field.item_conversion = each;
    field
}

fn record(place: usize, tag: Option<Tag>, forbids_unknown: bool, fields: Vec<Field>) -> Message {
    let mut message = Message::new(Form::Record(place), fields);
    message.tag = tag;
    message.forbids_unknown = forbids_unknown;
    message
}

fn messages(held: usize) -> Vec<Message> {
    let number = Item::Number;
    let mut pair = labelled(Label::Repeated(SequenceKind::List, Some(2)), 11, number(Number::Double));
    pair.absent = Absent::Null;
    let all = vec![
        field(1, number(Number::Int64)),
        field(2, number(Number::Bool)),
        field(3, number(Number::Int32)),
        field(4, number(Number::UInt32)),
        field(5, number(Number::UInt64)),
        field(6, number(Number::Float)),
        field(7, number(Number::Double)),
        field(8, Item::Text),
        field(9, Item::Bytes),
        many(10, number(Number::Int64)),
        pair,
        many(12, Item::Text),
        optional(13, Item::Message(ALL)),
        many(14, Item::Message(LEAF)),
        map(15, number(Number::Int64)),
        // A key of two bytes from here on.
        map(16, Item::Message(ALL)),
        absent(Absent::Default, 17, Item::ChosenText(0)),
        field(18, Item::ChosenInteger(1)),
        optional(19, Item::Message(UNION)),
        optional(20, Item::Message(TUPLE)),
        many(21, Item::Message(BOX)),
        converted(field(22, Item::Text), Some(0), None),
        converted(many(23, number(Number::Int64)), None, Some(PICKY)),
        converted(map(24, Item::Text), None, Some(PICKY)),
        converted(many(25, Item::Message(ALL)), Some(0), Some(0)),
        many(26, Item::ChosenText(0)),
        many(27, number(Number::Bool)),
        optional(28, Item::Message(STRICT)),
        optional(29, number(Number::UInt64)),
    ];
    let leaf = vec![field(1, number(Number::Int64)), field(2, Item::Text)];
    let strict = vec![
        required(1, Item::Message(LEAF)),
        required(2, number(Number::Int64)),
        converted(required(3, Item::Text), Some(PICKY), None),
    ];
    let wide = (1..=MANY).map(|number| field(number, if number % 2 == 0 { Item::Text } else { Item::Bytes })).collect();
    let zero = vec![optional(1, Item::Message(BOX)), many(2, Item::Bytes)];
    let tuple = vec![field(1, Item::Text), optional(2, number(Number::Double)), many(3, Item::Text)];
    let mut boxed = Message::new(Form::Box, vec![many(1, number(Number::Double))]);
    boxed.conversion = Some(0);
    vec![
        record(ALL, Some(Tag::text("type", "All", Some("all"))), false, all),
        record(LEAF, Some(Tag::text("type", "Leaf", Some("leaf"))), true, leaf),
        record(STRICT, Some(Tag::integer("kind", 7)), true, strict),
        record(WIDE, None, false, wide),
        record(ZERO, Some(Tag::integer("kind", 0)), false, zero),
        record(HOLDER, None, false, vec![optional(1, Item::Message(held))]),
        Message::new(Form::Union, vec![required(1, Item::Message(LEAF)), required(2, Item::Message(ALL))]),
        Message::new(Form::Tuple, tuple),
        boxed,
    ]
}

/// A plan whose payloads are what the settings choose, and whether an unknown field can be a fault there.
fn root(settings: u8) -> (Root, usize, bool) {
    match settings & 7 {
        0 => (Root::One(ALL), ALL, false),
        1 => (Root::Tagged([ALL, LEAF].into()), LEAF, true),
        2 => (Root::One(UNION), UNION, false),
        3 => (Root::One(TUPLE), TUPLE, false),
        4 => (Root::One(BOX), BOX, false),
        5 => (Root::One(STRICT), STRICT, true),
        6 => (Root::One(WIDE), WIDE, false),
        _ => (Root::Tagged([STRICT, ZERO].into()), ZERO, true),
    }
}

fn plan(held: usize, root: Root) -> (Plan, Vec<usize>) {
    let messages = messages(held);
    let records = messages.iter().filter(|message| matches!(message.form, Form::Record(_)));
    let fields = records.map(|message| message.fields.len()).collect();
    (Plan::new(messages, root).expect("every index is there"), fields)
}

/// What both readers say of a payload.
fn read(plan: &Plan, fields: &[usize], input: &[u8]) -> Result<Value, Malformed> {
    let sink = || Counting { fields: fields.to_vec(), ..Counting::default() };
    let mut quick = sink();
    let quickly = decode_quickly(plan, input, &mut quick);
    assert!(quick.values <= input.len() + 1, "more values than bytes");
    assert!(quickly.is_none() || quick.items.is_empty(), "items that belong to nothing");
    let mut both = sink();
    let decoded = decode(plan, input, &mut both);
    assert!(both.values <= 2 * (input.len() + 1), "more values than bytes, of two readers");
    match &decoded {
        Ok(value) => {
            // What the quick one had when it gave up is still there, and nothing else.
            assert_eq!(both.items, quick.items, "items that belong to nothing");
            assert!(depth_of(value) <= MAX_DEPTH, "nested deeper than the limit");
            assert!(is_well_formed(input), "accepted, and not well formed");
        }
        Err(fault) => assert!(fault.offset <= input.len(), "a fault behind the end"),
    }
    if quickly.is_some() {
        assert_eq!(quickly, decoded.clone().ok(), "the quick one's answer is another");
    }
    decoded
}

/// How many messages lie within each other; the entries of a table are some.
fn depth_of(value: &Value) -> usize {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| values.map(depth_of).max().unwrap_or(0);
    match value {
        Value::Null | Value::Number(_) | Value::Bytes(_) => 0,
        Value::Items(kind, items) => usize::from(*kind == SequenceKind::Tuple) + deepest(&mut items.iter()),
        Value::Table(table) => usize::from(!table.is_empty()) + deepest(&mut table.values()),
        Value::Record(_, fields) => 1 + deepest(&mut fields.iter().flatten()),
        Value::Converted(_, value) => depth_of(value),
    }
}

/// Keys, the values behind them, and groups that end; written here once more and not with the reader under test.
fn is_well_formed(input: &[u8]) -> bool {
    let mut groups = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let Some((key, behind)) = number(rest) else { return false };
        // Nobody asks for a number in a group.
        if key > u64::from(u32::MAX) || (key >> 3 == 0 && groups.is_empty()) {
            return false;
        }
        let size = match key & 7 {
            0 => number(behind).map(|(_, after)| behind.len() - after.len()),
            1 => Some(8),
            2 => number(behind)
                .and_then(|(size, after)| usize::try_from(size).ok()?.checked_add(behind.len() - after.len())),
            3 => {
                groups.push(key >> 3);
                Some(0)
            }
            4 => (groups.pop() == Some(key >> 3)).then_some(0),
            5 => Some(4),
            _ => None,
        };
        match size.and_then(|size| behind.get(size..)) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    groups.is_empty()
}

fn number(input: &[u8]) -> Option<(u64, &[u8])> {
    let last = input.iter().take(10).position(|byte| *byte < 0x80)?;
    let digits = input[..=last].iter().rev();
    let value = digits.fold(0_u128, |value, byte| value << 7 | u128::from(byte & 0x7f));
    Some((value as u64, &input[last + 1..]))
}

/// A field of the holder.
fn held(bytes: &[u8]) -> Vec<u8> {
    let mut out = key(1, 2);
    write_bytes(&mut out, bytes);
    out
}

/// Both readers agree; parts of a message are what they are together; nothing is made that has no bytes; nothing panics.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let (settings, input) = setting(data);
    let (cut, input) = setting(input);
    let (chosen, index, can_forbid) = root(settings);
    let (plan_of_root, fields) = plan(index, chosen);
    let decoded = read(&plan_of_root, &fields, input);
    // The quick reader leaves groups alone, the full one skips them.
    let group = [key(UNKNOWN, 3), key(UNKNOWN, 4)].concat();
    let full = read(&plan_of_root, &fields, &[&group, input].concat());
    if !(can_forbid && full.as_ref().is_err_and(|fault| fault.problem == Problem::UnknownField(UNKNOWN))) {
        let what = |fault: Malformed| (fault.problem, fault.path);
        assert_eq!(decoded.map_err(what), full.map_err(what), "a group in front changes what is read");
    }
    let (holder, fields) = plan(index, Root::One(HOLDER));
    let (first, second) = input.split_at(usize::from(cut).min(input.len()));
    if read(&holder, &fields, &held(first)).is_ok() {
        let apart = read(&holder, &fields, &[held(first), held(second)].concat());
        let together = read(&holder, &fields, &held(input));
        assert_eq!(apart.ok(), together.ok(), "parts of a message are not merged");
    }
    if let Peek::Tag(tag, offset) = peek_tag(input) {
        assert_eq!(input.get(offset..offset + tag.len()), Some(tag), "a tag that does not stand there");
    }
}
