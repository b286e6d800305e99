//! What users are told in words.

use super::*;
use crate::address::E164;
use crate::description::{Description, Media};
use crate::id::{Role, Room as Wire};
use crate::leg::{End, EndReason, Key, LegEvent, Offering};

const USER: &str = "user@x.example/res";
const CONTACT: &str = "+15551234@gw.example/phone";

fn propose(lang: &str) -> String {
    format!(
        "<message type='chat' from='{USER}' to='+15551234@gw.example' {lang}>\
         <propose xmlns='{}' id='s1'><description xmlns='urn:xmpp:jingle:apps:rtp:1' \
         media='audio'/></propose></message>",
        jingle::NS_JMI
    )
}

/// The leg of a call that the user makes.
fn call(room: &mut Room, lang: &str) -> LegId {
    room.hears(&propose(lang));
    let (leg, event) = room.xmpp.poll_event().unwrap();
    assert!(matches!(
        event,
        LegEvent::Offered {
            offer: Offering::Later(kinds),
            ..
        } if kinds == [Media::Audio]
    ));
    leg
}

fn end(room: &mut Room, leg: LegId, end: End) -> Vec<Element> {
    room.xmpp.command(room.now, leg, LegCommand::End(end));
    room.says()
}

/// Language and text of the one chat message.
fn words(said: &[Element]) -> Option<(String, String)> {
    let body = |stanza: &Element| {
        let body = stanza.children().find(|c| c.name() == "body")?.clone();
        assert_eq!(stanza.attr("type"), Some("chat"));
        let lang = body.attr_ns(&minidom::rxml::Namespace::XML, "lang")?;
        Some((lang.to_owned(), body.text()))
    };
    let mut bodies = said.iter().filter_map(body);
    let first = bodies.next();
    assert_eq!(bodies.next(), None);
    first
}

#[test]
fn a_failed_call_says_why_in_the_language_of_the_caller_and_after_the_rejection() {
    for (lang, text) in [
        ("", ("en", "The line is busy. (486)")),
        (
            "xml:lang='de-AT'",
            ("de", "Der Anschluss ist besetzt. (486)"),
        ),
        ("xml:lang='fr'", ("fr", "La ligne est occupée. (486)")),
        ("xml:lang='es'", ("es", "La línea está ocupada. (486)")),
        ("xml:lang='nl'", ("en", "The line is busy. (486)")),
    ] {
        let mut room = Room::gateway("gw.example");
        let leg = call(&mut room, lang);
        let busy = End {
            sip_status: Some(486),
            ..End::from(EndReason::Busy)
        };
        let said = end(&mut room, leg, busy);
        let (tag, text) = text;
        assert_eq!(words(&said), Some((tag.to_owned(), text.to_owned())));
        let last = said.last().unwrap();
        assert_eq!(last.attr("from"), Some(CONTACT));
        assert_eq!(last.attr("to"), Some("user@x.example"));
        assert!(last.get_child("body", stanza::NS_COMPONENT).is_some());
    }
}

#[test]
fn the_language_of_any_stanza_counts_for_the_next_text() {
    let mut room = Room::gateway("gw.example");
    room.hears(&format!(
        "<presence from='{USER}' to='gw.example' xml:lang='es'/>"
    ));
    let leg = call(&mut room, "");
    let said = end(&mut room, leg, EndReason::NotFound.into());
    assert_eq!(words(&said).unwrap().0, "es");
}

#[test]
fn who_ended_the_call_himself_is_told_nothing() {
    let mut room = Room::gateway("gw.example");
    call(&mut room, "");
    let retract = format!(
        "<message type='chat' from='{USER}' to='+15551234@gw.example'>\
         <retract xmlns='{}' id='s1'/></message>",
        jingle::NS_JMI
    );
    assert_eq!(words(&room.hears(&retract)), None);
}

#[test]
fn an_invitation_that_is_turned_away_says_why() {
    let mut room = Room::gateway("gw.example");
    let video = propose("").replace("'audio'", "'text'");
    let said = room.hears(&video);
    assert!(words(&said).unwrap().1.contains("kind of sound"));
    let local = propose("xml:lang='de'").replace("+15551234@", "5551234@");
    let said = room.hears(&local);
    assert!(
        said.iter()
            .any(|s| s.children().any(|c| c.name() == "reject"))
    );
    let (lang, text) = words(&said).unwrap();
    assert_eq!(lang, "de");
    assert!(
        text.contains("5551234") && text.contains("Landesvorwahl"),
        "{text}"
    );
}

