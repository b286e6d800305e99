//! Entity capabilities (XEP-0115): the hash of a disco#info answer, and what the resources of our
//! users can do, learnt from the presence they send us.
//!
//! A resource is asked once what its hash means, and not at all once any resource has told; a user
//! with a hundred contacts here sends the same presence a hundred times. An answer that does not hash to
//! what was announced counts for its sender alone (XEP-0115 §5.4), and so does one that holds a `<`, which
//! separates the parts of what is hashed: two answers could hash alike. So nobody can spoil another's.

use std::collections::{BTreeMap, BTreeSet};

use jid::{BareJid, FullJid};
use minidom::Element;
use sha1::{Digest, Sha1};

use crate::id::base64;
use crate::xmpp::disco::NS_INFO;
use crate::xmpp::lru::Lru;
use crate::xmpp::stanza::{MAX_ID, element};

/// The namespace of `<c/>`.
pub const NS_CAPS: &str = "http://jabber.org/protocol/caps";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_CAPS];

const NS_DATA: &str = "jabber:x:data";

/// Users whose resources are remembered; the one not heard of for the longest time is forgotten.
/// 20 000 users with two devices each are about 10 MB.
const MAX_USERS: usize = 20_000;

/// Resources remembered of one user. Servers allow a user about this many sessions.
const MAX_RESOURCES: usize = 16;

/// Verified hashes remembered. One is one version of one client with one set of plugins; all of the
/// public network has a few thousand.
const MAX_HASHES: usize = 4_096;

/// The `ver` of a disco#info `<query/>` (XEP-0115 §5.1), by sha-1; `None` if the answer is
/// ill-formed in a way that §5.4 refuses, since two such answers could hash alike.
pub fn ver(query: &Element) -> Option<String> {
    let mut identities = BTreeSet::new();
    let mut features = BTreeSet::new();
    let mut forms = BTreeMap::new();
    for child in query.children() {
        if child.is("identity", NS_INFO) {
            let attr = |name| child.attr(name).unwrap_or_default();
            let lang = child.attr_ns(&minidom::rxml::Namespace::XML, "lang");
            let lang = lang.unwrap_or_default();
            let line = [attr("category"), attr("type"), lang, attr("name")].join("/");
            if !identities.insert(part(&line)?.to_owned()) {
                return None;
            }
        } else if child.is("feature", NS_INFO) {
            if !features.insert(part(child.attr("var")?)?.to_owned()) {
                return None;
            }
        } else if child.is("x", NS_DATA) {
            let Some((form_type, text)) = form(child)? else {
                continue;
            };
            if forms.insert(form_type, text).is_some() {
                return None;
            }
        }
    }
    let lines = identities.into_iter().chain(features);
    let mut text: String = lines.flat_map(|line| [line, "<".to_owned()]).collect();
    text.extend(forms.into_values());
    Some(base64(&Sha1::digest(text.as_bytes())))
}

/// A part of the text that is hashed, unless it would read as several (XEP-0115 §5.1).
fn part(text: &str) -> Option<&str> {
    (!text.contains('<')).then_some(text)
}

/// A form's FORM_TYPE and its part of the text that is hashed. The outer `None` refuses the whole
/// answer, the inner one leaves the form out.
fn form(x: &Element) -> Option<Option<(String, String)>> {
    let values = |field: &Element| {
        let values = field.children().filter(|c| c.is("value", NS_DATA));
        let mut values: Vec<_> = values.map(Element::text).collect();
        values.sort();
        values
    };
    let fields = || x.children().filter(|c| c.is("field", NS_DATA));
    let Some(type_field) = fields().find(|f| f.attr("var") == Some("FORM_TYPE")) else {
        return Some(None);
    };
    if type_field.attr("type") != Some("hidden") {
        return Some(None);
    }
    let mut types = values(type_field);
    types.dedup();
    if types.len() > 1 {
        return None;
    }
    let form_type = types.into_iter().next().unwrap_or_default();
    let mut by_var: Vec<_> = fields()
        .filter(|f| f.attr("var") != Some("FORM_TYPE"))
        .map(|f| (f.attr("var").unwrap_or_default(), values(f)))
        .collect();
    by_var.sort();
    let mut text = format!("{}<", part(&form_type)?);
    for (var, values) in &by_var {
        text.push_str(part(var)?);
        text.push('<');
        for value in values {
            text.push_str(part(value)?);
            text.push('<');
        }
    }
    Some(Some((form_type, text)))
}

