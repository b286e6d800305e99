//! Registration at a trunk.

use super::super::wire::Name;
use super::*;
use crate::config::Secret;
use crate::config::values::TrunkUri;
use crate::leg::{End, EndReason, LegCommand};

const CHALLENGE: &str = "Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn bench() -> Bench {
    Bench::with(|trunk| {
        trunk.register = true;
        trunk.username = Some("u 1".into());
        trunk.password = Some(Secret("zanzibar".into()));
    })
}

/// Says `status` to a request of ours, in its transaction.
fn answers(bench: &mut Bench, request: &Message, status: u16, add: &[(Name, &str)]) {
    let mut response = reply(request, status, "reg");
    response.headers.remove(Name::Contact);
    for (name, value) in add {
        response.push(*name, value);
    }
    bench.hears(&text(&response));
}

fn grants(bench: &mut Bench, request: &Message, seconds: u32) {
    let ours = request.header(Name::Contact).unwrap().to_owned();
    let other = "<sip:u@203.0.113.9>;expires=7".to_owned();
    let ours = format!("{ours};expires={seconds}");
    answers(
        bench,
        request,
        200,
        &[(Name::Contact, &other), (Name::Contact, &ours)],
    );
}

/// The one message that left.
fn one(bench: &mut Bench) -> Message {
    let mut sent = bench.sent();
    assert_eq!(
        sent.len(),
        1,
        "{:?}",
        sent.iter().map(short).collect::<Vec<_>>()
    );
    sent.remove(0)
}

/// The next message, however long it takes to come.
fn next(bench: &mut Bench) -> Message {
    loop {
        if let Some(request) = bench.sent().pop() {
            return request;
        }
        bench.after(ms(400));
    }
}

fn registered() -> (Bench, Message) {
    let mut bench = bench();
    bench.after(ms(0));
    let request = one(&mut bench);
    grants(&mut bench, &request, 600);
    (bench, request)
}

#[test]
fn a_trunk_is_registered_at_once_and_is_up_only_then() {
    let mut bench = bench();
    assert!(!bench.sip.trunk_is_up("south"));
    assert_eq!(bench.sip.poll_trunk(), Some(("south".into(), false)));
    bench.after(ms(0));
    let request = one(&mut bench);
    assert_eq!(short(&request), "REGISTER");
    assert_eq!(request.request_uri(), Some("sip:198.51.100.1:5060"));
    assert_eq!(request.header(Name::Expires), Some("600"));
    assert_eq!(request.header(Name::To), Some("<sip:u%201@198.51.100.1>"));
    assert_eq!(
        request.header(Name::Contact),
        Some("<sip:u%201@192.0.2.1:5060>")
    );
    grants(&mut bench, &request, 600);
    assert!(bench.sip.trunk_is_up("south"));
    assert_eq!(bench.sip.poll_trunk(), Some(("south".into(), true)));
}

#[test]
fn a_challenge_is_answered_with_the_next_cseq() {
    let mut bench = bench();
    bench.after(ms(0));
    let first = one(&mut bench);
    answers(
        &mut bench,
        &first,
        401,
        &[(Name::WwwAuthenticate, CHALLENGE)],
    );
    let second = one(&mut bench);
    assert_eq!(second.cseq().unwrap().number, 2);
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.from_tag(), first.from_tag());
    let credentials = second.header(Name::Authorization).unwrap();
    assert!(credentials.contains("nonce=\"n1\""));
    // Wrong credentials: no third try now, and one later.
    answers(
        &mut bench,
        &second,
        401,
        &[(Name::WwwAuthenticate, CHALLENGE)],
    );
    assert!(bench.said().is_empty());
    assert!(!bench.sip.trunk_is_up("south"));
    bench.after(Duration::from_secs(4));
    assert!(bench.said().is_empty());
    bench.after(Duration::from_secs(7));
    assert_eq!(bench.said()[0], "REGISTER");
}

#[test]
fn the_binding_is_renewed_well_before_it_ends() {
    let (mut bench, _) = registered();
    bench.after(Duration::from_secs(299));
    assert!(bench.said().is_empty());
    bench.after(Duration::from_secs(152));
    let again = bench.sent().remove(0);
    assert_eq!(again.cseq().unwrap().number, 2);
    grants(&mut bench, &again, 60);
    bench.after(Duration::from_secs(29));
    bench.sent();
    bench.after(Duration::from_secs(17));
    assert!(!bench.said().is_empty());
}

