//! An xDS server in this process and clients that speak to it by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery::envoy::{Kind, Schema};
use chancery::pipeline::{self, Outcome, World};
use chancery::snapshot::{DEFAULT_GROUP, Origin, Resource, Selector, Selectors, Snapshot, Store, Traits};
use chancery::source::{Document, Recorder};
use chancery::xds::{Clients, Listen, Metrics, Options, Rollout, Server};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long a message may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The aggregated service.
pub(crate) const ADS: &str = "discovery.v3.AggregatedDiscoveryService/AggregatedResources";

/// A server and what it serves.
pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) rollout: Arc<Rollout>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinSet<std::io::Result<()>>,
    pub(crate) listen: Listen,
    registry: Registry,
    resources: Mutex<BTreeMap<(Kind, String), Resource>>,
    selectors: Mutex<Selectors>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(&"127.0.0.1:0".parse().unwrap(), Options::default()).await
    }

    pub(crate) async fn start_with(listen: &Listen, options: Options) -> Self {
        let (store, clients, shutdown) = (Arc::new(Store::new()), Arc::new(Clients::new()), CancellationToken::new());
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let server = Server::bind(listen, Arc::clone(&store), Arc::clone(&clients), metrics, options).await.unwrap();
        let (listen, rollout) = (server.local_addr().clone(), Arc::clone(server.rollout()));
        let mut running = JoinSet::new();
        running.spawn(server.run(shutdown.clone()));
        Self {
            store,
            clients,
            rollout,
            shutdown,
            running,
            listen,
            registry,
            resources: Mutex::default(),
            selectors: Mutex::default(),
        }
    }

    /// Sets resources to a body and publishes. The origin of the n-th one of a call is line n.
    pub(crate) fn publish(&self, resources: &[(Kind, &str, &str)]) {
        let mut all = self.resources.lock().unwrap();
        for (line, (kind, name, body)) in (1..).zip(resources) {
            let origin = Origin { file: "topology.yaml".into(), line, column: 3 };
            let resource = Resource::new(*kind, *name, body.as_bytes(), origin, Traits::default());
            all.insert((*kind, (*name).to_owned()), resource);
        }
        self.publish_all(&all);
    }

    /// Sets resources and publishes, from now on for the nodes of one id alone.
    pub(crate) fn publish_for(&self, node: &str, resources: &[(Kind, &str, &str)]) {
        *self.selectors.lock().unwrap() = [(DEFAULT_GROUP.into(), Selector::of_id(node))].into_iter().collect();
        self.publish(resources);
    }

    /// Publishes what a topology stands for, instead of single resources.
    pub(crate) fn publish_topology(&self, text: &str) {
        let document = Document { name: "topology.yaml".into(), bytes: text.as_bytes().into() };
        let (attachments, previous) = (Recorder::new(), self.store.load());
        let (world, mut memory) = (World { attachments: &attachments, now: 0 }, pipeline::Memory::default());
        let build = pipeline::build(&Schema::embedded(), &[document], &world, previous.as_deref(), &mut memory);
        let Outcome::Changed { snapshot, .. } = build.outcome else { panic!("{:?}", build.report) };
        self.store.publish(snapshot);
    }

    /// Removes resources and publishes.
    pub(crate) fn remove(&self, resources: &[(Kind, &str)]) {
        let mut all = self.resources.lock().unwrap();
        for (kind, name) in resources {
            all.remove(&(*kind, (*name).to_owned())).unwrap();
        }
        self.publish_all(&all);
    }

    fn publish_all(&self, resources: &BTreeMap<(Kind, String), Resource>) {
        let groups = BTreeMap::from([(DEFAULT_GROUP.into(), resources.values().cloned().collect())]);
        let selectors = self.selectors.lock().unwrap().clone();
        let (snapshot, _) = Snapshot::next(self.store.load().as_deref(), groups, selectors).expect("something changed");
        self.store.publish(Arc::new(snapshot));
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = match &self.listen {
            Listen::Tcp(address) => format!("http://{address}"),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        Endpoint::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn sotw(&self, service: &str) -> Sotw {
        Stream::open(self.channel().await, &service.replace('/', "/Stream")).await
    }

    pub(crate) async fn delta(&self, service: &str) -> Delta {
        Stream::open(self.channel().await, &service.replace('/', "/Delta")).await
    }
}

pub(crate) type Sotw = Stream<DiscoveryRequest, DiscoveryResponse>;
pub(crate) type Delta = Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/// One stream, driven by hand.
pub(crate) struct Stream<Q, R> {
    requests: mpsc::Sender<Q>,
    responses: tonic::Streaming<R>,
}

impl<Q, R> Stream<Q, R>
where
    Q: Message + 'static,
    R: Message + Default + std::fmt::Debug + 'static,
{
    pub(crate) async fn open(channel: Channel, method: &str) -> Self {
        Self::try_open(channel, method).await.unwrap()
    }

    pub(crate) async fn try_open(channel: Channel, method: &str) -> Result<Self, Status> {
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
        grpc.ready().await.unwrap();
        let (requests, queue) = mpsc::channel(64);
        let path = format!("/envoy.service.{method}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<Q, R>::default();
        let answer = grpc.streaming(tonic::Request::new(ReceiverStream::new(queue)), path, codec).await?;
        Ok(Self { requests, responses: answer.into_inner() })
    }

    pub(crate) async fn send(&self, request: Q) {
        self.requests.send(request).await.unwrap();
    }

    /// The next response.
    pub(crate) async fn receive(&mut self) -> R {
        self.next().await.unwrap().expect("the stream goes on")
    }

    /// How the stream ends: `None` is a regular end.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        match self.next().await {
            Ok(None) => None,
            Ok(Some(response)) => panic!("not the end: {response:?}"),
            Err(status) => Some(status),
        }
    }

    async fn next(&mut self) -> Result<Option<R>, Status> {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("something happens in time")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the field takes it")]
pub(crate) fn node() -> Option<Node> {
    Some(Node { id: "node-1".into(), cluster: "test".into(), ..Node::default() })
}

#[expect(clippy::unnecessary_wraps, reason = "as the field takes it")]
pub(crate) fn refusal(message: &str) -> Option<rpc::Status> {
    Some(rpc::Status { code: 13, message: message.into(), details: vec![] })
}

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

impl Sotw {
    /// Asks for names for the first time, with the node.
    pub(crate) async fn want(&self, kind: Kind, names: &[&str]) {
        self.send(DiscoveryRequest {
            node: node(),
            type_url: kind.type_url().into(),
            resource_names: strings(names),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn ack(&self, response: &DiscoveryResponse, names: &[&str]) {
        self.send(DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: strings(names),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn nack(&self, response: &DiscoveryResponse, names: &[&str], message: &str) {
        self.send(DiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: strings(names),
            error_detail: refusal(message),
            ..Default::default()
        })
        .await;
    }
}

impl Delta {
    pub(crate) async fn amend(&self, kind: Kind, subscribe: &[&str], unsubscribe: &[&str]) {
        self.rejoin(kind, subscribe, unsubscribe, &[]).await;
    }

    pub(crate) async fn rejoin(&self, kind: Kind, subscribe: &[&str], unsubscribe: &[&str], held: &[(&str, &str)]) {
        self.send(DeltaDiscoveryRequest {
            node: node(),
            type_url: kind.type_url().into(),
            resource_names_subscribe: strings(subscribe),
            resource_names_unsubscribe: strings(unsubscribe),
            initial_resource_versions: held
                .iter()
                .map(|(name, version)| (name.to_string(), version.to_string()))
                .collect(),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<rpc::Status>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error,
            ..Default::default()
        })
        .await;
    }
}

/// The bodies of a response's resources.
pub(crate) fn bodies(response: &DiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|any| std::str::from_utf8(&any.value).unwrap()).collect()
}

/// The names of which a response says that they do not exist.
pub(crate) fn missing(response: &DiscoveryResponse) -> Vec<&str> {
    let errors = &response.resource_errors;
    assert!(errors.iter().all(|error| error.error_detail.as_ref().unwrap().code == i32::from(Code::NotFound)));
    errors.iter().map(|error| &*error.resource_name.as_ref().unwrap().name).collect()
}

/// `name=body` for what is there, `-name` for what is gone.
pub(crate) fn shown(response: &DeltaDiscoveryResponse) -> Vec<String> {
    let body = |any: &envoy_types::pb::google::protobuf::Any| String::from_utf8(any.value.clone()).unwrap();
    let there = response.resources.iter().map(|one| format!("{}={}", one.name, body(one.resource.as_ref().unwrap())));
    there.chain(response.removed_resources.iter().map(|name| format!("-{name}"))).collect()
}
