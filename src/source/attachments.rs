//! Files that the topology names beside itself: certificates, keys, lists of authorities.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use super::list::Stamp;
use super::paths::{Given, STDIN};
use super::{Digest, Obstacle, ReadError};

/// No attached file may be larger than this many bytes.
const MAX_SIZE: u64 = 1 << 20;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// Hands in the content of the files that a topology names. What is not pure about them is behind this.
pub trait Attachments {
    /// The file that a document names with `path`, which is relative to the document's own directory.
    ///
    /// # Errors
    /// If there is no such regular file of at most 1 MiB.
    fn read(&self, document: &str, path: &str) -> Result<Attachment, ReadError>;
}

/// The content of an attached file. It may be a private key: it is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The path as it is shown to users.
    pub name: Arc<str>,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bytes } = self;
        write!(f, "Attachment({name}, {} bytes)", bytes.len())
    }
}

/// Reads attached files from disk, each once, and remembers which they were.
#[derive(Debug, Default)]
pub struct Recorder {
    read: Mutex<BTreeMap<Arc<str>, Read>>,
}

/// Where a file was looked for, and what was found.
type Read = (PathBuf, Result<Attachment, ReadError>);

impl Recorder {
    /// One that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was read so far, for comparison with what is there later.
    pub(crate) fn attached(&self) -> Attached {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let file = |(name, (path, outcome)): (&Arc<str>, &Read)| {
            let digest = outcome.as_ref().map(|attachment| Digest::of(&attachment.bytes)).map_err(Clone::clone);
            AttachedFile { given: Given { name: Arc::clone(name), path: path.clone() }, digest }
        };
        Attached { files: read.iter().map(file).collect() }
    }
}

impl Attachments for Recorder {
    fn read(&self, document: &str, path: &str) -> Result<Attachment, ReadError> {
        let beside = if document == STDIN { None } else { Path::new(document).parent() };
        let shown = beside.unwrap_or(Path::new("")).join(path);
        let name: Arc<str> = shown.to_string_lossy().into();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever names it twice must get the same bytes, although it may have changed meanwhile.
        let (_, outcome) = read.entry(Arc::clone(&name)).or_insert_with(|| {
            // Fails for the empty path only, which reading then says.
            let path = std::path::absolute(&shown).unwrap_or(shown);
            let outcome = read_file(&name, &path);
            (path, outcome)
        });
        outcome.clone()
    }
}

/// The attached files of a topology as they were at one moment, by name. It holds digests, never content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attached {
    files: Vec<AttachedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AttachedFile {
    given: Given,
    digest: Result<Digest, ReadError>,
}

impl Attached {
    /// The same files as they are now. May block as long as the file systems do.
    pub(crate) fn look(&self) -> Self {
        let look = |AttachedFile { given, digest: _ }: &AttachedFile| {
            let read = read_file(&given.name, &given.path);
            AttachedFile { given: given.clone(), digest: read.map(|attachment| Digest::of(&attachment.bytes)) }
        };
        Self { files: self.files.iter().map(look).collect() }
    }

    /// What their change would change, without reading them.
    pub(crate) fn stamps(&self) -> Vec<Result<Stamp, ReadError>> {
        self.files.iter().map(|AttachedFile { given, .. }| stamp(&given.name, &given.path)).collect()
    }

    /// Whether both are of the same files, whatever is in them.
    pub(crate) fn same_files(&self, other: &Self) -> bool {
        self.given().eq(other.given())
    }

    /// The name of each file with its digest; one that could not be read has the digest of the reason.
    pub(crate) fn digests(&self) -> impl Iterator<Item = (&Arc<str>, Digest)> {
        self.files.iter().map(|AttachedFile { given, digest }| {
            let digest =
                digest.as_ref().map_or_else(|error| Digest::of(error.to_string().as_bytes()), |digest| *digest);
            (&given.name, digest)
        })
    }

