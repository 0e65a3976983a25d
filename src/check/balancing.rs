//! How clusters choose among their endpoints.

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// Cluster types that choose the endpoint themselves, and no others do.
const OWN: [&str; 3] = ["envoy.clusters.aggregate", "envoy.clusters.composite", "envoy.clusters.dynamic_forward_proxy"];
/// Extensions that are Envoy's plain types by another name.
const PLAIN: &str = "envoy.cluster.";

/// A policy that does not fit the cluster's type.
pub(super) fn policy(site: &Site<'_>, findings: &mut Findings) {
    let message = site.message;
    let policy = field::enum_name(message, "lb_policy").unwrap_or_default();
    let here = steps!["lb_policy"];
    let policies = field::message(message, "load_balancing_policy");
    if let Some(policies) = policies {
        if field::messages(policies, "policies").next().is_none() && site.is_whole() {
            let text = "this `load_balancing_policy` has no `policies`: Envoy refuses the cluster";
            let help = "add one, or remove it and write `lb_policy`";
            findings.push(site.error("lb-policy", steps!["load_balancing_policy"], text).help(help));
        }
        return;
    }
    if !site.is_whole() {
        return;
    }
    if policy == "LOAD_BALANCING_POLICY_CONFIG" {
        let text =
            "this `lb_policy` stands for a `load_balancing_policy`, and there is none: Envoy refuses the cluster";
        findings.push(site.error("lb-policy", here, text).help("add `load_balancing_policy`, or name a policy"));
        return;
    }
    let provided = policy == "CLUSTER_PROVIDED";
    if provided && field::message(message, "lb_subset_config").is_some() {
        let text = "a cluster that chooses endpoints itself has no subsets: Envoy refuses it";
        findings.push(site.error("lb-policy", steps!["lb_subset_config"], text).help("remove `lb_subset_config`"));
    }
    let custom =
        field::message(message, "cluster_type").map(|custom| field::string(custom, "name").unwrap_or_default());
    let kind = field::enum_name(message, "type").unwrap_or_else(|| "STATIC".to_owned());
    let chooses = match custom {
        Some(name) if OWN.contains(&name) || name == "envoy.cluster.original_dst" => true,
        Some(name) if name.starts_with(PLAIN) => false,
        Some(_) => return,
        // That it needs this policy is checked with the rest of it.
        None if kind == "ORIGINAL_DST" => return,
        None => false,
    };
    let what = custom.map_or(kind, |name| format!("`{name}`"));
    if provided && !chooses {
        let text = format!("a cluster of type {what} does not choose endpoints itself: Envoy refuses this `lb_policy`");
        findings.push(site.error("lb-policy", here, text).help("write ROUND_ROBIN, LEAST_REQUEST or the like"));
    } else if chooses && !provided {
        let text = format!("a cluster of type {what} chooses endpoints itself: Envoy refuses the `lb_policy` {policy}");
        findings.push(site.error("lb-policy", here, text).help("write `lb_policy: CLUSTER_PROVIDED`"));
    }
}

/// Where a subset is empty, a selector may fall back to fewer of its keys.
pub(super) fn selector(site: &Site<'_>, findings: &mut Findings) {
    if field::enum_name(site.message, "fallback_policy").is_none_or(|policy| policy != "KEYS_SUBSET")
        || !site.is_whole()
    {
        return;
    }
    let keys = field::strings(site.message, "keys");
    let fewer = field::strings(site.message, "fallback_keys_subset");
    let (text, help) = if fewer.is_empty() {
        ("KEYS_SUBSET needs `fallback_keys_subset`".to_owned(), "name the keys that are to be left")
    } else if let Some(other) = fewer.iter().find(|key| !keys.contains(key)) {
        (format!("`{other}` is none of this selector's `keys`"), "name some of `keys`, and not all")
    } else if keys.iter().all(|key| fewer.contains(key)) {
        ("`fallback_keys_subset` has all of this selector's `keys`".to_owned(), "leave one of them out")
    } else {
        return;
    };
    let text = format!("{text}: Envoy refuses the cluster");
    findings.push(site.error("invalid-value", steps!["fallback_keys_subset"], text).help(help));
}
