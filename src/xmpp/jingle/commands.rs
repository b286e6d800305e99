//! What the call table tells the legs of this room.

use std::time::Instant;

use jid::{BareJid, FullJid};
use tracing::debug;

use super::content::{self, Side};
use super::message::Verb;
use super::session::{Key, Origin, Session, State, Wire};
use super::{
    FIRST_RINGING, Jingle, LINK_GRACE, OFFER_LIMIT, RINGING_AGAIN, Timer, What, answer, info,
    message, send_message, transport,
};
use crate::address::{Address, contact};
use crate::description::{Description, Media, TransportInfo};
use crate::id::LegId;
use crate::leg::{End, EndReason, LegCommand, LegEvent};
use crate::xmpp::caps::{Abilities, Resources};
use crate::xmpp::nick;
use crate::xmpp::stanza::{Identity, MessageType};

/// Characters that tell anonymous callers apart: 60 bits, in letters that JIDs do not fold.
const ANONYMOUS_LENGTH: usize = 12;

impl Jingle {
    /// A command for a leg of this room; `resources` says what the callee's devices can do.
    pub fn command(
        &mut self,
        now: Instant,
        leg: LegId,
        command: LegCommand,
        resources: &Resources,
    ) {
        match command {
            LegCommand::Offer {
                from,
                to,
                display_name,
                offer,
                trunk: _,
                replaces: _,
            } => {
                if self.sessions.contains_key(&leg) {
                    return;
                }
                if let Err(end) = self.call(now, leg, &from, &to, display_name, offer, resources) {
                    self.tell(leg, LegEvent::Ended(end));
                }
            }
            LegCommand::Ring | LegCommand::Progress(_) => self.ring(now, leg),
            LegCommand::Accept => self.accept(now, leg),
            LegCommand::Answer(description) => self.answer(now, leg, description),
            LegCommand::Refuse => {
                if let Some(State::Offered { .. }) = self.state(leg) {
                    self.close(leg, End::from(EndReason::NotAcceptable));
                }
            }
            LegCommand::Update(_) => match self.state(leg) {
                Some(State::Active { theirs, .. }) => {
                    let theirs = theirs.clone();
                    self.tell(leg, LegEvent::UpdateAnswered(theirs));
                }
                Some(_) => self.tell(leg, LegEvent::UpdateRefused),
                None => {}
            },
            LegCommand::Transport(info) => self.trickle(now, leg, info),
            LegCommand::Transfer(news) => self.transfer_news(leg, &news),
            LegCommand::Refer { .. } => self.tell(leg, LegEvent::ReferRefused),
            LegCommand::Digit(_) | LegCommand::Hold(_) => {
                debug!(%leg, "jingle clients have no word for it");
            }
            LegCommand::End(end) => self.close(leg, end),
        }
    }

    fn state(&self, leg: LegId) -> Option<&State> {
        self.sessions.get(&leg).map(|session| &session.state)
    }

