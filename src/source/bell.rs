//! Where watches leave what they hear, and the one task waits until it is time to read.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::settle::{Due, Settle, Signal, Wake};

/// A [`Settle`] between threads. However much is heard, it takes no more room than the files that are watched.
#[derive(Debug)]
pub(crate) struct Bell {
    settle: Mutex<Settle>,
    heard: Notify,
}

impl Bell {
    /// A bell that rings after this much quiet.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { settle: Mutex::new(Settle::new(quiet)), heard: Notify::new() }
    }

    /// Takes note of a signal.
    pub(crate) fn ring(&self, signal: Signal) {
        self.settle().hear(signal, Instant::now());
        self.heard.notify_one();
    }

    /// Whether something was heard and not answered by a reading.
    pub(crate) fn is_pending(&self) -> bool {
        self.settle().is_pending()
    }

    /// Whether someone was heard to write to a file and not to close it.
    pub(crate) fn awaits_writers(&self) -> bool {
        self.settle().awaits_writers()
    }

    /// Waits until it is time to read, and says why. Losing the future loses nothing.
    pub(crate) async fn wait(&self) -> Wake {
        loop {
            let due = self.settle().take(Instant::now());
            match due {
                Due::Now(wake) => return wake,
                Due::Never => self.heard.notified().await,
                Due::At(due) => {
                    tokio::select! {
                        () = self.heard.notified() => {}
                        () = tokio::time::sleep_until(due.into()) => {}
                    }
                }
            }
        }
    }

    fn settle(&self) -> MutexGuard<'_, Settle> {
        self.settle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
