//! MESSAGE, one at a time (RFC 3428).

use super::raw::{answered, within};
use super::*;
use crate::sip::wire::Name;
use crate::text::{Fate, Taken, Text, TextCommand, TextEvent, TextId, Undelivered, Why};

fn message(branch: &str, more: &str) -> String {
    format!(
        "MESSAGE sip:+15550199@192.0.2.1 SIP/2.0
        Via: SIP/2.0/UDP 198.51.100.1:5060;branch={branch}
        Max-Forwards: 70
        From: \"Al\" <sip:+15550100@198.51.100.1>;tag=a
        To: <sip:+15550199@192.0.2.1>
        Call-ID: m1
        CSeq: 1 MESSAGE
        {more}"
    )
}

const PLAIN: &str = "Content-Type: text/plain

        Watson, come here.";

fn came(bench: &mut Bench) -> Option<(u64, Text, Option<LegId>)> {
    bench.sip.poll_text().map(|event| match event {
        TextEvent::Came { id, text, leg, .. } => (id.number, *text, leg),
        other @ TextEvent::Fared { .. } => panic!("{other:?}"),
    })
}

fn fared(bench: &mut Bench) -> Option<Fate> {
    bench.sip.poll_text().map(|event| match event {
        TextEvent::Fared { fate, .. } => fate,
        other @ TextEvent::Came { .. } => panic!("{other:?}"),
    })
}

fn tells(bench: &mut Bench, role: Role, number: u64, command: impl FnOnce(TextId) -> TextCommand) {
    let id = TextId {
        room: Room::Sip,
        role,
        number,
    };
    bench.sip.text_command(bench.now, command(id));
}

fn fares(bench: &mut Bench, number: u64, fate: Fate) {
    tells(bench, Role::Caller, number, |id| TextCommand::Fared {
        id,
        fate,
    });
}

fn sends(bench: &mut Bench, body: &str, leg: Option<LegId>) {
    let text = Box::new(Text {
        from: number("+15550199"),
        to: match leg {
            Some(_) => Address::Anonymous,
            None => number("+15550100"),
        },
        display_name: None,
        body: body.into(),
        subject: Some("a\r\nX-Evil: b".into()),
        language: Some("de".into()),
    });
    let trunk = Some("south".to_owned());
    tells(bench, Role::Callee, 1, |id| TextCommand::Send {
        id,
        text,
        trunk,
        leg,
    });
}

fn refusal(bench: &mut Bench) -> (u16, Message) {
    let answer = bench.sent().pop().unwrap();
    assert_eq!(came(bench), None);
    (answer.status().unwrap(), answer)
}

#[test]
fn a_message_is_answered_when_its_fate_is_known_and_its_repetition_with_the_same() {
    for (fate, status) in [
        (Ok(Taken::Accepted), 202),
        (Ok(Taken::Delivered), 200),
        (Err(Why::NotFound.into()), 404),
        (Err(Why::TooMany.into()), 503),
        (Err(Why::NoRoute.into()), 480),
        (
            Err(Undelivered {
                why: Why::Forbidden,
                sip_status: Some(403),
            }),
            403,
        ),
    ] {
        let mut bench = Bench::new();
        let more = format!("Content-Language: en\n        Subject: help\n        {PLAIN}");
        bench.hears(&message("z9hG4bK1", &more));
        bench.hears(&message("z9hG4bK1", &more));
        assert!(bench.said().is_empty());
        let (id, text, leg) = came(&mut bench).unwrap();
        assert_eq!(came(&mut bench), None);
        assert_eq!(text.from, number("+15550100"));
        assert_eq!(text.to, number("+15550199"));
        assert_eq!(text.display_name.as_deref(), Some("Al"));
        assert_eq!(text.body.trim_end(), "Watson, come here.");
        assert_eq!(text.subject.as_deref(), Some("help"));
        assert_eq!(text.language.as_deref(), Some("en"));
        assert_eq!(leg, None);
        fares(&mut bench, id, fate);
        let answer = bench.sent().pop().unwrap();
        assert_eq!(answer.status(), Some(status));
        // RFC 3428 §7.
        assert!(answer.header(Name::Contact).is_none() && answer.body.is_empty());
        bench.hears(&message("z9hG4bK1", &more));
        assert_eq!(bench.said(), [status.to_string()]);
        bench.is_quiet();
    }
}

