//! The definitions of node groups, and the key that makes a document one group's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, Node, Path, Value};

use super::section::{NODE_GROUP, NODE_GROUPS};
use super::{DEFAULT_GROUP, Membership, NodeGroup, Selector, StaticResources};

/// All definitions.
pub(super) struct Definitions {
    pub(super) groups: Vec<NodeGroup>,
    /// Whether the names of all groups could be read.
    pub(super) complete: bool,
}

/// A definition with the place of its name.
struct Definition {
    group: NodeGroup,
    name_span: Span,
    path: String,
}

/// Reads every `node_groups` there is, given with the places of the keys; there should be one at most.
pub(super) fn definitions(sections: Vec<(Span, Node)>, findings: &mut Findings) -> Definitions {
    let Some((first, _)) = sections.first() else {
        let (name, selector) = (DEFAULT_GROUP.into(), Selector::catch_all());
        let group = NodeGroup { name, selector, static_resources: StaticResources::default() };
        return Definitions { groups: vec![group], complete: true };
    };
    let first = *first;
    let before = findings.len();
    let mut reader = Reader { findings, path: Path::new(), complete: true };
    reader.path.field(NODE_GROUPS);
    let mut all = Vec::new();
    for (position, (key_span, node)) in sections.into_iter().enumerate() {
        if position > 0 {
            let message = "node groups are defined in more than one document";
            let finding = Finding::error("node-groups-twice", key_span, NODE_GROUPS, message);
            let help = "define all of them in one list: the first group that matches a node takes it, and documents have no \
                        order";
            reader.findings.push(finding.related(first, "first defined here").help(help));
        }
        all.extend(reader.section(node));
    }
    let complete = reader.complete;
    duplicates(&all, findings);
    // Which group comes first means nothing before all of them can be read.
    if findings.len() == before {
        unreachable(&all, findings);
        if !all.iter().any(|definition| definition.group.selector.is_catch_all()) {
            let message = "a node that matches no group is sent nothing";
            let finding = Finding::warning("no-catch-all", first, NODE_GROUPS, message);
            findings
                .push(finding.help("end the list with `- {name: default, match: {}}` to serve every node something"));
        }
    }
    Definitions { groups: all.into_iter().map(|definition| definition.group).collect(), complete }
}

/// The groups that a document's `node_group` names.
pub(super) fn membership(node: &Node, groups: &[NodeGroup], complete: bool, findings: &mut Findings) -> Membership {
    let names = match &node.value {
        Value::String(_) => std::slice::from_ref(node),
        Value::List(names) if !names.is_empty() => names,
        _ => {
            let found = if matches!(node.value, Value::List(_)) { "an empty list" } else { node.describe() };
            let message = format!("`{NODE_GROUP}` must be the name of a node group or a list of names, not {found}");
            let finding = Finding::error("wrong-type", node.span, NODE_GROUP, message);
            findings.push(finding.help("leave it out to serve the document to all node groups"));
            return Membership::default();
        }
    };
    let mut found = BTreeSet::new();
    for node in names {
        let Some(name) = node.as_str() else {
            let message = format!("the name of a node group is expected here, not {}", node.describe());
            findings.push(Finding::error("wrong-type", node.span, NODE_GROUP, message));
            continue;
        };
        match groups.iter().position(|group| *group.name == *name) {
            Some(position) => _ = found.insert(position),
            None if complete => findings.push(unknown(name, node.span, groups)),
            None => {}
        }
    }
    found.into_iter().collect()
}

fn unknown(name: &str, span: Span, groups: &[NodeGroup]) -> Finding {
    let names = groups.iter().map(|group| &*group.name);
    let help = match did_you_mean(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it in `{NODE_GROUPS}`, which one of the documents holds"),
    };
    Finding::error("unknown-node-group", span, NODE_GROUP, format!("there is no node group `{name}`")).help(help)
}

fn duplicates(all: &[Definition], findings: &mut Findings) {
    let mut first: BTreeMap<&str, &Definition> = BTreeMap::new();
    for second in all {
        let name = &*second.group.name;
        if let Some(first) = first.get(name) {
            let message = format!("the node group `{name}` is defined twice");
            let finding = Finding::error("duplicate-node-group", second.name_span, second.path.clone(), message);
            let help = "to match in more than one way give one group a list: `match: [{...}, {...}]`";
            findings.push(finding.related(first.name_span, "first defined here").help(help));
        } else {
            first.insert(name, second);
        }
    }
}

