//! Two workers, each between a phone with plain RTP and the other one by ICE and DTLS-SRTP, over a
//! network in virtual time that loses what it is told to lose.

mod paths;
mod several;
mod strangers;
mod transcoding;
mod video;
mod world;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::rtp::{Header, PacketKind};
use super::*;
use crate::border::{RtpKeys, SideTransport};
use crate::description::{Crypto, Fingerprint, Setup};
use crate::leg::Digit;

use world::*;

#[test]
fn sound_passes_both_ways_in_every_role() {
    for controlling in 0..2 {
        for client in 0..2 {
            for mux in [true, false] {
                let mut w = World::new(1);
                let call = Call {
                    controlling,
                    client,
                    mux,
                    generation: 0,
                };
                w.call(&call);
                w.run(seconds(3));
                assert!(w.connected(0, Side::Callee) && w.connected(1, Side::Callee));
                w.speak(0, 50, 100);
                w.speak(1, 50, 100);
                for n in 0..2 {
                    let heard = w.heard(n);
                    let payloads: Vec<_> = heard.iter().map(|(_, p)| p.clone()).collect();
                    let sent: Vec<_> = (100..150).map(sound).collect();
                    assert!(payloads == sent, "{controlling} {client} {mux}");
                    assert!(heard.windows(2).all(|w| {
                        w[1].0.sequence == w[0].0.sequence.wrapping_add(1)
                            && w[1].0.timestamp == w[0].0.timestamp.wrapping_add(160)
                    }));
                }
                // Reports come in their time, on the components they belong to.
                w.run(seconds(10));
                for n in 0..2 {
                    let stats = w.nodes[n].media.side(0, Side::Callee).unwrap().stats;
                    assert!(stats.round_trip.is_some(), "{controlling} {client} {mux}");
                }
                w.close();
            }
        }
    }
}

#[test]
fn nothing_leaves_in_the_clear_to_a_dtls_peer() {
    let mut w = World::new(2);
    // The phones speak before, while and after the keys are made.
    for n in 0..2 {
        w.configure(n, Side::Caller, phone_side(n));
    }
    w.speak(0, 5, 10);
    w.call(&CALL);
    for start in 0..10 {
        w.speak(0, 10, 1000 + start * 10);
        w.speak(1, 10, 1000 + start * 10);
    }
    assert!(count(&w.heard(0)) > 50 && count(&w.heard(1)) > 50);
    let secrets: Vec<_> = (1000..1100).map(sound).collect();
    for packet in &w.shared_wire {
        match PacketKind::of(packet) {
            PacketKind::Rtp => {
                assert!(
                    secrets
                        .iter()
                        .all(|s| !packet.windows(16).any(|p| p == &s[..16]))
                );
            }
            PacketKind::Rtcp | PacketKind::Dtls => {}
            PacketKind::Stun | PacketKind::Other => panic!("{packet:02x?}"),
        }
    }
    w.close();
}

#[test]
fn a_side_that_knows_no_address_of_its_peer_is_never_due() {
    let mut w = World::new(4);
    let mut side = w.ice(0, &CALL);
    let mut candidates = Vec::new();
    if let SideTransport::Ice(ice) = &mut side.transport {
        candidates = std::mem::take(&mut ice.remote.as_mut().unwrap().candidates);
    }
    w.configure(0, Side::Callee, side);
    assert_eq!(w.nodes[0].media.poll_timeout(), None);
    let command = MediaCommand::Candidates {
        bridge: ID,
        side: Side::Callee,
        candidates,
    };
    w.nodes[0].media.command(w.now, command);
    assert!(w.nodes[0].media.poll_transmit().is_some(), "a check");
    let due = w.nodes[0].media.poll_timeout().unwrap();
    assert!(due <= w.now + Duration::from_millis(100));
}

