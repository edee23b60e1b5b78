//! Who reads which log.

use std::collections::HashMap;

use pyo3::prelude::*;

use crate::codec::WireFormat;
use crate::connection::Connection;

/// Logs of a broadcaster: for each wire format one of plain frames, and one whose frames are compressed where that pays.
pub(super) const VARIANTS: usize = 6;

pub(super) const FORMATS: [WireFormat; 3] = [WireFormat::JSON, WireFormat::MESSAGE_PACK, WireFormat::Protobuf];

/// Which log a connection reads from: its wire format, and whether it is sent compressed frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant(usize);

impl Variant {
    pub(crate) const fn plain(format: WireFormat) -> Self {
        Self(match format {
            WireFormat::JSON => 0,
            WireFormat::MESSAGE_PACK => 2,
            WireFormat::Protobuf => 4,
        })
    }

    pub(crate) const fn compressed(format: WireFormat) -> Self {
        Self(Self::plain(format).0 + 1)
    }

    /// Its place among [`VARIANTS`].
    pub(super) const fn place(self) -> usize {
        self.0
    }
}

/// Connections of one channel, apart by variant; adding and removing take constant time.
#[derive(Default)]
pub(super) struct Audience {
    pub(super) members: [Vec<Py<Connection>>; VARIANTS],
    places: HashMap<usize, usize>,
}

impl Audience {
    pub(super) fn add(&mut self, py: Python<'_>, connection: &Py<Connection>, variant: Variant) -> bool {
        let key = connection.as_ptr() as usize;
        if self.places.contains_key(&key) {
            return false;
        }
        let members = &mut self.members[variant.place()];
        self.places.insert(key, members.len());
        members.push(connection.clone_ref(py));
        true
    }

    pub(super) fn remove(&mut self, connection: &Py<Connection>, variant: Variant) -> bool {
        let Some(place) = self.places.remove(&(connection.as_ptr() as usize)) else { return false };
        let members = &mut self.members[variant.place()];
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            self.places.insert(moved.as_ptr() as usize, place);
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
