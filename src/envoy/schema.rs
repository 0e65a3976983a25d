//! The descriptor set and what is derived from it once.

use std::sync::{Arc, OnceLock};

use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Merge of the envoy-types package's descriptors and those that the Envoy binary carries; see `assets/README.md`.
static EMBEDDED: &[u8] = include_bytes!("../../assets/descriptors.binpb");

/// Everything that is known of Envoy's messages.
#[derive(Debug)]
pub struct Schema {
    pool: DescriptorPool,
}

/// A user's descriptor set cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the descriptor set: {0}")]
pub struct SchemaError(String);

impl Schema {
    /// The schema of the embedded descriptor set.
    pub fn embedded() -> Arc<Self> {
        static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
        Arc::clone(SCHEMA.get_or_init(|| {
            let pool = DescriptorPool::decode(EMBEDDED).expect("the embedded descriptor set is checked by a test");
            Arc::new(Self { pool })
        }))
    }

    /// The embedded schema with further `FileDescriptorSet`s, for contrib and custom extensions.
    pub fn with_descriptor_sets(sets: &[Vec<u8>]) -> Result<Arc<Self>, SchemaError> {
        let mut pool = Self::embedded().pool.clone();
        for set in sets {
            pool.decode_file_descriptor_set(set.as_slice()).map_err(|error| SchemaError(error.to_string()))?;
        }
        Ok(Arc::new(Self { pool }))
    }

    /// The descriptor of a message by its full name.
    pub fn message(&self, name: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(name)
    }
}
