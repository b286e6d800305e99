//! Points 9–16 of the clients' contract: calls of users.

use super::*;

#[test]
fn contract_09_a_propose_is_taken_in_any_shape() {
    let rtp = "urn:xmpp:jingle:apps:rtp:1";
    for (to, attributes, around) in [
        (
            NUMBER,
            "id='x'",
            "<request xmlns='urn:xmpp:receipts'/><store xmlns='urn:xmpp:hints'/>",
        ),
        (FULL, "", ""),
    ] {
        for sid in ["HDC9eX9hJSTpmHHVZEBEw", "7A0C-UPPER", "a b"] {
            let mut gw = gateway();
            gw.hear(&format!(
                "<message xmlns='jabber:client' type='chat' from='{USER}' to='{to}' {attributes}>\
                 <propose xmlns='{NS_JMI}' id='{sid}'><description xmlns='{rtp}' media='video'/>\
                 <description xmlns='{rtp}' media='audio'/></propose>{around}</message>"
            ));
            assert_eq!(
                gw.events(),
                [LegEvent::Offered {
                    from: Address::Xmpp(BareJid::new(BARE).unwrap()),
                    to: number(),
                    display_name: None,
                    conceals: false,
                    offer: Offering::Later(vec![Media::Video, Media::Audio]),
                    trunk: None,
                }]
            );
        }
    }
}

#[test]
fn contract_10_invitations_are_of_type_chat_to_the_full_jid_with_the_same_id() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Ring);
    gw.orders(leg, LegCommand::Accept);
    for name in ["ringing", "proceed"] {
        let stanza = gw.find(name);
        assert_eq!(stanza.attr("type"), Some("chat"));
        assert_eq!(
            (stanza.attr("from"), stanza.attr("to")),
            (Some(FULL), Some(USER))
        );
        assert_eq!(
            stanza.get_child(name, NS_JMI).unwrap().attr("id"),
            Some("s1")
        );
        assert!(stanza.has_child("store", "urn:xmpp:hints"));
    }
}

#[test]
fn contract_11_ringing_is_said_after_three_seconds_and_again_and_again() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    assert!(gw.said().is_empty());
    gw.waits(3);
    assert_eq!(gw.said(), ["chat ringing"]);
    gw.waits(25);
    assert_eq!(gw.said(), ["chat ringing"]);
    gw.orders(leg, LegCommand::Ring);
    assert_eq!(gw.said(), ["chat ringing"]);
    gw.waits(49);
    assert_eq!(gw.said(), ["chat ringing"]);
    gw.orders(leg, LegCommand::Accept);
    gw.waits(14);
    assert_eq!(gw.said(), ["chat proceed"]);
}

#[test]
fn contract_12_no_receipt_no_accept_no_device() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    let proceed = gw.find("proceed");
    assert_eq!(
        proceed.get_child("proceed", NS_JMI).unwrap().nodes().len(),
        0
    );
    assert_eq!(gw.said(), ["chat proceed"]);
}

#[test]
fn contract_13_a_call_fails_by_reject_then_finish_then_session_terminate() {
    let busy = || LegCommand::End(EndReason::Busy.into());
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, busy());
    assert_eq!(gw.said(), ["chat reject busy"]);
    assert_eq!(gw.ends(), [EndReason::Busy]);
    gw.assert_empty();

    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.said();
    gw.orders(leg, busy());
    assert_eq!(gw.said(), ["chat finish busy"]);
    gw.assert_empty();

    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.does("session-initiate", "s1", &offer());
    gw.said();
    gw.orders(leg, busy());
    assert_eq!(
        gw.said(),
        ["set session-terminate busy", "chat finish busy"]
    );
    gw.assert_empty();
}

#[test]
fn contract_14_the_offer_after_proceed_is_handed_on_and_answered_at_once() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.events();
    gw.does("session-initiate", "s1", &offer());
    let events = gw.events();
    assert!(matches!(&events[..], [LegEvent::Updated(_)]), "{events:?}");
    gw.said();
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    assert_eq!(gw.said(), ["set session-accept"]);
    gw.waits(20);
    assert!(gw.ends().is_empty());
}

#[test]
fn contract_14_a_client_that_never_offers_is_given_up_after_15_seconds() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.said();
    gw.waits(15);
    assert_eq!(gw.said(), ["chat finish connectivity-error"]);
    assert_eq!(gw.ends(), [EndReason::PeerGone]);
}

#[test]
fn contract_15_a_caller_gives_up_in_every_way_and_twice() {
    for to in [NUMBER, FULL] {
        for verb in ["retract", "reject", "finish"] {
            for accepted in [false, true] {
                let mut gw = gateway();
                let leg = gw.proposes("s1");
                if accepted {
                    gw.orders(leg, LegCommand::Accept);
                }
                gw.events();
                gw.said();
                let payload = format!("<{verb} xmlns='{NS_JMI}' id='s1'/>");
                gw.message_from(USER, to, &payload);
                gw.message_from(USER, to, &payload);
                assert_eq!(gw.ends(), [EndReason::Cancelled], "{verb} {to}");
                assert!(gw.said().len() <= 1);
                gw.does("session-terminate", "s1", "");
                assert_eq!(gw.said(), ["result"]);
                gw.assert_empty();
            }
        }
    }
    let mut gw = gateway();
    gw.proposes("s1");
    gw.does("session-terminate", "s1", "");
    gw.does("session-terminate", "s1", "");
    gw.says("retract", "s1");
    assert_eq!(gw.said(), ["result", "result"]);
    assert_eq!(gw.ends(), [EndReason::Cancelled]);
}

#[test]
fn contract_16_a_session_out_of_the_blue_is_taken_at_bare_and_full_jid() {
    for to in [NUMBER, FULL] {
        let mut gw = gateway();
        gw.iq_from(USER, to, "session-initiate", "s9", &offer());
        assert_eq!(gw.find("result").attr("from"), Some(to));
        let leg = gw.last_leg();
        let events = gw.events();
        assert!(matches!(
            &events[..],
            [LegEvent::Offered {
                offer: Offering::Described(_),
                ..
            }]
        ));
        gw.said();
        gw.orders(leg, LegCommand::Ring);
        gw.orders(leg, LegCommand::Answer(our_answer("0")));
        assert_eq!(gw.find("session-accept").attr("from"), Some(FULL));
        assert_eq!(gw.said(), ["set session-info", "set session-accept"]);
        gw.orders(leg, LegCommand::End(EndReason::Hangup.into()));
        assert_eq!(gw.said(), ["set session-terminate success"]);
    }
}
