//! When to read, given what was heard: pure, the clock is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// However busy the files are, they are read this long after the first signal; and a writer is waited for this long after the
/// first signal of its own.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(2);

/// However many writers follow each other, they are not waited for any longer than this after the first signal.
const MAX_WAIT: Duration = MAX_DELAY.saturating_mul(2);

/// Something that was heard about the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Someone wrote to a file and has it open still.
    Written(PathBuf),
    /// A file was made. If someone opens it next, it is whoever made it; a second name of a file is made closed.
    Created(PathBuf),
    /// Someone opened a file.
    Opened(PathBuf),
    /// Someone who could write closed a file.
    Closed(PathBuf),
    /// The same, heard only by watches that others have taken over from: it may be another file than the one that is there now.
    ClosedBehind(PathBuf),
    /// A path was replaced in one step by something complete.
    Replaced(PathBuf),
    /// A followed directory got another generation: a complete one, or else links to its files are still to come or go.
    Swapped(PathBuf, bool),
    /// A name on the way to the files, or of one of them, came, went or was moved.
    Moved(PathBuf),
    /// Something else happened to a file.
    Touched,
    /// The kernel's queue was full: events were lost.
    Overflow,
    /// The watch failed.
    Lost,
    /// A look at the files found a change that no event told of so far.
    Polled,
    /// The files must be read again, although nothing was heard of them.
    Again,
    /// Someone asked for the files to be read.
    Asked,
}

/// The answer to "is it time?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing was heard.
    Never,
    /// Not before this moment, and perhaps later.
    At(Instant),
    /// Read.
    Now(Wake),
}

/// Why it is time to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wake {
    /// Whether watches may be on the wrong directories and must all be replaced.
    pub(crate) rearm: bool,
    /// Whether nothing but looking told of a change.
    pub(crate) polled: bool,
    /// How many events told of one.
    pub(crate) events: u64,
    /// How often the kernel's queue was full.
    pub(crate) overflows: u64,
    /// The files that someone still writes to, and is not waited for any longer.
    pub(crate) writers: BTreeSet<PathBuf>,
}

/// Someone who has a file open.
#[derive(Clone, Copy, Debug)]
struct Writer {
    /// When that was first heard.
    since: Instant,
    /// The newest set of watches that heard of it. What older ones hear may be of a file that was moved away.
    heard_by: u64,
}

/// Waits until a change is complete: a trailing quiet time, an open writer, and a limit to both.
#[derive(Debug)]
pub(crate) struct Settle {
    quiet: Duration,
    /// The first signal not yet answered by a reading.
    first: Option<Instant>,
    last: Option<Instant>,
    /// Files that were written to and not closed yet.
    writers: BTreeMap<PathBuf, Writer>,
    /// The same, of those that were waited for in vain.
    stalled: BTreeMap<PathBuf, Writer>,
    /// Files that were made since the last reading, and not opened yet.
    created: BTreeSet<PathBuf>,
    /// What was moved, and the newest set of watches that may be on what was there before.
    moved: BTreeMap<PathBuf, u64>,
    at_once: bool,
    /// Whether a change is known to go on, so that not even who asks for it can have it at once.
    unfinished: bool,
    /// What the next reading is to be told; the writers are added at the end.
    heard: Wake,
    /// Whether what was read since [`Settle::take`] may be half of something.
    disturbed: bool,
    /// The first signal that the last reading was to answer.
    taken: Option<Instant>,
}

impl Settle {
    /// Waits for `quiet` without signals, but never more than [`MAX_DELAY`].
    pub(crate) fn new(quiet: Duration) -> Self {
        Self {
            quiet: quiet.min(MAX_DELAY),
            first: None,
            last: None,
            writers: BTreeMap::new(),
            stalled: BTreeMap::new(),
            created: BTreeSet::new(),
            moved: BTreeMap::new(),
            at_once: false,
            unfinished: false,
            heard: Wake::default(),
            disturbed: false,
            taken: None,
        }
    }

