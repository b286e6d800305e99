//! Points 17–33 of the clients' contract: Jingle itself.

use super::*;

#[test]
fn contract_17_every_action_is_acknowledged_and_unknown_sessions_are_named() {
    let mut gw = gateway();
    gw.user_call("s1");
    for action in [
        "session-info",
        "session-accept",
        "session-initiate",
        "content-accept",
        "content-modify",
        "content-reject",
        "description-info",
        "security-info",
        "transport-accept",
        "transport-reject",
        "transport-info",
        "made-up",
        "",
    ] {
        gw.does(action, "s1", "");
        assert_eq!(gw.said(), ["result"], "{action}");
    }
    for action in [
        "session-info",
        "session-accept",
        "content-add",
        "transport-info",
    ] {
        gw.does(action, "s2", "");
        assert_eq!(
            gw.said(),
            ["error item-not-found+unknown-session"],
            "{action}"
        );
    }
    gw.does("session-terminate", "s2", "");
    assert_eq!(gw.said(), ["result"]);
    assert!(gw.events().is_empty());
}

#[test]
fn contract_18_nothing_waits_for_an_acknowledgement() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    gw.waits(4 * 3600);
    assert!(gw.events().is_empty());
    assert_eq!(gw.jingle.census().requests, 0);
    gw.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    gw.assert_empty();
}

#[test]
fn contract_19_names_are_echoed_whatever_the_client_leaves_out() {
    let turned = "<content creator='initiator' name='a long name'>\
         <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='u' pwd='p'>FP</transport>\
         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'><payload-type id='0' name='PCMU' clockrate='8000'/></description></content>"
        .replace("FP", &FINGERPRINT.replace("SETUP", "actpass"));
    for initiator in [
        "",
        "initiator='user@x.example'",
        "initiator='user@x.example/res'",
    ] {
        let mut gw = gateway();
        gw.hear(&format!(
            "<iq xmlns='jabber:client' type='set' from='{USER}' to='{FULL}' id='1'><jingle xmlns='{NS_JINGLE}' \
             action='session-initiate' sid='s' {initiator}>{turned}</jingle></iq>"
        ));
        let leg = gw.last_leg();
        gw.orders(leg, LegCommand::Answer(our_answer("a long name")));
        let (content, ..) = parts(&gw.find("session-accept"));
        assert_eq!(content.attr("name"), Some("a long name"));
        assert_eq!(content.attr("creator"), Some("initiator"));
        assert_eq!(content.attr("senders"), Some("both"));
    }
}

#[test]
fn contract_20_one_candidate_a_stanza_with_both_credentials_and_no_prefix() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    let Transport::Ice(ice) = our_transport(Setup::Active) else {
        unreachable!()
    };
    let info = crate::description::TransportInfo {
        stream: "0".into(),
        credentials: None,
        candidates: ice.candidates,
    };
    gw.orders(leg, LegCommand::Transport(info));
    assert_eq!(gw.sent.len(), 2);
    for stanza in &gw.sent {
        let (content, _, transport) = parts(stanza);
        assert_eq!(content.attr("name"), Some("0"));
        assert_eq!(transport.attr("ufrag"), Some("abcd"));
        assert_eq!(transport.attr("pwd"), Some("0123456789abcdefghijkl"));
        assert_eq!(transport.children().count(), 1);
        let text = String::from(stanza);
        assert!(!text.contains("xmlns:"), "{text}");
    }
}

#[test]
fn contract_21_candidates_have_every_attribute_that_any_client_wants() {
    let mut gw = gateway();
    let leg = gw.proposes("s1");
    gw.orders(leg, LegCommand::Accept);
    gw.does("session-initiate", "s1", &offer());
    let mut answer = our_answer("0");
    if let Transport::Ice(ice) = &mut answer.streams[0].transport {
        let mut local = ice.candidates[0].clone();
        local.address = "[fe80::1]:9".parse().unwrap();
        ice.candidates.push(local);
        ice.candidates[1].priority = u32::MAX;
    }
    gw.orders(leg, LegCommand::Answer(answer));
    let (_, _, transport) = parts(&gw.find("session-accept"));
    let candidates: Vec<_> = transport
        .children()
        .filter(|c| c.name() == "candidate")
        .collect();
    assert_eq!(candidates.len(), 2);
    for candidate in candidates {
        for name in [
            "component",
            "foundation",
            "generation",
            "network",
            "port",
            "priority",
        ] {
            let value = candidate.attr(name).unwrap();
            assert!(
                value.parse::<u32>().unwrap() < 1 << 31 || name == "foundation",
                "{name}"
            );
        }
        assert_eq!(candidate.attr("ip"), Some("203.0.113.5"));
        assert_eq!(candidate.attr("protocol"), Some("udp"));
        assert_eq!(candidate.attr("type"), Some("host"));
        assert!(candidate.attr("id").is_some());
    }
}

