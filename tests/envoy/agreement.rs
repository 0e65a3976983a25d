//! Chancery and Envoy agree on what can be loaded.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::examples::{View, examples};
use crate::support::{chancery, envoy};

/// One entry of `raw_resources.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    good: bool,
    resource: Value,
}

#[tokio::test]
async fn check_and_envoy_agree_on_raw_resources() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("raw_resources.yaml")).unwrap();
    assert!(cases.len() >= 40 && cases.iter().filter(|case| case.good).count() >= 15);
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let envoys = envoy::validate(&static_bootstrap(&case.resource).to_string()).await;
        if envoys.is_ok() != case.good {
            wrong.push(format!("{}: good is {}, and Envoy says {envoys:?}", case.name, case.good));
        }
        fs::write(dir.path().join("topology.yaml"), topology(&case.resource)).unwrap();
        let ours = chancery::run_in(dir.path(), &["check", "topology.yaml"], "").await;
        if ours.code != i32::from(!case.good) {
            wrong.push(format!("{}: good is {}, and check says {ours:?}", case.name, case.good));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn envoy_loads_every_example() {
    for example in examples() {
        for View { name, arguments, .. } in example.views().await {
            let rendered = example.run(&["render", "--bootstrap"], &arguments).await;
            assert!(rendered.contains("static_resources"), "{name}: {rendered}");
            envoy::validate(&rendered).await.unwrap_or_else(|why| panic!("{name}: {why}\n{rendered}"));
        }
    }
}

/// The resource in a topology in which everything that it names exists.
fn topology(resource: &Value) -> String {
    format!(
        "version: 1
clusters:
- {{name: backend, endpoints: [127.0.0.1:80]}}
{}resources:
- {resource}
",
        if kind(resource) == "ClusterLoadAssignment" { "- {name: service}\n" } else { "" }
    )
}

/// The resource in a complete configuration, put there without any help of ours.
fn static_bootstrap(resource: &Value) -> Value {
    let mut bare = resource.clone();
    bare.as_object_mut().unwrap().remove("@type");
    let mut resources = json!({"clusters": [{"name": "backend", "type": "STATIC"}]});
    match kind(resource) {
        "Cluster" => resources["clusters"].as_array_mut().unwrap().push(bare),
        "ClusterLoadAssignment" => {
            let cluster = json!({"name": "service", "type": "STATIC", "load_assignment": bare});
            resources["clusters"].as_array_mut().unwrap().push(cluster);
        }
        "Listener" => resources["listeners"] = json!([bare]),
        "RouteConfiguration" => resources["listeners"] = json!([http_listener(&bare)]),
        "Secret" => resources["secrets"] = json!([bare]),
        other => panic!("no place for a {other}"),
    }
    json!({"node": {"id": "test-id", "cluster": "test-cluster"}, "static_resources": resources})
}

fn http_listener(route_config: &Value) -> Value {
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "l",
        "route_config": route_config,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}]
    });
    json!({
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]}]
    })
}

/// The last part of the resource's type.
fn kind(resource: &Value) -> &str {
    resource["@type"].as_str().unwrap().rsplit('.').next().unwrap()
}