#[test]
fn the_field_counts_where_the_contact_says_nothing() {
    let mut bench = bench();
    bench.after(ms(0));
    let request = one(&mut bench);
    answers(&mut bench, &request, 200, &[(Name::Expires, "100")]);
    bench.after(Duration::from_secs(49));
    assert!(bench.said().is_empty());
    bench.after(Duration::from_secs(27));
    assert!(!bench.said().is_empty());
}

#[test]
fn a_registrar_that_wants_longer_gets_it() {
    let mut bench = bench();
    bench.after(ms(0));
    let first = one(&mut bench);
    answers(&mut bench, &first, 423, &[(Name::MinExpires, "1800")]);
    let second = one(&mut bench);
    assert_eq!(second.header(Name::Expires), Some("1800"));
    grants(&mut bench, &second, 1800);
    assert!(bench.sip.trunk_is_up("south"));
    // One that wants more than we give, or the same again, is no endless game.
    bench.after(Duration::from_secs(1_351));
    let third = bench.sent().remove(0);
    answers(&mut bench, &third, 423, &[(Name::MinExpires, "1800")]);
    assert!(bench.said().is_empty());
}

#[test]
fn failures_are_tried_again_ever_later_and_retry_after_is_kept() {
    let mut bench = bench();
    bench.after(ms(0));
    let mut at = Vec::new();
    for _ in 0..8 {
        let started = bench.now;
        let request = next(&mut bench);
        at.push(bench.now - started);
        answers(&mut bench, &request, 403, &[]);
    }
    assert_eq!(at[0], Duration::ZERO);
    assert!(at[1] >= Duration::from_secs(5) && at[1] <= Duration::from_secs(11));
    assert!(at[7] >= Duration::from_secs(150) && at[7] <= Duration::from_secs(301));
    let request = next(&mut bench);
    answers(
        &mut bench,
        &request,
        503,
        &[(Name::RetryAfter, "1000 (full)")],
    );
    bench.after(Duration::from_secs(999));
    assert!(bench.said().is_empty());
}

#[test]
fn a_redirect_is_not_followed() {
    let mut bench = bench();
    bench.after(ms(0));
    let request = one(&mut bench);
    let elsewhere = [(Name::Contact, "<sip:203.0.113.66>")];
    answers(&mut bench, &request, 302, &elsewhere);
    bench.after(Duration::from_secs(11));
    for (flow, _) in bench.sent_to() {
        assert_eq!(flow.remote, SOUTH.parse::<std::net::SocketAddr>().unwrap());
    }
}

#[test]
fn silence_takes_the_trunk_down() {
    let (mut bench, _) = registered();
    while bench.sip.poll_trunk().is_some() {}
    bench.after(Duration::from_secs(600));
    assert!(!bench.sip.trunk_is_up("south"));
    assert_eq!(bench.sip.poll_trunk(), Some(("south".into(), false)));
}

#[test]
fn a_stopping_gateway_takes_its_binding_back() {
    let (mut bench, first) = registered();
    bench.sip.unregister(bench.now);
    let last = one(&mut bench);
    assert_eq!(last.header(Name::Expires), Some("0"));
    assert_eq!(last.header(Name::Contact), first.header(Name::Contact));
    assert!(!bench.sip.is_unregistered());
    answers(&mut bench, &last, 200, &[]);
    assert!(bench.sip.is_unregistered());
    assert!(!bench.sip.trunk_is_up("south"));
    bench.after(Duration::from_secs(5_000));
    assert!(bench.said().is_empty());
    bench.is_quiet();
}

#[test]
fn stopping_waits_for_the_registration_under_way() {
    let mut bench = bench();
    bench.after(ms(0));
    let first = one(&mut bench);
    bench.sip.unregister(bench.now);
    assert!(bench.said().is_empty());
    grants(&mut bench, &first, 600);
    let last = one(&mut bench);
    assert_eq!(last.header(Name::Expires), Some("0"));
    answers(&mut bench, &last, 403, &[]);
    assert!(bench.sip.is_unregistered());
    bench.is_quiet();
}

#[test]
fn the_account_is_called_for_whom_the_call_was_meant() {
    let (mut bench, _) = registered();
    bench.hears(
        "INVITE sip:u%201@192.0.2.1:5060 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKin
        From: <sip:+15550100@carrier.example>;tag=a
        To: <sip:+15550001000@carrier.example>
        Call-ID: in
        CSeq: 1 INVITE
        Contact: <sip:198.51.100.1>",
    );
    let LegEvent::Offered { to, trunk, .. } = bench.event() else {
        panic!("a call");
    };
    assert_eq!(
        (to, trunk.as_deref()),
        (number("+15550001000"), Some("south"))
    );
}

