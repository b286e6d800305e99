//! How settings and participants are written where they are kept: JSON with every field by its
//! name, so that a later version reads what an earlier one wrote. A field that is not there has the
//! value of a fresh channel or participant; one that is not known is ignored.

use std::collections::{BTreeMap, BTreeSet};

use jid::BareJid;
use serde::{Deserialize, Serialize};

use super::clients::Clients;
use super::preferences::{Preferences, Visibility};
use super::rights::Access;
use super::store::{JidVisibility, Node, Participant, RelayPolicy, Settings};

/// A record that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or not of this shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value is none of those that there are.
    #[error("`{0}` is no {1}")]
    Value(String, &'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct SettingsRecord {
    name: String,
    description: String,
    contacts: Vec<String>,
    owners: Vec<String>,
    admins: Vec<String>,
    allowed: Option<Vec<String>>,
    banned: Vec<String>,
    visibility: String,
    nodes: Vec<String>,
    access: BTreeMap<String, String>,
    info_rights: String,
    must_provide_presence: bool,
    mandatory_nicks: bool,
    user_retraction: bool,
    retraction_rights: String,
    invitations: bool,
    invitation_round: u64,
    private_messages: bool,
    relay: String,
    unlisted: bool,
    changed_by: Option<String>,
    revision: u64,
    secret: [u8; 32],
}

