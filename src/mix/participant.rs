//! Joining, leaving, subscriptions and nicks (XEP-0369 §7.1, §8.1).

use std::collections::BTreeSet;
use std::time::Instant;

use jid::{BareJid, ResourcePart};
use minidom::Element;

use super::address::StableId;
use super::clients::Nodes;
use super::preferences::Preferences;
use super::rights::Role;
use super::store::{Change, Channel, Node, Participant};
use super::{
    MAX_PARTICIPANTS, MAX_TEXT, Mix, NS_ANON, NS_CORE, NS_PUBSUB_EVENT, Outcome, form, item, items,
};
use crate::xmpp::stanza::{Condition, StanzaError, StanzaHead, element};

impl Mix {
    /// Joins, or joins once more: that is the same with perhaps another nick and more nodes, since
    /// servers repeat joins. The JID may be full: servers that know no MIX leave joining to clients.
    pub(super) fn join(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        join: &Element,
        name: &str,
    ) -> Outcome {
        let fresh_nick = self.tokens.uuid();
        let channel = self.channel(name)?;
        let jid = head.from.to_bare();
        let is_let_in = self.admission(channel, name, &jid, join)?;
        let id = StableId::of(&channel.settings.secret, &jid);
        let before = channel.participants.get(&id);
        if before.is_none() && channel.participants.len() >= MAX_PARTICIPANTS {
            return Err(Condition::ResourceConstraint.into());
        }
        let granted = granted(channel, channel.role(&jid), join, "subscribe")?;
        let form = form::submitted(join, NS_ANON);
        let preferences = before.map(|p| p.preferences).unwrap_or_default();
        let preferences = match form {
            Some(form) => preferences.with(form, channel)?,
            None => preferences,
        };
        let nick = match (nick_in(join), before.and_then(|p| p.nick.clone())) {
            (Some(wanted), _) => Some(free_nick(channel, &id, &wanted)?),
            (None, Some(kept)) => Some(kept),
            (None, None) if channel.settings.mandatory_nicks => {
                return Err(StanzaError::because(
                    Condition::NotAcceptable,
                    "the channel wants a nick",
                ));
            }
            // XEP-0403 §4.1: who is hidden has one.
            (None, None) => channel.hides(preferences.visibility).then_some(fresh_nick),
        };
        let mut nodes = before.map(|p| p.nodes).unwrap_or_default();
        nodes.extend(granted.iter().copied());
        let participant = Participant {
            jid: jid.clone(),
            nick: nick.clone(),
            nodes,
            phone: self.is_phone(&jid),
            fixed: before.is_some_and(|p| p.fixed),
            preferences,
            clients: Default::default(),
        };
        let reported = form.map(|_| preferences.form("result", channel));
        let answer = element("join", &join.ns())
            .attr("id", id.as_str())
            .children(granted.iter().map(|node| subscribe("subscribe", *node)))
            .children(nick.map(|nick| element("nick", NS_CORE).text(&nick).build()))
            .children(reported);
        if is_let_in {
            self.let_in(name, &jid)?;
        }
        self.out.result(head, Some(answer.build()));
        self.renew(now, name, &id, participant);
        if granted.contains(&Node::Presence) {
            self.show_all(name, &jid.clone().into());
        }
        if !preferences.hides_presence {
            self.probe(now, name, &jid);
        }
        Ok(())
    }

    /// True for a number of this gateway.
    pub(super) fn is_phone(&self, jid: &BareJid) -> bool {
        let phones = self.config.phones.as_deref();
        phones.is_some_and(|phones| jid.domain() == phones)
    }

    /// Leaves. Who is not there has left already.
    pub(super) fn leave(&mut self, head: &StanzaHead, name: &str, ns: &str) -> Outcome {
        self.out.result(head, Some(element("leave", ns).build()));
        let jid = head.from.to_bare();
        let channel = self.state.channels.get(name);
        if let Some(id) = channel.and_then(|c| c.id_of(&jid)) {
            self.remove(name, &id);
        }
        Ok(())
    }

    /// Takes a participant out: presence first, then the news that it has left.
    pub(super) fn remove(&mut self, name: &str, id: &StableId) {
        self.part(name, id);
        self.hide_all(name, id);
        self.relay_forget(name, id);
        let (channel, id) = (name.to_owned(), id.clone());
        let retract = element("retract", NS_PUBSUB_EVENT).attr("id", id.as_str());
        let news = items(NS_PUBSUB_EVENT, Node::Participants, [retract.build()]);
        self.change(Change::Left { channel, id });
        self.event(name, Node::Participants, news, None);
    }

