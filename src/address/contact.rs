//! Contact JIDs: the local part that stands for a number or a SIP address at our domain.
//!
//! A number is its own local part. A SIP address is written in one of two spellings: `\40` for the
//! `@` (XEP-0106) or `%` (XEP-0276's examples); both can be read, and whoever answers writes as it
//! was asked. Everything else that a local part cannot hold is escaped as XEP-0106 says in both.
//! JIDs fold the case of the user part (RFC 7622 §3.3), so SIP addresses that differ by case alone
//! are one contact.

use jid::{BareJid, DomainRef};

use super::{Address, E164, SipAddress};
use crate::leg::Key;

/// How the `@` of a SIP address is written in a local part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// `romeo\40example.net` (XEP-0106).
    #[default]
    Escaped,
    /// `romeo%example.net` (XEP-0276).
    Percent,
}

/// What the local part of a contact JID says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub address: Address,
    /// How that was written.
    pub spelling: Spelling,
}

/// Why a text is not somebody who can be called. The texts are for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was written.
    #[error("write a phone number such as +15551234567 or a SIP address such as romeo@example.net")]
    Empty,
    /// A number of the fire brigade, the police or an ambulance: who is called by it must know where
    /// the caller is, which nobody here does.
    #[error("{0} is an emergency number: emergency calls are not possible here, use a telephone")]
    Emergency(String),
    /// A number that does not say its country.
    #[error("the number {0} needs its country code: write + and the country code first")]
    NoCountry(String),
    /// A number that no country has.
    #[error("{0} is not a phone number: after the + come 2 to 15 digits, and the first is not 0")]
    NotE164(String),
    /// A number without its area code.
    #[error("{0} is not a whole phone number: write its area code too, or + and the country code")]
    Incomplete(String),
    /// A country code that nobody has.
    #[error("no country has the code that {0} begins with")]
    NoSuchCountry(String),
    /// A number of a length that its country does not have.
    #[error("{0} is too short or too long for a phone number of its country")]
    WrongLength(String),
    /// Letters or signs in a number.
    #[error("there is {0:?} in the phone number; write it in digits")]
    NotADigit(char),
    /// A number with an extension.
    #[error("write the keys to be dialled after the answer behind a comma: digits, * and #")]
    Extension,
    /// A name without `@`.
    #[error("{0} is neither a phone number nor a SIP address such as romeo@example.net")]
    NoHost(String),
    /// What stands behind the `@` is no host.
    #[error("{0} is not a host name or address")]
    BadHost(String),
    /// The user part of a SIP address cannot be read or written.
    #[error("the part before the @ cannot be used in an address")]
    BadUser,
    /// Another kind of URI.
    #[error("{0}: addresses cannot be called here, only phone numbers and SIP addresses")]
    Scheme(String),
    /// It does not fit into a JID.
    #[error("the address is too long")]
    TooLong,
}

/// Local parts of callers who do not say who they are start with this; what follows tells their
/// calls apart.
const ANONYMOUS: &str = "anonymous";

/// What is dialled after a number's answer: the local part without it, and the keys as they are
/// written. `+15551234567,123#` has `123#` after a pause; other local parts have none.
pub fn post_dial(local: &str) -> (&str, Option<&str>) {
    match local.find(',') {
        Some(at) if local.starts_with('+') && Key::row(&local[at..]).is_some() => {
            (&local[..at], Some(&local[at..]))
        }
        Some(_) | None => (local, None),
    }
}

/// True for what much of the world dials in an emergency: no country has telephones of these numbers.
pub fn is_emergency(digits: &str) -> bool {
    ["000", "110", "112", "119", "911", "995", "999"].contains(&digits)
}