    /// Takes note of a signal from one of the sets of watches, which are numbered in their order. False if it means nothing.
    pub(crate) fn hear(&mut self, signal: Signal, from: u64, now: Instant) -> bool {
        let means_something = match &signal {
            Signal::Opened(path) => self.created.remove(path),
            Signal::ClosedBehind(path) => self.close(path, from),
            _ => true,
        };
        if !means_something {
            return false;
        }
        // Two sets are told of while one takes over from the other.
        self.moved.retain(|_, set| from <= *set + 1);
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.heard.events += u64::from(!matches!(signal, Signal::Polled | Signal::Again | Signal::Asked));
        self.heard.overflows += u64::from(signal == Signal::Overflow);
        match signal {
            Signal::Written(path) | Signal::Opened(path) => self.open(path, from, now),
            Signal::Closed(path) => _ = self.close(&path, from),
            Signal::Created(path) => {
                self.forget(&path, from);
                self.heard.rearm = true;
                self.created.insert(path);
            }
            Signal::Replaced(path) => {
                self.forget(&path, from);
                self.at_once = true;
                self.heard.rearm = true;
            }
            Signal::Swapped(path, complete) => {
                self.forget(&path, from);
                self.at_once |= complete;
                self.unfinished = !complete;
                self.heard.rearm = true;
                // The links may have been of two generations when they were read.
                self.disturbed = true;
            }
            Signal::Moved(path) => {
                self.forget(&path, from);
                self.heard.rearm = true;
            }
            Signal::Overflow | Signal::Lost => {
                // The closing of a file may be among what was lost.
                self.writers.clear();
                self.stalled.clear();
                self.heard.rearm = true;
            }
            Signal::Polled => self.heard.polled = true,
            Signal::Asked => self.at_once = true,
            Signal::ClosedBehind(_) | Signal::Touched | Signal::Again => {}
        }
        true
    }

    fn open(&mut self, path: PathBuf, heard_by: u64, now: Instant) {
        let is_elsewhere =
            |(moved, set): (&PathBuf, &u64)| heard_by <= *set && *moved != path && path.starts_with(moved);
        if self.moved.iter().any(is_elsewhere) {
            // Who writes in a directory that was moved away is told of as if it were there still, if at all.
            return;
        }
        // Of one that stalls and goes on, the files were read knowing that it is there.
        self.disturbed |= self.stalled.remove(&path).is_none();
        self.created.remove(&path);
        let writer = self.writers.entry(path).or_insert(Writer { since: now, heard_by });
        writer.heard_by = writer.heard_by.max(heard_by);
    }

    /// Whether a writer was known that this ends.
    fn close(&mut self, path: &Path, from: u64) -> bool {
        let mut ends = false;
        for writers in [&mut self.writers, &mut self.stalled] {
            ends |= writers.get(path).is_some_and(|writer| writer.heard_by <= from) && writers.remove(path).is_some();
        }
        ends
    }

    /// Whoever still writes at this path or below writes to what is no longer there, and closing it will be told of another
    /// path, if at all.
    fn forget(&mut self, path: &Path, from: u64) {
        self.moved.insert(path.to_owned(), from);
        self.writers.retain(|writer, _| !writer.starts_with(path));
        self.stalled.retain(|writer, _| !writer.starts_with(path));
        self.created.retain(|created| !created.starts_with(path));
    }

    /// Whoever opens a file from now on need not be the one who made it.
    pub(crate) fn forget_created(&mut self) {
        self.created.clear();
    }

    /// Whether something was heard and not answered by a reading.
    pub(crate) fn is_pending(&self) -> bool {
        self.first.is_some()
    }

    /// The oldest set of watches whose hearing a file closed would matter, if any does.
    pub(crate) fn awaits(&self) -> Option<u64> {
        self.writers.values().chain(self.stalled.values()).map(|writer| writer.heard_by).min()
    }

