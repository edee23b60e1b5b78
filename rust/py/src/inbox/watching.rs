//! Watches: whether a message of some kind has come since somebody last asked.
//!
//! A watch that was seen costs nothing until it is asked for; one that waits costs a decode of each message that may be the one.

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::State;
use super::selecting::Selector;
use crate::codec::{Decoder, WireFormat};

/// Tokens that see the same messages.
#[derive(Default)]
struct Slot {
    /// Each with the first read that it was seen in (monotonic ns), 0 if none.
    tokens: Vec<(i64, u64)>,
    unseen: usize,
}

impl Slot {
    fn add(&mut self, token: i64) {
        self.tokens.push((token, 0));
        self.unseen += 1;
    }

    /// Marks all that wait as seen; returns how many did.
    fn see(&mut self, at: u64) -> usize {
        if self.unseen > 0 {
            for (_, seen) in self.tokens.iter_mut().filter(|(_, seen)| *seen == 0) {
                *seen = at;
            }
        }
        std::mem::take(&mut self.unseen)
    }

    fn remove(&mut self, token: i64) {
        self.tokens.retain(|(known, _)| *known != token);
        self.count();
    }

    fn take_seen(&mut self, taken: &mut Vec<(i64, u64)>) {
        for (token, seen) in &mut self.tokens {
            if *seen != 0 {
                taken.push((*token, std::mem::take(seen)));
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.unseen = self.tokens.iter().filter(|(_, seen)| *seen == 0).count();
    }
}

/// Watches for messages whose fields have some values: found by one lookup, however many they are.
struct Fields {
    names: Vec<Py<PyString>>,
    /// From the values, in the order of the names, to an index into `slots`.
    indices: Py<PyDict>,
    /// Each with its values; `None` where nobody has a watch any more.
    slots: Vec<(Slot, Option<Py<PyTuple>>)>,
    unseen: usize,
}

/// Watches for one type: a message is decoded once for all of them.
struct Group {
    type_: Py<PyAny>,
    selector: Selector,
    /// For any message of the type.
    all: Slot,
    fields: Vec<Fields>,
    functions: Vec<(Py<PyAny>, Slot)>,
    /// Watches that wait for what a message holds.
    unseen: usize,
}

/// All watches of an inbox.
#[derive(Default)]
pub(super) struct Watches {
    /// For any message at all.
    any: Slot,
    groups: Vec<Group>,
}

impl Group {
    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        let fields = self.fields.iter_mut().flat_map(|fields| &mut fields.slots).map(|(slot, _)| slot);
        let functions = self.functions.iter_mut().map(|(_, slot)| slot);
        std::iter::once(&mut self.all).chain(fields).chain(functions)
    }

    /// Counts anew who waits; returns how many do.
    fn count(&mut self) -> usize {
        for fields in &mut self.fields {
            fields.unseen = fields.slots.iter().map(|(slot, _)| slot.unseen).sum();
        }
        let fields: usize = self.fields.iter().map(|fields| fields.unseen).sum();
        self.unseen = fields + self.functions.iter().map(|(_, slot)| slot.unseen).sum::<usize>();
        self.unseen + self.all.unseen
    }
}

impl Watches {
    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        std::iter::once(&mut self.any).chain(self.groups.iter_mut().flat_map(Group::slots))
    }

    /// Counts anew who waits; returns how many do.
    fn count(&mut self) -> usize {
        self.any.unseen + self.groups.iter_mut().map(Group::count).sum::<usize>()
    }

    fn group(&mut self, type_: &Bound<'_, PyAny>) -> PyResult<usize> {
        if let Some(index) = self.groups.iter().position(|group| group.type_.is(type_)) {
            return Ok(index);
        }
        let selector = Selector::new(type_)?;
        let type_ = type_.clone().unbind();
        let (fields, functions) = (Vec::new(), Vec::new());
        self.groups.push(Group { type_, selector, all: Slot::default(), fields, functions, unseen: 0 });
        Ok(self.groups.len() - 1)
    }

