//! The caller's side: what happens to the INVITEs that we send.

use super::*;
use crate::leg::{Digit, End, EndReason};
use crate::sip::wire::Name;

const LEG: u64 = 1;

fn calling() -> (Bench, Message) {
    calling_with(|_| {})
}

fn calling_with(change: impl FnOnce(&mut TrunkConfig)) -> (Bench, Message) {
    let mut bench = Bench::with(change);
    bench.tells(callee(LEG), offer_to(number("+15550199"), Some("south")));
    let invite = bench.sent().remove(0);
    (bench, invite)
}

fn hang_up(bench: &mut Bench, reason: EndReason) {
    bench.tells(callee(LEG), LegCommand::End(End::from(reason)));
}

/// A 2xx with an answer.
fn ok(invite: &Message, tag: &str) -> Message {
    with_answer(reply(invite, 200, tag))
}

fn with_answer(response: Message) -> Message {
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
               m=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";
    response.with_body("application/sdp", sdp)
}

impl Bench {
    fn hears_message(&mut self, message: &Message) {
        let flow = Self::flow(SOUTH);
        let bytes = message.to_bytes();
        self.sip
            .handle(self.now, NetInput::Datagram { flow, bytes });
        self.collect();
    }

    fn answers(&mut self, request: &Message, status: u16) {
        self.hears_message(&reply(request, status, "b"));
    }
}

#[test]
fn the_invite_says_who_calls_whom() {
    let (_, invite) = calling();
    assert_eq!(
        invite.request_uri(),
        Some("sip:+15550199@198.51.100.1:5060;user=phone")
    );
    let from = invite.header(Name::From).unwrap();
    assert!(from.starts_with(r#""Al \"x\"" <sip:+15550100@198.51.100.1>;tag="#));
    let via = invite.header(Name::Via).unwrap();
    assert!(via.starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
    assert_eq!(
        invite.header(Name::Contact),
        Some("<sip:offhook@192.0.2.1:5060>")
    );
}

#[test]
fn an_anonymous_caller_says_nothing() {
    let mut bench = Bench::new();
    let LegCommand::Offer {
        to,
        display_name,
        offer,
        trunk,
        ..
    } = offer_to(number("+15550199"), Some("south"))
    else {
        unreachable!("offer_to makes an offer");
    };
    bench.tells(
        callee(LEG),
        LegCommand::Offer {
            from: Address::Anonymous,
            to,
            display_name,
            offer,
            trunk,
            replaces: None,
        },
    );
    let invite = bench.sent().remove(0);
    let from = invite.header(Name::From).unwrap();
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert_eq!(invite.header(Name::Privacy), Some("id"));
}

#[test]
fn a_literal_address_is_called_without_a_trunk() {
    let mut bench = Bench::new();
    let to = crate::address::SipAddress {
        user: "echo".into(),
        host: "203.0.113.9".into(),
        port: Some(5080),
    };
    bench.tells(callee(LEG), offer_to(Address::Sip(to), None));
    let (flow, invite) = bench.sent_to().remove(0);
    assert_eq!(
        flow.remote,
        "203.0.113.9:5080".parse::<std::net::SocketAddr>().unwrap()
    );
    let from = invite.header(Name::From).unwrap();
    assert!(from.contains("<sip:+15550100@192.0.2.1>"));
}

#[test]
fn an_unanswered_invite_is_repeated_six_times_and_ends_after_32_s() {
    let (mut bench, _) = calling();
    bench.after(Duration::from_secs(33));
    assert_eq!(bench.said(), vec!["INVITE"; 6]);
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::NoRoute);
    bench.is_quiet();
}

#[test]
fn ringing_early_media_and_answer_are_told_and_acknowledged_at_once() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 100);
    bench.answers(&invite, 180);
    bench.hears_message(&with_answer(reply(&invite, 183, "b")));
    bench.hears_message(&with_answer(reply(&invite, 183, "b")));
    // The 2xx has no body: the answer came with the 183.
    bench.answers(&invite, 200);
    assert_eq!(bench.event(), LegEvent::Ringing);
    let LegEvent::Progress(Some(early)) = bench.event() else {
        panic!("early media, once");
    };
    assert_eq!(bench.event(), LegEvent::Answered(early));
    let ack = bench.sent().remove(0);
    assert_eq!(short(&ack), "ACK");
    assert_eq!(ack.request_uri(), Some("sip:b@198.51.100.1:5060"));
    bench.answers(&invite, 200);
    assert_eq!(bench.said(), ["ACK"]);
    assert!(bench.events.is_empty());
    hang_up(&mut bench, EndReason::Hangup);
    let bye = bench.sent().remove(0);
    assert_eq!(short(&bye), "BYE");
    bench.answers(&bye, 200);
    bench.is_quiet();
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let (mut bench, invite) = calling();
    hang_up(&mut bench, EndReason::Cancelled);
    assert!(bench.said().is_empty());
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    bench.answers(&invite, 180);
    let cancel = bench.sent().remove(0);
    assert_eq!(short(&cancel), "CANCEL");
    assert_eq!(
        cancel.via().unwrap().branch(),
        invite.via().unwrap().branch()
    );
    bench.answers(&cancel, 200);
    bench.answers(&invite, 487);
    assert_eq!(bench.said(), ["ACK"]);
    assert!(bench.events.is_empty());
    bench.is_quiet();
}

