//! Phones in MIX channels, with the whole gateway between a MIX component, a component and a trunk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use minidom::Element;
use offhook::address::E164;
use offhook::config::{ChannelConfig, Config, MixConfig, Secret};
use offhook::gateway::{Gateway, Input, Output};
use offhook::net::{Flow, NetInput, NetOutput, SipTransport};

use crate::world::{GATEWAY, NUMBER, TRUNK, config, facts};

const CHANNEL: &str = "support@mix.example.org";
const JULIET: &str = "juliet@example.org/balcony";
/// Whoever is called is hidden from these words in a hidden channel.
const CALLER: [&str; 2] = ["juliet", "balcony"];

struct Channel {
    gateway: Gateway,
    now: Instant,
    mix: Vec<Element>,
    xmpp: Vec<Element>,
    sip: Vec<String>,
}

fn with_channel(hidden: bool, phones: &[&str]) -> Config {
    Config {
        mix: Some(MixConfig {
            server: "127.0.0.1:5347".to_owned(),
            domain: "mix.example.org".to_owned(),
            secret: Secret("secret".to_owned()),
            create: Vec::new(),
            ejabberd_domains: Vec::new(),
            tigase_domains: Vec::new(),
            legacy_presence: false,
            archive_days: 30,
            archive_max: 100,
            channels: vec![ChannelConfig {
                name: "support".to_owned(),
                owners: vec!["nurse@example.org".parse().unwrap()],
                hidden,
                phones: phones.iter().filter_map(|n| E164::parse(n)).collect(),
            }],
        }),
        ..config()
    }
}

impl Channel {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut gateway = Gateway::new(Arc::new(config), facts(), [7; 32]).unwrap();
        gateway.start(now);
        let mut new = Self {
            gateway,
            now,
            mix: Vec::new(),
            xmpp: Vec::new(),
            sip: Vec::new(),
        };
        new.input(Input::LinkUp);
        new.input(Input::MixUp);
        new.mix(&join("juliet@example.org", "Juliet"));
        new
    }

    fn input(&mut self, input: Input) {
        self.gateway.handle(self.now, input);
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::MixStanza(stanza) => self.mix.push(stanza),
                Output::Stanza(stanza) => self.xmpp.push(stanza),
                Output::Net(NetOutput::Send { bytes, .. }) => {
                    self.sip.push(String::from_utf8(bytes).unwrap());
                }
                _ => {}
            }
        }
    }

    fn mix(&mut self, text: &str) {
        self.input(Input::MixStanza(text.parse().unwrap()));
    }

    /// A provisional answer to the INVITE.
    fn rings(&mut self) {
        let invite = self.last_sip("INVITE");
        let named = |name: &str| {
            let line = invite.lines().find(|l| l.starts_with(name));
            line.unwrap_or_default().to_owned()
        };
        let (via, from, to) = (named("Via:"), named("From:"), named("To:"));
        let (call, sequence) = (named("Call-ID:"), named("CSeq:"));
        let bytes = format!(
            "SIP/2.0 180 Ringing\r\n{via}\r\n{from}\r\n{to};tag=them\r\n{call}\r\n{sequence}\r\n\
             Contact: <sip:192.0.2.10>\r\nContent-Length: 0\r\n\r\n"
        );
        let flow = Flow {
            transport: SipTransport::Udp,
            local: GATEWAY,
            remote: TRUNK,
            connection: None,
        };
        let bytes = bytes.into_bytes();
        self.input(Input::Net(NetInput::Datagram { flow, bytes }));
    }

    fn last_sip(&self, method: &str) -> String {
        let sent = self.sip.iter().rev().find(|m| m.starts_with(method));
        sent.unwrap_or_else(|| panic!("no {method}")).clone()
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// With juliet's call to the phone, which rings.
    fn with_call(hidden: bool) -> Self {
        let mut channel = Self::new(with_channel(hidden, &["+15551234567"]));
        channel.calls();
        channel.rings();
        channel.mix.clear();
        channel
    }

    /// The full encoded JID of the phone, from the last presence that told of it.
    fn phone(&self) -> String {
        let is_phone = |s: &&Element| {
            let is_presence = s.name() == "presence" && s.attr("type").is_none();
            is_presence && s.children().any(|c| c.name() == "c")
        };
        let seen = self.mix.iter().rev().find(is_phone);
        seen.expect("a phone is there")
            .attr("from")
            .unwrap()
            .to_owned()
    }

    fn calls(&mut self) {
        let offer = self.offer(&self.phone());
        self.mix.clear();
        self.mix(&offer);
    }

    /// Juliet's `session-initiate` to a phone, as Chromium writes it.
    fn offer(&self, phone: &str) -> String {
        let offer = include_str!("../data/stanzas/chromium-stanzajs/session-initiate.xml");
        let start =
            format!("<iq xmlns=\"jabber:component:accept\" from=\"{JULIET}\" to=\"{phone}\" ");
        let end = offer.find(" id=").unwrap() + 1;
        let offer = start + &offer[end..];
        let offer = offer.replacen("to=\"alice@localhost/dino.alice\" ", "", 1);
        offer.replacen(
            "action=\"session-initiate\"",
            &format!("action=\"session-initiate\" initiator=\"{JULIET}\""),
            1,
        )
    }

    /// The type and action of what juliet got of her call; all of it must come from the phone.
    fn told(&self) -> Vec<String> {
        let phone = self.phone_of_call();
        let of_call = self.mix.iter().filter(|s| s.attr("to") == Some(JULIET));
        of_call
            .filter(|s| s.name() == "iq")
            .map(|s| {
                assert_eq!(s.attr("from"), Some(&*phone), "{s:?}");
                let jingle = s.get_child("jingle", "urn:xmpp:jingle:1");
                let action = jingle.and_then(|j| j.attr("action")).unwrap_or_default();
                format!("{} {action}", s.attr("type").unwrap())
            })
            .collect()
    }

    fn phone_of_call(&self) -> String {
        let result = self.mix.iter().find(|s| s.attr("type") == Some("result"));
        result
            .expect("the session is accepted")
            .attr("from")
            .unwrap()
            .to_owned()
    }

    fn terminated(&self) -> bool {
        let told = self.mix.iter().find(|s| {
            let jingle = s.get_child("jingle", "urn:xmpp:jingle:1");
            jingle.is_some_and(|j| j.attr("action") == Some("session-terminate"))
        });
        told.is_some_and(|s| {
            assert_eq!(s.attr("to"), Some(JULIET));
            String::from(s).contains("<gone/>")
        })
    }
}

