//! Calls that a user hands on, where the telephone sees to it and where it does not.

use super::*;
use crate::leg::Transfer;

const JULIET_AGAIN: LegId = LegId {
    number: 2,
    ..JULIET
};

/// Juliet talks to a trunk's phone; its leg.
fn talking(desk: &mut Desk, juliet: LegId, codec: Codec) -> LegId {
    let offer = ice(vec![opus(), pcmu(), pcma()], Setup::Actpass);
    desk.event(juliet, dials(Offering::Described(offer)));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(vec![codec])));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(juliet.number),
        side: Side::Caller,
    });
    desk.told();
    phone
}

fn number(text: &str) -> Address {
    Address::Number(E164::parse(text).unwrap())
}

fn to(text: &str) -> LegEvent {
    LegEvent::Transfer {
        to: number(text),
        replaces: None,
    }
}

fn refer(phone: LegId, replaces: Option<LegId>, whom: &str) -> (LegId, LegCommand) {
    let to = number(whom);
    (phone, LegCommand::Refer { to, replaces })
}

fn done(leg: LegId) -> [(LegId, LegCommand); 2] {
    [
        (leg, LegCommand::Transfer(Transfer::Done)),
        (leg, LegCommand::End(EndReason::Hangup.into())),
    ]
}

#[test]
fn a_phone_that_can_is_asked_to_call_by_itself() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk, JULIET, pcmu());
    desk.event(JULIET, to("+15559990000"));
    assert_eq!(desk.told(), [refer(phone, None, "+15559990000")]);
    desk.event(phone, LegEvent::Referred(Transfer::Ringing));
    assert_eq!(
        desk.told(),
        [(JULIET, LegCommand::Transfer(Transfer::Ringing))]
    );
    desk.event(phone, LegEvent::Referred(Transfer::Done));
    let [told, end] = done(JULIET);
    let bye = (phone, LegCommand::End(EndReason::Hangup.into()));
    assert_eq!(desk.told(), [told, end, bye]);
    desk.assert_empty();
    assert_eq!(desk.records.len(), 1);
}

#[test]
fn a_phone_that_will_not_is_connected_by_the_gateway() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk, JULIET, pcmu());
    desk.event(JULIET, to("+15559990000"));
    desk.told();
    desk.event(phone, LegEvent::ReferRefused);
    let (new, offer, trunk) = desk.offers().remove(0);
    assert_eq!(trunk.as_deref(), Some("first"));
    desk.event(new, LegEvent::Answered(rtp(vec![pcmu()])));
    assert_eq!(desk.told(), done(JULIET));
    let port = |description: &Description| match &description.streams[0].transport {
        Transport::Rtp(rtp) => rtp.address.map(|address| address.port()),
        Transport::Ice(_) => None,
    };
    let SideTransport::Rtp(side) = &desk.last_spec(Side::Caller).transport else {
        panic!("the user's side has become a telephone's")
    };
    assert_eq!(Some(side.port), port(&offer));
    assert_eq!(desk.calls.census().trunk_calls, 2);
    // Nobody is left in whose name a telephone could call on.
    desk.event(phone, to("+15559990001"));
    assert!(matches!(
        desk.told().as_slice(),
        [(leg, LegCommand::Transfer(Transfer::Failed(end)))]
            if *leg == phone && end.reason == EndReason::Forbidden
    ));
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    assert_eq!(
        desk.told(),
        [(new, LegCommand::End(EndReason::Hangup.into()))]
    );
    desk.assert_empty();
}

