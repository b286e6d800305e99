//! What each event of a leg does to its call.

use std::time::Instant;

use super::endpoints::{Endpoints, LocalEnd};
use super::entry::{Call, Callee, State};
use super::negotiate::{self, Encoding};
use super::record::{CallRecord, EndedBy};
use super::side::TransportNews;
use super::{CallOutput, CallTimer, Calls, Closing};
use crate::address::Address;
use crate::border::{BridgeStats, MediaCommand, Side};
use crate::description::{Description, Direction, Setup, Stream, Transport, TransportInfo};
use crate::id::{BridgeId, CallId, LegId, Room};
use crate::leg::{Digit, End, EndReason, LegCommand, LegEvent, Offering};

use std::time::Duration;

/// How long a key is pressed that came by signalling without a length.
const DIGIT_LENGTH: Duration = Duration::from_millis(160);

/// A call as its caller leg described it.
pub(super) struct Offered {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) display_name: Option<String>,
    pub(super) offering: Offering,
    pub(super) trunk: Option<String>,
}

impl Calls {
    /// Takes what a leg tells.
    pub fn leg_event(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        match event {
            LegEvent::Offered {
                from,
                to,
                display_name,
                offer,
                trunk,
            } => {
                let offered = Offered {
                    from,
                    to,
                    display_name,
                    offering: offer,
                    trunk,
                };
                self.offered(now, leg, offered);
            }
            LegEvent::Ringing => self.ringing(now, leg, LegCommand::Ring),
            // Sound before the answer is not bridged, so the caller only hears that there is some.
            LegEvent::Progress(_) => self.ringing(now, leg, LegCommand::Progress(None)),
            LegEvent::Answered(answer) => self.answered(now, leg, &answer),
            LegEvent::Updated(offer) => self.updated(now, leg, &offer),
            LegEvent::UpdateAnswered(answer) => self.update_answered(now, leg, &answer),
            LegEvent::UpdateRefused => self.update_refused(now, leg),
            LegEvent::Transport(info) => self.transport_info(now, leg, info),
            LegEvent::Digit(digit) => self.signalled_digit(now, leg, digit),
            LegEvent::Held(held) => {
                if let Some(other) = self.other_leg(leg) {
                    self.tell(other, LegCommand::Hold(held));
                }
            }
            LegEvent::Ended(end) => self.ended(now, leg, end),
        }
    }

    fn offered(&mut self, now: Instant, leg: LegId, offered: Offered) {
        self.last_call += 1;
        let id = CallId(self.last_call);
        match self.place(now, id, leg, &offered) {
            Ok(call) => {
                tracing::debug!(call = %id, trunk = call.trunk.as_deref(), "call offered");
                self.calls.insert(id, call);
            }
            Err(end) => self.refuse(id, leg, offered, end),
        }
    }

    /// Refuses a call that never had a place in the table.
    fn refuse(&mut self, call: CallId, leg: LegId, offered: Offered, end: End) {
        self.tell(leg, LegCommand::End(end.clone()));
        let Offered {
            from,
            to,
            display_name: _,
            offering: _,
            trunk,
        } = offered;
        let record = CallRecord {
            call,
            from,
            to,
            trunk,
            rang_after: None,
            answered_after: None,
            duration: Duration::ZERO,
            end,
            ended_by: EndedBy::Gateway,
            encoding: None,
            stats: BridgeStats::default(),
        };
        self.record(Box::new(record));
    }

