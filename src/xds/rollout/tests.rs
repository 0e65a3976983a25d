use std::collections::BTreeMap;

use super::trial::{Proxy, Refusal, Trials};
use super::*;
use crate::envoy::Kind;
use crate::snapshot::{DEFAULT_GROUP, Origin, Resource, Selector, Selectors, Snapshot, Traits};

const TIMEOUT: Duration = Duration::from_secs(30);
const CANARY: Policy = Policy::Canary { first: Share::Count(1), timeout: TIMEOUT };

fn fields(node: &str) -> NodeFields {
    NodeFields { id: node.into(), ..NodeFields::default() }
}

/// Proxies, and the clock.
struct Fleet {
    trials: Trials,
    now: Instant,
    streams: u64,
    joined: BTreeMap<&'static str, (Proxy, u64)>,
    last: Option<Arc<Snapshot>>,
}

impl Fleet {
    fn new(policy: Policy, nodes: &[&'static str]) -> Self {
        let trials = Trials::new(policy);
        let mut fleet = Self { trials, now: Instant::now(), streams: 0, joined: BTreeMap::new(), last: None };
        for node in nodes {
            fleet.join(node);
        }
        fleet
    }

    fn join(&mut self, node: &'static str) {
        self.streams += 1;
        let proxy: Proxy = (node.into(), self.streams.to_string().into());
        self.trials.join(&proxy, self.streams, &fields(node), self.now);
        self.joined.insert(node, (proxy, self.streams));
    }

    fn leave(&mut self, node: &str) {
        let (proxy, stream) = self.joined.remove(node).unwrap();
        self.trials.leave(&proxy, stream, self.now);
    }

    /// Publishes one cluster for each group; nodes belong to the group that has their name, or to the default one.
    fn publish(&mut self, bodies: &[(&str, &'static str)]) {
        let origin = Origin { file: "t.yaml".into(), line: 1, column: 1 };
        let resource =
            |body: &str| Resource::new(Kind::Cluster, "c", body.as_bytes(), origin.clone(), Traits::default());
        let groups = bodies.iter().map(|(group, body)| (Arc::from(*group), vec![resource(body)])).collect();
        let own = bodies.iter().filter(|(group, _)| *group != DEFAULT_GROUP);
        let own = own.map(|(group, _)| (Arc::from(*group), Selector::of_id(group)));
        let selectors: Selectors = own.chain([(DEFAULT_GROUP.into(), Selector::catch_all())]).collect();
        let (snapshot, _) = Snapshot::next(self.last.as_deref(), groups, selectors).unwrap();
        let snapshot = Arc::new(snapshot);
        self.last = Some(Arc::clone(&snapshot));
        self.trials.offer(snapshot, self.now);
    }

    /// The revision that a node is served, and the number of the trial if it goes first.
    fn served(&self, node: &str) -> (Option<u64>, Option<u64>) {
        let View { snapshot, trial } = self.trials.view(&self.joined[node].0);
        (snapshot.map(|snapshot| snapshot.revision()), trial)
    }

    fn revisions(&self) -> Vec<Option<u64>> {
        self.joined.keys().map(|node| self.served(node).0).collect()
    }

    fn pass(&mut self, node: &str) {
        let (proxy, stream) = self.joined[node].clone();
        let trial = self.served(node).1.expect("only who goes first can pass");
        self.trials.pass(&proxy, stream, trial, true);
    }

    fn refuse(&mut self, node: &str) {
        let trial = self.served(node).1.expect("only who goes first can refuse");
        let refusal = Refusal {
            node: node.into(),
            group: self.last.as_ref().unwrap().group_of(&fields(node)).unwrap().name().clone(),
            message: "no".into(),
            origins: vec!["t.yaml:1:1".into()],
        };
        self.trials.refuse(trial, refusal);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.trials.tick(self.now);
    }

    /// A fleet that has taken a first snapshot.
    fn settled(policy: Policy, nodes: &[&'static str]) -> Self {
        let mut fleet = Self::new(policy, nodes);
        fleet.publish(&[(DEFAULT_GROUP, "1")]);
        for node in nodes {
            if fleet.served(node).1.is_some() {
                fleet.pass(node);
            }
        }
        assert_eq!(fleet.revisions(), vec![Some(1); nodes.len()]);
        fleet
    }

    fn causes(&self) -> Vec<Cause> {
        self.trials.status("").quarantined.iter().map(|known| known.cause).collect()
    }
}

#[test]
fn a_share_is_a_number_or_a_percentage_and_never_nobody() {
    let cases = [("1", Share::Count(1)), ("25%", Share::Percent(25)), ("100%", Share::Percent(100))];
    for (text, share) in cases {
        assert_eq!(text.parse(), Ok(share));
    }
    for text in ["0", "0%", "101%", "-1", "some", "%", ""] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
    let of = |share: &str, all| share.parse::<Share>().unwrap().of(all);
    assert_eq!([of("2", 10), of("2", 1), of("10%", 5), of("10%", 11), of("1%", 0)], [2, 1, 1, 2, 1]);
}

#[test]
fn one_goes_first_and_the_others_follow_once_it_has_passed() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b", "c"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    assert_eq!(fleet.revisions(), [Some(2), Some(1), Some(1)]);
    // Who comes meanwhile gets what is proven.
    fleet.join("d");
    assert_eq!(fleet.served("d"), (Some(1), None));
    fleet.pass("a");
    assert_eq!(fleet.revisions(), [Some(2); 4]);
    assert_eq!(fleet.trials.status("").promoted, Some(2));
    assert_eq!(fleet.trials.deadline(), None);
    assert_eq!(fleet.trials.take_ended(), ["promoted"; 2]);
}

#[test]
fn what_one_refuses_the_others_never_see_and_it_is_not_tried_again() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b", "c"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    fleet.refuse("a");
    assert_eq!(fleet.revisions(), [Some(1); 3]);
    let status = fleet.trials.status("");
    assert_eq!((status.held, status.promoted, status.trial), (true, Some(1), None));
    let [known] = &status.quarantined[..] else { panic!("one is known") };
    assert_eq!((known.revision, known.cause, known.node.as_str()), (2, Cause::Nack, "a"));
    assert_eq!(known.origins, ["t.yaml:1:1"]);

    // Back to what was there before is no trial; the refused content again is none either; mended it is.
    fleet.publish(&[(DEFAULT_GROUP, "1")]);
    assert_eq!((fleet.revisions(), fleet.trials.is_held()), (vec![Some(3); 3], false));
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    assert_eq!((fleet.revisions(), fleet.trials.is_held()), (vec![Some(3); 3], true));
    fleet.publish(&[(DEFAULT_GROUP, "mended")]);
    assert_eq!(fleet.revisions(), [Some(5), Some(3), Some(3)]);
    fleet.pass("a");
    assert_eq!(fleet.revisions(), [Some(5); 3]);
    assert_eq!(fleet.trials.take_ended(), ["promoted", "nack", "promoted"]);
}

#[test]
fn a_refusal_of_an_earlier_trial_says_nothing_of_this_one() {
    let mut fleet = Fleet::settled(CANARY, &["a"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    let before = fleet.served("a").1.unwrap();
    fleet.publish(&[(DEFAULT_GROUP, "3")]);
    assert_eq!(fleet.trials.take_ended(), ["promoted", "superseded"]);
    let refusal = Refusal { node: "a".into(), group: DEFAULT_GROUP.into(), message: String::new(), origins: vec![] };
    assert!(!fleet.trials.refuse(before, refusal));
    let (proxy, stream) = fleet.joined["a"].clone();
    fleet.trials.pass(&proxy, stream, before, true);
    assert_eq!(fleet.trials.status("").promoted, Some(1));
    fleet.pass("a");
    assert_eq!(fleet.trials.status("").promoted, Some(3));
}

#[test]
fn whoever_does_not_take_it_in_time_has_refused_it() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    assert_eq!(fleet.trials.deadline(), Some(fleet.now + TIMEOUT));
    // A new edit starts the time anew.
    fleet.wait(TIMEOUT / 2);
    fleet.publish(&[(DEFAULT_GROUP, "3")]);
    fleet.wait(TIMEOUT / 2);
    assert_eq!(fleet.revisions(), [Some(3), Some(1)]);
    fleet.wait(TIMEOUT / 2);
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(1); 2], vec![Cause::Timeout]));
}

