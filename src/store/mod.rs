//! What has been promised to others goes out only when it is kept.
//!
//! Changes are numbered and go to whoever keeps them; what tells of a change waits in the [`Gate`]
//! until its number has been kept. What tells of none passes at once, unless something for the same
//! addressee waits: then it waits too, so that nobody hears things in another order than they were
//! said. The room knows no protocol word, and holds no state but numbers and what waits.

use std::collections::{BTreeMap, VecDeque};

/// Changes on their way at most; more are not begun. One request makes as many as a channel has
/// participants at most, so what waits is bounded too.
pub const MAX_ON_THE_WAY: u64 = 10_000;

/// What is heard of the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// All changes up to this number are kept, and will outlive a crash.
    Kept(u64),
    /// Nothing can be kept until the next [`Self::Kept`].
    Failing,
}

/// Numbers changes, and holds back what tells of them.
#[derive(Debug)]
pub struct Gate<T> {
    last: u64,
    kept: u64,
    failing: bool,
    held: VecDeque<Held<T>>,
    /// How many are held for each addressee.
    held_for: BTreeMap<String, usize>,
    free: VecDeque<T>,
}

#[derive(Debug)]
struct Held<T> {
    until: u64,
    to: String,
    promises: bool,
    /// `None` once it has been taken back.
    what: Option<T>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self {
            last: 0,
            kept: 0,
            failing: false,
            held: VecDeque::new(),
            held_for: BTreeMap::new(),
            free: VecDeque::new(),
        }
    }
}

impl<T> Gate<T> {
    /// The number of one more change.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// True if changes may be promised.
    pub fn is_open(&self) -> bool {
        !self.failing && self.last - self.kept < MAX_ON_THE_WAY
    }

    /// True while nothing can be kept.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// How many wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Sends `what` to `to`, but not before all changes so far are kept if it `promises` them.
    pub fn send(&mut self, to: &str, what: T, promises: bool) {
        // While nothing can be kept, what waits may wait for long: others pass it.
        let follows = !self.failing && self.held_for.contains_key(to);
        if !(follows || (promises && self.last > self.kept)) {
            return self.free.push_back(what);
        }
        *self.held_for.entry(to.to_owned()).or_default() += 1;
        self.held.push_back(Held {
            until: self.last,
            to: to.to_owned(),
            promises,
            what: Some(what),
        });
    }

    /// Takes in what the keeper says. While it fails, `take_back` says what goes out at once in the
    /// place of a promise that is held; `None` leaves it there. What only followed goes out as it is.
    pub fn handle(&mut self, event: StoreEvent, take_back: impl Fn(&T) -> Option<T>) {
        match event {
            StoreEvent::Kept(number) => {
                self.kept = self.kept.max(number);
                self.failing = false;
                self.release();
            }
            StoreEvent::Failing => {
                self.failing = true;
                for held in &mut self.held {
                    let instead = match (held.promises, &held.what) {
                        (true, Some(what)) => take_back(what),
                        (false, _) => held.what.take(),
                        (true, None) => None,
                    };
                    if let Some(instead) = instead {
                        held.what = None;
                        self.free.push_back(instead);
                    }
                }
            }
        }
    }

    /// The next one that may go out.
    pub fn poll(&mut self) -> Option<T> {
        self.free.pop_front()
    }

    fn release(&mut self) {
        while self.held.front().is_some_and(|h| h.until <= self.kept) {
            let Some(held) = self.held.pop_front() else {
                return;
            };
            if let Some(count) = self.held_for.get_mut(&held.to) {
                *count -= 1;
                if *count == 0 {
                    self.held_for.remove(&held.to);
                }
            }
            self.free.extend(held.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(gate: &mut Gate<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| gate.poll()).collect()
    }

    #[test]
    fn what_tells_of_a_change_waits_until_it_is_kept() {
        let mut gate = Gate::default();
        gate.send("a", "before", true);
        let first = gate.number();
        gate.send("a", "joined", true);
        gate.send("b", "news", true);
        gate.send("c", "unrelated", false);
        assert_eq!(out(&mut gate), ["before", "unrelated"]);
        let second = gate.number();
        gate.send("a", "renamed", true);
        gate.handle(StoreEvent::Kept(first), |_| None);
        assert_eq!(out(&mut gate), ["joined", "news"]);
        gate.handle(StoreEvent::Kept(second), |_| None);
        assert_eq!(out(&mut gate), ["renamed"]);
        assert_eq!(gate.held(), 0);
    }

    #[test]
    fn nobody_hears_things_in_another_order() {
        let mut gate = Gate::default();
        let number = gate.number();
        gate.send("a", "joined", true);
        gate.send("a", "pong", false);
        assert_eq!(out(&mut gate), [""; 0]);
        gate.handle(StoreEvent::Kept(number), |_| None);
        assert_eq!(out(&mut gate), ["joined", "pong"]);
        gate.send("a", "pong", false);
        assert_eq!(out(&mut gate), ["pong"]);
    }

    #[test]
    fn a_failing_keeper_takes_answers_back_and_holds_up_nobody_else() {
        let mut gate = Gate::default();
        let number = gate.number();
        gate.send("a", "joined", true);
        gate.send("b", "news", true);
        gate.send("b", "ping", false);
        let sorry = |what: &&'static str| (*what == "joined").then_some("sorry");
        gate.handle(StoreEvent::Failing, sorry);
        gate.send("b", "pong", false);
        assert_eq!(out(&mut gate), ["sorry", "ping", "pong"]);
        assert!(!gate.is_open());
        gate.handle(StoreEvent::Kept(number), |_| None);
        assert_eq!(out(&mut gate), ["news"]);
        assert!(gate.is_open());
    }

    #[test]
    fn too_many_changes_on_the_way_close_it() {
        let mut gate: Gate<()> = Gate::default();
        for _ in 0..MAX_ON_THE_WAY {
            assert!(gate.is_open());
            gate.number();
        }
        assert!(!gate.is_open());
        gate.handle(StoreEvent::Kept(1), |()| None);
        assert!(gate.is_open());
    }
}
