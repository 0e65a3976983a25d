//! `chancery serve`: watch a topology and serve it.

use std::net::SocketAddr;
use std::path::PathBuf;
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

use super::NO;
use super::changes::Changes;
use super::input::Input;
use super::logging::Logging;
use crate::diagnostic::Level;
use crate::pipeline::World;
use crate::reload::{self, Reload, StateDir, Status, StatusCell, Trigger, Verdict};
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

    /// Exit with code 1 unless the topology is good at the start, for CI
    #[arg(long, env = "CHANCERY_REQUIRE_VALID", value_parser = FalseyValueParser::new())]
    require_valid: bool,

    /// Keep the last good snapshot in this directory, and serve it after a restart while the topology is broken or missing;
    /// private keys are in it
    #[arg(long, value_name = "DIR", env = "CHANCERY_STATE_DIR")]
    state_dir: Option<PathBuf>,

    /// Refuse an edit that removes more than this share of the resources of a type in a node group, in percent, until
    /// `POST /reload?confirm=DIGEST` confirms it [default: no limit]
    #[arg(long, value_name = "N", env = "CHANCERY_MAX_REMOVED_PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    max_removed_percent: Option<u8>,

    #[command(flatten)]
    changes: Changes,

    /// New clients that are taken on in a second; those beyond it are told to try again, and the others are not held up. A
    /// client is an aggregated stream, or a connection whose streams are of one type each; 0 is no limit [default: 15, and 5
    /// for each core, 100 at most]
    #[arg(long, value_name = "N", env = "CHANCERY_MAX_NEW_STREAMS_PER_SECOND")]
    max_new_streams_per_second: Option<u32>,

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
    /// Not at all: read at the start, on SIGHUP and on `POST /reload`
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
pub(super) fn interval(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.logging.install()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(self.serve());
        // A read or build that is still under way must not hold the process.
        runtime.shutdown_background();
        served
    }

    async fn serve(self) -> anyhow::Result<ExitCode> {
        let Self {
            input,
            listen,
            admin,
            settle,
            watch,
            poll_interval,
            require_valid,
            state_dir,
            max_removed_percent,
            changes,
            max_new_streams_per_second,
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
        let (gates, rollout) = (changes.gates(), changes.policy()?);
        // First of all: a SIGHUP that comes early must not end the process.
        let (mut signals, hangup) = (Signals::new()?, handle(SignalKind::hangup())?);
        let schema = input.schema()?;
        let state = state_dir.map(|dir| {
            StateDir::open(&dir).with_context(|| format!("cannot keep state in the directory {}", dir.display()))
        });
        let state = state.transpose()?;
        let names = sources.names();
        let mut registry = Registry::default();
        let store = Arc::new(Store::new());
        let status = Arc::new(StatusCell::new(names.clone()));
        let clients = Arc::new(Clients::new());

        let mut options = xds::Options { gates, rollout, allow_plaintext_secrets, ..xds::Options::default() };
        if let Some(limit) = max_new_streams_per_second {
            options.max_new_streams_per_second = limit;
        }
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
            let reload =
                Reload::new(sources, options, Arc::new(build), Arc::clone(&store), Arc::clone(&status), metrics);
            let reload = if let Some(dir) = state { reload.keep_state(dir) } else { reload };
            if let Some(percent) = max_removed_percent { reload.limit_removals(percent) } else { reload }
        };
        let trigger = reload.handle();
        println!("listening for xDS on {}", xds.local_addr());
        if let Some(admin) = &admin {
            println!("admin on http://{}", admin.local_addr());
        }
        println!("watching {}", names.join(", "));

        let rollout = Arc::clone(xds.rollout());
        let withholds_private_keys = xds.withholds_private_keys();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let until = shutdown.clone();
        tasks.spawn(async move {
            reload.run(until).await;
            Ok(())
        });
        if require_valid {
            let first = tokio::select! {
                first = first_verdict(&status) => first,
                name = signals.next() => bail!("{name} came before the topology was read"),
            };
            if !first.verdict.is_good() {
                refuse(&first);
                return Ok(NO);
            }
        }
        tasks.spawn(xds.run(shutdown.clone()));
        if let Some(admin) = admin {
            let registry = Arc::new(registry);
            let trigger = trigger.clone();
            let state =
                admin::State { store, status, trigger, clients, rollout, schema, registry, withholds_private_keys };
            tasks.spawn(admin.run(state, shutdown.clone()));
        }
        supervise(tasks, signals, (hangup, trigger), &shutdown).await.map(|()| ExitCode::SUCCESS)
    }
}

/// Waits for what comes of the first reading.
async fn first_verdict(status: &StatusCell) -> Arc<Status> {
    let mut news = status.subscribe();
    loop {
        let now = status.load();
        // The cell outlives the wait, so it cannot end without news.
        if now.verdict != Verdict::Pending || news.changed().await.is_err() {
            return now;
        }
    }
}

/// Says why `--require-valid` ends the process.
fn refuse(Status { error, report, .. }: &Status) {
    eprint!("{}", report.render_all(Level::Warning));
    match error {
        Some(error) => eprintln!("error: {error}"),
        None => eprintln!("error: the topology has errors, and --require-valid asks for one without"),
    }
}

/// Runs until a signal comes or a task ends by itself, then ends the others. A second signal ends the process at once.
/// SIGHUP asks for a reload.
async fn supervise(
    mut tasks: JoinSet<std::io::Result<()>>,
    mut signals: Signals,
    (mut hangup, trigger): (Signal, Trigger),
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let first = loop {
        tokio::select! {
            name = signals.next() => {
                info!(signal = name, "stopping");
                break None;
            }
            _ = hangup.recv() => {
                info!("reloading on SIGHUP");
                trigger.ring();
            }
            ended = tasks.join_next() => break ended,
        }
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

fn handle(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen for signals")
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: handle(SignalKind::interrupt())?, terminate: handle(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
