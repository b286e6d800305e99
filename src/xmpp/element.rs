//! Elements under construction, and their attributes.

use minidom::Element;
use minidom::rxml::{Namespace, NcName};

/// Starts an element.
pub fn element(name: &'static str, ns: &str) -> Writer {
    Writer(Element::bare(name, ns))
}

/// Several attributes at once: each look-up by name is a search of its own.
pub fn attributes<'a, const N: usize>(
    element: &'a Element,
    names: [&str; N],
) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    for ((namespace, name), value) in element.attrs() {
        let place = names.iter().position(|wanted| name.as_str() == *wanted);
        if let Some(place) = place
            && namespace.is_none()
        {
            found[place] = Some(value.as_str());
        }
    }
    found
}

/// An element under construction.
pub struct Writer(Element);

impl Writer {
    /// Sets an attribute; `xml:lang` is understood.
    pub fn attr(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let (ns, local) = match name.strip_prefix("xml:") {
            Some(local) => (Namespace::XML, local),
            None => (Namespace::NONE, name),
        };
        let local = NcName::try_from(local).expect("attribute names are literals of ours");
        let attributes = self.0.attrs_mut();
        attributes.insert(ns, local, clean(value.as_ref()));
        self
    }

    /// Sets an attribute if there is a value.
    pub fn attr_opt(self, name: &'static str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Appends text.
    pub fn text(mut self, text: &str) -> Self {
        self.0.append_text(clean(text));
        self
    }

    /// Appends a child.
    pub fn child(mut self, child: impl Into<Element>) -> Self {
        self.0.append_child(child.into());
        self
    }

    /// Appends children.
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        for child in children {
            self.0.append_child(child);
        }
        self
    }

    /// The element.
    pub fn build(self) -> Element {
        self.0
    }
}

impl From<Writer> for Element {
    fn from(writer: Writer) -> Self {
        writer.0
    }
}

/// Replaces what XML 1.0 §2.2 has no way to write: one such character from a SIP header would cost
/// the whole stream.
fn clean(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.to_owned();
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars()
        .map(|c| if allowed(c) { c } else { '\u{fffd}' })
        .collect()
}