#[test]
fn only_plain_text_is_taken() {
    for kind in [
        "text/html",
        "message/cpim",
        "multipart/mixed;boundary=x",
        "application/im-iscomposing+xml",
        "text/plain;charset=utf-16",
    ] {
        let mut bench = Bench::new();
        bench.hears(&message("z9hG4bK1", &PLAIN.replace("text/plain", kind)));
        let (status, answer) = refusal(&mut bench);
        assert_eq!(status, 415, "{kind}");
        assert_eq!(answer.header(Name::Accept), Some("text/plain"));
        bench.is_quiet();
    }
    for kind in [
        "text/plain;charset=UTF-8",
        "Text/Plain ; charset=\"us-ascii\"",
    ] {
        let mut bench = Bench::new();
        bench.hears(&message("z9hG4bK1", &PLAIN.replace("text/plain", kind)));
        assert!(came(&mut bench).is_some(), "{kind}");
    }
}

#[test]
fn an_empty_text_is_nobodys_and_one_that_is_too_long_is_refused() {
    let mut bench = Bench::new();
    bench.hears(&message("z9hG4bK1", ""));
    assert_eq!(refusal(&mut bench).0, 200);
    let mut bench = Bench::new();
    let long = PLAIN.replace("come", &"come ".repeat(2_000));
    bench.hears(&message("z9hG4bK1", &long));
    assert_eq!(refusal(&mut bench).0, 413);
    bench.is_quiet();
}

#[test]
fn a_trunk_without_texts_takes_none_and_says_so() {
    for (messages, status) in [(true, "200"), (false, "405")] {
        let mut bench = Bench::with(|trunk| trunk.messages = messages);
        bench.hears(&message("z9hG4bK1", ""));
        assert_eq!(bench.said(), [status]);
        bench.hears(&message("z9hG4bK2", "").replace("MESSAGE", "OPTIONS"));
        let answer = bench.sent().pop().unwrap();
        assert_eq!(answer.lists(Name::Allow, "MESSAGE"), messages);
        sends(&mut bench, "hello", None);
        let _ = bench.sent();
    }
    // Nobody else may write at all.
    let mut bench = Bench::new();
    bench.hears_from("203.0.113.9:5060", &message("z9hG4bK1", PLAIN));
    assert!(bench.said().is_empty() && came(&mut bench).is_none());
}

#[test]
fn a_text_within_a_call_is_of_that_call() {
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    bench.sent();
    bench.hears(&within("MESSAGE", "z9hG4bKm", 11, &tag, PLAIN));
    let (id, said, of) = came(&mut bench).unwrap();
    assert_eq!(
        (of, said.body.trim_end()),
        (Some(leg), "Watson, come here.")
    );
    fares(&mut bench, id, Ok(Taken::Accepted));
    assert_eq!(bench.said(), ["202"]);
    // And back, within the same dialog.
    sends(&mut bench, "I am here", Some(leg));
    let sent = bench.sent().pop().unwrap();
    assert_eq!(sent.to_tag(), Some("a"));
    assert_eq!(sent.from_tag(), Some(tag.as_str()));
    bench.hears(&text(&reply(&sent, 200, "a")));
    assert_eq!(fared(&mut bench), Some(Ok(Taken::Delivered)));
    bench.tells(leg, LegCommand::End(crate::leg::EndReason::Hangup.into()));
    sends(&mut bench, "too late", Some(leg));
    assert_eq!(fared(&mut bench), Some(Err(Why::NotFound.into())));
}

#[test]
fn our_message_has_what_rfc_3428_wants_and_nothing_more() {
    let mut bench = Bench::new();
    sends(&mut bench, "Grüße", None);
    let sent = bench.sent().pop().unwrap();
    assert_eq!(
        sent.request_uri(),
        Some("sip:+15550100@198.51.100.1:5060;user=phone")
    );
    assert_eq!(
        sent.header(Name::ContentType),
        Some("text/plain;charset=UTF-8")
    );
    assert_eq!(sent.header(Name::ContentLanguage), Some("de"));
    assert_eq!(sent.header(Name::Subject), Some("a X-Evil: b"));
    assert_eq!(sent.body, "Grüße".as_bytes());
    assert!(sent.header(Name::Contact).is_none());
    // 202 and a provisional answer before it.
    bench.hears(&text(&reply(&sent, 100, "x")));
    assert_eq!(fared(&mut bench), None);
    bench.hears(&text(&reply(&sent, 202, "x")));
    bench.hears(&text(&reply(&sent, 202, "x")));
    assert_eq!(fared(&mut bench), Some(Ok(Taken::Accepted)));
    assert_eq!(fared(&mut bench), None);
    bench.is_quiet();
}

