//! What is worth saying in words at the end of a call. Who ended it himself is told nothing.

use jid::{BareJid, FullJid};

use super::session::Session;
use super::{Jingle, Phase};
use crate::id::{LegId, Role};
use crate::leg::{End, EndReason};
use crate::xmpp::stanza::Identity;
use crate::xmpp::text::Said;

/// Words for a user, from the contact that the call was with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The contact.
    pub contact: FullJid,
    /// The user: every device may show it.
    pub user: BareJid,
    /// What has happened.
    pub said: Said,
}

impl Jingle {
    /// The next words.
    pub fn poll_farewell(&mut self) -> Option<Farewell> {
        self.farewells.pop_front()
    }

    /// Our side ends the session of a leg.
    pub(super) fn note_end(&mut self, leg: LegId, end: &End) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let said = match (session.state.phase(leg.role), leg.role) {
            (Phase::CalleeWaits, _) if end.reason == EndReason::AnsweredElsewhere => None,
            (Phase::CalleeWaits, _) => Some(Said::Missed),
            (Phase::CallerWaits | Phase::Answered, Role::Caller | Role::Callee) => {
                Said::of_failure(end)
            }
        };
        let (contact, user) = (session.local.clone(), session.key.peer.clone());
        self.bid(contact, user, said);
    }

    /// An invitation that never became a leg was turned away.
    pub(super) fn note_turned_away(&mut self, session: &Session, said: Option<Said>) {
        let (contact, user) = (session.local.clone(), session.key.peer.clone());
        self.bid(contact, user, said);
    }

    /// A user's transfer of its call came to nothing; the call goes on.
    pub(super) fn note_not_transferred(&mut self, leg: LegId, end: &End) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let (contact, user) = (session.local.clone(), session.key.peer.clone());
        let said = Said::NotTransferred(end.reason, end.sip_status);
        self.bid(contact, user, Some(said));
    }

    /// A call to a user could not even ring.
    pub(super) fn note_missed(&mut self, contact: FullJid, user: BareJid) {
        self.bid(contact, user, Some(Said::Missed));
    }

    fn bid(&mut self, contact: FullJid, user: BareJid, said: Option<Said>) {
        let Identity::Component { .. } = self.identity else {
            return;
        };
        self.farewells.extend(said.map(|said| Farewell {
            contact,
            user,
            said,
        }));
    }
}
