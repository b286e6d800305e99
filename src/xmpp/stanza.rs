//! Stanzas: what every one of them has (RFC 6120 §8), how one is answered, and how ours are written.
//!
//! Stanzas are told apart by local name only, because the same stanza is `jabber:client` on a
//! client's stream and `jabber:component:accept` on a component's (XEP-0114); payloads are told
//! apart by name and namespace. What this room writes has default namespaces and no prefixes: some
//! clients read nothing else.

use std::collections::VecDeque;

use jid::{BareJid, DomainPart, DomainRef, FullJid, Jid, ResourcePart};
use minidom::Element;

pub use super::element::{Writer, attributes, element};
use crate::id::TokenMaker;
use crate::xmpp::text::Language;

/// The namespace of a component's stanzas (XEP-0114 §3).
pub const NS_COMPONENT: &str = "jabber:component:accept";
/// The namespace of a client's stanzas (RFC 6120 §4.8.3).
pub const NS_CLIENT: &str = "jabber:client";
/// What says when a stanza was written that comes late (XEP-0203).
pub const NS_DELAY: &str = "urn:xmpp:delay";
/// The namespace of the defined conditions and of error texts (RFC 6120 §8.3.3).
pub const NS_STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// An id or a text longer than this is not carried on: ids are echoed and kept, and no client
/// writes one of more than 100 characters.
pub const MAX_ID: usize = 512;

/// Characters of a random stanza id: about 107 bits, which nobody guesses.
const ID_LENGTH: usize = 18;

/// Who this room is on its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A component: every JID of its domain is ours.
    Component {
        /// The domain of the contact JIDs.
        domain: DomainPart,
        /// The one resource of every contact and of the domain itself.
        resource: ResourcePart,
    },
    /// A user's client.
    Client {
        /// The bound JID.
        jid: FullJid,
    },
}

impl Identity {
    /// The namespace of stanzas on this stream.
    pub fn ns(&self) -> &'static str {
        match self {
            Self::Component { .. } => NS_COMPONENT,
            Self::Client { .. } => NS_CLIENT,
        }
    }

    /// The domain we are, or are logged in at.
    pub fn domain(&self) -> &DomainRef {
        match self {
            Self::Component { domain, .. } => domain,
            Self::Client { jid } => jid.domain(),
        }
    }

    /// True if stanzas to `jid` are for us, and we may write `from='jid'`.
    pub fn is_local(&self, jid: &Jid) -> bool {
        match self {
            Self::Component { domain, .. } => jid.domain() == &**domain,
            Self::Client { jid: own } => {
                jid.to_bare() == own.to_bare() && jid.resource().is_none_or(|r| r == own.resource())
            }
        }
    }

    /// The one full JID that stands for `jid`, whatever its resource: a component's contact has
    /// one constant resource, a client has its own.
    pub fn full(&self, jid: &Jid) -> FullJid {
        match self {
            Self::Component { resource, .. } => jid.to_bare().with_resource(resource),
            Self::Client { jid } => jid.clone(),
        }
    }

    /// The JID that speaks when nobody in particular was addressed.
    pub fn own(&self) -> Jid {
        match self {
            Self::Component { domain, .. } => domain.clone().into(),
            Self::Client { jid } => jid.clone().into(),
        }
    }

    /// Whom a stanza without `from` comes from: a client hears its own account so (RFC 6120
    /// §8.1.2.1); a component's stanzas always have one.
    fn silent_sender(&self) -> Option<BareJid> {
        match self {
            Self::Component { .. } => None,
            Self::Client { jid } => Some(jid.to_bare()),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$var_doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$var_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads the wire's word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// `type` of an iq (RFC 6120 §8.2.3).
    IqType {
        /// A question.
        Get "get",
        /// An order.
        Set "set",
        /// It went well.
        Result "result",
        /// It did not.
        Error "error",
    }
}
words! {
    /// `type` of a message (RFC 6121 §5.2.2).
    MessageType {
        /// No type, or an unknown one.
        Normal "normal",
        /// Of a one-to-one conversation, and all of XEP-0353.
        Chat "chat",
        /// Of a room.
        Groupchat "groupchat",
        /// Wants no answer.
        Headline "headline",
        /// A message of ours came back.
        Error "error",
    }
}
words! {
    /// `type` of a presence (RFC 6121 §4.7.1).
    PresenceType {
        /// No type on the wire.
        Available "",
        /// The resource has gone.
        Unavailable "unavailable",
        /// Wants to see our presence.
        Subscribe "subscribe",
        /// Lets us see theirs.
        Subscribed "subscribed",
        /// Does not want to see ours any more.
        Unsubscribe "unsubscribe",
        /// Does not let us see theirs any more.
        Unsubscribed "unsubscribed",
        /// A server asks for the present state.
        Probe "probe",
        /// A presence of ours came back.
        Error "error",
    }
}

/// Which stanza it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `<iq/>`
    Iq(IqType),
    /// `<message/>`
    Message(MessageType),
    /// `<presence/>`
    Presence(PresenceType),
}

