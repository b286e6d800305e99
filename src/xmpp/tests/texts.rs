//! Texts as clients write and read them.

use super::*;
use crate::address::E164;
use crate::id::{Role, Room as Wire};
use crate::text::{Fate, Taken, Text, TextCommand, TextEvent, TextId, Undelivered, Why};
use crate::xmpp::chat;

const USER: &str = "user@x.example/res";
const CONTACT: &str = "+15551234@gw.example";
const RECEIPTS: &str = "urn:xmpp:receipts";

fn gateway() -> Room {
    let mut room = Room::gateway("gw.example");
    room.xmpp.link_up(room.now);
    room
}

fn message(attributes: &str, payload: &str) -> String {
    format!("<message from='{USER}' to='{CONTACT}' {attributes}>{payload}</message>")
}

/// What a message to the contact comes to: what is said back, and the text that goes on.
fn writes(room: &mut Room, attributes: &str, payload: &str) -> (Vec<Element>, Option<Text>) {
    let said = room.hears(&message(attributes, payload));
    let came = room.xmpp.poll_text().map(|event| match event {
        TextEvent::Came { text, .. } => *text,
        other @ TextEvent::Fared { .. } => panic!("{other:?}"),
    });
    (said, came)
}

/// The body that goes on.
fn goes_out(payload: &str) -> Option<String> {
    let (said, text) = writes(&mut gateway(), "type='chat' id='1'", payload);
    assert_eq!(said, [], "{payload}");
    text.map(|text| text.body)
}

fn fares(room: &mut Room, number: u64, fate: Fate) -> Vec<Element> {
    let id = TextId {
        room: Wire::Xmpp,
        role: Role::Caller,
        number,
    };
    let command = TextCommand::Fared { id, fate };
    room.xmpp.text_command(room.now, command);
    room.says()
}

const BODY: &str = "<body xmlns='jabber:component:accept'>hello</body>";
const ASKED: &str = "<body xmlns='jabber:component:accept'>hello</body>\
                     <request xmlns='urn:xmpp:receipts'/>";

#[test]
fn a_text_goes_out_with_its_subject_and_language() {
    let payload = "<subject xmlns='jabber:component:accept'>love</subject>\
                   <body xmlns='jabber:component:accept'>Wie geht’s?</body>";
    let mut room = gateway();
    let (said, text) = writes(&mut room, "type='chat' id='1' xml:lang='de-CH'", payload);
    assert_eq!(said, []);
    let text = text.unwrap();
    assert_eq!(text.from.to_string(), "user@x.example");
    assert_eq!(text.to.to_string(), "+15551234");
    assert_eq!(text.body, "Wie geht’s?");
    assert_eq!(text.subject.as_deref(), Some("love"));
    assert_eq!(text.language.as_deref(), Some("de-CH"));
    // RFC 7572 §4 knows no types, and some clients write none.
    let (_, text) = writes(&mut room, "id='2'", BODY);
    assert!(text.is_some());
}

#[test]
fn what_people_read_goes_out_and_nothing_else() {
    let active = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
    let corrected = "<replace xmlns='urn:xmpp:message-correct:0' id='0'/>";
    let reaction =
        "<reactions xmlns='urn:xmpp:reactions:0' id='0'><reaction>x</reaction></reactions>";
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='0'/>";
    let retraction = "<retract xmlns='urn:xmpp:message-retract:1' id='0'/>";
    let keys = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>";
    let blank = "<body xmlns='jabber:component:accept'>  </body>";
    for silent in [active, reaction, marker, retraction, keys, blank, ""] {
        assert_eq!(goes_out(silent), None, "{silent}");
    }
    for with in [active, corrected, reaction] {
        let whole = format!("{with}{BODY}");
        assert_eq!(goes_out(&whole).as_deref(), Some("hello"), "{with}");
    }
}

