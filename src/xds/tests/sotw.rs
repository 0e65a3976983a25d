//! Statements on the state-of-the-world protocol.

use super::*;

fn clusters(names: &[&str]) -> Talk {
    Talk::new(Protocol::Sotw, |world| {
        for name in names {
            world.set(Kind::Cluster, name, "1").set(Kind::Endpoint, name, "1");
        }
    })
}

#[test]
fn s1_nonces_are_unique_over_all_kinds() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &[]).want(Kind::Endpoint, &["a"]).want(Kind::Listener, &[]);
    assert_eq!(talk.drain(), ["CDS a", "EDS a", "LDS"]);
    let nonces: BTreeSet<_> = talk.last.values().map(|response| response.nonce).collect();
    assert_eq!(nonces.len(), 3);
    assert!(!nonces.contains(&0));
}

#[test]
fn s3_a_stale_request_is_not_answered_and_its_names_come_again() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a"]).settle();
    let old = talk.nonce(Kind::Endpoint);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.drain(), ["EDS a"]);
    talk.names.insert(Kind::Endpoint, vec!["a".into(), "b".into()]);
    let answer = talk.send_sotw(Kind::Endpoint, &old, "", None);
    assert!(matches!(answer, Answer::Nothing));
    assert_eq!(talk.drain(), NOTHING);
    assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
    assert_eq!(talk.drain(), ["EDS b"]);
}

#[test]
fn s3_s8_a_name_dropped_by_a_stale_request_and_taken_up_again_is_sent_again() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a", "b"]).settle();
    let old = talk.nonce(Kind::Endpoint);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.drain(), ["EDS a"]);
    for names in [vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]] {
        talk.names.insert(Kind::Endpoint, names);
        assert!(matches!(talk.send_sotw(Kind::Endpoint, &old, "", None), Answer::Nothing));
        assert_eq!(talk.drain(), NOTHING);
    }
    assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
    assert_eq!(talk.drain(), ["EDS b"]);
}

#[test]
fn s3_a_nonce_of_another_kind_is_stale() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &[]).want(Kind::Listener, &[]);
    assert_eq!(talk.drain(), ["CDS a", "LDS"]);
    let other = talk.nonce(Kind::Listener);
    let version = talk.last[&Kind::Cluster].version.to_string();
    assert!(matches!(talk.send_sotw(Kind::Cluster, &other, &version, None), Answer::Nothing));
    assert_eq!(talk.drain(), NOTHING);
}

#[test]
fn s4_s5_an_old_version_without_an_error_is_neither_ack_nor_nack() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Endpoint, &["a"]).settle();
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.drain(), ["EDS a"]);
    let (nonce, old) = (talk.nonce(Kind::Endpoint), talk.versions[&Kind::Endpoint].clone());
    assert!(matches!(talk.send_sotw(Kind::Endpoint, &nonce, &old, None), Answer::Nothing));
    assert_eq!(talk.drain(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "3");
    });
    assert_eq!(talk.drain(), ["EDS a"], "the slot is free");
}

#[test]
fn s6_an_exact_ack_is_not_answered() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &[]);
    assert_eq!(talk.drain(), ["CDS a"]);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { newest: true, .. }));
    assert_eq!(talk.drain(), NOTHING);
    assert!(matches!(talk.ack(Kind::Cluster), Answer::Nothing), "once is enough");
    assert_eq!(talk.drain(), NOTHING);
}

#[test]
fn s7_new_names_are_answered_at_the_same_version() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a"]);
    assert_eq!(talk.settle(), ["EDS a"]);
    let version = talk.last[&Kind::Endpoint].version;
    talk.want(Kind::Endpoint, &["a", "b"]);
    assert_eq!(talk.settle(), ["EDS b"]);
    assert_eq!(talk.last[&Kind::Endpoint].version, version);
    talk.want(Kind::Cluster, &["a"]).settle();
    talk.want(Kind::Cluster, &["a", "b"]);
    assert_eq!(talk.settle(), ["CDS a b"], "clusters always come as the full set");
}