    /// The paths.
    pub(super) fn given(&self) -> impl Iterator<Item = &Given> {
        self.files.iter().map(|file| &file.given)
    }

    /// A set of paths that were never read.
    #[cfg(test)]
    pub(crate) fn of(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let file = |path: PathBuf| {
            let name: Arc<str> = path.to_string_lossy().into();
            let cause = super::Absence::File;
            AttachedFile {
                digest: Err(ReadError::Missing { path: Arc::clone(&name), cause }),
                given: Given { name, path },
            }
        };
        Self { files: paths.into_iter().map(|path| file(path.into())).collect() }
    }
}

fn stamp(name: &Arc<str>, path: &Path) -> Result<Stamp, ReadError> {
    let metadata = fs::metadata(path).map_err(|error| ReadError::of(name, path, &error))?;
    Stamp::of(name, &metadata, MAX_SIZE)
}

fn read_file(name: &Arc<str>, path: &Path) -> Result<Attachment, ReadError> {
    let failed = |error: io::Error| ReadError::of(name, path, &error);
    let unreadable = |cause| Err(ReadError::Unreadable { path: Arc::clone(name), cause });
    for _ in 0..ATTEMPTS {
        // Looked at first: a named pipe must not be opened at all, let alone wait for a writer.
        let before = stamp(name, path)?;
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let open = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
        Stamp::of(name, &open.metadata().map_err(failed)?, MAX_SIZE)?;
        let mut bytes = Vec::new();
        open.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_SIZE {
            return unreadable(Obstacle::TooLarge(MAX_SIZE));
        }
        if stamp(name, path)? == before {
            return Ok(Attachment { name: Arc::clone(name), bytes: bytes.into() });
        }
    }
    unreadable(Obstacle::Changing)
}

/// Attachments in memory, by the path that a document names.
impl Attachments for BTreeMap<&str, &[u8]> {
    fn read(&self, _: &str, path: &str) -> Result<Attachment, ReadError> {
        let name = Arc::from(path);
        match self.get(path) {
            Some(bytes) => Ok(Attachment { name, bytes: (*bytes).into() }),
            None => Err(ReadError::Missing { path: name, cause: super::Absence::File }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_relative_to_the_document_and_a_file_is_read_once() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("certs")).unwrap();
        let file = temp.path().join("certs/a.crt");
        fs::write(&file, "one").unwrap();
        let document = temp.path().join("topology.yaml").display().to_string();
        let recorder = Recorder::new();
        let first = recorder.read(&document, "certs/a.crt").unwrap();
        assert_eq!((&*first.bytes, &*first.name), (&b"one"[..], &*file.display().to_string()));
        let before = recorder.attached();
        fs::write(&file, "two").unwrap();
        assert_eq!(recorder.read(&document, "certs/a.crt").unwrap(), first);
        assert_eq!(recorder.read("elsewhere.yaml", &file.display().to_string()).unwrap(), first);
        assert_eq!(recorder.attached(), before);
        let after = before.look();
        assert!(after != before && after.same_files(&before));
        fs::write(&file, "one").unwrap();
        assert_eq!(before.look(), before);
        assert!(!format!("{recorder:?}").contains("111, 110, 101"), "{recorder:?}");
    }

    #[test]
    fn what_is_no_small_regular_file_is_refused_without_waiting() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        fs::File::create(dir.join("large")).unwrap().set_len(MAX_SIZE + 1).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let document = dir.join("t.yaml").display().to_string();
        for (path, message) in [
            ("fifo", "it is a named pipe, not a regular file"),
            ("large", "it is larger than 1 MiB"),
            ("loop", "too many symbolic links"),
            (".", "it is a directory, not a regular file"),
            ("/dev/zero", "it is a device, not a regular file"),
            ("absent", "no such file or directory"),
        ] {
            let recorder = Recorder::new();
            let error = recorder.read(&document, path).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!(recorder.attached().look(), recorder.attached());
        }
    }
}
