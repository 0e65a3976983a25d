//! What clients report of their requests, added up. Pure: reports and the time are handed in.
//!
//! Sums per cluster outlive the client that reported them; what is in progress, and the last interval, go with it. Names
//! come from clients, so all that is kept per name is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Clusters whose sums are kept apart. Each is a few time series.
const MAX_CLUSTERS: usize = 1_000;
/// Pairs of a client and a cluster that are kept apart.
const MAX_PAIRS: usize = 20_000;
/// A longer name is not kept.
const MAX_NAME_BYTES: usize = 1_024;
/// A cluster without requests for this long makes room for another, if there are too many.
const IDLE: Duration = Duration::from_hours(1);
/// How often clusters without requests are looked for, if there are too many.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// Finished requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that an upstream answered without an error.
    pub successful: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were handed to an endpoint, whatever became of them.
    pub issued: u64,
    /// Those that the client dropped before it chose an endpoint.
    pub dropped: u64,
}

/// The requests to one cluster, over all its localities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Not finished when the client last reported.
    pub in_progress: u64,
    /// In the last interval that the client reported.
    pub last: Requests,
    /// Since the stream was opened; for the sum over all clients, since Chancery was started.
    pub total: Requests,
}

/// What one client reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// `Node.id`.
    pub node: String,
    /// `Node.cluster`.
    pub cluster: String,
    /// The client's address.
    pub peer: String,
    /// When the last report came.
    pub reported: SystemTime,
    /// The clusters to which there were requests.
    pub clusters: BTreeMap<Arc<str>, Load>,
}

/// What all clients report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadStatus {
    /// The sums over all clients.
    pub clusters: BTreeMap<Arc<str>, Load>,
    /// The sum of the clusters beyond those that are kept apart, if there are any.
    pub other: Option<Load>,
    /// The clients that report, in the order in which they began.
    pub nodes: Vec<NodeLoad>,
}

/// What a report says of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) in_progress: u64,
    pub(super) requests: Requests,
}

/// What a report changed, for the metrics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// By cluster, `""` for those that are not kept apart: the requests that came on top, and those in progress now.
    pub(super) clusters: BTreeMap<Arc<str>, Sample>,
    /// The clusters that are no longer kept.
    pub(super) dropped: Vec<Arc<str>>,
    /// For the first time there are more clusters than are kept apart.
    pub(super) overflowed: bool,
}

/// The sums of one cluster.
#[derive(Debug)]
struct Sums {
    load: Load,
    /// When there was last a request.
    used: SystemTime,
}

/// A client that reports.
#[derive(Debug)]
struct Node {
    load: NodeLoad,
    /// The clusters whose last report is counted with the others, not by itself.
    in_other: BTreeSet<Arc<str>>,
}

/// What clients report of their requests.
#[derive(Debug)]
pub(super) struct Loads {
    /// Counts the streams of this process.
    opened: u64,
    nodes: BTreeMap<u64, Node>,
    clusters: BTreeMap<Arc<str>, Sums>,
    /// Of the clusters beyond the limit, once there are any.
    other: Option<Load>,
    /// How many pairs of a client and a cluster are kept.
    pairs: usize,
    swept: SystemTime,
}

impl Default for Loads {
    fn default() -> Self {
        let (nodes, clusters) = (BTreeMap::new(), BTreeMap::new());
        Self { opened: 0, nodes, clusters, other: None, pairs: 0, swept: SystemTime::UNIX_EPOCH }
    }
}

impl Requests {
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, other: Self) {
        let Self { successful, errors, issued, dropped } = other;
        self.successful = self.successful.saturating_add(successful);
        self.errors = self.errors.saturating_add(errors);
        self.issued = self.issued.saturating_add(issued);
        self.dropped = self.dropped.saturating_add(dropped);
    }

    fn take_away(&mut self, other: Self) {
        let Self { successful, errors, issued, dropped } = other;
        self.successful = self.successful.saturating_sub(successful);
        self.errors = self.errors.saturating_sub(errors);
        self.issued = self.issued.saturating_sub(issued);
        self.dropped = self.dropped.saturating_sub(dropped);
    }
}

