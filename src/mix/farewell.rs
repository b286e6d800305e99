//! The last words of a call whose parties part: who leaves a channel, or is put out of it, can be
//! reached through it no more, so whoever talks with a phone hears that the call is over from here.

use std::collections::BTreeMap;

use jid::{BareJid, Jid};
use minidom::Element;

use super::address::{self, Encoded, Place, StableId};
use super::{Mix, anonymity, readdress};

/// A participant that has just left a channel with a phone in it, or a phone that has.
#[derive(Clone, Debug)]
pub struct Parted {
    channel: String,
    secret: [u8; 32],
    id: StableId,
    jid: BareJid,
    /// Real resources by those that were shown for them; not for who was visible.
    hidden: Option<BTreeMap<String, String>>,
    /// The phones that it could call, or itself, each with its id, and whether it was hidden.
    phones: BTreeMap<BareJid, (StableId, bool)>,
}

impl Mix {
    /// The next participant whose calls are to be ended.
    pub fn poll_parted(&mut self) -> Option<Parted> {
        self.parted.pop_front()
    }

    /// True if a peer, as it is seen through the channel, and a phone have lost each other.
    pub fn are_parted(&self, parted: &Parted, peer: &BareJid, phone: &BareJid) -> bool {
        let Place::Encoded(peer_parts) = Place::of(&peer.clone().into()) else {
            return false;
        };
        let here = peer.domain() == &*self.config.domain && peer_parts.channel == parted.channel;
        here && (peer_parts.id.as_ref() == Some(&parted.id) || *phone == parted.jid)
    }

    /// Sends what a phone says to end a call with who has left.
    pub fn see_off(&mut self, parted: &Parted, mut stanza: Element) {
        let jid = |name| Jid::new(stanza.attr(name)?).ok();
        let (Some(from), Some(to)) = (jid("from"), jid("to")) else {
            return;
        };
        let Place::Encoded(to) = Place::of(&to) else {
            return;
        };
        let shown = self.shown_phone(parted, &from);
        let (Some(shown), Some(real)) = (shown, self.behind(parted, &to)) else {
            return;
        };
        let word = |name| stanza.attr(name).unwrap_or_default().to_owned();
        let (kind, id) = (word("type"), word("id"));
        anonymity::mask(&mut stanza, &from, &shown);
        readdress(&mut stanza, &kind, &shown, &real, &id);
        self.out.forward(stanza);
    }

    /// The JID that a phone was seen under.
    fn shown_phone(&self, parted: &Parted, phone: &Jid) -> Option<Jid> {
        let (id, hides) = parted.phones.get(&phone.to_bare())?;
        let resource = phone.resource().map(|r| match hides {
            true => address::hidden_resource(&parted.secret, id, r.as_str()),
            false => r.as_str().to_owned(),
        });
        address::encode(
            &self.config.domain,
            &parted.channel,
            id,
            resource.as_deref(),
        )
    }

    /// Who is, or was, behind an encoded JID.
    fn behind(&self, parted: &Parted, to: &Encoded) -> Option<Jid> {
        if to.id.as_ref() != Some(&parted.id) {
            return self.real_jid(to);
        }
        let shown = to.resource.as_deref();
        let real = match (shown, &parted.hidden) {
            (Some(shown), Some(clients)) => Some(clients.get(shown)?.as_str()),
            (shown, _) => shown,
        };
        address::with_resource(&parted.jid, real)
    }

    /// Notes that a participant is about to leave.
    pub(super) fn part(&mut self, name: &str, id: &StableId) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        let Some(participant) = channel.participants.get(id) else {
            return;
        };
        let phones: BTreeMap<BareJid, (StableId, bool)> = channel
            .participants
            .iter()
            .filter(|(other, p)| p.phone && (!participant.phone || *other == id))
            .map(|(id, p)| (p.jid.clone(), (id.clone(), channel.hides_id(id))))
            .collect();
        if phones.is_empty() {
            return;
        }
        let hidden = channel.hides_id(id).then(|| self.shown_resources(name, id));
        self.parted.push_back(Parted {
            channel: name.to_owned(),
            secret: channel.settings.secret,
            id: id.clone(),
            jid: participant.jid.clone(),
            hidden,
            phones,
        });
    }
}