#[test]
fn a_fifth_of_loss_does_not_stop_a_call() {
    for seed in 0..100 {
        let mut w = World::new(seed);
        w.loss = 20;
        let call = Call {
            controlling: usize::from(seed) % 2,
            client: usize::from(seed) / 2 % 2,
            mux: seed % 3 != 0,
            generation: 0,
        };
        w.call(&call);
        w.run(seconds(14));
        assert!(
            w.connected(0, Side::Callee) && w.connected(1, Side::Callee),
            "seed {seed}"
        );
        w.loss = 0;
        w.run(seconds(5));
        w.speak(0, 10, 5);
        assert_eq!(count(&w.heard(1)), 10, "seed {seed}");
        w.close();
    }
}

#[test]
fn a_wrong_fingerprint_fails_and_forwards_nothing() {
    for client in 0..2 {
        let mut w = World::new(3);
        let call = Call { client, ..CALL };
        for n in 0..2 {
            w.configure(n, Side::Caller, phone_side(n));
            let mut ice = w.ice(n, &call);
            if n == 0
                && let SideTransport::Ice(ice) = &mut ice.transport
            {
                ice.dtls.as_mut().unwrap().remote.value[5] ^= 1;
            }
            w.configure(n, Side::Callee, ice);
        }
        w.run(seconds(3));
        assert!(w.has(0, |e| matches!(
            e,
            MediaEvent::Failed {
                reason: EndReason::Security,
                side: Side::Callee,
                ..
            }
        )));
        assert!(!w.connected(0, Side::Callee));
        w.speak(0, 20, 1);
        w.speak(1, 20, 1);
        assert_eq!(count(&w.heard(0)) + count(&w.heard(1)), 0);
        w.close();
    }
}

#[test]
fn the_handshake_may_come_before_the_fingerprint() {
    let mut w = World::new(4);
    // Node 0 has offered actpass, and hears of the answer late; node 1 is the client.
    for n in 0..2 {
        w.configure(n, Side::Caller, phone_side(n));
    }
    let whole = w.ice(0, &CALL);
    let mut early = whole.clone();
    if let SideTransport::Ice(ice) = &mut early.transport {
        ice.dtls = None;
    }
    w.configure(0, Side::Callee, early);
    let other = w.ice(1, &CALL);
    w.configure(1, Side::Callee, other);
    w.run(seconds(3));
    assert!(w.connected(1, Side::Callee) && !w.connected(0, Side::Callee));
    w.speak(1, 5, 1);
    assert_eq!(count(&w.heard(0)), 0);
    w.configure(0, Side::Callee, whole);
    assert!(w.connected(0, Side::Callee));
    w.speak(1, 5, 10);
    assert_eq!(count(&w.heard(0)), 5);
    w.close();
}

#[test]
fn checks_that_come_before_the_answer_are_kept() {
    let mut w = World::new(5);
    let whole = w.ice(0, &CALL);
    let mut early = whole.clone();
    if let SideTransport::Ice(ice) = &mut early.transport {
        (ice.remote, ice.dtls) = (None, None);
    }
    w.configure(0, Side::Callee, early);
    let other = w.ice(1, &CALL);
    w.configure(1, Side::Callee, other);
    w.run(seconds(4));
    assert!(!w.connected(1, Side::Callee));
    w.configure(0, Side::Callee, whole.clone());
    w.configure(0, Side::Callee, whole);
    w.run(seconds(4));
    assert!(w.connected(0, Side::Callee) && w.connected(1, Side::Callee));
    w.close();
}

#[test]
fn a_restart_keeps_the_sound_and_finds_a_new_pair() {
    let mut w = World::new(6);
    w.call(&CALL);
    w.run(seconds(3));
    w.speak(0, 10, 0);
    let again = Call {
        generation: 1,
        ..CALL
    };
    let ice = w.ice(0, &again);
    w.configure(0, Side::Callee, ice);
    // The other one has not heard of it yet: the old pair carries on.
    w.speak(0, 20, 10);
    let ice = w.ice(1, &again);
    w.configure(1, Side::Callee, ice);
    w.speak(0, 200, 30);
    assert_eq!(count(&w.heard(1)), 230);
    assert_eq!(w.nodes[0].media.census().ufrags, 1);
    assert!(!w.has(0, |e| matches!(e, MediaEvent::Failed { .. })));
    w.run(seconds(60));
    w.speak(0, 5, 300);
    assert_eq!(count(&w.heard(1)), 235);
    w.close();
}

