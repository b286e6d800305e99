//! Sound before the answer, and answers in another codec than that.

use super::*;
use crate::border::RtpKeys;

#[test]
fn a_caller_is_connected_to_sound_before_the_answer_where_the_trunk_says_so() {
    let mut desk = Desk::with(|config| config.trunks[0].early_media = true);
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Accept)]);
    desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
    assert!(matches!(
        desk.told().as_slice(),
        [(JULIET, LegCommand::Answer(_))]
    ));
    assert!(desk.last_spec(Side::Callee).format.is_some());
    // Nobody has to speak before the answer, and nothing is answered.
    assert_eq!(desk.last_spec(Side::Callee).silence_limit, None);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    assert!(desk.told().is_empty());
    assert!(desk.last_spec(Side::Caller).silence_limit.is_some());
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.close_bridges();
    assert!(desk.records[0].answered_after.is_some());
    desk.assert_empty();
}

#[test]
fn early_sound_that_comes_to_nothing_is_no_answered_call() {
    let mut desk = Desk::with(|config| config.trunks[0].early_media = true);
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.close_bridges();
    assert_eq!(desk.records[0].end.reason, EndReason::Cancelled);
    assert_eq!(desk.records[0].answered_after, None);
    desk.assert_empty();
    // Elsewhere the caller only hears that there is some.
    let mut desk = Desk::new();
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Progress(None))]);
}

/// Juliet hears the sound of a trunk's phone before it answers, in PCMU; the phone.
fn hears_early(transcode: Transcode) -> (Desk, LegId) {
    let mut desk = Desk::with(|config| {
        config.trunks[0].early_media = true;
        config.trunks[0].codecs = ["PCMU", "PCMA"].map(str::to_owned).to_vec();
        config.media.transcode = transcode;
    });
    let both = ice(vec![pcmu(), pcma()], Setup::Actpass);
    desk.event(JULIET, dials(Offering::Described(both)));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
    (desk, phone)
}

fn encoding_of(desk: &Desk, side: Side) -> Option<String> {
    let format = desk.last_spec(side).format.as_ref();
    format.map(|format| format.encoding.clone())
}

#[test]
fn an_answer_in_another_codec_than_the_sound_before_it_is_offered_the_first_one() {
    let (mut desk, phone) = hears_early(Transcode::Never);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcma()])));
    let told = desk.told();
    let [(leg, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(*leg, phone);
    let real = |codec: &&Codec| !codec.is_auxiliary();
    let names: Vec<&Codec> = offer.streams[0].codecs.iter().filter(real).collect();
    assert_eq!(names, [&pcmu()]);
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    assert!(desk.told().is_empty());
    for side in [Side::Caller, Side::Callee] {
        assert_eq!(encoding_of(&desk, side).as_deref(), Some("PCMU"));
    }
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_callee_that_insists_on_another_codec_ends_the_call() {
    for answer in [
        LegEvent::UpdateRefused,
        LegEvent::UpdateAnswered(rtp(vec![pcma()])),
    ] {
        let (mut desk, phone) = hears_early(Transcode::Never);
        desk.event(phone, LegEvent::Answered(rtp(vec![pcma()])));
        desk.told();
        desk.event(phone, answer);
        let told = desk.told();
        let is_end = |(_, command): &(LegId, LegCommand)| matches!(command, LegCommand::End(end) if end.reason == EndReason::NotAcceptable);
        assert!(told.len() == 2 && told.iter().all(is_end), "{told:?}");
        desk.assert_empty();
    }
}

#[test]
fn an_answer_in_another_codec_is_transcoded_where_that_may_be() {
    let (mut desk, phone) = hears_early(Transcode::WhenNeeded);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcma()])));
    assert!(desk.told().is_empty());
    assert_eq!(encoding_of(&desk, Side::Caller).as_deref(), Some("PCMU"));
    assert_eq!(encoding_of(&desk, Side::Callee).as_deref(), Some("PCMA"));
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn sound_of_another_fork_that_the_caller_cannot_hear_changes_nothing() {
    let (mut desk, phone) = hears_early(Transcode::Never);
    desk.media.clear();
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcma()]))));
    assert!(desk.told().is_empty() && desk.media.is_empty());
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    assert_eq!(encoding_of(&desk, Side::Callee).as_deref(), Some("PCMU"));
    desk.event(JULIET, LegEvent::Ended(EndReason::Cancelled.into()));
    desk.assert_empty();
}

/// Juliet is asked for her offer because of early sound in Opus, and has only PCMU.
fn offers_another_codec(transcode: Transcode) -> (Desk, LegId) {
    let mut desk = Desk::with(|config| {
        config.trunks[0].early_media = true;
        config.media.transcode = transcode;
    });
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![opus(), pcmu()]))));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Accept)]);
    desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
    (desk, phone)
}

