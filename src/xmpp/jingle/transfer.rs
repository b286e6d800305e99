//! Transfers by a user: XEP-0251, where the user is the attendant and our contact is who is sent on.
//!
//! The call table decides and makes the new call, or connects the two that the user talks to. What
//! it comes to is `<transferred/>` in the session's end, or a chat message that says why not.

use jid::Jid;
use minidom::Element;

use super::session::{Key, State};
use super::{Jingle, jingle_error};
use crate::address::{Address, contact};
use crate::id::LegId;
use crate::leg::{LegEvent, Transfer};
use crate::xmpp::stanza::{Condition, Identity, StanzaError, StanzaHead, element};

/// The namespace of `<transfer/>` and `<transferred/>`.
pub const NS_TRANSFER: &str = "urn:xmpp:jingle:transfer:0";

/// The `<transfer/>` of a `session-info`.
pub(super) fn read(jingle: &Element) -> Option<&Element> {
    jingle.get_child("transfer", NS_TRANSFER)
}

/// True if a `session-initiate` wants the place of another session: somebody's other call was handed
/// on to one of our contacts, attended. After a blind transfer it is a call like any other.
pub(super) fn takes_place(jingle: &Element) -> bool {
    read(jingle).is_some_and(|transfer| transfer.attr("sid").is_some_and(|sid| !sid.is_empty()))
}

/// The answer to that. Called anew, the telephone would be busy with the call that was to be replaced.
pub(super) fn no_place() -> StanzaError {
    StanzaError::because(
        Condition::FeatureNotImplemented,
        "a call does not take the place of another one here",
    )
}

/// What the reason of a session's end has beside it when the transfer has succeeded.
pub(super) fn transferred() -> Element {
    element("transferred", NS_TRANSFER).build()
}

impl Jingle {
    /// The user of a session wants its contact to talk to somebody else. Unlike other errors in a
    /// live session, one is an answer here: whoever asks knows the protocol.
    pub(super) fn transfer(&mut self, leg: LegId, head: &StanzaHead, transfer: &Element) {
        match self.transfer_event(leg, transfer) {
            Ok(event) => {
                self.out.result(head, None);
                self.tell(leg, event);
            }
            Err(error) => self.out.error(head, &error),
        }
    }

    fn transfer_event(&self, leg: LegId, transfer: &Element) -> Result<LegEvent, StanzaError> {
        let Identity::Component { domain, .. } = &self.identity else {
            return Err(Condition::FeatureNotImplemented.into());
        };
        let early = || jingle_error(Condition::UnexpectedRequest, "out-of-order");
        let session = self.sessions.get(&leg).ok_or_else(early)?;
        let State::Active { .. } = session.state else {
            return Err(early());
        };
        let nobody = || StanzaError::because(Condition::ItemNotFound, "nobody to transfer it to");
        let to = transfer.attr("to").and_then(|to| Jid::new(to).ok());
        let to = to.ok_or(Condition::BadRequest)?;
        // An XMPP user needs no telephone network to be reached, and no right of ours.
        if to.domain() != &**domain {
            return Err(StanzaError::because(
                Condition::FeatureNotImplemented,
                "calls are handed on to numbers and SIP addresses only",
            ));
        }
        let node = to.node().ok_or_else(nobody)?;
        let Some(sid) = transfer.attr("sid").filter(|sid| !sid.is_empty()) else {
            let contact = contact::parse(node.as_str()).map_err(|_| nobody())?;
            let (Address::Number(_) | Address::Sip(_)) = contact.address else {
                return Err(nobody());
            };
            return Ok(LegEvent::Transfer {
                to: contact.address,
                replaces: None,
            });
        };
        // Only its own sessions are a user's to give away, so `from` adds nothing.
        let key = Key {
            peer: session.key.peer.clone(),
            local: to.to_bare(),
            sid: sid.to_owned(),
        };
        let with = self.leg(&key).filter(|with| *with != leg);
        let with = with.ok_or_else(nobody)?;
        match self.sessions.get(&with).map(|other| &other.state) {
            Some(State::Active { .. }) => Ok(LegEvent::Join { with }),
            Some(_) | None => Err(nobody()),
        }
    }

    /// The call table tells how the transfer of a session goes.
    pub(super) fn transfer_news(&mut self, leg: LegId, news: &Transfer) {
        match news {
            // XEP-0251 has no word for it, and the user still hears the other side.
            Transfer::Ringing => {}
            Transfer::Done => {
                if let Some(session) = self.sessions.get_mut(&leg) {
                    session.transferred = true;
                }
            }
            Transfer::Failed(end) => self.note_not_transferred(leg, end),
        }
    }
}
