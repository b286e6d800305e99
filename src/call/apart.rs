//! Two calls with peers behind one address and port: another gateway that has one socket for all its
//! calls, as we have. A worker of ours tells them apart by the socket that they come to, so the second
//! one gets a port pair of its own.
//!
//! The answerer sees to it, since it alone has both descriptions before its own leaves. Two calls that
//! come up at the same moment in opposite directions do not see each other.

use std::time::Instant;

use super::Calls;
use super::endpoints::LocalEnd;
use super::entry::Call;
use crate::description::{IceTransport, Stream, Transport};
use crate::id::LegId;

/// Addresses of a peer that are looked at: a gateway names the few of its host.
const MAX_PLACES: usize = 32;

impl Calls {
    /// Gives a side a port pair of its own if another call has its peer's address already.
    pub(super) fn keep_apart(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        theirs: &IceTransport,
    ) {
        let worker = call.worker;
        let seen = call.places.clone();
        let meets = theirs.candidates.iter().take(MAX_PLACES).any(|candidate| {
            let calls = self.places.get(&(worker, candidate.address));
            calls.copied().unwrap_or(0) > u32::from(seen.contains(&candidate.address))
        });
        let shares = call
            .media_mut(leg)
            .is_some_and(|media| !media.configured && media.own_port().is_none());
        if !meets || !shares {
            return;
        }
        // Without a port left it is as if nobody had looked.
        let Some(port) = self.endpoints.take_port(now) else {
            return;
        };
        call.ports.push(port);
        if let Some(media) = call.media_mut(leg)
            && let LocalEnd::Ice { own_port, .. } = &mut media.local
        {
            *own_port = Some(port);
        }
    }

    /// Counts a call where its peer says that it is.
    pub(super) fn note_peer(&mut self, call: &mut Call, theirs: &Stream) {
        let Transport::Ice(ice) = &theirs.transport else {
            return;
        };
        for candidate in ice.candidates.iter().take(MAX_PLACES) {
            if call.places.len() < MAX_PLACES && !call.places.contains(&candidate.address) {
                call.places.push(candidate.address);
                let place = (call.worker, candidate.address);
                *self.places.entry(place).or_default() += 1;
            }
        }
    }

    /// Takes a call's peers out of the count.
    pub(super) fn forget_peers(&mut self, call: &Call) {
        for address in &call.places {
            let place = (call.worker, *address);
            if let Some(calls) = self.places.get_mut(&place) {
                *calls -= 1;
                if *calls == 0 {
                    self.places.remove(&place);
                }
            }
        }
    }
}
