//! CSDS: where each client stands.

use chancery::envoy::Kind;
use chancery::snapshot::Version;
use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::config::core::v3::{BuildVersion, Locality, Node, node::UserAgentVersionType};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ConfigStatus};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher, StructMatcher};
use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
use tonic::{Code, Status};

use super::requests;
use crate::envoy::{Variant, topologies};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::xds_client::{ADS, Fixture, Sotw, Stream, node, refusal};
use crate::support::{eventually, holds};

/// What CSDS says.
async fn fetch(fixture: &Fixture, request: ClientStatusRequest) -> Result<Vec<ClientConfig>, Status> {
    let mut client = ClientStatusDiscoveryServiceClient::new(fixture.channel().await);
    Ok(client.fetch_client_status(request).await?.into_inner().config)
}

/// `CDS a SYNCED ACKED`, and what was refused.
fn row(config: &GenericXdsConfig) -> String {
    let kind = Kind::from_type_url(&config.type_url).expect("a type that is served");
    let (status, client) = (config.config_status().as_str_name(), config.client_status().as_str_name());
    let error = config.error_state.as_ref().map(|error| format!(": {}", error.details)).unwrap_or_default();
    format!("{kind} {} {status} {client}{error}", config.name)
}

/// Waits until the only client stands where it should, and returns what is said of each resource.
async fn until(fixture: &Fixture, rows: &[&str]) -> Vec<GenericXdsConfig> {
    eventually("the status of the client", async || {
        let clients = fetch(fixture, ClientStatusRequest::default()).await.map_err(|status| status.to_string())?;
        let configs = clients.into_iter().flat_map(|client| client.generic_xds_configs).collect::<Vec<_>>();
        let seen: Vec<_> = configs.iter().map(row).collect();
        holds(seen == rows, seen).map(|()| configs)
    })
    .await
}

const RESOURCES: [(Kind, &str, &str); 6] = [
    (Kind::Cluster, "a", "1"),
    (Kind::Cluster, "b", "1"),
    (Kind::Endpoint, "a", "1"),
    (Kind::Secret, "key", "1"),
    (Kind::Listener, "l", "1"),
    (Kind::Route, "r", "1"),
];

#[tokio::test]
async fn x10_every_status_sotw() {
    let fixture = Fixture::start().await;
    fixture.publish(&RESOURCES);
    let mut stream = fixture.sotw(ADS).await;
    for (kind, names) in [
        (Kind::Cluster, &[][..]),
        (Kind::Endpoint, &["a", "missing"]),
        (Kind::Secret, &["key"]),
        (Kind::Listener, &[]),
        (Kind::Route, &["r"]),
    ] {
        stream.want(kind, names).await;
        let response = stream.receive().await;
        assert_eq!(response.type_url, kind.type_url());
        // The listener is not answered, and the route not until it has changed.
        if !matches!(kind, Kind::Listener | Kind::Route) {
            stream.ack(&response, names).await;
        }
    }
    fixture.publish(&[(Kind::Cluster, "b", "2"), (Kind::Route, "r", "2")]);
    let response = stream.receive().await;
    stream.nack(&response, &[], "b is bad").await;
    let rows = [
        // A full set was refused.
        "CDS a ERROR NACKED: b is bad",
        "CDS b ERROR NACKED: b is bad",
        "EDS a SYNCED ACKED",
        "EDS missing UNKNOWN DOES_NOT_EXIST",
        "SDS key SYNCED ACKED",
        "LDS l STALE REQUESTED",
        "RDS r NOT_SENT REQUESTED",
    ];
    check(&until(&fixture, &rows).await, &response.version_info);
    fixture.publish(&[(Kind::Cluster, "b", "3")]);
    let mended = stream.receive().await;
    stream.ack(&mended, &[]).await;
    let rows = [&["CDS a SYNCED ACKED", "CDS b SYNCED ACKED"], &rows[2..]].concat();
    let configs = until(&fixture, &rows).await;
    assert_eq!(configs[1].version_info, Version::of(b"3").to_string());
}

#[tokio::test]
async fn x10_every_status_delta() {
    let fixture = Fixture::start().await;
    fixture.publish(&RESOURCES);
    let mut stream = fixture.delta(ADS).await;
    for (kind, names) in [
        (Kind::Cluster, &[][..]),
        (Kind::Endpoint, &["a", "missing"]),
        (Kind::Secret, &["key"]),
        (Kind::Listener, &[]),
        (Kind::Route, &["r"]),
    ] {
        stream.amend(kind, names, &[]).await;
        let response = stream.receive().await;
        assert_eq!(response.type_url, kind.type_url());
        if !matches!(kind, Kind::Listener | Kind::Route) {
            stream.answer(&response, None).await;
        }
    }
    fixture.publish(&[(Kind::Cluster, "b", "2"), (Kind::Route, "r", "2")]);
    let response = stream.receive().await;
    stream.answer(&response, refusal("b is bad")).await;
    let rows = [
        "CDS a SYNCED ACKED",
        "CDS b ERROR NACKED: b is bad",
        "EDS a SYNCED ACKED",
        "EDS missing UNKNOWN DOES_NOT_EXIST",
        "SDS key SYNCED ACKED",
        "LDS l STALE REQUESTED",
        "RDS r NOT_SENT REQUESTED",
    ];
    check(&until(&fixture, &rows).await, &response.system_version_info);
    fixture.publish(&[(Kind::Cluster, "b", "3")]);
    let mended = stream.receive().await;
    stream.answer(&mended, None).await;
    let rows = [&["CDS a SYNCED ACKED", "CDS b SYNCED ACKED"], &rows[2..]].concat();
    let configs = until(&fixture, &rows).await;
    assert_eq!(configs[1].version_info, Version::of(b"3").to_string());
}

