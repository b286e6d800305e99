//! SDP on the SIP side: lines to [`Description`] and back (RFC 8866, RFC 3264).
//!
//! Read: addresses of either family and names, static payload types without `rtpmap`, `fmtp`,
//! `ptime`, `maxptime`, directions, `rtcp` (RFC 3605), `rtcp-mux` (RFC 5761), `crypto` (RFC 4568),
//! `rtcp-fb` of pictures (RFC 4585), `fingerprint` and `setup` (RFC 8122, RFC 4145, RFC 5763), `mid` and `group` (RFC 5888,
//! RFC 9143), keys on an unprotected profile (RFC 8643). Streams that are no RTP sound or picture stay in their place, rejected.
//!
//! Not here: ICE (its attributes are passed over), and the choice of codecs.

mod body;
mod lines;
mod write;

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

pub use body::{in_body, of};
use lines::{Attributes, Section};
pub use write::{SdpOrigin, write, write_answer};

use crate::description::{
    Codec, Crypto, Description, Fingerprint, Media, RtpTransport, Security, Setup, Stream,
    Transport,
};
use crate::sip::wire::is_token;

/// The longest description that is read. A browser's with all its codecs has 8 KiB.
pub const MAX_SDP: usize = 32 * 1024;
/// The most streams. Phones offer three; conferences with more would not fit the gateway anyway.
pub const MAX_STREAMS: usize = 16;
/// The most payload types of a stream: there are no more than 128, of which browsers use 40.
pub const MAX_CODECS: usize = 64;
/// The most `a=crypto` lines of a stream: each suite of RFC 4568, 6188 and 7714, twice.
pub const MAX_CRYPTOS: usize = 16;
/// The most kinds of feedback of a codec; RFC 4585 and 5104 have about ten.
const MAX_FEEDBACK: usize = 16;
/// The most parameters of a codec.
const MAX_PARAMETERS: usize = 32;

/// Why an SDP cannot be used. The answer to an offer is 400, or 488 for [`SdpError::NoStreams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    /// A line that is none, by its number from 1.
    #[error("line {0} of the SDP is no type and value")]
    Line(usize),
    /// An `m=` line that cannot be read, by its number from 1.
    #[error("line {0} of the SDP is no media description")]
    Media(usize),
    /// A version other than 0.
    #[error("SDP version is not 0")]
    Version,
    /// No `m=` line.
    #[error("no streams in the SDP")]
    NoStreams,
    /// More than one of the bounds allows.
    #[error("too many {0} in the SDP")]
    TooMany(&'static str),
}

/// Reads an SDP.
pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
    let text = String::from_utf8_lossy(bytes);
    let (session, sections) = lines::split(&text)?;
    if sections.is_empty() {
        return Err(SdpError::NoStreams);
    }
    let streams = sections
        .iter()
        .map(|section| read_stream(section, &session))
        .collect::<Result<Vec<_>, _>>()?;
    let bundle = session.attributes.all("group").any(|group| {
        let mut words = group.split_ascii_whitespace();
        let is_bundle = words.next() == Some("BUNDLE");
        let names: Vec<_> = words.take(MAX_STREAMS).collect();
        is_bundle && are_all_in(&names, &streams)
    });
    Ok(Description { streams, bundle })
}

/// True if a BUNDLE group has every stream that is in use: a group of some of them is one that
/// [`Description::bundle`] cannot say.
fn are_all_in(names: &[&str], streams: &[Stream]) -> bool {
    let mut used = streams.iter().filter(|stream| !stream.rejected);
    used.all(|stream| names.contains(&stream.name.as_str()))
}

fn read_stream(section: &Section<'_>, session: &Section<'_>) -> Result<Stream, SdpError> {
    let line = &section.media;
    let attributes = &section.attributes;
    let media = match line.kind {
        kind if kind.eq_ignore_ascii_case("audio") => Media::Audio,
        kind if kind.eq_ignore_ascii_case("video") => Media::Video,
        _ => Media::Other,
    };
    let profile = Profile::of(line.protocol);
    let is_rtp = media != Media::Other && profile.is_some();
    let security = profile.and_then(|p| read_security(p, attributes, &session.attributes));
    let opportunistic =
        profile == Some(Profile::Avp) && security.as_ref().is_some_and(|s| *s != Security::None);
    let rejected = line.port == 0 || !is_rtp || security.is_none();
    let ip = section.connection.or(session.connection).flatten();
    let address = ip
        .filter(|_| !rejected)
        .map(|ip| SocketAddr::new(ip, line.port));
    let rtcp = address.and_then(|rtp| read_rtcp(attributes.first("rtcp")?, rtp));
    let direction = attributes
        .direction()
        .or(session.attributes.direction())
        .unwrap_or_default();
    Ok(Stream {
        name: attributes.first("mid").unwrap_or("").to_owned(),
        media,
        codecs: if is_rtp {
            read_codecs(section, media)?
        } else {
            Vec::new()
        },
        direction,
        ptime_ms: read_ms(attributes.first("ptime")),
        maxptime_ms: read_ms(attributes.first("maxptime")),
        transport: Transport::Rtp(RtpTransport {
            address,
            rtcp,
            rtcp_mux: attributes.first("rtcp-mux").is_some(),
            security: security.unwrap_or(Security::None),
            opportunistic,
        }),
        rejected,
    })
}

