use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::diagnostic::Report;
use crate::pipeline::{Build, Outcome};
use crate::snapshot::Store;
use crate::source::{Bell, Sources, Watcher};

/// While no watch is left, the files are looked at instead, and watched again once there is room. Watches that are there and tell
/// of nothing are told of.
#[tokio::test]
async fn without_watches_the_files_are_polled_and_edits_still_arrive() {
    for failures in [0, 3, usize::MAX] {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("topology.yaml");
        fs::write(&file, "one").unwrap();
        let sources = Sources::new([&file]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let build: Builder = {
            let seen = Arc::clone(&seen);
            Arc::new(move |documents, _, _| {
                seen.lock().unwrap().push(documents[0].bytes.to_vec());
                Build { report: Report::default(), outcome: Outcome::Unchanged }
            })
        };
        let status = Arc::new(StatusCell::new(sources.names()));
        let options = Options { poll_interval: Duration::from_millis(20), ..Options::default() };
        let metrics = Metrics::register(&mut Registry::default());
        let reload = Reload::new(sources.clone(), options, build, Arc::new(Store::new()), Arc::clone(&status), metrics);
        // Its bell is not the task's: whatever arrives, arrives by looking.
        let bell = Arc::new(Bell::new(options.settle));
        *reload.watcher.lock().unwrap() = Watcher::scarce(Arc::new(sources), bell, failures);

        let shutdown = CancellationToken::new();
        let mut verdicts = status.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(reload.run(shutdown.clone()));
        for text in ["one", "two"] {
            fs::write(&file, text).unwrap();
            let arrived = async {
                while seen.lock().unwrap().last().is_none_or(|last| last != text.as_bytes()) {
                    verdicts.changed().await.unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the edit arrives");
        }
        let (mode, missed, code) = match failures {
            0 => (Mode::Events, 1, "missed-change"),
            usize::MAX => (Mode::Poll, 0, "not-watched"),
            // The second edit may come before there is room or after.
            _ => (Mode::Events, status.watch().missed_changes, "missed-change"),
        };
        let told = async {
            loop {
                let Watch { mode: now, missed_changes, hazards, .. } = &*status.watch();
                let is_told = hazards.iter().any(|hazard| hazard.code == code) || failures == 3;
                if (*now, *missed_changes, is_told) == (mode, missed, true) {
                    break;
                }
                verdicts.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told");
        shutdown.cancel();
        tasks.join_all().await;
    }
}
