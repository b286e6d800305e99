//! Encoded JIDs (XEP-0403 §3.2): `<stable id>#<channel>@<domain>/<resource>`, and what else a JID of
//! the service may name.

use std::fmt;
use std::sync::Arc;

use jid::{BareJid, DomainRef, Jid, NodePart, ResourcePart};
use ring::hmac;

/// Longest channel name in bytes: with stable id and `#` it still fits the 1023 bytes of a local
/// part (RFC 7622 §3.3).
pub const MAX_NAME: usize = 900;

/// Hex digits of a stable id: 96 bits, which never meet by chance.
const ID_DIGITS: usize = 24;
/// Longest stable id that is looked up at all.
const MAX_ID: usize = 64;
/// Hex digits of a resource that stands for a hidden one.
const SHOWN_DIGITS: usize = 16;

/// Who a participant is within one channel, for good (XEP-0369 §4.3). Lower case only: it stands in
/// the local part of a JID, where servers fold case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StableId(Arc<str>);

impl StableId {
    /// The id of `jid` in the channel with this secret: the same after leaving and joining again,
    /// another in each channel, and of no use to find the JID.
    pub fn of(secret: &[u8; 32], jid: &BareJid) -> Self {
        Self(digits(secret, &format!("id\0{jid}"), ID_DIGITS).into())
    }

    /// Reads an id that somebody wrote.
    pub fn read(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= MAX_ID
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The resource that a hidden client is shown with: always the same one (XEP-0404 §3.2).
pub fn hidden_resource(secret: &[u8; 32], id: &StableId, resource: &str) -> String {
    digits(secret, &format!("resource\0{id}\0{resource}"), SHOWN_DIGITS)
}

/// A secret of its own for what is named `name`, from one that several share.
pub fn derived(key: &[u8], name: &str) -> [u8; 32] {
    let mut secret = [0; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    secret.copy_from_slice(hmac::sign(&key, name.as_bytes()).as_ref());
    secret
}

fn digits(secret: &[u8; 32], text: &str, count: usize) -> String {
    let hex = derived(secret, text).into_iter();
    let mut hex: String = hex.map(|b| format!("{b:02x}")).collect();
    hex.truncate(count);
    hex
}

/// What a JID of the service names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The service itself.
    Service,
    /// A channel, or with a resource the sender of one of its messages.
    Channel {
        /// Its name.
        name: String,
        /// A stable id, if any.
        resource: Option<String>,
    },
    /// A participant of a channel, or one of its clients.
    Encoded(Encoded),
}

/// The parts of an encoded JID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The participant; `None` if no id can look like that.
    pub id: Option<StableId>,
    /// The channel.
    pub channel: String,
    /// The client.
    pub resource: Option<String>,
}

impl Place {
    /// Reads a JID of the service's domain. The first `#` divides.
    pub fn of(jid: &Jid) -> Self {
        let resource = jid.resource().map(|r| r.as_str().to_owned());
        let Some(node) = jid.node() else {
            return Self::Service;
        };
        match node.as_str().split_once('#') {
            Some((id, channel)) => Self::Encoded(Encoded {
                id: StableId::read(id),
                channel: channel.to_owned(),
                resource,
            }),
            None => Self::Channel {
                name: node.as_str().to_owned(),
                resource,
            },
        }
    }
}

/// A channel's name as it stands in its JID, if it can stand there.
pub fn channel_name(text: &str) -> Option<String> {
    let node = NodePart::new(text).ok()?;
    let fits = node.as_str().len() <= MAX_NAME && !node.as_str().contains('#');
    fits.then(|| node.as_str().to_owned())
}

/// The JID of a channel; `None` if its name is none.
pub fn channel_jid(domain: &DomainRef, channel: &str) -> Option<BareJid> {
    let node = NodePart::new(channel).ok()?;
    Some(BareJid::from_parts(Some(&node), domain))
}

/// An encoded JID; `None` if a part cannot stand in one.
pub fn encode(
    domain: &DomainRef,
    channel: &str,
    id: &StableId,
    resource: Option<&str>,
) -> Option<Jid> {
    let local = format!("{id}#{channel}");
    let node = NodePart::new(&local).ok()?;
    let resource = match resource {
        Some(resource) => Some(ResourcePart::new(resource).ok()?),
        None => None,
    };
    Some(Jid::from_parts(Some(&node), domain, resource.as_deref()))
}

/// `jid` with a resource, if one is given.
pub fn with_resource(jid: &BareJid, resource: Option<&str>) -> Option<Jid> {
    match resource {
        Some(resource) => jid.with_resource_str(resource).ok().map(Jid::from),
        None => Some(jid.clone().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::of(&Jid::new(text).unwrap())
    }

    #[test]
    fn an_encoded_jid_survives_case_folding_and_odd_resources() {
        let jid = BareJid::new("alice@x.example").unwrap();
        let id = StableId::of(&[7; 32], &jid);
        assert!(id.as_str().len() >= 16);
        let domain = jid::DomainPart::new("mix.example").unwrap();
        let written = encode(&domain, "coven", &id, Some("a/b@c #d")).unwrap();
        let (bare, resource) = written.as_str().split_once('/').unwrap();
        let shouted = format!("{}/{resource}", bare.to_uppercase());
        let Place::Encoded(read) = place(&shouted) else {
            panic!("{shouted}");
        };
        assert_eq!(read.id, Some(id));
        assert_eq!(read.channel, "coven");
        assert_eq!(read.resource.as_deref(), Some("a/b@c #d"));
    }

    #[test]
    fn a_stable_id_differs_per_channel_and_stays() {
        let jid = BareJid::new("alice@x.example").unwrap();
        assert_eq!(StableId::of(&[1; 32], &jid), StableId::of(&[1; 32], &jid));
        assert_ne!(StableId::of(&[1; 32], &jid), StableId::of(&[2; 32], &jid));
    }

    #[test]
    fn names_that_cannot_be_encoded_are_refused() {
        assert_eq!(channel_name("Coven").as_deref(), Some("coven"));
        assert_eq!(channel_name("a#b"), None);
        assert_eq!(channel_name("a@b"), None);
        assert_eq!(channel_name(""), None);
        assert_eq!(channel_name(&"x".repeat(901)), None);
    }
}
