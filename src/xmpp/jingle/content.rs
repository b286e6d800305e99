//! Contents (XEP-0166 §7.3, XEP-0167, XEP-0338) to and from [`Description`].
//!
//! Carries what is said and decides nothing: which codec is taken is the call table's choice, and
//! what an answer must look like is in `answer.rs`. Not carried, because Jingle or its clients
//! have no way to say them: `fmtp` parameters without a value (some clients fail on a
//! `<parameter/>` without `value`), [`Direction::Inactive`] (`senders='none'` is an error to some,
//! so it is written as "the other side sends"), and [`Stream::rejected`]. Header extensions (XEP-0294),
//! feedback about sound (XEP-0293) and sources (XEP-0339) are read over and never written.

use minidom::Element;
use xmpp_parsers::ns::{JINGLE_GROUPING, JINGLE_RTCP_FB, JINGLE_RTP};

use super::{NS_JINGLE, transport};
use crate::description::{
    Codec, Crypto, Description, Direction, IceTransport, Media, Stream, Transport,
};
use crate::xmpp::stanza::{attributes, element};

/// Contents of one session at most: voice, camera and screen are three.
pub const MAX_CONTENTS: usize = 8;
/// Payload types of one content at most; there are 128 numbers, and browsers use about 60.
pub const MAX_CODECS: usize = 64;
/// Parameters of one codec at most; the longest lists (H.264, AMR) have about ten.
pub const MAX_PARAMETERS: usize = 32;
/// Kinds of feedback of one codec at most; RFC 4585 and 5104 have about ten.
pub const MAX_FEEDBACK: usize = 16;
/// `<crypto/>` lines of one content at most; RFC 4568 defines three suites.
pub const MAX_CRYPTO: usize = 8;
/// Characters of a name or a parameter at most; the longest seen is a `sprop-parameter-sets`.
pub const MAX_WORD: usize = 1024;
/// Characters of a content's name at most: it is echoed in every stanza about the content.
pub const MAX_NAME: usize = 128;

/// A party of a Jingle session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who sent `session-initiate`.
    Initiator,
    /// Who got it.
    Responder,
}

impl Side {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }

    /// The other party.
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Why a description cannot be used, or not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Not Jingle: nothing in it, or names that are missing, long or double.
    #[error("the contents are malformed: {0}")]
    Malformed(&'static str),
    /// Not a voice call.
    #[error("the contents are no voice call: {0}")]
    Application(&'static str),
    /// Not ICE-UDP.
    #[error("the transport is not ice-udp")]
    Transport,
    /// ICE-UDP that cannot work.
    #[error("the transport has no credentials")]
    Credentials,
}

/// Reads the contents of a `<jingle/>` that `describer` wrote.
pub fn read(jingle: &Element, describer: Side) -> Result<Description, ContentError> {
    let mut streams: Vec<Stream> = Vec::new();
    for content in contents(jingle) {
        if streams.len() == MAX_CONTENTS {
            return Err(ContentError::Malformed("too many contents"));
        }
        let stream = read_content(content, describer)?;
        if streams.iter().any(|s| s.name == stream.name) {
            return Err(ContentError::Malformed("two contents have one name"));
        }
        streams.push(stream);
    }
    if streams.is_empty() {
        return Err(ContentError::Malformed("no content"));
    }
    if streams.iter().all(|s| s.media != Media::Audio) {
        return Err(ContentError::Application("no sound"));
    }
    let bundle = read_bundle(jingle, &streams);
    Ok(Description { streams, bundle })
}

/// The `<content/>` elements of a `<jingle/>`.
pub fn contents(jingle: &Element) -> impl Iterator<Item = &Element> {
    jingle
        .children()
        .filter(|child| child.is("content", NS_JINGLE))
}

/// The kinds of media of a `propose` (XEP-0353 §3.1), in order and once each.
pub fn read_kinds(propose: &Element) -> Vec<Media> {
    let mut kinds = Vec::new();
    for description in propose.children().filter(|c| c.name() == "description") {
        let media = match description.is("description", JINGLE_RTP) {
            true => read_media(description),
            false => Media::Other,
        };
        if !kinds.contains(&media) {
            kinds.push(media);
        }
    }
    kinds
}

/// True if every stream is in the BUNDLE group: a group of some of them is one that
/// [`Description::bundle`] cannot say.
fn read_bundle(jingle: &Element, streams: &[Stream]) -> bool {
    jingle
        .children()
        .filter(|c| c.is("group", JINGLE_GROUPING) && c.attr("semantics") == Some("BUNDLE"))
        .any(|group| {
            let names: Vec<_> = group
                .children()
                .filter_map(|content| content.attr("name"))
                .take(MAX_CONTENTS)
                .collect();
            streams.iter().all(|s| names.contains(&s.name.as_str()))
        })
}

fn read_content(content: &Element, describer: Side) -> Result<Stream, ContentError> {
    let name = content.attr("name").unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(ContentError::Malformed("a content has no usable name"));
    }
    let Some(description) = content.get_child("description", JINGLE_RTP) else {
        return Err(ContentError::Application("a content that is not RTP"));
    };
    let media = read_media(description);
    if media == Media::Other {
        return Err(ContentError::Application("neither sound nor pictures"));
    }
    let read = content
        .children()
        .find_map(transport::read)
        .ok_or(ContentError::Transport)?;
    let (Some(ufrag), Some(pwd)) = (read.ufrag, read.pwd) else {
        return Err(ContentError::Credentials);
    };
    let payloads: Vec<_> = description
        .children()
        .filter(|child| child.is("payload-type", JINGLE_RTP))
        .take(MAX_CODECS)
        .collect();
    let (mut ptime_ms, mut maxptime_ms) = (None, None);
    for payload in &payloads {
        let milliseconds = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let [ptime, maxptime] = attributes(payload, ["ptime", "maxptime"]);
        ptime_ms = ptime_ms.or(milliseconds(ptime));
        maxptime_ms = maxptime_ms.or(milliseconds(maxptime));
    }
    Ok(Stream {
        name: name.to_owned(),
        media,
        codecs: payloads
            .iter()
            .filter_map(|payload| {
                let mut codec = read_codec(payload)?;
                if media == Media::Video {
                    codec.feedback = read_feedback(payload, description);
                }
                Some(codec)
            })
            .collect(),
        direction: read_senders(content.attr("senders"), describer),
        ptime_ms,
        maxptime_ms,
        transport: Transport::Ice(IceTransport {
            ufrag,
            pwd,
            candidates: read.candidates,
            rtcp_mux: description.has_child("rtcp-mux", JINGLE_RTP),
            fingerprint: read.fingerprint,
            sdes: read_crypto(description),
        }),
        rejected: false,
    })
}

