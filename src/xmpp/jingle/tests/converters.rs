//! Descriptions survive the way through XML.

use super::super::{content, content::Side};
use super::*;
use crate::description::Crypto;

#[test]
fn what_is_described_is_read_back_the_same() {
    let mut tokens = TokenMaker::new([9; 32]);
    for round in 0..2_000 {
        let description = generate(&mut tokens);
        for side in [Side::Initiator, Side::Responder] {
            let written = content::write(&description, side, &mut 0).unwrap();
            let jingle = element("jingle", NS_JINGLE).children(written).build();
            let text = String::from(&jingle);
            let again: Element = text.parse().unwrap();
            assert_eq!(
                content::read(&again, side).unwrap(),
                description,
                "{round}: {text}"
            );
        }
    }
}

/// Any description that Jingle can say: see the head of `content.rs` for what it cannot.
fn generate(t: &mut TokenMaker) -> Description {
    let streams = 1 + t.below(3);
    Description {
        streams: (0..streams).map(|i| stream(t, i == 0)).collect(),
        bundle: t.below(2) == 0,
    }
}

fn stream(t: &mut TokenMaker, is_first: bool) -> Stream {
    let codecs = 1 + t.below(6);
    let name = t.token(8);
    let media = match is_first || t.below(2) == 0 {
        true => Media::Audio,
        false => Media::Video,
    };
    Stream {
        name,
        media,
        codecs: (0..codecs)
            .map(|_| codec(t, media == Media::Video))
            .collect(),
        direction: [Direction::Both, Direction::Send, Direction::Receive][t.below(3) as usize],
        ptime_ms: (t.below(2) == 0).then_some(20),
        maxptime_ms: (t.below(2) == 0).then_some(120),
        transport: Transport::Ice(IceTransport {
            ufrag: t.token(4),
            pwd: t.token(22),
            candidates: (0..t.below(5)).map(|_| any_candidate(t)).collect(),
            rtcp_mux: t.below(2) == 0,
            fingerprint: (t.below(4) > 0).then(|| Fingerprint {
                hash: "sha-256".into(),
                value: (0..32).map(|_| t.below(256) as u8).collect(),
                setup: [Setup::Active, Setup::Passive, Setup::Actpass][t.below(3) as usize],
            }),
            sdes: (0..t.below(3))
                .map(|tag| Crypto {
                    tag: tag as u32,
                    suite: "AES_CM_128_HMAC_SHA1_80".into(),
                    key: format!("inline:{}", t.token(40)),
                })
                .collect(),
        }),
        rejected: false,
    }
}

fn codec(t: &mut TokenMaker, pictures: bool) -> Codec {
    let parameter = |t: &mut TokenMaker| {
        (
            t.token(5),
            ["", "1", "a;b <&> 'c'"][t.below(3) as usize].to_owned(),
        )
    };
    Codec {
        payload_type: t.below(128) as u8,
        name: t.token(6),
        clock_hz: 1 + t.below(192_000) as u32,
        channels: 1 + t.below(2) as u8,
        parameters: (0..t.below(3)).map(|_| parameter(t)).collect(),
        feedback: (0..t.below(3) * u64::from(pictures))
            .map(|_| parameter(t))
            .collect(),
    }
}

fn any_candidate(t: &mut TokenMaker) -> Candidate {
    let port = |t: &mut TokenMaker| 1 + t.below(65_535) as u16;
    let address = match t.below(2) {
        0 => SocketAddr::from(([192, 0, 2, t.below(256) as u8], port(t))),
        _ => SocketAddr::from((
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, t.below(9_999) as u16],
            port(t),
        )),
    };
    let kind = [
        CandidateKind::Host,
        CandidateKind::PeerReflexive,
        CandidateKind::ServerReflexive,
        CandidateKind::Relayed,
    ][t.below(4) as usize];
    Candidate {
        foundation: t.below(1 << 32).to_string(),
        component: 1 + t.below(2) as u8,
        address,
        priority: t.below(1 << 31) as u32,
        kind,
        related: (kind != CandidateKind::Host).then(|| SocketAddr::from(([10, 0, 0, 1], port(t)))),
        generation: t.below(3) as u32,
    }
}

#[test]
fn bounds_hold_in_what_is_read() {
    let one = content("0", "audio", "actpass", true);
    let many = |inner: String| -> Element {
        format!("<jingle xmlns='{NS_JINGLE}'>{inner}</jingle>")
            .parse()
            .unwrap()
    };
    let contents =
        (0..=content::MAX_CONTENTS).map(|i| one.replace("name='0'", &format!("name='{i}'")));
    assert!(content::read(&many(contents.collect()), Side::Initiator).is_err());
    assert!(content::read(&many(one.repeat(2)), Side::Initiator).is_err());
    let payload = "<payload-type id='8' name='PCMA' clockrate='8000'/>";
    let codecs = one.replace(payload, &payload.repeat(500));
    let read = content::read(&many(codecs), Side::Initiator).unwrap();
    assert_eq!(read.streams[0].codecs.len(), content::MAX_CODECS);
    let parameter = "<parameter name='useinbandfec' value='1'/>";
    let parameters = one.replace(parameter, &parameter.repeat(500));
    let read = content::read(&many(parameters), Side::Initiator).unwrap();
    assert_eq!(
        read.streams[0].codecs[0].parameters.len(),
        content::MAX_PARAMETERS
    );
}

#[test]
fn static_payload_types_need_neither_name_nor_clock() {
    let offer = content("0", "audio", "actpass", true).replace(
        "<payload-type id='8' name='PCMA' clockrate='8000'/>",
        "<payload-type id='0'/><payload-type id='99'/>",
    );
    let jingle = format!("<jingle xmlns='{NS_JINGLE}'>{offer}</jingle>")
        .parse()
        .unwrap();
    let read = content::read(&jingle, Side::Initiator).unwrap();
    let codecs = &read.streams[0].codecs;
    assert!(codecs.contains(&Codec::new(0, "PCMU", 8_000, 1)));
    assert!(codecs.iter().all(|c| c.payload_type != 99));
}
