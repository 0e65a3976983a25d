//! Path templates, such as `/users/{id}/**`, and rewrites with their variables.

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, Schema, field};

const MATCH: &str = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
const REWRITE: &str = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";
/// As many as Envoy takes.
const MOST_VARIABLES: usize = 5;

/// The template of a route's match, and what the route makes of it.
pub(super) fn route(site: &Site<'_>, findings: &mut Findings) {
    let matcher = field::message(site.message, "match");
    let template = matcher.and_then(|matcher| text(site.schema, matcher, "path_match_policy", MATCH, "path_template"));
    let names = template.as_deref().map(variables);
    if let (Some(template), Some(Err(problem))) = (&template, &names) {
        let here = steps!["match", "path_match_policy", "typed_config", "path_template"];
        let text = format!("the path template `{template}` {problem}: Envoy refuses the whole route table");
        let help = "a template is like `/users/{id}/*`: `*` stands for one segment, `**` for all that follow";
        findings.push(site.error("path-template", here, text).help(help));
    }
    for (action, rewrite) in [("route", "prefix_rewrite"), ("redirect", "prefix_rewrite")] {
        let given = field::message(site.message, action).and_then(|action| field::string(action, rewrite));
        if template.is_some() && given.is_some_and(|given| !given.is_empty()) {
            let text = "there is no prefix where a path template matches: Envoy refuses the whole route table";
            let help = if action == "route" { "use `path_template_rewrite`" } else { "use `path_redirect`" };
            findings.push(site.error("path-template", steps![action, rewrite], text).help(help));
        }
    }
    let action = field::message(site.message, "route");
    let rewrite =
        action.and_then(|action| text(site.schema, action, "path_rewrite_policy", REWRITE, "path_template_rewrite"));
    let Some(rewrite) = rewrite else { return };
    let here = steps!["route", "path_rewrite_policy", "typed_config", "path_template_rewrite"];
    let (what, help) = match (rewritten(&rewrite), &names) {
        (Err(problem), _) => (problem.to_owned(), "a rewrite is like `/people/{id}`".to_owned()),
        (Ok(_), None) if site.is_whole() => (
            "needs a path template that the route matches by".to_owned(),
            "write `match: {path_template: …}`, or use `regex_rewrite`".to_owned(),
        ),
        (Ok(used), Some(Ok(names))) => match used.iter().find(|name| !names.contains(name)) {
            Some(unknown) => {
                let known = names.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "no variables".to_owned() } else { known };
                (format!("uses `{{{unknown}}}`, which the match does not have"), format!("the match has {known}"))
            }
            None => return,
        },
        _ => return,
    };
    let text = format!("the rewrite `{rewrite}` {what}: Envoy refuses the whole route table");
    findings.push(site.error("path-template", here, text).help(help));
}

/// The text of a template in an extension.
fn text(schema: &Schema, holder: &DynamicMessage, extension: &str, message: &str, name: &str) -> Option<String> {
    let config = field::message(field::message(holder, extension)?, "typed_config")?;
    let config = (field::type_name(config)? == message).then(|| field::payload(schema, config))??;
    field::string(&config, name).map(str::to_owned)
}

/// The variables of a template, or what is wrong with it.
fn variables(template: &str) -> Result<Vec<String>, &'static str> {
    let Some(mut rest) = template.strip_prefix('/') else { return Err("does not begin with `/`") };
    let mut names: Vec<String> = Vec::new();
    let mut all = false;
    let mut glob = |segment: &str| match segment {
        "*" | "**" if all => Err("has a `*` behind `**`, which took all segments"),
        "**" => {
            all = true;
            Ok(())
        }
        _ => Ok(()),
    };
    let literal = |text: &str, empty| match text {
        "" => Err(empty),
        _ if text.contains(['{', '}']) => Err("has a bracket without its other half, or one inside another"),
        _ if !text.is_ascii() || text.contains(['?', '#', ' ']) => Err("has a character that no path has"),
        _ => Ok(()),
    };
    while let Some(at) = rest.find('{') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let Some((variable, behind)) = after.split_once('}') else { return Err("has a `{` without a `}`") };
        let segments: Vec<&str> = before.split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            // The variable stands in the last one.
            if index + 1 < segments.len() || !segment.is_empty() {
                literal(segment, "has an empty segment")?;
                glob(segment)?;
            }
        }
        let (name, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let mut letters = name.chars();
        if !letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err("has a variable whose name is no word");
        }
        if names.iter().any(|known| known == name) {
            return Err("has a variable twice");
        }
        names.push(name.to_owned());
        for segment in pattern.split('/') {
            literal(segment, "has a variable with an empty segment")?;
            glob(segment)?;
        }
        rest = behind;
        // What follows begins another segment, or goes on in this one.
        rest = rest.strip_prefix('/').unwrap_or(rest);
    }
    if names.len() > MOST_VARIABLES {
        return Err("has more than five variables");
    }
    let segments: Vec<&str> = rest.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        if index + 1 < segments.len() || !segment.is_empty() {
            literal(segment, "has an empty segment")?;
            glob(segment)?;
        }
    }
    Ok(names)
}

/// The variables that a rewrite uses, or what is wrong with it.
fn rewritten(rewrite: &str) -> Result<Vec<String>, &'static str> {
    if !rewrite.starts_with('/') {
        return Err("does not begin with `/`");
    }
    if rewrite.contains("//") {
        return Err("has an empty segment");
    }
    let mut names = Vec::new();
    let mut rest = rewrite;
    while let Some(at) = rest.find(['{', '}']) {
        let Some((name, behind)) = rest[at..].strip_prefix('{').and_then(|after| after.split_once('}')) else {
            return Err("has a bracket without its other half");
        };
        if name.contains(['{', '=']) {
            return Err("has more than a variable's name in brackets");
        }
        names.push(name.to_owned());
        rest = behind;
    }
    if rewrite.contains(['?', '#', ' ']) {
        return Err("has a character that no path has");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each verdict is that of Envoy 1.40.
    #[test]
    fn templates_are_judged_as_envoy_does() {
        for good in
            ["/", "/a/", "/a{b}", "/{b}a", "/a*", "/a/**/b", "/***", "/{a=b/*}/{c=**}", "/a/{b}", "/a%20b/~c.d_e:f@g"]
        {
            assert!(variables(good).is_ok(), "{good}: {:?}", variables(good));
        }
        for bad in [
            "a/{b}",
            "/a/{b",
            "/a/{b}/{b}",
            "/**/{x=**}",
            "/{x=**}/*",
            "/a/{1b}",
            "/a/{}",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/a//b",
            "/{a=}",
            "/a b",
            "/a?b",
            "/a}",
            "/{a={b}}",
        ] {
            assert!(variables(bad).is_err(), "{bad}");
        }
        assert_eq!(variables("/a/{b}/{c=*/d}"), Ok(vec!["b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn rewrites_are_judged_as_envoy_does() {
        for good in ["/x/*", "/x-{b}.html", "/x", "/{b}"] {
            assert!(rewritten(good).is_ok(), "{good}");
        }
        for bad in ["x/{b}", "/x/{b", "/x//{b}", "/{b=x}", "/{b}?c=1"] {
            assert!(rewritten(bad).is_err(), "{bad}");
        }
    }
}
