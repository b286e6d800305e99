//! One ICE component of a side (RFC 8445, RFC 8838; XEP-0176): the crate's full agent, and around
//! it what the crate leaves open: bounds on what a peer can make it remember, the check that an
//! answer comes from where the question went (RFC 8445 §7.2.5.2.1), and restarts that keep the
//! old pair until the new one is nominated (§9).
//!
//! The crate knows one component only, so component 2 is an agent of its own with the same
//! credentials; it is told from component 1 by the local port. Role conflicts (487), consent
//! and keepalives (RFC 7675) are the crate's. Its transaction ids come from the system and not
//! from our seed; what protects a check is its integrity, not its id.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol};

use crate::description::{Candidate, CandidateKind};

/// Remote candidates of one component. Clients with many interfaces and a TURN server or two send
/// up to about 30; each costs a turn of [`PACE`] while it is tried.
const MAX_CANDIDATES: usize = 48;

/// Addresses that a peer may send valid checks from, per component and ICE generation: its
/// candidates as NATs show them.
const MAX_REMOTES: usize = 32;

/// Addresses that answers say they saw us at, per component and ICE generation: one per path
/// through a NAT of ours.
const MAX_MAPPED: usize = 16;

/// Checks of one component that may still be answered: at a check every 20 ms, 2.5 s of them.
const MAX_TRANSACTIONS: usize = 128;

/// Ta of RFC 8445 §14.2, as Firefox has it: the peer's good candidate may be its tenth, and the
/// user has already been answered.
const PACE: Duration = Duration::from_millis(20);

/// How long a check waits before it is sent again (RFC 8445 §14.3). Our first one often comes before
/// the peer knows us.
const FIRST_RTO: Duration = Duration::from_millis(100);

/// How long the agent before a restart lives on if the new one nominates nothing.
const PREVIOUS_LIMIT: Duration = Duration::from_secs(30);

/// How long a pair that was in use counts after the peer was last heard by it (RFC 7675 §5.1). The
/// crate gives up sooner; a client that changes networks needs most of it to restart (RFC 8445 §9).
const CONSENT: Duration = Duration::from_secs(30);

/// A pair in use that is silent for so long gives way to another one that the peer has nominated.
/// While it works it is heard each 3 s, by the answers to our checks.
const PATIENCE: Duration = Duration::from_millis(3_500);

/// A STUN transaction id.
pub type Transaction = [u8; 12];

/// What a component wants done.
#[derive(Debug)]
pub enum IceOutput {
    /// A STUN message to send.
    Transmit {
        /// Our address to send from.
        local: SocketAddr,
        /// Where it goes.
        remote: SocketAddr,
        /// The message.
        bytes: Vec<u8>,
        /// Set if an answer may come.
        request: Option<Transaction>,
        /// The request whose answer is no longer waited for.
        forget: Option<Transaction>,
    },
    /// There is a pair to send on: [`IcePort::selected`].
    Selected,
    /// The agent from before a restart is gone, and with it its user name.
    Forget {
        /// Its user name fragment.
        ufrag: String,
    },
    /// No pair works, or none works any more.
    Lost,
}

/// Our end of one ICE component.
#[derive(Debug)]
pub struct IcePort {
    current: Generation,
    previous: Option<(Generation, Instant)>,
    selected: Option<(SocketAddr, SocketAddr)>,
    /// When the peer was heard last by that pair.
    heard: Instant,
    /// What the controlling peer has nominated beside that pair.
    chosen: Option<(SocketAddr, SocketAddr)>,
    /// No pair works since the one in use was given up; when to tell.
    lost_at: Option<Instant>,
    lost: bool,
    transactions: VecDeque<Transaction>,
    out: VecDeque<IceOutput>,
}

#[derive(Debug)]
struct Generation {
    agent: IceAgent,
    /// A check was sent.
    began: bool,
    offered: Vec<SocketAddr>,
    sources: Vec<SocketAddr>,
    mapped: Vec<SocketAddr>,
}

