//! Calls whose sides share no encoding, through two workers.

use super::*;
use crate::border::Format;
use crate::media::codec::{Coding, Decoder, Encoder, MAX_SAMPLES};
use crate::media::tone::{Tone, energy_share};

fn format(encoding: &str, payload_type: u8) -> Format {
    let clock_hz = if encoding == "OPUS" { 48_000 } else { 8_000 };
    Format {
        encoding: encoding.into(),
        clock_hz,
        send_payload_type: payload_type,
        receive_payload_type: payload_type,
        send_digits: Some((110, clock_hz)),
        receive_digits: vec![(110, clock_hz)],
        fec: true,
        ..pcmu()
    }
}

/// A call whose phones speak `phones`, and whose link between the workers speaks `link`.
fn call(w: &mut World, phones: [&str; 2], link: &str) {
    for (n, encoding) in phones.into_iter().enumerate() {
        let mut side = phone_side(n);
        side.format = Some(format(encoding, 8));
        w.configure(n, Side::Caller, side);
        let mut ice = w.ice(n, &CALL);
        ice.format = Some(format(link, 111));
        w.configure(n, Side::Callee, ice);
    }
    w.run(seconds(3));
}

/// Phone `n` plays a tone for so many frames.
fn play(w: &mut World, n: usize, encoding: &str, frames: u16) {
    let mut encoder = Encoder::new(Coding::of(encoding).unwrap(), 8_000, true).unwrap();
    let mut tone = Tone::sine(440.0);
    let clock = if encoding == "OPUS" { 960 } else { 160 };
    let source = w.count as u32;
    for at in 0..frames {
        let samples: Vec<i16> = tone.by_ref().take(160).collect();
        let mut payload = [0; 500];
        let len = encoder.encode(&samples, &mut payload).unwrap();
        let packet = rtp_packet(8, 500 + at, u32::from(at) * clock, source, &payload[..len]);
        w.put(phone(n), gateway(n), packet);
        w.run(FRAME);
    }
    w.run(seconds(1));
}

/// What phone `n` heard, in samples.
fn samples(w: &World, n: usize, encoding: &str) -> Vec<i16> {
    let mut decoder = Decoder::new(Coding::of(encoding).unwrap(), 8_000).unwrap();
    let mut all = Vec::new();
    let mut room = [0; MAX_SAMPLES];
    for (header, payload) in w.heard(n) {
        if header.payload_type == 8 {
            let count = decoder.decode(&payload, &mut room).unwrap();
            all.extend_from_slice(&room[..count]);
        }
    }
    all
}

#[test]
fn a_tone_goes_through_every_pair_of_encodings() {
    for (phones, link) in [
        (["PCMU", "PCMA"], "OPUS"),
        (["PCMU", "PCMA"], "G722"),
        (["PCMU", "PCMA"], "PCMA"),
        (["OPUS", "PCMU"], "G722"),
        (["OPUS", "PCMU"], "PCMA"),
    ] {
        let mut w = World::new(30);
        call(&mut w, phones, link);
        for n in 0..2 {
            play(&mut w, n, phones[n], 100);
            let other = 1 - n;
            let heard = w.heard(other);
            assert!(heard.windows(2).all(|w| {
                w[0].0.ssrc == w[1].0.ssrc && w[1].0.sequence == w[0].0.sequence.wrapping_add(1)
            }));
            let step = |w: &[(Header, Vec<u8>)]| w[1].0.timestamp.wrapping_sub(w[0].0.timestamp);
            let clock = if phones[other] == "OPUS" { 960 } else { 160 };
            assert!(
                heard.windows(2).all(|w| step(w) == clock),
                "{phones:?} {link}"
            );
            let sound = samples(&w, other, phones[other]);
            let share = energy_share(&sound[4_000..14_000], 440.0);
            assert!(share > 0.98, "{phones:?} over {link}: {share}");
        }
        w.close();
        let closed = w.nodes[0].events.iter().rev().find_map(|e| match e {
            MediaEvent::Closed { stats, .. } => Some(**stats),
            _ => None,
        });
        let transcoded = closed.unwrap().caller.transcode;
        let laws = |encoding: &str| encoding.starts_with("PCM");
        assert_eq!(transcoded.is_some(), !(laws(phones[0]) && laws(link)));
        if let Some(stats) = transcoded {
            assert!(stats.delay < Duration::from_millis(30), "{stats:?}");
            assert_eq!(stats.late, 0, "{stats:?}");
        }
    }
}

