//! JSON (RFC 8259).

mod base64;
mod digits;
mod escape;
pub(crate) mod number;
mod peek;
pub(crate) mod plain;
mod scan;
mod sequences;
mod skip;
mod write;

pub use peek::{locate, peek_tag, tag_spans, too_deep};
pub use scan::decode;
pub use write::{key, write_boolean, write_bytes, write_float, write_null, write_signed, write_text, write_unsigned};