/// Registers by a new connection; returns how long that took to begin, and the connection.
fn registers_by_tcp(bench: &mut Bench) -> (Duration, Flow) {
    let start = bench.now;
    let flow = loop {
        if let Some(NetOutput::Connect { flow, .. }) = bench.sip.poll_output() {
            break flow;
        }
        assert!(
            bench.now < start + Duration::from_secs(700),
            "nothing comes"
        );
        bench.after(ms(100));
    };
    let took = bench.now - start;
    bench.sip.handle(bench.now, NetInput::Connected { flow });
    let request = one(bench);
    assert_eq!(short(&request), "REGISTER");
    let ours = request.header(Name::Contact).unwrap();
    let mut response = reply(&request, 200, "reg");
    response
        .headers
        .set(Name::Contact, &format!("{ours};expires=600"));
    bench.hears_stream(flow, &response.to_bytes());
    (took, flow)
}

/// RFC 5626 §4.5: calls to us would have come by the connection that is gone.
#[test]
fn a_registration_is_made_anew_when_its_connection_is_gone() {
    let mut bench = Bench::with(|trunk| {
        trunk.register = true;
        trunk.transport = Some(SipTransport::Tcp);
        trunk.username = Some("u1".into());
        trunk.password = Some(Secret("zanzibar".into()));
    });
    let (_, flow) = registers_by_tcp(&mut bench);
    bench.after(Duration::from_secs(200));
    while bench.sip.poll_output().is_some() {}
    let connection = flow.connection.unwrap();
    bench.sip.handle(bench.now, NetInput::Closed { connection });
    assert!(bench.sip.trunk_is_up("south"));
    let (took, mut flow) = registers_by_tcp(&mut bench);
    assert!(took <= Duration::from_secs(10), "{took:?}");
    // Whoever closes each connection is not asked all the time.
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.after(ms(100));
        let connection = flow.connection.unwrap();
        bench.sip.handle(bench.now, NetInput::Closed { connection });
        let (took, next) = registers_by_tcp(&mut bench);
        waits.push(took);
        flow = next;
    }
    assert!(waits[0] <= Duration::from_secs(21), "{waits:?}");
    assert!(waits[5] >= Duration::from_secs(150), "{waits:?}");
    // A stopping gateway does not come back.
    bench.sip.unregister(bench.now);
    let last = one(&mut bench);
    bench.hears_stream(flow, &reply(&last, 200, "reg").to_bytes());
    let connection = flow.connection.unwrap();
    bench.sip.handle(bench.now, NetInput::Closed { connection });
    bench.after(Duration::from_secs(700));
    assert!(bench.said().is_empty());
    bench.is_quiet();
}

/// Two accounts at one server: what comes names in its Request-URI which of them it is for.
fn two_accounts() -> Bench {
    let account = |name: &str, user: &str| {
        let mut trunk = trunk(name, "198.51.100.1", 5060);
        trunk.register = true;
        trunk.username = Some(user.into());
        trunk.password = Some(Secret("zanzibar".into()));
        trunk.messages = name == "second";
        trunk
    };
    let mut bench = Bench::with_trunks(&[
        account("first", "u1"),
        account("second", "u2"),
        account("third", "+15550003000"),
    ]);
    bench.after(ms(0));
    for request in bench.sent() {
        grants(&mut bench, &request, 600);
    }
    bench
}

fn to_account(method: &str, user: &str, more: &str) -> String {
    format!(
        "{method} sip:{user}@192.0.2.1:5060 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK{method}{user}
        From: <sip:+15550100@carrier.example>;tag=a
        To: <sip:+15550001000@carrier.example>
        Call-ID: {method}{user}
        CSeq: 1 {method}
        Contact: <sip:198.51.100.1>
        {more}"
    )
}

#[test]
fn of_several_accounts_at_one_server_the_one_is_called_that_is_named() {
    let called = [
        ("u1", "first", "+15550001000"),
        ("u2", "second", "+15550001000"),
        ("+15550003000", "third", "+15550003000"),
        // Not an account: the first trunk there takes it, as any call.
        ("+15550004000", "first", "+15550004000"),
    ];
    let mut bench = two_accounts();
    for (user, name, callee) in called {
        bench.hears(&to_account("INVITE", user, ""));
        let LegEvent::Offered { to, trunk, .. } = bench.event() else {
            panic!("a call for {user}");
        };
        assert_eq!((to, trunk.as_deref()), (number(callee), Some(name)));
    }
}

