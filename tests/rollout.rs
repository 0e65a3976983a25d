//! Rollouts over a socket: who is sent what, and what a refusal leads to.

use std::time::Duration;

use chancery::envoy::Kind;
use chancery::xds::{Cause, Options, Policy, Share};

use crate::support::xds_client::{ADS, Fixture, bodies, refusal, shown};
use crate::support::{eventually, holds};

async fn fixture(rollout: Policy) -> Fixture {
    let options = Options { rollout, ..Options::default() };
    Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), options).await
}

const CANARY: Policy = Policy::Canary { first: Share::Count(1), timeout: Duration::from_mins(5) };

async fn until_promoted(fixture: &Fixture, revision: u64) {
    eventually("a rollout to all", async || {
        let status = fixture.rollout.status().unwrap();
        holds(status.promoted == Some(revision), status)
    })
    .await;
}

#[tokio::test]
async fn what_a_sotw_canary_refuses_reaches_nobody_else_and_the_canary_goes_back() {
    let fixture = fixture(CANARY).await;
    fixture.publish(&[(Kind::Cluster, "a", "1")]);
    let (mut first, mut second) = (fixture.sotw(ADS).await, fixture.sotw(ADS).await);
    first.want(Kind::Cluster, &[]).await;
    let response = first.receive().await;
    first.ack(&response, &[]).await;
    until_promoted(&fixture, 1).await;
    second.want(Kind::Cluster, &[]).await;
    let response = second.receive().await;
    assert_eq!(bodies(&response), ["1"]);
    second.ack(&response, &[]).await;

    fixture.publish(&[(Kind::Cluster, "a", "bad")]);
    let response = first.receive().await;
    assert_eq!(bodies(&response), ["bad"]);
    first.nack(&response, &[], "a cannot be had").await;
    let response = first.receive().await;
    assert_eq!(bodies(&response), ["1"], "the canary goes back");
    first.ack(&response, &[]).await;
    let status = fixture.rollout.status().unwrap();
    let [known] = &status.quarantined[..] else { panic!("{status:?}") };
    assert_eq!((status.held, known.cause, known.revision), (true, Cause::Nack, 2));
    assert_eq!(
        (known.message.as_str(), &known.origins[..]),
        ("CDS refused: a cannot be had", &["topology.yaml:1:3".into()][..])
    );

    fixture.publish(&[(Kind::Cluster, "a", "2")]);
    let response = first.receive().await;
    assert_eq!(bodies(&response), ["2"]);
    first.ack(&response, &[]).await;
    let next = second.receive().await;
    assert_eq!(bodies(&next), ["2"], "it never saw what was refused");
    until_promoted(&fixture, 3).await;
    let metrics = fixture.metrics();
    for line in [
        "chancery_rollout_trials_total{result=\"promoted\"} 2",
        "chancery_rollout_trials_total{result=\"nack\"} 1",
        "chancery_rollout_held 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn what_a_delta_canary_refuses_reaches_nobody_else_and_the_canary_goes_back() {
    let fixture = fixture(CANARY).await;
    fixture.publish(&[(Kind::Cluster, "a", "1")]);
    let (mut first, mut second) = (fixture.delta(ADS).await, fixture.delta(ADS).await);
    first.amend(Kind::Cluster, &[], &[]).await;
    let response = first.receive().await;
    first.answer(&response, None).await;
    until_promoted(&fixture, 1).await;
    second.amend(Kind::Cluster, &[], &[]).await;
    let response = second.receive().await;
    assert_eq!(shown(&response), ["a=1"]);
    second.answer(&response, None).await;

    fixture.publish(&[(Kind::Cluster, "a", "bad"), (Kind::Cluster, "b", "good")]);
    let response = first.receive().await;
    assert_eq!(shown(&response), ["a=bad", "b=good"]);
    first.answer(&response, refusal("a cannot be had")).await;
    let response = first.receive().await;
    assert_eq!(shown(&response), ["a=1", "-b"], "whole, whatever of it was taken");
    first.answer(&response, None).await;

    fixture.publish(&[(Kind::Cluster, "a", "2")]);
    let response = first.receive().await;
    assert_eq!(shown(&response), ["a=2", "b=good"]);
    first.answer(&response, None).await;
    let next = second.receive().await;
    assert_eq!(shown(&next), ["a=2", "b=good"], "it never saw what was refused");
}

#[tokio::test]
async fn with_rollback_a_refusal_takes_all_back() {
    let fixture = fixture(Policy::Rollback).await;
    fixture.publish(&[(Kind::Cluster, "a", "1")]);
    let (mut first, mut second) = (fixture.sotw(ADS).await, fixture.delta(ADS).await);
    first.want(Kind::Cluster, &[]).await;
    second.amend(Kind::Cluster, &[], &[]).await;
    let response = first.receive().await;
    first.ack(&response, &[]).await;
    let response = second.receive().await;
    second.answer(&response, None).await;
    until_promoted(&fixture, 1).await;

    fixture.publish(&[(Kind::Cluster, "a", "bad")]);
    let response = first.receive().await;
    assert_eq!(bodies(&response), ["bad"]);
    first.ack(&response, &[]).await;
    let response = second.receive().await;
    assert_eq!(shown(&response), ["a=bad"]);
    second.answer(&response, refusal("no")).await;
    assert_eq!(bodies(&first.receive().await), ["1"]);
    assert_eq!(shown(&second.receive().await), ["a=1"]);
}

/// A refusal that crosses the next edit on its way is one of what that edit holds as well.
#[tokio::test]
async fn a_refusal_that_comes_after_the_next_edit_counts() {
    let fixture = fixture(Policy::Rollback).await;
    fixture.publish(&[(Kind::Cluster, "a", "1")]);
    let mut first = fixture.delta(ADS).await;
    first.amend(Kind::Cluster, &[], &[]).await;
    let response = first.receive().await;
    first.answer(&response, None).await;
    until_promoted(&fixture, 1).await;

    fixture.publish(&[(Kind::Cluster, "a", "bad")]);
    let response = first.receive().await;
    assert_eq!(shown(&response), ["a=bad"]);
    fixture.publish(&[(Kind::Cluster, "b", "1")]);
    eventually("the next trial", async || {
        let trial = fixture.rollout.status().unwrap().trial;
        holds(trial.as_ref().is_some_and(|trial| trial.revision == 3), trial)
    })
    .await;
    first.answer(&response, refusal("a is bad")).await;
    assert_eq!(shown(&first.receive().await), ["a=1"]);
    let status = fixture.rollout.status().unwrap();
    assert_eq!((status.held, status.quarantined[0].revision), (true, 3), "{status:?}");
}

/// An Envoy asks for listeners once its clusters are ready, and has then answered them long ago.
#[tokio::test]
async fn a_proxy_that_starts_has_not_passed_before_it_asks_for_listeners() {
    let fixture = fixture(CANARY).await;
    fixture.publish(&[(Kind::Cluster, "a", "1"), (Kind::Listener, "l", "bad")]);
    let mut first = fixture.sotw(ADS).await;
    first.want(Kind::Cluster, &[]).await;
    let response = first.receive().await;
    first.ack(&response, &[]).await;
    // Its clusters take their time.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    first.want(Kind::Listener, &[]).await;
    let response = first.receive().await;
    assert_eq!(bodies(&response), ["bad"]);
    first.nack(&response, &[], "l cannot be bound").await;
    eventually("the end of the trial", async || {
        let status = fixture.rollout.status().unwrap();
        holds(status.held && status.promoted.is_none(), status)
    })
    .await;
}
