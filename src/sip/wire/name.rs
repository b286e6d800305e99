//! Names of header fields, with their compact forms (RFC 3261 §7.3.3, §20).

use std::fmt;

macro_rules! names {
    ($($name:ident $text:literal $lower:literal $(or $compact:literal)?,)*) => {
        /// A header field that the gateway has a word for. Others are found by their text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl Name {
            /// Every name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as we write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reads a name in any case, long or compact.
            pub fn parse(text: &str) -> Option<Self> {
                let mut lower = [0; LONGEST];
                let lower = lower.get_mut(..text.len())?;
                lower.copy_from_slice(text.as_bytes());
                lower.make_ascii_lowercase();
                match &*lower {
                    $($lower $(| $compact)? => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

/// Room for the longest name of the table; a test looks.
const LONGEST: usize = 24;

names! {
    Accept "Accept" b"accept",
    AcceptContact "Accept-Contact" b"accept-contact" or b"a",
    AcceptEncoding "Accept-Encoding" b"accept-encoding",
    AcceptLanguage "Accept-Language" b"accept-language",
    AlertInfo "Alert-Info" b"alert-info",
    Allow "Allow" b"allow",
    AllowEvents "Allow-Events" b"allow-events" or b"u",
    AuthenticationInfo "Authentication-Info" b"authentication-info",
    Authorization "Authorization" b"authorization",
    CallId "Call-ID" b"call-id" or b"i",
    CallInfo "Call-Info" b"call-info",
    Contact "Contact" b"contact" or b"m",
    ContentDisposition "Content-Disposition" b"content-disposition",
    ContentEncoding "Content-Encoding" b"content-encoding" or b"e",
    ContentId "Content-ID" b"content-id",
    ContentLanguage "Content-Language" b"content-language",
    ContentLength "Content-Length" b"content-length" or b"l",
    ContentType "Content-Type" b"content-type" or b"c",
    CSeq "CSeq" b"cseq",
    Date "Date" b"date",
    Diversion "Diversion" b"diversion",
    ErrorInfo "Error-Info" b"error-info",
    Event "Event" b"event" or b"o",
    Expires "Expires" b"expires",
    FlowTimer "Flow-Timer" b"flow-timer",
    From "From" b"from" or b"f",
    Geolocation "Geolocation" b"geolocation",
    HistoryInfo "History-Info" b"history-info",
    Identity "Identity" b"identity" or b"y",
    InReplyTo "In-Reply-To" b"in-reply-to",
    Join "Join" b"join",
    MaxBreadth "Max-Breadth" b"max-breadth",
    MaxForwards "Max-Forwards" b"max-forwards",
    MimeVersion "MIME-Version" b"mime-version",
    MinExpires "Min-Expires" b"min-expires",
    MinSe "Min-SE" b"min-se",
    Organization "Organization" b"organization",
    PAccessNetworkInfo "P-Access-Network-Info" b"p-access-network-info",
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity",
    PCalledPartyId "P-Called-Party-ID" b"p-called-party-id",
    PEarlyMedia "P-Early-Media" b"p-early-media",
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity",
    Path "Path" b"path",
    Priority "Priority" b"priority",
    Privacy "Privacy" b"privacy",
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate",
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization",
    ProxyRequire "Proxy-Require" b"proxy-require",
    RAck "RAck" b"rack",
    Reason "Reason" b"reason",
    RecordRoute "Record-Route" b"record-route",
    ReferTo "Refer-To" b"refer-to" or b"r",
    ReferredBy "Referred-By" b"referred-by" or b"b",
    ReferSub "Refer-Sub" b"refer-sub",
    RejectContact "Reject-Contact" b"reject-contact" or b"j",
    RemotePartyId "Remote-Party-ID" b"remote-party-id",
    Replaces "Replaces" b"replaces",
    ReplyTo "Reply-To" b"reply-to",
    RequestDisposition "Request-Disposition" b"request-disposition" or b"d",
    Require "Require" b"require",
    RetryAfter "Retry-After" b"retry-after",
    Route "Route" b"route",
    RSeq "RSeq" b"rseq",
    Server "Server" b"server",
    ServiceRoute "Service-Route" b"service-route",
    SessionExpires "Session-Expires" b"session-expires" or b"x",
    SipEtag "SIP-ETag" b"sip-etag",
    SipIfMatch "SIP-If-Match" b"sip-if-match",
    Subject "Subject" b"subject" or b"s",
    SubscriptionState "Subscription-State" b"subscription-state",
    Supported "Supported" b"supported" or b"k",
    Timestamp "Timestamp" b"timestamp",
    To "To" b"to" or b"t",
    Unsupported "Unsupported" b"unsupported",
    UserAgent "User-Agent" b"user-agent",
    UserToUser "User-to-User" b"user-to-user",
    Via "Via" b"via" or b"v",
    Warning "Warning" b"warning",
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate",
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_in_any_case() {
        for &name in Name::ALL {
            assert!(name.as_str().len() <= LONGEST);
            assert_eq!(Name::parse(name.as_str()), Some(name));
            assert_eq!(Name::parse(&name.as_str().to_uppercase()), Some(name));
        }
        assert_eq!(Name::parse("V"), Some(Name::Via));
        assert_eq!(Name::parse("X-Custom"), None);
        assert_eq!(Name::parse(&"a".repeat(1000)), None);
    }
}
