//! Routes that an earlier route of the same virtual host hides.
//!
//! Envoy takes the first route that matches. An earlier route hides a later one if everything that it asks for, the later one
//! asks for as well, and if its path takes in every path of the later one. The earlier routes are kept by their paths, so that
//! a route is compared with those only whose path is a beginning of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::site::{Site, Step, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, FieldValue, Schema, canonical, field};

/// Routes with the same path that are kept for comparison; with more of them, some shadows are missed.
const KEPT: usize = 16;
/// Longer paths are not looked at.
const LONGEST: usize = 1024;
/// In millionths: always.
const ALWAYS: u64 = 1_000_000;

/// What a route asks for beside its path: the number of the field, and its content.
type Conditions = BTreeSet<(u32, Vec<u8>)>;

/// How a route looks at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Prefix,
    Path,
    Separated,
    /// Only equal ones hide each other.
    Pattern,
}

struct Earlier {
    index: usize,
    conditions: Conditions,
    text: String,
}

pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    let mut hiders: BTreeMap<(Shape, bool, String), Vec<Earlier>> = BTreeMap::new();
    let mut lengths: BTreeSet<usize> = BTreeSet::new();
    for (index, route) in field::messages(site.message, "routes").enumerate() {
        let Some(matcher) = field::message(route, "match") else { continue };
        let Some((shape, kind, text)) = path(matcher).filter(|(_, _, text)| text.len() <= LONGEST) else { continue };
        let folds = field::message(matcher, "case_sensitive").is_some() && !field::boolean(matcher, "case_sensitive");
        // Regular expressions say themselves what they think of cases.
        let exact = !folds || shape == Shape::Pattern;
        let Some(conditions) = conditions(site.schema, matcher) else { continue };
        if let Some(first) = hider(&hiders, &lengths, shape, exact, &text, &conditions) {
            let here: &[Step] = match kind {
                "safe_regex" => steps!["routes", index, "match", "safe_regex", "regex"],
                _ => steps!["routes", index, "match", kind],
            };
            let others = if first.conditions.is_empty() { "" } else { " and what else it asks for" };
            let message = format!(
                "this route never matches: routes[{}] ({}){others} comes first, and Envoy takes the first match",
                first.index, first.text
            );
            findings.push(
                site.warning("shadowed-route", here, message)
                    .related(site.span(steps!["routes", first.index]), "this one comes first")
                    .help("put the more specific route before it, or remove this one"),
            );
            continue;
        }
        if is_a_share(matcher) {
            continue;
        }
        let shown = match kind {
            "path_match_policy" => "the same template".to_owned(),
            "safe_regex" => format!("regex `{text}`"),
            kind => format!("{kind} `{text}`"),
        };
        let key = if exact { text.clone() } else { text.to_ascii_lowercase() };
        lengths.insert(key.len());
        // Without letters there is no case to tell apart.
        let caseless = shape != Shape::Pattern && !text.bytes().any(|byte| byte.is_ascii_alphabetic());
        for exact in [exact, !exact].into_iter().take(if caseless { 2 } else { 1 }) {
            let kept = hiders.entry((shape, exact, key.clone())).or_default();
            if kept.len() < KEPT {
                kept.push(Earlier { index, conditions: conditions.clone(), text: shown.clone() });
            }
        }
    }
}

/// The path that a route asks for, and the field that says so.
fn path(matcher: &DynamicMessage) -> Option<(Shape, &'static str, String)> {
    for (shape, kind) in [(Shape::Prefix, "prefix"), (Shape::Path, "path"), (Shape::Separated, "path_separated_prefix")]
    {
        if let Some(text) = field::string(matcher, kind) {
            return Some((shape, kind, text.to_owned()));
        }
    }
    if let Some(regex) = field::message(matcher, "safe_regex") {
        return Some((Shape::Pattern, "safe_regex", field::string(regex, "regex")?.to_owned()));
    }
    None
}

