//! What can be wrong with a payload.

use std::fmt;

use super::super::MAX_DEPTH;

/// Why a payload can't be decoded, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset in the payload.
    pub offset: usize,
    /// The way to the value at fault: `.orders[2].price`, empty for the message itself.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The payload, or the message or packed list that the value is part of, ends within the value.
    Truncated,
    /// A number is longer than the format allows.
    LongVarint,
    /// What should be a field's key is none: number 0 or over 2**29 - 1, or wire type 6 or 7.
    BadKey,
    /// A group ends that did not begin, or the one that began does not end.
    UnevenGroup,
    /// Nested deeper than [`MAX_DEPTH`] levels.
    TooDeep,
    /// Text is not UTF-8.
    NotUtf8,
    /// A field that the class does not have and does not ignore.
    UnknownField(u32),
    /// A tag other than those accepted.
    WrongTag(String),
    /// No tag, where only the tag can say which class it is.
    NoTag,
    /// A field that must be there is not.
    Missing,
    /// None of the members of a union is there.
    NoMember,
    /// So many items, instead of so many.
    WrongLength {
        /// How many it should have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// Not one of the values of a choice.
    NotChosen {
        /// The choice's number, which the sink knows.
        choice: usize,
        /// What came.
        got: String,
    },
    /// The sink refused the value.
    Refused,
}

impl Malformed {
    pub(super) const fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, path: String::new(), problem }
    }

    /// The same, in field `name` of what is being read.
    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.path = format!(".{name}{}", self.path);
        self
    }

    /// The same, in item `index`.
    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.path = format!("[{index}]{}", self.path);
        self
    }

    /// The same, in some value of a table.
    pub(super) fn in_table(mut self) -> Self {
        self.path = format!("[...]{}", self.path);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => formatter.write_str("the input ends within a value"),
            Self::LongVarint => formatter.write_str("a number has more bytes than it may have"),
            Self::BadKey => formatter.write_str("not the key of a field"),
            Self::UnevenGroup => formatter.write_str("a group without its other end"),
            Self::TooDeep => write!(formatter, "nested deeper than {MAX_DEPTH} levels"),
            Self::NotUtf8 => formatter.write_str("text is not UTF-8"),
            Self::UnknownField(number) => write!(formatter, "unknown field with number {number}"),
            Self::WrongTag(tag) => write!(formatter, "unknown tag {tag:?}"),
            Self::NoTag => formatter.write_str("no tag says which class this is"),
            Self::Missing => formatter.write_str("missing required field"),
            Self::NoMember => formatter.write_str("no member of the union is there"),
            Self::WrongLength { expected, got } => write!(formatter, "expected {expected} items, got {got}"),
            Self::NotChosen { got, .. } => write!(formatter, "not one of the values of this field: {got}"),
            Self::Refused => formatter.write_str("not a value of this field"),
        }
    }
}
