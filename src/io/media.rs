//! The media threads: sockets, clock and pinning around one [`Media`] each.
//!
//! Each worker is a plain thread with its own sockets; workers share nothing, and no packet takes a
//! lock or an allocation. A turn of the loop drains the shared sockets first and again after every 64
//! packets of the legs, since all ICE peers share them. Above about 50 streams the loop does not wait
//! for each packet, it sleeps 1 to 2.5 ms, the shorter the more streams there are, and takes what
//! has gathered, unless the last turn was a full one: a wake-up costs more than a packet. It waits again
//! after a turn that found nothing.
//!
//! Commands come through a bounded channel with a waker; a full one blocks the sender until the
//! worker has caught up, which it always does, since it waits for nobody. Events go out by
//! `try_send`; those that find no room stay with the worker in their order and are tried again, at
//! most [`MAX_BACKLOG`] of them, then the newest are lost with an error in the log.
//!
//! With an unspecified bind address every address of the host gets sockets of its own, so that an
//! answer leaves from where the question came to. Addresses that come up later are not noticed.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TrySendError::{Disconnected, Full};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::readiness::{MOST_READY, Readiness, Waker};
use crate::border::{MediaCommand, MediaEvent};
use crate::config::MediaConfig;
use crate::description::{Fingerprint, Setup};
use crate::hash::Keyed;
use crate::id::{TokenMaker, WorkerId};
use crate::media::dtls::{Certificate, CertificateError};
use crate::media::{Forward, Media, MediaSettings, SocketKey, SocketRequest, TAIL_ROOM};

/// Receive buffer of a shared socket. The default holds 277 small packets, which is 5 ms of 500
/// streams.
const SHARED_RECEIVE_BUFFER: usize = 4 << 20;

/// The largest datagram taken: more than any path carries.
const PACKET: usize = 2048;

/// Packets of legs between two looks at the shared sockets.
const LEG_BATCH: usize = 64;

/// Packets of a shared socket at a time.
const SHARED_BATCH: usize = 512;

/// Streams above which packets are gathered.
const GATHER_STREAMS: usize = 50;

/// How many packets are worth a wake-up, which costs as much as relaying two of them.
const GATHERED: u32 = 32;

/// How long packets are gathered at least and at most: a twentieth and an eighth of a 20 ms frame.
const GATHER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_micros(2500);

/// A turn with more packets is followed by one that does not wait.
const FULL_TURN: usize = 400;

/// Commands that wait for a worker.
const COMMANDS: usize = 1024;

/// Commands in a turn.
const COMMANDS_PER_TURN: usize = 256;

/// Events of all workers that wait for signalling.
const EVENTS: usize = 4096;

/// Events that wait with one worker when the channel to signalling is full.
pub const MAX_BACKLOG: usize = 16_384;

/// How soon waiting events are tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Why the media threads did not start.
#[derive(Debug, thiserror::Error)]
pub enum MediaStartError {
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The ports of the workers do not fit below 65536.
    #[error("media.xmpp_port {port} leaves no room for {needed} ports")]
    Ports {
        /// The first port.
        port: u16,
        /// How many there should be.
        needed: usize,
    },
    /// The host has no address to use.
    #[error("the host has no address that media could use")]
    NoAddress,
    /// The addresses of the host cannot be read.
    #[error("cannot read the addresses of the host: {0}")]
    Addresses(std::io::Error),
    /// A shared socket cannot be opened.
    #[error("media: cannot listen on udp://{address}: {}", super::advised(source))]
    Bind {
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread or its poll cannot be made.
    #[error("cannot start a media thread: {0}")]
    Thread(std::io::Error),
}

/// What signalling has to know of the media threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFacts {
    /// Of the one certificate of the process, sha-256; `setup` is to be chosen per description.
    pub fingerprint: Fingerprint,
    /// The workers, by [`WorkerId`].
    pub workers: Vec<WorkerFacts>,
}

/// What signalling has to know of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Where component 1 is reached.
    pub rtp: Vec<SocketAddr>,
    /// Where component 2 is reached.
    pub rtcp: Vec<SocketAddr>,
}

