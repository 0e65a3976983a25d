//! What differs between two snapshots.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::Group;
use crate::envoy::Kind;

/// What happened to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content differs.
    Changed,
    /// It is gone.
    Removed,
}

/// What differs between two snapshots: resources, by group, kind and name, and which nodes belong to the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    resources: BTreeMap<(Arc<str>, Kind, Arc<str>), Change>,
    /// Which nodes belong to which group.
    regrouped: bool,
}

impl Changes {
    pub(super) fn between(
        old: Option<&BTreeMap<Arc<str>, Arc<Group>>>,
        new: &BTreeMap<Arc<str>, Arc<Group>>,
        regrouped: bool,
    ) -> Self {
        let mut changes = BTreeMap::new();
        for (name, group) in new {
            let before = old.and_then(|groups| groups.get(name));
            compare(&mut changes, name, before.map(AsRef::as_ref), Some(group));
        }
        for (name, group) in old.into_iter().flatten() {
            if !new.contains_key(name) {
                compare(&mut changes, name, Some(group), None);
            }
        }
        Self { resources: changes, regrouped }
    }

    /// Whether no node is served anything else.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && !self.regrouped
    }

    /// Whether other nodes than before may belong to the groups.
    pub fn regrouped(&self) -> bool {
        self.regrouped
    }

    /// Every resource that differs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kind, &str, Change)> {
        self.resources.iter().map(|((group, kind, name), change)| (&**group, *kind, &**name, *change))
    }
}

fn compare(
    changes: &mut BTreeMap<(Arc<str>, Kind, Arc<str>), Change>,
    name: &Arc<str>,
    old: Option<&Group>,
    new: Option<&Group>,
) {
    for kind in Kind::ALL {
        let (old, new) = (old.map(|group| group.resources(kind)), new.map(|group| group.resources(kind)));
        if old.map(|set| set.version()) == new.map(|set| set.version()) {
            continue;
        }
        for resource in new.into_iter().flat_map(|set| set.iter()) {
            let change = match old.and_then(|set| set.get(&resource.name)) {
                None => Change::Added,
                Some(before) if before.version != resource.version => Change::Changed,
                Some(_) => continue,
            };
            changes.insert((Arc::clone(name), kind, Arc::clone(&resource.name)), change);
        }
        for resource in old.into_iter().flat_map(|set| set.iter()) {
            if new.is_none_or(|set| set.get(&resource.name).is_none()) {
                changes.insert((Arc::clone(name), kind, Arc::clone(&resource.name)), Change::Removed);
            }
        }
    }
}

/// One line for the log: `+1 CDS, ~2 RDS, -1 LDS`, and `node groups` where the nodes of a group may be others.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<(Kind, Change), usize> = BTreeMap::new();
        for ((_, kind, _), change) in &self.resources {
            *counts.entry((*kind, *change)).or_default() += 1;
        }
        let mut comma = "";
        for ((kind, change), count) in counts {
            let sign = match change {
                Change::Added => '+',
                Change::Changed => '~',
                Change::Removed => '-',
            };
            write!(f, "{comma}{sign}{count} {kind}")?;
            comma = ", ";
        }
        if self.regrouped { write!(f, "{comma}node groups") } else { Ok(()) }
    }
}
