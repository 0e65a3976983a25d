//! HTTP filters: the chain that they form, and those that do nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Segment, field};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
/// A SHA-1 digest in base64.
const SHA_LENGTH: usize = 28;
/// Filters that end a chain, or may do so.
const TERMINAL: [&str; 7] = [
    "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
    "envoy.extensions.filters.http.composite.v3.Composite",
    "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
    "envoy.extensions.filters.http.file_server.v3.FileServerConfig",
    "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
    "envoy.extensions.filters.http.mcp_router.v3.McpRouter",
    ROUTER,
];

/// The filters of a connection manager.
pub(super) fn manager(site: &Site<'_>, findings: &mut Findings) {
    let filters: Vec<_> = field::messages(site.message, "http_filters").collect();
    let message = |filter: &DynamicMessage| field::message(filter, "typed_config").and_then(field::type_name);
    duplicates(site, &filters, findings);
    let Some((last, before)) = filters.split_last() else {
        if site.is_whole() {
            let text = "this connection manager has no filters: nothing routes its requests";
            findings.push(site.warning("router", steps![], text).help("add the filter `router` to `http_filters`"));
        }
        return;
    };
    for (index, filter) in before.iter().enumerate() {
        if message(filter).is_some_and(|name| name == ROUTER) {
            let text = "the router is not the last HTTP filter: Envoy refuses the listener";
            findings.push(
                site.error("router", steps!["http_filters", index], text).help("move it to the end of `http_filters`"),
            );
        }
    }
    let end = before.len();
    if let Some(name) = message(last) {
        let is_ours = site.schema.extensions().knows(&name) && !TERMINAL.contains(&name.as_str());
        if is_ours && site.is_whole() && !before.iter().any(|filter| message(filter).is_some_and(|name| name == ROUTER))
        {
            let text = "the last HTTP filter passes requests on, and nothing follows: Envoy refuses the listener";
            findings.push(
                site.error("router", steps!["http_filters", end], text).help("add the filter `router` behind it"),
            );
        } else if name == ROUTER && field::boolean(last, "disabled") {
            let text = "the router is disabled, and it is what ends the chain: Envoy refuses the listener";
            findings
                .push(site.error("router", steps!["http_filters", end, "disabled"], text).help("remove `disabled`"));
        }
    }
}

fn duplicates(site: &Site<'_>, filters: &[&DynamicMessage], findings: &mut Findings) {
    let is_api = site.path.segments().first().is_some_and(|first| *first == Segment::Field("api_listener".into()));
    let mut first = BTreeMap::new();
    for (index, filter) in filters.iter().enumerate() {
        let name = field::string(filter, "name").unwrap_or_default();
        let Some(other) = first.insert(name, index) else { continue };
        // A second router is one that is not the last, which is complained about.
        if field::message(filter, "typed_config").and_then(field::type_name).is_some_and(|name| name == ROUTER) {
            continue;
        }
        let here = steps!["http_filters", index];
        let help = "give each a `name` of its own, so that routes can configure them apart";
        let finding = if is_api {
            let text = format!("two HTTP filters are called `{name}`: gRPC clients refuse the listener");
            site.error("duplicate-filter", here, text)
        } else {
            let text = format!("two HTTP filters are called `{name}`: what routes say of it counts for both");
            site.warning("duplicate-filter", here, text)
        };
        findings.push(finding.related(site.span(steps!["http_filters", other]), "the other one").help(help));
    }
}

/// The fault filter, or its configuration for a route.
pub(super) fn fault(site: &Site<'_>, findings: &mut Findings) {
    for part in ["delay", "abort", "response_rate_limit"] {
        let Some(fault) = field::message(site.message, part) else { continue };
        if field::message(fault, "percentage").is_none() && site.is_whole() {
            let text = format!("this `{part}` happens to no request: it has no `percentage`");
            findings.push(site.warning("no-op-filter", steps![part], text).help("add `percentage: 100`, or less"));
        }
    }
}

/// The local rate limit, or its configuration for a route.
pub(super) fn local_ratelimit(site: &Site<'_>, findings: &mut Findings) {
    if !site.is_whole() {
        return;
    }
    if field::message(site.message, "token_bucket").is_none() {
        if site.path.segments().iter().any(|segment| *segment == Segment::Field("typed_per_filter_config".into())) {
            let text = "`token_bucket` is required in the configuration for a route";
            findings.push(site.error("required", steps![], text).help("Envoy refuses the route table without it"));
        }
        return;
    }
    let lacks = |name: &str| field::message(site.message, name).is_none();
    let text = match (lacks("filter_enabled"), lacks("filter_enforced")) {
        (true, _) => "this rate limit looks at no request: it has no `filter_enabled`",
        (false, true) => "this rate limit only counts and refuses no request: it has no `filter_enforced`",
        (false, false) => return,
    };
    findings.push(
        site.warning("no-op-filter", steps![], text).help("add `filter_enabled: 100` and `filter_enforced: 100`"),
    );
}

/// The users of the basic authentication filter. No message repeats any of it: it holds what passwords are verified with.
pub(super) fn users(site: &Site<'_>, findings: &mut Findings) {
    let Some(text) = field::message(site.message, "users").and_then(|users| field::string(users, "inline_string"))
    else {
        return;
    };
    let mut names = BTreeSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (name, hash) = line.split_once(':').unwrap_or_default();
        let what = if name.is_empty() {
            "has no user name before a `:`"
        } else if hash.strip_prefix("{SHA}").is_none_or(|hash| hash.len() != SHA_LENGTH) {
            "has no password in the one form that Envoy takes, `{SHA}` and 28 characters"
        } else if !names.insert(name) {
            "is for a user that has one already"
        } else {
            continue;
        };
        let text = format!("line {} of these users {what}: Envoy refuses the listener", index + 1);
        let finding = site.error("htpasswd", steps!["users", "inline_string"], text);
        findings.push(finding.help("make lines with `htpasswd -nbs USER PASSWORD`"));
    }
}