    #[allow(clippy::too_many_arguments)]
    fn call(
        &mut self,
        now: Instant,
        leg: LegId,
        from: &Address,
        to: &Address,
        display_name: Option<String>,
        mut offer: Description,
        resources: &Resources,
    ) -> Result<(), End> {
        let Address::Xmpp(peer) = to else {
            return Err(End::because(EndReason::NotFound, "not an XMPP address"));
        };
        let local = self.speaker(from)?;
        if self.cut_off.is_some_and(|since| now >= since + LINK_GRACE) {
            self.note_missed(local, peer.clone());
            return Err(End::because(
                EndReason::Unavailable,
                "the XMPP server is away",
            ));
        }
        if !self.has_room(peer) {
            return Err(End::because(
                EndReason::Overloaded,
                "too many jingle sessions",
            ));
        }
        // XEP-0353 §6: a second invitation from one JID to one user reads as a move of the first,
        // and clients answer it by themselves.
        if self.between(peer, &local.to_bare()).next().is_some() {
            self.note_missed(local, peer.clone());
            let end = End::because(EndReason::Busy, "the user is in a call with this contact");
            return Err(end);
        }
        if !takes_video(resources, peer) {
            offer.streams.retain(|stream| stream.media != Media::Video);
        }
        let device = sole_device_without_invitations(resources, peer);
        let key = Key {
            peer: peer.clone(),
            local: local.to_bare(),
            sid: self.tokens.uuid(),
        };
        // Fails here rather than after the user has taken the call.
        content::write(&offer, Side::Initiator, &mut 0)
            .map_err(|error| End::because(EndReason::NotAcceptable, error.to_string()))?;
        let mut session = Session {
            key,
            local,
            origin: match device {
                Some(_) => Origin::Direct,
                None => Origin::Invitation,
            },
            device,
            side: Side::Initiator,
            state: State::Offering { rings: false },
            wire: Wire::default(),
            transferred: false,
        };
        if session.device.is_some() {
            self.insert(leg, session);
            self.initiate(now, leg, offer);
            return Ok(());
        }
        let mut kinds: Vec<Media> = offer.streams.iter().map(|s| s.media).collect();
        kinds.dedup();
        let mut payload = message::propose(&session.key.sid, &kinds);
        payload.extend(display_name.as_deref().map(nick::nick));
        let (from, to) = (session.local.clone().into(), session.to());
        let message_id = self.out.message(MessageType::Chat, &from, &to, payload);
        session.state = State::Inviting {
            offer,
            message_id,
            rings: false,
        };
        self.insert(leg, session);
        Ok(())
    }

    /// The full JID that stands for a caller.
    fn speaker(&mut self, from: &Address) -> Result<FullJid, End> {
        let domain = match &self.identity {
            Identity::Component { domain, .. } => domain,
            Identity::Client { jid } => return Ok(jid.clone()),
        };
        let token = match from {
            Address::Anonymous => self.tokens.token(ANONYMOUS_LENGTH).to_ascii_lowercase(),
            Address::Number(_) | Address::Sip(_) | Address::Xmpp(_) => String::new(),
        };
        let contact = contact::jid(from, contact::Spelling::default(), &token, domain)
            .map_err(|error| End::because(EndReason::Failed, error.to_string()))?;
        Ok(self.identity.full(&contact.into()))
    }

    /// Sends `session-initiate` to the device of the session.
    pub(super) fn initiate(&mut self, now: Instant, leg: LegId, offer: Description) {
        let (offer, names) = answer::as_offer(offer);
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        session.state = State::Offering { rings: false };
        session.wire = Wire::default();
        session.wire.described(&offer, &names);
        match content::write(&offer, Side::Initiator, &mut session.wire.next_candidate) {
            Ok(contents) => {
                self.request(
                    Some((now, What::Initiate)),
                    leg,
                    "session-initiate",
                    contents,
                );
            }
            Err(error) => {
                let end = End::because(EndReason::NotAcceptable, error.to_string());
                self.close(leg, end);
            }
        }
    }

