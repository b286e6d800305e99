//! What breaks one client and not another, as far as this room can break it. The numbers are those
//! of the facts about clients.

use super::*;

#[test]
fn trap_01_and_02_invitations_go_to_full_jids_as_chat() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.orders(leg, LegCommand::Ring);
    gw.orders(leg, LegCommand::Accept);
    gw.orders(leg, LegCommand::End(EndReason::Busy.into()));
    assert_eq!(gw.sent.len(), 3);
    for stanza in &gw.sent {
        assert_eq!(
            (stanza.attr("type"), stanza.attr("to")),
            (Some("chat"), Some(USER))
        );
    }
}

#[test]
fn trap_03_proceed_waits_for_the_call_table() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.orders(leg, LegCommand::Ring);
    gw.orders(leg, LegCommand::Progress(None));
    gw.waits(60);
    assert!(gw.said().iter().all(|line| line == "chat ringing"));
}

#[test]
fn trap_04_and_05_ringing_comes_in_time_for_conversations_and_monal() {
    const { assert!(FIRST_RINGING.as_secs() < 6 && RINGING_AGAIN.as_secs() < 30) }
}

#[test]
fn trap_06_an_accept_is_not_sent_and_not_heard() {
    let mut gw = gateway();
    gw.user_call("s");
    gw.says("accept", "s");
    assert!(gw.said().is_empty() && gw.events().is_empty());
}

#[test]
fn trap_07_nothing_is_rejected_after_proceed() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.orders(leg, LegCommand::Accept);
    gw.orders(leg, LegCommand::End(EndReason::Busy.into()));
    assert!(gw.said().iter().all(|line| !line.contains("reject")));
}

#[test]
fn trap_19_and_20_the_dtls_role_is_open_in_offers_and_fixed_in_answers() {
    let mut careless = our_offer();
    careless.streams[0].transport = our_transport(Setup::Passive);
    let (offer, _) = answer::as_offer(careless);
    assert_eq!(offer.streams[0].transport, our_transport(Setup::Actpass));
    let answer = answer::as_answer(&offer, offer.clone()).unwrap();
    assert_eq!(answer.streams[0].transport, our_transport(Setup::Active));
}

#[test]
fn trap_22_foundations_are_whole_numbers() {
    let mut gw = gateway();
    gw.ringing_call();
    let (_, _, transport) = parts(&gw.find("session-initiate"));
    for candidate in transport.children().filter(|c| c.name() == "candidate") {
        candidate
            .attr("foundation")
            .unwrap()
            .parse::<u32>()
            .unwrap();
    }
}

#[test]
fn trap_25_and_26_what_we_write_has_no_feedback_no_blanks_and_every_clock() {
    let mut gw = gateway();
    gw.ringing_call();
    let stanza = gw.find("session-initiate");
    let (_, description, transport) = parts(&stanza);
    assert!(!String::from(&stanza).contains("rtcp-fb"));
    for payload in description
        .children()
        .filter(|c| c.name() == "payload-type")
    {
        assert!(payload.attr("clockrate").is_some() && payload.attr("name").is_some());
    }
    let fingerprint = transport.children().next().unwrap();
    assert!(!fingerprint.text().contains(char::is_whitespace));
}

#[test]
fn trap_28_senders_is_never_none() {
    let mut gw = gateway();
    gw.does("session-initiate", "s", &offer());
    let leg = gw.last_leg();
    let mut answer = our_answer("0");
    answer.streams[0].direction = Direction::Inactive;
    gw.orders(leg, LegCommand::Answer(answer));
    let (content, ..) = parts(&gw.find("session-accept"));
    assert_eq!(content.attr("senders"), Some("initiator"));
}

#[test]
fn trap_33_an_error_to_content_reject_is_ignored() {
    let mut gw = gateway();
    gw.user_call("s");
    gw.does("content-add", "s", &content("1", "video", "actpass", true));
    gw.complains("content-reject", "feature-not-implemented");
    assert!(gw.events().is_empty());
}

#[test]
fn trap_35_siskin_cancels_by_reject_and_movim_by_finish_to_the_bare_jid() {
    let mut gw = gateway();
    gw.proposes("s");
    gw.message_from(USER, NUMBER, &format!("<reject xmlns='{NS_JMI}' id='s'/>"));
    assert_eq!(gw.ends(), [EndReason::Cancelled]);

    let mut gw = gateway();
    gw.user_call("s");
    gw.message_from(USER, NUMBER, &format!("<finish xmlns='{NS_JMI}' id='s'/>"));
    gw.does("session-terminate", "s", "<reason><success/></reason>");
    assert_eq!(gw.ends(), [EndReason::Hangup]);
    assert_eq!(gw.said(), ["chat finish success", "result"]);
}

