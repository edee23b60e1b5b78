//! Decode of Protocol Buffers, and what is wrong with a payload as a `DecodeError`.

use pyo3::prelude::*;
use websocket_utils_core::codec::protobuf::{self, Plan, Problem};

use super::super::Format;
use super::super::fallback::{Malformed, errors};
use super::super::model::{Chosen, Meanings};
use super::super::object::Objects;
use super::compile;

/// A compiled type.
pub(in super::super) struct Model {
    plan: Plan,
    meanings: Meanings,
}

impl Model {
    /// Compiles a message class or a union of them.
    ///
    /// # Errors
    /// `TypeError` for what has no form in Protocol Buffers.
    #[cold]
    pub(in super::super) fn compile(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (plan, meanings) = compile::compile(type_)?;
        Ok(Self { plan, meanings })
    }

    /// Decodes a payload into a new object.
    ///
    /// # Errors
    /// `DecodeError`, or what a default's factory or a class's own code raised.
    #[inline]
    pub(in super::super) fn decode<'py>(&self, py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        // Nothing here is foreign: the format is not asked for.
        let mut sink = Objects::new(py, &self.meanings, Format::MessagePack);
        match protobuf::decode(&self.plan, payload, &mut sink) {
            // SAFETY: the object is complete, and the reference is ours to give.
            Ok(value) => Ok(unsafe { Bound::from_owned_ptr(py, value.into_ptr()) }),
            Err(fault) => Err(self.error(py, payload, &fault, &mut sink)),
        }
    }

    /// Decodes a payload as senders write it; None for any other, with nothing raised.
    ///
    /// # Errors
    /// What must not be swallowed, out of Python code that ran on the way.
    #[inline]
    pub(in super::super) fn decode_plain<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut sink = Objects::new(py, &self.meanings, Format::MessagePack);
        match protobuf::decode_quickly(&self.plan, payload, &mut sink) {
            Some(value) => {
                sink.done();
                // SAFETY: the object is complete, and the reference is ours to give.
                Ok(Some(unsafe { Bound::from_owned_ptr(py, value.into_ptr()) }))
            }
            None => sink.interrupt.take().map_or(Ok(None), |error| Err(*error)),
        }
    }

    /// Decodes a payload that [`Model::decode_plain`] left.
    ///
    /// # Errors
    /// As [`Model::decode`].
    #[cold]
    pub(in super::super) fn decode_fully<'py>(&self, py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let mut sink = Objects::new(py, &self.meanings, Format::MessagePack);
        match protobuf::decode_fully(&self.plan, payload, &mut sink) {
            // SAFETY: the object is complete, and the reference is ours to give.
            Ok(value) => Ok(unsafe { Bound::from_owned_ptr(py, value.into_ptr()) }),
            Err(fault) => Err(self.error(py, payload, &fault, &mut sink)),
        }
    }

    #[cold]
    fn error(&self, py: Python<'_>, payload: &[u8], fault: &protobuf::Malformed, sink: &mut Objects<'_, '_>) -> PyErr {
        let complaint = sink.complaint.take().filter(|_| fault.problem == Problem::Refused);
        if let Some(interrupt) = sink.interrupt.take() {
            return *interrupt;
        }
        let mut malformed = Malformed::new(fault.problem.to_string(), Some(fault.offset));
        malformed.path = format!("${}", fault.path);
        match &fault.problem {
            Problem::WrongLength { expected, got } => {
                malformed.expected = Some(format!("{expected} items"));
                malformed.got = Some(format!("{got} items"));
            }
            Problem::NotChosen { choice, got } => {
                let names = self.meanings.choices.get(*choice).map(Chosen::names).unwrap_or_default();
                malformed.message = format!("expected one of {names}, got {got}");
                malformed.expected = Some(format!("one of {names}"));
                malformed.got = Some(got.clone());
            }
            _ => {}
        }
        let Some(complaint) = complaint else { return malformed.into_error(py, "protobuf", payload) };
        if !complaint.is_instance_of::<errors::MsgspecError>(py) {
            // A factory's or a class's own.
            return *complaint;
        }
        let said = Malformed::of_python(py, &complaint, payload);
        // Where it is is known here; msgspec knows the way within the value that it was given.
        let path = format!("{}{}", malformed.path, said.path.trim_start_matches('$'));
        let error = Malformed { path, offset: malformed.offset, ..said }.into_error(py, "protobuf", payload);
        error.set_cause(py, Some(*complaint));
        error
    }
}