#[test]
fn s8_a_name_that_is_dropped_and_taken_up_again_is_sent_again() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a", "b"]).settle();
    talk.want(Kind::Endpoint, &["b"]);
    assert_eq!(talk.settle(), NOTHING);
    talk.want(Kind::Endpoint, &["a", "b"]);
    assert_eq!(talk.settle(), ["EDS a"]);
}

#[test]
fn s9_dropped_names_are_not_answered() {
    let mut talk = clusters(&["a", "b"]);
    for kind in [Kind::Cluster, Kind::Endpoint] {
        talk.want(kind, &["a", "b"]).settle();
        talk.want(kind, &["a"]);
        assert_eq!(talk.settle(), NOTHING, "{kind}");
    }
}

#[test]
fn s10_an_ack_may_change_the_subscription_too() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a"]);
    assert_eq!(talk.drain(), ["EDS a"]);
    talk.names.insert(Kind::Endpoint, vec!["a".into(), "b".into()]);
    assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { .. }));
    assert_eq!(talk.drain(), ["EDS b"]);
}

#[test]
fn s11_s12_the_first_request_of_each_kind_gets_the_full_state_whatever_version_it_claims() {
    let mut talk = clusters(&["a"]);
    talk.names.insert(Kind::Endpoint, vec!["a".into()]);
    for kind in [Kind::Cluster, Kind::Endpoint] {
        let version = talk.group.resources(kind).version().to_string();
        let nonce = if kind == Kind::Cluster { "" } else { "17" };
        assert!(matches!(talk.send_sotw(kind, nonce, &version, None), Answer::Nothing));
        assert_eq!(talk.settle(), [format!("{kind} a")]);
    }
}

#[test]
fn n1_n3_a_refused_set_is_not_sent_again_and_the_next_one_at_once() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Cluster, &[]).settle();
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "bad");
    });
    assert_eq!(talk.drain(), ["CDS a b"]);
    assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { code: 13, .. }));
    assert_eq!(talk.drain(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "b", "2");
    });
    assert_eq!(talk.drain(), NOTHING, "another kind's content is no reason");
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "1");
    });
    assert_eq!(talk.drain(), ["CDS a b"], "back to what was accepted before: the client may hold parts of the other");
}

#[test]
fn n1_n5_refused_names_stay_unknown_until_content_differs() {
    let mut talk = clusters(&["a", "b", "c"]);
    talk.want(Kind::Endpoint, &["a", "b", "c"]).settle();
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "good").set(Kind::Endpoint, "b", "bad");
    });
    assert_eq!(talk.drain(), ["EDS a b"]);
    assert!(matches!(talk.nack(Kind::Endpoint), Answer::Nack { .. }));
    talk.publish(|world| {
        world.set(Kind::Endpoint, "other", "2");
    });
    assert_eq!(talk.drain(), NOTHING, "what is not subscribed makes no difference");
    talk.publish(|world| {
        world.set(Kind::Endpoint, "c", "2");
    });
    assert_eq!(talk.drain(), ["EDS a b c"]);
}

#[test]
fn n1_new_names_after_a_refusal_do_not_bring_the_refused_ones_back() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a"]);
    assert_eq!(talk.drain(), ["EDS a"]);
    assert!(matches!(talk.nack(Kind::Endpoint), Answer::Nack { .. }));
    talk.want(Kind::Endpoint, &["a", "b"]);
    assert_eq!(talk.drain(), ["EDS b"]);
}

#[test]
fn n4_a_refusal_of_one_kind_leaves_the_others_alone() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &[]).want(Kind::Endpoint, &["a"]);
    assert_eq!(talk.drain(), ["CDS a", "EDS a"]);
    assert!(matches!(talk.nack(Kind::Cluster), Answer::Nack { .. }));
    assert!(matches!(talk.ack(Kind::Endpoint), Answer::Ack { newest: true, .. }));
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.settle(), ["EDS a"]);
}

