//! One Jingle session or invitation, and the memory of those that are over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use jid::{BareJid, FullJid, Jid};

use super::content::Side;
use super::reason::Phase;
use super::transport::MAX_CANDIDATES;
use crate::description::{
    Candidate, CandidateKind, Description, Media, Stream, Transport, TransportInfo,
};
use crate::id::Role;

/// Sessions that have ended and are still known, to answer what comes late: a client says goodbye
/// with up to three stanzas, within a few seconds. At 100 calls a second these are 40 s.
pub const MAX_OVER: usize = 4_096;

/// What makes a session one: clients choose ids, so an id means something only between two JIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The user.
    pub peer: BareJid,
    /// Whom the user talks to, on our side.
    pub local: BareJid,
    /// The session id, of the invitation and of Jingle alike.
    pub sid: String,
}

/// How far a session has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The peer has invited us.
    Invited {
        /// The offer of a peer that did not wait for `proceed`.
        early: Option<Description>,
    },
    /// We have said `proceed` and wait for `session-initiate`.
    Expecting {
        /// The call has been answered before and moves here.
        moved: bool,
    },
    /// The peer has offered and waits for `session-accept`.
    Offered {
        /// The offer.
        offer: Description,
        /// The call has been answered before and moves here.
        moved: bool,
    },
    /// We have invited the peer.
    Inviting {
        /// What will be offered.
        offer: Description,
        /// The id of the message with `propose`, which an error comes back with.
        message_id: String,
        /// The peer has said that it rings.
        rings: bool,
    },
    /// We have offered and wait for `session-accept`.
    Offering {
        /// The peer has said that it rings.
        rings: bool,
    },
    /// The session is accepted.
    Active {
        /// What the peer has described.
        theirs: Description,
        /// The peer holds the call.
        held: bool,
    },
}

impl State {
    /// What a reason means at this point of a leg of `role`.
    pub fn phase(&self, role: Role) -> Phase {
        match (self, role) {
            (
                Self::Active { .. }
                | Self::Expecting { moved: true }
                | Self::Offered { moved: true, .. },
                _,
            ) => Phase::Answered,
            (
                Self::Invited { .. }
                | Self::Expecting { moved: false }
                | Self::Offered { moved: false, .. }
                | Self::Inviting { .. }
                | Self::Offering { .. },
                Role::Caller,
            ) => Phase::CallerWaits,
            (
                Self::Invited { .. }
                | Self::Expecting { moved: false }
                | Self::Offered { moved: false, .. }
                | Self::Inviting { .. }
                | Self::Offering { .. },
                Role::Callee,
            ) => Phase::CalleeWaits,
        }
    }

    /// True while there is only an invitation and any device of the user may still speak.
    pub fn is_open_to_devices(&self) -> bool {
        matches!(self, Self::Invited { .. } | Self::Inviting { .. })
    }
}

/// How the session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// XEP-0353 messages.
    Invitation,
    /// A `session-initiate` out of the blue.
    Direct,
}

/// A session or an invitation that is not over.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it is known by.
    pub key: Key,
    /// The JID that we speak from.
    pub local: FullJid,
    /// The peer's device: who invited us, or who took our invitation.
    pub device: Option<FullJid>,
    /// Which party of Jingle we are.
    pub side: Side,
    /// How it began.
    pub origin: Origin,
    /// How far it has come.
    pub state: State,
    /// What both sides have said about transports.
    pub wire: Wire,
    /// The peer's transfer of the call has succeeded.
    pub transferred: bool,
}

impl Session {
    /// Where a stanza for the peer goes: the device if there is one, else all of them.
    pub fn to(&self) -> Jid {
        match &self.device {
            Some(device) => device.clone().into(),
            None => self.key.peer.clone().into(),
        }
    }

    /// True once one device has the call.
    pub fn is_taken(&self) -> bool {
        match self.state {
            State::Active { .. } | State::Expecting { .. } => true,
            State::Invited { .. }
            | State::Inviting { .. }
            | State::Offered { .. }
            | State::Offering { .. } => false,
        }
    }

    /// True if `from` may speak for the peer in this state.
    pub fn hears(&self, from: &Jid) -> bool {
        self.state.is_open_to_devices()
            || from.is_bare()
            || self.device.as_ref().is_some_and(|device| device == from)
    }
}

/// A stream as the wire and the call table know it.
#[derive(Clone, Default)]
struct Content {
    wire: String,
    table: String,
    ours: Option<(String, String)>,
    theirs: Option<(String, String)>,
    seen: BTreeSet<(u8, SocketAddr, CandidateKind, u32)>,
}

/// What both sides have said about transports. In a BUNDLE only the voice has one.
#[derive(Clone, Default)]
pub struct Wire {
    contents: Vec<Content>,
    voice: usize,
    bundled: bool,
    /// Candidates that we have written.
    pub next_candidate: u32,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.contents.iter().map(|c| (&c.wire, &c.table)).collect();
        f.debug_struct("Wire").field("names", &names).finish()
    }
}

impl Wire {
    /// Remembers what we have described: `table` are the names by which the call table knows the
    /// streams.
    pub fn described(&mut self, ours: &Description, table: &[String]) {
        let before = std::mem::take(&mut self.contents);
        let streams = ours.streams.iter().zip(table);
        self.contents = streams
            .map(|(stream, table)| {
                let known = before.iter().find(|c| c.wire == stream.name);
                Content {
                    wire: stream.name.clone(),
                    table: table.clone(),
                    ours: credentials(stream),
                    ..known.cloned().unwrap_or_default()
                }
            })
            .collect();
        self.bundled = ours.bundle;
        self.find_voice(ours);
    }

