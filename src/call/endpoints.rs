//! Our own ends of media: ports, ICE credentials and candidates, handed out at once from pure
//! pools, so that an INVITE leaves in the same turn that the session-initiate came in.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::description::{
    Candidate, CandidateKind, Fingerprint, IceTransport, RtpTransport, Security, Setup, Transport,
};
use crate::id::{TokenMaker, WorkerId};

/// How long a port rests after a call, so that late packets of the old peer do not reach the next
/// one. Peers stop within a few seconds; 30 s is what livekit uses too.
const PORT_REST: Duration = Duration::from_secs(30);

/// How short that rest may become when no other port is left: late packets of a stranger are
/// better than a refused call.
const LEAST_REST: Duration = Duration::from_secs(1);

/// What is known of the media floor before any call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFacts {
    /// The hash of our DTLS certificate; its `setup` is not used.
    pub fingerprint: Fingerprint,
    /// The address that SIP legs bind.
    pub rtp_bind: IpAddr,
    /// The address that SDP says.
    pub rtp_address: IpAddr,
    /// Ports of the SIP legs, from an even one to an odd one.
    pub rtp_ports: RangeInclusive<u16>,
    /// The shared ICE ports of each worker.
    pub workers: Vec<WorkerFacts>,
}

/// The shared ICE ports of a worker, as peers reach them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Addresses of component 1.
    pub rtp: Vec<SocketAddr>,
    /// Addresses of component 2.
    pub rtcp: Vec<SocketAddr>,
}

/// Our own end of one side of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalEnd {
    /// A port pair for a SIP leg.
    Rtp {
        /// The even port.
        port: u16,
    },
    /// Credentials for an XMPP leg.
    Ice {
        /// Our user name fragment.
        ufrag: String,
        /// Our password.
        pwd: String,
        /// A port pair of its own, if it does not go over the worker's.
        own_port: Option<u16>,
    },
}

/// Hands out our ends.
#[derive(Debug)]
pub struct Endpoints {
    facts: MediaFacts,
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    loads: BTreeMap<WorkerId, usize>,
}

impl Endpoints {
    /// Starts with every port free.
    pub fn new(facts: MediaFacts) -> Self {
        let first = facts.rtp_ports.start().next_multiple_of(2);
        let last = *facts.rtp_ports.end();
        let free = (first..last).step_by(2).collect();
        let loads = (0..facts.workers.len().max(1))
            .map(|n| (WorkerId(n as u64), 0))
            .collect();
        Self {
            facts,
            free,
            resting: VecDeque::new(),
            loads,
        }
    }

    /// What is known of the media floor.
    pub fn facts(&self) -> &MediaFacts {
        &self.facts
    }

    /// Chooses the least loaded worker for a call.
    pub fn take_worker(&mut self) -> WorkerId {
        let least = self
            .loads
            .iter()
            .min_by_key(|(_, load)| **load)
            .map(|(id, _)| *id);
        let worker = least.unwrap_or(WorkerId(0));
        *self.loads.entry(worker).or_default() += 1;
        worker
    }

    /// Ends a call's stay at its worker.
    pub fn give_worker(&mut self, worker: WorkerId) {
        if let Some(load) = self.loads.get_mut(&worker) {
            *load = load.saturating_sub(1);
        }
    }

    /// A port pair, or `None` when all are in use or have only just been.
    pub fn take_port(&mut self, now: Instant) -> Option<u16> {
        while let Some(port) = self.take_rested(now, PORT_REST) {
            self.free.push_back(port);
        }
        let free = self.free.pop_front();
        free.or_else(|| self.take_rested(now, LEAST_REST))
    }

    fn take_rested(&mut self, now: Instant, rest: Duration) -> Option<u16> {
        let rested = |(since, _): &mut (Instant, u16)| now >= *since + rest;
        self.resting.pop_front_if(rested).map(|(_, port)| port)
    }

