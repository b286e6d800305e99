//! Texts take the ways of calls: the same rights, routes, trunks and numbers. What is said in a call
//! to somebody without an address goes to the other leg of it.
//!
//! To one reader goes one text at a time (RFC 3428 §8), which also keeps them in order. A text that
//! nobody was there to take is tried at the next trunk; one that may have arrived never is.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jid::BareJid;

use super::dialplan::Refusal;
use super::{CallOutput, Calls};
use crate::address::Address;
use crate::id::{LegId, Role, Room};
use crate::leg::EndReason;
use crate::text::{Fate, Taken, Text, TextCommand, TextEvent, TextId, Undelivered, Why};

/// Texts under way, those that wait included: some 20 MB of usual ones.
const MAX_TEXTS: usize = 10_000;
/// Texts that wait for an earlier one to the same reader: more than anybody types meanwhile.
const MAX_WAITING: usize = 20;
/// Writers whose pace is remembered. One that is forgotten may write a little early.
const MAX_WRITERS: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// To whom texts go one by one.
type Reader = (Address, Option<LegId>);

/// What became of the texts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStats {
    /// Texts of users that were taken.
    pub out_taken: u64,
    /// Texts of users that were not.
    pub out_failed: u64,
    /// Texts of trunks that were taken.
    pub in_taken: u64,
    /// Texts of trunks that were not.
    pub in_failed: u64,
}

/// Every text under way.
#[derive(Debug, Default)]
pub(super) struct Texts {
    last: u64,
    sending: BTreeMap<TextId, Sending>,
    copies: BTreeMap<TextId, Copies>,
    /// What waits, by reader, as long as a text is under way there.
    waiting: BTreeMap<Reader, VecDeque<Outgoing>>,
    paces: Paces,
    stats: TextStats,
}

#[derive(Debug)]
enum Sending {
    Out(Box<Outgoing>),
    /// One copy of a text to users.
    Copy(TextId),
}

/// A text to SIP.
#[derive(Debug)]
struct Outgoing {
    came: TextId,
    text: Box<Text>,
    /// Trunks that were not tried yet.
    trunks: VecDeque<String>,
    leg: Option<LegId>,
}

/// The copies of a text that nobody has answered for.
#[derive(Debug)]
struct Copies {
    left: usize,
    best: Fate,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
        self.sending.len() + waiting
    }

    fn next(&mut self, room: Room) -> TextId {
        self.last += 1;
        TextId {
            room,
            role: Role::Callee,
            number: self.last,
        }
    }
}

impl Calls {
    /// What became of the texts so far.
    pub fn text_stats(&self) -> TextStats {
        self.texts.stats
    }

    /// Takes what a room tells of a text.
    pub fn text_event(&mut self, now: Instant, event: TextEvent) {
        match event {
            TextEvent::Came {
                id,
                text,
                conceals,
                trunk: _,
                leg,
            } => {
                if let Err(failed) = self.carry(now, id, text, conceals, leg) {
                    self.report(id, Err(failed));
                }
            }
            TextEvent::Fared { id, fate } => match self.texts.sending.remove(&id) {
                Some(Sending::Out(outgoing)) => self.went(*outgoing, fate),
                Some(Sending::Copy(came)) => self.copy_went(came, fate),
                None => {}
            },
        }
    }

    fn carry(
        &mut self,
        now: Instant,
        id: TextId,
        text: Box<Text>,
        conceals: bool,
        leg: Option<LegId>,
    ) -> Result<(), Undelivered> {
        if self.draining {
            return Err(Why::NoRoute.into());
        }
        if self.texts.len() >= MAX_TEXTS {
            return Err(Why::TooMany.into());
        }
        match (id.room, &text.from) {
            (Room::Xmpp, Address::Xmpp(user)) => {
                let user = user.clone();
                self.carry_out(now, id, &user, text, conceals, leg)
            }
            (Room::Xmpp, Address::Number(_) | Address::Sip(_) | Address::Anonymous) => {
                Err(Why::Forbidden.into())
            }
            (Room::Sip, _) => self.carry_in(now, id, text, leg),
        }
    }

