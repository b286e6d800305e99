//! Contacts in MIX channels, ours and others': who may call out may invite a contact by message
//! (XEP-0407 §3), and it joins. For the channel this room is the contact's own server (XEP-0405): it
//! joins from the bare JID, shows presence from the full one, and answers relayed requests like any
//! others, since they come from the encoded JID of who asks.
//!
//! It subscribes to nothing, so nothing of the channel's talk comes here, and remembers nothing: the
//! channel does, and asks by a probe who is there.

use std::time::Instant;

use jid::{BareJid, Jid};
use minidom::Element;
use tracing::debug;

use super::stanza::{IqType, MessageType, StanzaError, StanzaHead, element};
use super::{MAX_NOTICES, Xmpp};
use crate::pii::Pii;

const NS_CORE: &str = "urn:xmpp:mix:core:1";
const NS_MISC: &str = "urn:xmpp:mix:misc:0";
/// Characters of a token that are passed on at most.
const MAX_TOKEN: usize = 512;

/// Somebody invites a contact into a channel.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Who, as its own server says.
    pub inviter: Jid,
    /// Where to.
    pub channel: BareJid,
    contact: BareJid,
    token: String,
}

impl Xmpp {
    /// The next invitation; wants [`Self::take_invitation`] or [`Self::decline_invitation`].
    pub fn poll_invited(&mut self) -> Option<Invited> {
        self.invited.pop_front()
    }

    /// Says no.
    pub fn decline_invitation(&mut self, invited: &Invited) {
        self.acknowledge(invited, "Declined");
    }

    /// Takes up an invitation. A channel of somebody else's may hide numbers, so only one of ours is
    /// told the contact's, and hides it itself if it has to.
    pub fn take_invitation(&mut self, now: Instant, invited: Invited, is_ours: bool) {
        if !self.joins.has_room() {
            return self.acknowledge(&invited, "Declined");
        }
        let Invited {
            contact, channel, ..
        } = &invited;
        let (from, to): (Jid, Jid) = (contact.clone().into(), channel.clone().into());
        let nick = match contact.node() {
            Some(node) if is_ours => node.to_string(),
            Some(_) | None => {
                let digits: String = self.out.fresh_id().chars().take(4).collect();
                format!("Phone {digits}")
            }
        };
        let join = element("join", NS_CORE)
            .child(element("nick", NS_CORE).text(&nick))
            // A channel of ours takes our word for it; another one wants a token, or nothing.
            .children((is_ours || !invited.token.is_empty()).then(|| invitation(&invited)));
        let id = self.out.iq(IqType::Set, &from, &to, join.build());
        self.joins.sent(now, id, to, invited);
    }

    /// A message to a contact: notes an invitation. True if it was one.
    pub(super) fn invitation(&mut self, head: &StanzaHead, stanza: &Element) -> bool {
        let Some(invitation) = stanza.get_child("invitation", NS_MISC) else {
            return false;
        };
        let text = |name| Some(invitation.get_child(name, NS_MISC)?.text());
        let channel = text("channel").and_then(|text| BareJid::new(text.trim()).ok());
        let contact = head.to.to_bare();
        let invitee = text("invitee").and_then(|text| BareJid::new(text.trim()).ok());
        let (Some(channel), true) = (channel, invitee.as_ref() == Some(&contact)) else {
            debug!(from = ?Pii(&head.from), "an invitation for somebody else, or to nowhere");
            return true;
        };
        let token = text("token").unwrap_or_default();
        if self.invited.len() < MAX_NOTICES && token.len() <= MAX_TOKEN {
            self.invited.push_back(Invited {
                inviter: head.from.clone(),
                contact,
                channel,
                token,
            });
        }
        true
    }

    /// A channel has let a contact in, or has not.
    pub(super) fn join_answered(&mut self, head: &StanzaHead, outcome: Result<(), StanzaError>) {
        let Some(invited) = self.joins.answered(head.id(), &head.from) else {
            return;
        };
        match outcome {
            Ok(()) => {
                let (contact, channel): (Jid, Jid) = (
                    invited.contact.clone().into(),
                    invited.channel.clone().into(),
                );
                self.show(&contact, &channel);
                self.acknowledge(&invited, "Joined");
            }
            Err(error) => {
                debug!(
                    condition = error.condition.as_str(),
                    "a channel lets no phone in"
                );
                self.acknowledge(&invited, "Declined");
            }
        }
    }

    fn acknowledge(&mut self, invited: &Invited, value: &str) {
        let ack = element("invitation-ack", NS_MISC)
            .child(element("value", NS_MISC).text(value))
            .child(invitation(invited));
        let from = self.identity.full(&invited.contact.clone().into()).into();
        let kind = MessageType::Normal;
        self.out
            .message(kind, &from, &invited.inviter, [ack.build()]);
    }
}

/// The invitation as it is passed on: who invites is whom it came from, whatever it said.
fn invitation(invited: &Invited) -> Element {
    let Invited {
        inviter,
        contact,
        channel,
        token,
    } = invited;
    let part = |name, text: &str| element(name, NS_MISC).text(text).build();
    element("invitation", NS_MISC)
        .child(part("inviter", inviter.to_bare().as_str()))
        .child(part("invitee", contact.as_str()))
        .child(part("channel", channel.as_str()))
        .child(part("token", token))
        .build()
}
