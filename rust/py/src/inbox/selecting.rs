//! Messages of one type among all others.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::codec::{Decoder, Router, WireFormat};

/// Tells messages of a type apart, by their tag where the type has one.
pub(super) enum Selector {
    ByTag(Router<()>),
    /// What decodes is one.
    ByDecoding(Decoder),
}

impl Selector {
    /// # Errors
    /// `TypeError` for a type that can't be decoded.
    pub(super) fn new(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let members = union_members(type_)?;
        let mut router = Router::new();
        let added = match &members {
            Some(members) => members.iter().try_for_each(|member| router.add(&member, ())),
            None => router.add(type_, ()),
        };
        match added {
            Ok(()) => Ok(Self::ByTag(router)),
            Err(error) if error.is_instance_of::<PyTypeError>(type_.py()) => {
                Ok(Self::ByDecoding(Decoder::compile(type_)?))
            }
            Err(error) => Err(error),
        }
    }

    /// What a payload is decoded with that may be such a message; `None` for one that is none.
    #[inline]
    pub(super) fn route(&self, payload: &[u8], format: WireFormat) -> Option<&Decoder> {
        match self {
            Self::ByTag(router) => router.route(payload, format).map(|(decoder, ())| decoder),
            Self::ByDecoding(decoder) => Some(decoder),
        }
    }
}

/// The members of `A | B` or `Union[A, B]`; `None` for any other type.
pub(super) fn union_members<'py>(type_: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = type_.py();
    let typing = py.import(intern!(py, "typing"))?;
    let origin = typing.call_method1(intern!(py, "get_origin"), (type_,))?;
    let is_union = origin.is(&typing.getattr(intern!(py, "Union"))?)
        || origin.is(&py.import(intern!(py, "types"))?.getattr(intern!(py, "UnionType"))?);
    if !is_union {
        return Ok(None);
    }
    Ok(Some(typing.call_method1(intern!(py, "get_args"), (type_,))?.cast_into()?))
}
