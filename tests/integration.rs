//! All integration tests, as one binary.

#![allow(clippy::unwrap_used, reason = "a failure ends the test, also in its helpers")]

mod reload;
