//! The friendly form becomes native Envoy resources.

use crate::envoy::{Kind, Node};

/// A resource in Envoy's own JSON form.
#[derive(Debug)]
pub struct Native {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Proto3 JSON of the kind's message; spans point at the text that it came from.
    pub node: Node,
    /// Where it was written, such as `clusters[0]`.
    pub path: String,
    /// Written with `"@type"`: taken as it is.
    pub verbatim: bool,
}
