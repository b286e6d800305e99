//! The MIX service: channels whose participants see each other's presence and reach each other's
//! clients by relayed IQs.
//!
//! This file is the router. XEP-0369 (MIX-CORE) is in `participant`, `nodes`, `messages` and `disco`,
//! XEP-0403 (presence, IQ relay) in `presence` and `relay`, XEP-0406 (roles, settings, allowed,
//! banned) in `admin` with `config` and `rights`, XEP-0404 in `anonymity` and `preferences`. `address` knows encoded JIDs,
//! `store` what outlives a restart.
//!
//! A phone is a participant like any other: its JID lies in the gateway's other domain, and whoever
//! wires this room hands stanzas between the two rooms.
//!
//! It does not: register nicks (XEP-0407), or hold connections (`io/` does).

pub mod address;
mod admin;
mod anonymity;
pub mod archive;
pub mod clients;
mod commands;
mod config;
mod disco;
mod farewell;
mod form;
mod invitations;
mod messages;
mod nodes;
mod participant;
pub mod preferences;
mod presence;
pub mod record;
mod relay;
pub mod rights;
mod stamp;
pub mod store;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use jid::{BareJid, DomainPart, Jid, ResourcePart};
use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use tracing::debug;

use crate::id::TokenMaker;
use crate::pii::Pii;
use crate::xmpp::stanza::{
    Condition, ErrorType, Identity, IqType, Kind, MessageType, Outbox, StanzaError, StanzaHead,
    Unreadable, element,
};
use address::{Encoded, Place};
use anonymity::HiddenResources;
use archive::{Asked, NS_MAM, Question};
pub use farewell::Parted;
use presence::Watch;
use relay::Relay;
use store::{Change, Channel, JidVisibility, Node, Settings, Snapshot};

/// XEP-0369.
pub const NS_CORE: &str = "urn:xmpp:mix:core:1";
/// Its namespace before 0.9.
///
/// COMPAT(ejabberd, 23.01): leaves in it when an account is deleted.
pub const NS_CORE_0: &str = "urn:xmpp:mix:core:0";
/// XEP-0403.
pub const NS_PRESENCE: &str = "urn:xmpp:mix:presence:0";
/// XEP-0403 as its examples had it up to 0.3.1.
///
/// COMPAT(QXmpp, 1.11): reads no other; gone when its `ns_mix_presence` is.
pub const NS_PRESENCE_LEGACY: &str = "urn:xmpp:presence:0";
/// XEP-0404.
pub const NS_ANON: &str = "urn:xmpp:mix:anon:0";
/// XEP-0406.
pub const NS_ADMIN: &str = "urn:xmpp:mix:admin:0";
/// XEP-0407.
pub const NS_MISC: &str = "urn:xmpp:mix:misc:0";
/// XEP-0050.
pub const NS_COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0060.
pub const NS_PUBSUB: &str = "http://jabber.org/protocol/pubsub";

/// Channels at most. With nobody in it one takes less than 1 kB.
pub const MAX_CHANNELS: usize = 10_000;
/// Participants of one channel at most: each presence goes to all of them.
pub const MAX_PARTICIPANTS: usize = 10_000;
/// Clients of one participant at most. Servers allow a user about this many sessions.
pub const MAX_CLIENTS: usize = 16;
/// Entries of one list of JIDs in the settings at most.
pub const MAX_LIST: usize = 1_000;
/// Characters of a nick, a name or a description at most.
pub const MAX_TEXT: usize = 1_000;

/// A channel that is there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticChannel {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owners: BTreeSet<BareJid>,
    /// Nobody but owners learns a JID in it, whatever they set.
    pub hidden: bool,
    /// The contact JIDs of the numbers that take part, each with its nick.
    pub phones: Vec<(BareJid, String)>,
}

