//! Points 34–40 of the clients' contract: calls to users.

use super::*;

#[test]
fn contract_34_a_propose_goes_to_the_bare_jid_with_a_fresh_uuid() {
    let mut gw = gateway();
    gw.calls(number());
    let stanza = gw.find("propose");
    assert_eq!(
        (stanza.attr("from"), stanza.attr("to")),
        (Some(FULL), Some(BARE))
    );
    assert_eq!(stanza.attr("type"), Some("chat"));
    assert!(stanza.has_child("store", "urn:xmpp:hints"));
    let payload = stanza.get_child("propose", NS_JMI).unwrap();
    assert_eq!(payload.attr("id").unwrap().len(), 36);
    let media: Vec<_> = payload.children().map(|c| c.attr("media")).collect();
    assert_eq!(media, [Some("audio")]);
}

#[test]
fn contract_35_a_silent_client_is_waited_for_and_ringing_is_told_once() {
    let mut gw = gateway();
    gw.calls(number());
    let sid = gw.proposed_sid();
    gw.waits(600);
    assert!(gw.events().is_empty());
    gw.says("ringing", &sid);
    gw.says("ringing", &sid);
    assert_eq!(gw.events(), [LegEvent::Ringing]);
}

#[test]
fn contract_36_the_first_proceed_gets_the_session_and_later_ones_an_error() {
    let mut gw = gateway();
    gw.calls(number());
    let sid = gw.proposed_sid();
    gw.said();
    let proceed =
        format!("<proceed xmlns='{NS_JMI}' id='{sid}'><device xmlns='x' id='1'/></proceed>");
    gw.message_from("user@x.example/tablet", FULL, &proceed);
    let stanza = gw.find("session-initiate");
    assert_eq!(stanza.attr("to"), Some("user@x.example/tablet"));
    assert_eq!(
        stanza.get_child("jingle", NS_JINGLE).unwrap().attr("sid"),
        Some(&*sid)
    );
    gw.said();
    gw.message_from("user@x.example/tablet", FULL, &proceed);
    assert!(gw.said().is_empty());
    gw.message_from(USER, FULL, &proceed);
    assert_eq!(gw.find("error").attr("id"), Some("m1"));
    assert_eq!(gw.said(), ["error item-not-found+text"]);
}

#[test]
fn contract_36_a_reject_of_any_device_is_the_users_answer() {
    for (condition, reason) in [
        ("<busy/>", EndReason::Busy),
        ("<decline/>", EndReason::Declined),
        ("", EndReason::Declined),
    ] {
        let mut gw = gateway();
        gw.calls(number());
        let sid = gw.proposed_sid();
        gw.said();
        let reject = format!(
            "<reject xmlns='{NS_JMI}' id='{sid}'><reason xmlns='{NS_JINGLE}'>{condition}</reason></reject>"
        );
        gw.message_from("user@x.example/other", FULL, &reject);
        assert_eq!(gw.ends(), [reason]);
        gw.says("proceed", &sid);
        assert_eq!(gw.said(), ["error item-not-found+text"]);
        gw.assert_empty();
    }
}

#[test]
fn contract_37_a_retract_goes_to_everybody_and_after_proceed_the_session_is_ended_too() {
    let mut gw = gateway();
    let leg = gw.calls(number());
    gw.said();
    gw.orders(leg, LegCommand::End(EndReason::Cancelled.into()));
    let retract = gw.find("retract");
    assert_eq!(
        (retract.attr("from"), retract.attr("to")),
        (Some(FULL), Some(BARE))
    );
    assert!(retract.has_child("store", "urn:xmpp:hints"));
    assert_eq!(gw.said(), ["chat retract cancel"]);

    let mut gw = gateway();
    let (leg, _) = gw.ringing_call();
    gw.said();
    gw.orders(leg, LegCommand::End(EndReason::NoAnswer.into()));
    assert_eq!(
        gw.said(),
        [
            "chat retract timeout",
            "set session-terminate timeout",
            "chat finish timeout"
        ]
    );
    assert_eq!(gw.ends(), [EndReason::NoAnswer]);
    gw.assert_empty();
}

#[test]
fn contract_38_a_second_call_from_the_same_number_is_busy_and_anonymous_ones_are_apart() {
    let mut gw = gateway();
    gw.calls(number());
    gw.said();
    gw.calls(number());
    assert_eq!(gw.ends(), [EndReason::Busy]);
    assert!(gw.said().is_empty());
    let other = Address::Number(E164::parse("+15559999").unwrap());
    gw.calls(other);
    gw.calls(Address::Anonymous);
    gw.calls(Address::Anonymous);
    let from: std::collections::BTreeSet<_> = gw
        .sent
        .iter()
        .map(|s| s.attr("from").unwrap().to_owned())
        .collect();
    assert_eq!(from.len(), 3);
    assert!(gw.ends().is_empty());
}

#[test]
fn contract_38_a_number_that_the_user_calls_himself_is_busy() {
    let mut gw = gateway();
    gw.proposes("s1");
    gw.events();
    gw.calls(number());
    assert_eq!(gw.ends(), [EndReason::Busy]);
}

