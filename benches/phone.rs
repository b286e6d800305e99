//! The telephone network: a UDP phone that rings and answers everything in the same breath.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use crate::Failure;

/// What every dialled number starts with; seven digits say which call it is.
pub const PREFIX: &str = "+1555";

/// The phone.
pub struct Phone {
    /// Its SIP socket, not blocking.
    pub socket: UdpSocket,
    /// Where it says it receives sound.
    pub sound: SocketAddr,
    /// Where the gateway receives sound, by call.
    pub gateway_sound: HashMap<usize, SocketAddr>,
    /// Requests that came again: the gateway did not hear the answer in time.
    pub repeated: u64,
    buffer: Vec<u8>,
}

impl Phone {
    /// Opens its socket.
    pub fn new(sound: SocketAddr) -> Result<Self, Failure> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        Ok(Self {
            socket: socket.into(),
            sound,
            gateway_sound: HashMap::new(),
            repeated: 0,
            buffer: vec![0; 65_535],
        })
    }

    /// Answers what has come.
    pub fn answer(&mut self) -> Result<(), Failure> {
        let own = self.socket.local_addr()?;
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let text = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
            if text.starts_with("INVITE ") {
                let call = call_of(&text).ok_or("an INVITE to nobody")?;
                let sound = sound_of(&text).ok_or("an INVITE without sound")?;
                if self.gateway_sound.insert(call, sound).is_some() {
                    self.repeated += 1;
                }
            }
            for response in respond(&text, own, self.sound.port()) {
                self.socket.send_to(&response, from)?;
            }
        }
    }
}

/// What the phone at `own` says to a message; its sound is received at `port`.
pub fn respond(text: &str, own: SocketAddr, port: u16) -> Vec<Vec<u8>> {
    match text.split(' ').next().unwrap_or_default() {
        "INVITE" => {
            let body = format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
            );
            vec![
                reply(text, own, "180 Ringing", ""),
                reply(text, own, "200 OK", &body),
            ]
        }
        "ACK" | "SIP/2.0" => Vec::new(),
        _ => vec![reply(text, own, "200 OK", "")],
    }
}

fn call_of(invite: &str) -> Option<usize> {
    let at = invite.find(PREFIX)? + PREFIX.len();
    invite.get(at..at + 7)?.parse().ok()
}

fn sound_of(invite: &str) -> Option<SocketAddr> {
    let line = invite.lines().find(|line| line.starts_with("m=audio "))?;
    let port = line.split(' ').nth(1)?.parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn reply(request: &str, own: SocketAddr, status: &str, body: &str) -> Vec<u8> {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n").take_while(|line| !line.is_empty()) {
        let Some((name, _)) = line.split_once(':') else {
            continue;
        };
        match name {
            "Via" | "From" | "Call-ID" | "CSeq" => {
                out.push_str(line);
                out.push_str("\r\n");
            }
            "To" => {
                out.push_str(line);
                out.push_str(if line.contains("tag=") {
                    ""
                } else {
                    ";tag=phone"
                });
                out.push_str("\r\n");
            }
            _ => {}
        }
    }
    out.push_str(&format!("Contact: <sip:phone@{own}>\r\n"));
    if !body.is_empty() {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    out.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    out.into_bytes()
}
