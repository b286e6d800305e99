//! Users of the XMPP server who call numbers, at a steady rate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Failure;
use crate::gateway::Gateway;
use crate::phone::{PREFIX, Phone};
use crate::server::{DOMAIN, Link, attribute};

/// Users who take turns; none of them passes the limits of one user.
const USERS: usize = 9_000;

/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What came of some calls.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From session-initiate to session-accept, sorted.
    pub accepts: Vec<Duration>,
    /// Calls that were refused, broke off or were not answered.
    pub failed: usize,
    /// From the first call to the last hang-up.
    pub wall: Duration,
}

impl Outcome {
    /// A quantile of the answer times, in milliseconds.
    pub fn accept_ms(&self, quantile: f64) -> f64 {
        let at = (self.accepts.len() as f64 * quantile) as usize;
        let last = self.accepts.len().saturating_sub(1);
        let time = self.accepts.get(at.min(last)).copied();
        time.unwrap_or_default().as_secs_f64() * 1e3
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Talking,
    HangingUp,
    Over,
    Failed,
}

struct Call {
    sent: Instant,
    state: State,
    answered: Option<Duration>,
}

/// The generator.
pub struct Load {
    /// What is measured.
    pub gateway: Gateway,
    /// The telephone network.
    pub phone: Phone,
    /// session-accept stanzas by call, if they are kept.
    pub accepts: Option<Vec<(usize, String)>>,
    calls: Vec<Call>,
    /// In the order of time, since all calls of a run last equally long.
    hangups: VecDeque<(Instant, usize)>,
    open: usize,
    said: bool,
}

impl Load {
    /// Starts the gateway; the phone says it receives sound at `sound`.
    pub fn new(offhook: &Path, sound: SocketAddr) -> Result<Self, Failure> {
        let phone = Phone::new(sound)?;
        let gateway = Gateway::start(offhook, phone.socket.local_addr()?)?;
        Self::of(gateway, phone)
    }

    /// The same with a gateway that has every processor.
    pub fn everywhere(offhook: &Path, sound: SocketAddr) -> Result<Self, Failure> {
        let phone = Phone::new(sound)?;
        let gateway = Gateway::start_everywhere(offhook, phone.socket.local_addr()?)?;
        Self::of(gateway, phone)
    }

    fn of(gateway: Gateway, phone: Phone) -> Result<Self, Failure> {
        let mut load = Self {
            gateway,
            phone,
            accepts: None,
            calls: Vec::new(),
            hangups: VecDeque::new(),
            open: 0,
            said: false,
        };
        load.idle(Duration::from_millis(300))?;
        Ok(load)
    }

    /// The number of the next call.
    pub fn next_call(&self) -> usize {
        self.calls.len()
    }

    /// Makes `count` calls at `rate` a second; `hold` after the answer they are hung up, or they
    /// stay. `transport` is the transport element of each call.
    pub fn run(
        &mut self,
        rate: u32,
        count: usize,
        hold: Option<Duration>,
        transport: &dyn Fn(usize) -> String,
    ) -> Result<Outcome, Failure> {
        let start = Instant::now();
        let first = self.calls.len();
        let mut made = 0;
        while made < count {
            let now = Instant::now();
            let due = start + Duration::from_secs_f64(made as f64 / f64::from(rate));
            if due <= now {
                let initiate = initiate(first + made, &transport(first + made));
                self.link()?.send(&initiate);
                self.calls.push(Call {
                    sent: now,
                    state: State::Calling,
                    answered: None,
                });
                self.open += 1;
                made += 1;
                continue;
            }
            self.step(due, hold)?;
        }
        let until = Instant::now() + LAST_ANSWERS + hold.unwrap_or_default();
        let waits = |load: &Self| match hold {
            Some(_) => load.open > 0,
            None => load.calls.iter().any(|call| call.state == State::Calling),
        };
        while waits(self) && Instant::now() < until {
            self.step(Instant::now() + Duration::from_millis(2), hold)?;
        }
        let calls = &self.calls[first..];
        let mut accepts: Vec<Duration> = calls.iter().filter_map(|call| call.answered).collect();
        accepts.sort();
        let good = |call: &&Call| match hold {
            Some(_) => call.state == State::Over && call.answered.is_some(),
            None => call.state == State::Talking,
        };
        Ok(Outcome {
            failed: count - calls.iter().filter(good).count(),
            accepts,
            wall: start.elapsed(),
        })
    }

