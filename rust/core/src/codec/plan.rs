//! What a message class looks like on the wire.

use super::json;
use super::msgpack;

/// The types of value that a place accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts(u8);

impl Accepts {
    /// Null.
    pub const NULL: Self = Self(1);
    /// True and false.
    pub const BOOL: Self = Self(2);
    /// Integers.
    pub const INT: Self = Self(4);
    /// Floats, and integers where [`Accepts::INT`] is not given too.
    pub const FLOAT: Self = Self(8);
    /// Text.
    pub const TEXT: Self = Self(16);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if every type of `other` is accepted.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The shape of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Scalars that are accepted.
    pub scalars: Accepts,
    /// Shape of the items, where a list is accepted.
    pub items: Option<Box<Shape>>,
}

/// Bytes that are expected next, in a form that compares 16 of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    bytes: Box<[u8]>,
    first: u128,
    first_mask: u128,
}

/// Bytes of the first compare: most keys with their quotes, comma and colon.
const WINDOW: usize = size_of::<u128>();

impl Expected {
    /// Prepares `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut first = [0; WINDOW];
        let mut mask = [0; WINDOW];
        let head = bytes.len().min(WINDOW);
        first[..head].copy_from_slice(&bytes[..head]);
        mask[..head].fill(u8::MAX);
        Self { first: u128::from_le_bytes(first), first_mask: u128::from_le_bytes(mask), bytes: bytes.into() }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their number.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True if the bytes stand in `input` at `at`.
    #[inline]
    #[must_use]
    pub fn begins_at(&self, input: &[u8], at: usize) -> bool {
        input.get(at..).is_some_and(|rest| self.begins(rest))
    }

    /// True if `input` begins with the bytes.
    #[inline]
    #[must_use]
    pub fn begins(&self, input: &[u8]) -> bool {
        // A call of memcmp costs more than the compare of a key.
        let Some(window) = input.first_chunk::<WINDOW>() else {
            return input.starts_with(&self.bytes);
        };
        if (u128::from_le_bytes(*window) ^ self.first) & self.first_mask != 0 {
            return false;
        }
        self.bytes.len() <= WINDOW || input.starts_with(&self.bytes)
    }
}

/// What a value mostly is, where that is one thing: decided once for each field, not for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Other,
}

impl Shape {
    fn kind(&self) -> Kind {
        let is = |what| self.items.is_none() && self.scalars == what;
        if is(Accepts::TEXT) || is(Accepts::TEXT.with(Accepts::NULL)) {
            Kind::Text
        } else if is(Accepts::INT) || is(Accepts::INT.with(Accepts::NULL)) {
            Kind::Int
        } else if is(Accepts::FLOAT) || is(Accepts::FLOAT.with(Accepts::NULL)) {
            Kind::Float
        } else {
            Kind::Other
        }
    }
}

/// One field of a class.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name on the wire.
    pub name: Box<str>,
    /// What its value may be.
    pub shape: Shape,
    pub(super) kind: Kind,
    /// `"name":`
    pub(super) json_key: Expected,
    /// `,"name":`
    pub(super) json_next_key: Expected,
    /// The name as MessagePack text.
    pub(super) msgpack_key: Expected,
}

impl Field {
    /// A field called `name` on the wire.
    #[must_use]
    pub fn new(name: &str, shape: Shape) -> Self {
        let json_key = json::key(name);
        let mut next = vec![b','];
        next.extend_from_slice(&json_key);
        Self {
            name: name.into(),
            kind: shape.kind(),
            shape,
            json_key: Expected::new(&json_key),
            json_next_key: Expected::new(&next),
            msgpack_key: Expected::new(&msgpack::key(name)),
        }
    }
}

/// The field that holds the tag of a group of classes.
#[derive(Clone, Debug)]
pub struct TagField {
    /// Its name.
    pub name: Box<str>,
    /// `"type":`
    pub(super) json_key: Expected,
    /// The name as MessagePack text.
    pub(super) msgpack_key: Expected,
}

impl TagField {
    /// A tag field called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            json_key: Expected::new(&json::key(name)),
            msgpack_key: Expected::new(&msgpack::key(name)),
        }
    }
}

/// How a class is told from others.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Name of the field that holds the tag.
    pub field: Box<str>,
    /// The tag, as it is written.
    pub value: Box<str>,
    /// The other spelling that is read: `price_update` for `PriceUpdate`.
    pub alias: Option<Box<str>>,
    /// `"type":"PriceUpdate"` and `"type":"price_update"`.
    pub(super) json_heads: [Expected; 2],
    pub(super) msgpack_heads: [Expected; 2],
}

