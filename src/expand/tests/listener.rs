//! Listeners, filter chains and connection managers.

use super::*;

/// All resources of one listener.
fn listener(fields: &str) -> BTreeMap<String, Json> {
    resources(&format!("version: 1\nlisteners: [{{name: l, {fields}}}]\n"))
}

fn rds(name: &str) -> Json {
    json!({ "config_source": ads(), "route_config_name": name })
}

#[test]
fn an_inline_table_is_named_after_the_listener_or_by_rds() {
    let table = [
        ("routes: [{route: c}]", "l"),
        ("virtual_hosts: [{routes: [{route: c}]}]", "l"),
        ("routes: [{route: c}], rds: t", "t"),
        ("routes: [{route: c}], rds: {route_config_name: t}", "t"),
        ("routes: [{route: c}], rds: {}", "l"),
        ("routes: [{route: c}], rds: null", "l"),
        ("http_connection_manager: {routes: [{route: c}]}", "l"),
        ("http_connection_manager: {routes: [{route: c}], rds: t}", "t"),
        ("http_connection_manager: {rds: t}, routes: [{route: c}]", "t"),
    ];
    for (fields, name) in table {
        let made = listener(fields);
        assert_eq!(manager(&made["LDS l"])["rds"], rds(name), "{fields}");
        let host = json!([{
            "name": "local_service",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "c" } }],
        }]);
        assert_eq!(made[&format!("RDS {name}")], json!({ "name": name, "virtual_hosts": host }), "{fields}");
        assert_eq!(made.len(), 2, "{fields}");
    }
}

#[test]
fn rds_alone_refers_to_a_table() {
    for fields in ["rds: t", "rds: {route_config_name: t}", "http_connection_manager: {rds: t}"] {
        let made = listener(fields);
        assert_eq!(manager(&made["LDS l"])["rds"], rds("t"), "{fields}");
        assert_eq!(made.len(), 1);
    }
    let source = "{api_config_source: {api_type: GRPC, transport_api_version: V3}}";
    let made = listener(&format!("rds: {{route_config_name: t, config_source: {source}}}, routes: [{{route: c}}]"));
    let expected = json!({ "api_config_source": { "api_type": "GRPC", "transport_api_version": "V3" } });
    assert_eq!(manager(&made["LDS l"])["rds"]["config_source"], expected);
}

#[test]
fn a_connection_manager_gets_a_prefix_and_a_router() {
    let made = listener("rds: t");
    let manager_ = manager(&made["LDS l"]);
    assert_eq!(manager_["stat_prefix"], json!("l"));
    assert_eq!(manager_["http_filters"], json!([router()]));
    let text = "version: 1\nlisteners: [{name: a/b.c*d, rds: t}]\n";
    assert_eq!(manager(&resource(text))["stat_prefix"], json!("a_b_c_d"));
    for hoisted in ["rds: t, http_filters: null", "routes: [], http_connection_manager: {}, http_filters: null"] {
        let made = listener(hoisted);
        assert_eq!(manager(&made["LDS l"])["http_filters"], Json::Null, "{hoisted}");
    }
    let made = listener("rds: t, http_connection_manager: {stat_prefix: null, http_filters: null}");
    assert_eq!(manager(&made["LDS l"])["stat_prefix"], Json::Null);
    assert_eq!(manager(&made["LDS l"])["http_filters"], Json::Null);
}

#[test]
fn a_router_is_added_once() {
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors" },
    });
    let native =
        r#"{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#;
    let named = json!({ "name": "r", "typed_config": router()["typed_config"] });
    let by_name = json!({ "name": "envoy.filters.http.router" });
    let table = [
        ("[]".to_owned(), json!([router()])),
        ("[router]".to_owned(), json!([router()])),
        ("[cors]".to_owned(), json!([cors, router()])),
        ("[cors, router]".to_owned(), json!([cors, router()])),
        (format!("[{native}]"), json!([named])),
        ("[{name: envoy.filters.http.router}]".to_owned(), json!([by_name])),
    ];
    for (filters, expected) in table {
        let made = listener(&format!("rds: t, http_filters: {filters}"));
        assert_eq!(manager(&made["LDS l"])["http_filters"], expected, "{filters}");
    }
}

#[test]
fn one_chain_derives_from_the_listener_and_several_from_their_names() {
    let one = listener("filter_chains: [{routes: [{route: c}]}]");
    assert!(one.contains_key("RDS l"));
    let text = r"
version: 1
listeners:
- name: l
  filter_chains:
  - {name: a, filter_chain_match: {server_names: [x.example]}, routes: [{route: c}]}
  - {filter_chain_match: {server_names: ['*.y.example', z.example]}, routes: [{route: c}]}
  - {rds: shared, http_connection_manager: {stat_prefix: own}}
  default_filter_chain: {routes: [{route: c}]}
";
    let made = resources(text);
    assert_eq!(made.keys().collect::<Vec<_>>(), ["LDS l", "RDS l/*.y.example", "RDS l/a", "RDS l/default"]);
    let chains = &made["LDS l"]["filter_chains"];
    let prefix = |chain: &Json| chain["filters"][0]["typed_config"]["stat_prefix"].clone();
    assert_eq!(prefix(&chains[0]), json!("l_a"));
    assert_eq!(prefix(&chains[1]), json!("l___y_example"));
    assert_eq!(prefix(&made["LDS l"]["default_filter_chain"]), json!("l_default"));
    assert_eq!(chains[1].get("name"), None, "a derived name is not emitted");
}

