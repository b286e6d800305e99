//! Whether a trunk answers: OPTIONS now and then (RFC 3261 §11).

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::sip::transaction::drive::{Hop, Outcome};
use crate::sip::transaction::table::User;
use crate::sip::uri::Uri;
use crate::sip::wire::{Message, Method, Name};
use crate::sip::{ACCEPT, Sip, TimerKey};

use super::{Trunk, retry_after};

/// Whether a trunk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not asked, or no answer yet: calls may try.
    Unknown,
    /// It answered the last question.
    Up,
    /// It did not.
    Down,
}

/// Why no call should go to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// DNS was asked for its addresses, and has not answered yet.
    Unlocated,
    /// It has no address.
    Nowhere,
    /// It does not answer OPTIONS.
    Silent,
    /// It wants a registration, and there is none.
    Unregistered,
    /// All of its servers failed lately.
    Failed,
}

impl Sip {
    /// True if calls may go to the trunk: it has an address, its last health check, if any, was
    /// answered, its registration, if it has one, stands, and not all of its servers failed lately.
    pub fn trunk_is_up(&self, name: &str) -> bool {
        self.trunks
            .iter()
            .any(|trunk| trunk.name == name && self.is_up(trunk))
    }

    fn is_up(&self, trunk: &Trunk) -> bool {
        self.why_down(trunk).is_none()
    }

    fn why_down(&self, trunk: &Trunk) -> Option<Down> {
        if self.locator.places(trunk.target).is_empty() {
            let asks = self.locator.asks_for(trunk.target);
            return Some(if asks { Down::Unlocated } else { Down::Nowhere });
        }
        if trunk.health == Health::Down {
            return Some(Down::Silent);
        }
        if !trunk.registration.as_ref().is_none_or(|r| r.stands()) {
            return Some(Down::Unregistered);
        }
        self.all_failed(trunk).then_some(Down::Failed)
    }

    /// Tells whether a trunk is up, if that has changed, and the operator why it is not.
    pub(in crate::sip) fn note_trunk(&mut self, index: usize) {
        let Some(down) = self.trunks.get(index).map(|trunk| self.why_down(trunk)) else {
            return;
        };
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        if trunk.told_up != down.is_none() {
            trunk.told_up = down.is_none();
            self.trunk_news
                .push_back((trunk.name.clone(), trunk.told_up));
        }
        // Whoever waits for DNS, at the start and each minute after, is neither up nor down.
        if down == Some(Down::Unlocated) || down == trunk.logged {
            return;
        }
        let before = std::mem::replace(&mut trunk.logged, down);
        let name = trunk.name.as_str();
        match (down, before) {
            (Some(Down::Nowhere), _) => {
                let why = format!("{} has no address", trunk.server);
                warn!(trunk = name, why, "trunk is down");
            }
            (Some(Down::Silent), _) => {
                warn!(trunk = name, why = "no answer to OPTIONS", "trunk is down");
            }
            // Most calls find that out by themselves, and it is over in a minute.
            (Some(Down::Failed), _) => {
                info!(trunk = name, why = "its servers failed", "trunk is down");
            }
            (None, Some(Down::Nowhere | Down::Silent | Down::Failed)) => {
                info!(trunk = name, "trunk is up");
            }
            // A registration has lines of its own.
            (Some(Down::Unregistered | Down::Unlocated) | None, _) => {}
        }
    }

    /// Begins the health checks of a trunk, if it wants any.
    pub(in crate::sip) fn begin_health(&mut self, now: Instant, index: usize) {
        if self
            .trunks
            .get(index)
            .is_some_and(|trunk| !trunk.options.is_zero())
        {
            self.timers.set(TimerKey::Health(index), now);
        }
    }

    /// Time to ask a trunk.
    pub(in crate::sip) fn check_health(&mut self, now: Instant, index: usize) {
        let hops = self.hops_of(index);
        let Some(trunk) = self.trunks.get(index) else {
            return;
        };
        let options = trunk.options;
        if options.is_zero() {
            return;
        }
        let Some(hop) = hops.front() else {
            // Not located yet: ask soon, but do not spin.
            let soon = options.min(Duration::from_secs(2));
            return self.timers.set(TimerKey::Health(index), now + soon);
        };
        let hop = hop.clone();
        self.timers.set(TimerKey::Health(index), now + options);
        self.ask_health(now, index, &hop);
    }

    fn ask_health(&mut self, now: Instant, index: usize, hop: &Hop) {
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        trunk.checked = Some(hop.place);
        let domain = trunk.from_domain.as_ref().unwrap_or(&trunk.host);
        let (Some(target), Some(us)) = (
            Uri::sip("", &trunk.host, trunk.port),
            Uri::sip("offhook", domain, None),
        ) else {
            return;
        };
        let (tag, call_id) = (self.tokens.token(12), self.tokens.token(22));
        let mut request = Message::request(Method::Options, target.as_str())
            .with(Name::Via, "")
            .with(Name::MaxForwards, "70")
            .with(Name::From, format!("<{us}>;tag={tag}"))
            .with(Name::To, format!("<{target}>"))
            .with(Name::CallId, call_id)
            .with(Name::CSeq, "1 OPTIONS")
            .with(Name::Contact, "")
            .with(Name::Accept, ACCEPT);
        if let Some(route) = &trunk.route {
            request.push(Name::Route, route);
        }
        let user = User::Health(index);
        let sent = self.send_authorized(now, Some(index), request, hop, user);
        if sent.is_err() {
            self.unhealthy(now, index, None);
        }
    }

    /// A server did not answer; the next is asked, and when all have failed the trunk is down.
    fn unhealthy(&mut self, now: Instant, index: usize, wait: Option<Duration>) {
        let place = self.trunks.get_mut(index).and_then(|t| t.checked.take());
        if let Some(place) = place {
            self.server_failed(now, Some(index), place, wait);
        }
        let hops = self.hops_of(index);
        let Some(trunk) = self.trunks.get(index) else {
            return;
        };
        match hops.into_iter().find(|hop| !trunk.has_failed(hop.place)) {
            Some(next) => self.ask_health(now, index, &next),
            None => self.set_health(index, Health::Down),
        }
    }

    /// How an OPTIONS fared. Any answer shows that somebody is there, but for 503 and 408 (from a
    /// proxy in between).
    pub(in crate::sip) fn health_fared(
        &mut self,
        now: Instant,
        index: usize,
        outcome: Outcome<'_>,
    ) {
        match outcome {
            Outcome::Response(response) => match response.status().unwrap_or(0) {
                0..200 => {}
                408 | 503 => self.unhealthy(now, index, retry_after(response)),
                _ => {
                    let place = self.trunks.get_mut(index).and_then(|t| t.checked.take());
                    if let Some(place) = place {
                        self.server_answered(index, place);
                    }
                    self.set_health(index, Health::Up);
                }
            },
            Outcome::TimedOut | Outcome::Unreachable => self.unhealthy(now, index, None),
        }
    }

    fn set_health(&mut self, index: usize, health: Health) {
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        if trunk.health == health {
            return;
        }
        // Its first answer is news too, though all count as up until then.
        if trunk.health == Health::Unknown && health == Health::Up && trunk.logged.is_none() {
            info!(trunk = trunk.name, "trunk is up");
        }
        trunk.health = health;
        self.note_trunk(index);
    }
}
