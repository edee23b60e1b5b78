//! The readers of the codec, by a plan that has every shape, into values that are counted.

use websocket_utils_core::codec::plan::{
    Accepts, Choice, Classes, Field, Items, Plan, Record, Shape, Tag, TagField, Tagged,
};
use websocket_utils_core::codec::{Fault, MAX_DEPTH, Peek, Refused, SequenceKind, Sink, Step, Text, json, msgpack};

use crate::stream::setting;

/// What a reader makes here.
#[derive(Debug)]
enum Value {
    Plain,
    Sequence(Vec<Value>),
    Table(Vec<Value>),
    Record(Vec<Option<Value>>),
}

/// Counts what it makes: every value stands for bytes of its own.
#[derive(Default)]
struct Counting {
    items: Vec<Value>,
    values: usize,
    /// Of each record.
    fields: Vec<usize>,
    is_json: bool,
}

impl Counting {
    fn make(&mut self, value: Value) -> Value {
        self.values += 1;
        value
    }
}

/// Foreign values that this number refuses, as msgspec would some.
const REFUSED_FOREIGN: usize = 1;

impl<'a> Sink<'a> for Counting {
    type Value = Value;
    type Table = Vec<Value>;
    type Record = (usize, Vec<Option<Value>>);

    fn null(&mut self) -> Value {
        self.make(Value::Plain)
    }
    fn boolean(&mut self, _: bool) -> Value {
        self.make(Value::Plain)
    }
    fn signed(&mut self, _: i64) -> Result<Value, Refused> {
        Ok(self.make(Value::Plain))
    }
    fn unsigned(&mut self, _: u64) -> Result<Value, Refused> {
        Ok(self.make(Value::Plain))
    }
    fn float(&mut self, value: f64) -> Result<Value, Refused> {
        assert!(value.is_finite() || !self.is_json, "JSON has no such number");
        Ok(self.make(Value::Plain))
    }
    fn text(&mut self, text: Text<'a>) -> Result<Value, Refused> {
        assert_eq!(text, Text::new(text.bytes), "what is known of a text depends on who found it");
        assert!(!text.is_ascii || text.bytes.is_ascii(), "not ASCII, and called so");
        str::from_utf8(text.bytes).map_err(|_| Refused)?;
        Ok(self.make(Value::Plain))
    }
    fn owned_text(&mut self, _: &str) -> Result<Value, Refused> {
        Ok(self.make(Value::Plain))
    }
    fn bytes(&mut self, _: &[u8]) -> Result<Value, Refused> {
        Ok(self.make(Value::Plain))
    }
    fn chosen_text(&mut self, _: usize, text: &[u8]) -> Result<Value, Refused> {
        if matches!(text, b"buy" | b"sell") { Ok(self.make(Value::Plain)) } else { Err(Refused) }
    }
    fn chosen_integer(&mut self, _: usize, integer: i64) -> Result<Value, Refused> {
        if (-1..4).contains(&integer) { Ok(self.make(Value::Plain)) } else { Err(Refused) }
    }
    fn foreign(&mut self, foreign: usize, bytes: &'a [u8]) -> Result<Value, Refused> {
        assert!(!bytes.is_empty(), "a value without bytes");
        if foreign == REFUSED_FOREIGN { Err(Refused) } else { Ok(self.make(Value::Plain)) }
    }
    fn begin_sequence(&mut self) -> usize {
        self.items.len()
    }
    fn push(&mut self, item: Value) {
        self.items.push(item);
    }
    fn end_sequence(&mut self, mark: usize, _: SequenceKind) -> Result<Value, Refused> {
        let items = self.items.split_off(mark);
        Ok(self.make(Value::Sequence(items)))
    }
    fn begin_table(&mut self) -> Result<Self::Table, Refused> {
        Ok(Vec::new())
    }
    fn insert(&mut self, table: &mut Self::Table, key: Text<'a>, value: Value) -> Result<(), Refused> {
        str::from_utf8(key.bytes).map_err(|_| Refused)?;
        table.push(value);
        Ok(())
    }
    fn end_table(&mut self, table: Self::Table) -> Value {
        self.make(Value::Table(table))
    }
    fn begin_record(&mut self, record: usize) -> Result<Self::Record, Refused> {
        Ok((record, (0..self.fields[record]).map(|_| None).collect()))
    }
    fn put(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        let before = record.1[field].replace(value);
        assert!(before.is_none(), "put where something was");
    }
    fn replace(&mut self, record: &mut Self::Record, field: usize, value: Value) {
        record.1[field] = Some(value);
    }
    fn end_record(&mut self, record: Self::Record) -> Result<Value, Refused> {
        Ok(self.make(Value::Record(record.1)))
    }
}

