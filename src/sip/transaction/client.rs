//! The non-INVITE client transaction: RFC 3261 §17.1.2.

use std::time::Duration;

use super::{ClientInput, Step, T1, T1_64, T2, T4, Tell, Timer, Wire};

/// The states of figure 6 of RFC 3261.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The request is out; `interval` is that of timer E.
    Trying {
        /// Of timer E.
        interval: Duration,
    },
    /// A 1xx came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Over.
    Terminated,
}

/// One request, not an INVITE, that we sent.
#[derive(Clone, Debug)]
pub struct Client {
    state: State,
    reliable: bool,
}

impl Client {
    /// Sends the request.
    pub fn start(reliable: bool) -> (Self, Step) {
        let step = Step::wire(Wire::Send).set(Timer::F, T1_64);
        let step = if reliable {
            step
        } else {
            step.set(Timer::E, T1)
        };
        let state = State::Trying { interval: T1 };
        (Self { state, reliable }, step)
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an input.
    pub fn step(&mut self, input: ClientInput) -> Step {
        const RUNNING: &[Timer] = &[Timer::E, Timer::F];
        match (self.state, input) {
            (State::Trying { interval }, ClientInput::Timer(Timer::E)) => {
                let interval = (interval * 2).min(T2);
                self.state = State::Trying { interval };
                Step::wire(Wire::Again).set(Timer::E, interval)
            }
            (State::Proceeding, ClientInput::Timer(Timer::E)) => {
                Step::wire(Wire::Again).set(Timer::E, T2)
            }
            (State::Trying { .. } | State::Proceeding, ClientInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::tell(Tell::TimedOut).stop(RUNNING)
            }
            (State::Trying { .. } | State::Proceeding, ClientInput::Provisional) => {
                self.state = State::Proceeding;
                Step::tell(Tell::Message)
            }
            (
                State::Trying { .. } | State::Proceeding,
                ClientInput::Success | ClientInput::Failure,
            ) => {
                let step = Step::tell(Tell::Message).stop(RUNNING);
                if self.reliable {
                    self.state = State::Terminated;
                    step
                } else {
                    self.state = State::Completed;
                    step.set(Timer::K, T4)
                }
            }
            (State::Trying { .. } | State::Proceeding, ClientInput::TransportError) => {
                self.state = State::Terminated;
                Step::tell(Tell::Unreachable).stop(RUNNING)
            }
            (State::Completed, ClientInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::K])
            }
            (
                State::Completed,
                ClientInput::Provisional
                | ClientInput::Success
                | ClientInput::Failure
                | ClientInput::TransportError,
            )
            | (State::Terminated, _) => Step::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_e_doubles_up_to_t2_and_is_t2_after_a_1xx() {
        let (mut machine, _) = Client::start(false);
        let mut intervals = Vec::new();
        for _ in 0..5 {
            let step = machine.step(ClientInput::Timer(Timer::E));
            intervals.push(step.set[0].unwrap().1.as_millis());
        }
        assert_eq!(intervals, [1000, 2000, 4000, 4000, 4000]);
        let (mut machine, _) = Client::start(false);
        assert_eq!(machine.step(ClientInput::Provisional).stop, &[]);
        let step = machine.step(ClientInput::Timer(Timer::E));
        assert_eq!(step.set[0], Some((Timer::E, T2)));
        assert_eq!(
            machine.step(ClientInput::Timer(Timer::F)).tell,
            Tell::TimedOut
        );
    }

    #[test]
    fn a_final_response_is_told_once_and_absorbed_for_t4() {
        let (mut machine, _) = Client::start(false);
        let step = machine.step(ClientInput::Failure);
        assert_eq!(
            (step.tell, step.set[0]),
            (Tell::Message, Some((Timer::K, T4)))
        );
        assert_eq!(machine.step(ClientInput::Failure), Step::default());
        let (mut machine, _) = Client::start(true);
        machine.step(ClientInput::Success);
        assert_eq!(machine.state(), State::Terminated);
    }
}
