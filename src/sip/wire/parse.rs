//! Reading a message head, and judging it.
//!
//! Reading goes on after a fault, so that the answer to a bad request can still carry what
//! RFC 3261 §8.2.6 wants in it.

use thiserror::Error;

use super::headers::{flatten, text_of};
use super::typed::decimal;
use super::value::{BLANKS, is_token, trim};
use super::{
    CSeq, Headers, MAX_FIELDS, MAX_MESSAGE, Message, Method, Name, NameAddr, Start, Via,
    reason_phrase,
};
use crate::sip::uri::Uri;

/// What an answer needs; looked for even beyond [`MAX_FIELDS`].
const ANSWER_FIELDS: [Name; 5] = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Nothing but empty lines: a keep-alive (RFC 5626 §4.4.1 sends these over streams, many
    /// phones over UDP too).
    #[error("empty")]
    Empty,
    /// The first line is no SIP.
    #[error("no start line")]
    NotSip,
    /// A SIP version other than 2.0.
    #[error("version is not SIP/2.0")]
    Version,
    /// A status code outside of 100–699.
    #[error("bad status code")]
    Status,
    /// The Request-URI cannot be read, or has blanks or brackets in it.
    #[error("bad Request-URI")]
    RequestUri,
    /// A line without a colon, or with a name that is none.
    #[error("bad header line")]
    Line,
    /// A header field is missing that must be there.
    #[error("no {0}")]
    Missing(Name),
    /// A header field is there twice that must not be.
    #[error("more than one {0}")]
    Repeated(Name),
    /// A header field cannot be read.
    #[error("bad {0}")]
    Malformed(Name),
    /// The method in CSeq is another than in the Request-Line.
    #[error("CSeq method mismatch")]
    MethodMismatch,
    /// The same, and nobody knows the method: better answered 501 (RFC 4475 §3.1.2.18).
    #[error("unknown method")]
    UnknownMethod,
    /// Content-Length is no number, or there are two that differ.
    #[error("bad Content-Length")]
    ContentLength,
    /// The body is shorter than Content-Length says.
    #[error("body shorter than Content-Length")]
    BodyShort,
    /// More header fields than [`MAX_FIELDS`].
    #[error("too many header fields")]
    TooManyFields,
    /// Longer than [`MAX_MESSAGE`].
    #[error("too long")]
    TooLong,
}

impl Fault {
    /// The status that says so to the sender of a request.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::UnknownMethod => 501,
            Self::TooManyFields | Self::TooLong => 513,
            Self::Empty
            | Self::NotSip
            | Self::Status
            | Self::RequestUri
            | Self::Line
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::MethodMismatch
            | Self::ContentLength
            | Self::BodyShort => 400,
        }
    }
}

/// A message that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("refused: {fault}")]
pub struct ParseError {
    /// Why.
    pub fault: Fault,
    /// What could be read of it, if it is a request that can be answered: it has a Via that says
    /// where to and a CSeq that says to what, and is no ACK.
    pub request: Option<Box<Message>>,
}

impl ParseError {
    pub(super) fn silent(fault: Fault) -> Self {
        Self {
            fault,
            request: None,
        }
    }

    /// The answer, if one is possible: without a To tag, and with the Via as it came, to which
    /// [`Message::note_source`] should be applied first. `None` means to drop the message.
    pub fn answer(&self) -> Option<Message> {
        let status = self.fault.status();
        let reason = match status {
            400 => format!("{} ({})", reason_phrase(400), self.fault),
            other => reason_phrase(other).to_owned(),
        };
        let request = self.request.as_deref()?;
        Some(Message::response_to(request, status).with_reason(&reason))
    }
}

/// A head that was read, maybe with a fault in it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    message: Message,
    fault: Option<Fault>,
    /// Content-Length, if there is one.
    pub(super) length: Option<usize>,
}

impl Draft {
    /// True if nobody can say where the message ends in a stream.
    pub(super) fn is_unframed(&self) -> bool {
        self.length.is_none()
    }

