//! What a participant wants of a channel (XEP-0404 §4.1): whether its JID is seen, and who may reach
//! it by what.

use std::time::Instant;

use minidom::Element;

use super::form::{self, Field};
use super::store::{Channel, JidVisibility, Participant};
use super::{Mix, NS_ANON, Outcome};
use crate::xmpp::stanza::{Condition, IqType, StanzaError, StanzaHead, element};

/// Whether a participant's JID is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// As the channel has it: hidden unless its JIDs are visible.
    #[default]
    Default,
    /// Never; rather out of the channel.
    Never,
    /// Always; rather out of the channel.
    Always,
    /// Only if the channel shows everybody's.
    PreferNot,
}

impl Visibility {
    const ALL: [Self; 4] = [Self::Default, Self::Never, Self::Always, Self::PreferNot];

    /// The value in a form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Never => "never",
            Self::Always => "always",
            Self::PreferNot => "prefer not",
        }
    }

    /// Reads the value of a form.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == word)
    }

    /// True if a channel of this kind is none for who wants this.
    pub fn conflicts(self, channel: JidVisibility) -> bool {
        matches!(
            (self, channel),
            (Self::Never, JidVisibility::Visible) | (Self::Always, JidVisibility::Hidden)
        )
    }
}

/// All that a participant may set for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// Whether its JID is to be seen.
    pub visibility: Visibility,
    /// It takes no private messages.
    pub blocks_messages: bool,
    /// Whether it is asked for its vCard. Without a word: if its JID is seen.
    pub vcard: Option<bool>,
    /// Its presence is not for the channel.
    pub hides_presence: bool,
}

impl Preferences {
    /// The same with what a form sets, if `channel` has room for it.
    pub fn with(self, form: &Element, channel: &Channel) -> Result<Self, StanzaError> {
        let mut wanted = self;
        let one = |var| {
            let values = form::values(form, var)?;
            Some(values.into_iter().next().unwrap_or_default())
        };
        let either = |value: &str, yes, no| match value {
            value if value == yes => Ok(true),
            value if value == no => Ok(false),
            _ => Err(Condition::NotAcceptable),
        };
        if let Some(value) = one("JID Visibility") {
            // XEP-0404's form template has it in upper case.
            let value = value.to_ascii_lowercase();
            wanted.visibility = Visibility::parse(&value).ok_or(Condition::NotAcceptable)?;
        }
        if let Some(value) = one("Private Messages") {
            wanted.blocks_messages = either(&value, "block", "allow")?;
        }
        if let Some(value) = one("vCard") {
            wanted.vcard = Some(either(&value, "allow", "block")?);
        }
        if let Some(value) = one("Presence") {
            wanted.hides_presence = either(&value, "not share", "share")?;
        }
        let settings = &channel.settings;
        let owes_presence = settings.must_provide_presence && wanted.hides_presence;
        match owes_presence || wanted.visibility.conflicts(settings.visibility) {
            true => Err(Condition::NotAllowed.into()),
            false => Ok(wanted),
        }
    }

    /// The form with all of them: to be filled in, or as the answer to one that was.
    pub fn form(self, kind: &'static str, channel: &Channel) -> Element {
        let word = |yes: bool, word: [&str; 2]| vec![word[usize::from(!yes)].to_owned()];
        let vcard = self.vcard.unwrap_or(!channel.hides(self.visibility));
        let fields: Vec<Field> = vec![
            (
                "JID Visibility",
                "list-single",
                vec![self.visibility.as_str().to_owned()],
            ),
            (
                "Private Messages",
                "list-single",
                word(!self.blocks_messages, ["allow", "block"]),
            ),
            ("vCard", "list-single", word(vcard, ["allow", "block"])),
            (
                "Presence",
                "list-single",
                word(!self.hides_presence, ["share", "not share"]),
            ),
        ];
        let options: &[(&str, &[&str])] = match kind {
            "form" => &[
                (
                    "JID Visibility",
                    &["default", "never", "always", "prefer not"],
                ),
                ("Private Messages", &["allow", "block"]),
                ("vCard", &["allow", "block"]),
                ("Presence", &["share", "not share"]),
            ],
            _ => &[],
        };
        form::of(kind, NS_ANON, fields, options)
    }
}

impl Mix {
    /// Reads or sets a participant's own preferences.
    pub(super) fn user_preference(
        &mut self,
        now: Instant,
        kind: IqType,
        head: &StanzaHead,
        wish: &Element,
        name: &str,
    ) -> Outcome {
        let (id, mut participant) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let before = participant.preferences;
        let (kind, wanted) = match kind {
            IqType::Set => {
                let form = form::submitted(wish, NS_ANON).ok_or(Condition::BadRequest)?;
                ("result", before.with(form, channel)?)
            }
            IqType::Get | IqType::Result | IqType::Error => ("form", before),
        };
        let answer = element("user-preference", NS_ANON).child(wanted.form(kind, channel));
        self.out.result(head, Some(answer.build()));
        participant.preferences = wanted;
        self.renew(now, name, &id, participant);
        Ok(())
    }
}

/// True if the vCard of a participant may be asked for.
pub(super) fn opens_vcard(channel: &Channel, participant: &Participant) -> bool {
    let hides = channel.hides(participant.preferences.visibility);
    participant.preferences.vcard.unwrap_or(!hides)
}