#[test]
fn what_is_encrypted_is_refused_with_or_without_a_body_for_others() {
    for encrypted in [
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/>\
         <payload>c2VjcmV0</payload></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>c2VjcmV0</payload>\
         </encrypted>",
        "<openpgp xmlns='urn:xmpp:openpgp:0'>c2VjcmV0</openpgp>",
        "<x xmlns='jabber:x:encrypted'>c2VjcmV0</x>",
    ] {
        for body in ["", BODY] {
            let payload = format!("{encrypted}{body}");
            let attributes = "type='chat' id='1' xml:lang='fr'";
            let (said, text) = writes(&mut gateway(), attributes, &payload);
            assert_eq!((said.len(), text), (1, None), "{payload}");
            assert_eq!(condition(&said[0]), "not-acceptable");
            assert!(String::from(&said[0]).contains("chiffrement"));
        }
    }
}

#[test]
fn only_conversations_of_two_are_taken() {
    let (said, text) = writes(&mut gateway(), "type='groupchat' id='1'", BODY);
    assert_eq!((condition(&said[0]), text), ("service-unavailable", None));
    let headline = writes(&mut gateway(), "type='headline' id='1'", BODY);
    assert_eq!(headline, (Vec::new(), None));
    let mut room = gateway();
    let asks = |to| format!("<message type='chat' id='1' from='{USER}' to='{to}'>{BODY}</message>");
    assert_eq!(
        condition(&room.asks(&asks("gw.example"))),
        "service-unavailable"
    );
    assert_eq!(
        condition(&room.asks(&asks("romeo@gw.example"))),
        "item-not-found"
    );
    assert_eq!(room.xmpp.poll_text(), None);
}

#[test]
fn a_text_that_comes_twice_goes_out_once() {
    let mut room = gateway();
    let attributes = "type='chat' id='1'";
    assert!(writes(&mut room, attributes, ASKED).1.is_some());
    assert_eq!(writes(&mut room, attributes, ASKED), (Vec::new(), None));
    // A client that counts from 1 after each start.
    let other = BODY.replace("hello", "hello again");
    assert!(writes(&mut room, attributes, &other).1.is_some());
    // Without an id nobody can tell.
    assert!(writes(&mut room, "type='chat'", BODY).1.is_some());
    assert!(writes(&mut room, "type='chat'", BODY).1.is_some());
    assert_eq!(room.xmpp.census().texts, 4);
}

#[test]
fn a_text_that_failed_may_come_again_under_its_old_id() {
    let mut room = gateway();
    let attributes = "type='chat' id='1'";
    assert!(writes(&mut room, attributes, ASKED).1.is_some());
    let said = fares(&mut room, 1, Err(Why::TooMany.into()));
    assert_eq!(condition(&said[0]), "resource-constraint");
    assert!(writes(&mut room, attributes, ASKED).1.is_some());
    assert_eq!(writes(&mut room, attributes, ASKED), (Vec::new(), None));
    assert_eq!(fares(&mut room, 2, Ok(Taken::Accepted)).len(), 1);
    assert_eq!(writes(&mut room, attributes, ASKED), (Vec::new(), None));
}

#[test]
fn a_text_that_found_no_room_may_come_again() {
    let mut room = gateway();
    for n in 0..10_000 {
        assert!(writes(&mut room, &format!("id='{n}'"), BODY).1.is_some());
    }
    let (said, text) = writes(&mut room, "id='more'", BODY);
    assert_eq!((condition(&said[0]), text), ("resource-constraint", None));
    fares(&mut room, 1, Ok(Taken::Accepted));
    assert!(writes(&mut room, "id='more'", BODY).1.is_some());
}