const FIELDS: [&str; 18] = [
    "text",
    "int",
    "float",
    "bool",
    "maybe",
    "side",
    "status",
    "floats",
    "levels",
    "rows",
    "totals",
    "self",
    "event",
    "row",
    "foreign",
    "refused",
    "blob",
    "a_field_whose_name_is_longer_than_one_compare",
];

/// A plan with every shape. `root` chooses what a message is.
fn plan(root: u8, lenient: bool) -> (Plan, Vec<usize>) {
    let scalar = |scalars| Shape { scalars, ..Shape::default() };
    let items = |items| Shape { items: Some(items), ..Shape::default() };
    let shapes = vec![
        scalar(Accepts::TEXT),
        scalar(Accepts::INT),
        scalar(Accepts::FLOAT),
        scalar(Accepts::BOOL),
        scalar(Accepts::TEXT.with(Accepts::NULL).with(Accepts::INT)),
        Shape { choice: Some(Choice { number: 0, has_texts: true, has_integers: false }), ..Shape::default() },
        Shape {
            choice: Some(Choice { number: 1, has_texts: false, has_integers: true }),
            scalars: Accepts::NULL,
            ..Shape::default()
        },
        items(Items::Many(SequenceKind::List, 2)),
        items(Items::Fixed([2, 2].into())),
        items(Items::Many(SequenceKind::Tuple, 7)),
        Shape { table: Some(1), ..Shape::default() },
        Shape { objects: Classes::One(0), scalars: Accepts::NULL, ..Shape::default() },
        Shape { objects: Classes::Tagged(Box::new(Tagged::new("op", &[1, 2]))), ..Shape::default() },
        Shape { arrays: Classes::Tagged(Box::new(Tagged::new("op", &[3, 4]))), ..Shape::default() },
        Shape { foreign: Some(0), ..Shape::default() },
        Shape { foreign: Some(REFUSED_FOREIGN), ..Shape::default() },
        scalar(Accepts::BYTES),
        items(Items::Fixed([0, 1, 9].into())),
        items(Items::Many(SequenceKind::List, 8)),
        items(Items::Many(SequenceKind::List, 11)),
        Shape { table: Some(11), ..Shape::default() },
        Shape { objects: Classes::Tagged(Box::new(Tagged::new("type", &[0, 5]))), ..Shape::default() },
    ];
    let record = |tag: Option<(&str, &str)>, fields: Vec<Field>, forbids_unknown, foreign| Record {
        tag: tag.map(|(field, tag)| Tag::new(field, tag, Some("other"))),
        fields: fields.into(),
        forbids_unknown,
        foreign,
    };
    let all =
        |more: usize| FIELDS.iter().enumerate().map(|(shape, name)| Field::new(name, (shape + more) % 19)).collect();
    let records = vec![
        record(Some(("type", "All")), all(0), false, None),
        record(Some(("op", "add")), vec![Field::new("price", 2)], true, None),
        record(Some(("op", "cancel")), vec![Field::new("order", 1), Field::new("tree", 11)], false, None),
        record(Some(("op", "level")), vec![Field::new("price", 2), Field::new("size", 2)], true, None),
        record(Some(("op", "trade")), vec![Field::new("price", 2), Field::new("side", 5)], false, Some(0)),
        record(Some(("type", "Other")), all(3), true, None),
    ];
    let fields = records.iter().map(|record| record.fields.len()).collect();
    let root = [11, 21, 12, 13, 19, 20, 17, 18][usize::from(root & 7)];
    (Plan::new(shapes, records, root, lenient).expect("every index is there"), fields)
}

