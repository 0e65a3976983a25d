//! Statements on what waits for what: add before use, remove last, and never without the client's own word.

use super::*;
use crate::xds::gate::{Hold, Waiting};

const PROTOCOLS: [Protocol; 2] = [Protocol::Sotw, Protocol::Delta];

/// A client that holds one cluster, a listener, and routes that lead to the cluster.
fn start(protocol: Protocol) -> Talk {
    let mut talk = Talk::new(protocol, |world| {
        world.eds("c1", "1").set(Kind::Endpoint, "c1", "1").set(Kind::Listener, "l", "1");
        world.lead(Kind::Route, "r", &["c1"]);
    });
    talk.ask(Kind::Cluster, &[]).settle();
    talk.ask(Kind::Endpoint, &["c1"]).settle();
    talk.ask(Kind::Listener, &[]).settle();
    talk.ask(Kind::Route, &["r"]).settle();
    talk
}

/// One cluster takes the place of another, and the routes follow.
fn replace(world: &mut World) {
    world.eds("c2", "1").set(Kind::Endpoint, "c2", "1").lead(Kind::Route, "r", &["c2"]);
    world.remove(Kind::Cluster, "c1").remove(Kind::Endpoint, "c1");
}

fn holds(talk: &Talk) -> Vec<(Kind, Hold)> {
    let waiting = talk.conversation.waiting(&talk.group, talk.now);
    waiting.into_iter().map(|Waiting { kind, hold, .. }| (kind, hold)).collect()
}

fn answers(kinds: &[Kind]) -> Hold {
    Hold::Answers(kinds.iter().copied().collect())
}

fn removal(kinds: &[Kind]) -> Hold {
    Hold::Removal(kinds.iter().copied().collect())
}

#[test]
fn o1_o3_o8_a_cluster_is_replaced_without_a_moment_in_which_routes_lead_nowhere() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(replace);
        let both = if protocol == Protocol::Sotw { "CDS c1 c2" } else { "CDS c2" };
        assert_eq!(talk.drain(), [both], "{protocol:?}");
        let with_clusters = [
            (Kind::Cluster, answers(&[Kind::Cluster])),
            (Kind::Endpoint, removal(&[Kind::Cluster, Kind::Route])),
            (Kind::Route, answers(&[Kind::Cluster])),
        ];
        assert_eq!(holds(&talk), with_clusters, "{protocol:?}");

        // The client asks for endpoints, which never wait, and answers for its clusters once they are warm.
        talk.ask(Kind::Endpoint, &["c1", "c2"]);
        assert_eq!(talk.drain(), ["EDS c2"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        assert_eq!(talk.drain(), NOTHING, "{protocol:?}: endpoints are not answered yet");
        assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
        assert_eq!(talk.drain(), ["RDS r"], "{protocol:?}");
        assert_eq!(holds(&talk)[0], (Kind::Cluster, removal(&[Kind::Route])), "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Route), Answer::Ack { .. }));
        let last = if protocol == Protocol::Sotw { vec!["CDS c2"] } else { vec!["CDS -c1"] };
        assert_eq!(talk.drain(), last, "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        let last = if protocol == Protocol::Sotw { vec![] } else { vec!["EDS -c1"] };
        assert_eq!(talk.settle(), last, "{protocol:?}");
        assert!(talk.conversation.is_settled(&talk.group), "{protocol:?}");
        assert_eq!(holds(&talk), [], "{protocol:?}");
    }
}

#[test]
fn o2_o3_endpoints_and_secrets_go_while_clusters_are_not_answered() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.ask(Kind::Secret, &["s"]).settle();
        talk.publish(|world| {
            world.eds("c1", "2");
        });
        assert_eq!(talk.drain(), ["CDS c1", "EDS c1"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
        talk.publish(|world| {
            world.set(Kind::Endpoint, "c1", "2").set(Kind::Secret, "s", "1").set(Kind::Listener, "l", "2");
        });
        assert_eq!(talk.drain(), ["EDS c1", "SDS s"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
        assert_eq!(talk.drain(), NOTHING);
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        assert_eq!(talk.drain(), ["LDS l"], "{protocol:?}: it does not wait for secrets");
    }
}

#[test]
fn o7_a_changed_cluster_or_listener_brings_neither_secrets_nor_routes() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Secret, "s", "1");
        });
        talk.ask(Kind::Secret, &["s"]).settle();
        talk.publish(|world| {
            world.eds("c1", "2").set(Kind::Listener, "l", "2");
        });
        assert_eq!(talk.settle(), ["CDS c1", "EDS c1", "LDS l"], "{protocol:?}");
    }
}

