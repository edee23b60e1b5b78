//! Rows as a scanner would fill them.

use super::super::{Refused, Sink, Text};
use super::*;

fn spec(dtype: Dtype) -> Spec {
    Spec { dtype, nullable: false, choices: None, missing: Missing::Refuse }
}

fn nullable(dtype: Dtype) -> Spec {
    Spec { nullable: true, missing: Missing::Null, ..spec(dtype) }
}

fn chosen(choices: Choices) -> Spec {
    Spec { choices: Some(choices), ..spec(Dtype::Text) }
}

/// One row with these values in order.
fn row<'a>(rows: &mut Rows, cells: &[Cell<'a>]) -> Result<Cell<'a>, Refused> {
    let mut row = rows.begin_record(0)?;
    for (field, cell) in cells.iter().enumerate() {
        rows.put(&mut row, field, *cell);
    }
    let ended = rows.end_record(row);
    assert_eq!(rows.commit(), ended.is_ok());
    ended
}

fn text(text: &str) -> Cell<'_> {
    Cell::text(Text::new(text.as_bytes()))
}

#[test]
fn a_column_of_each_type_holds_what_was_put() {
    let types = [
        Dtype::Float64,
        Dtype::Float32,
        Dtype::Int64,
        Dtype::UInt64,
        Dtype::Int32,
        Dtype::UInt32,
        Dtype::Bool,
        Dtype::Text,
        Dtype::Bytes,
    ];
    let mut rows = Rows::new(types.into_iter().map(spec).collect());
    rows.reserve(2);
    for symbol in ["SOL", "USDC"] {
        let mut row = rows.begin_record(0).unwrap();
        let cells = [
            rows.float(1.5).unwrap(),
            rows.float(0.1).unwrap(),
            rows.signed(i64::MIN).unwrap(),
            rows.unsigned(u64::MAX).unwrap(),
            rows.signed(-5).unwrap(),
            rows.unsigned(u64::from(u32::MAX)).unwrap(),
            rows.boolean(symbol == "SOL"),
            rows.text(Text::new(symbol.as_bytes())).unwrap(),
            Sink::bytes(&mut rows, b"\xff\0").unwrap(),
        ];
        for (field, cell) in cells.into_iter().enumerate() {
            rows.put(&mut row, field, cell);
        }
        rows.end_record(row).unwrap();
        assert!(rows.commit());
    }
    let batch = rows.finish();
    let values: Vec<Values> = batch.columns.into_iter().map(|column| column.values).collect();
    assert_eq!(batch.rows, 2);
    assert_eq!(values[0], Values::Float64(vec![1.5; 2]));
    assert_eq!(values[1], Values::Float32(vec![0.1; 2]));
    assert_eq!(values[2], Values::Int64(vec![i64::MIN; 2]));
    assert_eq!(values[3], Values::UInt64(vec![u64::MAX; 2]));
    assert_eq!(values[4], Values::Int32(vec![-5; 2]));
    assert_eq!(values[5], Values::UInt32(vec![u32::MAX; 2]));
    assert_eq!(values[6], Values::Bool(vec![1, 0]));
    let Values::Text(codes, categories) = &values[7] else { panic!("{:?}", values[7]) };
    assert_eq!((&codes[..], categories.offsets(), categories.bytes()), (&[0, 1][..], &[0, 3, 7][..], &b"SOLUSDC"[..]));
    let Values::Bytes(codes, categories) = &values[8] else { panic!("{:?}", values[8]) };
    assert_eq!((&codes[..], categories.bytes()), (&[0, 0][..], &b"\xff\0"[..]));
    assert!(rows.is_empty());
}

