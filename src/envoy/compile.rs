//! JSON → a message that Envoy would take.

use super::{DynamicMessage, MessageDescriptor, Node, Path, Schema, json, rules};
use crate::diagnostic::Findings;

/// Reads a message and checks its rules; one mistake makes one finding.
///
/// A value that could not be read is absent from the message, or an empty element of a list, so the rules would call it
/// missing or wrong; they keep quiet about every path at which, or below which, reading already found an error, and about
/// all that it hides.
pub fn compile(
    schema: &Schema,
    descriptor: &MessageDescriptor,
    node: &Node,
    path: &mut Path,
    findings: &mut Findings,
) -> DynamicMessage {
    let (message, mistakes) = json::read_noting(schema, descriptor, node, path, findings, 0);
    rules::check_except(schema, &message, node, path, findings, &mistakes);
    message
}
