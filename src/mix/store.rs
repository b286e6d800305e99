//! What outlives a restart: channels, participants, presence. The room's state is one [`Snapshot`],
//! and each step of it a [`Change`], so whoever keeps the changes keeps the state.

use std::collections::{BTreeMap, BTreeSet};

use super::address::StableId;
use super::clients::{Clients, Nodes, Texts};
use super::preferences::{Preferences, Visibility};
use super::rights::Access;
use jid::BareJid;

/// A node of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Messages to everybody.
    Messages,
    /// Who takes part.
    Participants,
    /// Which clients are there.
    Presence,
    /// Name and description.
    Info,
    /// The settings.
    Config,
    /// Who may join.
    Allowed,
    /// Who may not.
    Banned,
    /// Who is behind a stable id.
    Jidmap,
}

impl Node {
    /// Every node.
    pub const ALL: &[Self] = &[
        Self::Messages,
        Self::Participants,
        Self::Presence,
        Self::Info,
        Self::Config,
        Self::Allowed,
        Self::Banned,
        Self::Jidmap,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "urn:xmpp:mix:nodes:messages",
            Self::Participants => "urn:xmpp:mix:nodes:participants",
            Self::Presence => "urn:xmpp:mix:nodes:presence",
            Self::Info => "urn:xmpp:mix:nodes:info",
            Self::Config => "urn:xmpp:mix:nodes:config",
            Self::Allowed => "urn:xmpp:mix:nodes:allowed",
            Self::Banned => "urn:xmpp:mix:nodes:banned",
            Self::Jidmap => "urn:xmpp:mix:nodes:jidmap",
        }
    }

    /// Reads the wire's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|n| n.as_str() == name)
    }
}

/// Whose JIDs a channel shows (XEP-0404 §2.2). Owners and admins learn all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JidVisibility {
    /// Everybody's.
    #[default]
    Visible,
    /// Those of whoever wants that.
    Maybe,
    /// Nobody's.
    Hidden,
}

impl JidVisibility {
    const ALL: [Self; 3] = [Self::Visible, Self::Maybe, Self::Hidden];

    /// The value in a form, in Tigase's words; XEP-0406 has an example with the first.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visible => "jid-mandatory-visible",
            Self::Maybe => "jid-optionally-visible",
            Self::Hidden => "jid-hidden",
        }
    }

    /// Reads the value of a form.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == word)
    }
}

/// Which IQs a channel relays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayPolicy {
    /// Those whose payload is on the list of `relay.rs`.
    #[default]
    Listed,
    /// All but those that belong to an account.
    All,
    /// None.
    None,
}

impl RelayPolicy {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Listed, Self::All, Self::None];

    /// The value in a form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::All => "all",
            Self::None => "none",
        }
    }

    /// Reads the value of a form.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word)
    }
}

/// The settings of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its display name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Whom to ask about it.
    pub contacts: BTreeSet<BareJid>,
    /// Who owns it; never empty for a channel that was created.
    pub owners: BTreeSet<BareJid>,
    /// Who helps the owners.
    pub admins: BTreeSet<BareJid>,
    /// Bare JIDs and domains that may join; `None`: everybody.
    pub allowed: Option<BTreeSet<BareJid>>,
    /// Bare JIDs and domains that may not.
    pub banned: BTreeSet<BareJid>,
    /// Whose JIDs are shown.
    pub visibility: JidVisibility,
    /// The nodes that are there of those that may be left out; never `Allowed`.
    pub nodes: BTreeSet<Node>,
    /// Who may read and subscribe to a node, where that is not as usual.
    pub access: BTreeMap<Node, Access>,
    /// Who may change name and description.
    pub info_rights: Access,
    /// Nobody may take part without showing presence.
    pub must_provide_presence: bool,
    /// Nobody may take part without a nick.
    pub mandatory_nicks: bool,
    /// Who sent a message may take it back.
    pub user_retraction: bool,
    /// Who may take back any message.
    pub retraction_rights: Access,
    /// Participants may let others in by inviting them (XEP-0407).
    pub invitations: bool,
    /// Grows when somebody is taken from the allowed, which ends the invitations from before.
    pub invitation_round: u64,
    /// Participants may write to each other through the channel.
    pub private_messages: bool,
    /// Which IQs are relayed.
    pub relay: RelayPolicy,
    /// Not listed: it was created without a name.
    pub unlisted: bool,
    /// The bare JID that changed the settings last.
    pub changed_by: Option<BareJid>,
    /// Counts changes; the id of the one item in the info and config nodes.
    pub revision: u64,
    /// What stable ids are made with.
    pub secret: [u8; 32],
}

