//! Frames of any order, with any space, and with fields that nobody asked for.

use super::reader::Reader;
use super::{Account, Fault, Notification};
use crate::codec::{Refused, Text};

/// Reads a frame.
pub(super) fn scan(frame: &[u8]) -> Result<Notification<'_>, Fault> {
    let mut reader = Reader { input: frame, at: 0 };
    notification(&mut reader).map_err(|Refused| Fault { offset: reader.at })
}

/// The kinds that are read.
#[derive(Clone, Copy)]
enum Kind {
    Account,
    Program,
    Slot,
    Root,
}

impl Kind {
    fn of(method: &[u8]) -> Option<Self> {
        match method {
            b"accountNotification" => Some(Self::Account),
            b"programNotification" => Some(Self::Program),
            b"slotNotification" => Some(Self::Slot),
            b"rootNotification" => Some(Self::Root),
            _ => None,
        }
    }
}

/// What stood under one key.
#[derive(Clone, Copy, Default)]
enum Found<T> {
    /// Nothing: there is no such key.
    #[default]
    Nothing,
    /// Something of another type.
    Else,
    One(T),
}

impl<T> Found<T> {
    fn one(self) -> Result<T, Refused> {
        match self {
            Self::One(value) => Ok(value),
            Self::Nothing | Self::Else => Err(Refused),
        }
    }

    /// Keeps what came under the key, if nothing did before: of a key that comes twice, decoders differ in which they take.
    fn put(&mut self, value: Self) -> Result<(), Refused> {
        if !matches!(self, Self::Nothing) {
            return Err(Refused);
        }
        *self = value;
        Ok(())
    }
}

/// The fields of an account.
#[derive(Clone, Copy, Default)]
struct State<'a> {
    lamports: Found<u64>,
    owner: Found<&'a [u8]>,
    data: Found<&'a [u8]>,
}

/// The fields of `value`: of an account that was subscribed to by its address, or by its program.
#[derive(Clone, Copy, Default)]
struct Value<'a> {
    state: State<'a>,
    pubkey: Found<Text<'a>>,
    account: Found<State<'a>>,
}

/// `result`, of whatever kind: its fields, or the number that it is.
#[derive(Clone, Copy, Default)]
struct Outcome<'a> {
    number: Found<u64>,
    context: Found<Found<u64>>,
    value: Found<Value<'a>>,
    slot: Found<u64>,
    parent: Found<u64>,
    root: Found<u64>,
}

#[derive(Clone, Copy, Default)]
struct Params<'a> {
    result: Found<Outcome<'a>>,
    subscription: Found<u64>,
}

fn notification<'a>(reader: &mut Reader<'a>) -> Result<Notification<'a>, Refused> {
    let mut kind = Found::Nothing;
    let mut params = Found::Nothing;
    reader.skip_space();
    let mut is_first = true;
    reader.take(b"{")?;
    while let Some(key) = next_key(reader, &mut is_first)? {
        match key {
            b"method" => {
                let method = text(reader)?;
                let Found::One(method) = method else { return Ok(Notification::Other) };
                let Some(known) = Kind::of(method.bytes) else { return Ok(Notification::Other) };
                kind.put(Found::One(known))?;
            }
            b"params" => params.put(object(reader, parameter)?)?,
            _ => reader.skip_value()?,
        }
    }
    reader.end()?;
    let Found::One(kind) = kind else { return Ok(Notification::Other) };
    finish(kind, params.one()?)
}

/// Puts together what a kind asks for.
fn finish<'a>(kind: Kind, params: Params<'a>) -> Result<Notification<'a>, Refused> {
    let subscription = params.subscription.one()?;
    let fields = params.result.one()?;
    if let Kind::Root = kind {
        return Ok(Notification::Root { subscription, root: fields.number.one()? });
    }
    if let Kind::Slot = kind {
        let (slot, parent, root) = (fields.slot.one()?, fields.parent.one()?, fields.root.one()?);
        return Ok(Notification::Slot { subscription, slot, parent, root });
    }
    let slot = fields.context.one()?.one()?;
    let value = fields.value.one()?;
    let account = |state: State<'a>| {
        let lamports = state.lamports.one()?;
        Ok(Account { slot, lamports, owner: state.owner.one().ok(), data: state.data.one().ok() })
    };
    if let Kind::Program = kind {
        let pubkey = value.pubkey.one()?;
        return Ok(Notification::Program { subscription, pubkey, account: account(value.account.one()?)? });
    }
    Ok(Notification::Account { subscription, account: account(value.state)? })
}

