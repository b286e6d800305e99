//! A table of named deadlines. Nobody stores a bare deadline: who wakes up can always be told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Deadlines by key; each key has at most one.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the deadline of `key`, replacing an earlier one.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Takes the deadline of `key` away; true if there was one.
    pub fn stop(&mut self, key: &K) -> bool {
        let Some((key, at)) = self.by_key.remove_entry(key) else {
            return false;
        };
        self.by_time.remove(&(at, key))
    }

    /// The deadline of `key`.
    pub fn deadline(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The soonest deadline of all.
    pub fn soonest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True if none is set.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn the_soonest_comes_first_and_a_new_deadline_replaces_the_old() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let mut timers = Timers::default();
        timers.set("b", t0 + ms(20));
        timers.set("a", t0 + ms(10));
        timers.set("b", t0 + ms(5));
        assert_eq!(timers.soonest(), Some(t0 + ms(5)));
        assert_eq!(timers.pop_due(t0), None);
        assert_eq!(timers.pop_due(t0 + ms(30)), Some("b"));
        assert_eq!(timers.pop_due(t0 + ms(30)), Some("a"));
        assert!(timers.is_empty());
    }
}
