//! `POST /reload`: read the files now, and say what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::status::rfc3339;
use crate::diagnostic::{Level, Report};
use crate::reload::{Status, Verdict};
use crate::snapshot::{Change, Changes};

/// How long an answer may take; a large topology on a slow machine takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// What may go although it is much.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    confirm: Option<String>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    verdict: Verdict,
    revision: Option<u64>,
    changes: ByGroup<'a>,
    /// Whether other nodes than before may belong to the groups.
    regrouped: bool,
    error: Option<&'a str>,
    /// Without those that are only worth knowing: a script looks at this.
    findings: Report,
    attempted: Option<String>,
    /// Of what is served, if an earlier run saved it.
    restored: Option<String>,
    source_digest: Option<&'a str>,
    served_digest: Option<&'a str>,
}

/// Names by group, type, and what happened to them.
type ByGroup<'a> = BTreeMap<&'a str, BTreeMap<&'static str, BTreeMap<Change, Vec<&'a str>>>>;

pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    request: Result<Query<Request>, QueryRejection>,
) -> Response {
    let confirm = match request {
        Ok(Query(Request { confirm })) => confirm,
        Err(error) => {
            let message = format!("{}: use ?confirm=DIGEST, or nothing\n", error.body_text());
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    if confirm.as_ref().is_some_and(|digest| !is_digest(digest)) {
        let message = "confirm the `source_digest` of /status, or its first 16 hex digits at least, or the `digest` of quarantined \
                       content\n";
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    if let Some(digest) = &confirm
        && shared.state.rollout.release(digest)
    {
        tracing::info!(digest, "quarantined content may be tried again");
    }
    let trigger = &shared.state.trigger;
    let reload = async {
        match confirm {
            Some(digest) => trigger.confirm(digest).await,
            None => trigger.reload().await,
        }
    };
    match tokio::time::timeout(PATIENCE, reload).await {
        Ok(Some(status)) => (code(status.verdict), super::json(&Outcome::of(&status))).into_response(),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n").into_response(),
        Err(_) => {
            let message = format!("no verdict within {PATIENCE:?}: /status has it when it is there\n");
            (StatusCode::GATEWAY_TIMEOUT, message).into_response()
        }
    }
}

fn is_digest(text: &str) -> bool {
    (16..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn code(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Applied | Verdict::Unchanged => StatusCode::OK,
        Verdict::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        Verdict::Missing | Verdict::Unreadable | Verdict::Pending => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl<'a> Outcome<'a> {
    fn of(status: &'a Status) -> Self {
        let Status {
            verdict,
            attempted,
            succeeded: _,
            revision,
            changes,
            report,
            error,
            watched: _,
            sources: _,
            source_digest,
            served_digest,
            restored,
            state: _,
        } = status;
        let time = |time: &Option<SystemTime>| time.map(rfc3339);
        Self {
            verdict: *verdict,
            revision: *revision,
            changes: by_group(changes),
            regrouped: changes.regrouped(),
            error: error.as_deref(),
            findings: report.at_least(Level::Warning),
            attempted: time(attempted),
            restored: time(restored),
            source_digest: source_digest.as_deref(),
            served_digest: served_digest.as_deref(),
        }
    }
}

fn by_group(changes: &Changes) -> ByGroup<'_> {
    let mut all = ByGroup::new();
    for (group, kind, name, change) in changes.iter() {
        all.entry(group).or_default().entry(kind.service()).or_default().entry(change).or_default().push(name);
    }
    all
}
