//! A real Envoy follows `topology.yaml`.

/// The tests of a module, on Envoys of both releases and in both protocols, with the threads that a load needs.
macro_rules! on_every_envoy {
    ($body:path) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn sotw() {
            $body($crate::envoy::Variant::SotwAds, $crate::support::tools::Release::Chosen).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn delta() {
            $body($crate::envoy::Variant::DeltaAds, $crate::support::tools::Release::Chosen).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn older_sotw() {
            $body($crate::envoy::Variant::SotwAds, $crate::support::tools::Release::Older).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn older_delta() {
            $body($crate::envoy::Variant::DeltaAds, $crate::support::tools::Release::Older).await;
        }
    };
}

mod admission;
mod agreement;
mod bad_edits;
mod canary;
mod certificates;
mod differential;
mod edits;
mod examples;
mod groups;
mod held;
mod make_before_break;
mod no_change;
mod random_topologies;
mod refusals;
pub(crate) mod topologies;
mod walk_through;
mod warming;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::chancery;

/// How Envoy asks for its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    SotwAds,
    DeltaAds,
    SotwSeparate,
    DeltaSeparate,
}

impl Variant {
    /// How many streams one Envoy opens for a listener, a route table, and an EDS cluster.
    fn streams(self) -> usize {
        match self {
            Self::SotwAds | Self::DeltaAds => 1,
            Self::SotwSeparate | Self::DeltaSeparate => 4,
        }
    }

    fn is_delta(self) -> bool {
        matches!(self, Self::DeltaAds | Self::DeltaSeparate)
    }

    /// `api_type` of a config source off ADS.
    fn api_type(self) -> &'static str {
        if self.is_delta() { "DELTA_GRPC" } else { "GRPC" }
    }

    /// The bootstrap of an Envoy: for ADS the one that users are given.
    pub(crate) async fn bootstrap(self, xds: SocketAddr) -> String {
        match self {
            Self::SotwAds => bootstrap(xds, &["--sotw"]).await,
            Self::DeltaAds => bootstrap(xds, &[]).await,
            Self::SotwSeparate | Self::DeltaSeparate => {
                let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
                json!({
                    "node": {"id": "test-id", "cluster": "test-cluster"},
                    "dynamic_resources": {"cds_config": self.config_source(), "lds_config": self.config_source()},
                    "static_resources": {"clusters": [{
                        "name": "xds_cluster",
                        "type": "STATIC",
                        "typed_extension_protocol_options": {
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                                "explicit_http_config": {"http2_protocol_options": {}}
                            }
                        },
                        "load_assignment": {"cluster_name": "xds_cluster", "endpoints": [{"lb_endpoints": [
                            {"endpoint": {"address": address(xds.port())}}
                        ]}]}
                    }]},
                    "admin": {"address": address(0)}
                })
                .to_string()
            }
        }
    }

    /// Where the topology says that Envoy finds routes and endpoints; nothing on ADS, which is the default.
    fn config_source(self) -> Value {
        match self {
            Self::SotwAds | Self::DeltaAds => Value::Null,
            Self::SotwSeparate | Self::DeltaSeparate => json!({
                "resource_api_version": "V3",
                "api_config_source": {
                    "api_type": self.api_type(),
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds_cluster"}}]
                }
            }),
        }
    }
}

async fn bootstrap(xds: SocketAddr, flags: &[&str]) -> String {
    bootstrap_of("test-id", "test-cluster", xds, flags).await
}

/// What `chancery bootstrap` prints for an Envoy of this identity.
pub(crate) async fn bootstrap_of(id: &str, cluster: &str, xds: SocketAddr, flags: &[&str]) -> String {
    let xds = xds.to_string();
    let arguments = ["bootstrap", "--id", id, "--cluster", cluster, "--xds", &xds];
    let arguments = [&arguments[..], &["--admin", "127.0.0.1:0"], flags].concat();
    let run = chancery::run(&arguments).await;
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout
}
