//! Service discovery (XEP-0030): who we are and what we can do, for the domain and for every
//! contact, at any resource and to anybody who asks.

use minidom::Element;

use crate::xmpp::stanza::element;
use crate::xmpp::{caps, chat, gateway_iq, jingle, ping, vcard, version};

/// The namespace of disco#info.
pub const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
/// The namespace of disco#items.
pub const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_INFO, NS_ITEMS];

/// Said of the domain so that clients without `jabber:iq:gateway` make contact JIDs themselves
/// (XEP-0106 §6).
pub const JID_ESCAPING: &str = r"jid\20escaping";

/// One of our faces: what disco#info says of some of our JIDs.
#[derive(Clone, Debug)]
pub struct Face {
    /// Category and type.
    identities: Vec<(&'static str, &'static str)>,
    /// No `xml:lang` beside it: Dino leaves the language out of the hash.
    name: String,
    features: Vec<&'static str>,
    /// The caps node, without the hash.
    node: String,
    ver: String,
}

impl Face {
    /// A contact, which takes texts and pictures or does not.
    pub fn contact(name: &str, node: &str, takes_texts: bool, has_video: bool) -> Self {
        let video = match has_video {
            true => jingle::VIDEO_FEATURES,
            false => &[],
        };
        let texts = match takes_texts {
            true => chat::FEATURES,
            false => &[],
        };
        let parts = [
            texts,
            video,
            FEATURES,
            caps::FEATURES,
            jingle::FEATURES,
            &[jingle::NS_TRANSFER],
            ping::FEATURES,
            vcard::FEATURES,
            version::FEATURES,
        ];
        // Never gateway/pstn: Cheogram makes a phone account of every JID that says so.
        Self::new(vec![("client", "phone")], name, parts.concat(), node)
    }

    /// A user's client; its vCard is at the server.
    pub fn client(name: &str, node: &str) -> Self {
        let parts = [
            FEATURES,
            caps::FEATURES,
            jingle::FEATURES,
            ping::FEATURES,
            version::FEATURES,
        ];
        Self::new(vec![("client", "phone")], name, parts.concat(), node)
    }

    /// The domain of a component.
    pub fn domain(name: &str, node: &str) -> Self {
        let parts = [
            FEATURES,
            caps::FEATURES,
            gateway_iq::FEATURES,
            ping::FEATURES,
            vcard::FEATURES,
            version::FEATURES,
            &[JID_ESCAPING],
        ];
        let identities = vec![("gateway", "pstn"), ("gateway", "sip")];
        Self::new(identities, name, parts.concat(), node)
    }

    fn new(
        identities: Vec<(&'static str, &'static str)>,
        name: &str,
        mut features: Vec<&'static str>,
        node: &str,
    ) -> Self {
        features.sort_unstable();
        let mut face = Self {
            identities,
            name: name.to_owned(),
            features,
            node: node.to_owned(),
            ver: String::new(),
        };
        face.ver = caps::ver(&face.info(None)).unwrap_or_default();
        face
    }

    /// What it can do.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// True if `node` is one that our presence announces, in this version or an earlier one.
    pub fn is_caps_node(&self, node: &str) -> bool {
        node == self.node
            || node
                .strip_prefix(&self.node)
                .is_some_and(|ver| ver.starts_with('#'))
    }

    /// True if `node` is the one that our presence announces, with this hash.
    pub fn is_exactly(&self, node: &str) -> bool {
        let hash = node.strip_prefix(&self.node);
        hash.and_then(|hash| hash.strip_prefix('#')) == Some(&*self.ver)
    }

    /// The `<c/>` of its presence.
    pub fn caps(&self) -> Element {
        caps::element_of(&self.node, &self.ver)
    }

    /// The disco#info `<query/>`; `node` is repeated as it was asked.
    pub fn info(&self, node: Option<&str>) -> Element {
        let identities = self.identities.iter().map(|(category, kind)| {
            element("identity", NS_INFO)
                .attr("category", category)
                .attr("type", kind)
                .attr("name", &self.name)
                .build()
        });
        let features = self
            .features
            .iter()
            .map(|var| element("feature", NS_INFO).attr("var", var).build());
        element("query", NS_INFO)
            .attr_opt("node", node)
            .children(identities)
            .children(features)
            .build()
    }
}

/// The disco#items `<query/>`: nothing to list, since contacts are not given away.
pub fn items(node: Option<&str>) -> Element {
    element("query", NS_ITEMS).attr_opt("node", node).build()
}
