//! Reliable provisional responses, early dialogs and redirections, one message at a time.

use super::raw::{SDP, invite, within};
use super::*;
use crate::leg::{End, EndReason};
use crate::sip::wire::{Method, Name};

fn within_prack(tag: &str, cseq: u32, rack: &str) -> String {
    within(
        "PRACK",
        &format!("z9hG4bKp{cseq}"),
        cseq,
        tag,
        &format!("RAck: {rack}"),
    )
}

/// A call came whose caller says `more`; its leg, after the 100.
fn offered(bench: &mut Bench, more: &str) -> LegId {
    bench.hears(&invite("z9hG4bK1", more));
    assert_eq!(bench.said(), ["100"]);
    bench.events.pop_front().expect("an offer").0
}

fn rseq(message: &Message) -> u32 {
    message.number(Name::RSeq).expect("an RSeq")
}

#[test]
fn a_caller_that_requires_it_gets_reliable_ringing_until_its_prack() {
    let mut bench = Bench::new();
    let leg = offered(&mut bench, &format!("Require: 100rel\n{SDP}"));
    bench.tells(leg, LegCommand::Ring);
    let ringing = bench.sent().remove(0);
    assert_eq!(ringing.status(), Some(180));
    assert!(ringing.lists(Name::Require, "100rel"));
    let (tag, number) = (ringing.to_tag().unwrap().to_owned(), rseq(&ringing));
    bench.after(ms(1600));
    // §3: after T1, then twice as long each time.
    let again = bench.sent();
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|message| rseq(message) == number));
    bench.hears(&within_prack(
        &tag,
        11,
        &format!("{} 10 INVITE", number + 1),
    ));
    assert_eq!(bench.said(), ["481"]);
    bench.hears(&within_prack(&tag, 12, &format!("{number} 10 INVITE")));
    assert_eq!(bench.said(), ["200"]);
    bench.after(Duration::from_secs(20));
    assert!(bench.said().is_empty());
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert_eq!(bench.said(), ["200"]);
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.hears(&within("BYE", "z9hG4bKb", 13, &tag, ""));
    assert_eq!(bench.said(), ["200"]);
    bench.is_quiet();
}

/// RFC 3262 §3: a client that answers at once, or a PRACK that was lost.
#[test]
fn a_prack_that_our_answer_has_overtaken_is_heard() {
    for leaves in [false, true] {
        let mut bench = Bench::new();
        let leg = offered(&mut bench, &format!("Require: 100rel\n{SDP}"));
        bench.tells(leg, LegCommand::Ring);
        let ringing = bench.sent().remove(0);
        let (tag, number) = (ringing.to_tag().unwrap().to_owned(), rseq(&ringing));
        bench.tells(leg, LegCommand::Answer(description(5000)));
        assert_eq!(bench.said(), ["200"]);
        if leaves {
            bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
        }
        let rack = |number: u32| format!("{number} 10 INVITE");
        bench.hears(&within_prack(&tag, 11, &rack(number + 1)));
        assert_eq!(bench.said(), ["481"]);
        bench.hears(&within_prack(&tag, 12, &rack(number)));
        bench.hears(&within_prack(&tag, 12, &rack(number)));
        assert_eq!(bench.said(), ["200", "200"], "and its repetition");
        bench.hears(&within_prack(&tag, 13, &rack(number)));
        assert_eq!(bench.said(), ["481"]);
        bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
        match leaves {
            true => assert_eq!(bench.said(), ["BYE"]),
            false => {
                bench.hears(&within("BYE", "z9hG4bKb", 14, &tag, ""));
                assert_eq!(bench.said(), ["200"]);
            }
        }
        bench.is_quiet();
    }
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let mut bench = Bench::new();
    let leg = offered(&mut bench, &format!("Require: 100rel\n{SDP}"));
    bench.tells(leg, LegCommand::Ring);
    bench.after(Duration::from_secs(40));
    let said = bench.said();
    assert_eq!(said.first().map(String::as_str), Some("180"));
    assert!(said.contains(&"504".to_owned()), "{said:?}");
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    bench.is_quiet();
}

