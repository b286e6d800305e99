//! Calls that a user hands on: to somebody else, or to whom it talks to in another call.
//!
//! The telephone that stays is asked to see to it by itself, which needs nothing more of us. If it
//! will not, the call goes on here, with two sides of the telephone network.

use std::time::Instant;

use jid::BareJid;

use super::entry::{Call, Callee};
use super::negotiate::{self, Encoding};
use super::record::EndedBy;
use super::side::SideMedia;
use super::{CallTimer, Calls, ending};
use crate::address::Address;
use crate::config::Transcode;
use crate::id::{CallId, LegId, Room};
use crate::leg::{End, EndReason, LegCommand, Transfer};

/// A transfer that the telephone is asked to carry out which stays in the call.
#[derive(Debug)]
pub(super) struct Referring {
    /// The user's leg that asked for it.
    pub(super) by: LegId,
    /// It has hung up meanwhile.
    pub(super) gone: bool,
    /// Who is to be called.
    to: Address,
    /// The user's leg that talks to them already.
    with: Option<LegId>,
}

impl Calls {
    /// A user wants whom it talks to to talk to `to`.
    pub(super) fn hand_on(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        to: &Address,
    ) -> Result<(), End> {
        let (user, stays) = self.may_hand_on(call, leg)?;
        let wanted = self.wanted(call, leg, &user, to, None)?;
        self.count_transfer(now, call, &user)?;
        let trunk = call.trunk_of(stays);
        // Another trunk's number means nothing to the telephones of this one.
        if trunk.is_some_and(|trunk| wanted.trunks.contains(trunk)) {
            self.refer(now, call, leg, stays, wanted.to, None);
            return Ok(());
        }
        self.begin_transfer(now, call, leg, wanted)
    }

    /// A user wants the two whom it talks to to talk to each other.
    pub(super) fn join(&mut self, now: Instant, leg: LegId, with: LegId) {
        self.with_call(now, leg, |table, call| {
            if let Err(end) = table.begin_join(now, call, leg, with) {
                table.tell(leg, LegCommand::Transfer(Transfer::Failed(end)));
            }
            Ok(())
        });
    }

    fn begin_join(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        with: LegId,
    ) -> Result<(), End> {
        let (user, stays) = self.may_hand_on(call, leg)?;
        let other = self.by_leg.get(&with).and_then(|id| self.calls.get(id));
        let other = other.ok_or(EndReason::NotFound)?;
        let (owner, far) = self.may_hand_on(other, with)?;
        if user != owner {
            return Err(EndReason::Forbidden.into());
        }
        let to = other.address_of(far).clone();
        if call.trunk_of(stays) == other.trunk_of(far) {
            self.refer(now, call, leg, stays, to, Some((with, far)));
            return Ok(());
        }
        self.connect_both(now, call, leg, with)
    }

    /// The user whose leg wants to leave, and the leg that stays; an error if this is no point of
    /// the call to do so.
    fn may_hand_on(&self, call: &Call, leg: LegId) -> Result<(BareJid, LegId), End> {
        let not_now = || End::because(EndReason::NotAcceptable, "no transfer at this point");
        let stays = call.leg(call.side_of(leg).other());
        let stays = stays.filter(|stays| call.is_settled() && stays.room == Room::Sip);
        let user = call.user_of(leg).cloned();
        Ok((user.ok_or_else(not_now)?, stays.ok_or_else(not_now)?))
    }

    /// Asks the telephone that stays.
    fn refer(
        &mut self,
        now: Instant,
        call: &mut Call,
        by: LegId,
        stays: LegId,
        to: Address,
        with: Option<(LegId, LegId)>,
    ) {
        let limit = now + self.config.call.ring_limit;
        self.timers.set((call.id, CallTimer::Transfer), limit);
        let command = LegCommand::Refer {
            to: to.clone(),
            replaces: with.map(|(_, far)| far),
        };
        call.referring = Some(Referring {
            by,
            gone: false,
            to,
            with: with.map(|(with, _)| with),
        });
        self.tell(stays, command);
    }

