//! Texts: MESSAGE both ways (RFC 3428), outside of calls and within them, mapped as RFC 7572 and
//! RFC 7247 §7 say.
//!
//! What comes is answered once it is known whether the reader's side takes it; the answer of a
//! message that nobody vouches for is 202. Plain text only: other kinds get 415, those that tell that
//! somebody types (RFC 3994) among them.
//!
//! A server that fails a text is not held to have failed: some answer calls and no texts.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use tracing::debug;

use crate::address::Address;
use crate::id::{LegId, Role, Room};
use crate::text::{Fate, Taken, Text, TextCommand, TextEvent, TextId, Undelivered, Why};

use super::session::redirect::Targets;
use super::session::{SessionId, State};
use super::transaction::drive::{Hop, Outcome};
use super::transaction::table::{ClientId, ServerId, User};
use super::trunk::{Trunk, caller};
use super::uri::Uri;
use super::wire::{CSeq, Message, Method, Name, unquote};
use super::{ALLOW, ALLOW_TEXTS, RETRY_AFTER, Sip};

/// What we take of texts, for Accept.
pub const ACCEPT: &str = "text/plain";
/// RFC 3428 §8: the largest MESSAGE that may come by a way of which nobody knows that it regulates
/// its load: that is every one, but for trunks that are spoken to by TCP or TLS.
pub const MAX_REQUEST: usize = 1_300;
/// The largest text by those, and the largest that comes: what every XMPP server has to take as a
/// stanza (RFC 6120 §13.12).
pub const MAX_BODY: usize = 10_000;
/// What our Via and User-Agent add to a request that has none yet, beside the agent's name.
const STILL_TO_COME: usize = 124;
/// Texts of peers that wait for their answers, which takes less than a second.
const MAX_CAME: usize = 1_000;
/// The longest Subject that is passed on, in characters.
const MAX_SUBJECT: usize = 200;
/// Challenges of one text that are answered, as of one call.
const MAX_CHALLENGES: u8 = 4;

/// Every text under way.
#[derive(Debug, Default)]
pub struct Texts {
    made: u64,
    /// What came and was not answered.
    came: BTreeMap<u64, ServerId>,
    sending: BTreeMap<u64, Sending>,
    events: VecDeque<TextEvent>,
}

/// A text that we send.
#[derive(Debug)]
struct Sending {
    /// With everything but Via and credentials.
    request: Message,
    trunk: Option<usize>,
    hop: Hop,
    /// Servers not yet tried.
    hops: VecDeque<Hop>,
    /// The call that it is in.
    session: Option<SessionId>,
    /// Where it was sent on to.
    targets: Targets,
    challenges: u8,
}

impl Sending {
    /// Nobody else is to be tried.
    fn give_up(&mut self) {
        self.hops.clear();
        self.targets = Targets::default();
    }
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.came.len() + self.sending.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Sip {
    /// What texts tell next.
    pub fn poll_text(&mut self) -> Option<TextEvent> {
        self.texts.events.pop_front()
    }

    /// Takes what is to be done for a text.
    pub fn text_command(&mut self, now: Instant, command: TextCommand) {
        match command {
            TextCommand::Send {
                id,
                text,
                trunk,
                leg,
            } => {
                let sent = match leg {
                    Some(leg) => self.send_in_call(now, id.number, &text, leg),
                    None => self.send_text(now, id.number, &text, trunk.as_deref()),
                };
                if let Err(failed) = sent {
                    self.text_over(id.number, Err(failed));
                }
            }
            TextCommand::Fared { id, fate } => {
                if let Some(server) = self.texts.came.remove(&id.number) {
                    self.answer_text(now, server, fate);
                }
            }
        }
        self.settle(now);
    }

    /// What we can do for a trunk, for Allow.
    pub(super) fn allow(&self, trunk: Option<usize>) -> &'static str {
        match self.takes_texts(trunk) {
            true => ALLOW_TEXTS,
            false => ALLOW,
        }
    }

