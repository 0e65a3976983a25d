//! The real parts that the tests put together: Envoy, upstreams, Chancery, a load of requests, and edits of a file.
//!
//! Everything listens on loopback, on ports that the system chose, and ends with the test that started it.

use std::time::{Duration, Instant};

pub(crate) mod chancery;
pub(crate) mod edit;
pub(crate) mod envoy;
pub(crate) mod examples;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod port;
pub(crate) mod random;
pub(crate) mod slow_eds;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod xds_client;

/// How long a condition may take to come true on a busy machine before the test fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is `Ok`, and returns what was in it.
///
/// # Panics
/// If no answer was `Ok` within a minute; the last `Err` says why.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(why) if start.elapsed() > DEADLINE => panic!("not within {DEADLINE:?}: {what}: {why}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `Ok` if it holds, else what was seen instead.
pub(crate) fn holds(condition: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{seen:?}")) }
}
