//! One function per fuzz target: bytes in, a panic if something is wrong.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use minidom::Element;
use offhook::description::{Stream, Transport};
use offhook::sip::sdp::{self, SdpOrigin};
use offhook::sip::uri::Uri;
use offhook::sip::wire::{Framed, Message, Name, StreamFramer};

use crate::world::{World, client, phone, scenario};

#[path = "media.rs"]
mod media;
#[path = "mix.rs"]
mod mix;

pub use media::{rtp, stun};
pub use mix::mix;

/// A target.
pub type Body = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Body); 8] = [
    ("stanza", stanza),
    ("mix", mix),
    ("sip_message", sip_message),
    ("sip_stream", sip_stream),
    ("sdp", sdp),
    ("rtp", rtp),
    ("stun", stun),
    ("world", world),
];

/// A gateway with a phone that answers and hangs up, and a client that answers.
fn lenient_world() -> World {
    let plan = phone::Plan::Answer {
        after: Duration::from_secs(1),
        hangup_after: Some(Duration::from_secs(5)),
    };
    let mut world = World::new(1, plan);
    world.callee(client::Plan::Answer {
        after: Duration::from_secs(1),
        hangup_after: Some(Duration::from_secs(5)),
    });
    world.noise = Some(Box::new(|_| {}));
    world
}

/// Stanzas, one after the other, as the XMPP server could bring them.
pub fn stanza(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let stream = format!("<stream xmlns='jabber:component:accept'>{text}</stream>");
    let Ok(stream) = stream.parse::<Element>() else {
        return;
    };
    let mut world = lenient_world();
    for (n, stanza) in stream.children().enumerate() {
        world.hears_stanza(Duration::from_millis(300 * n as u64), stanza.clone());
    }
    world.run();
    world.assert_gateway_is_quiet();
}

/// One datagram, which comes twice.
pub fn sip_message(bytes: &[u8]) {
    match Message::parse_datagram(bytes) {
        Ok(message) => read_everything(&message),
        Err(error) => {
            error.answer().map(|answer| answer.to_bytes());
        }
    }
    let mut world = lenient_world();
    for at in [0, 700] {
        world.hears_datagram(Duration::from_millis(at), bytes.to_vec());
    }
    world.run();
    world.assert_gateway_is_quiet();
}

fn read_everything(message: &Message) {
    let written = message.to_bytes();
    let again = Message::parse_datagram(&written).expect("we can read what we write");
    assert_eq!(again.to_bytes(), written);
    for via in message.vias() {
        let _ = (via.branch(), via.rport(), via.reply_address(5060));
    }
    for address in message.addresses(Name::Contact) {
        let _ = (address.display_name(), address.tag(), address.uri());
    }
    for address in message.from().into_iter().chain(message.to()) {
        if let Ok(uri) = address.uri() {
            // A URI is shown redacted, and told whole.
            let again = Uri::parse(uri.as_str()).expect("we can read what we keep");
            assert_eq!(again.as_str(), uri.as_str());
        }
    }
    let _ = (message.cseq(), message.rack(), message.session_expires());
    let _ = (message.replaces(), message.content_type());
    let _ = message.reasons().count();
    if let Some(body) = sdp::of(message) {
        sdp(body);
    }
}

/// A stream, cut into pieces of the first byte's length: the pieces must not matter.
pub fn sip_stream(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let framed = |piece: usize| {
        let mut framer = StreamFramer::default();
        let mut all: Vec<Framed> = Vec::new();
        for piece in stream.chunks(piece.max(1)) {
            framer.push(piece);
            all.extend(std::iter::from_fn(|| framer.next()));
        }
        all
    };
    let whole = framed(stream.len());
    assert_eq!(framed(usize::from(*piece)), whole);
    for one in whole {
        match one {
            Framed::Message(message) => read_everything(&message),
            Framed::Refused(error) | Framed::Broken(error) => {
                error.answer().map(|answer| answer.to_bytes());
            }
            Framed::Ping => {}
        }
    }
}

/// A session description: what it means is not lost by writing it.
pub fn sdp(bytes: &[u8]) {
    let origin = SdpOrigin {
        session_id: 1,
        version: 1,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    };
    let Ok(description) = sdp::parse(bytes) else {
        return;
    };
    let written = sdp::write(&description, &origin);
    let again = sdp::parse(written.as_bytes()).expect("we can read what we write");
    assert_eq!(again.streams.len(), description.streams.len());
    for (before, after) in description.streams.iter().zip(&again.streams) {
        // A stream without codecs is written with the format that a rejected stream must have.
        let same = before.codecs.is_empty() || before.rejected && after.rejected;
        assert!(
            same || before.codecs.len() == after.codecs.len(),
            "{written}"
        );
        let addresses = |stream: &Stream| match &stream.transport {
            Transport::Rtp(rtp) => (rtp.address, rtp.rtcp, rtp.rtcp_mux),
            Transport::Ice(_) => (None, None, false),
        };
        let known = addresses(before).0.is_some();
        assert!(
            same || !known || addresses(before) == addresses(after),
            "{written}"
        );
        assert!(same || before.direction == after.direction, "{written}");
    }
    // What may be lost is lost the first time.
    let rewritten = sdp::write(&again, &origin);
    let last = sdp::parse(rewritten.as_bytes()).expect("we can read what we write");
    assert_eq!(sdp::write(&last, &origin), rewritten);
    let answer = sdp::write_answer(&description, &origin, bytes);
    let lines = |text: &str| text.lines().filter(|l| l.starts_with("m=")).count();
    sdp::parse(answer.as_bytes()).expect("we can read our answers");
    assert!(lines(&answer) >= description.streams.len());
}

/// A whole world by the bytes' dice; what is left of them changes datagrams under way.
pub fn world(bytes: &[u8]) {
    let (dice, noise) = bytes.split_at(bytes.len().min(160));
    let mut dice = dice.iter().copied();
    let mut throw = |below: u64| {
        let mut number = 0;
        for _ in 0..if below > 256 { 2 } else { 1 } {
            number = number << 8 | u64::from(dice.next().unwrap_or(0));
        }
        number % below.max(1)
    };
    let scenario::Scenario {
        mut world,
        calls: _,
    } = scenario::random(1, &mut throw);
    let noise: Vec<u8> = noise.into();
    let mut noise = noise.into_iter();
    world.noise = Some(Box::new(move |datagram| spoil(datagram, &mut noise)));
    world.run();
    world.assert_gateway_is_quiet();
}

/// A third of the datagrams is changed in one place, as long as there are bytes.
fn spoil(datagram: &mut Vec<u8>, noise: &mut impl Iterator<Item = u8>) {
    let Some(kind) = noise.next().filter(|kind| kind % 3 == 0) else {
        return;
    };
    let mut next = || usize::from(noise.next().unwrap_or(0));
    let at = (next() << 8 | next()) % datagram.len().max(1);
    match kind / 3 % 4 {
        0 => datagram[at] = next() as u8,
        1 => datagram.truncate(at),
        2 => {
            let end = (at + 1 + next() % 64).min(datagram.len());
            datagram.drain(at..end);
        }
        _ => {
            let end = (at + 1 + next()).min(datagram.len());
            let copy = datagram[at..end].to_vec();
            datagram.splice(at..at, copy);
        }
    }
}
