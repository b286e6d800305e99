//! How a call comes into the table: who is meant, what it may use, and the first offers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::endpoints::{Endpoints, LocalEnd};
use super::entry::{Call, Callee, State};
use super::keying::Keying;
use super::limits::{LimitHit, MAX_CALLS};
use super::negotiate::{self, Encoding};
use super::offers::peer_setup;
use super::side::{Habits, SideMedia};
use super::table::Offered;
use super::{CallTimer, Calls};
use crate::address::Address;
use crate::border::Side;
use crate::config::{Dtmf, TrunkConfig};
use crate::description::{Description, Direction, Media, Setup, Stream, Transport};
use crate::id::{BridgeId, CallId, LegId, Role, Room, WorkerId};
use crate::leg::{End, EndReason, LegCommand, Offering};

/// How long users' clients may take to say that they ring before the caller hears it from us.
const RINGBACK: Duration = Duration::from_secs(1);

impl Calls {
    /// Finds out who is meant and calls them.
    pub(super) fn place(
        &mut self,
        now: Instant,
        id: CallId,
        leg: LegId,
        offered: &Offered,
    ) -> Result<Call, End> {
        if self.draining {
            return Err(End::because(
                EndReason::Shutdown,
                "the gateway is about to stop",
            ));
        }
        if self.calls.len() >= MAX_CALLS {
            return Err(End::because(EndReason::Overloaded, "the gateway is full"));
        }
        let keying = self.keying(offered.trunk.as_deref());
        let encodings = caller_encodings(&offered.offering, keying)?;
        let Offered {
            from,
            to,
            display_name,
            conceals,
            offering,
            trunk,
        } = offered;
        let user = match (leg.room, from) {
            (Room::Xmpp, Address::Xmpp(user)) => Some(user.clone()),
            _ => None,
        };
        let (users, trunks, caller) = self.route(user.as_ref(), to, from)?;
        let (shown_caller, display_name) = match conceals {
            true => (Address::Anonymous, None),
            false => (caller, display_name.clone()),
        };
        if let Some(user) = &user {
            let access = &self.config.access;
            let (at_a_time, per_minute) = (access.max_calls_per_user, access.calls_per_minute);
            self.users
                .open(now, user, at_a_time, per_minute)
                .map_err(limit_end)?;
        }
        let worker = self.endpoints.take_worker();
        let mut call = Call {
            id,
            from: from.clone(),
            to: to.clone(),
            display_name,
            user,
            counts_for_transfer: false,
            state: State::Offered,
            offering: offering.clone(),
            caller: leg,
            // Replaced below, once nothing can fail but the want of ports.
            caller_media: SideMedia::new(LocalEnd::Rtp { port: 0 }, keying, false),
            callees: Vec::new(),
            best_end: None,
            moving: None,
            referring: None,
            trunks,
            shown_caller,
            conceals: *conceals,
            trunk: None,
            second_trunk: None,
            encodings,
            bridge: BridgeId(id.0),
            worker,
            keys: VecDeque::new(),
            has_bridge: false,
            has_pictures: false,
            ports: Vec::new(),
            places: Vec::new(),
            started: now,
            rang: None,
            answered: None,
        };
        let placed = self.call_out(now, &mut call, &users, trunk.as_deref());
        if let Err(end) = placed {
            self.forget_counts(&call);
            for port in call.ports {
                self.endpoints.give_port(now, port);
            }
            self.endpoints.give_worker(worker);
            return Err(end);
        }
        self.by_leg.insert(leg, id);
        self.by_bridge.insert(call.bridge, id);
        if call
            .callees
            .iter()
            .any(|callee| callee.leg.room == Room::Xmpp)
        {
            self.timers.set((id, CallTimer::Ringback), now + RINGBACK);
        }
        let ring_limit = now + self.config.call.ring_limit;
        self.timers.set((id, CallTimer::Ring), ring_limit);
        Ok(call)
    }

    /// Users to ring, or trunks to try with the caller they shall show.
    fn route(
        &self,
        user: Option<&jid::BareJid>,
        to: &Address,
        from: &Address,
    ) -> Result<(Vec<jid::BareJid>, VecDeque<String>, Address), End> {
        let refused =
            |refusal: super::dialplan::Refusal| End::because(refusal.reason, refusal.text);
        match user {
            Some(user) => {
                let outgoing = self.dialplan.outgoing(user, to).map_err(refused)?;
                let trunks = self.by_health(outgoing.trunks);
                Ok((Vec::new(), trunks, outgoing.caller))
            }
            None => {
                let incoming = self.dialplan.incoming(to).map_err(refused)?;
                Ok((incoming.users, VecDeque::new(), from.clone()))
            }
        }
    }

