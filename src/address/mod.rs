//! Who can be called: telephone numbers, SIP URIs and XMPP addresses, and their contact JIDs.

pub mod contact;
pub mod country;
pub mod typed;

use std::fmt;

use jid::BareJid;

/// Somebody who can call or be called, whatever the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A telephone number.
    Number(E164),
    /// A SIP address.
    Sip(SipAddress),
    /// An XMPP user.
    Xmpp(BareJid),
    /// A caller who does not say who he is.
    Anonymous,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Sip(sip) => sip.fmt(f),
            Self::Xmpp(jid) => jid.fmt(f),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A telephone number: `+` and 2 to 15 digits (ITU-T E.164 §6).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(String);

impl E164 {
    /// Reads `+` and digits; `None` for anything else, visual separators included.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+')?;
        let fits = (2..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        (fits && !digits.starts_with('0')).then(|| Self(text.to_owned()))
    }

    /// The number with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SIP address-of-record without parameters: `sip:user@host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipAddress {
    /// The user part, unescaped; may be empty.
    pub user: String,
    /// A host name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port, if given.
    pub port: Option<u16>,
}

impl fmt::Display for SipAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.user.is_empty() {
            write!(f, "{}@", self.user)?;
        }
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
