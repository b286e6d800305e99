//! Who may call whom, and over which way: from an address to trunks, or to users.
//!
//! Does not count running calls (the call table does), and does not know whether a trunk is up.

use jid::BareJid;

use crate::address::{Address, E164, SipAddress};
use crate::config::{AccessConfig, Config, NumberConfig, RouteConfig, RouteMatch};
use crate::leg::EndReason;

/// The dialplan of a configuration.
#[derive(Clone, Debug)]
pub struct Dialplan {
    routes: Vec<RouteConfig>,
    numbers: Vec<NumberConfig>,
    access: AccessConfig,
}

/// The way of a call to SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Trunks by name, to be tried in order; never empty.
    pub trunks: Vec<String>,
    /// Who calls, as the callee shall see it: the user's number, or else the user's address.
    pub caller: Address,
    /// The rules that said so, for people. Names user and number whole: not for the log.
    pub why: String,
}

/// The way of a call from SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Whom to ring, all at once; never empty.
    pub users: Vec<BareJid>,
}

/// Why a call goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller's wire is told.
    pub reason: EndReason,
    /// Text for people. Names nobody, so that it may go to the log and to the caller.
    pub text: String,
}

impl Refusal {
    fn new(reason: EndReason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
}

impl Dialplan {
    /// The dialplan of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            routes: config.routes.clone(),
            numbers: config.numbers.clone(),
            access: config.access.clone(),
        }
    }

    /// The way of a call of the user `from` to `to`. Asks neither [`Self::incoming`] nor whether
    /// `to` is one of our own numbers: see [`Self::is_ours`].
    pub fn outgoing(&self, from: &BareJid, to: &Address) -> Result<Outgoing, Refusal> {
        let Some(permit) = self.permit(from) else {
            return Err(Refusal::new(
                EndReason::Forbidden,
                "you may not call out: neither user nor domain is in access.allow",
            ));
        };
        match to {
            Address::Number(_) | Address::Sip(_) => {}
            Address::Xmpp(_) => {
                return Err(Refusal::new(
                    EndReason::NotFound,
                    "an XMPP address needs no gateway",
                ));
            }
            Address::Anonymous => {
                return Err(Refusal::new(EndReason::NotFound, "nobody is called"));
            }
        }
        let found = self.routes.iter().position(|r| r.matches.takes(to));
        let Some(index) = found else {
            let what = match to {
                Address::Sip(_) => "SIP domain",
                Address::Number(_) | Address::Xmpp(_) | Address::Anonymous => "number",
            };
            return Err(Refusal::new(
                EndReason::NoRoute,
                format!("no route takes this {what}"),
            ));
        };
        let number = self.numbers.iter().find(|n| n.ring.contains(from));
        let (caller, whose) = match number {
            Some(n) => (
                Address::Number(n.number.clone()),
                format!("{} is the first number that rings {from}", n.number),
            ),
            None => (
                Address::Xmpp(from.clone()),
                format!("no number rings {from}, so the address is the caller ID"),
            ),
        };
        let route = &self.routes[index];
        Ok(Outgoing {
            trunks: route.trunks.clone(),
            caller,
            why: format!(
                "{permit}; route[{index}] ({}) is the first to take {to}; {whose}",
                written(&route.matches)
            ),
        })
    }

    /// Whom a call from SIP to `to` rings. One of our numbers rings its users; a user's address
    /// rings that user (RFC 7247 §6), if it is the user of a number or may call out: else any
    /// trunk could ring the whole of XMPP through us.
    pub fn incoming(&self, to: &Address) -> Result<Incoming, Refusal> {
        let not_found = |text: &str| Err(Refusal::new(EndReason::NotFound, text));
        let user = match to {
            Address::Number(number) => {
                return match self.number(number.as_str()) {
                    Some(n) => Ok(Incoming {
                        users: n.ring.clone(),
                    }),
                    None => not_found("this is none of our numbers"),
                };
            }
            Address::Sip(SipAddress { user, host, .. }) => {
                // Trunks often call our numbers without a `+` and without user=phone.
                if let Some(n) = self.number(user) {
                    return Ok(Incoming {
                        users: n.ring.clone(),
                    });
                }
                match BareJid::new(&format!("{user}@{host}")) {
                    Ok(jid) => jid,
                    Err(_) => return not_found("nobody here has this address"),
                }
            }
            Address::Xmpp(jid) => jid.clone(),
            Address::Anonymous => return not_found("nobody is called"),
        };
        let has_number = self.numbers.iter().any(|n| n.ring.contains(&user));
        if has_number || self.permit(&user).is_some() {
            return Ok(Incoming { users: vec![user] });
        }
        not_found("nobody here has this address")
    }

    /// True if `user` may call out.
    pub fn permits(&self, user: &BareJid) -> bool {
        self.permit(user).is_some()
    }

    /// The trunks that a call to `to` may go over, whoever calls.
    pub fn trunks_to(&self, to: &Address) -> &[String] {
        let route = self.routes.iter().find(|route| route.matches.takes(to));
        route.map_or(&[], |route| &route.trunks)
    }

    /// True if `to` is one of our own numbers: a call of a user to it needs no trunk.
    pub fn is_ours(&self, to: &Address) -> bool {
        match to {
            Address::Number(number) => self.number(number.as_str()).is_some(),
            Address::Sip(_) | Address::Xmpp(_) | Address::Anonymous => false,
        }
    }

    /// Our number that is written so, with or without its `+`.
    fn number(&self, text: &str) -> Option<&NumberConfig> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let number = E164::parse(&format!("+{digits}"))?;
        self.numbers.iter().find(|n| n.number == number)
    }

    /// The rule that lets `user` call out.
    fn permit(&self, user: &BareJid) -> Option<String> {
        if self.access.users.contains(user) {
            return Some(format!("access.allow has {user}"));
        }
        let domain = user.domain();
        let mut domains = self.access.domains.iter();
        // A JID without a user part is a server or another gateway, not one of its users.
        (user.node().is_some() && domains.any(|d| d.as_str() == domain.as_str()))
            .then(|| format!("access.allow has {domain}"))
    }
}

