//! The ICE-UDP transport (XEP-0176), with the DTLS fingerprint in it (XEP-0320).
//!
//! Reads what clients really write: TCP candidates, host names, link-local addresses and
//! candidates without the parts we need are left out without a word. Writes what the strictest
//! client reads: every attribute there, whole-number foundations, literal addresses.

use std::net::{IpAddr, SocketAddr};

use minidom::Element;
use xmpp_parsers::ns::{JINGLE_DTLS, JINGLE_ICE_UDP};

use crate::description::{Candidate, CandidateKind, Fingerprint, IceTransport, Setup};
use crate::xmpp::stanza::{Writer, element};

/// Candidates of one content at most. A laptop with VPNs, IPv6 and relays shows about 30.
pub const MAX_CANDIDATES: usize = 64;
/// RFC 8839 §5.1: a foundation has at most 32 characters.
const MAX_FOUNDATION: usize = 32;
/// RFC 8839 §5.4: credentials have at most 256 characters.
const MAX_CREDENTIAL: usize = 256;
/// Bytes of a fingerprint at most: sha-512.
const MAX_FINGERPRINT: usize = 64;

/// What a `<transport/>` says. Credentials may be missing in a `transport-info`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ReadTransport {
    /// User name fragment.
    pub ufrag: Option<String>,
    /// Password. A secret.
    pub pwd: Option<String>,
    /// The candidates that can be used.
    pub candidates: Vec<Candidate>,
    /// The certificate's hash.
    pub fingerprint: Option<Fingerprint>,
}

/// Reads a `<transport/>` of ICE-UDP; `None` if it is another transport.
pub fn read(transport: &Element) -> Option<ReadTransport> {
    if !transport.is("transport", JINGLE_ICE_UDP) {
        return None;
    }
    let credential = |name: &str| {
        transport
            .attr(name)
            .filter(|value| !value.is_empty() && value.len() <= MAX_CREDENTIAL)
            .map(str::to_owned)
    };
    Some(ReadTransport {
        ufrag: credential("ufrag"),
        pwd: credential("pwd"),
        candidates: transport
            .children()
            .filter(|child| child.is("candidate", JINGLE_ICE_UDP))
            .filter_map(read_candidate)
            .take(MAX_CANDIDATES)
            .collect(),
        fingerprint: read_fingerprint(transport),
    })
}

/// The sha-256 fingerprint if there is one, else the first: we compute no other hash, but the
/// refusal shall be able to say what there was.
fn read_fingerprint(transport: &Element) -> Option<Fingerprint> {
    let all: Vec<_> = transport
        .children()
        .filter(|child| child.is("fingerprint", JINGLE_DTLS))
        .filter_map(|child| {
            let text: String = child.text().split_whitespace().collect();
            if text.len() > MAX_FINGERPRINT * 3 {
                return None;
            }
            let value = Fingerprint::parse_hex(&text)?;
            Some(Fingerprint {
                hash: child.attr("hash")?.to_ascii_lowercase(),
                value,
                setup: match child.attr("setup") {
                    Some("active") => Setup::Active,
                    Some("passive") => Setup::Passive,
                    // XEP-0320 before 0.2 had no attribute; the offerer let the other side choose.
                    _ => Setup::Actpass,
                },
            })
        })
        .take(8)
        .collect();
    let best = all.iter().position(|f| f.hash == "sha-256").unwrap_or(0);
    all.into_iter().nth(best)
}

fn read_candidate(candidate: &Element) -> Option<Candidate> {
    let number = |name: &str| candidate.attr(name)?.parse::<u32>().ok();
    let protocol = candidate.attr("protocol").unwrap_or("udp");
    if !protocol.eq_ignore_ascii_case("udp") {
        return None;
    }
    let ip: IpAddr = candidate.attr("ip")?.parse().ok()?;
    let port = candidate.attr("port")?.parse().ok()?;
    let foundation = candidate.attr("foundation").unwrap_or("0");
    if !is_reachable(ip) || port == 0 || foundation.len() > MAX_FOUNDATION {
        return None;
    }
    let kind = match candidate.attr("type") {
        Some("host") => CandidateKind::Host,
        Some("prflx") => CandidateKind::PeerReflexive,
        Some("srflx") => CandidateKind::ServerReflexive,
        Some("relay") => CandidateKind::Relayed,
        _ => return None,
    };
    // COMPAT(Monal, 6.4.5): writes rel_port.
    let related_port = candidate
        .attr("rel-port")
        .or_else(|| candidate.attr("rel_port"));
    let related = candidate
        .attr("rel-addr")
        .and_then(|ip| ip.parse().ok())
        .zip(related_port.and_then(|port| port.parse().ok()))
        .map(|(ip, port): (IpAddr, u16)| SocketAddr::new(ip, port));
    Some(Candidate {
        foundation: foundation.to_owned(),
        component: candidate
            .attr("component")?
            .parse()
            .ok()
            .filter(|component| matches!(component, 1 | 2))?,
        address: SocketAddr::new(ip, port),
        priority: number("priority")?,
        kind,
        related,
        generation: number("generation").unwrap_or(0),
    })
}

/// False for what only a fool or an attacker would send packets to; link-local addresses have a
/// scope that candidates cannot say.
fn is_reachable(ip: IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || ip.is_unspecified() || ip.is_multicast())
}

/// Writes the whole transport of a description. `next_id` counts the session's candidates.
pub fn write(ice: &IceTransport, next_id: &mut u32) -> Element {
    let IceTransport {
        ufrag,
        pwd,
        candidates,
        rtcp_mux: _,
        fingerprint,
        sdes: _,
    } = ice;
    let fingerprint = fingerprint.as_ref().map(write_fingerprint);
    let candidates = candidates
        .iter()
        .filter_map(|candidate| write_candidate(candidate, next_id));
    start(ufrag, pwd)
        .children(fingerprint)
        .children(candidates)
        .build()
}

