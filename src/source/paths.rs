//! The paths that the operator named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of standard input.
pub(super) const STDIN: &str = "-";

/// The files and directories that make one topology. The order in which they are named does not matter.
#[derive(Clone, Debug)]
pub struct Sources {
    given: Vec<Given>,
    stdin: bool,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// As it was given.
    pub(super) name: Arc<str>,
    /// Made absolute once, so that it keeps its meaning; symbolic links on it stay.
    pub(super) path: PathBuf,
}

impl Sources {
    /// Files, directories, and `-` for standard input, which can be read only once and never followed.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let (mut given, mut stdin) = (Vec::new(), false);
        for path in paths {
            let path = path.into();
            if path == Path::new(STDIN) {
                stdin = true;
                continue;
            }
            let name = Arc::from(path.to_string_lossy());
            // Fails for the empty path, and without a working directory; reading then says what is wrong.
            let path = std::path::absolute(&path).unwrap_or(path);
            given.push(Given { name, path });
        }
        Self { given, stdin }
    }

    /// Whether standard input is among the paths.
    pub fn reads_stdin(&self) -> bool {
        self.stdin
    }

    /// The paths as they were given.
    pub fn names(&self) -> Vec<Arc<str>> {
        let stdin = self.stdin.then(|| Arc::from(STDIN));
        stdin.into_iter().chain(self.given.iter().map(|given| Arc::clone(&given.name))).collect()
    }

    /// The paths on disk.
    pub(super) fn given(&self) -> &[Given] {
        &self.given
    }

    /// Whether a single path is followed, so that replacing it is one atomic step.
    pub(super) fn is_single(&self) -> bool {
        self.given.len() == 1
    }
}
