mod early;
mod handing;
mod keys;
mod noise;
mod ports;
mod several;
mod transcoding;
mod trunks;
mod video;

use std::time::Duration;

use super::*;
use crate::address::{Address, E164, SipAddress};
use crate::border::{SideSpec, SideTransport};
use crate::config::*;
use crate::description::*;
use crate::id::{Role, Room};
use crate::leg::{Digit, LegEvent, Offering};

mod transfers;

const CONFIG: &str = "
[media]
bind = '192.0.2.1'
rtp_ports = '20000-20009'

[[trunk]]
name = 'first'
uri = 'sip:192.0.2.10;transport=udp'
codecs = ['opus', 'PCMU']
max_calls = 2
options_s = 0

[[trunk]]
name = 'second'
uri = 'sip:192.0.2.10;transport=udp'
codecs = ['PCMA', 'PCMU']
max_calls = 2
options_s = 0

[[route]]
match = '*'
trunk = ['first', 'second']

[[number]]
number = '+15550001000'
ring = ['juliet@example.org', 'nurse@example.org']

[access]
allow = ['example.org']
max_call_s = 3600

[call]
ring_limit_s = 60
";

/// The table with a clock and somebody who reads what it says.
struct Desk {
    calls: Calls,
    now: Instant,
    told: Vec<(LegId, LegCommand)>,
    media: Vec<MediaCommand>,
    records: Vec<CallRecord>,
}

const JULIET: LegId = LegId {
    room: Room::Xmpp,
    role: Role::Caller,
    number: 1,
};
const TRUNK: LegId = LegId {
    room: Room::Sip,
    role: Role::Caller,
    number: 1,
};

impl Desk {
    fn new() -> Self {
        Self::with(|_| {})
    }

    #[allow(clippy::disallowed_methods)]
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = of_file(CONFIG);
        change(&mut config);
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let facts = MediaFacts {
            fingerprint: fingerprint(Setup::Actpass),
            rtp_bind: [192, 0, 2, 1].into(),
            rtp_address: [192, 0, 2, 1].into(),
            rtp_ports: 20_000..=20_009,
            workers: vec![WorkerFacts {
                rtp: vec![address(40_000)],
                rtcp: vec![address(40_001)],
            }],
        };
        Self {
            calls: Calls::new(Arc::new(config), facts, TokenMaker::new([9; 32])),
            now: Instant::now(),
            told: Vec::new(),
            media: Vec::new(),
            records: Vec::new(),
        }
    }

    fn read(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                CallOutput::Leg(leg, command) => self.told.push((leg, command)),
                CallOutput::Media(_, command) => self.media.push(command),
                CallOutput::Record(record) => self.records.push(*record),
                CallOutput::Text(_) => panic!("nobody has written"),
            }
        }
    }

    fn event(&mut self, leg: LegId, event: LegEvent) {
        self.calls.leg_event(self.now, leg, event);
        self.read();
    }

    fn media(&mut self, event: MediaEvent) {
        self.calls.media_event(self.now, event);
        self.read();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.calls.handle_timeout(self.now);
        self.read();
    }

    /// The commands since last asked.
    fn told(&mut self) -> Vec<(LegId, LegCommand)> {
        std::mem::take(&mut self.told)
    }

    /// The legs that were called since last asked, with their offers.
    fn offers(&mut self) -> Vec<(LegId, Description, Option<String>)> {
        let offer = |(leg, command)| match command {
            LegCommand::Offer { offer, trunk, .. } => Some((leg, offer, trunk)),
            _ => None,
        };
        self.told().into_iter().filter_map(offer).collect()
    }

    fn close_bridges(&mut self) {
        for command in std::mem::take(&mut self.media) {
            if let MediaCommand::Close { bridge } = command {
                self.media(MediaEvent::Closed {
                    bridge,
                    stats: Box::default(),
                });
            }
        }
    }

    fn assert_empty(&mut self) {
        self.close_bridges();
        assert_eq!(self.calls.census(), CallCensus::default());
    }

    fn last_spec(&self, wanted: Side) -> &SideSpec {
        self.media
            .iter()
            .rev()
            .find_map(|command| match command {
                MediaCommand::Configure { side, spec, .. } if *side == wanted => Some(&**spec),
                _ => None,
            })
            .unwrap()
    }
}

fn fingerprint(setup: Setup) -> Fingerprint {
    Fingerprint {
        hash: "sha-256".to_owned(),
        value: vec![7; 32],
        setup,
    }
}

fn audio(codecs: Vec<Codec>, transport: Transport) -> Description {
    let stream = Stream {
        name: "audio".to_owned(),
        media: Media::Audio,
        codecs,
        direction: Direction::Both,
        ptime_ms: None,
        maxptime_ms: None,
        transport,
        rejected: false,
    };
    Description {
        streams: vec![stream],
        bundle: false,
    }
}

