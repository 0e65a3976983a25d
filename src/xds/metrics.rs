//! Counters of what is served.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Protocol;
use super::load::{Changed, Requests, Sample};
use crate::envoy::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    result: &'static str,
}

/// Names of clusters are few and bounded; those of nodes are not, and are no label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCluster {
    cluster: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    cluster: Arc<str>,
    result: &'static str,
}

/// What clients report of their requests.
#[derive(Clone, Debug, Default)]
struct Load {
    requests: Family<ByResult, Counter>,
    issued: Family<ByCluster, Counter>,
    in_progress: Family<ByCluster, Gauge>,
    reporting: Gauge,
}

/// What the xDS server counts. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    streams: Family<ByProtocol, Gauge>,
    unmatched: Gauge,
    refused_streams: Counter,
    requests: Family<ByType, Counter>,
    responses: Family<ByType, Counter>,
    nacks: Family<ByType, Counter>,
    waits: Family<ByType, Counter>,
    waiting: Family<ByType, Gauge>,
    timeouts: Family<ByType, Counter>,
    sent_bytes: Family<ByType, Counter>,
    trials: Family<ByOutcome, Counter>,
    trying: Gauge,
    held: Gauge,
    load: Load,
}

impl Load {
    fn register(&self, registry: &mut Registry) {
        let Self { requests, issued, in_progress, reporting } = self;
        registry.register(
            "chancery_load_requests",
            "Requests that clients reported, by cluster and result; those beyond 1,000 clusters have no cluster",
            requests.clone(),
        );
        registry.register(
            "chancery_load_requests_issued",
            "Requests that clients reported to have handed to an endpoint",
            issued.clone(),
        );
        registry.register(
            "chancery_load_requests_in_progress",
            "Requests that had not ended when clients last reported",
            in_progress.clone(),
        );
        registry.register("chancery_load_reporting_clients", "Clients that report their load", reporting.clone());
    }

    /// The results of finished requests, and how each is counted.
    fn results(cluster: &Arc<str>, requests: Requests) -> [(ByResult, u64); 3] {
        let Requests { successful, errors, dropped, issued: _ } = requests;
        [("success", successful), ("error", errors), ("dropped", dropped)]
            .map(|(result, count)| (ByResult { cluster: Arc::clone(cluster), result }, count))
    }
}

