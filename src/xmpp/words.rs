//! Chat messages of our own to users: each in the user's language, from the contact it is about.

use std::time::Instant;

use minidom::Element;

use super::jingle::Farewell;
use super::stanza::{MessageType, element};
use super::text::Language;
use super::{NS_HINTS, Xmpp};
use crate::address::{Address, contact};

impl Xmpp {
    /// Tells in words how calls ended that did not end well for a user.
    pub(super) fn bid_farewell(&mut self, now: Instant) {
        while let Some(farewell) = self.jingle.poll_farewell() {
            let Farewell {
                contact,
                user,
                said,
            } = farewell;
            let language = self.language_of(&user);
            let address = contact.node().map(|node| contact::parse(node.as_str()));
            let address = address.and_then(Result::ok);
            let address = address.map_or(Address::Anonymous, |contact| contact.address);
            let name = self.names.of(&user, &contact.to_bare());
            let time = self.clock.text(now);
            let text = said.text(language, &address, name, time.as_deref());
            let (from, to) = (contact.into(), user.into());
            let payload = worded(&text, language);
            self.words.message(MessageType::Chat, &from, &to, payload);
        }
    }

    /// What a user reads.
    pub(super) fn language_of(&self, user: &jid::BareJid) -> Language {
        self.languages.get(user).copied().unwrap_or_default()
    }
}

/// The payload of a text of ours, which archives shall keep as any other.
fn worded(text: &str, language: Language) -> [Element; 2] {
    let body = element("body", super::stanza::NS_COMPONENT)
        .attr("xml:lang", language.tag())
        .text(text);
    [body.build(), element("store", NS_HINTS).build()]
}
