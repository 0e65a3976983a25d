//! The resources of one node group, by name.

use std::collections::BTreeMap;

use super::Noted;
use crate::envoy::Kind;

/// A set of resources, each of which can be found by its kind and name.
pub(super) struct Index<'a, 'b> {
    /// The resources in order.
    pub(super) set: &'a [&'a Noted<'b>],
    positions: BTreeMap<(Kind, &'a str), usize>,
}

impl<'a, 'b> Index<'a, 'b> {
    pub(super) fn of(set: &'a [&'a Noted<'b>]) -> Self {
        let key = |(position, noted): (usize, &&'a Noted<'b>)| {
            ((noted.resource.native.kind, noted.resource.native.name.as_str()), position)
        };
        // Of two that have one name, which is an error, the first counts.
        Self { set, positions: set.iter().enumerate().rev().map(key).collect() }
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&'a Noted<'b>> {
        self.position(kind, name).map(|position| self.set[position])
    }

    /// Where in the set a resource is.
    pub(super) fn position(&self, kind: Kind, name: &str) -> Option<usize> {
        self.positions.get(&(kind, name)).copied()
    }

    /// All names of a kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &'a str> {
        self.positions
            .range((kind, "")..)
            .map(|((kind, name), _)| (*kind, *name))
            .take_while(move |(of, _)| *of == kind)
            .map(|(_, name)| name)
    }
}
