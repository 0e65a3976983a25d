//! Clusters, and whether their endpoints fit their type.

use std::collections::BTreeMap;

use super::addresses;
use super::endpoints::{collect, has_any, host_names};
use super::site::{Site, Step, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, field};

/// Limits that a whole cluster has, and no host by itself.
const PER_CLUSTER: [&str; 6] =
    ["max_pending_requests", "max_requests", "max_retries", "retry_budget", "track_remaining", "max_connection_pools"];

/// A cluster whose type and endpoints do not fit together.
pub(super) fn cluster(site: &Site<'_>, findings: &mut Findings) {
    let message = site.message;
    if field::message(message, "cluster_type").is_some() {
        return;
    }
    if field::message(message, "eds_cluster_config").is_some()
        && field::enum_name(message, "type").is_some_and(|kind| kind != "EDS")
        && site.is_whole()
    {
        let text = "`eds_cluster_config` is for clusters of type EDS: Envoy refuses this one";
        let help = "write `type: EDS`, or remove it";
        findings.push(site.error("eds-config", steps!["eds_cluster_config"], text).help(help));
    }
    let (mut endpoints, base) = (Vec::new(), site.at(steps!["load_assignment"]));
    if let Some(assignment) = field::message(message, "load_assignment") {
        collect(assignment, &base, &mut endpoints);
    }
    let localities = field::message(message, "load_assignment")
        .map_or(0, |assignment| field::messages(assignment, "endpoints").count());
    let name = field::string(message, "name").unwrap_or_default();
    // Envoy's own default.
    let kind = field::enum_name(message, "type").unwrap_or_else(|| "STATIC".to_owned());
    if let Some(assignment) = field::message(message, "load_assignment") {
        addresses::check(site, assignment, &site.at(steps!["load_assignment"]), &kind, findings);
    }
    match kind.as_str() {
        "LOGICAL_DNS" if (endpoints.len() != 1 || localities > 1) && site.is_whole() => {
            let text = if endpoints.len() == 1 {
                format!("a LOGICAL_DNS cluster needs exactly one locality, not {localities}")
            } else {
                format!("a LOGICAL_DNS cluster needs exactly one endpoint, not {}", endpoints.len())
            };
            let has_list = field::message(message, "load_assignment").is_some();
            let here: &[Step] = if has_list { steps!["load_assignment"] } else { steps![] };
            findings.push(
                site.error("logical-dns-endpoints", here, text).help("for several host names use `type: STRICT_DNS`"),
            );
        }
        "ORIGINAL_DST" => original_destination(site, findings),
        "STATIC" | "EDS" => {
            let why = format!("a {kind} cluster resolves no names");
            let help = "use `type: STRICT_DNS`, or leave `type` out so that it is chosen by the endpoints";
            host_names(site, &endpoints, &why, help, findings);
        }
        _ => {}
    }
    if matches!(kind.as_str(), "STATIC" | "STRICT_DNS")
        && endpoints.is_empty()
        && site.is_whole()
        && !has_pipes(message)
    {
        let text = format!("cluster `{name}` has no endpoints: Envoy answers every request for it with 503");
        let help = "give it `endpoints: [...]`";
        findings.push(site.warning("no-endpoints", steps![], text).help(help));
    }
}

/// Whether it has any endpoint at all.
fn has_pipes(cluster: &DynamicMessage) -> bool {
    field::message(cluster, "load_assignment").is_some_and(has_any)
}

fn original_destination(site: &Site<'_>, findings: &mut Findings) {
    if field::message(site.message, "load_assignment").is_some() {
        let text = "an ORIGINAL_DST cluster has no endpoints: it connects to where the client meant to go";
        findings.push(site.error("original-dst", steps!["load_assignment"], text).help("remove its endpoints"));
    }
    let policy = field::enum_name(site.message, "lb_policy").unwrap_or_default();
    if policy != "CLUSTER_PROVIDED" && field::message(site.message, "load_balancing_policy").is_none() {
        let text = format!("an ORIGINAL_DST cluster cannot have the `lb_policy` {policy}");
        findings
            .push(site.error("original-dst", steps!["lb_policy"], text).help("write `lb_policy: CLUSTER_PROVIDED`"));
    }
}

/// Two limits of the same kind, of which Envoy takes one.
pub(super) fn thresholds(site: &Site<'_>, findings: &mut Findings) {
    for list in ["thresholds", "per_host_thresholds"] {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for (index, threshold) in field::messages(site.message, list).enumerate() {
            let priority = field::enum_name(threshold, "priority").unwrap_or_default();
            let other = PER_CLUSTER.iter().find(|name| list == "per_host_thresholds" && field::is_set(threshold, name));
            if let Some(other) = other {
                let text = format!("`{other}` is no limit of a single host: Envoy refuses the cluster");
                findings.push(
                    site.error(
                        "per-host-threshold",
                        &[Step::Field(list), Step::Index(index), Step::Field(other)],
                        text,
                    )
                    .help("move it to `thresholds`; for a host there is `max_connections`"),
                );
            }
            if let Some(first) = first.get(&priority) {
                let text = format!("two `{list}` are for the priority {priority}: Envoy takes the first");
                findings.push(
                    site.warning("duplicate-thresholds", steps![list, index], text)
                        .related(site.span(steps![list, *first]), "the first one")
                        .help("join them into one"),
                );
            } else {
                first.insert(priority, index);
            }
        }
    }
}
