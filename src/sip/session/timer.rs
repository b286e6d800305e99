//! The deadlines of a call, among them the session timer (RFC 4028).
//!
//! We ask for one if the trunk says so, and keep it whatever the peer knows of timers. Where the refreshing is ours, it is done by an UPDATE without
//! offer where it allows UPDATE, else by a re-INVITE with our last offer.

use std::time::{Duration, Instant};

use crate::leg::{End, EndReason};
use crate::sip::transaction::drive::Outcome;
use crate::sip::transaction::table::{ClientId, User};
use crate::sip::trunk::retry_after;
use crate::sip::wire::{Message, Method, Name, Refresher, SessionExpires};
use crate::sip::{Sip, TimerKey};

use super::ack::Handshake;
use super::reinvite::{Cause, Exchange};
use super::{Session, SessionId, State};

/// RFC 4028 §5: the shortest interval that anybody may ask for.
pub const MIN_SE: u32 = 90;
/// Until a refresh that failed is tried again. Retry-After may ask for more, but not for much:
/// intervals may be as short as [`MIN_SE`].
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_secs(10);
/// After that long a refresh has its answer, or a newer offer has taken its place and may have been
/// refused.
const LOOK_AGAIN: Duration = Duration::from_secs(40);

/// The deadlines of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTimer {
    /// Our 2xx again.
    Repeat,
    /// No ACK came.
    AckLimit,
    /// No answer to a cancelled INVITE.
    CancelLimit,
    /// Our offer again, after glare.
    BackOff,
    /// Our provisional response again.
    Remind,
    /// Our reliable provisional response again, as no PRACK came.
    Provisional,
    /// Our session refresh.
    Refresh,
    /// The session was not refreshed.
    Expire,
}

impl SessionTimer {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Repeat,
        Self::AckLimit,
        Self::CancelLimit,
        Self::BackOff,
        Self::Remind,
        Self::Provisional,
        Self::Refresh,
        Self::Expire,
    ];
}

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Nobody.
    Off,
    /// We, by this request, as both have agreed.
    Us(u32, Way),
    /// We too, but the peer knows no timers: only we end the call if it is gone.
    Alone(u32, Way),
    /// The peer.
    Peer(u32),
}

/// How we refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The peer allows UPDATE.
    Update,
    /// It does not say so.
    Invite,
}

impl Way {
    fn of(message: &Message) -> Self {
        if message.lists(Name::Allow, "UPDATE") {
            Self::Update
        } else {
            Self::Invite
        }
    }
}

impl Refresh {
    /// What a request asks for, as its UAS sees it, with the Session-Expires of our 2xx. The error
    /// is our Min-SE (422).
    pub fn of_request(request: &Message) -> Result<(Self, Option<String>), u32> {
        let Some(SessionExpires { seconds, refresher }) = request.session_expires() else {
            return Ok((Self::Off, None));
        };
        if seconds < MIN_SE {
            return Err(MIN_SE);
        }
        let knows =
            request.lists(Name::Supported, "timer") || request.lists(Name::Require, "timer");
        // RFC 4028 table 2: a peer that knows no timers cannot refresh.
        let (refresh, who) = match refresher {
            Some(Refresher::Uas) => (Self::Us(seconds, Way::of(request)), Refresher::Uas),
            None if !knows => (Self::Us(seconds, Way::of(request)), Refresher::Uas),
            Some(Refresher::Uac) | None => (Self::Peer(seconds), Refresher::Uac),
        };
        let agreed = SessionExpires {
            seconds,
            refresher: Some(who),
        };
        Ok((refresh, Some(agreed.to_string())))
    }

    /// What the 2xx to our INVITE says, which asked for `asked` seconds. A peer that knows no
    /// timers is refreshed by us all the same (§7.2), as we want to know whether it is there.
    pub fn of_answer(response: &Message, asked: Option<u32>) -> Self {
        match (Self::of_response(response), asked) {
            (Self::Off, Some(seconds)) => Self::Alone(seconds, Way::of(response)),
            (agreed, _) => agreed,
        }
    }

    /// The same of a request within the call. Few peers say there again what they allow.
    pub fn renewed(self, response: &Message, asked: Option<u32>) -> Self {
        let known = match response.header(Name::Allow) {
            Some(_) => None,
            None => self.way(),
        };
        match (Self::of_answer(response, asked), known) {
            (Self::Us(seconds, _), Some(way)) => Self::Us(seconds, way),
            (Self::Alone(seconds, _), Some(way)) => Self::Alone(seconds, way),
            (agreed, _) => agreed,
        }
    }

    /// What we want of a caller that asked for nothing (§9): `seconds`, and to refresh ourselves.
    /// One that knows no timers need not hear of it.
    pub fn wanted(self, request: &Message, seconds: Option<u32>) -> (Self, Option<String>) {
        let (Self::Off, Some(seconds)) = (self, seconds) else {
            return (self, None);
        };
        let way = Way::of(request);
        if !request.lists(Name::Supported, "timer") {
            return (Self::Alone(seconds, way), None);
        }
        // §5: nobody on the way wants to hear from us more often than that.
        let seconds = seconds.max(request.number(Name::MinSe).unwrap_or(0));
        let agreed = SessionExpires {
            seconds,
            refresher: Some(Refresher::Uas),
        };
        (Self::Us(seconds, way), Some(agreed.to_string()))
    }