#[test]
fn a_peer_that_is_gone_fails_connectivity() {
    let mut w = World::new(7);
    w.call(&CALL);
    w.run(seconds(3));
    w.loss = 100;
    w.run(seconds(40));
    for n in 0..2 {
        assert!(w.has(n, |e| matches!(
            e,
            MediaEvent::Failed {
                reason: EndReason::Connectivity,
                ..
            }
        )));
    }
    w.close();
}

#[test]
fn both_may_think_that_they_control() {
    for controlling in [0, 9] {
        let mut w = World::new(8);
        let mut specs = [0, 1].map(|n| w.ice(n, &CALL));
        for spec in &mut specs {
            if let SideTransport::Ice(ice) = &mut spec.transport {
                ice.controlling = controlling == 0;
            }
        }
        for (n, spec) in specs.into_iter().enumerate() {
            w.configure(n, Side::Callee, spec);
        }
        w.run(seconds(5));
        assert!(w.connected(0, Side::Callee) && w.connected(1, Side::Callee));
    }
}

#[test]
fn digits_change_number_and_clock_and_are_told_once() {
    let mut w = World::new(9);
    w.call(&CALL);
    // Between the nodes, events run at 48 kHz with another number.
    for n in 0..2 {
        let mut ice = w.ice(n, &CALL);
        let format = ice.format.as_mut().unwrap();
        format.send_digits = Some((110, 48_000));
        format.receive_digits = vec![(110, 48_000)];
        w.configure(n, Side::Callee, ice);
    }
    w.run(seconds(3));
    w.speak(0, 5, 100);
    for (n, (duration, end)) in [
        (160u16, 0u8),
        (320, 0),
        (480, 0x80),
        (480, 0x80),
        (480, 0x80),
    ]
    .into_iter()
    .enumerate()
    {
        let [high, low] = duration.to_be_bytes();
        let block = [5, end | 10, high, low];
        let packet = rtp_packet(101, 105 + n as u16, 800, 7, &block);
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    }
    w.speak(0, 5, 110);
    let heard = w.heard(1);
    let digits: Vec<_> = heard
        .iter()
        .filter(|(h, _)| h.payload_type == 101)
        .collect();
    let payloads: Vec<_> = digits.iter().map(|(_, p)| p.clone()).collect();
    assert_eq!(payloads.len(), 5);
    assert_eq!(payloads[0], [5, 10, 0, 160]);
    assert_eq!(payloads[4], [5, 0x8a, 1, 224]);
    assert!(
        digits
            .windows(2)
            .all(|w| w[0].0.timestamp == w[1].0.timestamp)
    );
    let numbers: Vec<_> = heard.iter().map(|(h, _)| h.sequence).collect();
    assert!(
        numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "{numbers:?}"
    );
    let told: Vec<_> = w.nodes[0]
        .events
        .iter()
        .filter(|e| matches!(e, MediaEvent::Digit { .. }))
        .collect();
    let digit = Digit::from_char('5').unwrap();
    assert_eq!(
        told,
        [&MediaEvent::Digit {
            bridge: ID,
            side: Side::Caller,
            digit,
            forwarded: true
        }]
    );
    w.close();
}