/// The running media threads.
#[derive(Debug)]
pub struct Workers {
    facts: MediaFacts,
    handles: Vec<Handle>,
}

#[derive(Debug)]
struct Handle {
    orders: SyncSender<Order>,
    waker: Waker,
    /// The worker was woken and has not looked at its orders since.
    woken: Arc<AtomicBool>,
    /// There are orders that it was not woken for.
    waiting: Cell<bool>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Command(MediaCommand),
    Stop,
}

impl Workers {
    /// Opens the shared sockets and starts the threads. Sockets of the legs are opened as they
    /// are configured.
    pub fn start(
        config: &MediaConfig,
        mut tokens: TokenMaker,
    ) -> Result<(Self, mpsc::Receiver<(WorkerId, MediaEvent)>), MediaStartError> {
        let MediaConfig {
            bind,
            advertise,
            xmpp_port,
            rtp_ports: _,
            threads,
            transcode: _,
        } = config;
        let certificate = Certificate::generate()?;
        let addresses = addresses(*bind)?;
        let threads = (*threads).max(1);
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut workers = Self {
            facts: MediaFacts {
                fingerprint: certificate.fingerprint(Setup::Actpass),
                workers: Vec::new(),
            },
            handles: Vec::new(),
        };
        // All sockets before the first thread, so that a port in use leaves nothing behind.
        let mut starts = Vec::new();
        for n in 0..threads {
            let first = open_shared(&addresses, port(*xmpp_port, n, threads)?)?;
            let second = open_shared(&addresses, port(*xmpp_port, threads + n, threads)?)?;
            let announced = |sockets: &[(UdpSocket, SocketAddr)]| match advertise {
                Some(ip) => sockets
                    .first()
                    .map(|(_, address)| SocketAddr::new(*ip, address.port()))
                    .into_iter()
                    .collect(),
                None => sockets.iter().map(|(_, address)| *address).collect(),
            };
            workers.facts.workers.push(WorkerFacts {
                rtp: announced(&first),
                rtcp: announced(&second),
            });
            starts.push((first, second));
        }
        for (n, (first, second)) in starts.into_iter().enumerate() {
            let id = WorkerId(n as u64);
            let settings = MediaSettings {
                worker: id,
                shared: first.iter().map(|(_, address)| *address).collect(),
                shared_rtcp: second.iter().map(|(_, address)| *address).collect(),
                certificate: certificate.clone(),
            };
            let (readiness, waker) = Readiness::new().map_err(MediaStartError::Thread)?;
            let (orders, inbox) = sync_channel(COMMANDS);
            let woken = Arc::new(AtomicBool::new(false));
            let mut worker = Worker {
                id,
                readiness,
                media: Media::new(settings, tokens.fork()),
                shared: first.into_iter().chain(second).map(|(s, _)| s).collect(),
                legs: HashMap::with_hasher(Keyed::new(&mut tokens)),
                ready: Vec::with_capacity(MOST_READY),
                inbox,
                woken: Arc::clone(&woken),
                events: events.clone(),
                backlog: VecDeque::new(),
                lost: 0,
                buffer: Box::new([0; PACKET + TAIL_ROOM]),
            };
            worker.watch_shared().map_err(MediaStartError::Thread)?;
            let thread = std::thread::Builder::new()
                .name(format!("media-{n}"))
                .spawn(move || {
                    settle_thread(n);
                    worker.run();
                })
                .map_err(MediaStartError::Thread)?;
            workers.handles.push(Handle {
                orders,
                waker,
                woken,
                waiting: Cell::new(false),
                thread: Some(thread),
            });
        }
        tracing::info!(threads, "media threads started");
        Ok((workers, receiver))
    }

    /// What signalling has to know.
    pub fn facts(&self) -> &MediaFacts {
        &self.facts
    }

    /// Hands a command to a worker; one for a worker that does not exist is ignored.
    pub fn command(&self, worker: WorkerId, command: MediaCommand) {
        self.queue(worker, command);
        self.wake();
    }