/// Writes a transport for `transport-info`: one candidate or none, because some clients read no
/// more; with both credentials, because some compare them. `None` if the candidate is one that we
/// never show.
pub fn write_trickle(
    ufrag: &str,
    pwd: &str,
    candidate: Option<&Candidate>,
    next_id: &mut u32,
) -> Option<Element> {
    let start = start(ufrag, pwd);
    match candidate {
        Some(candidate) => Some(start.child(write_candidate(candidate, next_id)?).build()),
        None => Some(start.build()),
    }
}

fn start(ufrag: &str, pwd: &str) -> Writer {
    element("transport", JINGLE_ICE_UDP)
        .attr("ufrag", ufrag)
        .attr("pwd", pwd)
}

fn write_fingerprint(fingerprint: &Fingerprint) -> Element {
    let setup = match fingerprint.setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::Actpass => "actpass",
    };
    element("fingerprint", JINGLE_DTLS)
        .attr("hash", &fingerprint.hash)
        .attr("setup", setup)
        .text(&fingerprint.hex())
        .build()
}

fn write_candidate(candidate: &Candidate, next_id: &mut u32) -> Option<Element> {
    let Candidate {
        foundation,
        component,
        address,
        priority,
        kind,
        related,
        generation,
    } = candidate;
    if !is_reachable(address.ip()) || address.port() == 0 {
        return None;
    }
    *next_id = next_id.wrapping_add(1);
    let kind = match kind {
        CandidateKind::Host => "host",
        CandidateKind::PeerReflexive => "prflx",
        CandidateKind::ServerReflexive => "srflx",
        CandidateKind::Relayed => "relay",
    };
    // Clients that read signed 32-bit numbers; RFC 8445 §5.1.2 stays below 2^31 too.
    let priority = (*priority).min(i32::MAX as u32);
    let mut written = element("candidate", JINGLE_ICE_UDP)
        .attr("component", component.to_string())
        .attr("foundation", whole_number(foundation))
        .attr("generation", generation.to_string())
        .attr("id", format!("c{next_id}"))
        .attr("ip", address.ip().to_string())
        .attr("network", "0")
        .attr("port", address.port().to_string())
        .attr("priority", priority.to_string())
        .attr("protocol", "udp")
        .attr("type", kind);
    if let Some(related) = related {
        written = written
            .attr("rel-addr", related.ip().to_string())
            .attr("rel-port", related.port().to_string());
    }
    Some(written.build())
}

/// COMPAT(Siskin IM and Beagle IM): drop candidates whose foundation is no unsigned integer,
/// though RFC 8839 allows letters. FNV-1a keeps equal foundations equal.
fn whole_number(foundation: &str) -> String {
    if foundation.parse::<u32>().is_ok() && !foundation.starts_with('+') {
        return foundation.to_owned();
    }
    let hash = foundation.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inner: &str) -> ReadTransport {
        let xml =
            format!("<transport xmlns='{JINGLE_ICE_UDP}' ufrag='u' pwd='p'>{inner}</transport>");
        read(&xml.parse().unwrap()).unwrap()
    }

    #[test]
    fn candidates_that_cannot_be_used_are_left_out() {
        let read = parse(
            "<candidate component='1' foundation='1' ip='192.0.2.1' port='0' priority='1' protocol='tcp' type='host'/>\
             <candidate component='1' foundation='1' ip='f00.local' port='9' priority='1' protocol='udp' type='host'/>\
             <candidate component='1' foundation='1' ip='fe80::1' port='9' priority='1' protocol='udp' type='host'/>\
             <candidate component='3' foundation='1' ip='192.0.2.1' port='9' priority='1' protocol='udp' type='host'/>\
             <candidate component='1' foundation='1' ip='0.0.0.0' port='9' priority='1' protocol='udp' type='host'/>\
             <candidate/><gathering-complete/>\
             <candidate component='1' foundation='1' ip='192.0.2.7' port='9' priority='1' protocol='udp' type='host'/>",
        );
        assert_eq!(read.candidates.len(), 1);
        assert_eq!(read.candidates[0].generation, 0);
    }

    #[test]
    fn more_candidates_than_the_bound_are_left_out() {
        let one = "<candidate component='1' foundation='1' ip='192.0.2.7' port='9' priority='1' protocol='udp' type='host'/>";
        assert_eq!(parse(&one.repeat(500)).candidates.len(), MAX_CANDIDATES);
    }

    #[test]
    fn a_fingerprint_with_blanks_is_read_and_sha_256_is_preferred() {
        let dtls = JINGLE_DTLS;
        let read = parse(&format!(
            "<fingerprint xmlns='{dtls}' hash='sha-1' setup='active'>00:11</fingerprint>\
             <fingerprint xmlns='{dtls}' hash='SHA-256' setup='passive'>\n ab:CD \n</fingerprint>"
        ));
        let fingerprint = read.fingerprint.unwrap();
        assert_eq!(fingerprint.hash, "sha-256");
        assert_eq!(fingerprint.value, [0xab, 0xcd]);
        assert_eq!(fingerprint.setup, Setup::Passive);
    }

    #[test]
    fn foundations_become_whole_numbers_and_equal_ones_stay_equal() {
        assert_eq!(whole_number("17"), "17");
        assert_eq!(whole_number("Hcb0"), whole_number("Hcb0"));
        assert!(whole_number("Hcb0").parse::<u32>().is_ok());
        assert_ne!(whole_number("Hcb0"), whole_number("Hcb1"));
    }
}
