//! Two rooms over one link, with a clock and a seed.

use std::collections::BTreeMap;

use super::*;
use crate::description::Direction;
use crate::id::ConnectionId;
use crate::leg::{End, EndReason};

/// How bad the link is, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) loss: u64,
    pub(super) duplicates: u64,
    /// Longest delay.
    pub(super) jitter_ms: u64,
}

/// Nothing is lost, and nothing is late.
pub(super) const CLEAN: Link = Link {
    loss: 0,
    duplicates: 0,
    jitter_ms: 0,
};

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) rooms: [Sip; 2],
    pub(super) events: [VecDeque<(LegId, LegEvent)>; 2],
    pub(super) tokens: TokenMaker,
    link: Link,
    /// On their way: by time and number, to which room.
    flying: BTreeMap<(Instant, u64), (usize, NetInput)>,
    sent: u64,
}

const ADDRESSES: [&str; 2] = [NORTH, SOUTH];

impl Pair {
    pub(super) fn new(seed: u64, link: Link, transport: SipTransport) -> Self {
        Self::with_timers(seed, link, transport, [0, 0])
    }

    /// Rooms that ask for session timers of so many seconds.
    pub(super) fn with_timers(
        seed: u64,
        link: Link,
        transport: SipTransport,
        timers: [u64; 2],
    ) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut tokens = TokenMaker::new(bytes);
        let now = base();
        let rooms = [0, 1].map(|index: usize| {
            let config = config(&[(transport, ADDRESSES[index])]);
            let peer: std::net::SocketAddr = ADDRESSES[1 - index].parse().unwrap();
            let mut peer = trunk("peer", &peer.ip().to_string(), peer.port());
            peer.session_timer = Duration::from_secs(timers[index]);
            let mut sip = Sip::new(&config, &[peer], tokens.fork());
            sip.start(now);
            sip
        });
        Self {
            now,
            rooms,
            events: Default::default(),
            tokens,
            link,
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(super) fn tells(&mut self, room: usize, leg: LegId, command: LegCommand) {
        self.rooms[room].command(self.now, leg, command);
        self.pump();
    }

    /// Collects what the rooms have put out.
    fn pump(&mut self) {
        for room in 0..2 {
            while let Some(event) = self.rooms[room].poll_event() {
                self.events[room].push_back(event);
            }
            while let Some(output) = self.rooms[room].poll_output() {
                self.carry(room, output);
            }
        }
    }

    fn carry(&mut self, room: usize, output: NetOutput) {
        let at = |index: usize| ADDRESSES[index].parse().unwrap();
        // Accepted connections have numbers of their own (see ConnectionId).
        let other_end = |connection: ConnectionId| ConnectionId(connection.0 ^ (1 << 63));
        match output {
            NetOutput::Send { mut flow, bytes } => {
                (flow.local, flow.remote) = (at(1 - room), at(room));
                if let Some(connection) = flow.connection {
                    flow.connection = Some(other_end(connection));
                    let input = NetInput::Stream { flow, bytes };
                    return self.fly(1 - room, input, 0);
                }
                if self.tokens.below(100) < self.link.loss {
                    return;
                }
                let copies = 1 + u64::from(self.tokens.below(100) < self.link.duplicates);
                for _ in 0..copies {
                    let delay = self.tokens.below(self.link.jitter_ms + 1);
                    let bytes = bytes.clone();
                    self.fly(1 - room, NetInput::Datagram { flow, bytes }, delay);
                }
            }
            NetOutput::Connect { flow, .. } => self.fly(room, NetInput::Connected { flow }, 0),
            NetOutput::Close { connection } => {
                let connection = other_end(connection);
                self.fly(1 - room, NetInput::Closed { connection }, 0);
            }
            NetOutput::Resolve { .. } => panic!("addresses are literal here"),
        }
    }

    fn fly(&mut self, room: usize, input: NetInput, delay: u64) {
        self.sent += 1;
        // Streams and clean links keep their order by the number.
        let at = self.now + ms(10 + delay);
        self.flying.insert((at, self.sent), (room, input));
    }

    /// Nothing comes through any more.
    pub(super) fn cut(&mut self) {
        self.link.loss = 100;
    }

    /// Breaks the connections that were opened first, for both ends.
    pub(super) fn breaks(&mut self) {
        for number in 1..=3 {
            for end in [number, number ^ (1 << 63)] {
                let connection = ConnectionId(end);
                for room in &mut self.rooms {
                    room.handle(self.now, NetInput::Closed { connection });
                }
            }
        }
        self.pump();
    }

    /// The next thing that happens, if it happens until `end`.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let timers = [0, 1].map(|room: usize| self.rooms[room].poll_timeout());
        let next = timers.into_iter().chain([arrival]).flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, (room, input)) = self.flying.pop_first().unwrap();
            self.rooms[room].handle(self.now, input);
        } else {
            for room in &mut self.rooms {
                room.handle_timeout(self.now);
            }
        }
        self.pump();
        true
    }

    pub(super) fn after(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    pub(super) fn event(&mut self, room: usize) -> (LegId, LegEvent) {
        self.events[room].pop_front().expect("an event")
    }

    pub(super) fn is_quiet(&mut self) {
        self.after(Duration::from_secs(600));
        for room in &self.rooms {
            assert_eq!(room.census(), SipCensus::default());
        }
    }
}

