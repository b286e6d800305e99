//! Calls that a user hands on, as both wires show it.

use std::time::Duration;

use crate::world::{Fault, World, phone};
use offhook::leg::EndReason;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A client calls the phone, and hands the call on five seconds after the answer.
fn handed_on(seed: u64, refers: Option<u16>, end_after: Option<Duration>) -> World {
    handed_on_with(seed, refers, end_after, None)
}

fn handed_on_with(
    seed: u64,
    refers: Option<u16>,
    end_after: Option<Duration>,
    fault: Option<Fault>,
) -> World {
    let plan = phone::Plan::Answer {
        after: secs(1),
        hangup_after: Some(secs(30)),
    };
    let mut world = World::new(seed, plan);
    world.phone.habits.refers = refers;
    let n = world.caller(false, end_after, Duration::ZERO);
    world.clients[n].habits.transfer_after = Some(secs(5));
    if let Some(fault) = fault {
        world.fault = Some(fault);
    }
    world.run();
    world.assert_nothing_is_left(1);
    world
}

#[test]
fn every_single_fault_of_a_transfer_leaves_nothing_behind() {
    let late = Duration::from_millis(700);
    for refers in [Some(200), Some(486), Some(503), None] {
        for end_after in [None, Some(Duration::from_millis(6_300))] {
            for k in 0..24 {
                for fault in [Fault::Drop(k), Fault::Double(k), Fault::Late(k, late)] {
                    handed_on_with(k, refers, end_after, Some(fault));
                }
            }
        }
    }
}

#[test]
fn hanging_up_at_any_moment_of_a_transfer_leaves_nothing_behind() {
    for refers in [Some(200), Some(503), None] {
        for at in (6_000..8_500).step_by(20) {
            handed_on(at, refers, Some(Duration::from_millis(at)));
        }
    }
}

/// A client calls the phone by two lines, and connects the two calls five seconds after the first answer.
fn connected(
    seed: u64,
    refers: Option<u16>,
    end_after: Option<Duration>,
    fault: Option<Fault>,
) -> World {
    let plan = phone::Plan::Answer {
        after: secs(1),
        hangup_after: Some(secs(30)),
    };
    let mut world = World::new(seed, plan);
    world.phone.habits.refers = refers;
    let n = world.caller(false, end_after, Duration::ZERO);
    let line = world.second_line(n, None, secs(1));
    world.clients[n].habits.transfer_after = Some(secs(5));
    assert_eq!(world.clients[n].jid, world.clients[line].jid);
    world.fault = fault;
    world.run();
    world.assert_nothing_is_left(2);
    world
}

#[test]
fn two_calls_of_a_user_are_connected_by_the_telephone_or_by_us() {
    for refers in [Some(200), Some(503), None] {
        let world = connected(5, refers, None, None);
        for client in &world.clients {
            let ended = client.ended.as_deref();
            assert_eq!(
                ended,
                Some("terminate success transferred"),
                "{}",
                world.story()
            );
        }
        let asked = world.phone.referred.first();
        assert_eq!(
            asked.is_some_and(|to| to.contains("Replaces=")),
            refers.is_some()
        );
        assert_eq!(world.phone.answered, 2);
        // Who is asked talks on without us, else the call goes on here until a telephone hangs up.
        let longest = world.records.iter().map(|record| record.duration).max();
        assert_eq!(
            longest > Some(secs(20)),
            refers != Some(200),
            "{}",
            world.story()
        );
    }
}

#[test]
fn every_single_fault_of_two_calls_that_are_connected_leaves_nothing_behind() {
    let late = Duration::from_millis(700);
    for refers in [Some(200), Some(486), Some(503), None] {
        for end_after in [None, Some(Duration::from_millis(6_300))] {
            for k in 0..32 {
                for fault in [Fault::Drop(k), Fault::Double(k), Fault::Late(k, late)] {
                    connected(k, refers, end_after, Some(fault));
                }
            }
        }
    }
}

#[test]
fn hanging_up_at_any_moment_of_two_calls_that_are_connected_leaves_nothing_behind() {
    for refers in [Some(200), Some(503), None] {
        for at in (1_000..9_000).step_by(50) {
            connected(at, refers, Some(Duration::from_millis(at)), None);
        }
    }
}

#[test]
fn a_telephone_that_takes_refer_calls_by_itself() {
    let world = handed_on(1, Some(200), None);
    crate::calls::check_ladder("user_transfers", &world);
    assert_eq!(
        world.phone.referred,
        ["<sip:+15559990000@192.0.2.10;user=phone>"]
    );
    let ended = world.clients[0].ended.as_deref();
    assert_eq!(ended, Some("terminate success transferred"));
    assert_eq!((world.phone.answered, world.phone.hung_up), (1, 1));
    let record = &world.records[0];
    assert_eq!(record.end.reason, EndReason::Hangup);
    assert!(record.duration < secs(10), "{:?}", record.duration);
}

#[test]
fn the_gateway_connects_telephones_that_do_not_take_refer() {
    let world = handed_on(2, None, None);
    crate::calls::check_ladder("user_transfers_through_us", &world);
    let ended = world.clients[0].ended.as_deref();
    assert_eq!(ended, Some("terminate success transferred"));
    assert_eq!((world.phone.answered, world.phone.hung_up), (2, 2));
    assert!(world.records[0].duration > secs(25));
}

#[test]
fn a_transfer_that_fails_is_said_in_words_and_the_call_goes_on() {
    let world = handed_on(3, Some(486), None);
    let said = "The call was not transferred. The line is busy. (486)";
    assert_eq!(world.clients[0].read, [said]);
    let ended = world.clients[0].ended.as_deref();
    assert_eq!(ended, Some("terminate success"));
    assert!(world.records[0].duration > secs(25));
}

#[test]
fn whoever_hands_on_and_hangs_up_cuts_nobody_off() {
    for (refers, answered) in [(Some(200), 1), (None, 2), (Some(503), 2)] {
        let world = handed_on(4, refers, Some(Duration::from_millis(6_300)));
        let ended = world.clients[0].ended.as_deref();
        assert_eq!(ended, Some("hung up"), "{}", world.story());
        assert_eq!(world.phone.answered, answered, "{}", world.story());
    }
}
