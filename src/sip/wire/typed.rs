//! Header values with a shape, read when they are asked for and borrowed from the message.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::value::{Params, find_outside, is_token, quoted_end, split_values, trim, unquote};
use super::{Method, readable};
use crate::sip::uri::{self, Uri};

/// One Via value (RFC 3261 §20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, … as written; unknown ones too.
    pub transport: &'a str,
    /// The sent-by host; an IPv6 address stands in brackets.
    pub host: &'a str,
    /// The sent-by port.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
    version: &'a str,
}

impl<'a> Via<'a> {
    /// Reads one value, with blanks anywhere the grammar allows them. The parameters are not
    /// judged, so that a request can be answered that is wrong in nothing but them.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (protocol, rest) = value.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !trim(protocol).eq_ignore_ascii_case("SIP") || !is_token(trim(version)) {
            return None;
        }
        let rest = trim(rest);
        let (transport, rest) = rest.split_once(super::value::BLANKS)?;
        if !is_token(transport) {
            return None;
        }
        let at = rest.find(';').unwrap_or(rest.len());
        let params = Params::new(&rest[at..]);
        let (host, port) = uri::split_host_port(&rest[..at])?;
        Some(Self {
            transport,
            host,
            port,
            params,
            version: trim(version),
        })
    }

    /// False for a version other than 2.0.
    pub fn is_version_2(&self) -> bool {
        self.version == "2.0"
    }

    /// The branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch").filter(|b| !b.is_empty())
    }

    /// True if the branch identifies the transaction (RFC 3261 §8.1.1.7): it has the magic cookie
    /// and something after it.
    pub fn has_rfc3261_branch(&self) -> bool {
        self.branch()
            .and_then(|b| b.get(..7).map(|cookie| (cookie, b.len())))
            .is_some_and(|(cookie, length)| cookie.eq_ignore_ascii_case("z9hG4bK") && length > 7)
    }

    /// True if the sender asks for answers to its source port (RFC 3581).
    pub fn asks_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The source port that the receiver wrote.
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport")?.parse().ok()
    }

    /// The source address that the receiver wrote, with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        uri::host_ip(self.params.get("received")?)
    }

    /// The sent-by host as an address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        uri::host_ip(self.host)
    }

    /// Where an answer over an unreliable transport goes (RFC 3261 §18.2.2, RFC 3581 §4):
    /// `received` and `rport` before sent-by; `None` if sent-by is a name and nothing else helps.
    pub fn reply_address(&self, default_port: u16) -> Option<SocketAddr> {
        let ip = self.received().or_else(|| self.host_ip())?;
        let port = self.rport().or(self.port).unwrap_or(default_port);
        Some(SocketAddr::new(ip, port))
    }
}

/// A From, To, Contact, Route, Record-Route, P-Asserted-Identity, Remote-Party-ID, Refer-To or
/// like value (RFC 3261 §20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes and all; empty if there is none.
    pub display: &'a str,
    /// The URI as written, without `<>`; `*` in a Contact of a REGISTER.
    pub uri: &'a str,
    /// The header parameters, not those of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value. A quoted display name is jumped over as a whole, so that a `<sip:…>`
    /// within it is never taken for the address.
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = trim(value);
        let open = if value.starts_with('"') {
            let end = quoted_end(value.as_bytes(), 0)?;
            let gap = value[end + 1..].find(|c: char| !super::value::BLANKS.contains(&c))?;
            let open = end + 1 + gap;
            (value.as_bytes()[open] == b'<').then_some(open)?
        } else {
            match find_outside(value, b'<') {
                Some(open) => open,
                None => return Self::parse_bare(value),
            }
        };
        let length = value[open..].find('>')?;
        let uri = trim(&value[open + 1..open + length]);
        let params = Params::new(&value[open + length + 1..]);
        let ok = !uri.is_empty() && !uri.contains('<') && params.is_well_formed();
        ok.then_some(Self {
            display: trim(&value[..open]),
            uri,
            params,
        })
    }

    /// An address without `<>`: what follows `;` belongs to the header, and `?` and `,` are not
    /// allowed (RFC 3261 §20).
    fn parse_bare(value: &'a str) -> Option<Self> {
        let at = value.find(';').unwrap_or(value.len());
        let uri = trim(&value[..at]);
        let params = Params::new(&value[at..]);
        let ok = !uri.is_empty()
            && !uri.contains(['?', ',', '"', '>', ' ', '\t'])
            && params.is_well_formed();
        ok.then_some(Self {
            display: "",
            uri,
            params,
        })
    }

    /// The display name for people: no quotes, no escapes; `None` if it is empty.
    pub fn display_name(&self) -> Option<String> {
        let name = if self.display.starts_with('"') {
            unquote(self.display)
        } else {
            readable(self.display)
        };
        let name = name.trim();
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// The tag.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The URI, read.
    pub fn uri(&self) -> Result<Uri, uri::UriError> {
        Uri::parse(self.uri)
    }
}

