//! Random conversations in a channel that hides hecate: whatever peter receives tells neither her
//! JID nor any of her resources, and each of her clients has one name all the time.

use std::collections::BTreeMap;

use super::*;
use crate::id::TokenMaker;

const CONVERSATIONS: u8 = 100;
const STEPS: usize = 120;
/// Hecate's clients; nobody else has such words.
const CLIENTS: [&str; 3] = ["telltale", "telltale/2", "telltale@x#y"];
const SECRETS: [&str; 2] = ["hecate", "telltale"];

struct Conversation {
    bench: Bench,
    dice: TokenMaker,
    heard: Vec<String>,
    /// Requests that a client or a server was handed, with addressee.
    asked: Vec<Element>,
    /// Encoded JIDs that peter has seen hecate under.
    seen: BTreeMap<String, usize>,
}

impl Conversation {
    fn new(seed: u8, visibility: &str) -> Self {
        let mut bench = Bench::new(config());
        bench.send(&configure(&[
            ("JID Visibility", visibility),
            ("IQ Relay", "all"),
        ]));
        let mut new = Self {
            bench,
            dice: TokenMaker::new([seed; 32]),
            heard: Vec::new(),
            asked: Vec::new(),
            seen: BTreeMap::new(),
        };
        for (user, nick) in [("hecate", "first"), ("peter", "second")] {
            new.join(user, nick);
        }
        new
    }

    fn join(&mut self, user: &str, nick: &str) {
        let nodes: String = Node::ALL
            .iter()
            .map(|node| format!("<subscribe node='{}'/>", node.as_str()))
            .collect();
        self.send(format!(
            "<iq type='set' id='j' from='{user}@shakespeare.example' to='{COVEN}'>\
             <join xmlns='{NS_CORE}'>{nodes}<nick>{nick}</nick></join></iq>"
        ));
    }