#[test]
fn a_lost_proxy_has_time_to_come_back_before_another_takes_its_place() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    fleet.leave("a");
    assert_eq!(fleet.revisions(), [Some(1)]);
    fleet.join("a");
    assert_eq!(fleet.revisions(), [Some(2), Some(1)]);
    fleet.leave("a");
    fleet.wait(Duration::from_secs(5));
    assert_eq!(fleet.revisions(), [Some(2)], "b goes first now");
    fleet.join("a");
    assert_eq!(fleet.revisions(), [Some(1), Some(2)]);
    // A snapshot that fells proxies is not passed on for ever, however many there are.
    fleet.leave("b");
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(1)], vec![Cause::Lost]));
}

#[test]
fn one_loss_of_each_of_several_is_no_refusal() {
    let policy = Policy::Canary { first: Share::Count(3), timeout: TIMEOUT };
    let mut fleet = Fleet::settled(policy, &["a", "b", "c", "d"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    for node in ["a", "b", "c"] {
        fleet.leave(node);
    }
    fleet.now += Duration::from_secs(1);
    for node in ["a", "b", "c"] {
        fleet.join(node);
    }
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(2), Some(2), Some(2), Some(1)], vec![]));
    // Whoever comes back has all the time again.
    assert_eq!(fleet.trials.deadline(), Some(fleet.now + TIMEOUT));
}

