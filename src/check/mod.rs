//! What Envoy would refuse, and what it would accept although it cannot work.
//!
//! Enters: native resources as located JSON. Leaves: their messages, and findings. Knows: Envoy's field rules and the names
//! of the whole topology. Pure. Invariant: a set without errors is one that a proxy takes as a whole, as far as a control
//! plane can tell.
//!
//! First each resource is looked at by itself, in one walk through its messages, which also notes `Facts`; then the facts
//! of all resources that the same nodes are served are held against each other. Checks of things that are absent keep quiet
//! about items with errors: what could not be read looks absent.

mod addresses;
mod alternatives;
mod balancing;
mod clusters;
mod codes;
mod domains;
mod endpoints;
mod extensions;
mod facts;
mod filter_order;
mod filters;
mod formats;
mod group;
mod grpc;
mod grpc_server;
mod hashing;
mod headers;
mod health;
mod index;
mod jwt;
mod limits;
mod listeners;
mod memory;
mod overrides;
mod protocols;
mod re2;
mod references;
mod regexes;
mod retries;
mod routes;
mod shadows;
mod site;
mod sockets;
mod tables;
mod templates;
mod tls;
mod tls_material;
mod tls_names;
mod transport;
mod unused;
mod upgrades;
mod weights;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

pub use codes::{Explanation, codes, explanation};
pub use memory::Memory;

pub(crate) use references::eds_service;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Finding, Findings, Level, Span};
use crate::envoy::{self, DynamicMessage, Kind, Path, ReflectMessage as _, Schema};
use crate::expand::Native;
use crate::topology::NodeGroup;

use facts::Facts;
use index::Index;
use references::Elsewhere;
use site::Site;

/// A native resource with its message. It may hold private keys: `Debug` does not show its content.
pub struct Checked {
    /// The resource as it was expanded.
    pub native: Native,
    /// The message that its JSON stands for; incomplete where there are errors.
    pub message: Arc<DynamicMessage>,
    /// What was noted of it.
    facts: Arc<Facts>,
    /// Whether there are errors in the item that it was made from.
    broken: bool,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { native, message: _, facts: _, broken } = self;
        f.debug_struct("Checked").field("native", native).field("broken", broken).finish_non_exhaustive()
    }
}

impl Checked {
    /// Whether it holds a private key, or another secret, in the clear.
    pub fn holds_private_key(&self) -> bool {
        self.facts.private
    }

    /// The clusters that it leads traffic to; none for a cluster.
    pub fn clusters(&self) -> BTreeSet<&str> {
        if self.native.kind == Kind::Cluster {
            return BTreeSet::new();
        }
        let clusters = self.facts.references.iter().filter(|reference| reference.kind == Kind::Cluster);
        clusters.map(|reference| reference.name.as_str()).collect()
    }

    /// The place of a field inside the resource, or of the text that caused it.
    fn span(&self, path: &Path) -> Span {
        self.native.node.locate(path)
    }

    /// The full path of a field inside the resource, as findings show it.
    fn path(&self, inner: &Path) -> String {
        match inner.to_string() {
            inner if inner.is_empty() => self.native.path.clone(),
            inner if inner.starts_with('[') => format!("{}{inner}", self.native.path),
            inner => format!("{}.{inner}", self.native.path),
        }
    }

    fn error(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        Finding::error(code, self.span(inner), self.path(inner), message)
    }

    fn warning(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        Finding::warning(code, self.span(inner), self.path(inner), message)
    }

    fn info(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        Finding { level: Level::Info, ..self.error(code, inner, message) }
    }

    /// An error in the friendly form; only a warning where the author wrote Envoy's own message.
    fn error_unless_verbatim(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        let finding = self.error(code, inner, message);
        if self.native.verbatim { Finding { level: Level::Warning, ..finding } } else { finding }
    }
}

/// A resource with what was noted of it.
struct Noted<'a> {
    resource: &'a Checked,
    facts: &'a Facts,
}

/// Reads every resource strictly, applies Envoy's field rules, then looks at the resources of each node group as a whole.
/// `now` is in seconds since 1970: certificates expire.
pub fn check(
    schema: &Schema,
    natives: Vec<Native>,
    groups: &[NodeGroup],
    now: i64,
    findings: &mut Findings,
) -> Vec<Checked> {
    Memory::default().check(schema, natives, groups, now, findings)
}

/// What can be said of a resource without knowing any other.
fn alone(schema: &Schema, resource: &Checked, now: i64, findings: &mut Findings) -> Facts {
    let mut facts = Facts::default();
    let holds_tls = tls::may_be_in(resource.native.kind);
    envoy::visit(schema, &resource.message, &mut |path, message| {
        let descriptor = message.descriptor();
        let site = Site { schema, resource, path, message };
        facts.note(descriptor.full_name(), &site);
        if descriptor.full_name() == endpoints::ASSIGNMENT {
            endpoints::assignment(&site, &mut facts.flaws, findings);
        }
        if holds_tls {
            tls::check(descriptor.full_name(), &site, now, &mut facts, findings);
        }
        each(descriptor.full_name(), &site, findings);
    });
    filter_order::check(resource, &facts, findings);
    health::grpc(resource, &facts, findings);
    overrides::unsupported(resource, &facts, findings);
    facts
}