fn ice(codecs: Vec<Codec>, setup: Setup) -> Description {
    let transport = IceTransport {
        ufrag: "peer".to_owned(),
        pwd: "password".to_owned(),
        candidates: Vec::new(),
        rtcp_mux: true,
        fingerprint: Some(fingerprint(setup)),
        sdes: Vec::new(),
    };
    audio(codecs, Transport::Ice(transport))
}

fn rtp(codecs: Vec<Codec>) -> Description {
    let transport = RtpTransport {
        address: Some(([192, 0, 2, 10], 30_000).into()),
        rtcp: None,
        rtcp_mux: false,
        security: Security::None,
        opportunistic: false,
    };
    audio(codecs, Transport::Rtp(transport))
}

fn opus() -> Codec {
    Codec::new(111, "opus", 48_000, 2)
}

fn pcmu() -> Codec {
    Codec::new(0, "PCMU", 8_000, 1)
}

fn pcma() -> Codec {
    Codec::new(8, "PCMA", 8_000, 1)
}

fn dials(offer: Offering) -> LegEvent {
    LegEvent::Offered {
        from: Address::Xmpp("juliet@example.org".parse().unwrap()),
        to: Address::Number(E164::parse("+15551234567").unwrap()),
        display_name: None,
        conceals: false,
        offer,
        trunk: None,
    }
}

fn calls_in() -> LegEvent {
    LegEvent::Offered {
        from: Address::Number(E164::parse("+15557654321").unwrap()),
        to: Address::Number(E164::parse("+15550001000").unwrap()),
        display_name: Some("Romeo".to_owned()),
        conceals: false,
        offer: Offering::Described(rtp(vec![pcmu()])),
        trunk: Some("first".to_owned()),
    }
}

fn later() -> Offering {
    Offering::Later(vec![Media::Audio])
}

#[test]
fn a_caller_who_describes_later_is_asked_when_the_callee_answers() {
    let mut desk = Desk::new();
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Ringing);
    desk.event(phone, LegEvent::Answered(rtp(vec![pcmu()])));
    assert_eq!(
        desk.told(),
        [(JULIET, LegCommand::Ring), (JULIET, LegCommand::Accept)]
    );
    desk.event(
        JULIET,
        LegEvent::Updated(ice(vec![opus(), pcmu()], Setup::Actpass)),
    );
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
    assert_eq!(answer.streams[0].name, "audio");
    let Transport::Ice(ice) = &answer.streams[0].transport else {
        panic!()
    };
    assert_eq!(
        ice.fingerprint.as_ref().map(|f| f.setup),
        Some(Setup::Active)
    );
    let SideTransport::Ice(side) = &desk.last_spec(Side::Caller).transport else {
        panic!()
    };
    assert!(side.dtls.as_ref().is_some_and(|dtls| dtls.client) && !side.controlling);
}

