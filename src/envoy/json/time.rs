//! The JSON forms of `google.protobuf.Duration` and `Timestamp`.

/// Protobuf's limit: about 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WrongDuration {
    /// It is not decimal seconds with the suffix `s`.
    Form,
    /// It has more than nine digits after the point.
    Precision,
    /// It is longer than protobuf allows.
    Range,
}

impl WrongDuration {
    pub(super) fn message(&self) -> &'static str {
        match self {
            Self::Form => "not a duration",
            Self::Precision => "a duration has at most nine digits after the point",
            Self::Range => "a duration is at most 315576000000s",
        }
    }
}

/// Seconds and nanoseconds, both with the sign.
pub(super) fn parse_duration(text: &str) -> Result<(i64, i32), WrongDuration> {
    let number = text.strip_suffix('s').ok_or(WrongDuration::Form)?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(WrongDuration::Form),
        Some(parts) => parts,
        None => (number, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(WrongDuration::Form);
    }
    if fraction.len() > 9 {
        return Err(WrongDuration::Precision);
    }
    let seconds: i64 = whole.parse().map_err(|_| WrongDuration::Range)?;
    let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| WrongDuration::Form)?;
    if seconds > MAX_SECONDS || (seconds == MAX_SECONDS && nanos > 0) {
        return Err(WrongDuration::Range);
    }
    Ok((sign * seconds, i32::try_from(sign).unwrap_or(1) * nanos))
}

/// What `250ms`, `5m` and the like should have been, in seconds.
pub(super) fn suggest_duration(text: &str) -> Option<String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let nanos_per_unit = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "" | "s" => 1e9,
        "m" | "min" => 6e10,
        "h" => 3.6e12,
        "d" => 8.64e13,
        _ => return None,
    };
    let nanos = (number.parse::<f64>().ok()? * nanos_per_unit).round();
    // Beyond 2^53 nanoseconds (104 days) the result would no longer be exact.
    if !(0.0..9.0e15).contains(&nanos) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be below 2^53")]
    let nanos = nanos as i64;
    Some(format_duration(nanos / 1_000_000_000, i32::try_from(nanos % 1_000_000_000).ok()?))
}

/// The JSON form: as few groups of three digits after the point as it takes.
pub(super) fn format_duration(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    if nanos == 0 {
        format!("{sign}{seconds}s")
    } else if nanos % 1_000_000 == 0 {
        format!("{sign}{seconds}.{:03}s", nanos / 1_000_000)
    } else if nanos % 1_000 == 0 {
        format!("{sign}{seconds}.{:06}s", nanos / 1_000)
    } else {
        format!("{sign}{seconds}.{nanos:09}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_there_and_back() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("0.250s", 0, 250_000_000),
            ("1.000001s", 1, 1_000),
            ("1.000000001s", 1, 1),
            ("-1.500s", -1, -500_000_000),
            ("-0.500s", 0, -500_000_000),
            ("315576000000s", MAX_SECONDS, 0),
        ] {
            assert_eq!(parse_duration(text), Ok((seconds, nanos)), "{text}");
            assert_eq!(format_duration(seconds, nanos), text);
        }
        assert_eq!(parse_duration("0.25s"), Ok((0, 250_000_000)));
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "s", "1", ".5s", "1.s", "250ms", "1 s", "+1s", "1e3s", "--1s", "1.-5s", "٣s"] {
            assert_eq!(parse_duration(text), Err(WrongDuration::Form), "{text}");
        }
        assert_eq!(parse_duration("1.0000000001s"), Err(WrongDuration::Precision));
        assert_eq!(parse_duration("315576000000.5s"), Err(WrongDuration::Range));
        assert_eq!(parse_duration("99999999999999999999s"), Err(WrongDuration::Range));
    }

    #[test]
    fn suggestions() {
        for (text, expected) in
            [("250ms", "0.250s"), ("5m", "300s"), ("1h", "3600s"), (".5s", "0.500s"), ("1", "1s"), ("1.5", "1.500s")]
        {
            assert_eq!(suggest_duration(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(suggest_duration("soon"), None);
        assert_eq!(suggest_duration("1e300h"), None);
    }
}
