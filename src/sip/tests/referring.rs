//! Transfers that we ask for: REFER out, NOTIFY in.

use super::raw::{SDP, invite, within};
use super::*;
use crate::leg::{End, EndReason, Transfer};
use crate::sip::wire::Name;

const ABLE: &str = "Allow: INVITE, ACK, BYE, CANCEL, REFER, NOTIFY
    Supported: replaces\n";

/// A call that came from a peer that says this of itself, and was answered; returns our tag.
fn answered_by(bench: &mut Bench, says: &str) -> (LegId, String) {
    bench.hears(&invite("z9hG4bK1", &format!("{says}{SDP}")));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.sent();
    (leg, tag)
}

fn refer_to(whom: &str) -> LegCommand {
    LegCommand::Refer {
        to: number(whom),
        replaces: None,
    }
}

fn notify(tag: &str, cseq: u32, event: &str, state: &str, line: &str) -> String {
    let more = format!(
        "Event: {event}
        Subscription-State: {state}
        Content-Type: message/sipfrag;version=2.0

        {line}"
    );
    within("NOTIFY", &format!("z9hG4bKn{cseq}"), cseq, tag, &more)
}

#[test]
fn a_peer_is_asked_to_call_and_tells_how_it_goes() {
    let mut bench = Bench::new();
    let (leg, tag) = answered_by(&mut bench, ABLE);
    bench.tells(leg, refer_to("+15550177"));
    let refer = bench.sent().remove(0);
    assert_eq!(short(&refer), "REFER");
    let whom = "<sip:+15550177@198.51.100.1:5060;user=phone>";
    assert_eq!(refer.header(Name::ReferTo), Some(whom));
    let by = refer.header(Name::ReferredBy);
    assert_eq!(by, Some("<sip:+15550199@192.0.2.1>"));
    // RFC 3515 §2.4.4: what it tells may overtake the 202.
    let number = refer.cseq().unwrap().number;
    let event = format!("refer;id={number}");
    let active = "active;expires=60";
    bench.hears(&notify(&tag, 11, &event, active, "SIP/2.0 100 Trying"));
    bench.hears(&text(&reply(&refer, 202, "a")));
    bench.hears(&notify(&tag, 12, &event, active, "SIP/2.0 180 Ringing"));
    assert_eq!(bench.said(), ["200", "200"]);
    assert_eq!(bench.event(), LegEvent::Referred(Transfer::Ringing));
    // Only one at a time.
    bench.tells(leg, refer_to("+15550178"));
    assert_eq!(bench.event(), LegEvent::ReferRefused);
    let over = "terminated;reason=noresource";
    bench.hears(&notify(&tag, 13, &event, over, "SIP/2.0 200 OK"));
    assert_eq!(bench.event(), LegEvent::Referred(Transfer::Done));
    bench.hears(&notify(&tag, 14, &event, over, "SIP/2.0 200 OK"));
    assert_eq!(bench.said(), ["200", "481"]);
    bench.tells(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(bench.said(), ["BYE"]);
    bench.is_quiet();
}

#[test]
fn a_peer_that_does_not_allow_it_is_not_asked() {
    for says in ["", "Allow: INVITE, ACK, BYE\n", "Supported: replaces\n"] {
        let mut bench = Bench::new();
        let (leg, _) = answered_by(&mut bench, says);
        bench.tells(leg, refer_to("+15550177"));
        assert!(bench.said().is_empty(), "{says}");
        assert_eq!(bench.event(), LegEvent::ReferRefused);
    }
}

#[test]
fn a_peer_may_refuse_or_fail() {
    for status in [403, 405, 481, 603] {
        let mut bench = Bench::new();
        let (leg, _) = answered_by(&mut bench, ABLE);
        bench.tells(leg, refer_to("+15550177"));
        let refer = bench.sent().remove(0);
        bench.hears(&text(&reply(&refer, status, "a")));
        assert_eq!(bench.event(), LegEvent::ReferRefused, "{status}");
    }
    let mut bench = Bench::new();
    let (leg, _) = answered_by(&mut bench, ABLE);
    bench.tells(leg, refer_to("+15550177"));
    bench.after(Duration::from_secs(33));
    assert_eq!(bench.event(), LegEvent::ReferRefused);
    for (state, line, end) in [
        ("active", "SIP/2.0 486 Busy Here", EndReason::Busy),
        (
            "terminated;reason=noresource",
            "SIP/2.0 503 x",
            EndReason::NoRoute,
        ),
        (
            "terminated;reason=timeout",
            "SIP/2.0 100 Trying",
            EndReason::Failed,
        ),
        ("terminated", "nonsense", EndReason::Failed),
        ("TERMINATED", "", EndReason::Failed),
    ] {
        let mut bench = Bench::new();
        let (leg, tag) = answered_by(&mut bench, ABLE);
        bench.tells(leg, refer_to("+15550177"));
        let refer = bench.sent().remove(0);
        bench.hears(&text(&reply(&refer, 202, "a")));
        bench.hears(&notify(&tag, 11, "refer", state, line));
        let LegEvent::Referred(Transfer::Failed(said)) = bench.event() else {
            panic!("{line}");
        };
        assert_eq!(said.reason, end, "{line}");
        // The call is as before, and another may be tried.
        bench.tells(leg, refer_to("+15550177"));
        assert_eq!(bench.said().last().map(String::as_str), Some("REFER"));
    }
}

#[test]
fn a_notify_of_something_else_is_refused() {
    let mut bench = Bench::new();
    let (leg, tag) = answered_by(&mut bench, ABLE);
    let line = "SIP/2.0 200 OK";
    bench.hears(&notify(&tag, 11, "refer", "terminated", line));
    assert_eq!(bench.said(), ["481"]);
    bench.tells(leg, refer_to("+15550177"));
    bench.sent();
    bench.hears(&notify(&tag, 12, "refer;id=99999", "terminated", line));
    bench.hears(&notify(&tag, 13, "presence", "terminated", line));
    let sent = bench.sent();
    let said: Vec<_> = sent.iter().map(short).collect();
    assert_eq!(said, ["481", "489"]);
    assert_eq!(sent[1].header(Name::AllowEvents), Some("refer"));
    assert!(bench.events.is_empty());
    // Outside of every call nobody has asked for any.
    let stray = notify("none", 1, "refer", "terminated", line);
    bench.hears(
        &stray
            .replace("Call-ID: c1", "Call-ID: c9")
            .replace(";tag=none", ""),
    );
    assert_eq!(bench.said(), ["481"]);
}

#[test]
fn a_challenge_of_a_refer_is_answered() {
    let mut bench = Bench::with(|trunk| {
        trunk.username = Some("gateway".to_owned());
        trunk.password = Some(crate::config::Secret("password".to_owned()));
    });
    let (leg, _) = answered_by(&mut bench, ABLE);
    bench.tells(leg, refer_to("+15550177"));
    let refer = bench.sent().remove(0);
    let asks = reply(&refer, 407, "a").with(
        Name::ProxyAuthenticate,
        "Digest realm=\"south\", nonce=\"n\", algorithm=MD5",
    );
    bench.hears(&text(&asks));
    let again = bench.sent().remove(0);
    assert_eq!(short(&again), "REFER");
    assert!(again.header(Name::ProxyAuthorization).is_some());
    assert_eq!(again.header(Name::ReferTo), refer.header(Name::ReferTo));
    bench.hears(&text(&reply(&again, 202, "a")));
    assert!(bench.events.is_empty());
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
}

/// We call the trunk, which answers and says this of itself; our INVITE.
fn calls(bench: &mut Bench, leg: LegId, says: (Name, &str)) -> Message {
    bench.tells(leg, offer_to(number("+15550188"), Some("south")));
    let invite = bench.sent().remove(0);
    let answer = reply(&invite, 200, "desk")
        .with(says.0, says.1)
        .with_body("application/sdp", SDP_BODY);
    bench.hears(&text(&answer));
    bench.sent();
    while bench.events.pop_front().is_some() {}
    invite
}

const SDP_BODY: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";

#[test]
fn a_peer_is_sent_into_the_place_of_our_other_call() {
    let mut bench = Bench::new();
    let (first, _) = answered_by(&mut bench, ABLE);
    let invite = calls(&mut bench, callee(7), (Name::Supported, "replaces"));
    let join = LegCommand::Refer {
        to: number("+15550188"),
        replaces: Some(callee(7)),
    };
    bench.tells(first, join);
    let refer = bench.sent().remove(0);
    let target = refer.address(Name::ReferTo).unwrap();
    let uri = target.uri().unwrap();
    assert_eq!(uri.without_headers().as_str(), "sip:desk@198.51.100.1:5060");
    let (name, value) = uri.headers().next().unwrap();
    assert_eq!(name, "Replaces");
    let (call, ours) = (invite.call_id().unwrap(), invite.from_tag().unwrap());
    assert_eq!(value, format!("{call};to-tag=desk;from-tag={ours}"));
    // What is no legal octet of a URI is escaped.
    assert!(target.uri.contains("%3Bto-tag%3Ddesk"), "{}", target.uri);
}

#[test]
fn a_call_that_cannot_be_replaced_is_not_named() {
    let mut bench = Bench::new();
    let (first, _) = answered_by(&mut bench, ABLE);
    calls(&mut bench, callee(7), (Name::Supported, "timer"));
    for replaces in [callee(7), callee(8)] {
        let join = LegCommand::Refer {
            to: number("+15550188"),
            replaces: Some(replaces),
        };
        bench.tells(first, join);
        assert!(bench.said().is_empty());
        assert_eq!(bench.event(), LegEvent::ReferRefused);
    }
}

#[test]
fn holding_what_is_held_says_nothing() {
    let mut bench = Bench::new();
    let (leg, tag) = answered_by(&mut bench, ABLE);
    bench.tells(leg, LegCommand::Hold(false));
    assert!(bench.said().is_empty());
    bench.tells(leg, LegCommand::Hold(true));
    let hold = bench.sent().remove(0);
    assert!(text(&hold).contains("a=sendonly"));
    bench.tells(leg, LegCommand::Hold(true));
    // What waits counts, not what is under way.
    bench.tells(leg, LegCommand::Hold(false));
    bench.tells(leg, LegCommand::Hold(true));
    assert!(bench.said().is_empty());
    let answer = reply(&hold, 200, &tag).with_body("application/sdp", SDP_BODY);
    bench.hears(&text(&answer));
    let said = bench.sent();
    let last = said.last().map(text).unwrap_or_default();
    assert!(!last.contains("a=sendrecv"), "{last}");
}
