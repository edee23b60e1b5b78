//! Notifications of Solana's PubSub as message objects: from a text frame to an `AccountUpdate` in one call.
//!
//! What a frame says is the core's to tell. Here is whom it is for, and the object. What is left (`None`) is decided in Python.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ptr;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyString};
use pyo3::{PyTraverseError, PyVisit, ffi};
use websocket_utils_core::pubsub::{self, Account, Notification};

use crate::codec::own::{self, OwnClass};
use crate::loop_bound::{Guarded, LoopBound};

/// Hashes the numbers of subscriptions, which the node chooses, with keys that it can't foresee. The hash of the standard
/// library would cost a fifth of a decode.
#[derive(Clone, Copy)]
struct Keyed {
    add: u64,
    multiply: u64,
    hash: u64,
}

impl Keyed {
    fn new() -> Self {
        let random = RandomState::new();
        Self { add: random.hash_one(0), multiply: random.hash_one(1) | 1, hash: 0 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Keyed {
    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(number ^ self.hash ^ self.add) * u128::from(self.multiply);
        self.hash = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

/// A subscription of this socket.
struct Watched {
    route: Py<PyAny>,
    /// The account's address, which its notifications do not have; None for other subscriptions.
    pubkey: Option<Py<PyString>>,
}

/// Route and address of a subscription.
type Target<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyString>>);

/// Route and message, if it is one.
type Decoded<'py> = Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// The classes that are made here.
struct Classes {
    account: OwnClass<4>,
    slot: OwnClass<4>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

/// Decodes the notifications of one socket.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct PubSubDecoder {
    watched: LoopBound<Guarded<HashMap<u64, Watched, Keyed>>>,
    classes: &'static Classes,
}

impl PubSubDecoder {
    /// Puts a subscription into its place, or takes it out.
    fn change(&self, subscription: u64, watched: Option<Watched>) -> PyResult<()> {
        let mut table = self.watched.get()?.lock()?;
        let replaced = match watched {
            Some(watched) => table.insert(subscription, watched),
            None => table.remove(&subscription),
        };
        // A route that goes may run Python code, which may come here again.
        drop(table);
        drop(replaced);
        Ok(())
    }

    /// Route and address of a subscription.
    #[inline]
    fn route<'py>(&self, py: Python<'py>, subscription: u64) -> PyResult<Option<Target<'py>>> {
        let table = self.watched.get()?.read()?;
        let Some(watched) = table.get(&subscription) else { return Ok(None) };
        Ok(Some((watched.route.bind(py).clone(), watched.pubkey.as_ref().map(|pubkey| pubkey.bind(py).clone()))))
    }

    /// What a frame is for whoever watches it; None for what is left to the complete way.
    #[inline]
    fn read<'py>(&self, py: Python<'py>, frame: &[u8], timestamp: &Bound<'py, PyAny>) -> PyResult<Decoded<'py>> {
        let timestamp = timestamp.clone();
        match pubsub::scan(frame) {
            Ok(Notification::Account { subscription, account }) => {
                let Some((route, Some(pubkey))) = self.route(py, subscription)? else { return Ok(None) };
                Ok(Some((route, self.account(py, pubkey.into_any(), account, timestamp)?)))
            }
            Ok(Notification::Program { subscription, pubkey, account }) => {
                let Some((route, None)) = self.route(py, subscription)? else { return Ok(None) };
                Ok(Some((route, self.account(py, own::ascii(py, pubkey)?, account, timestamp)?)))
            }
            Ok(Notification::Slot { subscription, slot, parent, root }) => {
                let Some((route, None)) = self.route(py, subscription)? else { return Ok(None) };
                let [slot, parent, root] = [slot, parent, root].map(|number| own::unsigned(py, number));
                Ok(Some((route, self.classes.slot.instance(py, [slot?, parent?, root?, timestamp])?)))
            }
            Ok(Notification::Root { subscription, root }) => {
                let Some((route, None)) = self.route(py, subscription)? else { return Ok(None) };
                Ok(Some((route, own::unsigned(py, root)?)))
            }
            Ok(Notification::Other) | Err(_) => Ok(None),
        }
    }

    #[inline]
    fn account<'py>(
        &self,
        py: Python<'py>,
        pubkey: Bound<'py, PyAny>,
        account: Account<'_>,
        timestamp: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let lamports = own::unsigned(py, account.lamports)?;
        let slot = own::unsigned(py, account.slot)?;
        self.classes.account.instance(py, [pubkey, lamports, slot, timestamp])
    }

    /// The same for any frame that `decode` takes.
    #[inline]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        timestamp: &Bound<'py, PyAny>,
    ) -> PyResult<Decoded<'py>> {
        if !timestamp.is_exact_instance_of::<PyInt>() {
            return Err(PyTypeError::new_err("timestamp must be an int, of milliseconds since 1970"));
        }
        if let Ok(bytes) = frame.cast_exact::<PyBytes>() {
            return self.read(py, bytes.as_bytes(), timestamp);
        }
        if let Ok(text) = frame.cast::<PyString>() {
            return match utf8(text) {
                Some(text) => self.read(py, text, timestamp),
                None => Ok(None),
            };
        }
        Python::attach(|_| self.decode_buffer(frame, timestamp))
    }

    /// The same for any other object with a buffer.
    #[cold]
    fn decode_buffer<'py>(&self, frame: &Bound<'py, PyAny>, timestamp: &Bound<'py, PyAny>) -> PyResult<Decoded<'py>> {
        let py = frame.py();
        let view = PyBuffer::<u8>::get(frame)?;
        if !view.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous: pass a copy of it"));
        }
        // A view's owner may change its bytes while the collector runs: read a copy.
        self.read(py, &view.to_vec(py)?, timestamp)
    }
}

