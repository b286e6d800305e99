use super::*;
use crate::id::TokenMaker;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

#[test]
fn a_compound_packet_is_read_back() {
    let info = SenderInfo {
        ntp: 0x0102_0304_0506_0708,
        rtp_timestamp: 160,
        packets: 3,
        octets: 480,
    };
    let block = ReportBlock {
        ssrc: 9,
        fraction_lost: 51,
        cumulative_lost: -2,
        highest_sequence: 0x0001_0005,
        jitter: 80,
        last_sender_report: 0xb705_2000,
        delay: 0x0005_4000,
    };
    let mut buffer = [0xff; 256];
    let mut compound = Compound::new(&mut buffer);
    compound.report(7, Some(info), &[block, block]);
    compound.name(7, "call@example");
    compound.bye(7);
    let len = compound.finish();
    assert_eq!(len, 4 + 24 + 48 + 4 + 4 + 16 + 8);
    let packets: Vec<_> = Packets::parse(&buffer[..len]).unwrap().collect();
    let [
        Packet::SenderReport {
            ssrc: 7,
            info: read,
            blocks,
        },
        name,
        bye,
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(read, info);
    assert_eq!(blocks.collect::<Vec<_>>(), [block, block]);
    assert_eq!(
        name,
        Packet::Name {
            ssrc: 7,
            name: b"call@example"
        }
    );
    assert_eq!(bye, Packet::Bye { ssrc: Some(7) });
}

#[test]
fn a_receiver_report_may_be_empty() {
    let mut buffer = [0; 64];
    let mut compound = Compound::new(&mut buffer);
    compound.report(7, None, &[]);
    let len = compound.finish();
    assert_eq!(buffer[..len], [0x80, 201, 0, 1, 0, 0, 0, 7]);
    let Some(Packet::ReceiverReport {
        ssrc: 7,
        mut blocks,
    }) = Packets::parse(&buffer[..len]).unwrap().next()
    else {
        panic!();
    };
    assert_eq!(blocks.next(), None);
}

#[test]
fn every_name_ends_at_a_word_with_a_null_byte() {
    for len in 0..=255 {
        let name = "n".repeat(len);
        let mut buffer = [0xff; 300];
        let mut compound = Compound::new(&mut buffer);
        compound.name(1, &name);
        let end = compound.finish();
        assert_eq!(buffer[end - 1], 0);
        let packets: Vec<_> = Packets::parse(&buffer[..end]).unwrap().collect();
        let wanted = Packet::Name {
            ssrc: 1,
            name: name.as_bytes(),
        };
        assert_eq!(packets, [wanted]);
    }
}

#[test]
fn what_does_not_fit_is_left_out() {
    let mut buffer = [0; 12];
    let mut compound = Compound::new(&mut buffer);
    compound.report(7, None, &[]);
    compound.name(7, "too long");
    compound.bye(7);
    assert_eq!(compound.finish(), 8);
}

#[test]
fn padding_is_taken_off_the_last_packet() {
    let padded = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
    let packets: Vec<_> = Packets::parse(&padded).unwrap().collect();
    assert_eq!(
        packets,
        [Packet::ReceiverReport {
            ssrc: 7,
            blocks: Blocks(&[])
        }]
    );
    let mut wrong = padded;
    wrong[11] = 9;
    assert_eq!(Packets::parse(&wrong).unwrap_err(), RtcpError::Padding);
    assert_eq!(Packets::parse(&padded[..8]).unwrap_err(), RtcpError::Short);
}

#[test]
fn the_round_trip_is_that_of_rfc_3550_figure_2() {
    let start = start();
    let clock = NtpClock::new(start);
    // 46864.5 s on the NTP clock, which began with 3600.
    let now = start + Duration::from_millis(43_264_500);
    assert_eq!(middle(clock.at(now)), 0xb710_8000);
    let mut block = ReportBlock {
        last_sender_report: 0xb705_2000,
        delay: 0x0005_4000,
        ..ReportBlock::default()
    };
    assert_eq!(block.round_trip(&clock, now), Some(6_125 * MS));
    block.delay = 0x0015_4000;
    assert_eq!(block.round_trip(&clock, now), None);
    block.last_sender_report = 0;
    assert_eq!(block.round_trip(&clock, now), None);
}

#[test]
fn two_ends_measure_the_round_trip_of_their_link() {
    let start = start();
    let (clock, link) = (NtpClock::new(start), 35 * MS);
    let sent = start + 5_000 * MS;
    let info = SenderInfo {
        ntp: clock.at(sent),
        ..SenderInfo::default()
    };
    let mut peer = Reception::new(start);
    peer.receive(sent, 1, 0, 0, 8_000);
    peer.receive_report(sent + link, 1, &info);
    let block = peer.report(sent + link + 1_234 * MS).unwrap();
    let trip = block
        .round_trip(&clock, sent + 2 * link + 1_234 * MS)
        .unwrap();
    assert!(trip.abs_diff(2 * link) < MS, "{trip:?}");
}

#[test]
fn loss_is_counted_as_in_rfc_3550_a3() {
    let mut reception = Reception::new(start());
    let start = start();
    for sequence in (65_530..65_540u32).filter(|s| ![65_532, 65_537].contains(s)) {
        reception.receive(start, 1, sequence as u16, 0, 8_000);
    }
    let block = reception.report(start).unwrap();
    assert_eq!(block.cumulative_lost, 2);
    assert_eq!(block.fraction_lost, 51); // 2 of 10
    assert_eq!(block.highest_sequence, 65_539);
    // The late one comes, with a copy of itself: nothing lost in this interval.
    for _ in 0..2 {
        reception.receive(start, 1, 65_532u32 as u16, 0, 8_000);
    }
    let block = reception.report(start).unwrap();
    assert_eq!((block.cumulative_lost, block.fraction_lost), (0, 0));
    assert_eq!(
        (
            reception.received(),
            reception.lost(),
            reception.duplicates()
        ),
        (10, 0, 1)
    );
}

#[test]
fn jitter_is_counted_as_in_rfc_3550_a8() {
    let start = start();
    let mut reception = Reception::new(start);
    // One packet in a regular stream is 10 ms late: D is 0, 80, 80, 0, so
    // J is 0, 80/16, (80 + 80 - 5)/16, (155 - 10)/16.
    let jitter = [0, 20, 50, 60, 80].map(|ms| {
        let sequence = (ms + 10) / 20;
        let sequence = if ms == 50 { 2 } else { sequence };
        reception.receive(start + ms * MS, 1, sequence as u16, 160 * sequence, 8_000);
        reception.stream.as_ref().unwrap().jitter
    });
    assert_eq!(jitter, [0, 0, 80, 155, 145]);
    assert_eq!(reception.jitter(), Duration::from_micros(9 * 125));
}

#[test]
fn another_source_begins_anew_and_the_totals_go_on() {
    let start = start();
    let mut reception = Reception::new(start);
    for (ssrc, sequence) in [(1, 5), (1, 7), (2, 40_000), (2, 40_002)] {
        reception.receive(start, ssrc, sequence, 0, 8_000);
    }
    assert_eq!((reception.received(), reception.lost()), (4, 2));
    assert_eq!(reception.ssrc(), Some(2));
    assert_eq!(reception.report(start).unwrap().cumulative_lost, 1);
}

#[test]
fn one_wild_sequence_number_is_noise_and_two_are_a_restart() {
    let start = start();
    let mut reception = Reception::new(start);
    for sequence in [1, 2, 30_000, 3, 4, 50_000, 50_001, 50_002] {
        reception.receive(start, 1, sequence, 0, 8_000);
    }
    assert_eq!((reception.received(), reception.lost()), (6, 0));
    assert_eq!(reception.report(start).unwrap().highest_sequence, 50_002);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut tokens = TokenMaker::new([5; 32]);
    let start = start();
    let mut reception = Reception::new(start);
    let mut buffer = [0; 256];
    for _ in 0..20_000 {
        let mut compound = Compound::new(&mut buffer);
        compound.report(7, Some(SenderInfo::default()), &[ReportBlock::default()]);
        compound.name(7, "call@example");
        compound.bye(7);
        let len = compound.finish();
        for _ in 0..tokens.below(5) {
            let at = tokens.below(len as u64) as usize;
            buffer[at] = tokens.number() as u8;
        }
        let end = tokens.below(len as u64 + 1) as usize;
        let Ok(packets) = Packets::parse(&buffer[..end]) else {
            continue;
        };
        for packet in packets {
            if let Packet::SenderReport { ssrc, info, blocks } = packet {
                reception.receive_report(start, ssrc, &info);
                for block in blocks {
                    let _ = block.round_trip(&NtpClock::new(start), start);
                }
            }
        }
        let now = start + Duration::from_millis(tokens.below(1 << 40));
        let ssrc = tokens.below(2) as u32 + 7;
        reception.receive(
            now,
            ssrc,
            tokens.number() as u16,
            tokens.number() as u32,
            tokens.below(3) as u32 * 48_000,
        );
        let _ = (reception.report(now), reception.jitter(), reception.lost());
    }
}