impl Generation {
    fn new(
        now: Instant,
        (ufrag, pwd): (&str, &str),
        controlling: bool,
        tie_breaker: u64,
        locals: &[SocketAddr],
    ) -> Self {
        let mut agent = IceAgent::new(IceCreds {
            ufrag: ufrag.to_owned(),
            pass: pwd.to_owned(),
        });
        agent.set_controlling(controlling);
        agent.set_control_tie_breaker(tie_breaker);
        agent.set_timing_advance(PACE);
        agent.set_initial_stun_rto(FIRST_RTO);
        for local in locals {
            match is::Candidate::host(*local, Protocol::Udp) {
                Ok(candidate) => {
                    agent.add_local_candidate(candidate);
                }
                Err(error) => tracing::debug!(%error, "local address left out of ICE"),
            }
        }
        agent.handle_timeout(now);
        Self {
            agent,
            began: false,
            offered: Vec::new(),
            sources: Vec::new(),
            mapped: Vec::new(),
        }
    }

    /// When the agent has something to do. One that knows no address of the peer has nothing; the
    /// crate would be woken every 3 s all the same.
    fn poll_timeout(&mut self) -> Option<Instant> {
        let is_alone = self.offered.is_empty() && self.sources.is_empty();
        match is_alone {
            true => None,
            false => self.agent.poll_timeout(),
        }
    }

    /// Advances the agent when it is due, and for its first check at once.
    fn handle_timeout(&mut self, now: Instant) {
        let known = self.agent.remote_credentials().is_some();
        let first = !self.began && known && !self.offered.is_empty();
        if first || self.agent.poll_timeout().is_none_or(|at| at <= now) {
            self.began |= first;
            self.agent.handle_timeout(now);
        }
    }

    /// Advances the agent before its time: a pair may have been chosen just now. The crate lets such
    /// a pair skip the queue, but goes by a moment it has computed before, unless a timing changes.
    fn hurry(&mut self, now: Instant) {
        self.agent
            .set_initial_stun_rto(FIRST_RTO + Duration::from_millis(1));
        self.agent.set_initial_stun_rto(FIRST_RTO);
        self.agent.handle_timeout(now);
    }

    fn handle(
        &mut self,
        now: Instant,
        local: SocketAddr,
        from: SocketAddr,
        m: StunMessage,
    ) -> bool {
        if !self.agent.accepts_message(&m) {
            return false;
        }
        // The agent remembers each source and each mapped address that it has not seen before.
        let bounded = |seen: &mut Vec<SocketAddr>, address: SocketAddr, max: usize| {
            if seen.contains(&address) {
                return true;
            }
            let room = seen.len() < max;
            if room {
                seen.push(address);
            }
            room
        };
        let room = if m.is_binding_request() {
            bounded(&mut self.sources, from, MAX_REMOTES)
        } else {
            m.mapped_address()
                .is_none_or(|mapped| bounded(&mut self.mapped, mapped, MAX_MAPPED))
        };
        room && self.agent.handle_packet(
            now,
            StunPacket {
                proto: Protocol::Udp,
                source: from,
                destination: local,
                message: m,
            },
        )
    }
}

