//! The order of HTTP filters.
//!
//! A request meets them from first to last, so that a filter sees only what the ones before it have done. The order is the
//! one that Envoy Gateway's translator gives its filters unless a `filterOrder` says otherwise; it stands in
//! `internal/xds/translator/httpfilters.go` of that project. Where the other order has a known bad effect, that is a
//! warning; otherwise only worth knowing.

use super::Checked;
use super::facts::{Facts, Filter};
use super::site::{below, steps};
use crate::diagnostic::Findings;

/// Envoy Gateway's order, by the package of the filter's message.
const ORDER: [&str; 27] = [
    "custom_response",
    "health_check",
    "fault",
    "cors",
    "csrf",
    "header_mutation",
    "ext_authz",
    "api_key_auth",
    "basic_auth",
    "oauth2",
    "jwt_authn",
    "stateful_session",
    "buffer",
    "lua",
    "ext_proc",
    "wasm",
    "dynamic_modules",
    "geoip",
    "rbac",
    "local_ratelimit",
    "ratelimit",
    "bandwidth_limit",
    "grpc_web",
    "grpc_stats",
    "credential_injector",
    "compressor",
    "dynamic_forward_proxy",
];
/// Filters that find out who sent a request, or refuse it.
const AUTHENTICATION: [&str; 5] = ["ext_authz", "api_key_auth", "basic_auth", "oauth2", "jwt_authn"];

pub(super) fn check(resource: &Checked, facts: &Facts, findings: &mut Findings) {
    for manager in &facts.managers {
        let mut last: Option<(usize, usize)> = None;
        for (index, filter) in manager.filters.iter().enumerate() {
            let Some(rank) = rank(filter) else { continue };
            let Some((before, index_before)) = last.filter(|(before, _)| *before > rank) else {
                last = Some((rank, index));
                continue;
            };
            let worst = worst(&manager.filters[..index], ORDER[rank]);
            let (early, early_index) = worst.unwrap_or((ORDER[before], index_before));
            let late = ORDER[rank];
            let path = below(&manager.path, steps!["http_filters", index]);
            let place = resource.span(&below(&manager.path, steps!["http_filters", early_index]));
            let finding = if let Some(effect) = effect(early, late) {
                let text = format!("the filter `{late}` comes behind `{early}`: {effect}");
                resource.warning("filter-order", &path, text)
            } else {
                let text = format!("the filter `{late}` comes behind `{early}`, usually it is the other way round");
                resource.info("filter-order", &path, text)
            };
            findings.push(
                finding.related(place, format!("`{early}` comes first")).help(format!("put `{late}` before `{early}`")),
            );
        }
    }
}

fn rank(filter: &Filter) -> Option<usize> {
    let name = filter.message.as_deref()?.strip_prefix("envoy.extensions.filters.http.")?.split('.').next()?;
    ORDER.iter().position(|known| *known == name)
}

/// The first earlier filter that should not have come first.
fn worst(before: &[Filter], late: &str) -> Option<(&'static str, usize)> {
    let ranked = before.iter().enumerate().filter_map(|(index, filter)| Some((ORDER[rank(filter)?], index)));
    ranked.into_iter().find(|(early, _)| effect(early, late).is_some())
}

/// What goes wrong if `early` comes before `late`.
fn effect(early: &str, late: &str) -> Option<&'static str> {
    let authenticates = |name: &str| AUTHENTICATION.contains(&name);
    match (early, late) {
        (early, "cors") if authenticates(early) || early == "rbac" => {
            Some("preflight requests carry no credentials, so they are refused")
        }
        (early, "health_check") if authenticates(early) || early == "rbac" => {
            Some("health checks without credentials fail")
        }
        ("jwt_authn", "oauth2") => Some("the token is verified before it is fetched"),
        ("rbac", late) if authenticates(late) => Some("it decides before it is known who sent the request"),
        ("ratelimit", late) if authenticates(late) => Some("requests are counted before it is known who sent them"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_filter_of_the_order_exists() {
        let schema = Schema::embedded();
        let mut packages: Vec<String> = Vec::new();
        packages.extend(schema.messages().map(|message| message.package_name().to_owned()));
        for name in ORDER {
            assert!(packages.contains(&format!("envoy.extensions.filters.http.{name}.v3")), "{name}");
        }
    }
}
