//! What the port serves besides discovery.

use std::sync::{Arc, OnceLock};

use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server as lrs_server;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server as csds_server;
use tonic::service::Routes;
use tonic_health::pb::health_server;
use tonic_reflection::pb::{v1, v1alpha};

use super::csds::ClientStatusService;
use super::health::Health;
use super::lrs::LoadReports;
use super::reflection;
use super::service::{DISCOVERY, MAX_REQUEST_BYTES};
use super::stream::Shared;

type Csds = csds_server::ClientStatusDiscoveryServiceServer<ClientStatusService>;
type Lrs = lrs_server::LoadReportingServiceServer<LoadReports>;

const CSDS: &str = csds_server::SERVICE_NAME;
const LRS: &str = lrs_server::SERVICE_NAME;
const HEALTH: &str = health_server::SERVICE_NAME;
const REFLECTION: &str = v1::server_reflection_server::SERVICE_NAME;
const REFLECTION_ALPHA: &str = v1alpha::server_reflection_server::SERVICE_NAME;

/// The services besides discovery.
#[derive(Debug)]
pub(super) struct Further {
    routes: Routes,
    /// Made when they are first asked for: each holds an index of all of Envoy's messages.
    reflection: OnceLock<Routes>,
    reflection_alpha: OnceLock<Routes>,
}

impl Further {
    pub(super) fn new(shared: &Arc<Shared>, health: &Health) -> Self {
        let csds = Csds::new(ClientStatusService::new(Arc::clone(shared)));
        let lrs = Lrs::new(LoadReports::new(Arc::clone(shared))).max_decoding_message_size(MAX_REQUEST_BYTES);
        let routes = Routes::new(csds).add_service(lrs).add_service(health.service()).prepare();
        Self { routes, reflection: OnceLock::new(), reflection_alpha: OnceLock::new() }
    }

    /// What answers the call of a path, if its service is one of these.
    pub(super) fn find(&self, path: &str) -> Option<Routes> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        let routes = match service {
            CSDS | LRS | HEALTH => &self.routes,
            REFLECTION => self.reflection.get_or_init(|| reflection::v1(services())),
            REFLECTION_ALPHA => self.reflection_alpha.get_or_init(|| reflection::v1alpha(services())),
            _ => return None,
        };
        Some(routes.clone())
    }
}

/// Every service of the port.
fn services() -> impl Iterator<Item = &'static str> {
    let discovery = DISCOVERY.into_iter().map(|(name, ..)| name);
    discovery.chain([CSDS, LRS, HEALTH, REFLECTION, REFLECTION_ALPHA])
}