#[test]
fn o10_changes_go_on_after_the_timeout_and_removals_never_do() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(replace).drain();
        talk.now += GATE_TIMEOUT;
        assert_eq!(talk.drain(), ["RDS r"], "{protocol:?}");
        assert!(talk.last[&Kind::Route].impatient, "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Route), Answer::Ack { .. }));
        for _ in 0..3 {
            talk.now += GATE_TIMEOUT;
            assert_eq!(talk.drain(), NOTHING, "{protocol:?}");
        }
        assert_eq!(holds(&talk)[0], (Kind::Cluster, removal(&[Kind::Cluster])), "{protocol:?}");
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), None);
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        let gone = if protocol == Protocol::Sotw { "CDS c2" } else { "CDS -c1" };
        assert_eq!(talk.settle()[0], gone, "{protocol:?}");
    }
}

#[test]
fn o10_a_changed_listener_has_time_to_drain_before_its_clusters_go() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Listener, "l", "2").remove(Kind::Cluster, "c1").remove(Kind::Endpoint, "c1");
            world.lead(Kind::Route, "r", &[]);
        });
        assert_eq!(talk.drain(), ["LDS l"], "{protocol:?}");
        talk.now += GATE_TIMEOUT / 2;
        assert!(matches!(talk.ack(Kind::Listener), Answer::Ack { altered: true, .. }));
        assert_eq!(talk.settle(), ["RDS r"], "{protocol:?}");
        assert_eq!(holds(&talk)[0], (Kind::Cluster, Hold::Grace), "{protocol:?}");
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), Some(talk.now + GRACE));
        talk.now += GRACE;
        let gone = if protocol == Protocol::Sotw { "CDS" } else { "CDS -c1" };
        assert_eq!(talk.settle()[0], gone, "{protocol:?}");

        // A new listener leads nowhere yet.
        talk.publish(|world| {
            world.eds("c3", "1");
        });
        talk.settle();
        talk.publish(|world| {
            world.set(Kind::Listener, "new", "1").remove(Kind::Cluster, "c3");
        });
        let gone = if protocol == Protocol::Sotw { "CDS" } else { "CDS -c3" };
        assert_eq!(talk.settle().last().unwrap(), gone, "{protocol:?}");
    }
}

#[test]
fn o10_a_client_that_names_its_clusters_has_time_to_take_new_routes_into_use() {
    for protocol in PROTOCOLS {
        let mut talk = Talk::new(protocol, |world| {
            world.eds("c1", "1").set(Kind::Endpoint, "c1", "1").lead(Kind::Route, "r", &["c1"]);
        });
        talk.ask(Kind::Route, &["r"]).settle();
        talk.ask(Kind::Cluster, &["c1"]).settle();
        talk.publish(replace);
        assert_eq!(talk.settle(), ["RDS r"], "{protocol:?}");
        assert_eq!(holds(&talk), [(Kind::Cluster, Hold::Grace)], "{protocol:?}");
        let both = if protocol == Protocol::Sotw { "CDS c1 c2" } else { "CDS c2" };
        assert_eq!(talk.ask(Kind::Cluster, &["c1", "c2"]).settle(), [both], "{protocol:?}");
        // Once it leads there, it no longer asks for the old one.
        match protocol {
            Protocol::Sotw => talk.want(Kind::Cluster, &["c2"]),
            Protocol::Delta => talk.amend(Kind::Cluster, &[], &["c1"]),
        };
        talk.now += GRACE;
        assert_eq!(talk.settle(), NOTHING, "{protocol:?}");
    }
}

#[test]
fn listeners_come_and_go_in_one_response() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Listener, "b", "1").remove(Kind::Listener, "l");
        });
        let both = if protocol == Protocol::Sotw { "LDS b" } else { "LDS b -l" };
        assert_eq!(talk.settle(), [both], "{protocol:?}");
    }
}

