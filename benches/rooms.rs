//! The pure floors, called as `io/` calls them, on a clock of their own: no sockets, no threads.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minidom::Element;
use offhook::address::{Address, E164};
use offhook::border::{MediaCommand, MediaEvent};
use offhook::call::{MediaFacts, WorkerFacts};
use offhook::config::Config;
use offhook::description::{
    Codec, Description, Direction, Fingerprint, Media, RtpTransport, Security, Setup, Stream,
    Transport,
};
use offhook::gateway::{Gateway, Input, Output};
use offhook::id::{LegId, Role, Room, TokenMaker};
use offhook::io::config::interpret;
use offhook::leg::{End, EndReason, LegCommand, LegEvent};
use offhook::net::{Flow, NetInput, NetOutput, SipTransport};
use offhook::sip::Sip;
use offhook::sip::wire::Message;

use crate::Failure;
use crate::load::{hang_up, initiate, transport_without_media};
use crate::machine::own_cpu;
use crate::phone::respond;
use crate::server::DOMAIN;
use crate::table::{Table, short};

const CALLS: u64 = 20_000;
/// Between two calls on the rooms' clock. At 500 calls/s as many transactions linger as in
/// a gateway that busy.
const PACE: Duration = Duration::from_millis(2);

pub fn ours() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

pub fn theirs() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 10], 5060))
}

/// What a file means that sends every call from `local` to `remote`.
fn config(local: SocketAddr, remote: SocketAddr) -> Result<Config, Failure> {
    let ip = local.ip();
    let text = format!(
        "
[xmpp]
domain = '{DOMAIN}'
secret = 'secret'

[sip]
listen = ['udp://{local}']

[media]
bind = '{ip}'

[[trunk]]
name = 'peer'
uri = 'sip:{remote};transport=udp'
options_s = 0

[[route]]
match = '*'
trunk = ['peer']

[access]
allow = ['users.bench']
max_calls_per_user = 100
calls_per_minute = 100
"
    );
    let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let meaning = interpret(Path::new("bench.toml"), &text, [], 1, &no_files)?;
    Ok(meaning.config)
}

/// A SIP room whose time is counted.
pub struct Side {
    /// The room.
    pub sip: Sip,
    /// What its work has taken so far.
    pub spent: Duration,
    /// What its legs told.
    pub events: VecDeque<(LegId, LegEvent)>,
    sent: VecDeque<Vec<u8>>,
}

impl Side {
    /// At one address, with a trunk at the other.
    pub fn new(local: SocketAddr, remote: SocketAddr, now: Instant) -> Result<Self, Failure> {
        let config = config(local, remote)?;
        let mut sip = Sip::new(&config.sip, &config.trunks, TokenMaker::new([1; 32]));
        sip.start(now);
        Ok(Self {
            sip,
            spent: Duration::ZERO,
            events: VecDeque::new(),
            sent: VecDeque::new(),
        })
    }

    /// Does something and takes what comes of it.
    pub fn does(&mut self, work: impl FnOnce(&mut Sip)) {
        let start = own_cpu();
        work(&mut self.sip);
        while let Some(event) = self.sip.poll_event() {
            self.events.push_back(event);
        }
        while let Some(output) = self.sip.poll_output() {
            if let NetOutput::Send { bytes, .. } = output {
                self.sent.push_back(bytes);
            }
        }
        self.spent += own_cpu() - start;
    }
}

