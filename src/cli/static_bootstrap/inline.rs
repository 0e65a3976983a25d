//! Putting what is referred to in the place of the reference.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Native;
use crate::envoy::{Kind, MessageDescriptor, Schema};

/// Deeper than any message that Envoy's own parser takes.
const MAX_DEPTH: usize = 100;

/// Where a field gets its value from, other than from the message itself.
enum Source {
    /// A file on Envoy's host: it stays.
    File,
    /// Another stream or server, which may or may not be this control plane.
    Server,
    /// The stream that brought the configuration itself.
    Ads,
}

fn source(config_source: Option<&Value>) -> Source {
    let has = |key| config_source.is_some_and(|source| source.get(key).is_some());
    if has("path_config_source") || has("path") {
        Source::File
    } else if has("api_config_source") {
        Source::Server
    } else {
        Source::Ads
    }
}

pub(super) struct Inliner<'a> {
    pub(super) schema: &'a Schema,
    /// What fields can refer to. Secrets stay resources, so that of them only the name is here.
    pub(super) by_name: BTreeMap<(Kind, String), Value>,
    /// The resource that is being rewritten, for `left_out`.
    pub(super) at: String,
    pub(super) left_out: Vec<String>,
    /// Whether anything needs the extension for internal listeners.
    pub(super) internal_addresses: bool,
}

