//! Any interleaving of edits, subscriptions, answers and reconnects ends in agreement and silence.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

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
    /// The client sends a request with a nonce that is not the newest, as if it had not read it yet.
    Stale {
        kind: usize,
        back: u8,
        refuses: bool,
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
        3 => (kind.clone(), 0..16_u8, any::<bool>()).prop_map(|(kind, names, wildcard)| Event::Want { kind, names, wildcard }),
        4 => (0..4_u8).prop_map(Event::Send),
        4 => Just(Event::Accept),
        4 => any::<u8>().prop_map(|applied| Event::Refuse { applied }),
        1 => (kind, 1..4_u8, any::<bool>()).prop_map(|(kind, back, refuses)| Event::Stale { kind, back, refuses }),
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
    /// All nonces of this stream, the newest last.
    nonces: Vec<String>,
}

impl View {
    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn all_names(&self) -> Vec<String> {
        self.wildcard.then(|| "*".to_owned()).into_iter().chain(self.names.iter().cloned()).collect()
    }
}

/// Whether all kinds share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Aggregated,
    Separate,
}

struct Model {
    protocol: Protocol,
    service: Service,
    /// Whether the client is one that hears of what does not exist.
    tells_missing: bool,
    /// The stream of each kind; on the aggregated service there is one, under the first kind.
    streams: BTreeMap<Kind, Conversation>,
    world: World,
    group: Arc<Group>,
    now: Instant,
    views: BTreeMap<Kind, View>,
    /// Which kinds were asked for on this stream.
    opened: BTreeSet<Kind>,
    /// With when they were sent.
    in_flight: VecDeque<(Instant, Response)>,
    doubts: BTreeMap<Kind, BTreeSet<Arc<str>>>,
}

impl Model {
    fn new(protocol: Protocol, service: Service, tells_missing: bool) -> Self {
        let mut model = Self {
            protocol,
            service,
            tells_missing,
            streams: BTreeMap::new(),
            world: World::default(),
            group: World::default().group(),
            now: Instant::now(),
            views: KINDS.into_iter().map(|kind| (kind, View::default())).collect(),
            opened: BTreeSet::new(),
            in_flight: VecDeque::new(),
            doubts: BTreeMap::new(),
        };
        model.open_streams();
        model
    }

    fn open_streams(&mut self) {
        let streams = match self.service {
            Service::Aggregated => &KINDS[..1],
            Service::Separate => &KINDS,
        };
        self.streams = streams.iter().map(|kind| (*kind, Conversation::new(self.protocol, GATES))).collect();
        if self.tells_missing {
            self.streams.values_mut().for_each(Conversation::tell_missing);
        }
    }

    fn stream(&mut self, kind: Kind) -> &mut Conversation {
        let kind = if self.service == Service::Aggregated { KINDS[0] } else { kind };
        self.streams.get_mut(&kind).unwrap()
    }

