use proptest::prelude::*;

use super::{Account, Fault, Notification, Text, any_order, in_order, scan};

const OWNER: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const PUBKEY: &str = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin";

const ACCOUNT: &str = r#"{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":5199307},"value":{"lamports":33594,"data":["AQI=","base64"],"owner":"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA","executable":false,"rentEpoch":18446744073709551615,"space":2}},"subscription":23784}}"#;
const PROGRAM: &str = r#"{"jsonrpc":"2.0","method":"programNotification","params":{"result":{"context":{"slot":5199307},"value":{"pubkey":"9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin","account":{"lamports":33594,"data":["AQI=","base64"],"owner":"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA","executable":false,"rentEpoch":18446744073709551615,"space":2}}},"subscription":23784}}"#;
const SLOT: &str = r#"{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":76,"parent":75,"root":44},"subscription":0}}"#;
const ROOT: &str = r#"{"jsonrpc":"2.0","method":"rootNotification","params":{"result":42,"subscription":0}}"#;
const FRAMES: [&str; 4] = [ACCOUNT, PROGRAM, SLOT, ROOT];

fn state() -> Account<'static> {
    let data = Some(br#"["AQI=","base64"]"#.as_slice());
    Account { slot: 5_199_307, lamports: 33_594, owner: Some(OWNER.as_bytes()), data }
}

fn expected(frame: &str) -> Notification<'static> {
    match frame {
        ACCOUNT => Notification::Account { subscription: 23_784, account: state() },
        PROGRAM => {
            let pubkey = Text::new(PUBKEY.as_bytes());
            Notification::Program { subscription: 23_784, pubkey, account: state() }
        }
        SLOT => Notification::Slot { subscription: 0, slot: 76, parent: 75, root: 44 },
        _ => Notification::Root { subscription: 0, root: 42 },
    }
}

/// What both ways make of a frame, which is the same wherever the first one makes anything of it.
fn read(frame: &[u8]) -> Result<Notification<'_>, Fault> {
    let slow = any_order::scan(frame);
    if let Some(quick) = in_order::scan(frame) {
        assert_eq!(slow, Ok(quick), "{}", String::from_utf8_lossy(frame));
    }
    assert_eq!(scan(frame), slow, "{}", String::from_utf8_lossy(frame));
    slow
}

#[test]
fn frames_of_a_node_are_read_in_order() {
    for frame in FRAMES {
        assert_eq!(in_order::scan(frame.as_bytes()), Some(expected(frame)));
        assert_eq!(read(frame.as_bytes()), Ok(expected(frame)));
    }
}