impl Settings {
    /// The settings of a fresh channel.
    pub fn fresh(owners: BTreeSet<BareJid>, secret: [u8; 32]) -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            contacts: BTreeSet::new(),
            owners,
            admins: BTreeSet::new(),
            allowed: None,
            banned: BTreeSet::new(),
            visibility: JidVisibility::default(),
            nodes: BTreeSet::from([Node::Participants, Node::Presence, Node::Info, Node::Banned]),
            access: BTreeMap::new(),
            info_rights: Access::Admins,
            must_provide_presence: false,
            mandatory_nicks: true,
            user_retraction: false,
            retraction_rights: Access::Owners,
            invitations: false,
            invitation_round: 0,
            private_messages: true,
            relay: RelayPolicy::default(),
            unlisted: false,
            changed_by: None,
            revision: 1,
            secret,
        }
    }
}

impl Settings {
    /// Who was taken out of a list does not come back by an invitation from before.
    pub(super) fn end_invitations(&mut self, list: Node) {
        if list == Node::Allowed {
            self.invitation_round += 1;
        }
    }
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct Participant {
    /// Who.
    pub jid: BareJid,
    /// The nick.
    pub nick: Option<String>,
    /// What it hears.
    pub nodes: Nodes,
    /// A number of this gateway.
    pub phone: bool,
    /// Joined by the configuration.
    pub fixed: bool,
    /// What it has set for itself.
    pub preferences: Preferences,
    /// What each present client last sent, by real resource.
    pub clients: Clients,
}

/// A channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Its settings.
    pub settings: Settings,
    /// Who takes part.
    pub participants: BTreeMap<StableId, Participant>,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The channels by name.
    pub channels: BTreeMap<String, Channel>,
    /// What clients sent, each text once.
    texts: Texts,
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let Self { channels, texts: _ } = other;
        self.channels == *channels
    }
}

/// One step from a snapshot to the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A channel was created or its settings were changed.
    Settings {
        /// The channel.
        channel: String,
        /// All of its settings.
        settings: Box<Settings>,
    },
    /// A channel is no more.
    Destroyed {
        /// The channel.
        channel: String,
    },
    /// Somebody joined or changed what it hears or is called. Its clients stay.
    Joined {
        /// The channel.
        channel: String,
        /// Who.
        id: StableId,
        /// The participant; its clients are not looked at.
        participant: Box<Participant>,
    },
    /// Somebody left.
    Left {
        /// The channel.
        channel: String,
        /// Who.
        id: StableId,
    },
    /// A message was sent to everybody. No [`Snapshot`] holds it: it is asked for.
    Sent {
        /// The channel.
        channel: String,
        /// Its id.
        id: String,
        /// The message.
        stanza: String,
    },
    /// A message that was sent has been taken back.
    Retracted {
        /// The channel.
        channel: String,
        /// The id of that message.
        id: String,
        /// What is kept in its place.
        stanza: String,
    },
    /// A client is there.
    Present {
        /// The channel.
        channel: String,
        /// Whose.
        id: StableId,
        /// Its real resource.
        resource: String,
        /// What it sent, as text.
        presence: String,
    },
    /// A client has gone.
    Gone {
        /// The channel.
        channel: String,
        /// Whose.
        id: StableId,
        /// Its real resource.
        resource: String,
    },
}

impl Change {
    /// True for what must outlive a crash once somebody has been told of it. Presence need not: after
    /// a start everybody is asked for it.
    pub fn is_promise(&self) -> bool {
        match self {
            Self::Settings { .. }
            | Self::Destroyed { .. }
            | Self::Joined { .. }
            | Self::Left { .. }
            | Self::Sent { .. }
            | Self::Retracted { .. } => true,
            Self::Present { .. } | Self::Gone { .. } => false,
        }
    }
}