/// Every check of a single message, by the message's type.
fn each(name: &str, site: &Site<'_>, findings: &mut Findings) {
    alternatives::check(name, site, findings);
    extensions::wrapper(name, site, findings);
    limits::pairs(name, site, findings);
    match name {
        "envoy.config.cluster.v3.Cluster" => {
            clusters::cluster(site, findings);
            balancing::policy(site, findings);
            extensions::options(site, findings);
            health::names(site, findings);
            protocols::cluster(site, findings);
        }
        "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector" => balancing::selector(site, findings),
        "envoy.config.cluster.v3.Cluster.MaglevLbConfig"
        | "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" => limits::maglev(site, findings),
        "envoy.config.cluster.v3.CircuitBreakers" => clusters::thresholds(site, findings),
        "envoy.config.core.v3.BindConfig" => sockets::source(site, findings),
        "envoy.config.core.v3.CidrRange" => listeners::range(site, findings),
        "envoy.config.core.v3.HealthCheck.HttpHealthCheck" => health::statuses(site, findings),
        "envoy.config.core.v3.HealthCheck.Payload" => health::payload(site, findings),
        "envoy.config.core.v3.RetryPolicy" => retries::tokens(site, findings),
        "envoy.config.core.v3.SubstitutionFormatString" => formats::substitution(site, findings),
        "envoy.config.listener.v3.FilterChain" => sockets::chain(site, findings),
        "envoy.config.listener.v3.Listener" => {
            listeners::listener(site, findings);
            sockets::listener(site, findings);
        }
        "envoy.config.route.v3.RetryPolicy" => retries::policy(site, findings),
        "envoy.config.route.v3.RouteAction" => {
            routes::action(site, findings);
            upgrades::check(site, findings);
        }
        "envoy.config.route.v3.RouteConfiguration" => {
            domains::table(site, findings);
            routes::bodies(site, findings);
            routes::specifiers(site, findings);
            headers::changes(site, findings);
        }
        "envoy.config.route.v3.Route" => {
            routes::route(site, findings);
            templates::route(site, findings);
            headers::changes(site, findings);
        }
        "envoy.config.route.v3.VirtualHost" => {
            routes::host(site, findings);
            shadows::check(site, findings);
            headers::changes(site, findings);
        }
        "envoy.config.route.v3.WeightedCluster" => weights::check(site, findings),
        "envoy.config.route.v3.WeightedCluster.ClusterWeight" => headers::changes(site, findings),
        "envoy.extensions.filters.http.basic_auth.v3.BasicAuth"
        | "envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute" => filters::users(site, findings),
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => filters::fault(site, findings),
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication" => jwt::check(site, findings),
        "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider" => jwt::keys(site, findings),
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit" => {
            filters::local_ratelimit(site, findings);
            limits::bucket(site, findings);
        }
        facts::MANAGER => {
            filters::manager(site, findings);
            upgrades::check(site, findings);
        }
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig" => formats::tunnel(site, findings),
        "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext" => transport::names(site, findings),
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" => transport::downstream(site, findings),
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => transport::upstream(site, findings),
        "google.protobuf.Duration" => limits::duration(site, findings),
        "envoy.type.matcher.v3.RegexMatcher" => regexes::check(site, findings),
        _ => {}
    }
}

/// What can be said of the resources that the nodes of each group are served.
fn together(schema: &Schema, checked: &[Checked], groups: &[NodeGroup], findings: &mut Findings) {
    let noted: Vec<Noted<'_>> = checked.iter().map(|resource| Noted { resource, facts: &resource.facts }).collect();
    let members: Vec<_> = noted.iter().map(|noted| (noted, &noted.resource.native.groups)).collect();
    let elsewhere = Elsewhere::of(&noted, groups);
    group::each(&members, groups, findings, |set, group, findings| {
        let index = Index::of(set);
        references::check(&index, &group.static_resources, &elsewhere, findings);
        tls_names::check(schema, set, findings);
        listeners::addresses(set, findings);
        overrides::check(schema, set, findings);
        hashing::check(&index, findings);
        transport::redirects(set, findings);
        grpc::check(&index, findings);
        grpc_server::check(set, findings);
        unused::check(&index, findings);
    });
}

/// A resource as far as it could be read.
fn read(schema: &Schema, native: Native, findings: &mut Findings) -> Checked {
    let descriptor = schema.message(native.kind.message()).expect("the descriptor set has every kind, see its test");
    let mut path = Path::new();
    path.field(&native.path);
    let before = findings.len();
    let message = Arc::new(envoy::compile(schema, &descriptor, &native.node, &mut path, findings));
    let failed = findings.as_slice()[before..].iter().any(|finding| finding.level == Level::Error);
    let broken = native.broken || failed;
    Checked { native, message, facts: Arc::default(), broken }
}
