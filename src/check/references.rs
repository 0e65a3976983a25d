//! Names that point at nothing.
//!
//! Envoy accepts a route to a cluster that does not exist and answers 503; a listener whose routes never come stays without
//! them. So the names that messages hold are followed here, through filters and everything else packed in `Any`.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::site::{Site, rows, steps};
use super::{Checked, Noted};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{DynamicMessage, Kind, Path, field};
use crate::topology::{NodeGroup, StaticResources};

/// Fields that name a cluster: the message, and the field in it.
const CLUSTER_FIELDS: &[(&str, &str)] = &[
    ("envoy.config.core.v3.ApiConfigSource", "cluster_names"),
    ("envoy.config.core.v3.GrpcService.EnvoyGrpc", "cluster_name"),
    ("envoy.config.core.v3.HttpUri", "cluster"),
    ("envoy.config.route.v3.RouteAction", "cluster"),
    ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", "cluster"),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", "name"),
    ("envoy.config.trace.v3.DatadogConfig", "collector_cluster"),
    ("envoy.config.trace.v3.LightstepConfig", "collector_cluster"),
    ("envoy.config.trace.v3.ZipkinConfig", "collector_cluster"),
    ("envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig", "cluster"),
    ("envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters"),
    ("envoy.extensions.clusters.composite.v3.ClusterConfig.ClusterEntry", "name"),
    ("envoy.extensions.clusters.mcp_multicluster.v3.ClusterConfig.McpCluster", "cluster"),
    ("envoy.extensions.filters.http.cache_v2.v3.CacheV2Config", "override_upstream_cluster"),
    ("envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig", "cluster"),
    ("envoy.extensions.filters.http.mcp_router.v3.McpRouter.McpCluster", "cluster"),
    ("envoy.extensions.filters.network.dubbo_proxy.v3.RouteAction", "cluster"),
    ("envoy.extensions.filters.network.generic_proxy.action.v3.RouteAction", "cluster"),
    ("envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes.Route", "cluster"),
    ("envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes.Route.ReadCommandPolicy", "cluster"),
    ("envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes.Route.RequestMirrorPolicy", "cluster"),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster"),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight", "name"),
    ("envoy.extensions.filters.network.thrift_proxy.v3.RouteAction", "cluster"),
    ("envoy.extensions.filters.network.thrift_proxy.v3.RouteAction.RequestMirrorPolicy", "cluster"),
    ("envoy.extensions.filters.network.thrift_proxy.v3.WeightedCluster.ClusterWeight", "name"),
    ("envoy.extensions.filters.udp.udp_proxy.v3.Route", "cluster"),
    ("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig", "cluster"),
    ("envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig", "default_cluster"),
    ("envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction", "cluster"),
    ("envoy.extensions.router.cluster_specifiers.priority_group.v3.ClusterWeight", "cluster_name"),
    ("envoy.extensions.tracers.fluentd.v3.FluentdConfig", "cluster"),
];

const ENVOY_GRPC: &str = "envoy.config.core.v3.GrpcService.EnvoyGrpc";

/// A name of another resource.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) path: Path,
    /// Spoken to in gRPC.
    pub(super) grpc: bool,
    /// Whether it has to be there, or only counts as a use.
    needed: bool,
}

/// Notes the names in a message.
pub(super) fn note(full_name: &str, site: &Site<'_>, references: &mut Vec<Reference>) {
    for (_, name) in rows(CLUSTER_FIELDS, full_name, |row| row.0) {
        for (path, cluster) in strings(site, name) {
            let name = cluster.to_owned();
            references.push(Reference { kind: Kind::Cluster, name, path, grpc: full_name == ENVOY_GRPC, needed: true });
        }
    }
    let mut named = |kind, field: &'static str, needed| {
        for (path, name) in strings(site, field) {
            references.push(Reference { kind, name: name.to_owned(), path, grpc: false, needed });
        }
    };
    let asks = |source: &str| field::message(site.message, source).is_some_and(from_xds);
    match full_name {
        "envoy.extensions.filters.network.http_connection_manager.v3.Rds" => {
            named(Kind::Route, "route_config_name", asks("config_source"));
        }
        "envoy.config.route.v3.ScopedRouteConfiguration" => {
            let inline = field::message(site.message, "route_configuration").is_some();
            named(Kind::Route, "route_configuration_name", !inline);
        }
        "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" => named(Kind::Secret, "name", asks("sds_config")),
        "envoy.config.cluster.v3.Cluster" => {
            if let Some(service) = eds_service(site.message) {
                let config = field::message(site.message, "eds_cluster_config");
                let ours = config.and_then(|config| field::message(config, "eds_config")).is_none_or(from_xds);
                let (name, path) = (service.to_owned(), site.path.clone());
                references.push(Reference { kind: Kind::Endpoint, name, path, grpc: false, needed: ours });
            }
        }
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        | "envoy.config.listener.v3.Filter"
        | "envoy.config.listener.v3.ListenerFilter" => {
            if let Some(discovery) = field::message(site.message, "config_discovery") {
                let source = field::message(discovery, "config_source").is_some_and(from_xds);
                let has_default = field::message(discovery, "default_config").is_some();
                named(Kind::ExtensionConfig, "name", source && !has_default);
            }
        }
        _ => {}
    }
}

