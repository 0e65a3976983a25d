//! Watches on the chain, and what their events mean.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::chain::Chain;
use super::{Attached, Bell, Hazard, Signal, Sources};
use crate::diagnostic::Level;

/// How often watches are set anew in a row while the directories keep changing.
const ATTEMPTS: usize = 10;

/// How many earlier sets of watches are kept at most; each takes an inotify instance.
const MAX_RETIRED: usize = 4;

/// Why nothing is watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArmError {
    /// `inotify_init` failed for want of instances or descriptors.
    #[error("no inotify instance is left")]
    Instances,
    /// `inotify_add_watch` failed for want of watches.
    #[error("no inotify watch is left")]
    Watches,
    /// A directory was gone before it could be watched.
    #[error("the directories keep changing")]
    Moved,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ArmError {
    /// What keeps changes from being noticed at once, and the remedy.
    pub(crate) fn hazard(&self) -> Hazard {
        let help = match self {
            Self::Instances => {
                "raise the sysctl fs.inotify.max_user_instances, or the limit of open files; polling, and trying again now and then"
            }
            Self::Watches => "raise the sysctl fs.inotify.max_user_watches; polling, and trying again now and then",
            Self::Moved | Self::Other(_) => "polling, and trying again each time",
        };
        let message = format!("cannot watch the topology for changes: {self}");
        Hazard { level: Level::Warning, code: "not-watched", message, help }
    }
}

/// What hears the events of one set of watches.
#[derive(Debug)]
struct Ear {
    chain: Chain,
    bell: Arc<Bell>,
    /// Other watches have taken over. What these still hear is old, except for the closing of a file: nobody else may have
    /// heard it, and it would be waited for.
    retired: AtomicBool,
}

impl Ear {
    fn hear(&self, event: notify::Result<Event>) {
        let retired = self.retired.load(Ordering::Acquire);
        let heard = signals(&self.chain, event).into_iter();
        for signal in heard.filter(|signal| !retired || matches!(signal, Signal::Closed(_))) {
            self.bell.ring(signal);
        }
    }
}

/// Sets watches: the operating system's, or a test's.
trait Backend: Send {
    /// Watches every directory and file of the ear's chain and lets it hear, until the result is dropped.
    fn arm(&self, ear: &Arc<Ear>) -> Result<Box<dyn Send>, ArmError>;
}

/// One set of watches.
struct Armed {
    ear: Arc<Ear>,
    /// Ends them when it is dropped.
    _watches: Box<dyn Send>,
}

/// Keeps watches on everything that can make the paths mean something else.
pub(crate) struct Watcher {
    sources: Arc<Sources>,
    bell: Arc<Bell>,
    backend: Box<dyn Backend>,
    armed: Option<Armed>,
    /// Earlier watches, while the closing of a file may be under way from them.
    retired: Vec<Armed>,
}

impl Watcher {
    /// Watches nothing until [`Watcher::arm`] is called.
    pub(crate) fn new(sources: Arc<Sources>, bell: Arc<Bell>) -> Self {
        Self::with_backend(sources, bell, Box::new(Native))
    }

    fn with_backend(sources: Arc<Sources>, bell: Arc<Bell>, backend: Box<dyn Backend>) -> Self {
        Self { sources, bell, backend, armed: None, retired: Vec::new() }
    }

    /// Makes sure that the watches are on the directories that the paths, and those of attached files, lead through now: all
    /// new ones if `anew`, else only if the chain differs. What is read after this cannot change unnoticed.
    pub(crate) fn arm(&mut self, attached: &Attached, mut anew: bool) -> Result<(), ArmError> {
        if !self.bell.awaits_writers() {
            self.retired.clear();
        }
        for _ in 0..ATTEMPTS {
            let chain = Chain::of(&self.sources, attached);
            if !anew && self.armed.as_ref().is_some_and(|armed| armed.ear.chain == chain) {
                return Ok(());
            }
            let ear = Arc::new(Ear { chain, bell: Arc::clone(&self.bell), retired: AtomicBool::new(false) });
            match self.backend.arm(&ear) {
                // Once more: the chain may have changed before the watches were set.
                Ok(watches) => self.take_over(Armed { ear, _watches: watches }),
                Err(ArmError::Moved) => continue,
                Err(error) => {
                    self.armed = None;
                    self.retired.clear();
                    return Err(error);
                }
            }
            anew = false;
        }
        // Not for ever: the files are due to be read. After that, again.
        self.bell.ring(Signal::Again);
        if self.armed.is_some() { Ok(()) } else { Err(ArmError::Moved) }
    }

    fn take_over(&mut self, next: Armed) {
        let Some(last) = self.armed.replace(next) else { return };
        last.ear.retired.store(true, Ordering::Release);
        self.retired.push(last);
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0);
        }
    }
}

