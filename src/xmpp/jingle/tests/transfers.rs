//! XEP-0251: users that hand their calls on.

use super::*;
use crate::leg::Transfer;

fn transfer(attributes: &str) -> String {
    format!("<transfer xmlns='{NS_TRANSFER}' {attributes}/>")
}

/// What a transfer with these attributes is answered, and what the room tells of it.
fn asked(desk: &mut Desk, sid: &str, attributes: &str) -> (Vec<String>, Vec<LegEvent>) {
    desk.does("session-info", sid, &transfer(attributes));
    (desk.said(), desk.events())
}

#[test]
fn a_user_names_a_number_or_a_sip_address() {
    let mut desk = gateway();
    desk.user_call("s1");
    for (node, to) in [
        ("+15559990000", "+15559990000"),
        (r"romeo\40example.net", "romeo@example.net"),
    ] {
        let attributes = format!("to='{node}@gw.example/phone'");
        let (said, told) = asked(&mut desk, "s1", &attributes);
        assert_eq!(said, ["result"]);
        let [
            LegEvent::Transfer {
                to: named,
                replaces: None,
            },
        ] = told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!(named.to_string(), to);
    }
}

#[test]
fn a_user_names_another_session_of_its_own() {
    let mut desk = gateway();
    desk.user_call("s1");
    let second = "+15559990000@gw.example";
    desk.message_from(USER, second, &propose("s2"));
    let leg = desk.last_leg();
    desk.orders(leg, LegCommand::Accept);
    let initiate = offer();
    desk.iq_from(
        USER,
        &format!("{second}/phone"),
        "session-initiate",
        "s2",
        &initiate,
    );
    desk.told.clear();
    desk.said();
    let attributes = format!("from='{USER}' sid='s2' to='{second}/phone'");
    // It has not been answered.
    let (said, told) = asked(&mut desk, "s1", &attributes);
    assert_eq!(
        (said, told),
        (vec!["error item-not-found+text".to_owned()], vec![])
    );
    desk.orders(leg, LegCommand::Answer(our_answer("0")));
    desk.said();
    let (said, told) = asked(&mut desk, "s1", &attributes);
    assert_eq!(said, ["result"]);
    assert_eq!(told, [LegEvent::Join { with: leg }]);
    for wrong in [
        format!("sid='s9' to='{second}'"),
        format!("sid='s1' to='{NUMBER}'"),
        format!("sid='s2' to='{NUMBER}'"),
    ] {
        let (said, told) = asked(&mut desk, "s1", &wrong);
        assert_eq!(said, ["error item-not-found+text"], "{wrong}");
        assert!(told.is_empty());
    }
}

#[test]
fn what_cannot_be_is_an_error_and_the_session_goes_on() {
    let mut desk = gateway();
    let leg = desk.user_call("s1");
    for (attributes, error) in [
        ("", "error bad-request"),
        ("to='@@'", "error bad-request"),
        ("to='gw.example'", "error item-not-found+text"),
        ("to='romeo@gw.example'", "error item-not-found+text"),
        ("to='anonymous@gw.example'", "error item-not-found+text"),
        (
            "to='romeo@x.example/orchard'",
            "error feature-not-implemented+text",
        ),
    ] {
        let (said, told) = asked(&mut desk, "s1", attributes);
        assert_eq!(said, [error], "{attributes}");
        assert!(told.is_empty());
    }
    desk.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(desk.said()[0], "set session-terminate success");
}

#[test]
fn whom_a_call_is_handed_on_to_may_call_but_not_take_its_place() {
    let by = "from='nurse@example.org/ward'";
    let mut desk = gateway();
    let initiate = transfer(by) + &offer();
    desk.does("session-initiate", "s1", &initiate);
    assert_eq!(desk.said()[0], "result");
    assert!(matches!(desk.events()[..], [LegEvent::Offered { .. }]));
    // With an invitation and without one.
    let mut desk = gateway();
    let initiate = transfer(&format!("{by} sid='s9'")) + &offer();
    desk.does("session-initiate", "s2", &initiate);
    assert_eq!(desk.said(), ["error feature-not-implemented+text"]);
    assert!(desk.events().is_empty());
    desk.assert_empty();
    let leg = desk.proposes("s3");
    desk.orders(leg, LegCommand::Accept);
    desk.said();
    desk.events();
    desk.does("session-initiate", "s3", &initiate);
    assert_eq!(desk.said(), ["error feature-not-implemented+text"]);
    assert!(desk.events().is_empty());
    desk.orders(leg, LegCommand::End(EndReason::NoAnswer.into()));
}

#[test]
fn a_session_that_is_not_answered_is_not_handed_on() {
    let mut desk = gateway();
    let leg = desk.proposes("s1");
    desk.orders(leg, LegCommand::Accept);
    desk.does("session-initiate", "s1", &offer());
    desk.said();
    desk.events();
    let (said, told) = asked(&mut desk, "s1", "to='+15559990000@gw.example'");
    assert_eq!(said, ["error unexpected-request+out-of-order"]);
    assert!(told.is_empty());
}

#[test]
fn a_transfer_that_succeeds_is_told_at_the_end() {
    let mut desk = gateway();
    let leg = desk.user_call("s1");
    asked(&mut desk, "s1", "to='+15559990000@gw.example'");
    desk.orders(leg, LegCommand::Transfer(Transfer::Ringing));
    desk.orders(leg, LegCommand::Transfer(Transfer::Done));
    assert!(desk.said().is_empty());
    desk.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    let terminate = desk.find("session-terminate success");
    let jingle = terminate.get_child("jingle", NS_JINGLE).unwrap();
    let reason = jingle.get_child("reason", NS_JINGLE).unwrap();
    assert!(reason.has_child("transferred", NS_TRANSFER));
    desk.assert_empty();
}

#[test]
fn a_transfer_that_fails_is_told_in_words() {
    let mut desk = gateway();
    let leg = desk.user_call("s1");
    let busy = Transfer::Failed(EndReason::Busy.into());
    desk.orders(leg, LegCommand::Transfer(busy));
    let words = desk.jingle.poll_farewell().unwrap();
    assert_eq!(words.user.as_str(), BARE);
    desk.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(desk.said()[0], "set session-terminate success");
}

#[test]
fn a_client_of_ours_hands_nothing_on() {
    let mut desk = user_client();
    let leg = LegId {
        room: Room::Xmpp,
        role: Role::Callee,
        number: 1,
    };
    let refer = LegCommand::Refer {
        to: number(),
        replaces: None,
    };
    desk.orders(leg, refer);
    assert_eq!(desk.events(), [LegEvent::ReferRefused]);
}
