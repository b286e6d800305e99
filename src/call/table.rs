//! What each event of a leg does to its call.

use std::time::Instant;

use super::endpoints::{Endpoints, LocalEnd};
use super::entry::{Call, Callee, State};
use super::record::EndedBy;
use super::side::TransportNews;
use super::{CallOutput, CallTimer, Calls};
use crate::address::Address;
use crate::border::{MediaCommand, Side};
use crate::description::{Description, Transport, TransportInfo};
use crate::id::{BridgeId, CallId, LegId, Room};
use crate::leg::{End, EndReason, LegCommand, LegEvent, Offering};

/// A call as its caller leg described it.
pub(super) struct Offered {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) display_name: Option<String>,
    pub(super) conceals: bool,
    pub(super) offering: Offering,
    pub(super) trunk: Option<String>,
}

impl Calls {
    /// Takes what a leg tells.
    pub fn leg_event(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        if self.is_moving(leg) {
            return self.moving_event(now, leg, event);
        }
        match event {
            LegEvent::Offered {
                from,
                to,
                display_name,
                conceals,
                offer,
                trunk,
            } => {
                let offered = Offered {
                    from,
                    to,
                    display_name,
                    conceals,
                    offering: offer,
                    trunk,
                };
                self.offered(now, leg, offered);
            }
            LegEvent::Ringing => self.ringing(now, leg, LegCommand::Ring),
            LegEvent::Progress(Some(answer)) if self.bridges_early(leg) => {
                self.early(now, leg, &answer);
            }
            // Sound before the answer is not bridged, so the caller only hears that there is some.
            LegEvent::Progress(_) => self.ringing(now, leg, LegCommand::Progress(None)),
            LegEvent::Answered(answer) => self.answered(now, leg, &answer),
            LegEvent::Updated(offer) => self.updated(now, leg, &offer),
            LegEvent::UpdateAnswered(answer) => self.update_answered(now, leg, &answer),
            LegEvent::UpdateRefused => self.update_refused(now, leg),
            LegEvent::Transport(info) => self.transport_info(now, leg, info),
            LegEvent::Digit(digit) => self.signalled_digit(now, leg, digit),
            LegEvent::Keys(keys) => self.signalled_keys(now, leg, keys),
            LegEvent::Held(held) => {
                if let Some(other) = self.other_leg(leg) {
                    self.tell(other, LegCommand::Hold(held));
                }
            }
            LegEvent::Transfer { to, replaces } => self.transfer(now, leg, &to, replaces),
            LegEvent::Join { with } => self.join(now, leg, with),
            LegEvent::Referred(news) => self.referred(now, leg, news),
            LegEvent::ReferRefused => {
                if let Some(id) = self.by_leg.get(&leg).copied() {
                    self.not_referred(now, id, EndReason::Failed.into());
                }
            }
            LegEvent::Replaces { old, offer, trunk } => {
                self.replaces(now, leg, old, trunk.as_deref(), &offer);
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
                self.calls.insert(id, Box::new(call));
            }
            Err(end) => self.refuse(id, leg, offered, end),
        }
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
            if call.answered.is_some() || leg == call.caller {
                return Ok(());
            }
            call.answered = Some(now);
            table.timers.stop(&(call.id, CallTimer::Ring));
            table.timers.set(
                (call.id, CallTimer::Length),
                now + table.config.call.max_call,
            );
            table.begin_keys(now, call);
            table.connect(now, call, leg, answer)
        });
    }

    /// The sound of a callee leg is for the caller's ears before the answer.
    fn bridges_early(&self, leg: LegId) -> bool {
        let call = self.by_leg.get(&leg).and_then(|id| self.calls.get(id));
        let trunk = call.and_then(|call| {
            let early = call.answered.is_none() && leg != call.caller && leg.room == Room::Sip;
            self.config.trunk(call.trunk.as_deref().filter(|_| early)?)
        });
        trunk.is_some_and(|trunk| trunk.early_media)
    }

    /// Sound comes before the answer: the caller is connected to it. Nothing counts as answered
    /// but the media.
    fn early(&mut self, now: Instant, leg: LegId, answer: &Description) {
        self.with_call(now, leg, |table, call| {
            call.rang.get_or_insert(now);
            let chosen = table.choice(call, answer);
            let is_foreign = matches!(call.state, State::Up)
                && !table.may_differ()
                && chosen != call.caller_media.encoding;
            if is_foreign {
                // Another fork, in a codec that the caller has not. Nobody can be asked for another
                // one before the answer, so the caller goes on hearing what it hears.
                return Ok(());
            }
            table.connect(now, call, leg, answer)
        });
    }

    /// Connects the caller with what the callee has described.
    fn connect(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        answer: &Description,
    ) -> Result<(), End> {
        match &call.state {
            State::Offered | State::Ringing => {
                self.take_winner(call, leg);
                call.state = State::Accepted;
                self.expect_media(now, call);
                self.take_answer(call, Side::Callee, answer)?;
                self.answer_caller(now, call)
            }
            // The caller has heard the callee already; now it is answered, or speaks from elsewhere.
            State::Accepted | State::Connecting => {
                self.take_answer(call, Side::Callee, answer)?;
                self.configure(call, Side::Callee);
                Ok(())
            }
            State::Up => {
                self.take_answer(call, Side::Callee, answer)?;
                self.configure(call, Side::Callee);
                self.configure(call, Side::Caller);
                self.announce(call, Side::Callee);
                self.reconcile(call, leg)
            }
            // The caller's offer had no codec of the sound before the answer.
            State::Renegotiating(offer) => {
                let offer = offer.clone();
                self.take_answer(call, Side::Callee, answer)?;
                if call.answered.is_some() {
                    self.expect_media(now, call);
                    call.state = State::Accepted;
                    return self.late_offer(now, call, &offer);
                }
                Ok(())
            }
        }
    }

    /// Media of a call that is answered must connect in time.
    fn expect_media(&mut self, now: Instant, call: &Call) {
        let limit = now + self.config.call.connect_limit;
        self.timers.set((call.id, CallTimer::Connect), limit);
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

    fn transport_info(&mut self, now: Instant, leg: LegId, info: TransportInfo) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg);
            let worker = call.worker;
            let Some(sound) = call.media_mut(leg) else {
                return Ok(());
            };
            let is_video = sound.is_of_pictures(&info.stream);
            let bridge = match is_video {
                true => call.bridge.of_pictures(),
                false => call.bridge,
            };
            let Some(media) = call.stream_of(leg, is_video) else {
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
                TransportNews::Restart => table.restart_ice(call, leg, is_video),
            }
            Ok(())
        });
    }

    /// Answers an ICE restart with credentials of our own (RFC 8445 §2.4, XEP-0176 §5.10).
    fn restart_ice(&mut self, call: &mut Call, leg: LegId, is_video: bool) {
        let (side, worker) = (call.side_of(leg), call.worker);
        let Some(media) = call.stream_of(leg, is_video) else {
            return;
        };
        let own_port = media.own_port();
        let local = Endpoints::ice_end(&mut self.tokens, own_port);
        let LocalEnd::Ice { ufrag, pwd, .. } = &local else {
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
        let candidates = self.endpoints.candidates(worker, own_port, !mux);
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
                table.answer_offer(now, call, &offer)?;
            }
            if matches!(call.state, State::Up) && !call.awaits_media() {
                table.timers.stop(&(id, CallTimer::Connect));
            }
            Ok(())
        });
    }

    fn other_leg(&self, leg: LegId) -> Option<LegId> {
        let call = self.calls.get(self.by_leg.get(&leg)?)?;
        call.leg(call.side_of(leg).other())
    }

    /// Runs `action` on the call of a leg, with the table at hand; an error ends the call.
    pub(super) fn with_call(
        &mut self,
        now: Instant,
        leg: LegId,
        action: impl FnOnce(&mut Self, &mut Call) -> Result<(), End>,
    ) {
        if let Some(id) = self.by_leg.get(&leg).copied() {
            self.with_id(now, id, action);
        }
    }

    pub(super) fn with_id(
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
            Err(end) => self.close(now, *call, end, EndedBy::Gateway),
        }
    }
}
