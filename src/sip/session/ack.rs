//! The three-way handshake: our 2xx until its ACK comes (RFC 3261 §13.3.1.4), and our ACKs for
//! the 2xx of others (§13.2.2.4).

use std::time::{Duration, Instant};

use crate::leg::{End, EndReason, LegEvent};
use crate::net::Flow;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::table::{ClientId, ServerId};
use crate::sip::transaction::{T1, T1_64, T2};
use crate::sip::wire::Message;
use crate::sip::{Sip, TimerKey};

use super::said::{Heard, heard};
use super::timer::SessionTimer;
use super::{Session, SessionId, State};

/// Dialogs that one INVITE of ours may make: more answers than that are no forking but a flood.
pub const MAX_FORKS: usize = 8;

/// An ACK that we sent.
#[derive(Debug)]
pub struct SentAck {
    /// The INVITE.
    pub client: ClientId,
    /// The tag of the peer.
    pub tag: String,
    /// Where it went.
    pub flow: Flow,
    /// What it was.
    pub bytes: Vec<u8>,
}

/// Whether the peer has acknowledged our latest 2xx to an INVITE.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It has, or there is none.
    Done,
    /// Not yet.
    WaitAck(WaitAck),
}

/// A 2xx of ours that is repeated until its ACK comes.
#[derive(Debug, PartialEq, Eq)]
pub struct WaitAck {
    /// The INVITE.
    pub server: ServerId,
    /// Its CSeq number, which the ACK has too.
    pub cseq: u32,
    /// Until the next repetition.
    pub interval: Duration,
    /// What the 2xx held.
    pub held: Held,
}

/// What a 2xx held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Our answer.
    Answer,
    /// Our offer: the ACK brings the answer.
    Offer,
}

impl Sip {
    /// Begins to repeat a 2xx that was just sent.
    pub(super) fn expect_ack(
        &mut self,
        now: Instant,
        session: SessionId,
        server: ServerId,
        cseq: u32,
        held: Held,
    ) -> Handshake {
        // RFC 3261 §13.3.1.4: also on reliable transports, as a hop may be unreliable.
        self.timers
            .set(TimerKey::Session(session, SessionTimer::Repeat), now + T1);
        self.timers.set(
            TimerKey::Session(session, SessionTimer::AckLimit),
            now + T1_64,
        );
        Handshake::WaitAck(WaitAck {
            server,
            cseq,
            interval: T1,
            held,
        })
    }

    /// Stops repeating.
    pub(super) fn handshake_over(&mut self, session: SessionId, handshake: Handshake) {
        if let Handshake::WaitAck(wait) = handshake {
            self.drop_success(wait.server);
            for timer in [SessionTimer::Repeat, SessionTimer::AckLimit] {
                self.timers.stop(&TimerKey::Session(session, timer));
            }
        }
    }

    /// Time to repeat the 2xx.
    pub(super) fn repeat_answer(&mut self, now: Instant, session: &mut Session) {
        let handshake = match &mut session.state {
            State::Up(up) => &mut up.handshake,
            State::Leaving(leaving) => &mut leaving.handshake,
            State::Calling(_) | State::Cancelling(..) | State::Offered(_) | State::Over => return,
        };
        if let Handshake::WaitAck(wait) = handshake {
            wait.interval = (wait.interval * 2).min(T2);
            let key = TimerKey::Session(session.id, SessionTimer::Repeat);
            self.timers.set(key, now + wait.interval);
            let server = wait.server;
            self.repeat_success(now, server);
        }
    }

    /// No ACK in 64·T1: the call is ended by a BYE (§13.3.1.4).
    pub(super) fn ack_missing(&mut self, now: Instant, session: &mut Session) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Up(mut up) => {
                let done = std::mem::replace(&mut up.handshake, Handshake::Done);
                self.handshake_over(session.id, done);
                let end = End::because(EndReason::ProtocolError, "no ACK");
                self.end_leg(session, end.clone());
                self.leave(now, session, *up, Some(&end));
            }
            State::Leaving(mut leaving) => {
                let done = std::mem::replace(&mut leaving.handshake, Handshake::Done);
                self.handshake_over(session.id, done);
                self.say_bye(now, session, leaving);
            }
            other @ (State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Over) => session.state = other,
        }
    }

    /// The ACK of a 2xx came.
    pub(super) fn ack_came(&mut self, now: Instant, session: &mut Session, ack: &Message) {
        let number = ack.cseq().map_or(0, |cseq| cseq.number);
        let handshake = match &mut session.state {
            State::Up(up) => &mut up.handshake,
            State::Leaving(leaving) => &mut leaving.handshake,
            State::Calling(_) | State::Cancelling(..) | State::Offered(_) | State::Over => return,
        };
        let Handshake::WaitAck(WaitAck { cseq, held, .. }) = handshake else {
            return;
        };
        if *cseq != number {
            return;
        }
        let held = *held;
        let done = std::mem::replace(handshake, Handshake::Done);
        self.handshake_over(session.id, done);
        match std::mem::replace(&mut session.state, State::Over) {
            State::Leaving(leaving) => self.say_bye(now, session, leaving),
            State::Up(mut up) => match (held, heard(ack)) {
                (Held::Answer, _) => {
                    session.state = State::Up(up);
                    self.next_offer(now, session);
                }
                (Held::Offer, Heard::Description(answer)) => {
                    up.keys = self.key_way(session.trunk, &answer);
                    session.state = State::Up(up);
                    self.tell(session, LegEvent::UpdateAnswered(answer));
                    self.next_offer(now, session);
                }
                (Held::Offer, Heard::Nothing | Heard::Unreadable(_)) => {
                    let end = End::because(EndReason::ProtocolError, "no answer in the ACK");
                    self.end_leg(session, end.clone());
                    self.leave(now, session, *up, Some(&end));
                }
            },
            other @ (State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Over) => session.state = other,
        }
    }

    /// Acknowledges a 2xx of the INVITE `client`, and remembers how.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        session: &mut Session,
        client: ClientId,
        dialog: &Dialog,
    ) {
        let Some(entry) = self.clients.get(client) else {
            return;
        };
        let number = entry.request.cseq().map_or(0, |cseq| cseq.number);
        let mut ack = dialog.ack(number);
        // RFC 3261 §22.1: the ACK carries the credentials of its INVITE.
        for name in [
            crate::sip::wire::Name::Authorization,
            crate::sip::wire::Name::ProxyAuthorization,
        ] {
            ack.headers.copy(&entry.request.headers, name);
        }
        let hop = self.hop_of(dialog);
        if let Some((flow, bytes)) = self.send_ack(now, ack, &hop) {
            session.acks.push(SentAck {
                client,
                tag: dialog.remote_tag.clone(),
                flow,
                bytes,
            });
        }
    }

    /// Repeats the ACK of a 2xx that came again; false if it is a new one.
    pub(super) fn acknowledge_again(
        &mut self,
        session: &Session,
        client: ClientId,
        tag: &str,
    ) -> bool {
        let sent = session
            .acks
            .iter()
            .find(|ack| ack.client == client && ack.tag == tag);
        if let Some(ack) = sent {
            self.send_again(ack.flow, ack.bytes.clone());
        }
        sent.is_some()
    }

    /// An INVITE transaction of ours is over: its 2xx cannot come again.
    pub(in crate::sip) fn invite_over(&mut self, id: SessionId, client: ClientId) {
        self.on_session(id, |_, session| {
            session.invites.retain(|invite| *invite != client);
            session.acks.retain(|ack| ack.client != client);
        });
    }
}
