//! Every example, served over ADS to a real Envoy, which takes all of it.
//!
//! One Envoy meets one example after the other, so that each one also takes away what the last one brought. Another one is
//! new for each, and starts with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use super::{Variant, bootstrap_of, held};
use crate::support::chancery::Chancery;
use crate::support::envoy::Envoy;
use crate::support::examples::{Example, View, examples};
use crate::support::{eventually, holds};

/// The nodes that belong to a group of an example, with their cluster and metadata. Every other view is for a node that is
/// like none of them.
const NODES: [(&str, [&str; 3]); 2] =
    [("fleets.edge", ["edge-1", "edge", "{}"]), ("fleets.batch", ["batch-1", "any", "{tier: offline}"])];

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
    assert_eq!(loaded, held::kinds(), "every type is in some example");
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
    async fn finishes(&self) -> held::Names {
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
    async fn is_loaded(&self) -> Result<held::Names, String> {
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

        held::agree(self.variant, self.chancery, self.envoy, self.group).await
    }
}
