//! From what people type to a contact JID (XEP-0100 §4.6 and its `jabber:iq:gateway`).

/// The namespace of the query.
pub const NS_GATEWAY: &str = "jabber:iq:gateway";

/// What disco#info of the domain says for this file.
pub const FEATURES: &[&str] = &[NS_GATEWAY];
