//! The messages of a channel, kept for whoever was not there (XEP-0313).
//!
//! They are not in memory: a message is a [`Change`] like others, and a query is a question to
//! whoever keeps the changes, which is answered later. Taking a message back (XEP-0407 §5.2) asks
//! first, too: only the message says whose it was.

use std::collections::BTreeMap;

use jid::{BareJid, Jid};
use minidom::Element;
use minidom::Node as XmlNode;

use super::rights::Role;
use super::store::{Change, Node};
use super::{Mix, NS_MISC, Outcome, address, form, stamp};
use crate::xmpp::stanza::{
    Condition, ErrorType, NS_CLIENT, NS_DELAY, StanzaError, StanzaHead, element,
};

/// XEP-0313.
pub const NS_MAM: &str = "urn:xmpp:mam:2";
const NS_RSM: &str = "http://jabber.org/protocol/rsm";
const NS_FORWARD: &str = "urn:xmpp:forward:0";

/// Messages of one answer, unless fewer are asked for; and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 100;
/// Elements within elements that are kept. No message of a person is deeper than 20.
const MAX_DEPTH: usize = 64;
/// Queries that wait for their answers at most.
const MAX_ASKED: usize = 1_000;

/// Which messages of a channel are wanted, in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The channel.
    pub channel: String,
    /// Only those after the one with this id.
    pub after: Option<String>,
    /// Only those before the one with this id; an empty id: the last ones.
    pub before: Option<String>,
    /// Only those sent at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only those sent at this time or earlier.
    pub until: Option<i64>,
    /// So many at most: the first ones, with `before` the last ones.
    pub most: usize,
    /// Only the one with this id; the answer is [`Answer::One`].
    pub only: Option<String>,
}

/// A message that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// When it was kept, in milliseconds since 1970.
    pub at: i64,
    /// The message.
    pub stanza: String,
}

/// What comes back to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The messages, oldest first.
    Page {
        /// The messages.
        messages: Vec<Kept>,
        /// There are no more in this direction.
        complete: bool,
    },
    /// The one message that was asked for.
    One {
        /// The message, if it is there.
        message: Option<Kept>,
        /// The time, in milliseconds since 1970.
        now: i64,
    },
    /// There is no message with the id of `after` or `before`.
    NoSuchMessage,
    /// They cannot be read at the moment.
    Failed,
}

/// Who waits for which answer.
#[derive(Default)]
pub(super) struct Asked {
    last: u64,
    open: BTreeMap<u64, (StanzaHead, Wish)>,
}

/// What somebody wants with the answer.
enum Wish {
    /// To read, with the id that the query has.
    Read(Option<String>),
    /// To take the message with this id back.
    Retract { channel: String, id: String },
}

impl Mix {
    /// Keeps messages, and answers queries for them.
    pub fn set_archives(&mut self, archives: bool) {
        self.archives = archives;
    }

    /// The next question to whoever keeps the changes, with its number.
    pub fn poll_question(&mut self) -> Option<(u64, Question)> {
        self.questions.pop_front()
    }

    /// Keeps a message as it goes to everybody.
    pub(super) fn archive(&mut self, name: &str, id: &str, message: &Element) {
        if !self.archives {
            return;
        }
        let component = self.out.ns();
        let mut kept = in_client_namespace(message, component, 0);
        kept.attrs_mut()
            .remove(&minidom::rxml::Namespace::NONE, "to");
        self.change(Change::Sent {
            channel: name.to_owned(),
            id: id.to_owned(),
            stanza: String::from(&kept),
        });
    }

    /// A query of a participant. The answer comes later.
    pub(super) fn query(&mut self, head: &StanzaHead, query: &Element, name: &str) -> Outcome {
        let channel = self.channel(name)?;
        if !self.archives {
            return Err(Condition::ServiceUnavailable.into());
        }
        if channel.role(&head.from.to_bare()) < Role::Participant {
            return Err(Condition::Forbidden.into());
        }
        let node = query.attr("node").map(Node::parse);
        if node.is_some_and(|node| node != Some(Node::Messages)) {
            return Err(Condition::ItemNotFound.into());
        }
        let question = question(query, name)?;
        let queryid = query.attr("queryid").map(str::to_owned);
        self.wonder(head, Wish::Read(queryid), question)
    }

