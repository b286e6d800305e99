//! Each family of clients in the simulated world, and the table of it in `docs/clients.md`. After a
//! change, run `the_table_of_clients_…` once with `PRINT_DOCS=1`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::world::dialect::{self, Dialect};
use crate::world::{Link, NUMBER, World, client, config, phone};
use offhook::border::Side;
use offhook::leg::EndReason;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn answers(hangup_after: Option<u64>) -> phone::Plan {
    phone::Plan::Answer {
        after: secs(2),
        hangup_after: hangup_after.map(secs),
    }
}

/// A world in which a client of this family calls the phone.
fn calling(dialect: Dialect, plan: phone::Plan, end_after: Option<u64>) -> World {
    let mut world = World::new(1, plan);
    world.caller(!dialect.invites, end_after.map(secs), Duration::ZERO);
    world.clients[0].dialect = dialect;
    world
}

/// A world in which the phone calls a client of this family, and gives up after a minute.
fn called(dialect: Dialect, plan: client::Plan) -> World {
    let mut world = World::new(1, phone::Plan::Silent);
    world.callee(plan);
    world.clients[0].dialect = dialect;
    world.phone_calls(Duration::ZERO, "in-1", Some(secs(60)));
    world
}

fn run(mut world: World) -> World {
    world.run();
    world.assert_nothing_is_left(1);
    world
}

fn reason(world: &World) -> EndReason {
    world.records[0].end.reason
}

fn calls_and_hangs_up(dialect: Dialect) {
    let world = run(calling(dialect, answers(None), Some(20)));
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.clients[0].ended.as_deref(), Some("hung up"));
    assert!(world.clients[0].rang);
    assert_eq!(world.phone.hung_up, 1);
    assert_eq!(world.clients[0].read, [""; 0]);
}

fn is_called(dialect: Dialect) {
    let plan = client::Plan::Answer {
        after: secs(3),
        hangup_after: Some(secs(5)),
    };
    let world = run(called(dialect, plan));
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.phone.answered, 1);
    assert_eq!(world.clients[0].read, [""; 0]);
}

fn cancels(dialect: Dialect) {
    let world = run(calling(dialect, phone::Plan::Ring, Some(5)));
    assert_eq!(reason(&world), EndReason::Cancelled, "{}", world.story());
    assert_eq!(world.phone.cancelled, 1);
    assert_eq!(world.clients[0].read, [""; 0]);
}

fn declines(dialect: Dialect) {
    let world = run(called(dialect, client::Plan::Decline { after: secs(2) }));
    let story = world.story();
    match dialect.declines {
        Some("busy") => assert_eq!(reason(&world), EndReason::Busy, "{story}"),
        Some(_) => assert_eq!(reason(&world), EndReason::Declined, "{story}"),
        // Who says nothing is rung until the caller gives up.
        None => assert_eq!(reason(&world), EndReason::Cancelled, "{story}"),
    }
}

fn hears_busy(dialect: Dialect) {
    let refuses = phone::Plan::Refuse {
        after: secs(1),
        status: 486,
    };
    let world = run(calling(dialect, refuses, None));
    assert_eq!(reason(&world), EndReason::Busy, "{}", world.story());
    let ended = world.clients[0].ended.as_deref();
    let told = ["reject busy", "terminate busy"];
    assert!(
        ended.is_some_and(|ended| told.contains(&ended)),
        "{ended:?}"
    );
    assert_eq!(world.clients[0].read, ["The line is busy. (486)"]);
}

fn writes_keys(dialect: Dialect) {
    let mut world = calling(dialect, answers(None), Some(20));
    let jid = world.clients[0].jid.clone();
    let text = format!(
        "<message xmlns='jabber:component:accept' type='chat' id='keys' from='{jid}' to='{NUMBER}'>\
         <body>1 2#</body></message>"
    );
    world.hears_stanza(secs(6), text.parse().unwrap());
    let world = run(world);
    let keys = ['1', '2', '#'].map(|key| (Side::Callee, key));
    assert_eq!(world.pressed, keys, "{}", world.story());
}

/// Its user holds the call and takes it up again; the phone hears of both.
fn holds(dialect: Dialect) {
    let mut world = calling(dialect, answers(None), Some(20));
    world.clients[0].habits.hold_after = Some(secs(3));
    world.clients[0].habits.hold_for = Some(secs(4));
    let world = run(world);
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.phone.refreshed, 2, "{}", world.story());
}

