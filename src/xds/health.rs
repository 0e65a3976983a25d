//! Health as gRPC asks for it: serving once there is something to serve.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::service::DISCOVERY;
use crate::snapshot::Store;

/// The whole server, and the service that proxies use.
const NAMES: [&str; 2] = ["", DISCOVERY[0].0];

/// The state of the server, told to all who ask.
pub(super) struct Health(HealthReporter);

impl Health {
    /// Not serving yet.
    pub(super) async fn new() -> Self {
        let health = Self(HealthReporter::new());
        health.set(ServingStatus::NotServing).await;
        health
    }

    /// Answers `Check` and `Watch`.
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }

    async fn set(&self, status: ServingStatus) {
        for name in NAMES {
            self.0.set_service_status(name, status).await;
        }
    }

    /// Follows the store until the end, which those who watch are told of: a watch would else keep its connection open.
    pub(super) async fn follow(mut self, store: Arc<Store>, shutdown: CancellationToken) {
        let mut bell = store.subscribe();
        let is_served = async {
            // The store outlives the server, so that the bell cannot go first.
            while store.load().is_none() && bell.changed().await.is_ok() {}
        };
        tokio::select! {
            () = is_served => self.set(ServingStatus::Serving).await,
            () = shutdown.cancelled() => {}
        }
        shutdown.cancelled().await;
        self.set(ServingStatus::NotServing).await;
        for name in NAMES {
            self.0.clear_service_status(name).await;
        }
    }
}
