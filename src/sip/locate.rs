//! Where the servers of a domain are: RFC 3263 as questions and answers, asked ahead of time so
//! that no call waits for the resolver.
//!
//! A literal address needs no question. A name with a port is asked for its addresses (§4.2); a
//! name without one for its SRV records first, ordered as RFC 2782 says. NAPTR is not asked: the
//! transport is configured or UDP. An answer without addresses leaves the places of the last
//! answer standing: an old address is better than none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::id::{QueryId, TokenMaker};
use crate::net::{Question, Record, SipTransport};

/// How often the answers are refreshed.
pub const REFRESH: Duration = Duration::from_secs(60);
/// Places of one target: more servers than that are not tried for one call.
const MAX_PLACES: usize = 16;
/// SRV records of one answer that are looked at.
const MAX_SERVICES: usize = 16;

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// How to talk to it.
    pub transport: SipTransport,
    /// Where it is.
    pub remote: SocketAddr,
}

/// The host of `text` if it is a literal address; IPv6 with or without brackets.
pub fn literal(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().ok()
}

/// The servers of all targets.
#[derive(Debug, Default)]
pub struct Locator {
    targets: Vec<Target>,
    queries: BTreeMap<QueryId, Asked>,
    asked: u64,
}

#[derive(Debug)]
struct Target {
    host: String,
    port: Option<u16>,
    transport: SipTransport,
    places: Vec<Place>,
    round: Round,
}

#[derive(Debug, Default)]
struct Round {
    open: usize,
    /// By the rank of the service that an address belongs to.
    found: BTreeMap<usize, Vec<SocketAddr>>,
}

#[derive(Debug)]
enum Asked {
    Services {
        target: usize,
    },
    Addresses {
        target: usize,
        rank: usize,
        port: u16,
    },
}

impl Asked {
    fn target(&self) -> usize {
        match self {
            Self::Services { target } | Self::Addresses { target, .. } => *target,
        }
    }
}

impl Locator {
    /// Adds a target and returns its number, counted up from 0.
    pub fn add(&mut self, host: &str, port: Option<u16>, transport: SipTransport) -> usize {
        let places = literal(host)
            .map(|ip| Place {
                transport,
                remote: SocketAddr::new(ip, port.unwrap_or(transport.default_port())),
            })
            .into_iter()
            .collect();
        self.targets.push(Target {
            host: host.to_owned(),
            port,
            transport,
            places,
            round: Round::default(),
        });
        self.targets.len() - 1
    }

    /// The servers of `target`, best first.
    pub fn places(&self, target: usize) -> &[Place] {
        self.targets
            .get(target)
            .map_or(&[], |target| target.places.as_slice())
    }

    /// The first address known for `host`, if it is one of the targets.
    pub fn known(&self, host: &str) -> Option<Place> {
        self.targets
            .iter()
            .find(|target| target.host.eq_ignore_ascii_case(host))?
            .places
            .first()
            .copied()
    }

    /// True if `target` has to be asked for at all.
    pub fn is_name(&self, target: usize) -> bool {
        self.targets
            .get(target)
            .is_some_and(|target| literal(&target.host).is_none())
    }

    /// Starts a round of questions about `target`; an unfinished one is forgotten.
    pub fn refresh(&mut self, target: usize) -> Option<(QueryId, Question)> {
        if !self.is_name(target) {
            return None;
        }
        self.queries.retain(|_, asked| asked.target() != target);
        let entry = self.targets.get_mut(target)?;
        entry.round = Round::default();
        let host = entry.host.clone();
        match entry.port {
            Some(port) => {
                let rank = 0;
                Some(self.ask(
                    Asked::Addresses { target, rank, port },
                    Question::Addresses(host),
                ))
            }
            None => {
                let service = match entry.transport {
                    SipTransport::Udp => "_sip._udp",
                    SipTransport::Tcp => "_sip._tcp",
                    SipTransport::Tls => "_sips._tcp",
                };
                let name = format!("{service}.{host}");
                Some(self.ask(Asked::Services { target }, Question::Srv(name)))
            }
        }
    }

    fn ask(&mut self, asked: Asked, question: Question) -> (QueryId, Question) {
        self.asked += 1;
        let query = QueryId(self.asked);
        if let Some(target) = self.targets.get_mut(asked.target()) {
            target.round.open += 1;
        }
        self.queries.insert(query, asked);
        (query, question)
    }

    /// Takes an answer; returns the questions that follow from it.
    pub fn answer(
        &mut self,
        query: QueryId,
        records: &[Record],
        tokens: &mut TokenMaker,
    ) -> Vec<(QueryId, Question)> {
        let Some(asked) = self.queries.remove(&query) else {
            return Vec::new();
        };
        let target = asked.target();
        let questions = match asked {
            Asked::Services { target } => self.services(target, records, tokens),
            Asked::Addresses { target, rank, port } => {
                if let Some(entry) = self.targets.get_mut(target) {
                    let found = entry.round.found.entry(rank).or_default();
                    found.extend(records.iter().filter_map(|record| match record {
                        Record::Address(ip) => Some(SocketAddr::new(*ip, port)),
                        Record::Srv { .. } | Record::Naptr { .. } => None,
                    }));
                    found.truncate(MAX_PLACES);
                }
                Vec::new()
            }
        };
        self.close(target);
        questions
    }

