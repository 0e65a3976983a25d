//! What gRPC needs: clusters that speak HTTP/2, and for gRPC's own xDS clients, only what those understand.

use std::collections::{BTreeMap, BTreeSet};

use super::Noted;
use super::facts::Manager;
use super::index::Index;
use super::references::from_ads;
use super::site::{Step, below, steps};
use super::tables::{Table, Tables};
use crate::diagnostic::{Finding, Findings, Level, Span};
use crate::envoy::{Kind, Path, field};

/// HTTP filters that gRPC clients know.
const FILTERS: [&str; 5] = ["router", "fault", "rbac", "stateful_session", "gcp_authn"];
/// The one cluster type of its own that gRPC clients know.
const AGGREGATE: &str = "envoy.clusters.aggregate";

pub(super) fn check(index: &Index<'_, '_>, findings: &mut Findings) {
    let set = index.set;
    for noted in set {
        services(noted, index, findings);
    }
    let tables = Tables::of(set);
    let mut reached = Reached { index, clusters: BTreeSet::new(), endpoints: BTreeMap::new() };
    for noted in set.iter().filter(|noted| field::message(&noted.resource.message, "api_listener").is_some()) {
        for manager in &noted.facts.managers {
            let help =
                "remove it, or add `is_optional: true`; gRPC clients know router, fault, rbac and stateful_session";
            filters(noted, manager, ("clients", &FILTERS, help), findings);
            source(noted, manager, "clients", findings);
            if let Some(table) = tables.find(noted, manager) {
                matches(&table, findings);
                let own = table.noted.facts.targets.iter().filter(|target| table.holds(&target.path));
                for name in own.flat_map(|target| &target.clusters) {
                    reached.cluster(name, noted, findings);
                }
            }
        }
    }
    for noted in set {
        let listener = reached.endpoints.get(&(noted.resource.native.kind, noted.resource.native.name.as_str()));
        flaws(noted, listener.copied(), findings);
    }
}

/// Clusters that Envoy itself calls in gRPC.
fn services(noted: &Noted<'_>, index: &Index<'_, '_>, findings: &mut Findings) {
    for reference in noted.facts.references.iter().filter(|reference| reference.grpc) {
        let Some(cluster) = index.get(Kind::Cluster, &reference.name) else { continue };
        if cluster.facts.http2 || cluster.resource.broken {
            continue;
        }
        let text = format!("cluster `{}` speaks HTTP/1.1, and gRPC needs HTTP/2: every call fails", reference.name);
        let mut finding = noted.resource.error_unless_verbatim("grpc-http1", &reference.path, text);
        if cluster.resource.native.verbatim {
            finding.level = Level::Warning;
        }
        findings.push(
            finding
                .related(cluster.resource.native.node.span, "the cluster")
                .help("add `http2_protocol_options: {}` to the cluster"),
        );
    }
}

/// A gRPC client or server refuses a listener with a filter that it does not know.
pub(super) fn filters(
    noted: &Noted<'_>,
    manager: &Manager,
    (who, known, help): (&str, &[&str], &str),
    findings: &mut Findings,
) {
    for (index, filter) in manager.filters.iter().enumerate() {
        let Some(message) = filter.message.as_deref() else { continue };
        let short = message.strip_prefix("envoy.extensions.filters.http.").and_then(|rest| rest.split('.').next());
        if filter.optional || short.is_some_and(|short| known.contains(&short)) {
            continue;
        }
        let text = format!("gRPC {who} do not know the filter `{}` and refuse the listener", filter.name);
        let path = below(&manager.path, steps!["http_filters", index]);
        findings.push(noted.resource.error("grpc-filter", &path, text).help(help));
    }
}

/// gRPC asks for routes on the stream that it has.
pub(super) fn source(noted: &Noted<'_>, manager: &Manager, who: &str, findings: &mut Findings) {
    if manager.over_ads || noted.resource.broken {
        return;
    }
    let text = format!("gRPC {who} ask for routes over ADS only, and refuse a listener with another source");
    let path = below(&manager.path, steps!["rds", "config_source"]);
    let help = "write `config_source: {ads: {}}`, or `rds: NAME` for short";
    findings.push(noted.resource.error("grpc-config-source", &path, text).help(help));
}

/// Headers that begin with `:` are none to gRPC.
fn matches(table: &Table<'_, '_>, findings: &mut Findings) {
    for path in table.noted.facts.pseudo_headers.iter().filter(|path| table.holds(path)) {
        let text = "gRPC clients see no headers that begin with `:`: this match can never be made";
        let help = "remove it; every call is a POST, and its path is matched by `prefix` or `path`";
        findings.push(table.noted.resource.error("grpc-match", path, text).help(help));
    }
}

