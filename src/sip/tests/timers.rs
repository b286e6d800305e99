//! Session timers (RFC 4028), one message at a time.

use super::raw::{SDP, invite, within};
use super::reliable::with_sdp;
use super::*;
use crate::leg::EndReason;
use crate::sip::wire::Name;

fn bench(seconds: u64) -> Bench {
    Bench::with(|trunk| trunk.session_timer = Duration::from_secs(seconds))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A call of ours that a peer has answered who says `allow`; its leg and INVITE.
fn called(bench: &mut Bench, allow: &str) -> (LegId, Message) {
    let leg = callee(1);
    bench.tells(leg, offer_to(number("+15550199"), Some("south")));
    let invite = bench.sent().remove(0);
    let ok = with_sdp(reply(&invite, 200, "a"), 6000).with(Name::Allow, allow);
    bench.hears(&text(&ok));
    assert_eq!(bench.said(), ["ACK"]);
    assert!(matches!(bench.event(), LegEvent::Answered(_)));
    (leg, invite)
}

/// A call that came and was answered, whose caller says `more`; our 2xx and the leg.
fn calls(bench: &mut Bench, more: &str) -> (LegId, Message) {
    bench.hears(&invite("z9hG4bK1", &format!("{more}{SDP}")));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let ok = bench.sent().pop().unwrap();
    let tag = ok.to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    (leg, ok)
}

/// A request of the callee of `invite`.
fn of_callee(invite: &Message, method: &str, cseq: u32, more: &str) -> String {
    let (tag, call_id) = (invite.from_tag().unwrap(), invite.call_id().unwrap());
    within(method, &format!("z9hG4bKu{method}{cseq}"), cseq, tag, more)
        .replace("Call-ID: c1", &format!("Call-ID: {call_id}"))
}

/// The refresh that is due after so many seconds.
fn refresh(bench: &mut Bench, after: u64, method: &str) -> Message {
    bench.after(seconds(after - 1));
    assert_eq!(bench.said(), Vec::<String>::new(), "too early");
    bench.after(seconds(2));
    let request = bench.sent().remove(0);
    assert_eq!(short(&request), method);
    request
}

fn expires(message: &Message) -> Option<&str> {
    message.header(Name::SessionExpires)
}

#[test]
fn a_peer_that_knows_no_session_timers_is_refreshed_through_the_whole_call() {
    let mut bench = bench(600);
    let (leg, invite) = called(&mut bench, "INVITE, ACK, BYE");
    let answers = |bench: &mut Bench, request: &Message| {
        assert_eq!(expires(request), Some("600;refresher=uac"));
        bench.hears(&text(&with_sdp(reply(request, 200, "a"), 6000)));
        assert_eq!(bench.said(), ["ACK"]);
    };
    for _ in 0..3 {
        let request = refresh(&mut bench, 300, "INVITE");
        answers(&mut bench, &request);
    }
    // Neither its own requests end that, nor ours.
    bench.after(seconds(100));
    let hold = SDP.replace("sendrecv", "sendonly");
    bench.hears(&of_callee(&invite, "INVITE", 1, &hold));
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let ok = bench.sent().pop().unwrap();
    assert_eq!((ok.status(), expires(&ok)), (Some(200), None));
    bench.hears(&of_callee(&invite, "ACK", 1, ""));
    let request = refresh(&mut bench, 300, "INVITE");
    answers(&mut bench, &request);
    for (cseq, sdp) in [(2, ""), (3, SDP)] {
        bench.after(seconds(100));
        bench.hears(&of_callee(&invite, "UPDATE", cseq, sdp));
        bench.tells(leg, LegCommand::Answer(description(5000)));
        assert_eq!(bench.said(), ["200"]);
        let request = refresh(&mut bench, 300, "INVITE");
        answers(&mut bench, &request);
    }
    bench.after(seconds(100));
    bench.hears(&of_callee(&invite, "INVITE", 4, ""));
    assert_eq!(bench.said(), ["200"]);
    bench.hears(&of_callee(&invite, "ACK", 4, SDP));
    bench.tells(leg, LegCommand::Hold(true));
    let ours = bench.sent().remove(0);
    answers(&mut bench, &ours);
    refresh(&mut bench, 300, "INVITE");
    bench.events.clear();
    bench.after(seconds(33));
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::PeerGone);
    bench.is_quiet();
}

