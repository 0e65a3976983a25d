//! What the reload task counts.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Mode, Verdict, Watch};

/// Seconds from a small file to tens of thousands of resources.
const DURATIONS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InForce {
    mode: &'static str,
}

/// The reload task's metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    reloads: Family<Result, Counter>,
    reads: Counter,
    in_sync: Gauge,
    successful: Gauge,
    succeeded: Gauge<f64, AtomicU64>,
    duration: Histogram,
    restored: Gauge,
    saves: Family<Result, Counter>,
    mode: Family<InForce, Gauge>,
    events: Counter,
    polls: Counter,
    overflows: Counter,
    missed: Counter,
}

impl Metrics {
    /// Metrics at zero, shown by `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reloads: Family::default(),
            reads: Counter::default(),
            in_sync: Gauge::default(),
            successful: Gauge::default(),
            succeeded: Gauge::default(),
            duration: Histogram::new(DURATIONS),
            restored: Gauge::default(),
            saves: Family::default(),
            mode: Family::default(),
            events: Counter::default(),
            polls: Counter::default(),
            overflows: Counter::default(),
            missed: Counter::default(),
        };
        for verdict in [Verdict::Applied, Verdict::Unchanged, Verdict::Rejected, Verdict::Missing, Verdict::Unreadable]
        {
            // Alerts on a rate need the zero before the first one.
            metrics.reloads.get_or_create(&Result { result: verdict.as_str() }).inc_by(0);
        }
        for result in ["written", "failed"] {
            metrics.saves.get_or_create(&Result { result }).inc_by(0);
        }
        let Self { reloads, reads, in_sync, successful, succeeded, duration, restored, saves, .. } = &metrics;
        registry.register(
            "chancery_reloads",
            "Changes of the topology's files, by what became of them",
            reloads.clone(),
        );
        registry.register("chancery_source_reads", "Times that the topology's files were read", reads.clone());
        registry.register(
            "chancery_config_in_sync",
            "1 if what is served was made from the files as they were last seen, else 0",
            in_sync.clone(),
        );
        registry.register(
            "chancery_config_last_reload_successful",
            "1 if the last change of the files was applied or changed nothing, else 0",
            successful.clone(),
        );
        registry.register(
            "chancery_config_last_reload_success_timestamp_seconds",
            "When the files were last found good, in seconds since 1970",
            succeeded.clone(),
        );
        registry.register(
            "chancery_reload_duration_seconds",
            "Time from reading changed files to the verdict on them",
            duration.clone(),
        );
        registry.register(
            "chancery_config_restored",
            "1 while what is served is the last good snapshot of an earlier run, else 0",
            restored.clone(),
        );
        registry.register("chancery_state_writes", "Snapshots written to the state directory, or not", saves.clone());
        metrics.watching(Mode::Off);
        metrics.register_watch(registry);
        metrics
    }

    /// Whether what is served is that of an earlier run.
    pub(super) fn restored(&self, restored: bool) {
        self.restored.set(restored.into());
    }

    /// The state was written, or could not be.
    pub(super) fn saved(&self, written: bool) {
        self.saves.get_or_create(&Result { result: if written { "written" } else { "failed" } }).inc();
    }

    fn register_watch(&self, registry: &mut Registry) {
        let Self { mode, events, polls, overflows, missed, .. } = self;
        registry.register("chancery_watch_mode", "1 for what tells of changes of the files now, else 0", mode.clone());
        registry.register(
            "chancery_watch_events",
            "Events that told of a possible change of the files",
            events.clone(),
        );
        registry.register(
            "chancery_watch_polls",
            "Times that the files were looked at without an event",
            polls.clone(),
        );
        registry.register(
            "chancery_watch_overflows",
            "Times that the kernel's event queue was full, so that events were lost",
            overflows.clone(),
        );
        registry.register(
            "chancery_watch_missed_changes",
            "Changes of the files that polling found and no event told of",
            missed.clone(),
        );
    }

    pub(super) fn read(&self) {
        self.reads.inc();
    }

    /// A verdict was reached at `now`.
    pub(super) fn judged(&self, verdict: Verdict, in_sync: bool, now: SystemTime) {
        self.reloads.get_or_create(&Result { result: verdict.as_str() }).inc();
        self.in_sync.set(in_sync.into());
        self.successful.set(verdict.is_good().into());
        if verdict.is_good() {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.succeeded.set(since.as_secs_f64());
        }
    }

    /// Events told of possible changes.
    pub(super) fn heard(&self, events: u64) {
        self.events.inc_by(events);
    }

    /// The files were looked at without an event.
    pub(super) fn looked(&self) {
        self.polls.inc();
    }

    /// How the files are watched, and how they were watched before.
    pub(super) fn watched(&self, watch: &Watch, before: &Watch) {
        self.overflows.inc_by(watch.overflows - before.overflows);
        self.missed.inc_by(watch.missed_changes - before.missed_changes);
        self.watching(watch.mode);
    }

    fn watching(&self, now: Mode) {
        for mode in Mode::ALL {
            self.mode.get_or_create(&InForce { mode: mode.as_str() }).set((mode == now).into());
        }
    }

    /// A verdict took this long.
    pub(super) fn took(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_have_their_published_names() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.judged(Verdict::Rejected, false, SystemTime::now());
        metrics.took(Duration::from_millis(3));
        let watch = Watch { mode: Mode::Poll, overflows: 2, missed_changes: 3, ..Watch::default() };
        metrics.watched(&watch, &Watch::default());
        metrics.watched(&watch, &watch);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "chancery_reloads_total{result=\"applied\"} 0",
            "chancery_reloads_total{result=\"rejected\"} 1",
            "chancery_config_in_sync 0",
            "chancery_config_last_reload_successful 0",
            "chancery_config_last_reload_success_timestamp_seconds 0",
            "chancery_source_reads_total 0",
            "chancery_watch_events_total 0",
            "chancery_watch_polls_total 0",
            "chancery_watch_overflows_total 2",
            "chancery_watch_missed_changes_total 3",
            "chancery_watch_mode{mode=\"poll\"} 1",
            "chancery_watch_mode{mode=\"events\"} 0",
            "chancery_reload_duration_seconds_bucket{le=\"0.005\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line || found == format!("{line}.0")), "{line} in\n{text}");
        }
    }
}
