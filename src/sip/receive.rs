//! What comes in: bytes to messages, and messages to the transaction, the dialog or the trunk that
//! they belong to (RFC 3261 §8.2, §17.2.3, §18.2).

use std::net::SocketAddr;
use std::time::Instant;

use tracing::{debug, trace};

use crate::net::{Flow, SipTransport};
use crate::pii::Pii;

use super::transaction::ServerInput;
use super::transaction::key::{Class, ServerKey};
use super::uri::{Scheme, Uri};
use super::wire::{Framed, Message, Method, Name, ParseError, Via};
use super::{ACCEPT, MAX_TRANSACTIONS, Mode, RETRY_AFTER, SUPPORTED, Sip};

impl Sip {
    /// A datagram.
    pub(super) fn receive_datagram(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        if self.strangers.is_muted(now, flow.remote.ip()) {
            self.stats.unknown_sources += 1;
            return;
        }
        match Message::parse_datagram(bytes) {
            Ok(message) => self.receive(now, flow, message),
            Err(error) => self.unreadable(now, flow, error),
        }
    }

    /// Bytes of a stream.
    pub(super) fn receive_stream(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        let Some(connection) = flow.connection else {
            return;
        };
        let Some(framer) = self.transports.framer(flow) else {
            return;
        };
        let pong = bytes == b"\r\n" && !framer.is_mid_message();
        // Two pongs are no ping: whom we have connected to answers, and does not ask (RFC 5626 §3.5.1).
        let pong = pong && self.transports.is_ours(connection);
        self.heard(now, connection, pong);
        if pong {
            return;
        }
        if let Some(framer) = self.transports.framer(flow) {
            framer.push(bytes);
        }
        // The framer is asked anew each time: a message may close its own connection.
        while let Some(framed) = self.transports.framer(flow).and_then(|f| f.next()) {
            match framed {
                Framed::Message(message) => self.receive(now, flow, message),
                Framed::Ping => self.send_again(flow, b"\r\n".to_vec()),
                Framed::Refused(error) => self.unreadable(now, flow, error),
                Framed::Broken(error) => {
                    self.unreadable(now, flow, error);
                    self.close_connection(now, connection);
                    return;
                }
            }
        }
    }

    fn unreadable(&mut self, now: Instant, flow: Flow, error: ParseError) {
        self.stats.unreadable += 1;
        debug!(fault = %error.fault, from = ?Pii(flow.remote), "message refused");
        if self.mode == Mode::Trunks && self.trunk_of(flow.remote.ip(), None).is_none() {
            return self.strangers.dropped(now, flow.remote.ip());
        }
        let ParseError { fault, request } = error;
        let Some(mut request) = request else {
            return;
        };
        // An answer that nobody could match is not worth sending.
        if request.header(Name::CallId).is_none() || request.header(Name::From).is_none() {
            return;
        }
        request.note_source(flow.remote, false);
        let error = ParseError {
            fault,
            request: Some(request),
        };
        let Some(mut answer) = error.answer() else {
            return;
        };
        let back = answer.via().map(|via| reply_flow(flow, &via));
        answer.set_to_tag(&self.tokens.token(10));
        if let Some(back) = back {
            self.send_response(now, back, answer.to_bytes());
        }
    }

    fn receive(&mut self, now: Instant, flow: Flow, mut message: Message) {
        trace!(?message, from = ?Pii(flow.remote), "received");
        if message.is_request() {
            message.note_source(flow.remote, false);
            self.receive_request(now, flow, &message);
        } else {
            self.client_response(now, &message);
        }
    }

