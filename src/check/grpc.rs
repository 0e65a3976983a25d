//! What gRPC needs: clusters that speak HTTP/2, and for gRPC's own xDS clients, only what those understand.

use std::collections::{BTreeMap, BTreeSet};

use super::Noted;
use super::facts::{Manager, Routes};
use super::site::{below, is_inside, steps};
use crate::diagnostic::{Findings, Level};
use crate::envoy::{Kind, Path, field};

/// HTTP filters that gRPC clients know.
const FILTERS: [&str; 5] = ["router", "fault", "rbac", "stateful_session", "gcp_authn"];

/// The resources of a set by kind and name.
type Index<'a, 'b> = BTreeMap<(Kind, &'a str), &'a Noted<'b>>;

pub(super) fn check(set: &[&Noted<'_>], findings: &mut Findings) {
    let index: Index<'_, '_> =
        set.iter().map(|noted| ((noted.resource.native.kind, noted.resource.native.name.as_str()), *noted)).collect();
    for noted in set {
        services(noted, &index, findings);
    }
    let mut seen = BTreeSet::new();
    for noted in set.iter().filter(|noted| field::message(&noted.resource.message, "api_listener").is_some()) {
        for manager in &noted.facts.managers {
            filters(noted, manager, findings);
            for name in clusters(noted, manager, &index) {
                if seen.insert(name) {
                    cluster(name, noted, &index, findings);
                }
            }
        }
    }
}

/// Clusters that Envoy itself calls in gRPC.
fn services(noted: &Noted<'_>, index: &Index<'_, '_>, findings: &mut Findings) {
    for reference in noted.facts.references.iter().filter(|reference| reference.grpc) {
        let Some(cluster) = index.get(&(Kind::Cluster, reference.name.as_str())) else { continue };
        if cluster.facts.http2 || cluster.resource.broken {
            continue;
        }
        let text = format!("cluster `{}` speaks HTTP/1.1, and gRPC needs HTTP/2: every call fails", reference.name);
        let mut finding = noted.resource.error_unless_verbatim("grpc-http1", &reference.path, text);
        if cluster.resource.native.verbatim {
            finding.level = Level::Warning;
        }
        findings.push(
            finding.related(cluster.resource.native.node.span, "the cluster").help("add `http2: {}` to the cluster"),
        );
    }
}

/// The clusters that a connection manager's routes lead to.
fn clusters<'a>(noted: &'a Noted<'_>, manager: &Manager, index: &Index<'a, '_>) -> BTreeSet<&'a str> {
    let targets: Vec<_> = match &manager.routes {
        Routes::Inline => noted.facts.targets.iter().filter(|target| is_inside(&target.path, &manager.path)).collect(),
        Routes::Named(name) => index
            .iter()
            .find(|((kind, other), _)| *kind == Kind::Route && other == name)
            .map(|(_, table)| table.facts.targets.iter().collect())
            .unwrap_or_default(),
        Routes::Elsewhere => Vec::new(),
    };
    targets.into_iter().flat_map(|target| &target.clusters).map(String::as_str).collect()
}

/// A gRPC client refuses a listener with a filter that it does not know.
fn filters(noted: &Noted<'_>, manager: &Manager, findings: &mut Findings) {
    for (index, filter) in manager.filters.iter().enumerate() {
        let Some(message) = filter.message.as_deref() else { continue };
        let short = message.strip_prefix("envoy.extensions.filters.http.").and_then(|rest| rest.split('.').next());
        if filter.optional || short.is_some_and(|short| FILTERS.contains(&short)) {
            continue;
        }
        let text = format!("gRPC clients do not know the filter `{}` and refuse the listener", filter.name);
        let path = below(&manager.path, steps!["http_filters", index]);
        let help = "remove it, or add `is_optional: true`; gRPC knows router, fault, rbac and stateful_session";
        findings.push(noted.resource.error("grpc-filter", &path, text).help(help));
    }
}

/// A cluster that gRPC clients are sent to.
fn cluster(name: &str, listener: &Noted<'_>, index: &Index<'_, '_>, findings: &mut Findings) {
    let Some(cluster) = index.get(&(Kind::Cluster, name)) else { return };
    let message = &cluster.resource.message;
    let used = format!("listener `{}` for gRPC clients leads to it", listener.resource.native.name);
    let here = listener.resource.native.node.span;
    let kind = field::enum_name(message, "type").filter(|_| field::message(message, "cluster_type").is_none());
    if let Some(kind) = kind.filter(|kind| !matches!(kind.as_str(), "EDS" | "LOGICAL_DNS")) {
        let text = format!("gRPC clients refuse clusters of type {kind}, such as `{name}`");
        let path = below(&Path::new(), steps!["type"]);
        let help = "use `type: EDS` for addresses, or `type: LOGICAL_DNS` for one host name";
        findings.push(cluster.resource.error("grpc-cluster", &path, text).related(here, used.clone()).help(help));
    }
    let policy = field::enum_name(message, "lb_policy").unwrap_or_default();
    let takes = matches!(policy.as_str(), "ROUND_ROBIN" | "LEAST_REQUEST" | "RING_HASH");
    if !takes && ["load_balancing_policy", "cluster_type"].iter().all(|name| field::message(message, name).is_none()) {
        let text = format!("gRPC clients refuse the `lb_policy` {policy} of cluster `{name}`");
        let path = below(&Path::new(), steps!["lb_policy"]);
        let help = "gRPC knows ROUND_ROBIN, LEAST_REQUEST and RING_HASH";
        findings.push(cluster.resource.error("grpc-cluster", &path, text).related(here, used.clone()).help(help));
    }
    let service = super::eds_service(message).and_then(|service| index.get(&(Kind::Endpoint, service)));
    if let Some(assignment) = service {
        localities(assignment, here, &used, findings);
    }
}

/// gRPC clients leave out localities without a weight.
fn localities(assignment: &Noted<'_>, here: crate::diagnostic::Span, used: &str, findings: &mut Findings) {
    for (index, group) in field::messages(&assignment.resource.message, "endpoints").enumerate() {
        let weight = field::wrapped(group, "load_balancing_weight").unwrap_or_default();
        if weight == 0 && field::messages(group, "lb_endpoints").next().is_some() && !assignment.resource.broken {
            let text = "gRPC clients leave out a locality that has no `load_balancing_weight`";
            let path = below(&Path::new(), steps!["endpoints", index]);
            let help = "add `load_balancing_weight: 1`";
            let finding = assignment.resource.error("grpc-locality-weight", &path, text);
            findings.push(finding.related(here, used.to_owned()).help(help));
        }
    }
}