fn written(matches: &RouteMatch) -> String {
    match matches {
        RouteMatch::Prefix(prefix) => prefix.clone(),
        RouteMatch::Domain(domain) => format!("@{domain}"),
        RouteMatch::Any => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::of_file;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn number(text: &str) -> Address {
        Address::Number(E164::parse(text).unwrap())
    }

    fn sip(user: &str, host: &str) -> Address {
        Address::Sip(SipAddress {
            user: user.to_owned(),
            host: host.to_owned(),
            port: None,
        })
    }

    fn plan() -> Dialplan {
        let config = of_file(
            "
[[trunk]]
name = 'berlin'
uri = 'sip:berlin.example'

[[trunk]]
name = 'carrier'
uri = 'sip:carrier.example'

[[trunk]]
name = 'peer'
uri = 'sip:peer.example'

[[route]]
match = '+49'
trunk = ['berlin', 'carrier']

[[route]]
match = '+'
trunk = ['carrier']

[[route]]
match = '@example.net'
trunk = ['peer']

[[number]]
number = '+15550001000'
ring = ['juliet@example.org', 'nurse@example.com']

[access]
allow = ['example.org', 'romeo@example.net']
",
        );
        Dialplan {
            routes: config.routes,
            numbers: config.numbers,
            access: config.access,
        }
    }

    #[test]
    fn the_first_route_wins_and_its_trunks_are_hunted_in_order() {
        let plan = plan();
        let way = |to| plan.outgoing(&jid("juliet@example.org"), &to).unwrap();
        assert_eq!(way(number("+49301234")).trunks, ["berlin", "carrier"]);
        assert_eq!(way(number("+15551234567")).trunks, ["carrier"]);
        assert_eq!(way(sip("romeo", "Example.NET")).trunks, ["peer"]);
        assert!(way(number("+49301234")).why.contains("route[0] (+49)"));
    }

    #[test]
    fn a_user_calls_with_the_own_number_or_the_own_address() {
        let plan = plan();
        let caller = |from| {
            plan.outgoing(&from, &number("+15551234567"))
                .unwrap()
                .caller
        };
        assert_eq!(caller(jid("juliet@example.org")), number("+15550001000"));
        let romeo = jid("romeo@example.net");
        assert_eq!(caller(romeo.clone()), Address::Xmpp(romeo));
    }

    #[test]
    fn only_who_is_allowed_calls_out() {
        let plan = plan();
        let refusal = |from| {
            plan.outgoing(&jid(from), &number("+15551234567"))
                .unwrap_err()
        };
        for stranger in [
            "tybalt@example.net",
            "juliet@sub.example.org",
            "example.org",
        ] {
            assert_eq!(refusal(stranger).reason, EndReason::Forbidden);
        }
    }

    #[test]
    fn what_no_route_takes_goes_nowhere() {
        let plan = plan();
        let reason = |to| {
            plan.outgoing(&jid("juliet@example.org"), &to)
                .unwrap_err()
                .reason
        };
        assert_eq!(reason(sip("a", "elsewhere.example")), EndReason::NoRoute);
        let xmpp = Address::Xmpp(jid("romeo@example.net"));
        assert_eq!(reason(xmpp), EndReason::NotFound);
        assert_eq!(reason(Address::Anonymous), EndReason::NotFound);
    }

    #[test]
    fn our_numbers_ring_their_users_however_they_are_written() {
        let plan = plan();
        let users = vec![jid("juliet@example.org"), jid("nurse@example.com")];
        for to in [
            number("+15550001000"),
            sip("+15550001000", "203.0.113.5"),
            sip("15550001000", "203.0.113.5"),
        ] {
            assert_eq!(plan.incoming(&to).unwrap().users, users);
        }
        assert!(plan.is_ours(&number("+15550001000")));
        assert!(!plan.is_ours(&number("+15550001001")));
        let unknown = plan.incoming(&number("+15550001001")).unwrap_err();
        assert_eq!(unknown.reason, EndReason::NotFound);
    }

    #[test]
    fn only_our_users_are_rung_by_address() {
        let plan = plan();
        let users = |to| plan.incoming(&to).map(|i| i.users);
        for (user, host) in [("anyone", "example.org"), ("nurse", "example.com")] {
            assert_eq!(
                users(sip(user, host)).unwrap(),
                [jid(&format!("{user}@{host}"))]
            );
        }
        assert!(users(sip("stranger", "example.com")).is_err());
        assert!(users(Address::Xmpp(jid("tybalt@example.net"))).is_err());
        assert!(users(Address::Anonymous).is_err());
    }
}
