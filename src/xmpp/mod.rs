//! The XMPP room: stanzas in, stanzas out, and between them the legs of calls.
//!
//! This file is the router: one match on stanza, type and payload. It follows RFC 6120 §8 (stanzas,
//! errors), RFC 6121 (presence), and hands on to one file a XEP: `presence` with `decloak`
//! (XEP-0276) and `caps` (XEP-0115), `disco` (XEP-0030), `gateway_iq` (XEP-0100), `ping` (XEP-0199),
//! `vcard` (XEP-0054, XEP-0292), `version` (XEP-0092), `channels` (XEP-0405, XEP-0407), `chat` (texts: RFC 7572,
//! XEP-0184) and `jingle` (XEP-0166 and its kin, XEP-0353).
//!
//! It does not: hold rosters (contacts approve everybody, and remember nobody), decide who may call
//! (the call table does), or keep connections (`io/` does). Texts of its own are in `words`.
//!
//! A stanza costs itself at most: what cannot be read is refused to its sender or dropped, and no
//! answer to an answer is ever written.

pub mod caps;
mod channels;
pub mod chat;
pub mod decloak;
pub mod disco;
pub mod element;
pub mod gateway_iq;
pub mod iq;
pub mod jingle;
mod lru;
pub mod nick;
pub mod ping;
pub mod presence;
pub mod stanza;
pub mod text;
pub mod vcard;
pub mod version;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jid::{BareJid, FullJid, Jid};
use minidom::Element;
use tracing::debug;

use crate::address::E164;
use crate::address::contact::{self, AddressError, Contact};
use crate::address::country::Country;
use crate::config::RouteMatch;
use crate::id::{LegId, TokenMaker};
use crate::leg::{LegCommand, LegEvent};
use crate::pii::Pii;
use caps::{Abilities, Announced, Resources};
pub use channels::Invited;
use chat::Chat;
use disco::Face;
use iq::Requests;
use jingle::{Jingle, JingleCensus, Protection};
use lru::Lru;
use nick::Names;
use presence::Courtesy;
pub use stanza::Identity;
use stanza::{
    Condition, IqType, Kind, MessageType, Outbox, PresenceType, StanzaError, StanzaHead, Unreadable,
};
use text::{Language, Phrase, WallClock};

/// The hint that keeps a message for the user's other devices (XEP-0334).
const NS_HINTS: &str = "urn:xmpp:hints";

/// Notices that wait at most; whoever wants them takes them after each input, which causes one or
/// two.
const MAX_NOTICES: usize = 256;

/// Users whose language is remembered. About 2 MB.
const MAX_LANGUAGES: usize = 16_384;

/// How the room presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmppRoomConfig {
    /// What disco#info calls us, such as `Phone`.
    pub name: String,
    /// The country where users live who have no number of their own; without it they write the
    /// country code.
    pub home: Option<Country>,
    /// The numbers of the others, who dial as people do in the country of theirs.
    pub numbers: BTreeMap<BareJid, E164>,
    /// Contacts take texts.
    pub takes_texts: bool,
    /// Whether calls to these addresses may have pictures: the first that takes an address decides.
    pub video: Vec<(RouteMatch, bool)>,
    /// Whether clients may call without encryption. Default no.
    pub protection: Protection,
}

/// News that belongs to no leg. Only a client's room tells any.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Presence of somebody has come: the answer to [`Xmpp::decloak`], if it is from that contact.
    Seen {
        /// Whose presence; a full JID from clients and from this gateway.
        contact: Jid,
        /// The presence carried entity capabilities.
        caps: bool,
        /// What the contact can do, if its capabilities are known from before; otherwise
        /// [`Notice::Learnt`] follows.
        abilities: Option<Abilities>,
    },
    /// Somebody has told what it can do.
    Learnt {
        /// Who.
        contact: FullJid,
        /// What it can do.
        abilities: Abilities,
    },
    /// Somebody has gone.
    Gone {
        /// Who.
        contact: Jid,
    },
    /// A presence of ours came back.
    Refused {
        /// Whom it was for.
        contact: Jid,
        /// Why.
        error: StanzaError,
    },
}

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XmppCensus {
    /// Sessions.
    pub jingle: JingleCensus,
    /// Requests that wait for their answers.
    pub requests: usize,
    /// Users with a resource that is known to be there.
    pub users: usize,
    /// Capability hashes whose meaning is known.
    pub hashes: usize,
    /// Pairs of a resource and a contact that were sent presence lately.
    pub pairs: usize,
    /// Callers whose names are remembered.
    pub names: usize,
    /// Users whose language is remembered.
    pub languages: usize,
    /// Texts under way.
    pub texts: usize,
}

