//! Presence (RFC 6121 §3, §4): contacts approve everybody, subscribe back so that they see people
//! go, and answer each available presence with their capabilities, because most clients call only
//! whom they have seen. Nobody is remembered but the present resources (`caps`).
//!
//! A contact never goes unavailable: two clients hang up a running call on that.

use std::iter;
use std::time::{Duration, Instant};

use jid::{BareJid, Jid};
use minidom::Element;
use tracing::debug;

use super::caps::Announced;
use super::lru::Lru;
use super::stanza::{Condition, Identity, PresenceType, StanzaError, StanzaHead};
use super::{Addressee, Notice, Xmpp, decloak, nick};
use crate::address::Address;
use crate::address::contact::{self, Spelling};
use crate::pii::Pii;

/// True for presence that says that somebody is there.
pub fn is_available(stanza: &Element) -> bool {
    stanza.name() == "presence" && stanza.attr("type").is_none()
}

/// Presences that one resource may have answered by one contact at once: a login, a few changes of
/// status, a click on each button of the client.
const COURTESY_BURST: u32 = 10;

/// And then one each time this has passed. Two gateways that greet each other would go on for ever
/// otherwise; at this pace nobody notices.
const COURTESY_PACE: Duration = Duration::from_secs(5);

/// Pairs remembered; one forgotten may be greeted anew. About 5 MB.
const MAX_PAIRS: usize = 16_384;

/// Whom we have sent presence lately, to bound what goes out unasked. Requests to decloak are asked
/// for, and not counted: no answer of ours carries one, so they cannot go in circles.
#[derive(Clone, Debug)]
pub(super) struct Courtesy {
    pairs: Lru<(Jid, BareJid), (u32, Instant)>,
}

impl Default for Courtesy {
    fn default() -> Self {
        Self {
            pairs: Lru::new(MAX_PAIRS),
        }
    }
}

impl Courtesy {
    pub(super) fn allows(&mut self, now: Instant, peer: &Jid, contact: &Jid) -> bool {
        let key = (peer.clone(), contact.to_bare());
        let (left, since) = self.pairs.entry(key, || (COURTESY_BURST, now));
        let passed = now.saturating_duration_since(*since);
        let earned = passed.as_secs() / COURTESY_PACE.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(COURTESY_BURST);
            *left = left.saturating_add(earned).min(COURTESY_BURST);
            *since = now;
        }
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }
}

impl Xmpp {
    pub(super) fn presence(
        &mut self,
        now: Instant,
        kind: PresenceType,
        head: &StanzaHead,
        stanza: &Element,
    ) {
        match kind {
            PresenceType::Available => self.seen(now, head, stanza),
            PresenceType::Unavailable => self.gone(now, head),
            PresenceType::Error => self.notice(Notice::Refused {
                contact: head.from.clone(),
                error: StanzaError::read(stanza),
            }),
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed
            | PresenceType::Probe => match self.identity {
                Identity::Component { .. } => self.subscription(now, kind, head),
                // A user's subscriptions are for a person to decide, and probes for the server.
                Identity::Client { .. } => {}
            },
        }
    }

    fn subscription(&mut self, now: Instant, kind: PresenceType, head: &StanzaHead) {
        // RFC 6121 §3.1: subscriptions are between bare JIDs.
        let (contact, user) = (head.to.to_bare(), head.from.to_bare());
        let nobody = matches!(self.addressee(&head.to), Addressee::Nobody(_));
        match kind {
            // RFC 6121 §3.1.3, §4.3.2: nobody is there to be seen.
            PresenceType::Subscribe | PresenceType::Probe if nobody => {
                self.out
                    .presence(PresenceType::Unsubscribed, &contact, &user, []);
            }
            PresenceType::Subscribe => {
                self.out
                    .presence(PresenceType::Subscribed, &contact, &user, []);
                if self.is_from_us(head) || !self.courtesy.allows(now, &head.from, &head.to) {
                    return;
                }
                self.out
                    .presence(PresenceType::Subscribe, &contact, &user, []);
                self.show(&head.to, &user);
            }
            PresenceType::Probe => self.show(&head.to, &head.from),
            PresenceType::Unsubscribe => {
                self.out
                    .presence(PresenceType::Unsubscribed, &contact, &user, []);
            }
            // Nothing is kept that would change, and an answer could go in circles.
            PresenceType::Subscribed | PresenceType::Unsubscribed => {}
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error => {}
        }
    }

