//! Statements on the order of kinds and on what holds back what.

use super::*;

fn start(protocol: Protocol) -> Talk {
    let mut talk = Talk::new(protocol, |world| {
        world.eds("a", "1").eds("b", "1").set(Kind::Cluster, "static", "1");
        world.set(Kind::Endpoint, "a", "1").set(Kind::Endpoint, "b", "1");
        world.set(Kind::Listener, "l", "1").set(Kind::Route, "r", "1").set(Kind::Secret, "s", "1");
    });
    match protocol {
        Protocol::Sotw => {
            talk.want(Kind::Route, &["r"]).want(Kind::Listener, &[]).want(Kind::Secret, &["s"]);
            talk.want(Kind::Endpoint, &["a", "b"]).want(Kind::Cluster, &[]);
        }
        Protocol::Delta => {
            talk.amend(Kind::Route, &["r"], &[]).amend(Kind::Listener, &[], &[]).amend(Kind::Secret, &["s"], &[]);
            talk.amend(Kind::Endpoint, &["a", "b"], &[]).amend(Kind::Cluster, &[], &[]);
        }
    }
    talk
}

#[test]
fn o1_kinds_leave_in_the_order_of_their_dependencies() {
    for protocol in [Protocol::Sotw, Protocol::Delta] {
        let mut talk = start(protocol);
        assert_eq!(talk.settle(), ["CDS a b static", "EDS a b", "SDS s", "LDS l", "RDS r"], "{protocol:?}");
    }
}

#[test]
fn o4_o5_a_changed_eds_cluster_is_followed_by_its_endpoints() {
    for (protocol, cds) in [(Protocol::Sotw, "CDS a b static"), (Protocol::Delta, "CDS b")] {
        let mut talk = start(protocol);
        talk.settle();
        talk.publish(|world| {
            world.set(Kind::Cluster, "b", "2");
        });
        assert_eq!(talk.drain(), [cds, "EDS b"], "{protocol:?}");
        assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        talk.publish(|world| {
            world.set(Kind::Cluster, "static", "2");
        });
        assert_eq!(talk.settle().len(), 1, "{protocol:?}: a static cluster waits for no endpoints");
    }
}

#[test]
fn o4_forced_endpoints_do_not_wait_for_an_answer() {
    for (protocol, cds) in [(Protocol::Sotw, "CDS a b static"), (Protocol::Delta, "CDS b")] {
        let mut talk = start(protocol);
        talk.settle();
        talk.publish(|world| {
            world.set(Kind::Endpoint, "a", "2");
        });
        assert_eq!(talk.drain(), ["EDS a"]);
        talk.publish(|world| {
            world.set(Kind::Cluster, "b", "2").set(Kind::Endpoint, "a", "3");
        });
        assert_eq!(talk.drain(), [cds, "EDS b"], "{protocol:?}: forced ones go, changed ones wait");
        assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { newest: true, .. }));
        assert_eq!(talk.drain(), ["EDS a"]);
    }
}

#[test]
fn o4_endpoints_that_a_rejoining_client_holds_are_sent_again_if_their_cluster_changed() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.eds("a", "2").eds("b", "1").set(Kind::Endpoint, "a", "1").set(Kind::Endpoint, "b", "1");
    });
    let (old, b) = (Version::of(b"1").to_string(), talk.version(Kind::Cluster, "b"));
    talk.rejoin(Kind::Cluster, &[], &[("a", old), ("b", b)], None);
    assert_eq!(talk.drain(), ["CDS a"]);
    let held = [("a", talk.version(Kind::Endpoint, "a")), ("b", talk.version(Kind::Endpoint, "b"))];
    talk.rejoin(Kind::Endpoint, &["a", "b"], &held, None);
    assert_eq!(talk.drain(), ["EDS a"]);
}

#[test]
fn o4_endpoints_of_a_cluster_that_went_before_they_were_asked_for_are_not_forced() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.eds("a", "1").set(Kind::Endpoint, "a", "1");
    });
    talk.amend(Kind::Cluster, &[], &[]);
    assert_eq!(talk.settle(), ["CDS a"]);
    talk.publish(|world| {
        world.remove(Kind::Cluster, "a");
    });
    assert_eq!(talk.settle(), ["CDS -a"]);
    let held = [("a", talk.version(Kind::Endpoint, "a"))];
    talk.rejoin(Kind::Endpoint, &["a"], &held, None);
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn one_response_of_a_kind_is_in_flight_and_newer_content_waits_for_its_answer() {
    for (protocol, both) in [(Protocol::Sotw, "CDS a b static"), (Protocol::Delta, "CDS static")] {
        let mut talk = start(protocol);
        talk.settle();
        for body in ["2", "3", "4"] {
            talk.publish(|world| {
                world.set(Kind::Cluster, "static", body);
            });
            assert_eq!(talk.drain().len(), usize::from(body == "2"), "{protocol:?}");
        }
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        assert_eq!(talk.settle(), [both], "{protocol:?}: only the newest");
    }
}

#[test]
fn o10_an_answer_that_never_comes_does_not_block_for_ever() {
    for protocol in [Protocol::Sotw, Protocol::Delta] {
        let mut talk = start(protocol);
        talk.settle();
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), None);
        let sent_at = talk.now;
        for body in ["2", "3"] {
            talk.publish(|world| {
                world.set(Kind::Cluster, "static", body);
            });
            assert_eq!(talk.drain().len(), usize::from(body == "2"));
        }
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), Some(sent_at + GATE_TIMEOUT));
        talk.now += GATE_TIMEOUT;
        assert_eq!(talk.drain().len(), 1);
        assert!(talk.last[&Kind::Cluster].impatient);
        assert_eq!(talk.conversation.deadline(&talk.group, talk.now), None);
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { newest: true, .. }), "it answers for both");
        assert_eq!(talk.settle(), NOTHING);
    }
}

#[test]
fn what_the_client_asks_for_is_never_held_back() {
    let mut talk = start(Protocol::Delta);
    talk.settle();
    talk.publish(|world| {
        world.set(Kind::Cluster, "static", "2").on_demand(Kind::Cluster, "c", "1");
    });
    assert_eq!(talk.drain(), ["CDS static"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "static", "3");
    });
    talk.amend(Kind::Cluster, &["c"], &[]);
    assert_eq!(talk.drain(), ["CDS c"]);
}

#[test]
fn what_was_asked_for_meanwhile_is_taken_back_if_the_set_returns_to_what_it_was() {
    let mut talk = Talk::new(Protocol::Delta, |_| ());
    talk.amend(Kind::Cluster, &[], &[]);
    assert_eq!(talk.drain(), ["CDS"]);
    talk.publish(|world| {
        world.on_demand(Kind::Cluster, "c", "1");
    });
    talk.amend(Kind::Cluster, &["c"], &[]);
    assert_eq!(talk.drain(), ["CDS c"]);
    talk.publish(|world| {
        world.remove(Kind::Cluster, "c");
    });
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { newest: true, .. }));
    assert_eq!(talk.settle(), ["CDS -c"]);
}

#[test]
fn a_version_without_news_for_the_client_counts_as_held() {
    let mut talk = start(Protocol::Sotw);
    talk.settle();
    talk.publish(|world| {
        world.set(Kind::Endpoint, "other", "1");
    });
    assert_eq!(talk.drain(), NOTHING);
    let version = talk.group.resources(Kind::Endpoint).version();
    assert_eq!(talk.conversation.take_settled().collect::<Vec<_>>(), [(Kind::Endpoint, version)]);
    assert_eq!(talk.conversation.take_settled().count(), 0);
}
