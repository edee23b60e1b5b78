//! The client's half of the opening handshake, read by a server (RFC 6455 section 4.2.1).

use super::Refusal;
use super::head::{Fields, Single, is_token, split};

/// A request for a WebSocket connection that is fit to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path and query, as they were sent; begins with `/`.
    pub target: &'a str,
    /// `Sec-WebSocket-Key`: base64 of 16 bytes.
    pub key: &'a str,
    /// The header fields.
    pub fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// Reads and checks a head, whole with the empty line at its end.
    ///
    /// # Errors
    /// 405 for a method other than GET; 505 for another version of HTTP; 426 for a request that asks for no upgrade, or for
    /// another version of WebSocket; 431 for more than [`MAX_HEADERS`](super::MAX_HEADERS) lines; else 400.
    pub fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let (line, fields) = split(head)?;
        let target = target(line)?;
        check_framing(&fields)?;
        check_host(&fields)?;
        if fields.values("upgrade").next().is_none() {
            // Plain HTTP (RFC 9110 section 15.5.22).
            return Err(Refusal { status: 426, reason: "only WebSocket is spoken here: the request has no Upgrade" });
        }
        fields.check_switch(400)?;
        check_version(&fields)?;
        let key = key(&fields)?;
        if let Single::Repeated = fields.single("origin") {
            return Err(Refusal::malformed("more than one Origin (RFC 6454 section 7.3)"));
        }
        if !fields.list("sec-websocket-protocol").all(is_token) {
            return Err(Refusal::malformed("Sec-WebSocket-Protocol is no list of tokens (RFC 6455 section 4.1)"));
        }
        Ok(Self { target, key, fields })
    }
}

/// The target of a request line (RFC 9112 section 3).
fn target(line: &[u8]) -> Result<&str, Refusal> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::malformed("the request line is not method, target and version (RFC 9112 section 3)"));
    };
    if !is_token(method) {
        return Err(Refusal::malformed("the method is no token (RFC 9112 section 3.1)"));
    }
    match version {
        b"HTTP/1.1" => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Refusal { status: 505, reason: "the version of HTTP is not 1.1" });
        }
        _ => {
            return Err(Refusal::malformed(
                "the request line does not end in a version of HTTP (RFC 9112 section 2.3)",
            ));
        }
    }
    if method != b"GET" {
        return Err(Refusal { status: 405, reason: "the method is not GET (RFC 6455 section 4.1)" });
    }
    // Origin-form alone (RFC 9112 section 3.2.1). The absolute form names a host a second time.
    if target.first() != Some(&b'/') {
        return Err(Refusal::malformed("the target does not begin with / (RFC 9112 section 3.2.1)"));
    }
    if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Refusal::malformed("the target has a character that belongs in no path (RFC 3986 section 3.3)"));
    }
    // Graphic ASCII, so this is never the default.
    Ok(core::str::from_utf8(target).unwrap_or_default())
}

/// No body: a proxy that believes in one takes the frames behind the head for it, or for the next request.
fn check_framing(fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.values("transfer-encoding").next().is_some() {
        return Err(Refusal::malformed("Transfer-Encoding in a request without a body"));
    }
    match fields.single("content-length") {
        Single::Absent | Single::Once(b"0") => Ok(()),
        Single::Once(_) => Err(Refusal::malformed("Content-Length is not 0")),
        Single::Repeated => Err(Refusal::malformed("more than one Content-Length (RFC 9112 section 6.3)")),
    }
}

/// RFC 9112 section 3.2: a server answers 400 where Host is missing, repeated or invalid.
fn check_host(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.single("host") {
        Single::Once(host) if is_host(host) => Ok(()),
        Single::Once(_) => Err(Refusal::malformed("Host is no host with an optional port (RFC 9110 section 7.2)")),
        Single::Absent => Err(Refusal::malformed("Host is missing (RFC 9112 section 3.2)")),
        Single::Repeated => Err(Refusal::malformed("more than one Host (RFC 9112 section 3.2)")),
    }
}

/// `name`, `1.2.3.4` or `[::1]`, each with or without `:port`. Of what RFC 3986 allows in names, only what names are made
/// of: no user name before an `@`, no list, nothing percent-encoded.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        let (address, rest) = (&literal[..end], &literal[end + 1..]);
        if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return false;
        }
        (address, rest)
    } else {
        let end = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
            return false;
        }
        (name, rest)
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && is_port
}

fn check_version(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.single("sec-websocket-version") {
        Single::Once(b"13") => Ok(()),
        // RFC 6455 section 4.2.2 /version/: say which one it would have to be.
        Single::Once(version) if is_version(version) => {
            Err(Refusal { status: 426, reason: "the version of WebSocket is not 13 (RFC 6455 section 4.4)" })
        }
        Single::Once(_) => Err(Refusal::malformed("Sec-WebSocket-Version is no number from 0 to 255")),
        Single::Absent => Err(Refusal::malformed("Sec-WebSocket-Version is missing (RFC 6455 section 4.2.1)")),
        Single::Repeated => Err(Refusal::malformed("more than one Sec-WebSocket-Version (RFC 6455 section 4.2.1)")),
    }
}

/// `version` of RFC 6455 section 4.3: 0 to 255 without leading zeros.
fn is_version(text: &[u8]) -> bool {
    match text {
        [only] => only.is_ascii_digit(),
        [b'1'..=b'9', rest @ ..] => {
            rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit) && (rest.len() < 2 || text <= b"255".as_slice())
        }
        _ => false,
    }
}

/// RFC 6455 section 4.2.1: base64 that decodes to 16 bytes, so 22 characters and two of padding.
fn key<'a>(fields: &Fields<'a>) -> Result<&'a str, Refusal> {
    let key = match fields.single("sec-websocket-key") {
        Single::Once(key) => key,
        Single::Absent => return Err(Refusal::malformed("Sec-WebSocket-Key is missing (RFC 6455 section 4.2.1)")),
        Single::Repeated => {
            return Err(Refusal::malformed("more than one Sec-WebSocket-Key (RFC 6455 section 11.3.1)"));
        }
    };
    match key.strip_suffix(b"==") {
        Some(digits)
            if digits.len() == 22
                && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')) =>
        {
            // ASCII, so this is never the default.
            Ok(core::str::from_utf8(key).unwrap_or_default())
        }
        _ => Err(Refusal::malformed("Sec-WebSocket-Key is not base64 of 16 bytes (RFC 6455 section 4.2.1)")),
    }
}