    /// What a request of the peer within the call leaves of it. `seconds` is what we want: then a
    /// peer that says nothing of timers, such as one that knows none, does not end ours.
    pub fn of_reinvite(
        self,
        request: &Message,
        seconds: Option<u32>,
    ) -> Result<(Self, Option<String>), u32> {
        let (asked, timer) = Self::of_request(request)?;
        let seconds = seconds.map(|seconds| self.seconds().unwrap_or(seconds));
        Ok(match (asked.wanted(request, seconds), self.way()) {
            ((wanted, None), _) if wanted == asked => (asked, timer),
            ((Self::Alone(seconds, _), _), Some(way)) => (Self::Alone(seconds, way), None),
            (wanted, _) => wanted,
        })
    }

    /// Refreshes of ours go by re-INVITE from now on.
    fn by_invite(&mut self) {
        if let Self::Us(_, way) | Self::Alone(_, way) = self {
            *way = Way::Invite;
        }
    }

    /// The peer, or a proxy, wants a longer interval (§6: 422); false if it does not say which.
    pub fn lengthen(&mut self, response: &Message) -> bool {
        let longer = longer_timer(self.seconds(), response);
        match (longer, self) {
            (
                Some(longer),
                Self::Us(seconds, _) | Self::Alone(seconds, _) | Self::Peer(seconds),
            ) => {
                *seconds = longer;
                true
            }
            (Some(_) | None, _) => false,
        }
    }

    fn way(self) -> Option<Way> {
        match self {
            Self::Us(_, way) | Self::Alone(_, way) => Some(way),
            Self::Off | Self::Peer(_) => None,
        }
    }

    fn seconds(self) -> Option<u32> {
        match self {
            Self::Us(seconds, _) | Self::Alone(seconds, _) | Self::Peer(seconds) => Some(seconds),
            Self::Off => None,
        }
    }

    /// What a 2xx to our request says.
    pub fn of_response(response: &Message) -> Self {
        match response.session_expires() {
            Some(SessionExpires { seconds, refresher }) if seconds >= MIN_SE => match refresher {
                Some(Refresher::Uas) => Self::Peer(seconds),
                Some(Refresher::Uac) | None => Self::Us(seconds, Way::of(response)),
            },
            Some(_) | None => Self::Off,
        }
    }

    /// Writes what was agreed into a 2xx.
    pub fn write(self, response: Message, agreed: Option<&str>) -> Message {
        let response = match agreed {
            Some(agreed) => response.with(Name::SessionExpires, agreed),
            None => response,
        };
        match self {
            Self::Peer(_) => response.with(Name::Require, "timer"),
            Self::Off | Self::Us(..) | Self::Alone(..) => response,
        }
    }

    /// Asks for the same again in a refresh of ours (§7.4).
    pub fn ask(self, request: Message) -> Message {
        let (seconds, who) = match self {
            Self::Off => return request,
            Self::Us(seconds, _) | Self::Alone(seconds, _) => (seconds, Refresher::Uac),
            Self::Peer(seconds) => (seconds, Refresher::Uas),
        };
        let asked = SessionExpires {
            seconds,
            refresher: Some(who),
        };
        request.with(Name::SessionExpires, asked.to_string())
    }
}

/// What to ask for after a 422 (§6): its Min-SE, if that is more than was asked for.
pub fn longer_timer(asked: Option<u32>, response: &Message) -> Option<u32> {
    let least = response.number(Name::MinSe)?;
    asked.filter(|asked| least > *asked).map(|_| least)
}

impl Sip {
    /// The seconds that a request of ours asked for.
    pub(super) fn timer_in(&self, client: ClientId) -> Option<u32> {
        let asked = self.clients.get(client)?.request.session_expires()?;
        Some(asked.seconds)
    }

    /// The session timer that a trunk's calls ask for, in seconds.
    pub(super) fn asked_timer(&self, trunk: Option<usize>) -> Option<u32> {
        let wanted = self.trunks.get(trunk?)?.session_timer;
        u32::try_from(wanted.as_secs()).ok().filter(|s| *s > 0)
    }

    /// One of the deadlines of a call.
    pub(in crate::sip) fn session_timer(
        &mut self,
        now: Instant,
        id: SessionId,
        timer: SessionTimer,
    ) {
        self.on_session(id, |sip, session| match timer {
            SessionTimer::Repeat => sip.repeat_answer(now, session),
            SessionTimer::AckLimit => sip.ack_missing(now, session),
            SessionTimer::CancelLimit => sip.cancel_limit(session),
            SessionTimer::BackOff => sip.back_off_over(now, session),
            SessionTimer::Remind => sip.remind(now, session),
            SessionTimer::Provisional => sip.repeat_provisional(now, session),
            SessionTimer::Refresh => sip.refresh(now, session),
            SessionTimer::Expire => sip.expired(now, session),
        });
    }