    /// The same, but the worker may not notice before [`Self::wake`]: a wake-up costs more than most
    /// commands. A packet does not overtake a command.
    pub fn queue(&self, worker: WorkerId, command: MediaCommand) {
        let handle = usize::try_from(worker.0)
            .ok()
            .and_then(|n| self.handles.get(n));
        if let Some(handle) = handle {
            handle.queue(Order::Command(command));
        }
    }

    /// Has the workers look at their commands.
    pub fn wake(&self) {
        for handle in self.handles.iter().filter(|handle| handle.waiting.get()) {
            handle.wake();
        }
    }

    /// Stops the threads and waits for them; their sockets are closed then.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        for handle in &self.handles {
            handle.queue(Order::Stop);
            handle.wake();
        }
        for handle in &mut self.handles {
            if let Some(thread) = handle.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    fn queue(&self, order: Order) {
        self.waiting.set(true);
        match self.orders.try_send(order) {
            Ok(()) => {}
            Err(Full(order)) => {
                self.wake();
                self.waiting.set(true);
                // Fails if the thread is gone; shutdown has its say about that.
                let _ = self.orders.send(order);
            }
            Err(Disconnected(_)) => {}
        }
    }

    fn wake(&self) {
        self.waiting.set(false);
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a media thread");
        }
    }
}

struct Leg {
    socket: UdpSocket,
    connected: bool,
}

type Legs = HashMap<SocketKey, Leg, Keyed>;

struct Worker {
    id: WorkerId,
    readiness: Readiness,
    media: Media,
    /// By their keys, which count from 0.
    shared: Vec<UdpSocket>,
    legs: Legs,
    /// Sockets that have packets.
    ready: Vec<SocketKey>,
    inbox: Receiver<Order>,
    woken: Arc<AtomicBool>,
    events: mpsc::Sender<(WorkerId, MediaEvent)>,
    backlog: VecDeque<MediaEvent>,
    lost: u64,
    buffer: Box<[u8; PACKET + TAIL_ROOM]>,
}

impl Worker {
    fn watch_shared(&mut self) -> std::io::Result<()> {
        for (n, socket) in (0..).zip(&self.shared) {
            self.readiness.watch(socket, SocketKey(n))?;
        }
        Ok(())
    }

    fn run(&mut self) {
        let (mut gathers, mut more) = (false, false);
        loop {
            if gathers {
                std::thread::sleep(gathering(self.media.bridges()));
            }
            let timeout = if gathers || more {
                Some(Duration::ZERO)
            } else {
                self.timeout()
            };
            if let Err(error) = self.readiness.wait(timeout, &mut self.ready) {
                tracing::error!(%error, "media poll failed");
                std::thread::sleep(RETRY);
            }
            // Before the packets, which may belong to a call that is still among the orders.
            let Some(left) = self.take_orders() else {
                return;
            };
            let packets;
            (packets, more) = self.turn(left);
            let crowded = self.media.bridges() * 2 > GATHER_STREAMS;
            gathers = crowded && !more && (1..=FULL_TURN).contains(&packets);
            let now = Instant::now();
            self.media.handle_timeout(now);
            self.flush();
        }
    }

    /// Takes what the ready sockets have, one packet of each leg; how many packets, and whether there
    /// are more.
    fn turn(&mut self, mut more: bool) -> (usize, bool) {
        more |= self.ready.len() == MOST_READY;
        let is_shared = |key: &SocketKey| (key.0 as usize) < self.shared.len();
        let (mut packets, mut batch) = (0, 0);
        if self.ready.iter().any(is_shared) {
            (packets, more) = self.drain_shared(more);
        }
        for n in 0..self.ready.len() {
            let key = self.ready[n];
            if (key.0 as usize) < self.shared.len() {
                continue;
            }
            self.take_packet(key);
            packets += 1;
            batch += 1;
            if batch == LEG_BATCH {
                batch = 0;
                let taken;
                (taken, more) = self.drain_shared(more);
                packets += taken;
            }
        }
        (packets, more)
    }

