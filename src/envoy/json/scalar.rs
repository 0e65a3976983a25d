//! Booleans, strings, bytes and numbers.

use super::number::{self, Integer, Wrong};
use super::read::Reader;
use crate::envoy::{Node, Value};

impl Reader<'_> {
    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        let message = format!("expected true or false, got {}", shown(node));
        match &node.value {
            Value::Bool(value) => return Some(*value),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "n" | "no" | "on" | "off" => {
                    self.error_help("type", node.span, message, "YAML 1.2 has only true and false");
                }
                "true" | "false" => self.error_help("type", node.span, message, "write it without quotes"),
                _ => self.error("type", node.span, message),
            },
            _ => self.error("type", node.span, message),
        }
        None
    }

    pub(super) fn string(&mut self, node: &Node) -> Option<String> {
        let message = format!("expected a string, got {}", shown(node));
        match &node.value {
            Value::String(text) => return Some(text.clone()),
            Value::Number(text) => self.error_help("type", node.span, message, format!("quote it: \"{text}\"")),
            Value::Bool(value) => self.error_help("type", node.span, message, format!("quote it: \"{value}\"")),
            _ => self.error("type", node.span, message),
        }
        None
    }

    pub(super) fn bytes(&mut self, node: &Node) -> Option<bytes::Bytes> {
        use base64::Engine as _;
        use base64::alphabet::{STANDARD, URL_SAFE};
        use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
        const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        const ENGINES: [GeneralPurpose; 2] =
            [GeneralPurpose::new(&STANDARD, CONFIG), GeneralPurpose::new(&URL_SAFE, CONFIG)];

        let text = self.string(node)?;
        let decoded = ENGINES.iter().find_map(|engine| engine.decode(&text).ok());
        if decoded.is_none() {
            let help = "bytes are written in base64, with either alphabet";
            self.error_help("base64", node.span, "this is not base64", help);
        }
        decoded.map(bytes::Bytes::from)
    }

    pub(super) fn integer<T: Integer>(&mut self, node: &Node) -> Option<T> {
        number::integer(node).map_err(|wrong| self.number_error(node, wrong)).ok()
    }

    pub(super) fn double(&mut self, node: &Node) -> Option<f64> {
        number::double(node).map_err(|wrong| self.number_error(node, wrong)).ok()
    }

    pub(super) fn float(&mut self, node: &Node) -> Option<f32> {
        number::float(node).map_err(|wrong| self.number_error(node, wrong)).ok()
    }

    pub(super) fn number_error(&mut self, node: &Node, wrong: Wrong) {
        let Wrong { code, message, help } = wrong;
        match help {
            Some(help) => self.error_help(code, node.span, message, help),
            None => self.error(code, node.span, message),
        }
    }
}

/// A value as messages show it: its type and, if it is short, its text.
pub(super) fn shown(node: &Node) -> String {
    match &node.value {
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(text) => format!("the number `{text}`"),
        Value::String(text) if text.chars().count() <= 40 => format!("the string `{text}`"),
        _ => node.describe().to_owned(),
    }
}
