//! TLS contexts.

use super::*;

fn url(side: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext")
}

/// The transport socket of the only chain of a listener.
fn downstream(fields: &str) -> Json {
    let made = resources(&format!("version: 1\nlisteners: [{{name: l, {fields}}}]\n"));
    let socket = made["LDS l"]["filter_chains"][0]["transport_socket"].clone();
    assert_eq!(socket["name"], json!("envoy.transport_sockets.tls"), "{fields}");
    socket["typed_config"].clone()
}

/// The transport socket of a cluster.
fn upstream(fields: &str) -> Json {
    let made = resources(&format!("version: 1\nclusters: [{{name: c, {fields}}}]\n"));
    let socket = made["CDS c"]["transport_socket"].clone();
    assert_eq!(socket["name"], json!("envoy.transport_sockets.tls"), "{fields}");
    socket["typed_config"].clone()
}

fn secret(name: &str) -> Json {
    json!({ "name": name, "sds_config": ads() })
}

#[test]
fn a_listener_terminates_tls() {
    let context = |common: Json, rest: Json| {
        let mut context = json!({ "@type": url("Downstream"), "common_tls_context": common });
        context.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        context
    };
    let secrets = json!([secret("s")]);
    let alpn = json!(["h2", "http/1.1"]);
    let http = json!({ "tls_certificate_sds_secret_configs": secrets, "alpn_protocols": alpn });
    let tcp = json!({ "tls_certificate_sds_secret_configs": secrets });
    let table = [
        ("rds: t, tls_context: {tls_certificate_sds_secret_configs: [s]}", &http, json!({})),
        ("filter_chains: [{rds: t, tls_context: {tls_certificate_sds_secret_configs: [s]}}]", &http, json!({})),
        ("rds: t, tls_context: {common_tls_context: {tls_certificate_sds_secret_configs: [s]}}", &http, json!({})),
        (
            "rds: t, tls_context: {tls_certificate_sds_secret_configs: [s], require_client_certificate: true}",
            &http,
            json!({ "require_client_certificate": true }),
        ),
        (
            "rds: t, tls_context: {tlsCertificateSdsSecretConfigs: [s], sessionTimeout: 5m}",
            &json!({ "tlsCertificateSdsSecretConfigs": secrets, "alpn_protocols": alpn }),
            json!({ "sessionTimeout": "300s" }),
        ),
        ("tcp_proxy: c, tls_context: {tls_certificate_sds_secret_configs: [s]}", &tcp, json!({})),
        (
            "filter_chains: [{filters: [{tcp_proxy: c}], transport_socket: {tls: {tls_certificate_sds_secret_configs: [s]}}}]",
            &tcp,
            json!({}),
        ),
        (
            "filter_chains: [{filters: [{http_connection_manager: {rds: t}}], transport_socket: {tls: {tls_certificate_sds_secret_configs: [s]}}}]",
            &http,
            json!({}),
        ),
        (
            "rds: t, tls_context: {tls_certificate_sds_secret_configs: [s], alpn_protocols: [h2]}",
            &json!({ "tls_certificate_sds_secret_configs": secrets, "alpn_protocols": ["h2"] }),
            json!({}),
        ),
        (
            "rds: t, tls_context: {tls_certificate_sds_secret_configs: [s], alpn_protocols: null}",
            &json!({ "tls_certificate_sds_secret_configs": secrets, "alpn_protocols": null }),
            json!({}),
        ),
        ("rds: t, tls_context: {}", &json!({ "alpn_protocols": alpn }), json!({})),
    ];
    for (fields, common, rest) in table {
        assert_eq!(downstream(fields), context(common.clone(), rest), "{fields}");
    }
}

#[test]
fn quic_negotiates_by_itself() {
    let certificates = "downstream_tls_context: {tls_certificate_sds_secret_configs: [s]}";
    let made = resources(&format!(
        "version: 1\nlisteners: [{{name: l, filter_chains: [{{rds: t, transport_socket: {{quic: {{{certificates}}}}}}}]}}]\n"
    ));
    let config = &made["LDS l"]["filter_chains"][0]["transport_socket"]["typed_config"];
    let expected = json!({ "common_tls_context": { "tls_certificate_sds_secret_configs": [secret("s")] } });
    assert_eq!(config["downstream_tls_context"], expected);
}