    /// The wait for the end of a cancelled INVITE is over.
    pub(super) fn stop_cancel_limit(&mut self, session: SessionId) {
        let key = TimerKey::Session(session, SessionTimer::CancelLimit);
        self.timers.stop(&key);
    }

    /// Sets the session timer anew.
    pub(super) fn start_refresh(&mut self, now: Instant, id: SessionId, refresh: Refresh) {
        for timer in [SessionTimer::Refresh, SessionTimer::Expire] {
            self.timers.stop(&TimerKey::Session(id, timer));
        }
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let end = match refresh {
            Refresh::Off => return,
            Refresh::Us(interval, _) | Refresh::Alone(interval, _) => {
                let key = TimerKey::Session(id, SessionTimer::Refresh);
                self.timers.set(key, now + seconds(interval) / 2);
                seconds(interval)
            }
            // §10: BYE before the end, by a third of the interval or 32 s, whichever is less.
            Refresh::Peer(interval) => {
                seconds(interval) - (seconds(interval) / 3).min(Duration::from_secs(32))
            }
        };
        let key = TimerKey::Session(id, SessionTimer::Expire);
        self.timers.set(key, now + end);
    }

    /// Our refresh came to nothing: it is tried again until the interval is over (§10).
    pub(super) fn refresh_again(&mut self, now: Instant, id: SessionId, why: Option<&Message>) {
        let asked = why.and_then(retry_after).unwrap_or(AGAIN);
        let key = TimerKey::Session(id, SessionTimer::Refresh);
        self.timers
            .set(key, now + asked.clamp(AGAIN, AGAIN_AT_MOST));
    }

    /// Our refresh by re-INVITE was refused, or could not be sent.
    pub(super) fn refresh_refused(
        &mut self,
        now: Instant,
        id: SessionId,
        refresh: Refresh,
        response: Option<&Message>,
    ) {
        // What servers on the way say is no word of the peer.
        let refusal = response.filter(|r| !matches!(r.status(), Some(502..=504)));
        match (refresh, refusal) {
            // Whoever refuses is there, and knows of no interval that could be over.
            (Refresh::Alone(..), Some(_)) => self.start_refresh(now, id, refresh),
            _ => self.refresh_again(now, id, response),
        }
    }

    fn refresh(&mut self, now: Instant, session: &mut Session) {
        let said = session.said.description().cloned();
        let State::Up(up) = &mut session.state else {
            return;
        };
        let Some(way) = up.refresh.way() else {
            return;
        };
        let busy = !matches!(up.exchange, Exchange::Idle) || up.handshake != Handshake::Done;
        let key = TimerKey::Session(session.id, SessionTimer::Refresh);
        if busy {
            // What is under way refreshes too, or fails; look again soon.
            return self.timers.set(key, now + Duration::from_secs(10));
        }
        self.timers.set(key, now + LOOK_AGAIN);
        match (way, said) {
            (Way::Invite, Some(offer)) => self.start_offer(now, session, offer, Cause::Refresh),
            (Way::Update, _) | (Way::Invite, None) => {
                let request = up
                    .dialog
                    .request(Method::Update)
                    .with(Name::Contact, "")
                    .with(Name::Supported, "timer");
                let request = up.refresh.ask(request);
                let user = User::Update(session.id);
                let sent = self.send_within(now, session.trunk, request, &up.dialog, user);
                if sent.is_err() {
                    self.refresh_again(now, session.id, None);
                }
            }
        }
    }

    /// How our UPDATE fared.
    pub(in crate::sip) fn refresh_fared(
        &mut self,
        now: Instant,
        id: SessionId,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        self.on_session(id, |sip, session| {
            let State::Up(up) = &mut session.state else {
                return;
            };
            let asked = sip.timer_in(client);
            match outcome {
                Outcome::Response(response) => match response.status().unwrap_or(0) {
                    0..200 => {}
                    200..300 => {
                        up.dialog.refresh_target(response);
                        up.refresh = up.refresh.renewed(response, asked);
                        let refresh = up.refresh;
                        sip.start_refresh(now, id, refresh);
                    }
                    408 | 481 => sip.expired(now, session),
                    422 if up.refresh.lengthen(response) => sip.refresh_again(now, id, None),
                    _ => {
                        let _ = sip.learn_challenge(session.trunk, client, response);
                        // Once more by re-INVITE, before the interval is over.
                        up.refresh.by_invite();
                        sip.refresh_again(now, id, Some(response));
                    }
                },
                Outcome::TimedOut => sip.expired(now, session),
                Outcome::Unreachable => sip.refresh_again(now, id, None),
            }
        });
    }

    fn expired(&mut self, now: Instant, session: &mut Session) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Up(up) => {
                let end = End::because(EndReason::PeerGone, "session timer");
                self.end_leg(session, end.clone());
                self.leave(now, session, *up, Some(&end));
            }
            other => session.state = other,
        }
    }
}
