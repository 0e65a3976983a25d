//! The tests that put real parts together: one binary, so that it is linked once.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod delta;
mod sotw;
mod support;
