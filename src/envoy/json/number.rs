//! Numbers: what their source text means for the field that takes them.
//!
//! Decimal, `0x1f` and `0o17` are integers. `0755` and `1_000` mean different things to different YAML readers, and are
//! refused instead of guessed at.

use super::scalar::shown;
use crate::envoy::{Node, Value};

/// Why a value is not the number that is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The integer types of protobuf.
pub(super) trait Integer: TryFrom<i128> {
    const MIN: i128;
    const MAX: i128;
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Integer for $type {
            const MIN: i128 = <$type>::MIN as i128;
            const MAX: i128 = <$type>::MAX as i128;
        })*
    };
}
integers!(i32, i64, u32, u64);

/// An integer, written as a number or, as JSON writes 64 bits, as a string.
pub(super) fn integer<T: Integer>(node: &Node) -> Result<T, Wrong> {
    let number = exact(node)?;
    T::try_from(number)
        .map_err(|_| Wrong::new("range", format!("{number} does not fit: allowed are {} to {}", T::MIN, T::MAX)))
}

fn exact(node: &Node) -> Result<i128, Wrong> {
    let wrong = || Wrong::new("type", format!("expected an integer, got {}", shown(node)));
    let (Value::Number(text) | Value::String(text)) = &node.value else { return Err(wrong()) };
    refuse_ambiguous(text)?;
    if let Some((text, radix)) = based(text) {
        return digits(text, radix).ok_or_else(wrong);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        return text.parse().map_err(|_| Wrong::new("range", format!("{text} is out of range")));
    }
    let number = decimal(text).ok_or_else(wrong)?;
    if number.fract() != 0.0 {
        return Err(wrong());
    }
    // Beyond 2^53 a double no longer tells neighbouring integers apart.
    if number.abs() > 9_007_199_254_740_992.0 {
        return Err(Wrong::new("range", format!("{text} is out of range")).help("write all digits"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
    Ok(number as i128)
}

/// A double, written as a number, as a string, or as one of the words for infinity and not-a-number.
pub(super) fn double(node: &Node) -> Result<f64, Wrong> {
    let wrong = || Wrong::new("type", format!("expected a number, got {}", shown(node)));
    let (Value::Number(text) | Value::String(text)) = &node.value else { return Err(wrong()) };
    match text.as_str() {
        "NaN" | ".nan" | ".NaN" | ".NAN" => return Ok(f64::NAN),
        "Infinity" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Ok(f64::INFINITY),
        "-Infinity" | "-.inf" | "-.Inf" | "-.INF" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    refuse_ambiguous(text)?;
    let number = match based(text) {
        #[expect(clippy::cast_precision_loss, reason = "as for a decimal of that size")]
        Some((text, radix)) => digits(text, radix).map(|number| number as f64),
        None => decimal(text),
    };
    let number = number.ok_or_else(wrong)?;
    if number.is_finite() { Ok(number) } else { Err(Wrong::new("range", format!("{text} is out of range"))) }
}

/// A float, likewise.
pub(super) fn float(node: &Node) -> Result<f32, Wrong> {
    let number = double(node)?;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float is what the field asks for")]
    let float = number as f32;
    if float.is_infinite() && number.is_finite() {
        return Err(Wrong::new("range", format!("{number} does not fit into 32 bits")));
    }
    Ok(float)
}

fn refuse_ambiguous(text: &str) -> Result<(), Wrong> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let starts_as_number = digits.starts_with(|first: char| first.is_ascii_digit());
    if starts_as_number && digits.contains('_') {
        let help = format!("write `{}`", text.replace('_', ""));
        return Err(Wrong::new("number", format!("`{text}`: underscores are no part of a number")).help(help));
    }
    let has_leading_zero = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if has_leading_zero {
        let sign = &text[..text.len() - digits.len()];
        let plain = digits.trim_start_matches('0');
        let plain = if plain.starts_with(|first: char| first.is_ascii_digit()) { plain } else { "0" };
        let help = format!("write `{sign}{plain}`, or `0o{plain}` if octal is meant");
        let message = format!("`{text}`: a leading zero means octal to some readers and nothing to others");
        return Err(Wrong::new("number", message).help(help));
    }
    Ok(())
}

/// The digits and the radix of `0x…` and `0o…`.
fn based(text: &str) -> Option<(&str, u32)> {
    let hex = text.strip_prefix("0x").map(|digits| (digits, 16));
    hex.or_else(|| text.strip_prefix("0o").map(|digits| (digits, 8)))
}

fn digits(digits: &str, radix: u32) -> Option<i128> {
    // Rust also takes a sign here.
    if digits.starts_with(|first: char| first.is_digit(radix)) {
        i128::from_str_radix(digits, radix).ok()
    } else {
        None
    }
}

/// A decimal number with an optional fraction and exponent.
fn decimal(text: &str) -> Option<f64> {
    // Rust also takes words such as `inf`.
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if is_numeric { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    fn number(text: &str) -> Node {
        Node { span: Span::default(), value: Value::Number(text.into()) }
    }

    #[test]
    fn integers() {
        for (text, expected) in
            [("0", 0), ("+5", 5), ("8080", 8080), ("1e3", 1000), ("5.0", 5), ("0x1f", 31), ("0o17", 15), ("-0", 0)]
        {
            assert_eq!(integer::<u32>(&number(text)), Ok(expected), "{text}");
        }
        assert_eq!(integer::<u64>(&Node::string(Span::default(), "18446744073709551615")), Ok(u64::MAX));
        for (text, code) in [
            ("0755", "number"),
            ("-012", "number"),
            ("1_000", "number"),
            ("4294967296", "range"),
            ("-1", "range"),
            ("1e300", "range"),
            ("99999999999999999999999999999999999999999999", "range"),
            ("1.5", "type"),
            ("0x", "type"),
            ("0x+1", "type"),
            ("", "type"),
            ("-", "type"),
            ("inf", "type"),
            (".inf", "type"),
            ("twelve", "type"),
        ] {
            assert_eq!(integer::<u32>(&number(text)).unwrap_err().code, code, "{text}");
        }
        assert_eq!(
            integer::<u32>(&number("0755")).unwrap_err().help.unwrap(),
            "write `755`, or `0o755` if octal is meant"
        );
        assert_eq!(integer::<u32>(&number("1_000")).unwrap_err().help.unwrap(), "write `1000`");
        assert_eq!(integer::<u32>(&Node::bool(Span::default(), true)).unwrap_err().code, "type");
    }

    #[test]
    fn doubles() {
        for (text, expected) in [(".5", 0.5), ("+5", 5.0), ("5.", 5.0), ("1e3", 1000.0), ("0x10", 16.0), ("0.5", 0.5)] {
            assert_eq!(double(&number(text)), Ok(expected), "{text}");
        }
        assert_eq!(double(&number("-.inf")), Ok(f64::NEG_INFINITY));
        assert!(double(&number(".nan")).unwrap().is_nan());
        for (text, code) in
            [("1e999", "range"), ("01.5", "number"), ("1_0.5", "number"), ("nan", "type"), (".", "type")]
        {
            assert_eq!(double(&number(text)).unwrap_err().code, code, "{text}");
        }
        assert_eq!(float(&number("1e39")).unwrap_err().code, "range");
        assert_eq!(float(&number("1e3")), Ok(1000.0));
    }
}
