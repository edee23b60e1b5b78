//! The server's half of the opening handshake, read by a client (RFC 6455 section 4.1).

use super::Refusal;
use super::head::{Fields, Single, split};

/// A server's answer to the opening request, whatever it says.
///
/// A status of 1xx other than 101 is interim (RFC 9110 section 15.2): the final answer follows in a head of its own, to be
/// read by a new [`HeadReader`](super::HeadReader).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// 100 to 999.
    pub status: u16,
    /// The text behind the status; may be empty or have bytes outside ASCII.
    pub reason: &'a [u8],
    /// The header fields.
    pub fields: Fields<'a>,
}

impl<'a> Response<'a> {
    /// Reads a head, whole with the empty line at its end. What a 101 says is left to [`check_upgrade`](Self::check_upgrade).
    ///
    /// # Errors
    /// 400 for a malformed head, 431 for more than [`MAX_HEADERS`](super::MAX_HEADERS) lines.
    pub fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let (line, fields) = split(head)?;
        let (status, reason) = status(line)?;
        Ok(Self { status, reason, fields })
    }

    /// Whether the final answer is still to come.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Checks that the server switched to what was asked for. Extensions are left to [`confirm`](super::confirm).
    ///
    /// # Errors
    /// The first of the conditions of RFC 6455 section 4.1 that does not hold.
    pub fn check_upgrade(&self, expected_accept: &str, offered_subprotocols: &[&str]) -> Result<(), Refusal> {
        let refuse = |reason| Err(Refusal { status: 101, reason });
        if self.status != 101 {
            return Err(Refusal { status: self.status, reason: "the server did not switch protocols" });
        }
        self.fields.check_switch(101)?;
        match self.fields.single("sec-websocket-accept") {
            Single::Once(accept) if accept == expected_accept.as_bytes() => {}
            Single::Once(_) => return refuse("Sec-WebSocket-Accept does not answer the key (RFC 6455 section 4.1)"),
            Single::Absent => return refuse("Sec-WebSocket-Accept is missing (RFC 6455 section 4.1)"),
            Single::Repeated => return refuse("more than one Sec-WebSocket-Accept (RFC 6455 section 11.3.3)"),
        }
        match self.fields.single("sec-websocket-protocol") {
            Single::Absent => {}
            Single::Once(chosen) if offered_subprotocols.iter().any(|offered| offered.as_bytes() == chosen) => {}
            Single::Once(_) => {
                return refuse("the server chose a subprotocol that was not offered (RFC 6455 section 4.1)");
            }
            Single::Repeated => return refuse("more than one Sec-WebSocket-Protocol (RFC 6455 section 11.3.4)"),
        }
        // RFC 9110 section 8.6: neither belongs in a 101. Where one announces a body, frames and body can't be told apart.
        if self.fields.values("transfer-encoding").next().is_some() {
            return refuse("Transfer-Encoding in a 101 (RFC 9112 section 6.1)");
        }
        match self.fields.single("content-length") {
            Single::Absent | Single::Once(b"0") => Ok(()),
            Single::Once(_) | Single::Repeated => refuse("Content-Length in a 101 (RFC 9110 section 8.6)"),
        }
    }
}

/// Status and reason phrase of a status line (RFC 9112 section 4).
fn status(line: &[u8]) -> Result<(u16, &[u8]), Refusal> {
    let malformed = Refusal::malformed("the answer does not begin with a status line of HTTP/1.1 (RFC 9112 section 4)");
    let (&[minor, b' ', hundreds, tens, ones], rest) =
        line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.split_first_chunk::<5>()).ok_or(malformed)?
    else {
        return Err(malformed);
    };
    let (b'1'..=b'9', b'0'..=b'9', b'0'..=b'9') = (hundreds, tens, ones) else { return Err(malformed) };
    let status = [hundreds, tens, ones].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    // Servers and proxies that know nothing of WebSocket say what is wrong in HTTP/1.0; only 1.1 can switch protocols.
    if minor != b'1' && (minor != b'0' || status < 200) {
        return Err(malformed);
    }
    let reason = match rest {
        // Without the space, too: some servers leave it out where they have no phrase.
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(malformed),
    };
    if reason.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(Refusal::malformed("a control character in the status line (RFC 9112 section 4)"));
    }
    Ok((status, reason))
}
