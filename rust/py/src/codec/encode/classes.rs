//! How instances of each class are written, found out once.

use std::cell::UnsafeCell;
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::super::{class, protobuf};
use super::record::Record;

/// What an object of a class is written as.
pub(super) enum Kind {
    /// A map or an array of its fields.
    Record(Record),
    Other(Other),
}

#[derive(Clone, Copy)]
pub(super) enum Other {
    /// The value of an enum's member.
    Member,
    /// What msgspec makes of it: a date, a UUID, a class that is laid out in another way...
    Foreign,
    /// Uncertain: a set of a class of its own, or what the object itself must be asked about.
    Unsure,
}

/// A class that was seen.
pub(super) struct Known {
    type_: Py<PyType>,
    pub(super) kind: Kind,
    /// Made when the first instance is written in this format.
    pub(super) protobuf: PyOnceLock<protobuf::Writer>,
}

/// Classes that are remembered: a power of two. A program sends a few dozen.
const ENTRIES: usize = 256;

/// Neighbours that are searched for a class: it takes the first free one, or the place of the one it hashes to.
const PROBES: usize = 8;

struct Cache(UnsafeCell<[Option<Rc<Known>>; ENTRIES]>);

// SAFETY: every access is within a function that holds the GIL (the module declares that it needs it) and that ends
// before Python code can run: what it returns is a share of its own. So no two accesses overlap, nor do changes of the
// counts of shares.
unsafe impl Sync for Cache {}

static CACHE: Cache = Cache(UnsafeCell::new([const { None }; ENTRIES]));

fn places(type_: *mut ffi::PyTypeObject) -> impl Iterator<Item = usize> {
    // Type objects are far apart and aligned: the middle bits of a product are as good as random.
    let hash = (type_ as usize as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (0..PROBES).map(move |probe| (hash as usize + probe) % ENTRIES)
}

/// What is known of a class. The share keeps it, whatever Python code does meanwhile.
///
/// # Safety
/// The GIL is held, until after the share is dropped.
#[inline]
pub(super) unsafe fn find(type_: *mut ffi::PyTypeObject) -> Option<Rc<Known>> {
    // SAFETY: the GIL is held, and nothing here runs Python code.
    let table = unsafe { &*CACHE.0.get() };
    places(type_).find_map(|place| table[place].as_ref().filter(|known| known.type_.as_ptr() == type_.cast())).cloned()
}

/// Finds out about a class and remembers it.
#[cold]
pub(super) fn learn(class: &Bound<'_, PyType>) -> PyResult<()> {
    let known = Rc::new(Known { type_: class.clone().unbind(), kind: kind_of(class)?, protobuf: PyOnceLock::new() });
    // SAFETY: the GIL is held, and nothing refers into the table.
    let replaced = unsafe {
        let table = &mut *CACHE.0.get();
        let mut free = places(class.as_type_ptr()).filter(|place| table[*place].is_none());
        let place = free.next().or_else(|| places(class.as_type_ptr()).next()).unwrap_or_default();
        table[place].replace(known)
    };
    // May be the last reference to a class, whose end may run Python code.
    drop(replaced);
    Ok(())
}

fn kind_of(class: &Bound<'_, PyType>) -> PyResult<Kind> {
    static ENUM_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static FOREIGN: PyOnceLock<[Py<PyAny>; 9]> = PyOnceLock::new();
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = class.py();
    if class::is_message_class(class)? {
        return Ok(Record::of_struct(class)?.map_or(Kind::Other(Other::Foreign), Kind::Record));
    }
    let foreign = FOREIGN.get_or_try_init(py, || {
        let named = |module: &str, name: &str| py.import(module)?.getattr(name).map(Bound::unbind);
        PyResult::Ok([
            named("datetime", "datetime")?,
            named("datetime", "date")?,
            named("datetime", "time")?,
            named("datetime", "timedelta")?,
            named("builtins", "memoryview")?,
            named("decimal", "Decimal")?,
            named("msgspec", "Raw")?,
            named("msgspec.msgpack", "Ext")?,
            named("msgspec", "UnsetType")?,
        ])
    })?;
    if foreign.iter().any(|foreign| foreign.is(class)) {
        return Ok(Kind::Other(Other::Foreign));
    }
    if class.get_type().is_subclass(ENUM_TYPE.import(py, "enum", "EnumType")?)? {
        return Ok(Kind::Other(Other::Member));
    }
    if class.is_subclass(UUID.import(py, "uuid", "UUID")?)? {
        return Ok(Kind::Other(Other::Foreign));
    }
    Ok(Record::of_dataclass(class)?.map_or(Kind::Other(Other::Unsure), Kind::Record))
}
