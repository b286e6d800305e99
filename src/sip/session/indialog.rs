//! Requests within the dialogs of calls: found by our tag, ordered by CSeq (RFC 3261 §12.2.2), and
//! never left without an answer.

use std::time::Instant;

use crate::sip::dialog::{Dialog, Order};
use crate::sip::transaction::table::ServerId;
use crate::sip::wire::{Message, Method, Name};
use crate::sip::{ACCEPT, RETRY_AFTER, SUPPORTED, Sip};

use super::{Asked, Session, SessionId, State};
use crate::net::Flow;

impl Sip {
    /// The call that a request with a To tag belongs to.
    pub(in crate::sip) fn find_dialog(&mut self, request: &Message) -> Option<SessionId> {
        let id = self.sessions.by_tag(request.to_tag()?)?;
        let call_id = request.call_id()?;
        let tag = request.from_tag().unwrap_or("");
        self.on_session(id, |_, session| {
            (session.call_id == call_id && session.dialog(tag).is_some()).then_some(id)
        })?
    }

    /// True if a request belongs to a call of ours whose 2xx has not come: the request overtook it.
    pub(in crate::sip) fn is_too_early(&mut self, request: &Message) -> bool {
        let id = request.to_tag().and_then(|tag| self.sessions.by_tag(tag));
        let call_id = request.call_id();
        id.and_then(|id| {
            self.on_session(id, |_, session| {
                let calling = matches!(session.state, State::Calling(_));
                calling && Some(session.call_id.as_str()) == call_id
            })
        })
        .unwrap_or(false)
    }

    /// A request within a call, other than ACK.
    pub(in crate::sip) fn request_came(
        &mut self,
        now: Instant,
        id: SessionId,
        server: ServerId,
        flow: Flow,
        request: &Message,
    ) {
        self.on_session(id, |sip, session| {
            let tag = request.from_tag().unwrap_or("");
            let number = request.cseq().map_or(0, |cseq| cseq.number);
            let Some(dialog) = session.dialog(tag) else {
                return;
            };
            if dialog.order(number) == Order::Late {
                return sip.respond(now, server, 500, None, |r| r);
            }
            if flow.transport.is_reliable() || !dialog.flow.transport.is_reliable() {
                dialog.flow = flow;
            }
            let asked = Asked {
                server,
                cseq: number,
                flow,
            };
            let allow = sip.allow(session.trunk);
            match request.method() {
                Some(Method::Bye) => sip.bye_came(now, session, server, request),
                Some(Method::Invite) => sip.reinvite_came(now, session, asked, request),
                Some(Method::Update) => sip.update_came(now, session, asked, request),
                Some(Method::Refer) => sip.refer_came(now, session, server, request),
                Some(Method::Notify) => sip.notify_came(now, session, server, request),
                Some(Method::Prack) => sip.prack_came(now, session, server, request),
                Some(Method::Info) => sip.info_came(now, session, server, request),
                Some(Method::Message) => match session.leg {
                    Some(leg) => sip.message_came(now, server, session.trunk, Some(leg), request),
                    None => sip.respond(now, server, 481, None, |r| r),
                },
                Some(Method::Options) => sip.respond(now, server, 200, None, |r| {
                    r.with(Name::Allow, allow)
                        .with(Name::Accept, ACCEPT)
                        .with(Name::Supported, SUPPORTED)
                }),
                Some(_) | None => {
                    sip.respond(now, server, 405, None, |r| r.with(Name::Allow, allow))
                }
            }
        });
    }

    /// The ACK of a 2xx.
    pub(in crate::sip) fn ack_for(&mut self, now: Instant, id: SessionId, request: &Message) {
        self.on_session(id, |sip, session| sip.ack_came(now, session, request));
    }

    /// Asks the peer to come again later.
    pub(super) fn respond_later(&mut self, now: Instant, server: ServerId, status: u16) {
        self.respond(now, server, status, None, |r| {
            r.with(Name::RetryAfter, RETRY_AFTER)
        });
    }
}

impl Session {
    /// The dialog with the peer of this tag.
    pub(super) fn dialog(&mut self, tag: &str) -> Option<&mut Dialog> {
        let dialog = match &mut self.state {
            State::Calling(calling) | State::Cancelling(calling, _) => {
                return calling.early_mut(tag).map(|early| &mut early.dialog);
            }
            State::Offered(offered) => &mut offered.dialog,
            State::Up(up) => &mut up.dialog,
            State::Leaving(leaving) => &mut leaving.dialog,
            State::Over => return None,
        };
        (dialog.remote_tag == tag).then_some(dialog)
    }
}
