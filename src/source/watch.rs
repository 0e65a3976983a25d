//! Watches on the chain, and what their events mean.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::chain::{Chain, Place};
use super::{Attached, Bell, Hazard, Signal, Sources};
use crate::diagnostic::Level;

/// How often watches are set anew in a row while the directories keep changing.
const ATTEMPTS: usize = 10;

/// How many earlier sets of watches are kept at most; each takes an inotify instance.
const MAX_RETIRED: usize = 4;

/// After as many orders, the thread that hears has looked for events in between.
const ORDERS: usize = 3;

/// How long ended watches may take to give back what they held.
const END: Duration = Duration::from_secs(1);

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
    /// Sets are numbered in their order.
    number: u64,
    chain: Chain,
    bell: Arc<Bell>,
    /// Other watches have taken over. What these still hear is old, except for the closing of a file: nobody else may have
    /// heard it, and it would be waited for.
    retired: AtomicBool,
}

impl Ear {
    fn hear(&self, event: notify::Result<Event>) {
        let retired = self.retired.load(Ordering::Acquire);
        for signal in signals(&self.chain, event) {
            let signal = match signal {
                Signal::Closed(path) if retired => Signal::ClosedBehind(path),
                _ if retired => continue,
                signal => signal,
            };
            self.bell.hear(signal, self.number);
        }
    }
}

/// Sets watches: the operating system's, or a test's.
trait Backend: Send {
    /// Watches every directory and file of the ear's chain and lets it hear, until the result is dropped.
    fn arm(&self, ear: &Arc<Ear>) -> Result<Box<dyn Watches>, ArmError>;
}

/// Watches that are set.
trait Watches: Send {
    /// Returns once the ear has heard all that happened before the call.
    fn catch_up(&mut self);

    /// Returns once others can have what they held.
    fn end(self: Box<Self>);
}

/// One set of watches.
struct Armed {
    ear: Arc<Ear>,
    watches: Box<dyn Watches>,
}

/// Keeps watches on everything that can make the paths mean something else.
pub(crate) struct Watcher {
    sources: Arc<Sources>,
    bell: Arc<Bell>,
    backend: Box<dyn Backend>,
    armed: Option<Armed>,
    /// Earlier watches, while the closing of a file may be under way from them.
    retired: Vec<Armed>,
    /// How many sets there were.
    sets: u64,
}

impl Watcher {
    /// Watches nothing until [`Watcher::arm`] is called.
    pub(crate) fn new(sources: Arc<Sources>, bell: Arc<Bell>) -> Self {
        Self::with_backend(sources, bell, Box::new(Native))
    }

    fn with_backend(sources: Arc<Sources>, bell: Arc<Bell>, backend: Box<dyn Backend>) -> Self {
        Self { sources, bell, backend, armed: None, retired: Vec::new(), sets: 0 }
    }

