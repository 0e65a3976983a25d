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
    Replaced,
    /// A name on the way to the files, or of one of them, came, went or was moved.
    Moved(PathBuf),
    /// Something else happened to a file.
    Touched,
    /// Events were lost, or the watch failed.
    Lost,
    /// A look at the files found a change that no event told of so far.
    Polled,
}

/// The answer to "is it time?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing was heard.
    Never,
    /// Not before this moment, and perhaps later.
    At(Instant),
    /// Read.
    Now {
        /// Whether watches may be on the wrong directories and must all be replaced.
        rearm: bool,
    },
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
    /// Whether anything but looking told of a change.
    heard: bool,
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
            heard: false,
        }
    }

    /// Takes note of a signal.
    pub(crate) fn hear(&mut self, signal: Signal, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.heard |= signal != Signal::Polled;
        match signal {
            Signal::Written(path) => {
                self.writers.insert(path);
            }
            Signal::Closed(path) => {
                self.writers.remove(&path);
            }
            Signal::Replaced => {
                // Whoever still writes, writes to what was replaced.
                self.writers.clear();
                self.at_once = true;
                self.rearm = true;
            }
            Signal::Moved(path) => {
                // Should a writer be at work below, its closing will be told of another path, if at all.
                self.writers.retain(|writer| !writer.starts_with(&path));
                self.rearm = true;
            }
            Signal::Lost => {
                // The closing of a file may be among what was lost.
                self.writers.clear();
                self.rearm = true;
            }
            Signal::Touched | Signal::Polled => {}
        }
    }

    /// Whether something was heard and not answered by a reading.
    pub(crate) fn is_pending(&self) -> bool {
        self.first.is_some()
    }

    /// Whether it is time; if it is, everything heard so far counts as answered.
    pub(crate) fn take(&mut self, now: Instant) -> Due {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Due::Never };
        let limit = first + MAX_DELAY;
        let due = match () {
            () if self.at_once => first,
            () if !self.writers.is_empty() => limit,
            () => limit.min(last + self.quiet),
        };
        if now < due {
            return Due::At(due);
        }
        // Found by looking alone: the watches are deaf to it, perhaps because something was mounted over them.
        let rearm = self.rearm || !self.heard;
        *self = Self::new(self.quiet);
        Due::Now { rearm }
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

    /// Plays signals at their milliseconds; returns when the reading is due, and whether the watches are replaced.
    fn play(signals: impl IntoIterator<Item = (u64, Signal)>) -> (u64, bool) {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        for (at, signal) in signals {
            let now = start + ms(at);
            assert!(!matches!(settle.take(now), Due::Now { .. }), "due before {at} ms");
            settle.hear(signal, now);
        }
        for at in 0.. {
            match settle.take(start + ms(at)) {
                Due::Now { rearm } => return (at, rearm),
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
        for signal in [written(), Signal::Replaced, Signal::Moved("/f".into())] {
            settle.hear(signal, start);
        }
        assert_eq!(settle.take(start), Due::Now { rearm: true });
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
        assert_eq!(play([(0, written()), (10, Signal::Lost)]), (110, true));
    }

    #[test]
    fn only_a_change_that_no_event_told_of_replaces_the_watches() {
        assert_eq!(play([(0, Signal::Polled)]), (100, true));
        assert_eq!(play([(0, Signal::Polled), (10, Signal::Touched)]), (110, false));
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
        assert_eq!(settle.take(start + MAX_DELAY), Due::Now { rearm: false });
        assert!(!settle.is_pending());
        settle.hear(Signal::Touched, start + ms(3000));
        assert_eq!(settle.take(start + ms(3050)), Due::At(start + ms(3100)));
    }
}
