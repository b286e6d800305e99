//! How often the signalling thread goes to sleep.
//!
//! To sleep and be woken costs more than most of what it is woken for. So under load, what comes
//! within a millisecond is taken together: the media threads do the same. Who places one call on an
//! idle gateway waits for nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The mean time between two times of going to sleep, at least.
const PERIOD: Duration = Duration::from_millis(1);
/// How far ahead of that the thread may be: what this many wake-ups do is not held up.
const AHEAD: u32 = 16;

/// Counts how often the thread goes to sleep.
#[derive(Debug)]
pub struct Gather {
    start: Instant,
    /// When the last time would have been if all were [`PERIOD`] apart, in nanoseconds.
    last: AtomicU64,
    /// When the thread last waited for things to gather, in nanoseconds.
    waited: AtomicU64,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        }
    }
}

fn read(time: &AtomicU64) -> Duration {
    Duration::from_nanos(time.load(Ordering::Relaxed))
}

fn write(time: &AtomicU64, at: Duration) {
    let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    time.store(nanos, Ordering::Relaxed);
}

impl Gather {
    /// To be called whenever the thread has nothing to do; returns when it may wait for something.
    pub fn before_sleep(&self) {
        let wait = self.wait(self.start.elapsed());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// How long to let things gather at a time since the start.
    fn wait(&self, now: Duration) -> Duration {
        let this = (read(&self.last) + PERIOD).max(now);
        write(&self.last, this);
        if this <= now + PERIOD * AHEAD {
            return Duration::ZERO;
        }
        // One period after the end of the last wait: the work since then is a part of it.
        let until = (read(&self.waited) + PERIOD).max(now);
        write(&self.waited, until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the thread works between two sleeps, and how often it waits in a second of that.
    fn waits(work: Duration) -> usize {
        let gather = Gather::default();
        let (mut now, mut waits) = (Duration::ZERO, 0);
        while now < Duration::from_secs(1) {
            now += work;
            let wait = gather.wait(now);
            waits += usize::from(!wait.is_zero());
            now += wait;
        }
        waits
    }

    #[test]
    fn only_a_busy_thread_waits() {
        assert_eq!(waits(Duration::from_millis(2)), 0);
        assert_eq!(waits(Duration::from_millis(1)), 0);
        // 10,000 sleeps a second would be asked for: a tenth of the time is work.
        let busy = waits(Duration::from_micros(100));
        assert!((950..=1000).contains(&busy), "{busy}");
        // Nine tenths of each millisecond are work: what is left of it is waited for.
        let busier = waits(Duration::from_micros(900));
        assert!((800..=1000).contains(&busier), "{busier}");
    }

    #[test]
    fn a_few_things_after_a_silence_wait_for_nothing() {
        let gather = Gather::default();
        let mut now = Duration::from_secs(5);
        for _ in 0..AHEAD {
            assert!(gather.wait(now).is_zero());
            now += Duration::from_micros(10);
        }
        let more: Duration = (0..3).map(|_| gather.wait(now)).sum();
        assert!(!more.is_zero());
    }
}