    /// Hangs up what is open, at most so many calls a second.
    pub fn hang_up_all(&mut self, rate: u32) -> Result<(), Failure> {
        let now = Instant::now();
        let talking = (0..self.calls.len()).filter(|n| self.calls[*n].state == State::Talking);
        self.hangups = talking
            .enumerate()
            .map(|(i, n)| (now + Duration::from_secs_f64(i as f64 / f64::from(rate)), n))
            .collect();
        let until = now
            + LAST_ANSWERS
            + Duration::from_secs_f64(self.hangups.len() as f64 / f64::from(rate));
        while self.open > 0 && Instant::now() < until {
            self.step(Instant::now() + Duration::from_millis(2), None)?;
        }
        Ok(())
    }

    /// Only answers what the gateway asks.
    pub fn idle(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.step(until, None)?;
        }
        Ok(())
    }

    fn link(&mut self) -> Result<&mut Link, Failure> {
        self.gateway.link.as_mut().ok_or_else(|| "no link".into())
    }

    /// Waits until `until` or until something happened, and deals with it.
    pub fn step(&mut self, until: Instant, hold: Option<Duration>) -> Result<(), Failure> {
        while let Some((at, call)) = self.hangups.front().copied()
            && at <= Instant::now()
        {
            self.hangups.pop_front();
            self.hang_up(call)?;
        }
        self.link()?.flush()?;
        let next = self.hangups.front().map(|(at, _)| *at);
        let wait = next.map_or(until, |at| at.min(until));
        let wait = wait.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        {
            let link = self.gateway.link.as_ref().ok_or("no link")?;
            let mut watched = [
                PollFd::new(&link.tcp, PollFlags::IN),
                PollFd::new(&self.phone.socket, PollFlags::IN),
            ];
            match poll(&mut watched, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.phone.answer()?;
        self.link()?.read()?;
        while let Some(stanza) = self.link()?.next() {
            self.stanza(&stanza, hold)?;
        }
        self.link()?.flush()
    }

    fn hang_up(&mut self, call: usize) -> Result<(), Failure> {
        self.calls[call].state = State::HangingUp;
        self.link()?.send(&hang_up(call));
        Ok(())
    }

    fn stanza(&mut self, stanza: &str, hold: Option<Duration>) -> Result<(), Failure> {
        if !stanza.starts_with("<iq") {
            return Ok(());
        }
        let head = stanza.split('>').next().unwrap_or_default();
        let id = attribute(head, "id").unwrap_or_default();
        let kind = attribute(head, "type").unwrap_or_default();
        match kind {
            "set" | "get" => {
                let from = attribute(head, "from").unwrap_or_default();
                let to = attribute(head, "to").unwrap_or_default();
                let result = format!("<iq type='result' id='{id}' from='{to}' to='{from}'/>");
                self.link()?.send(&result);
                let call = attribute(stanza, "sid").and_then(|sid| sid.strip_prefix('s'));
                let Some(call) = call.and_then(|n| n.parse::<usize>().ok()) else {
                    return Ok(());
                };
                match attribute(stanza, "action") {
                    Some("session-accept") => {
                        let one = &mut self.calls[call];
                        if one.state == State::Calling {
                            one.state = State::Talking;
                            one.answered = Some(one.sent.elapsed());
                            if let Some(hold) = hold {
                                self.hangups.push_back((Instant::now() + hold, call));
                            }
                            if let Some(accepts) = &mut self.accepts {
                                accepts.push((call, stanza.to_owned()));
                            }
                        }
                    }
                    Some("session-terminate") => self.fail(call, stanza),
                    _ => {}
                }
            }
            "result" => {
                let call = id.strip_prefix('t').and_then(|n| n.parse::<usize>().ok());
                if let Some(call) = call.and_then(|n| self.calls.get_mut(n))
                    && call.state == State::HangingUp
                {
                    call.state = State::Over;
                    self.open -= 1;
                }
            }
            _ => {
                if let Some(call) = id.get(1..).and_then(|n| n.parse().ok()) {
                    self.fail(call, stanza);
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, call: usize, stanza: &str) {
        if !self.said {
            self.said = true;
            eprintln!("bench: a call failed: {stanza}");
        }
        if let Some(call) = self.calls.get_mut(call)
            && !matches!(call.state, State::Over | State::Failed)
        {
            call.state = State::Failed;
            self.open -= 1;
        }
    }
}

/// Who calls.
pub fn user(call: usize) -> String {
    format!("user{}@users.bench/mobile.{call:x}", call % USERS)
}

/// Whom it calls.
pub fn contact(call: usize) -> String {
    format!("{PREFIX}{call:07}@{DOMAIN}/phone")
}

/// The session-terminate of a user who hangs up.
pub fn hang_up(call: usize) -> String {
    format!(
        "<iq type='set' id='t{call}' from='{}' to='{}'><jingle xmlns='urn:xmpp:jingle:1' \
         action='session-terminate' sid='s{call}'><reason><success/></reason></jingle></iq>",
        user(call),
        contact(call)
    )
}

/// A session-initiate in the shape that Conversations sends: Opus first, BUNDLE, DTLS-SRTP.
pub fn initiate(call: usize, transport: &str) -> String {
    format!(
        "<iq type='set' id='i{call}' from='{}' to='{}'>\
         <jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' initiator='{}' sid='s{call}'>\
         <group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='0'/></group>\
         <content creator='initiator' name='0' senders='both'>\
         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'>\
         <payload-type channels='2' clockrate='48000' id='111' name='opus'>\
         <parameter name='minptime' value='10'/><parameter name='useinbandfec' value='1'/>\
         <rtcp-fb xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' type='transport-cc'/></payload-type>\
         <payload-type clockrate='8000' id='9' name='G722'/>\
         <payload-type clockrate='8000' id='0' name='PCMU'/>\
         <payload-type clockrate='8000' id='8' name='PCMA'/>\
         <payload-type clockrate='8000' id='13' name='CN'/>\
         <payload-type clockrate='48000' id='110' name='telephone-event'/>\
         <payload-type clockrate='8000' id='126' name='telephone-event'/>\
         <rtp-hdrext xmlns='urn:xmpp:jingle:apps:rtp:rtp-hdrext:0' id='1' \
         uri='urn:ietf:params:rtp-hdrext:ssrc-audio-level'/>\
         <rtp-hdrext xmlns='urn:xmpp:jingle:apps:rtp:rtp-hdrext:0' id='3' \
         uri='http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01'/>\
         <rtcp-mux/>\
         <source xmlns='urn:xmpp:jingle:apps:rtp:ssma:0' ssrc='3735928559'>\
         <parameter name='cname' value='TxSzNvVrX5R9mQ4w'/></source>\
         </description>{transport}</content></jingle></iq>",
        user(call),
        contact(call),
        user(call)
    )
}

/// A transport without candidates, so that ICE never begins.
pub fn transport_without_media(call: usize) -> String {
    format!(
        "<transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='u{call:06x}' \
         pwd='88yXZajgGS00ziBDQ0yLtr9t'><trickle xmlns='http://gultsch.de/xmpp/drafts/jingle/transports/ice-udp/option'/>\
         <fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' setup='actpass'>\
         AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89\
         </fingerprint></transport>"
    )
}
