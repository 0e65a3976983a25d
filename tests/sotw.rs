//! The state-of-the-world protocol over a socket, and what both protocols share.

use std::sync::Arc;

use chancery::envoy::Kind;
use chancery::snapshot::DEFAULT_GROUP;
use chancery::xds::{Clients, KindState, Listen, Metrics, Options, Server};
use envoy_types::pb::envoy::config::core::v3::{Extension, Node};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tonic::Code;

use crate::support::xds_client::{ADS, Fixture, Sotw, Stream, bodies, missing, node};
use crate::support::{eventually, holds};

/// A route that is asked for last, so that its answer proves that nothing else was due.
const FENCE: &str = "fence";

/// Fails if anything but the answer to a newly asked-for route comes.
async fn assert_silent(stream: &mut Sotw) {
    stream.want(Kind::Route, &[FENCE]).await;
    let response = stream.receive().await;
    assert_eq!((bodies(&response), &*response.type_url), (vec![FENCE], Kind::Route.type_url()));
}

#[tokio::test]
async fn g1_an_aggregated_request_without_a_type_is_an_error() {
    let fixture = Fixture::start().await;
    let mut stream = fixture.sotw(ADS).await;
    stream.send(DiscoveryRequest { node: node(), ..Default::default() }).await;
    assert_eq!(stream.end().await.unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn g2_a_service_of_one_type_takes_that_type_or_none() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw("cluster.v3.ClusterDiscoveryService/Clusters").await;
    stream.send(DiscoveryRequest { node: node(), ..Default::default() }).await;
    let response = stream.receive().await;
    assert_eq!((bodies(&response), &*response.type_url), (vec!["1"], Kind::Cluster.type_url()));
    stream.want(Kind::Listener, &[]).await;
    assert_eq!(stream.end().await.unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn g3_g5_g6_the_node_comes_once_with_a_request_of_any_type() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Runtime, "layer", "r"), (Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Runtime, &["layer"]).await;
    assert_eq!(bodies(&stream.receive().await), ["r"]);
    stream.send(DiscoveryRequest { type_url: Kind::Cluster.type_url().into(), ..Default::default() }).await;
    assert_eq!(bodies(&stream.receive().await), ["1"]);
    let other = Node { id: "other".into(), ..Node::default() };
    let type_url = Kind::Listener.type_url().into();
    stream.send(DiscoveryRequest { node: Some(other), type_url, ..Default::default() }).await;
    stream.receive().await;
    let status = fixture.clients.status();
    assert_eq!(status.iter().map(|client| &*client.node).collect::<Vec<_>>(), ["node-1"]);
}

#[tokio::test]
async fn g4_a_first_request_without_a_node_is_an_error() {
    let fixture = Fixture::start().await;
    for node in [None, Some(Node::default())] {
        let mut stream = fixture.sotw(ADS).await;
        let type_url = Kind::Cluster.type_url().into();
        stream.send(DiscoveryRequest { node, type_url, ..Default::default() }).await;
        let status = stream.end().await.unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("missing node information"));
    }
    assert!(fixture.clients.status().is_empty());
}

#[tokio::test]
async fn g7_a_request_of_many_megabytes_is_taken() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Endpoint, "wanted", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    let mut heavy = node().unwrap();
    heavy.extensions = vec![Extension { name: "x".repeat(110), ..Default::default() }; 516];
    let names = (0..10_000).map(|name| format!("{name:0>500}"));
    stream
        .send(DiscoveryRequest {
            node: Some(heavy),
            type_url: Kind::Endpoint.type_url().into(),
            resource_names: names.chain(["wanted".to_owned()]).collect(),
            ..Default::default()
        })
        .await;
    assert_eq!(bodies(&stream.receive().await), ["1"]);
}

