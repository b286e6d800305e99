//! `offhook echo`: a small SIP endpoint that answers every call, for tests and demonstrations.
//!
//! The user part of the called address says what it does: `tone` sends 440 Hz, `dtmf` reads pressed
//! keys back, `busy` answers 486, `reject` 603, `missing` 404, `ring` rings for ever; anything
//! else, every number among it, plays back what it hears.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::sip::{SipNet, SipStartError};
use crate::address::Address;
use crate::call::negotiate::{self, Encoding};
use crate::config::SipConfig;
use crate::description::{Description, RtpTransport, Security, Stream, Transport};
use crate::id::{LegId, TokenMaker};
use crate::leg::{End, EndReason, LegCommand, LegEvent, Offering, Transfer};
use crate::net::SipTransport;
use crate::phone::{Phone, PhoneConfig, Play};
use crate::sip::{Mode, Sip};

/// How long it rings before it answers: long enough to be seen on the ladder.
const RING_TIME: Duration = Duration::from_millis(300);
/// Calls at a time; more get 503.
const MAX_CALLS: usize = 1_000;

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// A listening address cannot be had.
    #[error("{0}")]
    Sip(#[from] SipStartError),
    /// The system refuses something basic.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Answers calls until it is told to stop.
pub async fn echo(listen: Vec<(SipTransport, SocketAddr)>) -> Result<(), EchoError> {
    let mut tokens = TokenMaker::new(super::seed()?);
    let mut config = SipConfig {
        listen,
        advertise: None,
        user_agent: "Offhook echo".to_owned(),
        nameserver: None,
        tls: crate::config::TlsConfig::default(),
    };
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let mut net = SipNet::start(&mut config, loopback)?;
    let mut sip = Sip::new(&config, &[], tokens.fork());
    sip.set_mode(Mode::Endpoint);
    let shown: Vec<String> = config
        .listen
        .iter()
        .map(|(transport, address)| format!("{}://{address}", transport.scheme()))
        .collect();
    super::print(&format!("ready sip={}", shown.join(",")));
    let bind = config
        .listen
        .first()
        .map_or(IpAddr::from([127, 0, 0, 1]), |(_, a)| a.ip());
    let mut endpoint = Endpoint {
        sip,
        bind,
        tokens,
        calls: BTreeMap::new(),
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let deadline = [endpoint.sip.poll_timeout(), endpoint.next_answer()];
        let deadline = deadline.into_iter().flatten().min();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
            input = net.next() => endpoint.sip.handle(Instant::now(), input),
            () = sleep => endpoint.sip.handle_timeout(Instant::now()),
        }
        endpoint.settle(Instant::now()).await?;
        while let Some(output) = endpoint.sip.poll_output() {
            net.perform(output);
        }
    }
}

struct Endpoint {
    sip: Sip,
    bind: IpAddr,
    tokens: TokenMaker,
    calls: BTreeMap<LegId, EchoCall>,
}

enum EchoCall {
    /// Rings until then.
    Ringing {
        until: Option<Instant>,
        offer: Offering,
        play: Play,
    },
    /// Talks; dropping the sender ends its sound.
    Talking { _sound: mpsc::Sender<()> },
}

impl Endpoint {
    fn next_answer(&self) -> Option<Instant> {
        let until = |call: &EchoCall| match call {
            EchoCall::Ringing { until, .. } => *until,
            EchoCall::Talking { .. } => None,
        };
        self.calls.values().filter_map(until).min()
    }

    async fn settle(&mut self, now: Instant) -> std::io::Result<()> {
        while let Some((leg, event)) = self.sip.poll_event() {
            match event {
                LegEvent::Offered { to, offer, .. } => self.offered(now, leg, &to, offer),
                LegEvent::Updated(offer) => self.updated(now, leg, &offer),
                LegEvent::Ended(_) => {
                    self.calls.remove(&leg);
                }
                LegEvent::Ringing
                | LegEvent::Progress(_)
                | LegEvent::Answered(_)
                | LegEvent::UpdateAnswered(_)
                | LegEvent::UpdateRefused
                | LegEvent::Transport(_)
                | LegEvent::Digit(_)
                | LegEvent::Keys(_)
                | LegEvent::Held(_)
                | LegEvent::Join { .. }
                | LegEvent::Referred(_)
                | LegEvent::ReferRefused => {}
                // Nobody is here to be transferred.
                LegEvent::Transfer { .. } => {
                    let end = End::from(EndReason::NotAcceptable);
                    self.sip
                        .command(now, leg, LegCommand::Transfer(Transfer::Failed(end)));
                }
                LegEvent::Replaces { .. } => {
                    let end = End::from(EndReason::Declined);
                    self.sip.command(now, leg, LegCommand::End(end));
                }
            }
        }
        let due: Vec<LegId> = self
            .calls
            .iter()
            .filter(|(_, call)| match call {
                EchoCall::Ringing {
                    until: Some(until), ..
                } => *until <= now,
                EchoCall::Ringing { until: None, .. } | EchoCall::Talking { .. } => false,
            })
            .map(|(leg, _)| *leg)
            .collect();
        for leg in due {
            self.answer(now, leg).await?;
        }
        Ok(())
    }

