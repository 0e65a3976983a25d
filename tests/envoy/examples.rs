//! Every example, served over ADS to a real Envoy, which takes all of it.
//!
//! One Envoy meets one example after the other, so that each one also takes away what the last one brought. Another one is
//! new for each, and starts with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use super::{Variant, bootstrap_of};
use crate::grpc_client;
use crate::support::chancery::Chancery;
use crate::support::envoy::Envoy;
use crate::support::examples::{Example, View, examples};
use crate::support::{eventually, holds};

/// The nodes that belong to a group of an example, with their cluster and metadata. Every other view is for a node that is
/// like none of them.
const NODES: [(&str, [&str; 3]); 2] =
    [("fleets.edge", ["edge-1", "edge", "{}"]), ("fleets.batch", ["batch-1", "any", "{tier: offline}"])];

/// Where Envoy's dump has what it uses: type, section, list, name and version. It does not tell the versions of endpoints.
const HELD: [[&str; 5]; 6] = [
    ["Cluster", "ClustersConfigDump", "dynamic_active_clusters", "/cluster/name", "/version_info"],
    ["Listener", "ListenersConfigDump", "dynamic_listeners", "/name", "/active_state/version_info"],
    ["RouteConfiguration", "RoutesConfigDump", "dynamic_route_configs", "/route_config/name", "/version_info"],
    ["Secret", "SecretsConfigDump", "dynamic_active_secrets", "/name", "/version_info"],
    ["TypedExtensionConfig", "EcdsConfigDump", "ecds_filters", "/ecds_filter/name", "/version_info"],
    [ENDPOINTS, "EndpointsConfigDump", "dynamic_endpoint_configs", "/endpoint_config/cluster_name", "/version_info"],
];

const ENDPOINTS: &str = "ClusterLoadAssignment";

/// The same for what it cannot use yet.
const WARMING: [(&str, &str); 2] =
    [("ClustersConfigDump", "dynamic_warming_clusters"), ("SecretsConfigDump", "dynamic_warming_secrets")];

/// Type and name of resources.
type Names = BTreeSet<(String, String)>;

/// Statistics that count what went wrong.
const WRONG: &str = "/stats?usedonly&filter=(update_rejected|create_failure|init_fetch_timeout)$";

/// What Envoy may warn of: our tests' bootstrap, and what no topology can change.
const WARNINGS: [&str; 3] = [
    "There is no configured limit to the number of allowed active downstream connections",
    "UdpProxyConfig.matcher' is marked as work-in-progress",
    "Environment variable doesn't exist: OTEL_RESOURCE_ATTRIBUTES",
];

#[tokio::test]
async fn every_example_is_loaded_sotw() {
    every_example_is_loaded(Variant::SotwAds, examples()).await;
}

/// In the other order, for other changes.
#[tokio::test]
async fn every_example_is_loaded_delta() {
    every_example_is_loaded(Variant::DeltaAds, examples().into_iter().rev().collect()).await;
}

async fn every_example_is_loaded(variant: Variant, mut examples: Vec<Example>) {
    for example in &mut examples {
        example.put_on_loopback();
    }
    let place = Place { dir: tempfile::tempdir().unwrap() };
    place.show(&examples[0]);
    let chancery = Chancery::serve(&place.path()).await;
    let every = start(variant, &chancery, ["test-id", "test-cluster", "{}"]).await;
    let mut loaded = BTreeSet::new();
    for example in &examples {
        place.show(example);
        place.until_read(example, &chancery).await;
        for View { name, group, .. } in example.views().await {
            let group = group.as_deref().unwrap_or("default");
            let new = format!("new-{name}");
            let of_group = NODES.iter().find(|(view, _)| *view == name).map(|(_, node)| *node);
            if of_group.is_none() {
                let loading =
                    Loading { variant, name: &name, chancery: &chancery, envoy: &every, node: "test-id", group };
                loading.finishes().await;
            }
            let node = of_group.unwrap_or([&new, "test-cluster", "{}"]);
            let envoy = start(variant, &chancery, node).await;
            let loading = Loading { variant, name: &name, chancery: &chancery, envoy: &envoy, node: node[0], group };
            loaded.extend(loading.finishes().await.into_iter().map(|(kind, _)| kind));
        }
    }
    assert_eq!(loaded, HELD.iter().map(|[kind, ..]| (*kind).to_owned()).collect(), "every type is in some example");
    chancery.stop().await;
}

/// Starts an Envoy of this id, cluster and metadata, for which no name outside this machine resolves.
async fn start(variant: Variant, chancery: &Chancery, [id, cluster, metadata]: [&str; 3]) -> Envoy {
    let flags: &[&str] = if variant.is_delta() { &[] } else { &["--sotw"] };
    let bootstrap = bootstrap_of(id, cluster, chancery.xds(), flags).await;
    let with_metadata = bootstrap.replacen("node:\n", &format!("node:\n  metadata: {metadata}\n"), 1);
    assert_ne!(bootstrap, with_metadata);
    let nowhere = "
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{socket_address: {address: 127.0.0.1, port_value: 1}}]
    dns_resolver_options: {use_tcp_for_dns_lookups: true, no_default_search_domain: true}
";
    Envoy::start(&(with_metadata + nowhere)).await
}

