//! The scenarios of the third-party conformance suite for xDS servers (`ii/xds-test-harness`), told anew: one table, of
//! which every row is run over a socket in the variants that the suite has it for.
//!
//! Where the suite waits some seconds to see that nothing comes, a row asks for something more: its answer must be the next
//! response. The peculiarities of the suite's client are kept where a server could stumble over them. It repeats the node and
//! sends neither nonce nor version when it subscribes to more, unsubscribes from everything by the name "", and answers the second
//! type of an aggregated stream under the name of the first; that is taken for nothing, so that a proper answer follows here.

mod delta;
mod sotw;

use std::collections::BTreeMap;

use chancery::envoy::Kind;
use tokio::task::{JoinSet, LocalSet};

use crate::support::xds_client::Fixture;
use crate::support::{eventually, holds};

/// What the suite runs its scenarios in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    SotwSeparate,
    SotwAggregated,
    DeltaSeparate,
    DeltaAggregated,
}

use Variant::{DeltaAggregated, DeltaSeparate, SotwAggregated, SotwSeparate};

impl Variant {
    const ALL: [Self; 4] = [SotwSeparate, SotwAggregated, DeltaSeparate, DeltaAggregated];

    fn is_aggregated(self) -> bool {
        matches!(self, SotwAggregated | DeltaAggregated)
    }
}

/// What happens in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// Everything is asked for and comes in one response.
    Everything,
    /// Everything comes again in one response when one resource changes.
    EverythingAfterAChange,
    /// Everything comes again in one response when a resource is added.
    EverythingAfterAnAddition,
    /// What is asked for by name comes.
    Subset,
    /// All names come in one response when one changes.
    SubsetAfterAChange,
    /// A name that changes comes.
    ChangedName,
    /// All names come in one response when a missing one is created.
    SubsetAfterACreation,
    /// A missing name comes when it is created.
    CreatedName,
    /// Two kinds on one stream.
    TwoKinds,
    /// Of three names one is kept; it comes when it changes, and others may.
    Shrunk,
    /// Of three names one is kept; it alone comes when it changes.
    ShrunkToOne,
    /// Nothing is kept, and nothing comes.
    UnsubscribedFromAll,
    /// A name, then another.
    OneNameThenAnother,
    /// The name that changes comes alone.
    ChangedNameAlone,
    /// A missing name comes in a response of its own when it is created.
    CreatedNameAlone,
    /// As before, and meanwhile the client hears that the name does not exist.
    MissingNameIsTold,
    /// A name is removed, and comes back.
    RemovedAndAddedAgain,
    /// Names are dropped one by one, and do not come any more.
    UnsubscribedOneByOne,
    /// Two kinds on one stream, of which each changes without the other.
    TwoKindsChangeApart,
}

use Scenario as S;

/// One scenario, and what it is run with.
struct Entry {
    scenario: Scenario,
    variants: &'static [Variant],
    /// The kinds of each row.
    rows: &'static [&'static [Kind]],
    /// Whether the suite has it. It leaves some out that other servers fail.
    suite: bool,
}

const SOTW: &[Variant] = &[SotwSeparate, SotwAggregated];
const DELTA: &[Variant] = &[DeltaSeparate, DeltaAggregated];

const C: Kind = Kind::Cluster;
const L: Kind = Kind::Listener;
const R: Kind = Kind::Route;
const E: Kind = Kind::Endpoint;
const FULL: &[&[Kind]] = &[&[C], &[L]];
const PARTIAL: &[&[Kind]] = &[&[R], &[E]];
const EACH: &[&[Kind]] = &[&[C], &[L], &[R], &[E]];

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    Entry { scenario: S::Everything, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::EverythingAfterAChange, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::EverythingAfterAnAddition, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::Subset, variants: &Variant::ALL, rows: &[&[L], &[R]], suite: true },
    Entry { scenario: S::Subset, variants: &Variant::ALL, rows: &[&[C], &[E]], suite: false },
    Entry { scenario: S::SubsetAfterAChange, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::ChangedName, variants: SOTW, rows: PARTIAL, suite: true },
    Entry { scenario: S::SubsetAfterACreation, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::CreatedName, variants: SOTW, rows: PARTIAL, suite: true },
    Entry { scenario: S::TwoKinds, variants: &[SotwAggregated], rows: &[&[C, L], &[R, E]], suite: true },
    Entry { scenario: S::Shrunk, variants: SOTW, rows: FULL, suite: true },
    Entry { scenario: S::ShrunkToOne, variants: SOTW, rows: PARTIAL, suite: true },
    Entry { scenario: S::UnsubscribedFromAll, variants: SOTW, rows: EACH, suite: true },
    Entry { scenario: S::OneNameThenAnother, variants: DELTA, rows: EACH, suite: true },
    Entry { scenario: S::ChangedNameAlone, variants: DELTA, rows: EACH, suite: true },
    Entry { scenario: S::CreatedNameAlone, variants: DELTA, rows: EACH, suite: true },
    Entry { scenario: S::MissingNameIsTold, variants: DELTA, rows: EACH, suite: false },
    Entry { scenario: S::RemovedAndAddedAgain, variants: DELTA, rows: EACH, suite: true },
    Entry { scenario: S::UnsubscribedOneByOne, variants: DELTA, rows: EACH, suite: true },
    Entry { scenario: S::TwoKindsChangeApart, variants: &[DeltaAggregated], rows: &[&[C, L], &[L, C], &[R, E], &[E, R]], suite: true },
];

