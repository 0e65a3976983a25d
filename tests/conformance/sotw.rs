//! The scenarios in the state-of-the-world protocol.

use std::collections::{BTreeMap, BTreeSet};

use chancery::envoy::Kind;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

use super::{FENCE, Row, Scenario, heard, publish};
use crate::support::xds_client::{Fixture, Sotw, bodies, missing, node, strings};

const NOTHING: [&str; 0] = [];

/// What is asked for of one kind, and what came last.
#[derive(Default)]
struct View {
    names: Vec<String>,
    last: DiscoveryResponse,
}

/// A client that answers each response, and counts.
struct Client {
    stream: Sotw,
    kinds: BTreeMap<Kind, View>,
    nonces: BTreeSet<String>,
    requests: usize,
    responses: usize,
}

impl Client {
    async fn open(fixture: &Fixture, row: Row) -> Self {
        let stream = fixture.sotw(row.service()).await;
        Self { stream, kinds: BTreeMap::new(), nonces: BTreeSet::new(), requests: 0, responses: 0 }
    }

    async fn send(&mut self, request: DiscoveryRequest) {
        self.requests += 1;
        self.stream.send(request).await;
    }

    /// Asks for names, with the version and nonce of the last response, and with the node every time.
    async fn want(&mut self, kind: Kind, names: &[&str]) {
        let View { names: wanted, last } = self.kinds.entry(kind).or_default();
        *wanted = strings(names);
        let request = DiscoveryRequest {
            node: node(),
            type_url: kind.type_url().into(),
            resource_names: strings(names),
            version_info: last.version_info.clone(),
            response_nonce: last.nonce.clone(),
            ..Default::default()
        };
        self.send(request).await;
    }

    /// The next response, which must be of this kind; it is not answered.
    async fn take(&mut self, kind: Kind) -> Vec<String> {
        let response = self.stream.receive().await;
        self.responses += 1;
        assert_eq!(response.type_url, kind.type_url());
        assert!(!response.version_info.is_empty());
        assert!(!response.nonce.is_empty() && self.nonces.insert(response.nonce.clone()), "{}", response.nonce);
        let seen = strings(&bodies(&response));
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "a name comes twice: {seen:?}");
        self.kinds.get_mut(&kind).expect("it was asked for").last = response;
        seen
    }

    /// Accepts the last response of a kind, which may be told under the name of another.
    async fn answer(&mut self, kind: Kind, named: Kind) {
        let View { names, last } = &self.kinds[&kind];
        let request = DiscoveryRequest {
            type_url: named.type_url().into(),
            resource_names: names.clone(),
            version_info: last.version_info.clone(),
            response_nonce: last.nonce.clone(),
            ..Default::default()
        };
        self.send(request).await;
    }

    /// The next response, accepted.
    async fn receive(&mut self, kind: Kind) -> Vec<String> {
        let seen = self.take(kind).await;
        self.answer(kind, kind).await;
        seen
    }

    /// Unsubscribes from everything as the suite does: by a name that nothing has, and without a version.
    async fn leave(&mut self, kind: Kind) {
        let view = self.kinds.get_mut(&kind).expect("it was asked for");
        view.names = strings(&[""]);
        view.last.resources.clear();
        let request = DiscoveryRequest {
            node: node(),
            type_url: kind.type_url().into(),
            resource_names: view.names.clone(),
            response_nonce: view.last.nonce.clone(),
            ..Default::default()
        };
        self.send(request).await;
    }

    /// Fails if anything but the answer to one more name comes, or if there were more responses than it took.
    async fn assert_nothing_more(&mut self, fixture: &Fixture, kind: Kind) {
        assert!(self.requests > self.responses, "{} responses to {} requests", self.responses, self.requests);
        let View { names, last } = &self.kinds[&kind];
        let mut expected = if kind.is_full_state() { strings(&bodies(last)) } else { Vec::new() };
        expected.push(format!("{FENCE}@v1"));
        let names = names.clone();
        publish(fixture, kind, &[FENCE], "v1");
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(|name| &**name).chain([FENCE]).collect();
            self.want(kind, &names).await;
        }
        assert_eq!(self.receive(kind).await, expected, "more than was asked for");
    }

    fn version(&self, kind: Kind) -> String {
        self.kinds[&kind].last.version_info.clone()
    }
}

