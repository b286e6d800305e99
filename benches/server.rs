//! The XMPP server's end of a component stream (XEP-0114), just enough of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Failure;

/// The domain of the contacts.
pub const DOMAIN: &str = "phone.bench";

/// How long the gateway may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The stream, after the handshake, not blocking.
pub struct Link {
    /// The connection.
    pub tcp: TcpStream,
    stanzas: Stanzas,
    unsent: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    /// Waits for the gateway and lets it in.
    pub fn accept(listener: &TcpListener) -> Result<Self, Failure> {
        listener.set_nonblocking(true)?;
        let until = Instant::now() + START_LIMIT;
        let mut tcp = loop {
            match listener.accept() {
                Ok((tcp, _)) => break tcp,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() > until {
                        return Err("the gateway does not come".into());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error.into()),
            }
        };
        tcp.set_nonblocking(false)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(START_LIMIT))?;
        let mut stanzas = Stanzas {
            depth: -1,
            ..Stanzas::default()
        };
        let mut buffer = vec![0; 256 * 1024];
        let mut seen = 0;
        while seen < 2 {
            let length = tcp.read(&mut buffer)?;
            if length == 0 {
                return Err("the gateway closed the stream".into());
            }
            stanzas.push(&buffer[..length]);
            if seen == 0 && stanzas.depth >= 0 {
                seen = 1;
                let header = format!(
                    "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                     xmlns:stream='http://etherx.jabber.org/streams' from='{DOMAIN}' id='bench'>"
                );
                tcp.write_all(header.as_bytes())?;
            }
            if stanzas.next().is_some() {
                seen = 2;
                tcp.write_all(b"<handshake/>")?;
            }
        }
        tcp.set_nonblocking(true)?;
        Ok(Self {
            tcp,
            stanzas,
            unsent: Vec::new(),
            buffer,
        })
    }

    /// Puts a stanza behind the others.
    pub fn send(&mut self, stanza: &str) {
        self.unsent.extend_from_slice(stanza.as_bytes());
    }

    /// Writes what there is, as far as the gateway reads.
    pub fn flush(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            match self.tcp.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// True if something is not written yet.
    pub fn is_behind(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what there is.
    pub fn read(&mut self) -> Result<(), Failure> {
        match self.tcp.read(&mut self.buffer) {
            Ok(0) => Err("the gateway closed the stream".into()),
            Ok(length) => {
                self.stanzas.push(&self.buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next whole stanza.
    pub fn next(&mut self) -> Option<String> {
        self.stanzas.next()
    }
}

/// Cuts a stream into stanzas by counting tags. What it reads was written by a program that
/// escapes `<` and `>` and knows no comments.
#[derive(Default)]
struct Stanzas {
    bytes: Vec<u8>,
    /// Up to where tags are counted.
    seen: usize,
    /// Where the stanza at the front ends, if it is whole.
    ready: std::collections::VecDeque<String>,
    depth: i32,
    start: usize,
}

impl Stanzas {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while let Some(open) = find(&self.bytes[self.seen..], b'<').map(|at| at + self.seen) {
            let Some(close) = find(&self.bytes[open..], b'>').map(|at| at + open) else {
                break;
            };
            self.seen = close + 1;
            if self.depth == 0 {
                self.start = open;
            }
            if self.bytes[open + 1] == b'?' {
                continue;
            }
            let closing = self.bytes[open + 1] == b'/';
            let empty = self.bytes[close - 1] == b'/';
            self.depth += if closing {
                -1
            } else if empty {
                0
            } else {
                1
            };
            if self.depth == 0 && (closing || empty) {
                let text = String::from_utf8_lossy(&self.bytes[self.start..self.seen]);
                self.ready.push_back(text.into_owned());
            }
        }
        let done = if self.depth > 0 {
            self.start
        } else {
            self.seen
        };
        self.bytes.drain(..done);
        self.seen -= done;
        self.start = self.start.saturating_sub(done);
    }

    fn next(&mut self) -> Option<String> {
        self.ready.pop_front()
    }
}

fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    bytes.iter().position(|b| *b == byte)
}

/// The value of an attribute; the first one of that name in the text.
pub fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let at = rest.find(name)?;
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let is_whole = before.ends_with([' ', '\n']) && after.starts_with('=');
        if is_whole {
            let value = &after[1..];
            let quote = value.chars().next()?;
            return value[1..].split(quote).next();
        }
        rest = after;
    }
}
