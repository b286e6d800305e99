//! A whole day of a gateway: registrations, health checks, session timers, trunks that fall silent
//! and come back, an XMPP link that breaks. At the end of the day nothing is left of any of it.

use std::time::Duration;

use offhook::address::Address;
use offhook::call::record::CallRecord;
use offhook::config::Secret;
use offhook::leg::EndReason;

use crate::world::phone::{Habits, Plan};
use crate::world::{Which, World, client, config_with_backup};

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const DAY: Duration = minutes(24 * 60);

/// A gateway with two trunks: one wants a registration, both are asked whether they are up.
fn gateway() -> World {
    let mut config = config_with_backup();
    let carrier = &mut config.trunks[0];
    carrier.register = true;
    carrier.username = Some("offhook".to_owned());
    carrier.password = Some(Secret("secret".to_owned()));
    for trunk in &mut config.trunks {
        trunk.options = minutes(1);
    }
    // Each of the day's users calls once, and some for hours.
    config.call.max_call = minutes(3 * 60);
    let plan = Plan::Answer {
        after: Duration::from_secs(3),
        hangup_after: None,
    };
    let mut world = World::with_config(1, plan, config);
    world.backup.plan = plan;
    for phone in [&mut world.phone, &mut world.backup] {
        phone.habits = Habits {
            session_expires: Some(600),
            ..Habits::default()
        };
    }
    world.expected_logs = vec!["trunk is down", "registration failed"];
    world
}

#[test]
fn a_day_leaves_nothing_behind() {
    let mut world = gateway();
    world.callee(client::Plan::Answer {
        after: Duration::from_secs(2),
        hangup_after: None,
    });
    // Every seven minutes somebody calls, for a minute to three hours.
    let calls: u64 = 24 * 60 / 7;
    for count in 0..calls {
        let talks = minutes(1 + count * 37 % 180);
        world.caller(count % 5 == 0, Some(talks), minutes(count * 7));
    }
    // One phone call comes in, and is kept alive by refreshes of ours.
    world.phone_calls(minutes(30), "long", Some(minutes(170)));
    for hour in (1..24).step_by(3) {
        world.deafen(Which::First, minutes(hour * 60), minutes(12));
        world.deafen(Which::Backup, minutes(hour * 60 + 90), minutes(5));
        world.cut_link(minutes(hour * 60 + 45), Duration::from_secs(20));
    }
    // Three hours for the last call to end.
    world.run_until(DAY + minutes(3 * 60 + 10));

    world.run_until_quiet();
    let records = world.records.len();
    world.assert_nothing_is_left(records);
    assert!(records >= 200, "{records} calls");
    let answered = world.phone.answered + world.backup.answered;
    assert!(answered > 180, "{answered} answered");
    assert!(
        world.backup.answered > 0,
        "nobody called by the second trunk"
    );
    assert!(
        world.phone.refreshed > 1_000,
        "{} refreshes",
        world.phone.refreshed
    );
    // Ten minutes' bindings, renewed well before they end, but for the silent hours.
    let registered = world.phone.registered;
    assert!(
        (130..600).contains(&registered),
        "{registered} registrations"
    );
    let from_phone = |r: &&CallRecord| matches!(r.from, Address::Number(_));
    let long = world.records.iter().find(from_phone).unwrap();
    assert!(long.duration > minutes(20), "{long:?}");
    let lost = |reason| {
        world
            .records
            .iter()
            .filter(|r| r.end.reason == reason)
            .count()
    };
    assert_eq!(lost(EndReason::Failed), 0);
}