    /// Changes what a participant hears (XEP-0369 §7.1.5).
    pub(super) fn update_subscription(
        &mut self,
        head: &StanzaHead,
        update: &Element,
        name: &str,
    ) -> Outcome {
        let (id, mut participant) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let role = channel.role(&participant.jid);
        let unsubscribed: BTreeSet<Node> = named(update, "unsubscribe").collect();
        let granted = match granted(channel, role, update, "subscribe") {
            Err(_) if !unsubscribed.is_empty() => BTreeSet::new(),
            granted => granted?,
        };
        let sees = granted.contains(&Node::Presence);
        participant.nodes.extend(granted.iter().copied());
        for node in &unsubscribed {
            participant.nodes.remove(*node);
        }
        let jid = participant.jid.clone();
        self.joined(name, &id, participant);
        let answer = element("update-subscription", NS_CORE)
            .attr("jid", jid.as_str())
            .children(granted.into_iter().map(|n| subscribe("subscribe", n)))
            .children(
                unsubscribed
                    .into_iter()
                    .map(|n| subscribe("unsubscribe", n)),
            );
        self.out.result(head, Some(answer.build()));
        if sees {
            self.show_all(name, &jid.into());
        }
        Ok(())
    }

    /// Changes a nick (XEP-0369 §7.1.7). Without one the service gives one.
    pub(super) fn set_nick(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        wish: &Element,
        name: &str,
    ) -> Outcome {
        let uuid = self.tokens.uuid();
        let (id, mut participant) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let nick = match nick_in(wish) {
            Some(wanted) => free_nick(channel, &id, &wanted)?,
            None => uuid,
        };
        participant.nick = Some(nick.clone());
        let nick = element("nick", NS_CORE).text(&nick);
        let answer = element("setnick", NS_CORE).child(nick).build();
        self.out.result(head, Some(answer));
        self.renew(now, name, &id, participant);
        Ok(())
    }

    /// The participant that asks.
    pub(super) fn participant(
        &self,
        name: &str,
        head: &StanzaHead,
    ) -> Result<(StableId, Participant), StanzaError> {
        let channel = self.channel(name)?;
        let id = channel.id_of(&head.from.to_bare());
        let found = id.and_then(|id| {
            let participant = channel.participants.get(&id)?.clone();
            Some((id, participant))
        });
        found.ok_or(Condition::Forbidden.into())
    }

    /// Sets the numbers that take part by the configuration.
    pub(super) fn set_phones(&mut self, name: &str, phones: &[(BareJid, String)]) {
        let Ok(channel) = self.channel(name) else {
            return;
        };
        let gone: Vec<StableId> = channel
            .participants
            .iter()
            .filter(|(_, p)| p.fixed && phones.iter().all(|(jid, _)| *jid != p.jid))
            .map(|(id, _)| id.clone())
            .collect();
        let fresh: Vec<(StableId, Participant)> = phones
            .iter()
            .filter(|(jid, _)| !channel.bans(jid))
            .map(|(jid, nick)| {
                let id = StableId::of(&channel.settings.secret, jid);
                let before = channel.participants.get(&id);
                let participant = Participant {
                    jid: jid.clone(),
                    nick: Some(nick.clone()),
                    nodes: Nodes::default(),
                    phone: true,
                    fixed: true,
                    preferences: before.map(|p| p.preferences).unwrap_or_default(),
                    clients: Default::default(),
                };
                (id, participant)
            })
            .collect();
        for id in gone {
            self.remove(name, &id);
        }
        for (id, participant) in fresh {
            self.joined(name, &id, participant);
        }
    }

