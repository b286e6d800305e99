//! SIP sockets: UDP, the listeners for TCP and TLS, and who serves connections (`stream.rs`) and
//! questions (`resolve.rs`). What comes is handed on as [`NetInput`]; what shall go is never waited
//! for.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::cmsg_space;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use rustls::pki_types::ServerName;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::resolve::{Resolver, Unanswered};
use super::stream::{self, Inward, Link};
use super::tls::Certificates;
use crate::config::{Mistake, SipConfig, TlsConfig};
use crate::id::{ConnectionId, QueryId};
use crate::net::{Flow, NetInput, NetOutput, Question, SipTransport};

/// What waits for the gateway. When it is full, datagrams stay in the kernel's buffer and stream
/// peers are not read.
const INWARD: usize = 4096;
/// Messages that wait for a stream peer that does not read; with the next one it is cut off.
const OUTWARD: usize = 256;
/// Connections that peers opened. More are closed at once.
const MAX_ACCEPTED: usize = 1024;
/// … and those of one address: one host alone cannot keep all others out.
const MAX_ACCEPTED_OF_ONE: usize = 128;
/// SIP datagrams are at most 65,535 bytes (RFC 3261 §18.1.1).
const MAX_DATAGRAM: usize = 65_535;
const RECEIVE_BUFFER: usize = 4 << 20;
/// Connections that peers opened are numbered from here, so that they never meet ours.
const FIRST_ACCEPTED: u64 = 1 << 63;

