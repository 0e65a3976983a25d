use serde_json::Map;

use super::*;

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

fn ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}

fn native(kind: Kind, mut json: Value) -> Native {
    let name = json[kind.name_field()].as_str().unwrap().to_owned();
    let Value::Object(fields) = json.take() else { panic!("a resource is a mapping") };
    let mut typed = Map::from_iter([("@type".to_owned(), Value::from(kind.type_url()))]);
    typed.extend(fields);
    Native { kind, name, origin: "topology.yaml:1:1".to_owned(), json: typed.into() }
}

fn listener(hcm: Value) -> Native {
    let Value::Object(fields) = hcm else { panic!("a filter's configuration is a mapping") };
    let mut config =
        Map::from_iter([("@type".to_owned(), Value::from(HCM)), ("stat_prefix".to_owned(), "http".into())]);
    config.extend(fields);
    native(
        Kind::Listener,
        json!({
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}]}],
        }),
    )
}

fn hcm(config: &Value) -> &Value {
    &config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn built(resources: Vec<Native>) -> Static {
    let setting = Setting { clusters: &[], node_cluster: "default", admin: None };
    build(&Schema::embedded(), resources, &setting)
}

#[test]
fn route_tables_move_into_their_listeners_and_do_not_check_clusters() {
    let table = json!({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"]}]});
    let rds = json!({"rds": {"config_source": ads(), "route_config_name": "r"}, "http_filters": []});
    let Static { config, left_out } = built(vec![listener(rds), native(Kind::Route, table)]);
    assert!(left_out.is_empty());
    let expected = json!({
        "@type": HCM,
        "stat_prefix": "http",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"]}], "validate_clusters": false},
        "http_filters": [],
    });
    assert_eq!(hcm(&config).to_string(), expected.to_string(), "the order of the fields is kept");
    assert_eq!(config["node"], json!({"id": "chancery-render", "cluster": "default"}));
    assert!(config["static_resources"]["listeners"][0].get("@type").is_none());
}

#[test]
fn a_table_of_another_server_or_file_stays_there() {
    for source in [
        json!({"path_config_source": {"path": "/etc/rds.yaml"}}),
        json!({"api_config_source": {"api_type": "GRPC", "transport_api_version": "V3"}}),
    ] {
        let rds = json!({"rds": {"config_source": source, "route_config_name": "elsewhere"}});
        let Static { config, left_out } = built(vec![listener(rds.clone())]);
        assert!(left_out.is_empty());
        assert_eq!(hcm(&config)["rds"], rds["rds"]);
    }
}

#[test]
fn a_missing_table_is_empty_and_named() {
    let rds = json!({"rds": {"config_source": ads(), "route_config_name": "r"}});
    let Static { config, left_out } = built(vec![listener(rds)]);
    assert_eq!(hcm(&config)["route_config"], json!({"name": "r", "validate_clusters": false}));
    assert_eq!(left_out, ["LDS `l` (topology.yaml:1:1): its route table `r` is not in the topology"]);
}

#[test]
fn eds_clusters_become_static_by_service_name() {
    let assignment = json!({"cluster_name": "svc", "endpoints": [{"lb_endpoints": []}]});
    let cluster = json!({
        "name": "c",
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ads(), "service_name": "svc"},
        "lrs_server": {"self": {}},
    });
    let plain = json!({"name": "p", "type": "EDS", "eds_cluster_config": {"eds_config": {"api_config_source": {}}}});
    let own = json!({"cluster_name": "p"});
    let Static { config, left_out } = built(vec![
        native(Kind::Cluster, cluster),
        native(Kind::Cluster, plain),
        native(Kind::Endpoint, own.clone()),
        native(Kind::Endpoint, assignment.clone()),
    ]);
    let clusters = &config["static_resources"]["clusters"];
    assert_eq!(clusters[0], json!({"name": "c", "type": "STATIC", "load_assignment": assignment}));
    assert_eq!(clusters[1], json!({"name": "p", "type": "STATIC", "load_assignment": own}));
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].contains("`lrs_server`"), "{left_out:?}");
}

#[test]
fn secrets_move_to_static_resources_and_keep_their_names() {
    let tls = json!({
        "name": "c",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "tls_certificate_sds_secret_configs": [{"name": "s", "sds_config": ads()}],
                    "combined_validation_context": {
                        "default_validation_context": {},
                        "validation_context_sds_secret_config": {"name": "gone", "sds_config": ads()},
                    },
                },
            },
        },
    });
    let secret = json!({"name": "s", "tls_certificate": {"private_key": {"inline_string": "key"}}});
    let Static { config, left_out } = built(vec![native(Kind::Cluster, tls), native(Kind::Secret, secret.clone())]);
    let statics = &config["static_resources"];
    let context = &statics["clusters"][0]["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(context["tls_certificate_sds_secret_configs"], json!([{"name": "s"}]));
    assert_eq!(context["combined_validation_context"]["validation_context_sds_secret_config"], json!({"name": "gone"}));
    assert_eq!(statics["secrets"], json!([secret]));
    assert!(left_out[0].contains("secret `gone`"), "{left_out:?}");
}

