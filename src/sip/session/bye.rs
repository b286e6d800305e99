//! BYE, both ways: RFC 3261 §15.

use std::time::Instant;

use crate::leg::End;
use crate::sip::dialog::Dialog;
use crate::sip::reason;
use crate::sip::transaction::drive::Outcome;
use crate::sip::transaction::table::{ClientId, ServerId, User};
use crate::sip::wire::{Message, Method, Name};
use crate::sip::{Sip, TimerKey};

use super::ack::Handshake;
use super::prack::Overtaken;
use super::timer::SessionTimer;
use super::{MAX_CHALLENGES, Session, State, Up};

/// A call whose leg has ended and whose BYE is not yet through.
#[derive(Debug)]
pub struct Leaving {
    /// Its dialog.
    pub dialog: Dialog,
    /// §15: a callee may not say BYE before its 2xx was acknowledged or has timed out.
    pub handshake: Handshake,
    /// A provisional response that our 2xx has overtaken.
    pub overtaken: Option<Overtaken>,
    /// Why, as a Reason value.
    why: Option<String>,
    challenges: u8,
}

impl Sip {
    /// Hangs up.
    pub(super) fn leave(&mut self, now: Instant, session: &mut Session, up: Up, end: Option<&End>) {
        let Up {
            dialog,
            handshake,
            exchange,
            next: _,
            holds: _,
            overtaken,
            keys: _,
            refresh: _,
            referred: _,
            abilities: _,
            referring: _,
        } = up;
        self.exchange_over(now, session, exchange);
        self.limit_invites(now, session);
        for timer in [
            SessionTimer::BackOff,
            SessionTimer::Refresh,
            SessionTimer::Expire,
        ] {
            self.timers.stop(&TimerKey::Session(session.id, timer));
        }
        let leaving = Box::new(Leaving {
            dialog,
            handshake,
            overtaken,
            why: end.map(reason::header),
            challenges: 0,
        });
        match leaving.handshake {
            Handshake::Done => self.say_bye(now, session, leaving),
            Handshake::WaitAck(_) => session.state = State::Leaving(leaving),
        }
    }

    /// Sends the BYE.
    pub(super) fn say_bye(
        &mut self,
        now: Instant,
        session: &mut Session,
        mut leaving: Box<Leaving>,
    ) {
        let mut bye = leaving.dialog.request(Method::Bye);
        if let Some(value) = &leaving.why {
            bye.push(Name::Reason, value);
        }
        let user = User::Bye(session.id);
        let sent = self.send_within(now, session.trunk, bye, &leaving.dialog, user);
        session.state = match sent {
            Ok(_) => State::Leaving(leaving),
            Err(_) => State::Over,
        };
    }

    /// Acknowledges nothing, but says BYE in a dialog that nobody wants: a fork that lost.
    pub(super) fn dismiss(&mut self, now: Instant, session: &Session, mut dialog: Dialog) {
        let bye = dialog.request(Method::Bye);
        let user = User::Aside(session.id, 0);
        // A fork that cannot be reached cannot be told.
        let _ = self.send_within(now, session.trunk, bye, &dialog, user);
    }

    /// How our BYE fared.
    pub(in crate::sip) fn bye_fared(
        &mut self,
        now: Instant,
        id: super::SessionId,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        self.on_session(id, |sip, session| {
            let State::Leaving(mut leaving) = std::mem::replace(&mut session.state, State::Over)
            else {
                return;
            };
            match outcome {
                Outcome::Response(response) if response.status() < Some(200) => {
                    session.state = State::Leaving(leaving);
                }
                Outcome::Response(response)
                    if leaving.challenges < MAX_CHALLENGES
                        && sip.learn_challenge(session.trunk, client, response) =>
                {
                    leaving.challenges += 1;
                    sip.say_bye(now, session, leaving);
                }
                // 200, 481, 408: whatever the peer says, the call is over.
                Outcome::Response(_) | Outcome::TimedOut | Outcome::Unreachable => {}
            }
        });
    }

    /// A BYE came within the dialog of a call.
    pub(super) fn bye_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        request: &Message,
    ) {
        self.respond(now, server, 200, None, |r| r);
        let answered = matches!(session.state, State::Up(_));
        let end = reason::end_of_request(request, answered);
        match std::mem::replace(&mut session.state, State::Over) {
            State::Up(up) => {
                self.exchange_over(now, session, up.exchange);
                self.handshake_over(session.id, up.handshake);
                self.limit_invites(now, session);
                self.end_leg(session, end);
            }
            State::Offered(offered) => {
                // §15.1.2: what is pending is answered 487.
                let tag = session.local_tag.clone();
                self.respond(now, offered.server, 487, Some(&tag), |r| r);
                self.end_leg(session, end);
            }
            State::Leaving(leaving) => {
                // BYEs crossed. Ours runs by itself; nobody waits for its answer.
                self.handshake_over(session.id, leaving.handshake);
            }
            // An early dialog of ours: the INVITE's own answer follows.
            other @ (State::Calling(_) | State::Cancelling(..) | State::Over) => {
                session.state = other;
            }
        }
    }
}
