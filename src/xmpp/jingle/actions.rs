//! Jingle actions that come in (XEP-0166 §7.2), and the answers to ours.
//!
//! Every iq set is answered at once from the JID it was sent to. A live session never gets an
//! error, whatever it sent: Conversations ends the call for one.

use std::time::Instant;

use jid::Jid;
use minidom::Element;
use tracing::debug;

use super::content::{self, ContentError, MAX_CONTENTS, Side};
use super::info::Info;
use super::message::MAX_SID;
use super::session::{Key, Origin, Session, State, Wire};
use super::transport::MAX_CANDIDATES;
use super::{
    Asked, Jingle, NS_JINGLE, Protection, Timer, What, answer, info, jingle_error, reason,
    transfer, transport,
};
use crate::address::Address;
use crate::description::{Description, Transport};
use crate::id::LegId;
use crate::leg::{End, EndReason, LegEvent, Offering};
use crate::xmpp::stanza::{Condition, IqType, StanzaError, StanzaHead, element};

impl Jingle {
    /// An iq set with a `<jingle/>`; this room answers it.
    pub fn handle_iq(&mut self, now: Instant, head: &StanzaHead, jingle: &Element) {
        let action = jingle.attr("action").unwrap_or_default();
        let sid = jingle.attr("sid").unwrap_or_default();
        if action == "session-initiate" && transfer::takes_place(jingle) {
            return self.out.error(head, &transfer::no_place());
        }
        let key = Self::key(head, sid);
        let leg = self.leg(&key);
        let Some((leg, session)) = leg.and_then(|leg| Some((leg, self.sessions.get(&leg)?))) else {
            self.handle_unknown(now, head, key, action, jingle);
            return;
        };
        let is_device = session
            .device
            .as_ref()
            .is_some_and(|device| *device == head.from);
        let awaits_offer = matches!(
            session.state,
            State::Invited { early: None } | State::Expecting { .. }
        );
        // The offer may come from another device of the user than the invitation.
        let is_offer = awaits_offer && action == "session-initiate" && head.from.is_full();
        if !is_device && !is_offer {
            match action {
                "session-terminate" => self.out.result(head, None),
                _ => self.refuse_unknown(head),
            }
            return;
        }
        self.timers.stop(&Timer::Away(leg));
        if let ("session-info", Some(transfer)) = (action, transfer::read(jingle)) {
            return self.transfer(leg, head, transfer);
        }
        self.out.result(head, None);
        match action {
            "session-initiate" => self.offered(leg, &head.from, jingle),
            "session-accept" => self.accepted(leg, jingle),
            "session-terminate" => self.terminated(leg, jingle),
            "session-info" => self.informed(leg, jingle),
            "transport-info" => self.trickled(leg, jingle),
            "transport-replace" => self.reject(now, leg, "transport-reject", jingle),
            "content-add" => self.reject(now, leg, "content-reject", jingle),
            "content-remove" => self.removed(leg, jingle),
            "content-modify" => self.modified(leg, jingle),
            // description-info, security-info, what answers things we never say,
            // and what nobody has defined.
            _ => debug!(%leg, action, "jingle action without effect"),
        }
    }

    /// An action outside of every session.
    fn handle_unknown(
        &mut self,
        now: Instant,
        head: &StanzaHead,
        key: Key,
        action: &str,
        jingle: &Element,
    ) {
        match action {
            "session-initiate" => self.initiated(now, head, key, jingle),
            "session-terminate" => self.out.result(head, None),
            // COMPAT(Movim): tells of candidates that it has filtered out with neither sid nor
            // content.
            "transport-info" if key.sid.is_empty() => self.out.result(head, None),
            _ => self.refuse_unknown(head),
        }
    }

    fn refuse_unknown(&mut self, head: &StanzaHead) {
        let error = jingle_error(Condition::ItemNotFound, "unknown-session");
        self.out.error(head, &error);
    }

