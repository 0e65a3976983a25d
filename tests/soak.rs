//! Many streams and many edits: everyone ends at the last version, and memory does not grow with the edits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::{eventually, holds};

const STREAMS: usize = 200;
const EDITS: u32 = 1000;
/// A little less than a minute for all of them.
const EDIT_EVERY: Duration = Duration::from_millis(55);
const MEMORY_AFTER: u32 = 100;
const MAY_GROW_KIB: u64 = 20 * 1024;

const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// What the streams were last sent: by stream, the edit that its routes carry.
type Views = Arc<Mutex<BTreeMap<usize, u32>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_follow_a_thousand_edits() {
    let mut file = File::new(Edit::Rename, &topology(0));
    let options = Options {
        flags: vec!["--poll-interval", "0s", "--settle", "10ms", "--max-new-streams-per-second", "0"],
        ..Options::default()
    };
    let chancery = Chancery::serve_with(&file.path(), options).await;
    let channel = Endpoint::from_shared(format!("http://{}", chancery.xds())).unwrap();

    let views: Views = Arc::default();
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let channel = channel.connect().await.unwrap();
        let views = Arc::clone(&views);
        if number % 2 == 0 {
            streams.spawn(sotw(number, channel, views));
        } else {
            streams.spawn(delta(number, channel, views));
        }
    }
    all_at(&views, 0).await;

    let start = Instant::now();
    let mut pace = tokio::time::interval(EDIT_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut early = 0;
    for edit in 1..=EDITS {
        pace.tick().await;
        file.write(&topology(edit));
        if edit == MEMORY_AFTER {
            all_at(&views, edit).await;
            early = resident_kib(chancery.pid());
        }
    }
    assert!(start.elapsed() <= Duration::from_mins(1), "the edits took {:?}", start.elapsed());
    all_at(&views, EDITS).await;
    let late = resident_kib(chancery.pid());
    assert!(late <= early + MAY_GROW_KIB, "after edit {MEMORY_AFTER}: {early} KiB, after edit {EDITS}: {late} KiB");

    let status = chancery.until_synced(STREAMS).await;
    let revision = status["revision"].as_u64().unwrap();
    println!("{early} KiB after edit {MEMORY_AFTER}, {late} KiB after edit {EDITS}; {revision} revisions");
    assert!(revision > u64::from(EDITS / 10), "only {revision} revisions: the streams had next to nothing to follow");
    let clients = status["clients"].as_array().unwrap().iter();
    let sent: BTreeSet<_> = clients
        .map(|client| (client["protocol"].as_str().unwrap(), client["kinds"]["RDS"]["acked"].to_string()))
        .collect();
    assert_eq!(sent.len(), 2, "one version for each protocol: {sent:?}");
    assert!(streams.try_join_next().is_none(), "a stream ended");
    drop(streams);
    chancery.stop().await;
}

/// Twenty clusters and a route table that carries the number of the edit.
fn topology(edit: u32) -> String {
    let cluster = |n: u16| format!("- {{name: service_{n}, endpoints: [\"127.0.0.1:{}\"]}}", 1000 + n);
    let clusters = (0..20).map(cluster).collect::<Vec<_>>().join("\n");
    format!(
        "version: 1
listeners:
- name: listener_0
  address: 127.0.0.1:10000
  rds: local_route
  routes:
  - route: service_0
    name: edit-{edit}
clusters:
{clusters}
"
    )
}

async fn all_at(views: &Views, edit: u32) {
    eventually(&format!("every stream at edit {edit}"), async || {
        let views = views.lock().unwrap();
        let behind = STREAMS - views.values().filter(|seen| **seen == edit).count();
        holds(behind == 0, format!("{behind} are not"))
    })
    .await;
}

/// The memory that a process holds.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The edit that a route table carries.
fn edit_of(resource: &[u8]) -> u32 {
    let table = RouteConfiguration::decode(resource).unwrap();
    table.virtual_hosts[0].routes[0].name.strip_prefix("edit-").unwrap().parse().unwrap()
}

fn node(number: usize) -> Node {
    Node { id: format!("node-{number}"), cluster: "soak".to_owned(), ..Node::default() }
}

async fn sotw(number: usize, channel: Channel, views: Views) {
    let (requests, receiver) = mpsc::channel(16);
    let subscribe = |type_url: &str, names: &[&str]| DiscoveryRequest {
        node: Some(node(number)),
        type_url: type_url.to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    };
    requests.send(subscribe(CLUSTERS, &[])).await.unwrap();
    requests.send(subscribe(ROUTES, &["local_route"])).await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap();
    let mut responses = stream.into_inner();
    while let Some(response) = responses.message().await.unwrap() {
        let names: &[&str] = if response.type_url == ROUTES { &["local_route"] } else { &[] };
        if let (ROUTES, [routes]) = (response.type_url.as_str(), &response.resources[..]) {
            views.lock().unwrap().insert(number, edit_of(&routes.value));
        }
        let ack = DiscoveryRequest {
            version_info: response.version_info,
            response_nonce: response.nonce,
            node: None,
            ..subscribe(&response.type_url, names)
        };
        requests.send(ack).await.unwrap();
    }
}

async fn delta(number: usize, channel: Channel, views: Views) {
    let (requests, receiver) = mpsc::channel(16);
    let subscribe = |type_url: &str, names: &[&str]| DeltaDiscoveryRequest {
        node: Some(node(number)),
        type_url: type_url.to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(subscribe(CLUSTERS, &[])).await.unwrap();
    requests.send(subscribe(ROUTES, &["local_route"])).await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap();
    let mut responses = stream.into_inner();
    while let Some(response) = responses.message().await.unwrap() {
        for resource in response.resources.iter().filter(|_| response.type_url == ROUTES) {
            views.lock().unwrap().insert(number, edit_of(&resource.resource.as_ref().unwrap().value));
        }
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(ack).await.unwrap();
    }
}
