//! A desk to try the room at: stanzas in as text, what it says and tells out as short lines.

mod chaos;
mod clients;
mod contract_calls;
mod contract_jingle;
mod contract_users;
mod converters;
mod fixtures;
mod mutations;
mod transfers;
mod traps;
mod video;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jid::{DomainPart, FullJid, ResourcePart};
use minidom::Element;

use super::*;
use crate::address::E164;
use crate::description::{
    Candidate, CandidateKind, Codec, Description, Direction, Fingerprint, IceTransport, Media,
    Setup, Stream, Transport,
};
use crate::leg::{LegCommand, Offering};
use crate::xmpp::caps::Resources;
use crate::xmpp::stanza::{IqType, Kind};

pub const USER: &str = "user@x.example/res";
pub const BARE: &str = "user@x.example";
pub const NUMBER: &str = "+15551234@gw.example";
pub const FULL: &str = "+15551234@gw.example/phone";

/// A room, its clock, and what has come out of it.
pub struct Desk {
    pub jingle: Jingle,
    pub now: Instant,
    pub resources: Resources,
    pub sent: Vec<Element>,
    pub told: Vec<(LegId, LegEvent)>,
    callees: u64,
}

pub fn domain() -> Identity {
    Identity::Component {
        domain: DomainPart::new("gw.example").unwrap().into_owned(),
        resource: ResourcePart::new("phone").unwrap().into_owned(),
    }
}

pub fn gateway() -> Desk {
    Desk::new(domain(), 1)
}

pub fn user_client() -> Desk {
    let jid = FullJid::new(USER).unwrap();
    Desk::new(Identity::Client { jid }, 2)
}

impl Desk {
    #[allow(clippy::disallowed_methods)]
    pub fn new(identity: Identity, seed: u8) -> Self {
        Self {
            jingle: Jingle::new(identity, TokenMaker::new([seed; 32])),
            now: Instant::now(),
            resources: Resources::default(),
            sent: Vec::new(),
            told: Vec::new(),
            callees: 0,
        }
    }

    /// Hands a stanza to the room as the router does.
    pub fn hear_element(&mut self, stanza: &Element) {
        let Ok(head) = StanzaHead::read(stanza, &self.jingle.identity) else {
            return;
        };
        let now = self.now;
        match head.kind {
            Kind::Iq(IqType::Set) => {
                if let Some(jingle) = stanza.get_child("jingle", NS_JINGLE) {
                    self.jingle.handle_iq(now, &head, jingle);
                }
            }
            Kind::Iq(IqType::Get) | Kind::Presence(_) => {}
            Kind::Iq(IqType::Result) => {
                self.jingle
                    .handle_iq_response(now, head.id(), &head.from, Ok(()));
            }
            Kind::Iq(IqType::Error) => {
                let error = Err(StanzaError::read(stanza));
                self.jingle
                    .handle_iq_response(now, head.id(), &head.from, error);
            }
            Kind::Message(MessageType::Error) => {
                let error = StanzaError::read(stanza);
                self.jingle.message_bounced(now, &head, &error);
            }
            Kind::Message(_) => {
                let payload = stanza.children().find(|c| c.ns() == NS_JMI);
                if let Some(payload) = payload {
                    self.jingle.handle_message(now, &head, payload);
                }
            }
        }
        self.drain();
    }

    pub fn hear(&mut self, xml: &str) {
        let stanza = xml.parse().unwrap_or_else(|e| panic!("{e}: {xml}"));
        self.hear_element(&stanza);
    }

    pub fn message_from(&mut self, from: &str, to: &str, payload: &str) {
        self.hear(&format!(
            "<message xmlns='jabber:client' type='chat' from='{from}' to='{to}' id='m1'>{payload}</message>"
        ));
    }

    /// A message of the user to the number, with a payload such as `retract` for `sid`.
    pub fn says(&mut self, verb: &str, sid: &str) {
        self.message_from(
            USER,
            FULL,
            &format!("<{verb} xmlns='{NS_JMI}' id='{sid}'/>"),
        );
    }

    pub fn iq_from(&mut self, from: &str, to: &str, action: &str, sid: &str, inner: &str) {
        self.hear(&format!(
            "<iq xmlns='jabber:client' type='set' from='{from}' to='{to}' id='q1'>\
             <jingle xmlns='{NS_JINGLE}' action='{action}' sid='{sid}'>{inner}</jingle></iq>"
        ));
    }

    /// An action of the user towards the number.
    pub fn does(&mut self, action: &str, sid: &str, inner: &str) {
        self.iq_from(USER, FULL, action, sid, inner);
    }

    pub fn proposes(&mut self, sid: &str) -> LegId {
        self.message_from(USER, NUMBER, &propose(sid));
        self.last_leg()
    }

