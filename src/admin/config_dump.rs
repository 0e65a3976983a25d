//! `/config_dump`: what is served, as Envoy's JSON, without secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Shared, native_json};
use crate::envoy::json::Redact;
use crate::envoy::{Kind, Schema};
use crate::snapshot::{Group, Snapshot, Version};
use crate::xds::ClientStatus;

/// Which groups to show; all without either.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    node: Option<String>,
    group: Option<String>,
}

/// By group, then by type URL; types without resources are left out.
type Dump = BTreeMap<Arc<str>, BTreeMap<&'static str, Vec<Dumped>>>;

#[derive(Serialize)]
struct Dumped {
    name: Arc<str>,
    version: Version,
    /// `file:line:column`.
    source: String,
    resource: Value,
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Response {
    let selection = match selection {
        Ok(Query(selection)) => selection,
        Err(error) => {
            let message = format!("{}: use ?group=NAME or ?node=ID, or neither\n", error.body_text());
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let snapshot = shared.state.store.load();
    let groups = match select(snapshot.as_deref(), &shared.state.clients.status(), &selection) {
        Ok(groups) => groups,
        Err(message) => return (StatusCode::NOT_FOUND, message + "\n").into_response(),
    };
    let Ok(permit) = Arc::clone(&shared.dumps).acquire_owned().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n").into_response();
    };
    let schema = Arc::clone(&shared.state.schema);
    // Decoding thousands of resources takes long enough to be noticed by the streams that share these threads.
    let job = move || {
        // It goes on when the client has gone, and so does its turn.
        let _turn = permit;
        super::json(&dump(&schema, &groups))
    };
    let answer = tokio::task::spawn_blocking(job).await;
    answer.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot dump the configuration");
        (StatusCode::INTERNAL_SERVER_ERROR, "cannot dump the configuration\n").into_response()
    })
}

/// The groups to show, or why there are none.
fn select(
    snapshot: Option<&Snapshot>,
    clients: &[ClientStatus],
    selection: &Selection,
) -> Result<Vec<Arc<Group>>, String> {
    let Selection { node, group } = selection;
    let all: Vec<_> = snapshot.into_iter().flat_map(Snapshot::groups).cloned().collect();
    let mut chosen = all.clone();
    if let Some(name) = group {
        chosen.retain(|group| **group.name() == **name);
        if chosen.is_empty() {
            let names: Vec<&str> = all.iter().map(|group| &**group.name()).collect();
            let known = if names.is_empty() { "nothing is served yet".to_owned() } else { names.join(", ") };
            return Err(format!("there is no node group `{name}`; node groups: {known}"));
        }
    }
    if let Some(id) = node {
        let mut streams = clients.iter().filter(|client| client.node == *id).peekable();
        if streams.peek().is_none() {
            return Err(format!("no node `{id}` is connected; /status lists those that are"));
        }
        let groups: Vec<&str> = streams.filter_map(|client| client.group.as_deref()).collect();
        chosen.retain(|group| groups.contains(&&**group.name()));
    }
    Ok(chosen)
}

fn dump(schema: &Schema, groups: &[Arc<Group>]) -> Dump {
    groups.iter().map(|group| (Arc::clone(group.name()), kinds(schema, group))).collect()
}

fn kinds(schema: &Schema, group: &Group) -> BTreeMap<&'static str, Vec<Dumped>> {
    let served = Kind::ALL.into_iter().filter(|kind| !group.resources(*kind).is_empty());
    let resources = |kind: Kind| {
        let dumped = group.resources(kind).iter().map(|resource| Dumped {
            name: Arc::clone(&resource.name),
            version: resource.version,
            source: resource.origin.to_string(),
            resource: native_json(schema, resource, Redact::Yes),
        });
        (kind.type_url(), dumped.collect())
    };
    served.map(resources).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::snapshot::{Origin, Resource, Selectors, Traits};

    fn stream(node: &str, group: Option<&str>) -> ClientStatus {
        ClientStatus {
            node: node.to_owned(),
            cluster: String::new(),
            user_agent: String::new(),
            group: group.map(str::to_owned),
            peer: String::new(),
            protocol: "delta",
            service: "ADS",
            connected: SystemTime::UNIX_EPOCH,
            revision: None,
            kinds: BTreeMap::new(),
        }
    }

    #[test]
    fn a_node_stands_for_the_groups_of_its_streams() {
        let resource = || {
            let origin = Origin { file: "t".into(), line: 1, column: 1 };
            vec![Resource::new(Kind::Cluster, "a", b"", origin, Traits::default())]
        };
        let groups = BTreeMap::from([("edge".into(), resource()), ("batch".into(), resource())]);
        let (snapshot, _) = Snapshot::next(None, groups, Selectors::default()).unwrap();
        let clients = [stream("a", Some("edge")), stream("a", Some("edge")), stream("b", None)];
        let names = |node: Option<&str>, group: Option<&str>| {
            let selection = Selection { node: node.map(str::to_owned), group: group.map(str::to_owned) };
            let groups = select(Some(&snapshot), &clients, &selection)?;
            Ok::<_, String>(groups.iter().map(|group| group.name().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names(None, None).unwrap(), ["batch", "edge"]);
        assert_eq!(names(None, Some("batch")).unwrap(), ["batch"]);
        assert_eq!(names(Some("a"), None).unwrap(), ["edge"]);
        assert!(names(Some("b"), None).unwrap().is_empty());
        assert!(names(Some("c"), None).unwrap_err().contains("`c` is connected"));
        assert!(names(None, Some("x")).unwrap_err().contains("batch, edge"));
    }
}