#[test]
fn variations_that_nodes_write_are_read_in_order_too() {
    let base64 = r#"["AQI=","base64"]"#;
    for (from, to) in [
        (r#""slot":5199307}"#, r#""slot":5199307,"apiVersion":"2.1.0"}"#),
        (r#","space":2"#, ""),
        (r#""space":2"#, r#""space":null"#),
        ("18446744073709551615", "0"),
        ("false", "true"),
        (base64, r#"["","base64"]"#),
        (base64, r#"["KLUv","base64+zstd"]"#),
        (base64, r#"["3yZe","base58"]"#),
        (base64, r#""3yZe""#),
        (
            base64,
            r#"{"program":"spl-token","parsed":{"info":{"state":"\u0069nitialized","tokenAmount":[1.5e3,{}]}},"space":165}"#,
        ),
    ] {
        for frame in [ACCOUNT, PROGRAM] {
            let changed = frame.replace(from, to);
            assert_ne!(changed, frame);
            let data = if from == base64 { to } else { base64 };
            let account = Account { data: Some(data.as_bytes()), ..state() };
            let expected = match expected(frame) {
                Notification::Program { subscription, pubkey, .. } => {
                    Notification::Program { subscription, pubkey, account }
                }
                _ => Notification::Account { subscription: 23_784, account },
            };
            assert_eq!(in_order::scan(changed.as_bytes()), Some(expected), "{changed}");
            assert_eq!(read(changed.as_bytes()), Ok(expected), "{changed}");
        }
    }
}

#[test]
fn integers_are_exact_up_to_64_bits_and_refused_beyond() {
    for (digits, value) in [
        ("0", Some(0)),
        ("9007199254740993", Some(9_007_199_254_740_993)),
        ("9999999999999999999", Some(9_999_999_999_999_999_999)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("99999999999999999999", None),
        ("184467440737095516150", None),
        ("01", None),
        ("-1", None),
        ("1.0", None),
        ("1e3", None),
        ("", None),
        ("\"1\"", None),
        ("null", None),
        ("[1]", None),
    ] {
        let slot = |subscription, slot, parent, root| Notification::Slot { subscription, slot, parent, root };
        for (from, number) in [("76", 0), ("75", 1), ("44", 2), ("0}}", 3)] {
            let to = if number == 3 { format!("{digits}}}}}") } else { digits.to_owned() };
            let changed = SLOT.replace(from, &to);
            let expected = value.map(|value| match number {
                0 => slot(0, value, 75, 44),
                1 => slot(0, 76, value, 44),
                2 => slot(0, 76, 75, value),
                _ => slot(value, 76, 75, 44),
            });
            assert_eq!(read(changed.as_bytes()).ok(), expected, "{changed}");
        }
        let changed = ACCOUNT.replace("33594", digits);
        let lamports = match read(changed.as_bytes()) {
            Ok(Notification::Account { account, .. }) => Some(account.lamports),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(lamports, value, "{changed}");
        let changed = ROOT.replace("42", digits);
        assert_eq!(read(changed.as_bytes()).ok(), value.map(|root| Notification::Root { subscription: 0, root }));
    }
}

#[test]
fn account_that_is_gone_has_no_lamports() {
    let gone = Account { slot: 7, lamports: 0, owner: None, data: None };
    let frame = br#"{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":7},"value":null},"subscription":1}}"#;
    assert_eq!(read(frame), Ok(Notification::Account { subscription: 1, account: gone }));
    let frame = br#"{"jsonrpc":"2.0","method":"programNotification","params":{"result":{"context":{"slot":7},"value":{"pubkey":"P","account":null}},"subscription":1}}"#;
    let pubkey = Text::new(b"P");
    assert_eq!(read(frame), Ok(Notification::Program { subscription: 1, pubkey, account: gone }));
}

#[test]
fn everything_else_is_other() {
    for frame in [
        r#"{"jsonrpc":"2.0","result":23784,"id":1}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid \"id\""},"id":1}"#,
        r#"{"jsonrpc":"2.0","method":"slotsUpdatesNotification","params":{"result":{"type":"createdBank","slot":76},"subscription":0}}"#,
        r#"{"jsonrpc":"2.0","method":"signatureNotification","params":{"result":{"context":{"slot":1},"value":{"err":null}},"subscription":2}}"#,
        r#"{"jsonrpc":"2.0","method":"rootNotifications","params":{"result":42,"subscription":0}}"#,
        r#"{"params":{"result":42,"subscription":0},"method":["rootNotification"]}"#,
        r#"{"params":{"result":42,"subscription":0},"method":"\u0072ootNotification"}"#,
        "{}",
        " {} ",
    ] {
        assert_eq!(read(frame.as_bytes()), Ok(Notification::Other), "{frame}");
    }
}

#[test]
fn fields_that_are_missing_or_of_another_type_are_a_fault() {
    for (frame, from, to) in [
        (ACCOUNT, r#""lamports":33594,"#, ""),
        (ACCOUNT, r#""slot":5199307"#, ""),
        (ACCOUNT, r#""context":{"slot":5199307},"#, ""),
        (ACCOUNT, r#","subscription":23784"#, ""),
        (ACCOUNT, r#"{"slot":5199307}"#, "[5199307]"),
        (ACCOUNT, "accountNotification", "programNotification"),
        (ACCOUNT, "accountNotification", "slotNotification"),
        (ACCOUNT, "accountNotification", "rootNotification"),
        (PROGRAM, "programNotification", "accountNotification"),
        (PROGRAM, r#""pubkey":"9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin","#, ""),
        (PROGRAM, "9xQe", "9x\\u0051e"),
        (PROGRAM, "9xQe", "9xé"),
        (PROGRAM, r#""9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin""#, "12"),
        (SLOT, r#""parent":75,"#, ""),
        (SLOT, r#","root":44"#, ""),
        (SLOT, "slotNotification", "accountNotification"),
        (ROOT, "rootNotification", "slotNotification"),
        (ROOT, "42", "{}"),
        (ROOT, r#","params":{"result":42,"subscription":0}"#, ""),
        (ROOT, r#"{"result":42,"subscription":0}"#, "42"),
    ] {
        let changed = frame.replace(from, to);
        assert_ne!(changed, frame);
        assert!(read(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn keys_that_come_twice_or_are_written_with_escapes_are_a_fault() {
    for (frame, from, to) in [
        (SLOT, r#""slot":76"#, r#""slot":76,"slot":76"#),
        (SLOT, r#""slot":76"#, r#""sl\u006ft":76"#),
        (ROOT, r#""result":42"#, r#""result":{},"result":42"#),
        (ROOT, r#""method":"rootNotification""#, r#""method":"rootNotification","method":"rootNotification""#),
        (ROOT, r#","params""#, r#","params":null,"params""#),
        (ACCOUNT, r#""lamports""#, r#""lamports":1,"lamports""#),
        (ACCOUNT, r#""context""#, r#""context":null,"context""#),
        (ACCOUNT, r#""subscription""#, r#""subscription":"1","subscription""#),
        (PROGRAM, r#""account":"#, r#""account":null,"account":"#),
    ] {
        let changed = frame.replace(from, to);
        assert_ne!(changed, frame);
        assert!(read(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn what_is_not_json_is_a_fault_wherever_it_stands() {
    let values = [
        "",
        "nul",
        "nulll",
        "tru",
        "True",
        "+1",
        "-",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\u{0}\"",
        "{",
        "[",
        "]",
        "}",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{,}",
        "{\"a\" 1}",
        "1 2",
        "'a'",
        "NaN",
        "\"a\"b",
    ];
    for value in values {
        for (from, frame) in [("\"2.0\"", ROOT), ("false", ACCOUNT), (r#"["AQI=","base64"]"#, ACCOUNT), ("2}", PROGRAM)]
        {
            let to = if from == "2}" { format!("{value}}}") } else { value.to_owned() };
            let changed = frame.replacen(from, &to, 1);
            assert!(read(changed.as_bytes()).is_err(), "{changed}");
        }
    }
    for bytes in [b"\xff".as_slice(), b"\xc3", b"\xed\xa0\x80", b"\xc3\"", b"\\"] {
        let changed = [b"{\"a\":\"0123456789abcdef0123456789abcdef".as_slice(), bytes, b"\"}"].concat();
        assert!(read(&changed).is_err(), "{changed:?}");
    }
    for behind in ["x", "{}", ",", "}", "\u{0}"] {
        for frame in FRAMES {
            assert!(read(format!("{frame}{behind}").as_bytes()).is_err());
        }
    }
}

#[test]
fn every_byte_is_judged_wherever_it_stands_in_a_long_text() {
    let (before, behind) = ROOT.split_once("2.0").unwrap();
    for place in 0..70 {
        for byte in 0..=u8::MAX {
            let mut text = [b'x'; 70];
            text[place] = byte;
            let frame = [before.as_bytes(), &text, behind.as_bytes()].concat();
            // Behind a backslash an x is no escape, and behind a quote no JSON.
            let is_read = (b' '..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
            assert_eq!(read(&frame).ok(), is_read.then(|| expected(ROOT)), "{byte} at {place}");
        }
    }
}

#[test]
fn texts_beyond_ascii_and_with_escapes_are_stepped_over() {
    for text in [
        "é😀",
        r#"a\"b\\c\/d\b\f\n\r\t"#,
        r"\u0041\ud83d\ude00",
        r"\ud83d",
        "0123456789abcdef0123456789abcdefé",
        "\u{7f}",
    ] {
        for length in 0..40 {
            let frame = ROOT.replace("2.0", &format!("{}{text}", "x".repeat(length)));
            assert_eq!(read(frame.as_bytes()), Ok(expected(ROOT)), "{frame}");
        }
        let frame = ACCOUNT.replace(OWNER, text);
        let account = Account { owner: (text == "\u{7f}").then_some(b"\x7f"), ..state() };
        assert_eq!(read(frame.as_bytes()), Ok(Notification::Account { subscription: 23_784, account }), "{frame}");
    }
}

#[test]
fn part_of_a_frame_is_a_fault() {
    for frame in FRAMES {
        for end in 0..frame.len() {
            assert!(read(&frame.as_bytes()[..end]).is_err(), "{}", &frame[..end]);
        }
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close, depth, is_read) in [
        ("[", "]", 128, true),
        ("[", "]", 129, false),
        ("{\"a\":", "}", 127, true),
        ("{\"a\":", "}", 128, true),
        ("{\"a\":", "}", 129, false),
        ("[", "]", 100_000, false),
        ("{\"a\":", "}", 100_000, false),
    ] {
        let value = format!("{}0{}", open.repeat(depth), close.repeat(depth));
        let frame = ROOT.replace("\"2.0\"", &value);
        assert_eq!(read(frame.as_bytes()).ok(), is_read.then(|| expected(ROOT)), "{open} {depth}");
        let unclosed = ROOT.replace("\"2.0\"", &open.repeat(depth));
        assert!(read(unclosed.as_bytes()).is_err());
    }
}

/// A value of JSON whose members are written in any order.
#[derive(Clone, Debug)]
enum Json {
    Plain(String),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Appends the text of it, with the next one of `spaces` wherever space may stand.
    fn write(&self, spaces: &mut impl Iterator<Item = &'static str>, out: &mut String) {
        let members = match self {
            Self::Plain(text) => return out.push_str(text),
            Self::Object(members) => members,
        };
        let put = |out: &mut String, token: &str, spaces: &mut dyn Iterator<Item = &'static str>| {
            out.push_str(token);
            out.push_str(spaces.next().unwrap_or_default());
        };
        put(out, "{", spaces);
        for (place, (name, value)) in members.iter().enumerate() {
            if place > 0 {
                put(out, ",", spaces);
            }
            put(out, &format!("\"{name}\""), spaces);
            put(out, ":", spaces);
            value.write(spaces, out);
            put(out, "", spaces);
        }
        put(out, "}", spaces);
    }
}

fn plain(value: &str) -> Json {
    Json::Plain(value.to_owned())
}

fn number(value: u64) -> Json {
    Json::Plain(value.to_string())
}

/// What nobody asked for.
fn stranger() -> impl Strategy<Value = (String, Json)> {
    let value = prop_oneof![
        Just("null"),
        Just("[]"),
        Just("{}"),
        Just("-0.5e+10"),
        Just(r#"["é",{"slot":[1,2,{}]},true]"#),
        Just(r#""\\\"\u00e9""#),
        Just("123456789012345678901234567890"),
        Just(r#"{"lamports":1,"method":"x"}"#),
    ];
    ("[a-z]{0,3}[A-Z ]{1,20}", value).prop_map(|(name, value)| (name, plain(value)))
}

fn object(members: Vec<(&'static str, Json)>) -> impl Strategy<Value = Json> {
    let members: Vec<(String, Json)> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    prop::collection::vec(stranger(), 0..3).prop_flat_map(move |strangers| {
        Just([members.clone(), strangers].concat()).prop_shuffle().prop_map(Json::Object)
    })
}

fn envelope(method: &'static str, result: Json, subscription: u64) -> impl Strategy<Value = Json> {
    object(vec![("result", result), ("subscription", number(subscription))]).prop_flat_map(move |params| {
        let method = plain(&format!("\"{method}\""));
        object(vec![("jsonrpc", plain("\"2.0\"")), ("method", method), ("params", params)])
    })
}

fn shuffled_account(slot: u64, lamports: u64) -> impl Strategy<Value = (Json, Json)> {
    let state = object(vec![
        ("lamports", number(lamports)),
        ("data", plain(r#"["AQI=","base64"]"#)),
        ("owner", plain(&format!("\"{OWNER}\""))),
        ("executable", plain("false")),
        ("rentEpoch", number(u64::MAX)),
    ]);
    (object(vec![("slot", number(slot))]), state)
}

/// A frame in any order, and what it says.
fn shuffled() -> impl Strategy<Value = (Json, Notification<'static>)> {
    let any_number = || prop_oneof![any::<u64>(), 0..1000u64, u64::MAX - 10..=u64::MAX];
    let account = move |slot, lamports| Account { slot, lamports, ..state() };
    prop_oneof![
        (any_number(), any_number(), any_number()).prop_flat_map(move |(subscription, slot, lamports)| {
            let expected = Notification::Account { subscription, account: account(slot, lamports) };
            shuffled_account(slot, lamports)
                .prop_flat_map(|(context, value)| object(vec![("context", context), ("value", value)]))
                .prop_flat_map(move |result| envelope("accountNotification", result, subscription))
                .prop_map(move |frame| (frame, expected))
        }),
        (any_number(), any_number(), any_number()).prop_flat_map(move |(subscription, slot, lamports)| {
            let pubkey = Text::new(PUBKEY.as_bytes());
            let expected = Notification::Program { subscription, pubkey, account: account(slot, lamports) };
            shuffled_account(slot, lamports)
                .prop_flat_map(|(context, state)| {
                    let pubkey = plain(&format!("\"{PUBKEY}\""));
                    (Just(context), object(vec![("pubkey", pubkey), ("account", state)]))
                })
                .prop_flat_map(|(context, value)| object(vec![("context", context), ("value", value)]))
                .prop_flat_map(move |result| envelope("programNotification", result, subscription))
                .prop_map(move |frame| (frame, expected))
        }),
        (any_number(), any_number(), any_number(), any_number()).prop_flat_map(|(subscription, slot, parent, root)| {
            object(vec![("slot", number(slot)), ("parent", number(parent)), ("root", number(root))])
                .prop_flat_map(move |result| envelope("slotNotification", result, subscription))
                .prop_map(move |frame| (frame, Notification::Slot { subscription, slot, parent, root }))
        }),
        (any_number(), any_number()).prop_flat_map(|(subscription, root)| {
            envelope("rootNotification", number(root), subscription)
                .prop_map(move |frame| (frame, Notification::Root { subscription, root }))
        }),
    ]
}

proptest! {
    #[test]
    fn any_order_with_any_space_and_strangers_says_the_same(
        (frame, expected) in shuffled(),
        spaces in prop::collection::vec(prop::sample::select(vec!["", "", "", " ", "\n\t\r "]), 0..60),
    ) {
        let mut text = String::new();
        frame.write(&mut spaces.into_iter(), &mut text);
        prop_assert_eq!(read(text.as_bytes()), Ok(expected), "{}", text);
    }

    #[test]
    fn changed_frames_are_read_the_same_by_both_ways(
        frame in prop::sample::select(FRAMES.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4),
    ) {
        let mut bytes = frame.as_bytes().to_vec();
        for (place, byte, what) in changes {
            let at = place.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => bytes[at] = b"{}[]\",:0e\\ "[usize::from(byte) % 11],
            }
        }
        let _ = read(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = read(&[b"{\"params\":".as_slice(), &bytes].concat());
    }
}
