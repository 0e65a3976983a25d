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

    /// Takes note of a signal that no watch gave.
    pub(crate) fn ring(&self, signal: Signal) {
        self.hear(signal, 0);
    }

    /// Takes note of a signal from one of the sets of watches, which are numbered in their order.
    pub(super) fn hear(&self, signal: Signal, from: u64) {
        let means_something = self.settle().hear(signal, from, Instant::now());
        if means_something {
            self.heard.notify_one();
        }
    }

    /// Whether something was heard and not answered by a reading.
    pub(crate) fn is_pending(&self) -> bool {
        self.settle().is_pending()
    }

    /// The oldest set of watches whose hearing a file closed would matter, if any does.
    pub(super) fn awaits(&self) -> Option<u64> {
        self.settle().awaits()
    }

    /// Whoever opens a file from now on need not be the one who made it.
    pub(crate) fn forget_created(&self) {
        self.settle().forget_created();
    }

    /// A reading begins that nothing that was heard led to.
    pub(crate) fn start(&self) {
        self.settle().start(Instant::now());
    }

    /// Whether what was read since [`Bell::wait`] may be half of something that is worth waiting for.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.settle().is_disturbed(Instant::now())
    }

    /// Waits again for what [`Bell::wait`] waited for: the reading came to nothing.
    pub(crate) fn put_back(&self, wake: &Wake) {
        self.settle().put_back(wake, Instant::now());
        self.heard.notify_one();
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
