//! Texts of the configuration and of the command line, each read into its type or refused with a
//! reason that says what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use jid::{BareJid, DomainPart};

use crate::address::E164;
use crate::net::SipTransport;

/// The parts of a trunk's URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkUri {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, if given.
    pub port: Option<u16>,
    /// The transport, if given.
    pub transport: Option<SipTransport>,
}

/// Reads `sip:host[:port][;transport=udp|tcp|tls]` (RFC 3261 §19.1, without user and headers).
pub fn trunk_uri(text: &str) -> Result<TrunkUri, String> {
    let Some((scheme, rest)) = text
        .split_once(':')
        .filter(|(s, _)| s.eq_ignore_ascii_case("sip") || s.eq_ignore_ascii_case("sips"))
    else {
        return Err(match trunk_uri(&format!("sip:{text}")) {
            Ok(_) => format!("`{text}` is no SIP URI; write sip:{text}"),
            Err(_) => format!("`{text}` is no SIP URI; write it as sip:sip.example.org"),
        });
    };
    if let Some((user, host)) = rest.split_once('@') {
        return Err(format!(
            "`{text}` has a user part; write sip:{host} and username = \"{user}\""
        ));
    }
    let mut parts = rest.split(';');
    let (host, port) = host_and_port(parts.next().unwrap_or_default())
        .map_err(|reason| format!("`{text}` is no SIP URI: {reason}"))?;
    let mut transport = None;
    for parameter in parts {
        let value = match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("transport") => value,
            _ if parameter.eq_ignore_ascii_case("lr") => continue,
            _ => {
                return Err(format!(
                    "`{text}`: the parameter `{parameter}` means nothing here; only transport does"
                ));
            }
        };
        transport = Some(transport_of(value).map_err(|reason| format!("`{text}`: {reason}"))?);
    }
    // RFC 3261 §26.2.2: whatever the transport is called there, it is TLS.
    if scheme.eq_ignore_ascii_case("sips") {
        if transport == Some(SipTransport::Udp) {
            return Err(format!("`{text}`: sips goes by TLS, never by udp"));
        }
        transport = Some(SipTransport::Tls);
    }
    Ok(TrunkUri {
        host,
        port,
        transport,
    })
}

fn transport_of(text: &str) -> Result<SipTransport, String> {
    match text.to_ascii_lowercase().as_str() {
        "udp" => Ok(SipTransport::Udp),
        "tcp" => Ok(SipTransport::Tcp),
        "tls" => Ok(SipTransport::Tls),
        "ws" | "wss" => Err(format!("WebSockets (`{text}`) are not spoken; write tls")),
        _ => Err(format!(
            "there is no transport `{text}`; write udp, tcp or tls"
        )),
    }
}

/// Reads `udp://address:port`, `tcp://address:port`, `tls://address:port`.
pub fn listener(text: &str) -> Result<(SipTransport, SocketAddr), String> {
    let Some((scheme, address)) = text.split_once("://") else {
        let bare = match text.split_once(':') {
            Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => rest,
            _ => text,
        };
        let bare = match bare.parse::<SocketAddr>() {
            Ok(_) => bare,
            Err(_) => "0.0.0.0:5060",
        };
        return Err(format!(
            "`{text}` does not say its transport; write udp://{bare} or tcp://{bare}"
        ));
    };
    let transport = transport_of(scheme).map_err(|reason| format!("`{text}`: {reason}"))?;
    match address.trim_end_matches('/').parse::<SocketAddr>() {
        Ok(socket) if socket.port() != 0 => Ok((transport, socket)),
        Ok(_) => Err(format!(
            "`{text}`: port 0 is no port; the usual one is {}",
            transport.default_port()
        )),
        Err(_) => match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Err(format!("`{text}` has no port; write {scheme}://{ip}:5060")),
            Ok(IpAddr::V6(ip)) => Err(format!(
                "`{text}` has no port; write {scheme}://[{ip}]:5060"
            )),
            Err(_) => Err(format!(
                "`{text}` is no address and port; write {scheme}://0.0.0.0:5060, without a host name"
            )),
        },
    }
}

