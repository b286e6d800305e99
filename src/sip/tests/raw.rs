//! The facts of RFC 3261 that other stacks get wrong, one message at a time.

use super::*;
use crate::leg::{End, EndReason};
use crate::sip::Mode;
use crate::sip::wire::Name;

pub(super) fn invite(branch: &str, more: &str) -> String {
    format!(
        "INVITE sip:+15550199@192.0.2.1 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch={branch}
        Max-Forwards: 70
        From: <sip:+15550100@198.51.100.1>;tag=a
        To: <sip:+15550199@192.0.2.1>
        Call-ID: c1
        CSeq: 10 INVITE
        Contact: <sip:al@198.51.100.1:5060>
        {more}"
    )
}

pub(super) const SDP: &str = "Content-Type: application/sdp

        v=0
        o=- 1 1 IN IP4 198.51.100.1
        s=-
        c=IN IP4 198.51.100.1
        t=0 0
        m=audio 6000 RTP/AVP 8
        a=rtpmap:8 PCMA/8000
        a=sendrecv";

pub(super) fn within(method: &str, branch: &str, cseq: u32, tag: &str, more: &str) -> String {
    format!(
        "{method} sip:offhook@192.0.2.1:5060 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch={branch}
        Max-Forwards: 70
        From: <sip:+15550100@198.51.100.1>;tag=a
        To: <sip:+15550199@192.0.2.1>;tag={tag}
        Call-ID: c1
        CSeq: {cseq} {method}
        Contact: <sip:al@198.51.100.1:5060>
        {more}"
    )
}

/// A call that came and was answered, with its ACK; returns our tag.
pub(super) fn answered(bench: &mut Bench) -> (LegId, String) {
    bench.hears(&invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    (leg, tag)
}

fn status_of(request: &str) -> Vec<String> {
    let mut bench = Bench::new();
    bench.hears(request);
    bench.said()
}

#[test]
fn an_invite_gets_its_100_at_once_and_its_repetition_the_last_provisional() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    assert_eq!(bench.said(), ["100"]);
    bench.hears(&invite("z9hG4bK1", SDP));
    assert_eq!(bench.said(), ["100"]);
    let leg = bench.events[0].0;
    bench.tells(leg, LegCommand::Ring);
    bench.hears(&invite("z9hG4bK1", SDP));
    assert_eq!(bench.said(), ["180", "180"]);
    assert_eq!(bench.events.len(), 1);
}

#[test]
fn a_cancel_right_behind_the_invite_gets_200_and_487() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    let cancel = invite("z9hG4bK1", "").replace("INVITE sip", "CANCEL sip");
    bench.hears(&cancel.replace("10 INVITE", "10 CANCEL"));
    let sent = bench.sent();
    let said: Vec<_> = sent.iter().map(short).collect();
    assert_eq!(said, ["100", "200", "487"]);
    // RFC 3261 §9.2.
    assert_eq!(sent[1].to_tag(), sent[2].to_tag());
    let LegEvent::Offered { .. } = bench.event() else {
        panic!("first the call is offered");
    };
    assert_eq!(
        bench.event(),
        LegEvent::Ended(End::from(EndReason::Cancelled))
    );
    bench.hears(&invite("z9hG4bK1", "").replace("INVITE", "ACK"));
    bench.is_quiet();
}

#[test]
fn a_late_invite_repetition_after_the_ack_makes_no_ghost_call() {
    let mut bench = Bench::new();
    answered(&mut bench);
    bench.events.clear();
    bench.hears(&invite("z9hG4bK1", SDP));
    assert!(bench.said().is_empty());
    assert!(bench.events.is_empty());
}

#[test]
fn a_merged_request_gets_482() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    bench.hears(&invite("z9hG4bK2", SDP));
    assert_eq!(bench.said(), ["100", "482"]);
}

