//! Serving snapshots over gRPC.

mod clients;

pub use clients::{ClientStatus, Clients, KindState, KindStatus, Nack};
