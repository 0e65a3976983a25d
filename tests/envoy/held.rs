//! Whether an Envoy uses what Chancery serves, resource by resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Variant;
use crate::grpc_client;
use crate::support::chancery::Chancery;
use crate::support::envoy::Envoy;
use crate::support::holds;

/// Where Envoy's dump has what it uses: type, section, list, name, version and content. It does not tell the versions of
/// endpoints.
const HELD: [[&str; 6]; 6] = [
    ["Cluster", "ClustersConfigDump", "dynamic_active_clusters", "/cluster/name", "/version_info", "/cluster"],
    [
        LISTENER,
        "ListenersConfigDump",
        "dynamic_listeners",
        "/name",
        "/active_state/version_info",
        "/active_state/listener",
    ],
    [
        "RouteConfiguration",
        "RoutesConfigDump",
        "dynamic_route_configs",
        "/route_config/name",
        "/version_info",
        "/route_config",
    ],
    [SECRET, "SecretsConfigDump", "dynamic_active_secrets", "/name", "/version_info", "/secret"],
    ["TypedExtensionConfig", "EcdsConfigDump", "ecds_filters", "/ecds_filter/name", "/version_info", "/ecds_filter"],
    [
        ENDPOINTS,
        "EndpointsConfigDump",
        "dynamic_endpoint_configs",
        "/endpoint_config/cluster_name",
        "/version_info",
        "/endpoint_config",
    ],
];

const ENDPOINTS: &str = "ClusterLoadAssignment";
const LISTENER: &str = "Listener";
const SECRET: &str = "Secret";

/// Where the dump has what Envoy cannot use yet.
const WARMING: [(&str, &str); 2] =
    [("ClustersConfigDump", "dynamic_warming_clusters"), ("SecretsConfigDump", "dynamic_warming_secrets")];

/// Where the dump has the version of all that was sent of a type: the type, the section, and the short name of the service.
const SETS: [(&str, &str, &str); 2] =
    [("Cluster", "ClustersConfigDump", "CDS"), (LISTENER, "ListenersConfigDump", "LDS")];

/// Type and name of a resource.
pub(super) type Name = (String, String);

/// Types and names of resources.
pub(super) type Names = BTreeSet<Name>;

/// The types that are looked at.
pub(super) fn kinds() -> BTreeSet<String> {
    HELD.iter().map(|[kind, ..]| (*kind).to_owned()).collect()
}

/// `Ok` with what it is if the Envoy uses exactly what is served to its group, and waits for nothing.
pub(super) async fn agree(variant: Variant, chancery: &Chancery, envoy: &Envoy, group: &str) -> Result<Names, String> {
    let (status, dump) = (chancery.status().await, chancery.config_dump().await);
    let served = served(&dump[group]);
    let dumps = envoy.config_dumps().await;
    let held = held(&dumps);
    let wanted = wanted(&served);
    for name in &wanted {
        let served = served.get(name).ok_or_else(|| format!("nothing serves {name:?}"))?;
        let (version, content) = held.get(name).ok_or_else(|| format!("{name:?} is not among {:?}", held.keys()))?;
        // An Envoy that is told the state of the world keeps the version that a resource came with, and so does each
        // listener of which only filter chains change.
        let is_told = variant.is_delta() && name.0 != ENDPOINTS && name.0 != LISTENER;
        let same = !is_told || *version == served["version"].as_str();
        holds(same, (name, version, &served["version"]))?;
        let (ours, envoys) = match &*name.0 {
            ENDPOINTS => (hosts(&served["resource"]), hosts(content)),
            // Neither shows what is in it.
            SECRET => (Value::Null, Value::Null),
            _ => (served["resource"].clone(), (*content).clone()),
        };
        holds(ours == envoys, format_args!("{name:?} is {envoys} instead of {ours}"))?;
    }
    // A listener that drains keeps its routes, and those their secrets.
    let is_dropped = |(kind, _): &&Name| kind == "Cluster" || kind == LISTENER;
    let left: Vec<_> = held.keys().filter(is_dropped).filter(|name| !wanted.contains(*name)).collect();
    holds(left.is_empty(), left)?;
    for (kind, section, service) in SETS {
        let (set, version) = (&status["groups"][group][service]["version"], &dumps[section]["version_info"]);
        // What an Envoy is not sent may change without it. Of a type without resources there is no version on `/status`.
        let is_all = served.keys().filter(|name| name.0 == kind).all(|name| wanted.contains(name)) && !set.is_null();
        holds(!is_all || set == version, format_args!("{section} is of {version} instead of {set}"))?;
    }
    for (section, list) in WARMING {
        let warming = dumps.get(section).and_then(|section| section.get(list));
        holds(warming.is_none(), warming)?;
    }
    let listeners = dumps["ListenersConfigDump"]["dynamic_listeners"].as_array().into_iter().flatten();
    let waiting: Vec<_> =
        listeners.filter(|one| one.get("warming_state").or(one.get("error_state")).is_some()).collect();
    holds(waiting.is_empty(), waiting).map(|()| wanted)
}

