//! Changes to what the items stand for, one node group at a time.
//!
//! A patch is merged (RFC 7396) into the native form of the resources that it names, derived ones included, in each group
//! that its document is for. A resource that some of its groups patch differently becomes several, each for the groups in
//! which it is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, Kind, Node, Schema, Value};
use crate::topology::{self, Membership, NodeGroup};

use super::merge::{Leaf, Merge};
use super::object::{TYPE, is};
use super::{Native, kind_of, short};

/// What a patch must hold.
const EXAMPLE: &str = "a patch has `\"@type\"` and `name` of what it changes, and `merge` with the changes";

/// One patch that could be read.
struct Patch {
    kind: Kind,
    name: String,
    name_span: Span,
    merge: Node,
    path: String,
    groups: Membership,
    document: usize,
}

/// The resources with every patch merged in.
pub(super) fn apply(
    schema: &Schema,
    patches: Vec<topology::Patch>,
    groups: &[NodeGroup],
    mut natives: Vec<Native>,
    findings: &mut Findings,
) -> Vec<Native> {
    let mut unread: BTreeSet<(Kind, String)> = BTreeSet::new();
    let patches: Vec<Patch> = patches
        .into_iter()
        .filter_map(|patch| read(patch, findings).map_err(|target| unread.extend(target)).ok())
        .collect();
    // Without its patch, a resource is not what was meant.
    for native in natives.iter_mut().filter(|_| !unread.is_empty()) {
        native.broken |= unread.iter().any(|(kind, name)| *kind == native.kind && *name == native.name);
    }
    if patches.is_empty() {
        return natives;
    }
    duplicates(&patches, findings);
    for patch in &patches {
        target(patch, groups, &natives, findings);
    }
    let mut by_target: BTreeMap<Kind, BTreeMap<&str, Vec<&Patch>>> = BTreeMap::new();
    for patch in &patches {
        by_target.entry(patch.kind).or_default().entry(&patch.name).or_default().push(patch);
    }
    let mut all = Vec::with_capacity(natives.len());
    for native in natives {
        match by_target.get(&native.kind).and_then(|names| names.get(native.name.as_str())) {
            Some(patches) => patched(schema, native, patches, findings, &mut all),
            None => all.push(native),
        }
    }
    all
}

