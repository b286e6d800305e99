//! Transcoding by itself: how it sounds, what loss does to it, and that its packets come as agreed.

use super::super::g711::Law;
use super::*;
use crate::id::TokenMaker;

const FRAME: Duration = Duration::from_millis(20);
const RATE: usize = 8_000;

/// Like speech: a buzz of a wandering pitch through three wandering resonances, in syllables with
/// pauses between.
fn speech(seconds: usize, rate: usize) -> Vec<i16> {
    let mut state = [[0.0f64; 2]; 3];
    let (mut phase, mut seed) = (0.0f64, 1u32);
    (0..seconds * rate)
        .map(|i| {
            let t = i as f64 / rate as f64;
            let wave = |hz: f64| (std::f64::consts::TAU * hz * t).sin();
            phase += (120.0 + 25.0 * wave(0.7) + 8.0 * wave(4.1)) / rate as f64;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let breath = f64::from((seed >> 16) as i16) / 32_768.0 * 0.01;
            let formants = [
                (500.0 + 200.0 * wave(1.3), 80.0),
                (1_500.0 + 500.0 * wave(0.9), 120.0),
                (2_500.0 + 200.0 * wave(1.7), 180.0),
            ];
            let mut sample = pulse + breath;
            for ((hz, width), past) in formants.into_iter().zip(&mut state) {
                let radius = (-std::f64::consts::PI * width / rate as f64).exp();
                let turn = (std::f64::consts::TAU * hz / rate as f64).cos();
                let out = sample + 2.0 * radius * turn * past[0] - radius * radius * past[1];
                *past = [out, past[0]];
                sample = out * 0.3;
            }
            let syllable = (wave(1.6).max(-0.2) + 0.2) / 1.2;
            (sample * syllable * 24_000.0).clamp(-30_000.0, 30_000.0) as i16
        })
        .collect()
}

/// Mean of the signal-to-noise ratio over frames with sound, in dB, each within -10 to 35, at the
/// shift that fits best.
fn segmental_snr(original: &[i16], heard: &[i16]) -> f64 {
    let at = |range: std::ops::Range<usize>, shift: usize| {
        let shifted = &heard[(range.start + shift).min(heard.len())..];
        let pairs = original[range]
            .chunks_exact(160)
            .zip(shifted.chunks_exact(160));
        let ratios: Vec<f64> = pairs
            .filter_map(|(a, b)| {
                let energy: f64 = a.iter().map(|s| f64::from(*s).powi(2)).sum();
                let difference = |(a, b): (&i16, &i16)| (f64::from(*a) - f64::from(*b)).powi(2);
                let noise: f64 = a.iter().zip(b).map(difference).sum();
                let loud = energy > 160.0 * 200.0 * 200.0;
                loud.then(|| (10.0 * (energy / noise.max(1.0)).log10()).clamp(-10.0, 35.0))
            })
            .collect();
        ratios.iter().sum::<f64>() / ratios.len() as f64
    };
    // One second shows the shift.
    let second = original.len() / 2..original.len() / 2 + 8_000;
    let best = (0..800)
        .map(|shift| (at(second.clone(), shift), shift))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    at(0..original.len(), best.unwrap().1)
}

fn format(encoding: &str, ptime_ms: u16) -> Format {
    Format {
        encoding: encoding.to_owned(),
        clock_hz: if encoding == "OPUS" { 48_000 } else { 8_000 },
        send_payload_type: 0,
        receive_payload_type: 0,
        receive_also: Vec::new(),
        send_digits: None,
        receive_digits: Vec::new(),
        send_noise: None,
        receive_noise: Some(13),
        ptime_ms,
        fec: true,
    }
}

/// Packets of `samples`, as a peer of this encoding sends them.
fn packets(encoding: &str, samples: &[i16], rate: usize, ptime_ms: usize) -> Vec<Vec<u8>> {
    let coding = Coding::of(encoding).unwrap();
    let mut encoder = Encoder::new(coding, rate as u32, true).unwrap();
    let encode = |frame: &[i16]| {
        let mut packet = vec![0; 1_500];
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet.truncate(len);
        packet
    };
    samples
        .chunks_exact(rate * ptime_ms / 1_000)
        .map(encode)
        .collect()
}

