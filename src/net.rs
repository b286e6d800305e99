//! Where SIP bytes come from and go to, in plain data. The sockets are in `io/`.

use std::fmt;
use std::net::SocketAddr;

use crate::id::ConnectionId;

/// A SIP transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SipTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl SipTransport {
    /// True if the transport itself repeats and orders (RFC 3261 §17: timers A, E, G, I, J, K).
    pub fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// As in Via: `UDP`, `TCP`, `TLS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As in the configuration and in URIs: `udp`, `tcp`, `tls`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port when a URI gives none: 5060, or 5061 for TLS.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

impl fmt::Display for SipTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The way that a SIP message came, or shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The protocol.
    pub transport: SipTransport,
    /// Our listening address that it came to, or that it shall leave from.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// The connection, for stream transports. A message for a connection that is gone is reported
    /// by [`NetInput::Unsent`].
    pub connection: Option<ConnectionId>,
}

/// What the network brings to the SIP room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetInput {
    /// A datagram.
    Datagram {
        /// Its way.
        flow: Flow,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Bytes of a stream connection, cut anywhere. The first ones of an accepted connection make
    /// it known.
    Stream {
        /// Its way; `connection` is always given.
        flow: Flow,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A connection that the room asked for is open.
    Connected {
        /// Its way.
        flow: Flow,
    },
    /// A connection is gone, or could not be opened.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A datagram could not be sent (an ICMP error, no route): the peer is not there.
    Unsent {
        /// Where it should have gone.
        flow: Flow,
    },
    /// The answer of the resolver; empty if the name has no such record.
    Resolved {
        /// The question.
        query: crate::id::QueryId,
        /// The answers.
        records: Vec<Record>,
    },
    /// Nobody answered the resolver.
    Unresolved {
        /// The question.
        query: crate::id::QueryId,
    },
}

/// What the SIP room asks of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetOutput {
    /// Sends a whole message.
    Send {
        /// Its way.
        flow: Flow,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Opens a connection; answered by [`NetInput::Connected`] or [`NetInput::Closed`].
    Connect {
        /// Its way; `connection` is always given.
        flow: Flow,
        /// The name that a TLS peer must prove (RFC 5922).
        server_name: Option<String>,
    },
    /// Closes a connection once what was sent is out.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Asks the resolver; answered by [`NetInput::Resolved`] or
    /// [`NetInput::Unresolved`].
    Resolve {
        /// The question's number.
        query: crate::id::QueryId,
        /// What is asked.
        question: Question,
    },
}

/// A question to the resolver (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A and AAAA.
    Addresses(String),
    /// SRV of the whole name, such as `_sip._udp.example.org`.
    Srv(String),
    /// NAPTR of a domain.
    Naptr(String),
    /// Which of our addresses the host's routes use toward this one: no question for DNS.
    Way(std::net::IpAddr),
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(std::net::IpAddr),
    /// SRV.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: String,
    },
    /// NAPTR.
    Naptr {
        /// Lower is tried first.
        order: u16,
        /// Lower is preferred among equals.
        preference: u16,
        /// Such as `S`.
        flags: String,
        /// Such as `SIP+D2U`.
        service: String,
        /// The next name.
        replacement: String,
    },
}