/// A patch, or what it would have changed, if that can be told.
fn read(patch: topology::Patch, findings: &mut Findings) -> Result<Patch, Option<(Kind, String)>> {
    let topology::Patch { node, path, groups, document } = patch;
    let before = findings.len();
    for Entry { key, key_span, .. } in node.entries().unwrap_or_default() {
        if !["@type", "name", "merge"].contains(&key.as_str()) {
            let message = format!("a patch has no `{key}`");
            let help = match did_you_mean(key, ["@type", "name", "merge"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => EXAMPLE.to_owned(),
            };
            findings.push(Finding::error("unknown-key", *key_span, format!("{path}.{key}"), message).help(help));
        }
    }
    let kind = if node.get(TYPE).is_some() {
        kind_of(None, &node, &path, findings)
    } else {
        let message = "a patch must say what type of resource it changes";
        findings.push(Finding::error("missing-type", node.span, path.clone(), message).help(EXAMPLE));
        None
    };
    let name = match node.get("name") {
        Some(Node { span, value: Value::String(name) }) if !name.is_empty() => Some((name.clone(), *span)),
        Some(name) if !name.is_null() => {
            let message = format!("the name of a resource is expected here, not {}", name.describe());
            findings.push(Finding::error("wrong-type", name.span, format!("{path}.name"), message));
            None
        }
        _ => {
            let message = "a patch must name the resource that it changes";
            findings.push(Finding::error("missing-name", node.span, path.clone(), message).help(EXAMPLE));
            None
        }
    };
    let merge = match node.get("merge") {
        Some(merge) if merge.entries().is_some_and(|entries| !entries.is_empty()) => Some(merge.clone()),
        other => {
            let found = match other {
                Some(merge) if merge.entries().is_none() => format!(", not {}", merge.describe()),
                _ => String::new(),
            };
            let span = other.map_or(node.span, |merge| merge.span);
            let message = format!("`merge` must be a mapping with what the patch changes{found}");
            let finding = Finding::error("wrong-type", span, format!("{path}.merge"), message);
            findings.push(finding.help("such as `merge: {connect_timeout: 30s}`; null removes a field"));
            None
        }
    };
    let target = kind.zip(name.as_ref().map(|(name, _)| name.clone()));
    let (Some((name, name_span)), Some(kind), Some(merge)) = (name, kind, merge) else { return Err(target) };
    let names = merge.entries().unwrap_or_default().iter().find(|entry| is(&entry.key, kind.name_field()));
    if let Some(Entry { key, key_span, .. }) = names {
        let message = format!("a patch cannot change `{key}`: it is what the resource is known by");
        findings.push(Finding::error("renaming-patch", *key_span, format!("{path}.merge.{key}"), message));
    }
    if findings.len() > before {
        return Err(target);
    }
    Ok(Patch { kind, name, name_span, merge, path, groups, document })
}

/// One document changes a resource in one place.
fn duplicates(patches: &[Patch], findings: &mut Findings) {
    let mut first: BTreeMap<(Kind, &str, usize), &Patch> = BTreeMap::new();
    for second in patches {
        let Patch { kind, name, name_span, path, document, .. } = second;
        if let Some(first) = first.get(&(*kind, name, *document)) {
            let message = format!("this document patches the {} `{name}` twice", short(*kind));
            let finding = Finding::error("duplicate-patch", *name_span, path.clone(), message);
            findings.push(finding.related(first.name_span, "first patched here").help("join the two patches"));
        } else {
            first.insert((*kind, name, *document), second);
        }
    }
}

/// A patch that changes nothing in one of its groups is a mistake that would go unnoticed.
fn target(patch: &Patch, groups: &[NodeGroup], natives: &[Native], findings: &mut Findings) {
    let Patch { kind, name, name_span, path, .. } = patch;
    let of_kind = || natives.iter().filter(|native| native.kind == *kind);
    let named: Vec<&Native> = of_kind().filter(|native| native.name == *name).collect();
    // What is for no group is there because of a mistake that was reported.
    let is_in = |native: &Native, group: usize| native.groups.contains(group) || native.groups.is_empty();
    let is_missing = |group: &usize| !named.iter().any(|native| is_in(native, *group));
    let missing: Vec<usize> = patch.groups.iter().filter(is_missing).collect();
    let Some(first) = missing.first() else { return };
    let list: Vec<String> = missing.iter().map(|group| format!("`{}`", groups[*group].name)).collect();
    let mut message = format!("there is no {} `{name}` to patch", short(*kind));
    if groups.len() > 1 {
        let noun = if list.len() == 1 { "node group" } else { "node groups" };
        message = format!("{message} in the {noun} {}", list.join(", "));
    }
    let candidates = of_kind().filter(|native| is_in(native, *first));
    let help = match did_you_mean(name, candidates.map(|native| native.name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !named.is_empty() => {
            "move the patch to a document with the `node_group` of those that have the resource".to_owned()
        }
        None => "`chancery render` shows the types and names of all resources".to_owned(),
    };
    findings.push(Finding::error("patch-without-target", *name_span, path.clone(), message).help(help));
}

/// One resource as it is in each of its groups, equal ones together.
fn patched(schema: &Schema, native: Native, patches: &[&Patch], findings: &mut Findings, all: &mut Vec<Native>) {
    let mut variants: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for group in native.groups.iter() {
        let applied = patches.iter().enumerate().filter(|(_, patch)| patch.groups.contains(group));
        variants.entry(applied.map(|(position, _)| position).collect()).or_default().push(group);
    }
    if variants.is_empty() {
        all.push(native);
        return;
    }
    for (applied, groups) in variants {
        let mut node = Node::clone(&native.node);
        let mut leaves: Vec<Leaf> = Vec::new();
        for patch in applied.into_iter().map(|position| patches[position]) {
            let mut merge = Merge::new(schema);
            node = merge.resource(native.kind, node, &patch.merge);
            let own = merge.into_leaves();
            if let Some((mine, other)) =
                own.iter().find_map(|leaf| Some((leaf, leaves.iter().find(|old| old.clashes(leaf))?)))
            {
                let message =
                    format!("two patches of the {} `{}` set `{}`", short(native.kind), native.name, mine.name());
                let path = format!("{}.merge.{}", patch.path, mine.name());
                let finding = Finding::error("conflicting-patches", mine.span, path, message);
                findings.push(
                    finding
                        .related(other.span, "the other sets it here")
                        .help("no patch comes before another: remove one"),
                );
            }
            leaves.extend(own);
        }
        all.push(Native { node: Arc::new(node), groups: groups.into_iter().collect(), ..native.clone() });
    }
}