#[test]
fn contract_22_what_is_not_understood_in_a_transport_info_is_passed_over() {
    let mut gw = gateway();
    gw.user_call("s1");
    let tcp = candidate(1).replace("'udp'", "'tcp'");
    let local = candidate(2).replace("192.0.2.9", "f3c1.local");
    for inner in [
        trickle(&tcp),
        trickle(&local),
        trickle("<gathering-complete/>"),
        trickle(
            "<trickle xmlns='http://gultsch.de/xmpp/drafts/jingle/transports/ice-udp/option'/>",
        ),
        "<content creator='initiator' name='0'/>".into(),
        String::new(),
        trickle(&candidate(7))
            .replace("pwd='88yXZajgGS00ziBDQ0yLtr9t'", "")
            .replace("ufrag='r8tL'", "")
            + "<x xmlns='y'/>",
    ] {
        gw.does("transport-info", "s1", &inner);
        assert_eq!(gw.said(), ["result"]);
    }
    let events = gw.events();
    let [LegEvent::Transport(info)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(info.candidates.len(), 1);
    assert_eq!(info.credentials, None);
    // Movim: neither sid nor content.
    gw.hear(&format!(
        "<iq xmlns='jabber:client' type='set' from='{USER}' to='{FULL}' id='1'><jingle xmlns='{NS_JINGLE}' action='transport-info'/></iq>"
    ));
    assert_eq!(gw.said(), ["result"]);
}

#[test]
fn contract_22_kaidan_repeats_the_whole_content_and_only_news_is_told() {
    let mut gw = gateway();
    gw.user_call("s1");
    let whole = |inner: &str| {
        content("0", "audio", "actpass", false)
            .replace("</transport>", &format!("{inner}</transport>"))
    };
    gw.does("transport-info", "s1", &whole(&candidate(7)));
    gw.does(
        "transport-info",
        "s1",
        &whole(&(candidate(7) + &candidate(8))),
    );
    gw.does(
        "transport-info",
        "s1",
        &whole(&(candidate(7) + &candidate(8))),
    );
    let ports: Vec<Vec<u16>> = gw
        .events()
        .into_iter()
        .map(|event| match event {
            LegEvent::Transport(info) => info.candidates.iter().map(|c| c.address.port()).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ports, [vec![7], vec![8]]);
}

#[test]
fn contract_23_new_credentials_are_told_and_answered_by_transport_info() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    gw.does("transport-info", "s1", &trickle("").replace("r8tL", "new1"));
    let events = gw.events();
    let [LegEvent::Transport(info)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(info.credentials.as_ref().unwrap().0, "new1");
    gw.said();
    let ours = crate::description::TransportInfo {
        stream: "0".into(),
        credentials: Some(("fresh".into(), "freshfreshfreshfreshfr".into())),
        candidates: Vec::new(),
    };
    gw.orders(leg, LegCommand::Transport(ours));
    let (_, _, transport) = parts(&gw.find("transport-info"));
    assert_eq!(transport.attr("ufrag"), Some("fresh"));
}

#[test]
fn contract_24_rtcp_mux_is_answered_iff_offered_and_component_2_is_carried() {
    for mux in [true, false] {
        let mut gw = gateway();
        let leg = gw.proposes("s1");
        gw.orders(leg, LegCommand::Accept);
        gw.does(
            "session-initiate",
            "s1",
            &content("0", "audio", "actpass", mux),
        );
        gw.orders(leg, LegCommand::Answer(our_answer("0")));
        let (_, description, transport) = parts(&gw.find("session-accept"));
        assert_eq!(description.children().any(|c| c.name() == "rtcp-mux"), mux);
        assert!(
            transport
                .children()
                .any(|c| c.attr("component") == Some("2"))
        );
    }
    let mut gw = gateway();
    gw.ringing_call();
    let (_, description, _) = parts(&gw.find("session-initiate"));
    assert!(description.children().any(|c| c.name() == "rtcp-mux"));
}

#[test]
fn contract_25_dtls_is_offered_actpass_answered_active_and_its_lack_is_a_security_error() {
    let setup = |stanza: &Element| {
        let (_, _, transport) = parts(stanza);
        let fingerprint = transport
            .children()
            .find(|c| c.name() == "fingerprint")
            .unwrap();
        assert_eq!(fingerprint.attr("hash"), Some("sha-256"));
        assert_eq!(fingerprint.text().len(), 32 * 3 - 1);
        fingerprint.attr("setup").unwrap().to_owned()
    };
    let mut gw = gateway();
    gw.ringing_call();
    assert_eq!(setup(&gw.find("session-initiate")), "actpass");

    let mut gw = gateway();
    gw.iq_from(USER, FULL, "session-initiate", "s1", &offer());
    let mut careless = our_answer("0");
    careless.streams[0].transport = our_transport(Setup::Actpass);
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(careless));
    assert_eq!(setup(&gw.find("session-accept")), "active");

    let mut gw = gateway();
    let plain = offer().replace("dtls", "none");
    gw.does("session-initiate", "s1", &plain);
    assert_eq!(
        gw.said(),
        ["result", "set session-terminate security-error"]
    );
    assert!(gw.events().is_empty());
    gw.assert_empty();

    let mut gw = gateway();
    gw.jingle =
        Jingle::new(domain(), TokenMaker::new([3; 32])).with_protection(Protection::Optional);
    gw.does("session-initiate", "s1", &plain);
    assert_eq!(gw.said(), ["result"]);
}

#[test]
fn contract_26_a_group_is_offered_and_echoed_iff_offered() {
    let has_group = |stanza: &Element| {
        let jingle = stanza.get_child("jingle", NS_JINGLE).unwrap();
        jingle.children().any(|c| c.name() == "group")
    };
    let mut gw = gateway();
    gw.ringing_call();
    assert!(has_group(&gw.find("session-initiate")));
    for (offer, expected) in [
        (offer(), true),
        (content("0", "audio", "actpass", true), false),
    ] {
        let mut gw = gateway();
        gw.does("session-initiate", "s1", &offer);
        let leg = gw.last_leg();
        gw.orders(leg, LegCommand::Answer(our_answer("0")));
        assert_eq!(has_group(&gw.find("session-accept")), expected);
    }
}

#[test]
fn contract_27_video_that_nobody_wants_may_be_sent() {
    let two = content("0", "audio", "actpass", true) + &content("1", "video", "actpass", true);
    let mut gw = gateway();
    gw.does("session-initiate", "s1", &(group(&["0", "1"]) + &two));
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    let accept = gw.find("session-accept");
    let jingle = accept.get_child("jingle", NS_JINGLE).unwrap();
    let contents: Vec<_> = jingle
        .children()
        .filter(|c| c.name() == "content")
        .collect();
    let said = |i: usize| {
        (
            contents[i].attr("name").unwrap(),
            contents[i].attr("senders").unwrap(),
        )
    };
    assert_eq!(contents.len(), 2);
    assert_eq!(said(0), ("0", "both"));
    assert_eq!(said(1), ("1", "both"));
    let payloads = contents[1].children().next().unwrap();
    assert_eq!(
        payloads.children().next().unwrap().attr("name"),
        Some("VP8")
    );

    // Without BUNDLE a voice and a picture, and no more.
    let three = two + &content("2", "video", "actpass", true);
    let mut gw = gateway();
    gw.does("session-initiate", "s1", &three);
    assert_eq!(
        gw.said(),
        ["result", "set session-terminate unsupported-applications"]
    );
    let mut gw = gateway();
    gw.does(
        "session-initiate",
        "s1",
        &(group(&["0", "1", "2"]) + &three),
    );
    assert_eq!(gw.said(), ["result"]);
}

#[test]
fn contract_28_one_real_codec_first_in_the_words_of_the_offer() {
    let mut gw = gateway();
    gw.does("session-initiate", "s1", &offer());
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(our_answer("0")));
    let (_, description, _) = parts(&gw.find("session-accept"));
    let payloads: Vec<_> = description
        .children()
        .filter(|c| c.name() == "payload-type")
        .map(|p| {
            ["id", "name", "clockrate", "channels"]
                .map(|a| p.attr(a).unwrap_or_default().to_owned())
        })
        .collect();
    assert_eq!(
        payloads,
        [
            ["111", "opus", "48000", "2"],
            ["110", "telephone-event", "48000", ""]
        ]
    );
}

