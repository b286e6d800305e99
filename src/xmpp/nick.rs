//! What a caller calls itself (XEP-0172): told to whom it calls, in the presence that introduces
//! it, in the invitation, and from then on in its vCard; to nobody else.

use jid::BareJid;
use minidom::Element;

use super::lru::Lru;
use super::stanza::element;

/// The namespace of the nickname.
pub const NS_NICK: &str = "http://jabber.org/protocol/nick";

/// Callers whose names are remembered, each for the user it has called. About 5 MB.
const MAX_NAMES: usize = 16_384;

/// Characters of a name that are kept: a telephone shows fewer.
const MAX_NAME: usize = 100;

/// The element that tells a name.
pub fn nick(name: &str) -> Element {
    element("nick", NS_NICK).text(name).build()
}

/// The names of callers.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// By the user who was called, and the contact that called.
    names: Lru<(BareJid, BareJid), String>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            names: Lru::new(MAX_NAMES),
        }
    }
}

impl Names {
    /// Remembers what a caller is called. Digits alone are no name: many trunks put the number
    /// there.
    pub(super) fn learn(&mut self, user: &BareJid, contact: &BareJid, name: Option<&str>) {
        let name: String = name
            .unwrap_or_default()
            .trim()
            .chars()
            .take(MAX_NAME)
            .collect();
        let key = (user.clone(), contact.clone());
        match name.chars().any(char::is_alphabetic) {
            true => self.names.insert(key, name),
            // Who calls without a name from now on is no longer called by the old one.
            false => drop(self.names.remove(&key)),
        }
    }

    /// What the caller of this user is called.
    pub(super) fn of(&self, user: &BareJid, contact: &BareJid) -> Option<&str> {
        let key = (user.clone(), contact.clone());
        self.names.get(&key).map(String::as_str)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_to_whom_was_called_and_digits_are_none() {
        let jid = |text| BareJid::new(text).unwrap();
        let (juliet, nurse) = (jid("juliet@x.example"), jid("nurse@x.example"));
        let contact = jid("+15551234@gw.example");
        let mut names = Names::default();
        names.learn(&juliet, &contact, Some("  Alice "));
        assert_eq!(names.of(&juliet, &contact), Some("Alice"));
        assert_eq!(names.of(&nurse, &contact), None);
        names.learn(&juliet, &contact, Some("+1 555 1234"));
        assert_eq!(names.of(&juliet, &contact), None);
        names.learn(&juliet, &contact, Some(&"é".repeat(1_000)));
        let kept = names.of(&juliet, &contact).unwrap();
        assert_eq!(kept.chars().count(), MAX_NAME);
        assert_eq!(names.len(), 1);
    }
}