/// The clusters that gRPC clients are sent to.
struct Reached<'a, 'b> {
    index: &'a Index<'a, 'b>,
    clusters: BTreeSet<String>,
    /// Resources with endpoints, and the listener that leads there.
    endpoints: BTreeMap<(Kind, &'a str), &'a Noted<'b>>,
}

impl<'a, 'b> Reached<'a, 'b> {
    fn cluster(&mut self, name: &str, listener: &'a Noted<'b>, findings: &mut Findings) {
        let Some(cluster) = self.index.get(Kind::Cluster, name) else { return };
        if !self.clusters.insert(name.to_owned()) {
            return;
        }
        let message = &cluster.resource.message;
        let mut refuse = |code, path: &Path, text: String, help: &str| {
            let finding = cluster.resource.error(code, path, text);
            let (span, label) = leads(listener);
            findings.push(finding.related(span, label).help(help));
        };
        let custom =
            field::message(message, "cluster_type").map(|custom| field::string(custom, "name").unwrap_or_default());
        let kind = custom.map_or_else(|| field::enum_name(message, "type"), |custom| Some(custom.to_owned()));
        if let Some(kind) = kind.filter(|kind| !["EDS", "LOGICAL_DNS", AGGREGATE].contains(&kind.as_str())) {
            let text = format!("gRPC clients refuse clusters of type {kind}, such as `{name}`");
            let path = below(&Path::new(), &[Step::Field(if custom.is_some() { "cluster_type" } else { "type" })]);
            let help = "use `type: EDS` for addresses, or `type: LOGICAL_DNS` for one host name";
            refuse("grpc-cluster", &path, text, help);
        }
        let policy = field::enum_name(message, "lb_policy").unwrap_or_default();
        let takes = matches!(policy.as_str(), "ROUND_ROBIN" | "LEAST_REQUEST" | "RING_HASH");
        if !takes && custom.is_none() && field::message(message, "load_balancing_policy").is_none() {
            let text = format!("gRPC clients refuse the `lb_policy` {policy} of cluster `{name}`");
            let path = below(&Path::new(), steps!["lb_policy"]);
            refuse("grpc-cluster", &path, text, "gRPC knows ROUND_ROBIN, LEAST_REQUEST and RING_HASH");
        }
        if custom == Some(AGGREGATE) {
            let parts = cluster.facts.references.iter().filter(|reference| reference.kind == Kind::Cluster);
            for part in parts {
                self.cluster(&part.name, listener, findings);
            }
            return;
        }
        self.endpoints.insert((Kind::Cluster, &cluster.resource.native.name), listener);
        let Some(service) = super::eds_service(message) else { return };
        let config =
            field::message(message, "eds_cluster_config").and_then(|config| field::message(config, "eds_config"));
        if !config.is_some_and(from_ads) && !cluster.resource.broken {
            let text = format!("gRPC clients ask for endpoints over ADS only, and refuse the cluster `{name}`");
            let path = below(&Path::new(), steps!["eds_cluster_config", "eds_config"]);
            refuse("grpc-config-source", &path, text, "write `eds_config: {ads: {}}`");
        }
        if let Some(assignment) = self.index.get(Kind::Endpoint, service) {
            self.endpoints.insert((Kind::Endpoint, &assignment.resource.native.name), listener);
            localities(assignment, listener, findings);
        }
    }
}

/// The place and the role of the listener that leads somewhere.
fn leads(listener: &Noted<'_>) -> (Span, String) {
    let native = &listener.resource.native;
    (native.node.span, format!("listener `{}` for gRPC clients leads to it", native.name))
}

/// gRPC clients leave out localities without a weight.
fn localities(assignment: &Noted<'_>, listener: &Noted<'_>, findings: &mut Findings) {
    for (index, group) in field::messages(&assignment.resource.message, "endpoints").enumerate() {
        let weight = field::wrapped(group, "load_balancing_weight").unwrap_or_default();
        if weight == 0 && field::messages(group, "lb_endpoints").next().is_some() && !assignment.resource.broken {
            let text = "gRPC clients leave out a locality that has no `load_balancing_weight`";
            let path = below(&Path::new(), steps!["endpoints", index]);
            let finding = assignment.resource.error("grpc-locality-weight", &path, text);
            let (span, label) = leads(listener);
            findings.push(finding.related(span, label).help("add `load_balancing_weight: 1`"));
        }
    }
}

/// What is suspicious to Envoy is wrong to gRPC clients.
fn flaws(noted: &Noted<'_>, listener: Option<&Noted<'_>>, findings: &mut Findings) {
    for flaw in &noted.facts.flaws {
        findings.push(match listener {
            None => flaw.clone(),
            Some(listener) => {
                let (span, label) = leads(listener);
                let message = format!("{}, and gRPC clients refuse the cluster", flaw.message);
                Finding { level: Level::Error, message, ..flaw.clone() }.related(span, label)
            }
        });
    }
}
