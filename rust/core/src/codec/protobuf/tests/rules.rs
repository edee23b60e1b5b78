//! The rules of the wire.

use std::collections::BTreeMap;

use super::super::super::MAX_DEPTH;
use super::*;

#[test]
fn absent_fields_are_zero_empty_null_or_the_sinks() {
    let fields = fields(b"");
    assert_eq!(fields[&0], Value::Int(0));
    assert_eq!(fields[&(DOUBLE as usize - 1)], Value::Float(0));
    assert_eq!(fields[&(TEXT as usize - 1)], text(""));
    assert_eq!(fields[&(INTS as usize - 1)], list(&[]));
    assert_eq!(fields[&(MAP as usize - 1)], Value::Table(BTreeMap::new()));
    assert_eq!(fields[&(NESTED as usize - 1)], Value::Null);
    assert_eq!(fields[&(DATE as usize - 1)], Value::Converted(0, Box::new(text(""))));
    assert!(!fields.contains_key(&(SIDE as usize - 1)));
}

#[test]
fn numbers_of_every_type_over_their_range() {
    let eight = |number, value: f64| [&*write::key(number, 1), &value.to_le_bytes()].concat();
    assert_eq!(of(INT, &int(INT, u64::MAX)), Value::Int(-1));
    assert_eq!(of(INT, &int(INT, 1 << 63)), Value::Int(i64::MIN.into()));
    assert_eq!(of(UINT64, &int(UINT64, u64::MAX)), Value::Int(u64::MAX.into()));
    assert_eq!(of(BOOL, &int(BOOL, 1 << 40)), Value::Bool(true));
    assert_eq!(of(DOUBLE, &eight(DOUBLE, -0.1)), Value::Float((-0.1_f64).to_bits()));
    let float = [&*write::key(FLOAT, 5), &0.1_f32.to_le_bytes()].concat();
    assert_eq!(of(FLOAT, &float), Value::Float(f64::from(0.1_f32).to_bits()));
    // Wider than the type: cut.
    assert_eq!(of(INT32, &int(INT32, 0xff_ffff_ffff)), Value::Int(-1));
    assert_eq!(of(UINT32, &int(UINT32, 0x12_0000_0003)), Value::Int(3));
}

#[test]
fn integers_take_ten_bytes_at_most_and_bits_beyond_64_are_ignored() {
    let with = |last: &[u8]| varint(INT, &[&FULL, last].concat());
    assert_eq!(of(INT, &with(&[1])), Value::Int(-1));
    assert_eq!(of(INT, &with(&[0x7e])), Value::Int(i64::MAX.into()));
    assert_eq!(of(INT, &varint(INT, &[0x81, 0x80, 0])), Value::Int(1));
    assert_eq!(problem(&with(&[0xff, 1])).0, Problem::LongVarint);
    assert_eq!(problem(&with(&[])).0, Problem::Truncated);
}

#[test]
fn keys_take_five_bytes_and_have_a_number_and_a_wire_type() {
    assert_eq!(of(INT, &[0x88, 0x80, 0x80, 0x80, 0, 5]), Value::Int(5));
    for (key, what) in [
        (&[0x88, 0x80, 0x80, 0x80, 0x80, 0, 5][..], Problem::BadKey),
        (&[0xf8, 0xff, 0xff, 0xff, 0x1f, 5], Problem::BadKey),
        (&[0x00, 5], Problem::BadKey),
        (&[0x0e, 0], Problem::BadKey),
        (&[0x0f, 0], Problem::BadKey),
        (&[0x86, 0x08, 0], Problem::BadKey),
        (&[0x88], Problem::Truncated),
    ] {
        assert_eq!(problem(key), (what, String::new(), 0), "{key:02x?}");
    }
    // The highest number there is, unknown.
    fields(&[0xf8, 0xff, 0xff, 0xff, 0x0f, 5]);
}

