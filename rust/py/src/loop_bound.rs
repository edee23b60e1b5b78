//! State that belongs to the thread of one event loop.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// A value that only the thread that made it may touch.
///
/// asyncio objects are not thread-safe; a stray call from another thread is answered with a `RuntimeError` that names
/// the way out, never with a data race.
#[derive(Debug)]
pub(crate) struct LoopBound<T> {
    value: T,
    thread: usize,
}

// SAFETY: `get` hands out the value on the owning thread alone, so no two threads ever hold a reference to it. Dropping
// may happen on another thread, but only while it is attached to the interpreter and no reference is left; the values
// kept here (buffers, Python references) have no thread affinity of their own.
unsafe impl<T> Sync for LoopBound<T> {}
// SAFETY: see `Sync`.
unsafe impl<T> Send for LoopBound<T> {}

impl<T> LoopBound<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, thread: current_thread() }
    }

    /// The value, or `RuntimeError` on a thread that is not the loop's.
    #[inline]
    pub(crate) fn get(&self) -> PyResult<&T> {
        if self.thread == current_thread() { Ok(&self.value) } else { Err(wrong_thread()) }
    }

    /// The value for the garbage collector, which may run on any thread that holds the GIL.
    ///
    /// # Safety
    ///
    /// The caller only reads Python references out of it while attached to the interpreter, and tolerates a value that
    /// its owner is changing (fields behind `RefCell` are read with `try_borrow`).
    pub(crate) unsafe fn get_for_gc(&self) -> &T {
        &self.value
    }
}

#[inline]
fn current_thread() -> usize {
    // SAFETY: takes no argument and has no precondition.
    unsafe { libc::pthread_self() as usize }
}

#[cold]
fn wrong_thread() -> PyErr {
    PyRuntimeError::new_err(
        "called from a thread that does not run this connection's event loop; \
         use loop.call_soon_threadsafe(...) to reach it",
    )
}

/// A `RefCell` that answers a re-entrant call with a `RuntimeError` instead of a panic.
#[derive(Debug, Default)]
pub(crate) struct Guarded<T>(std::cell::RefCell<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::RefCell::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> PyResult<std::cell::RefMut<'_, T>> {
        self.0.try_borrow_mut().map_err(|_| reentrant())
    }

    #[inline]
    pub(crate) fn read(&self) -> PyResult<std::cell::Ref<'_, T>> {
        self.0.try_borrow().map_err(|_| reentrant())
    }
}

#[cold]
fn reentrant() -> PyErr {
    PyRuntimeError::new_err("called again from inside itself (an encode hook or a finaliser); call it afterwards")
}
