//! `offhook dial` and `offhook listen`: an XMPP client with a telephone in it.
//!
//! It uses the gateway's own rooms: the XMPP room with a user's address, the media floor for ICE
//! and DTLS-SRTP, and, where the gateway has a SIP leg, a telephone engine at a loopback port.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jid::{BareJid, Jid};
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::cli::{self, Play};
use super::client::{self, ClientLink, LoginError};
use super::media::{MediaStartError, Workers};
use super::outcome::{Outcome, result_word};
use crate::address::Address;
use crate::border::{
    BridgeStats, DtlsSpec, Format, IceRemote, IceSide, MediaCommand, MediaEvent, RtpKeys, RtpSide,
    Side, SideSpec, SideTransport,
};
use crate::call::MediaFacts;
use crate::call::endpoints::{Endpoints, LocalEnd};
use crate::call::negotiate::{self, Encoding};
use crate::config::{MediaConfig, Transcode};
use crate::description::{Description, Direction, Media, Setup, Stream, Transport};
use crate::id::{BridgeId, LegId, Role, Room, TokenMaker, WorkerId};
use crate::leg::{End, EndReason, LegCommand, LegEvent, Offering};
use crate::phone::{self, Phone, PhoneConfig, PhoneReport};
use crate::xmpp::jingle::Protection;
use crate::xmpp::{Identity, Notice, Xmpp, XmppRoomConfig};

/// How long a contact may take to show itself. Telepathy waits as long.
const DECLOAK_LIMIT: Duration = Duration::from_secs(5);
/// How long a call may take to be answered.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);
/// How long `listen` waits for a call.
const LISTEN_LIMIT: Duration = Duration::from_secs(600);
/// How long goodbyes may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);
/// How long `listen` lets it ring before it answers.
const RING_TIME: Duration = Duration::from_millis(200);
/// How long after the first sound keys are pressed.
const DIGITS_AFTER: Duration = Duration::from_millis(500);
/// The length of a call without `--seconds`: until the other side ends it.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Ports tried for the media sockets before giving up.
const PORT_TRIES: u32 = 20;

