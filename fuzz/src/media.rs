//! The targets of the media room.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use offhook::border::{
    DtlsSpec, Format, IceRemote, IceSide, MediaCommand, RtpKeys, RtpSide, Side, SideSpec,
    SideTransport,
};
use offhook::description::Setup;
use offhook::id::{BridgeId, TokenMaker, WorkerId};
use offhook::leg::Digit;
use offhook::media::dtls::Certificate;
use offhook::media::dtmf::{DigitReceiver, Event};
use offhook::media::rtcp::{Packet, Packets, Reception};
use offhook::media::rtp::{Header, PacketKind};
use offhook::media::srtp::{MasterKey, Mki, Profile, Protect, Unprotect};
use offhook::media::{Census, Forward, Media, MediaSettings, SocketKey, SocketRequest, TAIL_ROOM};

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// One packet through every reader of packets.
pub fn rtp(bytes: &[u8]) {
    let start = now();
    let _ = PacketKind::of(bytes);
    if let Ok(header) = Header::parse(bytes) {
        let payload = header.payload(bytes);
        let mut digits = DigitReceiver::default();
        for marker in [true, false] {
            let _ = digits.receive(start, header.timestamp, marker, payload, 8000);
        }
        let _ = digits.handle_timeout(start + Duration::from_secs(1));
        if let Some(event) = Event::parse(payload) {
            assert_eq!(Event::parse(&event.to_bytes()), Some(event));
        }
    }
    if let Ok(packets) = Packets::parse(bytes) {
        let mut reception = Reception::new(start);
        for packet in packets {
            if let Packet::SenderReport { ssrc, info, blocks } = packet {
                reception.receive_untimed(ssrc, 1);
                reception.receive_report(start, ssrc, &info);
                let _ = reception.report(start + Duration::from_secs(2));
                let _ = blocks.count();
            }
        }
    }
    for profile in Profile::ALL {
        protection(profile, bytes);
    }
}