#[test]
fn a_zero_is_no_key_where_the_next_field_has_a_long_one() {
    let input = [length(SIDE, b"buy"), vec![0, 7]].concat();
    assert_eq!(problem(&input), (Problem::BadKey, String::new(), 6));
}

#[test]
fn a_tag_that_another_one_follows_is_text_all_the_same() {
    let input = [length(2047, b"\xff"), length(2047, b"Thing")].concat();
    assert_eq!(problem(&input), (Problem::NotUtf8, ".type".to_owned(), 3));
    fields(&[length(2047, b"Nothing"), length(2047, b"Thing")].concat());
}

#[test]
fn lengths_take_five_bytes_and_end_within_the_input() {
    assert_eq!(of(TEXT, b"\x42\x81\x80\x80\x80\x00a"), text("a"));
    assert_eq!(problem(b"\x42\x81\x80\x80\x80\x80\x00a").0, Problem::LongVarint);
    assert_eq!(problem(b"\x42\x02a").0, Problem::Truncated);
    assert_eq!(problem(b"\x42\xff\xff\xff\xff\x0fa").0, Problem::Truncated);
    assert_eq!(problem(b"\x42").0, Problem::Truncated);
    // A nested message's field may not lie beyond it, even if there is more input.
    let (what, path, offset) = problem(&[length(NESTED, b"\x08\x80"), int(INT, 1)].concat());
    assert_eq!((what, path.as_str(), offset), (Problem::Truncated, ".f13", 3));
}

#[test]
fn unknown_fields_of_every_wire_type_are_skipped() {
    let unknown = [
        int(UNKNOWN, 1 << 60),
        [&*write::key(UNKNOWN, 1), &[9; 8]].concat(),
        length(UNKNOWN, b"\xff\xff"),
        [&*write::key(UNKNOWN, 5), &[9; 4]].concat(),
    ]
    .concat();
    let input = [int(INT, 3), unknown, int(BOOL, 1)].concat();
    assert!(is_quick(&plan(), &input));
    assert_eq!(of(INT, &input), Value::Int(3));
    assert_eq!(of(BOOL, &input), Value::Bool(true));
}

#[test]
fn a_known_number_with_another_wire_type_is_an_unknown_field() {
    for input in [length(INT, b"x"), int(TEXT, 5), length(DOUBLE, b""), int(NESTED, 1), int(MAP, 1), int(TEXTS, 1)] {
        assert_eq!(fields(&input), fields(b""));
    }
}

#[test]
fn groups_are_skipped_as_deep_as_messages_and_must_be_even() {
    let group = |number| write::key(number, 3);
    let end = |number| write::key(number, 4);
    let input = [group(9), group(8), int(INT, 9), end(8), length(TEXT, b"\xff"), end(9), int(INT, 2)].concat();
    assert_eq!(of(INT, &input), Value::Int(2));
    // Nobody asks for a number in a group.
    fields(&[&*group(9), &[0, 1], &*end(9)].concat());
    for bad in [
        end(9),
        group(9),
        [group(9), end(8)].concat(),
        length(NESTED, &end(9)),
        [group(9), length(NESTED, &end(9))].concat(),
    ] {
        assert_eq!(problem(&bad).0, Problem::UnevenGroup, "{bad:02x?}");
    }
    let nested = |levels: usize| [group(9).repeat(levels), end(9).repeat(levels)].concat();
    fields(&nested(MAX_DEPTH - 1));
    assert_eq!(problem(&nested(MAX_DEPTH)).0, Problem::TooDeep);
}

#[test]
fn messages_nest_up_to_the_limit() {
    let nested = |levels: usize| (0..levels).fold(Vec::new(), |inner, _| length(NESTED, &inner));
    assert!(is_quick(&plan(), &nested(MAX_DEPTH - 1)));
    fields(&nested(MAX_DEPTH - 1));
    let (what, path, _) = problem(&nested(MAX_DEPTH));
    assert_eq!((what, path), (Problem::TooDeep, ".f13".repeat(MAX_DEPTH)));
    problem(&nested(20_000));
}

