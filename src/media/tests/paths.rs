//! How soon a path is found, and calls whose paths look alike.

use super::super::ice::{IceOutput, IcePort};
use super::*;
use crate::description::{Candidate, CandidateKind};

/// Both know each other: a round trip for a check, one for the choice, and DTLS.
#[test]
fn a_path_takes_a_few_round_trips_and_no_waiting() {
    for controlling in 0..2 {
        for client in 0..2 {
            let mut w = World::new(40);
            w.call(&Call {
                controlling,
                client,
                ..CALL
            });
            w.run(LATENCY * 2 * 6);
            for n in 0..2 {
                assert!(w.connected(n, Side::Callee), "{controlling} {client} {n}");
            }
            w.close();
        }
    }
}

/// The first check comes before its receiver knows of the call: the next one comes soon.
#[test]
fn a_peer_that_hears_of_the_call_later_costs_one_more_check() {
    for (first, late) in [(0, 1), (1, 0)] {
        let mut w = World::new(41);
        let ice = w.ice(first, &CALL);
        w.configure(first, Side::Callee, ice);
        w.run(LATENCY * 2);
        let ice = w.ice(late, &CALL);
        w.configure(late, Side::Callee, ice);
        w.run(LATENCY * 2 * 6 + Duration::from_millis(100));
        assert!(w.connected(0, Side::Callee) && w.connected(1, Side::Callee));
        w.close();
    }
}

/// Of a peer with many addresses only the last one works.
#[test]
fn many_candidates_that_do_not_work_hold_up_little() {
    let mut w = World::new(42);
    for n in 0..2 {
        let mut spec = w.ice(n, &CALL);
        let SideTransport::Ice(ice) = &mut spec.transport else {
            unreachable!()
        };
        let remote = ice.remote.as_mut().unwrap();
        let good = remote.candidates[0].clone();
        for port in 1..10 {
            let mut dead = good.clone();
            dead.address = SocketAddr::new([203, 0, 113, 9].into(), port);
            dead.priority += u32::from(port);
            remote.candidates.insert(0, dead);
        }
        w.configure(n, Side::Callee, spec);
    }
    w.run(Duration::from_millis(400));
    assert!(w.connected(0, Side::Callee) && w.connected(1, Side::Callee));
    w.close();
}

/// A second call between the same two workers: one end has a port pair of its own (another gateway
/// has one socket for all its calls, as we have).
#[test]
fn two_calls_between_the_same_two_rooms_do_not_meet() {
    for mux in [true, false] {
        let mut w = World::new(43);
        w.call(&Call { mux, ..CALL });
        w.run(seconds(3));
        let second = Call {
            controlling: 1,
            client: 0,
            generation: 7,
            mux,
        };
        let id = BridgeId(2);
        let own = 21_000;
        for n in 0..2 {
            let mut phone_side = phone_side(n);
            if let SideTransport::Rtp(rtp) = &mut phone_side.transport {
                rtp.port += 4;
                rtp.remote = Some(SocketAddr::new(phone(n).ip(), 4004));
            }
            let mut ice_side = w.ice(n, &second);
            if let SideTransport::Ice(ice) = &mut ice_side.transport {
                match n {
                    0 => ice.own_port = Some(own),
                    _ => {
                        for candidate in &mut ice.remote.as_mut().unwrap().candidates {
                            let port = own + u16::from(candidate.component) - 1;
                            candidate.address.set_port(port);
                        }
                    }
                }
            }
            for (side, spec) in [(Side::Caller, phone_side), (Side::Callee, ice_side)] {
                let command = MediaCommand::Configure {
                    bridge: id,
                    side,
                    spec: Box::new(spec),
                };
                w.nodes[n].media.command(w.now, command);
                w.collect(n);
            }
        }
        w.run(seconds(3));
        let sockets = if mux { 1 } else { 2 };
        let held = |w: &World| {
            let own = w.nodes[0].sockets.values();
            own.filter(|s| s.0.port() / 1_000 == 21).count()
        };
        assert_eq!(held(&w), sockets);
        // Both speak at the same time, each with its own words.
        for at in 0..50u16 {
            for (offset, word) in [(0, 1), (4, 2)] {
                let packet = rtp_packet(0, at, u32::from(at) * 160, word, &sound(word as u16));
                let from = SocketAddr::new(phone(0).ip(), 4000 + offset);
                let to = SocketAddr::new(gateway(0).ip(), gateway(0).port() + offset);
                w.put(from, to, packet);
            }
            w.run(FRAME);
        }
        for (offset, word) in [(0, 1u16), (4, 2)] {
            let heard = &w.phones[&SocketAddr::new(phone(1).ip(), 4000 + offset)];
            let sounds: Vec<_> = heard
                .iter()
                .filter(|p| PacketKind::of(p) == PacketKind::Rtp)
                .map(|p| Header::parse(p).unwrap().payload(p).to_vec())
                .collect();
            assert_eq!(count(&sounds), 50);
            assert!(sounds.iter().all(|s| *s == sound(word)));
        }
        for n in 0..2 {
            let command = MediaCommand::Close { bridge: id };
            w.nodes[n].media.command(w.now, command);
            w.collect(n);
        }
        assert_eq!(held(&w), 0);
        w.close();
    }
}

