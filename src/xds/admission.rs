//! How many new streams are taken on in a second. A client that joins is sent everything, so that a fleet that reconnects at once
//! would hold up those that are being served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two words on refusals.
const SILENCE: Duration = Duration::from_secs(1);

/// Streams that this machine takes on in a second, unless it is told otherwise.
pub(super) fn streams_per_second() -> u32 {
    suited_to(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// What Istio's control plane takes on by default, in large fleets. A stream costs less here, where everything is encoded
/// already, but its first answers are as long.
fn suited_to(cores: usize) -> u32 {
    u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(5).saturating_add(15).min(100)
}

/// Whether a stream is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Refused {
        /// How many were refused since that was last told, if it is time to tell again.
        untold: Option<u64>,
    },
}

/// The gate that new streams come through.
#[derive(Debug)]
pub(super) struct Admission(Mutex<Bucket>);

impl Admission {
    /// No gate if the limit is 0.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| Self(Mutex::new(Bucket::new(per_second))))
    }

    /// Judges a stream of a connection, of which is known whether it was let in before.
    ///
    /// An aggregated stream is a client. Where each subscription has a stream, as in an Envoy off ADS, the connection is: its
    /// first stream counts and the others follow it, or an Envoy of a thousand clusters would wait while they time out.
    pub(super) fn admit(&self, is_aggregated: bool, let_in: &AtomicBool, now: Instant) -> Verdict {
        if !is_aggregated && let_in.load(Ordering::Relaxed) {
            return Verdict::Admitted;
        }
        let verdict = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        if verdict == Verdict::Admitted {
            let_in.store(true, Ordering::Relaxed);
        }
        verdict
    }
}

/// A bucket that holds the tokens of one second. Pure: the time is handed in.
#[derive(Debug)]
struct Bucket {
    /// In which a token is added.
    interval: Duration,
    /// When it is full again; none if it has always been.
    full_at: Option<Instant>,
    untold: u64,
    told_at: Option<Instant>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second, full_at: None, untold: 0, told_at: None }
    }

    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> Verdict {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.interval;
        // So many tokens are missing, this one included, that it takes longer than a second to add them.
        if full_at - now > Duration::from_secs(1) {
            self.untold += 1;
            return Verdict::Refused { untold: self.tell(now) };
        }
        self.full_at = Some(full_at);
        Verdict::Admitted
    }

    fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|told_at| now < told_at + SILENCE) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many streams that come at one moment are taken on.
    fn admitted(bucket: &mut Bucket, streams: usize, now: Instant) -> usize {
        (0..streams).filter(|_| bucket.take(now) == Verdict::Admitted).count()
    }

    #[test]
    fn as_many_as_a_second_has_come_at_once_and_then_at_that_rate() {
        for per_second in [1, 3, 7, 25, 1000] {
            let (mut bucket, start) = (Bucket::new(per_second), Instant::now());
            let rate = per_second as usize;
            assert_eq!(admitted(&mut bucket, 5000, start), rate, "{per_second}");
            let mut later = 0;
            for step in 1..=40 {
                later += admitted(&mut bucket, 5000, start + Duration::from_millis(100) * step);
            }
            assert!((4 * rate - 1..=4 * rate).contains(&later), "{later} in four seconds at {per_second}");
        }
    }

    #[test]
    fn what_is_not_used_does_not_add_up_beyond_a_second() {
        let (mut bucket, start) = (Bucket::new(10), Instant::now());
        assert_eq!(admitted(&mut bucket, 4, start), 4);
        assert_eq!(admitted(&mut bucket, 100, start + Duration::from_hours(1)), 10);
        assert_eq!(admitted(&mut bucket, 100, start + Duration::from_hours(1)), 0);
    }

    #[test]
    fn refusals_are_told_at_most_once_a_second_and_none_is_forgotten() {
        let (mut bucket, start) = (Bucket::new(1), Instant::now());
        assert_eq!(bucket.take(start), Verdict::Admitted);
        let untold: Vec<_> = [0, 100, 200, 999]
            .map(|millis| bucket.take(start + Duration::from_millis(millis)))
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Refused { untold } => untold,
                Verdict::Admitted => panic!("within a second"),
            })
            .collect();
        assert_eq!(untold, [Some(1), None, None, None]);
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Verdict::Admitted);
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Verdict::Refused { untold: Some(4) });
    }

    #[test]
    fn streams_of_one_kind_follow_the_first_of_their_connection() {
        let (admission, now) = (Admission::new(1).unwrap(), Instant::now());
        let (first, second) = (AtomicBool::new(false), AtomicBool::new(false));
        for _ in 0..1000 {
            assert_eq!(admission.admit(false, &first, now), Verdict::Admitted);
        }
        assert!(matches!(admission.admit(true, &first, now), Verdict::Refused { .. }), "another client");
        assert!(matches!(admission.admit(false, &second, now), Verdict::Refused { .. }));
        assert!(matches!(admission.admit(false, &second, now), Verdict::Refused { .. }), "it was not let in");
        assert_eq!(admission.admit(false, &first, now), Verdict::Admitted, "who is in stays in");
        assert_eq!(admission.admit(true, &second, now + Duration::from_secs(1)), Verdict::Admitted);
    }

    #[test]
    fn without_a_limit_there_is_no_gate() {
        assert!(Admission::new(0).is_none());
    }

    #[test]
    fn the_limit_grows_with_the_machine_up_to_a_point() {
        assert_eq!([1, 2, 16, 17, 18, usize::MAX].map(suited_to), [20, 25, 95, 100, 100, 100]);
        assert!((20..=100).contains(&streams_per_second()));
    }
}
