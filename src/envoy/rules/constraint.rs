//! Constraints on numbers, enums, bytes and durations.

use std::fmt::Display;

use prost_reflect::{DynamicMessage, EnumDescriptor, Value};

use super::text::TextRule;

/// What a field's value has to fulfil, by its type.
#[derive(Debug, Default)]
pub(super) enum Constraint {
    /// Nothing.
    #[default]
    None,
    Integer {
        range: Range<i128>,
        ignore_empty: bool,
    },
    Double {
        range: Range<f64>,
        ignore_empty: bool,
    },
    /// In nanoseconds.
    Duration(Range<i128>),
    Bool(bool),
    Text(Box<TextRule>),
    Bytes {
        min: u64,
        max: u64,
    },
    Enum(EnumRule),
    Any {
        allowed: Vec<String>,
        forbidden: Vec<String>,
    },
    List(Box<ListRule>),
    Map(Box<MapRule>),
}

#[derive(Debug)]
pub(super) struct ListRule {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) unique: bool,
    pub(super) ignore_empty: bool,
    pub(super) items: ValueRule,
}

#[derive(Debug)]
pub(super) struct MapRule {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) ignore_empty: bool,
    pub(super) keys: ValueRule,
    pub(super) values: ValueRule,
}

/// The rule of a single value: a field, an element, a key.
#[derive(Debug, Default)]
pub(super) struct ValueRule {
    /// The message must be there.
    pub(super) required: bool,
    /// The rules inside the message do not count.
    pub(super) skip: bool,
    pub(super) constraint: Constraint,
}

#[derive(Debug, Default)]
pub(super) struct EnumRule {
    pub(super) constant: Option<i32>,
    pub(super) defined_only: bool,
    pub(super) allowed: Vec<i32>,
    pub(super) forbidden: Vec<i32>,
}

impl EnumRule {
    pub(super) fn violation(&self, descriptor: &EnumDescriptor, number: i32) -> Option<String> {
        let value = descriptor.get_value(number);
        if self.defined_only && value.is_none() {
            return Some(format!("{number} is not a value of {}", descriptor.full_name()));
        }
        let refused = self.constant.is_some_and(|constant| constant != number)
            || (!self.allowed.is_empty() && !self.allowed.contains(&number))
            || self.forbidden.contains(&number);
        refused.then(|| {
            let name = value.map_or_else(|| number.to_string(), |value| value.name().to_owned());
            format!("{name} is not allowed here")
        })
    }
}

/// Bounds of a number.
#[derive(Debug)]
pub(super) struct Range<T> {
    pub(super) constant: Option<T>,
    pub(super) lt: Option<T>,
    pub(super) lte: Option<T>,
    pub(super) gt: Option<T>,
    pub(super) gte: Option<T>,
    pub(super) allowed: Vec<T>,
    pub(super) forbidden: Vec<T>,
}

/// One end of a range.
#[derive(Clone, Copy)]
struct Bound<T> {
    at: T,
    inclusive: bool,
}

impl<T: PartialOrd + Copy> Range<T> {
    /// What is wrong with a number; `shown` is how numbers are written in the message.
    pub(super) fn violation<D: Display>(&self, number: T, shown: impl Fn(T) -> D) -> Option<String> {
        let expected = self.expected(number, &shown)?;
        Some(format!("must be {expected}, not {}", shown(number)))
    }

    /// What the number should be, if it is not that.
    fn expected<D: Display>(&self, number: T, shown: &impl Fn(T) -> D) -> Option<String> {
        if let Some(constant) = self.constant
            && number != constant
        {
            return Some(shown(constant).to_string());
        }
        let bound = |exclusive: Option<T>, inclusive: Option<T>| {
            let exclusive = exclusive.map(|at| Bound { at, inclusive: false });
            exclusive.or(inclusive.map(|at| Bound { at, inclusive: true }))
        };
        let (low, high) = (bound(self.gt, self.gte), bound(self.lt, self.lte));
        let above = |low: Bound<T>| number > low.at || (low.inclusive && number == low.at);
        let below = |high: Bound<T>| number < high.at || (high.inclusive && number == high.at);
        let at_least =
            |low: Bound<T>| format!("{} {}", if low.inclusive { "at least" } else { "more than" }, shown(low.at));
        let at_most =
            |high: Bound<T>| format!("{} {}", if high.inclusive { "at most" } else { "less than" }, shown(high.at));
        let expected = match (low, high) {
            // Bounds the wrong way round exclude what is between them.
            (Some(low), Some(high)) if high.at < low.at => {
                (!above(low) && !below(high)).then(|| format!("{} or {}", at_most(high), at_least(low)))
            }
            (Some(low), Some(high)) => {
                (!above(low) || !below(high)).then(|| format!("{} and {}", at_least(low), at_most(high)))
            }
            (Some(low), None) => (!above(low)).then(|| at_least(low)),
            (None, Some(high)) => (!below(high)).then(|| at_most(high)),
            (None, None) => None,
        };
        let list = |values: &[T]| values.iter().map(|value| shown(*value).to_string()).collect::<Vec<_>>().join(", ");
        expected
            .or_else(|| {
                let missed = !self.allowed.is_empty() && !self.allowed.contains(&number);
                missed.then(|| format!("one of {}", list(&self.allowed)))
            })
            .or_else(|| self.forbidden.contains(&number).then(|| format!("none of {}", list(&self.forbidden))))
    }
}

/// A value of any integer type.
pub(super) fn as_integer(value: &Value) -> Option<i128> {
    Some(match value {
        Value::I32(value) => i128::from(*value),
        Value::I64(value) => i128::from(*value),
        Value::U32(value) => i128::from(*value),
        Value::U64(value) => i128::from(*value),
        _ => return None,
    })
}

/// A value of either floating-point type.
pub(super) fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::F32(value) => Some(f64::from(*value)),
        Value::F64(value) => Some(*value),
        _ => None,
    }
}

/// A `google.protobuf.Duration` in nanoseconds.
pub(super) fn as_nanoseconds(value: &Value) -> Option<i128> {
    nanoseconds(value.as_message()?)
}

/// A `google.protobuf.Duration` in nanoseconds.
pub(super) fn nanoseconds(duration: &DynamicMessage) -> Option<i128> {
    let seconds = duration.get_field_by_number(1)?.as_i64()?;
    let nanos = duration.get_field_by_number(2)?.as_i32()?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}