    /// Somebody has joined, or has another nick or other preferences: tells the others what they see of
    /// that.
    pub(super) fn renew(
        &mut self,
        now: Instant,
        name: &str,
        id: &StableId,
        participant: Participant,
    ) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let before = channel.participants.get(id);
        let renamed = before.is_none_or(|p| p.nick != participant.nick);
        let wanted = participant.preferences;
        let hides = |of: Preferences| channel.hides(of.visibility);
        let shown_otherwise = before.is_some_and(|p| hides(p.preferences) != hides(wanted));
        // XEP-0404 §2.4: its clients appear under other resources.
        let clients = shown_otherwise.then(|| self.withdraw(name, id));
        if wanted.hides_presence {
            self.hide_all(name, id);
        }
        self.joined(name, id, participant);
        if renamed || shown_otherwise {
            self.tell_participant(name, id);
        }
        match clients {
            Some(clients) => self.present_again(now, name, id, &clients),
            None if renamed => self.show_again(name, id),
            None => {}
        }
    }

    fn joined(&mut self, name: &str, id: &StableId, participant: Participant) {
        self.change(Change::Joined {
            channel: name.to_owned(),
            id: id.clone(),
            participant: Box::new(participant),
        });
    }

    /// Tells who joined, or is called otherwise now.
    pub(super) fn tell_participant(&mut self, name: &str, id: &StableId) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let Some(participant) = channel.participants.get(id) else {
            return;
        };
        let what = participant_element(channel, id, participant);
        let news = item(NS_PUBSUB_EVENT, id.as_str(), [what]);
        let news = items(NS_PUBSUB_EVENT, Node::Participants, [news]);
        self.event(name, Node::Participants, news, None);
    }
}

/// What the participants node says of somebody.
pub(super) fn participant_element(
    channel: &Channel,
    id: &StableId,
    participant: &Participant,
) -> Element {
    let nick = shown_nick(channel, id, participant);
    let jid = (!channel.hides(participant.preferences.visibility)).then_some(&participant.jid);
    element("participant", NS_CORE)
        .children(nick.map(|nick| element("nick", NS_CORE).text(&nick).build()))
        .children(jid.map(|jid| element("jid", NS_CORE).text(jid.as_str()).build()))
        .build()
}

/// The nick as others see it: that of a phone is often its number, which a hidden one does not tell.
pub(super) fn shown_nick(
    channel: &Channel,
    id: &StableId,
    participant: &Participant,
) -> Option<String> {
    match participant.phone && channel.hides(participant.preferences.visibility) {
        true => Some(format!("phone {}", id.as_str().get(..4)?)),
        false => participant.nick.clone(),
    }
}

fn subscribe(name: &'static str, node: Node) -> Element {
    element(name, NS_CORE).attr("node", node.as_str()).build()
}

/// The known nodes that children of this name ask for.
fn named(parent: &Element, name: &'static str) -> impl Iterator<Item = Node> {
    let children = parent.children().filter(move |c| c.name() == name);
    children.filter_map(|c| Node::parse(c.attr("node")?))
}

/// What may be subscribed of what is asked for; if that is nothing, why not (XEP-0369 §7.1.2).
fn granted(
    channel: &Channel,
    role: Role,
    parent: &Element,
    name: &'static str,
) -> Result<BTreeSet<Node>, StanzaError> {
    let is_asked = parent.children().any(|c| c.name() == name);
    // Who asks takes part, or is about to.
    let role = role.max(Role::Participant);
    let granted: BTreeSet<Node> = named(parent, name)
        .filter(|node| channel.has(*node) && channel.opens(*node, role))
        .collect();
    if !is_asked || !granted.is_empty() {
        return Ok(granted);
    }
    let forbidden = named(parent, name).any(|node| channel.has(node));
    Err(match forbidden {
        true => Condition::Forbidden.into(),
        false => Condition::ItemNotFound.into(),
    })
}

fn nick_in(parent: &Element) -> Option<String> {
    let nick = parent.children().find(|c| c.name() == "nick")?.text();
    (!nick.trim().is_empty()).then_some(nick)
}

/// How nicks are told apart and written: near RFC 8266, whose tables the program does not have; the
/// resource profile of RFC 7622 stands in for its normalization.
fn enforced(nick: &str) -> Option<String> {
    let words: Vec<&str> = nick.split_whitespace().collect();
    let joined = words.join(" ");
    if joined.is_empty() || joined.chars().count() > MAX_TEXT {
        return None;
    }
    let checked = ResourcePart::new(&joined).ok()?;
    Some(checked.as_str().to_owned())
}

pub(super) fn free_nick(
    channel: &Channel,
    id: &StableId,
    nick: &str,
) -> Result<String, StanzaError> {
    let nick = enforced(nick).ok_or(Condition::NotAcceptable)?;
    let folded = nick.to_lowercase();
    let taken = channel.participants.iter().any(|(other, p)| {
        other != id && p.nick.as_ref().is_some_and(|n| n.to_lowercase() == folded)
    });
    match taken {
        true => Err(Condition::Conflict.into()),
        false => Ok(nick),
    }
}