/// The `<c/>` of our presence.
pub fn element_of(node: &str, ver: &str) -> Element {
    element("c", NS_CAPS)
        .attr("hash", "sha-1")
        .attr("node", node)
        .attr("ver", ver)
        .build()
}

/// A `<c/>` that somebody announces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// Which program.
    pub node: String,
    /// The hash; or, before XEP-0115 1.4, a version.
    pub ver: String,
    /// True if `ver` is a sha-1 that can be checked.
    pub verifiable: bool,
}

impl Announced {
    /// Reads the `<c/>` of a presence.
    pub fn read(presence: &Element) -> Option<Self> {
        let c = presence.get_child("c", NS_CAPS)?;
        let (node, ver) = (c.attr("node")?, c.attr("ver")?);
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_ID;
        (fits(node) && fits(ver)).then(|| Self {
            node: node.to_owned(),
            ver: ver.to_owned(),
            verifiable: c.attr("hash") == Some("sha-1"),
        })
    }
}

/// What matters of a disco#info answer to a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// XEP-0353 invitations.
    pub invitations: bool,
    /// Jingle RTP audio over ICE.
    pub audio: bool,
    /// Jingle RTP video over ICE.
    pub video: bool,
    /// DTLS-SRTP (XEP-0320).
    pub dtls: bool,
}

impl Abilities {
    /// Reads a disco#info `<query/>`.
    pub fn read(query: &Element) -> Self {
        let has = |var: &str| {
            let mut features = query.children().filter(|c| c.is("feature", NS_INFO));
            features.any(|f| f.attr("var") == Some(var))
        };
        let rtp = has("urn:xmpp:jingle:1")
            && has("urn:xmpp:jingle:apps:rtp:1")
            && has("urn:xmpp:jingle:transports:ice-udp:1");
        Self {
            invitations: has("urn:xmpp:jingle-message:0"),
            audio: rtp && has("urn:xmpp:jingle:apps:rtp:audio"),
            video: rtp && has("urn:xmpp:jingle:apps:rtp:video"),
            dtls: has("urn:xmpp:jingle:apps:dtls:0"),
        }
    }
}

/// A resource of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its JID.
    pub jid: FullJid,
    /// What it can do; `None` while nobody knows.
    pub abilities: Option<Abilities>,
}

#[derive(Clone, Debug)]
struct Present {
    announced: Option<Announced>,
    /// An answer that counts for this resource alone.
    own: Option<Abilities>,
    /// It has been asked what `announced` means.
    asked: bool,
}

/// The present resources of our users. A resource that is not here may be there all the same: many
/// users never send us presence.
#[derive(Clone, Debug)]
pub struct Resources {
    users: Lru<BareJid, BTreeMap<FullJid, Present>>,
    hashes: Lru<String, Abilities>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            users: Lru::new(MAX_USERS),
            hashes: Lru::new(MAX_HASHES),
        }
    }
}

impl Resources {
    /// A resource is there; true if it is to be asked what it announces.
    pub fn available(&mut self, jid: &FullJid, announced: Option<Announced>) -> bool {
        let ask = announced.as_ref().is_some_and(|announced| {
            !announced.verifiable || self.hashes.get_mut(&announced.ver).is_none()
        });
        let user = self.users.entry(jid.to_bare(), BTreeMap::new);
        if let Some(present) = user.get_mut(jid)
            && present.announced == announced
        {
            let first = ask && !present.asked;
            present.asked |= ask;
            return first;
        }
        if user.len() >= MAX_RESOURCES && !user.contains_key(jid) {
            // Not the new one: a live device matters more than whichever sorts first.
            user.pop_first();
        }
        let present = Present {
            announced,
            own: None,
            asked: ask,
        };
        user.insert(jid.clone(), present);
        ask
    }

