//! What header values are made of: lists, parameters, quoted strings (RFC 3261 §25.1).

use std::borrow::Cow;

use super::headers::readable;

/// True for a `token`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

pub(super) const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// Where the first `wanted` stands outside of quoted strings and `<>`. A quote that nobody closes
/// reaches to the end.
pub(crate) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b == wanted {
            return Some(at);
        }
        match b {
            b'"' => at = quoted_end(bytes, at)?,
            b'<' => match bytes[at..].iter().position(|&b| b == b'>') {
                Some(length) => at += length,
                None => return None,
            },
            _ => {}
        }
        at += 1;
    }
    None
}

/// The index of the quote that closes the one at `open`.
pub(crate) fn quoted_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The elements of a comma-separated value, trimmed. Empty elements are given too, for the reader
/// to judge.
pub fn split_values(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (element, next) = match find_outside(text, b',') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = next;
        Some(trim(element))
    })
}

/// Takes the quotes off a quoted string and undoes its `\`; other text is given as it is.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return readable(text);
    };
    if !inner.contains('\\') {
        return readable(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(readable(&out).into_owned())
}

/// The text as a quoted string. Control characters become blanks.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `;name=value` parameters, unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Parameters from a text that is empty or starts with `;`.
    pub fn new(text: &'a str) -> Self {
        Self(trim(text))
    }

    /// The text they stand in.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// All parameters in order; values as written, with their quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.elements().filter_map(|element| {
            let (name, value) = match element.split_once('=') {
                Some((name, value)) => (trim(name), Some(trim(value))),
                None => (element, None),
            };
            (!name.is_empty()).then_some((name, value))
        })
    }

    /// The parameter `name`, in any case: `None` if there is none, an empty text if it has no
    /// value. Quotes are as written; [`unquote`] takes them off.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or(""))
    }

    /// True if there is a parameter `name`.
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// False for `;;` and for text that does not start with `;`. One `;` too many at the end is
    /// let pass: real phones send it.
    pub fn is_well_formed(self) -> bool {
        if self.0.is_empty() {
            return true;
        }
        if !self.0.starts_with(';') {
            return false;
        }
        let mut empty = false;
        self.elements().all(|element| {
            let ok = !empty;
            empty = element.is_empty() || element.starts_with('=');
            ok && !element.starts_with('=')
        }) && self.0 != ";"
    }

    fn elements(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.0.strip_prefix(';');
        std::iter::from_fn(move || {
            let text = rest?;
            let (element, next) = match find_outside(text, b';') {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            rest = next;
            Some(trim(element))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let value = r#""a, \" b" <sip:x,y@z>, <sip:q>;p=",", c"#;
        let parts: Vec<_> = split_values(value).collect();
        assert_eq!(parts, [r#""a, \" b" <sip:x,y@z>"#, r#"<sip:q>;p=",""#, "c"]);
    }

    #[test]
    fn parameters_are_read_in_any_case_and_spacing() {
        let params = Params::new("; Tag = 1 ;lr; q=\"a;b\"");
        assert_eq!(params.get("tag"), Some("1"));
        assert_eq!(params.get("LR"), Some(""));
        assert_eq!(params.get("q"), Some("\"a;b\""));
        assert!(params.is_well_formed());
        for bad in [";;", ";a;;b", "a=b", ";=b", ";;;;"] {
            assert!(!Params::new(bad).is_well_formed(), "{bad}");
        }
        assert!(Params::new(";a;").is_well_formed());
    }

    #[test]
    fn quoting_is_undone_by_unquoting() {
        for text in ["", "plain", r#"a"b\c"#, "ä"] {
            assert_eq!(unquote(&quote(text)), text);
        }
        assert_eq!(quote("a\r\nb"), "\"a  b\"");
        assert_eq!(unquote("\"open\\"), "\"open\\");
    }
}
