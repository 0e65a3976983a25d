//! The protocol's statements, tested on the pure machines; the ids are those of the tests' names.

mod delta;
mod gate;
mod inspect;
mod model;
mod order;
mod sotw;
mod statements;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;

use super::gate::Gates;
use super::order::{Conversation, Response};
use super::track::Answer;
use super::{Protocol, Request};
use crate::envoy::Kind;
use crate::snapshot::{DEFAULT_GROUP, Group, Origin, Resource, Selectors, Snapshot, Traits, Version};

const GATE_TIMEOUT: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(5);
const GATES: Gates = Gates { timeout: GATE_TIMEOUT, removal_grace: GRACE, open: false };

/// Resources that can be edited.
#[derive(Clone, Default)]
struct World(BTreeMap<(Kind, String), (String, Traits)>);

impl World {
    fn set(&mut self, kind: Kind, name: &str, body: &str) -> &mut Self {
        let traits = self.0.get(&(kind, name.to_owned())).map_or_else(Traits::default, |(_, traits)| traits.clone());
        self.0.insert((kind, name.to_owned()), (body.to_owned(), traits));
        self
    }

    /// A cluster whose endpoints have its own name.
    fn eds(&mut self, name: &str, body: &str) -> &mut Self {
        let traits = Traits { eds_service: Some(name.into()), ..Traits::default() };
        self.0.insert((Kind::Cluster, name.to_owned()), (body.to_owned(), traits));
        self
    }

    /// A listener or a route table that leads to clusters.
    fn lead(&mut self, kind: Kind, name: &str, clusters: &[&str]) -> &mut Self {
        let traits = Traits { clusters: clusters.iter().map(|name| Arc::from(*name)).collect(), ..Traits::default() };
        self.0.insert((kind, name.to_owned()), (clusters.join("+"), traits));
        self
    }

    fn on_demand(&mut self, kind: Kind, name: &str, body: &str) -> &mut Self {
        let traits = Traits { on_demand: true, ..Traits::default() };
        self.0.insert((kind, name.to_owned()), (body.to_owned(), traits));
        self
    }

    fn remove(&mut self, kind: Kind, name: &str) -> &mut Self {
        self.0.remove(&(kind, name.to_owned())).expect("only what exists is removed");
        self
    }

    fn group(&self) -> Arc<Group> {
        let resource = |((kind, name), (body, traits)): (&(Kind, String), &(String, Traits))| {
            let origin = Origin { file: "t.yaml".into(), line: 1, column: 1 };
            Resource::new(*kind, name.as_str(), body.as_bytes(), origin, traits.clone())
        };
        let resources = self.0.iter().map(resource).collect();
        let (snapshot, _) =
            Snapshot::next(None, BTreeMap::from([(DEFAULT_GROUP.into(), resources)]), Selectors::default())
                .expect("the first is always new");
        Arc::clone(snapshot.group(DEFAULT_GROUP).expect("it was just put in"))
    }
}

/// A stream and the client at its other end.
struct Talk {
    protocol: Protocol,
    conversation: Conversation,
    world: World,
    group: Arc<Group>,
    now: Instant,
    names: BTreeMap<Kind, Vec<String>>,
    versions: BTreeMap<Kind, String>,
    last: BTreeMap<Kind, Response>,
}

