//! A cluster is replaced by another one, and the routes with it, in one edit under load: no request fails, although the
//! endpoints of the new one come late.

use std::time::Duration;

use super::{Variant, held};
use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::load::{Load, Totals};
use crate::support::port::Port;
use crate::support::slow_eds::SlowEds;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;
use crate::support::{eventually, http};

/// How much later than all else endpoints arrive.
const DELAY: Duration = Duration::from_millis(50);

/// Fresh Envoys, and how often the cluster is replaced under each.
const ENVOYS: usize = 2;
const EDITS: usize = 10;

/// The same where a listener changes, after which nothing is removed for some seconds.
const EDITS_OF_LISTENERS: usize = 2;

/// Where the routes are.
#[derive(Clone, Copy, Debug)]
enum Routes {
    Table,
    Listener,
}

impl Routes {
    /// Arguments of Envoy. Connections that clients keep use a replaced listener, and with it routes to a cluster that goes, for as
    /// long as Envoy lets it drain: ten minutes, unless it is told to take less than our grace.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Table => &[],
            Self::Listener => &["--drain-time-s", "4", "--drain-strategy", "immediate"],
        }
    }
}

on_every_envoy!(no_request_fails);

async fn no_request_fails(variant: Variant, release: Release) {
    let mut requests = 0;
    let gated = [(Routes::Table, EDITS); ENVOYS].into_iter().chain([(Routes::Listener, EDITS_OF_LISTENERS)]);
    for (routes, edits) in gated {
        let totals = replaced(variant, release, &[], routes, edits).await;
        let failed = totals.failures.len();
        assert_eq!(
            failed,
            0,
            "{routes:?}: of {} requests, the first: {:?}",
            totals.requests(),
            totals.failures.first()
        );
        requests += totals.requests();
    }
    // Without gates the same loses requests: else nothing above was shown.
    let ungated = replaced(variant, release, &["--ungated"], Routes::Table, EDITS).await;
    eprintln!(
        "{variant:?}, {release:?} Envoy: {} edits, {requests} requests, 0 failed; without gates: {EDITS} edits, {} requests, \
         {} failed",
        ENVOYS * EDITS + EDITS_OF_LISTENERS,
        ungated.requests(),
        ungated.failures.len()
    );
    assert!(!ungated.failures.is_empty(), "no request failed without gates");
}

/// Replaces the cluster again and again under load, and returns what came of the requests.
async fn replaced(variant: Variant, release: Release, flags: &[&'static str], routes: Routes, edits: usize) -> Totals {
    let upstreams = [Upstream::start("service1").await, Upstream::start("service2").await];
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let to = |turn: usize| topology(routes, listener.number(), turn % 2 + 1, &upstreams[turn % 2]);

    let mut file = File::new(Edit::Rename, &to(0));
    let mut options = Options::default();
    options.flags.extend(flags);
    let chancery = Chancery::serve_with(&file.path(), options).await;
    let line = SlowEds::start(chancery.xds(), DELAY);
    let envoy = Envoy::start_with(release, &variant.bootstrap(line.address()).await, routes.arguments()).await;
    eventually("an answer", async || http::get(&url).await).await;
    chancery.until_synced(1).await;

    let load = Load::start_mixed(&url).await;
    for turn in 1..=edits {
        let late = line.delayed();
        file.write(&to(turn));
        load.until_served_by(["service1", "service2"][turn % 2], 50).await;
        chancery.until_synced(1).await;
        // Removals come last, but they come.
        eventually("what is served, and nothing else", async || {
            held::agree(variant, &chancery, &envoy, "default").await
        })
        .await;
        assert!(line.delayed() > late, "the endpoints of the new cluster came over another way");
    }
    let totals = load.stop().await;
    chancery.stop().await;
    totals
}

/// A route to an EDS cluster of which the name has a number.
fn topology(routes: Routes, listener: u16, number: usize, upstream: &Upstream) -> String {
    let routes = match routes {
        Routes::Table => format!("routes: [{{route: c{number}}}]"),
        Routes::Listener => {
            let host = format!(
                "{{name: all, domains: [\"*\"], routes: [{{match: {{prefix: /}}, route: {{cluster: c{number}}}}}]}}"
            );
            format!("http_connection_manager: {{route_config: {{name: inline, virtual_hosts: [{host}]}}}}")
        }
    };
    format!(
        "version: 1
listeners:
- name: ingress
  address: 127.0.0.1:{listener}
  {routes}
clusters:
- name: c{number}
  type: EDS
  endpoints: [\"{}\"]
",
        upstream.address()
    )
}
