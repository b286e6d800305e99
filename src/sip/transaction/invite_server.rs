//! The INVITE server transaction: RFC 3261 §17.2.1, with the Accepted state of RFC 6026 §7.1.
//!
//! The user repeats its 2xx itself until the ACK comes (RFC 3261 §13.3.1.4); that ACK does not
//! belong to this transaction.

use std::time::Duration;

use super::{ServerInput, Step, T1, T1_64, T2, T4, Timer, Wire};

/// The states of figure 3 of RFC 6026.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not finally answered.
    Proceeding,
    /// A 300–699 went out; `interval` is that of timer G.
    Completed {
        /// Of timer G.
        interval: Duration,
    },
    /// The ACK for the failure came.
    Confirmed,
    /// A 2xx went out.
    Accepted,
    /// Over.
    Terminated,
}

/// One INVITE that we got.
#[derive(Clone, Debug)]
pub struct InviteServer {
    state: State,
    reliable: bool,
}

impl InviteServer {
    /// Starts with an INVITE. The 100 is sent by the user, at once.
    pub fn start(reliable: bool) -> Self {
        Self {
            state: State::Proceeding,
            reliable,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an input.
    pub fn step(&mut self, input: ServerInput) -> Step {
        match (self.state, input) {
            (State::Proceeding, ServerInput::Repetition) => Step::wire(Wire::Again),
            (State::Proceeding, ServerInput::Provisional) => Step::wire(Wire::Send),
            (State::Proceeding, ServerInput::Success) => {
                self.state = State::Accepted;
                Step::wire(Wire::Send).set(Timer::L, T1_64)
            }
            (State::Proceeding, ServerInput::Failure) => {
                self.state = State::Completed { interval: T1 };
                let step = Step::wire(Wire::Send).set(Timer::H, T1_64);
                if self.reliable {
                    step
                } else {
                    step.set(Timer::G, T1)
                }
            }
            (State::Completed { .. }, ServerInput::Repetition) => Step::wire(Wire::Again),
            (State::Completed { interval }, ServerInput::Timer(Timer::G)) => {
                let interval = (interval * 2).min(T2);
                self.state = State::Completed { interval };
                Step::wire(Wire::Again).set(Timer::G, interval)
            }
            (State::Completed { .. }, ServerInput::Ack) => {
                let step = Step::default().stop(&[Timer::G, Timer::H]);
                if self.reliable {
                    self.state = State::Terminated;
                    step
                } else {
                    self.state = State::Confirmed;
                    step.set(Timer::I, T4)
                }
            }
            (State::Completed { .. }, ServerInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::G, Timer::H])
            }
            // The user's repetition of its 2xx.
            (State::Accepted, ServerInput::Success) => Step::wire(Wire::Send),
            (State::Accepted | State::Confirmed, ServerInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::I, Timer::L])
            }
            (State::Proceeding, ServerInput::Ack | ServerInput::Timer(_))
            | (
                State::Completed { .. },
                ServerInput::Provisional | ServerInput::Success | ServerInput::Failure,
            )
            | (
                State::Accepted,
                ServerInput::Repetition
                | ServerInput::Ack
                | ServerInput::Provisional
                | ServerInput::Failure,
            )
            | (
                State::Confirmed,
                ServerInput::Repetition
                | ServerInput::Ack
                | ServerInput::Provisional
                | ServerInput::Success
                | ServerInput::Failure,
            )
            | (State::Terminated, _) => Step::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_invite_gets_the_last_response_again() {
        let mut machine = InviteServer::start(false);
        machine.step(ServerInput::Provisional);
        assert_eq!(machine.step(ServerInput::Repetition).wire, Wire::Again);
        machine.step(ServerInput::Failure);
        assert_eq!(machine.step(ServerInput::Repetition).wire, Wire::Again);
    }

    #[test]
    fn timer_g_repeats_the_failure_until_the_ack() {
        let mut machine = InviteServer::start(false);
        assert_eq!(
            machine.step(ServerInput::Failure).set,
            [Some((Timer::H, T1_64)), Some((Timer::G, T1))]
        );
        let mut intervals = Vec::new();
        for _ in 0..4 {
            let step = machine.step(ServerInput::Timer(Timer::G));
            intervals.push(step.set[0].unwrap().1.as_millis());
        }
        assert_eq!(intervals, [1000, 2000, 4000, 4000]);
        let step = machine.step(ServerInput::Ack);
        assert_eq!(step.set[0], Some((Timer::I, T4)));
        machine.step(ServerInput::Timer(Timer::I));
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn repetitions_of_an_accepted_invite_are_absorbed_until_timer_l() {
        let mut machine = InviteServer::start(false);
        assert_eq!(
            machine.step(ServerInput::Success).set[0],
            Some((Timer::L, T1_64))
        );
        assert_eq!(machine.step(ServerInput::Repetition), Step::default());
        assert_eq!(machine.step(ServerInput::Success).wire, Wire::Send);
        machine.step(ServerInput::Timer(Timer::L));
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn reliable_transports_have_neither_g_nor_i() {
        let mut machine = InviteServer::start(true);
        assert_eq!(
            machine.step(ServerInput::Failure).set,
            [Some((Timer::H, T1_64)), None]
        );
        machine.step(ServerInput::Ack);
        assert_eq!(machine.state(), State::Terminated);
    }
}
