//! Where the servers of a domain are: RFC 3263 as questions and answers, asked ahead of time so
//! that no call waits for the resolver.
//!
//! A literal address needs no question. A name with a port is asked for its addresses (§4.2). A
//! name without one is asked for NAPTR, if no transport is given (§4.1), then for SRV, ordered as
//! RFC 2782 says, and without those for its own addresses. When nobody answers, or nothing usable
//! is said, the places of the last answer stand: an old address is better than none.

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
/// Services of one NAPTR answer that are looked at: there are three that we speak.
const MAX_NAPTR: usize = 3;

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
    ways: BTreeMap<QueryId, IpAddr>,
    asked: u64,
}

#[derive(Debug)]
struct Target {
    host: String,
    port: Option<u16>,
    /// As configured.
    transport: Option<SipTransport>,
    /// What we speak, most wanted first.
    spoken: Vec<SipTransport>,
    places: Vec<Place>,
    round: Round,
}

impl Target {
    /// RFC 3263 §4.1, when nothing else decides.
    fn usual(&self) -> SipTransport {
        let first = self.spoken.first().copied();
        self.transport.or(first).unwrap_or(SipTransport::Udp)
    }
}

/// The service that an address belongs to: of which NAPTR, of which SRV.
type Rank = (usize, usize);

#[derive(Debug, Default)]
struct Round {
    open: usize,
    found: BTreeMap<Rank, Vec<Place>>,
    /// There are SRV records, whatever came of them.
    has_services: bool,
    /// The name's own addresses were asked for.
    asked_itself: bool,
    /// A question was not answered.
    unanswered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    target: usize,
    about: About,
}

#[derive(Clone, Copy, Debug)]
enum About {
    Naptr,
    Services {
        group: usize,
        transport: SipTransport,
    },
    Addresses {
        rank: Rank,
        port: u16,
        transport: SipTransport,
    },
}

impl Locator {
    /// Adds a target and returns its number, counted up from 0. `spoken` is what may be used if no
    /// transport is given, most wanted first.
    pub fn add(
        &mut self,
        host: &str,
        port: Option<u16>,
        transport: Option<SipTransport>,
        spoken: &[SipTransport],
    ) -> usize {
        let mut target = Target {
            host: host.to_owned(),
            port,
            transport,
            spoken: spoken.to_vec(),
            places: Vec::new(),
            round: Round::default(),
        };
        if let Some(ip) = literal(host) {
            let transport = target.usual();
            target.places.push(Place {
                transport,
                remote: SocketAddr::new(ip, port.unwrap_or(transport.default_port())),
            });
        }
        self.targets.push(target);
        self.targets.len() - 1
    }

    /// The servers of `target`, best first.
    pub fn places(&self, target: usize) -> &[Place] {
        self.targets
            .get(target)
            .map_or(&[], |target| target.places.as_slice())
    }

    /// The servers known for `host`, best first, if it is one of the targets.
    pub fn known(&self, host: &str) -> &[Place] {
        self.targets
            .iter()
            .find(|target| target.host.eq_ignore_ascii_case(host))
            .map_or(&[], |target| target.places.as_slice())
    }

    /// True while a round of questions about `target` waits for answers.
    pub fn asks_for(&self, target: usize) -> bool {
        self.queries.values().any(|asked| asked.target == target)
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
        self.queries.retain(|_, asked| asked.target != target);
        let entry = self.targets.get_mut(target)?;
        entry.round = Round::default();
        match (entry.port, entry.transport) {
            (Some(port), _) => {
                entry.round.asked_itself = true;
                let (host, transport) = (entry.host.clone(), entry.usual());
                Some(self.ask_addresses(target, (0, 0), host, port, transport))
            }
            (None, Some(transport)) => {
                let name = service_name(&entry.host, transport);
                Some(self.ask_services(target, 0, name, transport))
            }
            (None, None) => {
                let question = Question::Naptr(entry.host.clone());
                Some(self.ask(target, About::Naptr, question))
            }
        }
    }

    fn ask(&mut self, target: usize, about: About, question: Question) -> (QueryId, Question) {
        self.asked += 1;
        let query = QueryId(self.asked);
        if let Some(entry) = self.targets.get_mut(target) {
            entry.round.open += 1;
        }
        self.queries.insert(query, Asked { target, about });
        (query, question)
    }