    /// Tells a waiting caller that it rings, and again before it loses patience.
    pub(super) fn ring(&mut self, now: Instant, leg: LegId) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        match (&session.state, session.origin) {
            (State::Invited { .. }, _) => {
                let payload = message::plain(Verb::Ringing, &session.key.sid);
                send_message(&mut self.out, session, &session.to(), payload);
                self.timers.set(Timer::Ringing(leg), now + RINGING_AGAIN);
            }
            (State::Offered { moved: false, .. }, Origin::Direct) => {
                self.request(
                    Some((now, What::Other)),
                    leg,
                    "session-info",
                    [info::ringing()],
                );
            }
            (
                State::Offered { .. }
                | State::Expecting { .. }
                | State::Inviting { .. }
                | State::Offering { .. }
                | State::Active { .. },
                _,
            ) => {}
        }
    }

    /// Starts the clock of the first `ringing`.
    pub(super) fn await_ring(&mut self, now: Instant, leg: LegId) {
        self.timers.set(Timer::Ringing(leg), now + FIRST_RINGING);
    }

    fn accept(&mut self, now: Instant, leg: LegId) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let State::Invited { early } = &mut session.state else {
            return;
        };
        self.timers.stop(&Timer::Ringing(leg));
        if let Some(offer) = early.take() {
            session.state = State::Offered {
                offer: offer.clone(),
                moved: false,
            };
            self.tell(leg, LegEvent::Updated(offer));
            return;
        }
        self.proceed(now, leg, false);
    }

    /// Says `proceed`, and expects the offer.
    pub(super) fn proceed(&mut self, now: Instant, leg: LegId, moved: bool) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        session.state = State::Expecting { moved };
        let payload = message::plain(Verb::Proceed, &session.key.sid);
        send_message(&mut self.out, session, &session.to(), payload);
        self.timers.set(Timer::Offer(leg), now + OFFER_LIMIT);
    }

    fn answer(&mut self, now: Instant, leg: LegId, description: Description) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let State::Offered { offer, moved: _ } = &session.state else {
            debug!(%leg, "an answer without an offer");
            return;
        };
        let offer = offer.clone();
        let Some(answered) = answer::as_answer(&offer, description) else {
            self.close(leg, End::from(EndReason::NotAcceptable));
            return;
        };
        let names: Vec<_> = answered.streams.iter().map(|s| s.name.clone()).collect();
        session.wire.described(&answered, &names);
        let next_candidate = &mut session.wire.next_candidate;
        match content::write(&answered, Side::Responder, next_candidate) {
            Ok(contents) => {
                session.state = State::Active {
                    theirs: offer,
                    held: false,
                };
                self.request(Some((now, What::Other)), leg, "session-accept", contents);
            }
            Err(error) => {
                let end = End::because(EndReason::NotAcceptable, error.to_string());
                self.close(leg, end);
            }
        }
    }

    /// Sends candidates one by one: some clients read no more from a stanza.
    fn trickle(&mut self, now: Instant, leg: LegId, trickled: TransportInfo) {
        let TransportInfo {
            stream,
            credentials,
            candidates,
        } = trickled;
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        // Before that, our description says it all.
        if !matches!(session.state, State::Offering { .. } | State::Active { .. }) {
            return;
        }
        let Some((name, ufrag, pwd)) = session.wire.trickle(&stream, credentials) else {
            return;
        };
        let next_id = &mut session.wire.next_candidate;
        let transports: Vec<_> = match candidates.is_empty() {
            true => transport::write_trickle(&ufrag, &pwd, None, next_id)
                .into_iter()
                .collect(),
            false => candidates
                .iter()
                .filter_map(|c| transport::write_trickle(&ufrag, &pwd, Some(c), next_id))
                .collect(),
        };
        for transport in transports {
            let mut content = content::write_name(&name, Side::Initiator);
            content.append_child(transport);
            self.request(Some((now, What::Other)), leg, "transport-info", [content]);
        }
    }
}

/// True if every device of a user that can be called is known to have pictures: which one answers, only
/// the user knows.
fn takes_video(resources: &Resources, user: &BareJid) -> bool {
    let devices = resources.of(user);
    let able = |a: &Abilities| !a.audio || a.video;
    let all = devices
        .iter()
        .all(|d| d.abilities.as_ref().is_some_and(able));
    let any = devices.iter().any(|d| d.abilities.is_some_and(|a| a.video));
    all && any
}

/// The device to call without an invitation: only if every device of the user is known, and none
/// of them understands invitations.
fn sole_device_without_invitations(resources: &Resources, user: &BareJid) -> Option<FullJid> {
    let devices = resources.of(user);
    let deaf =
        |abilities: Option<Abilities>| abilities.is_some_and(|abilities| !abilities.invitations);
    if !devices.iter().all(|device| deaf(device.abilities)) {
        return None;
    }
    let mut able = devices
        .into_iter()
        .filter(|device| device.abilities.is_some_and(|abilities| abilities.audio));
    able.next().map(|device| device.jid)
}