pub(super) async fn run(row: Row) {
    let fixture = Fixture::start().await;
    let kind = row.kind();
    for kind in row.kinds {
        publish(&fixture, *kind, &["A", "B", "C"], "v1");
    }
    let mut client = Client::open(&fixture, row).await;
    match row.scenario {
        Scenario::Everything => {
            client.want(kind, &[]).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "B@v1", "C@v1"]);
        }
        Scenario::EverythingAfterAChange => {
            client.want(kind, &[]).await;
            client.receive(kind).await;
            let before = client.version(kind);
            publish(&fixture, kind, &["A"], "v2");
            assert_eq!(client.receive(kind).await, ["A@v2", "B@v1", "C@v1"]);
            assert_ne!(client.version(kind), before);
        }
        Scenario::EverythingAfterAnAddition => {
            client.want(kind, &[]).await;
            client.receive(kind).await;
            let before = client.version(kind);
            publish(&fixture, kind, &["A", "B", "C", "D"], "v2");
            assert_eq!(client.receive(kind).await, ["A@v2", "B@v2", "C@v2", "D@v2"]);
            assert_ne!(client.version(kind), before);
        }
        Scenario::Subset => {
            client.want(kind, &["A", "C"]).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "C@v1"]);
        }
        Scenario::SubsetAfterAChange | Scenario::ChangedName => {
            client.want(kind, &["A", "B"]).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "B@v1"]);
            publish(&fixture, kind, &["C"], "v2");
            publish(&fixture, kind, &["A"], "v2");
            let seen = client.receive(kind).await;
            if row.scenario == Scenario::ChangedName {
                assert_eq!(seen, ["A@v2"]);
            } else {
                assert_eq!(seen, ["A@v2", "B@v1"]);
            }
        }
        Scenario::SubsetAfterACreation | Scenario::CreatedName => {
            client.want(kind, &["A", "B", "D"]).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "B@v1"]);
            assert_eq!(missing(&client.kinds[&kind].last), ["D"], "the suite does not ask for this");
            publish(&fixture, kind, &["D"], "v2");
            let seen = client.receive(kind).await;
            if row.scenario == Scenario::CreatedName {
                assert_eq!(seen, ["D@v2"]);
            } else {
                assert_eq!(seen, ["A@v1", "B@v1", "D@v2"]);
            }
            assert_eq!(missing(&client.kinds[&kind].last), NOTHING);
        }
        Scenario::TwoKinds => {
            let names: &[&str] = if kind.is_full_state() { &[] } else { &["A", "B", "C"] };
            client.want(kind, names).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "B@v1", "C@v1"]);
            let other = row.kinds[1];
            client.want(other, names).await;
            assert_eq!(client.take(other).await, ["A@v1", "B@v1", "C@v1"]);
            client.answer(other, kind).await;
            client.answer(other, other).await;
            publish(&fixture, kind, &["A", "B", "C"], "v2");
            assert_eq!(client.receive(kind).await, ["A@v2", "B@v2", "C@v2"]);
        }
        Scenario::Shrunk | Scenario::ShrunkToOne => {
            client.want(kind, &["C", "A", "B"]).await;
            assert_eq!(client.receive(kind).await, ["A@v1", "B@v1", "C@v1"]);
            client.want(kind, &["A"]).await;
            heard(&fixture, kind, 1).await;
            publish(&fixture, kind, &["B"], "v2");
            publish(&fixture, kind, &["A"], "v2");
            assert_eq!(client.receive(kind).await, ["A@v2"]);
        }
        Scenario::UnsubscribedFromAll => {
            client.want(kind, &["A", "B"]).await;
            client.receive(kind).await;
            client.leave(kind).await;
            if kind.is_full_state() {
                assert_eq!(client.receive(kind).await, NOTHING, "of a full set, nothing is an answer");
            }
            heard(&fixture, kind, 1).await;
            publish(&fixture, kind, &["A", "B"], "v2");
        }
        other => unreachable!("{other:?} is not of this protocol"),
    }
    client.assert_nothing_more(&fixture, kind).await;
}
