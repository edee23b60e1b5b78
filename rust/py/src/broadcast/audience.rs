//! Who a message is for.

use std::collections::HashMap;
use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::policy::Policy;
use super::variant::{Variant, VariantSet};
use crate::connection::Connection;

/// Members up to which one is found by looking at all: a table of them would take more memory than they do.
const SEARCHED_MEMBERS: usize = 32;

/// One connection, and what happens to its messages while it is slow where that isn't what the namespace says.
pub(super) struct Member {
    pub(super) connection: Py<Connection>,
    pub(super) policy: Option<Rc<Policy>>,
}

struct Group {
    place: usize,
    members: Vec<Member>,
}

/// Connections, apart by variant; adding and removing take constant time.
#[derive(Default)]
pub(super) struct Audience {
    groups: Vec<Group>,
    variants: VariantSet,
    len: usize,
    /// Where each stands in its group, from [`SEARCHED_MEMBERS`] members on.
    #[expect(clippy::box_collection, reason = "most channels have none, and there may be many channels")]
    places: Option<Box<HashMap<usize, usize>>>,
}

impl Audience {
    /// Adds a connection, or changes the policy of one that is there; returns whether it is new.
    pub(super) fn add(
        &mut self,
        py: Python<'_>,
        connection: &Py<Connection>,
        variant: Variant,
        policy: Option<Rc<Policy>>,
    ) -> bool {
        if let Some((group, place)) = self.find(connection, variant) {
            self.groups[group].members[place].policy = policy;
            return false;
        }
        let place = variant.place();
        let group = self.groups.iter().position(|group| group.place == place).unwrap_or_else(|| {
            self.groups.push(Group { place, members: Vec::new() });
            self.groups.len() - 1
        });
        let members = &mut self.groups[group].members;
        members.push(Member { connection: connection.clone_ref(py), policy });
        if let Some(places) = &mut self.places {
            places.insert(connection.as_ptr() as usize, members.len() - 1);
        }
        self.variants.insert(place);
        self.len += 1;
        if self.len > SEARCHED_MEMBERS && self.places.is_none() {
            let members = self.groups.iter().flat_map(|group| group.members.iter().enumerate());
            let places = members.map(|(place, member)| (member.connection.as_ptr() as usize, place));
            self.places = Some(Box::new(places.collect()));
        }
        true
    }

    pub(super) fn remove(&mut self, connection: &Py<Connection>, variant: Variant) -> bool {
        let Some((group, place)) = self.find(connection, variant) else { return false };
        let members = &mut self.groups[group].members;
        members.swap_remove(place);
        if let Some(places) = &mut self.places {
            places.remove(&(connection.as_ptr() as usize));
            if let Some(moved) = members.get(place) {
                places.insert(moved.connection.as_ptr() as usize, place);
            }
        }
        if members.is_empty() {
            self.groups.swap_remove(group);
            self.variants.remove(variant.place());
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        true
    }

    pub(super) fn contains(&self, connection: &Py<Connection>, variant: Variant) -> bool {
        self.find(connection, variant).is_some()
    }

    fn find(&self, connection: &Py<Connection>, variant: Variant) -> Option<(usize, usize)> {
        let group = self.groups.iter().position(|group| group.place == variant.place())?;
        let place = match &self.places {
            Some(places) => *places.get(&(connection.as_ptr() as usize))?,
            None => self.groups[group].members.iter().position(|member| member.connection.is(connection))?,
        };
        Some((group, place))
    }

    /// The members that read from one log.
    #[inline]
    pub(super) fn members(&self, place: usize) -> &[Member] {
        self.groups.iter().find(|group| group.place == place).map_or(&[], |group| &group.members)
    }

    /// The variants that somebody here reads.
    #[inline]
    pub(super) fn variants(&self) -> VariantSet {
        self.variants
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For the collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for member in self.groups.iter().flat_map(|group| &group.members) {
            visit.call(&member.connection)?;
            if let Some(policy) = &member.policy {
                policy.traverse(visit)?;
            }
        }
        Ok(())
    }
}