/// The non-empty values of a string field or of a list of strings, with their paths.
fn strings<'m>(site: &Site<'m>, name: &'static str) -> Vec<(Path, &'m str)> {
    let values = field::strings(site.message, name);
    let listed = field::is_list(site.message, name);
    let at = |index: usize| if listed { site.at(steps![name, index]) } else { site.at(steps![name]) };
    let found = values.into_iter().enumerate().map(|(index, value)| (at(index), value));
    found.filter(|(_, value)| !value.is_empty()).collect()
}

/// Follows every name.
pub(super) fn check(
    index: &Index<'_, '_>,
    static_resources: &StaticResources,
    elsewhere: &Elsewhere<'_>,
    findings: &mut Findings,
) {
    let StaticResources { clusters, listeners: _, secrets } = static_resources;
    let clusters = clusters.iter().map(|name| (Kind::Cluster, name.as_str()));
    let outside = clusters.chain(secrets.iter().map(|name| (Kind::Secret, name.as_str()))).collect();
    let mut names = Names { index, outside, elsewhere, comparisons: COMPARISONS };
    for noted in index.set {
        for reference in noted.facts.references.iter().filter(|reference| reference.needed) {
            names.follow(noted.resource, reference, findings);
        }
    }
}

/// How many names are compared to find what was meant: thousands of unknown names among thousands of known ones are no
/// misspellings, and comparing all with all would take minutes.
const COMPARISONS: usize = 100_000;

/// The node groups, by the kind and the name of each resource.
pub(super) struct Elsewhere<'a>(BTreeMap<(Kind, &'a str), BTreeSet<&'a str>>);

impl<'a> Elsewhere<'a> {
    /// Where all resources are. With a single group, nothing is elsewhere.
    pub(super) fn of(all: &'a [Noted<'_>], groups: &'a [NodeGroup]) -> Self {
        let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for native in all.iter().map(|noted| &noted.resource.native).filter(|_| groups.len() > 1) {
            let names = native.groups.iter().filter_map(|group| Some(&*groups.get(group)?.name));
            found.entry((native.kind, native.name.as_str())).or_default().extend(names);
        }
        Self(found)
    }

    /// The remedy for a name that is there, but not for the nodes that need it.
    fn help(&self, kind: Kind, name: &str) -> Option<String> {
        let groups = self.0.get(&(kind, name)).filter(|groups| !groups.is_empty())?;
        let noun = if groups.len() == 1 { "node group" } else { "node groups" };
        let list: Vec<String> = groups.iter().map(|group| format!("`{group}`")).collect();
        let list = list.join(", ");
        Some(format!("it exists in the {noun} {list}; move it to a document for this one as well"))
    }
}

struct Names<'a> {
    index: &'a Index<'a, 'a>,
    /// What the proxies' bootstrap has.
    outside: BTreeSet<(Kind, &'a str)>,
    elsewhere: &'a Elsewhere<'a>,
    /// How many names may still be compared.
    comparisons: usize,
}

impl<'a> Names<'a> {
    fn known(&self, kind: Kind, name: &str) -> bool {
        // Where one has no name, it may be the one that is meant.
        let has = |name| self.index.position(kind, name).is_some();
        has(name) || self.outside.contains(&(kind, name)) || has("")
    }

    fn nearest(&mut self, kind: Kind, name: &str) -> Option<&'a str> {
        let outside = self.outside.iter().filter(|(of, _)| *of == kind).map(|(_, name)| *name);
        let names = || self.index.names(kind).chain(outside.clone());
        self.comparisons = self.comparisons.checked_sub(names().count())?;
        did_you_mean(name, names())
    }

    fn follow(&mut self, resource: &Checked, reference: &Reference, findings: &mut Findings) {
        let Reference { kind, name, path, .. } = reference;
        if self.known(*kind, name) {
            return;
        }
        if *kind == Kind::Endpoint {
            if !resource.broken {
                endpoints(resource, path, name, self.elsewhere.help(*kind, name), findings);
            }
            return;
        }
        let elsewhere = self.elsewhere.help(*kind, name);
        let near = self.nearest(*kind, name);
        let (finding, section) = match kind {
            Kind::Cluster => {
                let message = format!("cluster `{name}` is not defined");
                let help = "define it under `clusters`, or list it in `static_resources: {clusters: [...]}` if the \
                            proxies' bootstrap has it";
                (resource.error("unknown-cluster", path, message), help)
            }
            Kind::Route => {
                let message = format!("route configuration `{name}` is not defined");
                (resource.error("unknown-route-config", path, message), "define it under `route_configs`")
            }
            Kind::Secret => {
                let message = format!("secret `{name}` is not defined");
                (resource.error("unknown-secret", path, message), "define it under `secrets`")
            }
            _ => {
                let message = format!("extension configuration `{name}` is not defined");
                (resource.error("unknown-extension-config", path, message), "define it under `extension_configs`")
            }
        };
        let near = near.map(|near| format!("did you mean `{near}`?"));
        let help = elsewhere.or(near).unwrap_or_else(|| section.to_owned());
        findings.push(finding.help(help));
    }
}

