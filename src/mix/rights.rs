//! Roles (XEP-0406 §2.2), and which of them a setting asks for.

use std::collections::BTreeSet;

use jid::BareJid;

use super::store::{Channel, Node};

/// Who somebody is to a channel, from least to most. Each role has the rights of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anybody at all.
    Anyone,
    /// May join.
    Allowed,
    /// Takes part.
    Participant,
    /// Helps the owners.
    Admin,
    /// Owns it.
    Owner,
}

/// The least role that something is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Open to everybody.
    Anyone,
    /// Open to whoever may join.
    Allowed,
    /// Open to participants.
    Participants,
    /// Open to admins.
    Admins,
    /// Open to owners.
    Owners,
    /// Open to nobody.
    Nobody,
}

impl Access {
    /// Every value.
    pub const ALL: &[Self] = &[
        Self::Anyone,
        Self::Allowed,
        Self::Participants,
        Self::Admins,
        Self::Owners,
        Self::Nobody,
    ];

    /// The value in a form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Allowed => "allowed",
            Self::Participants => "participants",
            Self::Admins => "admins",
            Self::Owners => "owners",
            Self::Nobody => "nobody",
        }
    }

    /// Reads the value of a form.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.as_str() == word)
    }

    /// True if it is open to `role`.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Anyone => true,
            Self::Allowed => role >= Role::Allowed,
            Self::Participants => role >= Role::Participant,
            Self::Admins => role >= Role::Admin,
            Self::Owners => role >= Role::Owner,
            Self::Nobody => false,
        }
    }
}

/// Who may read and subscribe to a node where the settings do not say otherwise. Information is open
/// to whoever may join: clients ask for it before.
pub fn usual_access(node: Node) -> Access {
    match node {
        Node::Messages | Node::Participants | Node::Presence => Access::Participants,
        Node::Info => Access::Allowed,
        Node::Allowed | Node::Banned | Node::Jidmap => Access::Admins,
        Node::Config => Access::Owners,
    }
}

impl Channel {
    /// Who `jid` is.
    pub fn role(&self, jid: &BareJid) -> Role {
        if self.is_owner(jid) {
            Role::Owner
        } else if self.is_admin(jid) {
            Role::Admin
        } else if self.id_of(jid).is_some() {
            Role::Participant
        } else if self.admits(jid) {
            Role::Allowed
        } else {
            Role::Anyone
        }
    }

    /// True for owners.
    pub fn is_owner(&self, jid: &BareJid) -> bool {
        self.settings.owners.contains(jid)
    }

    /// True for owners and admins.
    pub fn is_admin(&self, jid: &BareJid) -> bool {
        self.is_owner(jid) || self.settings.admins.contains(jid)
    }

    /// True if `jid` may take part (XEP-0406 §3): banned wins, owners and admins are always allowed.
    pub fn admits(&self, jid: &BareJid) -> bool {
        if self.is_admin(jid) {
            return true;
        }
        let allowed = self.settings.allowed.as_ref();
        !self.bans(jid) && allowed.is_none_or(|list| is_listed(list, jid))
    }

    /// True if `jid` is on the list of the banned.
    pub fn bans(&self, jid: &BareJid) -> bool {
        is_listed(&self.settings.banned, jid)
    }

    /// True if `role` may read and subscribe to the node.
    pub fn opens(&self, node: Node, role: Role) -> bool {
        let set = self.settings.access.get(&node).copied();
        set.unwrap_or(usual_access(node)).admits(role)
    }
}

/// True if the list has the JID or its domain.
fn is_listed(list: &BTreeSet<BareJid>, jid: &BareJid) -> bool {
    list.contains(jid) || list.contains(&BareJid::from_parts(None, jid.domain()))
}
