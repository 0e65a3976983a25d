//! Endpoints of clusters.

use crate::diagnostic::Span;
use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::address::needs_dns;
use super::object::{Object, TYPE, find, is};
use super::walk::Walk;

/// Fields that only a `LocalityLbEndpoints` has; every other mapping is one endpoint.
const LOCALITY: [&str; 5] =
    ["lb_endpoints", "locality", "priority", "load_balancer_endpoints", "leds_cluster_locality_config"];

/// Fields of `Endpoint` that may be written directly in an `LbEndpoint`.
const HOISTED: [&str; 4] = ["address", "hostname", "health_check_config", "additional_addresses"];

/// Endpoints that are in no locality are put into one together.
pub(super) fn load_assignment(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    if let Some(endpoints) = object.get_mut("endpoints")
        && let Value::List(items) = &mut endpoints.value
    {
        *items = grouped(endpoints.span, std::mem::take(items));
    }
    walk.fields(message, object)
}

fn grouped(span: Span, items: Vec<Node>) -> Vec<Node> {
    let mut localities = Vec::new();
    let mut plain = Vec::new();
    let mut place = 0;
    for item in items {
        let keys = item.entries().unwrap_or_default();
        let is_locality =
            |url: &Node| url.as_str().is_some_and(|url| url.ends_with("/envoy.config.endpoint.v3.LocalityLbEndpoints"));
        if item.get(TYPE).is_some_and(is_locality)
            || keys.iter().any(|entry| LOCALITY.iter().any(|name| is(&entry.key, name)))
        {
            localities.push(item);
        } else {
            if plain.is_empty() {
                place = localities.len();
            }
            plain.push(item);
        }
    }
    if let Some(first) = plain.first() {
        let span = if span.len == 0 { first.span } else { span };
        localities.insert(place, Node::map(first.span, [("lb_endpoints", Node::list(span, plain))]));
    }
    localities
}

/// The fields of `Endpoint` may stand beside those of `LbEndpoint`.
pub(super) fn lb_endpoint(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let hoisted: Vec<Entry> = HOISTED.iter().filter_map(|name| object.take(name)).collect();
    if let Some(first) = hoisted.first() {
        if object.get("endpoint").is_some() {
            walk.exclusive(first, "endpoint", "move it into `endpoint`");
        } else {
            let span = first.value.span;
            object.take("endpoint");
            object.lead("endpoint", Node { span, value: Value::Map(hoisted) });
        }
    }
    walk.fields(message, object)
}

/// What gRPC clients need of endpoints that are served over EDS: they skip a locality without a weight, and refuse one
/// without an identity. Envoy looks at the weight only where localities are weighted.
pub(super) fn served(walk: &Walk<'_>, mut node: Node) -> Node {
    if walk.was_verbatim(&node) {
        return node;
    }
    let Value::Map(entries) = &mut node.value else { return node };
    let lists = entries.iter_mut().filter(|entry| is(&entry.key, "endpoints"));
    for entry in lists {
        let Value::List(items) = &mut entry.value.value else { continue };
        *items = std::mem::take(items).into_iter().map(|locality| weighted(walk, locality)).collect();
    }
    node
}

fn weighted(walk: &Walk<'_>, locality: Node) -> Node {
    if walk.was_verbatim(&locality) {
        return locality;
    }
    match Object::open(locality) {
        Ok(mut object) => {
            let span = object.span;
            object.default("locality", Node::map::<&str>(span, []));
            object.default("load_balancing_weight", Node::number(span, 1));
            object.close()
        }
        Err(node) => node,
    }
}

/// Whether any address of an expanded load assignment has to be resolved.
pub(super) fn any_needs_dns(assignment: &Node) -> bool {
    addresses(assignment).any(needs_dns)
}

/// The host name that all addresses of an expanded load assignment have in common.
pub(super) fn only_host(assignment: &Node) -> Option<&Node> {
    let mut only: Option<&Node> = None;
    for address in addresses(assignment) {
        let host = find(find(address, "socket_address")?, "address").filter(|_| needs_dns(address))?;
        if only.is_some_and(|only| only.value != host.value) {
            return None;
        }
        only.get_or_insert(host);
    }
    only
}

fn addresses(assignment: &Node) -> impl Iterator<Item = &Node> {
    let localities = find(assignment, "endpoints").and_then(Node::items).unwrap_or_default();
    let endpoints = localities.iter().filter_map(|locality| find(locality, "lb_endpoints")?.items()).flatten();
    endpoints.filter_map(|endpoint| find(find(endpoint, "endpoint")?, "address"))
}