/// Calls the user from the number, and returns what was said and the leg.
fn ring(room: &mut Room, from: Address, name: Option<&str>) -> (Vec<Element>, LegId) {
    let leg = LegId {
        room: Wire::Xmpp,
        role: Role::Callee,
        number: 1,
    };
    let offer = LegCommand::Offer {
        from,
        to: Address::Xmpp(BareJid::new("user@x.example").unwrap()),
        display_name: name.map(str::to_owned),
        offer: Description {
            streams: Vec::new(),
            bundle: true,
        },
        trunk: None,
        replaces: None,
    };
    room.xmpp.command(room.now, leg, offer);
    (room.says(), leg)
}

fn number() -> Address {
    Address::Number(E164::parse("+15551234").unwrap())
}

#[test]
fn a_missed_call_leaves_number_name_and_time() {
    for reason in [EndReason::Cancelled, EndReason::NoAnswer] {
        let mut room = Room::gateway("gw.example");
        let since_1970 = Duration::from_secs(1_795_887_900);
        room.xmpp.set_clock(room.now, since_1970);
        let (_, leg) = ring(&mut room, number(), Some("Alice"));
        room.after(Duration::from_secs(90));
        let said = end(&mut room, leg, reason.into());
        assert_eq!(
            words(&said).unwrap().1,
            "Missed call from Alice (+15551234), 2026-11-28 17:46 UTC"
        );
    }
}

#[test]
fn a_call_that_was_taken_is_not_missed() {
    let mut room = Room::gateway("gw.example");
    let (_, leg) = ring(&mut room, number(), None);
    let said = end(&mut room, leg, EndReason::AnsweredElsewhere.into());
    assert_eq!(words(&said), None);

    let (said, leg) = ring(&mut room, number(), None);
    let sid = said
        .iter()
        .find_map(|s| s.get_child("propose", jingle::NS_JMI)?.attr("id"))
        .unwrap();
    let said = room.hears(&format!(
        "<message type='chat' from='{USER}' to='{CONTACT}'><reject xmlns='{}' id='{sid}'/></message>",
        jingle::NS_JMI
    ));
    assert_eq!(words(&said), None);
    assert_eq!(
        words(&end(&mut room, leg, EndReason::Cancelled.into())),
        None
    );
}

#[test]
fn a_second_call_of_a_number_that_rings_is_missed_at_once() {
    let mut room = Room::gateway("gw.example");
    ring(&mut room, number(), None);
    let leg = LegId {
        room: Wire::Xmpp,
        role: Role::Callee,
        number: 2,
    };
    let again = LegCommand::Offer {
        from: number(),
        to: Address::Xmpp(BareJid::new("user@x.example").unwrap()),
        display_name: None,
        offer: Description {
            streams: Vec::new(),
            bundle: true,
        },
        trunk: None,
        replaces: None,
    };
    room.xmpp.command(room.now, leg, again);
    let said = words(&room.says()).unwrap().1;
    assert!(said.starts_with("Missed call from +15551234"), "{said}");
}

#[test]
fn an_anonymous_caller_is_missed_without_a_number() {
    let mut room = Room::gateway("gw.example");
    let (_, leg) = ring(&mut room, Address::Anonymous, Some("Secret"));
    let said = words(&end(&mut room, leg, EndReason::Cancelled.into())).unwrap();
    assert_eq!(said.1, "Missed call from a withheld number");
}

/// What each stanza calls the caller.
fn nicks(said: &[Element]) -> Vec<(String, String)> {
    let nick = |stanza: &Element| {
        let nick = stanza.get_child("nick", nick::NS_NICK)?;
        Some((stanza.name().to_owned(), nick.text()))
    };
    said.iter().filter_map(nick).collect()
}

