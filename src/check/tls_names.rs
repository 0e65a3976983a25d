//! The names that connections and requests are for, and the certificates that are shown for them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::MANAGER;
use super::site::{Step, below, is_inside, steps};
use super::tls::inline;
use super::tls_material::{self, Certificate};
use super::{Checked, Noted};
use crate::diagnostic::{Finding, Findings, Level};
use crate::envoy::{self, DynamicMessage, Kind, Path, ReflectMessage as _, Schema, field};

/// Certificates by the names of their secrets.
type Secrets<'a> = BTreeMap<&'a str, &'a Certificate>;

/// Where a route table stands: in a resource of its own, or inside a listener.
type Place = (Kind, String, Path);

/// What is known of the connections that a route table is for.
#[derive(Default)]
struct Shown<'a> {
    /// All certificates of all chains.
    certificates: Vec<Cow<'a, Certificate>>,
    /// Some chain has none, or one that cannot be seen.
    open: bool,
    /// Names that chains take connections for, in lower case; they are looked at there.
    judged: BTreeSet<String>,
}

/// The listeners and route tables of a node group.
pub(super) fn check(schema: &Schema, set: &[&Noted<'_>], findings: &mut Findings) {
    let of_kind = |kind| set.iter().filter(move |noted| noted.resource.native.kind == kind);
    let secrets: Secrets<'_> = of_kind(Kind::Secret)
        .filter_map(|secret| Some((secret.resource.native.name.as_str(), secret.facts.shown.as_ref()?)))
        .collect();
    let mut tables: BTreeMap<Place, Shown<'_>> = BTreeMap::new();
    for listener in of_kind(Kind::Listener).map(|noted| noted.resource) {
        let places = places(schema, listener);
        for (path, chain) in chains(&listener.message) {
            let socket = field::message(chain, "transport_socket");
            let shown = socket.and_then(|socket| shown(schema, socket, &secrets)).filter(|_| !listener.broken);
            if let Some(shown) = &shown {
                server_names(listener, &path, chain, shown, findings);
            }
            for (_, place) in places.iter().filter(|(manager, _)| is_inside(manager, &path)) {
                let table = tables.entry(place.clone()).or_default();
                match &shown {
                    Some(shown) => table.certificates.extend(shown.iter().cloned()),
                    None => table.open = true,
                }
                let names = field::message(chain, "filter_chain_match").map(|one| field::strings(one, "server_names"));
                table.judged.extend(names.into_iter().flatten().map(str::to_ascii_lowercase));
            }
        }
    }
    for ((kind, name, path), shown) in tables.iter().filter(|(_, shown)| !shown.open) {
        let holder = of_kind(*kind).find(|noted| noted.resource.native.name == *name);
        if let Some(holder) = holder.map(|noted| noted.resource).filter(|holder| !holder.broken) {
            domains(schema, holder, path, shown, findings);
        }
    }
}

fn chains(listener: &DynamicMessage) -> Vec<(Path, &DynamicMessage)> {
    let root = Path::new();
    let listed = field::messages(listener, "filter_chains").enumerate();
    let listed = listed.map(|(index, chain)| (below(&root, steps!["filter_chains", index]), chain));
    let default = field::message(listener, "default_filter_chain");
    listed.chain(default.map(|chain| (below(&root, steps!["default_filter_chain"]), chain))).collect()
}

/// The route tables of a listener's connection managers, with the paths of these.
fn places(schema: &Schema, listener: &Checked) -> Vec<(Path, Place)> {
    let mut places = Vec::new();
    envoy::visit(schema, &listener.message, &mut |path, message| {
        if message.descriptor().full_name() != MANAGER {
            return;
        }
        let rds = field::message(message, "rds").and_then(|rds| field::string(rds, "route_config_name"));
        if let Some(name) = rds {
            places.push((path.clone(), (Kind::Route, name.to_owned(), Path::new())));
        } else if field::message(message, "route_config").is_some() {
            let table = below(path, steps!["route_config"]);
            places.push((path.clone(), (Kind::Listener, listener.native.name.clone(), table)));
        }
    });
    places
}

/// Connections are taken for names that no certificate of the chain is for.
fn server_names(
    listener: &Checked,
    path: &Path,
    chain: &DynamicMessage,
    shown: &[Cow<'_, Certificate>],
    findings: &mut Findings,
) {
    let Some(matches) = field::message(chain, "filter_chain_match") else { return };
    for (position, name) in field::strings(matches, "server_names").into_iter().enumerate() {
        if !covered(shown, name) {
            let path = below(path, steps!["filter_chain_match", "server_names", position]);
            let message = format!("no certificate of this filter chain is for `{name}`");
            findings.push(uncovered(listener, &path, message, shown));
        }
    }
}

/// Requests are taken for names that no certificate of any chain with this table is for.
fn domains(schema: &Schema, holder: &Checked, table: &Path, shown: &Shown<'_>, findings: &mut Findings) {
    let Shown { certificates, judged, .. } = shown;
    envoy::visit(schema, &holder.message, &mut |path, message| {
        if path != table || message.descriptor().full_name() != Kind::Route.message() {
            return;
        }
        for (host, content) in field::messages(message, "virtual_hosts").enumerate() {
            for (index, domain) in field::strings(content, "domains").into_iter().enumerate() {
                let Some(name) = host_name(domain) else { continue };
                if !covered(certificates, name) && !judged.contains(&name.to_ascii_lowercase()) {
                    let here: &[Step] = steps!["virtual_hosts", host, "domains", index];
                    let message = format!("no certificate is for `{name}` where these routes are used");
                    findings.push(uncovered(holder, &below(table, here), message, certificates));
                }
            }
        }
    });
}

/// The name in a domain, if certificates could have it.
fn host_name(domain: &str) -> Option<&str> {
    let name = match domain.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => domain,
    };
    let inner = name.strip_prefix("*.").unwrap_or(name);
    let is_name = !inner.is_empty() && !inner.contains(['*', '/', ':', '[']) && inner.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}

fn covered(shown: &[Cow<'_, Certificate>], name: &str) -> bool {
    shown.iter().any(|certificate| certificate.covers(name))
}

fn uncovered(resource: &Checked, path: &Path, message: String, shown: &[Cow<'_, Certificate>]) -> Finding {
    let finding = resource.error("certificate-name", path, message);
    let mut names: Vec<&str> = shown.iter().flat_map(|certificate| &certificate.names).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let help = if names.is_empty() {
        "it has no DNS names among its subject alternative names, which are all that clients look at".to_owned()
    } else {
        format!("its names are {}", names.join(", "))
    };
    Finding { level: Level::Warning, ..finding.help(help) }
}

/// All certificates of a transport socket; `None` if it has none, or one that cannot be seen.
fn shown<'a>(schema: &Schema, socket: &DynamicMessage, secrets: &Secrets<'a>) -> Option<Vec<Cow<'a, Certificate>>> {
    let mut found = Some(Vec::new());
    envoy::visit(schema, socket, &mut |_, message| {
        if message.descriptor().full_name() != "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext" {
            return;
        }
        let own = field::messages(message, "tls_certificates").map(|certificate| {
            let (_, bytes) = inline(field::message(certificate, "certificate_chain")?)?;
            tls_material::certificates(bytes).ok()?.into_iter().next().map(Cow::Owned)
        });
        let referred = field::messages(message, "tls_certificate_sds_secret_configs")
            .map(|config| secrets.get(field::string(config, "name")?).copied().map(Cow::Borrowed));
        for certificate in own.chain(referred) {
            found = found.take().and_then(|mut found| {
                found.push(certificate?);
                Some(found)
            });
        }
    });
    found.filter(|found| !found.is_empty())
}