/// The phone holds the call and takes it up again, and the client hears of nothing that it might not
/// know.
fn is_held(dialect: Dialect) {
    let mut world = calling(dialect, answers(None), Some(20));
    world.phone.habits.hold_after = Some(secs(3));
    world.phone.habits.hold_for = Some(secs(4));
    let world = run(world);
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.clients[0].ended.as_deref(), Some("hung up"));
    assert_eq!(world.phone.offered, 2, "{}", world.story());
}

/// The phone rings for as long as it may, or there is nobody at all: a client that waits 45 s from one
/// `ringing` to the next, and 15 s from `proceed` to media, waits on.
fn keeps_its_patience(dialect: Dialect) {
    let late = phone::Plan::Answer {
        after: secs(110),
        hangup_after: None,
    };
    let world = run(calling(dialect, late, Some(130)));
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.clients[0].ended.as_deref(), Some("hung up"));
    let world = run(calling(dialect, phone::Plan::Silent, None));
    assert_eq!(
        world.clients[0].ended.as_deref(),
        Some("reject general-error")
    );
}

/// A call with pictures to a phone that has some, to one that has none, and over a trunk that has
/// none. The client ends what is not answered as it was offered.
fn makes_a_video_call(dialect: Dialect) {
    for (has_video, shows) in [(true, true), (true, false), (false, true)] {
        let mut config = config();
        config.trunks[0].video = has_video;
        let mut world = World::with_config(1, answers(None), config);
        world.caller(!dialect.invites, Some(secs(20)), Duration::ZERO);
        world.clients[0].dialect = dialect;
        world.clients[0].habits.shows = true;
        world.phone.habits.shows = shows;
        // And it is held in between, which is for both.
        world.phone.habits.hold_after = Some(secs(3));
        world.phone.habits.hold_for = Some(secs(4));
        let world = run(world);
        let story = world.story();
        assert_eq!(reason(&world), EndReason::Hangup, "{story}");
        assert_eq!(
            world.clients[0].ended.as_deref(),
            Some("hung up"),
            "{story}"
        );
        assert_eq!(world.phone.offered, 2, "{story}");
        let told: &[u16] = match (has_video, shows) {
            (true, true) => &[20_002],
            // The answers to its own offers say that there are none.
            (true, false) => &[20_002, 0],
            (false, _) => &[],
        };
        assert_eq!(world.phone.told_pictures, told, "{story}");
    }
}

fn hears_hangup(dialect: Dialect) {
    let world = run(calling(dialect, answers(Some(5)), None));
    assert_eq!(reason(&world), EndReason::Hangup, "{}", world.story());
    assert_eq!(world.clients[0].ended.as_deref(), Some("terminate success"));
}

fn loses_its_network(dialect: Dialect) {
    let mut world = calling(dialect, answers(None), None);
    world.clients[0].habits.vanish_after = Some(secs(8));
    let world = run(world);
    assert_eq!(reason(&world), EndReason::PeerGone, "{}", world.story());
    assert_eq!(world.phone.hung_up, 1);
}

fn survives_chaos(dialect: Dialect) {
    for seed in 0..40 {
        let mut config = config();
        config.trunks[0].video = true;
        let plan = answers((seed % 2 == 0).then_some(seed % 7));
        let mut world = World::with_config(seed, plan, config);
        world.link = Link {
            loss_percent: seed,
            double_percent: seed / 2,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(seed * 10),
        };
        world.stanza_double_percent = seed;
        world.caller(!dialect.invites, Some(secs(seed % 11)), Duration::ZERO);
        world.clients[0].dialect = dialect;
        world.clients[0].habits.shows = seed % 3 == 0;
        world.phone.habits.shows = seed % 4 != 0;
        world.run();
        world.assert_nothing_is_left(world.records.len());
    }
}

/// A client without encryption is refused before there is a call.
fn is_refused(dialect: Dialect) {
    let mut world = calling(dialect, answers(None), None);
    world.run();
    world.assert_nothing_is_left(0);
    assert_eq!(world.phone.answered, 0);
    let ended = world.clients[0].ended.as_deref();
    assert_eq!(ended, Some("terminate security-error"));
}