/// Why the SIP side cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SipStartError {
    /// A listening address cannot be had.
    #[error(
        "sip.listen: cannot listen on {transport}://{address}: {}",
        super::advised(source)
    )]
    Listen {
        /// UDP, TCP or TLS.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificates cannot be used.
    #[error("{}", lines(.0))]
    Certificates(Vec<Mistake>),
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Every SIP socket.
pub struct SipNet {
    udp: BTreeMap<SocketAddr, Arc<AsyncFd<UdpSocket>>>,
    connections: BTreeMap<ConnectionId, (IpAddr, mpsc::Sender<Vec<u8>>)>,
    certificates: Certificates,
    resolver: Resolver,
    inputs: mpsc::Sender<Inward>,
    receiver: mpsc::Receiver<Inward>,
    /// By the address that the room knows, listening addresses that are not all of the host's.
    bound: BTreeMap<SocketAddr, SocketAddr>,
    next_accepted: u64,
}

impl SipNet {
    /// Opens every listening socket. `config` comes back with the addresses that the SIP room shall
    /// know: one that stands for all of the host is replaced by `leaving`, the one that packets
    /// leave from.
    pub fn start(config: &mut SipConfig, leaving: IpAddr) -> Result<Self, SipStartError> {
        let (inputs, receiver) = mpsc::channel(INWARD);
        let mut net = Self {
            udp: BTreeMap::new(),
            connections: BTreeMap::new(),
            certificates: Certificates::load(&config.tls).map_err(SipStartError::Certificates)?,
            resolver: Resolver::new(config.nameserver),
            inputs,
            receiver,
            bound: BTreeMap::new(),
            next_accepted: FIRST_ACCEPTED,
        };
        let wanted = config.listen.clone();
        for (transport, address) in &mut config.listen {
            let known = known_address(*address, leaving);
            // `[::]` is all of IPv4 too, unless that is asked for at the same port beside it.
            let leaves_v4 = address.is_ipv6()
                && wanted.iter().any(|(kind, other)| {
                    let same_kind = kind.is_reliable() == transport.is_reliable();
                    same_kind && other.is_ipv4() && other.port() == address.port()
                });
            let opened = match transport {
                SipTransport::Udp => net.listen_udp(*address, known, leaves_v4),
                SipTransport::Tcp | SipTransport::Tls => {
                    net.listen_stream(*transport, *address, known, leaves_v4)
                }
            };
            let transport = match transport {
                SipTransport::Udp => "udp",
                SipTransport::Tcp => "tcp",
                SipTransport::Tls => "tls",
            };
            opened.map_err(|source| SipStartError::Listen {
                transport,
                address: *address,
                source,
            })?;
            if !address.ip().is_unspecified() {
                net.bound.insert(known, *address);
            }
            *address = known;
        }
        Ok(net)
    }

    fn listen_udp(
        &mut self,
        address: SocketAddr,
        known: SocketAddr,
        leaves_v4: bool,
    ) -> io::Result<()> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::DGRAM,
            None,
        )?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        if leaves_v4 {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        // ICMP errors then say at once that a peer is not there, and who it is.
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        let socket = Arc::new(watch(socket.into())?);
        tokio::spawn(read_udp(known, Arc::clone(&socket), self.inputs.clone()));
        self.udp.insert(known, socket);
        Ok(())
    }

    fn listen_stream(
        &mut self,
        transport: SipTransport,
        address: SocketAddr,
        known: SocketAddr,
        leaves_v4: bool,
    ) -> io::Result<()> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        if leaves_v4 {
            socket2::SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        let accept = stream::accept(transport, known, listener, self.inputs.clone());
        tokio::spawn(accept);
        Ok(())
    }

    /// Reads the certificates again, for the connections to come.
    pub fn reload(&mut self, tls: &TlsConfig) -> Result<(), Vec<Mistake>> {
        self.certificates = Certificates::load(tls)?;
        Ok(())
    }

    /// The next thing from the network.
    pub async fn next(&mut self) -> NetInput {
        loop {
            match self.receiver.recv().await {
                Some(Inward::Input(input)) => return input,
                Some(Inward::Accepted {
                    transport,
                    local,
                    remote,
                    stream,
                }) => {
                    self.accepted(transport, local, remote, stream);
                }
                Some(Inward::Gone(connection)) => {
                    self.connections.remove(&connection);
                    return NetInput::Closed { connection };
                }
                // Never: we hold a sender ourselves.
                None => std::future::pending().await,
            }
        }
    }

    fn accepted(
        &mut self,
        transport: SipTransport,
        local: SocketAddr,
        remote: SocketAddr,
        stream: TcpStream,
    ) {
        let theirs = self
            .connections
            .range(ConnectionId(FIRST_ACCEPTED)..)
            .map(|(_, (ip, _))| *ip);
        let of_one = theirs.clone().filter(|ip| *ip == remote.ip()).count();
        if theirs.count() >= MAX_ACCEPTED || of_one >= MAX_ACCEPTED_OF_ONE {
            return tracing::debug!("a SIP connection was refused: there are too many");
        }
        let acceptor = match transport {
            SipTransport::Tls => self.certificates.acceptor.clone(),
            SipTransport::Udp | SipTransport::Tcp => None,
        };
        if transport == SipTransport::Tls && acceptor.is_none() {
            return;
        }
        let connection = ConnectionId(self.next_accepted);
        self.next_accepted += 1;
        let link = self.link(Flow {
            transport,
            local,
            remote,
            connection: Some(connection),
        });
        if let Some(link) = link {
            tokio::spawn(link.accepted(stream, acceptor));
        }
    }

    /// The two ends of a connection's queue: one is kept, the other is for its task.
    fn link(&mut self, flow: Flow) -> Option<Link> {
        let connection = flow.connection?;
        let (sender, messages) = mpsc::channel(OUTWARD);
        self.connections
            .insert(connection, (flow.remote.ip(), sender));
        Some(Link {
            flow,
            connection,
            messages,
            inputs: self.inputs.clone(),
        })
    }

    /// Does what the SIP room asks; never waits.
    pub fn perform(&mut self, output: NetOutput) {
        match output {
            NetOutput::Send { flow, bytes } => self.send(flow, bytes),
            NetOutput::Connect { flow, server_name } => self.connect(flow, server_name),
            NetOutput::Close { connection } => {
                self.connections.remove(&connection);
            }
            NetOutput::Resolve { query, question } => {
                let (resolver, inputs) = (self.resolver.clone(), self.inputs.clone());
                tokio::spawn(resolve(query, question, resolver, inputs));
            }
        }
    }

    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        if let Some(connection) = flow.connection {
            let sent = self
                .connections
                .get(&connection)
                .map(|(_, sender)| sender.try_send(bytes));
            if !matches!(sent, Some(Ok(()))) {
                // Dropping the sender ends the connection's task, which reports it closed.
                self.connections.remove(&connection);
                self.report(Inward::Input(NetInput::Closed { connection }));
            }
            return;
        }
        let Some(socket) = self.udp.get(&flow.local).map(|socket| socket.get_ref()) else {
            self.report(Inward::Input(NetInput::Unsent { flow }));
            return;
        };
        match socket.send_to(&bytes, flow.remote) {
            Ok(_) => {}
            // A full buffer is a lost datagram; the transaction sends it again.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A pending ICMP error of somebody else; the error queue says of whom.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let _ = socket.send_to(&bytes, flow.remote);
            }
            Err(error) => {
                tracing::debug!(%error, "a SIP datagram could not be sent");
                self.report(Inward::Input(NetInput::Unsent { flow }));
            }
        }
    }

    fn report(&self, inward: Inward) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let _ = inputs.send(inward).await;
        });
    }

    fn connect(&mut self, flow: Flow, server_name: Option<String>) {
        let Some(link) = self.link(flow) else {
            return;
        };
        let tls = match flow.transport {
            SipTransport::Tls => {
                let name = match server_name {
                    Some(name) => ServerName::try_from(name),
                    None => Ok(flow.remote.ip().into()),
                };
                let Ok(name) = name else {
                    return self.report(Inward::Gone(link.connection));
                };
                Some((self.certificates.connector.clone(), name))
            }
            SipTransport::Udp | SipTransport::Tcp => None,
        };
        // What is bound to one address shall leave from it.
        let from = self.bound.get(&flow.local).copied();
        tokio::spawn(link.opened(from, tls));
    }
}

