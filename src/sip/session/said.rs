//! What the sides have described: our SDP with its version, and the peer's out of a body.

use std::net::{IpAddr, Ipv4Addr};

use crate::description::{Description, Direction, Security, Setup, Transport};
use crate::sip::sdp::{self, SdpError, SdpOrigin};
use crate::sip::wire::Message;

/// What we described last in a call.
#[derive(Debug)]
pub struct Said {
    id: u64,
    version: u64,
    description: Option<Box<Description>>,
    body: Vec<u8>,
}

impl Said {
    /// Nothing yet; `id` names the session in `o=`.
    pub fn new(id: u64) -> Self {
        Self {
            // RFC 3264 §5: must fit 63 bits.
            id: id >> 2,
            version: 0,
            description: None,
            body: Vec::new(),
        }
    }

    fn origin(&mut self, description: &Description) -> SdpOrigin {
        if self.description.as_deref() != Some(description) {
            // RFC 3264 §8: one more with each change.
            self.version += 1;
            self.description = Some(Box::new(description.clone()));
        }
        let address = description
            .streams
            .iter()
            .find_map(|stream| match &stream.transport {
                Transport::Rtp(rtp) => rtp.address.map(|address| address.ip()),
                Transport::Ice(_) => None,
            });
        SdpOrigin {
            session_id: self.id,
            version: self.version,
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }

    /// Makes an offer.
    pub fn offer(&mut self, description: &Description) -> Vec<u8> {
        let origin = self.origin(description);
        self.body = sdp::write(description, &origin).into();
        self.body.clone()
    }

    /// Answers the offer in `offer`.
    pub fn answer(&mut self, description: &Description, offer: &[u8]) -> Vec<u8> {
        let origin = self.origin(description);
        self.body = sdp::write_answer(description, &origin, offer).into();
        self.body.clone()
    }

    /// Goes back to what was said before an offer that was refused.
    pub fn restore(&mut self, description: &Description) {
        self.offer(description);
    }

    /// The same again; empty if nothing was said.
    pub fn again(&self) -> Vec<u8> {
        self.body.clone()
    }

    /// What was said.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_deref()
    }
}

/// `description` as an offer of our own: what we want, not what a hold of the peer has made of it,
/// since the peer could answer nothing but that hold again (RFC 6337 §5.3).
pub fn wanted(description: &Description, holds: bool) -> Description {
    let mut offer = description.clone();
    for stream in offer.streams.iter_mut().filter(|stream| !stream.rejected) {
        stream.direction = match holds {
            true => Direction::Send,
            false => Direction::Both,
        };
        if let Transport::Rtp(rtp) = &mut stream.transport
            && let Security::Dtls(certificate) = &mut rtp.security
        {
            // RFC 5763 §5. Whoever has a role keeps it (RFC 8842 §5.5).
            certificate.setup = Setup::Actpass;
        }
    }
    offer
}

/// `answer` of a side that holds: it wants nothing (RFC 3264 §6.1).
pub fn held(mut answer: Description) -> Description {
    for stream in &mut answer.streams {
        stream.direction = match stream.direction {
            Direction::Both | Direction::Send => Direction::Send,
            Direction::Receive | Direction::Inactive => Direction::Inactive,
        };
    }
    answer
}

/// What a message describes.
#[derive(Debug)]
pub enum Heard {
    /// It has no body.
    Nothing,
    /// An offer or an answer.
    Description(Description),
    /// Something that cannot be used; the status says why.
    Unreadable(u16),
}

/// Reads the description of a message.
pub fn heard(message: &Message) -> Heard {
    if message.body.is_empty() {
        return Heard::Nothing;
    }
    let Some(body) = sdp::of(message) else {
        return Heard::Unreadable(415);
    };
    match sdp::parse(body) {
        Ok(description) => Heard::Description(description),
        Err(SdpError::NoStreams) => Heard::Unreadable(488),
        Err(SdpError::Line(_) | SdpError::Media(_) | SdpError::Version | SdpError::TooMany(_)) => {
            Heard::Unreadable(400)
        }
    }
}

/// The SDP that a message brought, for [`Said::answer`].
pub fn offered(message: &Message) -> Vec<u8> {
    sdp::of(message).map(<[u8]>::to_vec).unwrap_or_default()
}