impl Talk {
    fn new(protocol: Protocol, edit: impl FnOnce(&mut World)) -> Self {
        let mut world = World::default();
        edit(&mut world);
        Self {
            protocol,
            conversation: Conversation::new(protocol, GATES),
            group: world.group(),
            world,
            now: Instant::now(),
            names: BTreeMap::new(),
            versions: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    fn publish(&mut self, edit: impl FnOnce(&mut World)) -> &mut Self {
        edit(&mut self.world);
        self.group = self.world.group();
        self
    }

    /// Everything that is due now, as `CDS a b -c`: what is there, and what is gone.
    fn drain(&mut self) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(response) = self.conversation.next(&self.group, self.now) {
            let mut text = response.kind.service().to_owned();
            let names = response.resources.iter().map(|resource| resource.name.to_string());
            for name in names.chain(response.removed.iter().map(|name| format!("-{name}"))) {
                text.push(' ');
                text.push_str(&name);
            }
            let mut seen = BTreeSet::new();
            let resources = response.resources.iter().map(|resource| &resource.name);
            assert!(resources.chain(&response.removed).all(|name| seen.insert(name)), "{text}: a name comes twice");
            shown.push(text);
            self.last.insert(response.kind, response);
            assert!(shown.len() < 50, "no end to it: {shown:?}");
        }
        shown
    }

    fn nonce(&self, kind: Kind) -> String {
        self.last.get(&kind).map(|response| response.nonce.to_string()).unwrap_or_default()
    }

    fn send_sotw(&mut self, kind: Kind, nonce: &str, version: &str, error: Option<&str>) -> Answer {
        let request = DiscoveryRequest {
            version_info: version.to_owned(),
            resource_names: self.names.get(&kind).cloned().unwrap_or_default(),
            type_url: kind.type_url().to_owned(),
            response_nonce: nonce.to_owned(),
            error_detail: error.map(|message| rpc::Status { code: 13, message: message.to_owned(), details: vec![] }),
            ..Default::default()
        };
        self.conversation.hear(kind, &Request::Sotw(Box::new(request)), self.now, || None)
    }

    /// A state-of-the-world subscription with the newest nonce and the version that was last accepted.
    fn want(&mut self, kind: Kind, names: &[&str]) -> &mut Self {
        self.names.insert(kind, names.iter().map(ToString::to_string).collect());
        let version = self.versions.get(&kind).cloned().unwrap_or_default();
        let answer = self.send_sotw(kind, &self.nonce(kind), &version, None);
        drop(answer);
        self
    }

    /// Asks for these names besides those that were asked for, in either protocol; for nothing else means for everything.
    fn ask(&mut self, kind: Kind, names: &[&str]) -> &mut Self {
        match self.protocol {
            Protocol::Sotw => self.want(kind, names),
            Protocol::Delta => {
                let known = self.names.get(&kind).cloned().unwrap_or_default();
                self.names.insert(kind, names.iter().map(ToString::to_string).collect());
                let new: Vec<_> = names.iter().copied().filter(|name| !known.iter().any(|it| it == name)).collect();
                self.amend(kind, &new, &[])
            }
        }
    }

    /// An incremental subscription, spontaneous.
    fn amend(&mut self, kind: Kind, subscribe: &[&str], unsubscribe: &[&str]) -> &mut Self {
        self.delta_request(kind, subscribe, unsubscribe, &[], "", None, || None);
        self
    }

    /// The first incremental request of a kind after a reconnect.
    fn rejoin(
        &mut self,
        kind: Kind,
        subscribe: &[&str],
        held: &[(&str, String)],
        doubts: Option<&[&str]>,
    ) -> &mut Self {
        let doubts = doubts.map(|names| names.iter().map(|name| Arc::from(*name)).collect());
        self.delta_request(kind, subscribe, &[], held, "", None, || doubts);
        self
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field of the request")]
    fn delta_request(
        &mut self,
        kind: Kind,
        subscribe: &[&str],
        unsubscribe: &[&str],
        held: &[(&str, String)],
        nonce: &str,
        error: Option<&str>,
        doubts: impl FnOnce() -> Option<BTreeSet<Arc<str>>>,
    ) -> Answer {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: strings(subscribe),
            resource_names_unsubscribe: strings(unsubscribe),
            initial_resource_versions: held
                .iter()
                .map(|(name, version)| ((*name).to_owned(), version.clone()))
                .collect(),
            response_nonce: nonce.to_owned(),
            error_detail: error.map(|message| rpc::Status { code: 13, message: message.to_owned(), details: vec![] }),
            ..Default::default()
        };
        self.conversation.hear(kind, &Request::Delta(Box::new(request)), self.now, doubts)
    }

    /// Accepts the newest response of a kind.
    fn ack(&mut self, kind: Kind) -> Answer {
        let nonce = self.nonce(kind);
        let version = self.last[&kind].version.to_string();
        self.versions.insert(kind, version.clone());
        match self.protocol {
            Protocol::Sotw => self.send_sotw(kind, &nonce, &version, None),
            Protocol::Delta => self.delta_request(kind, &[], &[], &[], &nonce, None, || None),
        }
    }

    /// Refuses the newest response of a kind.
    fn nack(&mut self, kind: Kind) -> Answer {
        let nonce = self.nonce(kind);
        let version = self.versions.get(&kind).cloned().unwrap_or_default();
        match self.protocol {
            Protocol::Sotw => self.send_sotw(kind, &nonce, &version, Some("bad")),
            Protocol::Delta => self.delta_request(kind, &[], &[], &[], &nonce, Some("bad"), || None),
        }
    }

    /// Sends what is due and accepts it, until nothing is due.
    fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let sent = self.drain();
            if sent.is_empty() {
                return all;
            }
            for text in &sent {
                let kind = Kind::ALL.into_iter().find(|kind| text.split(' ').next() == Some(kind.service())).unwrap();
                let answer = self.ack(kind);
                assert!(matches!(answer, Answer::Ack { .. } | Answer::Nothing));
            }
            all.extend(sent);
            assert!(all.len() < 50, "no end to it: {all:?}");
        }
    }

    fn version(&self, kind: Kind, name: &str) -> String {
        self.group.get(kind, name).unwrap().version.to_string()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn s2_versions_belong_to_the_content_and_not_to_the_stream() {
    let edit = |world: &mut World| {
        world.set(Kind::Cluster, "a", "1");
    };
    let mut versions = BTreeSet::new();
    for _ in 0..2 {
        let mut talk = Talk::new(Protocol::Sotw, edit);
        talk.want(Kind::Cluster, &[]).drain();
        versions.insert(talk.last[&Kind::Cluster].version);
    }
    assert_eq!(versions.len(), 1);
    assert!(Version::parse(&versions.first().unwrap().to_string()).is_some());
}