#[tokio::test]
async fn g9_streams_of_one_node_are_independent() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "a", "a"), (Kind::Cluster, "b", "b")]);
    let (mut first, mut second) = (fixture.sotw(ADS).await, fixture.sotw(ADS).await);
    first.want(Kind::Cluster, &["a"]).await;
    second.want(Kind::Cluster, &["b"]).await;
    let refused = first.receive().await;
    assert_eq!(bodies(&refused), ["a"]);
    first.nack(&refused, &["a"], "no").await;
    let accepted = second.receive().await;
    assert_eq!(bodies(&accepted), ["b"]);
    second.ack(&accepted, &["b"]).await;
    fixture.publish(&[(Kind::Cluster, "b", "b2"), (Kind::Route, FENCE, FENCE)]);
    assert_eq!(bodies(&second.receive().await), ["b2"]);
    assert_silent(&mut first).await;
    assert_eq!(fixture.clients.status().len(), 2);
}

#[tokio::test]
async fn g11_g13_responses_carry_their_type_and_who_sent_them() {
    let options = Options { identifier: "chancery/test".into(), ..Options::default() };
    let fixture = Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), options).await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    let response = stream.receive().await;
    assert_eq!(response.type_url, Kind::Cluster.type_url());
    assert!(response.resources.iter().all(|any| any.type_url == Kind::Cluster.type_url()));
    assert_eq!(response.control_plane.unwrap().identifier, "chancery/test");
    assert!(!response.nonce.is_empty());
}

#[tokio::test]
async fn g14_a_type_that_is_not_served_does_not_end_the_stream() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    let type_url = "type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint".into();
    stream.send(DiscoveryRequest { node: node(), type_url, ..Default::default() }).await;
    stream.want(Kind::Cluster, &[]).await;
    assert_eq!(bodies(&stream.receive().await), ["1"]);
    assert!(fixture.metrics().contains("chancery_xds_requests_total{type=\"other\"} 1"));
}

#[tokio::test]
async fn r4_x3_what_is_missing_is_told_to_all_but_envoys_where_there_is_nothing_else_to_say() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Route, FENCE, FENCE)]);
    for (user_agent_name, told) in [("envoy", false), ("gRPC C-core", true), ("", true)] {
        let mut stream = fixture.sotw(ADS).await;
        let node = Some(Node { user_agent_name: user_agent_name.into(), ..node().unwrap() });
        let want = |kind: Kind| DiscoveryRequest {
            node: node.clone(),
            type_url: kind.type_url().into(),
            resource_names: vec!["gone".into()],
            ..Default::default()
        };
        for kind in [Kind::Endpoint, Kind::Secret, Kind::Listener] {
            stream.send(want(kind)).await;
            if told || kind.is_full_state() {
                let response = stream.receive().await;
                assert_eq!((&*response.type_url, bodies(&response)), (kind.type_url(), vec![]));
                assert_eq!(missing(&response), ["gone"], "{user_agent_name} {kind}");
                stream.ack(&response, &["gone"]).await;
            }
        }
        assert_silent(&mut stream).await;
    }
}

#[tokio::test]
async fn every_service_of_one_type_serves_it() {
    let fixture = Fixture::start().await;
    for (kind, service) in [
        (Kind::Cluster, "cluster.v3.ClusterDiscoveryService/Clusters"),
        (Kind::Endpoint, "endpoint.v3.EndpointDiscoveryService/Endpoints"),
        (Kind::Listener, "listener.v3.ListenerDiscoveryService/Listeners"),
        (Kind::Route, "route.v3.RouteDiscoveryService/Routes"),
        (Kind::ScopedRoute, "route.v3.ScopedRoutesDiscoveryService/ScopedRoutes"),
        (Kind::Secret, "secret.v3.SecretDiscoveryService/Secrets"),
        (Kind::Runtime, "runtime.v3.RuntimeDiscoveryService/Runtime"),
        (Kind::ExtensionConfig, "extension.v3.ExtensionConfigDiscoveryService/ExtensionConfigs"),
    ] {
        fixture.publish(&[(kind, "x", kind.service())]);
        let mut stream = fixture.sotw(service).await;
        stream.want(kind, &["x"]).await;
        assert_eq!(bodies(&stream.receive().await), [kind.service()]);
        let status = fixture.clients.status();
        assert!(status.iter().any(|client| client.service == kind.service()), "{status:?}");
    }
    let outcome = Sotw::try_open(fixture.channel().await, "route.v3.VirtualHostDiscoveryService/StreamVirtualHosts");
    assert_eq!(outcome.await.err().unwrap().code(), Code::Unimplemented);
}

