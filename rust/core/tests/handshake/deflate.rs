//! Negotiation of permessage-deflate: tables of offers and answers, and both roles against each other.

use websocket_utils_core::deflate::Agreement;
use websocket_utils_core::handshake::{DeflateSettings, accept, confirm, offer};

const PLAIN: DeflateSettings = DeflateSettings { window_bits: 15, takeover: true };
const SMALL: DeflateSettings = DeflateSettings { window_bits: 11, takeover: false };

fn all_settings() -> impl Iterator<Item = DeflateSettings> {
    (9..=15).flat_map(|window_bits| [false, true].map(|takeover| DeflateSettings { window_bits, takeover }))
}

/// Settings, the lines of a request, and what a server makes of them.
type Accepting = (DeflateSettings, &'static [&'static str], Option<(Agreement, &'static str)>);
/// Settings, the lines of a response, and what a client makes of them; `None` is a refusal.
type Confirming = (DeflateSettings, &'static [&'static str], Option<Option<Agreement>>);

const fn agreed(send: (u8, bool), receive: (u8, bool)) -> Agreement {
    Agreement {
        send_window_bits: send.0,
        send_takeover: send.1,
        receive_window_bits: receive.0,
        receive_takeover: receive.1,
    }
}

const fn mirrored(agreement: Agreement) -> Agreement {
    agreed(
        (agreement.receive_window_bits, agreement.receive_takeover),
        (agreement.send_window_bits, agreement.send_takeover),
    )
}

#[test]
fn offer_says_what_is_not_a_matter_of_course() {
    assert_eq!(offer(PLAIN), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        offer(SMALL),
        "permessage-deflate; client_max_window_bits=11; server_max_window_bits=11; client_no_context_takeover; \
         server_no_context_takeover"
    );
}

#[test]
fn server_accepts_the_first_offer_it_can() {
    let cases: &[Accepting] = &[
        (PLAIN, &[], None),
        (PLAIN, &[""], None),
        (PLAIN, &[" , ,"], None),
        (PLAIN, &["permessage-deflate"], Some((agreed((15, true), (15, true)), "permessage-deflate"))),
        (
            PLAIN,
            &["permessage-deflate; client_max_window_bits"],
            Some((agreed((15, true), (15, true)), "permessage-deflate")),
        ),
        (
            PLAIN,
            &["permessage-deflate;client_max_window_bits=10"],
            Some((agreed((15, true), (10, true)), "permessage-deflate; client_max_window_bits=10")),
        ),
        (
            PLAIN,
            &["permessage-deflate ;\tserver_max_window_bits = \"8\""],
            Some((agreed((8, true), (15, true)), "permessage-deflate; server_max_window_bits=8")),
        ),
        (
            PLAIN,
            &["permessage-deflate; server_max_window_bits=15"],
            Some((agreed((15, true), (15, true)), "permessage-deflate; server_max_window_bits=15")),
        ),
        (
            PLAIN,
            &["permessage-deflate; server_no_context_takeover"],
            Some((agreed((15, false), (15, true)), "permessage-deflate; server_no_context_takeover")),
        ),
        (
            PLAIN,
            &["permessage-deflate; client_no_context_takeover"],
            Some((agreed((15, true), (15, false)), "permessage-deflate; client_no_context_takeover")),
        ),
        (
            SMALL,
            &["permessage-deflate; client_max_window_bits"],
            Some((
                agreed((11, false), (11, false)),
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=11; client_max_window_bits=11",
            )),
        ),
        // A client that does not know client_max_window_bits can't be bounded.
        (
            SMALL,
            &["permessage-deflate; server_max_window_bits=9"],
            Some((
                agreed((9, false), (15, false)),
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
            )),
        ),
        // Several offers, in one line and over several, beside other extensions.
        (
            PLAIN,
            &[
                "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=9, permessage-deflate",
            ],
            Some((agreed((9, true), (15, true)), "permessage-deflate; server_max_window_bits=9")),
        ),
        (
            PLAIN,
            &["x-webkit-deflate-frame, foo; bar=\"b\\az\"; baz", "permessage-deflate"],
            Some((agreed((15, true), (15, true)), "permessage-deflate")),
        ),
        (PLAIN, &["permessage-bzip2; server_max_window_bits=9", "x"], None),
        (PLAIN, &["Permessage-Deflate"], None),
        (PLAIN, &["permessage-deflate2"], None),
    ];
    for (settings, values, expected) in cases {
        let found = accept(*settings, values.iter().copied()).unwrap();
        let found = found.as_ref().map(|(agreement, answer)| (*agreement, answer.as_str()));
        assert_eq!(found, *expected, "{values:?}");
    }
}

