//! Pictures beside the sound.

use super::*;

fn vp8(number: u8) -> Codec {
    Codec::new(number, "VP8", 90_000, 1)
}

/// The same description with pictures in `codecs`, on a transport of their own.
fn with_pictures(mut description: Description, codecs: Vec<Codec>, bundle: bool) -> Description {
    let mut stream = description.streams[0].clone();
    stream.name = "video".to_owned();
    stream.media = Media::Video;
    stream.codecs = codecs;
    match &mut stream.transport {
        Transport::Rtp(rtp) => rtp.address = Some(([192, 0, 2, 10], 31_000).into()),
        Transport::Ice(ice) if !bundle => ice.ufrag = "pictures".to_owned(),
        Transport::Ice(_) => {}
    }
    description.streams.push(stream);
    description.bundle = bundle;
    description
}

fn both() -> Offering {
    Offering::Later(vec![Media::Audio, Media::Video])
}

/// A desk whose first trunk has pictures.
fn desk() -> Desk {
    Desk::with(|config| config.trunks[0].video = true)
}

impl Desk {
    /// The last orders for the pictures of a side.
    fn pictures(&self, wanted: Side) -> Option<&SideSpec> {
        self.media.iter().rev().find_map(|command| match command {
            MediaCommand::Configure { bridge, side, spec }
                if *side == wanted && bridge.is_of_pictures() =>
            {
                Some(&**spec)
            }
            _ => None,
        })
    }

    fn video_port(&self, wanted: Side) -> u16 {
        match &self.pictures(wanted).unwrap().transport {
            SideTransport::Rtp(rtp) => rtp.port,
            other => panic!("{other:?}"),
        }
    }

    fn answer_to(&mut self, leg: LegId) -> Description {
        let told = self.told();
        let answer = told.iter().find_map(|(to, command)| match command {
            LegCommand::Answer(answer) if *to == leg => Some(answer.clone()),
            _ => None,
        });
        answer.unwrap_or_else(|| panic!("{told:?}"))
    }

    /// Every bridge is closed, and both of a call were.
    fn assert_over(&mut self) {
        let closed = self.media.iter().filter_map(|command| match command {
            MediaCommand::Close { bridge } => Some(bridge.is_of_pictures()),
            _ => None,
        });
        assert_eq!(closed.collect::<Vec<_>>(), [true, false]);
        self.assert_empty();
    }
}

#[test]
fn pictures_go_to_a_trunk_that_has_them() {
    let mut desk = desk();
    desk.event(JULIET, dials(both()));
    let (phone, offer, _) = desk.offers().remove(0);
    assert_eq!(offer.streams.len(), 2);
    let names: Vec<&str> = offer.streams[1].codecs.iter().map(|c| &*c.name).collect();
    assert_eq!(names, ["VP8", "H264", "H264"]);
    let Transport::Rtp(rtp) = &offer.streams[1].transport else {
        panic!("no ICE toward SIP")
    };
    let port = desk.video_port(Side::Callee);
    assert_eq!(rtp.address.unwrap().port(), port, "bound before it is told");
    let answer = with_pictures(rtp_answer(), vec![vp8(120)], false);
    desk.event(phone, LegEvent::Answered(answer));
    desk.told();
    let mut browser = vp8(98);
    browser.feedback = vec![("nack".to_owned(), "pli".to_owned())];
    let offer = with_pictures(
        ice(vec![pcmu()], Setup::Actpass),
        vec![vp8(97), browser],
        true,
    );
    desk.event(JULIET, LegEvent::Updated(offer));
    let answer = desk.answer_to(JULIET);
    let [sound, video] = answer.streams.as_slice() else {
        panic!("{answer:?}")
    };
    assert!(answer.bundle && video.transport == sound.transport);
    assert_eq!(video.codecs, [vp8(97)]);
    let caller = desk.pictures(Side::Caller).unwrap();
    assert_eq!(caller.transport, SideTransport::Bundled(BridgeId(1)));
    let numbers = |spec: &SideSpec| {
        let format = spec.format.clone().unwrap();
        (format.send_payload_type, format.receive_payload_type)
    };
    assert_eq!(numbers(caller), (97, 97));
    let callee = desk.pictures(Side::Callee).unwrap();
    assert_eq!(numbers(callee), (120, 96));
    let SideTransport::Rtp(side) = &callee.transport else {
        panic!("no ICE toward SIP")
    };
    assert_eq!(side.remote, Some(([192, 0, 2, 10], 31_000).into()));
    assert_eq!(callee.silence_limit, None, "only sound has to be there");
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_over();
}

