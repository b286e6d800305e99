//! RTCP of our own toward each peer.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Media, Place};

impl Media {
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        place: Place,
        from: SocketAddr,
        packet: &mut [u8],
    ) {
        let _ = (now, place, from, packet);
    }
    pub(super) fn report(&mut self, now: Instant, place: Place) {
        let _ = (now, place);
    }
    pub(super) fn arm_report(&mut self, now: Instant, place: Place) {
        let _ = (now, place);
    }
}
