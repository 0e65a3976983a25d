//! What the walk through a resource notes for the checks that need to see several resources.

use super::references::{self, Reference};
use super::site::{Site, steps};
use super::tls_material::Certificate;
use crate::diagnostic::Finding;
use crate::envoy::{Path, field};

/// The message of the HTTP connection manager.
pub(super) const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What was noted of one resource.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Names of other resources.
    pub(super) references: Vec<Reference>,
    /// HTTP connection managers.
    pub(super) managers: Vec<Manager>,
    /// Filter chains that terminate TLS.
    pub(super) tls_chains: Vec<Path>,
    /// Configurations of filters on routes and the like.
    pub(super) overrides: Vec<Override>,
    /// Routes to clusters, and whether they say how to hash.
    pub(super) targets: Vec<Target>,
    /// Routes that redirect to the same URL over HTTPS.
    pub(super) https_redirects: Vec<Path>,
    /// Whether a cluster speaks HTTP/2 or HTTP/3.
    pub(super) http2: bool,
    /// What is suspicious of endpoints, and wrong where gRPC clients are sent to them.
    pub(super) flaws: Vec<Finding>,
    /// Matches of headers that only HTTP has, such as `:method`.
    pub(super) pseudo_headers: Vec<Path>,
    /// Actions of routes other than `non_forwarding_action`.
    pub(super) forwarding: Vec<Path>,
    /// The last certificate that is shown to peers.
    pub(super) shown: Option<Certificate>,
    /// Whether there is a private key, or another secret, in the clear.
    pub(super) private: bool,
    /// When the next certificate becomes valid or expires, in seconds since 1970.
    pub(super) until: Option<i64>,
}

/// An HTTP connection manager.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) path: Path,
    pub(super) routes: Routes,
    /// Whether these routes come, if from elsewhere, on the ADS stream.
    pub(super) over_ads: bool,
    pub(super) filters: Vec<Filter>,
}

/// Where a connection manager's routes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routes {
    /// In the connection manager itself.
    Inline,
    /// In the route configuration of this name.
    Named(String),
    /// Chosen per request, or elsewhere.
    Elsewhere,
}

/// An HTTP filter.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    /// The full name of its configuration's message; `None` if that comes from elsewhere.
    pub(super) message: Option<String>,
    /// Whether those who do not know it may leave it out.
    pub(super) optional: bool,
}

/// The configuration of a filter for a route, a virtual host, a route table or a weighted cluster.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) path: Path,
    pub(super) filter: String,
    /// The full name of its message; `None` if it only switches the filter on or off.
    pub(super) message: Option<String>,
    /// Whether Envoy may leave it out.
    pub(super) optional: bool,
}

/// A route's clusters.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: Path,
    pub(super) clusters: Vec<String>,
    pub(super) hashes: bool,
}