/// The path that Chancery is given: a link that leads to one example after the other.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.dir.path().join("topology")
    }

    fn show(&self, example: &Example) {
        let new = self.dir.path().join("new");
        symlink(example.topology(), &new).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Waits until Chancery serves what the link leads to.
    async fn until_read(&self, example: &Example, chancery: &Chancery) {
        let mut files: Vec<_> =
            example.files().iter().map(|file| self.path().join(file.file_name().unwrap())).collect();
        files.extend(example.certificates().map(|path| self.path().join(path)));
        let files: BTreeSet<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        chancery
            .until(&example.name, |status| {
                let sources = status["sources"].as_array().expect("a list").iter();
                let is_read = files == sources.map(|source| source["path"].as_str().unwrap()).collect();
                assert!(!is_read || status["verdict"] != "rejected", "{}: {status}", example.name);
                is_read && status["source_digest"] == status["served_digest"]
            })
            .await;
    }
}

/// One view of an example on its way into an Envoy.
struct Loading<'a> {
    variant: Variant,
    name: &'a str,
    chancery: &'a Chancery,
    envoy: &'a Envoy,
    node: &'a str,
    group: &'a str,
}

impl Loading<'_> {
    /// Waits until all of it is loaded, and returns what that was.
    async fn finishes(&self) -> Names {
        let loaded = eventually(self.name, async || self.is_loaded().await).await;
        let wrong = self.envoy.admin(WRONG).await.body;
        assert!(wrong.lines().all(|line| line.ends_with(": 0")), "{}: {wrong}", self.name);
        let log = self.envoy.log();
        let levels = ["][warning][", "][error][", "][critical]["];
        let warned = log.lines().filter(|line| levels.iter().any(|level| line.contains(level)));
        let warned: Vec<_> = warned.filter(|line| !WARNINGS.iter().any(|known| line.contains(known))).collect();
        assert!(warned.is_empty(), "{}: {warned:#?}", self.name);
        loaded
    }

    /// Whether everything was acknowledged, and is what Envoy uses.
    async fn is_loaded(&self) -> Result<Names, String> {
        let status = self.chancery.status().await;
        let clients = status["clients"].as_array().expect("a list");
        let client = clients.iter().find(|client| client["node"] == self.node).ok_or("no stream")?;
        let kinds = client["kinds"].as_object().expect("a map");
        for (kind, state) in kinds {
            assert_eq!(state["nack"], Value::Null, "{}: {kind} is refused", self.name);
        }
        let newest = client["group"] == self.group && client["revision"] == status["revision"];
        let synced = |kind: &Value| kind["state"] == "synced" && kind["sent"] == kind["acked"];
        holds(
            newest && ["CDS", "LDS"].iter().all(|kind| kinds.contains_key(*kind)) && kinds.values().all(synced),
            client,
        )?;

        let dump = self.chancery.config_dump().await;
        let served = served(&dump[self.group]);
        let dumps = self.envoy.config_dumps().await;
        let held = held(&dumps);
        let wanted = wanted(&served);
        for name in &wanted {
            let version =
                served.get(name).unwrap_or_else(|| panic!("{}: nothing serves {name:?}", self.name))["version"]
                    .as_str();
            let found = held.get(name).ok_or_else(|| format!("{name:?} is not among {held:?}"))?;
            // An Envoy that is told the state of the world keeps the version that a resource came with.
            let same = name.0 == ENDPOINTS || !self.variant.is_delta() || *found == version;
            holds(same, (name, found, version))?;
        }
        let is_whole = |(kind, _): &&(String, String)| kind == "Cluster" || kind == "Listener";
        let left: Vec<_> = held.keys().filter(is_whole).filter(|name| !wanted.contains(*name)).collect();
        holds(left.is_empty(), left)?;
        for (section, list) in WARMING {
            let warming = dumps.get(section).and_then(|section| section.get(list));
            holds(warming.is_none(), warming)?;
        }
        let listeners = dumps["ListenersConfigDump"]["dynamic_listeners"].as_array().into_iter().flatten();
        let waiting: Vec<_> =
            listeners.filter(|one| one.get("warming_state").or(one.get("error_state")).is_some()).collect();
        holds(waiting.is_empty(), waiting).map(|()| wanted)
    }
}

/// What Chancery serves to a group.
fn served(group: &Value) -> BTreeMap<(String, String), &Value> {
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
fn held(dumps: &BTreeMap<String, Value>) -> BTreeMap<(String, String), Option<&str>> {
    let mut held = BTreeMap::new();
    for [kind, section, list, name, version] in HELD {
        let items = dumps.get(section).and_then(|section| section[list].as_array()).into_iter().flatten();
        for item in items {
            let version = item.pointer(version).and_then(Value::as_str);
            // What is only draining has no version.
            if version.is_some() || kind == ENDPOINTS {
                let name = item.pointer(name).and_then(Value::as_str).unwrap_or_default();
                held.insert((kind.to_owned(), name.to_owned()), version);
            }
        }
    }
    held
}

/// What an Envoy asks for: all clusters, all listeners but those of gRPC, and what these refer to.
fn wanted(served: &BTreeMap<(String, String), &Value>) -> Names {
    let mut wanted = Names::new();
    for ((kind, name), item) in served {
        let is_wanted = kind == "Cluster" || (kind == "Listener" && !is_for_grpc(name, &item["resource"]));
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