impl XmppCensus {
    /// True if nothing is left of any call. What is known of users and their devices stays, within
    /// its bounds.
    pub fn is_quiet(&self) -> bool {
        self.jingle == JingleCensus::default() && self.requests == 0 && self.texts == 0
    }
}

/// What one of our requests asked for.
#[derive(Clone, Debug)]
struct Question {
    of: FullJid,
    announced: Announced,
}

/// Which of our JIDs a stanza is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Addressee {
    /// The domain itself.
    Domain,
    /// Somebody who can be called.
    Contact(Contact),
    /// A local part that stands for nobody, and why.
    Nobody(AddressError),
    /// The user whose client we are.
    Own,
}

/// The whole room.
pub struct Xmpp {
    identity: Identity,
    config: XmppRoomConfig,
    domain: Face,
    phone: Face,
    /// Contacts that calls with pictures can be made to.
    video_phone: Face,
    jingle: Jingle,
    resources: Resources,
    questions: Requests<Question>,
    courtesy: Courtesy,
    names: Names,
    languages: Lru<BareJid, Language>,
    clock: WallClock,
    out: Outbox,
    /// What is said after everything else.
    words: Outbox,
    notices: VecDeque<Notice>,
    invited: VecDeque<Invited>,
    joins: Requests<Invited>,
    chat: Chat,
}

impl Xmpp {
    /// A room without sessions.
    pub fn new(identity: Identity, config: XmppRoomConfig, mut tokens: TokenMaker) -> Self {
        let (node, phone, video_phone) = match &identity {
            Identity::Component { domain, .. } => {
                let node = format!("https://{domain}/caps");
                let phone = Face::contact(&config.name, &node, config.takes_texts, false);
                let video_phone = Face::contact(&config.name, &node, config.takes_texts, true);
                (node, phone, video_phone)
            }
            Identity::Client { .. } => {
                let node = "urn:offhook:client".to_owned();
                let phone = Face::client(&config.name, &node);
                (node, phone.clone(), phone)
            }
        };
        Self {
            domain: Face::domain(&config.name, &node),
            phone,
            video_phone,
            jingle: Jingle::new(identity.clone(), tokens.fork()).with_protection(config.protection),
            resources: Resources::default(),
            questions: Requests::default(),
            courtesy: Courtesy::default(),
            names: Names::default(),
            languages: Lru::new(MAX_LANGUAGES),
            clock: WallClock::default(),
            words: Outbox::new(&identity, tokens.fork()),
            out: Outbox::new(&identity, tokens),
            notices: VecDeque::new(),
            invited: VecDeque::new(),
            joins: Requests::default(),
            chat: Chat::default(),
            identity,
            config,
        }
    }

    /// The domain that the room speaks for, or is logged in at.
    pub fn domain(&self) -> &str {
        self.identity.domain().as_str()
    }

    /// Takes a new configuration. What disco#info says stays as it is.
    pub fn set_config(&mut self, config: XmppRoomConfig) {
        self.config = config;
    }

    /// What the contact `jid` looks like; the own client of a user as a contact without pictures.
    fn face_of(&self, jid: &Jid) -> &Face {
        let contact = jid.node().and_then(|node| contact::parse(node).ok());
        let mut routes = self.config.video.iter();
        let route = contact.and_then(|c| routes.find(|(route, _)| route.takes(&c.address)));
        match route {
            Some((_, true)) => &self.video_phone,
            Some((_, false)) | None => &self.phone,
        }
    }

    /// The country where a user dials.
    fn home_of(&self, user: &BareJid) -> Option<Country> {
        let number = self.config.numbers.get(user);
        number.and_then(Country::of).or(self.config.home)
    }