/// Groups that no node can come to.
fn unreachable(all: &[Definition], findings: &mut Findings) {
    for (position, definition) in all.iter().enumerate() {
        let earlier = &all[..position];
        let Some(taker) = definition.group.selector.taken_by(earlier, |earlier| &earlier.group.selector) else {
            continue;
        };
        let (name, taker) = (&definition.group.name, &all[taker]);
        let message = format!("no node can be in the group `{name}`: an earlier one takes all that it matches");
        let finding = Finding::error("unreachable-node-group", definition.name_span, definition.path.clone(), message);
        let label = format!("the first group that matches a node takes it, and `{}` comes before", taker.group.name);
        findings.push(finding.related(taker.name_span, label).help("put the narrower group first"));
    }
}

/// Reads definitions.
pub(super) struct Reader<'a> {
    pub(super) findings: &'a mut Findings,
    pub(super) path: Path,
    complete: bool,
}

impl Reader<'_> {
    fn section(&mut self, node: Node) -> Vec<Definition> {
        let items = match node.value {
            Value::List(items) if !items.is_empty() => items,
            _ => {
                let found = if matches!(node.value, Value::List(_)) { "an empty one" } else { node.describe() };
                self.complete = false;
                let help = "leave it out for a single group `default` that takes every node";
                self.report(node.span, format!("`{NODE_GROUPS}` must be a list of groups, not {found}"), help);
                return Vec::new();
            }
        };
        let mut all = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            self.path.index(index);
            let definition = self.definition(item);
            self.complete &= definition.is_some();
            all.extend(definition);
            self.path.pop();
        }
        all
    }

    fn definition(&mut self, node: Node) -> Option<Definition> {
        const KEYS: [&str; 2] = ["name", "match"];
        let Value::Map(entries) = node.value else {
            self.report(node.span, format!("a node group is a mapping, not {}", node.describe()), EXAMPLE);
            return None;
        };
        let (mut name, mut selector, mut named) = (None, None, false);
        for Entry { key, key_span, value } in entries {
            self.path.field(&key);
            match key.as_str() {
                "name" => (name, named) = (self.name(value), true),
                "match" => selector = Some(self.selector(&value)),
                _ => self.unknown(&key, key_span, "a node group", &KEYS),
            }
            self.path.pop();
        }
        if selector.is_none() {
            let message = "this node group does not say which nodes it matches";
            let finding = Finding::error("missing-match", node.span, self.path.to_string(), message);
            self.findings.push(finding.help("add `match`; `match: {}` takes every node that no earlier group takes"));
        }
        let Some((name, name_span)) = name else {
            if !named {
                let finding =
                    Finding::error("missing-name", node.span, self.path.to_string(), "this node group has no `name`");
                self.findings.push(finding.help("documents refer to it by that: `node_group: NAME`"));
            }
            return None;
        };
        let group = NodeGroup {
            name: Arc::from(name),
            selector: selector.unwrap_or_default(),
            static_resources: StaticResources::default(),
        };
        Some(Definition { group, name_span, path: self.path.to_string() })
    }

    fn name(&mut self, node: Node) -> Option<(String, Span)> {
        match node.value {
            Value::String(name) if !name.is_empty() => Some((name, node.span)),
            _ => {
                self.report(node.span, format!("a name is expected here, not {}", node.describe()), "");
                None
            }
        }
    }

    pub(super) fn unknown(&mut self, key: &str, span: Span, whose: &str, known: &[&str]) {
        let help = match did_you_mean(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{whose} has {}", list(known)),
        };
        let message = format!("{whose} has no `{key}`");
        self.findings.push(Finding::error("unknown-key", span, self.path.to_string(), message).help(help));
    }

    /// Something else than what is expected; `help` may be empty.
    pub(super) fn report(&mut self, span: Span, message: String, help: &str) {
        let finding = Finding::error("wrong-type", span, self.path.to_string(), message);
        self.findings.push(if help.is_empty() { finding } else { finding.help(help) });
    }
}

/// A definition.
pub(super) const EXAMPLE: &str = "such as `{name: edge, match: {cluster: edge}}`";

/// `a`, `b` and `c`, each in backticks.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