#[test]
fn a_receipt_is_for_who_asks_and_says_which_text_it_is_about() {
    for taken in [Taken::Accepted, Taken::Delivered] {
        let mut room = gateway();
        writes(&mut room, "type='chat' id='asked'", ASKED);
        writes(&mut room, "type='chat' id='silent'", BODY);
        let said = fares(&mut room, 1, Ok(taken));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].attr("from"), Some("+15551234@gw.example/phone"));
        assert_eq!(said[0].attr("to"), Some(USER));
        let received = said[0].get_child("received", RECEIPTS).unwrap();
        assert_eq!(received.attr("id"), Some("asked"));
        assert_eq!(fares(&mut room, 2, Ok(taken)), []);
        assert_eq!(fares(&mut room, 2, Ok(taken)), []);
        assert!(room.xmpp.census().is_quiet());
    }
}

#[test]
fn a_text_that_was_not_taken_comes_back_in_the_writers_language() {
    for (why, sip_status, condition_is, text) in [
        (Why::TooLong, Some(413), "policy-violation", "zu lang"),
        (Why::CallsOnly, None, "service-unavailable", "nur Anrufe"),
        (
            Why::CallsOnly,
            Some(405),
            "feature-not-implemented",
            "nur Anrufe",
        ),
        (Why::Forbidden, None, "forbidden", "nicht schreiben"),
        (Why::TooMany, None, "resource-constraint", "zu viele"),
        (Why::Unanswered, Some(408), "remote-server-timeout", "(408)"),
        (
            Why::NoRoute,
            None,
            "remote-server-not-found",
            "nicht erreichbar",
        ),
        (
            Why::Unavailable,
            Some(486),
            "recipient-unavailable",
            "(486)",
        ),
        (
            Why::Refused,
            Some(499),
            "bad-request",
            "nicht zugestellt. (499)",
        ),
    ] {
        let mut room = gateway();
        writes(&mut room, "type='chat' id='m' xml:lang='de'", ASKED);
        let failed = Undelivered { why, sip_status };
        let said = fares(&mut room, 1, Err(failed));
        assert_eq!(said.len(), 1);
        assert_eq!(condition(&said[0]), condition_is, "{why:?}");
        assert_eq!(said[0].attr("id"), Some("m"));
        assert_eq!(said[0].attr("from"), Some(CONTACT));
        let xml = String::from(&said[0]);
        assert!(xml.contains(text), "{xml}");
    }
}

fn sends(room: &mut Room, from: Address) -> Vec<Element> {
    let id = TextId {
        room: Wire::Xmpp,
        role: Role::Callee,
        number: 7,
    };
    let text = Box::new(Text {
        from,
        to: Address::Xmpp(BareJid::new("user@x.example").unwrap()),
        display_name: Some("Romeo".into()),
        body: "I take thee\nat thy <word>".into(),
        subject: Some("balcony".into()),
        language: Some("en-GB".into()),
    });
    let command = TextCommand::Send {
        id,
        text,
        trunk: None,
        leg: None,
    };
    room.xmpp.text_command(room.now, command);
    room.says()
}

fn number() -> Address {
    Address::Number(E164::parse("+15551234").unwrap())
}

fn fate(room: &mut Room) -> Option<Fate> {
    room.xmpp.poll_text().map(|event| match event {
        TextEvent::Fared { id, fate } => {
            assert_eq!(id.number, 7);
            fate
        }
        other @ TextEvent::Came { .. } => panic!("{other:?}"),
    })
}

#[test]
fn a_text_to_a_user_is_a_chat_message_from_the_contact_that_shows_itself() {
    let mut room = gateway();
    let said = sends(&mut room, number());
    assert_eq!(
        shape(&said[..1]),
        [("", "+15551234@gw.example/phone", "user@x.example")]
    );
    assert_eq!(said[0].name(), "presence");
    let message = said.last().unwrap();
    assert_eq!(message.attr("type"), Some("chat"));
    assert_eq!(message.attr("from"), Some("+15551234@gw.example/phone"));
    assert_eq!(message.attr("to"), Some("user@x.example"));
    let body = message.get_child("body", stanza::NS_COMPONENT).unwrap();
    assert_eq!(body.text(), "I take thee\nat thy <word>");
    let xml = String::from(message);
    for part in [
        "xml:lang='en-GB'",
        "<subject>balcony",
        ">Romeo</nick>",
        RECEIPTS,
    ] {
        assert!(xml.replace('"', "'").contains(part), "{part}: {xml}");
    }
    // Whoever hides shows nothing.
    let said = sends(&mut gateway(), Address::Anonymous);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].attr("from"), Some("anonymous@gw.example/phone"));
}