#[test]
fn an_invite_of_rfc_2543_is_matched_without_a_branch() {
    let mut bench = Bench::new();
    bench.hears(&invite("1", SDP));
    bench.hears(&invite("1", SDP));
    assert_eq!(bench.said(), ["100", "100"]);
    let leg = bench.events[0].0;
    bench.tells(leg, LegCommand::End(End::from(EndReason::Busy)));
    let tag = bench.sent()[0].to_tag().unwrap().to_owned();
    let ack = invite("1", "").replace("INVITE", "ACK").replace(
        "To: <sip:+15550199@192.0.2.1>",
        &format!("To: <sip:+15550199@192.0.2.1>;tag={tag}"),
    );
    bench.hears(&ack);
    bench.after(Duration::from_secs(3));
    assert!(bench.said().is_empty());
}

#[test]
fn a_2xx_is_repeated_until_the_ack_and_a_missing_ack_ends_in_a_bye() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    bench.sent();
    // 0.5, 1.5, 3.5, 7.5 s, then each 4 s.
    bench.after(ms(31_900));
    assert_eq!(bench.said(), vec!["200"; 10]);
    bench.after(ms(200));
    assert_eq!(bench.said(), ["BYE"]);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
}

#[test]
fn an_in_dialog_request_before_the_ack_is_answered() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    bench.hears(&within("OPTIONS", "z9hG4bK5", 11, &tag, ""));
    bench.hears(&within("INVITE", "z9hG4bK6", 12, &tag, SDP));
    bench.hears(&within("BYE", "z9hG4bK7", 13, &tag, ""));
    assert_eq!(bench.said(), ["200", "500", "200"]);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    bench.hears(&within("ACK", "z9hG4bK6", 12, &tag, ""));
    bench.after(Duration::from_secs(10));
    assert!(bench.said().is_empty());
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.is_quiet();
}

#[test]
fn a_cseq_gap_is_accepted_and_a_lower_cseq_gets_500() {
    let mut bench = Bench::new();
    let (_, tag) = answered(&mut bench);
    bench.sent();
    bench.hears(&within("OPTIONS", "z9hG4bK5", 50, &tag, ""));
    bench.hears(&within("OPTIONS", "z9hG4bK6", 49, &tag, ""));
    bench.hears(&within("BYE", "z9hG4bK7", 60, &tag, ""));
    assert_eq!(bench.said(), ["200", "500", "200"]);
    bench.is_quiet();
}

#[test]
fn methods_are_answered_405_501_or_481() {
    let other = |method: &str| invite("z9hG4bK1", "").replace("INVITE", method);
    assert_eq!(status_of(&other("REGISTER")), ["405"]);
    assert_eq!(status_of(&other("FROBNICATE")), ["501"]);
    assert_eq!(status_of(&other("BYE")), ["481"]);
    assert_eq!(status_of(&other("CANCEL")), ["481"]);
    assert_eq!(status_of(&other("OPTIONS")), ["200"]);
    assert!(status_of(&other("ACK")).is_empty());
    assert_eq!(
        status_of(&within("INFO", "z9hG4bK1", 11, "none", "")),
        ["481"]
    );
}

#[test]
fn an_invite_is_refused_with_the_status_of_its_fault() {
    let with = |more: &str| status_of(&invite("z9hG4bK1", more));
    assert_eq!(with(&format!("Require: gruu\n{SDP}")), ["100", "420"]);
    assert_eq!(with("Content-Type: text/plain\n\nhello"), ["100", "415"]);
    assert_eq!(with("Session-Expires: 30\n"), ["100", "422"]);
    let changed = |from: &str, to: &str| status_of(&invite("z9hG4bK1", SDP).replace(from, to));
    assert_eq!(
        changed("INVITE sip:+15550199@192.0.2.1", "INVITE http://x"),
        ["100", "416"]
    );
    // It asks for TLS on the whole way, and came by UDP.
    assert_eq!(changed("INVITE sip:", "INVITE sips:"), ["100", "416"]);
    assert_eq!(changed("SIP/2.0\n", "SIP/7.0\n"), ["505"]);
    assert_eq!(changed(";tag=a", ""), ["400"]);
    assert_eq!(changed("Contact:", "X-Contact:"), ["100", "400"]);
}

