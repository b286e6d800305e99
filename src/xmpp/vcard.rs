//! Who a contact is: vcard-temp (XEP-0054) and vCard4 (XEP-0292), both read-only, and both with
//! nothing but what the JID says already and, to whom the contact has called, its name.

use minidom::Element;

use super::stanza::{Writer, element};
use crate::address::Address;

/// The namespace of vcard-temp.
pub const NS_VCARD_TEMP: &str = "vcard-temp";
/// The namespace of vCard4.
pub const NS_VCARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_VCARD_TEMP, NS_VCARD4];

/// A contact's vcard-temp.
pub fn temp(address: &Address, called: Option<&str>) -> Element {
    let card = temp_named(&name(address, called));
    match address {
        Address::Number(number) => card.child(
            element("TEL", NS_VCARD_TEMP)
                .child(element("VOICE", NS_VCARD_TEMP))
                .child(element("NUMBER", NS_VCARD_TEMP).text(number.as_str())),
        ),
        Address::Sip(sip) => card.child(element("URL", NS_VCARD_TEMP).text(&format!("sip:{sip}"))),
        Address::Xmpp(jid) => card.child(element("JABBERID", NS_VCARD_TEMP).text(jid.as_str())),
        Address::Anonymous => card,
    }
    .build()
}

/// The domain's vcard-temp.
pub fn temp_of_domain(name: &str) -> Element {
    temp_named(name).build()
}

fn temp_named(name: &str) -> Writer {
    element("vCard", NS_VCARD_TEMP).child(element("FN", NS_VCARD_TEMP).text(name))
}

/// A contact's vCard4 (RFC 6351).
pub fn vcard4(address: &Address, called: Option<&str>) -> Element {
    let card = vcard4_named(&name(address, called));
    let uri =
        |name, uri: String| element(name, NS_VCARD4).child(element("uri", NS_VCARD4).text(&uri));
    match address {
        Address::Number(number) => card.child(uri("tel", format!("tel:{number}"))),
        Address::Sip(sip) => card.child(uri("impp", format!("sip:{sip}"))),
        Address::Xmpp(jid) => card.child(uri("impp", format!("xmpp:{jid}"))),
        Address::Anonymous => card,
    }
    .build()
}

/// The domain's vCard4.
pub fn vcard4_of_domain(name: &str) -> Element {
    vcard4_named(name).build()
}

fn vcard4_named(name: &str) -> Writer {
    let text = element("text", NS_VCARD4).text(name);
    element("vcard", NS_VCARD4).child(element("fn", NS_VCARD4).child(text))
}

fn name(address: &Address, called: Option<&str>) -> String {
    match (address, called) {
        (_, Some(called)) => called.to_owned(),
        (Address::Anonymous, None) => "Anonymous".to_owned(),
        (Address::Number(_) | Address::Sip(_) | Address::Xmpp(_), None) => address.to_string(),
    }
}
