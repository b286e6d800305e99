//! One call: its legs, its state and its two sides of media.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use jid::BareJid;

use super::handing::Referring;
use super::negotiate::Encoding;
use super::record::{CallRecord, EndedBy};
use super::side::SideMedia;
use super::transfer::Moving;
use crate::address::Address;
use crate::border::{BridgeStats, Side};
use crate::description::Description;
use crate::id::{BridgeId, CallId, LegId, Room, WorkerId};
use crate::leg::{End, Key, Offering};

/// How far a call is.
#[derive(Debug)]
pub(super) enum State {
    /// Callees were called; none rings yet.
    Offered,
    /// A callee rings.
    Ringing,
    /// The callee answered, and the caller was asked for its offer.
    Accepted,
    /// The caller's offer lacks the encoding that the callee chose; the callee was asked for
    /// another one. Holds the caller's offer.
    Renegotiating(Description),
    /// The callee answered, and the caller is told when the callee's media is connected, so that
    /// nobody loses the first word.
    Connecting,
    /// Both talk.
    Up,
}

impl State {
    /// True once the callee has answered.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Offered | Self::Ringing => false,
            Self::Accepted | Self::Renegotiating(_) | Self::Connecting | Self::Up => true,
        }
    }
}

/// A leg that is called, with its own end of media until one of them wins.
#[derive(Debug)]
pub(super) struct Callee {
    pub(super) leg: LegId,
    /// The XMPP user, if it is one.
    pub(super) user: Option<BareJid>,
    pub(super) media: SideMedia,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) display_name: Option<String>,
    /// The user whose limits the call counts against.
    pub(super) user: Option<BareJid>,
    /// It counts only because of a transfer that may come to nothing.
    pub(super) counts_for_transfer: bool,
    pub(super) state: State,
    pub(super) offering: Offering,
    pub(super) caller: LegId,
    pub(super) caller_media: SideMedia,
    /// Every callee that may still answer; the one that did, once one did.
    pub(super) callees: Vec<Callee>,
    /// What callees ended with that the call did not wait for, as far as it tells most.
    pub(super) best_end: Option<End>,
    /// The leg that is to take the place of another.
    pub(super) moving: Option<Moving>,
    /// The telephone that stays is asked to call somebody in the place of a user.
    pub(super) referring: Option<Referring>,
    /// Trunks that were not tried yet.
    pub(super) trunks: VecDeque<String>,
    /// What callees see as the caller.
    pub(super) shown_caller: Address,
    /// The user is concealed from whom it calls, and from everybody whom that one brings in.
    pub(super) conceals: bool,
    /// The trunk in use.
    pub(super) trunk: Option<String>,
    /// The trunk of a leg that came into the place of a user's.
    pub(super) second_trunk: Option<(LegId, String)>,
    /// What may be offered to the callee.
    pub(super) encodings: Vec<Encoding>,
    pub(super) bridge: BridgeId,
    pub(super) worker: WorkerId,
    /// Keys that wait to be pressed, each toward its side.
    pub(super) keys: VecDeque<(Side, Key)>,
    /// A worker has heard of the bridge.
    pub(super) has_bridge: bool,
    /// It has heard of the one of its pictures.
    pub(super) has_pictures: bool,
    /// Ports that were taken for this call.
    pub(super) ports: Vec<u16>,
    /// Addresses that its peers behind ICE have named, as the table has counted them.
    pub(super) places: Vec<SocketAddr>,
    pub(super) started: Instant,
    pub(super) rang: Option<Instant>,
    pub(super) answered: Option<Instant>,
}

impl Call {
    /// The leg of a side; the callee's only once there is no choice any more.
    pub(super) fn leg(&self, side: Side) -> Option<LegId> {
        match side {
            Side::Caller => Some(self.caller),
            Side::Callee => match self.callees.as_slice() {
                [only] => Some(only.leg),
                _ => None,
            },
        }
    }

    /// True if both talk, and nobody is about to take the place of either.
    pub(super) fn is_settled(&self) -> bool {
        let running = matches!(self.state, State::Up) && self.answered.is_some();
        running && self.moving.is_none() && self.referring.is_none()
    }

