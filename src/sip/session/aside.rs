//! Requests whose answer changes nothing in their call: PRACK, INFO, NOTIFY, the BYE of a fork that
//! lost. Only a challenge is of interest.

use std::time::Instant;

use crate::sip::Sip;
use crate::sip::locate::Place;
use crate::sip::transaction::drive::{Hop, Outcome, SizeRule};
use crate::sip::transaction::table::{ClientId, User};
use crate::sip::wire::{CSeq, Message, Method, Name};

use super::{MAX_CHALLENGES, Session, SessionId};

impl Sip {
    /// How such a request fared.
    pub(in crate::sip) fn aside_fared(
        &mut self,
        now: Instant,
        id: SessionId,
        challenges: u8,
        client: ClientId,
        outcome: Outcome<'_>,
    ) {
        // Whoever did not get it repeats what it answers, or does without.
        let Outcome::Response(response) = outcome else {
            return;
        };
        self.on_session(id, |sip, session| {
            sip.note_accepted(session.trunk, client, response);
            if challenges < MAX_CHALLENGES && sip.learn_challenge(session.trunk, client, response) {
                let user = User::Aside(id, challenges + 1);
                sip.say_again(now, session, client, user);
            }
        });
    }

    /// Sends a request once more, the same way, with credentials (RFC 3261 §22.2).
    fn say_again(&mut self, now: Instant, session: &mut Session, client: ClientId, user: User) {
        let Some(entry) = self.clients.get(client) else {
            return;
        };
        let flow = entry.flow;
        let mut request = entry.request.clone();
        for name in [
            Name::Authorization,
            Name::ProxyAuthorization,
            // It is put in with the Via.
            Name::UserAgent,
        ] {
            request.headers.remove(name);
        }
        let cseq = session.next_cseq(&request).to_string();
        request.headers.set(Name::CSeq, &cseq);
        let hop = Hop {
            place: Place {
                transport: flow.transport,
                remote: flow.remote,
            },
            server_name: None,
            local: Some(flow.local),
            size: SizeRule::Keep,
        };
        let _ = self.send_authorized(now, session.trunk, request, &hop, user);
    }
}

impl Session {
    /// The next CSeq for `request` in its dialog, which may be that of a fork that nobody keeps.
    fn next_cseq(&mut self, request: &Message) -> CSeq {
        let last = request.cseq().map_or(0, |cseq| cseq.number);
        let number = match self.dialog(request.to_tag().unwrap_or("")) {
            Some(dialog) => {
                dialog.local_cseq += 1;
                dialog.local_cseq
            }
            None => last.saturating_add(1),
        };
        CSeq {
            number,
            method: request.method().cloned().unwrap_or(Method::Options),
        }
    }
}