    fn drain_shared(&mut self, mut more: bool) -> (usize, bool) {
        let now = Instant::now();
        let mut packets = 0;
        for n in 0..self.shared.len() {
            let mut taken = 0;
            loop {
                if taken == SHARED_BATCH {
                    more = true;
                    break;
                }
                match self.shared[n].recv_from(&mut self.buffer[..PACKET]) {
                    Ok((len, from)) => {
                        taken += 1;
                        self.handle(now, SocketKey(n as u32), from, len);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier packet.
                    Err(_) => taken += 1,
                }
            }
            packets += taken;
        }
        (packets, more)
    }

    fn take_packet(&mut self, key: SocketKey) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        // An error is an ICMP message about an earlier packet; to take it is all there is to do.
        if let Ok((len, from)) = leg.socket.recv_from(&mut self.buffer[..PACKET]) {
            self.handle(Instant::now(), key, from, len);
        }
    }

    fn handle(&mut self, now: Instant, key: SocketKey, from: SocketAddr, len: usize) {
        // A full buffer is a cut packet.
        if len == PACKET {
            return;
        }
        match self.media.handle(now, key, from, &mut *self.buffer, len) {
            Forward::Consumed => {}
            Forward::Send { socket, to, len } => {
                send(&self.shared, &self.legs, socket, to, &self.buffer[..len]);
            }
        }
    }

    /// Whether there are more; nothing if the thread shall end.
    fn take_orders(&mut self) -> Option<bool> {
        // Before the orders, so that one that comes meanwhile wakes us again.
        self.woken.swap(false, Ordering::AcqRel);
        for _ in 0..COMMANDS_PER_TURN {
            match self.inbox.try_recv() {
                Ok(Order::Command(command)) => {
                    self.media.command(Instant::now(), command);
                    self.sockets();
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => return Some(false),
            }
        }
        Some(true)
    }

    /// Does what the room wants of the world.
    fn flush(&mut self) {
        self.sockets();
        while let Some(transmit) = self.media.poll_transmit() {
            let (socket, to) = (transmit.socket, transmit.to);
            send(&self.shared, &self.legs, socket, to, &transmit.bytes);
        }
        let now = Instant::now();
        while let Some((socket, to, len)) = self.media.poll_frame(now, &mut *self.buffer) {
            send(&self.shared, &self.legs, socket, to, &self.buffer[..len]);
        }
        while let Some(event) = self.media.poll_event() {
            if self.backlog.len() < MAX_BACKLOG {
                self.backlog.push_back(event);
            } else {
                self.lost += 1;
                tracing::error!(lost = self.lost, "signalling does not take media events");
            }
        }
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send((self.id, event)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, event))) => {
                    self.backlog.push_front(event);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }

    fn sockets(&mut self) {
        while let Some(request) = self.media.poll_socket() {
            match request {
                SocketRequest::Bind { key, address } => match self.bind(key, address) {
                    Ok(leg) => {
                        self.legs.insert(key, leg);
                    }
                    Err(error) => {
                        let text = format!("cannot open port {}: {error}", address.port());
                        self.media.socket_failed(key, &text);
                    }
                },
                SocketRequest::Connect { key, remote } => {
                    if let Some(leg) = self.legs.get_mut(&key) {
                        let result = match remote {
                            Some(remote) => leg.socket.connect(remote),
                            None => rustix::net::connect_unspec(&leg.socket).map_err(Into::into),
                        };
                        match result {
                            Ok(()) => leg.connected = remote.is_some(),
                            Err(error) => {
                                leg.connected = false;
                                tracing::debug!(%error, "media socket stays unconnected");
                            }
                        }
                    }
                }
                SocketRequest::Close { key } => {
                    self.legs.remove(&key);
                }
            }
        }
    }

    fn bind(&self, key: SocketKey, address: SocketAddr) -> std::io::Result<Leg> {
        let socket = open(address, None)?;
        self.readiness.watch(&socket, key)?;
        Ok(Leg {
            socket,
            connected: false,
        })
    }

    fn timeout(&self) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let timers = self.media.poll_timeout().map(until);
        let retry = (!self.backlog.is_empty()).then_some(RETRY);
        timers.into_iter().chain(retry).min()
    }
}

