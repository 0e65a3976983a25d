//! Files beside the topology.

use super::*;
use crate::expand::walk::{Scope, Walk};

const FILES: [(&str, &[u8]); 6] = [
    ("certs/shop.crt", b"CERT"),
    ("certs/shop.key", b"KEY"),
    ("certs/ca.crt", b"CA"),
    ("rsa/shop.crt", b"RSA"),
    ("staple", b"\xff\x00"),
    ("empty", b""),
];

fn with_files(text: &str) -> (BTreeMap<String, Json>, Vec<String>) {
    let (natives, findings) = outcome_beside(&format!("version: 1\n{text}"), &BTreeMap::from(FILES));
    (natives.iter().map(|native| (native.name.clone(), json_of(&native.node))).collect(), findings)
}

/// A message inside the chain `https/shop`: it, the secrets that it made, and the findings.
fn inside(message: &str, scope: Scope, text: &str) -> (Json, BTreeMap<String, Json>, Vec<String>) {
    let document =
        Document { name: "t.yaml".into(), bytes: format!("version: 1\nclusters: [{text}]").into_bytes().into() };
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let mut topology = crate::topology::parse(&[document], &mut files, &mut findings);
    let attached = BTreeMap::from(FILES);
    let beside = Beside { files: &files, attachments: &attached };
    let schema = Schema::embedded();
    let (static_resources, types) = (StaticResources::default(), BTreeMap::new());
    let mut walk = Walk::new(&schema, &static_resources, beside, &types, &mut findings, "clusters[0]");
    walk.scope = scope;
    let node = walk.named(message, Arc::unwrap_or_clone(topology.items.remove(0).node)).unwrap();
    let derived = walk.into_derived();
    let derived = derived.iter().map(|made| (made.native.name.clone(), json_of(&made.native.node)));
    let lines = |finding: &Finding| format!("{} {}: {}", finding.code, finding.path, finding.message);
    (json_of(&node), derived.collect(), findings.as_slice().iter().map(lines).collect())
}

fn context(text: &str) -> (Json, BTreeMap<String, Json>, Vec<String>) {
    let scope = Scope::Named { name: "https/shop".to_owned(), chains: 2 };
    inside("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", scope, text)
}

fn sds(name: &str) -> Json {
    json!({ "name": name, "sds_config": ads() })
}

