//! Files become documents.

use std::sync::Arc;

/// One source file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The path as it is shown to users; `-` for standard input.
    pub name: Arc<str>,
    /// The bytes, not yet known to be UTF-8.
    pub bytes: Arc<[u8]>,
}
