//! Calls with everything: ICE, DTLS-SRTP and sound both ways.
//!
//! Each user has a socket and a media room of its own, as each real client has; what would be its
//! microphone and its loudspeaker are the other side of that room.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use offhook::border::{
    DtlsSpec, IceRemote, IceSide, MediaCommand, MediaEvent, RtpKeys, RtpSide, Side, SideSpec,
    SideTransport,
};
use offhook::description::{Candidate, CandidateKind, Fingerprint, Setup};
use offhook::id::{BridgeId, TokenMaker, WorkerId};
use offhook::media::dtls::Certificate;
use offhook::media::{Forward, Media, MediaSettings, SocketKey, SocketRequest, TAIL_ROOM};

use crate::load::Load;
use crate::server::attribute;
use crate::sound::{pcmu, rtp};
use crate::table::{Table, short};
use crate::{Failure, machine};

const FRAME: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(1);
const CALLS: usize = 200;
/// Calls that come up together: handshakes cost both ends milliseconds.
const TOGETHER: usize = 10;
const PASSWORD: &str = "88yXZajgGS00ziBDQ0yLtr9t";

/// 200 calls that talk.
pub fn open(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut world = World::new(offhook)?;
    let pid = world.load.gateway.pid();
    // The first call's own, so that what is allocated once is not the calls'.
    world.open_calls(1)?;
    let base = machine::resident(pid)?;
    let before = machine::cpu(pid)?;
    let start = Instant::now();
    for _ in 0..CALLS / TOGETHER {
        world.open_calls(TOGETHER)?;
    }
    let set_up = machine::cpu(pid)? - before;
    let opening = start.elapsed();
    world.talk(Duration::from_secs(3))?;
    let connected = world.clients.iter().filter(|c| c.connected).count();
    table.at_least(
        "calls with DTLS-SRTP that connected",
        connected as f64,
        (CALLS + 1) as f64,
        "",
    );
    let grown = machine::resident(pid)?.saturating_sub(base) as f64;
    let per_call = grown / CALLS as f64 / 1024.0;
    table.at_most(
        "resident memory per open call with DTLS-SRTP media",
        per_call,
        100.0,
        "KiB",
    );
    let counts = world.totals();
    let before = machine::cpu(pid)?;
    let span = Duration::from_secs(8);
    world.talk(span)?;
    let used = machine::cpu(pid)? - before;
    let percent = used.as_secs_f64() / span.as_secs_f64() * 100.0;
    let per_call = percent / world.clients.len() as f64;
    table.at_most(
        "CPU of a call with DTLS-SRTP media, 50 packets/s both ways, of one core",
        per_call,
        0.2,
        "%",
    );
    let (sent, received) = world.totals();
    let (sent, received) = (sent - counts.0, received - counts.1);
    table.note(
        "… packets sent, received, both ways together",
        format!("{sent}, {received}"),
    );
    // What the sound cost meanwhile is not the handshakes'; it grows evenly to what it is now.
    let sound = Duration::from_secs_f64(percent / 100.0 * opening.as_secs_f64() / 2.0);
    let per_call = set_up.saturating_sub(sound).as_secs_f64() * 1e3 / CALLS as f64;
    table.note(
        "set-up of such a call: signalling, ICE, DTLS handshake",
        format!("{} ms of CPU", short(per_call)),
    );
    world.load.hang_up_all(200)
}

/// Users and a phone that talk.
pub struct World {
    /// Signalling of both.
    pub load: Load,
    /// The users.
    pub clients: Vec<Client>,
    /// Nobody says anything.
    pub is_quiet: bool,
    certificate: Certificate,
    tokens: TokenMaker,
    /// The phone's ears and mouth.
    sound: UdpSocket,
    heard: u64,
    said: u64,
    tick: u64,
    next: Instant,
    buffer: Vec<u8>,
}

/// One user's end of media.
pub struct Client {
    call: usize,
    socket: UdpSocket,
    media: Media,
    microphone: SocketKey,
    /// ICE and DTLS are done.
    pub connected: bool,
    /// Packets of sound that came and could be decrypted.
    pub heard: u64,
    said: u64,
    frame: u16,
}

/// Packets of sound, by who said them.
#[derive(Clone, Copy)]
pub struct Counts {
    /// By the users.
    pub up: u64,
    /// Of these, what the phone heard.
    pub up_heard: u64,
    /// By the phone.
    pub down: u64,
    /// Of these, what the users heard.
    pub down_heard: u64,
}

impl World {
    fn new(offhook: &Path) -> Result<Self, Failure> {
        Self::with(|sound| Load::new(offhook, sound))
    }

