//! What the service and its channels say of themselves (XEP-0369 §6).

use minidom::Element;

use super::archive::NS_MAM;
use super::commands::Command;
use super::rights::Role;
use super::store::Node;
use super::{Mix, NS_ADMIN, NS_ANON, NS_COMMANDS, NS_CORE, NS_MISC, NS_PRESENCE, Outcome};
use crate::xmpp::disco::{NS_INFO, NS_ITEMS};
use crate::xmpp::ping::NS_PING;
use crate::xmpp::stanza::{Condition, StanzaHead, element};

/// Channels that one answer lists at most.
const MAX_ITEMS: usize = 1_000;

impl Mix {
    pub(super) fn service_info(&mut self, head: &StanzaHead, query: &Element) -> Outcome {
        let mut features = vec![NS_INFO, NS_ITEMS, NS_CORE, NS_PING];
        let searchable = format!("{NS_CORE}#searchable");
        let create = format!("{NS_CORE}#create-channel");
        features.push(&searchable);
        if self.may_create(&head.from.to_bare()) {
            features.push(&create);
        }
        let answer = info(query.attr("node"), "Channels", &features);
        self.out.result(head, Some(answer));
        Ok(())
    }

    pub(super) fn service_items(&mut self, head: &StanzaHead, query: &Element) -> Outcome {
        let jid = head.from.to_bare();
        let listed = self.state.channels.iter();
        let listed = listed.filter(|(_, c)| !c.settings.unlisted && c.admits(&jid));
        let items: Vec<Element> = listed
            .take(MAX_ITEMS)
            .map(|(name, channel)| {
                let title = Some(&channel.settings.name).filter(|n| !n.is_empty());
                let jid = self.channel_jid(name);
                let item = element("item", NS_ITEMS).attr("jid", jid.as_str());
                item.attr_opt("name", title).build()
            })
            .collect();
        let answer = element("query", NS_ITEMS).attr_opt("node", query.attr("node"));
        self.out.result(head, Some(answer.children(items).build()));
        Ok(())
    }

    pub(super) fn channel_info(
        &mut self,
        head: &StanzaHead,
        query: &Element,
        name: &str,
    ) -> Outcome {
        let channel = self.channel(name)?;
        let title = match channel.settings.name.is_empty() {
            true => name,
            false => &channel.settings.name,
        };
        let mut features = vec![
            NS_INFO,
            NS_ITEMS,
            NS_CORE,
            NS_PRESENCE,
            NS_ANON,
            NS_ADMIN,
            NS_MISC,
            NS_COMMANDS,
            NS_PING,
        ];
        if self.archives {
            features.push(NS_MAM);
        }
        let answer = info(query.attr("node"), title, &features);
        self.out.result(head, Some(answer));
        Ok(())
    }

    /// The nodes; XEP-0369 §6.4 wants `node='mix'` and anything else refused.
    pub(super) fn channel_items(
        &mut self,
        head: &StanzaHead,
        query: &Element,
        name: &str,
    ) -> Outcome {
        let channel = self.channel(name)?;
        if query.attr("node") == Some(NS_COMMANDS) {
            return self.channel_commands(head, name);
        }
        if query.attr("node") != Some("mix") {
            return Err(Condition::ItemNotFound.into());
        }
        let own = self.channel_jid(name);
        let jid = head.from.to_bare();
        // What somebody who may join could subscribe to once it has.
        let role = match channel.role(&jid) {
            Role::Allowed => Role::Participant,
            role => role,
        };
        let nodes = Node::ALL.iter();
        let nodes = nodes.filter(|node| channel.has(**node) && channel.opens(**node, role));
        let items = nodes.map(|node| {
            let item = element("item", NS_ITEMS).attr("jid", own.as_str());
            item.attr("node", node.as_str()).build()
        });
        let answer = element("query", NS_ITEMS).attr("node", "mix");
        let answer = answer.children(items).build();
        self.out.result(head, Some(answer));
        Ok(())
    }
}

impl Mix {
    /// The commands that somebody may give a channel (XEP-0050 §2.2).
    fn channel_commands(&mut self, head: &StanzaHead, name: &str) -> Outcome {
        let is_admin = self.channel(name)?.is_admin(&head.from.to_bare());
        let own = self.channel_jid(name);
        let may = is_admin && self.config.phones.is_some();
        let items = Command::ALL.into_iter().filter(|_| may).map(|command| {
            element("item", NS_ITEMS)
                .attr("jid", own.as_str())
                .attr("node", command.node())
                .attr("name", command.title())
                .build()
        });
        let answer = element("query", NS_ITEMS).attr("node", NS_COMMANDS);
        let answer = answer.children(items).build();
        self.out.result(head, Some(answer));
        Ok(())
    }
}

fn info(node: Option<&str>, name: &str, features: &[&str]) -> Element {
    let identity = element("identity", NS_INFO)
        .attr("category", "conference")
        .attr("type", "mix")
        .attr("name", name);
    let features = features.iter();
    let features = features.map(|var| element("feature", NS_INFO).attr("var", var).build());
    element("query", NS_INFO)
        .attr_opt("node", node)
        .child(identity)
        .children(features)
        .build()
}
