//! Invitation messages that come in (XEP-0353).

use std::time::Instant;

use jid::Jid;
use minidom::Element;
use tracing::debug;

use super::content::{self, Side};
use super::message::{self, Verb};
use super::session::{Key, Origin, Session, State, Wire};
use super::{Jingle, Timer, reason, send_message};
use crate::address::Address;
use crate::description::Media;
use crate::id::{LegId, Role};
use crate::leg::{End, EndReason, LegEvent, Offering};
use crate::xmpp::stanza::{Condition, Kind, MessageType, StanzaError, StanzaHead};
use crate::xmpp::text::Said;

/// What becomes of an invitation between two JIDs that are in a session already.
enum Clash {
    /// Ours gives way (XEP-0353 §6.1).
    OursGives(LegId),
    /// Theirs gives way.
    TheirsGives,
    /// The running call moves to it (XEP-0353 §6.2).
    Moves(LegId),
    /// Neither: the call is not answered yet.
    Busy,
}

impl Jingle {
    /// A message, not of type error, with a payload of [`super::NS_JMI`].
    pub fn handle_message(&mut self, now: Instant, head: &StanzaHead, payload: &Element) {
        match head.kind {
            Kind::Message(MessageType::Chat | MessageType::Normal) => {}
            Kind::Message(MessageType::Groupchat | MessageType::Headline | MessageType::Error)
            | Kind::Iq(_)
            | Kind::Presence(_) => return,
        }
        let Some((verb, sid)) = message::read(payload) else {
            return;
        };
        let key = Self::key(head, sid);
        let leg = self.leg(&key);
        if let Some(leg) = leg
            && self
                .sessions
                .get(&leg)
                .is_some_and(|s| s.device.as_ref().is_some_and(|d| *d == head.from))
        {
            self.timers.stop(&Timer::Away(leg));
        }
        match (verb, leg) {
            (Verb::Propose, None) => self.proposed(now, head, key, payload),
            (Verb::Proceed, leg) => self.proceeded(now, head, leg),
            (Verb::Ringing, Some(leg)) => self.rings(leg),
            (Verb::Reject | Verb::Retract | Verb::Finish, Some(leg)) => {
                self.called_off(leg, &head.from, verb, payload);
            }
            (Verb::Propose, Some(_))
            | (Verb::Ringing | Verb::Reject | Verb::Retract | Verb::Finish, None) => {}
        }
    }

    fn proposed(&mut self, now: Instant, head: &StanzaHead, key: Key, payload: &Element) {
        let Ok(device) = head.from.try_as_full() else {
            return;
        };
        if self.over.condition(&key).is_some() {
            return;
        }
        let mut session = Session {
            local: self.identity.full(&head.to),
            device: Some(device.clone()),
            side: Side::Responder,
            origin: Origin::Invitation,
            state: State::Invited { early: None },
            wire: Wire::default(),
            transferred: false,
            key,
        };
        let to = match self.called(&head.to) {
            Ok(to) => to,
            Err(error) => {
                let said = Some(Said::NoAddress(error));
                self.refuse(session, EndReason::NotFound, said);
                return;
            }
        };
        let kinds = content::read_kinds(payload);
        if !kinds.contains(&Media::Audio) || kinds.contains(&Media::Other) {
            self.turn_away(session, EndReason::NotAcceptable);
            return;
        }
        match self.clash(&session.key) {
            Some(Clash::OursGives(leg)) => self.give_way(leg),
            Some(Clash::TheirsGives) => {
                let payload = message::tie_break(Verb::Reject, &session.key.sid);
                send_message(&mut self.out, &session, &session.to(), payload);
                self.over.remember(session.key, "expired");
                return;
            }
            Some(Clash::Moves(leg)) => {
                session.state = State::Expecting { moved: true };
                self.move_to(now, leg, session);
                return;
            }
            Some(Clash::Busy) => {
                self.turn_away(session, EndReason::Busy);
                return;
            }
            None => {}
        }
        if !self.has_room(&session.key.peer) {
            self.turn_away(session, EndReason::Overloaded);
            return;
        }
        let leg = self.next_caller();
        let from = Address::Xmpp(session.key.peer.clone());
        self.insert(leg, session);
        self.await_ring(now, leg);
        self.tell(
            leg,
            LegEvent::Offered {
                from,
                to,
                display_name: None,
                conceals: false,
                offer: Offering::Later(kinds),
                trunk: None,
            },
        );
        self.dial_on(leg, &head.to);
    }

    /// Rejects an invitation that never becomes a leg.
    fn turn_away(&mut self, session: Session, why: EndReason) {
        self.refuse(session, why, Said::of_failure(&why.into()));
    }

    /// The same with words of its own for the user.
    fn refuse(&mut self, session: Session, why: EndReason, said: Option<Said>) {
        self.note_turned_away(&session, said);
        let condition = reason::for_reject(why);
        let payload = message::ending(Verb::Reject, &session.key.sid, condition, None);
        send_message(&mut self.out, &session, &session.to(), payload);
        self.over.remember(session.key, condition);
    }

    fn clash(&self, key: &Key) -> Option<Clash> {
        let mut clash = None;
        for (leg, session) in self.between(&key.peer, &key.local) {
            match &session.state {
                // RFC 4790 §9.3 i;octet is the order of the bytes.
                State::Inviting { .. } if session.key.sid < key.sid => {
                    return Some(Clash::TheirsGives);
                }
                State::Inviting { .. } => return Some(Clash::OursGives(leg)),
                State::Active { .. } | State::Expecting { .. } => clash = Some(Clash::Moves(leg)),
                State::Invited { .. } | State::Offered { .. } | State::Offering { .. } => {
                    clash = clash.or(Some(Clash::Busy));
                }
            }
        }
        clash
    }

