//! What a server knows of a namespace, and what happens to messages for a client that is slow.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

/// What tells the messages of a channel apart that take each other's place.
pub(super) enum Key {
    Fields(Vec<Py<PyString>>),
    Function(Py<PyAny>),
}

/// What happens to what is published while a client takes nothing.
pub(super) enum Policy {
    /// All waits; the client is reported from `size` bytes (or `max_lag`) or after `age` nanoseconds.
    Disconnect { size: Option<usize>, age: Option<u64> },
    /// The oldest give way, from `most` on, or where the bytes are too many.
    DropOldest { most: Option<usize> },
    /// The latest of each key waits.
    Conflate { key: Option<Key> },
}

impl Policy {
    /// What the tuple of Python says: `("disconnect", size, age)`, `("drop_oldest", most)` or `("conflate", key)`.
    pub(super) fn from_tuple(tuple: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let kind = tuple.get_item(0)?.extract::<String>()?;
        match (kind.as_str(), tuple.len()) {
            ("disconnect", 3) => Ok(Self::Disconnect {
                size: tuple.get_item(1)?.extract()?,
                age: tuple.get_item(2)?.extract::<Option<f64>>()?.map(nanoseconds).transpose()?,
            }),
            ("drop_oldest", 2) => Ok(Self::DropOldest { most: tuple.get_item(1)?.extract()? }),
            ("conflate", 2) => Ok(Self::Conflate { key: Key::from_python(&tuple.get_item(1)?)? }),
            _ => Err(PyValueError::new_err(format!("{tuple:?} is no policy"))),
        }
    }

    /// For the collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Conflate { key: Some(Key::Function(function)) } => visit.call(function),
            _ => Ok(()),
        }
    }
}

impl Key {
    fn from_python(key: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if key.is_none() {
            return Ok(None);
        }
        if let Ok(name) = key.cast::<PyString>() {
            return Ok(Some(Self::Fields(vec![name.clone().unbind()])));
        }
        if let Ok(names) = key.cast::<PyTuple>() {
            let names = names.iter().map(|name| Ok(name.cast_into::<PyString>()?.unbind())).collect::<PyResult<_>>()?;
            return Ok(Some(Self::Fields(names)));
        }
        if key.is_callable() {
            return Ok(Some(Self::Function(key.clone().unbind())));
        }
        Err(PyTypeError::new_err("a key is a field's name, a tuple of names, or a function"))
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanoseconds(seconds: f64) -> PyResult<u64> {
    if seconds.is_finite() && seconds > 0.0 {
        return Ok(std::time::Duration::from_secs_f64(seconds.min(1e9)).as_nanos() as u64);
    }
    Err(PyValueError::new_err(format!("{seconds} is no number of seconds above 0")))
}

/// What all channels of a namespace have in common.
pub(super) struct Namespace {
    /// Classes of its messages; `None` takes any.
    pub(super) classes: Option<Vec<Py<PyType>>>,
    pub(super) policy: Policy,
    /// Publications kept for each channel, for at most `history_age` nanoseconds, in at most `history_size` bytes.
    pub(super) history: usize,
    pub(super) history_age: Option<u64>,
    pub(super) history_size: usize,
    /// Whether who is new gets the latest publication at once.
    pub(super) snapshot: bool,
}

impl Namespace {
    /// What holds for names of no namespace that was declared.
    pub(super) fn undeclared() -> Self {
        Self {
            classes: None,
            policy: Policy::Disconnect { size: None, age: None },
            history: 0,
            history_age: None,
            history_size: 0,
            snapshot: false,
        }
    }

    /// # Errors
    /// `TypeError` if the message is of no class of this namespace.
    #[inline]
    pub(super) fn check(&self, channel: &str, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(classes) = &self.classes else { return Ok(()) };
        let class = message.get_type_ptr();
        if classes.iter().any(|wanted| wanted.as_ptr() == class.cast()) {
            return Ok(());
        }
        check_subclass(channel, message, classes)
    }

    /// For the collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for class in self.classes.iter().flatten() {
            visit.call(class)?;
        }
        self.policy.traverse(visit)
    }
}

#[cold]
fn check_subclass(channel: &str, message: &Bound<'_, PyAny>, classes: &[Py<PyType>]) -> PyResult<()> {
    let py = message.py();
    for class in classes {
        if message.is_instance(class.bind(py).as_any())? {
            return Ok(());
        }
    }
    let wanted: Vec<String> = classes.iter().map(|class| name_of(class.bind(py))).collect();
    let (wanted, given) = (wanted.join(" or "), name_of(&message.get_type()));
    Err(PyTypeError::new_err(format!("channel {channel:?} takes {wanted}, not {given}")))
}

fn name_of(class: &Bound<'_, PyType>) -> String {
    class.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}