/// Reads the local part of a contact JID. What is dialled after the answer is no part of who it is:
/// see [`post_dial`].
pub fn parse(local: &str) -> Result<Contact, AddressError> {
    let (local, _) = post_dial(local);
    if local.starts_with('+') && !local.contains(['\\', '%']) {
        let number = E164::parse(local).ok_or_else(|| AddressError::NotE164(local.to_owned()))?;
        return Ok(Contact {
            address: Address::Number(number),
            spelling: Spelling::default(),
        });
    }
    let is_anonymous = local.strip_prefix(ANONYMOUS).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('-') && !rest.contains(['\\', '%'])
    });
    if is_anonymous {
        return Ok(Contact {
            address: Address::Anonymous,
            spelling: Spelling::default(),
        });
    }
    // Hosts have neither sign, so the last one is the `@`, whatever the user part holds.
    let (at, length, spelling) = match (local.rfind(r"\40"), local.rfind('%')) {
        (Some(escaped), percent) if percent.is_none_or(|p| p < escaped) => {
            (escaped, 3, Spelling::Escaped)
        }
        (_, Some(percent)) => (percent, 1, Spelling::Percent),
        (_, None) if is_emergency(local) => {
            return Err(AddressError::Emergency(local.to_owned()));
        }
        (_, None) if local.bytes().all(|b| b.is_ascii_digit()) && !local.is_empty() => {
            return Err(AddressError::NoCountry(local.to_owned()));
        }
        (_, None) => return Err(AddressError::NoHost(unescape(local))),
    };
    if local.len() == at + length {
        return Err(AddressError::NoHost(unescape(local)));
    }
    let sip = SipAddress::new(&unescape(&local[..at]), &unescape(&local[at + length..]))?;
    Ok(Contact {
        address: Address::Sip(sip),
        spelling,
    })
}

/// The local part that stands for `address`; `token` tells apart callers who do not say who they
/// are, each of whom needs a JID of its own.
pub fn local_part(
    address: &Address,
    spelling: Spelling,
    token: &str,
) -> Result<String, AddressError> {
    let at = match spelling {
        Spelling::Escaped => r"\40",
        Spelling::Percent => "%",
    };
    let (user, host) = match address {
        Address::Number(number) => return Ok(number.as_str().to_owned()),
        Address::Anonymous if token.is_empty() => return Ok(ANONYMOUS.to_owned()),
        Address::Anonymous => return Ok(format!("{ANONYMOUS}-{token}")),
        Address::Sip(SipAddress { user, host, port }) => match port {
            Some(port) => (user.as_str(), format!("{host}:{port}")),
            None => (user.as_str(), host.clone()),
        },
        Address::Xmpp(jid) => (
            jid.node().map(|n| n.as_str()).unwrap_or_default(),
            jid.domain().as_str().to_owned(),
        ),
    };
    Ok(format!("{}{at}{}", escape(user)?, escape(&host)?))
}

/// The contact JID of `address` at `domain`.
pub fn jid(
    address: &Address,
    spelling: Spelling,
    token: &str,
    domain: &DomainRef,
) -> Result<BareJid, AddressError> {
    let local = local_part(address, spelling, token)?;
    if local.len() > 1023 {
        return Err(AddressError::TooLong);
    }
    domain
        .with_node_str(&local)
        .map_err(|_| AddressError::BadUser)
}

/// XEP-0106 §3.2: what a local part cannot hold, with its code.
const ESCAPES: [(char, &str); 10] = [
    (' ', r"\20"),
    ('"', r"\22"),
    ('&', r"\26"),
    ('\'', r"\27"),
    ('/', r"\2f"),
    (':', r"\3a"),
    ('<', r"\3c"),
    ('>', r"\3e"),
    ('@', r"\40"),
    ('\\', r"\5c"),
];

/// Escapes as XEP-0106 §3.2; a backslash only where it would be read as an escape.
fn escape(text: &str) -> Result<String, AddressError> {
    // XEP-0106 §3.1: no escaped space at either end.
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(AddressError::BadUser);
    }
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let needs = c != '\\' || code(&text[at..]).is_some();
        match ESCAPES.iter().find(|(raw, _)| *raw == c && needs) {
            Some((_, code)) => escaped.push_str(code),
            None => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// Reads XEP-0106 escapes; what is none stays as it is.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match code(rest) {
            Some(raw) => {
                plain.push(raw);
                rest = &rest[3..];
            }
            None => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    plain
}

