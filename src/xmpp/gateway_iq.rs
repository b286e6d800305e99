//! From what people type to a contact JID: `jabber:iq:gateway` (XEP-0100 §6.3), at the domain and at
//! its resource.

use jid::DomainRef;
use minidom::Element;

use super::stanza::{Condition, StanzaError, element};
use super::text::{self, Language, Phrase};
use crate::address::contact::{self, AddressError};
use crate::address::country::Country;
use crate::address::typed;
use crate::leg::Key;

/// The namespace of the query.
pub const NS_GATEWAY: &str = "jabber:iq:gateway";

/// What disco#info of the domain says for this file.
pub const FEATURES: &[&str] = &[NS_GATEWAY];

/// What is asked of people.
pub fn prompt(home: Option<Country>, language: Language) -> Element {
    let desc = match home {
        Some(_) => Phrase::PromptAtHome,
        None => Phrase::PromptAbroad,
    };
    let text = |name, phrase: Phrase| element(name, NS_GATEWAY).text(phrase.text(language));
    element("query", NS_GATEWAY)
        .child(text("desc", desc))
        .child(text("prompt", Phrase::Prompt))
        .build()
}

/// The contact JID of what was typed, or an error whose text says what is wrong with it.
pub fn contact(
    query: &Element,
    domain: &DomainRef,
    home: Option<Country>,
    language: Language,
) -> Result<Element, StanzaError> {
    let Some(typed) = query.get_child("prompt", NS_GATEWAY) else {
        let text = "what was typed goes into <prompt/>";
        return Err(StanzaError::because(Condition::BadRequest, text));
    };
    let typed = typed.text();
    let wrong = |error: AddressError| {
        let text = text::address_error(&error, language);
        StanzaError::because(Condition::NotAcceptable, text).in_language(language)
    };
    // Who pastes a contact JID of ours means that contact, not a SIP address at our domain.
    let own = typed.trim().rsplit_once('@');
    let own = own.filter(|(_, host)| host.eq_ignore_ascii_case(domain.as_str()));
    let typed = own.map_or(typed.as_str(), |(local, _)| local);
    let (typed, keys) = with_keys(typed);
    let read = match own {
        Some(_) => contact::parse(typed),
        None => typed::parse(typed, home),
    };
    let found = read.map_err(wrong)?;
    let jid = contact::jid(&found.address, found.spelling, "", domain).map_err(wrong)?;
    let jid = match (keys, jid.node()) {
        (Some(keys), Some(node)) => {
            let local = format!("{node}{keys}");
            let jid = domain.with_node_str(&local);
            jid.map_err(|_| wrong(AddressError::Extension))?
        }
        (Some(_) | None, _) => jid,
    };
    Ok(element("query", NS_GATEWAY)
        .child(element("jid", NS_GATEWAY).text(jid.as_str()))
        .build())
}

/// What is typed without the keys that are to be pressed after the answer, and those as they stand
/// in a contact JID: behind a comma, or as RFC 3966 §5.1.1 writes them. Only numbers have any.
pub fn with_keys(typed: &str) -> (&str, Option<String>) {
    let (number, keys) = match (typed.find(";postd="), typed.find(',')) {
        (Some(at), _) => (&typed[..at], format!(",{}", &typed[at + ";postd=".len()..])),
        (None, Some(at)) => (&typed[..at], typed[at..].to_owned()),
        (None, None) => return (typed, None),
    };
    let written = |c: char| !c.is_whitespace();
    let keys: String = keys.chars().filter(|&c| written(c)).collect();
    let keys = keys.to_ascii_lowercase().replace('p', ",");
    match typed.contains('@') || Key::row(&keys).is_none() {
        true => (typed, None),
        false => (number, Some(keys)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_after_the_answer_stand_behind_a_comma_or_in_a_parameter() {
        for (typed, number, keys) in [
            ("+1 555 123, 123#", "+1 555 123", Some(",123#")),
            ("+1555123,,9p1", "+1555123", Some(",,9,1")),
            ("tel:+1555123;postd=pp22", "tel:+1555123", Some(",,,22")),
            ("+1555123", "+1555123", None),
            ("+1555123,x", "+1555123,x", None),
            ("a,1@b.example", "a,1@b.example", None),
        ] {
            let read = with_keys(typed);
            assert_eq!((read.0, read.1.as_deref()), (number, keys), "{typed}");
        }
    }
}