#[test]
fn contract_29_our_offer_keeps_its_codecs_and_has_a_name_for_everybody() {
    let mut gw = gateway();
    let leg = gw.calls(number());
    let sid = gw.proposed_sid();
    gw.says("proceed", &sid);
    let (content, description, _) = parts(&gw.find("session-initiate"));
    assert_eq!(content.attr("name"), Some("voice"));
    let ids: Vec<_> = description
        .children()
        .filter_map(|c| c.attr("id"))
        .collect();
    assert_eq!(ids, ["111", "9", "0", "8", "110", "126"]);
    gw.orders(leg, LegCommand::End(EndReason::Cancelled.into()));

    let (offer, names) = answer::as_offer(our_answer("a name with blanks"));
    assert_eq!(offer.streams[0].name, "0");
    assert_eq!(names, ["a name with blanks"]);
}

#[test]
fn contract_30_every_offered_codec_reaches_the_call_table() {
    let mut gw = gateway();
    gw.does("session-initiate", "s1", &offer());
    let events = gw.events();
    let [
        LegEvent::Offered {
            offer: Offering::Described(offer),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    let types: Vec<_> = offer.streams[0]
        .codecs
        .iter()
        .map(|c| c.payload_type)
        .collect();
    assert_eq!(types, [111, 8, 110, 126]);
}

#[test]
fn contract_31_every_session_info_is_acknowledged_and_hold_is_told_once() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    for kind in [
        "ringing", "active", "hold", "hold", "mute", "unmute", "unhold", "unhold", "odd",
    ] {
        gw.does(
            "session-info",
            "s1",
            &format!("<{kind} xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>"),
        );
        assert_eq!(gw.said(), ["result"]);
    }
    gw.does("session-info", "s1", "<x xmlns='urn:other'/>");
    assert_eq!(gw.said(), ["result"]);
    assert_eq!(gw.events(), [LegEvent::Held(true), LegEvent::Held(false)]);
    gw.orders(leg, LegCommand::Hold(true));
    assert!(gw.said().is_empty());
}

#[test]
fn contract_32_a_content_modify_that_wants_no_sound_is_a_hold() {
    let mut gw = gateway();
    gw.user_call("s1");
    for senders in ["none", "initiator", "both", "responder", "odd"] {
        gw.does(
            "content-modify",
            "s1",
            &format!("<content creator='initiator' name='0' senders='{senders}'/>"),
        );
        assert_eq!(gw.said(), ["result"], "{senders}");
    }
    // What is not the sound holds nothing.
    gw.does(
        "content-modify",
        "s1",
        "<content creator='initiator' name='video' senders='none'/>",
    );
    assert_eq!(gw.said(), ["result"]);
    assert_eq!(gw.events(), [LegEvent::Held(true), LegEvent::Held(false)]);
}

#[test]
fn contract_31_a_complaint_about_session_info_does_no_harm() {
    let mut gw = gateway();
    gw.does("session-initiate", "s1", &offer());
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Ring);
    gw.events();
    gw.complains("session-info", "feature-not-implemented");
    assert!(gw.events().is_empty());
}