struct Made {
    packets: Vec<(Duration, Vec<u8>, Frame)>,
    stats: TranscodeStats,
}

/// Sends packets through a transcoder, each as late as `late` says, or never.
#[allow(clippy::disallowed_methods)]
fn transcode(
    from: &Format,
    to: &Format,
    packets: &[Vec<u8>],
    mut late: impl FnMut(usize) -> Option<Duration>,
) -> Made {
    let mut transcoder = Transcoder::new(from, to).unwrap().unwrap();
    let t0 = Instant::now();
    let frame = Duration::from_millis(from.ptime_ms.into());
    let ticks = u32::from(from.ptime_ms) * from.clock_hz / 1_000;
    let mut way: Vec<(Instant, usize)> = (0..packets.len())
        .filter_map(|n| Some((t0 + frame * n as u32 + late(n)?, n)))
        .collect();
    way.sort();
    let mut way = way.into_iter().peekable();
    let mut made = Vec::new();
    let mut buffer = vec![0; 1_500];
    loop {
        let due = transcoder.poll_timeout();
        let arrival = way.peek().map(|(at, _)| *at);
        let Some(now) = due.into_iter().chain(arrival).min() else {
            break;
        };
        if let Some((_, n)) = way.next_if(|(at, _)| *at <= now) {
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence: n as u16,
                timestamp: n as u32 * ticks,
                ssrc: 9,
                payload_start: 0,
                payload_end: 0,
            };
            transcoder.receive(now, &header, &packets[n], false);
        }
        while let Some(frame) = transcoder.step(now, &mut buffer) {
            made.push((now - t0, buffer[..frame.len].to_vec(), frame));
        }
    }
    Made {
        packets: made,
        stats: transcoder.stats(),
    }
}

fn decode(encoding: &str, packets: impl Iterator<Item = Vec<u8>>, rate: u32) -> Vec<i16> {
    let mut decoder = Decoder::new(Coding::of(encoding).unwrap(), rate).unwrap();
    let mut all = Vec::new();
    let mut room = [0; MAX_SAMPLES];
    for packet in packets {
        let count = decoder.decode(&packet, &mut room).unwrap();
        all.extend_from_slice(&room[..count]);
    }
    all
}

fn payloads(made: &Made) -> impl Iterator<Item = Vec<u8>> + '_ {
    made.packets.iter().map(|(_, payload, _)| payload.clone())
}

fn on_time(_: usize) -> Option<Duration> {
    Some(Duration::ZERO)
}

#[test]
fn opus_to_g711_loses_less_than_a_decibel() {
    let original = speech(20, RATE);
    for encoding in ["PCMU", "PCMA"] {
        let sent = packets("OPUS", &original, RATE, 20);
        let alone = segmental_snr(&original, &decode("OPUS", sent.iter().cloned(), 8_000));
        let made = transcode(&format("OPUS", 20), &format(encoding, 20), &sent, on_time);
        let heard = decode(encoding, payloads(&made), 8_000);
        let through = segmental_snr(&original, &heard);
        assert!(alone > 8.0, "the codec itself: {alone:.1} dB");
        assert!(
            through > alone - 1.0,
            "{encoding}: {through:.1} dB of {alone:.1}"
        );
        assert_eq!((made.stats.concealed, made.stats.late), (0, 0));
    }
}

#[test]
fn g711_to_opus_loses_less_than_a_decibel() {
    let original = speech(20, RATE);
    let law = decode(
        "PCMU",
        packets("PCMU", &original, RATE, 20).into_iter(),
        8_000,
    );
    let alone = decode("OPUS", packets("OPUS", &law, RATE, 20).into_iter(), 8_000);
    let alone = segmental_snr(&original, &alone);
    let sent = packets("PCMU", &original, RATE, 20);
    let made = transcode(&format("PCMU", 20), &format("OPUS", 20), &sent, on_time);
    let through = segmental_snr(&original, &decode("OPUS", payloads(&made), 8_000));
    assert!(through > alone - 1.0, "{through:.1} dB of {alone:.1}");
}

