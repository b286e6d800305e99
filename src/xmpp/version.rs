//! Software version (XEP-0092), without the operating system: that is for nobody to know.

use minidom::Element;

use crate::xmpp::stanza::element;

/// The namespace of the query.
pub const NS_VERSION: &str = "jabber:iq:version";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_VERSION];

/// The answer.
pub fn query() -> Element {
    let name = element("name", NS_VERSION).text("Offhook");
    let version = element("version", NS_VERSION).text(env!("CARGO_PKG_VERSION"));
    element("query", NS_VERSION)
        .child(name)
        .child(version)
        .build()
}
