//! The presence node (XEP-0403 §3.3, §4): what clients send to the channel is kept and goes to the
//! bare JID of each subscriber, from the encoded JID of the client. Never by pubsub.
//!
//! Clients of which nothing is heard for long are asked by disco#info whether they are still there
//! (XEP-0403 §4.3): servers do not always answer a channel's probes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::{BareJid, Jid};
use minidom::Element;
use tracing::debug;

use super::address::{self, Encoded, StableId};
use super::clients::{self, Clients, Texts};
use super::store::{Change, Channel, Node, Participant};
use super::{MAX_CLIENTS, Mix, NS_PRESENCE, NS_PRESENCE_LEGACY, anonymity, participant};
use crate::timer::Timers;
use crate::xmpp::stanza::{
    Condition, IqType, Kind, MAX_ID, PresenceType, StanzaError, StanzaHead, element,
};
use crate::xmpp::{decloak, disco};

/// A client that says nothing for this long is asked whether it is there.
pub(super) const SILENCE: Duration = Duration::from_secs(6 * 3600);
/// How long it may take to answer, and how long an old presence is believed after a start.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of what a client adds to its presence at most: it goes to everybody, and stays.
const MAX_PAYLOAD: usize = 16 * 1024;
/// Questions that go out at once after a start, and the pause before the next: the link holds a
/// limited number of stanzas.
const BURST: usize = 500;
const PAUSE: Duration = Duration::from_millis(100);

/// Channel, participant, real resource: as cheap to clone as it is often held.
type Client = (Arc<str>, StableId, Arc<str>);

/// One client of a participant.
#[derive(Clone, Copy)]
struct OneClient<'a> {
    /// Of the channel.
    name: &'a str,
    channel: &'a Channel,
    id: &'a StableId,
    participant: &'a Participant,
    /// The real one.
    resource: &'a str,
}

impl OneClient<'_> {
    /// What it last sent, if it is there.
    fn presence(&self) -> Option<Vec<Element>> {
        let presence = self.participant.clients.get(self.resource)?;
        Some(clients::read(presence))
    }

    /// Whether that user learns the JID behind it.
    fn is_named_to(&self, user: &BareJid) -> bool {
        let wanted = self.participant.preferences.visibility;
        self.channel.names(wanted, user)
    }
}

fn clients_of<'a>(
    name: &'a str,
    channel: &'a Channel,
    id: &'a StableId,
    participant: &'a Participant,
) -> impl Iterator<Item = OneClient<'a>> {
    let resources = participant.clients.resources();
    resources.map(move |resource| OneClient {
        name,
        channel,
        id,
        participant,
        resource,
    })
}

/// Who is to be asked whether it is there, and who has been.
#[derive(Default)]
pub(super) struct Watch {
    timers: Timers<Client>,
    /// By id of our question. As many as there are clients at most.
    asked: BTreeMap<String, Client>,
    question_of: BTreeMap<Client, String>,
    /// The names in the keys above, each once.
    names: Texts,
    /// Who is to be probed after a start. As many as there are participants at most.
    probes: VecDeque<(String, BareJid)>,
    next_probes: Option<Instant>,
}

impl Watch {
    pub(super) fn soonest(&self) -> Option<Instant> {
        [self.timers.soonest(), self.next_probes]
            .into_iter()
            .flatten()
            .min()
    }

    fn client(&mut self, name: &str, id: &StableId, resource: &str) -> Client {
        (
            self.names.share(name),
            id.clone(),
            self.names.share(resource),
        )
    }

    fn seen(&mut self, now: Instant, client: Client) {
        self.ask_at(now + SILENCE, client);
    }

    /// Asks at that time whether the client is there.
    fn ask_at(&mut self, at: Instant, client: Client) {
        if let Some(id) = self.question_of.remove(&client) {
            self.asked.remove(&id);
        }
        self.timers.set(client, at);
    }

    fn forget(&mut self, client: &Client) {
        if let Some(id) = self.question_of.remove(client) {
            self.asked.remove(&id);
        }
        self.timers.stop(client);
    }
}

