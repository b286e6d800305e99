//! The settings of a channel as a form (XEP-0406 §3.3), and what a change of them does to who is in
//! it.

use std::collections::BTreeSet;
use std::time::Instant;

use jid::BareJid;
use minidom::Element;

use super::address::StableId;
use super::form::Field;
use super::rights::{Access, usual_access};
use super::store::{Change, Channel, JidVisibility, Node, RelayPolicy, Settings};
use super::{Mix, NS_ADMIN, Outcome, form, item};
use crate::xmpp::stanza::{Condition, StanzaError};

const ONLY_INSIDE: &[Access] = &[Access::Participants, Access::Allowed, Access::Anyone];
const RESTRICTED: &[Access] = &[
    Access::Participants,
    Access::Allowed,
    Access::Nobody,
    Access::Admins,
    Access::Owners,
];

/// Who may read and subscribe to a node: the field, the node, what it may be set to.
const ACCESS: &[(&str, Node, &[Access])] = &[
    ("Messages Node Subscription", Node::Messages, ONLY_INSIDE),
    ("Presence Node Subscription", Node::Presence, ONLY_INSIDE),
    (
        "Participants Node Subscription",
        Node::Participants,
        Access::ALL,
    ),
    ("Information Node Subscription", Node::Info, ONLY_INSIDE),
    ("Allowed Node Subscription", Node::Allowed, RESTRICTED),
    ("Banned Node Subscription", Node::Banned, RESTRICTED),
    ("Configuration Node Access", Node::Config, RESTRICTED),
];

/// The words for nodes that may be left out.
const PRESENT: &[(&str, Node)] = &[
    ("participants", Node::Participants),
    ("presence", Node::Presence),
    ("information", Node::Info),
    ("allowed", Node::Allowed),
    ("banned", Node::Banned),
    ("jidmap-visible", Node::Jidmap),
];

