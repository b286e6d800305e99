//! We call: the INVITE and what is answered to it (RFC 3261 §13.2).

use std::collections::VecDeque;
use std::time::Instant;

use tracing::debug;

use crate::address::Address;
use crate::description::Description;
use crate::id::LegId;
use crate::leg::{End, EndReason, LegEvent};
use crate::net::SipTransport;
use crate::sip::dialog::Dialog;
use crate::sip::reason;
use crate::sip::transaction::drive::{Hop, Outcome, SizeRule};
use crate::sip::transaction::table::{ClientId, User};
use crate::sip::trunk::retry_after;
use crate::sip::wire::{CSeq, Message, Method, Name};
use crate::sip::{MAX_SESSIONS, SUPPORTED, Sip};

use super::ack::{Handshake, MAX_FORKS};
use super::cancel::Cancel;
use super::prack::Early;
use super::redirect::Targets;
use super::referring::Abilities;
use super::reinvite::Exchange;
use super::said::{Heard, Said, heard};
use super::timer::{MIN_SE, Refresh, longer_timer};
use super::{KeyWay, Session, SessionId, State, Up};

/// Challenges of one call that are answered: a proxy's, a server's, and one stale nonce of each.
const MAX_CHALLENGES: u8 = 4;

/// What [`crate::leg::LegCommand::Offer`] says.
#[derive(Debug)]
pub struct Order {
    /// Who calls.
    pub from: Address,
    /// Who is called.
    pub to: Address,
    /// The caller's name.
    pub display_name: Option<String>,
    /// What is offered.
    pub offer: Description,
    /// The trunk.
    pub trunk: Option<String>,
    /// What the call takes the place of: a Replaces value.
    pub replaces: Option<String>,
}

/// A call of ours that nobody has answered.
#[derive(Debug)]
pub struct Calling {
    /// The INVITE as it is sent to each server, with everything but Via and credentials.
    pub(super) request: Message,
    /// The transaction of the latest INVITE.
    pub invite: ClientId,
    /// The server that it went to.
    hop: Hop,
    /// Servers not yet tried.
    pub(super) hops: VecDeque<Hop>,
    /// Where redirections send it.
    pub(super) targets: Targets,
    /// Early dialogs.
    pub(super) early: Vec<Early>,
    challenges: u8,
    /// The latest server could not be reached by TCP, where only the size asked for that.
    tcp_failed: bool,
    /// The session timer that is asked for, in seconds.
    pub(super) session_timer: Option<u32>,
}

impl Sip {
    /// Calls somebody.
    pub(super) fn call(&mut self, now: Instant, leg: LegId, order: Order) {
        if self.sessions.by_leg(leg).is_some() {
            return;
        }
        match self.prepare(leg, &order) {
            Ok((session, calling)) => {
                let id = self.sessions.insert(session);
                self.on_session(id, |sip, session| {
                    let no_route = End::because(EndReason::NoRoute, "no server can be reached");
                    sip.try_next(now, session, calling, no_route);
                });
            }
            Err(end) => self.events.push_back((leg, LegEvent::Ended(end))),
        }
    }

