//! Which files there are, and whether they may have changed, without reading them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::paths::Given;
use super::{Absence, Obstacle, ReadError, Sources};

/// No file may be larger than this many bytes, nor all files together.
pub(super) const MAX_SIZE: u64 = 256 << 20;

/// The followed directories may have as many entries together, of whatever kind.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// How often directories that change while they are listed, or files while they are read, are looked at again.
pub(super) const ATTEMPTS: usize = 3;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The files are not those that were found before.
    Changed,
    Error(ReadError),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

/// The files of a [`Sources`] at one moment, by name, each once. Two equal listings had the same content, as far as the file
/// system's time stamps can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(super) files: Vec<Listed>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The path as it was given or found.
    pub(super) name: Arc<str>,
    /// The path with every link resolved.
    pub(super) real: PathBuf,
    pub(super) stamp: Stamp,
}

/// What changes whenever a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a regular file of at most this many bytes.
    pub(super) fn of(name: &Arc<str>, metadata: &Metadata, most: u64) -> Result<Self, ReadError> {
        let unreadable = |cause| Err(ReadError::Unreadable { path: Arc::clone(name), cause });
        if !metadata.is_file() {
            return unreadable(Obstacle::Kind(kind(metadata)));
        }
        if metadata.len() > most {
            return unreadable(Obstacle::TooLarge(most));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// How many bytes the file has.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(0)
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_fifo() => "named pipe",
        () if kind.is_socket() => "socket",
        () => "device",
    }
}

/// Whether a directory's entry of this name is a topology file. What editors leave behind (`.topology.yaml.swp`,
/// `topology.yaml~`, `4913`) has a leading dot or another extension.
pub(super) fn is_document(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    extension && !is_skipped(name)
}

/// Whether a directory's entry is skipped, file or directory: dotfiles, and with them the generations (`..data`) inside
/// volumes that Kubernetes fills; and what `mkfs` puts into the root of a volume, for root alone to list.
pub(super) fn is_skipped(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.') || name == "lost+found"
}

impl Sources {
    /// Finds the files. Fails if any path has none, or if any file could not be read.
    pub(crate) fn list(&self) -> Result<Listing, ReadError> {
        for _ in 0..ATTEMPTS {
            match self.look(MAX_ENTRIES) {
                Ok(listing) => return Ok(listing),
                Err(Failure::Changed) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(self.changing())
    }

    /// Whatever was tried, they were other files in the end.
    pub(super) fn changing(&self) -> ReadError {
        let path = self.names().into_iter().next().unwrap_or_default();
        ReadError::Unreadable { path, cause: Obstacle::Changing }
    }

    /// Finds the files once, in directories that have at most `most` entries together.
    pub(super) fn look(&self, most: usize) -> Result<Listing, Failure> {
        let mut files = Vec::new();
        let mut room = Room { most, left: most };
        for Given { name, path } in self.given() {
            let metadata = fs::metadata(path).map_err(|error| ReadError::of(name, path, &error))?;
            if metadata.is_dir() {
                let before = files.len();
                list_directory(name, path, &mut room, &mut files)?;
                if files.len() == before {
                    return Err(ReadError::Missing { path: Arc::clone(name), cause: Absence::Documents }.into());
                }
            } else {
                files.push(list_file(Arc::clone(name), path)?);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut seen = BTreeSet::new();
        files.retain(|file| seen.insert(file.real.clone()));
        let mut total = 0_u64;
        for Listed { name, stamp, .. } in &files {
            total = total.saturating_add(stamp.size);
            if total > MAX_SIZE {
                return Err(ReadError::Unreadable { path: Arc::clone(name), cause: Obstacle::TooMuch(MAX_SIZE) }.into());
            }
        }
        Ok(Listing { files })
    }
}

fn list_file(name: Arc<str>, path: &Path) -> Result<Listed, ReadError> {
    let failed = |error| ReadError::of(&name, path, &error);
    let real = fs::canonicalize(path).map_err(failed)?;
    let stamp = Stamp::of(&name, &fs::metadata(&real).map_err(failed)?, MAX_SIZE)?;
    Ok(Listed { name, real, stamp })
}

/// How many entries the followed directories may have together.
struct Room {
    most: usize,
    left: usize,
}

impl Room {
    /// Counts one entry of a directory.
    fn take(&mut self, directory: &Arc<str>) -> Result<(), ReadError> {
        let full = || ReadError::Unreadable { path: Arc::clone(directory), cause: Obstacle::TooMany(self.most) };
        self.left = self.left.checked_sub(1).ok_or_else(full)?;
        Ok(())
    }
}

/// Adds the files of a directory that was given, and of those below it.
fn list_directory(given: &Arc<str>, path: &Path, room: &mut Room, files: &mut Vec<Listed>) -> Result<(), Failure> {
    let mut todo = vec![(Arc::clone(given), path.to_owned())];
    // Links between directories may lead in circles.
    let mut visited = BTreeSet::new();
    while let Some((name, path)) = todo.pop() {
        let failed = |error: io::Error| match error.kind() {
            // It was found to be there.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if !Arc::ptr_eq(&name, given) => Failure::Changed,
            io::ErrorKind::PermissionDenied => {
                ReadError::Unreadable { path: Arc::clone(&name), cause: Obstacle::Unlisted }.into()
            }
            _ => ReadError::of(&name, &path, &error).into(),
        };
        // All entries are read below one resolved directory: were `path` swapped meanwhile, they would be of two generations.
        let real = fs::canonicalize(&path).map_err(failed)?;
        if !visited.insert(real.clone()) {
            continue;
        }
        for entry in fs::read_dir(&real).map_err(failed)? {
            room.take(&name)?;
            let entry = entry.map_err(failed)?.file_name();
            if is_skipped(&entry) {
                continue;
            }
            let path = real.join(&entry);
            let name: Arc<str> = format!("{}/{}", name.trim_end_matches('/'), entry.to_string_lossy()).into();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => todo.push((name, path)),
                _ if is_document(&entry) => files.push(list_entry(name, &path)?),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A file whose name was found in a directory. If it is gone, the directory has changed; a link that leads nowhere is there.
fn list_entry(name: Arc<str>, path: &Path) -> Result<Listed, Failure> {
    list_file(name, path).map_err(|error| match error {
        ReadError::Missing { .. } if path.symlink_metadata().is_err() => Failure::Changed,
        error => error.into(),
    })
}
