//! Where the one writer publishes and every stream pulls.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::Snapshot;

/// Holds the newest snapshot. One task publishes; streams wait on [`Store::subscribe`] and then [`Store::load`]. A slow
/// stream skips what was published meanwhile.
#[derive(Debug)]
pub struct Store {
    current: ArcSwapOption<Snapshot>,
    /// Counts publications.
    bell: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self { current: ArcSwapOption::empty(), bell: watch::Sender::new(0) }
    }
}

impl Store {
    /// A store without a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `snapshot` the newest, then wakes every subscriber.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.current.store(Some(snapshot));
        self.bell.send_modify(|count| *count += 1);
    }

    /// The newest snapshot; `None` before the first.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Changes once per publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