/// The rows of each variant in the suite, and those that it leaves out.
const COUNTS: [(Variant, usize, usize); 4] =
    [(SotwSeparate, 24, 2), (SotwAggregated, 26, 2), (DeltaSeparate, 22, 6), (DeltaAggregated, 26, 6)];

/// One run.
#[derive(Clone, Copy, Debug)]
struct Row {
    scenario: Scenario,
    variant: Variant,
    kinds: &'static [Kind],
}

impl Row {
    /// The kind of a row that has one.
    fn kind(&self) -> Kind {
        self.kinds[0]
    }

    /// The service that the row's stream speaks with.
    fn service(&self) -> &'static str {
        match self.kind() {
            _ if self.variant.is_aggregated() => crate::support::xds_client::ADS,
            C => "cluster.v3.ClusterDiscoveryService/Clusters",
            L => "listener.v3.ListenerDiscoveryService/Listeners",
            R => "route.v3.RouteDiscoveryService/Routes",
            E => "endpoint.v3.EndpointDiscoveryService/Endpoints",
            kind => unreachable!("the suite does not ask for {kind}"),
        }
    }

    async fn run(self) {
        match self.variant {
            SotwSeparate | SotwAggregated => sotw::run(self).await,
            DeltaSeparate | DeltaAggregated => delta::run(self).await,
        }
    }
}

/// Runs all rows of a variant, and fails with the list of those that failed.
async fn run_all(variant: Variant) {
    let mut runs = JoinSet::new();
    let mut running = BTreeMap::new();
    for entry in TABLE.iter().filter(|entry| entry.variants.contains(&variant)) {
        for kinds in entry.rows {
            let row = Row { scenario: entry.scenario, variant, kinds };
            running.insert(runs.spawn_local(row.run()).id(), (row, entry.suite));
        }
    }
    let (mut suite, mut extra, mut failed) = (0, 0, Vec::new());
    while let Some(ended) = runs.join_next_with_id().await {
        match ended {
            Ok((id, ())) if running[&id].1 => suite += 1,
            Ok(_) => extra += 1,
            Err(error) => failed.push(format!("{:?}: {error}", running[&error.id()].0)),
        }
    }
    assert!(failed.is_empty(), "{suite} rows and {extra} more hold, but not\n{}", failed.join("\n"));
    let (_, rows, more) = COUNTS.into_iter().find(|(counted, ..)| *counted == variant).expect("all are counted");
    assert_eq!((suite, extra), (rows, more), "{variant:?}");
}

#[tokio::test]
async fn sotw_on_separate_streams_conforms_in_24_rows() {
    LocalSet::new().run_until(run_all(SotwSeparate)).await;
}

#[tokio::test]
async fn sotw_on_the_aggregated_stream_conforms_in_26_rows() {
    LocalSet::new().run_until(run_all(SotwAggregated)).await;
}

#[tokio::test]
async fn delta_on_separate_streams_conforms_in_22_rows() {
    LocalSet::new().run_until(run_all(DeltaSeparate)).await;
}

#[tokio::test]
async fn delta_on_the_aggregated_stream_conforms_in_26_rows() {
    LocalSet::new().run_until(run_all(DeltaAggregated)).await;
}

/// A resource whose answer proves that nothing else was due.
const FENCE: &str = "fence";

/// Gives resources of a kind a version. Their content names both.
fn publish(fixture: &Fixture, kind: Kind, names: &[&str], version: &str) {
    let bodies: Vec<String> = names.iter().map(|name| format!("{name}@{version}")).collect();
    let resources: Vec<_> = names.iter().zip(&bodies).map(|(name, body)| (kind, *name, &**body)).collect();
    fixture.publish(&resources);
}

/// Waits until the server has heard that the only client asks for so many names of a kind.
async fn heard(fixture: &Fixture, kind: Kind, names: usize) {
    eventually("a change of the subscription", async || {
        let status = fixture.clients.status().remove(0).kinds.remove(kind.service()).expect("it was asked for");
        holds(status.names == names, status)
    })
    .await;
}
