//! The route tables of connection managers.

use std::collections::BTreeMap;

use super::Noted;
use super::facts::{Manager, Routes};
use super::site::is_inside;
use crate::envoy::{Kind, Path};

/// The route configurations of a set by name.
pub(super) struct Tables<'a, 'b>(BTreeMap<&'a str, &'a Noted<'b>>);

/// Where a connection manager's routes are.
pub(super) struct Table<'a, 'b> {
    pub(super) noted: &'a Noted<'b>,
    /// The part of the resource that counts, if that is not all of it.
    within: Option<&'a Path>,
}

impl<'a, 'b> Tables<'a, 'b> {
    pub(super) fn of(set: &[&'a Noted<'b>]) -> Self {
        let tables = set.iter().filter(|noted| noted.resource.native.kind == Kind::Route);
        Self(tables.map(|noted| (noted.resource.native.name.as_str(), *noted)).collect())
    }

    /// The table of a manager that stands in the resource `own`, if it can be seen.
    pub(super) fn find(&self, own: &'a Noted<'b>, manager: &'a Manager) -> Option<Table<'a, 'b>> {
        match &manager.routes {
            Routes::Inline => Some(Table { noted: own, within: Some(&manager.path) }),
            Routes::Named(name) => self.0.get(name.as_str()).map(|noted| Table { noted, within: None }),
            Routes::Elsewhere => None,
        }
    }
}

impl Table<'_, '_> {
    /// Whether something of the resource belongs to the table.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.within.is_none_or(|within| is_inside(path, within))
    }
}