/// What an Envoy uses.
pub(super) async fn contents(envoy: &Envoy) -> BTreeMap<Name, Value> {
    let dumps = envoy.config_dumps().await;
    let content = |(name, (_, content)): (Name, (_, &Value))| {
        let content = if name.0 == ENDPOINTS { hosts(content) } else { content.clone() };
        (name, content)
    };
    held(&dumps).into_iter().map(content).collect()
}

/// What Chancery serves to a group.
fn served(group: &Value) -> BTreeMap<Name, &Value> {
    let mut served = BTreeMap::new();
    for (url, resources) in group.as_object().expect("a map") {
        let kind = url.rsplit('.').next().unwrap();
        for resource in resources.as_array().expect("a list") {
            served.insert((kind.to_owned(), resource["name"].as_str().unwrap().to_owned()), resource);
        }
    }
    served
}

/// What Envoy uses, with the versions of which it tells.
fn held(dumps: &BTreeMap<String, Value>) -> BTreeMap<Name, (Option<&str>, &Value)> {
    let mut held = BTreeMap::new();
    for [kind, section, list, name, version, content] in HELD {
        let items = dumps.get(section).and_then(|section| section[list].as_array()).into_iter().flatten();
        for item in items {
            let version = item.pointer(version).and_then(Value::as_str);
            // What is only draining has no version.
            if version.is_some() || kind == ENDPOINTS {
                let name = item.pointer(name).and_then(Value::as_str).unwrap_or_default();
                let content = item.pointer(content).unwrap_or(&Value::Null);
                held.insert((kind.to_owned(), name.to_owned()), (version, content));
            }
        }
    }
    held
}

/// The hosts of an assignment: Envoy dumps what it made of it, with defaults filled in and in an order of its own.
fn hosts(assignment: &Value) -> Value {
    let mut hosts = BTreeSet::new();
    for locality in assignment["endpoints"].as_array().into_iter().flatten() {
        let number = |value: &Value, default: u64| value.as_u64().unwrap_or(default);
        for host in locality["lb_endpoints"].as_array().into_iter().flatten() {
            let place = json!([
                number(&locality["priority"], 0),
                // None of its own is one without words.
                locality["locality"].as_object().filter(|words| !words.is_empty()),
                host["endpoint"]["address"],
                number(&host["load_balancing_weight"], 1)
            ]);
            hosts.insert(place.to_string());
        }
    }
    json!(hosts)
}

/// What an Envoy asks for: all clusters, all listeners but those of gRPC, and what these refer to.
fn wanted(served: &BTreeMap<Name, &Value>) -> Names {
    let mut wanted = Names::new();
    for ((kind, name), item) in served {
        let is_wanted = kind == "Cluster" || (kind == LISTENER && !is_for_grpc(name, &item["resource"]));
        if is_wanted {
            wanted.insert((kind.clone(), name.clone()));
            references(name, &item["resource"], &mut wanted);
        }
    }
    wanted
}

/// Listeners that only gRPC's own clients and servers understand, which ask for them by name.
fn is_for_grpc(name: &str, listener: &Value) -> bool {
    listener.get("api_listener").is_some() || name.starts_with(grpc_client::SERVER)
}

/// What a part of a resource refers to.
fn references(owner: &str, value: &Value, names: &mut Names) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Object(map) => {
            let found = [
                ("RouteConfiguration", map.get("rds").and_then(|rds| text(&rds["route_config_name"]))),
                ("Secret", map.get("sds_config").and_then(|_| text(&value["name"]))),
                ("TypedExtensionConfig", map.get("config_discovery").and_then(|_| text(&value["name"]))),
                (
                    ENDPOINTS,
                    map.get("eds_cluster_config")
                        .map(|eds| text(&eds["service_name"]).unwrap_or_else(|| owner.to_owned())),
                ),
            ];
            names.extend(found.into_iter().filter_map(|(kind, name)| Some((kind.to_owned(), name?))));
            map.values().for_each(|value| references(owner, value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(owner, item, names)),
        _ => {}
    }
}