#[test]
fn the_fate_of_a_text_is_the_first_that_is_said_of_it() {
    let id_of = |said: &[Element]| said.last().unwrap().attr("id").unwrap().to_owned();
    // Nothing is: then the user's server has it.
    let mut room = gateway();
    sends(&mut room, number());
    assert_eq!(fate(&mut room), None);
    room.after(Duration::from_millis(400));
    assert_eq!(fate(&mut room), Some(Ok(Taken::Accepted)));
    // A receipt, of the reader and of nobody else.
    let mut room = gateway();
    let id = id_of(&sends(&mut room, number()));
    let received = |from| {
        format!(
            "<message from='{from}' to='{CONTACT}/phone' id='r'>\
             <received xmlns='{RECEIPTS}' id='{id}'/></message>"
        )
    };
    assert_eq!(room.hears(&received("tybalt@x.example/res")), []);
    assert_eq!(fate(&mut room), None);
    assert_eq!(room.hears(&received(USER)), []);
    assert_eq!(fate(&mut room), Some(Ok(Taken::Delivered)));
    room.after(Duration::from_secs(1));
    assert_eq!(fate(&mut room), None);
    assert!(room.xmpp.census().is_quiet());
    // It comes back.
    let mut room = gateway();
    let id = id_of(&sends(&mut room, number()));
    let error = format!(
        "<message type='error' from='user@x.example' to='{CONTACT}/phone' id='{id}'><error \
         type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>\
         </message>"
    );
    assert_eq!(room.hears(&error), []);
    let failed = Undelivered {
        why: Why::NotFound,
        sip_status: Some(404),
    };
    assert_eq!(fate(&mut room), Some(Err(failed)));
    // There is no server.
    let mut room = gateway();
    room.xmpp.link_down(room.now);
    assert_eq!(sends(&mut room, number()), []);
    assert_eq!(fate(&mut room), Some(Err(Why::Unavailable.into())));
}

#[test]
fn every_condition_has_a_status_that_a_sip_server_may_send() {
    for &condition in Condition::ALL {
        let status = chat::failed(condition).sip_status.unwrap();
        // RFC 3261 §22.1 wants a challenge with 401 and 407, RFC 4320 §4.2 forbids 408, and 503 is
        // about us as a whole (RFC 7247 §7.1).
        assert!(![401, 407, 408, 503].contains(&status), "{condition:?}");
        assert!((400..600).contains(&status), "{condition:?}");
    }
    assert_eq!(
        chat::failed(Condition::ServiceUnavailable).sip_status,
        Some(403)
    );
    assert_eq!(
        chat::failed(Condition::RemoteServerTimeout).sip_status,
        Some(504)
    );
}

#[test]
fn a_contact_that_takes_texts_says_so() {
    let query = info_of(&mut gateway(), CONTACT, None);
    assert!(features(&query).contains(&RECEIPTS));
    let query = info_of(&mut gateway(), "gw.example", None);
    assert!(!features(&query).contains(&RECEIPTS));
}

#[test]
fn a_decloak_request_for_texts_is_answered_and_one_for_files_is_not() {
    let asks = |reason| {
        format!(
            "<presence from='{USER}' to='{CONTACT}'><decloak xmlns='urn:xmpp:decloak:0' \
             reason='{reason}'/></presence>"
        )
    };
    let shown = gateway().hears(&asks("text"));
    assert_eq!(shape(&shown), [("", "+15551234@gw.example/phone", USER)]);
    assert_eq!(gateway().hears(&asks("file")), []);
}
