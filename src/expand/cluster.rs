//! Clusters.

use crate::diagnostic::Span;
use crate::envoy::{Entry, Kind, MessageDescriptor, Node, Value};

use super::object::{Object, find, typed};
use super::walk::Walk;
use super::{config_source, endpoint, tls};

/// How a cluster speaks HTTP; one of these.
const PROTOCOLS: [&str; 6] = [
    "http_protocol_options",
    "http2_protocol_options",
    "http3_protocol_options",
    "explicit_http_config",
    "use_downstream_protocol_config",
    "auto_config",
];

/// What may be said beside them.
const PROTOCOL_OPTIONS: [&str; 2] = ["common_http_protocol_options", "upstream_http_protocol_options"];

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How a cluster finds its endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Discovery {
    Eds,
    Dns,
    OriginalDst,
    Other,
}

impl Discovery {
    fn of(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "EDS" => Self::Eds,
            "STRICT_DNS" | "LOGICAL_DNS" => Self::Dns,
            "ORIGINAL_DST" => Self::OriginalDst,
            _ => Self::Other,
        }
    }
}

pub(super) fn cluster(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let span = object.span;
    let name = object.get("name").cloned();
    walk.upstream = true;
    protocol_options(walk, &mut object);
    tls::hoist(walk, &mut object);
    let endpoints = object.take("endpoints");
    let endpoints = endpoints.filter(|endpoints| {
        let native = object.get("load_assignment").is_some();
        if native {
            walk.exclusive(endpoints, "load_assignment", "`endpoints` is the short form of it; keep one");
        }
        !native
    });
    let endpoints = endpoints.and_then(|endpoints| load_assignment(walk, endpoints));
    // What is sent as the server name follows from the endpoints.
    let native = object.take("load_assignment").and_then(|entry| {
        walk.path.field("load_assignment");
        let value = walk.named(Kind::Endpoint.message(), entry.value);
        walk.path.pop();
        Some(Entry { value: value?, ..entry })
    });
    walk.host = endpoints.as_ref().or(native.as_ref().map(|entry| &entry.value)).and_then(endpoint::only_host).cloned();
    let mut object = walk.fields(message, object);
    if let Some(native) = native {
        object.push(native);
    }

    let discovery = discovery(&mut object, endpoints.as_ref());
    object.default("connect_timeout", Node::string(span, "5s"));
    match discovery {
        Discovery::Eds => object.default("eds_cluster_config", config_source::eds(span)),
        Discovery::Dns => object.default("dns_lookup_family", Node::string(span, "V4_PREFERRED")),
        Discovery::OriginalDst => object.default("lb_policy", Node::string(span, "CLUSTER_PROVIDED")),
        Discovery::Other => {}
    }
    match (endpoints, discovery) {
        (Some(assignment), Discovery::Eds) => derive(walk, &object, name.as_ref(), assignment),
        (Some(assignment), _) => {
            object.take("load_assignment");
            object.set("load_assignment", assignment.span, assignment);
        }
        (None, _) => {}
    }
    if let (Some(name), Some(assignment)) = (name, object.get_mut("load_assignment"))
        && !walk.was_verbatim(assignment)
    {
        named(assignment, name);
    }
    object
}

/// The endpoints as an expanded `ClusterLoadAssignment` without a name.
fn load_assignment(walk: &mut Walk<'_>, endpoints: Entry) -> Option<Node> {
    let mut assignment = Object::new(endpoints.key_span);
    assignment.push(endpoints);
    walk.named(Kind::Endpoint.message(), assignment.close())
}

/// How the endpoints are found: as written, or as the addresses ask for.
fn discovery(object: &mut Object, endpoints: Option<&Node>) -> Discovery {
    if let Some(text) = object.get("type").and_then(Node::as_str) {
        return Discovery::of(text);
    }
    if object.has("type") || object.get("cluster_type").is_some() {
        return Discovery::Other;
    }
    let guess = match endpoints.or_else(|| object.get("load_assignment")) {
        Some(assignment) if endpoint::any_needs_dns(assignment) => "STRICT_DNS",
        // Envoy's own form without a type is STATIC, and stays so.
        Some(_) if endpoints.is_none() => return Discovery::Other,
        _ => "EDS",
    };
    object.default("type", Node::string(object.span, guess));
    Discovery::of(guess)
}

