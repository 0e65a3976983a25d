//! 1. Files become documents, and the task that serves them learns when to look again.
//!
//! Enters: the paths that the operator named, and those that documents name beside themselves. Leaves: [`Document`]s and
//! [`Attachment`]s, bytes and a name each, and wake-ups. Knows: disks and inotify; nothing of YAML.
//! Invariants: every wake-up is a hint, and only what is read counts; documents come in the order of their names and from one
//! generation of the files; no path, whatever lies there, can block or exhaust the process.

mod attachments;
mod bell;
mod chain;
mod digest;
mod error;
mod hazard;
mod list;
mod paths;
mod read;
mod settle;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use attachments::{Attachment, Attachments, Recorder};
pub use digest::Digest;
pub use error::{Absence, Obstacle, ReadError};
pub use hazard::Hazard;
pub use paths::Sources;

pub(crate) use attachments::Attached;
pub(crate) use bell::Bell;
pub(crate) use list::{Listing, Stamp};
pub(crate) use read::Reading;
pub(crate) use settle::{Signal, Wake};
pub(crate) use watch::{ArmError, Watcher};

/// One source file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The path as it is shown to users; `-` for standard input.
    pub name: Arc<str>,
    /// The bytes, not yet known to be UTF-8.
    pub bytes: Arc<[u8]>,
}