#[tokio::test]
async fn before_the_first_snapshot_streams_are_held_open() {
    let fixture = Fixture::start().await;
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Listener, &[]).await;
    stream.want(Kind::Cluster, &[]).await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    assert_eq!(bodies(&stream.receive().await), ["1"]);
    let response = stream.receive().await;
    assert_eq!((bodies(&response), &*response.type_url), (vec![], Kind::Listener.type_url()));
}

#[tokio::test]
async fn a_node_without_a_group_is_sent_nothing_and_keeps_what_it_has() {
    let fixture = Fixture::start().await;
    let unmatched = "chancery_xds_unmatched_streams";
    fixture.publish_for("somebody-else", &[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    eventually("the node is counted", async || {
        let text = fixture.metrics();
        holds(text.contains(&format!("{unmatched} 1")), text)
    })
    .await;
    assert_eq!(fixture.clients.status()[0].group, None);

    fixture.publish_for("node-1", &[(Kind::Cluster, "c", "2")]);
    let response = stream.receive().await;
    assert_eq!(bodies(&response), ["2"]);
    assert_eq!(fixture.clients.status()[0].group.as_deref(), Some(DEFAULT_GROUP));
    assert!(fixture.metrics().contains(&format!("{unmatched} 0")));
    stream.ack(&response, &[]).await;

    fixture.publish_for("somebody-else", &[(Kind::Cluster, "c", "3")]);
    eventually("the node has left", async || {
        let status = fixture.clients.status();
        holds(status[0].group.is_none(), status)
    })
    .await;
    fixture.publish_for("node-1", &[(Kind::Cluster, "c", "4")]);
    assert_eq!(bodies(&stream.receive().await), ["4"], "it was not told what the others got");
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_origin_and_not_answered() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "good", "1"), (Kind::Cluster, "bad", "1"), (Kind::Route, FENCE, FENCE)]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    let response = stream.receive().await;
    assert_eq!(fixture.clients.status()[0].kinds["CDS"].state, KindState::Stale);
    stream.nack(&response, &[], "Error adding/updating cluster(s) bad: no").await;
    assert_silent(&mut stream).await;
    let status = fixture.clients.status().remove(0);
    let kind = &status.kinds["CDS"];
    assert_eq!((kind.state, kind.acked.as_deref()), (KindState::Nacked, None));
    let nack = kind.nack.as_ref().unwrap();
    assert_eq!((nack.code, &*nack.version), (13, &*response.version_info));
    assert_eq!(nack.origins, ["topology.yaml:2:3"]);
    assert!(fixture.metrics().contains("chancery_xds_nacks_total{type=\"CDS\"} 1"));

    fixture.publish(&[(Kind::Cluster, "bad", "fixed")]);
    let response = stream.receive().await;
    stream.ack(&response, &[]).await;
    stream.want(Kind::Listener, &[]).await;
    stream.receive().await;
    let status = fixture.clients.status().remove(0);
    let kind = &status.kinds["CDS"];
    assert_eq!((kind.state, kind.nack.is_some()), (KindState::Synced, false));
    assert_eq!(kind.acked.as_deref(), Some(&*response.version_info));
    assert_eq!(status.revision, Some(2));
}