#[test]
fn a_lossy_link_of_opus_is_mended_by_its_fec() {
    let mut w = World::new(31);
    call(&mut w, ["PCMU", "PCMU"], "OPUS");
    // The phones' wires lose as much: what is mended is the link's share of it.
    w.loss = 3;
    play(&mut w, 0, "PCMU", 1_000);
    w.loss = 0;
    w.close();
    let closed = w.nodes[1].events.iter().rev().find_map(|e| match e {
        MediaEvent::Closed { stats, .. } => Some(**stats),
        _ => None,
    });
    let callee = closed.unwrap().callee;
    let stats = callee.transcode.unwrap();
    assert!(callee.lost >= 10, "{callee:?}");
    assert!(stats.recovered * 2 >= callee.lost, "{callee:?}");
}

#[test]
fn keys_go_through_between_transcoded_sound() {
    let mut w = World::new(32);
    call(&mut w, ["PCMU", "OPUS"], "G722");
    play(&mut w, 0, "PCMU", 10);
    for (n, (duration, end)) in [(160u16, 0u8), (320, 0x80), (320, 0x80)]
        .into_iter()
        .enumerate()
    {
        let [high, low] = duration.to_be_bytes();
        let block = [5, end | 10, high, low];
        let packet = rtp_packet(110, 510 + n as u16, 80_000, 1, &block);
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    }
    let heard = w.heard(1);
    let keys: Vec<_> = heard
        .iter()
        .filter(|(h, _)| h.payload_type == 110)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|(h, _)| h.timestamp == keys[0].0.timestamp));
    // 320 of 8 kHz are 1920 of 48 kHz.
    assert_eq!(keys[2].1, [5, 0x8a, 7, 128]);
    assert!(
        heard
            .windows(2)
            .all(|w| w[1].0.sequence == w[0].0.sequence.wrapping_add(1))
    );
    w.close();
}

#[test]
fn a_side_that_changes_its_encoding_is_transcoded_from_then_on_and_back() {
    let mut w = World::new(33);
    call(&mut w, ["PCMU", "PCMU"], "PCMU");
    play(&mut w, 0, "PCMU", 20);
    let mut other = phone_side(1);
    other.format = Some(format("OPUS", 8));
    w.configure(1, Side::Caller, other.clone());
    play(&mut w, 0, "PCMU", 20);
    other.format = Some(format("PCMU", 8));
    w.configure(1, Side::Caller, other);
    play(&mut w, 0, "PCMU", 20);
    let heard = w.heard(1);
    assert!(heard.len() >= 60, "{}", heard.len());
    assert!(heard.windows(2).all(|w| {
        w[0].0.ssrc == w[1].0.ssrc && w[1].0.sequence == w[0].0.sequence.wrapping_add(1)
    }));
    w.close();
}

#[test]
fn a_side_on_hold_is_sent_nothing() {
    let mut w = World::new(34);
    call(&mut w, ["PCMU", "PCMU"], "OPUS");
    play(&mut w, 0, "PCMU", 20);
    let before = w.heard(1).len();
    let mut held = phone_side(1);
    held.format = Some(format("PCMU", 8));
    held.send = false;
    w.configure(1, Side::Caller, held.clone());
    play(&mut w, 0, "PCMU", 20);
    assert_eq!(w.heard(1).len(), before);
    held.send = true;
    w.configure(1, Side::Caller, held);
    play(&mut w, 0, "PCMU", 20);
    let heard = w.heard(1);
    assert!(heard.len() >= before + 20);
    assert!(
        heard
            .windows(2)
            .all(|w| w[1].0.sequence == w[0].0.sequence.wrapping_add(1))
    );
    w.close();
}

/// A call in PCMU; `noise` says what phone 1 takes comfort noise as, phone 0 always sends it as 13.
fn with_noise(w: &mut World, noise: Option<u8>, law: &str) {
    for n in 0..2 {
        let mut side = phone_side(n);
        side.format = Some(Format {
            encoding: if n == 0 { "PCMU" } else { law }.into(),
            receive_noise: Some(13),
            send_noise: if n == 0 { None } else { noise },
            ..pcmu()
        });
        w.configure(n, Side::Caller, side);
        let mut ice = w.ice(n, &CALL);
        ice.format = Some(Format {
            send_noise: Some(13),
            receive_noise: Some(13),
            ..pcmu()
        });
        w.configure(n, Side::Callee, ice);
    }
    w.run(seconds(3));
}

/// Phone 0 sends ten frames of sound, tells of a pause, and speaks again after half a second.
fn pauses(w: &mut World) {
    let mut sequence = 500;
    for at in (0..10).chain(35..45) {
        let packet = rtp_packet(0, sequence, at * 160, 7, &sound(sequence));
        w.put(phone(0), gateway(0), packet);
        sequence += 1;
        w.run(FRAME);
        if at == 9 {
            let packet = rtp_packet(13, sequence, 1_600, 7, &[50]);
            w.put(phone(0), gateway(0), packet);
            sequence += 1;
            w.run(25 * FRAME);
        }
    }
    w.run(seconds(1));
}

