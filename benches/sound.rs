//! What flows in the parts with sound: its codec, its packets, its keys, and the sockets at both ends.

use std::net::{SocketAddr, UdpSocket};

use offhook::border::Format;
use offhook::description::Crypto;

use crate::Failure;

/// One stream: both directions of a call.
pub struct Stream {
    /// Where the relay takes SRTP.
    pub protected: SocketAddr,
    /// Where it takes RTP.
    pub plain: SocketAddr,
    /// What it protects its packets with.
    pub key: Crypto,
}

/// The generator's sockets.
pub struct Ends {
    /// Of the user, who speaks SRTP.
    pub protected: UdpSocket,
    /// Of the phone.
    pub plain: UdpSocket,
}

impl Ends {
    /// Both on free ports of loopback.
    pub fn new() -> Result<Self, Failure> {
        let open = || -> Result<UdpSocket, Failure> {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.set_recv_buffer_size(4 << 20)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
            Ok(socket.into())
        };
        Ok(Self {
            protected: open()?,
            plain: open()?,
        })
    }
}

/// The key of the user.
pub fn user_key() -> Crypto {
    crypto("inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj")
}

/// AES-CM with an 80 bit tag, as everybody has it.
pub fn crypto(key: &str) -> Crypto {
    Crypto {
        tag: 1,
        suite: "AES_CM_128_HMAC_SHA1_80".to_owned(),
        key: key.to_owned(),
    }
}

/// The only codec of these calls.
pub fn pcmu() -> Format {
    Format {
        encoding: "PCMU".into(),
        clock_hz: 8000,
        send_payload_type: 0,
        receive_payload_type: 0,
        receive_also: Vec::new(),
        send_digits: None,
        receive_digits: Vec::new(),
        send_noise: None,
        receive_noise: None,
        ptime_ms: 20,
        fec: false,
    }
}

/// An RTP packet of PCMU.
pub fn rtp(frame: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&frame.to_be_bytes());
    packet.extend_from_slice(&(u32::from(frame) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}