#[test]
fn strangers_are_dropped_and_counted_unless_the_room_is_an_endpoint() {
    let mut bench = Bench::new();
    bench.hears_from("203.0.113.5:5060", &invite("z9hG4bK1", SDP));
    bench.hears_from("203.0.113.5:5060", "garbage");
    assert!(bench.said().is_empty());
    assert_eq!(bench.sip.stats().unknown_sources, 1);
    bench.sip.set_mode(Mode::Endpoint);
    bench.hears_from("203.0.113.5:5060", &invite("z9hG4bK1", SDP));
    assert_eq!(bench.said(), ["100"]);
}

#[test]
fn answers_go_to_the_port_of_sent_by_unless_rport_is_asked_for() {
    let mut bench = Bench::new();
    bench.hears_from("198.51.100.1:40000", &invite("z9hG4bK1", SDP));
    let (flow, response) = bench.sent_to().remove(0);
    assert_eq!(
        flow.remote,
        "198.51.100.1:5060".parse::<std::net::SocketAddr>().unwrap()
    );
    assert!(!response.header(Name::Via).unwrap().contains("rport"));
    bench.hears_from(
        "198.51.100.1:40000",
        &invite("z9hG4bK2;rport", "").replace("c1", "c2"),
    );
    let (flow, response) = bench.sent_to().remove(0);
    assert_eq!(
        flow.remote,
        "198.51.100.1:40000"
            .parse::<std::net::SocketAddr>()
            .unwrap()
    );
    assert!(response.header(Name::Via).unwrap().contains("rport=40000"));
}

#[test]
fn received_is_unbracketed_for_ipv6() {
    let mut sip = Sip::new(
        &config(&[(SipTransport::Udp, "[2001:db8::1]:5060")]),
        &[],
        TokenMaker::new([1; 32]),
    );
    sip.set_mode(Mode::Endpoint);
    let flow = Flow {
        transport: SipTransport::Udp,
        local: "[2001:db8::1]:5060".parse().unwrap(),
        remote: "[2001:db8::9]:7000".parse().unwrap(),
        connection: None,
    };
    let request = invite("z9hG4bK1", "").replace("198.51.100.1:5060;b", "[2001:db8::5]:5080;b");
    let bytes = (request.replace("        ", "").replace('\n', "\r\n") + "\r\n").into_bytes();
    sip.handle(base(), NetInput::Datagram { flow, bytes });
    let Some(NetOutput::Send { flow, bytes }) = sip.poll_output() else {
        panic!("an answer");
    };
    assert_eq!(
        flow.remote,
        "[2001:db8::9]:5080"
            .parse::<std::net::SocketAddr>()
            .unwrap()
    );
    assert!(
        String::from_utf8(bytes)
            .unwrap()
            .contains("received=2001:db8::9")
    );
}

#[test]
fn an_end_before_the_answer_becomes_a_status() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::End(End::from(EndReason::Busy)));
    assert_eq!(bench.said(), ["100", "486"]);
    assert_eq!(bench.event(), LegEvent::Ended(End::from(EndReason::Busy)));
    bench.after(Duration::from_secs(33));
    // Timer G: 0.5, 1.5, 3.5, 7.5, … 31.5 s, then H gives up.
    assert_eq!(bench.said().len(), 10);
    bench.is_quiet();
}

#[test]
fn an_invite_without_an_offer_is_answered_with_ours() {
    let mut bench = Bench::new();
    bench.hears(&invite("z9hG4bK1", ""));
    let (leg, event) = bench.events.pop_front().unwrap();
    assert!(matches!(
        event,
        LegEvent::Offered {
            offer: crate::leg::Offering::Delayed,
            ..
        }
    ));
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let sent = bench.sent();
    let ok = sent.last().unwrap();
    assert!(!ok.body.is_empty());
    let tag = ok.to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, SDP));
    let LegEvent::UpdateAnswered(answer) = bench.event() else {
        panic!("the ACK has the answer");
    };
    assert_eq!(port_of(&answer), 6000);
}

#[test]
fn an_info_key_is_told() {
    let mut bench = Bench::new();
    let (_, tag) = answered(&mut bench);
    bench.sent();
    let body = "Content-Type: application/dtmf-relay\n\nSignal=7\nDuration=100";
    bench.hears(&within("INFO", "z9hG4bK5", 11, &tag, body));
    assert_eq!(bench.said(), ["200"]);
    let LegEvent::Digit(digit) = bench.event() else {
        panic!("a key");
    };
    assert_eq!(digit.as_char(), '7');
}

