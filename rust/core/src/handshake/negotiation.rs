//! Negotiation of permessage-deflate (RFC 7692 section 7.1) in `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

use core::fmt::Write;
use std::borrow::Cow;

use super::Refusal;
use super::head::{is_token, is_token_byte};
use crate::deflate::Agreement;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The window that goes without saying (RFC 7692 section 7.1.2).
const MAX_WINDOW_BITS: u8 = 15;

/// What this end is ready to agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateSettings {
    /// Largest window in either direction, 9 to 15.
    pub window_bits: u8,
    /// Whether messages may refer to those before them: smaller on the wire, but both ends keep a window for each direction.
    pub takeover: bool,
}

/// The value of a client's `Sec-WebSocket-Extensions`.
#[must_use]
pub fn offer(settings: DeflateSettings) -> String {
    let mut offer = Answer::new();
    if settings.window_bits < MAX_WINDOW_BITS {
        // With a value: a server that does not answer it knows the window all the same (RFC 7692 section 7.1.2.2).
        offer.bits(CLIENT_MAX_WINDOW_BITS, settings.window_bits);
        offer.bits(SERVER_MAX_WINDOW_BITS, settings.window_bits);
    } else {
        offer.flag(CLIENT_MAX_WINDOW_BITS);
    }
    if !settings.takeover {
        offer.flag(CLIENT_NO_CONTEXT_TAKEOVER);
        offer.flag(SERVER_NO_CONTEXT_TAKEOVER);
    }
    offer.text
}

/// A server's choice among the offers of a client (`values` of all its `Sec-WebSocket-Extensions` lines, in their order):
/// the first that can be accepted, and the value to answer with. `None` where there is none: nothing is answered then.
///
/// Extensions other than permessage-deflate are passed over, and so is an offer with a parameter that is unknown, repeated or
/// out of range (RFC 7692 section 7.1).
///
/// # Errors
/// 400 for a value that is no list of extensions: RFC 6455 section 9.1 has the connection failed then.
pub fn accept<'a>(
    settings: DeflateSettings,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Option<(Agreement, String)>, Refusal> {
    let mut accepted = None;
    read_lists(values, |extension| {
        if let (None, NAME, Some(offered)) = (accepted, extension.name, extension.parameters) {
            accepted = Some(offered);
        }
    })
    .map_err(|Malformed| {
        Refusal::malformed("Sec-WebSocket-Extensions is no list of extensions (RFC 6455 section 9.1)")
    })?;
    Ok(accepted.map(|offered| answer(settings, offered)))
}

fn answer(settings: DeflateSettings, offered: Parameters) -> (Agreement, String) {
    let bounded = |bits: Option<u8>| bits.map_or(settings.window_bits, |bits| bits.min(settings.window_bits));
    let agreement = Agreement {
        send_window_bits: bounded(offered.server_bits),
        send_takeover: settings.takeover && !offered.server_no_takeover,
        // A client that says nothing of its window can't be told to make it smaller (RFC 7692 section 7.1.2.2).
        receive_window_bits: match offered.client_bits {
            ClientBits::Absent => MAX_WINDOW_BITS,
            ClientBits::Supported => settings.window_bits,
            ClientBits::Bits(bits) => bounded(Some(bits)),
        },
        receive_takeover: settings.takeover && !offered.client_no_takeover,
    };
    let mut answer = Answer::new();
    // RFC 7692 sections 7.1.1.1 and 7.1.2.1: what the client asks of us has to be answered, and may be without being asked.
    if !agreement.send_takeover {
        answer.flag(SERVER_NO_CONTEXT_TAKEOVER);
    }
    if !agreement.receive_takeover {
        answer.flag(CLIENT_NO_CONTEXT_TAKEOVER);
    }
    if offered.server_bits.is_some() || agreement.send_window_bits < MAX_WINDOW_BITS {
        answer.bits(SERVER_MAX_WINDOW_BITS, agreement.send_window_bits);
    }
    if agreement.receive_window_bits < MAX_WINDOW_BITS {
        answer.bits(CLIENT_MAX_WINDOW_BITS, agreement.receive_window_bits);
    }
    (agreement, answer.text)
}

