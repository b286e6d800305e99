//! Offers and answers of a call: which stream each side has, and what its worker does with it
//! (RFC 3264 §5–8).

use std::time::Instant;

use super::endpoints::Endpoints;
use super::entry::{Call, State};
use super::negotiate::{self, Encoding};
use super::{CallOutput, CallTimer, Calls};
use crate::border::{MediaCommand, Side};
use crate::config::Transcode;
use crate::description::{Description, Direction, Media, Setup, Stream, Transport};
use crate::id::{LegId, Room};
use crate::leg::{End, EndReason, LegCommand, Offering};

impl Calls {
    /// Takes the answer to an offer of ours; the worker hears of it from whoever asked.
    pub(super) fn take_answer(
        &mut self,
        call: &mut Call,
        side: Side,
        answer: &Description,
    ) -> Result<(), End> {
        let room = call.leg(side).ok_or(EndReason::Failed)?.room;
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
        let (encoding, mut format) = negotiate::chosen(room, ours, theirs).ok_or_else(|| {
            End::because(
                EndReason::NotAcceptable,
                "the answer has no codec of the offer",
            )
        })?;
        if self.config.media.transcode == Transcode::Never {
            // Nobody could hear it; `reconcile` asks for one.
            format.receive_also.clear();
        }
        media.take_keys(theirs)?;
        media.set_format(format);
        media.encoding = Some(encoding);
        media.set_peer(theirs);
        media.take_video_answer(answer)?;
        self.note_peer(call, theirs);
        Ok(())
    }

