//! Statements that hold in both protocols, and those on single kinds.

use super::*;

const BOTH: [Protocol; 2] = [Protocol::Sotw, Protocol::Delta];

#[test]
fn g12_no_response_names_a_resource_twice() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.eds("a", "1").set(Kind::Endpoint, "a", "1").set(Kind::Endpoint, "b", "1");
        });
        // Asked for with all others, by name, because it changed, because it was refused and because its cluster changed:
        // `drain` fails where that makes two of one.
        talk.ask(Kind::Cluster, &["*", "a"]).ask(Kind::Endpoint, &["*", "a", "b"]);
        assert_eq!(talk.drain(), ["CDS a", "EDS a b"], "{protocol:?}");
        assert!(matches!(talk.nack(Kind::Endpoint), Answer::Nack { .. }));
        assert!(matches!(talk.ack(Kind::Cluster), Answer::Ack { .. }));
        talk.publish(|world| {
            world.eds("a", "2").set(Kind::Endpoint, "a", "2").remove(Kind::Endpoint, "b");
        });
        talk.ask(Kind::Endpoint, &["*", "b"]).ask(Kind::Endpoint, &["*", "b", "a"]);
        let endpoints = if protocol == Protocol::Sotw { "EDS a" } else { "EDS a -b" };
        assert_eq!(talk.drain(), ["CDS a", endpoints], "{protocol:?}");
    }
}

#[test]
fn w13_nothing_is_sent_that_was_not_asked_for() {
    for protocol in BOTH {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::VirtualHost || protocol == Protocol::Delta) {
            let mut talk = Talk::new(protocol, |world| {
                world.set(kind, "a", "1").set(kind, "b", "1").set(kind, "c", "1");
            });
            talk.ask(kind, &["b"]);
            assert_eq!(talk.settle(), [format!("{kind} b")], "{protocol:?}");
            talk.publish(|world| {
                world.set(kind, "a", "2").set(kind, "b", "2").set(kind, "d", "1").remove(kind, "c");
            });
            assert_eq!(talk.settle(), [format!("{kind} b")], "{protocol:?}");
        }
    }
}

#[test]
fn w14_an_envoy_asks_for_everything_and_grpc_by_name_and_for_nothing_again() {
    let edit = |world: &mut World| {
        world.set(Kind::Listener, "l", "1").on_demand(Kind::Listener, "grpc", "1").set(Kind::Endpoint, "e", "1");
    };
    for protocol in BOTH {
        let mut envoy = Talk::new(protocol, edit);
        envoy.ask(Kind::Listener, &[]);
        assert_eq!(envoy.settle(), ["LDS l"], "{protocol:?}");
    }
    let mut grpc = Talk::new(Protocol::Sotw, edit);
    grpc.conversation.tell_missing();
    grpc.want(Kind::Listener, &["grpc"]).want(Kind::Endpoint, &["e"]);
    assert_eq!(grpc.settle(), ["EDS e", "LDS grpc"]);
    grpc.want(Kind::Endpoint, &[]);
    grpc.publish(|world| {
        world.remove(Kind::Endpoint, "e");
    });
    assert_eq!(grpc.settle(), NOTHING);
}

#[test]
fn o11_a_stream_of_one_kind_waits_for_no_other() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::Route, "r", "1").set(Kind::Cluster, "c", "1");
        });
        talk.ask(Kind::Route, &["r"]).settle();
        talk.publish(|world| {
            world.lead(Kind::Route, "r", &["c"]).remove(Kind::Cluster, "c");
        });
        assert_eq!(talk.drain(), ["RDS r"], "{protocol:?}");
        assert_eq!(talk.conversation.waiting(&talk.group, talk.now), []);
    }
}

#[test]
fn o12_what_is_asked_for_all_at_once_is_answered_at_once_and_in_order() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.eds("c", "1").set(Kind::Endpoint, "c", "1").lead(Kind::Listener, "l", &["c"]);
            world.lead(Kind::Route, "r", &["c"]).set(Kind::Secret, "s", "1").set(Kind::Runtime, "layer", "1");
        });
        for (kind, names) in [(Kind::Listener, &[][..]), (Kind::Cluster, &[]), (Kind::Route, &["r"])] {
            talk.ask(kind, names);
        }
        for (kind, name) in [(Kind::Secret, "s"), (Kind::Endpoint, "c"), (Kind::Runtime, "layer")] {
            talk.ask(kind, &[name]);
        }
        assert_eq!(talk.drain(), ["RTDS layer", "CDS c", "EDS c", "SDS s", "LDS l", "RDS r"], "{protocol:?}");
    }
}

#[test]
fn x1_a_name_in_the_new_form_is_a_name_like_any_other() {
    let (one, other) = ("xdstp://a/t/x?k=1&l=2", "xdstp://a/t/*");
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::Endpoint, one, "1").set(Kind::Endpoint, "xdstp://a/t/y", "1");
        });
        talk.conversation.tell_missing();
        talk.ask(Kind::Endpoint, &[one, other]);
        assert_eq!(talk.settle(), [format!("EDS {one} -{other}")], "{protocol:?}: no pattern, and not everything");
    }
}

