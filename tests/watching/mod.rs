//! Every way in which a file can change, a test each: nothing is lost, nothing is published that was not meant.
//!
//! `edits` needs nothing but a directory, `program` the program with its checks and its queue, `mounts` mounts and limits;
//! `random` does what `edits` does in any order.

mod edits;
mod mounts;
mod namespace;
mod program;
mod random;

use serde_json::Value;

/// A topology that differs from those of other names.
fn topology(name: &str) -> String {
    format!("version: 1\nclusters:\n- {{name: at-{name}, endpoints: [127.0.0.1:80]}}\n")
}

/// Whether `/status` warns of this.
fn has_warning(status: &Value, code: &str) -> bool {
    let warnings = status["watch"]["warnings"].as_array().expect("a list");
    warnings.iter().any(|warning| warning["code"] == code)
}