/// The RTP profiles, without their `F` for feedback.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    Avp,
    Savp,
    DtlsSavp,
}

impl Profile {
    fn of(protocol: &str) -> Option<Self> {
        let upper = protocol.to_ascii_uppercase();
        match upper.strip_suffix('F').unwrap_or(&upper) {
            "RTP/AVP" => Some(Self::Avp),
            "RTP/SAVP" => Some(Self::Savp),
            "UDP/TLS/RTP/SAVP" => Some(Self::DtlsSavp),
            _ => None,
        }
    }
}

/// `None` if the profile promises a protection that the attributes do not give.
fn read_security(
    profile: Profile,
    media: &Attributes<'_>,
    session: &Attributes<'_>,
) -> Option<Security> {
    let dtls = || {
        let prints = match media.first("fingerprint") {
            Some(_) => media,
            None => session,
        };
        let setup = media.first("setup").or(session.first("setup"));
        read_fingerprint(prints, setup).map(Security::Dtls)
    };
    let sdes = || {
        let cryptos: Vec<_> = media
            .all("crypto")
            .filter_map(read_crypto)
            .take(MAX_CRYPTOS)
            .collect();
        (!cryptos.is_empty()).then_some(Security::Sdes(cryptos))
    };
    match profile {
        // RFC 8643: the protection is there for those who can.
        Profile::Avp => Some(sdes().or_else(dtls).unwrap_or(Security::None)),
        Profile::DtlsSavp => dtls(),
        Profile::Savp => sdes().or_else(dtls),
    }
}

/// The sha-256 fingerprint if there is one, as all sides must know it (RFC 8122 §5), else the
/// first.
fn read_fingerprint(attributes: &Attributes<'_>, setup: Option<&str>) -> Option<Fingerprint> {
    // RFC 4145 §4: active is the default.
    let setup = match setup.map(str::to_ascii_lowercase).as_deref() {
        Some("passive") => Setup::Passive,
        Some("actpass") => Setup::Actpass,
        Some(_) | None => Setup::Active,
    };
    let mut found: Option<Fingerprint> = None;
    for value in attributes.all("fingerprint") {
        let Some((hash, hex)) = value.split_once(' ').filter(|(hash, _)| is_token(hash)) else {
            continue;
        };
        let Some(value) = Fingerprint::parse_hex(hex.trim()) else {
            continue;
        };
        let hash = hash.to_ascii_lowercase();
        if hash == "sha-256" || found.is_none() {
            let done = hash == "sha-256";
            found = Some(Fingerprint { hash, value, setup });
            if done {
                break;
            }
        }
    }
    found
}

