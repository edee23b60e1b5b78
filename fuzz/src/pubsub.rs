//! Frames of Solana's PubSub, as a node sends them.

use std::ops::Range;

use websocket_utils_core::pubsub::{Account, Notification, scan};

/// What is read of a frame is what a plain reader of JSON finds in it; the order of its members changes nothing.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let read = scan(data);
    let found = Plain { input: data, at: 0 }.frame();
    if let Ok(Notification::Other) = read {
        // Not read further than to know that.
        return;
    }
    let Some(members) = found else {
        assert!(read.is_err(), "it is no JSON: {read:?}");
        return;
    };
    if let Ok(notification) = read {
        assert_eq!(Some(notification), plainly(data, &members), "a field is another one");
    }
    if let Some(reversed) = reversed(data) {
        // A method that is another's, met first, ends the reading: with nothing that could be compared, as a fault does.
        let known = |read: Result<Notification<'_>, _>| read.ok().map(|read| numbers(&read)).unwrap_or_default();
        assert_eq!(known(scan(&reversed)), known(read), "{}", String::from_utf8_lossy(&reversed));
    }
}

/// The numbers of a notification, whatever bytes it points to.
fn numbers(notification: &Notification<'_>) -> Vec<u64> {
    let of = |kind, subscription, account: &Account<'_>| vec![kind, subscription, account.slot, account.lamports];
    match notification {
        Notification::Account { subscription, account } => of(1, *subscription, account),
        Notification::Program { subscription, account, .. } => of(2, *subscription, account),
        Notification::Slot { subscription, slot, parent, root } => vec![3, *subscription, *slot, *parent, *root],
        Notification::Root { subscription, root } => vec![4, *subscription, *root],
        Notification::Other => Vec::new(),
    }
}

/// The frame with the members of its outermost object the other way round, if that is one.
fn reversed(data: &[u8]) -> Option<Vec<u8>> {
    let members = Plain { input: data, at: 0 }.frame()?;
    let written: Vec<&[u8]> = members.iter().rev().map(|member| &data[member.key.start..member.value.end]).collect();
    Some([b"{", written.join(&b","[..]).as_slice(), b"}"].concat())
}

/// A member of an object: where its key stands, quotes included, and where its value.
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// A reader that knows no shape, takes nothing for granted and looks at every byte alone.
struct Plain<'a> {
    input: &'a [u8],
    at: usize,
}