    fn send(&mut self, text: String) {
        let ida = address::StableId::of(
            &self.bench.mix.state.channels["coven"].settings.secret,
            &jid("hecate@shakespeare.example"),
        );
        for stanza in self.bench.send(&text) {
            let to = stanza.attr("to").unwrap_or_default();
            if to.starts_with("peter@") {
                self.heard.push(String::from(&stanza));
                let from = stanza.attr("from").unwrap_or_default();
                let guess = from.ends_with("/guess");
                if !guess && from.starts_with(ida.as_str()) && from.contains('/') {
                    *self.seen.entry(from.to_owned()).or_default() += 1;
                }
            }
            let is_request = matches!(stanza.attr("type"), Some("get" | "set"));
            if stanza.name() == "iq" && is_request {
                self.asked.push(stanza);
            }
        }
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.dice.below(of.len() as u64) as usize]
    }

    fn anybody(&mut self) -> String {
        match self.dice.below(3) {
            0 => format!("peter@shakespeare.example/{}", self.pick(&["desk", "van"])),
            _ => format!("hecate@shakespeare.example/{}", self.pick(&CLIENTS)),
        }
    }

    /// An encoded JID of the other one, as far as it could be known, or a guess.
    fn other(&mut self, from: &str) -> String {
        let user = match from.starts_with("peter") {
            true => "hecate",
            false => "peter",
        };
        let channel = &self.bench.mix.state.channels["coven"];
        let user = jid(&format!("{user}@shakespeare.example"));
        let id = address::StableId::of(&channel.settings.secret, &user);
        let participant = channel.participants.get(&id);
        let resources: Vec<String> = participant
            .iter()
            .flat_map(|p| p.clients.resources())
            .map(|r| anonymity::shown_resource(channel, &id, r))
            .collect();
        match self.dice.below(6) {
            0 => format!("{id}#{COVEN}/guess"),
            1 | 2 => format!("{id}#{COVEN}"),
            n => match resources.get(n as usize % resources.len().max(1)) {
                Some(resource) => format!("{id}#{COVEN}/{resource}"),
                None => format!("{id}#{COVEN}"),
            },
        }
    }

    fn step(&mut self, number: usize) {
        let from = self.anybody();
        let to = self.other(&from);
        let bare = from.split('/').next().unwrap().to_owned();
        let id = format!("i{}", number % 7);
        let text = match self.dice.below(14) {
            0 | 1 => format!(
                "<presence from='{from}' to='{COVEN}'><show>away</show><status>{number}</status>\
                 <delay xmlns='urn:xmpp:delay' from='{from}' stamp='2026-01-01T00:00:00Z'/>\
                 <mix xmlns='{NS_PRESENCE}'><jid>{from}</jid></mix>\
                 <x xmlns='vcard-temp:x:update'><photo>{bare}</photo></x></presence>"
            ),
            2 => format!("<presence type='unavailable' from='{from}' to='{COVEN}'/>"),
            3 => format!("<presence type='probe' from='{from}' to='{to}'/>"),
            4 => format!(
                "<iq type='get' id='{id}' from='{from}' to='{to}'>\
                 <query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
            ),
            5 => format!(
                "<iq type='set' id='{id}' from='{from}' to='{to}'><jingle xmlns='urn:xmpp:jingle:1' \
                 action='session-initiate' initiator='{from}' sid='s'/></iq>"
            ),
            6 => format!(
                "<iq type='get' id='{id}' from='{from}' to='{to}'><vCard xmlns='vcard-temp'/></iq>"
            ),
            7 => format!(
                "<message type='chat' id='{id}' from='{from}' to='{to}'><propose \
                 xmlns='urn:xmpp:jingle-message:0' id='s'/><address jid='{from}'/></message>"
            ),
            8 => format!(
                "<message type='groupchat' id='{id}' from='{from}' to='{COVEN}'><body>all</body>\
                 <origin-id xmlns='urn:xmpp:sid:0' id='{number}'/><x xmlns='urn:example:x' \
                 by='xmpp:{from}?join'>({bare})</x></message>"
            ),
            9 => return self.answer(),
            10 => {
                let node = self.pick(&["participants", "jidmap", "config", "info", "banned"]);
                format!(
                    "<iq type='get' id='{id}' from='{from}' to='{COVEN}'><pubsub \
                     xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:{node}'/></pubsub></iq>"
                )
            }
            11 => format!(
                "<iq type='set' id='{id}' from='{from}' to='{COVEN}'><setnick xmlns='{NS_CORE}'>\
                 <nick>nick {number}</nick></setnick></iq>"
            ),
            12 => format!(
                "<iq type='set' id='{id}' from='{from}' to='{COVEN}'><leave xmlns='{NS_CORE}'/></iq>"
            ),
            _ => {
                let user = bare.split('@').next().unwrap().to_owned();
                return self.join(&user, &format!("{number}th"));
            }
        };
        self.send(text);
    }

    /// Somebody answers something it was asked, telling more than it should.
    fn answer(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.dice.below(self.asked.len() as u64) as usize;
        let asked = self.asked.swap_remove(at);
        let word = |name| asked.attr(name).unwrap_or_default().to_owned();
        let (me, to, id) = (word("to"), word("from"), word("id"));
        let text = match self.dice.below(3) {
            0 => format!(
                "<iq type='result' id='{id}' from='{me}' to='{to}'>\
                 <query xmlns='http://jabber.org/protocol/disco#items'><item jid='{me}'/></query></iq>"
            ),
            1 => format!(
                "<iq type='error' id='{id}' from='{me}' to='{to}'><error type='cancel' by='{me}'>\
                 <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:{me}</gone>\
                 <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no {me}</text></error></iq>"
            ),
            _ => format!("<iq type='result' id='{id}' from='{me}' to='{to}'/>"),
        };
        self.send(text);
    }
}

#[test]
fn random_conversations_in_hidden_channels_tell_nothing() {
    let mut stanzas = 0;
    for seed in 0..CONVERSATIONS {
        let visibility = match seed % 2 {
            0 => "jid-hidden",
            _ => "jid-optionally-visible",
        };
        let mut talk = Conversation::new(seed, visibility);
        for number in 0..STEPS {
            talk.step(number);
        }
        for stanza in &talk.heard {
            for secret in SECRETS {
                assert!(!stanza.contains(secret), "seed {seed}: {stanza}");
            }
        }
        assert!(talk.seen.len() <= CLIENTS.len(), "{:?}", talk.seen);
        stanzas += talk.heard.len();
    }
    // That much was said that the silence means something.
    assert!(stanzas > 3_000, "{stanzas}");
}
