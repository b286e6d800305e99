//! Which trunk a call takes, and what is offered to it.

use super::*;

#[test]
fn a_trunk_is_offered_first_what_both_sides_speak_and_nothing_else_without_transcoding() {
    for (transcode, wanted) in [
        (Transcode::Never, vec!["PCMU", "telephone-event", "CN"]),
        (
            Transcode::WhenNeeded,
            vec!["PCMU", "opus", "telephone-event", "telephone-event", "CN"],
        ),
    ] {
        let mut desk = Desk::with(|config| config.media.transcode = transcode);
        desk.event(
            JULIET,
            dials(Offering::Described(ice(
                vec![pcma(), pcmu()],
                Setup::Actpass,
            ))),
        );
        let offers = desk.offers();
        let [(_, offer, trunk)] = offers.as_slice() else {
            panic!("{offers:?}")
        };
        assert_eq!(trunk.as_deref(), Some("first"));
        let names: Vec<&str> = offer.streams[0]
            .codecs
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(names, wanted);
    }
}

#[test]
fn a_trunk_that_requires_it_gets_keys_and_gives_some() {
    let mut desk = Desk::with(|config| config.trunks[0].srtp = Srtp::Require);
    desk.event(JULIET, dials(later()));
    let (phone, offer, _) = desk.offers().remove(0);
    let Transport::Rtp(ours) = &offer.streams[0].transport else {
        panic!("no ICE toward SIP")
    };
    let Security::Sdes(lines) = &ours.security else {
        panic!("{ours:?}")
    };
    let suites: Vec<&str> = lines.iter().map(|line| line.suite.as_str()).collect();
    assert_eq!(suites, ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"]);
    let mut answer = rtp(vec![pcmu()]);
    let chosen = Crypto {
        key: "inline:theirs".to_owned(),
        ..lines[1].clone()
    };
    if let Transport::Rtp(theirs) = &mut answer.streams[0].transport {
        theirs.security = Security::Sdes(vec![chosen.clone()]);
    }
    desk.event(phone, LegEvent::Answered(answer));
    let SideTransport::Rtp(side) = &desk.last_spec(Side::Callee).transport else {
        panic!("no ICE toward SIP")
    };
    let keys = crate::border::RtpKeys::Sdes {
        local: lines[1].clone(),
        remote: chosen,
    };
    assert_eq!(side.keys, keys);
}

#[test]
fn an_unprotected_call_rings_nobody_where_protection_is_required() {
    let mut desk = Desk::with(|config| config.trunks[0].srtp = Srtp::Require);
    desk.event(TRUNK, calls_in());
    let told = desk.told();
    let [(TRUNK, LegCommand::End(end))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(end.reason, EndReason::Security);
    desk.assert_empty();
}

#[test]
fn a_failing_trunk_is_followed_by_the_next_and_a_busy_callee_is_not() {
    let mut desk = Desk::new();
    desk.event(JULIET, dials(later()));
    let (first, ..) = desk.offers().remove(0);
    desk.event(first, LegEvent::Ended(EndReason::NoRoute.into()));
    let offers = desk.offers();
    assert_eq!(offers.len(), 1);
    assert_eq!(offers[0].2.as_deref(), Some("second"));
    desk.event(offers[0].0, LegEvent::Ended(EndReason::Busy.into()));
    assert_eq!(
        desk.told(),
        [(JULIET, LegCommand::End(EndReason::Busy.into()))]
    );
    desk.assert_empty();
    assert_eq!(desk.records.len(), 1);
}

#[test]
fn a_call_that_fails_says_at_which_trunk() {
    let mut desk = Desk::new();
    let leg = |number| LegId { number, ..JULIET };
    desk.event(leg(1), dials(later()));
    let (first, ..) = desk.offers().remove(0);
    // The second one is full.
    desk.calls.set_trunk_up("first".to_owned(), false);
    for n in 2..=3 {
        desk.event(leg(n), dials(later()));
        assert_eq!(desk.offers()[0].2.as_deref(), Some("second"));
    }
    desk.event(first, LegEvent::Ended(EndReason::NoRoute.into()));
    desk.close_bridges();
    assert_eq!(desk.records[0].trunk.as_deref(), Some("first"));
    assert_eq!(desk.records[0].end.reason, EndReason::NoRoute);
    for n in 2..=3 {
        desk.event(leg(n), LegEvent::Ended(EndReason::Cancelled.into()));
    }
    desk.assert_empty();
}

#[test]
fn a_call_that_finds_no_port_at_the_next_trunk_is_counted_at_none() {
    let mut desk = Desk::with(|config| {
        config.trunks[0].max_calls = None;
        config.access.max_calls_per_user = 9;
    });
    let leg = |number| LegId { number, ..JULIET };
    desk.event(leg(1), dials(later()));
    let (first, ..) = desk.offers().remove(0);
    for n in 2..=5 {
        desk.event(leg(n), dials(later()));
    }
    desk.event(first, LegEvent::Ended(EndReason::NoRoute.into()));
    assert_eq!(desk.calls.census().trunk_calls, 4);
    for n in 2..=5 {
        desk.event(leg(n), LegEvent::Ended(EndReason::Cancelled.into()));
    }
    desk.assert_empty();
}

#[test]
fn a_trunk_that_is_down_is_tried_last() {
    let mut desk = Desk::new();
    desk.calls.set_trunk_up("first".to_owned(), false);
    desk.event(JULIET, dials(later()));
    let offers = desk.offers();
    assert_eq!(offers[0].2.as_deref(), Some("second"));
    desk.event(offers[0].0, LegEvent::Ended(EndReason::NoRoute.into()));
    assert_eq!(desk.offers()[0].2.as_deref(), Some("first"));
}

#[test]
fn a_full_trunk_is_passed_over_and_two_full_ones_refuse_the_call() {
    let mut desk = Desk::new();
    let leg = |number| LegId { number, ..JULIET };
    let trunks: Vec<Option<String>> = (1..=4)
        .map(|n| {
            desk.event(leg(n), dials(later()));
            desk.offers().remove(0).2
        })
        .collect();
    let name = |n: &str| Some(n.to_owned());
    assert_eq!(
        trunks,
        [name("first"), name("first"), name("second"), name("second")]
    );
    let mut other = dials(later());
    if let LegEvent::Offered { from, .. } = &mut other {
        *from = Address::Xmpp("nurse@example.org".parse().unwrap());
    }
    desk.event(leg(5), other);
    let told = desk.told();
    assert!(
        matches!(&told[0].1, LegCommand::End(end) if end.reason == EndReason::Overloaded),
        "{told:?}"
    );
    for n in 1..=4 {
        desk.event(leg(n), LegEvent::Ended(EndReason::Cancelled.into()));
    }
    desk.assert_empty();
    assert_eq!(desk.records.len(), 5);
}

#[test]
fn packets_are_asked_for_as_the_other_side_wants_them() {
    let wants = |ptime, maxptime| {
        let mut description = rtp(vec![pcmu()]);
        description.streams[0].ptime_ms = ptime;
        description.streams[0].maxptime_ms = maxptime;
        description
    };
    let times = |description: &Description| {
        let stream = &description.streams[0];
        (stream.ptime_ms, stream.maxptime_ms)
    };
    for (ptime, maxptime, asked) in [
        (Some(30), Some(40), (Some(30), Some(40))),
        // What everybody does needs no word.
        (Some(20), Some(150), (None, None)),
        (None, Some(20), (None, Some(20))),
    ] {
        let mut desk = Desk::new();
        desk.event(JULIET, dials(later()));
        let (phone, ..) = desk.offers().remove(0);
        desk.event(phone, LegEvent::Answered(wants(ptime, maxptime)));
        desk.told();
        desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
        let told = desk.told();
        let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(times(answer), asked);
        desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_empty();
        let mut desk = Desk::new();
        let mut calls = calls_in();
        if let LegEvent::Offered { offer, .. } = &mut calls {
            *offer = Offering::Described(wants(ptime, maxptime));
        }
        desk.event(TRUNK, calls);
        assert!(
            desk.offers()
                .iter()
                .all(|(_, offer, _)| times(offer) == asked)
        );
    }
}
