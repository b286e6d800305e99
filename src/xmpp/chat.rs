//! Texts: chat messages to contacts and from them (RFC 7572), with their receipts (XEP-0184) and
//! errors (RFC 7247 §7).
//!
//! What counts is the body, since it is what somebody reads who knows nothing newer: a correction
//! (XEP-0308) or a reaction with a body goes out as a text of its own, one without a body, like a chat
//! state (XEP-0085), goes nowhere. What is encrypted for a client cannot be read by a telephone, and
//! is refused.
//!
//! Texts are of type `chat`, as all clients write and show them; RFC 7572 §5 has `normal`. Call-IDs and
//! threads are not made of each other: many phones have a Call-ID for each text, and clients that show
//! threads would show each text in one of its own.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jid::{BareJid, Jid};
use minidom::Element;
use minidom::rxml::Namespace;
use tracing::debug;

use super::lru::Lru;
use super::stanza::{Condition, MessageType, StanzaError, StanzaHead, element};
use super::text::Phrase;
use super::{NS_HINTS, Xmpp, nick};
use crate::address::Address;
use crate::address::contact::{self, Spelling};
use crate::id::{LegId, Role, Room};
use crate::pii::Pii;
use crate::text::{
    Fate, Taken, Text, TextCommand, TextEvent, TextId, Undelivered, Why, language_tag,
};
use crate::timer::Timers;

/// The namespace of receipts.
const NS_RECEIPTS: &str = "urn:xmpp:receipts";

/// What disco#info of a contact says for this file.
pub const FEATURES: &[&str] = &[NS_RECEIPTS];

/// What OMEMO and OpenPGP for XMPP put the text into.
const ENCRYPTED: &[(&str, &str)] = &[
    ("encrypted", "eu.siacs.conversations.axolotl"),
    ("encrypted", "urn:xmpp:omemo:1"),
    ("encrypted", "urn:xmpp:omemo:2"),
    ("openpgp", "urn:xmpp:openpgp:0"),
    ("x", "jabber:x:encrypted"),
];

/// How long the answer to a text waits for the reader's side to say something of it: shorter than it
/// takes a SIP peer to repeat the text (RFC 3261 §17.1.2.2, T1).
const PATIENCE: Duration = Duration::from_millis(400);
/// Texts of users that wait for their fates. About 5 MB.
const MAX_OPEN: usize = 10_000;
/// Texts to users that nobody has said anything of.
const MAX_SENT: usize = 10_000;
/// Texts that are known again: servers and clients repeat what was under way when a link broke.
const MAX_SEEN: usize = 4_096;
/// Characters of a subject that are passed on.
const MAX_SUBJECT: usize = 200;

/// What tells one text from another: who sent it, its id, and a hash of the rest, since some clients
/// count their ids anew after each start.
type Mark = (Jid, String, u64);

/// Every text under way.
pub(super) struct Chat {
    made: u64,
    open: BTreeMap<u64, Open>,
    seen: Lru<Mark, ()>,
    /// Texts to users, by the id of the stanza.
    sent: BTreeMap<String, (BareJid, TextId)>,
    timers: Timers<String>,
    events: VecDeque<TextEvent>,
    /// The stream is there.
    linked: bool,
}

/// A text of a user.
struct Open {
    head: StanzaHead,
    /// Without an id nobody knows it again.
    mark: Option<Mark>,
    wants_receipt: bool,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            made: 0,
            open: BTreeMap::new(),
            seen: Lru::new(MAX_SEEN),
            sent: BTreeMap::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            linked: false,
        }
    }
}

impl Chat {
    pub(super) fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
    }

    pub(super) fn len(&self) -> usize {
        self.open.len() + self.sent.len()
    }

    pub(super) fn soonest(&self) -> Option<Instant> {
        self.timers.soonest()
    }

    /// True for what has come before, and is under way or has gone out.
    fn knows(&mut self, mark: Option<&Mark>) -> bool {
        mark.is_some_and(|mark| self.seen.get_mut(mark).is_some())
    }

    fn fared(&mut self, stanza: &str, fate: Fate) {
        self.timers.stop(&stanza.to_owned());
        if let Some((_, id)) = self.sent.remove(stanza) {
            self.events.push_back(TextEvent::Fared { id, fate });
        }
    }

    /// True if this is the reader of a text that waits.
    fn waits_for(&self, stanza: &str, reader: &Jid) -> bool {
        let sent = self.sent.get(stanza);
        sent.is_some_and(|(user, _)| *user == reader.to_bare())
    }
}