#[test]
fn an_answer_waits_for_the_prack_of_what_was_described() {
    let mut bench = Bench::new();
    let leg = offered(&mut bench, &format!("Supported: 100rel\n{SDP}"));
    bench.tells(leg, LegCommand::Ring);
    let ringing = bench.sent().remove(0);
    // Nothing is described, and nothing required.
    assert!(!ringing.lists(Name::Require, "100rel"));
    bench.tells(leg, LegCommand::Progress(Some(description(5000))));
    let progress = bench.sent().remove(0);
    assert_eq!(progress.status(), Some(183));
    assert!(!progress.body.is_empty());
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert!(bench.said().is_empty());
    let tag = progress.to_tag().unwrap().to_owned();
    let rack = format!("{} 10 INVITE", rseq(&progress));
    bench.hears(&within_prack(&tag, 11, &rack));
    assert_eq!(bench.said(), ["200", "200"]);
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    assert_eq!(bench.said(), ["BYE"]);
    bench.is_quiet();
}

#[test]
fn one_reliable_response_at_a_time() {
    let mut bench = Bench::new();
    let leg = offered(&mut bench, &format!("Require: 100rel\n{SDP}"));
    bench.tells(leg, LegCommand::Ring);
    let ringing = bench.sent().remove(0);
    bench.tells(leg, LegCommand::Progress(Some(description(5000))));
    assert!(bench.said().is_empty());
    let tag = ringing.to_tag().unwrap().to_owned();
    let rack = format!("{} 10 INVITE", rseq(&ringing));
    bench.hears(&within_prack(&tag, 11, &rack));
    let sent = bench.sent();
    assert_eq!(sent.iter().map(short).collect::<Vec<_>>(), ["200", "183"]);
    assert_eq!(rseq(&sent[1]), rseq(&ringing) + 1);
    // A PRACK may bring an offer: it is answered in its 2xx.
    let offer = within_prack(&tag, 12, &format!("{} 10 INVITE\n{SDP}", rseq(&sent[1])));
    bench.hears(&offer);
    let answer = bench.sent().remove(0);
    assert_eq!(answer.status(), Some(200));
    assert!(text(&answer).contains("m=audio 5000 RTP/AVP 8"));
}

#[test]
fn a_caller_without_an_offer_that_requires_reliability_hears_only_the_answer() {
    let mut bench = Bench::new();
    let leg = offered(&mut bench, "Require: 100rel");
    bench.tells(leg, LegCommand::Ring);
    assert!(bench.said().is_empty());
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert_eq!(bench.said(), ["200"]);
}

/// A call of ours; its leg and INVITE.
fn calling(bench: &mut Bench) -> (LegId, Message) {
    let leg = callee(1);
    bench.tells(leg, offer_to(number("+15550199"), Some("south")));
    let invite = bench.sent().remove(0);
    assert!(invite.lists(Name::Supported, "100rel"));
    (leg, invite)
}

/// A reliable response to `invite` by the fork `tag`.
pub(super) fn reliable(invite: &Message, status: u16, tag: &str, rseq: u32) -> Message {
    reply(invite, status, tag)
        .with(Name::Require, "100rel")
        .with(Name::RSeq, rseq.to_string())
}

pub(super) fn with_sdp(message: Message, port: u16) -> Message {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\n"
    );
    message.with_body("application/sdp", sdp)
}

#[test]
fn each_early_dialog_is_acknowledged_at_its_own_target() {
    let mut bench = Bench::new();
    let (leg, invite) = calling(&mut bench);
    let first = reliable(&invite, 183, "first", 7).with(Name::RecordRoute, "<sip:198.51.100.1;lr>");
    let first = with_sdp(first, 6000);
    bench.hears(&text(&first));
    let prack = bench.sent().remove(0);
    assert_eq!(prack.method(), Some(&Method::Prack));
    assert_eq!(prack.request_uri(), Some("sip:first@198.51.100.1:5060"));
    assert_eq!(prack.header(Name::RAck), Some("7 1 INVITE"));
    assert_eq!(prack.header(Name::Route), Some("<sip:198.51.100.1;lr>"));
    assert_eq!(prack.cseq().unwrap().number, 2);
    assert!(matches!(bench.event(), LegEvent::Progress(Some(_))));
    bench.hears(&text(&reply(&prack, 200, "first")));
    // The same again, and one that comes too early: neither is acknowledged.
    bench.hears(&text(&first));
    bench.hears(&text(&reliable(&invite, 180, "first", 9)));
    assert!(bench.said().is_empty());
    assert!(bench.events.is_empty());
    bench.hears(&text(&reliable(&invite, 180, "second", 70)));
    let prack = bench.sent().remove(0);
    assert_eq!(prack.request_uri(), Some("sip:second@198.51.100.1:5060"));
    bench.hears(&text(&reply(&prack, 200, "second")));
    bench.event();
    // The first one answers without repeating what it described.
    bench.hears(&text(
        &reply(&invite, 200, "first").with(Name::RecordRoute, "<sip:198.51.100.1;lr>"),
    ));
    assert_eq!(bench.said(), ["ACK"]);
    assert!(matches!(bench.event(), LegEvent::Answered(_)));
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    let bye = bench.sent().remove(0);
    // The PRACK has used number 2 up.
    assert_eq!(bye.cseq().unwrap().number, 3);
    bench.hears(&text(&reply(&bye, 200, "first")));
    bench.is_quiet();
}

