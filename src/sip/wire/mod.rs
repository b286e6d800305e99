//! SIP messages: a tolerant reader and an exact writer.
//!
//! A [`Message`] keeps every octet that came; header values are read when they are asked for
//! ([`typed`]). The reader accepts what RFC 3261 §7 allows and what RFC 4475 recommends to accept:
//! compact names, folding, blanks before the colon, bare line feeds, empty lines before the start
//! line, unknown methods, schemes and transports, octets that are no UTF-8. What it refuses it
//! refuses with a [`ParseError`] that knows whether an answer is possible.
//!
//! Not here: transactions, dialogs, and what a method means.

mod framer;
mod headers;
mod method;
mod name;
mod parse;
mod status;
pub mod typed;
mod value;

use std::fmt;
use std::net::SocketAddr;

pub use framer::{Framed, StreamFramer};
pub use headers::{Headers, readable};
pub use method::Method;
pub use name::Name;
pub use parse::{Fault, ParseError};
pub use status::reason_phrase;
pub use typed::{
    CSeq, ContentType, NameAddr, RAck, Reason, Refresher, Replaces, SessionExpires, Via,
};
pub use value::{Params, is_token, quote, split_values, unquote};
pub(crate) use value::{find_outside, trim};

/// The largest message that is read, head and body. A UDP datagram cannot be larger, and no peer
/// of a telephone gateway needs more over a stream.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most header fields of a message. RFC 4475 goes to 40; a peer that sends more than this
/// wants to cost us time.
pub const MAX_FIELDS: usize = 256;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Of a request.
    Request {
        /// What is asked.
        method: Method,
        /// The Request-URI as written.
        uri: String,
    },
    /// Of a response.
    Response {
        /// 100–699.
        status: u16,
        /// For people.
        reason: String,
    },
}

/// A request or a response.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: Start,
    /// The header fields. Content-Length among them is what came; the writer puts the true one.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Message {
    /// Says what it is, not whom it concerns: messages hold numbers and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Start::Request { method, .. } => write!(f, "Message({method}")?,
            Start::Response { status, .. } => write!(f, "Message({status}")?,
        }
        write!(
            f,
            ", {} fields, {} bytes of body)",
            self.headers.len(),
            self.body.len()
        )
    }
}

/// Building.
impl Message {
    /// A request without header fields.
    pub fn request(method: Method, uri: impl Into<String>) -> Self {
        Self::starting(Start::Request {
            method,
            uri: uri.into(),
        })
    }

    /// A response without header fields.
    pub fn response(status: u16) -> Self {
        Self::starting(Start::Response {
            status,
            reason: reason_phrase(status).to_owned(),
        })
    }

    fn starting(start: Start) -> Self {
        Self {
            start,
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// A response to `request` with its Via, From, To, Call-ID and CSeq (RFC 3261 §8.2.6), and its
    /// Timestamp in a 100. The To tag is added by [`Self::set_to_tag`].
    pub fn response_to(request: &Self, status: u16) -> Self {
        let mut response = Self::response(status);
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            response.headers.copy(&request.headers, name);
        }
        if status == 100 {
            response.headers.copy(&request.headers, Name::Timestamp);
        }
        response
    }

    /// Copies the Record-Route of `request`, as responses that make a dialog must (RFC 3261
    /// §12.1.1).
    pub fn with_record_route_of(mut self, request: &Self) -> Self {
        self.headers.copy(&request.headers, Name::RecordRoute);
        self
    }

    /// Replaces the reason phrase.
    pub fn with_reason(mut self, text: &str) -> Self {
        if let Start::Response { reason, .. } = &mut self.start {
            text.clone_into(reason);
        }
        self
    }

    /// Adds a field.
    pub fn with(mut self, name: Name, value: impl AsRef<str>) -> Self {
        self.headers.push(name, value.as_ref());
        self
    }

    /// Adds a field.
    pub fn push(&mut self, name: Name, value: impl AsRef<str>) {
        self.headers.push(name, value.as_ref());
    }

    /// Gives the message a body.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.set(Name::ContentType, content_type);
        self.body = body.into();
        self
    }

    /// Adds a tag to To, unless it has one.
    pub fn set_to_tag(&mut self, tag: &str) {
        if let Some(to) = self.headers.first(Name::To)
            && self.to_tag().is_none()
        {
            let value = format!("{};tag={tag}", to.trim_end_matches([';', ' ']));
            self.headers.set_first(Name::To, &value);
        }
    }

