//! The sections of a document.

use crate::envoy::Kind;

/// Names that exist in the proxies' bootstrap.
pub(super) const STATIC_RESOURCES: &str = "static_resources";

/// What a document may say.
pub(super) const HELP: &str = "the sections are `listeners`, `route_configs`, `clusters`, `load_assignments`, `secrets`, \
                               `runtimes`, `extension_configs`, `resources` and `static_resources`; keys that start with \
                               `x-` are ignored";

/// Each section that lists resources, with their kind. In `resources` each item's `"@type"` says what it is.
const SECTIONS: [(&str, Option<Kind>); 8] = [
    ("listeners", Some(Kind::Listener)),
    ("route_configs", Some(Kind::Route)),
    ("clusters", Some(Kind::Cluster)),
    ("load_assignments", Some(Kind::Endpoint)),
    ("secrets", Some(Kind::Secret)),
    ("runtimes", Some(Kind::Runtime)),
    ("extension_configs", Some(Kind::ExtensionConfig)),
    ("resources", None),
];

/// The section of this name: `Some(None)` for `resources`.
pub(super) fn find(name: &str) -> Option<Option<Kind>> {
    SECTIONS.iter().find(|(section, _)| *section == name).map(|(_, kind)| *kind)
}

/// The section that lists resources of a kind; `resources` takes those that have none of their own.
pub(crate) fn of_kind(kind: Kind) -> &'static str {
    SECTIONS.iter().find(|(_, of)| *of == Some(kind)).map_or("resources", |(name, _)| name)
}

/// The keys that a document may have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name).chain(["version", STATIC_RESOURCES])
}
