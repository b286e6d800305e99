//! The world of the media tests: two nodes, two phones and a network between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::super::dtls::Certificate;
use super::super::rtp::{Header, PacketKind};
use super::super::*;
use crate::border::{
    DtlsSpec, Format, IceRemote, IceSide, RtpKeys, RtpSide, SideSpec, SideTransport,
};
use crate::description::{Candidate, CandidateKind, Setup};

pub(super) const ID: BridgeId = BridgeId(1);
pub(super) const FRAME: Duration = Duration::from_millis(20);
/// Three hops are less than a frame.
pub(super) const LATENCY: Duration = Duration::from_millis(6);

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Certificates are dear in debug builds: two serve all tests.
pub(super) fn certificate(n: usize) -> Certificate {
    static MADE: OnceLock<[Certificate; 2]> = OnceLock::new();
    MADE.get_or_init(|| [0; 2].map(|_| Certificate::generate().unwrap()))[n].clone()
}

pub(super) struct Node {
    pub(super) media: Media,
    pub(super) certificate: Certificate,
    pub(super) sockets: BTreeMap<SocketKey, (SocketAddr, Option<SocketAddr>)>,
    pub(super) events: Vec<MediaEvent>,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: [Node; 2],
    pub(super) tokens: TokenMaker,
    /// Percent.
    pub(super) loss: u64,
    pub(super) wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) count: u64,
    /// What came to addresses that no node has.
    pub(super) phones: BTreeMap<SocketAddr, Vec<Vec<u8>>>,
    /// Everything that left a shared socket and was no STUN.
    pub(super) shared_wire: Vec<Vec<u8>>,
}

impl World {
    #[allow(clippy::disallowed_methods)]
    pub(super) fn new(seed: u8) -> Self {
        let mut tokens = TokenMaker::new([seed; 32]);
        let nodes = [0, 1].map(|n| {
            let certificate = certificate(n);
            let shared = [address(&format!("192.0.2.{}:5000", n + 1))];
            let shared_rtcp = [address(&format!("192.0.2.{}:5001", n + 1))];
            let settings = MediaSettings {
                worker: WorkerId(n as u64),
                shared: shared.to_vec(),
                shared_rtcp: shared_rtcp.to_vec(),
                certificate: certificate.clone(),
            };
            Node {
                media: Media::new(settings, tokens.fork()),
                certificate,
                sockets: BTreeMap::from([
                    (SocketKey(0), (shared[0], None)),
                    (SocketKey(1), (shared_rtcp[0], None)),
                ]),
                events: Vec::new(),
            }
        });
        Self {
            now: Instant::now(),
            nodes,
            tokens,
            loss: 0,
            wire: BTreeMap::new(),
            count: 0,
            phones: BTreeMap::new(),
            shared_wire: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let media = PacketKind::of(&bytes) != PacketKind::Stun;
        if media && matches!(from.port(), 5000 | 5001) {
            self.shared_wire.push(bytes.clone());
        }
        if self.tokens.below(100) >= self.loss {
            self.count += 1;
            self.wire
                .insert((self.now + LATENCY, self.count), (from, to, bytes));
        }
    }

    pub(super) fn collect(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        while let Some(request) = node.media.poll_socket() {
            match request {
                SocketRequest::Bind { key, address } => {
                    assert!(node.sockets.values().all(|(a, _)| *a != address));
                    node.sockets.insert(key, (address, None));
                }
                SocketRequest::Connect { key, remote } => {
                    node.sockets.get_mut(&key).unwrap().1 = remote;
                }
                SocketRequest::Close { key } => {
                    node.sockets.remove(&key).unwrap();
                }
            }
        }
        node.events
            .extend(std::iter::from_fn(|| node.media.poll_event()));
        let now = self.now;
        let mut frames = Vec::new();
        let mut buffer = [0; 1_500];
        while let Some((socket, to, len)) = node.media.poll_frame(now, &mut buffer) {
            frames.push((node.sockets[&socket].0, to, buffer[..len].to_vec()));
        }
        let out: Vec<_> = std::iter::from_fn(|| node.media.poll_transmit())
            .filter_map(|t| Some((node.sockets.get(&t.socket)?.0, t.to, t.bytes)))
            .chain(frames)
            .collect();
        for (from, to, bytes) in out {
            self.put(from, to, bytes);
        }
    }

    pub(super) fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        for n in 0..2 {
            let node = &mut self.nodes[n];
            let socket = node.sockets.iter().find(|(_, (address, _))| *address == to);
            let Some((key, (_, connected))) = socket else {
                continue;
            };
            if connected.is_some_and(|peer| peer != from) {
                return;
            }
            let mut buffer = bytes.clone();
            buffer.resize(bytes.len() + TAIL_ROOM, 0);
            let forward = node
                .media
                .handle(self.now, *key, from, &mut buffer, bytes.len());
            if let Forward::Send { socket, to, len } = forward {
                let from = node.sockets[&socket].0;
                self.put(from, to, buffer[..len].to_vec());
            }
            self.collect(n);
            return;
        }
        self.phones.entry(to).or_default().push(bytes);
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for n in 0..2 {
                self.collect(n);
            }
            let timers = self.nodes.iter().filter_map(|n| n.media.poll_timeout());
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for n in 0..2 {
                self.nodes[n].media.handle_timeout(self.now);
                self.collect(n);
            }
            while let Some(entry) = self.wire.first_entry()
                && entry.key().0 <= self.now
            {
                let (from, to, bytes) = entry.remove();
                self.deliver(from, to, bytes);
            }
        }
    }

    pub(super) fn configure(&mut self, n: usize, side: Side, spec: SideSpec) {
        let command = MediaCommand::Configure {
            bridge: ID,
            side,
            spec: Box::new(spec),
        };
        self.nodes[n].media.command(self.now, command);
        self.collect(n);
    }

    pub(super) fn close(&mut self) {
        for n in 0..2 {
            let command = MediaCommand::Close { bridge: ID };
            self.nodes[n].media.command(self.now, command);
            self.collect(n);
            assert_eq!(self.nodes[n].media.census(), Census::default());
            assert_eq!(self.nodes[n].sockets.len(), 2);
        }
    }

    pub(super) fn has(&self, n: usize, wanted: impl Fn(&MediaEvent) -> bool) -> bool {
        self.nodes[n].events.iter().any(wanted)
    }

    pub(super) fn connected(&self, n: usize, on: Side) -> bool {
        self.has(
            n,
            |e| matches!(e, MediaEvent::Connected { side, .. } if *side == on),
        )
    }

    /// The ICE side of a node toward the other one.
    pub(super) fn ice(&self, n: usize, call: &Call) -> SideSpec {
        let other = 1 - n;
        let mux = call.mux;
        let candidate = |component: u8| Candidate {
            foundation: "1".into(),
            component,
            address: self.nodes[other].sockets[&SocketKey(u32::from(component) - 1)].0,
            priority: 2_130_706_431 - u32::from(component),
            kind: CandidateKind::Host,
            related: None,
            generation: 0,
        };
        let credentials = |n: usize| {
            (
                format!("ufrag{n}{}", call.generation),
                format!("passwordpasswordpassword{n}{}", call.generation),
            )
        };
        let (local_ufrag, local_pwd) = credentials(n);
        let (ufrag, pwd) = credentials(other);
        SideSpec {
            transport: SideTransport::Ice(IceSide {
                local_ufrag,
                local_pwd,
                own_port: None,
                controlling: n == call.controlling,
                rtcp_mux: mux,
                remote: Some(IceRemote {
                    ufrag,
                    pwd,
                    candidates: (1..=if mux { 1 } else { 2 }).map(candidate).collect(),
                }),
                dtls: Some(DtlsSpec {
                    client: n == call.client,
                    remote: self.nodes[other].certificate.fingerprint(Setup::Active),
                }),
            }),
            format: Some(pcmu()),
            send: true,
            receive: true,
            silence_limit: None,
        }
    }

    /// A call through both nodes: phone A, node 0, node 1, phone B.
    pub(super) fn call(&mut self, call: &Call) {
        for n in 0..2 {
            self.configure(n, Side::Caller, phone_side(n));
            let ice = self.ice(n, call);
            self.configure(n, Side::Callee, ice);
        }
    }

    /// Phone `n` speaks for `frames`; both ends of its sequence numbers.
    pub(super) fn speak(&mut self, n: usize, frames: u16, start: u16) {
        for at in 0..frames {
            let packet = rtp_packet(0, start + at, u32::from(at) * 160, 7, &sound(start + at));
            self.put(phone(n), gateway(n), packet);
            self.run(FRAME);
        }
    }

    pub(super) fn heard(&self, n: usize) -> Vec<(Header, Vec<u8>)> {
        let all = self.phones.get(&phone(n)).into_iter().flatten();
        all.filter(|p| PacketKind::of(p) == PacketKind::Rtp)
            .map(|p| {
                let header = Header::parse(p).unwrap();
                (header, header.payload(p).to_vec())
            })
            .collect()
    }
}