#[test]
fn the_connection_manager_is_the_last_filter() {
    let text = "filter_chains: [{filters: [{rbac: {stat_prefix: x}}], rds: t}]";
    let made = listener(text);
    let filters = made["LDS l"]["filter_chains"][0]["filters"].as_array().unwrap();
    let names: Vec<_> = filters.iter().map(|filter| filter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["envoy.filters.network.rbac", "envoy.filters.network.http_connection_manager"]);
    let made = listener("filter_chains: [{filters: [{http_connection_manager: {routes: [{route: c}]}}]}]");
    assert_eq!(manager(&made["LDS l"])["rds"], rds("l"), "as a short name it is the same");
}

#[test]
fn api_listeners_are_connection_managers_for_grpc() {
    let made = listener("api_listener: {routes: [{route: c}]}");
    let url = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let expected = json!({
        "api_listener": { "@type": url, "stat_prefix": "l", "rds": rds("l"), "http_filters": [router()] },
    });
    assert_eq!(made["LDS l"]["api_listener"], expected);
    assert!(made.contains_key("RDS l"));
    let native = format!("api_listener: {{api_listener: {{'@type': {url}, rds: t}}}}");
    assert_eq!(listener(&native)["LDS l"]["api_listener"], json!({ "api_listener": { "@type": url, "rds": "t" } }));
}

#[test]
fn secrets_come_from_the_stream_unless_the_proxies_have_them() {
    let text = r"
version: 1
static_resources: {secrets: [boot]}
listeners:
- name: l
  rds: t
  http_filters:
  - oauth2: {config: {credentials: {token_secret: stream, hmac_secret: boot}}}
  - oauth2: {config: {credentials: {token_secret: {name: x, sds_config: null}, hmac_secret: {name: boot}}}}
";
    let made = resource(text);
    let credentials = |filter: usize| &manager(&made)["http_filters"][filter]["typed_config"]["config"]["credentials"];
    assert_eq!(credentials(0)["token_secret"], json!({ "sds_config": ads(), "name": "stream" }));
    assert_eq!(credentials(0)["hmac_secret"], json!({ "name": "boot" }));
    assert_eq!(credentials(1)["token_secret"], json!({ "name": "x", "sds_config": null }));
    assert_eq!(credentials(1)["hmac_secret"], json!({ "name": "boot" }));
}

#[test]
fn a_tcp_proxy_is_the_last_filter() {
    let config = |fields: &str| {
        let made = resource(&format!("version: 1\nlisteners: [{{name: l.x, {fields}}}]\n"));
        let filters = made["filter_chains"][0]["filters"].as_array().unwrap().clone();
        let filter = filters.last().unwrap();
        assert_eq!(filter["name"], json!("envoy.filters.network.tcp_proxy"));
        let url = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let mut config = filter["typed_config"].clone();
        assert_eq!(config.as_object_mut().unwrap().remove("@type"), Some(json!(url)));
        config
    };
    assert_eq!(config("tcp_proxy: c"), json!({ "stat_prefix": "l_x", "cluster": "c" }));
    assert_eq!(
        config("filter_chains: [{filters: [{rbac: {}}], tcp_proxy: c}]"),
        json!({ "stat_prefix": "l_x", "cluster": "c" })
    );
    let weighted = json!({
        "stat_prefix": "s",
        "weighted_clusters": { "clusters": [{ "name": "a", "weight": 1 }] },
        "idle_timeout": "3600s",
    });
    assert_eq!(
        config("tcp_proxy: {stat_prefix: s, weighted_clusters: [{name: a, weight: 1}], idle_timeout: 1h}"),
        weighted
    );
}

#[test]
fn datagrams_go_to_a_cluster() {
    let proxy = |prefix: &str, rest: Json| {
        let route = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route";
        let action = json!({ "name": "route", "typed_config": { "@type": route, "cluster": "c" } });
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
            "stat_prefix": prefix,
            "matcher": { "on_no_match": { "action": action } },
        });
        config.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "name": "envoy.filters.udp_listener.udp_proxy", "typed_config": config })
    };
    let table = [
        ("udp_proxy: c", proxy("l", json!({}))),
        ("udp_proxy: {cluster: c, idle_timeout: 5m}", proxy("l", json!({ "idle_timeout": "300s" }))),
        ("udp_proxy: {cluster: c, stat_prefix: p}", proxy("p", json!({}))),
        ("listener_filters: [{udp_proxy: c}]", proxy("l", json!({}))),
        ("listener_filters: null, udp_proxy: c", proxy("l", json!({}))),
    ];
    for (fields, expected) in table {
        assert_eq!(listener(fields)["LDS l"]["listener_filters"], json!([expected]), "{fields}");
    }
    let made = listener("listener_filters: [{name: first}], udp_proxy: c");
    assert_eq!(made["LDS l"]["listener_filters"], json!([{ "name": "first" }, proxy("l", json!({}))]));
}
