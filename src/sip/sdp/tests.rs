use super::*;
use crate::description::{Direction, IceTransport};
use crate::id::TokenMaker;
use crate::sip::wire::{Message, Method, Name};

const ORIGIN: SdpOrigin = SdpOrigin {
    session_id: 7,
    version: 1,
    address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
};

const PHONE: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\n\
t=0 0\r\nm=audio 4000 RTP/AVP 8 0 18 101 99\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\na=fmtp:18 annexb=no\r\na=ptime:20\r\na=sendonly\r\n";

fn rtp(stream: &Stream) -> &RtpTransport {
    match &stream.transport {
        Transport::Rtp(transport) => transport,
        Transport::Ice(_) => panic!("no RTP transport"),
    }
}

#[test]
fn a_phones_offer_is_read() {
    let description = parse(PHONE.as_bytes()).unwrap();
    let audio = description.audio().unwrap();
    let codecs: Vec<_> = audio
        .codecs
        .iter()
        .map(|c| (c.payload_type, &*c.name))
        .collect();
    let names = [
        (8, "PCMA"),
        (0, "PCMU"),
        (18, "G729"),
        (101, "telephone-event"),
    ];
    assert_eq!(codecs, names);
    assert_eq!(audio.codecs[2].parameters, [("annexb".into(), "no".into())]);
    assert_eq!(audio.codecs[3].parameters, [("".into(), "0-16".into())]);
    assert_eq!(audio.direction, Direction::Send);
    assert_eq!(audio.ptime_ms, Some(20));
    assert_eq!(rtp(audio).address, "198.51.100.7:4000".parse().ok());
}

#[test]
fn bare_bones_are_enough() {
    let text = "v=0\nc=IN IP6 2001:db8::1\na=inactive\nm=audio 4000 RTP/AVP 0\n";
    let description = parse(text.as_bytes()).unwrap();
    assert_eq!(description.streams[0].direction, Direction::Inactive);
    assert_eq!(
        rtp(&description.streams[0]).address,
        "[2001:db8::1]:4000".parse().ok()
    );
    let named = parse(b"m=audio 4000 RTP/AVP 0\nc=IN IP4 media.example\n").unwrap();
    assert_eq!(rtp(&named.streams[0]).address, None);
    assert!(!named.streams[0].rejected);
    let held = PHONE.replace("IN IP4 198.51.100.7\r\nt", "IN IP4 0.0.0.0\r\nt");
    let held = parse(held.as_bytes()).unwrap();
    assert!(rtp(&held.streams[0]).address.unwrap().ip().is_unspecified());
}

#[test]
fn what_is_no_rtp_is_kept_in_place_and_refused_as_it_was_offered() {
    let offer = format!(
        "{PHONE}m=image 4002 udptl t38\r\na=T38FaxVersion:0\r\nm=video 0 RTP/AVP 31\r\n\
         m=audio 5000 TCP/RTP/AVP 0\r\nm=text 11000 RTP/AVP 98\r\n"
    );
    let description = parse(offer.as_bytes()).unwrap();
    let kinds: Vec<_> = description
        .streams
        .iter()
        .map(|s| (s.media, s.rejected))
        .collect();
    assert_eq!(
        kinds,
        [
            (Media::Audio, false),
            (Media::Other, true),
            (Media::Video, true),
            (Media::Audio, true),
            (Media::Other, true)
        ]
    );
    let mut ours = description;
    ours.streams.truncate(4);
    let answer = write_answer(&ours, &ORIGIN, offer.as_bytes());
    let lines: Vec<_> = answer.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=audio 4000 RTP/AVP 8 0 18 101",
            "m=image 0 udptl t38",
            "m=video 0 RTP/AVP 31",
            "m=audio 0 TCP/RTP/AVP 0",
            "m=text 0 RTP/AVP 98"
        ]
    );
    let odd = b"m=audio 4000 RTP/AVP 0\nm=image 4002 udptl  t38 \x07 t39\n";
    let answer = write_answer(&parse(odd).unwrap(), &ORIGIN, odd);
    assert!(answer.contains("m=image 0 udptl t38 t39\r\n"), "{answer}");
}

