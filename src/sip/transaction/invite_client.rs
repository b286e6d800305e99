//! The INVITE client transaction: RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2.

use std::time::Duration;

use super::{ClientInput, Step, T1, T1_64, TIMER_D, Tell, Timer, Wire};

/// The states of figure 5 of RFC 6026.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The INVITE is out; `interval` is that of timer A.
    Calling {
        /// Of timer A.
        interval: Duration,
    },
    /// A 1xx came.
    Proceeding,
    /// A 300–699 came and was acknowledged.
    Completed,
    /// A 2xx came.
    Accepted,
    /// Over.
    Terminated,
}

/// One INVITE that we sent.
#[derive(Clone, Debug)]
pub struct InviteClient {
    state: State,
    reliable: bool,
}

impl InviteClient {
    /// Sends the INVITE.
    pub fn start(reliable: bool) -> (Self, Step) {
        let step = Step::wire(Wire::Send).set(Timer::B, T1_64);
        let step = if reliable {
            step
        } else {
            step.set(Timer::A, T1)
        };
        let state = State::Calling { interval: T1 };
        (Self { state, reliable }, step)
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an input.
    pub fn step(&mut self, input: ClientInput) -> Step {
        const RUNNING: &[Timer] = &[Timer::A, Timer::B];
        match (self.state, input) {
            (State::Calling { interval }, ClientInput::Timer(Timer::A)) => {
                let interval = interval * 2;
                self.state = State::Calling { interval };
                Step::wire(Wire::Again).set(Timer::A, interval)
            }
            (State::Calling { .. }, ClientInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::tell(Tell::TimedOut).stop(RUNNING)
            }
            (State::Calling { .. } | State::Proceeding, ClientInput::Provisional) => {
                self.state = State::Proceeding;
                Step::tell(Tell::Message).stop(RUNNING)
            }
            (State::Calling { .. } | State::Proceeding, ClientInput::Success) => {
                self.state = State::Accepted;
                Step::tell(Tell::Message).stop(RUNNING).set(Timer::M, T1_64)
            }
            (State::Calling { .. } | State::Proceeding, ClientInput::Failure) => {
                let step = Step::tell(Tell::Message).with(Wire::Ack).stop(RUNNING);
                if self.reliable {
                    self.state = State::Terminated;
                    step
                } else {
                    self.state = State::Completed;
                    step.set(Timer::D, TIMER_D)
                }
            }
            (State::Calling { .. } | State::Proceeding, ClientInput::TransportError) => {
                self.state = State::Terminated;
                Step::tell(Tell::Unreachable).stop(RUNNING)
            }
            (State::Completed, ClientInput::Failure) => Step::wire(Wire::Again),
            (State::Completed, ClientInput::Timer(_) | ClientInput::TransportError) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::D])
            }
            (State::Accepted, ClientInput::Success) => Step::tell(Tell::Message),
            (State::Accepted, ClientInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::M])
            }
            (State::Proceeding, ClientInput::Timer(_))
            | (State::Completed, ClientInput::Provisional | ClientInput::Success)
            | (
                State::Accepted,
                ClientInput::Provisional | ClientInput::Failure | ClientInput::TransportError,
            )
            | (State::Terminated, _) => Step::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_a_doubles_without_a_cap_until_b() {
        let (mut machine, start) = InviteClient::start(false);
        assert_eq!(start.set, [Some((Timer::B, T1_64)), Some((Timer::A, T1))]);
        let mut intervals = Vec::new();
        for _ in 0..6 {
            let step = machine.step(ClientInput::Timer(Timer::A));
            assert_eq!(step.wire, Wire::Again);
            intervals.push(step.set[0].unwrap().1.as_millis());
        }
        assert_eq!(intervals, [1000, 2000, 4000, 8000, 16000, 32000]);
        let step = machine.step(ClientInput::Timer(Timer::B));
        assert_eq!(step.tell, Tell::TimedOut);
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn reliable_transports_have_neither_a_nor_d() {
        let (mut machine, start) = InviteClient::start(true);
        assert_eq!(start.set, [Some((Timer::B, T1_64)), None]);
        let step = machine.step(ClientInput::Failure);
        assert_eq!((step.wire, step.tell), (Wire::Ack, Tell::Message));
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn a_failure_is_acknowledged_each_time_and_told_once() {
        let (mut machine, _) = InviteClient::start(false);
        machine.step(ClientInput::Provisional);
        assert_eq!(machine.step(ClientInput::Failure).tell, Tell::Message);
        let again = machine.step(ClientInput::Failure);
        assert_eq!((again.wire, again.tell), (Wire::Again, Tell::Nothing));
        machine.step(ClientInput::Timer(Timer::D));
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn every_2xx_is_told_until_timer_m() {
        let (mut machine, _) = InviteClient::start(false);
        assert_eq!(
            machine.step(ClientInput::Success).set[0],
            Some((Timer::M, T1_64))
        );
        assert_eq!(machine.step(ClientInput::Success).tell, Tell::Message);
        assert_eq!(machine.step(ClientInput::Failure), Step::default());
        machine.step(ClientInput::Timer(Timer::M));
        assert_eq!(machine.state(), State::Terminated);
    }
}
