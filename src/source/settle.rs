//! When to read, given what was heard: pure, the clock is handed in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// However busy the files are, they are read this long after the first signal.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(2);

/// Something that was heard about the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Someone wrote to a file and has it open still.
    Written(PathBuf),
    /// Someone who could write closed a file.
    Closed(PathBuf),
    /// A path was replaced in one step by something complete.
    Replaced(PathBuf),
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
    /// The files that someone still writes to.
    pub(crate) writers: BTreeSet<PathBuf>,
}

/// Waits until a change is complete: a trailing quiet time, an open writer, and a limit to both.
#[derive(Debug)]
pub(crate) struct Settle {
    quiet: Duration,
    /// The first signal not yet answered by a reading.
    first: Option<Instant>,
    last: Option<Instant>,
    /// Files that were written to and not closed yet.
    writers: BTreeSet<PathBuf>,
    at_once: bool,
    rearm: bool,
    polled: bool,
    events: u64,
    overflows: u64,
}

impl Settle {
    /// Waits for `quiet` without signals, but never more than [`MAX_DELAY`].
    pub(crate) fn new(quiet: Duration) -> Self {
        Self {
            quiet: quiet.min(MAX_DELAY),
            first: None,
            last: None,
            writers: BTreeSet::new(),
            at_once: false,
            rearm: false,
            polled: false,
            events: 0,
            overflows: 0,
        }
    }

    /// Takes note of a signal.
    pub(crate) fn hear(&mut self, signal: Signal, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.events += u64::from(!matches!(signal, Signal::Polled | Signal::Again));
        self.overflows += u64::from(signal == Signal::Overflow);
        match signal {
            Signal::Written(path) => {
                self.writers.insert(path);
            }
            Signal::Closed(path) => {
                self.writers.remove(&path);
            }
            Signal::Replaced(path) => {
                // Whoever still writes there, writes to what was replaced.
                self.writers.retain(|writer| !writer.starts_with(&path));
                self.at_once = true;
                self.rearm = true;
            }
            Signal::Moved(path) => {
                // Should a writer be at work below, its closing will be told of another path, if at all.
                self.writers.retain(|writer| !writer.starts_with(&path));
                self.rearm = true;
            }
            Signal::Overflow | Signal::Lost => {
                // The closing of a file may be among what was lost.
                self.writers.clear();
                self.rearm = true;
            }
            Signal::Polled => self.polled = true,
            Signal::Touched | Signal::Again => {}
        }
    }

    /// Whether something was heard and not answered by a reading.
    pub(crate) fn is_pending(&self) -> bool {
        self.first.is_some()
    }

    /// Whether someone was heard to write to a file and not to close it.
    pub(crate) fn awaits_writers(&self) -> bool {
        !self.writers.is_empty()
    }

    /// Whether it is time; if it is, everything heard so far counts as answered.
    pub(crate) fn take(&mut self, now: Instant) -> Due {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Due::Never };
        let limit = first + MAX_DELAY;
        let due = match () {
            () if !self.writers.is_empty() => limit,
            () if self.at_once => last,
            () => limit.min(last + self.quiet),
        };
        if now < due {
            return Due::At(due);
        }
        let heard = std::mem::replace(self, Self::new(self.quiet));
        // Found by looking alone: the watches are deaf to it, perhaps because something was mounted over them.
        let polled = heard.polled && heard.events == 0;
        let rearm = heard.rearm || polled;
        Due::Now(Wake { rearm, polled, events: heard.events, overflows: heard.overflows, writers: heard.writers })
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
            settle.hear(signal, now);
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
            settle.hear(signal, start);
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
        settle.hear(Signal::Polled, start);
        assert_eq!(settle.take(start + QUIET), Due::Now(Wake { rearm: true, polled: true, ..Wake::default() }));
        for signal in [Signal::Overflow, Signal::Polled, written()] {
            settle.hear(signal, start);
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
        settle.hear(written(), start);
        assert!(matches!(settle.take(start + MAX_DELAY), Due::Now(Wake { rearm: false, .. })));
        assert!(!settle.is_pending());
        settle.hear(Signal::Touched, start + ms(3000));
        assert_eq!(settle.take(start + ms(3050)), Due::At(start + ms(3100)));
    }
}
