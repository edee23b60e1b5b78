//! What messages become, and how they are told apart.

use std::collections::BTreeMap;

use super::super::super::Peek;
use super::super::peek_tag;
use super::*;

#[test]
fn tuples_of_one_type_have_their_length() {
    let pair = |count: usize| length(PAIR, &[0; 8].repeat(count));
    let both = Value::Items(SequenceKind::Tuple, vec![Value::Float(0); 2]);
    assert_eq!(of(PAIR, &pair(2)), both);
    assert_eq!(of(PAIR, &[pair(1), pair(1)].concat()), both);
    let (what, path, _) = problem(&pair(3));
    assert_eq!((what, path.as_str()), (Problem::WrongLength { expected: 2, got: 3 }, ".f11"));
}

#[test]
fn boxes_and_tuples_are_messages_with_a_form_of_their_own() {
    let row = |count: usize| length(ROWS, &length(1, &[0; 8].repeat(count)));
    let floats = |count| Value::Items(SequenceKind::List, vec![Value::Float(0); count]);
    let input = [row(2), row(1), length(ROWS, b"")].concat();
    assert!(is_quick(&plan(), &input));
    assert_eq!(of(ROWS, &input), Value::Items(SequenceKind::List, vec![floats(2), floats(1), floats(0)]));
    let tuple = |items: Vec<Value>| Value::Items(SequenceKind::Tuple, items);
    assert_eq!(of(ROW, &length(ROW, &length(1, b"a"))), tuple(vec![text("a"), Value::Null]));
    let second = [&*write::key(2, 1), &[0; 8]].concat();
    assert_eq!(of(ROW, &length(ROW, &second)), tuple(vec![text(""), Value::Float(0)]));
    assert_eq!(of(ROW, &length(ROW, &[second, length(1, b"b")].concat())), tuple(vec![text("b"), Value::Float(0)]));
    let (what, path, _) = problem(&length(ROW, &length(1, b"\xff")));
    assert_eq!((what, path.as_str()), (Problem::NotUtf8, ".f20[0]"));
}

#[test]
fn the_last_member_of_a_union_counts_and_only_its_own_parts_are_merged() {
    let either = |bytes: &[u8]| of(EITHER, &length(EITHER, bytes));
    let (a, b) = (int(1, 5), length(2, b"x"));
    assert_eq!(either(&length(1, &a)), leaf(5, ""));
    assert_eq!(either(&[length(1, &a), length(1, &b)].concat()), leaf(5, "x"));
    assert_eq!(either(&[length(1, &a), length(2, b""), length(1, &b)].concat()), leaf(0, "x"));
    // Of the wrong wire type it is no member.
    assert_eq!(either(&[length(1, &a), int(2, 0), length(1, &b)].concat()), leaf(5, "x"));
    assert!(matches!(either(&[length(1, &a), length(2, b"")].concat()), Value::Record(THING, _)));
    let (what, path, _) = problem(&length(EITHER, b""));
    assert_eq!((what, path.as_str()), (Problem::NoMember, ".f19"));
    // What does not count has to be well formed.
    assert_eq!(problem(&length(EITHER, &[length(1, b"\x08"), length(2, b"")].concat())).0, Problem::Truncated);
}

