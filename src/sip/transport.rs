//! The ways that messages leave by: RFC 3261 §18, without the sockets.
//!
//! Picks our listening address for a peer, names it in Via and Contact, opens stream connections
//! and keeps what is to be sent until they stand. One connection per peer and protocol is used by
//! all (RFC 3261 §18, RFC 5923); whatever came in by a connection is answered by it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::id::ConnectionId;
use crate::net::{Flow, NetOutput, SipTransport};

use super::locate::Place;
use super::wire::StreamFramer;

/// Stream connections at a time, both ways: a file descriptor and up to a message of memory each.
const MAX_CONNECTIONS: usize = 4_096;
/// Messages that wait for one connection to open: what a busy second of calls brings.
const MAX_WAITING: usize = 256;
/// Octets that wait for one connection to open.
const MAX_WAITING_OCTETS: usize = 256 * 1024;
/// A connection over which a peer said nothing for this long is closed. Longer than the keep-alive
/// intervals of RFC 5626 §4.4.1 (120 s) and of common peers.
pub const IDLE: Duration = Duration::from_secs(600);
/// How often a connection that we opened is pinged (RFC 5626 §4.4.1): a pong keeps it, and what is
/// between us awake. Within the two minutes that NATs give TCP at the least (RFC 5626 §4.4).
pub const PING: Duration = Duration::from_secs(95);
/// How long a peer that answers pings may take to do so (RFC 5626 §4.4.1).
pub const PONG_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may take to open, TLS included.
pub const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// RFC 3261 §18.1.1: requests above this size do not go by UDP if the path MTU is unknown.
pub const MAX_UDP_REQUEST: usize = 1_300;

/// A message could not even be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

#[derive(Debug)]
struct Connection {
    flow: Flow,
    is_ours: bool,
    /// Who the peer had to prove to be, if we asked.
    server_name: Option<String>,
    /// When the peer last said something.
    heard: Option<Instant>,
    /// It has answered a ping.
    answers_pings: bool,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Opening {
        waiting: Vec<Vec<u8>>,
        octets: usize,
    },
    Open(Box<StreamFramer>),
}

/// All flows.
#[derive(Debug)]
pub struct Transports {
    listen: Vec<(SipTransport, SocketAddr)>,
    advertise: Option<IpAddr>,
    connections: BTreeMap<ConnectionId, Connection>,
    by_remote: BTreeMap<(SipTransport, SocketAddr), ConnectionId>,
    /// By a trunk's server, the address of ours that the host's routes use toward it.
    ways: BTreeMap<IpAddr, IpAddr>,
    opened: u64,
    out: VecDeque<NetOutput>,
}

impl Transports {
    /// Starts with our listening addresses.
    pub fn new(listen: Vec<(SipTransport, SocketAddr)>, advertise: Option<IpAddr>) -> Self {
        Self {
            listen,
            advertise,
            connections: BTreeMap::new(),
            by_remote: BTreeMap::new(),
            ways: BTreeMap::new(),
            opened: 0,
            out: VecDeque::new(),
        }
    }

    /// True if it has to be known which of our addresses reaches a peer: we listen for the same at
    /// several.
    pub fn has_several_ways(&self) -> bool {
        let same = |a: &(SipTransport, SocketAddr), b: &(SipTransport, SocketAddr)| {
            a.0 == b.0 && a.1.is_ipv4() == b.1.is_ipv4() && a.1.ip() != b.1.ip()
        };
        self.listen
            .iter()
            .any(|one| self.listen.iter().any(|other| same(one, other)))
    }

    /// True if [`Self::learn_way`] was told of `remote`, or need not be.
    pub fn knows_way(&self, remote: IpAddr) -> bool {
        self.ways.contains_key(&remote) || !self.has_several_ways()
    }

    /// Learns which of our addresses reaches `remote`; any, if that is not one of ours.
    pub fn learn_way(&mut self, remote: IpAddr, local: IpAddr) {
        self.ways.insert(remote, local);
    }

    /// Forgets the ways to all but these.
    pub fn keep_ways(&mut self, wanted: impl Fn(IpAddr) -> bool) {
        self.ways.retain(|remote, _| wanted(*remote));
    }

    /// True if we listen on `transport` for the address family of `remote`.
    pub fn listens(&self, transport: SipTransport, remote: SocketAddr) -> bool {
        self.listener(transport, remote).is_some()
    }

    /// True if we listen on `local` for datagrams, and `remote` is of its address family.
    pub fn is_ours_for(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        local.is_ipv4() == remote.is_ipv4() && self.listen.contains(&(SipTransport::Udp, local))
    }