#[test]
fn what_a_receiver_of_pictures_may_ask_for_is_read_for_its_payload_type_and_written_on_any_profile()
{
    let offer = format!(
        "{PHONE}m=video 5000 RTP/AVPF 97 34\r\na=rtpmap:97 H264/90000\r\n\
         a=fmtp:97 profile-level-id=42801F;packetization-mode=1\r\na=rtcp-fb:* ccm fir\r\n\
         a=rtcp-fb:97 nack  pli\r\na=rtcp-fb:34 nack\r\na=rtcp-fb:97 \r\na=rtcp-fb:97 n;k\r\n"
    );
    let mut description = parse(offer.as_bytes()).unwrap();
    let video = description.video().unwrap().clone();
    let said = |codec: &Codec| -> Vec<String> {
        let said = codec.feedback.iter();
        said.map(|(kind, subtype)| format!("{kind}/{subtype}"))
            .collect()
    };
    assert_eq!(said(&video.codecs[0]), ["ccm/fir", "nack/pli"]);
    assert_eq!(said(&video.codecs[1]), ["ccm/fir", "nack/"]);
    description.streams[1].codecs.truncate(1);
    let answer = write_answer(&description, &ORIGIN, offer.as_bytes());
    assert!(answer.contains("m=video 5000 RTP/AVPF 97\r\n"), "{answer}");
    let ours = write(&description, &ORIGIN);
    assert!(ours.contains("m=video 5000 RTP/AVP 97\r\n"), "{ours}");
    assert!(
        ours.contains("a=rtcp-fb:97 ccm fir\r\na=rtcp-fb:97 nack pli\r\n"),
        "{ours}"
    );
}

#[test]
fn protection_is_what_the_profile_and_the_keys_say() {
    let security = |profile: &str, lines: &str| {
        let text = format!("v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 {profile} 0\n{lines}");
        let stream = parse(text.as_bytes()).unwrap().streams.remove(0);
        let transport = rtp(&stream);
        assert_eq!(
            transport.opportunistic,
            profile == "RTP/AVP" && transport.security != Security::None
        );
        (!stream.rejected).then(|| transport.security.clone())
    };
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20 -X WSH=64\n\
                  a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:abc UNENCRYPTED_SRTP\n";
    let Some(Security::Sdes(keys)) = security("RTP/SAVP", crypto) else {
        panic!("no keys");
    };
    assert_eq!(
        (keys.len(), keys[0].tag, &*keys[0].key),
        (1, 1, "inline:abc|2^20")
    );
    // RFC 8643: an unprotected profile may bring keys as well.
    assert_eq!(security("RTP/AVP", crypto), Some(Security::Sdes(keys)));
    assert_eq!(security("RTP/AVP", ""), Some(Security::None));
    assert_eq!(security("RTP/SAVP", ""), None);
    // What could not be written again is no key.
    for line in ["1 SUITE ключ", "1 S\u{fffd} inline:abc", "1 S@ inline:abc"] {
        let line = format!("a=crypto:{line}\n");
        assert_eq!(security("RTP/SAVP", &line), None, "{line}");
    }
    let print = "a=fingerprint:sha\u{7} 01:02\n";
    assert_eq!(security("UDP/TLS/RTP/SAVP", print), None);
    assert_eq!(security("UDP/TLS/RTP/SAVPF", crypto), None);
    let prints = "a=fingerprint:sha-1 AA:BB\na=fingerprint:SHA-256 01:02\na=setup:actpass\n";
    let Some(Security::Dtls(print)) = security("UDP/TLS/RTP/SAVPF", prints) else {
        panic!("no fingerprint");
    };
    assert_eq!((&*print.hash, &*print.value), ("sha-256", &[1, 2][..]));
    assert_eq!(print.setup, Setup::Actpass);
}

#[test]
fn an_answer_repeats_the_profile_of_the_offer() {
    let offer = PHONE.replace("RTP/AVP", "RTP/AVPF");
    let description = parse(offer.as_bytes()).unwrap();
    assert!(write_answer(&description, &ORIGIN, offer.as_bytes()).contains("RTP/AVPF 8 0"));
}

#[test]
fn bounds_hold_and_rubbish_is_refused() {
    let many = |line: &str, count: usize| format!("{PHONE}{}", line.repeat(count));
    let error = |text: &str| parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        error(&many("m=audio 1 RTP/AVP 0\n", 16)),
        SdpError::TooMany("streams")
    );
    assert_eq!(error(&many("a=x\n", 400)), SdpError::TooMany("attributes"));
    assert_eq!(
        error(&many("a=xxxxxxxxxxxxxxxx\n", 4000)),
        SdpError::TooMany("bytes")
    );
    let formats: String = (0..128).map(|n| format!(" {n}")).collect();
    let maps: String = (0..128).map(|n| format!("a=rtpmap:{n} X/1\n")).collect();
    let text = format!("m=audio 1 RTP/AVP{formats}\n{maps}");
    assert_eq!(error(&text), SdpError::TooMany("codecs"));
    assert_eq!(error(""), SdpError::NoStreams);
    assert_eq!(error("v=1\nm=audio 1 RTP/AVP 0\n"), SdpError::Version);
    assert_eq!(error("hello\n"), SdpError::Line(1));
    assert_eq!(error("v=0\nm=audio x RTP/AVP 0\n"), SdpError::Media(2));
    assert_eq!(error("m=audio 65536 RTP/AVP 0\n"), SdpError::Media(1));
    assert_eq!(error("m=au\u{c}dio 4000 RTP/AVP 0\n"), SdpError::Media(1));
    assert_eq!(error("m=audio 4000 RTP/\u{7}/AVP 0\n"), SdpError::Media(1));
}