type Switch = (&'static str, fn(&mut Settings) -> &mut bool);
const SWITCHES: &[Switch] = &[
    ("Participants Must Provide Presence", |s| {
        &mut s.must_provide_presence
    }),
    ("User Message Retraction", |s| &mut s.user_retraction),
    (
        "Participation Addition by Invitation from Participant",
        |s| &mut s.invitations,
    ),
    ("Private Messages", |s| &mut s.private_messages),
    ("Mandatory Nicks", |s| &mut s.mandatory_nicks),
];

type Right = (
    &'static str,
    fn(&mut Settings) -> &mut Access,
    &'static [Access],
);
const RIGHTS: &[Right] = &[
    (
        "Information Node Update Rights",
        |s| &mut s.info_rights,
        &[Access::Participants, Access::Admins, Access::Owners],
    ),
    (
        "Administrator Message Retraction Rights",
        |s| &mut s.retraction_rights,
        &[Access::Nobody, Access::Admins, Access::Owners],
    ),
];

/// Only the fields that were sent change; those that this service does not have are passed over.
pub(super) fn set_config(settings: &mut Settings, form: &Element) -> Outcome {
    if let Some(owners) = form::values(form, "Owner") {
        settings.owners = form::jids(&owners)?;
        // Somebody always has to.
        if settings.owners.is_empty() {
            let text = "a channel has an owner";
            return Err(StanzaError::because(Condition::NotAcceptable, text));
        }
    }
    if let Some(admins) = form::values(form, "Administrator") {
        settings.admins = form::jids(&admins)?;
    }
    if let Some(words) = form::values(form, "Nodes Present") {
        set_nodes(settings, &words);
    }
    for (field, node, may) in ACCESS {
        if let Some(access) = one(form, field, |word| access(word, may))? {
            settings.access.insert(*node, access);
        }
    }
    for (field, of, may) in RIGHTS {
        if let Some(access) = one(form, field, |word| access(word, may))? {
            *of(settings) = access;
        }
    }
    for (field, of) in SWITCHES {
        if let Some(on) = one(form, field, boolean)? {
            *of(settings) = on;
        }
    }
    if let Some(visibility) = one(form, "JID Visibility", JidVisibility::parse)? {
        settings.visibility = visibility;
    }
    if let Some(relay) = one(form, "IQ Relay", RelayPolicy::parse)? {
        settings.relay = relay;
    }
    Ok(())
}

fn set_nodes(settings: &mut Settings, words: &[String]) {
    let named = |word: &str| words.iter().any(|w| w == word);
    for (word, node) in PRESENT {
        match (node, named(word)) {
            (Node::Allowed, true) => drop(settings.allowed.get_or_insert_default()),
            (Node::Allowed, false) => settings.allowed = None,
            (node, true) => drop(settings.nodes.insert(*node)),
            (node, false) => drop(settings.nodes.remove(node)),
        }
    }
}

/// The one value of a field, if it was sent.
fn one<T>(
    form: &Element,
    field: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StanzaError> {
    let Some(values) = form::values(form, field) else {
        return Ok(None);
    };
    let value = values.first().and_then(|word| read(word));
    let wrong = || StanzaError::because(Condition::NotAcceptable, format!("no value of {field}"));
    value.map(Some).ok_or_else(wrong)
}

fn access(word: &str, may: &[Access]) -> Option<Access> {
    Access::parse(word).filter(|access| may.contains(access))
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// The one item of the config node, with every option.
pub(super) fn config_item(ns: &str, channel: &Channel) -> Element {
    let mut settings = channel.settings.clone();
    let all = |jids: &BTreeSet<BareJid>| jids.iter().map(ToString::to_string).collect();
    let word = |word: &str| vec![word.to_owned()];
    let changed_by = settings.changed_by.iter().map(ToString::to_string);
    let present = PRESENT.iter().filter(|(_, node)| match node {
        Node::Allowed => settings.allowed.is_some(),
        node => settings.nodes.contains(node),
    });
    let mut fields: Vec<Field> = vec![
        ("Last Change Made By", "jid-single", changed_by.collect()),
        ("Owner", "jid-multi", all(&settings.owners)),
        ("Administrator", "jid-multi", all(&settings.admins)),
        (
            "Nodes Present",
            "list-multi",
            present.map(|(word, _)| (*word).to_owned()).collect(),
        ),
    ];
    for (field, node, _) in ACCESS {
        let set = settings.access.get(node).copied();
        let access = set.unwrap_or(usual_access(*node));
        fields.push((field, "list-single", word(access.as_str())));
    }
    let visibility = settings.visibility.as_str();
    for (field, of, _) in RIGHTS {
        fields.push((field, "list-single", word(of(&mut settings).as_str())));
    }
    for (field, of) in SWITCHES {
        fields.push((field, "boolean", vec![of(&mut settings).to_string()]));
    }
    fields.push(("JID Visibility", "list-single", word(visibility)));
    fields.push(("IQ Relay", "list-single", word(settings.relay.as_str())));
    let form = form::result(NS_ADMIN, fields);
    item(ns, &settings.revision.to_string(), [form])
}

impl Mix {
    /// Puts settings into force. Who is not admitted any more, or does not want to be in such a
    /// channel, is removed; whose JID is seen from here on, or is not any more, appears under
    /// another resource (XEP-0404 §2.2, §2.4).
    pub(super) fn settle(&mut self, now: Instant, name: &str, settings: Settings) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let after = Channel {
            settings,
            participants: Default::default(),
        };
        let visibility = after.settings.visibility;
        let owes = after.settings.must_provide_presence;
        let (mut out, mut otherwise): (Vec<StableId>, Vec<StableId>) = Default::default();
        for (id, participant) in &channel.participants {
            let wanted = participant.preferences;
            let barred = match participant.fixed {
                true => after.bans(&participant.jid),
                false => !after.admits(&participant.jid),
            };
            if barred || wanted.visibility.conflicts(visibility) || (owes && wanted.hides_presence)
            {
                out.push(id.clone());
            } else if channel.hides(wanted.visibility) != after.hides(wanted.visibility) {
                otherwise.push(id.clone());
            }
        }
        for id in &out {
            self.remove(name, id);
        }
        let clients: Vec<_> = otherwise.iter().map(|id| self.withdraw(name, id)).collect();
        self.change(Change::Settings {
            channel: name.to_owned(),
            settings: Box::new(after.settings),
        });
        for (id, clients) in otherwise.iter().zip(clients) {
            self.tell_participant(name, id);
            self.present_again(now, name, id, &clients);
        }
    }
}
