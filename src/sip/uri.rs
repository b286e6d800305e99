//! URIs: `sip:`, `sips:` and `tel:` read, all others kept (RFC 3261 §19.1, RFC 3966).
//!
//! A [`Uri`] is the text that came, and where its parts stand in it: what is echoed is what came,
//! never escaped anew. The user part keeps its `;` parameters (RFC 3398, RFC 4904 `tgrp`, number
//! portability's `npdi;rn=`), and is unescaped only when asked for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use thiserror::Error;

use super::wire::{Params, readable, trim};
use crate::address::{Address, E164, SipAddress};

/// The longest URI that is read: far beyond every phone's, far below the message limit.
const MAX_URI: usize = 8 * 1024;

/// Why a text is no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// No `scheme:` at the start.
    #[error("no URI scheme")]
    Scheme,
    /// Blanks, brackets, quotes or control characters within.
    #[error("character not allowed in a URI")]
    Character,
    /// The host is neither a name nor an address, or the port is no port.
    #[error("bad host or port in a URI")]
    Host,
    /// More than one unescaped `@`: readers would differ in what the host is.
    #[error("ambiguous user part in a URI")]
    User,
    /// Longer than the bound.
    #[error("URI too long")]
    TooLong,
}

/// A URI scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`.
    Tel,
    /// `urn`, such as `urn:service:sos`.
    Urn,
    /// Any other.
    Other,
}

/// A URI as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    text: String,
    parts: Parts,
}