#[test]
fn of_several_accounts_at_one_server_the_one_is_written_to_that_is_named() {
    use crate::text::TextEvent;
    let mut bench = two_accounts();
    let body = "Content-Type: text/plain\n\nHello";
    bench.hears(&to_account("MESSAGE", "u2", body));
    let Some(TextEvent::Came { text, trunk, .. }) = bench.sip.poll_text() else {
        panic!("a text");
    };
    assert_eq!(
        (text.to, trunk.as_deref()),
        (number("+15550001000"), Some("second"))
    );
    // The first trunk takes no texts, and says so.
    bench.hears(&to_account("MESSAGE", "u1", body));
    assert_eq!(bench.said(), ["405"]);
    for (user, texts) in [("u1", false), ("u2", true)] {
        bench.hears(&to_account("INVITE", user, ""));
        let leg = bench.events.pop_front().expect("a call").0;
        bench.sent();
        bench.tells(leg, LegCommand::Ring);
        let ringing = bench.sent().remove(0);
        assert_eq!(ringing.lists(Name::Allow, "MESSAGE"), texts, "{user}");
    }
}

#[test]
fn a_proxy_gets_everything_and_is_named_in_the_route() {
    let mut bench = Bench::with(|trunk| {
        trunk.register = true;
        trunk.host = "carrier.example".into();
        trunk.port = None;
        trunk.username = Some("u".into());
        trunk.password = Some(Secret("zanzibar".into()));
        trunk.outbound_proxy = Some(TrunkUri {
            host: "203.0.113.7".into(),
            port: Some(5070),
            transport: None,
        });
    });
    bench.after(ms(0));
    let leg = callee(1);
    bench.tells(leg, offer_to(number("+15550199"), Some("south")));
    let sent = bench.sent_to();
    assert_eq!(sent.len(), 2);
    for (flow, request) in sent {
        assert_eq!(
            flow.remote,
            "203.0.113.7:5070".parse::<std::net::SocketAddr>().unwrap()
        );
        assert_eq!(
            request.header(Name::Route),
            Some("<sip:203.0.113.7:5070;lr>")
        );
        assert!(request.request_uri().unwrap().contains("carrier.example"));
    }
    bench.tells(leg, LegCommand::End(End::from(EndReason::Cancelled)));
}

#[test]
fn a_trunk_is_told_who_calls_where_it_wants_it() {
    use crate::config::CallerId;
    let said = |caller_id, name| {
        let mut bench = Bench::with(|trunk| trunk.caller_id = caller_id);
        bench.tells(callee(1), offer_to(number("+15550199"), Some("south")));
        bench.sent().remove(0).header(name).map(str::to_owned)
    };
    let who = "\"Al \\\"x\\\"\" <sip:+15550100@198.51.100.1>";
    assert_eq!(said(CallerId::From, Name::PAssertedIdentity), None);
    assert_eq!(
        said(CallerId::Asserted, Name::PAssertedIdentity).as_deref(),
        Some(who)
    );
    let party = said(CallerId::RemoteParty, Name::RemotePartyId).unwrap();
    assert_eq!(party, format!("{who};party=calling;screen=yes;privacy=off"));
}

#[test]
fn a_remote_party_is_the_caller_unless_it_hides() {
    for (privacy, who) in [("off", number("+15550177")), ("full", Address::Anonymous)] {
        let mut bench = Bench::new();
        bench.hears(&format!(
            "INVITE sip:+15550001000@192.0.2.1 SIP/2.0
            Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKin
            From: <sip:1000@carrier.example>;tag=a
            To: <sip:+15550001000@carrier.example>
            Remote-Party-ID: <sip:+15550188@x>;party=called
            Remote-Party-ID: <sip:+15550177@x>;party=calling;privacy={privacy}
            Call-ID: in
            CSeq: 1 INVITE
            Contact: <sip:198.51.100.1>"
        ));
        let LegEvent::Offered { from, .. } = bench.event() else {
            panic!("a call");
        };
        assert_eq!(from, who);
    }
}

#[test]
fn a_scanner_is_counted_and_no_longer_read_and_calls_go_on() {
    let mut bench = Bench::new();
    for count in 0..100 {
        bench.hears_from(
            "203.0.113.66:5060",
            &format!(
                "OPTIONS sip:100@192.0.2.1 SIP/2.0
                Via: SIP/2.0/UDP 203.0.113.66;branch=z9hG4bK{count}
                From: <sip:100@x>;tag=a
                To: <sip:100@x>
                Call-ID: scan{count}
                CSeq: 1 OPTIONS"
            ),
        );
    }
    assert_eq!(bench.sip.stats().unknown_sources, 100);
    assert!(bench.said().is_empty());
    bench.tells(callee(1), offer_to(number("+15550199"), Some("south")));
    assert_eq!(bench.said(), ["INVITE"]);
}
