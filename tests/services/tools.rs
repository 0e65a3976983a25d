//! Health and reflection, as the tools that exist for gRPC use them.

use std::process::Stdio;

use chancery::envoy::Kind;
use serde_json::{Value, json};
use tokio::process::Command;
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as Wire;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::requests;
use crate::support::tools;
use crate::support::xds_client::{ADS, Fixture};

const ADS_SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";

/// Every service of the port.
const SERVICES: [&str; 15] = [
    "envoy.service.cluster.v3.ClusterDiscoveryService",
    ADS_SERVICE,
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
    "envoy.service.listener.v3.ListenerDiscoveryService",
    "envoy.service.load_stats.v3.LoadReportingService",
    "envoy.service.route.v3.RouteDiscoveryService",
    "envoy.service.route.v3.ScopedRoutesDiscoveryService",
    "envoy.service.route.v3.VirtualHostDiscoveryService",
    "envoy.service.runtime.v3.RuntimeDiscoveryService",
    "envoy.service.secret.v3.SecretDiscoveryService",
    "envoy.service.status.v3.ClientStatusDiscoveryService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

fn health(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: Wire::from(status).into() }
}

#[tokio::test]
async fn health_is_serving_once_there_is_something_to_serve() {
    let fixture = Fixture::start().await;
    let mut client = HealthClient::new(fixture.channel().await);
    let mut watches = Vec::new();
    for service in ["", ADS_SERVICE] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(client.check(request.clone()).await.unwrap().into_inner(), health(ServingStatus::NotServing));
        let mut watch = client.watch(request.clone()).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap(), health(ServingStatus::NotServing));
        watches.push((request, watch));
    }
    fixture.publish_topology("version: 1\nclusters: [{name: c, endpoints: [\"127.0.0.1:1\"]}]\n");
    for (request, mut watch) in watches {
        assert_eq!(watch.message().await.unwrap().unwrap(), health(ServingStatus::Serving));
        assert_eq!(client.check(request).await.unwrap().into_inner(), health(ServingStatus::Serving));
    }
    let unknown = client.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_services_and_resolves_files() {
    let fixture = Fixture::start().await;
    let ask = async |message: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let (_sender, request) = requests(request);
        let mut client = ServerReflectionClient::new(fixture.channel().await);
        let mut answers = client.server_reflection_info(request).await.unwrap().into_inner();
        let ServerReflectionResponse { message_response, .. } = answers.message().await.unwrap().unwrap();
        message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("not a list")
    };
    let mut listed: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    listed.sort();
    assert_eq!(listed, SERVICES);
    for service in SERVICES {
        let answer = ask(MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{service}: {answer:?}");
    }
}

/// gRPC's own clients, which know nothing of Envoy's messages but what reflection tells them.
#[tokio::test]
async fn a_client_without_envoys_messages_learns_them_and_asks_for_the_status() {
    let fixture = Fixture::start().await;
    fixture.publish_topology("version: 1\nclusters: [{name: c, connect_timeout: 3s, endpoints: [\"127.0.0.1:1\"]}]\n");
    let mut stream = fixture.delta(ADS).await;
    stream.amend(Kind::Cluster, &[], &[]).await;
    let response = stream.receive().await;
    assert_eq!(response.resources.len(), 1);
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/ask.py"))
        .arg(fixture.listen.to_string())
        .env("PYTHONPATH", tools::grpc_tools())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["health"], json!({"": "SERVING", ADS_SERVICE: "SERVING"}));
    assert_eq!(seen["services"], json!(SERVICES));
    assert_eq!(seen["methods"], json!(["StreamAggregatedResources", "DeltaAggregatedResources"]));
    let client = &seen["status"]["config"][0];
    assert_eq!((&client["node"]["id"], &client["node"]["cluster"]), (&json!("node-1"), &json!("test")));
    let cluster = &client["genericXdsConfigs"][0];
    assert_eq!((&cluster["name"], &cluster["configStatus"]), (&json!("c"), &json!("STALE")), "{client}");
    assert_eq!(cluster["xdsConfig"]["connectTimeout"], "3s", "{client}");
}
