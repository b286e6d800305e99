//! Peers that have agreed on several encodings, and send any of them (RFC 3264 §6.1, §7).

use super::*;
use crate::border::{Encoded, Format};

/// Phone 0 has agreed on PCMU and PCMA, and on Opus if it likes; all else speaks PCMU.
fn call(w: &mut World) {
    w.call(&CALL);
    let mut side = phone_side(0);
    let also = |payload_type, encoding: &str, clock_hz| Encoded {
        payload_type,
        encoding: encoding.into(),
        clock_hz,
    };
    side.format = Some(Format {
        receive_also: vec![also(8, "PCMA", 8_000), also(111, "OPUS", 48_000)],
        ..pcmu()
    });
    w.configure(0, Side::Caller, side);
    w.run(seconds(3));
}

/// Phone 0 sends so many frames from `from`.
fn send(w: &mut World, from: SocketAddr, payload_type: u8, start: u16, frames: u16) {
    for at in start..start + frames {
        let packet = rtp_packet(payload_type, at, u32::from(at) * 160, 7, &sound(at));
        w.put(from, gateway(0), packet);
        w.run(FRAME);
    }
}

#[test]
fn every_encoding_of_an_answer_is_heard_from_its_first_packet_on() {
    let mut w = World::new(50);
    call(&mut w);
    send(&mut w, phone(0), 8, 500, 20);
    let heard = w.heard(1);
    let table = g711::Law::A.mapped_to(g711::Law::Mu);
    let mapped = |n: u16| -> Vec<u8> {
        let sent = sound(n).into_iter();
        sent.map(|byte| table[usize::from(byte)]).collect()
    };
    let payloads: Vec<_> = heard.iter().map(|(_, p)| p.clone()).collect();
    assert_eq!(payloads, (500..520).map(mapped).collect::<Vec<_>>());
    assert!(heard.iter().all(|(header, _)| header.payload_type == 0));
    // It goes over to the other one, and hears what it heard all along.
    w.run(seconds(2));
    send(&mut w, phone(0), 0, 620, 20);
    w.speak(1, 5, 100);
    let heard = w.heard(1);
    assert_eq!(heard.len(), 40);
    assert_eq!(heard[20].1, sound(620));
    assert!(
        heard
            .windows(2)
            .all(|w| w[0].0.sequence != w[1].0.sequence && w[0].0.ssrc == w[1].0.ssrc)
    );
    assert!(
        w.heard(0)
            .iter()
            .all(|(header, _)| header.payload_type == 0)
    );
    assert_eq!(w.heard(0).len(), 5);
    w.close();
}

#[test]
fn an_encoding_that_the_other_side_has_not_is_transcoded_as_it_comes() {
    use crate::media::codec::{Coding, Encoder};
    use crate::media::tone::Tone;
    let mut w = World::new(51);
    call(&mut w);
    let mut encoder = Encoder::new(Coding::Opus, 8_000, false).unwrap();
    let mut tone = Tone::sine(440.0);
    for at in 0..50u16 {
        let samples: Vec<i16> = tone.by_ref().take(160).collect();
        let mut payload = [0; 500];
        let len = encoder.encode(&samples, &mut payload).unwrap();
        let packet = rtp_packet(111, 500 + at, u32::from(at) * 960, 7, &payload[..len]);
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    }
    let heard = w.heard(1);
    assert!((40..=50).contains(&heard.len()), "{}", heard.len());
    assert!(
        heard
            .iter()
            .all(|(h, p)| h.payload_type == 0 && p.len() == 160)
    );
    // The way back to the law that passes through leaves nothing armed.
    w.run(seconds(2));
    let before = w.heard(1).len();
    send(&mut w, phone(0), 0, 700, 10);
    assert_eq!(w.heard(1).len(), before + 10);
    w.close();
}

#[test]
fn a_peer_that_changes_its_encoding_with_each_packet_is_not_followed() {
    let mut w = World::new(52);
    call(&mut w);
    for at in 0..25u16 {
        send(&mut w, phone(0), [0, 8][usize::from(at % 2)], 500 + at, 1);
    }
    // The first of PCMU, and from the first of PCMA on that alone, for a second.
    assert_eq!(w.heard(1).len(), 13);
    w.close();
}

/// Two packets of one stream tell where a telephone behind a NAT is, whatever they hold.
#[test]
fn a_packet_of_a_codec_that_was_not_agreed_on_still_tells_where_the_peer_is() {
    let mut w = World::new(53);
    call(&mut w);
    let outside = address("203.0.113.7:4711");
    send(&mut w, outside, 18, 500, 3);
    assert_eq!(w.heard(1).len(), 0);
    w.speak(1, 5, 100);
    let found = w.phones.get(&outside).map(Vec::len);
    assert_eq!(found, Some(5));
    w.close();
}
