use super::*;

const INVITE: &str = "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\n\
To: Bob <sip:bob@biloxi.example>\r\n\
From: \"Alice \\\"A\\\"\" <sip:alice@atlanta.example>;tag=1928301774\r\n\
Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@pc33.atlanta.example>\r\n\
Supported: timer, 100rel\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 4\r\n\r\nv=0\n";

fn read(text: &str) -> Message {
    Message::parse_datagram(text.as_bytes()).unwrap()
}

/// INVITE with a line put in before Max-Forwards.
fn with_line(line: &str) -> String {
    INVITE.replace("Max-Forwards", &format!("{line}\r\nMax-Forwards"))
}

#[test]
fn a_message_is_written_as_it_came() {
    let message = read(INVITE);
    assert_eq!(message.to_bytes(), INVITE.as_bytes());
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(
        message.from().unwrap().display_name().unwrap(),
        "Alice \"A\""
    );
    assert_eq!(message.from_tag(), Some("1928301774"));
    assert_eq!(message.to_tag(), None);
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bK776asdhds"));
    assert!(message.lists(Name::Supported, "100REL"));
    assert!(message.content_type().unwrap().is("application", "sdp"));
    assert_eq!(message.body, b"v=0\n");
}

#[test]
fn compact_folded_and_loose_forms_are_read() {
    let message = Message::parse_datagram(
        b"\r\n\nOPTIONS  sip:a@b  SIP/2.0 \nv : SIP / 2.0\r\n /UDP\r\n h:5070 ;branch=x\nf:<sip:a@b>;tag=1\nt:sip:b@c\ni:1\ncseq: 01\n OPTIONS\nX-Odd: \xff\xfe\n\nrest",
    )
    .unwrap();
    let via = message.via().unwrap();
    assert_eq!(
        (via.transport, via.host, via.port),
        ("UDP", "h", Some(5070))
    );
    assert!(!via.has_rfc3261_branch());
    assert_eq!(message.cseq().unwrap().number, 1);
    assert_eq!(message.body, b"rest");
    let bytes = message.to_bytes();
    assert!(bytes.windows(11).any(|w| w == b"X-Odd: \xff\xfe\r\n"));
    assert_eq!(Message::parse_datagram(&bytes).unwrap().to_bytes(), bytes);
}

#[test]
fn a_quoted_uri_in_a_display_name_is_no_address() {
    let spoof = r#""<sip:evil@x>" <sip:al@y>"#;
    assert_eq!(NameAddr::parse(spoof).unwrap().uri, "sip:al@y");
    let bad = [
        r#""a" sip:al@y"#,
        r#""a <sip:al@y>"#,
        "<sip:al@y",
        "<>",
        "sip:a@b?x=y",
        "sip:a@b,c",
        "<sip:a@b>x",
        "<sip:a@b>;;;",
        "",
    ];
    for value in bad {
        assert_eq!(NameAddr::parse(value), None, "{value}");
    }
    let bare = NameAddr::parse("sip:+1972@gw;unknownparam").unwrap();
    assert_eq!(bare.uri, "sip:+1972@gw");
    assert!(bare.params.has("unknownparam"));
}

