//! CANCEL, both ways: RFC 3261 §9.

use std::time::Instant;

use crate::sip::reason;
use crate::sip::transaction::T1_64;
use crate::sip::transaction::table::ServerId;
use crate::sip::wire::Message;
use crate::sip::{Sip, TimerKey};

use super::call::Calling;
use super::timer::SessionTimer;
use super::{Session, State};

/// How far giving up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Nothing was heard, so nothing may be cancelled (§9.1).
    Waiting,
    /// The CANCEL is out.
    Sent,
}

impl Sip {
    /// Gives a call up that nobody has answered.
    pub(super) fn cancel(&mut self, now: Instant, session: &mut Session, calling: Box<Calling>) {
        let Some(invite) = self.clients.get(calling.invite) else {
            return;
        };
        if invite.machine.is_unanswered() {
            session.state = State::Cancelling(calling, Cancel::Waiting);
            return;
        }
        self.cancel_now(now, session, calling);
    }

    /// Sends the CANCEL.
    pub(super) fn cancel_now(
        &mut self,
        now: Instant,
        session: &mut Session,
        calling: Box<Calling>,
    ) {
        self.send_cancel(now, calling.invite);
        // §9.1: without an answer to the INVITE in 64·T1 it counts as cancelled.
        self.timers.set(
            TimerKey::Session(session.id, SessionTimer::CancelLimit),
            now + T1_64,
        );
        session.state = State::Cancelling(calling, Cancel::Sent);
    }

    /// The peer may have forgotten a re-INVITE of ours with the call: nobody waits longer than
    /// 64·T1 for its answer.
    pub(super) fn limit_invites(&mut self, now: Instant, session: &Session) {
        let waits = session.invites.iter().any(|invite| {
            self.clients
                .get(*invite)
                .is_some_and(|entry| entry.machine.is_pending())
        });
        if waits {
            let key = TimerKey::Session(session.id, SessionTimer::CancelLimit);
            self.timers.set(key, now + T1_64);
        }
    }

    /// Nobody answered the INVITE that we cancelled, or the re-INVITE of a call that is over.
    pub(super) fn cancel_limit(&mut self, session: &mut Session) {
        match &session.state {
            State::Cancelling(..) => session.state = State::Over,
            State::Leaving(_) | State::Over => {}
            State::Calling(_) | State::Offered(_) | State::Up(_) => return,
        }
        let pending = |sip: &Self, invite| {
            sip.clients
                .get(invite)
                .is_some_and(|entry| entry.machine.is_pending())
        };
        for invite in session.invites.clone() {
            if pending(self, invite) {
                self.forget_client(invite);
                session.invites.retain(|client| *client != invite);
            }
        }
    }

    /// Our tag in the call of an INVITE.
    pub(in crate::sip) fn tag_of(&mut self, invite: ServerId) -> Option<String> {
        let id = self.servers.get(invite).and_then(|entry| entry.session)?;
        self.on_session(id, |_, session| session.local_tag.clone())
    }

    /// A CANCEL came for one of our calls (§9.2); its own 200 has been sent.
    pub(in crate::sip) fn cancelled(&mut self, now: Instant, invite: ServerId, request: &Message) {
        let Some(id) = self.servers.get(invite).and_then(|entry| entry.session) else {
            return;
        };
        if !self.is_unanswered(invite) {
            return;
        }
        self.on_session(id, |sip, session| {
            let end = reason::end_of_request(request, false);
            match std::mem::replace(&mut session.state, State::Over) {
                State::Offered(offered) => {
                    let tag = session.local_tag.clone();
                    sip.respond(now, offered.server, 487, Some(&tag), |r| r);
                    sip.end_leg(session, end);
                }
                // A re-INVITE is not taken back: the call table may have acted on it already, and
                // its answer comes soon. §9.2 only recommends the 487.
                other @ (State::Calling(_)
                | State::Cancelling(..)
                | State::Up(_)
                | State::Leaving(_)
                | State::Over) => session.state = other,
            }
        });
    }
}
