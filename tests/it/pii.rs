//! Nothing personal is in the log above debug level, and the wrapper that sees to it works.

use std::time::Duration;

use crate::world::{self, MediaPlan, World, client, phone, watch};
use offhook::pii::Pii;

#[test]
fn no_number_jid_or_address_is_logged_above_debug() {
    let answers = phone::Plan::Answer {
        after: Duration::from_secs(2),
        hangup_after: None,
    };
    let refuses = phone::Plan::Refuse {
        after: Duration::from_secs(1),
        status: 503,
    };
    let mut lines = 0;
    for plan in [answers, refuses, phone::Plan::Ring, phone::Plan::Silent] {
        for media in [
            MediaPlan::Connects(Duration::from_millis(80)),
            MediaPlan::WrongFingerprint,
            MediaPlan::Never,
        ] {
            for plain in [false, true] {
                let config = world::config_with_backup();
                let mut world = World::with_config(1, plan, config);
                world.media = media;
                world.caller(plain, Some(Duration::from_secs(60)), Duration::ZERO);
                world.callee(client::Plan::Answer {
                    after: Duration::from_secs(1),
                    hangup_after: Some(Duration::from_secs(9)),
                });
                world.phone_calls(Duration::from_secs(1), "in-1", None);
                world.cut_link(Duration::from_secs(8), Duration::from_secs(1));
                world.run();
                // This is where the log is searched.
                world.assert_nothing_is_left(2);
                lines += watch::heard().len();
            }
        }
    }
    assert!(lines > 24, "{lines} lines: the test listens to nothing");
}

#[test]
fn a_number_a_jid_and_an_address_are_hidden() {
    for whole in [
        "+15551234567",
        "juliet@example.org/balcony",
        "192.0.2.10:5060",
    ] {
        let shown = Pii(whole).to_string();
        assert!(
            !watch::PERSONAL.iter().any(|part| shown.contains(part)),
            "{shown}"
        );
        assert_eq!(
            format!("{:?}", Pii(whole)),
            whole,
            "debug level shows it whole"
        );
    }
}

#[test]
fn the_watch_hears_what_it_shall_not_hear() {
    watch::start();
    tracing::info!(target: "offhook::test", peer = %"juliet@example.org", "hello");
    let ran = std::panic::catch_unwind(|| watch::assert_nothing_bad(&[], ""));
    assert!(ran.is_err());
    watch::start();
    tracing::warn!(target: "offhook::test", "a surprise");
    let ran = std::panic::catch_unwind(|| watch::assert_nothing_bad(&[], ""));
    assert!(ran.is_err());
    watch::assert_nothing_bad(&["a surprise"], "");
    tracing::debug!(target: "offhook::test", peer = %"juliet@example.org", "whole");
    watch::assert_nothing_bad(&["a surprise"], "");
}
