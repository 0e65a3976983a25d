//! Certificates and private keys as they stand in files: PEM, X.509, and the three ways of writing a key.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

/// Why a text is not what it should be. No variant repeats any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It has no PEM block, or a broken one.
    NotPem,
    /// None of its PEM blocks is what was expected.
    Absent,
    /// It is what was expected and cannot be understood.
    Malformed,
    /// It is a private key that only a password opens.
    Encrypted,
}

/// What counts of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The same as text.
    pub(super) validity: [String; 2],
    /// The DNS names that it is for.
    pub(super) names: Vec<String>,
    public_key: PublicKey,
}

/// A `SubjectPublicKeyInfo`.
#[derive(Clone, Debug)]
struct PublicKey {
    algorithm: Vec<u8>,
    /// The curve.
    parameters: Option<Vec<u8>>,
    key: Vec<u8>,
}

/// What of a private key tells which public key it belongs to. Not to be shown.
pub(super) enum PrivateKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ec {
        curve: Vec<u8>,
        scalar: Vec<u8>,
        public: Option<Vec<u8>>,
    },
    Ed25519 {
        seed: Vec<u8>,
    },
    /// An algorithm that is not known here.
    Other,
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// All blocks of a PEM file.
fn blocks(bytes: &[u8]) -> Result<Vec<Pem>, Flaw> {
    let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(bytes).collect();
    blocks.ok().filter(|blocks| !blocks.is_empty()).ok_or(Flaw::NotPem)
}

/// The certificates of a PEM file, of which there is at least one.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, Flaw> {
    let labels = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
    let blocks = blocks(bytes)?;
    let found = blocks.iter().filter(|block| labels.contains(&&*block.label));
    let found: Vec<_> =
        found.map(|block| certificate(&block.contents)).collect::<Option<_>>().ok_or(Flaw::Malformed)?;
    if found.is_empty() { Err(Flaw::Absent) } else { Ok(found) }
}

/// Whether a PEM file holds a list of revoked certificates.
pub(super) fn revocations(bytes: &[u8]) -> Result<(), Flaw> {
    if blocks(bytes)?.iter().any(|block| block.label == "X509 CRL") { Ok(()) } else { Err(Flaw::Absent) }
}

fn certificate(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (validity, key) = (certificate.validity(), certificate.public_key());
    let names = certificate.subject_alternative_name().ok().flatten().map(|extension| &extension.value.general_names);
    let names = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let parameters = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    Some(Certificate {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        validity: [validity.not_before.to_string(), validity.not_after.to_string()],
        names: names.collect(),
        public_key: PublicKey {
            algorithm: key.algorithm.algorithm.as_bytes().to_vec(),
            parameters: parameters.map(|oid| oid.as_bytes().to_vec()),
            key: key.subject_public_key.data.to_vec(),
        },
    })
}

/// The first private key of a PEM file.
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKey, Flaw> {
    // The old way of encrypting says so in a header, which is no base64.
    if String::from_utf8_lossy(bytes).contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Flaw::Encrypted);
    }
    let blocks = blocks(bytes)?;
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or(Flaw::Absent)?;
    let key = match block.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => return Err(Flaw::Encrypted),
        "PRIVATE KEY" => pkcs8(&block.contents),
        "RSA PRIVATE KEY" => pkcs1(&block.contents),
        "EC PRIVATE KEY" => sec1(&block.contents, None),
        _ => Some(PrivateKey::Other),
    };
    key.ok_or(Flaw::Malformed)
}