#[test]
fn discovered_extensions_are_inlined_and_walked_in_turn() {
    let filters = json!({"http_filters": [
        {"name": "a", "config_discovery": {"config_source": ads(), "type_urls": ["x"]}, "disabled": true},
        {"name": "b", "config_discovery": {"config_source": ads(), "default_config": {"@type": "x/d"}, "type_urls": ["x"]}},
    ]});
    let on_demand = "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand";
    let extension =
        json!({"name": "a", "typed_config": {"@type": on_demand, "odcds": {"source": ads(), "timeout": "5s"}}});
    let Static { config, left_out } = built(vec![listener(filters), native(Kind::ExtensionConfig, extension)]);
    let filters = &hcm(&config)["http_filters"];
    assert_eq!(filters[0], json!({"name": "a", "typed_config": {"@type": on_demand}, "disabled": true}));
    assert_eq!(filters[1], json!({"name": "b", "typed_config": {"@type": "x/d"}}));
    assert_eq!(left_out.len(), 2, "{left_out:?}");
}

#[test]
fn an_extension_that_names_itself_ends() {
    let action = "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction";
    let extension = json!({"name": "a", "typed_config": {
        "@type": action,
        "dynamic_config": {"name": "a", "config_discovery": {"config_source": ads(), "type_urls": ["x"]}},
    }});
    let filters =
        json!({"http_filters": [{"name": "a", "config_discovery": {"config_source": ads(), "type_urls": ["x"]}}]});
    let Static { config, .. } = built(vec![listener(filters), native(Kind::ExtensionConfig, extension)]);
    assert_eq!(hcm(&config)["http_filters"][0]["typed_config"]["typed_config"]["typed_config"]["@type"], action);
}

#[test]
fn scoped_routes_and_virtual_hosts_are_inlined() {
    let scoped = json!({"scoped_routes": {
        "name": "s",
        "scope_key_builder": {},
        "rds_config_source": ads(),
        "scoped_rds": {"scoped_rds_config_source": ads()},
    }});
    let scope = json!({"name": "one", "route_configuration_name": "r", "key": {"fragments": [{"string_key": "k"}]}});
    let table = json!({"name": "r", "vhds": {"config_source": ads()}});
    let host = json!({"name": "r/v", "domains": ["*"]});
    let Static { config, left_out } = built(vec![
        listener(scoped),
        native(Kind::ScopedRoute, scope),
        native(Kind::Route, table),
        native(Kind::VirtualHost, host.clone()),
        native(Kind::VirtualHost, json!({"name": "other/v", "domains": ["*"]})),
    ]);
    let expected = json!({
        "name": "s",
        "scope_key_builder": {},
        "scoped_route_configurations_list": {"scoped_route_configurations": [{
            "name": "one",
            "route_configuration": {"name": "r", "validate_clusters": false, "virtual_hosts": [host]},
            "key": {"fragments": [{"string_key": "k"}]},
        }]},
    });
    assert_eq!(hcm(&config)["scoped_routes"], expected);
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn api_listeners_are_left_out_by_name_and_stubs_stand_in_for_bootstrap_clusters() {
    let api = json!({"name": "greeter", "api_listener": {"api_listener": {"@type": HCM}}});
    let cluster = json!({"name": "mine", "type": "STRICT_DNS"});
    let names = ["mine".to_owned(), "xds_cluster".to_owned()];
    let setting =
        Setting { clusters: &names, node_cluster: "default", admin: Some("127.0.0.1:19000".parse().unwrap()) };
    let resources = vec![native(Kind::Listener, api), native(Kind::Cluster, cluster.clone())];
    let Static { config, left_out } = build(&Schema::embedded(), resources, &setting);
    assert_eq!(left_out, ["api_listener `greeter` (topology.yaml:1:1): Envoy takes none statically"]);
    let stub = json!({"name": "xds_cluster", "type": "STATIC", "load_assignment": {"cluster_name": "xds_cluster"}});
    assert_eq!(config["static_resources"], json!({"clusters": [cluster, stub]}));
    assert_eq!(config["admin"]["address"], socket_address("127.0.0.1", 19000));
}

#[test]
fn runtimes_become_layers() {
    let runtime = json!({"name": "rtds0", "layer": {"a": {"ads": {}}}});
    let Static { config, .. } = built(vec![native(Kind::Runtime, runtime)]);
    let layers = json!({"layers": [{"name": "rtds0", "static_layer": {"a": {"ads": {}}}}]});
    assert_eq!(config["layered_runtime"], layers);
}

#[test]
fn users_own_structures_are_not_taken_for_config_sources() {
    let metadata = json!({"filter_metadata": {"m": {"config_source": ads(), "rds": {"ads": {}}, "sds_config": ads()}}});
    let cluster = json!({"name": "c", "type": "STATIC", "metadata": metadata});
    let Static { config, left_out } = built(vec![native(Kind::Cluster, cluster.clone())]);
    assert_eq!(config["static_resources"]["clusters"][0], cluster);
    assert!(left_out.is_empty());
}

#[test]
fn internal_addresses_bring_their_extension() {
    let listener = json!({"name": "inner", "internal_listener": {}, "filter_chains": []});
    let Static { config, .. } = built(vec![native(Kind::Listener, listener)]);
    assert_eq!(config["bootstrap_extensions"][0]["name"], "envoy.bootstrap.internal_listener");
}