/// Reads the address of a DNS server, at port 53 unless it says another.
pub fn nameserver(text: &str) -> Result<SocketAddr, String> {
    let read = text
        .parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    read.map_err(|_| format!("`{text}` is no address; write 192.0.2.53 or [2001:db8::53]:53"))
}

/// Reads `host[:port]`; IPv6 addresses stand in brackets, and come out without.
pub fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, rest)) => {
            if ip.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("`{ip}` is no IPv6 address"));
            }
            match rest.strip_prefix(':') {
                Some(port) => (ip, Some(port)),
                None if rest.is_empty() => (ip, None),
                None => return Err(format!("`{rest}` after the address is not understood")),
            }
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => {
            return Err(format!("IPv6 addresses stand in brackets; write [{text}]"));
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            if !is_host(host) {
                return Err(format!("`{host}` is no host name or address"));
            }
            (host, port)
        }
    };
    let port = match port.map(|p| (p, port_number(p))) {
        None => None,
        Some((_, Some(port))) => Some(port),
        Some((text, None)) => return Err(format!("`{text}` is no port; ports are 1 to 65535")),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// Reads a port, of digits alone: not `+1`.
pub fn port_number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port != 0);
    port.filter(|_| is_plain)
}

/// Reads the domain of our From.
pub fn from_domain(text: &str) -> Result<(), String> {
    let bare = ["sip:", "sips:"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match bare {
        Some(bare) => Err(format!("`{text}` is a URI; write {bare}")),
        None => host_and_port(text).map(|_| ()),
    }
}

/// True for host names of RFC 1123 §2.1 (and `_`, which DNS has too) and IPv4 addresses.
fn is_host(text: &str) -> bool {
    let looks_like_v4 = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if looks_like_v4 {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    text.len() <= 253
        && text.trim_end_matches('.').split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Reads an address to bind.
pub fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no IP address (host names are not looked up here); write 203.0.113.5")
    })
}

/// Reads an address that others shall send to.
pub fn advertised(text: &str) -> Result<IpAddr, String> {
    let ip = ip(text)?;
    if ip.is_unspecified() {
        return Err(format!(
            "`{text}` is nobody's address; write the one that others reach this host at, or leave \
             the key out"
        ));
    }
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_multicast() || broadcast {
        return Err(format!("`{text}` is not the address of one host"));
    }
    Ok(ip)
}

/// Reads `198.51.100.0/24`; an address alone is a network of one.
pub fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Err(format!(
            "`{text}` is no network; write it as 198.51.100.0/24"
        ));
    };
    let most: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let length = match length.map(str::parse::<u8>) {
        None => most,
        Some(Ok(length)) if length <= most => length,
        Some(_) => {
            return Err(format!(
                "`{text}`: the part after / is a number of bits, 0 to {most}"
            ));
        }
    };
    let first = first_of(ip, length);
    if first != ip {
        return Err(format!(
            "`{text}` is an address within a network; write {first}/{length} or {ip}"
        ));
    }
    Ok((ip, length))
}

