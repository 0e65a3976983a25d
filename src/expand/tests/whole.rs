//! Whole topologies.

use super::*;
use crate::envoy::Entry;

#[test]
fn the_seeds_topology_is_what_its_program_made() {
    let text = r#"
version: 1
listeners:
- name: listener_0
  address: 0.0.0.0:10000
  rds: local_route
  http_connection_manager: {stat_prefix: http}
  routes:
  - route: example_proxy_cluster
clusters:
- name: example_proxy_cluster
  type: LOGICAL_DNS
  dns_lookup_family: V4_ONLY
  endpoints: ["service1:8080"]
"#;
    let expected = json!({
        "LDS listener_0": {
            "name": "listener_0",
            "address": { "socket_address": { "address": "0.0.0.0", "port_value": 10000 } },
            "filter_chains": [{
                "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "http",
                        "rds": { "config_source": ads(), "route_config_name": "local_route" },
                        "http_filters": [router()],
                    },
                }],
            }],
        },
        "RDS local_route": {
            "name": "local_route",
            "virtual_hosts": [{
                "name": "local_service",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "example_proxy_cluster" } }],
            }],
        },
        "CDS example_proxy_cluster": {
            "name": "example_proxy_cluster",
            "type": "LOGICAL_DNS",
            "dns_lookup_family": "V4_ONLY",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": "example_proxy_cluster",
                "endpoints": [{
                    "lb_endpoints": [
                        { "endpoint": { "address": { "socket_address": { "address": "service1", "port_value": 8080 } } } },
                    ],
                }],
            },
        },
    });
    assert_eq!(json!(resources(text)), expected);
}

/// Envoy's own words, in Envoy's own places, with some of everything.
const NATIVE: &str = r#"
version: 1
listeners:
- name: native
  address: {socket_address: {protocol: TCP, address: 0.0.0.0, port_value: 80}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: ingress
        routes: not-looked-at
        route_config: {virtual_hosts: [{routes: [{route: a}]}]}
route_configs:
- name: r
  virtual_hosts:
  - name: v
    domains: ["*"]
    request_headers_to_add: [{header: {key: a, value: b}, append_action: ADD_IF_ABSENT}]
    routes:
    - match:
        safe_regex: {regex: "/a.*"}
        headers: [{name: h, string_match: {exact: x}}]
        runtime_fraction: {default_value: {numerator: 5, denominator: HUNDRED}}
      route:
        weighted_clusters: {clusters: [{name: a, weight: 1}]}
        timeout: 0.25s
        retry_policy: {retry_on: "5xx,reset"}
clusters:
- name: c
  type: STATIC
  connect_timeout: 1s
  lb_policy: RANDOM
  load_assignment:
    cluster_name: other
    endpoints:
    - lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}}]
- name: api_config
  type: EDS
  connect_timeout: 1s
  eds_cluster_config:
    service_name: s
    eds_config: {api_config_source: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}}
load_assignments:
- cluster_name: s
  endpoints:
  - locality: {zone: a}
    load_balancing_weight: 3
    lb_endpoints: [{endpoint: {address: {pipe: {path: /x}}}, health_status: DRAINING}]
"#;

#[test]
fn envoys_own_form_is_left_alone() {
    let node = crate::topology::parse(
        &[Document { name: "t.yaml".into(), bytes: NATIVE.as_bytes().into() }],
        &mut Files::new(),
        &mut Findings::new(),
    );
    let written: Vec<Json> = node.items.iter().map(|item| json_of(&item.node)).collect();
    let expanded: Vec<Json> = natives(NATIVE).iter().map(|native| json_of(&native.node)).collect();
    assert_eq!(expanded, written);
}