impl Facts {
    /// Notes what a message of this type says.
    pub(super) fn note(&mut self, name: &str, site: &Site<'_>) {
        references::note(name, site, &mut self.references);
        match name {
            MANAGER => self.managers.push(manager(site)),
            "envoy.config.listener.v3.FilterChain" => {
                let socket = field::message(site.message, "transport_socket");
                let config = socket.and_then(|socket| field::message(socket, "typed_config"));
                if config.and_then(field::type_name).is_some_and(|name| {
                    name.ends_with(".DownstreamTlsContext") || name.ends_with(".QuicDownstreamTransport")
                }) {
                    self.tls_chains.push(site.path.clone());
                }
            }
            "envoy.config.route.v3.RouteConfiguration"
            | "envoy.config.route.v3.VirtualHost"
            | "envoy.config.route.v3.WeightedCluster.ClusterWeight" => self.overrides(site),
            "envoy.config.route.v3.Route" => {
                self.overrides(site);
                if redirects_to_https(site) {
                    self.https_redirects.push(site.at(steps!["redirect"]));
                }
                if field::message(site.message, "non_forwarding_action").is_none() {
                    self.forwarding.push(site.path.clone());
                }
            }
            "envoy.config.route.v3.RouteMatch" => {
                let headers = field::messages(site.message, "headers").enumerate();
                let pseudo = headers
                    .filter(|(_, header)| field::string(header, "name").is_some_and(|name| name.starts_with(':')));
                self.pseudo_headers.extend(pseudo.map(|(index, _)| site.at(steps!["headers", index])));
            }
            "envoy.config.route.v3.RouteAction" | "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
                self.target(site);
            }
            "envoy.config.cluster.v3.Cluster" => {
                self.http2 |= field::message(site.message, "http2_protocol_options").is_some();
            }
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" => self.http2 |= speaks_http2(site),
            _ => {}
        }
    }

    fn overrides(&mut self, site: &Site<'_>) {
        for (filter, config) in field::map(site.message, "typed_per_filter_config") {
            let mut path = site.at(steps!["typed_per_filter_config"]);
            path.key(&filter);
            let mut message = field::type_name(config);
            let mut optional = false;
            if message.as_deref() == Some("envoy.config.route.v3.FilterConfig") {
                let inner = field::payload(site.schema, config);
                let wrapper = inner.as_ref();
                optional = wrapper.is_some_and(|wrapper| field::boolean(wrapper, "is_optional"));
                message = wrapper.and_then(|wrapper| field::message(wrapper, "config")).and_then(field::type_name);
            }
            self.overrides.push(Override { path, filter, message, optional });
        }
    }

    fn target(&mut self, site: &Site<'_>) {
        let mut clusters: Vec<String> =
            field::strings(site.message, "cluster").into_iter().map(str::to_owned).collect();
        if let Some(weighted) = field::message(site.message, "weighted_clusters") {
            clusters.extend(
                field::messages(weighted, "clusters").filter_map(|c| field::string(c, "name")).map(str::to_owned),
            );
        }
        let hashes = field::messages(site.message, "hash_policy").next().is_some();
        self.targets.push(Target { path: site.path.clone(), clusters, hashes });
    }
}

fn manager(site: &Site<'_>) -> Manager {
    let routes = if field::message(site.message, "route_config").is_some() {
        Routes::Inline
    } else {
        let rds = field::message(site.message, "rds");
        let name = rds.and_then(|rds| field::string(rds, "route_config_name"));
        name.map_or(Routes::Elsewhere, |name| Routes::Named(name.to_owned()))
    };
    let filter = |filter| Filter {
        name: field::string(filter, "name").unwrap_or_default().to_owned(),
        message: field::message(filter, "typed_config").and_then(field::type_name),
        optional: field::boolean(filter, "is_optional"),
    };
    let filters = field::messages(site.message, "http_filters").map(filter).collect();
    let source = field::message(site.message, "rds").and_then(|rds| field::message(rds, "config_source"));
    let over_ads = routes == Routes::Inline || source.is_some_and(references::from_ads);
    Manager { path: site.path.clone(), routes, over_ads, filters }
}

/// Whether a request over HTTPS would be sent to where it came from.
fn redirects_to_https(site: &Site<'_>) -> bool {
    let Some(redirect) = field::message(site.message, "redirect") else { return false };
    let to_https = field::boolean(redirect, "https_redirect")
        || field::string(redirect, "scheme_redirect").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let elsewhere = ["host_redirect", "path_redirect", "prefix_rewrite"];
    let moves = elsewhere.iter().any(|name| field::string(redirect, name).is_some_and(|text| !text.is_empty()))
        || field::unsigned(redirect, "port_redirect").is_some_and(|port| port != 0)
        || field::message(redirect, "regex_rewrite").is_some();
    // A route that looks at headers may well tell the two apart, such as by `x-forwarded-proto`.
    let matcher = field::message(site.message, "match");
    let picky = matcher.is_some_and(|matcher| {
        field::messages(matcher, "headers").next().is_some() || field::message(matcher, "tls_context").is_some()
    });
    to_https && !moves && !picky
}

fn speaks_http2(site: &Site<'_>) -> bool {
    if field::message(site.message, "auto_config").is_some() {
        return true;
    }
    ["explicit_http_config", "use_downstream_protocol_config"].iter().any(|name| {
        field::message(site.message, name).is_some_and(|config| {
            ["http2_protocol_options", "http3_protocol_options"]
                .iter()
                .any(|name| field::message(config, name).is_some())
        })
    })
}
