//! Certificates that are made for the occasion.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{
    CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

use crate::diagnostic::{Files, Findings, Level, Report};
use crate::envoy::Schema;
use crate::expand::{self, Beside};
use crate::source::{Attachment, Attachments, Document, ReadError};
use crate::topology;

/// 2026-06-01.
const NOW: i64 = 1_780_272_000;

struct Held(BTreeMap<&'static str, String>);

impl Attachments for Held {
    fn read(&self, _: &str, path: &str) -> Result<Attachment, ReadError> {
        let bytes = self.0.get(path).expect("the test attaches it").as_bytes();
        Ok(Attachment { name: path.into(), bytes: bytes.into() })
    }
}

/// The findings, one line each, and everything that is shown of them.
fn findings(text: &str, files: &[(&'static str, &str)]) -> (Vec<String>, String) {
    let held = Held(files.iter().map(|(name, content)| (*name, (*content).to_owned())).collect());
    let document = Document { name: "t.yaml".into(), bytes: format!("version: 1\n{text}").into_bytes().into() };
    let (mut shown, mut findings) = (Files::new(), Findings::new());
    let topology = topology::parse(&[document], &mut shown, &mut findings);
    let node_groups = Arc::clone(&topology.node_groups);
    let schema = Schema::embedded();
    let beside = Beside { files: &shown, attachments: &held };
    let natives = expand::expand(&schema, topology, beside, &mut findings);
    super::check(&schema, natives, &node_groups, NOW, &mut findings);
    let report = Report::new(findings, Arc::new(shown));
    let line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let serious = report.findings().iter().filter(|finding| finding.level < Level::Info);
    let lines = serious.map(|finding| line(report.render(finding))).collect();
    (lines, report.render_all(Level::Info) + &serde_json::to_string(&report).unwrap())
}

const PAIR: &str = "secrets: [{name: s, tls_certificate: {certificate_chain: crt, private_key: key}}]";

fn said(certificate: &str, key: &str) -> Vec<String> {
    findings(PAIR, &[("crt", certificate), ("key", key)]).0
}

/// A certificate for these names that is valid in 2026.
fn certificate(key: &KeyPair, names: &[&str]) -> String {
    valid(key, names, 2026, 2027)
}

fn valid(key: &KeyPair, names: &[&str], from: i32, until: i32) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.self_signed(key).unwrap().pem()
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The SEC1 form inside a PKCS#8 key, without the public key that may stand at its end.
fn sec1(key: &KeyPair, curve: &[u8], length: u8) -> String {
    let der = key.serialized_der();
    let start = der.windows(2).position(|pair| pair == [0x04, length]).unwrap() + 2;
    let scalar = &der[start..start + usize::from(length)];
    let inner = [&[2, 1, 1, 4, length], scalar, &[0xa0, u8::try_from(curve.len() + 2).unwrap(), 6]].concat();
    let inner = [&inner[..], &[u8::try_from(curve.len()).unwrap()], curve].concat();
    pem("EC PRIVATE KEY", &[&[0x30, u8::try_from(inner.len()).unwrap()], &inner[..]].concat())
}

const MISMATCH: &str = "t.yaml:2:76: error[key-mismatch]: the private key is not the one of the certificate";

#[test]
fn keys_of_every_algorithm_and_form_are_told_from_those_of_another_certificate() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let (key, other) = (KeyPair::generate_for(algorithm).unwrap(), KeyPair::generate_for(algorithm).unwrap());
        let certificate = certificate(&key, &["a.example.com"]);
        assert_eq!(said(&certificate, &key.serialize_pem()), [""; 0], "{algorithm:?}");
        assert_eq!(said(&certificate, &other.serialize_pem()), [MISMATCH], "{algorithm:?}");
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let leaf = certificate(&key, &["a.example.com"]);
    assert_eq!(said(&leaf, &sec1(&key, &p256, 32)), [""; 0]);
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    assert_eq!(said(&leaf, &sec1(&other, &p256, 32)), [MISMATCH]);
    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    assert_eq!(said(&leaf, &other.serialize_pem()), [MISMATCH]);
    // What is before and after the blocks does not count.
    let chatty = format!("Bag Attributes\r\n{}\r\n", key.serialize_pem());
    assert_eq!(said(&format!("subject=a\n{leaf}\n"), &chatty), [""; 0]);
}

#[test]
fn rsa_keys_of_both_forms_are_told_from_others() {
    let mut random = rsa::rand_core::OsRng;
    let keys = [(); 2].map(|()| rsa::RsaPrivateKey::new(&mut random, 2048).unwrap());
    let pkcs8 = keys.each_ref().map(|key| key.to_pkcs8_pem(LineEnding::LF).unwrap());
    let leaf = certificate(&KeyPair::from_pem(&pkcs8[0]).unwrap(), &["a.example.com"]);
    let weak = rsa::RsaPrivateKey::new(&mut random, 1024).unwrap();
    let spki = weak.to_public_key().to_public_key_der().unwrap();
    let params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let authority = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&params, &authority);
    let spki = rcgen::SubjectPublicKeyInfo::from_der(spki.as_bytes()).unwrap();
    assert_eq!(
        said(&params.signed_by(&spki, &issuer).unwrap().pem(), &weak.to_pkcs8_pem(LineEnding::LF).unwrap())[..1],
        ["t.yaml:2:58: error[unsupported-key]: the certificate is for an RSA key of less than 2048 bits"]
    );
    for (key, pkcs8) in keys.iter().zip(&pkcs8) {
        let expected = if key == &keys[0] { vec![] } else { vec![MISMATCH] };
        assert_eq!(said(&leaf, pkcs8), expected);
        assert_eq!(said(&leaf, &key.to_pkcs1_pem(LineEnding::LF).unwrap()), expected);
    }
}

#[test]
fn what_is_no_certificate_or_key_is_an_error_that_shows_none_of_it() {
    let key = KeyPair::generate().unwrap();
    let (leaf, key) = (certificate(&key, &["a.example.com"]), key.serialize_pem());
    let at = |column: u32, rest: &str| format!("t.yaml:2:{column}: error{rest}");
    let not_pem = "[not-pem]: a certificate in PEM is expected here, and this is not PEM";
    assert_eq!(said("nonsense", &key), [at(58, not_pem)]);
    assert_eq!(said(&leaf[..leaf.len() / 2], &key), [at(58, not_pem)]);
    assert_eq!(said(&key, &key), [at(58, "[no-certificate]: there is not a certificate among the PEM blocks here")]);
    assert_eq!(said(&leaf, &leaf), [at(76, "[no-private-key]: there is not a private key among the PEM blocks here")]);
    let broken = pem("CERTIFICATE", b"nonsense");
    let malformed = "[no-certificate]: a certificate is expected here, and its PEM block holds something else";
    assert_eq!(said(&broken, &key), [at(58, malformed)]);
    let encrypted = "[encrypted-key]: the private key is encrypted";
    assert_eq!(said(&leaf, &pem("ENCRYPTED PRIVATE KEY", b"x")), [at(76, encrypted)]);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(said(&leaf, old), [at(76, encrypted)]);
    let with_password = PAIR.replace("key}}", "key, password: {inline_string: x}}}");
    let files = [("crt", &*leaf), ("key", &*pem("ENCRYPTED PRIVATE KEY", b"x"))];
    assert_eq!(findings(&with_password, &files).0, [""; 0]);
    let half = "secrets: [{name: s, tls_certificate: {certificate_chain: crt}}]";
    let incomplete = "[incomplete-certificate]: this certificate has no `private_key`";
    assert_eq!(findings(half, &[("crt", &leaf)]).0, [at(38, incomplete)]);
    let authority = "secrets: [{name: s, validation_context: {trusted_ca: ca, crl: crl}}]";
    assert_eq!(
        findings(authority, &[("ca", &key), ("crl", &leaf)]).0,
        [
            at(54, "[no-certificate]: there is not a certificate among the PEM blocks here"),
            at(63, "[no-crl]: there is not a certificate revocation list among the PEM blocks here"),
        ]
    );
}

#[test]
fn no_finding_shows_key_material() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let leaf = certificate(&key, &["a.example.com"]);
    let body: Vec<String> = other.serialize_pem().lines().map(str::to_owned).collect();
    let attached = findings(PAIR, &[("crt", &leaf), ("key", &other.serialize_pem())]).1;
    let indented = other.serialize_pem().replace('\n', "\n      ");
    let quoted = other.serialize_pem().replace('\n', "\\n");
    let written = [
        format!(
            "secrets:\n- name: s\n  tls_certificate:\n    certificate_chain: crt\n    private_key: {{inline_string: \"{quoted}\"}}\n"
        ),
        format!("secrets:\n- name: s\n  tls_certificate:\n    certificate_chain: crt\n    private_key: \"{quoted}\"\n"),
        // A mistake in the indentation of a block makes its lines YAML.
        format!(
            "secrets:\n- name: s\n  tls_certificate:\n    private_key:\n      inline_string: |\n        x\n      {indented}\n"
        ),
    ];
    for shown in written.iter().map(|text| findings(text, &[("crt", &leaf)]).1).chain([attached]) {
        assert!(shown.contains("error["), "{shown}");
        for line in body.iter().filter(|line| !line.starts_with("-----")) {
            assert!(!shown.contains(&line[..20.min(line.len())]), "{shown}");
        }
    }
}

