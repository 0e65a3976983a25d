//! The descriptor set and what is derived from it once.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::catalog::Catalog;
use super::extensions::Extensions;

/// Merge of the envoy-types package's descriptors and those that the Envoy binary carries; see `assets/README.md`.
static EMBEDDED: &[u8] = include_bytes!("../../assets/descriptors.binpb");

/// Everything that is known of Envoy's messages.
#[derive(Debug)]
pub struct Schema {
    pool: DescriptorPool,
    catalog: OnceLock<Catalog>,
    extensions: OnceLock<Extensions>,
}

/// A user's descriptor set cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the descriptor set: {0}; make it with `protoc --include_imports --descriptor_set_out=FILE`")]
pub struct SchemaError(String);

/// A `FileDescriptorSet` whose files stay bytes: typed decoding would drop the options that carry the rules.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<bytes::Bytes>,
}

/// The one field of a `FileDescriptorProto` that is needed to tell files apart.
#[derive(Clone, PartialEq, prost::Message)]
struct FileName {
    #[prost(string, tag = "1")]
    name: String,
}

impl Schema {
    fn new(pool: DescriptorPool) -> Self {
        Self { pool, catalog: OnceLock::new(), extensions: OnceLock::new() }
    }

    /// The schema of the embedded descriptor set.
    pub fn embedded() -> Arc<Self> {
        static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
        Arc::clone(SCHEMA.get_or_init(|| {
            let pool = DescriptorPool::decode(EMBEDDED).expect("the embedded descriptor set is checked by a test");
            Arc::new(Self::new(pool))
        }))
    }

    /// The embedded `FileDescriptorSet` as bytes, services and all.
    pub fn embedded_descriptor_set() -> &'static [u8] {
        EMBEDDED
    }

    /// The embedded schema with further `FileDescriptorSet`s, for contrib and custom extensions.
    ///
    /// A file that is already known by its name is left out, so that a set may bring its own copies of Envoy's files.
    pub fn with_descriptor_sets(sets: &[Vec<u8>]) -> Result<Arc<Self>, SchemaError> {
        let mut pool = Self::embedded().pool.clone();
        for set in sets {
            let mut known: BTreeSet<String> = pool.files().map(|file| file.name().to_owned()).collect();
            let mut raw = RawSet::decode(set.as_slice()).map_err(|error| SchemaError(error.to_string()))?;
            let mut fresh = Vec::with_capacity(raw.file.len());
            for file in raw.file {
                let FileName { name } =
                    FileName::decode(file.clone()).map_err(|error| SchemaError(error.to_string()))?;
                if known.insert(name) {
                    fresh.push(file);
                }
            }
            raw.file = fresh;
            let merged = raw.encode_to_vec();
            pool.decode_file_descriptor_set(merged.as_slice()).map_err(|error| SchemaError(error.to_string()))?;
        }
        Ok(Arc::new(Self::new(pool)))
    }

    /// The descriptor of a message by its full name.
    pub fn message(&self, name: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(name)
    }

    /// Every message, nested ones included.
    pub fn messages(&self) -> impl Iterator<Item = MessageDescriptor> + '_ {
        self.pool.all_messages()
    }

    /// The extensions that Envoy registers.
    pub fn extensions(&self) -> &Extensions {
        self.extensions.get_or_init(Extensions::embedded)
    }

    pub(super) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub(super) fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(|| Catalog::new(&self.pool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Kind;

    #[test]
    fn the_embedded_set_has_every_kind() {
        let schema = Schema::embedded();
        for kind in Kind::ALL {
            let message = schema.message(kind.message()).unwrap_or_else(|| panic!("{kind}"));
            assert!(message.get_field_by_name(kind.name_field()).is_some(), "{kind}");
        }
        assert!(schema.message("xds.type.v3.TypedStruct").is_some());
    }

    #[test]
    fn a_users_set_adds_messages_and_may_repeat_known_files() {
        let file = prost_types::FileDescriptorProto {
            name: Some("acme/filter.proto".into()),
            package: Some("acme".into()),
            dependency: vec!["envoy/config/core/v3/address.proto".into()],
            message_type: vec![prost_types::DescriptorProto { name: Some("Filter".into()), ..Default::default() }],
            syntax: Some("proto3".into()),
            ..Default::default()
        };
        let known = prost_types::FileDescriptorProto {
            name: Some("envoy/config/core/v3/address.proto".into()),
            ..Default::default()
        };
        let set = prost_types::FileDescriptorSet { file: vec![known, file] }.encode_to_vec();
        let schema = Schema::with_descriptor_sets(&[set.clone(), set]).unwrap();
        assert!(schema.message("acme.Filter").is_some());
        assert!(schema.message("envoy.config.core.v3.Address").is_some());
        assert!(Schema::embedded().message("acme.Filter").is_none());
    }

    #[test]
    fn a_broken_set_is_an_error() {
        assert!(Schema::with_descriptor_sets(&[b"not a set".to_vec()]).is_err());
    }
}
