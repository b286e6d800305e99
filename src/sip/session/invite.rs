//! We are called: the INVITE and what we answer to it (RFC 3261 §13.3).

use std::time::{Duration, Instant};

use tracing::debug;

use crate::address::Address;
use crate::description::Description;
use crate::id::{LegId, Role, Room};
use crate::leg::{End, EndReason, LegEvent, Offering};
use crate::net::Flow;
use crate::pii::Pii;
use crate::sip::dialog::Dialog;
use crate::sip::reason;
use crate::sip::transaction::table::ServerId;
use crate::sip::trunk::caller;
use crate::sip::uri::Uri;
use crate::sip::wire::{Message, Name};
use crate::sip::{ACCEPT, MAX_PENDING_PER_SOURCE, MAX_SESSIONS, RETRY_AFTER, Sip, TimerKey};

use super::ack::{Handshake, Held};
use super::prack::{Provisional, Provisionals};
use super::referring::Abilities;
use super::reinvite::Exchange;
use super::said::{Heard, Said, heard, offered};
use super::timer::{Refresh, SessionTimer};
use super::{KeyWay, Session, SessionId, State, Up};

/// RFC 3261 §13.3.1.1: a proxy forgets a call of which it hears nothing for three minutes.
const REMIND: Duration = Duration::from_secs(60);

/// A call to us that we have not answered.
#[derive(Debug)]
pub struct Offered {
    /// The INVITE.
    pub server: ServerId,
    /// Its CSeq number.
    pub cseq: u32,
    /// The dialog that our responses make.
    pub dialog: Dialog,
    /// What came with it.
    offer: Came,
    /// The provisional response that is repeated.
    last: Last,
    /// Our provisional responses.
    pub(super) provisionals: Provisionals,
    refresh: Refresh,
    timer: Option<String>,
    abilities: Abilities,
}

/// What came with an INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    /// An offer.
    Offer(KeyWay, Vec<u8>),
    /// Nothing: our 2xx makes the offer.
    Nothing,
}

/// The last provisional response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Trying,
    Ringing,
    Progress,
}