#[test]
fn entries_of_tables_take_zero_values_and_later_ones_replace() {
    let table = |entries: &[&[u8]]| {
        let input: Vec<u8> = entries.iter().flat_map(|entry| length(MAP, entry)).collect();
        of(MAP, &input)
    };
    let expected = |entries: &[(&str, i128)]| {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), Value::Int(*value))).collect())
    };
    assert_eq!(table(&[b"\x0a\x01a\x10\x05", b"\x0a\x01b\x10\x06"]), expected(&[("a", 5), ("b", 6)]));
    assert_eq!(table(&[b"\x0a\x01a\x10\x05", b"\x0a\x01a"]), expected(&[("a", 0)]));
    assert_eq!(table(&[b"\x10\x05"]), expected(&[("", 5)]));
    assert_eq!(table(&[b""]), expected(&[("", 0)]));
    assert_eq!(table(&[b"\x10\x05\x0a\x01a\x0a\x01b\x10\x06"]), expected(&[("b", 6)]));
    // With anything else in it, an entry is unknown as a whole.
    assert_eq!(table(&[b"\x0a\x01a\x10\x05\x18\x01"]), expected(&[]));
    assert_eq!(table(&[b"\x08\x01"]), expected(&[]));
    assert_eq!(problem(&length(MAP, b"\x0a\x01\xff")).1, ".f15[...]");
    let nested = |entry: &[u8]| of(MAP_OF_NESTED, &length(MAP_OF_NESTED, entry));
    let expected = |value| Value::Table(BTreeMap::from([("a".to_owned(), value)]));
    assert_eq!(nested(b"\x0a\x01a"), expected(leaf(0, "")));
    assert_eq!(nested(b"\x0a\x01a\x12\x02\x08\x05\x12\x03\x12\x01x"), expected(leaf(5, "x")));
    let scattered = [length(MAP, b"\x0a\x01a\x10\x05"), int(INT, 1), length(MAP, b"\x0a\x01b\x10\x06")].concat();
    assert!(matches!(of(MAP, &scattered), Value::Table(table) if table.len() == 2));
}

#[test]
fn what_the_sink_refuses_is_named() {
    let got = |got: &str| Problem::NotChosen { choice: 0, got: got.into() };
    assert_eq!(problem(&length(SIDE, b"hold")), (got("\"hold\""), ".f17".into(), 3));
    assert_eq!(problem(&int(LEVEL, u64::MAX)), (got("-1"), ".f18".into(), 2));
    for (input, path) in [
        ([int(BOUNDED, 1), int(BOUNDED, u64::MAX)].concat(), ".f23[1]"),
        (length(BOUNDED, &[[1].as_slice(), &FULL, &[1]].concat()), ".f23[1]"),
    ] {
        let (what, found, _) = problem(&input);
        assert_eq!((what, found.as_str()), (Problem::Refused, path));
    }
}

#[test]
fn a_missing_message_is_a_fault_where_it_is_required() {
    let mut all = messages();
    all[LEAF].fields[1] = Field { absent: Absent::Fault, ..field(2, Item::Message(THING)) };
    let plan = Plan::new(all, Root::One(LEAF)).unwrap();
    let fault = read(&plan, &int(1, 5)).unwrap_err();
    assert_eq!(fault, Malformed { offset: 2, path: ".f2".into(), problem: Problem::Missing });
}

#[test]
fn unknown_fields_are_a_fault_where_they_are_forbidden() {
    let mut all = messages();
    all[THING].forbids_unknown = true;
    let plan = Plan::new(all, Root::One(THING)).unwrap();
    let input = [int(INT, 1), int(UNKNOWN, 1)].concat();
    assert_eq!(read(&plan, &input).unwrap_err(), Malformed::new(2, Problem::UnknownField(UNKNOWN)));
    assert_eq!(read(&plan, &length(INT, b"")).unwrap_err(), Malformed::new(0, Problem::UnknownField(INT)));
    assert!(read(&plan, &length(2047, b"Thing")).is_ok());
    assert!(matches!(read(&plan, &int(2047, 1)).unwrap_err().problem, Problem::UnknownField(2047)));
}

