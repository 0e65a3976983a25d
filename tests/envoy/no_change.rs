//! What means the same is not sent.

use std::fs::{self, File as OpenFile};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Variant, topologies};
use crate::support::chancery::Chancery;
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::upstream::Upstream;
use crate::support::{eventually, http};

#[tokio::test]
async fn what_means_the_same_is_not_sent_sotw() {
    what_means_the_same_is_not_sent(Variant::SotwAds).await;
}

#[tokio::test]
async fn what_means_the_same_is_not_sent_delta() {
    what_means_the_same_is_not_sent(Variant::DeltaAds).await;
}

async fn what_means_the_same_is_not_sent(variant: Variant) {
    let (service1, service2) = (Upstream::start("service1").await, Upstream::start("service2").await);
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let text = topologies::one_service(variant, listener.number(), service1.port());
    let mut file = File::new(Edit::InPlace, &text);
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start(&variant.bootstrap(chancery.xds()).await).await;
    eventually("an answer", async || http::get(&url).await).await;
    let before = chancery.until_synced(1).await;
    let (dump, sent) = (versions(&chancery).await, updates(&envoy).await);

    // Read again, as another digest shows, and found to mean the same.
    let commented = format!("# a comment\n{text}# and another\n");
    file.write(&commented);
    let digest = before["source_digest"].clone();
    let after = chancery.until("the comment to be read", |status| status["source_digest"] != digest).await;
    assert_eq!(after["verdict"], "unchanged");
    assert_eq!(after["revision"], before["revision"]);

    // Nothing shows that these were noticed, if they were: the next real edit is the fence.
    file.write(&commented);
    let later = SystemTime::now() + Duration::from_hours(1);
    OpenFile::options().append(true).open(file.path()).unwrap().set_modified(later).unwrap();
    fs::rename(file.path(), file.path().with_extension("old")).unwrap();
    fs::rename(file.path().with_extension("old"), file.path()).unwrap();
    assert_eq!(versions(&chancery).await, dump);
    assert_eq!(updates(&envoy).await, sent);

    file.write(&topologies::one_service(variant, listener.number(), service2.port()));
    eventually("traffic from service2", async || {
        let body = http::get(&url).await?.body;
        crate::support::holds(body.starts_with("Request served by service2"), body)
    })
    .await;
    let fence = chancery.until_synced(1).await;
    assert_eq!(fence["revision"].as_u64().unwrap(), before["revision"].as_u64().unwrap() + 1);
    let [clusters, endpoints, listeners, routes] = sent;
    assert_eq!(updates(&envoy).await, [clusters, endpoints + 1, listeners, routes], "one type was edited, once");
    let now = versions(&chancery).await;
    let changed: Vec<_> = now.iter().filter(|version| !dump.contains(version)).collect();
    let [(kind, _)] = &changed[..] else { panic!("{changed:?}") };
    assert!(kind.starts_with("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment service"), "{kind}");
    chancery.stop().await;
}

/// How many responses of each type Envoy has taken.
async fn updates(envoy: &Envoy) -> [u64; 4] {
    let listener = "http.listener_0.rds.local_route.update_success";
    [
        envoy.stat("cluster_manager.cds.update_success").await,
        envoy.stat("cluster.service.update_success").await,
        envoy.stat("listener_manager.lds.update_success").await,
        envoy.stat(listener).await,
    ]
}

/// Type and name of every resource that is served, with its version.
async fn versions(chancery: &Chancery) -> Vec<(String, String)> {
    let dump = chancery.config_dump().await;
    let mut versions = Vec::new();
    for (kind, resources) in dump["default"].as_object().expect("a group named default") {
        for resource in resources.as_array().expect("a list") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            versions.push((format!("{kind} {}", text(&resource["name"])), text(&resource["version"])));
        }
    }
    assert!(!versions.is_empty());
    versions.sort();
    versions
}

/// Maps in messages have no order of their own, and in another process they would have another one.
#[tokio::test]
async fn two_processes_give_the_same_versions() {
    let map = |name: &str| (0..12).map(|i| format!("{name}_{i}: {{value: {i}}}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "version: 1
listeners:
- name: listener_0
  address: 127.0.0.1:10000
  metadata: {{filter_metadata: {{{}}}}}
  routes: [{{route: service, metadata: {{filter_metadata: {{{}}}}}}}]
clusters:
- {{name: service, endpoints: [127.0.0.1:1], metadata: {{filter_metadata: {{{}}}}}, http2_protocol_options: {{}}}}
",
        map("listener"),
        map("route"),
        map("cluster")
    );
    let files = [File::new(Edit::InPlace, &text), File::new(Edit::ConfigMap, &text)];
    let mut all = Vec::new();
    for file in &files {
        let chancery = Chancery::serve(&file.path()).await;
        chancery.until_revision(1).await;
        all.push(versions(&chancery).await);
        chancery.stop().await;
    }
    assert_eq!(all[0].len(), 4, "{all:?}");
    assert_eq!(all[0], all[1]);
}