impl Mix {
    pub(super) fn presence_to_channel(
        &mut self,
        now: Instant,
        kind: PresenceType,
        head: &StanzaHead,
        stanza: &Element,
        name: &str,
    ) {
        let from = &head.from;
        let channel = self.state.channels.get(name);
        let Some(id) = channel.and_then(|c| c.id_of(&from.to_bare())) else {
            return;
        };
        let own: Jid = self.channel_jid(name).into();
        let resource = from.resource().map(|r| r.as_str().to_owned());
        match (kind, resource) {
            (PresenceType::Available, Some(resource)) => {
                self.present(now, name, &id, resource, stanza);
            }
            // XEP-0405 §4.2: the bare JID asks for everything again.
            (PresenceType::Available, None) | (PresenceType::Probe, _) => self.show_all(name, from),
            (PresenceType::Unavailable, Some(resource)) => {
                self.gone(name, &id, &resource, status(stanza));
            }
            (PresenceType::Subscribe, _) => {
                let to = from.to_bare().into();
                self.out.presence(PresenceType::Subscribed, &own, &to, []);
            }
            (PresenceType::Unsubscribe, _) => {
                let to = from.to_bare().into();
                self.out.presence(PresenceType::Unsubscribed, &own, &to, []);
            }
            // The participant does not share its presence any more.
            (PresenceType::Unsubscribed, _) => self.hide_all(name, &id),
            (PresenceType::Unavailable, None)
            | (PresenceType::Subscribed, _)
            | (PresenceType::Error, _) => {}
        }
    }

    /// Presence to a participant is no part of MIX, but asking for it is how a call begins
    /// (XEP-0276): what is kept is shown.
    pub(super) fn presence_to_participant(
        &mut self,
        kind: PresenceType,
        head: &StanzaHead,
        stanza: &Element,
        to: &Encoded,
    ) {
        let asks = match kind {
            PresenceType::Probe => true,
            PresenceType::Available => decloak::requested(stanza).is_some(),
            _ => false,
        };
        let channel = self.state.channels.get(&to.channel);
        let (true, Some(channel), Some(id)) = (asks, channel, &to.id) else {
            return;
        };
        if channel.id_of(&head.from.to_bare()).is_none() {
            return;
        }
        let Some(participant) = channel.participants.get(id) else {
            return;
        };
        let all = clients_of(&to.channel, channel, id, participant);
        let shown: Vec<Element> = all.filter_map(|one| self.shown(one, &head.from)).collect();
        for presence in shown {
            self.send_to(presence, &head.from);
        }
    }

