//! Runs the machines: sends requests and responses, sets timers, and tells the users.

use std::net::SocketAddr;
use std::time::Instant;

use tracing::debug;

use crate::net::{Flow, SipTransport};
use crate::sip::locate::Place;
use crate::sip::session::SessionId;
use crate::sip::transport::{MAX_UDP_REQUEST, Unreachable};
use crate::sip::wire::{Message, Method, Name};
use crate::sip::{MAX_TRANSACTIONS, SUPPORTED, Sip, Task, TimerKey};

use super::client::Client;
use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::key::{Class, ClientKey, ServerKey};
use super::server::Server;
use super::table::{
    ClientEntry, ClientId, ClientMachine, MergeKey, ServerEntry, ServerId, ServerMachine, User,
};
use super::{ClientInput, ServerInput, Step, Tell, Timer, Wire};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The server.
    pub place: Place,
    /// The name that a TLS server must prove.
    pub server_name: Option<String>,
    /// Which of our addresses it leaves from, if that is one of them and the hop is UDP.
    pub local: Option<SocketAddr>,
    /// What happens to requests that are too large for UDP.
    pub size: SizeRule,
}

/// RFC 3261 §18.1.1 for one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRule {
    /// The transport was chosen by somebody, or TCP did not work.
    Keep,
    /// Large requests go by TCP.
    TcpIfLarge,
}

/// How a request fared.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// A response.
    Response(&'a Message),
    /// None in time.
    TimedOut,
    /// It could not be sent.
    Unreachable,
}

/// A request with the place it goes to in it.
struct Routed {
    flow: Flow,
    branch: String,
    bytes: Vec<u8>,
}

impl Sip {
    /// Our Contact on a flow.
    pub(in crate::sip) fn contact(&self, flow: Flow) -> String {
        let address = self.transports.our_address(flow);
        match flow.transport {
            SipTransport::Udp => format!("<sip:offhook@{address}>"),
            SipTransport::Tcp => format!("<sip:offhook@{address};transport=tcp>"),
            SipTransport::Tls => format!("<sip:offhook@{address};transport=tls>"),
        }
    }

    fn via(&mut self, flow: Flow) -> (String, String) {
        let branch = format!("z9hG4bK{}", self.tokens.token(16));
        let address = self.transports.our_address(flow);
        // RFC 5923 §5: requests to us may come by the connection that we opened.
        let alias = match flow.transport.is_reliable() {
            true => ";alias",
            false => "",
        };
        let via = format!(
            "SIP/2.0/{} {address};branch={branch};rport{alias}",
            flow.transport
        );
        (branch, via)
    }

    /// Puts what depends on the flow into a request: the top Via and our Contact.
    fn address_request(&mut self, request: &mut Message, flow: Flow) -> String {
        let (branch, via) = self.via(flow);
        request.headers.set_first(Name::Via, &via);
        if request.header(Name::Contact).is_some() {
            let contact = self.contact(flow);
            // The binding of an account has the account's name: PBXs and carriers put the user part
            // of the Contact into the Request-URI, and some look there for whom they call.
            let account = match request.method() {
                Some(Method::Register) => request.to().and_then(|to| to.uri().ok()),
                Some(_) | None => None,
            };
            let user = account.as_ref().and_then(|uri| uri.raw_user());
            let contact = match user {
                Some(user) => contact.replacen("offhook", user, 1),
                None => contact,
            };
            request.headers.set(Name::Contact, &contact);
        }
        branch
    }