impl Sip {
    /// An INVITE outside of dialogs. Its 100 is out.
    pub(in crate::sip) fn invite_came(
        &mut self,
        now: Instant,
        server: ServerId,
        flow: Flow,
        trunk: Option<usize>,
        request: &Message,
    ) {
        let source = flow.remote.ip();
        let busy = |sip: &Self| {
            let full = trunk
                .and_then(|index| sip.trunks.get(index))
                .is_some_and(super::super::trunk::Trunk::is_full);
            let pending = sip.pending.get(&source).copied().unwrap_or(0);
            full || pending >= MAX_PENDING_PER_SOURCE || sip.sessions.len() >= MAX_SESSIONS
        };
        if busy(self) {
            self.stats.overloaded += 1;
            return self.respond(now, server, 503, None, |r| {
                r.with(Name::RetryAfter, RETRY_AFTER)
            });
        }
        if request.address(Name::Contact).is_none() {
            return self.respond(now, server, 400, None, |r| r.with_reason("Missing Contact"));
        }
        let (offering, came) = match heard(request) {
            Heard::Description(offer) => {
                let keys = self.key_way(trunk, &offer);
                (
                    Offering::Described(offer),
                    Came::Offer(keys, offered(request)),
                )
            }
            Heard::Nothing => (Offering::Delayed, Came::Nothing),
            Heard::Unreadable(status) => {
                return self.respond(now, server, status, None, |r| r.with(Name::Accept, ACCEPT));
            }
        };
        let replaced = match self.replaced(request) {
            Ok(replaced) => replaced,
            Err(status) => return self.respond(now, server, status, None, |r| r),
        };
        let to = request
            .request_uri()
            .and_then(|uri| Uri::parse(uri).ok())
            .and_then(|uri| self.called(trunk, &uri, request));
        // Whoever takes the place of another is not called for anybody.
        let to = to.or(replaced.map(|_| Address::Anonymous));
        let Some(to) = to else {
            return self.respond(now, server, 404, None, |r| r);
        };
        if replaced.is_some() && came == Came::Nothing {
            return self.respond(now, server, 488, None, |r| r);
        }
        let (refresh, timer) = match Refresh::of_request(request) {
            Ok(agreed) => agreed,
            Err(min_se) => {
                return self.respond(now, server, 422, None, |r| {
                    r.with(Name::MinSe, min_se.to_string())
                });
            }
        };
        let (refresh, timer) = match refresh.wanted(request, self.asked_timer(trunk)) {
            (refresh, None) => (refresh, timer),
            wanted => wanted,
        };
        let local_tag = self.tokens.token(12);
        let Some(dialog) = Dialog::uas(request, &local_tag, flow) else {
            return self.respond(now, server, 400, None, |r| r);
        };
        let (from, display_name) = caller(request, trunk.is_some());
        let leg = LegId {
            room: Room::Sip,
            role: Role::Caller,
            number: self.sessions.next_caller(),
        };
        debug!(%leg, from = ?Pii(&from), to = ?Pii(&to), "call came");
        let trunk_name = trunk.and_then(|index| {
            let trunk = self.trunks.get_mut(index)?;
            trunk.calls += 1;
            Some(trunk.name.clone())
        });
        *self.pending.entry(source).or_insert(0) += 1;
        let has_offer = came != Came::Nothing;
        let provisionals = Provisionals::of(request, has_offer, self.tokens.number());
        let offered = Offered {
            server,
            cseq: dialog.remote_cseq.unwrap_or(0),
            dialog,
            offer: came,
            last: Last::Trying,
            provisionals,
            refresh,
            timer,
            abilities: Abilities::of(request),
        };
        let session = self.sessions.insert(Box::new(Session {
            id: SessionId(0),
            leg: Some(leg),
            trunk,
            source: Some(source),
            call_id: offered.dialog.call_id.clone(),
            local_tag,
            invites: Vec::new(),
            acks: Vec::new(),
            said: Said::new(self.tokens.number()),
            state: State::Offered(Box::new(offered)),
        }));
        self.own_server(server, session);
        self.timers.set(
            TimerKey::Session(session, SessionTimer::Remind),
            now + REMIND,
        );
        let event = match (replaced, offering) {
            (Some(old), Offering::Described(offer)) => LegEvent::Replaces {
                old,
                offer,
                trunk: trunk_name,
            },
            (_, offer) => LegEvent::Offered {
                from,
                to,
                display_name,
                conceals: false,
                offer,
                trunk: trunk_name,
            },
        };
        self.events.push_back((leg, event));
    }

    /// Whom a call is for. One to our registered Contact only names the account; whom it was meant
    /// for is in P-Called-Party-ID (RFC 7315 §4.2), else in To.
    pub(in crate::sip) fn called(
        &self,
        trunk: Option<usize>,
        uri: &Uri,
        request: &Message,
    ) -> Option<Address> {
        let ours = trunk
            .and_then(|index| self.trunks.get(index))
            .is_some_and(|trunk| trunk.is_our_account(&uri.user()));
        let named = |name: Name| {
            let address = request.address(name)?.uri().ok()?;
            let meant = address.user() != uri.user();
            address.to_address().filter(|_| meant)
        };
        let account = uri.to_address();
        match (ours, &account) {
            (true, Some(Address::Number(_))) | (false, _) => account,
            (true, _) => named(Name::PCalledPartyId)
                .or_else(|| named(Name::To))
                .or(account),
        }
    }

    /// Says 180.
    pub(super) fn ring(&mut self, now: Instant, session: &mut Session) {
        let State::Offered(offered) = &mut session.state else {
            return;
        };
        if offered.last != Last::Trying {
            return;
        }
        offered.last = Last::Ringing;
        let ringing = Provisional {
            status: 180,
            body: None,
        };
        self.say_provisional(now, session, ringing);
    }

