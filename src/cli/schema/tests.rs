use boon::{Compiler, SchemaIndex, Schemas};

use super::*;

struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("mem://topology", generate(&Schema::embedded())).unwrap();
        let index = compiler.compile("mem://topology", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn check(&self, text: &str) -> Result<(), String> {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        self.schemas.validate(&value, self.index).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn what_the_language_takes_the_schema_takes() {
    let validator = Validator::new();
    let mut count = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            for document in text.split("\n---\n") {
                validator.check(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
    for text in [
        "{version: 1, x-a: {b: c}, clusters: [{name: a, connect_timeout: null, type: strict_dns, lb_policy: MAGLEV}]}",
        "{version: 1, clusters: [{name: a, endpoints: [a:1, {address: b:2}, {locality: {}, lb_endpoints: [c:3]}]}]}",
        "{version: 1, clusters: [{name: a, http2_protocol_options: {}, common_http_protocol_options: {idle_timeout: 5m}}]}",
        "{version: 1, route_configs: [{name: a, routes: [{match: /a, route: {cluster: b, retry_policy: {retry_on: [5xx]}}}]}]}",
        "{version: 1, listeners: [{name: a, address: a:1, http_filters: [cors, {fault: {delay: {fixed_delay: 250ms, percentage: 50}}}]}]}",
        "{version: 1, listeners: [{name: a, address: a:1, filter_chains: [{filters: [{name: b, typed_config: {\"@type\": c, d: e}}]}]}]}",
        "{version: 1, listeners: [{name: a, address: a:1, tls_context: {tls_certificates: [{certificate_chain: a, private_key: b}]}}]}",
        "{version: 1, clusters: [{name: a, tls_context: {validation_context: {trusted_ca: a}}}]}",
        "{version: 1, secrets: [{name: a, session_ticket_keys: {keys: [a, {inline_string: b}]}}]}",
        "{version: 1, listeners: [{name: a, address: a:1, tcp_proxy: b}, {name: b, api_listener: {rds: c}}]}",
    ] {
        validator.check(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn obvious_mistakes_are_seen() {
    let validator = Validator::new();
    for text in [
        "{clusters: []}",
        "{version: 2}",
        "{version: 1, clusers: []}",
        "{version: 1, clusters: {}}",
        "{version: 1, clusters: [{connect_timeout: 1s}]}",
        "{version: 1, clusters: [{name: a, conect_timeout: 1s}]}",
        "{version: 1, clusters: [{name: a, connect_timeout: 1}]}",
        "{version: 1, clusters: [{name: a, connect_timeout: 1 second}]}",
        "{version: 1, clusters: [{name: a, type: STRICT}]}",
        "{version: 1, listeners: [{name: a, address: a:1, routes: [{route: {clustr: b}}]}]}",
        "{version: 1, listeners: [{name: a, address: a:1, http_filters: [corse]}]}",
        "{version: 1, listeners: [{name: a, address: a:1, http_filters: [{fault: {dela: {}}}]}]}",
        "{version: 1, resources: [{name: a}]}",
        "{version: 1, secrets: [{name: a, session_ticket_keys: {keys: a}}]}",
        "{version: 1, secrets: [{name: a, generic_secret: {secret: a}}]}",
    ] {
        assert!(validator.check(text).is_err(), "{text}");
    }
}

#[test]
fn it_is_bounded_and_the_same_each_time() {
    let schema = generate(&Schema::embedded());
    let text = schema.to_string();
    assert_eq!(text, generate(&Schema::embedded()).to_string());
    assert!(text.len() < 3 << 20, "{} bytes", text.len());
    let definitions = schema["definitions"].as_object().unwrap();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap().strip_prefix("#/definitions/").unwrap();
        assert!(definitions.contains_key(name), "{name}");
    }
}

/// A key that the expansion knows and the schema has no form for would be offered without a type.
#[test]
fn every_hoisted_key_has_a_form() {
    let schema = generate(&Schema::embedded());
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        for key in crate::expand::hoisted(name) {
            let property = &definition["anyOf"][0]["properties"][key];
            assert!(property.is_object() || key.starts_with("path_template"), "{name}.{key}: {property}");
        }
    }
}