/// An Envoy that takes a route table anew forgets the virtual hosts that it asked for one by one.
#[test]
fn x4_a_changed_route_table_brings_its_virtual_hosts_again() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.set(Kind::Route, "r", "1").set(Kind::Route, "r/s", "1");
        for host in ["r/a.example", "r/b.example", "r/s/a.example", "rr/a.example"] {
            world.set(Kind::VirtualHost, host, "1");
        }
    });
    talk.amend(Kind::Route, &["r", "r/s"], &[]);
    talk.amend(Kind::VirtualHost, &["r/a.example", "rr/a.example", "r/s/a.example", "r/none"], &[]);
    assert_eq!(talk.settle(), ["RDS r r/s", "VHDS r/a.example r/s/a.example rr/a.example -r/none"]);
    talk.publish(|world| {
        world.set(Kind::Route, "r/s", "2");
    });
    assert_eq!(talk.settle(), ["RDS r/s", "VHDS r/s/a.example"]);
    talk.publish(|world| {
        world.set(Kind::Route, "r", "2").set(Kind::VirtualHost, "rr/a.example", "2");
    });
    assert_eq!(talk.settle(), ["RDS r", "VHDS r/a.example -r/none", "VHDS rr/a.example"]);
}

#[test]
fn x5_a_cluster_on_demand_is_sent_by_name_besides_all_others_and_a_missing_one_is_told_at_once() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.set(Kind::Cluster, "a", "1").on_demand(Kind::Cluster, "c", "1");
    });
    talk.amend(Kind::Cluster, &[], &[]);
    assert_eq!(talk.drain(), ["CDS a"]);
    talk.amend(Kind::Cluster, &["c", "none"], &[]);
    assert_eq!(talk.drain(), ["CDS c -none"], "the first response is not answered yet");
    talk.publish(|world| {
        world.set(Kind::Cluster, "none", "1");
    });
    talk.ack(Kind::Cluster);
    assert_eq!(talk.settle(), ["CDS none"]);
}

/// While it drains, a listener still looks its filters up.
#[test]
fn x6_a_filter_is_not_taken_away_from_an_envoy_that_has_it() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::ExtensionConfig, "f", "1").set(Kind::ExtensionConfig, "g", "1");
        });
        talk.ask(Kind::ExtensionConfig, &["f", "g"]);
        assert_eq!(talk.settle(), ["ECDS f g"]);
        talk.publish(|world| {
            world.remove(Kind::ExtensionConfig, "f");
        });
        assert_eq!(talk.settle(), NOTHING, "{protocol:?}");
        talk.publish(|world| {
            world.set(Kind::ExtensionConfig, "f", "2");
        });
        assert_eq!(talk.settle(), ["ECDS f"], "{protocol:?}");
    }
    let mut talk = Talk::new(Protocol::Delta, |_| ());
    talk.ask(Kind::ExtensionConfig, &["f"]);
    assert_eq!(talk.settle(), ["ECDS -f"], "one that it lacks and waits for is another matter");
    let held = [("f", Version::of(b"1").to_string())];
    let mut talk = Talk::new(Protocol::Delta, |_| ());
    talk.rejoin(Kind::ExtensionConfig, &["f"], &held, None);
    assert_eq!(talk.settle(), NOTHING, "also if it took it on an earlier stream");
}

#[test]
fn x7_a_runtime_layer_is_answered_before_anything_else_and_never_without_it() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::Cluster, "c", "1").set(Kind::Runtime, "layer", "1");
        });
        talk.ask(Kind::Cluster, &[]).ask(Kind::Runtime, &["layer"]);
        assert_eq!(talk.drain(), ["RTDS layer", "CDS c"], "{protocol:?}");
    }
    let mut talk = Talk::new(Protocol::Sotw, |_| ());
    talk.want(Kind::Runtime, &["layer"]);
    assert_eq!(talk.settle(), NOTHING);
    talk.publish(|world| {
        world.set(Kind::Runtime, "layer", "1");
    });
    assert_eq!(talk.settle(), ["RTDS layer"]);
}

#[test]
fn x8_secrets_are_sent_by_name_and_shown_to_nobody() {
    for protocol in BOTH {
        let mut talk = Talk::new(protocol, |world| {
            world.set(Kind::Secret, "s", "top-secret").set(Kind::Secret, "t", "top-secret");
        });
        talk.ask(Kind::Secret, &[]);
        assert_eq!(talk.settle(), NOTHING, "{protocol:?}: for nothing means nothing");
        talk.ask(Kind::Secret, &["s"]);
        assert_eq!(talk.drain(), ["SDS s"], "{protocol:?}");
        let response = &talk.last[&Kind::Secret];
        let sent = response.resources[0].any.as_ref();
        assert!(sent.windows(10).any(|part| part == b"top-secret"));
        let bytes = format!("{:?}", &sent[sent.len() - 10..]);
        let shown = format!("{response:?} {:?}", talk.conversation);
        assert!(!shown.contains("top-secret") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
