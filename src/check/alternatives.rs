//! Fields that exclude each other, and fields of which Envoy needs one, beyond what its descriptors say.

use super::site::{Site, Step, rows};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// A message, and two of its fields that Envoy does not take together.
const EXCLUSIVE: &[(&str, &str, &str)] = &[
    ("envoy.config.listener.v3.Listener", "internal_listener", "address"),
    ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", "cluster", "cluster_header"),
    ("envoy.config.route.v3.VirtualHost", "routes", "matcher"),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", "name", "cluster_header"),
    ("envoy.config.trace.v3.OpenTelemetryConfig", "grpc_service", "http_service"),
    ("envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", "grpc_service", "http_service"),
    ("envoy.extensions.filters.http.lua.v3.Lua", "inline_code", "default_source_code"),
    (MANAGER, "strip_matching_host_port", "strip_any_host_port"),
    (MANAGER, "use_remote_address", "original_ip_detection_extensions"),
    (MANAGER, "xff_num_trusted_hops", "original_ip_detection_extensions"),
];

/// A message, and fields of which it needs one.
const NEEDED: &[(&str, &[&str])] = &[
    ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", &["cluster", "cluster_header"]),
    ("envoy.config.route.v3.VirtualCluster", &["headers"]),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", &["name", "cluster_header"]),
    ("envoy.config.trace.v3.OpenTelemetryConfig", &["grpc_service", "http_service", "exporter"]),
    ("envoy.extensions.filters.http.basic_auth.v3.BasicAuth", &["users"]),
    ("envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", &["grpc_service", "http_service"]),
    ("envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule", &["on_header_present", "on_header_missing"]),
];

const MANAGER: &str = super::facts::MANAGER;

pub(super) fn check(name: &str, site: &Site<'_>, findings: &mut Findings) {
    for (_, first, second) in rows(EXCLUSIVE, name, |row| row.0) {
        if [first, second].iter().all(|name| field::is_set(site.message, name)) {
            let text = format!("`{first}` and `{second}` exclude each other: Envoy refuses the resource");
            let place = site.span(&[Step::Field(first)]);
            findings.push(
                site.error("exclusive-keys", &[Step::Field(second)], text)
                    .related(place, "the other one")
                    .help("keep one of them"),
            );
        }
    }
    for (_, fields) in rows(NEEDED, name, |row| row.0) {
        if site.is_whole() && !fields.iter().any(|name| field::is_set(site.message, name)) {
            let text = match fields {
                [one] => format!("`{one}` is required"),
                several => format!("one of `{}` is required", several.join("`, `")),
            };
            findings.push(site.error("required", &[], text).help("Envoy refuses the resource without it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_row_speaks_of_fields_that_exist() {
        let schema = Schema::embedded();
        let exclusive = EXCLUSIVE.iter().map(|(message, first, second)| (*message, vec![*first, *second]));
        let needed = NEEDED.iter().map(|(message, fields)| (*message, fields.to_vec()));
        for (name, fields) in exclusive.chain(needed) {
            let message = schema.message(name).unwrap_or_else(|| panic!("{name}"));
            for field in fields {
                assert!(message.get_field_by_name(field).is_some(), "{name}.{field}");
            }
        }
    }
}