#[test]
fn every_pair_of_encodings_carries_speech() {
    for (from, to, rate) in [
        ("OPUS", "G722", 16_000),
        ("G722", "OPUS", 16_000),
        ("G722", "PCMA", 8_000),
        ("PCMU", "G722", 8_000),
    ] {
        let original = speech(10, rate);
        let sent = packets(from, &original, rate, 20);
        let made = transcode(&format(from, 20), &format(to, 20), &sent, on_time);
        let snr = segmental_snr(&original, &decode(to, payloads(&made), rate as u32));
        assert!(snr > 8.0, "{from} to {to}: {snr:.1} dB");
    }
}

#[test]
fn the_delay_is_a_frame_at_most_beside_the_jitter_buffer() {
    let sent = packets("OPUS", &speech(10, RATE), RATE, 20);
    let made = transcode(&format("OPUS", 20), &format("PCMU", 20), &sent, on_time);
    let stats = made.stats;
    assert!(stats.delay <= Duration::from_millis(20), "{stats:?}");
    assert!(stats.longest <= Duration::from_millis(45), "{stats:?}");
    // Half a second after the last packet is made up.
    assert_eq!(made.packets.len(), 525);
}

#[test]
fn lengths_of_packets_are_changed_and_spread_evenly() {
    for (from, to) in [(60, 20), (20, 60), (10, 20), (40, 20), (30, 20)] {
        let sent = packets("PCMU", &speech(6, RATE), RATE, from);
        let (from_format, to_format) = (format("PCMU", from as u16), format("OPUS", to));
        let made = transcode(&from_format, &to_format, &sent, on_time);
        let to = Duration::from_millis(to.into());
        for pair in made
            .packets
            .windows(2)
            .skip(200 / usize::from(to_format.ptime_ms))
        {
            let step = pair[1].0 - pair[0].0;
            let even = step.abs_diff(to) <= Duration::from_millis(15);
            assert!(even, "{from} to {to:?}: {step:?}");
        }
        assert!(
            made.packets
                .iter()
                .all(|(_, _, frame)| frame.ticks == 48 * to.as_millis() as u32)
        );
        let seconds = made.packets.len() as f64 * to.as_secs_f64();
        assert!((5.9..6.7).contains(&seconds), "{from} to {to:?}: {seconds}");
    }
}

#[test]
fn what_the_packet_behind_tells_of_a_lost_one_is_used() {
    let original = speech(20, RATE);
    let sent = packets("OPUS", &original, RATE, 20);
    let mut tokens = TokenMaker::new([5; 32]);
    let lost: Vec<bool> = (0..sent.len())
        .map(|n| n > 20 && tokens.below(100) < 5)
        .collect();
    let late = |n: usize| (!lost[n]).then_some(Duration::ZERO);
    let made = transcode(&format("OPUS", 20), &format("PCMU", 20), &sent, late);
    let gone = lost.iter().filter(|lost| **lost).count() as u64;
    assert!(
        made.stats.recovered * 10 >= gone * 7,
        "{:?} of {gone}",
        made.stats
    );
    // No packet is missing in what goes out.
    assert!(
        (995..1_060).contains(&made.packets.len()),
        "{}",
        made.packets.len()
    );
    assert_eq!(
        made.packets
            .iter()
            .filter(|(_, _, f)| f.follows == Follows::Anew)
            .count(),
        1
    );
}

#[test]
fn our_opus_carries_fec_for_those_who_use_it() {
    let sent = packets("PCMU", &speech(10, RATE), RATE, 20);
    let snr_of = |fec: bool| {
        let to = Format {
            fec,
            ..format("OPUS", 20)
        };
        let made = transcode(&format("PCMU", 20), &to, &sent, on_time);
        let mut decoder = super::super::codec::opus::Decoder::new(8_000).unwrap();
        let packets: Vec<Vec<u8>> = payloads(&made).collect();
        let mut original = vec![0; 160 * packets.len()];
        let mut whole = Decoder::new(Coding::Opus, 8_000).unwrap();
        for (packet, out) in packets.iter().zip(original.chunks_exact_mut(160)) {
            assert_eq!(whole.decode(packet, out), Some(160));
        }
        let mut heard = vec![0; original.len()];
        for (n, out) in heard.chunks_exact_mut(160).enumerate() {
            if n % 10 == 5 && n + 1 < packets.len() {
                assert!(decoder.recover(&packets[n + 1], out));
            } else {
                decoder.decode(&packets[n], out).unwrap();
            }
        }
        segmental_snr(&original, &heard)
    };
    let (with, without) = (snr_of(true), snr_of(false));
    assert!(
        with > without + 1.0,
        "{with:.1} dB with, {without:.1} dB without"
    );
}

