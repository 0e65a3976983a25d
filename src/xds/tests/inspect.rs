//! What a stream says of where its client stands.

use super::*;
use crate::xds::inspect::{self, Standing};

impl Talk {
    /// Every resource of a kind: its name, `=` with what the client is to have or `-` if that is nothing, and its standing.
    fn seen(&self, kind: Kind) -> Vec<(String, Standing)> {
        let tracks = self.conversation.tracks().filter(|track| track.kind == kind);
        let seen = tracks.flat_map(|track| inspect::resources(track, Some(&self.group)));
        let shown =
            seen.map(|seen| (format!("{}{}", if seen.newest.is_some() { "=" } else { "-" }, seen.name), seen.standing));
        shown.collect()
    }
}

fn shown(seen: &[(&str, Standing)]) -> Vec<(String, Standing)> {
    seen.iter().map(|(name, standing)| ((*name).to_owned(), *standing)).collect()
}

fn clusters(names: &[&str], protocol: Protocol) -> Talk {
    let mut talk = Talk::new(protocol, |world| {
        for name in names {
            world.set(Kind::Cluster, name, "1");
        }
    });
    match protocol {
        Protocol::Sotw => talk.want(Kind::Cluster, &[]),
        Protocol::Delta => talk.amend(Kind::Cluster, &[], &[]),
    };
    talk
}

#[test]
fn x10_content_is_not_sent_then_unanswered_then_accepted_or_refused() {
    for protocol in [Protocol::Sotw, Protocol::Delta] {
        let mut talk = clusters(&["a"], protocol);
        assert_eq!(talk.seen(Kind::Cluster), shown(&[("=a", Standing::NotSent)]));
        talk.drain();
        assert_eq!(talk.seen(Kind::Cluster), shown(&[("=a", Standing::Stale)]));
        talk.ack(Kind::Cluster);
        assert_eq!(talk.seen(Kind::Cluster), shown(&[("=a", Standing::Synced)]));
        talk.publish(|world| {
            world.set(Kind::Cluster, "a", "2");
        });
        assert_eq!(talk.seen(Kind::Cluster), shown(&[("=a", Standing::NotSent)]));
        talk.drain();
        talk.nack(Kind::Cluster);
        assert_eq!(talk.seen(Kind::Cluster), shown(&[("=a", Standing::Refused)]));
    }
}

#[test]
fn x10_what_is_gone_is_shown_until_the_client_knows() {
    let mut talk = clusters(&["a", "b"], Protocol::Delta);
    talk.settle();
    talk.publish(|world| {
        world.remove(Kind::Cluster, "a");
    });
    let rest = ("=b", Standing::Synced);
    assert_eq!(talk.seen(Kind::Cluster), shown(&[("-a", Standing::NotSent), rest]));
    talk.drain();
    assert_eq!(talk.seen(Kind::Cluster), shown(&[("-a", Standing::Stale), rest]));
    talk.ack(Kind::Cluster);
    assert_eq!(talk.seen(Kind::Cluster), shown(&[rest]));
}

#[test]
fn x10_what_a_rejoining_client_holds_is_in_sync_if_it_is_the_newest() {
    let mut talk = Talk::new(Protocol::Delta, |world| {
        world.set(Kind::Route, "a", "1").set(Kind::Route, "b", "1");
    });
    let held = [("a", talk.version(Kind::Route, "a")), ("b", Version::of(b"old").to_string())];
    talk.rejoin(Kind::Route, &["a", "b", "missing"], &held, None);
    let rest = ("-missing", Standing::Unknown);
    assert_eq!(talk.seen(Kind::Route), shown(&[("=a", Standing::Synced), ("=b", Standing::NotSent), rest]));
    talk.settle();
    assert_eq!(talk.seen(Kind::Route), shown(&[("=a", Standing::Synced), ("=b", Standing::Synced), rest]));
}
