//! Asking for a reload from outside.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Status;

/// Someone asks for a reload.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// The digest of files that are to be applied however much they remove.
    pub(super) confirm: Option<String>,
    /// Takes what came of it.
    pub(super) answer: Option<oneshot::Sender<Arc<Status>>>,
}

/// As many askers wait in line; more are answered by the same reload anyway.
const QUEUE: usize = 16;

/// Asks the reload task to read the files now, whatever watches say.
#[derive(Clone, Debug)]
pub struct Trigger(mpsc::Sender<Request>);

impl Trigger {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Asks a task that has ended.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self::new().0
    }

    /// Asks and does not wait.
    pub fn ring(&self) {
        match self.0.try_send(Request::default()) {
            // Of those in line none is answered yet, so the reading that answers them will also be later than this.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Closed(_)) => tracing::debug!("a reload was asked for after the task had ended"),
        }
    }

    /// Asks and waits for the status after a reading that began later than the call; `None` if the task has ended.
    pub async fn reload(&self) -> Option<Arc<Status>> {
        self.ask(None).await
    }

    /// The same, for which the files whose [`Status::source_digest`] begins with these 16 digits or more may remove as much as they do.
    pub async fn confirm(&self, digest: String) -> Option<Arc<Status>> {
        self.ask(Some(digest)).await
    }

    async fn ask(&self, confirm: Option<String>) -> Option<Arc<Status>> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Request { confirm, answer: Some(sender) }).await.ok()?;
        receiver.await.ok()
    }
}