#[test]
fn a_reinvite_is_offered_and_answered_or_refused() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    let hold = SDP.replace("sendrecv", "sendonly");
    bench.hears(&within("INVITE", "z9hG4bK5", 11, &tag, &hold));
    let LegEvent::Updated(offer) = bench.event() else {
        panic!("an offer");
    };
    assert_eq!(offer.audio().unwrap().direction, Direction::Send);
    bench.tells(leg, LegCommand::Answer(description(5000)));
    assert_eq!(bench.said(), ["100", "200"]);
    bench.hears(&within("ACK", "z9hG4bK6", 11, &tag, ""));
    bench.hears(&within("UPDATE", "z9hG4bK7", 12, &tag, SDP));
    bench.tells(leg, LegCommand::Refuse);
    assert_eq!(bench.said(), ["488"]);
    bench.hears(&within("INVITE", "z9hG4bK8", 13, &tag, ""));
    let ok = bench.sent();
    assert!(!ok[0].body.is_empty(), "our offer in the 200");
}

#[test]
fn glare_gets_491_and_ours_is_tried_again() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    bench.tells(leg, LegCommand::Update(description(5002)));
    let ours = bench.sent().remove(0);
    bench.hears(&within("INVITE", "z9hG4bK5", 11, &tag, SDP));
    assert_eq!(bench.said(), ["491"]);
    bench.hears(&text(&reply(&ours, 491, "a")));
    assert_eq!(bench.said(), ["ACK"]);
    bench.after(ms(2_100));
    // Our 491 comes again too, as nobody acknowledges it.
    let again = bench.sent().into_iter().find(Message::is_request).unwrap();
    assert_eq!(
        again.cseq().unwrap().number,
        ours.cseq().unwrap().number + 1
    );
    bench.hears(&text(&reply(&again, 488, "a")));
    assert_eq!(bench.event(), LegEvent::UpdateRefused);
}

#[test]
fn a_session_timer_of_the_peer_is_watched_and_ours_is_kept() {
    let mut bench = Bench::new();
    bench.hears(&invite(
        "z9hG4bK1",
        &format!("Supported: timer\nAllow: UPDATE\nSession-Expires: 100;refresher=uas\n{SDP}"),
    ));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let ok = bench.sent().pop().unwrap();
    assert_eq!(ok.header(Name::SessionExpires), Some("100;refresher=uas"));
    let tag = ok.to_tag().unwrap().to_owned();
    bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
    bench.after(Duration::from_secs(50));
    let update = bench.sent().remove(0);
    assert_eq!(short(&update), "UPDATE");
    let ok = reply(&update, 200, "a").with(Name::SessionExpires, "100;refresher=uas");
    bench.hears(&text(&ok));
    // The peer has taken the refresh over, and forgets it.
    bench.after(ms(68_100));
    assert_eq!(bench.said(), ["BYE"]);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
}

#[test]
fn a_bye_in_the_same_segment_as_the_ack_is_answered() {
    let mut bench = Bench::new();
    let flow = Flow {
        transport: SipTransport::Tcp,
        connection: Some(crate::id::ConnectionId(1 << 63)),
        ..Bench::flow("198.51.100.1:40000")
    };
    let wire = |text: &str| {
        let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let lines = text
            .lines()
            .map(|line| line.trim_start().to_owned() + "\r\n");
        lines.collect::<String>()
    };
    let sdp: String = wire(SDP.split_once("\n\n").unwrap().1);
    let head = format!(
        "Content-Type: application/sdp\nContent-Length: {}",
        sdp.len()
    );
    let bytes = (wire(&invite("z9hG4bK1", &head)) + "\r\n" + &sdp).into_bytes();
    bench
        .sip
        .handle(bench.now, NetInput::Stream { flow, bytes });
    bench.collect();
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    let ack = wire(&within("ACK", "z9hG4bKa", 10, &tag, "Content-Length: 0")) + "\r\n";
    let bye = wire(&within("BYE", "z9hG4bKb", 11, &tag, "Content-Length: 0")) + "\r\n";
    let bytes = (ack + &bye + "\r\n\r\n").into_bytes();
    for part in bytes.chunks(7) {
        let bytes = part.to_vec();
        bench
            .sip
            .handle(bench.now, NetInput::Stream { flow, bytes });
    }
    bench.collect();
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    let mut sent = Vec::new();
    while let Some(NetOutput::Send { bytes, .. }) = bench.sip.poll_output() {
        sent.push(bytes);
    }
    assert!(sent[0].starts_with(b"SIP/2.0 200"));
    assert_eq!(sent[1], b"\r\n", "the keep-alive is answered");
    bench.after(Duration::from_secs(700));
    assert!(matches!(
        bench.sip.poll_output(),
        Some(NetOutput::Close { .. })
    ));
    bench.is_quiet();
}