fn mark(head: &StanzaHead, body: &str) -> Option<Mark> {
    let mut hasher = DefaultHasher::new();
    (&head.to, body).hash(&mut hasher);
    Some((head.from.clone(), head.id.clone()?, hasher.finish()))
}

/// What a message says to people; `None` if it says nothing.
pub(super) fn body(stanza: &Element) -> Option<&Element> {
    let mut bodies = stanza.children().filter(|c| c.name() == "body");
    let body = bodies.next()?;
    (!body.text().trim().is_empty()).then_some(body)
}

/// True for a message whose text only another client can read. Without a payload it sets up keys, and
/// is for nobody to read.
pub(super) fn is_encrypted(stanza: &Element) -> bool {
    let is_it = |c: &Element| ENCRYPTED.iter().any(|(name, ns)| c.is(*name, *ns));
    let has_text = |c: &Element| {
        c.name() != "encrypted" || c.children().any(|inner| inner.name() == "payload")
    };
    stanza.children().any(|c| is_it(c) && has_text(c))
}

impl Xmpp {
    /// What texts tell next.
    pub fn poll_text(&mut self) -> Option<TextEvent> {
        self.chat.events.pop_front()
    }

    /// Takes what is to be done for a text.
    pub fn text_command(&mut self, now: Instant, command: TextCommand) {
        match command {
            TextCommand::Send {
                id,
                text,
                trunk: _,
                leg,
            } => {
                if let Err(failed) = self.send_text(now, id, &text, leg) {
                    let fate = Err(failed);
                    self.chat.events.push_back(TextEvent::Fared { id, fate });
                }
            }
            TextCommand::Fared { id, fate } => {
                if let Some(open) = self.chat.open.remove(&id.number) {
                    self.tell_fate(&open, fate);
                }
            }
        }
    }

    /// A user has written to a contact.
    pub(super) fn text_came(
        &mut self,
        head: &StanzaHead,
        stanza: &Element,
        body: &Element,
        to: Address,
    ) {
        let said = body.text();
        let mark = mark(head, &said);
        if self.chat.knows(mark.as_ref()) {
            debug!(from = ?Pii(&head.from), "a text that has come before");
            return;
        }
        if self.chat.open.len() >= MAX_OPEN {
            return self.refuse_text(head, Why::TooMany.into());
        }
        self.chat.made += 1;
        let number = self.chat.made;
        if let Some(mark) = &mark {
            self.chat.seen.insert(mark.clone(), ());
        }
        let open = Open {
            head: head.clone(),
            mark,
            wants_receipt: stanza.has_child("request", NS_RECEIPTS),
        };
        self.chat.open.insert(number, open);
        let tag = |of: &Element| of.attr_ns(&Namespace::XML, "lang").and_then(language_tag);
        let subject = stanza.children().find(|c| c.name() == "subject");
        let subject = subject.map(|subject| subject.text().chars().take(MAX_SUBJECT).collect());
        let text = Box::new(Text {
            from: Address::Xmpp(head.from.to_bare()),
            to,
            display_name: None,
            body: said,
            subject,
            language: tag(body).or_else(|| tag(stanza)),
        });
        self.chat.events.push_back(TextEvent::Came {
            id: TextId {
                room: Room::Xmpp,
                role: Role::Caller,
                number,
            },
            text,
            conceals: false,
            trunk: None,
            leg: self.jingle.talks(head),
        });
    }

    /// Refuses a text to a contact that is encrypted.
    pub(super) fn refuse_encrypted(&mut self, head: &StanzaHead) {
        let language = self.language_of(&head.from.to_bare());
        let text = Phrase::TextEncrypted.text(language);
        let error = StanzaError::because(Condition::NotAcceptable, text);
        self.out.error(head, &error.in_language(language));
    }