#[test]
fn contract_39_glare_the_lower_id_wins() {
    let mut gw = gateway();
    gw.calls(number());
    gw.said();
    gw.message_from(USER, NUMBER, &propose("zzz"));
    assert_eq!(gw.said(), ["chat reject expired"]);
    assert!(gw.events().is_empty());

    let mut gw = gateway();
    gw.calls(number());
    gw.said();
    gw.message_from(USER, NUMBER, &propose("!"));
    let retract = gw.find("retract");
    assert!(
        retract
            .get_child("retract", NS_JMI)
            .unwrap()
            .has_child("tie-break", NS_JMI)
    );
    assert_eq!(gw.said(), ["chat retract expired"]);
    let events = gw.events();
    let [LegEvent::Ended(end), LegEvent::Offered { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end.reason, EndReason::Busy);
}

#[test]
fn contract_39_a_tie_break_reject_is_a_reject_for_that_id_only() {
    let mut gw = gateway();
    gw.calls(number());
    let sid = gw.proposed_sid();
    let reject = |sid: &str| {
        format!(
            "<reject xmlns='{NS_JMI}' id='{sid}'><reason xmlns='{NS_JINGLE}'><expired/></reason><tie-break/></reject>"
        )
    };
    gw.message_from(USER, FULL, &reject("other"));
    assert!(gw.events().is_empty());
    gw.message_from(USER, FULL, &reject(&sid));
    assert_eq!(gw.ends(), [EndReason::Busy]);
}

#[test]
fn contract_39_a_new_propose_in_a_running_call_moves_it() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    let tablet = "user@x.example/tablet";
    gw.message_from(tablet, NUMBER, &propose("s2"));
    let finish = gw.find("finish");
    assert_eq!(finish.attr("to"), Some(USER));
    let payload = finish.get_child("finish", NS_JMI).unwrap();
    assert_eq!(
        payload.get_child("migrated", NS_JMI).unwrap().attr("to"),
        Some("s2")
    );
    assert_eq!(gw.find("proceed").attr("to"), Some(tablet));
    assert_eq!(
        gw.said(),
        [
            "set session-terminate expired",
            "chat finish expired",
            "chat proceed"
        ]
    );
    gw.iq_from(tablet, FULL, "session-initiate", "s2", &offer());
    assert!(matches!(&gw.told[..], [(l, LegEvent::Updated(_))] if *l == leg));
    gw.events();
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    assert_eq!(gw.said(), ["result", "set session-accept"]);
    gw.says("finish", "s1");
    gw.does("session-terminate", "s1", "");
    assert_eq!(gw.said(), ["result"]);
    assert!(gw.events().is_empty());
    gw.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(gw.find("finish").attr("to"), Some(tablet));
    gw.assert_empty();
}

#[test]
fn contract_39_a_call_of_ours_moves_too_and_the_user_offers_then() {
    let mut gw = gateway();
    let (leg, sid) = gw.ringing_call();
    gw.does("session-accept", &sid, &accept("voice"));
    gw.said();
    gw.events();
    gw.message_from(USER, NUMBER, &propose("s2"));
    gw.does("session-initiate", "s2", &offer());
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    assert!(gw.said().contains(&"set session-accept".into()));
    gw.does("session-terminate", "s2", "<reason><success/></reason>");
    assert_eq!(gw.ends(), [EndReason::Hangup]);
    gw.assert_empty();
}

#[test]
fn contract_39_before_the_answer_a_second_propose_is_busy() {
    let mut gw = gateway();
    gw.proposes("s1");
    gw.events();
    gw.message_from(USER, NUMBER, &propose("s2"));
    assert_eq!(gw.said(), ["chat reject busy"]);
    assert!(gw.events().is_empty());
}

#[test]
fn contract_39_a_peers_finish_with_migrated_ends_that_session() {
    let mut gw = gateway();
    gw.user_call("s1");
    let payload = format!(
        "<finish xmlns='{NS_JMI}' id='s1'><reason xmlns='{NS_JINGLE}'><expired/></reason><migrated to='s2'/></finish>"
    );
    gw.message_from(USER, FULL, &payload);
    assert_eq!(gw.ends(), [EndReason::Hangup]);
    assert_eq!(gw.said(), ["chat finish success"]);
}

#[test]
fn contract_40_a_propose_that_comes_back_is_the_end() {
    for (condition, reason) in [
        ("service-unavailable", EndReason::Unavailable),
        ("item-not-found", EndReason::NotFound),
    ] {
        let mut gw = gateway();
        gw.calls(number());
        gw.complains("propose", condition);
        assert_eq!(gw.ends(), [reason]);
        gw.assert_empty();
    }
}

#[test]
fn contract_40_only_a_user_without_any_inviting_device_gets_session_initiate() {
    let audio = [
        "urn:xmpp:jingle:1",
        "urn:xmpp:jingle:apps:rtp:1",
        "urn:xmpp:jingle:transports:ice-udp:1",
        "urn:xmpp:jingle:apps:rtp:audio",
    ];
    let mut gw = gateway();
    learn(&mut gw, USER, &audio);
    let leg = gw.calls(number());
    assert_eq!(gw.find("session-initiate").attr("to"), Some(USER));
    assert_eq!(gw.said(), ["set session-initiate"]);
    gw.orders(leg, LegCommand::End(EndReason::Cancelled.into()));
    assert_eq!(gw.said(), ["set session-terminate cancel"]);

    let other = [&audio[..], &["urn:xmpp:jingle-message:0"]].concat();
    learn(&mut gw, "user@x.example/phone", &other);
    gw.calls(number());
    assert_eq!(gw.said(), ["chat propose"]);
}

fn learn(gw: &mut Desk, jid: &str, features: &[&str]) {
    let jid = FullJid::new(jid).unwrap();
    let features: String = features
        .iter()
        .map(|f| format!("<feature var='{f}'/>"))
        .collect();
    let query: Element = format!(
        "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/>{features}</query>"
    )
    .parse()
    .unwrap();
    let ver = crate::xmpp::caps::ver(&query).unwrap();
    let presence: Element = format!(
        "<presence xmlns='jabber:client'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='{ver}'/></presence>"
    )
    .parse()
    .unwrap();
    let announced = crate::xmpp::caps::Announced::read(&presence).unwrap();
    gw.resources.available(&jid, Some(announced.clone()));
    gw.resources.learnt(&jid, &announced, &query);
}