#[test]
fn in_a_secret_files_are_inlined_and_envoys_own_form_stays() {
    let (resources, findings) = with_files(
        "secrets:
- {name: a, tls_certificate: {certificate_chain: certs/shop.crt, privateKey: {filename: /etc/key}, ocsp_staple: staple}}
- {name: b, validation_context: {trusted_ca: certs/ca.crt, crl: {inline_string: certs/ca.crt}}}
- {name: c, session_ticket_keys: {keys: [certs/shop.key, {inline_bytes: AAAA}]}}
- {name: d, generic_secret: {secret: {inline_string: certs/ca.crt}}}
- {name: e, tls_certificate: {\"@type\": type.googleapis.com/x, certificate_chain: certs/shop.crt}}
",
    );
    assert_eq!(findings, [""; 0]);
    assert_eq!(
        resources["a"]["tls_certificate"],
        json!({
            "certificate_chain": {"inline_string": "CERT"}, "privateKey": {"filename": "/etc/key"},
            "ocsp_staple": {"inline_bytes": "/wA="},
        })
    );
    let validation = json!({ "trusted_ca": {"inline_string": "CA"}, "crl": {"inline_string": "certs/ca.crt"} });
    assert_eq!(resources["b"]["validation_context"], validation);
    let keys = json!([{ "inline_string": "KEY" }, { "inline_bytes": "AAAA" }]);
    assert_eq!(resources["c"]["session_ticket_keys"]["keys"], keys);
    assert_eq!(resources["d"]["generic_secret"]["secret"]["inline_string"], "certs/ca.crt");
    assert_eq!(resources["e"]["tls_certificate"]["certificate_chain"], "certs/shop.crt");
}

#[test]
fn in_a_context_files_become_secrets_that_it_refers_to() {
    let (context, secrets, findings) = context(
        "{tls_certificates: [{certificate_chain: certs/shop.crt, private_key: certs/shop.key}],
          validation_context: {trusted_ca: certs/ca.crt, max_verify_depth: 2}, alpn_protocols: [h2]}",
    );
    assert_eq!(findings, [""; 0]);
    assert_eq!(
        context,
        json!({
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [sds("https/shop/tls_certificate")],
            "validation_context_sds_secret_config": sds("https/shop/validation_context"),
        })
    );
    let certificate =
        json!({ "certificate_chain": {"inline_string": "CERT"}, "private_key": {"inline_string": "KEY"} });
    let validation = json!({ "trusted_ca": {"inline_string": "CA"}, "max_verify_depth": 2 });
    assert_eq!(
        json!(secrets),
        json!({
            "https/shop/tls_certificate": {"name": "https/shop/tls_certificate", "tls_certificate": certificate},
            "https/shop/validation_context": {"name": "https/shop/validation_context", "validation_context": validation},
        })
    );
}

#[test]
fn without_files_a_context_stays_as_it_is() {
    let text =
        "{tls_certificates: [{certificate_chain: {filename: /a}}], validation_context: {trusted_ca: {filename: /b}}}";
    let (context, secrets, findings) = context(text);
    assert_eq!((secrets.len(), findings.len()), (0, 0));
    let same = json!({
        "tls_certificates": [{"certificate_chain": {"filename": "/a"}}],
        "validation_context": {"trusted_ca": {"filename": "/b"}},
    });
    assert_eq!(context, same);
}

#[test]
fn several_certificates_are_named_after_their_files() {
    let names = |text: &str| {
        let (_, secrets, findings) = context(text);
        assert_eq!(findings, [""; 0]);
        secrets
            .into_keys()
            .map(|name| name.trim_start_matches("https/shop/tls_certificate/").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(
            "{tls_certificates: [{certificate_chain: certs/shop.crt}, {certificate_chain: {filename: /x/other.pem}}]}"
        ),
        ["other", "shop"]
    );
    assert_eq!(
        names("{tls_certificates: [{certificate_chain: certs/shop.crt}, {certificate_chain: rsa/shop.crt}]}"),
        ["certs/shop", "rsa/shop"]
    );
    let (context, _, _) = context(
        "{tls_certificates: [{certificate_chain: certs/shop.crt}], tls_certificate_sds_secret_configs: [given]}",
    );
    let both = json!([sds("given"), sds("https/shop/tls_certificate")]);
    assert_eq!(context["tls_certificate_sds_secret_configs"], both);
}

#[test]
fn certificates_that_cannot_be_told_apart_are_mistakes() {
    let said = |text: &str| context(text).2;
    assert_eq!(
        said("{tls_certificates: [{certificate_chain: certs/shop.crt}, {certificate_chain: certs/shop.crt}]}"),
        ["duplicate-certificate clusters[0]: the certificate `certs/shop` is given twice"]
    );
    assert_eq!(
        said("{tls_certificates: [{certificate_chain: certs/shop.crt}, {certificate_chain: {inline_string: x}}]}"),
        ["unnamed-certificate clusters[0]: one of several certificates needs a name, and this one has no file to be \
             named after"]
    );
}

#[test]
fn session_ticket_keys_become_a_secret_and_what_has_no_name_is_inlined() {
    let message = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let scope = Scope::Named { name: "l".to_owned(), chains: 1 };
    let (context, secrets, _) = inside(message, scope, "{session_ticket_keys: {keys: [certs/shop.key]}}");
    assert_eq!(context, json!({ "session_ticket_keys_sds_secret_config": sds("l/session_ticket_keys") }));
    assert_eq!(secrets["l/session_ticket_keys"]["session_ticket_keys"]["keys"][0]["inline_string"], "KEY");
    let text = "{common_tls_context: {tls_certificates: [{private_key: certs/shop.key}]}}";
    let (context, secrets, findings) = inside(message, Scope::Unknown, text);
    assert_eq!((secrets.len(), findings.len()), (0, 0));
    let key = &context["common_tls_context"]["tls_certificates"][0]["private_key"];
    assert_eq!(key["inline_string"], "KEY");
}

#[test]
fn what_cannot_be_attached_is_reported_once_and_no_key_is_repeated() {
    let (_, findings) = with_files(
        "secrets:
- {name: a, tls_certificate: {certificate_chain: absent.crt, private_key: empty}}
- {name: b, tls_certificate: {private_key: \"-----BEGIN PRIVATE KEY-----\\nMC4CAQ\\n-----END PRIVATE KEY-----\"}}
",
    );
    assert_eq!(
        findings,
        [
            "t.yaml:3:50: error[missing-file]: absent.crt: no such file or directory",
            "t.yaml:3:75: error[empty-file]: the file `empty` is empty",
            "t.yaml:4:44: error[not-a-path]: a text is the path of a file here, and this is none",
        ]
    );
}
