//! Domains of virtual hosts.

use std::collections::BTreeMap;

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// Every domain of a route table, and the names of its virtual hosts.
pub(super) fn table(site: &Site<'_>, findings: &mut Findings) {
    let mut first_with = BTreeMap::new();
    let mut first_named = BTreeMap::new();
    for (host, message) in field::messages(site.message, "virtual_hosts").enumerate() {
        let name = field::string(message, "name").unwrap_or_default();
        if let Some(first) = first_named.get(name).filter(|_| !name.is_empty()) {
            let text =
                format!("two virtual hosts of this route table are called `{name}`: statistics cannot tell them apart");
            let first = site.span(steps!["virtual_hosts", *first, "name"]);
            findings.push(
                site.warning("duplicate-virtual-host", steps!["virtual_hosts", host, "name"], text)
                    .related(first, "the first one")
                    .help("rename one of them"),
            );
        } else {
            first_named.insert(name, host);
        }
        for (index, domain) in field::strings(message, "domains").into_iter().enumerate() {
            let here = steps!["virtual_hosts", host, "domains", index];
            if let Some((other, other_index)) = first_with.get(&domain.to_ascii_lowercase()) {
                let other: (usize, usize) = (*other, *other_index);
                let text = format!("the domain `{domain}` is given twice in one route table");
                let first = site.span(steps!["virtual_hosts", other.0, "domains", other.1]);
                findings.push(
                    site.error("duplicate-domain", here, text)
                        .related(first, "first given here")
                        .help("each domain belongs to one virtual host; upper and lower case are the same"),
                );
                continue;
            }
            first_with.insert(domain.to_ascii_lowercase(), (host, index));
            if let Some((reason, help)) = unmatchable(domain) {
                let text = format!("the domain `{domain}` never matches: {reason}");
                findings.push(site.error_unless_verbatim("unmatchable-domain", here, text).help(help));
            }
        }
    }
}

/// Why no `Host` header is like this, and what was probably meant.
fn unmatchable(domain: &str) -> Option<(&'static str, &'static str)> {
    if domain.contains("://") {
        return Some(("a host header has no scheme", "write the host name alone, such as `example.com`"));
    }
    if domain.contains('/') {
        return Some(("a host header has no path", "write the host name alone, and the path in a route's match"));
    }
    if domain.chars().any(char::is_whitespace) {
        return Some(("a host header has no blanks", "write one host name per item of the list"));
    }
    let inner =
        if let Some(rest) = domain.strip_prefix('*') { rest } else { domain.strip_suffix('*').unwrap_or(domain) };
    if inner.contains('*') {
        let help = "`*` may stand at the beginning or at the end: `*.example.com`, `example.*`, or alone";
        return Some(("a `*` in the middle is an ordinary character", help));
    }
    None
}
