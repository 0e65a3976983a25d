//! Providers and requirements of the JWT filter.

use std::collections::BTreeSet;

use super::site::{Site, below, steps};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{DynamicMessage, MAX_DEPTH, Path, field};

pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    let providers = field::map(site.message, "providers");
    let requirements = field::map(site.message, "requirement_map");
    let states = field::message(site.message, "filter_state_rules");
    let rules: Vec<_> = field::messages(site.message, "rules").collect();
    if rules.is_empty() && requirements.is_empty() && states.is_none() && site.is_whole() {
        let text = "this JWT filter verifies nothing: it has no `rules`";
        let help = "add `rules: [{match: {prefix: /}, requires: {provider_name: …}}]`";
        findings.push(site.warning("no-op-filter", steps![], text).help(help));
    }
    let mut check = Check { site, providers: providers.keys().map(String::as_str).collect(), findings };
    for (index, rule) in rules.into_iter().enumerate() {
        if let Some(requires) = field::message(rule, "requires") {
            check.requirement(requires, &site.at(steps!["rules", index, "requires"]), 0);
        }
        if let Some(name) = field::string(rule, "requirement_name").filter(|name| !requirements.contains_key(*name)) {
            let text = format!("the requirement `{name}` is not in `requirement_map`: Envoy refuses the listener");
            let help = match did_you_mean(name, requirements.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "define it in `requirement_map`".to_owned(),
            };
            let here = steps!["rules", index, "requirement_name"];
            check.findings.push(site.error("unknown-jwt-requirement", here, text).help(help));
        }
    }
    let mut named = |map: &'static str, entries: Vec<(&String, &DynamicMessage)>, root: &Path| {
        for (key, requirement) in entries {
            let mut path = below(root, steps![map]);
            path.key(key);
            check.requirement(requirement, &path, 0);
        }
    };
    named("requirement_map", requirements.iter().map(|(key, value)| (key, *value)).collect(), site.path);
    if let Some(states) = states {
        let requires = field::map(states, "requires");
        let root = site.at(steps!["filter_state_rules"]);
        named("requires", requires.iter().map(|(key, value)| (key, *value)).collect(), &root);
    }
}

/// The public keys of a provider that stand in the topology.
pub(super) fn keys(site: &Site<'_>, findings: &mut Findings) {
    let keys = field::message(site.message, "local_jwks").and_then(|keys| field::string(keys, "inline_string"));
    let Some(keys) = keys.filter(|keys| !keys.is_empty()) else { return };
    let what = match serde_json::from_str::<serde_json::Value>(keys) {
        Err(_) => "is no JSON",
        Ok(set) => match set.get("keys").and_then(serde_json::Value::as_array) {
            None => "has no list `keys`",
            Some(keys) if keys.is_empty() => "has no key in it",
            Some(_) => return,
        },
    };
    let text = format!("this set of keys {what}: Envoy refuses the listener");
    let help = "a set is like `{\"keys\": [{\"kty\": \"RSA\", …}]}`, as identity providers serve it";
    findings.push(site.error("jwks", steps!["local_jwks", "inline_string"], text).help(help));
}

struct Check<'a> {
    site: &'a Site<'a>,
    providers: BTreeSet<&'a str>,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// A requirement, and those in it.
    fn requirement(&mut self, requirement: &DynamicMessage, path: &Path, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        if let Some(name) = field::string(requirement, "provider_name") {
            self.provider(name, &below(path, steps!["provider_name"]));
        }
        if let Some(both) = field::message(requirement, "provider_and_audiences")
            && let Some(name) = field::string(both, "provider_name")
        {
            self.provider(name, &below(path, steps!["provider_and_audiences", "provider_name"]));
        }
        for list in ["requires_any", "requires_all"] {
            let Some(inner) = field::message(requirement, list) else { continue };
            for (index, inner) in field::messages(inner, "requirements").enumerate() {
                self.requirement(inner, &below(path, steps![list, "requirements", index]), depth + 1);
            }
        }
    }

    fn provider(&mut self, name: &str, path: &Path) {
        if name.is_empty() || self.providers.contains(name) {
            return;
        }
        let text = format!("the JWT provider `{name}` is not in `providers`: Envoy refuses the listener");
        let help = match did_you_mean(name, self.providers.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "define it in `providers`".to_owned(),
        };
        self.findings.push(self.site.resource.error("unknown-jwt-provider", path, text).help(help));
    }
}
