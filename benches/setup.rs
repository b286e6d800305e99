//! From the phone's 200 to the first sound that a user can decrypt, with message initiation
//! (XEP-0353): `proceed`, `session-initiate`, `session-accept`, ICE and DTLS lie between.
//!
//! One call at a time; this program does not sleep meanwhile, so that it adds nothing of its own but
//! the phone's 20 ms between two packets.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use offhook::description::Setup;
use offhook::id::TokenMaker;
use offhook::media::dtls::Certificate;

use crate::Failure;
use crate::dtls::{Client, candidate, transport, trickled};
use crate::gateway::Gateway;
use crate::load::{contact, hang_up, initiate, user};
use crate::phone::Phone;
use crate::server::{Link, attribute};
use crate::sound::rtp;
use crate::table::{Table, short};

const CALLS: usize = 300;
const FRAME: Duration = Duration::from_millis(20);
/// A call that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// Measures it.
pub fn setup(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut world = World::new(offhook)?;
    let mut moments = Vec::new();
    for call in 0..CALLS {
        moments.push(world.call(call)?);
    }
    let ms = |part: Span, quantile: f64| {
        let mut times: Vec<Duration> = moments.iter().map(part).collect();
        times.sort();
        let at = ((CALLS as f64 * quantile) as usize).min(CALLS - 1);
        times[at].as_secs_f64() * 1e3
    };
    let whole: Span = |m| m.sound - m.answered;
    let what = "SIP 200 to the first sound that the user decrypts";
    table.at_most(&format!("{what}, p50"), ms(whole, 0.5), 150.0, "ms");
    table.at_most(&format!("{what}, p99"), ms(whole, 0.99), 400.0, "ms");
    let parts: [(&str, Span); 4] = [
        ("200 to proceed", |m| m.proceed - m.answered),
        ("proceed to session-accept", |m| m.accept - m.proceed),
        ("session-accept to ICE and DTLS", |m| m.connected - m.accept),
        ("ICE and DTLS to sound", |m| m.sound - m.connected),
    ];
    for (name, part) in parts {
        let times = format!(
            "p50 {} ms, p99 {} ms",
            short(ms(part, 0.5)),
            short(ms(part, 0.99))
        );
        table.note(&format!("… {name}"), times);
    }
    Ok(())
}

/// A part of a call's time.
type Span = fn(&Moments) -> Duration;

struct Moments {
    answered: Instant,
    proceed: Instant,
    accept: Instant,
    connected: Instant,
    sound: Instant,
}

struct World {
    gateway: Gateway,
    phone: Phone,
    sound: UdpSocket,
    certificate: Certificate,
    tokens: TokenMaker,
    buffer: Vec<u8>,
}

/// How far a call is.
#[derive(Default)]
struct Progress {
    answered: Option<Instant>,
    proceed: Option<Instant>,
    accept: Option<(Instant, String)>,
    /// The last stanza of the call was acknowledged.
    over: bool,
}

impl World {
    fn new(offhook: &Path) -> Result<Self, Failure> {
        let sound = UdpSocket::bind("127.0.0.1:0")?;
        sound.set_nonblocking(true)?;
        let phone = Phone::new(sound.local_addr()?)?;
        let gateway = Gateway::start(offhook, phone.socket.local_addr()?)?;
        Ok(Self {
            gateway,
            phone,
            sound,
            certificate: Certificate::generate()?,
            tokens: TokenMaker::new([5; 32]),
            buffer: vec![0; 4096],
        })
    }

