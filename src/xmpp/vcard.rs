//! Who a contact is: vcard-temp (XEP-0054) and vCard4 (XEP-0292), both read-only.

/// The namespace of vcard-temp.
pub const NS_VCARD_TEMP: &str = "vcard-temp";
/// The namespace of vCard4.
pub const NS_VCARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";

/// What disco#info says for this file.
pub const FEATURES: &[&str] = &[NS_VCARD_TEMP, NS_VCARD4];