/// An UPDATE of the callee `early`, which has moved.
fn early_update(invite: &Message, cseq: u32, sdp: &str) -> String {
    let (tag, call_id) = (invite.from_tag().unwrap(), invite.call_id().unwrap());
    format!(
        "UPDATE sip:offhook@192.0.2.1:5060 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKu{cseq}
        Max-Forwards: 70
        From: <sip:+15550199@198.51.100.1>;tag=early
        To: <sip:+15550100@192.0.2.1>;tag={tag}
        Call-ID: {call_id}
        CSeq: {cseq} UPDATE
        Contact: <sip:moved@198.51.100.1:5060>
        {sdp}"
    )
}

#[test]
fn a_callee_that_moves_before_the_answer_is_found_where_it_is() {
    for sdp in ["", SDP] {
        let mut bench = Bench::new();
        let (_, invite) = calling(&mut bench);
        bench.hears(&text(&with_sdp(reliable(&invite, 183, "early", 1), 6000)));
        let prack = bench.sent().remove(0);
        assert_eq!(prack.request_uri(), Some("sip:early@198.51.100.1:5060"));
        bench.hears(&text(&reply(&prack, 200, "early")));
        bench.hears(&early_update(&invite, 1, sdp));
        assert_eq!(bench.said(), ["200"], "{sdp}");
        let mut again = reliable(&invite, 180, "early", 2);
        again.headers.remove(Name::Contact);
        bench.hears(&text(&again));
        let prack = bench.sent().remove(0);
        assert_eq!(
            (short(&prack).as_str(), prack.request_uri()),
            ("PRACK", Some("sip:moved@198.51.100.1:5060")),
            "{sdp}"
        );
        bench.hears(&text(&reply(&prack, 200, "early")));
        let mut ok = with_sdp(reply(&invite, 200, "early"), 6000);
        ok.headers.remove(Name::Contact);
        bench.hears(&text(&ok));
        let ack = bench.sent().remove(0);
        assert_eq!(
            (short(&ack).as_str(), ack.request_uri()),
            ("ACK", Some("sip:moved@198.51.100.1:5060")),
            "{sdp}"
        );
    }
}

#[test]
fn an_update_in_an_early_dialog_is_answered_with_what_we_said() {
    let mut bench = Bench::new();
    let (_, invite) = calling(&mut bench);
    let update = |cseq, sdp: &str| early_update(&invite, cseq, sdp);
    // Ringing alone has not answered our offer.
    bench.hears(&text(&reply(&invite, 180, "early")));
    bench.event();
    bench.hears(&update(1, SDP));
    assert_eq!(bench.said(), ["491"]);
    bench.hears(&text(&with_sdp(reliable(&invite, 183, "early", 1), 6000)));
    assert_eq!(bench.said(), ["PRACK"]);
    bench.event();
    bench.hears(&update(2, &SDP.replace("6000", "6002")));
    let answer = bench.sent().remove(0);
    assert_eq!(answer.status(), Some(200));
    assert!(text(&answer).contains("m=audio 4000 RTP/AVP 8"));
    let LegEvent::Progress(Some(described)) = bench.event() else {
        panic!("a description");
    };
    assert_eq!(port_of(&described), 6002);
    // The 2xx need not say it again.
    bench.hears(&text(&reply(&invite, 200, "early")));
    let LegEvent::Answered(answer) = bench.event() else {
        panic!("an answer");
    };
    assert_eq!(port_of(&answer), 6002);
}

