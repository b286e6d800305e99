//! Calls that move on: a peer asks us to call somebody in its place (a transfer), or somebody comes
//! in the place of a peer. The other side of the call notices nothing but the new voice.

use std::time::Instant;

use jid::BareJid;

use super::entry::{Call, Callee, State};
use super::negotiate::{self, Encoding};
use super::place::limit_end;
use super::record::EndedBy;
use super::side::SideMedia;
use super::{CallTimer, Calls};
use crate::address::Address;
use crate::border::Side;
use crate::description::{Description, Transport};
use crate::id::{CallId, LegId, Role, Room};
use crate::leg::{End, EndReason, LegCommand, LegEvent, Transfer};

/// A leg that is called to take the place of another.
#[derive(Debug)]
pub(super) struct Moving {
    /// The leg that asked for it.
    pub(super) by: LegId,
    /// It has hung up meanwhile, as many do at once.
    pub(super) gone: bool,
    /// The leg that is called.
    pub(super) callee: Callee,
    /// Its trunk.
    pub(super) trunk: String,
}

impl Calls {
    /// A peer asks us to call `to` in its place.
    pub(super) fn transfer(
        &mut self,
        now: Instant,
        leg: LegId,
        to: &Address,
        replaces: Option<String>,
    ) {
        self.with_call(now, leg, |table, call| {
            let begun = match leg.room {
                Room::Xmpp => table.hand_on(now, call, leg, to),
                Room::Sip => table.take_on(now, call, leg, to, replaces),
            };
            match begun {
                Ok(()) => tracing::debug!(call = %call.id, "transfer begins"),
                Err(end) => table.tell(leg, LegCommand::Transfer(Transfer::Failed(end))),
            }
            Ok(())
        });
    }

    /// A telephone wants the user whom it talks to to talk to `to`.
    fn take_on(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        to: &Address,
        replaces: Option<String>,
    ) -> Result<(), End> {
        // Whoever stays in the call makes the new one, and needs the right to.
        let stays = call.leg(call.side_of(leg).other());
        let user = stays.and_then(|stays| call.user_of(stays)).cloned();
        let user = user.ok_or_else(|| {
            End::because(EndReason::Forbidden, "nobody stays who may make the call")
        })?;
        Self::can_move(call, leg)?;
        self.dialplan
            .outgoing(&user, to)
            .map_err(|refusal| End::because(refusal.reason, refusal.text))?;
        // It counts as a call of the user in a minute, and runs in the place of the one that it ends.
        let per_minute = self.config.access.calls_per_minute;
        self.users
            .open(now, &user, u32::MAX, per_minute)
            .map_err(limit_end)?;
        self.users.close(&user);
        self.begin_transfer(now, call, leg, &user, to, replaces)
    }

    /// What is spoken where `leg` may be replaced; an error if this is no point of the call to do so.
    fn can_move(call: &mut Call, leg: LegId) -> Result<Encoding, End> {
        let running = matches!(call.state, State::Up) && call.answered.is_some();
        let is_idle = call.moving.is_none() && call.referring.is_none();
        let stays = call.side_of(leg).other();
        let spoken = call.side_mut(stays).and_then(|media| media.encoding);
        spoken.filter(|_| running && is_idle).ok_or_else(|| {
            End::because(
                EndReason::NotAcceptable,
                "no transfer at this point of a call",
            )
        })
    }