impl Kind {
    /// True if the sender may be told an error: not in answer to an answer (RFC 6120 §8.3.1).
    pub fn wants_errors(self) -> bool {
        match self {
            Self::Iq(IqType::Get | IqType::Set) => true,
            Self::Iq(IqType::Result | IqType::Error) => false,
            Self::Message(kind) => !matches!(kind, MessageType::Error | MessageType::Headline),
            Self::Presence(kind) => kind != PresenceType::Error,
        }
    }

    fn element(self) -> &'static str {
        match self {
            Self::Iq(_) => "iq",
            Self::Message(_) => "message",
            Self::Presence(_) => "presence",
        }
    }
}

/// The attributes of a stanza that has come in, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaHead {
    /// Which stanza it is.
    pub kind: Kind,
    /// Who sent it.
    pub from: Jid,
    /// Which of our JIDs it was sent to; answers come from there.
    pub to: Jid,
    /// Its id; an iq always has one.
    pub id: Option<String>,
    /// The language that it says it is in.
    pub language: Option<Language>,
}

/// Why a stanza could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Nobody can be told: no usable sender, no id, not for us, or an answer itself.
    Drop(&'static str),
    /// The sender is told.
    Refuse(Box<StanzaHead>, Condition),
}

impl StanzaHead {
    /// Reads a stanza that came for `identity`.
    pub fn read(stanza: &Element, identity: &Identity) -> Result<Self, Unreadable> {
        use Unreadable::Drop;
        let [kind_word, id, from, to] = attributes(stanza, ["type", "id", "from", "to"]);
        let (kind, kind_known) = match stanza.name() {
            "iq" => {
                let kind = kind_word.and_then(IqType::parse);
                (Kind::Iq(kind.unwrap_or(IqType::Get)), kind.is_some())
            }
            // RFC 6121 §5.2.2: an unknown type is a normal message.
            "message" => {
                let kind = kind_word.and_then(MessageType::parse);
                (Kind::Message(kind.unwrap_or(MessageType::Normal)), true)
            }
            "presence" => {
                let kind = PresenceType::parse(kind_word.unwrap_or_default());
                let known = kind.is_some();
                let kind = kind.unwrap_or(PresenceType::Available);
                (Kind::Presence(kind), known)
            }
            _ => return Err(Drop("not a stanza")),
        };
        let id = id.map(str::to_owned);
        if id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return Err(Drop("the id is too long"));
        }
        let language = Language::of_stanza(stanza);
        let is_iq = matches!(kind, Kind::Iq(_));
        if is_iq && id.is_none() {
            return Err(Drop("an iq without id"));
        }
        let from = match from {
            Some(from) => Jid::new(from).map_err(|_| Drop("the sender's JID is malformed"))?,
            None => match identity.silent_sender() {
                Some(account) => account.into(),
                None => return Err(Drop("no sender")),
            },
        };
        let to = match to.map(Jid::new) {
            Some(Ok(to)) => to,
            None => identity.own(),
            Some(Err(_)) => {
                let to = identity.own();
                let head = Self {
                    kind,
                    from,
                    to,
                    id,
                    language,
                };
                return Err(Unreadable::Refuse(Box::new(head), Condition::JidMalformed));
            }
        };
        if !identity.is_local(&to) {
            // An error would have to come from a JID that is not ours, and servers close the
            // stream for that (XEP-0114 §3).
            return Err(Drop("not for us"));
        }
        let head = Self {
            kind,
            from,
            to,
            id,
            language,
        };
        match kind_known {
            true => Ok(head),
            false => Err(Unreadable::Refuse(Box::new(head), Condition::BadRequest)),
        }
    }

    /// The id, or nothing.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }
}

