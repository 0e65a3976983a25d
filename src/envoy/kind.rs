//! The kinds of resource that xDS serves.

use std::fmt;

/// A resource type of xDS v3. The order is the one in which a change is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Runtime`, served by RTDS.
    Runtime,
    /// `Cluster`, served by CDS.
    Cluster,
    /// `ClusterLoadAssignment`, served by EDS.
    Endpoint,
    /// `Secret`, served by SDS.
    Secret,
    /// `Listener`, served by LDS.
    Listener,
    /// `TypedExtensionConfig`, served by ECDS.
    ExtensionConfig,
    /// `ScopedRouteConfiguration`, served by SRDS.
    ScopedRoute,
    /// `RouteConfiguration`, served by RDS.
    Route,
    /// `VirtualHost`, served by VHDS.
    VirtualHost,
}

impl Kind {
    /// Every kind, in sending order.
    pub const ALL: [Self; 9] = [
        Self::Runtime,
        Self::Cluster,
        Self::Endpoint,
        Self::Secret,
        Self::Listener,
        Self::ExtensionConfig,
        Self::ScopedRoute,
        Self::Route,
        Self::VirtualHost,
    ];

    /// The full name of the message.
    pub fn message(self) -> &'static str {
        self.type_url().trim_start_matches("type.googleapis.com/")
    }

    /// The type URL that requests and responses carry.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::ScopedRoute => "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The kind of a type URL, if it is a resource that this server knows.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// The field that names the resource.
    pub fn name_field(self) -> &'static str {
        if self == Self::Endpoint { "cluster_name" } else { "name" }
    }

    /// Short name of the discovery service, for logs and metrics.
    pub fn service(self) -> &'static str {
        match self {
            Self::Runtime => "RTDS",
            Self::Cluster => "CDS",
            Self::Endpoint => "EDS",
            Self::Secret => "SDS",
            Self::Listener => "LDS",
            Self::ExtensionConfig => "ECDS",
            Self::ScopedRoute => "SRDS",
            Self::Route => "RDS",
            Self::VirtualHost => "VHDS",
        }
    }

    /// Whether others lead to it, so that it is taken away only after nothing leads there any more.
    pub fn is_removed_last(self) -> bool {
        matches!(self, Self::Cluster | Self::Endpoint)
    }

    /// Whether a state-of-the-world response must hold the full set, so that absence means deletion.
    pub fn is_full_state(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service())
    }
}
