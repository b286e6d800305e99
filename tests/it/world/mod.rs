//! The simulated world: the whole gateway without its sockets, clients and phones around it, links
//! that lose, double and reorder, and a clock that only this file turns.
//!
//! The same seed gives the same trace, byte for byte.

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use minidom::Element;
use offhook::border::{MediaCommand, MediaEvent, Side, SideTransport};
use offhook::call::record::CallRecord;
use offhook::call::{MediaFacts, WorkerFacts};
use offhook::config::Config;
use offhook::description::{Fingerprint, Setup};
use offhook::gateway::{Gateway, Input, Output};
use offhook::id::{BridgeId, TokenMaker};
use offhook::io::config::interpret;
use offhook::leg::EndReason;
use offhook::net::{Flow, NetInput, NetOutput, SipTransport};

pub mod client;
pub mod dialect;
pub mod phone;
pub mod reference;
pub mod scenario;
pub mod watch;

use client::Client;
use phone::Phone;

/// Virtual time after which a world that is not quiet is broken.
const END_OF_THE_WORLD: Duration = Duration::from_secs(30 * 3600);
/// Events after which a world spins.
const MAX_EVENTS: u64 = 200_000;
/// One way of the XMPP link.
const XMPP_DELAY: Duration = Duration::from_millis(5);

/// How the SIP link treats datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub loss_percent: u64,
    pub double_percent: u64,
    pub delay: Duration,
    pub jitter: Duration,
}

impl Link {
    pub const CLEAN: Self = Self {
        loss_percent: 0,
        double_percent: 0,
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
    };
}

/// What becomes of one datagram, for single-fault runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Drop(u64),
    Double(u64),
    Late(u64, Duration),
}

/// How media behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaPlan {
    /// ICE and DTLS come up after so long.
    Connects(Duration),
    /// The certificate is a wrong one.
    WrongFingerprint,
    /// Nothing ever comes.
    Never,
    /// It comes up, and then the peer falls silent.
    FallsSilent(Duration),
}

/// Which telephone network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    First,
    Backup,
}

/// Changes the bytes of a datagram on its way to the gateway.
pub type Noise = Box<dyn FnMut(&mut Vec<u8>)>;

#[derive(Debug)]
enum Event {
    ToGateway(Input),
    ToClient(usize, Element),
    ToPhone(Which, Vec<u8>),
    WakeClient(usize, client::Wake),
    WakePhone(Which, phone::Wake),
    Dial(usize, &'static str, String),
    PhoneCalls(String, Option<Duration>),
    Write(usize, String),
    PhoneWrites(String, String),
    LinkDown,
    LinkUp,
    Deaf(Which, bool),
    Drain,
    EndCalls,
}

pub struct World {
    pub clients: Vec<Client>,
    pub phone: Phone,
    /// Behind the second trunk, if there is one.
    pub backup: Phone,
    /// How many stanzas of clients come twice.
    pub stanza_double_percent: u64,
    /// When the link is back, clients say again what they said last.
    pub says_again: bool,
    pub noise: Option<Noise>,
    /// Parts of warnings that this world may log.
    pub expected_logs: Vec<&'static str>,
    last_said: BTreeMap<usize, Element>,
    pub link: Link,
    pub fault: Option<Fault>,
    pub media: MediaPlan,
    pub gateway: Gateway,
    pub records: Vec<CallRecord>,
    /// Media ports that other programs have.
    pub taken_ports: BTreeSet<u16>,
    /// Keys that a media worker was told to press, each toward its side.
    pub pressed: Vec<(Side, char)>,
    pub trace: Vec<String>,
    tokens: TokenMaker,
    start: Instant,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    handled: u64,
    datagrams: u64,
    link_is_up: bool,
    connected: BTreeMap<(BridgeId, Side), ()>,
    bridges: BTreeMap<BridgeId, ()>,
}

pub const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);
pub const TRUNK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 5060);
pub const BACKUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 20)), 5060);
pub const NUMBER: &str = "+15551234567@phone.example.org";
/// Whom a second line calls: a user has one call with a contact at a time.
pub const SECOND_NUMBER: &str = "+15552224444@phone.example.org";

