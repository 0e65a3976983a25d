//! Regular expressions, which Envoy gives to RE2.

use super::re2::{self, Problem};
use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// Envoy's limit, unless the runtime key `re2.max_program_size.error_level` says otherwise.
const MOST: u64 = 100;

pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    let Some(regex) = field::string(site.message, "regex") else { return };
    match re2::program_size(regex) {
        Err(Problem::Refused(what)) => {
            let text = format!("RE2 does not take this regular expression: {what}");
            let help =
                "see https://github.com/google/re2/wiki/Syntax; what it leaves out can often be said with two routes";
            findings.push(site.error("regex", steps!["regex"], text).help(help));
        }
        Ok(instructions) if instructions > MOST => {
            let text = format!(
                "this regular expression becomes about {instructions} instructions, and Envoy takes {MOST}: it would refuse the \
                 whole resource"
            );
            let help = "write `+` or `*` where a count such as `{1,63}` stands, or raise the runtime key \
                        `re2.max_program_size.error_level` of the proxies";
            findings.push(site.warning("regex-size", steps!["regex"], text).help(help));
        }
        Ok(_) | Err(Problem::Unknown) => {}
    }
}