#[test]
fn comfort_noise_passes_to_whom_takes_it_under_its_own_number() {
    for law in ["PCMU", "PCMA"] {
        let mut w = World::new(34);
        with_noise(&mut w, Some(98), law);
        pauses(&mut w);
        let heard = w.heard(1);
        assert_eq!(heard.len(), 21);
        let noise = &heard[10];
        assert_eq!((noise.0.payload_type, noise.1.as_slice()), (98, &[50][..]));
        assert!(
            heard
                .windows(2)
                .all(|pair| { pair[1].0.sequence == pair[0].0.sequence.wrapping_add(1) })
        );
        let place = |n: usize| heard[n].0.timestamp.wrapping_sub(heard[0].0.timestamp);
        assert_eq!(
            (place(10), place(11), place(20)),
            (1_600, 35 * 160, 44 * 160)
        );
        w.close();
    }
}

#[test]
fn comfort_noise_is_made_audible_to_whom_takes_none() {
    for law in ["PCMU", "PCMA"] {
        let mut w = World::new(35);
        with_noise(&mut w, None, law);
        pauses(&mut w);
        let heard = w.heard(1);
        assert!(heard.iter().all(|(header, _)| header.payload_type == 0));
        assert!(heard.windows(2).all(|pair| {
            pair[0].0.ssrc == pair[1].0.ssrc
                && pair[1].0.sequence == pair[0].0.sequence.wrapping_add(1)
        }));
        // Ten frames, then noise without a hole, then ten more, and what is made up of the end.
        assert!((69..=72).contains(&heard.len()), "{}", heard.len());
        let decoded = |n: usize| -> Vec<i16> {
            let law = g711::Law::from_encoding(law).unwrap();
            heard[n].1.iter().map(|byte| law.decode(*byte)).collect()
        };
        for n in 15..30 {
            let level = codec::noise::level_of(&decoded(n));
            assert!(level.abs_diff(50) <= 2, "{n}: {level}");
        }
        assert_eq!(heard[heard.len() - 1].1.len(), 160);
        w.close();
    }
}

#[test]
fn a_pause_of_opus_goes_out_as_noise_and_a_key_in_it_is_heard() {
    let mut w = World::new(36);
    call(&mut w, ["OPUS", "PCMU"], "OPUS");
    let mut side = phone_side(1);
    side.format = Some(Format {
        send_noise: Some(13),
        ..format("PCMU", 8)
    });
    w.configure(1, Side::Caller, side);
    let silence = [0; 160];
    let mut encoder = Encoder::new(Coding::Opus, 8_000, true).unwrap();
    let mut payload = [0; 500];
    let len = encoder.encode(&silence, &mut payload).unwrap();
    let mut sequence = 500;
    let mut put = |w: &mut World, payload_type, place: u32, payload: &[u8]| {
        let packet = rtp_packet(payload_type, sequence, place * 960, 7, payload);
        sequence += 1;
        w.put(phone(0), gateway(0), packet);
        w.run(FRAME);
    };
    for place in 0..10 {
        put(&mut w, 8, place, &payload[..len]);
    }
    // Only the table of contents: DTX.
    put(&mut w, 8, 10, &payload[..1]);
    w.run(5 * FRAME);
    for (n, end) in [0u8, 0x80, 0x80].into_iter().enumerate() {
        let [high, low] = (960 * (n as u16 + 1)).min(1_920).to_be_bytes();
        put(&mut w, 110, 16, &[5, end | 10, high, low]);
    }
    w.run(10 * FRAME);
    for place in 30..40 {
        put(&mut w, 8, place, &payload[..len]);
    }
    w.run(seconds(1));
    let heard = w.heard(1);
    let of = |payload_type: u8| {
        heard
            .iter()
            .filter(move |(h, _)| h.payload_type == payload_type)
    };
    assert!((1..4).contains(&of(13).count()));
    assert_eq!(of(110).count(), 3);
    assert!(of(13).all(|(h, payload)| !h.marker && payload.len() == 1 && payload[0] > 70));
    assert!(
        heard
            .windows(2)
            .all(|pair| { pair[1].0.sequence == pair[0].0.sequence.wrapping_add(1) })
    );
    // What is made up of the end is sound.
    assert!((43..=46).contains(&of(8).count()), "{}", of(8).count());
    w.close();
}
