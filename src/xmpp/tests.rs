//! The room as its peers see it. `contract_NN_…` are the promises to today's clients, by number.

mod hostile;
mod texts;
mod video;
mod words;

use std::time::Duration;

use jid::{DomainPart, ResourcePart};

use super::*;
use crate::address::Address;

const GATEWAY_CAPS: &str = "http://jabber.org/protocol/caps";

struct Room {
    xmpp: Xmpp,
    now: Instant,
}

impl Room {
    fn new(identity: Identity) -> Self {
        let config = XmppRoomConfig {
            name: "Phone".into(),
            home: Country::named("US"),
            numbers: BTreeMap::new(),
            video: Vec::new(),
            takes_texts: true,
            protection: Protection::Required,
        };
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        Self {
            xmpp: Xmpp::new(identity, config, TokenMaker::new([5; 32])),
            now,
        }
    }

    fn gateway(domain: &str) -> Self {
        Self::new(Identity::Component {
            domain: DomainPart::new(domain).unwrap().into_owned(),
            resource: ResourcePart::new("phone").unwrap().into_owned(),
        })
    }

    fn client() -> Self {
        Self::new(Identity::Client {
            jid: FullJid::new("juliet@x.example/dial").unwrap(),
        })
    }

    /// Sends a stanza in, and takes everything that comes out.
    fn hears(&mut self, xml: &str) -> Vec<Element> {
        self.xmpp.handle(self.now, stanza(xml));
        self.says()
    }

    fn says(&mut self) -> Vec<Element> {
        std::iter::from_fn(|| self.xmpp.poll_stanza()).collect()
    }

    /// Sends a stanza in whose answer is exactly one.
    fn asks(&mut self, xml: &str) -> Element {
        let mut answers = self.hears(xml);
        assert_eq!(answers.len(), 1, "{xml} -> {answers:?}");
        answers.remove(0)
    }

    fn get(&mut self, to: &str, payload: &str) -> Element {
        let from = "from='user@x.example/res'";
        self.asks(&format!(
            "<iq type='get' id='q1' {from} to='{to}'>{payload}</iq>"
        ))
    }

    fn set(&mut self, to: &str, payload: &str) -> Element {
        let from = "from='user@x.example/res'";
        self.asks(&format!(
            "<iq type='set' id='q1' {from} to='{to}'>{payload}</iq>"
        ))
    }

    fn after(&mut self, duration: Duration) {
        self.now += duration;
        self.xmpp.handle_timeout(self.now);
    }
}

/// Parses a stanza that may lack the stream's namespace.
fn stanza(xml: &str) -> Element {
    let (head, rest) = xml.split_at(xml.find([' ', '>', '/']).unwrap());
    match xml.split('>').next().unwrap().contains("xmlns=") {
        true => xml.parse().unwrap(),
        false => format!("{head} xmlns='jabber:component:accept'{rest}")
            .parse()
            .unwrap(),
    }
}

fn presence(kind: &str, from: &str, to: &str) -> String {
    match kind {
        "" => format!("<presence from='{from}' to='{to}'/>"),
        _ => format!("<presence type='{kind}' from='{from}' to='{to}'/>"),
    }
}

/// Kind, sender and receiver of each presence.
fn shape(stanzas: &[Element]) -> Vec<(&str, &str, &str)> {
    let attr = |stanza, name| Element::attr(stanza, name).unwrap_or_default();
    let shape = |s| (attr(s, "type"), attr(s, "from"), attr(s, "to"));
    stanzas.iter().map(shape).collect()
}

fn condition(stanza: &Element) -> &'static str {
    assert_eq!(stanza.attr("type"), Some("error"), "{stanza:?}");
    StanzaError::read(stanza).condition.as_str()
}

fn ver_of(presence: &Element) -> &str {
    let c = presence.get_child("c", GATEWAY_CAPS).unwrap();
    assert_eq!(c.attr("hash"), Some("sha-1"));
    c.attr("ver").unwrap()
}

