use super::*;
use crate::id::TokenMaker;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn digit(key: char) -> Digit {
    Digit::from_char(key).unwrap()
}

/// All packets of some keys, with the moment each is due.
fn packets(
    keys: &str,
    duration: Duration,
    clock_hz: u32,
    interval: Duration,
) -> Vec<(Instant, EventPacket)> {
    let begin = start();
    let mut now = begin;
    let mut sender = DigitSender::new(clock_hz, interval);
    for key in keys.chars() {
        assert!(sender.press(digit(key), duration));
    }
    let mut packets = Vec::new();
    while let Some(due) = sender.poll_timeout(now) {
        now = due;
        let timestamp = 1_000 + units(now - begin, clock_hz);
        packets.extend(sender.poll(now, timestamp).map(|packet| (now, packet)));
    }
    assert!(sender.is_idle());
    packets
}

/// What a receiver makes of packets.
fn heard(packets: &[(Instant, EventPacket)], clock_hz: u32) -> Vec<(char, Duration)> {
    let mut receiver = DigitReceiver::default();
    let mut presses = Vec::new();
    for (at, packet) in packets {
        presses.extend(receiver.handle_timeout(*at));
        presses.extend(receiver.receive(
            *at,
            packet.timestamp,
            packet.marker,
            &packet.payload,
            clock_hz,
        ));
    }
    if let Some(at) = receiver.poll_timeout() {
        assert_eq!(receiver.handle_timeout(at - MS), None);
        presses.extend(receiver.handle_timeout(at));
    }
    assert_eq!(receiver.poll_timeout(), None);
    presses
        .into_iter()
        .map(|press| (press.digit.as_char(), press.duration))
        .collect()
}

#[test]
fn an_event_is_laid_out_as_in_rfc_4733() {
    let event = Event {
        code: 11,
        end: true,
        volume: 10,
        duration: 1_600,
    };
    assert_eq!(event.to_bytes(), [11, 0x8a, 0x06, 0x40]);
    assert_eq!(Event::parse(&[11, 0xca, 0x06, 0x40, 99]), Some(event));
    assert_eq!(Event::parse(&[11, 0x8a, 0x06]), None);
}

#[test]
fn a_key_is_one_marked_packet_updates_and_three_ends() {
    let sent = packets("5", 100 * MS, 8_000, 20 * MS);
    let events: Vec<_> = sent
        .iter()
        .map(|(_, packet)| Event::parse(&packet.payload).unwrap())
        .collect();
    let durations: Vec<_> = events.iter().map(|event| event.duration).collect();
    assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
    let ends: Vec<_> = events.iter().map(|event| event.end).collect();
    assert_eq!(ends, [false, false, false, false, true, true, true]);
    let markers: Vec<_> = sent.iter().map(|(_, packet)| packet.marker).collect();
    assert_eq!(markers, [true, false, false, false, false, false, false]);
    assert!(sent.iter().all(|(_, packet)| packet.timestamp == 1_000));
    assert_eq!(heard(&sent, 8_000), [('5', 100 * MS)]);
}

#[test]
fn three_end_packets_are_one_digit_for_every_key_and_interval() {
    for interval in [20 * MS, 50 * MS] {
        for clock_hz in [8_000, 16_000, 48_000] {
            let sent = packets("0123456789*#ABCD", 200 * MS, clock_hz, interval);
            let heard = heard(&sent, clock_hz);
            let keys: String = heard.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, "0123456789*#ABCD");
            assert!(heard.iter().all(|(_, held)| *held == 200 * MS));
        }
    }
}

#[test]
fn the_same_key_twice_is_two_digits() {
    assert_eq!(
        heard(&packets("11", 60 * MS, 8_000, 20 * MS), 8_000).len(),
        2
    );
}

#[test]
fn a_press_with_lost_packets_is_still_one_digit() {
    // Any packets but all of a key may be lost.
    let sent = packets("7", 100 * MS, 8_000, 20 * MS);
    for kept in 1u32..1 << sent.len() {
        let arrived: Vec<_> = (0..sent.len())
            .filter(|at| kept >> at & 1 != 0)
            .map(|at| sent[at])
            .collect();
        let keys: Vec<_> = heard(&arrived, 8_000).iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ['7'], "{kept:b}");
    }
}

#[test]
fn lost_ends_do_not_swallow_the_key_before_the_next() {
    let sent = packets("12", 100 * MS, 8_000, 20 * MS);
    let mut arrived: Vec<_> = sent[..4].to_vec();
    arrived.extend(&sent[7..]);
    let keys: Vec<_> = heard(&arrived, 8_000).iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ['1', '2']);
    // Only one end packet of the next comes, and nothing else of it.
    let arrived = [sent[0], sent[13]];
    let keys: Vec<_> = heard(&arrived, 8_000).iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ['1', '2']);
}

#[test]
fn packets_in_disorder_are_still_one_digit_each() {
    let sent = packets("12", 100 * MS, 8_000, 20 * MS);
    let order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12];
    let arrived: Vec<_> = order.iter().map(|at| sent[*at]).collect();
    let keys: Vec<_> = heard(&arrived, 8_000).iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ['1', '2']);
}

