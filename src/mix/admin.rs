//! Channels and their settings (XEP-0369 §8, XEP-0406): creating, destroying, name and description,
//! roles, who may join.

use std::collections::BTreeSet;
use std::time::Instant;

use jid::BareJid;
use minidom::Element;

use super::address::{self, StableId};
use super::store::{Change, Node, Settings};
use super::{
    MAX_CHANNELS, MAX_LIST, MAX_TEXT, Mix, NS_ADMIN, NS_CORE, NS_PUBSUB, NS_PUBSUB_EVENT, Outcome,
    config, form, item, items, nodes,
};
use crate::xmpp::stanza::{Condition, StanzaError, StanzaHead, element};

impl Mix {
    /// True if `jid` may create channels.
    pub(super) fn may_create(&self, jid: &BareJid) -> bool {
        let domain = BareJid::from_parts(None, jid.domain());
        let creators = &self.config.creators;
        jid.node().is_some() && (creators.contains(jid) || creators.contains(&domain))
    }

    pub(super) fn create(&mut self, head: &StanzaHead, create: &Element) -> Outcome {
        let jid = head.from.to_bare();
        if !self.may_create(&jid) {
            return Err(Condition::NotAllowed.into());
        }
        if self.state.channels.len() >= MAX_CHANNELS {
            return Err(Condition::ResourceConstraint.into());
        }
        let wanted = create.attr("channel").filter(|name| !name.is_empty());
        let name = match wanted {
            Some(name) => address::channel_name(name).ok_or(Condition::JidMalformed)?,
            None => self.tokens.token(20).to_lowercase(),
        };
        if self.state.channels.contains_key(&name) {
            return Err(Condition::Conflict.into());
        }
        let mut secret = [0; 32];
        self.tokens.fill(&mut secret);
        let settings = Settings {
            unlisted: wanted.is_none(),
            changed_by: Some(jid.clone()),
            ..Settings::fresh(BTreeSet::from([jid]), secret)
        };
        self.set(&name, settings);
        let answer = element("create", NS_CORE).attr("channel", &name).build();
        self.out.result(head, Some(answer));
        Ok(())
    }

    pub(super) fn destroy(&mut self, head: &StanzaHead, destroy: &Element) -> Outcome {
        let name = destroy.attr("channel").and_then(address::channel_name);
        let name = name.ok_or(Condition::ItemNotFound)?;
        if !self.channel(&name)?.is_owner(&head.from.to_bare()) {
            return Err(Condition::NotAllowed.into());
        }
        self.out.result(head, None);
        let ids: Vec<StableId> = self.channel(&name)?.participants.keys().cloned().collect();
        for id in &ids {
            self.part(&name, id);
            self.hide_all(&name, id);
            self.relay_forget(&name, id);
        }
        let node = Node::Participants;
        let delete = element("delete", NS_PUBSUB_EVENT).attr("node", node.as_str());
        self.event(&name, node, delete.build(), None);
        self.change(Change::Destroyed { channel: name });
        Ok(())
    }

