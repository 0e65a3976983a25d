//! Listeners of gRPC servers, which are configured over xDS by a name of their own and nothing else.
//!
//! Envoy, which asks for all listeners at once, must not be told of them. Nothing in their fields says what they are; two
//! things about them do: gRPC's usual template for their names, and routes of which none forwards anything, for which
//! Envoy has no use.

use std::collections::BTreeMap;

use crate::envoy::{Kind, Node};

use super::Native;
use super::object::find;

/// What the name of such a listener contains, in the template that gRPC's documentation gives.
const MARK: &str = "xds.resource.listening_address=";

/// Marks the listeners of servers.
pub(super) fn mark(natives: &mut [Native]) {
    let mut tables: BTreeMap<&str, bool> = BTreeMap::new();
    for table in natives.iter().filter(|native| native.kind == Kind::Route) {
        // Groups of nodes may have tables of the same name.
        *tables.entry(&table.name).or_insert(true) &= forwards_nothing(&table.node);
    }
    let is_server = |native: &Native| {
        native.kind == Kind::Listener && (is_named_so(&native.name) || serves_only(&native.node, &tables))
    };
    let marks: Vec<bool> = natives.iter().map(is_server).collect();
    for (native, mark) in natives.iter_mut().zip(marks) {
        native.on_demand = mark;
    }
}

/// Whether a name follows gRPC's usual template.
pub(super) fn is_named_so(listener: &str) -> bool {
    listener.contains(MARK)
}

/// Whether a listener's connection managers, of which there is at least one, have only tables that forward nothing.
fn serves_only(listener: &Node, tables: &BTreeMap<&str, bool>) -> bool {
    let listed = find(listener, "filter_chains").and_then(Node::items).unwrap_or_default();
    let chains = listed.iter().chain(find(listener, "default_filter_chain"));
    let filters = chains.filter_map(|chain| find(chain, "filters")?.items()).flatten();
    let mut answers = filters.map(|filter| {
        let manager = find(filter, "typed_config")?;
        let inline = find(manager, "route_config").map(forwards_nothing);
        inline.or_else(|| tables.get(find(find(manager, "rds")?, "route_config_name")?.as_str()?).copied())
    });
    answers.next().is_some_and(|first| first == Some(true) && answers.all(|answer| answer == Some(true)))
}

/// Whether a table has routes, and each is an answer of the server's own.
fn forwards_nothing(table: &Node) -> bool {
    let hosts = find(table, "virtual_hosts").and_then(Node::items).unwrap_or_default();
    let mut routes = hosts.iter().filter_map(|host| find(host, "routes")?.items()).flatten().peekable();
    routes.peek().is_some() && routes.all(|route| find(route, "non_forwarding_action").is_some())
}
