//! Worlds by chance: whatever dice say, by seed or from a fuzzer's bytes.

use std::time::Duration;

use super::dialect::{self, Dialect};
use super::{Link, MediaPlan, World, client, config, config_with_backup, phone};
use offhook::address::E164;
use offhook::config::Secret;

/// A world that is ready to run.
pub struct Scenario {
    pub world: World,
    /// How many calls there will be, if nothing can swallow one before the gateway sees it.
    pub calls: Option<usize>,
}

/// Throws one number below another.
pub type Dice<'a> = &'a mut dyn FnMut(u64) -> u64;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn one_in(dice: Dice<'_>, n: u64) -> bool {
    dice(n) == 0
}

/// Builds a random world.
pub fn random(seed: u64, dice: Dice<'_>) -> Scenario {
    let has_backup = one_in(dice, 4);
    let mut config = if has_backup {
        config_with_backup()
    } else {
        config()
    };
    for trunk in &mut config.trunks {
        trunk.video = true;
    }
    let challenge = one_in(dice, 5).then(|| if one_in(dice, 2) { 401 } else { 407 });
    if challenge.is_some() {
        for trunk in &mut config.trunks {
            trunk.username = Some("gateway".to_owned());
            trunk.password = Some(Secret("password".to_owned()));
        }
    }
    let numbers = &mut config.numbers;
    numbers[0].number = E164::parse("+15550001000").expect("a number");
    if one_in(dice, 3) {
        numbers[0]
            .ring
            .push("nurse@example.org".parse().expect("a JID"));
    }
    let mut world = World::with_config(seed, phone_plan(dice), config);
    world.phone.habits = phone_habits(dice, challenge);
    if has_backup {
        world.backup.plan = phone_plan(dice);
        world.backup.habits = phone_habits(dice, challenge);
        if one_in(dice, 2) {
            world.phone.plan = phone::Plan::Refuse {
                after: ms(dice(1_000)),
                status: [500, 502, 503][dice(3) as usize],
            };
        }
    }
    world.link = Link {
        loss_percent: dice(41),
        double_percent: dice(31),
        delay: ms(1 + dice(60)),
        jitter: ms(dice(400)),
    };
    world.media = match dice(10) {
        0 => MediaPlan::WrongFingerprint,
        1 => MediaPlan::Never,
        2 => MediaPlan::FallsSilent(ms(1_000 + dice(30_000))),
        _ => MediaPlan::Connects(ms(dice(2_000))),
    };
    if one_in(dice, 4) {
        world.stanza_double_percent = dice(60);
    }
    if one_in(dice, 6) {
        world.taken_ports = [20_000, 20_004].into();
        world.expected_logs.push("another program has a port");
    }
    let mut calls = Some(0);
    for _ in 0..1 + dice(3) {
        // Somebody must end it if the phone does not.
        let end_after = Some(ms(dice(20_000)));
        let dialect = dialect(dice);
        let n = world.caller(!dialect.invites, end_after, ms(dice(3_000)));
        world.clients[n].habits = client_habits(dice);
        world.clients[n].dialect = dialect;
        calls = calls.map(|n| n + usize::from(dialect.dtls));
    }
    if one_in(dice, 3) {
        for jid in ["juliet@example.org/balcony", "nurse@example.org/kitchen"] {
            let n = world.callee(callee_plan(dice));
            jid.clone_into(&mut world.clients[n].jid);
            world.clients[n].habits = client_habits(dice);
            world.clients[n].dialect = dialect(dice);
        }
        let at = ms(dice(3_000));
        world.phone_calls(at, "in-1", Some(ms(20_000)));
        calls = calls.map(|n| n + 1);
    }
    if one_in(dice, 4) {
        world.says_again = one_in(dice, 2);
        world.cut_link(ms(dice(10_000)), ms(dice(5_000)));
        // What is said while the link is down is lost, calls of clients included.
        calls = None;
    }
    if one_in(dice, 8) {
        world.stop_gateway(ms(dice(15_000)), ms(dice(10_000)));
    }
    // A call that was over when its client moved it is another one.
    if world.clients.iter().any(|c| c.habits.move_after.is_some()) {
        calls = None;
    }
    // A device that holds two calls, and perhaps connects them. What would take it to another place
    // is left out: its lines would have to go together.
    if one_in(dice, 4) {
        let n = 0;
        let end_after = Some(ms(dice(20_000)));
        let line = world.second_line(n, end_after, ms(dice(3_000)));
        world.clients[n].habits.transfer_after = Some(ms(dice(5_000)));
        world.clients[line].habits.transfer_after = one_in(dice, 3).then(|| ms(dice(5_000)));
        for n in [n, line] {
            world.clients[n].habits.vanish_after = None;
            world.clients[n].habits.move_after = None;
        }
        let dtls = world.clients[line].dialect.dtls;
        calls = calls.map(|n| n + usize::from(dtls));
    }
    for client in &mut world.clients {
        client.habits.shows = one_in(dice, 3);
    }
    world.phone.habits.shows = one_in(dice, 2);
    world.backup.habits.shows = one_in(dice, 2);
    Scenario { world, calls }
}

/// Any family of clients; one in twenty has no encryption, and its call is refused.
fn dialect(dice: Dice<'_>) -> Dialect {
    match dice(20) {
        0 => dialect::GAJIM,
        n => dialect::CALLING[n as usize % dialect::CALLING.len()],
    }
}

fn phone_plan(dice: Dice<'_>) -> phone::Plan {
    match dice(6) {
        0 => phone::Plan::Ring,
        1 => phone::Plan::Silent,
        2 => phone::Plan::Refuse {
            after: ms(dice(5_000)),
            status: [404, 480, 486, 500, 503, 603][dice(6) as usize],
        },
        _ => phone::Plan::Answer {
            after: ms(dice(8_000)),
            hangup_after: one_in(dice, 2).then(|| ms(dice(10_000))),
        },
    }
}

fn phone_habits(dice: Dice<'_>, challenge: Option<u16>) -> phone::Habits {
    phone::Habits {
        challenge,
        hold_after: one_in(dice, 3).then(|| ms(dice(4_000))),
        hold_for: one_in(dice, 2).then(|| ms(dice(4_000))),
        press_after: one_in(dice, 3).then(|| ms(dice(4_000))),
        session_expires: None,
        refers: one_in(dice, 2).then(|| [200, 486, 503][dice(3) as usize]),
        refuses_texts: None,
        writes_after: None,
        shows: false,
        is_deaf: false,
    }
}

fn client_habits(dice: Dice<'_>) -> client::Habits {
    client::Habits {
        vanish_after: one_in(dice, 10).then(|| ms(dice(8_000))),
        return_after: one_in(dice, 2).then(|| ms(dice(30_000))),
        restart_ice_after: one_in(dice, 6).then(|| ms(dice(3_000))),
        move_after: one_in(dice, 8).then(|| ms(dice(3_000))),
        transfer_after: one_in(dice, 6).then(|| ms(dice(5_000))),
        hold_after: one_in(dice, 3).then(|| ms(dice(4_000))),
        hold_for: one_in(dice, 2).then(|| ms(dice(4_000))),
        shows: false,
        confirms: false,
    }
}

fn callee_plan(dice: Dice<'_>) -> client::Plan {
    match dice(3) {
        0 => client::Plan::Ignore,
        1 => client::Plan::Decline {
            after: ms(dice(5_000)),
        },
        _ => client::Plan::Answer {
            after: ms(dice(5_000)),
            hangup_after: Some(ms(dice(10_000))),
        },
    }
}