#[test]
fn what_nobody_answers_is_repeated_for_32_seconds_and_then_given_up() {
    let mut bench = Bench::new();
    sends(&mut bench, "hello", None);
    bench.after(Duration::from_secs(31));
    assert_eq!(bench.said().len(), 11 - 1);
    assert_eq!(fared(&mut bench), None);
    bench.after(Duration::from_secs(2));
    let failed = Undelivered {
        why: Why::Unanswered,
        sip_status: Some(408),
    };
    assert_eq!(fared(&mut bench), Some(Err(failed)));
    // Calls go on there: some servers answer calls and no texts.
    assert!(bench.sip.trunk_is_up("south"));
    bench.is_quiet();
}

#[test]
fn a_long_text_goes_only_where_every_packet_is_minded() {
    let long = "x".repeat(1_200);
    let mut bench = Bench::new();
    sends(&mut bench, &long, None);
    assert!(bench.said().is_empty());
    let failed = Undelivered {
        why: Why::TooLong,
        sip_status: Some(413),
    };
    assert_eq!(fared(&mut bench), Some(Err(failed)));
    let mut bench = Bench::with(|trunk| trunk.transport = Some(SipTransport::Tcp));
    sends(&mut bench, &long, None);
    assert_eq!(fared(&mut bench), None);
    assert_eq!(bench.sip.census().texts, 1);
    let mut bench = Bench::with(|trunk| trunk.transport = Some(SipTransport::Tcp));
    sends(&mut bench, &"x".repeat(10_001), None);
    assert_eq!(fared(&mut bench), Some(Err(failed)));
}

/// An answer that sends the text on.
fn moved(request: &Message, status: u16, contacts: &str) -> String {
    let mut moved = reply(request, status, "a");
    moved.headers.remove(Name::Contact);
    text(&moved.with(Name::Contact, contacts))
}

#[test]
fn a_text_follows_redirections_by_q_and_never_twice() {
    let mut bench = Bench::new();
    sends(&mut bench, "hello", None);
    let first = bench.sent().pop().unwrap();
    bench.hears(&moved(
        &first,
        302,
        "<sip:low@198.51.100.7>;q=0.2, <sip:high@198.51.100.8:5070>;q=0.9, <mailto:al@example.org>",
    ));
    let (flow, second) = bench.sent_to().remove(0);
    assert_eq!(second.request_uri(), Some("sip:high@198.51.100.8:5070"));
    assert_eq!(flow.remote.to_string(), "198.51.100.8:5070");
    assert_eq!(
        (second.call_id(), &second.body),
        (first.call_id(), &first.body)
    );
    assert!(second.cseq().unwrap().number > first.cseq().unwrap().number);
    // Back to where it comes from, which is not tried again; the other Contact is.
    let back = format!("<{}>", first.request_uri().unwrap());
    bench.hears_from("198.51.100.8:5070", &moved(&second, 301, &back));
    let third = bench.sent().remove(0);
    assert_eq!(third.request_uri(), Some("sip:low@198.51.100.7"));
    assert_eq!(fared(&mut bench), None);
    bench.hears_from("198.51.100.7:5060", &text(&reply(&third, 200, "c")));
    assert_eq!(fared(&mut bench), Some(Ok(Taken::Delivered)));
    bench.is_quiet();
}

#[test]
fn a_text_goes_by_the_proxy_that_is_named() {
    let mut bench = Bench::new();
    sends(&mut bench, "hello", None);
    let first = bench.sent().pop().unwrap();
    bench.hears(&moved(&first, 305, "<sip:198.51.100.9;lr>"));
    let (flow, second) = bench.sent_to().remove(0);
    assert_eq!(second.request_uri(), first.request_uri());
    assert_eq!(second.header(Name::Route), Some("<sip:198.51.100.9;lr>"));
    assert_eq!(flow.remote.to_string(), "198.51.100.9:5060");
}

#[test]
fn a_text_that_is_sent_on_without_end_is_given_up() {
    let mut bench = Bench::new();
    sends(&mut bench, "hello", None);
    let mut sent = 0;
    while let Some(request) = bench.sent().pop() {
        sent += 1;
        assert!(sent < 20);
        let next = format!("<sip:n{sent}@198.51.100.1>");
        bench.hears(&moved(&request, 302, &next));
    }
    assert_eq!(sent, 6);
    let failed = fared(&mut bench).unwrap().unwrap_err();
    assert_eq!(failed.sip_status, Some(302));
    bench.is_quiet();
}

