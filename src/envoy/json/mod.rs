//! Proto3 JSON ⇄ messages, strict and with positions.
//!
//! Enters: a [`Node`](super::Node) tree, or a message. Leaves: a message with every reason why it is not quite what was
//! written, or JSON as Envoy's `/config_dump` prints it. Invariant: what [`write()`] makes, [`read()`] takes.

mod any;
mod enums;
mod number;
mod read;
mod scalar;
mod time;
mod well_known;
mod write;

#[cfg(test)]
mod tests;

pub use read::read;
pub use write::{Redact, tree, write};

pub(super) use any::read_typed_struct;
pub(super) use read::{Mistakes, read_noting};
