//! What happens to a reader that is slower than its messages come.

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::State;
use super::selecting::Selector;
use super::store::Item;
use crate::loop_bound::Guarded;

/// Keys of messages that have left are forgotten when this many more than wait are remembered.
const SPARE_KEYS: usize = 1024;

/// What to do when more waits than may.
pub(super) enum Slow {
    /// The connection is not read until half of it is gone.
    Backpressure,
    /// The oldest messages go.
    DropOldest,
    /// Only the latest message of each key waits; if those are too many, the oldest go.
    Conflate(Box<Conflate>),
}

pub(super) struct Conflate {
    selector: Guarded<Selector>,
    key: Key,
    /// From (class, key) to the number of the message that waits.
    latest: Py<PyDict>,
}

enum Key {
    Field(Py<PyString>),
    Fields(Vec<Py<PyString>>),
    Function(Py<PyAny>),
}

impl Slow {
    /// Reads what Python passes: `None`, `("drop_oldest",)` or `("conflate", type, key)`.
    pub(super) fn new(described: Option<&Bound<'_, PyTuple>>) -> PyResult<Self> {
        let Some(described) = described else { return Ok(Self::Backpressure) };
        let name: String = described.get_item(0)?.extract()?;
        match (&*name, described.len()) {
            ("drop_oldest", 1) => Ok(Self::DropOldest),
            ("conflate", 3) => Ok(Self::Conflate(Box::new(Conflate {
                selector: Guarded::new(Selector::new(&described.get_item(1)?)?),
                key: Key::new(&described.get_item(2)?)?,
                latest: PyDict::new(described.py()).unbind(),
            }))),
            _ => Err(PyTypeError::new_err(format!("no policy for slow readers: {described}"))),
        }
    }

    pub(super) const fn conflates(&self) -> bool {
        matches!(self, Self::Conflate(_))
    }

    /// Forgets what it holds, for the garbage collector.
    pub(super) fn clear(&self, py: Python<'_>) {
        if let Self::Conflate(conflate) = self {
            conflate.latest.bind(py).clear();
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Conflate(conflate) = self {
            visit.call(&conflate.latest)?;
            if let Key::Function(function) = &conflate.key {
                visit.call(function)?;
            }
        }
        Ok(())
    }
}

impl Key {
    fn new(key: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(field) = key.cast::<PyString>() {
            return Ok(Self::Field(field.clone().unbind()));
        }
        if let Ok(fields) = key.cast::<PyTuple>() {
            let fields: PyResult<Vec<_>> =
                fields.iter().map(|field| Ok(field.cast_into::<PyString>()?.unbind())).collect();
            return Ok(Self::Fields(fields?));
        }
        if key.is_callable() {
            return Ok(Self::Function(key.clone().unbind()));
        }
        Err(PyTypeError::new_err("a key is the name of a field, a tuple of names, or a function of the message"))
    }

    /// The key of a message; `None` for one that has no such field.
    fn of<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = message.py();
        match self {
            Self::Field(field) => message.getattr_opt(field),
            Self::Fields(fields) => {
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    let Some(value) = message.getattr_opt(field)? else { return Ok(None) };
                    values.push(value);
                }
                PyTuple::new(py, values).map(|values| Some(values.into_any()))
            }
            Self::Function(function) => function.bind(py).call1((message,)).map(Some),
        }
    }
}

impl Conflate {
    /// What tells which waiting message this one takes the place of; `None` for a message that takes nobody's.
    fn key_of<'py>(&self, py: Python<'py>, item: &Item) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let decoder = {
            let selector = self.selector.read()?;
            match selector.route(item.payload.as_bytes(py), item.format) {
                Some(decoder) => decoder.clone(),
                None => return Ok(None),
            }
        };
        let message = match decoder.decode_queued(py, &item.payload.as_front(), item.format) {
            Ok(message) => message,
            // Whoever pulls it is told.
            Err(error) if error.is_instance_of::<PyException>(py) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(key) = self.key.of(&message)? else { return Ok(None) };
        PyTuple::new(py, [message.get_type().into_any(), key]).map(Some)
    }

    /// Forgets the keys of messages that have left.
    #[cold]
    fn forget_keys_before(&self, py: Python<'_>, first: u64) -> PyResult<()> {
        let latest = self.latest.bind(py);
        for (key, number) in latest.items().iter().flat_map(|pair| pair.extract::<(Bound<'_, PyAny>, u64)>()) {
            if number < first {
                latest.del_item(key)?;
            }
        }
        Ok(())
    }
}

impl State {
    /// Lets each message that is queued as it came take its place: behind all others, or that of an older one of its key.
    /// The application's code runs: nothing may be borrowed.
    #[cold]
    fn settle(&self, py: Python<'_>, conflate: &Conflate) -> PyResult<()> {
        let latest = conflate.latest.bind(py);
        let (settled, first) = {
            let store = self.store.read()?;
            (store.settled(), store.first_settled())
        };
        if settled == 0 {
            latest.clear();
        } else if latest.len() > 2 * settled + SPARE_KEYS {
            conflate.forget_keys_before(py, first)?;
        }
        loop {
            let Some(item) = self.store.lock()?.take_queued(py) else { return Ok(()) };
            let outcome = conflate.key_of(py, &item).and_then(|key| match key {
                Some(key) => {
                    let number = latest.get_item(&key)?.map(|number| number.extract::<u64>()).transpose()?;
                    Ok((Some(key), number))
                }
                None => Ok((None, None)),
            });
            // Whatever went wrong, the message is kept.
            let (key, number) = match outcome {
                Ok(found) => found,
                Err(error) => {
                    self.store.lock()?.settle(py, item);
                    self.report(py, error)?;
                    continue;
                }
            };
            let number = {
                let mut store = self.store.lock()?;
                let item = match number {
                    Some(number) => match store.replace(py, number, item) {
                        Ok(()) => {
                            self.conflated.set(self.conflated.get() + 1);
                            continue;
                        }
                        Err(item) => item,
                    },
                    None => item,
                };
                store.settle(py, item)
            };
            if let Some(key) = key {
                latest.set_item(key, number)?;
            }
        }
    }

    /// No message behind this moment takes the place of one before it.
    pub(super) fn set_barrier(&self, py: Python<'_>) -> PyResult<()> {
        if let Slow::Conflate(conflate) = &self.slow {
            self.settle(py, conflate)?;
            conflate.latest.bind(py).clear();
        }
        Ok(())
    }

    /// Lets go of what nobody waits for by the policy. `messages` wait; returns how many do then.
    pub(super) fn thin_out(&self, py: Python<'_>, mut messages: usize) -> PyResult<usize> {
        if let Slow::Conflate(conflate) = &self.slow
            && messages > 1
        {
            self.settle(py, conflate)?;
        }
        let mut store = self.store.lock()?;
        // The latest is kept, however big it is.
        messages = store.len();
        while messages > 1 && (messages > self.max_messages || store.held() > self.limit) {
            store.pop(py);
            messages -= 1;
            self.dropped.set(self.dropped.get() + 1);
        }
        Ok(messages)
    }
}
