//! How much one user, one trunk and everybody together may use.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jid::BareJid;

/// Calls at a time in the whole process. Past this memory is the risk: about 100 KB a call with
/// media make 1 GB.
pub(super) const MAX_CALLS: usize = 10_000;

/// Users whose recent calls are remembered. The oldest is forgotten first; forgetting only lets
/// somebody call again a little early.
const MAX_USERS: usize = 10_000;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts of calls by user.
#[derive(Debug, Default)]
pub(super) struct UserLimits {
    users: BTreeMap<BareJid, User>,
}

#[derive(Debug, Default)]
struct User {
    open: u32,
    recent: VecDeque<Instant>,
}

/// Which limit a call would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitHit {
    /// Too many calls at a time.
    AtATime(u32),
    /// Too many calls in a minute.
    PerMinute(u32),
}

impl UserLimits {
    /// Counts a call in, or says which limit forbids it.
    pub(super) fn open(
        &mut self,
        now: Instant,
        user: &BareJid,
        at_a_time: u32,
        per_minute: u32,
    ) -> Result<(), LimitHit> {
        if !self.users.contains_key(user) && self.users.len() >= MAX_USERS {
            self.forget_idle(now);
        }
        let entry = self.users.entry(user.clone()).or_default();
        while entry.recent.front().is_some_and(|at| now >= *at + WINDOW) {
            entry.recent.pop_front();
        }
        if entry.open >= at_a_time {
            return Err(LimitHit::AtATime(at_a_time));
        }
        if entry.recent.len() >= per_minute as usize {
            return Err(LimitHit::PerMinute(per_minute));
        }
        entry.open += 1;
        entry.recent.push_back(now);
        Ok(())
    }

    /// Counts a call out.
    pub(super) fn close(&mut self, user: &BareJid) {
        if let Some(entry) = self.users.get_mut(user) {
            entry.open = entry.open.saturating_sub(1);
        }
    }

    /// Calls that are counted in.
    pub(super) fn open_calls(&self) -> u32 {
        self.users.values().map(|user| user.open).sum()
    }

    fn forget_idle(&mut self, now: Instant) {
        self.users.retain(|_, user| {
            user.open > 0 || user.recent.back().is_some_and(|at| now < *at + WINDOW)
        });
        if self.users.len() >= MAX_USERS
            && let Some(idle) = self
                .users
                .iter()
                .find(|(_, user)| user.open == 0)
                .map(|(jid, _)| jid.clone())
        {
            self.users.remove(&idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_user_may_call_again_when_a_call_ended_and_the_minute_is_over() {
        let t0 = Instant::now();
        let user = BareJid::new("juliet@example.org").unwrap();
        let mut limits = UserLimits::default();
        assert_eq!(limits.open(t0, &user, 1, 2), Ok(()));
        assert_eq!(limits.open(t0, &user, 1, 2), Err(LimitHit::AtATime(1)));
        limits.close(&user);
        assert_eq!(limits.open(t0, &user, 1, 2), Ok(()));
        limits.close(&user);
        assert_eq!(limits.open(t0, &user, 1, 2), Err(LimitHit::PerMinute(2)));
        assert_eq!(limits.open(t0 + WINDOW, &user, 1, 2), Ok(()));
    }
}