fn read_media(description: &Element) -> Media {
    match description.attr("media") {
        Some("audio") => Media::Audio,
        Some("video") => Media::Video,
        _ => Media::Other,
    }
}

fn read_senders(senders: Option<&str>, describer: Side) -> Direction {
    let initiator_sends = match senders {
        Some("none") => return Direction::Inactive,
        Some("initiator") => true,
        Some("responder") => false,
        _ => return Direction::Both,
    };
    match (describer == Side::Initiator) == initiator_sends {
        true => Direction::Send,
        false => Direction::Receive,
    }
}

fn read_codec(payload: &Element) -> Option<Codec> {
    let [id, name, clockrate, channels] =
        attributes(payload, ["id", "name", "clockrate", "channels"]);
    let payload_type = id?.parse().ok().filter(|id| *id < 128)?;
    let standard = STATIC_PAYLOADS.iter().find(|(id, ..)| *id == payload_type);
    // XEP-0167 §4.2 makes the name optional for static payload types.
    let name = match name {
        Some(name) if !name.is_empty() && name.len() <= MAX_WORD => name.to_owned(),
        _ => standard.map(|(_, name, _)| (*name).to_owned())?,
    };
    let clock_hz = match clockrate {
        Some(clock) => clock.parse().ok().filter(|clock| *clock > 0)?,
        None => standard.map(|(_, _, clock)| *clock)?,
    };
    Some(Codec {
        payload_type,
        name,
        clock_hz,
        channels: match channels {
            Some(channels) => channels.parse().ok().filter(|channels| *channels > 0)?,
            None => 1,
        },
        parameters: payload
            .children()
            .filter(|child| child.is("parameter", JINGLE_RTP))
            .filter_map(|parameter| {
                let [name, value] = attributes(parameter, ["name", "value"]);
                let name = name?;
                // COMPAT(StanzaJS 12): puts an fmtp without `=` into the name.
                let (name, value) = match value {
                    Some(value) => (name, value),
                    None => ("", name),
                };
                let fits = name.len() <= MAX_WORD && value.len() <= MAX_WORD;
                fits.then(|| (name.to_owned(), value.to_owned()))
            })
            .take(MAX_PARAMETERS)
            .collect(),
        feedback: Vec::new(),
    })
}

/// What XEP-0293 says at a payload type, and at the description for all of them.
fn read_feedback(payload: &Element, description: &Element) -> Vec<(String, String)> {
    let said = [payload, description]
        .into_iter()
        .flat_map(|place| place.children().filter(|c| c.is("rtcp-fb", JINGLE_RTCP_FB)));
    let read = said.filter_map(|said| {
        let [kind, subtype] = attributes(said, ["type", "subtype"]);
        let (kind, subtype) = (kind?, subtype.unwrap_or_default());
        (kind.len() <= MAX_NAME && subtype.len() <= MAX_NAME)
            .then(|| (kind.to_owned(), subtype.to_owned()))
    });
    read.take(MAX_FEEDBACK).collect()
}

/// RFC 3551 §6, as far as anybody still speaks it.
const STATIC_PAYLOADS: &[(u8, &str, u32)] = &[
    (0, "PCMU", 8000),
    (3, "GSM", 8000),
    (8, "PCMA", 8000),
    (9, "G722", 8000),
    (13, "CN", 8000),
    (18, "G729", 8000),
];