/// Why no call came about.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{option}: {path}: {source}")]
    File {
        option: &'static str,
        path: String,
        source: std::io::Error,
    },
    #[error("--play: {path}: {reason}")]
    Sound { path: String, reason: String },
    #[error("{0}")]
    Login(#[from] LoginError),
    #[error("{0}")]
    Media(#[from] MediaStartError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Calls `to` and reports; the exit status.
pub async fn dial(client: cli::Client, to: Jid) -> u8 {
    let json = client.json;
    let called = call(client, Some(to.to_bare())).await;
    finish(called, json)
}

/// Waits for a call, answers it and reports; the exit status.
pub async fn listen(client: cli::Client) -> u8 {
    let json = client.json;
    let called = call(client, None).await;
    finish(called, json)
}

fn finish(called: Result<Outcome, DialError>, json: bool) -> u8 {
    let outcome = called.unwrap_or_else(|error| Outcome {
        result: "error",
        text: Some(error.to_string()),
        ..Outcome::default()
    });
    if outcome.result != "answered" {
        let words = [outcome.reason.as_deref(), outcome.text.as_deref()];
        let why: Vec<&str> = words.into_iter().flatten().collect();
        tracing::error!("{}: {}", outcome.result, why.join(", "));
    }
    if json {
        super::print(&serde_json::to_string(&outcome).unwrap_or_default());
    } else if outcome.result == "answered" {
        super::print(&outcome.for_people());
    }
    if outcome.result == "answered" && !outcome.lost_recording {
        cli::DONE
    } else {
        cli::FAILED
    }
}

async fn call(client: cli::Client, to: Option<BareJid>) -> Result<Outcome, DialError> {
    let file = |option, path: &Path, source| DialError::File {
        option,
        path: path.display().to_string(),
        source,
    };
    let password = std::fs::read_to_string(&client.password_file)
        .map_err(|source| file("--password-file", &client.password_file, source))?;
    let play = match &client.play {
        Play::Tone => phone::Play::Tone(440.0),
        Play::Silence => phone::Play::Silence,
        Play::File(path) => {
            let bytes = std::fs::read(path).map_err(|source| file("--play", path, source))?;
            let samples = phone::wav::read(&bytes).map_err(|error| DialError::Sound {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
            phone::Play::Samples(samples)
        }
    };
    // A call whose sound cannot be kept need not be made.
    let recording = client.record.as_ref().map(|path| {
        let opened = Recording::open(path);
        opened.map_err(|source| file("--record", path, source))
    });
    let recording = recording.transpose()?;
    let server = client.server.as_ref();
    let server = server.map(|(host, port)| (host.as_str(), *port));
    let account = client.account.to_bare();
    let link = ClientLink::login(&account, password.trim_end(), server).await?;
    let mut handset = Handset::new(link, client, play).await?;
    handset.run(to).await;
    let (mut outcome, sound) = handset.goodbye().await;
    if let Some(recording) = recording
        && let Err(error) = recording.keep(sound.as_deref())
    {
        tracing::error!(%error, "the recording was not kept");
        outcome.lost_recording = true;
    }
    Ok(outcome)
}

/// The file of `--record`.
struct Recording {
    path: PathBuf,
    file: File,
    /// It was not there before.
    is_new: bool,
}

impl Recording {
    /// Opens it. What is in it stays until there is something new.
    fn open(path: &Path) -> std::io::Result<Self> {
        let made = File::create_new(path);
        let is_new = made.is_ok();
        let file = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                File::options().write(true).open(path)
            }
            made => made,
        }?;
        let path = path.to_owned();
        Ok(Self { path, file, is_new })
    }

    fn keep(mut self, sound: Option<&[u8]>) -> std::io::Result<()> {
        match sound {
            Some(sound) => {
                // A device has no length.
                if self.file.metadata()?.is_file() {
                    self.file.set_len(0)?;
                }
                self.file.write_all(sound)
            }
            None if self.is_new => std::fs::remove_file(&self.path),
            None => Ok(()),
        }
    }
}

/// How far the call is.
#[derive(Debug, PartialEq)]
enum Stage {
    /// The contact was asked to show itself.
    Decloaking(BareJid),
    /// `listen` waits for a call.
    Listening,
    /// `listen` lets it ring until then; with the offer, if there is one.
    Ringing(Instant, Option<Description>),
    /// Somebody is being called, or was told that we answer.
    Calling,
    /// Both talk.
    Up,
    /// It is over.
    Over(End, &'static str),
}

struct Handset {
    link: ClientLink,
    xmpp: Xmpp,
    workers: Workers,
    media_events: mpsc::Receiver<(WorkerId, MediaEvent)>,
    endpoints: Endpoints,
    local: LocalEnd,
    client: cli::Client,
    play: Option<phone::Play>,
    phone: Option<Phone>,
    format: Option<Format>,
    socket: UdpSocket,
    bridge_port: u16,
    leg: LegId,
    ours: Option<Stream>,
    stage: Stage,
    tokens: TokenMaker,
    started: Instant,
    deadline: Instant,
    outcome: Outcome,
    closed: Option<BridgeStats>,
}

const BRIDGE: BridgeId = BridgeId(1);
const WORKER: WorkerId = WorkerId(0);

impl Handset {
    async fn new(
        link: ClientLink,
        options: cli::Client,
        play: phone::Play,
    ) -> Result<Self, DialError> {
        let mut tokens = TokenMaker::new(super::seed()?);
        let at_home = match &options.server {
            Some((host, port)) => client::addresses((host.as_str(), *port))
                .await
                .is_ok_and(|addresses| client::is_loopback(&addresses)),
            None => false,
        };
        let bind = IpAddr::V4(if at_home {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        });
        let (workers, media_events) = start_workers(bind, &mut tokens)?;
        let facts = workers.facts();
        let bridge_port = free_port_pair(&mut tokens)?;
        let endpoints = Endpoints::new(MediaFacts {
            fingerprint: facts.fingerprint.clone(),
            rtp_bind: Ipv4Addr::LOCALHOST.into(),
            rtp_address: Ipv4Addr::LOCALHOST.into(),
            rtp_ports: bridge_port..=bridge_port + 1,
            workers: super::run::worker_facts(&workers),
        });
        let room = XmppRoomConfig {
            name: "Offhook dial".to_owned(),
            home: None,
            numbers: Default::default(),
            video: Vec::new(),
            takes_texts: false,
            protection: Protection::Required,
        };
        let identity = Identity::Client {
            jid: link.jid.clone(),
        };
        let xmpp = Xmpp::new(identity, room, tokens.fork());
        let now = Instant::now();
        Ok(Self {
            local: Endpoints::ice_end(&mut tokens, None),
            xmpp,
            workers,
            media_events,
            endpoints,
            client: options,
            play: Some(play),
            phone: None,
            format: None,
            socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            bridge_port,
            leg: LegId {
                room: Room::Xmpp,
                role: Role::Callee,
                number: 1,
            },
            ours: None,
            stage: Stage::Listening,
            tokens,
            started: now,
            deadline: now + LISTEN_LIMIT,
            outcome: Outcome::default(),
            closed: None,
            link,
        })
    }

    async fn run(&mut self, to: Option<BareJid>) {
        let now = Instant::now();
        self.started = now;
        self.xmpp.link_up(now);
        if let Some(contact) = to {
            self.xmpp.decloak(now, &contact);
            self.stage = Stage::Decloaking(contact);
            self.deadline = now + DECLOAK_LIMIT;
        }
        self.drive(now).await;
        let mut terminate = signal(SignalKind::terminate()).ok();
        let mut buffer = [0; 2048];
        while !matches!(self.stage, Stage::Over(..)) {
            let ringing = match &self.stage {
                Stage::Ringing(at, _) => Some(*at),
                _ => None,
            };
            let phone = self.phone.as_ref().and_then(Phone::poll_timeout);
            let deadlines = [
                self.xmpp.poll_timeout(),
                phone,
                ringing,
                Some(self.deadline),
            ];
            let next = deadlines
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(self.deadline);
            tokio::select! {
                stanza = self.link.stanzas.recv() => match stanza {
                    Some(stanza) => self.xmpp.handle(Instant::now(), stanza),
                    None => self.over(EndReason::PeerGone.into(), "remote"),
                },
                Some((_, event)) = self.media_events.recv() => self.media_event(event),
                read = self.socket.recv_from(&mut buffer) => {
                    if let (Ok((length, _)), Some(phone)) = (read, self.phone.as_mut()) {
                        phone.handle(Instant::now(), &buffer[..length]);
                    }
                }
                () = tokio::time::sleep_until(next.into()) => self.timeout(Instant::now()),
                () = heard(&mut terminate) => self.hang_up(EndReason::Hangup.into()),
                _ = tokio::signal::ctrl_c() => self.hang_up(EndReason::Hangup.into()),
            }
            self.drive(Instant::now()).await;
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.xmpp.handle_timeout(now);
        if let Stage::Ringing(at, _) = &self.stage
            && now >= *at
            && let Stage::Ringing(_, offer) = std::mem::replace(&mut self.stage, Stage::Calling)
        {
            match offer {
                Some(offer) => self.answer(&offer),
                None => self.xmpp.command(now, self.leg, LegCommand::Accept),
            }
        }
        if now < self.deadline {
            return;
        }
        match &self.stage {
            // No contact: it is called all the same, as clients do that know no decloaking.
            Stage::Decloaking(contact) => {
                let contact = contact.clone();
                self.offer(now, contact);
            }
            Stage::Up => self.hang_up(EndReason::Hangup.into()),
            Stage::Listening => {
                self.over(End::because(EndReason::NoAnswer, "nobody called"), "local");
            }
            Stage::Ringing(..) | Stage::Calling => self.hang_up(EndReason::NoAnswer.into()),
            Stage::Over(..) => {}
        }
    }

    /// Hands on what the rooms produced.
    async fn drive(&mut self, now: Instant) {
        while let Some(notice) = self.xmpp.poll_notice() {
            self.notice(now, notice);
        }
        while let Some((leg, event)) = self.xmpp.poll_event() {
            self.leg_event(now, leg, event);
        }
        while let Some(stanza) = self.xmpp.poll_stanza() {
            self.link.send(stanza);
        }
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.bridge_port));
        if let Some(phone) = self.phone.as_mut() {
            while let Some(packet) = phone.poll_transmit(now) {
                // A packet that cannot be sent is a lost packet.
                let _ = self.socket.send_to(&packet, to).await;
            }
        }
    }

    fn notice(&mut self, now: Instant, notice: Notice) {
        let Stage::Decloaking(contact) = &self.stage else {
            return;
        };
        match notice {
            Notice::Seen { contact: seen, .. } if seen.to_bare() == *contact => {
                self.outcome.decloak_ms = Some(self.since_start(now));
                let contact = contact.clone();
                self.offer(now, contact);
            }
            Notice::Refused {
                contact: refused,
                error,
            } if refused.to_bare() == *contact => {
                let text = error
                    .text
                    .unwrap_or_else(|| "the contact is unknown".to_owned());
                self.over(End::because(EndReason::NotFound, text), "remote");
            }
            Notice::Seen { .. }
            | Notice::Learnt { .. }
            | Notice::Gone { .. }
            | Notice::Refused { .. } => {}
        }
    }

    fn offer(&mut self, now: Instant, contact: BareJid) {
        let stream = Stream {
            name: "0".to_owned(),
            media: Media::Audio,
            codecs: negotiate::offered_codecs(Room::Xmpp, &[Encoding::Pcmu, Encoding::Pcma], false),
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: self
                .endpoints
                .transport(WORKER, &self.local, Setup::Actpass, true, true),
            rejected: false,
        };
        self.ours = Some(stream.clone());
        self.configure_ice(true, None, None);
        let command = LegCommand::Offer {
            from: Address::Xmpp(self.link.jid.to_bare()),
            to: Address::Xmpp(contact),
            display_name: None,
            offer: Description {
                streams: vec![stream],
                bundle: true,
            },
            trunk: None,
            replaces: None,
        };
        self.stage = Stage::Calling;
        self.deadline = now + ANSWER_LIMIT;
        self.xmpp.command(now, self.leg, command);
    }

    fn leg_event(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        match event {
            LegEvent::Offered { offer, .. } if self.stage == Stage::Listening => {
                self.leg = leg;
                self.started = now;
                self.deadline = now + ANSWER_LIMIT;
                self.xmpp.command(now, leg, LegCommand::Ring);
                let offer = match offer {
                    Offering::Described(offer) => Some(offer),
                    Offering::Later(_) | Offering::Delayed => None,
                };
                self.stage = Stage::Ringing(now + RING_TIME, offer);
            }
            LegEvent::Offered { .. } => {
                self.xmpp
                    .command(now, leg, LegCommand::End(EndReason::Busy.into()));
            }
            _ if leg != self.leg => {}
            LegEvent::Ringing | LegEvent::Progress(_) => {
                let at = self.since_start(now);
                self.outcome.ringing_ms.get_or_insert(at);
            }
            LegEvent::Answered(answer) => self.answered(now, &answer),
            LegEvent::Updated(offer) => self.answer(&offer),
            LegEvent::Transport(info) => {
                let command = MediaCommand::Candidates {
                    bridge: BRIDGE,
                    side: Side::Callee,
                    candidates: info.candidates,
                };
                self.workers.command(WORKER, command);
            }
            LegEvent::Ended(end) => self.over(end, "remote"),
            LegEvent::UpdateAnswered(_)
            | LegEvent::UpdateRefused
            | LegEvent::Digit(_)
            | LegEvent::Keys(_)
            | LegEvent::Held(_)
            | LegEvent::Transfer { .. }
            | LegEvent::Join { .. }
            | LegEvent::Referred(_)
            | LegEvent::ReferRefused
            | LegEvent::Replaces { .. } => {}
        }
    }

    /// Our offer was answered.
    fn answered(&mut self, now: Instant, answer: &Description) {
        let chosen = match (&self.ours, answer.audio()) {
            (Some(ours), Some(theirs)) => negotiate::chosen(Room::Xmpp, ours, theirs)
                .map(|(_, format)| (theirs.clone(), format)),
            _ => None,
        };
        match chosen {
            Some((theirs, format)) => self.up(now, true, &theirs, format),
            None => self.hang_up(End::because(EndReason::NotAcceptable, "no codec in common")),
        }
    }

    /// Answers an offer of the other side.
    fn answer(&mut self, offer: &Description) {
        let now = Instant::now();
        let Some(audio) = offer.audio() else {
            return self.hang_up(End::because(EndReason::NotAcceptable, "no audio offered"));
        };
        let Transport::Ice(ice) = &audio.transport else {
            return self.hang_up(End::because(EndReason::NotAcceptable, "no ICE offered"));
        };
        let offered = ice.fingerprint.as_ref().map(|f| f.setup);
        let setup = offered.unwrap_or(Setup::Actpass).answered();
        let mux = ice.rtcp_mux;
        let transport = self
            .endpoints
            .transport(WORKER, &self.local, setup, mux, !mux);
        let ours = [Encoding::Pcmu, Encoding::Pcma];
        let chosen = negotiate::encodings(audio)
            .into_iter()
            .find(|e| ours.contains(e));
        let answer = chosen.and_then(|encoding| {
            negotiate::answer(audio, encoding, transport, Direction::Both, false)
        });
        match answer {
            Some((stream, format)) => {
                self.up(now, false, audio, format);
                let description = Description {
                    streams: vec![stream],
                    bundle: offer.bundle,
                };
                self.xmpp
                    .command(now, self.leg, LegCommand::Answer(description));
            }
            None => self.hang_up(End::because(EndReason::NotAcceptable, "no codec in common")),
        }
    }

    /// Both sides know each other: connects the telephone.
    fn up(&mut self, now: Instant, offered: bool, theirs: &Stream, format: Format) {
        self.outcome.answer_ms = Some(self.since_start(now));
        self.outcome.codec = Some(format.encoding.clone());
        self.outcome.srtp = Some("DTLS-SRTP");
        self.stage = Stage::Up;
        // Until media flows; the length of the call counts from there.
        self.deadline = now + ANSWER_LIMIT;
        self.configure_ice(offered, Some(theirs), Some(format.clone()));
        let inside = Format {
            receive_payload_type: format.send_payload_type,
            receive_also: Vec::new(),
            send_payload_type: format.send_payload_type,
            send_digits: format.send_digits,
            receive_digits: format.send_digits.into_iter().collect(),
            ..format
        };
        let Ok(phone_address) = self.socket.local_addr() else {
            return;
        };
        let spec = SideSpec {
            transport: SideTransport::Rtp(RtpSide {
                bind: Ipv4Addr::LOCALHOST.into(),
                port: self.bridge_port,
                remote: Some(phone_address),
                remote_rtcp: None,
                rtcp_mux: false,
                symmetric: false,
                keys: RtpKeys::None,
            }),
            format: Some(inside.clone()),
            send: true,
            receive: true,
            silence_limit: None,
        };
        let command = MediaCommand::Configure {
            bridge: BRIDGE,
            side: Side::Caller,
            spec: Box::new(spec),
        };
        self.workers.command(WORKER, command);
        self.format = Some(inside);
    }

    /// Media is connected: the telephone begins to speak.
    fn start_phone(&mut self, now: Instant) {
        let (Some(play), Some(format)) = (self.play.take(), self.format.take()) else {
            return;
        };
        let config = PhoneConfig {
            play,
            format,
            digits: self.client.digits.clone(),
            digits_after: DIGITS_AFTER,
            record: self.client.record.is_some(),
        };
        match Phone::new(now, config, &mut self.tokens) {
            Ok(phone) => self.phone = Some(phone),
            Err(error) => self.hang_up(End::because(EndReason::Failed, error.to_string())),
        }
        let length = self
            .client
            .seconds
            .map_or(NO_LIMIT, |s| Duration::from_secs(s.into()));
        self.deadline = now + length;
    }

    fn configure_ice(&self, offered: bool, theirs: Option<&Stream>, format: Option<Format>) {
        let LocalEnd::Ice { ufrag, pwd, .. } = &self.local else {
            return;
        };
        let ice = theirs.and_then(|stream| match &stream.transport {
            Transport::Ice(ice) => Some(ice),
            Transport::Rtp(_) => None,
        });
        let spec = SideSpec {
            transport: SideTransport::Ice(IceSide {
                local_ufrag: ufrag.clone(),
                local_pwd: pwd.clone(),
                own_port: None,
                controlling: offered,
                rtcp_mux: ice.is_some_and(|ice| ice.rtcp_mux),
                remote: ice.map(|ice| IceRemote {
                    ufrag: ice.ufrag.clone(),
                    pwd: ice.pwd.clone(),
                    candidates: ice.candidates.clone(),
                }),
                dtls: ice
                    .and_then(|ice| ice.fingerprint.clone())
                    .map(|remote| DtlsSpec {
                        client: remote.setup.answered() == Setup::Active,
                        remote,
                    }),
            }),
            format,
            send: true,
            receive: true,
            silence_limit: None,
        };
        let command = MediaCommand::Configure {
            bridge: BRIDGE,
            side: Side::Callee,
            spec: Box::new(spec),
        };
        self.workers.command(WORKER, command);
    }

    fn media_event(&mut self, event: MediaEvent) {
        let now = Instant::now();
        match event {
            MediaEvent::Connected {
                side: Side::Callee, ..
            } => {
                self.start_phone(now);
            }
            MediaEvent::Failed { reason, text, .. } => self.hang_up(End::because(reason, text)),
            MediaEvent::PortTaken { text, .. } => {
                self.hang_up(End::because(EndReason::Failed, text));
            }
            MediaEvent::Closed { stats, .. } => self.closed = Some(*stats),
            MediaEvent::Connected { .. } | MediaEvent::Silent { .. } | MediaEvent::Digit { .. } => {
            }
        }
    }

    fn hang_up(&mut self, end: End) {
        let now = Instant::now();
        self.xmpp
            .command(now, self.leg, LegCommand::End(end.clone()));
        self.over(end, "local");
    }

    fn over(&mut self, end: End, by: &'static str) {
        if !matches!(self.stage, Stage::Over(..)) {
            self.stage = Stage::Over(end, by);
        }
    }

    /// Ends everything in good order and fills in what was measured; with what was heard, as WAV.
    async fn goodbye(mut self) -> (Outcome, Option<Vec<u8>>) {
        self.drive(Instant::now()).await;
        self.workers
            .command(WORKER, MediaCommand::Close { bridge: BRIDGE });
        let until = Instant::now() + GOODBYE_LIMIT;
        while self.closed.is_none() && self.ours_or_answered() && Instant::now() < until {
            let event = tokio::time::timeout_at(until.into(), self.media_events.recv()).await;
            match event {
                Ok(Some((_, event))) => self.media_event(event),
                Ok(None) | Err(_) => break,
            }
        }
        // What the other side still wants acknowledged.
        let settle = Instant::now() + Duration::from_millis(200);
        while let Ok(Some(stanza)) =
            tokio::time::timeout_at(settle.into(), self.link.stanzas.recv()).await
        {
            self.xmpp.handle(Instant::now(), stanza);
            self.drive(Instant::now()).await;
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        if let Stage::Over(end, by) = &self.stage {
            let answered = outcome.answer_ms.is_some();
            outcome.result = result_word(answered, end.reason);
            outcome.reason = Some(end.reason.as_str().to_owned());
            outcome.text = end.text.clone();
            outcome.ended_by = Some(*by);
        }
        let phone = self.phone.as_ref();
        if let Some(phone) = phone {
            self.measured(&mut outcome, &phone.report());
        }
        let sound = phone.map(|phone| phone::wav::write(phone.recording()));
        self.workers.shutdown();
        self.link.close().await;
        (outcome, sound)
    }

    fn ours_or_answered(&self) -> bool {
        self.ours.is_some() || self.outcome.answer_ms.is_some()
    }

    fn measured(&self, outcome: &mut Outcome, report: &PhoneReport) {
        outcome.sent = Some(report.sent);
        outcome.received = Some(report.received);
        outcome.lost = Some(report.lost);
        outcome.jitter_ms = Some(tenths(report.jitter_ms));
        // Tenths are more than the measurement is worth.
        outcome.tone_hz = report.tone_hz.map(tenths);

        outcome.media_ms = report.first_packet_at.map(|at| self.since_start(at));
        outcome.digits = (!report.digits.is_empty()).then(|| report.digits.clone());
    }

    fn since_start(&self, now: Instant) -> f64 {
        tenths(now.saturating_duration_since(self.started).as_secs_f64() * 1000.0)
    }
}

/// Waits for the signal; for ever if the system tells of none.
async fn heard(signal: &mut Option<Signal>) {
    if let Some(signal) = signal {
        signal.recv().await;
        return;
    }
    std::future::pending().await
}

/// Rounds to one decimal place.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

type Started = (Workers, mpsc::Receiver<(WorkerId, MediaEvent)>);

/// Starts one media worker at ports that happen to be free.
fn start_workers(bind: IpAddr, tokens: &mut TokenMaker) -> Result<Started, MediaStartError> {
    let mut tries = 0;
    loop {
        let xmpp_port = 40_000 + tokens.below(10_000) as u16;
        let config = MediaConfig {
            bind,
            advertise: None,
            xmpp_port,
            rtp_ports: 1024..=1025,
            threads: 1,
            transcode: Transcode::Never,
        };
        tries += 1;
        match Workers::start(&config, tokens.fork()) {
            Err(_) if tries < PORT_TRIES => {}
            result => return result,
        }
    }
}

/// An even port whose odd neighbour is free too.
fn free_port_pair(tokens: &mut TokenMaker) -> std::io::Result<u16> {
    let mut tries = 0;
    loop {
        let port = 50_000 + 2 * tokens.below(5_000) as u16;
        let bound = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|_| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1)));
        tries += 1;
        match bound {
            Ok(_) => return Ok(port),
            Err(error) if tries >= PORT_TRIES => return Err(error),
            Err(_) => {}
        }
    }
}