#[test]
fn calls_above_the_limit_get_503_with_retry_after() {
    let mut bench = Bench::with(|trunk| trunk.max_calls = Some(1));
    bench.hears(&invite("z9hG4bK1", SDP));
    bench.hears(&invite("z9hG4bK2", SDP).replace("c1", "c2"));
    let refusal = bench.sent().pop().unwrap();
    assert_eq!(refusal.status(), Some(503));
    assert!(refusal.header(Name::RetryAfter).is_some());
}

#[test]
fn mutilated_messages_neither_panic_nor_stay() {
    let mut tokens = TokenMaker::new([9; 32]);
    let mut bench = Bench::new();
    let mut corpus = vec![
        invite("z9hG4bK1", SDP),
        invite("z9hG4bK1", "").replace("INVITE", "CANCEL"),
        invite("z9hG4bK1", "").replace("INVITE", "ACK"),
        invite("1", "Session-Expires: 90\nRequire: timer"),
        within("BYE", "z9hG4bK3", 11, "t", ""),
        within("UPDATE", "z9hG4bK4", 12, "t", SDP),
    ];
    for round in 0..20_000_u64 {
        let index = tokens.below(corpus.len() as u64) as usize;
        let text = corpus[index].replace("        ", "").replace('\n', "\r\n");
        let unique = format!("z9hG4bK{}", round % 50);
        let mut bytes = text.replace("z9hG4bK1", &unique).into_bytes();
        bytes.extend_from_slice(b"\r\n\r\n");
        for _ in 0..tokens.below(4) {
            if bytes.len() < 2 {
                break;
            }
            let at = tokens.below(bytes.len() as u64) as usize;
            match tokens.below(3) {
                0 => bytes[at] = tokens.below(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let flow = Bench::flow(SOUTH);
        bench
            .sip
            .handle(bench.now, NetInput::Datagram { flow, bytes });
        while let Some((leg, event)) = bench.sip.poll_event() {
            if let LegEvent::Offered { .. } = event {
                let command = match tokens.below(3) {
                    0 => LegCommand::Answer(description(5000)),
                    1 => LegCommand::End(End::from(EndReason::Busy)),
                    _ => LegCommand::Ring,
                };
                bench.events.push_back((leg, event));
                bench.sip.command(bench.now, leg, command);
            }
        }
        while let Some(output) = bench.sip.poll_output() {
            let NetOutput::Send { bytes, .. } = output else {
                continue;
            };
            // The answer to a request with two From fields has two as well.
            let Ok(message) = Message::parse_datagram(&bytes) else {
                continue;
            };
            if let Some(tag) = message.to_tag().filter(|_| message.status() == Some(200)) {
                corpus.truncate(8);
                corpus.push(within("BYE", "z9hG4bK1", 11, tag, ""));
                corpus.push(within("INVITE", "z9hG4bK1", 12, tag, SDP));
            }
        }
        bench.after(ms(tokens.below(50)));
    }
    for (leg, _) in std::mem::take(&mut bench.events) {
        bench.tells(leg, LegCommand::End(End::from(EndReason::Shutdown)));
    }
    bench.is_quiet();
}

#[test]
fn requests_of_a_call_leave_from_the_address_that_it_came_to() {
    let mut bench = Bench::new();
    let listen = [
        (SipTransport::Udp, NORTH),
        (SipTransport::Udp, "192.0.2.2:5070"),
    ];
    let south = trunk("south", "198.51.100.1", 5060);
    bench.sip = Sip::new(&config(&listen), &[south], TokenMaker::new([5; 32]));
    bench.sip.start(bench.now);
    let hears = |bench: &mut Bench, text: &str| {
        let lines = text.trim_start().lines().map(|line| line.trim_start());
        let bytes: String = lines.map(|line| line.to_owned() + "\r\n").collect();
        let flow = Flow {
            local: "192.0.2.2:5070".parse().unwrap(),
            ..Bench::flow(SOUTH)
        };
        let bytes = bytes.into_bytes();
        bench
            .sip
            .handle(bench.now, NetInput::Datagram { flow, bytes });
        bench.collect();
    };
    hears(&mut bench, &invite("z9hG4bK1", SDP));
    let leg = bench.events.pop_front().unwrap().0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    hears(
        &mut bench,
        &(within("ACK", "z9hG4bKa", 10, &tag, "") + "\n"),
    );
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    let (flow, bye) = bench.sent_to().pop().unwrap();
    assert_eq!(short(&bye), "BYE");
    assert_eq!(flow.local.to_string(), "192.0.2.2:5070");
    let via = bye.header(Name::Via).unwrap();
    assert!(via.starts_with("SIP/2.0/UDP 192.0.2.2:5070;"), "{via}");
}

/// RFC 3261 §12.2.1.2, §12.2.2 and RFC 3311 §5: whoever says a new Contact is found there from then on.
#[test]
fn a_new_contact_is_taken_from_every_request_and_answer_that_may_bring_one() {
    let moved =
        |text: String| text.replace("sip:al@198.51.100.1:5060", "sip:moved@198.51.100.1:5060");
    type Moves<'a> = &'a dyn Fn(&mut Bench, LegId, &str);
    let moves: [(&str, Moves<'_>); 5] = [
        ("re-INVITE", &|bench, leg, tag| {
            bench.hears(&moved(within("INVITE", "z9hG4bK2", 11, tag, SDP)));
            bench.tells(leg, LegCommand::Answer(description(5000)));
            bench.hears(&within("ACK", "z9hG4bK3", 11, tag, ""));
        }),
        ("UPDATE with an offer", &|bench, leg, tag| {
            bench.hears(&moved(within("UPDATE", "z9hG4bK2", 11, tag, SDP)));
            bench.tells(leg, LegCommand::Answer(description(5000)));
        }),
        ("UPDATE without one", &|bench, _, tag| {
            bench.hears(&moved(within("UPDATE", "z9hG4bK2", 11, tag, "")));
        }),
        ("the answer to our re-INVITE", &|bench, leg, _| {
            bench.tells(leg, LegCommand::Hold(true));
            let ours = bench.sent().pop().unwrap();
            let sdp = SDP.split_once("\n\n").unwrap().1.replace("        ", "");
            let answer = reply(&ours, 200, "moved").with_body("application/sdp", sdp);
            let answer = text(&answer).replace(";tag=moved", ";tag=a");
            bench.hears(&answer);
        }),
        ("the answer to our UPDATE", &|bench, _, _| {
            bench.after(Duration::from_secs(51));
            let ours = bench.sent().pop().unwrap();
            assert_eq!(short(&ours), "UPDATE");
            bench.hears(&text(&reply(&ours, 200, "moved")).replace(";tag=moved", ";tag=a"));
        }),
    ];
    for (what, moves) in moves {
        let mut bench = Bench::new();
        let timer = "Supported: timer\nAllow: UPDATE\nSession-Expires: 100;refresher=uas\n";
        bench.hears(&invite("z9hG4bK1", &format!("{timer}{SDP}")));
        let leg = bench.events.pop_front().unwrap().0;
        bench.tells(leg, LegCommand::Answer(description(5000)));
        let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
        bench.hears(&within("ACK", "z9hG4bKa", 10, &tag, ""));
        moves(&mut bench, leg, &tag);
        bench.sent();
        bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
        let bye = bench.sent().pop().unwrap();
        assert_eq!(
            (short(&bye).as_str(), bye.request_uri()),
            ("BYE", Some("sip:moved@198.51.100.1:5060")),
            "{what}"
        );
    }
}