#[test]
fn a_tag_is_optional_but_right_where_one_class_is_asked_for() {
    let tag = |tag: &str| length(2047, tag.as_bytes());
    let wrong = |tag: &str| (Problem::WrongTag(tag.into()), ".type".to_owned(), 3);
    for name in ["Thing", "thing"] {
        assert!(is_quick(&plan(), &[tag(name), int(INT, 4)].concat()));
        assert_eq!(of(INT, &[tag(name), int(INT, 4)].concat()), Value::Int(4));
        assert_eq!(of(INT, &[int(INT, 4), tag(name)].concat()), Value::Int(4));
    }
    assert_eq!(problem(&tag("Leaf")), wrong("Leaf"));
    // Zero is absent.
    assert_eq!(fields(&tag("")), fields(b""));
    fields(&[tag("Leaf"), tag("Thing")].concat());
    assert_eq!(problem(&[tag("Thing"), tag("Leaf")].concat()).0, Problem::WrongTag("Leaf".into()));
    // Nested messages know their own spelling only.
    fields(&length(NESTED, &tag("Thing")));
    assert_eq!(problem(&length(NESTED, &tag("thing"))).1, ".f13.type");
}

#[test]
fn several_classes_are_told_apart_by_the_tag() {
    let plan = Plan::new(messages(), Root::Tagged([THING, LEAF].into())).unwrap();
    let tag = |tag: &str| length(2047, tag.as_bytes());
    for name in ["Leaf", "leaf"] {
        assert!(is_quick(&plan, &[tag(name), int(1, 4)].concat()));
        assert_eq!(read(&plan, &[tag(name), int(1, 4)].concat()), Ok(leaf(4, "")));
        assert_eq!(read(&plan, &[int(1, 4), tag(name)].concat()), Ok(leaf(4, "")));
    }
    assert!(matches!(read(&plan, &tag("thing")), Ok(Value::Record(THING, _))));
    assert_eq!(read(&plan, &[tag("Thing"), int(1, 4), tag("Leaf")].concat()), Ok(leaf(4, "")));
    assert_eq!(read(&plan, &int(1, 4)), Err(Malformed::new(2, Problem::NoTag)));
    assert_eq!(read(&plan, &tag("")), Err(Malformed::new(3, Problem::NoTag)));
    assert_eq!(read(&plan, &int(2047, 4)).unwrap_err().problem, Problem::WrongTag("4".into()));
    assert_eq!(read(&plan, &[tag("Leaf"), int(1, 4), int(2047, 4)].concat()), Ok(leaf(4, "")));
    assert_eq!(read(&plan, &tag("Other")).unwrap_err().path, ".type");
}

#[test]
fn what_a_class_calls_itself_goes_before_the_second_spelling_of_another() {
    let named = |index: usize, name: &str, alias: Option<&str>| Message {
        tag: Some(Tag::text("type", name, alias)),
        ..message(Form::Record(index), Vec::new())
    };
    let all = vec![named(0, "Ping", Some("ping")), named(1, "ping", None)];
    let plan = Plan::new(all, Root::Tagged([0, 1].into())).unwrap();
    let class = |name: &str| match read(&plan, &length(2047, name.as_bytes())) {
        Ok(Value::Record(index, _)) => index,
        other => panic!("{other:?}"),
    };
    // The class that was found last makes no difference.
    assert_eq!([class("ping"), class("Ping"), class("ping"), class("Ping")], [1, 0, 1, 0]);
}

#[test]
fn integer_tags_tell_classes_apart() {
    let numbered = |index: usize, tag| Message {
        tag: Some(Tag::integer("kind", tag)),
        ..message(Form::Record(index), Vec::new())
    };
    let plan = |tag| Plan::new(vec![numbered(0, tag), numbered(1, -2)], Root::Tagged([0, 1].into())).unwrap();
    let zero = plan(0);
    assert!(matches!(read(&zero, b""), Ok(Value::Record(0, _))));
    assert!(matches!(read(&zero, &int(2047, 0)), Ok(Value::Record(0, _))));
    let plan = plan(1);
    assert_eq!(read(&plan, &int(2047, 0)).unwrap_err().problem, Problem::NoTag);
    assert!(matches!(read(&plan, &int(2047, 1)), Ok(Value::Record(0, _))));
    assert!(matches!(read(&plan, &int(2047, (-2_i64).cast_unsigned())), Ok(Value::Record(1, _))));
    assert_eq!(read(&plan, &int(2047, 3)).unwrap_err().problem, Problem::WrongTag("3".into()));
    assert_eq!(read(&plan, &length(2047, b"\x01")).unwrap_err().path, ".kind");
}

