//! How well changes are noticed: told once in the log, and to whoever asks.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Metrics, StatusCell};
use crate::diagnostic::Level;
use crate::source::Hazard;

/// What tells of changes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The operating system's events, with polling as a backstop if it is on.
    Events,
    /// Polling alone: it was asked for, or events cannot be had.
    Poll,
    /// Nothing.
    #[default]
    Off,
}

impl Mode {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Events, Self::Poll, Self::Off];

    /// The word in `/status` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Poll => "poll",
            Self::Off => "off",
        }
    }
}

/// How the files are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// What tells of changes.
    pub mode: Mode,
    /// How often the files are looked at, if at all.
    pub poll_interval: Option<Duration>,
    /// How often the kernel's queue was full, so that events were lost.
    pub overflows: u64,
    /// How many changes polling found that no event told of.
    pub missed_changes: u64,
    /// What keeps changes from being noticed, or at once.
    pub hazards: Vec<Hazard>,
}

/// Tells how the files are watched.
pub(super) struct Herald {
    status: Arc<StatusCell>,
    metrics: Metrics,
}

impl Herald {
    pub(super) fn new(status: Arc<StatusCell>, metrics: Metrics) -> Self {
        Self { status, metrics }
    }

    /// Replaces what was told; logs what is new in it.
    pub(super) fn tell(&self, watch: Watch) {
        let before = self.status.watch();
        if *before == watch {
            return;
        }
        for Hazard { level, code, message, help } in
            watch.hazards.iter().filter(|hazard| !before.hazards.contains(hazard))
        {
            if *level == Level::Info {
                tracing::info!(code, help, "{message}");
            } else {
                tracing::warn!(code, help, "{message}");
            }
        }
        if watch.overflows > 0 && before.overflows == 0 {
            tracing::warn!(
                "the kernel's event queue was full and events were lost; the files were read again, as they are each time"
            );
        }
        if before.mode == Mode::Poll && watch.mode == Mode::Events {
            tracing::info!("watching the topology for changes again");
        }
        self.metrics.watched(&watch, &before);
        self.status.store_watch(watch);
    }

    /// Events told of changes.
    pub(super) fn heard(&self, events: u64) {
        self.metrics.heard(events);
    }

    /// The files were read.
    pub(super) fn read(&self) {
        self.metrics.read();
    }

    /// The files were looked at.
    pub(super) fn looked(&self) {
        self.metrics.looked();
    }
}
