//! What each message's descriptor says beyond its shape, looked up once.
//!
//! Messages are numbered, and the facts of a field point at its message by number: a walk over a deep message looks names
//! up at its root and at each `Any` only.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, Kind, MessageDescriptor};

use super::any;
use super::rules::MessageRules;

/// All messages of a pool.
#[derive(Debug)]
pub(super) struct Catalog {
    numbers: BTreeMap<String, usize>,
    /// By number: whether the message has a map or an `Any` in it, so that its encoding is not the only one.
    order_open: Vec<bool>,
    rules: Vec<OnceLock<MessageRules>>,
    /// The options that rules and annotations are written in.
    pub(super) options: Options,
}

/// The descriptors of the options that rules and annotations are written in.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) rules: Option<ExtensionDescriptor>,
    pub(super) disabled: Option<ExtensionDescriptor>,
    pub(super) ignored: Option<ExtensionDescriptor>,
    pub(super) required: Option<ExtensionDescriptor>,
    pub(super) disallowed_field: Option<ExtensionDescriptor>,
    pub(super) disallowed_value: Option<ExtensionDescriptor>,
    pub(super) sensitive: Option<ExtensionDescriptor>,
}

impl Catalog {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
        let numbers: BTreeMap<String, usize> =
            messages.iter().enumerate().map(|(number, message)| (message.full_name().to_owned(), number)).collect();
        let extension = |name| pool.get_extension_by_name(name);
        Self {
            order_open: order_open(&messages, &numbers),
            rules: messages.iter().map(|_| OnceLock::new()).collect(),
            numbers,
            options: Options {
                rules: extension("validate.rules"),
                disabled: extension("validate.disabled"),
                ignored: extension("validate.ignored"),
                required: extension("validate.required"),
                disallowed_field: extension("envoy.annotations.disallowed_by_default"),
                disallowed_value: extension("envoy.annotations.disallowed_by_default_enum"),
                sensitive: extension("udpa.annotations.sensitive"),
            },
        }
    }

    /// The number of a message.
    pub(super) fn number(&self, message: &MessageDescriptor) -> Option<usize> {
        self.numbers.get(message.full_name()).copied()
    }

    /// The rules of a message, compiled at the first call.
    pub(super) fn rules(&self, number: usize, message: &MessageDescriptor) -> &MessageRules {
        self.rules[number].get_or_init(|| MessageRules::compile(self, message))
    }

    /// Whether a message can be encoded in more than one way.
    pub(super) fn is_order_open(&self, message: &MessageDescriptor) -> bool {
        self.number(message).is_none_or(|number| self.order_open[number])
    }
}

/// Spreads "has a map or an `Any`" from the messages that have one to the messages that contain them.
fn order_open(messages: &[MessageDescriptor], numbers: &BTreeMap<String, usize>) -> Vec<bool> {
    let mut open = vec![false; messages.len()];
    let mut containers: Vec<Vec<usize>> = vec![Vec::new(); messages.len()];
    let mut pending = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let mut own = message.full_name() == any::ANY;
        for field in message.fields() {
            own |= field.is_map();
            if let Kind::Message(inner) = field.kind()
                && let Some(inner) = numbers.get(inner.full_name())
            {
                containers[*inner].push(number);
            }
        }
        if own {
            open[number] = true;
            pending.push(number);
        }
    }
    while let Some(number) = pending.pop() {
        for &container in &containers[number] {
            if !std::mem::replace(&mut open[container], true) {
                pending.push(container);
            }
        }
    }
    open
}
