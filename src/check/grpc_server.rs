//! Listeners of gRPC servers, which take much less than Envoy does.

use std::net::SocketAddr;

use super::Noted;
use super::grpc::{filters, source};
use super::site::{Step, below, steps};
use super::tables::Tables;
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Kind, Path, field};

/// HTTP filters that gRPC servers know.
const FILTERS: [&str; 2] = ["router", "rbac"];
/// What comes before the address in the usual template of their listeners' names.
const MARK: &str = "xds.resource.listening_address=";
/// What servers do not take at all.
const REFUSED: [&str; 2] = ["listener_filters", "use_original_dst"];

pub(super) fn check(set: &[&Noted<'_>], findings: &mut Findings) {
    let tables = Tables::of(set);
    let servers =
        set.iter().filter(|noted| noted.resource.native.kind == Kind::Listener && noted.resource.native.on_demand);
    for noted in servers.filter(|noted| !noted.resource.broken) {
        shape(noted, findings);
        for manager in &noted.facts.managers {
            let help = "remove it, or add `is_optional: true`; gRPC servers know router and rbac";
            filters(noted, manager, ("servers", &FILTERS, help), findings);
            source(noted, manager, "servers", findings);
            let Some(table) = tables.find(noted, manager) else { continue };
            for path in table.noted.facts.forwarding.iter().filter(|path| table.holds(path)) {
                let text = "a gRPC server answers calls itself, and fails those that a route would forward";
                let finding = table.noted.resource.error("grpc-server", path, text);
                let label = format!("the listener `{}` of a gRPC server", noted.resource.native.name);
                findings.push(
                    finding
                        .related(noted.resource.native.node.span, label)
                        .help("write `non_forwarding_action: {}` in place of the action"),
                );
            }
        }
    }
}

/// The listener itself.
fn shape(noted: &Noted<'_>, findings: &mut Findings) {
    let message = &noted.resource.message;
    let mut refuse = |steps: &[Step], text: String, help: &str| {
        let path = below(&Path::new(), steps);
        findings.push(noted.resource.error("grpc-server", &path, text).help(help));
    };
    for name in REFUSED.iter().filter(|name| field::is_set(message, name)) {
        let text = format!("gRPC servers refuse a listener with `{name}`");
        refuse(&[Step::Field(name)], text, "remove it");
    }
    let asked = noted.resource.native.name.split_once(MARK).and_then(|(_, address)| address.parse::<SocketAddr>().ok());
    let given = field::message(message, "address").and_then(address);
    if let (Some(asked), Some(given)) = (asked, given)
        && asked != given
    {
        let text = format!("a gRPC server that listens on `{asked}` asks for this listener, and refuses `{given}`");
        refuse(steps!["address"], text, "the address in the listener's name and its `address` are the same");
    }
    let chains = field::messages(message, "filter_chains").enumerate();
    for (chain, content) in chains {
        for (index, filter) in field::messages(content, "filters").enumerate() {
            let config = field::message(filter, "typed_config").and_then(field::type_name);
            if config.is_some_and(|config| config != super::facts::MANAGER) {
                let text = "gRPC servers know no network filter but the HTTP connection manager".to_owned();
                refuse(steps!["filter_chains", chain, "filters", index], text, "remove the filter");
            }
        }
    }
}

fn address(message: &DynamicMessage) -> Option<SocketAddr> {
    let socket = field::message(message, "socket_address")?;
    let port = u16::try_from(field::unsigned(socket, "port_value")?).ok()?;
    Some(SocketAddr::new(field::string(socket, "address")?.parse().ok()?, port))
}