#[test]
fn early_sound_that_the_caller_cannot_hear_waits_for_the_answer() {
    for (answered, updates) in [(pcmu(), false), (opus(), true)] {
        let (mut desk, phone) = offers_another_codec(Transcode::Never);
        assert!(desk.told().is_empty());
        // The phone may ring for longer than media may take to connect.
        desk.wait(Duration::from_secs(30));
        assert!(desk.told().is_empty());
        desk.event(phone, LegEvent::Answered(rtp(vec![answered])));
        if updates {
            let told = desk.told();
            assert!(matches!(told.as_slice(), [(leg, LegCommand::Update(_))] if *leg == phone));
            desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
        }
        let told = desk.told();
        let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(answer.streams[0].codecs, [pcmu()]);
        desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_empty();
    }
}

#[test]
fn early_sound_in_another_codec_is_transcoded_where_that_may_be() {
    let (mut desk, phone) = offers_another_codec(Transcode::WhenNeeded);
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
    desk.event(phone, LegEvent::Ended(EndReason::Busy.into()));
    desk.assert_empty();
}

/// RFC 3264 §8: either side may offer again once an answer was given, and need not know that we
/// still wait for the offer of the caller.
#[test]
fn a_callee_offers_again_before_the_caller_has_offered_anything() {
    for transcode in [Transcode::Never, Transcode::WhenNeeded] {
        let mut desk = Desk::with(|config| config.media.transcode = transcode);
        desk.event(JULIET, dials(later()));
        let (phone, ..) = desk.offers().remove(0);
        desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
        assert_eq!(desk.told(), [(JULIET, LegCommand::Accept)]);
        desk.event(phone, LegEvent::Updated(rtp(vec![pcmu()])));
        let told = desk.told();
        assert!(
            matches!(told.as_slice(), [(leg, LegCommand::Answer(_))] if *leg == phone),
            "{told:?}"
        );
        desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
        assert!(matches!(
            desk.told().as_slice(),
            [(JULIET, LegCommand::Answer(_))]
        ));
        desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
        desk.close_bridges();
        desk.assert_empty();
    }
}

fn protected(security: Security) -> Description {
    let mut answer = rtp(vec![pcmu()]);
    if let Transport::Rtp(rtp) = &mut answer.streams[0].transport {
        rtp.security = security;
    }
    answer
}

/// A fork's key for the line of our offer with the same tag.
fn key_for(line: &Crypto, letter: &str) -> Security {
    Security::Sdes(vec![Crypto {
        key: format!("inline:{}", letter.repeat(line.key.len() - "inline:".len())),
        ..line.clone()
    }])
}

/// RFC 3261 §13.2.2.4, RFC 4568 §5.1.3: each fork has a dialog of its own, and answers the offer, not
/// what another one has chosen of it.
#[test]
fn the_keys_of_another_fork_than_the_one_that_was_heard_first_hold() {
    for (srtp, first) in [
        (Srtp::Require, true),
        (Srtp::Offer, true),
        (Srtp::Offer, false),
    ] {
        let mut desk = Desk::with(|config| {
            config.trunks[0].early_media = true;
            config.trunks[0].srtp = srtp;
        });
        desk.event(
            JULIET,
            dials(Offering::Described(ice(vec![pcmu()], Setup::Actpass))),
        );
        let (phone, offer, _) = desk.offers().remove(0);
        let Transport::Rtp(offered) = &offer.streams[0].transport else {
            panic!("no ICE toward SIP")
        };
        let Security::Sdes(lines) = &offered.security else {
            panic!("{offered:?}")
        };
        let early = match first {
            true => key_for(&lines[0], "a"),
            false => Security::None,
        };
        desk.event(phone, LegEvent::Progress(Some(protected(early))));
        let other = key_for(&lines[1], "b");
        desk.event(phone, LegEvent::Answered(protected(other.clone())));
        let told = desk.told();
        let is_end = |(_, command): &(LegId, LegCommand)| matches!(command, LegCommand::End(_));
        assert!(!told.iter().any(is_end), "{told:?}");
        let SideTransport::Rtp(side) = &desk.last_spec(Side::Callee).transport else {
            panic!("no ICE toward SIP")
        };
        let RtpKeys::Sdes { local, remote } = &side.keys else {
            panic!("{:?}", side.keys)
        };
        assert_eq!(*local, lines[1]);
        assert_eq!(other, Security::Sdes(vec![remote.clone()]));
        desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_empty();
    }
}