/// What both protocols tell of the same client.
fn check(configs: &[GenericXdsConfig], refused: &str) {
    let of = |kind: Kind, name: &str| {
        let found = configs.iter().find(|config| config.type_url == kind.type_url() && config.name == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let bad = of(Kind::Cluster, "b");
    assert_eq!(bad.version_info, Version::of(b"2").to_string());
    assert_eq!(bad.xds_config.as_ref().unwrap().value, b"2", "what is refused is what the server has");
    let error = bad.error_state.as_ref().unwrap();
    assert_eq!(error.version_info, refused);
    assert!(error.last_update_attempt.is_some_and(|at| at.seconds > 1_700_000_000));
    assert!(bad.last_updated.is_none());
    let route = of(Kind::Route, "r");
    assert_eq!(route.version_info, Version::of(b"1").to_string());
    assert_eq!(route.xds_config.as_ref().unwrap().value, b"2");
    let endpoints = of(Kind::Endpoint, "a");
    assert!(endpoints.last_updated.is_some_and(|at| at.seconds > 1_700_000_000));
    assert_eq!(of(Kind::Endpoint, "missing").xds_config, None);
    assert_eq!(of(Kind::Secret, "key").xds_config, None, "secrets are not shown");
}

/// Opens an aggregated stream of a node and waits until it is known.
async fn join(fixture: &Fixture, node: Node) -> Sotw {
    let mut stream = fixture.sotw(ADS).await;
    let type_url = Kind::Cluster.type_url().into();
    stream.send(DiscoveryRequest { node: Some(node), type_url, ..Default::default() }).await;
    stream.receive().await;
    stream
}

fn by_id(pattern: MatchPattern) -> NodeMatcher {
    let node_id = Some(StringMatcher { match_pattern: Some(pattern), ignore_case: false });
    NodeMatcher { node_id, node_metadatas: Vec::new() }
}

#[tokio::test]
async fn clients_are_told_apart_and_can_be_asked_for() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let build = BuildVersion { version: Some(version), metadata: None };
    let edge = Node {
        id: "edge-1".into(),
        cluster: "edge".into(),
        locality: Some(Locality { region: "r".into(), zone: "z".into(), sub_zone: String::new() }),
        user_agent_name: "envoy".into(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
        ..Default::default()
    };
    let _edge = join(&fixture, edge.clone()).await;
    let batch = Node { id: "batch-1".into(), ..Default::default() };
    let _batch = [join(&fixture, batch.clone()).await, join(&fixture, batch).await];
    let ids = async |node_matchers: Vec<NodeMatcher>| {
        let clients = fetch(&fixture, ClientStatusRequest { node_matchers, ..Default::default() }).await?;
        Ok::<_, Status>(clients.into_iter().map(|client| client.node.unwrap().id).collect::<Vec<_>>())
    };
    assert_eq!(
        ids(vec![]).await.unwrap(),
        ["batch-1", "batch-1", "edge-1"],
        "streams of one id are clients of their own"
    );
    let prefix = by_id(MatchPattern::Prefix("edge".into()));
    let exact = by_id(MatchPattern::Exact("batch-1".into()));
    assert_eq!(ids(vec![prefix.clone()]).await.unwrap(), ["edge-1"]);
    assert_eq!(ids(vec![prefix.clone(), exact]).await.unwrap().len(), 3);
    let metadata = NodeMatcher { node_metadatas: vec![StructMatcher::default()], ..Default::default() };
    assert_eq!(ids(vec![prefix.clone(), metadata]).await.unwrap_err().code(), Code::InvalidArgument);

    let request =
        ClientStatusRequest { node_matchers: vec![prefix], exclude_resource_contents: true, ..Default::default() };
    let client = fetch(&fixture, request).await.unwrap().remove(0);
    let told = UserAgentVersionType::UserAgentVersion("1.40.0".into());
    assert_eq!(client.node, Some(Node { user_agent_version_type: Some(told), ..edge }));
    let [config] = &client.generic_xds_configs[..] else { panic!("{client:?}") };
    assert_eq!((row(config).as_str(), &config.xds_config), ("CDS c STALE REQUESTED", &None));
}

#[tokio::test]
async fn off_ads_the_streams_of_one_connection_are_one_client() {
    let fixture = Fixture::start().await;
    fixture.publish(&RESOURCES);
    let channel = fixture.channel().await;
    let mut streams: Vec<Sotw> = Vec::new();
    for (service, kind, names) in [
        ("cluster.v3.ClusterDiscoveryService/StreamClusters", Kind::Cluster, &[][..]),
        ("endpoint.v3.EndpointDiscoveryService/StreamEndpoints", Kind::Endpoint, &["a"]),
        ("endpoint.v3.EndpointDiscoveryService/StreamEndpoints", Kind::Endpoint, &["a", "missing"]),
    ] {
        let mut stream = Stream::open(channel.clone(), service).await;
        stream.want(kind, names).await;
        let response = stream.receive().await;
        // Of what two streams have, that which is not in order is told.
        if streams.len() < 2 {
            stream.ack(&response, names).await;
        }
        streams.push(stream);
    }
    let _elsewhere = join(&fixture, node().unwrap()).await;
    let rows = [
        "CDS a SYNCED ACKED",
        "CDS b SYNCED ACKED",
        "EDS a STALE REQUESTED",
        "EDS missing STALE REQUESTED",
        "CDS a STALE REQUESTED",
        "CDS b STALE REQUESTED",
    ];
    let rows = |first: usize| [&rows[first..], &rows[..first]].concat();
    eventually("two clients", async || {
        let clients = fetch(&fixture, ClientStatusRequest::default()).await.unwrap();
        let seen: Vec<_> = clients.iter().flat_map(|client| &client.generic_xds_configs).map(row).collect();
        // Which of the two ports is the lower one is the system's choice.
        holds(clients.len() == 2 && (seen == rows(0) || seen == rows(4)), seen)
    })
    .await;
}

/// An Envoy is one client, however many streams it opens.
#[tokio::test]
async fn a_real_envoy_is_in_sync_however_it_asks() {
    for variant in [Variant::SotwAds, Variant::DeltaAds, Variant::SotwSeparate, Variant::DeltaSeparate] {
        let (listener, endpoint) = (Port::reserve(), Port::reserve());
        let fixture = Fixture::start().await;
        fixture.publish_topology(&topologies::one_service(variant, listener.number(), endpoint.number()));
        let _envoy = Envoy::start(&variant.bootstrap(fixture.listen.to_string().parse().unwrap()).await).await;
        let rows = ["CDS service", "EDS service", "LDS listener_0", "RDS local_route"];
        until(&fixture, &rows.map(|row| format!("{row} SYNCED ACKED")).each_ref().map(|row| &**row)).await;
        let clients = fetch(&fixture, ClientStatusRequest::default()).await.unwrap();
        let [client] = &clients[..] else { panic!("{variant:?}: {clients:?}") };
        let node = client.node.as_ref().unwrap();
        assert_eq!((&*node.id, &*node.user_agent_name), ("test-id", "envoy"), "{variant:?}");
    }
}

#[tokio::test]
async fn a_stream_of_requests_is_answered_one_by_one() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut client = ClientStatusDiscoveryServiceClient::new(fixture.channel().await);
    let (asking, request) = requests(ClientStatusRequest::default());
    let mut answers = client.stream_client_status(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().config, []);
    let stream = join(&fixture, node().unwrap()).await;
    asking.send(ClientStatusRequest::default()).await.unwrap();
    let clients = answers.message().await.unwrap().unwrap().config;
    assert_eq!(clients[0].generic_xds_configs[0].config_status(), ConfigStatus::Stale);
    assert_eq!(clients[0].generic_xds_configs[0].client_status(), ClientResourceStatus::Requested);
    drop(stream);
    eventually("the client has left", async || {
        asking.send(ClientStatusRequest::default()).await.unwrap();
        let clients = answers.message().await.unwrap().unwrap().config;
        holds(clients.is_empty(), clients)
    })
    .await;
    drop(asking);
    assert_eq!(answers.message().await.unwrap(), None);
}

/// A node without a group keeps what it has, and nothing more is meant for it.
#[tokio::test]
async fn what_a_node_without_a_group_holds_is_of_unknown_standing() {
    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Cluster, "c", "1")]);
    let mut stream = fixture.sotw(ADS).await;
    stream.want(Kind::Cluster, &[]).await;
    let response = stream.receive().await;
    stream.ack(&response, &[]).await;
    until(&fixture, &["CDS c SYNCED ACKED"]).await;
    fixture.publish_for("somebody-else", &[(Kind::Cluster, "c", "2")]);
    let configs = until(&fixture, &["CDS c UNKNOWN ACKED"]).await;
    assert_eq!((&configs[0].version_info, &configs[0].xds_config), (&Version::of(b"1").to_string(), &None));
}
