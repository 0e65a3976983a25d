//! Headers that routes add and remove.

use super::formats;
use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// What adds headers, and what removes them.
const ADD: [&str; 2] = ["request_headers_to_add", "response_headers_to_add"];
const REMOVE: [&str; 2] = ["request_headers_to_remove", "response_headers_to_remove"];

/// The changes of headers in a message that has all four lists.
pub(super) fn changes(site: &Site<'_>, findings: &mut Findings) {
    for list in ADD {
        for (index, option) in field::messages(site.message, list).enumerate() {
            let Some(header) = field::message(option, "header") else { continue };
            let key = field::string(header, "key").unwrap_or_default();
            if is_reserved(key) {
                let text = format!("the header `{key}` cannot be set here: Envoy refuses the whole route table");
                let help = match key {
                    ":path" => "use `prefix_rewrite` or `regex_rewrite` of the route",
                    ":method" | ":scheme" | ":status" => "headers that begin with `:` cannot be changed by a route",
                    _ => "use `host_rewrite_literal` or `auto_host_rewrite` of the route",
                };
                findings.push(site.error("reserved-header", steps![list, index, "header", "key"], text).help(help));
            }
            if let Some(problem) = field::string(header, "value").and_then(formats::problem) {
                let here = steps![list, index, "header", "value"];
                findings.push(site.error("header-format", here, problem.text).help(problem.help));
            }
        }
    }
    for list in REMOVE {
        for (index, key) in field::strings(site.message, list).into_iter().enumerate() {
            if is_reserved(key) {
                let text = format!("the header `{key}` cannot be removed: Envoy refuses the whole route table");
                let help = "requests need it; take it out of this list";
                findings.push(site.error("reserved-header", steps![list, index], text).help(help));
            }
        }
    }
}

/// `Host`, and what HTTP/2 calls pseudo-headers.
fn is_reserved(key: &str) -> bool {
    key.starts_with(':') || key.eq_ignore_ascii_case("host")
}