    fn present(
        &mut self,
        now: Instant,
        name: &str,
        id: &StableId,
        resource: String,
        stanza: &Element,
    ) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let Some(participant) = channel.participants.get(id) else {
            return;
        };
        let wanted = participant.preferences;
        if wanted.hides_presence || !channel.has(Node::Presence) {
            return;
        }
        let hidden = channel.hides(wanted.visibility);
        let shared = stanza
            .children()
            .filter(|child| is_shared(child, hidden, self.out.ns()));
        let presence = clients::written(shared.cloned());
        let size = presence.len();
        let known = participant.clients.get(&resource);
        let full = known.is_none() && participant.clients.len() >= MAX_CLIENTS;
        if full || size > MAX_PAYLOAD {
            debug!(size, "presence is too large, or there are too many clients");
            return;
        }
        let same = known.is_some_and(|known| **known == *presence);
        let client = self.watch.client(name, id, &resource);
        self.watch.seen(now, client);
        // COMPAT(ejabberd, 23.01): sends it twice if the channel is in the roster too.
        if same {
            return;
        }
        self.remember_resource(name, id, &resource);
        self.change(Change::Present {
            channel: name.to_owned(),
            id: id.clone(),
            resource: resource.clone(),
            presence,
        });
        self.show(name, id, &resource);
    }

    /// A client has gone.
    fn gone(&mut self, name: &str, id: &StableId, resource: &str, payload: Option<Element>) {
        let Some(one) = self.one_client(name, id, resource) else {
            return;
        };
        if one.participant.clients.get(resource).is_none() {
            return;
        }
        let told = self.told(one, PresenceType::Unavailable, payload.as_slice());
        let client = self.watch.client(name, id, resource);
        self.watch.forget(&client);
        self.change(Change::Gone {
            channel: name.to_owned(),
            id: id.clone(),
            resource: resource.to_owned(),
        });
        self.tell(told);
    }

    /// Takes every client of a participant away, to be shown otherwise by [`Self::present_again`].
    pub(super) fn withdraw(&mut self, name: &str, id: &StableId) -> Clients {
        let channel = self.state.channels.get(name);
        let Some(participant) = channel.and_then(|c| c.participants.get(id)) else {
            return Clients::default();
        };
        let clients = participant.clients.clone();
        self.hide_all(name, id);
        clients
    }

    /// Shows clients again whose participant is seen otherwise than before: as if each had sent its
    /// presence once more.
    pub(super) fn present_again(
        &mut self,
        now: Instant,
        name: &str,
        id: &StableId,
        clients: &Clients,
    ) {
        for (resource, presence) in clients.iter() {
            let presence = element("presence", self.out.ns()).children(clients::read(presence));
            self.present(now, name, id, resource.to_owned(), &presence.build());
        }
    }

    /// Takes every client of a participant away.
    pub(super) fn hide_all(&mut self, name: &str, id: &StableId) {
        let channel = self.state.channels.get(name);
        let Some(participant) = channel.and_then(|c| c.participants.get(id)) else {
            return;
        };
        let resources: Vec<String> = participant.clients.resources().map(str::to_owned).collect();
        for resource in resources {
            self.gone(name, id, &resource, None);
        }
    }

    /// Shows every client of a participant again, whose nick has changed.
    pub(super) fn show_again(&mut self, name: &str, id: &StableId) {
        let channel = self.state.channels.get(name);
        let Some(participant) = channel.and_then(|c| c.participants.get(id)) else {
            return;
        };
        let resources: Vec<String> = participant.clients.resources().map(str::to_owned).collect();
        for resource in resources {
            self.show(name, id, &resource);
        }
    }

    fn show(&mut self, name: &str, id: &StableId, resource: &str) {
        let Some(one) = self.one_client(name, id, resource) else {
            return;
        };
        let Some(payload) = one.presence() else {
            return;
        };
        let told = self.told(one, PresenceType::Available, &payload);
        self.tell(told);
    }

    fn one_client<'a>(
        &'a self,
        name: &'a str,
        id: &'a StableId,
        resource: &'a str,
    ) -> Option<OneClient<'a>> {
        let channel = self.state.channels.get(name)?;
        Some(OneClient {
            name,
            channel,
            id,
            participant: channel.participants.get(id)?,
            resource,
        })
    }

    /// What each subscriber is told of a client: the same, but for who is behind it.
    fn told(
        &self,
        one: OneClient<'_>,
        kind: PresenceType,
        payload: &[Element],
    ) -> [(Option<Element>, Vec<BareJid>); 2] {
        let subscribers = one.channel.subscribers(Node::Presence).into_iter();
        let (named, unnamed): (Vec<_>, Vec<_>) = subscribers.partition(|to| one.is_named_to(to));
        [(true, named), (false, unnamed)].map(|(names, to)| {
            let heard = !to.is_empty();
            let presence = heard.then(|| self.presence_of(one, kind, payload, names));
            (presence.flatten(), to)
        })
    }

    fn tell(&mut self, told: [(Option<Element>, Vec<BareJid>); 2]) {
        for (presence, subscribers) in told {
            let Some(presence) = presence else { continue };
            for to in subscribers {
                self.send_to(presence.clone(), &to.into());
            }
        }
    }

    /// Shows everybody's clients to one (XEP-0405 §4.2).
    pub(super) fn show_all(&mut self, name: &str, to: &Jid) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let mut all = Vec::new();
        for (id, participant) in &channel.participants {
            let clients = clients_of(name, channel, id, participant);
            all.extend(clients.filter_map(|one| self.shown(one, to)));
        }
        for presence in all {
            self.send_to(presence, to);
        }
    }

    fn shown(&self, one: OneClient<'_>, to: &Jid) -> Option<Element> {
        let names = one.is_named_to(&to.to_bare());
        self.presence_of(one, PresenceType::Available, &one.presence()?, names)
    }

    /// A presence as it is distributed, but for its addressee and its id; with the JID if it `names` who is
    /// behind it.
    fn presence_of(
        &self,
        one: OneClient<'_>,
        kind: PresenceType,
        payload: &[Element],
        names: bool,
    ) -> Option<Element> {
        let OneClient {
            name,
            channel,
            id,
            participant,
            resource,
        } = one;
        let shown = anonymity::shown_resource(channel, id, resource);
        let from = address::encode(&self.config.domain, name, id, Some(&shown))?;
        let nick = participant::shown_nick(channel, id, participant);
        let mix = |ns: &str| {
            let mut mix = element("mix", ns);
            if names {
                let full = format!("{}/{resource}", participant.jid);
                mix = mix.child(element("jid", ns).text(&full));
            }
            if let Some(nick) = &nick {
                mix = mix.child(element("nick", ns).text(nick));
            }
            mix.build()
        };
        let legacy = self.config.legacy_presence;
        let kind = Some(kind.as_str()).filter(|word| !word.is_empty());
        let presence = element("presence", self.out.ns())
            .attr_opt("type", kind)
            .attr("from", from.as_str())
            .child(mix(NS_PRESENCE))
            .children(legacy.then(|| mix(NS_PRESENCE_LEGACY)))
            .children(payload.iter().cloned());
        Some(presence.build())
    }

    fn send_to(&mut self, mut presence: Element, to: &Jid) {
        use minidom::rxml::{Namespace, NcName};
        let id = self.tokens.uuid();
        for (name, value) in [("to", to.as_str()), ("id", id.as_str())] {
            let name = NcName::try_from(name).expect("attribute names are literals of ours");
            presence.set_attr(Namespace::NONE, name, value);
        }
        self.out.forward(presence);
    }

    /// Asks a participant's server for its presence.
    pub(super) fn probe(&mut self, _now: Instant, name: &str, to: &BareJid) {
        let own: Jid = self.channel_jid(name).into();
        let to = to.clone().into();
        self.out.presence(PresenceType::Probe, &own, &to, []);
    }

    /// After a start: probes every participant, and doubts every client until it is heard of.
    pub(super) fn ask_everybody(&mut self, now: Instant) {
        self.watch.probes.clear();
        for (name, channel) in &self.state.channels {
            for (id, participant) in &channel.participants {
                // XEP-0404 §4.1: who does not share its presence is not asked for it.
                if participant.preferences.hides_presence {
                    continue;
                }
                let probe = (name.clone(), participant.jid.clone());
                self.watch.probes.push_back(probe);
                for resource in participant.clients.resources() {
                    let client = self.watch.client(name, id, resource);
                    self.watch.ask_at(now, client);
                }
            }
        }
        self.watch.next_probes = (!self.watch.probes.is_empty()).then_some(now);
        self.watch_timeout(now);
    }

    pub(super) fn watch_timeout(&mut self, now: Instant) {
        if self.watch.next_probes.is_some_and(|at| at <= now) {
            for _ in 0..BURST {
                let Some((name, to)) = self.watch.probes.pop_front() else {
                    break;
                };
                if self.state.channels.contains_key(&name) {
                    self.probe(now, &name, &to);
                }
            }
            let more = !self.watch.probes.is_empty();
            self.watch.next_probes = more.then_some(now + PAUSE);
        }
        for _ in 0..BURST {
            let Some(client) = self.watch.timers.pop_due(now) else {
                return;
            };
            if let Some(id) = self.watch.question_of.remove(&client) {
                self.watch.asked.remove(&id);
                self.gone(&client.0, &client.1, &client.2, None);
            } else {
                self.ask(now, client);
            }
        }
    }

    fn ask(&mut self, now: Instant, client: Client) {
        let (name, id, resource) = &client;
        let channel = self.state.channels.get(&**name);
        let Some(participant) = channel.and_then(|c| c.participants.get(id)) else {
            return;
        };
        let Some(to) = address::with_resource(&participant.jid, Some(resource)) else {
            return;
        };
        let own: Jid = self.channel_jid(name).into();
        let query = element("query", disco::NS_INFO).build();
        let question = self.out.iq(IqType::Get, &own, &to, query);
        self.watch.timers.set(client.clone(), now + PATIENCE);
        self.watch.asked.insert(question.clone(), client.clone());
        self.watch.question_of.insert(client, question);
    }

    /// The answer to a question of ours: only some errors say that nobody is there.
    pub(super) fn ghost_answer(&mut self, now: Instant, head: &StanzaHead, stanza: &Element) {
        let Some(client) = self.watch.asked.get(head.id()).cloned() else {
            return;
        };
        let channel = self.state.channels.get(&*client.0);
        let Some(participant) = channel.and_then(|c| c.participants.get(&client.1)) else {
            return;
        };
        if participant.jid != head.from.to_bare() {
            return;
        }
        let absent = match head.kind {
            Kind::Iq(IqType::Error) => is_absence(&StanzaError::read(stanza)),
            _ => false,
        };
        match absent {
            true => self.gone(&client.0, &client.1, &client.2, None),
            false => self.watch.seen(now, client),
        }
    }
}

fn is_absence(error: &StanzaError) -> bool {
    matches!(
        error.condition,
        Condition::ServiceUnavailable
            | Condition::RecipientUnavailable
            | Condition::ItemNotFound
            | Condition::Gone
            | Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
    )
}

/// True for what the channel passes on: nothing that looks like its own words or a MUC's, and in a
/// hidden channel only what cannot name anybody.
fn is_shared(child: &Element, hidden: bool, stanza_ns: &str) -> bool {
    let ns = child.ns();
    let spoofs = child.name() == "mix" || ns.starts_with("http://jabber.org/protocol/muc");
    let plain = [stanza_ns, crate::xmpp::caps::NS_CAPS, "urn:xmpp:idle:1"];
    !spoofs && (!hidden || plain.contains(&ns.as_str()))
}

fn status(stanza: &Element) -> Option<Element> {
    let status = stanza.children().find(|c| c.name() == "status")?;
    (String::from(status).len() <= MAX_ID).then(|| status.clone())
}
