//! A new snapshot goes to one of three Envoys first: what this one refuses, the others never see.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Variant, held};
use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds, http};

/// The Envoys share a port, between which the kernel spreads connections.
const NODES: [&str; 3] = ["proxy-1", "proxy-2", "proxy-3"];

/// Requests that each Envoy answers before and after something.
const SOME: u64 = 20;

on_every_envoy!(a_refusal_reaches_one_of_three);

async fn a_refusal_reaches_one_of_three(variant: Variant, release: Release) {
    let upstreams = [Upstream::start("service1").await, Upstream::start("service2").await];
    let (ingress, mended) = (Port::reserve(), Port::reserve());
    // Somebody else listens here.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let base = |upstream: usize| super::topologies::one_service(variant, ingress.number(), upstreams[upstream].port());
    let with_listener = |address: std::net::SocketAddr| {
        let listener = format!("- name: second\n  address: {address}\n  routes: [{{route: service}}]\n");
        base(1).replacen("listeners:\n", &format!("listeners:\n{listener}"), 1)
    };

    let mut file = File::new(Edit::Rename, &base(0));
    let mut options = Options::default();
    options.flags.extend(["--rollout", "canary", "--canary", "1"]);
    let chancery = Chancery::serve_with(&file.path(), options).await;
    let mut fleet = Vec::new();
    for node in NODES {
        let flags: &[&str] = if variant.is_delta() { &[] } else { &["--sotw"] };
        let bootstrap = super::bootstrap_of(node, "fleet", chancery.xds(), flags).await;
        fleet.push(Envoy::start_release(release, &bootstrap).await);
    }
    chancery.until_synced(NODES.len()).await;
    let url = format!("http://{}/", ingress.address());
    eventually("an answer", async || http::get(&url).await).await;
    let load = Load::start_mixed(&url).await;
    carry_traffic(&fleet).await;
    let (used, sent) = (states(&fleet).await, updates(&fleet).await);
    let promoted = chancery.status().await["rollout"]["promoted"].clone();

    // Refused by the one that goes first, which is put back; the others are not even told.
    file.write(&with_listener(taken));
    let status = chancery
        .until("the refused edit to be held", |status| {
            status["rollout"]["held"] == true && status["rollout"]["trial"].is_null()
        })
        .await;
    let [refused] = &status["rollout"]["quarantined"].as_array().unwrap()[..] else { panic!("{status}") };
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("second") && message.contains(&taken.to_string()), "{message}");
    assert_eq!(refused["origins"], serde_json::json!([format!("{}:4:3", file.path().display())]));
    let canary = NODES.iter().position(|node| refused["node"] == *node).unwrap();
    assert_eq!((&status["rollout"]["promoted"], &status["ready"]), (&promoted, &Value::Bool(true)));
    eventually("the canary to be put back", async || {
        let now = states(&fleet).await;
        holds(now == used, now)
    })
    .await;
    carry_traffic(&fleet).await;
    assert_eq!(rejected(&fleet).await, one(canary));
    let mut updated = updates(&fleet).await;
    updated[canary].clone_from(&sent[canary]);
    assert_eq!(updated, sent, "others than the canary were sent something");

    // Nobody is sent it again, also not after something else.
    file.write(&base(0));
    chancery.until("what is served already", |status| status["rollout"]["held"] == false).await;
    file.write(&with_listener(taken));
    chancery.until("the same edit to be held", |status| status["rollout"]["held"] == true).await;
    carry_traffic(&fleet).await;
    assert_eq!(rejected(&fleet).await, one(canary));

    // Mended, it reaches all.
    file.write(&with_listener(mended.address()));
    load.until_served_by("service2", SOME).await;
    let status = chancery.until_synced(NODES.len()).await;
    assert_eq!(status["rollout"]["held"], false, "{status}");
    for envoy in &fleet {
        eventually("what is served, and nothing else", async || {
            held::agree(variant, &chancery, envoy, "default").await
        })
        .await;
    }
    carry_traffic(&fleet).await;
    assert_eq!(rejected(&fleet).await, one(canary));
    for envoy in &mut fleet {
        envoy.assert_running();
        assert_eq!(envoy.uptime().await.1, 0, "it was restarted");
    }
    let totals = load.stop().await;
    let failed = totals.failures.len();
    eprintln!("{variant:?}, {release:?} Envoys: {} requests through three, {failed} failed", totals.requests());
    assert_eq!(failed, 0, "the first: {:?}", totals.failures.first());
    chancery.stop().await;
}

/// Waits until every Envoy has answered some requests more than it had.
async fn carry_traffic(fleet: &[Envoy]) {
    const ANSWERED: &str = "http.listener_0.downstream_rq_2xx";
    for envoy in fleet {
        envoy.until_stat(ANSWERED, envoy.stat(ANSWERED).await + SOME).await;
    }
}

/// What each Envoy uses.
async fn states(fleet: &[Envoy]) -> Vec<BTreeMap<held::Name, Value>> {
    let mut states = Vec::new();
    for envoy in fleet {
        states.push(held::contents(envoy).await);
    }
    states
}

/// How many responses with clusters, endpoints, listeners and routes each Envoy took or refused.
async fn updates(fleet: &[Envoy]) -> Vec<Vec<u64>> {
    let mut updates = Vec::new();
    for envoy in fleet {
        let mut of_one = Vec::new();
        for name in [
            "cluster_manager.cds.update_attempt",
            "cluster.service.update_attempt",
            "listener_manager.lds.update_attempt",
            "http.listener_0.rds.local_route.update_attempt",
        ] {
            of_one.push(envoy.stat(name).await);
        }
        updates.push(of_one);
    }
    updates
}

/// How many responses with listeners each Envoy refused; none of another type.
async fn rejected(fleet: &[Envoy]) -> Vec<u64> {
    let mut rejected = Vec::new();
    for envoy in fleet {
        assert_eq!(envoy.stat("cluster_manager.cds.update_rejected").await, 0);
        rejected.push(envoy.stat("listener_manager.lds.update_rejected").await);
    }
    rejected
}

/// One for the canary, none for the others.
fn one(canary: usize) -> Vec<u64> {
    (0..NODES.len()).map(|node| u64::from(node == canary)).collect()
}
