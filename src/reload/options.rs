//! How the files are followed.

use std::time::Duration;

/// How the files are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long the files must be quiet before they are read, if they are not replaced in one step. At most two seconds.
    pub settle: Duration,
    /// What to rely on.
    pub watch: WatchMode,
    /// How often to look whether the files changed unnoticed; zero for never.
    pub poll_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { settle: Duration::from_millis(100), watch: WatchMode::Auto, poll_interval: Duration::from_secs(5) }
    }
}

/// What tells that files changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// The operating system's events, and looking at intervals for what they miss.
    #[default]
    Auto,
    /// Looking at intervals.
    Poll,
    /// Nothing: the files are read at the start and when a [`Trigger`](super::Trigger) asks for it.
    Off,
}
