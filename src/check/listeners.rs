//! Listeners: their addresses, and how they choose a filter chain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Noted;
use super::site::{Site, steps};
use crate::diagnostic::{Findings, Span};
use crate::envoy::{DynamicMessage, Kind, Path, canonical, field};

/// Combinations of a filter chain's conditions that are compared with those of the others.
const MOST_COMBINATIONS: usize = 10_000;
/// Lists of a filter chain match: any of their elements may match.
const LISTS: [&str; 7] = [
    "prefix_ranges",
    "direct_source_prefix_ranges",
    "source_prefix_ranges",
    "source_ports",
    "server_names",
    "application_protocols",
    "destination_port",
];

/// A listener's filter chains.
pub(super) fn listener(site: &Site<'_>, findings: &mut Findings) {
    more_addresses(site, findings);
    server_names(site, findings);
    tls_inspector(site, findings);
    if field::message(site.message, "filter_chain_matcher").is_none() {
        duplicates(site, findings);
    }
}

/// Envoy ends itself over one that is missing here.
fn more_addresses(site: &Site<'_>, findings: &mut Findings) {
    for (index, more) in field::messages(site.message, "additional_addresses").enumerate() {
        if field::message(more, "address").is_none() && site.is_whole() {
            let here = steps!["additional_addresses", index];
            let text = "`address` is required: Envoy crashes without it";
            findings.push(site.error("required", here, text).help("give it an `address`, or remove the element"));
        }
    }
}

fn server_names(site: &Site<'_>, findings: &mut Findings) {
    for (chain, name, index) in names(site.message) {
        // What begins with `*.` is a wildcard, whatever follows.
        if !name.contains('*') || name.starts_with("*.") {
            continue;
        }
        let here = steps!["filter_chains", chain, "filter_chain_match", "server_names", index];
        let text = format!("the server name `{name}` has a `*` that Envoy does not take: it refuses the listener");
        let help = match name {
            "*" => "leave `server_names` out to match every name, or none at all",
            _ => "only a whole first label can be a `*`, such as `*.example.com`",
        };
        findings.push(site.error("server-name", here, text).help(help));
    }
}

/// The chain, server name and position of each server name of a listener.
fn names(listener: &DynamicMessage) -> Vec<(usize, &str, usize)> {
    let mut names = Vec::new();
    for (chain, message) in field::messages(listener, "filter_chains").enumerate() {
        let Some(matcher) = field::message(message, "filter_chain_match") else { continue };
        let listed = field::strings(matcher, "server_names").into_iter().enumerate();
        names.extend(listed.map(|(index, name)| (chain, name, index)));
    }
    names
}

/// Envoy knows the name that a TLS client asks for only if the TLS inspector looked.
fn tls_inspector(site: &Site<'_>, findings: &mut Findings) {
    let Some((chain, ..)) = names(site.message).into_iter().next() else { return };
    let inspects = field::messages(site.message, "listener_filters").any(|filter| {
        let config = field::message(filter, "typed_config").and_then(field::type_name);
        config.is_none_or(|name| name.ends_with(".TlsInspector") || !name.starts_with("envoy."))
    });
    let exempt = ["udp_listener_config", "internal_listener"];
    let exempt = exempt.iter().any(|name| field::message(site.message, name).is_some());
    if inspects || exempt || !site.is_whole() {
        return;
    }
    let here = steps!["filter_chains", chain, "filter_chain_match", "server_names"];
    let text = "this filter chain never matches: nothing tells Envoy the server name that a client asks for";
    findings.push(
        site.error_unless_verbatim("no-tls-inspector", here, text)
            .help("add `tls_inspector` to the listener's `listener_filters`"),
    );
}

