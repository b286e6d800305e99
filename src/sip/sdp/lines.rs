//! The lines of an SDP, and in which section each stands (RFC 8866 §5).

use std::net::IpAddr;

use super::{MAX_SDP, MAX_STREAMS, SdpError};
use crate::description::Direction;
use crate::sip::wire::is_token;

/// The most attribute lines of a section: two for each payload type, and some more.
const MAX_ATTRIBUTES: usize = 300;

/// The session part, or a media part.
#[derive(Default)]
pub(super) struct Section<'a> {
    pub(super) media: MediaLine<'a>,
    /// `None` without `c=`; `Some(None)` if its host is a name.
    pub(super) connection: Option<Option<IpAddr>>,
    pub(super) attributes: Attributes<'a>,
}

/// An `m=` line.
#[derive(Clone, Copy, Default)]
pub(super) struct MediaLine<'a> {
    pub(super) kind: &'a str,
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    pub(super) formats: &'a str,
}

/// `a=` lines: name, value.
#[derive(Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    pub(super) fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The value of `rtpmap` or `fmtp` for a payload type.
    pub(super) fn of_format(&self, name: &str, payload_type: u8) -> Option<&'a str> {
        self.all(name).find_map(|value| {
            let (format, rest) = value.trim_start().split_once([' ', '\t'])?;
            (format.parse() == Ok(payload_type)).then_some(rest)
        })
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        self.0.iter().rev().find_map(|(name, _)| match *name {
            "sendrecv" => Some(Direction::Both),
            "sendonly" => Some(Direction::Send),
            "recvonly" => Some(Direction::Receive),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    }
}

/// Splits a text into its session part and its media parts. Missing lines are no fault, nor is
/// their order, but for `m=`.
pub(super) fn split(text: &str) -> Result<(Section<'_>, Vec<Section<'_>>), SdpError> {
    if text.len() > MAX_SDP {
        return Err(SdpError::TooMany("bytes"));
    }
    let mut session = Section::default();
    let mut streams: Vec<Section<'_>> = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim_end_matches(['\r', ' ', '\t', '\0']);
        if line.is_empty() {
            continue;
        }
        // `m =video` of RFC 4475 (dblreq) shows what senders do.
        let (kind, value) = line.split_once('=').ok_or(SdpError::Line(index + 1))?;
        let [kind] = kind.trim_end().as_bytes() else {
            return Err(SdpError::Line(index + 1));
        };
        let value = value.trim_start();
        let section = streams.last_mut().unwrap_or(&mut session);
        match kind {
            b'v' if value != "0" => return Err(SdpError::Version),
            b'c' if section.connection.is_none() => section.connection = Some(connection(value)),
            b'a' => {
                if section.attributes.0.len() == MAX_ATTRIBUTES {
                    return Err(SdpError::TooMany("attributes"));
                }
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                section.attributes.0.push((name.trim(), value.trim()));
            }
            b'm' => {
                if streams.len() == MAX_STREAMS {
                    return Err(SdpError::TooMany("streams"));
                }
                streams.push(Section {
                    media: media_line(value).ok_or(SdpError::Media(index + 1))?,
                    ..Section::default()
                });
            }
            b'a'..=b'z' => {}
            _ => return Err(SdpError::Line(index + 1)),
        }
    }
    Ok((session, streams))
}

/// `IN IP4 192.0.2.1[/ttl]`: `None` if the host is a name.
fn connection(value: &str) -> Option<IpAddr> {
    let host = value.split_ascii_whitespace().nth(2)?;
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    host.parse().ok()
}

/// `audio 49170[/2] RTP/AVP 0 8`. Kind and protocol are tokens (RFC 8866 §9), since an answer repeats them.
pub(super) fn media_line(value: &str) -> Option<MediaLine<'_>> {
    let (kind, rest) = value.split_once(' ')?;
    let (port, rest) = rest.trim_start().split_once(' ')?;
    let rest = rest.trim();
    let (protocol, formats) = rest.split_once(' ').unwrap_or((rest, ""));
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    if !is_token(kind) || !protocol.split('/').all(is_token) {
        return None;
    }
    Some(MediaLine {
        kind,
        port: port.parse().ok()?,
        protocol,
        formats,
    })
}
