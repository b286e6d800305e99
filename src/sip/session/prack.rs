//! Provisional responses that are sure to arrive: RFC 3262, both ways.
//!
//! Ours are reliable where the caller requires it, and where it can and the response describes
//! something. An INVITE without an offer gets no reliable one: it would have to hold our offer
//! (§5), which is not known before the call is answered.

use std::time::{Duration, Instant};

use crate::description::{Codec, Description, Direction, Security, Stream, Transport};
use crate::leg::{End, EndReason, LegEvent};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::table::{ClientId, ServerId, User};
use crate::sip::transaction::{ServerInput, T1, T1_64};
use crate::sip::wire::{CSeq, Message, Method, Name, RAck};
use crate::sip::{Sip, TimerKey};

use super::call::Calling;
use super::said::{Heard, heard, offered};
use super::timer::SessionTimer;
use super::{Session, SessionId, State};

/// What a caller says of RFC 3262.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It does not know it.
    None,
    /// It knows it.
    Supported,
    /// It wants nothing else.
    Required,
}

/// Our provisional responses to one INVITE.
#[derive(Debug)]
pub struct Provisionals {
    wish: Wish,
    /// Whether the INVITE has an offer.
    offer: bool,
    /// RSeq of the latest reliable one.
    rseq: u32,
    unheard: Option<Unheard>,
    /// What is said once the other one is acknowledged (§3: one at a time).
    next: Option<Provisional>,
    /// The answer of the call, which waits for that too.
    answer: Option<Description>,
}

/// A reliable response that is repeated until its PRACK comes.
#[derive(Debug)]
struct Unheard {
    interval: Duration,
    describes: bool,
}

/// A reliable response whose PRACK may still come after our 2xx (§3): it is on its way, or was lost
/// and comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken {
    rseq: u32,
    cseq: u32,
}

impl Overtaken {
    fn is_meant_by(self, request: &Message) -> bool {
        request.rack().is_some_and(|rack| {
            rack.rseq == self.rseq
                && rack.cseq.number == self.cseq
                && rack.cseq.method == Method::Invite
        })
    }
}

/// A provisional response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisional {
    /// 101–199.
    pub status: u16,
    /// Our answer, if it has one.
    pub body: Option<Vec<u8>>,
}

impl Provisionals {
    /// As the INVITE asks for.
    pub fn of(request: &Message, offer: bool, start: u64) -> Self {
        let wish = match (
            request.lists(Name::Require, "100rel"),
            request.lists(Name::Supported, "100rel"),
        ) {
            (true, _) => Wish::Required,
            (false, true) => Wish::Supported,
            (false, false) => Wish::None,
        };
        Self {
            wish,
            offer,
            // §3: 1 to 2^31 − 1, with room to count.
            rseq: 1 + (start % (1 << 30)) as u32,
            unheard: None,
            next: None,
            answer: None,
        }
    }

    /// Whether a response is to be reliable; `None` if it must not be sent at all.
    fn way(&self, provisional: &Provisional) -> Option<bool> {
        match (self.wish, self.offer) {
            (Wish::None, _) | (Wish::Supported, false) => Some(false),
            (Wish::Supported, true) => Some(provisional.body.is_some()),
            (Wish::Required, true) => Some(true),
            (Wish::Required, false) => None,
        }
    }

    /// The reliable response to the INVITE `cseq` that the answer of the call has overtaken.
    pub fn overtaken(&self, cseq: u32) -> Option<Overtaken> {
        self.unheard.as_ref().map(|_| Overtaken {
            rseq: self.rseq,
            cseq,
        })
    }

    /// Keeps the answer of the call back while a response that describes something is not
    /// acknowledged (§3); gives it back if it may go.
    pub fn hold_answer(&mut self, answer: Description) -> Option<Description> {
        match &self.unheard {
            Some(Unheard {
                describes: true, ..
            }) => {
                self.answer = Some(answer);
                None
            }
            Some(_) | None => Some(answer),
        }
    }
}

