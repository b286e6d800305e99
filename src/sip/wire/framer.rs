//! Messages out of a stream (RFC 3261 §18.3, RFC 5626 §4.4.1).

use super::parse::{Draft, Fault, ParseError, head_end, read_head};
use super::{MAX_MESSAGE, Message};

/// What a stream holds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A message.
    Message(Message),
    /// A keep-alive (two line ends), to be answered with one line end.
    Ping,
    /// A message that is refused; the stream goes on behind it.
    Refused(ParseError),
    /// The stream cannot be read any further: answer if there is an answer, then close it.
    Broken(ParseError),
}

/// Cuts a stream into messages. It holds at most one unfinished message, so at most
/// [`MAX_MESSAGE`] plus what one push brings, if [`StreamFramer::next`] is called until it gives
/// `None` after each push.
#[derive(Clone, Debug, Default)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    /// What is before this has been handed over.
    start: usize,
    /// No end of a head before this, counted from `start`.
    searched: usize,
    /// The head that `start` points to, once it is whole, and its length.
    head: Option<(Box<Draft>, usize)>,
    broken: bool,
}

impl StreamFramer {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// True in the middle of a message: a peer that stays silent here may be cut off.
    pub fn is_mid_message(&self) -> bool {
        self.rest().iter().any(|b| !matches!(b, b'\r' | b'\n'))
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// The next whole thing; `None` until more comes.
    #[expect(clippy::should_implement_trait, reason = "None is not the end here")]
    pub fn next(&mut self) -> Option<Framed> {
        if self.broken {
            return None;
        }
        if self.head.is_none() {
            if let Some(ping) = self.skip_line_ends() {
                return Some(ping);
            }
            let rest = self.rest();
            let Some(length) = head_end(rest, self.searched) else {
                // The end of a head is at most four octets long.
                let (too_long, searched) = (rest.len() > MAX_MESSAGE, rest.len().saturating_sub(4));
                self.searched = searched;
                return too_long.then(|| self.close(ParseError::silent(Fault::TooLong)));
            };
            let Some(mut draft) = read_head(&rest[..length]) else {
                return Some(self.close(ParseError::silent(Fault::NotSip)));
            };
            if length + draft.length.unwrap_or(0) > MAX_MESSAGE {
                draft.blame(Fault::TooLong);
                draft.length = None;
            }
            if draft.is_unframed() {
                // RFC 3261 §18.3: over a stream there must be a length.
                draft.blame(Fault::ContentLength);
                let refused = draft.finish(&[]).err();
                return refused.map(|error| self.close(error));
            }
            self.head = Some((Box::new(draft), length));
        }
        let (draft, head) = self.head.take()?;
        let end = head + draft.length.unwrap_or(0);
        let Some(body) = self.rest().get(head..end) else {
            self.head = Some((draft, head));
            return None;
        };
        let result = draft.finish(body);
        self.start += end;
        self.searched = 0;
        Some(match result {
            Ok(message) => Framed::Message(message),
            Err(error) => Framed::Refused(error),
        })
    }

    /// Line ends before a message mean nothing, but two of them in a row are a ping. One alone is
    /// kept, as the other may follow.
    fn skip_line_ends(&mut self) -> Option<Framed> {
        loop {
            let rest = self.rest();
            let step = match rest {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.start += 4;
                    self.searched = 0;
                    return Some(Framed::Ping);
                }
                [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return None,
                [b'\r', b'\n', ..] => 2,
                [b'\r' | b'\n', ..] => 1,
                _ => return None,
            };
            self.start += step;
            self.searched = 0;
        }
    }

    fn close(&mut self, error: ParseError) -> Framed {
        *self = Self {
            broken: true,
            ..Self::default()
        };
        Framed::Broken(error)
    }
}