#[test]
fn a_session_timer_is_asked_for_where_the_trunk_says_so() {
    let timer = |trunk: &mut TrunkConfig| trunk.session_timer = Duration::from_secs(600);
    let mut bench = Bench::with(timer);
    let (leg, invite) = calling(&mut bench);
    assert_eq!(invite.header(Name::SessionExpires), Some("600"));
    let short = reply(&invite, 422, "a").with(Name::MinSe, "1200");
    bench.hears(&text(&short));
    let invite = bench.sent().remove(1);
    assert_eq!(invite.header(Name::SessionExpires), Some("1200"));
    // It knows no timers: we refresh all the same, and see that it is gone.
    bench.hears(&text(&with_sdp(reply(&invite, 200, "b"), 6000)));
    assert_eq!(bench.said(), ["ACK"]);
    bench.event();
    bench.after(Duration::from_secs(601));
    let refresh = bench.sent().remove(0);
    assert_eq!(
        refresh.header(Name::SessionExpires),
        Some("1200;refresher=uac")
    );
    bench.after(Duration::from_secs(40));
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::PeerGone);
    let _ = leg;
    bench.is_quiet();

    let mut bench = Bench::with(timer);
    let leg = offered(&mut bench, &format!("Supported: timer\n{SDP}"));
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let answer = bench.sent().remove(0);
    assert_eq!(
        answer.header(Name::SessionExpires),
        Some("600;refresher=uas")
    );
    let mut bench = Bench::with(timer);
    let leg = offered(&mut bench, SDP);
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert_eq!(bench.sent().remove(0).header(Name::SessionExpires), None);
}

#[test]
fn redirections_are_followed_by_q_and_never_twice() {
    let mut bench = Bench::new();
    let (_, invite) = calling(&mut bench);
    let mut moved = reply(&invite, 302, "a");
    moved.headers.remove(Name::Contact);
    let moved = moved.with(
        Name::Contact,
        "<sip:low@198.51.100.7>;q=0.2, <sip:high@198.51.100.8:5070>;q=0.9, <mailto:al@example.org>",
    );
    bench.hears(&text(&moved));
    let sent = bench.sent_to();
    assert_eq!(
        sent.iter().map(|(_, m)| short(m)).collect::<Vec<_>>(),
        ["ACK", "INVITE"]
    );
    let (flow, second) = &sent[1];
    assert_eq!(second.request_uri(), Some("sip:high@198.51.100.8:5070"));
    assert_eq!(flow.remote.to_string(), "198.51.100.8:5070");
    assert_eq!(second.call_id(), invite.call_id());
    assert!(second.cseq().unwrap().number > invite.cseq().unwrap().number);
    // It sends us back where we come from, which is not tried again; the other Contact is.
    let mut back = reply(second, 302, "b");
    back.headers.remove(Name::Contact);
    let back = back.with(
        Name::Contact,
        format!("<{}>", invite.request_uri().unwrap()),
    );
    bench.hears_from("198.51.100.8:5070", &text(&back));
    let third = bench.sent().remove(1);
    assert_eq!(third.request_uri(), Some("sip:low@198.51.100.7"));
    bench.hears_from("198.51.100.7:5060", &text(&reply(&third, 486, "c")));
    assert_eq!(bench.said(), ["ACK"]);
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::Busy);
    bench.is_quiet();
}

#[test]
fn a_proxy_that_is_named_gets_the_same_request() {
    let mut bench = Bench::new();
    let (_, invite) = calling(&mut bench);
    let mut use_proxy = reply(&invite, 305, "a");
    use_proxy.headers.remove(Name::Contact);
    bench.hears(&text(
        &use_proxy.with(Name::Contact, "<sip:198.51.100.9;lr>"),
    ));
    let (flow, second) = bench.sent_to().remove(1);
    assert_eq!(second.request_uri(), invite.request_uri());
    assert_eq!(second.header(Name::Route), Some("<sip:198.51.100.9;lr>"));
    assert_eq!(flow.remote.to_string(), "198.51.100.9:5060");
}