impl Sample {
    /// Adds what is reported of another locality, or of another service of the cluster.
    pub(super) fn add(&mut self, other: Self) {
        let Self { in_progress, requests } = other;
        self.in_progress = self.in_progress.saturating_add(in_progress);
        self.requests.add(requests);
    }

    fn is_zero(self) -> bool {
        self.in_progress == 0 && self.requests.is_zero()
    }
}

impl Loads {
    /// A client begins to report; returns the number of its stream.
    pub(super) fn open(&mut self, node: String, cluster: String, peer: String, now: SystemTime) -> u64 {
        self.opened += 1;
        let load = NodeLoad { node, cluster, peer, reported: now, clusters: BTreeMap::new() };
        self.nodes.insert(self.opened, Node { load, in_other: BTreeSet::new() });
        self.opened
    }

    /// Takes the report of a stream. Of a cluster that is not in it, nothing is in progress.
    pub(super) fn report(&mut self, stream: u64, samples: BTreeMap<String, Sample>, now: SystemTime) -> Changed {
        let Some(mut node) = self.nodes.remove(&stream) else { return Changed::default() };
        let mut changed = Changed::default();
        self.take_back(&mut node, &mut changed);
        node.load.reported = now;
        for (name, sample) in samples.into_iter().filter(|(_, sample)| !sample.is_zero()) {
            let name: Arc<str> = name.into();
            let Sample { in_progress, requests } = sample;
            let label = self.label(&name, now, &mut changed);
            let kept = &mut node.load.clusters;
            let is_kept =
                name.len() <= MAX_NAME_BYTES && (kept.contains_key(&name) || self.pairs + kept.len() < MAX_PAIRS);
            // What cannot be taken back later is not counted as in progress.
            let current = if is_kept { sample } else { Sample::default() };
            if is_kept {
                let load = kept.entry(Arc::clone(&name)).or_default();
                (load.in_progress, load.last) = (in_progress, requests);
                load.total.add(requests);
                if label.is_empty() {
                    node.in_other.insert(name);
                }
            }
            let sums = self.sums(&label);
            sums.in_progress = sums.in_progress.saturating_add(current.in_progress);
            sums.last.add(current.requests);
            sums.total.add(requests);
            let in_progress = sums.in_progress;
            let change = changed.clusters.entry(label).or_default();
            change.requests.add(requests);
            change.in_progress = in_progress;
        }
        self.pairs += node.load.clusters.len();
        self.nodes.insert(stream, node);
        changed
    }

    /// A client no longer reports.
    pub(super) fn close(&mut self, stream: u64) -> Changed {
        let mut changed = Changed::default();
        if let Some(mut node) = self.nodes.remove(&stream) {
            self.take_back(&mut node, &mut changed);
        }
        changed
    }