#[test]
fn a_key_from_signalling_is_pressed() {
    let mut w = World::new(10);
    w.call(&CALL);
    w.run(seconds(3));
    for key in "1#".chars() {
        let command = MediaCommand::Digit {
            bridge: ID,
            side: Side::Caller,
            digit: Digit::from_char(key).unwrap(),
            duration: Duration::from_millis(160),
        };
        w.nodes[0].media.command(w.now, command);
    }
    w.speak(1, 50, 0);
    let heard = w.heard(0);
    let events: Vec<_> = heard
        .iter()
        .filter(|(h, _)| h.payload_type == 101)
        .map(|(h, p)| (h.marker, p[0], p[1] >> 7, u16::from_be_bytes([p[2], p[3]])))
        .collect();
    let one: Vec<_> = events.iter().filter(|e| e.1 == 1).collect();
    assert_eq!(one.first(), Some(&&(true, 1, 0, 160)));
    assert_eq!(one.last(), Some(&&(false, 1, 1, 1280)));
    assert_eq!(one.iter().filter(|e| e.2 == 1).count(), 3);
    assert!(events.iter().any(|e| e.1 == 11));
    let numbers: Vec<_> = heard.iter().map(|(h, _)| h.sequence).collect();
    assert!(
        numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "{numbers:?}"
    );
    w.close();
}

#[test]
fn a_phone_behind_nat_is_latched_and_strangers_are_not() {
    let mut w = World::new(11);
    w.call(&CALL);
    w.run(seconds(3));
    let nat = address("203.0.113.9:61000");
    let stranger = address("203.0.113.66:1");
    w.put(stranger, gateway(0), rtp_packet(0, 9, 0, 66, &sound(9)));
    for n in 0..10 {
        w.put(
            nat,
            gateway(0),
            rtp_packet(0, n, u32::from(n) * 160, 7, &sound(n)),
        );
        w.run(FRAME);
    }
    for n in 10..20 {
        w.put(stranger, gateway(0), rtp_packet(0, n, 0, 66, &sound(n)));
        w.run(FRAME);
    }
    assert_eq!(count(&w.heard(1)), 9);
    assert!(w.connected(0, Side::Caller));
    w.speak(1, 5, 0);
    assert_eq!(w.phones[&nat].len(), 5);
    // The same specification again changes nothing, another address does.
    w.configure(0, Side::Caller, phone_side(0));
    w.speak(1, 5, 5);
    assert_eq!(w.phones[&nat].len(), 10);
    let mut moved = phone_side(0);
    if let SideTransport::Rtp(rtp) = &mut moved.transport {
        rtp.remote = Some(address("198.51.100.77:7000"));
    }
    w.configure(0, Side::Caller, moved);
    w.speak(1, 5, 10);
    assert_eq!(w.phones[&address("198.51.100.77:7000")].len(), 5);
    w.close();
}

#[test]
fn silence_is_told_once_and_not_while_on_hold() {
    let mut w = World::new(12);
    w.call(&CALL);
    let mut ice = w.ice(1, &CALL);
    ice.silence_limit = Some(seconds(3));
    w.configure(1, Side::Callee, ice.clone());
    w.run(seconds(1));
    w.speak(0, 200, 0);
    let silent = |w: &World| {
        let told = |e: &&MediaEvent| matches!(e, MediaEvent::Silent { .. });
        w.nodes[1].events.iter().filter(told).count()
    };
    assert_eq!(silent(&w), 0);
    w.loss = 100;
    w.run(seconds(8));
    assert_eq!(silent(&w), 1);
    ice.silence_limit = None;
    w.configure(1, Side::Callee, ice);
    w.run(seconds(8));
    assert_eq!(silent(&w), 1);
    w.close();
}

#[test]
fn a_transferred_source_goes_on_in_one_stream() {
    let mut w = World::new(13);
    w.call(&CALL);
    w.run(seconds(3));
    w.speak(0, 10, 100);
    for n in 0..10 {
        let packet = rtp_packet(0, 60_000 + n, 99 + u32::from(n) * 160, 1234, &sound(n));
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    }
    let heard = w.heard(1);
    assert_eq!(count(&heard), 20);
    assert!(heard.windows(2).all(|w| {
        w[0].0.ssrc == w[1].0.ssrc && w[1].0.sequence == w[0].0.sequence.wrapping_add(1)
    }));
    w.close();
}

