use std::collections::BTreeMap;

use super::*;
use crate::diagnostic::{Files, Report};
use crate::expand::Beside;
use crate::source::Document;

/// What is found in a topology.
fn findings(sections: &str) -> Report {
    let text = format!("version: 1\n{sections}\n");
    let document = Document { name: "t".into(), bytes: text.as_bytes().into() };
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let topology = crate::topology::parse(&[document], &mut files, &mut findings);
    let node_groups = std::sync::Arc::clone(&topology.node_groups);
    let schema = Schema::embedded();
    let attachments = BTreeMap::<&str, &[u8]>::new();
    let beside = Beside { files: &files, attachments: &attachments };
    let natives = crate::expand::expand(&schema, topology, beside, &mut findings);
    check(&schema, natives, &node_groups, 0, &mut findings);
    Report::new(findings, std::sync::Arc::new(files))
}

/// `line:column: error[code]: message` of each error in a topology.
fn told(sections: &str) -> Vec<String> {
    let report = findings(sections);
    let line = |finding: &Finding| report.render(finding).lines().next().unwrap()["t:".len()..].to_owned();
    report.findings().iter().filter(|finding| finding.level == Level::Error).map(line).collect()
}

#[test]
fn endpoints_over_eds_are_addresses() {
    let what = "is not an IP address, and names of endpoints that are served over EDS are not resolved";
    assert_eq!(
        told("clusters: [{name: c, type: EDS, endpoints: ['1.1.1.1:1', 'a.example:1']}]"),
        [format!("2:58: error[host-name]: `a.example` {what}")]
    );
    assert_eq!(
        told("load_assignments: [{cluster_name: c, endpoints: [a:1]}]"),
        [format!("2:50: error[host-name]: `a` {what}")]
    );
    let resolved = "{lb_endpoints: [{address: {socket_address: {address: a, port_value: 1, resolver_name: r}}}]}";
    assert_eq!(
        told(&format!("clusters: [{{name: c, type: STATIC, load_assignment: {{endpoints: [{resolved}]}}}}]")),
        [""; 0]
    );
    assert_eq!(told("clusters: [{name: c, endpoints: ['a:1']}, {name: d, endpoints: ['unix:///a']}]"), [""; 0]);
}

#[test]
fn a_logical_dns_cluster_has_one_endpoint() {
    let what = "error[logical-dns-endpoints]: a LOGICAL_DNS cluster needs exactly one endpoint, not";
    assert_eq!(told("clusters: [{name: c, type: LOGICAL_DNS}]"), [format!("2:12: {what} 0")]);
    assert_eq!(told("clusters: [{name: c, type: LOGICAL_DNS, endpoints: [a:1, b:1]}]"), [format!("2:41: {what} 2")]);
    let broken = told("clusters: [{name: c, type: LOGICAL_DNS, endpoints: [a]}]");
    assert_eq!(broken, ["2:53: error[invalid-address]: `a` is not an address: it has no port"]);
}

#[test]
fn weights_are_added_up_wherever_the_table_stands() {
    let routes = "virtual_hosts: [{name: a, domains: ['*'], routes: [{match: {prefix: /}, \
                  route: {weighted_clusters: [{name: c, weight: 0}]}}]}]";
    let text = format!(
        "clusters: [{{name: c, endpoints: []}}]\nlisteners:\n- name: l\n  address: 0.0.0.0:1\n  http_connection_manager:\n    \
         route_config: {{{routes}}}"
    );
    let told = told(&text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("error[weights]: the weights of the weighted clusters add up to 0"), "{told:?}");
}

/// What the expansion complained about is not called missing afterwards.
#[test]
fn a_required_value_that_cannot_be_read_is_told_once() {
    let health = "interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}";
    assert_eq!(
        told(&format!("clusters: [{{name: c, endpoints: [], health_checks: [{{timeout: 5, {health}}}]}}]")),
        ["2:63: error[invalid-duration]: the duration 5 has no unit"]
    );
    assert_eq!(
        told(&format!("clusters: [{{name: c, endpoints: [], health_checks: [{{timeout: null, {health}}}]}}]")),
        ["2:63: error[required]: `timeout` is required"]
    );
    let rule = "{rules: {policies: {a: {permissions: [{destination_ip: bad}], principals: [{any: true}]}}}}";
    assert_eq!(
        told(&format!("listeners: [{{name: l, http_filters: [{{rbac: {rule}}}], routes: []}}]")),
        ["2:100: error[invalid-range]: `bad` is not an address range: it has no prefix length"]
    );
}

