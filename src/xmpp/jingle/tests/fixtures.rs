//! Stanzas of real clients, from `tests/data/stanzas`.

use super::*;

/// The stanza of `path` under `tests/data/stanzas`, as sent by `from` to `to`.
pub fn fixture(text: &str, from: &str, to: &str) -> Element {
    let mut stanza: Element = text.parse().unwrap();
    readdress(&mut stanza, from, to);
    stanza
}

pub fn readdress(stanza: &mut Element, from: &str, to: &str) {
    use minidom::rxml::{Namespace, NcName};
    for (name, value) in [("from", from), ("to", to)] {
        stanza.set_attr(Namespace::NONE, NcName::try_from(name).unwrap(), value);
    }
}

macro_rules! fixtures {
    ($($name:ident $path:literal,)*) => {
        $(pub const $name: &str = include_str!(concat!("../../../../tests/data/stanzas/", $path));)*
        /// Every one of them.
        pub const ALL: &[(&str, &str)] = &[$(($path, $name),)*];
    };
}

fixtures! {
    BROWSER_PROPOSE "chromium-stanzajs/carol-jmi-propose.xml",
    BROWSER_INITIATE "chromium-stanzajs/carol-session-initiate.xml",
    BROWSER_TRICKLE "chromium-stanzajs/carol-transport-info.xml",
    BROWSER_RINGING "chromium-stanzajs/dave-jmi-ringing.xml",
    BROWSER_PROCEED "chromium-stanzajs/dave-jmi-proceed.xml",
    BROWSER_ACCEPT "chromium-stanzajs/dave-session-accept.xml",
    BROWSER_TRICKLE_2 "chromium-stanzajs/dave-transport-info.xml",
    DINO4_PROCEED "dino-0.4.2/carol-jmi-proceed.xml",
    DINO4_ACCEPT "dino-0.4.2/carol-session-accept.xml",
    DINO4_TERMINATE "dino-0.4.2/carol-session-terminate.xml",
    DINO4_PROPOSE "dino-0.4.2/dave-jmi-propose.xml",
    DINO4_INITIATE "dino-0.4.2/dave-session-initiate.xml",
    DINO4_TERMINATE_2 "dino-0.4.2/dave-session-terminate.xml",
    DINO5_PROCEED "dino-0.5.1/carol-jmi-proceed.xml",
    DINO5_ACCEPT "dino-0.5.1/carol-session-accept.xml",
    DINO5_TERMINATE "dino-0.5.1/carol-session-terminate.xml",
    DINO5_PROPOSE "dino-0.5.1/dave-jmi-propose.xml",
    DINO5_INITIATE "dino-0.5.1/dave-session-initiate.xml",
    DINO5_TERMINATE_2 "dino-0.5.1/dave-session-terminate.xml",
    GAJIM_INITIATE "gajim-1.7.3/session-initiate.xml",
    GAJIM_ACCEPT "gajim-1.7.3/session-accept.xml",
    GAJIM_DESCRIPTION "gajim-1.7.3/description-info.xml",
}

fn user_calls_by(propose: &str, initiate: &str) -> (Desk, Description) {
    let mut gw = gateway();
    gw.hear_element(&fixture(propose, USER, NUMBER));
    let leg = gw.last_leg();
    gw.orders(leg, LegCommand::Ring);
    gw.orders(leg, LegCommand::Accept);
    gw.events();
    gw.hear_element(&fixture(initiate, USER, FULL));
    let events = gw.events();
    let [LegEvent::Updated(offer)] = &events[..] else {
        panic!("{events:?}")
    };
    gw.orders(leg, LegCommand::Answer(our_answer(&offer.streams[0].name)));
    assert_eq!(
        gw.said(),
        [
            "chat ringing",
            "chat proceed",
            "result",
            "set session-accept"
        ]
    );
    (gw, offer.clone())
}