impl Sip {
    /// Sends a provisional response to the INVITE of a call.
    pub(super) fn say_provisional(
        &mut self,
        now: Instant,
        session: &mut Session,
        provisional: Provisional,
    ) {
        let State::Offered(offered) = &mut session.state else {
            return;
        };
        let server = offered.server;
        let Some(reliable) = offered.provisionals.way(&provisional) else {
            return;
        };
        let provisionals = &mut offered.provisionals;
        if reliable && provisionals.unheard.is_some() {
            // The later one says more, but what was described must not be lost.
            let body = provisionals.next.take().and_then(|next| next.body);
            provisionals.next = Some(Provisional {
                body: provisional.body.or(body),
                ..provisional
            });
            return;
        }
        let mut rseq = None;
        if reliable {
            provisionals.rseq += 1;
            rseq = Some(provisionals.rseq.to_string());
            provisionals.unheard = Some(Unheard {
                interval: T1,
                describes: provisional.body.is_some(),
            });
            let key = TimerKey::Session(session.id, SessionTimer::Provisional);
            self.timers.set(key, now + T1);
        }
        let Provisional { status, body } = provisional;
        self.respond(now, server, status, Some(&session.local_tag), |r| {
            let r = match rseq {
                Some(rseq) => r.with(Name::Require, "100rel").with(Name::RSeq, rseq),
                None => r,
            };
            match body {
                Some(body) => r.with_body("application/sdp", body),
                None => r,
            }
        });
    }

    /// Time to repeat a reliable response; after 64·T1 the call is refused (§3).
    pub(super) fn repeat_provisional(&mut self, now: Instant, session: &mut Session) {
        let State::Offered(offered) = &mut session.state else {
            return;
        };
        let Some(unheard) = &mut offered.provisionals.unheard else {
            return;
        };
        unheard.interval *= 2;
        // The intervals before add up to it, less the first.
        if unheard.interval >= T1_64 {
            let server = offered.server;
            session.state = State::Over;
            self.respond(now, server, 504, Some(&session.local_tag), |r| r);
            let end = End::because(EndReason::ProtocolError, "no PRACK");
            return self.end_leg(session, end);
        }
        let key = TimerKey::Session(session.id, SessionTimer::Provisional);
        self.timers.set(key, now + unheard.interval);
        let server = offered.server;
        self.server_input(now, server, ServerInput::Provisional);
    }

    /// The call no longer waits for a PRACK.
    pub(super) fn stop_provisionals(&mut self, session: &Session) {
        let key = TimerKey::Session(session.id, SessionTimer::Provisional);
        self.timers.stop(&key);
    }