/// Two SIP rooms calling each other: INVITE, 180, 200, ACK, BYE, 200.
pub fn sip(_offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut now = Instant::now();
    let mut sides = [
        Side::new(ours(), theirs(), now)?,
        Side::new(theirs(), ours(), now)?,
    ];
    let mut answered = 0u64;
    for count in 1..=CALLS {
        now += PACE;
        for side in &mut sides {
            if side.sip.poll_timeout().is_some_and(|at| at <= now) {
                side.does(|sip| sip.handle_timeout(now));
            }
        }
        let leg = leg(count);
        sides[0].does(|sip| sip.command(now, leg, offer()));
        exchange(&mut sides, now);
        let Some((far, LegEvent::Offered { .. })) = sides[1].events.pop_front() else {
            return Err("the call did not come".into());
        };
        sides[1].does(|sip| {
            sip.command(now, far, LegCommand::Ring);
            sip.command(now, far, LegCommand::Answer(description(5000)));
        });
        exchange(&mut sides, now);
        let is_answer = |(_, event): &(LegId, LegEvent)| matches!(event, LegEvent::Answered(_));
        answered += u64::from(sides[0].events.iter().any(is_answer));
        let end = LegCommand::End(End::from(EndReason::Hangup));
        sides[0].does(|sip| sip.command(now, leg, end));
        exchange(&mut sides, now);
        for side in &mut sides {
            side.events.clear();
        }
    }
    if answered != CALLS {
        return Err(format!("{answered} of {CALLS} calls were answered").into());
    }
    for (what, side) in ["calling", "called"].iter().zip(&sides) {
        let micros = side.spent.as_secs_f64() * 1e6 / CALLS as f64;
        table.at_most(
            &format!("SIP room alone, {what}: CPU per answered call"),
            micros,
            64.0,
            "µs",
        );
        table.note(
            &format!("… which is, per core, {what}"),
            format!("{} calls/s", short(1e6 / micros)),
        );
    }
    Ok(())
}

/// The handle of a call.
pub fn leg(number: u64) -> LegId {
    LegId {
        room: Room::Sip,
        role: Role::Callee,
        number,
    }
}

/// What starts a call.
pub fn offer() -> LegCommand {
    let number = |text| E164::parse(text).map_or(Address::Anonymous, Address::Number);
    LegCommand::Offer {
        from: number("+15550100"),
        to: number("+15550199"),
        display_name: None,
        offer: description(4000),
        trunk: Some("peer".into()),
        replaces: None,
    }
}

/// Carries what was sent to the other side, until both are quiet.
pub fn exchange(sides: &mut [Side; 2], now: Instant) {
    loop {
        let sender = usize::from(sides[0].sent.is_empty());
        let Some(bytes) = sides[sender].sent.pop_front() else {
            return;
        };
        let receiver = 1 - sender;
        let addresses = [ours(), theirs()];
        let flow = Flow {
            transport: SipTransport::Udp,
            local: addresses[receiver],
            remote: addresses[sender],
            connection: None,
        };
        sides[receiver].does(|sip| sip.handle(now, NetInput::Datagram { flow, bytes }));
    }
}

/// One stream of sound at a port.
pub fn description(port: u16) -> Description {
    let transport = RtpTransport {
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
            codecs: vec![
                Codec::new(0, "PCMU", 8000, 1),
                Codec::new(8, "PCMA", 8000, 1),
                Codec::new(101, "telephone-event", 8000, 1),
            ],
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: Transport::Rtp(transport),
            rejected: false,
        }],
        bundle: false,
    }
}