fn whole_call(transport: SipTransport) -> Pair {
    let mut pair = Pair::new(1, CLEAN, transport);
    let out = callee(1);
    pair.tells(0, out, offer_to(number("+15550199"), Some("peer")));
    pair.after(ms(100));
    let (leg, event) = pair.event(1);
    let LegEvent::Offered {
        from, to, trunk, ..
    } = event
    else {
        panic!("a call");
    };
    assert_eq!((from, to), (number("+15550100"), number("+15550199")));
    assert_eq!(trunk.as_deref(), Some("peer"));
    pair.tells(1, leg, LegCommand::Ring);
    pair.after(ms(100));
    assert_eq!(pair.event(0).1, LegEvent::Ringing);
    pair.tells(1, leg, LegCommand::Answer(description(5000)));
    pair.after(ms(100));
    let LegEvent::Answered(answer) = pair.event(0).1 else {
        panic!("the answer");
    };
    assert_eq!(port_of(&answer), 5000);

    pair.tells(0, out, LegCommand::Hold(true));
    pair.after(ms(100));
    let LegEvent::Updated(offer) = pair.event(1).1 else {
        panic!("an offer");
    };
    assert_eq!(offer.audio().unwrap().direction, Direction::Send);
    pair.tells(1, leg, LegCommand::Answer(description(5000)));
    pair.after(ms(100));
    assert!(matches!(pair.event(0).1, LegEvent::UpdateAnswered(_)));

    pair.tells(1, leg, LegCommand::End(End::from(EndReason::Hangup)));
    pair.after(ms(100));
    assert!(matches!(pair.event(0).1, LegEvent::Ended(_)));
    assert!(matches!(pair.event(1).1, LegEvent::Ended(_)));
    pair
}

#[test]
fn a_call_goes_through_over_udp() {
    whole_call(SipTransport::Udp).is_quiet();
}

#[test]
fn a_call_goes_through_over_tcp() {
    whole_call(SipTransport::Tcp).is_quiet();
}

#[test]
fn crossing_offers_both_come_through() {
    let mut pair = Pair::new(3, CLEAN, SipTransport::Udp);
    let out = callee(1);
    pair.tells(0, out, offer_to(number("+15550199"), Some("peer")));
    pair.after(ms(50));
    let leg = pair.event(1).0;
    pair.tells(1, leg, LegCommand::Answer(description(5000)));
    pair.after(ms(50));
    pair.event(0);
    pair.tells(0, out, LegCommand::Update(description(4002)));
    pair.tells(1, leg, LegCommand::Update(description(5002)));
    let end = pair.now + Duration::from_secs(10);
    let mut answered = [0, 0];
    while pair.step(end) {
        for (room, answered) in answered.iter_mut().enumerate() {
            while let Some((leg, event)) = pair.events[room].pop_front() {
                match event {
                    LegEvent::Updated(_) => {
                        pair.tells(room, leg, LegCommand::Answer(description(7000)));
                    }
                    LegEvent::UpdateAnswered(_) => *answered += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(answered, [1, 1]);
}
