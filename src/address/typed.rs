//! What people type when they want to call somebody: phone numbers in every local fashion, `tel:`
//! URIs (RFC 3966), `sip:` URIs (RFC 3261 §19.1), or plain addresses.

use super::contact::{AddressError, Contact, Spelling, is_emergency};
use super::country::{self, Country};
use super::{Address, SipAddress};

/// Longer texts are not read: the longest address is a local part of a JID.
const MAX_TYPED: usize = 1023;

/// Reads what somebody has typed.
pub fn parse(text: &str, home: Option<Country>) -> Result<Contact, AddressError> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.len() > MAX_TYPED {
        return Err(AddressError::TooLong);
    }
    let text = text
        .strip_prefix('<')
        .and_then(|t| t.strip_suffix('>'))
        .unwrap_or(text);
    if let Some((scheme, rest)) = scheme(text) {
        return match scheme.as_str() {
            "tel" => number(&percent_decoded(tel_number(rest)?)?, home),
            "sip" => sip_uri(rest),
            _ => Err(AddressError::Scheme(scheme)),
        };
    }
    if let Some((user, host)) = text.rsplit_once('@') {
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        return Ok(sip(SipAddress::new(user, host)?, Spelling::Escaped));
    }
    let looks_like_a_number = text.starts_with(['+', '(', '＋'])
        || text.chars().next().is_some_and(|c| digit(c).is_some());
    match text.rsplit_once('%') {
        Some((user, host)) => Ok(sip(SipAddress::new(user, host)?, Spelling::Percent)),
        None if text.contains(r"\40") => super::contact::parse(text),
        None if looks_like_a_number => number(text, home),
        None => Err(AddressError::NoHost(text.to_owned())),
    }
}

fn sip(address: SipAddress, spelling: Spelling) -> Contact {
    Contact {
        address: Address::Sip(address),
        spelling,
    }
}

/// A URI's scheme in lower case, and what follows it. `example.net:5060` has none.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let letters = scheme.bytes().all(|b| b.is_ascii_alphabetic());
    (letters && !scheme.is_empty()).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// RFC 3966 §3: the digits of a global number. A local one needs its context to be understood,
/// which is seldom a number's beginning.
fn tel_number(rest: &str) -> Result<&str, AddressError> {
    let rest = rest.trim_start_matches('/');
    let (number, parameters) = rest.split_once(';').unwrap_or((rest, ""));
    let has = |name: &str| {
        let mut names = parameters
            .split(';')
            .map(|p| p.split('=').next().unwrap_or_default());
        names.any(|parameter| parameter.eq_ignore_ascii_case(name))
    };
    if has("ext") {
        return Err(AddressError::Extension);
    }
    if has("phone-context") && !number.starts_with('+') {
        return Err(AddressError::NoCountry(number.to_owned()));
    }
    Ok(number)
}

/// RFC 3261 §19.1.1, without parameters and headers: those are the trunk's business.
fn sip_uri(rest: &str) -> Result<Contact, AddressError> {
    let rest = rest.trim_start_matches('/');
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", rest),
    };
    let host = host.split([';', '?']).next().unwrap_or_default();
    // A password in a URI is a mistake (RFC 3261 §19.1.1) that is not passed on.
    if user.contains(':') {
        return Err(AddressError::BadUser);
    }
    let user = percent_decoded(user)?;
    Ok(sip(SipAddress::new(&user, host)?, Spelling::Escaped))
}

/// RFC 3986 §2.1; a `%` that starts no code stays, as in the example of XEP-0106 §5.3.
fn percent_decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let code = tail.get(..2).filter(|_| *first == b'%');
        let code = code.filter(|code| code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).map_err(|_| AddressError::BadUser)
}

/// Signs that people put into numbers, those of copied web pages included.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || is_invisible(c)
        || matches!(
            c,
            '-' | '.' | '(' | ')' | '/' | '~' | '\u{2010}'..='\u{2015}' | '\u{2212}'
        )
}

/// Soft hyphens, joiners and direction marks: address books wrap numbers in them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A decimal digit of the scripts that phones show: Latin, full-width, Arabic, Persian, Devanagari.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '0'..='9' => '0',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        '\u{966}'..='\u{96f}' => '\u{966}',
        _ => return None,
    };
    char::from_digit(c as u32 - zero as u32, 10)
}

