//! Fields with values as they mostly are: short text, floats, integers of at most 56 bits.

use pyo3::ffi;
use websocket_utils_core::codec::protobuf::{Key, short};

use super::layout::{Field, Presence, Quick};

/// Appends a field, or nothing if its value is zero and stands for nothing; false if the value is otherwise than expected,
/// and nothing was done.
///
/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
pub(super) unsafe fn write_quickly(field: &Field, quick: Quick, value: *mut ffi::PyObject, out: &mut Vec<u8>) -> bool {
    // SAFETY: the caller's contract; each look inside follows a check of the exact type, and none runs Python code.
    unsafe {
        let type_ = ffi::Py_TYPE(value);
        match quick {
            Quick::Text => {
                if type_ != &raw mut ffi::PyUnicode_Type || ffi::PyUnicode_IS_COMPACT_ASCII(value) == 0 {
                    return false;
                }
                let length = ffi::PyUnicode_GET_LENGTH(value) as usize;
                if length >= 0x80 {
                    return false;
                }
                if length > 0 || field.presence != Presence::Zero {
                    let bytes = std::slice::from_raw_parts(ffi::PyUnicode_DATA(value).cast::<u8>(), length);
                    append_text(field.key, bytes, out);
                }
            }
            Quick::Double => {
                if type_ != &raw mut ffi::PyFloat_Type {
                    return false;
                }
                let bits = ffi::PyFloat_AS_DOUBLE(value).to_bits();
                if bits != 0 || field.presence != Presence::Zero {
                    append_number(field.key, bits.to_le_bytes(), 8, out);
                }
            }
            Quick::Signed | Quick::Unsigned => {
                if type_ != &raw mut ffi::PyLong_Type {
                    return false;
                }
                let mut overflow = 0;
                let integer = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
                // Negative ones are long.
                let Some((bytes, length)) = u64::try_from(integer).ok().and_then(short) else { return false };
                if overflow != 0 {
                    return false;
                }
                if integer != 0 || field.presence != Presence::Zero {
                    append_number(field.key, bytes, length, out);
                }
            }
        }
    }
    true
}

/// Appends a key and the first `length` of eight bytes.
#[inline]
fn append_number(key: Key, bytes: [u8; 8], length: usize, out: &mut Vec<u8>) {
    out.reserve(16);
    // SAFETY: there is room for 16 bytes, of which the key has at most five and the number at most eight.
    unsafe {
        let end = out.as_mut_ptr().add(out.len());
        end.cast::<[u8; 8]>().write(key.bytes);
        end.add(key.length).cast::<[u8; 8]>().write(bytes);
        out.set_len(out.len() + key.length + length);
    }
}

/// Appends a key and a text of less than 128 bytes behind its length.
#[inline]
fn append_text(key: Key, text: &[u8], out: &mut Vec<u8>) {
    out.reserve(16 + text.len());
    // SAFETY: there is room for key, length and text; the key has at most five bytes, so that the length is among eight.
    unsafe {
        let end = out.as_mut_ptr().add(out.len());
        end.cast::<[u8; 8]>().write(key.bytes);
        end.add(key.length).write(text.len() as u8);
        copy(text, end.add(key.length + 1));
        out.set_len(out.len() + key.length + 1 + text.len());
    }
}

/// Copies a text in pieces of 16 bytes, the last of which overlaps the one before: a call of memcpy would cost more.
///
/// # Safety
/// There is room for the text at `target`.
#[inline]
unsafe fn copy(text: &[u8], target: *mut u8) {
    // SAFETY: each piece lies within the text, and at the same place within the room for it.
    unsafe {
        let Some(last) = text.last_chunk::<16>() else {
            target.copy_from_nonoverlapping(text.as_ptr(), text.len());
            return;
        };
        for (index, piece) in text.as_chunks::<16>().0.iter().enumerate() {
            target.add(index * 16).cast::<[u8; 16]>().write(*piece);
        }
        target.add(text.len() - 16).cast::<[u8; 16]>().write(*last);
    }
}