/// Two chains that the same connection would match equally well.
fn duplicates(site: &Site<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<Vec<Vec<u8>>, usize> = BTreeMap::new();
    for (chain, message) in field::messages(site.message, "filter_chains").enumerate() {
        let matcher = field::message(message, "filter_chain_match");
        let combinations = combinations(site, matcher);
        let mut own = BTreeSet::new();
        for combination in combinations {
            let other = first.get(&combination).copied();
            if let Some(other) = other.or_else(|| own.contains(&combination).then_some(chain)) {
                let text = match matcher {
                    None => "two filter chains take every connection: Envoy refuses the listener".to_owned(),
                    Some(_) if other == chain => {
                        "this filter chain lists the same condition twice: Envoy refuses the listener".to_owned()
                    }
                    Some(_) => format!(
                        "this filter chain matches what filter_chains[{other}] matches: Envoy refuses the listener"
                    ),
                };
                let here = steps!["filter_chains", chain, "filter_chain_match"];
                let mut finding = site.error("duplicate-filter-chain-match", here, text).help(
                    "each combination of conditions belongs to one chain; upper and lower case of names are the same",
                );
                if other != chain {
                    let place = site.span(steps!["filter_chains", other, "filter_chain_match"]);
                    finding = finding.related(place, "the other one");
                }
                findings.push(finding);
                break;
            }
            own.insert(combination);
        }
        first.extend(own.into_iter().map(|combination| (combination, chain)));
    }
}

/// Every combination of the elements of a match's lists, as something to compare; none if there are too many.
fn combinations(site: &Site<'_>, matcher: Option<&DynamicMessage>) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new()];
    let Some(matcher) = matcher else { return vec![vec![Vec::new(); LISTS.len() + 2]] };
    for name in LISTS {
        let mut elements: Vec<Vec<u8>> =
            field::strings(matcher, name).into_iter().map(|text| text.to_ascii_lowercase().into_bytes()).collect();
        if name == "destination_port" {
            elements.extend(field::wrapped(matcher, name).map(|port| port.to_string().into_bytes()));
        }
        elements.extend(
            field::messages(matcher, name)
                .map(|range| network(range).unwrap_or_else(|| canonical::encode(site.schema, range))),
        );
        elements.extend(field::numbers(matcher, name).into_iter().map(|number| number.to_string().into_bytes()));
        if elements.is_empty() {
            elements.push(Vec::new());
        }
        if all.len().saturating_mul(elements.len()) > MOST_COMBINATIONS {
            return Vec::new();
        }
        all = all
            .iter()
            .flat_map(|start| elements.iter().map(|element| [start.as_slice(), std::slice::from_ref(element)].concat()))
            .collect();
    }
    for combination in &mut all {
        combination.push(field::string(matcher, "transport_protocol").unwrap_or_default().as_bytes().to_vec());
        let source = field::enum_name(matcher, "source_type").unwrap_or_default();
        combination.push(if source == "ANY" { Vec::new() } else { source.into_bytes() });
    }
    all
}

/// A range of addresses, wherever it stands.
pub(super) fn range(site: &Site<'_>, findings: &mut Findings) {
    let Some(prefix) = field::string(site.message, "address_prefix").filter(|prefix| !prefix.is_empty()) else {
        return;
    };
    if prefix.parse::<IpAddr>().is_err() {
        let text = format!("`{prefix}` is not an IP address: Envoy refuses the resource");
        let help = "write `{address_prefix: 10.0.0.0, prefix_len: 8}`, or `10.0.0.0/8` for short";
        findings.push(site.error("invalid-range", steps!["address_prefix"], text).help(help));
    }
}

/// A range of addresses by its first address and its length.
fn network(range: &DynamicMessage) -> Option<Vec<u8>> {
    let address: IpAddr = field::string(range, "address_prefix")?.parse().ok()?;
    let length = u32::try_from(field::wrapped(range, "prefix_len").unwrap_or_default()).ok()?;
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or_default();
            format!("{}/{length}", address.to_bits() & mask).into_bytes()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or_default();
            format!("6:{}/{length}", address.to_bits() & mask).into_bytes()
        }
    })
}

