//! The media room: RTP, RTCP, SRTP and telephone-event on the wire.

pub mod rtp;
pub mod srtp;