#[test]
fn a_peer_that_knows_update_but_no_timers_is_refreshed_by_it() {
    let mut bench = bench(600);
    called(&mut bench, "INVITE, UPDATE");
    for _ in 0..3 {
        let update = refresh(&mut bench, 300, "UPDATE");
        bench.hears(&text(&reply(&update, 200, "a")));
    }
    assert!(bench.events.is_empty());
}

#[test]
fn a_caller_that_asks_for_no_timer_has_that_of_the_trunk() {
    let mut bench = bench(600);
    let (_, ok) = calls(&mut bench, "");
    assert_eq!(expires(&ok), None);
    let request = refresh(&mut bench, 300, "INVITE");
    bench.hears(&text(&with_sdp(reply(&request, 200, "a"), 6000)));
    bench.sent();
    refresh(&mut bench, 300, "INVITE");

    // One that knows timers is told each time, and what is too short for its proxies is not.
    let more = "Supported: timer\nAllow: UPDATE\n";
    let mut bench = self::bench(600);
    let (leg, ok) = calls(&mut bench, &format!("{more}Min-SE: 900\n"));
    assert_eq!(expires(&ok), Some("900;refresher=uas"));
    let tag = ok.to_tag().unwrap();
    bench.hears(&within(
        "INVITE",
        "z9hG4bK5",
        11,
        tag,
        &format!("{more}{SDP}"),
    ));
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert_eq!(
        expires(&bench.sent().pop().unwrap()),
        Some("900;refresher=uas")
    );
    bench.hears(&within("ACK", "z9hG4bKb", 11, tag, ""));
    let update = refresh(&mut bench, 450, "UPDATE");
    assert_eq!(expires(&update), Some("900;refresher=uac"));
}

/// RFC 4028 §7.2, §9: what is not asked for again is off, where the trunk wants no timer.
#[test]
fn a_timer_that_only_the_peer_wanted_ends_with_its_wish() {
    let mut bench = Bench::new();
    let (leg, ok) = calls(&mut bench, "Session-Expires: 100;refresher=uas\n");
    assert_eq!(expires(&ok), Some("100;refresher=uas"));
    let tag = ok.to_tag().unwrap();
    bench.hears(&within("INVITE", "z9hG4bK5", 11, tag, SDP));
    bench.tells(leg, LegCommand::Answer(description(5000)));
    bench.hears(&within("ACK", "z9hG4bKb", 11, tag, ""));
    bench.sent();
    bench.after(seconds(1000));
    assert_eq!(bench.said(), Vec::<String>::new());
}

/// RFC 4028 §10: only 408, 481 and no answer at all end the call before its interval.
#[test]
fn a_refresh_that_fails_is_tried_again_until_the_interval_is_over() {
    let mut bench = Bench::new();
    calls(&mut bench, "Session-Expires: 100;refresher=uas\n");
    let request = refresh(&mut bench, 50, "INVITE");
    let busy = reply(&request, 500, "a").with(Name::RetryAfter, "2");
    bench.hears(&text(&busy));
    assert_eq!(bench.said(), ["ACK"]);
    let request = refresh(&mut bench, 5, "INVITE");
    let busy = reply(&request, 503, "a").with(Name::RetryAfter, "3600");
    bench.hears(&text(&busy));
    assert_eq!(bench.said(), ["ACK"]);
    let request = refresh(&mut bench, 10, "INVITE");
    bench.hears(&text(
        &with_sdp(reply(&request, 200, "a"), 6000).with(Name::SessionExpires, "100;refresher=uac"),
    ));
    assert_eq!(bench.said(), ["ACK"]);
    // From here on it is refused for ever.
    let request = refresh(&mut bench, 50, "INVITE");
    bench.hears(&text(&reply(&request, 488, "a")));
    let mut tries = 0;
    let start = bench.now;
    while bench.events.is_empty() {
        bench.after(seconds(1));
        for request in bench.sent() {
            if short(&request) == "INVITE" {
                tries += 1;
                bench.hears(&text(&reply(&request, 488, "a")));
            }
        }
        assert!(bench.now - start < seconds(60), "the interval is over");
    }
    assert!(tries > 5, "{tries}");
    assert!(bench.now - start > seconds(45));
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::PeerGone);
    bench.is_quiet();
}