fn parameter<'a>(reader: &mut Reader<'a>, key: &[u8], params: &mut Params<'a>) -> Result<(), Refused> {
    match key {
        b"subscription" => params.subscription.put(unsigned(reader)?),
        b"result" => params.result.put(if let Some(b'0'..=b'9') = reader.byte() {
            Found::One(Outcome { number: unsigned(reader)?, ..Outcome::default() })
        } else {
            object(reader, outcome)?
        }),
        _ => reader.skip_value(),
    }
}

fn outcome<'a>(reader: &mut Reader<'a>, key: &[u8], fields: &mut Outcome<'a>) -> Result<(), Refused> {
    match key {
        b"context" => fields.context.put(object(reader, context)?),
        b"value" => fields.value.put(if null(reader) {
            Found::One(Value { state: GONE, ..Value::default() })
        } else {
            object(reader, value)?
        }),
        b"slot" => fields.slot.put(unsigned(reader)?),
        b"parent" => fields.parent.put(unsigned(reader)?),
        b"root" => fields.root.put(unsigned(reader)?),
        _ => reader.skip_value(),
    }
}

fn context(reader: &mut Reader<'_>, key: &[u8], slot: &mut Found<u64>) -> Result<(), Refused> {
    match key {
        b"slot" => slot.put(unsigned(reader)?),
        _ => reader.skip_value(),
    }
}

fn value<'a>(reader: &mut Reader<'a>, key: &[u8], fields: &mut Value<'a>) -> Result<(), Refused> {
    match key {
        b"pubkey" => fields.pubkey.put(text(reader)?),
        b"account" => fields.account.put(if null(reader) { Found::One(GONE) } else { object(reader, state)? }),
        _ => state(reader, key, &mut fields.state),
    }
}

fn state<'a>(reader: &mut Reader<'a>, key: &[u8], fields: &mut State<'a>) -> Result<(), Refused> {
    match key {
        b"lamports" => fields.lamports.put(unsigned(reader)?),
        b"owner" if reader.take(b"\"").is_ok() => {
            fields.owner.put(reader.rest_of_text()?.map_or(Found::Else, Found::One))
        }
        b"owner" => {
            reader.skip_value()?;
            fields.owner.put(Found::Else)
        }
        b"data" => {
            let start = reader.at;
            reader.skip_value()?;
            fields.data.put(reader.input.get(start..reader.at).map_or(Found::Else, Found::One))
        }
        _ => reader.skip_value(),
    }
}

/// An account that is no more.
const GONE: State<'static> = State { lamports: Found::One(0), owner: Found::Nothing, data: Found::Nothing };

/// The next key of an object, without escapes, and the way to its value; None at the object's end.
fn next_key<'a>(reader: &mut Reader<'a>, is_first: &mut bool) -> Result<Option<&'a [u8]>, Refused> {
    reader.skip_space();
    if reader.take(b"}").is_ok() {
        return Ok(None);
    }
    if !*is_first {
        reader.take(b",")?;
        reader.skip_space();
    }
    *is_first = false;
    reader.take(b"\"")?;
    let key = reader.rest_of_name()?;
    reader.skip_space();
    reader.take(b":")?;
    reader.skip_space();
    Ok(Some(key.bytes))
}

/// Reads an object by what `field` makes of each of its keys; anything else is stepped over.
fn object<'a, T: Default>(
    reader: &mut Reader<'a>,
    mut field: impl FnMut(&mut Reader<'a>, &[u8], &mut T) -> Result<(), Refused>,
) -> Result<Found<T>, Refused> {
    if reader.take(b"{").is_err() {
        reader.skip_value()?;
        return Ok(Found::Else);
    }
    let mut fields = T::default();
    let mut is_first = true;
    while let Some(key) = next_key(reader, &mut is_first)? {
        field(reader, key, &mut fields)?;
    }
    Ok(Found::One(fields))
}

/// Reads an integer of 64 bits without sign, fraction or exponent; anything else is stepped over.
fn unsigned(reader: &mut Reader<'_>) -> Result<Found<u64>, Refused> {
    match reader.unsigned() {
        Ok(value) => Ok(Found::One(value)),
        Err(Refused) => reader.skip_value().map(|()| Found::Else),
    }
}

/// Reads a text without escapes, all of it ASCII; anything else is stepped over.
fn text<'a>(reader: &mut Reader<'a>) -> Result<Found<Text<'a>>, Refused> {
    let start = reader.at;
    if reader.take(b"\"").is_ok()
        && let Ok(text) = reader.rest_of_name()
    {
        return Ok(Found::One(text));
    }
    reader.at = start;
    reader.skip_value().map(|()| Found::Else)
}

/// Steps over null, if that stands there.
fn null(reader: &mut Reader<'_>) -> bool {
    reader.take(b"null").is_ok()
}
