//! Limits: a maximum below its minimum, and values that Envoy measures when it loads them.

use super::site::{Site, Step, rows, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, field};

/// Envoy fills the token buckets of its local rate limit at most this often.
const SHORTEST_FILL: i128 = 50 * MILLISECOND;
/// Envoy's largest Maglev table.
const LARGEST_TABLE: u64 = 5_000_011;
const MILLISECOND: i128 = 1_000_000;
const SECOND: i128 = 1000 * MILLISECOND;

/// A message, its lower limit, what that is if it is left out, and the upper limit.
const PAIRS: &[(&str, &str, Option<i128>, &str)] = &[
    ("envoy.config.cluster.v3.Cluster.RefreshRate", "base_interval", None, "max_interval"),
    ("envoy.config.cluster.v3.Cluster.RingHashLbConfig", "minimum_ring_size", Some(1024), "maximum_ring_size"),
    ("envoy.config.cluster.v3.OutlierDetection", "base_ejection_time", Some(30 * SECOND), "max_ejection_time"),
    ("envoy.config.core.v3.BackoffStrategy", "base_interval", None, "max_interval"),
    ("envoy.config.route.v3.RetryPolicy.RetryBackOff", "base_interval", None, "max_interval"),
    (
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        "minimum_ring_size",
        Some(1024),
        "maximum_ring_size",
    ),
];

/// An upper limit that is below the lower one.
pub(super) fn pairs(name: &str, site: &Site<'_>, findings: &mut Findings) {
    for (_, low, default, high) in rows(PAIRS, name, |row| row.0) {
        let given = number(site.message, low);
        let (Some(least), Some(most)) = (given.or(*default), number(site.message, high)) else { continue };
        if most >= least || !site.is_whole() {
            continue;
        }
        let what = if given.is_some() { "" } else { ", which has a default" };
        let text = format!("`{high}` is less than `{low}`{what}: Envoy refuses the resource");
        let mut finding = site.error("inverted-limits", &[Step::Field(high)], text);
        if given.is_some() {
            finding = finding.related(site.span(&[Step::Field(low)]), "the lower limit");
        }
        findings.push(finding.help(format!("raise `{high}`, or lower `{low}`")));
    }
}

/// A time that runs backwards. Envoy measures them all when it loads them.
pub(super) fn duration(site: &Site<'_>, findings: &mut Findings) {
    if nanoseconds(site.message) < 0 && site.is_whole() {
        let text = "a duration cannot be negative: Envoy refuses the resource";
        findings.push(site.error("invalid-value", steps![], text).help("write `0s` to switch a timeout off"));
    }
}

/// How often the local rate limit gets new tokens.
pub(super) fn bucket(site: &Site<'_>, findings: &mut Findings) {
    let bucket = field::message(site.message, "token_bucket");
    if bucket.and_then(|bucket| number(bucket, "fill_interval")).is_some_and(|interval| interval < SHORTEST_FILL) {
        let text = "a local rate limit gets new tokens every 50 ms at most: Envoy refuses a shorter `fill_interval`";
        findings.push(
            site.error("invalid-value", steps!["token_bucket", "fill_interval"], text)
                .help("write `50ms` or more, with as many more `tokens_per_fill`"),
        );
    }
}

/// The size of a Maglev table.
pub(super) fn maglev(site: &Site<'_>, findings: &mut Findings) {
    let given = field::wrapped(site.message, "table_size");
    // Larger ones break a rule of the field.
    let Some(length) = given.filter(|length| *length <= LARGEST_TABLE) else { return };
    let is_prime = length > 1 && (2..=length.isqrt()).all(|divisor| length % divisor != 0);
    if !is_prime {
        let text = format!("{length} is no prime number, and the size of a Maglev table must be one");
        findings.push(
            site.error("invalid-value", steps!["table_size"], text)
                .help("leave it out for 65537, or write another prime number such as 16381 or 131071"),
        );
    }
}

/// A `Duration` in nanoseconds, or a wrapped number.
fn number(holder: &DynamicMessage, name: &str) -> Option<i128> {
    let value = field::message(holder, name)?;
    Some(field::wrapped(holder, name).filter(|number| *number > 0).map_or_else(|| nanoseconds(value), i128::from))
}

fn nanoseconds(duration: &DynamicMessage) -> i128 {
    let part = |name| field::signed(duration, name).map_or(0, i128::from);
    part("seconds") * SECOND + part("nanos")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_pair_exists() {
        let schema = Schema::embedded();
        for (name, low, _, high) in PAIRS {
            let message = schema.message(name).unwrap_or_else(|| panic!("{name}"));
            assert!([low, high].iter().all(|field| message.get_field_by_name(field).is_some()), "{name}");
        }
    }
}
