//! `chancery explain`: what a finding's code means.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::check::{Explanation, codes, explanation};
use crate::diagnostic::did_you_mean;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Code of a finding, such as `unknown-cluster` [default: list all codes]
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

impl Explain {
    /// Prints an explanation, or all codes.
    ///
    /// # Errors
    /// If there is no such code: that is a wrong argument, so the exit code is 2.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let text = match &self.code {
            None => list(),
            Some(code) => {
                // As it stands in a report: `error[unknown-cluster]`.
                let code = code.rsplit('[').next().unwrap_or(code).trim_end_matches([']', ':']);
                match explanation(code) {
                    Some(explanation) => page(explanation),
                    None => bail!("there is no code `{code}`{}", hint(code)),
                }
            }
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn hint(code: &str) -> String {
    let near = did_you_mean(code, codes().map(|explanation| explanation.code));
    near.map_or_else(|| "; `chancery explain` lists them".to_owned(), |near| format!("; did you mean `{near}`?"))
}

fn list() -> String {
    let width = codes().map(|explanation| explanation.code.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Explanation { code, summary, .. } in codes() {
        _ = writeln!(text, "{code:width$}  {summary}");
    }
    text
}

fn page(explanation: &Explanation) -> String {
    let Explanation { code, summary, meaning, example, remedy } = explanation;
    format!("{code}: {summary}\n\n{meaning}\n\nFor example:\n    {example}\n\nRemedy: {remedy}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_means_and_what_to_do() {
        let text = page(explanation("unknown-cluster").unwrap());
        assert!(text.starts_with("unknown-cluster: a cluster that does not exist\n\n"), "{text}");
        assert!(text.contains("503") && text.contains("Remedy: correct the name"), "{text}");
    }

    #[test]
    fn the_list_has_every_code() {
        assert_eq!(list().lines().count(), codes().count());
    }

    #[test]
    fn a_misspelled_code_is_guessed() {
        assert_eq!(hint("unknown-clutser"), "; did you mean `unknown-cluster`?");
    }
}