const CONFIG: &str = "
[xmpp]
domain = 'phone.example.org'
secret = 'secret'

[sip]
listen = ['udp://192.0.2.1:5060']

[media]
bind = '192.0.2.1'
rtp_ports = '20000-20199'

[[trunk]]
name = 'carrier'
uri = 'sip:192.0.2.10;transport=udp'
options_s = 0

[[route]]
match = '*'
trunk = ['carrier']

[[number]]
number = '+15550001000'
ring = ['juliet@example.org']

[access]
allow = ['example.org']
";

pub fn config() -> Config {
    // Read once: a fuzzer makes a thousand worlds a second.
    static READ: LazyLock<Config> = LazyLock::new(|| {
        let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        match interpret(Path::new("world.toml"), CONFIG, [], 1, &no_files) {
            Ok(meaning) => meaning.config,
            Err(mistakes) => panic!("{mistakes}"),
        }
    });
    READ.clone()
}

/// The same with a second trunk, which is tried when the first one fails.
pub fn config_with_backup() -> Config {
    let mut config = config();
    let mut backup = config.trunks[0].clone();
    backup.name = "backup".to_owned();
    backup.uri = "sip:192.0.2.20".to_owned();
    backup.host = "192.0.2.20".to_owned();
    config.routes[0].trunks.push(backup.name.clone());
    config.trunks.push(backup);
    config
}

/// What the gateway of a world knows of its media.
pub fn facts() -> MediaFacts {
    MediaFacts {
        fingerprint: Fingerprint {
            hash: "sha-256".to_owned(),
            value: vec![0x5a; 32],
            setup: Setup::Actpass,
        },
        rtp_bind: GATEWAY.ip(),
        rtp_address: GATEWAY.ip(),
        rtp_ports: 20_000..=20_199,
        workers: vec![WorkerFacts {
            rtp: vec![SocketAddr::new(GATEWAY.ip(), 40_000)],
            rtcp: vec![SocketAddr::new(GATEWAY.ip(), 40_001)],
        }],
    }
}

impl World {
    pub fn new(seed: u64, phone: phone::Plan) -> Self {
        Self::with_config(seed, phone, config())
    }

    pub fn with_config(seed: u64, phone: phone::Plan, config: Config) -> Self {
        watch::start();
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut tokens = TokenMaker::new(bytes);
        let mut gateway_seed = [0; 32];
        tokens.fill(&mut gateway_seed);
        let start = Instant::now();
        let mut gateway = Gateway::new(Arc::new(config), facts(), gateway_seed).unwrap();
        gateway.watch_ladder();
        // 2026-11-21 12:00 UTC: the wall must not make one world unlike another.
        gateway.set_clock(start, Duration::from_secs(1_795_262_400));
        gateway.start(start);
        let mut world = Self {
            clients: Vec::new(),
            phone: Phone::new(phone),
            backup: Phone::new(phone::Plan::Silent),
            stanza_double_percent: 0,
            says_again: false,
            noise: None,
            expected_logs: Vec::new(),
            last_said: BTreeMap::new(),
            link: Link::CLEAN,
            fault: None,
            media: MediaPlan::Connects(Duration::from_millis(80)),
            gateway,
            records: Vec::new(),
            taken_ports: BTreeSet::new(),
            pressed: Vec::new(),
            trace: Vec::new(),
            tokens,
            start,
            now: start,
            events: BTreeMap::new(),
            sequence: 0,
            handled: 0,
            datagrams: 0,
            link_is_up: true,
            connected: BTreeMap::new(),
            bridges: BTreeMap::new(),
        };
        world.input(Input::LinkUp);
        world
    }