    /// Whether it is time; if it is, everything heard so far counts as answered.
    pub(crate) fn take(&mut self, now: Instant) -> Due {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Due::Never };
        let due = match self.writers.values().map(|writer| writer.since).max() {
            Some(since) => (since + MAX_DELAY).min(first + MAX_WAIT),
            None if self.at_once && !self.unfinished => last,
            None => (first + MAX_DELAY).min(last + self.quiet),
        };
        if now < due {
            return Due::At(due);
        }
        let Self { mut stalled, moved, writers, heard: mut wake, .. } = std::mem::replace(self, Self::new(self.quiet));
        stalled.extend(writers);
        wake.writers = stalled.keys().cloned().collect();
        // Found by looking alone: the watches are deaf to it, perhaps because something was mounted over them.
        wake.polled &= wake.events == 0;
        wake.rearm |= wake.polled;
        (self.stalled, self.moved, self.taken) = (stalled, moved, Some(first));
        Due::Now(wake)
    }

    /// A reading begins that nothing that was heard led to.
    pub(crate) fn start(&mut self, now: Instant) {
        self.taken = Some(now);
        self.disturbed = false;
    }

    /// Whether what was read since [`Settle::take`] may be half of something that is worth waiting for.
    pub(crate) fn is_disturbed(&self, now: Instant) -> bool {
        self.disturbed && self.taken.is_none_or(|first| now < first + MAX_WAIT)
    }

    /// Takes an answer back: the reading came to nothing.
    pub(crate) fn put_back(&mut self, wake: &Wake, now: Instant) {
        let Wake { rearm: _, polled, events, overflows, writers: _ } = *wake;
        self.first = self.taken.or(self.first).or(Some(now));
        self.last.get_or_insert(now);
        self.heard.polled |= polled;
        self.heard.events += events;
        self.heard.overflows += overflows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn written() -> Signal {
        Signal::Written("/f".into())
    }

    fn closed() -> Signal {
        Signal::Closed("/f".into())
    }

    fn replaced() -> Signal {
        Signal::Replaced("/f".into())
    }

    /// Plays signals at their milliseconds; returns when the reading is due, and whether the watches are replaced.
    fn play(signals: impl IntoIterator<Item = (u64, Signal)>) -> (u64, bool) {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        for (at, signal) in signals {
            let now = start + ms(at);
            assert!(!matches!(settle.take(now), Due::Now(_)), "due before {at} ms");
            settle.hear(signal, 1, now);
        }
        for at in 0.. {
            match settle.take(start + ms(at)) {
                Due::Now(wake) => return (at, wake.rearm),
                Due::At(_) => {}
                Due::Never => panic!("forgotten"),
            }
        }
        unreachable!()
    }

    #[test]
    fn silence_is_never_due() {
        assert_eq!(Settle::new(QUIET).take(Instant::now()), Due::Never);
    }

    #[test]
    fn a_write_in_place_is_read_once_it_was_closed_for_the_quiet_time() {
        assert_eq!(play([(0, written()), (1, written()), (2, closed())]), (102, false));
    }

    #[test]
    fn an_open_writer_is_waited_for_however_slow() {
        assert_eq!(play([(0, written()), (300, written()), (900, closed())]), (1000, false));
    }

    #[test]
    fn a_writer_that_never_closes_is_not_waited_for_beyond_the_limit() {
        assert_eq!(play([(0, written()), (1500, written())]), (2000, false));
    }

    #[test]
    fn a_replacement_is_read_at_once_and_what_follows_does_not_delay_it() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        for signal in [written(), replaced(), Signal::Moved("/f".into())] {
            settle.hear(signal, 1, start);
        }
        assert_eq!(settle.take(start), Due::Now(Wake { rearm: true, events: 3, ..Wake::default() }));
    }

    #[test]
    fn a_replacement_does_not_cut_the_writer_of_another_file_short() {
        let other = PathBuf::from("/g");
        assert_eq!(
            play([(0, Signal::Written(other.clone())), (10, replaced()), (500, Signal::Closed(other))]),
            (500, true)
        );
    }

    #[test]
    fn what_was_heard_is_told_with_the_reading() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.hear(Signal::Polled, 0, start);
        assert_eq!(settle.take(start + QUIET), Due::Now(Wake { rearm: true, polled: true, ..Wake::default() }));
        for signal in [Signal::Overflow, Signal::Polled, written()] {
            settle.hear(signal, 1, start);
        }
        let writers = BTreeSet::from(["/f".into()]);
        let wake = Wake { rearm: true, polled: false, events: 2, overflows: 1, writers };
        assert_eq!(settle.take(start + MAX_DELAY), Due::Now(wake));
    }

    #[test]
    fn steady_signals_are_cut_off_at_the_limit() {
        assert_eq!(play((0..40).map(|step| (step * 50, Signal::Touched))), (2000, false));
    }

    #[test]
    fn a_writer_whose_file_or_directory_was_moved_away_is_not_waited_for() {
        for path in ["/f", "/"] {
            assert_eq!(play([(0, written()), (10, Signal::Moved(path.into()))]), (110, true));
        }
        assert_eq!(play([(0, written()), (10, Signal::Moved("/g".into()))]), (2000, true));
    }

    #[test]
    fn two_files_are_waited_for_until_both_are_closed() {
        let other = PathBuf::from("/g");
        let signals =
            [(0, written()), (1, Signal::Written(other.clone())), (2, closed()), (500, Signal::Closed(other))];
        assert_eq!(play(signals), (600, false));
    }

    #[test]
    fn lost_events_forget_the_writers_and_replace_the_watches() {
        for lost in [Signal::Lost, Signal::Overflow] {
            assert_eq!(play([(0, written()), (10, lost)]), (110, true));
        }
    }

    #[test]
    fn only_a_change_that_no_event_told_of_replaces_the_watches() {
        assert_eq!(play([(0, Signal::Polled)]), (100, true));
        assert_eq!(play([(0, Signal::Polled), (10, Signal::Touched)]), (110, false));
        assert_eq!(play([(0, Signal::Again)]), (100, false));
    }

    #[test]
    fn a_look_at_the_files_does_not_cut_a_writer_short() {
        assert_eq!(play([(0, written()), (50, Signal::Polled), (700, closed())]), (800, false));
    }

    #[test]
    fn a_reading_answers_all_that_was_heard() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.hear(written(), 1, start);
        assert!(matches!(settle.take(start + MAX_DELAY), Due::Now(Wake { rearm: false, .. })));
        assert!(!settle.is_pending());
        settle.hear(Signal::Touched, 1, start + ms(3000));
        assert_eq!(settle.take(start + ms(3050)), Due::At(start + ms(3100)));
    }

    fn asked() -> Signal {
        Signal::Asked
    }

    #[test]
    fn a_request_is_due_at_once_unless_a_writer_is_at_work() {
        assert_eq!(play([(0, asked())]), (0, false));
        assert_eq!(play([(0, Signal::Touched), (10, asked())]), (10, false));
        assert_eq!(play([(0, written()), (10, asked()), (700, closed())]), (700, false));
        assert_eq!(play([(0, written()), (10, asked())]), (2000, false));
    }

    #[test]
    fn a_writer_has_two_seconds_of_its_own() {
        let (f, g) = (written(), Signal::Written("/g".into()));
        assert_eq!(play([(0, Signal::Touched), (90, Signal::Touched), (180, f.clone())]), (2180, false));
        // In turns they are not waited for without end.
        let turns = (0..40).flat_map(|turn| {
            let (opened, ended) = if turn % 2 == 0 { (&f, "/g") } else { (&g, "/f") };
            [(turn * 100, opened.clone()), (turn * 100 + 10, Signal::Closed(ended.into()))]
        });
        assert_eq!(play(turns), (4000, false));
    }

    #[test]
    fn one_who_stalls_is_told_of_until_the_file_is_closed_or_replaced() {
        let start = Instant::now();
        let stalled = BTreeSet::from([PathBuf::from("/f")]);
        for end in [closed(), replaced(), Signal::Moved("/".into()), Signal::Lost] {
            let mut settle = Settle::new(QUIET);
            settle.hear(written(), 1, start);
            let mut writers = |signal, at| {
                settle.hear(signal, 1, at);
                match settle.take(at + QUIET) {
                    Due::Now(wake) => (wake.writers, settle.awaits()),
                    due => panic!("{due:?}"),
                }
            };
            assert_eq!(writers(Signal::Touched, start + MAX_DELAY), (stalled.clone(), Some(1)));
            for signal in [asked(), Signal::Touched] {
                assert_eq!(writers(signal, start + ms(3000)), (stalled.clone(), Some(1)));
            }
            assert_eq!(writers(end, start + ms(4000)), (BTreeSet::new(), None));
        }
        // One that goes on is waited for again.
        let mut settle = Settle::new(QUIET);
        settle.hear(written(), 1, start);
        assert!(matches!(settle.take(start + MAX_DELAY), Due::Now(_)));
        settle.hear(written(), 1, start + ms(3000));
        assert_eq!(settle.take(start + ms(4000)), Due::At(start + ms(5000)));
        assert!(!settle.is_disturbed(start + ms(3000)), "it was known when the files were read");
    }

    #[test]
    fn a_new_file_is_waited_for_only_if_whoever_made_it_has_it_open() {
        let (made, opened) = (Signal::Created("/f".into()), Signal::Opened("/f".into()));
        assert_eq!(play([(0, made.clone())]), (100, true));
        assert_eq!(play([(0, made.clone()), (0, opened.clone())]), (2000, true));
        assert_eq!(play([(0, made.clone()), (0, opened.clone()), (10, closed())]), (110, true));
        assert_eq!(play([(0, made.clone()), (0, Signal::Moved("/f".into())), (0, opened.clone())]), (100, true));
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        assert!(!settle.hear(opened.clone(), 1, start) && !settle.is_pending(), "reading is no reason to read");
        settle.hear(made, 1, start);
        settle.forget_created();
        assert!(!settle.hear(opened, 1, start));
    }

    #[test]
    fn who_writes_in_a_directory_that_was_moved_away_is_not_waited_for() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.hear(Signal::Moved("/d".into()), 1, start);
        assert!(matches!(settle.take(start + QUIET), Due::Now(_)));
        let file = || Signal::Written("/d/f".into());
        settle.hear(file(), 1, start + QUIET);
        assert_eq!((settle.awaits(), settle.is_disturbed(start + QUIET)), (None, false));
        for path in ["/d", "/f"] {
            settle.hear(Signal::Written(path.into()), 1, start + QUIET);
            settle.hear(Signal::Closed(path.into()), 1, start + QUIET);
        }
        assert!(settle.is_disturbed(start + QUIET), "what has its name is there");
        // Later watches are on the one that is there.
        settle.hear(file(), 2, start + QUIET);
        assert_eq!(settle.awaits(), Some(2));
        settle.hear(Signal::Closed("/d/f".into()), 2, start + QUIET);
        settle.hear(file(), 1, start + QUIET);
        assert_eq!(settle.awaits(), None);
    }

    #[test]
    fn what_earlier_watches_hear_closed_ends_only_a_writer_that_they_heard() {
        let start = Instant::now();
        let behind = || Signal::ClosedBehind("/f".into());
        let mut settle = Settle::new(QUIET);
        assert!(!settle.hear(behind(), 1, start) && !settle.is_pending());
        settle.hear(written(), 2, start);
        assert!(!settle.hear(behind(), 1, start));
        assert_eq!(settle.awaits(), Some(2));
        assert!(settle.hear(behind(), 2, start));
        assert_eq!(settle.awaits(), None);
        // Heard by both, it is told by both.
        for from in [1, 2] {
            settle.hear(written(), from, start);
        }
        assert!(!settle.hear(behind(), 1, start) && settle.hear(behind(), 3, start));
    }

    #[test]
    fn a_generation_is_read_at_once_only_if_nothing_is_to_follow() {
        let swapped = |complete| Signal::Swapped("/d/..data".into(), complete);
        let link = Signal::Created("/d/b.yaml".into());
        assert_eq!(play([(0, swapped(true))]), (0, true));
        assert_eq!(play([(0, swapped(false)), (30, link.clone())]), (130, true));
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        for signal in [swapped(true), swapped(false), asked()] {
            settle.hear(signal, 1, start);
        }
        assert_eq!(settle.take(start), Due::At(start + QUIET));
        settle.hear(swapped(true), 1, start);
        assert!(matches!(settle.take(start), Due::Now(_)));
    }

    #[test]
    fn what_was_read_while_someone_began_to_write_is_read_again() {
        let start = Instant::now();
        let at = |offset| start + ms(offset);
        let mut settle = Settle::new(QUIET);
        settle.hear(Signal::Polled, 0, start);
        let Due::Now(wake) = settle.take(at(100)) else { panic!("it is time") };
        assert!(!settle.is_disturbed(at(110)));
        settle.hear(Signal::Touched, 1, at(110));
        assert!(!settle.is_disturbed(at(110)));
        // Also if the file was closed again meanwhile: it need not have been closed when it was read.
        settle.hear(written(), 1, at(120));
        settle.hear(closed(), 1, at(130));
        assert!(settle.is_disturbed(at(140)));
        settle.put_back(&wake, at(140));
        assert_eq!(settle.take(at(200)), Due::At(at(230)));
        let Due::Now(wake) = settle.take(at(230)) else { panic!("it is time") };
        assert_eq!(wake, Wake { events: 3, ..Wake::default() });
        // Not without end, counted from the first signal of all.
        settle.hear(written(), 1, at(240));
        assert!(settle.is_disturbed(at(3999)) && !settle.is_disturbed(at(4000)));
        settle.put_back(&wake, at(250));
        settle.hear(Signal::Written("/g".into()), 1, at(3000));
        assert_eq!(settle.take(at(3000)), Due::At(at(4000)));
    }
}
