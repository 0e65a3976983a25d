//! Endpoints: the load assignments of clusters, inside them or served by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::addresses;
use super::site::{Site, below, steps};
use crate::diagnostic::{Finding, Findings};
use crate::envoy::{DynamicMessage, Path, field};

pub(super) const ASSIGNMENT: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";

/// A load assignment, inside a cluster or served by itself. What Envoy takes and gRPC clients do not goes to `suspicious`.
pub(super) fn assignment(site: &Site<'_>, suspicious: &mut Vec<Finding>, findings: &mut Findings) {
    let mut endpoints = Vec::new();
    collect(site.message, site.path, &mut endpoints);
    flaws(site, &endpoints, suspicious);
    let alone = site.path.segments().is_empty();
    if alone {
        let why = "names of endpoints that are served over EDS are not resolved";
        let help = "give the cluster `type: STRICT_DNS` and these `endpoints`, or let it choose its type by them";
        host_names(site, &endpoints, why, help, findings);
        addresses::check(site, site.message, site.path, "EDS", findings);
    }
    if alone && !has_any(site.message) && site.is_whole() {
        let name = field::string(site.message, "cluster_name").unwrap_or_default();
        let text =
            format!("the load assignment `{name}` has no endpoints: Envoy answers every request for it with 503");
        findings.push(site.warning("no-endpoints", steps![], text).help("give it `endpoints: [...]`"));
    }
    for endpoint in &endpoints {
        if endpoint.port == Some(0) {
            let text = format!("nothing listens on port 0 of `{}`", endpoint.address);
            let path = below(&endpoint.path(), steps!["port_value"]);
            findings.push(
                site.resource.error_unless_verbatim("port-zero", &path, text).help("write the port of the service"),
            );
        }
    }
}

/// What Envoy takes and yet is hardly meant; gRPC clients refuse it.
fn flaws(site: &Site<'_>, endpoints: &[Endpoint<'_>], flaws: &mut Vec<Finding>) {
    let mut first: BTreeMap<(u64, &str, u64), &Endpoint<'_>> = BTreeMap::new();
    for endpoint in endpoints {
        let Endpoint { address, priority, .. } = *endpoint;
        let Some(port) = endpoint.port.filter(|port| *port != 0) else { continue };
        if let Some(first) = first.get(&(priority, address, port)) {
            let text = format!("the endpoint `{address}` with port {port} is given twice");
            flaws.push(
                site.resource
                    .warning("duplicate-endpoint", &endpoint.path(), text)
                    .related(site.resource.span(&first.path()), "first given here")
                    .help("to send it more requests give it a `load_balancing_weight`"),
            );
        } else {
            first.insert((priority, address, port), endpoint);
        }
    }
    flaws.extend(gap(site));
}

/// Envoy fails over from each priority to the next.
fn gap(site: &Site<'_>) -> Option<Finding> {
    let groups = || field::messages(site.message, "endpoints");
    let priority = |group| field::unsigned(group, "priority").unwrap_or_default();
    let used: BTreeSet<u64> = groups().map(priority).collect();
    let last = used.last().copied()?;
    let gap = (0..last).find(|priority| !used.contains(priority))?;
    let text = format!("no locality has the priority {gap}, but one has {last}: the priorities have a gap");
    let position = groups().position(|group| priority(group) > gap).unwrap_or_default();
    let finding = site.warning("priority-gap", steps!["endpoints", position, "priority"], text);
    Some(finding.help("count from 0, without leaving one out; gRPC clients refuse a gap"))
}

/// Host names where nothing resolves them.
pub(super) fn host_names(site: &Site<'_>, endpoints: &[Endpoint<'_>], why: &str, help: &str, findings: &mut Findings) {
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.needs_resolving()) {
        let text = format!("`{}` is not an IP address, and {why}", endpoint.address);
        let path = below(&endpoint.path(), steps!["address"]);
        findings.push(site.resource.error("host-name", &path, text).help(help));
    }
}

/// Whether there is any endpoint at all, such as one without a socket address.
pub(super) fn has_any(assignment: &DynamicMessage) -> bool {
    let mut groups = field::messages(assignment, "endpoints");
    groups.any(|group| {
        field::messages(group, "lb_endpoints").next().is_some()
            || field::message(group, "leds_cluster_locality_config").is_some()
            || field::message(group, "load_balancer_endpoints").is_some()
    })
}

/// An endpoint's socket address.
pub(super) struct Endpoint<'a> {
    /// To the load assignment.
    base: &'a Path,
    /// Its locality, and its position there.
    at: (usize, usize),
    address: &'a str,
    /// `None` if the port has a name.
    port: Option<u64>,
    priority: u64,
    /// A resolver of its own is named for it.
    has_resolver: bool,
}

impl Endpoint<'_> {
    /// To the socket address. Few endpoints are spoken of, so it is put together when one is.
    fn path(&self) -> Path {
        let (locality, index) = self.at;
        let at = steps!["endpoints", locality, "lb_endpoints", index, "endpoint", "address", "socket_address"];
        below(self.base, at)
    }

    fn needs_resolving(&self) -> bool {
        !self.has_resolver && self.address.parse::<IpAddr>().is_err()
    }
}

/// The socket addresses of a load assignment, each with its path.
pub(super) fn collect<'a>(assignment: &'a DynamicMessage, base: &'a Path, endpoints: &mut Vec<Endpoint<'a>>) {
    for (locality, group) in field::messages(assignment, "endpoints").enumerate() {
        let priority = field::unsigned(group, "priority").unwrap_or_default();
        for (index, endpoint) in field::messages(group, "lb_endpoints").enumerate() {
            let socket = field::message(endpoint, "endpoint")
                .and_then(|endpoint| field::message(endpoint, "address"))
                .and_then(|address| field::message(address, "socket_address"));
            let Some(socket) = socket else { continue };
            let mut endpoint =
                Endpoint { base, at: (locality, index), address: "", port: Some(0), priority, has_resolver: false };
            // Few of its fields are set, and there are many endpoints.
            for (field, value) in socket.fields() {
                match field.name() {
                    "address" => endpoint.address = value.as_str().unwrap_or_default(),
                    "port_value" => endpoint.port = value.as_u32().map(u64::from),
                    "named_port" => endpoint.port = None,
                    "resolver_name" => endpoint.has_resolver = true,
                    _ => {}
                }
            }
            if !endpoint.address.is_empty() {
                endpoints.push(endpoint);
            }
        }
    }
}
