//! Two rooms over a bad link, and single messages against one room.

mod asides;
mod chaos;
mod faults;
mod holds;
mod pair;
mod raw;
mod referring;
mod register;
mod reliable;
mod texts;
mod timers;
mod transfers;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::address::{Address, E164};
use crate::config::{SipConfig, TrunkConfig, of_file};
use crate::description::{
    Codec, Description, Direction, Media, RtpTransport, Security, Stream, Transport,
};
use crate::id::{LegId, Role, Room, TokenMaker};
use crate::leg::{LegCommand, LegEvent};
use crate::net::{Flow, NetInput, NetOutput, SipTransport};

use super::wire::Message;
use super::{Sip, SipCensus};

/// The one look at the clock; everything else is a duration after it.
#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

const NORTH: &str = "192.0.2.1:5060";
const SOUTH: &str = "198.51.100.1:5060";

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn number(text: &str) -> Address {
    Address::Number(E164::parse(text).unwrap())
}

fn description(port: u16) -> Description {
    let rtp = RtpTransport {
        address: Some(([192, 0, 2, 77], port).into()),
        rtcp: None,
        rtcp_mux: false,
        security: Security::None,
        opportunistic: false,
    };
    Description {
        streams: vec![Stream {
            name: String::new(),
            media: Media::Audio,
            codecs: vec![Codec::new(8, "PCMA", 8000, 1)],
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: Transport::Rtp(rtp),
            rejected: false,
        }],
        bundle: false,
    }
}

fn port_of(description: &Description) -> u16 {
    match &description.audio().unwrap().transport {
        Transport::Rtp(rtp) => rtp.address.unwrap().port(),
        Transport::Ice(_) => panic!("SIP has no ICE here"),
    }
}

fn trunk(name: &str, host: &str, port: u16) -> TrunkConfig {
    let text = format!(
        "[[trunk]]\nname = '{name}'\nuri = 'sip:{host}:{port}'\ncodecs = ['PCMA']\noptions_s = 0"
    );
    of_file(&text).trunks.remove(0)
}

fn config(listen: &[(SipTransport, &str)]) -> SipConfig {
    let listen = listen
        .iter()
        .map(|(transport, local)| (*transport, local.parse().unwrap()));
    SipConfig {
        listen: listen.collect(),
        ..of_file("").sip
    }
}

fn callee(count: u64) -> LegId {
    LegId {
        room: Room::Sip,
        role: Role::Callee,
        number: count,
    }
}

fn offer_to(to: Address, trunk: Option<&str>) -> LegCommand {
    LegCommand::Offer {
        from: number("+15550100"),
        to,
        display_name: Some("Al \"x\"".into()),
        offer: description(4000),
        trunk: trunk.map(str::to_owned),
        replaces: None,
    }
}

/// One room and one UDP peer that the test plays itself.
struct Bench {
    sip: Sip,
    now: Instant,
    events: VecDeque<(LegId, LegEvent)>,
}

impl Bench {
    /// A room at [`NORTH`] with the trunk `south` at [`SOUTH`].
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut TrunkConfig)) -> Self {
        let mut south = trunk("south", "198.51.100.1", 5060);
        change(&mut south);
        Self::with_trunks(&[south])
    }

    fn with_trunks(trunks: &[TrunkConfig]) -> Self {
        let config = config(&[(SipTransport::Udp, NORTH), (SipTransport::Tcp, NORTH)]);
        let mut sip = Sip::new(&config, trunks, TokenMaker::new([5; 32]));
        let now = base();
        sip.start(now);
        Self {
            sip,
            now,
            events: VecDeque::new(),
        }
    }

    fn flow(from: &str) -> Flow {
        Flow {
            transport: SipTransport::Udp,
            local: NORTH.parse().unwrap(),
            remote: from.parse().unwrap(),
            connection: None,
        }
    }

    fn hears(&mut self, text: &str) {
        self.hears_from(SOUTH, text);
    }

    /// Lines may be written with bare line feeds and indented.
    fn hears_from(&mut self, from: &str, text: &str) {
        let flow = Self::flow(from);
        let text: String = text
            .trim_start()
            .lines()
            .map(|line| line.trim_start().to_owned() + "\r\n")
            .collect();
        let bytes = if text.contains("\r\n\r\n") {
            text.into_bytes()
        } else {
            (text + "\r\n").into_bytes()
        };
        self.sip
            .handle(self.now, NetInput::Datagram { flow, bytes });
        self.collect();
    }

    fn hears_stream(&mut self, flow: Flow, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.sip.handle(self.now, NetInput::Stream { flow, bytes });
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(event) = self.sip.poll_event() {
            self.events.push_back(event);
        }
    }

    fn tells(&mut self, leg: LegId, command: LegCommand) {
        self.sip.command(self.now, leg, command);
        self.collect();
    }

    /// Lets time pass, deadline by deadline.
    fn after(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.sip.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.sip.handle_timeout(self.now);
        }
        self.now = end;
        self.collect();
    }

    /// The messages that left, with their destinations.
    fn sent_to(&mut self) -> Vec<(Flow, Message)> {
        let mut out = Vec::new();
        while let Some(output) = self.sip.poll_output() {
            if let NetOutput::Send { flow, bytes } = output {
                out.push((flow, Message::parse_datagram(&bytes).unwrap()));
            }
        }
        out
    }

    fn sent(&mut self) -> Vec<Message> {
        self.sent_to().into_iter().map(|(_, m)| m).collect()
    }

    /// What left, in short: `INVITE`, `180`.
    fn said(&mut self) -> Vec<String> {
        self.sent().iter().map(short).collect()
    }

    fn event(&mut self) -> LegEvent {
        self.events.pop_front().expect("an event").1
    }

    fn is_quiet(&mut self) {
        self.after(Duration::from_secs(400));
        assert_eq!(self.sip.census(), SipCensus::default());
    }
}

fn short(message: &Message) -> String {
    match (message.method(), message.status()) {
        (Some(method), _) => method.to_string(),
        (None, Some(status)) => status.to_string(),
        (None, None) => String::new(),
    }
}

/// An answer to one of our requests.
fn reply(request: &Message, status: u16, tag: &str) -> Message {
    let mut response = Message::response_to(request, status);
    response.set_to_tag(tag);
    response.with(
        super::wire::Name::Contact,
        format!("<sip:{tag}@198.51.100.1:5060>"),
    )
}

fn text(message: &Message) -> String {
    String::from_utf8(message.to_bytes()).unwrap()
}