/// How long [`GATHERED`] packets take to come, at 50 a second in either direction.
fn gathering(bridges: usize) -> Duration {
    let each = Duration::from_millis(10) / u32::try_from(bridges.max(1)).unwrap_or(u32::MAX);
    (each * GATHERED).clamp(*GATHER.start(), *GATHER.end())
}

/// Sends, or loses: a full socket buffer or a peer that is not there is loss like any other.
fn send(shared: &[UdpSocket], legs: &Legs, key: SocketKey, to: SocketAddr, bytes: &[u8]) {
    let result = match shared.get(key.0 as usize) {
        Some(socket) => socket.send_to(bytes, to),
        None => match legs.get(&key) {
            Some(leg) if leg.connected => leg.socket.send(bytes),
            Some(leg) => leg.socket.send_to(bytes, to),
            None => return,
        },
    };
    if let Err(error) = result {
        tracing::trace!(%error, "media packet not sent");
    }
}

fn port(first: u16, n: usize, threads: usize) -> Result<u16, MediaStartError> {
    // Port 0 lets the system choose, for tests.
    if first == 0 {
        return Ok(0);
    }
    let port = usize::from(first) + n;
    u16::try_from(port).map_err(|_| MediaStartError::Ports {
        port: first,
        needed: 2 * threads,
    })
}

fn open_shared(
    addresses: &[IpAddr],
    port: u16,
) -> Result<Vec<(UdpSocket, SocketAddr)>, MediaStartError> {
    addresses
        .iter()
        .map(|ip| {
            let address = SocketAddr::new(*ip, port);
            let opened = open(address, Some(SHARED_RECEIVE_BUFFER)).and_then(|socket| {
                let address = socket.local_addr()?;
                Ok((socket, address))
            });
            opened.map_err(|source| MediaStartError::Bind { address, source })
        })
        .collect()
}

fn open(address: SocketAddr, receive_buffer: Option<usize>) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(size) = receive_buffer {
        // The system may have a lower limit (net.core.rmem_max); that is no reason to stop.
        if let Err(error) = socket.set_recv_buffer_size(size) {
            tracing::warn!(%error, "receive buffer of a media socket stays small");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The addresses to open the shared sockets on.
fn addresses(bind: IpAddr) -> Result<Vec<IpAddr>, MediaStartError> {
    if !bind.is_unspecified() {
        return Ok(vec![bind]);
    }
    let mut found: Vec<IpAddr> = rtc_shared::ifaces::ifaces()
        .map_err(MediaStartError::Addresses)?
        .into_iter()
        .filter_map(|interface| Some(interface.addr?.ip()))
        // 0.0.0.0 means IPv4 only, :: means both.
        .filter(|ip| bind.is_ipv6() || ip.is_ipv4())
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified() && !ip.is_multicast(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified(),
        })
        .collect();
    found.sort();
    found.dedup();
    if found.iter().any(|ip| !ip.is_loopback()) {
        found.retain(|ip| !ip.is_loopback());
    }
    if found.is_empty() {
        return Err(MediaStartError::NoAddress);
    }
    Ok(found)
}

/// Pins the thread to one of the processors that the process may use, if there are several, and
/// makes short sleeps short.
fn settle_thread(n: usize) {
    if let Ok(allowed) = sched_getaffinity(None) {
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|c| allowed.is_set(*c))
            .collect();
        if cpus.len() > 1 {
            let mut one = CpuSet::new();
            one.set(cpus[n % cpus.len()]);
            if let Err(error) = sched_setaffinity(None, &one) {
                tracing::debug!(%error, "media thread is not pinned");
            }
        }
    }
    let slack = NonZeroU64::new(1_000);
    if let Err(error) = rustix::thread::set_current_timer_slack(slack) {
        tracing::debug!(%error, "media thread keeps its timer slack");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_gather_for_an_eighth_of_a_frame_at_most() {
        let micros = |bridges| gathering(bridges).as_micros();
        assert_eq!(
            [26, 100, 200, 320, 5000].map(micros),
            [2500, 2500, 1600, 1000, 1000]
        );
        assert_eq!([0, usize::MAX].map(micros), [2500, 1000]);
    }
}
