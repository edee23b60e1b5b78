//! The read buffer: one for each event-loop thread, lent to whichever connection is being read.
//!
//! The core consumes every byte of a read before it returns (an unfinished frame moves into the connection's own
//! message buffer), so a connection that is not being read needs no read buffer at all. A connection that is in the middle
//! of big frames is lent more of it: several of them come whole then, and are copied once less.
//!
//! ```text
//!  loop: get_buffer() -> memoryview(scratch)      lent
//!        recv_into(scratch)                       the kernel writes
//!        buffer_updated(n) -> scratch[..n]        unmasked in place, decoded, copied where kept
//!        (returned)                               any other connection may be lent the same bytes
//! ```

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView, PySlice};

/// Bytes one read may bring: some 500 price updates, which with the objects made of them stay in the L2 cache.
pub(crate) const USUAL_BYTES: usize = 64 * 1024;

/// The same for a connection in the middle of big frames: what a socket's buffer holds when frames of 64 KiB come without
/// pause.
const MOST_BYTES: usize = 256 * 1024;

/// The whole of the memory, and its beginning.
struct Scratch {
    whole: Py<PyAny>,
    usual: Py<PyAny>,
    start: *mut u8,
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

fn with_scratch<R>(py: Python<'_>, use_it: impl FnOnce(&Scratch) -> R) -> PyResult<R> {
    SCRATCH.with_borrow_mut(|slot| {
        if slot.is_none() {
            let bytes = PyByteArray::new_with(py, MOST_BYTES, |_| Ok(()))?;
            let start = bytes.data();
            // The views export the bytearray's buffer, which forbids resizing it: `start` stays true.
            let whole = PyMemoryView::from(&bytes)?.into_any();
            let usual = whole.get_item(PySlice::new(py, 0, USUAL_BYTES.cast_signed(), 1))?.unbind();
            *slot = Some(Scratch { whole: whole.unbind(), usual, start });
        }
        // The branch above filled the slot.
        Ok(use_it(slot.as_ref().expect("filled above")))
    })
}

/// The read buffer as a writable memoryview, valid until the loop's thread ends: of usual size, or all of it.
pub(crate) fn lend(py: Python<'_>, is_whole: bool) -> PyResult<Py<PyAny>> {
    with_scratch(py, |scratch| if is_whole { &scratch.whole } else { &scratch.usual }.clone_ref(py))
}

/// The first `length` bytes: what the transport has just read into the lent view.
///
/// # Safety
///
/// The caller is the only user of the scratch until it has dropped the slice: it is called from `buffer_updated`, and a
/// loop calls nobody else between `get_buffer` and the end of `buffer_updated`.
pub(crate) unsafe fn filled<'a>(py: Python<'_>, length: usize) -> PyResult<&'a mut [u8]> {
    let start = with_scratch(py, |scratch| scratch.start)?;
    // SAFETY: `start` points at MOST_BYTES initialised bytes that live as long as the thread (the view keeps the
    // bytearray); exclusiveness is the caller's duty.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, length.min(MOST_BYTES)) })
}