    fn edit(&mut self, change: impl FnOnce(&mut World)) {
        change(&mut self.world);
        self.group = self.world.group();
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Set { kind, name, body } => {
                let (kind, name, body) = (KINDS[*kind], NAMES[*name], *body);
                self.edit(|world| match kind {
                    Kind::Cluster => _ = world.eds(name, &body.to_string()),
                    Kind::Listener | Kind::Route => _ = world.lead(kind, name, &NAMES[..usize::from(body)]),
                    _ => _ = world.set(kind, name, &body.to_string()),
                });
            }
            Event::Remove { kind, name } => {
                self.edit(|world| _ = world.0.remove(&(KINDS[*kind], NAMES[*name].to_owned())));
            }
            Event::Stale { kind, back, refuses } => self.be_stale(KINDS[*kind], usize::from(*back), *refuses),
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
        let (doubts, now) = (self.doubts.get(&kind).cloned(), self.now);
        match self.stream(kind).hear(kind, &request, now, || doubts) {
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

    /// A request that crosses a response on its way.
    fn be_stale(&mut self, kind: Kind, back: usize, refuses: bool) {
        let view = &self.views[&kind];
        let Some(nonce) = view.nonces.iter().rev().nth(back).cloned() else { return };
        let error = refuses.then(|| rpc::Status { code: 13, message: "stale".into(), details: vec![] });
        let newest = std::mem::replace(&mut self.views.get_mut(&kind).unwrap().nonce, nonce.clone());
        self.request(kind, vec![], vec![], nonce, error, false);
        self.views.get_mut(&kind).unwrap().nonce = newest;
    }

    fn send(&mut self) -> bool {
        let response = self.streams.values_mut().find_map(|stream| stream.next(&self.group, self.now));
        let sent = response.is_some();
        self.in_flight.extend(response.map(|response| (self.now, response)));
        sent
    }

    fn deadline(&self) -> Option<Instant> {
        self.streams.values().filter_map(|stream| stream.deadline(&self.group, self.now)).min()
    }

    /// Reads the oldest response; `refused` has a bit for each part of it that is applied nevertheless.
    fn read(&mut self, refused: Option<u8>) {
        let Some((_, response)) = self.in_flight.pop_front() else { return };
        let kind = response.kind;
        let full = self.protocol == Protocol::Sotw && kind.is_full_state();
        let view = self.views.get_mut(&kind).unwrap();
        let mut parts: BTreeMap<String, Option<Version>> = BTreeMap::new();
        if full {
            parts.extend(view.held.keys().map(|name| (name.clone(), None)));
        }
        let names: BTreeSet<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
        assert_eq!(names.len(), response.resources.len(), "a name comes twice");
        for resource in &response.resources {
            parts.insert(resource.name.to_string(), Some(resource.version));
        }
        for name in &response.removed {
            let other = parts.insert(name.to_string(), None).flatten();
            assert!(other.is_none(), "a name is both there and gone");
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
        view.nonces.push(view.nonce.clone());
        let error = refused.map(|_| rpc::Status { code: 13, message: "refused".into(), details: vec![] });
        if error.is_none() {
            view.version = response.version.to_string();
        }
        self.request(kind, vec![], vec![], response.nonce.to_string(), error, false);
    }

    fn reconnect(&mut self) {
        self.open_streams();
        self.in_flight.clear();
        for kind in std::mem::take(&mut self.opened) {
            let view = self.views.get_mut(&kind).unwrap();
            view.nonce.clear();
            view.nonces.clear();
            let (names, wildcard) = (view.names.clone(), view.wildcard);
            self.want(kind, names, wildcard);
        }
    }

    /// Accepts everything until nothing is left, and nothing comes with time.
    fn quiesce(&mut self) {
        for _ in 0..200 {
            while self.send() {}
            if !self.in_flight.is_empty() {
                self.read(None);
            } else if let Some(deadline) = self.deadline() {
                self.now = deadline;
            } else {
                return;
            }
        }
        panic!("it never ends");
    }

    fn check(&self) {
        let group = &self.group;
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
                // An Envoy is not told that such a resource is gone, and nobody is if it is not asked for by name.
                let is_told = |name: &String| self.tells_missing && view.names.contains(name);
                held.retain(|name, _| desired.contains_key(name) || is_told(name));
            }
            assert_eq!(held, desired, "{kind}");
        }
    }
}

/// Plays events; returns what the client holds in the end, which must be what it asks for.
fn run(
    protocol: Protocol,
    service: Service,
    tells_missing: bool,
    events: &[Event],
) -> BTreeMap<Kind, BTreeMap<String, Version>> {
    let mut model = Model::new(protocol, service, tells_missing);
    for event in events {
        model.step(event);
    }
    model.quiesce();
    let refuses = |event: &Event| matches!(event, Event::Refuse { .. } | Event::Stale { refuses: true, .. });
    if !events.iter().any(refuses) {
        model.check();
    }
    // What was refused is made good with the next content that differs.
    for kind in KINDS {
        let view = &model.views[&kind];
        let name = if view.wildcard { "e" } else { view.names.first().map_or("e", |name| name) }.to_owned();
        model.edit(|world| _ = world.set(kind, &name, "final"));
    }
    model.quiesce();
    model.check();
    assert!(!model.send(), "nothing is sent after quiescence");
    assert_eq!(model.deadline(), None);
    model.opened.iter().map(|kind| (*kind, model.views[kind].held.clone())).collect()
}

/// The same in both protocols, with the same end.
fn agree(service: Service, events: &[Event]) {
    let mut ends = [Protocol::Sotw, Protocol::Delta].map(|protocol| run(protocol, service, false, events));
    let [sotw, delta] = &mut ends;
    for (kind, held) in sotw.iter_mut().filter(|(kind, _)| !kind.is_full_state()) {
        // An Envoy is not told that such a resource is gone.
        let delta = delta.get(kind).cloned().unwrap_or_default();
        held.retain(|name, _| delta.contains_key(name));
    }
    assert_eq!(sotw, delta);
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
    for service in [Service::Aggregated, Service::Separate] {
        agree(service, &events);
    }
}

/// Cases that failed once are kept in `model.regressions` and tried first.
fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/src/xds/tests/model.regressions"));
    ProptestConfig { cases: 5_000, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn on_one_stream_both_protocols_end_with_the_snapshot(events in proptest::collection::vec(event(), 0..60)) {
        agree(Service::Aggregated, &events);
    }

    #[test]
    fn on_separate_streams_both_protocols_end_with_the_snapshot(events in proptest::collection::vec(event(), 0..60)) {
        agree(Service::Separate, &events);
    }

    #[test]
    fn x3_a_client_that_hears_of_what_is_missing_ends_with_the_snapshot(
        events in proptest::collection::vec(event(), 0..60)
    ) {
        run(Protocol::Sotw, Service::Aggregated, true, &events);
        run(Protocol::Sotw, Service::Separate, true, &events);
    }
}

/// One edit of a topology in which nothing dangles: which cluster each listener and each route table leads to.
#[derive(Clone, Debug)]
enum Step {
    Edit {
        listeners: [Option<usize>; 2],
        routes: [Option<usize>; 2],
        body: u8,
    },
    Send(u8),
    Accept,
    /// Only in the incremental protocol does a client say what it holds.
    Reconnect,
    /// Not so long that anything goes on without an answer.
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let target = || prop::array::uniform2(prop::option::weighted(0.8, 0..NAMES.len()));
    prop_oneof![
        3 => (target(), target(), 0..3_u8).prop_map(|(listeners, routes, body)| Step::Edit { listeners, routes, body }),
        6 => (1..4_u8).prop_map(Step::Send),
        6 => Just(Step::Accept),
        1 => Just(Step::Reconnect),
        2 => (1..8_u8).prop_map(Step::Pass),
    ]
}

/// A proxy that accepts everything, and has just joined.
fn proxy(protocol: Protocol) -> Model {
    let mut model = Model::new(protocol, Service::Aggregated, false);
    let all: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    for kind in KINDS {
        let names = if kind.is_full_state() { BTreeSet::new() } else { all.clone() };
        model.want(kind, names, kind.is_full_state());
    }
    model.quiesce();
    model
}

impl Model {
    /// Whether it has a listener, and both route tables.
    fn holds_some_of_all(&self) -> bool {
        !self.views[&Kind::Listener].held.is_empty() && self.views[&Kind::Route].held.len() == 2
    }

