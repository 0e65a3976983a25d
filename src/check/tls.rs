//! Certificates and keys that a proxy would refuse, or that its clients will.
//!
//! Only what is in the topology or attached to it can be seen; a file on the proxy's host, a secret of its bootstrap and
//! what a key provider holds cannot. No message repeats any content.

use super::Checked;
use super::facts::Facts;
use super::site::Site;
use super::tls_material::{self, Certificate, Flaw};
use crate::diagnostic::{Finding, Findings, Level};
use crate::envoy::{DynamicMessage, Kind, Path, Segment, field};

/// What of a name under `DataSource` is for nobody else to see.
const PRIVATE: [&str; 6] = ["private_key", "pkcs12", "password", "keys", "secret", "secrets"];

/// What is wrong with the material itself.
pub(super) fn check(name: &str, site: &Site<'_>, now: i64, facts: &mut Facts, findings: &mut Findings) {
    let Site { resource, path, message, .. } = *site;
    match name {
        "envoy.extensions.transport_sockets.tls.v3.TlsCertificate" => {
            let mut look = Look { resource, path, now, until: &mut facts.until, findings };
            facts.shown = look.certificate(message);
        }
        "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext" => {
            Look { resource, path, now, until: &mut facts.until, findings }.validation(message);
        }
        "envoy.config.core.v3.DataSource" => facts.private |= is_private(path) && inline(message).is_some(),
        _ => {}
    }
}

/// Whether a path leads to what nobody else may see.
fn is_private(path: &Path) -> bool {
    let last = path.segments().iter().rev().find_map(|segment| match segment {
        Segment::Field(name) => Some(name.as_str()),
        _ => None,
    });
    last.is_some_and(|name| PRIVATE.contains(&name))
}

/// Whether resources of a kind can have certificates and keys in them.
pub(super) fn may_be_in(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::Listener | Kind::Cluster | Kind::ExtensionConfig)
}

/// The content of a `DataSource` that holds it itself, and the field that it is in.
pub(super) fn inline(source: &DynamicMessage) -> Option<(&'static str, &[u8])> {
    let text = field::string(source, "inline_string").map(|text| ("inline_string", text.as_bytes()));
    text.or_else(|| field::bytes(source, "inline_bytes").map(|bytes| ("inline_bytes", bytes)))
}

/// One message with certificates in it.
struct Look<'a> {
    resource: &'a Checked,
    path: &'a Path,
    now: i64,
    /// When the next certificate becomes valid or expires.
    until: &'a mut Option<i64>,
    findings: &'a mut Findings,
}