#[test]
fn verbatim_is_left_alone_at_every_level() {
    let text = r#"
version: 1
clusters:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: raw
  endpoints: [a:1]
  type: strict_dns
  connect_timeout: 5m
route_configs:
- name: r
  virtual_hosts:
  - "@type": type.googleapis.com/envoy.config.route.v3.VirtualHost
    routes: [{route: c}]
resources:
- "@type": type.googleapis.com/envoy.service.runtime.v3.Runtime
  name: runtime-0
  layer: {re2.max_program_size.error_level: 400}
- {"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, clusterName: camel}
"#;
    let made = natives(text);
    let verbatim: Vec<_> = made.iter().map(|native| (native.kind, native.name.as_str(), native.verbatim)).collect();
    assert_eq!(
        verbatim,
        [
            (Kind::Cluster, "raw", true),
            (Kind::Route, "r", false),
            (Kind::Runtime, "runtime-0", true),
            (Kind::Endpoint, "camel", true)
        ]
    );
    let expected = json!({ "name": "raw", "endpoints": ["a:1"], "type": "strict_dns", "connect_timeout": "5m" });
    assert_eq!(json_of(&made[0].node), expected, "only the outer type is gone");
    let host = &json_of(&made[1].node)["virtual_hosts"][0];
    assert_eq!(host["routes"], json!([{ "route": "c" }]));
    assert_eq!(host.get("domains"), None);
}

/// Some of everything that is friendly.
const FRIENDLY: &str = r#"
version: 1
static_resources: {secrets: [boot]}
listeners:
- name: edge
  address: "[::]:8080"
  http_connection_manager:
    use_remote_address: true
    access_log: [stdout, {file: {path: /dev/null}, filter: {status_code_filter: {comparison: {op: ge, value: {default_value: 500, runtime_key: k}}}}}]
    tracing: {provider: {opentelemetry: {grpc_service: otel, service_name: edge}}, random_sampling: 1.5}
    upgrade_configs: [websocket]
    stream_idle_timeout: 5m
  http_filters:
  - cors
  - {lua: {default_source_code: {inline_string: "--"}}, disabled: true}
  - ext_authz: {grpc_service: authz}
  - rbac: {rules: {action: deny, policies: {bad: {permissions: [{url_path: {path: {prefix: /admin}}}], principals: [{remote_ip: 10.0.0.0/8}]}}}}
  - fault: {delay: {fixed_delay: 250ms, percentage: 0.5}}
  - local_ratelimit: {token_bucket: {max_tokens: 100, fill_interval: 1s}}
  - {name: discovered, config_discovery: {}}
  - compressor
  virtual_hosts:
  - domains: [www.example.com]
    typed_per_filter_config: {cors: {allow_origin_string_match: [{suffix: .example.com}]}}
    request_headers_to_add: {x-edge: "1"}
    routes:
    - match: {safe_regex: "/v[0-9]+", headers: {":method": [GET, HEAD], x-a: {prefix: b}}, query_parameters: {q: true}}
      route: {cluster: users, request_mirror_policies: [{cluster: users, runtime_fraction: 5}]}
    - match: {path_template: "/api/{id}"}
      route: {cluster: users, path_template_rewrite: "/x/{id}", retry_policy: {retry_host_predicate: [previous_hosts]}}
    - match: /x
      route: {weighted_clusters: [{name: users, weight: 1}], retry_policy: {retry_on: [5xx, reset]}}
    - redirect: {https_redirect: true, response_code: permanent_redirect}
- name: many
  address: 127.0.0.1:9000
  filter_chains:
  - {filter_chain_match: {server_names: [a.example]}, routes: [{route: users}]}
  - {name: two, routes: [{route: users}]}
  default_filter_chain: {rds: table}
- name: tls
  address: 127.0.0.1:9001
  tls_context: {tls_certificate_sds_secret_configs: [boot], validation_context: {trusted_ca: {filename: /ca.pem}}}
  routes: [{route: users}]
- {name: dns, address: "udp://127.0.0.1:53", udp_proxy: users}
- name: greeter:50051
  api_listener: {routes: [{route: users}]}
route_configs: [{name: table, routes: [{route: users}]}]
clusters:
- {name: users, endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, load_balancing_weight: 2}], http2_protocol_options: {}}
- {name: dns, endpoints: [a.example:80], lb_policy: ring_hash, tls_context: {}, health_checks: [{tcp_health_check: {}}]}
- {name: both, cluster_type: {aggregate: {clusters: [users, dns]}}, lb_policy: cluster_provided}
- {name: elsewhere}
- {name: passthrough, type: original_dst}
load_assignments: [{cluster_name: elsewhere, endpoints: ["unix:///run/x.sock"]}]
extension_configs: [{name: discovered, buffer: {max_request_bytes: 1024}}]
"#;

#[test]
fn what_is_expanded_is_what_envoy_takes() {
    assert_eq!(compiled(FRIENDLY), [""; 0]);
}