    /// Clusters that are led to and are not there. Tables that no listener uses lead nowhere.
    fn dangling(&self, unused: &BTreeSet<&str>) -> Vec<String> {
        let clusters = &self.views[&Kind::Cluster].held;
        let mut missing = Vec::new();
        for kind in [Kind::Listener, Kind::Route] {
            let held = self.views[&kind].held.iter();
            for (name, version) in held.filter(|(name, _)| kind == Kind::Listener || !unused.contains(name.as_str())) {
                // What it leads to is all that it says.
                let leads = NAMES.into_iter().find(|cluster| Version::of(cluster.as_bytes()) == *version);
                missing.extend(
                    leads.filter(|cluster| !clusters.contains_key(*cluster)).map(|it| format!("{kind} {name} -> {it}")),
                );
            }
        }
        missing
    }
}

fn never_dangles(protocol: Protocol, steps: &[Step]) {
    let mut model = proxy(protocol);
    // In the state of the world there is no way to say that a table is gone: it is of no use until it comes again.
    let mut unused: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        match step {
            Step::Edit { listeners, routes, body } => model.edit(|world| {
                *world = World::default();
                for (kind, targets) in [(Kind::Listener, listeners), (Kind::Route, routes)] {
                    for (name, target) in NAMES.into_iter().zip(targets) {
                        let Some(target) = target.map(|target| NAMES[target]) else { continue };
                        world.lead(kind, name, &[target]).eds(target, &body.to_string());
                        world.set(Kind::Endpoint, target, "1");
                    }
                }
            }),
            Step::Send(count) => (0..*count).for_each(|_| _ = model.send()),
            Step::Accept => {
                let comes = model.in_flight.front().filter(|(_, response)| response.kind == Kind::Route);
                let comes = comes.iter().flat_map(|(_, response)| &response.resources);
                let names: BTreeSet<String> = comes.map(|table| table.name.to_string()).collect();
                unused.retain(|name| !names.contains(*name));
                model.read(None);
            }
            // What a client has nothing of is answered at once when it is asked for.
            Step::Reconnect if protocol == Protocol::Delta && model.holds_some_of_all() => model.reconnect(),
            Step::Reconnect => {}
            Step::Pass(seconds) => {
                let now = model.now + Duration::from_secs((*seconds).into());
                let waits_too_long = model.in_flight.iter().any(|(sent_at, _)| *sent_at + GATE_TIMEOUT <= now);
                model.now = if waits_too_long { model.now } else { now };
            }
        }
        if protocol == Protocol::Sotw {
            unused.extend(NAMES.into_iter().filter(|name| model.group.get(Kind::Route, name).is_none()));
        }
        assert_eq!(model.dangling(&unused), NOTHING, "{protocol:?} after {step:?}");
    }
    while model.send() || !model.in_flight.is_empty() || model.deadline().is_some() {
        model.read(None);
        if let Some(deadline) = model.deadline().filter(|_| model.in_flight.is_empty()) {
            model.now = deadline;
        }
        assert_eq!(model.dangling(&unused), NOTHING, "{protocol:?} at the end");
    }
    model.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..config() })]

    #[test]
    fn o8_whatever_the_edits_nothing_that_a_proxy_holds_leads_nowhere(steps in proptest::collection::vec(step(), 0..40)) {
        never_dangles(Protocol::Sotw, &steps);
        never_dangles(Protocol::Delta, &steps);
    }
}