impl Look<'_> {
    /// The content of a field and its path.
    fn source<'m>(&self, message: &'m DynamicMessage, name: &str) -> Option<(Path, &'m [u8])> {
        let (specifier, bytes) = inline(field::message(message, name)?)?;
        let mut path = self.path.clone();
        path.field(name);
        path.field(specifier);
        Some((path, bytes))
    }

    fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// A certificate with its key; returns the certificate that is shown, if it can be seen.
    fn certificate(&mut self, message: &DynamicMessage) -> Option<Certificate> {
        self.complete(message);
        let chain = self.source(message, "certificate_chain").and_then(|(path, bytes)| {
            let found = self.understood(tls_material::certificates(bytes), "a certificate", "no-certificate", &path)?;
            for certificate in &found {
                self.validity(certificate, &path);
            }
            let leaf = found.into_iter().next()?;
            if let Some(why) = leaf.unsupported() {
                let finding = self.resource.error("unsupported-key", &path, format!("the certificate is for {why}"));
                self.push(
                    finding
                        .help("Envoy refuses it: make a new key, such as `openssl ecparam -name prime256v1 -genkey`"),
                );
            }
            Some(leaf)
        });
        let key = self.source(message, "private_key").and_then(|(path, bytes)| {
            let key = match tls_material::private_key(bytes) {
                // Envoy decrypts it; nothing more can be said.
                Err(Flaw::Encrypted) if field::message(message, "password").is_some() => return None,
                Err(Flaw::Encrypted) => {
                    let finding = self.resource.error("encrypted-key", &path, "the private key is encrypted");
                    self.push(finding.help("decrypt it (`openssl pkey -in KEY -out KEY`), or give its `password`"));
                    return None;
                }
                outcome => self.understood(outcome, "a private key", "no-private-key", &path)?,
            };
            Some((path, key))
        });
        if let (Some(certificate), Some((path, key))) = (&chain, key)
            && certificate.has_key(&key) == Some(false)
        {
            let finding =
                self.resource.error("key-mismatch", &path, "the private key is not the one of the certificate");
            let help = "if both are being replaced, what is served stays until the second one is there";
            let mut chain = self.path.clone();
            chain.field("certificate_chain");
            let span = self.resource.span(&chain);
            self.push(finding.help(help).related(span, "the certificate"));
        }
        chain
    }

    /// A certificate needs a key, and a key a certificate.
    fn complete(&mut self, message: &DynamicMessage) {
        let has = |name| field::message(message, name).is_some();
        let missing = match (has("certificate_chain"), has("private_key") || has("private_key_provider")) {
            _ if self.resource.broken || has("pkcs12") => return,
            (true, false) => "private_key",
            (false, true) => "certificate_chain",
            _ => return,
        };
        let finding =
            self.resource.error("incomplete-certificate", self.path, format!("this certificate has no `{missing}`"));
        self.push(finding.help("Envoy needs both: `{certificate_chain: …, private_key: …}`"));
    }

    fn validation(&mut self, message: &DynamicMessage) {
        if let Some((path, bytes)) = self.source(message, "trusted_ca")
            && let Some(found) =
                self.understood(tls_material::certificates(bytes), "a certificate", "no-certificate", &path)
        {
            for authority in &found {
                self.changes(authority);
            }
            // Of a bundle some may be out of date.
            if let Some(authority) = found.first()
                && found.iter().all(|authority| authority.not_after < self.now)
            {
                self.validity(authority, &path);
            }
        }
        if let Some((path, bytes)) = self.source(message, "crl") {
            self.understood(tls_material::revocations(bytes), "a certificate revocation list", "no-crl", &path);
        }
    }

    /// Notes when something else will have to be said of a certificate.
    fn changes(&mut self, certificate: &Certificate) {
        let moments = [certificate.not_before, certificate.not_after.saturating_add(1)];
        let next = moments.into_iter().filter(|moment| *moment > self.now);
        *self.until = self.until.iter().copied().chain(next).min();
    }

    /// What was found, or a finding about what was not.
    fn understood<T>(&mut self, outcome: Result<T, Flaw>, what: &str, code: &'static str, path: &Path) -> Option<T> {
        let (code, message) = match outcome {
            Ok(found) => return Some(found),
            Err(Flaw::NotPem) => ("not-pem", format!("{what} in PEM is expected here, and this is not PEM")),
            Err(Flaw::Absent | Flaw::Encrypted) => (code, format!("there is not {what} among the PEM blocks here")),
            Err(Flaw::Malformed) => (code, format!("{what} is expected here, and its PEM block holds something else")),
        };
        let finding = self.resource.error(code, path, message);
        self.push(finding.help(
            "PEM is text between `-----BEGIN …-----` and `-----END …-----`; a file that is being \
                                written is read again when it changes",
        ));
        None
    }

    fn validity(&mut self, certificate: &Certificate, path: &Path) {
        self.changes(certificate);
        let [from, until] = &certificate.validity;
        let finding = match () {
            () if certificate.not_after < self.now => {
                self.resource.error("certificate-expired", path, format!("the certificate expired: {until}"))
            }
            () if certificate.not_before > self.now => self.resource.error(
                "certificate-not-yet-valid",
                path,
                format!("the certificate is not valid before {from}"),
            ),
            () => return,
        };
        // Only a warning: the day on which it expires, other edits must still be possible.
        self.push(Finding { level: Level::Warning, ..finding });
    }
}
