//! Which codec a call uses, and what each side's packets then look like (RFC 3264, XEP-0167).
//!
//! Sound passes through untouched where both sides speak the same encoding; where they do not, or the
//! operator wants Opus toward clients, the worker transcodes it. Payload types and the clock of
//! telephone-event may differ from side to side in any case; [`Format`] says what each side has.

use crate::border::{Encoded, Format};
use crate::config::Transcode;
use crate::description::{Codec, Direction, Media, Stream, Transport};
use crate::id::Room;

/// The static payload type of comfort noise (RFC 3389 §4).
const NOISE: u8 = 13;

/// An encoding that the gateway passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// RFC 7587.
    Opus,
    /// RFC 3551 §4.5.2.
    G722,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Encoding {
    /// Every encoding, most wanted first.
    pub const ALL: [Self; 4] = [Self::Opus, Self::G722, Self::Pcmu, Self::Pcma];

    /// The encoding of a codec line.
    pub fn of(codec: &Codec) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| {
            // Some clients leave Opus' channels out or say 1 (Gajim); RFC 7587 §7 allows only 2.
            let channels = *encoding == Self::Opus || codec.channels == encoding.channels();
            codec.is(encoding.name()) && codec.clock_hz == encoding.clock_hz() && channels
        })
    }

    /// The encoding by its name in configuration or description; case does not count.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::G722 => "G722",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    fn clock_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::G722 | Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    fn channels(self) -> u8 {
        match self {
            Self::Opus => 2,
            Self::G722 | Self::Pcmu | Self::Pcma => 1,
        }
    }

    fn payload_type(self) -> u8 {
        match self {
            // The number that libwebrtc uses; Kaidan takes no other one for Opus.
            Self::Opus => 111,
            Self::G722 => 9,
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// True if pauses are told as comfort noise (RFC 3389) beside it: Opus has a way of its own, and
    /// for G.722 hardly any telephone makes it.
    fn rests_in_noise(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma)
    }

    fn codec(self) -> Codec {
        let mut codec = Codec::new(
            self.payload_type(),
            self.name(),
            self.clock_hz(),
            self.channels(),
        );
        if self == Self::Opus {
            codec.parameters = vec![
                ("minptime".to_owned(), "10".to_owned()),
                ("useinbandfec".to_owned(), "1".to_owned()),
            ];
        }
        codec
    }
}

/// The encodings that a stream holds, in its order.
pub fn encodings(stream: &Stream) -> Vec<Encoding> {
    let mut found = Vec::new();
    for encoding in stream.codecs.iter().filter_map(Encoding::of) {
        if !found.contains(&encoding) {
            found.push(encoding);
        }
    }
    found
}

/// What to offer to a leg in `room` for the sake of a peer that has `peer`, as far as `allowed`:
/// what it shares with the peer first, in the order of `allowed`.
pub fn offerable(
    transcode: Transcode,
    room: Room,
    peer: &[Encoding],
    allowed: &[Encoding],
) -> Vec<Encoding> {
    let (mut list, others): (Vec<Encoding>, Vec<Encoding>) =
        allowed.iter().partition(|encoding| peer.contains(encoding));
    match transcode {
        Transcode::Never => {}
        Transcode::WhenNeeded | Transcode::PreferOpus => list.extend(others),
    }
    if transcode == Transcode::PreferOpus && room == Room::Xmpp {
        // Stable: the rest stays in its order.
        list.sort_by_key(|encoding| *encoding != Encoding::Opus);
    }
    list
}

/// What to answer to a leg in `room` that offers `offered`, while the other side of the call speaks
/// `other` and the leg itself has spoken `before`.
pub fn answerable(
    transcode: Transcode,
    room: Room,
    offered: &[Encoding],
    other: Option<Encoding>,
    before: Option<Encoding>,
) -> Option<Encoding> {
    let opus =
        Some(Encoding::Opus).filter(|_| transcode == Transcode::PreferOpus && room == Room::Xmpp);
    let best = match room {
        // Their order is that of a library, not of a wish.
        Room::Xmpp => offered.iter().min().copied(),
        Room::Sip => offered.first().copied(),
    };
    // The other side may still be free to take what this one has.
    let is_free = transcode != Transcode::Never || other.is_none();
    let anew = [before, best].map(|encoding| encoding.filter(|_| is_free));
    [opus, other]
        .into_iter()
        .chain(anew)
        .flatten()
        .find(|encoding| offered.contains(encoding))
}

