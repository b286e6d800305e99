//! The same room as a user's client: it calls contacts and is called by them.

use super::*;

fn dials(client: &mut Desk) -> (LegId, String) {
    let own = Address::Xmpp(BareJid::new(BARE).unwrap());
    let contact = Address::Xmpp(BareJid::new(NUMBER).unwrap());
    let leg = client.calls_to(own, contact);
    (leg, client.proposed_sid())
}

#[test]
fn a_client_dials_a_contact_and_hears_ringing_and_proceed_at_its_full_jid() {
    let mut client = user_client();
    let (leg, sid) = dials(&mut client);
    let propose = client.find("propose");
    assert_eq!(
        (propose.attr("from"), propose.attr("to")),
        (Some(USER), Some(NUMBER))
    );
    for verb in ["ringing", "proceed"] {
        let payload = format!("<{verb} xmlns='{NS_JMI}' id='{sid}'/>");
        client.message_from(FULL, USER, &payload);
    }
    assert_eq!(client.find("session-initiate").attr("to"), Some(FULL));
    client.iq_from(FULL, USER, "session-accept", &sid, &accept("voice"));
    let events = client.events();
    assert!(
        matches!(&events[..], [LegEvent::Ringing, LegEvent::Answered(_)]),
        "{events:?}"
    );
    client.said();
    client.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(
        client.said(),
        ["set session-terminate success", "chat finish success"]
    );
}

#[test]
fn a_client_hears_that_its_call_is_rejected() {
    let mut client = user_client();
    let (_, sid) = dials(&mut client);
    let payload = format!(
        "<reject xmlns='{NS_JMI}' id='{sid}'><reason xmlns='{NS_JINGLE}'><busy/></reason></reject>"
    );
    client.message_from(FULL, USER, &payload);
    assert_eq!(client.ends(), [EndReason::Busy]);
    client.assert_empty();
}

#[test]
fn a_client_is_called_by_a_contact() {
    let mut client = user_client();
    client.message_from(FULL, BARE, &propose("s1"));
    let leg = client.last_leg();
    assert_eq!(
        client.events(),
        [LegEvent::Offered {
            from: Address::Xmpp(BareJid::new(NUMBER).unwrap()),
            to: Address::Xmpp(BareJid::new(BARE).unwrap()),
            display_name: None,
            conceals: false,
            offer: Offering::Later(vec![Media::Audio]),
            trunk: None,
        }]
    );
    client.orders(leg, LegCommand::Accept);
    let proceed = client.find("proceed");
    assert_eq!(
        (proceed.attr("from"), proceed.attr("to")),
        (Some(USER), Some(FULL))
    );
    client.iq_from(FULL, USER, "session-initiate", "s1", &offer());
    client.orders(leg, LegCommand::Answer(our_answer("0")));
    assert_eq!(client.find("session-accept").attr("from"), Some(USER));
}

#[test]
fn session_initiates_that_cross_are_settled_by_the_lower_sid() {
    for (sid, expected) in [("zzz", "error conflict+tie-break"), ("!", "result")] {
        let mut gw = gateway();
        gw.ringing_call();
        gw.said();
        gw.does("session-initiate", sid, &offer());
        assert_eq!(gw.said(), [expected]);
    }
}

#[test]
fn an_answer_that_leaves_the_dtls_role_open_is_the_clients() {
    let mut gw = gateway();
    let (_, sid) = gw.ringing_call();
    gw.does(
        "session-accept",
        &sid,
        &accept("voice").replace("setup='active'", ""),
    );
    let events = gw.events();
    let [LegEvent::Answered(answer)] = &events[..] else {
        panic!("{events:?}")
    };
    let Transport::Ice(ice) = &answer.streams[0].transport else {
        unreachable!()
    };
    assert_eq!(ice.fingerprint.as_ref().unwrap().setup, Setup::Active);
}

#[test]
fn a_fingerprint_that_nobody_can_check_is_no_protection() {
    let mut gw = gateway();
    gw.does(
        "session-initiate",
        "s",
        &offer().replace("sha-256", "sha-1"),
    );
    assert_eq!(
        gw.said(),
        ["result", "set session-terminate security-error"]
    );
}