#[test]
fn loss_before_us_stays_visible_behind_us() {
    let mut w = World::new(14);
    w.call(&CALL);
    w.run(seconds(3));
    for n in [0u16, 1, 2, 5, 6] {
        w.put(
            phone(0),
            gateway(0),
            rtp_packet(0, n, u32::from(n) * 160, 7, &sound(n)),
        );
        w.run(FRAME);
    }
    let heard = w.heard(1);
    let from = heard[0].0.sequence;
    let numbers: Vec<_> = heard.iter().map(|(h, _)| h.sequence - from).collect();
    assert_eq!(numbers, [0, 1, 2, 5, 6]);
    w.close();
    let closed = w.nodes[0].events.iter().rev().find_map(|e| match e {
        MediaEvent::Closed { stats, .. } => Some(**stats),
        _ => None,
    });
    let stats = closed.unwrap();
    assert_eq!((stats.caller.received, stats.caller.lost), (5, 2));
    assert_eq!(stats.callee.sent, 5);
}

#[test]
fn other_payload_types_and_encodings_are_dropped() {
    let mut w = World::new(15);
    w.call(&CALL);
    w.run(seconds(3));
    w.put(phone(0), gateway(0), rtp_packet(96, 1, 0, 7, &sound(1)));
    w.run(FRAME);
    assert_eq!(count(&w.heard(1)), 0);
    let mut other = phone_side(0);
    if let Some(format) = &mut other.format {
        format.encoding = "SPEEX".into();
        (format.receive_payload_type, format.send_payload_type) = (97, 97);
    }
    w.configure(0, Side::Caller, other);
    w.put(phone(0), gateway(0), rtp_packet(97, 2, 0, 7, &sound(1)));
    w.run(FRAME);
    assert_eq!(count(&w.heard(1)), 0);
    w.close();
}

#[test]
fn sdes_protects_a_leg_and_bad_keys_fail_it() {
    let key = |fill: char| Crypto {
        tag: 1,
        suite: "AES_CM_128_HMAC_SHA1_80".into(),
        key: format!("inline:{}", fill.to_string().repeat(40)),
    };
    let mut w = World::new(16);
    w.call(&CALL);
    let sdes = |local: Crypto, remote: Crypto| {
        let mut side = phone_side(0);
        if let SideTransport::Rtp(rtp) = &mut side.transport {
            rtp.keys = RtpKeys::Sdes { local, remote };
        }
        side
    };
    w.configure(0, Side::Caller, sdes(key('a'), key('b')));
    w.run(seconds(3));
    let theirs = srtp::MasterKey::from_sdes(&key('b')).unwrap();
    let mut protect = srtp::Protect::new(&theirs);
    for n in 0..5 {
        let mut packet = rtp_packet(0, n, u32::from(n) * 160, 7, &sound(n));
        let len = packet.len();
        packet.resize(len + TAIL_ROOM, 0);
        let len = protect.rtp(&mut packet, len).unwrap();
        packet.truncate(len);
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    }
    w.speak(0, 5, 100);
    assert_eq!(count(&w.heard(1)), 5);
    w.speak(1, 5, 0);
    let ours = srtp::MasterKey::from_sdes(&key('a')).unwrap();
    let mut unprotect = srtp::Unprotect::new(&ours);
    for packet in w.phones.get_mut(&phone(0)).unwrap() {
        let len = unprotect.rtp(packet).unwrap();
        assert!(Header::parse(&packet[..len]).is_ok());
    }
    // Reports go on in their own count when they change ports: RFC 3711 §9.1.
    w.phones.clear();
    for mux in [false, true, false] {
        let mut side = sdes(key('a'), key('b'));
        if let SideTransport::Rtp(rtp) = &mut side.transport {
            rtp.rtcp_mux = mux;
        }
        w.configure(0, Side::Caller, side);
        w.run(seconds(30));
    }
    let rtcp = SocketAddr::new(phone(0).ip(), phone(0).port() + 1);
    let mut indices = Vec::new();
    for at in [phone(0), rtcp] {
        let before = indices.len();
        for packet in &w.phones[&at] {
            if PacketKind::of(packet) == PacketKind::Rtcp {
                indices.push(packet[packet.len() - 14..packet.len() - 10].to_vec());
            }
        }
        assert!(indices.len() > before);
    }
    let different: std::collections::BTreeSet<_> = indices.iter().collect();
    assert_eq!(different.len(), indices.len());
    let mut bad = key('a');
    bad.key = "inline:short".into();
    w.configure(0, Side::Caller, sdes(bad, key('b')));
    w.run(FRAME);
    assert!(w.has(0, |e| matches!(
        e,
        MediaEvent::Failed {
            reason: EndReason::Security,
            side: Side::Caller,
            ..
        }
    )));
    w.close();
}