    /// A resource could not be asked, or has not answered: it may be asked again.
    pub fn unanswered(&mut self, jid: &FullJid) {
        let user = self.users.get_mut(&jid.to_bare());
        if let Some(present) = user.and_then(|user| user.get_mut(jid)) {
            present.asked = false;
        }
    }

    /// A resource has gone.
    pub fn unavailable(&mut self, jid: &FullJid) {
        let bare = jid.to_bare();
        let Some(user) = self.users.get_mut(&bare) else {
            return;
        };
        user.remove(jid);
        if user.is_empty() {
            self.users.remove(&bare);
        }
    }

    /// Nobody knows any more who is there: what was said while the link was lost has been missed.
    pub fn forget_users(&mut self) {
        self.users = Lru::new(MAX_USERS);
    }

    /// A resource has answered what it announced.
    pub fn learnt(&mut self, jid: &FullJid, announced: &Announced, query: &Element) -> Abilities {
        let abilities = Abilities::read(query);
        if announced.verifiable && ver(query).is_some_and(|ver| ver == announced.ver) {
            self.hashes.entry(announced.ver.clone(), || abilities);
        } else if let Some(present) = self
            .users
            .get_mut(&jid.to_bare())
            .and_then(|u| u.get_mut(jid))
            && present.announced.as_ref() == Some(announced)
        {
            present.own = Some(abilities);
        }
        abilities
    }

    /// The resources of a user that are known to be there, in the order of their JIDs.
    pub fn of(&self, user: &BareJid) -> Vec<Resource> {
        let abilities = |present: &Present| {
            let announced = present.announced.as_ref().filter(|a| a.verifiable);
            let shared = announced.and_then(|a| self.hashes.get(&a.ver)).copied();
            present.own.or(shared)
        };
        let resources = self.users.get(user).into_iter().flatten();
        resources
            .map(|(jid, present)| Resource {
                jid: jid.clone(),
                abilities: abilities(present),
            })
            .collect()
    }

