//! Random worlds, and every single fault at every step.

use std::time::Duration;

use crate::world::{Fault, Link, MediaPlan, World, client, phone};
use offhook::id::TokenMaker;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Builds a random world, runs it, and checks that nothing is left.
fn random_world(seed: u64) -> (usize, u64) {
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&seed.to_be_bytes());
    let mut dice = TokenMaker::new(bytes);
    let plan = match dice.below(6) {
        0 => phone::Plan::Ring,
        1 => phone::Plan::Silent,
        2 => phone::Plan::Refuse {
            after: ms(dice.below(5_000)),
            status: [404, 480, 486, 500, 503, 603][dice.below(6) as usize],
        },
        _ => phone::Plan::Answer {
            after: ms(dice.below(8_000)),
            hangup_after: (dice.below(2) == 0).then(|| ms(dice.below(10_000))),
        },
    };
    let mut world = World::new(seed, plan);
    world.link = Link {
        loss_percent: dice.below(41),
        double_percent: dice.below(31),
        delay: ms(1 + dice.below(60)),
        jitter: ms(dice.below(400)),
    };
    world.media = match dice.below(10) {
        0 => MediaPlan::WrongFingerprint,
        1 => MediaPlan::Never,
        2 => MediaPlan::FallsSilent(ms(1_000 + dice.below(30_000))),
        _ => MediaPlan::Connects(ms(dice.below(2_000))),
    };
    let callers = 1 + dice.below(3) as usize;
    for _ in 0..callers {
        // Somebody must end it if the phone does not.
        let end_after = Some(ms(dice.below(20_000)));
        world.caller(dice.below(3) == 0, end_after, ms(dice.below(3_000)));
    }
    let mut calls = callers;
    if dice.below(3) == 0 {
        world.callee(match dice.below(3) {
            0 => client::Plan::Ignore,
            1 => client::Plan::Decline {
                after: ms(dice.below(5_000)),
            },
            _ => client::Plan::Answer {
                after: ms(dice.below(5_000)),
                hangup_after: Some(ms(dice.below(10_000))),
            },
        });
        let at = ms(dice.below(3_000));
        world.phone_calls(at, "in-1", Some(ms(20_000)));
        calls += 1;
    }
    if dice.below(4) == 0 {
        world.cut_link(ms(dice.below(10_000)), ms(dice.below(5_000)));
        // What is said while the link is down is lost, calls of clients included.
        calls = usize::MAX;
    }
    world.run();
    if calls == usize::MAX {
        calls = world.records.len();
    }
    world.assert_nothing_is_left(calls);
    (calls, world.datagrams())
}

#[test]
fn random_worlds_leave_nothing_behind() {
    let count = std::env::var("WORLDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2_000);
    let first = std::env::var("SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut calls = 0;
    for seed in first..first + count {
        let ran = std::panic::catch_unwind(|| random_world(seed));
        match ran {
            Ok((n, _)) => calls += n,
            Err(panic) => {
                eprintln!("SEED={seed} WORLDS=1 shows it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(calls as u64 >= count, "{calls} calls in {count} worlds");
}

#[test]
fn every_single_fault_at_every_step_leaves_nothing_behind() {
    let plans = [
        phone::Plan::Answer {
            after: ms(2_000),
            hangup_after: None,
        },
        phone::Plan::Answer {
            after: ms(0),
            hangup_after: Some(ms(1_000)),
        },
        phone::Plan::Refuse {
            after: ms(500),
            status: 486,
        },
        phone::Plan::Ring,
    ];
    let mut worlds = 0;
    for plan in plans {
        for plain in [false, true] {
            for k in 0..24 {
                for fault in [Fault::Drop(k), Fault::Double(k), Fault::Late(k, ms(700))] {
                    let mut world = World::new(k, plan);
                    world.fault = Some(fault);
                    world.caller(plain, Some(ms(6_000)), Duration::ZERO);
                    world.run();
                    world.assert_nothing_is_left(1);
                    worlds += 1;
                }
            }
        }
    }
    assert_eq!(worlds, 4 * 2 * 24 * 3);
}

#[test]
fn hanging_up_at_any_moment_leaves_nothing_behind() {
    for plain in [false, true] {
        for at in (0..3_000).step_by(10) {
            let plan = phone::Plan::Answer {
                after: ms(1_000),
                hangup_after: None,
            };
            let mut world = World::new(at, plan);
            world.caller(plain, Some(ms(at)), Duration::ZERO);
            world.run();
            world.assert_nothing_is_left(1);
        }
    }
}