fn rtp_answer() -> Description {
    rtp(vec![pcmu()])
}

#[test]
fn a_described_offer_keeps_its_parameters_on_the_way() {
    let mut desk = desk();
    let mut codec = Codec::new(102, "H264", 90_000, 1);
    let say = |codec: &mut Codec, id: &str| {
        codec.parameters = [("profile-level-id", id), ("packetization-mode", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    };
    say(&mut codec, "42e01f");
    let offer = with_pictures(
        ice(vec![pcmu()], Setup::Actpass),
        vec![codec.clone(), Codec::new(99, "VP9", 90_000, 1)],
        true,
    );
    desk.event(JULIET, dials(Offering::Described(offer)));
    let (phone, offer, _) = desk.offers().remove(0);
    let [line] = offer.streams[1].codecs.as_slice() else {
        panic!("{offer:?}")
    };
    assert_eq!(
        (line.payload_type, &line.parameters),
        (102, &codec.parameters)
    );
    let mut theirs = Codec::new(126, "H264", 90_000, 1);
    say(&mut theirs, "42e00d");
    theirs
        .parameters
        .push(("max-fs".to_owned(), "3600".to_owned()));
    let answer = with_pictures(rtp_answer(), vec![theirs], false);
    desk.event(phone, LegEvent::Answered(answer));
    let answer = desk.answer_to(JULIET);
    let said = &answer.streams[1].codecs[0];
    assert_eq!(said.payload_type, 102);
    let said: Vec<String> = said
        .parameters
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    assert_eq!(
        said,
        [
            "max-fs=3600",
            "profile-level-id=42e01f",
            "packetization-mode=1"
        ]
    );
}

#[test]
fn whoever_has_no_pictures_gets_a_call_without() {
    let refused = |desk: &mut Desk, phone: LegId, answer: Description| {
        desk.event(phone, LegEvent::Answered(answer));
        desk.told();
        let offer = with_pictures(ice(vec![pcmu()], Setup::Actpass), vec![vp8(97)], true);
        desk.event(JULIET, LegEvent::Updated(offer));
        let answer = desk.answer_to(JULIET);
        assert_eq!(answer.streams[1].codecs, [vp8(97)], "it is thrown away");
        assert_eq!(desk.pictures(Side::Caller), None);
        desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_empty();
    };
    // The trunk has none.
    let mut plain = Desk::new();
    plain.event(JULIET, dials(both()));
    let (phone, offer, _) = plain.offers().remove(0);
    assert_eq!(offer.streams.len(), 1);
    refused(&mut plain, phone, rtp_answer());
    // The phone has none, or another encoding.
    let mut rejected = with_pictures(rtp_answer(), vec![vp8(96)], false);
    rejected.streams[1].rejected = true;
    let foreign = Codec::new(34, "H263", 90_000, 1);
    let foreign = with_pictures(rtp_answer(), vec![foreign], false);
    for answer in [rtp_answer(), rejected, foreign] {
        let mut desk = desk();
        desk.event(JULIET, dials(both()));
        let (phone, ..) = desk.offers().remove(0);
        refused(&mut desk, phone, answer);
    }
    // The caller wants none.
    let mut desk = desk();
    desk.event(JULIET, dials(later()));
    assert_eq!(desk.offers().remove(0).1.streams.len(), 1);
}

/// Juliet, who is called, answers with pictures and is connected.
fn takes_with_pictures(desk: &mut Desk, juliet: LegId) {
    let answer = with_pictures(ice(vec![pcmu()], Setup::Active), vec![vp8(96)], true);
    desk.event(juliet, LegEvent::Answered(answer));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Callee,
    });
}

