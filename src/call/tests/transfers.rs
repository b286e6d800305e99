//! Legs that take the place of others.

use super::*;
use crate::leg::Transfer;

#[test]
fn keys_to_a_trunk_that_wants_info_go_in_signalling() {
    let mut desk = Desk::with(|config| config.trunks[0].dtmf = Dtmf::Info);
    let offer = ice(vec![pcmu()], Setup::Actpass);
    desk.event(JULIET, dials(Offering::Described(offer)));
    let (phone, ..) = desk.offers().remove(0);
    let events = Codec::new(101, "telephone-event", 8_000, 1);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu(), events])));
    let format = desk.last_spec(Side::Callee).format.clone().unwrap();
    assert_eq!(format.send_digits, None);
    assert_eq!(format.receive_digits, [(101, 8_000)]);
}

/// Juliet talks to a trunk's phone; its leg.
fn talking(desk: &mut Desk) -> LegId {
    let offer = ice(vec![pcmu()], Setup::Actpass);
    desk.event(JULIET, dials(Offering::Described(offer)));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Caller,
    });
    desk.told();
    phone
}

fn transfer_to(number: &str) -> LegEvent {
    LegEvent::Transfer {
        to: Address::Number(E164::parse(number).unwrap()),
        replaces: None,
    }
}

#[test]
fn a_number_of_ours_is_called_by_its_route_as_any_other() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk);
    desk.event(phone, transfer_to("+15550001000"));
    let offers = desk.offers();
    let [(new, _, trunk)] = offers.as_slice() else {
        panic!("{offers:?}")
    };
    assert_eq!((new.room, trunk.as_deref()), (Room::Sip, Some("first")));
}

#[test]
fn a_transferred_call_goes_on_with_the_new_callee() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk);
    desk.event(phone, transfer_to("+15559990000"));
    let (new, offer, trunk) = desk.offers().remove(0);
    assert_eq!(trunk.as_deref(), Some("first"));
    assert_eq!(offer.streams[0].codecs[0].name, "PCMU");
    desk.event(new, LegEvent::Ringing);
    assert_eq!(
        desk.told(),
        [(phone, LegCommand::Transfer(Transfer::Ringing))]
    );
    desk.event(new, LegEvent::Answered(rtp(vec![pcmu()])));
    assert_eq!(
        desk.told(),
        [
            (phone, LegCommand::Transfer(Transfer::Done)),
            (phone, LegCommand::End(EndReason::Hangup.into()))
        ]
    );
    let Transport::Rtp(ours) = &offer.streams[0].transport else {
        panic!("no ICE toward SIP")
    };
    let SideTransport::Rtp(side) = &desk.last_spec(Side::Callee).transport else {
        panic!("no ICE toward SIP")
    };
    assert_eq!(Some(side.port), ours.address.map(|address| address.port()));
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    assert_eq!(
        desk.told(),
        [(new, LegCommand::End(EndReason::Hangup.into()))]
    );
    desk.assert_empty();
}

#[test]
fn a_transfer_needs_the_rights_of_whoever_stays() {
    let mut desk = Desk::with(|config| {
        config.routes[0].matches = RouteMatch::Prefix("+1555123".to_owned());
    });
    let phone = talking(&mut desk);
    desk.event(phone, transfer_to("+19005550000"));
    let told = desk.told();
    let [(leg, LegCommand::Transfer(Transfer::Failed(end)))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*leg, end.reason), (phone, EndReason::NoRoute));
    // The call goes on.
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_transfer_that_nobody_takes_is_told_and_the_call_goes_on() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk);
    desk.event(phone, transfer_to("+15559990000"));
    let (new, ..) = desk.offers().remove(0);
    desk.event(new, LegEvent::Ended(EndReason::Busy.into()));
    let failed = Transfer::Failed(EndReason::Busy.into());
    assert_eq!(desk.told(), [(phone, LegCommand::Transfer(failed))]);
    desk.event(phone, transfer_to("+15559990000"));
    let (new, ..) = desk.offers().remove(0);
    desk.wait(Duration::from_secs(61));
    let late = EndReason::NoAnswer;
    assert_eq!(
        desk.told(),
        [
            (new, LegCommand::End(late.into())),
            (phone, LegCommand::Transfer(Transfer::Failed(late.into())))
        ]
    );
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_telephone_sends_no_user_into_more_calls_than_the_user_may_make() {
    let mut desk = Desk::with(|config| config.access.calls_per_minute = 2);
    let phone = talking(&mut desk);
    let fails = |desk: &mut Desk| match desk.told().as_slice() {
        [(leg, LegCommand::Transfer(Transfer::Failed(end)))] if *leg == phone => end.reason,
        told => panic!("{told:?}"),
    };
    desk.event(phone, transfer_to("+15559990000"));
    let (new, ..) = desk.offers().remove(0);
    // What cannot be done now is no call.
    desk.event(phone, transfer_to("+15559990001"));
    assert_eq!(fails(&mut desk), EndReason::NotAcceptable);
    desk.event(new, LegEvent::Ended(EndReason::Busy.into()));
    assert_eq!(fails(&mut desk), EndReason::Busy);
    // The call and the first transfer were two.
    desk.event(phone, transfer_to("+15559990000"));
    assert_eq!(fails(&mut desk), EndReason::Overloaded);
    desk.wait(Duration::from_secs(61));
    desk.event(phone, transfer_to("+15559990000"));
    assert_eq!(desk.offers().len(), 1);
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn whoever_transfers_may_hang_up_at_once() {
    for taken in [true, false] {
        let mut desk = Desk::new();
        let phone = talking(&mut desk);
        desk.event(phone, transfer_to("+15559990000"));
        let (new, ..) = desk.offers().remove(0);
        desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
        assert!(desk.told().is_empty());
        if taken {
            desk.event(new, LegEvent::Answered(rtp(vec![pcmu()])));
            desk.told();
            desk.event(new, LegEvent::Ended(EndReason::Hangup.into()));
        } else {
            desk.event(new, LegEvent::Ended(EndReason::Busy.into()));
        }
        assert!(matches!(
            desk.told().as_slice(),
            [(JULIET, LegCommand::End(_))]
        ));
        desk.assert_empty();
    }
}

#[test]
fn a_hangup_ends_the_transfer_too() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk);
    desk.event(phone, transfer_to("+15559990000"));
    let (new, ..) = desk.offers().remove(0);
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    let ended: Vec<LegId> = desk.told().into_iter().map(|(leg, _)| leg).collect();
    assert_eq!(ended, [new, phone]);
    desk.assert_empty();
}

#[test]
fn somebody_comes_in_the_place_of_a_leg() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk);
    let replaces = |old| LegEvent::Replaces {
        old,
        offer: rtp(vec![pcmu()]),
        trunk: Some("first".to_owned()),
    };
    desk.event(TRUNK, replaces(phone));
    assert!(matches!(
        desk.told().as_slice(),
        [
            (old, LegCommand::End(_)),
            (TRUNK, LegCommand::Answer(_))
        ] if *old == phone
    ));
    // Nobody is there any more whose place could be taken.
    let late = LegId { number: 2, ..TRUNK };
    desk.event(late, replaces(phone));
    assert!(matches!(
        desk.told().as_slice(),
        [(leg, LegCommand::End(_))] if *leg == late
    ));
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}
