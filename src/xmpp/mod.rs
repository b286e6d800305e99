//! The XMPP room.

pub mod caps;
pub mod disco;
pub mod gateway_iq;
pub mod iq;
pub mod jingle;
mod lru;
pub mod ping;
pub mod stanza;
pub mod vcard;
pub mod version;