const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";

fn info_of(room: &mut Room, to: &str, node: Option<&str>) -> Element {
    let query = match node {
        Some(node) => format!("<query xmlns='{}' node='{node}'/>", disco::NS_INFO),
        None => INFO.to_owned(),
    };
    let answer = room.get(to, &query);
    assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    assert_eq!(answer.attr("from"), Some(to));
    let query = answer.get_child("query", disco::NS_INFO).unwrap();
    assert_eq!(query.attr("node"), node);
    query.clone()
}

fn features(query: &Element) -> Vec<&str> {
    let features = query.children().filter(|c| c.name() == "feature");
    features.filter_map(|f| f.attr("var")).collect()
}

fn identities(query: &Element) -> Vec<String> {
    let identities = query.children().filter(|c| c.name() == "identity");
    identities
        .map(|i| [i.attr("category").unwrap(), i.attr("type").unwrap()].join("/"))
        .collect()
}

#[test]
fn contract_01_subscriptions_are_approved_and_presence_with_caps_comes_at_once() {
    let mut room = Room::gateway("gw.example");
    for contact in ["+15551234@gw.example", "gw.example"] {
        let full = format!("{contact}/phone");
        let said = room.hears(&presence("subscribe", "user@x.example", contact));
        assert_eq!(
            shape(&said),
            [
                ("subscribed", contact, "user@x.example"),
                ("subscribe", contact, "user@x.example"),
                ("", full.as_str(), "user@x.example"),
            ]
        );
        ver_of(&said[2]);
        for from in ["user@x.example", "user@x.example/res"] {
            let said = room.hears(&presence("probe", from, contact));
            assert_eq!(shape(&said), [("", full.as_str(), from)]);
            ver_of(&said[0]);
        }
        let said = room.hears(&presence("", "user@x.example/res", contact));
        assert_eq!(shape(&said), [("", full.as_str(), "user@x.example/res")]);
        ver_of(&said[0]);
    }
}

#[test]
fn contract_02_a_contact_has_one_full_jid() {
    let mut room = Room::gateway("gw.example");
    for to in [
        "+15551234@gw.example",
        "+15551234@gw.example/x",
        "+15551234@gw.example/phone",
    ] {
        for kind in ["", "probe"] {
            let said = room.hears(&presence(kind, "user@x.example/res", to));
            assert_eq!(said[0].attr("from"), Some("+15551234@gw.example/phone"));
        }
    }
}

#[test]
fn contract_03_the_announced_hash_is_that_of_the_disco_answer() {
    let mut room = Room::gateway("gw.example");
    for contact in [
        "+15551234@gw.example",
        "romeo%x.example@gw.example",
        "gw.example",
    ] {
        let said = room.hears(&presence("probe", "user@x.example/res", contact));
        let ver = ver_of(&said[0]).to_owned();
        let c = said[0].get_child("c", GATEWAY_CAPS).unwrap();
        let node = format!("{}#{ver}", c.attr("node").unwrap());
        for node in [None, Some(node.as_str())] {
            let query = info_of(&mut room, contact, node);
            assert_eq!(caps::ver(&query).as_ref(), Some(&ver));
            assert!(!String::from(&query).contains("xml:lang"));
        }
    }
}

