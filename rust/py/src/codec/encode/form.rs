//! What JSON and MessagePack look like to the walk over a message.

use websocket_utils_core::codec::{Append, json, msgpack};

use super::super::Format;
use super::cursor::Cursor;

/// One of the formats that are written value by value, as the values come.
pub(super) trait Form {
    const FORMAT: Format;

    fn null(out: &mut Cursor<'_>);
    fn boolean(out: &mut Cursor<'_>, value: bool);
    fn signed(out: &mut Cursor<'_>, value: i64);
    fn unsigned(out: &mut Cursor<'_>, value: u64);
    fn float(out: &mut Cursor<'_>, value: f64);
    fn text(out: &mut Cursor<'_>, text: &str);
    fn bytes(out: &mut Cursor<'_>, bytes: &[u8]);

    fn open_array(out: &mut Cursor<'_>, size: usize);
    fn close_array(out: &mut Cursor<'_>);
    fn open_map(out: &mut Cursor<'_>, size: usize);
    fn close_map(out: &mut Cursor<'_>);
    /// Between two items or entries.
    fn next(out: &mut Cursor<'_>);
    /// Between a key and its value.
    fn after_key(out: &mut Cursor<'_>);

    /// Writes an integer as a map's key, if the format takes any value for one or has a form for it.
    fn integer_key(out: &mut Cursor<'_>, value: i64);
    /// True if any value may be a map's key as it is.
    const HAS_ANY_KEY: bool;

    /// Corrects a map's head at `start` that said `size` entries: fewer were written.
    fn correct_map(out: &mut Cursor<'_>, start: usize, size: usize, written: usize);
}

pub(super) struct Json;

impl Form for Json {
    const FORMAT: Format = Format::Json;
    const HAS_ANY_KEY: bool = false;

    #[inline]
    fn null(out: &mut Cursor<'_>) {
        json::write_null(out);
    }
    #[inline]
    fn boolean(out: &mut Cursor<'_>, value: bool) {
        json::write_boolean(out, value);
    }
    #[inline]
    fn signed(out: &mut Cursor<'_>, value: i64) {
        json::write_signed(out, value);
    }
    #[inline]
    fn unsigned(out: &mut Cursor<'_>, value: u64) {
        json::write_unsigned(out, value);
    }
    #[inline]
    fn float(out: &mut Cursor<'_>, value: f64) {
        json::write_float(out, value);
    }
    #[inline]
    fn text(out: &mut Cursor<'_>, text: &str) {
        json::write_text(out, text);
    }
    fn bytes(out: &mut Cursor<'_>, bytes: &[u8]) {
        out.reserve(bytes.len().div_ceil(3) * 4 + 2);
        json::write_bytes(out, bytes);
    }
    #[inline]
    fn open_array(out: &mut Cursor<'_>, _size: usize) {
        out.append_byte(b'[');
    }
    #[inline]
    fn close_array(out: &mut Cursor<'_>) {
        out.append_byte(b']');
    }
    #[inline]
    fn open_map(out: &mut Cursor<'_>, _size: usize) {
        out.append_byte(b'{');
    }
    #[inline]
    fn close_map(out: &mut Cursor<'_>) {
        out.append_byte(b'}');
    }
    #[inline]
    fn next(out: &mut Cursor<'_>) {
        out.append_byte(b',');
    }
    #[inline]
    fn after_key(out: &mut Cursor<'_>) {
        out.append_byte(b':');
    }
    fn integer_key(out: &mut Cursor<'_>, value: i64) {
        out.append_byte(b'"');
        json::write_signed(out, value);
        out.append_byte(b'"');
    }
    fn correct_map(_out: &mut Cursor<'_>, _start: usize, _size: usize, _written: usize) {}
}

pub(super) struct MessagePack;

impl Form for MessagePack {
    const FORMAT: Format = Format::MessagePack;
    const HAS_ANY_KEY: bool = true;

    #[inline]
    fn null(out: &mut Cursor<'_>) {
        msgpack::write_null(out);
    }
    #[inline]
    fn boolean(out: &mut Cursor<'_>, value: bool) {
        msgpack::write_boolean(out, value);
    }
    #[inline]
    fn signed(out: &mut Cursor<'_>, value: i64) {
        msgpack::write_signed(out, value);
    }
    #[inline]
    fn unsigned(out: &mut Cursor<'_>, value: u64) {
        msgpack::write_unsigned(out, value);
    }
    #[inline]
    fn float(out: &mut Cursor<'_>, value: f64) {
        msgpack::write_float(out, value);
    }
    #[inline]
    fn text(out: &mut Cursor<'_>, text: &str) {
        msgpack::write_text(out, text);
    }
    fn bytes(out: &mut Cursor<'_>, bytes: &[u8]) {
        msgpack::write_bytes(out, bytes);
    }
    #[inline]
    fn open_array(out: &mut Cursor<'_>, size: usize) {
        msgpack::write_array_header(out, size);
    }
    #[inline]
    fn close_array(_out: &mut Cursor<'_>) {}
    #[inline]
    fn open_map(out: &mut Cursor<'_>, size: usize) {
        msgpack::write_map_header(out, size);
    }
    #[inline]
    fn close_map(_out: &mut Cursor<'_>) {}
    #[inline]
    fn next(_out: &mut Cursor<'_>) {}
    #[inline]
    fn after_key(_out: &mut Cursor<'_>) {}
    fn integer_key(out: &mut Cursor<'_>, value: i64) {
        msgpack::write_signed(out, value);
    }

    /// The head keeps its length, as msgspec has it: what follows stays where it is.
    fn correct_map(out: &mut Cursor<'_>, start: usize, size: usize, written: usize) {
        let head = out.written_from(start);
        match size {
            ..16 => head[0] = 0x80 | written as u8,
            16..=0xffff => head[1..3].copy_from_slice(&(written as u16).to_be_bytes()),
            _ => head[1..5].copy_from_slice(&(written as u32).to_be_bytes()),
        }
    }
}
