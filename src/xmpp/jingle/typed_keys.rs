//! Keys that are written: after the number that is dialled, or as a chat message in a call, for
//! clients without a keypad. Most have none.

use jid::{BareJid, Jid};

use super::Jingle;
use crate::address::contact;
use crate::id::LegId;
use crate::leg::{Key, LegEvent};
use crate::xmpp::stanza::StanzaHead;

impl Jingle {
    /// Tells the keys that are written behind the number that a leg has dialled.
    pub(super) fn dial_on(&mut self, leg: LegId, to: &Jid) {
        let local = to.node().map(|node| node.as_str()).unwrap_or_default();
        if let (_, Some(keys)) = contact::post_dial(local)
            && let Some(keys) = Key::row(keys)
        {
            self.tell(leg, LegEvent::Keys(keys));
        }
    }

    /// True if a text to a contact was keys for the call with it.
    pub fn presses(&mut self, head: &StanzaHead, text: &str) -> bool {
        match (self.talks(head), Key::row(text)) {
            (Some(leg), Some(keys)) => {
                self.tell(leg, LegEvent::Keys(keys));
                true
            }
            (Some(_) | None, _) => false,
        }
    }

    /// The leg of the call that sender and addressee of a stanza are in.
    pub fn talks(&self, head: &StanzaHead) -> Option<LegId> {
        let (peer, local) = (head.from.to_bare(), head.to.to_bare());
        let mut between = self.between(&peer, &local);
        let taken = between.find(|(_, session)| session.is_taken());
        taken.map(|(leg, _)| leg)
    }

    /// The contact and the user of a leg.
    pub fn parties(&self, leg: LegId) -> Option<(BareJid, BareJid)> {
        let key = &self.sessions.get(&leg)?.key;
        Some((key.local.clone(), key.peer.clone()))
    }
}
