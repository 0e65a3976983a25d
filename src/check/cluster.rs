//! Clusters whose type and endpoints do not fit together.

use std::net::IpAddr;

use super::Checked;
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Path, field};

pub(super) fn check(cluster: &Checked, findings: &mut Findings) {
    let message = &cluster.message;
    let mut path = Path::new();
    path.field("load_assignment");
    let assignment = field::message(message, "load_assignment");
    let endpoints = assignment.map_or_else(Vec::new, |assignment| collect(assignment, &mut path));
    let kind = field::enum_name(message, "type").unwrap_or_default();
    match kind.as_str() {
        "LOGICAL_DNS" if endpoints.len() != 1 && !cluster.broken => {
            let text = format!("a LOGICAL_DNS cluster needs exactly one endpoint, not {}", endpoints.len());
            let finding = cluster.error("logical-dns-endpoints", &path, text);
            findings.push(finding.help("for several host names use `type: STRICT_DNS`"));
        }
        "STATIC" | "EDS" => {
            let why = format!("a {kind} cluster resolves no names");
            let help = "use `type: STRICT_DNS`, or leave `type` out so that it is chosen by the endpoints";
            host_names(cluster, &endpoints, &why, help, findings);
        }
        _ => {}
    }
}

/// Endpoints that are resources of their own.
pub(super) fn check_served(assignment: &Checked, findings: &mut Findings) {
    let endpoints = collect(&assignment.message, &mut Path::new());
    let help = "give the cluster `type: STRICT_DNS` and these `endpoints`, or let it choose its type by them";
    host_names(assignment, &endpoints, "names of endpoints that are served over EDS are not resolved", help, findings);
}

fn host_names(resource: &Checked, endpoints: &[Endpoint<'_>], why: &str, help: &str, findings: &mut Findings) {
    for Endpoint { at, address } in endpoints {
        if let Some(address) = address.filter(|address| address.parse::<IpAddr>().is_err()) {
            let text = format!("`{address}` is not an IP address, and {why}");
            findings.push(resource.error("host-name", at, text).help(help));
        }
    }
}

/// An endpoint and what stands in its socket address, if it has one that no resolver of its own is named for.
struct Endpoint<'a> {
    at: Path,
    address: Option<&'a str>,
}

/// The endpoints of a load assignment, which stands at the path.
fn collect<'a>(assignment: &'a DynamicMessage, path: &mut Path) -> Vec<Endpoint<'a>> {
    let mut endpoints = Vec::new();
    path.field("endpoints");
    for (locality, group) in field::messages(assignment, "endpoints").enumerate() {
        path.index(locality);
        path.field("lb_endpoints");
        for (index, endpoint) in field::messages(group, "lb_endpoints").enumerate() {
            let socket = field::message(endpoint, "endpoint")
                .and_then(|endpoint| field::message(endpoint, "address"))
                .and_then(|address| field::message(address, "socket_address"))
                .filter(|socket| field::string(socket, "resolver_name").is_none_or(str::is_empty));
            path.index(index);
            let mut at = path.clone();
            for name in ["endpoint", "address", "socket_address", "address"] {
                at.field(name);
            }
            endpoints.push(Endpoint { at, address: socket.and_then(|socket| field::string(socket, "address")) });
            path.pop();
        }
        path.pop();
        path.pop();
    }
    path.pop();
    endpoints
}
