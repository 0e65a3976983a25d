//! The last good snapshot on disk: what a restart serves while the topology is broken or missing.
//!
//! Invariants: what is under the final name is whole, whenever the process or the machine stops; nothing found there can end
//! the process or be served unless it is what was written.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::snapshot::{Saved, Snapshot};

/// The file in the directory.
const FILE: &str = "snapshot";

/// What is written first and then renamed.
const TEMPORARY: &str = ".snapshot-";

/// No state file is larger.
const MAX_SIZE: u64 = 1 << 30;

/// A directory that may hold the last good snapshot. Private keys may be in it, so it is nobody else's.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Makes the directory if there is none, and sees that it can be written.
    ///
    /// # Errors
    /// If it cannot be used, or anyone could put another file in its place.
    pub fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if fs::metadata(dir)?.mode() & 0o002 != 0 {
            let message = "every user may write in it, and so decide what is served: `chmod o-w` it";
            return Err(io::Error::other(message));
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A process that was killed while it wrote leaves its file behind.
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(entry.path())?;
            }
        }
        temporary(dir)?;
        Ok(Self(dir.to_owned()))
    }

    /// Where the state is.
    pub fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    /// What was saved last, if anything was.
    ///
    /// # Errors
    /// If there is something that cannot be trusted or understood, in words.
    fn load(&self) -> Result<Option<Saved>, String> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(self.file()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        let own = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
        if !metadata.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        if !own || metadata.mode() & 0o002 != 0 {
            return Err("another user owns it or may write to it".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
        Saved::decode(&bytes).map(Some).map_err(|damage| damage.to_string())
    }

    /// Replaces the state in one step: whoever reads finds the old or the new one, whole, whenever the machine stops.
    fn save(&self, saved: &Saved) -> io::Result<()> {
        let mut file = temporary(&self.0)?;
        file.write_all(&saved.encode())?;
        file.as_file().sync_all()?;
        file.persist(self.file()).map_err(|error| error.error)?;
        File::open(&self.0)?.sync_all()
    }
}

fn temporary(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY).permissions(Permissions::from_mode(0o600)).tempfile_in(dir)
}

/// How the state on disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateStatus {
    /// Where it is.
    pub path: Arc<str>,
    /// When what is in it was saved.
    pub saved: Option<SystemTime>,
    /// Why what was there is ignored, or the newest snapshot is not in it.
    pub error: Option<String>,
}

/// Keeps the state on disk.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: StateDir,
    /// Whose state it is: the paths that are followed.
    paths: Vec<Arc<str>>,
    /// What an earlier process left, until this one publishes something.
    left: Option<Saved>,
    /// What is on disk, and the digest of its source.
    kept: Option<(Arc<Snapshot>, String)>,
    /// What should be.
    wanted: Option<(Arc<Snapshot>, String)>,
    status: StateStatus,
}

impl Keeper {
    /// Reads what an earlier process left that followed the same paths. What cannot be used is reported and ignored.
    pub(super) fn new(dir: StateDir, paths: Vec<Arc<str>>) -> Self {
        let path = dir.file().to_string_lossy().into_owned();
        let mut status = StateStatus { path: path.as_str().into(), saved: None, error: None };
        let own = |left: Option<Saved>| match left {
            Some(left) if left.paths != paths => {
                Err(format!("it was saved for other paths: {}", left.paths.join(", ")))
            }
            left => Ok(left),
        };
        let left = dir.load().and_then(own).unwrap_or_else(|error| {
            tracing::error!(path, error, "the state of an earlier run is ignored");
            status.error = Some(format!("the state of an earlier run is ignored: {error}"));
            None
        });
        status.saved = left.as_ref().map(at);
        let kept = left.as_ref().map(|left| (Arc::clone(&left.snapshot), left.source_digest.clone()));
        Self { dir, paths, left, kept, wanted: None, status }
    }

    pub(super) fn status(&self) -> &StateStatus {
        &self.status
    }

    /// What an earlier process left.
    pub(super) fn left(&self) -> Option<&Saved> {
        self.left.as_ref()
    }

    /// This was found good.
    pub(super) fn want(&mut self, snapshot: Arc<Snapshot>, digest: &str) {
        self.left = None;
        let same = |(kept, of): &(Arc<Snapshot>, String)| Arc::ptr_eq(kept, &snapshot) && of == digest;
        self.wanted = if self.kept.as_ref().is_some_and(same) { None } else { Some((snapshot, digest.to_owned())) };
    }