fn join(jid: &str, nick: &str) -> String {
    format!(
        "<iq xmlns='jabber:component:accept' type='set' id='j' from='{jid}' to='{CHANNEL}'>\
         <join xmlns='urn:xmpp:mix:core:1'><subscribe node='urn:xmpp:mix:nodes:presence'/>\
         <subscribe node='urn:xmpp:mix:nodes:participants'/><nick>{nick}</nick></join></iq>"
    )
}

#[test]
fn a_phone_of_a_channel_is_called_through_it() {
    let mut channel = Channel::new(with_channel(false, &["+15551234567"]));
    channel.calls();
    let invite = channel.last_sip("INVITE");
    assert!(
        invite.starts_with("INVITE sip:+15551234567@192.0.2.10"),
        "{invite}"
    );
    assert!(
        invite.contains("<sip:+15550001000@"),
        "the caller's number: {invite}"
    );
    channel.rings();
    assert_eq!(channel.told(), ["result ", "set session-info"]);
}

#[test]
fn a_hidden_channel_tells_sip_nothing_of_the_caller() {
    let mut channel = Channel::new(with_channel(true, &["+15551234567"]));
    for stanza in &channel.mix {
        assert!(!String::from(stanza).contains("15551234567"), "{stanza:?}");
    }
    channel.calls();
    channel.rings();
    assert_eq!(channel.told(), ["result ", "set session-info"]);
    for stanza in &channel.mix {
        assert!(!String::from(stanza).contains("15551234567"), "{stanza:?}");
    }
    assert!(
        channel
            .last_sip("INVITE")
            .contains("<sip:anonymous@anonymous.invalid>")
    );
    for message in &channel.sip {
        for word in CALLER {
            assert!(!message.contains(word), "{message}");
        }
    }
}

