//! Why there is nothing to read.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why the files could not be read. Equal errors are equal values, so that each is reported once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing where the path leads.
    #[error("{path}: {cause}")]
    Missing {
        /// The path as it was given or found.
        path: Arc<str>,
        /// What exactly is not there.
        cause: Absence,
    },
    /// Something is there and cannot be read.
    #[error("{path}: cannot be read: {cause}")]
    Unreadable {
        /// The path as it was given or found.
        path: Arc<str>,
        /// What stands in the way.
        cause: Obstacle,
    },
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// The directory exists, the file does not.
    #[error("no such file or directory")]
    File,
    /// A directory on the way does not exist.
    #[error("no such file; the directory `{0}` does not exist either")]
    Directory(String),
    /// The path is a symbolic link to something that does not exist.
    #[error("it is a symbolic link to `{0}`, which does not exist")]
    Target(String),
    /// The directory holds no topology file.
    #[error("the directory holds no `*.yaml` or `*.yml` file")]
    Documents,
}

/// What stands in the way of reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Neither a file nor a directory.
    #[error("it is a {0}, not a regular file")]
    Kind(&'static str),
    /// The process lacks the permission.
    #[error("permission denied")]
    Permission,
    /// A followed directory that the process may not list.
    #[error("permission denied: it is a directory that this process may not list")]
    Unlisted,
    /// Symbolic links lead in a circle.
    #[error("too many symbolic links: they lead in a circle")]
    Loop,
    /// The file is larger than this many bytes.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// With this file, all files together are larger than this many bytes.
    #[error("with it, the files are larger than {} MiB together", .0 >> 20)]
    TooMuch(u64),
    /// The followed directories have more entries than this together.
    #[error("with it, the directories have more than {0} entries together")]
    TooMany(usize),
    /// The files were other ones after each attempt to read them.
    #[error("it kept changing while it was read")]
    Changing,
    /// Anything else, in the operating system's words.
    #[error("{0}")]
    Io(String),
}

impl ReadError {
    /// The path as it was given or found.
    pub fn path(&self) -> &Arc<str> {
        match self {
            Self::Missing { path, .. } | Self::Unreadable { path, .. } => path,
        }
    }

    /// What to do about it, where there is a remedy.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Missing { cause, .. } => match cause {
                Absence::File | Absence::Directory(_) => Some("create it, or name another path"),
                Absence::Target(_) => Some("create the link's target; a mounted volume may not be filled yet"),
                Absence::Documents => {
                    Some("files whose names start with a dot are skipped, and so is every other extension")
                }
            },
            Self::Unreadable { cause, .. } => match cause {
                Obstacle::Kind(_) => {
                    Some("name a file or a directory; `check` and `render` read standard input as `-`")
                }
                Obstacle::Permission => {
                    Some("let the user of this process read the file and enter every directory above it")
                }
                Obstacle::Unlisted => Some(
                    "let the user of this process list the directory, or keep it elsewhere; those whose names start with a dot are \
                     skipped",
                ),
                Obstacle::Loop => Some("one of the links on the path points back at itself: recreate it"),
                Obstacle::TooLarge(most) if *most < super::list::MAX_SIZE => None,
                Obstacle::TooLarge(_) | Obstacle::TooMuch(_) => {
                    Some("no topology may be that large: is it the right path?")
                }
                Obstacle::TooMany(_) => Some("follow a directory that holds the topology alone"),
                Obstacle::Changing => Some("write to another file and rename it over this one"),
                Obstacle::Io(_) => None,
            },
        }
    }

    /// The message with its remedy, on one line.
    pub fn with_help(&self) -> String {
        self.help().map_or_else(|| self.to_string(), |help| format!("{self} ({help})"))
    }

    /// Puts the failure of a system call on `path`, shown as `name`, into words.
    pub(super) fn of(name: &Arc<str>, path: &Path, error: &io::Error) -> Self {
        let path_name = Arc::clone(name);
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path_name, cause: absence(path) },
            io::ErrorKind::PermissionDenied => Self::Unreadable { path: path_name, cause: Obstacle::Permission },
            _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                Self::Unreadable { path: path_name, cause: Obstacle::Loop }
            }
            _ => Self::Unreadable { path: path_name, cause: Obstacle::Io(error.to_string()) },
        }
    }
}

/// Finds out which part of a path is not there.
fn absence(path: &Path) -> Absence {
    if let Ok(target) = path.read_link() {
        return Absence::Target(target.display().to_string());
    }
    let parent = path.parent().filter(|parent| !parent.exists());
    parent.map_or(Absence::File, |parent| Absence::Directory(parent.display().to_string()))
}
