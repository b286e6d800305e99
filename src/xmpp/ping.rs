//! XMPP ping (XEP-0199): the domain and every contact say that they are there.

/// The namespace of `<ping/>`.
pub const NS_PING: &str = "urn:xmpp:ping";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_PING];