    fn tell_fate(&mut self, open: &Open, fate: Fate) {
        let Open {
            head,
            mark,
            wants_receipt,
        } = open;
        // Clients send a text that failed again under its old id.
        if let (Err(_), Some(mark)) = (&fate, mark) {
            self.chat.seen.remove(mark);
        }
        match (fate, &head.id) {
            (Ok(Taken::Accepted | Taken::Delivered), Some(id)) if *wants_receipt => {
                let from = self.identity.full(&head.to).into();
                let received = element("received", NS_RECEIPTS).attr("id", id).build();
                let payload = [received, element("store", NS_HINTS).build()];
                self.out
                    .message(MessageType::Chat, &from, &head.from, payload);
            }
            (Ok(Taken::Accepted | Taken::Delivered), _) => {}
            (Err(failed), _) => self.refuse_text(head, failed),
        }
    }

    fn refuse_text(&mut self, head: &StanzaHead, failed: Undelivered) {
        let language = self.language_of(&head.from.to_bare());
        let phrase = match failed.why {
            Why::CallsOnly => Phrase::CallsOnly,
            Why::TooLong => Phrase::TextTooLong,
            Why::NotFound => Phrase::NotFound,
            Why::Forbidden => Phrase::TextForbidden,
            Why::Unavailable => Phrase::TextUnavailable,
            Why::TooMany => Phrase::TextTooMany,
            Why::NoRoute => Phrase::NoRoute,
            Why::Unanswered => Phrase::TextUnanswered,
            Why::Refused => Phrase::TextRefused,
        };
        let text = match (phrase.text(language), failed.sip_status) {
            (text, Some(status)) => format!("{text} ({status})"),
            (text, None) => text.to_owned(),
        };
        let error = StanzaError::because(condition(failed), text);
        self.out.error(head, &error.in_language(language));
    }

    fn send_text(
        &mut self,
        now: Instant,
        id: TextId,
        text: &Text,
        leg: Option<LegId>,
    ) -> Result<(), Undelivered> {
        if !self.chat.linked {
            return Err(Why::Unavailable.into());
        }
        let (contact, user) = match leg {
            Some(leg) => self.jingle.parties(leg).ok_or(Why::NotFound)?,
            None => {
                let Address::Xmpp(user) = &text.to else {
                    return Err(Why::NotFound.into());
                };
                let domain = self.identity.domain();
                let contact = contact::jid(&text.from, Spelling::default(), "", domain);
                let contact = contact.map_err(|_| Undelivered::from(Why::Refused))?;
                (contact, user.clone())
            }
        };
        if text.display_name.is_some() {
            let name = text.display_name.as_deref();
            self.names.learn(&user, &contact, name);
        }
        let (from, to) = (Jid::from(contact.clone()), Jid::from(user.clone()));
        let is_known = leg.is_some() || text.from == Address::Anonymous;
        if !is_known && self.courtesy.allows(now, &to, &from) {
            self.show(&from, &to);
        }
        let payload = self.written(text, &contact, &user);
        let from = self.identity.full(&from).into();
        let stanza = self.out.message(MessageType::Chat, &from, &to, payload);
        if self.chat.sent.len() >= MAX_SENT {
            let fate = Ok(Taken::Accepted);
            self.chat.events.push_back(TextEvent::Fared { id, fate });
            return Ok(());
        }
        self.chat.timers.set(stanza.clone(), now + PATIENCE);
        self.chat.sent.insert(stanza, (user, id));
        Ok(())
    }

    fn written(&self, text: &Text, contact: &BareJid, user: &BareJid) -> Vec<Element> {
        let ns = self.identity.ns();
        let body = element("body", ns)
            .attr_opt("xml:lang", text.language.as_deref())
            .text(&text.body);
        let subject = text.subject.as_deref();
        let subject = subject.map(|subject| element("subject", ns).text(subject).build());
        let name = self.names.of(user, contact).map(nick::nick);
        let request = element("request", NS_RECEIPTS).build();
        let rest = subject.into_iter().chain(name);
        let payload = [body.build()].into_iter().chain(rest);
        payload.chain([request]).collect()
    }

    /// A receipt has come.
    pub(super) fn receipt_came(&mut self, head: &StanzaHead, stanza: &Element) {
        let received = stanza.get_child("received", NS_RECEIPTS);
        if let Some(id) = received.and_then(|received| received.attr("id"))
            && self.chat.waits_for(id, &head.from)
        {
            self.chat.fared(id, Ok(Taken::Delivered));
        }
    }