/// How the service presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixRoomConfig {
    /// Its domain.
    pub domain: DomainPart,
    /// The domain of the contact JIDs of numbers, if they are in this program.
    pub phones: Option<DomainPart>,
    /// What the ids of static channels are made with; the same after a restart.
    pub key: [u8; 32],
    /// Bare JIDs and domains that may create channels.
    pub creators: BTreeSet<BareJid>,
    /// Whether presence carries [`NS_PRESENCE_LEGACY`] too.
    pub legacy_presence: bool,
    /// Domains whose server drops channel messages without an `<mix xmlns=''/>`.
    pub ejabberd_domains: BTreeSet<String>,
    /// Domains whose server wants its `<join/>` back in an error.
    pub echo_error_domains: BTreeSet<String>,
    /// Channels that are there from the start.
    pub channels: Vec<StaticChannel>,
}

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixCensus {
    /// Channels.
    pub channels: usize,
    /// Participants of all of them.
    pub participants: usize,
    /// Present clients of all of them.
    pub clients: usize,
    /// Relayed requests that wait for their answers.
    pub pending: usize,
}

/// The whole service.
pub struct Mix {
    config: MixRoomConfig,
    identity: Identity,
    state: Snapshot,
    changes: VecDeque<Change>,
    relay: Relay,
    watch: Watch,
    hidden: HiddenResources,
    parted: VecDeque<Parted>,
    /// What is changed can be kept.
    keeps: bool,
    archives: bool,
    questions: VecDeque<(u64, Question)>,
    asked: Asked,
    tokens: TokenMaker,
    out: Outbox,
}

/// What a request comes to; the answer itself has then been queued already, before what follows
/// from it.
type Outcome = Result<(), StanzaError>;

impl Mix {
    /// A service with its static channels.
    pub fn new(config: MixRoomConfig, tokens: TokenMaker) -> Self {
        Self::restore(config, Snapshot::default(), tokens)
    }

    /// A service with what was kept of an earlier one; static channels are added.
    pub fn restore(config: MixRoomConfig, kept: Snapshot, mut tokens: TokenMaker) -> Self {
        let resource = ResourcePart::new("mix").expect("a literal of ours");
        let identity = Identity::Component {
            domain: config.domain.clone(),
            resource: resource.into_owned(),
        };
        let mut mix = Self {
            out: Outbox::new(&identity, tokens.fork()),
            identity,
            state: kept,
            changes: VecDeque::new(),
            relay: Relay::default(),
            watch: Watch::default(),
            hidden: HiddenResources::default(),
            parted: VecDeque::new(),
            keeps: true,
            archives: false,
            questions: VecDeque::new(),
            asked: Asked::default(),
            tokens,
            config,
        };
        for channel in mix.config.channels.clone() {
            let (name, hidden) = (channel.name.clone(), channel.hidden);
            mix.add_static(channel);
            if hidden {
                mix.hide(&name);
            }
        }
        mix
    }

    /// Takes a new configuration: who may create channels, what servers need, further channels and
    /// the phones of those that are there. Domain and keys stay.
    pub fn set_config(&mut self, now: Instant, config: MixRoomConfig) {
        let MixRoomConfig {
            domain: _,
            phones: _,
            key: _,
            creators,
            legacy_presence,
            ejabberd_domains,
            echo_error_domains,
            channels,
        } = config;
        self.config.creators = creators;
        self.config.legacy_presence = legacy_presence;
        self.config.ejabberd_domains = ejabberd_domains;
        self.config.echo_error_domains = echo_error_domains;
        for channel in channels {
            let name = address::channel_name(&channel.name).unwrap_or_default();
            let hidden = channel.hidden;
            let is_new = !self.state.channels.contains_key(&name);
            let before = self.ids_in(&name);
            self.add_static(channel);
            if is_new && hidden {
                self.hide(&name);
            }
            for id in self.ids_in(&name).difference(&before) {
                self.tell_participant(&name, id);
                let joined = &self.state.channels[&name].participants[id];
                let jid = joined.jid.clone();
                self.probe(now, &name, &jid);
            }
            if let (true, Some(channel)) = (hidden, self.state.channels.get(&name)) {
                let mut settings = channel.settings.clone();
                settings.visibility = JidVisibility::Hidden;
                self.settle(now, &name, settings);
            }
        }
    }

