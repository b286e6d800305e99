//! The non-INVITE server transaction: RFC 3261 §17.2.2.

use super::{ServerInput, Step, T1_64, Timer, Wire};

/// The states of figure 8 of RFC 3261.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing answered.
    Trying,
    /// A 1xx went out.
    Proceeding,
    /// The final response went out.
    Completed,
    /// Over.
    Terminated,
}

/// One request, not an INVITE, that we got.
#[derive(Clone, Debug)]
pub struct Server {
    state: State,
    reliable: bool,
}

impl Server {
    /// Starts with a request.
    pub fn start(reliable: bool) -> Self {
        Self {
            state: State::Trying,
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
            (State::Trying | State::Proceeding, ServerInput::Provisional) => {
                self.state = State::Proceeding;
                Step::wire(Wire::Send)
            }
            (State::Trying | State::Proceeding, ServerInput::Success | ServerInput::Failure) => {
                if self.reliable {
                    self.state = State::Terminated;
                    Step::wire(Wire::Send)
                } else {
                    self.state = State::Completed;
                    Step::wire(Wire::Send).set(Timer::J, T1_64)
                }
            }
            (State::Proceeding | State::Completed, ServerInput::Repetition) => {
                Step::wire(Wire::Again)
            }
            (State::Completed, ServerInput::Timer(_)) => {
                self.state = State::Terminated;
                Step::default().stop(&[Timer::J])
            }
            (State::Trying, ServerInput::Repetition | ServerInput::Ack | ServerInput::Timer(_))
            | (State::Proceeding, ServerInput::Ack | ServerInput::Timer(_))
            | (
                State::Completed,
                ServerInput::Ack
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
    fn a_repeated_request_gets_its_answer_again_for_timer_j() {
        let mut machine = Server::start(false);
        assert_eq!(machine.step(ServerInput::Repetition), Step::default());
        assert_eq!(
            machine.step(ServerInput::Success).set[0],
            Some((Timer::J, T1_64))
        );
        assert_eq!(machine.step(ServerInput::Repetition).wire, Wire::Again);
        machine.step(ServerInput::Timer(Timer::J));
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn timer_j_is_zero_on_reliable_transports() {
        let mut machine = Server::start(true);
        machine.step(ServerInput::Failure);
        assert_eq!(machine.state(), State::Terminated);
    }
}
