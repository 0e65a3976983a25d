//! Names that point at nothing.
//!
//! Envoy accepts a route to a cluster that does not exist and answers 503; a listener whose routes never come stays without
//! them. So the names that messages hold are followed here, through filters and everything else packed in `Any`.

use std::collections::{BTreeMap, BTreeSet};

use super::Checked;
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{self, DynamicMessage, Kind, Path, ReflectMessage as _, Schema, field};
use crate::topology::StaticResources;

/// Fields that name a cluster: the message, and the field in it.
const CLUSTER_FIELDS: &[(&str, &str)] = &[
    ("envoy.config.core.v3.ApiConfigSource", "cluster_names"),
    ("envoy.config.core.v3.GrpcService.EnvoyGrpc", "cluster_name"),
    ("envoy.config.core.v3.HttpUri", "cluster"),
    ("envoy.config.route.v3.RouteAction", "cluster"),
    ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", "cluster"),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", "name"),
    ("envoy.config.trace.v3.DatadogConfig", "collector_cluster"),
    ("envoy.config.trace.v3.ZipkinConfig", "collector_cluster"),
    ("envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters"),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster"),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight", "name"),
    ("envoy.extensions.filters.udp.udp_proxy.v3.Route", "cluster"),
];

/// How many names are compared to find what was meant: thousands of unknown names among thousands of known ones are no
/// misspellings, and comparing all with all would take minutes.
const COMPARISONS: usize = 100_000;

pub(super) fn check(
    schema: &Schema,
    resources: &[&Checked],
    static_resources: &StaticResources,
    findings: &mut Findings,
) {
    let mut names: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
    for resource in resources {
        names.entry(resource.native.kind).or_default().insert(&resource.native.name);
    }
    names.entry(Kind::Cluster).or_default().extend(static_resources.clusters.iter().map(String::as_str));
    names.entry(Kind::Secret).or_default().extend(static_resources.secrets.iter().map(String::as_str));
    let mut comparisons = COMPARISONS;
    for resource in resources {
        envoy::visit(schema, &resource.message, &mut |path, message| {
            let mut follow = Follow { names: &names, resource, path, findings, comparisons: &mut comparisons };
            follow.message(message);
        });
    }
}

/// One message on the way through a resource.
struct Follow<'a> {
    names: &'a BTreeMap<Kind, BTreeSet<&'a str>>,
    resource: &'a Checked,
    path: &'a Path,
    findings: &'a mut Findings,
    /// How many names may still be compared.
    comparisons: &'a mut usize,
}

impl<'a> Follow<'a> {
    fn message(&mut self, message: &DynamicMessage) {
        let descriptor = message.descriptor();
        let full_name = descriptor.full_name();
        for (_, name) in CLUSTER_FIELDS.iter().filter(|(holder, _)| *holder == full_name) {
            for (path, cluster) in self.strings(message, name) {
                self.cluster(&path, cluster);
            }
        }
        match full_name {
            "envoy.extensions.filters.network.http_connection_manager.v3.Rds" => {
                self.subscribed(message, "config_source", "route_config_name", Kind::Route);
            }
            "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" => {
                self.subscribed(message, "sds_config", "name", Kind::Secret);
            }
            "envoy.config.cluster.v3.Cluster" => self.endpoints(message),
            _ => {}
        }
    }

    /// The non-empty values of a string field or of a list of strings, with their paths.
    fn strings<'m>(&self, message: &'m DynamicMessage, name: &str) -> Vec<(Path, &'m str)> {
        let mut path = self.path.clone();
        path.field(name);
        let values = field::strings(message, name);
        let listed = field::is_list(message, name);
        let at = |index: usize| {
            let mut path = path.clone();
            if listed {
                path.index(index);
            }
            path
        };
        let found = values.into_iter().enumerate().map(|(index, value)| (at(index), value));
        found.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn known(&self, kind: Kind, name: &str) -> bool {
        // Where one has no name, it may be the one that is meant.
        self.names.get(&kind).is_some_and(|names| names.contains(name) || names.contains(""))
    }

    fn nearest(&mut self, kind: Kind, name: &str) -> Option<&'a str> {
        let names = self.names.get(&kind)?;
        *self.comparisons = self.comparisons.checked_sub(names.len())?;
        did_you_mean(name, names.iter().copied())
    }

    fn cluster(&mut self, path: &Path, name: &str) {
        if self.known(Kind::Cluster, name) {
            return;
        }
        let help = match self.nearest(Kind::Cluster, name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "define it under `clusters`, or list it in `static_resources: {clusters: [...]}` if the proxies' \
                     bootstrap has it"
                .to_owned(),
        };
        let message = format!("cluster `{name}` is not defined");
        self.findings.push(self.resource.error("unknown-cluster", path, message).help(help));
    }

    /// A name that the proxy asks this server for, if its config source says so.
    fn subscribed(&mut self, message: &DynamicMessage, source: &str, name_field: &str, kind: Kind) {
        if !field::message(message, source).is_some_and(from_xds) {
            return;
        }
        let (code, what, section) = match kind {
            Kind::Route => ("unknown-route-config", "route configuration", "route_configs"),
            _ => ("unknown-secret", "secret", "secrets"),
        };
        for (path, name) in self.strings(message, name_field) {
            if self.known(kind, name) {
                continue;
            }
            let help = match self.nearest(kind, name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("define it under `{section}`"),
            };
            let message = format!("{what} `{name}` is not defined");
            self.findings.push(self.resource.error(code, &path, message).help(help));
        }
    }

    /// A cluster of type EDS needs its load assignment.
    fn endpoints(&mut self, message: &DynamicMessage) {
        let Some(service) = eds_service(message) else { return };
        let config = field::message(message, "eds_cluster_config");
        let ours = config.and_then(|config| field::message(config, "eds_config")).is_none_or(from_xds);
        if !ours || self.resource.broken || self.known(Kind::Endpoint, service) {
            return;
        }
        let message = format!("cluster `{}` has no endpoints", self.resource.native.name);
        let finding = self.resource.error_unless_verbatim("no-load-assignment", self.path, message);
        self.findings.push(finding.help(format!(
            "give it `endpoints: [...]`, or add an entry with `cluster_name: {service}` to `load_assignments`"
        )));
    }
}

/// Whether a config source asks an xDS server, rather than a file.
fn from_xds(source: &DynamicMessage) -> bool {
    ["ads", "self", "api_config_source"].iter().any(|name| field::message(source, name).is_some())
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