    /// Adds a client that dials the number after so long.
    pub fn caller(
        &mut self,
        plain_jingle: bool,
        end_after: Option<Duration>,
        at: Duration,
    ) -> usize {
        let n = self.clients.len();
        let jid = format!("juliet{n}@example.org/balcony");
        self.clients.push(Client::new(
            &jid,
            client::Plan::Call {
                plain_jingle,
                end_after,
            },
        ));
        self.at(at, Event::Dial(n, NUMBER, format!("sid-{n}")));
        n
    }

    /// Gives the device of client `n` a second line, which calls somebody else. A line that hands its
    /// call on connects both.
    pub fn second_line(&mut self, n: usize, end_after: Option<Duration>, at: Duration) -> usize {
        let line = self.clients.len();
        let first = &mut self.clients[n];
        let client::Plan::Call { plain_jingle, .. } = first.plan else {
            panic!("who is called has no second line");
        };
        let (jid, dialect) = (first.jid.clone(), first.dialect);
        first.other_line = Some((SECOND_NUMBER, format!("sid-{line}")));
        let plan = client::Plan::Call {
            plain_jingle,
            end_after,
        };
        let mut second = Client::new(&jid, plan);
        second.dialect = dialect;
        second.other_line = Some((NUMBER, format!("sid-{n}")));
        self.clients.push(second);
        let dials = Event::Dial(line, SECOND_NUMBER, format!("sid-{line}"));
        self.at(at, dials);
        line
    }

    /// Adds the client that our number rings.
    pub fn callee(&mut self, plan: client::Plan) -> usize {
        self.clients
            .push(Client::new("juliet@example.org/balcony", plan));
        self.clients.len() - 1
    }

    /// Cuts the link to the XMPP server, and mends it.
    pub fn cut_link(&mut self, at: Duration, for_so_long: Duration) {
        self.at(at, Event::LinkDown);
        self.at(at + for_so_long, Event::LinkUp);
    }

    /// A trunk hears nothing for a while.
    pub fn deafen(&mut self, which: Which, at: Duration, for_so_long: Duration) {
        self.at(at, Event::Deaf(which, true));
        self.at(at + for_so_long, Event::Deaf(which, false));
    }

    /// The gateway takes no more calls, and ends those that are left after so long.
    pub fn stop_gateway(&mut self, at: Duration, grace: Duration) {
        self.at(at, Event::Drain);
        self.at(at + grace, Event::EndCalls);
    }

    /// The phone calls our number, and ends the call after so long, if it says so.
    pub fn phone_calls(&mut self, at: Duration, id: &str, end_after: Option<Duration>) {
        self.at(at, Event::PhoneCalls(id.to_owned(), end_after));
    }

    /// A client writes to the number.
    pub fn writes(&mut self, at: Duration, n: usize, text: &str) {
        self.at(at, Event::Write(n, text.to_owned()));
    }

    /// The phone writes to our number.
    pub fn phone_writes(&mut self, at: Duration, id: &str, text: &str) {
        self.at(at, Event::PhoneWrites(id.to_owned(), text.to_owned()));
    }

    /// A stanza comes from the server.
    pub fn hears_stanza(&mut self, at: Duration, stanza: Element) {
        self.at(at, Event::ToGateway(Input::Stanza(stanza)));
    }

