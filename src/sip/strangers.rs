//! Scanners: who sends what no trunk and no call knows is soon not even read any more.
//!
//! A token bucket for each source. Only a request that was dropped for its source takes a token, so
//! that a peer of a call at another address than its trunk's never loses one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Dropped requests in a row until a source is not read.
const BURST: u32 = 20;
/// One more is read after this.
const REFILL: Duration = Duration::from_secs(1);
/// Sources that are remembered. Scanners come from few; forged sources push each other out, and
/// then each costs a parse, as before.
const MAX_SOURCES: usize = 4_096;

/// Sources whose requests were dropped.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When the bucket of each will be full again: tokens and time in one.
    full_at: BTreeMap<IpAddr, Instant>,
}

impl Strangers {
    /// True if nothing of this source shall be read now.
    pub fn is_muted(&self, now: Instant, source: IpAddr) -> bool {
        // The common case is free.
        !self.full_at.is_empty()
            && self
                .full_at
                .get(&source)
                .is_some_and(|full_at| *full_at > now + REFILL * (BURST - 1))
    }

    /// A request of this source was dropped.
    pub fn dropped(&mut self, now: Instant, source: IpAddr) {
        if self.full_at.len() >= MAX_SOURCES && !self.full_at.contains_key(&source) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_SOURCES {
                self.full_at.pop_first();
            }
        }
        let full_at = self.full_at.entry(source).or_insert(now);
        *full_at = (*full_at).max(now) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn ip(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    #[test]
    fn a_burst_mutes_its_source_alone_and_not_for_ever() {
        let now = start();
        let mut strangers = Strangers::default();
        for _ in 0..BURST {
            assert!(!strangers.is_muted(now, ip(1)));
            strangers.dropped(now, ip(1));
        }
        assert!(strangers.is_muted(now, ip(1)));
        assert!(!strangers.is_muted(now, ip(2)));
        assert!(!strangers.is_muted(now + REFILL, ip(1)));
        strangers.dropped(now + REFILL, ip(1));
        assert!(strangers.is_muted(now + REFILL, ip(1)));
    }

    #[test]
    fn many_sources_do_not_fill_the_memory() {
        let now = start();
        let mut strangers = Strangers::default();
        for number in 0..10_000_u32 {
            strangers.dropped(now, IpAddr::V4(number.into()));
        }
        assert_eq!(strangers.full_at.len(), MAX_SOURCES);
    }
}
