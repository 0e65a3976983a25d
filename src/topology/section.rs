//! The sections of a document.

use crate::envoy::Kind;

/// Names that exist in the proxies' bootstrap.
pub(super) const STATIC_RESOURCES: &str = "static_resources";

/// What a document may say.
pub(super) const HELP: &str = "the sections are `listeners`, `route_configs`, `clusters`, `load_assignments`, `secrets`, \
                               `runtimes`, `extension_configs`, `resources` and `static_resources`; keys that start with \
                               `x-` are ignored";

/// A section that lists resources.
pub(super) struct Section {
    name: &'static str,
    /// What it lists; `None` in `resources`, where each item's `"@type"` says what it is.
    pub(super) kind: Option<Kind>,
}

const SECTIONS: [Section; 8] = [
    Section { name: "listeners", kind: Some(Kind::Listener) },
    Section { name: "route_configs", kind: Some(Kind::Route) },
    Section { name: "clusters", kind: Some(Kind::Cluster) },
    Section { name: "load_assignments", kind: Some(Kind::Endpoint) },
    Section { name: "secrets", kind: Some(Kind::Secret) },
    Section { name: "runtimes", kind: Some(Kind::Runtime) },
    Section { name: "extension_configs", kind: Some(Kind::ExtensionConfig) },
    Section { name: "resources", kind: None },
];

/// The section of this name.
pub(super) fn find(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The section that lists resources of a kind; `resources` takes those that have none of their own.
pub(crate) fn of_kind(kind: Kind) -> &'static str {
    SECTIONS.iter().find(|section| section.kind == Some(kind)).map_or("resources", |section| section.name)
}

/// The keys that a document may have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name).chain(["version", STATIC_RESOURCES])
}
