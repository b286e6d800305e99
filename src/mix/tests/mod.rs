//! Facts of the room. `golden` has the examples of XEP-0403; this file the bench they stand on.

mod archive;
mod channels;
mod golden;
mod hidden;
mod hostile;
mod preferences;
mod relaying;
mod servers;
mod settings;
mod transcript;

use std::time::{Duration, Instant};

use super::*;
use crate::xmpp::stanza::NS_COMPONENT;

pub(super) const DOMAIN: &str = "mix.shakespeare.example";
pub(super) const COVEN: &str = "coven@mix.shakespeare.example";
/// Everything that people join for.
pub(super) const USUAL: &[&str] = &["messages", "participants", "presence", "info"];

/// A service with a clock. `coven` is there from the start, and owned by hag66.
pub(super) struct Bench {
    pub(super) mix: Mix,
    pub(super) now: Instant,
}

pub(super) fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub(super) fn config() -> MixRoomConfig {
    MixRoomConfig {
        domain: DomainPart::new(DOMAIN).unwrap().into_owned(),
        phones: Some(DomainPart::new("phones.example").unwrap().into_owned()),
        key: [9; 32],
        creators: BTreeSet::from([jid("shakespeare.example")]),
        legacy_presence: false,
        ejabberd_domains: BTreeSet::new(),
        echo_error_domains: BTreeSet::new(),
        channels: vec![StaticChannel {
            name: "coven".to_owned(),
            owners: BTreeSet::from([jid("hag66@shakespeare.example")]),
            hidden: false,
            phones: Vec::new(),
        }],
    }
}

/// Reads a stanza as the component's stream would.
pub(super) fn xml(text: &str) -> Element {
    let end = text.find([' ', '>', '/']).unwrap();
    let text = format!("{} xmlns='{NS_COMPONENT}'{}", &text[..end], &text[end..]);
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// True if a stanza is what is expected; `id='*'` is any id.
pub(super) fn is_same(stanza: &Element, expected: &str) -> bool {
    let mut expected = xml(expected);
    if expected.attr("id") == Some("*") {
        let id = NcName::try_from("id").unwrap();
        expected.set_attr(Namespace::NONE, id, stanza.attr("id").map(str::to_owned));
    }
    *stanza == expected
}

#[track_caller]
pub(super) fn assert_same(stanza: &Element, expected: &str) {
    assert!(
        is_same(stanza, expected),
        "\n   came {}\nexpected {expected}",
        String::from(stanza)
    );
}

impl Bench {
    #[allow(clippy::disallowed_methods)]
    pub(super) fn new(config: MixRoomConfig) -> Self {
        Self {
            mix: Mix::new(config, TokenMaker::new([3; 32])),
            now: Instant::now(),
        }
    }

    /// With hecate, hag66 and peter in the channel, who hear everything.
    pub(super) fn coven() -> Self {
        let mut bench = Self::new(config());
        for user in ["hag66", "hecate", "peter"] {
            bench.join(user, USUAL);
        }
        bench
    }

    pub(super) fn said(&mut self) -> Vec<Element> {
        std::iter::from_fn(|| self.mix.poll_stanza()).collect()
    }

    pub(super) fn send(&mut self, text: &str) -> Vec<Element> {
        self.mix.handle(self.now, xml(text));
        self.said()
    }

    /// Sends, and gives the one stanza that comes of it.
    #[track_caller]
    pub(super) fn ask(&mut self, text: &str) -> Element {
        let mut said = self.send(text);
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    pub(super) fn wait(&mut self, time: Duration) -> Vec<Element> {
        self.now += time;
        self.mix.handle_timeout(self.now);
        self.said()
    }

    pub(super) fn join(&mut self, user: &str, nodes: &[&str]) -> Vec<Element> {
        let nodes: String = nodes
            .iter()
            .map(|node| format!("<subscribe node='urn:xmpp:mix:nodes:{node}'/>"))
            .collect();
        self.send(&format!(
            "<iq type='set' id='j' from='{user}@shakespeare.example' to='{COVEN}'>\
             <join xmlns='{NS_CORE}'>{nodes}<nick>{user} nick</nick></join></iq>"
        ))
    }

    pub(super) fn id(&self, user: &str) -> String {
        let channel = &self.mix.state.channels["coven"];
        let user = jid(&format!("{user}@shakespeare.example"));
        channel.id_of(&user).unwrap().to_string()
    }
}

/// A set of the config node by its owner, with these fields.
pub(super) fn configure(fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<iq type='set' id='c' from='hag66@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:config'><item>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{NS_ADMIN}</value>\
         </field>{fields}</x></item></publish></pubsub></iq>"
    )
}

/// What of these stanzas is for a user.
pub(super) fn to_user<'a>(said: &'a [Element], user: &str) -> Vec<&'a Element> {
    let start = format!("{user}@");
    let is_for = |s: &&Element| s.attr("to").is_some_and(|to| to.starts_with(&start));
    said.iter().filter(is_for).collect()
}

/// The condition of an error.
pub(super) fn condition(stanza: &Element) -> &'static str {
    assert_eq!(stanza.attr("type"), Some("error"), "{stanza:?}");
    assert_eq!(stanza.children().count(), 1, "errors carry nothing else");
    StanzaError::read(stanza).condition.as_str()
}