    /// What we can do for whoever sent a request, for Allow.
    pub(super) fn allow_in(&self, server: ServerId) -> &'static str {
        let entry = self.servers.get(server);
        self.allow(entry.and_then(|entry| entry.trunk))
    }

    fn takes_texts(&self, trunk: Option<usize>) -> bool {
        let trunk = trunk.and_then(|index| self.trunks.get(index));
        trunk.is_some_and(|trunk| trunk.messages)
    }

    /// A MESSAGE came; `leg` is that of the call that it came in.
    pub(super) fn message_came(
        &mut self,
        now: Instant,
        server: ServerId,
        trunk: Option<usize>,
        leg: Option<LegId>,
        request: &Message,
    ) {
        if !self.takes_texts(trunk) {
            let allow = self.allow(trunk);
            return self.respond(now, server, 405, None, |r| r.with(Name::Allow, allow));
        }
        let body = match body(request) {
            Ok(body) => body,
            Err(status) => {
                return self.respond(now, server, status, None, |r| match status {
                    415 => r.with(Name::Accept, ACCEPT),
                    _ => r,
                });
            }
        };
        if body.is_empty() {
            return self.respond(now, server, 200, None, |r| r);
        }
        if self.texts.came.len() >= MAX_CAME {
            self.stats.overloaded += 1;
            return self.respond_with_retry(now, server, 503);
        }
        let to = match leg {
            // Whoever is in the call is meant, whatever the URI says.
            Some(_) => Some(Address::Anonymous),
            None => request
                .request_uri()
                .and_then(|uri| Uri::parse(uri).ok())
                .and_then(|uri| self.called(trunk, &uri, request)),
        };
        let Some(to) = to else {
            return self.respond(now, server, 404, None, |r| r);
        };
        let (from, display_name) = caller(request, true);
        self.texts.made += 1;
        let number = self.texts.made;
        self.texts.came.insert(number, server);
        let language = request.tokens(Name::ContentLanguage).next();
        let text = Box::new(Text {
            from,
            to,
            display_name,
            body,
            subject: request.header(Name::Subject).and_then(subject),
            language: language.and_then(crate::text::language_tag),
        });
        let trunk = trunk.and_then(|index| Some(self.trunks.get(index)?.name.clone()));
        self.texts.events.push_back(TextEvent::Came {
            id: TextId {
                room: Room::Sip,
                role: Role::Caller,
                number,
            },
            text,
            conceals: false,
            trunk,
            leg,
        });
    }

    fn answer_text(&mut self, now: Instant, server: ServerId, fate: Fate) {
        match fate {
            Ok(Taken::Delivered) => self.respond(now, server, 200, None, |r| r),
            // RFC 3428 §7: what goes on into another network is only accepted.
            Ok(Taken::Accepted) => self.respond(now, server, 202, None, |r| r),
            Err(failed) => match status_of(failed) {
                status @ (480 | 503) => self.respond_with_retry(now, server, status),
                status => self.respond(now, server, status, None, |r| r),
            },
        }
    }

    fn respond_with_retry(&mut self, now: Instant, server: ServerId, status: u16) {
        self.respond(now, server, status, None, |r| {
            r.with(Name::RetryAfter, RETRY_AFTER)
        });
    }

    fn text_over(&mut self, number: u64, fate: Fate) {
        self.texts.sending.remove(&number);
        let id = TextId {
            room: Room::Sip,
            role: Role::Callee,
            number,
        };
        self.texts.events.push_back(TextEvent::Fared { id, fate });
    }

    /// Sends a text outside of calls.
    fn send_text(
        &mut self,
        now: Instant,
        number: u64,
        text: &Text,
        trunk: Option<&str>,
    ) -> Result<(), Undelivered> {
        let known = self.trunks.iter().position(|t| Some(&*t.name) == trunk);
        let hops = known.map(|index| self.hops_of(index)).unwrap_or_default();
        let parties = self.parties(known, &text.from, &text.to, text.display_name.as_deref());
        let parties = parties.map_err(|_| Undelivered::from(Why::NotFound))?;
        let (call_id, tag) = (self.tokens.token(22), self.tokens.token(12));
        let mut request = Message::request(Method::Message, parties.request_uri)
            .with(Name::Via, "")
            .with(Name::MaxForwards, "70")
            .with(Name::From, format!("{};tag={tag}", parties.from))
            .with(Name::To, parties.to)
            .with(Name::CallId, call_id)
            .with(Name::CSeq, "0 MESSAGE");
        self.add_caller(&mut request, known, parties.identity, parties.privacy);
        let Some(hop) = hops.front().cloned() else {
            return Err(Why::NoRoute.into());
        };
        let sending = Sending {
            request: written(request, text),
            trunk: known,
            hop,
            hops,
            session: None,
            targets: Targets::default(),
            challenges: 0,
        };
        self.try_servers(now, number, sending, Why::NoRoute.into())
    }

    /// Sends a text within a call.
    fn send_in_call(
        &mut self,
        now: Instant,
        number: u64,
        text: &Text,
        leg: LegId,
    ) -> Result<(), Undelivered> {
        let session = self.sessions.by_leg(leg).ok_or(Why::NotFound)?;
        let prepared = self.on_session(session, |sip, session| {
            let State::Up(up) = &mut session.state else {
                return None;
            };
            let request = written(up.dialog.request(Method::Message), text);
            Some((request, sip.hop_of(&up.dialog), session.trunk))
        });
        let (request, hop, trunk) = prepared.flatten().ok_or(Why::NotFound)?;
        let sending = Sending {
            request,
            trunk,
            hops: VecDeque::from([hop.clone()]),
            hop,
            session: Some(session),
            targets: Targets::default(),
            challenges: 0,
        };
        self.try_servers(now, number, sending, Why::NoRoute.into())
    }

    /// Sends it to the next server; without one, it is over with `failed`.
    fn try_servers(
        &mut self,
        now: Instant,
        number: u64,
        mut sending: Sending,
        failed: Undelivered,
    ) -> Result<(), Undelivered> {
        loop {
            let Some(hop) = sending.hops.pop_front() else {
                let Some(target) = sending.targets.take() else {
                    break;
                };
                sending.hops = target.address(&mut sending.request);
                continue;
            };
            sending.hop = hop;
            let mut request = sending.request.clone();
            // Within a dialog its own count is kept.
            if sending.session.is_none() {
                let count = request.cseq().map_or(0, |cseq| cseq.number) + 1;
                let cseq = CSeq {
                    number: count,
                    method: Method::Message,
                };
                request.headers.set(Name::CSeq, &cseq.to_string());
                sending.request.headers.set(Name::CSeq, &cseq.to_string());
            }
            self.authorize(sending.trunk, &sending.hop, &mut request);
            let size = request.to_bytes().len() + self.user_agent.len() + STILL_TO_COME;
            // Nobody knows the way to where it is sent on to.
            let known = sending.trunk.filter(|_| !sending.targets.have_led_away());
            if !self.fits(known, size, request.body.len()) {
                return Err(Undelivered {
                    why: Why::TooLong,
                    sip_status: Some(413),
                });
            }
            let user = User::Text(number);
            if self.send_request(now, request, &sending.hop, user).is_ok() {
                self.texts.sending.insert(number, sending);
                return Ok(());
            }
        }
        Err(failed)
    }

    /// RFC 3428 §8, as far as it can be known.
    fn fits(&self, trunk: Option<usize>, size: usize, body: usize) -> bool {
        let trunk = trunk.and_then(|index| self.trunks.get(index));
        match trunk.is_some_and(Trunk::regulates_load) {
            true => body <= MAX_BODY,
            false => size <= MAX_REQUEST,
        }
    }

    /// How a MESSAGE of ours fared.
    pub(super) fn text_fared(
        &mut self,
        now: Instant,
        number: u64,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        if let Outcome::Response(response) = outcome
            && response.status() < Some(200)
        {
            return;
        }
        let Some(mut sending) = self.texts.sending.remove(&number) else {
            return;
        };
        let failed = match outcome {
            Outcome::Response(response) => {
                self.note_accepted(sending.trunk, client, response);
                let status = response.status().unwrap_or(0);
                match status {
                    0..300 => {
                        let taken = match status {
                            202 => Taken::Accepted,
                            _ => Taken::Delivered,
                        };
                        return self.text_over(number, Ok(taken));
                    }
                    401 | 407
                        if sending.challenges < MAX_CHALLENGES
                            && self.learn_challenge(sending.trunk, client, response) =>
                    {
                        sending.challenges += 1;
                        let again = sending.hop.clone();
                        sending.hops.push_front(again);
                        self.count_in_dialog(&mut sending);
                    }
                    // RFC 3263 §4.3: another server may do better.
                    503 => {}
                    // A call has no other end than its own.
                    300..=302 | 305 if sending.session.is_none() => {
                        let targets = &mut sending.targets;
                        self.note_redirection(sending.trunk, client, targets, response, status);
                        sending.hops.clear();
                    }
                    300..600 => sending.hops.clear(),
                    600.. => sending.give_up(),
                }
                of_status(status)
            }
            // RFC 3261 §8.1.3.1: as if 408 had come. It may have arrived, so nobody gets it again.
            Outcome::TimedOut => {
                sending.give_up();
                Undelivered {
                    why: Why::Unanswered,
                    sip_status: Some(408),
                }
            }
            Outcome::Unreachable => Why::NoRoute.into(),
        };
        if let Err(failed) = self.try_servers(now, number, sending, failed) {
            debug!(?failed, "text not taken");
            self.text_over(number, Err(failed));
        }
    }

    /// Gives a text of a call that is sent again the next number of its dialog.
    fn count_in_dialog(&mut self, sending: &mut Sending) {
        let Some(session) = sending.session else {
            return;
        };
        let next = self.on_session(session, |_, session| match &mut session.state {
            State::Up(up) => up.dialog.request(Method::Message).cseq(),
            State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Leaving(_)
            | State::Over => None,
        });
        match next.flatten() {
            Some(cseq) => sending.request.headers.set(Name::CSeq, &cseq.to_string()),
            None => sending.hops.clear(),
        }
    }
}

