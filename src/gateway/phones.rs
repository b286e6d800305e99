//! Phones in channels: what the two XMPP rooms and the call table have to tell each other of them.

use std::time::Instant;

use jid::{BareJid, Jid};
use minidom::Element;

use super::{Gateway, Output, goes_to};
use crate::address::{Address, contact};
use crate::call::Calls;
use crate::leg::LegEvent;
use crate::text::TextEvent;
use crate::xmpp;

impl Gateway {
    /// A call through a channel comes from the participant itself: its rights, its limits and its
    /// caller ID are those of a direct call; but a channel that hides JIDs hides the caller from the
    /// phone too.
    pub(super) fn revealed(&self, mut event: LegEvent) -> LegEvent {
        if let LegEvent::Offered {
            from: Address::Xmpp(from),
            conceals,
            ..
        } = &mut event
            && let Some((real, hides)) = self.mix.as_ref().and_then(|mix| mix.revealed(from))
        {
            *conceals |= hides;
            *from = real.clone();
        }
        event
    }

    /// The same for a text.
    pub(super) fn revealed_text(&self, mut event: TextEvent) -> TextEvent {
        if let TextEvent::Came { text, conceals, .. } = &mut event
            && let Address::Xmpp(from) = &text.from
            && let Some((real, hides)) = self.mix.as_ref().and_then(|mix| mix.revealed(from))
        {
            *conceals |= hides;
            text.from = Address::Xmpp(real.clone());
        }
        event
    }

    /// Answers those who invite phones: who may call them out may also bring them into a channel.
    /// True if there was somebody.
    pub(super) fn answer_invitations(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(invited) = self.xmpp.poll_invited() {
            any = true;
            let ours = self.mix.as_ref().map(|mix| mix.domain());
            let is_ours = ours.is_some_and(|domain| invited.channel.domain() == &**domain);
            match self.calls.permits(&invited.inviter.to_bare()) {
                true => self.xmpp.take_invitation(now, invited, is_ours),
                false => self.xmpp.decline_invitation(&invited),
            }
        }
        any
    }

    /// Ends the calls of those who have left a channel, or were put out of it. True if there was
    /// somebody.
    pub(super) fn see_off(&mut self, now: Instant) -> bool {
        let Some(mix) = &mut self.mix else {
            return false;
        };
        let mut any = false;
        while let Some(parted) = mix.poll_parted() {
            any = true;
            let are_parted = |peer: &BareJid, phone: &BareJid| mix.are_parted(&parted, peer, phone);
            self.xmpp.part(are_parted);
            while let Some(stanza) = self.xmpp.poll_stanza() {
                if goes_to(&stanza, mix.domain().as_str()) {
                    mix.see_off(&parted, stanza);
                    continue;
                }
                if let Some(ladder) = &mut self.ladder
                    && let Some(rung) = ladder.stanza_out(now, &stanza)
                {
                    self.outputs.push_back(Output::Rung(rung));
                }
                self.outputs.push_back(Output::Stanza(stanza));
            }
        }
        any
    }

    /// Trunks have come or gone, and with them the phones behind them.
    pub(super) fn refresh_phones(&mut self, now: Instant) {
        if let Some(mix) = &mut self.mix {
            mix.refresh_phones(now, |phone| reaches(&self.calls, &phone.clone().into()));
        }
    }

    /// True for the presence of a phone that no trunk reaches: it is kept from channels.
    pub(super) fn is_out_of_reach(&self, stanza: &Element) -> bool {
        let from = stanza.attr("from").and_then(|from| Jid::new(from).ok());
        xmpp::presence::is_available(stanza)
            && from.is_some_and(|from| !reaches(&self.calls, &from))
    }
}

/// True if a call to this contact could go somewhere.
fn reaches(calls: &Calls, phone: &Jid) -> bool {
    let contact = phone.node().map(|node| contact::parse(node.as_str()));
    matches!(contact, Some(Ok(contact)) if calls.reaches(&contact.address))
}
