//! Registration at a trunk: RFC 3261 §10.2, one binding, kept alive until the gateway stops.
//!
//! One Call-ID and a counted CSeq for all requests of a trunk (§10.2), never two at a time. A
//! refused or lost request is tried again after a pause that doubles and is drawn (the shape of
//! RFC 5626 §4.5), so that a registrar that comes back is not met by everybody at once. Redirects
//! are not followed: a 3xx counts as a failure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::TrunkConfig;
use crate::id::TokenMaker;
use crate::net::Flow;
use crate::sip::transaction::drive::{Hop, Outcome};
use crate::sip::transaction::table::{ClientId, User};
use crate::sip::uri::Uri;
use crate::sip::wire::{CSeq, Message, Method, Name, NameAddr};
use crate::sip::{Sip, TimerKey};

use super::retry_after;

/// Seconds that we ask for. Short enough for a NAT's binding to be renewed and for a registrar that
/// lost its memory to hear of us soon; those who want longer ones say so by 423.
const EXPIRES: u32 = 600;
/// The longest Min-Expires that we follow: a day.
const MAX_EXPIRES: u32 = 86_400;
/// A registrar that grants less than this is asked again no sooner.
const MIN_REFRESH: Duration = Duration::from_secs(5);
/// The first pause after a failure.
const BACK_OFF: Duration = Duration::from_secs(10);
/// The longest pause: calls from a trunk without a registration are lost all the while.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);
/// A connection that carried a registration for less than this was lost early (RFC 5626 §4.5).
const LASTING: Duration = Duration::from_secs(120);
/// Answers to one attempt that make us try again at once: a challenge each of a proxy and the
/// registrar, a stale nonce of each, one 423.
const MAX_REPEATS: u8 = 5;
/// How long to wait for the trunk's first address.
const NO_ADDRESS: Duration = Duration::from_secs(2);

/// The registration at one trunk.
#[derive(Debug)]
pub struct Registration {
    user: String,
    call_id: String,
    tag: String,
    cseq: u32,
    expires: u32,
    stands: bool,
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// The request under way and where it went.
    asked: Option<(ClientId, Hop)>,
    /// Servers not yet tried in this attempt.
    hops: VecDeque<Hop>,
    repeats: u8,
    /// By what way it was made, and since when it is made by that one: calls to us may come by it.
    carried: Option<(Flow, Instant)>,
    /// Connections in a row that carried it and were lost early.
    losses: u32,
    stay: Stay,
}

/// Whether the binding is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Wanted,
    /// The gateway stops; the registrar shall forget us.
    Leaving,
    Left,
}

impl Registration {
    /// `None` if the trunk wants none.
    pub fn new(config: &TrunkConfig, tokens: &mut TokenMaker) -> Option<Self> {
        let user = config.username.clone().filter(|_| config.register)?;
        Some(Self {
            user,
            call_id: tokens.token(22),
            tag: tokens.token(12),
            cseq: 0,
            expires: EXPIRES,
            stands: false,
            failures: 0,
            asked: None,
            hops: VecDeque::new(),
            repeats: 0,
            carried: None,
            losses: 0,
            stay: Stay::Wanted,
        })
    }

    /// True while the registrar knows us, as far as we know.
    pub fn stands(&self) -> bool {
        self.stands
    }

    /// The user part of our Contact, and so of the Request-URI of calls to us.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How long to pause after as many failures as there were.
    fn pause(&self, tokens: &mut TokenMaker) -> Duration {
        drawn(back_off(self.failures), 50, 100, tokens)
    }

