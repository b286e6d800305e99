//! Writing SDP: offers from a [`Description`] alone, answers along the offer's `m=` lines.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::lines;
use crate::description::{
    Codec, Description, Direction, Media, RtpTransport, Security, Setup, Stream, Transport,
};
use crate::sip::wire::is_token;

/// What `o=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdpOrigin {
    /// The same for the whole dialog.
    pub session_id: u64,
    /// One more with each change of the description (RFC 3264 §8).
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

/// Writes an offer. A stream with an ICE transport cannot be reached from here and is written as
/// rejected.
pub fn write(description: &Description, origin: &SdpOrigin) -> String {
    write_along(description, origin, &[])
}

/// Writes an answer to `offer`: each `m=` line repeats the offer's kind and protocol, and a
/// rejected one its formats too, as RFC 3264 §6 wants. The streams of `description` must be those
/// of the offer, in its order; streams that are missing are written as rejected.
pub fn write_answer(description: &Description, origin: &SdpOrigin, offer: &[u8]) -> String {
    let text = String::from_utf8_lossy(offer);
    let sections = match lines::split(&text) {
        Ok((_, sections)) => sections,
        // Nobody answers an offer that could not be read.
        Err(_) => Vec::new(),
    };
    let offered: Vec<_> = sections.iter().map(|section| section.media).collect();
    write_along(description, origin, &offered)
}