#[test]
fn nothing_from_a_description_can_start_another_line() {
    let mut description = parse(PHONE.as_bytes()).unwrap();
    let stream = &mut description.streams[0];
    stream.name = "a\r\nm=x".into();
    stream.codecs[0].name = "P\r\na=b".into();
    stream.codecs[0].parameters = vec![("x\r\n".into(), "\ny;z".into())];
    let text = write(&description, &ORIGIN);
    assert_eq!(text.lines().filter(|l| l.starts_with("m=")).count(), 1);
    assert!(text.lines().all(|l| l.as_bytes()[1] == b'='));
    parse(text.as_bytes()).unwrap();
}

#[test]
fn an_ice_stream_is_out_of_reach() {
    let mut description = parse(PHONE.as_bytes()).unwrap();
    description.streams[0].transport = Transport::Ice(IceTransport {
        ufrag: "u".into(),
        pwd: "p".into(),
        candidates: Vec::new(),
        rtcp_mux: true,
        fingerprint: None,
        sdes: Vec::new(),
    });
    assert!(write(&description, &ORIGIN).contains("m=audio 0 "));
}

fn pick<T: Copy>(dice: &mut TokenMaker, from: &[T]) -> T {
    from[dice.below(from.len() as u64) as usize]
}

fn generated_stream(dice: &mut TokenMaker, index: usize, named: bool) -> Stream {
    let rejected = dice.below(6) == 0;
    let media = pick(dice, &[Media::Audio, Media::Audio, Media::Video]);
    let mut codecs = Vec::new();
    for _ in 0..=dice.below(6) {
        let payload_type = dice.below(128) as u8;
        if codecs
            .iter()
            .any(|c: &Codec| c.payload_type == payload_type)
        {
            continue;
        }
        let name = pick(
            dice,
            &["PCMU", "opus", "telephone-event", "G722", "H264", "CN"],
        );
        let clock_hz = pick(dice, &[8000, 16000, 48000, 90000]);
        let mut codec = Codec::new(payload_type, name, clock_hz, pick(dice, &[1, 1, 2]));
        for _ in 0..dice.below(3) {
            let (name, length) = (pick(dice, &["", "a", "useinbandfec"]), dice.below(9) + 1);
            codec
                .parameters
                .push((name.to_owned(), dice.token(length as usize)));
        }
        for _ in 0..dice.below(3) * u64::from(media == Media::Video) {
            let kind = pick(
                dice,
                &[("nack", ""), ("nack", "pli"), ("ccm", "tmmbr smaxpr=120")],
            );
            codec.feedback.push((kind.0.to_owned(), kind.1.to_owned()));
        }
        codecs.push(codec);
    }
    let address = (!rejected).then(|| {
        let ip = pick(
            dice,
            &["192.0.2.1", "198.51.100.3", "0.0.0.0", "2001:db8::5"],
        );
        SocketAddr::new(ip.parse().unwrap(), 1 + dice.below(65535) as u16)
    });
    let rtcp = address
        .filter(|_| dice.below(4) == 0)
        .map(|rtp| SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(7).max(1)));
    let security = match dice.below(3) {
        0 => Security::None,
        1 => Security::Sdes(
            (1..=1 + dice.below(3) as u32)
                .map(|tag| Crypto {
                    tag,
                    suite: "AES_CM_128_HMAC_SHA1_80".into(),
                    key: format!("inline:{}", dice.token(40)),
                })
                .collect(),
        ),
        _ => {
            let mut value = vec![0; 32];
            dice.fill(&mut value);
            Security::Dtls(Fingerprint {
                hash: "sha-256".into(),
                value,
                setup: pick(dice, &[Setup::Active, Setup::Passive, Setup::Actpass]),
            })
        }
    };
    let directions = [
        Direction::Both,
        Direction::Send,
        Direction::Receive,
        Direction::Inactive,
    ];
    Stream {
        name: if named {
            format!("m{index}")
        } else {
            String::new()
        },
        media,
        codecs,
        direction: pick(dice, &directions),
        ptime_ms: pick(dice, &[None, Some(20), Some(60)]),
        maxptime_ms: pick(dice, &[None, Some(150)]),
        transport: Transport::Rtp(RtpTransport {
            address,
            rtcp,
            rtcp_mux: dice.below(2) == 0,
            opportunistic: security != Security::None && dice.below(2) == 0,
            security,
        }),
        rejected,
    }
}