#[test]
fn pictures_come_from_a_trunk_that_has_them() {
    let mut desk = desk();
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        let pictures = with_pictures(rtp_answer(), vec![vp8(111)], false);
        *offer = Offering::Described(pictures);
    }
    desk.event(TRUNK, event);
    let (juliet, offer, _) = desk.offers().remove(0);
    let [sound, video] = offer.streams.as_slice() else {
        panic!("{offer:?}")
    };
    // Numbers of one transport are apart, and so are transports until they are bundled.
    assert!(sound.codecs.iter().any(|c| c.payload_type == 111));
    assert_eq!(video.codecs[0].payload_type, 96);
    let (Transport::Ice(a), Transport::Ice(b)) = (&sound.transport, &video.transport) else {
        panic!("{offer:?}")
    };
    assert_ne!(a.ufrag, b.ufrag);
    takes_with_pictures(&mut desk, juliet);
    let answer = desk.answer_to(TRUNK);
    assert_eq!(answer.streams[1].codecs, [vp8(111)]);
    assert!(!answer.streams[1].rejected);
    let Transport::Rtp(rtp) = &answer.streams[1].transport else {
        panic!("no ICE toward SIP")
    };
    assert_eq!(rtp.address.unwrap().port(), desk.video_port(Side::Caller));
    let callee = desk.pictures(Side::Callee).unwrap();
    assert_eq!(callee.transport, SideTransport::Bundled(BridgeId(1)));
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_over();
}

/// RFC 9143 §7.3: BUNDLE is declined, and each stream has the port that its line says.
#[test]
fn a_trunk_that_bundles_is_answered_with_a_port_for_each() {
    let mut desk = desk();
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        *offer = Offering::Described(with_pictures(rtp_answer(), vec![vp8(111)], true));
    }
    desk.event(TRUNK, event);
    let (juliet, ..) = desk.offers().remove(0);
    takes_with_pictures(&mut desk, juliet);
    let answer = desk.answer_to(TRUNK);
    assert!(!answer.bundle);
    let ports: Vec<_> = answer
        .streams
        .iter()
        .map(|stream| match &stream.transport {
            Transport::Rtp(rtp) => rtp.address.unwrap().port(),
            Transport::Ice(_) => panic!("no ICE toward SIP"),
        })
        .collect();
    let SideTransport::Rtp(sound) = desk.last_sound(Side::Caller).transport else {
        panic!("no ICE toward SIP")
    };
    assert_eq!(ports, [sound.port, desk.video_port(Side::Caller)]);
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_over();
}