    /// Says 183, with our answer if there is one.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        session: &mut Session,
        description: Option<Description>,
    ) {
        let State::Offered(offered) = &mut session.state else {
            return;
        };
        offered.last = Last::Progress;
        // RFC 3261 §13.2.1: an offer of ours may only go in a reliable response, so an INVITE
        // without one hears nothing of it before the 2xx.
        let body = match (&offered.offer, description) {
            (Came::Offer(_, offer), Some(description)) => {
                Some(session.said.answer(&description, offer))
            }
            (Came::Offer(..), None) | (Came::Nothing, _) => None,
        };
        let progress = Provisional { status: 183, body };
        self.say_provisional(now, session, progress);
    }

    /// Repeats the provisional response, for proxies on the way.
    pub(super) fn remind(&mut self, now: Instant, session: &mut Session) {
        let State::Offered(offered) = &session.state else {
            return;
        };
        let (server, last) = (offered.server, offered.last);
        match last {
            Last::Trying => self.respond(now, server, 100, Some(&session.local_tag), |r| r),
            Last::Ringing => {
                let ringing = Provisional {
                    status: 180,
                    body: None,
                };
                self.say_provisional(now, session, ringing);
            }
            Last::Progress => {
                let body = Some(session.said.again()).filter(|body| !body.is_empty());
                self.say_provisional(now, session, Provisional { status: 183, body });
            }
        }
        self.timers.set(
            TimerKey::Session(session.id, SessionTimer::Remind),
            now + REMIND,
        );
    }

    /// Answers the call, or an offer within it.
    pub(super) fn answer(&mut self, now: Instant, session: &mut Session, answer: Description) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Offered(mut offered) => match offered.provisionals.hold_answer(answer) {
                Some(answer) => self.accept(now, session, *offered, &answer),
                None => session.state = State::Offered(offered),
            },
            State::Up(mut up) => {
                self.answer_offer(now, session, &mut up, answer);
                session.state = State::Up(up);
                self.next_offer(now, session);
            }
            other @ (State::Calling(_)
            | State::Cancelling(..)
            | State::Leaving(_)
            | State::Over) => session.state = other,
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        session: &mut Session,
        offered: Offered,
        answer: &Description,
    ) {
        let Offered {
            server,
            cseq,
            dialog,
            offer,
            last: _,
            provisionals,
            refresh,
            timer,
            abilities,
        } = offered;
        self.not_pending(session);
        self.timers
            .stop(&TimerKey::Session(session.id, SessionTimer::Remind));
        self.stop_provisionals(session);
        let (held, keys, body) = match offer {
            Came::Offer(keys, offer) => (Held::Answer, keys, session.said.answer(answer, &offer)),
            Came::Nothing => (Held::Offer, KeyWay::Rtp, session.said.offer(answer)),
        };
        self.respond(now, server, 200, Some(&session.local_tag), |r| {
            let r = refresh.write(r, timer.as_deref());
            r.with_body("application/sdp", body)
        });
        let handshake: Handshake = self.expect_ack(now, session.id, server, cseq, held);
        self.start_refresh(now, session.id, refresh);
        session.state = State::Up(Box::new(Up {
            dialog,
            handshake,
            exchange: Exchange::Idle,
            next: None,
            holds: false,
            overtaken: provisionals.overtaken(cseq),
            referred: None,
            abilities,
            referring: None,
            keys,
            refresh,
        }));
    }

    /// Refuses the call.
    pub(super) fn reject(&mut self, now: Instant, session: &Session, offered: &Offered, end: &End) {
        let status = reason::status_of(end);
        let why = reason::header(end);
        let phrase = reason::phrase(end, status);
        let overloaded = end.reason == EndReason::Overloaded;
        self.respond(now, offered.server, status, Some(&session.local_tag), |r| {
            let mut r = r.with_reason(&phrase).with(Name::Reason, why);
            if overloaded {
                r.push(Name::RetryAfter, RETRY_AFTER);
            }
            r
        });
    }
}
