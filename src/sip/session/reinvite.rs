//! Offers within a call: re-INVITE and UPDATE, both ways, with glare (RFC 3261 §14, RFC 3311).
//!
//! Our own offers go by re-INVITE, which every peer knows.

use std::time::{Duration, Instant};

use crate::description::{Description, Stream};
use crate::leg::{End, EndReason, LegEvent};
use crate::net::SipTransport;
use crate::sip::dialog::Dialog;
use crate::sip::reason;
use crate::sip::transaction::drive::{Outcome, SizeRule};
use crate::sip::transaction::table::{ClientId, ServerId, User};
use crate::sip::wire::{Message, Method, Name};
use crate::sip::{ACCEPT, SUPPORTED, Sip, TimerKey};

use super::ack::{Handshake, Held};
use super::said::{Heard, heard, held, offered, wanted};
use super::timer::{Refresh, SessionTimer};
use super::{Asked, KeyWay, MAX_CHALLENGES, Session, SessionId, State, Up};

/// Glares of one offer before it counts as refused.
const MAX_GLARES: u8 = 8;

/// An offer under way within a call.
#[derive(Debug)]
pub enum Exchange {
    /// None.
    Idle,
    /// Ours.
    Ours(Ours),
    /// Ours, to be repeated when its timer has run: there was glare.
    BackOff(Ours),
    /// The peer's; the call table is to answer it.
    Theirs(Theirs),
}

/// An offer of ours.
#[derive(Debug)]
pub struct Ours {
    offer: Description,
    /// What we had said before, which holds if this is refused.
    before: Option<Description>,
    client: Option<ClientId>,
    cause: Cause,
    glares: u8,
    challenges: u8,
}

/// Why we offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The call table wants to.
    Table,
    /// The session timer: the same offer as before, and nobody asks for its answer.
    Refresh,
}

/// An offer of the peer.
#[derive(Debug)]
pub struct Theirs {
    asked: Asked,
    by: By,
    keys: KeyWay,
    /// The offer as it came.
    body: Vec<u8>,
    refresh: Refresh,
    timer: Option<String>,
}

/// The request that the peer offers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Invite,
    Update,
}

