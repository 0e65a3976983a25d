//! Health checks of clusters.

use std::collections::BTreeMap;

use super::Checked;
use super::facts::Facts;
use super::site::{Site, below, steps};
use crate::diagnostic::Findings;
use crate::envoy::{Kind, Path, field};

/// Several health checks of one cluster are told apart by their names.
pub(super) fn names(site: &Site<'_>, findings: &mut Findings) {
    let checks: Vec<_> = field::messages(site.message, "health_checks").collect();
    if checks.len() < 2 || !site.is_whole() {
        return;
    }
    let mut first = BTreeMap::new();
    for (index, check) in checks.into_iter().enumerate() {
        let name = field::string(check, "name").unwrap_or_default();
        if name.is_empty() {
            let text = "one of several health checks needs a `name`: Envoy refuses the cluster";
            findings.push(
                site.error("health-check-name", steps!["health_checks", index], text)
                    .help("give each a `name` of its own"),
            );
        } else if let Some(other) = first.insert(name, index) {
            let text = format!("two health checks are called `{name}`: Envoy refuses the cluster");
            findings.push(
                site.error("health-check-name", steps!["health_checks", index, "name"], text)
                    .related(site.span(steps!["health_checks", other, "name"]), "the other one")
                    .help("give each a `name` of its own"),
            );
        }
    }
}

/// Health checks in gRPC, when all of the cluster is known.
pub(super) fn grpc(resource: &Checked, facts: &Facts, findings: &mut Findings) {
    if resource.native.kind != Kind::Cluster || facts.http2 || resource.broken {
        return;
    }
    for (index, check) in field::messages(&resource.message, "health_checks").enumerate() {
        if field::message(check, "grpc_health_check").is_some() {
            let text = "gRPC health checks need HTTP/2, and this cluster speaks HTTP/1.1: Envoy refuses it";
            let path = below(&Path::new(), steps!["health_checks", index, "grpc_health_check"]);
            let finding = resource.error("grpc-http1", &path, text);
            findings.push(finding.help("add `http2_protocol_options: {}` to the cluster"));
        }
    }
}

/// The ranges of status codes in an HTTP health check.
pub(super) fn statuses(site: &Site<'_>, findings: &mut Findings) {
    for list in ["expected_statuses", "retriable_statuses"] {
        for (index, range) in field::messages(site.message, list).enumerate() {
            let [start, end] = ["start", "end"].map(|name| field::signed(range, name).unwrap_or_default());
            if (100 <= start && start < end && end <= 600) || !site.is_whole() {
                continue;
            }
            let text = format!("{start} to {end} is no range of status codes: Envoy refuses the cluster");
            let help = "`start` is 100 or more, and `end`, at most 600, is the first that is not meant: \
                        `{start: 200, end: 300}`";
            findings.push(site.error("invalid-value", steps![list, index], text).help(help));
        }
    }
}

/// What a TCP health check sends and expects.
pub(super) fn payload(site: &Site<'_>, findings: &mut Findings) {
    let Some(text) = field::string(site.message, "text") else { return };
    if text.len() % 2 != 0 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = "the bytes of a health check are written in hexadecimal: Envoy refuses the cluster";
        let help = "two digits for each byte: `50494e47` is `PING`";
        findings.push(site.error("invalid-value", steps!["text"], message).help(help));
    }
}