    fn ids_in(&self, name: &str) -> BTreeSet<address::StableId> {
        let channel = self.state.channels.get(name);
        channel.map_or_else(BTreeSet::new, |c| c.participants.keys().cloned().collect())
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
                self.out.error(&head, &condition.into());
                return;
            }
        };
        // Nobody lives in this domain (XEP-0369 §3): its stanzas would be our own, in a circle.
        if self.identity.is_local(&head.from) {
            return;
        }
        let place = Place::of(&head.to);
        match head.kind {
            Kind::Iq(kind @ (IqType::Get | IqType::Set)) => {
                self.request(now, kind, &head, &stanza, place);
            }
            Kind::Iq(IqType::Result | IqType::Error) => match place {
                Place::Encoded(to) => self.relay_response(&head, &stanza, &to),
                Place::Channel { .. } => self.ghost_answer(now, &head, &stanza),
                Place::Service => {}
            },
            Kind::Message(kind) => {
                let outcome = match place {
                    Place::Encoded(to) => self.private_message(kind, &head, &stanza, &to),
                    Place::Channel { .. }
                        if kind == MessageType::Groupchat && self.archives && !self.keeps =>
                    {
                        Err(not_kept())
                    }
                    Place::Channel { name, .. } => self.message(kind, &head, &stanza, &name),
                    Place::Service => match kind {
                        MessageType::Error => Ok(()),
                        _ => Err(Condition::ServiceUnavailable.into()),
                    },
                };
                self.refuse(&head, outcome);
            }
            Kind::Presence(kind) => match place {
                Place::Encoded(to) => self.presence_to_participant(kind, &head, &stanza, &to),
                Place::Channel { name, .. } => {
                    self.presence_to_channel(now, kind, &head, &stanza, &name);
                }
                Place::Service => {}
            },
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.relay_timeout(now);
        self.watch_timeout(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.relay.soonest(), self.watch.soonest()];
        times.into_iter().flatten().min()
    }

    /// The stream has been connected, or connected again: asks who is there (XEP-0403 §6).
    pub fn link_up(&mut self, now: Instant) {
        self.ask_everybody(now);
    }

    /// The stream is lost. Requests that were relayed run into their deadlines.
    pub fn link_down(&mut self, _now: Instant) {}

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        self.out.pop()
    }

    /// The next thing to keep. Whoever feeds the room takes them after each input.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Says whether changes can be kept. While they cannot, what asks for one is refused.
    pub fn set_keeps(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// Everything there is to keep.
    pub fn snapshot(&self) -> &Snapshot {
        &self.state
    }

    /// The domain of the service.
    pub fn domain(&self) -> &DomainPart {
        &self.config.domain
    }

    /// Shows and hides phones by whether they can be called.
    pub fn refresh_phones(&mut self, now: Instant, can_be_called: impl Fn(&BareJid) -> bool) {
        let phones = |(name, channel): (&String, &Channel)| {
            let phones = channel.participants.iter().filter(|(_, p)| p.phone);
            let seen = phones.map(|(id, p)| (id.clone(), p.jid.clone(), !p.clients.is_empty()));
            let name = name.clone();
            seen.map(move |(id, jid, seen)| (name.clone(), id, jid, seen))
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = self.state.channels.iter().flat_map(phones).collect();
        for (name, id, jid, seen) in all {
            match (can_be_called(&jid), seen) {
                (true, false) => self.probe(now, &name, &jid),
                (false, true) => self.hide_all(&name, &id),
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Who is behind an encoded JID, and whether its channel hides that from others.
    pub fn revealed(&self, encoded: &BareJid) -> Option<(&BareJid, bool)> {
        let Place::Encoded(Encoded { id, channel, .. }) = Place::of(&encoded.clone().into()) else {
            return None;
        };
        let channel = self.state.channels.get(&channel)?;
        let participant = channel.participants.get(&id?)?;
        let hides = channel.hides(participant.preferences.visibility);
        let is_ours = encoded.domain() == &*self.config.domain;
        is_ours.then_some((&participant.jid, hides))
    }

    /// How much is there.
    pub fn census(&self) -> MixCensus {
        let channels = self.state.channels.values();
        let participants = || channels.clone().flat_map(|c| c.participants.values());
        MixCensus {
            channels: self.state.channels.len(),
            participants: participants().count(),
            clients: participants().map(|p| p.clients.len()).sum(),
            pending: self.relay.len(),
        }
    }

    /// An iq get or set: exactly one answer.
    fn request(
        &mut self,
        now: Instant,
        kind: IqType,
        head: &StanzaHead,
        stanza: &Element,
        place: Place,
    ) {
        let mut children = stanza.children();
        // RFC 6120 §8.2.3: exactly one child.
        let (Some(payload), None) = (children.next(), children.next()) else {
            return self.out.error(head, &Condition::BadRequest.into());
        };
        let outcome = match place {
            // Whatever is set here is to be kept.
            Place::Service | Place::Channel { .. } if kind == IqType::Set && !self.keeps => {
                Err(not_kept())
            }
            Place::Service => self.service_request(kind, head, payload),
            Place::Channel {
                name,
                resource: None,
            } => self.channel_request(now, kind, head, payload, &name),
            Place::Channel {
                resource: Some(_), ..
            } => Err(Condition::ItemNotFound.into()),
            Place::Encoded(to) => self.relay_request(now, kind, head, stanza, payload, to),
        };
        let echoes = self
            .config
            .echo_error_domains
            .contains(head.from.domain().as_str());
        match outcome {
            // COMPAT(Tigase, 8.5): its participant's part looks for the `<join/>` in errors. COMPAT(ejabberd,
            // 23.01): its does not answer its client if there is one.
            Err(error) if echoes && payload.name() == "join" => {
                let mut echo = stanza.clone();
                let error = self.out.error_of(&error);
                echo.append_child(error);
                readdress(&mut echo, "error", &head.to, &head.from, head.id());
                self.out.forward(echo);
            }
            outcome => self.refuse(head, outcome),
        }
    }

    fn refuse(&mut self, head: &StanzaHead, outcome: Outcome) {
        if let Err(error) = outcome {
            debug!(from = ?Pii(&head.from), condition = error.condition.as_str(), "refused");
            self.out.error(head, &error);
        }
    }

    fn service_request(&mut self, kind: IqType, head: &StanzaHead, payload: &Element) -> Outcome {
        match (kind, payload.name(), payload.ns().as_str()) {
            (IqType::Get, "query", crate::xmpp::disco::NS_INFO) => self.service_info(head, payload),
            (IqType::Get, "query", crate::xmpp::disco::NS_ITEMS) => {
                self.service_items(head, payload)
            }
            (IqType::Get, "ping", crate::xmpp::ping::NS_PING) => {
                self.out.result(head, None);
                Ok(())
            }
            (IqType::Set, "create", NS_CORE) => self.create(head, payload),
            (IqType::Set, "destroy", NS_CORE) => self.destroy(head, payload),
            _ => Err(Condition::ServiceUnavailable.into()),
        }
    }

    fn channel_request(
        &mut self,
        now: Instant,
        kind: IqType,
        head: &StanzaHead,
        payload: &Element,
        name: &str,
    ) -> Outcome {
        let ns = payload.ns();
        match (kind, payload.name(), ns.as_str()) {
            // Leaving what is not there is what was wanted; servers clean up by the answer.
            (IqType::Set, "leave", NS_CORE | NS_CORE_0) => return self.leave(head, name, &ns),
            _ if !self.state.channels.contains_key(name) => {
                return Err(Condition::ItemNotFound.into());
            }
            _ => {}
        }
        match (kind, payload.name(), ns.as_str()) {
            (IqType::Set, "join", NS_CORE | NS_ANON | NS_MISC) => {
                self.join(now, head, payload, name)
            }
            (IqType::Set, "update-subscription", NS_CORE) => {
                self.update_subscription(head, payload, name)
            }
            (IqType::Set, "setnick", NS_CORE) => self.set_nick(now, head, payload, name),
            (IqType::Get | IqType::Set, "user-preference", NS_ANON) => {
                self.user_preference(now, kind, head, payload, name)
            }
            (IqType::Get, "invite", NS_MISC) => self.invite(head, payload, name),
            (IqType::Set, "command", NS_COMMANDS) => self.command(now, head, payload, name),
            (IqType::Get, "query", crate::xmpp::disco::NS_INFO) => {
                self.channel_info(head, payload, name)
            }
            (IqType::Get, "query", crate::xmpp::disco::NS_ITEMS) => {
                self.channel_items(head, payload, name)
            }
            (IqType::Get, "ping", crate::xmpp::ping::NS_PING) => {
                self.out.result(head, None);
                Ok(())
            }
            (IqType::Set, "query", NS_MAM) => self.query(head, payload, name),
            (IqType::Get | IqType::Set, "pubsub", _) => self.pubsub(now, kind, head, payload, name),
            _ => Err(Condition::ServiceUnavailable.into()),
        }
    }

    /// Takes a step and keeps it.
    fn change(&mut self, change: Change) {
        if self.state.has(&change) {
            return;
        }
        self.changes.push_back(change.clone());
        self.state.apply(change);
    }

    fn channel(&self, name: &str) -> Result<&Channel, StanzaError> {
        let channel = self.state.channels.get(name);
        channel.ok_or(Condition::ItemNotFound.into())
    }

    /// The JID of a channel that is there.
    fn channel_jid(&self, name: &str) -> BareJid {
        address::channel_jid(&self.config.domain, name).expect("no channel has a name that is none")
    }

    /// Tells the subscribers of a node by an event (XEP-0060 §7.1.2.1).
    fn event(&mut self, name: &str, node: Node, what: Element, but: Option<&BareJid>) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        if !channel.has(node) {
            return;
        }
        let from: Jid = self.channel_jid(name).into();
        let subscribers = channel.subscribers(node);
        let event = element("event", NS_PUBSUB_EVENT).child(what).build();
        for to in subscribers.iter().filter(|to| Some(*to) != but) {
            let id = self.tokens.uuid();
            let message = element("message", self.out.ns())
                .attr("from", from.as_str())
                .attr("to", to.as_str())
                .attr("id", id)
                .child(event.clone());
            self.out.forward(message.build());
        }
    }

    /// Hides the JIDs of a channel that nobody is told of yet.
    fn hide(&mut self, name: &str) {
        let name = address::channel_name(name).unwrap_or_default();
        let Some(channel) = self.state.channels.get(&name) else {
            return;
        };
        let mut settings = Box::new(channel.settings.clone());
        settings.visibility = JidVisibility::Hidden;
        self.change(Change::Settings {
            channel: name,
            settings,
        });
    }

    fn add_static(&mut self, wanted: StaticChannel) {
        let StaticChannel {
            name,
            owners,
            hidden: _,
            phones,
        } = wanted;
        let Some(name) = address::channel_name(&name) else {
            return;
        };
        let settings = match self.state.channels.get(&name) {
            Some(kept) => Settings {
                owners: kept.settings.owners.union(&owners).cloned().collect(),
                ..kept.settings.clone()
            },
            None => Settings {
                name: name.clone(),
                ..Settings::fresh(owners, address::derived(&self.config.key, &name))
            },
        };
        let settings = Box::new(settings);
        let channel = name.clone();
        self.change(Change::Settings { channel, settings });
        self.set_phones(&name, &phones);
    }
}

const NS_PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// Gives a stanza that goes on its way another type, sender, addressee and id.
fn readdress(stanza: &mut Element, kind: &str, from: &Jid, to: &Jid, id: &str) {
    let values = [
        ("type", kind),
        ("from", from.as_str()),
        ("to", to.as_str()),
        ("id", id),
    ];
    for (name, value) in values {
        let name = NcName::try_from(name).expect("attribute names are literals of ours");
        stanza.set_attr(Namespace::NONE, name, value);
    }
}

/// What is told of a change that cannot be kept.
fn not_kept() -> StanzaError {
    StanzaError {
        kind: ErrorType::Wait,
        ..StanzaError::because(
            Condition::InternalServerError,
            "it cannot be kept at the moment",
        )
    }
}

/// What goes out instead of an answer that promises something which cannot be kept: the error.
pub fn taken_back(stanza: &Element) -> Option<Element> {
    if stanza.name() != "iq" || stanza.attr("type") != Some("result") {
        return None;
    }
    let ns = stanza.ns();
    let error = element("iq", &ns)
        .attr("type", "error")
        .attr_opt("from", stanza.attr("from"))
        .attr_opt("to", stanza.attr("to"))
        .attr_opt("id", stanza.attr("id"))
        .child(not_kept().element(&ns));
    Some(error.build())
}

/// An event or an answer with one kind of child: `<items node='…'>…</items>`.
fn items(ns: &str, node: Node, inner: impl IntoIterator<Item = Element>) -> Element {
    element("items", ns)
        .attr("node", node.as_str())
        .children(inner)
        .build()
}

/// `<item id='…'>…</item>`.
fn item(ns: &str, id: &str, inner: impl IntoIterator<Item = Element>) -> Element {
    element("item", ns).attr("id", id).children(inner).build()
}

#[cfg(test)]
mod tests;
