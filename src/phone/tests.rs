use super::*;
use crate::media::rtp;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn format(encoding: &str) -> Format {
    let payload_type = if encoding == "PCMA" { 8 } else { 0 };
    Format {
        encoding: encoding.to_owned(),
        clock_hz: 8_000,
        send_payload_type: payload_type,
        receive_payload_type: payload_type,
        receive_also: Vec::new(),
        send_digits: Some((101, 8_000)),
        receive_digits: vec![(101, 8_000)],
        send_noise: None,
        receive_noise: Some(13),
        ptime_ms: 20,
        fec: false,
    }
}

fn config(play: Play, encoding: &str) -> PhoneConfig {
    PhoneConfig {
        play,
        format: format(encoding),
        digits: Vec::new(),
        digits_after: Duration::ZERO,
        record: true,
    }
}

fn keys(text: &str) -> Vec<Digit> {
    text.chars().filter_map(Digit::from_char).collect()
}

/// A link of 30 ms with so many packets of a hundred lost, and some swapped with the next.
struct Link {
    tokens: TokenMaker,
    loss: u64,
    disorder: u64,
    on_the_way: Vec<(Instant, Vec<u8>)>,
}

impl Link {
    fn new(loss: u64, disorder: u64) -> Self {
        Self {
            tokens: TokenMaker::new([6; 32]),
            loss,
            disorder,
            on_the_way: Vec::new(),
        }
    }

    fn send(&mut self, now: Instant, packet: Vec<u8>) {
        if self.tokens.below(100) < self.loss {
            return;
        }
        let late = self.tokens.below(100) < self.disorder;
        let delay = if late { 55 * MS } else { 30 * MS };
        self.on_the_way.push((now + delay, packet));
    }

    fn arrived(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (here, later) = std::mem::take(&mut self.on_the_way)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.on_the_way = later;
        here.into_iter().map(|(_, packet)| packet).collect()
    }
}

/// Lets two phones talk. Steps of 5 ms.
fn talk(
    left: PhoneConfig,
    right: PhoneConfig,
    time: Duration,
    loss: u64,
    disorder: u64,
) -> (Phone, Phone) {
    let begin = start();
    let mut tokens = TokenMaker::new([1; 32]);
    let mut left = Phone::new(begin, left, &mut tokens).unwrap();
    let mut right = Phone::new(begin, right, &mut tokens).unwrap();
    let (mut to_right, mut to_left) = (Link::new(loss, disorder), Link::new(loss, disorder));
    let mut now = begin;
    while now < begin + time {
        for (phone, link) in [(&mut left, &mut to_right), (&mut right, &mut to_left)] {
            while let Some(packet) = phone.poll_transmit(now) {
                link.send(now, packet);
            }
            assert!(phone.poll_timeout().is_some_and(|at| at > now));
        }
        for packet in to_right.arrived(now) {
            right.handle(now, &packet);
        }
        for packet in to_left.arrived(now) {
            left.handle(now, &packet);
        }
        now += 5 * MS;
    }
    (left, right)
}

#[test]
fn a_tone_is_heard_at_its_pitch_in_both_laws_with_losses() {
    for encoding in ["PCMU", "PCMA"] {
        let (_, right) = talk(
            config(Play::Tone(440.0), encoding),
            config(Play::Silence, encoding),
            5_000 * MS,
            5,
            2,
        );
        let report = right.report();
        let heard = report.tone_hz.unwrap();
        assert!((heard - 440.0).abs() < 2.0, "{encoding} {heard}");
        assert_eq!(report.codec, encoding);
        assert!((3..30).contains(&report.lost), "{report:?}");
        assert!(report.received + report.lost >= 246);
        assert_eq!(report.duplicates, 0);
    }
}

#[test]
fn a_clean_call_has_no_loss_and_no_jitter() {
    let (left, right) = talk(
        config(Play::Tone(440.0), "PCMU"),
        config(Play::Silence, "PCMU"),
        2_000 * MS,
        0,
        0,
    );
    let report = right.report();
    assert_eq!(left.report().sent, 100);
    assert_eq!((report.received, report.lost, report.strange), (99, 0, 0));
    assert!(report.jitter_ms < 0.2, "{}", report.jitter_ms);
    assert_eq!(left.report().tone_hz, None);
    let (first, last) = (report.first_packet_at, report.last_packet_at);
    assert_eq!(last.unwrap() - first.unwrap(), 1_960 * MS);
}

#[test]
fn an_echo_gives_the_tone_back() {
    for encoding in ["PCMU", "PCMA"] {
        let (left, right) = talk(
            config(Play::Tone(620.0), encoding),
            config(Play::Echo, encoding),
            5_000 * MS,
            5,
            2,
        );
        assert!((left.report().tone_hz.unwrap() - 620.0).abs() < 2.0);
        assert!((right.report().tone_hz.unwrap() - 620.0).abs() < 2.0);
        // Nothing is sent before there is something to echo.
        assert!(left.report().received >= 200);
    }
}