    /// The callee has answered: what the caller hears of it depends on what it has described.
    pub(super) fn answer_caller(&mut self, now: Instant, call: &mut Call) -> Result<(), End> {
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
            Offering::Described(offer) => self.answer_offer(now, call, &offer)?,
            Offering::Delayed => {
                let spoken: Vec<Encoding> = call
                    .side_mut(Side::Callee)
                    .and_then(|media| media.encoding)
                    .into_iter()
                    .collect();
                let transcode = self.config.media.transcode;
                let encodings =
                    negotiate::offerable(transcode, caller.room, &spoken, &Encoding::ALL);
                let description = self.own_offer(call, caller, &encodings);
                self.tell(caller, LegCommand::Answer(description));
                self.up(call)?;
            }
        }
        Ok(())
    }

    /// Answers the caller's offer, best with the encoding that the callee has.
    pub(super) fn answer_offer(
        &mut self,
        now: Instant,
        call: &mut Call,
        offer: &Description,
    ) -> Result<(), End> {
        let caller = call.caller;
        let answer = self.take_offer(now, call, caller, offer)?;
        self.up(call)?;
        self.tell(caller, LegCommand::Answer(answer));
        Ok(())
    }

    /// Both sides know each other: sound may flow, and silence counts.
    pub(super) fn up(&mut self, call: &mut Call) -> Result<(), End> {
        call.state = State::Up;
        for side in [Side::Caller, Side::Callee] {
            self.configure(call, side);
            self.announce(call, side);
        }
        if !call.awaits_media() {
            self.timers.stop(&(call.id, CallTimer::Connect));
        }
        if let Some(callee) = call.leg(Side::Callee)
            && self.is_open(call, callee)
        {
            return self.reconcile(call, callee);
        }
        Ok(())
    }

    /// Takes an offer in and writes its answer.
    pub(super) fn take_offer(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        offer: &Description,
    ) -> Result<Description, End> {
        let other = call.side_of(leg).other();
        let beyond = call.side_mut(other).and_then(|media| media.peer.clone());
        let takes_noise = call
            .side_mut(other)
            .is_some_and(|media| media.takes_noise());
        let other = call.side_mut(other).and_then(|media| media.encoding);
        let worker = call.worker;
        let no_audio = || End::because(EndReason::NotAcceptable, "the offer has no audio");
        let audio = offer.audio().ok_or_else(no_audio)?;
        let setup = peer_setup(audio)?;
        let fresh = Endpoints::ice_end(&mut self.tokens, None);
        let media = call.media_mut(leg).ok_or(EndReason::Failed)?;
        media.meet(audio, fresh);
        if let Transport::Ice(ice) = &audio.transport {
            self.keep_apart(now, call, leg, ice);
        }
        let media = call.media_mut(leg).ok_or(EndReason::Failed)?;
        let mux = match &audio.transport {
            Transport::Ice(ice) => ice.rtcp_mux,
            Transport::Rtp(_) => false,
        };
        let mut transport =
            self.endpoints
                .transport(worker, &media.local, setup.answered(), mux, !mux);
        if let (Transport::Rtp(ours), Transport::Rtp(theirs)) = (&mut transport, &audio.transport) {
            let certificate = &self.endpoints.facts().fingerprint;
            let before = media.own_rtp();
            media
                .keying
                .answer(ours, theirs, before, certificate, &mut self.tokens)?;
        }
        let direction = audio.direction.reversed();
        let encoding = negotiate::answerable(
            self.config.media.transcode,
            leg.room,
            &negotiate::encodings(audio),
            other,
            media.encoding,
        );
        // A client that passes its pauses on is asked to only where somebody takes them.
        let noise = match leg.room {
            Room::Sip => media.habits.noise,
            Room::Xmpp => takes_noise,
        };
        let answer = encoding.and_then(|encoding| {
            let (stream, format) = negotiate::answer(audio, encoding, transport, direction, noise)?;
            Some((encoding, stream, format))
        });
        let (encoding, mut stream, format) = answer.ok_or_else(|| {
            let text = match other {
                Some(other) => format!("the offer lacks {}", other.name()),
                None => "the offer has no codec that we know".to_owned(),
            };
            End::because(EndReason::NotAcceptable, text)
        })?;
        negotiate::ask_for_packets(&mut stream, beyond.as_ref());
        media.set_peer(audio);
        media.set_format(format);
        media.encoding = Some(encoding);
        media.describe(Some(stream.clone()));
        self.note_peer(call, audio);
        // Toward SIP, BUNDLE is declined (RFC 9143 §7.3): each stream has a port of its own.
        let bundle = offer.bundle && leg.room == Room::Xmpp;
        let video = offer.video();
        if video.is_none()
            && let Some(video) = call.media_mut(leg).and_then(|m| m.video.as_deref_mut())
        {
            video.stop();
        }
        let mut streams = Vec::with_capacity(offer.streams.len());
        for offered in &offer.streams {
            let answer = if std::ptr::eq(offered, audio) {
                stream.clone()
            } else if video.is_some_and(|video| std::ptr::eq(offered, video)) {
                self.answer_video(now, call, leg, (offered, bundle), &stream)?
            } else {
                beside(offered, &stream)
            };
            streams.push(answer);
        }
        if let Some(media) = call.media_mut(leg) {
            media.lines.clone_from(&streams);
        }
        Ok(Description { streams, bundle })
    }

    /// An offer of ours to a leg that has none, or needs another one.
    pub(super) fn own_offer(
        &mut self,
        call: &mut Call,
        leg: LegId,
        encodings: &[Encoding],
    ) -> Description {
        let worker = call.worker;
        let mut streams = Vec::new();
        let beyond = call.side_mut(call.side_of(leg).other());
        let beyond = beyond.and_then(|media| media.peer.clone());
        if let Some(media) = call.media_mut(leg) {
            let mut stream = self.offered_stream(worker, leg.room, media, encodings);
            negotiate::ask_for_packets(&mut stream, beyond.as_ref());
            media.describe(Some(stream.clone()));
            streams = self.lines(worker, media, &stream);
            media.lines.clone_from(&streams);
            if let Some(video) = media.video.as_deref_mut() {
                let pictures = |s: &&Stream| s.media == Media::Video && !s.rejected;
                video.describe(streams.iter().find(pictures).cloned());
            }
        }
        Description {
            streams,
            bundle: leg.room == Room::Xmpp,
        }
    }

    pub(super) fn updated(&mut self, now: Instant, leg: LegId, offer: &Description) {
        self.with_call(now, leg, |table, call| match &call.state {
            State::Accepted if leg == call.caller => table.late_offer(now, call, offer),
            // The callee need not wait with another offer until the caller has made its own.
            State::Accepted | State::Up => {
                table.new_offer(now, call, leg, offer);
                Ok(())
            }
            State::Offered | State::Ringing | State::Renegotiating(_) | State::Connecting => {
                table.tell(leg, LegCommand::Refuse);
                Ok(())
            }
        });
    }

    /// The offer of a caller that was asked for it.
    pub(super) fn late_offer(
        &mut self,
        now: Instant,
        call: &mut Call,
        offer: &Description,
    ) -> Result<(), End> {
        let offered = offer.audio().map(negotiate::encodings).unwrap_or_default();
        let callee = call.side_mut(Side::Callee);
        let (spoken, peer) = callee.map_or((None, None), |m| (m.encoding, m.peer.as_ref()));
        if spoken.is_some_and(|encoding| offered.contains(&encoding)) {
            return self.answer_offer(now, call, offer);
        }
        // Where we transcode, asking for another codec is worth it only if the callee has said that
        // it has it.
        let known = match self.config.media.transcode {
            Transcode::Never => call.encodings.clone(),
            Transcode::WhenNeeded | Transcode::PreferOpus => {
                peer.map(negotiate::encodings).unwrap_or_default()
            }
        };
        let common: Vec<Encoding> = known.into_iter().filter(|e| offered.contains(e)).collect();
        if common.is_empty() && self.config.media.transcode != Transcode::Never {
            return self.answer_offer(now, call, offer);
        }
        if call.answered.is_none() {
            // RFC 3311 §5.1 aside, few take an offer before they have answered: with transcoding
            // there is no need for one, without it the answer may bring another codec.
            if self.may_differ() {
                return self.answer_offer(now, call, offer);
            }
            self.timers.stop(&(call.id, CallTimer::Connect));
            call.state = State::Renegotiating(offer.clone());
            return Ok(());
        }
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
    pub(super) fn new_offer(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        offer: &Description,
    ) {
        let side = call.side_of(leg);
        let was_held = call.media_mut(leg).is_some_and(|media| media.is_held());
        match self.take_offer(now, call, leg, offer) {
            Ok(answer) => {
                self.configure(call, side);
                self.tell(leg, LegCommand::Answer(answer));
                self.pass_hold(call, leg, was_held);
            }
            Err(end) => {
                tracing::debug!(call = %call.id, reason = %end.reason, "new offer refused");
                self.tell(leg, LegCommand::Refuse);
            }
        }
    }

    /// Tells the other side if the peer of `leg` has put the call on hold, or taken it up again.
    fn pass_hold(&mut self, call: &mut Call, leg: LegId, was_held: bool) {
        let held = call.media_mut(leg).is_some_and(|media| media.is_held());
        let is_told = held != was_held && matches!(call.state, State::Up);
        let other = call.side_of(leg).other();
        if let (true, Some(other)) = (is_told, call.leg(other)) {
            self.tell(other, LegCommand::Hold(held));
        }
    }

    pub(super) fn update_answered(&mut self, now: Instant, leg: LegId, answer: &Description) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg);
            let renegotiating = match &call.state {
                State::Renegotiating(offer) => Some(offer.clone()),
                State::Up => None,
                State::Offered | State::Ringing | State::Accepted | State::Connecting => {
                    return Ok(());
                }
            };
            let was_held = call.media_mut(leg).is_some_and(|media| media.is_held());
            table.take_answer(call, side, answer)?;
            match renegotiating {
                Some(offer) => table.answer_offer(now, call, &offer),
                None => {
                    table.configure(call, side);
                    table.pass_hold(call, leg, was_held);
                    table.reconcile(call, leg)
                }
            }
        });
    }

    /// True if the sides of a call may speak different encodings.
    pub(super) fn may_differ(&self) -> bool {
        self.config.media.transcode != Transcode::Never
    }

    /// The encoding that an answer of the callee chooses of our offer.
    pub(super) fn choice(&self, call: &mut Call, answer: &Description) -> Option<Encoding> {
        let room = call.leg(Side::Callee)?.room;
        let ours = call.side_mut(Side::Callee)?.ours.as_ref()?;
        negotiate::chosen(room, ours, answer.audio()?).map(|(encoding, _)| encoding)
    }

    /// A leg of a running call has answered in another codec than before, or left it open which of
    /// several it sends, where nobody transcodes: it is asked for the one that the other side has. Its
    /// answer can then only be that or none.
    pub(super) fn reconcile(&mut self, call: &mut Call, leg: LegId) -> Result<(), End> {
        let is_agreed = self.agreed(call).is_ok();
        if (is_agreed && !self.is_open(call, leg)) || call.answered.is_none() {
            return Ok(());
        }
        let side = match is_agreed {
            true => call.side_of(leg),
            false => call.side_of(leg).other(),
        };
        let spoken = call.side_mut(side).and_then(|media| media.encoding);
        let spoken: Vec<Encoding> = spoken.into_iter().collect();
        let description = self.own_offer(call, leg, &spoken);
        self.tell(leg, LegCommand::Update(description));
        Ok(())
    }

    /// True if a telephone may send what nobody understands: it has answered our offer with several
    /// encodings where nobody transcodes. Clients speak the first of ours, and few can be asked again.
    fn is_open(&self, call: &mut Call, leg: LegId) -> bool {
        let media = call.media_mut(leg).filter(|_| leg.room == Room::Sip);
        let both = media.and_then(|media| media.ours.as_ref().zip(media.peer.as_ref()));
        let is_open = |(ours, theirs): (&Stream, &Stream)| {
            negotiate::shared(leg.room, ours, theirs).len() > 1
        };
        !self.may_differ() && both.is_some_and(is_open)
    }

    /// Where nobody transcodes, both sides must speak the same.
    fn agreed(&self, call: &mut Call) -> Result<(), End> {
        let callee = call.side_mut(Side::Callee).and_then(|m| m.encoding);
        match (call.caller_media.encoding, callee) {
            (Some(a), Some(b)) if a != b && !self.may_differ() => {
                Err(End::because(EndReason::NotAcceptable, "no codec in common"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn update_refused(&mut self, now: Instant, leg: LegId) {
        self.with_call(now, leg, |table, call| {
            let is_new = call.media_mut(leg).is_some_and(|m| m.peer.is_none());
            match &call.state {
                State::Renegotiating(_) if table.config.media.transcode == Transcode::Never => {
                    Err(End::because(EndReason::NotAcceptable, "no codec in common"))
                }
                State::Renegotiating(offer) => {
                    let offer = offer.clone();
                    table.answer_offer(now, call, &offer)
                }
                // Who was brought in from another call has no peer to hear until it has answered.
                State::Up if is_new => Err(End::because(
                    EndReason::NotAcceptable,
                    "the telephone stays where it was",
                )),
                State::Up => table.agreed(call),
                State::Offered | State::Ringing | State::Accepted | State::Connecting => Ok(()),
            }
        });
    }

    /// Sends the worker a side's whole state.
    pub(super) fn configure(&mut self, call: &mut Call, side: Side) {
        let bind = self.endpoints.facts().rtp_bind;
        let answered = matches!(call.state, State::Up) && call.answered.is_some();
        let limit = answered.then_some(self.config.call.silence_limit);
        let (bridge, worker) = (call.bridge, call.worker);
        let Some(media) = call.side_mut(side) else {
            return;
        };
        media.configured = true;
        let spec = Box::new(media.spec(bridge, bind, limit));
        call.has_bridge = true;
        let command = MediaCommand::Configure { bridge, side, spec };
        self.outputs.push_back(CallOutput::Media(worker, command));
        self.configure_video(call, side);
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
///
/// COMPAT(libwebrtc): where the answer only receives video, it throws the sound away that shares the
/// transport (`test_video_beside_the_sound_goes_nowhere_and_does_no_harm`).
pub(super) fn beside(offered: &Stream, audio: &Stream) -> Stream {
    let is_jingle = matches!(audio.transport, Transport::Ice(_));
    Stream {
        name: offered.name.clone(),
        media: offered.media,
        codecs: offered.codecs.iter().take(1).cloned().collect(),
        direction: match (is_jingle, offered.direction) {
            (true, Direction::Both) => Direction::Both,
            (true, _) => Direction::Receive,
            (false, _) => Direction::Inactive,
        },
        ptime_ms: None,
        maxptime_ms: None,
        transport: audio.transport.clone(),
        rejected: !is_jingle,
    }
}