#[test]
fn time_and_names_are_warned_about() {
    let key = KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    assert_eq!(
        said(&valid(&key, &["a"], 2020, 2026), &pem),
        ["t.yaml:2:58: warning[certificate-expired]: the certificate expired: Jan  1 00:00:00 2026 +00:00"]
    );
    assert_eq!(
        said(&valid(&key, &["a"], 2027, 2028), &pem),
        ["t.yaml:2:58: warning[certificate-not-yet-valid]: the certificate is not valid before Jan  1 00:00:00 2027 \
             +00:00"]
    );
    // The chain that issued it counts as well.
    let authority_key = KeyPair::generate().unwrap();
    let old = valid(&authority_key, &["ca"], 2020, 2026);
    let authority = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let mut params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    assert_eq!(said(&(leaf.clone() + &old), &pem).len(), 1);
    assert_eq!(said(&leaf, &pem), [""; 0]);

    let listener = "listeners:
- name: https
  address: 127.0.0.1:443
  filter_chains:
  - filter_chain_match: {server_names: [a.example.com, b.a.example.com, \"*.w.com\", c.w.com, d.c.w.com, other.com]}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
        common_tls_context: {tls_certificate_sds_secret_configs: [{name: s, sds_config: {ads: {}}}]}
    filters: []
";
    let names = certificate(&key, &["A.example.com", "*.w.com"]);
    let text = format!("{listener}{PAIR}");
    let (lines, _) = findings(&text, &[("crt", &names), ("key", &pem)]);
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("certificate-name")).collect();
    let expected = [(56, "b.a.example.com"), (93, "d.c.w.com"), (104, "other.com")].map(|(column, name)| {
        format!("t.yaml:6:{column}: warning[certificate-name]: no certificate of this filter chain is for `{name}`")
    });
    assert_eq!(lines, expected.iter().collect::<Vec<_>>());
    // A file on the proxy's host cannot be seen.
    let unseen = text.replace("certificate_chain: crt", "certificate_chain: {filename: /x}");
    assert_eq!(
        findings(&unseen, &[("key", &pem)]).0.iter().filter(|line| line.contains("certificate-name")).count(),
        0
    );
}

#[test]
fn domains_that_no_certificate_is_for_are_named() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let chain = |name: &str| {
        format!(
            "  - filter_chain_match: {{server_names: [{name}.example.com]}}
    tls_context: {{tls_certificates: [{{certificate_chain: {name}, private_key: {name}.key}}]}}
    rds: shop\n"
        )
    };
    let table = "route_configs:
- name: shop
  virtual_hosts:
  - name: shop
    domains: [a.example.com, 'B.example.com:443', c.example.com, '*.d.com', 'e.*', 10.0.0.1]
    routes: [{direct_response: {status: 200}}]
";
    let (a, b) = (chain("a"), chain("b"));
    let listener = format!("listeners:\n- name: l\n  address: 0.0.0.0:443\n  filter_chains:\n{a}{b}");
    let (certificate_a, certificate_b) =
        (certificate(&key, &["a.example.com"]), certificate(&other, &["b.example.com"]));
    let (key, other) = (key.serialize_pem(), other.serialize_pem());
    let files = [("a", &*certificate_a), ("a.key", &*key), ("b", &*certificate_b), ("b.key", &*other)];
    let told = |text: &str| -> Vec<String> {
        let lines = findings(text, &files).0.into_iter();
        lines.filter_map(|line| Some(line.split_once("[certificate-name]: ")?.1.to_owned())).collect()
    };
    let expected = ["c.example.com", "*.d.com"];
    let expected = expected.map(|name| format!("no certificate is for `{name}` where these routes are used"));
    assert_eq!(told(&format!("{listener}{table}")), expected);
    // In plaintext, any name will do.
    let plain = "- {name: p, address: '0.0.0.0:80', rds: shop}\n";
    assert_eq!(told(&format!("{listener}{plain}{table}")), [""; 0]);
    // What stands in the listener is looked at as well.
    let inline = listener.replacen(
        "rds: shop",
        "virtual_hosts: [{name: x, domains: [x.com], routes: [{direct_response: {status: 200}}]}]",
        1,
    );
    assert_eq!(told(&format!("{inline}{table}"))[..1], ["no certificate is for `x.com` where these routes are used"]);
}

#[test]
fn one_secret_for_two_says_what_to_rename() {
    let key = KeyPair::generate().unwrap();
    let context = "tls_context: {tls_certificates: [{certificate_chain: crt, private_key: key}]}";
    let text = format!(
        "listeners: [{{name: web, address: '0.0.0.0:443', routes: [{{direct_response: {{status: 200}}}}], {context}}}]
clusters: [{{name: web, endpoints: ['10.0.0.1:443'], {context}}}]
"
    );
    let files = [("crt", &*certificate(&key, &["a.com"])), ("key", &*key.serialize_pem())];
    let (lines, all) = findings(&text, &files);
    assert!(lines.iter().any(|line| line.ends_with("the Secret `web/tls_certificate` is given twice")), "{lines:?}");
    assert!(all.contains("secrets from files are named after their listener or cluster: rename one"), "{all}");
}