    fn ask_services(
        &mut self,
        target: usize,
        group: usize,
        name: String,
        transport: SipTransport,
    ) -> (QueryId, Question) {
        let about = About::Services { group, transport };
        self.ask(target, about, Question::Srv(name))
    }

    fn ask_addresses(
        &mut self,
        target: usize,
        rank: Rank,
        host: String,
        port: u16,
        transport: SipTransport,
    ) -> (QueryId, Question) {
        let about = About::Addresses {
            rank,
            port,
            transport,
        };
        self.ask(target, about, Question::Addresses(host))
    }

    /// Asks which of our addresses the host would use toward `remote`.
    pub fn ask_way(&mut self, remote: IpAddr) -> (QueryId, Question) {
        self.asked += 1;
        let query = QueryId(self.asked);
        self.ways.insert(query, remote);
        (query, Question::Way(remote))
    }

    /// True while [`Self::ask_way`] waits for its answer.
    pub fn asks_way(&self, remote: IpAddr) -> bool {
        self.ways.values().any(|asked| *asked == remote)
    }

    /// The peer that [`Self::ask_way`] asked about.
    pub fn answered_way(&mut self, query: QueryId) -> Option<IpAddr> {
        self.ways.remove(&query)
    }

    /// Takes an answer, or `None` if nobody gave one; returns the questions that follow from it.
    pub fn answer(
        &mut self,
        query: QueryId,
        records: Option<&[Record]>,
        tokens: &mut TokenMaker,
    ) -> Vec<(QueryId, Question)> {
        let Some(Asked { target, about }) = self.queries.remove(&query) else {
            return Vec::new();
        };
        let Some(entry) = self.targets.get_mut(target) else {
            return Vec::new();
        };
        entry.round.unanswered |= records.is_none();
        let records = records.unwrap_or(&[]);
        let mut questions = match about {
            About::Naptr => self.naptr(target, records),
            About::Services { group, transport } => {
                self.services(target, group, transport, records, tokens)
            }
            About::Addresses {
                rank,
                port,
                transport,
            } => {
                let found = entry.round.found.entry(rank).or_default();
                found.extend(records.iter().filter_map(|record| match record {
                    Record::Address(ip) => Some(Place {
                        transport,
                        remote: SocketAddr::new(*ip, port),
                    }),
                    Record::Srv { .. } | Record::Naptr { .. } => None,
                }));
                found.truncate(MAX_PLACES);
                Vec::new()
            }
        };
        questions.extend(self.close(target));
        questions
    }

    /// §4.1: the services that we speak, in the domain's order; without any, SRV for each.
    fn naptr(&mut self, target: usize, records: &[Record]) -> Vec<(QueryId, Question)> {
        let Some(entry) = self.targets.get(target) else {
            return Vec::new();
        };
        let mut services: Vec<(u16, u16, String, SipTransport)> = records
            .iter()
            .filter_map(|record| match record {
                Record::Naptr {
                    order,
                    preference,
                    flags,
                    service,
                    replacement,
                } if flags.eq_ignore_ascii_case("s") => {
                    let transport = transport_of(service)?;
                    let name = replacement.trim_end_matches('.').to_owned();
                    let usable = entry.spoken.contains(&transport) && !name.is_empty();
                    usable.then_some((*order, *preference, name, transport))
                }
                Record::Naptr { .. } | Record::Srv { .. } | Record::Address(_) => None,
            })
            .collect();
        services.sort();
        let mut named: Vec<(String, SipTransport)> = services
            .into_iter()
            .take(MAX_NAPTR)
            .map(|(_, _, name, transport)| (name, transport))
            .collect();
        if named.is_empty() {
            named = entry
                .spoken
                .iter()
                // TLS is for who asks for it, by URI or by NAPTR.
                .filter(|transport| **transport != SipTransport::Tls)
                .map(|transport| (service_name(&entry.host, *transport), *transport))
                .collect();
        }
        named
            .into_iter()
            .enumerate()
            .map(|(group, (name, transport))| self.ask_services(target, group, name, transport))
            .collect()
    }