    /// The transport of our first listener.
    pub fn preferred(&self) -> SipTransport {
        let udp = self
            .listen
            .iter()
            .find(|(transport, _)| *transport == SipTransport::Udp);
        udp.or(self.listen.first())
            .map_or(SipTransport::Udp, |(transport, _)| *transport)
    }

    /// What we listen on, most wanted first: a request that nothing else decides goes by UDP.
    pub fn spoken(&self) -> Vec<SipTransport> {
        let mut spoken: Vec<SipTransport> = self.listen.iter().map(|(kind, _)| *kind).collect();
        spoken.sort();
        spoken.dedup();
        spoken
    }

    /// Our own address as a host, for calls without a trunk.
    pub fn our_host(&self) -> String {
        let first = self.listen.first().map(|(_, local)| local.ip());
        self.advertise
            .or(first)
            .map_or_else(|| "localhost".to_owned(), |ip| ip.to_string())
    }

    /// Our listening address toward `remote`: the one that the host's routes lead by, else of the
    /// same family, and loopback only for loopback.
    fn listener(&self, transport: SipTransport, remote: SocketAddr) -> Option<SocketAddr> {
        let fits = |local: &SocketAddr| local.is_ipv4() == remote.is_ipv4();
        let near = |local: &SocketAddr| local.ip().is_loopback() == remote.ip().is_loopback();
        let ours = || {
            self.listen
                .iter()
                .filter(|(kind, _)| *kind == transport)
                .map(|(_, local)| *local)
        };
        let way = self.ways.get(&remote.ip());
        ours()
            .find(|local| way == Some(&local.ip()))
            .or_else(|| ours().find(|local| fits(local) && near(local)))
            .or_else(|| ours().find(fits))
    }

    /// The flow to `place`; opens a connection if there is none.
    pub fn flow_to(
        &mut self,
        place: Place,
        server_name: Option<&str>,
    ) -> Result<Flow, Unreachable> {
        let Place { transport, remote } = place;
        if !transport.is_reliable() {
            let local = self.listener(transport, remote).ok_or(Unreachable)?;
            return Ok(Flow {
                transport,
                local,
                remote,
                connection: None,
            });
        }
        if let Some(connection) = self.by_remote.get(&(transport, remote))
            && let Some(connection) = self.connections.get(connection)
            // RFC 5923 §9: a server that has proven one name may not be taken for another. Who came
            // to us has proven none, and what goes to its own port is meant for it.
            && (server_name.is_none()
                || connection.server_name.is_none()
                || connection.server_name.as_deref() == server_name)
        {
            return Ok(connection.flow);
        }
        // A connection may leave from any port; what Via and Contact say is where we listen, or
        // the UDP address of the same family if we do not listen on streams at all.
        let local = self
            .listener(transport, remote)
            .or_else(|| self.listener(SipTransport::Udp, remote))
            .ok_or(Unreachable)?;
        if self.connections.len() >= MAX_CONNECTIONS {
            return Err(Unreachable);
        }
        self.opened += 1;
        let connection = ConnectionId(self.opened);
        let flow = Flow {
            transport,
            local,
            remote,
            connection: Some(connection),
        };
        let link = Link::Opening {
            waiting: Vec::new(),
            octets: 0,
        };
        let server_name = server_name.map(str::to_owned);
        self.connections.insert(
            connection,
            Connection {
                flow,
                is_ours: true,
                server_name: server_name.clone(),
                heard: None,
                answers_pings: false,
                link,
            },
        );
        self.by_remote.insert((transport, remote), connection);
        self.out.push_back(NetOutput::Connect { flow, server_name });
        Ok(flow)
    }

    /// True if what is sent by `flow` can arrive as far as we know.
    pub fn stands(&self, flow: Flow) -> bool {
        match flow.connection {
            Some(connection) => self.connections.contains_key(&connection),
            None => true,
        }
    }

    /// Sends a message, or keeps it until its connection is open.
    pub fn send(&mut self, flow: Flow, bytes: Vec<u8>) -> Result<(), Unreachable> {
        if let Some(connection) = flow.connection {
            let connection = self.connections.get_mut(&connection).ok_or(Unreachable)?;
            match &mut connection.link {
                Link::Open(_) => {}
                Link::Opening { waiting, octets } => {
                    if waiting.len() >= MAX_WAITING || *octets + bytes.len() > MAX_WAITING_OCTETS {
                        return Err(Unreachable);
                    }
                    *octets += bytes.len();
                    waiting.push(bytes);
                    return Ok(());
                }
            }
        }
        self.out.push_back(NetOutput::Send { flow, bytes });
        Ok(())
    }

