//! Codes of the commands: of those that compare with Envoy or read its configuration, and of the server.

use super::{Explanation, row};

/// Sorted by code.
pub(super) const CODES: &[Explanation] = &[
    row(
        "envoy",
        "what Envoy itself says",
        "`check --envoy` ran the binary on the same topology as a static configuration, and it refused.",
        "(anything that only Envoy can see, such as an error in a Lua script)",
        "mend what Envoy's message says, at the resource that the finding points at",
    ),
    row(
        "import-named",
        "a listener got a name",
        "Every listener of a topology has a name; Envoy's static ones need none.",
        "static_resources: {listeners: [{address: …}]}",
        "rename it in the topology, if another name says more",
    ),
    row(
        "not-envoy",
        "not a configuration of Envoy",
        "The file has none of the parts of a bootstrap, nor `resources` of filesystem xDS.",
        "apiVersion: v1",
        "give `import` an Envoy bootstrap, or an lds, cds, rds, eds or sds file",
    ),
    row(
        "not-imported",
        "a part that a topology does not hold",
        "What belongs to the proxy itself, such as its admin port, stays in its bootstrap.",
        "admin: {address: …}",
        "keep it in the proxies' bootstrap; `chancery bootstrap` prints one to start from",
    ),
    row(
        "too-many-removed",
        "an edit that removes more than it may",
        "`serve --max-removed-percent` limits which share of the resources of a type one edit may take from a node group. A \
         truncated file or a wrong branch looks like this.",
        "listeners: []   # where there were ten",
        "bring back what is missing, or confirm the edit with the `POST /reload?confirm=DIGEST` that the finding shows",
    ),
];
