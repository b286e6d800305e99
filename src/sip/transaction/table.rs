//! The transactions that run: what each one keeps, and how it is found.
//!
//! The tables are hashed: at 500 calls a second some 18,000 transactions linger, whose keys an
//! ordered map would have to fetch from cold memory to compare them.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::hash::Keyed;
use crate::net::Flow;
use crate::sip::locate::Place;
use crate::sip::session::SessionId;
use crate::sip::wire::Message;

use super::client::{self, Client};
use super::invite_client::{self, InviteClient};
use super::invite_server::{self, InviteServer};
use super::key::{ClientKey, ServerKey};
use super::server::{self, Server};
use super::{ClientInput, ServerInput, Step};

/// A client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u64);

/// Who waits for the answer of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Nobody: CANCEL.
    Nobody,
    /// The INVITE that starts a call.
    Invite(SessionId),
    /// An INVITE within a call.
    Reinvite(SessionId),
    /// An UPDATE that refreshes a session (RFC 4028).
    Update(SessionId),
    /// A request whose answer changes nothing in its call, and how many challenges of it were
    /// answered: PRACK, INFO, NOTIFY, the BYE of a fork.
    Aside(SessionId, u8),
    /// A REFER.
    Refer(SessionId),
    /// A BYE.
    Bye(SessionId),
    /// The health check of a trunk, by its index.
    Health(usize),
    /// The registration of a trunk, by its index.
    Register(usize),
    /// A text, by its number.
    Text(u64),
}

/// Either client machine.
#[derive(Clone, Debug)]
pub enum ClientMachine {
    /// For INVITE.
    Invite(InviteClient),
    /// For everything else.
    Other(Client),
}

impl ClientMachine {
    /// Takes an input.
    pub fn step(&mut self, input: ClientInput) -> Step {
        match self {
            Self::Invite(machine) => machine.step(input),
            Self::Other(machine) => machine.step(input),
        }
    }

    /// True when the transaction is over.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == invite_client::State::Terminated,
            Self::Other(machine) => machine.state() == client::State::Terminated,
        }
    }

    /// True if no response has come at all.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Invite(machine) => {
                matches!(machine.state(), invite_client::State::Calling { .. })
            }
            Self::Other(machine) => matches!(machine.state(), client::State::Trying { .. }),
        }
    }

    /// True while the final response is missing.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Invite(machine) => matches!(
                machine.state(),
                invite_client::State::Calling { .. } | invite_client::State::Proceeding
            ),
            Self::Other(machine) => matches!(
                machine.state(),
                client::State::Trying { .. } | client::State::Proceeding
            ),
        }
    }

    /// True if the request may still have to be repeated as a whole.
    pub fn repeats(&self) -> bool {
        match self {
            Self::Invite(machine) => {
                matches!(machine.state(), invite_client::State::Calling { .. })
            }
            Self::Other(machine) => matches!(
                machine.state(),
                client::State::Trying { .. } | client::State::Proceeding
            ),
        }
    }
}

/// One client transaction.
#[derive(Debug)]
pub struct ClientEntry {
    /// How it is found.
    pub key: ClientKey,
    /// Its state.
    pub machine: ClientMachine,
    /// Who waits.
    pub user: User,
    /// Where it went.
    pub flow: Flow,
    /// When it left.
    pub sent: Instant,
    /// What was sent. Without its body as soon as it need not be repeated; CANCEL and ACK are made
    /// from it.
    pub request: Message,
    /// The ACK of a failure, for its repetition.
    pub ack: Option<Vec<u8>>,
}

/// All client transactions.
#[derive(Debug)]
pub struct Clients {
    entries: HashMap<ClientId, Box<ClientEntry>, Keyed>,
    by_key: HashMap<ClientKey, ClientId, Keyed>,
    by_flow: HashMap<Flow, BTreeSet<ClientId>, Keyed>,
    made: u64,
}