/// The next segment of WebRTC begins with the first packet that does not fit into the last one.
#[test]
fn a_long_key_of_webrtc_is_one_digit() {
    let begin = start();
    let packet = |at: u32, timestamp: u32, duration: u32, end: bool| {
        let packet = EventPacket {
            marker: at == 0,
            timestamp,
            payload: Event {
                code: 7,
                end,
                volume: 10,
                duration: duration as u16,
            }
            .to_bytes(),
        };
        (begin + at * 20 * MS, packet)
    };
    let mut sent: Vec<_> = (0..68)
        .map(|n| packet(n, 0, (n + 1) * 960, false))
        .collect();
    sent.push(packet(68, 0, 0xffff, false));
    sent.push(packet(69, 66_240, 705, false));
    sent.extend((70..73).map(|n| packet(n, 66_240, 1_665, true)));
    let pressed = heard(&sent, 48_000);
    assert_eq!(pressed.len(), 1);
    let length = pressed[0].1;
    assert_eq!((pressed[0].0, length.as_millis()), ('7', 1_414));
    // Some packets may be lost there; two keys are two keys.
    sent.drain(67..69);
    assert_eq!(heard(&sent, 48_000).len(), 1);
    sent.drain(20..67);
    assert_eq!(heard(&sent, 48_000).len(), 2);
}

#[test]
fn a_long_key_in_segments_is_one_digit() {
    let sent = packets("9", 4_000 * MS, 48_000, 50 * MS);
    let starts: std::collections::BTreeSet<_> =
        sent.iter().map(|(_, packet)| packet.timestamp).collect();
    assert_eq!(starts.len(), 3);
    assert_eq!(heard(&sent, 48_000), [('9', 4_000 * MS)]);
}

#[test]
fn a_reset_gives_the_key_that_was_down() {
    let mut receiver = DigitReceiver::default();
    assert_eq!(
        receiver.receive(start(), 0, true, &[4, 10, 0, 160], 8_000),
        None
    );
    assert_eq!(
        receiver.reset(),
        Some(Press {
            digit: digit('4'),
            duration: 20 * MS
        })
    );
    assert_eq!(receiver.reset(), None);
}

#[test]
fn other_events_are_no_digits() {
    let mut receiver = DigitReceiver::default();
    assert_eq!(
        receiver.receive(start(), 0, true, &[16, 0x8a, 0, 160], 8_000),
        None
    );
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn waiting_keys_are_bounded() {
    let mut sender = DigitSender::new(8_000, 20 * MS);
    for _ in 0..DIGITS_LIMIT {
        assert!(sender.press(digit('1'), 100 * MS));
    }
    assert!(!sender.press(digit('1'), 100 * MS));
}

#[test]
fn conversion_there_and_back_keeps_durations_within_a_tick() {
    let mut tokens = TokenMaker::new([9; 32]);
    for _ in 0..200 {
        let held = MS * (40 + tokens.below(4_900) as u32);
        let mut down = EventConverter::new(48_000, 8_000);
        let mut up = EventConverter::new(8_000, 48_000);
        let mut there_and_back = Vec::new();
        let mut total = (0, 0);
        let sent = packets("3", held, 48_000, 20 * MS);
        for (at, packet) in &sent {
            let low = down
                .convert(packet.timestamp, packet.marker, &packet.payload, 77)
                .unwrap();
            assert_eq!(low.timestamp, 77);
            let high = up
                .convert(low.timestamp, low.marker, &low.payload, 1_000)
                .unwrap();
            let told = |packet: &EventPacket, start: u32| {
                packet.timestamp - start
                    + u32::from(Event::parse(&packet.payload).unwrap().duration)
            };
            total = (told(packet, 1_000), told(&high, 1_000));
            // One tick of the slower clock is 6 of the faster.
            assert!(total.0.abs_diff(total.1) <= 6, "{total:?}");
            there_and_back.push((*at, high));
        }
        let direct = heard(&sent, 48_000);
        let converted = heard(&there_and_back, 48_000);
        assert_eq!((direct.len(), converted.len()), (1, 1), "{total:?}");
        assert!(direct[0].1.abs_diff(converted[0].1) <= Duration::from_micros(125));
    }
}

#[test]
fn conversion_between_equal_clocks_changes_nothing_but_the_begin() {
    let mut converter = EventConverter::new(48_000, 48_000);
    for (_, packet) in packets("1#", 3_000 * MS, 48_000, 50 * MS) {
        let converted = converter
            .convert(
                packet.timestamp,
                packet.marker,
                &packet.payload,
                packet.timestamp,
            )
            .unwrap();
        assert_eq!(converted, packet);
    }
}

#[test]
fn no_packets_make_it_panic() {
    let mut tokens = TokenMaker::new([4; 32]);
    let begin = start();
    let mut receiver = DigitReceiver::default();
    let mut converter = EventConverter::new(8_000, 48_000);
    for _ in 0..50_000 {
        let mut payload = [0; 6];
        tokens.fill(&mut payload);
        payload[0] &= 0x13;
        let len = tokens.below(7) as usize;
        let timestamp = match tokens.below(4) {
            0 => tokens.number() as u32,
            few => few as u32 * SEGMENT,
        };
        let marker = tokens.below(2) == 0;
        let now = begin + Duration::from_millis(tokens.below(1 << 40));
        let clock_hz = [0, 8_000, u32::MAX][tokens.below(3) as usize];
        receiver.receive(now, timestamp, marker, &payload[..len], clock_hz);
        receiver.handle_timeout(now);
        converter.convert(timestamp, marker, &payload[..len], tokens.number() as u32);
    }
}