    pub(super) fn uncount_trunk(&mut self, name: &str) {
        if let Some(count) = self.trunk_calls.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn forget_counts(&mut self, call: &Call) {
        if let Some(user) = &call.user {
            self.users.close(user);
        }
        if let Some(trunk) = &call.trunk {
            self.uncount_trunk(trunk);
        }
    }

    /// Sends the worker a side's whole state.
    pub(super) fn configure(&mut self, call: &mut Call, side: Side) {
        let bind = self.endpoints.facts().rtp_bind;
        let answered = matches!(call.state, State::Up);
        let limit = answered.then_some(self.config.call.silence_limit);
        let (bridge, worker) = (call.bridge, call.worker);
        let Some(media) = call.side_mut(side) else {
            return;
        };
        media.configured = true;
        let spec = Box::new(media.spec(bind, limit));
        call.has_bridge = true;
        let command = MediaCommand::Configure { bridge, side, spec };
        self.outputs.push_back(CallOutput::Media(worker, command));
    }

    fn ringing(&mut self, now: Instant, leg: LegId, told: LegCommand) {
        self.with_call(now, leg, |table, call| {
            if !call.state.is_answered() && leg != call.caller {
                call.rang.get_or_insert(now);
                call.state = State::Ringing;
                table.tell(call.caller, told);
            }
            Ok(())
        });
    }

    /// Tells the caller that it rings, since nobody else does: Conversations tells strangers
    /// nothing, and Borogove nobody.
    pub(super) fn ring_back(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let State::Offered = call.state {
            call.state = State::Ringing;
            let caller = call.caller;
            self.tell(caller, LegCommand::Ring);
        }
    }

    fn answered(&mut self, now: Instant, leg: LegId, answer: &Description) {
        self.with_call(now, leg, |table, call| {
            if call.state.is_answered() || leg == call.caller {
                return Ok(());
            }
            table.take_winner(call, leg);
            call.answered = Some(now);
            call.state = State::Accepted;
            table.timers.stop(&(call.id, CallTimer::Ring));
            table.timers.set(
                (call.id, CallTimer::Length),
                now + table.config.call.max_call,
            );
            table.timers.set(
                (call.id, CallTimer::Connect),
                now + table.config.call.connect_limit,
            );
            table.take_answer(call, Side::Callee, answer)?;
            table.answer_caller(call)
        });
    }

    /// The first callee that answers has the call; the others are told.
    fn take_winner(&mut self, call: &mut Call, leg: LegId) {
        let (winner, losers): (Vec<Callee>, Vec<Callee>) =
            call.callees.drain(..).partition(|callee| callee.leg == leg);
        call.callees = winner;
        for loser in losers {
            self.by_leg.remove(&loser.leg);
            self.tell(
                loser.leg,
                LegCommand::End(EndReason::AnsweredElsewhere.into()),
            );
        }
    }

    /// Takes the answer to an offer of ours; the worker hears of it from whoever asked.
    fn take_answer(
        &mut self,
        call: &mut Call,
        side: Side,
        answer: &Description,
    ) -> Result<(), End> {
        let media = call.side_mut(side).ok_or(EndReason::Failed)?;
        let (Some(ours), Some(theirs)) = (&media.ours, answer.audio()) else {
            return Err(End::because(
                EndReason::NotAcceptable,
                "the answer has no audio",
            ));
        };
        if let Transport::Ice(ice) = &theirs.transport
            && ice.fingerprint.is_none()
        {
            return Err(End::because(
                EndReason::Security,
                "an answer without DTLS-SRTP",
            ));
        }
        let (encoding, format) = negotiate::chosen(ours, theirs).ok_or_else(|| {
            End::because(
                EndReason::NotAcceptable,
                "the answer has no codec of the offer",
            )
        })?;
        media.format = Some(format);
        media.set_peer(theirs);
        call.encoding = Some(encoding);
        Ok(())
    }

    /// The callee has answered: what the caller hears of it depends on what it has described.
    fn answer_caller(&mut self, call: &mut Call) -> Result<(), End> {
        let caller = call.caller;
        match call.offering.clone() {
            Offering::Later(_) => {
                self.configure(call, Side::Callee);
                self.tell(caller, LegCommand::Accept);
            }
            Offering::Described(_) if call.callee_connects() => {
                call.state = State::Connecting;
                self.configure(call, Side::Callee);
            }
            Offering::Described(offer) => self.answer_offer(call, &offer)?,
            Offering::Delayed => {
                let encodings: Vec<Encoding> = call.encoding.into_iter().collect();
                let description = self.own_offer(call, caller, &encodings);
                self.tell(caller, LegCommand::Answer(description));
                self.up(call);
            }
        }
        Ok(())
    }

    /// Answers the caller's offer with the encoding that the callee has.
    fn answer_offer(&mut self, call: &mut Call, offer: &Description) -> Result<(), End> {
        let caller = call.caller;
        let answer = self.take_offer(call, caller, offer)?;
        self.up(call);
        self.tell(caller, LegCommand::Answer(answer));
        Ok(())
    }

    /// Both sides know each other: sound may flow, and silence counts.
    fn up(&mut self, call: &mut Call) {
        call.state = State::Up;
        self.configure(call, Side::Caller);
        self.configure(call, Side::Callee);
        if !call.awaits_media() {
            self.timers.stop(&(call.id, CallTimer::Connect));
        }
    }

    /// Takes an offer in and writes its answer.
    fn take_offer(
        &mut self,
        call: &mut Call,
        leg: LegId,
        offer: &Description,
    ) -> Result<Description, End> {
        let encoding = call.encoding.ok_or(EndReason::Failed)?;
        let worker = call.worker;
        let no_audio = || End::because(EndReason::NotAcceptable, "the offer has no audio");
        let audio = offer.audio().ok_or_else(no_audio)?;
        let setup = peer_setup(audio)?;
        let fresh = Endpoints::ice_end(&mut self.tokens);
        let media = call.media_mut(leg).ok_or(EndReason::Failed)?;
        media.meet(audio, fresh);
        let mux = match &audio.transport {
            Transport::Ice(ice) => ice.rtcp_mux,
            Transport::Rtp(_) => false,
        };
        let transport = self
            .endpoints
            .transport(worker, &media.local, setup.answered(), mux, !mux);
        let direction = audio.direction.reversed();
        let (stream, format) = negotiate::answer(audio, encoding, transport, direction)
            .ok_or_else(|| {
                let text = format!("the offer lacks {}", encoding.name());
                End::because(EndReason::NotAcceptable, text)
            })?;
        media.set_peer(audio);
        media.format = Some(format);
        media.ours = Some(stream.clone());
        let mut streams = Vec::with_capacity(offer.streams.len());
        for offered in &offer.streams {
            let is_audio = std::ptr::eq(offered, audio);
            streams.push(if is_audio {
                stream.clone()
            } else {
                beside(offered, &stream)
            });
        }
        Ok(Description {
            streams,
            bundle: offer.bundle,
        })
    }

    /// An offer of ours to a leg that has none, or needs another one.
    fn own_offer(&mut self, call: &mut Call, leg: LegId, encodings: &[Encoding]) -> Description {
        let worker = call.worker;
        let mut streams = Vec::new();
        if let Some(media) = call.media_mut(leg) {
            let stream = self.offered_stream(worker, leg.room, &media.local, encodings);
            media.ours = Some(stream.clone());
            streams.push(stream);
        }
        Description {
            streams,
            bundle: leg.room == Room::Xmpp,
        }
    }

    fn updated(&mut self, now: Instant, leg: LegId, offer: &Description) {
        self.with_call(now, leg, |table, call| match &call.state {
            State::Accepted if leg == call.caller => table.late_offer(call, offer),
            State::Up => {
                table.new_offer(call, leg, offer);
                Ok(())
            }
            State::Offered
            | State::Ringing
            | State::Accepted
            | State::Renegotiating(_)
            | State::Connecting => {
                table.tell(leg, LegCommand::Refuse);
                Ok(())
            }
        });
    }

    /// The offer of a caller that was asked for it.
    fn late_offer(&mut self, call: &mut Call, offer: &Description) -> Result<(), End> {
        let offered = offer.audio().map(negotiate::encodings).unwrap_or_default();
        if call
            .encoding
            .is_some_and(|encoding| offered.contains(&encoding))
        {
            return self.answer_offer(call, offer);
        }
        let common: Vec<Encoding> = call
            .encodings
            .iter()
            .copied()
            .filter(|e| offered.contains(e))
            .collect();
        let callee = call.leg(Side::Callee).ok_or(EndReason::Failed)?;
        if common.is_empty() {
            return Err(End::because(EndReason::NotAcceptable, "no codec in common"));
        }
        let description = self.own_offer(call, callee, &common);
        call.state = State::Renegotiating(offer.clone());
        self.tell(callee, LegCommand::Update(description));
        Ok(())
    }

    /// A new offer within a running call: hold, a new address, another payload type.
    fn new_offer(&mut self, call: &mut Call, leg: LegId, offer: &Description) {
        let side = call.side_of(leg);
        let was_held = call.media_mut(leg).is_some_and(|media| media.is_held());
        match self.take_offer(call, leg, offer) {
            Ok(answer) => {
                self.configure(call, side);
                self.tell(leg, LegCommand::Answer(answer));
                let held = call.media_mut(leg).is_some_and(|media| media.is_held());
                if let (true, Some(other)) = (held != was_held, call.leg(side.other())) {
                    self.tell(other, LegCommand::Hold(held));
                }
            }
            Err(end) => {
                tracing::debug!(call = %call.id, reason = %end.reason, "new offer refused");
                self.tell(leg, LegCommand::Refuse);
            }
        }
    }

    fn update_answered(&mut self, now: Instant, leg: LegId, answer: &Description) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg);
            let renegotiating = match &call.state {
                State::Renegotiating(offer) => Some(offer.clone()),
                State::Up => None,
                State::Offered | State::Ringing | State::Accepted | State::Connecting => {
                    return Ok(());
                }
            };
            table.take_answer(call, side, answer)?;
            match renegotiating {
                Some(offer) => table.answer_offer(call, &offer),
                None => {
                    table.configure(call, side);
                    Ok(())
                }
            }
        });
    }

    fn update_refused(&mut self, now: Instant, leg: LegId) {
        self.with_call(now, leg, |_, call| match call.state {
            State::Renegotiating(_) => {
                Err(End::because(EndReason::NotAcceptable, "no codec in common"))
            }
            State::Offered | State::Ringing | State::Accepted | State::Connecting | State::Up => {
                Ok(())
            }
        });
    }

    fn transport_info(&mut self, now: Instant, leg: LegId, info: TransportInfo) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg);
            let (bridge, worker) = (call.bridge, call.worker);
            let Some(media) = call.media_mut(leg) else {
                return Ok(());
            };
            match media.transport_info(info) {
                TransportNews::Candidates(candidates) => {
                    if media.configured && !candidates.is_empty() {
                        let command = MediaCommand::Candidates {
                            bridge,
                            side,
                            candidates,
                        };
                        table.outputs.push_back(CallOutput::Media(worker, command));
                    }
                }
                TransportNews::Restart => table.restart_ice(call, leg, side),
            }
            Ok(())
        });
    }

    /// Answers an ICE restart with credentials of our own (RFC 8445 §2.4, XEP-0176 §5.10).
    fn restart_ice(&mut self, call: &mut Call, leg: LegId, side: Side) {
        let local = Endpoints::ice_end(&mut self.tokens);
        let worker = call.worker;
        let Some(media) = call.media_mut(leg) else {
            return;
        };
        let LocalEnd::Ice { ufrag, pwd } = &local else {
            return;
        };
        let credentials = Some((ufrag.clone(), pwd.clone()));
        let Some((stream, mux)) = media.peer.as_ref().and_then(|peer| match &peer.transport {
            Transport::Ice(ice) => Some((peer.name.clone(), ice.rtcp_mux)),
            Transport::Rtp(_) => None,
        }) else {
            return;
        };
        media.local = local;
        let candidates = self.endpoints.candidates(worker, !mux);
        self.configure(call, side);
        self.tell(
            leg,
            LegCommand::Transport(TransportInfo {
                stream,
                credentials,
                candidates,
            }),
        );
    }

    fn signalled_digit(&mut self, now: Instant, leg: LegId, digit: Digit) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg).other();
            let (bridge, worker) = (call.bridge, call.worker);
            let has_events = call
                .side_mut(side)
                .and_then(|media| media.format.as_ref())
                .is_some_and(|format| format.send_digits.is_some());
            if has_events {
                let command = MediaCommand::Digit {
                    bridge,
                    side,
                    digit,
                    duration: DIGIT_LENGTH,
                };
                table.outputs.push_back(CallOutput::Media(worker, command));
            } else if let Some(other) = call.leg(side) {
                table.tell(other, LegCommand::Digit(digit));
            }
            Ok(())
        });
    }

    pub(super) fn media_connected(&mut self, now: Instant, bridge: BridgeId, side: Side) {
        let Some(id) = self.by_bridge.get(&bridge).copied() else {
            return;
        };
        self.with_id(now, id, |table, call| {
            if let Some(media) = call.side_mut(side) {
                media.connected = true;
            }
            let connected = matches!(call.state, State::Connecting) && !call.callee_connects();
            if let (true, Offering::Described(offer)) = (connected, call.offering.clone()) {
                table.answer_offer(call, &offer)?;
            }
            if matches!(call.state, State::Up) && !call.awaits_media() {
                table.timers.stop(&(id, CallTimer::Connect));
            }
            Ok(())
        });
    }

    fn ended(&mut self, now: Instant, leg: LegId, end: End) {
        let Some(id) = self.by_leg.get(&leg).copied() else {
            return;
        };
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        self.by_leg.remove(&leg);
        if leg == call.caller {
            let answered = call.state.is_answered();
            let end = if answered || end.reason != EndReason::Hangup {
                end
            } else {
                End {
                    reason: EndReason::Cancelled,
                    ..end
                }
            };
            self.close(now, call, end, EndedBy::Caller);
            return;
        }
        let answered = call.state.is_answered();
        call.callees.retain(|callee| callee.leg != leg);
        if !answered && !call.callees.is_empty() {
            self.calls.insert(id, call);
            return;
        }
        if !answered && is_worth_another_trunk(end.reason) && !call.trunks.is_empty() {
            if let Some(trunk) = call.trunk.take() {
                self.uncount_trunk(&trunk);
            }
            // The next trunk needs the bridge's callee side for itself, and gets a port of its own.
            match self.try_next_trunk(now, &mut call) {
                Ok(()) => {
                    self.calls.insert(id, call);
                }
                Err(_) => self.close(now, call, end, EndedBy::Callee),
            }
            return;
        }
        self.close(now, call, end, EndedBy::Callee);
    }

    /// Ends a call from our side.
    pub(super) fn end_call(&mut self, now: Instant, id: CallId, end: End, by: EndedBy) {
        if let Some(call) = self.calls.remove(&id) {
            self.close(now, call, end, by);
        }
    }

    /// Takes leave of both sides, in the order that ends sound first.
    fn close(&mut self, now: Instant, call: Call, end: End, by: EndedBy) {
        let id = call.id;
        for timer in CallTimer::ALL {
            self.timers.stop(&(id, timer));
        }
        self.by_bridge.remove(&call.bridge);
        self.forget_counts(&call);
        if self.by_leg.remove(&call.caller).is_some() {
            self.tell(call.caller, LegCommand::End(end.clone()));
        }
        for callee in &call.callees {
            if self.by_leg.remove(&callee.leg).is_some() {
                self.tell(callee.leg, LegCommand::End(end.clone()));
            }
        }
        let record = Box::new(call.record(now, end, by));
        let (bridge, worker) = (call.bridge, call.worker);
        let has_bridge = call.has_bridge;
        let closing = Closing {
            record,
            worker,
            ports: call.ports,
        };
        if has_bridge {
            self.closing.insert(bridge, closing);
            self.outputs
                .push_back(CallOutput::Media(worker, MediaCommand::Close { bridge }));
        } else {
            self.release(now, closing);
        }
    }

    fn other_leg(&self, leg: LegId) -> Option<LegId> {
        let call = self.calls.get(self.by_leg.get(&leg)?)?;
        call.leg(call.side_of(leg).other())
    }

    /// Runs `action` on the call of a leg, with the table at hand; an error ends the call.
    fn with_call(
        &mut self,
        now: Instant,
        leg: LegId,
        action: impl FnOnce(&mut Self, &mut Call) -> Result<(), End>,
    ) {
        if let Some(id) = self.by_leg.get(&leg).copied() {
            self.with_id(now, id, action);
        }
    }

    fn with_id(
        &mut self,
        now: Instant,
        id: CallId,
        action: impl FnOnce(&mut Self, &mut Call) -> Result<(), End>,
    ) {
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        match action(self, &mut call) {
            Ok(()) => {
                self.calls.insert(id, call);
            }
            Err(end) => self.close(now, call, end, EndedBy::Gateway),
        }
    }
}

