//! What items stood for the last time, so that only those that changed are expanded again.

use std::cell::RefCell;
use std::sync::Arc;

use crate::diagnostic::{Findings, Level};
use crate::envoy::{Memo, Schema};
use crate::source::{Attachment, Attachments, ReadError};
use crate::topology::{Item, StaticResources, Topology};

use super::extension::{self, Types};
use super::{Beside, Known, Made, Native, duplicates, expand_item, patch, server};

/// The items of the last topology. What [`Memory::expand`] returns does not depend on it.
#[derive(Debug, Default)]
pub struct Memory {
    items: Memo<Expanded>,
    /// What any item may have looked at.
    static_resources: StaticResources,
    types: Types,
}

/// What one item stands for.
#[derive(Debug)]
struct Expanded {
    made: Vec<Made>,
    findings: Findings,
    asked: Vec<Asked>,
}

/// An attached file, and how it was.
#[derive(Debug)]
struct Asked {
    document: String,
    path: String,
    outcome: Result<Attachment, ReadError>,
}

/// Attachments that remember who was asked for.
struct Asking<'a> {
    attachments: &'a dyn Attachments,
    asked: RefCell<Vec<Asked>>,
}

impl Attachments for Asking<'_> {
    fn read(&self, document: &str, path: &str) -> Result<Attachment, ReadError> {
        let outcome = self.attachments.read(document, path);
        let (document, path) = (document.to_owned(), path.to_owned());
        self.asked.borrow_mut().push(Asked { document, path, outcome: outcome.clone() });
        outcome
    }
}

impl Memory {
    /// [`expand`](super::expand), for which items that did not change, nor anything that they ask for, are not expanded again.
    pub fn expand(
        &mut self,
        schema: &Schema,
        topology: Topology,
        beside: Beside<'_>,
        findings: &mut Findings,
    ) -> Vec<Native> {
        let Topology { items, patches, node_groups, static_resources } = topology;
        let types = extension::types(schema, &items);
        if static_resources != self.static_resources || types != self.types {
            *self = Self { items: Memo::default(), static_resources, types };
        }
        self.items.turn();
        let mut made = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let groups = item.groups.clone();
            let expanded = self.item(schema, item, beside);
            findings.append(expanded.findings.clone());
            made.extend(expanded.made.iter().cloned().map(|mut made| {
                (made.native.item, made.native.groups) = (index, groups.clone());
                made
            }));
        }
        duplicates(&made, findings);
        let mut natives: Vec<Native> = made.into_iter().map(|made| made.native).collect();
        server::mark(&mut natives);
        patch::apply(schema, patches, &node_groups, natives, findings)
    }

    fn item(&mut self, schema: &Schema, item: Item, beside: Beside<'_>) -> Arc<Expanded> {
        let is_same = |asked: &Asked| beside.attachments.read(&asked.document, &asked.path) == asked.outcome;
        if let Some(known) = self.items.get(&item.node, |known| known.asked.iter().all(is_same)) {
            return known;
        }
        // What nobody else holds cannot come back; it need not be copied either.
        let held = (Arc::strong_count(&item.node) > 1).then(|| Arc::clone(&item.node));
        let asking = Asking { attachments: beside.attachments, asked: RefCell::default() };
        let beside = Beside { attachments: &asking, ..beside };
        let known = Known { schema, static_resources: &self.static_resources, types: &self.types, beside };
        let (mut made, mut findings) = (Vec::new(), Findings::new());
        expand_item(&known, item, &mut findings, &mut made);
        let broken = findings.as_slice().iter().any(|finding| finding.level == Level::Error);
        for made in &mut made {
            made.native.broken = broken;
        }
        let expanded = Arc::new(Expanded { made, findings, asked: asking.asked.into_inner() });
        if let Some(node) = held {
            self.items.put(&node, Arc::clone(&expanded));
        }
        expanded
    }
}