impl Metrics {
    /// Adds the metrics to a registry; their names start with `chancery_xds_` and `chancery_load_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self {
            streams,
            unmatched,
            refused_streams,
            requests,
            responses,
            nacks,
            waits,
            waiting,
            timeouts,
            sent_bytes,
            trials,
            trying,
            held,
            load,
        } = &metrics;
        load.register(registry);
        registry.register("chancery_xds_streams", "Open streams", streams.clone());
        registry.register(
            "chancery_xds_unmatched_streams",
            "Open streams of nodes that belong to no node group and are sent nothing",
            unmatched.clone(),
        );
        registry.register(
            "chancery_xds_refused_streams",
            "New streams that were refused because too many came at once",
            refused_streams.clone(),
        );
        registry.register("chancery_xds_requests", "Requests received, ACKs and NACKs included", requests.clone());
        registry.register("chancery_xds_responses", "Responses sent", responses.clone());
        registry.register("chancery_xds_nacks", "Responses that clients refused", nacks.clone());
        registry.register(
            "chancery_xds_gate_waits",
            "Changes that had to wait for answers, removals included",
            waits.clone(),
        );
        registry.register("chancery_xds_gate_waiting", "Streams that hold back a change", waiting.clone());
        registry.register(
            "chancery_xds_gate_timeouts",
            "Changes that went on without an answer that they had waited for",
            timeouts.clone(),
        );
        registry.register("chancery_xds_sent_bytes", "Bytes of the responses sent", sent_bytes.clone());
        registry.register(
            "chancery_rollout_trials",
            "Snapshots that were tried before they went to all, by what came of it: promoted, nack, timeout, lost or superseded",
            trials.clone(),
        );
        registry.register("chancery_rollout_trying", "Whether a snapshot is on trial", trying.clone());
        registry.register(
            "chancery_rollout_held",
            "Whether the newest content was refused on trial, so that an older one is served",
            held.clone(),
        );
        metrics
    }

    /// Where a rollout stands, and how trials ended.
    pub(super) fn rollout(&self, ended: Vec<&'static str>, is_trying: bool, is_held: bool) {
        for result in ended {
            self.trials.get_or_create(&ByOutcome { result }).inc();
        }
        self.trying.set(is_trying.into());
        self.held.set(is_held.into());
    }

    /// Counts a stream as open until the guard is dropped.
    pub(super) fn stream(&self, protocol: Protocol) -> OpenStream {
        let gauge = self.streams.get_or_create_owned(&ByProtocol { protocol: protocol.as_str() });
        gauge.inc();
        OpenStream(gauge)
    }

    /// Counts a stream as one whose node belongs to no group until the guard is dropped.
    pub(super) fn unmatched(&self) -> OpenStream {
        self.unmatched.inc();
        OpenStream(self.unmatched.clone())
    }

    /// Counts a stream that was not taken on.
    pub(super) fn refused(&self) {
        self.refused_streams.inc();
    }

    /// Counts a request; `None` is a type that is not served.
    pub(super) fn request(&self, kind: Option<Kind>) {
        self.requests.get_or_create(&ByType { r#type: kind.map_or("other", Kind::service) }).inc();
    }

    pub(super) fn response(&self, kind: Kind, bytes: usize) {
        let label = ByType { r#type: kind.service() };
        self.responses.get_or_create(&label).inc();
        self.sent_bytes.get_or_create(&label).inc_by(bytes as u64);
    }

    /// Counts a change of a stream as held back until the guard is dropped.
    pub(super) fn wait(&self, kind: Kind) -> OpenStream {
        let label = ByType { r#type: kind.service() };
        self.waits.get_or_create(&label).inc();
        let gauge = self.waiting.get_or_create_owned(&label);
        gauge.inc();
        OpenStream(gauge)
    }

    /// A change went on without an answer.
    pub(super) fn gate_timeout(&self, kind: Kind) {
        self.timeouts.get_or_create(&ByType { r#type: kind.service() }).inc();
    }

    /// Takes over what a load report changed.
    pub(super) fn load(&self, changed: &Changed, reporting: usize) {
        let Changed { clusters, dropped, overflowed: _ } = changed;
        for (cluster, Sample { in_progress, requests }) in clusters {
            let by_cluster = ByCluster { cluster: Arc::clone(cluster) };
            for (label, count) in Load::results(cluster, *requests) {
                self.load.requests.get_or_create(&label).inc_by(count);
            }
            self.load.issued.get_or_create(&by_cluster).inc_by(requests.issued);
            self.load.in_progress.get_or_create(&by_cluster).set((*in_progress).try_into().unwrap_or(i64::MAX));
        }
        for cluster in dropped {
            for (label, _) in Load::results(cluster, Requests::default()) {
                self.load.requests.remove(&label);
            }
            let by_cluster = ByCluster { cluster: Arc::clone(cluster) };
            self.load.issued.remove(&by_cluster);
            self.load.in_progress.remove(&by_cluster);
        }
        self.load.reporting.set(reporting.try_into().unwrap_or(i64::MAX));
    }

    pub(super) fn nack(&self, kind: Kind) {
        self.nacks.get_or_create(&ByType { r#type: kind.service() }).inc();
    }
}

/// One stream in a gauge.
#[derive(Debug)]
pub(super) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn an_open_stream_is_counted_until_it_is_dropped() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let text = || text(&registry);
        let stream = metrics.stream(Protocol::Delta);
        metrics.response(Kind::Cluster, 10);
        metrics.nack(Kind::Cluster);
        assert!(text().contains("chancery_xds_streams{protocol=\"delta\"} 1"), "{}", text());
        assert!(text().contains("chancery_xds_responses_total{type=\"CDS\"} 1"));
        assert!(text().contains("chancery_xds_nacks_total{type=\"CDS\"} 1"));
        assert!(text().contains("chancery_xds_sent_bytes_total{type=\"CDS\"} 10"));
        drop(stream);
        assert!(text().contains("chancery_xds_streams{protocol=\"delta\"} 0"));
    }

    #[test]
    fn load_is_counted_by_cluster_and_goes_with_it() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let text = || text(&registry);
        let requests = Requests { successful: 3, errors: 2, issued: 6, dropped: 1 };
        let clusters = [("c".into(), Sample { in_progress: 4, requests })].into();
        let mut changed = Changed { clusters, ..Changed::default() };
        metrics.load(&changed, 7);
        metrics.load(&changed, 7);
        for line in [
            "chancery_load_requests_total{cluster=\"c\",result=\"success\"} 6",
            "chancery_load_requests_total{cluster=\"c\",result=\"error\"} 4",
            "chancery_load_requests_total{cluster=\"c\",result=\"dropped\"} 2",
            "chancery_load_requests_issued_total{cluster=\"c\"} 12",
            "chancery_load_requests_in_progress{cluster=\"c\"} 4",
            "chancery_load_reporting_clients 7",
        ] {
            assert!(text().contains(line), "{line} is not in\n{}", text());
        }
        changed = Changed { dropped: vec!["c".into()], ..Changed::default() };
        metrics.load(&changed, 0);
        assert!(!text().contains("cluster=\"c\""), "{}", text());
    }
}
