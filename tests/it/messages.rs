//! Texts between users and telephones: RFC 3428, RFC 7572, XEP-0184, over links that lose and double.

use std::time::Duration;

use crate::world::phone::{Habits, Plan};
use crate::world::{self, Link, Which, World, client};
use offhook::config::{Config, Secret};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const ANSWERS: Plan = Plan::Answer {
    after: Duration::from_secs(1),
    hangup_after: None,
};

fn world(config: Config) -> World {
    World::with_config(1, ANSWERS, config)
}

/// A world with one user, who owns our number.
fn with_user(config: Config) -> World {
    let mut world = world(config);
    world.callee(client::Plan::Ignore);
    world
}

fn bodies(world: &World) -> Vec<&str> {
    let texts = world.phone.texts.iter();
    texts.map(|(_, body)| body.as_str()).collect()
}

#[test]
fn a_users_text_reaches_the_telephone_from_the_users_number_and_is_confirmed() {
    let mut world = with_user(world::config());
    world.writes(ms(0), 0, "Wherefore art thou?");
    world.run();
    let (from, body) = &world.phone.texts[0];
    assert!(from.contains("<sip:+15550001000@192.0.2.10>"), "{from}");
    assert_eq!(body, "Wherefore art thou?");
    assert_eq!(world.clients[0].receipts, ["c1"]);
    assert!(world.clients[0].refused.is_empty());
    assert_eq!(world.gateway.text_stats().out_taken, 1);
    world.assert_nothing_is_left(0);
}

#[test]
fn a_telephones_text_reaches_the_user_and_is_answered_at_once_or_once_it_is_confirmed() {
    for (confirms, status) in [(false, 202), (true, 200)] {
        let mut world = with_user(world::config());
        world.clients[0].habits.confirms = confirms;
        world.phone_writes(ms(0), "m1", "I take thee at thy word");
        world.run();
        assert_eq!(world.clients[0].read, ["I take thee at thy word"]);
        assert_eq!(world.phone.fates, [("m1".to_owned(), status)]);
        // Before the phone would have sent it again.
        assert!(world.elapsed() < Duration::from_secs(60));
        world.assert_nothing_is_left(0);
    }
}

#[test]
fn what_is_lost_or_doubled_is_neither_missed_nor_read_twice() {
    for seed in 0..200 {
        let mut world = World::with_config(seed, ANSWERS, world::config());
        world.callee(client::Plan::Ignore);
        world.clients[0].habits.confirms = seed % 2 == 0;
        world.stanza_double_percent = 40;
        world.link = Link {
            loss_percent: 25,
            double_percent: 30,
            delay: ms(20),
            jitter: ms(300),
        };
        world.phone_writes(ms(0), "m1", "one");
        world.phone_writes(ms(100), "m2", "two");
        world.writes(ms(0), 0, "three");
        world.writes(ms(10), 0, "four");
        world.run();
        let story = world.story();
        let mut read = world.clients[0].read.clone();
        read.sort();
        assert_eq!(read, ["one", "two"], "{story}");
        // One after the other, so that they keep their order.
        assert_eq!(bodies(&world), ["three", "four"], "{story}");
        assert_eq!(world.clients[0].receipts, ["c1", "c2"], "{story}");
        world.assert_nothing_is_left(0);
    }
}

#[test]
fn each_refusal_has_the_condition_of_rfc_7247() {
    for (status, condition) in [
        (400, "bad-request"),
        (401, "internal-server-error"),
        (403, "forbidden"),
        (404, "item-not-found"),
        (405, "feature-not-implemented"),
        (408, "remote-server-timeout"),
        (410, "gone"),
        (413, "policy-violation"),
        (415, "not-acceptable"),
        (480, "recipient-unavailable"),
        (486, "recipient-unavailable"),
        (488, "not-acceptable"),
        (500, "internal-server-error"),
        (501, "feature-not-implemented"),
        (502, "remote-server-not-found"),
        (503, "internal-server-error"),
        (504, "remote-server-timeout"),
        (600, "recipient-unavailable"),
        (604, "item-not-found"),
        (606, "not-acceptable"),
    ] {
        let mut world = with_user(world::config());
        world.phone.habits.refuses_texts = Some(status);
        world.writes(ms(0), 0, "hello");
        world.run();
        assert_eq!(world.clients[0].refused, [condition], "{status}");
        assert!(world.clients[0].receipts.is_empty());
        world.assert_nothing_is_left(0);
    }
}

#[test]
fn a_text_that_nobody_answers_is_given_up_once_and_tried_nowhere_else() {
    let mut world = with_user(world::config_with_backup());
    world.backup.plan = ANSWERS;
    world.deafen(Which::First, ms(0), Duration::from_secs(600));
    world.writes(ms(1), 0, "hello");
    world.writes(ms(2), 0, "are you there?");
    world.run();
    let both = ["remote-server-timeout", "remote-server-timeout"];
    assert_eq!(world.clients[0].refused, both);
    assert!(world.backup.texts.is_empty(), "it may have arrived");
    world.assert_nothing_is_left(0);
}

#[test]
fn a_text_that_a_trunk_cannot_take_goes_by_the_next_one() {
    let mut world = with_user(world::config_with_backup());
    world.backup.plan = ANSWERS;
    world.phone.habits.refuses_texts = Some(503);
    world.writes(ms(0), 0, "hello");
    world.run();
    assert_eq!(world.backup.texts.len(), 1);
    assert_eq!(world.clients[0].receipts, ["c1"]);
    world.assert_nothing_is_left(0);
}