    fn offered(&mut self, now: Instant, leg: LegId, to: &Address, offer: Offering) {
        let user = match to {
            Address::Sip(sip) => sip.user.as_str(),
            Address::Number(_) | Address::Xmpp(_) | Address::Anonymous => "",
        };
        let refusal = match user {
            "busy" => Some(EndReason::Busy),
            "reject" => Some(EndReason::Declined),
            "missing" => Some(EndReason::NotFound),
            _ if self.calls.len() >= MAX_CALLS => Some(EndReason::Overloaded),
            _ => None,
        };
        if let Some(reason) = refusal {
            return self.sip.command(now, leg, LegCommand::End(reason.into()));
        }
        let play = match user {
            "tone" => Play::Tone(440.0),
            "dtmf" => Play::ReadBackDigits,
            _ => Play::Echo,
        };
        let until = (user != "ring").then(|| now + RING_TIME);
        self.sip.command(now, leg, LegCommand::Ring);
        self.calls
            .insert(leg, EchoCall::Ringing { until, offer, play });
    }

    async fn answer(&mut self, now: Instant, leg: LegId) -> std::io::Result<()> {
        let Some(EchoCall::Ringing {
            offer: Offering::Described(offer),
            play,
            ..
        }) = self.calls.remove(&leg)
        else {
            let end = End::because(EndReason::NotAcceptable, "an offer is needed");
            self.sip.command(now, leg, LegCommand::End(end));
            return Ok(());
        };
        let socket = UdpSocket::bind((self.bind, 0)).await?;
        let transport = Transport::Rtp(RtpTransport {
            address: Some(socket.local_addr()?),
            rtcp: None,
            rtcp_mux: false,
            security: Security::None,
            opportunistic: false,
        });
        let ours = [Encoding::Pcmu, Encoding::Pcma];
        let plain = |stream: &&Stream| match &stream.transport {
            Transport::Rtp(rtp) => rtp.security == Security::None || rtp.opportunistic,
            Transport::Ice(_) => false,
        };
        let answer = offer.audio().filter(plain).and_then(|audio| {
            let chosen = negotiate::encodings(audio)
                .into_iter()
                .find(|e| ours.contains(e))?;
            let direction = audio.direction.reversed();
            let (stream, format) = negotiate::answer(audio, chosen, transport, direction, false)?;
            Some((audio.clone(), stream, format))
        });
        let Some((audio, stream, format)) = answer else {
            let end = End::because(
                EndReason::NotAcceptable,
                "neither PCMU nor PCMA was offered",
            );
            self.sip.command(now, leg, LegCommand::End(end));
            return Ok(());
        };
        let remote = match &audio.transport {
            Transport::Rtp(rtp) => rtp.address,
            Transport::Ice(_) => None,
        };
        let config = PhoneConfig {
            play,
            format,
            digits: Vec::new(),
            digits_after: Duration::ZERO,
            record: false,
        };
        let phone = match Phone::new(now, config, &mut self.tokens) {
            Ok(phone) => phone,
            Err(error) => {
                let end = End::because(EndReason::Failed, error.to_string());
                self.sip.command(now, leg, LegCommand::End(end));
                return Ok(());
            }
        };
        let (sound, ended) = mpsc::channel(1);
        tokio::spawn(talk(socket, phone, remote, ended));
        self.calls.insert(leg, EchoCall::Talking { _sound: sound });
        let answer = Description {
            streams: vec![stream],
            bundle: false,
        };
        self.sip.command(now, leg, LegCommand::Answer(answer));
        Ok(())
    }

    /// Hold and other new offers are answered as the first one was, with the sound left alone.
    fn updated(&mut self, now: Instant, leg: LegId, _offer: &Description) {
        self.sip.command(now, leg, LegCommand::Refuse);
    }
}

/// The sound of one call.
async fn talk(
    socket: UdpSocket,
    mut phone: Phone,
    mut remote: Option<SocketAddr>,
    mut ended: mpsc::Receiver<()>,
) {
    let mut buffer = [0; 2048];
    loop {
        let deadline = phone.poll_timeout();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = ended.recv() => return,
            read = socket.recv_from(&mut buffer) => {
                if let Ok((length, from)) = read {
                    // Symmetric RTP (RFC 4961): answer where it comes from.
                    remote = Some(from);
                    phone.handle(Instant::now(), &buffer[..length]);
                }
            }
            () = sleep => {}
        }
        while let Some(packet) = phone.poll_transmit(Instant::now()) {
            if let Some(remote) = remote {
                let _ = socket.send_to(&packet, remote).await;
            }
        }
    }
}
