//! The tests that put real parts together: one binary, so that it is linked once.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of the programs it ran")]

mod admission;
mod asked;
mod attached;
mod bad_input;
mod check_envoy;
mod cli;
mod conformance;
mod corpus;
mod delta;
mod envoy;
mod golden;
mod grpc_client;
mod import;
mod layers;
mod rejected;
mod reload;
mod rollout;
mod sandbox;
mod sandbox_files;
mod schema;
mod services;
mod soak;
mod sotw;
mod state;
mod statements;
mod stories;
mod support;
mod watching;