#[test]
fn what_a_client_asks_for_first_is_answered_whatever_else_is_under_way() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.eds("c2", "1").lead(Kind::Route, "r2", &["c2"]).lead(Kind::Route, "r", &["c2"]);
        });
        talk.drain();
        talk.ask(Kind::Route, &["r", "r2"]);
        assert_eq!(talk.drain(), ["RDS r2"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        assert!(matches!(talk.ack(Kind::Route), Answer::Ack { .. }));
        assert_eq!(talk.settle(), ["RDS r"], "{protocol:?}");
    }
}

#[test]
fn newer_snapshots_join_the_step_that_waits() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(replace).drain();
        // Back again before the routes moved: what was to go stays, and what was added goes.
        talk.publish(|world| {
            world.eds("c1", "1").set(Kind::Endpoint, "c1", "1").lead(Kind::Route, "r", &["c1"]);
            world.remove(Kind::Cluster, "c2").remove(Kind::Endpoint, "c2");
        });
        assert_eq!(talk.drain(), NOTHING, "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        let gone = if protocol == Protocol::Sotw { "CDS c1" } else { "CDS -c2" };
        assert_eq!(talk.settle(), [gone], "{protocol:?}: routes never changed for the client");
    }
}

#[test]
fn what_is_to_go_is_as_the_client_last_took_it() {
    let mut talk = start(Protocol::Sotw);
    let taken = talk.version(Kind::Cluster, "c1");
    talk.publish(|world| {
        world.eds("c1", "refused");
    });
    talk.drain();
    assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
    talk.publish(replace);
    assert_eq!(talk.drain()[0], "CDS c1 c2");
    let sent = &talk.last[&Kind::Cluster];
    assert_eq!(sent.resources[0].version.to_string(), taken);
    assert_ne!(sent.version, talk.group.resources(Kind::Cluster).version(), "it is another set");
}

#[test]
fn n1_nothing_new_leads_to_a_cluster_that_was_refused_and_the_rest_goes_on() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.ask(Kind::Route, &["r", "other"]).settle();
        talk.publish(|world| {
            world.set(Kind::Cluster, "bad", "1").lead(Kind::Listener, "l", &["bad"]);
            world.lead(Kind::Route, "r", &["bad", "c1"]);
        });
        talk.drain();
        assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
        assert_eq!(talk.drain(), NOTHING, "{protocol:?}");
        let refused = Hold::Refused(["bad".into()].into());
        assert_eq!(holds(&talk), [(Kind::Listener, refused.clone()), (Kind::Route, refused)], "{protocol:?}");
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), None);

        // What does not lead there is not held back.
        talk.publish(|world| {
            world.lead(Kind::Route, "other", &["c1"]);
        });
        assert_eq!(talk.drain(), ["RDS other"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Route), Answer::Ack { .. }));

        // A listener that is held back stands in its set as the client has it.
        talk.publish(|world| {
            world.set(Kind::Listener, "m", "1");
        });
        let sent = if protocol == Protocol::Sotw { "LDS l m" } else { "LDS m" };
        assert_eq!(talk.drain(), [sent], "{protocol:?}");
        let old = talk.last[&Kind::Listener].resources.iter().find(|listener| &*listener.name == "l");
        assert!(old.is_none_or(|old| old.version == Version::of(b"1")), "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Listener), Answer::Ack { .. }));

        // Mended, all of it goes, in order.
        talk.publish(|world| {
            world.set(Kind::Cluster, "bad", "mended");
        });
        // A refused full set leaves open which of its clusters the client replaced.
        let endpoints: &[&str] = if protocol == Protocol::Sotw { &["EDS"] } else { &[] };
        let kinds: Vec<_> = talk.settle().iter().map(|text| text[..3].to_owned()).collect();
        assert_eq!(kinds, [&["CDS"], endpoints, &["LDS", "RDS"]].concat(), "{protocol:?}");
        assert!(talk.conversation.is_settled(&talk.group), "{protocol:?}");
    }
}