#[test]
fn w1_an_empty_first_list_means_all_clusters_and_listeners() {
    let mut talk = Talk::new(Protocol::Sotw, |world| {
        world.set(Kind::Cluster, "a", "1").set(Kind::Listener, "l", "1");
    });
    talk.want(Kind::Cluster, &[]).want(Kind::Listener, &[]);
    assert_eq!(talk.settle(), ["CDS a", "LDS l"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "1");
    });
    assert_eq!(talk.settle(), ["CDS a b"]);
}

#[test]
fn w2_a_star_and_a_name_send_each_resource_once() {
    let mut talk = clusters(&["a", "b"]);
    talk.publish(|world| {
        world.on_demand(Kind::Cluster, "hidden", "1");
    });
    talk.want(Kind::Cluster, &["*"]);
    assert_eq!(talk.settle(), ["CDS a b"]);
    talk.want(Kind::Cluster, &["*", "a", "hidden"]);
    assert_eq!(talk.settle(), ["CDS a b hidden"]);
}

#[test]
fn w3_everything_can_be_narrowed_to_a_name() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Cluster, &[]).settle();
    talk.want(Kind::Cluster, &["*", "a"]).settle();
    talk.want(Kind::Cluster, &["a"]);
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "2");
    });
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "2");
    });
    assert_eq!(talk.settle(), ["CDS a"]);
}

#[test]
fn w4_an_empty_list_after_names_means_nothing() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &["a"]).settle();
    talk.want(Kind::Cluster, &[]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "a", "2");
    });
    assert_eq!(talk.settle(), NOTHING);
    talk.want(Kind::Cluster, &["a"]);
    assert_eq!(talk.settle(), ["CDS a"]);
}

#[test]
fn w7_an_empty_first_list_means_nothing_for_all_other_kinds() {
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_full_state()) {
        let mut talk = Talk::new(Protocol::Sotw, |world| {
            world.set(kind, "a", "1");
        });
        talk.want(kind, &[]);
        assert_eq!(talk.settle(), NOTHING, "{kind}");
        talk.want(kind, &["a"]);
        assert_eq!(talk.settle(), [format!("{kind} a")]);
    }
}

#[test]
fn w8_a_name_that_does_not_exist_yet_is_remembered() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Endpoint, &["a", "later", ""]);
    assert_eq!(talk.settle(), ["EDS a"]);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "later", "1");
    });
    assert_eq!(talk.settle(), ["EDS later"]);
}

#[test]
fn r1_clusters_and_listeners_come_as_the_full_set() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Cluster, &[]).settle();
    talk.publish(|world| {
        world.remove(Kind::Cluster, "a");
    });
    assert_eq!(talk.settle(), ["CDS b"]);
    talk.publish(|world| {
        world.remove(Kind::Cluster, "b");
    });
    assert_eq!(talk.settle(), ["CDS"], "an empty set deletes all");
}

#[test]
fn r1_what_a_full_set_left_out_makes_no_difference_any_more() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Cluster, &["a", "b"]).settle();
    talk.publish(|world| {
        world.remove(Kind::Cluster, "b");
    });
    assert_eq!(talk.settle(), ["CDS a -b"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "not subscribed", "1");
    });
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "1");
    });
    assert_eq!(talk.settle(), ["CDS a b"], "it comes back as it was");
}

#[test]
fn r2_all_other_kinds_send_what_changed_and_never_nothing() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Endpoint, &["a", "b"]).settle();
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.settle(), ["EDS a"]);
    talk.publish(|world| {
        world.remove(Kind::Endpoint, "a");
    });
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn r3_an_empty_set_of_clusters_or_listeners_is_an_answer() {
    let mut talk = clusters(&[]);
    talk.want(Kind::Cluster, &[]).want(Kind::Listener, &["missing"]);
    assert_eq!(talk.settle(), ["CDS", "LDS -missing"]);
}

