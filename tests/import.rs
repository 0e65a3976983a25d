//! `chancery import`: what it prints means what it was given.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::golden::yaml_files;
use crate::support::chancery::{run, run_in};
use crate::support::examples::{View, examples};

/// What a command prints, which must succeed.
async fn printed(arguments: &[&str], input: &str) -> String {
    let run = run_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, input).await;
    assert_eq!(run.code, 0, "{arguments:?} of\n{input}\n{run:?}");
    run.stdout
}

#[tokio::test]
async fn what_examples_mean_is_imported_without_loss() {
    for example in examples() {
        for View { name, group, arguments } in example.views().await {
            // A bootstrap names the group that it was made for, which what is imported no longer knows.
            let modes: &[&[&str]] = if group.is_some() { &[&[]] } else { &[&[], &["--bootstrap"]] };
            for mode in modes {
                if mode.is_empty() && example.has_keys() {
                    // Redacted, it is no topology any more; the other mode has it all.
                    continue;
                }
                let native = example.run(&[&["render"], *mode].concat(), &arguments).await;
                let first = example.run(&[&["render", "-o", "json"], *mode].concat(), &arguments).await;
                let imported = printed(&["import", "-"], &native).await;
                let second = printed(&[&["render", "-o", "json", "-"], *mode].concat(), &imported).await;
                // What is inlined into a message stands behind its other fields: the order of keys may differ.
                let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(parsed(&first), parsed(&second), "{name} {mode:?}:\n{imported}");
                assert!(imported.lines().count() <= native.lines().count(), "{name} grew:\n{imported}");
            }
        }
    }
}

/// The resources of a bootstrap as Envoy would be given them, in an order of their own.
fn static_resources(rendered: &str) -> Value {
    let mut config: Value = serde_json::from_str(rendered).unwrap();
    unchecked(&mut config);
    let mut resources = config["static_resources"].take();
    for section in resources.as_object_mut().unwrap().values_mut() {
        section.as_array_mut().unwrap().sort_by_key(|item| item["name"].as_str().map(str::to_owned));
    }
    resources
}

/// An inline table that is served over RDS, as is one that is inlined again, does not check its clusters.
fn unchecked(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unchecked),
        Value::Object(map) => {
            if map.get("validate_clusters") == Some(&Value::Bool(false)) {
                map.remove("validate_clusters");
            }
            map.values_mut().for_each(unchecked);
        }
        _ => {}
    }
}

/// The same resources without any of the short forms.
fn verbatim(bootstrap: &str) -> String {
    // `"@type"` takes enum values in their own case only.
    let config: Value = serde_saphyr::from_str(&bootstrap.replace("strict_dns", "STRICT_DNS")).unwrap();
    let mut resources = Vec::new();
    for (section, message) in [
        ("listeners", "envoy.config.listener.v3.Listener"),
        ("clusters", "envoy.config.cluster.v3.Cluster"),
        ("secrets", "envoy.extensions.transport_sockets.tls.v3.Secret"),
    ] {
        for item in config["static_resources"][section].as_array().into_iter().flatten() {
            let mut typed = Map::from_iter([("@type".to_owned(), json!(format!("type.googleapis.com/{message}")))]);
            typed.extend(item.as_object().unwrap().clone());
            resources.push(typed);
        }
    }
    json!({"version": 1, "resources": resources}).to_string()
}

