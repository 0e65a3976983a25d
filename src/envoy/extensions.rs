//! The extensions that Envoy registers: their names, categories and messages.
//!
//! The table comes from a running Envoy; see `assets/README.md`. Users write short names: the last segment of the canonical
//! name, such as `cors` for `envoy.filters.http.cors`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::diagnostic::did_you_mean;

static EMBEDDED: &str = include_str!("../../assets/extensions.json");

/// Extensions that one kind of slot takes; some slots take several of Envoy's own categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Category {
    names: &'static [&'static str],
    title: &'static str,
}

impl Category {
    /// The extensions of some of Envoy's own categories, such as `envoy.formatter`, those of the first one first; the title
    /// says what one of them is, with its article.
    pub const fn of(names: &'static [&'static str], title: &'static str) -> Self {
        Self { names, title }
    }

    /// HTTP filters, downstream and upstream.
    pub const HTTP_FILTER: Self =
        Self { names: &["envoy.filters.http", "envoy.filters.http.upstream"], title: "an HTTP filter" };
    /// Network filters.
    pub const NETWORK_FILTER: Self =
        Self { names: &["envoy.filters.network", "envoy.filters.upstream_network"], title: "a network filter" };
    /// Network filters of clusters.
    pub const UPSTREAM_NETWORK_FILTER: Self =
        Self { names: &["envoy.filters.upstream_network", "envoy.filters.network"], title: "a network filter" };
    /// Listener filters: of TCP, UDP and QUIC listeners.
    pub const LISTENER_FILTER: Self = Self {
        names: &["envoy.filters.listener", "envoy.filters.udp_listener", "envoy.filters.quic_listener"],
        title: "a listener filter",
    };
    /// Session filters of the UDP proxy.
    pub const UDP_SESSION_FILTER: Self = Self { names: &["envoy.filters.udp.session"], title: "a UDP session filter" };
    /// Access loggers.
    pub const ACCESS_LOGGER: Self = Self { names: &["envoy.access_loggers"], title: "an access logger" };
    /// Filters of access logs.
    pub const ACCESS_LOG_FILTER: Self =
        Self { names: &["envoy.access_loggers.extension_filters"], title: "an access log filter" };
    /// Tracers.
    pub const TRACER: Self = Self { names: &["envoy.tracers"], title: "a tracer" };
    /// Transport sockets of listeners.
    pub const DOWNSTREAM_TRANSPORT_SOCKET: Self =
        Self { names: &["envoy.transport_sockets.downstream"], title: "a transport socket" };
    /// Transport sockets of clusters.
    pub const UPSTREAM_TRANSPORT_SOCKET: Self =
        Self { names: &["envoy.transport_sockets.upstream"], title: "a transport socket" };
    /// Transport sockets of listeners or clusters.
    pub const TRANSPORT_SOCKET: Self = Self {
        names: &["envoy.transport_sockets.downstream", "envoy.transport_sockets.upstream"],
        title: "a transport socket",
    };
    /// Types of cluster.
    pub const CLUSTER: Self = Self { names: &["envoy.clusters"], title: "a cluster type" };
    /// Load balancing policies.
    pub const LOAD_BALANCING_POLICY: Self =
        Self { names: &["envoy.load_balancing_policies"], title: "a load balancing policy" };
    /// Custom health checkers.
    pub const HEALTH_CHECKER: Self = Self { names: &["envoy.health_checkers"], title: "a health checker" };
    /// Retry priorities.
    pub const RETRY_PRIORITY: Self = Self { names: &["envoy.retry_priorities"], title: "a retry priority" };
    /// Predicates on hosts when retrying.
    pub const RETRY_HOST_PREDICATE: Self =
        Self { names: &["envoy.retry_host_predicates"], title: "a retry host predicate" };
    /// Compression libraries for the compressor.
    pub const COMPRESSOR: Self = Self { names: &["envoy.compression.compressor"], title: "a compression library" };
    /// Compression libraries for the decompressor.
    pub const DECOMPRESSOR: Self =
        Self { names: &["envoy.compression.decompressor"], title: "a decompression library" };
    /// Protocol options of clusters.
    pub const UPSTREAM_OPTIONS: Self = Self { names: &["envoy.upstream_options"], title: "a set of protocol options" };
}