fn generated(dice: &mut TokenMaker) -> Description {
    let bundle = dice.below(3) == 0;
    let named = bundle || dice.below(2) == 0;
    let streams = (0..=dice.below(3) as usize)
        .map(|index| generated_stream(dice, index, named))
        .collect();
    Description { streams, bundle }
}

#[test]
fn a_description_comes_back_from_sdp_as_it_was() {
    let mut dice = TokenMaker::new([12; 32]);
    for _ in 0..5000 {
        let description = generated(&mut dice);
        let text = write(&description, &ORIGIN);
        assert_eq!(parse(text.as_bytes()), Ok(description), "{text}");
    }
}

/// The other parser does not know RTP/SAVP keys and plain RTP/SAVP, so it judges the rest.
#[test]
fn another_parser_reads_what_we_write_and_we_what_it_writes() {
    let mut dice = TokenMaker::new([13; 32]);
    let mut compared = 0;
    for _ in 0..2000 {
        let mut description = generated(&mut dice);
        for stream in &mut description.streams {
            if let Transport::Rtp(transport) = &mut stream.transport {
                transport.security = Security::None;
                transport.opportunistic = false;
            }
            stream.rejected = false;
            if let Transport::Rtp(RtpTransport { address, .. }) = &mut stream.transport {
                address.get_or_insert("192.0.2.1:4000".parse().unwrap());
            }
            // Its fmtp knows names that are registered only.
            for codec in &mut stream.codecs {
                codec.parameters.clear();
            }
        }
        let text = write(&description, &ORIGIN);
        let session =
            webrtc_sdp::parse_sdp(&text, false).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(session.media.len(), description.streams.len());
        let theirs = parse(session.to_string().as_bytes()).unwrap();
        for (ours, theirs) in description.streams.iter().zip(&theirs.streams) {
            assert_eq!(ours.media, theirs.media);
            assert_eq!(ours.codecs, theirs.codecs, "{text}\n{session}");
            assert_eq!(ours.direction, theirs.direction);
            assert_eq!(ours.name, theirs.name);
            assert_eq!(rtp(ours).address, rtp(theirs).address);
            compared += 1;
        }
    }
    assert!(compared > 1000);
}

#[test]
fn sdp_is_found_in_bodies_of_any_shape() {
    let invite = |content_type: &str, body: &str| {
        Message::request(Method::Invite, "sip:a@b").with_body(content_type, body)
    };
    let mixed = "preamble\r\n--x\r\nContent-Type: application/isup\r\n\r\nzzz\r\n--x\r\n\
                 Content-Type: Application/SDP;charset=utf-8\r\n\r\nv=0\r\n--x--\r\n";
    let message = invite("multipart/mixed; boundary=\"x\"", mixed);
    assert_eq!(of(&message), Some(&b"v=0"[..]));
    let nested =
        format!("--y\r\nContent-Type: multipart/alternative;boundary=x\r\n\r\n{mixed}\r\n--y--");
    assert_eq!(
        of(&invite("multipart/mixed;boundary=y", &nested)),
        Some(&b"v=0"[..])
    );
    assert_eq!(of(&invite("application/sdp", "v=0\n")), Some(&b"v=0\n"[..]));
    assert_eq!(of(&invite("multipart/mixed;boundary=z", mixed)), None);
    assert_eq!(of(&invite("multipart/mixed", mixed)), None);
    assert_eq!(of(&invite("text/plain", "v=0")), None);
    let mut bare = invite("application/sdp", "v=0\n");
    bare.headers.remove(Name::ContentType);
    assert_eq!(of(&bare), Some(&b"v=0\n"[..]));
}

#[test]
fn a_codec_whose_name_is_no_token_is_passed_over() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 96 0\r\na=rtpmap:96 \u{7f}\0/48000/2\r\na=rtpmap:0 P U/8000\r\n";
    let description = parse(text.as_bytes()).unwrap();
    let names: Vec<_> = description.streams[0]
        .codecs
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["PCMU"]);
}

#[test]
fn a_bundle_is_one_of_all_streams_in_use() {
    let bundle = |group: &str, last: &str| {
        let text = format!(
            "v=0\r\nc=IN IP4 192.0.2.10\r\na=group:{group}\r\n\
             m=audio 30000 RTP/AVP 0\r\na=mid:a\r\nm=video 30002 RTP/AVP 31\r\na=mid:b\r\n{last}"
        );
        parse(text.as_bytes()).unwrap().bundle
    };
    assert!(bundle("BUNDLE a b", ""));
    assert!(bundle("BUNDLE a b", "m=audio 0 RTP/AVP 0\r\na=mid:c\r\n"));
    assert!(!bundle("BUNDLE a", ""));
    assert!(!bundle("BUNDLE", ""));
    assert!(!bundle("LS a b", ""));
    assert!(!bundle("BUNDLE a b", "m=audio 30004 RTP/AVP 0\r\n"));
}