/// Credentials are for the trunk's own servers (RFC 3261 §22): whoever else has an answer to a nonce
/// can search for the password at leisure.
#[test]
fn a_redirection_takes_no_credentials_to_strangers() {
    let mut bench = Bench::with(|trunk| {
        trunk.username = Some("al".into());
        trunk.password = Some(crate::config::Secret("geheim".into()));
        trunk.caller_id = crate::config::CallerId::Asserted;
    });
    let challenge = |request: &Message, nonce: &str| {
        let challenge = format!(r#"Digest realm="carrier", nonce="{nonce}", qop="auth""#);
        text(&reply(request, 407, "c").with(Name::ProxyAuthenticate, challenge))
    };
    let moved = |request: &Message, to: &str| {
        let mut moved = reply(request, 302, "m");
        moved.headers.remove(Name::Contact);
        text(&moved.with(Name::Contact, to))
    };
    let secrets = [
        Name::Authorization,
        Name::ProxyAuthorization,
        Name::PAssertedIdentity,
    ];
    let (_, first) = calling(&mut bench);
    bench.hears(&challenge(&first, "n1"));
    let second = bench.sent().remove(1);
    assert!(second.header(Name::ProxyAuthorization).is_some());
    assert!(second.header(Name::PAssertedIdentity).is_some());
    // Another port of the trunk's own server is the trunk.
    bench.hears(&moved(&second, "<sip:x@198.51.100.1:5070>"));
    let third = bench.sent().remove(1);
    assert!(third.header(Name::ProxyAuthorization).is_some());
    bench.hears_from(
        "198.51.100.1:5070",
        &moved(
            &third,
            "<sip:x@198.51.100.8>;q=0.9, <sip:y@198.51.100.1>;q=0.1",
        ),
    );
    let (flow, strange) = bench.sent_to().remove(1);
    assert_eq!(flow.remote.to_string(), "198.51.100.8:5060");
    for secret in secrets {
        assert_eq!(strange.header(secret), None, "{}", text(&strange));
    }
    // It asks in the name of the carrier: neither an answer, nor a nonce of its own.
    bench.hears_from("198.51.100.8:5060", &challenge(&strange, "evil"));
    let sent = bench.sent_to();
    assert_eq!(
        sent.iter().map(|(_, m)| short(m)).collect::<Vec<_>>(),
        ["ACK", "INVITE"]
    );
    let (flow, last) = &sent[1];
    assert_eq!(flow.remote.to_string(), SOUTH);
    let credentials = last.header(Name::ProxyAuthorization).unwrap();
    assert!(credentials.contains(r#"nonce="n1""#), "{credentials}");
    assert!(last.header(Name::PAssertedIdentity).is_some());
    bench.hears(&moved(last, "<sip:z@203.0.113.66>"));
    let strange = bench.sent().remove(1);
    bench.hears_from("203.0.113.66:5060", &challenge(&strange, "evil"));
    assert_eq!(bench.said(), ["ACK"]);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    bench.is_quiet();
}

/// RFC 3261 §8.1.2: a configured proxy is before everybody who is called.
#[test]
fn a_redirection_goes_by_the_proxy_that_is_configured() {
    let mut bench = Bench::with(|trunk| {
        trunk.outbound_proxy = Some(crate::config::values::TrunkUri {
            host: "198.51.100.1".into(),
            port: None,
            transport: None,
        });
    });
    let (_, invite) = calling(&mut bench);
    let moved = |request: &Message, status: u16, to: &str| {
        let mut moved = reply(request, status, "m");
        moved.headers.remove(Name::Contact);
        text(&moved.with(Name::Contact, to))
    };
    bench.hears(&moved(&invite, 302, "<sip:x@203.0.113.9>"));
    let (flow, second) = bench.sent_to().remove(1);
    assert_eq!(flow.remote.to_string(), SOUTH);
    assert_eq!(second.request_uri(), Some("sip:x@203.0.113.9"));
    assert_eq!(second.header(Name::Route), invite.header(Name::Route));
    // Another proxy is named, and then a target: each gets the route that leads to it.
    bench.hears(&moved(&second, 305, "<sip:203.0.113.7;lr>"));
    let (flow, third) = bench.sent_to().remove(1);
    assert_eq!(flow.remote.to_string(), "203.0.113.7:5060");
    assert_eq!(third.header(Name::Route), Some("<sip:203.0.113.7;lr>"));
    bench.hears_from(
        "203.0.113.7:5060",
        &moved(&third, 302, "<sip:y@203.0.113.9>"),
    );
    let (flow, last) = bench.sent_to().remove(1);
    assert_eq!(flow.remote.to_string(), SOUTH);
    assert_eq!(last.header(Name::Route), invite.header(Name::Route));
}

#[test]
fn a_redirection_without_end_ends() {
    let mut bench = Bench::new();
    let (_, mut invite) = calling(&mut bench);
    let mut count = 0;
    loop {
        count += 1;
        let mut moved = reply(&invite, 302, &format!("t{count}"));
        moved.headers.remove(Name::Contact);
        bench.hears(&text(
            &moved.with(Name::Contact, format!("<sip:n{count}@198.51.100.1>")),
        ));
        match bench.sent().into_iter().nth(1) {
            Some(next) => invite = next,
            None => break,
        }
        assert!(count < 20);
    }
    assert_eq!(count, 6);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
}