    fn services(
        &mut self,
        target: usize,
        records: &[Record],
        tokens: &mut TokenMaker,
    ) -> Vec<(QueryId, Question)> {
        let Some(entry) = self.targets.get(target) else {
            return Vec::new();
        };
        let mut services = by_priority_and_weight(records, tokens);
        if services.is_empty() {
            // RFC 3263 §4.2: no SRV records, so the name itself at the default port.
            services.push((entry.host.clone(), entry.transport.default_port()));
        }
        services
            .into_iter()
            .enumerate()
            .map(|(rank, (host, port))| match literal(&host) {
                Some(ip) => {
                    // Not allowed by RFC 2782, and seen: ask nobody, but keep the answer's shape.
                    if let Some(entry) = self.targets.get_mut(target) {
                        let found = entry.round.found.entry(rank).or_default();
                        found.push(SocketAddr::new(ip, port));
                    }
                    None
                }
                None => {
                    let asked = Asked::Addresses { target, rank, port };
                    Some(self.ask(asked, Question::Addresses(host)))
                }
            })
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
            .collect()
    }

    fn close(&mut self, target: usize) {
        let Some(entry) = self.targets.get_mut(target) else {
            return;
        };
        entry.round.open = entry.round.open.saturating_sub(1);
        if entry.round.open > 0 {
            return;
        }
        let transport = entry.transport;
        let mut places: Vec<Place> = Vec::new();
        for remote in std::mem::take(&mut entry.round.found)
            .into_values()
            .flatten()
        {
            let place = Place { transport, remote };
            if places.len() < MAX_PLACES && !places.contains(&place) {
                places.push(place);
            }
        }
        if !places.is_empty() {
            entry.places = places;
        }
    }

    /// Questions that wait for their answer.
    pub fn open_questions(&self) -> usize {
        self.queries.len()
    }
}

/// RFC 2782: lower priorities first, and among equals each next one drawn by its weight.
fn by_priority_and_weight(records: &[Record], tokens: &mut TokenMaker) -> Vec<(String, u16)> {
    let mut groups: BTreeMap<u16, Vec<(u16, &str, u16)>> = BTreeMap::new();
    for record in records.iter().take(MAX_SERVICES) {
        match record {
            Record::Srv {
                priority,
                weight,
                port,
                target,
            } if target != "." && !target.is_empty() => groups
                .entry(*priority)
                .or_default()
                .push((*weight, target, *port)),
            Record::Srv { .. } | Record::Address(_) | Record::Naptr { .. } => {}
        }
    }
    let mut ordered = Vec::new();
    for mut group in groups.into_values() {
        while !group.is_empty() {
            let sum: u64 = group.iter().map(|(weight, ..)| u64::from(*weight)).sum();
            let mut drawn = tokens.below(sum + 1);
            let mut chosen = 0;
            for (index, (weight, ..)) in group.iter().enumerate() {
                chosen = index;
                let weight = u64::from(*weight);
                if drawn <= weight {
                    break;
                }
                drawn -= weight;
            }
            let (_, host, port) = group.remove(chosen);
            ordered.push((host.trim_end_matches('.').to_owned(), port));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
        Record::Srv {
            priority,
            weight,
            port,
            target: target.to_owned(),
        }
    }

    fn ip(text: &str) -> Record {
        Record::Address(text.parse().unwrap())
    }

    #[test]
    fn a_literal_address_needs_no_question() {
        let mut locator = Locator::default();
        let v4 = locator.add("192.0.2.1", None, SipTransport::Udp);
        let v6 = locator.add("2001:db8::1", Some(5080), SipTransport::Tcp);
        assert_eq!(locator.refresh(v4), None);
        assert_eq!(
            locator.places(v4)[0].remote,
            "192.0.2.1:5060".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(
            locator.places(v6)[0].remote,
            "[2001:db8::1]:5080".parse::<SocketAddr>().unwrap()
        );
    }

    #[test]
    fn an_explicit_port_means_no_srv() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("sip.example.org", Some(5070), SipTransport::Udp);
        let (query, question) = locator.refresh(target).unwrap();
        assert_eq!(question, Question::Addresses("sip.example.org".into()));
        let records = [ip("192.0.2.1"), ip("192.0.2.2")];
        assert!(locator.answer(query, &records, &mut tokens).is_empty());
        assert_eq!(locator.places(target).len(), 2);
        assert_eq!(locator.places(target)[1].remote.port(), 5070);
        assert_eq!(locator.open_questions(), 0);
    }

    #[test]
    fn srv_records_are_tried_by_priority_and_failures_keep_the_last_answer() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("example.org", None, SipTransport::Tls);
        let (query, question) = locator.refresh(target).unwrap();
        assert_eq!(question, Question::Srv("_sips._tcp.example.org".into()));
        let records = [
            srv(20, 0, 5063, "b.example.org"),
            srv(10, 5, 5062, "a.example.org."),
        ];
        let next = locator.answer(query, &records, &mut tokens);
        assert_eq!(next[0].1, Question::Addresses("a.example.org".into()));
        // The second answer may come first; the order of the places is that of the records.
        locator.answer(next[1].0, &[ip("192.0.2.2")], &mut tokens);
        assert!(locator.places(target).is_empty());
        locator.answer(next[0].0, &[ip("192.0.2.1")], &mut tokens);
        let ports: Vec<u16> = locator
            .places(target)
            .iter()
            .map(|p| p.remote.port())
            .collect();
        assert_eq!(ports, [5062, 5063]);

        let (query, _) = locator.refresh(target).unwrap();
        let next = locator.answer(query, &[], &mut tokens);
        assert_eq!(next[0].1, Question::Addresses("example.org".into()));
        locator.answer(next[0].0, &[], &mut tokens);
        assert_eq!(locator.places(target).len(), 2);
    }
}