    /// A datagram comes from the first trunk.
    pub fn hears_datagram(&mut self, at: Duration, bytes: Vec<u8>) {
        let flow = Flow {
            transport: SipTransport::Udp,
            local: GATEWAY,
            remote: TRUNK,
            connection: None,
        };
        let datagram = NetInput::Datagram { flow, bytes };
        self.at(at, Event::ToGateway(Input::Net(datagram)));
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    /// Runs until nothing happens any more.
    pub fn run(&mut self) {
        while self.step() {}
    }

    /// Runs until so long after the start.
    pub fn run_until(&mut self, end: Duration) {
        while self.elapsed() < end && self.step() {}
    }

    /// Runs on until no call, transaction or message is under way; what a trunk is asked for now and
    /// then comes again.
    pub fn run_until_quiet(&mut self) {
        let end = self.elapsed() + Duration::from_secs(600);
        while !self.gateway.census().sip.is_quiet() {
            assert!(self.elapsed() < end && self.step(), "{}", self.story());
        }
    }

    /// One event or deadline; false when the world is quiet.
    pub fn step(&mut self) -> bool {
        let event = self.events.keys().next().copied();
        let deadline = self.gateway.poll_timeout();
        let next = match (event, deadline) {
            (Some((at, _)), Some(deadline)) if deadline <= at => None,
            (Some(key), _) => Some(key),
            (None, Some(_)) => None,
            (None, None) => return false,
        };
        self.handled += 1;
        assert!(
            self.handled < MAX_EVENTS,
            "the world spins\n{}",
            self.story()
        );
        match next {
            Some(key) => {
                self.now = self.now.max(key.0);
                let event = self.events.remove(&key).unwrap();
                self.happen(event);
            }
            None => {
                self.now = self.now.max(deadline.unwrap());
                self.input(Input::Timeout);
            }
        }
        assert!(
            self.now - self.start < END_OF_THE_WORLD,
            "never quiet\n{}",
            self.story()
        );
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToGateway(input) => self.input(input),
            Event::ToClient(n, stanza) => {
                let acts = self.clients[n].receive(&stanza);
                self.client_acts(n, acts);
            }
            Event::ToPhone(which, bytes) => {
                let acts = self.phone(which).receive(&bytes);
                self.phone_acts(which, acts);
            }
            Event::WakeClient(n, wake) => {
                let acts = self.clients[n].wake(wake);
                self.client_acts(n, acts);
            }
            Event::WakePhone(which, wake) => {
                let acts = self.phone(which).wake(wake);
                self.phone_acts(which, acts);
            }
            Event::Dial(n, number, sid) => {
                let acts = self.clients[n].dial(number, &sid);
                self.client_acts(n, acts);
            }
            Event::PhoneCalls(id, end_after) => {
                let acts = self.phone.call(&id, "+15550001000", end_after);
                self.phone_acts(Which::First, acts);
            }
            Event::Write(n, text) => {
                let acts = self.clients[n].write(NUMBER, &text);
                self.client_acts(n, acts);
            }
            Event::PhoneWrites(id, text) => {
                let acts = self.phone.write(&id, "+15550001000", &text);
                self.phone_acts(Which::First, acts);
            }
            Event::LinkDown => {
                self.link_is_up = false;
                self.input(Input::LinkDown);
            }
            Event::LinkUp => {
                self.link_is_up = true;
                self.input(Input::LinkUp);
                if self.says_again {
                    for stanza in self.last_said.clone().into_values() {
                        self.at(XMPP_DELAY, Event::ToGateway(Input::Stanza(stanza)));
                    }
                }
            }
            Event::Deaf(which, is_deaf) => self.phone(which).habits.is_deaf = is_deaf,
            Event::Drain => self.input(Input::Drain),
            Event::EndCalls => self.input(Input::EndCalls),
        }
    }

    fn phone(&mut self, which: Which) -> &mut Phone {
        match which {
            Which::First => &mut self.phone,
            Which::Backup => &mut self.backup,
        }
    }

    fn client_acts(&mut self, n: usize, acts: Vec<client::Act>) {
        for act in acts {
            match act {
                client::Act::Send(stanza) => self.client_says(n, stanza),
                client::Act::Wake(after, wake) => self.at(after, Event::WakeClient(n, wake)),
            }
        }
    }

    fn client_says(&mut self, n: usize, stanza: Element) {
        let is_answer = matches!(stanza.attr("type"), Some("result" | "error"));
        if !is_answer {
            self.last_said.insert(n, stanza.clone());
        }
        if !self.link_is_up {
            return;
        }
        if self.tokens.below(100) < self.stanza_double_percent {
            self.at(XMPP_DELAY, Event::ToGateway(Input::Stanza(stanza.clone())));
        }
        self.at(XMPP_DELAY, Event::ToGateway(Input::Stanza(stanza)));
    }