#[test]
fn an_integer_outside_of_its_column_refuses_the_row_alone() {
    for (dtype, bad) in [
        (Dtype::Int64, Cell::unsigned(1 << 63)),
        (Dtype::UInt64, Cell::signed(-1)),
        (Dtype::Int32, Cell::unsigned(1 << 31)),
        (Dtype::Int32, Cell::signed(i64::from(i32::MIN) - 1)),
        (Dtype::UInt32, Cell::unsigned(1 << 32)),
        (Dtype::Int64, Cell::float(1.0)),
        (Dtype::Float64, Cell::unsigned(1)),
        (Dtype::Bool, Cell::NULL),
    ] {
        let good = match dtype {
            Dtype::Float64 => Cell::float(1.0),
            Dtype::Bool => Cell::boolean(true),
            _ => Cell::unsigned(1),
        };
        let mut rows = Rows::new(vec![spec(Dtype::Text), spec(dtype), spec(Dtype::Float64)]);
        row(&mut rows, &[text("a"), good, Cell::float(1.0)]).unwrap();
        assert_eq!(row(&mut rows, &[text("b"), bad, Cell::float(2.0)]), Err(Refused));
        row(&mut rows, &[text("c"), good, Cell::float(3.0)]).unwrap();
        let batch = rows.finish();
        assert_eq!(batch.rows, 2);
        assert_eq!(batch.columns[2].values, Values::Float64(vec![1.0, 3.0]));
        let Values::Text(codes, categories) = &batch.columns[0].values else { panic!() };
        let texts: Vec<_> = codes.iter().map(|code| categories.text(*code).unwrap()).collect();
        assert_eq!(texts, [b"a", b"c"]);
    }
}

#[test]
fn a_row_that_is_not_kept_leaves_nothing() {
    let mut rows = Rows::new(vec![nullable(Dtype::Int64), spec(Dtype::Float64)]);
    row(&mut rows, &[Cell::NULL, Cell::float(1.0)]).unwrap();
    for next in [Cell::NULL, Cell::signed(7)] {
        let mut open = rows.begin_record(0).unwrap();
        rows.put(&mut open, 0, next);
    }
    row(&mut rows, &[Cell::signed(2), Cell::float(2.0)]).unwrap();
    for end in [true, false] {
        let mut open = rows.begin_record(0).unwrap();
        rows.put(&mut open, 1, Cell::float(9.0));
        if end {
            // Whole, but the scanner found a fault behind it.
            rows.end_record(open).unwrap();
        }
    }
    let batch = rows.finish();
    assert_eq!(batch.rows, 2);
    assert_eq!(batch.columns[0].values, Values::Int64(vec![0, 2]));
    let validity = batch.columns[0].validity.as_ref().unwrap();
    assert_eq!((validity.has_value(0), validity.has_value(1), validity.nulls()), (false, true, 1));
    assert_eq!(batch.columns[1].values, Values::Float64(vec![1.0, 2.0]));
}

#[test]
fn a_field_that_comes_twice_has_its_last_value() {
    let mut rows = Rows::new(vec![nullable(Dtype::Float64), spec(Dtype::Text)]);
    let mut open = rows.begin_record(0).unwrap();
    rows.put(&mut open, 0, Cell::NULL);
    rows.put(&mut open, 1, text("a"));
    rows.replace(&mut open, 0, Cell::float(2.0));
    rows.replace(&mut open, 1, text("b"));
    rows.end_record(open).unwrap();
    assert!(rows.commit());
    let batch = rows.finish();
    assert_eq!(batch.columns[0].values, Values::Float64(vec![2.0]));
    assert_eq!(batch.columns[0].validity.as_ref().unwrap().nulls(), 0);
    let Values::Text(codes, categories) = &batch.columns[1].values else { panic!() };
    assert_eq!(categories.text(codes[0]), Some(&b"b"[..]));
}

