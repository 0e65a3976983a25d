//! Any interleaving of edits, subscriptions, answers and reconnects ends in agreement and silence.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const KINDS: [Kind; 4] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Set {
        kind: usize,
        name: usize,
        body: u8,
    },
    Remove {
        kind: usize,
        name: usize,
    },
    /// The client replaces its names of a kind.
    Want {
        kind: usize,
        names: u8,
        wildcard: bool,
    },
    /// The server sends up to so many responses.
    Send(u8),
    /// The client reads its oldest response and accepts it.
    Accept,
    /// The client reads its oldest response, applies some of it, and refuses it.
    Refuse {
        applied: u8,
    },
    /// The server has waited long enough for answers.
    Wait,
    /// Both sides lose what is under way.
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    let (kind, name) = (0..KINDS.len(), 0..NAMES.len());
    prop_oneof![
        4 => (kind.clone(), name.clone(), 0..3_u8).prop_map(|(kind, name, body)| Event::Set { kind, name, body }),
        2 => (kind.clone(), name).prop_map(|(kind, name)| Event::Remove { kind, name }),
        3 => (kind, 0..16_u8, any::<bool>()).prop_map(|(kind, names, wildcard)| Event::Want { kind, names, wildcard }),
        4 => (0..4_u8).prop_map(Event::Send),
        4 => Just(Event::Accept),
        4 => any::<u8>().prop_map(|applied| Event::Refuse { applied }),
        1 => Just(Event::Wait),
        2 => Just(Event::Reconnect),
    ]
}

/// What a client holds and asks for, of one kind.
#[derive(Clone, Debug, Default)]
struct View {
    names: BTreeSet<String>,
    wildcard: bool,
    held: BTreeMap<String, Version>,
    /// What it says it holds: unlike what it does hold, this ignores refused responses.
    accounted: BTreeMap<String, Version>,
    version: String,
    nonce: String,
}

impl View {
    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn all_names(&self) -> Vec<String> {
        self.wildcard.then(|| "*".to_owned()).into_iter().chain(self.names.iter().cloned()).collect()
    }
}

struct Model {
    protocol: Protocol,
    conversation: Conversation,
    world: World,
    now: Instant,
    views: BTreeMap<Kind, View>,
    /// Which kinds were asked for on this stream.
    opened: BTreeSet<Kind>,
    in_flight: VecDeque<Response>,
    doubts: BTreeMap<Kind, BTreeSet<Arc<str>>>,
}