    /// A message that takes another one back. Whether it may is known once that one is found.
    pub(super) fn take_back(
        &mut self,
        head: &StanzaHead,
        stanza: &Element,
        retract: &Element,
        name: &str,
    ) -> Outcome {
        self.participant(name, head)?;
        let id = retract.attr("id").filter(|id| !id.is_empty());
        let id = id.ok_or(Condition::BadRequest)?.to_owned();
        if stanza.children().any(|child| child.name() == "body") {
            return Err(Condition::BadRequest.into());
        }
        if !self.archives {
            return Err(Condition::ItemNotFound.into());
        }
        let channel = name.to_owned();
        let question = Question {
            channel: channel.clone(),
            only: Some(id.clone()),
            ..Question::default()
        };
        self.wonder(head, Wish::Retract { channel, id }, question)
    }

    fn wonder(&mut self, head: &StanzaHead, wish: Wish, question: Question) -> Outcome {
        if self.asked.open.len() >= MAX_ASKED {
            return Err(Condition::ResourceConstraint.into());
        }
        self.asked.last += 1;
        let number = self.asked.last;
        self.asked.open.insert(number, (head.clone(), wish));
        self.questions.push_back((number, question));
        Ok(())
    }

    /// Nothing can be read at the moment: who waits hears it.
    pub fn fail_questions(&mut self) {
        let open: Vec<u64> = self.asked.open.keys().copied().collect();
        for number in open {
            self.answer(number, Answer::Failed);
        }
    }

    /// The answer to a question has come.
    pub fn answer(&mut self, number: u64, answer: Answer) {
        let Some((head, wish)) = self.asked.open.remove(&number) else {
            return;
        };
        let outcome = match (wish, answer) {
            (Wish::Read(queryid), Answer::Page { messages, complete }) => {
                self.page(&head, queryid.as_deref(), messages, complete);
                Ok(())
            }
            (Wish::Retract { channel, id }, Answer::One { message, now }) => {
                self.bury(&head, &channel, &id, message, now)
            }
            (_, Answer::Failed) => Err(StanzaError {
                kind: ErrorType::Wait,
                ..StanzaError::from(Condition::InternalServerError)
            }),
            (_, Answer::NoSuchMessage | Answer::Page { .. } | Answer::One { .. }) => {
                Err(Condition::ItemNotFound.into())
            }
        };
        if let Err(error) = outcome {
            self.out.error(&head, &error);
        }
    }

    fn page(
        &mut self,
        head: &StanzaHead,
        queryid: Option<&str>,
        messages: Vec<Kept>,
        complete: bool,
    ) {
        let ends = (messages.first(), messages.last());
        let mut set = element("set", NS_RSM);
        if let (Some(first), Some(last)) = ends {
            set = set
                .child(element("first", NS_RSM).text(&first.id))
                .child(element("last", NS_RSM).text(&last.id));
        }
        let complete = complete.then_some("true");
        let fin = element("fin", NS_MAM).attr_opt("complete", complete);
        let fin = fin.child(set).build();
        for message in messages {
            self.hand_over(&head.to.to_bare(), &head.from, queryid, message);
        }
        self.out.result(head, Some(fin));
    }