/// The request with what is said.
fn written(mut request: Message, text: &Text) -> Message {
    if let Some(subject) = text.subject.as_deref().and_then(subject) {
        request.push(Name::Subject, subject);
    }
    if let Some(language) = &text.language {
        request.push(Name::ContentLanguage, language);
    }
    request.with_body("text/plain;charset=UTF-8", text.body.as_str())
}

/// A subject is one line.
fn subject(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(MAX_SUBJECT).collect();
    (!line.is_empty()).then_some(line)
}

/// The text in a request, or the status that refuses it.
fn body(request: &Message) -> Result<String, u16> {
    let kind = request.content_type();
    if kind.is_some_and(|kind| !kind.is("text", "plain")) {
        return Err(415);
    }
    if request.body.len() > MAX_BODY {
        return Err(413);
    }
    let charset = kind.and_then(|kind| kind.params.get("charset"));
    let charset = charset.map(unquote).unwrap_or(Cow::Borrowed("utf-8"));
    match charset.to_ascii_lowercase().as_str() {
        // RFC 3261 §7.3.1's default for text is UTF-8.
        "utf-8" | "utf8" | "us-ascii" => Ok(String::from_utf8_lossy(&request.body).into_owned()),
        "iso-8859-1" => Ok(request.body.iter().copied().map(char::from).collect()),
        _ => Err(415),
    }
}

/// What a final status of a MESSAGE (300–699) means.
fn of_status(status: u16) -> Undelivered {
    let why = match status {
        // Of these nobody learns more by trying again: this peer has no MESSAGE, or none like ours.
        405 | 415 | 416 | 420 | 488 | 489 | 501 | 606 => Why::CallsOnly,
        404 | 410 | 484 | 485 | 604 => Why::NotFound,
        402 | 403 => Why::Forbidden,
        413 | 513 => Why::TooLong,
        408 | 504 => Why::Unanswered,
        480 | 486 | 600 => Why::Unavailable,
        429 => Why::TooMany,
        503 => Why::NoRoute,
        _ => Why::Refused,
    };
    Undelivered {
        why,
        sip_status: Some(status),
    }
}

/// What a writer is answered whose text was not taken.
fn status_of(failed: Undelivered) -> u16 {
    let ours = match failed.why {
        Why::CallsOnly => 405,
        Why::TooLong => 413,
        Why::NotFound => 404,
        Why::Forbidden => 403,
        Why::Unavailable | Why::NoRoute | Why::Unanswered => 480,
        Why::TooMany => 503,
        Why::Refused => 500,
    };
    failed.sip_status.unwrap_or(ours)
}
