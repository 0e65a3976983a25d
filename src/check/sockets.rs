//! What a listener listens on, and the filters that fit it.

use super::site::{Site, Step, steps};
use crate::diagnostic::Findings;
use crate::envoy::extensions::Category;
use crate::envoy::{DynamicMessage, field};

/// Listener filters, by the protocol of the listener.
const TCP_FILTER: Category = Category::of(&["envoy.filters.listener"], "a listener filter");
const UDP_FILTER: Category =
    Category::of(&["envoy.filters.udp_listener", "envoy.filters.quic_listener"], "a listener filter");

/// Network filters that end a chain, by the package of their message; those that were seen not to; the others may do
/// either.
const TERMINAL: [&str; 7] =
    ["direct_response", "dubbo_proxy", "echo", "http_connection_manager", "redis_proxy", "tcp_proxy", "thrift_proxy"];
const PASSING: [&str; 8] = [
    "connection_limit",
    "ext_authz",
    "local_ratelimit",
    "mongo_proxy",
    "ratelimit",
    "rbac",
    "sni_cluster",
    "zookeeper_proxy",
];

/// A listener's addresses, and whether its chains and filters are for what it listens on.
pub(super) fn listener(site: &Site<'_>, findings: &mut Findings) {
    let message = site.message;
    let has = |name: &str| field::message(message, name).is_some();
    let chain = field::messages(message, "filter_chains").next().is_some() || has("default_filter_chain");
    if has("api_listener") || !site.is_whole() {
        return;
    }
    let udp = match field::message(message, "address") {
        Some(address) => is_udp(address),
        None if has("internal_listener") => false,
        None => {
            let text = "a listener needs an `address`: Envoy refuses it";
            let help = "add `address: 0.0.0.0:8080`; a listener for gRPC clients has `api_listener` instead, \
                        and one that only Envoy itself connects to `internal_listener`";
            findings.push(site.error("required", steps![], text).help(help));
            return;
        }
    };
    addresses(site, udp, findings);
    let quic = field::message(message, "udp_listener_config").is_some_and(|udp| field::is_set(udp, "quic_options"));
    if udp && chain && !quic {
        let text = "a UDP listener has no filter chains: Envoy refuses it";
        let help = "use a TCP address, or `udp_proxy` in place of the chains; HTTP/3 needs \
                    `udp_listener_config: {quic_options: {}}`";
        findings.push(site.error("listener-protocol", steps!["address"], text).help(help));
    } else if !udp && !chain {
        let text = "this listener has no filter chain, so that nothing handles its connections: Envoy refuses it";
        findings.push(site.error("no-filter-chain", steps![], text).help("give it `routes`, `tcp_proxy` or the like"));
    }
    filters(site, udp, findings);
}

fn addresses(site: &Site<'_>, udp: bool, findings: &mut Findings) {
    let own = field::message(site.message, "address").map(|address| (vec![Step::from("address")], address));
    let more = field::messages(site.message, "additional_addresses").enumerate().filter_map(|(index, more)| {
        let steps = vec![Step::from("additional_addresses"), Step::from(index), Step::from("address")];
        Some((steps, field::message(more, "address")?))
    });
    for (mut steps, address) in own.into_iter().chain(more) {
        if is_udp(address) != udp {
            let text = "the addresses of a listener are all TCP or all UDP: Envoy refuses it";
            findings.push(site.error("listener-protocol", &steps, text).help("make it two listeners"));
        }
        let socket = field::message(address, "socket_address");
        steps.extend([Step::from("socket_address"), Step::from("address")]);
        unresolved(site, socket, &steps, findings);
    }
}

/// The address that connections to upstreams come from.
pub(super) fn source(site: &Site<'_>, findings: &mut Findings) {
    let socket = field::message(site.message, "source_address");
    unresolved(site, socket, steps!["source_address", "address"], findings);
}

fn unresolved(site: &Site<'_>, socket: Option<&DynamicMessage>, steps: &[Step], findings: &mut Findings) {
    let Some(socket) = socket else { return };
    let host = field::string(socket, "address").unwrap_or_default();
    if host.is_empty() || host.parse::<std::net::IpAddr>().is_ok() || field::is_set(socket, "resolver_name") {
        return;
    }
    let text = format!("`{host}` is not an IP address, and names are not resolved here: Envoy refuses it");
    findings.push(site.error("host-name", steps, text).help("write an address of the proxy's host, such as `0.0.0.0`"));
}

fn is_udp(address: &DynamicMessage) -> bool {
    let socket = field::message(address, "socket_address");
    socket.and_then(|socket| field::enum_name(socket, "protocol")).is_some_and(|protocol| protocol == "UDP")
}

/// Listener filters are for TCP or for UDP.
fn filters(site: &Site<'_>, udp: bool, findings: &mut Findings) {
    let (ours, theirs) = if udp { (UDP_FILTER, TCP_FILTER) } else { (TCP_FILTER, UDP_FILTER) };
    let (own, other) = if udp { ("UDP", "TCP") } else { ("TCP", "UDP") };
    for (index, filter) in field::messages(site.message, "listener_filters").enumerate() {
        let Some(message) = field::message(filter, "typed_config").and_then(field::type_name) else { continue };
        let extensions = site.schema.extensions();
        if extensions.takes(theirs, &message) && !extensions.takes(ours, &message) {
            let name = field::string(filter, "name").unwrap_or_default();
            let text = format!("`{name}` is for {other} listeners, and this one is for {own}: Envoy refuses it");
            let help = "change the listener's address (`udp://0.0.0.0:53` is one of UDP), or remove the filter";
            findings.push(site.error("listener-protocol", steps!["listener_filters", index], text).help(help));
        }
    }
}

/// The network filters of a chain.
pub(super) fn chain(site: &Site<'_>, findings: &mut Findings) {
    let filters: Vec<_> = field::messages(site.message, "filters").collect();
    for (index, filter) in filters.iter().enumerate() {
        let Some(message) = field::message(filter, "typed_config").and_then(field::type_name) else { continue };
        let package = message.strip_prefix("envoy.extensions.filters.network.").and_then(|rest| rest.split('.').next());
        let is_last = index + 1 == filters.len();
        let name = field::string(filter, "name").unwrap_or_default();
        let (text, help) = match package {
            Some(package) if !is_last && TERMINAL.contains(&package) => {
                (format!("`{name}` ends a filter chain, and is not the last one"), "move it to the end, or remove it")
            }
            Some(package) if is_last && PASSING.contains(&package) => (
                format!("`{name}` passes connections on, and no filter follows"),
                "add what handles them, such as `tcp_proxy` or `http_connection_manager`",
            ),
            _ => continue,
        };
        let text = format!("{text}: Envoy refuses the listener");
        findings.push(site.error("terminal-filter", steps!["filters", index], text).help(help));
        // One move may mend it all.
        break;
    }
}
