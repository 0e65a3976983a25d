//! A static Envoy configuration of what one node group is served.
//!
//! What Envoy would ask the control plane for is put where the question stands: route tables, endpoints, extension
//! configurations; secrets move to `static_resources`. No config source that leads back to the control plane is left, so
//! that Envoy can load the file on its own. The resources are walked by their descriptors, for only those tell a field of
//! Envoy's from a key of a user's metadata.

mod inline;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use self::inline::Inliner;
use super::bootstrap::socket_address;
use crate::envoy::{Kind, Schema};

/// A resource in Envoy's JSON form, with nothing redacted.
pub(super) struct Native {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// `file:line:column`.
    pub(super) origin: String,
    pub(super) json: Value,
}

/// What else the configuration needs.
pub(super) struct Setting<'a> {
    /// Clusters that the proxies' own bootstrap has: each becomes a cluster without endpoints.
    pub(super) clusters: &'a [String],
    pub(super) node_cluster: &'a str,
    pub(super) admin: Option<SocketAddr>,
}

/// The configuration, and what a static one cannot say.
pub(super) struct Static {
    pub(super) config: Value,
    pub(super) left_out: Vec<String>,
}

/// Builds the configuration; resources keep their order.
pub(super) fn build(schema: &Schema, resources: Vec<Native>, setting: &Setting<'_>) -> Static {
    let Setting { clusters: stubs, node_cluster, admin } = setting;
    let mut served: BTreeMap<Kind, Vec<Native>> = BTreeMap::new();
    let mut left_out = Vec::new();
    for resource in resources {
        if resource.kind == Kind::Listener && resource.json.get("api_listener").is_some() {
            left_out
                .push(format!("api_listener `{}` ({}): Envoy takes none statically", resource.name, resource.origin));
        } else {
            served.entry(resource.kind).or_default().push(resource);
        }
    }
    let mut take = |kind| served.remove(&kind).unwrap_or_default();
    let (listeners, mut clusters, secrets, runtimes) =
        (take(Kind::Listener), take(Kind::Cluster), take(Kind::Secret), take(Kind::Runtime));
    for name in stubs.iter().filter(|name| !clusters.iter().any(|cluster| cluster.name == **name)).collect::<Vec<_>>() {
        clusters.push(stub(name));
    }

    let by_name = served.into_values().flatten().chain(secrets.iter().map(Native::reference));
    let by_name = by_name.map(|resource| ((resource.kind, resource.name), resource.json)).collect();
    let mut inliner = Inliner { schema, by_name, at: String::new(), left_out, internal_addresses: false };
    let mut section = |resources: Vec<Native>| resources.into_iter().map(|it| inliner.resource(it)).collect::<Vec<_>>();
    let (listeners, clusters, secrets) = (section(listeners), section(clusters), section(secrets));

    let mut config = json!({"node": {"id": "chancery-render", "cluster": node_cluster}, "static_resources": {}});
    for (name, items) in [("listeners", listeners), ("clusters", clusters), ("secrets", secrets)] {
        if !items.is_empty() {
            config["static_resources"][name] = items.into();
        }
    }
    if !runtimes.is_empty() {
        let layers = runtimes.into_iter().map(|runtime| {
            let layer = runtime.json.get("layer").cloned().unwrap_or_else(|| json!({}));
            json!({"name": runtime.name, "static_layer": layer})
        });
        config["layered_runtime"] = json!({"layers": layers.collect::<Vec<_>>()});
    }
    if inliner.internal_addresses {
        let message = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener";
        config["bootstrap_extensions"] =
            json!([{"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": message}}]);
    }
    if let Some(admin) = admin {
        config["admin"] = json!({"address": socket_address(&admin.ip().to_string(), admin.port())});
    }
    Static { config, left_out: inliner.left_out }
}

/// A cluster that exists in the bootstrap of the proxies, known by its name only.
fn stub(name: &str) -> Native {
    let json = json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name}});
    Native { kind: Kind::Cluster, name: name.to_owned(), origin: "static_resources".to_owned(), json }
}

impl Native {
    /// Enough to know that the name exists.
    fn reference(&self) -> Self {
        Self { kind: self.kind, name: self.name.clone(), origin: String::new(), json: Value::Null }
    }
}
