//! The topologies that the tests edit.

use super::Variant;

/// One listener, one route table, and one EDS cluster with one endpoint on loopback. YAML takes JSON for the sources.
pub(crate) fn one_service(variant: Variant, listener: u16, endpoint: u16) -> String {
    let source = variant.config_source();
    let (rds, eds) = if source.is_null() {
        ("rds: local_route".to_owned(), String::new())
    } else {
        (
            format!("rds: {{route_config_name: local_route, config_source: {source}}}"),
            format!("\n  eds_cluster_config: {{eds_config: {source}}}"),
        )
    };
    format!(
        "version: 1
static_resources: {{clusters: [xds_cluster]}}
listeners:
- name: listener_0
  address: 127.0.0.1:{listener}
  {rds}
  routes:
  - route: service
clusters:
- name: service
  type: EDS{eds}
  endpoints: [\"127.0.0.1:{endpoint}\"]
"
    )
}