#[test]
fn a_number_of_another_trunk_is_called_by_the_gateway() {
    let mut desk = Desk::with(|config| {
        let other = RouteConfig {
            matches: RouteMatch::Prefix("+44".to_owned()),
            trunks: vec!["second".to_owned()],
        };
        config.routes.insert(0, other);
        config.trunks[1].codecs = vec!["PCMU".to_owned()];
    });
    let phone = talking(&mut desk, JULIET, pcmu());
    desk.event(JULIET, to("+442079460000"));
    let (new, _, trunk) = desk.offers().remove(0);
    assert_eq!(trunk.as_deref(), Some("second"));
    desk.event(new, LegEvent::Ended(EndReason::Busy.into()));
    let failed = Transfer::Failed(EndReason::Busy.into());
    assert_eq!(desk.told(), [(JULIET, LegCommand::Transfer(failed))]);
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_transfer_that_comes_to_nothing_leaves_the_call() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk, JULIET, pcmu());
    for end in [EndReason::Busy, EndReason::NotFound] {
        desk.event(JULIET, to("+15559990000"));
        desk.told();
        desk.event(phone, LegEvent::Referred(Transfer::Failed(end.into())));
        let failed = Transfer::Failed(end.into());
        assert_eq!(desk.told(), [(JULIET, LegCommand::Transfer(failed))]);
    }
    desk.event(JULIET, to("+15559990000"));
    desk.told();
    desk.wait(Duration::from_secs(61));
    let late = Transfer::Failed(EndReason::NoAnswer.into());
    assert_eq!(desk.told(), [(JULIET, LegCommand::Transfer(late))]);
    // What the telephone could not reach, the gateway may.
    desk.event(JULIET, to("+15559990000"));
    desk.told();
    let unreached = Transfer::Failed(EndReason::NoRoute.into());
    desk.event(phone, LegEvent::Referred(unreached));
    assert_eq!(desk.offers().len(), 1);
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn only_who_may_call_hands_on_and_one_at_a_time() {
    let mut desk = Desk::with(|config| {
        config.routes[0].matches = RouteMatch::Prefix("+1555".to_owned());
        config.access.calls_per_minute = 2;
    });
    let phone = talking(&mut desk, JULIET, pcmu());
    let reason = |desk: &mut Desk| match desk.told().as_slice() {
        [(JULIET, LegCommand::Transfer(Transfer::Failed(end)))] => end.reason,
        told => panic!("{told:?}"),
    };
    desk.event(JULIET, to("+19005550000"));
    assert_eq!(reason(&mut desk), EndReason::NoRoute);
    desk.event(JULIET, to("+15559990000"));
    desk.told();
    desk.event(JULIET, to("+15559990001"));
    assert_eq!(reason(&mut desk), EndReason::NotAcceptable);
    let busy = Transfer::Failed(EndReason::Busy.into());
    desk.event(phone, LegEvent::Referred(busy));
    desk.told();
    // The call and the first transfer were two.
    desk.event(JULIET, to("+15559990001"));
    assert_eq!(reason(&mut desk), EndReason::Overloaded);
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn who_hands_on_may_hang_up_at_once() {
    for (refused, answers) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut desk = Desk::new();
        let phone = talking(&mut desk, JULIET, pcmu());
        desk.event(JULIET, to("+15559990000"));
        desk.told();
        desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
        assert!(desk.told().is_empty(), "the telephone is not cut off");
        if refused {
            desk.event(phone, LegEvent::ReferRefused);
            let (new, ..) = desk.offers().remove(0);
            let SideTransport::Rtp(_) = &desk.last_spec(Side::Caller).transport else {
                panic!("the user's end is gone")
            };
            match answers {
                true => {
                    desk.event(new, LegEvent::Answered(rtp(vec![pcmu()])));
                    assert!(desk.last_spec(Side::Caller).format.is_some());
                    desk.told();
                    desk.event(new, LegEvent::Ended(EndReason::Hangup.into()));
                }
                false => desk.event(new, LegEvent::Ended(EndReason::Busy.into())),
            }
        } else {
            let news = match answers {
                true => Transfer::Done,
                false => Transfer::Failed(EndReason::Busy.into()),
            };
            desk.event(phone, LegEvent::Referred(news));
        }
        let told = desk.told();
        let over = |(leg, command): &(LegId, LegCommand)| {
            *leg == phone && matches!(command, LegCommand::End(_))
        };
        assert!(told.iter().any(over), "{told:?}");
        desk.assert_empty();
    }
}

#[test]
fn two_phones_of_a_trunk_connect_each_other() {
    let mut desk = Desk::new();
    let first = talking(&mut desk, JULIET, pcmu());
    let second = talking(&mut desk, JULIET_AGAIN, pcmu());
    let join = LegEvent::Join { with: JULIET_AGAIN };
    desk.event(JULIET, join);
    assert_eq!(desk.told(), [refer(first, Some(second), "+15551234567")]);
    desk.event(first, LegEvent::Referred(Transfer::Done));
    let told = desk.told();
    for leg in [JULIET, JULIET_AGAIN] {
        assert!(done(leg).iter().all(|told_so| told.contains(told_so)));
    }
    for phone in [first, second] {
        let bye = (phone, LegCommand::End(EndReason::Hangup.into()));
        assert!(told.contains(&bye));
    }
    desk.assert_empty();
}

