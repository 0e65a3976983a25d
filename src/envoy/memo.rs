//! What was made of trees, for as long as the same trees come back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Node;

/// Results by the tree that they were made from: the same `Arc`, not an equal one. They stay from one round to the next.
pub struct Memo<V> {
    this: Round<V>,
    last: Round<V>,
}

/// By the tree's address, which is the tree's alone while it is held here.
type Round<V> = BTreeMap<usize, (Arc<Node>, Arc<V>)>;

/// Trees may hold private keys: they are not shown.
impl<V> fmt::Debug for Memo<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { this, last } = self;
        write!(f, "Memo({} + {} trees)", this.len(), last.len())
    }
}

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self { this: Round::new(), last: Round::new() }
    }
}

impl<V> Memo<V> {
    /// Begins a round: what was not asked for in the last one is forgotten.
    pub fn turn(&mut self) {
        self.last = std::mem::take(&mut self.this);
    }

    /// What was made of a tree, if it is still `good`.
    pub fn get(&mut self, node: &Arc<Node>, good: impl FnOnce(&V) -> bool) -> Option<Arc<V>> {
        let address = Arc::as_ptr(node).addr();
        let known = self.last.remove(&address).filter(|(_, value)| good(value))?;
        let value = Arc::clone(&known.1);
        self.this.insert(address, known);
        Some(value)
    }

    /// Keeps what was made of a tree.
    pub fn put(&mut self, node: &Arc<Node>, value: Arc<V>) {
        self.this.insert(Arc::as_ptr(node).addr(), (Arc::clone(node), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    #[test]
    fn a_result_stays_while_the_same_tree_is_asked_for() {
        let tree = || Arc::new(Node::bool(Span::default(), true));
        let held = tree();
        let mut memo = Memo::default();
        memo.put(&held, Arc::new(1));
        memo.turn();
        assert_eq!(memo.get(&Arc::clone(&held), |_| true).as_deref(), Some(&1));
        assert_eq!(memo.get(&tree(), |_| true), None, "an equal tree is another one");
        memo.turn();
        assert_eq!(memo.get(&held, |value| *value == 2), None, "it is not good any more");
        assert_eq!(memo.get(&held, |_| true), None);
        memo.put(&held, Arc::new(3));
        memo.turn();
        memo.turn();
        assert_eq!(memo.get(&held, |_| true), None, "nobody asked for it in between");
    }
}
