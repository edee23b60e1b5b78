//! What requests and responses have in common: where a head ends, and its header fields (RFC 9112 sections 2 and 5).

use super::{MAX_HEAD_BYTES, MAX_HEADERS, Refusal};

/// What the bytes so far say about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing has come yet.
    Beginning,
    /// Inside a line.
    Line,
    /// Behind a CR that ends a line.
    LineCr,
    /// At the beginning of a line that is not the first.
    LineEnd,
    /// Behind a CR at the beginning of a line.
    HeadCr,
    /// The head is complete.
    Complete,
    Refused(Refusal),
}

/// Collects the head of a request or a response out of segments of any size.
///
/// Every byte is looked at once. What could never become a head is refused with the byte that shows it, so that a peer
/// that speaks TLS or another protocol is not waited for.
#[derive(Debug, Clone)]
pub struct HeadReader {
    head: Vec<u8>,
    progress: Progress,
}

impl Default for HeadReader {
    fn default() -> Self {
        Self::new()
    }
}

impl HeadReader {
    /// A reader at the beginning of a head.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: Vec::new(), progress: Progress::Beginning }
    }

    /// Takes the next segment: `None` while the head goes on, or how many bytes of `input` belong to it. Those behind it
    /// are not taken, and nothing is once the head is complete.
    ///
    /// # Errors
    /// 431 over [`MAX_HEAD_BYTES`]; 400 at a byte that can't begin a head, a control character, or half a line end. The
    /// same answer comes to all that is fed later.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let room = MAX_HEAD_BYTES - self.head.len();
        let mut progress = self.progress;
        let mut taken = 0;
        for &byte in input {
            if matches!(progress, Progress::Complete | Progress::Refused(_)) {
                break;
            }
            if taken == room {
                progress = Progress::Refused(Refusal { status: 431, reason: "the head is larger than 16 KiB" });
                break;
            }
            progress = progress.after(byte);
            taken += 1;
        }
        self.progress = progress;
        #[cfg(test)]
        super::work::add(taken);
        if let Progress::Refused(refusal) = progress {
            self.head = Vec::new();
            return Err(refusal);
        }
        self.head.extend_from_slice(&input[..taken]);
        Ok((progress == Progress::Complete).then_some(taken))
    }

    /// The head so far: whole, with the empty line at its end, once [`feed`](Self::feed) has found that.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.head
    }

    /// Whether the head has come whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.progress == Progress::Complete
    }
}

impl Progress {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            // A method and "HTTP" are tokens. Empty lines before them (RFC 9112 section 2.2) are a mercy to peers that end a
            // body with one; here nothing comes before.
            (Self::Beginning, _) if !is_token_byte(byte) => Self::refused("the first byte can't begin an HTTP message"),
            (Self::Beginning | Self::Line, b'\r') => Self::LineCr,
            (Self::LineEnd, b'\r') => Self::HeadCr,
            (Self::LineCr, b'\n') => Self::LineEnd,
            (Self::HeadCr, b'\n') => Self::Complete,
            // RFC 9112 section 2.2 lets a bare LF pass; two readers on the way may then see two heads.
            (Self::LineCr | Self::HeadCr, _) => Self::refused("a CR without LF (RFC 9112 section 2.2)"),
            (_, b'\n') => Self::refused("a LF without CR (RFC 9112 section 2.2)"),
            _ if is_control(byte) => Self::refused("a control character (RFC 9110 section 5.5)"),
            _ => Self::Line,
        }
    }

    const fn refused(reason: &'static str) -> Self {
        Self::Refused(Refusal::malformed(reason))
    }
}

/// A control character other than HTAB.
const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// RFC 9110 section 5.6.2.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// Without optional whitespace (RFC 9110 section 5.6.3) at both ends.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The header fields of a head, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    lines: Vec<(&'a str, &'a [u8])>,
}

/// Splits a head into its first line and its header fields.
pub(super) fn split(head: &[u8]) -> Result<(&[u8], Fields<'_>), Refusal> {
    if head.len() > MAX_HEAD_BYTES {
        return Err(Refusal { status: 431, reason: "the head is larger than 16 KiB" });
    }
    let Some(inner) = head.strip_suffix(b"\r\n\r\n") else {
        return Err(Refusal::malformed("the head does not end in an empty line"));
    };
    let mut rest = Some(inner);
    let first = next_line(&mut rest).unwrap_or_default();
    let mut lines = Vec::new();
    while let Some(line) = next_line(&mut rest) {
        if lines.len() == MAX_HEADERS {
            return Err(Refusal { status: 431, reason: "the head has more than 128 header lines" });
        }
        lines.push(field(line)?);
    }
    Ok((first, Fields { lines }))
}

