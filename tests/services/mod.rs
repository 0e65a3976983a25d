//! What the xDS port answers besides discovery.

mod csds;
mod load;
mod tools;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::xds_client::{Fixture, node};

/// A stream of requests that goes on until the sender is dropped.
fn requests<T: Send + 'static>(first: T) -> (mpsc::Sender<T>, ReceiverStream<T>) {
    let (sender, receiver) = mpsc::channel(8);
    sender.try_send(first).expect("there is room");
    (sender, ReceiverStream::new(receiver))
}

/// Nobody has to be cut off at the end: a call that would go on for ever is told.
#[tokio::test]
async fn every_open_call_ends_in_order_with_the_server() {
    let mut fixture = Fixture::start().await;
    let channel = fixture.channel().await;
    let (_csds, request) = requests(ClientStatusRequest::default());
    let mut csds = ClientStatusDiscoveryServiceClient::new(channel.clone());
    let mut csds = csds.stream_client_status(request).await.unwrap().into_inner();
    csds.message().await.unwrap().expect("an answer");
    let (_lrs, request) = requests(LoadStatsRequest { node: node(), cluster_stats: vec![] });
    let mut lrs =
        LoadReportingServiceClient::new(channel.clone()).stream_load_stats(request).await.unwrap().into_inner();
    lrs.message().await.unwrap().expect("an answer");
    let (_reflection, request) = requests(ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    });
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut reflection = reflection.server_reflection_info(request).await.unwrap().into_inner();
    reflection.message().await.unwrap().expect("an answer");
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    health.message().await.unwrap().expect("an answer");

    fixture.shutdown.cancel();
    assert_eq!(csds.message().await.unwrap(), None);
    assert_eq!(lrs.message().await.unwrap(), None);
    assert_eq!(reflection.message().await.unwrap(), None);
    while health.message().await.unwrap().is_some() {}
    fixture.running.join_next().await.unwrap().unwrap().unwrap();
    assert!(fixture.clients.load().nodes.is_empty());
}

#[tokio::test]
async fn load_reports_without_a_node_are_an_error() {
    let fixture = Fixture::start().await;
    for node in [None, Some(Node::default())] {
        let (_sender, request) = requests(LoadStatsRequest { node, cluster_stats: vec![] });
        let mut client = LoadReportingServiceClient::new(fixture.channel().await);
        let refusal = client.stream_load_stats(request).await.unwrap().into_inner().message().await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
    }
    assert!(fixture.clients.load().nodes.is_empty());
}
