//! How the present clients of a participant are held: small, since there are many of them. Most say
//! the same (a client of some make and version, available), so each text is there once.

use std::collections::BTreeSet;
use std::sync::Arc;

use minidom::Element;

use super::store::Node;
use crate::xmpp::stanza::{NS_COMPONENT, element};

/// Texts that are held many times, each there once. What nobody holds any more goes by itself, some
/// time later.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    all: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

/// So few texts are not swept for.
const FEW: usize = 64;

impl Texts {
    /// The one copy of `text`.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.get(text) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.sweep_at {
            self.all.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = FEW.max(2 * self.all.len());
        }
        let fresh: Arc<str> = text.into();
        self.all.insert(Arc::clone(&fresh));
        fresh
    }
}

/// What each present client of a participant last sent, by real resource, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clients(Vec<(Box<str>, Arc<str>)>);

impl Clients {
    fn place(&self, resource: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| (**known).cmp(resource))
    }

    /// What a client last sent: a presence, as text.
    pub fn get(&self, resource: &str) -> Option<&Arc<str>> {
        let place = self.place(resource).ok()?;
        self.0.get(place).map(|(_, presence)| presence)
    }

    /// Keeps what a client sent.
    pub fn insert(&mut self, resource: &str, presence: Arc<str>) {
        match self.place(resource) {
            Ok(place) => self.0[place].1 = presence,
            Err(place) => {
                // Most have one client or two; twice the room is for nobody.
                self.0.reserve_exact(1);
                self.0.insert(place, (resource.into(), presence));
            }
        }
    }

    /// Forgets a client.
    pub fn remove(&mut self, resource: &str) {
        if let Ok(place) = self.place(resource) {
            self.0.remove(place);
        }
    }

    /// The real resources and what their clients last sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.0.iter().map(|(resource, text)| (&**resource, text))
    }

    /// The real resources.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(resource, _)| resource)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A presence with these children, as it is kept.
pub(super) fn written(children: impl IntoIterator<Item = Element>) -> String {
    let presence = element("presence", NS_COMPONENT).children(children);
    String::from(&presence.build())
}

/// The children of a presence that was kept.
pub(super) fn read(presence: &str) -> Vec<Element> {
    // We wrote it, so it can be read; what a damaged store holds is nothing rather than an end.
    let presence: Option<Element> = presence.parse().ok();
    presence
        .iter()
        .flat_map(Element::children)
        .cloned()
        .collect()
}

/// Some nodes of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nodes(u16);

impl Nodes {
    /// True if `node` is among them.
    pub fn contains(self, node: Node) -> bool {
        self.0 & (1 << node as u16) != 0
    }

    /// Adds one.
    pub fn insert(&mut self, node: Node) {
        self.0 |= 1 << node as u16;
    }

    /// Takes one out.
    pub fn remove(&mut self, node: Node) {
        self.0 &= !(1 << node as u16);
    }

    /// In the order of [`Node::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Node> {
        Node::ALL.iter().copied().filter(move |n| self.contains(*n))
    }
}

impl Extend<Node> for Nodes {
    fn extend<I: IntoIterator<Item = Node>>(&mut self, nodes: I) {
        for node in nodes {
            self.insert(node);
        }
    }
}

impl FromIterator<Node> for Nodes {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut all = Self::default();
        all.extend(nodes);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_presences_are_held_once_and_go_some_time_after_the_last_client() {
        let mut texts = Texts::default();
        let mut clients = Clients::default();
        for resource in ["b", "a"] {
            clients.insert(resource, texts.share(&written([])));
        }
        assert_eq!(clients.resources().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(texts.all.len(), 1);
        for n in 0..10_000 {
            clients.insert("a", texts.share(&n.to_string()));
        }
        assert!(texts.all.len() <= FEW, "{}", texts.all.len());
        assert!(texts.all.contains(&*written([])) && texts.all.contains("9999"));
        clients.remove("a");
        assert_eq!(clients.len(), 1);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let show = element("show", NS_COMPONENT).text("a<b&'\"\u{e9}").build();
        let caps = element("c", "http://jabber.org/protocol/caps").attr("ver", "x'y");
        let children = vec![show, caps.build()];
        assert_eq!(read(&written(children.clone())), children);
        assert_eq!(read("<presence"), []);
    }

    #[test]
    fn nodes_are_a_set() {
        let mut nodes: Nodes = Node::ALL.iter().copied().collect();
        assert!(nodes.iter().eq(Node::ALL.iter().copied()));
        nodes.remove(Node::Presence);
        assert!(!nodes.contains(Node::Presence) && nodes.contains(Node::Jidmap));
    }
}