/// `tag suite key [session parameters]`. A line with a session parameter that we do not know must
/// not be used (RFC 4568 §6.3.7), unless a `-` says that it may be passed over. Nor is a line used
/// whose suite or key has letters that neither has (§9.1): it could not be written again.
fn read_crypto(value: &str) -> Option<Crypto> {
    let mut parts = value.split_ascii_whitespace();
    let crypto = Crypto {
        tag: parts.next()?.parse().ok()?,
        suite: parts.next().filter(|suite| is_token(suite))?.to_owned(),
        key: parts.next().filter(|key| is_visible(key))?.to_owned(),
    };
    let known = parts.all(|p| p.starts_with('-') || p.starts_with("WSH="));
    known.then_some(crypto)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// `port [IN IP4 address]`; `None` if it is the port it would be anyway.
fn read_rtcp(value: &str, rtp: SocketAddr) -> Option<SocketAddr> {
    let mut parts = value.split_ascii_whitespace();
    let port: u16 = parts.next()?.parse().ok()?;
    let ip: IpAddr = match parts.nth(2) {
        Some(text) => text.parse().ok()?,
        None => rtp.ip(),
    };
    let usual = Some(port) == rtp.port().checked_add(1) && ip == rtp.ip();
    (port != 0 && !usual).then_some(SocketAddr::new(ip, port))
}

/// Whole milliseconds; some phones write fractions.
fn read_ms(value: Option<&str>) -> Option<u16> {
    let text = value?.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().filter(|&ms| ms > 0)
}

fn read_codecs(section: &Section<'_>, media: Media) -> Result<Vec<Codec>, SdpError> {
    let mut codecs: Vec<Codec> = Vec::new();
    for format in section.media.formats.split_ascii_whitespace() {
        let Some(payload_type) = format.parse::<u8>().ok().filter(|&pt| pt < 128) else {
            continue;
        };
        if codecs.iter().any(|c| c.payload_type == payload_type) {
            continue;
        }
        let mapped = section
            .attributes
            .of_format("rtpmap", payload_type)
            .and_then(|value| read_rtpmap(payload_type, value));
        // A dynamic payload type without a name means nothing to anybody.
        let Some(mut codec) = mapped.or_else(|| static_codec(payload_type)) else {
            continue;
        };
        if codecs.len() == MAX_CODECS {
            return Err(SdpError::TooMany("codecs"));
        }
        if let Some(value) = section.attributes.of_format("fmtp", payload_type) {
            codec.parameters = read_fmtp(value);
        }
        if media == Media::Video {
            codec.feedback = read_feedback(section, payload_type);
        }
        codecs.push(codec);
    }
    Ok(codecs)
}

/// `name/clock[/channels]`; the name is a token (RFC 8866 §9), or else it could not be written.
fn read_rtpmap(payload_type: u8, value: &str) -> Option<Codec> {
    let mut parts = value.trim().split('/');
    let name = parts.next().map(str::trim).filter(|n| is_token(n))?;
    let clock_hz = match parts.next() {
        Some(clock) => clock.trim().parse().ok().filter(|&hz| hz > 0)?,
        // LPC without a rate, as in RFC 4475: of the payload type, if that has one.
        None => static_codec(payload_type)?.clock_hz,
    };
    let channels = match parts.next() {
        Some(channels) => channels.trim().parse().ok().filter(|&n| n > 0)?,
        None => 1,
    };
    Some(Codec::new(payload_type, name, clock_hz, channels))
}

/// `name=value;name=value`, `0-16`, and mixtures.
fn read_fmtp(value: &str) -> Vec<(String, String)> {
    value
        .split(';')
        .map(str::trim)
        .filter(|parameter| !parameter.is_empty())
        .take(MAX_PARAMETERS)
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                (name.trim().to_owned(), value.trim().to_owned())
            }
            // Also what has a value of no name.
            Some(_) | None => (String::new(), parameter.to_owned()),
        })
        .collect()
}

/// `nack pli`, for the payload type or for all (`*`).
fn read_feedback(section: &Section<'_>, payload_type: u8) -> Vec<(String, String)> {
    let lines = section.attributes.all("rtcp-fb");
    let read = lines.filter_map(|value| {
        let (format, what) = value.trim_start().split_once([' ', '\t'])?;
        (format == "*" || format.parse() == Ok(payload_type)).then_some(())?;
        let mut words = what.split_ascii_whitespace();
        let kind = words.next().filter(|kind| is_token(kind))?.to_owned();
        let words: Vec<&str> = words.collect();
        words
            .iter()
            .all(|word| is_visible(word))
            .then(|| (kind, words.join(" ")))
    });
    read.take(MAX_FEEDBACK).collect()
}

/// Payload types that need no `rtpmap` (RFC 3551 §6).
fn static_codec(payload_type: u8) -> Option<Codec> {
    let (name, clock_hz, channels) = match payload_type {
        0 => ("PCMU", 8_000, 1),
        3 => ("GSM", 8_000, 1),
        4 => ("G723", 8_000, 1),
        5 => ("DVI4", 8_000, 1),
        6 => ("DVI4", 16_000, 1),
        7 => ("LPC", 8_000, 1),
        8 => ("PCMA", 8_000, 1),
        9 => ("G722", 8_000, 1),
        10 => ("L16", 44_100, 2),
        11 => ("L16", 44_100, 1),
        12 => ("QCELP", 8_000, 1),
        13 => ("CN", 8_000, 1),
        14 => ("MPA", 90_000, 1),
        15 => ("G728", 8_000, 1),
        16 => ("DVI4", 11_025, 1),
        17 => ("DVI4", 22_050, 1),
        18 => ("G729", 8_000, 1),
        25 => ("CelB", 90_000, 1),
        26 => ("JPEG", 90_000, 1),
        28 => ("nv", 90_000, 1),
        31 => ("H261", 90_000, 1),
        32 => ("MPV", 90_000, 1),
        33 => ("MP2T", 90_000, 1),
        34 => ("H263", 90_000, 1),
        _ => return None,
    };
    Some(Codec::new(payload_type, name, clock_hz, channels))
}

#[cfg(test)]
mod tests;