#[test]
fn a_group_whose_only_proxy_was_felled_holds_the_snapshot_back_from_all() {
    let mut fleet = Fleet::new(CANARY, &["a", "x"]);
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "1")]);
    fleet.pass("a");
    fleet.pass("x");
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "fells")]);
    fleet.leave("x");
    fleet.wait(Duration::from_secs(10));
    assert_eq!((fleet.trials.status("").promoted, fleet.trials.is_trying()), (Some(1), true));
    fleet.join("x");
    assert_eq!(fleet.served("x").0, Some(2));
    fleet.leave("x");
    fleet.wait(TIMEOUT);
    assert_eq!(fleet.causes(), [Cause::Timeout]);
    fleet.join("x");
    assert_eq!(fleet.served("x"), (Some(1), None));
}

#[test]
fn what_one_group_refuses_is_not_tried_again_because_another_changes() {
    let mut fleet = Fleet::new(CANARY, &["a", "x"]);
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "1")]);
    fleet.pass("a");
    fleet.pass("x");
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "bad")]);
    fleet.refuse("x");
    fleet.publish(&[(DEFAULT_GROUP, "2"), ("x", "bad")]);
    assert_eq!((fleet.revisions(), fleet.trials.is_held()), (vec![Some(1), Some(1)], true));
    fleet.publish(&[(DEFAULT_GROUP, "2"), ("x", "1")]);
    assert_eq!((fleet.revisions(), fleet.trials.is_held()), (vec![Some(4), Some(1)], false));
}

#[test]
fn an_operator_can_have_it_tried_again() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    fleet.wait(TIMEOUT);
    let digest = fleet.trials.status("").quarantined[0].digest;
    assert!(!fleet.trials.release(Version::of(b"other")));
    assert!(fleet.trials.release(digest));
    let snapshot = fleet.last.clone().unwrap();
    fleet.trials.offer(snapshot, fleet.now);
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(2), Some(1)], vec![]));
}

#[test]
fn each_group_that_gets_something_else_has_a_proxy_of_its_own_in_front() {
    let mut fleet = Fleet::new(CANARY, &["a", "b", "x"]);
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "1")]);
    assert_eq!(fleet.revisions(), [Some(1), None, Some(1)], "there is nothing proven yet");
    fleet.pass("a");
    assert_eq!(fleet.served("b").0, None);
    fleet.pass("x");
    assert_eq!(fleet.revisions(), [Some(1); 3]);
    // A group of one is its own canary, and those whose content stays wait for nobody.
    fleet.publish(&[(DEFAULT_GROUP, "1"), ("x", "2")]);
    assert_eq!(fleet.trials.status("").trial.unwrap().canaries.len(), 1);
    assert_eq!(fleet.revisions(), [Some(1), Some(1), Some(2)]);
    fleet.pass("x");
    assert_eq!(fleet.revisions(), [Some(2); 3]);
}

