//! The rules that Envoy's messages carry in their descriptors.
//!
//! Enters: a message and the tree that it was read from. Leaves: findings about values that Envoy would refuse
//! (`validate.rules`, required fields and oneofs, fields that Envoy does not take by default) and warnings about those that
//! it takes for now (deprecated fields and values, an extension in a slot that it is not made for). Rules mean what the
//! C++ code generated from them does: lengths of strings count code points, patterns match the whole string, and scalars
//! without presence are checked even if they were not written.

mod check;
mod compile;
mod constraint;
mod slots;
mod text;

#[cfg(test)]
mod tests;

pub use check::check;

pub(super) use check::check_except;
pub(super) use compile::MessageRules;

/// Rules in the schema that are written but not understood, as `message.field: rule`. The embedded set has none.
pub fn unsupported(schema: &super::Schema) -> Vec<String> {
    let catalog = schema.catalog();
    let rules = schema.pool().all_messages().filter_map(|message| {
        let number = catalog.number(&message)?;
        Some(catalog.rules(number, &message).unsupported().to_vec())
    });
    rules.flatten().collect()
}