words! {
    /// `type` of an error (RFC 6120 §8.3.2).
    ErrorType {
        /// Retry after giving credentials.
        Auth "auth",
        /// Do not retry.
        Cancel "cancel",
        /// A warning only.
        Continue "continue",
        /// Retry after changing what was sent.
        Modify "modify",
        /// Retry after a while.
        Wait "wait",
    }
}
words! {
    /// The defined conditions (RFC 6120 §8.3.3).
    Condition {
        /// Not XMPP as agreed.
        BadRequest "bad-request",
        /// Something else stands there.
        Conflict "conflict",
        /// Understood, but not done here.
        FeatureNotImplemented "feature-not-implemented",
        /// Not for you.
        Forbidden "forbidden",
        /// Moved, maybe for good.
        Gone "gone",
        /// The server's own fault.
        InternalServerError "internal-server-error",
        /// There is no such thing.
        ItemNotFound "item-not-found",
        /// That is no JID.
        JidMalformed "jid-malformed",
        /// Not within our rules.
        NotAcceptable "not-acceptable",
        /// Nobody may.
        NotAllowed "not-allowed",
        /// Say who you are.
        NotAuthorized "not-authorized",
        /// Not within the local policy.
        PolicyViolation "policy-violation",
        /// Not there for the time being.
        RecipientUnavailable "recipient-unavailable",
        /// Look elsewhere.
        Redirect "redirect",
        /// Register first.
        RegistrationRequired "registration-required",
        /// There is no such server.
        RemoteServerNotFound "remote-server-not-found",
        /// The server does not answer.
        RemoteServerTimeout "remote-server-timeout",
        /// Too much at once.
        ResourceConstraint "resource-constraint",
        /// Not done here.
        ServiceUnavailable "service-unavailable",
        /// Subscribe first.
        SubscriptionRequired "subscription-required",
        /// None of the others.
        UndefinedCondition "undefined-condition",
        /// Understood, but not at this time.
        UnexpectedRequest "unexpected-request",
    }
}

impl Condition {
    /// The type that RFC 6120 §8.3.3 gives it.
    pub fn usual_type(self) -> ErrorType {
        match self {
            Self::BadRequest
            | Self::JidMalformed
            | Self::NotAcceptable
            | Self::PolicyViolation
            | Self::Redirect => ErrorType::Modify,
            Self::Forbidden
            | Self::NotAuthorized
            | Self::RegistrationRequired
            | Self::SubscriptionRequired => ErrorType::Auth,
            Self::RecipientUnavailable
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
        }
    }
}

/// A stanza error, in or out.
#[derive(Clone, Debug, PartialEq)]
pub struct StanzaError {
    /// What the sender may do.
    pub kind: ErrorType,
    /// What is wrong.
    pub condition: Condition,
    /// Text for people.
    pub text: Option<String>,
    /// The language of the text.
    pub language: Language,
    /// An application's own condition, such as Jingle's `<unknown-session/>`.
    pub detail: Option<Box<Element>>,
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> Self {
        Self {
            kind: condition.usual_type(),
            condition,
            text: None,
            language: Language::English,
            detail: None,
        }
    }
}

impl StanzaError {
    /// An error with a text for people.
    pub fn because(condition: Condition, text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::from(condition)
        }
    }

    /// The same error with its text in a language.
    pub fn in_language(self, language: Language) -> Self {
        Self { language, ..self }
    }

    /// The same error with an application's own condition.
    pub fn with_detail(self, detail: Element) -> Self {
        Self {
            detail: Some(Box::new(detail)),
            ..self
        }
    }

    /// Reads the error of a stanza of type `error`; what is missing or unknown becomes
    /// `undefined-condition`.
    pub fn read(stanza: &Element) -> Self {
        let mut read = Self::from(Condition::UndefinedCondition);
        let Some(error) = stanza.children().find(|c| c.name() == "error") else {
            return read;
        };
        for child in error.children() {
            if child.ns() != NS_STANZAS {
                read.detail = Some(Box::new(child.clone()));
            } else if child.name() == "text" {
                read.text = Some(child.text());
            } else if let Some(condition) = Condition::parse(child.name()) {
                read.condition = condition;
            }
        }
        let kind = error.attr("type").and_then(ErrorType::parse);
        read.kind = kind.unwrap_or(read.condition.usual_type());
        read
    }

    pub(crate) fn element(&self, ns: &str) -> Element {
        element("error", ns)
            .attr("type", self.kind.as_str())
            .child(element(self.condition.as_str(), NS_STANZAS))
            .children(self.text.as_ref().map(|text| {
                element("text", NS_STANZAS)
                    .attr("xml:lang", self.language.tag())
                    .text(text)
                    .build()
            }))
            .children(self.detail.as_deref().cloned())
            .build()
    }
}