impl Sip {
    /// Offers within the call.
    pub(super) fn update(&mut self, now: Instant, session: &mut Session, offer: Description) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        up.holds = offer.audio().is_some_and(|a| !a.direction.receives());
        up.next = Some(offer);
        self.next_offer(now, session);
    }

    /// Holds the call, or takes it up again: our last description with another direction.
    pub(super) fn hold(&mut self, now: Instant, session: &mut Session, hold: bool) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        let held = std::mem::replace(&mut up.holds, hold);
        let Some(last) = up.next.as_ref().or(session.said.description()) else {
            return;
        };
        let says_so = |s: &Stream| !s.rejected && !s.direction.receives();
        let is_over = !hold && !held && !last.streams.iter().any(says_so);
        let offer = wanted(last, hold);
        let pairs = offer.streams.iter().zip(&last.streams);
        let mut changes = pairs.map(|(new, old)| new.direction != old.direction);
        if is_over || !changes.any(|changes| changes) {
            return;
        }
        self.update(now, session, offer);
    }

    /// Sends the offer that waits, if nothing is under way.
    pub(super) fn next_offer(&mut self, now: Instant, session: &mut Session) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        if !matches!(up.exchange, Exchange::Idle) || up.handshake != Handshake::Done {
            return;
        }
        let Some(offer) = up.next.take() else {
            return;
        };
        self.start_offer(now, session, offer, Cause::Table);
    }

    pub(super) fn start_offer(
        &mut self,
        now: Instant,
        session: &mut Session,
        offer: Description,
        cause: Cause,
    ) {
        let ours = Ours {
            offer,
            before: session.said.description().cloned(),
            client: None,
            cause,
            glares: 0,
            challenges: 0,
        };
        self.send_offer(now, session, ours);
    }

    fn send_offer(&mut self, now: Instant, session: &mut Session, mut ours: Ours) {
        let State::Up(mut up) = std::mem::replace(&mut session.state, State::Over) else {
            return;
        };
        let mut request = up
            .dialog
            .request(Method::Invite)
            .with(Name::Contact, "")
            .with(Name::Allow, self.allow(session.trunk))
            .with(Name::Supported, SUPPORTED);
        request = up.refresh.ask(request);
        let request = request.with_body("application/sdp", session.said.offer(&ours.offer));
        let user = User::Reinvite(session.id);
        match self.send_within(now, session.trunk, request, &up.dialog, user) {
            Ok(client) => {
                session.invites.push(client);
                ours.client = Some(client);
                up.exchange = Exchange::Ours(ours);
                session.state = State::Up(up);
            }
            Err(_) if ours.cause == Cause::Refresh => {
                session.state = State::Up(up);
                self.refresh_again(now, session.id, None);
            }
            Err(_) => {
                let end = End::because(EndReason::NoRoute, "re-INVITE could not be sent");
                self.end_leg(session, end.clone());
                self.leave(now, session, *up, Some(&end));
            }
        }
    }

    /// The back-off of a glare is over.
    pub(super) fn back_off_over(&mut self, now: Instant, session: &mut Session) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        match std::mem::replace(&mut up.exchange, Exchange::Idle) {
            Exchange::BackOff(mut ours) => {
                // A newer offer replaces the one that was not heard.
                if let Some(newer) = up.next.take() {
                    ours.offer = newer;
                    ours.cause = Cause::Table;
                }
                self.send_offer(now, session, ours);
            }
            other => up.exchange = other,
        }
    }

    /// How our re-INVITE fared.
    pub(in crate::sip) fn reinvite_fared(
        &mut self,
        now: Instant,
        id: SessionId,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        self.on_session(id, |sip, session| {
            let status = match outcome {
                Outcome::Response(response) => {
                    sip.note_accepted(session.trunk, client, response);
                    response.status().unwrap_or(0)
                }
                Outcome::TimedOut => 408,
                Outcome::Unreachable => 503,
            };
            match (outcome, status) {
                (_, 0..200) => {}
                (Outcome::Response(response), 200..300) => {
                    sip.reinvite_accepted(now, session, client, response);
                }
                (Outcome::Response(response), _) => {
                    sip.reinvite_failed(now, session, client, Some(response), status);
                }
                (Outcome::TimedOut | Outcome::Unreachable, _) => {
                    sip.reinvite_failed(now, session, client, None, status);
                }
            }
        });
    }

    fn reinvite_accepted(
        &mut self,
        now: Instant,
        session: &mut Session,
        client: ClientId,
        response: &Message,
    ) {
        let tag = response.to_tag().unwrap_or("");
        if self.acknowledge_again(session, client, tag) {
            return;
        }
        match std::mem::replace(&mut session.state, State::Over) {
            State::Up(mut up) => {
                up.dialog.refresh_target(response);
                self.acknowledge(now, session, client, &up.dialog);
                let cause = match std::mem::replace(&mut up.exchange, Exchange::Idle) {
                    Exchange::Ours(ours) if ours.client == Some(client) => ours.cause,
                    other => {
                        up.exchange = other;
                        session.state = State::Up(up);
                        return;
                    }
                };
                let refresh = up.refresh.renewed(response, self.timer_in(client));
                up.refresh = refresh;
                self.start_refresh(now, session.id, refresh);
                match heard(response) {
                    Heard::Description(answer) => {
                        up.keys = self.key_way(session.trunk, &answer);
                        session.state = State::Up(up);
                        if cause == Cause::Table {
                            self.tell(session, LegEvent::UpdateAnswered(answer));
                        }
                        self.next_offer(now, session);
                    }
                    Heard::Nothing | Heard::Unreadable(_) => {
                        let end = End::because(EndReason::ProtocolError, "no answer in the 2xx");
                        self.end_leg(session, end.clone());
                        self.leave(now, session, *up, Some(&end));
                    }
                }
            }
            State::Leaving(leaving) => {
                // The answer crossed our BYE; it still wants its ACK.
                self.acknowledge(now, session, client, &leaving.dialog);
                session.state = State::Leaving(leaving);
            }
            other => {
                session.state = other;
                let dialog = self
                    .clients
                    .get(client)
                    .and_then(|entry| Dialog::uac(&entry.request, response, entry.flow));
                if let Some(dialog) = dialog {
                    self.acknowledge(now, session, client, &dialog);
                }
            }
        }
    }

    /// True if a request of the dialog would have gone by UDP, had it been smaller.
    fn went_by_tcp_for_its_size(&self, client: ClientId, dialog: &Dialog) -> bool {
        let hop = self.hop_of(dialog);
        let went_by = self.clients.get(client).map(|entry| entry.flow.transport);
        went_by == Some(SipTransport::Tcp)
            && hop.place.transport == SipTransport::Udp
            && hop.size == SizeRule::TcpIfLarge
    }

    fn reinvite_failed(
        &mut self,
        now: Instant,
        session: &mut Session,
        client: ClientId,
        response: Option<&Message>,
        status: u16,
    ) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        let mut ours = match std::mem::replace(&mut up.exchange, Exchange::Idle) {
            Exchange::Ours(ours) if ours.client == Some(client) => ours,
            other => {
                up.exchange = other;
                return;
            }
        };
        match (status, response) {
            (503, None) if self.went_by_tcp_for_its_size(client, &up.dialog) => {
                // RFC 3261 §18.1.1.
                up.dialog.tcp_failed = true;
                self.send_offer(now, session, ours);
            }
            (491, _) if ours.glares < MAX_GLARES => {
                ours.glares += 1;
                // RFC 3261 §14.1: the side that made the Call-ID waits longer.
                let calls = session
                    .leg
                    .is_some_and(|leg| leg.role == crate::id::Role::Callee);
                let wait = if calls {
                    2_100 + 10 * self.tokens.below(191)
                } else {
                    10 * self.tokens.below(201)
                };
                up.exchange = Exchange::BackOff(ours);
                self.timers.set(
                    TimerKey::Session(session.id, SessionTimer::BackOff),
                    now + Duration::from_millis(wait),
                );
            }
            (401 | 407, Some(response))
                if ours.challenges < MAX_CHALLENGES
                    && self.learn_challenge(session.trunk, client, response) =>
            {
                ours.challenges += 1;
                self.send_offer(now, session, ours);
            }
            // RFC 4028 §7.4.
            (422, Some(response))
                if ours.challenges < MAX_CHALLENGES && up.refresh.lengthen(response) =>
            {
                ours.challenges += 1;
                self.send_offer(now, session, ours);
            }
            // RFC 3261 §12.2.1.2: the peer does not know the dialog, or is not there at all.
            (408 | 481, _) => {
                let end = match response {
                    Some(response) => reason::end_of_response(response, true),
                    None => End::because(EndReason::PeerGone, "no answer to re-INVITE"),
                };
                if let State::Up(up) = std::mem::replace(&mut session.state, State::Over) {
                    self.end_leg(session, end.clone());
                    self.leave(now, session, *up, Some(&end));
                }
            }
            _ => {
                // A refusal, or a server that fails: the session stands as before.
                if let Some(before) = &ours.before {
                    session.said.restore(before);
                }
                let refresh = up.refresh;
                match ours.cause {
                    Cause::Table => self.tell(session, LegEvent::UpdateRefused),
                    Cause::Refresh => self.refresh_refused(now, session.id, refresh, response),
                }
                self.next_offer(now, session);
            }
        }
    }

    /// A re-INVITE came.
    pub(super) fn reinvite_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        asked: Asked,
        request: &Message,
    ) {
        let server = asked.server;
        let wish = self.asked_timer(session.trunk);
        let (said, tag) = (
            session.said.description().cloned(),
            session.local_tag.clone(),
        );
        let State::Up(up) = &mut session.state else {
            // RFC 3261 §14.2: another INVITE of the dialog is not yet answered.
            return self.respond_later(now, server, 500);
        };
        if let Some(status) = collision(up) {
            return self.respond_later(now, server, status);
        }
        shelve(up);
        let (refresh, timer) = match up.refresh.of_reinvite(request, wish) {
            Ok(agreed) => agreed,
            Err(min) => {
                return self.respond(now, server, 422, None, |r| {
                    r.with(Name::MinSe, min.to_string())
                });
            }
        };
        let offer = match heard(request) {
            Heard::Description(offer) => Some(offer),
            Heard::Nothing => None,
            Heard::Unreadable(status) => {
                return self.respond(now, server, status, None, |r| r.with(Name::Accept, ACCEPT));
            }
        };
        up.dialog.refresh_target(request);
        match (offer, said) {
            (Some(offer), _) => {
                up.exchange = Exchange::Theirs(Theirs {
                    asked,
                    by: By::Invite,
                    keys: self.key_way(session.trunk, &offer),
                    body: offered(request),
                    refresh,
                    timer,
                });
                self.respond(now, server, 100, None, |r| r);
                self.tell(session, LegEvent::Updated(offer));
            }
            (None, Some(said)) => {
                let body = session.said.offer(&wanted(&said, up.holds));
                self.respond(now, server, 200, Some(&tag), |r| {
                    refresh
                        .write(r, timer.as_deref())
                        .with_body("application/sdp", body)
                });
                let handshake = self.expect_ack(now, session.id, server, asked.cseq, Held::Offer);
                if let State::Up(up) = &mut session.state {
                    up.handshake = handshake;
                    up.refresh = refresh;
                }
                self.start_refresh(now, session.id, refresh);
            }
            (None, None) => self.respond(now, server, 488, None, |r| r),
        }
    }

    /// An UPDATE came.
    pub(super) fn update_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        asked: Asked,
        request: &Message,
    ) {
        let server = asked.server;
        let offer = match heard(request) {
            Heard::Description(offer) => Some(offer),
            Heard::Nothing => None,
            Heard::Unreadable(status) => {
                return self.respond(now, server, status, None, |r| r.with(Name::Accept, ACCEPT));
            }
        };
        let before = match &session.state {
            State::Up(up) => up.refresh,
            State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Leaving(_)
            | State::Over => Refresh::Off,
        };
        let wish = self.asked_timer(session.trunk);
        let (refresh, timer) = match before.of_reinvite(request, wish) {
            Ok(agreed) => agreed,
            Err(min) => {
                return self.respond(now, server, 422, None, |r| {
                    r.with(Name::MinSe, min.to_string())
                });
            }
        };
        let tag = request.from_tag().unwrap_or("");
        let up = match &mut session.state {
            State::Up(up) => up,
            State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Leaving(_)
            | State::Over => {
                return match (&session.state, offer) {
                    (_, None) => {
                        if let Some(dialog) = session.dialog(tag) {
                            dialog.refresh_target(request);
                        }
                        let contact = self.contact(asked.flow);
                        self.respond(now, server, 200, None, |r| r.with(Name::Contact, contact));
                    }
                    (State::Calling(_), Some(offer)) => {
                        self.early_update(now, session, server, request, &offer);
                    }
                    // RFC 3311 §5.2: our offer is out, or theirs has no answer yet.
                    (State::Cancelling(..), Some(_)) => {
                        self.respond(now, server, 491, None, |r| r);
                    }
                    (_, Some(_)) => self.respond_later(now, server, 500),
                };
            }
        };
        let contact = self.contact(asked.flow);
        let Some(offer) = offer else {
            up.dialog.refresh_target(request);
            up.refresh = refresh;
            self.respond(now, server, 200, None, |r| {
                refresh
                    .write(r, timer.as_deref())
                    .with(Name::Contact, contact)
            });
            return self.start_refresh(now, session.id, refresh);
        };
        if let Some(status) = collision(up) {
            return self.respond_later(now, server, status);
        }
        shelve(up);
        up.dialog.refresh_target(request);
        up.exchange = Exchange::Theirs(Theirs {
            asked,
            by: By::Update,
            keys: self.key_way(session.trunk, &offer),
            body: offered(request),
            refresh,
            timer,
        });
        self.tell(session, LegEvent::Updated(offer));
    }

    /// An UPDATE with an offer came in an early dialog of ours: it can be answered once the peer
    /// has answered our own offer there.
    fn early_update(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        request: &Message,
        offer: &Description,
    ) {
        let State::Calling(calling) = &mut session.state else {
            return;
        };
        let early = calling.early_mut(request.from_tag().unwrap_or(""));
        let Some(early) = early.filter(|early| early.description.is_some()) else {
            return self.respond(now, server, 491, None, |r| r);
        };
        let before = early.description.replace(offer.clone());
        early.dialog.refresh_target(request);
        if let Some(status) = self.answer_early(now, session, server, offer, request) {
            self.respond(now, server, status, None, |r| r);
            if let State::Calling(calling) = &mut session.state
                && let Some(early) = calling.early_mut(request.from_tag().unwrap_or(""))
            {
                early.description = before;
            }
        }
    }

    /// The call table answers an offer of the peer.
    pub(super) fn answer_offer(
        &mut self,
        now: Instant,
        session: &mut Session,
        up: &mut Up,
        answer: Description,
    ) {
        let answer = match up.holds {
            true => held(answer),
            false => answer,
        };
        let theirs = match std::mem::replace(&mut up.exchange, Exchange::Idle) {
            Exchange::Theirs(theirs) => theirs,
            other => {
                up.exchange = other;
                return;
            }
        };
        let Theirs {
            asked,
            by,
            keys,
            body,
            refresh,
            timer,
        } = theirs;
        let body = session.said.answer(&answer, &body);
        let contact = match by {
            By::Invite => None,
            By::Update => Some(self.contact(asked.flow)),
        };
        self.respond(now, asked.server, 200, Some(&session.local_tag), |r| {
            let mut r = refresh.write(r, timer.as_deref());
            if let Some(contact) = contact {
                r.push(Name::Contact, contact);
            }
            r.with_body("application/sdp", body)
        });
        up.keys = keys;
        up.refresh = refresh;
        self.start_refresh(now, session.id, refresh);
        if by == By::Invite {
            up.handshake = self.expect_ack(now, session.id, asked.server, asked.cseq, Held::Answer);
        }
    }

    /// The call table refuses an offer of the peer.
    pub(super) fn refuse_offer(&mut self, now: Instant, session: &mut Session) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        match std::mem::replace(&mut up.exchange, Exchange::Idle) {
            Exchange::Theirs(theirs) => {
                self.respond(now, theirs.asked.server, 488, None, |r| r);
                self.next_offer(now, session);
            }
            other => up.exchange = other,
        }
    }

    /// The call ends in the middle of an exchange.
    pub(super) fn exchange_over(&mut self, now: Instant, session: &Session, exchange: Exchange) {
        match exchange {
            Exchange::Theirs(theirs) => {
                let tag = session.local_tag.clone();
                self.respond(now, theirs.asked.server, 487, Some(&tag), |r| r);
            }
            Exchange::BackOff(_) => {
                let key = TimerKey::Session(session.id, SessionTimer::BackOff);
                self.timers.stop(&key);
            }
            Exchange::Idle | Exchange::Ours(_) => {}
        }
    }
}

/// The peer was faster after a glare: our offer follows once its own is answered.
fn shelve(up: &mut Up) {
    match std::mem::replace(&mut up.exchange, Exchange::Idle) {
        Exchange::BackOff(ours) => match ours.cause {
            Cause::Table => {
                up.next.get_or_insert(ours.offer);
            }
            // The peer's offer refreshes the session as well.
            Cause::Refresh => {}
        },
        other => up.exchange = other,
    }
}

/// The status for an offer that comes while another one is under way (RFC 3261 §14.2, RFC 3311
/// §5.2).
fn collision(up: &Up) -> Option<u16> {
    match (&up.exchange, &up.handshake) {
        (Exchange::Ours(_), _) => Some(491),
        (Exchange::Theirs(_), _) | (_, Handshake::WaitAck(_)) => Some(500),
        (Exchange::Idle | Exchange::BackOff(_), Handshake::Done) => None,
    }
}