    /// A message of ours came back; true if it was a text.
    pub(super) fn text_bounced(&mut self, head: &StanzaHead, error: &StanzaError) -> bool {
        let waits = self.chat.waits_for(head.id(), &head.from);
        if waits {
            let failed = failed(error.condition);
            self.chat.fared(head.id(), Err(failed));
        }
        waits
    }

    /// Nobody has said anything of these in time, so their server has them.
    pub(super) fn texts_due(&mut self, now: Instant) {
        while let Some(stanza) = self.chat.timers.pop_due(now) {
            self.chat.fared(&stanza, Ok(Taken::Accepted));
        }
    }
}

/// RFC 7247 §7.2, table 3, and what else we know. Those that ask for a password are about ours, which
/// is no user's business; where a redirection leads, nobody here follows.
pub fn condition(failed: Undelivered) -> Condition {
    match failed.sip_status {
        Some(404 | 481 | 484 | 485 | 604) => Condition::ItemNotFound,
        Some(403) => Condition::Forbidden,
        Some(410) => Condition::Gone,
        Some(405 | 420 | 439 | 501) => Condition::FeatureNotImplemented,
        Some(380 | 406 | 415 | 416 | 421 | 482 | 483 | 488 | 505 | 606) => Condition::NotAcceptable,
        Some(408 | 504) => Condition::RemoteServerTimeout,
        Some(413 | 414 | 440 | 489 | 513) => Condition::PolicyViolation,
        Some(423) => Condition::ResourceConstraint,
        Some(430 | 480 | 486 | 487 | 600..=603) => Condition::RecipientUnavailable,
        Some(491) => Condition::UnexpectedRequest,
        Some(502) => Condition::RemoteServerNotFound,
        Some(401 | 407 | 500..=599) => Condition::InternalServerError,
        Some(300..=399) => Condition::Redirect,
        Some(400..=499) => Condition::BadRequest,
        Some(600..=699) => Condition::RecipientUnavailable,
        Some(_) | None => match failed.why {
            Why::CallsOnly => Condition::ServiceUnavailable,
            Why::TooLong => Condition::PolicyViolation,
            Why::NotFound => Condition::ItemNotFound,
            Why::Forbidden => Condition::Forbidden,
            Why::Unavailable => Condition::RecipientUnavailable,
            Why::TooMany => Condition::ResourceConstraint,
            Why::NoRoute => Condition::RemoteServerNotFound,
            Why::Unanswered => Condition::RemoteServerTimeout,
            Why::Refused => Condition::UndefinedCondition,
        },
    }
}

/// RFC 7247 §7.1, table 2. Of two statuses the one for a single endpoint, since what came back is one
/// of the users of a number. Not those that promise what we do not give: a challenge (401, 407), an
/// address (302), a method list (405); and no 408, which nobody may send (RFC 4320 §4.2).
pub fn failed(condition: Condition) -> Undelivered {
    let (why, status) = match condition {
        Condition::ItemNotFound | Condition::RemoteServerNotFound => (Why::NotFound, 404),
        Condition::Gone => (Why::NotFound, 410),
        Condition::Forbidden
        | Condition::NotAllowed
        | Condition::NotAuthorized
        | Condition::PolicyViolation
        | Condition::RegistrationRequired
        | Condition::ServiceUnavailable => (Why::Forbidden, 403),
        Condition::FeatureNotImplemented => (Why::CallsOnly, 501),
        Condition::NotAcceptable => (Why::Refused, 406),
        Condition::RecipientUnavailable | Condition::Redirect => (Why::Unavailable, 480),
        Condition::RemoteServerTimeout => (Why::Unanswered, 504),
        Condition::InternalServerError | Condition::ResourceConstraint => (Why::Refused, 500),
        Condition::UnexpectedRequest => (Why::Refused, 491),
        Condition::BadRequest
        | Condition::Conflict
        | Condition::JidMalformed
        | Condition::SubscriptionRequired
        | Condition::UndefinedCondition => (Why::Refused, 400),
    };
    Undelivered {
        why,
        sip_status: Some(status),
    }
}
