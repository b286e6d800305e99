//! Protected sound, and sound before the answer.

use super::*;

#[test]
fn a_trunk_that_requires_it_gets_keys_and_gives_some() {
    let mut desk = Desk::with(|config| config.trunks[0].srtp = Srtp::Require);
    desk.event(JULIET, dials(later()));
    let (phone, offer, _) = desk.offers().remove(0);
    let Transport::Rtp(ours) = &offer.streams[0].transport else {
        panic!("no ICE toward SIP")
    };
    let Security::Sdes(lines) = &ours.security else {
        panic!("{ours:?}")
    };
    let suites: Vec<&str> = lines.iter().map(|line| line.suite.as_str()).collect();
    assert_eq!(suites, ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"]);
    let mut answer = rtp(vec![pcmu()]);
    let chosen = Crypto {
        key: "inline:theirs".to_owned(),
        ..lines[1].clone()
    };
    if let Transport::Rtp(theirs) = &mut answer.streams[0].transport {
        theirs.security = Security::Sdes(vec![chosen.clone()]);
    }
    desk.event(phone, LegEvent::Answered(answer));
    let SideTransport::Rtp(side) = &desk.last_spec(Side::Callee).transport else {
        panic!("no ICE toward SIP")
    };
    let keys = crate::border::RtpKeys::Sdes {
        local: lines[1].clone(),
        remote: chosen,
    };
    assert_eq!(side.keys, keys);
}

#[test]
fn an_unprotected_call_rings_nobody_where_protection_is_required() {
    let mut desk = Desk::with(|config| config.trunks[0].srtp = Srtp::Require);
    desk.event(TRUNK, calls_in());
    let told = desk.told();
    let [(TRUNK, LegCommand::End(end))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(end.reason, EndReason::Security);
    desk.assert_empty();
}

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