    /// An error in answer to the last stanza that was sent with `what` in its line.
    pub fn complains(&mut self, what: &str, condition: &str) {
        let asked = self.find(what);
        let (from, to) = (asked.attr("to").unwrap(), asked.attr("from").unwrap());
        let (id, name) = (asked.attr("id").unwrap(), asked.name());
        let xml = format!(
            "<{name} xmlns='jabber:client' type='error' from='{from}' to='{to}' id='{id}'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{name}>"
        );
        self.hear(&xml);
    }

    pub fn orders(&mut self, leg: LegId, command: LegCommand) {
        self.jingle.command(self.now, leg, command, &self.resources);
        self.drain();
    }

    /// Calls `BARE` from a number.
    pub fn calls(&mut self, from: Address) -> LegId {
        self.calls_to(from, Address::Xmpp(BareJid::new(BARE).unwrap()))
    }

    pub fn calls_to(&mut self, from: Address, to: Address) -> LegId {
        self.callees += 1;
        let leg = LegId {
            room: Room::Xmpp,
            role: Role::Callee,
            number: self.callees,
        };
        let offer = LegCommand::Offer {
            from,
            to,
            display_name: None,
            offer: our_offer(),
            trunk: None,
            replaces: None,
        };
        self.orders(leg, offer);
        leg
    }

    pub fn waits(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.jingle.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.jingle.handle_timeout(self.now);
        }
        self.now = until;
        self.jingle.handle_timeout(until);
        self.drain();
    }

    fn drain(&mut self) {
        self.sent
            .extend(std::iter::from_fn(|| self.jingle.poll_stanza()));
        self.told
            .extend(std::iter::from_fn(|| self.jingle.poll_event()));
    }

    /// What the room has said since the last time, as lines such as `chat ringing` or `set
    /// session-accept`.
    pub fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.sent);
        said.iter().map(line).collect()
    }

    /// The last stanza whose line contains `what`.
    pub fn find(&self, what: &str) -> Element {
        let found = self.sent.iter().rev().find(|s| line(s).contains(what));
        let lines: Vec<_> = self.sent.iter().map(line).collect();
        found
            .cloned()
            .unwrap_or_else(|| panic!("no {what} in {lines:?}"))
    }

    pub fn last_leg(&self) -> LegId {
        self.told.last().expect("an event").0
    }

    pub fn events(&mut self) -> Vec<LegEvent> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().map(|(_, event)| event).collect()
    }

    /// Why the legs ended that ended since the last look.
    pub fn ends(&mut self) -> Vec<EndReason> {
        let ended = self.events().into_iter().filter_map(|event| match event {
            LegEvent::Ended(end) => Some(end.reason),
            _ => None,
        });
        ended.collect()
    }

    /// Brings a user's call to the point where session-accept has been sent.
    pub fn user_call(&mut self, sid: &str) -> LegId {
        let leg = self.proposes(sid);
        self.orders(leg, LegCommand::Accept);
        self.does("session-initiate", sid, &offer());
        self.orders(leg, LegCommand::Answer(our_answer("0")));
        assert!(self.said().contains(&"set session-accept".to_owned()));
        self.told.clear();
        leg
    }

    /// Brings a call to the user to the point where session-initiate has been sent; gives the sid.
    pub fn ringing_call(&mut self) -> (LegId, String) {
        let leg = self.calls(number());
        let sid = self.proposed_sid();
        self.said();
        self.says("proceed", &sid);
        (leg, sid)
    }

    pub fn proposed_sid(&self) -> String {
        let propose = self.find("chat propose");
        let payload = propose.get_child("propose", NS_JMI).unwrap();
        payload.attr("id").unwrap().to_owned()
    }

    pub fn assert_empty(&self) {
        let census = self.jingle.census();
        assert_eq!((census.sessions, census.timers), (0, 0));
        assert!(self.jingle.by_user.is_empty());
    }
}

fn line(stanza: &Element) -> String {
    let kind = stanza.attr("type").unwrap_or("normal");
    let payload = stanza.children().next();
    let what = match payload {
        Some(jingle) if jingle.is("jingle", NS_JINGLE) => jingle.attr("action").unwrap().to_owned(),
        Some(error) if error.name() == "error" => error
            .children()
            .map(|c| c.name().to_owned())
            .collect::<Vec<_>>()
            .join("+"),
        Some(other) => other.name().to_owned(),
        None => String::new(),
    };
    let condition = payload
        .and_then(|p| p.get_child("reason", NS_JINGLE))
        .and_then(|r| r.children().next())
        .map(|c| format!(" {}", c.name()));
    format!("{kind} {what}{}", condition.unwrap_or_default())
        .trim()
        .to_owned()
}

pub fn number() -> Address {
    Address::Number(E164::parse("+15551234").unwrap())
}

