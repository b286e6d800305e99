//! Holding and taking up again, by either side, one message at a time.

use super::raw::{SDP, answered, within};
use super::*;
use crate::description::{Crypto, Fingerprint, Setup};

fn directed(port: u16, direction: Direction) -> Description {
    let mut description = description(port);
    description.streams[0].direction = direction;
    description
}

fn protected(port: u16, direction: Direction, security: Security) -> Description {
    let mut description = directed(port, direction);
    let Transport::Rtp(rtp) = &mut description.streams[0].transport else {
        unreachable!("SIP has no ICE here");
    };
    rtp.security = security;
    description
}

/// The version in `o=`.
fn version(message: &Message) -> u64 {
    let text = text(message);
    let origin = text.lines().find_map(|line| line.strip_prefix("o="));
    let version = origin.and_then(|origin| origin.split(' ').nth(2));
    version.and_then(|version| version.parse().ok()).unwrap()
}

fn says(message: &Message, attribute: &str) -> bool {
    text(message).lines().any(|line| line == attribute)
}

/// The peer holds, as `direction` says, and gets our `answer`.
fn is_held(bench: &mut Bench, leg: LegId, tag: &str, direction: &str, answer: Description) {
    let hold = SDP.replace("sendrecv", direction);
    bench.hears(&within("INVITE", "z9hG4bK5", 11, tag, &hold));
    assert!(matches!(bench.event(), LegEvent::Updated(_)));
    bench.tells(leg, LegCommand::Answer(answer));
}

/// RFC 6337 §5.3: whoever asks for our offer gets what we want, not what its own hold has made of
/// it; it could answer nothing else than the hold again.
#[test]
fn a_peer_that_holds_and_asks_for_our_offer_can_take_the_call_up_again() {
    for (hold, ours) in [
        ("sendonly", Direction::Receive),
        ("inactive", Direction::Inactive),
    ] {
        let mut bench = Bench::new();
        let (leg, tag) = answered(&mut bench);
        is_held(&mut bench, leg, &tag, hold, directed(5000, ours));
        let held = bench.sent().pop().unwrap();
        bench.hears(&within("ACK", "z9hG4bK6", 11, &tag, ""));
        bench.hears(&within("INVITE", "z9hG4bK7", 12, &tag, ""));
        let offer = bench.sent().pop().unwrap();
        assert_eq!(offer.status(), Some(200));
        assert!(says(&offer, "a=sendrecv"), "{}", text(&offer));
        assert!(version(&offer) > version(&held));
        bench.hears(&within("ACK", "z9hG4bK8", 12, &tag, SDP));
        let LegEvent::UpdateAnswered(answer) = bench.event() else {
            panic!("the answer");
        };
        assert_eq!(answer.audio().unwrap().direction, Direction::Both);
        // What was said is said again unchanged (RFC 3264 §8).
        bench.hears(&within("INVITE", "z9hG4bK9", 13, &tag, ""));
        assert_eq!(version(&bench.sent().remove(0)), version(&offer));
    }
}

#[test]
fn our_own_hold_shows_in_all_that_we_say() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    bench.tells(leg, LegCommand::Hold(true));
    let ours = bench.sent().remove(0);
    assert!(says(&ours, "a=sendonly"));
    let sdp = SDP.split_once("\n\n").unwrap().1.replace("        ", "");
    let held = sdp.replace("sendrecv", "recvonly");
    let answer = |request: &Message, sdp: &str| {
        text(&reply(request, 200, "a").with_body("application/sdp", sdp.to_owned()))
    };
    bench.hears(&answer(&ours, &held));
    assert!(matches!(bench.event(), LegEvent::UpdateAnswered(_)));
    // A peer that wants to speak all the same.
    let both = directed(5000, Direction::Both);
    is_held(&mut bench, leg, &tag, "sendrecv", both);
    let said = bench.sent().pop().unwrap();
    assert!(says(&said, "a=sendonly"), "{}", text(&said));
    bench.hears(&within("ACK", "z9hG4bK6", 11, &tag, ""));
    bench.hears(&within("INVITE", "z9hG4bK7", 12, &tag, ""));
    let offer = bench.sent().remove(0);
    assert!(says(&offer, "a=sendonly"), "{}", text(&offer));
    bench.hears(&within(
        "ACK",
        "z9hG4bK8",
        12,
        &tag,
        &SDP.replace("sendrecv", "recvonly"),
    ));
    bench.events.clear();
    // It holds too, and we take our own hold back.
    let none = directed(5000, Direction::Receive);
    bench.hears(&within(
        "INVITE",
        "z9hG4bK9",
        13,
        &tag,
        &SDP.replace("sendrecv", "sendonly"),
    ));
    bench.tells(leg, LegCommand::Answer(none));
    assert!(says(&bench.sent().pop().unwrap(), "a=inactive"));
    bench.hears(&within("ACK", "z9hG4bKb", 13, &tag, ""));
    bench.tells(leg, LegCommand::Hold(false));
    let ours = bench.sent().remove(0);
    assert!(says(&ours, "a=sendrecv"), "{}", text(&ours));
    bench.hears(&answer(&ours, &sdp.replace("sendrecv", "sendonly")));
    // Nothing is held any more, so there is nothing to take up.
    bench.tells(leg, LegCommand::Hold(false));
    assert_eq!(bench.said(), ["ACK"]);
}

#[test]
fn our_offer_in_a_2xx_leaves_the_dtls_role_open_and_keeps_its_keys() {
    let fingerprint = Fingerprint {
        hash: "sha-256".to_owned(),
        value: vec![7; 32],
        setup: Setup::Active,
    };
    let line = Crypto {
        tag: 1,
        suite: "AES_CM_128_HMAC_SHA1_80".to_owned(),
        key: "inline:kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk".to_owned(),
    };
    for (security, expected) in [
        (Security::Dtls(fingerprint), "a=setup:actpass".to_owned()),
        (
            Security::Sdes(vec![line.clone()]),
            format!("a=crypto:1 {} {}", line.suite, line.key),
        ),
    ] {
        let mut bench = Bench::new();
        let (leg, tag) = answered(&mut bench);
        let answer = protected(5000, Direction::Receive, security);
        is_held(&mut bench, leg, &tag, "sendonly", answer);
        bench.hears(&within("ACK", "z9hG4bK6", 11, &tag, ""));
        bench.sent();
        bench.hears(&within("INVITE", "z9hG4bK7", 12, &tag, ""));
        let offer = bench.sent().remove(0);
        assert!(says(&offer, "a=sendrecv"), "{}", text(&offer));
        assert!(says(&offer, &expected), "{}", text(&offer));
    }
}
