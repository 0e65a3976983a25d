//! `chancery check`: the server's verdict without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::input::Input;
use super::{NO, envoy_validate};
use crate::diagnostic::{Level, Report};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    input: Input,

    /// Form of the output; JSON goes to stdout, with every finding
    #[arg(short, long, value_name = "FORM", env = "CHANCERY_OUTPUT", default_value = "text")]
    output: Form,

    /// Treat warnings as errors
    #[arg(long, env = "CHANCERY_STRICT")]
    strict: bool,

    /// Show findings of level "info" as well
    #[arg(long, env = "CHANCERY_VERBOSE")]
    verbose: bool,

    /// Ask this Envoy binary as well whether it would take the result
    #[arg(long, env = "CHANCERY_ENVOY", value_name = "BIN")]
    envoy: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { input, output, strict, verbose, envoy } = self;
        let (schema, mut compiled, files) = input.compile()?;
        if let Some(binary) = envoy
            && !compiled.report.has_errors()
        {
            envoy_validate::report(&binary, &schema, &mut compiled)?;
        }
        let resources = compiled.resources();
        let report = if strict { compiled.report.strict() } else { compiled.report };
        let ok = !report.has_errors();
        match output {
            Form::Json => {
                println!("{}", serde_json::json!({ "ok": ok, "findings": report }));
            }
            Form::Text => {
                let least = if verbose { Level::Info } else { Level::Warning };
                eprint!("{}", report.render_all(least));
                println!("{}", verdict(&report, files, resources));
            }
        }
        Ok(if ok { ExitCode::SUCCESS } else { NO })
    }
}

/// One closing line.
fn verdict(report: &Report, documents: usize, resources: usize) -> String {
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let tail = if warnings > 0 { format!(", {}", some(warnings, "warning")) } else { String::new() };
    if errors > 0 {
        return format!("{}{tail}: this topology would not be served", some(errors, "error"));
    }
    format!("ok: {} in {}{tail}", some(resources, "resource"), some(documents, "file"))
}

/// `1 error`, `2 errors`.
fn some(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
