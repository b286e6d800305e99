//! Many calls over a link that loses, doubles and reorders, with people who change their minds.

use std::collections::BTreeMap;

use super::pair::{CLEAN, Link, Pair};
use super::*;
use crate::leg::{End, EndReason};

const SEEDS: u64 = 2_000;
const CALLS: u64 = 4;

const BAD: Link = Link {
    loss: 30,
    duplicates: 10,
    jitter_ms: 400,
};

/// What is known of the legs of both rooms.
#[derive(Default)]
struct Legs {
    ended: BTreeMap<(usize, LegId), u32>,
    living: Vec<(usize, LegId)>,
}

impl Legs {
    fn begin(&mut self, room: usize, leg: LegId) {
        assert!(self.ended.insert((room, leg), 0).is_none());
        self.living.push((room, leg));
    }

    fn end(&mut self, room: usize, leg: LegId) {
        *self.ended.get_mut(&(room, leg)).expect("an offered leg") += 1;
        self.living.retain(|entry| *entry != (room, leg));
    }
}

fn hear(pair: &mut Pair, legs: &mut Legs) {
    for room in 0..2 {
        while let Some((leg, event)) = pair.events[room].pop_front() {
            match event {
                LegEvent::Offered { .. } => legs.begin(room, leg),
                LegEvent::Ended(_) => legs.end(room, leg),
                LegEvent::Updated(_) => {
                    assert_eq!(legs.ended[&(room, leg)], 0);
                    let command = match pair.tokens.below(3) {
                        0 => LegCommand::Refuse,
                        _ => LegCommand::Answer(description(5000)),
                    };
                    pair.tells(room, leg, command);
                }
                _ => assert_eq!(legs.ended[&(room, leg)], 0, "an event after the end"),
            }
        }
    }
}

fn whim(pair: &mut Pair, legs: &mut Legs, calls: &mut u64) {
    let draw = pair.tokens.below(10);
    if draw < 2 && *calls < CALLS {
        *calls += 1;
        let room = pair.tokens.below(2) as usize;
        let leg = callee(*calls);
        legs.begin(room, leg);
        pair.tells(room, leg, offer_to(number("+15550199"), Some("peer")));
        return;
    }
    if legs.living.is_empty() {
        return;
    }
    let index = pair.tokens.below(legs.living.len() as u64) as usize;
    let (room, leg) = legs.living[index];
    let command = match draw {
        0..4 => LegCommand::Ring,
        4 => LegCommand::Progress(Some(description(5000))),
        5 | 6 => LegCommand::Answer(description(5000)),
        7 => LegCommand::Update(description(5002)),
        8 => LegCommand::Hold(pair.tokens.below(2) == 0),
        _ => LegCommand::End(End::from(EndReason::Hangup)),
    };
    pair.tells(room, leg, command);
}

fn world(seed: u64, link: Link, transport: SipTransport) {
    world_of(seed, Pair::new(seed, link, transport), transport, 1_500);
}

/// `pace`: the longest time between two whims, in ms.
fn world_of(seed: u64, mut pair: Pair, transport: SipTransport, pace: u64) {
    let mut legs = Legs::default();
    let mut calls = 0;
    for _ in 0..25 {
        whim(&mut pair, &mut legs, &mut calls);
        hear(&mut pair, &mut legs);
        if transport.is_reliable() && pair.tokens.below(8) == 0 {
            pair.breaks();
        }
        let end = pair.now + ms(pair.tokens.below(pace));
        while pair.step(end) {
            hear(&mut pair, &mut legs);
        }
    }
    for (room, leg) in legs.living.clone() {
        pair.tells(room, leg, LegCommand::End(End::from(EndReason::Shutdown)));
    }
    hear(&mut pair, &mut legs);
    let end = pair.now + Duration::from_secs(600);
    while pair.step(end) {
        hear(&mut pair, &mut legs);
        // Calls that are only now heard of are refused, as the gateway stops.
        for (room, leg) in std::mem::take(&mut legs.living) {
            legs.living.push((room, leg));
            pair.tells(room, leg, LegCommand::End(End::from(EndReason::Shutdown)));
            hear(&mut pair, &mut legs);
        }
    }
    for room in &pair.rooms {
        assert_eq!(room.census(), SipCensus::default(), "seed {seed}");
    }
    for (leg, ended) in &legs.ended {
        assert_eq!(*ended, 1, "seed {seed}: {leg:?}");
    }
}

#[test]
fn after_quiet_nothing_is_left_and_each_leg_has_ended_once() {
    for seed in 0..SEEDS {
        world(seed, BAD, SipTransport::Udp);
    }
}

#[test]
fn connections_that_break_leave_nothing_behind() {
    for seed in 0..SEEDS / 4 {
        world(seed, CLEAN, SipTransport::Tcp);
    }
}

/// Seconds of the session timers that two rooms ask for.
const TIMERS: [[u64; 2]; 4] = [[90, 0], [0, 90], [90, 90], [120, 300]];

