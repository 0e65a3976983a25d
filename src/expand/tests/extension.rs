//! Short names of extensions.

use super::*;

fn filters(yaml: &str) -> Json {
    let made = resource(&format!("version: 1\nlisteners:\n- name: l\n  rds: t\n  http_filters: {yaml}\n"));
    manager(&made)["http_filters"].clone()
}

#[test]
fn a_short_name_is_a_name_and_a_type() {
    let fault = |extra: Json| {
        let mut filter = json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": { "fixed_delay": "0.25s" },
            },
        });
        filter.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        filter
    };
    assert_eq!(filters("[{fault: {delay: {fixed_delay: 250ms}}}]")[0], fault(json!({})));
    assert_eq!(
        filters("[{fault: {delay: {fixed_delay: 250ms}}, disabled: true}]")[0],
        fault(json!({ "disabled": true }))
    );
    assert_eq!(filters("[{fault: {delay: {fixed_delay: 250ms}}, name: mine}]")[0], fault(json!({ "name": "mine" })));
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors" },
    });
    for yaml in ["[cors]", "[{cors: {}}]", "[{cors: }]", "\n  - cors:\n"] {
        assert_eq!(filters(yaml)[0], cors, "{yaml}");
    }
}

#[test]
fn other_forms_are_left_alone() {
    let native = json!({ "name": "x", "typed_config": { "@type": "type.googleapis.com/x.Y", "delay": "250ms" } });
    assert_eq!(filters(&format!("[{native}]"))[0], native);
    let verbatim =
        r#"[{fault: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, delay: 250ms}}]"#;
    assert_eq!(filters(verbatim)[0]["typed_config"]["delay"], json!("250ms"));
    let discovered = filters("[{name: e, config_discovery: {type_urls: [t]}}]");
    assert_eq!(discovered[0]["config_discovery"], json!({ "config_source": ads(), "type_urls": ["t"] }));
}

#[test]
fn every_category_has_its_own_names() {
    let text = r"
version: 1
listeners:
- name: l
  listener_filters: [proxy_protocol, {tls_inspector: {}}]
  access_log: [stderr]
  rds: t
  http_connection_manager:
    access_log: [{stdout: {log_format: {text_format_source: {inline_string: x}}}}, {file: {path: /x}}]
    tracing: {provider: {zipkin: {collector_cluster: z, collector_endpoint: /, collector_endpoint_version: http_json}}}
";
    let made = resource(text);
    let names = |list: &Json| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names(&made["listener_filters"]),
        ["envoy.filters.listener.proxy_protocol", "envoy.filters.listener.tls_inspector"]
    );
    assert_eq!(names(&made["access_log"]), ["envoy.access_loggers.stderr"]);
    assert_eq!(names(&manager(&made)["access_log"]), ["envoy.access_loggers.stdout", "envoy.access_loggers.file"]);
    let tracer = &manager(&made)["tracing"]["provider"];
    assert_eq!(tracer["name"], json!("envoy.tracers.zipkin"));
    assert_eq!(tracer["typed_config"]["collector_endpoint_version"], json!("HTTP_JSON"));
}