#[test]
fn window_bits_are_8_to_15_without_leading_zeros() {
    for (value, bits) in [("8", 8), ("9", 9), ("10", 10), ("15", 15), ("\"15\"", 15), ("\"1\\5\"", 15)] {
        let server = format!("permessage-deflate; server_max_window_bits={value}");
        assert_eq!(accept(PLAIN, [server.as_str()]).unwrap().unwrap().0.send_window_bits, bits, "{value}");
        let client = format!("permessage-deflate; client_max_window_bits={value}");
        assert_eq!(accept(PLAIN, [client.as_str()]).unwrap().unwrap().0.receive_window_bits, bits, "{value}");
        assert_eq!(confirm(PLAIN, [server.as_str()]).unwrap().unwrap().receive_window_bits, bits, "{value}");
        assert_eq!(confirm(PLAIN, [client.as_str()]).unwrap().unwrap().send_window_bits, bits, "{value}");
    }
    for value in
        ["-1", "0", "7", "16", "17", "19", "20", "99", "15x", "x", "08", "015", "+9", "0x9", "1e1", "4294967304"]
    {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let header = format!("permessage-deflate; {name}={value}");
            assert_eq!(accept(PLAIN, [header.as_str()]), Ok(None), "{header}");
            assert_eq!(confirm(PLAIN, [header.as_str()]).unwrap_err().status, 101, "{header}");
        }
    }
}

#[test]
fn parameter_that_is_not_defined_declines_the_offer_and_fails_the_answer() {
    for parameters in [
        "unknown",
        "unknown=1",
        "SERVER_NO_CONTEXT_TAKEOVER",
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=\"x\"",
        "server_max_window_bits",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=9; server_max_window_bits=9",
        "client_max_window_bits=9; client_max_window_bits=9",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=9",
        "server_max_window_bits=10; unknown; client_max_window_bits",
    ] {
        let header = format!("permessage-deflate; {parameters}");
        assert_eq!(accept(PLAIN, [header.as_str()]), Ok(None), "{header}");
        assert_eq!(confirm(PLAIN, [header.as_str()]).unwrap_err().status, 101, "{header}");
        // Another offer is judged by itself.
        let two = format!("{header}, permessage-deflate");
        assert!(accept(PLAIN, [two.as_str()]).unwrap().is_some());
    }
}

#[test]
fn what_is_no_list_of_extensions_is_refused() {
    for value in [
        ";",
        "=",
        "\"permessage-deflate\"",
        "permessage-deflate;",
        "permessage-deflate; ",
        "permessage-deflate;;client_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"",
        "permessage-deflate; server_max_window_bits=\"9",
        "permessage-deflate; server_max_window_bits=\"9\\",
        "permessage-deflate; server_max_window_bits=\"9\\\"",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=\" 9\"",
        "permessage-deflate; server_max_window_bits=\"9,10\"",
        "permessage-deflate; server_max_window_bits=\"9\"x",
        "permessage-deflate; server_max_window_bits=9 9",
        "permessage-deflate client_max_window_bits",
        "permessage-deflate; =9",
        "permessage-deflate; a=b=c",
        "permessage-deflate: x",
        "permessage-deflate\u{e9}",
        "permessage-deflate; x=\"\u{e9}\"",
        "permessage-deflate; x=\"\\\u{e9}\"",
        "permessage-deflate, x y",
        "permessage-deflate\n",
    ] {
        assert_eq!(accept(PLAIN, [value]).unwrap_err().status, 400, "{value:?}");
        assert_eq!(accept(PLAIN, ["permessage-deflate", value]).unwrap_err().status, 400, "{value:?}");
        assert_eq!(confirm(PLAIN, [value]).unwrap_err().status, 101, "{value:?}");
    }
}

