//! Proxies of several fleets on one control plane.

use serde_json::{Value, json};

use crate::support::chancery::{self, Chancery};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds, http};

#[tokio::test]
async fn each_fleet_gets_its_own_sotw() {
    each_fleet_gets_its_own(&["--sotw"]).await;
}

#[tokio::test]
async fn each_fleet_gets_its_own_delta() {
    each_fleet_gets_its_own(&[]).await;
}

async fn each_fleet_gets_its_own(flags: &[&str]) {
    let api = Upstream::start("api").await;
    let (ingress, egress) = (Port::reserve(), Port::reserve());
    let fleets = |edge: &str| {
        format!(
            "version: 1
node_groups:
- {{name: edge, match: {{cluster: {edge}}}}}
- {{name: batch, match: {{id: {{prefix: batch-}}, metadata: {{tier: offline}}}}}}
clusters:
- {{name: api, endpoints: [\"{}\"]}}
---
version: 1
node_group: edge
listeners:
- {{name: ingress, address: \"{}\", routes: [{{route: api}}]}}
---
version: 1
node_group: batch
listeners:
- {{name: egress, address: \"{}\", routes: [{{route: {{cluster: api, timeout: 5m}}}}]}}
patches:
- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: api
  merge: {{connect_timeout: 30s}}
",
            api.address(),
            ingress.address(),
            egress.address()
        )
    };
    let mut file = File::new(Edit::Rename, &fleets("edge"));
    let chancery = Chancery::serve(&file.path()).await;
    let edge = start(&chancery, "edge-1", "edge", "", flags).await;
    let batch = start(&chancery, "batch-1", "any", "metadata: {tier: offline}", flags).await;
    // Half of what makes a node one of the group.
    let stranger = start(&chancery, "batch-2", "elsewhere", "metadata: {tier: online}", flags).await;

    for port in [&ingress, &egress] {
        eventually("an answer", async || http::get(&format!("http://{}/", port.address())).await).await;
    }
    assert_eq!((listeners(&edge).await, listeners(&batch).await), (json!(["ingress"]), json!(["egress"])));
    assert_eq!((connect_timeout(&edge).await, connect_timeout(&batch).await), (json!("5s"), json!("30s")));
    let status = chancery
        .until("three nodes", |status| {
            let settled = ["edge-1", "batch-1"].iter().all(|node| client(status, node)["revision"] == 1);
            settled && client(status, "batch-2")["kinds"]["CDS"]["state"] == "not_sent"
        })
        .await;
    let groups = ["edge-1", "batch-1", "batch-2"].map(|node| client(&status, node)["group"].clone());
    assert_eq!(groups, [json!("edge"), json!("batch"), Value::Null]);
    assert_eq!(status["unmatched_nodes"], 1, "{status}");
    assert!((chancery.metric("chancery_xds_unmatched_streams").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(stranger.stat("cluster_manager.cds.update_attempt").await, 1, "it asked once");
    assert_eq!(stranger.stat("cluster_manager.cds.update_success").await, 0, "it was answered");

    // The group is another one's now: one node joins it, and the one that leaves keeps what it has.
    file.write(&fleets("elsewhere"));
    eventually("the stranger's listener", async || {
        let listeners = listeners(&stranger).await;
        holds(listeners == json!(["ingress"]), listeners)
    })
    .await;
    let status = chancery.until("a node that has left", |status| client(status, "edge-1")["group"].is_null()).await;
    assert_eq!(client(&status, "batch-2")["group"], "edge");
    assert_eq!((status["revision"].clone(), status["unmatched_nodes"].clone()), (json!(2), json!(1)));
    assert_eq!(listeners(&edge).await, json!(["ingress"]));
    let warnings = chancery.stderr().matches("the node matches no node group").count();
    assert_eq!(warnings, 2, "once for each node: {}", chancery.stderr());
    chancery.stop().await;
}

/// Starts an Envoy of this identity.
async fn start(chancery: &Chancery, id: &str, cluster: &str, metadata: &str, flags: &[&str]) -> Envoy {
    let xds = chancery.xds().to_string();
    let arguments = ["bootstrap", "--id", id, "--cluster", cluster, "--xds", &xds, "--admin", "127.0.0.1:0"];
    let run = chancery::run(&[&arguments, flags].concat()).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("node:\n"), "{run:?}");
    Envoy::start(&run.stdout.replacen("node:\n", &format!("node:\n  {metadata}\n"), 1)).await
}

/// The stream of a node on `/status`.
fn client<'a>(status: &'a Value, node: &str) -> &'a Value {
    let clients = status["clients"].as_array().expect("a list");
    clients.iter().find(|client| client["node"] == node).unwrap_or(&Value::Null)
}

/// The names of the listeners that Envoy was given and uses.
async fn listeners(envoy: &Envoy) -> Value {
    let dump = envoy.config_dump("ListenersConfigDump").await;
    let all = dump["dynamic_listeners"].as_array().into_iter().flatten();
    all.filter(|listener| listener.get("active_state").is_some()).map(|listener| listener["name"].clone()).collect()
}

/// Of the cluster that all fleets share.
async fn connect_timeout(envoy: &Envoy) -> Value {
    let dump = envoy.config_dump("ClustersConfigDump").await;
    dump["dynamic_active_clusters"][0]["cluster"]["connect_timeout"].clone()
}
