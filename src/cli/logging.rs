//! Logs of the server: to stderr, as text or JSON.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How the server logs.
#[derive(Clone, Debug, Args)]
pub(super) struct Logging {
    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORM", env = "CHANCERY_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,

    // `notify` warns of each watch that went with its directory, which is how a ConfigMap changes.
    /// What to log: a level, or directives such as `chancery::xds=debug`
    #[arg(long, value_name = "FILTER", env = "CHANCERY_LOG", default_value = "warn,notify=error,chancery=info")]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logging {
    /// Installs the subscriber for the rest of the process.
    pub(super) fn install(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| anyhow::anyhow!("--log `{}` is not a filter: {error}", self.log))?;
        let colours = std::io::stderr().is_terminal();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
        let installed = match self.log_format {
            LogFormat::Text => subscriber.try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        };
        installed.map_err(|error| anyhow::anyhow!("cannot install the log: {error}"))
    }
}