impl Inliner<'_> {
    pub(super) fn resource(&mut self, resource: Native) -> Value {
        let Native { kind, name, origin, mut json } = resource;
        self.at = format!("{kind} `{name}` ({origin})");
        if let Value::Object(map) = &mut json {
            map.shift_remove("@type");
        }
        if let Some(descriptor) = self.schema.message(kind.message()) {
            self.value(&descriptor, &mut json, 0);
        }
        json
    }

    fn value(&mut self, descriptor: &MessageDescriptor, value: &mut Value, depth: usize) {
        let Value::Object(map) = value else { return };
        if descriptor.full_name() == "google.protobuf.Any" {
            let name = map.get("@type").and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
            if let Some(payload) = name.and_then(|name| self.schema.message(name)) {
                self.message(&payload, map, depth);
            }
        } else {
            self.message(descriptor, map, depth);
        }
    }

    /// Outer messages first, so that what is put in is walked as well.
    fn message(&mut self, descriptor: &MessageDescriptor, map: &mut Map<String, Value>, depth: usize) {
        if depth >= MAX_DEPTH || descriptor.full_name().starts_with("google.protobuf.") {
            return;
        }
        self.rewrite(descriptor.full_name(), map);
        let mut dropped = Vec::new();
        for (key, value) in map.iter_mut() {
            let Some(field) = descriptor.get_field_by_name(key) else { continue };
            let kind = field.kind();
            let Some(inner) = kind.as_message() else { continue };
            if field.is_map() {
                let entry = inner.map_entry_value_field().kind();
                if let (Some(inner), Value::Object(entries)) = (entry.as_message(), value) {
                    for value in entries.values_mut() {
                        self.value(inner, value, depth + 1);
                    }
                }
            } else if let Value::Array(items) = value {
                for item in items {
                    self.value(inner, item, depth + 1);
                }
            } else if leads_back(inner.full_name(), value) {
                dropped.push(key.clone());
            } else {
                self.value(inner, value, depth + 1);
            }
        }
        for key in dropped {
            map.shift_remove(&key);
            self.leave_out(&format!("its `{key}` comes from the control plane and has no static form"));
        }
    }

    fn rewrite(&mut self, message: &str, map: &mut Map<String, Value>) {
        match message {
            "envoy.config.cluster.v3.Cluster" => self.endpoints(map),
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => self.routes(map),
            "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes" => self.scopes(map),
            "envoy.config.route.v3.ScopedRouteConfiguration" => self.scope(map),
            "envoy.config.route.v3.RouteConfiguration" => self.virtual_hosts(map),
            "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" => self.secret(map),
            "envoy.config.listener.v3.Filter"
            | "envoy.config.listener.v3.ListenerFilter"
            | "envoy.config.cluster.v3.Filter"
            | "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
            | "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.SessionFilter" => self.extension(map),
            "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction" => {
                if let Some(Value::Object(mut dynamic)) = map.get("dynamic_config").cloned() {
                    self.extension(&mut dynamic);
                    if dynamic.get("config_discovery").is_none() {
                        replace(map, "dynamic_config", "typed_config", Value::Object(dynamic));
                    }
                }
            }
            "envoy.config.core.v3.EnvoyInternalAddress"
            | "envoy.config.listener.v3.Listener.InternalListenerConfig" => {
                self.internal_addresses = true;
            }
            _ => {}
        }
    }

    fn endpoints(&mut self, cluster: &mut Map<String, Value>) {
        if cluster.get("type").and_then(Value::as_str) != Some("EDS") {
            return;
        }
        let eds = cluster.get("eds_cluster_config");
        let service =
            eds.and_then(|eds| eds.get("service_name")).and_then(Value::as_str).filter(|name| !name.is_empty());
        let Some(name) = service.or_else(|| cluster.get("name").and_then(Value::as_str)).map(str::to_owned) else {
            return;
        };
        let source = source(eds.and_then(|eds| eds.get("eds_config")));
        let empty = json!({"cluster_name": name});
        let Some(assignment) = self.find(Kind::Endpoint, &name, &source, "load assignment", empty) else { return };
        cluster.insert("type".to_owned(), "STATIC".into());
        cluster.shift_remove("eds_cluster_config");
        cluster.insert("load_assignment".to_owned(), assignment);
    }

    fn routes(&mut self, hcm: &mut Map<String, Value>) {
        let Some(rds) = hcm.get("rds") else { return };
        let Some(name) = rds.get("route_config_name").and_then(Value::as_str).map(str::to_owned) else { return };
        let source = source(rds.get("config_source"));
        if let Some(table) = self.find(Kind::Route, &name, &source, "route table", json!({"name": name})) {
            replace(hcm, "rds", "route_config", without_cluster_check(table));
        }
    }

    /// All scopes: which of them a listener would be given is not a question of names.
    fn scopes(&mut self, routes: &mut Map<String, Value>) {
        let source = source(routes.get("scoped_rds").and_then(|srds| srds.get("scoped_rds_config_source")));
        if !routes.contains_key("scoped_rds") || matches!(source, Source::File) {
            return;
        }
        let scopes = self.by_name.iter().filter(|((kind, _), _)| *kind == Kind::ScopedRoute);
        let scopes: Vec<Value> = scopes.map(|(_, scope)| untyped(scope.clone())).collect();
        let list = json!({"scoped_route_configurations": scopes});
        replace(routes, "scoped_rds", "scoped_route_configurations_list", list);
        // Each scope brings its table along.
        routes.shift_remove("rds_config_source");
    }

    fn scope(&mut self, scope: &mut Map<String, Value>) {
        let Some(name) = scope.get("route_configuration_name").and_then(Value::as_str).map(str::to_owned) else {
            return;
        };
        if let Some(table) = self.find(Kind::Route, &name, &Source::Ads, "route table", json!({"name": name})) {
            replace(scope, "route_configuration_name", "route_configuration", without_cluster_check(table));
        }
    }

    fn virtual_hosts(&mut self, table: &mut Map<String, Value>) {
        let source = source(table.get("vhds").and_then(|vhds| vhds.get("config_source")));
        if !table.contains_key("vhds") || matches!(source, Source::File) {
            return;
        }
        let prefix = format!("{}/", table.get("name").and_then(Value::as_str).unwrap_or_default());
        let hosts =
            self.by_name.iter().filter(|((kind, name), _)| *kind == Kind::VirtualHost && name.starts_with(&prefix));
        let hosts: Vec<Value> = hosts.map(|(_, host)| untyped(host.clone())).collect();
        table.shift_remove("vhds");
        if let Value::Array(present) = table.entry("virtual_hosts").or_insert_with(|| json!([])) {
            present.extend(hosts);
        }
    }

    /// Without a source, the name refers to `static_resources.secrets`.
    fn secret(&mut self, reference: &mut Map<String, Value>) {
        let Some(name) = reference.get("name").and_then(Value::as_str).map(str::to_owned) else { return };
        let Some(sds) = reference.get("sds_config") else { return };
        let source = source(Some(sds));
        if self.find(Kind::Secret, &name, &source, "secret", Value::Null).is_some() {
            reference.shift_remove("sds_config");
        }
    }

    fn extension(&mut self, filter: &mut Map<String, Value>) {
        let Some(discovery) = filter.get("config_discovery") else { return };
        let Some(name) = filter.get("name").and_then(Value::as_str).map(str::to_owned) else { return };
        let source = source(discovery.get("config_source"));
        let fallback = json!({"typed_config": discovery.get("default_config")});
        let Some(mut extension) = self.find(Kind::ExtensionConfig, &name, &source, "extension", fallback) else {
            return;
        };
        match extension.get_mut("typed_config").map(Value::take) {
            None | Some(Value::Null) => _ = filter.shift_remove("config_discovery"),
            Some(config) => replace(filter, "config_discovery", "typed_config", config),
        }
    }

    /// What stands in for a reference; `None` if the reference stays.
    fn find(&mut self, kind: Kind, name: &str, source: &Source, noun: &str, missing: Value) -> Option<Value> {
        let found = self.by_name.get(&(kind, name.to_owned()));
        match (found, source) {
            (_, Source::File) | (None, Source::Server) => None,
            (Some(found), _) => Some(untyped(found.clone())),
            (None, Source::Ads) => {
                self.leave_out(&format!("its {noun} `{name}` is not in the topology"));
                Some(missing)
            }
        }
    }

    fn leave_out(&mut self, what: &str) {
        self.left_out.push(format!("{}: {what}", self.at));
    }
}