#[test]
fn who_leaves_is_in_no_call_any_more() {
    for hidden in [false, true] {
        let mut channel = Channel::with_call(hidden);
        channel.mix(&format!(
            "<iq xmlns='jabber:component:accept' type='set' id='l' from='{JULIET}' to='{CHANNEL}'>\
             <leave xmlns='urn:xmpp:mix:core:1'/></iq>"
        ));
        assert!(
            channel.terminated(),
            "hidden {hidden}: {:?} {:?}",
            channel.mix,
            channel.gateway.census()
        );
        channel.last_sip("CANCEL");
    }
}

#[test]
fn a_phone_that_is_banned_is_in_no_call_any_more() {
    for hidden in [false, true] {
        let mut channel = Channel::with_call(hidden);
        channel.mix(&format!(
            "<iq xmlns='jabber:component:accept' type='set' id='b' from='nurse@example.org/x' \
             to='{CHANNEL}'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish \
             node='urn:xmpp:mix:nodes:banned'><item id='{NUMBER}'/></publish></pubsub></iq>"
        ));
        assert!(channel.terminated(), "hidden {hidden}: {:?}", channel.mix);
        channel.last_sip("CANCEL");
        let gone = |s: &&Element| s.attr("type") == Some("unavailable");
        assert_eq!(channel.mix.iter().filter(gone).count(), 1);
    }
}

#[test]
fn a_phone_goes_with_its_trunk() {
    let mut config = with_channel(false, &["+15551234567"]);
    config.trunks[0].options = Duration::from_secs(30);
    let mut channel = Channel::new(config);
    let phone = channel.phone();
    channel.mix.clear();
    channel.wait(Duration::from_secs(600));
    let last = channel.mix.iter().rev().find(|s| s.name() == "presence");
    let last = last.expect("the phone has gone");
    assert_eq!(last.attr("type"), Some("unavailable"));
    assert_eq!(last.attr("from"), Some(&*phone));
    channel.mix.clear();
    channel.mix(&join("romeo@example.org", "Romeo"));
    let shown = |s: &&Element| s.name() == "presence" && s.attr("type").is_none();
    assert_eq!(channel.mix.iter().find(shown), None, "it is not there");
}

/// Somebody invites the number by a message to its contact.
fn invite(channel: &mut Channel, inviter: &str) -> Vec<String> {
    channel.xmpp.clear();
    let invitation = format!(
        "<message xmlns='jabber:component:accept' from='{inviter}/w' to='{NUMBER}' id='m'>\
         <body>Would you like to join?</body><invitation xmlns='urn:xmpp:mix:misc:0'>\
         <inviter>nurse@example.org</inviter><invitee>{NUMBER}</invitee><channel>{CHANNEL}</channel>\
         <token>x</token></invitation></message>"
    );
    channel.input(Input::Stanza(invitation.parse().unwrap()));
    let acks = channel.xmpp.iter().filter_map(|s| {
        assert_eq!(s.attr("to"), Some(&*format!("{inviter}/w")));
        let ack = s.get_child("invitation-ack", "urn:xmpp:mix:misc:0")?;
        Some(ack.get_child("value", "urn:xmpp:mix:misc:0")?.text())
    });
    acks.collect()
}

#[test]
fn an_invited_phone_joins_and_says_so() {
    let mut channel = Channel::new(with_channel(false, &[]));
    assert_eq!(invite(&mut channel, "nurse@example.org"), ["Joined"]);
    let phone = channel.phone();
    assert!(phone.ends_with(&format!("#{CHANNEL}/phone")), "{phone}");
    channel.calls();
    channel.last_sip("INVITE");
    for stranger in ["juliet@example.org", "tybalt@elsewhere.example"] {
        let mut channel = Channel::new(with_channel(false, &[]));
        assert_eq!(invite(&mut channel, stranger), ["Declined"]);
    }
}