    fn phone_acts(&mut self, which: Which, acts: Vec<phone::Act>) {
        for act in acts {
            match act {
                phone::Act::Send(bytes) => {
                    let (remote, bytes) = match which {
                        Which::First => (TRUNK, bytes),
                        Which::Backup => (BACKUP, moved(&bytes, "192.0.2.10", "192.0.2.20")),
                    };
                    let flow = Flow {
                        transport: SipTransport::Udp,
                        local: GATEWAY,
                        remote,
                        connection: None,
                    };
                    for delay in self.fate() {
                        let mut bytes = bytes.clone();
                        if let Some(noise) = &mut self.noise {
                            noise(&mut bytes);
                        }
                        let input = Input::Net(NetInput::Datagram { flow, bytes });
                        self.at(delay, Event::ToGateway(input));
                    }
                }
                phone::Act::Wake(after, wake) => self.at(after, Event::WakePhone(which, wake)),
            }
        }
    }

    /// The delays after which copies of the next datagram arrive; none if it is lost.
    fn fate(&mut self) -> Vec<Duration> {
        let n = self.datagrams;
        self.datagrams += 1;
        let Link {
            loss_percent,
            double_percent,
            delay,
            jitter,
        } = self.link;
        match self.fault {
            Some(Fault::Drop(k)) if k == n => return Vec::new(),
            Some(Fault::Double(k)) if k == n => return vec![delay, delay],
            Some(Fault::Late(k, late)) if k == n => return vec![delay + late],
            Some(_) | None => {}
        }
        if self.tokens.below(100) < loss_percent {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.tokens.below(100) < double_percent);
        let jitter = jitter.as_millis() as u64;
        (0..copies)
            .map(|_| delay + Duration::from_millis(self.tokens.below(jitter + 1)))
            .collect()
    }

