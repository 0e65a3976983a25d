//! LRS: clients report their requests, cluster by cluster.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingService;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::load::{Changed, Requests, Sample};
use super::service::peer;
use super::stream::Shared;

/// Takes load reports.
#[derive(Debug)]
pub(super) struct LoadReports {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl LoadReportingService for LoadReports {
    type StreamLoadStatsStream = Pin<Box<dyn Stream<Item = Result<LoadStatsResponse, Status>> + Send>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let peer = peer(request.extensions()).address.to_string();
        let reports =
            Reports { requests: request.into_inner(), shared: Arc::clone(&self.shared), peer, reporter: None };
        let answers = stream::unfold(Some(reports), async |reports| {
            let mut reports = reports?;
            match reports.answer().await? {
                Ok(response) => Some((Ok(response), Some(reports))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl LoadReports {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// One client's stream.
struct Reports {
    requests: Streaming<LoadStatsRequest>,
    shared: Arc<Shared>,
    peer: String,
    /// Set by the first request.
    reporter: Option<Reporter>,
}

impl Reports {
    /// Takes reports until one needs an answer: the first. `None` once the client has left.
    async fn answer(&mut self) -> Option<Result<LoadStatsResponse, Status>> {
        loop {
            let request = match self.requests.message().await {
                Ok(request) => request?,
                Err(error) => {
                    debug!(%error, peer = self.peer, "load reports broke off");
                    return None;
                }
            };
            let LoadStatsRequest { node, cluster_stats } = request;
            if let Some(reporter) = &self.reporter {
                reporter.report(cluster_stats);
                continue;
            }
            let Some(node) = node.filter(|node| !node.id.is_empty()) else {
                return Some(Err(Status::invalid_argument(
                    "missing node information: the first request must carry a node with an id",
                )));
            };
            debug!(node = node.id, peer = self.peer, "client reports its load");
            let stream = self.shared.clients.loads().open(node.id, node.cluster, self.peer.clone(), SystemTime::now());
            let reporter = self.reporter.insert(Reporter { stream, shared: Arc::clone(&self.shared) });
            reporter.report(cluster_stats);
            return Some(Ok(LoadStatsResponse {
                send_all_clusters: true,
                load_reporting_interval: Some(wire_duration(self.shared.load_interval)),
                ..Default::default()
            }));
        }
    }
}

/// A client that reports; with it goes what it has in progress.
struct Reporter {
    stream: u64,
    shared: Arc<Shared>,
}

impl Reporter {
    fn report(&self, stats: Vec<ClusterStats>) {
        let mut loads = self.shared.clients.loads();
        let changed = loads.report(self.stream, samples(stats), SystemTime::now());
        self.note(&changed, loads.reporting());
    }

    /// To be called while the sums are locked, so that the newest of two changes is noted last.
    fn note(&self, changed: &Changed, reporting: usize) {
        if changed.overflowed {
            warn!("clients report more clusters than are counted one by one, the others are counted together");
        }
        self.shared.metrics.load(changed, reporting);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut loads = self.shared.clients.loads();
        let changed = loads.close(self.stream);
        self.note(&changed, loads.reporting());
    }
}

/// What a report says of each cluster, over its services and localities.
fn samples(stats: Vec<ClusterStats>) -> BTreeMap<String, Sample> {
    let mut samples: BTreeMap<String, Sample> = BTreeMap::new();
    for cluster in stats {
        let dropped = Requests { dropped: cluster.total_dropped_requests, ..Requests::default() };
        let sample = samples.entry(cluster.cluster_name).or_default();
        sample.add(Sample { in_progress: 0, requests: dropped });
        for locality in &cluster.upstream_locality_stats {
            let UpstreamLocalityStats {
                total_successful_requests: successful,
                total_error_requests: errors,
                total_issued_requests: issued,
                total_requests_in_progress: in_progress,
                ..
            } = *locality;
            sample.add(Sample { in_progress, requests: Requests { successful, errors, issued, dropped: 0 } });
        }
    }
    samples
}

fn wire_duration(duration: Duration) -> WireDuration {
    let nanos = duration.subsec_nanos().try_into().expect("less than a second");
    WireDuration { seconds: duration.as_secs().try_into().unwrap_or(i64::MAX), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_and_services_of_a_cluster_are_one() {
        let locality = |successful, in_progress| UpstreamLocalityStats {
            total_successful_requests: successful,
            total_error_requests: 1,
            total_issued_requests: 2,
            total_requests_in_progress: in_progress,
            ..Default::default()
        };
        let cluster = |name: &str, service: &str, localities| ClusterStats {
            cluster_name: name.into(),
            cluster_service_name: service.into(),
            upstream_locality_stats: localities,
            total_dropped_requests: 4,
            ..Default::default()
        };
        let stats = vec![
            cluster("a", "s1", vec![locality(10, 1), locality(20, 0)]),
            cluster("b", "", vec![]),
            cluster("a", "s2", vec![locality(30, 1)]),
        ];
        let a = Requests { successful: 60, errors: 3, issued: 6, dropped: 8 };
        let b = Requests { dropped: 4, ..Requests::default() };
        let expected = [("a", Sample { in_progress: 2, requests: a }), ("b", Sample { in_progress: 0, requests: b })];
        assert_eq!(samples(stats), expected.map(|(name, sample)| (name.to_owned(), sample)).into());
    }

    #[test]
    fn durations_keep_their_parts() {
        let wire = wire_duration(Duration::from_millis(1_500));
        assert_eq!((wire.seconds, wire.nanos), (1, 500_000_000));
    }
}
