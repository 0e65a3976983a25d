//! The seed's walk-through, step by step, with the upstream edited at its end.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use super::Variant;
use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::tools::Release;
use crate::support::upstream::{Upstream, served_by};
use crate::support::{eventually, holds, http};

const TYPES: [&str; 3] = [
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
];

on_every_envoy!(with_our_bootstrap);

async fn with_our_bootstrap(variant: Variant, release: Release) {
    let mut xds = Port::reserve();
    let bootstrap = variant.bootstrap(xds.address()).await;
    walk_through(variant, release, &bootstrap, &mut xds).await;
}

/// The same with the bootstrap that the Docker sandbox mounts, its addresses apart.
#[tokio::test]
async fn walk_through_with_the_sandboxes_bootstrap() {
    let mut xds = Port::reserve();
    let bootstrap = demo("envoy.yaml")
        .replace("address: chancery", "address: 127.0.0.1")
        .replace("port_value: 18000", &format!("port_value: {}", xds.address().port()))
        .replace("address: 0.0.0.0", "address: 127.0.0.1")
        .replace("port_value: 19000", "port_value: 0");
    walk_through(Variant::SotwAds, Release::Chosen, &bootstrap, &mut xds).await;
}

async fn walk_through(variant: Variant, release: Release, bootstrap: &str, xds: &mut Port) {
    let (service1, service2) = (Upstream::start("service1").await, Upstream::start("service2").await);
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let mut file = File::new(Edit::InPlace, &topology(listener.number(), &service1));

    // Envoy alone: nothing listens, and the only cluster is the one that leads to Chancery.
    let mut envoy = Envoy::start_release(release, bootstrap).await;
    let refused = http::get(&url).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");
    let clusters = envoy.config_dump("ClustersConfigDump").await;
    assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "xds_cluster");
    assert_eq!(clusters["dynamic_active_clusters"], Value::Null);

    // Chancery comes up: traffic from service1, and the dump says where it comes from.
    let chancery = serve(&file, xds).await;
    eventually("traffic from service1", async || {
        let body = http::get(&url).await?.body;
        holds(served_by(&body) == Some("service1"), body)
    })
    .await;
    chancery.until_synced(1).await;
    let first = Active::cluster(&envoy).await;
    assert_eq!(first.name, "example_proxy_cluster");
    assert!(!first.version.is_empty());
    let (uptime, epoch) = envoy.uptime().await;

    // Chancery goes: traffic goes on. It comes back: nothing is lost, and on delta nothing is sent again.
    let load = Load::start(&url).await;
    chancery.stop().await;
    xds.hold();
    eventually("Envoy to notice", async || {
        let connected = envoy.stat("control_plane.connected_state").await;
        holds(connected == 0, connected)
    })
    .await;
    load.until_served_by("service1", 100).await;
    let held: Vec<_> = TYPES.iter().map(|message| envoy.delta_traffic(message)).collect();
    let chancery = serve(&file, xds).await;
    chancery.until_synced(1).await;
    load.until_served_by("service1", 100).await;
    assert_eq!(Active::cluster(&envoy).await, first, "the cluster was replaced although nothing had changed");
    if variant.is_delta() {
        assert_eq!(held, [(1, 0); 3], "what the first connection brought");
        let now: Vec<_> = TYPES.iter().map(|message| envoy.delta_traffic(message)).collect();
        assert_eq!(now, held, "resources were sent again that Envoy already held");
    }

    // The edit: traffic from service2, another version, the same Envoy.
    file.write(&topology(listener.number(), &service2));
    load.until_served_by("service2", 100).await;
    chancery.until_synced(1).await;
    let second = Active::cluster(&envoy).await;
    assert_eq!(second.name, first.name);
    assert_ne!(second.version, first.version);
    let after = served_by(&http::get(&url).await.unwrap().body).map(str::to_owned);
    assert_eq!(after.as_deref(), Some("service2"));
    let totals = load.stop().await;
    assert_eq!(totals.failures, Vec::<String>::new());
    envoy.assert_running();
    let (later, same_epoch) = envoy.uptime().await;
    assert!(later >= uptime && same_epoch == epoch, "Envoy was restarted");
    chancery.stop().await;
}

/// Starts Chancery on the port that Envoy's bootstrap names.
async fn serve(file: &File, xds: &mut Port) -> Chancery {
    xds.release();
    let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], xds.number())), ..Options::default() };
    Chancery::serve_with(&file.path(), options).await
}

/// The demo's topology with its two addresses put on loopback.
fn topology(listener: u16, upstream: &Upstream) -> String {
    let text = demo("topology.yaml");
    let edited = text
        .replace("0.0.0.0:10000", &format!("127.0.0.1:{listener}"))
        .replace("\"service1:8080\"", &format!("\"localhost:{}\"", upstream.port()));
    assert_eq!(edited.matches("127.0.0.1:").count() + edited.matches("\"localhost:").count(), 2, "{edited}");
    edited
}

fn demo(name: &str) -> String {
    fs::read_to_string(format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What Envoy's dump says of its one dynamic cluster.
#[derive(Debug, PartialEq, Eq)]
struct Active {
    name: String,
    version: String,
    last_updated: String,
}

impl Active {
    async fn cluster(envoy: &Envoy) -> Self {
        let dump = envoy.config_dump("ClustersConfigDump").await;
        let clusters = dump["dynamic_active_clusters"].as_array().unwrap_or_else(|| panic!("none is active: {dump}"));
        let [active] = &clusters[..] else { panic!("one cluster is expected: {dump}") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            name: text(&active["cluster"]["name"]),
            version: text(&active["version_info"]),
            last_updated: text(&active["last_updated"]),
        }
    }
}