    /// Somebody is there.
    fn seen(&mut self, now: Instant, head: &StanzaHead, stanza: &Element) {
        let announced = Announced::read(stanza);
        let has_caps = announced.is_some();
        if let Ok(full) = head.from.try_as_full() {
            self.jingle.peer_available(full);
            let unknown = self.resources.available(full, announced.clone());
            let is_own = self.identity.is_local(full);
            if let (true, false, Some(announced)) = (unknown, is_own, announced) {
                self.ask(now, &head.to, full, announced);
            }
        }
        match self.identity {
            Identity::Component { .. } => self.greet(now, head, stanza),
            Identity::Client { .. } => {
                let known = self.resources.of(&head.from.to_bare());
                let resource = known.into_iter().find(|r| *r.jid == head.from);
                self.notice(Notice::Seen {
                    contact: head.from.clone(),
                    caps: has_caps,
                    abilities: resource.and_then(|r| r.abilities),
                });
            }
        }
    }

    /// Answers an available presence with the contact's own.
    fn greet(&mut self, now: Instant, head: &StanzaHead, stanza: &Element) {
        if self.is_from_us(head) {
            return;
        }
        let asked = match decloak::requested(stanza) {
            // Nothing here can take a file, so there is nothing to show for one.
            Some(decloak::Reason::File) => return,
            Some(decloak::Reason::Media | decloak::Reason::Text | decloak::Reason::Other) => true,
            None => false,
        };
        if !asked && !self.courtesy.allows(now, &head.from, &head.to) {
            debug!(from = ?Pii(&head.from), "presence comes too often to be answered");
            return;
        }
        match self.addressee(&head.to) {
            Addressee::Nobody(why) => {
                let error = StanzaError::because(Condition::ItemNotFound, why.to_string());
                self.out.error(head, &error);
            }
            // To the full JID, as XEP-0276 §3 says in words (its examples answer to the bare one):
            // a server hands presence from a stranger to the very resource that is waiting for it,
            // and no other device learns of a contact that it has not asked for.
            Addressee::Domain | Addressee::Contact(_) | Addressee::Own => {
                self.show(&head.to, &head.from);
            }
        }
    }

    /// Shows a caller to whom it is about to call (XEP-0353 §3.1): so a user who has never heard of the
    /// contact can ask what it can do, and call back. Who does not say who he is shows nothing.
    /// A user of whom no device is known to be there is asked to show itself (XEP-0276 §5), so that
    /// the next call finds its devices; the call itself does not wait.
    pub(super) fn introduce(&mut self, caller: &Address, callee: &Address, name: Option<&str>) {
        let (Identity::Component { domain, .. }, Address::Xmpp(user)) = (&self.identity, callee)
        else {
            return;
        };
        if *caller == Address::Anonymous {
            return;
        }
        if let Ok(contact) = contact::jid(caller, Spelling::default(), "", domain) {
            self.names.learn(user, &contact, name);
            let user = Jid::from(user.clone());
            let asks = self.resources.of(&user.to_bare()).is_empty();
            let request = asks.then(|| decloak::request(decloak::Reason::Media));
            self.show_with(&contact.into(), &user, request);
        }
    }

    /// Somebody has gone. Nothing is answered: who has gone does not hear it.
    fn gone(&mut self, now: Instant, head: &StanzaHead) {
        if let Ok(full) = head.from.try_as_full() {
            self.resources.unavailable(full);
            self.jingle.peer_unavailable(now, full);
        }
        self.notice(Notice::Gone {
            contact: head.from.clone(),
        });
    }

    /// Sends the presence of one of our JIDs: capabilities and, to whom it has called, its name; and
    /// neither show, status nor priority (XEP-0276 §7).
    pub(super) fn show(&mut self, contact: &Jid, to: &Jid) {
        self.show_with(contact, to, None);
    }

    fn show_with(&mut self, contact: &Jid, to: &Jid, request: Option<Element>) {
        let caps = match contact.node() {
            Some(_) => self.face_of(contact).caps(),
            None => self.domain.caps(),
        };
        let from = self.identity.full(contact);
        let name = self.names.of(&to.to_bare(), &contact.to_bare());
        let payload = iter::once(caps).chain(name.map(nick::nick));
        let payload: Vec<_> = payload.chain(request).collect();
        self.out
            .presence(PresenceType::Available, &from, to, payload);
    }

    /// True for what our own contacts sent each other, which would never come to an end.
    fn is_from_us(&self, head: &StanzaHead) -> bool {
        self.identity.is_local(&head.from)
    }
}
