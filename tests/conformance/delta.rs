//! The scenarios in the incremental protocol.

use std::collections::BTreeSet;

use chancery::envoy::Kind;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;

use super::{FENCE, Row, Scenario, heard, publish};
use crate::support::xds_client::{Delta, Fixture, shown};

/// A client that answers each response, and counts.
struct Client {
    stream: Delta,
    nonces: BTreeSet<String>,
    /// The versions of the whole set that came with news, by kind.
    versions: BTreeSet<(Kind, String)>,
    requests: usize,
    responses: usize,
}

impl Client {
    async fn open(fixture: &Fixture, row: Row) -> Self {
        let stream = fixture.delta(row.service()).await;
        Self { stream, nonces: BTreeSet::new(), versions: BTreeSet::new(), requests: 0, responses: 0 }
    }

    /// Subscribes, with the node every time and without a nonce.
    async fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        self.requests += 1;
        self.stream.amend(kind, names, &[]).await;
    }

    async fn unsubscribe(&mut self, kind: Kind, name: &str) {
        self.requests += 1;
        self.stream.amend(kind, &[], &[name]).await;
    }

    /// The next response, which must be of this kind; it is accepted.
    async fn receive(&mut self, kind: Kind) -> DeltaDiscoveryResponse {
        let response = self.stream.receive().await;
        self.responses += 1;
        assert_eq!(response.type_url, kind.type_url());
        assert!(!response.system_version_info.is_empty());
        assert!(!response.nonce.is_empty() && self.nonces.insert(response.nonce.clone()), "{}", response.nonce);
        let gone = &response.removed_resources;
        let names: Vec<_> = response.resources.iter().map(|resource| &resource.name).chain(gone).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name comes twice: {names:?}");
        assert!(response.resources.iter().all(|resource| !resource.version.is_empty()));
        self.requests += 1;
        self.stream.answer(&response, None).await;
        response
    }

    /// The next response, as `name=body` and `-name`.
    async fn see(&mut self, kind: Kind) -> Vec<String> {
        shown(&self.receive(kind).await)
    }

    /// The next response is one resource at a version, and the set has a version that it did not have before.
    async fn see_news(&mut self, kind: Kind, expected: &str) {
        let response = self.receive(kind).await;
        assert_eq!(shown(&response), [expected]);
        assert!(self.versions.insert((kind, response.system_version_info)), "the version was another content's");
    }

    /// Fails if anything but the answer to one more name comes, or if there were more responses than it took.
    async fn assert_nothing_more(&mut self, fixture: &Fixture, kind: Kind) {
        assert!(self.requests > self.responses, "{} responses to {} requests", self.responses, self.requests);
        publish(fixture, kind, &[FENCE], "v1");
        self.subscribe(kind, &[FENCE]).await;
        assert_eq!(self.see(kind).await, ["fence=fence@v1"]);
    }
}

pub(super) async fn run(row: Row) {
    let fixture = Fixture::start().await;
    let kind = row.kind();
    for kind in row.kinds {
        publish(&fixture, *kind, &["A", "B"], "v1");
    }
    let mut client = Client::open(&fixture, row).await;
    match row.scenario {
        Scenario::Subset => {
            publish(&fixture, kind, &["C"], "v1");
            client.subscribe(kind, &["A", "C"]).await;
            assert_eq!(client.see(kind).await, ["A=A@v1", "C=C@v1"]);
        }
        Scenario::OneNameThenAnother => {
            client.subscribe(kind, &["A"]).await;
            assert_eq!(client.see(kind).await, ["A=A@v1"]);
            client.subscribe(kind, &["B"]).await;
            assert_eq!(client.see(kind).await, ["B=B@v1"]);
        }
        Scenario::ChangedNameAlone => {
            client.subscribe(kind, &["A", "B"]).await;
            assert_eq!(client.see(kind).await, ["A=A@v1", "B=B@v1"]);
            for (name, version) in [("A", "v2"), ("B", "v2"), ("A", "v3")] {
                publish(&fixture, kind, &[name], version);
                client.see_news(kind, &format!("{name}={name}@{version}")).await;
            }
        }
        Scenario::CreatedNameAlone => {
            client.subscribe(kind, &["A", "D"]).await;
            let first = client.receive(kind).await;
            assert!(shown(&first).contains(&"A=A@v1".to_owned()), "{first:?}");
            publish(&fixture, kind, &["D"], "v1");
            assert_eq!(client.see(kind).await, ["D=D@v1"]);
        }
        Scenario::MissingNameIsTold => {
            client.subscribe(kind, &["A", "D"]).await;
            assert_eq!(client.see(kind).await, ["A=A@v1", "-D"]);
            publish(&fixture, kind, &["A"], "v2");
            assert_eq!(client.see(kind).await, ["A=A@v2"], "it is told once");
            publish(&fixture, kind, &["D"], "v1");
            assert_eq!(client.see(kind).await, ["D=D@v1"]);
        }
        Scenario::RemovedAndAddedAgain => {
            client.subscribe(kind, &["A", "B"]).await;
            client.see(kind).await;
            fixture.remove(&[(kind, "A")]);
            assert_eq!(client.see(kind).await, ["-A"]);
            publish(&fixture, kind, &["A"], "v2");
            assert_eq!(client.see(kind).await, ["A=A@v2"]);
        }
        Scenario::UnsubscribedOneByOne => {
            client.subscribe(kind, &["A", "B"]).await;
            client.see(kind).await;
            client.unsubscribe(kind, "A").await;
            heard(&fixture, kind, 1).await;
            publish(&fixture, kind, &["A"], "v2");
            publish(&fixture, kind, &["B"], "v2");
            assert_eq!(client.see(kind).await, ["B=B@v2"]);
            client.unsubscribe(kind, "B").await;
            heard(&fixture, kind, 0).await;
            publish(&fixture, kind, &["A", "B"], "v3");
        }
        Scenario::TwoKindsChangeApart => {
            for kind in row.kinds {
                client.subscribe(*kind, &["A", "B"]).await;
                assert_eq!(client.see(*kind).await, ["A=A@v1", "B=B@v1"]);
            }
            for kind in row.kinds {
                publish(&fixture, *kind, &["A"], "v2");
                client.see_news(*kind, "A=A@v2").await;
            }
        }
        other => unreachable!("{other:?} is not of this protocol"),
    }
    client.assert_nothing_more(&fixture, kind).await;
}
