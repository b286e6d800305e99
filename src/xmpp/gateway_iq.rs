//! From what people type to a contact JID: `jabber:iq:gateway` (XEP-0100 §6.3), at the domain and at
//! its resource.

use jid::DomainRef;
use minidom::Element;

use super::stanza::{Condition, StanzaError, element};
use crate::address::contact;
use crate::address::typed::{self, Numbering};

/// The namespace of the query.
pub const NS_GATEWAY: &str = "jabber:iq:gateway";

/// What disco#info of the domain says for this file.
pub const FEATURES: &[&str] = &[NS_GATEWAY];

/// What is asked of people.
pub fn prompt(numbering: Option<&Numbering>) -> Element {
    let desc = match numbering {
        Some(_) => "Enter a phone number as you would dial it, or a SIP address.",
        None => "Enter a phone number with + and its country code, or a SIP address.",
    };
    element("query", NS_GATEWAY)
        .child(element("desc", NS_GATEWAY).text(desc))
        .child(element("prompt", NS_GATEWAY).text("Phone number or SIP address"))
        .build()
}

/// The contact JID of what was typed, or an error whose text says what is wrong with it.
pub fn contact(
    query: &Element,
    domain: &DomainRef,
    numbering: Option<&Numbering>,
) -> Result<Element, StanzaError> {
    let Some(typed) = query.get_child("prompt", NS_GATEWAY) else {
        let text = "what was typed goes into <prompt/>";
        return Err(StanzaError::because(Condition::BadRequest, text));
    };
    let typed = typed.text();
    let wrong = |error: contact::AddressError| {
        StanzaError::because(Condition::NotAcceptable, error.to_string())
    };
    // Who pastes a contact JID of ours means that contact, not a SIP address at our domain.
    let own = typed.trim().rsplit_once('@');
    let own = own.filter(|(_, host)| host.eq_ignore_ascii_case(domain.as_str()));
    let read = match own {
        Some((local, _)) => contact::parse(local),
        None => typed::parse(&typed, numbering),
    };
    let found = read.map_err(wrong)?;
    let jid = contact::jid(&found.address, found.spelling, "", domain).map_err(wrong)?;
    Ok(element("query", NS_GATEWAY)
        .child(element("jid", NS_GATEWAY).text(jid.as_str()))
        .build())
}