    fn carry_out(
        &mut self,
        now: Instant,
        came: TextId,
        user: &BareJid,
        mut text: Box<Text>,
        conceals: bool,
        leg: Option<LegId>,
    ) -> Result<(), Undelivered> {
        let leg = leg.filter(|_| text.to == Address::Anonymous);
        let in_call = leg.and_then(|leg| self.talks_with(leg, Room::Sip));
        let mut trunks = match in_call {
            Some(other) => self.trunk_of(other).into_iter().collect(),
            None => {
                let outgoing = self.dialplan.outgoing(user, &text.to).map_err(refused)?;
                text.from = outgoing.caller;
                outgoing.trunks
            }
        };
        trunks.retain(|name| self.takes_texts(name));
        if trunks.is_empty() {
            return Err(Why::CallsOnly.into());
        }
        let trunks = self.by_health(trunks);
        self.keep_pace(now, &Address::Xmpp(user.clone()))?;
        if conceals {
            text.from = Address::Anonymous;
            text.display_name = None;
        }
        let reader = (text.to.clone(), in_call);
        let outgoing = Outgoing {
            came,
            text,
            trunks,
            leg: in_call,
        };
        match self.texts.waiting.get_mut(&reader) {
            Some(queue) if queue.len() >= MAX_WAITING => return Err(Why::TooMany.into()),
            Some(queue) => queue.push_back(outgoing),
            None => {
                self.texts.waiting.insert(reader, VecDeque::new());
                self.send_out(outgoing);
            }
        }
        Ok(())
    }

    fn carry_in(
        &mut self,
        now: Instant,
        came: TextId,
        text: Box<Text>,
        leg: Option<LegId>,
    ) -> Result<(), Undelivered> {
        let other = leg.map(|leg| self.talks_with(leg, Room::Xmpp));
        let readers: Vec<(Address, Option<LegId>)> = match other {
            Some(Some(other)) => vec![(text.to.clone(), Some(other))],
            // The call has just ended, or nobody has taken it yet.
            Some(None) => return Err(Why::Unavailable.into()),
            None => {
                let users = self.dialplan.incoming(&text.to).map_err(refused)?.users;
                let reader = |user| (Address::Xmpp(user), None);
                users.into_iter().map(reader).collect()
            }
        };
        self.keep_pace(now, &text.from)?;
        let copies = Copies {
            left: readers.len(),
            best: Err(Why::NotFound.into()),
        };
        self.texts.copies.insert(came, copies);
        for (to, leg) in readers {
            let id = self.texts.next(Room::Xmpp);
            self.texts.sending.insert(id, Sending::Copy(came));
            let mut text = text.clone();
            text.to = to;
            let trunk = None;
            self.tell_of_text(TextCommand::Send {
                id,
                text,
                trunk,
                leg,
            });
        }
        Ok(())
    }

    /// The other leg of an answered call, if it is in this room.
    fn talks_with(&self, leg: LegId, room: Room) -> Option<LegId> {
        let call = self.calls.get(self.by_leg.get(&leg)?)?;
        let other = call.leg(call.side_of(leg).other());
        other.filter(|other| call.state.is_answered() && other.room == room)
    }

    fn trunk_of(&self, leg: LegId) -> Option<String> {
        self.calls.get(self.by_leg.get(&leg)?)?.trunk.clone()
    }

    fn takes_texts(&self, name: &str) -> bool {
        let trunk = self.config.trunk(name);
        trunk.is_some_and(|trunk| trunk.messages)
    }

    fn keep_pace(&mut self, now: Instant, writer: &Address) -> Result<(), Undelivered> {
        let most = self.config.access.messages_per_minute;
        match self.texts.paces.take(now, writer, most) {
            true => Ok(()),
            false => Err(Why::TooMany.into()),
        }
    }

    fn send_out(&mut self, mut outgoing: Outgoing) {
        let id = self.texts.next(Room::Sip);
        let trunk = outgoing.trunks.pop_front();
        self.tell_of_text(TextCommand::Send {
            id,
            text: outgoing.text.clone(),
            trunk,
            leg: outgoing.leg,
        });
        self.texts
            .sending
            .insert(id, Sending::Out(Box::new(outgoing)));
    }

