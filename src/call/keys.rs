//! Keys that are said in signalling: pressed one by one as the peer says them, or a row of them
//! with pauses, such as what is dialled after the number. A row waits until both sides talk.

use std::time::{Duration, Instant};

use super::entry::{Call, State};
use super::{CallOutput, CallTimer, Calls};
use crate::border::{MediaCommand, Side};
use crate::id::{CallId, LegId};
use crate::leg::{Digit, Key, LegCommand};

/// How long a key is pressed that came by signalling without a length.
const DIGIT_LENGTH: Duration = Duration::from_millis(160);
/// From one key of a row to the next: the key itself and a gap that no exchange overhears.
const KEY_PACE: Duration = Duration::from_millis(300);
/// What a comma means (RFC 3966 has no word for it; telephones agree on 2 s).
const PAUSE: Duration = Duration::from_secs(2);
/// From the answer to the first key: who answers by machine listens only once it speaks.
const AFTER_ANSWER: Duration = Duration::from_secs(1);
/// How often a call that is answered and not connected is looked at again.
const NOT_YET: Duration = Duration::from_millis(500);
/// Keys of one call that wait at most: a long card number, a code and pauses fit twice.
const MAX_WAITING: usize = 128;

impl Calls {
    /// A peer has pressed one key, with a length of its own.
    pub(super) fn signalled_digit(&mut self, now: Instant, leg: LegId, digit: Digit) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg).other();
            table.press(call, side, digit);
            Ok(())
        });
    }

    /// A peer has written a row of keys.
    pub(super) fn signalled_keys(&mut self, now: Instant, leg: LegId, keys: Vec<Key>) {
        self.with_call(now, leg, |table, call| {
            let side = call.side_of(leg).other();
            let left = MAX_WAITING.saturating_sub(call.keys.len());
            call.keys
                .extend(keys.into_iter().take(left).map(|key| (side, key)));
            let timer = (call.id, CallTimer::Keys);
            if call.state.is_answered() && table.timers.deadline(&timer).is_none() {
                table.timers.set(timer, now);
            }
            Ok(())
        });
    }

    /// The call is answered: keys that wait for that are pressed soon.
    pub(super) fn begin_keys(&mut self, now: Instant, call: &Call) {
        if !call.keys.is_empty() {
            self.timers
                .set((call.id, CallTimer::Keys), now + AFTER_ANSWER);
        }
    }

    /// The next key of a row is due.
    pub(super) fn next_key(&mut self, now: Instant, id: CallId) {
        self.with_id(now, id, |table, call| {
            let timer = (id, CallTimer::Keys);
            if !matches!(call.state, State::Up) || call.awaits_media() {
                table.timers.set(timer, now + NOT_YET);
                return Ok(());
            }
            match call.keys.pop_front() {
                Some((side, Key::Press(digit))) => {
                    table.press(call, side, digit);
                    table.timers.set(timer, now + KEY_PACE);
                }
                Some((_, Key::Pause)) => table.timers.set(timer, now + PAUSE),
                None => {}
            }
            Ok(())
        });
    }

    fn press(&mut self, call: &mut Call, side: Side, digit: Digit) {
        let (bridge, worker) = (call.bridge, call.worker);
        let has_events = call
            .side_mut(side)
            .and_then(|media| media.format.as_ref())
            .is_some_and(|format| format.send_digits.is_some());
        if has_events {
            let command = MediaCommand::Digit {
                bridge,
                side,
                digit,
                duration: DIGIT_LENGTH,
            };
            self.outputs.push_back(CallOutput::Media(worker, command));
        } else if let Some(other) = call.leg(side) {
            self.tell(other, LegCommand::Digit(digit));
        }
    }
}