impl fmt::Display for Category {
    /// The category in words, with its article: "an HTTP filter".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title)
    }
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The name that Envoy registers it under, such as `envoy.filters.http.cors`.
    pub name: String,
    /// The full name of its configuration's message; some extensions, and old names, have none.
    pub message: Option<String>,
    /// The full name of the message that a route overrides it with, if that is a message of its own.
    pub per_route: Option<String>,
}

impl Extension {
    /// The last segment of the name. Compression libraries are named after their algorithm: their names all end alike.
    pub fn short_name(&self) -> &str {
        let library = self.name.strip_prefix("envoy.compression.").and_then(|name| name.split('.').next());
        library.or_else(|| self.name.rsplit('.').next()).unwrap_or(&self.name)
    }
}

/// All extensions of an Envoy build.
#[derive(Debug)]
pub struct Extensions {
    envoy_version: String,
    categories: BTreeMap<String, Vec<Extension>>,
    /// Full message names with the categories of the extensions that take them.
    messages: BTreeMap<String, BTreeSet<String>>,
}

#[derive(serde::Deserialize)]
struct Table {
    envoy_version: String,
    categories: BTreeMap<String, Vec<Row>>,
}

#[derive(serde::Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    messages: Vec<String>,
}

impl Extensions {
    pub(super) fn embedded() -> Self {
        let table: Table = serde_json::from_str(EMBEDDED).expect("the embedded table is checked by a test");
        let mut categories = BTreeMap::new();
        let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (category, rows) in table.categories {
            for message in rows.iter().flat_map(|row| &row.messages) {
                messages.entry(message.clone()).or_default().insert(category.clone());
            }
            categories.insert(category, rows.into_iter().map(extension).collect());
        }
        Self { envoy_version: table.envoy_version, categories, messages }
    }

    /// The version of the Envoy that the table was read from.
    pub fn envoy_version(&self) -> &str {
        &self.envoy_version
    }

    /// The extensions of a category, those of its first name first.
    pub fn of(&self, category: Category) -> Vec<&Extension> {
        category.names.iter().filter_map(|name| self.categories.get(*name)).flatten().collect()
    }

    /// The extensions of one of Envoy's own categories, such as `envoy.matching.input_matchers`.
    pub fn in_category(&self, name: &str) -> &[Extension] {
        self.categories.get(name).map_or(&[], Vec::as_slice)
    }

    /// The extension that a short or canonical name stands for.
    ///
    /// Old names such as `envoy.cors` end in the same segment as the new ones; those that have a message win.
    pub fn find(&self, category: Category, name: &str) -> Option<&Extension> {
        let candidates = || self.of(category).into_iter().filter(|extension| extension.short_name() == name);
        let exact = || self.of(category).into_iter().find(|extension| extension.name == name);
        candidates().find(|extension| extension.message.is_some()).or_else(exact).or_else(|| candidates().next())
    }

    /// Every extension of any category that a short or canonical name stands for and that has a message, one for each message.
    pub fn anywhere(&self, name: &str) -> Vec<&Extension> {
        let mut found: Vec<&Extension> = Vec::new();
        for extension in self.categories.values().flatten() {
            let named = extension.name == name || extension.short_name() == name;
            let known = || found.iter().any(|other| other.message == extension.message);
            if named && extension.message.is_some() && !known() {
                found.push(extension);
            }
        }
        found
    }

    /// The short name that a misspelled one was probably meant for.
    pub fn did_you_mean(&self, category: Category, name: &str) -> Option<&str> {
        let extensions = self.of(category).into_iter().filter(|extension| extension.message.is_some());
        did_you_mean(name, extensions.map(Extension::short_name))
    }

    /// Whether an extension of the category takes the message.
    pub fn takes(&self, category: Category, message: &str) -> bool {
        let registered = self.messages.get(message);
        registered.is_some_and(|registered| category.names.iter().any(|name| registered.contains(*name)))
    }