/// The codec lines of an offer of ours, with telephone-event at every clock that is in it, and with
/// comfort noise beside G.711 if `noise` says so.
pub fn offered_codecs(room: Room, wanted: &[Encoding], noise: bool) -> Vec<Codec> {
    let mut codecs: Vec<Codec> = wanted.iter().map(|encoding| encoding.codec()).collect();
    let digits = |payload_type, clock_hz| {
        let mut codec = Codec::new(payload_type, "telephone-event", clock_hz, 1);
        if room == Room::Sip {
            // RFC 4733 §2.4.1 wants the list; XMPP clients lose parameters without a name.
            codec.parameters = vec![(String::new(), "0-16".to_owned())];
        }
        codec
    };
    if wanted.contains(&Encoding::Opus) {
        codecs.push(digits(110, 48_000));
    }
    if wanted.iter().any(|encoding| *encoding != Encoding::Opus) || room == Room::Sip {
        codecs.push(digits(if room == Room::Sip { 101 } else { 126 }, 8_000));
    }
    if noise && wanted.iter().any(|encoding| encoding.rests_in_noise()) {
        codecs.push(Codec::new(NOISE, "CN", 8_000, 1));
    }
    codecs
}

/// Answers one offered audio stream with `encoding`: one real codec first, then at most the
/// telephone-event that goes with it, and the comfort noise, if it is offered and `noise` says that
/// it is of use (xmpp clients take the first line for both directions).
pub fn answer(
    offer: &Stream,
    encoding: Encoding,
    transport: Transport,
    direction: Direction,
    noise: bool,
) -> Option<(Stream, Format)> {
    let codec = line_of(offer, encoding)?;
    let digits = digits_beside(&offer.codecs, codec.clock_hz);
    let noise = noise_beside(&offer.codecs, encoding).filter(|_| noise);
    let mut format = format(encoding, codec, codec, digits, digits, offer);
    format.send_noise = noise.map(|noise| noise.payload_type);
    let mut codecs = vec![codec.clone()];
    codecs.extend([digits, noise].into_iter().flatten().cloned());
    let stream = Stream {
        name: offer.name.clone(),
        media: Media::Audio,
        codecs,
        direction,
        ptime_ms: None,
        maxptime_ms: None,
        transport,
        rejected: false,
    };
    Some((stream, format))
}

/// Asks a leg for packets of the length that the other side of its call wants (`ptime`, `maxptime`,
/// RFC 4566 §6), since they pass through as they are. What everybody sends by default needs no word.
pub fn ask_for_packets(ours: &mut Stream, other: Option<&Stream>) {
    ours.ptime_ms = other.and_then(|o| o.ptime_ms).filter(|ms| *ms != 20);
    ours.maxptime_ms = other.and_then(|o| o.maxptime_ms).filter(|ms| *ms < 60);
}

/// Reads the answer of a leg in `room` to an offer of ours: which encoding it speaks, and how its
/// packets look. An answer may have several (RFC 3264 §6.1); any of them may come then.
pub fn chosen(room: Room, ours: &Stream, theirs: &Stream) -> Option<(Encoding, Format)> {
    let shared = shared(room, ours, theirs);
    let encoding = *shared.first()?;
    let (codec, own) = (line_of(theirs, encoding)?, line_of(ours, encoding)?);
    let send = digits_beside(&theirs.codecs, codec.clock_hz);
    let mut format = format(encoding, codec, own, send, None, theirs);
    if let Some(own) = noise_beside(&ours.codecs, encoding) {
        let noise = noise_beside(&theirs.codecs, encoding);
        format.send_noise = noise.map(|noise| noise.payload_type);
        format.receive_noise = Some(own.payload_type);
    }
    for encoding in &shared {
        let digits = digits_beside(&theirs.codecs, encoding.clock_hz());
        let own = digits.and_then(|sent| ours.codecs.iter().find(|own| own.same_encoding(sent)));
        let own = own.map(|own| (own.payload_type, own.clock_hz));
        if let Some(own) = own.filter(|own| !format.receive_digits.contains(own)) {
            format.receive_digits.push(own);
        }
    }
    let others = shared.iter().skip(1).filter_map(|encoding| {
        Some(Encoded {
            payload_type: line_of(ours, *encoding)?.payload_type,
            encoding: encoding.name().to_ascii_uppercase(),
            clock_hz: encoding.clock_hz(),
        })
    });
    format.receive_also = others.collect();
    Some((encoding, format))
}

/// The encodings that an answer of a leg in `room` has of our offer, the one to speak first. XMPP
/// clients answer with all that they have, in any order, and speak the first of the offer's that they
/// have (libwebrtc).
pub fn shared(room: Room, ours: &Stream, theirs: &Stream) -> Vec<Encoding> {
    let (mut list, others) = match room {
        Room::Xmpp => (encodings(ours), encodings(theirs)),
        Room::Sip => (encodings(theirs), encodings(ours)),
    };
    list.retain(|encoding| others.contains(encoding));
    list
}