    fn receive_request(&mut self, now: Instant, flow: Flow, request: &Message) {
        let (Some(method), Some(via)) = (request.method(), request.via()) else {
            return;
        };
        let back = reply_flow(flow, &via);
        let key = server_key(request, method, &via);
        if let Some(server) = self.servers.find(&key) {
            if *method != Method::Ack {
                return self.server_input(now, server, ServerInput::Repetition);
            }
            // An RFC 2543 ACK of a 2xx matches the INVITE too: its transaction ignores it.
            self.server_input(now, server, ServerInput::Ack);
        }
        let dialog = self.find_dialog(request);
        if *method == Method::Ack {
            if let Some(session) = dialog {
                self.ack_for(now, session, request);
            }
            return;
        }
        let invite = match method {
            Method::Cancel => self.servers.find(&key.cancelled()),
            _ => None,
        };
        let trunk = match dialog {
            Some(session) => self.sessions.trunk_of(session),
            None => self.trunk_of(flow.remote.ip(), request.request_uri()),
        };
        let strange = self.mode == Mode::Trunks && trunk.is_none();
        if strange && dialog.is_none() && invite.is_none() {
            self.stats.unknown_sources += 1;
            return self.strangers.dropped(now, flow.remote.ip());
        }
        if self.servers.len() >= MAX_TRANSACTIONS {
            self.stats.overloaded += 1;
            return self.stateless(now, back, request, 503);
        }
        if *method == Method::Cancel {
            let Some(invite) = invite else {
                return self.stateless(now, back, request, 481);
            };
            let server = self.start_server(request, key, None, back, trunk);
            // RFC 3261 §9.2: with the tag of the INVITE's own response, which some callers take for
            // the call's.
            let tag = self.tag_of(invite);
            self.respond(now, server, 200, tag.as_deref(), |r| r);
            return self.cancelled(now, invite, request);
        }
        if let Some(session) = dialog {
            let server = self.start_server(request, key, None, back, trunk);
            if self.refused(now, server, request) {
                return;
            }
            return self.request_came(now, session, server, back, request);
        }
        if request.to_tag().is_some() {
            let bye = *method == Method::Bye;
            let status = if !bye && self.is_too_early(request) {
                500
            } else {
                481
            };
            return self.stateless(now, back, request, status);
        }
        self.new_request(now, back, trunk, key, request);
    }

    /// A request outside of all dialogs, from somebody who may ask.
    fn new_request(
        &mut self,
        now: Instant,
        flow: Flow,
        trunk: Option<usize>,
        key: ServerKey,
        request: &Message,
    ) {
        let Some(tag) = request.from_tag() else {
            return self.stateless(now, flow, request, 400);
        };
        let merge = [
            tag,
            "\n",
            request.call_id().unwrap_or(""),
            "\n",
            request.header(Name::CSeq).unwrap_or(""),
        ]
        .concat();
        if self.servers.is_merged(&merge) {
            return self.stateless(now, flow, request, 482);
        }
        let server = self.start_server(request, key, Some(merge.into()), flow, trunk);
        let invite = request.method() == Some(&Method::Invite);
        if invite {
            self.respond(now, server, 100, None, |r| r);
        }
        if self.refused(now, server, request) {
            return;
        }
        let allow = self.allow(trunk);
        match request.method() {
            Some(Method::Invite) => self.invite_came(now, server, flow, trunk, request),
            Some(Method::Options) => self.respond(now, server, 200, None, |r| {
                r.with(Name::Allow, allow)
                    .with(Name::Accept, ACCEPT)
                    .with(Name::Supported, SUPPORTED)
            }),
            Some(Method::Message) => self.message_came(now, server, trunk, None, request),
            // Outside of a call nobody is sent elsewhere for anybody.
            Some(Method::Refer) => self.respond(now, server, 403, None, |r| r),
            Some(Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Notify) => {
                self.respond(now, server, 481, None, |r| r);
            }
            Some(_) | None => self.respond(now, server, 405, None, |r| r.with(Name::Allow, allow)),
        }
    }

