//! An immutable, versioned set of resources per node group.
//!
//! Enters: the encoded resources of each group, and which nodes it takes. Leaves: a [`Snapshot`], the [`Changes`] that led to it, and the [`Store`]
//! that streams pull it from. Knows: bytes and names, no YAML and no gRPC.
//! Invariants: equal content has equal versions in every process; an equal resource keeps its `Arc`; nothing changed means
//! no new snapshot.

mod changes;
mod resource;
mod saved;
mod store;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::envoy::Kind;

pub use changes::{Change, Changes};
pub use resource::{Origin, Resource, Traits};
pub use saved::{Damage, Saved};
pub use store::Store;
pub use version::Version;

pub use crate::topology::{DEFAULT_GROUP, NodeFields, Selector, Selectors};

/// All resources of one kind in one group.
#[derive(Debug, PartialEq, Eq)]
pub struct Resources {
    version: Version,
    by_name: BTreeMap<Arc<str>, Arc<Resource>>,
}

impl Resources {
    fn new(by_name: BTreeMap<Arc<str>, Arc<Resource>>) -> Self {
        let version = Version::of_all(by_name.values().map(|resource| (&*resource.name, resource.version)));
        Self { version, by_name }
    }

    /// Changes whenever any resource of the set does.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The resource of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(name)
    }

    /// The resources, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// What the nodes of one group are served.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    name: Arc<str>,
    /// One entry per kind, empty ones included, so that every kind has a version.
    kinds: BTreeMap<Kind, Arc<Resources>>,
}

impl Group {
    fn new(name: Arc<str>, resources: Vec<Arc<Resource>>, previous: Option<&Self>) -> Self {
        let mut sets: BTreeMap<Kind, BTreeMap<Arc<str>, Arc<Resource>>> =
            Kind::ALL.into_iter().map(|kind| (kind, BTreeMap::new())).collect();
        for resource in resources {
            let kept = previous
                .and_then(|group| group.get(resource.kind, &resource.name))
                .filter(|old| Arc::ptr_eq(old, &resource) || ***old == *resource)
                .cloned();
            let resource = kept.unwrap_or(resource);
            sets.entry(resource.kind).or_default().insert(Arc::clone(&resource.name), resource);
        }
        let kinds = sets.into_iter().map(|(kind, by_name)| {
            let set = Resources::new(by_name);
            let kept = previous.map(|group| group.resources(kind)).filter(|old| ***old == set).cloned();
            (kind, kept.unwrap_or_else(|| Arc::new(set)))
        });
        Self { name, kinds: kinds.collect() }
    }

    /// The group's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All resources of a kind.
    pub fn resources(&self, kind: Kind) -> &Arc<Resources> {
        self.kinds.get(&kind).expect("a group is built with an entry for every kind")
    }

    /// Hash of all its content.
    pub fn digest(&self) -> Version {
        Version::of_all(self.kinds.iter().map(|(kind, set)| (kind.service(), set.version())))
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources(kind).get(name)
    }

    /// The resources that hold private keys.
    pub fn private(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.values().flat_map(|set| set.iter()).filter(|resource| resource.traits.private)
    }

    /// The same without the resources that hold private keys. What is equal in `previous` is shared with it.
    #[must_use]
    pub fn without_private(&self, previous: Option<&Self>) -> Self {
        let kinds = self.kinds.iter().map(|(kind, set)| {
            if !set.iter().any(|resource| resource.traits.private) {
                return (*kind, Arc::clone(set));
            }
            let public = set.by_name.iter().filter(|(_, resource)| !resource.traits.private);
            let public = Resources::new(public.map(|(name, it)| (Arc::clone(name), Arc::clone(it))).collect());
            let kept = previous.map(|group| group.resources(*kind)).filter(|old| ***old == public).cloned();
            (*kind, kept.unwrap_or_else(|| Arc::new(public)))
        });
        Self { name: Arc::clone(&self.name), kinds: kinds.collect() }
    }
}

/// What every node is served at one moment.
#[derive(Debug)]
pub struct Snapshot {
    revision: u64,
    groups: BTreeMap<Arc<str>, Arc<Group>>,
    selectors: Selectors,
}

impl Snapshot {
    /// The snapshot that follows `previous`, with what changed; `None` if nothing did.
    ///
    /// Places alone (a resource that moved to another line) also make a new snapshot, with empty [`Changes`], so that a
    /// refusal is always traced to today's line.
    ///
    /// A resource that several groups have is best given as one shared `Arc`. `selectors` say which nodes each group takes.
    pub fn next<R: Into<Arc<Resource>>>(
        previous: Option<&Self>,
        groups: BTreeMap<Arc<str>, Vec<R>>,
        selectors: Selectors,
    ) -> Option<(Self, Changes)> {
        let groups: BTreeMap<_, _> = groups
            .into_iter()
            .map(|(name, resources)| {
                let old = previous.and_then(|snapshot| snapshot.groups.get(&name));
                let resources = resources.into_iter().map(Into::into).collect();
                let group = Group::new(Arc::clone(&name), resources, old.map(AsRef::as_ref));
                let kept = old.filter(|old| ***old == group).cloned();
                (name, kept.unwrap_or_else(|| Arc::new(group)))
            })
            .collect();
        let regrouped = previous.is_some_and(|snapshot| snapshot.selectors != selectors);
        if !regrouped && previous.is_some_and(|snapshot| snapshot.groups == groups) {
            return None;
        }
        let changes = Changes::between(previous.map(|snapshot| &snapshot.groups), &groups, regrouped);
        let revision = match previous {
            Some(snapshot) if changes.is_empty() => snapshot.revision,
            Some(snapshot) => snapshot.revision + 1,
            None => 1,
        };
        Some((Self { revision, groups, selectors }, changes))
    }