#[test]
fn contract_32_contents_are_neither_changed_by_us_nor_added_by_them() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    gw.orders(leg, LegCommand::Update(our_offer()));
    assert!(gw.said().is_empty());
    let events = gw.events();
    assert!(
        matches!(&events[..], [LegEvent::UpdateAnswered(_)]),
        "{events:?}"
    );
    gw.does("content-add", "s1", &content("1", "video", "actpass", true));
    let (refused, ..) = parts(&gw.find("content-reject"));
    assert_eq!(refused.attr("name"), Some("1"));
    assert_eq!(
        gw.said(),
        ["result", "set content-reject unsupported-applications"]
    );
    gw.does(
        "transport-replace",
        "s1",
        &content("0", "audio", "actpass", true),
    );
    assert_eq!(gw.said(), ["result", "set transport-reject"]);
    gw.does(
        "content-remove",
        "s1",
        "<content creator='initiator' name='1'/>",
    );
    assert!(gw.events().is_empty());
    gw.said();
    gw.does(
        "content-remove",
        "s1",
        "<content creator='initiator' name='0'/>",
    );
    assert_eq!(
        gw.said(),
        [
            "result",
            "set session-terminate success",
            "chat finish success"
        ]
    );
    assert_eq!(gw.ends(), [EndReason::Hangup]);
}

#[test]
fn contract_33_a_call_ends_with_session_terminate_and_one_finish() {
    let mut gw = gateway();
    let leg = gw.user_call("s1");
    gw.orders(leg, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(gw.find("finish").attr("to"), Some(USER));
    assert_eq!(
        gw.said(),
        ["set session-terminate success", "chat finish success"]
    );
    gw.says("finish", "s1");
    gw.says("finish", "s1");
    assert!(gw.said().is_empty());

    let mut gw = gateway();
    gw.user_call("s1");
    gw.does("session-terminate", "s1", "<reason><success/></reason>");
    assert_eq!(gw.said(), ["result", "chat finish success"]);
    gw.says("finish", "s1");
    assert!(gw.said().is_empty());
    assert_eq!(gw.ends(), [EndReason::Hangup]);
}
