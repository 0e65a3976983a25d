//! Durations and percentages.

use crate::diagnostic::Span;
use crate::envoy::{Node, Value};

use super::walk::Walk;

/// Units of time with their length in nanoseconds; longer suffixes first.
const UNITS: [(&str, u64); 6] =
    [("ms", 1_000_000), ("us", 1_000), ("ns", 1), ("s", NANOS), ("m", 60 * NANOS), ("h", 3_600 * NANOS)];

const NANOS: u64 = 1_000_000_000;

/// Digits after the point of a `Duration`.
const NANO_DIGITS: usize = 9;

/// `250ms`, `5m` and `1h` beside protobuf's `0.25s`.
pub(super) fn duration(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    let help = "write a number and a unit: `250ms`, `0.5s`, `5m`, `1h`";
    match &node.value {
        Value::String(text) => {
            if let Some(seconds) = seconds(text) {
                return Some(Node::string(node.span, seconds));
            }
            walk.report("invalid-duration", node.span, format!("`{text}` is not a duration"), help);
            None
        }
        Value::Number(number) => {
            let message = format!("the duration {number} has no unit");
            walk.report("invalid-duration", node.span, message, help);
            None
        }
        // The form of google.protobuf.Duration itself is no JSON; reading strictly says so.
        _ => Some(node.clone()),
    }
}

/// A duration in protobuf's form. What is already in seconds stays as it is.
fn seconds(text: &str) -> Option<String> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, unit) = UNITS.iter().find_map(|(suffix, unit)| Some((rest.strip_suffix(suffix)?, *unit)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    if unit == NANOS {
        return Some(text.to_owned());
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = value.checked_mul(u128::from(unit))?;
    if scaled % scale != 0 {
        // Less than a nanosecond would be lost, and with it perhaps the difference between a timeout and none.
        return None;
    }
    let nanos = scaled / scale;
    let (seconds, nanos) = (nanos / u128::from(NANOS), nanos % u128::from(NANOS));
    let fraction = format!("{nanos:0NANO_DIGITS$}");
    let fraction = fraction.trim_end_matches('0');
    let sign = if negative { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{fraction}s") })
}

/// A number of percent as a fraction.
pub(super) fn fractional_percent(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    match &node.value {
        Value::Number(number) => fraction(walk, node.span, number),
        _ => Some(node.clone()),
    }
}

/// A number of percent as the default of a fraction that runtime can override.
pub(super) fn runtime_fractional_percent(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    match &node.value {
        Value::Number(number) => Some(Node::map(node.span, [("default_value", fraction(walk, node.span, number)?)])),
        _ => Some(node.clone()),
    }
}

/// A number of percent.
pub(super) fn percent(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    match &node.value {
        Value::Number(number) => {
            fraction(walk, node.span, number)?;
            Some(Node::map(node.span, [("value", node.clone())]))
        }
        _ => Some(node.clone()),
    }
}

/// A `FractionalPercent` of 0 to 100 % with at most four decimals, the finest that Envoy knows.
fn fraction(walk: &mut Walk<'_>, span: Span, number: &str) -> Option<Node> {
    let Some((numerator, denominator)) = parts(number) else {
        let message = format!("{number} is not a percentage from 0 to 100 with at most four decimals");
        walk.report("invalid-percent", span, message, "");
        return None;
    };
    Some(Node::map(
        span,
        [("numerator", Node::number(span, numerator)), ("denominator", Node::string(span, denominator))],
    ))
}

fn parts(number: &str) -> Option<(u32, &'static str)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // As in any other number: octal to some readers.
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let (digits, denominator, full) = match fraction.len() {
        0 => (0, "HUNDRED", 100),
        1 | 2 => (2, "TEN_THOUSAND", 10_000),
        3 | 4 => (4, "MILLION", 1_000_000),
        _ => return None,
    };
    let text = format!("{whole}{fraction:0<digits$}");
    let numerator = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    (numerator <= full).then_some((numerator, denominator))
}