#[test]
fn cancel_crossing_200_sends_ack_and_bye() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 180);
    hang_up(&mut bench, EndReason::Cancelled);
    bench.hears_message(&ok(&invite, "b"));
    assert_eq!(bench.said(), ["CANCEL", "ACK", "BYE"]);
    bench.hears_message(&ok(&invite, "b"));
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.event(), LegEvent::Ringing);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    assert!(bench.events.is_empty());
    bench.is_quiet();
}

#[test]
fn a_cancelled_invite_without_any_answer_is_forgotten() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 100);
    hang_up(&mut bench, EndReason::Cancelled);
    bench.is_quiet();
}

#[test]
fn a_forked_2xx_is_acknowledged_and_dismissed() {
    let (mut bench, invite) = calling();
    bench.hears_message(&ok(&invite, "b"));
    bench.hears_message(&ok(&invite, "c"));
    let sent = bench.sent();
    let shorts: Vec<_> = sent.iter().map(short).collect();
    assert_eq!(shorts, ["ACK", "ACK", "BYE"]);
    assert_eq!(sent[2].to_tag(), Some("c"));
    bench.hears_message(&ok(&invite, "c"));
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.events.len(), 1);
}

#[test]
fn a_2xx_without_any_answer_is_acknowledged_and_hung_up() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 200);
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
}

#[test]
fn a_failure_ends_the_leg_with_its_status() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 486);
    bench.answers(&invite, 486);
    assert_eq!(bench.said(), ["ACK", "ACK"]);
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!((end.reason, end.sip_status), (EndReason::Busy, Some(486)));
    assert!(bench.events.is_empty());
    bench.is_quiet();
}

#[test]
fn a_dead_server_is_reported_at_once() {
    let (mut bench, _) = calling();
    let flow = Bench::flow(SOUTH);
    bench.sip.handle(bench.now, NetInput::Unsent { flow });
    bench.collect();
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    bench.is_quiet();
}

#[test]
fn a_digit_goes_by_info_only_if_there_is_no_telephone_event() {
    let (mut bench, invite) = calling();
    bench.hears_message(&ok(&invite, "b"));
    bench.sent();
    let five = Digit::from_char('5').unwrap();
    bench.tells(callee(LEG), LegCommand::Digit(five));
    let info = bench.sent().remove(0);
    assert_eq!(short(&info), "INFO");
    assert!(text(&info).contains("Signal=5"));
}

