//! Transfers: REFER within a call (RFC 3515, RFC 5589) with the NOTIFYs that tell how it goes, and
//! INVITEs that come in the place of a call of ours (RFC 3891).
//!
//! The transfer itself is the call table's: it has the rights and makes the new call.

use std::time::Instant;

use crate::id::LegId;
use crate::leg::{LegEvent, Transfer};
use crate::sip::Sip;
use crate::sip::reason;
use crate::sip::transaction::table::{ServerId, User};
use crate::sip::uri::Uri;
use crate::sip::wire::{Message, Method, Name, Replaces, reason_phrase};

use super::{Session, State};

/// The longest Replaces value that is passed on: Call-IDs of 200 characters exist.
const MAX_REPLACES: usize = 512;

/// A transfer that a peer has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referred {
    /// CSeq number of the REFER, which tells its NOTIFYs from those of another one.
    id: u32,
    /// It wants to hear how it goes (RFC 4488).
    notify: bool,
}

impl Sip {
    /// A REFER came within a call.
    pub(super) fn refer_came(
        &mut self,
        now: Instant,
        session: &mut Session,
        server: ServerId,
        request: &Message,
    ) {
        let (to, replaces) = match target(request) {
            Ok(target) => target,
            Err(status) => return self.respond(now, server, status, None, |r| r),
        };
        let State::Up(up) = &mut session.state else {
            return self.respond_later(now, server, 500);
        };
        if up.referred.is_some() {
            return self.respond(now, server, 491, None, |r| r);
        }
        let notify = request
            .header(Name::ReferSub)
            .is_none_or(|value| !value.trim().eq_ignore_ascii_case("false"));
        up.referred = Some(Referred {
            id: request.cseq().map_or(0, |cseq| cseq.number),
            notify,
        });
        let contact = self.servers.get(server).map(|entry| entry.flow);
        let contact = contact.map(|flow| self.contact(flow));
        self.respond(now, server, 202, Some(&session.local_tag), |r| {
            let r = match contact {
                Some(contact) => r.with(Name::Contact, contact),
                None => r,
            };
            match notify {
                true => r,
                false => r.with(Name::ReferSub, "false"),
            }
        });
        self.notify(now, session, 100, false);
        self.tell(session, LegEvent::Transfer { to, replaces });
    }

    /// The call table tells how a transfer goes.
    pub(super) fn transfer_news(&mut self, now: Instant, session: &mut Session, news: &Transfer) {
        match news {
            Transfer::Ringing => self.notify(now, session, 180, false),
            Transfer::Done => self.notify(now, session, 200, true),
            Transfer::Failed(end) => self.notify(now, session, reason::status_of(end), true),
        }
    }

    fn notify(&mut self, now: Instant, session: &mut Session, status: u16, last: bool) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        let Some(Referred { id, notify }) = up.referred else {
            return;
        };
        if last {
            up.referred = None;
        }
        if !notify {
            return;
        }
        let state = match last {
            true => "terminated;reason=noresource",
            false => "active;expires=180",
        };
        let request = up
            .dialog
            .request(Method::Notify)
            .with(Name::Contact, "")
            .with(Name::Event, format!("refer;id={id}"))
            .with(Name::SubscriptionState, state)
            .with_body(
                "message/sipfrag;version=2.0",
                format!("SIP/2.0 {status} {}\r\n", reason_phrase(status)),
            );
        let user = User::Aside(session.id, 0);
        // Whoever does not want to know is not told.
        let _ = self.send_within(now, session.trunk, request, &up.dialog, user);
    }

    /// The leg whose place an INVITE takes. The error is the status that refuses it.
    pub(super) fn replaced(&mut self, request: &Message) -> Result<Option<LegId>, u16> {
        if request.header(Name::Replaces).is_none() {
            return Ok(None);
        }
        let Some(Replaces {
            call_id,
            to_tag,
            from_tag,
            early_only,
        }) = request.replaces()
        else {
            return Err(400);
        };
        let id = self.sessions.by_tag(to_tag).ok_or(481u16)?;
        let found = self.on_session(id, |_, session| {
            let ours = session.call_id == call_id && session.dialog(from_tag).is_some();
            match (&session.state, session.leg) {
                (State::Up(_), Some(leg)) if ours && !early_only => Ok(Some(leg)),
                // RFC 3891 §3: a dialog that is confirmed is not the early one that is meant.
                (State::Up(_), Some(_)) if ours => Err(486),
                _ => Err(481),
            }
        });
        found.unwrap_or(Err(481))
    }
}

/// Whom a REFER names, with the dialog to be replaced there. The error is its status.
fn target(request: &Message) -> Result<(crate::address::Address, Option<String>), u16> {
    let mut named = request.addresses(Name::ReferTo);
    let (Some(address), None) = (named.next(), named.next()) else {
        return Err(400);
    };
    let uri = Uri::parse(address.uri).map_err(|_| 400u16)?;
    let other = |method: String| !method.eq_ignore_ascii_case("INVITE");
    if uri.param("method").is_some_and(other) {
        return Err(501);
    }
    let replaces = uri
        .headers()
        .find(|(name, _)| name.eq_ignore_ascii_case("Replaces"))
        .map(|(_, value)| value);
    if let Some(value) = &replaces {
        let fits = value.len() <= MAX_REPLACES && value.bytes().all(|b| b.is_ascii_graphic());
        if !fits || Replaces::parse(value).is_none() {
            return Err(400);
        }
    }
    let to = uri.without_headers().to_address().ok_or(404u16)?;
    Ok((to, replaces))
}
