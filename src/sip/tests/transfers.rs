//! REFER and Replaces, one message at a time.

use super::raw::{SDP, answered, invite, within};
use super::*;
use crate::leg::{End, EndReason, Transfer};
use crate::sip::wire::Name;

fn refer(tag: &str, cseq: u32, more: &str) -> String {
    within("REFER", &format!("z9hG4bKr{cseq}"), cseq, tag, more)
}

/// A NOTIFY of ours in short: what it says, and in which state it leaves the subscription.
fn told(bench: &mut Bench) -> Vec<(String, String)> {
    let sent = bench.sent();
    let notifies = sent.iter().filter(|message| short(message) == "NOTIFY");
    let parts = |message: &Message| {
        assert_eq!(message.header(Name::Event), Some("refer;id=11"));
        let state = message.header(Name::SubscriptionState).unwrap();
        let body = String::from_utf8(message.body.clone()).unwrap();
        (body.trim_end().to_owned(), state.to_owned())
    };
    notifies.map(parts).collect()
}

#[test]
fn a_refer_is_taken_and_told_how_it_goes() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    bench.hears(&refer(
        &tag,
        11,
        "Refer-To: <sip:+15550177@192.0.2.1;user=phone>",
    ));
    let sent = bench.sent();
    let short: Vec<String> = sent.iter().map(short).collect();
    assert_eq!(short, ["202", "NOTIFY"]);
    assert_eq!(sent[1].body, b"SIP/2.0 100 Trying\r\n");
    let asked = LegEvent::Transfer {
        to: number("+15550177"),
        replaces: None,
    };
    assert_eq!(bench.event(), asked);
    // One at a time.
    bench.hears(&refer(&tag, 12, "Refer-To: <sip:+15550177@192.0.2.1>"));
    assert_eq!(bench.said(), ["491"]);
    bench.tells(leg, LegCommand::Transfer(Transfer::Ringing));
    let ringing = (
        "SIP/2.0 180 Ringing".to_owned(),
        "active;expires=180".to_owned(),
    );
    assert_eq!(told(&mut bench), [ringing]);
    bench.tells(leg, LegCommand::Transfer(Transfer::Done));
    let done = (
        "SIP/2.0 200 OK".to_owned(),
        "terminated;reason=noresource".to_owned(),
    );
    assert_eq!(told(&mut bench), [done]);
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    assert_eq!(bench.said(), ["BYE"]);
    bench.is_quiet();
}

#[test]
fn a_transfer_that_fails_leaves_the_call_and_room_for_another() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    bench.hears(&refer(&tag, 11, "Refer-To: <sip:+15550177@192.0.2.1>"));
    bench.sent();
    bench.tells(
        leg,
        LegCommand::Transfer(Transfer::Failed(EndReason::Busy.into())),
    );
    let busy = (
        "SIP/2.0 486 Busy Here".to_owned(),
        "terminated;reason=noresource".to_owned(),
    );
    assert_eq!(told(&mut bench), [busy]);
    bench.hears(&refer(
        &tag,
        12,
        "Refer-To: <sip:+15550178@192.0.2.1>\nRefer-Sub: false",
    ));
    // RFC 4488: this one does not want to hear of it.
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].status(), Some(202));
    assert_eq!(sent[0].header(Name::ReferSub), Some("false"));
}

#[test]
fn a_dialog_to_be_replaced_goes_along_to_the_new_callee() {
    let mut bench = Bench::new();
    let (_, tag) = answered(&mut bench);
    bench.sent();
    let escaped = "Refer-To: <sip:+15550177@192.0.2.1?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>";
    bench.hears(&refer(&tag, 11, escaped));
    let LegEvent::Transfer { to, replaces } = bench.event() else {
        panic!("a transfer");
    };
    bench.sent();
    let LegCommand::Offer {
        from, offer, trunk, ..
    } = offer_to(to.clone(), Some("south"))
    else {
        unreachable!("offer_to makes an offer");
    };
    let offer = LegCommand::Offer {
        from,
        to,
        display_name: None,
        offer,
        trunk,
        replaces,
    };
    bench.tells(callee(9), offer);
    let invite = bench.sent().remove(0);
    assert_eq!(
        invite.header(Name::Replaces),
        Some("x@y;to-tag=1;from-tag=2")
    );
    assert!(invite.lists(Name::Require, "replaces"));
}

