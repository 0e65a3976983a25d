//! What the port serves besides discovery.

use std::sync::Arc;

use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server as csds_server;
use tonic::service::Routes;

use super::csds::ClientStatusService;
use super::stream::Shared;

type Csds = csds_server::ClientStatusDiscoveryServiceServer<ClientStatusService>;

const CSDS: &str = csds_server::SERVICE_NAME;

/// The services besides discovery.
#[derive(Debug)]
pub(super) struct Further {
    routes: Routes,
}

impl Further {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let csds = Csds::new(ClientStatusService::new(Arc::clone(shared)));
        Self { routes: Routes::new(csds).prepare() }
    }

    /// What answers the call of a path, if its service is one of these.
    pub(super) fn find(&self, path: &str) -> Option<Routes> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        (service == CSDS).then(|| self.routes.clone())
    }
}