/// The encodings that a configuration names.
pub fn named(codecs: &[String]) -> Vec<Encoding> {
    let known = codecs.iter().filter_map(|name| Encoding::named(name));
    known.collect()
}

fn line_of(stream: &Stream, encoding: Encoding) -> Option<&Codec> {
    let mut lines = stream.codecs.iter();
    lines.find(|codec| Encoding::of(codec) == Some(encoding))
}

/// The telephone-event line that fits a codec of `clock_hz`: the one of the same clock, as RFC 4733
/// §2.1 wants it, else any.
fn digits_beside(codecs: &[Codec], clock_hz: u32) -> Option<&Codec> {
    let mut digits = codecs.iter().filter(|codec| codec.is("telephone-event"));
    let same = digits.clone().find(|codec| codec.clock_hz == clock_hz);
    same.or_else(|| digits.next())
}

fn format(
    encoding: Encoding,
    send: &Codec,
    receive: &Codec,
    send_digits: Option<&Codec>,
    receive_digits: Option<&Codec>,
    peer: &Stream,
) -> Format {
    let ptime_ms = peer
        .ptime_ms
        .unwrap_or(20)
        .min(peer.maxptime_ms.unwrap_or(u16::MAX));
    let event = |codec: &Codec| (codec.payload_type, codec.clock_hz);
    Format {
        encoding: encoding.name().to_ascii_uppercase(),
        clock_hz: encoding.clock_hz(),
        send_payload_type: send.payload_type,
        receive_payload_type: receive.payload_type,
        receive_also: Vec::new(),
        send_digits: send_digits.map(event),
        receive_digits: receive_digits.map(event).into_iter().collect(),
        send_noise: None,
        receive_noise: (encoding != Encoding::Opus).then(|| noise_of(peer)),
        ptime_ms: ptime_ms.clamp(10, 60),
        fec: send
            .parameters
            .iter()
            .any(|(name, value)| name == "useinbandfec" && value == "1"),
    }
}

/// The comfort noise line that goes with an encoding.
fn noise_beside(codecs: &[Codec], encoding: Encoding) -> Option<&Codec> {
    let mut noises = codecs.iter().filter(|_| encoding.rests_in_noise());
    noises.find(|codec| is_noise(codec))
}

/// The payload type of comfort noise from a peer. Telephones send the static one without asking.
fn noise_of(peer: &Stream) -> u8 {
    let noise = peer.codecs.iter().find(|codec| is_noise(codec));
    noise.map_or(NOISE, |codec| codec.payload_type)
}

