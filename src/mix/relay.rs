//! The IQ relay (XEP-0403 §4.5, §4.6): a request to an encoded JID goes to the client or the server
//! behind it, from the encoded JID of who asks; the answer goes back from the JID that was asked.
//!
//! Answers are matched to requests, so nobody can send results that were never asked for, and who
//! asks is answered even if the other end never does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jid::{BareJid, Jid};
use minidom::Element;
use tracing::debug;

use super::address::{self, Encoded, StableId};
use super::store::RelayPolicy;
use super::{Mix, NS_PUBSUB, Outcome, anonymity, preferences, readdress};
use crate::timer::Timers;
use crate::xmpp::stanza::{Condition, ErrorType, IqType, Kind, NS_CLIENT, StanzaError, StanzaHead};
use crate::xmpp::{disco, jingle, ping, vcard};

/// How long an answer may take. Servers give up on dead links within a minute.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Requests of one client at a time. A call is about ten; asking 100 participants what they can do
/// goes through.
pub const MAX_OF_ONE: usize = 128;
/// Requests of all at a time: 5,000 a second that take three seconds each. About 10 MB.
pub const MAX_OPEN: usize = 16_384;
/// Bytes of a relayed stanza at most, as most servers allow their users.
pub const MAX_STANZA: usize = 256 * 1024;

/// Payloads that a channel relays if its policy is a list: what asks who and what somebody is, and
/// what sets up calls and transfers.
const LISTED: &[&str] = &[
    disco::NS_INFO,
    disco::NS_ITEMS,
    vcard::NS_VCARD_TEMP,
    vcard::NS_VCARD4,
    jingle::NS_JINGLE,
    ping::NS_PING,
    "jabber:iq:version",
    "jabber:iq:last",
    "urn:xmpp:time",
    "http://jabber.org/protocol/ibb",
    "http://jabber.org/protocol/bytestreams",
];
/// Nodes of a personal eventing service that may be read.
const READABLE: &[&str] = &["urn:xmpp:vcard4", "urn:xmpp:avatar:"];
/// Payloads of a user and the user's own server: never relayed.
const NEVER: &[&str] = &[
    "jabber:iq:roster",
    "jabber:iq:register",
    "jabber:iq:privacy",
    "jabber:iq:private",
    "jabber:iq:auth",
    "urn:xmpp:blocking",
    "urn:xmpp:mix:pam:",
    "urn:xmpp:mam:",
    "http://jabber.org/protocol/pubsub#owner",
];

/// Channel, who asks and who is asked by their real JIDs, and the id on the way to the latter.
type Key = (String, Jid, Jid, String);

struct Pending {
    /// As the requester wrote it; the answer comes from there.
    addressed: Jid,
    target: StableId,
    /// The requester's own id.
    id: String,
}

/// Requests that wait for their answers.
#[derive(Default)]
pub(super) struct Relay {
    open: BTreeMap<Key, Pending>,
    of_one: BTreeMap<Jid, usize>,
    timers: Timers<Key>,
}

