//! Calls whose sides share no codec.

use super::*;

#[test]
fn sides_that_share_no_codec_are_transcoded() {
    let mut desk = Desk::new();
    desk.event(
        JULIET,
        dials(Offering::Described(ice(vec![opus()], Setup::Actpass))),
    );
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [opus()]);
    let encoding = |desk: &Desk, side| {
        desk.last_spec(side)
            .format
            .as_ref()
            .unwrap()
            .encoding
            .clone()
    };
    assert_eq!(encoding(&desk, Side::Caller), "OPUS");
    assert_eq!(encoding(&desk, Side::Callee), "PCMU");
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
    assert_eq!(desk.records[0].encoding.as_deref(), Some("opus to PCMU"));
}

#[test]
fn a_client_speaks_opus_where_the_operator_prefers_it() {
    let mut desk = Desk::with(|config| config.media.transcode = Transcode::PreferOpus);
    desk.event(
        JULIET,
        dials(Offering::Described(ice(
            vec![pcmu(), opus()],
            Setup::Actpass,
        ))),
    );
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [opus()]);
}

#[test]
fn a_caller_without_the_callees_codec_is_transcoded_unless_the_callee_named_another() {
    let asked = |named: Vec<Codec>| {
        let mut desk = Desk::new();
        desk.event(JULIET, dials(later()));
        let (phone, ..) = desk.offers().remove(0);
        desk.event(phone, LegEvent::Answered(rtp(named)));
        desk.told();
        desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
        (desk, phone)
    };
    let (mut desk, _) = asked(vec![opus()]);
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
    let (mut desk, phone) = asked(vec![opus(), pcmu()]);
    let told = desk.told();
    let [(_, LegCommand::Update(_))] = told.as_slice() else {
        panic!("{told:?}")
    };
    // A callee that does not want to change is transcoded, too.
    desk.event(phone, LegEvent::UpdateRefused);
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
}
