//! Pictures beside sound: phone A, node 0, one ICE transport for both, node 1, phone B.

use super::super::rtcp::{Compound, Packet, Packets, TO_PAYLOAD, TO_TRANSPORT};
use super::*;
use crate::border::{Format, SideSpec};

const PICTURES: BridgeId = BridgeId(ID.0 | 1 << 63);
/// What phone `n` calls VP8, and what the nodes call it between them.
const NUMBERS: [u8; 2] = [100, 120];
const BETWEEN: u8 = 96;

fn camera(n: usize) -> SocketAddr {
    address(&format!("198.51.100.{}:6000", n + 1))
}

fn camera_rtcp(n: usize) -> SocketAddr {
    address(&format!("198.51.100.{}:6001", n + 1))
}

fn node(n: usize) -> SocketAddr {
    address(&format!("192.0.2.{}:20002", n + 1))
}

fn node_rtcp(n: usize) -> SocketAddr {
    address(&format!("192.0.2.{}:20003", n + 1))
}

fn vp8(number: u8) -> Format {
    Format {
        encoding: "VP8".into(),
        clock_hz: 90_000,
        send_payload_type: number,
        receive_payload_type: number,
        send_digits: None,
        receive_digits: Vec::new(),
        ..pcmu()
    }
}

fn direct(n: usize) -> SideSpec {
    let mut spec = phone_side(n);
    if let SideTransport::Rtp(rtp) = &mut spec.transport {
        rtp.port = node(n).port();
        rtp.remote = Some(camera(n));
    }
    SideSpec {
        format: Some(vp8(NUMBERS[n])),
        ..spec
    }
}

fn bundled() -> SideSpec {
    SideSpec {
        transport: SideTransport::Bundled(ID),
        format: Some(vp8(BETWEEN)),
        ..phone_side(0)
    }
}

impl World {
    fn configure_pictures(&mut self, n: usize, side: Side, spec: SideSpec) {
        let command = MediaCommand::Configure {
            bridge: PICTURES,
            side,
            spec: Box::new(spec),
        };
        self.nodes[n].media.command(self.now, command);
        self.collect(n);
    }

    fn video_call(seed: u8) -> Self {
        let mut w = Self::new(seed);
        w.call(&CALL);
        for n in 0..2 {
            w.configure_pictures(n, Side::Caller, direct(n));
            w.configure_pictures(n, Side::Callee, bundled());
        }
        w.run(seconds(3));
        w
    }

    /// Phone `n` shows pictures of three packets each, the last one marked.
    fn show(&mut self, n: usize, pictures: u16, start: u16) {
        for at in 0..pictures {
            for part in 0..3 {
                let number = start + 3 * at + part;
                let stamp = u32::from(at) * 3_000;
                let mut packet = rtp_packet(NUMBERS[n], number, stamp, 70, &sound(number));
                packet[1] |= u8::from(part == 2) << 7;
                self.put(camera(n), node(n), packet);
            }
            self.run(Duration::from_millis(33));
        }
    }

    fn seen(&self, n: usize) -> Vec<(Header, Vec<u8>)> {
        let all = self.phones.get(&camera(n)).into_iter().flatten();
        all.map(|p| {
            let header = Header::parse(p).unwrap();
            (header, header.payload(p).to_vec())
        })
        .collect()
    }

    fn close_pictures(&mut self) {
        for n in 0..2 {
            let command = MediaCommand::Close { bridge: PICTURES };
            self.nodes[n].media.command(self.now, command);
            self.collect(n);
        }
    }