#[test]
fn nobody_gets_a_text_that_may_have_arrived_or_is_refused_by_all() {
    let contacts = "<sip:a@198.51.100.7>;q=0.9, <sip:b@198.51.100.8>;q=0.8";
    for status in [408, 603] {
        let mut bench = Bench::new();
        sends(&mut bench, "hello", None);
        let first = bench.sent().pop().unwrap();
        bench.hears(&moved(&first, 300, contacts));
        let second = bench.sent().remove(0);
        match status {
            408 => bench.after(Duration::from_secs(33)),
            _ => bench.hears_from("198.51.100.7:5060", &text(&reply(&second, status, "c"))),
        }
        let to = |message: &Message| message.request_uri() == Some("sip:b@198.51.100.8");
        assert!(!bench.sent().iter().any(to));
        let failed = fared(&mut bench).unwrap().unwrap_err();
        assert_eq!(failed.sip_status, Some(status));
        bench.is_quiet();
    }
}

#[test]
fn a_long_text_is_not_sent_on_to_where_no_packet_is_minded() {
    // The text fits the trunk, which is spoken to by TCP; of the way behind it nothing is known.
    let mut bench = Bench::with(|trunk| trunk.transport = Some(SipTransport::Tcp));
    sends(&mut bench, &"x".repeat(1_200), None);
    let Some(NetOutput::Connect { flow, .. }) = bench.sip.poll_output() else {
        panic!("a connection is wanted");
    };
    bench.sip.handle(bench.now, NetInput::Connected { flow });
    let first = bench.sent().pop().unwrap();
    let bytes = moved(&first, 302, "<sip:a@198.51.100.7>").into_bytes();
    bench
        .sip
        .handle(bench.now, NetInput::Stream { flow, bytes });
    bench.collect();
    assert!(bench.said().is_empty());
    let failed = fared(&mut bench).unwrap().unwrap_err();
    assert_eq!(failed.why, Why::TooLong);
}

#[test]
fn a_text_within_a_call_stays_there() {
    let mut bench = Bench::new();
    let (leg, _) = answered(&mut bench);
    sends(&mut bench, "hello", Some(leg));
    let sent = bench.sent().pop().unwrap();
    bench.hears(&moved(&sent, 302, "<sip:a@198.51.100.7>"));
    assert!(bench.said().is_empty());
    assert!(fared(&mut bench).unwrap().is_err());
}

#[test]
fn mutilated_texts_neither_panic_nor_stay() {
    let mut tokens = TokenMaker::new([9; 32]);
    let mut bench = Bench::new();
    let (leg, tag) = answered(&mut bench);
    let odd = "Content-Type: text/plain;charset=\"iso-8859-1\"\n        Subject: a,\n        \
               Content-Language: x y\n\n        caf\u{e9}";
    let corpus = [
        message("z9hG4bK1", PLAIN),
        message("z9hG4bK1", odd),
        within("MESSAGE", "z9hG4bK1", 11, &tag, PLAIN),
    ];
    let mut texts = 0;
    for round in 0..5_000_u64 {
        let text = &corpus[tokens.below(3) as usize];
        let unique = format!("z9hG4bK{}x", round % 50);
        let text = text
            .replace("z9hG4bK1", &unique)
            .replace("m1", &unique)
            .replace("        ", "")
            .replace('\n', "\r\n");
        let mut bytes = text.into_bytes();
        for _ in 0..tokens.below(4) {
            let at = tokens.below(bytes.len() as u64) as usize;
            bytes[at] = tokens.below(256) as u8;
        }
        let flow = Bench::flow(SOUTH);
        bench
            .sip
            .handle(bench.now, NetInput::Datagram { flow, bytes });
        while let Some((id, ..)) = came(&mut bench) {
            texts += 1;
            fares(&mut bench, id, Ok(Taken::Accepted));
        }
        while bench.sip.poll_output().is_some() {}
        bench.after(ms(100));
    }
    assert!(texts > 500, "{texts} texts");
    bench.tells(leg, LegCommand::End(crate::leg::EndReason::Hangup.into()));
    while bench.sip.poll_output().is_some() {}
    bench.is_quiet();
}