    pub(super) fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Adds the body and hands the message over.
    pub(super) fn finish(mut self, body: &[u8]) -> Result<Message, ParseError> {
        let Some(fault) = self.fault else {
            self.message.body = body.to_vec();
            return Ok(self.message);
        };
        let message = self.message;
        let answerable = message.method().is_some_and(|m| *m != Method::Ack)
            && message.via().is_some()
            && message.header(Name::CSeq).is_some();
        Err(ParseError {
            fault,
            request: answerable.then(|| Box::new(message)),
        })
    }
}

impl Message {
    /// Reads a datagram: one message, whatever follows its body is thrown away (RFC 3261 §18.3).
    /// Without a Content-Length the body is the rest.
    pub fn parse_datagram(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::silent(Fault::TooLong));
        }
        let start = bytes
            .iter()
            .position(|b| !matches!(b, b'\r' | b'\n'))
            .ok_or(ParseError::silent(Fault::Empty))?;
        let bytes = &bytes[start..];
        // A datagram may end with its head: nothing can follow that would change it.
        let head = head_end(bytes, 0).unwrap_or(bytes.len());
        let mut draft = read_head(&bytes[..head]).ok_or(ParseError::silent(Fault::NotSip))?;
        let rest = &bytes[head..];
        let body = match draft.length {
            Some(length) => rest.get(..length).unwrap_or_else(|| {
                draft.blame(Fault::BodyShort);
                rest
            }),
            None => rest,
        };
        draft.finish(body)
    }
}

/// The end of the head that `bytes` starts with, its empty line included; the search starts at
/// `from`.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Reads a head; `None` if its first line is no SIP at all.
pub(super) fn read_head(head: &[u8]) -> Option<Draft> {
    let text = text_of(head).into_owned();
    let line_end = text.find('\n').unwrap_or(text.len());
    let (start, fault) = read_start(trim(&text[..line_end]))?;
    let mut draft = Draft {
        message: Message {
            start,
            headers: Headers::over(text),
            body: Vec::new(),
        },
        fault,
        length: None,
    };
    let faults = read_fields(&mut draft.message.headers, line_end + 1);
    if let Some(fault) = faults {
        draft.blame(fault);
    }
    if let Err(fault) = read_length(&mut draft) {
        draft.blame(fault);
    }
    if draft.fault.is_none()
        && let Err(fault) = judge(&draft.message)
    {
        draft.blame(fault);
    }
    Some(draft)
}

/// Request-Line or Status-Line (RFC 3261 §7.1, §7.2); more than one blank between the parts, and
/// blanks at the end, are let pass.
fn read_start(line: &str) -> Option<(Start, Option<Fault>)> {
    let is_version = |text: &str| {
        text.get(..4)
            .is_some_and(|p| p.eq_ignore_ascii_case("SIP/"))
    };
    let (first, rest) = line.split_once([' ', '\t'])?;
    if is_version(first) {
        let rest = rest.trim_start_matches([' ', '\t']);
        let (code, reason) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let status =
            decimal::<u16>(code).filter(|status| code.len() == 3 && (100..700).contains(status));
        let fault = match status {
            None => Some(Fault::Status),
            Some(_) if !first.eq_ignore_ascii_case("SIP/2.0") => Some(Fault::Version),
            Some(_) => None,
        };
        let start = Start::Response {
            status: status.unwrap_or(0),
            reason: flatten(trim(reason)),
        };
        return Some((start, fault));
    }
    let (uri, version) = trim(rest).rsplit_once([' ', '\t'])?;
    if !is_token(first) || !is_version(version) {
        return None;
    }
    let uri = trim(uri);
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(Fault::Version)
    } else if Uri::check(uri).is_err() {
        Some(Fault::RequestUri)
    } else {
        None
    };
    let start = Start::Request {
        method: Method::new(first),
        uri: uri.to_owned(),
    };
    Some((start, fault))
}