pub(super) struct Call {
    pub(super) controlling: usize,
    pub(super) client: usize,
    pub(super) mux: bool,
    pub(super) generation: u32,
}

pub(super) const CALL: Call = Call {
    controlling: 0,
    client: 1,
    mux: true,
    generation: 0,
};

pub(super) fn phone(n: usize) -> SocketAddr {
    address(&format!("198.51.100.{}:4000", n + 1))
}

pub(super) fn gateway(n: usize) -> SocketAddr {
    address(&format!("192.0.2.{}:20000", n + 1))
}

pub(super) fn phone_side(n: usize) -> SideSpec {
    SideSpec {
        transport: SideTransport::Rtp(RtpSide {
            bind: gateway(n).ip(),
            port: gateway(n).port(),
            remote: Some(phone(n)),
            remote_rtcp: None,
            rtcp_mux: false,
            symmetric: true,
            keys: RtpKeys::None,
        }),
        format: Some(pcmu()),
        send: true,
        receive: true,
        silence_limit: None,
    }
}

pub(super) fn pcmu() -> Format {
    Format {
        encoding: "PCMU".into(),
        clock_hz: 8000,
        send_payload_type: 0,
        receive_payload_type: 0,
        receive_also: Vec::new(),
        send_digits: Some((101, 8000)),
        receive_digits: vec![(101, 8000)],
        send_noise: None,
        receive_noise: None,
        ptime_ms: 20,
        fec: false,
    }
}

pub(super) fn rtp_packet(
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: &[u8],
) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type,
        sequence,
        timestamp,
        ssrc,
        payload_start: 0,
        payload_end: 0,
    };
    let mut buffer = vec![0; 12 + payload.len()];
    header.write(payload, &mut buffer).unwrap();
    buffer
}

pub(super) fn sound(n: u16) -> Vec<u8> {
    (0..160u16).map(|i| (i ^ n) as u8).collect()
}

pub(super) fn count<T>(list: &[T]) -> usize {
    list.len()
}