    /// Counts publications that changed something; never sent to a client.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Hash of all its content, and of who gets it: equal in every process, whatever its revision.
    pub fn digest(&self) -> Version {
        let selectors = Version::of(self.selectors.to_json().to_string().as_bytes());
        let groups = self.groups.iter().map(|(name, group)| (&**name, group.digest()));
        Version::of_all(groups.chain([("", selectors)]))
    }

    /// The groups by name.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// The group of a node, if it belongs to one.
    pub fn group_of(&self, node: &NodeFields) -> Option<&Arc<Group>> {
        self.groups.get(self.selectors.choose(node)?)
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(kind: Kind, name: &str, body: &'static [u8], line: u32) -> Resource {
        let origin = Origin { file: "topology.yaml".into(), line, column: 1 };
        Resource::new(kind, name, body, origin, Traits::default())
    }

    fn next(previous: Option<&Snapshot>, resources: Vec<Resource>) -> Option<(Snapshot, Changes)> {
        Snapshot::next(previous, BTreeMap::from([(DEFAULT_GROUP.into(), resources)]), Selectors::default())
    }

    #[test]
    fn equal_content_is_no_new_snapshot_and_order_does_not_matter() {
        let a = || resource(Kind::Cluster, "a", b"a", 1);
        let b = || resource(Kind::Listener, "b", b"b", 2);
        let (first, _) = next(None, vec![a(), b()]).unwrap();
        assert!(next(Some(&first), vec![b(), a()]).is_none());
    }

    #[test]
    fn a_change_keeps_the_arcs_and_versions_of_all_else() {
        let (first, _) =
            next(None, vec![resource(Kind::Cluster, "a", b"1", 1), resource(Kind::Cluster, "b", b"1", 2)]).unwrap();
        let (second, changes) =
            next(Some(&first), vec![resource(Kind::Cluster, "a", b"2", 1), resource(Kind::Cluster, "b", b"1", 2)])
                .unwrap();
        let (old, new) = (first.group(DEFAULT_GROUP).unwrap(), second.group(DEFAULT_GROUP).unwrap());
        assert!(Arc::ptr_eq(old.get(Kind::Cluster, "b").unwrap(), new.get(Kind::Cluster, "b").unwrap()));
        assert!(Arc::ptr_eq(old.resources(Kind::Listener), new.resources(Kind::Listener)));
        assert_ne!(old.resources(Kind::Cluster).version(), new.resources(Kind::Cluster).version());
        assert_eq!((first.revision(), second.revision()), (1, 2));
        assert_eq!(changes.to_string(), "~1 CDS");
    }

    #[test]
    fn a_moved_line_is_kept_without_a_new_revision_or_version() {
        let (first, _) = next(None, vec![resource(Kind::Cluster, "a", b"1", 1)]).unwrap();
        let (second, changes) = next(Some(&first), vec![resource(Kind::Cluster, "a", b"1", 9)]).unwrap();
        assert!(changes.is_empty());
        assert_eq!(second.revision(), 1);
        let (old, new) = (first.group(DEFAULT_GROUP).unwrap(), second.group(DEFAULT_GROUP).unwrap());
        assert_eq!(old.resources(Kind::Cluster).version(), new.resources(Kind::Cluster).version());
        assert_eq!(new.get(Kind::Cluster, "a").unwrap().origin.line, 9);
    }

    #[test]
    fn a_node_that_changes_its_group_is_a_change() {
        let node = NodeFields { id: "a".into(), ..NodeFields::default() };
        let shared = Arc::new(resource(Kind::Cluster, "c", b"1", 1));
        let groups =
            || BTreeMap::from([("one", 1), ("two", 2)].map(|(name, _)| (name.into(), vec![Arc::clone(&shared)])));
        let selectors =
            |id: &str| [("one".into(), Selector::of_id(id)), ("two".into(), Selector::of_id("b"))].into_iter();
        let (first, _) = Snapshot::next(None, groups(), selectors("a").collect()).unwrap();
        assert_eq!(first.group_of(&node).map(|group| &**group.name()), Some("one"));
        let of = |group: &str| first.group(group).unwrap().get(Kind::Cluster, "c").unwrap();
        assert!(Arc::ptr_eq(of("one"), of("two")), "groups share what they have in common");
        assert!(Snapshot::next(Some(&first), groups(), selectors("a").collect()).is_none());

        let (second, changes) = Snapshot::next(Some(&first), groups(), selectors("x").collect()).unwrap();
        assert_eq!((changes.is_empty(), changes.to_string().as_str()), (false, "node groups"));
        assert_eq!(second.revision(), 2);
        assert!(second.group_of(&node).is_none());
    }
}