#[test]
fn an_echo_of_longer_packets_keeps_up() {
    let mut sender = config(Play::Tone(440.0), "PCMU");
    sender.format.ptime_ms = 60;
    let (left, _) = talk(sender, config(Play::Echo, "PCMU"), 4_000 * MS, 0, 0);
    assert!((left.report().tone_hz.unwrap() - 440.0).abs() < 1.0);
    assert!((180..=200).contains(&left.report().received));
}

#[test]
fn pressed_keys_are_heard_once_each_with_losses() {
    let mut presser = config(Play::Tone(440.0), "PCMU");
    presser.digits = keys("123456789*0#11");
    presser.digits_after = 500 * MS;
    let (left, right) = talk(presser, config(Play::Silence, "PCMU"), 6_000 * MS, 5, 3);
    assert_eq!(right.report().digits, "123456789*0#11");
    assert!(left.has_pressed_all());
}

#[test]
fn keys_are_read_back_as_events_and_as_tones() {
    let mut presser = config(Play::Silence, "PCMA");
    presser.digits = keys("42#");
    let (left, right) = talk(
        presser,
        config(Play::ReadBackDigits, "PCMA"),
        3_000 * MS,
        0,
        0,
    );
    assert_eq!(right.report().digits, "42#");
    assert_eq!(left.report().digits, "42#");
    for hz in [770.0, 1_209.0] {
        let loudest = left
            .recording()
            .windows(800)
            .step_by(80)
            .map(|window| crate::media::tone::energy_share(window, hz))
            .fold(0.0, f64::max);
        assert!(loudest > 0.4, "{hz} {loudest}");
    }
}

#[test]
fn keys_go_as_tones_where_there_are_no_events() {
    let mut presser = config(Play::Silence, "PCMU");
    presser.digits = keys("5");
    presser.format.send_digits = None;
    let (left, right) = talk(presser, config(Play::Silence, "PCMU"), 1_000 * MS, 0, 0);
    assert!(left.has_pressed_all());
    assert_eq!(right.report().digits, "");
    let tone = &right.recording()[160..1_120];
    for hz in [770.0, 1_336.0] {
        assert!(crate::media::tone::energy_share(tone, hz) > 0.4);
    }
}

#[test]
fn samples_are_played_once_and_recorded() {
    let samples: Vec<i16> = Tone::sine(300.0).take(4_000).collect();
    let (_, right) = talk(
        config(Play::Samples(samples.clone()), "PCMU"),
        config(Play::Silence, "PCMU"),
        1_000 * MS,
        0,
        0,
    );
    let recording = right.recording();
    assert_eq!(recording.len() % 160, 0);
    for (heard, played) in recording.iter().zip(&samples) {
        assert!(heard.abs_diff(*played) < 260, "{heard} {played}");
    }
    assert!(recording[4_000..].iter().all(|sample| *sample == 0));
    assert_eq!(wav::read(&wav::write(recording)).unwrap(), recording);
}

#[test]
fn the_schedule_does_not_drift_and_does_not_burst() {
    let begin = start();
    let mut tokens = TokenMaker::new([1; 32]);
    let mut phone = Phone::new(begin, config(Play::Silence, "PCMU"), &mut tokens).unwrap();
    let mut timestamps = Vec::new();
    // Polled late each time, by up to 13 ms.
    for turn in 0..50u32 {
        let now = begin + 20 * MS * turn + MS * (turn * 7 % 13);
        while let Some(packet) = phone.poll_transmit(now) {
            timestamps.push(Header::parse(&packet).unwrap().timestamp);
        }
    }
    assert_eq!(timestamps.len(), 50);
    assert!(
        timestamps
            .windows(2)
            .all(|t| t[1].wrapping_sub(t[0]) == 160)
    );
    assert_eq!(phone.poll_timeout(), Some(begin + 1_000 * MS));
    // Asleep for a minute: no burst, and the timestamps tell of the gap.
    let now = begin + 61_000 * MS;
    let first = phone.poll_transmit(now).unwrap();
    assert_eq!(phone.poll_transmit(now), None);
    let timestamp = Header::parse(&first).unwrap().timestamp;
    assert_eq!(timestamp.wrapping_sub(timestamps[0]), 61_000 * 8);
}