#[test]
fn a_client_without_pictures_makes_the_phone_do_without() {
    let mut desk = desk();
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        let pictures = with_pictures(rtp_answer(), vec![vp8(111)], false);
        *offer = Offering::Described(pictures);
    }
    desk.event(TRUNK, event);
    let (juliet, ..) = desk.offers().remove(0);
    desk.event(juliet, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Callee,
    });
    let answer = desk.answer_to(TRUNK);
    assert!(answer.streams[1].rejected && !answer.streams[0].rejected);
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_client_without_bundle_has_a_transport_for_each() {
    for (video, format) in [(true, true), (false, false)] {
        let mut desk = Desk::with(|config| config.trunks[0].video = video);
        let offer = with_pictures(ice(vec![pcmu()], Setup::Actpass), vec![vp8(97)], false);
        desk.event(JULIET, dials(Offering::Described(offer)));
        let (phone, ..) = desk.offers().remove(0);
        let answer = match video {
            true => with_pictures(rtp_answer(), vec![vp8(96)], false),
            false => rtp_answer(),
        };
        desk.event(phone, LegEvent::Answered(answer));
        let answer = desk.answer_to(JULIET);
        let (Transport::Ice(a), Transport::Ice(b)) =
            (&answer.streams[0].transport, &answer.streams[1].transport)
        else {
            panic!("{answer:?}")
        };
        assert!(a.ufrag != b.ufrag && !answer.bundle);
        assert_eq!(answer.streams[1].codecs.len(), 1);
        let spec = desk.pictures(Side::Caller).unwrap();
        assert_eq!(spec.format.is_some(), format, "or it is thrown away");
        let SideTransport::Ice(side) = &spec.transport else {
            panic!("{spec:?}")
        };
        assert_eq!(side.local_ufrag, b.ufrag);
        let remote = side.remote.as_ref().map(|r| &*r.ufrag);
        assert!(remote == Some("pictures") && side.dtls.is_some());
        // What trickles, and what restarts, does so where it is meant.
        let info = TransportInfo {
            stream: "video".to_owned(),
            credentials: Some(("anew".to_owned(), "secret".to_owned())),
            candidates: Vec::new(),
        };
        let sound = desk.last_sound(Side::Caller);
        desk.event(JULIET, LegEvent::Transport(info));
        let told = desk.told();
        let [(JULIET, LegCommand::Transport(info))] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(info.stream, "video");
        let SideTransport::Ice(side) = &desk.pictures(Side::Caller).unwrap().transport else {
            panic!("no ICE")
        };
        assert_eq!(side.remote.as_ref().map(|r| &*r.ufrag), Some("anew"));
        assert_eq!(desk.last_sound(Side::Caller), sound);
        // Pictures that do not get through are no reason to hang up.
        desk.media(MediaEvent::Failed {
            bridge: BridgeId(1).of_pictures(),
            side: Side::Caller,
            reason: EndReason::Connectivity,
            text: "no ICE pair works".to_owned(),
        });
        assert_eq!(desk.calls.census().calls, 1);
        desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_over();
    }
}

impl Desk {
    fn last_sound(&self, wanted: Side) -> SideSpec {
        let sound = self.media.iter().rev().find_map(|command| match command {
            MediaCommand::Configure { bridge, side, spec }
                if *side == wanted && !bridge.is_of_pictures() =>
            {
                Some((**spec).clone())
            }
            _ => None,
        });
        sound.unwrap()
    }
}

/// A call with pictures to the first trunk.
fn up() -> (Desk, LegId) {
    let mut desk = desk();
    desk.event(JULIET, dials(both()));
    let (phone, ..) = desk.offers().remove(0);
    let answer = with_pictures(rtp_answer(), vec![vp8(96)], false);
    desk.event(phone, LegEvent::Answered(answer));
    let offer = with_pictures(ice(vec![pcmu()], Setup::Actpass), vec![vp8(97)], true);
    desk.event(JULIET, LegEvent::Updated(offer));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Caller,
    });
    desk.told();
    (desk, phone)
}

#[test]
fn hold_is_for_both() {
    let (mut desk, phone) = up();
    let mut hold = with_pictures(rtp_answer(), vec![vp8(96)], false);
    for stream in &mut hold.streams {
        stream.direction = Direction::Send;
    }
    desk.event(phone, LegEvent::Updated(hold.clone()));
    let answer = desk.answer_to(phone);
    assert!(
        answer
            .streams
            .iter()
            .all(|s| s.direction == Direction::Receive)
    );
    assert!(!desk.pictures(Side::Callee).unwrap().send);
    // Pictures alone go, and come back.
    let mut off = with_pictures(rtp_answer(), vec![vp8(96)], false);
    off.streams[1].rejected = true;
    desk.event(phone, LegEvent::Updated(off));
    assert!(desk.answer_to(phone).streams[1].rejected);
    assert_eq!(desk.pictures(Side::Callee).unwrap().format, None);
    let on = with_pictures(rtp_answer(), vec![vp8(96)], false);
    desk.event(phone, LegEvent::Updated(on));
    assert!(!desk.answer_to(phone).streams[1].rejected);
    let spec = desk.pictures(Side::Callee).unwrap();
    assert!(spec.send && spec.format.is_some());
}

