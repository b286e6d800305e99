//! Ports that another program has.

use super::*;

/// The even port that a side was given last.
fn port(desk: &Desk, side: Side) -> u16 {
    match &desk.last_spec(side).transport {
        SideTransport::Rtp(rtp) => rtp.port,
        SideTransport::Ice(_) | SideTransport::Bundled(_) => panic!("no ICE toward SIP"),
    }
}

fn described(offer: &Description) -> u16 {
    match &offer.streams[0].transport {
        Transport::Rtp(rtp) => rtp.address.unwrap().port(),
        Transport::Ice(_) => panic!("no ICE toward SIP"),
    }
}

fn take(desk: &mut Desk, side: Side, port: u16) {
    let bridge = BridgeId(1);
    desk.media(MediaEvent::PortTaken {
        bridge,
        side,
        port,
        text: "address in use".to_owned(),
    });
}

#[test]
fn a_taken_port_is_replaced_and_the_phone_hears_of_it_after_its_answer() {
    let mut desk = Desk::new();
    desk.event(JULIET, dials(later()));
    let (phone, offer, _) = desk.offers().remove(0);
    let first = port(&desk, Side::Callee);
    assert_eq!(described(&offer), first);
    take(&mut desk, Side::Callee, first);
    let second = port(&desk, Side::Callee);
    assert_ne!(first, second);
    // The port of a pair that was bound is told of too late, and nothing else is lost.
    take(&mut desk, Side::Callee, first);
    assert_eq!(port(&desk, Side::Callee), second);
    assert_eq!(desk.calls.census().ports, 1);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Accept)]);
    desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
    let told = desk.told();
    let [
        (leg, LegCommand::Update(offer)),
        (JULIET, LegCommand::Answer(_)),
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!((*leg, described(offer)), (phone, second));
    assert_eq!(offer.streams[0].codecs[0], pcmu());
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    assert!(desk.told().is_empty());
    assert_eq!(port(&desk, Side::Callee), second);
    desk.event(phone, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn a_phone_that_called_hears_of_its_other_port_at_once() {
    let mut desk = Desk::new();
    desk.event(TRUNK, calls_in());
    let (juliet, ..) = desk.offers().remove(0);
    desk.event(juliet, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    let bridge = BridgeId(1);
    let side = Side::Callee;
    desk.media(MediaEvent::Connected { bridge, side });
    desk.told();
    let first = port(&desk, Side::Caller);
    take(&mut desk, Side::Caller, first);
    let told = desk.told();
    let [(TRUNK, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(described(offer), port(&desk, Side::Caller));
    assert_ne!(described(offer), first);
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}

#[test]
fn sound_before_the_answer_waits_for_it_with_the_other_port() {
    let mut desk = Desk::with(|config| config.trunks[0].early_media = true);
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    let first = port(&desk, Side::Callee);
    take(&mut desk, Side::Callee, first);
    desk.event(phone, LegEvent::Progress(Some(rtp(vec![pcmu()]))));
    desk.event(JULIET, LegEvent::Updated(ice(vec![pcmu()], Setup::Actpass)));
    let told = desk.told();
    assert!(
        !told.iter().any(|(_, c)| matches!(c, LegCommand::Update(_))),
        "no dialog to offer in"
    );
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    let told = desk.told();
    let [(_, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(described(offer), port(&desk, Side::Callee));
}

#[test]
fn a_call_whose_every_port_is_taken_ends() {
    let mut desk = Desk::with(|config| config.routes[0].trunks.truncate(1));
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    // Five pairs are all that there are.
    for _ in 0..5 {
        let taken = port(&desk, Side::Callee);
        take(&mut desk, Side::Callee, taken);
    }
    let told = desk.told();
    assert!(
        told.iter()
            .any(|(leg, command)| *leg == phone && matches!(command, LegCommand::End(_))),
        "{told:?}"
    );
    desk.assert_empty();
    assert_eq!(desk.records[0].end.reason, EndReason::Overloaded);
}

/// An offer of somebody whose only address is this.
fn offer_from(address: SocketAddr) -> Description {
    let mut offer = ice(vec![pcmu()], Setup::Actpass);
    if let Transport::Ice(ice) = &mut offer.streams[0].transport {
        ice.candidates = vec![Candidate {
            foundation: "1".to_owned(),
            component: 1,
            address,
            priority: 1,
            kind: CandidateKind::Host,
            related: None,
            generation: 0,
        }];
    }
    offer
}

#[test]
fn a_second_call_from_the_same_address_is_answered_with_a_port_of_its_own() {
    let mut desk = Desk::new();
    let address: SocketAddr = ([198, 51, 100, 7], 40_000).into();
    let mut legs = Vec::new();
    let mut call = |desk: &mut Desk, number: u64, from: SocketAddr| {
        let leg = LegId { number, ..JULIET };
        desk.event(leg, dials(Offering::Described(offer_from(from))));
        let (phone, ..) = desk.offers().remove(0);
        desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
        legs.push(leg);
        let told = desk.told();
        let [(_, LegCommand::Answer(answer))] = told.as_slice() else {
            panic!("{told:?}")
        };
        let Transport::Ice(ice) = &answer.streams[0].transport else {
            panic!("no ICE")
        };
        ice.candidates[0].address.port()
    };
    assert_eq!(call(&mut desk, 1, address), 40_000);
    let own = call(&mut desk, 2, address);
    assert_eq!(own % 2, 0);
    assert!((20_000..20_010).contains(&own), "{own}");
    let SideTransport::Ice(side) = &desk.last_spec(Side::Caller).transport else {
        panic!("no ICE")
    };
    assert_eq!(side.own_port, Some(own));
    // When that one is taken, the peer hears of another one.
    desk.media(MediaEvent::PortTaken {
        bridge: BridgeId(2),
        side: Side::Caller,
        port: own,
        text: "address in use".to_owned(),
    });
    let told = desk.told();
    let [(_, LegCommand::Transport(info))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_ne!(info.candidates[0].address.port(), own);
    for leg in legs {
        desk.event(leg, LegEvent::Ended(EndReason::Hangup.into()));
    }
    desk.assert_empty();
}
