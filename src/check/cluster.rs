//! Clusters whose type and endpoints do not fit together.

use std::net::IpAddr;

use super::Checked;
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Path, field};

pub(super) fn check(cluster: &Checked, findings: &mut Findings) {
    let message = &cluster.message;
    let Some(assignment) = field::message(message, "load_assignment") else { return };
    let mut endpoints = Vec::new();
    let mut path = Path::new();
    path.field("load_assignment");
    collect(assignment, &mut path, &mut endpoints);
    let kind = field::enum_name(message, "type").unwrap_or_default();
    match kind.as_str() {
        "LOGICAL_DNS" if endpoints.len() != 1 => {
            findings.push(
                cluster
                    .error(
                        "logical-dns-endpoints",
                        &path,
                        format!("a LOGICAL_DNS cluster needs exactly one endpoint, not {}", endpoints.len()),
                    )
                    .help("for several host names use `type: STRICT_DNS`"),
            );
        }
        "STATIC" | "EDS" => {
            for (at, address) in endpoints.iter().filter(|(_, address)| address.parse::<IpAddr>().is_err()) {
                findings.push(
                    cluster
                        .error(
                            "host-name",
                            at,
                            format!("`{address}` is not an IP address, and a {kind} cluster resolves no names"),
                        )
                        .help("use `type: STRICT_DNS`, or leave `type` out so that it is chosen by the endpoints"),
                );
            }
        }
        _ => {}
    }
}

/// The socket addresses of a load assignment, each with its path.
fn collect<'a>(assignment: &'a DynamicMessage, path: &mut Path, endpoints: &mut Vec<(Path, &'a str)>) {
    path.field("endpoints");
    for (locality, group) in field::messages(assignment, "endpoints").enumerate() {
        path.index(locality);
        path.field("lb_endpoints");
        for (index, endpoint) in field::messages(group, "lb_endpoints").enumerate() {
            let address = field::message(endpoint, "endpoint")
                .and_then(|endpoint| field::message(endpoint, "address"))
                .and_then(|address| field::message(address, "socket_address"));
            if let Some(address) = address.and_then(|socket| field::string(socket, "address")) {
                path.index(index);
                let mut at = path.clone();
                for name in ["endpoint", "address", "socket_address", "address"] {
                    at.field(name);
                }
                endpoints.push((at, address));
                path.pop();
            }
        }
        path.pop();
        path.pop();
    }
    path.pop();
}