fn write_along(
    description: &Description,
    origin: &SdpOrigin,
    offered: &[lines::MediaLine<'_>],
) -> String {
    let Description { streams, bundle } = description;
    let SdpOrigin {
        session_id,
        version,
        address,
    } = origin;
    let mut out = String::with_capacity(512);
    let ours = net_address(*address);
    line(
        &mut out,
        format_args!("v=0\r\no=offhook {session_id} {version} {ours}\r\ns=-\r\nc={ours}\r\nt=0 0"),
    );
    if *bundle {
        let mut group = String::from("a=group:BUNDLE");
        for stream in streams.iter().filter(|s| !s.rejected && is_token(&s.name)) {
            group.push(' ');
            group += &stream.name;
        }
        line(&mut out, format_args!("{group}"));
    }
    for (index, stream) in streams.iter().enumerate() {
        write_stream(stream, *address, offered.get(index).copied(), &mut out);
    }
    for media in offered.iter().skip(streams.len()) {
        write_rejected(media, &mut out);
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{text}\r\n");
}

fn net_address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}

fn write_rejected(media: &lines::MediaLine<'_>, out: &mut String) {
    let (kind, protocol) = (media.kind, media.protocol);
    let mut formats = String::new();
    for format in media.formats.split_ascii_whitespace() {
        if is_token(format) {
            formats.push(' ');
            formats += format;
        }
    }
    if formats.is_empty() {
        formats += " 0";
    }
    line(out, format_args!("m={kind} 0 {protocol}{formats}"));
}

fn write_stream(
    stream: &Stream,
    ours: IpAddr,
    offered: Option<lines::MediaLine<'_>>,
    out: &mut String,
) {
    let Stream {
        name,
        media,
        codecs,
        direction,
        ptime_ms,
        maxptime_ms,
        transport,
        rejected,
    } = stream;
    let unreachable;
    let (transport, rejected) = match transport {
        Transport::Rtp(transport) => (transport, *rejected),
        Transport::Ice(_) => {
            unreachable = RtpTransport {
                address: None,
                rtcp: None,
                rtcp_mux: false,
                security: Security::None,
                opportunistic: false,
            };
            (&unreachable, true)
        }
    };
    if rejected && let Some(media) = offered {
        write_rejected(&media, out);
        if is_token(name) {
            line(out, format_args!("a=mid:{name}"));
        }
        return;
    }
    let RtpTransport {
        address,
        rtcp,
        rtcp_mux,
        security,
        opportunistic,
    } = transport;
    let kind = match media {
        Media::Audio => "audio",
        Media::Video => "video",
        Media::Other => "application",
    };
    let protocol = match (offered, security) {
        (Some(media), _) => media.protocol,
        (None, Security::None) => "RTP/AVP",
        (None, _) if *opportunistic => "RTP/AVP",
        (None, Security::Sdes(_)) => "RTP/SAVP",
        (None, Security::Dtls(_)) => "UDP/TLS/RTP/SAVP",
    };
    // A stream without an address of its own can only be told by the port that means nothing.
    const DISCARD: u16 = 9;
    let port = match address {
        _ if rejected => 0,
        Some(address) => address.port(),
        None => DISCARD,
    };
    let mut formats = String::new();
    for codec in codecs {
        let _ = write!(formats, " {}", codec.payload_type);
    }
    if codecs.is_empty() {
        formats.push_str(" 0");
    }
    line(out, format_args!("m={kind} {port} {protocol}{formats}"));
    if let Some(address) = address
        && address.ip() != ours
    {
        line(out, format_args!("c={}", net_address(address.ip())));
    }
    for codec in codecs {
        write_codec(codec, out);
    }
    if let Some(ms) = ptime_ms {
        line(out, format_args!("a=ptime:{ms}"));
    }
    if let Some(ms) = maxptime_ms {
        line(out, format_args!("a=maxptime:{ms}"));
    }
    if let Some(rtcp) = rtcp {
        write_rtcp(*rtcp, out);
    }
    if *rtcp_mux {
        line(out, format_args!("a=rtcp-mux"));
    }
    write_security(security, out);
    if is_token(name) {
        line(out, format_args!("a=mid:{name}"));
    }
    let direction = match direction {
        Direction::Both => "sendrecv",
        Direction::Send => "sendonly",
        Direction::Receive => "recvonly",
        Direction::Inactive => "inactive",
    };
    line(out, format_args!("a={direction}"));
}

fn write_rtcp(rtcp: SocketAddr, out: &mut String) {
    let (port, address) = (rtcp.port(), net_address(rtcp.ip()));
    line(out, format_args!("a=rtcp:{port} {address}"));
}

fn write_codec(codec: &Codec, out: &mut String) {
    let Codec {
        payload_type,
        name,
        clock_hz,
        channels,
        parameters,
        feedback,
    } = codec;
    let name: String = name.chars().filter(char::is_ascii_graphic).collect();
    if *channels > 1 {
        line(
            out,
            format_args!("a=rtpmap:{payload_type} {name}/{clock_hz}/{channels}"),
        );
    } else {
        line(
            out,
            format_args!("a=rtpmap:{payload_type} {name}/{clock_hz}"),
        );
    }
    // On every profile, not on RTP/AVPF alone as RFC 4585 §4.2 has it: phones that want AVPF refuse
    // nothing for its want, phones that know no AVPF would refuse it, and who does not know the
    // attribute passes over it (RFC 8866 §5.13).
    for (kind, subtype) in feedback {
        let visible = |c: &char| c.is_ascii_graphic() || *c == ' ';
        let what: String = kind.chars().chain([' ']).chain(subtype.chars()).collect();
        let what: String = what.trim().chars().filter(visible).collect();
        line(out, format_args!("a=rtcp-fb:{payload_type} {what}"));
    }
    if parameters.is_empty() {
        return;
    }
    let clean = |text: &str| -> String {
        let visible = text.chars().filter(|c| !c.is_control() && *c != ';');
        visible.collect::<String>().trim().to_owned()
    };
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| match name.as_str() {
            "" => clean(value),
            name => format!("{}={}", clean(name), clean(value)),
        })
        .collect();
    let parameters = parameters.join(";");
    line(out, format_args!("a=fmtp:{payload_type} {parameters}"));
}

fn write_security(security: &Security, out: &mut String) {
    match security {
        Security::None => {}
        Security::Sdes(cryptos) => {
            for crypto in cryptos {
                let visible = |text: &str| -> String {
                    text.chars().filter(char::is_ascii_graphic).collect()
                };
                let (tag, suite) = (crypto.tag, visible(&crypto.suite));
                let key = visible(&crypto.key);
                line(out, format_args!("a=crypto:{tag} {suite} {key}"));
            }
        }
        Security::Dtls(fingerprint) => {
            let setup = match fingerprint.setup {
                Setup::Active => "active",
                Setup::Passive => "passive",
                Setup::Actpass => "actpass",
            };
            let hash: String = fingerprint
                .hash
                .chars()
                .filter(char::is_ascii_graphic)
                .collect();
            let hex = fingerprint.hex();
            line(out, format_args!("a=fingerprint:{hash} {hex}"));
            line(out, format_args!("a=setup:{setup}"));
        }
    }
}
