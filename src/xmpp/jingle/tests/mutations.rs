//! Broken stanzas: nothing panics, nothing stays.

use minidom::Node;

use super::fixtures::{ALL, readdress};
use super::*;

/// Stanzas that are tried.
const ROUNDS: u64 = 100_000;

#[test]
fn no_mutation_of_a_real_stanza_panics_or_leaves_anything_behind() {
    let mut t = TokenMaker::new([42; 32]);
    let stanzas: Vec<Element> = ALL.iter().map(|(_, text)| text.parse().unwrap()).collect();
    let mut gw = gateway();
    let mut fallen = 0_u64;
    let mut legs = Vec::new();
    for round in 0..ROUNDS {
        let mut stanza = stanzas[t.below(stanzas.len() as u64) as usize].clone();
        let to = if t.below(2) == 0 { NUMBER } else { FULL };
        readdress(&mut stanza, USER, to);
        for _ in 0..t.below(4) {
            mutate(&mut t, &mut stanza);
        }
        gw.hear_element(&stanza);
        match t.below(8) {
            0 => {
                legs.push(gw.calls(number()));
            }
            1 => legs.extend(gw.told.iter().map(|(leg, _)| *leg)),
            2 => {
                if let Some(leg) = legs.pop() {
                    gw.orders(leg, LegCommand::Accept);
                    gw.orders(leg, LegCommand::Answer(our_answer("0")));
                }
            }
            3 => gw.waits(t.below(5)),
            _ => {}
        }
        fallen += gw.ends().len() as u64;
        gw.said();
        assert!(
            gw.jingle.census().sessions <= MAX_SESSIONS_PER_USER + 1,
            "{round}"
        );
    }
    assert!(fallen > 1_000, "{fallen}: the mutations reach no session");
    let left: Vec<_> = gw.jingle.sessions.keys().copied().collect();
    for leg in left {
        gw.orders(leg, LegCommand::End(EndReason::Shutdown.into()));
    }
    gw.waits(120);
    gw.assert_empty();
    assert_eq!(gw.jingle.census(), JingleCensus::default());
}

fn mutate(t: &mut TokenMaker, element: &mut Element) {
    let children = element.children().count() as u64;
    if children > 0 && t.below(4) > 0 {
        let chosen = t.below(children) as usize;
        if let Some(child) = element.children_mut().nth(chosen) {
            return mutate(t, child);
        }
    }
    let words = [
        "",
        "0",
        "-1",
        "99999999999",
        "initiator",
        "none",
        "::1",
        "é\u{fffd}",
        "session-initiate",
        "session-terminate",
    ];
    let word = words[t.below(words.len() as u64) as usize];
    match t.below(6) {
        0 => {
            let names: Vec<_> = element
                .attrs()
                .iter()
                .map(|((ns, name), _)| (ns.clone(), name.clone()))
                .collect();
            if !names.is_empty() {
                let (ns, name) = names[t.below(names.len() as u64) as usize].clone();
                element.set_attr(ns, name, word);
            }
        }
        1 => {
            // Without one of its attributes.
            let left: Vec<_> = element
                .attrs()
                .iter()
                .map(|((_, name), value)| (name.clone(), value.clone()))
                .collect();
            let without = t.below(left.len() as u64 + 1) as usize;
            let mut copy = Element::bare(element.name().to_owned(), element.ns());
            for (i, (name, value)) in left.into_iter().enumerate() {
                if i != without {
                    copy.set_attr(minidom::rxml::Namespace::NONE, name, value);
                }
            }
            for node in element.take_nodes() {
                copy.append_node(node);
            }
            *element = copy;
        }
        2 => {
            element.take_nodes();
        }
        3 => {
            let mut nodes = element.take_nodes();
            nodes.reverse();
            let times = 1 + t.below(3);
            for _ in 0..times {
                for node in nodes.clone() {
                    element.append_node(node);
                }
            }
        }
        4 => element.append_node(Node::Text(word.into())),
        _ => {
            let copy = element.clone();
            element.append_child(copy);
        }
    }
}