    /// Puts a tombstone where the message was, and tells everybody.
    fn bury(
        &mut self,
        head: &StanzaHead,
        name: &str,
        id: &str,
        found: Option<Kept>,
        now: i64,
    ) -> Outcome {
        // Much may have happened since it was asked for.
        let (user, participant) = self.participant(name, head)?;
        let channel = self.channel(name)?;
        let found = found.and_then(|kept| kept.stanza.parse::<Element>().ok());
        let mut message = found.ok_or(Condition::ItemNotFound)?;
        if message.has_child("retracted", NS_MISC) {
            return Err(Condition::ItemNotFound.into());
        }
        let from = message
            .attr("from")
            .and_then(|from| from.parse::<Jid>().ok());
        let sender = from.as_ref().and_then(|from| from.resource());
        let is_own = sender.is_some_and(|sender| sender.as_str() == user.as_str());
        let settings = &channel.settings;
        let role = channel.role(&participant.jid);
        let may = (is_own && settings.user_retraction) || settings.retraction_rights.admits(role);
        if !may || message.has_child("retract", NS_MISC) {
            return Err(Condition::NotAllowed.into());
        }
        // XEP-0404 §3.3: the archive tells nobody more than everybody may know.
        let by = match channel.hides(participant.preferences.visibility) {
            true => address::encode(&self.config.domain, name, &user, None),
            false => Some(participant.jid.into()),
        };
        let retracted = element("retracted", NS_MISC)
            .attr_opt("by", by.as_ref().map(Jid::as_str))
            .attr("time", stamp::write(now));
        let kept = ["mix", "stanza-id"];
        let gone: Vec<(String, String)> = message
            .children()
            .filter(|child| !kept.contains(&child.name()))
            .map(|child| (child.name().to_owned(), child.ns()))
            .collect();
        for (name, ns) in gone {
            message.remove_child(&name, ns.as_str());
        }
        message.append_child(retracted.build());
        self.change(Change::Retracted {
            channel: name.to_owned(),
            id: id.to_owned(),
            stanza: String::from(&message),
        });
        let retract = element("retract", NS_MISC).attr("id", id);
        let told = element("message", self.out.ns()).child(retract).build();
        self.tell_everybody(head, &told, name)
    }

    fn hand_over(&mut self, from: &BareJid, to: &Jid, queryid: Option<&str>, kept: Kept) {
        let Ok(message) = kept.stanza.parse::<Element>() else {
            return;
        };
        let delay = element("delay", NS_DELAY).attr("stamp", stamp::write(kept.at));
        let forwarded = element("forwarded", NS_FORWARD).child(delay).child(message);
        let result = element("result", NS_MAM)
            .attr_opt("queryid", queryid)
            .attr("id", &kept.id)
            .child(forwarded);
        let id = self.tokens.uuid();
        let message = element("message", self.out.ns())
            .attr("from", from.as_str())
            .attr("to", to.as_str())
            .attr("id", id)
            .child(result);
        self.out.forward(message.build());
    }
}

/// Reads a query (XEP-0313 §4, XEP-0059).
fn question(query: &Element, name: &str) -> Result<Question, StanzaError> {
    let mut question = Question {
        channel: name.to_owned(),
        most: PAGE,
        ..Question::default()
    };
    if let Some(form) = form::submitted(query, NS_MAM) {
        let mut fields = form.children().filter_map(|field| field.attr("var"));
        // A filter that is not applied would be an answer to another question.
        if fields.any(|var| !["FORM_TYPE", "start", "end"].contains(&var)) {
            return Err(Condition::FeatureNotImplemented.into());
        }
        let time = |var| match form::values(form, var).unwrap_or_default().first() {
            Some(text) => stamp::read(text).map(Some).ok_or(Condition::BadRequest),
            None => Ok(None),
        };
        (question.since, question.until) = (time("start")?, time("end")?);
    }
    let Some(set) = query.get_child("set", NS_RSM) else {
        return Ok(question);
    };
    if let Some(max) = set.get_child("max", NS_RSM) {
        let max: usize = max
            .text()
            .trim()
            .parse()
            .map_err(|_| Condition::BadRequest)?;
        question.most = max.min(MAX_PAGE);
    }
    question.after = set.get_child("after", NS_RSM).map(Element::text);
    question.before = set.get_child("before", NS_RSM).map(Element::text);
    Ok(question)
}

/// The same stanza as clients know it: it is going to be part of another.
fn in_client_namespace(stanza: &Element, component: &str, depth: usize) -> Element {
    let ns = stanza.ns();
    let ns = if ns == component { NS_CLIENT } else { &ns };
    let mut same = Element::bare(stanza.name(), ns);
    *same.attrs_mut() = stanza.attrs().clone();
    for node in stanza.nodes() {
        match node {
            XmlNode::Element(child) if depth < MAX_DEPTH => {
                same.append_child(in_client_namespace(child, component, depth + 1));
            }
            XmlNode::Element(_) => {}
            XmlNode::Text(text) => same.append_text_node(text.clone()),
        }
    }
    same
}