    /// Whether any extension takes the message.
    pub fn knows(&self, message: &str) -> bool {
        self.messages.contains_key(message)
    }

    /// One of Envoy's own categories that an extension with this message is in.
    pub fn category_of(&self, message: &str) -> Option<&str> {
        self.messages.get(message)?.first().map(String::as_str)
    }
}

fn extension(row: Row) -> Extension {
    let Row { name, messages } = row;
    let is_override = |message: &&String| {
        let short = message.rsplit('.').next().unwrap_or_default();
        short.contains("PerRoute") || short.ends_with("Override") || short == "CorsPolicy"
    };
    let is_only = messages.len() == 1;
    let message = messages.iter().find(|message| is_only || !is_override(message)).cloned();
    let per_route = messages.iter().find(|message| !is_only && is_override(message)).cloned();
    Extension { name, message, per_route }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn short_names_find_the_current_extension() {
        let schema = Schema::embedded();
        let extensions = schema.extensions();
        for (category, short, name, message) in [
            (Category::HTTP_FILTER, "cors", "envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors"),
            (
                Category::HTTP_FILTER,
                "router",
                "envoy.filters.http.router",
                "envoy.extensions.filters.http.router.v3.Router",
            ),
            (
                Category::HTTP_FILTER,
                "ext_proc",
                "envoy.filters.http.ext_proc",
                "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            ),
            (
                Category::NETWORK_FILTER,
                "tcp_proxy",
                "envoy.filters.network.tcp_proxy",
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            ),
            (
                Category::LISTENER_FILTER,
                "udp_proxy",
                "envoy.filters.udp_listener.udp_proxy",
                "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
            ),
            (
                Category::ACCESS_LOGGER,
                "stdout",
                "envoy.access_loggers.stdout",
                "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            ),
            (Category::TRACER, "zipkin", "envoy.tracers.zipkin", "envoy.config.trace.v3.ZipkinConfig"),
            (
                Category::COMPRESSOR,
                "gzip",
                "envoy.compression.gzip.compressor",
                "envoy.extensions.compression.gzip.compressor.v3.Gzip",
            ),
            (
                Category::UPSTREAM_TRANSPORT_SOCKET,
                "tls",
                "envoy.transport_sockets.tls",
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            ),
            (
                Category::DOWNSTREAM_TRANSPORT_SOCKET,
                "tls",
                "envoy.transport_sockets.tls",
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            ),
        ] {
            let found = extensions.find(category, short).unwrap_or_else(|| panic!("{short}"));
            assert_eq!((found.name.as_str(), found.message.as_deref()), (name, Some(message)));
            assert_eq!(extensions.find(category, name), Some(found));
        }
        let cors = extensions.find(Category::HTTP_FILTER, "cors").unwrap();
        assert_eq!(cors.per_route.as_deref(), Some("envoy.extensions.filters.http.cors.v3.CorsPolicy"));
        assert!(extensions.find(Category::HTTP_FILTER, "stdout").is_none());
        assert_eq!(extensions.did_you_mean(Category::HTTP_FILTER, "ext_auhtz"), Some("ext_authz"));
        let names = |name| extensions.anywhere(name).iter().map(|found| found.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names("gzip"), ["envoy.compression.gzip.compressor", "envoy.compression.gzip.decompressor"]);
        assert_eq!(names("ring_hash"), ["envoy.load_balancing_policies.ring_hash"]);
    }

    #[test]
    fn every_message_of_the_table_is_in_the_descriptor_set() {
        let schema = Schema::embedded();
        let missing: Vec<_> =
            schema.extensions().messages.keys().filter(|name| schema.message(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_message_is_taken_in_its_category_only() {
        let schema = Schema::embedded();
        let extensions = schema.extensions();
        let router = "envoy.extensions.filters.http.router.v3.Router";
        assert!(extensions.takes(Category::HTTP_FILTER, router));
        assert!(!extensions.takes(Category::NETWORK_FILTER, router));
        assert!(!extensions.knows("acme.Filter"));
    }
}
