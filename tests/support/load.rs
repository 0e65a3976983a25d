//! A constant stream of requests, of which every failure counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::upstream::served_by;
use super::{eventually, http};

/// Requests in flight at any time.
const WORKERS: usize = 4;

/// Between two requests of one worker: several hundred requests a second, without taking the machine from the others.
const PACE: Duration = Duration::from_millis(5);

/// What came of the requests so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Answers by the name of the upstream.
    pub(crate) served: BTreeMap<String, u64>,
    /// Why requests failed: no answer, or one that is no upstream's.
    pub(crate) failures: Vec<String>,
}

impl Totals {
    /// How many requests an upstream answered.
    pub(crate) fn by(&self, upstream: &str) -> u64 {
        self.served.get(upstream).copied().unwrap_or(0)
    }

    /// How many requests came to an end, well or not.
    pub(crate) fn requests(&self) -> u64 {
        self.served.values().sum::<u64>() + self.failures.len() as u64
    }
}

/// A stream of requests to one URL; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    totals: Arc<Mutex<Totals>>,
    stop: CancellationToken,
    workers: JoinSet<()>,
}

impl Load {
    /// Starts asking, and returns after the first answer. Each worker keeps its connection.
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(url, |_| http::client()).await
    }

    /// The same, but half of the workers open a connection for each request.
    pub(crate) async fn start_mixed(url: &str) -> Self {
        Self::start_with(url, |worker| if worker % 2 == 0 { http::client() } else { http::client_that_reconnects() })
            .await
    }

    async fn start_with(url: &str, client: impl Fn(usize) -> reqwest::Client) -> Self {
        let mut load = Self { totals: Arc::default(), stop: CancellationToken::new(), workers: JoinSet::new() };
        for worker in 0..WORKERS {
            load.workers.spawn(ask(client(worker), url.to_owned(), Arc::clone(&load.totals), load.stop.clone()));
        }
        eventually("a first answer", async || {
            let totals = load.totals();
            super::holds(!totals.served.is_empty() || !totals.failures.is_empty(), "none yet")
        })
        .await;
        load
    }

    /// What came of the requests so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals.lock().unwrap().clone()
    }

    /// Waits until an upstream has answered `count` requests more than it had.
    pub(crate) async fn until_served_by(&self, upstream: &str, count: u64) {
        let before = self.totals().by(upstream);
        eventually(&format!("{count} answers of {upstream}"), async || {
            let totals = self.totals();
            super::holds(totals.by(upstream) >= before + count, totals)
        })
        .await;
    }

    /// Lets the requests in flight end, and returns what came of all of them.
    pub(crate) async fn stop(mut self) -> Totals {
        self.stop.cancel();
        while let Some(worker) = self.workers.join_next().await {
            worker.expect("a worker does not panic");
        }
        self.totals()
    }
}

async fn ask(client: reqwest::Client, url: String, totals: Arc<Mutex<Totals>>, stop: CancellationToken) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        pace.tick().await;
        let outcome = ask_once(&client, &url).await;
        let mut totals = totals.lock().unwrap();
        match outcome {
            Ok(upstream) => *totals.served.entry(upstream).or_default() += 1,
            Err(why) => totals.failures.push(why),
        }
    }
}

async fn ask_once(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let response = client.get(url).send().await.map_err(|error| http::reason(&error))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| http::reason(&error))?;
    served_by(&body).map(str::to_owned).ok_or_else(|| format!("{status}: {body}"))
}

#[tokio::test]
async fn every_request_counts_and_failures_say_why() {
    let upstream = super::upstream::Upstream::start("service1").await;
    let load = Load::start(&format!("http://{}/", upstream.address())).await;
    load.until_served_by("service1", 50).await;
    assert!(load.totals().failures.is_empty());
    drop(upstream);
    eventually("a failure", async || super::holds(!load.totals().failures.is_empty(), "none")).await;
    let totals = load.stop().await;
    assert!(totals.by("service1") >= 50, "{totals:?}");
    assert!(totals.failures.iter().all(|why| why.contains("error sending request")), "{totals:?}");
}
