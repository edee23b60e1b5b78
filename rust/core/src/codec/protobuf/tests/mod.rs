//! What the tests read with: a message of every kind of field, and a sink that builds trees.

mod agreement;
mod messages;
mod rules;

use std::collections::BTreeMap;

use super::super::{Refused, SequenceKind, Sink, Text};
use super::plan::{Absent, Field, Form, Item, Label, Message, Number, Plan, Root, Tag};
use super::{Convert, Malformed, Problem, full, quick, write};

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// By its bits: not a number is itself.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    Items(SequenceKind, Vec<Value>),
    Table(BTreeMap<String, Value>),
    Record(usize, BTreeMap<usize, Value>),
    Converted(usize, Box<Value>),
}

/// Builds trees. Choice 0 is "buy" and "sell", or 0 and 7; conversion 0 takes anything, conversion 1 nothing negative.
#[derive(Default)]
struct Tree {
    items: Vec<Value>,
}

impl<'a> Sink<'a> for Tree {
    type Value = Value;
    type Table = BTreeMap<String, Value>;
    type Record = (usize, BTreeMap<usize, Value>);

    fn null(&mut self) -> Value {
        Value::Null
    }
    fn boolean(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }
    fn signed(&mut self, value: i64) -> Result<Value, Refused> {
        Ok(Value::Int(value.into()))
    }
    fn unsigned(&mut self, value: u64) -> Result<Value, Refused> {
        Ok(Value::Int(value.into()))
    }
    fn float(&mut self, value: f64) -> Result<Value, Refused> {
        Ok(Value::Float(value.to_bits()))
    }
    fn text(&mut self, text: Text<'a>) -> Result<Value, Refused> {
        std::str::from_utf8(text.bytes).map(|text| Value::Text(text.to_owned())).map_err(|_| Refused)
    }
    fn owned_text(&mut self, text: &str) -> Result<Value, Refused> {
        Ok(Value::Text(text.to_owned()))
    }
    fn bytes(&mut self, bytes: &[u8]) -> Result<Value, Refused> {
        Ok(Value::Bytes(bytes.to_vec()))
    }
    fn chosen_text(&mut self, _: usize, text: &[u8]) -> Result<Value, Refused> {
        if text == b"buy" || text == b"sell" { self.text(Text::new(b"chosen")) } else { Err(Refused) }
    }
    fn chosen_integer(&mut self, _: usize, integer: i64) -> Result<Value, Refused> {
        if integer == 0 || integer == 7 { self.signed(integer) } else { Err(Refused) }
    }
    fn foreign(&mut self, _: usize, _: &'a [u8]) -> Result<Value, Refused> {
        Err(Refused)
    }
    fn begin_sequence(&mut self) -> usize {
        self.items.len()
    }
    fn push(&mut self, item: Value) {
        self.items.push(item);
    }
    fn end_sequence(&mut self, mark: usize, kind: SequenceKind) -> Result<Value, Refused> {
        Ok(Value::Items(kind, self.items.split_off(mark)))
    }
    fn begin_table(&mut self) -> Result<Self::Table, Refused> {
        Ok(BTreeMap::new())
    }
    fn insert(&mut self, table: &mut Self::Table, key: Text<'a>, value: Value) -> Result<(), Refused> {
        let key = std::str::from_utf8(key.bytes).map_err(|_| Refused)?;
        table.insert(key.to_owned(), value);
        Ok(())
    }
    fn end_table(&mut self, table: Self::Table) -> Value {
        Value::Table(table)
    }
    fn begin_record(&mut self, record: usize) -> Result<Self::Record, Refused> {
        Ok((record, BTreeMap::new()))
    }
    fn put(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        assert_eq!(record.1.insert(field, value), None, "a place is filled once");
    }
    fn replace(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        record.1.insert(field, value);
    }
    fn end_record(&mut self, (record, fields): Self::Record) -> Result<Value, Refused> {
        Ok(Value::Record(record, fields))
    }
}

impl Convert<'_> for Tree {
    fn convert(&mut self, conversion: usize, value: Value) -> Result<Value, Refused> {
        match value {
            Value::Int(..0) if conversion == 1 => Err(Refused),
            value => Ok(Value::Converted(conversion, Box::new(value))),
        }
    }
}

// Fields of the message that most tests read; its places are their numbers less one.
const INT: u32 = 1;
const BOOL: u32 = 2;
const INT32: u32 = 3;
const UINT32: u32 = 4;
const UINT64: u32 = 5;
const FLOAT: u32 = 6;
const DOUBLE: u32 = 7;
const TEXT: u32 = 8;
const BYTES: u32 = 9;
const INTS: u32 = 10;
const PAIR: u32 = 11;
const TEXTS: u32 = 12;
const NESTED: u32 = 13;
const NESTEDS: u32 = 14;
const MAP: u32 = 15;
const MAP_OF_NESTED: u32 = 16;
const SIDE: u32 = 17;
const LEVEL: u32 = 18;
const EITHER: u32 = 19;
const ROW: u32 = 20;
const ROWS: u32 = 21;
const DATE: u32 = 22;
const BOUNDED: u32 = 23;
const CODES: u32 = 24;
const UNKNOWN: u32 = 100;

