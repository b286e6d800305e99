//! Messages to the channel (XEP-0369 §7.2) and private ones through it (XEP-0404 §4.2); the latter
//! also begin calls (XEP-0353).

use jid::BareJid;
use minidom::Element;

use super::address::{self, Encoded};
use super::participant::shown_nick;
use super::store::Node;
use super::{Mix, NS_CORE, NS_MISC, Outcome, anonymity, readdress};
use crate::xmpp::stanza::{Condition, MessageType, StanzaHead, element};

const NS_STANZA_ID: &str = "urn:xmpp:sid:0";

impl Mix {
    /// A message to everybody.
    pub(super) fn message(
        &mut self,
        kind: MessageType,
        head: &StanzaHead,
        stanza: &Element,
        name: &str,
    ) -> Outcome {
        match kind {
            // What comes back from somebody's server goes to nobody.
            MessageType::Error => return Ok(()),
            MessageType::Groupchat => {}
            MessageType::Normal | MessageType::Chat | MessageType::Headline => {
                self.channel(name)?;
                return Err(Condition::BadRequest.into());
            }
        }
        match stanza.get_child("retract", NS_MISC) {
            Some(retract) => self.take_back(head, stanza, retract, name),
            None => self.tell_everybody(head, stanza, name),
        }
    }

    /// Sends a message to all who hear messages, and keeps it.
    pub(super) fn tell_everybody(
        &mut self,
        head: &StanzaHead,
        stanza: &Element,
        name: &str,
    ) -> Outcome {
        let (sender_id, sender) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let wanted = sender.preferences.visibility;
        let hidden = channel.hides(wanted);
        let subscribers: Vec<(BareJid, bool)> = channel
            .subscribers(Node::Messages)
            .into_iter()
            .map(|to| {
                let names = channel.names(wanted, &to);
                (to, names)
            })
            .collect();
        let nick = shown_nick(channel, &sender_id, &sender);
        let own = self.channel_jid(name);
        let from = own.with_resource_str(sender_id.as_str());
        let from = from.map_err(|_| Condition::JidMalformed)?;
        let shown = address::encode(&self.config.domain, name, &sender_id, None);
        let id = self.tokens.uuid();
        let nick = nick.map(|nick| element("nick", NS_CORE).text(&nick).build());
        let jid = element("jid", NS_CORE).text(sender.jid.as_str()).build();
        let mix = |names: bool| {
            element("mix", NS_CORE)
                .children(nick.clone())
                .children(names.then(|| jid.clone()))
                .build()
        };
        let payload = stanza
            .children()
            .filter(|c| c.name() != "mix" && !c.is("stanza-id", NS_STANZA_ID));
        let stanza_id = element("stanza-id", NS_STANZA_ID)
            .attr("id", &id)
            .attr("by", own.as_str())
            .build();
        let mut message = element("message", self.out.ns())
            .attr("type", "groupchat")
            .attr("from", from.as_str())
            .attr("id", &id)
            .children(payload.cloned())
            .build();
        if let (true, Some(shown)) = (hidden, shown) {
            anonymity::mask(&mut message, &head.from, &shown);
        }
        // XEP-0404 §3.3: the archive tells nobody more than everybody may know.
        let mut kept = message.clone();
        kept.append_child(mix(!hidden));
        kept.append_child(stanza_id.clone());
        self.archive(name, &id, &kept);
        for (to, names) in subscribers {
            let mut copy = message.clone();
            copy.append_child(mix(names));
            copy.append_child(stanza_id.clone());
            // COMPAT(ejabberd, 23.01): its mod_mix_pam looks for `<mix/>` without namespace, and
            // bounces what has none.
            if self.config.ejabberd_domains.contains(to.domain().as_str()) {
                copy.append_child(element("mix", "").build());
            }
            let from = from.clone().into();
            readdress(&mut copy, "groupchat", &from, &to.into(), &id);
            self.out.forward(copy);
        }
        Ok(())
    }

    /// A message to one participant, or one of its clients.
    pub(super) fn private_message(
        &mut self,
        kind: MessageType,
        head: &StanzaHead,
        stanza: &Element,
        to: &Encoded,
    ) -> Outcome {
        match kind {
            MessageType::Groupchat => return Err(Condition::BadRequest.into()),
            MessageType::Normal
            | MessageType::Chat
            | MessageType::Headline
            | MessageType::Error => {}
        }
        let (sender_id, _) = self.participant(&to.channel, head)?;
        let channel = self.channel(&to.channel)?;
        let target = to.id.as_ref().and_then(|id| channel.participants.get(id));
        let target = target.ok_or(Condition::ItemNotFound)?;
        if !channel.settings.private_messages || target.preferences.blocks_messages {
            return Err(Condition::NotAllowed.into());
        }
        let hidden = channel.hides_id(&sender_id);
        let real = self.real_jid(to).ok_or(Condition::ServiceUnavailable)?;
        let from = head.from.resource().map(|r| r.as_str());
        let from = self.shown_jid(&to.channel, &sender_id, from);
        let from = from.ok_or(Condition::JidMalformed)?;
        let mut relayed = stanza.clone();
        if hidden {
            anonymity::mask(&mut relayed, &head.from, &from);
            anonymity::blank_error(&mut relayed);
        }
        let id = match &head.id {
            Some(id) => id.clone(),
            None => self.out.fresh_id(),
        };
        readdress(&mut relayed, kind.as_str(), &from, &real, &id);
        self.out.forward(relayed);
        Ok(())
    }
}