/// The endpoints of an EDS cluster are a resource of their own, so that changing them does not rebuild the cluster.
fn derive(walk: &mut Walk<'_>, object: &Object, name: Option<&Node>, mut assignment: Node) {
    let service = object.get("eds_cluster_config").and_then(|config| find(config, "service_name"));
    let service = service.filter(|service| service.as_str().is_some_and(|text| !text.is_empty()));
    if let Some(name) = service.or(name)
        && let Value::String(text) | Value::Number(text) = &name.value
        && !text.is_empty()
    {
        named(&mut assignment, name.clone());
        let served = endpoint::served(walk, assignment);
        walk.made(Kind::Endpoint, text, name.span, served);
    }
}

/// Names a load assignment after its cluster unless it has a name.
fn named(assignment: &mut Node, name: Node) {
    if let Value::Map(entries) = &mut assignment.value {
        let mut object = Object::open(Node { span: assignment.span, value: Value::Map(std::mem::take(entries)) });
        if let Ok(object) = &mut object
            && !object.has("cluster_name")
        {
            object.lead("cluster_name", name);
        }
        *assignment = object.map_or_else(|node| node, Object::close);
    }
}

/// Gathers the keys about HTTP into the extension that they belong to; Envoy's fields of these names are deprecated.
fn protocol_options(walk: &mut Walk<'_>, object: &mut Object) {
    let mut chosen: Vec<Entry> = PROTOCOLS.iter().filter_map(|name| object.take(name)).collect();
    let beside: Vec<Entry> = PROTOCOL_OPTIONS.iter().filter_map(|name| object.take(name)).collect();
    let Some(span) = chosen.iter().chain(&beside).map(|entry| entry.key_span).min() else { return };
    if let [first, rest @ ..] = chosen.as_slice() {
        for second in rest {
            let help = "a cluster speaks one protocol; to choose per connection write `auto_config` or \
                        `use_downstream_protocol_config`, with the options inside it";
            walk.exclusive(second, &first.key, help);
        }
    }
    chosen.truncate(1);
    let options = choice(span, chosen.pop(), beside);
    walk.path.field("typed_extension_protocol_options");
    walk.path.key(HTTP_PROTOCOL_OPTIONS);
    if let Some(options) = walk.named(HTTP_PROTOCOL_OPTIONS, options) {
        attach(walk, object, span, typed(HTTP_PROTOCOL_OPTIONS, options));
    }
    walk.path.pop();
    walk.path.pop();
}

/// `HttpProtocolOptions` of one choice and what stands beside it.
fn choice(span: Span, chosen: Option<Entry>, beside: Vec<Entry>) -> Node {
    let mut options = Object::new(span);
    match chosen {
        Some(entry) if entry.key.ends_with("rotocol_options") || entry.key.ends_with("rotocolOptions") => {
            let mut explicit = Object::new(span);
            explicit.push(entry);
            options.set("explicit_http_config", span, explicit.close());
        }
        Some(entry) => options.push(entry),
        None => {
            let http1 = Node::map(span, [("http_protocol_options", Node::map::<&str>(span, []))]);
            options.set("explicit_http_config", span, http1);
        }
    }
    for entry in beside {
        options.push(entry);
    }
    options.close()
}

fn attach(walk: &mut Walk<'_>, object: &mut Object, span: Span, options: Node) {
    let entry = Entry::new(HTTP_PROTOCOL_OPTIONS, span, options);
    let Some(extensions) = object.get_mut("typed_extension_protocol_options") else {
        object.take("typed_extension_protocol_options");
        object.set("typed_extension_protocol_options", span, Node { span, value: Value::Map(vec![entry]) });
        return;
    };
    // What is no mapping is complained about when it is read strictly.
    let Value::Map(entries) = &mut extensions.value else { return };
    match entries.iter().find(|entry| entry.key == HTTP_PROTOCOL_OPTIONS) {
        Some(native) => {
            let native = native.clone();
            walk.exclusive(&native, "the protocol options beside it", "move them into one place");
        }
        None => entries.push(entry),
    }
}