    /// Which side a leg is.
    pub(super) fn side_of(&self, leg: LegId) -> Side {
        if leg == self.caller {
            Side::Caller
        } else {
            Side::Callee
        }
    }

    /// The media of a leg.
    pub(super) fn media_mut(&mut self, leg: LegId) -> Option<&mut SideMedia> {
        if leg == self.caller {
            return Some(&mut self.caller_media);
        }
        self.callees
            .iter_mut()
            .find(|callee| callee.leg == leg)
            .map(|callee| &mut callee.media)
    }

    /// The media of a side, as [`Self::leg`].
    pub(super) fn side_mut(&mut self, side: Side) -> Option<&mut SideMedia> {
        let leg = self.leg(side)?;
        self.media_mut(leg)
    }

    /// The sound of a side, or its pictures.
    pub(super) fn stream_mut(&mut self, side: Side, is_video: bool) -> Option<&mut SideMedia> {
        let leg = self.leg(side)?;
        self.stream_of(leg, is_video)
    }

    /// The sound of a leg, or its pictures.
    pub(super) fn stream_of(&mut self, leg: LegId, is_video: bool) -> Option<&mut SideMedia> {
        let sound = self.media_mut(leg)?;
        match is_video {
            true => sound.video.as_deref_mut(),
            false => Some(sound),
        }
    }

    /// The XMPP user behind a leg. Who is gone is behind none, even if the call is still his.
    pub(super) fn user_of(&self, leg: LegId) -> Option<&BareJid> {
        match self.side_of(leg) {
            Side::Caller => self.user.as_ref().filter(|_| leg.room == Room::Xmpp),
            Side::Callee => self.callees.iter().find(|c| c.leg == leg)?.user.as_ref(),
        }
    }

    /// Who a leg is, as far as the call was made with it.
    pub(super) fn address_of(&self, leg: LegId) -> &Address {
        match self.side_of(leg) {
            Side::Caller => &self.from,
            Side::Callee => &self.to,
        }
    }

    /// The trunk of a leg.
    pub(super) fn trunk_of(&self, leg: LegId) -> Option<&String> {
        match &self.second_trunk {
            Some((second, trunk)) if *second == leg => Some(trunk),
            Some(_) | None => self.trunk.as_ref(),
        }
    }

    /// The trunk of a leg, for another call to count it.
    pub(super) fn take_trunk_of(&mut self, leg: LegId) -> Option<String> {
        match self.second_trunk.take_if(|(second, _)| *second == leg) {
            Some((_, trunk)) => Some(trunk),
            None => self.trunk.take(),
        }
    }

    /// True if a side behind ICE is not connected yet.
    pub(super) fn awaits_media(&self) -> bool {
        self.caller_media.awaits_ice() || self.callee_connects()
    }

    /// True if the callee is behind ICE and not connected yet.
    pub(super) fn callee_connects(&self) -> bool {
        self.callees.iter().any(|callee| callee.media.awaits_ice())
    }

    /// What the sides speak, the caller's first if they differ.
    fn encoding(&self) -> Option<String> {
        let callee = match self.callees.as_slice() {
            [only] => only.media.encoding,
            _ => None,
        };
        match (self.caller_media.encoding, callee) {
            (Some(a), Some(b)) if a != b => Some(format!("{} to {}", a.name(), b.name())),
            (a, b) => a.or(b).map(|encoding| encoding.name().to_owned()),
        }
    }

    /// What remains of the call.
    pub(super) fn record(&self, now: Instant, end: End, ended_by: EndedBy) -> CallRecord {
        let after = |at: Instant| at.saturating_duration_since(self.started);
        CallRecord {
            call: self.id,
            from: self.from.clone(),
            to: self.to.clone(),
            trunk: self.trunk.clone(),
            rang_after: self.rang.map(after),
            answered_after: self.answered.map(after),
            duration: after(now),
            end,
            ended_by,
            encoding: self.encoding(),
            stats: BridgeStats::default(),
        }
    }
}
