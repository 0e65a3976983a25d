//! Listeners and their filter chains.

use crate::envoy::{Entry, MessageDescriptor, Node, Segment, Value};

use super::object::{Object, TYPE, find, is_verbatim, typed};
use super::walk::{Scope, Walk};
use super::{http, server, tcp, tls, udp};

/// What a chain may ask for that is only known once the first bytes are looked at.
const INSPECTED: [&str; 3] = ["server_names", "application_protocols", "transport_protocol"];

const FILTER: &str = "envoy.config.listener.v3.ListenerFilter";

/// Keys of a chain directly in the listener are its only chain.
pub(super) fn listener(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    api_listener(walk, &mut object);
    udp::hoist(walk, &mut object);
    // `null` is passed on: inside the chain it keeps a default away.
    let keys = http::KEYS.iter().chain(&[tcp::KEY, tls::KEY]);
    let hoisted: Vec<Entry> = keys.filter_map(|name| object.take_written(name)).collect();
    if let Some(first) = hoisted.iter().find(|entry| !entry.value.is_null()) {
        if object.get("filter_chains").is_some() {
            walk.exclusive(first, "filter_chains", "move it into one of the filter chains");
        } else {
            let span = first.key_span;
            object.take("filter_chains");
            let chain = Node { span, value: Value::Map(hoisted) };
            object.set("filter_chains", span, Node::list(span, vec![chain]));
        }
    }
    let listed = object.get("filter_chains").and_then(Node::items).map_or(0, <[Node]>::len);
    if let Scope::Named { chains, .. } = &mut walk.scope {
        *chains = listed + usize::from(object.get("default_filter_chain").is_some());
    }
    let mut object = walk.fields(message, object);
    tls_inspector(walk, &mut object);
    object
}

/// Without the inspector no chain that asks for a server name is ever chosen, and Envoy does not say so.
fn tls_inspector(walk: &mut Walk<'_>, object: &mut Object) {
    let chains = object.get("filter_chains").and_then(Node::items).unwrap_or_default();
    let asked = chains.iter().filter_map(|chain| find(chain, "filter_chain_match"));
    let mut inspected = asked.filter(|asked| INSPECTED.iter().any(|name| find(asked, name).is_some()));
    let Some(span) = inspected.next().map(|asked| asked.span) else { return };
    // gRPC servers refuse every listener filter.
    let of_server = object.get("name").and_then(Node::as_str).is_some_and(server::is_named_so);
    if of_server || object.get("address").is_some_and(is_udp) {
        return;
    }
    let Some(inspector) = walk.named(FILTER, Node::string(span, "tls_inspector")) else { return };
    match object.get_mut("listener_filters") {
        Some(Node { value: Value::List(filters), .. }) => {
            if !filters.iter().any(|filter| is_filter(filter, ".tls_inspector", ".TlsInspector")) {
                // The header of the proxy protocol comes before the bytes that the inspector looks at.
                let proxy = filters.iter().rposition(|filter| is_filter(filter, ".proxy_protocol", ".ProxyProtocol"));
                filters.insert(proxy.map_or(0, |position| position + 1), inspector);
            }
        }
        // What is no list is complained about when it is read strictly.
        Some(_) => {}
        None => object.default("listener_filters", Node::list(span, vec![inspector])),
    }
}

/// Whether an expanded listener filter is this one, by its message or else by its name.
fn is_filter(filter: &Node, name: &str, message: &str) -> bool {
    let url = find(filter, "typed_config").and_then(|config| config.get(TYPE)).and_then(Node::as_str);
    match url {
        Some(url) => url.ends_with(message),
        None => find(filter, "name").and_then(Node::as_str).is_some_and(|text| text.ends_with(name)),
    }
}

fn is_udp(address: &Node) -> bool {
    let protocol = find(address, "socket_address").and_then(|socket| find(socket, "protocol"));
    protocol.and_then(Node::as_str).is_some_and(|protocol| protocol == "UDP")
}

/// For gRPC clients: the fields of a connection manager. Envoy's own form has an `api_listener` inside.
fn api_listener(walk: &mut Walk<'_>, object: &mut Object) {
    let friendly = object.get("api_listener").is_some_and(|api| {
        matches!(api.value, Value::Map(_)) && find(api, "api_listener").is_none() && !is_verbatim(api)
    });
    if !friendly {
        return;
    }
    let Some(Entry { key, key_span, value }) = object.take("api_listener") else { return };
    walk.path.field(&key);
    if let Some(manager) = walk.named(http::MESSAGE, value) {
        let api = Node::map(key_span, [("api_listener", typed(http::MESSAGE, manager))]);
        object.set("api_listener", key_span, api);
    }
    walk.path.pop();
}

/// The keys about HTTP are the chain's last filter, or the one about TCP is.
pub(super) fn filter_chain(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let listener = walk.scope.clone();
    walk.scope = scope(walk, &object, &listener);
    if let Some(http) = http::KEYS.iter().find_map(|name| object.entry(name)).cloned()
        && let Some(tcp) = object.take(tcp::KEY)
    {
        walk.exclusive(&tcp, &http.key, "a filter chain speaks HTTP or passes bytes on; use a chain for each");
    }
    if let Some(filter) = http::filter(walk, &mut object).or_else(|| tcp::filter(walk, &mut object)) {
        match object.get_mut("filters") {
            Some(Node { value: Value::List(filters), .. }) => filters.push(filter),
            // What is no list is complained about when it is read strictly.
            Some(_) => {}
            None => {
                object.take("filters");
                object.set("filters", filter.span, Node::list(filter.span, vec![filter]));
            }
        }
    }
    tls::hoist(walk, &mut object);
    let filters = object.get("filters").and_then(Node::items).unwrap_or_default();
    walk.http = filters.iter().any(http::is_manager);
    let object = walk.fields(message, object);
    walk.http = false;
    walk.scope = listener;
    object
}

/// What derives names inside a chain: the listener, and the chain's name where there are several. Never its position.
fn scope(walk: &Walk<'_>, chain: &Object, listener: &Scope) -> Scope {
    let Scope::Named { name, chains } = listener else { return listener.clone() };
    if *chains < 2 {
        return listener.clone();
    }
    let server_names = chain.get("filter_chain_match").and_then(|matches| find(matches, "server_names"));
    let first = server_names.and_then(Node::items).and_then(<[Node]>::first).and_then(Node::as_str);
    let own = chain.get("name").and_then(Node::as_str).filter(|name| !name.is_empty()).or(first);
    let is_default = walk.path.segments().last() == Some(&Segment::Field("default_filter_chain".into()));
    match own.or(is_default.then_some("default")) {
        Some(own) => Scope::Named { name: format!("{name}/{own}"), chains: *chains },
        None => Scope::Unnamed { listener: name.clone(), chain: chain.span },
    }
}
