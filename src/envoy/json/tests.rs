//! Tables: what is read, what is refused and where, and what comes out again.

use serde_json::json;

use super::{Redact, read, write};
use crate::diagnostic::Findings;
use crate::envoy::testing::{compiled, told, tree};
use crate::envoy::{DynamicMessage, MAX_DEPTH, Path, ReflectMessage as _, Schema, canonical};

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// Reads without rules.
fn reading(message: &str, text: &str) -> (DynamicMessage, Findings) {
    let schema = Schema::embedded();
    let mut findings = Findings::new();
    let descriptor = schema.message(message).unwrap();
    (read(&schema, &descriptor, &tree(text), &mut Path::new(), &mut findings), findings)
}

fn written(message: &DynamicMessage) -> serde_json::Value {
    write(&Schema::embedded(), message, Redact::No)
}

/// What is said of a text.
fn refused(message: &str, text: &str) -> Vec<String> {
    told(text, &reading(message, text).1)
}

/// Reads what must be fine, and writes it.
fn round(message: &str, text: &str) -> serde_json::Value {
    let (message, findings) = reading(message, text);
    assert_eq!(told(text, &findings), Vec::<String>::new(), "{text}");
    written(&message)
}

#[test]
fn good_values() {
    let any = |inner: &str| format!("{{name: t, typed_config: {{{inner}}}}}");
    for (message, text, expected) in [
        (CLUSTER, "{name: a, connectTimeout: 0.25s}", json!({"name": "a", "connect_timeout": "0.250s"})),
        (CLUSTER, "{name: a, connect_timeout: null, lb_policy: null}", json!({"name": "a"})),
        (CLUSTER, "{lb_policy: 3}", json!({"lb_policy": "RANDOM"})),
        (CLUSTER, "{lb_policy: 99}", json!({"lb_policy": 99})),
        (CLUSTER, "{type: EDS, cluster_type: null}", json!({"type": "EDS"})),
        (CLUSTER, "{per_connection_buffer_limit_bytes: 0x10}", json!({"per_connection_buffer_limit_bytes": 16})),
        (CLUSTER, r#"{per_connection_buffer_limit_bytes: "1e3"}"#, json!({"per_connection_buffer_limit_bytes": 1000})),
        (CLUSTER, "{ignore_health_on_host_removal: true}", json!({"ignore_health_on_host_removal": true})),
        (
            CLUSTER,
            r#"{metadata: {filter_metadata: {"envoy.lb": {b: [1, 2.5, x, null, true, {}], a: 0o17}}}}"#,
            json!({"metadata": {"filter_metadata": {"envoy.lb": {"a": 15, "b": [1, 2.5, "x", null, true, {}]}}}}),
        ),
        ("google.protobuf.Value", "null", json!(null)),
        ("google.protobuf.Timestamp", r#""2026-01-31T12:00:00.5Z""#, json!("2026-01-31T12:00:00.500Z")),
        ("google.protobuf.Int64Value", "9007199254740993", json!("9007199254740993")),
        ("google.protobuf.UInt64Value", r#""18446744073709551615""#, json!("18446744073709551615")),
        ("google.protobuf.DoubleValue", "-.inf", json!("-Infinity")),
        ("google.protobuf.DoubleValue", ".nan", json!("NaN")),
        ("google.protobuf.DoubleValue", "1e3", json!(1000)),
        ("google.protobuf.FloatValue", "0.1", json!(0.1)),
        ("google.protobuf.BytesValue", r#""-_8=""#, json!("+/8=")),
        ("google.protobuf.BytesValue", "aGk", json!("aGk=")),
        (
            "envoy.config.core.v3.TransportSocket",
            "{name: t, typed_config: {}}",
            json!({"name": "t", "typed_config": {}}),
        ),
        (
            "envoy.config.core.v3.TransportSocket",
            &any(r#""@type": "type.googleapis.com/google.protobuf.Empty""#),
            json!({"name": "t", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Empty"}}),
        ),
        (
            "envoy.config.core.v3.TransportSocket",
            &any(r#"value: 1.5s, "@type": "type.googleapis.com/google.protobuf.Duration""#),
            json!({"name": "t", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"}}),
        ),
        (
            "envoy.config.core.v3.TransportSocket",
            &any(r#""@type": "type.googleapis.com/google.protobuf.Any", value: {
                    "@type": "type.googleapis.com/envoy.config.core.v3.Pipe", path: /x, mode: 511}"#),
            json!({"name": "t", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Any", "value": {
                "@type": "type.googleapis.com/envoy.config.core.v3.Pipe", "path": "/x", "mode": 511}}}),
        ),
    ] {
        assert_eq!(round(message, text), expected, "{text}");
    }
}

#[test]
fn bad_values_are_told_with_their_place() {
    for (message, text, expected) in [
        (
            CLUSTER,
            "[]",
            vec!["type @[] : expected a mapping with the fields of envoy.config.cluster.v3.Cluster, got a list"],
        ),
        (CLUSTER, "{name: 5}", vec!["type @5 name: expected a string, got the number `5`"]),
        (
            CLUSTER,
            "{tls_context: {}}",
            vec![
                "unknown-field @tls_context tls_context: the field `tls_context` was removed from envoy.config.cluster.v3.Cluster",
            ],
        ),
        (
            CLUSTER,
            r#"{"@type": x}"#,
            vec![
                r#"unknown-field @"@type" @type: `@type` stands only in a google.protobuf.Any, and this is envoy.config.cluster.v3.Cluster"#,
            ],
        ),
        (
            CLUSTER,
            "{alt_stat_name: a, altStatName: b}",
            vec![
                "duplicate-field @altStatName alt_stat_name: the field is given twice, as `alt_stat_name` and as `altStatName`",
            ],
        ),
        (
            CLUSTER,
            "{type: EDS, cluster_type: {name: x}}",
            vec![
                "oneof @cluster_type cluster_type: `type` and `cluster_type` are alternatives (oneof `cluster_discovery_type`): set only one",
            ],
        ),
        (
            CLUSTER,
            "{type: STRICT_DSN}",
            vec!["enum @STRICT_DSN type: `STRICT_DSN` is not a value of envoy.config.cluster.v3.Cluster.DiscoveryType"],
        ),
        (
            CLUSTER,
            "{type: true}",
            vec![
                "type @true type: expected the name of a envoy.config.cluster.v3.Cluster.DiscoveryType value, got `true`",
            ],
        ),
        (
            CLUSTER,
            "{ignore_health_on_host_removal: yes, track_cluster_stats: 1}",
            vec![
                "type @yes ignore_health_on_host_removal: expected true or false, got the string `yes`",
                "type @1 track_cluster_stats: expected a mapping with the fields of \
             envoy.config.cluster.v3.TrackClusterStats, got a number",
            ],
        ),
        (CLUSTER, "{health_checks: {}}", vec!["type @{} health_checks: expected a list, got a mapping"]),
        (
            CLUSTER,
            "{health_checks: [null, 5]}",
            vec![
                "type @null health_checks[0]: null is not allowed here",
                "type @5 health_checks[1]: expected a mapping with the fields of envoy.config.core.v3.HealthCheck, got a number",
            ],
        ),
        (
            CLUSTER,
            "{per_connection_buffer_limit_bytes: 0755}",
            vec![
                "number @0755 per_connection_buffer_limit_bytes: \
             `0755`: a leading zero means octal to some readers and nothing to others",
            ],
        ),
        (
            CLUSTER,
            "{per_connection_buffer_limit_bytes: 1_000}",
            vec!["number @1_000 per_connection_buffer_limit_bytes: `1_000`: underscores are no part of a number"],
        ),
        (
            CLUSTER,
            "{per_connection_buffer_limit_bytes: 4294967296}",
            vec![
                "range @4294967296 per_connection_buffer_limit_bytes: 4294967296 does not fit: allowed are 0 to 4294967295",
            ],
        ),
        (CLUSTER, "{connect_timeout: 5}", vec!["duration @5 connect_timeout: `5`: not a duration"]),
        (CLUSTER, "{connect_timeout: [5]}", vec!["duration @[5] connect_timeout: expected a duration, got a list"]),
        (
            CLUSTER,
            r#"{metadata: {filter_metadata: {a: {b: .inf}, "c d": 5}}}"#,
            vec![
                "number @.inf metadata.filter_metadata[\"a\"][\"b\"]: the number `.inf` cannot stand in a google.protobuf.Struct",
                "type @5 metadata.filter_metadata[\"c d\"]: expected a mapping, got a number",
            ],
        ),
    ] {
        assert_eq!(refused(message, text), expected, "{text}");
    }
}

#[test]
fn bad_well_known_values_are_told_with_their_place() {
    for (message, text, expected) in [
        ("google.protobuf.Timestamp", "yesterday", vec!["timestamp @yesterday : `yesterday`: not a timestamp"]),
        ("google.protobuf.BytesValue", r#""a b""#, vec!["base64 @\"a b\" : this is not base64"]),
        (
            "google.protobuf.FloatValue",
            "1e39",
            vec!["range @1e39 : 1000000000000000000000000000000000000000 does not fit into 32 bits"],
        ),
        ("google.protobuf.Any", "5", vec!["any-type @5 : expected a mapping with \"@type\", got a number"]),
        ("google.protobuf.Any", "{a: b}", vec!["any-type @{a: b} : \"@type\" is missing"]),
        ("google.protobuf.Any", r#"{"@type": 5}"#, vec!["type @5 @type: expected a string, got the number `5`"]),
        (
            "google.protobuf.Any",
            r#"{"@type": envoy.config.core.v3.Pipe}"#,
            vec!["any-type @envoy.config.core.v3.Pipe @type: `envoy.config.core.v3.Pipe` is not a type URL"],
        ),
        (
            "google.protobuf.Any",
            r#"{"@type": type.googleapis.com/google.protobuf.Duration, valeu: 1s}"#,
            vec![
                "unknown-field @valeu valeu: unknown field `valeu`: google.protobuf.Duration stands whole under `value`",
                "any-type @{\"@type\": type.googleapis.com/google.protobuf.Duration, valeu: 1s} : `value` is missing",
            ],
        ),
        (
            "google.protobuf.Any",
            r#"{name: x, "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, health_checks: [{timeuot: 1s}]}"#,
            vec![
                "unknown-field @timeuot health_checks[0].timeuot: unknown field `timeuot` in envoy.config.core.v3.HealthCheck",
            ],
        ),
    ] {
        assert_eq!(refused(message, text), expected, "{text}");
    }
}

#[test]
fn remedies() {
    for (message, text, expected) in [
        (CLUSTER, "{conect_timeout: 1s}", "did you mean `connect_timeout`?"),
        (CLUSTER, "{type: strict_dsn}", "did you mean `STRICT_DNS`?"),
        (CLUSTER, "{type: strict-dns}", "did you mean `STRICT_DNS`?"),
        (CLUSTER, "{type: quux}", "it is one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST"),
        (CLUSTER, "{ignore_health_on_host_removal: on}", "YAML 1.2 has only true and false"),
        (CLUSTER, r#"{ignore_health_on_host_removal: "true"}"#, "write it without quotes"),
        (CLUSTER, "{name: 1.10}", "quote it: \"1.10\""),
        (
            CLUSTER,
            "{connect_timeout: 250ms}",
            "a duration is decimal seconds with the suffix `s`, such as 0.25s; did you mean 0.250s?",
        ),
        (
            "google.protobuf.Any",
            "{\"@type\": envoy.config.core.v3.Pipe}",
            "write type.googleapis.com/envoy.config.core.v3.Pipe",
        ),
        (
            "google.protobuf.Any",
            "{\"@type\": type.googleapis.com/envoy.config.core.v3.UpstreamTlsContext}",
            "did you mean envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext?",
        ),
        (
            "google.protobuf.Any",
            "{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Ruoter}",
            "did you mean envoy.extensions.filters.http.router.v3.Router?",
        ),
        (
            "google.protobuf.Any",
            "{\"@type\": type.googleapis.com/acme.Quuxifier}",
            "types that are not part of Envoy's core come with --descriptor-set FILE",
        ),
    ] {
        let (_, findings) = reading(message, text);
        assert_eq!(findings.as_slice()[0].help.as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn warnings_do_not_keep_the_value_out() {
    let text = "{lb_policy: Round_Robin, metadata: {filter_metadata: {a: {id: 12345678901234567890}}}}";
    let (message, findings) = reading(CLUSTER, text);
    assert!(!findings.has_errors());
    let codes: Vec<_> = findings.as_slice().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["enum-case", "precision"]);
    assert_eq!(written(&message)["metadata"]["filter_metadata"]["a"]["id"], json!(12_345_678_901_234_567_000.0));
}

#[test]
fn a_typed_struct_is_json_of_its_type() {
    let text = r#"{name: t, typed_config: {
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        type_url: "type.googleapis.com/envoy.config.core.v3.SocketAddress",
        value: {address: a, prot: TCP, port_value: 70000}
    }}"#;
    let (_, told) = compiled("envoy.config.core.v3.TransportSocket", text);
    assert_eq!(
        told,
        [
            "unknown-field @prot typed_config.value.prot: unknown field `prot` in envoy.config.core.v3.SocketAddress",
            "invalid-value @70000 typed_config.value.port_value: must be at most 65535, not 70000",
        ]
    );
    let unknown = text.replace("envoy.config.core.v3.SocketAddress", "acme.Filter");
    let (message, told) = compiled("envoy.config.core.v3.TransportSocket", &unknown);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("any-type @"), "{told:?}");
    assert_eq!(written(&message)["typed_config"]["value"]["prot"], "TCP");
}

#[test]
fn secrets_are_redacted_wherever_they_are() {
    let secret = r"{name: s, tls_certificate: {
        certificate_chain: {inline_string: chain}, private_key: {inline_string: KEY}, password: {inline_bytes: S0VZ}}}";
    let bootstrap = format!(
        r#"{{static_resources: {{
            secrets: [{secret}],
            clusters: [{{name: c, transport_socket: {{name: tls, typed_config: {{
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                common_tls_context: {{tls_certificates: [{{private_key: {{inline_string: KEY}}}}]}}
            }}}}}}, {{name: d, transport_socket: {{name: tls, typed_config: {{
                "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                value: {{common_tls_context: {{tls_certificates: [{{private_key: {{inline_string: KEY}}}}]}}}}
            }}}}}}]
        }}}}"#
    );
    let (message, findings) = reading(BOOTSTRAP, &bootstrap);
    assert_eq!(told(&bootstrap, &findings), Vec::<String>::new());
    let shown = written(&message).to_string();
    assert!(shown.contains("KEY") && shown.contains("S0VZ"));
    let hidden = write(&Schema::embedded(), &message, Redact::Yes);
    let text = hidden.to_string();
    assert!(!text.contains("KEY") && !text.contains("S0VZ"), "{hidden:#}");
    let certificate = &hidden["static_resources"]["secrets"][0]["tls_certificate"];
    assert_eq!(certificate["certificate_chain"], json!({"inline_string": "chain"}));
    assert_eq!(certificate["private_key"], json!({"inline_string": "[redacted]"}));
    assert_eq!(certificate["password"], json!({"inline_bytes": "W3JlZGFjdGVkXQ=="}));
}

#[test]
fn an_any_that_cannot_be_decoded_is_shown_as_bytes() {
    let schema = Schema::embedded();
    let mut any = DynamicMessage::new(schema.message("google.protobuf.Any").unwrap());
    any.set_field_by_number(1, prost_reflect::Value::String("type.googleapis.com/acme.Filter".into()));
    any.set_field_by_number(2, prost_reflect::Value::Bytes(b"KEY".to_vec().into()));
    let json = write(&schema, &any, Redact::No);
    assert_eq!(json, json!({"@type": "type.googleapis.com/acme.Filter", "#undecodable": "S0VZ"}));
    assert!(!write(&schema, &any, Redact::Yes).to_string().contains("S0VZ"));
}

#[test]
fn fields_are_written_in_the_order_of_their_numbers_and_keys_sorted() {
    let text = "{http2_protocol_options: {}, name: n, metadata: {filter_metadata: {b: {}, a: {}, c: {}}}}";
    let (message, _) = reading(CLUSTER, text);
    assert_eq!(
        written(&message).to_string(),
        r#"{"name":"n","http2_protocol_options":{},"metadata":{"filter_metadata":{"a":{},"b":{},"c":{}}}}"#
    );
}

/// A `Struct` of this many mappings in each other.
fn nested_struct(levels: usize) -> String {
    format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels))
}

#[test]
fn the_depth_budget_holds_everywhere() {
    let (message, findings) = reading("google.protobuf.Struct", &nested_struct(20));
    assert!(findings.is_empty());
    assert_eq!(written(&message).to_string().matches("{\"a\":").count(), 20);

    let text = nested_struct(300);
    let (message, findings) = reading("google.protobuf.Struct", &text);
    let codes: Vec<_> = findings.as_slice().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["too-deep"]);
    assert!(canonical::encode(&Schema::embedded(), &message).len() < 1_000);

    // Each `Any` starts a message with a recursion limit of its own.
    let any = r#"{"@type": "type.googleapis.com/google.protobuf.Any", value: "#;
    for (levels, codes) in [(MAX_DEPTH / 2 - 1, vec![]), (MAX_DEPTH, vec!["too-deep"]), (300, vec!["too-deep"])] {
        let text = format!("{}{{}}{}", any.repeat(levels), "}".repeat(levels));
        let (message, findings) = reading("google.protobuf.Any", &text);
        assert_eq!(findings.as_slice().iter().map(|finding| finding.code).collect::<Vec<_>>(), codes, "{levels}");
        assert!(!message.descriptor().full_name().is_empty());
        let depth = written(&message).to_string().matches("@type").count();
        assert!(depth <= MAX_DEPTH, "{depth}");
    }
}

mod any_tree {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::Span;
    use crate::envoy::{Node, Value, compile};

    const KEYS: [&str; 16] = [
        "name",
        "type",
        "@type",
        "value",
        "type_url",
        "connect_timeout",
        "connectTimeout",
        "metadata",
        "filter_metadata",
        "health_checks",
        "load_assignment",
        "endpoints",
        "transport_socket",
        "typed_config",
        "lb_policy",
        "priority",
    ];
    const WORDS: [&str; 8] = [
        "",
        "x",
        "1s",
        "STATIC",
        "yes",
        "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "type.googleapis.com/google.protobuf.Struct",
        "type.googleapis.com/xds.type.v3.TypedStruct",
    ];

    fn trees() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            "[-+.0-9xoe_]{1,6}".prop_map(Value::Number),
            any::<i64>().prop_map(|number| Value::Number(number.to_string())),
            prop::sample::select(&WORDS[..]).prop_map(|word| Value::String(word.into())),
            "\\PC{0,8}".prop_map(Value::String),
        ];
        let leaf = leaf.prop_map(|value| Node { span: Span::default(), value });
        leaf.prop_recursive(6, 64, 6, |inner| {
            let entry = (prop::sample::select(&KEYS[..]), inner.clone());
            prop_oneof![
                4 => prop::collection::btree_map(entry.0, entry.1, 0..6).prop_map(|map| Node::map(Span::default(), map)),
                1 => prop::collection::vec(inner, 0..4).prop_map(|items| Node::list(Span::default(), items)),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_written_reads_the_same(tree in trees()) {
            let schema = Schema::embedded();
            for name in [CLUSTER, "google.protobuf.Any"] {
                let descriptor = schema.message(name).unwrap();
                let message = compile(&schema, &descriptor, &tree, &mut Path::new(), &mut Findings::new());
                write(&schema, &message, Redact::Yes);
                let json = written(&message);
                let mut findings = Findings::new();
                let again = read(&schema, &descriptor, &crate::envoy::json::tree(&json), &mut Path::new(), &mut findings);
                prop_assert!(!findings.has_errors(), "{json:#} {findings:?}");
                prop_assert_eq!(canonical::encode(&schema, &again), canonical::encode(&schema, &message), "{:#}", json);
            }
        }
    }
}