#[test]
fn dtls_keys_a_leg_without_ice() {
    let mut w = World::new(17);
    // Node 0's caller leg speaks DTLS-SRTP with node 1's caller leg, ports to ports.
    let leg = |w: &World, n: usize, mux: bool| {
        let mut side = phone_side(n);
        if let SideTransport::Rtp(rtp) = &mut side.transport {
            rtp.remote = Some(gateway(1 - n));
            rtp.rtcp_mux = mux;
            rtp.keys = RtpKeys::Dtls {
                client: n == 0,
                remote: w.nodes[1 - n].certificate.fingerprint(Setup::Actpass),
            };
        }
        side
    };
    for mux in [true, false] {
        for n in 0..2 {
            let side = leg(&w, n, mux);
            w.configure(n, Side::Caller, side);
        }
        w.run(seconds(3));
        for n in 0..2 {
            let state = w.nodes[n].media.side(0, Side::Caller).unwrap();
            assert!(state.rtp.protection.is_ready());
            let rtcp = state.rtcp.as_ref().unwrap().protection.is_ready();
            assert_eq!(rtcp, !mux);
        }
        w.close();
    }
}

#[test]
fn a_side_whose_port_is_taken_says_so_once_and_works_with_another() {
    let mut w = World::new(18);
    w.configure(0, Side::Caller, phone_side(0));
    let port = gateway(0).port();
    for n in 0..2 {
        let key = SocketKey(FIRST_LEG_SOCKET + n);
        w.nodes[0].media.socket_failed(key, "address in use");
    }
    w.run(FRAME);
    let taken = |e: &&MediaEvent| matches!(e, MediaEvent::PortTaken { port: p, .. } if *p == port);
    assert_eq!(w.nodes[0].events.iter().filter(taken).count(), 1);
    assert!(!w.has(0, |e| matches!(e, MediaEvent::Failed { .. })));
    let mut spec = phone_side(0);
    if let SideTransport::Rtp(rtp) = &mut spec.transport {
        rtp.port = port + 2;
    }
    w.configure(0, Side::Caller, spec);
    let packet = rtp_packet(0, 1, 160, 7, &sound(1));
    let new = SocketAddr::new(gateway(0).ip(), port + 2);
    w.put(phone(0), new, packet);
    w.run(FRAME);
    assert!(w.connected(0, Side::Caller));
    w.close();
}

#[test]
fn a_forged_check_does_not_take_an_address() {
    let mut w = World::new(19);
    w.call(&CALL);
    w.run(seconds(3));
    let victim = w.nodes[1].sockets[&SocketKey(0)].0;
    let place = w.nodes[0].media.by_address[&(SocketKey(0), victim)].place;
    let other = Place { slot: 77, ..place };
    w.nodes[0]
        .media
        .learn(w.now, other, (SocketKey(0), victim), false);
    w.nodes[0]
        .media
        .learn(w.now, other, (SocketKey(0), victim), true);
    let known = w.nodes[0].media.by_address[&(SocketKey(0), victim)];
    assert_eq!(known.place, place);
    assert!(known.proven);
    // What comes from unknown addresses goes nowhere.
    let before = w.nodes[0].media.census();
    for _ in 0..100 {
        let from = SocketAddr::new(IpAddr::from([203, 0, 113, 5]), w.tokens.number() as u16);
        w.put(
            from,
            address("192.0.2.1:5000"),
            rtp_packet(0, 1, 1, 1, b"x"),
        );
    }
    w.run(FRAME);
    assert_eq!(w.nodes[0].media.census().addresses, before.addresses);
    w.close();
}