    /// Trunks in the order in which to try them, those that are known to be down last: not never,
    /// since what we know may be old, and the caller has no other.
    pub(super) fn by_health(&self, mut trunks: Vec<String>) -> VecDeque<String> {
        trunks.sort_by_key(|name| self.down.contains(name));
        trunks.into()
    }

    /// Takes our ends of media and sends the offers.
    fn call_out(
        &mut self,
        now: Instant,
        call: &mut Call,
        users: &[jid::BareJid],
        from_trunk: Option<&str>,
    ) -> Result<(), End> {
        if let Some(name) = from_trunk {
            self.count_trunk(call, name)?;
        }
        let local = self.local_end(now, call, call.caller.room)?;
        let offers = matches!(call.offering, Offering::Delayed);
        call.caller_media = SideMedia::new(local, call.caller_media.keying, offers);
        call.caller_media.habits = self.habits(from_trunk);
        if let Offering::Described(offer) = &call.offering
            && let Some(audio) = offer.audio()
        {
            call.caller_media.set_peer(audio);
        }
        if users.is_empty() {
            return self.try_next_trunk(now, call);
        }
        let alone = users.len() == 1;
        for user in users {
            // The caller's order, and what it does not have behind that.
            let mut allowed = call.encodings.clone();
            allowed.extend(Encoding::ALL.iter().filter(|e| !call.encodings.contains(e)));
            let transcode = self.config.media.transcode;
            let encodings = negotiate::offerable(transcode, Room::Xmpp, &call.encodings, &allowed);
            let to = Address::Xmpp(user.clone());
            self.offer_to(now, call, Room::Xmpp, to, None, &encodings, alone)?;
        }
        Ok(())
    }

    /// Offers the call to the next trunk that has room and an encoding in common.
    pub(super) fn try_next_trunk(&mut self, now: Instant, call: &mut Call) -> Result<(), End> {
        let (name, offer) = self.next_trunk(&mut call.trunks, &call.encodings)?;
        let to = call.to.clone();
        self.offer_to(now, call, Room::Sip, to, Some(name.clone()), &offer, true)?;
        self.count_at(&name);
        call.trunk = Some(name);
        Ok(())
    }

    /// The next trunk that has room and something in common with what is spoken, and what to offer it.
    pub(super) fn next_trunk(
        &self,
        trunks: &mut VecDeque<String>,
        spoken: &[Encoding],
    ) -> Result<(String, Vec<Encoding>), End> {
        let mut last = End::because(EndReason::NoRoute, "no trunk for this call");
        while let Some(name) = trunks.pop_front() {
            let Some(trunk) = self.config.trunk(&name) else {
                continue;
            };
            let allowed = negotiate::named(&trunk.codecs);
            let transcode = self.config.media.transcode;
            let offer = negotiate::offerable(transcode, Room::Sip, spoken, &allowed);
            if offer.is_empty() {
                let text = format!("no codec in common with trunk {name}");
                last = End::because(EndReason::NotAcceptable, text);
            } else if let Err(end) = self.has_room(trunk) {
                last = end;
            } else {
                return Ok((name, offer));
            }
        }
        Err(last)
    }

    #[allow(clippy::too_many_arguments)]
    fn offer_to(
        &mut self,
        now: Instant,
        call: &mut Call,
        room: Room,
        to: Address,
        trunk: Option<String>,
        encodings: &[Encoding],
        alone: bool,
    ) -> Result<(), End> {
        let place = (room, trunk.as_deref());
        let (leg, mut media, stream) =
            self.new_callee(now, call, place, encodings, Side::Caller)?;
        let mut streams = vec![stream];
        streams.extend(self.offer_video(now, call, room, trunk.as_deref(), &mut media));
        media.lines.clone_from(&streams);
        let offer = Description {
            streams,
            bundle: room == Room::Xmpp,
        };
        let user = match &to {
            Address::Xmpp(user) => Some(user.clone()),
            Address::Number(_) | Address::Sip(_) | Address::Anonymous => None,
        };
        call.callees.push(Callee { leg, user, media });
        self.by_leg.insert(leg, call.id);
        if alone {
            // The port is bound, and early checks are kept, before the peer can know of it.
            self.configure(call, Side::Callee);
        }
        let command = LegCommand::Offer {
            from: call.shown_caller.clone(),
            to,
            display_name: call.display_name.clone(),
            offer,
            trunk,
            replaces: None,
        };
        self.tell(leg, command);
        Ok(())
    }