/// The character whose escape `text` starts with, in either case.
fn code(text: &str) -> Option<char> {
    let start = text.get(..3)?;
    let found = ESCAPES
        .iter()
        .find(|(_, code)| code.eq_ignore_ascii_case(start));
    found.map(|(raw, _)| *raw)
}

impl SipAddress {
    /// From an unescaped user part and `host[:port]`.
    pub fn new(user: &str, host: &str) -> Result<Self, AddressError> {
        if user.chars().any(char::is_control) || user != user.trim() {
            return Err(AddressError::BadUser);
        }
        let bad = || AddressError::BadHost(host.to_owned());
        let colon = match host.rfind(']') {
            Some(bracket) => host[bracket..].find(':').map(|colon| bracket + colon),
            None => host.find(':'),
        };
        let (name, port) = match colon {
            Some(colon) => {
                let digits = &host[colon + 1..];
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                let port = digits.parse::<u16>().ok().filter(|port| plain && *port > 0);
                (&host[..colon], Some(port.ok_or_else(bad)?))
            }
            None => (host, None),
        };
        if !is_host(name) {
            return Err(bad());
        }
        Ok(Self {
            user: user.to_owned(),
            host: name.to_ascii_lowercase(),
            port,
        })
    }
}

/// A host name (RFC 1123 §2.1, with the underscores that people use), an IPv4 address, or an IPv6
/// address in brackets.
fn is_host(name: &str) -> bool {
    if let Some(inner) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let fits = (1..=63).contains(&label.len());
        let bytes = label.bytes();
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        fits && bytes.clone().all(known) && !label.starts_with('-') && !label.ends_with('-')
    };
    // RFC 3261 §25.1 allows the final dot of an absolute name.
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_after_the_answer_are_no_part_of_the_number() {
        let number = Address::Number(E164::parse("+15551234567").unwrap());
        for (local, keys) in [
            ("+15551234567,123#", Some(",123#")),
            ("+15551234567,,*9,0", Some(",,*9,0")),
            ("+15551234567", None),
        ] {
            assert_eq!(
                parse(local).map(|c| c.address),
                Ok(number.clone()),
                "{local}"
            );
            assert_eq!(post_dial(local).1, keys, "{local}");
        }
        for local in ["+15551234567,", "+15551234567,x", "+1555,12@"] {
            assert!(parse(local).is_err(), "{local}");
        }
        assert_eq!(post_dial(r"a,1\40b.example").1, None);
    }
    use crate::id::TokenMaker;

    fn domain() -> jid::DomainPart {
        jid::DomainPart::new("gw.example").unwrap().into_owned()
    }

    fn read(local: &str) -> (String, Spelling) {
        let contact = parse(local).unwrap();
        (contact.address.to_string(), contact.spelling)
    }

    #[test]
    fn both_spellings_and_numbers_are_read() {
        assert_eq!(read("+15551234567").0, "+15551234567");
        let romeo = "romeo@example.net".to_owned();
        assert_eq!(
            read(r"romeo\40example.net"),
            (romeo.clone(), Spelling::Escaped)
        );
        assert_eq!(read("romeo%example.net"), (romeo, Spelling::Percent));
        assert_eq!(read(r"a%b\40example.net").0, "a%b@example.net");
        assert_eq!(read(r"a\40b%example.net").0, "a@b@example.net");
        assert_eq!(
            read(r"+1555%example.net\3a5070").0,
            "+1555@example.net:5070"
        );
        assert_eq!(
            read(r"x\40[2001\3adb8\3a\3a1]\3a5060").0,
            "x@[2001:db8::1]:5060"
        );
        assert_eq!(read("anonymous-x7").0, "anonymous");
        assert_eq!(
            read("anonymous-x7%example.net").0,
            "anonymous-x7@example.net"
        );
    }

    #[test]
    fn what_nobody_can_call_is_refused_with_the_reason() {
        use AddressError as E;
        let refused = |local: &str| parse(local).unwrap_err();
        assert_eq!(refused("15551234567"), E::NoCountry("15551234567".into()));
        assert_eq!(refused("+0123"), E::NotE164("+0123".into()));
        assert_eq!(refused("+1"), E::NotE164("+1".into()));
        assert_eq!(refused("romeo"), E::NoHost("romeo".into()));
        assert_eq!(refused(""), E::NoHost(String::new()));
        assert_eq!(refused("%"), E::NoHost("%".into()));
        assert_eq!(refused(r"romeo\40"), E::NoHost("romeo@".into()));
        assert_eq!(refused("romeo%-x"), E::BadHost("-x".into()));
        assert_eq!(refused(r"romeo\40h\3a99999"), E::BadHost("h:99999".into()));
    }

    #[test]
    fn escaping_gives_the_examples_of_xep_0106() {
        for (raw, escaped) in [
            ("space cadet", r"space\20cadet"),
            (r#"call me "ishmael""#, r"call\20me\20\22ishmael\22"),
            ("at&t guy", r"at\26t\20guy"),
            ("d'artagnan", r"d\27artagnan"),
            ("/.fanboy", r"\2f.fanboy"),
            ("::foo::", r"\3a\3afoo\3a\3a"),
            ("<foo>", r"\3cfoo\3e"),
            ("user@host", r"user\40host"),
            (
                "here's_a_wild_&_/cr%zy/_address",
                r"here\27s_a_wild_\26_\2fcr%zy\2f_address",
            ),
            (r"\2plus\2is\4", r"\2plus\2is\4"),
            (r"foob\41r", r"foob\41r"),
            (r"c:\net", r"c\3a\net"),
            (r"c:\\net", r"c\3a\\net"),
            (r"c:\cool stuff", r"c\3a\cool\20stuff"),
            (r"c:\5commas", r"c\3a\5c5commas"),
        ] {
            assert_eq!(escape(raw).unwrap(), escaped);
            assert_eq!(unescape(escaped), raw);
        }
        assert_eq!(escape(" x"), Err(AddressError::BadUser));
    }

    #[test]
    fn every_address_comes_back_from_its_contact_jid() {
        let mut tokens = TokenMaker::new([3; 32]);
        let users: Vec<char> = r#"abz019+-_.!~*()=$,;?%\40 5c"&'/:<>@2öж"#.chars().collect();
        let hosts = [
            "example.net",
            "a.b-c.example",
            "192.0.2.7",
            "[2001:db8::1]",
            "localhost",
        ];
        for _ in 0..20_000 {
            let address = if tokens.below(4) == 0 {
                let digits: String = (0..1 + tokens.below(14))
                    .map(|_| char::from(b'0' + tokens.below(10) as u8))
                    .collect();
                Address::Number(E164::parse(&format!("+{}{digits}", 1 + tokens.below(9))).unwrap())
            } else {
                let user: String = (0..tokens.below(12))
                    .map(|_| users[tokens.below(users.len() as u64) as usize])
                    .collect();
                let user = user.trim().to_owned();
                Address::Sip(SipAddress {
                    user,
                    host: hosts[tokens.below(5) as usize].to_owned(),
                    port: (tokens.below(3) == 0).then(|| 1 + tokens.below(65_535) as u16),
                })
            };
            for spelling in [Spelling::Escaped, Spelling::Percent] {
                let jid = jid(&address, spelling, "", &domain()).unwrap();
                let back = parse(jid.node().unwrap().as_str()).unwrap();
                assert_eq!(back.address, address, "{jid}");
                if matches!(address, Address::Sip(_)) {
                    assert_eq!(back.spelling, spelling, "{jid}");
                }
            }
        }
    }
}