/// Stanzas on their way out. Whoever feeds the room empties it after each input, so it holds what
/// one input caused.
pub struct Outbox {
    ns: &'static str,
    tokens: TokenMaker,
    queue: VecDeque<Element>,
}

impl Outbox {
    /// An empty outbox of `identity`.
    pub fn new(identity: &Identity, tokens: TokenMaker) -> Self {
        Self {
            ns: identity.ns(),
            tokens,
            queue: VecDeque::new(),
        }
    }

    /// The next stanza.
    pub fn pop(&mut self) -> Option<Element> {
        self.queue.pop_front()
    }

    /// The namespace of the stanzas.
    pub fn ns(&self) -> &'static str {
        self.ns
    }

    /// A fresh random id.
    pub fn fresh_id(&mut self) -> String {
        self.tokens.token(ID_LENGTH)
    }

    /// Answers an iq get or set that went well.
    pub fn result(&mut self, head: &StanzaHead, payload: Option<Element>) {
        let head = reply(head, Kind::Iq(IqType::Result));
        self.push(head, payload);
    }

    /// Answers with an error, or with nothing if the stanza was an answer itself (RFC 6120
    /// §8.3.1), so that errors never go round in circles.
    pub fn error(&mut self, head: &StanzaHead, error: &StanzaError) {
        if !head.kind.wants_errors() {
            return;
        }
        let kind = match head.kind {
            Kind::Iq(_) => Kind::Iq(IqType::Error),
            Kind::Message(_) => Kind::Message(MessageType::Error),
            Kind::Presence(_) => Kind::Presence(PresenceType::Error),
        };
        let error = error.element(self.ns);
        self.push(reply(head, kind), Some(error));
    }

    /// Sends an iq get or set and returns its id.
    pub fn iq(&mut self, kind: IqType, from: &Jid, to: &Jid, payload: Element) -> String {
        let id = self.fresh_id();
        self.push(head(Kind::Iq(kind), from, to, id.clone()), Some(payload));
        id
    }

    /// Sends a message and returns its id.
    pub fn message(
        &mut self,
        kind: MessageType,
        from: &Jid,
        to: &Jid,
        payload: impl IntoIterator<Item = Element>,
    ) -> String {
        let id = self.fresh_id();
        self.push(head(Kind::Message(kind), from, to, id.clone()), payload);
        id
    }

    /// Sends a presence.
    pub fn presence(
        &mut self,
        kind: PresenceType,
        from: &Jid,
        to: &Jid,
        payload: impl IntoIterator<Item = Element>,
    ) {
        let id = self.fresh_id();
        self.push(head(Kind::Presence(kind), from, to, id), payload);
    }

    /// Sends presence to everybody who may see it: without `to`, which only a client can do.
    pub fn broadcast(&mut self, from: &Jid, payload: impl IntoIterator<Item = Element>) {
        let id = self.fresh_id();
        let stanza = element("presence", self.ns)
            .attr("from", from.as_str())
            .attr("id", id)
            .children(payload);
        self.queue.push_back(stanza.build());
    }

    /// The `<error/>` child that tells `error`.
    pub fn error_of(&self, error: &StanzaError) -> Element {
        error.element(self.ns)
    }

    /// Sends a stanza that is whole already.
    pub fn forward(&mut self, stanza: Element) {
        self.queue.push_back(stanza);
    }

    fn push(&mut self, head: StanzaHead, payload: impl IntoIterator<Item = Element>) {
        let kind = match head.kind {
            Kind::Iq(kind) => Some(kind.as_str()),
            Kind::Message(kind) => Some(kind.as_str()),
            Kind::Presence(PresenceType::Available) => None,
            Kind::Presence(kind) => Some(kind.as_str()),
        };
        let id = match head.id {
            Some(id) => id,
            None => self.fresh_id(),
        };
        let stanza = element(head.kind.element(), self.ns)
            .attr_opt("type", kind)
            .attr("from", head.from.as_str())
            .attr("to", head.to.as_str())
            .attr("id", id)
            .children(payload);
        self.queue.push_back(stanza.build());
    }
}

