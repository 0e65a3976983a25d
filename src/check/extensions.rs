//! Extensions that say too little, or stand where Envoy does not look for them.

use super::site::{Site, rows, steps};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{extensions::Category, field};

/// Messages that wrap an extension, and what they take.
const WRAPPERS: [(&str, Category); 8] = [
    ("envoy.config.accesslog.v3.AccessLog", Category::ACCESS_LOGGER),
    ("envoy.config.cluster.v3.Filter", Category::UPSTREAM_NETWORK_FILTER),
    ("envoy.config.core.v3.HealthCheck.CustomHealthCheck", Category::HEALTH_CHECKER),
    ("envoy.config.core.v3.TransportSocket", Category::TRANSPORT_SOCKET),
    ("envoy.config.listener.v3.Filter", Category::NETWORK_FILTER),
    ("envoy.config.listener.v3.ListenerFilter", Category::LISTENER_FILTER),
    ("envoy.config.trace.v3.Tracing.Http", Category::TRACER),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", Category::HTTP_FILTER),
];
/// Names under which a cluster has options for protocols: those of filters, or of the options themselves.
const OPTIONS: Category = Category::of(
    &["envoy.upstream_options", "envoy.filters.network", "envoy.filters.http"],
    "a set of protocol options",
);

/// An extension is known by the type of its configuration, not by its name.
pub(super) fn wrapper(name: &str, site: &Site<'_>, findings: &mut Findings) {
    let [(_, category)] = rows(&WRAPPERS, name, |row| row.0) else { return };
    let given = ["typed_config", "config_discovery"].iter().any(|name| field::message(site.message, name).is_some());
    if given || !site.is_whole() || field::boolean(site.message, "is_optional") {
        return;
    }
    let name = field::string(site.message, "name").unwrap_or_default();
    let text = format!("`{name}` has no `typed_config`, by which Envoy would know what it is: Envoy refuses it");
    let short = name.rsplit('.').next().unwrap_or_default();
    let help = match site.schema.extensions().find(*category, short).filter(|known| known.message.is_some()) {
        Some(known) => format!("write the short form `{}: {{…}}`, or add `typed_config`", known.short_name()),
        None => "add `typed_config: {\"@type\": …}`".to_owned(),
    };
    findings.push(site.error("no-config", steps![], text).help(help));
}

/// The names of a cluster's protocol options.
pub(super) fn options(site: &Site<'_>, findings: &mut Findings) {
    for name in field::map(site.message, "typed_extension_protocol_options").into_keys() {
        let known = || site.schema.extensions().of(OPTIONS).into_iter().map(|extension| extension.name.as_str());
        if known().any(|known| known == name) {
            continue;
        }
        let mut path = site.at(steps!["typed_extension_protocol_options"]);
        path.key(&name);
        let text = format!("no extension with protocol options is called `{name}`: Envoy refuses the cluster");
        let help = did_you_mean(&name, known()).map_or_else(
            || "for those of HTTP write `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        findings.push(site.resource.error("unknown-extension", &path, text).help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_wrapper_exists() {
        for (name, _) in WRAPPERS {
            let message = Schema::embedded().message(name).unwrap_or_else(|| panic!("{name}"));
            assert!(message.get_field_by_name("typed_config").is_some(), "{name}");
        }
    }
}