    /// Writes into the top Via where the request came from: `received` if it is not the sent-by
    /// (RFC 3261 §18.2.1), and `rport` if the sender asks for it or `force_rport` (RFC 3581 §4).
    pub fn note_source(&mut self, source: SocketAddr, force_rport: bool) {
        let Some(field) = self.headers.first(Name::Via) else {
            return;
        };
        let end = find_outside(field, b',').unwrap_or(field.len());
        let Some(via) = Via::parse(trim(&field[..end])) else {
            return;
        };
        let rport = via.asks_rport() || force_rport;
        // RFC 3581 §4: with rport, received is always written.
        let received = rport || via.host_ip() != Some(source.ip().to_canonical());
        if !rport && !received && via.received().is_none() {
            return;
        }
        let mut value = format!("SIP/2.0/{} {}", via.transport, via.host);
        if let Some(port) = via.port {
            value += &format!(":{port}");
        }
        for (name, text) in via.params.iter() {
            if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
                continue;
            }
            value += ";";
            value += name;
            if let Some(text) = text {
                value += "=";
                value += text;
            }
        }
        if received {
            value += &format!(";received={}", source.ip().to_canonical());
        }
        if rport {
            value += &format!(";rport={}", source.port());
        }
        value += &field[end..];
        self.headers.set_first(Name::Via, &value);
    }

    /// The message on the wire. Content-Length is always written, last, and true.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.headers.text_len() + self.body.len() + 256);
        match &self.start {
            Start::Request { method, uri } => {
                write_line(&[method.as_str(), " ", uri, " SIP/2.0"], &mut out);
            }
            Start::Response { status, reason } => {
                let status = status.to_string();
                write_line(&["SIP/2.0 ", &status, " ", reason], &mut out);
            }
        }
        for (name, value) in self.headers.iter() {
            if name != Name::ContentLength.as_str() {
                write_line(&[name, ": ", value], &mut out);
            }
        }
        let length = self.body.len().to_string();
        write_line(&[Name::ContentLength.as_str(), ": ", &length], &mut out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

/// Writes a line; a line end within it becomes a blank, whoever put it there.
fn write_line(parts: &[&str], out: &mut Vec<u8>) {
    let start = out.len();
    for part in parts {
        headers::write_octets(part, out);
    }
    for b in &mut out[start..] {
        if matches!(b, b'\r' | b'\n') {
            *b = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Reading.
impl Message {
    /// True for a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI as written.
    pub fn request_uri(&self) -> Option<&str> {
        match &self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response, for people.
    pub fn reason(&self) -> Option<&str> {
        match &self.start {
            Start::Request { .. } => None,
            Start::Response { reason, .. } => Some(reason),
        }
    }

    /// The first field of `name`, whole.
    pub fn header(&self, name: Name) -> Option<&str> {
        self.headers.first(name)
    }

    /// All fields of `name`, whole.
    pub fn fields(&self, name: Name) -> impl DoubleEndedIterator<Item = &str> {
        self.headers.all(name)
    }

    /// All values of a comma-separated field, over all its fields, in order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields(name).flat_map(split_values)
    }

    /// The tokens of a list such as Supported, Require or Allow.
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields(name).flat_map(typed::tokens)
    }

    /// True if the list `name` has `token`, in any case.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// The top Via. Messages that were read have one.
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.values(Name::Via).next()?)
    }

    /// All Via values that can be read.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.values(Name::Via).filter_map(Via::parse)
    }

    /// From. Messages that were read have one.
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(Name::From)?)
    }

    /// To. Messages that were read have one.
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(Name::To)?)
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&str> {
        self.from()?.tag()
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&str> {
        self.to()?.tag()
    }

    /// Call-ID. Messages that were read have one.
    pub fn call_id(&self) -> Option<&str> {
        self.header(Name::CallId)
    }

    /// CSeq. Messages that were read have one.
    pub fn cseq(&self) -> Option<CSeq> {
        CSeq::parse(self.header(Name::CSeq)?)
    }

    /// All addresses of `name` that can be read: Contact, Route, Record-Route,
    /// P-Asserted-Identity, Diversion and their like.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = NameAddr<'_>> {
        self.values(name).filter_map(NameAddr::parse)
    }

    /// The first address of `name`.
    pub fn address(&self, name: Name) -> Option<NameAddr<'_>> {
        self.addresses(name).next()
    }

    /// A field that is a number: Max-Forwards, Expires, Min-Expires, Min-SE, RSeq, Retry-After.
    /// What follows the number (Retry-After has comments) does not count.
    pub fn number(&self, name: Name) -> Option<u32> {
        let value = trim(self.header(name)?);
        let end = value
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(value.len());
        typed::decimal(&value[..end])
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<ContentType<'_>> {
        ContentType::parse(self.header(Name::ContentType)?)
    }

    /// Session-Expires.
    pub fn session_expires(&self) -> Option<SessionExpires> {
        SessionExpires::parse(self.header(Name::SessionExpires)?)
    }

    /// RAck.
    pub fn rack(&self) -> Option<RAck> {
        RAck::parse(self.header(Name::RAck)?)
    }

    /// Replaces.
    pub fn replaces(&self) -> Option<Replaces<'_>> {
        Replaces::parse(self.header(Name::Replaces)?)
    }

    /// The Reason values.
    pub fn reasons(&self) -> impl Iterator<Item = Reason<'_>> {
        self.values(Name::Reason).filter_map(Reason::parse)
    }
}

#[cfg(test)]
mod tests;