/// Takes the next line off `rest`, without its end; `None` behind the last one.
fn next_line<'a>(rest: &mut Option<&'a [u8]>) -> Option<&'a [u8]> {
    let text = (*rest)?;
    let end = text.windows(2).position(|pair| pair == b"\r\n");
    #[cfg(test)]
    super::work::add(end.unwrap_or(text.len()));
    *rest = end.map(|end| &text[end + 2..]);
    Some(end.map_or(text, |end| &text[..end]))
}

fn field(line: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    #[cfg(test)]
    super::work::add(line.len());
    if let [b' ' | b'\t', ..] = line {
        // RFC 9112 section 5.2: a server rejects line folding, which others on the way may have read as a header.
        return Err(Refusal::malformed("a folded header line (RFC 9112 section 5.2)"));
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return Err(Refusal::malformed("a header line without a colon (RFC 9112 section 5)"));
    };
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    // RFC 9112 section 5.1: whitespace before the colon is no part of a token either.
    if !is_token(name) {
        return Err(Refusal::malformed("a header name that is no token (RFC 9110 section 5.1)"));
    }
    if value.iter().copied().any(is_control) {
        return Err(Refusal::malformed("a control character in a header value (RFC 9110 section 5.5)"));
    }
    // A token is ASCII, so this is never the default.
    let name = core::str::from_utf8(name).unwrap_or_default();
    if is_ours(name) && !value.is_ascii() {
        return Err(Refusal::malformed("a header of the handshake with bytes outside ASCII"));
    }
    Ok((name, value))
}

/// Whether the handshake itself reads this header.
fn is_ours(name: &str) -> bool {
    let ours = ["host", "upgrade", "connection", "origin"];
    ours.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.as_bytes().first_chunk::<4>().is_some_and(|start| start.eq_ignore_ascii_case(b"sec-"))
}

/// What a header that may come once was found to be.
pub(super) enum Single<'a> {
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Fields<'a> {
    /// Every header line: its name as it was written, and its value without whitespace around it.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> {
        self.lines.iter().copied()
    }

    /// The values of all lines of one header; its name counts in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.lines.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, value)| value)
    }

    /// The members of a header that is a list, over all its lines; empty members do not count (RFC 9110 section 5.6.1).
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let values = self.values(name);
        #[cfg(test)]
        let values = values.inspect(|value| super::work::add(value.len()));
        values.flat_map(|value| value.split(|&byte| byte == b',')).map(trimmed).filter(|member| !member.is_empty())
    }

    pub(super) fn single(&self, name: &str) -> Single<'a> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Single::Absent,
            (Some(value), None) => Single::Once(value),
            (Some(_), Some(_)) => Single::Repeated,
        }
    }

    /// Whether Upgrade and Connection ask for, or confirm, the switch to WebSocket (RFC 6455 sections 4.1 and 4.2.1).
    pub(super) fn check_switch(&self, status: u16) -> Result<(), Refusal> {
        let refuse = |reason| Err(Refusal { status, reason });
        let mut found = false;
        for protocol in self.list("upgrade") {
            // A version, as in `h2c/1`, makes it another protocol (RFC 9110 section 7.8).
            let mut parts = protocol.splitn(2, |&byte| byte == b'/');
            if !parts.all(is_token) {
                return refuse("Upgrade is no list of protocols (RFC 9110 section 7.8)");
            }
            found |= protocol.eq_ignore_ascii_case(b"websocket");
        }
        if !found {
            return refuse("Upgrade does not name websocket (RFC 6455 section 4)");
        }
        found = false;
        for option in self.list("connection") {
            if !is_token(option) {
                return refuse("Connection is no list of tokens (RFC 9110 section 7.6.1)");
            }
            found |= option.eq_ignore_ascii_case(b"upgrade");
        }
        if found { Ok(()) } else { refuse("Connection does not name upgrade (RFC 6455 section 4)") }
    }
}