/// The operating system's watches.
struct Native;

impl Backend for Native {
    fn arm(&self, ear: &Arc<Ear>) -> Result<Box<dyn Send>, ArmError> {
        let heard = Arc::clone(ear);
        let handler = move |event| heard.hear(event);
        let mut watcher =
            RecommendedWatcher::new(handler, notify::Config::default()).map_err(|error| explain(&error))?;
        for path in ear.chain.dirs().chain(ear.chain.files()) {
            if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
                if is_denied(&error) {
                    // Entering a directory takes less than listing it. The ones below and the poll still tell.
                    tracing::debug!(path = %path.display(), "not permitted to watch a directory on the way");
                } else {
                    return Err(explain(&error));
                }
            }
        }
        Ok(Box::new(watcher))
    }
}

fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn explain(error: &notify::Error) -> ArmError {
    use rustix::io::Errno;
    match &error.kind {
        ErrorKind::MaxFilesWatch => ArmError::Watches,
        ErrorKind::PathNotFound => ArmError::Moved,
        ErrorKind::Io(io) => match io.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE) => ArmError::Instances,
            Some(Errno::NOSPC) => ArmError::Watches,
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => ArmError::Moved,
            _ => ArmError::Other(error.to_string()),
        },
        _ => ArmError::Other(error.to_string()),
    }
}

/// What an event means for the files, if anything. Kinds only tell how long to wait; whether an event matters is a question of
/// its names, for systems differ in what they call the replacement of a link.
fn signals(chain: &Chain, event: notify::Result<Event>) -> Vec<Signal> {
    let event = match event {
        // An overflow has no paths.
        Ok(event) if event.need_rescan() => return vec![Signal::Overflow],
        Ok(event) => event,
        Err(_) => return vec![Signal::Lost],
    };
    let heard = event.paths.iter().filter(|path| chain.concerns(path));
    let mean: fn(&Chain, &Path) -> Signal = match event.kind {
        // Whoever made a file has it open, even if nothing was written to it yet. A second name of one is made closed.
        EventKind::Create(CreateKind::File) => {
            return heard
                .flat_map(|path| {
                    [Some(Signal::Moved(path.clone())), is_new(path).then(|| Signal::Written(path.clone()))]
                })
                .flatten()
                .collect();
        }
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => |_, path| Signal::Closed(path.to_owned()),
        // Reading the files must not be a reason to read them.
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Data(_)) => |_, path| Signal::Written(path.to_owned()),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => |chain, path| {
            let moved = if chain.is_all(path) { Signal::Replaced } else { Signal::Moved };
            moved(path.to_owned())
        },
        EventKind::Modify(ModifyKind::Metadata(_)) => |_, _| Signal::Touched,
        _ => |_, path| Signal::Moved(path.to_owned()),
    };
    heard.map(|path| mean(chain, path)).collect()
}