    /// Takes a port pair back; it rests for 30 s, or less when ports run out.
    pub fn give_port(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now, port));
    }

    /// Port pairs that calls hold.
    pub fn ports_in_use(&self) -> usize {
        let first = self.facts.rtp_ports.start().next_multiple_of(2);
        let all = (first..*self.facts.rtp_ports.end()).step_by(2).len();
        all - self.free.len() - self.resting.len()
    }

    /// Calls at all workers.
    pub fn worker_load(&self) -> usize {
        self.loads.values().sum()
    }

    /// Fresh ICE credentials.
    pub fn ice_end(tokens: &mut TokenMaker, own_port: Option<u16>) -> LocalEnd {
        LocalEnd::Ice {
            ufrag: tokens.token(8),
            pwd: tokens.token(24),
            own_port,
        }
    }

    /// How a description shows one of our ends. `setup` and `rtcp_mux` are for ICE ends.
    pub fn transport(
        &self,
        worker: WorkerId,
        end: &LocalEnd,
        setup: Setup,
        rtcp_mux: bool,
        both_components: bool,
    ) -> Transport {
        match end {
            LocalEnd::Rtp { port } => Transport::Rtp(RtpTransport {
                address: Some(SocketAddr::new(self.facts.rtp_address, *port)),
                rtcp: None,
                rtcp_mux: false,
                security: Security::None,
                opportunistic: false,
            }),
            LocalEnd::Ice {
                ufrag,
                pwd,
                own_port,
            } => Transport::Ice(IceTransport {
                ufrag: ufrag.clone(),
                pwd: pwd.clone(),
                candidates: self.candidates(worker, *own_port, both_components),
                rtcp_mux,
                fingerprint: Some(Fingerprint {
                    setup,
                    ..self.facts.fingerprint.clone()
                }),
                sdes: Vec::new(),
            }),
        }
    }

    /// Our host candidates at a worker, or at a port pair of a side's own.
    pub fn candidates(
        &self,
        worker: WorkerId,
        own_port: Option<u16>,
        both_components: bool,
    ) -> Vec<Candidate> {
        let Some(facts) = self.facts.workers.get(worker.0 as usize) else {
            return Vec::new();
        };
        let rtcp: &[SocketAddr] = if both_components { &facts.rtcp } else { &[] };
        let component = |component: u8, addresses: &[SocketAddr]| {
            let candidate = |(n, address): (usize, &SocketAddr)| Candidate {
                // Siskin drops foundations that are no unsigned integers.
                foundation: (n + 1).to_string(),
                component,
                address: match own_port {
                    Some(port) => (address.ip(), port + u16::from(component - 1)).into(),
                    None => *address,
                },
                // RFC 8445 §5.1.2.1: type preference 126, then local preference, then component.
                priority: (126 << 24)
                    + ((65_535 - n.min(255) as u32) << 8)
                    + (256 - u32::from(component)),
                kind: CandidateKind::Host,
                related: None,
                generation: 0,
            };
            addresses
                .iter()
                .enumerate()
                .map(candidate)
                .collect::<Vec<_>>()
        };
        [component(1, &facts.rtp), component(2, rtcp)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        let address = |port| SocketAddr::from(([203, 0, 113, 5], port));
        Endpoints::new(MediaFacts {
            fingerprint: Fingerprint {
                hash: "sha-256".to_owned(),
                value: vec![1; 32],
                setup: Setup::Actpass,
            },
            rtp_bind: [0, 0, 0, 0].into(),
            rtp_address: [203, 0, 113, 5].into(),
            rtp_ports: 20_000..=20_003,
            workers: vec![
                WorkerFacts {
                    rtp: vec![address(40_000)],
                    rtcp: vec![address(40_002)],
                },
                WorkerFacts {
                    rtp: vec![address(40_001)],
                    rtcp: vec![address(40_003)],
                },
            ],
        })
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_port_rests_before_it_is_used_again() {
        let t0 = Instant::now();
        let mut ends = endpoints();
        assert_eq!(
            (ends.take_port(t0), ends.take_port(t0)),
            (Some(20_000), Some(20_002))
        );
        assert_eq!(ends.take_port(t0), None);
        ends.give_port(t0, 20_000);
        assert_eq!(ends.ports_in_use(), 1);
        assert_eq!(ends.take_port(t0 + LEAST_REST / 2), None);
        assert_eq!(ends.take_port(t0 + PORT_REST), Some(20_000));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_port_rests_less_before_a_call_is_refused() {
        let t0 = Instant::now();
        let mut ends = endpoints();
        for port in [20_000, 20_002] {
            assert_eq!(ends.take_port(t0), Some(port));
            ends.give_port(t0, port);
        }
        assert_eq!(ends.take_port(t0 + LEAST_REST), Some(20_000));
        assert_eq!(ends.take_port(t0 + LEAST_REST), Some(20_002));
        assert_eq!(ends.take_port(t0 + LEAST_REST), None);
    }

    #[test]
    fn calls_spread_over_the_workers() {
        let mut ends = endpoints();
        let (a, b) = (ends.take_worker(), ends.take_worker());
        assert_ne!(a, b);
        ends.give_worker(a);
        assert_eq!(ends.take_worker(), a);
    }

    #[test]
    fn candidates_have_numeric_foundations_and_positive_priorities() {
        let candidates = endpoints().candidates(WorkerId(1), None, true);
        assert_eq!(candidates.len(), 2);
        assert_eq!(
            (candidates[0].component, candidates[0].address.port()),
            (1, 40_001)
        );
        assert_eq!(
            (candidates[1].component, candidates[1].address.port()),
            (2, 40_003)
        );
        assert!(
            candidates
                .iter()
                .all(|c| c.priority < 1 << 31 && c.foundation == "1")
        );
    }
}