/// Where the parts stand. Of a scheme that is not read, everything after the colon is `host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts {
    scheme: Scheme,
    user: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
    headers: Range<usize>,
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Uri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let text = trim(text);
        Ok(Self {
            parts: read(text)?,
            text: text.to_owned(),
        })
    }

    /// Judges a URI without keeping it.
    pub fn check(text: &str) -> Result<Scheme, UriError> {
        read(text).map(|parts| parts.scheme)
    }

    /// `sip:user@host:port`; `user` is escaped here, and left out if it is empty. `None` if `host`
    /// is no host.
    pub fn sip(user: &str, host: &str, port: Option<u16>) -> Option<Self> {
        let mut text = String::from("sip:");
        if !user.is_empty() {
            escape_user(user, &mut text);
            text.push('@');
        }
        // Bare IPv6 addresses get their brackets.
        match host.parse::<Ipv6Addr>() {
            Ok(ip) => text += &format!("[{ip}]"),
            Err(_) => text += host,
        }
        if let Some(port) = port {
            text += &format!(":{port}");
        }
        Self::parse(&text).ok()
    }

    /// The URI of an address, where `host` is ours or a trunk's. Numbers become
    /// `sip:+…@host;user=phone`, XMPP users `sip:name%40domain@host`, SIP addresses keep their own
    /// host, and the anonymous is RFC 3323 §4.1.1.3's.
    pub fn of(address: &Address, host: &str, port: Option<u16>) -> Option<Self> {
        match address {
            Address::Number(number) => {
                let uri = Self::sip(number.as_str(), host, port)?;
                Some(uri.with_param("user", Some("phone")))
            }
            Address::Sip(SipAddress { user, host, port }) => Self::sip(user, host, *port),
            Address::Xmpp(jid) => Self::sip(jid.as_str(), host, port),
            Address::Anonymous => Self::sip("anonymous", "anonymous.invalid", None),
        }
    }

    /// The same URI with one parameter more (or another value for it). Characters that a parameter
    /// cannot have are escaped.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Self {
        let mut params = String::new();
        let new = std::iter::once((name, value));
        let old = self.params().iter();
        for (n, v) in old.filter(|(n, _)| !n.eq_ignore_ascii_case(name)) {
            params.push(';');
            params += n;
            if let Some(v) = v {
                params.push('=');
                params += v;
            }
        }
        for (n, v) in new {
            params.push(';');
            escape(n, PARAM, &mut params);
            if let Some(v) = v {
                params.push('=');
                escape(v, PARAM, &mut params);
            }
        }
        let Parts {
            params: old,
            headers,
            ..
        } = &self.parts;
        let text = format!(
            "{}{params}{}",
            &self.text[..old.start],
            &self.text[headers.start..]
        );
        // What was read stays readable: the parameters have no character that is not allowed.
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }

    /// The same URI with one header more, escaped.
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut text = self.text.clone();
        text.push(match self.parts.headers.is_empty() {
            true => '?',
            false => '&',
        });
        escape(name, HEADER, &mut text);
        text.push('=');
        escape(value, HEADER, &mut text);
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }

    /// The URI as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme(), Scheme::Sip | Scheme::Sips)
    }

    /// The user part as written, with its `;` parameters and its password; for `tel:` the number
    /// as written.
    pub fn raw_user(&self) -> Option<&str> {
        self.parts.user.clone().map(|range| &self.text[range])
    }

    /// The user part without password, unescaped; empty if there is none.
    pub fn user(&self) -> String {
        let raw = self.raw_user().unwrap_or("");
        unescape(raw.split_once(':').map_or(raw, |(user, _)| user))
    }

    /// The host as written: a name, an IPv4 address, an IPv6 address in brackets; empty for `tel:`.
    pub fn host(&self) -> &str {
        &self.text[self.parts.host.clone()]
    }

    /// The host as an address, if it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port, if given.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters behind the host; for `tel:`, behind the number.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.text[self.parts.params.clone()])
    }

    /// One parameter, unescaped; empty if it has no value.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params()
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name) || unescape(n).eq_ignore_ascii_case(name))
            .map(|(_, value)| unescape(value.unwrap_or("")))
    }

    /// True if the URI says `;lr` (RFC 3261 §19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params().has("lr")
    }

    /// The headers within the URI (`?Replaces=…`), unescaped: name, value.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let text = &self.text[self.parts.headers.clone()];
        let text = text.strip_prefix('?').unwrap_or("");
        text.split('&').filter(|h| !h.is_empty()).map(|header| {
            let (name, value) = header.split_once('=').unwrap_or((header, ""));
            (unescape(name), unescape(value))
        })
    }

    /// The URI without its headers, as it may stand in a Request-Line.
    pub fn without_headers(&self) -> Self {
        let text = &self.text[..self.parts.headers.start];
        Self::parse(text).unwrap_or_else(|_| self.clone())
    }

    /// What was dialled: the user part (or the `tel:` number) without its `;` parameters, without
    /// password, and without visual separators if it is a number then.
    pub fn dialled(&self) -> String {
        self.number().unwrap_or_else(|user| user)
    }

    /// The same: a number, or else what was dialled.
    fn number(&self) -> Result<String, String> {
        let user = self.user();
        let user = user.split_once(';').map_or(&*user, |(user, _)| user);
        let digits: String = user
            .chars()
            .filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' '))
            .collect();
        let number = digits.strip_prefix('+').unwrap_or(&digits);
        let is_number = !number.is_empty()
            && number
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '*' | '#'));
        if is_number {
            Ok(digits)
        } else {
            Err(user.to_owned())
        }
    }

    /// Who this is. Global numbers in `tel:` or in the user part are numbers, whether or not
    /// `user=phone` says so: most trunks leave it out. A local number is a SIP address at its host
    /// or in the domain of its `phone-context`; with another context, or without one, it is
    /// `None`: RFC 3966 §5.1.5 forbids putting the context before the digits, and
    /// [`Uri::dialled`] gives the digits to whoever knows the rules of the trunk.
    pub fn to_address(&self) -> Option<Address> {
        let dialled = self.dialled();
        if matches!(self.scheme(), Scheme::Urn | Scheme::Other) {
            return None;
        }
        if let Some(number) = E164::parse(&dialled) {
            return Some(Address::Number(number));
        }
        if self.scheme() == Scheme::Tel {
            let domain = self.param("phone-context")?;
            let (host, None) = split_host_port(&domain)? else {
                return None;
            };
            let named = host.contains(|c: char| c.is_ascii_alphabetic());
            return named.then(|| {
                Address::Sip(SipAddress {
                    user: dialled,
                    host: host.to_ascii_lowercase(),
                    port: None,
                })
            });
        }
        let host = self.host().to_ascii_lowercase();
        // RFC 3323 §4.1.1.3, and what real trunks send.
        if host == "anonymous.invalid" || dialled.eq_ignore_ascii_case("anonymous") {
            return Some(Address::Anonymous);
        }
        Some(Address::Sip(SipAddress {
            // What goes with a number is about its way there (RFC 4694), and no part of it.
            user: self.number().unwrap_or_else(|_| self.user()),
            host,
            port: self.port(),
        }))
    }

    /// True if both lead to the same resource (RFC 3261 §19.1.4, without the rules for headers):
    /// scheme, user, host, port and the parameters that make a difference when only one has them.
    pub fn is_same_resource(&self, other: &Self) -> bool {
        if !self.is_sip() {
            return self.text.eq_ignore_ascii_case(&other.text);
        }
        let host = |uri: &Self| {
            uri.host_ip()
                .map_or(uri.host().to_ascii_lowercase(), |ip| ip.to_string())
        };
        self.scheme() == other.scheme()
            && self.raw_user().map(unescape) == other.raw_user().map(unescape)
            && host(self) == host(other)
            && self.port() == other.port()
            && ["user", "ttl", "method", "maddr", "transport"]
                .iter()
                .all(|name| {
                    let (a, b) = (self.param(name), other.param(name));
                    a.map(|a| a.to_ascii_lowercase()) == b.map(|b| b.to_ascii_lowercase())
                })
    }
}