#[test]
fn contract_04_strangers_get_the_same_features_at_every_jid_and_node() {
    let mut room = Room::gateway("gw.example");
    let old = Some("https://gw.example/caps#of-an-earlier-version");
    let mut seen = Vec::new();
    for contact in ["+15551234@gw.example", r"romeo\40x.example@gw.example"] {
        for to in [
            contact.to_owned(),
            format!("{contact}/phone"),
            format!("{contact}/other"),
        ] {
            for node in [None, Some("https://gw.example/caps"), old] {
                let query = info_of(&mut room, &to, node);
                seen.push(features(&query).join(" "));
            }
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    let all: Vec<&str> = seen[0].split(' ').collect();
    for feature in [
        "urn:xmpp:jingle:1",
        "urn:xmpp:jingle:transports:ice-udp:1",
        "urn:xmpp:jingle:apps:rtp:1",
        "urn:xmpp:jingle:apps:rtp:audio",
        "urn:xmpp:jingle:apps:dtls:0",
        "urn:xmpp:jingle-message:0",
    ] {
        assert!(all.contains(&feature), "{feature}");
    }
    for feature in ["urn:xmpp:jingle:apps:rtp:video", "urn:ietf:rfc:3264"] {
        assert!(!all.contains(&feature), "{feature}");
    }
}

#[test]
fn contract_05_the_domain_alone_is_a_gateway_and_numbers_are_e164() {
    let mut room = Room::gateway("gw.example");
    let query = info_of(&mut room, "+15551234@gw.example", None);
    assert_eq!(identities(&query), ["client/phone"]);
    for (to, node) in [
        ("gw.example", None),
        ("gw.example/phone", Some("https://gw.example/caps#x")),
        ("gw.example/any", Some("any")),
    ] {
        let query = info_of(&mut room, to, node);
        assert_eq!(identities(&query), ["gateway/pstn", "gateway/sip"]);
        let features = features(&query);
        assert!(features.contains(&"jabber:iq:gateway"));
        assert!(features.contains(&r"jid\20escaping"));
    }
    assert_eq!(
        condition(&room.get("15551234@gw.example", INFO)),
        "item-not-found"
    );
    let said = room.hears(&presence(
        "subscribe",
        "user@x.example",
        "15551234@gw.example",
    ));
    let refused = ("unsubscribed", "15551234@gw.example", "user@x.example");
    assert_eq!(shape(&said), [refused]);
}

#[test]
fn contract_06_directed_presence_is_answered_in_every_spelling() {
    let mut room = Room::gateway("gw.example");
    for request in [
        "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>",
        "<decloak xmlns='urn:xmpp:decloak:0' reason='text'/>",
        "<decloak xmlns='urn:xmpp:decloak:0' reason='odd'/>",
        "<decloak xmlns='urn:xmpp:decloak:0'/>",
        "<temppres xmlns='urn:xmpp:temppres:0' reason='media'/>",
        "<decloak xmlns='http://telepathy.freedesktop.org/xmpp/protocol/decloak'/>",
        "",
    ] {
        let said = room.hears(&format!(
            "<presence from='user@x.example/res' to='+15551234@gw.example'>{request}</presence>"
        ));
        let answer = ("", "+15551234@gw.example/phone", "user@x.example/res");
        assert_eq!(shape(&said), [answer], "{request}");
        assert_eq!(said[0].children().count(), 1, "caps and nothing else");
        ver_of(&said[0]);
    }
    let file = "<presence from='user@x.example/res' to='+15551234@gw.example'>\
                <decloak xmlns='urn:xmpp:decloak:0' reason='file'/></presence>";
    assert_eq!(room.hears(file), []);
}

#[test]
fn contract_07_what_people_type_becomes_a_contact_or_an_error_with_a_text() {
    let mut room = Room::gateway("gw.example");
    for to in ["gw.example", "gw.example/phone"] {
        let prompt = room.get(to, "<query xmlns='jabber:iq:gateway'/>");
        let query = prompt.get_child("query", "jabber:iq:gateway").unwrap();
        assert!(query.has_child("prompt", "jabber:iq:gateway"));
        assert!(query.has_child("desc", "jabber:iq:gateway"));
        let mut typed = |text: &str| {
            let prompt = format!("<prompt>{text}</prompt>");
            room.set(
                to,
                &format!("<query xmlns='jabber:iq:gateway'>{prompt}</query>"),
            )
        };
        for (text, jid) in [
            ("(555) 123-4567", "+15551234567@gw.example"),
            ("tel:+1-555-123-4567", "+15551234567@gw.example"),
            ("sip:romeo@example.net", r"romeo\40example.net@gw.example"),
            ("romeo@example.net", r"romeo\40example.net@gw.example"),
            ("romeo%example.net", "romeo%example.net@gw.example"),
            ("+15551234567@gw.example", "+15551234567@gw.example"),
        ] {
            let answer = typed(text);
            assert_eq!(answer.attr("from"), Some(to));
            let query = answer.get_child("query", "jabber:iq:gateway").unwrap();
            let found = query.get_child("jid", "jabber:iq:gateway").unwrap();
            assert_eq!(found.text(), jid);
        }
        let wrong = typed("call me");
        assert_eq!(condition(&wrong), "not-acceptable");
        let text = StanzaError::read(&wrong).text.unwrap();
        assert!(
            text.contains("neither a phone number nor a SIP address"),
            "{text}"
        );
    }
    let none = room.set("gw.example", "<query xmlns='jabber:iq:gateway'/>");
    assert_eq!(condition(&none), "bad-request");
    let elsewhere = room.get("+15551234@gw.example", "<query xmlns='jabber:iq:gateway'/>");
    assert_eq!(condition(&elsewhere), "service-unavailable");
}

#[test]
fn people_dial_as_in_the_country_of_their_number() {
    let mut room = Room::gateway("gw.example");
    let numbers = [("user@x.example", "+4930123456")]
        .map(|(user, number)| (BareJid::new(user).unwrap(), E164::parse(number).unwrap()));
    let config = XmppRoomConfig {
        name: "Phone".into(),
        home: None,
        numbers: numbers.into(),
        video: Vec::new(),
        takes_texts: true,
        protection: Protection::Required,
    };
    room.xmpp.set_config(config);
    let typed = |room: &mut Room, user: &str, text: &str| {
        room.asks(&format!(
            "<iq type='set' id='q1' from='{user}/res' to='gw.example' xml:lang='de'>\
             <query xmlns='jabber:iq:gateway'><prompt>{text}</prompt></query></iq>"
        ))
    };
    for (text, number) in [
        ("030 1234567", "+49301234567"),
        ("0043 1 23456789", "+43123456789"),
        ("+1 (415) 555-2671", "+14155552671"),
    ] {
        let answer = typed(&mut room, "user@x.example", text);
        let query = answer.get_child("query", "jabber:iq:gateway").unwrap();
        let jid = query.get_child("jid", "jabber:iq:gateway").unwrap().text();
        assert_eq!(jid, format!("{number}@gw.example"), "{text}");
    }
    for (user, text, says) in [
        ("other@x.example", "030 1234567", "Landesvorwahl"),
        ("user@x.example", "1234567", "keine vollständige"),
        ("user@x.example", "+49", "zu kurz"),
        ("user@x.example", "+0123", "keine Telefonnummer"),
        ("user@x.example", "+999 1234567", "Kein Land"),
        ("user@x.example", "+1 415 555", "zu kurz"),
        ("user@x.example", "0800-FLOWERS", "in Ziffern"),
    ] {
        let refused = typed(&mut room, user, text);
        assert_eq!(condition(&refused), "not-acceptable");
        let error = StanzaError::read(&refused).text.unwrap();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn contract_08_nobody_hears_that_a_contact_is_unavailable() {
    let mut room = Room::gateway("gw.example");
    let kinds = [
        "",
        "unavailable",
        "subscribe",
        "subscribed",
        "unsubscribe",
        "unsubscribed",
        "probe",
        "error",
        "odd",
    ];
    let mut said = Vec::new();
    for kind in kinds {
        for to in ["+15551234@gw.example", "gw.example", "nobody@gw.example"] {
            said.extend(room.hears(&presence(kind, "user@x.example/res", to)));
        }
    }
    room.xmpp.link_down(room.now);
    room.xmpp.link_up(room.now);
    said.extend(room.says());
    assert!(!said.is_empty());
    assert!(said.iter().all(|s| s.attr("type") != Some("unavailable")));
}

#[test]
fn who_was_there_before_the_link_was_lost_is_not_believed_to_be_there_after_it() {
    let user = BareJid::new("user@x.example").unwrap();
    let mut room = Room::gateway("gw.example");
    room.hears(&presence("", "user@x.example/res", "gw.example"));
    room.xmpp.link_down(room.now);
    assert_eq!(room.xmpp.resources_of(&user).len(), 1);
    room.xmpp.link_up(room.now);
    assert_eq!(room.xmpp.resources_of(&user), []);
    room.hears(&presence("", "user@x.example/other", "gw.example"));
    assert_eq!(room.xmpp.resources_of(&user).len(), 1);
}

#[test]
fn the_gateway_example_of_xep_0276_gets_its_answer() {
    let mut room = Room::gateway("sip.shakespeare.lit");
    let said = room.hears(
        "<presence from='juliet@shakespeare.lit/balcony'
                   to='romeo%shakespeare.lit@sip.shakespeare.lit'>
           <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://example.org/'
              ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/>
           <decloak xmlns='urn:xmpp:decloak:0' reason='media'/>
         </presence>",
    );
    // The spelling of the contact comes back as it was written.
    let contact = "romeo%shakespeare.lit@sip.shakespeare.lit/phone";
    let juliet = "juliet@shakespeare.lit/balcony";
    let answer = said.iter().find(|s| s.name() == "presence").unwrap();
    assert_eq!(shape(std::slice::from_ref(answer)), [("", contact, juliet)]);
    assert_eq!(answer.children().count(), 1);
    ver_of(answer);
    let query = said.iter().find(|s| s.name() == "iq").unwrap();
    assert_eq!(
        shape(std::slice::from_ref(query)),
        [("get", contact, juliet)]
    );
    assert_eq!(said.len(), 2);
}

#[test]
fn a_client_asks_as_the_example_of_xep_0276_does_and_hears_the_answer() {
    let mut room = Room::client();
    room.xmpp.link_up(room.now);
    let hello = room.says();
    assert_eq!(shape(&hello), [("", "juliet@x.example/dial", "")]);
    let contact = BareJid::new("romeo%x.example@gw.example").unwrap();
    room.xmpp.decloak(room.now, &contact);
    let asked = room.says();
    let romeo = "romeo%x.example@gw.example";
    assert_eq!(shape(&asked), [("", "juliet@x.example/dial", romeo)]);
    assert_eq!(ver_of(&asked[0]), ver_of(&hello[0]));
    assert_eq!(decloak::requested(&asked[0]), Some(decloak::Reason::Media));

    let mut gateway = Room::gateway("gw.example");
    let answers = gateway.hears(&String::from(&asked[0]));
    for answer in answers {
        room.xmpp.handle(room.now, answer);
    }
    let full = FullJid::new("romeo%x.example@gw.example/phone").unwrap();
    let seen = Notice::Seen {
        contact: full.clone().into(),
        caps: true,
        abilities: None,
    };
    assert_eq!(room.xmpp.poll_notice(), Some(seen));
    // Each side asks what the other's hash means, and hears it.
    let questions = room.says();
    for question in questions {
        for answer in gateway.hears(&String::from(&question)) {
            room.xmpp.handle(room.now, answer);
        }
    }
    for answer in room.says() {
        gateway.xmpp.handle(gateway.now, answer);
    }
    let Some(Notice::Learnt { contact, abilities }) = room.xmpp.poll_notice() else {
        panic!("nothing was learnt");
    };
    assert_eq!(contact, full);
    assert!(abilities.invitations && abilities.audio && abilities.dtls && !abilities.video);
    let juliet = gateway
        .xmpp
        .resources_of(&BareJid::new("juliet@x.example").unwrap());
    assert!(juliet[0].abilities.unwrap().audio);
    assert_eq!(gateway.xmpp.census().requests, 0);

    room.hears("<presence type='error' from='x@gw.example' to='juliet@x.example/dial'/>");
    assert!(matches!(
        room.xmpp.poll_notice(),
        Some(Notice::Refused { .. })
    ));
    room.hears(&presence(
        "unavailable",
        full.as_str(),
        "juliet@x.example/dial",
    ));
    assert!(matches!(room.xmpp.poll_notice(), Some(Notice::Gone { .. })));
}

#[test]
fn a_users_client_does_not_decloak() {
    let mut room = Room::client();
    let asked = "<presence from='a@b.example/c' to='juliet@x.example'>\
                 <decloak xmlns='urn:xmpp:decloak:0' reason='media'/></presence>";
    assert_eq!(room.hears(asked), []);
    assert_eq!(
        room.hears(&presence("subscribe", "a@b.example", "juliet@x.example")),
        []
    );
}

#[test]
fn two_gateways_that_greet_each_other_come_to_rest() {
    let (mut a, mut b) = (Room::gateway("a.example"), Room::gateway("b.example"));
    let hello = presence("subscribe", "+1555@b.example", "+1555@a.example");
    let mut flying = a.hears(&hello);
    let mut turns = 0;
    while !flying.is_empty() {
        turns += 1;
        assert!(turns < 100, "they go on for ever");
        let (to_a, to_b): (Vec<_>, Vec<_>) = flying
            .iter()
            .partition(|s| s.attr("to").unwrap().contains("a.example"));
        let mut next = Vec::new();
        for stanza in to_a {
            next.extend(a.hears(&String::from(stanza)));
        }
        for stanza in to_b {
            next.extend(b.hears(&String::from(stanza)));
        }
        flying = next;
    }
    // Somebody who asks is answered all the same.
    let asked = "<presence from='+1555@b.example/phone' to='+1555@a.example'>\
                 <decloak xmlns='urn:xmpp:decloak:0' reason='media'/></presence>";
    for _ in 0..100 {
        assert_eq!(a.hears(asked).len(), 1);
    }
    // And a greeting is, after a while.
    let hello = presence("", "+1555@b.example/phone", "+1555@a.example");
    assert_eq!(a.hears(&hello), []);
    a.after(Duration::from_secs(5));
    assert_eq!(a.hears(&hello).len(), 1);
    assert_eq!(a.hears(&hello), []);
}

#[test]
fn our_own_presence_is_never_answered() {
    let mut room = Room::gateway("gw.example");
    let own = presence("", "+15550000@gw.example/phone", "+15551234@gw.example");
    assert_eq!(room.hears(&own), []);
}

#[test]
fn presence_to_a_jid_that_stands_for_nobody_is_refused_with_the_reason() {
    let mut room = Room::gateway("gw.example");
    let said = room.hears(&presence("", "user@x.example/res", "romeo@gw.example"));
    assert_eq!(condition(&said[0]), "item-not-found");
    let text = StanzaError::read(&said[0]).text.unwrap();
    assert!(text.contains("SIP address such as"), "{text}");
}

#[test]
fn what_disco_advertises_is_routed() {
    let mut room = Room::gateway("gw.example");
    let probes = [
        (disco::NS_INFO, "query"),
        (disco::NS_ITEMS, "query"),
        (ping::NS_PING, "ping"),
        (version::NS_VERSION, "query"),
        (gateway_iq::NS_GATEWAY, "query"),
        (vcard::NS_VCARD_TEMP, "vCard"),
        (vcard::NS_VCARD4, "vcard"),
    ];
    for to in ["gw.example", "+15551234@gw.example"] {
        let query = info_of(&mut room, to, None);
        for feature in features(&query) {
            if let Some((ns, name)) = probes.iter().find(|(ns, _)| *ns == feature) {
                let answer = room.get(to, &format!("<{name} xmlns='{ns}'/>"));
                assert_eq!(answer.attr("type"), Some("result"), "{to} {feature}");
                continue;
            }
            // What is no iq get: presence, Jingle, and how to write JIDs.
            let is_jingle = jingle::FEATURES.contains(&feature) || feature == jingle::NS_TRANSFER;
            let is_known = [caps::NS_CAPS, disco::JID_ESCAPING].contains(&feature)
                || chat::FEATURES.contains(&feature);
            assert!(is_jingle || is_known, "{feature} is advertised by nobody");
        }
    }
}

#[test]
fn errors_are_those_of_the_standards() {
    let mut room = Room::gateway("gw.example");
    let number = "+15551234@gw.example";
    let unknown = "<query xmlns='jabber:iq:last'/>";
    assert_eq!(condition(&room.get(number, unknown)), "service-unavailable");
    assert_eq!(condition(&room.set(number, unknown)), "service-unavailable");
    assert_eq!(condition(&room.get(number, "")), "bad-request");
    assert_eq!(condition(&room.get(number, &INFO.repeat(2))), "bad-request");
    let node = "<query xmlns='http://jabber.org/protocol/disco#info' node='odd'/>";
    assert_eq!(condition(&room.get(number, node)), "item-not-found");
    assert_eq!(
        condition(&room.get("romeo@gw.example", INFO)),
        "item-not-found"
    );
    let card = "<vCard xmlns='vcard-temp'/>";
    assert_eq!(condition(&room.set(number, card)), "not-allowed");
    let malformed = "<iq type='get' id='1' from='a@b/c' to='@gw.example'/>";
    assert_eq!(condition(&room.asks(malformed)), "jid-malformed");
    let typeless = "<iq id='1' from='a@b/c' to='gw.example'/>";
    assert_eq!(condition(&room.asks(typeless)), "bad-request");
}

#[test]
fn every_stanza_has_from_to_and_id_in_the_namespace_of_its_stream() {
    let mut room = Room::gateway("gw.example");
    let mut said = room.hears(&presence(
        "subscribe",
        "user@x.example",
        "+15551234@gw.example",
    ));
    said.push(room.get("+15551234@gw.example", "<ping xmlns='urn:xmpp:ping'/>"));
    assert_eq!(said[3].attr("id"), Some("q1"));
    assert_eq!(said[3].children().count(), 0);
    said.push(room.get("+15551234@gw.example", "<odd xmlns='odd'/>"));
    for stanza in said {
        assert_eq!(stanza.ns(), "jabber:component:accept");
        for name in ["from", "to", "id"] {
            assert!(
                stanza.attr(name).is_some_and(|v| !v.is_empty()),
                "{stanza:?}"
            );
        }
        assert!(!String::from(&stanza).contains("xmlns:"), "no prefixes");
    }
}

#[test]
fn a_caller_shows_itself_before_it_calls_unless_it_is_anonymous() {
    let mut room = Room::gateway("gw.example");
    let mut call = |number: u64, from: Address| {
        let leg = LegId {
            room: crate::id::Room::Xmpp,
            role: crate::id::Role::Callee,
            number,
        };
        let offer = LegCommand::Offer {
            from,
            to: Address::Xmpp(BareJid::new("user@x.example").unwrap()),
            display_name: None,
            offer: crate::description::Description::default(),
            trunk: None,
            replaces: None,
        };
        room.xmpp.command(room.now, leg, offer);
        while room.xmpp.poll_event().is_some() {}
        let said = room.says();
        said.iter().filter(|s| s.name() == "presence").count()
    };
    let number = contact::parse("+15551234").unwrap().address;
    assert_eq!(call(1, number), 1);
    assert_eq!(call(2, Address::Anonymous), 0);
}

#[test]
fn text_to_the_domain_is_refused_and_what_goes_with_text_is_not() {
    let mut room = Room::gateway("gw.example");
    let message = |kind: &str, payload: &str| {
        let head = "from='user@x.example/res' to='gw.example'";
        format!("<message type='{kind}' id='m' {head}>{payload}</message>")
    };
    let refused = room.asks(&message("chat", "<body>hello</body>"));
    assert_eq!(condition(&refused), "service-unavailable");
    assert_eq!(refused.attr("id"), Some("m"));
    let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    assert_eq!(room.hears(&message("chat", state)), []);
    assert_eq!(room.hears(&message("error", "<body>hello</body>")), []);
    assert_eq!(room.hears(&message("headline", "<body>hello</body>")), []);
}

#[test]
fn cards_say_what_the_jid_says() {
    let mut room = Room::gateway("gw.example");
    let temp = "<vCard xmlns='vcard-temp'/>";
    let four = format!("<vcard xmlns='{}'/>", vcard::NS_VCARD4);
    let mut card = |to: &str, query: &str| String::from(&room.get(to, query));
    assert!(card("+15551234@gw.example", temp).contains("<NUMBER>+15551234</NUMBER>"));
    assert!(card("+15551234@gw.example", &four).contains("<uri>tel:+15551234</uri>"));
    assert!(card("a%b.example@gw.example", temp).contains("<URL>sip:a@b.example</URL>"));
    assert!(card("a%b.example@gw.example", &four).contains("<uri>sip:a@b.example</uri>"));
    assert!(card("gw.example", temp).contains("<FN>Phone</FN>"));
    assert!(card("gw.example", &four).contains("<text>Phone</text>"));
}

#[test]
fn a_hash_is_asked_for_once_and_answers_count_from_whom_was_asked() {
    let mut room = Room::gateway("gw.example");
    let hello = |user: &str| {
        let c = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
                 node='http://example.org/' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>";
        format!("<presence from='{user}' to='+15551234@gw.example'>{c}</presence>")
    };
    let said = room.hears(&hello("a@x.example/1"));
    let asked = said.iter().find(|s| s.name() == "iq").unwrap();
    let id = asked.attr("id").unwrap().to_owned();
    let query = asked.get_child("query", disco::NS_INFO).unwrap();
    let node = "http://example.org/#QgayPKawpkPSDYmwT/WM94uAlu0=";
    assert_eq!(query.attr("node"), Some(node));
    let answer = |from: &str| {
        format!(
            "<iq type='result' id='{id}' from='{from}' to='+15551234@gw.example/phone'>\
             <query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='client' name='Exodus 0.9.1' type='pc'/>\
             <feature var='http://jabber.org/protocol/caps'/>\
             <feature var='http://jabber.org/protocol/disco#items'/>\
             <feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/muc'/></query></iq>"
        )
    };
    assert_eq!(room.hears(&answer("mallory@x.example/1")), []);
    let a = BareJid::new("a@x.example").unwrap();
    assert_eq!(room.xmpp.resources_of(&a)[0].abilities, None);
    assert_eq!(room.hears(&answer("a@x.example/1")), []);
    let abilities = room.xmpp.resources_of(&a)[0].abilities.unwrap();
    assert!(!abilities.audio && !abilities.invitations);
    assert_eq!(
        room.hears(&hello("b@x.example/1")).len(),
        1,
        "presence alone"
    );
    assert_eq!(
        room.hears(&presence("unavailable", "a@x.example/1", "gw.example")),
        []
    );
    assert_eq!(room.xmpp.resources_of(&a), []);
}

#[test]
fn a_question_that_is_not_answered_is_given_up() {
    let mut room = Room::gateway("gw.example");
    room.hears(
        "<presence from='a@x.example/1' to='gw.example'><c hash='sha-1' node='n' ver='v' \
         xmlns='http://jabber.org/protocol/caps'/></presence>",
    );
    assert_eq!(room.xmpp.census().requests, 1);
    assert_eq!(room.xmpp.poll_timeout(), Some(room.now + iq::PATIENCE));
    room.after(iq::PATIENCE);
    assert_eq!(room.xmpp.census().requests, 0);
    assert_eq!(room.xmpp.poll_timeout(), None);
}
