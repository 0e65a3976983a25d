//! Statements on the incremental protocol.

use super::*;

fn clusters(names: &[&str]) -> Talk {
    Talk::new(Protocol::Delta, |world| {
        for name in names {
            world.set(Kind::Cluster, name, "1").set(Kind::Endpoint, name, "1");
        }
    })
}

#[test]
fn n1_n6_a_refused_response_is_repeated_as_a_whole_once_content_differs() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Cluster, &[], &[]).settle();
    talk.publish(|world| {
        world.set(Kind::Cluster, "good", "1").set(Kind::Cluster, "bad", "1").remove(Kind::Cluster, "a");
    });
    assert_eq!(talk.drain(), ["CDS bad good -a"]);
    let Answer::Nack { unknown, .. } = talk.nack(Kind::Cluster) else { panic!("refused") };
    assert_eq!(unknown.len(), 3);
    assert_eq!(talk.drain(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "bad", "fixed");
    });
    assert_eq!(talk.drain(), ["CDS bad good -a"]);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { recovered: true, .. }));
    assert_eq!(talk.drain(), NOTHING);
}

#[test]
fn n5_a_revert_takes_back_what_may_have_been_applied() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Cluster, &[], &[]).settle();
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "2").set(Kind::Cluster, "bad", "1");
    });
    assert_eq!(talk.drain(), ["CDS a bad"]);
    assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "1").remove(Kind::Cluster, "bad");
    });
    assert_eq!(talk.settle(), ["CDS a -bad"]);
}

#[test]
fn n8_the_account_of_a_client_that_refused_is_not_believed() {
    let mut talk = clusters(&["a", "b"]);
    let held = [("a", talk.version(Kind::Cluster, "a")), ("gone", "0".repeat(16))];
    talk.rejoin(Kind::Cluster, &[], &held, Some(&["b", "hidden"]));
    assert_eq!(talk.drain(), ["CDS a b"]);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { recovered: false, .. }));
    talk.now += GRACE;
    assert_eq!(talk.drain(), ["CDS -gone -hidden"]);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { recovered: true, .. }));
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn w5_an_empty_first_request_means_all_and_names_are_counted_besides() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Cluster, &[], &[]);
    assert_eq!(talk.settle(), ["CDS a b"]);
    talk.amend(Kind::Cluster, &["a"], &[]);
    assert_eq!(talk.settle(), ["CDS a"]);
    talk.amend(Kind::Cluster, &[], &["*"]);
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "2").set(Kind::Cluster, "b", "2");
    });
    assert_eq!(talk.settle(), ["CDS a"]);
    talk.amend(Kind::Cluster, &[], &["a"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "3");
    });
    assert_eq!(talk.settle(), NOTHING, "nothing is left, not everything");
}

#[test]
fn w6_a_star_in_both_lists_means_nothing() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Cluster, &["*"], &["*"]);
    assert_eq!(talk.settle(), NOTHING);
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Cluster, &[], &["never"]);
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn w7_an_empty_first_request_means_nothing_for_all_other_kinds() {
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_full_state()) {
        let mut talk = Talk::new(Protocol::Delta, |world| {
            world.set(kind, "a", "1");
        });
        talk.amend(kind, &[], &[]);
        assert_eq!(talk.settle(), NOTHING, "{kind}");
    }
}

#[test]
fn w8_a_name_that_does_not_exist_yet_is_remembered() {
    let mut talk = clusters(&[]);
    talk.amend(Kind::Endpoint, &["later"], &[]);
    assert_eq!(talk.settle(), ["EDS -later"]);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "later", "1");
    });
    assert_eq!(talk.settle(), ["EDS later"]);
}

#[test]
fn w9_a_subscribed_name_is_always_answered() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Endpoint, &["a", "b"], &[]).settle();
    talk.amend(Kind::Endpoint, &["a"], &[]);
    assert_eq!(talk.settle(), ["EDS a"]);
    talk.amend(Kind::Cluster, &["*"], &[]).settle();
    talk.amend(Kind::Cluster, &["*"], &[]);
    assert_eq!(talk.settle(), ["CDS a b"]);
}

#[test]
fn w10_unsubscribing_is_not_answered() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Endpoint, &["a", "b"], &[]).settle();
    talk.amend(Kind::Endpoint, &[], &["a", "never"]);
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn w11_a_name_dropped_from_under_a_wildcard_is_answered() {
    let mut talk = clusters(&["a"]);
    talk.publish(|world| {
        world.on_demand(Kind::Cluster, "hidden", "1");
    });
    talk.amend(Kind::Cluster, &["*", "a", "hidden"], &[]);
    assert_eq!(talk.settle(), ["CDS a hidden"]);
    talk.amend(Kind::Cluster, &[], &["a"]);
    assert_eq!(talk.settle(), ["CDS a"]);
    talk.amend(Kind::Cluster, &[], &["hidden"]);
    assert_eq!(talk.settle(), ["CDS -hidden"]);
}

#[test]
fn w5_a_wildcard_covers_dropped_names_that_are_still_under_way() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Endpoint, &["a"], &[]);
    assert_eq!(talk.drain(), ["EDS a"]);
    talk.publish(|world| {
        world.remove(Kind::Endpoint, "a");
    });
    talk.amend(Kind::Endpoint, &[], &["a"]).amend(Kind::Endpoint, &["*"], &[]);
    assert_eq!(talk.drain(), ["EDS -a"], "the client reads the first response when it wants everything");
}