impl Snapshot {
    /// True if the step leads to where we are already.
    pub fn has(&self, change: &Change) -> bool {
        match change {
            Change::Settings { channel, settings } => {
                let known = self.channels.get(channel);
                known.is_some_and(|channel| channel.settings == **settings)
            }
            Change::Joined {
                channel,
                id,
                participant,
            } => {
                let channel = self.channels.get(channel);
                let known = channel.and_then(|c| c.participants.get(id));
                known.is_some_and(|known| {
                    // Those of the change are not looked at.
                    let clients = known.clients.clone();
                    let joined = (**participant).clone();
                    *known == Participant { clients, ..joined }
                })
            }
            Change::Destroyed { .. }
            | Change::Left { .. }
            | Change::Sent { .. }
            | Change::Retracted { .. }
            | Change::Present { .. }
            | Change::Gone { .. } => false,
        }
    }

    /// Takes one step. What fits nothing is ignored.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Settings { channel, settings } => match self.channels.get_mut(&channel) {
                Some(known) => known.settings = *settings,
                None => {
                    let fresh = Channel {
                        settings: *settings,
                        participants: BTreeMap::new(),
                    };
                    self.channels.insert(channel, fresh);
                }
            },
            Change::Destroyed { channel } => {
                self.channels.remove(&channel);
            }
            Change::Joined {
                channel,
                id,
                participant,
            } => {
                let Some(channel) = self.channels.get_mut(&channel) else {
                    return;
                };
                let mut joined = *participant;
                let before = channel.participants.remove(&id);
                joined.clients = before.map(|p| p.clients).unwrap_or_default();
                channel.participants.insert(id, joined);
            }
            Change::Left { channel, id } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.participants.remove(&id);
                }
            }
            Change::Sent { .. } | Change::Retracted { .. } => {}
            Change::Present {
                channel,
                id,
                resource,
                presence,
            } => {
                let presence = self.texts.share(&presence);
                if let Some(participant) = self.participant_mut(&channel, &id) {
                    participant.clients.insert(&resource, presence);
                }
            }
            Change::Gone {
                channel,
                id,
                resource,
            } => {
                if let Some(participant) = self.participant_mut(&channel, &id) {
                    participant.clients.remove(&resource);
                }
            }
        }
    }

    fn participant_mut(&mut self, channel: &str, id: &StableId) -> Option<&mut Participant> {
        self.channels.get_mut(channel)?.participants.get_mut(id)
    }
}

impl Channel {
    /// The stable id of a participant.
    pub fn id_of(&self, jid: &BareJid) -> Option<StableId> {
        let id = StableId::of(&self.settings.secret, jid);
        self.participants.contains_key(&id).then_some(id)
    }

    /// True if the JID of a participant who wants this is hidden.
    pub fn hides(&self, wanted: Visibility) -> bool {
        match self.settings.visibility {
            JidVisibility::Visible => false,
            JidVisibility::Maybe => wanted != Visibility::Always,
            JidVisibility::Hidden => true,
        }
    }

    /// True if the JID of this participant is hidden; also of who is none.
    pub fn hides_id(&self, id: &StableId) -> bool {
        let wanted = self.participants.get(id).map(|p| p.preferences.visibility);
        self.hides(wanted.unwrap_or_default())
    }

    /// True if `to` is told the JID of a participant who wants this (XEP-0404 §2.3).
    pub fn names(&self, wanted: Visibility, to: &BareJid) -> bool {
        let is_mixed = self.settings.visibility == JidVisibility::Maybe;
        !self.hides(wanted) || (is_mixed && self.is_admin(to))
    }

    /// True if the channel has the node.
    pub fn has(&self, node: Node) -> bool {
        match node {
            Node::Messages | Node::Config => true,
            Node::Participants | Node::Presence | Node::Info | Node::Banned => {
                self.settings.nodes.contains(&node)
            }
            Node::Allowed => self.settings.allowed.is_some(),
            Node::Jidmap => {
                let is_visible = self.settings.visibility == JidVisibility::Visible;
                !is_visible || self.settings.nodes.contains(&node)
            }
        }
    }

    /// The bare JIDs that hear of the node.
    pub fn subscribers(&self, node: Node) -> Vec<BareJid> {
        let all = self.participants.values();
        all.filter(|p| p.nodes.contains(node))
            .map(|p| p.jid.clone())
            .collect()
    }
}