#[test]
fn a_tag_is_found_wherever_it_stands() {
    let tag = length(2047, b"Leaf");
    assert_eq!(peek_tag(&tag), Peek::Tag(b"Leaf", 3));
    assert_eq!(peek_tag(&[int(1, 4), tag.clone()].concat()), Peek::Tag(b"Leaf", 5));
    assert_eq!(peek_tag(&[tag.clone(), length(2047, b"Thing")].concat()), Peek::Tag(b"Thing", 10));
    assert_eq!(peek_tag(&int(1, 4)), Peek::Untagged);
    assert_eq!(peek_tag(b""), Peek::Untagged);
    assert_eq!(peek_tag(&length(1, &tag)), Peek::Untagged);
    assert_eq!(peek_tag(b"\x0e"), Peek::Unclear);
    assert_eq!(peek_tag(&tag[..5]), Peek::Unclear);
}

#[test]
fn messages_of_more_fields_than_the_quick_reader_takes_are_read() {
    let count = 70;
    let all = (1..=count).map(|number| field(number, Item::Number(Number::Int64))).collect();
    let plan = Plan::new(vec![message(Form::Record(0), all)], Root::One(0)).unwrap();
    let input: Vec<u8> = (1..=count).flat_map(|number| int(number, number.into())).collect();
    let expected = (0..count as usize).map(|place| (place, Value::Int(place as i128 + 1))).collect();
    assert_eq!(read(&plan, &input), Ok(Value::Record(0, expected)));
}

#[test]
fn a_plan_that_does_not_fit_together_is_none() {
    let int64 = Item::Number(Number::Int64);
    let plan = |form, fields| Plan::new(vec![message(form, fields)], Root::One(0));
    let record = Form::Record(0);
    assert!(plan(record, vec![field(1, int64)]).is_ok());
    assert!(plan(record, vec![field(0, int64)]).is_err());
    assert!(plan(record, vec![field(1 << 29, int64)]).is_err());
    assert!(plan(record, vec![field(1, int64), field(1, Item::Text)]).is_err());
    assert!(plan(record, vec![optional(1, Item::Message(1))]).is_err());
    assert!(plan(record, vec![field(1, Item::Message(0))]).is_err());
    assert!(plan(Form::Box, vec![]).is_err());
    assert!(plan(Form::Tuple, vec![Field { absent: Absent::Default, ..field(1, int64) }]).is_err());
    assert!(Plan::new(vec![], Root::One(0)).is_err());
    assert!(Plan::new(vec![message(record, vec![])], Root::Tagged([0].into())).is_err());
}

#[test]
fn integers_of_every_size_are_written_as_they_are_read() {
    for bits in 0..64 {
        for value in [1_u64 << bits, (1 << bits) - 1, u64::MAX << bits, 0x5555_5555_5555_5555 >> bits] {
            let mut plain = Vec::new();
            let mut rest = value;
            while rest >= 0x80 {
                plain.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            plain.push(rest as u8);
            let mut out = vec![7];
            write::write_unsigned(&mut out, value);
            assert_eq!(out[1..], plain);
            assert_eq!(of(UINT64, &int(UINT64, value)), Value::Int(value.into()));
        }
    }
}

#[test]
fn nested_lengths_are_written_whatever_their_size() {
    for size in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
        let mut out = write::key(NESTED, 2);
        let mark = write::begin_nested(&mut out);
        out.extend(length(BYTES, &vec![7; size]));
        write::end_nested(&mut out, mark);
        assert_eq!(out, length(NESTED, &length(BYTES, &vec![7; size])));
    }
}