    /// Calls `to` in the place of `leg`, with the rights of `user`.
    pub(super) fn begin_transfer(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        user: &BareJid,
        to: &Address,
        replaces: Option<String>,
    ) -> Result<(), End> {
        let encoding = Self::can_move(call, leg)?;
        let stays = call.side_of(leg).other();
        let outgoing = self
            .dialplan
            .outgoing(user, to)
            .map_err(|refusal| End::because(refusal.reason, refusal.text))?;
        let trunk = self
            .trunk_for(&outgoing.trunks, encoding)
            .ok_or_else(|| End::because(EndReason::NoRoute, "no trunk for the transfer"))?;
        let local = self.local_end(now, call, Room::Sip)?;
        *self.trunk_calls.entry(trunk.clone()).or_default() += 1;
        self.last_leg += 1;
        let callee = LegId {
            room: Room::Sip,
            role: Role::Callee,
            number: self.last_leg,
        };
        let mut media = SideMedia::new(local, self.keying(Some(&trunk)), true);
        media.habits = self.habits(Some(&trunk));
        let mut stream = self.offered_stream(call.worker, Room::Sip, &media, &[encoding]);
        let beyond = call.side_mut(stays).and_then(|media| media.peer.as_ref());
        negotiate::ask_for_packets(&mut stream, beyond);
        media.ours = Some(stream.clone());
        self.by_leg.insert(callee, call.id);
        call.moving = Some(Moving {
            by: leg,
            gone: false,
            callee: Callee {
                leg: callee,
                user: None,
                media,
            },
            trunk: trunk.clone(),
        });
        self.timers.set(
            (call.id, CallTimer::Transfer),
            now + self.config.call.ring_limit,
        );
        let command = LegCommand::Offer {
            from: outgoing.caller,
            to: to.clone(),
            display_name: None,
            offer: Description {
                streams: vec![stream],
                bundle: false,
            },
            trunk: Some(trunk),
            replaces,
        };
        self.tell(callee, command);
        Ok(())
    }

    /// The first trunk that has room and speaks what the call speaks.
    fn trunk_for(&self, names: &[String], encoding: Encoding) -> Option<String> {
        let fits = |name: &&String| {
            let known = self.config.trunks.iter().find(|trunk| trunk.name == **name);
            known.is_some_and(|trunk| {
                let running = self.trunk_calls.get(*name).copied().unwrap_or(0);
                let speaks = |codec: &String| Encoding::named(codec) == Some(encoding);
                trunk.max_calls.is_none_or(|max| running < max) && trunk.codecs.iter().any(speaks)
            })
        };
        names.iter().find(fits).cloned()
    }

    /// True for a leg that is called to take the place of another.
    pub(super) fn is_moving(&self, leg: LegId) -> bool {
        let call = self.by_leg.get(&leg).and_then(|id| self.calls.get(id));
        call.and_then(|call| call.moving.as_ref())
            .is_some_and(|moving| moving.callee.leg == leg)
    }