fn read(text: &str) -> Result<Parts, UriError> {
    if text.len() > MAX_URI {
        return Err(UriError::TooLong);
    }
    let colon = text.find(':').ok_or(UriError::Scheme)?;
    let name = &text[..colon];
    let is_scheme = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !is_scheme {
        return Err(UriError::Scheme);
    }
    if text
        .bytes()
        .any(|b| b <= b' ' || b == 0x7f || b"<>\"".contains(&b))
    {
        return Err(UriError::Character);
    }
    let start = colon + 1;
    let end = text.len();
    let whole = |scheme| Parts {
        scheme,
        user: None,
        host: start..end,
        port: None,
        params: end..end,
        headers: end..end,
    };
    let scheme = match name.len() {
        3 if name.eq_ignore_ascii_case("sip") => Scheme::Sip,
        4 if name.eq_ignore_ascii_case("sips") => Scheme::Sips,
        3 if name.eq_ignore_ascii_case("tel") => {
            let params = text[start..].find(';').map_or(end, |at| start + at);
            if params == start {
                return Err(UriError::User);
            }
            return Ok(Parts {
                user: Some(start..params),
                host: end..end,
                params: params..end,
                ..whole(Scheme::Tel)
            });
        }
        3 if name.eq_ignore_ascii_case("urn") => return Ok(whole(Scheme::Urn)),
        _ => return Ok(whole(Scheme::Other)),
    };
    // Neither parameters nor headers can have a bare `@`, so an `@` always ends the user part, and
    // the user part may have `;` and `?` (RFC 3261 §25.1 user-unreserved).
    let user = match text[start..].find('@') {
        None => None,
        Some(length) if text[start + length + 1..].contains('@') => return Err(UriError::User),
        Some(length) => Some(start..start + length),
    };
    let host = user.as_ref().map_or(start, |user| user.end + 1);
    let headers = text[host..].find('?').map_or(end, |at| host + at);
    let params = text[host..headers]
        .find(';')
        .map_or(headers, |at| host + at);
    let (name, port) = split_host_port(&text[host..params]).ok_or(UriError::Host)?;
    Ok(Parts {
        scheme,
        user,
        host: host..host + name.len(),
        port,
        params: params..headers,
        headers: headers..end,
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; blanks around the colon are let pass, as in Via. A
/// host name may have `_`, which real networks use.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = trim(text);
    let (host, rest) = if text.starts_with('[') {
        let end = text.find(']')? + 1;
        host_ip(&text[..end])?;
        text.split_at(end)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let host = trim(host);
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        (!host.is_empty() && host.bytes().all(named)).then_some(())?;
        (host, rest)
    };
    let rest = trim(rest);
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = trim(rest.strip_prefix(':')?);
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(())?;
    Some((host, Some(port.parse().ok()?)))
}

/// An address with or without brackets. The extra colon that RFC 2373's grammar made possible is
/// let pass (RFC 5118 §4.10).
pub(crate) fn host_ip(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let Some(inner) = inner else {
        return text.parse().ok();
    };
    let ip: Option<Ipv6Addr> = inner.parse().ok();
    ip.or_else(|| inner.replacen(":::", "::", 1).parse().ok())
        .map(IpAddr::V6)
}

/// Characters besides letters and digits that stand in a user part unescaped. `,` and `?` are
/// allowed there too, but too many readers stumble over them.
const USER: &[u8] = b"-_.!~*'()&=+$;/";
/// The same for a parameter (RFC 3261 §25.1 paramchar).
const PARAM: &[u8] = b"-_.!~*'()[]/:&+$";
/// The same for a header within a URI, less what some readers take for its end.
const HEADER: &[u8] = b"-_.!~*'()";

fn escape_user(text: &str, out: &mut String) {
    escape(text, USER, out);
}

fn escape(text: &str, plain: &[u8], out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || plain.contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

/// Undoes `%XX`, once. A `%` without two hex digits is itself; octets that are no UTF-8 become
/// U+FFFD.
pub fn unescape(text: &str) -> String {
    let text = readable(text);
    if !text.contains('%') {
        return text.into_owned();
    }
    let hex = |b: Option<&u8>| b.and_then(|&b| char::from(b).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match (b, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(b);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// A host for a URI or a Via: IPv6 addresses get brackets.
pub fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap()
    }

    #[test]
    fn parts_are_where_they_are() {
        let u = uri("sip:al:pw@example.org:5070;transport=tcp;lr?Subject=a%20b&x=");
        assert_eq!(
            (u.user(), u.host(), u.port()),
            ("al".into(), "example.org", Some(5070))
        );
        assert_eq!(u.param("Transport").as_deref(), Some("tcp"));
        assert!(u.is_loose_router());
        let headers: Vec<_> = u.headers().collect();
        assert_eq!(headers[0], ("Subject".into(), "a b".into()));
        assert_eq!(
            u.without_headers().as_str(),
            "sip:al:pw@example.org:5070;transport=tcp;lr"
        );
        let u = uri("SIPS:[2001:db8::1]:5061");
        assert_eq!(
            (u.scheme(), u.host(), u.port()),
            (Scheme::Sips, "[2001:db8::1]", Some(5061))
        );
        assert_eq!(u.host_ip(), "2001:db8::1".parse().ok());
    }

    #[test]
    fn parameters_of_the_user_part_stay_with_the_user() {
        let u = uri("sip:+15551234567;npdi;rn=+15559990000@trunk.example;user=phone");
        assert_eq!(u.user(), "+15551234567;npdi;rn=+15559990000");
        assert_eq!(u.host(), "trunk.example");
        assert_eq!(u.dialled(), "+15551234567");
        assert_eq!(
            u.to_address(),
            Some(Address::Number(E164::parse("+15551234567").unwrap()))
        );
        assert_eq!(
            uri("sip:user;par=u%40example.net@example.com").user(),
            "user;par=u@example.net"
        );
    }

    #[test]
    fn a_jid_in_the_user_part_is_unescaped_once() {
        let u = uri("sip:al%40example.org@192.0.2.1");
        let Some(Address::Sip(address)) = u.to_address() else {
            panic!("no SIP address");
        };
        assert_eq!(address.user, "al@example.org");
        assert_eq!(address.host, "192.0.2.1");
        assert_eq!(Uri::of(&Address::Sip(address), "unused", None).unwrap(), u);
        assert_eq!(uri("sip:v%2541@h").user(), "v%41");
        let jid = Address::Xmpp("juliet@xmpp.example".parse().unwrap());
        let made = Uri::of(&jid, "gw.example", Some(5062)).unwrap();
        assert_eq!(made.as_str(), "sip:juliet%40xmpp.example@gw.example:5062");
    }

    #[test]
    fn numbers_are_found_in_sip_and_tel() {
        let number = Address::Number(E164::parse("+15551234567").unwrap());
        for text in [
            "tel:+1-555-123-4567",
            "tel:+1(555)1234567;isub=1",
            "sip:+15551234567@h",
            "sip:+1-555-123-4567@h;user=phone",
            "sip:%2B15551234567@h",
        ] {
            assert_eq!(uri(text).to_address().as_ref(), Some(&number), "{text}");
        }
        let made = Uri::of(&number, "h", None).unwrap();
        assert_eq!(made.as_str(), "sip:+15551234567@h;user=phone");
    }

    #[test]
    fn local_numbers_belong_to_their_domain() {
        let u = uri("tel:7042;phone-context=Example.com");
        let Some(Address::Sip(address)) = u.to_address() else {
            panic!("no SIP address");
        };
        assert_eq!((&*address.user, &*address.host), ("7042", "example.com"));
        assert_eq!(uri("tel:7042;phone-context=+1555").to_address(), None);
        assert_eq!(uri("tel:7042;phone-context=+1555").dialled(), "7042");
        assert_eq!(uri("tel:*31#7042").dialled(), "*31#7042");
    }

    #[test]
    fn what_goes_with_a_number_is_no_part_of_it() {
        let user = |text: &str| match uri(text).to_address() {
            Some(Address::Sip(address)) => address.user,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(
            user("sip:15550001000;npdi=yes;rn=+15559990000@h"),
            "15550001000"
        );
        assert_eq!(user("sip:1-555-000-1000@h"), "15550001000");
        assert_eq!(user("sip:5551234;cpc=ordinary@h"), "5551234");
        assert_eq!(user("sip:*31#7042@h"), "*31#7042");
        assert_eq!(user("sip:romeo;day=tuesday@h"), "romeo;day=tuesday");
    }

    #[test]
    fn other_schemes_are_kept_and_anonymous_is_nobody() {
        for text in [
            "urn:service:sos",
            "soap.beep://192.0.2.103:3002",
            "isbn:2983792873",
        ] {
            assert_eq!(uri(text).as_str(), text);
            assert_eq!(uri(text).to_address(), None);
        }
        let u = uri("sip:anonymous@anonymous.invalid");
        assert_eq!(u.to_address(), Some(Address::Anonymous));
        assert_eq!(Uri::of(&Address::Anonymous, "h", None).unwrap(), u);
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":x",
            "1sip:x",
            "<sip:a@b>",
            "sip:a@b; lr",
            "sip:a@b@c",
            "sip:2001:db8::10",
            "sip:a@[2001:db8::1",
            "sip:a@[::g]",
            "sip:a@b:",
            "sip:a@b:65536",
            "sip:a@b:+1",
            "sip:a@",
            "tel:",
            "sip:a@b\r\nX: 1",
            "sip:a@h\u{7f}",
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
        assert!(Uri::sip("x", "ho st", None).is_none());
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        for user in ["a b", "ä€", "100%", "a@b;c?d,e/f#\"", "%00", "\0"] {
            assert_eq!(Uri::sip(user, "h.example", None).unwrap().user(), user);
        }
        assert_eq!(unescape("%ff%"), "\u{fffd}%");
    }

    #[test]
    fn comparison_follows_the_rfc() {
        let same = |a: &str, b: &str| uri(a).is_same_resource(&uri(b));
        assert!(same(
            "sip:%61lice@AtlanTa.CoM;transport=TCP",
            "sip:alice@atlanta.com;Transport=tcp"
        ));
        assert!(same(
            "sip:carol@chicago.com;newparam=5",
            "sip:carol@chicago.com;security=on"
        ));
        assert!(!same("sip:ALICE@atlanta.com", "sip:alice@atlanta.com"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same(
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com;transport=udp"
        ));
        assert!(same("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"));
    }

    #[test]
    fn a_parameter_is_replaced_not_doubled() {
        let u = uri("sip:a@h;lr;x=1?y=2").with_param("X", Some("a;b"));
        assert_eq!(u.as_str(), "sip:a@h;lr;X=a%3Bb?y=2");
        assert_eq!(u.param("x").as_deref(), Some("a;b"));
    }
}