/// The DTLS role that a stream's peer wants; a stream behind ICE must have one.
pub(super) fn peer_setup(stream: &Stream) -> Result<Setup, End> {
    match &stream.transport {
        Transport::Rtp(_) => Ok(Setup::Actpass),
        Transport::Ice(ice) => match &ice.fingerprint {
            Some(fingerprint) => Ok(fingerprint.setup),
            None => Err(End::because(
                EndReason::Security,
                "an offer without DTLS-SRTP",
            )),
        },
    }
}

/// The answer to a stream that is not bridged: video is received and thrown away where the caller
/// insists on having it answered (XEP-0166 wants every content answered), and refused in SDP.
fn beside(offered: &Stream, audio: &Stream) -> Stream {
    let is_jingle = matches!(audio.transport, Transport::Ice(_));
    Stream {
        name: offered.name.clone(),
        media: offered.media,
        codecs: offered.codecs.iter().take(1).cloned().collect(),
        direction: if is_jingle {
            Direction::Receive
        } else {
            Direction::Inactive
        },
        ptime_ms: None,
        maxptime_ms: None,
        transport: audio.transport.clone(),
        rejected: !is_jingle,
    }
}

/// Failures of the network, not of the callee, are worth another trunk.
fn is_worth_another_trunk(reason: EndReason) -> bool {
    match reason {
        EndReason::NoRoute | EndReason::Overloaded | EndReason::Failed => true,
        EndReason::Hangup
        | EndReason::Cancelled
        | EndReason::AnsweredElsewhere
        | EndReason::Busy
        | EndReason::Declined
        | EndReason::NoAnswer
        | EndReason::Unavailable
        | EndReason::NotFound
        | EndReason::Forbidden
        | EndReason::NotAcceptable
        | EndReason::Security
        | EndReason::Connectivity
        | EndReason::Silent
        | EndReason::TooLong
        | EndReason::PeerGone
        | EndReason::ProtocolError
        | EndReason::Shutdown => false,
    }
}
