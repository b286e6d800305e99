//! Which sockets of a media thread have packets.
//!
//! Level-triggered: a socket that has more is simply named again, so that none is read a second time
//! only to hear that it is empty. That would be one more system call for each packet of a leg.

use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::media::SocketKey;

/// Sockets named at a time.
pub(super) const MOST_READY: usize = 1024;

const WAKER: u64 = u64::MAX;

/// The sockets of one thread.
pub(super) struct Readiness(OwnedFd);

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Readiness {
    /// No sockets, and what ends a wait for them.
    pub(super) fn new() -> io::Result<(Self, Waker)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, so that nobody has to read it.
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &waker, EventData::new_u64(WAKER), flags)?;
        Ok((Self(epoll), Waker(Arc::new(waker))))
    }

    /// Watches a socket until it is closed.
    pub(super) fn watch(&self, socket: &UdpSocket, key: SocketKey) -> io::Result<()> {
        let data = EventData::new_u64(u64::from(key.0));
        Ok(epoll::add(&self.0, socket, data, EventFlags::IN)?)
    }

    /// Waits until a socket has a packet or an error, at most `timeout`; `ready` then holds them.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        ready: &mut Vec<SocketKey>,
    ) -> io::Result<()> {
        ready.clear();
        let mut room = [const { MaybeUninit::<Event>::uninit() }; MOST_READY];
        let timeout = timeout.map(timespec);
        let events = match epoll::wait(&self.0, &mut room, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let keys = events.iter().map(|event| u32::try_from(event.data.u64()));
        // The waker is no socket.
        ready.extend(keys.filter_map(Result::ok).map(SocketKey));
        Ok(())
    }
}

impl Waker {
    /// Ends the wait that is under way, or else the next one.
    pub(super) fn wake(&self) -> io::Result<()> {
        rustix::io::write(&self.0, &1u64.to_ne_bytes())?;
        Ok(())
    }
}

/// In whole milliseconds, so that what is due at nearly the same time is one wake-up.
fn timespec(timeout: Duration) -> Timespec {
    let ms = timeout.as_micros().div_ceil(1000).min(3_600_000) as i64;
    Timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up() {
        let ms = |micros| {
            let time = timespec(Duration::from_micros(micros));
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        assert_eq!(ms(0), 0);
        assert_eq!(ms(1), 1);
        assert_eq!(ms(1_500_000), 1500);
        assert_eq!(ms(1_500_001), 1501);
    }
}