    /// Takes our invitation back in favour of theirs.
    fn give_way(&mut self, leg: LegId) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let payload = message::tie_break(Verb::Retract, &session.key.sid);
        send_message(&mut self.out, session, &session.to(), payload);
        let end = End::because(EndReason::Busy, "the user calls this contact");
        self.forget(leg, "expired", end);
    }

    /// Goes on with `session` where the leg's own has been: the user has changed the device, or
    /// come back after losing power.
    fn move_to(&mut self, now: Instant, leg: LegId, session: Session) {
        let Some(old) = self.sessions.get(&leg) else {
            return;
        };
        let was_answered = match &old.state {
            State::Active { .. } => true,
            State::Expecting { moved } => *moved,
            State::Invited { .. }
            | State::Offered { .. }
            | State::Inviting { .. }
            | State::Offering { .. } => return,
        };
        debug!(%leg, "the call moves to another session");
        if matches!(old.state, State::Active { .. }) {
            self.terminate(leg, "expired", None);
        }
        if let Some(old) = self.sessions.remove(&leg) {
            if old.origin == Origin::Invitation {
                let payload = message::migrated(&old.key.sid, &session.key.sid);
                send_message(&mut self.out, &old, &old.to(), payload);
            }
            self.unlist(&old.key);
            self.over.remember(old.key, "expired");
        }
        self.timers.stop(&Timer::Away(leg));
        self.insert(leg, session);
        self.proceed(now, leg, was_answered);
    }

    fn rings(&mut self, leg: LegId) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        if let State::Inviting { rings, .. } | State::Offering { rings } = &mut session.state
            && !*rings
        {
            *rings = true;
            self.tell(leg, LegEvent::Ringing);
        }
    }

    /// A device takes our invitation. The first one gets it; the others, and those that come too
    /// late, are told by an error, which Conversations understands.
    fn proceeded(&mut self, now: Instant, head: &StanzaHead, leg: Option<LegId>) {
        let Ok(device) = head.from.try_as_full() else {
            return;
        };
        let session = leg.and_then(|leg| Some((leg, self.sessions.get_mut(&leg)?)));
        let Some((leg, session)) = session else {
            self.out.error(head, &too_late());
            return;
        };
        if session.origin == Origin::Direct || session.side == Side::Responder {
            return;
        }
        if let State::Inviting { offer, .. } = &session.state {
            session.device = Some(device.clone());
            let offer = offer.clone();
            self.initiate(now, leg, offer);
        } else if session.device.as_ref() != Some(device) {
            self.out.error(head, &too_late());
        }
    }

    /// A peer ends the call by message. Siskin and Beagle take their own invitation back with
    /// `reject`; Movim ends answered calls with `finish` to the bare JID.
    fn called_off(&mut self, leg: LegId, from: &Jid, verb: Verb, payload: &Element) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        if !session.hears(from) {
            return;
        }
        // Only who has invited can take it back.
        if verb == Verb::Retract && session.side == Side::Initiator {
            return;
        }
        let phase = session.state.phase(leg.role);
        let end = match (verb, leg.role) {
            // A retract that crossed our answer still is one.
            (Verb::Retract, Role::Caller) => End::from(EndReason::Cancelled),
            _ => reason::read_end(payload, phase),
        };
        let condition = reason::for_terminate(end.reason);
        match &session.state {
            State::Invited { early: None } | State::Inviting { .. } => {}
            State::Expecting { .. } => {
                if verb == Verb::Finish {
                    self.finish(leg, condition, None);
                }
            }
            State::Invited { early: Some(_) }
            | State::Offered { .. }
            | State::Offering { .. }
            | State::Active { .. } => {
                // With `finish` the client has ended Jingle too, or is about to.
                if verb != Verb::Finish {
                    self.terminate(leg, condition, None);
                }
                self.finish(leg, condition, None);
            }
        }
        self.forget(leg, condition, end);
    }

    /// A message of ours came back; `head.id` is the id that it was sent with.
    pub fn message_bounced(&mut self, _now: Instant, head: &StanzaHead, error: &StanzaError) {
        // A device's own error says nothing about the others.
        if head.from.is_full() {
            return;
        }
        let (peer, local) = (head.from.to_bare(), head.to.to_bare());
        let bounced = self
            .between(&peer, &local)
            .find(|(_, session)| match &session.state {
                State::Inviting { message_id, .. } => message_id == head.id(),
                State::Invited { .. }
                | State::Expecting { .. }
                | State::Offered { .. }
                | State::Offering { .. }
                | State::Active { .. } => false,
            });
        let Some((leg, _)) = bounced else {
            return;
        };
        let reason = match error.condition {
            Condition::ItemNotFound | Condition::Gone | Condition::RemoteServerNotFound => {
                EndReason::NotFound
            }
            _ => EndReason::Unavailable,
        };
        let text = format!("the invitation came back: {}", error.condition.as_str());
        self.forget(
            leg,
            reason::for_terminate(reason),
            End::because(reason, text),
        );
    }
}

fn too_late() -> StanzaError {
    StanzaError::because(
        Condition::ItemNotFound,
        "the call was taken by another device or is over",
    )
}