    /// How it goes with whom a telephone was asked to call.
    pub(super) fn referred(&mut self, now: Instant, leg: LegId, news: Transfer) {
        let Some(id) = self.by_leg.get(&leg).copied() else {
            return;
        };
        match news {
            Transfer::Ringing => {
                let call = self.calls.get(&id);
                if let Some(referring) = call.and_then(|call| call.referring.as_ref()) {
                    self.tell(referring.by, LegCommand::Transfer(Transfer::Ringing));
                }
            }
            Transfer::Done => {
                let call = self.calls.get_mut(&id);
                let Some(referring) = call.and_then(|call| call.referring.take()) else {
                    return;
                };
                // They talk to each other, and no longer to us.
                for leg in [Some(referring.by), referring.with].into_iter().flatten() {
                    if let Some(id) = self.by_leg.get(&leg).copied() {
                        self.tell(leg, LegCommand::Transfer(Transfer::Done));
                        self.end_call(now, id, EndReason::Hangup.into(), EndedBy::Gateway);
                    }
                }
                self.end_call(now, id, EndReason::Hangup.into(), EndedBy::Gateway);
            }
            Transfer::Failed(end) => self.not_referred(now, id, end),
        }
    }

    /// The telephone will not, or did not get through: what it was asked for is done here, if that
    /// has any hope.
    pub(super) fn not_referred(&mut self, now: Instant, id: CallId, end: End) {
        self.with_id(now, id, |table, call| {
            let Some(referring) = call.referring.take() else {
                return Ok(());
            };
            let Referring { by, gone, to, with } = referring;
            table.timers.stop(&(call.id, CallTimer::Transfer));
            let tried = match (with, call.user_of(by).cloned()) {
                (Some(with), _) => table.connect_both(now, call, by, with),
                (None, Some(user)) if ending::is_worth_another_trunk(end.reason) => {
                    let wanted = table.wanted(call, by, &user, &to, None);
                    wanted.and_then(|wanted| table.begin_transfer(now, call, by, wanted))
                }
                (None, _) => Err(end),
            };
            match (tried, gone) {
                (Ok(()), true) => {
                    table.keep_place(call, by);
                    Ok(())
                }
                (Ok(()), false) => Ok(()),
                (Err(end), true) => Err(end),
                (Err(end), false) => {
                    table.uncount_transfer(call);
                    table.tell(by, LegCommand::Transfer(Transfer::Failed(end)));
                    Ok(())
                }
            }
        });
    }

    /// Puts the far side of the call of `with` into the place of `leg` in this one.
    fn connect_both(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        with: LegId,
    ) -> Result<(), End> {
        let gone = || End::because(EndReason::NotFound, "the other call is over");
        let id = self.by_leg.get(&with).copied().ok_or_else(gone)?;
        let stays = call.leg(call.side_of(leg).other()).ok_or_else(gone)?;
        let spoken = call.media_mut(stays).and_then(|media| media.encoding);
        let spoken: Vec<Encoding> = spoken.into_iter().collect();
        let other = self.calls.get(&id).ok_or_else(gone)?;
        let side = other.side_of(with);
        let far = other.leg(side.other()).ok_or_else(gone)?;
        let local = self.local_end(now, call, Room::Sip)?;
        let mut other = self.calls.remove(&id).ok_or_else(gone)?;
        // Its counts go with it.
        call.counts_for_transfer = false;
        if call.user.is_none() {
            call.user = other.user.take();
        }
        let trunk = other.take_trunk_of(far);
        let mut media = SideMedia::new(local, self.keying(trunk.as_deref()), true);
        media.habits = self.habits(trunk.as_deref());
        let known = trunk.as_deref().and_then(|name| self.config.trunk(name));
        let allowed = known.map_or(Vec::new(), |trunk| negotiate::named(&trunk.codecs));
        let encodings = match self.config.media.transcode {
            Transcode::Never => spoken,
            more => negotiate::offerable(more, Room::Sip, &spoken, &allowed),
        };
        call.second_trunk = trunk.map(|trunk| (far, trunk));
        self.by_leg.remove(&far);
        other.callees.retain(|callee| callee.leg != far);
        self.tell(with, LegCommand::Transfer(Transfer::Done));
        self.close(now, *other, EndReason::Hangup.into(), side.into());
        self.by_leg.insert(far, call.id);
        self.tell(leg, LegCommand::Transfer(Transfer::Done));
        let new = Callee {
            leg: far,
            user: None,
            media,
        };
        let side = self.take_place(call, leg, new);
        let offer = self.own_offer(call, far, &encodings);
        self.configure(call, side);
        self.tell(far, LegCommand::Update(offer));
        // Whoever waited, waits no more.
        self.tell(stays, LegCommand::Hold(false));
        Ok(())
    }
}