#[test]
fn a_command_brings_a_phone_in_and_takes_it_out() {
    let mut channel = Channel::new(with_channel(false, &[]));
    let command = |who: &str, node: &str, form: &str| {
        format!(
            "<iq xmlns='jabber:component:accept' type='set' id='c' from='{who}@example.org/x' \
             to='{CHANNEL}'><command xmlns='http://jabber.org/protocol/commands' node='{node}'>\
             {form}</command></iq>"
        )
    };
    let form = "<x xmlns='jabber:x:data' type='submit'><field var='number'><value>+15551234567\
                </value></field></x>";
    channel.mix.clear();
    channel.mix(&command("nurse", "add-phone", ""));
    let asked = String::from(&channel.mix[0]);
    assert!(
        asked.contains("status='executing'") && asked.contains("var='number'"),
        "{asked}"
    );
    channel.mix(&command("nurse", "add-phone", form));
    let phone = channel.phone();
    channel.mix.clear();
    channel.mix(&command("juliet", "remove-phone", form));
    assert_eq!(channel.mix[0].attr("type"), Some("error"));
    channel.mix(&command("nurse", "remove-phone", form));
    let gone = channel
        .mix
        .iter()
        .find(|s| s.attr("type") == Some("unavailable"));
    assert_eq!(gone.unwrap().attr("from"), Some(&*phone));
}

/// Carries stanzas between a gateway with a number and one with a channel, until both are quiet.
fn ferry(here: &mut Channel, there: &mut Channel) {
    let goes_to = |stanza: &Element, domain: &str| {
        let to = stanza.attr("to").unwrap_or_default();
        to.split('/').next().unwrap().ends_with(domain)
    };
    loop {
        let (out, kept) = std::mem::take(&mut here.xmpp)
            .into_iter()
            .partition::<Vec<_>, _>(|s| goes_to(s, "mix.example.org"));
        here.xmpp = kept;
        let (back, kept) = std::mem::take(&mut there.mix)
            .into_iter()
            .partition::<Vec<_>, _>(|s| goes_to(s, "phone.example.org"));
        there.mix = kept;
        if out.is_empty() && back.is_empty() {
            return;
        }
        out.into_iter()
            .for_each(|s| there.input(Input::MixStanza(s)));
        back.into_iter().for_each(|s| here.input(Input::Stanza(s)));
    }
}

#[test]
fn a_contact_takes_part_in_a_channel_of_another_gateway() {
    let mut own = config();
    own.access.domains.push("mix.example.org".parse().unwrap());
    let mut here = Channel::new(own);
    let mut foreign = with_channel(false, &[]);
    foreign.xmpp.domain = "phone.other.example".to_owned();
    let mut there = Channel::new(foreign);
    let invitation = format!(
        "<message xmlns='jabber:component:accept' from='{JULIET}' to='{NUMBER}' id='m'>\
         <invitation xmlns='urn:xmpp:mix:misc:0'><inviter>juliet@example.org</inviter>\
         <invitee>{NUMBER}</invitee><channel>{CHANNEL}</channel></invitation></message>"
    );
    here.input(Input::Stanza(invitation.parse().unwrap()));
    ferry(&mut here, &mut there);
    let ack = here.xmpp.iter().map(String::from).collect::<String>();
    assert!(ack.contains("<value>Joined</value>"), "{ack}");
    let phone = there.phone();
    let nick = there.mix.iter().map(String::from).collect::<String>();
    assert!(
        nick.contains("<nick>Phone "),
        "a foreign channel is told no number as a nick"
    );

    there.mix.clear();
    there.mix(&format!(
        "<iq xmlns='jabber:component:accept' type='get' id='d' from='{JULIET}' to='{phone}'>\
         <query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    ));
    ferry(&mut here, &mut there);
    let told = there.mix.iter().map(String::from).collect::<String>();
    assert!(told.contains("urn:xmpp:jingle:apps:rtp:audio"), "{told}");

    there.mix(&join("juliet@example.org", "Juliet"));
    let offer = there.offer(&phone);
    there.mix.clear();
    there.mix(&offer);
    ferry(&mut here, &mut there);
    here.rings();
    ferry(&mut here, &mut there);
    assert_eq!(there.told(), ["result ", "set session-info"]);
}