    /// Makes sure that the watches are on the directories that the paths, and those of attached files, lead through now: all
    /// new ones if `anew`, else only if the chain differs. What is read after this cannot change unnoticed.
    pub(crate) fn arm(&mut self, attached: &Attached, mut anew: bool) -> Result<(), ArmError> {
        let awaits = self.bell.awaits();
        self.retired.retain(|armed| awaits.is_some_and(|oldest| oldest <= armed.ear.number));
        for _ in 0..ATTEMPTS {
            let chain = Chain::of(&self.sources, attached);
            if !anew && self.armed.as_ref().is_some_and(|armed| armed.ear.chain == chain) {
                return Ok(());
            }
            self.sets += 1;
            let (number, bell) = (self.sets, Arc::clone(&self.bell));
            let ear = Arc::new(Ear { number, chain, bell, retired: AtomicBool::new(false) });
            let armed = loop {
                match self.backend.arm(&ear) {
                    Err(ArmError::Instances | ArmError::Watches) if self.make_room() => {}
                    armed => break armed,
                }
            };
            match armed {
                // Once more: the chain may have changed before the watches were set.
                Ok(watches) => self.take_over(Armed { ear, watches }),
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

    /// Returns once everything was heard that happened before the call.
    pub(crate) fn catch_up(&mut self) {
        if let Some(armed) = &mut self.armed {
            armed.watches.catch_up();
        }
    }

    /// Ends a set of watches, the ones in force last: between them and the next nothing is heard, but the files are yet to
    /// be read. False if there are none.
    fn make_room(&mut self) -> bool {
        let Some(armed) = self.retired.pop().or_else(|| self.armed.take()) else { return false };
        armed.watches.end();
        true
    }

    fn take_over(&mut self, next: Armed) {
        // What happened before there were two is for the first to tell.
        self.catch_up();
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
    fn arm(&self, ear: &Arc<Ear>) -> Result<Box<dyn Watches>, ArmError> {
        let (alive, ended) = mpsc::channel();
        let handler = Handler { ear: Arc::clone(ear), _alive: alive };
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
        Ok(Box::new(Inotify { watcher, ended }))
    }
}

/// What the thread that hears has.
struct Handler {
    ear: Arc<Ear>,
    _alive: mpsc::Sender<Infallible>,
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        self.ear.hear(event);
    }
}

/// One instance, and the thread that hears.
struct Inotify {
    watcher: RecommendedWatcher,
    /// Nothing comes of it, until the thread has ended.
    ended: mpsc::Receiver<Infallible>,
}

impl Watches for Inotify {
    fn catch_up(&mut self) {
        // The thread takes events and orders in the order in which they came, and this order changes nothing. One that comes
        // right after another order may be taken along with it, before events; one that comes after its answer hardly is.
        for _ in 0..ORDERS {
            if let Err(error) = self.watcher.configure(notify::Config::default()) {
                tracing::debug!(%error, "the thread that hears events does not answer");
                return;
            }
            std::thread::yield_now();
        }
    }

    fn end(self: Box<Self>) {
        let Self { watcher, ended } = *self;
        drop(watcher);
        // The thread closes the instance, some time after it is told to.
        if ended.recv_timeout(END) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::debug!("the thread that hears events does not end");
        }
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
    // Only of those that were heard to be made.
    if let EventKind::Access(AccessKind::Open(_)) = event.kind {
        return event.paths.into_iter().map(Signal::Opened).collect();
    }
    let heard = event.paths.iter().filter(|path| chain.concerns(path));
    let mean: fn(&Chain, &Path) -> Signal = match event.kind {
        EventKind::Create(CreateKind::File) => |_, path| Signal::Created(path.to_owned()),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => |_, path| Signal::Closed(path.to_owned()),
        // Reading the files must not be a reason to read them.
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Data(_)) => |_, path| Signal::Written(path.to_owned()),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => |chain, path| match chain.taken_place(path) {
            Place::All => Signal::Replaced(path.to_owned()),
            Place::Generation { complete } => Signal::Swapped(path.to_owned(), complete),
            Place::Some => Signal::Moved(path.to_owned()),
        },
        EventKind::Modify(ModifyKind::Metadata(_)) => |_, _| Signal::Touched,
        // A file that was removed goes when the last one who has it open closes it. Another may be written in its place by then.
        EventKind::Remove(_) => |_, path| match path.symlink_metadata() {
            Ok(_) => Signal::Touched,
            Err(_) => Signal::Moved(path.to_owned()),
        },
        _ => |_, path| Signal::Moved(path.to_owned()),
    };
    heard.map(|path| mean(chain, path)).collect()
}

#[cfg(test)]
impl Watcher {
    /// Finds no inotify watch left for the first `failures` times, and hears nothing after that.
    pub(crate) fn scarce(sources: Arc<Sources>, bell: Arc<Bell>, failures: usize) -> Self {
        let calls = Arc::default();
        Self::with_backend(sources, bell, Box::new(tests::Scarce { calls, failures, error: ArmError::Watches }))
    }

    /// The operating system's, and something is done whenever they were set.
    pub(crate) fn meddling(sources: Arc<Sources>, bell: Arc<Bell>, meddle: Box<dyn Fn() + Send>) -> Self {
        Self::with_backend(sources, bell, Box::new(tests::Meddling(meddle)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use notify::event::{DataChange, Flag, RemoveKind};

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
        assert_eq!(heard(EventKind::Create(CreateKind::File)), [Signal::Created(file.clone())]);
        assert_eq!(heard(EventKind::Any), [Signal::Moved(file.clone())]);
        assert_eq!(heard(EventKind::Access(AccessKind::Open(AccessMode::Any))), [Signal::Opened(file.clone())]);
        assert_eq!(heard(EventKind::Access(AccessKind::Close(AccessMode::Read))), []);
        assert_eq!(heard(EventKind::Remove(RemoveKind::File)), [Signal::Touched]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(heard(EventKind::Remove(RemoveKind::File)), [Signal::Moved(file.clone())]);
    }

    /// A watcher of the operating system's, of one file.
    fn native() -> (tempfile::TempDir, PathBuf, Watcher) {
        let (temp, file, _) = one_file();
        let bell = Arc::new(Bell::new(Duration::ZERO));
        let mut watcher = Watcher::new(Arc::new(Sources::new([&file])), bell);
        watcher.arm(&Attached::default(), false).unwrap();
        (temp, file, watcher)
    }

    #[test]
    fn whoever_makes_a_file_is_waited_for_and_whoever_gives_one_another_name_is_not() {
        let (_temp, file, mut watcher) = native();
        let other = file.with_file_name("other");
        let mut is_waited_for = || {
            watcher.catch_up();
            watcher.bell.awaits().is_some()
        };
        for _ in 0..100 {
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&other, "whole").unwrap();
            std::fs::hard_link(&other, &file).unwrap();
            std::fs::remove_file(&other).unwrap();
            assert!(!is_waited_for());
            std::fs::remove_file(&file).unwrap();
            let writer = std::fs::File::create(&file).unwrap();
            assert!(is_waited_for());
            drop(writer);
            assert!(!is_waited_for());
        }
    }

    #[test]
    fn a_directory_that_was_moved_away_does_not_tell_of_the_one_that_took_its_place() {
        use std::fs::{File, create_dir, rename, write};
        let (temp, _, _) = one_file();
        let root = temp.path().canonicalize().unwrap();
        let [conf, next] = ["conf", "next"].map(|name| root.join(name));
        for dir in [&conf, &next] {
            create_dir(dir).unwrap();
            write(dir.join("f"), "").unwrap();
        }
        let sources = Arc::new(Sources::new([conf.join("f")]));
        let mut watcher = Watcher::new(sources, Arc::new(Bell::new(Duration::ZERO)));
        watcher.arm(&Attached::default(), false).unwrap();
        let before = File::create(conf.join("f")).unwrap();
        watcher.catch_up();
        assert_eq!(watcher.bell.awaits(), Some(1));
        rename(&conf, root.join("old")).unwrap();
        rename(&next, &conf).unwrap();
        watcher.arm(&Attached::default(), true).unwrap();
        let after = File::create(conf.join("f")).unwrap();
        watcher.catch_up();
        assert_eq!(watcher.bell.awaits(), Some(watcher.sets));
        drop(before);
        watcher.retired.iter_mut().for_each(|armed| armed.watches.catch_up());
        watcher.catch_up();
        assert_eq!(watcher.bell.awaits(), Some(watcher.sets));
        drop(after);
        watcher.catch_up();
        assert_eq!(watcher.bell.awaits(), None);
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
        fn arm(&self, _: &Arc<Ear>) -> Result<Box<dyn Watches>, ArmError> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            if call < self.failures { Err(self.error.clone()) } else { Ok(Box::new(Silent)) }
        }
    }

    /// Watches that tell of nothing.
    struct Silent;

    impl Watches for Silent {
        fn catch_up(&mut self) {}

        fn end(self: Box<Self>) {}
    }

    /// Does something once watches are set.
    pub(super) struct Meddling(pub(super) Box<dyn Fn() + Send>);

    impl Backend for Meddling {
        fn arm(&self, ear: &Arc<Ear>) -> Result<Box<dyn Watches>, ArmError> {
            let armed = Native.arm(ear)?;
            self.0();
            Ok(armed)
        }
    }

    /// Has room for a number of sets.
    struct Room(Arc<AtomicUsize>);

    /// One of them.
    struct Taken(Arc<AtomicUsize>);

    impl Backend for Room {
        fn arm(&self, _: &Arc<Ear>) -> Result<Box<dyn Watches>, ArmError> {
            let taken = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
            taken.map_err(|_| ArmError::Instances)?;
            Ok(Box::new(Taken(Arc::clone(&self.0))))
        }
    }

    impl Watches for Taken {
        fn catch_up(&mut self) {}

        fn end(self: Box<Self>) {}
    }

    impl Drop for Taken {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn earlier_watches_make_room_for_the_next() {
        for room in [1, 2] {
            let (_temp, file, _) = one_file();
            let left = Arc::new(AtomicUsize::new(room));
            let bell = Arc::new(Bell::new(Duration::ZERO));
            // For as long as someone writes, earlier watches are kept if there is room.
            bell.ring(Signal::Written(file.clone()));
            let backend = Box::new(Room(Arc::clone(&left)));
            let mut watcher = Watcher::with_backend(Arc::new(Sources::new([&file])), bell, backend);
            for _ in 0..3 {
                assert_eq!(watcher.arm(&Attached::default(), true), Ok(()));
            }
            assert_eq!((left.load(Ordering::Relaxed), watcher.retired.len()), (0, room - 1));
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
        assert_eq!((watcher.retired.len(), watcher.bell.awaits()), (1, Some(1)));
        // What else the first watches hear is heard by the second as well, and may be of a directory that was moved away.
        first.hear(event(EventKind::Modify(ModifyKind::Name(RenameMode::To))));
        first.hear(event(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert_eq!(watcher.bell.awaits(), None);
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