/// True for comfort noise of the clock of every encoding that has none of its own.
fn is_noise(codec: &Codec) -> bool {
    codec.is("CN") && codec.clock_hz == 8_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_share_is_offered_first_and_the_rest_where_it_may_be() {
        use Encoding::{G722, Opus, Pcma, Pcmu};
        let offer = |transcode, room| offerable(transcode, room, &[Pcmu], &Encoding::ALL);
        assert_eq!(offer(Transcode::Never, Room::Sip), [Pcmu]);
        assert_eq!(
            offer(Transcode::WhenNeeded, Room::Sip),
            [Pcmu, Opus, G722, Pcma]
        );
        assert_eq!(
            offer(Transcode::PreferOpus, Room::Xmpp),
            [Opus, Pcmu, G722, Pcma]
        );
    }

    #[test]
    fn an_answer_is_transcoded_only_where_it_must_be() {
        use Encoding::{G722, Opus, Pcma, Pcmu};
        use Transcode::{Never, PreferOpus, WhenNeeded};
        let xmpp = |transcode, offered: &[Encoding], other| {
            answerable(transcode, Room::Xmpp, offered, Some(other), None)
        };
        assert_eq!(xmpp(WhenNeeded, &[Opus, Pcmu], Pcmu), Some(Pcmu));
        assert_eq!(xmpp(PreferOpus, &[Pcmu, Opus], Pcmu), Some(Opus));
        assert_eq!(xmpp(PreferOpus, &[Pcmu], Pcmu), Some(Pcmu));
        assert_eq!(xmpp(WhenNeeded, &[G722, Opus], Pcmu), Some(Opus));
        assert_eq!(xmpp(Never, &[G722, Opus], Pcmu), None);
        let sip = |offered: &[Encoding], before| {
            answerable(WhenNeeded, Room::Sip, offered, Some(Opus), before)
        };
        assert_eq!(sip(&[Pcma, Pcmu], None), Some(Pcma));
        assert_eq!(sip(&[Pcma, Pcmu], Some(Pcmu)), Some(Pcmu));
        assert_eq!(sip(&[Pcma, Opus], Some(Pcma)), Some(Opus));
        assert_eq!(sip(&[], Some(Pcma)), None);
    }
    use crate::description::{RtpTransport, Security};

    fn stream(codecs: Vec<Codec>) -> Stream {
        Stream {
            name: "0".to_owned(),
            media: Media::Audio,
            codecs,
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: transport(),
            rejected: false,
        }
    }

    fn transport() -> Transport {
        Transport::Rtp(RtpTransport {
            address: None,
            rtcp: None,
            rtcp_mux: false,
            security: Security::None,
            opportunistic: false,
        })
    }

    #[test]
    fn an_answer_names_one_real_codec_first_and_the_events_of_its_clock() {
        let offer = stream(vec![
            Codec::new(126, "telephone-event", 8_000, 1),
            Codec::new(110, "telephone-event", 48_000, 1),
            Codec::new(8, "PCMA", 8_000, 1),
            Codec::new(96, "opus", 48_000, 2),
        ]);
        let (answer, format) =
            answer(&offer, Encoding::Opus, transport(), Direction::Both, true).unwrap();
        let names: Vec<_> = answer.codecs.iter().map(|c| c.payload_type).collect();
        assert_eq!(names, [96, 110]);
        assert_eq!(format.send_digits, Some((110, 48_000)));
        let (answer, _) =
            super::answer(&offer, Encoding::Pcma, transport(), Direction::Both, true).unwrap();
        let names: Vec<_> = answer.codecs.iter().map(|c| c.payload_type).collect();
        assert_eq!(names, [8, 126]);
    }

    #[test]
    fn a_peer_may_answer_with_payload_types_of_its_own() {
        let ours = stream(offered_codecs(
            Room::Sip,
            &[Encoding::Opus, Encoding::Pcmu],
            true,
        ));
        let theirs = stream(vec![
            Codec::new(120, "OPUS", 48_000, 2),
            Codec::new(96, "telephone-event", 8_000, 1),
        ]);
        let (encoding, format) = chosen(Room::Sip, &ours, &theirs).unwrap();
        assert_eq!(encoding, Encoding::Opus);
        assert_eq!(
            (format.send_payload_type, format.receive_payload_type),
            (120, 111)
        );
        assert_eq!(format.send_digits, Some((96, 8_000)));
        assert_eq!(format.receive_digits, [(101, 8_000)]);
    }

    #[test]
    fn an_answer_without_a_codec_of_ours_is_none() {
        let ours = stream(offered_codecs(Room::Xmpp, &[Encoding::Pcmu], false));
        let theirs = stream(vec![Codec::new(97, "speex", 16_000, 1)]);
        assert_eq!(chosen(Room::Xmpp, &ours, &theirs), None);
    }

    /// Monal answers with all that it has, in the order of a hash table, and libwebrtc sends the
    /// first codec of the offer.
    #[test]
    fn of_an_answer_with_several_codecs_all_are_received() {
        use Encoding::{G722, Opus, Pcma, Pcmu};
        let offer = |room| stream(offered_codecs(room, &[G722, Pcmu, Pcma, Opus], false));
        let answer = stream(vec![
            Codec::new(8, "PCMA", 8_000, 1),
            Codec::new(126, "telephone-event", 8_000, 1),
            Codec::new(0, "PCMU", 8_000, 1),
            Codec::new(110, "telephone-event", 48_000, 1),
            Codec::new(111, "opus", 48_000, 2),
            Codec::new(9, "G722", 8_000, 1),
        ]);
        let also = |format: &Format| -> Vec<_> {
            let each = format.receive_also.iter();
            each.map(|e| (e.payload_type, e.encoding.clone(), e.clock_hz))
                .collect()
        };
        let named = |payload_type, name: &str, clock| (payload_type, name.to_owned(), clock);
        let (encoding, format) = chosen(Room::Xmpp, &offer(Room::Xmpp), &answer).unwrap();
        assert_eq!(encoding, G722);
        assert_eq!(
            (format.send_payload_type, format.receive_payload_type),
            (9, 9)
        );
        assert_eq!(
            also(&format),
            [
                named(0, "PCMU", 8_000),
                named(8, "PCMA", 8_000),
                named(111, "OPUS", 48_000)
            ]
        );
        assert_eq!(format.receive_digits, [(126, 8_000), (110, 48_000)]);
        // A telephone says what it would like best, under numbers of its own for what we send.
        let mut answer = stream(vec![
            Codec::new(0, "PCMU", 8_000, 1),
            Codec::new(96, "opus", 48_000, 2),
        ]);
        let (encoding, format) = chosen(Room::Sip, &offer(Room::Sip), &answer).unwrap();
        assert_eq!(encoding, Pcmu);
        assert_eq!(also(&format), [named(111, "OPUS", 48_000)]);
        answer.codecs.pop();
        let (_, format) = chosen(Room::Sip, &offer(Room::Sip), &answer).unwrap();
        assert_eq!(format.receive_also, []);
    }
}
