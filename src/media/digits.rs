//! The keys of a side (RFC 4733): hears those that its peer presses and readies their packets for
//! the other side, and presses those that signalling asks for.

use std::time::{Duration, Instant};

use super::dtmf::{DigitReceiver, DigitSender, EVENT_LEN, Event, EventConverter};
use super::rtp::{self, HEADER_LEN, Header};
use super::stream::Sending;
use crate::leg::Digit;

/// Between the packets of a key that we press: a frame of nearly every codec in use.
const INTERVAL: Duration = Duration::from_millis(20);

/// Both directions of a side.
#[derive(Debug)]
pub struct Digits {
    heard: DigitReceiver,
    /// The stream and the newest event in it.
    latest: Option<(u32, u32)>,
    converter: Option<((u32, u32), EventConverter)>,
    forwarded: bool,
    sender: DigitSender,
    sender_hz: u32,
}

impl Default for Digits {
    fn default() -> Self {
        Self {
            heard: DigitReceiver::default(),
            latest: None,
            converter: None,
            forwarded: false,
            sender: DigitSender::new(8_000, INTERVAL),
            sender_hz: 8_000,
        }
    }
}

/// What came of an event packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressed {
    /// A key that is up again, and whether the other side heard of it.
    pub digit: Option<(Digit, bool)>,
    /// The packet was readied for the other side.
    pub send: bool,
    /// When to ask for a key whose end was lost.
    pub timeout: Option<Instant>,
}

impl Digits {
    /// Reads an event packet of the peer and readies it for the other side, which has `outgoing` as
    /// payload type and clock of its events, and `clock_hz` of its sound.
    pub fn receive(
        &mut self,
        to: &mut Sending,
        now: Instant,
        (header, event_hz): (&Header, u32),
        (outgoing, clock_hz): (Option<(u8, u32)>, u32),
        packet: &mut [u8],
    ) -> Pressed {
        let payload = header.payload(packet);
        let known = Event::parse(payload).and_then(|event| Digit::from_event(event.code));
        if known.is_none() {
            return Pressed::default();
        }
        let mut unfinished = None;
        let mut late = false;
        match self.latest {
            Some((ssrc, timestamp)) if ssrc == header.ssrc => {
                // A packet of an event before the one in force says nothing any more.
                late = (header.timestamp.wrapping_sub(timestamp) as i32) < 0;
            }
            Some(_) => {
                unfinished = self.heard.reset();
                self.converter = None;
            }
            None => {}
        }
        if !late {
            self.latest = Some((header.ssrc, header.timestamp));
        }
        let press = self
            .heard
            .receive(now, header.timestamp, header.marker, payload, event_hz);
        let mut pressed = Pressed {
            digit: None,
            send: false,
            timeout: self.heard.poll_timeout(),
        };
        if let Some((payload_type, outgoing_hz)) = outgoing.filter(|_| !late) {
            let out_timestamp = to.event_timestamp(now, header, event_hz, clock_hz);
            let clocks = (event_hz, outgoing_hz);
            let (_, converter) = match &mut self.converter {
                Some(known) if known.0 == clocks => known,
                other => other.insert((clocks, EventConverter::new(event_hz, outgoing_hz))),
            };
            if let Some(event) =
                converter.convert(header.timestamp, header.marker, payload, out_timestamp)
            {
                let sequence = to.forward_event(now, header, clock_hz);
                rtp::set_payload_type(packet, payload_type);
                rtp::set_marker(packet, event.marker);
                rtp::set_sequence(packet, sequence);
                rtp::set_timestamp(packet, event.timestamp);
                rtp::set_ssrc(packet, to.ssrc());
                let at = header.payload_start;
                packet[at..at + EVENT_LEN].copy_from_slice(&event.payload);
                pressed.send = true;
                self.forwarded = true;
            }
        }
        if let Some(press) = unfinished.or(press) {
            pressed.digit = Some((press.digit, std::mem::take(&mut self.forwarded)));
        }
        pressed
    }

    /// A key whose end was lost, and whether the other side heard of it.
    pub fn lost_end(&mut self, now: Instant) -> Option<(Digit, bool)> {
        let press = self.heard.handle_timeout(now)?;
        Some((press.digit, std::mem::take(&mut self.forwarded)))
    }

    /// Queues a key to send.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        if !self.sender.press(digit, length) {
            tracing::debug!("too many keys wait, one left out");
        }
    }

    /// Forgets the keys that wait.
    pub fn clear(&mut self) {
        self.sender = DigitSender::new(self.sender_hz, INTERVAL);
    }

    /// True while a key is being sent, so that sound makes way.
    pub fn is_sending(&self) -> bool {
        self.sender.is_sending()
    }

    /// True if there is nothing to send.
    pub fn is_idle(&self) -> bool {
        self.sender.is_idle()
    }

    /// Prepares for the clock of the events to send; a key that is down at the change is let go.
    pub fn set_clock(&mut self, event_hz: u32) {
        if self.sender_hz != event_hz {
            self.sender_hz = event_hz;
            self.clear();
        }
    }

    /// Writes the next packet, if one is due, and says when to come again.
    pub fn step(
        &mut self,
        now: Instant,
        sending: &mut Sending,
        payload_type: u8,
        clock_hz: u32,
        buffer: &mut [u8],
    ) -> (Option<usize>, Option<Instant>) {
        let packet = self.sender.poll(now, sending.timestamp_at(now, clock_hz));
        let len = packet.and_then(|packet| {
            let header = Header {
                marker: packet.marker,
                payload_type,
                sequence: sending.insert(now, clock_hz, EVENT_LEN),
                timestamp: packet.timestamp,
                ssrc: sending.ssrc(),
                payload_start: HEADER_LEN,
                payload_end: HEADER_LEN + EVENT_LEN,
            };
            header.write(&packet.payload, buffer)
        });
        (len, self.sender.poll_timeout(now))
    }
}
