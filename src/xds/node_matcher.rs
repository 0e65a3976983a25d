//! Envoy's matchers of nodes, as CSDS requests carry them.

use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher};
use regex::{Regex, RegexBuilder};
use tonic::Status;

/// Memory that a client's regular expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Which nodes are asked for.
#[derive(Debug)]
pub(super) struct NodeMatchers(Vec<Text>);

/// How an id is compared.
#[derive(Debug)]
enum Text {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
    /// The other ways, with upper and lower case taken as one; the text in it is lower case.
    IgnoringCase(Box<Text>),
}

impl NodeMatchers {
    /// An error if there is one that would have to be passed over: the answer would be about other clients.
    pub(super) fn new(matchers: &[NodeMatcher]) -> Result<Self, Status> {
        matchers.iter().map(Text::of_node).collect::<Result<_, _>>().map(Self)
    }

    /// "The match follows OR semantics"; without any, all nodes are asked for.
    pub(super) fn matches(&self, id: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|matcher| matcher.matches(id))
    }
}

impl Text {
    fn of_node(matcher: &NodeMatcher) -> Result<Self, Status> {
        let NodeMatcher { node_id, node_metadatas } = matcher;
        if !node_metadatas.is_empty() {
            return Err(Status::invalid_argument("node_matchers: node_metadatas is not supported, match by node_id"));
        }
        node_id.as_ref().map_or(Ok(Self::Any), Self::of_string)
    }

    fn of_string(matcher: &StringMatcher) -> Result<Self, Status> {
        let StringMatcher { ignore_case, match_pattern } = matcher;
        let text = |text: &str| if *ignore_case { text.to_lowercase() } else { text.to_owned() };
        let matcher = match match_pattern {
            Some(MatchPattern::Exact(exact)) => Self::Exact(text(exact)),
            Some(MatchPattern::Prefix(prefix)) => Self::Prefix(text(prefix)),
            Some(MatchPattern::Suffix(suffix)) => Self::Suffix(text(suffix)),
            Some(MatchPattern::Contains(part)) => Self::Contains(text(part)),
            // "The ignore_case field has no effect for safe_regex."
            Some(MatchPattern::SafeRegex(regex)) => return Self::of_regex(&regex.regex),
            Some(MatchPattern::Custom(_)) => {
                return Err(Status::invalid_argument("node_matchers: custom matchers of node_id are not supported"));
            }
            None => return Err(Status::invalid_argument("node_matchers: node_id has no pattern")),
        };
        Ok(if *ignore_case { Self::IgnoringCase(Box::new(matcher)) } else { matcher })
    }

    /// A regular expression matches the whole text.
    fn of_regex(regex: &str) -> Result<Self, Status> {
        // On its own first: what closes the group around it is no expression.
        let compiled = Regex::new(regex)
            .and_then(|_| RegexBuilder::new(&format!("^(?:{regex})$")).size_limit(MAX_REGEX_BYTES).build());
        compiled.map(Self::Regex).map_err(|error| Status::invalid_argument(format!("node_matchers: {error}")))
    }

    fn matches(&self, id: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => id == exact,
            Self::Prefix(prefix) => id.starts_with(prefix),
            Self::Suffix(suffix) => id.ends_with(suffix),
            Self::Contains(part) => id.contains(part),
            Self::Regex(regex) => regex.is_match(id),
            Self::IgnoringCase(matcher) => matcher.matches(&id.to_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StructMatcher};
    use tonic::Code;

    use super::*;

    fn by_id(pattern: MatchPattern, ignore_case: bool) -> NodeMatcher {
        let node_id = Some(StringMatcher { ignore_case, match_pattern: Some(pattern) });
        NodeMatcher { node_id, node_metadatas: Vec::new() }
    }

    fn regex(regex: &str) -> MatchPattern {
        MatchPattern::SafeRegex(RegexMatcher { regex: regex.into(), ..Default::default() })
    }

    fn matched(matchers: &[NodeMatcher]) -> Vec<&'static str> {
        let matchers = NodeMatchers::new(matchers).unwrap();
        ["edge-1", "edge-2", "Edge-3", "batch-1"].into_iter().filter(|id| matchers.matches(id)).collect()
    }

    #[test]
    fn nodes_are_matched_by_id_and_any_matcher_will_do() {
        let exact = || by_id(MatchPattern::Exact("edge-1".into()), false);
        assert_eq!(matched(&[]).len(), 4);
        assert_eq!(matched(&[NodeMatcher::default()]).len(), 4);
        assert_eq!(matched(&[exact()]), ["edge-1"]);
        assert_eq!(matched(&[exact(), by_id(MatchPattern::Suffix("h-1".into()), false)]), ["edge-1", "batch-1"]);
        assert_eq!(matched(&[by_id(MatchPattern::Prefix("edge".into()), false)]), ["edge-1", "edge-2"]);
        assert_eq!(matched(&[by_id(MatchPattern::Prefix("eDGE".into()), true)]), ["edge-1", "edge-2", "Edge-3"]);
        assert_eq!(matched(&[by_id(MatchPattern::Contains("ge-".into()), false)]), ["edge-1", "edge-2", "Edge-3"]);
        assert_eq!(matched(&[by_id(regex("edge|.*-[23]"), false)]), ["edge-2", "Edge-3"]);
    }

    #[test]
    fn what_cannot_be_matched_is_an_error() {
        let custom = MatchPattern::Custom(envoy_types::pb::xds::core::v3::TypedExtensionConfig::default());
        let no_pattern = NodeMatcher { node_id: Some(StringMatcher::default()), ..Default::default() };
        let metadata = NodeMatcher { node_metadatas: vec![StructMatcher::default()], ..Default::default() };
        for matcher in
            [by_id(custom, false), by_id(regex("("), false), by_id(regex("a)|(b"), false), no_pattern, metadata]
        {
            assert_eq!(NodeMatchers::new(&[matcher]).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}
