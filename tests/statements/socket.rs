//! Statements that are about what is on the wire.

use chancery::envoy::Kind;
use chancery::xds::KindState;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest, ResourceLocator};

use crate::support::xds_client::{ADS, Delta, Fixture, Sotw, bodies, node, refusal, shown, strings};

#[tokio::test]
async fn g8_what_a_client_says_it_can_do_makes_no_difference() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let (mut sotw, mut delta) = (Vec::new(), Vec::new());
    for features in [&[][..], &["xds.config.resource-in-sotw", "xds.config.supports-resource-in-sotw"]] {
        let node = Some(Node { client_features: strings(features), ..node().unwrap() });
        let type_url: String = Kind::Cluster.type_url().into();
        let mut stream = fixture.sotw(ADS).await;
        stream.send(DiscoveryRequest { node: node.clone(), type_url: type_url.clone(), ..Default::default() }).await;
        sotw.push(stream.receive().await);
        let mut stream = fixture.delta(ADS).await;
        stream.send(DeltaDiscoveryRequest { node, type_url, ..Default::default() }).await;
        delta.push(stream.receive().await);
    }
    assert_eq!(bodies(&sotw[0]), ["1"]);
    assert_eq!(sotw[0], sotw[1]);
    assert_eq!(shown(&delta[0]), ["c=1"]);
    assert_eq!(delta[0], delta[1]);
}

#[tokio::test]
async fn n2_a_client_that_refuses_everything_is_sent_each_content_once() {
    const EDITS: usize = 50;
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "0"), (Kind::Secret, "fence", "1")]);
    let (mut sotw, mut delta) = (fixture.sotw(ADS).await, fixture.delta(ADS).await);
    sotw.want(Kind::Cluster, &[]).await;
    delta.amend(Kind::Cluster, &[], &[]).await;
    for edit in 1..=EDITS {
        let refused = sotw.receive().await;
        sotw.nack(&refused, &[], "no").await;
        let refused = delta.receive().await;
        delta.answer(&refused, refusal("no")).await;
        fixture.publish(&[(Kind::Cluster, "c", &edit.to_string())]);
    }
    let refused = sotw.receive().await;
    assert_eq!(bodies(&refused), [EDITS.to_string()]);
    sotw.nack(&refused, &[], "no").await;
    let refused = delta.receive().await;
    assert_eq!(shown(&refused), [format!("c={EDITS}")]);
    delta.answer(&refused, refusal("no")).await;
    // The answer to the next request proves that nothing else was due.
    sotw.want(Kind::Secret, &["fence"]).await;
    assert_eq!(sotw.receive().await.type_url, Kind::Secret.type_url());
    delta.amend(Kind::Secret, &["fence"], &[]).await;
    assert_eq!(delta.receive().await.type_url, Kind::Secret.type_url());
    let metrics = fixture.metrics();
    for what in ["responses", "nacks"] {
        let line = format!("chancery_xds_{what}_total{{type=\"CDS\"}} {}", 2 * (EDITS + 1));
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn n7_a_refusal_is_recorded_until_the_next_ack_in_both_protocols() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "bad"), (Kind::Secret, "1", "1"), (Kind::Secret, "2", "2")]);
    let (mut sotw, mut delta) = (fixture.sotw(ADS).await, fixture.delta(ADS).await);
    // The answer to a further name proves that what was said before has arrived.
    let heard = async |sotw: &mut Sotw, delta: &mut Delta, fence: &str| {
        sotw.want(Kind::Secret, &[fence]).await;
        assert_eq!(bodies(&sotw.receive().await), [fence]);
        delta.amend(Kind::Secret, &[fence], &[]).await;
        assert_eq!(shown(&delta.receive().await), [format!("{fence}={fence}")]);
        fixture.clients.status().into_iter().map(|mut client| client.kinds.remove("CDS").unwrap())
    };
    sotw.want(Kind::Cluster, &[]).await;
    delta.amend(Kind::Cluster, &[], &[]).await;
    let refused = sotw.receive().await;
    sotw.nack(&refused, &[], "c: no").await;
    let version = refused.version_info;
    let refused = delta.receive().await;
    delta.answer(&refused, refusal("c: no")).await;
    for kind in heard(&mut sotw, &mut delta, "1").await {
        let nack = kind.nack.unwrap();
        assert_eq!(
            (kind.state, nack.code, &*nack.message, &*nack.version),
            (KindState::Nacked, 13, "c: no", &*version)
        );
        assert_eq!(nack.origins, ["topology.yaml:1:3"]);
    }
    fixture.publish(&[(Kind::Cluster, "c", "good")]);
    let response = sotw.receive().await;
    sotw.ack(&response, &[]).await;
    let response = delta.receive().await;
    delta.answer(&response, None).await;
    for kind in heard(&mut sotw, &mut delta, "2").await {
        assert_eq!((kind.state, kind.nack), (KindState::Synced, None));
    }
}

#[tokio::test]
async fn t1_t2_t3_nothing_is_sent_with_a_time_to_live() {
    let fixture = Fixture::start().await;
    let kinds = [Kind::Runtime, Kind::Cluster, Kind::Endpoint, Kind::Secret, Kind::Listener, Kind::Route];
    fixture.publish(&kinds.map(|kind| (kind, "x", "1")));
    let (mut sotw, mut delta) = (fixture.sotw(ADS).await, fixture.delta(ADS).await);
    for kind in kinds {
        sotw.want(kind, &["x"]).await;
        let response = sotw.receive().await;
        // A time to live would need a wrapper, of another type.
        assert_eq!(response.resources.len(), 1);
        assert_eq!(response.resources[0].type_url, kind.type_url());
        sotw.ack(&response, &["x"]).await;
        delta.amend(kind, &["x"], &[]).await;
        let response = delta.receive().await;
        assert_eq!(response.resources.len(), 1);
        assert_eq!(response.resources[0].ttl, None);
        assert!(response.resources[0].resource.is_some(), "and no heartbeat");
        delta.answer(&response, None).await;
    }
}

#[tokio::test]
async fn x2_what_is_not_implemented_anywhere_is_tolerated() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Endpoint, "a", "1"), (Kind::Endpoint, "b", "1")]);
    let locator = ResourceLocator { name: "b".into(), ..Default::default() };
    let type_url: String = Kind::Endpoint.type_url().into();
    let mut sotw = fixture.sotw(ADS).await;
    sotw.send(DiscoveryRequest {
        node: node(),
        type_url: type_url.clone(),
        resource_names: strings(&["a"]),
        resource_locators: vec![locator.clone()],
        ..Default::default()
    })
    .await;
    assert_eq!(bodies(&sotw.receive().await), ["1"]);
    let mut delta = fixture.delta(ADS).await;
    delta
        .send(DeltaDiscoveryRequest {
            node: node(),
            type_url,
            resource_names_subscribe: strings(&["a"]),
            resource_locators_subscribe: vec![locator],
            ..Default::default()
        })
        .await;
    assert_eq!(shown(&delta.receive().await), ["a=1"]);
}