impl Relay {
    pub(super) fn soonest(&self) -> Option<Instant> {
        self.timers.soonest()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn insert(&mut self, now: Instant, key: Key, pending: Pending) {
        *self.of_one.entry(key.1.clone()).or_default() += 1;
        self.timers.set(key.clone(), now + PATIENCE);
        self.open.insert(key, pending);
    }

    fn take(&mut self, key: &Key) -> Option<Pending> {
        let pending = self.open.remove(key)?;
        self.timers.stop(key);
        if let Some(count) = self.of_one.get_mut(&key.1) {
            *count -= 1;
            if *count == 0 {
                self.of_one.remove(&key.1);
            }
        }
        Some(pending)
    }
}

impl Mix {
    pub(super) fn relay_request(
        &mut self,
        now: Instant,
        kind: IqType,
        head: &StanzaHead,
        stanza: &Element,
        payload: &Element,
        to: Encoded,
    ) -> Outcome {
        let channel = self.channel(&to.channel)?;
        let sender = head.from.to_bare();
        let sender_id = channel.id_of(&sender).ok_or(Condition::Forbidden)?;
        let target_id = to.id.clone().ok_or(Condition::ItemNotFound)?;
        let target = channel.participants.get(&target_id);
        let target = target.ok_or(Condition::ItemNotFound)?;
        // Two phones of this gateway: a call would go from SIP to SIP and back again.
        if target.phone && self.is_phone(&sender) {
            return Err(Condition::NotAllowed.into());
        }
        let ns = payload.ns();
        let is_vcard = asks_for_vcard(payload);
        permitted(channel.settings.relay, kind, payload)?;
        if is_vcard && !preferences::opens_vcard(channel, target) {
            return Err(Condition::Forbidden.into());
        }
        let target = target.jid.clone();
        // XEP-0403 §4.6: to the bare JID, whose server answers.
        let resource = to.resource.as_deref().filter(|_| !is_vcard);
        let real = match resource {
            Some(shown) => {
                let real = self.real_resource(&to.channel, &target_id, shown);
                // As a server answers for a client that is not there.
                Some(real.ok_or(Condition::ServiceUnavailable)?)
            }
            None => None,
        };
        let real = address::with_resource(&target, real.as_deref());
        let real = real.ok_or(Condition::ItemNotFound)?;
        if self.relay.open.len() >= MAX_OPEN
            || self.relay.of_one.get(&head.from) >= Some(&MAX_OF_ONE)
        {
            return Err(Condition::ResourceConstraint.into());
        }
        let from = head.from.resource().map(|r| r.as_str());
        let from = self.shown_jid(&to.channel, &sender_id, from);
        let from = from.ok_or(Condition::JidMalformed)?;
        let mut relayed = stanza.clone();
        self.mask_sender(
            &mut relayed,
            &to.channel,
            &sender_id,
            &ns,
            &head.from,
            &from,
        );
        // XEP-0403 keeps the id. The same one twice at a time gets another for the way there.
        let mut key = (to.channel, head.from.clone(), real, head.id().to_owned());
        if self.relay.open.contains_key(&key) {
            key.3 = self.out.fresh_id();
        }
        readdress(&mut relayed, kind.as_str(), &from, &key.2, &key.3);
        if String::from(&relayed).len() > MAX_STANZA {
            return Err(Condition::NotAcceptable.into());
        }
        let pending = Pending {
            addressed: head.to.clone(),
            target: target_id,
            id: head.id().to_owned(),
        };
        self.relay.insert(now, key, pending);
        self.out.forward(relayed);
        Ok(())
    }

    /// An answer. What nobody waits for is dropped.
    pub(super) fn relay_response(&mut self, head: &StanzaHead, stanza: &Element, to: &Encoded) {
        let Kind::Iq(kind) = head.kind else { return };
        let Some(requester) = self.real_jid(to) else {
            return;
        };
        let channel = to.channel.clone();
        let key = (channel, requester, head.from.clone(), head.id().to_owned());
        let Some(pending) = self.relay.take(&key) else {
            debug!("an answer that nobody waits for");
            return;
        };
        let mut relayed = stanza.clone();
        let ns = stanza
            .children()
            .next()
            .map(Element::ns)
            .unwrap_or_default();
        let (name, sender, shown) = (&key.0, &pending.target, &pending.addressed);
        self.mask_sender(&mut relayed, name, sender, &ns, &head.from, shown);
        if kind == IqType::Error && self.is_hidden(name, sender) {
            anonymity::blank_error(&mut relayed);
        }
        let (from, to) = (&pending.addressed, &key.1);
        readdress(&mut relayed, kind.as_str(), from, to, &pending.id);
        self.out.forward(relayed);
    }