impl IcePort {
    /// Starts a component with our credentials on our addresses.
    pub fn new(
        now: Instant,
        credentials: (&str, &str),
        controlling: bool,
        tie_breaker: u64,
        locals: &[SocketAddr],
    ) -> Self {
        Self {
            current: Generation::new(now, credentials, controlling, tie_breaker, locals),
            previous: None,
            selected: None,
            heard: now,
            chosen: None,
            lost_at: None,
            lost: false,
            transactions: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// Starts over with other credentials; the pair in use stays until a new one is nominated.
    pub fn restart(
        &mut self,
        now: Instant,
        credentials: (&str, &str),
        controlling: bool,
        tie_breaker: u64,
        locals: &[SocketAddr],
    ) {
        let new = Generation::new(now, credentials, controlling, tie_breaker, locals);
        let old = std::mem::replace(&mut self.current, new);
        let older = self.previous.replace((old, now + PREVIOUS_LIMIT));
        if let Some((older, _)) = older {
            self.forget(&older);
        }
        self.chosen = None;
        self.lost = false;
        self.lost_at = None;
    }

    /// Tells the peer's credentials; others than before need a [`Self::restart`] first.
    pub fn set_remote(&mut self, ufrag: &str, pwd: &str) {
        self.current.agent.set_remote_credentials(IceCreds {
            ufrag: ufrag.to_owned(),
            pass: pwd.to_owned(),
        });
    }

    /// The peer's credentials, if known.
    pub fn remote(&self) -> Option<(&str, &str)> {
        self.current
            .agent
            .remote_credentials()
            .map(|c| (c.ufrag.as_str(), c.pass.as_str()))
    }

    /// Adds a remote candidate; known ones, unusable ones and those above the bound are left out.
    pub fn add_candidate(&mut self, candidate: &Candidate) {
        let offered = &mut self.current.offered;
        if !is_usable(candidate.address)
            || offered.contains(&candidate.address)
            || offered.len() >= MAX_CANDIDATES
        {
            return;
        }
        offered.push(candidate.address);
        let kind = match candidate.kind {
            CandidateKind::Host => is::CandidateKind::Host,
            CandidateKind::PeerReflexive => is::CandidateKind::PeerReflexive,
            CandidateKind::ServerReflexive => is::CandidateKind::ServerReflexive,
            CandidateKind::Relayed => is::CandidateKind::Relayed,
        };
        self.current
            .agent
            .add_remote_candidate(is::Candidate::from_parts(
                candidate.foundation.clone(),
                // The agent knows component 1 only; which one this is, the port tells.
                1,
                Protocol::Udp,
                candidate.priority,
                candidate.address,
                kind,
                candidate.related,
                None,
                None,
            ));
    }

    /// Takes a STUN message that was meant for this component. True if it was valid, so that
    /// `from` is an address of the peer.
    pub fn handle(
        &mut self,
        now: Instant,
        local: SocketAddr,
        from: SocketAddr,
        message: StunMessage,
    ) -> bool {
        let nominates = message.is_binding_request() && message.use_candidate();
        let chooses = message.use_candidate() || message.is_successful_binding_response();
        let valid = self.current.handle(now, local, from, message);
        let settled = self.current.agent.state().is_connected()
            && self.selected.is_some_and(|(_, remote)| remote == from);
        if valid && chooses && !settled {
            self.current.hurry(now);
        }
        if valid && nominates && !self.current.agent.controlling() {
            self.chosen = Some((local, from)).filter(|pair| self.selected != Some(*pair));
        }
        let valid = valid
            || self
                .previous
                .as_mut()
                .is_some_and(|(previous, _)| previous.handle(now, local, from, message));
        if valid && self.selected == Some((local, from)) {
            self.heard = now;
        }
        self.drain(now);
        self.follow(now);
        valid
    }

    /// Advances the agent.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.current.handle_timeout(now);
        if let Some((previous, limit)) = &mut self.previous {
            if *limit <= now {
                self.drop_previous();
                // Without its agent nobody asks for consent on the old pair (RFC 7675).
                if !self.current.agent.state().is_connected() {
                    self.lose();
                }
            } else {
                previous.handle_timeout(now);
            }
        }
        self.drain(now);
        self.follow(now);
        if self.lost_at.is_some_and(|at| at <= now) {
            self.lose();
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let mut at = self.current.poll_timeout();
        if let Some((previous, limit)) = &mut self.previous {
            let other = previous.poll_timeout().unwrap_or(*limit).min(*limit);
            at = Some(at.map_or(other, |at| at.min(other)));
        }
        at.into_iter().chain(self.lost_at).min()
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<IceOutput> {
        self.out.pop_front()
    }

    /// The pair to send on: our address and the peer's.
    pub fn selected(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.selected
    }

    /// The requests that may still be answered.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter()
    }

    /// The user name fragments that checks to this component carry.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(self.previous.as_ref().map(|(previous, _)| previous))
            .map(|g| g.agent.local_credentials().ufrag.as_str())
    }

    /// Goes over to what the peer has nominated last if the pair in use is silent. The crate stays
    /// with the one of the highest priority until it is pruned, also if the peer has left it because
    /// that network is gone.
    fn follow(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.heard) >= PATIENCE;
        if let Some((local, remote)) = self.chosen
            && self.selected.is_some()
            && silent
            && self.current.agent.has_viable_remote_candidate(remote)
        {
            self.chosen = None;
            self.selected = Some((local, remote));
            self.heard = now;
            self.out.push_back(IceOutput::Selected);
        }
    }

