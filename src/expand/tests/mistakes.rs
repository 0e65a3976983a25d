//! What cannot be expanded is said once, where it stands.

use super::*;

/// Each YAML line after `version: 1` makes just this finding.
fn expect(table: &[(&str, &str)]) {
    for (yaml, expected) in table {
        let text = format!("version: 1\n{yaml}\n");
        assert_eq!(findings(&text), [format!("t.yaml:{expected}")], "{yaml}");
        assert_eq!(compiled(&text), [""; 0], "{yaml} is complained about twice");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_pointed_at() {
    expect(&[
        (
            "clusters: [{name: c, endpoints: [10.0.0.1]}]",
            "2:34: error[invalid-address]: `10.0.0.1` is not an address: it has no port",
        ),
        (
            "clusters: [{name: c, endpoints: ['::1:80']}]",
            "2:34: error[invalid-address]: `::1:80` is not an address: an IPv6 address must be in brackets",
        ),
        (
            "clusters: [{name: c, endpoints: ['[x]:80']}]",
            "2:34: error[invalid-address]: `[x]:80` is not an address: what is in brackets is no IPv6 address",
        ),
        (
            "clusters: [{name: c, endpoints: [':80']}]",
            "2:34: error[invalid-address]: `:80` is not an address: it has no host; all addresses are `0.0.0.0` or `[::]`",
        ),
        (
            "clusters: [{name: c, endpoints: ['a:65536']}]",
            "2:34: error[invalid-address]: `a:65536` is not an address: its port is not in 0-65535",
        ),
        (
            "clusters: [{name: c, endpoints: ['a:+80']}]",
            "2:34: error[invalid-address]: `a:+80` is not an address: its port is not in 0-65535",
        ),
        (
            "clusters: [{name: c, endpoints: ['http://a:80']}]",
            "2:34: error[invalid-address]: `http://a:80` is not an address: only `tcp://`, `udp://` and `unix://` are known",
        ),
        (
            "clusters: [{name: c, endpoints: ['a:80/x']}]",
            "2:34: error[invalid-address]: `a:80/x` is not an address: its port is not in 0-65535",
        ),
        (
            "clusters: [{name: c, endpoints: ['unix://']}]",
            "2:34: error[invalid-address]: `unix://` is not an address: a path is missing after `unix://`",
        ),
        (
            "listeners: [{name: l, address: 80}]",
            "2:32: error[invalid-address]: an address is `host:port`, not a number",
        ),
        ("clusters: [{name: c, connect_timeout: 5}]", "2:39: error[invalid-duration]: the duration 5 has no unit"),
        ("clusters: [{name: c, connect_timeout: 5 sec}]", "2:39: error[invalid-duration]: `5 sec` is not a duration"),
        ("clusters: [{name: c, connect_timeout: .5s}]", "2:39: error[invalid-duration]: `.5s` is not a duration"),
        ("clusters: [{name: c, connect_timeout: 0.1ns}]", "2:39: error[invalid-duration]: `0.1ns` is not a duration"),
        (
            "route_configs: [{name: r, routes: [{match: {runtime_fraction: 050}, route: c}]}]",
            "2:63: error[invalid-percent]: 050 is not a percentage from 0 to 100 with at most four decimals",
        ),
        ("clusters: [{name: c, connect_timeout: 1.s}]", "2:39: error[invalid-duration]: `1.s` is not a duration"),
        (
            "route_configs: [{name: r, routes: [{match: {runtime_fraction: 101}, route: c}]}]",
            "2:63: error[invalid-percent]: 101 is not a percentage from 0 to 100 with at most four decimals",
        ),
        (
            "route_configs: [{name: r, routes: [{match: {runtime_fraction: 0.12345}, route: c}]}]",
            "2:63: error[invalid-percent]: 0.12345 is not a percentage from 0 to 100 with at most four decimals",
        ),
        (
            "route_configs: [{name: r, routes: [{match: {runtime_fraction: -1}, route: c}]}]",
            "2:63: error[invalid-percent]: -1 is not a percentage from 0 to 100 with at most four decimals",
        ),
        (
            "listeners: [{name: l, filter_chains: [{rds: r, filter_chain_match: {prefix_ranges: [10.0.0.1]}}]}]",
            "2:85: error[invalid-range]: `10.0.0.1` is not an address range: it has no prefix length",
        ),
        (
            "listeners: [{name: l, filter_chains: [{rds: r, filter_chain_match: {prefix_ranges: [10.0.0.1/33]}}]}]",
            "2:85: error[invalid-range]: `10.0.0.1/33` is not an address range: its prefix length is too long or no number",
        ),
        (
            "route_configs: [{name: r, routes: [{match: {query_parameters: {q: false}}, route: c}]}]",
            "2:67: error[wrong-type]: that the query parameter `q` is absent cannot be matched",
        ),
        (
            "route_configs: [{name: r, routes: [{match: {headers: {h: [{}]}}, route: c}]}]",
            "2:59: error[wrong-type]: a value of the header `h` must be text, not a mapping",
        ),
        (
            "route_configs: [{name: r, request_headers_to_add: {h: true}, routes: []}]",
            "2:55: error[wrong-type]: the value of the header `h` must be text, not a boolean",
        ),
    ]);
}

#[test]
fn keys_that_mean_the_same_are_exclusive() {
    expect(&[
        (
            "route_configs: [{name: r, routes: [{match: {headers: {x-a: {name: x-b, present_match: true}}}, route: c}]}]",
            "2:61: error[exclusive-keys]: `name` cannot be given together with `x-a`",
        ),
        (
            "route_configs: [{name: r, routes: [], virtual_hosts: []}]",
            "2:27: error[exclusive-keys]: `routes` cannot be given together with `virtual_hosts`",
        ),
        (
            "listeners: [{name: l, routes: [], virtual_hosts: []}]",
            "2:23: error[exclusive-keys]: `routes` cannot be given together with `virtual_hosts`",
        ),
        (
            "listeners: [{name: l, rds: t, filter_chains: []}]",
            "2:23: error[exclusive-keys]: `rds` cannot be given together with `filter_chains`",
        ),
        (
            "listeners: [{name: l, rds: t, http_connection_manager: {rds: t}}]",
            "2:23: error[exclusive-keys]: `rds` cannot be given together with `http_connection_manager.rds`",
        ),
        (
            "listeners: [{name: l, http_connection_manager: {routes: [], route_config: {}}}]",
            "2:49: error[exclusive-keys]: `routes` cannot be given together with `route_config`",
        ),
        (
            "listeners: [{name: l, rds: t, http_connection_manager: {'@type': type.googleapis.com/google.protobuf.Empty}}]",
            "2:23: error[exclusive-keys]: `rds` cannot be given together with `http_connection_manager`",
        ),
        (
            "listeners: [{name: l, http_connection_manager: [x]}]",
            "2:48: error[wrong-type]: `http_connection_manager` must be a mapping of its fields, not a list",
        ),
        (
            "listeners: [{name: l, rds: t, tcp_proxy: c}]",
            "2:31: error[exclusive-keys]: `tcp_proxy` cannot be given together with `rds`",
        ),
        (
            "listeners: [{name: l, tcp_proxy: [c]}]",
            "2:34: error[wrong-type]: `tcp_proxy` must be the name of a cluster or a mapping of its fields, not a list",
        ),
        (
            "clusters: [{name: c, endpoints: [], load_assignment: {}}]",
            "2:22: error[exclusive-keys]: `endpoints` cannot be given together with `load_assignment`",
        ),
        (
            "clusters: [{name: c, http_protocol_options: {}, http2_protocol_options: {}}]",
            "2:49: error[exclusive-keys]: `http2_protocol_options` cannot be given together with `http_protocol_options`",
        ),
        (
            "load_assignments: [{cluster_name: c, endpoints: [{address: a:1, endpoint: {}}]}]",
            "2:51: error[exclusive-keys]: `address` cannot be given together with `endpoint`",
        ),
        (
            "listeners: [{name: l, rds: t, http_filters: [corss]}]",
            "2:46: error[unknown-extension]: `corss` is not the short name of an HTTP filter",
        ),
        (
            "listeners: [{name: l, rds: t, http_filters: [{cors: 5}]}]",
            "2:53: error[wrong-type]: `cors` takes a mapping of its fields, not a number",
        ),
        (
            "listeners: [{name: l, rds: t, http_filters: [{cors: {}, lua: {}}]}]",
            "2:57: error[exclusive-keys]: `lua` cannot be given together with `cors`",
        ),
    ]);
}

#[test]
fn transport_sockets_and_paths_are_said_once() {
    expect(&[
        (
            "listeners: [{name: l, tcp_proxy: c, tls_context: {}, filter_chains: []}]",
            "2:23: error[exclusive-keys]: `tcp_proxy` cannot be given together with `filter_chains`",
        ),
        (
            "listeners: [{name: l, filter_chains: [{tls_context: {}, transport_socket: {name: x}}]}]",
            "2:40: error[exclusive-keys]: `tls_context` cannot be given together with `transport_socket`",
        ),
        (
            "clusters: [{name: c, tls_context: {}, transport_socket: raw_buffer}]",
            "2:22: error[exclusive-keys]: `tls_context` cannot be given together with `transport_socket`",
        ),
        (
            "clusters: [{name: c, tls_context: true}]",
            "2:35: error[wrong-type]: `tls_context` must be a mapping of its fields, not a boolean",
        ),
        (
            "clusters: [{name: c, tls_context: {alpn_protocols: [h2], common_tls_context: {alpn_protocols: [h2]}}}]",
            "2:36: error[exclusive-keys]: `alpn_protocols` cannot be given together with \
             `common_tls_context.alpn_protocols`",
        ),
        (
            "clusters: [{name: c, tls_context: {validation_contxt: {}}}]",
            "2:36: error[unknown-field]: unknown field `validation_contxt` in \
             envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        ),
        (
            "listeners: [{name: l, udp_proxy: [c]}]",
            "2:34: error[wrong-type]: `udp_proxy` must be the name of a cluster or a mapping of its fields, not a list",
        ),
        (
            "listeners: [{name: l, udp_proxy: {cluster: c, matcher: {on_no_match: {action: {name: a, typed_config: \
             {'@type': type.googleapis.com/google.protobuf.Empty}}}}}}]",
            "2:35: error[exclusive-keys]: `cluster` cannot be given together with `matcher`",
        ),
        (
            "route_configs: [{name: r, routes: [{match: {path_template: /a, prefix: /b}, redirect: {}}]}]",
            "2:45: error[exclusive-keys]: `path_template` cannot be given together with `prefix`",
        ),
        (
            "route_configs: [{name: r, routes: [{route: {cluster: c, path_template_rewrite: /a, \
             path_rewrite_policy: {uri_template_rewriter: {path_template_rewrite: /b}}}}]}]",
            "2:57: error[exclusive-keys]: `path_template_rewrite` cannot be given together with `path_rewrite_policy`",
        ),
    ]);
}

#[test]
fn extensions_are_named_as_their_place_knows_them() {
    expect(&[
        (
            "clusters: [{name: c, health_checks: [{custom_health_check: {rediss: {}}}]}]",
            "2:61: error[unknown-extension]: `rediss` is not the short name of a health checker",
        ),
        (
            "clusters: [{name: c, outlier_detection: {monitors: [gzip]}}]",
            "2:53: error[unknown-extension]: `gzip` is the short name of more than one extension",
        ),
        (
            "clusters: [{name: c, outlier_detection: {monitors: [nothing]}}]",
            "2:53: error[unknown-extension]: `nothing` is not the short name of an extension",
        ),
        (
            "route_configs: [{name: r, typed_per_filter_config: {corss: {}}}]",
            "2:53: error[unknown-extension]: `corss` is not the short name of an HTTP filter",
        ),
        (
            "route_configs: [{name: r, typed_per_filter_config: {cors: true}}]",
            "2:59: error[wrong-type]: `cors` takes a mapping of its fields, not a boolean",
        ),
        (
            "route_configs: [{name: r, typed_per_filter_config: {cors: {}, envoy.filters.http.cors: {}}}]",
            "2:63: error[exclusive-keys]: `envoy.filters.http.cors` is given twice, by its short name and in full",
        ),
    ]);
}

#[test]
fn every_resource_says_what_it_is() {
    expect(&[
        ("clusters: [{connect_timeout: 1s}]", "2:12: error[missing-name]: this Cluster has no `name`"),
        ("clusters: [{name: ''}]", "2:19: error[missing-name]: this Cluster has no `name`"),
        ("clusters: [{name: null}]", "2:12: error[missing-name]: this Cluster has no `name`"),
        (
            "load_assignments: [{endpoints: []}]",
            "2:20: error[missing-name]: this ClusterLoadAssignment has no `cluster_name`",
        ),
        ("resources: [{name: x}]", "2:13: error[missing-type]: an item of `resources` must say what it is"),
        (
            "resources: [{'@type': type.googleapis.com/envoy.config.cluster.v3.Clutser, name: x}]",
            "2:23: error[unknown-resource-type]: `type.googleapis.com/envoy.config.cluster.v3.Clutser` is not a type of \
             resource that xDS serves",
        ),
        ("resources: [{'@type': 5, name: x}]", "2:23: error[wrong-type]: `\"@type\"` must be a type URL, not a number"),
        (
            "clusters: [{'@type': type.googleapis.com/envoy.config.listener.v3.Listener, name: x}]",
            "2:22: error[wrong-section]: a Listener cannot stand under `clusters`",
        ),
    ]);
}

#[test]
fn several_chains_need_names_where_names_are_derived() {
    let text = "version: 1\nlisteners:\n- name: l\n  filter_chains:\n  - {routes: []}\n  - {name: a, routes: []}\n";
    let message = "`stat_prefix` would be named after this filter chain, which has no name";
    let table = "the route table would be named after this filter chain, which has no name";
    assert!(!findings(text).iter().any(|line| line.contains(message)), "one complaint per chain");
    assert_eq!(findings(text), [format!("t.yaml:5:5: error[unnamed-chain]: {table}")]);
    let stated = "version: 1\nlisteners:\n- name: l\n  filter_chains:\n  - {rds: t}\n  - {name: a, rds: t}\n";
    assert_eq!(findings(stated), [format!("t.yaml:5:5: error[unnamed-chain]: {message}")]);
    assert_eq!((compiled(text), compiled(stated)), (vec![], vec![]), "nothing else follows from it");
    let native = "version: 1\nlisteners: [{name: l, filter_chains: [{filters: []}, {filters: []}]}]\n";
    assert_eq!(findings(native), [""; 0]);
}

#[test]
fn a_name_is_given_once_whoever_gives_it() {
    let table = [
        ("clusters: [{name: c}, {name: c}]", "2:30: error[duplicate-resource]: the Cluster `c` is given twice"),
        (
            "clusters: [{name: c}, {'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: c}]",
            "2:92: error[duplicate-resource]: the Cluster `c` is given twice",
        ),
        (
            "listeners: [{name: a, routes: [], rds: t}, {name: b, routes: [], rds: t}]",
            "2:71: error[duplicate-resource]: the RouteConfiguration `t` is given twice",
        ),
        (
            "listeners: [{name: a, routes: [], rds: t}]\nroute_configs: [{name: t}]",
            "3:24: error[duplicate-resource]: the RouteConfiguration `t` is given twice",
        ),
        (
            "clusters: [{name: c, endpoints: ['10.0.0.1:1']}]\nload_assignments: [{cluster_name: c, endpoints: []}]",
            "3:35: error[duplicate-resource]: the ClusterLoadAssignment `c` is given twice",
        ),
        (
            "clusters: [{name: c}]\n---\nversion: 1\nclusters: [{name: c}]",
            "5:19: error[duplicate-resource]: the Cluster `c` is given twice",
        ),
    ];
    expect(&table);
    assert_eq!(findings("version: 1\nclusters: [{name: a}]\nlisteners: [{name: a}]\n"), [""; 0]);
}

#[test]
fn nesting_has_an_end() {
    let span = Span { line: 1, column: 1, len: 1, ..Span::default() };
    let mut rule = Node::map(span, [("any", Node::bool(span, true))]);
    for _ in 0..400 {
        rule = Node::map(span, [("not_rule", rule)]);
    }
    let policy = Node::map(span, [("permissions", Node::list(span, vec![rule]))]);
    let rules = Node::map(span, [("policies", Node::map(span, [("p", policy)]))]);
    let filter = Node::map(span, [("rbac", Node::map(span, [("rules", rules)]))]);
    let node = Node::map(span, [("name", Node::string(span, "l")), ("http_filters", Node::list(span, vec![filter]))]);
    let items = vec![Item {
        kind: Some(Kind::Listener),
        node: node.into(),
        path: "listeners[0]".into(),
        groups: Membership::all(1),
    }];
    let mut found = Findings::new();
    expand(&Schema::embedded(), Topology { items, ..Topology::default() }, alone(), &mut found);
    let codes: Vec<_> = found.as_slice().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["too-deep"]);
}

#[test]
fn one_mistake_does_not_hide_another() {
    let text =
        "version: 1\nclusters:\n- {name: a, endpoints: [x, y]}\n- {endpoints: [z]}\n- {name: c, connect_timeout: 1}\n";
    let places: Vec<_> = findings(text).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["t.yaml:3:25", "t.yaml:3:28", "t.yaml:4:3", "t.yaml:4:16", "t.yaml:5:30"]);
}

#[test]
fn help_names_the_remedy() {
    let help = |text: &str| {
        let document = Document { name: "t.yaml".into(), bytes: text.as_bytes().into() };
        let mut found = Findings::new();
        let topology = crate::topology::parse(&[document], &mut Files::new(), &mut found);
        expand(&Schema::embedded(), topology, alone(), &mut found);
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        (finding.path.clone(), finding.help.clone().unwrap_or_default())
    };
    let (path, text) = help("version: 1\nlisteners: [{name: l, rds: t, http_filters: [corss]}]\n");
    assert_eq!(text, "did you mean `cors`?");
    assert_eq!(path, "listeners[0].filter_chains[0].http_connection_manager.http_filters[0]");
    let (_, text) = help("version: 1\nresources: [{'@type': x/envoy.config.cluster.v3.Clutser, name: x}]\n");
    assert_eq!(text, "did you mean `type.googleapis.com/envoy.config.cluster.v3.Cluster`?");
    let (_, text) = help("version: 1\nclusters: [{'@type': x/envoy.config.route.v3.VirtualHost, name: x}]\n");
    assert_eq!(text, "move it to `resources`");
}
