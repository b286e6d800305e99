//! What a description must look like before a client sees it.
//!
//! The call table says what it wants; this file makes it fit the clients: an answer has exactly
//! the contents that were offered, in the offer's words, with one codec; an offer leaves the DTLS
//! role open and has names that every client takes.
//!
//! Video. A client that loses an offered content ends the call, so each is answered. Where the other
//! side of the call has no pictures, nothing is ever sent, and what arrives is thrown away by the media
//! room: on the voice's transport if that is offered (BUNDLE), else on one of its own, which the client
//! would wait for. More contents than a voice and a picture are taken in one BUNDLE only.

use crate::description::{
    Codec, Description, Direction, Fingerprint, IceTransport, Media, Setup, Stream, Transport,
};

/// COMPAT(Conversations): refuses longer content names, and blanks in them.
const MAX_PLAIN_NAME: usize = 16;

/// True if every content can be answered: see the head of this file about video.
pub fn is_answerable(offer: &Description) -> bool {
    let count = |media| offer.streams.iter().filter(|s| s.media == media).count();
    offer.bundle || (count(Media::Audio) == 1 && count(Media::Video) <= 1)
}

/// True if every stream has DTLS-SRTP with the one hash that is computed here (and by every client
/// that is known).
pub fn is_protected(description: &Description) -> bool {
    description
        .streams
        .iter()
        .all(|stream| match &stream.transport {
            Transport::Ice(ice) => (ice.fingerprint.as_ref())
                .is_some_and(|f| f.hash == "sha-256" && f.value.len() == 32),
            Transport::Rtp(_) => false,
        })
}

/// Takes the SDES keys out of streams that have DTLS: they are the lesser offer of the two.
pub fn prefer_dtls(description: &mut Description) {
    for stream in &mut description.streams {
        if let Transport::Ice(ice) = &mut stream.transport
            && ice.fingerprint.is_some()
        {
            ice.sdes.clear();
        }
    }
}

/// Settles the DTLS role of a peer's answer that leaves it open: the answerer is the client
/// (XEP-0320 §2, RFC 5763 §5).
pub fn settle_setup(answer: &mut Description) {
    for stream in &mut answer.streams {
        set_setup(stream, answerers);
    }
}

fn answerers(setup: Setup) -> Setup {
    match setup {
        Setup::Passive => Setup::Passive,
        Setup::Active | Setup::Actpass => Setup::Active,
    }
}

/// Our offer as clients take it, and the names of its streams as the call table knows them.
pub fn as_offer(mut offer: Description) -> (Description, Vec<String>) {
    let names: Vec<String> = offer.streams.iter().map(|s| s.name.clone()).collect();
    let plain = names
        .iter()
        .enumerate()
        .all(|(i, name)| is_plain(name) && names.iter().position(|other| other == name) == Some(i));
    for (i, stream) in offer.streams.iter_mut().enumerate() {
        if !plain {
            stream.name = i.to_string();
        }
        // COMPAT(Conversations): a fixed role in an offer is a security-error.
        set_setup(stream, |_| Setup::Actpass);
    }
    (offer, names)
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= MAX_PLAIN_NAME && name.bytes().all(plain)
}

/// The call table's `answer` in terms of the `offer`; `None` if it answers no voice at all.
pub fn as_answer(offer: &Description, answer: Description) -> Option<Description> {
    let voice = answer.audio()?.clone();
    let mut left = answer.streams;
    let streams = offer
        .streams
        .iter()
        .map(|offered| {
            let place = left
                .iter()
                .position(|s| s.name == offered.name)
                .or_else(|| left.iter().position(|s| s.media == offered.media));
            let answered = place.map(|place| left.remove(place));
            match answered {
                Some(stream) if !stream.rejected && !stream.codecs.is_empty() => {
                    fitted(offered, stream)
                }
                _ => thrown_away(offered, &voice),
            }
        })
        .collect();
    Some(Description {
        streams,
        bundle: offer.bundle,
    })
}

fn fitted(offered: &Stream, mut stream: Stream) -> Stream {
    stream.name.clone_from(&offered.name);
    stream.codecs = match offered.media {
        Media::Audio => one_codec(stream.codecs),
        Media::Video | Media::Other => stream.codecs,
    };
    for codec in &mut stream.codecs {
        respell(codec, &offered.codecs);
    }
    limit_to_offer(offered, &mut stream);
    stream
}

/// A stream that the offerer may send and nobody looks at.
fn thrown_away(offered: &Stream, voice: &Stream) -> Stream {
    let real = offered.codecs.iter().find(|codec| !codec.is_auxiliary());
    let mut stream = Stream {
        name: offered.name.clone(),
        media: offered.media,
        codecs: real
            .or(offered.codecs.first())
            .cloned()
            .into_iter()
            .collect(),
        // COMPAT(libwebrtc): with `senders='initiator'` it throws the sound away that shares its
        // transport, and Movim turns it round.
        direction: match offered.direction {
            Direction::Both => Direction::Both,
            Direction::Send | Direction::Receive | Direction::Inactive => Direction::Receive,
        },
        ptime_ms: None,
        maxptime_ms: None,
        transport: voice.transport.clone(),
        rejected: false,
    };
    limit_to_offer(offered, &mut stream);
    stream
}

fn limit_to_offer(offered: &Stream, stream: &mut Stream) {
    // Clients take `actpass` in an answer for an error.
    set_setup(stream, answerers);
    if let (Transport::Ice(ours), Transport::Ice(theirs)) =
        (&mut stream.transport, &offered.transport)
    {
        ours.rtcp_mux &= theirs.rtcp_mux;
    }
}

fn set_setup(stream: &mut Stream, choose: impl Fn(Setup) -> Setup) {
    if let Transport::Ice(IceTransport {
        fingerprint: Some(Fingerprint { setup, .. }),
        ..
    }) = &mut stream.transport
    {
        *setup = choose(*setup);
    }
}

/// The first real codec, and the telephone-event of its clock: Dino takes the first payload type
/// whatever it is, Kaidan the first that it knows.
fn one_codec(codecs: Vec<Codec>) -> Vec<Codec> {
    let Some(real) = codecs.iter().find(|codec| !codec.is_auxiliary()).cloned() else {
        return codecs;
    };
    let keys = codecs
        .into_iter()
        .find(|codec| codec.is("telephone-event") && codec.clock_hz == real.clock_hz);
    std::iter::once(real).chain(keys).collect()
}

/// Spells a codec as the offer does: Kaidan compares name and channels to the letter.
fn respell(codec: &mut Codec, offered: &[Codec]) {
    let same = offered
        .iter()
        .find(|o| o.payload_type == codec.payload_type && o.is(&codec.name));
    if let Some(same) = same {
        codec.name.clone_from(&same.name);
        codec.clock_hz = same.clock_hz;
        codec.channels = same.channels;
    }
}
