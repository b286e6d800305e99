//! Who calls whom: addresses to From, To and Request-URI, and back (RFC 3261 §8.1.1, RFC 3323,
//! RFC 3325, RFC 7247 §4).

use crate::address::Address;
use crate::config::CallerId;
use crate::leg::{End, EndReason};
use crate::sip::Sip;
use crate::sip::uri::Uri;
use crate::sip::wire::{Message, Name, NameAddr, quote};

/// The longest display name that is passed on: longer ones are cut by phones anyway.
const MAX_NAME: usize = 128;

/// The parties of an INVITE or a MESSAGE.
#[derive(Debug)]
pub struct Parties {
    /// The Request-URI.
    pub request_uri: String,
    /// From, without tag.
    pub from: String,
    /// To.
    pub to: String,
    /// Privacy, if the caller wants it.
    pub privacy: Option<&'static str>,
    /// What else says who calls, if the trunk wants it.
    pub identity: Option<(Name, String)>,
}

impl Sip {
    /// The parties of a call or a text of ours.
    pub(in crate::sip) fn parties(
        &self,
        trunk: Option<usize>,
        from: &Address,
        to: &Address,
        display_name: Option<&str>,
    ) -> Result<Parties, End> {
        let trunk = trunk.and_then(|index| self.trunks.get(index));
        let ours = self.transports.our_host();
        let (host, port) = trunk.map_or((ours.as_str(), None), |trunk| {
            (trunk.host.as_str(), trunk.port)
        });
        let domain = trunk
            .and_then(|trunk| trunk.from_domain.as_deref())
            .unwrap_or(host);
        let bad = |text: &str| End::because(EndReason::NotFound, text);
        let uri = match to {
            Address::Number(_) | Address::Sip(_) => Uri::of(to, host, port),
            Address::Xmpp(_) | Address::Anonymous => None,
        };
        let to = uri.ok_or(bad("no SIP address for the callee"))?;
        let anonymous = *from == Address::Anonymous;
        let from = match from {
            Address::Number(number) => Uri::sip(number.as_str(), domain, None),
            // RFC 7247 §4.1: the localpart is the user, the domainpart the host.
            Address::Xmpp(jid) => {
                let user = jid.node().map_or("", |node| node.as_str());
                Uri::sip(user, jid.domain().as_str(), None)
            }
            Address::Sip(_) | Address::Anonymous => Uri::of(from, domain, None),
        };
        let from = from.ok_or(bad("no SIP address for the caller"))?;
        let display = match (display_name, anonymous) {
            (_, true) => "\"Anonymous\" ".to_owned(),
            (Some(name), false) if !name.is_empty() => {
                let name: String = name.chars().take(MAX_NAME).collect();
                quote(&name) + " "
            }
            (Some(_) | None, false) => String::new(),
        };
        let caller_id = trunk.map_or(CallerId::From, |trunk| trunk.caller_id);
        // Of an anonymous caller we know nothing to assert.
        let identity = match caller_id {
            CallerId::Asserted if !anonymous => {
                Some((Name::PAssertedIdentity, format!("{display}<{from}>")))
            }
            CallerId::RemoteParty if !anonymous => Some((
                Name::RemotePartyId,
                format!("{display}<{from}>;party=calling;screen=yes;privacy=off"),
            )),
            CallerId::From | CallerId::Asserted | CallerId::RemoteParty => None,
        };
        Ok(Parties {
            identity,
            from: format!("{display}<{from}>"),
            to: format!("<{to}>"),
            request_uri: to.as_str().to_owned(),
            privacy: anonymous.then_some("id"),
        })
    }

    /// The way to the trunk, and what of [`Parties`] the trunk wants beside From.
    pub(in crate::sip) fn add_caller(
        &self,
        request: &mut Message,
        trunk: Option<usize>,
        identity: Option<(Name, String)>,
        privacy: Option<&'static str>,
    ) {
        let route = trunk.and_then(|index| self.trunks.get(index)?.route());
        if let Some(route) = route {
            request.push(Name::Route, route);
        }
        if let Some((name, value)) = identity {
            request.push(name, value);
        }
        if let Some(privacy) = privacy {
            request.push(Name::Privacy, privacy);
        }
    }
}

/// Who calls, and the name shown. A trunk is trusted to assert an identity (RFC 3325); others are
/// not.
pub fn caller(request: &Message, trusted: bool) -> (Address, Option<String>) {
    let hidden = request.tokens(Name::Privacy).any(|value| {
        value
            .split(';')
            .any(|token| ["id", "user", "full"].contains(&token.trim()))
    });
    if hidden {
        return (Address::Anonymous, None);
    }
    // draft-ietf-sip-privacy-04: no RFC, but what many PBXs send instead of P-Asserted-Identity.
    let calling = |address: &NameAddr<'_>| {
        let party = address.params.get("party");
        party.is_none_or(|party| party.eq_ignore_ascii_case("calling"))
    };
    let secret = request
        .addresses(Name::RemotePartyId)
        .filter(calling)
        .any(|address| {
            let privacy = address.params.get("privacy");
            privacy.is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off"))
        });
    if secret {
        return (Address::Anonymous, None);
    }
    let read = |name: Name| {
        request.addresses(name).filter(calling).find_map(|address| {
            let who = address.uri().ok()?.to_address()?;
            Some((who, address.display_name()))
        })
    };
    let from = read(Name::From);
    let asserted = if trusted {
        read(Name::PAssertedIdentity).or_else(|| read(Name::RemotePartyId))
    } else {
        None
    };
    match (asserted, from) {
        // Whoever hides it wants that kept (RFC 3323 §4.1.1.3), even where the network forgot to say so.
        (_, Some((Address::Anonymous, _))) => (Address::Anonymous, None),
        (Some((who @ Address::Number(_), name)), from) => {
            (who, name.or(from.and_then(|(_, name)| name)))
        }
        (_, Some((who, name))) | (Some((who, name)), None) => (who, name),
        (None, None) => (Address::Anonymous, None),
    }
}