    /// Saves what should be on disk and is not, also what could not be saved before. Whether it worked, if there was need.
    pub(super) async fn save(&mut self) -> Option<bool> {
        let (snapshot, source_digest) = self.wanted.clone()?;
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let (dir, paths) = (self.dir.clone(), self.paths.clone());
        let saved = Saved { snapshot, paths, source_digest, at: millis };
        let saved = tokio::task::spawn_blocking(move || dir.save(&saved)).await;
        let error = match saved {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let Some(error) = error else {
            self.kept = self.wanted.take();
            self.status = StateStatus { saved: Some(now), error: None, ..self.status.clone() };
            return Some(true);
        };
        let error = format!("the newest snapshot could not be saved: {error}");
        if self.status.error.as_ref() != Some(&error) {
            tracing::error!(path = &*self.status.path, error, "a restart would not find what is served now");
        }
        self.status.error = Some(error);
        Some(false)
    }
}

/// When it was saved.
pub(super) fn at(saved: &Saved) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(saved.at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::snapshot::{DEFAULT_GROUP, Resource, Selectors};

    fn snapshot(revision: u64) -> Saved {
        let groups = BTreeMap::from([(DEFAULT_GROUP.into(), Vec::<Resource>::new())]);
        let (snapshot, _) = Snapshot::next(None, groups, Selectors::default()).unwrap();
        let (snapshot, paths) = (Arc::new(snapshot), vec!["topology.yaml".into()]);
        Saved { snapshot, paths, source_digest: revision.to_string(), at: revision }
    }

    #[test]
    fn the_state_is_replaced_and_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("new/state");
        let dir = StateDir::open(&path).unwrap();
        assert!(dir.load().unwrap().is_none());
        for revision in 1..=3 {
            dir.save(&snapshot(revision)).unwrap();
            assert_eq!(dir.load().unwrap().unwrap().source_digest, revision.to_string());
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&dir.file()), mode(&path)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state");
        StateDir::open(&path).unwrap().save(&snapshot(1)).unwrap();
        fs::write(path.join(".snapshot-half"), "half").unwrap();
        let dir = StateDir::open(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        assert!(dir.load().unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_trusted_is_no_state() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state");
        let dir = StateDir::open(&path).unwrap();
        dir.save(&snapshot(1)).unwrap();
        fs::set_permissions(dir.file(), Permissions::from_mode(0o606)).unwrap();
        assert!(dir.load().unwrap_err().contains("another user"));
        fs::rename(dir.file(), path.join("elsewhere")).unwrap();
        symlink("elsewhere", dir.file()).unwrap();
        assert!(dir.load().unwrap_err().contains("cannot be opened"));
        fs::remove_file(dir.file()).unwrap();
        fs::create_dir(dir.file()).unwrap();
        assert!(dir.load().unwrap_err().contains("not a regular file"));
        fs::remove_dir(dir.file()).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.file(), fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(dir.load().unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_said_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(StateDir::open(&file).is_err());
        assert!(StateDir::open(&file.join("below")).is_err());
        let open = temp.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(StateDir::open(&open).unwrap_err().to_string().contains("chmod o-w"));
    }

    #[tokio::test]
    async fn what_could_not_be_saved_is_saved_later() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state");
        let keeper = |followed: &str| Keeper::new(StateDir::open(&path).unwrap(), vec![followed.into()]);
        let mut first = keeper("topology.yaml");
        assert_eq!(first.save().await, None);
        fs::remove_dir(&path).unwrap();
        first.want(snapshot(1).snapshot, "one");
        assert_eq!(first.save().await, Some(false));
        assert!(first.status().error.as_ref().unwrap().contains("could not be saved"), "{first:?}");
        fs::create_dir(&path).unwrap();
        assert_eq!(first.save().await, Some(true));
        assert_eq!(first.save().await, None);
        assert_eq!((first.status().error.as_ref(), first.status().saved.is_some()), (None, true));

        let mut next = keeper("topology.yaml");
        let left = Arc::clone(&next.left().unwrap().snapshot);
        next.want(left, "one");
        assert_eq!(next.save().await, None, "it is there already");
        assert!(next.left().is_none());

        let other = keeper("other.yaml");
        assert!(other.left().is_none());
        assert!(other.status().error.as_ref().unwrap().ends_with("other paths: topology.yaml"), "{other:?}");
    }
}