impl Model {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            conversation: Conversation::new(protocol, GATE_TIMEOUT),
            world: World::default(),
            now: Instant::now(),
            views: KINDS.into_iter().map(|kind| (kind, View::default())).collect(),
            opened: BTreeSet::new(),
            in_flight: VecDeque::new(),
            doubts: BTreeMap::new(),
        }
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Set { kind, name, body } => {
                let (kind, name, body) = (KINDS[*kind], NAMES[*name], body.to_string());
                let world = &mut self.world;
                if kind == Kind::Cluster {
                    world.eds(name, &body)
                } else {
                    world.set(kind, name, &body)
                };
            }
            Event::Remove { kind, name } => {
                self.world.0.remove(&(KINDS[*kind], NAMES[*name].to_owned()));
            }
            Event::Want { kind, names, wildcard } => {
                let names = NAMES.iter().enumerate().filter(|(bit, _)| names & (1 << bit) != 0);
                self.want(KINDS[*kind], names.map(|(_, name)| (*name).to_owned()).collect(), *wildcard);
            }
            Event::Send(count) => {
                for _ in 0..*count {
                    self.send();
                }
            }
            Event::Accept => self.read(None),
            Event::Refuse { applied } => self.read(Some(*applied)),
            Event::Wait => self.now += GATE_TIMEOUT,
            Event::Reconnect => self.reconnect(),
        }
    }

    fn want(&mut self, kind: Kind, names: BTreeSet<String>, wildcard: bool) {
        let first = !self.opened.contains(&kind);
        let view = self.views.get_mut(&kind).unwrap();
        let before = if first { View::default() } else { view.clone() };
        (view.names, view.wildcard) = (names, wildcard);
        // An incremental client that drops a name under a wildcard waits to hear what becomes of it.
        let kept = view.clone();
        for map in [&mut view.held, &mut view.accounted] {
            map.retain(|name, _| kept.covers(name));
        }
        let listed = |view: &View| view.all_names().into_iter().collect::<BTreeSet<_>>();
        let subscribe = listed(view).difference(&listed(&before)).cloned().collect();
        let unsubscribe = listed(&before).difference(&listed(view)).cloned().collect();
        if first && view.names.is_empty() && !view.wildcard {
            return;
        }
        self.opened.insert(kind);
        self.request(kind, subscribe, unsubscribe, String::new(), None, first);
    }

    fn request(
        &mut self,
        kind: Kind,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        nonce: String,
        error: Option<rpc::Status>,
        first: bool,
    ) {
        let view = &self.views[&kind];
        let type_url = kind.type_url().to_owned();
        let request = match self.protocol {
            Protocol::Sotw => Request::Sotw(Box::new(DiscoveryRequest {
                version_info: view.version.clone(),
                resource_names: view.all_names(),
                type_url,
                response_nonce: view.nonce.clone(),
                error_detail: error,
                ..Default::default()
            })),
            Protocol::Delta => Request::Delta(Box::new(DeltaDiscoveryRequest {
                type_url,
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                initial_resource_versions: if first {
                    view.accounted.iter().map(|(name, version)| (name.clone(), version.to_string())).collect()
                } else {
                    std::collections::BTreeMap::new().into_iter().collect()
                },
                response_nonce: nonce,
                error_detail: error,
                ..Default::default()
            })),
        };
        let doubts = self.doubts.get(&kind).cloned();
        match self.conversation.hear(kind, &request, || doubts) {
            Answer::Nothing => {}
            Answer::Ack { recovered, .. } => {
                if recovered {
                    self.doubts.remove(&kind);
                }
            }
            Answer::Nack { unknown, .. } => {
                self.doubts.insert(kind, unknown);
            }
        }
    }

    fn send(&mut self) -> bool {
        let response = self.conversation.next(&self.world.group(), self.now);
        let sent = response.is_some();
        self.in_flight.extend(response);
        sent
    }

    /// Reads the oldest response; `refused` has a bit for each part of it that is applied nevertheless.
    fn read(&mut self, refused: Option<u8>) {
        let Some(response) = self.in_flight.pop_front() else { return };
        let kind = response.kind;
        let full = self.protocol == Protocol::Sotw && kind.is_full_state();
        let view = self.views.get_mut(&kind).unwrap();
        let mut parts: BTreeMap<String, Option<Version>> = BTreeMap::new();
        if full {
            parts.extend(view.held.keys().map(|name| (name.clone(), None)));
        }
        for resource in &response.resources {
            parts.insert(resource.name.to_string(), Some(resource.version));
        }
        for name in &response.removed {
            assert!(parts.insert(name.to_string(), None).is_none(), "a name is both there and gone");
        }
        for (bit, (name, version)) in parts.into_iter().enumerate() {
            if !view.covers(&name) || refused.is_some_and(|mask| mask & (1 << (bit % 8)) == 0) {
                continue;
            }
            let maps = [Some(&mut view.held), refused.is_none().then_some(&mut view.accounted)];
            for map in maps.into_iter().flatten() {
                match version {
                    Some(version) => drop(map.insert(name.clone(), version)),
                    None => drop(map.remove(&name)),
                }
            }
        }
        view.nonce = response.nonce.to_string();
        let error = refused.map(|_| rpc::Status { code: 13, message: "refused".into(), details: vec![] });
        if error.is_none() {
            view.version = response.version.to_string();
        }
        self.request(kind, vec![], vec![], response.nonce.to_string(), error, false);
    }

    fn reconnect(&mut self) {
        self.conversation = Conversation::new(self.protocol, GATE_TIMEOUT);
        self.in_flight.clear();
        for kind in std::mem::take(&mut self.opened) {
            let view = self.views.get_mut(&kind).unwrap();
            view.nonce.clear();
            let (names, wildcard) = (view.names.clone(), view.wildcard);
            self.want(kind, names, wildcard);
        }
    }

    /// Accepts everything until nothing is left.
    fn quiesce(&mut self) {
        for _ in 0..200 {
            while self.send() {}
            if self.in_flight.is_empty() {
                return;
            }
            self.read(None);
        }
        panic!("it never ends");
    }

    fn check(&self) {
        let group = self.world.group();
        for (kind, view) in &self.views {
            if !self.opened.contains(kind) {
                continue;
            }
            let desired: BTreeMap<String, Version> = group
                .resources(*kind)
                .iter()
                .filter(|resource| view.covers(&resource.name))
                .map(|resource| (resource.name.to_string(), resource.version))
                .collect();
            let mut held = view.held.clone();
            if self.protocol == Protocol::Sotw && !kind.is_full_state() {
                // There is no way to say that such a resource is gone.
                held.retain(|name, _| desired.contains_key(name));
            }
            assert_eq!(held, desired, "{kind}");
        }
    }
}

fn run(protocol: Protocol, events: &[Event]) {
    let mut model = Model::new(protocol);
    for event in events {
        model.step(event);
    }
    model.quiesce();
    // What was refused is made good with the next content that differs.
    for kind in KINDS {
        let view = &model.views[&kind];
        let name = if view.wildcard { "e" } else { view.names.first().map_or("e", |name| name) }.to_owned();
        model.world.set(kind, &name, "final");
    }
    model.quiesce();
    model.check();
    assert!(!model.send(), "nothing is sent after quiescence");
    assert_eq!(model.conversation.deadline(&model.world.group(), model.now), None);
}

#[test]
fn what_a_lost_response_would_have_removed_is_removed_after_a_refusal() {
    let set = |name| Event::Set { kind: 0, name, body: 0 };
    let events = [
        Event::Want { kind: 0, names: 0, wildcard: true },
        set(0),
        set(1),
        Event::Send(1),
        Event::Wait,
        Event::Remove { kind: 0, name: 0 },
        Event::Send(1),
        Event::Refuse { applied: 1 },
        Event::Reconnect,
    ];
    for protocol in [Protocol::Sotw, Protocol::Delta] {
        run(protocol, &events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sotw_client_ends_with_the_snapshot(events in proptest::collection::vec(event(), 0..60)) {
        run(Protocol::Sotw, &events);
    }

    #[test]
    fn a_delta_client_ends_with_the_snapshot(events in proptest::collection::vec(event(), 0..60)) {
        run(Protocol::Delta, &events);
    }
}