#[test]
fn keys_go_as_the_trunk_wants_them() {
    use crate::config::Dtmf;
    use crate::leg::Digit;
    let events = SDP.replace(
        "a=sendrecv",
        "a=sendrecv\n        a=rtpmap:101 telephone-event/8000",
    );
    let events = events.replace("RTP/AVP 8", "RTP/AVP 8 101");
    for (dtmf, sdp, said) in [
        (Dtmf::Auto, events.as_str(), None),
        (Dtmf::Auto, SDP, Some("INFO")),
        (Dtmf::Info, &events, Some("INFO")),
        (Dtmf::Rtp, SDP, None),
    ] {
        let mut bench = Bench::with(|trunk| trunk.dtmf = dtmf);
        bench.hears(&invite("z9hG4bK1", sdp));
        let leg = bench.events.pop_front().unwrap().0;
        bench.tells(leg, LegCommand::Answer(description(5000)));
        let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
        bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
        let five = Digit::from_char('5').unwrap();
        bench.tells(leg, LegCommand::Digit(five));
        assert_eq!(bench.said().first().map(String::as_str), said, "{dtmf:?}");
    }
}

#[test]
fn a_refer_that_names_nobody_is_refused() {
    let cases = [
        ("", "400"),
        ("Refer-To: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>", "400"),
        ("Refer-To: <sip:a@192.0.2.1;method=BYE>", "501"),
        ("Refer-To: <mailto:a@example.org>", "404"),
        (
            "Refer-To: <sip:a@192.0.2.1?Replaces=x%0D%0AEvil:1%3Bto-tag%3D1%3Bfrom-tag%3D2>",
            "400",
        ),
    ];
    for (more, status) in cases {
        let mut bench = Bench::new();
        let (_, tag) = answered(&mut bench);
        bench.sent();
        bench.hears(&refer(&tag, 11, more));
        assert_eq!(bench.said(), [status], "{more}");
        assert!(bench.events.is_empty());
    }
}

#[test]
fn an_invite_takes_the_place_of_a_call_that_it_names_whole() {
    let with = |replaces: &str| {
        let mut bench = Bench::new();
        let (old, tag) = answered(&mut bench);
        bench.sent();
        let replaces = replaces.replace("OURS", &tag);
        let other = invite("z9hG4bK9", &format!("Replaces: {replaces}\n{SDP}"));
        bench.hears(&other.replace("Call-ID: c1", "Call-ID: c2"));
        let said = bench.said().pop().unwrap();
        (bench, old, said)
    };
    let (mut bench, old, said) = with("c1;to-tag=OURS;from-tag=a");
    assert_eq!(said, "100");
    let (new, event) = bench.events.pop_front().unwrap();
    let LegEvent::Replaces {
        old: meant, trunk, ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!((meant, trunk.as_deref()), (old, Some("south")));
    bench.tells(new, LegCommand::Answer(description(5000)));
    bench.tells(old, LegCommand::End(End::from(EndReason::Hangup)));
    assert_eq!(bench.said(), ["200", "BYE"]);
    for (replaces, status) in [
        ("c1;to-tag=OURS;from-tag=b", "481"),
        ("c9;to-tag=OURS;from-tag=a", "481"),
        ("c1;to-tag=none;from-tag=a", "481"),
        ("c1;to-tag=OURS;from-tag=a;early-only", "486"),
        ("c1", "400"),
    ] {
        assert_eq!(with(replaces).2, status, "{replaces}");
    }
}