const THING: usize = 0;
const LEAF: usize = 1;
const UNION: usize = 2;
const TUPLE: usize = 3;
const BOXED: usize = 4;

fn message(form: Form, fields: Vec<Field>) -> Message {
    Message::new(form, fields)
}

fn field(number: u32, item: Item) -> Field {
    Field::new(&format!("f{number}"), number, item)
}

fn optional(number: u32, item: Item) -> Field {
    Field { absent: Absent::Null, ..field(number, item) }
}

fn many(number: u32, item: Item) -> Field {
    Field { label: Label::Repeated(SequenceKind::List, None), ..field(number, item) }
}

fn messages() -> Vec<Message> {
    let number = Item::Number;
    let thing = vec![
        field(INT, number(Number::Int64)),
        field(BOOL, number(Number::Bool)),
        field(INT32, number(Number::Int32)),
        field(UINT32, number(Number::UInt32)),
        field(UINT64, number(Number::UInt64)),
        field(FLOAT, number(Number::Float)),
        field(DOUBLE, number(Number::Double)),
        field(TEXT, Item::Text),
        field(BYTES, Item::Bytes),
        many(INTS, number(Number::Int64)),
        Field {
            label: Label::Repeated(SequenceKind::Tuple, Some(2)),
            absent: Absent::Null,
            ..field(PAIR, number(Number::Double))
        },
        many(TEXTS, Item::Text),
        optional(NESTED, Item::Message(THING)),
        many(NESTEDS, Item::Message(LEAF)),
        Field { label: Label::Map, ..field(MAP, number(Number::Int64)) },
        Field { label: Label::Map, ..field(MAP_OF_NESTED, Item::Message(LEAF)) },
        Field { absent: Absent::Default, ..field(SIDE, Item::ChosenText(0)) },
        field(LEVEL, Item::ChosenInteger(0)),
        optional(EITHER, Item::Message(UNION)),
        optional(ROW, Item::Message(TUPLE)),
        many(ROWS, Item::Message(BOXED)),
        Field { conversion: Some(0), ..field(DATE, Item::Text) },
        Field { item_conversion: Some(1), ..many(BOUNDED, number(Number::Int64)) },
        Field { label: Label::Map, ..field(CODES, Item::ChosenInteger(0)) },
    ];
    let leaf = vec![field(1, number(Number::Int64)), field(2, Item::Text)];
    let fault = |field: Field| Field { absent: Absent::Fault, ..field };
    vec![
        Message { tag: Some(Tag::text("type", "Thing", Some("thing"))), ..message(Form::Record(THING), thing) },
        Message { tag: Some(Tag::text("type", "Leaf", Some("leaf"))), ..message(Form::Record(LEAF), leaf) },
        message(Form::Union, vec![fault(field(1, Item::Message(LEAF))), fault(field(2, Item::Message(THING)))]),
        message(Form::Tuple, vec![field(1, Item::Text), optional(2, number(Number::Double))]),
        message(Form::Box, vec![many(1, number(Number::Double))]),
    ]
}

fn plan() -> Plan {
    Plan::new(messages(), Root::One(THING)).unwrap()
}

/// Both readers' answer; they must not differ where the quick one has any.
fn read(plan: &Plan, input: &[u8]) -> Result<Value, Malformed> {
    let full = full::decode(plan, input, &mut Tree::default());
    if let Some(value) = quick::decode(plan, input, &mut Tree::default()) {
        assert_eq!(Ok(value), full, "{input:02x?}");
    }
    let public = super::decode(plan, input, &mut Tree::default());
    assert_eq!(public, full);
    full
}

fn is_quick(plan: &Plan, input: &[u8]) -> bool {
    quick::decode(plan, input, &mut Tree::default()).is_some()
}

fn fields(input: &[u8]) -> BTreeMap<usize, Value> {
    match read(&plan(), input) {
        Ok(Value::Record(_, fields)) => fields,
        other => panic!("{other:?}"),
    }
}

/// The value of one field.
fn of(number: u32, input: &[u8]) -> Value {
    fields(input).remove(&(number as usize - 1)).unwrap()
}

fn problem(input: &[u8]) -> (Problem, String, usize) {
    match read(&plan(), input) {
        Err(Malformed { offset, path, problem }) => (problem, path, offset),
        Ok(value) => panic!("{value:?}"),
    }
}

fn varint(number: u32, value: &[u8]) -> Vec<u8> {
    [&*write::key(number, 0), value].concat()
}

fn int(number: u32, value: u64) -> Vec<u8> {
    let mut out = write::key(number, 0);
    write::write_unsigned(&mut out, value);
    out
}

fn length(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = write::key(number, 2);
    write::write_bytes(&mut out, bytes);
    out
}

fn list(values: &[i128]) -> Value {
    Value::Items(SequenceKind::List, values.iter().map(|value| Value::Int(*value)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn leaf(number: i128, name: &str) -> Value {
    Value::Record(LEAF, BTreeMap::from([(0, Value::Int(number)), (1, text(name))]))
}

/// The first nine bytes of an integer with all bits set.
const FULL: [u8; 9] = [0xff; 9];
