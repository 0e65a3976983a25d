//! Hash policies of routes, and clusters that balance by hash: one is nothing without the other.

use std::collections::BTreeMap;

use super::Noted;
use super::index::Index;
use super::site::{below, steps};
use crate::diagnostic::Findings;
use crate::envoy::{Kind, Path, field};

pub(super) fn check(index: &Index<'_, '_>, findings: &mut Findings) {
    // Whether any route to a cluster that balances by hash says how.
    let mut routed: BTreeMap<&str, bool> = BTreeMap::new();
    for noted in index.set {
        for target in &noted.facts.targets {
            let clusters = || target.clusters.iter().map(|name| index.get(Kind::Cluster, name));
            for name in clusters().flatten().filter(|cluster| balances(cluster) == Some(true)).map(name) {
                *routed.entry(name).or_default() |= target.hashes;
            }
            if !target.hashes || !clusters().all(|cluster| cluster.is_some_and(|one| balances(one) == Some(false))) {
                continue;
            }
            let Some(first) = clusters().flatten().next() else { continue };
            let text = format!("this hash policy changes nothing: cluster `{}` does not balance by hash", name(first));
            let path = below(&target.path, steps!["hash_policy"]);
            findings.push(
                noted
                    .resource
                    .warning("hash-policy", &path, text)
                    .related(first.resource.native.node.span, "the cluster")
                    .help("add `lb_policy: RING_HASH` or `lb_policy: MAGLEV` to the cluster"),
            );
        }
    }
    for (name, _) in routed.iter().filter(|(_, hashes)| !**hashes) {
        let Some(cluster) = index.get(Kind::Cluster, name).filter(|cluster| !cluster.resource.broken) else { continue };
        let text =
            format!("cluster `{name}` balances by hash, and no route to it says what to hash: it picks at random");
        let path = below(&Path::new(), steps!["lb_policy"]);
        findings.push(
            cluster
                .resource
                .warning("hash-policy", &path, text)
                .help("add a `hash_policy` to its routes, such as `hash_policy: [{header: {header_name: x-user}}]`"),
        );
    }
}

fn name<'a>(noted: &'a Noted<'_>) -> &'a str {
    &noted.resource.native.name
}

/// Whether a cluster chooses endpoints by hash, if that can be told.
fn balances(cluster: &Noted<'_>) -> Option<bool> {
    let message = &cluster.resource.message;
    if ["load_balancing_policy", "cluster_type"].iter().any(|name| field::message(message, name).is_some()) {
        return None;
    }
    let policy = field::enum_name(message, "lb_policy")?;
    match policy.as_str() {
        "RING_HASH" | "MAGLEV" => Some(true),
        "ROUND_ROBIN" | "LEAST_REQUEST" | "RANDOM" => Some(false),
        _ => None,
    }
}