#[test]
fn without_proxies_a_snapshot_waits_for_the_first() {
    let mut fleet = Fleet::new(CANARY, &[]);
    fleet.publish(&[(DEFAULT_GROUP, "1")]);
    assert_eq!(fleet.trials.status("").promoted, None);
    fleet.join("a");
    fleet.join("b");
    assert_eq!(fleet.revisions(), [Some(1), None]);
    fleet.refuse("a");
    assert_eq!(fleet.revisions(), [None, None], "they keep what they have");
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    fleet.pass("a");
    assert_eq!(fleet.revisions(), [Some(2); 2]);
}

#[test]
fn a_proxy_passes_on_all_its_streams() {
    let mut fleet = Fleet::settled(CANARY, &["a"]);
    let proxy = fleet.joined["a"].0.clone();
    fleet.trials.join(&proxy, 100, &fields("a"), fleet.now);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    fleet.pass("a");
    assert_eq!(fleet.trials.status("").promoted, Some(1));
    let trial = fleet.served("a").1.unwrap();
    fleet.trials.pass(&proxy, 100, trial, true);
    assert_eq!(fleet.trials.status("").promoted, Some(2));
}

#[test]
fn several_can_go_first() {
    let policy = Policy::Canary { first: Share::Percent(50), timeout: TIMEOUT };
    let mut fleet = Fleet::settled(policy, &["a", "b", "c", "d"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    assert_eq!(fleet.revisions(), [Some(2), Some(2), Some(1), Some(1)]);
    fleet.pass("a");
    assert_eq!(fleet.revisions(), [Some(2), Some(2), Some(1), Some(1)]);
    fleet.pass("b");
    assert_eq!(fleet.revisions(), [Some(2); 4]);
}

#[test]
fn with_rollback_all_get_it_and_all_go_back() {
    let mut fleet = Fleet::settled(Policy::Rollback, &["a", "b"]);
    fleet.publish(&[(DEFAULT_GROUP, "2")]);
    assert_eq!(fleet.revisions(), [Some(2); 2]);
    fleet.pass("a");
    fleet.wait(TIMEOUT * 10);
    fleet.join("c");
    assert_eq!(fleet.revisions(), [Some(2); 3], "there is no deadline");
    fleet.refuse("b");
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(1); 3], vec![Cause::Nack]));
    fleet.publish(&[(DEFAULT_GROUP, "3")]);
    for node in ["a", "b"] {
        fleet.pass(node);
        assert_eq!(fleet.trials.status("").promoted, Some(1));
    }
    // Who leaves need not be waited for.
    fleet.leave("c");
    assert_eq!(fleet.trials.status("").promoted, Some(3));
}

#[test]
fn with_rollback_and_nothing_to_go_back_to_a_refusal_changes_nothing() {
    let mut fleet = Fleet::new(Policy::Rollback, &["a", "b"]);
    fleet.publish(&[(DEFAULT_GROUP, "1")]);
    fleet.refuse("a");
    assert_eq!((fleet.revisions(), fleet.causes()), (vec![Some(1); 2], vec![]));
}

#[test]
fn a_moved_line_is_no_new_trial() {
    let mut fleet = Fleet::settled(CANARY, &["a", "b"]);
    let moved = |fleet: &Fleet| {
        let origin = Origin { file: "t.yaml".into(), line: 9, column: 1 };
        let resource = Resource::new(Kind::Cluster, "c", b"1", origin, Traits::default());
        let groups = BTreeMap::from([(DEFAULT_GROUP.into(), vec![resource])]);
        let selectors = [(DEFAULT_GROUP.into(), Selector::catch_all())].into_iter().collect();
        Arc::new(Snapshot::next(fleet.last.as_deref(), groups, selectors).unwrap().0)
    };
    let snapshot = moved(&fleet);
    fleet.trials.offer(Arc::clone(&snapshot), fleet.now);
    assert!(!fleet.trials.is_trying());
    let View { snapshot: served, .. } = fleet.trials.view(&fleet.joined["b"].0);
    assert!(Arc::ptr_eq(&served.unwrap(), &snapshot), "refusals are traced to today's line");
}
