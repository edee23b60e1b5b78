//! JSON (RFC 8259).

mod digits;
mod in_order;
mod number;
mod peek;
mod scan;
mod text;
mod write;

pub use peek::{peek_tag, tag_spans, too_deep};
pub use scan::decode;
pub use write::{key, write_boolean, write_bytes, write_float, write_null, write_signed, write_text, write_unsigned};