#[test]
fn packets_have_the_begin_marked_and_sequence_numbers_without_holes() {
    let begin = start();
    let mut tokens = TokenMaker::new([1; 32]);
    let mut config = config(Play::Tone(440.0), "PCMU");
    config.digits = keys("1");
    config.digits_after = 100 * MS;
    let mut phone = Phone::new(begin, config, &mut tokens).unwrap();
    let mut headers = Vec::new();
    for turn in 0..40u32 {
        while let Some(packet) = phone.poll_transmit(begin + 20 * MS * turn) {
            headers.push(Header::parse(&packet).unwrap());
        }
    }
    assert_eq!(headers.len(), 40);
    assert!(
        headers
            .windows(2)
            .all(|h| h[1].sequence.wrapping_sub(h[0].sequence) == 1)
    );
    let marked: Vec<_> = (0..40).filter(|at| headers[*at].marker).collect();
    assert_eq!(marked, [0, 5]);
    let events = headers.iter().filter(|h| h.payload_type == 101).count();
    assert_eq!(events, 10);
}

#[test]
fn duplicates_and_strangers_are_counted_apart() {
    let begin = start();
    let mut tokens = TokenMaker::new([1; 32]);
    let mut left = Phone::new(begin, config(Play::Tone(440.0), "PCMU"), &mut tokens).unwrap();
    let mut right = Phone::new(begin, config(Play::Silence, "PCMU"), &mut tokens).unwrap();
    for turn in 0..10u32 {
        let now = begin + 20 * MS * turn;
        while let Some(mut packet) = left.poll_transmit(now) {
            right.handle(now, &packet);
            right.handle(now, &packet);
            rtp::set_payload_type(&mut packet, 96);
            right.handle(now, &packet);
        }
        right.handle(now, b"hello");
    }
    let report = right.report();
    assert_eq!(
        (report.received, report.duplicates, report.strange),
        (20, 10, 20)
    );
    assert_eq!(right.recording().len(), 1_600);
}

#[test]
fn another_source_goes_on_at_once() {
    let begin = start();
    let mut tokens = TokenMaker::new([1; 32]);
    let mut ear = Phone::new(begin, config(Play::Silence, "PCMU"), &mut tokens).unwrap();
    for _ in 0..3 {
        let mut mouth = Phone::new(begin, config(Play::Tone(440.0), "PCMU"), &mut tokens).unwrap();
        for turn in 0..50u32 {
            let now = begin + 20 * MS * turn;
            while let Some(packet) = mouth.poll_transmit(now) {
                ear.handle(now, &packet);
            }
        }
    }
    assert_eq!((ear.report().received, ear.report().lost), (150, 0));
    assert_eq!(ear.recording().len(), 3 * 8_000);
}

#[test]
fn other_encodings_are_refused() {
    let mut tokens = TokenMaker::new([1; 32]);
    let error = Phone::new(start(), config(Play::Silence, "OPUS"), &mut tokens).unwrap_err();
    assert_eq!(error.to_string(), "a phone speaks pcmu and pcma, not OPUS");
}

#[test]
fn an_extension_longer_than_its_packet_does_no_harm() {
    // The `rtp` crate by itself panics here.
    let mut packet = vec![0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    packet.extend([0xbe, 0xde, 0, 1, 0x1f, 0, 0, 0]);
    let mut tokens = TokenMaker::new([1; 32]);
    let mut phone = Phone::new(start(), config(Play::Echo, "PCMU"), &mut tokens).unwrap();
    phone.handle(start(), &packet);
    assert_eq!(phone.report().received, 1);
}

#[test]
fn no_packets_make_it_panic_or_grow_beyond_its_bounds() {
    let begin = start();
    let mut tokens = TokenMaker::new([7; 32]);
    let mut echo = Phone::new(begin, config(Play::Echo, "PCMU"), &mut tokens).unwrap();
    let mut back = Phone::new(begin, config(Play::ReadBackDigits, "PCMA"), &mut tokens).unwrap();
    for turn in 0..5_000u32 {
        let now = begin + MS * turn;
        let mut packet = vec![0; tokens.below(200) as usize];
        tokens.fill(&mut packet);
        if let [first, second, third, _, t0, t1, ..] = &mut packet[..] {
            *first = *first & 0x3f | 0x80;
            *second = [0, 8, 13, 101, *second][tokens.below(5) as usize];
            (*third, *t0, *t1) = (0, 0, *t1 & 1);
        }
        if let Some(ssrc) = packet.get_mut(8..12) {
            ssrc.fill(tokens.below(2) as u8);
        }
        for phone in [&mut echo, &mut back] {
            phone.handle(now, &packet);
            while phone.poll_transmit(now).is_some() {}
        }
    }
    let Source::Echo(queue) = &echo.source else {
        panic!();
    };
    assert!(queue.bytes.len() <= ECHO_LIMIT);
    assert!(back.report().digits.len() <= DIGITS_LIMIT);
    assert!(back.keys_to_press.len() <= DIGITS_LIMIT);
}
