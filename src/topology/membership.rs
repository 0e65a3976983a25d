//! Which node groups a document, and all that is in it, is for.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Node groups, by their positions among the definitions.
///
/// It is empty only where a document names no group that exists, which is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership(Arc<BTreeSet<usize>>);

impl Membership {
    /// The first `count` groups: all there are.
    pub fn all(count: usize) -> Self {
        (0..count).collect()
    }

    /// Whether a group is among them.
    pub fn contains(&self, group: usize) -> bool {
        self.0.contains(&group)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any group is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// The positions in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl FromIterator<usize> for Membership {
    fn from_iter<I: IntoIterator<Item = usize>>(groups: I) -> Self {
        Self(Arc::new(groups.into_iter().collect()))
    }
}