#[test]
fn a_refresh_that_cannot_be_sent_is_tried_again() {
    for (allow, method) in [("Allow: UPDATE\n", "UPDATE"), ("", "INVITE")] {
        let mut bench = Bench::new();
        calls(
            &mut bench,
            &format!("{allow}Session-Expires: 100;refresher=uas\n"),
        );
        refresh(&mut bench, 50, method);
        let flow = Bench::flow(SOUTH);
        bench.sip.handle(bench.now, NetInput::Unsent { flow });
        bench.collect();
        assert!(bench.events.is_empty());
        let request = refresh(&mut bench, 5, method);
        let ok = with_sdp(reply(&request, 200, "a"), 6000);
        bench.hears(&text(&ok.with(Name::SessionExpires, "100;refresher=uac")));
        bench.sent();
        refresh(&mut bench, 50, method);
        assert!(bench.events.is_empty());
        // Nobody is there any more.
        let start = bench.now;
        while bench.events.is_empty() {
            bench.sip.handle(bench.now, NetInput::Unsent { flow });
            bench.after(seconds(1));
            assert!(bench.now - start < seconds(60), "the interval is over");
        }
        assert!(bench.now - start > seconds(45));
        assert!(matches!(bench.event(), LegEvent::Ended(_)));
    }
}

#[test]
fn a_peer_without_timers_that_refuses_each_refresh_is_there() {
    let mut bench = bench(600);
    let (leg, _) = called(&mut bench, "INVITE");
    for _ in 0..3 {
        let request = refresh(&mut bench, 300, "INVITE");
        bench.hears(&text(&reply(&request, 488, "a")));
        assert_eq!(bench.said(), ["ACK"]);
    }
    assert!(bench.events.is_empty());
    // A server that cannot reach it is another matter.
    let request = refresh(&mut bench, 300, "INVITE");
    bench.hears(&text(&reply(&request, 504, "a")));
    assert_eq!(bench.said(), ["ACK"]);
    refresh(&mut bench, 5, "INVITE");
    let _ = leg;
}

#[test]
fn a_refresh_that_is_too_short_is_asked_for_with_a_longer_interval() {
    let mut bench = Bench::new();
    calls(&mut bench, "Session-Expires: 100;refresher=uas\n");
    let request = refresh(&mut bench, 50, "INVITE");
    bench.hears(&text(&reply(&request, 422, "a").with(Name::MinSe, "200")));
    let request = bench.sent().remove(1);
    assert_eq!(expires(&request), Some("200;refresher=uac"));
    bench.hears(&text(
        &with_sdp(reply(&request, 200, "a"), 6000).with(Name::SessionExpires, "200;refresher=uac"),
    ));
    assert_eq!(bench.said(), ["ACK"]);
    refresh(&mut bench, 100, "INVITE");
}

/// A newer offer of the peer takes the place of a refresh that met glare, and is refused.
#[test]
fn a_refresh_that_gives_way_to_an_offer_of_the_peer_is_not_forgotten() {
    let mut bench = Bench::new();
    let (leg, ok) = calls(&mut bench, "Session-Expires: 100;refresher=uas\n");
    let tag = ok.to_tag().unwrap();
    let request = refresh(&mut bench, 50, "INVITE");
    bench.hears(&text(&reply(&request, 491, "a")));
    bench.hears(&within(
        "INVITE",
        "z9hG4bK5",
        11,
        tag,
        &format!("Session-Expires: 100;refresher=uas\n{SDP}"),
    ));
    bench.tells(leg, LegCommand::Refuse);
    assert_eq!(bench.said(), ["ACK", "100", "488"]);
    bench.hears(&within("ACK", "z9hG4bK5", 11, tag, ""));
    refresh(&mut bench, 39, "INVITE");
}
