//! Envoy's API as data.
//!
//! Enters: located JSON ([`Node`]) and the name of a message. Leaves: dynamic messages, canonical bytes, JSON again, and
//! findings about every field that Envoy would not take. Knows: the embedded descriptor set and nothing of topologies.
//! Invariant: equal messages give equal bytes, in every process.
//!
//! Everything here nests, and an `Any` starts a new message with a recursion limit of its own; so each walk counts
//! [`MAX_DEPTH`] itself, across `Any` boundaries.

mod any;
mod catalog;
mod compile;
mod kind;
mod memo;
mod node;
mod place;
mod schema;
#[cfg(test)]
mod testing;
mod visit;

pub mod canonical;
pub mod extensions;
pub mod field;
pub mod json;
pub mod rules;

pub use compile::compile;
pub use kind::Kind;
pub use memo::Memo;
pub use node::{Entry, Node, Path, Segment, Value};
pub use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind as FieldKind, MessageDescriptor, OneofDescriptor,
    ReflectMessage, Value as FieldValue,
};
pub use schema::{Schema, SchemaError};
pub use visit::visit;

/// How many messages may be nested in each other, `Any` payloads and map entries included.
///
/// Envoy's own parser stops at 100 inside one encoded message.
pub const MAX_DEPTH: usize = 64;
