//! Random worlds, and every single fault at every step.

use std::time::Duration;

use crate::world::reference::ReferenceCall;
use crate::world::{Fault, World, client, phone, scenario};
use offhook::id::TokenMaker;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&seed.to_be_bytes());
    let mut tokens = TokenMaker::new(bytes);
    move |below| tokens.below(below)
}

/// Builds a random world, runs it, and checks that nothing is left.
fn random_world(seed: u64) -> World {
    let scenario::Scenario { mut world, calls } = scenario::random(seed, &mut dice(seed));
    world.run();
    world.assert_nothing_is_left(calls.unwrap_or(world.records.len()));
    world
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
            Ok(world) => calls += world.records.len(),
            Err(panic) => {
                eprintln!("SEED={seed} WORLDS=1 shows it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{count} worlds, {calls} calls, nothing left");
    assert!(
        calls as u64 >= count * 9 / 10,
        "{calls} calls in {count} worlds"
    );
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

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in 0..40 {
        assert_eq!(random_world(seed).story(), random_world(seed).story());
    }
}

/// A world in which the phone calls juliet, who does this.
fn incoming(seed: u64, plan: client::Plan, end_after: Duration) -> World {
    let mut world = World::new(seed, phone::Plan::Silent);
    world.callee(plan);
    world.phone_calls(Duration::ZERO, "in-1", Some(end_after));
    world
}

const CALLEES: [client::Plan; 4] = [
    client::Plan::Ignore,
    client::Plan::Decline {
        after: Duration::from_millis(500),
    },
    client::Plan::Answer {
        after: Duration::from_secs(2),
        hangup_after: None,
    },
    client::Plan::Answer {
        after: Duration::ZERO,
        hangup_after: Some(Duration::from_secs(1)),
    },
];

#[test]
fn every_single_fault_of_an_incoming_call_leaves_nothing_behind() {
    for plan in CALLEES {
        for k in 0..24 {
            for fault in [Fault::Drop(k), Fault::Double(k), Fault::Late(k, ms(700))] {
                let mut world = incoming(k, plan, ms(6_000));
                world.fault = Some(fault);
                world.run();
                world.assert_nothing_is_left(1);
            }
        }
    }
}

#[test]
fn hanging_up_an_incoming_call_at_any_moment_leaves_nothing_behind() {
    let answers = |hangup_after| client::Plan::Answer {
        after: ms(1_000),
        hangup_after,
    };
    for at in (0..3_000).step_by(10) {
        let mut by_phone = incoming(at, answers(None), ms(at));
        // A phone that hears nothing yet may not cancel (RFC 3261 §9.1): then she ends it.
        if at < 100 {
            by_phone = incoming(at, answers(Some(ms(5_000))), ms(at));
        }
        by_phone.run();
        by_phone.assert_nothing_is_left(1);
        let mut by_client = incoming(at, answers(Some(ms(at))), ms(9_000));
        by_client.run();
        by_client.assert_nothing_is_left(1);
    }
}

#[test]
fn cutting_the_link_at_any_moment_leaves_nothing_behind() {
    for at in (0..4_000).step_by(40) {
        for again in [false, true] {
            for plain in [false, true] {
                let plan = phone::Plan::Answer {
                    after: ms(1_000),
                    hangup_after: Some(ms(9_000)),
                };
                let mut world = World::new(at, plan);
                world.says_again = again;
                world.caller(plain, Some(ms(3_000)), Duration::ZERO);
                world.cut_link(ms(at), ms(900));
                world.run();
                world.assert_nothing_is_left(world.records.len());
            }
            for plan in CALLEES {
                let mut world = incoming(at, plan, ms(6_000));
                world.says_again = again;
                world.cut_link(ms(at), ms(900));
                world.run();
                world.assert_nothing_is_left(1);
            }
        }
    }
}

#[test]
fn stopping_at_any_moment_leaves_nothing_behind() {
    for at in (0..4_000).step_by(40) {
        let plan = phone::Plan::Answer {
            after: ms(1_000),
            hangup_after: None,
        };
        let mut world = World::new(at, plan);
        world.caller(at % 80 == 0, None, Duration::ZERO);
        world.callee(CALLEES[2]);
        world.phone_calls(ms(300), "in-1", None);
        world.stop_gateway(ms(at), ms(at % 1_000));
        world.run();
        world.assert_nothing_is_left(2);
        assert!(world.gateway.is_idle());
    }
}

#[test]
fn clean_calls_end_as_the_reference_says() {
    let mut compared = 0;
    for seed in 0..1_500 {
        let mut dice = dice(seed);
        let phone_plan = match dice(5) {
            0 => phone::Plan::Ring,
            1 => phone::Plan::Silent,
            2 => phone::Plan::Refuse {
                after: ms(dice(6_000)),
                status: [404, 480, 486, 500, 503, 603][dice(6) as usize],
            },
            _ => phone::Plan::Answer {
                after: ms(dice(6_000)),
                hangup_after: (dice(2) == 0).then(|| ms(dice(9_000))),
            },
        };
        let mut world = World::new(seed, phone_plan);
        let ends_at = ms(dice(12_000));
        world.caller(dice(2) == 0, Some(ends_at), Duration::ZERO);
        let client_plan = world.clients[0].plan;
        if let Some(reference) = ReferenceCall::outgoing(client_plan, phone_plan) {
            world.run();
            compare(
                &world,
                &reference,
                world.phone.hung_up + world.phone.cancelled,
            );
            compared += 1;
        }
    }
    assert!(compared > 700, "{compared}");
}

#[test]
fn clean_incoming_calls_end_as_the_reference_says() {
    let mut compared = 0;
    for seed in 0..600 {
        let mut dice = dice(seed);
        let plan = match dice(4) {
            0 => client::Plan::Ignore,
            1 => client::Plan::Decline {
                after: ms(dice(6_000)),
            },
            _ => client::Plan::Answer {
                after: ms(dice(6_000)),
                hangup_after: (dice(2) == 0).then(|| ms(dice(9_000))),
            },
        };
        let end_after = ms(dice(12_000));
        if let Some(reference) = ReferenceCall::incoming(plan, end_after) {
            let mut world = incoming(seed, plan, end_after);
            world.run();
            // Who calls hears a refusal as a final response, which is no BYE.
            let hears = usize::from(reference.phone_hears);
            compare(&world, &reference, hears);
            assert_eq!(world.phone.answered, usize::from(reference.answered));
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
}

fn compare(world: &World, reference: &ReferenceCall, phone_heard: usize) {
    let story = world.story();
    world.assert_nothing_is_left(1);
    let record = &world.records[0];
    assert_eq!(
        record.end.reason, reference.reason,
        "{reference:?}\n{story}"
    );
    let answered = record.answered_after.is_some();
    assert_eq!(answered, reference.answered, "{reference:?}\n{story}");
    let client = world.clients[0].ended.as_deref().unwrap_or("nothing");
    let client_heard = ["reject", "retract", "finish", "terminate"]
        .iter()
        .any(|verb| client.starts_with(verb) && client != "retracted");
    assert_eq!(client_heard, reference.client_hears, "{client}\n{story}");
    // The phone's own BYE counts as well.
    let phone_heard = phone_heard > 0;
    let phone_ended = phone_heard && !reference.phone_hears && reference.answered;
    assert_eq!(
        phone_heard && !phone_ended,
        reference.phone_hears,
        "{story}"
    );
}