#[test]
fn trap_39_the_order_of_payloads_is_the_call_tables_matter() {
    let mut gw = gateway();
    gw.does("session-initiate", "s", &offer());
    let leg = gw.last_leg();
    let mut answer = our_answer("0");
    answer.streams[0]
        .codecs
        .retain(|codec| codec.is("PCMA") || codec.clock_hz == 8_000);
    gw.orders(leg, LegCommand::Answer(answer));
    let (_, description, _) = parts(&gw.find("session-accept"));
    let ids: Vec<_> = description
        .children()
        .filter_map(|c| c.attr("id"))
        .collect();
    assert_eq!(ids, ["8", "126"]);
}

#[test]
fn trap_40_complaints_do_not_end_a_call_but_a_lost_session_does() {
    for (condition, ends) in [
        ("bad-request", vec![]),
        ("feature-not-implemented", vec![]),
        ("unexpected-request", vec![]),
        ("item-not-found", vec![EndReason::PeerGone]),
        ("recipient-unavailable", vec![EndReason::PeerGone]),
        ("remote-server-timeout", vec![EndReason::PeerGone]),
    ] {
        let mut gw = gateway();
        gw.does("session-initiate", "s", &offer());
        let leg = gw.last_leg();
        gw.orders(leg, LegCommand::Answer(our_answer("0")));
        gw.complains("session-accept", condition);
        assert_eq!(gw.ends(), ends, "{condition}");
    }
}

#[test]
fn trap_40_any_error_to_session_initiate_ends_the_call() {
    for (condition, reason) in [
        ("bad-request", EndReason::NotAcceptable),
        ("conflict", EndReason::Busy),
        ("service-unavailable", EndReason::Unavailable),
    ] {
        let mut gw = gateway();
        gw.ringing_call();
        gw.complains("session-initiate", condition);
        assert_eq!(gw.ends(), [reason]);
        gw.assert_empty();
    }
}

#[test]
fn trap_41_we_speak_and_hear_by_exact_full_jids() {
    let mut gw = gateway();
    gw.user_call("s");
    gw.iq_from("user@x.example/other", FULL, "session-info", "s", "");
    assert_eq!(gw.said(), ["error item-not-found+unknown-session"]);
    gw.iq_from("user@x.example/other", FULL, "session-terminate", "s", "");
    assert_eq!(gw.said(), ["result"]);
    gw.iq_from("mallory@x.example/res", FULL, "session-terminate", "s", "");
    gw.message_from(
        "mallory@x.example/res",
        FULL,
        &format!("<finish xmlns='{NS_JMI}' id='s'/>"),
    );
    assert!(gw.events().is_empty());
}

#[test]
fn a_client_that_goes_offline_has_half_a_minute() {
    let user = FullJid::new(USER).unwrap();
    let mut gw = gateway();
    gw.user_call("s");
    gw.jingle.peer_unavailable(gw.now, &user);
    gw.waits(29);
    gw.does("session-info", "s", "");
    gw.waits(60);
    assert!(gw.events().is_empty());
    gw.jingle.peer_unavailable(gw.now, &user);
    gw.jingle.peer_available(&user);
    gw.waits(60);
    assert!(gw.events().is_empty());
    let other = NUMBER.replace("+1", "+49");
    gw.message_from(USER, &other, &propose("t"));
    gw.said();
    gw.events();
    gw.jingle.peer_unavailable(gw.now, &user);
    gw.waits(30);
    // Who only rings is gone; a call may have a client that came back unheard.
    assert_eq!(gw.ends(), [EndReason::PeerGone]);
    let asked = gw.find("session-info");
    let jingle = asked.get_child("jingle", NS_JINGLE).unwrap();
    assert_eq!(
        (jingle.attr("sid"), jingle.children().count()),
        (Some("s"), 0)
    );
    gw.waits(60);
    assert!(gw.events().is_empty());
    gw.jingle.peer_unavailable(gw.now, &user);
    gw.waits(30);
    gw.complains("session-info", "service-unavailable");
    assert_eq!(gw.ends(), [EndReason::PeerGone]);
    gw.assert_empty();
}

#[test]
fn an_initiate_that_crosses_our_goodbye_is_told_the_same_again() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.orders(leg, LegCommand::Accept);
    gw.orders(leg, LegCommand::End(EndReason::Busy.into()));
    gw.said();
    gw.does("session-initiate", "s", &offer());
    assert_eq!(gw.said(), ["result", "set session-terminate busy"]);
}

