//! Hash policies of routes, and clusters that balance by hash: one is nothing without the other.

use std::collections::BTreeMap;

use super::Noted;
use super::site::{below, steps};
use crate::diagnostic::Findings;
use crate::envoy::{Kind, Path, field};

pub(super) fn check(set: &[&Noted<'_>], findings: &mut Findings) {
    let clusters: BTreeMap<&str, &Noted<'_>> = set
        .iter()
        .filter(|noted| noted.resource.native.kind == Kind::Cluster)
        .map(|noted| (noted.resource.native.name.as_str(), *noted))
        .collect();
    // Whether any of a cluster's routes says how to hash.
    let mut routed: BTreeMap<&str, bool> = BTreeMap::new();
    for noted in set {
        for target in &noted.facts.targets {
            for name in &target.clusters {
                *routed.entry(name).or_default() |= target.hashes;
            }
            let known: Vec<_> = target.clusters.iter().filter_map(|name| clusters.get(name.as_str())).collect();
            let all_known = known.len() == target.clusters.len() && !known.is_empty();
            if target.hashes && all_known && known.iter().all(|cluster| balances(cluster) == Some(false)) {
                let text = format!(
                    "this hash policy changes nothing: cluster `{}` does not balance by hash",
                    target.clusters[0]
                );
                let path = below(&target.path, steps!["hash_policy"]);
                findings.push(
                    noted
                        .resource
                        .warning("hash-policy", &path, text)
                        .related(known[0].resource.native.node.span, "the cluster")
                        .help("add `lb_policy: RING_HASH` or `lb_policy: MAGLEV` to the cluster"),
                );
            }
        }
    }
    for (name, cluster) in &clusters {
        if balances(cluster) == Some(true) && routed.get(name) == Some(&false) && !cluster.resource.broken {
            let text =
                format!("cluster `{name}` balances by hash, and no route to it says what to hash: it picks at random");
            let path = below(&Path::new(), steps!["lb_policy"]);
            findings.push(
                cluster.resource.warning("hash-policy", &path, text).help(
                    "add a `hash_policy` to its routes, such as `hash_policy: [{header: {header_name: x-user}}]`",
                ),
            );
        }
    }
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
