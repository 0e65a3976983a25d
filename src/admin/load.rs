//! The section `load` of `/status`: what clients report of their requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::status::rfc3339;
use crate::xds::{LoadStatus, NodeLoad, Requests};

/// The sums, and what each client reports.
#[derive(Serialize)]
pub(super) struct Load {
    clusters: BTreeMap<Arc<str>, Cluster>,
    /// The clusters beyond those that are kept apart.
    other: Option<Cluster>,
    nodes: Vec<Reporter>,
}

/// What one client reports.
#[derive(Serialize)]
struct Reporter {
    node: String,
    cluster: String,
    peer: String,
    reported: String,
    clusters: BTreeMap<Arc<str>, Cluster>,
}

/// The requests to one cluster.
#[derive(Serialize)]
struct Cluster {
    in_progress: u64,
    last: Counts,
    total: Counts,
}

#[derive(Serialize)]
struct Counts {
    successful: u64,
    errors: u64,
    issued: u64,
    dropped: u64,
}

impl From<LoadStatus> for Load {
    fn from(LoadStatus { clusters, other, nodes }: LoadStatus) -> Self {
        let reporter = |NodeLoad { node, cluster, peer, reported, clusters }: NodeLoad| Reporter {
            node,
            cluster,
            peer,
            reported: rfc3339(reported),
            clusters: by_name(clusters),
        };
        Self {
            clusters: by_name(clusters),
            other: other.map(Cluster::from),
            nodes: nodes.into_iter().map(reporter).collect(),
        }
    }
}

fn by_name(clusters: BTreeMap<Arc<str>, crate::xds::Load>) -> BTreeMap<Arc<str>, Cluster> {
    clusters.into_iter().map(|(name, load)| (name, load.into())).collect()
}

impl From<crate::xds::Load> for Cluster {
    fn from(crate::xds::Load { in_progress, last, total }: crate::xds::Load) -> Self {
        Self { in_progress, last: last.into(), total: total.into() }
    }
}

impl From<Requests> for Counts {
    fn from(Requests { successful, errors, issued, dropped }: Requests) -> Self {
        Self { successful, errors, issued, dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;

    #[test]
    fn load_is_shown_in_sum_and_by_client() {
        let last = Requests { successful: 1, errors: 2, issued: 3, dropped: 4 };
        let load = crate::xds::Load { in_progress: 5, last, total: Requests { successful: 10, ..last } };
        let node = NodeLoad {
            node: "n".to_owned(),
            cluster: "web".to_owned(),
            peer: "127.0.0.1:1".to_owned(),
            reported: SystemTime::UNIX_EPOCH,
            clusters: BTreeMap::from([("c".into(), load)]),
        };
        let status = LoadStatus { clusters: BTreeMap::from([("c".into(), load)]), other: None, nodes: vec![node] };
        let cluster = json!({
            "in_progress": 5,
            "last": {"successful": 1, "errors": 2, "issued": 3, "dropped": 4},
            "total": {"successful": 10, "errors": 2, "issued": 3, "dropped": 4},
        });
        let expected = json!({
            "clusters": {"c": cluster},
            "other": null,
            "nodes": [{
                "node": "n", "cluster": "web", "peer": "127.0.0.1:1", "reported": "1970-01-01T00:00:00.000Z",
                "clusters": {"c": cluster},
            }],
        });
        assert_eq!(serde_json::to_value(Load::from(status)).unwrap(), expected);
    }
}