#[test]
fn a_challenge_is_answered_once_and_the_password_never_shows() {
    let (mut bench, invite) = calling_with(|trunk| {
        trunk.username = Some("al".into());
        trunk.password = Some(crate::config::Secret("geheim".into()));
    });
    let challenge = |request: &Message, nonce: &str| {
        reply(request, 407, "b").with(
            Name::ProxyAuthenticate,
            format!(r#"Digest realm="x", nonce="{nonce}", qop="auth,auth-int", algorithm=SHA-256"#),
        )
    };
    bench.hears_message(&challenge(&invite, "n1"));
    let sent = bench.sent();
    assert_eq!(short(&sent[0]), "ACK");
    let second = &sent[1];
    assert_eq!(short(second), "INVITE");
    let credentials = second.header(Name::ProxyAuthorization).unwrap();
    assert!(credentials.contains("nonce=\"n1\""));
    assert!(!text(second).contains("geheim"));
    assert_eq!(second.cseq().unwrap().number, 2);
    assert_eq!(second.from_tag(), invite.from_tag());
    // The same answer refused again is the end.
    bench.hears_message(&challenge(second, "n2"));
    assert!(matches!(bench.event(), LegEvent::Ended(_)));
    assert_eq!(bench.said(), ["ACK"]);
    bench.is_quiet();
}

#[test]
fn a_full_trunk_takes_no_further_call() {
    let mut bench = Bench::with(|trunk| trunk.max_calls = Some(1));
    bench.tells(callee(1), offer_to(number("+15550199"), Some("south")));
    bench.tells(callee(2), offer_to(number("+15550199"), Some("south")));
    let LegEvent::Ended(end) = bench.event() else {
        panic!("the end");
    };
    assert_eq!(end.reason, EndReason::Overloaded);
}

#[test]
fn health_goes_down_without_answer_and_up_with_any() {
    let mut bench = Bench::with(|trunk| trunk.options = Duration::from_secs(60));
    bench.after(ms(1));
    let options = bench.sent().remove(0);
    assert_eq!(short(&options), "OPTIONS");
    assert!(bench.sip.trunk_is_up("south"));
    bench.after(Duration::from_secs(33));
    assert!(!bench.sip.trunk_is_up("south"));
    bench.sent();
    bench.after(Duration::from_secs(28));
    let options = bench.sent().remove(0);
    bench.answers(&options, 405);
    assert!(bench.sip.trunk_is_up("south"));
}

/// One that makes its request too large for UDP.
fn large(mut description: Description) -> Description {
    for payload_type in 96..127 {
        let codec = Codec::new(payload_type, "some-long-encoding-name", 8000, 1);
        description.streams[0].codecs.push(codec);
    }
    description
}

/// The connection that is opened for a large request; it comes to nothing.
fn refuses_tcp(bench: &mut Bench) {
    let connection = loop {
        match bench.sip.poll_output() {
            Some(NetOutput::Connect { flow, .. }) => break flow.connection.unwrap(),
            Some(_) => {}
            None => panic!("a connection first"),
        }
    };
    bench.sip.handle(bench.now, NetInput::Closed { connection });
    bench.collect();
}

/// RFC 3261 §18.1.1, within a call too, and once is enough.
#[test]
fn a_large_reinvite_goes_back_to_udp_if_tcp_fails() {
    let (mut bench, invite) = calling();
    bench.hears_message(&ok(&invite, "b"));
    assert_eq!(bench.said(), ["ACK"]);
    bench.events.clear();
    bench.tells(callee(LEG), LegCommand::Update(large(description(4002))));
    refuses_tcp(&mut bench);
    for port in [4004, 4006] {
        let (flow, reinvite) = bench.sent_to().pop().expect("the re-INVITE again");
        assert_eq!(
            (flow.transport, short(&reinvite).as_str()),
            (SipTransport::Udp, "INVITE")
        );
        assert!(bench.events.is_empty());
        bench.hears_message(&ok(&reinvite, "b"));
        assert_eq!(bench.said(), ["ACK"]);
        assert!(matches!(bench.event(), LegEvent::UpdateAnswered(_)));
        bench.tells(callee(LEG), LegCommand::Update(large(description(port))));
    }
}

#[test]
fn a_large_invite_goes_by_tcp_and_back_to_udp_if_that_fails() {
    let mut bench = Bench::new();
    let LegCommand::Offer {
        from,
        to,
        display_name,
        offer,
        trunk,
        replaces: _,
    } = offer_to(number("+15550199"), Some("south"))
    else {
        unreachable!("offer_to makes an offer");
    };
    let offer = large(offer);
    bench.tells(
        callee(LEG),
        LegCommand::Offer {
            from,
            to,
            display_name,
            offer,
            trunk,
            replaces: None,
        },
    );
    let Some(NetOutput::Connect { flow, .. }) = bench.sip.poll_output() else {
        panic!("a connection first");
    };
    let connection = flow.connection.unwrap();
    assert_eq!(bench.sip.census().waiting, 1);
    bench.sip.handle(bench.now, NetInput::Closed { connection });
    let (flow, invite) = bench.sent_to().remove(0);
    assert_eq!(flow.transport, SipTransport::Udp);
    assert!(invite.header(Name::Via).unwrap().starts_with("SIP/2.0/UDP"));
    // The call need not find that out again.
    bench.hears_message(&ok(&invite, "b"));
    bench.sent();
    bench.tells(callee(LEG), LegCommand::Update(large(description(4002))));
    let (flow, reinvite) = bench.sent_to().remove(0);
    assert_eq!(
        (flow.transport, short(&reinvite).as_str()),
        (SipTransport::Udp, "INVITE")
    );
    bench.after(Duration::from_secs(33));
    bench.is_quiet();
}

/// A room whose trunk has two servers by name.
fn with_two_servers() -> Bench {
    let mut bench = Bench::with(|trunk| {
        trunk.host = "sip.example.org".into();
    });
    let Some(NetOutput::Resolve { query, .. }) = bench.sip.poll_output() else {
        panic!("a question");
    };
    assert!(!bench.sip.trunk_is_up("south"));
    let ip = |text: &str| crate::net::Record::Address(text.parse().unwrap());
    let records = vec![ip("198.51.100.1"), ip("198.51.100.2")];
    bench
        .sip
        .handle(bench.now, NetInput::Resolved { query, records });
    bench
}

#[test]
fn a_trunk_by_name_is_located_ahead_of_its_calls_and_fails_over() {
    let mut bench = with_two_servers();
    bench.tells(callee(LEG), offer_to(number("+15550199"), Some("south")));
    let (flow, invite) = bench.sent_to().remove(0);
    assert_eq!(
        flow.remote,
        "198.51.100.1:5060".parse::<std::net::SocketAddr>().unwrap()
    );
    bench.answers(&invite, 503);
    let (flow, second) = bench.sent_to().pop().unwrap();
    assert_eq!(short(&second), "INVITE");
    assert_eq!(
        flow.remote,
        "198.51.100.2:5060".parse::<std::net::SocketAddr>().unwrap()
    );
}

/// RFC 3263 §4: what is in the middle of something goes to the server that has it, though the name
/// has others before it.
#[test]
fn a_call_stays_with_its_server_where_that_goes_by_the_name_of_all() {
    let named = |text: String| text.replace("@198.51.100.1:5060", "@sip.example.org");
    let mut bench = with_two_servers();
    bench.tells(callee(LEG), offer_to(number("+15550199"), Some("south")));
    let first = bench.sent().remove(0);
    bench.answers(&first, 503);
    let second = bench.sent().pop().unwrap();
    let answer =
        text(&ok(&second, "b")).replace("<sip:b@198.51.100.1:5060>", "<sip:b@sip.example.org>");
    bench.hears_from("198.51.100.2:5060", &answer);
    let (flow, ack) = bench.sent_to().remove(0);
    assert_eq!(
        (short(&ack).as_str(), ack.request_uri()),
        ("ACK", Some("sip:b@sip.example.org"))
    );
    assert_eq!(flow.remote.to_string(), "198.51.100.2:5060");
    // And so where the second server calls us, by a name in Record-Route.
    let mut bench = with_two_servers();
    let invite = named(raw::invite("z9hG4bK1", raw::SDP)).replace(
        "Contact: ",
        "Record-Route: <sip:sip.example.org;lr>\nContact: ",
    );
    bench.hears_from("198.51.100.2:5060", &invite);
    let leg = bench.events.pop_front().expect("a call").0;
    bench.tells(leg, LegCommand::Answer(description(5000)));
    let tag = bench.sent().last().unwrap().to_tag().unwrap().to_owned();
    let ack = raw::within("ACK", "z9hG4bKa", 10, &tag, "");
    bench.hears_from("198.51.100.2:5060", &ack);
    bench.tells(leg, LegCommand::End(End::from(EndReason::Hangup)));
    let (flow, bye) = bench.sent_to().pop().unwrap();
    assert_eq!(short(&bye), "BYE");
    assert_eq!(flow.remote.to_string(), "198.51.100.2:5060");
}

/// Where the server that had the call is none of the name's any more, one that works has it.
#[test]
fn a_request_to_a_name_goes_to_a_server_that_has_not_failed() {
    let mut bench = with_two_servers();
    bench.tells(callee(LEG), offer_to(number("+15550199"), Some("south")));
    let first = bench.sent().remove(0);
    bench.answers(&first, 503);
    let second = bench.sent().pop().unwrap();
    let moved = text(&reply(&second, 302, "b")).replace("@198.51.100.1:5060", "@sip.example.org");
    bench.hears_from("198.51.100.2:5060", &moved);
    let (flow, third) = bench.sent_to().remove(1);
    assert_eq!(third.request_uri(), Some("sip:b@sip.example.org"));
    assert_eq!(flow.remote.to_string(), "198.51.100.2:5060");
}

/// A room whose trunk is spoken to by TCP, and the connection that its first call has opened.
fn calling_by_tcp(options: Duration) -> (Bench, Flow, Message) {
    let mut bench = Bench::with(|trunk| {
        trunk.transport = Some(SipTransport::Tcp);
        trunk.options = options;
    });
    bench.tells(callee(LEG), offer_to(number("+15550199"), Some("south")));
    let Some(NetOutput::Connect { flow, .. }) = bench.sip.poll_output() else {
        panic!("a connection first");
    };
    bench.sip.handle(bench.now, NetInput::Connected { flow });
    let invite = bench.sent().remove(0);
    (bench, flow, invite)
}

/// The pings until we close a connection whose peer says nothing but `pong`, `pongs` times, and how
/// long that took.
fn pings_until_closed(bench: &mut Bench, flow: Flow, mut pongs: u32) -> (usize, Duration) {
    let (mut pings, start) = (0, bench.now);
    loop {
        let now = bench.sip.poll_timeout().expect("the connection's own end");
        assert!(
            now < start + Duration::from_secs(3_600),
            "it stays open for ever"
        );
        bench.now = now;
        bench.sip.handle_timeout(now);
        while let Some(output) = bench.sip.poll_output() {
            match output {
                NetOutput::Send { bytes, .. } if bytes == b"\r\n\r\n" => {
                    pings += 1;
                    if pongs > 0 {
                        pongs -= 1;
                        bench.hears_stream(flow, b"\r\n");
                    }
                }
                NetOutput::Send { bytes, .. } if bytes == b"\r\n" => panic!("no pong for a pong"),
                NetOutput::Close { connection } => {
                    assert_eq!(Some(connection), flow.connection);
                    return (pings, bench.now - start);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_connection_of_ours_is_pinged_and_ends_when_nothing_comes_back() {
    let (mut bench, flow, invite) = calling_by_tcp(Duration::ZERO);
    bench.hears_stream(flow, &reply(&invite, 486, "b").to_bytes());
    bench.sent();
    let (pings, after) = pings_until_closed(&mut bench, flow, 0);
    assert_eq!(after, Duration::from_secs(600));
    assert!(pings >= 5, "{pings} pings");
    assert!(bench.sip.census().is_quiet(), "{:?}", bench.sip.census());
}

/// What we send is no sign of life: a firewall that has forgotten a connection says nothing.
#[test]
fn a_connection_by_which_no_request_is_answered_ends_with_the_first() {
    let (mut bench, flow, invite) = calling_by_tcp(Duration::from_secs(30));
    bench.hears_stream(flow, &reply(&invite, 486, "b").to_bytes());
    bench.sent();
    let (_, after) = pings_until_closed(&mut bench, flow, 0);
    assert!(after <= Duration::from_secs(63), "{after:?}");
    // The next request does not go where nothing comes back from.
    bench.tells(callee(2), offer_to(number("+15550199"), Some("south")));
    let Some(NetOutput::Connect { flow: new, .. }) = bench.sip.poll_output() else {
        panic!("a new connection");
    };
    assert_ne!(new.connection, flow.connection);
}

/// RFC 5626 §4.4.1. Who never sent a pong need not know them.
#[test]
fn a_peer_that_has_sent_pongs_and_sends_none_is_gone_after_ten_seconds() {
    let (mut bench, flow, invite) = calling_by_tcp(Duration::ZERO);
    bench.hears_stream(flow, &reply(&invite, 486, "b").to_bytes());
    bench.sent();
    let (pings, after) = pings_until_closed(&mut bench, flow, 2);
    assert_eq!((pings, after), (3, Duration::from_secs(3 * 95 + 10)));
    assert!(bench.sip.census().is_quiet(), "{:?}", bench.sip.census());
}

/// A request at the end of a long silence gets its time all the same.
#[test]
fn a_connection_is_not_closed_for_silence_while_an_answer_is_awaited() {
    let (mut bench, flow, invite) = calling_by_tcp(Duration::ZERO);
    bench.hears_stream(flow, &reply(&invite, 486, "b").to_bytes());
    bench.after(Duration::from_secs(599));
    while bench.sip.poll_output().is_some() {}
    bench.events.clear();
    bench.tells(callee(2), offer_to(number("+15550199"), Some("south")));
    let invite = bench.sent().remove(0);
    bench.after(Duration::from_secs(10));
    bench.hears_stream(flow, &reply(&invite, 180, "b").to_bytes());
    assert_eq!(bench.event(), LegEvent::Ringing);
    assert!(bench.said().is_empty());
}

#[test]
fn a_host_with_several_networks_speaks_by_the_one_that_leads_there() {
    let listen = [
        (SipTransport::Udp, NORTH),
        (SipTransport::Udp, "10.0.0.5:5060"),
    ];
    let south = trunk("south", "198.51.100.1", 5060);
    let mut sip = Sip::new(&config(&listen), &[south], TokenMaker::new([5; 32]));
    let now = base();
    sip.start(now);
    let Some(NetOutput::Resolve { query, question }) = sip.poll_output() else {
        panic!("a question");
    };
    let south: std::net::IpAddr = "198.51.100.1".parse().unwrap();
    assert_eq!(question, crate::net::Question::Way(south));
    let records = vec![crate::net::Record::Address("10.0.0.5".parse().unwrap())];
    sip.handle(now, NetInput::Resolved { query, records });
    sip.command(
        now,
        callee(LEG),
        offer_to(number("+15550199"), Some("south")),
    );
    let Some(NetOutput::Send { flow, bytes }) = sip.poll_output() else {
        panic!("an INVITE");
    };
    assert_eq!(flow.local.to_string(), "10.0.0.5:5060");
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;"),
        "{text}"
    );
    assert!(
        text.contains("\r\nContact: <sip:offhook@10.0.0.5:5060>"),
        "{text}"
    );
}

#[test]
fn requests_in_an_early_dialog_find_their_call() {
    let (mut bench, invite) = calling();
    bench.answers(&invite, 180);
    bench.sent();
    let within = |method: &str, cseq: u32, from: &str, more: &str| {
        format!(
            "{method} sip:offhook@192.0.2.1:5060 SIP/2.0
            Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKe{cseq}
            From: <sip:x@y>;tag={from}
            To: {}
            Call-ID: {}
            CSeq: {cseq} {method}
            Contact: <sip:b2@198.51.100.1:5070>
            {more}",
            invite.header(Name::From).unwrap(),
            invite.call_id().unwrap()
        )
    };
    let sdp = "Content-Type: application/sdp\n\nv=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\n\
               c=IN IP4 1.2.3.4\nt=0 0\nm=audio 4 RTP/AVP 8";
    bench.hears(&within("UPDATE", 1, "b", ""));
    bench.hears(&within("UPDATE", 2, "b", sdp));
    bench.hears(&within("INFO", 3, "b", ""));
    // This one overtook the response that makes its dialog.
    bench.hears(&within("INFO", 4, "late", ""));
    assert_eq!(bench.said(), ["200", "491", "200", "500"]);
}

#[test]
fn a_lost_nonce_is_asked_for_once_per_call_even_if_calls_run_beside_each_other() {
    let (mut bench, first) = calling_with(|trunk| {
        trunk.username = Some("al".into());
        trunk.password = Some(crate::config::Secret("geheim".into()));
    });
    let challenge = |request: &Message| {
        reply(request, 401, "b").with(
            Name::WwwAuthenticate,
            r#"Digest realm="x", nonce="n", qop="auth""#,
        )
    };
    let mut waiting = vec![first];
    for count in 2..6 {
        bench.tells(callee(count), offer_to(number("+15550199"), Some("south")));
        waiting.extend(bench.sent());
    }
    for request in &waiting {
        bench.hears_message(&challenge(request));
    }
    assert!(bench.events.is_empty(), "nobody is refused");
    let again = bench.said();
    assert_eq!(again.iter().filter(|m| *m == "INVITE").count(), 5);
}
