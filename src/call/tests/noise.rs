//! Comfort noise (RFC 3389): who is offered it, who gets it.

use super::*;

fn noise(payload_type: u8) -> Codec {
    Codec::new(payload_type, "CN", 8_000, 1)
}

fn speaks_noise(codecs: &[Codec]) -> Option<u8> {
    codecs.iter().find(|c| c.is("CN")).map(|c| c.payload_type)
}

fn calls_in_with_noise() -> LegEvent {
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        *offer = Offering::Described(rtp(vec![pcmu(), noise(13)]));
    }
    event
}

/// Juliet calls with `hers`, the phone answers with `its`; what she is answered, and the numbers of
/// comfort noise toward her and toward it.
fn talk(desk: &mut Desk, hers: Vec<Codec>, its: Vec<Codec>) -> (Vec<Codec>, [Option<u8>; 2]) {
    desk.event(
        JULIET,
        dials(Offering::Described(ice(hers, Setup::Actpass))),
    );
    desk.event(callee(), LegEvent::Answered(rtp(its)));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Caller,
    });
    let answers = |(leg, command)| match command {
        LegCommand::Answer(answer) if leg == JULIET => answer.streams.into_iter().next(),
        _ => None,
    };
    let answer = desk.told().into_iter().find_map(answers).unwrap();
    let toward = [Side::Caller, Side::Callee].map(|side| {
        let format = desk.last_spec(side).format.as_ref();
        format.and_then(|format| format.send_noise)
    });
    (answer.codecs, toward)
}

#[test]
fn a_trunk_is_offered_comfort_noise_beside_g711_only() {
    let offered = |codecs: &[&str], comfort_noise| {
        let mut desk = Desk::with(|config| {
            config.trunks[0].codecs = codecs.iter().map(|c| (*c).to_owned()).collect();
            config.trunks[0].comfort_noise = comfort_noise;
            config.media.transcode = Transcode::WhenNeeded;
        });
        desk.event(
            JULIET,
            dials(Offering::Described(ice(vec![opus()], Setup::Actpass))),
        );
        let (_, offer, _) = desk.offers().remove(0);
        speaks_noise(&offer.streams[0].codecs)
    };
    assert_eq!(offered(&["opus", "PCMU"], true), Some(13));
    assert_eq!(offered(&["PCMA"], true), Some(13));
    assert_eq!(offered(&["opus", "G722"], true), None);
    assert_eq!(offered(&["PCMU"], false), None);
}

#[test]
fn a_client_is_never_offered_comfort_noise_and_gets_none_of_a_phone() {
    let mut desk = Desk::new();
    desk.event(TRUNK, calls_in_with_noise());
    let (client, offer, _) = desk.offers().remove(0);
    assert_eq!(speaks_noise(&offer.streams[0].codecs), None);
    desk.event(client, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Callee,
    });
    // The phone said that it takes it; the client did not.
    let format = |side| desk.last_spec(side).format.clone().unwrap();
    assert_eq!(format(Side::Caller).send_noise, Some(13));
    assert_eq!(format(Side::Callee).send_noise, None);
}

#[test]
fn comfort_noise_is_agreed_on_where_both_sides_have_it() {
    let mut desk = Desk::new();
    let (answer, toward) = talk(&mut desk, vec![pcmu(), noise(13)], vec![pcmu(), noise(96)]);
    assert_eq!(
        answer.iter().map(|c| c.payload_type).collect::<Vec<_>>(),
        [0, 13]
    );
    assert_eq!(toward, [Some(13), Some(96)]);
    // Our own number is what the phone sends it as.
    let format = desk.last_spec(Side::Callee).format.clone().unwrap();
    assert_eq!(format.receive_noise, Some(13));
}

#[test]
fn a_client_of_a_phone_without_comfort_noise_is_not_asked_for_it() {
    let mut desk = Desk::new();
    let (answer, toward) = talk(&mut desk, vec![pcmu(), noise(13)], vec![pcmu()]);
    assert_eq!(speaks_noise(&answer), None);
    assert_eq!(toward, [None, None]);
}

#[test]
fn a_phone_hears_the_pauses_of_a_client_of_opus_as_comfort_noise() {
    let mut desk = Desk::new();
    let (answer, toward) = talk(&mut desk, vec![opus()], vec![pcmu(), noise(13)]);
    assert_eq!(speaks_noise(&answer), None);
    assert_eq!(toward, [None, Some(13)]);
}

#[test]
fn a_trunk_without_comfort_noise_is_not_answered_with_it() {
    for comfort_noise in [true, false] {
        let mut desk = Desk::with(|config| config.trunks[0].comfort_noise = comfort_noise);
        desk.event(TRUNK, calls_in_with_noise());
        let (client, ..) = desk.offers().remove(0);
        desk.event(client, LegEvent::Answered(ice(vec![opus()], Setup::Active)));
        let answers = |(leg, command)| match command {
            LegCommand::Answer(answer) if leg == TRUNK => answer.streams.into_iter().next(),
            _ => None,
        };
        desk.media(MediaEvent::Connected {
            bridge: BridgeId(1),
            side: Side::Callee,
        });
        let answer = desk.told().into_iter().find_map(answers).unwrap();
        assert_eq!(speaks_noise(&answer.codecs).is_some(), comfort_noise);
        let format = desk.last_spec(Side::Caller).format.clone().unwrap();
        assert_eq!(format.send_noise.is_some(), comfort_noise);
    }
}