#[test]
fn the_name_of_a_caller_is_its_nick_and_stands_in_its_vcards() {
    let mut room = Room::gateway("gw.example");
    let (said, _) = ring(&mut room, number(), Some("Alice"));
    let alice = |stanza: &str| (stanza.to_owned(), "Alice".to_owned());
    assert_eq!(nicks(&said), [alice("presence"), alice("message")]);
    let probe = presence("probe", USER, "+15551234@gw.example");
    assert_eq!(nicks(&room.hears(&probe)), [alice("presence")]);

    let card = room.get("+15551234@gw.example", "<vCard xmlns='vcard-temp'/>");
    let card = card.get_child("vCard", "vcard-temp").unwrap();
    let name = card.get_child("FN", "vcard-temp").unwrap().text();
    let tel = card.get_child("TEL", "vcard-temp").unwrap();
    let number = tel.get_child("NUMBER", "vcard-temp").unwrap().text();
    assert_eq!((name.as_str(), number.as_str()), ("Alice", "+15551234"));
    let card = room.get(
        "+15551234@gw.example",
        "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>",
    );
    let card = String::from(&card);
    assert!(card.contains("<text>Alice</text>"), "{card}");
    assert!(card.contains("<uri>tel:+15551234</uri>"), "{card}");

    let stranger = "<iq type='get' id='1' from='else@x.example/r' to='+15551234@gw.example'>\
                    <vCard xmlns='vcard-temp'/></iq>";
    let card = String::from(&room.asks(stranger));
    assert!(!card.contains("Alice"), "{card}");
}

#[test]
fn a_user_without_presence_is_asked_for_it_when_it_is_called() {
    let mut room = Room::gateway("gw.example");
    let asks = |said: &[Element]| {
        let mut presences = said.iter().filter(|s| s.name() == "presence");
        let requested = presences.find_map(decloak::requested);
        assert!(said[0].name() == "presence");
        requested
    };
    let (said, leg) = ring(&mut room, number(), None);
    assert_eq!(asks(&said), Some(decloak::Reason::Media));
    end(&mut room, leg, EndReason::Cancelled.into());
    room.hears(&presence("", USER, "+15551234@gw.example"));
    let (said, _) = ring(&mut room, number(), None);
    assert_eq!(asks(&said), None);
}

/// True if what is written to the number goes on as a text.
fn is_text(room: &mut Room, text: &str) -> bool {
    let said = room.hears(&format!(
        "<message type='chat' from='{USER}' to='+15551234@gw.example' xml:lang='de'>\
         <body>{text}</body></message>"
    ));
    assert_eq!(said, []);
    room.xmpp.poll_text().is_some()
}

#[test]
fn digits_written_in_a_call_are_keys_and_all_else_is_a_text() {
    let mut room = Room::gateway("gw.example");
    assert!(is_text(&mut room, "12#"));
    let leg = call(&mut room, "");
    assert!(is_text(&mut room, "12#"), "before the answer");
    room.xmpp.command(room.now, leg, LegCommand::Accept);
    room.says();
    assert!(!is_text(&mut room, "1 2, #"));
    let (of, event) = room.xmpp.poll_event().unwrap();
    assert_eq!(of, leg);
    assert_eq!(event, LegEvent::Keys(Key::row("12,#").unwrap()));
    assert!(is_text(&mut room, "call me back at 5"));
    assert_eq!(room.xmpp.poll_event(), None);
}

#[test]
fn keys_behind_the_number_follow_the_offer() {
    let mut room = Room::gateway("gw.example");
    room.hears(&propose("").replace("+15551234@", "+15551234,9#@"));
    let (leg, offered) = room.xmpp.poll_event().unwrap();
    assert!(matches!(offered, LegEvent::Offered { to, .. } if to == number()));
    let keys = LegEvent::Keys(Key::row(",9#").unwrap());
    assert_eq!(room.xmpp.poll_event(), Some((leg, keys)));
}

#[test]
fn what_is_typed_may_end_in_keys_and_mistakes_are_told_in_the_askers_language() {
    let mut room = Room::gateway("gw.example");
    room.hears(&format!(
        "<presence from='{USER}' to='gw.example' xml:lang='fr'/>"
    ));
    let mut typed = |text: &str| {
        let query = format!("<query xmlns='jabber:iq:gateway'><prompt>{text}</prompt></query>");
        String::from(&room.set("gw.example", &query))
    };
    for text in ["(555) 123-4567, 12#", "tel:+15551234567;postd=12#"] {
        let answer = typed(text);
        assert!(answer.contains(">+15551234567,12#@gw.example<"), "{answer}");
    }
    let wrong = typed("appelle-moi");
    assert!(wrong.contains("xml:lang='fr'"), "{wrong}");
    assert!(wrong.contains("n’est ni un numéro de téléphone"), "{wrong}");
}
