//! The requests we have sent: id, whom we asked, who waits for the answer, and until when (RFC 6120
//! §8.2.3). An answer counts only if it comes from whom we asked, so that ids cannot be guessed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jid::Jid;

use crate::timer::Timers;

/// How long an answer may take. Servers give up on dead links within a minute.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Open requests of one room at most: a busy gateway asks each user's client once, so this is far
/// beyond what 100 calls a second cause, and 10 MB if nobody ever answers.
pub const MAX_OPEN: usize = 20_000;

/// Requests that wait for their answers, each with what `W` remembers of it.
#[derive(Clone, Debug)]
pub struct Requests<W> {
    open: BTreeMap<String, (Jid, W)>,
    timers: Timers<String>,
}

impl<W> Default for Requests<W> {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            timers: Timers::default(),
        }
    }
}

impl<W> Requests<W> {
    /// True if another request may be sent.
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// Remembers a request that has been sent to `to`.
    pub fn sent(&mut self, now: Instant, id: String, to: Jid, waiting: W) {
        self.timers.set(id.clone(), now + PATIENCE);
        self.open.insert(id, (to, waiting));
    }

    /// True if an answer with this id is for this table.
    pub fn knows(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// Takes the request that this is the answer of.
    pub fn answered(&mut self, id: &str, from: &Jid) -> Option<W> {
        let (to, _) = self.open.get(id)?;
        if to != from {
            return None;
        }
        self.timers.stop(&id.to_owned());
        self.open.remove(id).map(|(_, waiting)| waiting)
    }

    /// Takes a request whose answer has not come in time.
    pub fn pop_due(&mut self, now: Instant) -> Option<W> {
        let id = self.timers.pop_due(now)?;
        self.open.remove(&id).map(|(_, waiting)| waiting)
    }

    /// When the next request is given up.
    pub fn soonest(&self) -> Option<Instant> {
        self.timers.soonest()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn an_answer_counts_only_from_whom_was_asked_and_in_time() {
        let t0 = Instant::now();
        let jid = |text: &str| Jid::new(text).unwrap();
        let mut requests = Requests::default();
        requests.sent(t0, "1".into(), jid("a@b/c"), "caps");
        requests.sent(t0, "2".into(), jid("a@b/c"), "caps");
        assert_eq!(requests.answered("1", &jid("a@b/d")), None);
        assert_eq!(requests.answered("1", &jid("a@b/c")), Some("caps"));
        assert_eq!(requests.answered("1", &jid("a@b/c")), None);
        assert_eq!(requests.pop_due(t0), None);
        assert_eq!(requests.pop_due(t0 + PATIENCE), Some("caps"));
        assert!(requests.is_empty());
        assert_eq!(requests.soonest(), None);
    }
}