#[test]
fn pictures_move_with_their_user_to_a_device_without_bundle_and_back() {
    let (mut desk, _) = up();
    let elsewhere = |ufrag: &str, bundle| {
        let mut offer = with_pictures(ice(vec![pcmu()], Setup::Actpass), vec![vp8(99)], bundle);
        for stream in &mut offer.streams {
            if let Transport::Ice(ice) = &mut stream.transport {
                ice.ufrag = format!("{ufrag}{}", ice.ufrag);
            }
        }
        offer
    };
    desk.event(JULIET, LegEvent::Updated(elsewhere("a", false)));
    let answer = desk.answer_to(JULIET);
    let ufrag = |stream: &Stream| match &stream.transport {
        Transport::Ice(ice) => ice.ufrag.clone(),
        Transport::Rtp(_) => panic!("{stream:?}"),
    };
    assert_ne!(ufrag(&answer.streams[0]), ufrag(&answer.streams[1]));
    let spec = desk.pictures(Side::Caller).unwrap();
    let SideTransport::Ice(side) = &spec.transport else {
        panic!("{spec:?}")
    };
    assert_eq!(side.local_ufrag, ufrag(&answer.streams[1]));
    assert_eq!(spec.format.as_ref().map(|f| f.send_payload_type), Some(99));
    desk.event(JULIET, LegEvent::Updated(elsewhere("b", true)));
    let answer = desk.answer_to(JULIET);
    assert_eq!(ufrag(&answer.streams[0]), ufrag(&answer.streams[1]));
    let spec = desk.pictures(Side::Caller).unwrap();
    assert_eq!(spec.transport, SideTransport::Bundled(BridgeId(1)));
    // And to one without a camera.
    desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
    assert_eq!(desk.answer_to(JULIET).streams.len(), 1);
    assert_eq!(desk.pictures(Side::Caller).unwrap().format, None);
}

#[test]
fn a_call_that_is_handed_on_goes_on_without_pictures() {
    let (mut desk, phone) = up();
    let to = Address::Number(E164::parse("+15557777777").unwrap());
    desk.event(phone, LegEvent::Transfer { to, replaces: None });
    let (other, offer, _) = desk.offers().remove(0);
    assert_eq!(offer.streams.len(), 1);
    desk.event(other, LegEvent::Answered(rtp_answer()));
    let closed =
        |c: &MediaCommand| matches!(c, MediaCommand::Close { bridge } if bridge.is_of_pictures());
    assert!(desk.media.iter().any(closed));
    // What the new phone offers later is refused, and the sound goes on.
    desk.told();
    let pictures = with_pictures(rtp_answer(), vec![vp8(96)], false);
    desk.event(other, LegEvent::Updated(pictures));
    assert!(desk.answer_to(other).streams[1].rejected);
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_over();
}

#[test]
fn another_port_of_the_pictures_is_told_with_both_lines() {
    let (mut desk, phone) = up();
    let port = desk.video_port(Side::Callee);
    desk.media(MediaEvent::PortTaken {
        bridge: BridgeId(1).of_pictures(),
        side: Side::Callee,
        port,
        text: "address in use".to_owned(),
    });
    let new = desk.video_port(Side::Callee);
    assert_ne!(new, port);
    let told = desk.told();
    let [(leg, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*leg, offer.streams.len()), (phone, 2));
    let Transport::Rtp(rtp) = &offer.streams[1].transport else {
        panic!("no ICE toward SIP")
    };
    assert_eq!(rtp.address.unwrap().port(), new);
    assert!(offer.streams[1].codecs.iter().any(|c| c.is("VP8")));
}