    /// A `session-initiate` without an invitation.
    fn initiated(&mut self, _now: Instant, head: &StanzaHead, key: Key, jingle: &Element) {
        if key.sid.is_empty() || key.sid.len() > MAX_SID {
            self.out.error(head, &Condition::BadRequest.into());
            return;
        }
        let Ok(device) = head.from.try_as_full() else {
            self.out.error(head, &Condition::BadRequest.into());
            return;
        };
        if let Some(condition) = self.over.condition(&key) {
            // It crossed our goodbye, which the client may have missed for lack of a session.
            self.decline(head, &key, condition);
            return;
        }
        let Ok(to) = self.called(&head.to) else {
            self.out.error(head, &Condition::ItemNotFound.into());
            return;
        };
        if !self.has_room(&key.peer) {
            self.out.error(head, &Condition::ResourceConstraint.into());
            return;
        }
        // XEP-0166 §7.2.16: the lower sid wins. If that is theirs, they refuse ours by themselves.
        let ours_wins = self
            .between(&key.peer, &key.local)
            .any(|(_, s)| matches!(s.state, State::Offering { .. }) && s.key.sid < key.sid);
        if ours_wins {
            let error = jingle_error(Condition::Conflict, "tie-break");
            self.out.error(head, &error);
            return;
        }
        let mut offer = match self.read_offer(jingle) {
            Ok(offer) => offer,
            Err(Refusal::Content(ContentError::Malformed(why))) => {
                let error = StanzaError::because(Condition::BadRequest, why);
                self.out.error(head, &error);
                return;
            }
            Err(refusal) => {
                self.decline(head, &key, refusal.condition());
                return;
            }
        };
        self.out.result(head, None);
        let mut wire = Wire::default();
        wire.heard(&mut offer);
        let leg = self.next_caller();
        let from = Address::Xmpp(key.peer.clone());
        let session = Session {
            local: self.identity.full(&head.to),
            device: Some(device.clone()),
            side: Side::Responder,
            origin: Origin::Direct,
            state: State::Offered {
                offer: offer.clone(),
                moved: false,
            },
            wire,
            transferred: false,
            key,
        };
        self.insert(leg, session);
        self.tell(
            leg,
            LegEvent::Offered {
                from,
                to,
                display_name: None,
                conceals: false,
                offer: Offering::Described(offer),
                trunk: None,
            },
        );
        self.dial_on(leg, &head.to);
    }

    /// Acknowledges a session and ends it: the only way to tell a client why (XEP-0166 §6.5).
    fn decline(&mut self, head: &StanzaHead, key: &Key, condition: &'static str) {
        self.out.result(head, None);
        let jingle = element("jingle", NS_JINGLE)
            .attr("action", "session-terminate")
            .attr("sid", &key.sid)
            .child(reason::write(condition, None));
        let from = self.identity.full(&head.to).into();
        self.out.iq(IqType::Set, &from, &head.from, jingle.build());
    }

    fn read_offer(&self, jingle: &Element) -> Result<Description, Refusal> {
        let mut offer = content::read(jingle, Side::Initiator).map_err(Refusal::Content)?;
        self.check_protection(&offer)?;
        if !answer::is_answerable(&offer) {
            return Err(Refusal::Unbundled);
        }
        answer::prefer_dtls(&mut offer);
        Ok(offer)
    }

    fn check_protection(&self, description: &Description) -> Result<(), Refusal> {
        match self.protection {
            Protection::Optional => Ok(()),
            Protection::Required if answer::is_protected(description) => Ok(()),
            Protection::Required => Err(Refusal::Unprotected),
        }
    }

    /// The `session-initiate` of a session that an invitation announced; or one that is repeated.
    fn offered(&mut self, leg: LegId, from: &Jid, jingle: &Element) {
        let read = self.read_offer(jingle);
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let (is_early, was_moved) = match &session.state {
            State::Invited { early: None } => (true, false),
            State::Expecting { moved } => (false, *moved),
            State::Invited { early: Some(_) }
            | State::Offered { .. }
            | State::Inviting { .. }
            | State::Offering { .. }
            | State::Active { .. } => return,
        };
        if let Ok(device) = from.try_as_full() {
            session.device = Some(device.clone());
        }
        self.timers.stop(&Timer::Offer(leg));
        let mut offer = match read {
            Ok(offer) => offer,
            Err(refusal) => {
                // There is a session from here on, and its end is session-terminate.
                session.state = State::Offered {
                    offer: Description::default(),
                    moved: was_moved,
                };
                self.close(leg, refusal.end());
                return;
            }
        };
        session.wire.heard(&mut offer);
        if is_early {
            session.state = State::Invited { early: Some(offer) };
            return;
        }
        session.state = State::Offered {
            offer: offer.clone(),
            moved: was_moved,
        };
        self.tell(leg, LegEvent::Updated(offer));
    }