    /// Writes to a node. An item's id is given by us for info and config, whatever the client wants.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        publish: &Element,
        name: &str,
        node: Node,
    ) -> Outcome {
        let channel = self.channel(name)?;
        let jid = head.from.to_bare();
        let (is_owner, is_admin) = (channel.is_owner(&jid), channel.is_admin(&jid));
        let may_inform = channel.settings.info_rights.admits(channel.role(&jid));
        let mut settings = channel.settings.clone();
        // XEP-0406's examples put the item into an `<items/>`.
        let inner = publish
            .children()
            .find(|c| c.name() == "items")
            .unwrap_or(publish);
        let given: Vec<&Element> = inner.children().filter(|c| c.name() == "item").collect();
        let one = given.first().ok_or(Condition::BadRequest)?;
        match node {
            Node::Info if may_inform => {
                let form = form::submitted(one, NS_CORE).ok_or(Condition::BadRequest)?;
                set_info(&mut settings, form)?;
            }
            Node::Config if is_owner => {
                let form = form::submitted(one, NS_ADMIN).ok_or(Condition::BadRequest)?;
                config::set_config(&mut settings, form)?;
                settings.changed_by = Some(jid);
            }
            Node::Allowed | Node::Banned if is_admin => {
                let wanted = listed(&given)?;
                let list = match node {
                    Node::Allowed => settings.allowed.get_or_insert_default(),
                    _ => &mut settings.banned,
                };
                list.extend(wanted);
                if list.len() > MAX_LIST {
                    return Err(Condition::ResourceConstraint.into());
                }
            }
            _ => return Err(Condition::Forbidden.into()),
        }
        let form_node = matches!(node, Node::Info | Node::Config);
        if form_node {
            settings.revision += 1;
        }
        let ids: Vec<String> = match form_node {
            true => vec![settings.revision.to_string()],
            false => given
                .iter()
                .filter_map(|i| i.attr("id"))
                .map(str::to_owned)
                .collect(),
        };
        let answered = ids.iter().map(|id| item(NS_PUBSUB, id, []));
        let publish = element("publish", NS_PUBSUB)
            .attr("node", node.as_str())
            .children(answered);
        let answer = element("pubsub", NS_PUBSUB).child(publish).build();
        self.out.result(head, Some(answer));
        self.settle(now, name, settings);
        let channel = self.channel(name)?;
        let news: Vec<Element> = match node {
            Node::Info => vec![nodes::info_item(NS_PUBSUB_EVENT, channel)],
            Node::Config => vec![config::config_item(NS_PUBSUB_EVENT, channel)],
            _ => ids.iter().map(|id| item(NS_PUBSUB_EVENT, id, [])).collect(),
        };
        self.event(name, node, items(NS_PUBSUB_EVENT, node, news), None);
        Ok(())
    }

    /// Takes entries out of a list.
    pub(super) fn retract(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        retract: &Element,
        name: &str,
        node: Node,
    ) -> Outcome {
        let mut settings = self.writable_list(head, name, node)?;
        let given: Vec<&Element> = retract.children().filter(|c| c.name() == "item").collect();
        let gone = listed(&given)?;
        let list = match node {
            Node::Allowed => settings.allowed.get_or_insert_default(),
            _ => &mut settings.banned,
        };
        list.retain(|jid| !gone.contains(jid));
        settings.end_invitations(node);
        self.out.result(head, None);
        self.settle(now, name, settings);
        let gone = gone.iter().map(|jid| {
            let retract = element("retract", NS_PUBSUB_EVENT).attr("id", jid.as_str());
            retract.build()
        });
        self.event(name, node, items(NS_PUBSUB_EVENT, node, gone), None);
        Ok(())
    }

    /// Empties a list; without entries in the list of allowed everybody is.
    pub(super) fn purge(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        name: &str,
        node: Node,
    ) -> Outcome {
        let mut settings = self.writable_list(head, name, node)?;
        match node {
            Node::Allowed => settings.allowed = None,
            _ => settings.banned.clear(),
        }
        settings.end_invitations(node);
        self.out.result(head, None);
        self.settle(now, name, settings);
        let purge = element("purge", NS_PUBSUB_EVENT).attr("node", node.as_str());
        self.event(name, node, purge.build(), None);
        Ok(())
    }

    fn writable_list(
        &self,
        head: &StanzaHead,
        name: &str,
        node: Node,
    ) -> Result<Settings, StanzaError> {
        let channel = self.channel(name)?;
        let is_list = matches!(node, Node::Allowed | Node::Banned);
        match is_list && channel.is_admin(&head.from.to_bare()) {
            true => Ok(channel.settings.clone()),
            false => Err(Condition::Forbidden.into()),
        }
    }

    /// Adds somebody to the allowed.
    pub(super) fn let_in(&mut self, name: &str, jid: &BareJid) -> Outcome {
        let mut settings = self.channel(name)?.settings.clone();
        let allowed = settings.allowed.get_or_insert_default();
        allowed.insert(jid.clone());
        if allowed.len() > MAX_LIST {
            return Err(Condition::ResourceConstraint.into());
        }
        self.set(name, settings);
        let news = item(NS_PUBSUB_EVENT, jid.as_str(), []);
        let news = items(NS_PUBSUB_EVENT, Node::Allowed, [news]);
        self.event(name, Node::Allowed, news, None);
        Ok(())
    }

    fn set(&mut self, name: &str, settings: Settings) {
        self.change(Change::Settings {
            channel: name.to_owned(),
            settings: Box::new(settings),
        });
    }
}

fn set_info(settings: &mut Settings, form: &Element) -> Outcome {
    let text = |var| -> Result<Option<String>, StanzaError> {
        let Some(values) = form::values(form, var) else {
            return Ok(None);
        };
        let text = values.into_iter().next().unwrap_or_default();
        match text.chars().count() <= MAX_TEXT {
            true => Ok(Some(text)),
            false => Err(Condition::NotAcceptable.into()),
        }
    };
    if let Some(name) = text("Name")? {
        settings.name = name;
    }
    if let Some(description) = text("Description")? {
        settings.description = description;
    }
    if let Some(contacts) = form::values(form, "Contact") {
        settings.contacts = form::jids(&contacts)?;
    }
    Ok(())
}

/// The JIDs that items are named by.
fn listed(items: &[&Element]) -> Result<BTreeSet<BareJid>, StanzaError> {
    let ids: Option<Vec<String>> = items
        .iter()
        .map(|item| item.attr("id").map(str::to_owned))
        .collect();
    form::jids(&ids.ok_or(Condition::BadRequest)?)
}