pub fn propose(sid: &str) -> String {
    format!(
        "<propose xmlns='{NS_JMI}' id='{sid}'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>"
    )
}

pub const FINGERPRINT: &str = "<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' setup='SETUP'>\
     26:58:C5:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:26:58:C5:00:11:22:33:44:55:66:77:88:99:AA:BB:CC</fingerprint>";

/// The contents of a client's offer: content `0`, rtcp-mux, BUNDLE.
pub fn offer() -> String {
    format!(
        "{}{}",
        group(&["0"]),
        content("0", "audio", "actpass", true)
    )
}

pub fn group(names: &[&str]) -> String {
    let names: String = names
        .iter()
        .map(|n| format!("<content name='{n}'/>"))
        .collect();
    format!("<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'>{names}</group>")
}

pub fn content(name: &str, media: &str, setup: &str, mux: bool) -> String {
    let codecs = match media {
        "audio" => {
            "<payload-type id='111' name='opus' clockrate='48000' channels='2'><parameter name='useinbandfec' value='1'/></payload-type>\
             <payload-type id='8' name='PCMA' clockrate='8000'/>\
             <payload-type id='110' name='telephone-event' clockrate='48000'/>\
             <payload-type id='126' name='telephone-event' clockrate='8000'/>"
        }
        _ => "<payload-type id='96' name='VP8' clockrate='90000'/>",
    };
    let mux = if mux { "<rtcp-mux/>" } else { "" };
    let fingerprint = FINGERPRINT.replace("SETUP", setup);
    format!(
        "<content creator='initiator' name='{name}'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='{media}'>{codecs}{mux}</description>\
         <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='r8tL' pwd='88yXZajgGS00ziBDQ0yLtr9t'>{fingerprint}</transport></content>"
    )
}

/// A client's answer to our offer.
pub fn accept(name: &str) -> String {
    content(name, "audio", "active", true)
}

pub fn candidate(port: u16) -> String {
    format!(
        "<candidate component='1' foundation='1' generation='0' id='x' ip='192.0.2.9' network='0' port='{port}' priority='2130706431' protocol='udp' type='host'/>"
    )
}

pub fn trickle(inner: &str) -> String {
    format!(
        "<content creator='initiator' name='0'><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='r8tL' pwd='88yXZajgGS00ziBDQ0yLtr9t'>{inner}</transport></content>"
    )
}

pub fn our_transport(setup: Setup) -> Transport {
    let at = |component: u8, port: u16| Candidate {
        foundation: "Hab".into(),
        component,
        address: SocketAddr::from(([203, 0, 113, 5], port)),
        priority: 2_130_706_431,
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    };
    Transport::Ice(IceTransport {
        ufrag: "abcd".into(),
        pwd: "0123456789abcdefghijkl".into(),
        candidates: vec![at(1, 40_000), at(2, 40_001)],
        rtcp_mux: true,
        fingerprint: Some(Fingerprint {
            hash: "sha-256".into(),
            value: (0..32).collect(),
            setup,
        }),
        sdes: Vec::new(),
    })
}

pub fn our_offer() -> Description {
    let mut offer = our_answer("voice");
    offer.bundle = true;
    let stream = &mut offer.streams[0];
    stream.codecs = vec![
        Codec::new(111, "opus", 48_000, 2),
        Codec::new(9, "G722", 8_000, 1),
        Codec::new(0, "PCMU", 8_000, 1),
        Codec::new(8, "PCMA", 8_000, 1),
        Codec::new(110, "telephone-event", 48_000, 1),
        Codec::new(126, "telephone-event", 8_000, 1),
    ];
    stream.transport = our_transport(Setup::Actpass);
    offer
}

/// An answer as a careless call table writes it.
pub fn our_answer(name: &str) -> Description {
    Description {
        streams: vec![Stream {
            name: name.into(),
            media: Media::Audio,
            codecs: vec![
                Codec::new(126, "telephone-event", 8_000, 1),
                Codec::new(111, "OPUS", 48_000, 1),
                Codec::new(8, "PCMA", 8_000, 1),
                Codec::new(110, "telephone-event", 48_000, 1),
            ],
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: our_transport(Setup::Active),
            rejected: false,
        }],
        bundle: false,
    }
}

/// The one content of a stanza, and its description and transport.
pub fn parts(stanza: &Element) -> (Element, Element, Element) {
    let jingle = stanza.get_child("jingle", NS_JINGLE).unwrap();
    let content = jingle.get_child("content", NS_JINGLE).unwrap();
    let description = content.children().find(|c| c.name() == "description");
    let transport = content.children().find(|c| c.name() == "transport");
    let none = || Element::bare("none", "none");
    (
        content.clone(),
        description.cloned().unwrap_or_else(none),
        transport.cloned().unwrap_or_else(none),
    )
}