impl Tag {
    /// A tag `value` in field `field`, read in the spelling `alias` too.
    #[must_use]
    pub fn new(field: &str, value: &str, alias: Option<&str>) -> Self {
        let json_head = |value: &str| {
            let mut head = json::key(field);
            json::write_text(&mut head, value);
            Expected::new(&head)
        };
        let msgpack_head = |value: &str| {
            let mut head = Vec::new();
            msgpack::write_text(&mut head, field);
            msgpack::write_text(&mut head, value);
            Expected::new(&head)
        };
        let other = alias.unwrap_or(value);
        Self {
            field: field.into(),
            value: value.into(),
            alias: alias.map(Into::into),
            json_heads: [json_head(value), json_head(other)],
            msgpack_heads: [msgpack_head(value), msgpack_head(other)],
        }
    }

    /// True if a JSON payload begins with this tag, as most do: no space, the tag first, in its own spelling.
    #[inline]
    #[must_use]
    pub fn leads_json(&self, input: &[u8]) -> bool {
        matches!(input.split_first(), Some((b'{', rest)) if self.json_heads[0].begins(rest))
    }

    /// True if a MessagePack payload begins with this tag: a short map, the tag first, in its own spelling.
    #[inline]
    #[must_use]
    pub fn leads_msgpack(&self, input: &[u8]) -> bool {
        matches!(input.split_first(), Some((0x81..=0x8f, rest)) if self.msgpack_heads[0].begins(rest))
    }

    /// True if `tag` is this tag in either spelling.
    #[inline]
    #[must_use]
    pub fn is(&self, tag: &[u8]) -> bool {
        self.value.as_bytes() == tag || self.alias.as_ref().is_some_and(|alias| alias.as_bytes() == tag)
    }
}

/// A message class.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tag, of a tagged class. It may be missing from a payload: the caller asked for this class.
    pub tag: Option<Tag>,
    /// The fields, in the order in which they are written, and so the order to expect.
    pub fields: Box<[Field]>,
    /// True if a field that the class doesn't have is a fault, not skipped.
    pub forbids_unknown: bool,
}

impl Plan {
    /// Index of the field called `name`, looked for from `hint` on: fields mostly come in order.
    #[inline]
    pub(super) fn find(&self, name: &[u8], hint: usize) -> Option<usize> {
        let hint = hint.min(self.fields.len());
        let (before, after) = self.fields.split_at(hint);
        let position = |fields: &[Field]| fields.iter().position(|field| field.name.as_bytes() == name);
        position(after).map(|index| index + hint).or_else(|| position(before))
    }

    /// True if `name` is the field that holds the tag.
    #[inline]
    pub(super) fn is_tag_field(&self, name: &[u8]) -> bool {
        self.tag.as_ref().is_some_and(|tag| tag.field.as_bytes() == name)
    }
}

/// The spelling in snake case of a class name: `PriceUpdate` is `price_update`, `HTTPReply` is `http_reply`,
/// `L2Book` is `l2_book`. None if that is the name itself.
#[must_use]
pub fn snake_case(name: &str) -> Option<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && index > 0 {
            let before = letters[index - 1];
            let starts_word = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
            if before != '_' && (!before.is_uppercase() || starts_word) {
                snake.push('_');
            }
        }
        snake.extend(letter.to_lowercase());
    }
    (snake != name).then_some(snake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_of_class_names() {
        for (name, snake) in [
            ("PriceUpdate", "price_update"),
            ("Ping", "ping"),
            ("HTTPReply", "http_reply"),
            ("L2Book", "l2_book"),
            ("Fill_Report", "fill_report"),
        ] {
            assert_eq!(snake_case(name).as_deref(), Some(snake));
            assert_eq!(snake_case(snake), None);
        }
    }

    #[test]
    fn expected_bytes_compare_like_starts_with() {
        let text = b"0123456789abcdefghijklmnop";
        for length in 0..text.len() {
            let expected = Expected::new(&text[..length]);
            for cut in 0..text.len() {
                assert_eq!(expected.begins(&text[..cut]), text[..cut].starts_with(&text[..length]));
                let mut other = text.to_vec();
                other[cut] = b'!';
                assert_eq!(expected.begins(&other), other.starts_with(&text[..length]));
            }
        }
    }
}