#[test]
fn n5_a_first_refusal_that_names_one_cluster_keeps_nothing_from_the_others() {
    for protocol in PROTOCOLS {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::Cluster, "bad", "1").set(Kind::Cluster, "good", "1");
            world.lead(Kind::Listener, "l", &["good"]).lead(Kind::Listener, "m", &["bad"]);
        });
        talk.ask(Kind::Cluster, &[]);
        assert_eq!(talk.drain(), ["CDS bad good"], "{protocol:?}");
        // Its message is the name of the bad one.
        assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
        assert_eq!(talk.ask(Kind::Listener, &[]).settle(), ["LDS l m"], "{protocol:?}: what it asks for first it gets");
        talk.publish(|world| {
            world.lead(Kind::Listener, "l", &["good", "good"]).lead(Kind::Listener, "m", &["bad", "bad"]);
        });
        let sent = if protocol == Protocol::Sotw { "LDS l m" } else { "LDS l" };
        assert_eq!(talk.drain(), [sent], "{protocol:?}");
        let held = talk.last[&Kind::Listener].resources.iter().find(|listener| &*listener.name == "m");
        assert!(held.is_none_or(|held| held.version == Version::of(b"bad")), "{protocol:?}");
    }
}

#[test]
fn a_listener_stays_while_the_one_that_takes_its_place_is_held_back() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Cluster, "bad", "1").lead(Kind::Listener, "new", &["bad"]).remove(Kind::Listener, "l");
        });
        talk.drain();
        assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
        assert_eq!(talk.drain(), NOTHING, "{protocol:?}");
        talk.publish(|world| {
            world.set(Kind::Cluster, "bad", "mended");
        });
        let both = if protocol == Protocol::Sotw { "LDS new" } else { "LDS new -l" };
        assert_eq!(talk.settle().last().unwrap(), both, "{protocol:?}");
    }
}

/// An Envoy does not answer clusters while one of them warms, and one may never be warm.
#[test]
fn o10_a_cluster_that_was_never_answered_can_be_taken_away_again() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Cluster, "cold", "1");
        });
        talk.drain();
        talk.publish(|world| {
            world.remove(Kind::Cluster, "cold");
        });
        assert_eq!(talk.drain(), NOTHING, "{protocol:?}");
        talk.now += GATE_TIMEOUT;
        let gone = if protocol == Protocol::Sotw { "CDS c1" } else { "CDS -cold" };
        assert_eq!(talk.drain(), [gone], "{protocol:?}");
    }
}

#[test]
fn o10_clusters_that_change_again_and_again_hold_back_the_rest_only_once() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.publish(|world| {
            world.set(Kind::Cluster, "static", "1").set(Kind::Listener, "l", "2");
        });
        talk.drain();
        talk.now += GATE_TIMEOUT;
        talk.publish(|world| {
            world.set(Kind::Cluster, "static", "2");
        });
        let kinds: Vec<_> = talk.drain().iter().map(|text| text[..3].to_owned()).collect();
        assert_eq!(kinds, ["CDS", "LDS"], "{protocol:?}");
    }
}

#[test]
fn o8_a_client_that_comes_back_gets_a_change_in_the_same_order() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.eds("c1", "1").set(Kind::Endpoint, "c1", "1").set(Kind::Listener, "l", "1").lead(
            Kind::Route,
            "r",
            &["c1"],
        );
    });
    let version = |talk: &Talk, kind, name| talk.version(kind, name);
    let held: Vec<_> = [(Kind::Cluster, "c1"), (Kind::Endpoint, "c1"), (Kind::Listener, "l"), (Kind::Route, "r")]
        .map(|(kind, name)| (kind, name, version(&talk, kind, name)))
        .into();
    talk.publish(replace);
    for (kind, name, version) in held {
        let names: &[&str] = if kind.is_full_state() { &[] } else { &[name] };
        talk.rejoin(kind, names, &[(name, version)], None);
    }
    // The listeners are answered, and have not changed.
    assert_eq!(talk.drain(), ["CDS c2", "LDS"]);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
    assert!(matches!(talk.ack(Kind::Listener), Answer::Ack { .. }));
    assert_eq!(talk.settle(), ["RDS r"]);
    talk.now += GRACE;
    assert_eq!(talk.settle(), ["CDS -c1", "EDS -c1"]);
}

#[test]
fn with_open_gates_everything_goes_at_once() {
    for protocol in PROTOCOLS {
        let mut talk = start(protocol);
        talk.conversation.open_gates();
        talk.publish(replace);
        let sent = talk.drain();
        assert_eq!(sent[0], if protocol == Protocol::Sotw { "CDS c2" } else { "CDS c2 -c1" });
        assert_eq!(sent.last().unwrap(), "RDS r");
    }
}
