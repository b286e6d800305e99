//! Debian's rtpengine in user space, with one thread, asked over its NG protocol.

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::gateway::free_port;
use crate::sound::{Ends, Stream, crypto, user_key};
use crate::{Failure, machine};

/// The running daemon; ends when dropped.
pub struct Rtpengine {
    child: Child,
    control: UdpSocket,
    asked: Cell<u32>,
}

impl Rtpengine {
    /// Starts it on free ports of its own.
    pub fn start() -> Result<Self, Failure> {
        let ng = free_port()?;
        let child = machine::on_last_processor(Path::new("rtpengine"))
            .args([
                "--foreground",
                "--table=-1",
                "--no-fallback",
                "--num-threads=1",
            ])
            .args([
                "--config-file=none",
                "--interface=127.0.0.1",
                "--log-level=3",
                "--log-stderr",
            ])
            .args(["--port-min=41000", "--port-max=45999"])
            .arg(format!("--listen-ng={ng}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let control = UdpSocket::bind("127.0.0.1:0")?;
        control.connect(ng)?;
        control.set_read_timeout(Some(Duration::from_secs(1)))?;
        let rtpengine = Self {
            child,
            control,
            asked: Cell::new(1),
        };
        for _ in 0..50 {
            match rtpengine.ask("d7:command4:pinge") {
                Ok(answer) if answer.contains("pong") => return Ok(rtpengine),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Err("rtpengine does not start".into())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sets calls up: SRTP by SDES on one side, RTP on the other.
    pub fn streams(&self, count: usize, ends: &Ends) -> Result<Vec<Stream>, Failure> {
        (0..count).map(|n| self.stream(n, ends)).collect()
    }

    fn stream(&self, n: usize, ends: &Ends) -> Result<Stream, Failure> {
        let call = text(&format!("call{n}"));
        let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {}\r\n", user_key().key);
        let offer = sdp(ends.protected.local_addr()?, "RTP/SAVP", &key);
        let offered = self.ask(&format!(
            "d3:ICE6:remove7:call-id{call}7:command5:offer8:from-tag1:a3:sdp{}\
             18:transport-protocol7:RTP/AVPe",
            text(&offer)
        ))?;
        let answer = sdp(ends.plain.local_addr()?, "RTP/AVP", "");
        let answered = self.ask(&format!(
            "d3:ICE6:remove7:call-id{call}7:command6:answer8:from-tag1:a3:sdp{}6:to-tag1:be",
            text(&answer)
        ))?;
        let key = answered
            .split_once("inline:")
            .and_then(|(_, rest)| rest.split(|c: char| c.is_whitespace() || c == '|').next())
            .ok_or_else(|| format!("no key of rtpengine: {answered}"))?;
        Ok(Stream {
            protected: port(&answered)?,
            plain: port(&offered)?,
            key: crypto(&format!("inline:{key}")),
        })
    }

    fn ask(&self, question: &str) -> Result<String, Failure> {
        let cookie = self.asked.get();
        self.asked.set(cookie + 1);
        let question = format!("{cookie} {question}");
        self.control.send(question.as_bytes())?;
        let mut buffer = [0; 65_535];
        loop {
            let length = self.control.recv(&mut buffer)?;
            let answer = String::from_utf8_lossy(&buffer[..length]);
            // Others are late answers to what was asked while it started.
            if let Some(answer) = answer.strip_prefix(&format!("{cookie} ")) {
                return Ok(answer.to_owned());
            }
        }
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A string in bencode.
fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn sdp(address: SocketAddr, profile: &str, more: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {} {profile} 0\r\na=rtpmap:0 PCMU/8000\r\n{more}a=sendrecv\r\n",
        address.port()
    )
}

fn port(answer: &str) -> Result<SocketAddr, Failure> {
    let port = answer
        .split_once("m=audio ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| format!("no port of rtpengine: {answer}"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
