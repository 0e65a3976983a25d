//! What was found in resources the last time, so that only those that changed are looked at again.

use std::sync::Arc;

use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Memo, Node, Schema};
use crate::expand::Native;
use crate::topology::NodeGroup;

use super::facts::Facts;
use super::{Checked, alone, read, together};

/// The resources of the last topology. What [`Memory::check`] returns does not depend on it.
#[derive(Debug, Default)]
pub struct Memory {
    items: Memo<Item>,
}

/// The resources that were made from one item.
struct Item {
    resources: Vec<Known>,
    findings: Findings,
    /// When this was so, and until when nothing changes by itself: certificates expire.
    moments: std::ops::Range<i64>,
}

/// A resource without what depends on the others.
struct Known {
    node: Arc<Node>,
    /// Whether its expansion was broken.
    given_broken: bool,
    message: Arc<DynamicMessage>,
    facts: Arc<Facts>,
    broken: bool,
}

impl Memory {
    /// [`check`](super::check), for which only what did not come in the last time is looked at by itself.
    pub fn check(
        &mut self,
        schema: &Schema,
        natives: Vec<Native>,
        groups: &[NodeGroup],
        now: i64,
        findings: &mut Findings,
    ) -> Vec<Checked> {
        self.items.turn();
        let mut checked = Vec::with_capacity(natives.len());
        let mut natives = natives.into_iter().peekable();
        while let Some(first) = natives.next() {
            let mut item = vec![first];
            while let Some(next) = natives.next_if(|next| next.item == item[0].item) {
                item.push(next);
            }
            self.item(schema, item, now, &mut checked, findings);
        }
        together(schema, &checked, groups, findings);
        checked
    }

    /// The resources of one item. Each is judged in the light of whether all of them could be read.
    fn item(
        &mut self,
        schema: &Schema,
        natives: Vec<Native>,
        now: i64,
        checked: &mut Vec<Checked>,
        findings: &mut Findings,
    ) {
        let is_same = |known: &Item| {
            known.moments.contains(&now)
                && known.resources.len() == natives.len()
                && known.resources.iter().zip(&natives).all(|(known, native)| {
                    Arc::ptr_eq(&known.node, &native.node) && known.given_broken == native.broken
                })
        };
        if let Some(known) = self.items.get(&natives[0].node, is_same) {
            findings.append(known.findings.clone());
            checked.extend(natives.into_iter().zip(&known.resources).map(|(native, known)| Checked {
                native,
                message: Arc::clone(&known.message),
                facts: Arc::clone(&known.facts),
                broken: known.broken,
            }));
            return;
        }
        // What nobody else holds cannot come back.
        let may_return = natives.iter().all(|native| Arc::strong_count(&native.node) > 1);
        let (before, first) = (findings.len(), checked.len());
        // What its expansion found counts: nothing is complained about twice.
        checked.extend(natives.into_iter().map(|native| read(schema, native, findings)));
        let item = &mut checked[first..];
        let broken = item.iter().any(|resource| resource.broken);
        for resource in &mut *item {
            resource.broken = broken;
            resource.facts = Arc::new(alone(schema, resource, now, findings));
        }
        if may_return {
            let known = |resource: &Checked| Known {
                node: Arc::clone(&resource.native.node),
                given_broken: resource.native.broken,
                message: Arc::clone(&resource.message),
                facts: Arc::clone(&resource.facts),
                broken,
            };
            let until = item.iter().filter_map(|resource| resource.facts.until).min().unwrap_or(i64::MAX);
            let kept = Item {
                resources: item.iter().map(known).collect(),
                findings: findings.since(before),
                moments: now..until,
            };
            self.items.put(&item[0].native.node, Arc::new(kept));
        }
    }
}
