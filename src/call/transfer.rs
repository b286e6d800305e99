//! Calls that move on: a peer asks us to call somebody in its place (a transfer), or somebody comes
//! in the place of a peer. The other side of the call notices nothing but the new voice.

use std::collections::VecDeque;
use std::time::Instant;

use jid::BareJid;

use super::endpoints::LocalEnd;
use super::entry::{Call, Callee, State};
use super::negotiate::{self, Encoding};
use super::place::limit_end;
use super::record::EndedBy;
use super::side::SideMedia;
use super::{CallTimer, Calls, ending};
use crate::address::Address;
use crate::border::Side;
use crate::description::{Description, Transport};
use crate::id::{CallId, LegId, Room};
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
    wanted: Wanted,
}

/// Who is called in a transfer, and how.
#[derive(Debug)]
pub(super) struct Wanted {
    from: Address,
    pub(super) to: Address,
    replaces: Option<String>,
    /// Trunks that were not tried yet.
    pub(super) trunks: VecDeque<String>,
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
        let wanted = self.wanted(call, leg, &user, to, replaces)?;
        self.count_transfer(now, call, &user)?;
        self.begin_transfer(now, call, leg, wanted)
    }

    /// Counts a call that is made within another one: against those of the user in a minute; and, since
    /// it runs in the place of the one that it ends, against those at a time unless that one does.
    pub(super) fn count_transfer(
        &mut self,
        now: Instant,
        call: &mut Call,
        user: &BareJid,
    ) -> Result<(), End> {
        let access = &self.config.access;
        let (at_a_time, per_minute) = match call.user {
            Some(_) => (u32::MAX, access.calls_per_minute),
            None => (access.max_calls_per_user, access.calls_per_minute),
        };
        self.users
            .open(now, user, at_a_time, per_minute)
            .map_err(limit_end)?;
        match call.user {
            Some(_) => self.users.close(user),
            None => {
                call.user = Some(user.clone());
                call.counts_for_transfer = true;
            }
        }
        Ok(())
    }

    /// The transfer came to nothing, so the call is none of the user's.
    pub(super) fn uncount_transfer(&mut self, call: &mut Call) {
        if std::mem::take(&mut call.counts_for_transfer)
            && let Some(user) = call.user.take()
        {
            self.users.close(&user);
        }
    }

    /// A call to `to` in the place of `leg`, with the rights of `user`; an error if there is none, or if
    /// this is no point of the call for one.
    pub(super) fn wanted(
        &self,
        call: &mut Call,
        leg: LegId,
        user: &BareJid,
        to: &Address,
        replaces: Option<String>,
    ) -> Result<Wanted, End> {
        let stays = call.side_of(leg).other();
        let speaks = call.side_mut(stays).is_some_and(|m| m.encoding.is_some());
        if !speaks || !call.is_settled() {
            return Err(End::because(
                EndReason::NotAcceptable,
                "no transfer at this point of a call",
            ));
        }
        let outgoing = self
            .dialplan
            .outgoing(user, to)
            .map_err(|refusal| End::because(refusal.reason, refusal.text))?;
        Ok(Wanted {
            // Whom a hidden channel conceals is concealed from everybody whom the call comes to.
            from: match call.conceals {
                true => Address::Anonymous,
                false => outgoing.caller,
            },
            to: to.clone(),
            replaces,
            trunks: self.by_health(outgoing.trunks),
        })
    }

    /// Calls whoever is `wanted` in the place of `leg`. If that cannot even begin, the call counts as
    /// before.
    pub(super) fn begin_transfer(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        wanted: Wanted,
    ) -> Result<(), End> {
        if let Err(end) = self.next_move(now, call, leg, wanted) {
            self.uncount_transfer(call);
            return Err(end);
        }
        let limit = now + self.config.call.ring_limit;
        self.timers.set((call.id, CallTimer::Transfer), limit);
        Ok(())
    }

    /// Calls over the next trunk that will do.
    fn next_move(
        &mut self,
        now: Instant,
        call: &mut Call,
        by: LegId,
        mut wanted: Wanted,
    ) -> Result<(), End> {
        let stays = call.side_of(by).other();
        let spoken = call.side_mut(stays).and_then(|media| media.encoding);
        let spoken: Vec<Encoding> = spoken.into_iter().collect();
        let (trunk, encodings) = self.next_trunk(&mut wanted.trunks, &spoken)?;
        let place = (Room::Sip, Some(trunk.as_str()));
        let (callee, media, stream) = self.new_callee(now, call, place, &encodings, stays)?;
        self.count_at(&trunk);
        self.by_leg.insert(callee, call.id);
        let command = LegCommand::Offer {
            from: wanted.from.clone(),
            to: wanted.to.clone(),
            display_name: None,
            offer: Description {
                streams: vec![stream],
                bundle: false,
            },
            trunk: Some(trunk.clone()),
            replaces: wanted.replaces.clone(),
        };
        call.moving = Some(Moving {
            by,
            gone: false,
            callee: Callee {
                leg: callee,
                user: None,
                media,
            },
            trunk,
            wanted,
        });
        self.tell(callee, command);
        Ok(())
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
                    wanted: _,
                } = moving;
                call.counts_for_transfer = false;
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
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        let Some(moving) = call.moving.take() else {
            self.calls.insert(id, call);
            return;
        };
        self.drop_moving(&moving, &end);
        let Moving {
            by,
            gone,
            callee,
            wanted,
            trunk: _,
        } = moving;
        // No worker has heard of it, unless it has had the place already.
        if let (false, LocalEnd::Rtp { port }) = (gone, callee.media.local) {
            call.ports.retain(|taken| *taken != port);
            self.endpoints.give_port(now, port);
        }
        let again = ending::is_worth_another_trunk(end.reason)
            && self.next_move(now, &mut call, by, wanted).is_ok();
        match (again, gone) {
            (true, false) => {}
            (true, true) => {
                self.keep_place(&mut call, by);
            }
            (false, true) => return self.close(now, *call, end, EndedBy::Callee),
            (false, false) => {
                self.timers.stop(&(id, CallTimer::Transfer));
                self.uncount_transfer(&mut call);
                self.tell(by, LegCommand::Transfer(Transfer::Failed(end)));
            }
        }
        self.calls.insert(id, call);
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
        let was_held = call.media_mut(old).is_some_and(|media| media.is_held());
        self.drop_video(call);
        if let (true, Some(stays)) = (was_held, call.leg(side.other())) {
            // Who had put it on hold has gone.
            self.tell(stays, LegCommand::Hold(false));
        }
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
                let offered = negotiate::encodings(audio);
                let fits = spoken.is_some_and(|spoken| offered.contains(&spoken));
                keyed && (fits || table.may_differ() && !offered.is_empty())
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
            if let Some(trunk) = trunk {
                table.count_at(trunk);
                table.pass_trunk(call, old, leg, trunk.to_owned());
            }
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
