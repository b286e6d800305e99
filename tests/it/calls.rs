//! Golden call ladders: each fact of a call as both wires show it.

use std::time::Duration;

use crate::world::{self, Link, MediaPlan, World, phone};
use offhook::leg::EndReason;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn answers(after: u64, hangup_after: Option<u64>) -> phone::Plan {
    phone::Plan::Answer {
        after: secs(after),
        hangup_after: hangup_after.map(secs),
    }
}

fn refuses(status: u16) -> phone::Plan {
    phone::Plan::Refuse {
        after: secs(1),
        status,
    }
}

/// Runs one call of a client to the phone and holds its ladder against the one that is kept.
fn one_call(name: &str, plan: phone::Plan, plain: bool, end_after: Option<u64>) -> World {
    let mut world = World::new(1, plan);
    world.caller(plain, end_after.map(secs), Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    check_ladder(name, &world);
    world
}

/// `LADDERS=write` keeps the ladders as they are; a reviewer reads the difference.
pub fn check_ladder(name: &str, world: &World) {
    let path = format!("{}/tests/ladders/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let story = world.story();
    if std::env::var("LADDERS").is_ok_and(|v| v == "write") {
        std::fs::write(&path, &story).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        story, kept,
        "{name}: the ladder changed (LADDERS=write keeps the new one)"
    );
}

#[test]
fn a_user_calls_and_hangs_up() {
    let world = one_call("user_calls_and_hangs_up", answers(4, None), false, Some(10));
    let record = &world.records[0];
    assert_eq!(record.end.reason, EndReason::Hangup);
    assert_eq!(record.encoding.as_deref(), Some("PCMU"));
    assert!(
        record
            .answered_after
            .is_some_and(|d| d > secs(4) && d < secs(5))
    );
    assert_eq!(world.phone.hung_up, 1);
    assert!(world.clients[0].rang);
}

#[test]
fn a_user_calls_and_the_phone_hangs_up() {
    let world = one_call("phone_hangs_up", answers(4, Some(6)), false, None);
    assert_eq!(world.clients[0].ended.as_deref(), Some("terminate success"));
}

#[test]
fn a_client_without_message_initiation_calls() {
    let world = one_call("plain_jingle", answers(2, None), true, Some(10));
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
    assert!(world.clients[0].rang);
}

#[test]
fn a_call_cancelled_while_ringing_is_cancelled_on_both_sides() {
    let world = one_call("cancelled", answers(20, None), false, Some(5));
    assert_eq!(world.records[0].end.reason, EndReason::Cancelled);
    assert_eq!(world.phone.cancelled, 1);
}

#[test]
fn a_plain_call_cancelled_while_ringing_is_cancelled_on_both_sides() {
    let world = one_call("plain_cancelled", answers(20, None), true, Some(5));
    assert_eq!(world.records[0].end.reason, EndReason::Cancelled);
    assert_eq!(world.phone.cancelled, 1);
}

#[test]
fn each_refusal_has_its_reason_on_both_sides() {
    let rows = [
        (486, EndReason::Busy, "reject busy"),
        (600, EndReason::Busy, "reject busy"),
        (603, EndReason::Declined, "reject decline"),
        (404, EndReason::NotFound, "reject gone"),
        (484, EndReason::NotFound, "reject gone"),
        (480, EndReason::NoAnswer, "reject timeout"),
        (488, EndReason::NotAcceptable, "reject media-error"),
        (503, EndReason::NoRoute, "reject general-error"),
    ];
    for (status, reason, shown) in rows {
        let mut world = World::new(u64::from(status), refuses(status));
        world.caller(false, None, Duration::ZERO);
        world.run();
        world.assert_nothing_is_left(1);
        let record = &world.records[0];
        assert_eq!(record.end.reason, reason, "{status}");
        assert_eq!(record.end.sip_status, Some(status));
        assert_eq!(world.clients[0].ended.as_deref(), Some(shown), "{status}");
    }
}

#[test]
fn busy_has_a_ladder() {
    one_call("busy", refuses(486), false, None);
}

#[test]
fn nobody_answers() {
    let world = one_call("no_answer", phone::Plan::Ring, false, None);
    assert_eq!(world.records[0].end.reason, EndReason::NoAnswer);
    assert_eq!(world.clients[0].ended.as_deref(), Some("reject timeout"));
    assert_eq!(world.phone.cancelled, 1);
}

#[test]
fn a_trunk_that_says_nothing_is_given_up_after_timer_b() {
    let world = one_call("silent_trunk", phone::Plan::Silent, false, None);
    assert_eq!(world.records[0].end.reason, EndReason::NoRoute);
    // For a minute after that the trunk comes last.
    assert!(world.elapsed() < secs(100), "{:?}", world.elapsed());
}

#[test]
fn a_wrong_fingerprint_ends_the_call_with_security_error() {
    let mut world = World::new(3, answers(1, None));
    world.media = MediaPlan::WrongFingerprint;
    world.caller(false, None, Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Security);
    assert_eq!(
        world.clients[0].ended.as_deref(),
        Some("terminate security-error")
    );
    assert_eq!(world.phone.hung_up, 1);
}

#[test]
fn media_that_never_connects_ends_the_call() {
    let mut world = World::new(4, answers(1, None));
    world.media = MediaPlan::Never;
    world.caller(false, None, Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Connectivity);
    assert_eq!(
        world.clients[0].ended.as_deref(),
        Some("terminate connectivity-error")
    );
}

#[test]
fn a_silent_leg_ends_the_call() {
    let mut world = World::new(5, answers(1, None));
    world.media = MediaPlan::FallsSilent(secs(60));
    world.caller(false, None, Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Silent);
}

#[test]
fn a_call_survives_the_loss_of_the_xmpp_link() {
    let mut world = World::new(6, answers(1, Some(60)));
    world.caller(false, None, Duration::ZERO);
    world.cut_link(secs(10), secs(5));
    world.run();
    world.assert_nothing_is_left(1);
    let record = &world.records[0];
    assert_eq!(record.end.reason, EndReason::Hangup);
    assert!(record.duration > secs(60), "{:?}", record.duration);
    assert_eq!(world.clients[0].ended.as_deref(), Some("terminate success"));
}

#[test]
fn a_call_survives_its_client_that_comes_back_while_the_link_is_lost() {
    let mut world = World::new(6, answers(1, Some(90)));
    let n = world.caller(false, None, Duration::ZERO);
    let gone = format!(
        "<presence xmlns='jabber:component:accept' type='unavailable' from='{}' \
         to='+15551234567@phone.example.org'/>",
        world.clients[n].jid
    );
    // That is the last that is heard of it: its next presence comes back to it.
    world.hears_stanza(secs(9), gone.parse().unwrap());
    world.cut_link(secs(10), secs(5));
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
    assert!(world.records[0].duration > secs(90), "{}", world.story());
}

#[test]
fn nobody_is_let_wait_for_a_server_that_is_away() {
    for (at, waits) in [(secs(2), true), (secs(7), false)] {
        let mut world = World::new(6, phone::Plan::Silent);
        world.callee(world::client::Plan::Ignore);
        world.cut_link(Duration::ZERO, secs(40));
        world.phone_calls(at, "in-1", None);
        world.run();
        world.assert_nothing_is_left(1);
        let story = world.story();
        assert_eq!(story.contains("180 Ringing"), waits, "{story}");
        assert!(story.contains("480 Temporarily Unavailable"), "{story}");
        assert_eq!(world.records[0].duration < secs(1), !waits);
    }
}

#[test]
fn a_user_of_a_strange_domain_may_not_call() {
    let mut world = World::new(7, answers(1, None));
    world.caller(false, None, Duration::ZERO);
    world.clients[0].jid = "mallory@example.net/x".to_owned();
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Forbidden);
    assert_eq!(world.clients[0].ended.as_deref(), Some("reject decline"));
    assert_eq!(world.datagrams(), 0);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let tell = |seed| {
        let mut world = World::new(seed, answers(2, None));
        world.link = Link {
            loss_percent: 20,
            double_percent: 10,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(200),
        };
        world.caller(false, Some(secs(10)), Duration::ZERO);
        world.caller(true, Some(secs(7)), secs(1));
        world.run();
        world.story()
    };
    assert_eq!(tell(99), tell(99));
    assert_ne!(tell(99), tell(98));
}

#[test]
fn a_phone_calls_a_user() {
    let mut world = World::new(8, phone::Plan::Silent);
    world.callee(world::client::Plan::Answer {
        after: secs(3),
        hangup_after: Some(secs(5)),
    });
    world.phone_calls(Duration::ZERO, "in-1", None);
    world.run();
    world.assert_nothing_is_left(1);
    check_ladder("phone_calls_user", &world);
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
}

#[test]
fn a_failing_trunk_is_followed_by_the_next() {
    let mut world = World::with_config(9, refuses(503), world::config_with_backup());
    world.backup.plan = answers(1, Some(3));
    world.caller(false, None, Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    let record = &world.records[0];
    assert_eq!(record.end.reason, EndReason::Hangup);
    assert_eq!(record.trunk.as_deref(), Some("backup"));
    assert_eq!((world.phone.answered, world.backup.answered), (0, 1));
}

#[test]
fn a_trunk_that_asks_for_the_password_gets_its_digest() {
    for status in [401, 407] {
        let mut config = world::config();
        config.trunks[0].username = Some("gateway".to_owned());
        config.trunks[0].password = Some(offhook::config::Secret("password".to_owned()));
        let mut world = World::with_config(10, answers(1, Some(3)), config);
        world.phone.habits.challenge = Some(status);
        world.caller(false, None, Duration::ZERO);
        world.run();
        world.assert_nothing_is_left(1);
        assert_eq!(world.records[0].end.reason, EndReason::Hangup, "{status}");
        assert_eq!(world.phone.challenged, 1, "{status}");
    }
}

#[test]
fn a_phone_holds_the_call_and_takes_it_up_again() {
    let mut world = World::new(11, answers(1, Some(20)));
    world.phone.habits.hold_after = Some(secs(2));
    world.phone.habits.hold_for = Some(secs(5));
    world.caller(false, None, Duration::ZERO);
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.phone.offered, 2);
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
}

#[test]
fn a_client_that_vanishes_ends_its_call() {
    let mut world = World::new(12, answers(1, None));
    let n = world.caller(false, None, Duration::ZERO);
    world.clients[n].habits.vanish_after = Some(secs(5));
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::PeerGone);
    assert_eq!(world.phone.hung_up, 1);
}