    /// RFC 3261 §8.2.1 to §8.2.3: what can be said without knowing what the request is about.
    fn refused(&mut self, now: Instant, server: super::ServerId, request: &Message) -> bool {
        if let Some(Method::Other(_)) = request.method() {
            let allow = self.allow_in(server);
            self.respond(now, server, 501, None, |r| r.with(Name::Allow, allow));
            return true;
        }
        let scheme = request.request_uri().map(Uri::check);
        let flow = self.servers.get(server).map(|entry| entry.flow.transport);
        let known = match scheme {
            // RFC 3261 §26.2.2: it asks for TLS on the whole way.
            Some(Ok(Scheme::Sips)) => flow == Some(SipTransport::Tls),
            Some(Ok(Scheme::Sip | Scheme::Tel)) => true,
            Some(Ok(Scheme::Urn | Scheme::Other) | Err(_)) | None => false,
        };
        if !known {
            self.respond(now, server, 416, None, |r| r);
            return true;
        }
        let unknown: Vec<&str> = request
            .tokens(Name::Require)
            .filter(|token| !knows(token))
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            self.respond(now, server, 420, None, |r| {
                r.with(Name::Unsupported, unknown)
            });
            return true;
        }
        let coded = request
            .tokens(Name::ContentEncoding)
            .any(|coding| !coding.eq_ignore_ascii_case("identity"));
        if coded && !request.body.is_empty() {
            self.respond(now, server, 415, None, |r| {
                r.with(Name::AcceptEncoding, "identity")
            });
            return true;
        }
        false
    }

    /// Answers without a transaction.
    fn stateless(&mut self, now: Instant, back: Flow, request: &Message, status: u16) {
        let mut response = Message::response_to(request, status);
        // RFC 3261 §8.2.7 wants the same tag for a repetition; a new one does no harm to a final
        // response outside of dialogs, as its ACK is absorbed whatever its tag.
        response.set_to_tag(&self.tokens.token(10));
        if matches!(status, 500 | 503) {
            response.push(Name::RetryAfter, RETRY_AFTER);
        }
        self.send_response(now, back, response.to_bytes());
    }
}

/// True for an extension that [`SUPPORTED`] names.
fn knows(token: &str) -> bool {
    SUPPORTED
        .split(", ")
        .any(|known| known.eq_ignore_ascii_case(token))
}

/// Where the answer to a request goes (RFC 3261 §18.2.2, RFC 3581 §4): over a stream by the same
/// connection, else to the source address and the port of sent-by, or to the source port if the
/// sender asks for it.
fn reply_flow(flow: Flow, via: &Via<'_>) -> Flow {
    if flow.transport.is_reliable() {
        return flow;
    }
    let port = via
        .rport()
        .or(via.port)
        .unwrap_or(flow.transport.default_port());
    Flow {
        remote: SocketAddr::new(flow.remote.ip(), port),
        ..flow
    }
}

fn server_key(request: &Message, method: &Method, via: &Via<'_>) -> ServerKey {
    let class = Class::of(method.as_str());
    let mut sent_by = via.host.to_ascii_lowercase();
    if let Some(port) = via.port {
        sent_by = format!("{sent_by}:{port}");
    }
    match via.branch() {
        Some(branch) if via.has_rfc3261_branch() => ServerKey::new(class, branch, &sent_by),
        branch => {
            let number = request.cseq().map_or(0, |cseq| cseq.number).to_string();
            let top = [&sent_by, branch.unwrap_or("")].concat();
            // A CANCEL and an ACK have the Request-URI of their INVITE; other methods need theirs.
            let other = match class {
                Class::Invite | Class::Cancel => request.request_uri().unwrap_or("").to_owned(),
                Class::Other => format!("{method} {}", request.request_uri().unwrap_or("")),
            };
            ServerKey::rfc2543(
                class,
                [
                    &other,
                    request.from_tag().unwrap_or(""),
                    request.call_id().unwrap_or(""),
                    &number,
                    &top,
                ],
            )
        }
    }
}
