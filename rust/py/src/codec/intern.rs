//! Text objects, short ones shared: symbols, mints and channels come again and again.

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};

use pyo3::ffi;
use websocket_utils_core::codec::Text;

/// Longest shared text: covers symbols, base58 keys (44) and hex digests (64); longer text rarely repeats.
const MAX_SHARED: usize = 64;

/// Number of entries, a power of two: 64 KiB of table, at most 0.5 MiB of texts.
const ENTRIES: usize = 4096;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    /// An exact, compact ASCII `str` that this table owns a reference to, or null.
    text: *mut ffi::PyObject,
}

/// Direct-mapped: a new text takes the place of the one that hashes alike, so nothing grows and nothing is searched.
struct Table(UnsafeCell<[Entry; ENTRIES]>);

// SAFETY: every access is in `text`, whose contract is to be called with the GIL held (the module declares that it
// needs the GIL), and which neither runs Python code nor lets the GIL go while it touches the table.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Entry { hash: 0, text: ptr::null_mut() }; ENTRIES]));

/// A new reference to a `str` of these ASCII bytes; None (with Python's exception set) if there is no memory.
///
/// # Safety
/// The GIL is held, and the text is ASCII.
#[inline]
pub(super) unsafe fn ascii(text: Text<'_>) -> Option<NonNull<ffi::PyObject>> {
    let (bytes, hash) = (text.bytes, text.hash);
    // Of no bytes or too many: one compare.
    if bytes.len().wrapping_sub(1) >= MAX_SHARED {
        // SAFETY: the caller's contract is the same.
        return unsafe { new_ascii(bytes) };
    }
    // SAFETY: the index is below ENTRIES by the shift, and the GIL makes this the only access (see `Table`).
    let entry = unsafe { &mut (*TABLE.0.get())[(hash >> (64 - ENTRIES.trailing_zeros())) as usize] };
    if entry.hash == hash
        && let Some(known) = NonNull::new(entry.text)
    {
        // SAFETY: the entry holds a compact ASCII string; its bytes are not written to after `new_ascii`.
        let text = unsafe {
            let length = ffi::PyUnicode_GET_LENGTH(known.as_ptr()) as usize;
            std::slice::from_raw_parts(ascii_data(known.as_ptr()), length)
        };
        if is_same(text, bytes) {
            // SAFETY: the object is alive: the table owns a reference.
            unsafe { ffi::Py_INCREF(known.as_ptr()) };
            return Some(known);
        }
    }
    // SAFETY: the caller's contract is the same.
    unsafe { remember(entry, text) }
}

/// Makes a text and puts it into its place in the table.
///
/// # Safety
/// As [`ascii`].
#[cold]
unsafe fn remember(entry: &mut Entry, text: Text<'_>) -> Option<NonNull<ffi::PyObject>> {
    // SAFETY: the caller's contract is the same. Allocating a string runs no Python code: strings are not collected.
    let made = unsafe { new_ascii(text.bytes) }?;
    let replaced = std::mem::replace(entry, Entry { hash: text.hash, text: made.as_ptr() });
    // SAFETY: one reference for the table, one for the caller; the replaced text was the table's own, and freeing an
    // exact `str` runs no Python code.
    unsafe {
        ffi::Py_INCREF(made.as_ptr());
        ffi::Py_XDECREF(replaced.text);
    }
    Some(made)
}

/// The characters of a compact ASCII string, which follow its head: `PyUnicode_DATA` would ask again what it is.
///
/// # Safety
/// `text` is a compact ASCII `str`.
#[inline]
const unsafe fn ascii_data(text: *mut ffi::PyObject) -> *const u8 {
    // SAFETY: by the contract the characters follow the head.
    unsafe { text.cast::<ffi::PyASCIIObject>().add(1).cast() }
}

/// Compares texts of at most a few words without a call of memcmp, which costs more than the compare.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if let (Some(last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        let words = |text: &[u8]| text.as_chunks::<8>().0.len();
        let differs = (0..words(one)).fold(0, |bits, word| {
            let at = |text: &[u8]| text.as_chunks::<8>().0[word];
            bits | (u64::from_le_bytes(at(one)) ^ u64::from_le_bytes(at(other)))
        });
        // The last word overlaps the one before: no loop over the rest.
        differs == 0 && last == other_last
    } else {
        // Two halves that overlap; below four bytes three single ones.
        let (from, to) = (one.first_chunk::<4>(), one.last_chunk::<4>());
        if from.is_some() {
            return from == other.first_chunk::<4>() && to == other.last_chunk::<4>();
        }
        one.first() == other.first() && one.get(1) == other.get(1) && one.last() == other.last()
    }
}

/// # Safety
/// The GIL is held, and `bytes` are ASCII.
#[inline]
unsafe fn new_ascii(bytes: &[u8]) -> Option<NonNull<ffi::PyObject>> {
    // SAFETY: a string of this length and at most 127 as largest character is compact ASCII: its data are exactly
    // `len` bytes (and a NUL that is there already), ours alone until it is handed out. The empty string is a
    // shared one, and nothing is copied into it.
    unsafe {
        let text = NonNull::new(ffi::PyUnicode_New(bytes.len() as ffi::Py_ssize_t, 127))?;
        ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_DATA(text.as_ptr()).cast(), bytes.len());
        Some(text)
    }
}