fn number(text: &str, home: Option<Country>) -> Result<Contact, AddressError> {
    // In "+49 (0) 30" the 0 is for callers within the country.
    let text = match text.starts_with('+') {
        true => text.replacen("(0)", "", 1),
        false => text.to_owned(),
    };
    let mut digits = String::with_capacity(text.len());
    for c in text.chars() {
        match digit(c) {
            Some(digit) => digits.push(digit),
            None if matches!(c, '+' | '＋') && digits.is_empty() => digits.push('+'),
            None if is_separator(c) => {}
            None if matches!(c, 'x' | 'X' | ',' | ';') && digits.len() > 3 => {
                return Err(AddressError::Extension);
            }
            None => return Err(AddressError::NotADigit(c)),
        }
    }
    let number = match (digits.starts_with('+'), home) {
        (true, _) => country::whole(&digits)?,
        (false, _) if is_emergency(&digits) => return Err(AddressError::Emergency(digits)),
        (false, Some(home)) => home.complete(&digits)?,
        (false, None) => return Err(AddressError::NoCountry(digits)),
    };
    Ok(Contact {
        address: Address::Number(number),
        spelling: Spelling::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, country: &str) -> Result<String, AddressError> {
        parse(text, Country::named(country)).map(|contact| contact.address.to_string())
    }

    #[test]
    fn people_write_one_number_in_many_ways() {
        for text in [
            "+15551234567",
            "+1 (555) 123-4567",
            "tel:+1-555-123-4567",
            "TEL:+1.555.123.4567;cic=+1-288",
            "tel:%2B15551234567",
            "+1\u{a0}555\u{2011}123\u{2011}4567",
            "\u{202a}+1 555 123 4567\u{202c}",
            "  +1 555 1234567 ",
        ] {
            assert_eq!(read(text, "").as_deref(), Ok("+15551234567"), "{text}");
        }
        for text in ["(555) 123-4567", "1-555-123-4567", "011 1 555 123 4567"] {
            assert_eq!(read(text, "1").as_deref(), Ok("+15551234567"), "{text}");
        }
        for text in [
            "030 123456",
            "+49 (0) 30 123456",
            "0049 30/123456",
            "٠٣٠ ١٢٣٤٥٦",
        ] {
            assert_eq!(read(text, "49").as_deref(), Ok("+4930123456"), "{text}");
        }
        for (text, country, number) in [
            ("06 123 4567", "IT", "+39061234567"),
            ("391 231 2312", "IT", "+393912312312"),
            ("+44 (0)20 7946 0958", "", "+442079460958"),
            ("+33 0631966543", "", "+33631966543"),
            ("8 (495) 123-45-67", "RU", "+74951234567"),
            ("8~10 49 30 123456", "7", "+4930123456"),
            ("0011 49 30 123456", "AU", "+4930123456"),
            ("(011) 15-2345-6789", "AR", "+5491123456789"),
            ("06 1 234 5678", "HU", "+3612345678"),
            ("098765 43210", "IN", "+919876543210"),
            ("03-1234-5678", "JP", "+81312345678"),
            ("800 555 35 35", "RU", "+78005553535"),
        ] {
            let read = read(text, country);
            assert_eq!(read.as_deref(), Ok(number), "{text} in {country}");
        }
        assert_eq!(read("912 345 678", "34").as_deref(), Ok("+34912345678"));
    }

    #[test]
    fn people_write_one_address_in_many_ways() {
        for text in [
            "romeo@example.net",
            "sip:romeo@example.net",
            "SIP:romeo@EXAMPLE.net;transport=tcp?subject=x",
            "<sip:romeo@example.net>",
            "romeo%example.net",
            r"romeo\40example.net",
            "sip:%72omeo@example.net",
        ] {
            assert_eq!(read(text, "").as_deref(), Ok("romeo@example.net"), "{text}");
        }
        assert_eq!(
            read("sip:example.net:5070", "").as_deref(),
            Ok("example.net:5070")
        );
        assert_eq!(
            read("sip:+1555@[2001:db8::1]:5070;user=phone", "").as_deref(),
            Ok("+1555@[2001:db8::1]:5070")
        );
        let wild = "sip:here%27s_a_wild_%26_%2Fcr%zy%2F_address@example.com";
        assert_eq!(
            read(wild, "").as_deref(),
            Ok("here's_a_wild_&_/cr%zy/_address@example.com")
        );
        let spelling = |text| parse(text, None).unwrap().spelling;
        assert_eq!(spelling("romeo%example.net"), Spelling::Percent);
        assert_eq!(spelling("romeo@example.net"), Spelling::Escaped);
    }

    #[test]
    fn mistakes_are_named() {
        use AddressError as E;
        assert_eq!(read("  ", ""), Err(E::Empty));
        assert_eq!(
            read("(555) 123-4567", ""),
            Err(E::NoCountry("5551234567".into()))
        );
        assert_eq!(read("555-1234", "1"), Err(E::Incomplete("5551234".into())));
        assert_eq!(read("123-4567", "1"), Err(E::Incomplete("1234567".into())));
        assert_eq!(read("123456", "49"), Err(E::Incomplete("123456".into())));
        for home in ["49", ""] {
            assert_eq!(read("1-1-0", home), Err(E::Emergency("110".into())));
        }
        assert_eq!(read("romeo@", ""), Err(E::NoHost("romeo@".into())));
        assert_eq!(
            read("+1 555 123", ""),
            Err(E::WrongLength("+1555123".into()))
        );
        assert_eq!(
            read("00 49 30 1234 5678 9012 34", "49"),
            Err(E::NotE164("+493012345678901234".into()))
        );
        assert_eq!(
            read("+999 1234567", ""),
            Err(E::NoSuchCountry("+9991234567".into()))
        );
        assert_eq!(read("+1 800 FLOWERS", ""), Err(E::NotADigit('F')));
        assert_eq!(read("+1 555 123 4567 x12", ""), Err(E::Extension));
        assert_eq!(read("tel:+15551234567;ext=12", ""), Err(E::Extension));
        assert_eq!(
            read("tel:7042;phone-context=example.com", "1"),
            Err(E::NoCountry("7042".into()))
        );
        assert_eq!(read("+0123", ""), Err(E::NotE164("+0123".into())));
        assert_eq!(
            read("+1234567890123456", ""),
            Err(E::NotE164("+1234567890123456".into()))
        );
        assert_eq!(read("romeo", ""), Err(E::NoHost("romeo".into())));
        assert_eq!(
            read("xmpp:romeo@example.net", ""),
            Err(E::Scheme("xmpp".into()))
        );
        assert_eq!(
            read("sips:romeo@example.net", ""),
            Err(E::Scheme("sips".into()))
        );
        assert_eq!(
            read("romeo@exa mple", ""),
            Err(E::BadHost("exa mple".into()))
        );
        assert_eq!(read("sip:a:secret@example.net", ""), Err(E::BadUser));
        assert_eq!(read("sip:%ff@example.net", ""), Err(E::BadUser));
        assert_eq!(read("sip:%00@example.net", ""), Err(E::BadUser));
        assert_eq!(read(&"9".repeat(2000), ""), Err(E::TooLong));
    }
}
