//! Elements as they come from a stream, built in one pass.
//!
//! The library's own builder hands each event down through all open levels, and takes every element
//! apart and puts it together again; with a depth that a peer chooses, that and the end of such an
//! element are also a way to use up the stack.

use minidom::Element;
use minidom::rxml::{AttrMap, Event, QName};
use xso::error::{Error, FromEventsError};
use xso::{Context, FromEventsBuilder, FromXml};

/// Levels of elements within each other. People's clients need 20; what is deeper is no stanza of
/// theirs, and is passed over.
const MAX_DEPTH: usize = 128;

/// An element of a stream.
#[derive(Debug)]
pub(super) struct Incoming(pub(super) Element);

/// The elements that are open, outermost first.
pub(super) struct Builder(Vec<Element>);

fn start(name: QName, attributes: AttrMap) -> Element {
    let (namespace, name) = name;
    let mut element = Element::bare(name, namespace);
    *element.attrs_mut() = attributes;
    element
}

impl FromXml for Incoming {
    type Builder = Builder;

    fn from_events(
        name: QName,
        attributes: AttrMap,
        _: &Context<'_>,
    ) -> Result<Builder, FromEventsError> {
        Ok(Builder(vec![start(name, attributes)]))
    }
}

impl FromEventsBuilder for Builder {
    type Output = Incoming;

    fn feed(&mut self, event: Event, _: &Context<'_>) -> Result<Option<Incoming>, Error> {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, name, attributes) => {
                if self.0.len() == MAX_DEPTH {
                    return Err(Error::Other("too many levels of elements"));
                }
                self.0.push(start(name, attributes));
            }
            Event::Text(_, text) => {
                if let Some(open) = self.0.last_mut() {
                    open.append_text_node(text);
                }
            }
            Event::EndElement(_) => {
                let ended = self.0.pop();
                match (self.0.last_mut(), ended) {
                    (Some(open), Some(ended)) => {
                        open.append_child(ended);
                    }
                    (None, Some(ended)) => return Ok(Some(Incoming(ended))),
                    (_, None) => {}
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Element, Error> {
        xso::from_bytes::<Incoming>(text.as_bytes()).map(|incoming| incoming.0)
    }

    #[test]
    fn elements_are_what_the_library_reads() {
        for text in [
            "<a xmlns='x'/>",
            "<a xmlns='x' b='1' xml:lang='de' c='&lt;&#228;'>t<b xmlns='y'><c/>u</b><p:d xmlns:p='z' p:e='f'/>v</a>",
            "<iq xmlns='jabber:client' type='set'>\n <jingle xmlns='urn:xmpp:jingle:1' sid='s'/>\n</iq>",
        ] {
            assert_eq!(
                read(text).unwrap(),
                text.parse::<Element>().unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth: usize| {
            let open = "<a xmlns='x'>".repeat(depth);
            read(&(open + &"</a>".repeat(depth)))
        };
        assert!(nested(MAX_DEPTH).is_ok());
        assert!(nested(MAX_DEPTH + 1).is_err());
    }
}
