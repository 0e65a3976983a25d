//! The sections of a document.

use crate::envoy::Kind;

/// What a document may say.
pub(super) const HELP: &str = "the sections are `listeners`, `route_configs`, `clusters`, `load_assignments`, `secrets`, \
                               `runtimes`, `extension_configs`, `resources`, `patches`, `static_resources`, `node_groups` \
                               and `node_group`; keys that start with `x-` are ignored";

/// What a key of a document stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A list of resources of one kind; of `None` where each item's `"@type"` says what it is.
    Resources(Option<Kind>),
    /// A list of changes to resources.
    Patches,
    /// Names that exist in the proxies' bootstrap.
    StaticResources,
    /// The definitions of all node groups.
    NodeGroups,
    /// Which node groups the document is for.
    NodeGroup,
}

/// A key of a document.
pub(super) struct Section {
    name: &'static str,
    pub(super) content: Content,
}

const fn resources(name: &'static str, kind: Option<Kind>) -> Section {
    Section { name, content: Content::Resources(kind) }
}

const SECTIONS: [Section; 12] = [
    resources("listeners", Some(Kind::Listener)),
    resources("route_configs", Some(Kind::Route)),
    resources("clusters", Some(Kind::Cluster)),
    resources("load_assignments", Some(Kind::Endpoint)),
    resources("secrets", Some(Kind::Secret)),
    resources("runtimes", Some(Kind::Runtime)),
    resources("extension_configs", Some(Kind::ExtensionConfig)),
    resources("resources", None),
    Section { name: "patches", content: Content::Patches },
    Section { name: STATIC_RESOURCES, content: Content::StaticResources },
    Section { name: NODE_GROUPS, content: Content::NodeGroups },
    Section { name: NODE_GROUP, content: Content::NodeGroup },
];

pub(super) const STATIC_RESOURCES: &str = "static_resources";
pub(super) const NODE_GROUPS: &str = "node_groups";
pub(super) const NODE_GROUP: &str = "node_group";

/// The section of this name.
pub(super) fn find(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The section that lists resources of a kind; `resources` takes those that have none of their own.
pub(crate) fn of_kind(kind: Kind) -> &'static str {
    let section = SECTIONS.iter().find(|section| section.content == Content::Resources(Some(kind)));
    section.map_or("resources", |section| section.name)
}

/// The keys that a document may have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name).chain(["version"])
}