    /// The answer to our offer.
    fn accepted(&mut self, leg: LegId, jingle: &Element) {
        let Some(State::Offering { .. }) = self.sessions.get(&leg).map(|s| &s.state) else {
            return;
        };
        let read = content::read(jingle, Side::Responder).map_err(Refusal::Content);
        let read = read.and_then(|theirs| self.check_protection(&theirs).map(|()| theirs));
        let mut theirs = match read {
            Ok(theirs) => theirs,
            Err(refusal) => {
                self.close(leg, refusal.end());
                return;
            }
        };
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        answer::prefer_dtls(&mut theirs);
        answer::settle_setup(&mut theirs);
        session.wire.heard(&mut theirs);
        session.state = State::Active {
            theirs: theirs.clone(),
            held: false,
        };
        self.tell(leg, LegEvent::Answered(theirs));
    }

    fn terminated(&mut self, leg: LegId, jingle: &Element) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let end = reason::read_end(jingle, session.state.phase(leg.role));
        // Nothing to finish where nobody has proceeded.
        let proceeded = !session.state.is_open_to_devices();
        let condition = reason::for_terminate(end.reason);
        if proceeded {
            self.finish(leg, condition, None);
        }
        self.forget(leg, condition, end);
    }

    fn informed(&mut self, leg: LegId, jingle: &Element) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let event = match (info::read(jingle), &mut session.state) {
            (Some(Info::Ringing), State::Offering { rings }) if !*rings => {
                *rings = true;
                LegEvent::Ringing
            }
            (Some(Info::Hold), State::Active { held, .. }) if !*held => {
                *held = true;
                LegEvent::Held(true)
            }
            (Some(Info::Unhold), State::Active { held, .. }) if *held => {
                *held = false;
                LegEvent::Held(false)
            }
            (Some(Info::Ringing | Info::Hold | Info::Unhold) | None, _) => return,
        };
        self.tell(leg, event);
    }

    /// Another `senders` of the sound: a peer that no longer wants to receive holds the call.
    fn modified(&mut self, leg: LegId, jingle: &Element) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let (ours, theirs) = (session.side, session.side.other());
        let State::Active { theirs: _, held } = &mut session.state else {
            return;
        };
        let senders = content::contents(jingle)
            .take(MAX_CONTENTS)
            .find(|content| session.wire.is_voice(content.attr("name").unwrap_or("")))
            .and_then(|content| content.attr("senders"));
        let holds = match senders {
            Some("none") => true,
            Some(who) if who == theirs.as_str() => true,
            Some(who) if who == "both" || who == ours.as_str() => false,
            Some(_) | None => return,
        };
        if std::mem::replace(held, holds) != holds {
            self.tell(leg, LegEvent::Held(holds));
        }
    }

    fn trickled(&mut self, leg: LegId, jingle: &Element) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        let mut news = Vec::new();
        for content in content::contents(jingle).take(MAX_CONTENTS) {
            let Some(read) = content.children().find_map(transport::read) else {
                continue;
            };
            // An ufrag alone says only which generation the candidates are of.
            let credentials = read.ufrag.zip(read.pwd);
            let name = content.attr("name").unwrap_or_default();
            news.extend(session.wire.trickled(name, credentials, read.candidates));
        }
        match &mut session.state {
            State::Invited { early: Some(offer) } => {
                for info in news {
                    let named = offer.streams.iter_mut().find(|s| s.name == info.stream);
                    let Some(Transport::Ice(ice)) = named.map(|s| &mut s.transport) else {
                        continue;
                    };
                    if let Some((ufrag, pwd)) = info.credentials
                        && ufrag != ice.ufrag
                    {
                        (ice.ufrag, ice.pwd) = (ufrag, pwd);
                        ice.candidates.clear();
                    }
                    ice.candidates.extend(info.candidates);
                    ice.candidates.truncate(MAX_CANDIDATES);
                }
            }
            State::Offered { .. } | State::Offering { .. } | State::Active { .. } => {
                for info in news {
                    self.tell(leg, LegEvent::Transport(info));
                }
            }
            State::Invited { early: None } | State::Expecting { .. } | State::Inviting { .. } => {}
        }
    }

    /// Refuses contents or transports that the peer wants in addition.
    fn reject(&mut self, now: Instant, leg: LegId, action: &'static str, jingle: &Element) {
        let named = content::contents(jingle)
            .take(MAX_CONTENTS)
            .filter_map(|content| {
                let name = content
                    .attr("name")
                    .filter(|n| n.len() <= content::MAX_NAME)?;
                let creator = match content.attr("creator") {
                    Some("responder") => Side::Responder,
                    _ => Side::Initiator,
                };
                let mut refused = content::write_name(name, creator);
                if action == "transport-reject"
                    && let Some(transport) = content.children().find(|c| c.name() == "transport")
                {
                    // XEP-0166 §7.2.15: what is rejected is named by its namespace.
                    refused.append_child(Element::bare("transport", transport.ns()));
                }
                Some(refused)
            });
        let mut children: Vec<_> = named.collect();
        if action == "content-reject" {
            children.push(reason::write("unsupported-applications", None));
        }
        self.request(Some((now, What::Other)), leg, action, children);
    }

    /// A content goes. Gajim hangs up like this.
    fn removed(&mut self, leg: LegId, jingle: &Element) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let phase = session.state.phase(leg.role);
        let takes_voice = content::contents(jingle)
            .take(MAX_CONTENTS)
            .any(|c| session.wire.is_voice(c.attr("name").unwrap_or_default()));
        if takes_voice {
            self.close(leg, reason::read_end(jingle, phase));
        }
    }

    /// The answer to an iq that the router does not know, so this room may have sent it.
    ///
    /// Only an error that says the session or the client is not there ends a leg: clients complain
    /// about much that they can live with.
    pub fn handle_iq_response(
        &mut self,
        _now: Instant,
        id: &str,
        from: &Jid,
        outcome: Result<(), StanzaError>,
    ) {
        let Some(Asked { leg, sid, what }) = self.requests.answered(id, from) else {
            return;
        };
        let Err(error) = outcome else {
            return;
        };
        let current = self.sessions.get(&leg);
        if current.is_none_or(|session| session.key.sid != sid) {
            return;
        }
        let is_unknown = error
            .detail
            .as_ref()
            .is_some_and(|d| d.name() == "unknown-session");
        let is_gone = is_unknown
            || matches!(
                error.condition,
                Condition::ItemNotFound
                    | Condition::ServiceUnavailable
                    | Condition::RecipientUnavailable
                    | Condition::RemoteServerNotFound
                    | Condition::RemoteServerTimeout
            );
        let reason = match (what, is_gone) {
            (What::Initiate, true) => EndReason::Unavailable,
            (What::Initiate, false) if error.condition == Condition::Conflict => EndReason::Busy,
            (What::Initiate, false) => EndReason::NotAcceptable,
            (What::Other, true) => EndReason::PeerGone,
            (What::Other, false) => {
                debug!(%leg, condition = error.condition.as_str(), "the client complains");
                return;
            }
        };
        let condition = reason::for_terminate(reason);
        self.finish(leg, condition, None);
        let text = format!("the client answered {}", error.condition.as_str());
        self.forget(leg, condition, End::because(reason, text));
    }
}

/// Why an offer or an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Content(ContentError),
    #[error("no DTLS-SRTP, and calls must be encrypted")]
    Unprotected,
    #[error("more contents without BUNDLE than there are transports for")]
    Unbundled,
}

impl Refusal {
    fn condition(&self) -> &'static str {
        match self {
            Self::Content(ContentError::Malformed(_)) => "failed-application",
            Self::Content(ContentError::Application(_)) | Self::Unbundled => {
                "unsupported-applications"
            }
            Self::Content(ContentError::Transport) => "unsupported-transports",
            Self::Content(ContentError::Credentials) => "failed-transport",
            Self::Unprotected => "security-error",
        }
    }

    fn end(&self) -> End {
        let reason = match self {
            Self::Content(ContentError::Malformed(_)) => EndReason::ProtocolError,
            Self::Content(
                ContentError::Application(_) | ContentError::Transport | ContentError::Credentials,
            )
            | Self::Unbundled => EndReason::NotAcceptable,
            Self::Unprotected => EndReason::Security,
        };
        End::because(reason, self.to_string())
    }
}