    pub(super) fn add(
        &mut self,
        token: i64,
        type_: Option<&Bound<'_, PyAny>>,
        wanted: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Some(type_) = type_ else {
            if wanted.is_some() {
                return Err(PyTypeError::new_err("a watch for what a message holds needs the type of it"));
            }
            self.any.add(token);
            return Ok(());
        };
        let wanted = match wanted {
            None => None,
            Some(wanted) => Some(Wanted::new(wanted)?),
        };
        let index = self.group(type_)?;
        let group = &mut self.groups[index];
        match wanted {
            None => group.all.add(token),
            Some(Wanted::Function(function)) => {
                let mut slot = Slot::default();
                slot.add(token);
                group.functions.push((function, slot));
            }
            Some(Wanted::Fields(names, values)) => group.fields_slot(&names, &values)?.add(token),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, py: Python<'_>, token: i64) -> PyResult<()> {
        self.slots().for_each(|slot| slot.remove(token));
        for group in &mut self.groups {
            group.functions.retain(|(_, slot)| !slot.tokens.is_empty());
            for fields in &mut group.fields {
                for (slot, values) in &mut fields.slots {
                    if slot.tokens.is_empty()
                        && let Some(values) = values.take()
                    {
                        fields.indices.bind(py).del_item(values)?;
                    }
                }
            }
            group.fields.retain(|fields| fields.slots.iter().any(|(_, values)| values.is_some()));
        }
        self.groups.retain_mut(|group| group.slots().any(|slot| !slot.tokens.is_empty()));
        Ok(())
    }

    fn take_seen(&mut self) -> Vec<(i64, u64)> {
        let mut taken = Vec::new();
        self.slots().for_each(|slot| slot.take_seen(&mut taken));
        taken
    }

    /// Marks what the tag alone decides; returns whether somebody waits for what the message holds.
    fn see(&mut self, payload: &[u8], format: WireFormat, at: u64) -> (usize, bool) {
        let mut seen = self.any.see(at);
        let mut is_wanted = false;
        for group in &mut self.groups {
            if (group.all.unseen == 0 && group.unseen == 0) || group.selector.route(payload, format).is_none() {
                continue;
            }
            if matches!(group.selector, Selector::ByTag(_)) {
                seen += group.all.see(at);
                is_wanted |= group.unseen > 0;
            } else {
                is_wanted = true;
            }
        }
        (seen, is_wanted)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for group in &self.groups {
            visit.call(&group.type_)?;
            for fields in &group.fields {
                visit.call(&fields.indices)?;
            }
            for (function, _) in &group.functions {
                visit.call(function)?;
            }
        }
        Ok(())
    }
}

/// What a watched message shall hold.
enum Wanted<'py> {
    Fields(Vec<Py<PyString>>, Bound<'py, PyTuple>),
    Function(Py<PyAny>),
}

impl<'py> Wanted<'py> {
    fn new(wanted: &Bound<'py, PyAny>) -> PyResult<Self> {
        let Ok(pairs) = wanted.cast::<PyTuple>() else {
            if !wanted.is_callable() {
                return Err(PyTypeError::new_err(
                    "expected pairs of a field and its value, or a function of the message",
                ));
            }
            return Ok(Self::Function(wanted.clone().unbind()));
        };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for pair in pairs.iter() {
            let (name, value): (Bound<'_, PyString>, Bound<'_, PyAny>) = pair.extract()?;
            names.push(name.unbind());
            values.push(value);
        }
        Ok(Self::Fields(names, PyTuple::new(wanted.py(), values)?))
    }
}

impl Group {
    fn fields_slot(&mut self, names: &[Py<PyString>], values: &Bound<'_, PyTuple>) -> PyResult<&mut Slot> {
        let py = values.py();
        let mut known = None;
        for (index, fields) in self.fields.iter().enumerate() {
            let same = |(one, other): (&Py<PyString>, &Py<PyString>)| PyAnyMethods::eq(one.bind(py).as_any(), other);
            let mut all = fields.names.iter().zip(names).map(same);
            if fields.names.len() == names.len() && all.all(|same| same.is_ok_and(|same| same)) {
                known = Some(index);
            }
        }
        // What can't be looked up is refused before anything is kept.
        values.hash()?;
        let index = known.unwrap_or_else(|| {
            let names = names.iter().map(|name| name.clone_ref(py)).collect();
            self.fields.push(Fields { names, indices: PyDict::new(py).unbind(), slots: Vec::new(), unseen: 0 });
            self.fields.len() - 1
        });
        let fields = &mut self.fields[index];
        let indices = fields.indices.bind(py);
        if let Some(index) = indices.get_item(values)? {
            return Ok(&mut fields.slots[index.extract::<usize>()?].0);
        }
        let index = fields.slots.iter().position(|(_, values)| values.is_none()).unwrap_or_else(|| {
            fields.slots.push((Slot::default(), None));
            fields.slots.len() - 1
        });
        indices.set_item(values, index)?;
        let (slot, known) = &mut fields.slots[index];
        *known = Some(values.clone().unbind());
        Ok(slot)
    }
}

/// Who has to be asked about one message, taken out of a group so that nothing is borrowed meanwhile.
struct Questions {
    type_: Py<PyAny>,
    decoder: Decoder,
    fields: Vec<(Vec<Py<PyString>>, Py<PyDict>)>,
    functions: Vec<Py<PyAny>>,
}

impl State {
    /// Shows a message to the watches that wait; returns whether one of them waits for what it holds.
    pub(super) fn show(&self, payload: &[u8], format: WireFormat) -> PyResult<bool> {
        let (seen, is_wanted) = self.watches.lock()?.see(payload, format, self.read_at());
        self.unseen.set(self.unseen.get().saturating_sub(seen));
        Ok(is_wanted)
    }