    /// How long to wait before it is made anew, if `flow` carried it. A front of a registrar that
    /// has restarted is not met by everybody at once, and one that closes every connection not
    /// all the time.
    fn lost(&mut self, now: Instant, flow: Flow, tokens: &mut TokenMaker) -> Option<Duration> {
        let (_, since) = self.carried.take_if(|(carried, _)| *carried == flow)?;
        if now.duration_since(since) >= LASTING {
            self.losses = 0;
        }
        self.losses = self.losses.saturating_add(1);
        let least = if self.losses > 1 { 50 } else { 0 };
        let wanted = self.stands && self.stay == Stay::Wanted && self.asked.is_none();
        wanted.then(|| drawn(back_off(self.losses), least, 100, tokens))
    }
}

/// The longest pause after the `count`th time.
fn back_off(count: u32) -> Duration {
    let doubled = BACK_OFF.saturating_mul(1 << count.saturating_sub(1).min(16));
    doubled.min(MAX_BACK_OFF)
}

/// Between `from` and `to` hundredths of `whole`.
fn drawn(whole: Duration, from: u64, to: u64, tokens: &mut TokenMaker) -> Duration {
    let hundredths = from + tokens.below(to - from + 1);
    whole.saturating_mul(u32::try_from(hundredths).unwrap_or(100)) / 100
}

impl Sip {
    /// Begins the registration of a trunk, if it wants one.
    pub(in crate::sip) fn begin_registration(&mut self, now: Instant, index: usize) {
        if self.registration(index).is_some() {
            self.timers.set(TimerKey::Register(index), now);
        }
    }

    /// Takes leave of every registrar. Nothing is registered again after this.
    pub fn unregister(&mut self, now: Instant) {
        for index in 0..self.trunks.len() {
            self.timers.stop(&TimerKey::Register(index));
            let Some(registration) = self.registration(index) else {
                continue;
            };
            if registration.stay != Stay::Wanted {
                continue;
            }
            registration.stay = match registration.stands || registration.asked.is_some() {
                true => Stay::Leaving,
                false => Stay::Left,
            };
            // One under way is waited for (RFC 3261 §10.2): its answer brings us back here.
            if registration.stay == Stay::Leaving && registration.asked.is_none() {
                self.register(now, index);
            }
        }
        self.settle(now);
    }

    /// True if no registrar has to be told anything any more.
    pub fn is_unregistered(&self) -> bool {
        self.trunks
            .iter()
            .filter_map(|trunk| trunk.registration.as_ref())
            .all(|registration| registration.asked.is_none())
    }

    fn registration(&mut self, index: usize) -> Option<&mut Registration> {
        self.trunks.get_mut(index)?.registration.as_mut()
    }

    /// Time for the registrar to hear of us.
    pub(in crate::sip) fn register(&mut self, now: Instant, index: usize) {
        let hops = self.hops_of(index);
        let Some(registration) = self.registration(index) else {
            return;
        };
        if registration.asked.is_some() {
            return;
        }
        registration.repeats = 0;
        if hops.is_empty() && registration.stay == Stay::Wanted {
            return self.timers.set(TimerKey::Register(index), now + NO_ADDRESS);
        }
        registration.hops = hops;
        self.register_next(now, index);
    }

    /// Asks the next server.
    fn register_next(&mut self, now: Instant, index: usize) {
        while let Some(hop) = self.registration(index).and_then(|r| r.hops.pop_front()) {
            let Some(request) = self.write_register(index) else {
                break;
            };
            let user = User::Register(index);
            if let Ok(client) = self.send_authorized(now, Some(index), request, &hop, user) {
                if let Some(registration) = self.registration(index) {
                    registration.asked = Some((client, hop));
                }
                return;
            }
        }
        self.registration_failed(now, index, "no server can be reached", None);
    }

    /// A connection is gone: what was registered by it is registered anew (RFC 5626 §4.5).
    pub(in crate::sip) fn registered_flow_lost(&mut self, now: Instant, flow: Flow) {
        for (index, trunk) in self.trunks.iter_mut().enumerate() {
            let registration = trunk.registration.as_mut();
            let wait = registration.and_then(|r| r.lost(now, flow, &mut self.tokens));
            let key = TimerKey::Register(index);
            if let Some(wait) = wait
                && self.timers.deadline(&key).is_none_or(|at| at > now + wait)
            {
                self.timers.set(key, now + wait);
            }
        }
    }

