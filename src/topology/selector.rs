//! Which nodes belong to which group: plain data, so that whoever serves can ask it anew for each snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{NodeGroup, TextMatch};
use crate::diagnostic::{Files, Findings};
use crate::source::Document;

/// The group of every node while no groups are defined.
pub const DEFAULT_GROUP: &str = "default";

/// A text of `core.v3.Node` that can choose a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Id,
    Cluster,
    UserAgentName,
    Region,
    Zone,
    SubZone,
}

impl Field {
    /// The texts that stand in the node itself.
    pub(super) const OWN: [Self; 3] = [Self::Id, Self::Cluster, Self::UserAgentName];
    /// The texts that stand in the node's `locality`.
    pub(super) const LOCALITY: [Self; 3] = [Self::Region, Self::Zone, Self::SubZone];

    /// The field's name in its message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Cluster => "cluster",
            Self::UserAgentName => "user_agent_name",
            Self::Region => "region",
            Self::Zone => "zone",
            Self::SubZone => "sub_zone",
        }
    }
}

/// What of a `core.v3.Node` can choose a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFields {
    /// `id`.
    pub id: String,
    /// `cluster`.
    pub cluster: String,
    /// `user_agent_name`.
    pub user_agent_name: String,
    /// `locality.region`.
    pub region: String,
    /// `locality.zone`.
    pub zone: String,
    /// `locality.sub_zone`.
    pub sub_zone: String,
    /// `metadata`; its numbers are floats, as in `google.protobuf.Struct`.
    pub metadata: Map<String, Value>,
}

impl NodeFields {
    fn get(&self, field: Field) -> &str {
        match field {
            Field::Id => &self.id,
            Field::Cluster => &self.cluster,
            Field::UserAgentName => &self.user_agent_name,
            Field::Region => &self.region,
            Field::Zone => &self.zone,
            Field::SubZone => &self.sub_zone,
        }
    }
}

/// What must hold of one node, all of it; nothing holds of every node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    pub(super) texts: BTreeMap<Field, TextMatch>,
    /// Each of its leaves must be found in the node's metadata, at the same path.
    pub(super) metadata: Map<String, Value>,
}

impl Conditions {
    fn hold(&self, node: &NodeFields) -> bool {
        let Self { texts, metadata } = self;
        texts.iter().all(|(field, text)| text.matches(node.get(*field))) && holds_all(&node.metadata, metadata)
    }

    /// Whether these surely hold of every node of which `other` holds.
    fn cover(&self, other: &Self) -> bool {
        let Self { texts, metadata } = self;
        let implied =
            |(field, text): (&Field, &TextMatch)| other.texts.get(field).is_some_and(|other| text.covers(other));
        texts.iter().all(implied) && holds_all(&other.metadata, metadata)
    }

    fn is_catch_all(&self) -> bool {
        let Self { texts, metadata } = self;
        texts.is_empty() && metadata.is_empty()
    }

    fn to_json(&self) -> Value {
        let Self { texts, metadata } = self;
        let of = |fields: [Field; 3]| {
            let given = fields.into_iter().filter_map(|field| Some((field, texts.get(&field)?)));
            given.map(|(field, text)| (field.name().to_owned(), text.to_json())).collect::<Map<_, _>>()
        };
        let mut all = of(Field::OWN);
        let locality = of(Field::LOCALITY);
        if !locality.is_empty() {
            all.insert("locality".to_owned(), locality.into());
        }
        if !metadata.is_empty() {
            all.insert("metadata".to_owned(), metadata.clone().into());
        }
        all.into()
    }
}

/// Whether every leaf of `wanted` is at its path in `have`.
fn holds_all(have: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, wanted)| match (have.get(key), wanted) {
        (Some(Value::Object(have)), Value::Object(wanted)) => holds_all(have, wanted),
        (Some(have), wanted) => have == wanted,
        (None, _) => false,
    })
}

/// The nodes of one group: those of which any of these hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector(pub(super) Vec<Conditions>);

impl Selector {
    /// Takes every node.
    pub fn catch_all() -> Self {
        Self(vec![Conditions::default()])
    }

    /// Takes the nodes of exactly this id.
    pub fn of_id(id: &str) -> Self {
        Self(vec![Conditions { texts: BTreeMap::from([(Field::Id, TextMatch::exact(id))]), metadata: Map::new() }])
    }

    /// Whether a node belongs to the group.
    pub fn takes(&self, node: &NodeFields) -> bool {
        self.0.iter().any(|conditions| conditions.hold(node))
    }

    /// Whether every node belongs to the group.
    pub(super) fn is_catch_all(&self) -> bool {
        self.0.iter().any(Conditions::is_catch_all)
    }

    /// The first of `earlier` that has a part in leaving nothing for this one; `None` if something may be left.
    pub(super) fn taken_by<T>(&self, earlier: &[T], selector: impl Fn(&T) -> &Self) -> Option<usize> {
        let taker = |conditions: &Conditions| {
            earlier.iter().position(|group| selector(group).0.iter().any(|taken| taken.cover(conditions)))
        };
        let takers: Option<Vec<usize>> = self.0.iter().map(taker).collect();
        takers?.into_iter().min()
    }

    /// As it is written under `match`.
    fn to_json(&self) -> Value {
        match &self.0[..] {
            [only] => only.to_json(),
            any => any.iter().map(Conditions::to_json).collect(),
        }
    }
}

/// The groups in the order in which they are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Selectors(Vec<(Arc<str>, Selector)>);

/// One group takes every node.
impl Default for Selectors {
    fn default() -> Self {
        Self(vec![(DEFAULT_GROUP.into(), Selector::catch_all())])
    }
}

impl FromIterator<(Arc<str>, Selector)> for Selectors {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Selector)>>(groups: I) -> Self {
        Self(groups.into_iter().collect())
    }
}

impl Selectors {
    /// The group of a node: the first that takes it.
    pub fn choose(&self, node: &NodeFields) -> Option<&Arc<str>> {
        self.0.iter().find(|(_, selector)| selector.takes(node)).map(|(name, _)| name)
    }

    /// Reads back the text of what [`Selectors::to_json`] returned; `None` if it is anything else.
    pub fn parse(definitions: &str) -> Option<Self> {
        let definitions: Value = serde_json::from_str(definitions).ok()?;
        let text = json!({"version": 1, "clusters": [], "node_groups": definitions}).to_string();
        // JSON may hold characters as they are that YAML wants escaped.
        let escaped = |c: char| if matches!(c, ' '..='~') { c.to_string() } else { format!("\\U{:08X}", u32::from(c)) };
        let text: String = text.chars().map(escaped).collect();
        let document = Document { name: "node groups".into(), bytes: text.into_bytes().into() };
        let mut findings = Findings::new();
        let topology = super::parse(&[document], &mut Files::new(), &mut findings);
        let group = |group: &NodeGroup| (Arc::clone(&group.name), group.selector.clone());
        if findings.has_errors() { None } else { Some(topology.node_groups.iter().map(group).collect()) }
    }

    /// The definitions as they are written under `node_groups`.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(name, selector)| json!({"name": **name, "match": selector.to_json()})).collect()
    }
}