    /// Chooses the flow of a request and writes it.
    fn route_request(
        &mut self,
        now: Instant,
        request: &mut Message,
        hop: &Hop,
    ) -> Result<Routed, Unreachable> {
        let name = hop.server_name.clone().or_else(|| self.name_of(hop.place));
        let mut flow = self.transports.flow_to(hop.place, name.as_deref())?;
        if let Some(local) = hop.local
            && flow.transport == SipTransport::Udp
            && self.transports.is_ours_for(local, flow.remote)
        {
            flow.local = local;
        }
        let branch = self.address_request(request, flow);
        let bytes = request.to_bytes();
        let udp = flow.transport == SipTransport::Udp;
        let tcp = Place {
            transport: SipTransport::Tcp,
            remote: hop.place.remote,
        };
        if udp
            && bytes.len() > MAX_UDP_REQUEST
            && hop.size == SizeRule::TcpIfLarge
            && self.transports.listens(tcp.transport, tcp.remote)
            && let Ok(flow) = self.transports.flow_to(tcp, None)
        {
            let branch = self.address_request(request, flow);
            let bytes = request.to_bytes();
            self.sent(now, flow);
            return Ok(Routed {
                flow,
                branch,
                bytes,
            });
        }
        self.sent(now, flow);
        Ok(Routed {
            flow,
            branch,
            bytes,
        })
    }

    /// Sends a request in a transaction of its own. Its first Via and its Contact, if it has one,
    /// are filled in.
    pub(in crate::sip) fn send_request(
        &mut self,
        now: Instant,
        mut request: Message,
        hop: &Hop,
        user: User,
    ) -> Result<ClientId, Unreachable> {
        if self.clients.len() >= MAX_TRANSACTIONS {
            return Err(Unreachable);
        }
        request.push(Name::UserAgent, &self.user_agent);
        let routed = self.route_request(now, &mut request, hop)?;
        Ok(self.start_client(now, request, routed, user))
    }

    fn start_client(
        &mut self,
        now: Instant,
        request: Message,
        routed: Routed,
        user: User,
    ) -> ClientId {
        let Routed {
            flow,
            branch,
            bytes,
        } = routed;
        let method = request.method().cloned().unwrap_or(Method::Options);
        let reliable = flow.transport.is_reliable();
        let (machine, step) = if method == Method::Invite {
            let (machine, step) = InviteClient::start(reliable);
            (ClientMachine::Invite(machine), step)
        } else {
            let (machine, step) = Client::start(reliable);
            (ClientMachine::Other(machine), step)
        };
        let client = self.clients.insert(ClientEntry {
            key: ClientKey::new(Class::of(method.as_str()), &branch),
            machine,
            user,
            flow,
            sent: now,
            request,
            ack: None,
        });
        self.client_timers(now, client, step);
        if self.transports.send(flow, bytes).is_err() {
            self.tasks.push_back(Task::Unsent(client));
        }
        client
    }

    /// Cancels an INVITE: the same URI, branch, route and flow (RFC 3261 §9.1). The caller has
    /// seen a provisional response.
    pub(in crate::sip) fn send_cancel(&mut self, now: Instant, invite: ClientId) {
        let Some(entry) = self.clients.get(invite) else {
            return;
        };
        let flow = entry.flow;
        let request = beside_invite(&entry.request, Method::Cancel, None);
        let Some(branch) = request
            .via()
            .and_then(|via| via.branch())
            .map(str::to_owned)
        else {
            return;
        };
        let bytes = request.to_bytes();
        let routed = Routed {
            flow,
            branch,
            bytes,
        };
        self.start_client(now, request, routed, User::Nobody);
    }

    /// Sends a request that has no transaction: the ACK of a 2xx. Returns its flow and bytes for
    /// repetitions.
    pub(in crate::sip) fn send_ack(
        &mut self,
        now: Instant,
        mut ack: Message,
        hop: &Hop,
    ) -> Option<(Flow, Vec<u8>)> {
        let Routed { flow, bytes, .. } = self.route_request(now, &mut ack, hop).ok()?;
        // A lost ACK is repeated when the 2xx is.
        let _ = self.transports.send(flow, bytes.clone());
        Some((flow, bytes))
    }

    /// Repeats bytes that were sent before.
    pub(in crate::sip) fn send_again(&mut self, flow: Flow, bytes: Vec<u8>) {
        // What cannot be repeated is lost, as any datagram may be.
        let _ = self.transports.send(flow, bytes);
    }