    /// The same with a gateway of the caller's choice; it is told where the phone receives sound.
    pub fn with(load: impl FnOnce(SocketAddr) -> Result<Load, Failure>) -> Result<Self, Failure> {
        let sound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        sound.set_recv_buffer_size(4 << 20)?;
        sound.set_nonblocking(true)?;
        sound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let sound: UdpSocket = sound.into();
        let mut load = load(sound.local_addr()?)?;
        load.accepts = Some(Vec::new());
        Ok(Self {
            load,
            clients: Vec::new(),
            is_quiet: false,
            certificate: Certificate::generate()?,
            tokens: TokenMaker::new([7; 32]),
            sound,
            heard: 0,
            said: 0,
            tick: 0,
            next: Instant::now(),
            buffer: vec![0; 4096],
        })
    }

    /// Opens so many calls at once, and lets them connect.
    pub fn open_calls(&mut self, count: usize) -> Result<(), Failure> {
        let first = self.load.next_call();
        let sockets: Vec<UdpSocket> = (0..count)
            .map(|_| UdpSocket::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()?;
        let addresses: Vec<SocketAddr> = sockets
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<Result<_, _>>()?;
        let hex = self.certificate.fingerprint(Setup::Actpass).hex();
        let transport = |call: usize| {
            let candidate = candidate(call, addresses[call - first]);
            transport(call, &hex, &candidate)
        };
        let outcome = self.load.run(1_000, count, None, &transport)?;
        if outcome.failed > 0 {
            return Err(format!("{} calls were not answered", outcome.failed).into());
        }
        let accepts = self.load.accepts.replace(Vec::new()).unwrap_or_default();
        for (call, accept) in accepts {
            let socket = sockets[call - first].try_clone()?;
            let tokens = self.tokens.fork();
            let client = Client::new(&self.certificate, tokens, call, &accept, socket)?;
            self.clients.push(client);
        }
        self.talk(Duration::from_millis(300))
    }

    /// Lets time go by.
    pub fn talk(&mut self, time: Duration) -> Result<(), Failure> {
        let now = Instant::now();
        let until = now + time;
        self.next = self.next.max(now);
        let ticks = FRAME.as_millis() as u64;
        while self.next < until {
            self.load.step(self.next, None)?;
            if Instant::now() < self.next {
                continue;
            }
            let phase = self.tick % ticks;
            for client in self
                .clients
                .iter_mut()
                .filter(|c| c.call as u64 % ticks == phase)
            {
                client.turn(&mut self.buffer, !self.is_quiet)?;
                if client.connected
                    && !self.is_quiet
                    && let Some(to) = self.load.phone.gateway_sound.get(&client.call)
                {
                    let packet = rtp(client.frame, client.call as u32, &[0x55; 160]);
                    self.sound.send_to(&packet, to)?;
                    self.said += 1;
                }
            }
            loop {
                match self.sound.recv_from(&mut self.buffer) {
                    Ok((length, _)) => self.heard += u64::from(is_sound(&self.buffer[..length])),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            self.tick += 1;
            self.next += TICK;
        }
        Ok(())
    }

    /// What was said and heard so far.
    pub fn counts(&self) -> Counts {
        Counts {
            up: self.clients.iter().map(|c| c.said).sum(),
            up_heard: self.heard,
            down: self.said,
            down_heard: self.clients.iter().map(|c| c.heard).sum(),
        }
    }

    fn totals(&self) -> (u64, u64) {
        let counts = self.counts();
        (counts.up + counts.down, counts.up_heard + counts.down_heard)
    }
}

impl Client {
    /// Joins the call that a session-accept has answered.
    pub fn new(
        certificate: &Certificate,
        tokens: TokenMaker,
        call: usize,
        accept: &str,
        socket: UdpSocket,
    ) -> Result<Self, Failure> {
        socket.set_nonblocking(true)?;
        let settings = MediaSettings {
            worker: WorkerId(0),
            shared: vec![socket.local_addr()?],
            shared_rtcp: Vec::new(),
            certificate: certificate.clone(),
        };
        let mut media = Media::new(settings, tokens);
        let now = Instant::now();
        let room = SideTransport::Rtp(RtpSide {
            bind: [127, 0, 0, 1].into(),
            port: 2,
            remote: Some(room_address()),
            remote_rtcp: None,
            rtcp_mux: true,
            symmetric: false,
            keys: RtpKeys::None,
        });
        let gateway = SideTransport::Ice(ice_side(call, accept).ok_or("an odd session-accept")?);
        for (side, transport) in [(Side::Caller, room), (Side::Callee, gateway)] {
            let spec = SideSpec {
                transport,
                format: Some(pcmu()),
                send: true,
                receive: true,
                silence_limit: None,
            };
            let command = MediaCommand::Configure {
                bridge: BridgeId(1),
                side,
                spec: Box::new(spec),
            };
            media.command(now, command);
        }
        let mut microphone = None;
        while let Some(request) = media.poll_socket() {
            if let SocketRequest::Bind { key, address } = request
                && address.port() == 2
            {
                microphone = Some(key);
            }
        }
        Ok(Self {
            call,
            socket,
            media,
            microphone: microphone.ok_or("no socket for sound")?,
            connected: false,
            heard: 0,
            said: 0,
            frame: 0,
        })
    }

    /// Takes what has come, does what is due, and says something if it `speaks`.
    pub fn turn(&mut self, buffer: &mut [u8], speaks: bool) -> Result<(), Failure> {
        let now = Instant::now();
        loop {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    let end = length + TAIL_ROOM;
                    let buffer = &mut buffer[..end];
                    let forward = self.media.handle(now, SocketKey(0), from, buffer, length);
                    self.heard += u64::from(matches!(forward, Forward::Send { .. }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        self.media.handle_timeout(now);
        while let Some(event) = self.media.poll_event() {
            match event {
                MediaEvent::Connected {
                    side: Side::Callee, ..
                } => self.connected = true,
                MediaEvent::Failed { text, .. } => return Err(text.into()),
                _ => {}
            }
        }
        if self.connected && speaks {
            self.frame = self.frame.wrapping_add(1);
            let packet = rtp(self.frame, 7, &[0x55; 160]);
            buffer[..packet.len()].copy_from_slice(&packet);
            let (from, length) = (room_address(), packet.len());
            let forward = self
                .media
                .handle(now, self.microphone, from, buffer, length);
            if let Forward::Send { to, len, .. } = forward {
                self.socket.send_to(&buffer[..len], to)?;
                self.said += 1;
            }
        }
        while let Some(transmit) = self.media.poll_transmit() {
            if transmit.socket == SocketKey(0) {
                self.socket.send_to(&transmit.bytes, transmit.to)?;
            }
        }
        Ok(())
    }
}

/// The transport element of a user whose certificate has this hash.
pub fn transport(call: usize, hex: &str, candidate: &str) -> String {
    format!(
        "<transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='u{call:06x}' \
         pwd='{PASSWORD}'><fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' \
         setup='actpass'>{hex}</fingerprint>{candidate}</transport>"
    )
}

/// The one candidate of a user.
pub fn candidate(call: usize, address: SocketAddr) -> String {
    format!(
        "<candidate component='1' foundation='1' generation='0' id='c{call}' ip='{}' port='{}' \
         network='0' priority='2130706431' protocol='udp' type='host'/>",
        address.ip(),
        address.port()
    )
}

/// The transport element that brings a candidate later.
pub fn trickled(call: usize, candidate: &str) -> String {
    format!(
        "<transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='u{call:06x}' \
         pwd='{PASSWORD}'>{candidate}</transport>"
    )
}

fn is_sound(packet: &[u8]) -> bool {
    packet.len() == 172
}

/// Where the user's microphone and loudspeaker are; nothing is ever sent there.
fn room_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

/// What a session-accept says of the gateway.
fn ice_side(call: usize, accept: &str) -> Option<IceSide> {
    let transport = &accept[accept.find("<transport")?..];
    let print = &transport[transport.find("<fingerprint")?..];
    let hex = print.split('>').nth(1)?.split('<').next()?;
    let gateway_is_client = attribute(print, "setup")? == "active";
    let candidates = transport
        .split("<candidate")
        .skip(1)
        .filter_map(|text| {
            let ip = attribute(text, "ip")?.parse().ok()?;
            Some(Candidate {
                foundation: attribute(text, "foundation")?.to_owned(),
                component: attribute(text, "component")?.parse().ok()?,
                address: SocketAddr::new(ip, attribute(text, "port")?.parse().ok()?),
                priority: attribute(text, "priority")?.parse().ok()?,
                kind: CandidateKind::Host,
                related: None,
                generation: 0,
            })
        })
        .filter(|candidate| candidate.component == 1)
        .collect();
    Some(IceSide {
        local_ufrag: format!("u{call:06x}"),
        local_pwd: PASSWORD.to_owned(),
        own_port: None,
        controlling: true,
        rtcp_mux: true,
        remote: Some(IceRemote {
            ufrag: attribute(transport, "ufrag")?.to_owned(),
            pwd: attribute(transport, "pwd")?.to_owned(),
            candidates,
        }),
        dtls: Some(DtlsSpec {
            client: !gateway_is_client,
            remote: Fingerprint {
                hash: "sha-256".to_owned(),
                value: Fingerprint::parse_hex(hex)?,
                setup: Setup::Active,
            },
        }),
    })
}