/// The whole gateway without `io/`: one call from session-initiate to the last 200, and its two
/// dearest inputs.
pub fn gateway(_offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let facts = MediaFacts {
        fingerprint: Fingerprint {
            hash: "sha-256".to_owned(),
            value: vec![0x5a; 32],
            setup: Setup::Actpass,
        },
        rtp_bind: ours().ip(),
        rtp_address: ours().ip(),
        rtp_ports: 20_000..=29_999,
        workers: vec![WorkerFacts {
            rtp: vec![SocketAddr::new(ours().ip(), 40_000)],
            rtcp: vec![SocketAddr::new(ours().ip(), 40_001)],
        }],
    };
    let mut now = Instant::now();
    let mut world = World {
        gateway: Gateway::new(Arc::new(config(ours(), theirs())?), facts, [1; 32])?,
        spent: Duration::ZERO,
        inputs: VecDeque::new(),
        invite: Vec::new(),
        accepted: 0,
    };
    world.gateway.start(now);
    world.inputs.push_back(Input::LinkUp);
    world.run(now)?;
    for call in 0..CALLS as usize {
        now += PACE;
        if world.gateway.poll_timeout().is_some_and(|at| at <= now) {
            world.inputs.push_back(Input::Timeout);
        }
        for text in [
            initiate(call, &transport_without_media(call)),
            hang_up(call),
        ] {
            world.inputs.push_back(Input::Stanza(stanza(&text)?));
            world.run(now)?;
        }
    }
    if world.accepted != CALLS {
        return Err(format!("{} of {CALLS} calls were accepted", world.accepted).into());
    }
    let micros = world.spent.as_secs_f64() * 1e6 / CALLS as f64;
    table.note(
        "gateway without sockets and XML: a whole call",
        format!("{} µs", short(micros)),
    );
    let text = initiate(1, &transport_without_media(1));
    let element = stanza(&text)?;
    cost(table, "XML of a session-initiate to elements", || {
        drop(black_box(stanza(black_box(&text))));
    });
    cost(table, "elements of a session-initiate to XML", || {
        let mut out = Vec::with_capacity(2048);
        let _ = element.write_to(&mut out);
        black_box(out);
    });
    let bytes = world.invite;
    cost(table, "parsing an INVITE", || {
        let _ = black_box(Message::parse_datagram(black_box(&bytes)));
    });
    Ok(())
}

fn stanza(text: &str) -> Result<Element, Failure> {
    let text = text.replacen("<iq ", "<iq xmlns='jabber:component:accept' ", 1);
    Ok(text.parse()?)
}

fn cost(table: &mut Table, what: &str, mut work: impl FnMut()) {
    const TIMES: u32 = 20_000;
    (0..TIMES / 10).for_each(|_| work());
    let start = own_cpu();
    (0..TIMES).for_each(|_| work());
    let each = (own_cpu() - start).as_secs_f64() * 1e6 / f64::from(TIMES);
    table.note(what, format!("{} µs", short(each)));
}

struct World {
    gateway: Gateway,
    spent: Duration,
    inputs: VecDeque<Input>,
    invite: Vec<u8>,
    accepted: u64,
}

impl World {
    fn run(&mut self, now: Instant) -> Result<(), Failure> {
        while let Some(input) = self.inputs.pop_front() {
            let start = own_cpu();
            self.gateway.handle(now, input);
            let outputs: Vec<Output> = std::iter::from_fn(|| self.gateway.poll_output()).collect();
            self.spent += own_cpu() - start;
            for output in outputs {
                self.react(output)?;
            }
        }
        Ok(())
    }

    fn react(&mut self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Stanza(stanza) => {
                if stanza.attr("type") != Some("set") {
                    return Ok(());
                }
                let action = stanza.children().next().and_then(|c| c.attr("action"));
                self.accepted += u64::from(action == Some("session-accept"));
                if action == Some("session-terminate") {
                    return Err(String::from(&stanza).into());
                }
                let attr = |name| stanza.attr(name).unwrap_or_default();
                let (id, from, to) = (attr("id"), attr("from"), attr("to"));
                let result = format!("<iq type='result' id='{id}' from='{to}' to='{from}'/>");
                self.inputs
                    .push_back(Input::Stanza(crate::rooms::stanza(&result)?));
            }
            Output::MixStanza(_) | Output::Store(..) | Output::Ask(..) => {}
            Output::Net(NetOutput::Send { flow, bytes }) => {
                if bytes.starts_with(b"INVITE") {
                    self.invite.clone_from(&bytes);
                }
                let text = String::from_utf8_lossy(&bytes);
                for bytes in respond(&text, theirs(), theirs().port()) {
                    let input = Input::Net(NetInput::Datagram { flow, bytes });
                    self.inputs.push_back(input);
                }
            }
            Output::Media(_, MediaCommand::Close { bridge }) => {
                let closed = MediaEvent::Closed {
                    bridge,
                    stats: Box::default(),
                };
                self.inputs.push_back(Input::Media(closed));
            }
            Output::Net(_) | Output::Media(..) | Output::Record(_) | Output::Rung(_) => {}
        }
        Ok(())
    }
}