    /// Takes a response from the wire.
    pub(in crate::sip) fn client_response(&mut self, now: Instant, response: &Message) {
        let found = response.via().and_then(|via| {
            let class = Class::of(response.cseq()?.method.as_str());
            self.clients.find(&ClientKey::new(class, via.branch()?))
        });
        let Some(client) = found else {
            self.stats.stray_responses += 1;
            return;
        };
        let input = match response.status().unwrap_or(0) {
            0..200 => ClientInput::Provisional,
            200..300 => ClientInput::Success,
            300.. => ClientInput::Failure,
        };
        self.client_input(now, client, input, Some(response));
    }

    /// One of the timers of a client transaction.
    pub(in crate::sip) fn client_timer(&mut self, now: Instant, client: ClientId, timer: Timer) {
        self.client_input(now, client, ClientInput::Timer(timer), None);
    }

    /// The transport could not send for a client transaction.
    pub(in crate::sip) fn client_unsent(&mut self, now: Instant, client: ClientId) {
        // An ICMP error may be late: a peer that has answered is there. A connection that is gone
        // matters as long as the request was not answered at all, too: a response of RFC 3261
        // §18.2.2 may still come by another one.
        if self
            .clients
            .get(client)
            .is_some_and(|entry| entry.machine.is_unanswered())
        {
            self.client_input(now, client, ClientInput::TransportError, None);
        }
    }

    /// Gives up on a transaction that nobody answers any more.
    pub(in crate::sip) fn forget_client(&mut self, client: ClientId) {
        if self.clients.remove(client).is_some() {
            for timer in [
                Timer::A,
                Timer::B,
                Timer::D,
                Timer::E,
                Timer::F,
                Timer::K,
                Timer::M,
            ] {
                self.timers.stop(&TimerKey::Client(client, timer));
            }
        }
    }

    fn client_timers(&mut self, now: Instant, client: ClientId, step: Step) {
        for timer in step.stop {
            self.timers.stop(&TimerKey::Client(client, *timer));
        }
        for (timer, after) in step.set.into_iter().flatten() {
            self.timers
                .set(TimerKey::Client(client, timer), now + after);
        }
    }

    fn client_input(
        &mut self,
        now: Instant,
        client: ClientId,
        input: ClientInput,
        response: Option<&Message>,
    ) {
        let Some(entry) = self.clients.get_mut(client) else {
            return;
        };
        let step = entry.machine.step(input);
        let (user, flow, sent) = (entry.user, entry.flow, entry.sent);
        // A challenge may want a request of this kind once more, and they are short.
        let is_short = matches!(user, User::Aside(..));
        if !entry.machine.repeats() && !is_short {
            entry.request.body = Vec::new();
        }
        let bytes = match step.wire {
            Wire::Silence | Wire::Send => None,
            Wire::Again => Some(
                entry
                    .ack
                    .clone()
                    .unwrap_or_else(|| entry.request.to_bytes()),
            ),
            Wire::Ack => response.map(|response| {
                let ack = beside_invite(&entry.request, Method::Ack, response.header(Name::To));
                let bytes = ack.to_bytes();
                entry.ack = Some(bytes.clone());
                bytes
            }),
        };
        self.client_timers(now, client, step);
        if let Some(bytes) = bytes
            && self.transports.send(flow, bytes).is_err()
        {
            self.tasks.push_back(Task::Unsent(client));
        }
        match (step.tell, response) {
            (Tell::Message, Some(response)) => {
                self.request_fared(now, client, user, Outcome::Response(response));
            }
            (Tell::TimedOut, _) => {
                // First, so that what is tried next does not go the same way.
                self.unanswered(now, sent, flow);
                self.request_fared(now, client, user, Outcome::TimedOut);
            }
            (Tell::Unreachable, _) => self.request_fared(now, client, user, Outcome::Unreachable),
            (Tell::Nothing | Tell::Message, _) => {}
        }
        if self
            .clients
            .get(client)
            .is_some_and(|entry| entry.machine.is_over())
        {
            self.clients.remove(client);
            match user {
                User::Invite(session) | User::Reinvite(session) => {
                    self.invite_over(session, client);
                }
                User::Nobody
                | User::Update(_)
                | User::Aside(..)
                | User::Refer(_)
                | User::Bye(_)
                | User::Health(_)
                | User::Register(_)
                | User::Text(_) => {}
            }
        }
    }

