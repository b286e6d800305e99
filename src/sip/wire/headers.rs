//! The header fields of a message: one text, and where each field stands in it.
//!
//! An octet that is not part of UTF-8 is kept as the private-use character U+10FF00 plus its
//! value, and written back as the octet it was. So every value is a `&str`, and every octet
//! survives. The characters U+10FF80–U+10FFFF themselves are kept octet by octet in the same way,
//! which makes the mapping one to one.

use std::borrow::Cow;

use super::Name;

const RAW_OCTET: u32 = 0x10_FF00;
/// First octet of all characters from U+100000, the raw ones among them.
const RAW_LEAD: u8 = 0xf4;

/// Octets to text, as the module says.
pub(super) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !bytes.contains(&RAW_LEAD)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    let raw = |out: &mut String, octets: &[u8]| {
        for &b in octets {
            // Every value up to U+10FFFF that is no surrogate is a character.
            out.push(
                char::from_u32(RAW_OCTET + u32::from(b)).unwrap_or(char::REPLACEMENT_CHARACTER),
            );
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_raw(c) {
                raw(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        raw(&mut out, chunk.invalid());
    }
    Cow::Owned(out)
}

fn is_raw(c: char) -> bool {
    u32::from(c) >= RAW_OCTET + 0x80
}

/// Text back to octets.
pub(super) fn write_octets(text: &str, out: &mut Vec<u8>) {
    if !text.as_bytes().contains(&RAW_LEAD) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        if is_raw(c) {
            // Fits: is_raw has put it between 0x80 and 0xff.
            out.push((u32::from(c) & 0xff) as u8);
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The text as people may see it: raw octets become U+FFFD.
pub fn readable(text: &str) -> Cow<'_, str> {
    if text.contains(is_raw) {
        Cow::Owned(text.replace(is_raw, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Option<Name>,
    name: Span,
    value: Span,
}

/// Ordered header fields.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    entries: Vec<Entry>,
}

impl Headers {
    /// Starts from a header section; fields are added with [`Headers::add_span`].
    pub(super) fn over(text: String) -> Self {
        Self {
            text,
            entries: Vec::with_capacity(20),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Adds a field that already stands in the text.
    pub(super) fn add_span(
        &mut self,
        known: Option<Name>,
        name: std::ops::Range<usize>,
        value: std::ops::Range<usize>,
    ) {
        // Texts are bounded by MAX_MESSAGE, far below 4 GiB.
        let span = |r: std::ops::Range<usize>| Span {
            start: r.start as u32,
            end: r.end as u32,
        };
        self.entries.push(Entry {
            known,
            name: span(name),
            value: span(value),
        });
    }

    /// Adds a field whose name stands in the text and whose value has to be written anew, because
    /// it was folded.
    pub(super) fn add_unfolded(
        &mut self,
        known: Option<Name>,
        name: std::ops::Range<usize>,
        value: std::ops::Range<usize>,
    ) {
        let flat = flatten(self.text.get(value).unwrap_or(""));
        let start = self.text.len();
        self.text.push_str(flat.trim());
        self.add_span(known, name, start..self.text.len());
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All fields, in order: name as written, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|e| {
            let name = match e.known {
                Some(name) => name.as_str(),
                None => e.name.of(&self.text),
            };
            (name, e.value.of(&self.text))
        })
    }

    /// The values of `name`, one per field, in order.
    pub fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &str> {
        self.entries
            .iter()
            .filter(move |e| e.known == Some(name))
            .map(|e| e.value.of(&self.text))
    }

    /// The first value of `name`.
    pub fn first(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a field that has no [`Name`]; case does not count.
    pub fn all_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Adds a field at the end. Line ends in `value` become blanks,
    /// so that a value can never start another field.
    pub fn push(&mut self, name: Name, value: &str) {
        let value = self.append(value);
        self.entries.push(Entry {
            known: Some(name),
            name: Span { start: 0, end: 0 },
            value,
        });
    }

    /// Adds a field that has no [`Name`] (or has one after all). A name that is no token is left
    /// out with its value.
    pub fn push_named(&mut self, name: &str, value: &str) {
        if let Some(known) = Name::parse(name) {
            return self.push(known, value);
        }
        if !super::is_token(name) {
            return;
        }
        let name = self.append(name);
        let value = self.append(value);
        self.entries.push(Entry {
            known: None,
            name,
            value,
        });
    }

    /// Takes all fields of `name` away; true if there was one.
    pub fn remove(&mut self, name: Name) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.known != Some(name));
        self.entries.len() != before
    }

    /// Leaves exactly one field of `name`, at the place of the first.
    pub fn set(&mut self, name: Name, value: &str) {
        let value = self.append(value);
        let mut seen = false;
        self.entries.retain_mut(|e| {
            if e.known != Some(name) {
                return true;
            }
            e.value = value;
            !std::mem::replace(&mut seen, true)
        });
        if !seen {
            self.entries.push(Entry {
                known: Some(name),
                name: Span { start: 0, end: 0 },
                value,
            });
        }
    }

    /// Replaces the value of the first field of `name`, and leaves the others.
    pub fn set_first(&mut self, name: Name, value: &str) {
        let value = self.append(value);
        if let Some(entry) = self.entries.iter_mut().find(|e| e.known == Some(name)) {
            entry.value = value;
        }
    }

    /// Adds copies of all fields of `name` in `other`.
    pub fn copy(&mut self, other: &Self, name: Name) {
        for value in other.all(name) {
            self.push(name, value);
        }
    }

    fn append(&mut self, value: &str) -> Span {
        let start = self.text.len() as u32;
        if value.bytes().any(|b| matches!(b, b'\r' | b'\n')) {
            self.text.push_str(&flatten(value));
        } else {
            self.text.push_str(value);
        }
        Span {
            start,
            end: self.text.len() as u32,
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// Folds and stray line ends become one blank each (RFC 3261 §7.3.1).
pub(super) fn flatten(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find(['\r', '\n']) {
        out.push_str(&rest[..at]);
        out.push(' ');
        rest = rest[at..].trim_start_matches(['\r', '\n']);
        rest = rest.trim_start_matches([' ', '\t']);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_string_survives() {
        let mut out = Vec::new();
        for bytes in [
            &b"plain"[..],
            b"caf\xe9",
            b"\xff\xfe\x80",
            "€ \u{10ff80} \u{10ffff}".as_bytes(),
            b"\xf4\x8f\xbe",
        ] {
            out.clear();
            write_octets(&text_of(bytes), &mut out);
            assert_eq!(out, bytes);
        }
        assert_eq!(readable(&text_of(b"caf\xe9")), "caf\u{fffd}");
    }

    #[test]
    fn a_value_cannot_start_another_field() {
        let mut headers = Headers::default();
        headers.push(Name::Subject, "a\r\nEvil: 1\n\nb");
        headers.push_named("X-Bad\r\nName", "x");
        headers.push_named("X-Good", "1\r2");
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("Subject", "a Evil: 1 b"), ("X-Good", "1 2")]);
    }

    #[test]
    fn set_leaves_one_in_its_place() {
        let mut headers = Headers::default();
        headers.push(Name::Via, "1");
        headers.push(Name::To, "2");
        headers.push(Name::Via, "3");
        headers.set(Name::Via, "4");
        assert_eq!(
            headers.iter().collect::<Vec<_>>(),
            [("Via", "4"), ("To", "2")]
        );
    }
}
