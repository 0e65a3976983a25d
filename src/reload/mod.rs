//! The one task that turns wake-ups into published snapshots.
//!
//! Enters: wake-ups of any cause. Leaves: snapshots in the [`Store`](crate::snapshot::Store) and a [`Status`] for those who
//! look in from outside. Invariant: whatever goes wrong, what is served stays.

mod status;

pub use status::{SourceFile, Status, StatusCell, Verdict};