#[test]
fn every_user_of_a_number_is_rung_and_one_gets_the_call() {
    let mut config = world::config();
    let nurse = "nurse@example.org".parse().unwrap();
    config.numbers[0].ring.push(nurse);
    let mut world = World::with_config(13, phone::Plan::Silent, config);
    for (jid, after) in [
        ("juliet@example.org/balcony", 3),
        ("nurse@example.org/x", 2),
    ] {
        let n = world.callee(world::client::Plan::Answer {
            after: secs(after),
            hangup_after: Some(secs(5)),
        });
        jid.clone_into(&mut world.clients[n].jid);
    }
    world.phone_calls(Duration::ZERO, "in-1", None);
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
    assert_eq!(world.clients[1].ended.as_deref(), Some("hung up"));
    assert!(world.clients[0].ended.is_some(), "{}", world.story());
}

#[test]
fn a_gateway_that_stops_takes_no_call_and_ends_the_rest() {
    let mut world = World::new(14, answers(1, None));
    world.caller(false, None, Duration::ZERO);
    world.caller(false, None, secs(6));
    world.stop_gateway(secs(5), secs(10));
    world.run();
    world.assert_nothing_is_left(2);
    let reasons: Vec<_> = world.records.iter().map(|r| r.end.reason).collect();
    assert_eq!(reasons, [EndReason::Shutdown, EndReason::Shutdown]);
    assert_eq!((world.phone.answered, world.phone.hung_up), (1, 1));
}