#[test]
fn a_cluster_speaks_tls_and_names_the_only_host() {
    let table = [
        ("endpoints: ['a.example:443', 'a.example:444'], tls_context: {}", json!({ "sni": "a.example" })),
        ("endpoints: ['a.example:443'], transport_socket: tls", json!({ "sni": "a.example" })),
        ("endpoints: ['a.example:443'], tls_context: {sni: b.example}", json!({ "sni": "b.example" })),
        ("endpoints: ['a.example:443'], tls_context: {sni: null}", json!({ "sni": null })),
        ("endpoints: ['a.example:443'], tls_context: {auto_host_sni: true}", json!({ "auto_host_sni": true })),
        ("endpoints: ['a.example:443', 'b.example:443'], tls_context: {}", json!({})),
        ("endpoints: ['a.example:443', '10.0.0.1:443'], tls_context: {}", json!({})),
        ("endpoints: ['10.0.0.1:443'], tls_context: {}", json!({})),
        ("endpoints: [], tls_context: {}", json!({})),
        ("tls_context: {}", json!({})),
        (
            "load_assignment: {endpoints: [{lb_endpoints: ['a.example:443']}]}, tls_context: {}",
            json!({ "sni": "a.example" }),
        ),
        (
            "endpoints: ['10.0.0.1:443'], tls_context: {validation_context: {trusted_ca: {filename: /ca.pem}}}",
            json!({ "common_tls_context": { "validation_context": { "trusted_ca": { "filename": "/ca.pem" } } } }),
        ),
        (
            "endpoints: ['10.0.0.1:443'], tls_context: {validation_context_sds_secret_config: ca}",
            json!({ "common_tls_context": { "validation_context_sds_secret_config": secret("ca") } }),
        ),
    ];
    for (fields, expected) in table {
        let mut context = upstream(fields);
        assert_eq!(context.as_object_mut().unwrap().remove("@type"), Some(json!(url("Upstream"))), "{fields}");
        assert_eq!(context, expected, "{fields}");
    }
}

#[test]
fn verbatim_contexts_are_left_alone() {
    let verbatim = json!({ "@type": url("Downstream"), "require_sni": true });
    assert_eq!(downstream(&format!("rds: t, tls_context: {verbatim}")), verbatim);
    let inner = json!({ "@type": "type.googleapis.com/x.Y" });
    let outer = downstream(&format!("rds: t, tls_context: {{common_tls_context: {inner}}}"));
    assert_eq!(outer["common_tls_context"], inner);
}

/// The listener filters of a listener, by the last segments of their names.
fn inspected(fields: &str) -> Vec<String> {
    let made = resources(&format!("version: 1\nlisteners: [{{name: l, {fields}}}]\n"));
    let filters = made["LDS l"]["listener_filters"].as_array().cloned().unwrap_or_default();
    let name = |filter: &Json| filter["name"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    filters.iter().map(name).collect()
}

#[test]
fn what_a_chain_asks_for_is_inspected() {
    let chain = "filter_chains: [{filter_chain_match: {server_names: [a.example]}, tcp_proxy: c}]";
    let native = r#"{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}"#;
    let table = [
        (chain.to_owned(), ["tls_inspector"].as_slice()),
        (chain.replace("server_names: [a.example]", "transport_protocol: tls"), &["tls_inspector"]),
        (chain.replace("server_names: [a.example]", "application_protocols: [h2]"), &["tls_inspector"]),
        (chain.replace("server_names: [a.example]", "destination_port: 80"), &[]),
        (format!("{chain}, listener_filters: [tls_inspector]"), &["tls_inspector"]),
        (format!("{chain}, listener_filters: [{native}]"), &["x"]),
        (format!("{chain}, listener_filters: [original_dst]"), &["tls_inspector", "original_dst"]),
        (format!("{chain}, listener_filters: [proxy_protocol]"), &["proxy_protocol", "tls_inspector"]),
        (format!("{chain}, listener_filters: null"), &[]),
        (format!("{chain}, address: 'udp://0.0.0.0:1'"), &[]),
        ("tcp_proxy: c".to_owned(), &[]),
    ];
    for (fields, expected) in table {
        assert_eq!(inspected(&fields), expected, "{fields}");
    }
}