/// A CSeq value (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The number. RFC 3261 §8.1.1.5 wants it below 2^31; all of u32 is read.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// Reads a value.
    pub fn parse(value: &str) -> Option<Self> {
        let (number, method) = trim(value).split_once(super::value::BLANKS)?;
        let method = trim(method);
        is_token(method).then_some(())?;
        Some(Self {
            number: decimal(number)?,
            method: Method::new(method),
        })
    }
}

impl std::fmt::Display for CSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Digits only: no sign, no blank, no overflow.
pub(super) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = trim(text);
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

/// A RAck value (RFC 3262 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq that is acknowledged.
    pub rseq: u32,
    /// The CSeq of the request that it answered.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads a value.
    pub fn parse(value: &str) -> Option<Self> {
        let (rseq, cseq) = trim(value).split_once(super::value::BLANKS)?;
        Some(Self {
            rseq: decimal(rseq)?,
            cseq: CSeq::parse(cseq)?,
        })
    }
}

impl std::fmt::Display for RAck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// A Content-Type value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// Such as `application`.
    pub kind: &'a str,
    /// Such as `sdp`.
    pub subkind: &'a str,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> ContentType<'a> {
    /// Reads a value.
    pub fn parse(value: &'a str) -> Option<Self> {
        let at = value.find(';').unwrap_or(value.len());
        let (kind, subkind) = value[..at].split_once('/')?;
        let (kind, subkind) = (trim(kind), trim(subkind));
        (is_token(kind) && is_token(subkind)).then_some(Self {
            kind,
            subkind,
            params: Params::new(&value[at..]),
        })
    }

    /// True if it is `kind/subkind`, in any case.
    pub fn is(&self, kind: &str, subkind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subkind.eq_ignore_ascii_case(subkind)
    }
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The side that sent the request of the transaction.
    Uac,
    /// The side that answered it.
    Uas,
}

impl Refresher {
    /// As in the parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// A Session-Expires value (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval.
    pub seconds: u32,
    /// Who refreshes, if it says so.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a value.
    pub fn parse(value: &str) -> Option<Self> {
        let at = value.find(';').unwrap_or(value.len());
        let refresher = match Params::new(&value[at..]).get("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) | None => None,
        };
        Some(Self {
            seconds: decimal(&value[..at])?,
            refresher,
        })
    }
}

impl std::fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(who) => write!(f, ";refresher={}", who.as_str()),
            None => Ok(()),
        }
    }
}

/// A Replaces value (RFC 3891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// The Call-ID of the dialog to be replaced.
    pub call_id: &'a str,
    /// Its tag at the side that receives the header.
    pub to_tag: &'a str,
    /// Its tag at the other side.
    pub from_tag: &'a str,
    /// Only an early dialog may be replaced.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a value.
    pub fn parse(value: &'a str) -> Option<Self> {
        let at = value.find(';')?;
        let params = Params::new(&value[at..]);
        Some(Self {
            call_id: trim(&value[..at]),
            to_tag: params.get("to-tag")?,
            from_tag: params.get("from-tag")?,
            early_only: params.has("early-only"),
        })
    }
}

/// A Reason value (RFC 3326).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, or another.
    pub protocol: &'a str,
    /// The cause.
    pub cause: Option<u16>,
    /// The text.
    pub text: Option<Cow<'a, str>>,
}

impl<'a> Reason<'a> {
    /// Reads one value.
    pub fn parse(value: &'a str) -> Option<Self> {
        let at = value.find(';').unwrap_or(value.len());
        let protocol = trim(&value[..at]);
        let params = Params::new(&value[at..]);
        is_token(protocol).then(|| Self {
            protocol,
            cause: params.get("cause").and_then(decimal),
            text: params.get("text").map(unquote).filter(|t| !t.is_empty()),
        })
    }
}

/// The tokens of a list such as Supported, Require or Allow; empty elements are left out.
pub(super) fn tokens(value: &str) -> impl Iterator<Item = &str> {
    split_values(value).filter(|token| !token.is_empty())
}
