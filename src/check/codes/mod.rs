//! Every code that a finding can have, and what it means.
//!
//! Codes are stable: scripts and people refer to them. They are told apart by what is wrong, not by how bad that is.

mod meaning;
mod meaning_more;
mod reading;
mod tools;

/// What a code means.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code, such as `unknown-cluster`.
    pub code: &'static str,
    /// In one line.
    pub summary: &'static str,
    /// What is wrong, and what would happen.
    pub meaning: &'static str,
    /// A piece of a topology that gets this finding.
    pub example: &'static str,
    /// How to mend it.
    pub remedy: &'static str,
}

/// All codes: those of reading files and fields, of what the fields mean, and of single commands; sorted within each.
pub fn codes() -> impl Iterator<Item = &'static Explanation> {
    reading::CODES.iter().chain(meaning::CODES).chain(meaning_more::CODES).chain(tools::CODES)
}

/// The explanation of a code.
pub fn explanation(code: &str) -> Option<&'static Explanation> {
    codes().find(|explanation| explanation.code == code)
}

/// A row of the tables.
const fn row(
    code: &'static str,
    summary: &'static str,
    meaning: &'static str,
    example: &'static str,
    remedy: &'static str,
) -> Explanation {
    Explanation { code, summary, meaning, example, remedy }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Everything under `src` but these tables, without its tests.
    fn sources() -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.to_string_lossy().into_owned();
                if path.is_dir() {
                    let skipped = ["/check/codes", "/tests", "/xds", "/admin"];
                    if !skipped.iter().any(|end| name.ends_with(end)) {
                        pending.push(path);
                    }
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !name.ends_with("/tests.rs")
                    && !name.ends_with("/testing.rs")
                {
                    let text = fs::read_to_string(&path).unwrap();
                    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
                    found.insert(name, text[..end].to_owned());
                }
            }
        }
        found
    }

    #[test]
    fn every_code_that_can_be_found_is_explained_and_the_other_way_round() {
        let call = r"\b(?:error|error_help|error_unless_verbatim|warning|info|report|refused|invalid|finding)";
        let call = Regex::new(&format!(r#"{call}\(\s*"([a-z0-9]+(?:-[a-z0-9]+)*)""#)).unwrap();
        // A code that is chosen first and given to a finding later.
        let chosen = Regex::new(r#"[({]\s*(?:code: )?"([a-z0-9]+(?:-[a-z0-9]+)+)",\s*(?:"|format!|message)"#).unwrap();
        let sources = sources();
        assert!(sources.len() > 50, "{}", sources.len());
        let explained: BTreeSet<&str> = codes().map(|explanation| explanation.code).collect();
        for (name, text) in &sources {
            for found in call.captures_iter(text).chain(chosen.captures_iter(text)) {
                assert!(explained.contains(&found[1]), "`{}` of {name} is not explained", &found[1]);
            }
        }
        for code in explained {
            let literal = format!("\"{code}\"");
            assert!(sources.values().any(|text| text.contains(&literal)), "nothing finds `{code}` any more");
        }
    }

    #[test]
    fn codes_are_sorted_and_given_once() {
        for table in [reading::CODES, meaning::CODES, meaning_more::CODES, tools::CODES] {
            assert!(table.is_sorted_by(|a, b| a.code < b.code));
        }
        let all: BTreeSet<_> = codes().map(|explanation| explanation.code).collect();
        assert_eq!(all.len(), codes().count());
    }
}