/// Where a listener listens.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    udp: bool,
    /// The address, or the path of a Unix socket.
    host: String,
    port: u64,
}

/// Addresses that two listeners of a set want.
pub(super) fn addresses(set: &[&Noted<'_>], findings: &mut Findings) {
    let mut first: BTreeMap<Endpoint, (&Noted<'_>, Path)> = BTreeMap::new();
    for noted in set.iter().copied().filter(|noted| noted.resource.native.kind == Kind::Listener) {
        let mut own = Vec::new();
        for (path, endpoint) in endpoints(&noted.resource.message) {
            if let Some((other, place)) = first.get(&endpoint) {
                let name = &other.resource.native.name;
                let text = format!("listener `{name}` listens on this address already: Envoy refuses the second");
                findings.push(
                    noted
                        .resource
                        .error("duplicate-address", &path, text)
                        .related(other.resource.span(place), format!("listener `{name}`"))
                        .help("give each listener an address or port of its own, or join them with `filter_chains`"),
                );
            } else {
                own.push((endpoint, (noted, path)));
            }
        }
        first.extend(own);
    }
    overlaps(&first, findings);
}

/// A wildcard and an address of its own on one port: which of the two gets a connection is up to the system.
fn overlaps(all: &BTreeMap<Endpoint, (&Noted<'_>, Path)>, findings: &mut Findings) {
    for (endpoint, (noted, path)) in all {
        let Ok(address) = endpoint.host.parse::<IpAddr>() else { continue };
        if address.is_unspecified() {
            continue;
        }
        let wildcard = if address.is_ipv4() { "0.0.0.0" } else { "::" };
        let whole = Endpoint { udp: endpoint.udp, host: wildcard.to_owned(), port: endpoint.port };
        let Some((other, place)) = all.get(&whole) else { continue };
        if std::ptr::eq(*other, *noted) {
            continue;
        }
        let (name, port) = (&other.resource.native.name, endpoint.port);
        let text = format!("listener `{name}` listens on port {port} of every address, this one included");
        let span: Span = other.resource.span(place);
        findings.push(
            noted
                .resource
                .warning("overlapping-address", path, text)
                .related(span, format!("listener `{name}`"))
                .help("binding fails on some systems; use another port, or `filter_chain_match` with `prefix_ranges`"),
        );
    }
}

/// The addresses that a listener binds, each with its path; ports that the system chooses are left out.
fn endpoints(listener: &DynamicMessage) -> Vec<(Path, Endpoint)> {
    let mut found = Vec::new();
    let mut add = |path: Path, address: Option<&DynamicMessage>| {
        let Some(address) = address else { return };
        if let Some(socket) = field::message(address, "socket_address") {
            let port = field::unsigned(socket, "port_value").unwrap_or_default();
            let host = field::string(socket, "address").unwrap_or_default().to_ascii_lowercase();
            let host = host.parse::<IpAddr>().map_or(host, |address| address.to_string());
            // The same address in another network namespace is another one.
            let namespace = field::string(socket, "network_namespace_filepath").unwrap_or_default();
            let host = if namespace.is_empty() { host } else { format!("{host}@{namespace}") };
            let udp = field::enum_name(socket, "protocol").is_some_and(|protocol| protocol == "UDP");
            if port != 0 {
                found.push((path, Endpoint { udp, host, port }));
            }
        } else if let Some(pipe) = field::message(address, "pipe") {
            let host = field::string(pipe, "path").unwrap_or_default().to_owned();
            found.push((path, Endpoint { udp: false, host, port: 0 }));
        }
    };
    let root = Path::new();
    add(super::site::below(&root, steps!["address"]), field::message(listener, "address"));
    for (index, more) in field::messages(listener, "additional_addresses").enumerate() {
        let path = super::site::below(&root, steps!["additional_addresses", index, "address"]);
        add(path, field::message(more, "address"));
    }
    found
}