#[test]
fn without_transcoding_a_caller_without_the_callees_codec_makes_the_callee_choose_again() {
    let mut desk = Desk::with(|config| config.media.transcode = Transcode::Never);
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.event(phone, LegEvent::Answered(rtp(vec![opus()])));
    desk.told();
    desk.event(
        JULIET,
        LegEvent::Updated(ice(vec![pcma(), pcmu()], Setup::Actpass)),
    );
    let told = desk.told();
    let [(leg, LegCommand::Update(offer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(*leg, phone);
    assert!(offer.streams[0].codecs.iter().all(|c| !c.is("opus")));
    desk.event(phone, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    let told = desk.told();
    let [(JULIET, LegCommand::Answer(answer))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answer.streams[0].codecs, [pcmu()]);
}

#[test]
fn every_user_of_a_number_rings_and_the_first_who_answers_has_the_call() {
    let mut desk = Desk::new();
    desk.event(TRUNK, calls_in());
    let offers = desk.offers();
    let [(juliet, ..), (nurse, ..)] = offers.as_slice() else {
        panic!("{offers:?}")
    };
    desk.event(*nurse, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    assert_eq!(
        desk.told(),
        [(
            *juliet,
            LegCommand::End(EndReason::AnsweredElsewhere.into())
        )],
        "the caller hears of it when media is connected"
    );
    let SideTransport::Ice(side) = &desk.last_spec(Side::Callee).transport else {
        panic!()
    };
    assert!(side.controlling && side.dtls.as_ref().is_some_and(|dtls| !dtls.client));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Callee,
    });
    let told = desk.told();
    assert!(
        matches!(told.as_slice(), [(TRUNK, LegCommand::Answer(_))]),
        "{told:?}"
    );
    desk.event(TRUNK, LegEvent::Ended(EndReason::Hangup.into()));
    assert_eq!(
        desk.told(),
        [(*nurse, LegCommand::End(EndReason::Hangup.into()))]
    );
    desk.assert_empty();
}

#[test]
fn a_caller_hears_ringing_even_if_no_client_says_so() {
    let mut desk = Desk::new();
    desk.event(TRUNK, calls_in());
    desk.offers();
    desk.wait(Duration::from_millis(999));
    assert_eq!(desk.told(), []);
    desk.wait(Duration::from_millis(1));
    assert_eq!(desk.told(), [(TRUNK, LegCommand::Ring)]);
    desk.event(TRUNK, LegEvent::Ended(EndReason::Cancelled.into()));
    desk.assert_empty();
}

#[test]
fn one_user_who_declines_leaves_the_others_ringing() {
    let mut desk = Desk::new();
    desk.event(TRUNK, calls_in());
    let offers = desk.offers();
    desk.event(offers[0].0, LegEvent::Ended(EndReason::Declined.into()));
    assert_eq!(desk.told(), []);
    desk.event(offers[1].0, LegEvent::Ended(EndReason::Busy.into()));
    assert_eq!(
        desk.told(),
        [(TRUNK, LegCommand::End(EndReason::Busy.into()))]
    );
    desk.assert_empty();
}

#[test]
fn an_offer_without_dtls_is_refused() {
    let mut desk = Desk::new();
    let mut offer = ice(vec![pcmu()], Setup::Actpass);
    if let Transport::Ice(ice) = &mut offer.streams[0].transport {
        ice.fingerprint = None;
    }
    desk.event(JULIET, dials(Offering::Described(offer)));
    let told = desk.told();
    assert!(matches!(&told[0].1, LegCommand::End(end) if end.reason == EndReason::Security));
    desk.assert_empty();
}

#[test]
fn a_delayed_offer_is_answered_with_ours() {
    let mut desk = Desk::new();
    let mut event = calls_in();
    if let LegEvent::Offered { offer, .. } = &mut event {
        *offer = Offering::Delayed;
    }
    desk.event(TRUNK, event);
    let (juliet, ..) = desk.offers().remove(0);
    desk.event(juliet, LegEvent::Answered(ice(vec![pcmu()], Setup::Active)));
    let told = desk.told();
    let answer = told.iter().find_map(|(leg, command)| match command {
        LegCommand::Answer(answer) if *leg == TRUNK => Some(answer),
        _ => None,
    });
    assert_eq!(answer.unwrap().streams[0].codecs[0].name, "PCMU");
    desk.event(TRUNK, LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    let spec = desk.last_spec(Side::Caller);
    assert!(spec.format.is_some() && spec.silence_limit.is_some());
}

#[test]
fn hold_of_one_side_is_told_to_the_other_and_silence_is_then_allowed() {
    let mut desk = up();
    let mut hold = rtp(vec![pcmu()]);
    hold.streams[0].direction = Direction::Send;
    desk.event(callee(), LegEvent::Updated(hold));
    assert!(desk.told().iter().any(|(leg, c)| *leg == callee()
        && matches!(c, LegCommand::Answer(a) if a.streams[0].direction == Direction::Receive)));
    assert_eq!(desk.last_spec(Side::Callee).silence_limit, None);
    desk.event(callee(), LegEvent::Updated(rtp(vec![pcmu()])));
    assert!(desk.last_spec(Side::Callee).silence_limit.is_some());
    let mut nowhere = rtp(vec![pcmu()]);
    if let Transport::Rtp(rtp) = &mut nowhere.streams[0].transport {
        rtp.address = Some(([0, 0, 0, 0], 30_000).into());
    }
    desk.event(callee(), LegEvent::Updated(nowhere));
    assert_eq!(desk.last_spec(Side::Callee).silence_limit, None);
    let mut inactive = rtp(vec![pcmu()]);
    inactive.streams[0].direction = Direction::Inactive;
    desk.event(callee(), LegEvent::Updated(inactive));
    let told = desk.told();
    assert!(
        told.iter().any(|(_, c)| matches!(c, LegCommand::Answer(_))),
        "{told:?}"
    );
    assert_eq!(desk.last_spec(Side::Callee).silence_limit, None);
    desk.event(callee(), LegEvent::Updated(rtp(vec![pcmu()])));
    assert!(desk.told().contains(&(JULIET, LegCommand::Hold(false))));
}

/// An ACK brings such an answer where a telephone takes the call up by a re-INVITE without an offer.
#[test]
fn hold_and_resume_in_an_answer_are_told_to_the_other_side_too() {
    let mut desk = up();
    let mut hold = rtp(vec![pcmu()]);
    hold.streams[0].direction = Direction::Inactive;
    desk.event(callee(), LegEvent::Updated(hold.clone()));
    assert!(desk.told().contains(&(JULIET, LegCommand::Hold(true))));
    desk.event(callee(), LegEvent::UpdateAnswered(rtp(vec![pcmu()])));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Hold(false))]);
    assert!(desk.last_spec(Side::Callee).send);
    desk.event(callee(), LegEvent::UpdateAnswered(hold.clone()));
    assert_eq!(desk.told(), [(JULIET, LegCommand::Hold(true))]);
    assert!(!desk.last_spec(Side::Callee).send);
    desk.event(callee(), LegEvent::UpdateAnswered(hold));
    assert_eq!(desk.told(), []);
}

#[test]
fn an_ice_restart_is_answered_with_new_credentials_of_ours() {
    let mut desk = up();
    let info = TransportInfo {
        stream: "audio".to_owned(),
        credentials: Some(("other".to_owned(), "secret".to_owned())),
        candidates: Vec::new(),
    };
    let before = desk.last_spec(Side::Caller).clone();
    desk.event(JULIET, LegEvent::Transport(info));
    let told = desk.told();
    let [(JULIET, LegCommand::Transport(info))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((info.stream.as_str(), info.candidates.len()), ("audio", 1));
    let after = desk.last_spec(Side::Caller);
    let (SideTransport::Ice(a), SideTransport::Ice(b)) = (&before.transport, &after.transport)
    else {
        panic!()
    };
    assert_ne!(a.local_ufrag, b.local_ufrag);
    assert_eq!(b.remote.as_ref().map(|r| r.ufrag.as_str()), Some("other"));
}

#[test]
fn a_key_goes_by_media_if_it_can_and_by_signalling_if_not() {
    let mut desk = up();
    let digit = Digit::from_char('5').unwrap();
    let event = MediaEvent::Digit {
        bridge: BridgeId(1),
        side: Side::Caller,
        digit,
        forwarded: true,
    };
    desk.media(event.clone());
    assert_eq!(desk.told(), []);
    desk.media(MediaEvent::Digit {
        bridge: BridgeId(1),
        side: Side::Caller,
        digit,
        forwarded: false,
    });
    assert_eq!(desk.told(), [(callee(), LegCommand::Digit(digit))]);
}

#[test]
fn time_limits_end_both_legs() {
    let mut desk = Desk::new();
    desk.event(JULIET, dials(later()));
    let (phone, ..) = desk.offers().remove(0);
    desk.wait(Duration::from_secs(60));
    let end = End::because(EndReason::NoAnswer, "nobody answered");
    assert_eq!(
        desk.told(),
        [
            (JULIET, LegCommand::End(end.clone())),
            (phone, LegCommand::End(end))
        ]
    );
    desk.assert_empty();
    let mut desk = up();
    desk.wait(Duration::from_secs(3600));
    assert_eq!(desk.told().len(), 2);
    desk.assert_empty();
    assert_eq!(desk.records[0].end.reason, EndReason::TooLong);
}

#[test]
fn a_gateway_that_drains_refuses_calls_and_keeps_running_ones() {
    let mut desk = up();
    desk.calls.drain();
    desk.event(
        LegId {
            number: 2,
            ..JULIET
        },
        dials(later()),
    );
    let told = desk.told();
    assert!(matches!(&told[..], [(_, LegCommand::End(end))] if end.reason == EndReason::Shutdown));
    assert_eq!(desk.calls.len(), 1);
}

#[test]
fn a_sip_address_is_called_as_it_stands() {
    let mut desk = Desk::new();
    let mut event = dials(later());
    let romeo = Address::Sip(SipAddress {
        user: "romeo".to_owned(),
        host: "example.net".to_owned(),
        port: None,
    });
    if let LegEvent::Offered { to, .. } = &mut event {
        *to = romeo.clone();
    }
    desk.event(JULIET, event);
    let told = desk.told();
    assert!(
        matches!(&told[0].1, LegCommand::Offer { to, .. } if *to == romeo),
        "{told:?}"
    );
}

fn callee() -> LegId {
    LegId {
        room: Room::Sip,
        role: Role::Callee,
        number: 1,
    }
}

/// A desk with one running call from JULIET to the first trunk.
fn up() -> Desk {
    let mut desk = Desk::new();
    desk.event(
        JULIET,
        dials(Offering::Described(ice(
            vec![opus(), pcmu()],
            Setup::Actpass,
        ))),
    );
    desk.event(callee(), LegEvent::Answered(rtp(vec![pcmu()])));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Caller,
    });
    desk.told();
    desk
}