#[test]
fn a_missing_field_has_its_default_or_refuses_the_row() {
    let missing = |dtype, missing| Spec { missing, ..spec(dtype) };
    let mut rows = Rows::new(vec![
        missing(Dtype::Int64, Missing::Signed(-3)),
        missing(Dtype::UInt64, Missing::Unsigned(3)),
        missing(Dtype::Float64, Missing::Float(0.5)),
        missing(Dtype::Bool, Missing::Bool(true)),
        missing(Dtype::Text, Missing::Bytes(b"SOL"[..].into())),
        nullable(Dtype::Text),
        spec(Dtype::Float64),
    ]);
    assert_eq!(row(&mut rows, &[Cell::signed(1)]), Err(Refused));
    let mut open = rows.begin_record(0).unwrap();
    rows.put(&mut open, 6, Cell::float(1.0));
    rows.end_record(open).unwrap();
    assert!(rows.commit());
    let batch = rows.finish();
    assert_eq!(batch.rows, 1);
    assert_eq!(batch.columns[0].values, Values::Int64(vec![-3]));
    assert_eq!(batch.columns[1].values, Values::UInt64(vec![3]));
    assert_eq!(batch.columns[2].values, Values::Float64(vec![0.5]));
    assert_eq!(batch.columns[3].values, Values::Bool(vec![1]));
    let Values::Text(codes, categories) = &batch.columns[4].values else { panic!() };
    assert_eq!((&codes[..], categories.bytes()), (&[0][..], &b"SOL"[..]));
    let Values::Text(codes, _) = &batch.columns[5].values else { panic!() };
    assert_eq!((&codes[..], batch.columns[5].validity.as_ref().unwrap().nulls()), (&[-1][..], 1));
}

#[test]
fn choices_take_what_they_name_alone() {
    let texts = Choices::Texts(["buy".into(), "sell".into()].into());
    let mut rows = Rows::new(vec![chosen(texts), chosen(Choices::Integers([3, -1].into()))]);
    for (side, level, fits) in
        [("sell", -1, true), ("buy", 3, true), ("hold", 3, false), ("buy", 4, false), ("sell", 3, true)]
    {
        let mut open = rows.begin_record(0).unwrap();
        let cell = rows.chosen_text(9, side.as_bytes()).unwrap();
        rows.put(&mut open, 0, cell);
        let cell = rows.chosen_integer(9, level).unwrap();
        rows.put(&mut open, 1, cell);
        assert_eq!(rows.end_record(open).is_ok(), fits, "{side} {level}");
        assert_eq!(rows.commit(), fits);
    }
    let batch = rows.finish();
    let Values::Text(codes, categories) = &batch.columns[0].values else { panic!() };
    assert_eq!((&codes[..], categories.bytes()), (&[1, 0, 1][..], &b"buysell"[..]));
    assert_eq!(batch.columns[1].values, Values::Int64(vec![-1, 3, 3]));
}

#[test]
fn text_that_is_not_utf8_is_refused_and_owned_text_is_taken() {
    let mut rows = Rows::new(vec![spec(Dtype::Text)]);
    assert_eq!(rows.text(Text::new(b"\xff")), Err(Refused));
    let mut open = rows.begin_record(0).unwrap();
    let cell = rows.owned_text("a\n\u{e9}").unwrap();
    rows.put(&mut open, 0, cell);
    rows.end_record(open).unwrap();
    assert!(rows.commit());
    row(&mut rows, &[text("a\n\u{e9}")]).unwrap();
    let Values::Text(codes, categories) = &rows.finish().columns[0].values else { panic!() };
    assert_eq!((&codes[..], categories.text(0)), (&[0, 0][..], Some("a\n\u{e9}".as_bytes())));
}

#[test]
fn codes_are_those_of_the_batches_before_until_the_bound() {
    let mut rows = Rows::new(vec![spec(Dtype::Text)]);
    for symbol in ["SOL", "USDC"] {
        row(&mut rows, &[text(symbol)]).unwrap();
    }
    drop(rows.finish());
    row(&mut rows, &[text("USDC")]).unwrap();
    let Values::Text(codes, _) = &rows.finish().columns[0].values else { panic!() };
    assert_eq!(codes[..], [1]);
    let mut texts = 2;
    while !rows.is_full() {
        row(&mut rows, &[text(&format!("order {texts}"))]).unwrap();
        texts += 1;
    }
    assert_eq!(texts, 65_536);
    let Values::Text(_, categories) = &rows.finish().columns[0].values else { panic!() };
    assert_eq!(categories.len(), texts);
    row(&mut rows, &[text("USDC")]).unwrap();
    assert!(!rows.is_full());
    let Values::Text(codes, categories) = &rows.finish().columns[0].values else { panic!() };
    assert_eq!((&codes[..], categories.len()), (&[0][..], 1));
}
