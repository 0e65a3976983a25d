//! Retry policies.

use super::site::{Site, steps};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::field;

/// What Envoy can retry on.
const TOKENS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The retry policy of a route or a virtual host.
pub(super) fn policy(site: &Site<'_>, findings: &mut Findings) {
    let says_when = field::string(site.message, "retry_on").is_some_and(|on| !on.is_empty());
    if !says_when && site.is_whole() {
        let text = "this retry policy retries nothing: it has no `retry_on`";
        findings.push(
            site.warning("no-op-retry", steps![], text)
                .help("add `retry_on`, such as `retry_on: 5xx,reset`; without it only requests with the header `x-envoy-retry-on` are retried"),
        );
    }
    tokens(site, findings);
}

/// The tokens of any `retry_on`.
pub(super) fn tokens(site: &Site<'_>, findings: &mut Findings) {
    let Some(on) = field::string(site.message, "retry_on") else { return };
    for token in on.split(',').map(str::trim).filter(|token| !token.is_empty() && !TOKENS.contains(token)) {
        let text = format!("`{token}` is nothing to retry on: Envoy ignores it silently");
        let help = match did_you_mean(token, TOKENS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", TOKENS.join(", ")),
        };
        findings.push(site.error_unless_verbatim("unknown-retry-on", steps!["retry_on"], text).help(help));
    }
}