/// A cluster of type EDS needs its load assignment.
fn endpoints(resource: &Checked, path: &Path, service: &str, elsewhere: Option<String>, findings: &mut Findings) {
    let message = format!("cluster `{}` has no endpoints", resource.native.name);
    let finding = resource.error_unless_verbatim("no-load-assignment", path, message);
    findings.push(finding.help(elsewhere.unwrap_or_else(|| {
        format!("give it `endpoints: [...]`, or add an entry with `cluster_name: {service}` to `load_assignments`")
    })));
}

/// Whether a config source asks an xDS server, rather than a file.
fn from_xds(source: &DynamicMessage) -> bool {
    ["ads", "self", "api_config_source"].iter().any(|name| field::message(source, name).is_some())
}

/// Whether a config source is the stream that everything else comes on.
pub(super) fn from_ads(source: &DynamicMessage) -> bool {
    ["ads", "self"].iter().any(|name| field::message(source, name).is_some())
}

/// The name under which a cluster of type EDS asks for its endpoints.
pub(crate) fn eds_service(cluster: &DynamicMessage) -> Option<&str> {
    if field::enum_name(cluster, "type")? != "EDS" {
        return None;
    }
    let service = field::message(cluster, "eds_cluster_config")
        .and_then(|config| field::string(config, "service_name"))
        .filter(|service| !service.is_empty());
    service.or_else(|| field::string(cluster, "name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::{FieldKind, Schema};

    /// Strings that are called clusters and yet are no references to one that is served.
    const NO_REFERENCES: [(&str, &str); 15] = [
        // Names of the thing itself, of a header, of a plugin, or of the node.
        ("envoy.config.core.v3.Node", "cluster"),
        ("envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name"),
        ("envoy.config.endpoint.v3.ClusterStats", "cluster_name"),
        ("envoy.config.endpoint.v3.ClusterStats", "cluster_service_name"),
        ("envoy.config.route.v3.RouteAction", "cluster_header"),
        ("envoy.config.route.v3.RouteAction", "cluster_specifier_plugin"),
        ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", "cluster_header"),
        ("envoy.config.route.v3.WeightedCluster.ClusterWeight", "cluster_header"),
        ("envoy.extensions.clusters.dynamic_modules.v3.ClusterConfig", "cluster_name"),
        ("envoy.extensions.filters.network.thrift_proxy.v3.RouteAction", "cluster_header"),
        // Compared with what a peer says of itself.
        ("envoy.extensions.filters.http.fault.v3.HTTPFault", "upstream_cluster"),
        ("envoy.extensions.filters.network.reverse_tunnel.v3.ReverseTunnel", "required_cluster_name"),
        ("envoy.extensions.filters.network.reverse_tunnel.v3.Validation", "cluster_id_format"),
        // Only in a bootstrap.
        ("envoy.config.metrics.v3.StatsdSink", "tcp_cluster_name"),
        ("envoy.config.bootstrap.v3.ClusterManager", "local_cluster_name"),
    ];

    /// A new descriptor set may bring new references; someone has to say which they are.
    #[test]
    fn every_field_that_sounds_like_a_cluster_was_looked_at() {
        let schema = Schema::embedded();
        let mut unknown = Vec::new();
        for message in schema.messages() {
            let holder = message.full_name();
            let ours = ["envoy.config.", "envoy.extensions."].iter().any(|package| holder.starts_with(package));
            if !ours || holder.starts_with("envoy.extensions.bootstrap.") {
                continue;
            }
            for field in message.fields().filter(|field| field.kind() == FieldKind::String) {
                let known = |table: &[(&str, &str)]| table.contains(&(holder, field.name()));
                if field.name().contains("cluster") && !known(CLUSTER_FIELDS) && !known(&NO_REFERENCES) {
                    unknown.push(format!("{holder}.{}", field.name()));
                }
            }
        }
        assert!(unknown.is_empty(), "{unknown:#?}");
    }

    #[test]
    fn every_reference_is_a_field() {
        let schema = Schema::embedded();
        for (holder, name) in CLUSTER_FIELDS.iter().chain(&NO_REFERENCES) {
            let message = schema.message(holder).unwrap_or_else(|| panic!("{holder}"));
            assert!(message.get_field_by_name(name).is_some(), "{holder}.{name}");
        }
    }
}