#[test]
fn a_trunk_without_texts_is_passed_by_both_ways() {
    let mut config = world::config();
    config.trunks[0].messages = false;
    let mut world = with_user(config);
    world.writes(ms(0), 0, "hello");
    world.phone_writes(ms(0), "m1", "hello");
    world.run();
    assert_eq!(world.clients[0].refused, ["service-unavailable"]);
    assert!(world.clients[0].read.is_empty() && world.phone.texts.is_empty());
    assert_eq!(world.phone.fates, [("m1".to_owned(), 405)]);
    world.assert_nothing_is_left(0);
}

#[test]
fn a_trunk_that_asks_for_a_password_is_told_it() {
    for status in [401, 407] {
        let mut config = world::config();
        config.trunks[0].username = Some("offhook".to_owned());
        config.trunks[0].password = Some(Secret("secret".to_owned()));
        let mut world = with_user(config);
        world.phone.habits.challenge = Some(status);
        world.writes(ms(0), 0, "hello");
        world.run();
        assert_eq!(bodies(&world), ["hello"]);
        assert_eq!(world.clients[0].receipts, ["c1"]);
        world.assert_nothing_is_left(0);
    }
}

#[test]
fn a_long_text_is_refused_and_not_sent() {
    let mut world = with_user(world::config());
    world.writes(ms(0), 0, &"long ".repeat(300));
    world.writes(ms(1), 0, &"ü".repeat(340));
    world.run();
    assert_eq!(world.clients[0].refused, ["policy-violation"]);
    assert_eq!(bodies(&world), ["ü".repeat(340)]);
    world.assert_nothing_is_left(0);
}

#[test]
fn who_may_not_call_may_not_write() {
    let mut config = world::config();
    config.access.domains.clear();
    let mut world = with_user(config);
    world.writes(ms(0), 0, "hello");
    world.run();
    assert_eq!(world.clients[0].refused, ["forbidden"]);
    assert!(world.phone.texts.is_empty());
}

#[test]
fn a_user_who_writes_too_much_waits() {
    let mut config = world::config();
    config.access.messages_per_minute = 3;
    let mut world = with_user(config);
    for n in 0..5 {
        world.writes(ms(n * 100), 0, &format!("text {n}"));
        world.phone_writes(ms(n * 100), &format!("m{n}"), &format!("text {n}"));
    }
    world.run();
    assert_eq!(bodies(&world), ["text 0", "text 1", "text 2"]);
    assert_eq!(world.clients[0].refused.len(), 2);
    assert_eq!(world.clients[0].refused[0], "resource-constraint");
    assert_eq!(world.clients[0].read.len(), 3);
    let refused = world.phone.fates.iter().filter(|(_, s)| *s == 503);
    assert_eq!(refused.count(), 2);
    world.assert_nothing_is_left(0);
}

#[test]
fn texts_of_a_call_reach_the_other_side_of_it() {
    let mut world = world(world::config());
    world.callee(client::Plan::Answer {
        after: ms(500),
        hangup_after: Some(Duration::from_secs(10)),
    });
    world.phone.habits = Habits {
        writes_after: Some(Duration::from_secs(2)),
        ..Habits::default()
    };
    world.phone_calls(ms(0), "call", None);
    world.run();
    assert_eq!(world.clients[0].read, ["Are you still there?"]);
    assert_eq!(world.phone.fates, [("call".to_owned(), 202)]);
    world.assert_nothing_is_left(1);
}

#[test]
fn a_text_while_the_server_is_away_comes_back() {
    let mut world = with_user(world::config());
    world.cut_link(ms(0), Duration::from_secs(5));
    world.phone_writes(ms(100), "m1", "hello");
    world.run();
    assert_eq!(world.phone.fates, [("m1".to_owned(), 480)]);
    assert!(world.clients[0].read.is_empty());
    world.assert_nothing_is_left(0);
}

#[test]
fn a_gateway_that_stops_waits_for_texts_and_says_what_became_of_them() {
    for (grace, refused) in [
        (Duration::from_secs(60), vec!["remote-server-timeout"; 3]),
        (
            Duration::from_secs(2),
            vec![
                "remote-server-timeout",
                "remote-server-not-found",
                "remote-server-not-found",
            ],
        ),
    ] {
        let mut world = with_user(world::config());
        world.phone.habits.is_deaf = true;
        for n in 0..3 {
            world.writes(ms(n), 0, &format!("text {n}"));
        }
        world.stop_gateway(ms(500), grace);
        world.run_until(ms(1_000));
        assert!(!world.gateway.is_idle());
        world.run();
        assert_eq!(world.clients[0].refused, refused);
        assert!(world.gateway.is_idle());
        world.assert_nothing_is_left(0);
    }
}

#[test]
fn nothing_of_a_text_is_in_the_log() {
    let mut world = with_user(world::config());
    world.phone.habits.refuses_texts = Some(500);
    world.writes(ms(0), 0, "secret juliet@example.org");
    world.phone_writes(ms(0), "m1", "secret +15551234567");
    world.run();
    // This is where the log is searched.
    world.assert_nothing_is_left(0);
}

#[test]
fn texts_that_wait_for_an_earlier_one_are_bounded() {
    let mut config = world::config();
    config.access.messages_per_minute = 1_000;
    let mut world = with_user(config);
    world.deafen(Which::First, ms(0), Duration::from_secs(10));
    for n in 0..30 {
        world.writes(ms(n), 0, &format!("text {n}"));
    }
    world.run();
    // One under way, and 20 behind it.
    assert_eq!(world.phone.texts.len(), 21);
    assert_eq!(world.clients[0].receipts.len(), 21);
    assert_eq!(world.clients[0].refused, ["resource-constraint"; 9]);
    assert_eq!(world.gateway.text_stats().out_failed, 9);
    world.assert_nothing_is_left(0);
}