    /// What a leg tells that is to take the place of another.
    pub(super) fn moving_event(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        match event {
            LegEvent::Ringing | LegEvent::Progress(_) => self.with_call(now, leg, |table, call| {
                if let Some(moving) = &call.moving {
                    table.tell(moving.by, LegCommand::Transfer(Transfer::Ringing));
                }
                Ok(())
            }),
            LegEvent::Answered(answer) => self.with_call(now, leg, |table, call| {
                table.timers.stop(&(call.id, CallTimer::Transfer));
                let Some(moving) = call.moving.take() else {
                    return Ok(());
                };
                let Moving {
                    by,
                    gone,
                    mut callee,
                    trunk,
                } = moving;
                table.pass_trunk(call, by, callee.leg, trunk);
                table.tell(by, LegCommand::Transfer(Transfer::Done));
                if let (true, Some(media)) = (gone, call.media_mut(by)) {
                    // It has kept the place.
                    std::mem::swap(media, &mut callee.media);
                }
                let side = table.take_place(call, by, callee);
                table.take_answer(call, side, &answer)?;
                table.configure(call, side);
                Ok(())
            }),
            LegEvent::Ended(end) => {
                if let Some(id) = self.by_leg.remove(&leg) {
                    self.transfer_failed(now, id, end);
                }
            }
            // It has nothing to offer, to press or to hold before it has answered.
            LegEvent::Offered { .. }
            | LegEvent::Updated(_)
            | LegEvent::UpdateAnswered(_)
            | LegEvent::UpdateRefused
            | LegEvent::Transport(_)
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

    /// A leg has ended. True if its place is kept until somebody has taken it, since it had asked
    /// for that: many hang up at once then.
    pub(super) fn keep_place(&mut self, call: &mut Call, leg: LegId) -> bool {
        if let Some(referring) = &mut call.referring
            && referring.by == leg
        {
            referring.gone = true;
            return true;
        }
        let Some(mut moving) = call
            .moving
            .take_if(|moving| moving.by == leg && !moving.gone)
        else {
            return false;
        };
        moving.gone = true;
        self.drop_video(call);
        // Its own end is no longer there to be heard, and its silence is no fault.
        if let Some(media) = call.media_mut(leg) {
            std::mem::swap(media, &mut moving.callee.media);
        }
        call.moving = Some(moving);
        self.configure(call, call.side_of(leg));
        true
    }

    /// The count of a trunk goes from a leg to the one that takes its place. A user's leg has none.
    fn pass_trunk(&mut self, call: &mut Call, old: LegId, new: LegId, trunk: String) {
        let second = call.second_trunk.as_ref().map(|(leg, _)| *leg);
        let before = match old.room {
            Room::Sip if second != Some(old) => call.trunk.replace(trunk),
            Room::Sip | Room::Xmpp => {
                let before = call.second_trunk.replace((new, trunk));
                before.map(|(_, trunk)| trunk)
            }
        };
        if let Some(before) = before {
            self.uncount_trunk(&before);
        }
    }

    /// Nobody took the place in time.
    pub(super) fn transfer_late(&mut self, now: Instant, id: CallId) {
        let late = End::from(EndReason::NoAnswer);
        let referring = self
            .calls
            .get(&id)
            .is_some_and(|call| call.referring.is_some());
        match referring {
            true => self.not_referred(now, id, late),
            false => self.transfer_failed(now, id, late),
        }
    }

    fn transfer_failed(&mut self, now: Instant, id: CallId, end: End) {
        self.timers.stop(&(id, CallTimer::Transfer));
        let moving = self.calls.get_mut(&id).and_then(|call| call.moving.take());
        let Some(moving) = moving else {
            return;
        };
        self.drop_moving(&moving, &end);
        match moving.gone {
            true => self.end_call(now, id, end, EndedBy::Callee),
            false => self.tell(moving.by, LegCommand::Transfer(Transfer::Failed(end))),
        }
    }

    /// Gives up the leg that was to take a place.
    pub(super) fn drop_moving(&mut self, moving: &Moving, end: &End) {
        self.uncount_trunk(&moving.trunk);
        if self.by_leg.remove(&moving.callee.leg).is_some() {
            self.tell(moving.callee.leg, LegCommand::End(end.clone()));
        }
    }

    /// Puts `new` in the place of `old`, which takes its leave.
    pub(super) fn take_place(&mut self, call: &mut Call, old: LegId, new: Callee) -> Side {
        let side = call.side_of(old);
        self.drop_video(call);
        match side {
            Side::Caller => {
                call.caller = new.leg;
                call.caller_media = new.media;
            }
            Side::Callee => call.callees = vec![new],
        }
        if self.by_leg.remove(&old).is_some() {
            self.tell(old, LegCommand::End(EndReason::Hangup.into()));
        }
        side
    }

    /// Somebody comes with an offer in the place of the leg `old`.
    pub(super) fn replaces(
        &mut self,
        now: Instant,
        leg: LegId,
        old: LegId,
        trunk: Option<&str>,
        offer: &Description,
    ) {
        let mut taken = false;
        self.with_call(now, old, |table, call| {
            let running = matches!(call.state, State::Up) && call.answered.is_some();
            let keying = table.keying(trunk);
            let stays = call.side_of(old).other();
            let spoken = call.side_mut(stays).and_then(|media| media.encoding);
            let speaks = offer.audio().is_some_and(|audio| {
                let keyed = match &audio.transport {
                    Transport::Rtp(rtp) => keying.check(rtp).is_ok(),
                    Transport::Ice(_) => false,
                };
                keyed && spoken.is_some_and(|e| negotiate::encodings(audio).contains(&e))
            });
            if !running || !speaks || call.moving.is_some() {
                return Ok(());
            }
            let Ok(local) = table.local_end(now, call, Room::Sip) else {
                return Ok(());
            };
            taken = true;
            table.by_leg.insert(leg, call.id);
            let mut media = SideMedia::new(local, keying, false);
            media.habits = table.habits(trunk);
            let new = Callee {
                leg,
                user: None,
                media,
            };
            let side = table.take_place(call, old, new);
            let answer = table.take_offer(now, call, leg, offer)?;
            table.configure(call, side);
            table.tell(leg, LegCommand::Answer(answer));
            Ok(())
        });
        if !taken {
            self.tell(leg, LegCommand::End(EndReason::Declined.into()));
        }
    }
}