/// Finds nothing beyond JSON's grammar (RFC 8259), strings of any bytes included: where the value at `at` ends.
fn json_value(input: &[u8], at: usize, depth: usize) -> Option<usize> {
    let space = |mut at: usize| {
        while matches!(input.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    let string = |at: usize| -> Option<usize> {
        let mut at = at + usize::from(*input.get(at)? == b'"');
        loop {
            match *input.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' if *input.get(at + 1)? == b'u' => {
                    input.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    at += 6;
                }
                b'\\' => {
                    b"\"\\/bfnrt".contains(input.get(at + 1)?).then_some(())?;
                    at += 2;
                }
                0..0x20 => return None,
                _ => at += 1,
            }
        }
    };
    assert!(depth <= MAX_DEPTH + 1, "accepted though nested deeper than the limit");
    let at = space(at);
    match *input.get(at)? {
        b'"' => string(at),
        open @ (b'{' | b'[') => {
            let close = if open == b'{' { b'}' } else { b']' };
            let mut at = space(at + 1);
            if input.get(at) == Some(&close) {
                return Some(at + 1);
            }
            loop {
                if open == b'{' {
                    (input.get(at) == Some(&b'"')).then_some(())?;
                    at = space(string(at)?);
                    (input.get(at) == Some(&b':')).then_some(())?;
                    at += 1;
                }
                at = space(json_value(input, at, depth + 1)?);
                match *input.get(at)? {
                    b',' => at = space(at + 1),
                    byte if byte == close => return Some(at + 1),
                    _ => return None,
                }
            }
        }
        _ => {
            let end = at + input[at..].iter().position(|byte| b" \t\n\r,]}".contains(byte)).unwrap_or(input.len() - at);
            let word = str::from_utf8(&input[at..end]).ok()?;
            let unsigned = word.strip_prefix('-').unwrap_or(word);
            let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
            let is_number = word.parse::<f64>().is_ok()
                && digits > 0
                && (digits == 1 || !unsigned.starts_with('0'))
                && !unsigned.ends_with('.')
                && !unsigned.contains(".e")
                && !unsigned.contains(".E");
            (is_number || matches!(word, "true" | "false" | "null")).then_some(end)
        }
    }
}

/// What is accepted is JSON; nothing is made that has no bytes; nothing panics.
///
/// # Panics
/// If not so.
pub fn run_json(data: &[u8]) {
    let (settings, input) = setting(data);
    let (plan, fields) = plan(settings, settings & 8 != 0);
    let mut sink = Counting { fields, is_json: true, ..Counting::default() };
    let decoded = json::decode(&plan, input, &mut sink);
    check(input, &sink, &decoded);
    let deep = json::too_deep(input);
    if decoded.is_ok() {
        let end = json_value(input, 0, 1).expect("accepted, and no JSON");
        assert!(input[end..].iter().all(u8::is_ascii_whitespace), "accepted with something behind");
        assert_eq!(deep, None, "accepted, and too deep");
    }
    look_around(input, json::peek_tag, json::tag_spans, json::locate, deep);
}

/// What is accepted is MessagePack that ends with the input; nothing is made that has no bytes; nothing panics.
///
/// # Panics
/// If not so.
pub fn run_msgpack(data: &[u8]) {
    let (settings, input) = setting(data);
    let (plan, fields) = plan(settings, settings & 8 != 0);
    let mut sink = Counting { fields, ..Counting::default() };
    let decoded = msgpack::decode(&plan, input, &mut sink);
    check(input, &sink, &decoded);
    let deep = msgpack::too_deep(input);
    if decoded.is_ok() {
        assert_eq!(deep, None, "accepted, and too deep");
    }
    look_around(input, msgpack::peek_tag, msgpack::tag_spans, msgpack::locate, deep);
}

fn check(input: &[u8], sink: &Counting, decoded: &Result<Value, Fault>) {
    assert!(sink.values <= input.len(), "more values than bytes");
    assert!(sink.items.capacity() <= 4 * input.len().max(16), "more room than the input can fill");
    if let Err(Fault { offset }) = decoded {
        assert!(*offset <= input.len(), "a fault behind the end");
    }
    if let Ok(value) = decoded {
        assert!(sink.items.is_empty(), "items that belong to nothing");
        assert!(depth_of(value) <= MAX_DEPTH, "nested deeper than the limit");
    }
}

fn depth_of(value: &Value) -> usize {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| 1 + values.map(depth_of).max().unwrap_or(0);
    match value {
        Value::Sequence(items) | Value::Table(items) => deepest(&mut items.iter()),
        Value::Record(fields) => deepest(&mut fields.iter().flatten()),
        Value::Plain => 0,
    }
}

/// The functions that look at a payload without decoding it agree with the payload.
fn look_around(
    input: &[u8],
    peek_tag: for<'a> fn(&'a [u8], &TagField) -> Peek<'a>,
    tag_spans: fn(&[u8], &TagField) -> Vec<std::ops::Range<usize>>,
    locate: fn(&[u8], &[Step<'_>]) -> usize,
    deep: Option<usize>,
) {
    let field = TagField::new("type");
    if let Peek::Tag(tag, offset) = peek_tag(input, &field) {
        assert_eq!(input.get(offset..offset + tag.len()), Some(tag), "a tag that does not stand there");
    }
    for span in tag_spans(input, &field) {
        assert!(input.get(span).is_some(), "a span outside");
    }
    for path in [&[Step::Field("levels"), Step::Item(1), Step::Item(0)][..], &[Step::Item(2), Step::Field("self")], &[]]
    {
        assert!(locate(input, path) <= input.len(), "located behind the end");
    }
    assert!(deep.is_none_or(|offset| offset < input.len()), "too deep behind the end");
}