fn read_crypto(description: &Element) -> Vec<Crypto> {
    let Some(encryption) = description.get_child("encryption", JINGLE_RTP) else {
        return Vec::new();
    };
    encryption
        .children()
        .filter(|child| child.is("crypto", JINGLE_RTP))
        .filter_map(|crypto| {
            let (suite, key) = (crypto.attr("crypto-suite")?, crypto.attr("key-params")?);
            (suite.len() <= MAX_WORD && key.len() <= MAX_WORD).then_some(())?;
            Some(Crypto {
                tag: crypto.attr("tag")?.parse().ok()?,
                suite: suite.to_owned(),
                key: key.to_owned(),
            })
        })
        .take(MAX_CRYPTO)
        .collect()
}

/// Writes the group, if there is one, and the contents that `describer` describes. `next_id`
/// counts the session's candidates.
pub fn write(
    description: &Description,
    describer: Side,
    next_id: &mut u32,
) -> Result<Vec<Element>, ContentError> {
    let Description { streams, bundle } = description;
    let mut written = Vec::new();
    if *bundle {
        let names = streams.iter().map(|s| {
            element("content", JINGLE_GROUPING)
                .attr("name", &s.name)
                .build()
        });
        let group = element("group", JINGLE_GROUPING)
            .attr("semantics", "BUNDLE")
            .children(names);
        written.push(group.build());
    }
    for stream in streams {
        written.push(write_stream(stream, describer, next_id)?);
    }
    Ok(written)
}

/// A `<content/>` of which only the name is said, for actions that speak about one.
pub fn write_name(name: &str, creator: Side) -> Element {
    element("content", NS_JINGLE)
        .attr("creator", creator.as_str())
        .attr("name", name)
        .build()
}

fn write_stream(
    stream: &Stream,
    describer: Side,
    next_id: &mut u32,
) -> Result<Element, ContentError> {
    let Stream {
        name,
        media,
        codecs,
        direction,
        ptime_ms,
        maxptime_ms,
        transport,
        rejected: _,
    } = stream;
    let Transport::Ice(ice) = transport else {
        return Err(ContentError::Transport);
    };
    let media = match media {
        Media::Audio => "audio",
        Media::Video => "video",
        Media::Other => return Err(ContentError::Application("neither sound nor pictures")),
    };
    // Said once, at the first codec: it is the one in use.
    let mut times = Some((ptime_ms, maxptime_ms));
    let codecs = codecs.iter().map(|codec| {
        let (ptime, maxptime) = times.take().unwrap_or((&None, &None));
        write_codec(codec, *ptime, *maxptime)
    });
    let description = element("description", JINGLE_RTP)
        .attr("media", media)
        .children(codecs)
        .children(write_crypto(&ice.sdes))
        .children(
            ice.rtcp_mux
                .then(|| element("rtcp-mux", JINGLE_RTP).build()),
        );
    // Contents are only ever offered in session-initiate, so the initiator created them all.
    Ok(element("content", NS_JINGLE)
        .attr("creator", Side::Initiator.as_str())
        .attr("name", name)
        .attr("senders", write_senders(*direction, describer))
        .child(description)
        .child(transport::write(ice, next_id))
        .build())
}

fn write_senders(direction: Direction, describer: Side) -> &'static str {
    match direction {
        Direction::Both => "both",
        Direction::Send => describer.as_str(),
        Direction::Receive | Direction::Inactive => describer.other().as_str(),
    }
}

fn write_codec(codec: &Codec, ptime_ms: Option<u16>, maxptime_ms: Option<u16>) -> Element {
    let Codec {
        payload_type,
        name,
        clock_hz,
        channels,
        parameters,
        feedback,
    } = codec;
    let feedback = feedback.iter().map(|(kind, subtype)| {
        element("rtcp-fb", JINGLE_RTCP_FB)
            .attr("type", kind)
            .attr_opt("subtype", (!subtype.is_empty()).then_some(subtype))
            .build()
    });
    let parameters = parameters
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| {
            element("parameter", JINGLE_RTP)
                .attr("name", name)
                .attr("value", value)
                .build()
        });
    element("payload-type", JINGLE_RTP)
        .attr("id", payload_type.to_string())
        .attr("name", name)
        .attr("clockrate", clock_hz.to_string())
        .attr_opt("channels", (*channels != 1).then(|| channels.to_string()))
        .attr_opt("ptime", ptime_ms.map(|ms| ms.to_string()))
        .attr_opt("maxptime", maxptime_ms.map(|ms| ms.to_string()))
        .children(parameters)
        .children(feedback)
        .build()
}

fn write_crypto(sdes: &[Crypto]) -> Option<Element> {
    if sdes.is_empty() {
        return None;
    }
    let lines = sdes.iter().map(|Crypto { tag, suite, key }| {
        element("crypto", JINGLE_RTP)
            .attr("crypto-suite", suite)
            .attr("key-params", key)
            .attr("tag", tag.to_string())
            .build()
    });
    Some(element("encryption", JINGLE_RTP).children(lines).build())
}