/// A client's reading of the answer to its [`offer`] with the same `settings` (`values` of all `Sec-WebSocket-Extensions`
/// lines, in their order); `None` where the server does without compression.
///
/// # Errors
/// 101 for an answer that does not correspond to the offer (RFC 7692 section 7.1): the connection must be failed.
pub fn confirm<'a>(
    settings: DeflateSettings,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Agreement>, Refusal> {
    let mut confirmed = None;
    let mut fault = None;
    read_lists(values, |extension| {
        if extension.name != NAME {
            fault = fault.or(Some("the server chose an extension that was not offered (RFC 6455 section 4.1)"));
        } else if confirmed.replace(extension.parameters).is_some() {
            fault = fault.or(Some("the server chose permessage-deflate twice (RFC 7692 section 5)"));
        }
    })
    .map_err(|Malformed| refused("Sec-WebSocket-Extensions is no list of extensions (RFC 6455 section 9.1)"))?;
    if let Some(reason) = fault {
        return Err(refused(reason));
    }
    match confirmed {
        None => Ok(None),
        Some(None) => Err(refused(
            "a parameter of permessage-deflate is unknown, repeated or out of range (RFC 7692 section 7.1)",
        )),
        Some(Some(answered)) => correspond(settings, answered).map(Some).map_err(refused),
    }
}

fn correspond(settings: DeflateSettings, answered: Parameters) -> Result<Agreement, &'static str> {
    // What the offer asked of the server has to be in its answer (RFC 7692 sections 7.1.1.1 and 7.1.2.1).
    let receive_window_bits = match answered.server_bits {
        Some(bits) if bits <= settings.window_bits => bits,
        None if settings.window_bits == MAX_WINDOW_BITS => MAX_WINDOW_BITS,
        Some(_) => return Err("server_max_window_bits is larger than offered (RFC 7692 section 7.1.2.1)"),
        None => return Err("server_max_window_bits was offered and not answered (RFC 7692 section 7.1.2.1)"),
    };
    if !settings.takeover && !answered.server_no_takeover {
        return Err("server_no_context_takeover was offered and not answered (RFC 7692 section 7.1.1.1)");
    }
    let send_window_bits = match answered.client_bits {
        ClientBits::Absent => settings.window_bits,
        ClientBits::Bits(bits) if bits <= settings.window_bits => bits,
        ClientBits::Bits(_) => return Err("client_max_window_bits is larger than offered (RFC 7692 section 7.1.2.2)"),
        ClientBits::Supported => return Err("client_max_window_bits without a value (RFC 7692 section 7.1.2.2)"),
    };
    Ok(Agreement {
        send_window_bits,
        send_takeover: settings.takeover && !answered.client_no_takeover,
        receive_window_bits,
        receive_takeover: !answered.server_no_takeover,
    })
}

const fn refused(reason: &'static str) -> Refusal {
    Refusal { status: 101, reason }
}

/// One extension with its parameters, being written.
struct Answer {
    text: String,
}

impl Answer {
    fn new() -> Self {
        Self { text: NAME.to_owned() }
    }

    fn flag(&mut self, name: &str) {
        self.text.push_str("; ");
        self.text.push_str(name);
    }

    fn bits(&mut self, name: &str, bits: u8) {
        // A `String` takes everything that is written to it.
        let _ = write!(self.text, "; {name}={bits}");
    }
}

/// `client_max_window_bits`, the one parameter that may come without its value (RFC 7692 section 7.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientBits {
    Absent,
    Supported,
    Bits(u8),
}

/// The parameters of one permessage-deflate, each of them valid.
#[derive(Clone, Copy)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: ClientBits,
}

impl Parameters {
    const fn new() -> Self {
        Self {
            server_no_takeover: false,
            client_no_takeover: false,
            server_bits: None,
            client_bits: ClientBits::Absent,
        }
    }

