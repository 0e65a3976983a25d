//! One encoded resource.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::Version;
use crate::envoy::Kind;

/// Where a resource was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// The file, as it was given on the command line or found in a directory.
    pub file: Arc<str>,
    /// 1-based line.
    pub line: u32,
    /// 1-based column.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        write!(f, "{file}:{line}:{column}")
    }
}

/// What serving needs to know of a resource's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Sent only to clients that ask for it by name, never in a wildcard answer: listeners of gRPC clients.
    pub on_demand: bool,
    /// Holds a private key, or another secret, in the clear: not for everyone who can listen in.
    pub private: bool,
    /// For a cluster of type EDS: the name under which its endpoints are asked for.
    pub eds_service: Option<Arc<str>>,
    /// The clusters that it leads traffic to, sorted; empty for a cluster itself.
    pub clusters: Vec<Arc<str>>,
}

/// One resource, encoded once and shared by every stream that sends it. Its bytes may hold private keys: `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique within the kind and group.
    pub name: Arc<str>,
    /// Hash of the message's canonical bytes.
    pub version: Version,
    /// The encoded `google.protobuf.Any` that wraps the message.
    pub any: Bytes,
    /// Where it was written.
    pub origin: Origin,
    /// What serving needs to know of its content.
    pub traits: Traits,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, version, any, origin, traits } = self;
        write!(f, "Resource({kind} {name} {version}, {} bytes, {origin}, {traits:?})", any.len())
    }
}

impl Resource {
    /// Wraps the canonical bytes of a message.
    pub fn new(kind: Kind, name: impl Into<Arc<str>>, message: &[u8], origin: Origin, traits: Traits) -> Self {
        let any = prost_types::Any { type_url: kind.type_url().to_owned(), value: message.to_vec() };
        let any = Bytes::from(any.encode_to_vec());
        Self { kind, name: name.into(), version: Version::of(message), any, origin, traits }
    }

    /// The canonical bytes of the message inside the `Any`.
    pub fn message(&self) -> Bytes {
        let any = prost_types::Any::decode(self.any.clone()).expect("encoded by `Resource::new`");
        Bytes::from(any.value)
    }
}