#[test]
fn w12_what_is_not_subscribed_is_not_sent() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Endpoint, &["a", "b"], &[]).settle();
    talk.amend(Kind::Endpoint, &[], &["b"]);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2").set(Kind::Endpoint, "b", "2");
    });
    assert_eq!(talk.settle(), ["EDS a"]);
}

#[test]
fn r5_a_missing_name_is_reported_at_once_and_once() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Endpoint, &["a", "missing"], &[]);
    assert_eq!(talk.settle(), ["EDS a -missing"]);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.settle(), ["EDS a"]);
}

#[test]
fn r6_removal_and_return() {
    let mut talk = clusters(&["a"]);
    talk.amend(Kind::Cluster, &[], &[]).settle();
    talk.publish(|world| {
        world.remove(Kind::Cluster, "a");
    });
    assert_eq!(talk.settle(), ["CDS -a"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "1");
    });
    assert_eq!(talk.settle(), ["CDS a"]);
}

#[test]
fn r7_the_first_wildcard_request_is_answered_even_if_there_is_nothing() {
    let mut talk = clusters(&[]);
    talk.amend(Kind::Cluster, &[], &[]).amend(Kind::Listener, &["*"], &[]);
    assert_eq!(talk.settle(), ["CDS", "LDS"]);
}

#[test]
fn r9_a_change_sends_only_what_changed() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Cluster, &[], &[]).settle();
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "2");
    });
    assert_eq!(talk.settle(), ["CDS b"]);
}

#[test]
fn r10_a_rejoining_client_gets_the_difference() {
    let mut talk = clusters(&["same", "changed", "new"]);
    let held = [
        ("same", talk.version(Kind::Cluster, "same")),
        ("changed", "0123456789abcdef".to_owned()),
        ("gone", "not even a version of ours".to_owned()),
    ];
    talk.rejoin(Kind::Cluster, &[], &held, None);
    assert_eq!(talk.settle(), ["CDS changed new"]);
    let held = [("same", talk.version(Kind::Endpoint, "same")), ("gone", String::new())];
    talk.rejoin(Kind::Endpoint, &["same", "new", "gone"], &held, None);
    assert_eq!(talk.settle(), ["EDS new"]);
    // It may have routes that lead there, of which it has not spoken yet.
    assert_eq!(talk.conversation.deadline(&talk.group, talk.now), Some(talk.now + GRACE));
    talk.now += GRACE;
    assert_eq!(talk.settle(), ["CDS -gone", "EDS -gone"]);
}

#[test]
fn r10_a_rejoining_client_that_holds_everything_is_in_sync() {
    let mut talk = clusters(&["a"]);
    let held = [("a", talk.version(Kind::Endpoint, "a"))];
    talk.rejoin(Kind::Endpoint, &["a"], &held, None);
    assert_eq!(talk.settle(), NOTHING);
    let version = talk.group.resources(Kind::Endpoint).version();
    assert_eq!(talk.conversation.take_settled().collect::<Vec<_>>(), [(Kind::Endpoint, version)]);
}

#[test]
fn r11_names_of_a_stale_request_count() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Endpoint, &["a"], &[]).settle();
    let answer = talk.delta_request(Kind::Endpoint, &["b"], &[], &[], "4711", None, || None);
    assert!(matches!(answer, Answer::Nothing));
    assert_eq!(talk.settle(), ["EDS b"]);
}

#[test]
fn r13_each_response_in_flight_is_answered_on_its_own() {
    let mut talk = clusters(&["a", "b"]);
    talk.amend(Kind::Endpoint, &["a"], &[]);
    assert_eq!(talk.drain(), ["EDS a"]);
    let first = talk.nonce(Kind::Endpoint);
    talk.amend(Kind::Endpoint, &["b"], &[]);
    assert_eq!(talk.drain(), ["EDS b"]);
    let answer = talk.delta_request(Kind::Endpoint, &[], &[], &[], &first, None, || None);
    assert!(matches!(answer, Answer::Ack { newest: false, .. }));
    let Answer::Nack { unknown, .. } = talk.nack(Kind::Endpoint) else { panic!("refused") };
    assert_eq!(unknown.iter().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn what_a_client_was_too_slow_to_answer_counts_as_not_accepted() {
    let names: Vec<String> = (10..50).map(|number| format!("e{number}")).collect();
    let mut talk = Talk::new(Protocol::Delta, |world| {
        for name in &names {
            world.set(Kind::Endpoint, name, "1");
        }
    });
    talk.amend(Kind::Endpoint, &[&names[0]], &[]).drain();
    let first = talk.nonce(Kind::Endpoint);
    for name in &names[1..] {
        talk.amend(Kind::Endpoint, &[name], &[]).drain();
    }
    let refusal = talk.delta_request(Kind::Endpoint, &[], &[], &[], &first, Some("bad"), || None);
    assert!(matches!(refusal, Answer::Nothing), "it is forgotten");
    assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { newest: true, .. }));
    assert_eq!(talk.drain(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "e49", "2");
    });
    let sent = talk.drain().remove(0);
    assert!(sent.contains(" e10 ") && sent.contains(" e49"), "{sent}");
}
