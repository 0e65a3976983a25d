//! 6. The one task that turns wake-ups into published snapshots.
//!
//! Enters: wake-ups of any cause. Leaves: snapshots in the [`Store`](crate::snapshot::Store), the last good one on disk if that is asked
//! for, and a [`Status`] for those who look in from outside. Knows: the pipeline as one function, and no gRPC.
//! Invariants: whatever goes wrong, what is served stays; what was not read whole is not judged; the same bytes are judged
//! once, and each verdict is logged once.

mod guard;
mod judge;
mod metrics;
mod options;
mod state;
mod status;
mod task;
mod trigger;
mod watch;

#[cfg(test)]
mod tests;

pub use judge::Builder;
pub use metrics::Metrics;
pub use options::{Options, WatchMode};
pub use state::{StateDir, StateStatus};
pub use status::{SourceFile, Status, StatusCell, Verdict};
pub use task::Reload;
pub use trigger::Trigger;
pub use watch::{Mode, Watch};