/// The head of the answer: from the JID that was asked to the one that did.
fn reply(asked: &StanzaHead, kind: Kind) -> StanzaHead {
    StanzaHead {
        kind,
        from: asked.to.clone(),
        to: asked.from.clone(),
        id: asked.id.clone(),
        language: None,
    }
}

fn head(kind: Kind, from: &Jid, to: &Jid, id: String) -> StanzaHead {
    StanzaHead {
        kind,
        from: from.clone(),
        to: to.clone(),
        id: Some(id),
        language: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> Identity {
        Identity::Component {
            domain: DomainPart::new("gw.example").unwrap().into_owned(),
            resource: ResourcePart::new("phone").unwrap().into_owned(),
        }
    }

    fn read(xml: &str) -> Result<StanzaHead, Unreadable> {
        StanzaHead::read(&xml.parse().unwrap(), &gateway())
    }

    #[test]
    fn a_stanza_is_read_in_either_stream_namespace() {
        for ns in [NS_CLIENT, NS_COMPONENT] {
            let head = read(&format!(
                "<iq xmlns='{ns}' type='get' id='1' from='a@b/c' to='+1555@gw.example'/>"
            ));
            assert_eq!(head.unwrap().kind, Kind::Iq(IqType::Get));
        }
    }

    #[test]
    fn malformed_heads_are_refused_where_somebody_can_be_told() {
        let refused = |xml: &str| match read(xml) {
            Err(Unreadable::Refuse(_, condition)) => Some(condition),
            _ => None,
        };
        let bad_to = "<iq xmlns='jabber:client' type='get' id='1' from='a@b/c' to='@@'/>";
        assert_eq!(refused(bad_to), Some(Condition::JidMalformed));
        let no_type = "<iq xmlns='jabber:client' id='1' from='a@b/c' to='gw.example'/>";
        assert_eq!(refused(no_type), Some(Condition::BadRequest));
        let odd = "<presence xmlns='jabber:client' type='odd' from='a@b/c' to='gw.example'/>";
        assert_eq!(refused(odd), Some(Condition::BadRequest));
        for dropped in [
            "<iq xmlns='jabber:client' type='get' from='a@b/c' to='gw.example'/>",
            "<iq xmlns='jabber:client' type='get' id='1' from='@@' to='gw.example'/>",
            "<iq xmlns='jabber:client' type='get' id='1' to='gw.example'/>",
            "<iq xmlns='jabber:client' type='get' id='1' from='a@b/c' to='other.example'/>",
            "<odd xmlns='jabber:client' from='a@b/c' to='gw.example'/>",
        ] {
            assert!(
                matches!(read(dropped), Err(Unreadable::Drop(_))),
                "{dropped}"
            );
        }
    }

    #[test]
    fn errors_are_written_as_rfc_6120_says_and_read_back() {
        let head =
            read("<iq xmlns='jabber:client' type='set' id='q' from='a@b/c' to='gw.example'/>")
                .unwrap();
        let mut out = Outbox::new(&gateway(), TokenMaker::new([1; 32]));
        let error = StanzaError::because(Condition::ItemNotFound, "no such\u{0} session")
            .with_detail(element("unknown-session", "urn:xmpp:jingle:errors:1").build());
        out.error(&head, &error);
        let stanza = out.pop().unwrap();
        assert_eq!(
            String::from(&stanza),
            "<iq xmlns='jabber:component:accept' from='gw.example' id='q' to='a@b/c' \
             type='error'><error type='cancel'><item-not-found \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>no such\u{fffd} session\
             </text><unknown-session xmlns='urn:xmpp:jingle:errors:1'/></error></iq>"
        );
        let read = StanzaError::read(&stanza);
        assert_eq!(read.condition, Condition::ItemNotFound);
        assert!(read.detail.is_some());
    }

    #[test]
    fn answers_get_no_errors() {
        let mut out = Outbox::new(&gateway(), TokenMaker::new([1; 32]));
        for stanza in [
            "<iq xmlns='jabber:client' type='result' id='1' from='a@b/c' to='gw.example'/>",
            "<iq xmlns='jabber:client' type='error' id='1' from='a@b/c' to='gw.example'/>",
            "<message xmlns='jabber:client' type='error' from='a@b/c' to='gw.example'/>",
            "<presence xmlns='jabber:client' type='error' from='a@b/c' to='gw.example'/>",
        ] {
            out.error(&read(stanza).unwrap(), &Condition::BadRequest.into());
        }
        assert!(out.pop().is_none());
    }
}