    fn asks(&mut self, n: usize, write: impl Fn(&mut Compound<'_>)) {
        let mut buffer = [0; 256];
        let mut compound = Compound::new(&mut buffer);
        compound.report(71, None, &[]);
        write(&mut compound);
        let len = compound.finish();
        self.put(camera_rtcp(n), node_rtcp(n), buffer[..len].to_vec());
        self.run(FRAME * 2);
    }

    /// The feedback that phone `n` got: type, format, stream, details.
    fn asked(&self, n: usize) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let all = self.phones.get(&camera_rtcp(n)).into_iter().flatten();
        let packets = all.flat_map(|p| Packets::parse(p).unwrap());
        packets
            .filter_map(|packet| match packet {
                Packet::Feedback {
                    packet_type,
                    format,
                    media,
                    fci,
                    ..
                } => Some((packet_type, format, media, fci.to_vec())),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn pictures_pass_both_ways_beside_the_sound() {
    let mut w = World::video_call(1);
    for n in 0..2 {
        w.show(n, 20, 100);
        w.speak(n, 20, 500);
    }
    for (n, number) in NUMBERS.into_iter().enumerate() {
        let seen = w.seen(n);
        let payloads: Vec<_> = seen.iter().map(|(_, p)| p.clone()).collect();
        assert!(payloads == (100..160).map(sound).collect::<Vec<_>>());
        for (at, (header, _)) in seen.iter().enumerate() {
            assert_eq!(header.payload_type, number);
            assert_eq!(header.marker, at % 3 == 2, "the marker ends a picture");
            assert_eq!(header.ssrc, seen[0].0.ssrc);
        }
        assert!(seen.windows(2).all(|w| {
            w[1].0.sequence == w[0].0.sequence.wrapping_add(1)
                && matches!(w[1].0.timestamp.wrapping_sub(w[0].0.timestamp), 0 | 3_000)
        }));
        assert_eq!(count(&w.heard(n)), 20, "and the sound is whole");
    }
    // Reports of both streams come back on the one transport.
    w.run(seconds(10));
    for n in 0..2 {
        for slot in 0..2 {
            let stats = w.nodes[n].media.side(slot, Side::Callee).unwrap().stats;
            assert!(stats.round_trip.is_some(), "{n} {slot}");
            assert_eq!(stats.dropped, 0);
        }
    }
    w.close_pictures();
    w.close();
}

#[test]
fn who_sees_nothing_gets_a_new_picture() {
    let mut w = World::video_call(2);
    w.show(0, 2, 100);
    let shown = w.seen(1)[0].0;
    let nobody = shown.ssrc ^ 1;
    w.asks(1, |to| to.feedback(TO_PAYLOAD, 1, 71, nobody, &[]));
    assert_eq!(w.asked(0), [], "whose stream is not ours");
    w.asks(1, |to| to.feedback(TO_PAYLOAD, 1, 71, shown.ssrc, &[]));
    let fir = [&shown.ssrc.to_be_bytes()[..], &[5, 0, 0, 0]].concat();
    w.asks(1, |to| to.feedback(TO_PAYLOAD, 4, 71, 0, &fir));
    // The third packet is missing, and of the 16 behind it the second.
    let third = shown.sequence.wrapping_add(2).to_be_bytes();
    let nack = [&third[..], &[0, 2]].concat();
    w.asks(1, |to| to.feedback(TO_TRANSPORT, 1, 71, shown.ssrc, &nack));
    assert_eq!(
        w.asked(0),
        [
            (TO_PAYLOAD, 1, 70, vec![]),
            (TO_PAYLOAD, 4, 0, vec![0, 0, 0, 70, 5, 0, 0, 0]),
            (TO_TRANSPORT, 1, 70, vec![0, 102, 0, 2]),
        ]
    );
    w.close_pictures();
    w.close();
}

#[test]
fn the_older_way_to_ask_for_a_picture_is_understood() {
    let mut w = World::video_call(3);
    w.show(0, 2, 100);
    let [a, b, c, d] = w.seen(1)[0].0.ssrc.to_be_bytes();
    w.put(
        camera_rtcp(1),
        node_rtcp(1),
        vec![0x80, 192, 0, 1, a, b, c, d],
    );
    w.run(FRAME * 2);
    assert_eq!(w.asked(0), [(TO_PAYLOAD, 1, 70, vec![])]);
    w.close_pictures();
    w.close();
}

#[test]
fn sound_is_the_same_without_pictures_without_their_peer_and_after_them() {
    let mut w = World::video_call(4);
    w.show(0, 2, 100);
    // The other phone has no pictures any more: nothing is forwarded, the gap is not seen.
    let mut held = direct(1);
    held.send = false;
    w.configure_pictures(1, Side::Caller, held);
    w.show(0, 10, 106);
    w.speak(0, 10, 5);
    assert_eq!((count(&w.seen(1)), count(&w.heard(1))), (6, 10));
    w.configure_pictures(1, Side::Caller, direct(1));
    w.show(0, 1, 136);
    let seen = w.seen(1);
    assert_eq!(seen[6].0.sequence, seen[5].0.sequence.wrapping_add(1));
    w.close_pictures();
    w.show(0, 5, 142);
    w.speak(0, 10, 15);
    assert_eq!((count(&w.seen(1)), count(&w.heard(1))), (9, 20));
    assert_eq!(w.nodes[0].media.census().bridges, 1);
    // Again, and the sound goes first.
    for n in 0..2 {
        w.configure_pictures(n, Side::Caller, direct(n));
        w.configure_pictures(n, Side::Callee, bundled());
    }
    w.show(0, 2, 200);
    assert_eq!(count(&w.seen(1)), 15);
    for n in 0..2 {
        let command = MediaCommand::Close { bridge: ID };
        w.nodes[n].media.command(w.now, command);
        w.collect(n);
    }
    w.show(0, 2, 206);
    assert_eq!(count(&w.seen(1)), 15);
    w.close_pictures();
    assert_eq!(w.nodes[0].media.census(), Census::default());
}

#[test]
fn a_side_that_gets_a_transport_of_its_own_and_back_leaves_nothing_behind() {
    let mut w = World::video_call(6);
    w.show(0, 1, 100);
    assert_eq!(count(&w.seen(1)), 3);
    let apart = Call {
        generation: 7,
        ..CALL
    };
    let mut own = w.ice(0, &apart);
    if let SideTransport::Ice(ice) = &mut own.transport {
        ice.remote = None;
    }
    own.format = Some(vp8(BETWEEN));
    w.configure_pictures(0, Side::Callee, own);
    // What comes by the sound's transport is no picture then, and nothing goes out by it.
    w.show(0, 1, 103);
    w.show(1, 1, 103);
    assert_eq!((count(&w.seen(1)), count(&w.seen(0))), (3, 0));
    w.configure_pictures(0, Side::Callee, bundled());
    w.show(0, 1, 106);
    w.show(1, 1, 106);
    assert_eq!((count(&w.seen(1)), count(&w.seen(0))), (6, 3));
    w.speak(0, 5, 7);
    assert_eq!(count(&w.heard(1)), 5);
    w.close_pictures();
    w.close();
}

#[test]
fn no_feedback_makes_the_room_panic_or_answer_twice() {
    let mut w = World::video_call(5);
    w.show(0, 2, 100);
    let ours = w.seen(1)[0].0.ssrc;
    for _ in 0..2_000 {
        let mut fci = vec![0; 4 * w.tokens.below(12) as usize];
        w.tokens.fill(&mut fci);
        let kind = [TO_PAYLOAD, TO_TRANSPORT][w.tokens.below(2) as usize];
        let format = w.tokens.below(32) as u8;
        let media = [ours, 0, 70][w.tokens.below(3) as usize];
        let before = count(w.phones.get(&camera_rtcp(0)).map_or(&[], |p| p));
        w.asks(1, |to| {
            for _ in 0..3 {
                to.feedback(kind, format, 71, media, &fci);
            }
        });
        let all = w.phones.get(&camera_rtcp(0)).map_or(&[][..], |p| p);
        let feedback = |p: &&Vec<u8>| {
            let mut packets = Packets::parse(p).unwrap();
            packets.any(|p| matches!(p, Packet::Feedback { .. }))
        };
        assert!(all[before..].iter().filter(feedback).count() <= 1);
    }
    w.close_pictures();
    w.close();
}