#[test]
fn hostile_nesting_takes_two_passes_not_a_doubling_each_level() {
    // Each level has its nested message twice: a reader that starts anew at each would never end.
    let input = (0..MAX_DEPTH - 1).fold(Vec::new(), |inner, _| [length(NESTED, &inner), length(NESTED, b"")].concat());
    fields(&input);
}

#[test]
fn the_last_occurrence_of_a_scalar_counts() {
    assert_eq!(of(INT, &[int(INT, 1), int(TEXT, 1), int(INT, 2)].concat()), Value::Int(2));
    // A value that does not count need not be one of the choice, but it has to be text.
    assert_eq!(of(SIDE, &[length(SIDE, b"hold"), length(SIDE, b"buy")].concat()), text("chosen"));
    assert_eq!(problem(&[length(SIDE, b"\xff"), length(SIDE, b"buy")].concat()).0, Problem::NotUtf8);
}

#[test]
fn an_entry_that_another_one_replaces_need_not_be_a_value() {
    let entry = |value: u64| length(CODES, &[length(1, b"a"), int(2, value)].concat());
    let expected = Value::Table(BTreeMap::from([("a".to_owned(), Value::Int(7))]));
    assert_eq!(of(CODES, &[entry(5), entry(7)].concat()), expected);
    assert!(matches!(problem(&[entry(7), entry(5)].concat()).0, Problem::NotChosen { .. }));
}

#[test]
fn occurrences_of_a_message_are_merged() {
    let parts = [int(INT, 1), length(TEXTS, b"a"), length(NESTED, &int(UINT32, 1))].concat();
    let more = [int(BOOL, 1), length(TEXTS, b"b"), length(NESTED, &int(UINT64, 2))].concat();
    let apart = [length(NESTED, &parts), int(INT, 9), length(NESTED, &more)].concat();
    let together = [length(NESTED, &[parts, more].concat()), int(INT, 9)].concat();
    assert_eq!(fields(&apart), fields(&together));
}

#[test]
fn numbers_come_packed_and_not() {
    let input = [length(INTS, b"\x01\x02"), int(INTS, 3), int(INT, 9), length(INTS, b""), int(INTS, 4)].concat();
    assert_eq!(of(INTS, &input), list(&[1, 2, 3, 4]));
    assert!(is_quick(&plan(), &length(INTS, b"\x01\x02")));
    // None of them is none of the field.
    assert_eq!(of(PAIR, &length(PAIR, b"")), Value::Null);
    assert_eq!(of(INTS, &length(INTS, b"")), list(&[]));
    let (what, path, offset) = problem(&length(INTS, b"\x01\x80"));
    assert_eq!((what, path.as_str(), offset), (Problem::Truncated, ".f10", 3));
    assert_eq!(problem(&length(PAIR, &[0; 15])).0, Problem::Truncated);
}

#[test]
fn text_is_utf8_and_bytes_are_anything() {
    assert_eq!(of(TEXT, &length(TEXT, "é\0€".as_bytes())), text("é\0€"));
    assert_eq!(of(BYTES, &length(BYTES, b"\xff\x00")), Value::Bytes(vec![0xff, 0]));
    let (what, path, offset) = problem(&length(TEXT, b"ab\xed\xa0\x80"));
    assert_eq!((what, path.as_str(), offset), (Problem::NotUtf8, ".f8", 4));
    let (what, path, _) = problem(&[length(TEXTS, b"a"), int(INT, 1), length(TEXTS, b"\xff")].concat());
    assert_eq!((what, path.as_str()), (Problem::NotUtf8, ".f12[1]"));
    let (_, path, _) = problem(&[length(NESTEDS, b""), length(NESTEDS, &length(2, b"\xff"))].concat());
    assert_eq!(path, ".f14[1].f2");
}
