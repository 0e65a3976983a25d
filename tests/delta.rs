//! The incremental protocol over a socket.

use std::time::Duration;

use chancery::envoy::Kind;
use chancery::snapshot::Version;
use chancery::xds::{Gates, KindState, Options};

use crate::support::xds_client::{ADS, Fixture, refusal, shown};
use crate::support::{eventually, holds};

#[tokio::test]
async fn r6_r8_r9_one_edit_sends_one_named_and_versioned_resource() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "a", "1"), (Kind::Cluster, "b", "1")]);
    let mut stream = fixture.delta(ADS).await;
    stream.amend(Kind::Cluster, &[], &[]).await;
    let response = stream.receive().await;
    assert_eq!(shown(&response), ["a=1", "b=1"]);
    assert_eq!(response.type_url, Kind::Cluster.type_url());
    assert!(response.resources.iter().all(|resource| resource.version == Version::of(b"1").to_string()));
    stream.answer(&response, None).await;

    fixture.publish(&[(Kind::Cluster, "b", "2")]);
    let changed = stream.receive().await;
    assert_eq!(shown(&changed), ["b=2"]);
    assert_ne!(changed.system_version_info, response.system_version_info);
    assert_ne!(changed.nonce, response.nonce);
    stream.answer(&changed, None).await;

    fixture.remove(&[(Kind::Cluster, "a")]);
    assert_eq!(shown(&stream.receive().await), ["-a"]);
}

#[tokio::test]
async fn r10_what_a_rejoining_client_holds_is_not_sent_again() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "a", "1"), (Kind::Endpoint, "a", "1"), (Kind::Route, "r", "1")]);
    let mut stream = fixture.delta(ADS).await;
    let version = Version::of(b"1").to_string();
    let held = [("a", &*version)];
    stream.rejoin(Kind::Endpoint, &["a"], &[], &held).await;
    stream.rejoin(Kind::Cluster, &[], &[], &held).await;
    let response = stream.receive().await;
    assert_eq!((&*response.type_url, shown(&response).len()), (Kind::Cluster.type_url(), 0));
    stream.amend(Kind::Route, &["r"], &[]).await;
    assert_eq!(shown(&stream.receive().await), ["r=1"], "endpoints would have come before it");
    let status = fixture.clients.status().remove(0);
    assert_eq!(status.kinds["EDS"].state, KindState::Synced);
    let published = fixture.store.load().unwrap();
    let version = published.group("default").unwrap().resources(Kind::Endpoint).version().to_string();
    assert_eq!(status.kinds["EDS"].acked.as_deref(), Some(&*version));
}

#[tokio::test]
async fn n8_a_node_that_refused_gets_everything_when_it_rejoins() {
    let gates = Gates { removal_grace: Duration::from_millis(10), ..Gates::default() };
    let options = Options { gates, ..Options::default() };
    let fixture = Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), options).await;
    fixture.publish(&[(Kind::Cluster, "a", "1")]);
    let mut stream = fixture.delta(ADS).await;
    stream.amend(Kind::Cluster, &[], &[]).await;
    let response = stream.receive().await;
    stream.answer(&response, None).await;
    fixture.publish(&[(Kind::Cluster, "taken", "1"), (Kind::Cluster, "bad", "1")]);
    let response = stream.receive().await;
    assert_eq!(shown(&response), ["bad=1", "taken=1"]);
    stream.answer(&response, refusal("no")).await;
    // The answer to the next request proves that the refusal has arrived.
    stream.amend(Kind::Listener, &[], &[]).await;
    stream.receive().await;
    assert_eq!(fixture.clients.status()[0].kinds["CDS"].state, KindState::Nacked);
    drop(stream);

    fixture.remove(&[(Kind::Cluster, "taken"), (Kind::Cluster, "bad")]);
    let version = Version::of(b"1").to_string();
    let mut stream = fixture.delta(ADS).await;
    stream.rejoin(Kind::Cluster, &[], &[], &[("a", &version)]).await;
    let response = stream.receive().await;
    assert_eq!(shown(&response), ["a=1"]);
    stream.answer(&response, None).await;
    let response = stream.receive().await;
    assert_eq!(shown(&response), ["-bad", "-taken"]);
    stream.answer(&response, None).await;
    stream.amend(Kind::Listener, &[], &[]).await;
    stream.receive().await;
    drop(stream);

    let mut stream = fixture.delta(ADS).await;
    stream.rejoin(Kind::Cluster, &[], &[], &[("a", &version)]).await;
    assert!(shown(&stream.receive().await).is_empty(), "it has accepted everything since");
}

/// A client counts a cluster as held while it is still warming.
#[tokio::test]
async fn s12_a_cluster_that_was_not_answered_comes_again_when_the_client_rejoins() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "a", "1"), (Kind::Cluster, "b", "1")]);
    let mut stream = fixture.delta(ADS).await;
    stream.amend(Kind::Cluster, &[], &[]).await;
    let response = stream.receive().await;
    stream.answer(&response, None).await;
    fixture.publish(&[(Kind::Cluster, "a", "2")]);
    assert_eq!(shown(&stream.receive().await), ["a=2"]);
    drop(stream);
    eventually("the stream to end", async || holds(fixture.clients.status().is_empty(), fixture.clients.status()))
        .await;

    let (old, new) = (Version::of(b"1").to_string(), Version::of(b"2").to_string());
    let mut stream = fixture.delta(ADS).await;
    stream.rejoin(Kind::Cluster, &[], &[], &[("a", &new), ("b", &old)]).await;
    let response = stream.receive().await;
    assert!(shown(&response).contains(&"a=2".to_owned()), "{:?}", shown(&response));
    stream.answer(&response, None).await;
    stream.amend(Kind::Listener, &[], &[]).await;
    stream.receive().await;
    drop(stream);
    eventually("the stream to end", async || holds(fixture.clients.status().is_empty(), fixture.clients.status()))
        .await;

    let mut stream = fixture.delta(ADS).await;
    stream.rejoin(Kind::Cluster, &[], &[], &[("a", &new), ("b", &old)]).await;
    assert!(shown(&stream.receive().await).is_empty(), "it has answered everything since");
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
        (Kind::VirtualHost, "route.v3.VirtualHostDiscoveryService/VirtualHosts"),
        (Kind::Secret, "secret.v3.SecretDiscoveryService/Secrets"),
        (Kind::Runtime, "runtime.v3.RuntimeDiscoveryService/Runtime"),
        (Kind::ExtensionConfig, "extension.v3.ExtensionConfigDiscoveryService/ExtensionConfigs"),
    ] {
        fixture.publish(&[(kind, "x", "1")]);
        let mut stream = fixture.delta(service).await;
        stream.amend(kind, &["x", "missing"], &[]).await;
        assert_eq!(shown(&stream.receive().await), ["x=1", "-missing"], "{kind}");
    }
}
