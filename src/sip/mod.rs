//! The SIP room: wire, URIs, digest, SDP and the table of status codes.

pub mod auth;
pub mod reason;
pub mod sdp;
pub mod uri;
pub mod wire;