/// The bytes of a text, which keeps them; None if half a surrogate pair is in it, which no socket has brought.
#[inline]
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    let mut size = 0;
    // SAFETY: the object is a text. Its bytes live as long as it does, and are `size` many.
    unsafe {
        let bytes = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::slice::from_raw_parts(bytes.cast(), size.cast_unsigned()))
    }
}

#[pymethods]
impl PubSubDecoder {
    #[new]
    fn py_new(py: Python<'_>) -> PyResult<Self> {
        let classes = CLASSES.get_or_try_init(py, || {
            Ok::<_, PyErr>(Classes {
                account: OwnClass::find(py, "AccountUpdate", ["pubkey", "lamports", "slot", "timestamp"])?,
                slot: OwnClass::find(py, "SlotUpdate", ["slot", "parent", "root", "timestamp"])?,
            })
        })?;
        Ok(Self { watched: LoopBound::new(Guarded::new(HashMap::with_hasher(Keyed::new()))), classes })
    }

    /// Notifications of this subscription are of one account.
    #[pyo3(name = "watch_account")]
    fn py_watch_account(&self, subscription: u64, pubkey: Py<PyString>, route: Py<PyAny>) -> PyResult<()> {
        self.change(subscription, Some(Watched { route, pubkey: Some(pubkey) }))
    }

    /// Notifications of this subscription say themselves what they are of: of a program, of slots, of roots.
    #[pyo3(name = "watch")]
    fn py_watch(&self, subscription: u64, route: Py<PyAny>) -> PyResult<()> {
        self.change(subscription, Some(Watched { route, pubkey: None }))
    }

    /// Notifications of this subscription are nobody's any more.
    #[pyo3(name = "forget")]
    fn py_forget(&self, subscription: u64) -> PyResult<()> {
        self.change(subscription, None)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, behind a borrow that may fail.
        let Ok(table) = unsafe { self.watched.get_for_gc() }.read() else { return Ok(()) };
        table.values().try_for_each(|watched| visit.call(&watched.route))
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let Ok(mut table) = unsafe { self.watched.get_for_gc() }.lock() else { return };
        let watched: Vec<Watched> = table.drain().map(|(_, watched)| watched).collect();
        drop(table);
        drop(watched);
    }
}

/// Gives the class its method `decode`: PyO3's own would take its arguments apart in 150 instructions, a third of a decode.
pub(crate) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    struct Definition(UnsafeCell<ffi::PyMethodDef>);
    // SAFETY: nothing writes to a method's definition once it is made.
    unsafe impl Sync for Definition {}
    static DECODE: Definition = Definition(UnsafeCell::new(ffi::PyMethodDef {
        ml_name: c"decode".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: decode },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: c"decode($self, frame, timestamp, /)\n--\n\nDecodes one text frame: route and message, or None for what is decoded elsewhere."
            .as_ptr(),
    }));
    let class = module.py().get_type::<PubSubDecoder>();
    // SAFETY: the definition lives as long as the process. A method descriptor checks that it is called on an instance of
    // its class. The class is not in use yet.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), DECODE.0.get());
        let method = Bound::from_owned_ptr_or_err(module.py(), method)?;
        if ffi::PyDict_SetItemString((*class.as_type_ptr()).tp_dict, c"decode".as_ptr(), method.as_ptr()) < 0 {
            return Err(PyErr::fetch(module.py()));
        }
        ffi::PyType_Modified(class.as_type_ptr());
    }
    Ok(())
}

unsafe extern "C" fn decode(
    slf: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // A panic must not unwind into C.
    let decoded = std::panic::catch_unwind(|| {
        // SAFETY: the interpreter calls with the GIL held. Nothing is dropped under this token that PyO3 would have to count.
        let py = unsafe { Python::assume_attached() };
        if count != 2 {
            PyTypeError::new_err(format!("decode() takes 2 arguments, frame and timestamp ({count} given)"))
                .restore(py);
            return ptr::null_mut();
        }
        // SAFETY: the descriptor has checked the type; there are two arguments; all references are borrowed for this call.
        let (decoder, frame, timestamp) = unsafe {
            let decoder = Bound::ref_from_ptr(py, &slf).cast_unchecked::<PubSubDecoder>().get();
            (decoder, Bound::ref_from_ptr(py, &*arguments), Bound::ref_from_ptr(py, &*arguments.add(1)))
        };
        match decoder.decode(py, frame, timestamp) {
            Ok(Some((route, message))) => {
                // SAFETY: a new tuple has two empty places, which take the references over.
                unsafe {
                    let tuple = ffi::PyTuple_New(2);
                    if !tuple.is_null() {
                        ffi::PyTuple_SET_ITEM(tuple, 0, route.into_ptr());
                        ffi::PyTuple_SET_ITEM(tuple, 1, message.into_ptr());
                    }
                    tuple
                }
            }
            // SAFETY: None is a valid object.
            Ok(None) => unsafe { ffi::Py_NewRef(ffi::Py_None()) },
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    });
    decoded.unwrap_or_else(|_| {
        Python::attach(|py| PyRuntimeError::new_err("internal error: a decode panicked").restore(py));
        ptr::null_mut()
    })
}
