//! Chancery turns a declarative `topology.yaml` into xDS: it watches the file, checks it, diffs it into a new snapshot
//! version and pushes the difference to every Envoy and gRPC client, without restarting anything.
//!
//! The modules stand in the order in which one edit travels through them; imports only point backwards:
//!
//! 1. [`envoy`]: Envoy's API as data: descriptors, JSON, field rules, canonical bytes.
//! 2. [`source`]: files become documents.
//! 3. [`topology`]: YAML text becomes a located tree, split into sections.
//! 4. [`expand`]: the friendly form becomes native Envoy resources.
//! 5. [`check`]: what Envoy would refuse, or accept although it cannot work.
//! 6. [`snapshot`]: an immutable, versioned set of resources per node group.
//! 7. [`pipeline`]: steps 3 to 6 as the one pure path that every command shares.
//! 8. [`reload`]: the one task that turns wake-ups into published snapshots.
//! 9. [`xds`]: serving snapshots over gRPC.
//! 10. [`admin`]: looking in from outside.
//! 11. [`cli`]: the commands.
//!
//! [`diagnostic`] is the leaf that all of them may use: what is wrong, where, and what to do.

pub mod diagnostic;

pub mod envoy;
pub mod source;
pub mod topology;

pub mod expand;

pub mod check;

pub mod snapshot;

pub mod pipeline;

pub mod reload;

pub mod xds;

pub mod admin;

pub mod cli;
