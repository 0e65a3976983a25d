//! The commands, one file each.
//!
//! Enters: arguments and environment. Leaves: results on stdout, findings and logs on stderr, and an exit code: 0 yes or
//! done; 1 a negative answer; 2 could not run. Flags say how the process runs; the topology says what is served.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands are what talks to the terminal")]

mod bootstrap;
mod changes;
mod check;
mod envoy_validate;
mod explain;
mod healthcheck;
mod import;
mod input;
mod logging;
mod render;
mod schema;
mod serve;
mod static_bootstrap;
mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serves a declarative topology to Envoy and gRPC clients over xDS.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a topology and serve it over xDS
    Serve(serve::Serve),
    /// Say whether a topology would be served, and what is wrong with it
    Check(check::Check),
    /// Print a topology as native Envoy resources
    Render(render::Render),
    /// Say what a finding's code means and how to mend it
    Explain(explain::Explain),
    /// Turn an Envoy configuration into a topology
    Import(import::Import),
    /// Print the JSON Schema of topology files, for editors
    Schema(schema::Print),
    /// Print the bootstrap that an Envoy or a gRPC client needs to join
    Bootstrap(bootstrap::Bootstrap),
    /// Ask a running server whether it is ready, for containers
    Healthcheck(healthcheck::Healthcheck),
}

/// A negative answer: findings, differences, not ready.
const NO: ExitCode = ExitCode::FAILURE;

/// Could not run: a bad flag, a taken port, I/O.
const FAILED: u8 = 2;

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Render(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Bootstrap(command) => command.run(),
        Command::Healthcheck(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(FAILED)
    })
}