impl Plain<'_> {
    fn frame(mut self) -> Option<Vec<Member>> {
        self.space();
        let members = self.object(0)?;
        self.space();
        (self.at == self.input.len()).then_some(members)
    }

    fn byte(&self) -> u8 {
        self.input.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn take(&mut self, text: &[u8]) -> Option<()> {
        let stands = self.input[self.at..].starts_with(text);
        self.at += text.len();
        stands.then_some(())
    }

    fn object(&mut self, depth: usize) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.take(b"{")?;
        self.space();
        if self.byte() == b'}' {
            self.at += 1;
            return Some(members);
        }
        loop {
            self.space();
            let start = self.at;
            self.text()?;
            let key = start..self.at;
            self.space();
            self.take(b":")?;
            self.space();
            let start = self.at;
            self.value(depth)?;
            members.push(Member { key, value: start..self.at });
            self.space();
            self.at += 1;
            match self.input.get(self.at - 1)? {
                b',' => {}
                b'}' => return Some(members),
                _ => return None,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.byte() {
            b'"' => self.text(),
            b't' => self.take(b"true"),
            b'f' => self.take(b"false"),
            b'n' => self.take(b"null"),
            // Deeper than the reader under test follows anything: a stack ends somewhere.
            b'{' | b'[' if depth > 200 => None,
            b'{' => self.object(depth + 1).map(|_| ()),
            b'[' => {
                self.at += 1;
                self.space();
                if self.byte() == b']' {
                    return self.take(b"]");
                }
                loop {
                    self.space();
                    self.value(depth + 1)?;
                    self.space();
                    self.at += 1;
                    match self.input.get(self.at - 1)? {
                        b',' => {}
                        b']' => return Some(()),
                        _ => return None,
                    }
                }
            }
            _ => self.number(),
        }
    }

    fn text(&mut self) -> Option<()> {
        self.take(b"\"")?;
        let start = self.at;
        loop {
            let byte = *self.input.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return str::from_utf8(&self.input[start..self.at - 1]).ok().map(|_| ()),
                b'\\' => {
                    let escaped = *self.input.get(self.at)?;
                    self.at += 1;
                    if escaped == b'u' {
                        let digits = self.input.get(self.at..self.at + 4)?;
                        self.at += 4;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    } else {
                        b"\"\\/bfnrt".contains(&escaped).then_some(())?;
                    }
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.byte(), b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        let text = str::from_utf8(&self.input[start..self.at]).ok()?;
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let is_whole = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
        (is_whole && is_digits(fraction) && is_digits(exponent)).then_some(())
    }
}

/// What a frame says, field by field.
fn plainly<'a>(data: &'a [u8], members: &[Member]) -> Option<Notification<'a>> {
    let method = text(data, member(data, members, "method")?)?;
    let params = object(data, member(data, members, "params")?)?;
    let subscription = unsigned(data, member(data, &params, "subscription")?)?;
    let result = member(data, &params, "result")?;
    if method == b"rootNotification" {
        return Some(Notification::Root { subscription, root: unsigned(data, result)? });
    }
    let result = object(data, result)?;
    if method == b"slotNotification" {
        let number = |name| unsigned(data, member(data, &result, name)?);
        let (slot, parent, root) = (number("slot")?, number("parent")?, number("root")?);
        return Some(Notification::Slot { subscription, slot, parent, root });
    }
    let context = object(data, member(data, &result, "context")?)?;
    let slot = unsigned(data, member(data, &context, "slot")?)?;
    let value = member(data, &result, "value")?;
    if method == b"accountNotification" {
        return Some(Notification::Account { subscription, account: account(data, slot, value)? });
    }
    let value = object(data, value)?;
    let pubkey = text(data, member(data, &value, "pubkey")?)?;
    let account = account(data, slot, member(data, &value, "account")?)?;
    let pubkey = websocket_utils_core::pubsub::Text::new(pubkey);
    (method == b"programNotification").then_some(Notification::Program { subscription, pubkey, account })
}

fn account(data: &[u8], slot: u64, value: Range<usize>) -> Option<Account<'_>> {
    if &data[value.clone()] == b"null" {
        return Some(Account { slot, lamports: 0, owner: None, data: None });
    }
    let members = object(data, value)?;
    Some(Account {
        slot,
        lamports: unsigned(data, member(data, &members, "lamports")?)?,
        owner: member(data, &members, "owner").and_then(|owner| text(data, owner)),
        data: member(data, &members, "data").map(|place| &data[place]),
    })
}

/// The value of the only member of that name.
fn member(data: &[u8], members: &[Member], name: &str) -> Option<Range<usize>> {
    let mut found = members.iter().filter(|member| data[member.key.start + 1..member.key.end - 1] == *name.as_bytes());
    let member = found.next()?;
    found.next().is_none().then(|| member.value.clone())
}

fn object(data: &[u8], place: Range<usize>) -> Option<Vec<Member>> {
    // Where its members stand in the whole frame.
    let mut reader = Plain { input: &data[..place.end], at: place.start };
    reader.object(0)
}

fn unsigned(data: &[u8], place: Range<usize>) -> Option<u64> {
    let text = str::from_utf8(&data[place]).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A text without escapes, of ASCII alone.
fn text(data: &[u8], place: Range<usize>) -> Option<&[u8]> {
    let text = data[place].strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (text.is_ascii() && !text.contains(&b'\\')).then_some(text)
}
