//! Enums: by name in any case, as Envoy takes them, or by number.

use prost_reflect::{EnumDescriptor, EnumValueDescriptor};

use super::read::Reader;
use super::scalar::shown;
use crate::diagnostic::did_you_mean;
use crate::envoy::{Node, Value};

/// More values than this are not listed in a message.
const LISTED: usize = 12;

impl Reader<'_> {
    pub(super) fn enumeration(&mut self, descriptor: &EnumDescriptor, node: &Node) -> Option<i32> {
        match &node.value {
            Value::Null if descriptor.full_name() == "google.protobuf.NullValue" => Some(0),
            Value::String(name) => self.enum_name(descriptor, name, node),
            Value::Number(_) => super::number::integer(node).map_err(|wrong| self.number_error(node, wrong)).ok(),
            _ => {
                let message = format!("expected the name of a {} value, got {}", descriptor.full_name(), shown(node));
                self.error("type", node.span, message);
                None
            }
        }
    }

    fn enum_name(&mut self, descriptor: &EnumDescriptor, name: &str, node: &Node) -> Option<i32> {
        if let Some(value) = descriptor.get_value_by_name(name) {
            return Some(value.number());
        }
        let upper = name.to_ascii_uppercase();
        if let Some(value) = descriptor.get_value_by_name(&upper) {
            self.warning("enum-case", node.span, format!("`{name}` should be written `{}`", value.name()));
            return Some(value.number());
        }
        let values: Vec<EnumValueDescriptor> = descriptor.values().collect();
        let names = || values.iter().map(EnumValueDescriptor::name);
        let help = match did_you_mean(&upper, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if values.len() <= LISTED => format!("it is one of {}", names().collect::<Vec<_>>().join(", ")),
            None => format!("it is one of {} names, such as {}", values.len(), values[0].name()),
        };
        self.error_help("enum", node.span, format!("`{name}` is not a value of {}", descriptor.full_name()), help);
        None
    }
}