#[test]
fn an_item_without_a_name_has_its_other_mistakes_found_as_well() {
    assert_eq!(
        told("clusters: [{bogus: 1, connect_timeout: 0s, endpoints: []}]"),
        [
            "2:12: error[missing-name]: this Cluster has no `name`",
            "2:13: error[unknown-field]: unknown field `bogus` in envoy.config.cluster.v3.Cluster",
            "2:40: error[invalid-value]: must be more than 0s, not 0s",
        ]
    );
    assert_eq!(
        told("listeners: [{nam: l, routes: [{route: c, bogus: 1}]}]\nclusters: [{endpoints: []}]"),
        [
            "2:14: error[unknown-field]: unknown field `nam` in envoy.config.listener.v3.Listener",
            "2:42: error[unknown-field]: unknown field `bogus` in envoy.config.route.v3.Route",
            "3:12: error[missing-name]: this Cluster has no `name`",
        ]
    );
    assert_eq!(told("listeners: [{name: [l], routes: []}]"), ["2:20: error[type]: expected a string, got a list"]);
}

/// Items at the same position of two documents have the same path.
#[test]
fn a_mistake_in_one_document_hides_none_in_another() {
    let told = told("clusters: [{name: a, bogus: 1}]\n---\nversion: 1\nclusters: [{name: b, type: EDS}]");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "5:12: error[no-load-assignment]: cluster `b` has no endpoints");
}

/// Comparing each unknown name with each known one takes minutes where there are thousands of them.
#[test]
fn names_are_compared_only_so_many_times() {
    let list = |item: &dyn Fn(usize) -> String| (0..400).map(item).collect::<Vec<_>>().join(",");
    let clusters = list(&|n| format!("{{name: a{n:03}, type: STATIC}}"));
    let routes = list(&|n| format!("{{route: b{n:03}}}"));
    let found = findings(&format!("clusters: [{clusters}]\nlisteners: [{{name: l, routes: [{routes}]}}]"));
    let help = |finding: Option<&Finding>| finding.and_then(|finding| finding.help.clone()).unwrap_or_default();
    let mut unknown = found.findings().iter().filter(|finding| finding.code == "unknown-cluster");
    assert_eq!(unknown.clone().count(), 400, "each is told nevertheless");
    assert_eq!(help(unknown.next()), "did you mean `a000`?");
    assert!(help(unknown.next_back()).starts_with("define it under `clusters`"));
}

#[test]
fn verbatim_parts_are_taken_as_they_are() {
    let locality = r#""@type": type.googleapis.com/envoy.config.endpoint.v3.LocalityLbEndpoints"#;
    let route = r#""@type": type.googleapis.com/envoy.config.route.v3.Route"#;
    assert_eq!(
        told(&format!(
            "clusters: [{{name: c, endpoints: [{{{locality}, lb_endpoints: []}}]}}]\n\
             listeners: [{{name: l, address: '0.0.0.0:1', routes: [{{{route}, match: {{prefix: /}}, route: {{cluster: c}}}}]}}]"
        )),
        [""; 0]
    );
    let told = told(&format!("listeners: [{{name: l, routes: [{{{route}, route: c}}]}}]"));
    assert_eq!(told.len(), 2, "no shorthand and no default inside: {told:?}");
    assert!(told[0].contains("error[required]: `match` is required"), "{told:?}");
    assert!(told[1].contains("error[type]: expected a mapping with the fields of"), "{told:?}");
}

/// The wrong type is no type at all.
#[test]
fn a_part_that_says_it_is_something_else_is_refused() {
    let other = r#""@type": type.googleapis.com/envoy.config.route.v3.VirtualHost"#;
    let told =
        told(&format!("route_configs: [{{name: r, routes: [{{{other}, match: {{prefix: /}}, redirect: {{}}}}]}}]"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("error[unknown-field]: `@type` stands only in a google.protobuf.Any"), "{told:?}");
}

/// Envoy accepts it, and answers 503.
#[test]
fn o9_a_route_to_a_cluster_that_does_not_exist_is_found_before_it_is_served() {
    let text = "listeners: [{name: l, address: '127.0.0.1:1', routes: [{route: gone}]}]";
    assert_eq!(told(text), ["2:64: error[unknown-cluster]: cluster `gone` is not defined"]);
}
