//! Which resources a client's refusal speaks of.

use std::sync::Arc;

use super::ledger::InFlight;
use crate::snapshot::{Resource, Resources};

/// Places that are listed at most; a message that names more is about something general.
const MAX_ORIGINS: usize = 20;

/// `file:line:column` of the refused resources that the message names, as they stand today in `current`. Where it
/// names none and the response had one that the client did not know yet, it is that one.
pub(super) fn of(message: &str, refused: &InFlight, current: Option<&Resources>) -> Vec<String> {
    let mut suspects: Vec<_> =
        refused.resources.iter().filter(|resource| names(message, &resource.name)).take(MAX_ORIGINS).collect();
    if let ([], [only]) = (&*suspects, &*refused.news) {
        suspects.push(only);
    }
    let today = |resource: &Arc<Resource>| {
        current.and_then(|set| set.get(&resource.name)).unwrap_or(resource).origin.to_string()
    };
    suspects.into_iter().map(today).collect()
}

/// Of which of the refused names a message speaks: of those that it names, or of all where it names none.
pub(super) fn blamed<'a>(message: &'a str, refused: &InFlight) -> impl Fn(&str) -> bool + use<'a> {
    let names_some = refused.resources.iter().any(|resource| names(message, &resource.name));
    move |name| !names_some || names(message, name)
}

/// Whether a text holds a name as a word of its own: `c1` is in "cluster(s) c1: bad" and in "'c1'", not in "c1-b" or
/// "c1.local".
fn names(text: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    text.match_indices(name).any(|(start, found)| {
        let (before, after) = (&text[..start], &text[start + found.len()..]);
        let mut before = before.chars().rev();
        let mut after = after.chars();
        !continues(before.next(), before.next()) && !continues(after.next(), after.next())
    })
}

/// Whether the characters next to a match, nearest first, belong to the same word.
fn continues(nearest: Option<char>, next: Option<char>) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    match nearest {
        Some('.' | '/' | ':') => next.is_some_and(in_word),
        Some(c) => in_word(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Kind;
    use crate::snapshot::{Origin, Traits, Version};

    fn resource(name: &str, line: u32) -> Arc<Resource> {
        let origin = Origin { file: "topology.yaml".into(), line, column: 3 };
        Arc::new(Resource::new(Kind::Cluster, name, b"", origin, Traits::default()))
    }

    #[test]
    fn names_count_as_words_and_in_quotes_only() {
        let text = "Error adding/updating cluster(s) c1: bad, 'c2', \"a/b\", c4-b, x.c5.y, http://c6. end c7.";
        for (name, expected) in [
            ("c1", true),
            ("c2", true),
            ("a/b", true),
            ("c4", false),
            ("c5", false),
            ("c7", true),
            ("c", false),
            ("", false),
            ("bad", true),
        ] {
            assert_eq!(names(text, name), expected, "{name}");
        }
    }

    #[test]
    fn a_refusal_is_traced_to_the_resources_that_it_names() {
        let mut refused = InFlight {
            nonce: 1,
            version: Version::of(b""),
            sent_at: std::time::Instant::now(),
            resources: vec![resource("c1", 4), resource("c2", 9)],
            removed: Vec::new(),
            news: vec![resource("c1", 4), resource("c2", 9)],
            alters: false,
        };
        let message = "Error adding/updating cluster(s) c2: no such thing";
        assert_eq!(of(message, &refused, None), ["topology.yaml:9:3"]);
        assert_eq!(of("something else", &refused, None), Vec::<String>::new());
        refused.news.pop();
        assert_eq!(of("Proto constraint validation failed", &refused, None), ["topology.yaml:4:3"]);
    }
}
