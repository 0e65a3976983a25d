//! Addresses of endpoints that Envoy cannot use.

use super::site::{Site, Step, below, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Path, field};

/// The endpoints of a load assignment that stands at a path, for a cluster of a type such as STATIC.
pub(super) fn check(
    site: &Site<'_>,
    assignment: &DynamicMessage,
    path: &Path,
    cluster_type: &str,
    findings: &mut Findings,
) {
    let resolves = matches!(cluster_type, "STRICT_DNS" | "LOGICAL_DNS");
    if !resolves && !matches!(cluster_type, "STATIC" | "EDS") {
        return;
    }
    for (locality, group) in field::messages(assignment, "endpoints").enumerate() {
        for (index, host) in field::messages(group, "lb_endpoints").enumerate() {
            let at = |rest: &[Step]| below(&below(path, steps!["endpoints", locality, "lb_endpoints", index]), rest);
            let Some(endpoint) = field::message(host, "endpoint") else {
                judge(site, host, &|| at(steps![]), resolves, findings);
                continue;
            };
            judge(site, endpoint, &|| at(steps!["endpoint"]), resolves, findings);
            if !resolves {
                health_port(site, endpoint, &|| at(steps!["endpoint"]), findings);
            }
            for (more, holder) in field::messages(endpoint, "additional_addresses").enumerate() {
                let at = || at(steps!["endpoint", "additional_addresses", more]);
                judge(site, holder, &at, resolves, findings);
            }
        }
    }
}

/// What has an address, or should have one.
fn judge(site: &Site<'_>, holder: &DynamicMessage, at: &dyn Fn() -> Path, resolves: bool, findings: &mut Findings) {
    let Some(address) = field::message(holder, "address") else {
        if site.is_whole() {
            let text = "this endpoint has no address";
            let finding = if resolves {
                site.resource.warning("endpoint-address", &at(), text)
            } else {
                site.resource.error("endpoint-address", &at(), format!("{text}: Envoy refuses the cluster"))
            };
            findings.push(finding.help("give it an `address`"));
        }
        return;
    };
    let socket = field::message(address, "socket_address");
    for Problem { field, text, help } in socket.into_iter().flat_map(|socket| problems(socket, resolves)) {
        let at = below(&at(), steps!["address", "socket_address", field]);
        findings.push(site.resource.error("endpoint-address", &at, text).help(help));
    }
}

/// A port of its own for the health checks of an endpoint that has no ports, such as a Unix socket.
fn health_port(site: &Site<'_>, endpoint: &DynamicMessage, at: &dyn Fn() -> Path, findings: &mut Findings) {
    let Some(config) = field::message(endpoint, "health_check_config") else { return };
    let address = field::message(config, "address").or_else(|| field::message(endpoint, "address"));
    let portless = address.is_some_and(|address| field::message(address, "socket_address").is_none());
    if !portless || field::unsigned(config, "port_value").unwrap_or_default() == 0 {
        return;
    }
    let at = below(&at(), steps!["health_check_config", "port_value"]);
    let text =
        "this endpoint's address has no port that health checks could replace: Envoy refuses the cluster, or crashes";
    let help = "remove `port_value`, or give `health_check_config` a `socket_address` of its own";
    findings.push(site.resource.error("endpoint-address", &at, text).help(help));
}

/// What is wrong with a field of a socket address.
struct Problem {
    field: &'static str,
    text: &'static str,
    help: &'static str,
}

fn problems(socket: &DynamicMessage, resolves: bool) -> Vec<Problem> {
    let is_set = |name| field::string(socket, name).is_some_and(|text| !text.is_empty());
    let mut problems = Vec::new();
    let mut add = |field, text, help| problems.push(Problem { field, text, help });
    if resolves && is_set("resolver_name") {
        let text = "a cluster that resolves names by DNS takes no other resolver: Envoy refuses it";
        add("resolver_name", text, "remove `resolver_name`");
    }
    if !resolves && !is_set("resolver_name") && field::string(socket, "named_port").is_some() {
        let text = "nothing here resolves the name of a port: Envoy refuses the cluster";
        add("named_port", text, "write the number as `port_value`");
    }
    if !resolves && is_set("network_namespace_filepath") {
        let text = "endpoints cannot be in another network namespace: Envoy refuses the cluster";
        add("network_namespace_filepath", text, "remove it; `upstream_bind_config` can name a namespace");
    }
    problems
}