    fn questions(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Vec<Questions>> {
        let watches = self.watches.read()?;
        let mut questions = Vec::new();
        for group in watches.groups.iter().filter(|group| group.unseen > 0 || group.all.unseen > 0) {
            let Some(decoder) = group.selector.route(payload, format) else { continue };
            let fields = group.fields.iter().filter(|fields| fields.unseen > 0).map(|fields| {
                let names = fields.names.iter().map(|name| name.clone_ref(py)).collect();
                (names, fields.indices.clone_ref(py))
            });
            let functions = group.functions.iter().filter(|(_, slot)| slot.unseen > 0);
            questions.push(Questions {
                type_: group.type_.clone_ref(py),
                decoder: decoder.clone(),
                fields: fields.collect(),
                functions: functions.map(|(function, _)| function.clone_ref(py)).collect(),
            });
        }
        Ok(questions)
    }

    /// Shows what a message holds to the watches that wait for it. The application's code runs: nothing may be borrowed.
    pub(super) fn show_contents(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<()> {
        for asked in self.questions(py, payload, format)? {
            let message = match asked.decoder.decode(py, payload, format) {
                Ok(message) => message,
                // Whoever takes it is told.
                Err(error) if error.is_instance_of::<PyException>(py) => continue,
                Err(error) => return Err(error),
            };
            self.mark(&asked.type_, |group, at| group.all.see(at))?;
            for (names, indices) in asked.fields {
                match find(&message, &names, indices.bind(py)) {
                    Ok(Some(index)) => self.mark(&asked.type_, |group, at| {
                        let Some(fields) = group.fields.iter_mut().find(|fields| fields.indices.is(&indices)) else {
                            return 0;
                        };
                        let seen = fields.slots.get_mut(index).map_or(0, |(slot, _)| slot.see(at));
                        fields.unseen -= seen;
                        group.unseen -= seen;
                        seen
                    })?,
                    Ok(None) => {}
                    Err(error) => self.report(py, error)?,
                }
            }
            for function in asked.functions {
                match function.bind(py).call1((&message,)).and_then(|answer| answer.is_truthy()) {
                    Ok(true) => self.mark(&asked.type_, |group, at| {
                        let same = group.functions.iter_mut().filter(|(known, _)| known.is(&function));
                        let seen = same.map(|(_, slot)| slot.see(at)).sum();
                        group.unseen -= seen;
                        seen
                    })?,
                    Ok(false) => {}
                    Err(error) => self.report(py, error)?,
                }
            }
        }
        Ok(())
    }

    /// Marks watches of a type as seen: `see` does it and returns how many those were.
    fn mark(&self, type_: &Py<PyAny>, see: impl FnOnce(&mut Group, u64) -> usize) -> PyResult<()> {
        let mut watches = self.watches.lock()?;
        // The application may have ended the watch meanwhile.
        if let Some(group) = watches.groups.iter_mut().find(|group| group.type_.is(type_)) {
            let seen = see(group, self.read_at());
            self.unseen.set(self.unseen.get().saturating_sub(seen));
        }
        Ok(())
    }

    /// Changes the watches, and counts anew how many wait.
    pub(super) fn change_watches<T>(&self, change: impl FnOnce(&mut Watches) -> PyResult<T>) -> PyResult<T> {
        let mut watches = self.watches.lock()?;
        let outcome = change(&mut watches);
        self.unseen.set(watches.count());
        outcome
    }

    /// Watches that were seen since this was last asked, each with the first read that it was seen in.
    pub(super) fn take_seen(&self) -> PyResult<Vec<(i64, u64)>> {
        self.change_watches(|watches| Ok(watches.take_seen()))
    }
}

/// Who waits for a message with such fields.
fn find(message: &Bound<'_, PyAny>, names: &[Py<PyString>], indices: &Bound<'_, PyDict>) -> PyResult<Option<usize>> {
    let mut values = Vec::with_capacity(names.len());
    for name in names {
        // Another member of a union.
        let Some(value) = message.getattr_opt(name)? else { return Ok(None) };
        values.push(value);
    }
    let values = PyTuple::new(message.py(), values)?;
    // A list among the values equals nothing that is waited for.
    match indices.get_item(values) {
        Ok(index) => index.map(|index| index.extract()).transpose(),
        Err(error) if error.is_instance_of::<PyTypeError>(message.py()) => Ok(None),
        Err(error) => Err(error),
    }
}