    fn call(&mut self, call: usize) -> Result<Moments, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let (user, contact) = (user(call), contact(call));
        let number = contact.split('/').next().unwrap_or_default();
        self.link()?.send(&format!(
            "<message type='chat' id='p{call}' from='{user}' to='{number}'>\
             <propose xmlns='urn:xmpp:jingle-message:0' id='s{call}'>\
             <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose></message>"
        ));
        let start = Instant::now();
        let mut progress = Progress::default();
        let (mut client, mut connected, mut sound) = (None::<Client>, None, None);
        let (mut frame, mut next) = (0, start);
        while sound.is_none() {
            if start.elapsed() > LIMIT {
                return Err(format!("call {call} does not come up").into());
            }
            self.step(call, &mut progress, address)?;
            if let (None, Some((_, accept))) = (&client, &progress.accept) {
                let tokens = self.tokens.fork();
                let socket = socket.try_clone()?;
                let certificate = &self.certificate;
                client = Some(Client::new(certificate, tokens, call, accept, socket)?);
            }
            if let Some(client) = &mut client {
                client.turn(&mut self.buffer, false)?;
                let now = Instant::now();
                connected = connected.or(client.connected.then_some(now));
                sound = (client.heard > 0).then_some(now);
            }
            let now = Instant::now();
            if let Some(answered) = progress.answered
                && now >= next.max(answered)
                && let Some(to) = self.phone.gateway_sound.get(&call)
            {
                next = next.max(answered) + FRAME;
                self.sound.send_to(&rtp(frame, 1, &[0x55; 160]), to)?;
                frame += 1;
            }
        }
        let moments = || {
            Some(Moments {
                answered: progress.answered?,
                proceed: progress.proceed?,
                accept: progress.accept.as_ref()?.0,
                connected: connected?,
                sound: sound?,
            })
        };
        let moments = moments().ok_or("sound before the call")?;
        self.link()?.send(&hang_up(call));
        let end = Instant::now();
        while !progress.over && end.elapsed() < LIMIT {
            self.step(call, &mut progress, address)?;
        }
        Ok(moments)
    }

    fn link(&mut self) -> Result<&mut Link, Failure> {
        self.gateway.link.as_mut().ok_or_else(|| "no link".into())
    }

    /// Deals with what has come by signalling.
    fn step(
        &mut self,
        call: usize,
        progress: &mut Progress,
        address: SocketAddr,
    ) -> Result<(), Failure> {
        self.phone.answer()?;
        if progress.answered.is_none() && self.phone.gateway_sound.contains_key(&call) {
            progress.answered = Some(Instant::now());
        }
        self.link()?.flush()?;
        self.link()?.read()?;
        while let Some(stanza) = self.link()?.next() {
            let head = stanza.split('>').next().unwrap_or_default();
            let id = attribute(head, "id").unwrap_or_default();
            match attribute(head, "type").unwrap_or_default() {
                "set" | "get" if stanza.starts_with("<iq") => {
                    let from = attribute(head, "from").unwrap_or_default();
                    let to = attribute(head, "to").unwrap_or_default();
                    let result = format!("<iq type='result' id='{id}' from='{to}' to='{from}'/>");
                    self.link()?.send(&result);
                    if attribute(&stanza, "action") == Some("session-accept") {
                        progress.accept = Some((Instant::now(), stanza.clone()));
                    }
                }
                "result" if id == format!("t{call}") => progress.over = true,
                "error" => return Err(format!("refused: {stanza}").into()),
                _ if stanza.contains("<proceed") && progress.proceed.is_none() => {
                    progress.proceed = Some(Instant::now());
                    self.describe(call, address)?;
                }
                _ => {}
            }
        }
        self.link()?.flush()
    }

    /// The session-initiate, and the candidate behind it, as browsers do.
    fn describe(&mut self, call: usize, address: SocketAddr) -> Result<(), Failure> {
        let hex = self.certificate.fingerprint(Setup::Actpass).hex();
        let offer = initiate(call, &transport(call, &hex, ""));
        let info = format!(
            "<iq type='set' id='c{call}' from='{}' to='{}'><jingle xmlns='urn:xmpp:jingle:1' \
             action='transport-info' sid='s{call}'><content creator='initiator' name='0'>{}\
             </content></jingle></iq>",
            user(call),
            contact(call),
            trickled(call, &candidate(call, address))
        );
        self.link()?.send(&offer);
        self.link()?.send(&info);
        Ok(())
    }
}