/// What the table's columns are.
const COLUMNS: [&str; 11] = [
    "calls and hangs up",
    "is called",
    "cancels",
    "declines",
    "hears busy",
    "writes keys",
    "holds",
    "is held",
    "hears hang-up",
    "loses its network",
    "makes a video call",
];

macro_rules! families {
    ($($(#[$doc:meta])* $family:ident $title:literal $dialect:ident
        [$($test:ident)*];)*) => {
        $($(#[$doc])* mod $family { use super::*; $(
            #[test]
            fn $test() { super::$test(dialect::$dialect) }
        )* })*
        /// Each family's title and the tests it has.
        const FAMILIES: &[(&str, &str, &[&str])] =
            &[$(($title, stringify!($family), &[$(stringify!($test),)*]),)*];
    };
}

families! {
    conversations "Conversations, Cheogram, Snikket" CONVERSATIONS [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    dino "Dino" DINO [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    movim "Movim" MOVIM [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    monal "Monal" MONAL [keeps_its_patience calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    siskin "Siskin, Beagle" SISKIN [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    kaidan "Kaidan" KAIDAN [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    borogove "Borogove" BOROGOVE [calls_and_hangs_up is_called cancels declines hears_busy writes_keys is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    stanza_js "stanza.js" STANZA_JS [calls_and_hangs_up cancels hears_busy writes_keys holds is_held hears_hangup loses_its_network makes_a_video_call survives_chaos];
    gajim "Gajim" GAJIM [is_refused];
}

const HEAD: &str = "## Families in the simulated world
Printed from `tests/it/clients.rs`, whose tests these are (`cargo test --test it clients::`): do not edit. A family is a client
written apart from the program, with the habits that `tests/it/world/dialect.rs` lists; it ends the call where what it gets would
break its parser or its engine. All but Gajim's also meet a network that loses, doubles and reorders (`survives_chaos`), and all are
in the random worlds of `tests/it/chaos.rs`. Monal's waits no longer than 30 s for the first `ringing`, 45 s for the next, 15 s from
`proceed` on (`monal::keeps_its_patience`). Only stanza.js has a hold of its own.
";

fn table() -> String {
    let mut out = format!("{HEAD}\n| |");
    for column in COLUMNS {
        out += &format!(" {column} |");
    }
    out += "\n|---|";
    out += &"---|".repeat(COLUMNS.len());
    for (title, family, tests) in FAMILIES {
        out += &format!("\n| {title} |");
        for column in COLUMNS {
            let name = match column {
                "hears hang-up" => "hears_hangup".to_owned(),
                _ => column.replace(' ', "_"),
            };
            let refused = tests.contains(&"is_refused") && column == COLUMNS[0];
            let cell = match tests.contains(&name.as_str()) {
                true => format!(" `{family}::{name}` |"),
                false if refused => format!(" refused: `{family}::is_refused` |"),
                false => " |".to_owned(),
            };
            out += &cell;
        }
    }
    out + "\n\n"
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_table_of_clients_is_what_the_tests_print() {
    let page = read("docs/clients.md");
    let start = page.find("## Families").unwrap_or(page.len());
    let rest = page.find("## Recorded stanzas").unwrap();
    let printed = [&page[..start.min(rest)], &table(), &page[rest..]].concat();
    if std::env::var_os("PRINT_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
        std::fs::write(path, &printed).unwrap();
    }
    assert!(
        read("docs/clients.md") == printed,
        "docs/clients.md is old; run this test with PRINT_DOCS=1"
    );
}

#[test]
fn every_test_that_the_page_of_clients_names_exists() {
    let page = read("docs/clients.md");
    let fixtures = read("src/xmpp/jingle/tests/fixtures.rs");
    let mut sources = String::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "py") {
            sources += &std::fs::read_to_string(path).unwrap();
        }
    }
    let names: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let mut known = 0;
    for name in names {
        let is_name = |name: &str| {
            name.contains('_')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        };
        let exists = if name.starts_with("test_") {
            sources.contains(&format!("def {name}("))
        } else if is_name(name) && name != "survives_chaos" {
            fixtures.contains(&format!("fn {name}("))
        } else {
            continue;
        };
        assert!(exists, "docs/clients.md names {name}, which is no test");
        known += 1;
    }
    assert!(known > 30, "{known}");
}
