//! Finding the SDP in the body of a message (RFC 5621 §3, RFC 2046 §5.1).

use crate::sip::wire::{ContentType, Message, trim, unquote};

/// How deep multiparts may stand in one another.
const MAX_DEPTH: u8 = 3;
/// The most parts that are looked at: SDP stands first wherever it was seen.
const MAX_PARTS: usize = 16;

/// The SDP of a message, if it has one.
pub fn of(message: &Message) -> Option<&[u8]> {
    if message.body.is_empty() {
        return None;
    }
    match message.content_type() {
        Some(content_type) => in_body(content_type, &message.body),
        // A body that nobody named is taken for what it looks like.
        None => message.body.starts_with(b"v=0").then_some(&*message.body),
    }
}

/// The SDP in a body of that type: the body itself, or the first fitting part of a multipart.
pub fn in_body<'a>(content_type: ContentType<'_>, body: &'a [u8]) -> Option<&'a [u8]> {
    find(content_type, body, MAX_DEPTH)
}

fn find<'a>(content_type: ContentType<'_>, body: &'a [u8], depth: u8) -> Option<&'a [u8]> {
    if content_type.is("application", "sdp") {
        return Some(body);
    }
    let is_multipart = content_type.kind.eq_ignore_ascii_case("multipart");
    let depth = depth.checked_sub(1).filter(|_| is_multipart)?;
    let boundary = unquote(content_type.params.get("boundary")?);
    // RFC 2046 §5.1.1 bounds it to 70 characters.
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let delimiter = format!("--{boundary}");
    let mut rest = after(body, delimiter.as_bytes())?;
    for _ in 0..MAX_PARTS {
        if rest.starts_with(b"--") {
            return None;
        }
        let next = position(rest, delimiter.as_bytes());
        let part = &rest[..next.unwrap_or(rest.len())];
        if let Some(sdp) = in_part(part, depth) {
            return Some(sdp);
        }
        rest = &rest[next? + delimiter.len()..];
    }
    None
}

/// A part: the rest of the delimiter line, headers, an empty line, content, and the line end that
/// belongs to the next delimiter.
fn in_part(part: &[u8], depth: u8) -> Option<&[u8]> {
    let start = position(part, b"\n")? + 1;
    let part = &part[start..];
    let (head, content) = match (position(part, b"\r\n\r\n"), position(part, b"\n\n")) {
        (Some(at), _) => (&part[..at], &part[at + 4..]),
        (None, Some(at)) => (&part[..at], &part[at + 2..]),
        (None, None) => return None,
    };
    let head = std::str::from_utf8(head).ok()?;
    let content_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        trim(name)
            .eq_ignore_ascii_case("content-type")
            .then(|| ContentType::parse(value))?
    })?;
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    find(content_type, content, depth)
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let at = position(bytes, wanted)?;
    bytes.get(at + wanted.len()..)
}
