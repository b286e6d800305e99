//! Hidden channels (XEP-0404 §3): clients are shown with resources that tell nothing, and what is
//! relayed names its sender by the encoded JID only.

use std::collections::BTreeMap;

use jid::Jid;
use minidom::{Element, Node as XmlNode};

use super::Mix;
use super::address::{self, StableId};
use super::store::Channel;

/// Hidden clients whose resource can be found again; the map is emptied when it is full, and filled
/// again by whoever speaks. About 20 MB.
const MAX_RESOURCES: usize = 100_000;
/// Elements within elements that are looked into. Nothing relayed is deeper than 20.
const MAX_DEPTH: usize = 64;

/// From channel, participant and shown resource to the real one.
#[derive(Default)]
pub(super) struct HiddenResources {
    real: BTreeMap<(String, StableId, String), String>,
}

/// The resource of an encoded JID.
pub(super) fn shown_resource(channel: &Channel, id: &StableId, resource: &str) -> String {
    match channel.hides_id(id) {
        true => address::hidden_resource(&channel.settings.secret, id, resource),
        false => resource.to_owned(),
    }
}

impl Mix {
    /// The encoded JID of a participant's client, which can be found by it from here on.
    pub(super) fn shown_jid(
        &mut self,
        name: &str,
        id: &StableId,
        resource: Option<&str>,
    ) -> Option<Jid> {
        if let Some(resource) = resource {
            self.remember_resource(name, id, resource);
        }
        let channel = self.state.channels.get(name)?;
        let shown = resource.map(|r| shown_resource(channel, id, r));
        address::encode(&self.config.domain, name, id, shown.as_deref())
    }

    pub(super) fn remember_resource(&mut self, name: &str, id: &StableId, resource: &str) {
        let Some(channel) = self.state.channels.get(name) else {
            return;
        };
        if !channel.hides_id(id) {
            return;
        }
        let shown = shown_resource(channel, id, resource);
        if self.hidden.real.len() >= MAX_RESOURCES {
            self.hidden.real.clear();
        }
        let key = (name.to_owned(), id.clone(), shown);
        self.hidden.real.insert(key, resource.to_owned());
    }

    /// The real resources of a hidden participant by those that are shown for them.
    pub(super) fn shown_resources(&self, name: &str, id: &StableId) -> BTreeMap<String, String> {
        let start = (name.to_owned(), id.clone(), String::new());
        let known = self.hidden.real.range(start..);
        let known = known.take_while(|((channel, of, _), _)| channel == name && of == id);
        known
            .map(|((_, _, shown), real)| (shown.clone(), real.clone()))
            .collect()
    }

    /// The real resource behind the shown one.
    pub(super) fn real_resource(&self, name: &str, id: &StableId, shown: &str) -> Option<String> {
        let channel = self.state.channels.get(name)?;
        if !channel.hides_id(id) {
            return Some(shown.to_owned());
        }
        let key = (name.to_owned(), id.clone(), shown.to_owned());
        if let Some(real) = self.hidden.real.get(&key) {
            return Some(real.clone());
        }
        let mut clients = channel.participants.get(id)?.clients.resources();
        let real = clients.find(|real| shown_resource(channel, id, real) == shown);
        real.map(str::to_owned)
    }
}

/// Puts the encoded JID in the place of the real one, full or bare, wherever an attribute or a text
/// has it: Jingle says who calls in `initiator` and `responder`.
pub(super) fn mask(element: &mut Element, real: &Jid, shown: &Jid) {
    let bare = (real.to_bare().to_string(), shown.to_bare().to_string());
    let full = (real.to_string(), shown.to_string());
    mask_within(element, &[full, bare], 0);
}

/// Takes out of an error of a hidden channel what names others: `by`, and where somebody has gone.
pub(super) fn blank_error(stanza: &mut Element) {
    use minidom::rxml::Namespace;
    let Some(error) = stanza.children_mut().find(|c| c.name() == "error") else {
        return;
    };
    error.attrs_mut().remove(&Namespace::NONE, "by");
    for child in error.children_mut() {
        if ["gone", "redirect", "text"].contains(&child.name()) {
            child.take_nodes();
        }
    }
}

fn mask_within(element: &mut Element, pairs: &[(String, String)], depth: usize) {
    for (_, value) in element.attrs_mut().iter_mut() {
        if let Some(masked) = masked(value, pairs) {
            *value = masked;
        }
    }
    if depth >= MAX_DEPTH {
        element.take_nodes();
    }
    for node in element.nodes_mut() {
        match node {
            XmlNode::Element(child) => mask_within(child, pairs, depth + 1),
            XmlNode::Text(text) => {
                if let Some(masked) = masked(text, pairs) {
                    *text = masked;
                }
            }
        }
    }
}

/// The text with every real JID replaced, unless it is a part of another one.
fn masked(text: &str, pairs: &[(String, String)]) -> Option<String> {
    let mut changed = None;
    for (real, shown) in pairs {
        let text = changed.as_deref().unwrap_or(text);
        if !text.contains(real.as_str()) {
            continue;
        }
        let (mut left, mut made) = (text, String::new());
        while let Some(at) = left.find(real.as_str()) {
            let (before, rest) = (&left[..at], &left[at + real.len()..]);
            let is_part = before.ends_with(is_word) || rest.starts_with(is_word);
            made.push_str(before);
            made.push_str(if is_part { real } else { shown });
            left = rest;
        }
        made.push_str(left);
        changed = Some(made);
    }
    changed
}

/// True for what a longer name would go on with.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}