#[test]
fn an_ice_restart_is_answered_with_credentials_of_ours() {
    let mut world = World::new(15, answers(1, Some(20)));
    let n = world.caller(false, None, Duration::ZERO);
    world.clients[n].habits.restart_ice_after = Some(secs(3));
    world.run();
    world.assert_nothing_is_left(1);
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
    let story = world.story();
    assert!(story.contains("transport-info"), "{story}");
}

#[test]
fn a_call_that_moves_to_another_device_stays_one_call() {
    let mut world = World::new(16, answers(1, None));
    let n = world.caller(false, Some(secs(20)), Duration::ZERO);
    world.clients[n].habits.move_after = Some(secs(3));
    world.run();
    world.assert_nothing_is_left(1);
    let story = world.story();
    assert_eq!(story.matches("session-accept").count(), 2, "{story}");
    assert_eq!(world.records[0].end.reason, EndReason::Hangup);
    assert!(world.records[0].duration > secs(19), "{story}");
}

/// Another program has the first ports: the phone is told of the third one, whoever called.
#[test]
fn a_port_of_another_program_is_no_lost_call() {
    for phone_calls in [false, true] {
        let mut world = World::new(1, answers(2, None));
        world.taken_ports = [20_000, 20_002].into();
        world.expected_logs = vec!["another program has a port"];
        if phone_calls {
            world.callee(world::client::Plan::Answer {
                after: secs(1),
                hangup_after: Some(secs(10)),
            });
            world.phone_calls(Duration::ZERO, "in-1", None);
        } else {
            world.caller(false, Some(secs(20)), Duration::ZERO);
        }
        world.run();
        world.assert_nothing_is_left(1);
        assert_eq!(world.records[0].end.reason, EndReason::Hangup);
        assert_eq!(world.phone.told.first(), Some(&20_000));
        assert_eq!(world.phone.told.last(), Some(&20_004), "{}", world.story());
    }
}
