//! Methods. Unknown ones survive, so that they can be answered 405 or 501.

use std::fmt;

macro_rules! methods {
    ($($name:ident $text:literal $rsip:ident,)*) => {
        /// A SIP method. Case counts (RFC 3261 §7.1).
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
            /// A method that we do not know.
            Other(String),
        }

        impl Method {
            /// Reads a method; every token is one.
            pub fn new(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    other => Self::Other(other.to_owned()),
                }
            }

            /// The method as on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// The same method in the words of `rsip`, which knows no others.
            pub fn to_rsip(&self) -> Option<rsip::Method> {
                match self {
                    $(Self::$name => Some(rsip::Method::$rsip),)*
                    Self::Other(_) => None,
                }
            }
        }

        impl From<rsip::Method> for Method {
            fn from(method: rsip::Method) -> Self {
                match method {
                    $(rsip::Method::$rsip => Self::$name,)*
                }
            }
        }
    };
}

methods! {
    Ack "ACK" Ack,
    Bye "BYE" Bye,
    Cancel "CANCEL" Cancel,
    Info "INFO" Info,
    Invite "INVITE" Invite,
    Message "MESSAGE" Message,
    Notify "NOTIFY" Notify,
    Options "OPTIONS" Options,
    Prack "PRACK" PRack,
    Publish "PUBLISH" Publish,
    Refer "REFER" Refer,
    Register "REGISTER" Register,
    Subscribe "SUBSCRIBE" Subscribe,
    Update "UPDATE" Update,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_in_methods() {
        assert_eq!(Method::new("INVITE"), Method::Invite);
        assert_eq!(Method::new("invite"), Method::Other("invite".into()));
        assert_eq!(Method::from(rsip::Method::PRack).as_str(), "PRACK");
        assert_eq!(Method::Prack.to_rsip(), Some(rsip::Method::PRack));
    }
}