    /// These with one more; `None` if it is unknown, repeated, or its value is none that it can have.
    fn with(mut self, name: &str, value: Option<&str>) -> Option<Self> {
        match (name, value) {
            (SERVER_NO_CONTEXT_TAKEOVER, None) if !self.server_no_takeover => self.server_no_takeover = true,
            (CLIENT_NO_CONTEXT_TAKEOVER, None) if !self.client_no_takeover => self.client_no_takeover = true,
            (SERVER_MAX_WINDOW_BITS, Some(value)) if self.server_bits.is_none() => {
                self.server_bits = Some(window_bits(value)?);
            }
            (CLIENT_MAX_WINDOW_BITS, value) if self.client_bits == ClientBits::Absent => {
                self.client_bits = match value {
                    None => ClientBits::Supported,
                    Some(value) => ClientBits::Bits(window_bits(value)?),
                };
            }
            _ => return None,
        }
        Some(self)
    }
}

/// 8 to 15, without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match *value.as_bytes() {
        [ones @ b'8'..=b'9'] => Some(ones - b'0'),
        [b'1', ones @ b'0'..=b'5'] => Some(10 + (ones - b'0')),
        _ => None,
    }
}

/// A list that is no `extension-list` of RFC 6455 section 9.1.
struct Malformed;

struct Extension<'a> {
    name: &'a str,
    /// `None` where one is not valid.
    parameters: Option<Parameters>,
}

/// Gives every extension of all `values` to `visit`. Extensions of another name have their syntax checked only.
fn read_lists<'a>(
    values: impl IntoIterator<Item = &'a str>,
    mut visit: impl FnMut(Extension<'a>),
) -> Result<(), Malformed> {
    for value in values {
        let mut cursor = Cursor { rest: value };
        loop {
            // Empty members do not count (RFC 9110 section 5.6.1).
            cursor.skip(&[' ', '\t', ',']);
            if cursor.rest.is_empty() {
                break;
            }
            let name = cursor.token()?;
            let mut parameters = Some(Parameters::new());
            while cursor.separator(';') {
                cursor.skip_space();
                let parameter = cursor.token()?;
                let value = if cursor.separator('=') { Some(cursor.value()?) } else { None };
                parameters = parameters.and_then(|known| known.with(parameter, value.as_deref()));
            }
            if !cursor.rest.is_empty() && !cursor.separator(',') {
                return Err(Malformed);
            }
            visit(Extension { name, parameters });
        }
    }
    Ok(())
}

/// What is left to read of one header value. It goes forward only, so the work is linear.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Takes the first `len` bytes, which end between two characters.
    fn take(&mut self, len: usize) -> &'a str {
        #[cfg(test)]
        super::work::add(len);
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, characters: &[char]) {
        let kept = self.rest.trim_start_matches(characters).len();
        self.take(self.rest.len() - kept);
    }

    fn skip_space(&mut self) {
        self.skip(&[' ', '\t']);
    }

    /// Takes `mark` with the space before it, if that comes next; the space goes in any case.
    fn separator(&mut self, mark: char) -> bool {
        self.skip_space();
        let found = self.rest.starts_with(mark);
        if found {
            self.take(mark.len_utf8());
        }
        found
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        // Token bytes are ASCII, so the first other byte begins a character.
        let len = self.rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        if len == 0 { Err(Malformed) } else { Ok(self.take(len)) }
    }

    /// A token, or a quoted string that is one without its quotes (RFC 6455 section 9.1).
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.skip_space();
        if !self.rest.starts_with('"') {
            return self.token().map(Cow::Borrowed);
        }
        self.take(1);
        let mut value = String::new();
        loop {
            let plain = self.rest.find(['"', '\\']).ok_or(Malformed)?;
            value.push_str(self.take(plain));
            if self.take(1) == "\"" {
                break;
            }
            // A backslash: the character behind it stands for itself (RFC 9110 section 5.6.4).
            let escaped = self.rest.chars().next().ok_or(Malformed)?;
            value.push_str(self.take(escaped.len_utf8()));
        }
        if is_token(value.as_bytes()) { Ok(Cow::Owned(value)) } else { Err(Malformed) }
    }
}