/// The first address of the network that `ip` is in.
fn first_of(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Reads `20000-29999`: an even port, a hyphen, an odd port (RFC 3550 §11: RTP even, RTCP the odd
/// one after it).
pub fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parsed = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    let Some((first, last)) = parsed else {
        return Err(format!(
            "`{text}` is no range of ports; write it as 20000-29999"
        ));
    };
    let (first, last): (u16, u16) = (first, last);
    if first == 0 {
        return Err(format!("`{text}`: port 0 is no port"));
    }
    if first > last {
        return Err(format!("`{text}` runs backwards; write {last}-{first}"));
    }
    if first % 2 != 0 {
        return Err(format!(
            "`{text}` starts with an odd port, but RTP takes even ones; start at {}",
            first.saturating_add(1)
        ));
    }
    if last % 2 == 0 {
        return Err(format!(
            "`{text}` ends with an even port, but its RTCP takes the odd one after it; end at {}",
            last.saturating_add(1)
        ));
    }
    Ok(first..=last)
}

/// Reads a domain of XMPP (RFC 7622 §3.2).
pub fn domain(text: &str) -> Result<DomainPart, String> {
    if text.contains('@') {
        return Err(format!(
            "`{text}` is an address; the domain alone is wanted"
        ));
    }
    if text.contains('*') {
        return Err(format!(
            "`{text}`: there are no wildcards; write each domain by itself"
        ));
    }
    let odd = |c: char| c.is_whitespace() || "/:;,\"'<>&\\…".contains(c);
    match DomainPart::new(text) {
        Ok(domain) if !text.contains(odd) && !text.is_empty() => Ok(domain.into_owned()),
        _ => Err(format!(
            "`{text}` is no domain; write it as phone.example.org"
        )),
    }
}

/// Reads the address of an XMPP user, without a resource.
pub fn user(text: &str) -> Result<BareJid, String> {
    if let Some((bare, _)) = text.split_once('/') {
        return Err(format!("`{text}` has a resource; write {bare}"));
    }
    match BareJid::new(text) {
        Ok(jid) if jid.node().is_some() => Ok(jid),
        _ => Err(format!(
            "`{text}` is no XMPP address; write it as juliet@example.org"
        )),
    }
}

/// Reads the address of a user where a whole domain could stand too.
pub fn one_of_domain(text: &str, own_domain: &str) -> Result<BareJid, String> {
    match text.strip_prefix('@') {
        Some(domain) => Err(format!(
            "`{text}` is no XMPP address; write {domain} for everybody there"
        )),
        None => user_beside(text, own_domain),
    }
}

/// Reads the address of a user of some XMPP server, not of the gateway at `own_domain`.
pub fn user_beside(text: &str, own_domain: &str) -> Result<BareJid, String> {
    let user = user(text)?;
    match user.domain().as_str() == own_domain {
        true => Err(format!(
            "`{text}` is a contact of this gateway, and no user of an XMPP server"
        )),
        false => Ok(user),
    }
}

/// Reads a telephone number.
pub fn number(text: &str) -> Result<E164, String> {
    if let Some(number) = E164::parse(text) {
        return Ok(number);
    }
    // People write numbers with spaces, hyphens, dots and brackets.
    let bare: String = text.chars().filter(|c| !" -./()".contains(*c)).collect();
    let hint = match E164::parse(&bare) {
        Some(number) => format!("write {number}"),
        None => "write + and the country code, then digits only, such as +15550001000".to_owned(),
    };
    Err(format!("`{text}` is no E.164 number; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T, String>, words: &str) {
        let reason = result.expect_err(words);
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn trunk_uris() {
        let uri = trunk_uri("sip:Sip.carrier.example;transport=udp").unwrap();
        assert_eq!(uri.host, "sip.carrier.example");
        assert_eq!((uri.port, uri.transport), (None, Some(SipTransport::Udp)));
        let uri = trunk_uri("sip:[2001:db8::1]:5070").unwrap();
        assert_eq!((uri.host.as_str(), uri.port), ("2001:db8::1", Some(5070)));
        refused(
            trunk_uri("sip.example.org"),
            "`sip.example.org` is no SIP URI; write sip:sip.example.org",
        );
        refused(trunk_uri("sip:a@b.example"), "username = \"a\"");
        refused(trunk_uri("sip:b.example;foo=1"), "`foo=1`");
        for tls in ["sip:b.example;transport=tls", "sips:b.example"] {
            assert_eq!(trunk_uri(tls).unwrap().transport, Some(SipTransport::Tls));
        }
        refused(trunk_uri("sips:b.example;transport=udp"), "never by udp");
        refused(trunk_uri("sip:b.example;transport=ws"), "WebSockets");
        refused(trunk_uri("sip:b.example:99999"), "ports are 1 to 65535");
        refused(trunk_uri("sip:2001:db8::1"), "write [2001:db8::1]");
        refused(trunk_uri("sip:1.2.3"), "no host name");
        refused(trunk_uri("sip:"), "no host name");
        refused(trunk_uri("… …"), "write it as sip:");
        refused(trunk_uri("tel:+1"), "write it as sip:sip.example.org");
        refused(trunk_uri("sip:b.example:+5060"), "no port");
    }

    #[test]
    fn listeners() {
        assert_eq!(
            listener("udp://0.0.0.0:5060"),
            Ok((SipTransport::Udp, "0.0.0.0:5060".parse().unwrap()))
        );
        assert!(listener("tcp://[::]:5060").is_ok());
        refused(listener("0.0.0.0:5060"), "write udp://0.0.0.0:5060");
        refused(listener("[::1]:5070"), "write udp://[::1]:5070");
        for text in ["sip:0.0.0.0:5060", "everywhere", "sip:example.org"] {
            refused(
                listener(text),
                "write udp://0.0.0.0:5060 or tcp://0.0.0.0:5060",
            );
        }
        refused(listener("udp://0.0.0.0"), "write udp://0.0.0.0:5060");
        refused(listener("udp://::1"), "write udp://[::1]:5060");
        refused(listener("udp://0.0.0.0:0"), "port 0");
        refused(listener("udp://example.org:5060"), "without a host name");
        assert!(listener("tls://0.0.0.0:5061").is_ok());
        refused(listener("ws://0.0.0.0:80"), "WebSockets");
        refused(listener("sctp://0.0.0.0:80"), "no transport `sctp`");
    }

    #[test]
    fn nameservers() {
        assert_eq!(
            nameserver("192.0.2.53"),
            Ok("192.0.2.53:53".parse().unwrap())
        );
        assert_eq!(nameserver("[::1]:5300"), Ok("[::1]:5300".parse().unwrap()));
        refused(nameserver("dns.example"), "no address");
    }

    #[test]
    fn networks() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network("198.51.100.0/24"), Ok((ip("198.51.100.0"), 24)));
        assert_eq!(network("198.51.100.7"), Ok((ip("198.51.100.7"), 32)));
        assert_eq!(network("0.0.0.0/0"), Ok((ip("0.0.0.0"), 0)));
        assert_eq!(network("2001:db8::/32"), Ok((ip("2001:db8::"), 32)));
        refused(network("198.51.100.7/24"), "write 198.51.100.0/24");
        refused(network("198.51.100.0/33"), "0 to 32");
        refused(network("carrier"), "no network");
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("20000-29999"), Ok(20000..=29999));
        refused(port_range("20001-29999"), "start at 20002");
        refused(port_range("20000-30000"), "end at 30001");
        refused(port_range("29999-20000"), "backwards");
        refused(port_range("20000"), "write it as");
        refused(port_range("20000-70001"), "write it as");
        refused(port_range("0-9"), "port 0");
    }

    #[test]
    fn names_of_people_and_places() {
        assert!(domain("phone.example.org").is_ok());
        refused(domain("x@phone.example.org"), "the domain alone");
        refused(domain("phone example"), "no domain");
        refused(domain(""), "no domain");
        assert!(user("juliet@example.org").is_ok());
        refused(user("example.org"), "write it as juliet@");
        refused(user("juliet@example.org/phone"), "write juliet@example.org");
        assert!(number("+15550001000").is_ok());
        refused(number("+1 (555) 000-1000"), "write +15550001000");
        refused(number("5550001000"), "country code");
        refused(advertised("0.0.0.0"), "nobody's address");
        refused(advertised("224.0.0.1"), "one host");
        refused(advertised("gw.example.org"), "no IP address");
    }
}