/// Whether this is a regular file with one name.
fn is_new(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

#[cfg(test)]
impl Watcher {
    /// Finds no inotify watch left for the first `failures` times, and hears nothing after that.
    pub(crate) fn scarce(sources: Arc<Sources>, bell: Arc<Bell>, failures: usize) -> Self {
        let calls = Arc::default();
        Self::with_backend(sources, bell, Box::new(tests::Scarce { calls, failures, error: ArmError::Watches }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use notify::event::{DataChange, Flag};

    use super::*;

    fn one_file() -> (tempfile::TempDir, PathBuf, Chain) {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().canonicalize().unwrap().join("topology.yaml");
        std::fs::write(&file, "").unwrap();
        let chain = Chain::of(&Sources::new([&file]), &Attached::default());
        (temp, file, chain)
    }

    #[test]
    fn an_overflow_or_a_failure_is_heard_although_it_names_no_path() {
        let (_temp, _, chain) = one_file();
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(signals(&chain, Ok(overflow)), [Signal::Overflow]);
        assert_eq!(signals(&chain, Err(notify::Error::generic("broken"))), [Signal::Lost]);
    }

    #[test]
    fn kinds_tell_how_long_to_wait() {
        let (_temp, file, chain) = one_file();
        let heard = |kind| signals(&chain, Ok(Event::new(kind).add_path(file.clone())));
        assert_eq!(heard(EventKind::Modify(ModifyKind::Data(DataChange::Any))), [Signal::Written(file.clone())]);
        assert_eq!(heard(EventKind::Access(AccessKind::Close(AccessMode::Write))), [Signal::Closed(file.clone())]);
        assert_eq!(heard(EventKind::Modify(ModifyKind::Name(RenameMode::To))), [Signal::Replaced(file.clone())]);
        assert_eq!(heard(EventKind::Modify(ModifyKind::Name(RenameMode::From))), [Signal::Moved(file.clone())]);
        let made = [Signal::Moved(file.clone()), Signal::Written(file.clone())];
        assert_eq!(heard(EventKind::Create(CreateKind::File)), made);
        std::fs::hard_link(&file, file.with_file_name("other")).unwrap();
        assert_eq!(heard(EventKind::Create(CreateKind::File)), made[..1]);
        assert_eq!(heard(EventKind::Any), [Signal::Moved(file.clone())]);
        assert_eq!(heard(EventKind::Access(AccessKind::Open(AccessMode::Any))), []);
    }

    #[test]
    fn other_names_are_not_heard_whatever_happens_to_them() {
        let (_temp, file, chain) = one_file();
        for kind in [EventKind::Create(CreateKind::File), EventKind::Modify(ModifyKind::Name(RenameMode::To))] {
            let event = Event::new(kind).add_path(file.with_file_name("4913"));
            assert_eq!(signals(&chain, Ok(event)), []);
        }
    }

    /// Counts arming; fails at first.
    pub(super) struct Scarce {
        pub(super) calls: Arc<AtomicUsize>,
        pub(super) failures: usize,
        pub(super) error: ArmError,
    }

    impl Backend for Scarce {
        fn arm(&self, _: &Arc<Ear>) -> Result<Box<dyn Send>, ArmError> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            if call < self.failures { Err(self.error.clone()) } else { Ok(Box::new(())) }
        }
    }

    fn scarce(failures: usize, error: ArmError) -> (tempfile::TempDir, PathBuf, Watcher, Arc<AtomicUsize>) {
        let (temp, file, _) = one_file();
        let calls = Arc::new(AtomicUsize::new(0));
        let backend = Scarce { calls: Arc::clone(&calls), failures, error };
        let bell = Arc::new(Bell::new(Duration::ZERO));
        let watcher = Watcher::with_backend(Arc::new(Sources::new([&file])), bell, Box::new(backend));
        (temp, file, watcher, calls)
    }

    #[test]
    fn watches_are_replaced_only_when_the_chain_differs_or_on_demand() {
        let (_temp, file, mut watcher, calls) = scarce(0, ArmError::Moved);
        let calls = || calls.load(Ordering::Relaxed);
        watcher.arm(&Attached::default(), false).unwrap();
        watcher.arm(&Attached::default(), false).unwrap();
        assert_eq!(calls(), 1);
        watcher.arm(&Attached::default(), true).unwrap();
        assert_eq!(calls(), 2);
        std::fs::remove_file(&file).unwrap();
        watcher.arm(&Attached::default(), false).unwrap();
        assert_eq!(calls(), 3);
    }

    #[tokio::test]
    async fn a_file_that_is_closed_while_watches_are_replaced_is_not_waited_for() {
        let (_temp, file, mut watcher, _) = scarce(0, ArmError::Moved);
        watcher.arm(&Attached::default(), false).unwrap();
        let first = Arc::clone(&watcher.armed.as_ref().unwrap().ear);
        let event = |kind| Ok(Event::new(kind).add_path(file.clone()));
        first.hear(event(EventKind::Modify(ModifyKind::Data(DataChange::Any))));
        watcher.arm(&Attached::default(), true).unwrap();
        assert_eq!((watcher.retired.len(), watcher.bell.awaits_writers()), (1, true));
        // What else the first watches hear is heard by the second as well, and may be of a directory that was moved away.
        first.hear(event(EventKind::Modify(ModifyKind::Name(RenameMode::To))));
        first.hear(event(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(!watcher.bell.awaits_writers());
        let wake = watcher.bell.wait().await;
        assert_eq!((wake.writers.len(), wake.rearm), (0, false));
        watcher.arm(&Attached::default(), false).unwrap();
        assert_eq!(watcher.retired.len(), 0);
    }

    #[test]
    fn earlier_watches_do_not_add_up() {
        let (_temp, file, mut watcher, _) = scarce(0, ArmError::Moved);
        watcher.bell.ring(Signal::Written(file));
        for _ in 0..3 * MAX_RETIRED {
            watcher.arm(&Attached::default(), true).unwrap();
        }
        assert_eq!(watcher.retired.len(), MAX_RETIRED);
    }

    #[test]
    fn a_limit_is_reported_and_gone_once_there_is_room() {
        let (_temp, _, mut watcher, _) = scarce(1, ArmError::Watches);
        assert_eq!(watcher.arm(&Attached::default(), false), Err(ArmError::Watches));
        assert_eq!(watcher.arm(&Attached::default(), false), Ok(()));
    }

    #[test]
    fn directories_that_vanish_while_they_are_watched_are_walked_again() {
        let (_temp, _, mut watcher, calls) = scarce(3, ArmError::Moved);
        assert_eq!(watcher.arm(&Attached::default(), false), Ok(()));
        assert_eq!(calls.load(Ordering::Relaxed), 4);
    }
}