    /// A stanza has come in.
    pub fn handle(&mut self, now: Instant, stanza: Element) {
        let head = match StanzaHead::read(&stanza, &self.identity) {
            Ok(head) => head,
            Err(Unreadable::Drop(why)) => {
                debug!(why, "stanza dropped");
                return;
            }
            Err(Unreadable::Refuse(head, condition)) => {
                debug!(from = ?Pii(&head.from), condition = condition.as_str(), "stanza refused");
                self.out.error(&head, &condition.into());
                return;
            }
        };
        if let Some(language) = head.language {
            self.languages.insert(head.from.to_bare(), language);
        }
        match head.kind {
            Kind::Iq(kind @ (IqType::Get | IqType::Set)) => {
                self.request(now, kind, &head, &stanza);
            }
            Kind::Iq(IqType::Result) => self.response(now, &head, Ok(stanza.children().next())),
            Kind::Iq(IqType::Error) => {
                self.response(now, &head, Err(StanzaError::read(&stanza)));
            }
            Kind::Message(MessageType::Error) => {
                let error = StanzaError::read(&stanza);
                if !self.text_bounced(&head, &error) {
                    self.jingle.message_bounced(now, &head, &error);
                }
            }
            Kind::Message(kind) => self.message(now, kind, &head, &stanza),
            Kind::Presence(kind) => self.presence(now, kind, &head, &stanza),
        }
        self.bid_farewell(now);
    }

    /// The stream has been connected, or connected again. A client tells its server that it is
    /// there; calls that were up before go on.
    pub fn link_up(&mut self, _now: Instant) {
        self.chat.set_linked(true);
        self.jingle.set_link(None);
        match &self.identity {
            // Who came and went meanwhile has told nobody here.
            Identity::Component { .. } => self.resources.forget_users(),
            Identity::Client { jid } => {
                let caps = self.phone.caps();
                self.out.broadcast(jid, [caps]);
            }
        }
    }

    /// The stream is lost, or not there yet. Running calls survive: their media does not go by it.
    /// Requests that were open run into their deadlines; after a while users cannot be called.
    pub fn link_down(&mut self, now: Instant) {
        self.chat.set_linked(false);
        self.jingle.set_link(Some(now));
    }

    /// The call table tells a leg of this room something.
    pub fn command(&mut self, now: Instant, leg: LegId, command: LegCommand) {
        if let LegCommand::Offer {
            from,
            to,
            display_name,
            ..
        } = &command
        {
            self.introduce(from, to, display_name.as_deref());
        }
        self.jingle.command(now, leg, command, &self.resources);
        self.bid_farewell(now);
    }

    /// Sets what the time is called on the wall; `now` is so long after 1970 UTC.
    pub fn set_clock(&mut self, now: Instant, since_1970: Duration) {
        self.clock.set(now, since_1970);
    }

    /// Ends the calls of these two, peer and contact.
    pub fn part(&mut self, are_parted: impl Fn(&BareJid, &BareJid) -> bool) {
        self.jingle.part(are_parted);
    }