#[test]
fn dino_calls_and_hangs_up() {
    for (propose, initiate, terminate) in [
        (DINO4_PROPOSE, DINO4_INITIATE, DINO4_TERMINATE_2),
        (DINO5_PROPOSE, DINO5_INITIATE, DINO5_TERMINATE_2),
    ] {
        let (mut gw, offer) = user_calls_by(propose, initiate);
        assert!(!offer.bundle);
        let stream = &offer.streams[0];
        assert!(
            stream
                .codecs
                .iter()
                .any(|c| c.is("opus") && c.channels == 2)
        );
        let Transport::Ice(ice) = &stream.transport else {
            unreachable!()
        };
        assert!(ice.rtcp_mux && ice.sdes.is_empty());
        let components: Vec<_> = ice.candidates.iter().map(|c| c.component).collect();
        assert_eq!(components, [1, 2]);
        gw.hear_element(&fixture(terminate, USER, FULL));
        let ends = gw.ends();
        assert_eq!(ends.len(), 1, "{ends:?}");
        gw.assert_empty();
    }
}

#[test]
fn a_browser_calls_and_trickles() {
    let (mut gw, offer) = user_calls_by(BROWSER_PROPOSE, BROWSER_INITIATE);
    assert!(offer.bundle);
    let red = offer.streams[0]
        .codecs
        .iter()
        .find(|c| c.is("red"))
        .unwrap();
    assert_eq!(red.parameters, [(String::new(), "111/111".to_owned())]);
    gw.hear_element(&fixture(BROWSER_TRICKLE, USER, FULL));
    let events = gw.events();
    let [LegEvent::Transport(info)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(info.stream, "0");
    assert_eq!(info.candidates[0].address.port(), 44_379);
    assert_eq!(info.credentials, None);
}

/// Calls the user, whose client answers with the captured stanzas; `sid` is theirs.
fn answered_by(stanzas: &[&str], sid: &str) -> (Desk, Vec<LegEvent>) {
    let mut gw = gateway();
    gw.calls(number());
    let ours = gw.proposed_sid();
    for text in stanzas {
        gw.hear_element(&fixture(&text.replace(sid, &ours), USER, FULL));
    }
    let events = gw.events();
    (gw, events)
}

#[test]
fn dino_answers_under_a_name_of_its_own_and_hangs_up() {
    let sid = "b69d607b-c35b-4c91-9871-a8431f6db738";
    let (gw, events) = answered_by(&[DINO4_PROCEED, DINO4_ACCEPT, DINO4_TERMINATE], sid);
    let [LegEvent::Answered(answer), LegEvent::Ended(_)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(answer.streams[0].name, "voice");
    assert_eq!(answer.streams[0].codecs.len(), 1);
    gw.assert_empty();
}

#[test]
fn a_browser_rings_answers_and_trickles() {
    let stanzas = [BROWSER_RINGING, BROWSER_PROCEED, BROWSER_ACCEPT];
    let (_, events) = answered_by(&stanzas, "4055732d-0d69-497f-9337-c83ab803a15e");
    assert!(
        matches!(&events[..], [LegEvent::Ringing, LegEvent::Answered(_)]),
        "{events:?}"
    );
}

#[test]
fn gajim_without_encryption_is_refused_and_can_be_let_in() {
    let mut gw = gateway();
    gw.hear_element(&fixture(GAJIM_INITIATE, USER, FULL));
    assert_eq!(
        gw.said(),
        ["result", "set session-terminate security-error"]
    );
    assert!(gw.events().is_empty());

    let mut gw = gateway();
    gw.jingle =
        Jingle::new(domain(), TokenMaker::new([4; 32])).with_protection(Protection::Optional);
    gw.hear_element(&fixture(GAJIM_INITIATE, USER, FULL));
    let events = gw.events();
    let [
        LegEvent::Offered {
            offer: Offering::Described(offer),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    let Transport::Ice(ice) = &offer.streams[0].transport else {
        unreachable!()
    };
    assert_eq!(
        ice.candidates.len(),
        2,
        "tcp and link-local ones are left out"
    );
    assert!(!ice.rtcp_mux);
    assert_eq!(offer.streams[0].codecs[0].name, "OPUS");
}
