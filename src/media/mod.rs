//! The media room: RTP, RTCP, SRTP and telephone-event on the wire.

pub mod dtmf;
pub mod g711;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod tone;