#[test]
fn expanding_what_was_expanded_changes_nothing() {
    for text in [NATIVE, FRIENDLY] {
        let first = natives(text);
        let documents: Vec<String> = first
            .iter()
            .map(|native| format!("version: 1\n{}: [{}]\n", section_of(native.kind), json_of(&native.node)))
            .collect();
        let second = natives(&documents.join("---\n"));
        let json = |natives: &[Native]| -> Vec<_> {
            natives.iter().map(|native| (native.kind, native.name.clone(), json_of(&native.node))).collect()
        };
        let mut first = json(&first);
        let mut second = json(&second);
        first.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        second.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        assert_eq!(second, first);
    }
}

#[test]
fn every_node_points_into_the_text() {
    fn check(node: &Node, lines: u32) {
        assert!((1..=lines).contains(&node.span.line) && node.span.column > 0, "{node:?}");
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| check(item, lines)),
            Value::Map(entries) => entries.iter().for_each(|entry| {
                assert!(entry.key_span.line > 0, "{entry:?}");
                check(&entry.value, lines);
            }),
            _ => {}
        }
    }
    let lines = u32::try_from(FRIENDLY.lines().count()).unwrap();
    for native in natives(FRIENDLY) {
        check(&native.node, lines);
    }
}

#[test]
fn what_is_generated_points_at_what_asked_for_it() {
    let text = "version: 1\nlisteners:\n- name: l\n  address: 0.0.0.0:80\n  routes:\n  - route: c\n";
    let made = natives(text);
    let place = |node: &Node| (node.span.line, node.span.column);
    let at = |node: &Node, path: &[&str]| {
        let mut node = node.clone();
        for step in path {
            node = match step.parse::<usize>() {
                Ok(index) => node.items().unwrap()[index].clone(),
                Err(_) => node.get(step).unwrap().clone(),
            };
        }
        place(&node)
    };
    let listener = &made[0].node;
    assert_eq!(at(listener, &["address", "socket_address", "port_value"]), (4, 12));
    assert_eq!(
        at(listener, &["filter_chains", "0", "filters", "0", "typed_config", "rds", "route_config_name"]),
        (5, 3)
    );
    let table = &made[1].node;
    assert_eq!(at(table, &["name"]), (5, 3));
    assert_eq!(at(table, &["virtual_hosts", "0", "domains"]), (5, 3));
    assert_eq!(at(table, &["virtual_hosts", "0", "routes", "0", "match", "prefix"]), (6, 5));
    assert_eq!(at(table, &["virtual_hosts", "0", "routes", "0", "route", "cluster"]), (6, 12));
    assert_eq!(made[1].path, "listeners[0]");
}

/// Every value of a friendly topology replaced by every other kind of value: mistakes are findings, never panics.
#[test]
fn no_kind_of_value_anywhere_is_a_panic() {
    fn places(node: &Node, path: &mut Vec<usize>, out: &mut Vec<Vec<usize>>) {
        out.push(path.clone());
        let children: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
            _ => Vec::new(),
        };
        for (index, child) in children.into_iter().enumerate() {
            path.push(index);
            places(child, path, out);
            path.pop();
        }
    }
    fn replace(node: &mut Node, path: &[usize], with: &Value) {
        let [first, rest @ ..] = path else { return node.value.clone_from(with) };
        match &mut node.value {
            Value::List(items) => replace(&mut items[*first], rest, with),
            Value::Map(entries) => replace(&mut entries[*first].value, rest, with),
            _ => unreachable!("the path was made from this tree"),
        }
    }
    let schema = Schema::embedded();
    let document = Document { name: "t.yaml".into(), bytes: FRIENDLY.as_bytes().into() };
    let topology = crate::topology::parse(&[document], &mut Files::new(), &mut Findings::new());
    let other = Node::string(Span::default(), "x");
    let values = [
        Value::Null,
        Value::Bool(false),
        Value::Number("-1.5e3".into()),
        Value::String(String::new()),
        Value::List(vec![other.clone()]),
        Value::List(Vec::new()),
        Value::Map(vec![Entry::new("x", Span::default(), other)]),
        Value::Map(Vec::new()),
    ];
    for Item { kind, node, path: item, groups } in &topology.items {
        let mut all = Vec::new();
        places(node, &mut Vec::new(), &mut all);
        for (path, value) in all.iter().skip(1).flat_map(|path| values.iter().map(move |value| (path, value))) {
            let mut node = Node::clone(node);
            replace(&mut node, path, value);
            let items = vec![Item { kind: *kind, node: node.into(), path: item.clone(), groups: groups.clone() }];
            let static_resources = topology.static_resources.clone();
            let topology = Topology { items, static_resources, ..Topology::default() };
            expand(&schema, topology, alone(), &mut Findings::new());
        }
    }
}
