//! Requests whose answer nobody waits for are sent again where a server wants a password (RFC 3261
//! §22.2).

use super::raw::{SDP, invite, within};
use super::reliable::{reliable, with_sdp};
use super::*;
use crate::leg::{Digit, End, EndReason, Transfer};
use crate::sip::wire::Name;

fn bench() -> Bench {
    Bench::with(|trunk| {
        trunk.username = Some("al".into());
        trunk.password = Some(crate::config::Secret("geheim".into()));
    })
}

fn calling(bench: &mut Bench) -> (LegId, Message) {
    let leg = callee(1);
    bench.tells(leg, offer_to(number("+15550199"), Some("south")));
    (leg, bench.sent().remove(0))
}

/// Challenges `request`, and takes what comes then.
fn challenged(bench: &mut Bench, request: &Message, nonce: &str) -> Vec<Message> {
    let tag = request.to_tag().unwrap();
    let challenge = reply(request, 407, tag).with(
        Name::ProxyAuthenticate,
        format!(r#"Digest realm="x", nonce="{nonce}", qop="auth""#),
    );
    bench.hears(&text(&challenge));
    bench.sent()
}

/// Challenges `request` and looks at the same request with credentials; returns it.
fn is_said_again(bench: &mut Bench, request: &Message) -> Message {
    let mut again = challenged(bench, request, "n1");
    assert_eq!(again.len(), 1);
    let again = again.remove(0);
    assert_eq!(short(&again), short(request));
    let value = again.header(Name::ProxyAuthorization).unwrap();
    assert!(value.contains("nonce=\"n1\"") && !text(&again).contains("geheim"));
    assert_eq!(
        again.cseq().unwrap().number,
        request.cseq().unwrap().number + 1
    );
    assert_ne!(
        again.via().unwrap().branch(),
        request.via().unwrap().branch()
    );
    assert_eq!(again.fields(Name::UserAgent).count(), 1);
    assert_eq!(again.to_tag(), request.to_tag());
    assert_eq!(again.body, request.body);
    for name in [Name::RAck, Name::Event, Name::ContentType, Name::Reason] {
        assert_eq!(again.header(name), request.header(name));
    }
    again
}

#[test]
fn a_prack_and_a_key_and_the_bye_of_a_fork_answer_a_challenge() {
    let mut bench = bench();
    let (leg, invite) = calling(&mut bench);
    bench.hears(&text(&with_sdp(reliable(&invite, 183, "a", 7), 6000)));
    let prack = bench.sent().remove(0);
    assert_eq!(prack.header(Name::RAck), Some("7 1 INVITE"));
    let again = is_said_again(&mut bench, &prack);
    bench.hears(&text(&reply(&again, 200, "a")));
    bench.hears(&text(&with_sdp(reply(&invite, 200, "a"), 6000)));
    assert_eq!(bench.said(), ["ACK"]);

    // A server that forgets all nonces: each request is challenged anew.
    bench.tells(leg, LegCommand::Digit(Digit::from_char('5').unwrap()));
    let info = bench.sent().remove(0);
    // The number that the PRACK has used up twice.
    assert_eq!(
        info.cseq().unwrap().number,
        again.cseq().unwrap().number + 1
    );
    let stale = |request: &Message| {
        reply(request, 407, "a").with(
            Name::ProxyAuthenticate,
            r#"Digest realm="x", nonce="n2", qop="auth", stale=true"#,
        )
    };
    bench.hears(&text(&stale(&info)));
    let again = bench.sent().remove(0);
    assert_eq!((short(&again).as_str(), &again.body), ("INFO", &info.body));
    // Nobody is asked for ever.
    bench.hears(&text(&stale(&again)));
    let third = bench.sent().remove(0);
    bench.hears(&text(&stale(&third)));
    assert_eq!(bench.said(), Vec::<String>::new());

    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    let bye = bench.sent().remove(0);
    assert_eq!(bye.to_tag(), Some("a"));
    bench.hears(&text(&reply(&bye, 200, "a")));
    bench.is_quiet();
}

#[test]
fn the_bye_of_a_fork_is_said_again_in_its_own_dialog() {
    let mut bench = bench();
    let (_, invite) = calling(&mut bench);
    bench.hears(&text(&with_sdp(reply(&invite, 200, "a"), 6000)));
    bench.hears(&text(&with_sdp(reply(&invite, 200, "b"), 6000)));
    let bye = bench.sent().remove(2);
    assert_eq!((short(&bye).as_str(), bye.to_tag()), ("BYE", Some("b")));
    is_said_again(&mut bench, &bye);
}

#[test]
fn news_of_a_transfer_answer_a_challenge_with_all_that_they_say() {
    let mut bench = bench();
    bench.hears(&invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().pop().unwrap().to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.hears(&within(
        "REFER",
        "z9hG4bKr",
        11,
        &tag,
        "Refer-To: <sip:+15550142@198.51.100.1>",
    ));
    let trying = bench.sent().remove(1);
    assert_eq!(short(&trying), "NOTIFY");
    is_said_again(&mut bench, &trying);
    bench.tells(leg, LegCommand::Transfer(Transfer::Done));
    let done = bench.sent().remove(0);
    assert!(!done.body.is_empty() && done.header(Name::ProxyAuthorization).is_some());
}