impl Default for SettingsRecord {
    fn default() -> Self {
        Self::of(&Settings::fresh(BTreeSet::new(), [0; 32]))
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ParticipantRecord {
    jid: String,
    nick: Option<String>,
    nodes: Vec<String>,
    phone: bool,
    fixed: bool,
    visibility: Option<String>,
    blocks_messages: bool,
    vcard: Option<bool>,
    hides_presence: bool,
}

impl SettingsRecord {
    fn of(settings: &Settings) -> Self {
        let Settings {
            name,
            description,
            contacts,
            owners,
            admins,
            allowed,
            banned,
            visibility,
            nodes,
            access,
            info_rights,
            must_provide_presence,
            mandatory_nicks,
            user_retraction,
            retraction_rights,
            invitations,
            invitation_round,
            private_messages,
            relay,
            unlisted,
            changed_by,
            revision,
            secret,
        } = settings;
        let word = |(node, access): (&Node, &Access)| {
            (node.as_str().to_owned(), access.as_str().to_owned())
        };
        Self {
            name: name.clone(),
            description: description.clone(),
            contacts: texts(contacts),
            owners: texts(owners),
            admins: texts(admins),
            allowed: allowed.as_ref().map(texts),
            banned: texts(banned),
            visibility: visibility.as_str().to_owned(),
            nodes: nodes.iter().map(|n| n.as_str().to_owned()).collect(),
            access: access.iter().map(word).collect(),
            info_rights: info_rights.as_str().to_owned(),
            must_provide_presence: *must_provide_presence,
            mandatory_nicks: *mandatory_nicks,
            user_retraction: *user_retraction,
            retraction_rights: retraction_rights.as_str().to_owned(),
            invitations: *invitations,
            invitation_round: *invitation_round,
            private_messages: *private_messages,
            relay: relay.as_str().to_owned(),
            unlisted: *unlisted,
            changed_by: changed_by.as_ref().map(ToString::to_string),
            revision: *revision,
            secret: *secret,
        }
    }

    fn meant(self) -> Result<Settings, Unreadable> {
        let access = self.access.into_iter().map(|(node, access)| {
            let node = one(node, "node", Node::parse)?;
            Ok((node, one(access, "access", Access::parse)?))
        });
        Ok(Settings {
            name: self.name,
            description: self.description,
            contacts: jids(self.contacts)?,
            owners: jids(self.owners)?,
            admins: jids(self.admins)?,
            allowed: self.allowed.map(jids).transpose()?,
            banned: jids(self.banned)?,
            visibility: one(self.visibility, "visibility", JidVisibility::parse)?,
            nodes: all(self.nodes, "node", Node::parse)?,
            access: access.collect::<Result<_, Unreadable>>()?,
            info_rights: one(self.info_rights, "access", Access::parse)?,
            must_provide_presence: self.must_provide_presence,
            mandatory_nicks: self.mandatory_nicks,
            user_retraction: self.user_retraction,
            retraction_rights: one(self.retraction_rights, "access", Access::parse)?,
            invitations: self.invitations,
            invitation_round: self.invitation_round,
            private_messages: self.private_messages,
            relay: one(self.relay, "relay policy", RelayPolicy::parse)?,
            unlisted: self.unlisted,
            changed_by: self.changed_by.map(jid).transpose()?,
            revision: self.revision,
            secret: self.secret,
        })
    }
}

/// The settings of a channel as text.
pub fn write_settings(settings: &Settings) -> String {
    json(&SettingsRecord::of(settings))
}

/// Reads what [`write_settings`] wrote.
pub fn read_settings(text: &str) -> Result<Settings, Unreadable> {
    serde_json::from_str::<SettingsRecord>(text)?.meant()
}

/// A participant as text, without its clients.
pub fn write_participant(participant: &Participant) -> String {
    let Participant {
        jid,
        nick,
        nodes,
        phone,
        fixed,
        preferences,
        clients: _,
    } = participant;
    let Preferences {
        visibility,
        blocks_messages,
        vcard,
        hides_presence,
    } = *preferences;
    json(&ParticipantRecord {
        jid: jid.to_string(),
        nick: nick.clone(),
        nodes: nodes.iter().map(|n| n.as_str().to_owned()).collect(),
        phone: *phone,
        fixed: *fixed,
        visibility: Some(visibility.as_str().to_owned()),
        blocks_messages,
        vcard,
        hides_presence,
    })
}

/// Reads what [`write_participant`] wrote.
pub fn read_participant(text: &str) -> Result<Participant, Unreadable> {
    let record: ParticipantRecord = serde_json::from_str(text)?;
    let visibility = record.visibility;
    let visibility = visibility.map(|word| one(word, "visibility", Visibility::parse));
    Ok(Participant {
        jid: jid(record.jid)?,
        nick: record.nick,
        nodes: all(record.nodes, "node", Node::parse)?,
        phone: record.phone,
        fixed: record.fixed,
        preferences: Preferences {
            visibility: visibility.transpose()?.unwrap_or_default(),
            blocks_messages: record.blocks_messages,
            vcard: record.vcard,
            hides_presence: record.hides_presence,
        },
        clients: Clients::default(),
    })
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("keys are texts, and numbers are whole")
}

fn texts(jids: &BTreeSet<BareJid>) -> Vec<String> {
    jids.iter().map(ToString::to_string).collect()
}

fn jid(text: String) -> Result<BareJid, Unreadable> {
    BareJid::new(&text).map_err(|_| Unreadable::Value(text, "JID"))
}

fn jids(texts: Vec<String>) -> Result<BTreeSet<BareJid>, Unreadable> {
    texts.into_iter().map(jid).collect()
}

fn one<T>(
    word: String,
    kind: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Unreadable> {
    parse(&word).ok_or(Unreadable::Value(word, kind))
}

fn all<T, C: FromIterator<T>>(
    words: Vec<String>,
    kind: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<C, Unreadable> {
    words
        .into_iter()
        .map(|word| one(word, kind, &parse))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> BTreeSet<BareJid> {
        BTreeSet::from([BareJid::new(text).unwrap()])
    }

    #[test]
    fn settings_read_the_same() {
        let fresh = Settings::fresh(some("a@b.example"), [7; 32]);
        assert_eq!(read_settings(&write_settings(&fresh)).unwrap(), fresh);
        let other = Settings {
            name: "\u{e9} \"x\"".to_owned(),
            contacts: some("c@b.example"),
            allowed: Some(some("b.example")),
            banned: some("d@b.example"),
            visibility: JidVisibility::Maybe,
            nodes: BTreeSet::new(),
            access: BTreeMap::from([(Node::Config, Access::Admins)]),
            relay: RelayPolicy::None,
            changed_by: Some(BareJid::new("a@b.example").unwrap()),
            revision: 9,
            unlisted: true,
            ..fresh
        };
        assert_eq!(read_settings(&write_settings(&other)).unwrap(), other);
    }

    #[test]
    fn participants_read_the_same() {
        let participant = Participant {
            jid: BareJid::new("a@b.example").unwrap(),
            nick: Some("third \u{1f9d9}".to_owned()),
            nodes: [Node::Messages, Node::Jidmap].into_iter().collect(),
            phone: true,
            fixed: true,
            preferences: Preferences {
                visibility: Visibility::PreferNot,
                blocks_messages: true,
                vcard: Some(false),
                hides_presence: true,
            },
            clients: Clients::default(),
        };
        let text = write_participant(&participant);
        assert_eq!(read_participant(&text).unwrap(), participant);
    }

    #[test]
    fn records_of_other_versions_are_read_and_broken_ones_are_named() {
        let text = r#"{"jid":"a@b.example","of a later version":1}"#;
        assert_eq!(read_participant(text).unwrap().nick, None);
        let settings = read_settings(r#"{"name":"x"}"#).unwrap();
        assert!(settings.mandatory_nicks);
        for (text, word) in [("{", "EOF"), (r#"{"jid":"@"}"#, "`@` is no JID")] {
            let told = read_participant(text).unwrap_err().to_string();
            assert!(told.contains(word), "{told}");
        }
        let told = read_settings(r#"{"relay":"x"}"#).unwrap_err().to_string();
        assert_eq!(told, "`x` is no relay policy");
    }
}