#[test]
fn calls_that_are_refreshed_leave_nothing_behind_either() {
    for seed in 0..SEEDS / 4 {
        let transport = match seed % 5 {
            0 => SipTransport::Tcp,
            _ => SipTransport::Udp,
        };
        let link = if transport.is_reliable() { CLEAN } else { BAD };
        let timers = TIMERS[seed as usize % TIMERS.len()];
        let pair = Pair::with_timers(seed, link, transport, timers);
        // Two whims in three come after a refresh is due.
        world_of(seed, pair, transport, 150_000);
    }
}

/// A call between two rooms, with an announcement that is acknowledged before the answer (PRACK).
fn talking(seed: u64, timers: [u64; 2]) -> (Pair, [LegId; 2]) {
    let mut pair = Pair::with_timers(seed, CLEAN, SipTransport::Udp, timers);
    let out = callee(1);
    pair.tells(0, out, offer_to(number("+15550199"), Some("peer")));
    pair.after(ms(50));
    let leg = pair.event(1).0;
    pair.tells(1, leg, LegCommand::Progress(Some(description(5000))));
    pair.after(ms(seed % 100));
    pair.tells(1, leg, LegCommand::Answer(description(5000)));
    pair.after(ms(200));
    let answered = |(_, event): &(LegId, LegEvent)| matches!(event, LegEvent::Answered(_));
    assert!(pair.events[0].iter().any(answered));
    pair.events = Default::default();
    (pair, [out, leg])
}

/// Runs for so long; offers are answered, or sometimes refused. Which rooms' offers were answered, and
/// which of their legs have ended.
fn runs(pair: &mut Pair, span: Duration) -> ([u32; 2], [bool; 2]) {
    let end = pair.now + span;
    let (mut answered, mut ended) = ([0; 2], [false; 2]);
    loop {
        for room in 0..2 {
            while let Some((leg, event)) = pair.events[room].pop_front() {
                match event {
                    LegEvent::Updated(_) => {
                        let command = match pair.tokens.below(5) {
                            0 => LegCommand::Refuse,
                            _ => LegCommand::Answer(description(5000)),
                        };
                        pair.tells(room, leg, command);
                    }
                    LegEvent::UpdateAnswered(_) => answered[room] += 1,
                    LegEvent::UpdateRefused => {}
                    LegEvent::Ended(_) => ended[room] = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        if !pair.step(end) {
            return (answered, ended);
        }
    }
}

/// Offers at any moment, often from both sides at once, and just when a refresh is due.
fn offers(pair: &mut Pair, legs: [LegId; 2], seed: u64) {
    for round in 0..20 {
        let draw = pair.tokens.below(6);
        for (room, leg) in legs.into_iter().enumerate() {
            let port = 6_000 + 2 * round + room as u16;
            let command = match draw {
                0 => LegCommand::Hold(round % 2 == 0),
                1..4 => LegCommand::Update(description(port)),
                other if other == 4 + room as u64 => LegCommand::Update(description(port)),
                _ => continue,
            };
            pair.tells(room, leg, command);
        }
        let pause = match pair.tokens.below(3) {
            0 => ms(pair.tokens.below(60)),
            1 => Duration::from_secs(45) - ms(pair.tokens.below(40)),
            _ => ms(pair.tokens.below(200_000)),
        };
        let (_, ended) = runs(pair, pause);
        assert_eq!(ended, [false; 2], "seed {seed}, round {round}");
    }
}

#[test]
fn a_call_is_refreshed_for_ever_whatever_is_offered_meanwhile() {
    for seed in 0..200 {
        let (mut pair, legs) = talking(seed, TIMERS[seed as usize % TIMERS.len()]);
        offers(&mut pair, legs, seed);
        let (_, ended) = runs(&mut pair, Duration::from_secs(7_200));
        assert_eq!(ended, [false; 2], "seed {seed}");
        // Nothing hangs: either side can still offer.
        for (room, leg) in legs.into_iter().enumerate() {
            let mut tries = 0;
            loop {
                tries += 1;
                let offer = description(8_000 + 2 * tries);
                pair.tells(room, leg, LegCommand::Update(offer));
                let (answered, _) = runs(&mut pair, Duration::from_secs(60));
                if answered[room] > 0 {
                    break;
                }
                assert!(tries < 20, "seed {seed}: {room} offers in vain");
            }
        }
        pair.tells(0, legs[0], LegCommand::End(End::from(EndReason::Hangup)));
        let (_, ended) = runs(&mut pair, Duration::from_secs(60));
        assert_eq!(ended, [true; 2], "seed {seed}");
        pair.is_quiet();
    }
}

#[test]
fn both_sides_notice_that_nothing_comes_through_any_more() {
    for seed in 0..200 {
        let timers = TIMERS[seed as usize % TIMERS.len()];
        let (mut pair, legs) = talking(seed, timers);
        offers(&mut pair, legs, seed);
        let later = ms(pair.tokens.below(100_000));
        runs(&mut pair, later);
        pair.cut();
        let longest = Duration::from_secs(timers[0].max(timers[1]));
        let (_, ended) = runs(&mut pair, longest + Duration::from_secs(64));
        assert_eq!(ended, [true; 2], "seed {seed}");
        pair.is_quiet();
    }
}