    /// Users with a known resource, and known hashes.
    pub fn counts(&self) -> (usize, usize) {
        (self.users.len(), self.hashes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(xml: &str) -> Element {
        let xml = format!("<query xmlns='{NS_INFO}'>{xml}</query>");
        xml.parse().unwrap()
    }

    const EXODUS: &str = "<identity category='client' name='Exodus 0.9.1' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/muc'/>";

    fn announced(ver: &str) -> Announced {
        Announced {
            node: "http://example.org".into(),
            ver: ver.into(),
            verifiable: true,
        }
    }

    fn full(jid: &str) -> FullJid {
        FullJid::new(jid).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_example_of_xep_0115_section_5_2() {
        let ver = ver(&query(EXODUS));
        assert_eq!(ver.as_deref(), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
    }

    #[test]
    fn the_hash_is_that_of_the_example_of_xep_0115_section_5_3() {
        let psi = query(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
             <feature var='http://jabber.org/protocol/caps'/>\
             <feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/disco#items'/>\
             <feature var='http://jabber.org/protocol/muc'/>\
             <x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version' type='text-multi'>\
             <value>ipv6</value><value>ipv4</value></field>\
             <field var='software_version'><value>0.11</value></field>\
             <field var='os'><value>Mac</value></field>\
             <field var='os_version'><value>10.5.1</value></field>\
             <field var='software'><value>Psi</value></field></x>",
        );
        let ver = ver(&psi);
        assert_eq!(ver.as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    }

    #[test]
    fn an_answer_with_anything_twice_has_no_hash() {
        let twice = "<feature var='a'/><feature var='a'/>";
        assert_eq!(ver(&query(twice)), None);
        let twice = "<identity category='a' type='b'/><identity category='a' type='b'/>";
        assert_eq!(ver(&query(twice)), None);
        let form = "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'>\
                    <value>a</value></field></x>";
        assert_eq!(ver(&query(&[form, form].concat())), None);
        assert!(ver(&query(form)).is_some());
        assert_eq!(ver(&query("<feature/>")), None);
    }

    #[test]
    fn a_hash_that_does_not_match_counts_for_its_sender_alone() {
        let mut resources = Resources::default();
        let (a, b) = (full("a@x.example/1"), full("b@x.example/1"));
        let jingle = query(
            "<feature var='urn:xmpp:jingle:1'/><feature var='urn:xmpp:jingle:apps:rtp:1'/>\
             <feature var='urn:xmpp:jingle:apps:rtp:audio'/>\
             <feature var='urn:xmpp:jingle:transports:ice-udp:1'/>",
        );
        let forged = announced("QgayPKawpkPSDYmwT/WM94uAlu0=");
        assert!(resources.available(&a, Some(forged.clone())));
        assert!(resources.learnt(&a, &forged, &jingle).audio);
        assert!(resources.available(&b, Some(forged.clone())));
        assert_eq!(resources.of(&b.to_bare())[0].abilities, None);
        assert!(resources.of(&a.to_bare())[0].abilities.unwrap().audio);

        resources.learnt(&b, &forged, &query(EXODUS));
        assert!(!resources.of(&b.to_bare())[0].abilities.unwrap().audio);
        let c = full("c@x.example/1");
        assert!(!resources.available(&c, Some(forged)), "the hash is known");
    }

    #[test]
    fn two_features_written_as_one_have_no_hash() {
        let client = "<identity category='client' type='phone'/>\
            <feature var='urn:xmpp:idle:1'/><feature var='urn:xmpp:jingle-message:0'/>\
            <feature var='urn:xmpp:jingle:1'/>";
        let real = ver(&query(client)).unwrap();
        let merged = client.replace(
            "'/><feature var='urn:xmpp:jingle-m",
            "&lt;urn:xmpp:jingle-m",
        );
        assert_ne!(merged, client);
        assert_eq!(ver(&query(&merged)), None);
        let named = |name: &str| {
            format!("<identity category='client' type='pc' name='{name}'/><feature var='a'/>")
        };
        assert!(ver(&query(&named("x"))).is_some());
        assert_eq!(ver(&query(&named("x&lt;a"))), None);
        let form = |var: &str, value: &str, kind: &str| {
            format!(
                "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'>\
                 <value>{kind}</value></field><field var='{var}'><value>{value}</value></field></x>"
            )
        };
        assert!(ver(&query(&form("a", "b", "c"))).is_some());
        for odd in [
            form("a&lt;", "b", "c"),
            form("a", "&lt;b", "c"),
            form("a", "b", "c&lt;"),
        ] {
            assert_eq!(ver(&query(&odd)), None, "{odd}");
        }

        let mut resources = Resources::default();
        let (mallory, alice) = (full("mallory@x.example/1"), full("alice@x.example/1"));
        resources.available(&mallory, Some(announced(&real)));
        resources.available(&alice, Some(announced(&real)));
        resources.learnt(&mallory, &announced(&real), &query(&merged));
        assert_eq!(resources.of(&alice.to_bare())[0].abilities, None);
        resources.learnt(&alice, &announced(&real), &query(client));
        let abilities = resources.of(&alice.to_bare())[0].abilities.unwrap();
        assert!(abilities.invitations);
    }

    #[test]
    fn a_resource_is_asked_once_for_each_thing_it_announces() {
        let mut resources = Resources::default();
        let a = full("a@x.example/1");
        assert!(!resources.available(&a, None));
        assert!(resources.available(&a, Some(announced("1"))));
        assert!(!resources.available(&a, Some(announced("1"))));
        resources.unanswered(&a);
        assert!(resources.available(&a, Some(announced("1"))));
        assert!(resources.available(&a, Some(announced("2"))));
    }

    #[test]
    fn what_one_user_sends_is_bounded() {
        let mut resources = Resources::default();
        for n in 0..1000 {
            resources.available(&full(&format!("a@x.example/{n:04}")), None);
        }
        let of = resources.of(&BareJid::new("a@x.example").unwrap());
        assert_eq!(of.len(), MAX_RESOURCES);
        assert!(of.iter().any(|r| r.jid == full("a@x.example/0999")));
        resources.unavailable(&full("a@x.example/0999"));
        assert_eq!(resources.of(&of[0].jid.to_bare()).len(), MAX_RESOURCES - 1);
    }
}