impl Certificate {
    /// Whether a private key is the one of this certificate; `None` if it cannot be said.
    pub(super) fn has_key(&self, key: &PrivateKey) -> Option<bool> {
        let PublicKey { algorithm, parameters, key: public } = &self.public_key;
        match key {
            PrivateKey::Rsa { modulus, exponent } => {
                if algorithm != RSA {
                    return Some(false);
                }
                let mut der = Der(Der(public).take(SEQUENCE)?);
                Some(der.unsigned()? == modulus.as_slice() && der.unsigned()? == exponent.as_slice())
            }
            PrivateKey::Ec { curve, scalar, public: own } => {
                if algorithm != EC || parameters.as_ref().is_some_and(|theirs| theirs != curve) {
                    return Some(false);
                }
                let (method, length) = match curve.as_slice() {
                    P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, 32),
                    P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, 48),
                    _ => return own.as_ref().map(|own| own == public),
                };
                // A point may also be written in compressed form, which is not compared here.
                if public.first() != Some(&4) || scalar.len() > length {
                    return None;
                }
                let padded = [vec![0; length - scalar.len()], scalar.clone()].concat();
                let random = SystemRandom::new();
                Some(EcdsaKeyPair::from_private_key_and_public_key(method, &padded, public, &random).is_ok())
            }
            PrivateKey::Ed25519 { seed } => {
                Some(algorithm == ED25519 && Ed25519KeyPair::from_seed_and_public_key(seed, public).is_ok())
            }
            PrivateKey::Other => None,
        }
    }

    /// Why Envoy takes no key of this kind, if it does not.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        let PublicKey { algorithm, parameters, key } = &self.public_key;
        match (algorithm.as_slice(), parameters.as_deref()) {
            (RSA, _) => {
                let modulus = Der(key).take(SEQUENCE).and_then(|key| Der(key).unsigned())?;
                let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                (bits < 2048).then_some("an RSA key of less than 2048 bits")
            }
            (EC, Some(curve)) => {
                (![P256, P384, P521].contains(&curve)).then_some("a curve other than P-256, P-384 and P-521")
            }
            _ => None,
        }
    }

    /// Whether a proxy that takes connections for this name, which may begin with `*.`, can show this certificate.
    pub(super) fn covers(&self, server_name: &str) -> bool {
        self.names.iter().any(|name| {
            if name.eq_ignore_ascii_case(server_name) {
                return true;
            }
            // A wildcard stands for one label.
            let (Some(suffix), Some((_, rest))) = (name.strip_prefix("*."), server_name.split_once('.')) else {
                return false;
            };
            suffix.eq_ignore_ascii_case(rest) && !server_name.starts_with("*.")
        })
    }
}

/// `PrivateKeyInfo`.
fn pkcs8(der: &[u8]) -> Option<PrivateKey> {
    let mut info = Der(Der(der).take(SEQUENCE)?);
    info.take(INTEGER)?;
    let mut algorithm = Der(info.take(SEQUENCE)?);
    let (algorithm, curve) = (algorithm.take(OBJECT_IDENTIFIER)?, algorithm.take(OBJECT_IDENTIFIER));
    let key = info.take(OCTET_STRING)?;
    match algorithm {
        RSA => pkcs1(key),
        EC => sec1(key, curve),
        ED25519 => Some(PrivateKey::Ed25519 { seed: Der(key).take(OCTET_STRING)?.to_vec() }),
        _ => Some(PrivateKey::Other),
    }
}

/// `RSAPrivateKey`.
fn pkcs1(der: &[u8]) -> Option<PrivateKey> {
    let mut key = Der(Der(der).take(SEQUENCE)?);
    key.take(INTEGER)?;
    Some(PrivateKey::Rsa { modulus: key.unsigned()?.to_vec(), exponent: key.unsigned()?.to_vec() })
}

/// `ECPrivateKey`, which may leave its curve to what is around it.
fn sec1(der: &[u8], curve: Option<&[u8]>) -> Option<PrivateKey> {
    let mut key = Der(Der(der).take(SEQUENCE)?);
    key.take(INTEGER)?;
    let scalar = key.take(OCTET_STRING)?.to_vec();
    let own = key.take(CONTEXT_0).and_then(|own| Der(own).take(OBJECT_IDENTIFIER));
    let public = key.take(CONTEXT_1).and_then(|public| Der(public).take(BIT_STRING)?.get(1..));
    Some(PrivateKey::Ec { curve: own.or(curve)?.to_vec(), scalar, public: public.map(<[u8]>::to_vec) })
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0xa1;

/// What is left to read of a run of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, if it has this tag; else nothing is read.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        if *first != tag {
            return None;
        }
        let (length, rest) = match usize::from(length) {
            length @ ..=0x7f => (length, rest),
            // Four bytes of length are more than any file may have.
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// A positive integer without leading zeros.
    fn unsigned(&mut self) -> Option<&'a [u8]> {
        let digits = self.take(INTEGER)?;
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.get(zeros..)
    }
}