impl Clients {
    /// None.
    pub fn new(keyed: &Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed.clone()),
            by_key: HashMap::with_hasher(keyed.clone()),
            by_flow: HashMap::with_hasher(keyed.clone()),
            made: 0,
        }
    }

    /// Adds one.
    pub fn insert(&mut self, entry: ClientEntry) -> ClientId {
        self.made += 1;
        let id = ClientId(self.made);
        self.by_key.insert(entry.key.clone(), id);
        self.by_flow.entry(entry.flow).or_default().insert(id);
        self.entries.insert(id, Box::new(entry));
        id
    }

    /// Finds one by its key.
    pub fn find(&self, key: &ClientKey) -> Option<ClientId> {
        self.by_key.get(key).copied()
    }

    /// The one with this number.
    pub fn get(&self, id: ClientId) -> Option<&ClientEntry> {
        self.entries.get(&id).map(AsRef::as_ref)
    }

    /// The one with this number, to be changed.
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut ClientEntry> {
        self.entries.get_mut(&id).map(AsMut::as_mut)
    }

    /// Takes one away.
    pub fn remove(&mut self, id: ClientId) -> Option<Box<ClientEntry>> {
        let entry = self.entries.remove(&id)?;
        self.by_key.remove(&entry.key);
        if let Some(ids) = self.by_flow.get_mut(&entry.flow) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_flow.remove(&entry.flow);
            }
        }
        Some(entry)
    }

    /// Those that went by `flow`.
    pub fn by_flow(&self, flow: Flow) -> Vec<ClientId> {
        let ids = self.by_flow.get(&flow).into_iter().flatten();
        ids.copied().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Either server machine.
#[derive(Clone, Debug)]
pub enum ServerMachine {
    /// For INVITE.
    Invite(InviteServer),
    /// For everything else.
    Other(Server),
}

impl ServerMachine {
    /// Takes an input.
    pub fn step(&mut self, input: ServerInput) -> Step {
        match self {
            Self::Invite(machine) => machine.step(input),
            Self::Other(machine) => machine.step(input),
        }
    }

    /// True when the transaction is over.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == invite_server::State::Terminated,
            Self::Other(machine) => machine.state() == server::State::Terminated,
        }
    }

    /// True while a final response is still to be sent.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == invite_server::State::Proceeding,
            Self::Other(machine) => matches!(
                machine.state(),
                server::State::Trying | server::State::Proceeding
            ),
        }
    }
}

/// What makes two requests one that was forked on its way (RFC 3261 §8.2.2.2): From tag, Call-ID,
/// CSeq.
pub type MergeKey = Box<str>;

/// One server transaction.
#[derive(Debug)]
pub struct ServerEntry {
    /// How it is found.
    pub key: ServerKey,
    /// How a request that was forked on its way is found; only for requests outside dialogs.
    pub merge: Option<MergeKey>,
    /// Its state.
    pub machine: ServerMachine,
    /// Where responses go.
    pub flow: Flow,
    /// Where they go if the connection is gone.
    pub back: Place,
    /// What responses repeat of the request; taken away by the final one.
    pub head: Option<Message>,
    /// The last response, for its repetition.
    pub last: Vec<u8>,
    /// The trunk that it came from.
    pub trunk: Option<usize>,
    /// The call that it belongs to, if a CANCEL may mean it.
    pub session: Option<SessionId>,
}

/// All server transactions.
#[derive(Debug)]
pub struct Servers {
    entries: HashMap<ServerId, Box<ServerEntry>, Keyed>,
    by_key: HashMap<ServerKey, ServerId, Keyed>,
    by_merge: HashMap<MergeKey, ServerId, Keyed>,
    made: u64,
}

impl Servers {
    /// None.
    pub fn new(keyed: &Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed.clone()),
            by_key: HashMap::with_hasher(keyed.clone()),
            by_merge: HashMap::with_hasher(keyed.clone()),
            made: 0,
        }
    }

    /// Adds one.
    pub fn insert(&mut self, entry: ServerEntry) -> ServerId {
        self.made += 1;
        let id = ServerId(self.made);
        self.by_key.insert(entry.key.clone(), id);
        if let Some(merge) = &entry.merge {
            self.by_merge.insert(merge.clone(), id);
        }
        self.entries.insert(id, Box::new(entry));
        id
    }

    /// Finds one by its key.
    pub fn find(&self, key: &ServerKey) -> Option<ServerId> {
        self.by_key.get(key).copied()
    }

    /// True if a request like this one came another way.
    pub fn is_merged(&self, merge: &str) -> bool {
        self.by_merge.contains_key(merge)
    }

    /// The one with this number.
    pub fn get(&self, id: ServerId) -> Option<&ServerEntry> {
        self.entries.get(&id).map(AsRef::as_ref)
    }

    /// The one with this number, to be changed.
    pub fn get_mut(&mut self, id: ServerId) -> Option<&mut ServerEntry> {
        self.entries.get_mut(&id).map(AsMut::as_mut)
    }

    /// Takes one away.
    pub fn remove(&mut self, id: ServerId) -> Option<Box<ServerEntry>> {
        let entry = self.entries.remove(&id)?;
        self.by_key.remove(&entry.key);
        if let Some(merge) = &entry.merge {
            self.by_merge.remove(merge);
        }
        Some(entry)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
