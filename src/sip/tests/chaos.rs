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
    let mut pair = Pair::new(seed, link, transport);
    let mut legs = Legs::default();
    let mut calls = 0;
    for _ in 0..25 {
        whim(&mut pair, &mut legs, &mut calls);
        hear(&mut pair, &mut legs);
        if transport.is_reliable() && pair.tokens.below(8) == 0 {
            pair.breaks();
        }
        let end = pair.now + ms(pair.tokens.below(1_500));
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