#[test]
fn r4_a_missing_name_of_another_kind_is_not_answered() {
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Endpoint, &["missing"]).want(Kind::Route, &["missing"]);
    assert_eq!(talk.settle(), NOTHING);
}

#[test]
fn r12_x3_a_full_set_says_which_names_do_not_exist() {
    let mut talk = clusters(&["a", "b"]);
    talk.want(Kind::Cluster, &["a", "b", "c", ""]);
    assert_eq!(talk.settle(), ["CDS a b -c"]);
    talk.publish(|world| {
        world.set(Kind::Cluster, "c", "1").remove(Kind::Cluster, "a");
    });
    assert_eq!(talk.settle(), ["CDS b c -a"]);
    talk.want(Kind::Cluster, &["b", "c"]);
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Cluster, "b", "2");
    });
    assert_eq!(talk.settle(), ["CDS b c"], "it is not asked for any more");
    let mut talk = clusters(&["a"]);
    talk.want(Kind::Cluster, &["*", "a", "c"]);
    assert_eq!(talk.settle(), ["CDS a -c"]);
}

#[test]
fn r12_x3_a_client_that_is_not_an_envoy_hears_once_that_a_name_does_not_exist() {
    let told = |kind: &Kind| !kind.is_full_state() && *kind != Kind::ExtensionConfig;
    for kind in Kind::ALL.into_iter().filter(told) {
        let mut talk = Talk::new(Protocol::Sotw, |world| {
            world.set(kind, "a", "1").set(kind, "b", "1");
        });
        talk.conversation.tell_missing();
        talk.want(kind, &["a", "b", "c", ""]);
        assert_eq!(talk.settle(), [format!("{kind} a b -c")]);
        talk.publish(|world| {
            world.set(kind, "a", "2");
        });
        assert_eq!(talk.settle(), [format!("{kind} a")]);
        talk.publish(|world| {
            world.remove(kind, "a");
        });
        assert_eq!(talk.settle(), [format!("{kind} -a")]);
        talk.publish(|world| {
            world.set(kind, "b", "2");
        });
        assert_eq!(talk.settle(), [format!("{kind} b")], "it was told");
        talk.want(kind, &["b", "c", ""]).settle();
        talk.want(kind, &["a", "b", "c", ""]);
        assert_eq!(talk.settle(), [format!("{kind} -a")], "it asked again");
        talk.publish(|world| {
            world.set(kind, "a", "2").set(kind, "c", "1");
        });
        assert_eq!(talk.settle(), [format!("{kind} a c")], "as it was, for the client may have dropped it");
    }
}

#[test]
fn x3_names_that_are_missed_and_refused_come_again_with_what_differs() {
    let mut talk = clusters(&["a"]);
    talk.conversation.tell_missing();
    talk.want(Kind::Endpoint, &["a", "b"]);
    assert_eq!(talk.drain(), ["EDS a -b"]);
    assert!(matches!(talk.nack(Kind::Endpoint), Answer::Nack { .. }));
    assert_eq!(talk.drain(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Endpoint, "a", "2");
    });
    assert_eq!(talk.settle(), ["EDS a -b"]);
}

#[test]
fn on_demand_resources_are_sent_by_name_only() {
    let mut talk = Talk::new(Protocol::Sotw, |world| {
        world.set(Kind::Listener, "l", "1").on_demand(Kind::Listener, "grpc", "1");
    });
    talk.want(Kind::Listener, &[]);
    assert_eq!(talk.settle(), ["LDS l"]);
    let mut talk = Talk::new(Protocol::Sotw, |world| {
        world.set(Kind::Listener, "l", "1").on_demand(Kind::Listener, "grpc", "1");
    });
    talk.want(Kind::Listener, &["grpc"]);
    assert_eq!(talk.settle(), ["LDS grpc"]);
}
