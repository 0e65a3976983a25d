//! `/livez` and `/readyz`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use crate::diagnostic::Level;
use crate::reload::{Status, Verdict};

/// The process runs and answers.
pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// Ready means that there is something good to serve, however bad the last edit was.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let status = shared.state.status.load();
    let from = if status.restored.is_some() { ", saved by an earlier run; see /status" } else { "" };
    match shared.state.store.load() {
        Some(snapshot) => (StatusCode::OK, format!("ready: serving revision {}{from}\n", snapshot.revision())),
        None => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reason(&status))),
    }
}

/// Why there is no snapshot, in one line.
fn reason(status: &Status) -> String {
    let error = || status.error.clone().unwrap_or_else(|| status.watched.join(", "));
    match status.verdict {
        Verdict::Pending => "nothing has been read yet".to_owned(),
        Verdict::Missing => format!("a file is missing: {}", error()),
        Verdict::Unreadable => format!("a file cannot be read: {}", error()),
        Verdict::Rejected => rejected(status),
        Verdict::Applied | Verdict::Unchanged => "the snapshot is about to be published".to_owned(),
    }
}

fn rejected(status: &Status) -> String {
    let report = &status.report;
    let errors = report.count(Level::Error);
    let mut out = match errors {
        1 => "the configuration has an error".to_owned(),
        _ => format!("the configuration has {errors} errors"),
    };
    if let Some(first) = report.findings().iter().find(|finding| finding.level == Level::Error) {
        let place = first.span.map(|span| report.place(span) + ": ").unwrap_or_default();
        _ = write!(out, ", first {place}{}: {}", first.code, first.message);
    }
    out + "; see /status"
}