    fn request_fared(&mut self, now: Instant, client: ClientId, user: User, outcome: Outcome<'_>) {
        match user {
            User::Nobody => {}
            User::Aside(session, challenges) => {
                self.aside_fared(now, session, challenges, client, outcome);
            }
            User::Invite(session) => self.invite_fared(now, session, client, outcome),
            User::Reinvite(session) => self.reinvite_fared(now, session, client, outcome),
            User::Update(session) => self.refresh_fared(now, session, client, outcome),
            User::Refer(session) => self.refer_fared(now, session, client, outcome),
            User::Bye(session) => self.bye_fared(now, session, client, outcome),
            User::Health(trunk) => self.health_fared(now, trunk, outcome),
            User::Register(trunk) => self.register_fared(now, trunk, client, outcome),
            User::Text(number) => self.text_fared(now, number, client, outcome),
        }
    }

    /// Starts a server transaction for a request.
    pub(in crate::sip) fn start_server(
        &mut self,
        request: &Message,
        key: ServerKey,
        merge: Option<MergeKey>,
        flow: Flow,
        trunk: Option<usize>,
    ) -> ServerId {
        let reliable = flow.transport.is_reliable();
        let machine = match request.method() {
            Some(Method::Invite) => ServerMachine::Invite(InviteServer::start(reliable)),
            Some(_) | None => ServerMachine::Other(Server::start(reliable)),
        };
        let method = request.method().cloned().unwrap_or(Method::Options);
        let mut head = Message::request(method, "");
        for name in [
            Name::Via,
            Name::From,
            Name::To,
            Name::CallId,
            Name::CSeq,
            Name::Timestamp,
            Name::RecordRoute,
        ] {
            head.headers.copy(&request.headers, name);
        }
        let port = request.via().and_then(|via| via.port);
        let back = Place {
            transport: flow.transport,
            remote: (
                flow.remote.ip(),
                port.unwrap_or(flow.transport.default_port()),
            )
                .into(),
        };
        self.servers.insert(ServerEntry {
            key,
            merge,
            machine,
            flow,
            back,
            head: Some(head),
            last: Vec::new(),
            trunk,
            session: None,
        })
    }

    /// Connects an INVITE with its call, for a CANCEL to find.
    pub(in crate::sip) fn own_server(&mut self, server: ServerId, session: SessionId) {
        if let Some(entry) = self.servers.get_mut(server) {
            entry.session = Some(session);
        }
    }

    /// True while a request waits for its final response.
    pub(in crate::sip) fn is_unanswered(&self, server: ServerId) -> bool {
        self.servers
            .get(server)
            .is_some_and(|entry| entry.machine.is_unanswered())
    }

    /// Answers a request; `finish` adds what the answer needs beyond the common.
    pub(in crate::sip) fn respond(
        &mut self,
        now: Instant,
        server: ServerId,
        status: u16,
        tag: Option<&str>,
        finish: impl FnOnce(Message) -> Message,
    ) {
        let Some(entry) = self.servers.get(server) else {
            return;
        };
        let Some(head) = &entry.head else {
            return;
        };
        let flow = entry.flow;
        let mut response = Message::response_to(head, status);
        if status > 100 {
            match tag {
                Some(tag) => response.set_to_tag(tag),
                None => {
                    let tag = self.tokens.token(10);
                    response.set_to_tag(&tag);
                }
            }
            let invite = head.method() == Some(&Method::Invite);
            if invite && status < 300 {
                let contact = self.contact(flow);
                let allow = self.allow_in(server);
                response = response
                    .with_record_route_of(head)
                    .with(Name::Contact, contact)
                    .with(Name::Allow, allow)
                    .with(Name::Supported, SUPPORTED);
            }
            response.push(Name::Server, &self.user_agent);
        }
        let bytes = finish(response).to_bytes();
        let input = match status {
            0..200 => ServerInput::Provisional,
            200..300 => ServerInput::Success,
            300.. => ServerInput::Failure,
        };
        if let Some(entry) = self.servers.get_mut(server) {
            if status >= 200 {
                entry.head = None;
            }
            entry.last = bytes;
        }
        self.server_input(now, server, input);
    }

