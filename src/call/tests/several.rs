//! Telephones that answer with several encodings, where nobody transcodes.

use super::*;

/// Juliet calls a trunk that speaks PCMA and PCMU; what its phone answers, and what it is told then.
fn answered_with(codecs: Vec<Codec>, transcode: Transcode) -> (Desk, LegId) {
    let mut desk = Desk::with(|config| {
        config.trunks[0].codecs = ["PCMU", "PCMA"].map(str::to_owned).to_vec();
        config.media.transcode = transcode;
    });
    let both = ice(vec![pcmu(), pcma()], Setup::Actpass);
    desk.event(JULIET, dials(Offering::Described(both)));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(codecs)));
    (desk, phone)
}

fn updates(desk: &mut Desk, phone: LegId) -> Vec<Vec<Codec>> {
    let told = desk.told().into_iter();
    told.filter_map(|(leg, command)| match command {
        LegCommand::Update(offer) if leg == phone => {
            let real = |codec: &Codec| !codec.is_auxiliary();
            Some(
                offer.streams[0]
                    .codecs
                    .iter()
                    .filter(|c| real(c))
                    .cloned()
                    .collect(),
            )
        }
        _ => None,
    })
    .collect()
}

fn also(desk: &Desk) -> Vec<u8> {
    let format = desk.last_spec(Side::Callee).format.clone().unwrap();
    format.receive_also.iter().map(|e| e.payload_type).collect()
}

#[test]
fn where_nobody_transcodes_a_telephone_is_asked_for_one_encoding() {
    let (mut desk, phone) = answered_with(vec![pcmu(), pcma()], Transcode::Never);
    assert_eq!(updates(&mut desk, phone), [[pcmu()]]);
    assert!(also(&desk).is_empty());
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    assert_eq!(updates(&mut desk, phone), Vec::<Vec<Codec>>::new());
    // One that goes on naming both is not asked for ever.
    let (mut desk, phone) = answered_with(vec![pcmu(), pcma()], Transcode::Never);
    assert_eq!(updates(&mut desk, phone).len(), 1);
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu(), pcma()])));
    assert_eq!(updates(&mut desk, phone), Vec::<Vec<Codec>>::new());
    // One that will not be asked keeps the call.
    let (mut desk, phone) = answered_with(vec![pcmu(), pcma()], Transcode::Never);
    desk.told();
    desk.event(phone, LegEvent::UpdateRefused);
    assert_eq!(desk.told(), []);
}

#[test]
fn a_telephone_with_one_encoding_or_with_somebody_who_transcodes_is_asked_nothing() {
    let (mut desk, phone) = answered_with(vec![pcmu()], Transcode::Never);
    assert_eq!(updates(&mut desk, phone), Vec::<Vec<Codec>>::new());
    let (mut desk, phone) = answered_with(vec![pcmu(), pcma()], Transcode::WhenNeeded);
    assert_eq!(updates(&mut desk, phone), Vec::<Vec<Codec>>::new());
    assert_eq!(also(&desk), [8]);
}