/// Finds the header fields in the text of `headers`, from `at` on.
fn read_fields(headers: &mut Headers, mut at: usize) -> Option<Fault> {
    let mut fault = None;
    let size = headers.text().len();
    while at < size {
        let text = &headers.text()[..size];
        let line_end = |from: usize| {
            text.get(from..)
                .and_then(|rest| rest.find('\n'))
                .map_or(size, |length| from + length)
        };
        let mut stop = line_end(at);
        let mut folded = false;
        while matches!(text.as_bytes().get(stop + 1), Some(b' ' | b'\t')) {
            stop = line_end(stop + 1);
            folded = true;
        }
        let (start, next) = (at, stop + 1);
        at = next;
        let line = text[start..stop].trim_end_matches(BLANKS);
        if line.is_empty() {
            continue;
        }
        let Some(colon) = line.find(':') else {
            fault.get_or_insert(Fault::Line);
            continue;
        };
        let name = line[..colon].trim_end_matches(BLANKS);
        let known = Name::parse(name);
        if known.is_none() && !is_token(name) {
            fault.get_or_insert(Fault::Line);
            continue;
        }
        if headers.len() >= MAX_FIELDS {
            fault.get_or_insert(Fault::TooManyFields);
        }
        let needed = known
            .is_some_and(|name| ANSWER_FIELDS.contains(&name) && headers.first(name).is_none());
        if headers.len() >= MAX_FIELDS && !needed {
            continue;
        }
        let value = line[colon + 1..].trim_start_matches(BLANKS);
        let value_start = start + line.len() - value.len();
        let (name, value) = (start..start + name.len(), value_start..start + line.len());
        if folded || text[value.clone()].contains('\r') {
            headers.add_unfolded(known, name, value);
        } else {
            headers.add_span(known, name, value);
        }
    }
    fault
}

/// Content-Length: all values must be numbers and agree.
fn read_length(draft: &mut Draft) -> Result<(), Fault> {
    let mut length = None;
    for value in draft.message.fields(Name::ContentLength) {
        let value = trim(value);
        let number = decimal::<usize>(value).filter(|&n| n <= MAX_MESSAGE);
        let Some(number) = number else {
            // Digits that are too many are a length, just one that nobody can have sent.
            let huge = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            return Err(if huge {
                Fault::BodyShort
            } else {
                Fault::ContentLength
            });
        };
        if length.is_some_and(|known| known != number) {
            return Err(Fault::ContentLength);
        }
        length = Some(number);
    }
    draft.length = length;
    Ok(())
}

/// What every message must have (RFC 3261 §8.1.1, §20).
fn judge(message: &Message) -> Result<(), Fault> {
    for name in ANSWER_FIELDS {
        let mut fields = message.fields(name);
        if fields.next().is_none_or(str::is_empty) {
            return Err(Fault::Missing(name));
        }
        if name != Name::Via && fields.next().is_some() {
            return Err(Fault::Repeated(name));
        }
    }
    for name in [Name::MaxForwards, Name::ContentType] {
        if message.fields(name).nth(1).is_some() {
            return Err(Fault::Repeated(name));
        }
    }
    let mut top = true;
    for value in message.values(Name::Via) {
        let via = Via::parse(value).ok_or(Fault::Malformed(Name::Via))?;
        if !via.params.is_well_formed() {
            return Err(Fault::Malformed(Name::Via));
        }
        if std::mem::take(&mut top) && !via.is_version_2() {
            return Err(Fault::Version);
        }
    }
    for (name, address) in [(Name::From, message.from()), (Name::To, message.to())] {
        address.ok_or(Fault::Malformed(name))?;
    }
    for name in [Name::Contact, Name::RecordRoute, Name::Route] {
        if message.values(name).any(|v| NameAddr::parse(v).is_none()) {
            return Err(Fault::Malformed(name));
        }
    }
    let cseq = message
        .header(Name::CSeq)
        .and_then(CSeq::parse)
        .ok_or(Fault::Malformed(Name::CSeq))?;
    match message.method() {
        Some(Method::Other(method)) if method != cseq.method.as_str() => Err(Fault::UnknownMethod),
        Some(method) if *method != cseq.method => Err(Fault::MethodMismatch),
        Some(_) | None => Ok(()),
    }
}
