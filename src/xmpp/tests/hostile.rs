//! Stanzas as nobody should write them: bytes and trees of real ones, changed at random from a
//! seed, and sent in.

use minidom::rxml::{Namespace, NcName};
use minidom::{Element, Node};

use super::*;

const SEEDS: &[&str] = &[
    include_str!("../../../tests/data/stanzas/chromium-stanzajs/jmi-propose.xml"),
    include_str!("../../../tests/data/stanzas/chromium-stanzajs/jmi-ringing.xml"),
    include_str!("../../../tests/data/stanzas/chromium-stanzajs/session-accept.xml"),
    include_str!("../../../tests/data/stanzas/chromium-stanzajs/session-initiate.xml"),
    include_str!("../../../tests/data/stanzas/chromium-stanzajs/transport-info.xml"),
    include_str!("../../../tests/data/stanzas/dino-0.4.2/jmi-proceed.xml"),
    include_str!("../../../tests/data/stanzas/dino-0.4.2/jmi-propose.xml"),
    include_str!("../../../tests/data/stanzas/dino-0.4.2/session-accept.xml"),
    include_str!("../../../tests/data/stanzas/dino-0.4.2/session-initiate.xml"),
    include_str!("../../../tests/data/stanzas/dino-0.4.2/session-terminate.xml"),
    include_str!("../../../tests/data/stanzas/gajim-1.7.3/description-info.xml"),
    include_str!("../../../tests/data/stanzas/gajim-1.7.3/session-initiate.xml"),
    "<presence xmlns='jabber:client' type='subscribe'/>",
    "<presence xmlns='jabber:client'><show>dnd</show><c hash='sha-1' node='n' ver='v' \
     xmlns='http://jabber.org/protocol/caps'/><decloak xmlns='urn:xmpp:decloak:0'/></presence>",
    "<iq xmlns='jabber:client' type='get' id='1'>\
     <query xmlns='http://jabber.org/protocol/disco#info' node='https://gw.example/caps#x'/></iq>",
    "<iq xmlns='jabber:client' type='result' id='1'>\
     <query xmlns='http://jabber.org/protocol/disco#info'><identity category='a' type='b'/>\
     <feature var='x'/><x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>1</value></field>\
     </x></query></iq>",
    "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:gateway'>\
     <prompt>(555) 123-4567</prompt></query></iq>",
    "<iq xmlns='jabber:client' type='error' id='1'><error type='cancel'><item-not-found \
     xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<message xmlns='jabber:client' type='chat' id='1'><body>hello</body></message>",
    "<message xmlns='jabber:client' type='chat' id='2' xml:lang='de'><subject>s</subject><body>hello</body>\
     <request xmlns='urn:xmpp:receipts'/><received xmlns='urn:xmpp:receipts' id='1'/>\
     <encrypted xmlns='eu.siacs.conversations.axolotl'><payload>x</payload></encrypted></message>",
];

const WORDS: &[&str] = &[
    "",
    "x",
    "0",
    "-1",
    "99999999999999999999",
    "error",
    "result",
    "get",
    "set",
    "chat",
    "subscribe",
    "unavailable",
    "+15551234@gw.example",
    "gw.example",
    "user@x.example/res",
    r"a\40b@gw.example",
    "@/",
    "session-initiate",
    "session-accept",
    "session-terminate",
    "content-add",
    "\u{1F4DE}\u{202e}",
    "::1",
    "sha-1",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

const NAMES: &[&str] = &[
    "iq",
    "message",
    "presence",
    "query",
    "jingle",
    "content",
    "description",
    "transport",
    "propose",
    "proceed",
    "error",
    "c",
    "decloak",
    "reason",
    "prompt",
];

const NAMESPACES: &[&str] = &[
    "jabber:client",
    "urn:xmpp:jingle:1",
    "urn:xmpp:jingle-message:0",
    "http://jabber.org/protocol/disco#info",
    "jabber:iq:gateway",
    "urn:ietf:params:xml:ns:xmpp-stanzas",
    "odd",
];

const ATTRIBUTES: &[&str] = &[
    "type", "id", "from", "to", "sid", "action", "ver", "node", "name",
];

/// Which tree mutation strikes where.
struct Mutation<'a> {
    tokens: &'a mut TokenMaker,
    /// Elements until the one that is struck.
    countdown: u64,
}

