//! Envoy's API as data.
//!
//! Enters: located JSON ([`Node`]) and the name of a message. Leaves: dynamic messages, canonical bytes, JSON again, and
//! findings about every field that Envoy would not take. Knows: the embedded descriptor set and nothing of topologies.
//! Invariant: equal messages give equal bytes, in every process.

mod kind;
mod node;
mod schema;

pub mod json;

pub use kind::Kind;
pub use node::{Entry, Node, Path, Segment, Value};
pub use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
pub use schema::{Schema, SchemaError};
