//! What the xDS port answers besides discovery.

mod csds;
mod tools;

use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::xds_client::Fixture;

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
    assert_eq!(reflection.message().await.unwrap(), None);
    while health.message().await.unwrap().is_some() {}
    fixture.running.join_next().await.unwrap().unwrap().unwrap();
}
