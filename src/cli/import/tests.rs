//! The search for the shortest form, below the command.

use super::*;

const ROUTER: &str = "http_filters: [{name: envoy.filters.http.router, \
                      typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]";

fn imported(text: &str) -> String {
    let document = Document { name: Arc::from("envoy.yaml"), bytes: Arc::from(text.as_bytes()) };
    let (text, report) = import(&Schema::embedded(), &[document]);
    text.unwrap_or_else(|| panic!("{}", report.render_all(Level::Info)))
}

fn cluster(fields: &str) -> String {
    let text = imported(&format!("static_resources: {{clusters: [{{name: a, {fields}}}]}}"));
    text.strip_prefix("version: 1\nclusters:\n- ").expect("a cluster").to_owned()
}

fn manager(fields: &str) -> String {
    let message =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let text = imported(&format!(
        "static_resources:\n  listeners:\n  - name: l\n    address: {{socket_address: {{address: \"::1\", port_value: 1}}}}\n    \
         filter_chains: [{{filters: [{{name: envoy.filters.network.http_connection_manager, \
         typed_config: {{\"@type\": {message}, {fields}}}}}]}}]\n"
    ));
    text.strip_prefix("version: 1\nlisteners:\n- name: l\n  address: \"[::1]:1\"\n").expect("a listener").to_owned()
}

#[test]
fn defaults_are_left_out_or_kept_away() {
    assert_eq!(cluster("connect_timeout: 5s"), "name: a\n  type: null\n");
    assert_eq!(
        cluster("type: EDS, connect_timeout: 2s"),
        "name: a\n  connect_timeout: 2s\n  eds_cluster_config: null\n"
    );
    assert_eq!(
        cluster("type: LOGICAL_DNS"),
        "name: a\n  type: LOGICAL_DNS\n  connect_timeout: null\n  dns_lookup_family: null\n"
    );
}

#[test]
fn what_a_default_changes_is_verbatim() {
    let fields = format!(
        "stat_prefix: l, rds: {{route_config_name: r, config_source: {{ads: {{}}, resource_api_version: V3}}}}, {ROUTER}"
    );
    assert_eq!(manager(&fields), "  rds: r\n");
    let no_router = fields.replace("router", "cors").replace("Router", "Cors");
    let text = manager(&no_router);
    assert!(text.contains("- filters:\n") && text.contains("\"@type\"") && text.contains("cors"), "{text}");
    // The router with a message of its own has no short form beside it.
    let custom = fields.replace("v3.Router", "v3.Router, suppress_envoy_headers: true");
    assert_eq!(manager(&custom), "  rds: r\n  http_filters:\n  - router:\n      suppress_envoy_headers: true\n");
}

#[test]
fn a_wrong_guess_takes_no_other_with_it() {
    // `cluster_name` is not the cluster's, and 10 in 10,000 has no short form; everything else has.
    let text = cluster(
        "type: STATIC, load_assignment: {cluster_name: b, endpoints: [{lb_endpoints: [{endpoint: {address: \
         {socket_address: {address: 10.0.0.1, port_value: 1}}}}]}]}, common_lb_config: {healthy_panic_threshold: {value: 10}}",
    );
    assert!(text.contains("cluster_name: b") && text.contains("- \"10.0.0.1:1\""), "{text}");
    assert!(text.contains("healthy_panic_threshold: 10"), "{text}");
}

#[test]
fn nothing_is_a_topology_of_nothing() {
    assert_eq!(imported("static_resources: {}"), "version: 1\nlisteners: []\n");
}
