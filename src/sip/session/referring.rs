//! Transfers that we ask for: REFER within a call, and the NOTIFYs that tell how it goes (RFC 3515,
//! RFC 5589).

use std::time::Instant;

use crate::address::Address;
use crate::id::LegId;
use crate::leg::{EndReason, LegEvent, Transfer};
use crate::sip::transaction::drive::Outcome;
use crate::sip::transaction::table::{ClientId, ServerId, User};
use crate::sip::uri::Uri;
use crate::sip::wire::{Message, Method, Name, Params};
use crate::sip::{ALLOW, SUPPORTED, Sip, reason};

use super::{MAX_CHALLENGES, Session, SessionId, State};

/// What a peer has said that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It takes REFER. Who allows nothing by name is not asked: many drop what they do not know.
    refer: bool,
    /// Its calls can be replaced (RFC 3891).
    replaces: bool,
}

impl Abilities {
    /// What the INVITE or its 2xx says.
    pub fn of(message: &Message) -> Self {
        Self {
            refer: message.lists(Name::Allow, "REFER"),
            replaces: message.lists(Name::Supported, "replaces"),
        }
    }
}

/// A transfer that we have asked for.
#[derive(Clone, Debug)]
pub struct Referring {
    /// Who is to be called, as Refer-To says it.
    target: String,
    client: ClientId,
    /// CSeq number of the REFER, which its NOTIFYs may name.
    number: u32,
    challenges: u8,
}

impl Sip {
    /// The call table wants the peer to call somebody in our place.
    pub(super) fn refer(
        &mut self,
        now: Instant,
        session: &mut Session,
        to: &Address,
        replaces: Option<LegId>,
    ) {
        let is_able = match &session.state {
            State::Up(up) => up.abilities.refer && up.referring.is_none() && up.referred.is_none(),
            State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Leaving(_)
            | State::Over => false,
        };
        match self.refer_to(session.trunk, to, replaces) {
            Some(target) if is_able => self.send_refer(now, session, target, 0),
            Some(_) | None => self.tell(session, LegEvent::ReferRefused),
        }
    }

    /// Whom Refer-To names: the callee at the trunk, or the very telephone whose call is to be
    /// replaced.
    fn refer_to(
        &mut self,
        trunk: Option<usize>,
        to: &Address,
        replaces: Option<LegId>,
    ) -> Option<String> {
        let Some(leg) = replaces else {
            let uri = self.trunks.get(trunk?)?.uri_of(to)?;
            return Some(uri.as_str().to_owned());
        };
        let id = self.sessions.by_leg(leg)?;
        let replaced = self.on_session(id, |_, other| {
            let State::Up(up) = &other.state else {
                return None;
            };
            let dialog = &up.dialog;
            let can = up.abilities.replaces && !dialog.remote_tag.is_empty();
            can.then_some(())?;
            // RFC 3891 §3: the tags as the telephone sees them that is to replace the call.
            let value = format!(
                "{};to-tag={};from-tag={}",
                dialog.call_id, dialog.remote_tag, dialog.local_tag
            );
            let uri = Uri::parse(dialog.address()).ok()?;
            let uri = uri.without_headers().with_header("Replaces", &value);
            Some(uri.as_str().to_owned())
        });
        replaced?
    }

    fn send_refer(&mut self, now: Instant, session: &mut Session, target: String, challenges: u8) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        let request = up
            .dialog
            .request(Method::Refer)
            .with(Name::Contact, "")
            .with(Name::ReferTo, format!("<{target}>"))
            // RFC 3892: whoever is called may want to know who sent the caller.
            .with(Name::ReferredBy, format!("<{}>", up.dialog.own_address()))
            .with(Name::Allow, ALLOW)
            .with(Name::Supported, SUPPORTED);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let user = User::Refer(session.id);
        match self.send_within(now, session.trunk, request, &up.dialog, user) {
            Ok(client) => {
                up.referring = Some(Referring {
                    target,
                    client,
                    number,
                    challenges,
                });
            }
            Err(_) => self.tell(session, LegEvent::ReferRefused),
        }
    }

    /// How our REFER fared.
    pub(in crate::sip) fn refer_fared(
        &mut self,
        now: Instant,
        id: SessionId,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        self.on_session(id, |sip, session| {
            let State::Up(up) = &mut session.state else {
                return;
            };
            // RFC 3515 §2.4.4: a NOTIFY may come first, also the last one.
            let Some(Referring {
                target, challenges, ..
            }) = up.referring.take_if(|r| r.client == client)
            else {
                return;
            };
            if let Outcome::Response(response) = outcome {
                if response.status() < Some(300) {
                    sip.note_accepted(session.trunk, client, response);
                    return up.referring = Some(Referring {
                        target,
                        client,
                        number: response.cseq().map_or(0, |cseq| cseq.number),
                        challenges,
                    });
                }
                if challenges < MAX_CHALLENGES
                    && sip.learn_challenge(session.trunk, client, response)
                {
                    return sip.send_refer(now, session, target, challenges + 1);
                }
            }
            sip.tell(session, LegEvent::ReferRefused);
        });
    }

    /// A NOTIFY came within a call.
    pub(super) fn notify_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        request: &Message,
    ) {
        let event = request.header(Name::Event).unwrap_or("");
        let (package, params) = event.split_at(event.find(';').unwrap_or(event.len()));
        if !package.trim().eq_ignore_ascii_case("refer") {
            return self.respond(now, server, 489, None, |r| {
                r.with(Name::AllowEvents, "refer")
            });
        }
        let id = Params::new(params).get("id");
        let id = id.and_then(|id| id.trim().parse::<u32>().ok());
        let referring = match &mut session.state {
            State::Up(up) => &mut up.referring,
            State::Calling(_)
            | State::Cancelling(..)
            | State::Offered(_)
            | State::Leaving(_)
            | State::Over => return self.respond(now, server, 481, None, |r| r),
        };
        let is_meant = |r: &mut Referring| id.is_none_or(|id| id == r.number);
        let Some(asked) = referring.take_if(is_meant) else {
            return self.respond(now, server, 481, None, |r| r);
        };
        let is_last = request
            .header(Name::SubscriptionState)
            .is_some_and(|state| state.trim().to_ascii_lowercase().starts_with("terminated"));
        let news = match status_of_fragment(&request.body) {
            Some(200..300) => Some(Transfer::Done),
            Some(status @ 300..) => Some(Transfer::Failed(reason::end_of_status(status, true))),
            // Nobody will tell any more.
            _ if is_last => Some(Transfer::Failed(EndReason::Failed.into())),
            Some(180..=183) => Some(Transfer::Ringing),
            Some(_) | None => None,
        };
        if matches!(news, Some(Transfer::Ringing) | None) {
            *referring = Some(asked);
        }
        self.respond(now, server, 200, None, |r| r);
        if let Some(news) = news {
            self.tell(session, LegEvent::Referred(news));
        }
    }
}

/// The status in a `message/sipfrag` (RFC 3420), whose first line is that of a response.
fn status_of_fragment(body: &[u8]) -> Option<u16> {
    let line = body.split(|b| matches!(b, b'\r' | b'\n')).next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let status = rest.trim_start().get(..3)?;
    let is_status =
        version.eq_ignore_ascii_case("SIP/2.0") && status.bytes().all(|b| b.is_ascii_digit());
    is_status.then(|| status.parse().ok())?
}