/// A stranger's packet does not open, and one of ours opens as it was.
fn protection(profile: Profile, bytes: &[u8]) {
    let key = vec![7; profile.key_len()];
    let salt = vec![9; profile.salt_len()];
    let Some(mki) = Mki::new(&[]) else { return };
    let Ok(master) = MasterKey::new(profile, &key, &salt, mki) else {
        return;
    };
    let mut buffer = bytes.to_vec();
    let _ = Unprotect::new(&master).rtp(&mut buffer);
    let mut buffer = bytes.to_vec();
    let _ = Unprotect::new(&master).rtcp(&mut buffer);
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    if let Ok(length) = Protect::new(&master).rtp(&mut buffer, bytes.len()) {
        let opened = Unprotect::new(&master).rtp(&mut buffer[..length]);
        assert_eq!(opened.ok().map(|length| &buffer[..length]), Some(bytes));
    }
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    if let Ok(length) = Protect::new(&master).rtcp(&mut buffer, bytes.len()) {
        let opened = Unprotect::new(&master).rtcp(&mut buffer[..length]);
        assert_eq!(opened.ok().map(|length| &buffer[..length]), Some(bytes));
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address of ours")
}

fn certificate() -> Certificate {
    static MADE: OnceLock<Certificate> = OnceLock::new();
    MADE.get_or_init(|| Certificate::generate().expect("a certificate"))
        .clone()
}

fn format() -> Format {
    Format {
        encoding: "PCMU".to_owned(),
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

fn ice_side(generation: u8, mux: bool) -> SideSpec {
    SideSpec {
        transport: SideTransport::Ice(IceSide {
            local_ufrag: format!("ours{generation}"),
            local_pwd: "passwordpasswordpassword".to_owned(),
            own_port: None,
            controlling: generation.is_multiple_of(2),
            rtcp_mux: mux,
            remote: Some(IceRemote {
                ufrag: format!("theirs{generation}"),
                pwd: "wordpasswordpasswordpass".to_owned(),
                candidates: Vec::new(),
            }),
            dtls: Some(DtlsSpec {
                client: generation.is_multiple_of(3),
                remote: certificate().fingerprint(Setup::Active),
            }),
        }),
        format: Some(format()),
        send: true,
        receive: true,
        silence_limit: Some(Duration::from_secs(30)),
    }
}

fn phone_side() -> SideSpec {
    SideSpec {
        transport: SideTransport::Rtp(RtpSide {
            bind: address("192.0.2.1:0").ip(),
            port: 20_000,
            remote: Some(address("198.51.100.1:4000")),
            remote_rtcp: None,
            rtcp_mux: false,
            symmetric: true,
            keys: RtpKeys::None,
        }),
        format: Some(format()),
        send: true,
        receive: true,
        silence_limit: None,
    }
}

/// Pictures beside the sound: toward the client by its transport, toward the phone by ports of their own.
fn pictures(side: Side) -> SideSpec {
    let mut spec = phone_side();
    match (&mut spec.transport, side) {
        (SideTransport::Rtp(rtp), Side::Callee) => rtp.port = 20_002,
        (transport, _) => *transport = SideTransport::Bundled(BridgeId(1)),
    }
    spec.format = Some(Format {
        encoding: "VP8".to_owned(),
        clock_hz: 90_000,
        send_payload_type: 96,
        receive_payload_type: 96,
        send_digits: None,
        receive_digits: Vec::new(),
        ..format()
    });
    spec
}

/// Datagrams to all sockets of a media worker that has one bridge, with orders and time between
/// them. Each step is one byte that says what, one that says how long, and so many bytes.
pub fn stun(bytes: &[u8]) {
    let settings = MediaSettings {
        worker: WorkerId(0),
        shared: vec![address("192.0.2.1:5000")],
        shared_rtcp: vec![address("192.0.2.1:5001")],
        certificate: certificate(),
    };
    let mut media = Media::new(settings, TokenMaker::new([1; 32]));
    let mut now = now();
    let bridge = BridgeId(1);
    let configure = |side, spec| MediaCommand::Configure {
        bridge,
        side,
        spec: Box::new(spec),
    };
    media.command(now, configure(Side::Caller, ice_side(0, true)));
    media.command(now, configure(Side::Callee, phone_side()));
    let shown = bridge.of_pictures();
    for side in [Side::Caller, Side::Callee] {
        let command = MediaCommand::Configure {
            bridge: shown,
            side,
            spec: Box::new(pictures(side)),
        };
        media.command(now, command);
    }
    let mut legs = Vec::new();
    let mut rest = bytes;
    while let [what, length, tail @ ..] = rest {
        let (data, next) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = next;
        while let Some(request) = media.poll_socket() {
            if let SocketRequest::Bind { key, address: _ } = request {
                legs.push(key);
            }
        }
        let leg = |n: usize| legs.get(n).copied().unwrap_or(SocketKey(0));
        let from = match what >> 4 {
            0..8 => address("198.51.100.1:4000"),
            _ => address("203.0.113.7:60000"),
        };
        let socket = match what & 7 {
            0 | 1 => SocketKey(u32::from(what & 1)),
            2 if what & 8 != 0 => leg(2),
            3 if what & 8 != 0 => leg(3),
            2 => leg(0),
            3 => leg(1),
            4 => {
                now += Duration::from_millis(10 * u64::from(*length));
                media.handle_timeout(now);
                continue;
            }
            5 => {
                media.command(
                    now,
                    configure(Side::Caller, ice_side(*length, what & 8 == 0)),
                );
                continue;
            }
            6 => {
                let command = MediaCommand::Digit {
                    bridge,
                    side: Side::Callee,
                    digit: Digit::from_event(length & 15).expect("below 16"),
                    duration: Duration::from_millis(160),
                };
                media.command(now, command);
                continue;
            }
            _ => {
                media.command(now, configure(Side::Callee, phone_side()));
                continue;
            }
        };
        let mut buffer = data.to_vec();
        buffer.resize(data.len() + TAIL_ROOM, 0);
        let forward = media.handle(now, socket, from, &mut buffer, data.len());
        if let Forward::Send { len, .. } = forward {
            assert!(len <= buffer.len());
        }
        while media.poll_transmit().is_some() {}
        while media.poll_event().is_some() {}
    }
    media.command(now, MediaCommand::Close { bridge: shown });
    media.command(now, MediaCommand::Close { bridge });
    assert_eq!(media.census(), Census::default());
}
