//! CSDS: where each client stands on each resource, as the server sees it.
//!
//! There is one `ClientConfig` per aggregated stream. Off ADS a client has a stream per kind and more, so those of one node
//! on one connection are put together. `version_info` is the resource's own version, in both protocols. What holds private
//! keys is listed without its content.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::config::core::v3::{Locality, Node, node::UserAgentVersionType};
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server::ClientStatusDiscoveryService;
use envoy_types::pb::envoy::service::status::v3::{
    ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus,
};
use envoy_types::pb::google::protobuf::{Any, Timestamp};
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use super::clients::{ClientStatus, Nack};
use super::inspect::{Question, Seen, Standing, View};
use super::node_matcher::NodeMatchers;
use super::stream::Shared;
use crate::envoy::Kind;
use crate::snapshot::{NodeFields, Resource};

/// How long the streams may take to answer, all together. A task answers at once unless its client no longer reads.
const PATIENCE: Duration = Duration::from_secs(5);
/// Streams that are asked at a time.
const AT_A_TIME: usize = 64;
/// How large a response may grow. Ten thousand clients with all their resources would be too much for either side.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// Answers CSDS.
#[derive(Debug)]
pub(super) struct ClientStatusService {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for ClientStatusService {
    type StreamClientStatusStream = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Status>> + Send>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let shared = Arc::clone(&self.shared);
        let answers = request.into_inner().then(move |request| {
            let shared = Arc::clone(&shared);
            async move { answer(&shared, &request?).await }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        answer(&self.shared, request.get_ref()).await.map(Response::new)
    }
}

impl ClientStatusService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

async fn answer(shared: &Shared, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
    let matchers = NodeMatchers::new(&request.node_matchers)?;
    let mut asked: Vec<_> = shared.clients.askable().filter(|(status, _)| matchers.matches(&status.node)).collect();
    // Streams that belong together come one after the other. The sort is stable: among equals the oldest is first.
    asked.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
    let until = Instant::now() + PATIENCE;
    let mut views = stream::iter(asked).map(|(status, ask)| view(status, ask, until)).buffered(AT_A_TIME);
    let mut clients: Vec<(ClientStatus, ClientConfig)> = Vec::new();
    let mut bytes = 0;
    while let Some(viewed) = views.next().await {
        let Some((status, view)) = viewed else { continue };
        let node = node(&status, view.as_ref().map(|view| &view.node));
        let configs: Vec<_> = view.iter().flat_map(|view| configs(view, request.exclude_resource_contents)).collect();
        bytes += node.encoded_len() + configs.iter().map(GenericXdsConfig::encoded_len).sum::<usize>();
        if bytes > MAX_RESPONSE_BYTES {
            return Err(Status::resource_exhausted(
                "the answer would be too large: ask for fewer clients by node_matchers, or set exclude_resource_contents",
            ));
        }
        let same = |last: &ClientStatus| !is_aggregated(&status) && place(last) == place(&status);
        if let Some((_, client)) = clients.last_mut().filter(|(last, _)| same(last)) {
            client.generic_xds_configs.extend(configs);
        } else {
            let client = ClientConfig { node: Some(node), generic_xds_configs: configs, ..Default::default() };
            clients.push((status, client));
        }
    }
    let config =
        clients.into_iter().map(|(status, client)| if is_aggregated(&status) { client } else { merged(client) });
    Ok(ClientStatusResponse { config: config.collect() })
}

fn is_aggregated(status: &ClientStatus) -> bool {
    status.service == "ADS"
}

/// What streams that belong together have in common.
fn place(status: &ClientStatus) -> (&str, &str, bool) {
    (&status.node, &status.peer, is_aggregated(status))
}

/// Where one stream stands: `None` if it has ended, no view if it does not answer.
async fn view(
    status: ClientStatus,
    ask: mpsc::Sender<Question>,
    until: Instant,
) -> Option<(ClientStatus, Option<View>)> {
    let (question, answer) = oneshot::channel();
    let asked = async {
        ask.send(question).await.ok()?;
        answer.await.ok()
    };
    match timeout_at(until, asked).await {
        Ok(view) => view.map(|view| (view.status.clone(), Some(view))),
        Err(_) => Some((status, None)),
    }
}

fn node(status: &ClientStatus, fields: Option<&NodeFields>) -> Node {
    let locality = fields.map(|fields| Locality {
        region: fields.region.clone(),
        zone: fields.zone.clone(),
        sub_zone: fields.sub_zone.clone(),
    });
    let name = fields.map_or("", |fields| &fields.user_agent_name);
    let version = status.user_agent.strip_prefix(name).unwrap_or_default().trim();
    Node {
        id: status.node.clone(),
        cluster: status.cluster.clone(),
        locality: locality.filter(|locality| *locality != Locality::default()),
        user_agent_name: name.to_owned(),
        user_agent_version_type: (!version.is_empty())
            .then(|| UserAgentVersionType::UserAgentVersion(version.to_owned())),
        ..Default::default()
    }
}

fn configs(view: &View, without_contents: bool) -> impl Iterator<Item = GenericXdsConfig> {
    view.resources.iter().map(move |seen| {
        let Seen { kind, name, newest, version, held: _, refused, standing } = seen;
        let nack = view.status.kinds.get(kind.service()).and_then(|status| status.nack.as_ref());
        let accepted = view.accepted.get(kind).filter(|_| *standing == Standing::Synced);
        let shown = newest.as_ref().filter(|resource| !without_contents && !is_secret(resource));
        GenericXdsConfig {
            type_url: kind.type_url().to_owned(),
            name: name.to_string(),
            version_info: version.map(|version| version.to_string()).unwrap_or_default(),
            xds_config: shown.map(|resource| any(resource)),
            // Of the whole kind: when each resource was accepted is not kept.
            last_updated: accepted.map(|at| timestamp(*at)),
            config_status: config_status(*standing).into(),
            client_status: client_status(seen).into(),
            error_state: nack.filter(|_| *refused).map(failure),
            is_static_resource: false,
        }
    })
}

/// Certificates travel with their keys, and other resources may hold secrets as well.
fn is_secret(resource: &Resource) -> bool {
    resource.kind == Kind::Secret || resource.traits.private
}

fn any(resource: &Resource) -> Any {
    Any { type_url: resource.kind.type_url().to_owned(), value: resource.message().to_vec() }
}

fn config_status(standing: Standing) -> ConfigStatus {
    match standing {
        Standing::Unknown => ConfigStatus::Unknown,
        Standing::NotSent => ConfigStatus::NotSent,
        Standing::Stale => ConfigStatus::Stale,
        Standing::Synced => ConfigStatus::Synced,
        Standing::Refused => ConfigStatus::Error,
    }
}

/// What the client would say of itself, as far as its answers tell.
fn client_status(seen: &Seen) -> ClientResourceStatus {
    match (seen.refused, seen.held, seen.standing) {
        (true, ..) => ClientResourceStatus::Nacked,
        (false, true, _) => ClientResourceStatus::Acked,
        (false, false, Standing::Unknown) => ClientResourceStatus::DoesNotExist,
        (false, false, _) => ClientResourceStatus::Requested,
    }
}

fn failure(Nack { message, version, at, code: _, origins: _ }: &Nack) -> UpdateFailureState {
    UpdateFailureState {
        failed_configuration: None,
        last_update_attempt: Some(timestamp(*at)),
        details: message.clone(),
        version_info: version.clone(),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = since.subsec_nanos().try_into().expect("less than a second");
    Timestamp { seconds: since.as_secs().try_into().unwrap_or(i64::MAX), nanos }
}

/// Puts the resources of several streams in order. Of a resource that several have, the least agreeable word counts.
fn merged(mut client: ClientConfig) -> ClientConfig {
    let urgency = |config: &GenericXdsConfig| match config.config_status() {
        ConfigStatus::Error => 0,
        ConfigStatus::Stale => 1,
        ConfigStatus::NotSent => 2,
        ConfigStatus::Synced => 3,
        ConfigStatus::Unknown => 4,
    };
    let kind = |config: &GenericXdsConfig| Kind::from_type_url(&config.type_url);
    let configs = &mut client.generic_xds_configs;
    configs.sort_by(|a, b| (kind(a), &a.name, urgency(a)).cmp(&(kind(b), &b.name, urgency(b))));
    configs.dedup_by(|later, first| later.type_url == first.type_url && later.name == first.name);
    client
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::snapshot::{Origin, Store, Traits, Version};
    use crate::xds::{Clients, Gates, KindState, KindStatus, Metrics, Policy, Rollout};

    fn shared() -> Shared {
        let store = Arc::new(Store::new());
        Shared {
            rollout: Arc::new(Rollout::new(Arc::clone(&store), Policy::Hold, Metrics::default())),
            store,
            clients: Arc::new(Clients::new()),
            metrics: Metrics::default(),
            gates: Gates::default(),
            identifier: "".into(),
            withhold: None,
            load_interval: Duration::ZERO,
            admission: None,
        }
    }

    fn status(node: &str) -> ClientStatus {
        ClientStatus {
            node: node.to_owned(),
            cluster: "web".to_owned(),
            user_agent: "envoy 1.40.0".to_owned(),
            group: None,
            peer: String::new(),
            protocol: "delta",
            service: "ADS",
            connected: SystemTime::UNIX_EPOCH,
            revision: None,
            kinds: BTreeMap::new(),
        }
    }

    fn seen(name: &str, newest: Option<Resource>) -> Seen {
        Seen {
            kind: Kind::Cluster,
            name: name.into(),
            newest: newest.map(Arc::new),
            version: None,
            held: false,
            refused: false,
            standing: Standing::NotSent,
        }
    }

    fn cluster(name: &str, body: &[u8], private: bool) -> Resource {
        let origin = Origin { file: "t.yaml".into(), line: 1, column: 1 };
        Resource::new(Kind::Cluster, name, body, origin, Traits { private, ..Traits::default() })
    }

    fn view(status: ClientStatus, resources: Vec<Seen>) -> View {
        View { status, node: NodeFields::default(), accepted: BTreeMap::new(), resources }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_ended_or_does_not_answer_holds_up_nobody() {
        let shared = shared();
        let register = |node: &str| {
            let (ask, questions) = mpsc::channel::<Question>(1);
            (shared.clients.register(status(node), ask), questions)
        };
        let (_ended, questions) = register("ended");
        drop(questions);
        let (_ending, mut questions) = register("ending");
        let (_silent, _questions) = register("silent");
        let request = ClientStatusRequest::default();
        let (answer, ()) = tokio::join!(answer(&shared, &request), async { drop(questions.recv().await) });
        let nodes: Vec<_> = answer.unwrap().config.into_iter().map(|client| client.node.unwrap()).collect();
        assert_eq!(nodes.iter().map(|node| &*node.id).collect::<Vec<_>>(), ["silent"]);
        assert_eq!(nodes[0].cluster, "web");
    }

    #[tokio::test]
    async fn an_answer_that_would_be_too_large_is_refused() {
        let shared = shared();
        let (ask, mut questions) = mpsc::channel::<Question>(1);
        let _client = shared.clients.register(status("a"), ask);
        for (exclude_resource_contents, is_answered) in [(false, false), (true, true)] {
            let request = ClientStatusRequest { exclude_resource_contents, ..Default::default() };
            let (answer, ()) = tokio::join!(answer(&shared, &request), async {
                let large = seen("c", Some(cluster("c", &vec![0; MAX_RESPONSE_BYTES], false)));
                questions.recv().await.unwrap().send(view(status("a"), vec![large])).unwrap();
            });
            assert_eq!(answer.is_ok(), is_answered);
            assert!(answer.err().is_none_or(|status| status.code() == tonic::Code::ResourceExhausted));
        }
    }

    #[test]
    fn private_content_is_never_shown() {
        let resources = vec![
            seen("gone", None),
            seen("private", Some(cluster("private", b"key", true))),
            seen("public", Some(cluster("public", b"1", false))),
        ];
        let view = view(status("a"), resources);
        let shown = configs(&view, false).filter(|config| config.xds_config.is_some()).map(|config| config.name);
        assert_eq!(shown.collect::<Vec<_>>(), ["public"]);
        assert!(configs(&view, true).all(|config| config.xds_config.is_none()));
    }

    /// What a refusal said is told as long as what was refused is not made good, also of the newer content that waits.
    #[test]
    fn a_refusal_is_told_of_the_resources_that_it_concerns() {
        let nack = Nack {
            code: 13,
            message: "no".to_owned(),
            version: "v".to_owned(),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            origins: Vec::new(),
        };
        let kind = KindStatus {
            state: KindState::Nacked,
            sent: None,
            acked: None,
            nack: Some(nack),
            wildcard: true,
            names: 0,
            waiting: None,
        };
        let mut status = status("a");
        status.kinds.insert("CDS", kind);
        let refused = Seen { refused: true, version: Some(Version::of(b"1")), ..seen("b", None) };
        let configs: Vec<_> = configs(&view(status, vec![seen("a", None), refused]), false).collect();
        assert_eq!(configs[0].error_state, None);
        let error = configs[1].error_state.as_ref().unwrap();
        assert_eq!((error.details.as_str(), error.version_info.as_str()), ("no", "v"));
        assert_eq!(error.last_update_attempt, Some(Timestamp { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(
            (configs[1].config_status(), configs[1].client_status()),
            (ConfigStatus::NotSent, ClientResourceStatus::Nacked)
        );
    }
}
