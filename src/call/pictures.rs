//! Which encoding of pictures a call passes through, and what each side is told of it (RFC 3264, RFC 6184
//! §8.2.2, RFC 7741 §6). Nothing is encoded anew: sides that share no encoding have no pictures, and
//! talk all the same.

use crate::border::Format;
use crate::description::{Codec, Media, Stream};
use crate::leg::Offering;

/// Codec lines of one stream that are looked at: a browser has H.264 in eight kinds.
const MAX_LINES: usize = 12;

/// The first number of our own lines; sound has others ([`super::negotiate`]).
const FIRST_NUMBER: u8 = 96;

/// What a receiver may ask for: a new picture in two ways, and lost packets.
const FEEDBACK: [(&str, &str); 3] = [("nack", "pli"), ("ccm", "fir"), ("nack", "")];

/// The clock of all pictures.
const CLOCK_HZ: u32 = 90_000;

/// An encoding that is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    /// RFC 7741.
    Vp8,
    /// RFC 6184: what both sides must have alike. Baseline and Constrained Baseline count as one, since
    /// nobody makes use of what is in the first alone.
    H264 { mode: u8, profile: [u8; 2] },
}

impl Picture {
    fn of(codec: &Codec) -> Option<Self> {
        if codec.clock_hz != CLOCK_HZ {
            return None;
        }
        if codec.is("VP8") {
            return Some(Self::Vp8);
        }
        let mode = parameter(codec, "packetization-mode").map_or(Some(0), |m| m.parse().ok())?;
        let [a, b, ..] = *profile_level_id(codec).as_bytes() else {
            return None;
        };
        let profile = [a, b];
        codec.is("H264").then_some(Self::H264 { mode, profile })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 { .. } => "H264",
        }
    }
}

fn parameter<'a>(codec: &'a Codec, name: &str) -> Option<&'a str> {
    let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
    codec.parameters.iter().find(named).map(|(_, v)| v.as_str())
}

/// RFC 6184 §8.1: six hex digits, and what holds without them.
fn profile_level_id(codec: &Codec) -> &str {
    let written = parameter(codec, "profile-level-id").unwrap_or_default();
    let whole = written.len() == 6 && written.bytes().all(|b| b.is_ascii_hexdigit());
    if whole { written } else { "42000A" }
}

/// The lines of a stream that can be passed through, as it orders them.
pub fn passed(stream: &Stream) -> Vec<Codec> {
    let lines = stream.codecs.iter();
    let known = lines.filter(|codec| Picture::of(codec).is_some());
    known.take(MAX_LINES).map(said).collect()
}

/// What a caller has, as far as it has said so; nothing if it wants no pictures.
pub fn of_offering(offering: &Offering) -> Vec<Codec> {
    match offering {
        Offering::Described(offer) => offer.video().map(passed).unwrap_or_default(),
        Offering::Later(media) if media.contains(&Media::Video) => own(),
        Offering::Later(_) | Offering::Delayed => Vec::new(),
    }
}