    fn went(&mut self, outgoing: Outgoing, fate: Fate) {
        let why = fate.err().map(|failed| failed.why);
        if why == Some(Why::NoRoute) && !outgoing.trunks.is_empty() {
            return self.send_out(outgoing);
        }
        let reader = (outgoing.text.to, outgoing.leg);
        self.report(outgoing.came, fate);
        // The next one would fare alike, each half a minute later.
        let gives_up = matches!(why, Some(Why::NoRoute | Why::Unanswered));
        while let Some(queue) = self.texts.waiting.get_mut(&reader) {
            match queue.pop_front() {
                Some(next) if gives_up => self.report(next.came, fate),
                Some(next) => return self.send_out(next),
                None => drop(self.texts.waiting.remove(&reader)),
            }
        }
    }

    fn copy_went(&mut self, came: TextId, fate: Fate) {
        let Some(copies) = self.texts.copies.get_mut(&came) else {
            return;
        };
        copies.left = copies.left.saturating_sub(1);
        copies.best = match (copies.best, fate) {
            (Ok(best), Ok(taken)) => Ok(best.max(taken)),
            (Ok(best), Err(_)) => Ok(best),
            (Err(_), Ok(taken)) => Ok(taken),
            // That one of the readers is none tells least.
            (Err(best), Err(failed)) => Err(match best.why {
                Why::NotFound => failed,
                _ => best,
            }),
        };
        let best = copies.best;
        if copies.left == 0 || best == Ok(Taken::Delivered) {
            self.texts.copies.remove(&came);
            self.report(came, best);
        }
    }

    /// Gives up what is under way: what has gone out may have arrived, what waited has not.
    pub(super) fn end_texts(&mut self) {
        let sending = std::mem::take(&mut self.texts.sending);
        let out = sending.into_values().filter_map(|sending| match sending {
            Sending::Out(outgoing) => Some(outgoing.came),
            Sending::Copy(_) => None,
        });
        let copies = std::mem::take(&mut self.texts.copies);
        let sent: Vec<TextId> = out.chain(copies.into_keys()).collect();
        for came in sent {
            self.report(came, Err(Why::Unanswered.into()));
        }
        let waiting = std::mem::take(&mut self.texts.waiting);
        for outgoing in waiting.into_values().flatten() {
            self.report(outgoing.came, Err(Why::NoRoute.into()));
        }
    }

    fn report(&mut self, id: TextId, fate: Fate) {
        tracing::debug!(from = ?id.room, ?fate, "text");
        let stats = &mut self.texts.stats;
        let count = match (id.room, fate) {
            (Room::Xmpp, Ok(_)) => &mut stats.out_taken,
            (Room::Xmpp, Err(_)) => &mut stats.out_failed,
            (Room::Sip, Ok(_)) => &mut stats.in_taken,
            (Room::Sip, Err(_)) => &mut stats.in_failed,
        };
        *count += 1;
        self.tell_of_text(TextCommand::Fared { id, fate });
    }

    fn tell_of_text(&mut self, command: TextCommand) {
        self.outputs.push_back(CallOutput::Text(command));
    }
}

fn refused(refusal: Refusal) -> Undelivered {
    let why = match refusal.reason {
        EndReason::Forbidden => Why::Forbidden,
        EndReason::NoRoute => Why::NoRoute,
        _ => Why::NotFound,
    };
    why.into()
}

/// How fast each writer writes: a bucket each, filled over a minute.
#[derive(Debug, Default)]
struct Paces {
    /// When the bucket of each will be full again: tokens and time in one.
    full_at: BTreeMap<Address, Instant>,
}

impl Paces {
    fn take(&mut self, now: Instant, writer: &Address, most: u32) -> bool {
        if self.full_at.len() >= MAX_WRITERS && !self.full_at.contains_key(writer) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_WRITERS {
                self.full_at.pop_first();
            }
        }
        let full_at = self.full_at.entry(writer.clone()).or_insert(now);
        let then = (*full_at).max(now) + MINUTE / most.max(1);
        let fits = then <= now + MINUTE;
        if fits {
            *full_at = then;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_writer_has_a_minutes_worth_and_then_its_pace() {
        let t0 = Instant::now();
        let mut paces = Paces::default();
        let writer = Address::Xmpp(BareJid::new("juliet@example.org").unwrap());
        for _ in 0..3 {
            assert!(paces.take(t0, &writer, 3));
        }
        assert!(!paces.take(t0, &writer, 3));
        assert!(paces.take(t0, &Address::Anonymous, 3));
        assert!(paces.take(t0 + MINUTE / 3, &writer, 3));
        assert!(!paces.take(t0 + MINUTE / 3, &writer, 3));
    }
}