#[test]
fn an_offer_before_proceed_waits_and_gathers_candidates() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.does("session-initiate", "s", &offer());
    gw.does("transport-info", "s", &trickle(&candidate(7)));
    gw.events();
    gw.said();
    gw.orders(leg, LegCommand::Accept);
    let events = gw.events();
    let [LegEvent::Updated(offer)] = &events[..] else {
        panic!("{events:?}")
    };
    let Transport::Ice(ice) = &offer.streams[0].transport else {
        unreachable!()
    };
    assert_eq!(ice.candidates.len(), 1);
    assert!(gw.said().is_empty());
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    assert_eq!(gw.said(), ["set session-accept"]);
}

#[test]
fn a_user_has_a_limited_number_of_sessions() {
    let mut gw = gateway();
    for i in 0..MAX_SESSIONS_PER_USER {
        gw.message_from(USER, &format!("+1555000{i:02}@gw.example"), &propose("s"));
    }
    assert_eq!(gw.events().len(), MAX_SESSIONS_PER_USER);
    gw.message_from(USER, NUMBER, &propose("s"));
    gw.does("session-initiate", "t", &offer());
    assert_eq!(
        gw.said(),
        ["chat reject general-error", "error resource-constraint"]
    );
    gw.message_from("other@x.example/res", NUMBER, &propose("s"));
    assert_eq!(gw.events().len(), 1);
}

#[test]
fn nobody_can_be_called_at_a_jid_that_is_no_contact() {
    let mut gw = gateway();
    gw.message_from(USER, "nonsense@gw.example", &propose("s"));
    gw.iq_from(
        USER,
        "nonsense@gw.example",
        "session-initiate",
        "t",
        &offer(),
    );
    gw.iq_from(USER, "gw.example", "session-initiate", "t", &offer());
    assert_eq!(
        gw.said(),
        [
            "chat reject gone",
            "error item-not-found",
            "error item-not-found"
        ]
    );
    assert!(gw.events().is_empty());
}

#[test]
fn a_propose_of_pictures_only_is_rejected() {
    let mut gw = gateway();
    gw.message_from(USER, NUMBER, &propose("s").replace("'audio'", "'video'"));
    assert_eq!(gw.said(), ["chat reject media-error"]);
}

#[test]
fn another_device_of_the_user_cannot_end_a_running_call() {
    let mut gw = gateway();
    gw.user_call("s");
    for verb in ["finish", "reject", "retract"] {
        let payload = format!("<{verb} xmlns='{NS_JMI}' id='s'/>");
        gw.message_from("user@x.example/other", FULL, &payload);
    }
    assert!(gw.events().is_empty() && gw.said().is_empty());
}

#[test]
fn candidates_are_bounded_over_the_whole_session() {
    let mut gw = gateway();
    gw.user_call("s");
    for port in 1..500 {
        gw.does("transport-info", "s", &trickle(&candidate(port)));
    }
    assert_eq!(gw.events().len(), transport::MAX_CANDIDATES);
    assert!(gw.said().iter().all(|line| line == "result"));
}

#[test]
fn a_late_complaint_about_a_session_that_has_moved_does_no_harm() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.does("session-initiate", "s1", &offer());
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    gw.message_from(USER, NUMBER, &propose("s2"));
    gw.events();
    gw.complains("session-accept", "item-not-found");
    assert!(gw.events().is_empty());
    assert_eq!(gw.jingle.census().sessions, 1);
}

#[test]
fn ringing_stops_for_good_when_the_call_is_accepted() {
    let mut gw = gateway();
    let leg = gw.proposes("s");
    gw.orders(leg, LegCommand::Ring);
    gw.orders(leg, LegCommand::Accept);
    assert_eq!(gw.jingle.census().timers, 1, "only that of the offer");
}

#[test]
fn an_error_of_one_device_does_not_take_the_invitation_back() {
    let mut gw = gateway();
    gw.calls(number());
    let id = gw.find("propose").attr("id").unwrap().to_owned();
    for (from, ends) in [(USER, vec![]), (BARE, vec![EndReason::Unavailable])] {
        gw.hear(&format!(
            "<message xmlns='jabber:client' type='error' from='{from}' to='{FULL}' id='{id}'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ));
        assert_eq!(gw.ends(), ends);
    }
}

#[test]
fn a_message_shows_that_a_device_is_back() {
    let mut gw = gateway();
    gw.proposes("s");
    gw.events();
    gw.jingle
        .peer_unavailable(gw.now, &FullJid::new(USER).unwrap());
    gw.says("accept-of-nobody", "s");
    gw.says("ringing", "s");
    gw.waits(60);
    assert!(gw.ends().is_empty());
}