    fn write_register(&mut self, index: usize) -> Option<Message> {
        let allow = self.allow(Some(index));
        let trunk = self.trunks.get_mut(index)?;
        let domain = trunk.from_domain.as_ref().unwrap_or(&trunk.host);
        let registration = trunk.registration.as_mut()?;
        // The registrar is the domain; the account is a user of it (§10.2).
        let registrar = Uri::sip("", &trunk.host, trunk.port)?;
        let account = Uri::sip(&registration.user, domain, None)?;
        registration.cseq += 1;
        let cseq = CSeq {
            number: registration.cseq,
            method: Method::Register,
        };
        let expires = match registration.stay {
            Stay::Wanted => registration.expires,
            Stay::Leaving | Stay::Left => 0,
        };
        let mut request = Message::request(Method::Register, registrar.as_str())
            .with(Name::Via, "")
            .with(Name::MaxForwards, "70")
            .with(Name::From, format!("<{account}>;tag={}", registration.tag))
            .with(Name::To, format!("<{account}>"))
            .with(Name::CallId, &registration.call_id)
            .with(Name::CSeq, cseq.to_string());
        if let Some(route) = &trunk.route {
            request.push(Name::Route, route);
        }
        Some(
            request
                .with(Name::Contact, "")
                .with(Name::Expires, expires.to_string())
                .with(Name::Allow, allow),
        )
    }

    /// How a REGISTER fared.
    pub(in crate::sip) fn register_fared(
        &mut self,
        now: Instant,
        index: usize,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        let asked = self.registration(index).and_then(|r| r.asked.clone());
        let Some((_, hop)) = asked.filter(|(asked, _)| *asked == client) else {
            return;
        };
        if let Outcome::Response(response) = outcome
            && response.status() < Some(200)
        {
            return;
        }
        // Before the answer is let go of: the challenge is held against the request.
        let again = match outcome {
            Outcome::Response(response) => self.repeats(index, client, response),
            Outcome::TimedOut | Outcome::Unreachable => false,
        };
        let Some(registration) = self.registration(index) else {
            return;
        };
        registration.asked = None;
        if again {
            registration.repeats += 1;
            registration.hops.push_front(hop);
            return self.register_next(now, index);
        }
        match outcome {
            Outcome::Response(response) => {
                self.note_accepted(Some(index), client, response);
                match response.status().unwrap_or(0) {
                    200..300 => self.registered(now, index, client, &hop, response),
                    503 => {
                        let wait = retry_after(response);
                        self.server_failed(now, Some(index), hop.place, wait);
                        self.register_elsewhere(now, index, "503", wait);
                    }
                    status => {
                        // Whatever else is said is said for all servers.
                        let wait = retry_after(response);
                        self.registration_failed(now, index, &status.to_string(), wait);
                    }
                }
            }
            Outcome::TimedOut | Outcome::Unreachable => {
                self.server_failed(now, Some(index), hop.place, None);
                self.register_elsewhere(now, index, "no answer", None);
            }
        }
    }

    /// True if the same shall be asked again at once: with credentials, or for longer.
    fn repeats(&mut self, index: usize, client: ClientId, response: &Message) -> bool {
        let Some(registration) = self.registration(index) else {
            return false;
        };
        if registration.repeats >= MAX_REPEATS {
            return false;
        }
        match response.status() {
            Some(401 | 407) => self.learn_challenge(Some(index), client, response),
            Some(423) => {
                let least = response.number(Name::MinExpires);
                match least {
                    Some(least) if least > registration.expires && least <= MAX_EXPIRES => {
                        registration.expires = least;
                        true
                    }
                    Some(_) | None => false,
                }
            }
            Some(_) | None => false,
        }
    }