#[test]
fn an_offer_of_ours_keeps_the_lines_of_the_peers_in_their_order() {
    let mut desk = Desk::new();
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        let mut pictures = with_pictures(rtp_answer(), vec![vp8(96)], false);
        pictures.streams.reverse();
        *offer = Offering::Described(pictures);
    }
    desk.event(TRUNK, event);
    let (juliet, ..) = desk.offers().remove(0);
    desk.event(juliet, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    let bridge = BridgeId(1);
    let side = Side::Callee;
    desk.media(MediaEvent::Connected { bridge, side });
    desk.told();
    let SideTransport::Rtp(rtp) = &desk.last_spec(Side::Caller).transport else {
        panic!("no ICE toward SIP")
    };
    let port = rtp.port;
    desk.media(MediaEvent::PortTaken {
        bridge,
        side: Side::Caller,
        port,
        text: "address in use".to_owned(),
    });
    let told = desk.told();
    let [(TRUNK, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    let lines: Vec<_> = offer
        .streams
        .iter()
        .map(|s| (s.media, s.rejected))
        .collect();
    assert_eq!(lines, [(Media::Video, true), (Media::Audio, false)]);
}

#[test]
fn without_a_port_left_there_are_no_pictures() {
    let mut desk = desk();
    for number in 1..=4 {
        desk.event(LegId { number, ..JULIET }, dials(both()));
    }
    // Five pairs: two calls have two each, and a trunk takes two calls.
    let streams: Vec<usize> = desk
        .offers()
        .iter()
        .map(|(_, o, _)| o.streams.len())
        .collect();
    assert_eq!(streams, [2, 2, 1]);
}

#[test]
fn the_next_trunk_begins_anew() {
    let mut desk = desk();
    desk.event(JULIET, dials(both()));
    let (first, ..) = desk.offers().remove(0);
    desk.event(first, LegEvent::Ended(EndReason::NoRoute.into()));
    let (second, offer, trunk) = desk.offers().remove(0);
    assert_eq!((trunk.as_deref(), offer.streams.len()), (Some("second"), 1));
    let closed =
        |c: &MediaCommand| matches!(c, MediaCommand::Close { bridge } if bridge.is_of_pictures());
    assert!(desk.media.iter().any(closed));
    desk.event(second, LegEvent::Ended(EndReason::Busy.into()));
    desk.assert_empty();
}

#[test]
fn pictures_without_the_protection_that_was_promised_end_the_call() {
    let mut desk = Desk::with(|config| {
        config.trunks[0].video = true;
        config.trunks[0].srtp = Srtp::Require;
    });
    desk.event(JULIET, dials(both()));
    let (phone, offer, _) = desk.offers().remove(0);
    let security = |stream: &Stream| match &stream.transport {
        Transport::Rtp(rtp) => rtp.security.clone(),
        Transport::Ice(_) => panic!("no ICE toward SIP"),
    };
    assert_ne!(security(&offer.streams[0]), security(&offer.streams[1]));
    let Security::Sdes(lines) = security(&offer.streams[0]) else {
        panic!("{offer:?}")
    };
    let mut answer = rtp_answer();
    if let Transport::Rtp(rtp) = &mut answer.streams[0].transport {
        rtp.security = Security::Sdes(lines);
    }
    let mut answer = with_pictures(answer, vec![vp8(96)], false);
    if let Transport::Rtp(rtp) = &mut answer.streams[1].transport {
        rtp.security = Security::None;
    }
    desk.event(phone, LegEvent::Answered(answer));
    let told = desk.told();
    let ended = |(_, c): &(LegId, LegCommand)| matches!(c, LegCommand::End(end) if end.reason == EndReason::Security);
    assert!(told.iter().any(ended), "{told:?}");
    desk.assert_empty();
}
