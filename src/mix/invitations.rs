//! Who comes in: by the lists of a channel, or by an invitation (XEP-0407 §3).
//!
//! A token is made of who invites and who is invited, so none is kept; it is good as long as who
//! invited may invite, and nobody is taken from the allowed: else who was taken from them would come
//! back by it. A phone of this gateway comes by invitation only, which the XMPP room has got
//! from the inviter itself: that one needs no token.

use jid::BareJid;
use minidom::Element;

use super::address::{self, StableId};
use super::rights::Role;
use super::store::Channel;
use super::{Mix, NS_MISC, Outcome};
use crate::xmpp::stanza::{Condition, StanzaError, StanzaHead, element};

impl Mix {
    /// Gives a participant an invitation for somebody else.
    pub(super) fn invite(&mut self, head: &StanzaHead, invite: &Element, name: &str) -> Outcome {
        let inviter = head.from.to_bare();
        let channel = self.channel(name)?;
        if !may_invite(channel, &inviter) {
            return Err(Condition::NotAllowed.into());
        }
        let invitee = named(invite, "invitee").ok_or(Condition::BadRequest)?;
        let token = token(channel, &inviter, &invitee);
        let own = self.channel_jid(name);
        let part = |name, text: &str| element(name, NS_MISC).text(text).build();
        let invitation = element("invitation", NS_MISC)
            .child(part("inviter", inviter.as_str()))
            .child(part("invitee", invitee.as_str()))
            .child(part("channel", own.as_str()))
            .child(part("token", &token));
        let answer = element("invite", NS_MISC).child(invitation).build();
        self.out.result(head, Some(answer));
        Ok(())
    }

    /// Whether `jid` may join; true if it is to be added to the allowed for that.
    pub(super) fn admission(
        &self,
        channel: &Channel,
        name: &str,
        jid: &BareJid,
        join: &Element,
    ) -> Result<bool, StanzaError> {
        let invitation = join.get_child("invitation", NS_MISC);
        let comes_alone = !self.is_phone(jid) || channel.id_of(jid).is_some();
        let welcome = match invitation {
            Some(invitation) => {
                !channel.bans(jid) && self.is_invited(channel, name, jid, invitation)
            }
            None => comes_alone && channel.admits(jid),
        };
        match welcome && jid.node().is_some() {
            true => Ok(!channel.admits(jid)),
            false => Err(Condition::NotAllowed.into()),
        }
    }

    fn is_invited(
        &self,
        channel: &Channel,
        name: &str,
        jid: &BareJid,
        invitation: &Element,
    ) -> bool {
        let Some(inviter) = named(invitation, "inviter") else {
            return false;
        };
        let shown = invitation.get_child("token", NS_MISC);
        let shown = shown.map(Element::text).unwrap_or_default();
        let is_vouched = self.is_phone(jid) || shown == token(channel, &inviter, jid);
        let is_for_us = named(invitation, "channel") == Some(self.channel_jid(name));
        let is_for_them = named(invitation, "invitee").as_ref() == Some(jid);
        is_vouched && is_for_us && is_for_them && may_invite(channel, &inviter)
    }
}

fn may_invite(channel: &Channel, inviter: &BareJid) -> bool {
    let least = match channel.settings.invitations {
        true => Role::Participant,
        false => Role::Admin,
    };
    channel.role(inviter) >= least
}

fn token(channel: &Channel, inviter: &BareJid, invitee: &BareJid) -> String {
    let round = channel.settings.invitation_round;
    let text = format!("invitation\0{inviter}\0{invitee}\0{round}");
    let secret = address::derived(&channel.settings.secret, &text);
    StableId::of(&secret, invitee).to_string()
}

fn named(parent: &Element, name: &'static str) -> Option<BareJid> {
    BareJid::new(parent.get_child(name, NS_MISC)?.text().trim()).ok()
}