    /// Remembers what the peer has described, and gives its streams the call table's names.
    pub fn heard(&mut self, theirs: &mut Description) {
        if self.contents.is_empty() {
            let named = |stream: &Stream| Content {
                wire: stream.name.clone(),
                table: stream.name.clone(),
                ..Content::default()
            };
            self.contents = theirs.streams.iter().map(named).collect();
            self.find_voice(theirs);
        }
        self.bundled = theirs.bundle;
        let alone = theirs.streams.len() == 1 && self.contents.len() == 1;
        for stream in &mut theirs.streams {
            let known = self.contents.iter_mut();
            let Some(content) = known.into_iter().find(|c| alone || c.wire == stream.name) else {
                continue;
            };
            content.theirs = credentials(stream);
            content.seen.clear();
            stream.name.clone_from(&content.table);
            if let Transport::Ice(ice) = &mut stream.transport {
                ice.candidates.retain(|c| is_fresh(&mut content.seen, c));
            }
        }
    }

    fn find_voice(&mut self, description: &Description) {
        let voice = description
            .streams
            .iter()
            .position(|s| s.media == Media::Audio);
        self.voice = voice.unwrap_or_default();
    }

    /// What is new in the peer's transport for the content `name`; `None` if nothing is.
    pub fn trickled(
        &mut self,
        name: &str,
        credentials: Option<(String, String)>,
        candidates: Vec<Candidate>,
    ) -> Option<TransportInfo> {
        let place = match self.contents.len() {
            1 => 0,
            _ => self.contents.iter().position(|c| c.wire == name)?,
        };
        if self.bundled && place != self.voice {
            return None;
        }
        let content = self.contents.get_mut(place)?;
        let restarts = credentials.is_some() && credentials != content.theirs;
        if restarts {
            content.theirs.clone_from(&credentials);
            content.seen.clear();
        }
        let seen = &mut content.seen;
        let candidates: Vec<_> = candidates
            .into_iter()
            .filter(|c| is_fresh(seen, c))
            .collect();
        (restarts || !candidates.is_empty()).then(|| TransportInfo {
            stream: content.table.clone(),
            credentials,
            candidates,
        })
    }

    /// True if the content `name` is the voice.
    pub fn is_voice(&self, name: &str) -> bool {
        self.contents
            .get(self.voice)
            .is_some_and(|voice| voice.wire == name)
    }

    /// The content name and the credentials to trickle with, of the stream that the call table calls
    /// `stream`, or else of the voice; fresh ones replace ours.
    pub fn trickle(
        &mut self,
        stream: &str,
        fresh: Option<(String, String)>,
    ) -> Option<(String, String, String)> {
        let named = self.contents.iter().position(|c| c.table == stream);
        let place = named.filter(|_| !self.bundled).unwrap_or(self.voice);
        let content = self.contents.get_mut(place)?;
        if fresh.is_some() {
            content.ours = fresh;
        }
        let (ufrag, pwd) = content.ours.clone()?;
        Some((content.wire.clone(), ufrag, pwd))
    }
}

fn credentials(stream: &Stream) -> Option<(String, String)> {
    match &stream.transport {
        Transport::Ice(ice) => Some((ice.ufrag.clone(), ice.pwd.clone())),
        Transport::Rtp(_) => None,
    }
}

/// True once for each candidate, and never beyond the bound: Kaidan repeats its whole list with
/// each new candidate.
fn is_fresh(
    seen: &mut BTreeSet<(u8, SocketAddr, CandidateKind, u32)>,
    candidate: &Candidate,
) -> bool {
    seen.len() < MAX_CANDIDATES
        && seen.insert((
            candidate.component,
            candidate.address,
            candidate.kind,
            candidate.generation,
        ))
}

/// Sessions that are over, with the condition that was said last.
#[derive(Clone, Debug, Default)]
pub struct Over {
    conditions: BTreeMap<Key, &'static str>,
    order: VecDeque<Key>,
}

impl Over {
    /// Remembers a session, and forgets the oldest if there are too many.
    pub fn remember(&mut self, key: Key, condition: &'static str) {
        if self.conditions.insert(key.clone(), condition).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_OVER
            && let Some(oldest) = self.order.pop_front()
        {
            self.conditions.remove(&oldest);
        }
    }

    /// The condition that a session ended with.
    pub fn condition(&self, key: &Key) -> Option<&'static str> {
        self.conditions.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_what_is_over_forgets_the_oldest() {
        let key = |sid: usize| Key {
            peer: BareJid::new("user@x.example").unwrap(),
            local: BareJid::new("+1555@gw.example").unwrap(),
            sid: sid.to_string(),
        };
        let mut over = Over::default();
        for sid in 0..=MAX_OVER {
            over.remember(key(sid), "success");
            over.remember(key(sid), "busy");
        }
        assert_eq!(over.condition(&key(0)), None);
        assert_eq!(over.condition(&key(MAX_OVER)), Some("busy"));
        assert_eq!(over.order.len(), MAX_OVER);
        assert_eq!(over.conditions.len(), MAX_OVER);
    }
}
