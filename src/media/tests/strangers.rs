//! Who is not the peer: what strangers send to the ports of a call changes nothing in it.

use super::super::dtls::Association;
use super::*;
use crate::border::SideSpec;

const STRANGER: &str = "203.0.113.66:1";

/// Before the phone speaks, a stranger sends what the phone behind a NAT would send.
#[test]
fn a_stranger_that_is_first_gives_way_to_the_announced_address() {
    let mut w = World::new(60);
    w.call(&CALL);
    w.run(seconds(3));
    let stranger = address(STRANGER);
    let spray = |w: &mut World, first: u16| {
        for n in first..first + 2 {
            let packet = rtp_packet(0, n, u32::from(n) * 160, 66, &sound(n));
            w.put(stranger, gateway(0), packet);
            w.run(FRAME);
        }
    };
    spray(&mut w, 500);
    let before = count(&w.heard(1));
    w.speak(0, 10, 0);
    assert_eq!(count(&w.heard(1)) - before, 10);
    w.phones.clear();
    w.speak(1, 10, 0);
    assert_eq!(count(&w.heard(0)), 10);
    assert!(!w.phones.contains_key(&stranger));
    // From then on the kernel keeps others away, and so do we.
    let leg = w.nodes[0].sockets.values().find(|s| s.0 == gateway(0));
    assert_eq!(leg.unwrap().1, Some(phone(0)));
    spray(&mut w, 600);
    w.speak(1, 5, 10);
    assert_eq!(count(&w.heard(0)), 15);
    // RTCP, too, goes where the phone is.
    w.run(seconds(10));
    assert!(!w.phones.contains_key(&stranger));
    w.close();
}

/// The legs of both nodes speak DTLS with each other, ports to ports.
fn dtls_leg(w: &World, n: usize, client: usize) -> SideSpec {
    let mut side = phone_side(n);
    if let SideTransport::Rtp(rtp) = &mut side.transport {
        rtp.remote = Some(gateway(1 - n));
        rtp.rtcp_mux = true;
        rtp.keys = RtpKeys::Dtls {
            client: n == client,
            remote: w.nodes[1 - n].certificate.fingerprint(Setup::Actpass),
        };
    }
    side
}

fn assert_keyed(w: &mut World) {
    for n in 0..2 {
        let failed = |e: &&MediaEvent| matches!(e, MediaEvent::Failed { .. });
        assert_eq!(w.nodes[n].events.iter().find(failed), None, "{n}");
        let state = w.nodes[n].media.side(0, Side::Caller).unwrap();
        assert!(state.rtp.protection.is_ready(), "{n}");
        assert_eq!(state.rtp.target().unwrap().1, gateway(1 - n));
    }
}

/// close_notify in the clear, and records that are none.
fn nuisances() -> Vec<Vec<u8>> {
    let record = |content: u8, sequence: u8, body: &[u8]| {
        let mut record = vec![content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence, 0];
        record.push(body.len() as u8);
        record.extend_from_slice(body);
        record
    };
    let junk = (1..100).map(|n| record(22, n, &[77; 20]));
    std::iter::once(record(21, 0, &[1, 0]))
        .chain(junk)
        .collect()
}

#[test]
fn datagrams_of_a_stranger_do_not_end_a_handshake() {
    for client in 0..2 {
        let mut w = World::new(61);
        let stranger = address(STRANGER);
        let side = dtls_leg(&w, 0, client);
        w.configure(0, Side::Caller, side);
        let annoy = |w: &mut World| {
            for datagram in nuisances() {
                w.put(stranger, gateway(0), datagram);
            }
        };
        // Before the peer is there, and while it shakes hands.
        w.run(Duration::from_millis(100));
        annoy(&mut w);
        w.run(Duration::from_millis(100));
        let side = dtls_leg(&w, 1, client);
        w.configure(1, Side::Caller, side);
        for _ in 0..100 {
            w.run(LATENCY);
            annoy(&mut w);
        }
        w.run(seconds(3));
        assert_keyed(&mut w);
        assert!(!w.phones.contains_key(&stranger), "client {client}");
        w.close();
    }
}

/// As if the stranger were the peer, behind a NAT.
#[test]
fn a_handshake_of_a_stranger_is_forgotten() {
    for client in 0..2 {
        let mut w = World::new(62);
        let stranger = address(STRANGER);
        let side = dtls_leg(&w, 0, client);
        w.configure(0, Side::Caller, side);
        let mut third = Association::new(w.now, &certificate(0), client != 0);
        for _ in 0..20 {
            while let Some(bytes) = third.poll_transmit() {
                w.put(stranger, gateway(0), bytes);
            }
            w.run(LATENCY * 2);
            for bytes in w.phones.remove(&stranger).unwrap_or_default() {
                third.handle(w.now, &bytes);
            }
        }
        assert_eq!(third.is_done(), client == 1);
        // Another one only begins, and stays silent.
        let mut fourth = Association::new(w.now, &certificate(0), true);
        let hello = fourth.poll_transmit().unwrap();
        w.put(stranger, gateway(0), hello);
        w.run(LATENCY * 2);
        let side = dtls_leg(&w, 1, client);
        w.configure(1, Side::Caller, side);
        w.run(seconds(3));
        assert_keyed(&mut w);
        w.close();
    }
}

/// The peer is behind a NAT, and a stranger has begun a handshake before it.
#[test]
fn a_phone_behind_nat_shakes_hands_after_a_stranger() {
    let mut w = World::new(63);
    let mut side = dtls_leg(&w, 0, 1);
    if let SideTransport::Rtp(rtp) = &mut side.transport {
        rtp.remote = Some(address("10.0.0.9:7000"));
    }
    w.configure(0, Side::Caller, side);
    let mut stranger = Association::new(w.now, &certificate(0), true);
    let hello = stranger.poll_transmit().unwrap();
    w.put(address(STRANGER), gateway(0), hello);
    w.run(LATENCY * 2);
    let side = dtls_leg(&w, 1, 1);
    w.configure(1, Side::Caller, side);
    w.run(seconds(6));
    for n in 0..2 {
        let state = w.nodes[n].media.side(0, Side::Caller).unwrap();
        assert!(state.rtp.protection.is_ready(), "{n}");
    }
    w.close();
}