/// The pair of a side's own may be taken as any other.
#[test]
fn an_own_port_that_is_taken_is_told_once() {
    let mut w = World::new(44);
    let mut spec = w.ice(0, &CALL);
    if let SideTransport::Ice(ice) = &mut spec.transport {
        ice.own_port = Some(21_000);
    }
    w.configure(0, Side::Callee, spec.clone());
    let key = SocketKey(FIRST_LEG_SOCKET);
    for _ in 0..2 {
        w.nodes[0].media.socket_failed(key, "address in use");
    }
    w.run(FRAME);
    let taken = |e: &&MediaEvent| matches!(e, MediaEvent::PortTaken { port: 21_000, .. });
    assert_eq!(w.nodes[0].events.iter().filter(taken).count(), 1);
    if let SideTransport::Ice(ice) = &mut spec.transport {
        ice.own_port = Some(21_002);
    }
    w.configure(0, Side::Callee, spec);
    let ports: Vec<u16> = w.nodes[0].sockets.values().map(|s| s.0.port()).collect();
    assert!(
        ports.contains(&21_002) && !ports.contains(&21_000),
        "{ports:?}"
    );
    w.close();
}

/// The network of a client is away for longer than its checks are repeated; it restarts then.
#[test]
fn a_peer_that_comes_back_by_a_restart_goes_on() {
    for restarts in [true, false] {
        for controlling in 0..2 {
            let mut w = World::new(45);
            let call = Call {
                controlling,
                ..CALL
            };
            w.call(&call);
            w.run(seconds(3));
            w.speak(0, 10, 0);
            w.loss = 100;
            w.run(seconds(25));
            w.loss = 0;
            if restarts {
                let again = Call {
                    generation: 1,
                    ..call
                };
                for n in [1, 0] {
                    let ice = w.ice(n, &again);
                    w.configure(n, Side::Callee, ice);
                    w.run(seconds(1));
                }
                w.run(seconds(1));
                w.speak(0, 10, 10);
                assert_eq!(count(&w.heard(1)), 20, "{controlling}");
                w.run(seconds(60));
            }
            // Without it the call ends in time.
            w.run(seconds(10));
            for n in 0..2 {
                let failed = w.has(n, |e| matches!(e, MediaEvent::Failed { .. }));
                assert_eq!(failed, !restarts, "{controlling} {n}");
            }
            w.close();
        }
    }
}

