//! Routes that cannot do what they say.

use super::site::{Site, steps};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{DynamicMessage, field};

/// Envoy's limit of a `direct_response` body, unless the route table says otherwise.
const BODY: u64 = 4096;
/// What rewrites a path.
const REWRITES: [&str; 3] = ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy"];

/// One route.
pub(super) fn route(site: &Site<'_>, findings: &mut Findings) {
    let Some(matcher) = field::message(site.message, "match") else { return };
    paths(site, matcher, findings);
    let Some(action) = field::message(site.message, "route") else { return };
    let has_prefix = field::string(action, "prefix_rewrite").is_some_and(|prefix| !prefix.is_empty());
    if has_prefix && field::message(matcher, "safe_regex").is_some() {
        let text = "`prefix_rewrite` replaces the whole path where the route matches by a regular expression";
        let help = "use `regex_rewrite`, with the part to be replaced as its pattern";
        findings.push(site.warning("prefix-rewrite", steps!["route", "prefix_rewrite"], text).help(help));
    }
    let unlimited = ["timeout", "max_stream_duration"].iter().any(|name| field::message(action, name).is_some());
    if field::message(matcher, "grpc").is_some() && !unlimited && site.is_whole() {
        let text = "Envoy ends each call on this gRPC route after 15 s, streams as well: it has no `timeout`";
        let help = "add `timeout: 0s` and `max_stream_duration: {grpc_timeout_header_max: 0s}` to `route` to let calls take \
                    as long as their deadline, or the timeout that you mean";
        findings.push(site.warning("grpc-timeout", steps!["match"], text).help(help));
    }
}

fn paths(site: &Site<'_>, matcher: &DynamicMessage, findings: &mut Findings) {
    for kind in ["prefix", "path"] {
        let Some(path) = field::string(matcher, kind).filter(|path| !path.is_empty()) else { continue };
        let here = steps!["match", kind];
        if path.contains('?') {
            let text = format!("the {kind} `{path}` never matches: paths are compared without their query");
            let help = "move what is behind the `?` to `query_parameters` of the match";
            findings.push(site.error_unless_verbatim("unmatchable-path", here, text).help(help));
        } else if !path.starts_with('/') && path != "*" {
            let text = format!("the {kind} `{path}` never matches: every path begins with `/`");
            findings.push(site.error_unless_verbatim("unmatchable-path", here, text).help(format!("write `/{path}`")));
        }
    }
}

/// What a route does with a request.
pub(super) fn action(site: &Site<'_>, findings: &mut Findings) {
    let is_set = |name: &&str| match *name {
        "prefix_rewrite" => field::string(site.message, name).is_some_and(|prefix| !prefix.is_empty()),
        _ => field::message(site.message, name).is_some(),
    };
    let given: Vec<&'static str> = REWRITES.into_iter().filter(|name| is_set(name)).collect();
    if let [first, second, ..] = given[..] {
        let text = format!("`{first}` and `{second}` both rewrite the path: Envoy refuses the whole route table");
        let first = site.span(steps![first]);
        findings.push(
            site.error("exclusive-rewrites", steps![second], text)
                .related(first, "the other one")
                .help("keep one of them"),
        );
    }
}

/// A virtual host.
pub(super) fn host(site: &Site<'_>, findings: &mut Findings) {
    let routes = field::messages(site.message, "routes").next().is_some();
    let redirects = field::enum_name(site.message, "require_tls").is_some_and(|tls| tls != "NONE");
    if !routes && !redirects && field::message(site.message, "matcher").is_none() && site.is_whole() {
        let name = field::string(site.message, "name").unwrap_or_default();
        let text = format!("the virtual host `{name}` has no routes: it answers every request with 404");
        findings.push(site.warning("no-routes", steps![], text).help("give it `routes`, or remove it"));
    }
}

/// A route table: the bodies of its direct responses have one limit.
pub(super) fn bodies(site: &Site<'_>, findings: &mut Findings) {
    let hosts: Vec<_> = field::messages(site.message, "virtual_hosts").collect();
    if hosts.is_empty() && field::message(site.message, "vhds").is_none() && site.is_whole() {
        let text = "this route table has no virtual hosts: it answers every request with 404";
        findings.push(site.warning("no-routes", steps![], text).help("give it `routes` or `virtual_hosts`"));
    }
    let most = field::wrapped(site.message, "max_direct_response_body_size_bytes").unwrap_or(BODY);
    for (h, host) in hosts.into_iter().enumerate() {
        for (r, route) in field::messages(host, "routes").enumerate() {
            let body = field::message(route, "direct_response").and_then(|response| field::message(response, "body"));
            let length = body.and_then(|body| field::string(body, "inline_string")).map_or(0, str::len);
            if length as u64 > most {
                let here = steps!["virtual_hosts", h, "routes", r, "direct_response", "body"];
                let text =
                    format!("this body has {length} bytes, and Envoy takes {most}: it refuses the whole route table");
                let help =
                    "raise `max_direct_response_body_size_bytes` of the route table, or serve the body from a cluster";
                findings.push(site.error("body-size", here, text).help(help));
            }
        }
    }
}

/// The plugins of a route table that choose clusters, and the routes that leave it to them.
pub(super) fn specifiers(site: &Site<'_>, findings: &mut Findings) {
    let plugins: Vec<&str> = field::messages(site.message, "cluster_specifier_plugins")
        .filter_map(|plugin| field::string(field::message(plugin, "extension")?, "name"))
        .collect();
    for (h, host) in field::messages(site.message, "virtual_hosts").enumerate() {
        for (r, route) in field::messages(host, "routes").enumerate() {
            let action = field::message(route, "route");
            let name = action.and_then(|action| field::string(action, "cluster_specifier_plugin"));
            let Some(name) = name.filter(|name| !name.is_empty() && !plugins.contains(name)) else { continue };
            let here = steps!["virtual_hosts", h, "routes", r, "route", "cluster_specifier_plugin"];
            let text = format!(
                "`{name}` is not among the table's `cluster_specifier_plugins`: Envoy refuses the whole route table"
            );
            let help = match did_you_mean(name, plugins.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "define it in `cluster_specifier_plugins` of the route table".to_owned(),
            };
            findings.push(site.error("unknown-cluster-specifier", here, text).help(help));
        }
    }
}
