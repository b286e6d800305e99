//! Connections that live, and those that do not any more (RFC 5626 §4.4).
//!
//! Only what a peer says shows that it is there. What is sent into a connection that a firewall has
//! forgotten is lost without a word, for a quarter of an hour if the system's TCP is left to find
//! out. So a connection ends
//! - with the first request by it that is not answered in time, if nothing else was heard meanwhile,
//! - when a peer that has answered pings does not answer one (others may not know them),
//! - after a long silence.
//!
//! A registration that came by it is made again soon: calls to us would have come by it too.

use std::time::Instant;

use crate::id::ConnectionId;
use crate::net::Flow;

use super::transaction::{T1_64, table::ClientId};
use super::{Sip, Task, TimerKey, transport};

impl Sip {
    /// A connection stands.
    pub(super) fn connected(&mut self, now: Instant, connection: ConnectionId) {
        self.transports.connected(connection);
        self.set_deadline(now, connection);
        self.set_ping(now, connection);
    }

    /// The peer of a connection has said something.
    pub(super) fn heard(&mut self, now: Instant, connection: ConnectionId, pong: bool) {
        self.transports.heard(now, connection, pong);
        self.timers.stop(&TimerKey::Pong(connection));
        self.set_deadline(now, connection);
    }

    /// Something is sent by a flow: a connection has a deadline from the first message on.
    pub(super) fn sent(&mut self, now: Instant, flow: Flow) {
        if let Some(connection) = flow.connection
            && self.transports.stands(flow)
            && self
                .timers
                .deadline(&TimerKey::Connection(connection))
                .is_none()
        {
            self.set_deadline(now, connection);
        }
    }

    fn set_deadline(&mut self, now: Instant, connection: ConnectionId) {
        let limit = if self.transports.is_opening(connection) {
            transport::OPEN_LIMIT
        } else {
            transport::IDLE
        };
        self.timers
            .set(TimerKey::Connection(connection), now + limit);
    }

    fn set_ping(&mut self, now: Instant, connection: ConnectionId) {
        if self.transports.is_ours(connection) {
            let key = TimerKey::Ping(connection);
            self.timers.set(key, now + transport::PING);
        }
    }

    /// Time for a ping.
    pub(super) fn ping(&mut self, now: Instant, connection: ConnectionId) {
        self.transports.ping(connection);
        self.set_ping(now, connection);
        if self.transports.answers_pings(connection) {
            let key = TimerKey::Pong(connection);
            self.timers.set(key, now + transport::PONG_LIMIT);
        }
    }

    /// A connection has not opened in time, or was silent for long.
    pub(super) fn silent(&mut self, now: Instant, connection: ConnectionId) {
        let flow = self.transports.flow_of(connection);
        let clients = flow.map(|flow| self.clients.by_flow(flow));
        let awaited = |client: &ClientId| {
            let entry = self.clients.get(*client);
            entry.is_some_and(|entry| entry.machine.is_unanswered())
        };
        if !self.transports.is_opening(connection)
            && clients.is_some_and(|clients| clients.iter().any(awaited))
        {
            // Its answer renews the connection, or its time-out ends it.
            let key = TimerKey::Connection(connection);
            return self.timers.set(key, now + T1_64);
        }
        self.close_connection(now, connection);
    }

    /// A request that left at `sent` was not answered in time.
    pub(super) fn unanswered(&mut self, now: Instant, sent: Instant, flow: Flow) {
        if let Some(connection) = flow.connection
            && !self.transports.was_heard_since(sent, connection)
        {
            self.close_connection(now, connection);
        }
    }

    /// Closes a connection.
    pub(super) fn close_connection(&mut self, now: Instant, connection: ConnectionId) {
        let flow = self.transports.close(connection);
        self.connection_over(now, connection, flow);
    }

    /// The network has lost a connection.
    pub(super) fn connection_closed(&mut self, now: Instant, connection: ConnectionId) {
        let flow = self.transports.closed(connection);
        self.connection_over(now, connection, flow);
    }

    fn connection_over(&mut self, now: Instant, connection: ConnectionId, flow: Option<Flow>) {
        for key in [TimerKey::Ping, TimerKey::Pong, TimerKey::Connection] {
            self.timers.stop(&key(connection));
        }
        if let Some(flow) = flow {
            self.fail_flow(flow);
            self.registered_flow_lost(now, flow);
        }
    }

    /// Tells all transactions of a flow that it does not work.
    pub(super) fn fail_flow(&mut self, flow: Flow) {
        let clients = self.clients.by_flow(flow);
        self.tasks.extend(clients.into_iter().map(Task::Unsent));
    }
}
