//! Pictures of a call, where its trunk has them: a second stream with a bridge of its own (`border.rs`).
//!
//! The call is about sound. Whatever is wrong with the pictures (no encoding in common, no port left,
//! no way to the peer) leaves a call without pictures; but for a broken promise of protection, which
//! ends the call as it does with sound. There are pictures from the beginning or never: a call to whom
//! it was transferred has none.

use std::time::Instant;

use super::endpoints::{Endpoints, LocalEnd};
use super::entry::Call;
use super::offers::beside;
use super::pictures;
use super::side::SideMedia;
use super::{CallOutput, Calls};
use crate::border::{MediaCommand, MediaEvent, Side};
use crate::description::{Codec, Description, Direction, Media, Setup, Stream, Transport};
use crate::id::{BridgeId, LegId, Room, WorkerId};
use crate::leg::End;

/// The name of pictures in our offers; sound is `0`.
const NAME: &str = "1";

impl Calls {
    /// Offers pictures to a leg beside `sound`, if caller and trunk have some.
    pub(super) fn offer_video(
        &mut self,
        now: Instant,
        call: &mut Call,
        room: Room,
        trunk: Option<&str>,
        media: &mut SideMedia,
    ) -> Option<Stream> {
        let mut codecs = pictures::of_offering(&call.offering);
        let trunk = trunk.or(call.trunk.as_deref());
        let known = self.config.trunks.iter().find(|t| Some(&*t.name) == trunk);
        if codecs.is_empty() || !known.is_some_and(|trunk| trunk.video) {
            return None;
        }
        if room == Room::Xmpp {
            codecs = pictures::numbered(codecs);
        }
        // In an offer each stream has a transport, which BUNDLE makes one (RFC 9143 §7.2).
        let local = self.local_end(now, call, room).ok()?;
        let mut video = SideMedia::new(local, media.keying, true);
        let stream = self.video_stream(call.worker, &video, codecs);
        video.ours = Some(stream.clone());
        media.video = Some(Box::new(video));
        Some(stream)
    }

    fn video_stream(&mut self, worker: WorkerId, video: &SideMedia, codecs: Vec<Codec>) -> Stream {
        let mut transport =
            self.endpoints
                .transport(worker, &video.local, Setup::Actpass, true, true);
        if let Transport::Rtp(rtp) = &mut transport {
            let certificate = &self.endpoints.facts().fingerprint;
            video
                .keying
                .offer(rtp, video.agreed(), certificate, &mut self.tokens);
        }
        Stream {
            name: NAME.to_owned(),
            media: Media::Video,
            codecs,
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport,
            rejected: false,
        }
    }

    /// Answers the pictures that `leg` offers: with those of the other side if it has some in an encoding
    /// that is offered.
    pub(super) fn answer_video(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        (offered, bundle): (&Stream, bool),
        sound: &Stream,
    ) -> Result<Stream, End> {
        let other = call.side_mut(call.side_of(leg).other());
        let other = other.and_then(|media| media.video.as_ref()?.picture.clone());
        let answer = other.and_then(|codec| pictures::answer(offered, &codec));
        let refused = beside(offered, sound);
        let is_protected = match &offered.transport {
            Transport::Ice(ice) => ice.fingerprint.is_some(),
            Transport::Rtp(_) => true,
        };
        // Who has bundled pictures throws nothing away with those that nobody wants. Without BUNDLE the
        // client waits for their transport, so they get one.
        let wants_transport = leg.room == Room::Xmpp && !bundle;
        if !is_protected || (answer.is_none() && !wants_transport) {
            if let Some(video) = call.media_mut(leg).and_then(|m| m.video.as_deref_mut()) {
                video.stop();
            }
            return Ok(refused);
        }
        let Some(mut video) = self.video_of(now, call, leg, offered) else {
            return Ok(refused);
        };
        let transport = match bundle {
            true => Ok(sound.transport.clone()),
            false => self.answering(call.worker, &video, offered),
        };
        let stream = transport.map(|transport| {
            video.bundled = bundle;
            video.set_peer(offered);
            let (codecs, format) = match answer {
                Some((codec, format)) => (vec![codec], Some(format)),
                None => (refused.codecs.clone(), None),
            };
            video.picture = codecs.first().filter(|_| format.is_some()).cloned();
            video.format = format;
            let stream = Stream {
                name: offered.name.clone(),
                media: Media::Video,
                codecs,
                direction: offered.direction.reversed(),
                ptime_ms: None,
                maxptime_ms: None,
                transport,
                rejected: false,
            };
            video.describe(Some(stream.clone()));
            stream
        });
        if let Some(media) = call.media_mut(leg) {
            media.video = Some(video);
        }
        stream
    }

    /// Our end of a leg's pictures, a new one if it has none; `None` if there is no port left.
    fn video_of(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        offered: &Stream,
    ) -> Option<Box<SideMedia>> {
        let keying = call.media_mut(leg)?.keying;
        let fresh = Endpoints::ice_end(&mut self.tokens, None);
        if let Some(mut video) = call.media_mut(leg)?.video.take() {
            video.meet(offered, fresh);
            return Some(video);
        }
        let local = self.local_end(now, call, leg.room).ok()?;
        Some(Box::new(SideMedia::new(local, keying, false)))
    }