    /// How many clients report.
    pub(super) fn reporting(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn status(&self) -> LoadStatus {
        LoadStatus {
            clusters: self.clusters.iter().map(|(name, sums)| (Arc::clone(name), sums.load)).collect(),
            other: self.other,
            nodes: self.nodes.values().map(|node| node.load.clone()).collect(),
        }
    }

    /// Takes what a client last reported out of the sums, except the totals. The client is not among `nodes` meanwhile.
    fn take_back(&mut self, node: &mut Node, changed: &mut Changed) {
        let Node { load, in_other } = node;
        self.pairs -= load.clusters.len();
        let in_other = std::mem::take(in_other);
        for (name, load) in &mut load.clusters {
            let Load { in_progress, last, total } = *load;
            *load = Load { total, ..Load::default() };
            let label: Arc<str> = if in_other.contains(name) { "".into() } else { Arc::clone(name) };
            if !label.is_empty() && !self.clusters.contains_key(name) {
                continue;
            }
            let sums = self.sums(&label);
            sums.in_progress = sums.in_progress.saturating_sub(in_progress);
            sums.last.take_away(last);
            let in_progress = sums.in_progress;
            changed.clusters.entry(label).or_default().in_progress = in_progress;
        }
    }

    /// The sums of a cluster that is kept apart, or of all others.
    fn sums(&mut self, label: &str) -> &mut Load {
        match self.clusters.get_mut(label) {
            Some(sums) => &mut sums.load,
            None => self.other.get_or_insert_default(),
        }
    }

    /// Under which name a cluster is counted.
    fn label(&mut self, name: &Arc<str>, now: SystemTime, changed: &mut Changed) -> Arc<str> {
        if let Some(sums) = self.clusters.get_mut(name) {
            sums.used = now;
            return Arc::clone(name);
        }
        if self.clusters.len() >= MAX_CLUSTERS {
            self.sweep(now, changed);
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES || self.clusters.len() >= MAX_CLUSTERS {
            changed.overflowed |= self.other.is_none();
            return "".into();
        }
        self.clusters.insert(Arc::clone(name), Sums { load: Load::default(), used: now });
        Arc::clone(name)
    }

    /// Drops the clusters to which there were no requests for long.
    fn sweep(&mut self, now: SystemTime, changed: &mut Changed) {
        let since = |then: SystemTime| now.duration_since(then).unwrap_or_default();
        if since(self.swept) < SWEEP_INTERVAL {
            return;
        }
        self.swept = now;
        // Of a client that has stopped to report, something may still be in progress.
        let reported: BTreeSet<&Arc<str>> = changed.clusters.keys().collect();
        let is_idle = |name: &Arc<str>, sums: &mut Sums| {
            sums.load.in_progress == 0 && since(sums.used) > IDLE && !reported.contains(name)
        };
        let dropped: Vec<_> = self.clusters.extract_if(.., is_idle).map(|(name, _)| name).collect();
        changed.dropped.extend(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn requests(successful: u64) -> Requests {
        Requests { successful, errors: 1, issued: successful + 1, dropped: 2 }
    }

    fn sample(in_progress: u64, successful: u64) -> Sample {
        Sample { in_progress, requests: requests(successful) }
    }

    fn samples(samples: &[(&str, Sample)]) -> BTreeMap<String, Sample> {
        samples.iter().map(|(name, sample)| ((*name).to_owned(), *sample)).collect()
    }

    fn open(loads: &mut Loads, node: &str) -> u64 {
        loads.open(node.into(), String::new(), String::new(), START)
    }

    fn twice(once: Requests) -> Requests {
        let mut sum = once;
        sum.add(once);
        sum
    }

    #[test]
    fn reports_add_up_and_the_last_interval_replaces_the_one_before() {
        let mut loads = Loads::default();
        let (a, b) = (open(&mut loads, "a"), open(&mut loads, "b"));
        loads.report(a, samples(&[("c", sample(5, 10))]), START);
        loads.report(a, samples(&[("c", sample(3, 10)), ("idle", Sample::default())]), START);
        let changed = loads.report(b, samples(&[("c", sample(1, 10))]), START);
        assert_eq!(changed.clusters, BTreeMap::from([("c".into(), sample(4, 10))]));
        let status = loads.status();
        assert_eq!(status.clusters.keys().map(|name| &**name).collect::<Vec<_>>(), ["c"]);
        let sum = status.clusters["c"];
        assert_eq!((sum.in_progress, sum.last), (4, twice(requests(10))));
        assert_eq!(sum.total.successful, 30);
        assert_eq!(
            status.nodes[0].clusters["c"],
            Load { in_progress: 3, last: requests(10), total: twice(requests(10)) }
        );
        assert_eq!(status.nodes[1].clusters["c"], Load { in_progress: 1, last: requests(10), total: requests(10) });
    }

    #[test]
    fn what_is_not_reported_again_is_over() {
        let mut loads = Loads::default();
        let a = open(&mut loads, "a");
        loads.report(a, samples(&[("c", sample(5, 10))]), START);
        let changed = loads.report(a, BTreeMap::new(), START);
        assert_eq!(changed.clusters, BTreeMap::from([("c".into(), Sample::default())]));
        let after = Load { total: requests(10), ..Load::default() };
        assert_eq!((loads.status().clusters["c"], loads.status().nodes[0].clusters["c"]), (after, after));
    }

    #[test]
    fn a_client_takes_with_it_what_is_in_progress() {
        let mut loads = Loads::default();
        let (a, b) = (open(&mut loads, "a"), open(&mut loads, "b"));
        for stream in [a, b] {
            loads.report(stream, samples(&[("c", sample(5, 10))]), START);
        }
        let changed = loads.close(a);
        assert_eq!(changed.clusters["c"], Sample { in_progress: 5, requests: Requests::default() });
        let status = loads.status();
        assert_eq!(status.clusters["c"], Load { in_progress: 5, last: requests(10), total: twice(requests(10)) });
        assert_eq!((status.nodes.len(), loads.pairs), (1, 1));
        loads.close(b);
        assert_eq!((loads.pairs, loads.reporting()), (0, 0));
        assert_eq!(loads.close(b), Changed::default());
        assert_eq!(loads.report(b, samples(&[("c", sample(5, 10))]), START), Changed::default());
    }

    #[test]
    fn clusters_beyond_the_limit_are_counted_together_until_others_are_idle() {
        let mut loads = Loads::default();
        let stream = open(&mut loads, "a");
        let many = |count: usize| (0..count).map(|n| (format!("c{n:05}"), sample(1, 1))).collect::<BTreeMap<_, _>>();
        let changed = loads.report(stream, many(MAX_CLUSTERS + 2), START);
        assert!(changed.overflowed);
        assert_eq!(changed.clusters[""], Sample { in_progress: 2, requests: twice(requests(1)) });
        assert_eq!(loads.status().clusters.len(), MAX_CLUSTERS);
        assert_eq!(loads.status().other.unwrap().in_progress, 2);
        let changed = loads.report(stream, samples(&[("new", sample(0, 1))]), START + SWEEP_INTERVAL);
        assert!(!changed.overflowed && changed.dropped.is_empty());
        assert_eq!(loads.status().other.unwrap().in_progress, 0);

        let later = START + SWEEP_INTERVAL + IDLE * 2;
        loads.report(stream, BTreeMap::new(), later);
        let other = open(&mut loads, "b");
        let changed = loads.report(other, samples(&[("new", sample(0, 1))]), later);
        assert_eq!(changed.dropped.len(), MAX_CLUSTERS);
        assert_eq!(loads.status().clusters.keys().map(|name| &**name).collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn what_clients_make_up_takes_bounded_memory() {
        let mut loads = Loads::default();
        let per_client = 5_000;
        for client in 0..6 {
            let stream = open(&mut loads, "a");
            let made_up = (0..per_client).map(|n| (format!("{client}-{n}"), sample(1, 1))).collect();
            loads.report(stream, made_up, START);
        }
        let status = loads.status();
        assert_eq!(status.nodes.iter().map(|node| node.clusters.len()).sum::<usize>(), MAX_PAIRS);
        let counted = status.clusters.values().chain(&status.other).map(|load| load.total.successful).sum::<u64>();
        assert_eq!(counted, 6 * per_client);
        let in_progress = |status: LoadStatus| {
            status.clusters.values().chain(&status.other).map(|load| load.in_progress).sum::<u64>()
        };
        assert_eq!(in_progress(status), MAX_PAIRS as u64);
        let stream = open(&mut loads, "a");
        loads.report(stream, samples(&[(&"n".repeat(MAX_NAME_BYTES + 1), sample(1, 1))]), START);
        assert!(loads.status().nodes[6].clusters.is_empty());
        for stream in 1..=7 {
            loads.close(stream);
        }
        assert_eq!((in_progress(loads.status()), loads.pairs), (0, 0));
    }
}
