//! What people read of us, in their own language: why a call failed, what they have missed, what
//! is wrong with an address.
//!
//! A language is known by the `xml:lang` of what its user sends; who says nothing reads English.
//! Every phrase stands in one table (`phrases.rs`), which a test prints into docs/texts.md.

mod clock;
mod phrases;

use minidom::Element;
use minidom::rxml::Namespace;

use crate::address::Address;
use crate::address::contact::AddressError;
use crate::leg::{End, EndReason};

pub use clock::WallClock;
pub use phrases::{Phrase, address_error, failure};

/// A language that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
}

impl Language {
    /// Every language, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Spanish];

    /// The tag that `xml:lang` gets.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }

    /// The language of a tag, by its first subtag (RFC 5646 §2.2.1): `de-CH` is German.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        let mut all = Self::ALL.into_iter();
        all.find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The language that a stanza says it is in. What we do not speak counts as English, since its
    /// sender has said that it is not what was said before.
    pub fn of_stanza(stanza: &Element) -> Option<Self> {
        let tag = stanza.attr_ns(&Namespace::XML, "lang")?;
        Some(Self::of_tag(tag).unwrap_or_default())
    }
}

/// What a user is told once a call is over that it did not end well for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A call of the user failed, or broke off.
    Failed(EndReason, Option<u16>),
    /// A call that the user wanted to transfer goes on as before.
    NotTransferred(EndReason, Option<u16>),
    /// A call to the user was not answered.
    Missed,
    /// What the user called cannot be.
    NoAddress(AddressError),
}

impl Said {
    /// What an ended call of a user's is worth saying; `None` for what the user knows.
    pub fn of_failure(end: &End) -> Option<Self> {
        failure(end.reason)?;
        Some(Self::Failed(end.reason, end.sip_status))
    }

    /// The sentence.
    pub fn text(
        &self,
        language: Language,
        caller: &Address,
        name: Option<&str>,
        time: Option<&str>,
    ) -> String {
        match self {
            Self::Failed(reason, status) => why(*reason, *status, language),
            Self::NotTransferred(reason, status) => {
                let what = Phrase::NotTransferred.text(language);
                format!("{what} {}", why(*reason, *status, language))
            }
            Self::NoAddress(error) => address_error(error, language),
            Self::Missed => {
                let who = match (caller, name) {
                    (Address::Anonymous, _) => Phrase::Anonymous.text(language).to_owned(),
                    (known, Some(name)) => format!("{name} ({known})"),
                    (known, None) => known.to_string(),
                };
                let text = Phrase::Missed.text(language).replace("{who}", &who);
                match time {
                    Some(time) => format!("{text}, {time}"),
                    None => text,
                }
            }
        }
    }
}

/// Why a call failed, with the status that said so.
fn why(reason: EndReason, status: Option<u16>, language: Language) -> String {
    let why = failure(reason).unwrap_or(Phrase::Failed).text(language);
    match status {
        Some(status) => format!("{why} ({status})"),
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::E164;

    #[test]
    fn a_language_is_known_by_its_first_subtag() {
        for (tag, language) in [
            ("de", Some(Language::German)),
            ("de-CH", Some(Language::German)),
            ("FR_ca", Some(Language::French)),
            ("es-419", Some(Language::Spanish)),
            ("nl", None),
            ("", None),
        ] {
            assert_eq!(Language::of_tag(tag), language, "{tag}");
        }
        let stanza: Element = "<presence xmlns='jabber:client' xml:lang='es-MX'/>"
            .parse()
            .unwrap();
        assert_eq!(Language::of_stanza(&stanza), Some(Language::Spanish));
        let dutch: Element = "<presence xmlns='jabber:client' xml:lang='nl'/>"
            .parse()
            .unwrap();
        assert_eq!(Language::of_stanza(&dutch), Some(Language::English));
        let silent: Element = "<presence xmlns='jabber:client'/>".parse().unwrap();
        assert_eq!(Language::of_stanza(&silent), None);
    }

    #[test]
    fn a_failure_names_its_status_and_a_missed_call_its_number_name_and_time() {
        let failed = Said::Failed(EndReason::Busy, Some(486));
        let number = Address::Number(E164::parse("+15551234567").unwrap());
        assert_eq!(
            failed.text(Language::German, &number, None, None),
            "Der Anschluss ist besetzt. (486)"
        );
        let text = |name, time| Said::Missed.text(Language::English, &number, name, time);
        assert_eq!(text(None, None), "Missed call from +15551234567");
        assert_eq!(
            text(Some("Alice"), Some("2026-11-28 17:45 UTC")),
            "Missed call from Alice (+15551234567), 2026-11-28 17:45 UTC"
        );
        let kept = Said::NotTransferred(EndReason::Busy, Some(486));
        assert_eq!(
            kept.text(Language::English, &number, None, None),
            "The call was not transferred. The line is busy. (486)"
        );
        let hidden = Said::Missed.text(Language::French, &Address::Anonymous, None, None);
        assert_eq!(hidden, "Appel manqué : numéro masqué");
    }

    #[test]
    fn nobody_is_told_what_he_did_himself() {
        for reason in [
            EndReason::Hangup,
            EndReason::Cancelled,
            EndReason::AnsweredElsewhere,
            EndReason::PeerGone,
        ] {
            assert_eq!(Said::of_failure(&reason.into()), None, "{reason}");
        }
    }
}