#[test]
fn two_phones_that_cannot_are_connected_by_the_gateway() {
    for transcode in [Transcode::Never, Transcode::WhenNeeded] {
        let mut desk = Desk::with(|config| config.media.transcode = transcode);
        let first = talking(&mut desk, JULIET, pcmu());
        let second = talking(&mut desk, JULIET_AGAIN, opus());
        desk.event(JULIET, LegEvent::Join { with: JULIET_AGAIN });
        desk.told();
        desk.event(first, LegEvent::ReferRefused);
        let told = desk.told();
        for leg in [JULIET, JULIET_AGAIN] {
            assert!(done(leg).iter().all(|told_so| told.contains(told_so)));
        }
        let update = |(leg, command): &(LegId, LegCommand)| match command {
            LegCommand::Update(offer) if *leg == second => Some(offer.clone()),
            _ => None,
        };
        let offer = told.iter().find_map(update).unwrap();
        let spoken = negotiate::encodings(&offer.streams[0]);
        assert_eq!(spoken[0], negotiate::Encoding::Pcmu);
        assert_eq!(spoken.len() == 1, transcode == Transcode::Never);
        // Whoever was on hold hears again.
        assert!(told.contains(&(first, LegCommand::Hold(false))));
        desk.event(second, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
        assert!(desk.told().is_empty());
        assert!(desk.last_spec(Side::Caller).format.is_some());
        desk.close_bridges();
        assert_eq!(desk.records.len(), 1, "the second call is over");
        assert_eq!(desk.calls.census().trunk_calls, 2);
        desk.event(second, LegEvent::Ended(EndReason::Hangup.into()));
        let bye = (first, LegCommand::End(EndReason::Hangup.into()));
        assert_eq!(desk.told(), [bye]);
        desk.assert_empty();
    }
}

#[test]
fn a_phone_that_stays_where_it_was_ends_the_joined_call() {
    let mut desk = Desk::new();
    let first = talking(&mut desk, JULIET, pcmu());
    let second = talking(&mut desk, JULIET_AGAIN, pcmu());
    desk.event(JULIET, LegEvent::Join { with: JULIET_AGAIN });
    desk.event(first, LegEvent::ReferRefused);
    desk.told();
    desk.event(second, LegEvent::UpdateRefused);
    let told = desk.told();
    assert!(
        told.iter()
            .all(|(_, command)| matches!(command, LegCommand::End(_))),
        "{told:?}"
    );
    desk.assert_empty();
}

#[test]
fn nobody_joins_the_call_of_another() {
    let mut desk = Desk::new();
    let phone = talking(&mut desk, JULIET, pcmu());
    let nurse = LegId {
        number: 2,
        ..JULIET
    };
    let LegEvent::Offered { to, .. } = dials(later()) else {
        unreachable!("dials makes an offer");
    };
    let calls = LegEvent::Offered {
        from: Address::Xmpp("nurse@example.org".parse().unwrap()),
        to,
        display_name: None,
        conceals: false,
        offer: Offering::Described(ice(vec![pcmu()], Setup::Actpass)),
        trunk: None,
    };
    desk.event(nurse, calls);
    let (other, ..) = desk.offers().remove(0);
    desk.event(other, LegEvent::Answered(rtp(vec![pcmu()])));
    desk.told();
    for with in [
        nurse,
        JULIET,
        LegId {
            number: 9,
            ..JULIET
        },
    ] {
        desk.event(JULIET, LegEvent::Join { with });
        let told = desk.told();
        assert!(matches!(
            told.as_slice(),
            [(JULIET, LegCommand::Transfer(Transfer::Failed(_)))]
        ));
    }
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.event(other, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

/// Romeo calls Juliet, who answers; his leg and hers.
fn called(desk: &mut Desk) -> (LegId, LegId) {
    desk.event(TRUNK, calls_in());
    let (juliet, ..) = desk.offers().remove(0);
    desk.event(juliet, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Callee,
    });
    desk.told();
    (TRUNK, juliet)
}

#[test]
fn a_call_that_became_one_of_the_user_counts_as_one() {
    let user_calls = |desk: &Desk| desk.calls.census().user_calls;
    for answers in [true, false] {
        let mut desk = Desk::with(|config| config.access.max_calls_per_user = 1);
        let (romeo, juliet) = called(&mut desk);
        assert_eq!(user_calls(&desk), 0);
        desk.event(juliet, to("+15559990000"));
        desk.told();
        desk.event(romeo, LegEvent::ReferRefused);
        let (new, ..) = desk.offers().remove(0);
        assert_eq!(user_calls(&desk), 1);
        match answers {
            true => desk.event(new, LegEvent::Answered(rtp(vec![pcmu()]))),
            false => desk.event(new, LegEvent::Ended(EndReason::Busy.into())),
        }
        desk.told();
        assert_eq!(user_calls(&desk), usize::from(answers));
        let again = LegId {
            number: 7,
            ..JULIET
        };
        desk.event(again, dials(later()));
        let refused = matches!(desk.told().as_slice(), [(_, LegCommand::End(_))]);
        assert_eq!(refused, answers);
        desk.event(again, LegEvent::Ended(EndReason::Hangup.into()));
        desk.event(romeo, LegEvent::Ended(EndReason::Hangup.into()));
        desk.assert_empty();
    }
}

#[test]
fn a_call_that_is_joined_to_another_goes_on_counting() {
    let mut desk = Desk::new();
    let (romeo, juliet) = called(&mut desk);
    let phone = talking_by(&mut desk, 2);
    assert_eq!(desk.calls.census().user_calls, 1);
    let outgoing = LegId {
        number: 2,
        ..JULIET
    };
    desk.event(juliet, LegEvent::Join { with: outgoing });
    desk.told();
    desk.event(romeo, LegEvent::ReferRefused);
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    desk.close_bridges();
    assert_eq!(desk.calls.census().calls, 1);
    assert_eq!(desk.calls.census().user_calls, 1);
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

/// Juliet talks to a phone in the second call of the desk.
fn talking_by(desk: &mut Desk, number: u64) -> LegId {
    talking(desk, LegId { number, ..JULIET }, pcmu())
}