    fn register_elsewhere(
        &mut self,
        now: Instant,
        index: usize,
        why: &str,
        wait: Option<Duration>,
    ) {
        let others = self.registration(index).is_some_and(|r| !r.hops.is_empty());
        match others {
            true => self.register_next(now, index),
            false => self.registration_failed(now, index, why, wait),
        }
    }

    fn registered(
        &mut self,
        now: Instant,
        index: usize,
        client: ClientId,
        hop: &Hop,
        response: &Message,
    ) {
        let entry = self.clients.get(client);
        let request = entry.map(|entry| &entry.request);
        let flow = entry.map(|entry| entry.flow);
        let asked_to_stay = request.and_then(|r| r.number(Name::Expires)) != Some(0);
        let granted = request.and_then(|request| granted(request, response));
        self.server_answered(index, hop.place);
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        let Some(registration) = &mut trunk.registration else {
            return;
        };
        match registration.stay {
            Stay::Wanted => {}
            // It was under way when we were told to leave.
            Stay::Leaving if asked_to_stay => return self.register(now, index),
            Stay::Leaving | Stay::Left => {
                registration.stay = Stay::Left;
                registration.stands = false;
                return info!(trunk = trunk.name, "unregistered");
            }
        }
        let granted = granted.unwrap_or(registration.expires);
        if granted == 0 {
            return self.registration_failed(now, index, "granted for 0 s", None);
        }
        let fresh = !registration.stands;
        registration.stands = true;
        registration.failures = 0;
        registration.hops.clear();
        let before = registration.carried.filter(|(old, _)| flow == Some(*old));
        registration.carried = before.or(flow.map(|flow| (flow, now)));
        if fresh {
            info!(trunk = trunk.name, seconds = granted, "registered");
        }
        // Well before the end: what is lost can be asked again while the binding still stands.
        let span = Duration::from_secs(granted.min(MAX_EXPIRES).into());
        let refresh = drawn(span, 50, 75, &mut self.tokens).max(MIN_REFRESH);
        self.timers.set(TimerKey::Register(index), now + refresh);
        self.note_trunk(index);
    }

    fn registration_failed(
        &mut self,
        now: Instant,
        index: usize,
        why: &str,
        wait: Option<Duration>,
    ) {
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        let Some(registration) = &mut trunk.registration else {
            return;
        };
        registration.hops.clear();
        registration.stands = false;
        match registration.stay {
            Stay::Wanted => {}
            Stay::Leaving | Stay::Left => {
                // The binding ends by itself.
                registration.stay = Stay::Left;
                return;
            }
        }
        registration.failures = registration.failures.saturating_add(1);
        let pause = registration.pause(&mut self.tokens);
        let pause = wait.map_or(pause, |wait| wait.max(pause));
        warn!(
            trunk = trunk.name,
            why,
            again_s = pause.as_secs(),
            "registration failed"
        );
        self.timers.set(TimerKey::Register(index), now + pause);
        self.note_trunk(index);
    }
}

/// Seconds that a response grants to our binding: the parameter of our Contact, else the field,
/// else nothing is said (§10.2.4). The registrar lists the bindings of other devices too.
fn granted(request: &Message, response: &Message) -> Option<u32> {
    let ours = request.address(Name::Contact)?.uri().ok()?;
    let of_contact = |contact: NameAddr<'_>| contact.params.get("expires")?.parse().ok();
    let same = response.addresses(Name::Contact).find(|contact| {
        contact.uri().is_ok_and(|uri| {
            uri.user() == ours.user() && uri.host() == ours.host() && uri.port() == ours.port()
        })
    });
    // NAT helpers write our Contact anew: if it is not there, a single one is ours.
    let only = response
        .address(Name::Contact)
        .filter(|_| response.addresses(Name::Contact).count() == 1);
    same.or(only)
        .and_then(of_contact)
        .or_else(|| response.number(Name::Expires))
}