    /// Repeats the 2xx of an INVITE; its user does so until the ACK comes.
    pub(in crate::sip) fn repeat_success(&mut self, now: Instant, server: ServerId) {
        self.server_input(now, server, ServerInput::Success);
    }

    /// The 2xx of an INVITE need not be repeated any more.
    pub(in crate::sip) fn drop_success(&mut self, server: ServerId) {
        if let Some(entry) = self.servers.get_mut(server) {
            entry.last = Vec::new();
        }
    }

    /// One of the timers of a server transaction.
    pub(in crate::sip) fn server_timer(&mut self, now: Instant, server: ServerId, timer: Timer) {
        self.server_input(now, server, ServerInput::Timer(timer));
    }

    /// Feeds a server transaction.
    pub(in crate::sip) fn server_input(
        &mut self,
        now: Instant,
        server: ServerId,
        input: ServerInput,
    ) {
        let Some(entry) = self.servers.get_mut(server) else {
            return;
        };
        let step = entry.machine.step(input);
        let over = entry.machine.is_over();
        let flow = entry.flow;
        let back = entry.back;
        let bytes = match step.wire {
            Wire::Silence | Wire::Ack => Vec::new(),
            Wire::Send | Wire::Again if over => std::mem::take(&mut entry.last),
            Wire::Send | Wire::Again => entry.last.clone(),
        };
        if matches!(input, ServerInput::Ack) && !over {
            entry.last = Vec::new();
        }
        for timer in step.stop {
            self.timers.stop(&TimerKey::Server(server, *timer));
        }
        for (timer, after) in step.set.into_iter().flatten() {
            self.timers
                .set(TimerKey::Server(server, timer), now + after);
        }
        if !bytes.is_empty() {
            self.send_response_or_back(now, flow, back, bytes);
        }
        if over {
            self.servers.remove(server);
        }
    }

    /// Sends a response that belongs to no transaction.
    pub(in crate::sip) fn send_response(&mut self, now: Instant, flow: Flow, bytes: Vec<u8>) {
        self.sent(now, flow);
        if self.transports.send(flow, bytes).is_err() {
            debug!("response could not be sent");
        }
    }

    /// Sends a response; if its connection is gone, by a new one to the port of sent-by (RFC 3261
    /// §18.2.2).
    fn send_response_or_back(&mut self, now: Instant, flow: Flow, back: Place, bytes: Vec<u8>) {
        let flow = if self.transports.stands(flow) {
            flow
        } else {
            match self.transports.flow_to(back, self.name_of(back).as_deref()) {
                Ok(flow) => flow,
                Err(Unreachable) => return,
            }
        };
        self.send_response(now, flow, bytes);
    }
}

/// An ACK of a failure or a CANCEL: what RFC 3261 §9.1 and §17.1.1.3 take over from the INVITE.
fn beside_invite(invite: &Message, method: Method, to: Option<&str>) -> Message {
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    let cseq = format!("{number} {method}");
    let mut request = Message::request(method, invite.request_uri().unwrap_or(""));
    if let Some(via) = invite.header(Name::Via) {
        request.push(Name::Via, via);
    }
    request.push(Name::MaxForwards, "70");
    request.headers.copy(&invite.headers, Name::Route);
    request.headers.copy(&invite.headers, Name::From);
    match to {
        Some(to) => request.push(Name::To, to),
        None => request.headers.copy(&invite.headers, Name::To),
    }
    request.headers.copy(&invite.headers, Name::CallId);
    request.with(Name::CSeq, cseq)
}