#[test]
fn client_confirms_only_what_corresponds_to_its_offer() {
    const D: &str = "permessage-deflate";
    let full = "server_no_context_takeover; client_no_context_takeover";
    let cases: &[Confirming] = &[
        (PLAIN, &[], Some(None)),
        (PLAIN, &[D], Some(Some(agreed((15, true), (15, true))))),
        (PLAIN, &["permessage-deflate; server_no_context_takeover"], Some(Some(agreed((15, true), (15, false))))),
        (PLAIN, &["permessage-deflate; client_no_context_takeover"], Some(Some(agreed((15, false), (15, true))))),
        (PLAIN, &["permessage-deflate; server_max_window_bits=9"], Some(Some(agreed((15, true), (9, true))))),
        (PLAIN, &["permessage-deflate; client_max_window_bits=8"], Some(Some(agreed((8, true), (15, true))))),
        // Without its value it is a hint of clients.
        (PLAIN, &["permessage-deflate; client_max_window_bits"], None),
        // Neither twice, nor beside another extension.
        (PLAIN, &["permessage-deflate, permessage-deflate"], None),
        (PLAIN, &[D, D], None),
        (PLAIN, &["x-other"], None),
        (PLAIN, &["permessage-deflate, x-other"], None),
        (PLAIN, &["x-other", D], None),
        // What was asked of the server has to be answered, and within what was asked.
        (SMALL, &[D], None),
        (SMALL, &["permessage-deflate; server_max_window_bits=11"], None),
        (SMALL, &["permessage-deflate; server_no_context_takeover"], None),
        (
            SMALL,
            &["permessage-deflate; server_max_window_bits=11; server_no_context_takeover"],
            Some(Some(agreed((11, false), (11, false)))),
        ),
        (SMALL, &["permessage-deflate; server_max_window_bits=12; server_no_context_takeover"], None),
        (
            SMALL,
            &["permessage-deflate; server_max_window_bits=8; server_no_context_takeover; client_max_window_bits=9"],
            Some(Some(agreed((9, false), (8, false)))),
        ),
        (
            SMALL,
            &["permessage-deflate; server_max_window_bits=8; server_no_context_takeover; client_max_window_bits=12"],
            None,
        ),
    ];
    for (settings, values, expected) in cases {
        assert_eq!(confirm(*settings, values.iter().copied()).ok(), *expected, "{values:?}");
    }
    let answer = format!("{D}; {full}");
    assert_eq!(confirm(PLAIN, [answer.as_str()]), Ok(Some(agreed((15, false), (15, false)))));
}

#[test]
fn offer_accepted_and_confirmed_means_the_same_to_both_ends() {
    for client in all_settings() {
        for server in all_settings() {
            let offered = offer(client);
            let (served, answer) = accept(server, [offered.as_str()]).unwrap().unwrap();
            let confirmed = confirm(client, [answer.as_str()]).unwrap().unwrap();
            assert_eq!(mirrored(confirmed), served, "{client:?} {server:?}");
            let bits = client.window_bits.min(server.window_bits);
            let takeover = client.takeover && server.takeover;
            assert_eq!(confirmed, agreed((bits, takeover), (bits, takeover)));
        }
    }
}