impl Mutation<'_> {
    fn pick(&mut self, list: &[&'static str]) -> &'static str {
        list[self.tokens.below(list.len() as u64) as usize]
    }

    /// Copies a tree, with one element of it changed.
    fn copy(&mut self, from: &Element) -> Option<Element> {
        let struck = self.countdown == 0;
        self.countdown = self.countdown.wrapping_sub(1);
        let what = if struck {
            self.tokens.below(8)
        } else {
            u64::MAX
        };
        if what == 0 {
            return None;
        }
        let name = if what == 1 {
            self.pick(NAMES)
        } else {
            from.name()
        };
        let ns = if what == 2 {
            self.pick(NAMESPACES).to_owned()
        } else {
            from.ns()
        };
        let mut copy = Element::bare(name, ns);
        for ((ns, name), value) in from.attrs().iter() {
            match what {
                3 if self.tokens.below(2) == 0 => {}
                4 => {
                    let value = self.pick(WORDS);
                    copy.set_attr(ns.clone(), name.clone(), value);
                }
                _ => copy.set_attr(ns.clone(), name.clone(), value),
            }
        }
        if what == 5 {
            let name = NcName::try_from(self.pick(ATTRIBUTES)).unwrap();
            let value = self.pick(WORDS);
            copy.set_attr(Namespace::NONE, name, value);
        }
        for node in from.nodes() {
            match node {
                Node::Element(child) => {
                    let Some(child) = self.copy(child) else {
                        continue;
                    };
                    if what == 6 {
                        copy.append_child(child.clone());
                    }
                    copy.append_child(child);
                }
                Node::Text(_) if what == 7 => copy.append_text(self.pick(WORDS)),
                Node::Text(text) => copy.append_text(text.clone()),
            }
        }
        Some(copy)
    }
}

fn elements(of: &Element) -> u64 {
    1 + of.children().map(elements).sum::<u64>()
}

fn address(stanza: &mut Element, from: &str, to: &str) {
    let name = |name| NcName::try_from(name).unwrap();
    stanza.set_attr(Namespace::NONE, name("from"), from);
    stanza.set_attr(Namespace::NONE, name("to"), to);
}

/// Sends a stanza in and checks what holds whatever it was.
fn survive(room: &mut Room, stanza: Element) {
    let is_answer = matches!(
        (stanza.name(), stanza.attr("type")),
        ("iq", Some("result" | "error")) | (_, Some("error"))
    );
    room.xmpp.handle(room.now, stanza.clone());
    let said = room.says();
    assert!(said.len() <= 8, "{} stanzas for {stanza:?}", said.len());
    for answer in &said {
        let kind = answer.attr("type");
        assert!(
            !(is_answer && kind == Some("error")),
            "{stanza:?} -> {answer:?}"
        );
        assert_ne!(kind, Some("unavailable"));
        assert_eq!(answer.ns(), "jabber:component:accept");
        let from = Jid::new(answer.attr("from").unwrap()).unwrap();
        assert_eq!(from.domain().as_str(), "gw.example");
    }
    while room.xmpp.poll_event().is_some() {}
    assert_eq!(room.xmpp.poll_notice(), None);
}

fn seeds() -> Vec<Element> {
    let mut seeds: Vec<Element> = SEEDS
        .iter()
        .map(|xml| match xml.contains("jabber:client") {
            true => xml.parse().unwrap(),
            false => stanza(xml),
        })
        .collect();
    for seed in &mut seeds {
        address(seed, "user@x.example/res", "+15551234@gw.example");
    }
    seeds
}

#[test]
fn no_tree_of_a_stanza_panics_or_grows_the_room() {
    let seeds = seeds();
    let mut room = Room::gateway("gw.example");
    let mut tokens = TokenMaker::new([11; 32]);
    for _ in 0..60_000 {
        let mut tree = seeds[tokens.below(seeds.len() as u64) as usize].clone();
        for _ in 0..1 + tokens.below(3) {
            let countdown = tokens.below(elements(&tree));
            let mut mutation = Mutation {
                tokens: &mut tokens,
                countdown,
            };
            if let Some(mutated) = mutation.copy(&tree) {
                tree = mutated;
            }
        }
        survive(&mut room, tree);
        room.after(Duration::from_millis(tokens.below(50)));
        room.says();
    }
    room.after(iq::PATIENCE);
    let census = room.xmpp.census();
    assert_eq!(census.requests, 0);
    assert!(census.users < 100 && census.pairs < 1000, "{census:?}");
}

#[test]
fn no_bytes_of_a_stanza_panic_or_grow_the_room() {
    let seeds: Vec<String> = seeds().iter().map(String::from).collect();
    let mut room = Room::gateway("gw.example");
    let mut tokens = TokenMaker::new([12; 32]);
    let mut parsed = 0;
    for _ in 0..60_000 {
        let mut bytes = seeds[tokens.below(seeds.len() as u64) as usize]
            .clone()
            .into_bytes();
        for _ in 0..1 + tokens.below(3) {
            let at = tokens.below(bytes.len() as u64) as usize;
            match tokens.below(3) {
                0 => bytes[at] = b' ' + tokens.below(95) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b' ' + tokens.below(95) as u8),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let Ok(tree) = text.parse::<Element>() else {
            continue;
        };
        parsed += 1;
        survive(&mut room, tree);
        room.after(Duration::from_millis(tokens.below(50)));
        room.says();
    }
    assert!(parsed > 10_000, "only {parsed} were xml");
    assert!(room.xmpp.census().requests < 20_000);
}

#[test]
fn a_flood_of_strangers_stays_within_the_bounds() {
    let mut room = Room::gateway("gw.example");
    for n in 0..40_000 {
        let mut hello: Element = "<presence xmlns='jabber:client'><c hash='sha-1' node='n' \
                                  ver='v' xmlns='http://jabber.org/protocol/caps'/></presence>"
            .parse()
            .unwrap();
        address(
            &mut hello,
            &format!("u{n}@x.example/r"),
            "+15551234@gw.example",
        );
        room.xmpp.handle(room.now, hello);
        room.says();
    }
    let census = room.xmpp.census();
    assert_eq!(census.requests, iq::MAX_OPEN);
    assert_eq!(census.users, 20_000);
    assert_eq!(census.pairs, 16_384);
}