    /// The transport that answers that of `offered`.
    fn answering(
        &mut self,
        worker: WorkerId,
        video: &SideMedia,
        offered: &Stream,
    ) -> Result<Transport, End> {
        let (setup, mux) = match &offered.transport {
            Transport::Ice(ice) => {
                let theirs = ice.fingerprint.as_ref().map(|f| f.setup);
                (theirs.unwrap_or(Setup::Actpass), ice.rtcp_mux)
            }
            Transport::Rtp(_) => (Setup::Actpass, false),
        };
        let mut transport =
            self.endpoints
                .transport(worker, &video.local, setup.answered(), mux, !mux);
        if let (Transport::Rtp(ours), Transport::Rtp(theirs)) = (&mut transport, &offered.transport)
        {
            let certificate = &self.endpoints.facts().fingerprint;
            let before = video.own_rtp();
            video
                .keying
                .answer(ours, theirs, before, certificate, &mut self.tokens)?;
        }
        Ok(transport)
    }

    /// The streams of an offer within a call: those that were described before, in their order
    /// (RFC 3264 §8), with `sound` as it is now.
    pub(super) fn lines(
        &mut self,
        worker: WorkerId,
        media: &SideMedia,
        sound: &Stream,
    ) -> Vec<Stream> {
        let is_sound = |s: &Stream| s.media == Media::Audio && !s.rejected;
        let Some(at) = media.lines.iter().position(is_sound) else {
            return vec![sound.clone()];
        };
        let mut lines = media.lines.clone();
        let pictures = lines
            .iter()
            .position(|s| s.media == Media::Video && !s.rejected);
        for line in &mut lines {
            line.rejected = true;
        }
        lines[at] = Stream {
            name: lines[at].name.clone(),
            ..sound.clone()
        };
        if let (Some(at), Some(video)) = (pictures, media.video.as_deref())
            && let (Some(codec), Some(_)) = (&video.picture, &video.format)
        {
            let name = lines[at].name.clone();
            let own = video.ours.as_ref().map(|ours| ours.codecs.clone());
            let codecs = own.unwrap_or_else(|| vec![codec.clone()]);
            lines[at] = self.video_stream(worker, video, codecs);
            lines[at].name = name;
        }
        lines
    }

    /// Sends the worker the whole state of a side's pictures, if it has to know of them.
    pub(super) fn configure_video(&mut self, call: &mut Call, side: Side) {
        let bind = self.endpoints.facts().rtp_bind;
        let (sound, worker) = (call.bridge, call.worker);
        let bridge = sound.of_pictures();
        let Some(video) = call.side_mut(side).and_then(|m| m.video.as_deref_mut()) else {
            return;
        };
        // A port is bound before the peer can know of it; ICE has nothing to do before the answer.
        let is_early = matches!(video.local, LocalEnd::Rtp { .. });
        if !video.configured && !is_early && video.peer.is_none() {
            return;
        }
        video.configured = true;
        let spec = Box::new(video.spec(sound, bind, None));
        call.has_pictures = true;
        let command = MediaCommand::Configure { bridge, side, spec };
        self.outputs.push_back(CallOutput::Media(worker, command));
    }

    /// Ends the pictures of a call for good.
    pub(super) fn drop_video(&mut self, call: &mut Call) {
        for side in [Side::Caller, Side::Callee] {
            if let Some(media) = call.side_mut(side) {
                media.video = None;
            }
        }
        self.close_video(call.has_pictures, call.bridge, call.worker);
        call.has_pictures = false;
    }

    /// Closes the bridge of a call's pictures; its ports are free when that of the sound is closed, since a
    /// worker does one thing after the other.
    pub(super) fn close_video(&mut self, is_open: bool, sound: BridgeId, worker: WorkerId) {
        if is_open {
            let bridge = sound.of_pictures();
            let command = MediaCommand::Close { bridge };
            self.outputs.push_back(CallOutput::Media(worker, command));
        }
    }

    /// Takes what a worker tells of a bridge of pictures.
    pub(super) fn video_event(&mut self, now: Instant, event: MediaEvent) {
        match event {
            MediaEvent::PortTaken {
                bridge,
                side,
                port,
                text,
            } => self.port_taken(now, bridge, side, port, &text),
            MediaEvent::Failed { bridge, text, .. } => {
                tracing::debug!(%bridge, text, "no pictures");
            }
            MediaEvent::Closed { bridge, stats } => {
                let (caller, callee) = (stats.caller.received, stats.callee.received);
                tracing::debug!(%bridge, caller, callee, "packets of pictures");
            }
            MediaEvent::Connected { .. } | MediaEvent::Silent { .. } | MediaEvent::Digit { .. } => {
            }
        }
    }
}

impl SideMedia {
    /// Takes what an answer to an offer of ours says of pictures.
    pub(super) fn take_video_answer(&mut self, answer: &Description) -> Result<(), End> {
        let Some(video) = self.video.as_deref_mut() else {
            return Ok(());
        };
        let both = video.ours.as_ref().zip(answer.video());
        let chosen = both.and_then(|(ours, theirs)| {
            let protected =
                !matches!(&theirs.transport, Transport::Ice(i) if i.fingerprint.is_none());
            let (codec, format) = pictures::chosen(ours, theirs).filter(|_| protected)?;
            Some((theirs, codec, format))
        });
        let Some((theirs, codec, format)) = chosen else {
            video.stop();
            return Ok(());
        };
        video.take_keys(theirs)?;
        video.bundled = answer.bundle && matches!(theirs.transport, Transport::Ice(_));
        video.picture = Some(codec);
        video.format = Some(format);
        video.set_peer(theirs);
        Ok(())
    }

    /// The peer has no pictures, or none any more.
    pub(super) fn stop(&mut self) {
        self.format = None;
        self.picture = None;
    }
}
