//! TLS that does not protect, and redirects to it that never end.

use super::Noted;
use super::site::{Site, is_inside, steps};
use super::tables::Tables;
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Segment, field};

/// Ways to say what a peer's certificate is verified with.
const CONTEXTS: [&str; 3] =
    ["validation_context", "combined_validation_context", "validation_context_sds_secret_config"];
/// What a validation context needs at least one of.
const VERIFIERS: [&str; 5] = [
    "trusted_ca",
    "ca_certificate_provider_instance",
    "custom_validator_config",
    "system_root_certs",
    "watched_directory",
];
const PINS: [&str; 2] = ["verify_certificate_spki", "verify_certificate_hash"];

/// TLS towards clients.
pub(super) fn downstream(site: &Site<'_>, findings: &mut Findings) {
    if field::boolean(site.message, "require_client_certificate") && !verifies(site) && site.is_whole() {
        let text = "any client certificate will do: nothing says which authorities are trusted";
        let help = "add `validation_context: {trusted_ca: …}` to `common_tls_context`";
        findings.push(site.warning("no-client-ca", steps!["require_client_certificate"], text).help(help));
    }
    let common = field::message(site.message, "common_tls_context");
    let shows = common.is_some_and(|common| CERTIFICATES.iter().any(|name| field::is_set(common, name)));
    if !shows && site.is_whole() {
        let text = "a listener with TLS needs a certificate, and this one has none: Envoy refuses it";
        let help = "add `tls_certificates: [{certificate_chain: server.crt, private_key: server.key}]`";
        findings.push(site.error("no-tls-certificate", steps![], text).help(help));
    }
}

/// What the certificate of a peer has to say.
pub(super) fn names(site: &Site<'_>, findings: &mut Findings) {
    let trusts = VERIFIERS.iter().any(|name| field::message(site.message, name).is_some());
    // In a combined context, the authorities may come from the other half.
    let partial =
        site.path.segments().last().is_some_and(|last| *last == Segment::Field("default_validation_context".into()));
    for list in ["match_typed_subject_alt_names", "match_subject_alt_names"] {
        if field::is_set(site.message, list) && !trusts && !partial && site.is_whole() {
            let text = "anyone can make a certificate with these names, unless it is said which authorities are trusted: \
                        Envoy refuses the resource";
            let help = "add `trusted_ca` beside it";
            findings.push(site.error("untrusted-names", steps![list], text).help(help));
        }
    }
}

/// Where a listener's own certificates may come from.
const CERTIFICATES: [&str; 6] = [
    "tls_certificates",
    "tls_certificate_sds_secret_configs",
    "tls_certificate_provider_instance",
    "custom_tls_certificate_selector",
    "tls_certificate_certificate_provider",
    "tls_certificate_certificate_provider_instance",
];

/// TLS towards upstreams.
pub(super) fn upstream(site: &Site<'_>, findings: &mut Findings) {
    if !verifies(site) && site.is_whole() {
        let text = "the upstream's certificate is not verified: anyone in between can read and change the traffic";
        let help =
            "add `validation_context: {trusted_ca: …}` to `common_tls_context`, or `system_root_certs: {}` in it";
        findings.push(site.warning("unverified-upstream", steps![], text).help(help));
    }
}

fn verifies(site: &Site<'_>) -> bool {
    let Some(common) = field::message(site.message, "common_tls_context") else { return false };
    let context = |name: &str| {
        field::message(common, name).is_some_and(|context| name != "validation_context" || context_verifies(context))
    };
    CONTEXTS.iter().any(|name| context(name)) || field::message(common, "custom_tls_certificate_selector").is_some()
}

fn context_verifies(context: &DynamicMessage) -> bool {
    VERIFIERS.iter().any(|name| field::message(context, name).is_some())
        || PINS.iter().any(|name| !field::strings(context, name).is_empty())
}

/// A redirect to HTTPS on a port that speaks HTTPS already.
pub(super) fn redirects(set: &[&Noted<'_>], findings: &mut Findings) {
    let tables = Tables::of(set);
    for noted in set {
        for manager in &noted.facts.managers {
            let Some(chain) = noted.facts.tls_chains.iter().find(|chain| is_inside(&manager.path, chain)) else {
                continue;
            };
            let Some(table) = tables.find(noted, manager) else { continue };
            for path in table.noted.facts.https_redirects.iter().filter(|path| table.holds(path)) {
                let name = &noted.resource.native.name;
                let text = format!(
                    "this redirect never ends: listener `{name}` speaks HTTPS, and sends clients to where they were"
                );
                findings.push(
                    table
                        .noted
                        .resource
                        .warning("redirect-loop", path, text)
                        .related(noted.resource.span(chain), "TLS ends here")
                        .help("redirect on the plaintext listener, and route on this one"),
                );
            }
        }
    }
}