#[test]
fn faults_are_answered_where_an_answer_is_possible() {
    let fault = |text: &str| Message::parse_datagram(text.as_bytes()).unwrap_err();
    let status = |text: &str| fault(text).answer().and_then(|m| m.status());
    assert_eq!(
        status(&INVITE.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")),
        Some(505)
    );
    assert_eq!(status(&INVITE.replace("Length: 4", "Length: 5")), Some(400));
    assert_eq!(
        status(&INVITE.replace("Length: 4", "Length: 18446744073709551615")),
        Some(400)
    );
    assert_eq!(
        status(&INVITE.replace("Length: 4", "Length: -1")),
        Some(400)
    );
    assert_eq!(status(&with_line("l: 3")), Some(400));
    assert_eq!(status(&with_line("Call-ID: 2")), Some(400));
    assert_eq!(status(&with_line("no colon")), Some(400));
    assert_eq!(
        status(&with_line(&("X: 1\r\n".repeat(300) + "X: 2"))),
        Some(513)
    );
    assert_eq!(
        status(&INVITE.replace("314159 INVITE", "314159 BYE")),
        Some(400)
    );
    assert_eq!(
        status(&INVITE.replace("Via: SIP/2.0/UDP", "Via: SIP-2.0/UDP")),
        None
    );
    assert_eq!(status(&INVITE.replace("CSeq", "X-Seq")), None);
    assert_eq!(
        status(&INVITE.replace("INVITE", "ACK").replace("To:", "X:")),
        None
    );
    assert_eq!(status("SIP/2.0 99 Low\r\n\r\n"), None);
    assert_eq!(fault("\r\n\r\n").fault, Fault::Empty);
    assert_eq!(fault("\u{16}\u{3}\u{1} garbage").fault, Fault::NotSip);
    let answer = fault(&INVITE.replace("To: ", "Tu: ")).answer().unwrap();
    assert_eq!(answer.reason(), Some("Bad Request (no To)"));
    assert_eq!(
        answer.call_id(),
        Some("a84b4c76e66710@pc33.atlanta.example")
    );
}

#[test]
fn equal_lengths_agree_and_the_rest_is_noise() {
    let text = with_line("l: 4") + "INVITE more";
    assert_eq!(read(&text).body, b"v=0\n");
}

#[test]
fn a_response_carries_what_the_request_had() {
    let request = read(&with_line("Record-Route: <sip:p1;lr>, <sip:p2;lr>"));
    let mut response = Message::response_to(&request, 180).with_record_route_of(&request);
    response.set_to_tag("abc");
    response.set_to_tag("def");
    assert_eq!(response.to_tag(), Some("abc"));
    assert_eq!(response.addresses(Name::RecordRoute).count(), 2);
    let text = String::from_utf8(response.to_bytes()).unwrap();
    assert!(text.starts_with("SIP/2.0 180 Ringing\r\nVia: "));
    assert!(text.ends_with("Content-Length: 0\r\n\r\n"));
}

#[test]
fn nothing_written_can_start_another_line() {
    let mut message = Message::request(Method::Other("X\r\nY: 1".into()), "sip:a\r\nZ: 2");
    message.push(Name::Subject, "a\r\nW: 3\r\n\r\nbody");
    let text = String::from_utf8(message.to_bytes()).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn the_source_is_noted_in_the_top_via_only() {
    let noted = |via: &str, source: &str, force: bool| {
        let text = INVITE.replace(
            "SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds;rport",
            via,
        );
        let mut message = read(&text);
        message.note_source(source.parse().unwrap(), force);
        message.header(Name::Via).unwrap().to_owned()
    };
    assert_eq!(
        noted(
            "SIP/2.0/UDP h:5070;rport;branch=b, SIP/2.0/UDP x",
            "192.0.2.1:6000",
            false
        ),
        "SIP/2.0/UDP h:5070;branch=b;received=192.0.2.1;rport=6000, SIP/2.0/UDP x"
    );
    assert_eq!(
        noted("SIP/2.0/UDP [2001:db8::9]", "[2001:db8::1]:5060", false),
        "SIP/2.0/UDP [2001:db8::9];received=2001:db8::1"
    );
    let same = "SIP/2.0/UDP 192.0.2.1;branch=b";
    assert_eq!(noted(same, "192.0.2.1:9", false), same);
    assert_eq!(
        noted(same, "192.0.2.1:9", true),
        format!("{same};received=192.0.2.1;rport=9")
    );
    // A peer cannot send our answers elsewhere by writing `received` itself.
    assert_eq!(
        noted(
            "SIP/2.0/UDP 192.0.2.1;received=203.0.113.9",
            "192.0.2.1:5060",
            false
        ),
        "SIP/2.0/UDP 192.0.2.1"
    );
}

#[test]
fn answers_go_to_received_and_rport() {
    let to = |via| {
        Via::parse(via)
            .unwrap()
            .reply_address(5060)
            .map(|a| a.to_string())
    };
    assert_eq!(
        to("SIP/2.0/UDP h;received=192.0.2.1").unwrap(),
        "192.0.2.1:5060"
    );
    assert_eq!(to("SIP/2.0/UDP 192.0.2.9:70").unwrap(), "192.0.2.9:70");
    assert_eq!(
        to("SIP/2.0/UDP h:70;received=[2001:db8::1];rport=9").unwrap(),
        "[2001:db8::1]:9"
    );
    assert_eq!(to("SIP/2.0/UDP h;rport"), None);
}

#[test]
fn shaped_values_are_read() {
    let expires = SessionExpires::parse("1800 ;refresher=UAS").unwrap();
    assert_eq!(expires.refresher, Some(Refresher::Uas));
    assert_eq!(expires.to_string(), "1800;refresher=uas");
    assert_eq!(
        RAck::parse("776656 1 INVITE").unwrap().to_string(),
        "776656 1 INVITE"
    );
    let replaces = Replaces::parse("c@h;to-tag=1;from-tag=2;early-only").unwrap();
    assert_eq!(
        (replaces.call_id, replaces.to_tag, replaces.early_only),
        ("c@h", "1", true)
    );
    let reason = Reason::parse("Q.850 ;cause=16 ;text=\"Terminated; ok\"").unwrap();
    assert_eq!(reason.cause, Some(16));
    assert_eq!(reason.text.as_deref(), Some("Terminated; ok"));
    assert_eq!(CSeq::parse("4294967296 INVITE"), None);
    assert_eq!(CSeq::parse("+1 INVITE"), None);
    let message = Message::response(503).with(Name::RetryAfter, "120 (down);duration=3");
    assert_eq!(message.number(Name::RetryAfter), Some(120));
}

#[test]
fn a_stream_is_cut_into_messages_wherever_it_breaks() {
    let mut stream = b"\r\n\r\n".to_vec();
    stream.extend_from_slice(INVITE.as_bytes());
    stream.extend_from_slice(b"\r\n");
    stream.extend_from_slice(INVITE.replace("To: ", "Tu: ").as_bytes());
    stream.extend_from_slice(b"\r\n\r\n");
    stream.extend_from_slice(INVITE.as_bytes());
    for chunk in [1, 2, 3, 7, 100, stream.len()] {
        let mut framer = StreamFramer::default();
        let mut seen = Vec::new();
        for part in stream.chunks(chunk) {
            framer.push(part);
            while let Some(framed) = framer.next() {
                seen.push(match framed {
                    Framed::Message(_) => 'm',
                    Framed::Ping => 'p',
                    Framed::Refused(_) => 'r',
                    Framed::Broken(_) => 'b',
                });
            }
        }
        assert_eq!(seen, ['p', 'm', 'r', 'p', 'm'], "chunks of {chunk}");
        assert!(!framer.is_mid_message());
    }
}

#[test]
fn a_stream_without_length_or_end_is_broken() {
    let broken = |bytes: &[u8]| {
        let mut framer = StreamFramer::default();
        framer.push(bytes);
        match framer.next() {
            Some(Framed::Broken(error)) => {
                framer.push(b"more");
                assert_eq!(framer.next(), None);
                error.answer().and_then(|m| m.status())
            }
            other => panic!("{other:?}"),
        }
    };
    let text = INVITE.replace("Content-Length: 4\r\n", "");
    assert_eq!(broken(text.as_bytes()), Some(400));
    assert_eq!(
        broken(INVITE.replace("h: 4", "h: 99999").as_bytes()),
        Some(400)
    );
    assert_eq!(broken(&[b'x'; MAX_MESSAGE + 1]), None);
    assert_eq!(broken(b"GET / HTTP/1.1\r\n\r\n"), None);
    let text = INVITE.replace("h: 4", "h: 65530");
    assert_eq!(broken(text.as_bytes()), Some(513));
}

/// rsip reads only plain messages; where it reads one, it must read what we do.
#[test]
fn rsip_reads_what_we_write() {
    let bytes = read(INVITE).to_bytes();
    let Ok(rsip::SipMessage::Request(theirs)) = rsip::SipMessage::try_from(&bytes[..]) else {
        panic!("rsip reads no request");
    };
    assert_eq!(Some(theirs.method), Method::Invite.to_rsip());
    assert_eq!(theirs.headers.iter().count(), read(INVITE).headers.len());
    assert_eq!(theirs.body, b"v=0\n");
    let ours = Message::parse_datagram(theirs.to_string().as_bytes()).unwrap();
    assert_eq!(ours.call_id(), Some("a84b4c76e66710@pc33.atlanta.example"));
}