/// What XMPP clients have who have not said it yet: VP8 all of them, H.264 most.
fn own() -> Vec<Codec> {
    let vp8 = Codec::new(FIRST_NUMBER, "VP8", CLOCK_HZ, 1);
    let h264 = |number: u8, mode: &str| {
        let mut codec = Codec::new(FIRST_NUMBER + number, "H264", CLOCK_HZ, 1);
        codec.parameters = [
            ("profile-level-id", "42e01f"),
            ("packetization-mode", mode),
            ("level-asymmetry-allowed", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        codec
    };
    let mut codecs = vec![vp8, h264(1, "1"), h264(2, "0")];
    for codec in &mut codecs {
        codec.feedback = wanted(|_| true);
    }
    codecs
}

/// A line of a peer as we say it to the other side.
fn said(codec: &Codec) -> Codec {
    let mut said = codec.clone();
    // Who makes pictures is asked for new ones in any case; packets are only asked for again where
    // somebody does ask.
    let asks = |what: &(&str, &str)| *what != ("nack", "") || has(codec, what);
    said.feedback = wanted(asks);
    said
}

fn wanted(asks: impl Fn(&(&str, &str)) -> bool) -> Vec<(String, String)> {
    let said = FEEDBACK.iter().filter(|what| asks(what));
    said.map(|(kind, subtype)| ((*kind).to_owned(), (*subtype).to_owned()))
        .collect()
}

fn has(codec: &Codec, (kind, subtype): &(&str, &str)) -> bool {
    let alike =
        |(k, s): &(String, String)| k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype);
    codec.feedback.iter().any(alike)
}

/// The same lines with numbers of ours, which differ from those of sound: both are told apart by them
/// where they share a transport (RFC 9143 §9.2).
pub fn numbered(mut codecs: Vec<Codec>) -> Vec<Codec> {
    for (codec, number) in codecs.iter_mut().zip(FIRST_NUMBER..) {
        codec.payload_type = number;
    }
    codecs
}

/// The answer to an offered stream, if it has the encoding of the other side's line `other`.
pub fn answer(offer: &Stream, other: &Codec) -> Option<(Codec, Format)> {
    let wanted = Picture::of(other)?;
    let mut fitting = offer
        .codecs
        .iter()
        .filter(|codec| Picture::of(codec) == Some(wanted));
    let exact =
        |codec: &&Codec| profile_level_id(codec).eq_ignore_ascii_case(profile_level_id(other));
    let codec = fitting.clone().find(exact).or_else(|| fitting.next())?;
    let mut answer = codec.clone();
    answer.parameters = parameters(codec, other, wanted);
    answer.feedback =
        self::wanted(|what| has(codec, what) && (*what != ("nack", "") || has(other, what)));
    let format = format(wanted, codec.payload_type, codec.payload_type);
    Some((answer, format))
}

/// What the peer of an offer is told of the other side as a receiver: its parameters, but for what an
/// answer must repeat (RFC 6184 §8.2.2).
fn parameters(offered: &Codec, other: &Codec, picture: Picture) -> Vec<(String, String)> {
    let mut said = other.parameters.clone();
    if picture == Picture::Vp8 {
        return said;
    }
    let repeats = ["profile-level-id", "packetization-mode"];
    said.retain(|(name, _)| !repeats.iter().any(|r| name.eq_ignore_ascii_case(r)));
    let asymmetric = |codec| parameter(codec, "level-asymmetry-allowed") == Some("1");
    let (ours, theirs) = (profile_level_id(offered), profile_level_id(other));
    let level = match asymmetric(offered) && asymmetric(other) {
        true => &theirs[4..],
        false => &ours[4..],
    };
    let id = format!("{}{level}", &ours[..4]);
    said.push(("profile-level-id".to_owned(), id));
    if let Some(mode) = parameter(offered, "packetization-mode") {
        said.push(("packetization-mode".to_owned(), mode.to_owned()));
    }
    said
}

/// Reads the answer to an offer of ours: the peer's line, and how its packets look.
pub fn chosen(ours: &Stream, theirs: &Stream) -> Option<(Codec, Format)> {
    theirs.codecs.iter().find_map(|codec| {
        let picture = Picture::of(codec)?;
        let fits = |own: &&Codec| Picture::of(own) == Some(picture);
        let same = |own: &&Codec| own.payload_type == codec.payload_type;
        let own = ours.codecs.iter();
        let own = own
            .clone()
            .filter(fits)
            .find(same)
            .or_else(|| own.clone().find(fits))?;
        let format = format(picture, codec.payload_type, own.payload_type);
        Some((codec.clone(), format))
    })
}

fn format(picture: Picture, send: u8, receive: u8) -> Format {
    Format {
        encoding: picture.name().to_owned(),
        clock_hz: CLOCK_HZ,
        send_payload_type: send,
        receive_payload_type: receive,
        receive_also: Vec::new(),
        send_digits: None,
        receive_digits: Vec::new(),
        send_noise: None,
        receive_noise: None,
        ptime_ms: 0,
        fec: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Direction, RtpTransport, Security, Transport};

    fn h264(number: u8, id: &str, mode: &str, more: &[(&str, &str)]) -> Codec {
        let mut codec = Codec::new(number, "H264", 90_000, 1);
        let said = [("profile-level-id", id), ("packetization-mode", mode)];
        codec.parameters = said
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        codec
    }

    fn stream(codecs: Vec<Codec>) -> Stream {
        Stream {
            name: "1".to_owned(),
            media: Media::Video,
            codecs,
            direction: Direction::Both,
            ptime_ms: None,
            maxptime_ms: None,
            transport: Transport::Rtp(RtpTransport {
                address: None,
                rtcp: None,
                rtcp_mux: false,
                security: Security::None,
                opportunistic: false,
            }),
            rejected: false,
        }
    }

    const ASYMMETRIC: &[(&str, &str)] = &[("level-asymmetry-allowed", "1")];

    #[test]
    fn h264_fits_by_profile_and_packets_and_says_the_level_of_the_receiver() {
        let offer = stream(vec![
            Codec::new(96, "VP8", 90_000, 1),
            h264(102, "64001f", "1", ASYMMETRIC),
            h264(104, "42001f", "0", ASYMMETRIC),
            h264(106, "42001f", "1", ASYMMETRIC),
            h264(108, "42e01f", "1", ASYMMETRIC),
        ]);
        let phone = h264(
            97,
            "42801e",
            "1",
            &[("level-asymmetry-allowed", "1"), ("max-mbps", "40500")],
        );
        let (answer, format) = answer(&offer, &phone).unwrap();
        assert_eq!(answer.payload_type, 106);
        assert_eq!(
            (format.send_payload_type, format.receive_payload_type),
            (106, 106)
        );
        assert_eq!(parameter(&answer, "profile-level-id"), Some("42001e"));
        assert_eq!(parameter(&answer, "packetization-mode"), Some("1"));
        assert_eq!(parameter(&answer, "max-mbps"), Some("40500"));
        // Who cannot do with another level than its own is told its own.
        let phone = h264(97, "42801e", "1", &[]);
        let (answer, _) = super::answer(&offer, &phone).unwrap();
        assert_eq!(parameter(&answer, "profile-level-id"), Some("42001f"));
        let exact = h264(97, "42e01f", "1", &[]);
        assert_eq!(super::answer(&offer, &exact).unwrap().0.payload_type, 108);
        assert_eq!(super::answer(&offer, &h264(97, "4d001f", "1", &[])), None);
        assert_eq!(
            super::answer(&offer, &Codec::new(34, "H263", 90_000, 1)),
            None
        );
    }

    #[test]
    fn what_an_offer_of_ours_was_answered_with_is_found_whatever_its_number() {
        let ours = stream(of_offering(&Offering::Later(vec![
            Media::Audio,
            Media::Video,
        ])));
        let (codec, format) = chosen(
            &ours,
            &stream(vec![
                Codec::new(31, "H261", 90_000, 1),
                h264(123, "42E01E", "0", &[]),
            ]),
        )
        .unwrap();
        assert_eq!(codec.payload_type, 123);
        assert_eq!(
            (format.send_payload_type, format.receive_payload_type),
            (123, 98)
        );
        assert_eq!(
            chosen(&ours, &stream(vec![Codec::new(31, "H261", 90_000, 1)])),
            None
        );
        assert!(of_offering(&Offering::Later(vec![Media::Audio])).is_empty());
    }

    #[test]
    fn packets_are_asked_for_again_only_where_both_sides_know_how() {
        let all = |codec: &mut Codec| codec.feedback = wanted(|_| true);
        let mut offered = Codec::new(96, "VP8", 90_000, 1);
        all(&mut offered);
        offered
            .feedback
            .push(("goog-remb".to_owned(), String::new()));
        let mut phone = Codec::new(120, "VP8", 90_000, 1);
        let kinds = |other: &Codec| {
            let (answer, _) = answer(&stream(vec![offered.clone()]), other).unwrap();
            answer.feedback.len()
        };
        assert_eq!(kinds(&phone), 2, "a new picture, in two ways");
        all(&mut phone);
        assert_eq!(kinds(&phone), 3);
        assert_eq!(passed(&stream(vec![offered.clone()]))[0].feedback.len(), 3);
    }

    #[test]
    fn what_is_no_h264_fits_nothing() {
        for id in ["", "42e0", "zzzzzz", "42e01f42e01f", "äää"] {
            let odd = h264(97, id, "1", &[]);
            assert_eq!(
                Picture::of(&odd),
                Picture::of(&h264(97, "42000a", "1", &[]))
            );
        }
        assert_eq!(Picture::of(&h264(97, "42e01f", "x", &[])), None);
    }
}
