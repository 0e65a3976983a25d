//! Upgrades of requests, such as to WebSocket.

use std::collections::BTreeMap;

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// The `upgrade_configs` of a connection manager or a route.
pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    let mut first = BTreeMap::new();
    for (index, config) in field::messages(site.message, "upgrade_configs").enumerate() {
        let Some(kind) = field::string(config, "upgrade_type").filter(|kind| !kind.is_empty()) else { continue };
        if let Some(other) = first.insert(kind.to_ascii_lowercase(), index) {
            let text = format!("the upgrade to `{kind}` is given twice: Envoy refuses the resource");
            findings.push(
                site.error("upgrade", steps!["upgrade_configs", index], text)
                    .related(site.span(steps!["upgrade_configs", other]), "first given here")
                    .help("remove one of them; upper and lower case are the same"),
            );
        }
        let connects = ["CONNECT", "CONNECT-UDP"].iter().any(|name| name.eq_ignore_ascii_case(kind));
        if !connects && field::message(config, "connect_config").is_some() {
            let text = format!("`connect_config` is for CONNECT, and not for `{kind}`: Envoy refuses the route table");
            let help = "remove `connect_config`, or write `upgrade_type: CONNECT`";
            findings.push(site.error("upgrade", steps!["upgrade_configs", index, "connect_config"], text).help(help));
        }
    }
}
