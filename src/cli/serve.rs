//! `chancery serve`: watch a topology and serve it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::input::Input;
use super::logging::Logging;
use crate::pipeline::World;
use crate::reload::{self, Reload, StatusCell};
use crate::snapshot::{Snapshot, Store};
use crate::source::Document;
use crate::xds::{self, Clients};
use crate::{admin, pipeline};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    input: Input,

    /// Where proxies connect: `HOST:PORT` or `unix:PATH`
    #[arg(long, value_name = "ADDRESS", env = "CHANCERY_LISTEN", default_value = "127.0.0.1:18000")]
    listen: xds::Listen,

    /// Where status, health and metrics are served: `HOST:PORT`, or `off`
    #[arg(long, value_name = "ADDRESS", env = "CHANCERY_ADMIN", default_value = "127.0.0.1:18001")]
    admin: Admin,

    /// How long a file must rest after an in-place write before it is read
    #[arg(long, value_name = "DURATION", env = "CHANCERY_SETTLE", default_value = "100ms", value_parser = humantime::parse_duration)]
    settle: Duration,

    /// How changes are noticed
    #[arg(long, value_name = "HOW", env = "CHANCERY_WATCH", default_value = "auto")]
    watch: Watch,

    /// How often files are looked at in case an event was missed; 0 turns it off
    #[arg(long, value_name = "DURATION", env = "CHANCERY_POLL_INTERVAL", default_value = "5s", value_parser = interval)]
    poll_interval: Duration,

    /// How long newer content waits for a proxy to answer what it was sent
    #[arg(long, value_name = "DURATION", env = "CHANCERY_GATE_TIMEOUT", default_value = "20s", value_parser = humantime::parse_duration)]
    gate_timeout: Duration,

    /// Send private keys although `--listen` is neither loopback nor a Unix socket, where anyone on the way can read them
    #[arg(long, env = "CHANCERY_ALLOW_PLAINTEXT_SECRETS", value_parser = FalseyValueParser::new())]
    allow_plaintext_secrets: bool,

    #[command(flatten)]
    logging: Logging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Watch {
    /// By the kernel's events, with polling as a backstop
    Auto,
    /// By polling only
    Poll,
    /// Not at all: read once
    Off,
}

impl From<Watch> for reload::WatchMode {
    fn from(watch: Watch) -> Self {
        match watch {
            Watch::Auto => Self::Auto,
            Watch::Poll => Self::Poll,
            Watch::Off => Self::Off,
        }
    }
}

/// The admin port, or none.
#[derive(Clone, Copy, Debug)]
enum Admin {
    Off,
    At(SocketAddr),
}

impl std::str::FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().map(Self::At);
        address.map_err(|_| format!("`{text}` is neither an address such as 127.0.0.1:18001 nor `off`"))
    }
}

/// A duration in which a bare `0` is zero.
fn interval(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.logging.install()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(self.serve());
        // A read or build that is still under way must not hold the process.
        runtime.shutdown_background();
        served.map(|()| ExitCode::SUCCESS)
    }

    async fn serve(self) -> anyhow::Result<()> {
        let Self {
            input,
            listen,
            admin,
            settle,
            watch,
            poll_interval,
            gate_timeout,
            allow_plaintext_secrets,
            logging: _,
        } = self;
        let sources = input.sources();
        if sources.reads_stdin() {
            bail!("cannot follow standard input: give `serve` files or directories");
        }
        if watch == Watch::Poll && poll_interval.is_zero() {
            bail!(
                "--watch poll with --poll-interval 0 would never notice a change: set an interval, or say --watch off"
            );
        }
        let schema = input.schema()?;
        let names = sources.names();
        let mut registry = Registry::default();
        let store = Arc::new(Store::new());
        let status = Arc::new(StatusCell::new(names.clone()));
        let clients = Arc::new(Clients::new());
        let signals = Signals::new()?;

        let options = xds::Options { gate_timeout, allow_plaintext_secrets, ..xds::Options::default() };
        let metrics = xds::Metrics::register(&mut registry);
        let xds = xds::Server::bind(&listen, Arc::clone(&store), Arc::clone(&clients), metrics, options);
        let xds = xds.await.with_context(|| format!("cannot listen for xDS on {listen}"))?;
        let admin = match admin {
            Admin::Off => None,
            Admin::At(address) => {
                let bound = admin::Server::bind(address).await;
                Some(bound.with_context(|| format!("cannot serve the admin port on {address}"))?)
            }
        };
        let reload = {
            let (schema, memory) = (Arc::clone(&schema), Mutex::new(pipeline::Memory::default()));
            let build = move |documents: &[Document], world: &World<'_>, previous: Option<&Snapshot>| {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                pipeline::build(&schema, documents, world, previous, &mut memory)
            };
            let options = reload::Options { settle, watch: watch.into(), poll_interval };
            let metrics = reload::Metrics::register(&mut registry);
            Reload::new(sources, options, Arc::new(build), Arc::clone(&store), Arc::clone(&status), metrics)
        };
        println!("listening for xDS on {}", xds.local_addr());
        if let Some(admin) = &admin {
            println!("admin on http://{}", admin.local_addr());
        }
        println!("watching {}", names.join(", "));

        let withholds_private_keys = xds.withholds_private_keys();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(xds.run(shutdown.clone()));
        if let Some(admin) = admin {
            let state =
                admin::State { store, status, clients, schema, registry: Arc::new(registry), withholds_private_keys };
            tasks.spawn(admin.run(state, shutdown.clone()));
        }
        let until = shutdown.clone();
        tasks.spawn(async move {
            reload.run(until).await;
            Ok(())
        });
        supervise(tasks, signals, &shutdown).await
    }
}

/// Runs until a signal comes or a task ends by itself, then ends the others. A second signal ends the process at once.
async fn supervise(
    mut tasks: JoinSet<std::io::Result<()>>,
    mut signals: Signals,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let first = tokio::select! {
        name = signals.next() => {
            info!(signal = name, "stopping");
            None
        }
        ended = tasks.join_next() => ended,
    };
    shutdown.cancel();
    let drain = async {
        let mut failure = first.map(|ended| match ended {
            Ok(Ok(())) => anyhow::anyhow!("a task ended without being told to"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        });
        while let Some(ended) = tasks.join_next().await {
            let outcome = ended.map_err(anyhow::Error::from).and_then(|outcome| outcome.map_err(anyhow::Error::from));
            failure = failure.or(outcome.err());
        }
        failure
    };
    let failure = tokio::select! {
        failure = drain => failure,
        name = signals.next() => {
            warn!(signal = name, "stopping at once");
            None
        }
    };
    failure.map_or(Ok(()), Err)
}

/// What tells the server to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