/// The address that a listening address has on the wire.
fn known_address(address: SocketAddr, leaving: IpAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = if leaving.is_ipv4() == address.is_ipv4() {
        leaving
    } else {
        // The other family than the trunks': whatever the host would use toward anybody.
        super::leaving_address(address.ip(), far_away(address)).unwrap_or(address.ip())
    };
    SocketAddr::new(ip, address.port())
}

/// An address that is nobody's (RFC 5737, RFC 3849), in the family of another.
fn far_away(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => SocketAddr::from(([192, 0, 2, 1], 9)),
        SocketAddr::V6(_) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9)),
    }
}

/// What a UDP socket has to tell. tokio's own one would also have us woken for each datagram that
/// has left.
const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);

#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for types whose descriptor may change; this one's may not"
)]
fn watch(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, NEWS)
}

async fn read_udp(
    local: SocketAddr,
    socket: Arc<AsyncFd<UdpSocket>>,
    inputs: mpsc::Sender<Inward>,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let flow = |remote| Flow {
        transport: SipTransport::Udp,
        local,
        remote,
        connection: None,
    };
    while let Ok(mut ready) = socket.ready(NEWS).await {
        let mut failed = ready.ready().is_error();
        loop {
            match socket.get_ref().recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    let bytes = buffer[..length].to_vec();
                    let input = NetInput::Datagram {
                        flow: flow(remote),
                        bytes,
                    };
                    if inputs.send(Inward::Input(input)).await.is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(%error, "SIP socket error");
                    failed = true;
                    tokio::task::yield_now().await;
                }
            }
        }
        ready.clear_ready();
        // A send may have taken the error itself; the queue still says of whom it was.
        while failed && let Some(remote) = unreachable_peer(socket.get_ref()) {
            let input = NetInput::Unsent { flow: flow(remote) };
            if inputs.send(Inward::Input(input)).await.is_err() {
                return;
            }
        }
    }
}

/// Takes one ICMP error from the socket's error queue: where did we send to?
fn unreachable_peer(socket: &UdpSocket) -> Option<SocketAddr> {
    let mut control = cmsg_space!([u8; 128]);
    let mut data = [0; 64];
    let mut parts = [io::IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)
            .ok()?;
    let address = message.address?;
    let v4 = address
        .as_sockaddr_in()
        .map(|a| SocketAddr::V4((*a).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6((*a).into()))
    })
}

async fn resolve(
    query: QueryId,
    question: Question,
    resolver: Resolver,
    inputs: mpsc::Sender<Inward>,
) {
    let input = match resolver.answer(&question).await {
        Ok(records) => NetInput::Resolved { query, records },
        Err(Unanswered) => NetInput::Unresolved { query },
    };
    let _ = inputs.send(Inward::Input(input)).await;
}