    /// Datagrams so far, both ways.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    fn input(&mut self, input: Input) {
        self.gateway.handle(self.now, input);
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Stanza(stanza) => self.deliver(stanza),
                Output::Net(NetOutput::Send { flow, bytes }) => {
                    let (which, bytes) = match flow.remote {
                        TRUNK => (Which::First, bytes),
                        BACKUP => (Which::Backup, moved(&bytes, "192.0.2.20", "192.0.2.10")),
                        // A Contact or Via that noise has changed.
                        _ if self.noise.is_some() => continue,
                        other => panic!("to whom? {other}"),
                    };
                    for delay in self.fate() {
                        self.at(delay, Event::ToPhone(which, bytes.clone()));
                    }
                }
                Output::Net(other) if self.noise.is_some() => self.refuse(other),
                Output::MixStanza(_) | Output::Store(..) | Output::Ask(..) => {
                    panic!("there is no MIX service")
                }
                Output::Net(other) => panic!("unexpected: {other:?}"),
                Output::Media(_, command) => self.media_command(command),
                Output::Record(record) => self.records.push(*record),
                Output::Rung(rung) => self.trace.push(rung.to_string().trim_end().to_owned()),
            }
        }
    }

    /// No name resolves, and nobody listens.
    fn refuse(&mut self, output: NetOutput) {
        let answer = match output {
            NetOutput::Resolve { query, question: _ } => NetInput::Resolved {
                query,
                records: Vec::new(),
            },
            NetOutput::Connect { flow, .. } => match flow.connection {
                Some(connection) => NetInput::Closed { connection },
                None => return,
            },
            NetOutput::Send { .. } | NetOutput::Close { .. } => return,
        };
        self.at(XMPP_DELAY, Event::ToGateway(Input::Net(answer)));
    }

    fn deliver(&mut self, stanza: Element) {
        if !self.link_is_up {
            return;
        }
        let to = stanza.attr("to").unwrap_or_default().to_owned();
        let bare = to.split('/').next().unwrap_or_default().to_owned();
        assert!(
            stanza.attr("from").is_some(),
            "ejabberd cuts the link without from"
        );
        for n in 0..self.clients.len() {
            let jid = &self.clients[n].jid;
            let is_meant = *jid == to || !to.contains('/') && jid.split('/').next() == Some(&bare);
            if is_meant && self.line_of(n, &stanza) == n {
                self.at(XMPP_DELAY, Event::ToClient(n, stanza.clone()));
            }
        }
    }

    /// The line of the device of client `n` that a stanza is about; the first one, if of none.
    fn line_of(&self, n: usize, stanza: &Element) -> usize {
        let jid = &self.clients[n].jid;
        let lines = || (0..self.clients.len()).filter(|m| self.clients[*m].jid == *jid);
        let about = lines().find(|m| self.clients[*m].is_about(stanza));
        about.or_else(|| lines().next()).unwrap_or(n)
    }

    fn media_command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Configure { bridge, side, spec } => {
                self.bridges.insert(bridge, ());
                let ice = match &spec.transport {
                    SideTransport::Ice(ice) => ice,
                    SideTransport::Bundled(_) => return,
                    SideTransport::Rtp(rtp) => {
                        let port = rtp.port;
                        if self.taken_ports.contains(&port) {
                            let taken = MediaEvent::PortTaken {
                                bridge,
                                side,
                                port,
                                text: "address in use".to_owned(),
                            };
                            self.media_event(Duration::from_millis(1), taken);
                        }
                        return;
                    }
                };
                if ice.dtls.is_none() || self.connected.insert((bridge, side), ()).is_some() {
                    return;
                }
                let connected = MediaEvent::Connected { bridge, side };
                match self.media {
                    MediaPlan::Connects(after) => self.media_event(after, connected),
                    MediaPlan::WrongFingerprint => {
                        let failed = MediaEvent::Failed {
                            bridge,
                            side,
                            reason: EndReason::Security,
                            text: "a wrong fingerprint".to_owned(),
                        };
                        self.media_event(Duration::from_millis(50), failed);
                    }
                    MediaPlan::Never => {}
                    MediaPlan::FallsSilent(after) => {
                        self.media_event(Duration::from_millis(80), connected);
                        self.media_event(after, MediaEvent::Silent { bridge, side });
                    }
                }
            }
            MediaCommand::Digit { side, digit, .. } => self.pressed.push((side, digit.as_char())),
            MediaCommand::Candidates { .. } => {}
            MediaCommand::Close { bridge } => {
                assert!(
                    self.bridges.remove(&bridge).is_some(),
                    "closed what was not there"
                );
                let closed = MediaEvent::Closed {
                    bridge,
                    stats: Box::default(),
                };
                self.media_event(Duration::from_millis(1), closed);
            }
        }
    }

    fn media_event(&mut self, after: Duration, event: MediaEvent) {
        self.at(after, Event::ToGateway(Input::Media(event)));
    }

    /// The ladder so far.
    pub fn story(&self) -> String {
        self.trace.join("\n") + "\n"
    }

    /// What must hold when the world is quiet.
    pub fn assert_nothing_is_left(&self, calls: usize) {
        self.assert_gateway_is_quiet();
        let story = self.story();
        for client in &self.clients {
            let ended = client.ended.as_deref().unwrap_or_default();
            assert!(!ended.starts_with("objects"), "{ended}\n{story}");
        }
        assert_eq!(self.records.len(), calls, "one record a call\n{story}");
        for phone in [&self.phone, &self.backup] {
            assert_eq!(
                phone.open_calls(),
                0,
                "the phone was left off the hook: {phone:?}\n{story}"
            );
        }
    }

    /// What must hold when the world is quiet, whatever its peers have sent.
    pub fn assert_gateway_is_quiet(&self) {
        let census = self.gateway.census();
        let story = self.story();
        watch::assert_nothing_bad(&self.expected_logs, &story);
        assert_eq!(census.calls, Default::default(), "{story}");
        assert!(census.sip.is_quiet(), "{:?}\n{story}", census.sip);
        assert!(census.xmpp.is_quiet(), "{:?}\n{story}", census.xmpp);
        assert!(self.bridges.is_empty(), "{story}");
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

/// The phone believes to have one address; both addresses are equally long.
fn moved(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes)
        .replace(from, to)
        .into_bytes()
}