    /// A connection that we asked for is open: what waited goes out.
    pub fn connected(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&connection) else {
            self.out.push_back(NetOutput::Close { connection });
            return;
        };
        let flow = connection.flow;
        let link = Link::Open(Box::default());
        match std::mem::replace(&mut connection.link, link) {
            Link::Opening { waiting, octets: _ } => self.out.extend(
                waiting
                    .into_iter()
                    .map(|bytes| NetOutput::Send { flow, bytes }),
            ),
            Link::Open(framer) => connection.link = Link::Open(framer),
        }
    }

    /// True if the connection is still being opened.
    pub fn is_opening(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|connection| matches!(connection.link, Link::Opening { .. }))
    }

    /// True for an open connection that we asked for.
    pub fn is_ours(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|known| known.is_ours && matches!(known.link, Link::Open(_)))
    }

    /// Pings the peer of an open connection.
    pub fn ping(&mut self, connection: ConnectionId) {
        if let Some(known) = self.connections.get(&connection) {
            let (flow, bytes) = (known.flow, b"\r\n\r\n".to_vec());
            self.out.push_back(NetOutput::Send { flow, bytes });
        }
    }

    /// The peer of a connection has said something, a pong perhaps.
    pub fn heard(&mut self, now: Instant, connection: ConnectionId, pong: bool) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.heard = Some(now);
            known.answers_pings |= pong;
        }
    }

    /// True if the peer of a connection has said something since `since`.
    pub fn was_heard_since(&self, since: Instant, connection: ConnectionId) -> bool {
        let known = self.connections.get(&connection);
        known
            .and_then(|known| known.heard)
            .is_some_and(|at| at >= since)
    }

    /// True if the peer of a connection has ever answered a ping.
    pub fn answers_pings(&self, connection: ConnectionId) -> bool {
        let known = self.connections.get(&connection);
        known.is_some_and(|known| known.answers_pings)
    }

    /// The flow of a connection.
    pub fn flow_of(&self, connection: ConnectionId) -> Option<Flow> {
        Some(self.connections.get(&connection)?.flow)
    }

    /// A connection is gone; returns what flow it was.
    pub fn closed(&mut self, connection: ConnectionId) -> Option<Flow> {
        let gone = self.connections.remove(&connection)?;
        let remote = (gone.flow.transport, gone.flow.remote);
        if self.by_remote.get(&remote) == Some(&connection) {
            self.by_remote.remove(&remote);
        }
        Some(gone.flow)
    }

    /// Closes a connection.
    pub fn close(&mut self, connection: ConnectionId) -> Option<Flow> {
        let flow = self.closed(connection)?;
        self.out.push_back(NetOutput::Close { connection });
        Some(flow)
    }

    /// The framer of a connection that bytes came by; `None` if there are too many connections,
    /// and then this one is closed.
    pub fn framer(&mut self, flow: Flow) -> Option<&mut StreamFramer> {
        let id = flow.connection?;
        if !self.connections.contains_key(&id) {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.out.push_back(NetOutput::Close { connection: id });
                return None;
            }
            let link = Link::Open(Box::default());
            let server_name = None;
            self.connections.insert(
                id,
                Connection {
                    flow,
                    is_ours: false,
                    server_name,
                    heard: None,
                    answers_pings: false,
                    link,
                },
            );
            self.by_remote
                .entry((flow.transport, flow.remote))
                .or_insert(id);
        }
        if self.is_opening(id) {
            self.connected(id);
        }
        match &mut self.connections.get_mut(&id)?.link {
            Link::Open(framer) => Some(framer),
            Link::Opening { .. } => None,
        }
    }

    /// What Via and Contact call us on `flow`: host and port, IPv6 in brackets.
    pub fn our_address(&self, flow: Flow) -> SocketAddr {
        let ip = self
            .advertise
            .filter(|ip| ip.is_ipv4() == flow.local.is_ipv4())
            .unwrap_or(flow.local.ip());
        SocketAddr::new(ip, flow.local.port())
    }

    /// Asks or tells the network something else.
    pub fn push(&mut self, output: NetOutput) {
        self.out.push_back(output);
    }

    /// What the network shall do next.
    pub fn poll_output(&mut self) -> Option<NetOutput> {
        self.out.pop_front()
    }

    /// Every connection.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.keys().copied()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Messages that wait for their connections.
    pub fn waiting(&self) -> usize {
        self.connections
            .values()
            .map(|connection| match &connection.link {
                Link::Opening { waiting, .. } => waiting.len(),
                Link::Open(_) => 0,
            })
            .sum()
    }
}