#[test]
fn mangled_datagrams_do_no_harm() {
    let mut w = World::new(20);
    w.loss = 10;
    w.call(&CALL);
    let mut seen: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = Vec::new();
    for round in 0..1500u16 {
        if round == 300 {
            w.loss = 0;
        }
        if round % 4 == 0 {
            let packet = rtp_packet(0, round, u32::from(round) * 160, 7, &sound(round));
            w.put(phone(0), gateway(0), packet);
            let block = [5, 0x8a, 1, 224];
            w.put(phone(1), gateway(1), rtp_packet(101, round, 800, 7, &block));
        }
        seen.extend(w.wire.values().cloned());
        seen.truncate(400);
        for _ in 0..4 {
            if seen.is_empty() {
                continue;
            }
            let pick = w.tokens.below(seen.len() as u64) as usize;
            let (from, to, mut bytes) = seen[pick].clone();
            if w.tokens.below(5) == 0 {
                // Only the first byte tells what it is meant to be.
                let length = 1 + w.tokens.below(300) as usize;
                let first = bytes.first().copied().unwrap_or_default();
                bytes = vec![0; length];
                w.tokens.fill(&mut bytes);
                bytes[0] = first;
            }
            for _ in 0..=w.tokens.below(3) {
                let at = w.tokens.below(bytes.len().max(1) as u64) as usize;
                match w.tokens.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.extend_from_slice(&[0xff; 7]),
                    _ => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 1 << w.tokens.below(8);
                        }
                    }
                }
            }
            w.put(from, to, bytes);
        }
        w.run(Duration::from_millis(5));
    }
    w.run(seconds(5));
    w.close();
}

#[test]
fn an_unknown_hash_never_matches() {
    let w = World::new(21);
    let mut spec = w.ice(0, &CALL);
    if let SideTransport::Ice(ice) = &mut spec.transport {
        ice.dtls.as_mut().unwrap().remote = Fingerprint {
            hash: "md5".into(),
            value: vec![0; 16],
            setup: Setup::Active,
        };
    }
    let mut w = w;
    w.configure(0, Side::Callee, spec);
    let other = w.ice(1, &CALL);
    w.configure(1, Side::Callee, other);
    w.run(seconds(3));
    assert!(w.has(0, |e| matches!(e, MediaEvent::Failed { .. })));
}

#[test]
fn a_key_whose_end_is_lost_is_told_all_the_same() {
    let mut w = World::new(22);
    w.call(&CALL);
    w.run(seconds(3));
    for n in 0..3 {
        let block = [9, 10, 0, 40 * (n as u8 + 1)];
        w.put(phone(0), gateway(0), rtp_packet(101, n, 800, 7, &block));
        w.run(FRAME);
    }
    let told = |w: &World| w.has(0, |e| matches!(e, MediaEvent::Digit { .. }));
    assert!(!told(&w));
    w.run(seconds(1));
    assert!(told(&w));
    w.close();
}

#[test]
fn credentials_that_no_check_can_carry_fail_the_side() {
    let mut w = World::new(23);
    let mut spec = w.ice(0, &CALL);
    if let SideTransport::Ice(ice) = &mut spec.transport {
        ice.remote.as_mut().unwrap().ufrag = "x".repeat(5000);
    }
    w.configure(0, Side::Callee, spec);
    w.run(seconds(5));
    assert!(w.has(0, |e| matches!(e, MediaEvent::Failed { .. })));
}

#[test]
fn a_bridge_that_never_was_is_closed_too() {
    let mut w = World::new(24);
    w.close();
    for n in 0..2 {
        assert!(w.has(n, |e| matches!(e, MediaEvent::Closed { .. })));
    }
}