    fn services(
        &mut self,
        target: usize,
        group: usize,
        transport: SipTransport,
        records: &[Record],
        tokens: &mut TokenMaker,
    ) -> Vec<(QueryId, Question)> {
        let is_service = |record: &Record| matches!(record, Record::Srv { .. });
        let Some(entry) = self.targets.get_mut(target) else {
            return Vec::new();
        };
        entry.round.has_services |= records.iter().any(is_service);
        let mut questions = Vec::new();
        let services = by_priority_and_weight(records, tokens);
        for (position, (host, port)) in services.into_iter().enumerate() {
            let rank = (group, position);
            match (literal(&host), self.targets.get_mut(target)) {
                // Not allowed by RFC 2782, and seen: there is nothing to ask.
                (Some(ip), Some(entry)) => {
                    let remote = SocketAddr::new(ip, port);
                    let found = entry.round.found.entry(rank).or_default();
                    found.push(Place { transport, remote });
                }
                (_, _) => questions.push(self.ask_addresses(target, rank, host, port, transport)),
            }
        }
        questions
    }

    /// Ends the round if nothing is open; else, or if the name itself has to be asked for, it goes
    /// on.
    fn close(&mut self, target: usize) -> Option<(QueryId, Question)> {
        let entry = self.targets.get_mut(target)?;
        entry.round.open = entry.round.open.saturating_sub(1);
        if entry.round.open > 0 {
            return None;
        }
        let knows_some = !entry.places.is_empty();
        if entry.round.unanswered && knows_some {
            return None;
        }
        if !entry.round.has_services && !entry.round.asked_itself {
            // §4.2: no SRV records, so the name itself at the default port.
            entry.round.asked_itself = true;
            let (host, transport) = (entry.host.clone(), entry.usual());
            let port = transport.default_port();
            return Some(self.ask_addresses(target, (0, 0), host, port, transport));
        }
        let mut places: Vec<Place> = Vec::new();
        for place in std::mem::take(&mut entry.round.found)
            .into_values()
            .flatten()
        {
            if places.len() < MAX_PLACES && !places.contains(&place) {
                places.push(place);
            }
        }
        if !places.is_empty() {
            entry.places = places;
        }
        None
    }

    /// Questions that wait for their answer.
    pub fn open_questions(&self) -> usize {
        self.queries.len() + self.ways.len()
    }
}

fn service_name(host: &str, transport: SipTransport) -> String {
    let service = match transport {
        SipTransport::Udp => "_sip._udp",
        SipTransport::Tcp => "_sip._tcp",
        SipTransport::Tls => "_sips._tcp",
    };
    format!("{service}.{host}")
}

