//! Two rooms that speak to each other, a gateway and a client, and do what comes to mind.

use std::collections::BTreeMap;

use super::*;

#[test]
fn two_rooms_in_chaos_end_every_leg_once_and_keep_nothing() {
    let (mut answered, mut moved) = (0, 0);
    for seed in 0..400_u16 {
        let mut t = TokenMaker::new([(seed % 256) as u8; 32]);
        for _ in 0..=seed / 256 {
            t = t.fork();
        }
        let (answers, moves) = world(&mut t, seed);
        answered += answers;
        moved += moves;
    }
    assert!(answered > 100, "{answered}: chaos reaches no answer");
    assert!(moved > 10, "{moved}: chaos moves no call");
}

/// One gateway and one client for 300 steps; gives how many calls were answered and moved.
fn world(t: &mut TokenMaker, seed: u16) -> (usize, usize) {
    let mut desks = [gateway(), user_client()];
    let mut wires: [VecDeque<Element>; 2] = Default::default();
    let mut alive: [BTreeMap<LegId, bool>; 2] = Default::default();
    let mut ended = [0_usize; 2];
    let (mut answered, mut moved) = (0, 0);
    for step in 0..300 {
        let at = t.below(2) as usize;
        let legs: Vec<_> = alive[at]
            .iter()
            .filter(|(_, lives)| **lives)
            .map(|(leg, _)| *leg)
            .collect();
        match t.below(12) {
            0 if step < 250 => {
                let leg = call(&mut desks[at], at, t);
                assert_eq!(alive[at].insert(leg, true), None);
            }
            1 => desks[at].waits(t.below(8)),
            2..=5 => {
                if !legs.is_empty() {
                    let leg = legs[t.below(legs.len() as u64) as usize];
                    let command = command(t);
                    desks[at].orders(leg, command);
                }
            }
            6 => {
                // The network doubles a stanza.
                if let Some(stanza) = wires[at].front().cloned() {
                    wires[at].push_back(stanza);
                }
            }
            7 if t.below(12) == 0 => {
                // The client loses power, and its legs with it.
                restart(&mut desks[1], t);
                for lives in alive[1].values_mut().filter(|lives| **lives) {
                    *lives = false;
                    ended[1] += 1;
                }
            }
            _ => {
                if let Some(stanza) = wires[at].pop_front() {
                    desks[at].hear_element(&stanza);
                }
            }
        }
        moved += desks[0]
            .sent
            .iter()
            .filter(|stanza| String::from(*stanza).contains("<migrated"))
            .count();
        answered += settle(&mut desks, &mut wires, &mut alive, &mut ended, seed);
    }
    for at in [0, 1] {
        let legs: Vec<_> = alive[at]
            .iter()
            .filter(|(_, lives)| **lives)
            .map(|(leg, _)| *leg)
            .collect();
        for leg in legs {
            desks[at].orders(leg, LegCommand::End(EndReason::Shutdown.into()));
        }
    }
    for _ in 0..10_000 {
        answered += settle(&mut desks, &mut wires, &mut alive, &mut ended, seed);
        let Some(at) = (0..2).find(|at| !wires[*at].is_empty()) else {
            break;
        };
        let stanza = wires[at].pop_front().unwrap();
        desks[at].hear_element(&stanza);
    }
    for at in [0, 1] {
        // What was still on the wire may have begun calls.
        let legs: Vec<_> = alive[at]
            .iter()
            .filter(|(_, lives)| **lives)
            .map(|(leg, _)| *leg)
            .collect();
        for leg in legs {
            desks[at].orders(leg, LegCommand::End(EndReason::Shutdown.into()));
        }
        desks[at].waits(200);
    }
    settle(&mut desks, &mut wires, &mut alive, &mut ended, seed);
    for at in [0, 1] {
        assert_eq!(
            desks[at].jingle.census(),
            JingleCensus::default(),
            "seed {seed} room {at}"
        );
        assert!(desks[at].jingle.by_user.is_empty(), "seed {seed} room {at}");
        assert!(
            alive[at].values().all(|lives| !lives),
            "seed {seed} room {at}"
        );
        assert_eq!(alive[at].len(), ended[at], "seed {seed} room {at}");
    }
    (answered, moved)
}

/// A client that knows nothing of its sessions; leg numbers stay unique for the test's sake.
fn restart(desk: &mut Desk, t: &mut TokenMaker) {
    let callers = desk.jingle.callers;
    let jid = FullJid::new(USER).unwrap();
    desk.jingle = Jingle::new(Identity::Client { jid }, t.fork());
    desk.jingle.callers = callers;
}

fn call(desk: &mut Desk, at: usize, t: &mut TokenMaker) -> LegId {
    let number_text = if t.below(3) == 0 {
        "+15559999"
    } else {
        "+15551234"
    };
    let number = Address::Number(E164::parse(number_text).unwrap());
    match at {
        0 => desk.calls(if t.below(5) == 0 {
            Address::Anonymous
        } else {
            number
        }),
        _ => {
            let contact = BareJid::new(&format!("{number_text}@gw.example")).unwrap();
            desk.calls_to(
                Address::Xmpp(BareJid::new(BARE).unwrap()),
                Address::Xmpp(contact),
            )
        }
    }
}

fn command(t: &mut TokenMaker) -> LegCommand {
    let reason = EndReason::ALL[t.below(EndReason::ALL.len() as u64) as usize];
    match t.below(14) {
        0 => LegCommand::Ring,
        1 => LegCommand::Progress(None),
        2..=5 => LegCommand::Accept,
        6..=9 => LegCommand::Answer(our_answer("voice")),
        10 => LegCommand::Update(our_offer()),
        11 => LegCommand::Refuse,
        12 => LegCommand::Transport(crate::description::TransportInfo {
            stream: String::new(),
            credentials: None,
            candidates: Vec::new(),
        }),
        _ => LegCommand::End(reason.into()),
    }
}

/// Puts what was sent on the wires, and checks what was told.
fn settle(
    desks: &mut [Desk; 2],
    wires: &mut [VecDeque<Element>; 2],
    alive: &mut [BTreeMap<LegId, bool>; 2],
    ended: &mut [usize; 2],
    seed: u16,
) -> usize {
    let mut answered = 0;
    for at in [0, 1] {
        wires[1 - at].extend(std::mem::take(&mut desks[at].sent));
        for (leg, event) in std::mem::take(&mut desks[at].told) {
            match event {
                LegEvent::Offered { .. } => {
                    assert_eq!(
                        alive[at].insert(leg, true),
                        None,
                        "seed {seed}: {leg} twice"
                    );
                }
                LegEvent::Ended(_) => {
                    let was = alive[at].insert(leg, false);
                    assert_eq!(was, Some(true), "seed {seed}: {leg} ends again");
                    ended[at] += 1;
                }
                other => {
                    assert_eq!(
                        alive[at].get(&leg),
                        Some(&true),
                        "seed {seed}: {leg} {other:?}"
                    );
                    answered += usize::from(matches!(other, LegEvent::Answered(_)));
                }
            }
        }
    }
    answered
}
