//! Configurations of filters for a route, and the filters that they are for.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Filter, Manager, Override, Routes};
use super::site::{below, is_inside, steps};
use super::{Checked, Noted};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{Kind, Schema};

const CORS: &str = "envoy.extensions.filters.http.cors.v3.Cors";

/// Filters that take no configuration for a route, by the packages of their messages; Envoy 1.40 said so of each.
const WHOLE: [&str; 27] = [
    "a2a",
    "adaptive_concurrency",
    "admission_control",
    "alternate_protocols_cache",
    "body_size_limit",
    "cache",
    "cache_v2",
    "cdn_loop",
    "connect_grpc_bridge",
    "credential_injector",
    "decompressor",
    "gcp_authn",
    "grpc_http1_bridge",
    "grpc_stats",
    "grpc_web",
    "health_check",
    "ip_tagging",
    "mcp_router",
    "original_src",
    "proto_api_scrubber",
    "proto_message_extraction",
    "rate_limit_quota",
    "router",
    "sse_to_metadata",
    "tap",
    "thrift_to_metadata",
    "wasm",
];

/// The filters of a route table's connection managers: by name, the messages of their configurations.
type Filters<'a> = BTreeMap<&'a str, BTreeSet<Option<&'a str>>>;

pub(super) fn check(schema: &Schema, set: &[&Noted<'_>], findings: &mut Findings) {
    let mut users: BTreeMap<&str, Vec<&Manager>> = BTreeMap::new();
    for noted in set {
        for manager in &noted.facts.managers {
            if let Routes::Named(name) = &manager.routes {
                users.entry(name).or_default().push(manager);
            }
        }
    }
    let tables: BTreeMap<&str, &Noted<'_>> = set
        .iter()
        .filter(|noted| noted.resource.native.kind == Kind::Route)
        .map(|noted| (noted.resource.native.name.as_str(), *noted))
        .collect();
    for (name, table) in &tables {
        let filters = filters(users.get(name).into_iter().flatten().copied());
        if !filters.is_empty() {
            table.facts.overrides.iter().for_each(|given| judge(schema, table.resource, given, &filters, findings));
        }
    }
    for noted in set {
        for manager in &noted.facts.managers {
            let given: Vec<&Override> = match &manager.routes {
                Routes::Inline => {
                    let own = noted.facts.overrides.iter().filter(|given| is_inside(&given.path, &manager.path));
                    let own: Vec<_> = own.collect();
                    let filters = filters([manager]);
                    for given in &own {
                        judge(schema, noted.resource, given, &filters, findings);
                    }
                    own
                }
                Routes::Named(name) => match tables.get(name.as_str()) {
                    Some(table) if !table.resource.broken => table.facts.overrides.iter().collect(),
                    _ => continue,
                },
                Routes::Elsewhere => continue,
            };
            idle(noted.resource, manager, &given, findings);
        }
    }
}

/// Configurations for a route of filters that take none.
pub(super) fn unsupported(resource: &Checked, facts: &Facts, findings: &mut Findings) {
    for Override { path, filter, message, .. } in facts.overrides.iter().filter(|given| !given.optional) {
        let rest = message.as_deref().and_then(|message| message.strip_prefix("envoy.extensions.filters.http."));
        if rest.and_then(|rest| rest.split('.').next()).is_some_and(|package| WHOLE.contains(&package)) {
            let text =
                format!("the filter `{filter}` takes no configuration for a route: Envoy refuses the route table");
            let help = "configure it in `http_filters`; here it can only be switched, with \
                        `{\"@type\": …/envoy.config.route.v3.FilterConfig, disabled: true}`";
            findings.push(resource.error("no-route-config", path, text).help(help));
        }
    }
}

fn filters<'a>(managers: impl IntoIterator<Item = &'a Manager>) -> Filters<'a> {
    let mut filters = Filters::new();
    for Filter { name, message, optional: _ } in managers.into_iter().flat_map(|manager| &manager.filters) {
        filters.entry(name).or_default().insert(message.as_deref());
    }
    filters
}

/// One configuration, and the filter of its name.
fn judge(schema: &Schema, resource: &Checked, given: &Override, filters: &Filters<'_>, findings: &mut Findings) {
    let Override { path, filter, message, optional: _ } = given;
    let Some(messages) = filters.get(filter.as_str()) else {
        let text = format!("there is no HTTP filter `{filter}` where these routes are used: this changes nothing");
        let help = match did_you_mean(filter, filters.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add the filter to `http_filters`; the key is the name that it has there".to_owned(),
        };
        findings.push(resource.warning("unused-filter-config", path, text).help(help));
        return;
    };
    let Some(message) = message.as_deref().filter(|message| schema.extensions().knows(message)) else { return };
    let expected = |own: Option<&str>| {
        let extensions = schema.extensions().in_category("envoy.filters.http");
        let extension = extensions.iter().find(|extension| extension.message.as_deref() == own)?;
        extension.per_route.clone().or_else(|| extension.message.clone())
    };
    let expected: Option<BTreeSet<String>> = messages.iter().copied().map(expected).collect();
    let Some(expected) = expected.filter(|expected| !expected.contains(message)) else { return };
    let Some(right) = expected.first() else { return };
    let text = format!("the filter `{filter}` does not take a {message} for a route");
    let help = format!("its configuration for a route is a {right}");
    findings.push(resource.error_unless_verbatim("filter-config-type", path, text).help(help));
}

/// Filters that do nothing until a route says what.
fn idle(resource: &Checked, manager: &Manager, given: &[&Override], findings: &mut Findings) {
    if resource.broken {
        return;
    }
    for (index, filter) in manager.filters.iter().enumerate() {
        let told = given.iter().any(|given| given.filter == filter.name);
        if filter.message.as_deref() == Some(CORS) && !told {
            let path = below(&manager.path, steps!["http_filters", index]);
            let text = "the filter `cors` does nothing: no route has a policy for it";
            let help = format!(
                "add `typed_per_filter_config: {{{}: {{allow_origin_string_match: [...]}}}}` to a virtual host or route",
                filter.name
            );
            findings.push(resource.warning("no-op-filter", &path, text).help(help));
        }
    }
}