#[tokio::test]
async fn a_refusal_is_shown_until_what_was_refused_is_made_good() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Endpoint, "a", "bad"), (Kind::Endpoint, "b", "1"), (Kind::Route, FENCE, FENCE)]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Endpoint, &["a"]).await;
    let refused = stream.receive().await;
    stream.nack(&refused, &["a", "b"], "a is bad").await;
    let other = stream.receive().await;
    assert_eq!(bodies(&other), ["1"]);
    stream.ack(&other, &["a", "b"]).await;
    assert_silent(&mut stream).await;
    let kind = fixture.clients.status().remove(0).kinds.remove("EDS").unwrap();
    assert_eq!((kind.state, kind.nack.map(|nack| nack.message)), (KindState::Nacked, Some("a is bad".to_owned())));

    fixture.publish(&[(Kind::Endpoint, "a", "good")]);
    let response = stream.receive().await;
    stream.ack(&response, &["a", "b"]).await;
    stream.want(Kind::Listener, &[]).await;
    stream.receive().await;
    let kind = fixture.clients.status().remove(0).kinds.remove("EDS").unwrap();
    assert_eq!((kind.state, kind.nack), (KindState::Synced, None));
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_sent_the_newest_only() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "0")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    let first = stream.receive().await;
    for edit in 1..=500 {
        fixture.publish(&[(Kind::Cluster, "c", &edit.to_string())]);
    }
    stream.ack(&first, &[]).await;
    assert_eq!(bodies(&stream.receive().await), ["500"]);
    assert!(fixture.metrics().contains("chancery_xds_responses_total{type=\"CDS\"} 2"));
}

#[tokio::test]
async fn shutdown_ends_every_stream_and_the_registry_is_empty() {
    let mut fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    stream.receive().await;
    assert_eq!(fixture.clients.status().len(), 1);
    assert!(fixture.metrics().contains("chancery_xds_streams{protocol=\"sotw\"} 1"));
    fixture.shutdown.cancel();
    assert!(stream.end().await.is_none());
    drop(stream);
    fixture.running.join_next().await.unwrap().unwrap().unwrap();
    assert!(fixture.clients.status().is_empty());
    assert!(fixture.metrics().contains("chancery_xds_streams{protocol=\"sotw\"} 0"));
}

#[tokio::test]
async fn a_unix_socket_is_served_and_a_dead_one_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("xds.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind by a process that is gone");
    let mut fixture = Fixture::start_with(&Listen::Unix(path.clone()), Options::default()).await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    assert_eq!(bodies(&stream.receive().await), ["1"]);
    assert!(fixture.clients.status()[0].peer.starts_with("unix"));

    let taken = bind(&fixture.listen).await;
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse, "a live one is not replaced");
    fixture.shutdown.cancel();
    assert!(stream.end().await.is_none());
    fixture.running.join_next().await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_taken_port_and_a_file_in_the_way_are_errors() {
    let fixture = Fixture::start().await;
    assert_eq!(bind(&fixture.listen).await.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let file = tempfile::NamedTempFile::new().unwrap();
    let outcome = bind(&Listen::Unix(file.path().to_owned())).await;
    assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    assert!(file.path().exists());
}

async fn bind(listen: &Listen) -> std::io::Result<Server> {
    Server::bind(listen, Arc::default(), Arc::new(Clients::new()), Metrics::default(), Options::default()).await
}

#[tokio::test]
async fn many_streams_fit_on_one_connection() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Endpoint, "e", "1")]);
    let channel = fixture.channel().await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = Sotw::open(channel.clone(), "endpoint.v3.EndpointDiscoveryService/StreamEndpoints").await;
        stream.want(Kind::Endpoint, &["e"]).await;
        assert_eq!(bodies(&stream.receive().await), ["1"]);
        streams.push(stream);
    }
    assert_eq!(fixture.clients.status().len(), streams.len());
}

#[tokio::test]
async fn x9_other_methods_are_unimplemented() {
    let fixture = Fixture::start().await;
    let outcome = Stream::<DiscoveryRequest, DiscoveryRequest>::try_open(
        fixture.channel().await,
        "cluster.v3.ClusterDiscoveryService/FetchClusters",
    );
    assert_eq!(outcome.await.err().unwrap().code(), Code::Unimplemented);
}
