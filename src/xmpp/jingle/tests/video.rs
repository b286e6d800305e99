//! Contents of pictures.

use super::*;
use crate::description::TransportInfo;

/// An answer of the call table with a picture that has a transport of its own.
fn answer_with_video(ufrag: &str) -> Description {
    let mut answer = our_answer("0");
    let mut video = answer.streams[0].clone();
    video.name = "1".into();
    video.media = Media::Video;
    let mut codec = Codec::new(96, "VP8", 90_000, 1);
    codec.feedback = vec![
        ("nack".into(), "pli".into()),
        ("ccm".into(), "fir".into()),
        ("nack".into(), String::new()),
    ];
    video.codecs = vec![codec];
    if let Transport::Ice(ice) = &mut video.transport {
        ice.ufrag = ufrag.into();
    }
    answer.streams.push(video);
    answer
}

fn trickle_of(name: &str, ufrag: &str, port: u16) -> String {
    let inner = candidate(port);
    format!(
        "<content creator='initiator' name='{name}'><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' \
         ufrag='{ufrag}' pwd='88yXZajgGS00ziBDQ0yLtr9t'>{inner}</transport></content>"
    )
}

#[test]
fn each_transport_has_its_candidates_where_there_is_no_bundle() {
    let mut gw = gateway();
    let two = content("0", "audio", "actpass", true)
        + &content("1", "video", "actpass", true).replace("r8tL", "v1d0");
    gw.does("session-initiate", "s1", &two);
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(answer_with_video("ours")));
    gw.events();
    for (name, ufrag, port) in [("0", "r8tL", 5_000), ("1", "v1d0", 5_002)] {
        gw.does("transport-info", "s1", &trickle_of(name, ufrag, port));
        let events = gw.events();
        let [LegEvent::Transport(info)] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(
            (info.stream.as_str(), info.candidates[0].address.port()),
            (name, port)
        );
    }
    // Nothing is new.
    gw.does("transport-info", "s1", &trickle_of("1", "v1d0", 5_002));
    assert_eq!(gw.events(), []);
    // Ours go where they belong too.
    let Transport::Ice(ice) = our_transport(Setup::Active) else {
        panic!("ICE")
    };
    gw.orders(
        leg,
        LegCommand::Transport(TransportInfo {
            stream: "1".into(),
            credentials: None,
            candidates: ice.candidates[..1].to_vec(),
        }),
    );
    let (content, _, transport) = parts(&gw.find("transport-info"));
    assert_eq!(
        (content.attr("name"), transport.attr("ufrag")),
        (Some("1"), Some("ours"))
    );
}

#[test]
fn a_bundle_has_the_candidates_of_the_voice() {
    let mut gw = gateway();
    let two = group(&["0", "1"])
        + &content("0", "audio", "actpass", true)
        + &content("1", "video", "actpass", true);
    gw.does("session-initiate", "s1", &two);
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(answer_with_video("abcd")));
    gw.events();
    gw.does("transport-info", "s1", &trickle_of("1", "r8tL", 5_002));
    assert_eq!(gw.events(), []);
    gw.does("transport-info", "s1", &trickle_of("0", "r8tL", 5_000));
    assert_eq!(gw.events().len(), 1);
}

#[test]
fn the_picture_of_an_answer_says_what_may_be_asked_for() {
    let mut gw = gateway();
    let two = group(&["0", "1"])
        + &content("0", "audio", "actpass", true)
        + &content("1", "video", "actpass", true);
    gw.does("session-initiate", "s1", &two);
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Answer(answer_with_video("abcd")));
    let accept = gw.find("session-accept");
    let jingle = accept.get_child("jingle", NS_JINGLE).unwrap();
    let video = jingle.children().filter(|c| c.name() == "content").nth(1);
    let description = video.unwrap().children().next().unwrap();
    let payload = description.children().next().unwrap();
    let feedback = payload.children().filter(|c| c.name() == "rtcp-fb");
    let feedback: Vec<_> = feedback
        .map(|f| (f.attr("type"), f.attr("subtype")))
        .collect();
    assert_eq!(
        feedback,
        [
            (Some("nack"), Some("pli")),
            (Some("ccm"), Some("fir")),
            (Some("nack"), None)
        ]
    );
}

#[test]
fn only_users_whose_every_device_has_pictures_are_offered_some() {
    let proposed = |devices: &[bool]| {
        let mut gw = gateway();
        for (n, has_video) in devices.iter().enumerate() {
            let jid = FullJid::new(&format!("{BARE}/{n}")).unwrap();
            let announced = crate::xmpp::caps::Announced {
                node: "client".into(),
                ver: n.to_string(),
                verifiable: false,
            };
            gw.resources.available(&jid, Some(announced.clone()));
            let video = match has_video {
                true => "<feature var='urn:xmpp:jingle:apps:rtp:video'/>",
                false => "",
            };
            let query = format!(
                "<query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:jingle:1'/>\
                 <feature var='urn:xmpp:jingle-message:0'/><feature var='urn:xmpp:jingle:apps:rtp:1'/>\
                 <feature var='urn:xmpp:jingle:apps:rtp:audio'/>{video}\
                 <feature var='urn:xmpp:jingle:transports:ice-udp:1'/></query>"
            );
            gw.resources
                .learnt(&jid, &announced, &query.parse().unwrap());
        }
        let leg = LegId {
            room: Room::Xmpp,
            role: Role::Callee,
            number: 1,
        };
        let mut offer = answer_with_video("pics");
        offer.bundle = true;
        let command = LegCommand::Offer {
            from: number(),
            to: Address::Xmpp(BareJid::new(BARE).unwrap()),
            display_name: None,
            offer,
            trunk: None,
            replaces: None,
        };
        gw.orders(leg, command);
        let propose = gw.find("chat propose");
        let payload = propose.get_child("propose", NS_JMI).unwrap();
        let described = payload
            .children()
            .filter(|c| c.name() == "description")
            .count();
        let sid = gw.proposed_sid();
        gw.says("proceed", &sid);
        let initiate = gw.find("session-initiate");
        let jingle = initiate.get_child("jingle", NS_JINGLE).unwrap();
        let contents = jingle.children().filter(|c| c.name() == "content").count();
        assert_eq!(contents, described);
        contents
    };
    assert_eq!(proposed(&[]), 1, "nobody knows");
    assert_eq!(proposed(&[true]), 2);
    assert_eq!(proposed(&[true, true]), 2);
    assert_eq!(proposed(&[true, false]), 1);
    assert_eq!(proposed(&[false]), 1);
}
