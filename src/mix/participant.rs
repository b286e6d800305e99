//! Joining, leaving, subscriptions and nicks (XEP-0369 §7.1, §8.1).

use std::collections::BTreeSet;
use std::time::Instant;

use jid::{BareJid, ResourcePart};
use minidom::Element;

use super::address::StableId;
use super::store::{Change, Channel, Node, Participant};
use super::{MAX_PARTICIPANTS, MAX_TEXT, Mix, NS_CORE, NS_PUBSUB_EVENT, Outcome, item, items};
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
        ns: &str,
    ) -> Outcome {
        let channel = self.channel(name)?;
        let jid = head.from.to_bare();
        if !channel.admits(&jid) || jid.node().is_none() {
            return Err(Condition::NotAllowed.into());
        }
        let id = StableId::of(&channel.settings.secret, &jid);
        let before = channel.participants.get(&id);
        if before.is_none() && channel.participants.len() >= MAX_PARTICIPANTS {
            return Err(Condition::ResourceConstraint.into());
        }
        let granted = granted(channel, &jid, join, "subscribe")?;
        let nick = match (nick_in(join), before.and_then(|p| p.nick.clone())) {
            (Some(wanted), _) => free_nick(channel, &id, &wanted)?,
            (None, Some(kept)) => kept,
            (None, None) => {
                return Err(StanzaError::because(
                    Condition::NotAcceptable,
                    "the channel wants a nick",
                ));
            }
        };
        let mut nodes = before.map(|p| p.nodes.clone()).unwrap_or_default();
        nodes.extend(&granted);
        let participant = Participant {
            jid: jid.clone(),
            nick: Some(nick.clone()),
            nodes,
            phone: false,
            clients: Default::default(),
        };
        let changed = before.is_none_or(|p| p.nick.as_ref() != Some(&nick));
        self.joined(name, &id, participant);
        let answer = element("join", ns)
            .attr("id", id.as_str())
            .children(granted.iter().map(|node| subscribe("subscribe", *node)))
            .child(element("nick", NS_CORE).text(&nick));
        self.out.result(head, Some(answer.build()));
        if changed {
            self.tell_participant(name, &id);
            self.show_again(name, &id);
        }
        if granted.contains(&Node::Presence) {
            self.show_all(name, &jid.clone().into());
        }
        self.probe(now, name, &jid);
        Ok(())
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
        let jid = &participant.jid;
        let unsubscribed: BTreeSet<Node> = named(update, "unsubscribe").collect();
        let granted = match granted(channel, jid, update, "subscribe") {
            Err(_) if !unsubscribed.is_empty() => BTreeSet::new(),
            granted => granted?,
        };
        let sees = granted.contains(&Node::Presence);
        participant.nodes.extend(&granted);
        participant
            .nodes
            .retain(|node| !unsubscribed.contains(node));
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
    pub(super) fn set_nick(&mut self, head: &StanzaHead, wish: &Element, name: &str) -> Outcome {
        let uuid = self.tokens.uuid();
        let (id, mut participant) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let nick = match nick_in(wish) {
            Some(wanted) => free_nick(channel, &id, &wanted)?,
            None => uuid,
        };
        let changed = participant.nick.as_ref() != Some(&nick);
        participant.nick = Some(nick.clone());
        self.joined(name, &id, participant);
        let nick = element("nick", NS_CORE).text(&nick);
        let answer = element("setnick", NS_CORE).child(nick).build();
        self.out.result(head, Some(answer));
        if changed {
            self.tell_participant(name, &id);
            self.show_again(name, &id);
        }
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
            .filter(|(_, p)| p.phone && phones.iter().all(|(jid, _)| *jid != p.jid))
            .map(|(id, _)| id.clone())
            .collect();
        let fresh: Vec<(StableId, Participant)> = phones
            .iter()
            .map(|(jid, nick)| {
                let id = StableId::of(&channel.settings.secret, jid);
                // A hidden channel does not tell the number.
                let nick = match channel.settings.hidden {
                    true => format!("phone {}", &id.as_str()[..4]),
                    false => nick.clone(),
                };
                let participant = Participant {
                    jid: jid.clone(),
                    nick: Some(nick),
                    nodes: BTreeSet::new(),
                    phone: true,
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

    fn joined(&mut self, name: &str, id: &StableId, participant: Participant) {
        self.change(Change::Joined {
            channel: name.to_owned(),
            id: id.clone(),
            participant: Box::new(participant),
        });
    }

    /// Tells who joined, or is called otherwise now.
    fn tell_participant(&mut self, name: &str, id: &StableId) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let Some(participant) = channel.participants.get(id) else {
            return;
        };
        let what = participant_element(channel, participant);
        let news = item(NS_PUBSUB_EVENT, id.as_str(), [what]);
        let news = items(NS_PUBSUB_EVENT, Node::Participants, [news]);
        self.event(name, Node::Participants, news, None);
    }
}

/// What the participants node says of somebody.
pub(super) fn participant_element(channel: &Channel, participant: &Participant) -> Element {
    let mut writer = element("participant", NS_CORE);
    if let Some(nick) = &participant.nick {
        writer = writer.child(element("nick", NS_CORE).text(nick));
    }
    if !channel.settings.hidden {
        writer = writer.child(element("jid", NS_CORE).text(participant.jid.as_str()));
    }
    writer.build()
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
    jid: &BareJid,
    parent: &Element,
    name: &'static str,
) -> Result<BTreeSet<Node>, StanzaError> {
    let is_asked = parent.children().any(|c| c.name() == name);
    let granted: BTreeSet<Node> = named(parent, name)
        .filter(|node| channel.has(*node) && channel.opens(*node, jid))
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

fn free_nick(channel: &Channel, id: &StableId, nick: &str) -> Result<String, StanzaError> {
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
