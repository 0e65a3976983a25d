//! The commands.

pub mod bootstrap;
pub mod healthcheck;
pub mod render;

mod input;
mod static_bootstrap;
mod yaml;