    /// Asks a contact for its presence (XEP-0276); the answer comes as [`Notice`]. Only a client
    /// asks: a component's contacts have nobody's presence to give in return.
    pub fn decloak(&mut self, _now: Instant, contact: &BareJid) {
        match &self.identity {
            Identity::Component { .. } => {}
            Identity::Client { jid } => {
                let payload = [self.phone.caps(), decloak::request(decloak::Reason::Media)];
                let kind = PresenceType::Available;
                self.out.presence(kind, jid, contact, payload);
            }
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(question) = self.questions.pop_due(now) {
            debug!(of = ?Pii(&question.of), "disco#info was not answered");
            self.resources.unanswered(&question.of);
        }
        while self.joins.pop_due(now).is_some() {}
        self.texts_due(now);
        self.jingle.handle_timeout(now);
        self.bid_farewell(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [
            self.questions.soonest(),
            self.joins.soonest(),
            self.chat.soonest(),
            self.jingle.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        let stanza = self.out.pop().or_else(|| self.jingle.poll_stanza());
        stanza.or_else(|| self.words.pop())
    }

    /// The next event of a leg.
    pub fn poll_event(&mut self) -> Option<(LegId, LegEvent)> {
        self.jingle.poll_event()
    }

    /// The next piece of news.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// The resources of a user that are known to be there, and what they can do.
    pub fn resources_of(&self, user: &BareJid) -> Vec<caps::Resource> {
        self.resources.of(user)
    }

    /// How much is there.
    pub fn census(&self) -> XmppCensus {
        let (users, hashes) = self.resources.counts();
        XmppCensus {
            jingle: self.jingle.census(),
            requests: self.questions.len() + self.joins.len(),
            users,
            hashes,
            pairs: self.courtesy.len(),
            names: self.names.len(),
            languages: self.languages.len(),
            texts: self.chat.len(),
        }
    }

    /// An iq get or set: exactly one answer, by whoever the payload belongs to.
    fn request(&mut self, now: Instant, kind: IqType, head: &StanzaHead, stanza: &Element) {
        let mut children = stanza.children();
        // RFC 6120 §8.2.3: exactly one child.
        let (Some(payload), None) = (children.next(), children.next()) else {
            let error = StanzaError::because(Condition::BadRequest, "an iq has one payload");
            return self.out.error(head, &error);
        };
        let (name, ns) = (payload.name(), payload.ns());
        if (kind, name, ns.as_str()) == (IqType::Set, "jingle", jingle::NS_JINGLE) {
            return self.jingle.handle_iq(now, head, payload);
        }
        match self.answer(kind, name, &ns, head, payload) {
            Ok(answer) => self.out.result(head, answer),
            Err(error) => self.out.error(head, &error),
        }
    }

    /// What is answered to the requests that need no state.
    fn answer(
        &self,
        kind: IqType,
        name: &str,
        ns: &str,
        head: &StanzaHead,
        payload: &Element,
    ) -> Result<Option<Element>, StanzaError> {
        use IqType::{Get, Set};
        let addressee = self.addressee(&head.to);
        let language = self.language_of(&head.from.to_bare());
        if let Addressee::Nobody(why) = &addressee {
            let text = text::address_error(why, language);
            let error = StanzaError::because(Condition::ItemNotFound, text);
            return Err(error.in_language(language));
        }
        let is_domain = addressee == Addressee::Domain;
        let called = self.names.of(&head.from.to_bare(), &head.to.to_bare());
        let answer = match (kind, name, ns) {
            (Get, "query", disco::NS_INFO) => {
                let node = payload.attr("node");
                let face = match is_domain {
                    true => &self.domain,
                    false => self.face_of(&head.to),
                };
                // The domain answers for every node, as clients ask for its chat and its caps.
                if !is_domain && node.is_some_and(|node| !face.is_caps_node(node)) {
                    return Err(Condition::ItemNotFound.into());
                }
                // What a hash has meant, it means for ever: servers ask one contact for all.
                let faces = [&self.phone, &self.video_phone];
                let hashed = faces
                    .into_iter()
                    .find(|f| node.is_some_and(|n| f.is_exactly(n)));
                hashed.filter(|_| !is_domain).unwrap_or(face).info(node)
            }
            (Get, "query", disco::NS_ITEMS) => disco::items(payload.attr("node")),
            (Get, "ping", ping::NS_PING) => return Ok(None),
            (Get, "query", version::NS_VERSION) => version::query(),
            (Get, "query", gateway_iq::NS_GATEWAY) if is_domain => {
                gateway_iq::prompt(self.home_of(&head.from.to_bare()), language)
            }
            (Set, "query", gateway_iq::NS_GATEWAY) if is_domain => {
                let home = self.home_of(&head.from.to_bare());
                gateway_iq::contact(payload, self.identity.domain(), home, language)?
            }
            (Get, "vCard", vcard::NS_VCARD_TEMP) => match &addressee {
                Addressee::Domain => vcard::temp_of_domain(&self.config.name),
                Addressee::Contact(contact) => vcard::temp(&contact.address, called),
                Addressee::Own | Addressee::Nobody(_) => {
                    return Err(Condition::ServiceUnavailable.into());
                }
            },
            (Get, "vcard", vcard::NS_VCARD4) => match &addressee {
                Addressee::Domain => vcard::vcard4_of_domain(&self.config.name),
                Addressee::Contact(contact) => vcard::vcard4(&contact.address, called),
                Addressee::Own | Addressee::Nobody(_) => {
                    return Err(Condition::ServiceUnavailable.into());
                }
            },
            (Set, "vCard", vcard::NS_VCARD_TEMP) | (Set, "vcard", vcard::NS_VCARD4) => {
                return Err(Condition::NotAllowed.into());
            }
            _ => return Err(Condition::ServiceUnavailable.into()),
        };
        Ok(Some(answer))
    }

    /// The answer to a request of ours, or of nobody's.
    fn response(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        outcome: Result<Option<&Element>, StanzaError>,
    ) {
        if self.joins.knows(head.id()) {
            return self.join_answered(head, outcome.map(|_| ()));
        }
        if !self.questions.knows(head.id()) {
            let outcome = outcome.map(|_| ());
            return self
                .jingle
                .handle_iq_response(now, head.id(), &head.from, outcome);
        }
        let Some(Question { of, announced }) = self.questions.answered(head.id(), &head.from)
        else {
            debug!(from = ?Pii(&head.from), "an answer from somebody else");
            return;
        };
        let Ok(Some(query)) = outcome else {
            return;
        };
        if query.is("query", disco::NS_INFO) {
            let abilities = self.resources.learnt(&of, &announced, query);
            self.notice(Notice::Learnt {
                contact: of,
                abilities,
            });
        }
    }

    fn message(&mut self, now: Instant, kind: MessageType, head: &StanzaHead, stanza: &Element) {
        let takes_calls = matches!(kind, MessageType::Chat | MessageType::Normal);
        let invitation = stanza.children().find(|c| c.ns() == jingle::NS_JMI);
        if let (true, Some(payload)) = (takes_calls, invitation) {
            return self.jingle.handle_message(now, head, payload);
        }
        let addressee = self.addressee(&head.to);
        let is_contact = takes_calls && matches!(addressee, Addressee::Contact(_));
        if is_contact && self.invitation(head, stanza) {
            return;
        }
        self.receipt_came(head, stanza);
        if is_contact && chat::is_encrypted(stanza) {
            return self.refuse_encrypted(head);
        }
        // Receipts, chat states and markers want no answer.
        let Some(body) = chat::body(stanza) else {
            return;
        };
        if self.jingle.presses(head, &body.text()) {
            return;
        }
        let language = self.language_of(&head.from.to_bare());
        let (condition, text) = match addressee {
            Addressee::Contact(contact) if takes_calls => {
                return self.text_came(head, stanza, body, contact.address);
            }
            Addressee::Nobody(why) => {
                let text = text::address_error(&why, language);
                (Condition::ItemNotFound, text)
            }
            Addressee::Contact(_) | Addressee::Domain | Addressee::Own => {
                let text = Phrase::CallsOnly.text(language).to_owned();
                (Condition::ServiceUnavailable, text)
            }
        };
        let error = StanzaError::because(condition, text);
        self.out.error(head, &error.in_language(language));
    }

    fn addressee(&self, to: &Jid) -> Addressee {
        match (&self.identity, to.node()) {
            (Identity::Client { .. }, _) => Addressee::Own,
            (Identity::Component { .. }, None) => Addressee::Domain,
            (Identity::Component { .. }, Some(node)) => match contact::parse(node.as_str()) {
                Ok(contact) => Addressee::Contact(contact),
                Err(error) => Addressee::Nobody(error),
            },
        }
    }

    /// Asks a resource what its capabilities mean, from the JID that it sent its presence to.
    fn ask(&mut self, now: Instant, from: &Jid, of: &FullJid, announced: Announced) {
        if !self.questions.has_room() {
            debug!("too many open requests");
            return self.resources.unanswered(of);
        }
        let node = format!("{}#{}", announced.node, announced.ver);
        let query = stanza::element("query", disco::NS_INFO).attr("node", node);
        let from = self.identity.full(from);
        let id = self.out.iq(IqType::Get, &from, of, query.build());
        let of = of.clone();
        let asked = of.clone().into();
        self.questions
            .sent(now, id, asked, Question { of, announced });
    }

    fn notice(&mut self, notice: Notice) {
        if let Identity::Component { .. } = self.identity {
            return;
        }
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }
}

#[cfg(test)]
mod tests;
