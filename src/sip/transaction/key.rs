//! How transactions are found: RFC 3261 §17.1.3 and §17.2.3.

/// What a request is, as far as matching goes: an ACK belongs to its INVITE, a CANCEL is a
/// transaction of its own beside the INVITE it cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// INVITE, and the ACK of a failure.
    Invite,
    /// CANCEL.
    Cancel,
    /// Everything else. Two other methods never share a branch.
    Other,
}

impl Class {
    /// The class of a method.
    pub fn of(method: &str) -> Self {
        match method {
            "INVITE" | "ACK" => Self::Invite,
            "CANCEL" => Self::Cancel,
            _ => Self::Other,
        }
    }
}

/// The key of a server transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    class: Class,
    /// Branch and sent-by, or the RFC 2543 fields; joined by a character that neither can have.
    fields: Box<str>,
}

impl ServerKey {
    /// From a branch that begins with the magic cookie, and the sent-by in lower case.
    pub fn new(class: Class, branch: &str, sent_by: &str) -> Self {
        Self {
            class,
            fields: [branch, "\n", sent_by].concat().into(),
        }
    }

    /// From what RFC 2543 had: the Request-URI, From tag, Call-ID, CSeq number and the topmost Via
    /// (RFC 3261 §17.2.3). The To tag is left out: an INVITE has none and its ACK has the one of
    /// our response.
    pub fn rfc2543(class: Class, fields: [&str; 5]) -> Self {
        Self {
            class,
            fields: fields.join("\n").into(),
        }
    }

    /// The key of the INVITE that a CANCEL with this key means (§9.2).
    pub fn cancelled(&self) -> Self {
        Self {
            class: Class::Invite,
            fields: self.fields.clone(),
        }
    }
}

/// The key of a client transaction: our branch, which is ours alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    branch: Box<str>,
    class: Class,
}

impl ClientKey {
    /// From a branch and the method of CSeq.
    pub fn new(class: Class, branch: &str) -> Self {
        Self {
            branch: branch.into(),
            class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_finds_its_invite_and_a_cancel_does_not() {
        let key = |method| ServerKey::new(Class::of(method), "z9hG4bK1", "192.0.2.1:5060");
        assert_eq!(key("INVITE"), key("ACK"));
        assert_ne!(key("INVITE"), key("CANCEL"));
        assert_eq!(key("CANCEL").cancelled(), key("INVITE"));
        assert_ne!(key("BYE"), key("INVITE"));
    }

    #[test]
    fn the_same_branch_from_another_sent_by_is_another_transaction() {
        let a = ServerKey::new(Class::Invite, "z9hG4bK1", "192.0.2.1");
        let b = ServerKey::new(Class::Invite, "z9hG4bK1", "192.0.2.2");
        assert_ne!(a, b);
    }
}