#[test]
fn jitter_and_loss_at_once_leave_most_of_the_speech() {
    for seed in 0..10 {
        let mut tokens = TokenMaker::new([seed; 32]);
        let sent = packets("OPUS", &speech(10, RATE), RATE, 20);
        let late = |_| (tokens.below(100) >= 5).then(|| Duration::from_millis(tokens.below(50)));
        let made = transcode(&format("OPUS", 20), &format("PCMU", 20), &sent, late);
        assert!(
            (480..=560).contains(&made.packets.len()),
            "seed {seed}: {}",
            made.packets.len()
        );
        assert!(made.stats.late < 25, "seed {seed}: {:?}", made.stats);
        assert!(
            made.stats.delay < Duration::from_millis(75),
            "seed {seed}: {:?}",
            made.stats
        );
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_stream_that_stops_is_followed_for_half_a_second_and_taken_up_again() {
    let mut transcoder = Transcoder::new(&format("PCMU", 20), &format("OPUS", 20))
        .unwrap()
        .unwrap();
    let t0 = Instant::now();
    let mut buffer = [0; 1_500];
    let mut sent = Vec::new();
    let mut header = Header {
        marker: false,
        payload_type: 0,
        sequence: 1,
        timestamp: 0,
        ssrc: 1,
        payload_start: 0,
        payload_end: 0,
    };
    for n in 0..150u32 {
        let now = t0 + FRAME * n;
        if !(10..100).contains(&n) {
            header.sequence += 1;
            header.timestamp = 160 * n;
            transcoder.receive(now, &header, &[Law::Mu.silence(); 160], false);
        }
        while let Some(frame) = transcoder.step(now, &mut buffer) {
            sent.push((n, frame.follows == Follows::Anew));
        }
    }
    let before = sent.iter().filter(|(n, _)| *n < 100).count();
    assert!((10 + 24..10 + 27).contains(&before), "{before}");
    let resumed: Vec<u32> = sent.iter().filter(|(_, r)| *r).map(|(n, _)| *n).collect();
    assert_eq!(resumed.len(), 2);
    assert!((100..104).contains(&resumed[1]), "{resumed:?}");
}

#[test]
#[allow(clippy::disallowed_methods)]
fn comfort_noise_is_heard_until_there_is_sound() {
    let mut transcoder = Transcoder::new(&format("PCMU", 20), &format("G722", 20))
        .unwrap()
        .unwrap();
    let t0 = Instant::now();
    let mut buffer = [0; 1_500];
    let mut decoder = Decoder::new(Coding::G722, 8_000).unwrap();
    let mut loudest = Vec::new();
    for n in 0..60u32 {
        let now = t0 + FRAME * n;
        let header = Header {
            marker: false,
            payload_type: 0,
            // A pause is no loss.
            sequence: if n < 10 { n as u16 } else { 9 + n as u16 / 10 },
            timestamp: 160 * n,
            ssrc: 1,
            payload_start: 0,
            payload_end: 0,
        };
        if n < 10 {
            transcoder.receive(now, &header, &[Law::Mu.silence(); 160], false);
        } else if n.is_multiple_of(10) {
            transcoder.receive(now, &header, &[40], true);
        }
        while let Some(frame) = transcoder.step(now, &mut buffer) {
            let mut room = [0; MAX_SAMPLES];
            let count = decoder.decode(&buffer[..frame.len], &mut room).unwrap();
            loudest.push(
                room[..count]
                    .iter()
                    .map(|s| s.unsigned_abs())
                    .max()
                    .unwrap(),
            );
        }
    }
    assert!(loudest[..9].iter().all(|peak| *peak < 30), "{loudest:?}");
    assert!(
        loudest[14..50]
            .iter()
            .all(|peak| (200..1_000).contains(peak)),
        "{loudest:?}"
    );
}

#[test]
fn what_no_codec_of_ours_is_cannot_be_transcoded() {
    let (speex, pcmu) = (
        Format {
            encoding: "SPEEX".to_owned(),
            ..format("PCMU", 20)
        },
        format("PCMU", 20),
    );
    assert!(Transcoder::new(&speex, &pcmu).is_none());
    assert!(Transcoder::new(&pcmu, &speex).is_none());
}

/// What libwebrtc sends of `samples` with DTX: of packets without sound the first one only. Each with
/// its place in frames.
fn packets_with_dtx(samples: &[i16]) -> Vec<(u32, Vec<u8>)> {
    let mut encoder =
        ::opus::Encoder::new(8_000, ::opus::Channels::Mono, ::opus::Application::Voip).unwrap();
    encoder.set_dtx(true).unwrap();
    let mut was_dtx = false;
    let mut sent = Vec::new();
    for (n, frame) in samples.chunks_exact(160).enumerate() {
        let packet = encoder.encode_vec(frame, 1_500).unwrap();
        let is_dtx = packet.len() <= 2;
        if !(is_dtx && was_dtx) {
            sent.push((n as u32, packet));
        }
        was_dtx = is_dtx;
    }
    sent
}

/// A second of speech, three seconds of a background at `level`, a second of speech.
fn with_a_pause(level: u8) -> Vec<i16> {
    let mut samples = speech(5, RATE);
    let mut background = vec![0; samples.len()];
    let mut noise = Noise::default();
    noise.set(&[level]);
    noise.fill(&mut background);
    samples[RATE..4 * RATE].fill(0);
    for (sample, background) in samples.iter_mut().zip(background) {
        *sample = sample.saturating_add(background);
    }
    samples
}

/// What leaves for a peer, numbered: when, timestamp, marker, payload, and what it holds.
type Left = (Duration, u32, bool, Vec<u8>, Kind);

/// Sends packets with their places in frames through a transcoder, `(place, payload, noise)`.
#[allow(clippy::disallowed_methods)]
fn leaves(from: &Format, to: &Format, packets: &[(u32, Vec<u8>, bool)]) -> Vec<Left> {
    let mut transcoder = Transcoder::new(from, to).unwrap().unwrap();
    let mut sending = super::super::stream::Sending::new(1, 0, 0);
    let t0 = Instant::now();
    let mut buffer = vec![0; 1_500];
    let mut left = Vec::new();
    let mut way = packets.iter().enumerate().peekable();
    loop {
        let arrival = way.peek().map(|(_, (place, ..))| t0 + FRAME * *place);
        let Some(now) = transcoder.poll_timeout().into_iter().chain(arrival).min() else {
            return left;
        };
        if let Some((n, (place, payload, noise))) =
            way.next_if(|(_, (place, ..))| t0 + FRAME * *place <= now)
        {
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence: n as u16,
                timestamp: place * from.clock_hz / 50,
                ssrc: 9,
                payload_start: 0,
                payload_end: 0,
            };
            transcoder.receive(now, &header, payload, *noise);
        }
        while let Some(frame) = transcoder.step(now, &mut buffer) {
            let (_, timestamp, anew) =
                sending.frame(now, to.clock_hz, frame.ticks, frame.len, frame.follows);
            let marker = frame.kind == Kind::Sound && (anew || frame.follows != Follows::AtOnce);
            let payload = buffer[..frame.len].to_vec();
            left.push((now - t0, timestamp, marker, payload, frame.kind));
        }
    }
}

fn pcmu_with_noise() -> Format {
    Format {
        send_noise: Some(13),
        ..format("PCMU", 20)
    }
}

#[test]
fn a_pause_of_opus_is_told_as_comfort_noise_of_its_background() {
    for level in [66, 72] {
        let packets: Vec<_> = packets_with_dtx(&with_a_pause(level))
            .into_iter()
            .map(|(at, packet)| (at, packet, false))
            .collect();
        let left = leaves(&format("OPUS", 20), &pcmu_with_noise(), &packets);
        // The encoder takes a fifth of a second to be sure of the pause, and shows its background now
        // and then; what leaves in it is noise, each 400 ms.
        let ms = Duration::from_millis;
        let pause: Vec<&Left> = left
            .iter()
            .filter(|l| (ms(1_250)..ms(3_950)).contains(&l.0))
            .collect();
        assert!((6..=8).contains(&pause.len()), "{}", pause.len());
        for (_, _, _, payload, kind) in &pause {
            assert_eq!((*kind, payload.len()), (Kind::Noise, 1));
            assert!(payload[0].abs_diff(level) <= 5, "{payload:?} for {level}");
        }
        // What is said before and after it is sound.
        let said = |from: u64, to: u64| {
            let within = |l: &&Left| (ms(from)..ms(to)).contains(&l.0) && l.4 == Kind::Sound;
            left.iter().filter(within).count()
        };
        assert_eq!(said(200, 500), 15);
        assert_eq!(said(4_500, 4_900), 20);
        // Timestamps go with the time, over the pauses as well.
        for (at, timestamp, ..) in &left {
            assert_eq!(timestamp % 160, 0);
            let expected = (*at - left[0].0).as_millis() as i64 * 8;
            assert!((i64::from(*timestamp) - expected).abs() < 160, "{at:?}");
        }
        // RFC 3551 §4.1: the sound behind each pause has the marker, no other has.
        let kinds = || left.iter().map(|l| l.4);
        let begins = kinds().zip(std::iter::once(Kind::Noise).chain(kinds()));
        for (l, (kind, before)) in left.iter().zip(begins) {
            let begins = (kind, before) == (Kind::Sound, Kind::Noise);
            assert_eq!(l.2, begins, "{:?}", l.0);
        }
    }
}

#[test]
fn a_pause_is_sound_to_a_peer_without_comfort_noise() {
    let packets: Vec<_> = packets_with_dtx(&with_a_pause(50))
        .into_iter()
        .map(|(at, packet)| (at, packet, false))
        .collect();
    let left = leaves(&format("OPUS", 20), &format("PCMU", 20), &packets);
    assert!(left.iter().all(|l| l.4 == Kind::Sound && l.3.len() == 160));
    assert!(left.len() >= 248, "{}", left.len());
    assert_eq!(left.iter().filter(|l| l.2).count(), 1);
}

#[test]
fn comfort_noise_goes_on_as_it_is_where_it_is_taken() {
    let silence = vec![Law::Mu.silence(); 160];
    // A telephone that tells of its pause once, and speaks again after three seconds.
    let mut packets: Vec<_> = (0..10).map(|n| (n, silence.clone(), false)).collect();
    packets.push((10, vec![52, 1, 2], true));
    packets.extend((160..165).map(|n| (n, silence.clone(), false)));
    let to = Format {
        encoding: "PCMA".to_owned(),
        ..pcmu_with_noise()
    };
    let left = leaves(&format("G722", 20), &to, &packets);
    let noises: Vec<&Left> = left.iter().filter(|l| l.4 == Kind::Noise).collect();
    assert!((7..=9).contains(&noises.len()), "{}", noises.len());
    assert!(noises.iter().all(|noise| noise.3 == [52]));
    let heard: Vec<&Left> = left.iter().filter(|l| l.4 == Kind::Sound).collect();
    assert!(heard.iter().filter(|l| l.2).count() == 2);
    let back = heard.iter().rposition(|l| l.2).unwrap();
    assert_eq!(heard[back].1 - heard[0].1, 160 * 160);
    // To whom takes none it is sound as long.
    let left = leaves(&format("G722", 20), &format("PCMA", 20), &packets);
    assert!(left.iter().all(|l| l.4 == Kind::Sound));
    assert!(left.len() >= 160, "{}", left.len());
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_pause_that_ends_without_a_word_ends_the_stream() {
    let samples = vec![0; 2 * RATE];
    let packets: Vec<_> = packets_with_dtx(&samples)
        .into_iter()
        .map(|(at, packet)| (at, packet, false))
        .collect();
    let left = leaves(&format("OPUS", 20), &pcmu_with_noise(), &packets);
    let last = packets.last().unwrap().0;
    assert!(left.last().unwrap().0 < FRAME * (last + 30));
}