/// Everything else that a route asks for; `None` if that cannot be compared.
fn conditions(schema: &Schema, matcher: &DynamicMessage) -> Option<Conditions> {
    let mut conditions = Conditions::new();
    for (field, value) in matcher.fields() {
        let is_path = field.containing_oneof().is_some_and(|oneof| oneof.name() == "path_specifier");
        if is_path || field.name() == "case_sensitive" || field.name() == "runtime_fraction" {
            continue;
        }
        let values = if let FieldValue::List(values) = value { values.iter().collect() } else { vec![value] };
        for value in values {
            let FieldValue::Message(message) = value else { return None };
            conditions.insert((field.number(), canonical::encode(schema, message)));
        }
    }
    Some(conditions)
}

/// Whether a route takes only a share of the requests, or may come to do so at run time.
fn is_a_share(matcher: &DynamicMessage) -> bool {
    let Some(fraction) = field::message(matcher, "runtime_fraction") else { return false };
    let share = field::message(fraction, "default_value").map(|share| {
        let of = match field::enum_name(share, "denominator").as_deref() {
            Some("HUNDRED") => 10_000,
            Some("TEN_THOUSAND") => 100,
            _ => 1,
        };
        field::unsigned(share, "numerator").unwrap_or_default() * of
    });
    field::string(fraction, "runtime_key").is_some_and(|key| !key.is_empty())
        || share.is_none_or(|share| share < ALWAYS)
}

/// The earlier route that takes everything that this one asks for.
fn hider<'a>(
    hiders: &'a BTreeMap<(Shape, bool, String), Vec<Earlier>>,
    lengths: &BTreeSet<usize>,
    shape: Shape,
    exact: bool,
    text: &str,
    conditions: &Conditions,
) -> Option<&'a Earlier> {
    let find = |earlier: Shape, exact: bool, text: &str| {
        let found = hiders.get(&(earlier, exact, text.to_owned()))?;
        found.iter().filter(|earlier| earlier.conditions.is_subset(conditions)).min_by_key(|earlier| earlier.index)
    };
    let beginning = if shape == Shape::Pattern { literal_beginning(text) } else { text };
    let mut best: Option<&Earlier> = None;
    // A route that tells cases apart is hidden by both sorts, one that does not only by its own.
    for folds in [true, false].into_iter().take(if exact { 2 } else { 1 }) {
        let text = if folds { text.to_ascii_lowercase() } else { text.to_owned() };
        let beginning = if folds { beginning.to_ascii_lowercase() } else { beginning.to_owned() };
        let mut found = Vec::new();
        for length in lengths.iter().take_while(|length| **length <= beginning.len()) {
            let Some(prefix) = beginning.get(..*length) else { continue };
            found.extend(find(Shape::Prefix, !folds, prefix));
            let ends_there = prefix.len() == text.len() && matches!(shape, Shape::Path | Shape::Separated);
            if ends_there || beginning[*length..].starts_with('/') {
                found.extend(find(Shape::Separated, !folds, prefix));
            }
        }
        if shape == Shape::Path {
            found.extend(find(Shape::Path, !folds, &text));
        }
        if shape == Shape::Pattern {
            // Every path begins with a slash.
            found.extend(find(Shape::Prefix, !folds, "/"));
            if !folds {
                found.extend(find(Shape::Pattern, true, &text));
            }
        }
        best = best.into_iter().chain(found).min_by_key(|earlier| earlier.index);
    }
    best
}

/// The text that everything that a regular expression matches begins with.
fn literal_beginning(regex: &str) -> &str {
    let special = |c: char| !(c.is_alphanumeric() || "/-_~:@!,;=&%".contains(c));
    let end = regex.find(special).unwrap_or(regex.len());
    // What is behind the text may make its last character optional, or the whole of it one of several.
    if regex.contains('|') {
        return "";
    }
    let optional = regex[end..].starts_with(['?', '*', '{']);
    let end = if optional { regex[..end].char_indices().next_back().map_or(0, |(at, _)| at) } else { end };
    &regex[..end]
}

#[cfg(test)]
mod tests {
    use super::literal_beginning;

    #[test]
    fn the_beginning_of_a_regex_is_what_is_certain() {
        for (regex, beginning) in [
            ("/api/.*", "/api/"),
            ("/ab?c", "/a"),
            ("/a|/b", ""),
            ("^/a", ""),
            (r"/a\.b", "/a"),
            ("/a+", "/a"),
            ("/a", "/a"),
        ] {
            assert_eq!(literal_beginning(regex), beginning, "{regex}");
        }
    }
}
