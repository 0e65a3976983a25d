//! LRS: what real clients report of their requests.

use std::time::Duration;

use chancery::xds::{Load, LoadStatus, Options, Requests};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::envoy::bootstrap_of;
use crate::support::chancery::Chancery;
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::upstream::Upstream;
use crate::support::xds_client::Fixture;
use crate::support::{eventually, holds, http};

/// More than once a second is not asked for by anybody, but the numbers are the same.
const INTERVAL: Duration = Duration::from_millis(300);

const GOOD: u64 = 25;
const BAD: u64 = 7;

#[tokio::test]
async fn reported_load_is_what_was_asked_sotw() {
    reported_load_is_what_was_asked(&["--load-stats", "--sotw"]).await;
}

#[tokio::test]
async fn reported_load_is_what_was_asked_delta() {
    reported_load_is_what_was_asked(&["--load-stats"]).await;
}

/// Waits until a cluster's load is as wanted.
async fn until(fixture: &Fixture, cluster: &str, wanted: impl Fn(&Load) -> bool) -> LoadStatus {
    eventually(&format!("the load of {cluster}"), async || {
        let status = fixture.clients.load();
        let load = status.clusters.get(cluster).copied().unwrap_or_default();
        holds(wanted(&load), &status).map(|()| status)
    })
    .await
}

async fn reported_load_is_what_was_asked(flags: &[&str]) {
    let good = Upstream::start("good").await;
    let (listener, refusing) = (Port::reserve(), Port::reserve());
    // The system takes connections for it, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture =
        Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), Options { load_interval: INTERVAL, ..Options::default() })
            .await;
    fixture.publish_topology(&format!(
        "version: 1
static_resources: {{clusters: [xds_cluster]}}
listeners:
- name: l
  address: \"{}\"
  routes:
  - {{match: {{prefix: /bad}}, route: bad}}
  - {{match: {{prefix: /silent}}, route: {{cluster: silent, timeout: 0s}}}}
  - route: good
clusters:
- {{name: good, type: EDS, endpoints: [\"{}\"]}}
- {{name: bad, endpoints: [\"{}\"]}}
- {{name: silent, endpoints: [\"{}\"]}}
",
        listener.address(),
        good.address(),
        refusing.address(),
        silent.local_addr().unwrap()
    ));
    let xds = fixture.listen.to_string().parse().unwrap();
    let envoy = Envoy::start(&bootstrap_of("test-id", "test-cluster", xds, flags).await).await;
    let url = |path: &str| format!("http://{}/{path}", listener.address());
    let mut waiting = JoinSet::new();
    let mut hang = || {
        let request = http::client().get(url("silent")).timeout(Duration::from_mins(5));
        waiting.spawn(async move { request.send().await.map(drop) });
    };
    let first = eventually("an answer", async || http::get(&url("good")).await).await;
    assert_eq!(first.status, 200, "{first:?}");
    // An Envoy counts the requests to a cluster from the first report on that comes after the cluster: this is one.
    hang();
    let before = until(&fixture, "silent", |load| load.in_progress == 1).await;
    let before = |cluster: &str| before.clusters.get(cluster).map(|load| load.total).unwrap_or_default();

    for _ in 0..GOOD {
        assert_eq!(http::get(&url("good")).await.unwrap().status, 200);
    }
    for _ in 0..BAD {
        assert_eq!(http::get(&url("bad")).await.unwrap().status, 503);
    }
    hang();
    until(&fixture, "good", |load| load.total.successful >= before("good").successful + GOOD).await;
    until(&fixture, "bad", |load| load.total.errors >= BAD).await;
    until(&fixture, "silent", |load| load.in_progress == 2).await;
    // Nothing comes on top of it in an interval that is over.
    let status = eventually("an interval without requests", async || {
        let status = fixture.clients.load();
        let is_over = ["good", "bad", "silent"].iter().all(|name| status.clusters[*name].last == Requests::default());
        holds(is_over, &status).map(|()| status)
    })
    .await;
    let total = |status: &LoadStatus, cluster: &str| {
        let (now, before) = (status.clusters[cluster].total, before(cluster));
        (now.successful - before.successful, now.errors - before.errors, now.issued - before.issued)
    };
    assert_eq!(total(&status, "good"), (GOOD, 0, GOOD), "{status:?}");
    // A connection that was refused took no request.
    assert_eq!(total(&status, "bad"), (0, BAD, 0), "{status:?}");
    assert_eq!(total(&status, "silent"), (0, 0, 1), "{status:?}");
    let [node] = &status.nodes[..] else { panic!("{status:?}") };
    assert_eq!((node.node.as_str(), node.cluster.as_str()), ("test-id", "test-cluster"));
    assert_eq!(node.clusters["good"], status.clusters["good"]);
    let text = fixture.metrics();
    for line in [
        format!("requests_total{{cluster=\"good\",result=\"success\"}} {}", status.clusters["good"].total.successful),
        format!("requests_total{{cluster=\"bad\",result=\"error\"}} {}", status.clusters["bad"].total.errors),
        format!("requests_issued_total{{cluster=\"good\"}} {}", status.clusters["good"].total.issued),
        "requests_in_progress{cluster=\"silent\"} 2".to_owned(),
        "reporting_clients 1".to_owned(),
    ] {
        assert!(text.contains(&format!("chancery_load_{line}")), "{line} is not in\n{text}");
    }

    drop(envoy);
    let status = until(&fixture, "silent", |load| load.in_progress == 0).await;
    assert!(status.nodes.is_empty(), "{status:?}");
    assert_eq!(total(&status, "good"), (GOOD, 0, GOOD));
    assert!(fixture.metrics().contains("chancery_load_reporting_clients 0"));
}

/// The program as users start it, with what it prints for an Envoy, at its own pace.
#[tokio::test]
async fn the_status_shows_what_envoys_report() {
    let upstream = Upstream::start("service1").await;
    let listener = Port::reserve();
    let file = File::new(
        Edit::Rename,
        &format!(
            "version: 1\nlisteners: [{{name: l, address: \"{}\", routes: [{{route: c}}]}}]\n\
             clusters: [{{name: c, endpoints: [\"{}\"]}}]\n",
            listener.address(),
            upstream.address()
        ),
    );
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start(&bootstrap_of("test-id", "test-cluster", chancery.xds(), &["--load-stats"]).await).await;
    let url = format!("http://{}/", listener.address());
    let status = eventually("a report of requests", async || {
        // They count from the first report on that comes after the cluster.
        http::get(&url).await?;
        let status = chancery.status().await;
        let load = &status["load"]["clusters"]["c"];
        holds(load["total"]["successful"].as_u64() > Some(0), load).map(|()| status)
    })
    .await;
    let node = &status["load"]["nodes"][0];
    assert_eq!((&node["node"], &node["clusters"]["c"]), (&"test-id".into(), &status["load"]["clusters"]["c"]));
    assert!(chancery.metric("chancery_load_requests_total").await > 0.0);
    drop(envoy);
    chancery.stop().await;
}