    /// A PRACK came.
    pub(super) fn prack_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        request: &Message,
    ) {
        let waiting = match &mut session.state {
            State::Offered(waiting) => waiting,
            State::Up(up) => return self.late_prack(now, server, &mut up.overtaken, request),
            State::Leaving(leaving) => {
                return self.late_prack(now, server, &mut leaving.overtaken, request);
            }
            State::Calling(_) | State::Cancelling(..) | State::Over => {
                return self.respond(now, server, 481, None, |r| r);
            }
        };
        let unheard = waiting.provisionals.overtaken(waiting.cseq);
        if !unheard.is_some_and(|unheard| unheard.is_meant_by(request)) {
            return self.respond(now, server, 481, None, |r| r);
        }
        waiting.provisionals.unheard = None;
        let (next, answer) = (
            waiting.provisionals.next.take(),
            waiting.provisionals.answer.take(),
        );
        self.stop_provisionals(session);
        match heard(request) {
            Heard::Nothing => self.respond(now, server, 200, None, |r| r),
            Heard::Unreadable(status) => self.respond(now, server, status, None, |r| r),
            Heard::Description(offer) => {
                let status = self.answer_early(now, session, server, &offer, request);
                if let Some(status) = status {
                    self.respond(now, server, status, None, |r| r);
                }
            }
        }
        match (answer, next) {
            (Some(answer), _) => self.answer(now, session, answer),
            (None, Some(next)) => self.say_provisional(now, session, next),
            (None, None) => {}
        }
    }

    /// A PRACK came after our 2xx.
    fn late_prack(
        &mut self,
        now: Instant,
        server: ServerId,
        overtaken: &mut Option<Overtaken>,
        request: &Message,
    ) {
        if overtaken.take_if(|o| o.is_meant_by(request)).is_none() {
            return self.respond(now, server, 481, None, |r| r);
        }
        let status = match heard(request) {
            Heard::Nothing => 200,
            Heard::Unreadable(status) => status,
            // §5: nothing was described, so there is nothing yet that it could change.
            Heard::Description(_) => 488,
        };
        self.respond(now, server, status, None, |r| r);
    }

    /// Answers an offer within an early dialog, whose first offer has its answer: our stream stays
    /// where it is. Returns the status that refuses it instead.
    pub(super) fn answer_early(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        offer: &Description,
        request: &Message,
    ) -> Option<u16> {
        let answer = session
            .said
            .description()
            .and_then(|said| same_again(said, offer));
        let Some(answer) = answer else {
            return Some(488);
        };
        let body = session.said.answer(&answer, &offered(request));
        let flow = self.servers.get(server).map(|entry| entry.flow);
        let contact = flow.map(|flow| self.contact(flow));
        self.respond(now, server, 200, None, |r| {
            let r = match contact {
                Some(contact) => r.with(Name::Contact, contact),
                None => r,
            };
            r.with_body("application/sdp", body)
        });
        self.tell(session, LegEvent::Progress(Some(offer.clone())));
        None
    }

    /// A reliable provisional response came. False if it is not the next one of its dialog: it came
    /// before, or one between was lost and comes again (§4).
    pub(super) fn acknowledge_provisional(
        &mut self,
        now: Instant,
        trunk: Option<usize>,
        early: &mut Early,
        client: ClientId,
        response: &Message,
        session: SessionId,
    ) -> bool {
        if !response.lists(Name::Require, "100rel") {
            return true;
        }
        let Some(rseq) = response.number(Name::RSeq) else {
            return true;
        };
        if early
            .rseq
            .is_some_and(|last| last.checked_add(1) != Some(rseq))
        {
            return false;
        }
        early.rseq = Some(rseq);
        let number = self
            .clients
            .get(client)
            .and_then(|entry| entry.request.cseq())
            .map_or(1, |cseq| cseq.number);
        let rack = RAck {
            rseq,
            cseq: CSeq {
                number,
                method: Method::Invite,
            },
        };
        let prack = early
            .dialog
            .request(Method::Prack)
            .with(Name::RAck, rack.to_string());
        // The callee repeats what was not acknowledged, and refuses the call in the end.
        let _ = self.send_within(now, trunk, prack, &early.dialog, User::Aside(session, 0));
        true
    }
}

/// An early dialog of a call of ours.
#[derive(Debug)]
pub struct Early {
    /// The dialog.
    pub dialog: Dialog,
    /// What the peer has described in it.
    pub description: Option<Description>,
    /// RSeq of its last reliable response.
    rseq: Option<u32>,
}

impl Early {
    /// As its first response makes it.
    pub fn new(dialog: Dialog) -> Self {
        Self {
            dialog,
            description: None,
            rseq: None,
        }
    }
}

impl Calling {
    /// The early dialog of a tag.
    pub(super) fn early_mut(&mut self, tag: &str) -> Option<&mut Early> {
        self.early
            .iter_mut()
            .find(|early| early.dialog.remote_tag == tag)
    }
}

/// Our last description as the answer to `offer`: the same streams with what both have of the
/// codecs. `None` if that needs somebody to think: other streams, or keys.
fn same_again(said: &Description, offer: &Description) -> Option<Description> {
    let audio = said.audio().filter(|_| said.video().is_none())?;
    let theirs = offer.audio()?;
    let plain = |stream: &Stream| matches!(&stream.transport, Transport::Rtp(rtp) if rtp.security == Security::None);
    if !plain(audio) || !plain(theirs) {
        return None;
    }
    let codecs: Vec<Codec> = theirs
        .codecs
        .iter()
        .filter(|codec| audio.codecs.iter().any(|ours| ours.same_encoding(codec)))
        .cloned()
        .collect();
    if codecs.iter().all(Codec::is_auxiliary) {
        return None;
    }
    let direction = match theirs.direction {
        Direction::Both => Direction::Both,
        other => other.reversed(),
    };
    let mut streams = Vec::with_capacity(offer.streams.len());
    for offered in &offer.streams {
        let mut stream = audio.clone();
        stream.name.clone_from(&offered.name);
        if std::ptr::eq(offered, theirs) {
            stream.codecs.clone_from(&codecs);
            stream.direction = direction;
        } else {
            stream.media = offered.media;
            stream.rejected = true;
        }
        streams.push(stream);
    }
    Some(Description {
        streams,
        bundle: offer.bundle,
    })
}