    /// A leg to be called in a room, by a trunk if it has one, for the peer of the side `beyond` to
    /// talk to: with its end of media and the sound that it is offered.
    pub(super) fn new_callee(
        &mut self,
        now: Instant,
        call: &mut Call,
        (room, trunk): (Room, Option<&str>),
        encodings: &[Encoding],
        beyond: Side,
    ) -> Result<(LegId, SideMedia, Stream), End> {
        let local = self.local_end(now, call, room)?;
        self.last_leg += 1;
        let leg = LegId {
            room,
            role: Role::Callee,
            number: self.last_leg,
        };
        let mut media = SideMedia::new(local, self.keying(trunk), true);
        media.habits = self.habits(trunk);
        let mut stream = self.offered_stream(call.worker, room, &media, encodings);
        let beyond = call.side_mut(beyond).and_then(|media| media.peer.as_ref());
        negotiate::ask_for_packets(&mut stream, beyond);
        media.describe(Some(stream.clone()));
        Ok((leg, media, stream))
    }

    /// The audio stream of an offer of ours.
    pub(super) fn offered_stream(
        &mut self,
        worker: WorkerId,
        room: Room,
        media: &SideMedia,
        encodings: &[Encoding],
    ) -> Stream {
        let facts = self.endpoints.facts();
        let mut transport =
            self.endpoints
                .transport(worker, &media.local, Setup::Actpass, true, true);
        if let Transport::Rtp(rtp) = &mut transport {
            let certificate = &facts.fingerprint;
            media
                .keying
                .offer(rtp, media.agreed(), certificate, &mut self.tokens);
        }
        // What clients make of an offer of it is not known of all of them.
        let noise = room == Room::Sip && media.habits.noise;
        Stream {
            name: "0".to_owned(),
            media: Media::Audio,
            codecs: negotiate::offered_codecs(room, encodings, noise),
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport,
            rejected: false,
        }
    }

    /// What a trunk wants beside sound.
    pub(super) fn habits(&self, trunk: Option<&str>) -> Habits {
        let known = trunk.and_then(|name| self.config.trunk(name));
        known.map_or(Habits::default(), |trunk| Habits {
            signals_keys: trunk.dtmf == Dtmf::Info,
            noise: trunk.comfort_noise,
        })
    }

    /// How sound of a trunk is protected.
    pub(super) fn keying(&self, trunk: Option<&str>) -> Keying {
        let known = trunk.and_then(|name| self.config.trunk(name));
        known.map_or(Keying::NONE, |trunk| Keying {
            srtp: trunk.srtp,
            keys: trunk.srtp_keys,
        })
    }

    pub(super) fn local_end(
        &mut self,
        now: Instant,
        call: &mut Call,
        room: Room,
    ) -> Result<LocalEnd, End> {
        match room {
            Room::Xmpp => Ok(Endpoints::ice_end(&mut self.tokens, None)),
            Room::Sip => {
                let port = self.endpoints.take_port(now).ok_or_else(|| {
                    End::because(
                        EndReason::Overloaded,
                        "every port of media.rtp_ports is in use",
                    )
                })?;
                call.ports.push(port);
                Ok(LocalEnd::Rtp { port })
            }
        }
    }

    fn count_trunk(&mut self, call: &mut Call, name: &str) -> Result<(), End> {
        if let Some(trunk) = self.config.trunk(name) {
            self.has_room(trunk)?;
        }
        self.count_at(name);
        call.trunk = Some(name.to_owned());
        Ok(())
    }

    /// Counts a call at a trunk; [`Self::uncount_trunk`] counts it out.
    pub(super) fn count_at(&mut self, trunk: &str) {
        *self.trunk_calls.entry(trunk.to_owned()).or_default() += 1;
    }

    fn has_room(&self, trunk: &TrunkConfig) -> Result<(), End> {
        let running = self.trunk_calls.get(&trunk.name).copied().unwrap_or(0);
        match trunk.max_calls {
            Some(max) if running >= max => {
                let text = format!("trunk {} is full", trunk.name);
                Err(End::because(EndReason::Overloaded, text))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What a caller can speak, as far as it has said so.
fn caller_encodings(offering: &Offering, keying: Keying) -> Result<Vec<Encoding>, End> {
    let none = || {
        End::because(
            EndReason::NotAcceptable,
            "no audio is offered that we can carry",
        )
    };
    match offering {
        Offering::Described(offer) => {
            let audio = offer.audio().ok_or_else(none)?;
            peer_setup(audio)?;
            if let Transport::Rtp(rtp) = &audio.transport {
                keying.check(rtp)?;
            }
            let found = negotiate::encodings(audio);
            if found.is_empty() {
                Err(none())
            } else {
                Ok(found)
            }
        }
        Offering::Later(media) if !media.contains(&Media::Audio) => Err(none()),
        Offering::Later(_) | Offering::Delayed => Ok(Encoding::ALL.to_vec()),
    }
}

pub(super) fn limit_end(hit: LimitHit) -> End {
    let text = match hit {
        LimitHit::AtATime(limit) => format!("more than {limit} calls at a time"),
        LimitHit::PerMinute(limit) => format!("more than {limit} calls in a minute"),
    };
    End::because(EndReason::Overloaded, text)
}
