//! Another port for a side whose port another program has.
//!
//! Our description leaves in the same turn that asks the worker for the port, so that no call waits
//! for it; what it said is put right by an offer of ours (RFC 3264 §8.3.1) once the call is answered, or
//! by another candidate.

use std::time::Instant;

use super::Calls;
use super::endpoints::LocalEnd;
use super::entry::{Call, State};
use super::negotiate;
use crate::border::Side;
use crate::description::TransportInfo;
use crate::id::{BridgeId, Room};
use crate::leg::{End, EndReason, LegCommand};

/// Ports that a side loses before its call ends: then it is not one port that is the matter.
const MAX_LOST: u8 = 8;

impl Calls {
    /// Gives a side another port.
    pub(super) fn port_taken(
        &mut self,
        now: Instant,
        bridge: BridgeId,
        side: Side,
        port: u16,
        text: &str,
    ) {
        let Some(id) = self.by_bridge.get(&bridge.of_sound()).copied() else {
            return;
        };
        let is_video = bridge.is_of_pictures();
        self.with_id(now, id, |table, call| {
            // It may have left that port since.
            let (leg, lost) = match (call.leg(side), call.stream_mut(side, is_video)) {
                (Some(leg), Some(media)) if media.has_port(port) => (leg, media.lost_ports),
                _ => return Ok(()),
            };
            if lost == MAX_LOST && is_video {
                return Ok(());
            }
            if lost == MAX_LOST {
                return Err(End::because(EndReason::Failed, text));
            }
            tracing::warn!(call = %call.id, port, text, "another program has a port of media.rtp_ports");
            call.ports.retain(|taken| *taken != port);
            table.endpoints.give_port(now, port);
            let new = match table.local_end(now, call, Room::Sip) {
                Ok(LocalEnd::Rtp { port }) => port,
                // The call goes on without pictures.
                Ok(LocalEnd::Ice { .. }) => return Ok(()),
                Err(_) if is_video => return Ok(()),
                Err(end) => return Err(end),
            };
            let Some(media) = call.stream_mut(side, is_video) else {
                return Ok(());
            };
            media.lost_ports = lost + 1;
            let trickle = match &mut media.local {
                LocalEnd::Rtp { port } => {
                    *port = new;
                    media.is_elsewhere = media.ours.is_some();
                    None
                }
                LocalEnd::Ice { own_port, .. } => {
                    *own_port = Some(new);
                    media.ours.as_ref().map(|ours| ours.name.clone())
                }
            };
            table.configure(call, side);
            if let Some(stream) = trickle {
                let candidates = table.endpoints.candidates(call.worker, Some(new), true);
                let info = TransportInfo {
                    stream,
                    credentials: None,
                    candidates,
                };
                table.tell(leg, LegCommand::Transport(info));
            }
            if matches!(call.state, State::Up) {
                table.announce(call, side);
            }
            Ok(())
        });
    }

    /// Tells the peer of a side where we are, if we are not where we said.
    pub(super) fn announce(&mut self, call: &mut Call, side: Side) {
        let Some(leg) = call.leg(side).filter(|_| call.answered.is_some()) else {
            return;
        };
        let Some(media) = call.media_mut(leg).filter(|media| {
            let video = media.video.as_ref();
            media.is_elsewhere || video.is_some_and(|video| video.is_elsewhere)
        }) else {
            return;
        };
        let encodings = match (media.encoding, &media.ours) {
            (Some(encoding), _) => vec![encoding],
            // Nobody has answered what we said.
            (None, Some(ours)) => negotiate::encodings(ours),
            (None, None) => return,
        };
        let offer = self.own_offer(call, leg, &encodings);
        self.tell(leg, LegCommand::Update(offer));
    }
}