/// Whether a field is, or consists of, a config source that leads back to the control plane.
fn leads_back(message: &str, value: &Value) -> bool {
    let source = match message {
        "envoy.config.core.v3.ConfigSource" => Some(value),
        "envoy.config.endpoint.v3.LedsClusterLocalityConfig" => value.get("leds_config"),
        "envoy.config.listener.v3.Listener.FcdsConfig"
        | "envoy.extensions.clusters.aggregate.v3.AggregateClusterResource"
        | "envoy.extensions.filters.network.dubbo_proxy.v3.Drds"
        | "envoy.extensions.filters.network.generic_proxy.v3.GenericRds"
        | "envoy.extensions.filters.network.thrift_proxy.v3.Trds" => value.get("config_source"),
        "envoy.extensions.filters.http.on_demand.v3.OnDemandCds" => value.get("source"),
        _ => None,
    };
    source.is_some_and(|source| source.get("ads").is_some() || source.get("self").is_some())
}

/// A route table that came over RDS may name clusters that do not exist; one that stands in the listener may not, unless
/// it says so.
fn without_cluster_check(mut table: Value) -> Value {
    if let Value::Object(map) = &mut table {
        map.entry("validate_clusters").or_insert(Value::Bool(false));
    }
    table
}

fn untyped(mut resource: Value) -> Value {
    if let Value::Object(map) = &mut resource {
        map.shift_remove("@type");
    }
    resource
}

/// Puts one field in the place of another, so that the order stays readable.
fn replace(map: &mut Map<String, Value>, old: &str, new: &str, value: Value) {
    let mut value = Some(value);
    *map = std::mem::take(map)
        .into_iter()
        .filter_map(|(key, kept)| if key == old { Some((new.to_owned(), value.take()?)) } else { Some((key, kept)) })
        .collect();
}
