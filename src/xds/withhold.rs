//! Private keys are not for everyone on the network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::error;

use crate::snapshot::Group;

/// Leaves out of every group what holds private keys. Each group is looked through once, however many streams ask.
#[derive(Debug, Default)]
pub(super) struct Withhold {
    /// By group, the newest last: while a snapshot is on trial, there are two of each group.
    last: Mutex<BTreeMap<Arc<str>, VecDeque<Answer>>>,
}

/// How many snapshots are served at the same time.
const SERVED: usize = 2;

/// The group that was last asked for, and what was given instead.
type Answer = (Arc<Group>, Arc<Group>);

impl Withhold {
    /// The group without what is withheld.
    pub(super) fn filter(&self, group: Arc<Group>) -> Arc<Group> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.entry(Arc::clone(group.name())).or_default();
        if let Some((_, given)) = known.iter().find(|(asked, _)| Arc::ptr_eq(asked, &group)) {
            return Arc::clone(given);
        }
        let before = known.back();
        let given = Arc::new(group.without_private(before.map(|(_, given)| &**given)));
        let withheld = |group: &Group| -> Vec<String> {
            group.private().map(|resource| format!("{} {}", resource.kind, resource.name)).collect()
        };
        let resources = withheld(&group);
        if !resources.is_empty() && before.is_none_or(|(asked, _)| withheld(asked) != resources) {
            error!(
                group = &**group.name(),
                ?resources,
                "private keys are withheld, for anyone on the network could read them: listen on loopback or a Unix socket, \
                 or pass --allow-plaintext-secrets"
            );
        }
        known.push_back((group, Arc::clone(&given)));
        if known.len() > SERVED {
            known.pop_front();
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Kind;
    use crate::snapshot::{DEFAULT_GROUP, Origin, Resource, Selectors, Snapshot, Traits};

    fn snapshot(previous: Option<&Snapshot>, cluster: &'static [u8]) -> Snapshot {
        let resource = |kind, name: &str, bytes: &[u8], private| {
            let origin = Origin { file: "t.yaml".into(), line: 1, column: 1 };
            Resource::new(kind, name, bytes, origin, Traits { private, ..Traits::default() })
        };
        let resources = vec![
            resource(Kind::Secret, "key", b"key", true),
            resource(Kind::Secret, "ca", b"ca", false),
            resource(Kind::Cluster, "c", cluster, false),
        ];
        Snapshot::next(previous, BTreeMap::from([(DEFAULT_GROUP.into(), resources)]), Selectors::default()).unwrap().0
    }

    #[test]
    fn only_what_is_private_is_left_out_and_the_rest_is_the_same() {
        let withhold = Withhold::default();
        let first = snapshot(None, b"1");
        let group = first.group(DEFAULT_GROUP).unwrap();
        let given = withhold.filter(Arc::clone(group));
        let names: Vec<_> = given.resources(Kind::Secret).iter().map(|secret| &*secret.name).collect();
        assert_eq!(names, ["ca"]);
        assert!(Arc::ptr_eq(given.resources(Kind::Cluster), group.resources(Kind::Cluster)));
        assert!(Arc::ptr_eq(&withhold.filter(Arc::clone(group)), &given));
        // What did not change keeps its place, so that streams need not look at it again.
        let second = snapshot(Some(&first), b"2");
        let next = withhold.filter(Arc::clone(second.group(DEFAULT_GROUP).unwrap()));
        assert!(Arc::ptr_eq(next.resources(Kind::Secret), given.resources(Kind::Secret)));
        assert!(!Arc::ptr_eq(next.resources(Kind::Cluster), given.resources(Kind::Cluster)));
    }
}