    fn lose(&mut self) {
        self.lost_at = None;
        if !self.lost {
            self.lost = true;
            self.out.push_back(IceOutput::Lost);
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.current.agent.poll_event() {
            match event {
                IceAgentEvent::NominatedSend {
                    source,
                    destination,
                    ..
                } => {
                    self.selected = Some((source, destination));
                    self.heard = now;
                    self.chosen = None;
                    self.lost = false;
                    self.lost_at = None;
                    self.out.push_back(IceOutput::Selected);
                    self.drop_previous();
                }
                IceAgentEvent::IceConnectionStateChange(IceConnectionState::Disconnected)
                    if !self.lost && self.previous.is_none() =>
                {
                    match self.selected {
                        Some(_) => self.lost_at = Some(now.max(self.heard + CONSENT)),
                        None => self.lose(),
                    }
                }
                IceAgentEvent::IceConnectionStateChange(_)
                | IceAgentEvent::IceRestart(_)
                | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
        let mut agents = vec![&mut self.current.agent];
        if let Some((previous, _)) = &mut self.previous {
            while let Some(event) = previous.agent.poll_event() {
                if let IceAgentEvent::NominatedSend {
                    source,
                    destination,
                    ..
                } = event
                {
                    self.selected = Some((source, destination));
                    self.heard = now;
                    self.out.push_back(IceOutput::Selected);
                }
            }
            agents.push(&mut previous.agent);
        }
        for agent in agents {
            while let Some(transmit) = agent.poll_transmit() {
                let bytes: Vec<u8> = transmit.contents.into();
                let request = request_id(&bytes);
                let mut forget = None;
                if let Some(id) = request {
                    if self.transactions.len() >= MAX_TRANSACTIONS {
                        forget = self.transactions.pop_front();
                    }
                    self.transactions.push_back(id);
                }
                self.out.push_back(IceOutput::Transmit {
                    local: transmit.source,
                    remote: transmit.destination,
                    bytes,
                    request,
                    forget,
                });
            }
        }
    }

    fn drop_previous(&mut self) {
        if let Some((old, _)) = self.previous.take() {
            self.forget(&old);
        }
    }

    fn forget(&mut self, old: &Generation) {
        let ufrag = &old.agent.local_credentials().ufrag;
        if self.ufrags().all(|known| known != ufrag) {
            self.out.push_back(IceOutput::Forget {
                ufrag: ufrag.clone(),
            });
        }
    }
}

/// The transaction id of `bytes` if they are a binding request (RFC 8489 §5).
fn request_id(bytes: &[u8]) -> Option<Transaction> {
    (bytes.len() >= 20 && bytes[..2] == [0, 1])
        .then(|| bytes[8..20].try_into().ok())
        .flatten()
}

/// False for addresses that no check should go to.
fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let odd = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !odd
}