    fn prepare(&mut self, leg: LegId, order: &Order) -> Result<(Box<Session>, Box<Calling>), End> {
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(End::because(EndReason::Overloaded, "too many calls"));
        }
        let (trunk, hops) = self.route_call(order)?;
        let Some(hop) = hops.front().cloned() else {
            return Err(End::because(EndReason::NoRoute, "no address of the trunk"));
        };
        let (request, call_id, local_tag, said) = self.write_invite(trunk, order)?;
        if let Some(trunk) = trunk.and_then(|index| self.trunks.get_mut(index)) {
            trunk.calls += 1;
        }
        let session = Box::new(Session {
            id: SessionId(0),
            leg: Some(leg),
            trunk,
            source: None,
            call_id,
            local_tag,
            invites: Vec::new(),
            acks: Vec::new(),
            said,
            state: State::Over,
        });
        let calling = Box::new(Calling {
            request,
            invite: ClientId(0),
            hop,
            hops,
            targets: Targets::default(),
            early: Vec::new(),
            challenges: 0,
            tcp_failed: false,
            session_timer: self.asked_timer(trunk),
        });
        Ok((session, calling))
    }

    fn write_invite(
        &mut self,
        trunk: Option<usize>,
        order: &Order,
    ) -> Result<(Message, String, String, Said), End> {
        let display_name = order.display_name.as_deref();
        let parties = self.parties(trunk, &order.from, &order.to, display_name)?;
        let call_id = self.tokens.token(22);
        let local_tag = self.tokens.token(12);
        let mut said = Said::new(self.tokens.number());
        let body = said.offer(&order.offer);
        let cseq = CSeq {
            number: 1,
            method: Method::Invite,
        };
        let mut request = Message::request(Method::Invite, parties.request_uri)
            .with(Name::Via, "")
            .with(Name::MaxForwards, "70")
            .with(Name::From, format!("{};tag={local_tag}", parties.from))
            .with(Name::To, parties.to)
            .with(Name::CallId, &call_id)
            .with(Name::CSeq, cseq.to_string())
            .with(Name::Contact, "");
        self.add_caller(&mut request, trunk, parties.identity, parties.privacy);
        if let Some(replaces) = &order.replaces {
            request.push(Name::Replaces, replaces);
            request.push(Name::Require, "replaces");
        }
        let request = request
            .with(Name::Allow, self.allow(trunk))
            .with(Name::Supported, SUPPORTED)
            .with_body("application/sdp", body);
        Ok((request, call_id, local_tag, said))
    }

    /// Sends the INVITE to the next server; without one, the call ends with `end`.
    fn try_next(
        &mut self,
        now: Instant,
        session: &mut Session,
        mut calling: Box<Calling>,
        end: End,
    ) {
        loop {
            let Some(hop) = calling.hops.pop_front() else {
                let Some(target) = calling.targets.take() else {
                    break;
                };
                calling.hops = target.address(&mut calling.request);
                continue;
            };
            calling.hop = hop;
            calling.early.clear();
            match self.send_invite(now, session, calling) {
                Ok(()) => return,
                Err(back) => calling = back,
            }
        }
        session.state = State::Over;
        self.end_leg(session, end);
    }

    /// Sends the INVITE, with the next CSeq and the credentials that are known.
    fn send_invite(
        &mut self,
        now: Instant,
        session: &mut Session,
        mut calling: Box<Calling>,
    ) -> Result<(), Box<Calling>> {
        let mut request = calling.request.clone();
        if let Some(seconds) = calling.session_timer {
            request.push(Name::SessionExpires, seconds.to_string());
            request.push(Name::MinSe, MIN_SE.to_string());
        }
        let number = calling.request.cseq().map_or(1, |cseq| cseq.number);
        let next = format!("{} INVITE", number + 1);
        calling.request.headers.set(Name::CSeq, &next);
        let user = User::Invite(session.id);
        match self.send_authorized(now, session.trunk, request, &calling.hop, user) {
            Ok(invite) => {
                session.invites.push(invite);
                calling.invite = invite;
                session.state = State::Calling(calling);
                Ok(())
            }
            Err(_) => Err(calling),
        }
    }

    /// How the INVITE of a call fared.
    pub(in crate::sip) fn invite_fared(
        &mut self,
        now: Instant,
        id: SessionId,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        self.on_session(id, |sip, session| {
            if let Outcome::Response(response) = outcome {
                sip.note_accepted(session.trunk, client, response);
            }
            match outcome {
                Outcome::Response(response) => match response.status().unwrap_or(0) {
                    0..200 => sip.provisional(now, session, client, response),
                    200..300 => sip.accepted(now, session, client, response),
                    status @ 300.. => sip.failed(now, session, client, response, status),
                },
                Outcome::TimedOut => sip.lost(now, session, client, "no answer in 32 s"),
                Outcome::Unreachable => sip.lost(now, session, client, "could not be sent"),
            }
        });
    }

    fn provisional(
        &mut self,
        now: Instant,
        session: &mut Session,
        client: ClientId,
        response: &Message,
    ) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Cancelling(calling, Cancel::Waiting) if calling.invite == client => {
                self.cancel_now(now, session, calling);
            }
            State::Calling(mut calling) if calling.invite == client => {
                let events = self.early(now, session, &mut calling, client, response);
                session.state = State::Calling(calling);
                for event in events {
                    self.tell(session, event);
                }
            }
            other => session.state = other,
        }
    }

    /// What a provisional response says.
    fn early(
        &mut self,
        now: Instant,
        session: &Session,
        calling: &mut Calling,
        client: ClientId,
        response: &Message,
    ) -> Vec<LegEvent> {
        let status = response.status().unwrap_or(100);
        if status == 100 {
            return Vec::new();
        }
        let mut events = Vec::new();
        if status == 180 {
            events.push(LegEvent::Ringing);
        }
        let dialog = self.clients.get(client).and_then(|entry| {
            response.to_tag()?;
            Dialog::uac(&entry.request, response, entry.flow)
        });
        let description = match heard(response) {
            Heard::Description(description) => Some(description),
            Heard::Nothing | Heard::Unreadable(_) => None,
        };
        let mut repeated = false;
        if let Some(dialog) = dialog {
            let tag = dialog.remote_tag.clone();
            if calling.early_mut(&tag).is_none() {
                if calling.early.len() >= MAX_FORKS {
                    return Vec::new();
                }
                calling.early.push(Early::new(dialog));
            }
            let Some(early) = calling.early_mut(&tag) else {
                return Vec::new();
            };
            // One without a Contact says nothing of where the callee is.
            early.dialog.refresh_target(response);
            if !self.acknowledge_provisional(
                now,
                session.trunk,
                early,
                client,
                response,
                session.id,
            ) {
                return Vec::new();
            }
            repeated = early.description == description;
            if description.is_some() {
                early.description.clone_from(&description);
            }
        }
        match description {
            Some(_) if repeated => {}
            Some(description) => events.push(LegEvent::Progress(Some(description))),
            None if status == 183 => events.push(LegEvent::Progress(None)),
            None => {}
        }
        events
    }

    fn accepted(
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
        if session.acks.iter().filter(|a| a.client == client).count() >= MAX_FORKS {
            return;
        }
        let dialog = self
            .clients
            .get(client)
            .and_then(|entry| Dialog::uac(&entry.request, response, entry.flow));
        let Some(mut dialog) = dialog else {
            return;
        };
        if let State::Calling(calling) | State::Cancelling(calling, _) = &mut session.state {
            dialog.tcp_failed = calling.tcp_failed;
            if let Some(early) = calling.early_mut(tag) {
                dialog.continue_from(&early.dialog);
                if response.address(Name::Contact).is_none() {
                    dialog.target.clone_from(&early.dialog.target);
                }
            }
        }
        self.acknowledge(now, session, client, &dialog);
        match std::mem::replace(&mut session.state, State::Over) {
            State::Calling(calling) if calling.invite == client => {
                self.connect(now, session, *calling, dialog, response);
            }
            State::Cancelling(calling, _) if calling.invite == client => {
                // The CANCEL came too late, and the answer is not wanted any more.
                self.stop_cancel_limit(session.id);
                let end = End::from(EndReason::Cancelled);
                let up = self.up(session, dialog, KeyWay::Rtp, response, None);
                self.leave(now, session, up, Some(&end));
            }
            other => {
                // A fork that answered after another one had won.
                session.state = other;
                self.dismiss(now, session, dialog);
            }
        }
    }

    fn up(
        &mut self,
        session: &Session,
        dialog: Dialog,
        keys: KeyWay,
        response: &Message,
        asked: Option<u32>,
    ) -> Up {
        Up {
            dialog,
            handshake: Handshake::Done,
            exchange: Exchange::Idle,
            next: None,
            holds: false,
            overtaken: None,
            referred: None,
            abilities: Abilities::of(response),
            referring: None,
            keys,
            refresh: match session.leg {
                Some(_) => Refresh::of_answer(response, asked),
                None => Refresh::Off,
            },
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        session: &mut Session,
        calling: Calling,
        dialog: Dialog,
        response: &Message,
    ) {
        let asked = calling.session_timer;
        let answer = match heard(response) {
            Heard::Description(description) => Some(description),
            Heard::Unreadable(_) => None,
            Heard::Nothing => calling
                .early
                .into_iter()
                .find(|early| early.dialog.remote_tag == dialog.remote_tag)
                .and_then(|early| early.description),
        };
        let Some(answer) = answer else {
            let up = self.up(session, dialog, KeyWay::Rtp, response, asked);
            let end = End::because(EndReason::NotAcceptable, "no usable answer in the 2xx");
            self.end_leg(session, end.clone());
            return self.leave(now, session, up, Some(&end));
        };
        let up = self.up(
            session,
            dialog,
            self.key_way(session.trunk, &answer),
            response,
            asked,
        );
        self.start_refresh(now, session.id, up.refresh);
        session.state = State::Up(Box::new(up));
        self.tell(session, LegEvent::Answered(answer));
    }

    fn failed(
        &mut self,
        now: Instant,
        session: &mut Session,
        client: ClientId,
        response: &Message,
        status: u16,
    ) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Cancelling(calling, _) if calling.invite == client => {
                self.stop_cancel_limit(session.id);
            }
            State::Calling(mut calling) if calling.invite == client => {
                let end = reason::end_of_response(response, !calling.early.is_empty());
                if calling.challenges < MAX_CHALLENGES
                    && matches!(status, 401 | 407)
                    && self.learn_challenge(session.trunk, client, response)
                {
                    calling.challenges += 1;
                    let hop = calling.hop.clone();
                    calling.hops.push_front(hop);
                    return self.try_next(now, session, calling, end);
                }
                if status == 422
                    && let Some(longer) = longer_timer(calling.session_timer, response)
                {
                    calling.session_timer = Some(longer);
                    let hop = calling.hop.clone();
                    calling.hops.push_front(hop);
                    return self.try_next(now, session, calling, end);
                }
                if status == 503 {
                    // RFC 3263 §4.3: another server may do better.
                    let wait = retry_after(response);
                    self.server_failed(now, session.trunk, calling.hop.place, wait);
                    return self.try_next(now, session, calling, end);
                }
                if matches!(status, 300..=302 | 305) {
                    let targets = &mut calling.targets;
                    self.note_redirection(session.trunk, client, targets, response, status);
                }
                if status < 600 && !calling.targets.is_empty() {
                    calling.hops.clear();
                    return self.try_next(now, session, calling, end);
                }
                self.end_leg(session, end);
            }
            other => session.state = other,
        }
    }

    fn lost(&mut self, now: Instant, session: &mut Session, client: ClientId, text: &str) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Cancelling(calling, _) if calling.invite == client => {
                self.stop_cancel_limit(session.id);
            }
            State::Calling(mut calling) if calling.invite == client => {
                debug!(text, "INVITE lost");
                let went_by = self.clients.get(client).map(|entry| entry.flow.transport);
                if calling.hop.size == SizeRule::TcpIfLarge
                    && calling.hop.place.transport == SipTransport::Udp
                    && went_by == Some(SipTransport::Tcp)
                {
                    // RFC 3261 §18.1.1: TCP was only for the size, and UDP may still work.
                    let mut hop = calling.hop.clone();
                    hop.size = SizeRule::Keep;
                    calling.hops.push_front(hop);
                    calling.tcp_failed = true;
                } else {
                    self.server_failed(now, session.trunk, calling.hop.place, None);
                }
                let end = End::because(EndReason::NoRoute, text);
                self.try_next(now, session, calling, end);
            }
            other => session.state = other,
        }
    }
}