#[tokio::test]
async fn bootstraps_keep_every_field() {
    let names = yaml_files("tests/import");
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let text = fs::read_to_string(format!("{}/tests/import/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let imported = printed(&["import", "-"], &text).await;
        let expected = printed(&["render", "-", "--bootstrap", "-o", "json"], &verbatim(&text)).await;
        let found = printed(&["render", "-", "--bootstrap", "-o", "json"], &imported).await;
        assert_eq!(static_resources(&expected), static_resources(&found), "{name}:\n{imported}");
        // What it prints is a topology, not an Envoy configuration, and the same each time.
        assert_eq!(imported, printed(&["import", "-"], &text).await);
    }
}

#[tokio::test]
async fn boilerplate_becomes_short() {
    let text = fs::read_to_string(format!("{}/tests/import/front-proxy.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let imported = printed(&["import", "-"], &text).await;
    let expected = "\
version: 1
listeners:
- name: ingress
  address: \"0.0.0.0:10000\"
  http_connection_manager:
    stat_prefix: ingress_http
  rds: local_route
  virtual_hosts:
  - name: backend
    domains:
    - \"*\"
    routes:
    - match: /service/1
      route: service1
    - match: /service/2
      route:
        cluster: service2
        prefix_rewrite: /
        timeout: 0.500s
clusters:
- name: service1
  endpoints:
  - \"service1:8080\"
  connect_timeout: null
  dns_lookup_family: null
- name: service2
  http2_protocol_options: {}
  endpoints:
  - \"service2:8080\"
  connect_timeout: null
  dns_lookup_family: null
";
    assert_eq!(imported, expected);
}

#[tokio::test]
async fn files_of_filesystem_xds_are_imported_together() {
    let dir = tempfile::tempdir().unwrap();
    let listener = "version_info: \"3\"\nresources:\n- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener
  name: web
  address: {socket_address: {address: 127.0.0.1, port_value: 80}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: web
        rds: {route_config_name: web, config_source: {ads: {}, resource_api_version: V3}}
        http_filters:
        - name: envoy.filters.http.router
          typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
";
    let route = "resources:\n- \"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource
  name: web
  resource:
    \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
    name: web
    virtual_hosts:
    - {name: local_service, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: app}}]}
";
    let cluster = "resources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: app
  type: EDS
  connect_timeout: 5s
  eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}}
";
    let endpoints = "resources:\n- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: app
  endpoints:
  - locality: {}
    load_balancing_weight: 1
    lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}}]
";
    for (name, text) in [("lds", listener), ("rds", route), ("cds", cluster), ("eds", endpoints)] {
        fs::write(dir.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let imported = run_in(dir.path(), &["import", "lds.yaml", "rds.yaml", "cds.yaml", "eds.yaml"], "").await;
    assert_eq!((imported.code, imported.stderr.as_str()), (0, ""), "{imported:?}");
    let expected = "\
version: 1
listeners:
- name: web
  address: \"127.0.0.1:80\"
  routes:
  - route: app
clusters:
- name: app
  endpoints:
  - \"10.0.0.1:80\"
";
    assert_eq!(imported.stdout, expected);
}

const UNNAMED: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
node: {id: a, cluster: b}
stats_sinks: []
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 80}}
    filter_chains: [{filters: []}]
  - address: {socket_address: {address: 127.0.0.2, port_value: 80}}
    filter_chains: [{filters: []}]
";

#[tokio::test]
async fn what_is_left_out_or_named_is_said_with_its_place() {
    let imported = run_in(Path::new("."), &["import", "-"], UNNAMED).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let said = |text: &str| assert!(imported.stderr.contains(text), "{text}: {}", imported.stderr);
    said(":1:1: warning[not-imported]: `admin` is left out: ");
    said(":2:1: warning[not-imported]: `node` is left out: ");
    said(":3:1: warning[not-imported]: `stats_sinks` is left out: ");
    said(":6:5: info[import-named]: this listener has no name; it is called `listener_80` now");
    said(":8:5: info[import-named]: this listener has no name; it is called `listener_80_2` now");
    let topology: Value = serde_saphyr::from_str(&imported.stdout).unwrap();
    let names = topology["listeners"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(["listener_80", "listener_80_2"]));
}

#[tokio::test]
async fn what_is_not_understood_is_not_imported() {
    for (text, place) in [
        ("static_resources:\n  clusters:\n  - {name: a, conect_timeout: 1s}\n", ":3:15: error[unknown-field]: "),
        ("static_resorces: {}\n", ":1:1: error[not-envoy]: "),
        ("version: 1\nlisteners: []\n", ":1:1: error[not-envoy]: "),
        ("resources: [{name: a}]\n", ":1:13: error[unknown-resource-type]: "),
        ("static_resources: [\n", ":1:19: error[yaml-syntax]: "),
    ] {
        let refused = run_in(Path::new("."), &["import", "-"], text).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{text}: {refused:?}");
        assert!(refused.stderr.contains(place), "{text}: {refused:?}");
    }
    assert_eq!(run(&["import", "/nowhere/envoy.yaml"]).await.code, 2);
    assert_eq!(run(&["import"]).await.code, 2);
}
