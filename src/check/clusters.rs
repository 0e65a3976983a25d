//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::endpoints;
use super::site::{Site, Step, below, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Path, field};

/// A cluster whose type and endpoints do not fit together.
pub(super) fn cluster(site: &Site<'_>, findings: &mut Findings) {
    let message = site.message;
    if field::message(message, "cluster_type").is_some() {
        return;
    }
    let mut endpoints = Vec::new();
    if let Some(assignment) = field::message(message, "load_assignment") {
        collect(assignment, &site.at(steps!["load_assignment"]), &mut endpoints);
    }
    let name = field::string(message, "name").unwrap_or_default();
    // Envoy's own default.
    let kind = field::enum_name(message, "type").unwrap_or_else(|| "STATIC".to_owned());
    if let Some(assignment) = field::message(message, "load_assignment") {
        endpoints::addresses(site, assignment, &site.at(steps!["load_assignment"]), &kind, findings);
    }
    match kind.as_str() {
        "LOGICAL_DNS" if endpoints.len() != 1 && site.is_whole() => {
            let text = format!("a LOGICAL_DNS cluster needs exactly one endpoint, not {}", endpoints.len());
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

/// Whether there is any endpoint at all, such as one without a socket address.
fn has_pipes(cluster: &DynamicMessage) -> bool {
    field::message(cluster, "load_assignment").is_some_and(has_any)
}

fn has_any(assignment: &DynamicMessage) -> bool {
    let mut groups = field::messages(assignment, "endpoints");
    groups.any(|group| {
        field::messages(group, "lb_endpoints").next().is_some()
            || field::message(group, "leds_cluster_locality_config").is_some()
            || field::message(group, "load_balancer_endpoints").is_some()
    })
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

fn host_names(site: &Site<'_>, endpoints: &[Endpoint<'_>], why: &str, help: &str, findings: &mut Findings) {
    for Endpoint { path, address, .. } in endpoints.iter().filter(|endpoint| endpoint.needs_resolving()) {
        let text = format!("`{address}` is not an IP address, and {why}");
        let path = below(path, steps!["address"]);
        findings.push(site.resource.error("host-name", &path, text).help(help));
    }
}

/// A load assignment, inside a cluster or served by itself.
pub(super) fn endpoints(site: &Site<'_>, findings: &mut Findings) {
    let mut endpoints = Vec::new();
    collect(site.message, site.path, &mut endpoints);
    let alone = site.path.segments().is_empty();
    if alone {
        let why = "names of endpoints that are served over EDS are not resolved";
        let help = "give the cluster `type: STRICT_DNS` and these `endpoints`, or let it choose its type by them";
        host_names(site, &endpoints, why, help, findings);
        endpoints::addresses(site, site.message, site.path, "EDS", findings);
    }
    if alone && !has_any(site.message) && site.is_whole() {
        let name = field::string(site.message, "cluster_name").unwrap_or_default();
        let text =
            format!("the load assignment `{name}` has no endpoints: Envoy answers every request for it with 503");
        findings.push(site.warning("no-endpoints", steps![], text).help("give it `endpoints: [...]`"));
    }
    let mut first: BTreeMap<(u64, &str, u64), &Path> = BTreeMap::new();
    for Endpoint { path, address, port, priority, has_resolver: _ } in &endpoints {
        if *port == Some(0) {
            let text = format!("nothing listens on port 0 of `{address}`");
            let path = below(path, steps!["port_value"]);
            findings.push(
                site.resource.error_unless_verbatim("port-zero", &path, text).help("write the port of the service"),
            );
        }
        let Some(port) = port.filter(|port| *port != 0) else { continue };
        if let Some(first) = first.get(&(*priority, *address, port)) {
            let text = format!("the endpoint `{address}` with port {port} is given twice");
            findings.push(
                site.resource
                    .warning("duplicate-endpoint", path, text)
                    .related(site.resource.span(first), "first given here")
                    .help("to send it more requests give it a `load_balancing_weight`"),
            );
        } else {
            first.insert((*priority, address, port), path);
        }
    }
    priorities(site, findings);
}

/// Envoy fails over from each priority to the next.
fn priorities(site: &Site<'_>, findings: &mut Findings) {
    let groups = field::messages(site.message, "endpoints");
    let used: BTreeSet<u64> = groups.map(|group| field::unsigned(group, "priority").unwrap_or_default()).collect();
    let Some(last) = used.last().copied() else { return };
    if let Some(gap) = (0..last).find(|priority| !used.contains(priority)) {
        let text = format!("no locality has the priority {gap}, but one has {last}: the priorities have a gap");
        let position = field::messages(site.message, "endpoints")
            .position(|group| field::unsigned(group, "priority").unwrap_or_default() > gap)
            .unwrap_or_default();
        findings.push(
            site.warning("priority-gap", steps!["endpoints", position, "priority"], text)
                .help("count from 0, without leaving one out; gRPC clients refuse a gap"),
        );
    }
}

/// Two limits of the same kind, of which Envoy takes one.
pub(super) fn thresholds(site: &Site<'_>, findings: &mut Findings) {
    for list in ["thresholds", "per_host_thresholds"] {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for (index, threshold) in field::messages(site.message, list).enumerate() {
            let priority = field::enum_name(threshold, "priority").unwrap_or_default();
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

/// An endpoint's socket address.
struct Endpoint<'a> {
    /// To the socket address.
    path: Path,
    address: &'a str,
    /// `None` if the port has a name.
    port: Option<u64>,
    priority: u64,
    /// A resolver of its own is named for it.
    has_resolver: bool,
}

impl Endpoint<'_> {
    fn needs_resolving(&self) -> bool {
        !self.has_resolver && self.address.parse::<IpAddr>().is_err()
    }
}

/// The socket addresses of a load assignment, each with its path.
fn collect<'a>(assignment: &'a DynamicMessage, path: &Path, endpoints: &mut Vec<Endpoint<'a>>) {
    for (locality, group) in field::messages(assignment, "endpoints").enumerate() {
        let priority = field::unsigned(group, "priority").unwrap_or_default();
        for (index, endpoint) in field::messages(group, "lb_endpoints").enumerate() {
            let socket = field::message(endpoint, "endpoint")
                .and_then(|endpoint| field::message(endpoint, "address"))
                .and_then(|address| field::message(address, "socket_address"));
            let Some(socket) = socket else { continue };
            let Some(address) = field::string(socket, "address") else { continue };
            let named = field::string(socket, "named_port").is_some();
            let port = (!named).then(|| field::unsigned(socket, "port_value").unwrap_or_default());
            let at = steps!["endpoints", locality, "lb_endpoints", index, "endpoint", "address", "socket_address"];
            let has_resolver = field::string(socket, "resolver_name").is_some_and(|name| !name.is_empty());
            endpoints.push(Endpoint { path: below(path, at), address, port, priority, has_resolver });
        }
    }
}
