//! Commands (XEP-0050) by which admins bring phones into a channel, and take them out: nothing in
//! MIX lets one join for another.
//!
//! Both take one form. A client may send it at once, or ask for it first; nothing is kept in
//! between.

use std::time::Instant;

use jid::BareJid;
use minidom::Element;

use super::address::StableId;
use super::participant::free_nick;
use super::store::Participant;
use super::{MAX_PARTICIPANTS, Mix, NS_COMMANDS, Outcome, form};
use crate::address::contact::{self, Spelling};
use crate::address::typed;
use crate::xmpp::stanza::{Condition, StanzaError, StanzaHead, element};

const FORM_TYPE: &str = "urn:offhook:phone-in-channel";

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Brings a phone in.
    Add,
    /// Takes it out.
    Remove,
}

impl Command {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Add, Self::Remove];

    /// Its node.
    pub(super) fn node(self) -> &'static str {
        match self {
            Self::Add => "add-phone",
            Self::Remove => "remove-phone",
        }
    }

    /// Its name for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Add => "Bring a phone into the channel",
            Self::Remove => "Take a phone out of the channel",
        }
    }
}

impl Mix {
    pub(super) fn command(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        command: &Element,
        name: &str,
    ) -> Outcome {
        let channel = self.channel(name)?;
        let is_known = |c: &Command| command.attr("node") == Some(c.node());
        let which = Command::ALL.into_iter().find(is_known);
        let which = which.ok_or(Condition::ItemNotFound)?;
        if !channel.is_admin(&head.from.to_bare()) || self.config.phones.is_none() {
            return Err(Condition::Forbidden.into());
        }
        let filled = command.get_child("x", form::NS_DATA);
        let (status, inner) = match (command.attr("action"), filled) {
            (Some("cancel"), _) => ("canceled", Vec::new()),
            (None | Some("execute"), None) => ("executing", asked(which)),
            (_, Some(form)) => {
                let text = match which {
                    Command::Add => self.add_phone(now, form, name)?,
                    Command::Remove => self.remove_phone(form, name)?,
                };
                let note = element("note", NS_COMMANDS).attr("type", "info");
                ("completed", vec![note.text(text).build()])
            }
            (Some(_), None) => return Err(Condition::BadRequest.into()),
        };
        let session = match command.attr("sessionid") {
            Some(given) => given.to_owned(),
            None => self.out.fresh_id(),
        };
        let answer = element("command", NS_COMMANDS)
            .attr("node", which.node())
            .attr("sessionid", session)
            .attr("status", status)
            .children(inner);
        self.out.result(head, Some(answer.build()));
        Ok(())
    }

    fn add_phone(
        &mut self,
        now: Instant,
        form: &Element,
        name: &str,
    ) -> Result<&'static str, StanzaError> {
        let jid = self.phone_in(form)?;
        let channel = self.channel(name)?;
        if channel.bans(&jid) {
            return Err(Condition::NotAllowed.into());
        }
        let id = StableId::of(&channel.settings.secret, &jid);
        if channel.participants.contains_key(&id) {
            return Err(Condition::Conflict.into());
        }
        if channel.participants.len() >= MAX_PARTICIPANTS {
            return Err(Condition::ResourceConstraint.into());
        }
        let number = jid.node().map(ToString::to_string).unwrap_or_default();
        let nick = form::values(form, "nick").and_then(|values| values.into_iter().next());
        let nick = free_nick(channel, &id, &nick.unwrap_or(number))?;
        let participant = Participant {
            jid: jid.clone(),
            nick: Some(nick),
            nodes: Default::default(),
            phone: true,
            fixed: false,
            preferences: Default::default(),
            clients: Default::default(),
        };
        self.renew(now, name, &id, participant);
        self.probe(now, name, &jid);
        Ok("The phone takes part.")
    }

    fn remove_phone(&mut self, form: &Element, name: &str) -> Result<&'static str, StanzaError> {
        let jid = self.phone_in(form)?;
        let id = self.channel(name)?.id_of(&jid);
        self.remove(name, &id.ok_or(Condition::ItemNotFound)?);
        Ok("The phone takes part no more.")
    }

    /// The contact JID of the number or SIP address in a form.
    fn phone_in(&self, form: &Element) -> Result<BareJid, StanzaError> {
        let wrong = |why: contact::AddressError| {
            StanzaError::because(Condition::NotAcceptable, why.to_string())
        };
        let given = form::values(form, "number").unwrap_or_default();
        let given = given.first().ok_or(Condition::BadRequest)?;
        let domain = self.config.phones.as_deref();
        let domain = domain.ok_or(Condition::ServiceUnavailable)?;
        let own = given
            .rsplit_once('@')
            .filter(|(_, d)| *d == domain.as_str());
        let read = match own {
            Some((local, _)) => contact::parse(local),
            None => typed::parse(given, None),
        };
        let address = read.map_err(wrong)?.address;
        contact::jid(&address, Spelling::default(), "", domain).map_err(wrong)
    }
}

/// The form to fill in.
fn asked(which: Command) -> Vec<Element> {
    let mut fields = vec![("number", "text-single", Vec::new())];
    if which == Command::Add {
        fields.push(("nick", "text-single", Vec::new()));
    }
    let actions = element("actions", NS_COMMANDS).attr("execute", "complete");
    let actions = actions.child(element("complete", NS_COMMANDS));
    vec![actions.build(), form::of("form", FORM_TYPE, fields, &[])]
}