/// A client that controls has two networks, and goes over to the worse one when the better one is
/// gone, without a restart.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_nomination_of_a_worse_pair_is_followed_when_the_better_one_is_silent() {
    let [ours, wifi, mobile] =
        ["192.0.2.1:5000", "198.51.100.1:6000", "203.0.113.1:7000"].map(address);
    let candidate = |address: SocketAddr, priority: u32| Candidate {
        foundation: priority.to_string(),
        component: 1,
        address,
        priority,
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    };
    let start = Instant::now();
    let mut now = start;
    let client = |local: SocketAddr| {
        let mut port = IcePort::new(start, ("peer", "passwordofthepeer22222"), true, 9, &[local]);
        port.set_remote("ours", "passwordofours22222222");
        port.add_candidate(&candidate(ours, 2_000_000_000));
        port
    };
    let mut us = IcePort::new(start, ("ours", "passwordofours22222222"), false, 7, &[ours]);
    us.set_remote("peer", "passwordofthepeer22222");
    us.add_candidate(&candidate(wifi, 2_000_000_000));
    us.add_candidate(&candidate(mobile, 1_000_000_000));
    let mut ports = vec![(ours, us), (wifi, client(wifi))];
    let run = |ports: &mut Vec<(SocketAddr, IcePort)>, now: &mut Instant, time: Duration| {
        let end = *now + time;
        while *now < end {
            *now += Duration::from_millis(10);
            let mut wire = Vec::new();
            for (_, port) in ports.iter_mut() {
                port.handle_timeout(*now);
            }
            loop {
                for (_, port) in ports.iter_mut() {
                    while let Some(output) = port.poll() {
                        match output {
                            IceOutput::Transmit {
                                local,
                                remote,
                                bytes,
                                ..
                            } => wire.push((local, remote, bytes)),
                            IceOutput::Lost => panic!("lost"),
                            IceOutput::Selected | IceOutput::Forget { .. } => {}
                        }
                    }
                }
                if wire.is_empty() {
                    break;
                }
                for (from, to, bytes) in wire.drain(..) {
                    let message = is::stun::StunMessage::parse(&bytes).unwrap();
                    if let Some((_, port)) = ports.iter_mut().find(|(local, _)| *local == to) {
                        port.handle(*now, to, from, message);
                    }
                }
            }
        }
    };
    run(&mut ports, &mut now, seconds(10));
    assert_eq!(ports[0].1.selected(), Some((ours, wifi)));
    // Both work, and the peer has chosen: it stays.
    ports.push((mobile, client(mobile)));
    run(&mut ports, &mut now, seconds(60));
    assert_eq!(ports[0].1.selected(), Some((ours, wifi)));
    ports.remove(1);
    run(&mut ports, &mut now, seconds(4));
    assert_eq!(ports[0].1.selected(), Some((ours, mobile)));
    run(&mut ports, &mut now, seconds(60));
    assert_eq!(ports[0].1.selected(), Some((ours, mobile)));
}

/// One server, with one certificate for all its calls, answers from one port and goes on from another
/// (a fork, an announcement).
#[test]
fn a_server_that_moves_to_another_port_is_keyed_anew() {
    for client in 0..2 {
        let mut w = World::new(46);
        let leg = |w: &World, n: usize, port: u16| {
            let mut side = phone_side(n);
            if let SideTransport::Rtp(rtp) = &mut side.transport {
                match n {
                    0 => rtp.remote = Some(SocketAddr::new(gateway(1).ip(), port)),
                    _ => (rtp.remote, rtp.port) = (Some(gateway(0)), port),
                }
                rtp.rtcp_mux = true;
                rtp.keys = RtpKeys::Dtls {
                    client: n == client,
                    remote: w.nodes[1 - n].certificate.fingerprint(Setup::Actpass),
                };
            }
            side
        };
        for n in 0..2 {
            // Behind their DTLS legs are plain ones.
            let mut plain = phone_side(n);
            if let SideTransport::Rtp(rtp) = &mut plain.transport {
                rtp.port += 100;
            }
            w.configure(n, Side::Callee, plain);
        }
        for (round, port) in [(1, 22_000), (2, 22_002)] {
            for n in [1, 0] {
                let side = leg(&w, n, port);
                w.configure(n, Side::Caller, side);
            }
            w.run(seconds(3));
            for n in 0..2 {
                let to = SocketAddr::new(gateway(n).ip(), gateway(n).port() + 100);
                for at in 0..5u16 {
                    let at = round * 100 + at;
                    w.put(
                        phone(n),
                        to,
                        rtp_packet(0, at, u32::from(at) * 160, 7, &sound(at)),
                    );
                    w.run(FRAME);
                }
                let heard = count(&w.heard(1 - n));
                assert_eq!(heard, usize::from(round) * 5, "{client} {n} {port}");
            }
        }
        w.close();
    }
}