/// RFC 3263 §4.1, of a NAPTR's services field.
fn transport_of(service: &str) -> Option<SipTransport> {
    let known = [
        ("SIP+D2U", SipTransport::Udp),
        ("SIP+D2T", SipTransport::Tcp),
        ("SIPS+D2T", SipTransport::Tls),
    ];
    known
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(service))
        .map(|(_, transport)| transport)
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

    const ALL: [SipTransport; 3] = [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls];

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Record {
        Record::Naptr {
            order,
            preference,
            flags: "S".to_owned(),
            service: service.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

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
        let v4 = locator.add("192.0.2.1", None, None, &ALL);
        let v6 = locator.add("2001:db8::1", Some(5080), Some(SipTransport::Tcp), &ALL);
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
        let target = locator.add("sip.example.org", Some(5070), None, &ALL);
        let (query, question) = locator.refresh(target).unwrap();
        assert_eq!(question, Question::Addresses("sip.example.org".into()));
        let records = [ip("192.0.2.1"), ip("192.0.2.2")];
        assert!(
            locator
                .answer(query, Some(&records), &mut tokens)
                .is_empty()
        );
        assert_eq!(locator.places(target).len(), 2);
        assert_eq!(locator.places(target)[1].remote.port(), 5070);
        assert_eq!(locator.open_questions(), 0);
    }

    #[test]
    fn srv_records_are_tried_by_priority_and_failures_keep_the_last_answer() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("example.org", None, Some(SipTransport::Tls), &ALL);
        let (query, question) = locator.refresh(target).unwrap();
        assert_eq!(question, Question::Srv("_sips._tcp.example.org".into()));
        let records = [
            srv(20, 0, 5063, "b.example.org"),
            srv(10, 5, 5062, "a.example.org."),
        ];
        let next = locator.answer(query, Some(&records), &mut tokens);
        assert_eq!(next[0].1, Question::Addresses("a.example.org".into()));
        // The second answer may come first; the order of the places is that of the records.
        locator.answer(next[1].0, Some(&[ip("192.0.2.2")]), &mut tokens);
        assert!(locator.places(target).is_empty());
        locator.answer(next[0].0, Some(&[ip("192.0.2.1")]), &mut tokens);
        let ports: Vec<u16> = locator
            .places(target)
            .iter()
            .map(|p| p.remote.port())
            .collect();
        assert_eq!(ports, [5062, 5063]);

        let (query, _) = locator.refresh(target).unwrap();
        assert!(locator.answer(query, None, &mut tokens).is_empty());
        assert_eq!(locator.places(target).len(), 2);
        assert_eq!(locator.open_questions(), 0);
    }

    #[test]
    fn without_srv_the_name_itself_is_asked_for() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("example.org", None, Some(SipTransport::Tls), &ALL);
        let (query, _) = locator.refresh(target).unwrap();
        let next = locator.answer(query, Some(&[]), &mut tokens);
        assert_eq!(next[0].1, Question::Addresses("example.org".into()));
        locator.answer(next[0].0, Some(&[ip("192.0.2.1")]), &mut tokens);
        assert_eq!(
            locator.places(target)[0].remote,
            "192.0.2.1:5061".parse::<SocketAddr>().unwrap()
        );
    }

    #[test]
    fn a_service_that_is_declined_has_no_addresses() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("example.org", None, Some(SipTransport::Udp), &ALL);
        let (query, _) = locator.refresh(target).unwrap();
        // RFC 2782: a target of "." says that there is no such service.
        let next = locator.answer(query, Some(&[srv(0, 0, 0, ".")]), &mut tokens);
        assert!(next.is_empty() && locator.places(target).is_empty());
    }

    #[test]
    fn naptr_chooses_the_transport_among_those_we_speak() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let spoken = [SipTransport::Udp, SipTransport::Tcp];
        let target = locator.add("example.org", None, None, &spoken);
        let (query, question) = locator.refresh(target).unwrap();
        assert_eq!(question, Question::Naptr("example.org".into()));
        let records = [
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.org."),
            naptr(100, 50, "SIP+D2U", "_sip._udp.example.org."),
            naptr(90, 50, "sip+d2t", "_sip._tcp.example.net."),
            naptr(10, 10, "E2U+sip", "other.example.org."),
        ];
        let next = locator.answer(query, Some(&records), &mut tokens);
        assert_eq!(next[0].1, Question::Srv("_sip._tcp.example.net".into()));
        assert_eq!(next[1].1, Question::Srv("_sip._udp.example.org".into()));
        let udp = locator.answer(
            next[1].0,
            Some(&[srv(0, 0, 5070, "192.0.2.2")]),
            &mut tokens,
        );
        assert!(udp.is_empty());
        let tcp = locator.answer(
            next[0].0,
            Some(&[srv(0, 0, 5071, "a.example")]),
            &mut tokens,
        );
        locator.answer(tcp[0].0, Some(&[ip("192.0.2.1")]), &mut tokens);
        let places: Vec<(SipTransport, u16)> = locator
            .places(target)
            .iter()
            .map(|place| (place.transport, place.remote.port()))
            .collect();
        assert_eq!(
            places,
            [(SipTransport::Tcp, 5071), (SipTransport::Udp, 5070)]
        );
    }

    #[test]
    fn without_naptr_each_transport_is_asked_for() {
        let mut tokens = TokenMaker::new([1; 32]);
        let mut locator = Locator::default();
        let target = locator.add("example.org", None, None, &ALL);
        let (query, _) = locator.refresh(target).unwrap();
        let next = locator.answer(query, Some(&[]), &mut tokens);
        let asked: Vec<&Question> = next.iter().map(|(_, question)| question).collect();
        assert_eq!(
            asked,
            [
                &Question::Srv("_sip._udp.example.org".into()),
                &Question::Srv("_sip._tcp.example.org".into()),
            ]
        );
        locator.answer(next[0].0, Some(&[]), &mut tokens);
        let last = locator.answer(next[1].0, Some(&[]), &mut tokens);
        assert_eq!(last[0].1, Question::Addresses("example.org".into()));
        locator.answer(last[0].0, Some(&[ip("192.0.2.1")]), &mut tokens);
        assert_eq!(locator.places(target)[0].transport, SipTransport::Udp);
    }

    #[test]
    fn weights_share_the_load() {
        let mut tokens = TokenMaker::new([2; 32]);
        let records = [srv(1, 75, 1, "a.example"), srv(1, 25, 2, "b.example")];
        let firsts = (0..1000)
            .filter(|_| by_priority_and_weight(&records, &mut tokens)[0].1 == 1)
            .count();
        assert!((650..850).contains(&firsts), "{firsts} of 1000");
    }
}
