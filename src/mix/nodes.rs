//! The nodes of a channel by pubsub (XEP-0369 §5, XEP-0060): reading, and what owners may write.

use std::time::Instant;

use minidom::Element;

use super::address::StableId;
use super::rights::Role;
use super::store::{Channel, Node, Participant};
use super::{Mix, NS_ANON, NS_CORE, NS_PUBSUB, Outcome, config, form, item, items, participant};
use crate::xmpp::stanza::{Condition, IqType, StanzaError, StanzaHead, element};

const NS_PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const NS_PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";

impl Mix {
    pub(super) fn pubsub(
        &mut self,
        now: Instant,
        kind: IqType,
        head: &StanzaHead,
        pubsub: &Element,
        name: &str,
    ) -> Outcome {
        let ns = pubsub.ns();
        let mut verbs = pubsub.children();
        let verb = verbs.next().ok_or(Condition::BadRequest)?;
        if let (IqType::Get, "affiliations", NS_PUBSUB) = (kind, verb.name(), ns.as_str()) {
            return self.affiliations(head, name);
        }
        let node = verb.attr("node").ok_or(Condition::BadRequest)?;
        let node = Node::parse(node).ok_or(Condition::ItemNotFound)?;
        // The first who is allowed makes the list of them.
        let makes = node == Node::Allowed && verb.name() == "publish";
        if !makes && !self.channel(name)?.has(node) {
            return Err(Condition::ItemNotFound.into());
        }
        // XEP-0403 §3.3: the presence node is never reached by pubsub.
        if node == Node::Presence {
            return Err(Condition::NotAllowed.into());
        }
        match (kind, verb.name(), ns.as_str()) {
            (IqType::Get, "items", NS_PUBSUB) => self.read_node(head, name, node),
            (IqType::Set, "publish", NS_PUBSUB) => self.publish(now, head, verb, name, node),
            (IqType::Set, "retract", NS_PUBSUB) => self.retract(now, head, verb, name, node),
            (IqType::Set, "purge", NS_PUBSUB_OWNER) => self.purge(now, head, name, node),
            (_, verb, _) => {
                let unsupported = element("unsupported", NS_PUBSUB_ERRORS).attr("feature", verb);
                let error = StanzaError::from(Condition::FeatureNotImplemented);
                Err(error.with_detail(unsupported.build()))
            }
        }
    }

    fn read_node(&mut self, head: &StanzaHead, name: &str, node: Node) -> Outcome {
        let channel = self.channel(name)?;
        let jid = head.from.to_bare();
        let may = channel.opens(node, channel.role(&jid));
        if !may {
            return Err(Condition::Forbidden.into());
        }
        let inner: Vec<Element> = match node {
            Node::Participants => of_each(channel, |id, participant| {
                participant::participant_element(channel, id, participant)
            }),
            Node::Jidmap => of_each(channel, |_, participant| {
                let jid = element("jid", NS_ANON).text(participant.jid.as_str());
                element("participant", NS_ANON).child(jid).build()
            }),
            Node::Info => vec![info_item(NS_PUBSUB, channel)],
            Node::Config => vec![config::config_item(NS_PUBSUB, channel)],
            Node::Allowed => {
                let allowed = channel.settings.allowed.iter().flatten();
                allowed
                    .map(|jid| item(NS_PUBSUB, jid.as_str(), []))
                    .collect()
            }
            Node::Banned => {
                let banned = channel.settings.banned.iter();
                banned
                    .map(|jid| item(NS_PUBSUB, jid.as_str(), []))
                    .collect()
            }
            Node::Messages | Node::Presence => return Err(Condition::ItemNotFound.into()),
        };
        let answer = element("pubsub", NS_PUBSUB).child(items(NS_PUBSUB, node, inner));
        self.out.result(head, Some(answer.build()));
        Ok(())
    }

    /// The asker's own rights (XEP-0060 §5.7).
    fn affiliations(&mut self, head: &StanzaHead, name: &str) -> Outcome {
        let channel = self.channel(name)?;
        let jid = head.from.to_bare();
        let role = channel.role(&jid);
        let nodes = Node::ALL.iter().filter(|node| channel.has(**node));
        let rights = nodes.filter_map(|node| {
            let publishes = match node {
                Node::Info => channel.settings.info_rights.admits(role),
                Node::Allowed | Node::Banned => role >= Role::Admin,
                Node::Messages
                | Node::Participants
                | Node::Presence
                | Node::Config
                | Node::Jidmap => false,
            };
            let right = match node {
                _ if role == Role::Owner => "owner",
                _ if publishes => "publisher",
                node if role >= Role::Participant && channel.opens(*node, role) => "member",
                _ => return None,
            };
            let right = element("affiliation", NS_PUBSUB)
                .attr("node", node.as_str())
                .attr("affiliation", right);
            Some(right.build())
        });
        let all = element("affiliations", NS_PUBSUB).children(rights);
        let answer = element("pubsub", NS_PUBSUB).child(all).build();
        self.out.result(head, Some(answer));
        Ok(())
    }
}

fn of_each(channel: &Channel, what: impl Fn(&StableId, &Participant) -> Element) -> Vec<Element> {
    let all = channel.participants.iter();
    all.map(|(id, p)| item(NS_PUBSUB, id.as_str(), [what(id, p)]))
        .collect()
}

/// The one item of the info node (XEP-0369 §5.1.4).
pub(super) fn info_item(ns: &str, channel: &Channel) -> Element {
    let settings = &channel.settings;
    let text = |text: &String| {
        Some(text.clone())
            .filter(|t| !t.is_empty())
            .into_iter()
            .collect()
    };
    let contacts = settings.contacts.iter().map(ToString::to_string).collect();
    let fields = vec![
        ("Name", "text-single", text(&settings.name)),
        ("Description", "text-single", text(&settings.description)),
        ("Contact", "jid-multi", contacts),
    ];
    let form = form::result(NS_CORE, fields);
    item(ns, &settings.revision.to_string(), [form])
}