    pub(super) fn relay_timeout(&mut self, now: Instant) {
        while let Some(key) = self.relay.timers.pop_due(now) {
            self.answer_pending(&key, Condition::RemoteServerTimeout);
        }
    }

    /// Ends what somebody who leaves has asked or was asked.
    pub(super) fn relay_forget(&mut self, name: &str, id: &StableId) {
        let channel = self.state.channels.get(name);
        let Some(jid) = channel.and_then(|c| c.participants.get(id)) else {
            return;
        };
        let jid = jid.jid.clone();
        let keys: Vec<Key> = self
            .relay
            .open
            .iter()
            .filter(|(key, pending)| {
                key.0 == name && (pending.target == *id || key.1.to_bare() == jid)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.answer_pending(&key, Condition::ItemNotFound);
        }
    }

    /// Answers for somebody who does not.
    fn answer_pending(&mut self, key: &Key, condition: Condition) {
        let Some(pending) = self.relay.take(key) else {
            return;
        };
        let asked = StanzaHead {
            kind: Kind::Iq(IqType::Get),
            from: key.1.clone(),
            to: pending.addressed,
            id: Some(pending.id),
            language: None,
        };
        let error = StanzaError {
            kind: match condition {
                Condition::RemoteServerTimeout => ErrorType::Wait,
                other => other.usual_type(),
            },
            ..StanzaError::from(condition)
        };
        self.out.error(&asked, &error);
    }

    /// The real JID behind an encoded one.
    pub(super) fn real_jid(&self, to: &Encoded) -> Option<Jid> {
        let id = to.id.as_ref()?;
        let channel = self.state.channels.get(&to.channel)?;
        let jid: &BareJid = &channel.participants.get(id)?.jid;
        let resource = match &to.resource {
            Some(shown) => Some(self.real_resource(&to.channel, id, shown)?),
            None => None,
        };
        address::with_resource(jid, resource.as_deref())
    }

    /// True if the JID of a participant is hidden.
    pub(super) fn is_hidden(&self, name: &str, id: &StableId) -> bool {
        let channel = self.state.channels.get(name);
        channel.is_some_and(|c| c.hides_id(id))
    }

    /// A hidden sender is named by its encoded JID; Jingle names its parties by the JIDs that they
    /// see of each other in any channel.
    fn mask_sender(
        &self,
        stanza: &mut Element,
        name: &str,
        sender: &StableId,
        payload_ns: &str,
        real: &Jid,
        shown: &Jid,
    ) {
        if self.is_hidden(name, sender) || payload_ns == jingle::NS_JINGLE {
            anonymity::mask(stanza, real, shown);
        }
    }
}

fn permitted(policy: RelayPolicy, kind: IqType, payload: &Element) -> Outcome {
    let ns = payload.ns();
    if NEVER.iter().any(|never| ns.starts_with(never)) || ns == NS_CLIENT {
        return Err(Condition::NotAllowed.into());
    }
    let passes = match policy {
        RelayPolicy::All => true,
        RelayPolicy::None => false,
        RelayPolicy::Listed if ns == NS_PUBSUB => {
            let mut nodes = payload.children().filter_map(|c| c.attr("node"));
            let readable = |node: &str| READABLE.iter().any(|start| node.starts_with(start));
            kind == IqType::Get && nodes.next().is_some_and(readable)
        }
        RelayPolicy::Listed => LISTED.contains(&ns.as_str()),
    };
    match passes {
        true => Ok(()),
        false => Err(Condition::NotAllowed.into()),
    }
}

fn asks_for_vcard(payload: &Element) -> bool {
    let ns = payload.ns();
    let mut nodes = payload.children().filter_map(|c| c.attr("node"));
    ns == vcard::NS_VCARD_TEMP
        || ns == vcard::NS_VCARD4
        || (ns == NS_PUBSUB && nodes.any(|node| node.starts_with("urn:xmpp:vcard4")))
}
